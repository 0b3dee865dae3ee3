"""The one seam between measurement and models: a batch of requests in, a batch of answers out.

An engine has ``score(requests, arm) -> list[Answer]``.  The transformers engine is in ``eval/engine_transformers.py``; this
module holds what both sides share, and the simulated chooser that stands in for a model of known preference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np

from econmoral.choice import logit
from econmoral.games import GAMES, belief_weights
from econmoral.preferences import FAMILIES
from econmoral.prompts import Item, Layout, Message


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

    With derivations it is the mean over them of the probability given each; ``texts`` holds them.
    """

    probabilities: np.ndarray
    texts: tuple[str, ...] = ()


class Engine(Interface):
    """Anything that can answer."""

    def score(self, requests: Sequence[Request], arm: Arm) -> list[Answer]:
        """Answers in the order of the requests."""
        ...


@dataclass(frozen=True)
class Simulated:
    """A chooser of known preference: logit over whole strategies at the stated beliefs, whatever the page looks like."""

    family: str
    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm) -> list[Answer]:
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
