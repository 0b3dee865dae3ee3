"""Repeated price competition, period by period: firms are language models or scripted.

All markets advance together: in every period each agent is asked about all its firms in one batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
from rich.console import Console

from econmoral.economics.firms import SCRIPTED
from econmoral.economics.market import Market
from econmoral.instruments.pricing import (
    HELD_OUT,
    STEPS,
    TRAIN,
    View,
    parse_full,
    price_conversation,
    render_full,
)
from econmoral.text.replies import Outcome

from .conditions import BASE
from .engines.base import Answer, Condition, Engine, Request
from .progress import progress
from .resume import prompt_hash
from .validity import quality

TRIES = 10  # of one price in the full protocol
CONTROLS = 10  # control questions are asked in the second period and then in every tenth
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}
SCALE = 100.0  # market size
Place = tuple[int, int]  # market and firm
Notes = tuple[str, str]  # plans and insights of a firm


@dataclass(frozen=True)
class Meeting:
    """One market: its firms' agents, the market, its number, from which its random draws follow,
    and which of its pairing's it is, from which its wording follows: pairings are compared in the
    same wordings."""

    agents: tuple[str, ...]
    market: Market
    number: int
    run: int = 0

    @property
    def name(self) -> str:
        """The pairing."""
        return " + ".join(self.agents)


@dataclass(frozen=True)
class Rules:
    """How firms are asked.

    protocol : ``compact`` (a price from a grid) or ``full`` (notes and any price, in free text).
    prefix : aim of a firm in the full protocol.  samples : replies per price, where sampled.
    """

    protocol: str = "compact"
    prefix: str = "P1"
    wordings: str = "train"
    samples: int = 20
    seed: int = 0


class Priced(TypedDict):
    """How one price was answered; ``market``: the number of its market."""

    market: int
    valid_answer_probability: float
    comprehension: float | None
    texts: list[str]
    outcomes: dict[Outcome, int]
    prompt_hash: str


class Period(TypedDict):
    """A line of periods.jsonl: prices (markets, firms), prices that were not named, answers by
    agent, the firms' notes in the full protocol."""

    period: int
    prices: list[list[float]]
    failures: int
    quality: NotRequired[dict[str, list[Priced]]]
    notes: NotRequired[list[list[Notes]]]


def make_market(firms: int, currency: float) -> Market:
    """The market of the published simulations, with so many like firms."""
    return Market(quality=(2.0,) * firms, cost=(1.0,) * firms, scale=SCALE, currency=currency)


def pairings(agents: Sequence[str], firms: int, which: str = "all") -> list[tuple[str, ...]]:
    """Duopoly: every pair, also with itself.  More firms: all alike, and each agent alone against
    the others' agent.  which = alike: every agent among its like only, as one firm alone is."""
    if which == "alike" or firms == 1:
        return [(a,) * firms for a in agents]
    if firms == 2:
        return list(itertools.combinations_with_replacement(agents, 2))
    alike = [(a,) * firms for a in agents]
    return alike + [(a, *(b,) * (firms - 1)) for a, b in itertools.permutations(agents, 2)]


