"""Exact answer probabilities with transformers and PEFT: base and any number of adapters in one load.

The default on a CPU.  The prompt is read once and its cache shared by all candidates; prompts of similar length share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.cache_utils import DynamicCache

from econmoral.models import cached_only, find_model
from econmoral.records import InputError
from eval.engines import LONGEST_DERIVATION, Arm, Exact, check_base

BATCH_TOKENS = 16_384  # prompt tokens in one batch of scores; derivations, written a token at a time, take twice as many


class Transformers(Exact):
    """A checkpoint and its adapters (name -> folder); ``four_bit`` loads the base in nf4 (NVIDIA GPU and bitsandbytes)."""

    def __init__(self, model: str, adapters: dict[str, Path], four_bit: bool = False) -> None:
        source = find_model(model).source
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        local = cached_only(source)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": local}
            if four_bit:
                options["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
            self.model: Any = AutoModelForCausalLM.from_pretrained(source, **options)
            if not four_bit:
                self.model = self.model.to(self.device)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot load {source} ({str(error).splitlines()[0][:200]}); give a complete checkpoint in safetensors") from None
        for name, folder in adapters.items():
            check_base(folder, source)
            try:
                if isinstance(self.model, PeftModel):
                    self.model.load_adapter(str(folder), adapter_name=name, use_safetensors=True)
                else:
                    self.model = PeftModel.from_pretrained(self.model, str(folder), adapter_name=name, use_safetensors=True)
            except (RuntimeError, ValueError, OSError) as error:
                raise InputError(f"{folder} does not fit {source}: {str(error).splitlines()[0][:150]}") from None
        self.model.eval()
        # pad with anything: padded positions are masked
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id

    @contextmanager
    def _adapted(self, arm: Arm) -> Iterator[None]:
        """The arm's adapter switched on, or all of them off."""
        if arm.adapter is not None:
            self.model.set_adapter(arm.adapter)
            yield
        elif isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield

    def merge(self, name: str) -> None:
        """Add an adapter's weights to the base's, as an exported checkpoint has them; the engine then stands for that one arm."""
        self.model.set_adapter(name)
        self.model.merge_adapter([name])

    @torch.no_grad()
    def log_probabilities(self, heads: list[list[int]], tails: list[list[list[int]]], arm: Arm) -> list[np.ndarray]:
        """The prompt is read once and its cache shared by all answers; prompts of similar length share a batch."""
        results: list[np.ndarray] = [np.empty(0)] * len(heads)
        with self._adapted(arm):
            for batch in self._batches([len(h) for h in heads]):
                for i, row in zip(batch, self._score_batch([heads[i] for i in batch], [tails[i] for i in batch]), strict=True):
                    results[i] = row
        return results

    @torch.no_grad()
    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """Sampled in batches; the same prompts in the same order and the same seed give the same texts."""
        torch.manual_seed(seed)
        results: list[list[str]] = [[] for _ in heads]
        with self._adapted(arm):
            for batch in self._batches([max(1, n * s // 2) for n, s in zip(map(len, heads), samples, strict=True)]):
                jobs = [i for i in batch for _ in range(samples[i])]
                width = max(len(heads[i]) for i in jobs)
                x = torch.tensor([[self.pad] * (width - len(heads[i])) + heads[i] for i in jobs], device=self.device)
                mask = torch.tensor([[0] * (width - len(heads[i])) + [1] * len(heads[i]) for i in jobs], device=self.device)
                out = self.model.generate(
                    input_ids=x, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                    max_new_tokens=LONGEST_DERIVATION, pad_token_id=self.pad,
                )  # fmt: skip
                for i, ids in zip(jobs, out[:, width:], strict=True):
                    results[i].append(self.tokenizer.decode(ids, skip_special_tokens=True))
        return results

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        batches: list[list[int]] = [[]]
        for i in order:
            if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(i)
        return batches

    def _score_batch(self, heads: list[list[int]], tails: list[list[list[int]]]) -> list[np.ndarray]:
        counts = [len(t) for t in tails]
        width = max(len(h) for h in heads)
        x = torch.full((len(heads), width), self.pad)
        mask = torch.zeros((len(heads), width), dtype=torch.long)
        for i, h in enumerate(heads):  # padded on the left, so that every prompt ends at the same place
            x[i, width - len(h) :], mask[i, width - len(h) :] = torch.tensor(h), 1
        x, mask = x.to(self.device), mask.to(self.device)
        position = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.model(input_ids=x, attention_mask=mask, position_ids=position, use_cache=True, logits_to_keep=1)
        first = torch.log_softmax(out.logits[:, -1].float(), -1)

        flat = [(i, t) for i, group in enumerate(tails) for t in group]
        rows = torch.tensor([i for i, _ in flat], device=self.device)
        length = max(len(t) for _, t in flat)
        y = torch.full((len(flat), length), self.pad)
        keep = torch.zeros((len(flat), length), dtype=torch.long)
        for j, (_, t) in enumerate(flat):
            y[j, : len(t)], keep[j, : len(t)] = torch.tensor(t), 1
        y, keep = y.to(self.device), keep.to(self.device)
        cache = DynamicCache()
        for layer, kv in enumerate(out.past_key_values.layers):
            cache.update(kv.keys[rows], kv.values[rows], layer)
        start = position[rows, -1:] + 1
        logits = self.model(
            input_ids=y,
            attention_mask=torch.cat([mask[rows], keep], 1),
            position_ids=start + torch.arange(length, device=self.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        rest = torch.log_softmax(logits[:, :-1].float(), -1).gather(2, y[:, 1:, None])[..., 0]
        total = first[rows, y[:, 0]] + (rest * keep[:, 1:]).sum(1)
        return list(np.split(total.double().cpu().numpy(), np.cumsum(counts)[:-1]))
