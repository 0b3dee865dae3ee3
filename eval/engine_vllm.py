"""Exact answer probabilities with vLLM: base and any number of adapters in one load, the default on a GPU.

The admissible answers of a prompt form a tree of tokens.  Every inner node is one request for one token whose candidates'
log-probabilities are exact; the prompt and the path to the node are shared through vLLM's prefix cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from econmoral.adapters import check_adapter
from econmoral.checkpoints import base_for, check_adapters, load_tokenizer
from econmoral.records import InputError
from eval.engines import LONGEST_DERIVATION, Arm, Exact

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM accepts as max_lora_rank


class VLLM(Exact):
    """A checkpoint and its adapters (name -> folder); ``options`` go to ``vllm.LLM`` as they are."""

    def __init__(self, model: str, adapters: dict[str, Path], options: dict[str, Any], given: bool = False) -> None:
        place = base_for(model, adapters.values())  # one clear line where it cannot be had
        source = place.source
        check_adapters(adapters.values(), place, load_tokenizer(place), given)
        self.weights, self.note = place.record(), place.note
        ranks = [int(check_adapter(folder).get("r", 0)) for folder in adapters.values()]
        lora: dict[str, Any] = {}
        if adapters:
            lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": next((r for r in RANKS if r >= max(ranks)), max(ranks))}
        try:
            self.llm = LLM(model=str(place.folder), enable_prefix_caching=True, **lora, **options)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise InputError(f"vLLM cannot load {source}: {str(error).splitlines()[0][:200]}; try --engine transformers") from None
        self.tokenizer = self.llm.get_tokenizer()
        self.device = "vLLM's devices"
        self.loras = {name: LoRARequest(name, number, str(folder.resolve())) for number, (name, folder) in enumerate(adapters.items(), start=1)}

    def log_probabilities(self, heads: list[list[int]], tails: list[list[list[int]]], arm: Arm) -> list[np.ndarray]:
        """One request for every inner node of every prompt's tree of answers."""
        nodes: list[tuple[int, tuple[int, ...], list[int]]] = []
        for i, group in enumerate(tails):
            children: dict[tuple[int, ...], set[int]] = {}
            for tail in group:
                for k, token in enumerate(tail):
                    children.setdefault(tuple(tail[:k]), set()).add(token)
            nodes += [(i, path, sorted(after)) for path, after in children.items()]
        asked = [SamplingParams(max_tokens=1, temperature=0, logprobs=len(after), logprob_token_ids=after, detokenize=False) for _, _, after in nodes]
        outputs = self.llm.generate([{"prompt_token_ids": [*heads[i], *path]} for i, path, _ in nodes], asked, use_tqdm=False, lora_request=self._lora(arm))
        log_p: dict[tuple[int, tuple[int, ...]], float] = {}
        for (i, path, after), output in zip(nodes, outputs, strict=True):
            found = output.outputs[0].logprobs[0]
            for token in after:
                log_p[i, (*path, token)] = found[token].logprob
        return [np.array([sum(log_p[i, tuple(t[: k + 1])] for k in range(len(t))) for t in group]) for i, group in enumerate(tails)]

    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """Every prompt has a seed of its own, so that its texts do not depend on what shares its batch (beyond rounding)."""
        asked = [SamplingParams(n=n, temperature=1.0, top_p=1.0, max_tokens=LONGEST_DERIVATION, seed=1000 * seed + i) for i, n in enumerate(samples)]
        outputs = self.llm.generate([{"prompt_token_ids": h} for h in heads], asked, use_tqdm=False, lora_request=self._lora(arm))
        return [[o.text for o in sorted(output.outputs, key=lambda o: o.index)] for output in outputs]

    def _lora(self, arm: Arm) -> LoRARequest | None:
        return None if arm.adapter is None else self.loras[arm.adapter]