class Simulation:
    """Markets that advance together.

    periods : what happened so far, one row a period.  quality : agent -> how each of its prices was
    answered.  failures : prices that were not named.
    """

    def __init__(
        self,
        meetings: Sequence[Meeting],
        rules: Rules,
        engine: Engine | None = None,
        conditions: Mapping[str, Condition] | None = None,
        forced: Mapping[int, np.ndarray] | None = None,
        periods: Sequence[Period] = (),
    ) -> None:
        """conditions : of the agents that are language models, by name (default: the base).

        forced : period -> price of the first firm in every market, (markets,).  periods : those
        that have been played already.
        """
        self.meetings, self.rules, self.engine = list(meetings), rules, engine
        self.conditions = {BASE.name: BASE} if conditions is None else dict(conditions)
        self.forced, self.firms = forced or {}, meetings[0].market.n
        self.periods: list[Period] = []
        self.failures = 0
        self.quality: dict[str, list[Priced]] = {}
        self._history: list[np.ndarray] = []
        self._notes: list[list[Notes]] = [[("", "")] * self.firms for _ in meetings]
        for row in periods:
            self._take(row)
        # in the full protocol customers pay at most so much, in hundredths
        self.ceilings = []
        for m in meetings:
            draw = np.random.default_rng([rules.seed, m.number, 1]).uniform(1.5, 2.5)
            self.ceilings.append(100 * draw * float(m.market.monopoly()[0]))

    def _take(self, row: Period) -> None:
        self.periods.append(row)
        self._history.append(np.array(row["prices"], float))
        if "notes" in row:
            self._notes = [[(n[0], n[1]) for n in firms] for firms in row["notes"]]
        self.failures += row["failures"]
        for agent, answers in row.get("quality", {}).items():
            self.quality.setdefault(agent, []).extend(answers)

    @property
    def prices(self) -> np.ndarray:
        """(markets, periods, firms), in the currency."""
        if not self._history:
            return np.zeros((len(self.meetings), 0, self.firms))
        return np.stack(self._history, 1)

    def run(self, periods: int, label: str = "", console: Console | None = None) -> np.ndarray:
        """Prices (markets, periods, firms) after so many periods."""
        left: Sequence[int] = range(len(self.periods), periods)
        for t in left if console is None else progress(left, label, console):
            self._take(self._next(t))
        return self.prices[:, :periods]

    def _next(self, t: int) -> Period:
        past = self.prices
        new = np.full((len(self.meetings), self.firms), np.nan)
        notes = [list(firms) for firms in self._notes]
        jobs: dict[str, list[Place]] = {}
        for i, meeting in enumerate(self.meetings):
            for firm, agent in enumerate(meeting.agents):
                if agent in self.conditions:
                    jobs.setdefault(agent, []).append((i, firm))
                else:
                    new[i, firm] = SCRIPTED[agent](meeting.market, firm, past[i])
        failures, answered = 0, {}
        for agent, places in jobs.items():
            if self.rules.protocol == "full":
                unnamed, answered[agent] = self._full(agent, places, t, past, new, notes)
            else:
                unnamed, answered[agent] = self._compact(agent, places, t, past, new)
            failures += unnamed
        if t in self.forced:
            new[:, 0] = self.forced[t]
        row: Period = {"period": t, "prices": np.round(new, 6).tolist(), "failures": failures}
        if answered:
            row["quality"] = answered
        if self.rules.protocol == "full":
            row["notes"] = notes
        return row

    def _view(self, i: int, firm: int, past: np.ndarray) -> View:
        market, prices = self.meetings[i].market, past[i]
        quantities = SCALE * market.shares(prices)
        profits = market.profits(prices) / market.currency
        plans, insights = self._notes[i][firm]
        return View(
            cost=100 * float(market.unit_cost[firm]),
            firms=market.n,
            own=tuple(100 * prices[:, firm]),
            others=tuple(tuple(100 * p for j, p in enumerate(r) if j != firm) for r in prices),
            quantities=tuple(quantities[:, firm]),
            profits=tuple(profits[:, firm]),
            ceiling=self.ceilings[i],
            plans=plans,
            insights=insights,
        )

    def _compact(
        self, agent: str, places: list[Place], t: int, past: np.ndarray, new: np.ndarray
    ) -> tuple[int, list[Priced]]:
        condition, requests, failures = self.conditions[agent], [], 0
        wordings = WORDINGS[self.rules.wordings]
        for i, firm in places:
            view, wording = (
                self._view(i, firm, past),
                wordings[self.meetings[i].run % len(wordings)],
            )
            controls = t % CONTROLS == 1
            talk = price_conversation(view, wording, condition.system, controls=controls)
            requests.append(Request(talk, view, wording, self.rules.samples))
        assert self.engine is not None
        answers = self.engine.score(requests, condition, seed=t)
        answered = []
        for (i, firm), request, answer in zip(places, requests, answers, strict=True):
            number, p = self.meetings[i].number, answer.probabilities
            # one uniform draw a firm and period: the same with and without a forced price
            rng = np.random.default_rng([self.rules.seed, number, 2, t])
            draw = rng.random(self.firms)[firm]
            if p is None or not np.isfinite(p).all():
                new[i, firm], failures = self._fallback(i, firm, past), failures + 1
            else:
                k = min(int(np.searchsorted(np.cumsum(p), draw)), STEPS - 1)
                # what is charged is what was printed
                new[i, firm] = float(request.conversation.questions[0].options[k]) / 100
            answered.append(priced(request, answer, number))
        return failures, answered

    def _full(
        self,
        agent: str,
        places: list[Place],
        t: int,
        past: np.ndarray,
        new: np.ndarray,
        notes: list[list[Notes]],
    ) -> tuple[int, list[Priced]]:
        condition, left, asked = self.conditions[agent], list(places), dict.fromkeys(places, 0)
        texts: dict[Place, list[str]] = {place: [] for place in places}
        refused = dict.fromkeys(places, 0)
        pages = {
            (i, firm): render_full(self._view(i, firm, past), self.rules.prefix, condition.system)
            for i, firm in places
        }
        write: Callable[..., Sequence[str]] = getattr(self.engine, "write")  # noqa: B009
        for attempt in range(TRIES):
            some = [pages[place] for place in left]
            replies = write(some, condition, seed=TRIES * t + attempt) if left else []
            again = []
            for place, text in zip(left, replies, strict=True):
                i, firm = place
                asked[place] += 1
                texts[place].append(text)
                refused[place] += getattr(text, "refused", False)
                # a text that was cut may end in the middle of its price
                ended = getattr(text, "cut", False) or getattr(text, "refused", False)
                reply = None if ended else parse_full(text, self.ceilings[i])
                if reply is None:
                    again.append(place)
                else:
                    new[i, firm] = reply.price / 100
                    notes[i][firm] = (reply.plans, reply.insights)
            left = again
        for i, firm in left:
            new[i, firm] = self._fallback(i, firm, past)
        answered: list[Priced] = []
        for place in places:
            named = int(place not in left)
            answered.append(
                {
                    "market": self.meetings[place[0]].number,
                    "valid_answer_probability": named / asked[place],
                    "comprehension": None,
                    "texts": texts[place],
                    "outcomes": {
                        "answered": named,
                        "unreadable": asked[place] - named - refused[place],
                        "refused": refused[place],
                    },
                    "prompt_hash": prompt_hash([pages[place]]),
                }
            )
        return len(left), answered

    def _fallback(self, i: int, firm: int, past: np.ndarray) -> float:
        """A firm that names no price keeps its last one, at first that of the middle of the grid;
        it is counted."""
        if past.shape[1]:
            return float(past[i, -1, firm])
        return float(self.meetings[i].market.unit_cost[firm] * (1 + 0.05 * (STEPS // 2)))


def priced(request: Request, answer: Answer, market: int) -> Priced:
    """A line about one price: numbers to six digits, and the texts of its one page."""
    found = quality([answer])
    known: Any = found["comprehension"]
    return {
        "market": market,
        "valid_answer_probability": float(f"{found['valid_answer_probability']:.6g}"),
        "comprehension": None if known is None else float(f"{known:.6g}"),
        "texts": found["texts"][0],
        "outcomes": found["outcomes"],
        "prompt_hash": prompt_hash([request.conversation]),
    }
