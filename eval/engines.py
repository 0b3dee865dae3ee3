"""The one seam between measurement and models: a batch of requests in, a batch of answers out.

An engine has ``score(requests, arm, seed) -> list[Answer]``.  ``Exact`` is the part that every engine with access to token
probabilities shares: the same bytes go in, whole answers are scored, end of turn included, so that the admissible answers
are disjoint events.  ``Simulated`` stands in for a model of known preference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np

from econmoral.chat import prompt_text, turn_text
from econmoral.choice import logit
from econmoral.games import GAMES, belief_weights
from econmoral.preferences import FAMILIES
from econmoral.prompts import ANSWER, Item, Layout, Message
from econmoral.records import InputError

LONGEST_DERIVATION = 600  # tokens


@dataclass(frozen=True)
class Arm:
    """What is measured: the base (adapter None) or an adapter, with or without a system message."""

    name: str
    adapter: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class Request:
    """A prompt, its admissible answers, and the decision behind it (for choosers that need no words).

    samples > 0 asks for so many derivations to be sampled before the answer is scored.
    """

    messages: list[Message]
    candidates: list[str]
    item: Item
    layout: Layout
    samples: int = 0


@dataclass(frozen=True)
class Answer:
    """Probability of every candidate (C,), as it stands: what is missing to 1 fell outside the admissible answers.

    With derivations it is the mean over them of the probability given each; ``texts`` holds them.  ``sampled``: it may be that
    nothing came, all refusals or no reply.
    """

    probabilities: np.ndarray
    texts: tuple[str, ...] = ()
    sampled: bool = False


class Engine(Interface):
    """Anything that can answer."""

    def score(self, requests: Sequence[Request], arm: Arm, seed: int) -> list[Answer]:
        """Answers in the order of the requests; ``seed`` is for what is sampled."""
        ...


class Exact(ABC):
    """An engine that knows token probabilities.  ``tokens``: of prompts, derivations and answers that went through it so far."""

    tokenizer: Any
    tokens: int = 0

    @abstractmethod
    def log_probabilities(self, heads: list[list[int]], tails: list[list[list[int]]], arm: Arm) -> list[np.ndarray]:
        """Log-probability of every tail of tokens after its head, (C,) for each head."""

    @abstractmethod
    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """So many continuations of every head, sampled at temperature 1."""

    def write(self, conversations: Sequence[list[Message]], arm: Arm, seed: int) -> list[str]:
        """One free reply to each conversation, sampled at temperature 1."""
        heads = [self.ids(prompt_text(self.tokenizer, messages)) for messages in conversations]
        return [texts[0] for texts in self.derivations(heads, [1] * len(heads), arm, seed)]

    def derivations(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """``derive``, counted."""
        found = self.derive(heads, samples, arm, seed)
        self.tokens += sum(len(head) * len(texts) + sum(len(self.ids(t)) for t in texts) for head, texts in zip(heads, found, strict=True))
        return found

    def ids(self, text: str) -> list[int]:
        """Token ids; the template has already written every special token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities of the candidates, after sampled derivations where a request asks for them."""
        prompts = [prompt_text(self.tokenizer, r.messages) for r in requests]
        ends = [turn_text(self.tokenizer, r.messages, r.candidates[0])[len(r.candidates[0]) :] for r in requests]
        derived: list[list[str]] = [[""] for _ in requests]
        if any(r.samples for r in requests):
            texts = self.derivations([self.ids(p) for p in prompts], [r.samples for r in requests], arm, seed)
            # cut before the last answer line; an unfinished derivation is kept as it is
            derived = [[t.rpartition(ANSWER)[0] or t.rstrip() + "\n" for t in some] for some in texts]
        jobs = [(i, text) for i, texts in enumerate(derived) for text in texts]
        scored = self.score_texts([prompts[i] + text for i, text in jobs], [[c + ends[i] for c in requests[i].candidates] for i, _ in jobs], arm)
        groups: list[list[np.ndarray]] = [[] for _ in requests]
        for (i, _), log_p in zip(jobs, scored, strict=True):
            if np.isnan(log_p).any():
                raise InputError(f"{arm.name}: scores are not a number (nan); its weights are broken or overflow in this precision")
            if np.isfinite(log_p).any():  # else its scores never came from an endpoint
                groups[i].append(np.exp(log_p))
        return [
            Answer(np.mean(g, axis=0) if g else np.zeros(len(r.candidates)), tuple(t for t in d if t), sampled=not g)
            for g, d, r in zip(groups, derived, requests, strict=True)
        ]

    def score_texts(self, prompts: list[str], endings: list[list[str]], arm: Arm) -> list[np.ndarray]:
        """Log-probability of every ending after its prompt.  Raises InputError unless the cut between the two is a token boundary."""
        heads = [self.ids(p) for p in prompts]
        tails = [[self.ids(e) for e in group] for group in endings]
        for prompt, head, group, tail in zip(prompts, heads, endings, tails, strict=True):
            if self.ids(prompt + group[0]) != head + tail[0]:
                raise InputError(f"the tokenizer merges the end of the prompt with the answer {group[0]!r}: this chat template cannot be scored exactly")
        self.tokens += sum(len(head) + sum(map(len, group)) for head, group in zip(heads, tails, strict=True))
        return self.log_probabilities(heads, tails, arm)


@dataclass(frozen=True)
class Simulated:
    """A chooser of known preference: logit over whole strategies at the stated beliefs, whatever the page looks like."""

    family: str
    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact logit probabilities; a request about a belief is answered with five of ten."""
        answers = []
        for r in requests:
            if len(r.candidates) != len(GAMES[r.layout.game].strategies):
                answers.append(Answer(np.eye(len(r.candidates))[len(r.candidates) // 2]))
                continue
            weights = belief_weights(r.layout.game, r.item.beliefs or (0.5,) * len(GAMES[r.layout.game].info_sets))
            utility = FAMILIES[self.family].utility(r.item.protocol.tables, weights, self.theta)
            answers.append(Answer(logit(utility, self.precision)))
        return answers
