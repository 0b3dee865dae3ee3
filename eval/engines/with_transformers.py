"""Exact answer probabilities with transformers and PEFT:
base and any number of adapters in one load.

The default on a CPU.  The tree of all conversations about one decision problem is read in one
pass: every token sees what was said before it on its own branch only.  Trees of similar size share
a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import GenerationConfig

from econmoral.checkpoints.attaching import attach, base_for, check_adapters
from econmoral.checkpoints.loading import check_files, load_checkpoint, load_tokenizer, window
from econmoral.files.records import InputError
from econmoral.text.conversation import LETTER, Conversation, Question

from ..conditions import BASE
from .base import Condition, Exact, ScoredStep

# The tree and plain passes agree to this, in log-probability (relative where that is below -1)
AGREE = 1e-4  # fp32
AGREE_ROUNDED = 0.1  # bf16, fp16 and 4-bit weights, where the order of a sum already matters
WINDOWED = {"sliding_attention", "chunked_attention"}
PLAIN = "one plain pass for every reply instead, which is slower"
CHECK = Conversation(
    "You and another person share ten points. K gives you six of them, M gives you five.",
    (
        Question(f"Which do you choose, K or M? {LETTER}", ("K", "M")),
        Question(f"Once more: which do you choose? {LETTER}", ("K", "M")),
    ),
)
# prompt tokens in one batch of scores; derivations, written a token at a time, take twice as many
BATCH_TOKENS = 16_384


SINGLE = 4e9  # bytes of a checkpoint's files up to which a GPU measures it in single precision


def _weight_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


class Transformers(Exact):
    """A checkpoint and its adapters (name -> folder);
    ``four_bit`` loads the base in nf4 (wherever bitsandbytes runs).

    given : the model was named explicitly, and is taken though an adapter says that it was trained
    on another.  apart : adapters are always run beside the base, never merged into a copy: what
    merging is held against.
    """

    def __init__(
        self,
        model: str,
        adapters: dict[str, Path],
        four_bit: bool = False,
        given: bool = False,
        apart: bool = False,
    ) -> None:
        self.place = place = base_for(model, adapters.values())
        check_files(place)  # before a library reads any of it
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # of a small checkpoint half precision saves nothing, and single is exact
        half = self.device == "cuda" and _weight_bytes(place.folder) > SINGLE
        dtype = torch.bfloat16 if half else torch.float32
        check_adapters(adapters.values(), place, load_tokenizer(place), given)
        self.tokenizer, loaded = load_checkpoint(place, dtype, four_bit)
        if not four_bit:
            loaded = loaded.to(self.device)
        # PEFT takes no name with a dot
        self.keys = {name: f"adapter_{number}" for number, name in enumerate(adapters)}
        named = {self.keys[name]: folder for name, folder in adapters.items()}
        self.model: Any = attach(loaded, named, place.source)
        self.weights, self.note, self.window = place.record(), place.note, window(loaded)
        self.model.eval()
        self.four_bit, self.apart = four_bit, apart
        self._copy: tuple[str | None, Any] | None = (
            None  # the adapter that is merged into a copy of the model, and the copy
        )
        # pad with anything: padded positions are masked
        self.pad = (
            self.tokenizer.pad_token_id
            if self.tokenizer.pad_token_id is not None
            else self.tokenizer.eos_token_id
        )

    def add(self, name: str, folder: Path) -> None:
        """Load one more adapter, checked as the first ones were.

        One of that name is left as it is.  Raises InputError as these do.
        """
        if name in self.keys:
            return
        check_adapters([folder], self.place, self.tokenizer, False)
        key = f"adapter_{len(self.keys)}"
        self.model = attach(self.model, {key: folder}, self.place.source).eval()
        self.keys[name] = key

    @contextmanager
    def _adapted(self, condition: Condition) -> Iterator[None]:
        """The condition's adapter switched on, or all of them off."""
        if condition.adapter is not None:
            self.model.set_adapter(self.keys[condition.adapter])
            merged = self._merged(condition)
            if merged is None:
                yield
                return
            whole, self.model = self.model, merged
            try:
                yield
            finally:
                self.model = whole
        elif isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield

    def _merged(self, condition: Condition) -> Any | None:
        """A copy of the model with the condition's adapter added to its weights,
        where that is faster and the same.

        In single precision: the adapter's own products cost as much as a third of writing a
        derivation.  The copy is held against the model with its adapter on one page; where they
        differ by more than AGREE there is none.
        """
        if self.apart or self.model.dtype != torch.float32 or self.four_bit:
            return None
        if self._copy is None or self._copy[0] != condition.adapter:
            copy = (
                deepcopy(self.model)
                .merge_and_unload(adapter_names=[self.keys[str(condition.adapter)]])
                .eval()
            )
            page = torch.tensor([self.scored(CHECK.steps()[0][0]).context], device=self.device)
            apart = (
                (
                    self.model(input_ids=page).logits[0, -1].log_softmax(-1)
                    - copy(input_ids=page).logits[0, -1].log_softmax(-1)
                )
                .abs()
                .max()
            )
            if not apart <= AGREE:
                self._say(
                    f"{condition.name}: merged into the base it differs by {float(apart):.1g}: "
                    "measured unmerged"
                )
            self._copy = (condition.adapter, copy if apart <= AGREE else None)
        return self._copy[1]

    def merge(self, name: str) -> None:
        """Add an adapter's weights to the base's, as an exported checkpoint has them.

        The engine then stands for that one condition, which is its base: no adapter is left to be
        switched on or off.
        """
        self.model = self.model.merge_and_unload(adapter_names=[self.keys[name]])
        self.keys, self._copy = {}, None
        self._trusted.clear()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def log_probabilities(
        self, groups: list[list[ScoredStep]], condition: Condition
    ) -> list[list[np.ndarray] | None]:
        """One pass over the tree of every group; trees of similar size share a batch.

        Where the tree is not what plain passes are (attention that is not full), one plain pass for
        every reply.
        """
        results: list[list[np.ndarray] | None] = [None for _ in groups]
        self._fits(max((_length(step) - 1 for group in groups for step in group), default=0))
        with self._adapted(condition):
            longest = self._longest_tree(condition)
            plain = {
                i for i, group in enumerate(groups) if max(map(_length, group), default=0) > longest
            }
            for i in plain:
                results[i] = self._plain(groups[i])
            if plain and math.isfinite(longest) and longest > 0:
                self._say(
                    f"conversations of more than {longest:g} tokens do not fit this model's "
                    f"attention window: {PLAIN}"
                )
            trees = {i: Tree(group) for i, group in enumerate(groups) if i not in plain}
            self.tokens += sum(len(t.tokens) for t in trees.values())
            # logits weigh as much as many tokens when the vocabulary is large
            weight = self.model.config.get_text_config().vocab_size // 10_000
            places = list(trees)
            for batch in self._batches(
                [len(trees[i].tokens) + weight * trees[i].asked for i in places]
            ):
                some = [places[k] for k in batch]
                for i, row in zip(some, self._score_batch([trees[i] for i in some]), strict=True):
                    results[i] = row
        return results

    def _say(self, what: str) -> None:
        if what not in (self.note or ""):
            self.note = f"{self.note}; {what}" if self.note else what

    @cached_property
    def _trusted(self) -> dict[str | None, float]:
        """For every adapter that was checked the longest conversation whose tree is exact,
        in tokens.
        """
        return {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def check(self, conditions: Iterable[Condition]) -> None:
        """Hold the tree against plain passes for every condition now,
        and not on its first use; ``note`` says what was found.
        """
        for condition in conditions:
            with self._adapted(condition):
                self._longest_tree(condition)

    def trust_as_base(self, adapter: str) -> None:
        """Let the check of the base hold for an adapter, whose first use is then no slower than
        any other: LoRA on linear layers leaves attention as it is.
        """
        if adapter not in self._trusted:
            self.check([BASE])
            self._trusted[adapter] = self._trusted[None]

    def _longest_tree(self, condition: Condition) -> float:
        """Tokens of the longest conversation whose tree is what plain passes are.

        The condition's adapter is on.

        Checked on a condition's first use: one short conversation by the tree and by plain passes.

        0 where they differ by more than AGREE (or the tree cannot be read at all); the attention
        window where there is one, for a short conversation says nothing about longer ones.
        """
        if condition.adapter not in self._trusted:
            config = self.model.config.get_text_config()
            layers = set(getattr(config, "layer_types", None) or ())
            longest = 0.0 if layers - WINDOWED - {"full_attention"} else math.inf
            windows = [
                getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")
            ]
            if not layers or layers & WINDOWED:
                longest = min([longest, *(w for w in windows if w)])
            if longest:
                steps = [self.scored(s) for level in CHECK.steps() for s in level]
                plain = self._plain(steps)
                try:
                    (tree,) = self._score_batch([Tree(steps)])
                    gap = max(
                        float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())
                        for a, b in zip(tree, plain, strict=True)
                    )
                except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
                    gap = math.inf
                exact = self.model.dtype in (torch.float32, torch.float64) and not getattr(
                    config, "quantization_config", None
                )
                # weights that are no numbers: said where they are used
                broken = any(np.isnan(row).any() for row in plain)
                if not broken and not gap <= (AGREE if exact else AGREE_ROUNDED):
                    longest = 0.0
            if not longest:
                self._say(
                    "this model's attention is not full, so that a tree of conversations cannot "
                    f"be read at once: {PLAIN}"
                )
            self._trusted[condition.adapter] = longest
        return self._trusted[condition.adapter]

    def _plain(self, steps: list[ScoredStep]) -> list[np.ndarray]:
        """A pass of its own for every reply, without mask or padding."""
        known: dict[tuple[int, ...], float] = {}
        rows = []
        for step in steps:
            row = []
            for several in step.options:
                for form in several:
                    ids = (*step.context, *form)
                    if ids not in known:
                        x = torch.tensor([ids], device=self.device)
                        logits = self.model(
                            input_ids=x, logits_to_keep=len(form) + 1, use_cache=False
                        ).logits[0, -len(form) - 1 : -1]
                        found = torch.log_softmax(logits.float(), -1)[range(len(form)), form]
                        known[ids] = float(found.double().sum())
                        self.tokens += len(ids)
                row.append(np.logaddexp.reduce([known[(*step.context, *form)] for form in several]))
            rows.append(np.array(row))
        return rows

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def derive(
        self,
        heads: list[list[int]],
        samples: list[int],
        condition: Condition,
        seed: int,
        longest: int,
    ) -> list[list[tuple[str, bool]]]:
        """Sampled in batches.

        The same prompts in the same order and the same seed give the same texts.
        """
        self._fits(max(map(len, heads), default=0))
        torch.manual_seed(seed)
        results: list[list[tuple[str, bool]]] = [[] for _ in heads]
        ends = self.ends_of_turn()
        # fresh settings: a checkpoint's own (repetition penalty and the like) would change the
        # probabilities; transformers takes what is not set here from the model's, hence those are
        # emptied too
        for part in {
            id(m): m
            for m in (self.model, getattr(self.model, "get_base_model", lambda: self.model)())
        }.values():
            part.generation_config = GenerationConfig()
        how: dict[str, Any] = (
            {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
            if self.temperature
            else {"do_sample": False}
        )
        settings = GenerationConfig(
            **how, max_new_tokens=longest, pad_token_id=self.pad, eos_token_id=ends
        )
        with self._adapted(condition):
            for batch in self._batches(
                [max(1, n * s // 2) for n, s in zip(map(len, heads), samples, strict=True)]
            ):
                jobs = [i for i in batch for _ in range(samples[i])]
                width = max(len(heads[i]) for i in jobs)
                x = torch.tensor(
                    [[self.pad] * (width - len(heads[i])) + heads[i] for i in jobs],
                    device=self.device,
                )
                mask = torch.tensor(
                    [[0] * (width - len(heads[i])) + [1] * len(heads[i]) for i in jobs],
                    device=self.device,
                )
                out = self.model.generate(
                    input_ids=x, attention_mask=mask, generation_config=settings
                )
                for i, ids in zip(jobs, out[:, width:].tolist(), strict=True):
                    end = next((k for k, token in enumerate(ids) if token in ends), None)
                    text = self.tokenizer.decode(
                        ids if end is None else ids[:end], skip_special_tokens=True
                    )
                    results[i].append(
                        (self.until_end(text), end is None and self.until_end(text) == text)
                    )
        return results

    def _fits(self, longest: int) -> None:
        """Raises InputError for a text that is longer than the model reads:
        what it says beyond is not its answer.
        """
        if self.window is not None and longest > self.window:
            raise InputError(
                f"a page of {longest} tokens is longer than the {self.window} that this model reads"
            )

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        batches: list[list[int]] = [[]] if order else []
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
        # padding looks at itself only
        sees = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
        # padded on the left, so that what is asked for ends every row
        for i, t in enumerate(trees):
            start = width - len(t.tokens)
            x[i, start:] = torch.tensor(t.tokens)
            position[i, start:] = torch.tensor(t.depth)
            sees[i, start:, start:] = torch.from_numpy(t.sees)
        mask = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill(
            ~sees, torch.finfo(self.model.dtype).min
        )[:, None]
        logits = self.model(
            input_ids=x.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=position.to(self.device),
            logits_to_keep=deep,
            use_cache=False,
        ).logits
        rows = []
        for i, t in enumerate(trees):
            own = logits[i, deep - t.asked :].float()
            parents, tokens = (torch.tensor(v, device=own.device) for v in (t.parents, t.looked_up))
            step = own[parents, tokens] - torch.logsumexp(own, -1)[parents]
            rows.append(t.options(step.double().cpu().numpy()))
        return rows


def _length(step: ScoredStep) -> int:
    """Tokens of a turn's context and its longest reply."""
    return len(step.context) + max(len(form) for several in step.options for form in several)


class Tree:
    """All conversations about one decision problem as a tree of tokens:
    what they share is read once.

    tokens, depth (N,): what is fed to the model, in an order in which the ``asked`` tokens whose
    successors are looked up come last; sees (N, N): a token sees itself and what comes before it on
    its branch.  parents, looked_up: for every scored token its predecessor (counted among the
    asked ones) and its id.
    """

    def __init__(self, steps: list[ScoredStep]) -> None:
        # (node, token) -> node; node -1 is the empty beginning
        children: dict[tuple[int, int], int] = {}
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
        """For every step (O,) the log-probability of each option, its forms added up;
        ``step`` is that of each scored token.
        """
        return [
            np.array(
                [np.logaddexp.reduce([step[path].sum() for path in several]) for several in options]
            )
            for options in self._paths
        ]
