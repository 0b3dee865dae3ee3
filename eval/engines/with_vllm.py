"""Exact answer probabilities with vLLM: base and any number of adapters in one load,
the default on a GPU.

The admissible replies to a turn form a tree of tokens.  Every inner node is one request for one
token whose candidates' log-probabilities are exact; what the turns of a conversation share is read
once, through vLLM's prefix cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from econmoral.checkpoints.adapters import check_adapter
from econmoral.checkpoints.attaching import base_for, check_adapters
from econmoral.checkpoints.loading import load_tokenizer
from econmoral.files.records import InputError

from .base import Condition, Exact, ScoredStep, seed_of

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM accepts as max_lora_rank
AT_ONCE = (
    20  # tokens whose log-probabilities one request may ask for: vLLM's own limit (max_logprobs)
)


class VLLM(Exact):
    """A checkpoint and its adapters (name -> folder);
    ``options`` go to ``vllm.LLM`` as they are.
    """

    def __init__(
        self,
        model: str,
        adapters: dict[str, Path],
        options: Mapping[str, object],
        given: bool = False,
    ) -> None:
        place = base_for(model, adapters.values())  # one clear line where it cannot be had
        source = place.source
        check_adapters(adapters.values(), place, load_tokenizer(place), given)
        self.weights, self.note = place.record(), place.note
        ranks = [int(check_adapter(folder).get("r", 0)) for folder in adapters.values()]
        lora: dict[str, Any] = {}
        if adapters:
            lora = {
                "enable_lora": True,
                "max_loras": 1,
                "max_lora_rank": next((r for r in RANKS if r >= max(ranks)), max(ranks)),
            }
        try:
            # without the checkpoint's own generation settings (repetition penalty, other ends of
            # text)
            fixed = {"enable_prefix_caching": True, "generation_config": "vllm"}
            more: dict[str, Any] = fixed | lora | dict(options)
            self.llm = LLM(model=str(place.folder), **more)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise InputError(
                f"vLLM cannot load {source}: {str(error).splitlines()[0][:200]}; try --engine "
                "transformers"
            ) from None
        self.tokenizer = self.llm.get_tokenizer()
        self.device = "vLLM's devices"
        self.loras = {
            name: LoRARequest(name, number, str(folder.resolve()))
            for number, (name, folder) in enumerate(adapters.items(), start=1)
        }

    def log_probabilities(
        self, groups: list[list[ScoredStep]], condition: Condition
    ) -> list[list[np.ndarray] | None]:
        """One request for every inner node of every step's tree of replies.

        Equal ones are asked once.
        """
        # the context and the path to a node -> tokens that are scored there
        children: dict[tuple[int, ...], set[int]] = {}
        for step in (step for group in groups for step in group):
            for form in (form for several in step.options for form in several):
                for k, token in enumerate(form):
                    children.setdefault((*step.context, *form[:k]), set()).add(token)
        asked = [
            (node, after[k : k + AT_ONCE])
            for node, tokens in children.items()
            for after in [sorted(tokens)]
            for k in range(0, len(after), AT_ONCE)
        ]
        settings = [
            SamplingParams(
                max_tokens=1,
                temperature=0,
                logprobs=len(after),
                logprob_token_ids=after,
                detokenize=False,
            )
            for _, after in asked
        ]
        log_p: dict[tuple[int, ...], float] = {}
        for (node, after), output in zip(
            asked, self._generate([node for node, _ in asked], settings, condition), strict=True
        ):
            found = output.outputs[0].logprobs[0]
            for token in after:
                log_p[*node, token] = found[token].logprob
        self.tokens += sum(len(node) + 1 for node, _ in asked)

        def reply(context: list[int], form: list[int]) -> float:
            return sum(log_p[*context, *form[: k + 1]] for k in range(len(form)))

        return [
            [
                np.array(
                    [
                        np.logaddexp.reduce([reply(s.context, form) for form in several])
                        for several in s.options
                    ]
                )
                for s in group
            ]
            for group in groups
        ]

    def derive(
        self,
        heads: list[list[int]],
        samples: list[int],
        condition: Condition,
        seed: int,
        longest: int,
    ) -> list[list[tuple[str, bool]]]:
        """Every prompt has a seed of its own, so that its texts do not depend on what shares its
        batch (beyond rounding).

        Everything that a checkpoint's own generation settings could change is spelled out, and
        where a turn ends too.
        """
        ends = self.ends_of_turn()
        settings = [
            SamplingParams(
                n=n, temperature=self.temperature, top_p=1.0, top_k=0, min_p=0.0,
                repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0,
                max_tokens=longest, seed=seed_of(seed, i), stop_token_ids=ends, ignore_eos=True,
                skip_special_tokens=True,
            )
            for i, n in enumerate(samples)
        ]  # fmt: skip
        results = []
        for output in self._generate([tuple(head) for head in heads], settings, condition):
            texts = [
                (self.until_end(o.text), o) for o in sorted(output.outputs, key=lambda o: o.index)
            ]
            results.append(
                [(text, o.finish_reason == "length" and text == o.text) for text, o in texts]
            )
        return results

    def _generate(
        self, prompts: list[tuple[int, ...]], settings: list[SamplingParams], condition: Condition
    ) -> list[Any]:
        try:
            return list(
                self.llm.generate(
                    [{"prompt_token_ids": list(p)} for p in prompts],
                    settings,
                    use_tqdm=False,
                    lora_request=self._lora(condition),
                )
            )
        except ValueError as error:
            raise InputError(
                f"vLLM refuses a request: {str(error).splitlines()[0][:200]}"
            ) from None

    def _lora(self, condition: Condition) -> LoRARequest | None:
        return None if condition.adapter is None else self.loras[condition.adapter]
