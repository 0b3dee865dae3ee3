"""Exact answer probabilities with transformers and PEFT: base and any number of adapters in one load.

The default on a CPU.  The tree of all conversations about one decision problem is read in one pass: every token sees what was
said before it on its own branch only.  Trees of similar size share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import GenerationConfig

from econmoral.chat import turn_text
from econmoral.checkpoints import attach, base_for, check_adapters, load_checkpoint, load_tokenizer, window
from econmoral.records import InputError
from eval.engines import Arm, Exact, ScoredStep

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
    def log_probabilities(self, groups: list[list[ScoredStep]], arm: Arm) -> list[list[np.ndarray]]:
        """One pass over the tree of every group; trees of similar size share a batch."""
        results: list[list[np.ndarray]] = [[] for _ in groups]
        trees = [Tree(group) for group in groups]
        self.tokens += sum(len(t.tokens) for t in trees)
        self._fits(max((1 + max(t.depth) for t in trees), default=0))
        with self._adapted(arm):
            # logits weigh as much as many tokens when the vocabulary is large
            weight = self.model.config.vocab_size // 10_000
            for batch in self._batches([len(t.tokens) + weight * t.asked for t in trees]):
                for i, row in zip(batch, self._score_batch([trees[i] for i in batch]), strict=True):
                    results[i] = row
        return results

    @torch.no_grad()
    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int, longest: int) -> list[list[tuple[str, bool]]]:
        """Sampled in batches; the same prompts in the same order and the same seed give the same texts."""
        self._fits(max(map(len, heads), default=0))
        torch.manual_seed(seed)
        results: list[list[tuple[str, bool]]] = [[] for _ in heads]
        ends = self.ends_of_turn()
        # fresh settings: a checkpoint's own (repetition penalty and the like) would change the probabilities
        settings = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=longest, pad_token_id=self.pad, eos_token_id=ends)
        with self._adapted(arm):
            for batch in self._batches([max(1, n * s // 2) for n, s in zip(map(len, heads), samples, strict=True)]):
                jobs = [i for i in batch for _ in range(samples[i])]
                width = max(len(heads[i]) for i in jobs)
                x = torch.tensor([[self.pad] * (width - len(heads[i])) + heads[i] for i in jobs], device=self.device)
                mask = torch.tensor([[0] * (width - len(heads[i])) + [1] * len(heads[i]) for i in jobs], device=self.device)
                out = self.model.generate(input_ids=x, attention_mask=mask, generation_config=settings)
                for i, ids in zip(jobs, out[:, width:].tolist(), strict=True):
                    end = next((k for k, token in enumerate(ids) if token in ends), None)
                    text = self.tokenizer.decode(ids if end is None else ids[:end], skip_special_tokens=True)
                    results[i].append((text, end is None))
        return results

    def ends_of_turn(self) -> list[int]:
        """Tokens that end the assistant's turn: the template's own, and the tokenizer's end of text."""
        end = turn_text(self.tokenizer, [{"role": "user", "content": "x"}], "K")[1:]
        ids = [self.ids(end)[0]]
        return ids if self.tokenizer.eos_token_id in (None, *ids) else [*ids, int(self.tokenizer.eos_token_id)]

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

    def _score_batch(self, trees: list[Tree]) -> list[list[np.ndarray]]:
        width = max(len(t.tokens) for t in trees)
        deep = max(t.asked for t in trees)
        x = torch.full((len(trees), width), self.pad)
        position = torch.zeros((len(trees), width), dtype=torch.long)
        sees = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)  # padding looks at itself only
        for i, t in enumerate(trees):  # padded on the left, so that what is asked for ends every row
            start = width - len(t.tokens)
            x[i, start:] = torch.tensor(t.tokens)
            position[i, start:] = torch.tensor(t.depth)
            sees[i, start:, start:] = torch.from_numpy(t.sees)
        mask = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill(~sees, torch.finfo(self.model.dtype).min)[:, None]
        logits = self.model(
            input_ids=x.to(self.device), attention_mask=mask.to(self.device), position_ids=position.to(self.device), logits_to_keep=deep, use_cache=False
        ).logits  # fmt: skip
        rows = []
        for i, t in enumerate(trees):
            own = logits[i, deep - t.asked :].float()
            parents, tokens = (torch.tensor(v, device=own.device) for v in (t.parents, t.looked_up))
            step = own[parents, tokens] - torch.logsumexp(own, -1)[parents]
            rows.append(t.options(step.double().cpu().numpy()))
        return rows


class Tree:
    """All conversations about one decision problem as a tree of tokens: what they share is read once.

    tokens, depth (N,): what is fed to the model, in an order in which the ``asked`` tokens whose successors are looked up come
    last; sees (N, N): a token sees itself and what comes before it on its branch.  parents, looked_up: for every scored token
    its predecessor (counted among the asked ones) and its id.
    """

    def __init__(self, steps: list[ScoredStep]) -> None:
        children: dict[tuple[int, int], int] = {}  # (node, token) -> node; node -1 is the empty beginning
        token: list[int] = []
        parent: list[int] = []

        def walk(node: int, ids: list[int]) -> int:
            for t in ids:
                key = (node, t)
                if key not in children:
                    children[key] = len(token)
                    token.append(t)
                    parent.append(node)
                node = children[key]
            return node

        edges: dict[tuple[int, int], int] = {}  # scored (node, token) -> place
        self._paths: list[list[list[list[int]]]] = []  # step, option, form -> places of its tokens
        for step in steps:
            context = walk(-1, step.context)
            options = []
            for several in step.options:
                places = []
                for form in several:
                    node, path = context, []
                    for k, t in enumerate(form):
                        path.append(edges.setdefault((node, t), len(edges)))
                        if k < len(form) - 1:
                            node = walk(node, [t])
                    places.append(path)
                options.append(places)
            self._paths.append(options)
        asked = {node for node, _ in edges}
        order = [n for n in range(len(token)) if n not in asked] + sorted(asked)
        place = {n: i for i, n in enumerate(order)}
        depth = [0] * len(token)
        seen = np.eye(len(token), dtype=bool)
        for n, p in enumerate(parent):  # a parent always comes before its children
            if p >= 0:
                depth[n] = depth[p] + 1
                seen[n] |= seen[p]
        self.tokens = [token[n] for n in order]
        self.depth = [depth[n] for n in order]
        self.sees = seen[np.ix_(order, order)]
        self.asked = len(asked)
        first = len(token) - len(asked)
        self.parents = [place[n] - first for n, _ in edges]
        self.looked_up = [t for _, t in edges]

    def options(self, step: np.ndarray) -> list[np.ndarray]:
        """For every step (O,) the log-probability of each option, its forms added up; ``step`` is that of each scored token."""
        return [np.array([np.logaddexp.reduce([step[path].sum() for path in several]) for several in options]) for options in self._paths]
