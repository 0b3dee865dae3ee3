"""Exact answer probabilities with transformers and PEFT: base and any number of adapters in one load.

The default on a CPU.  A prompt and the tree of its admissible answers are read in one pass: every token of an answer sees the
prompt and its own beginning only.  Prompts of similar length share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from econmoral.checkpoints import attach, base_for, check_adapters, load_checkpoint, load_tokenizer, window
from econmoral.records import InputError
from eval.engines import LONGEST_DERIVATION, Arm, Exact

BATCH_TOKENS = 16_384  # prompt tokens in one batch of scores; derivations, written a token at a time, take twice as many


class Transformers(Exact):
    """A checkpoint and its adapters (name -> folder); ``four_bit`` loads the base in nf4 (wherever bitsandbytes runs).

    given : the model was named explicitly, and is taken though an adapter says that it was trained on another.
    """

    def __init__(self, model: str, adapters: dict[str, Path], four_bit: bool = False, given: bool = False) -> None:
        place = base_for(model, adapters.values())
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        check_adapters(adapters.values(), place, load_tokenizer(place), given)
        self.tokenizer, loaded = load_checkpoint(place, dtype, four_bit)
        if not four_bit:
            loaded = loaded.to(self.device)
        self.keys = {name: f"adapter_{number}" for number, name in enumerate(adapters)}  # PEFT takes no name with a dot
        named = {self.keys[name]: folder for name, folder in adapters.items()}
        self.model: Any = attach(loaded, named, place.source)
        self.weights, self.note, self.window = place.record(), place.note, window(loaded)
        self.model.eval()
        # pad with anything: padded positions are masked
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id

    @contextmanager
    def _adapted(self, arm: Arm) -> Iterator[None]:
        """The arm's adapter switched on, or all of them off."""
        if arm.adapter is not None:
            self.model.set_adapter(self.keys[arm.adapter])
            yield
        elif isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield

    def merge(self, name: str) -> None:
        """Add an adapter's weights to the base's, as an exported checkpoint has them.

        The engine then stands for that one arm, which is its base: no adapter is left to be switched on or off.
        """
        self.model = self.model.merge_and_unload(adapter_names=[self.keys[name]])
        self.keys = {}

    @torch.no_grad()
    def log_probabilities(self, heads: list[list[int]], tails: list[list[list[int]]], arm: Arm) -> list[np.ndarray]:
        """One pass over every prompt followed by the tree of its answers; prompts of similar length share a batch."""
        results: list[np.ndarray] = [np.empty(0)] * len(heads)
        trees = [Tree(group) for group in tails]
        self._fits(max((len(h) + max(map(len, group)) for h, group in zip(heads, tails, strict=True)), default=0))
        with self._adapted(arm):
            # the logits of a tree weigh as much as many tokens when the vocabulary is large
            weight = 1 + self.model.config.vocab_size // 40_000
            for batch in self._batches([len(h) + weight * len(t.tokens) for h, t in zip(heads, trees, strict=True)]):
                for i, row in zip(batch, self._score_batch([heads[i] for i in batch], [trees[i] for i in batch]), strict=True):
                    results[i] = row
        return results

    @torch.no_grad()
    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """Sampled in batches; the same prompts in the same order and the same seed give the same texts."""
        self._fits(max(map(len, heads), default=0))
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

    def _fits(self, longest: int) -> None:
        """Raises InputError for a text that is longer than the model reads: what it says beyond is not its answer."""
        if self.window is not None and longest > self.window:
            raise InputError(f"a page of {longest} tokens is longer than the {self.window} that this model reads")

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        batches: list[list[int]] = [[]]
        for i in order:
            if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(i)
        return batches

    def _score_batch(self, heads: list[list[int]], trees: list[Tree]) -> list[np.ndarray]:
        width = max(len(h) + len(t.tokens) for h, t in zip(heads, trees, strict=True))
        deep = 1 + max(len(t.tokens) for t in trees)
        x = torch.full((len(heads), width), self.pad)
        position = torch.zeros((len(heads), width), dtype=torch.long)
        sees = torch.eye(width, dtype=torch.bool).repeat(len(heads), 1, 1)  # padding looks at itself only
        for i, (h, t) in enumerate(zip(heads, trees, strict=True)):  # padded on the left, so that every tree ends at the same place
            start, root = width - len(h) - len(t.tokens), width - len(t.tokens)
            x[i, start:] = torch.tensor(h + t.tokens)
            position[i, start:] = torch.tensor([*range(len(h)), *(len(h) - 1 + d for d in t.depth)])
            sees[i, start:root, start:root] = torch.ones(len(h), len(h), dtype=torch.bool).tril()
            sees[i, root:, start:root] = True  # an answer's token sees the prompt and its own beginning, not its siblings
            sees[i, root:, root:] = torch.from_numpy(t.ancestors)
        mask = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill(~sees, torch.finfo(self.model.dtype).min)[:, None]
        logits = self.model(
            input_ids=x.to(self.device), attention_mask=mask.to(self.device), position_ids=position.to(self.device), logits_to_keep=deep, use_cache=False
        ).logits  # fmt: skip
        rows = []
        for i, t in enumerate(trees):
            own = logits[i, deep - 1 - len(t.tokens) :].float()  # from the last token of the prompt on
            parents, tokens = torch.tensor(t.parent, device=own.device), torch.tensor(t.tokens + t.leaves, device=own.device)
            step = own[parents, tokens] - torch.logsumexp(own, -1)[parents]
            rows.append(t.sums(step.double().cpu().numpy()))
        return rows


class Tree:
    """The admissible answers of a prompt as a tree of tokens: what they share at the start is read once.

    Inner nodes are fed to the model: tokens, depth (first level 1), ancestors (K, K), itself included.  Leaves are only looked
    up.  parent: of every inner node, then of every leaf, counted from the prompt's last token (0).
    """

    def __init__(self, tails: list[list[int]]) -> None:
        inner: dict[tuple[int, ...], int] = {}
        for tail in tails:
            for k in range(1, len(tail)):
                inner.setdefault(tuple(tail[:k]), len(inner) + 1)
        self.tokens = [path[-1] for path in inner]
        self.depth = [len(path) for path in inner]
        ends = dict.fromkeys(tuple(tail) for tail in tails if tuple(tail) not in inner)
        self.leaves = [path[-1] for path in ends]
        number = {(): 0} | inner
        self.parent = [number[path[:-1]] for path in (*inner, *ends)]
        self.ancestors = np.eye(len(inner), dtype=bool)
        for path, k in inner.items():
            if len(path) > 1:
                self.ancestors[k - 1] |= self.ancestors[inner[path[:-1]] - 1]
        place = {path: k for k, path in enumerate((*inner, *ends))}
        self.paths = [[place[tuple(tail[: k + 1])] for k in range(len(tail))] for tail in tails]

    def sums(self, step: np.ndarray) -> np.ndarray:
        """(C,) log-probability of every answer, given that of each step (inner nodes, then leaves)."""
        return np.array([step[path].sum() for path in self.paths])
