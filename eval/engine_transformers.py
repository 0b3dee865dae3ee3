"""Exact answer probabilities with transformers and PEFT: base and any number of adapters in one load.

Every candidate is scored as the assistant's whole turn under the checkpoint's own chat template, end of turn included, so
that the candidates are disjoint events.  The prompt is read once and its cache shared by all candidates; prompts of
similar length share a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from rich.progress import track
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache

from econmoral.chat import prompt_text, turn_text
from econmoral.models import cached_only, find_model
from econmoral.prompts import ANSWER
from econmoral.records import InputError, read_json
from eval.engines import Answer, Arm, Request

BATCH_TOKENS = 16_384  # prompt tokens in one batch of scores; derivations, written a token at a time, take twice as many
LONGEST_DERIVATION = 600  # tokens


def check_adapter(folder: Path) -> dict[str, Any]:
    """The adapter's configuration.  Raises InputError unless the folder holds a LoRA adapter in safetensors."""
    if not folder.is_dir():
        raise InputError(f"adapter folder {folder} does not exist")
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict) or config.get("peft_type") != "LORA" or not config.get("base_model_name_or_path"):
        raise InputError(f"{folder}/adapter_config.json does not describe a LoRA adapter")
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"{folder} has no adapter_model.safetensors; other weight formats are not loaded")
    return config


class Transformers:
    """A checkpoint and its adapters (name -> folder)."""

    def __init__(self, model: str, adapters: dict[str, Path]) -> None:
        source = find_model(model).source
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        local = cached_only(source)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            self.model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, local_files_only=local).to(self.device)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot load {source} ({str(error).splitlines()[0][:200]}); give a complete checkpoint in safetensors") from None
        for name, folder in adapters.items():
            made_for = check_adapter(folder)["base_model_name_or_path"]
            if find_model(made_for).source != source and Path(made_for).resolve() != Path(source).resolve():
                raise InputError(f"{folder} was trained on {made_for}, not on {source}; give --model {made_for}")
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

    def ids(self, text: str) -> list[int]:
        """Token ids; the template has already written every special token."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def score(self, requests: Sequence[Request], arm: Arm) -> list[Answer]:
        """Exact probabilities of the candidates, after sampled derivations where a request asks for them."""
        if arm.adapter is not None:
            self.model.set_adapter(arm.adapter)
            return self._score(requests, arm)
        if isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                return self._score(requests, arm)
        return self._score(requests, arm)

    def _score(self, requests: Sequence[Request], arm: Arm) -> list[Answer]:
        prompts = [prompt_text(self.tokenizer, r.messages) for r in requests]
        ends = [turn_text(self.tokenizer, r.messages, r.candidates[0])[len(r.candidates[0]) :] for r in requests]
        reasoned = any(r.samples for r in requests)
        derived = self._derivations(prompts, [r.samples for r in requests], arm) if reasoned else [[""] for _ in requests]
        jobs = [(i, text) for i, texts in enumerate(derived) for text in texts]
        scored = self.score_texts([prompts[i] + text for i, text in jobs], [[c + ends[i] for c in requests[i].candidates] for i, _ in jobs], arm.name)
        groups: list[list[np.ndarray]] = [[] for _ in requests]
        for (i, _), log_p in zip(jobs, scored, strict=True):
            groups[i].append(np.exp(log_p))
        return [Answer(np.mean(g, axis=0), tuple(t for t in d if t)) for g, d in zip(groups, derived, strict=True)]

    @torch.no_grad()
    def score_texts(self, prompts: list[str], endings: list[list[str]], label: str = "") -> list[np.ndarray]:
        """Log-probability of every ending after its prompt.  The cut between the two must be a token boundary."""
        heads = [self.ids(p) for p in prompts]
        tails = [[self.ids(e) for e in group] for group in endings]
        for prompt, head, group, tail in zip(prompts, heads, endings, tails, strict=True):
            if self.ids(prompt + group[0]) != head + tail[0]:
                raise InputError(f"the tokenizer merges the end of the prompt with the answer {group[0]!r}: this chat template cannot be scored exactly")
        results: list[np.ndarray | None] = [None] * len(prompts)
        for batch in track(self._batches([len(h) for h in heads]), f"scoring {label}", transient=True):
            for i, row in zip(batch, self._score_batch([heads[i] for i in batch], [tails[i] for i in batch]), strict=True):
                results[i] = row
        return [r for r in results if r is not None]

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

    @torch.no_grad()
    def _derivations(self, prompts: list[str], samples: list[int], arm: Arm) -> list[list[str]]:
        """Sampled derivations (temperature 1) of every prompt, cut before the last answer line; unfinished ones are kept."""
        torch.manual_seed(0)  # same prompts, same derivations
        heads = [self.ids(p) for p in prompts]
        results: list[list[str]] = [[] for _ in prompts]
        for batch in track(self._batches([max(1, n * s // 2) for n, s in zip(map(len, heads), samples, strict=True)]), f"reasoning {arm.name}", transient=True):
            jobs = [i for i in batch for _ in range(samples[i])]
            width = max(len(heads[i]) for i in jobs)
            x = torch.tensor([[self.pad] * (width - len(heads[i])) + heads[i] for i in jobs], device=self.device)
            mask = torch.tensor([[0] * (width - len(heads[i])) + [1] * len(heads[i]) for i in jobs], device=self.device)
            out = self.model.generate(
                input_ids=x, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST_DERIVATION, pad_token_id=self.pad
            )
            for i, ids in zip(jobs, out[:, width:], strict=True):
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                results[i].append(text.rpartition(ANSWER)[0] or text.rstrip() + "\n")
        return results


def adapter_base(folder: Path) -> str:
    """The checkpoint an adapter was trained on, as its own configuration names it."""
    return str(check_adapter(folder)["base_model_name_or_path"])
