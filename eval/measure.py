"""Decision problems of the games: how they are drawn, what is asked, what the answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from econmoral.economics.games import BATTERY, GAMES, UNIT, Protocol, draw_beliefs, draw_protocol
from econmoral.files.records import InputError, plain
from econmoral.instruments.derivations import check_steps
from econmoral.instruments.games import (
    TENTHS,
    WORDINGS_HELD_OUT,
    WORDINGS_TRAIN,
    Item,
    Layout,
    belief_conversation,
    converse,
    draw_layout,
    mirror,
    page_actions,
    page_order,
    plan_order,
)
from econmoral.people.game_tables import read_game_problems
from econmoral.target import ECONOMICUS, Target
from econmoral.text.conversation import Mode
from econmoral.text.replies import OUTCOMES, Outcome

from .engines.base import LONGEST_DERIVATION, Answer, Condition, Request

# what is held out beyond the payoffs themselves
SETS = {"payoffs": WORDINGS_TRAIN, "wordings": WORDINGS_HELD_OUT}
# of every second problem of a game, the first left out, own payoff's optimum is another than the
# plan that is mostly its optimum: whoever always takes that plan has half of the whole plans right
# (but more of the single decisions, for what differs is mostly the first mover's)
BALANCED = "balanced"


class Change(TypedDict, total=False):
    """A layout's changed fields."""

    scale: int
    rate: str


# What happens to the very problems of "payoffs" in a changed setting, so that every difference
# is within a problem
CHANGES: dict[str, Change] = {"turns": {}, "scale": {"scale": 10}, "currency": {"rate": "3 rupees"}}
TITLES = {
    "payoffs": "held-out payoffs",
    "wordings": "held-out wordings",
    BALANCED: "held-out wordings, own payoff's usual plan wrong in every second problem",
    "turns": "after unrelated turns",
    "scale": "payoffs ten times as large",
    "currency": "a currency never trained on",
}
OWN = "own"  # set of the user's own decisions, read from a file
UNRELATED = (
    ("user", "How many days are there in two weeks?"),
    ("assistant", "There are 14 days in two weeks."),
    ("user", "Thank you. Name a fruit that is yellow."),
    ("assistant", "A lemon is yellow."),
)
DRAWN = ("spd", "tg", "spd", "ug")  # games of random problems, in turn
MOST_DRAWS = 20_000  # of one problem
# the optimum of every target beats every other plan by so many points, as in the training data
LEAD = 1.0


@dataclass(frozen=True)
class Problem:
    """One decision problem: an item, its counterbalanced layouts in twins (2k, 2k + 1), and the
    turns that come before."""

    id: str
    set: str
    item: Item
    layouts: tuple[Layout, ...]
    before: tuple[tuple[str, str], ...] = ()


def draw_problems(
    battery: str,
    n: int,
    pairs: int,
    targets: Sequence[Target],
    seed: int,
    sets: Sequence[str] = tuple(SETS),
    games: Sequence[str] = DRAWN,
) -> list[Problem]:
    """``n`` problems in each set on held-out payoffs.

    battery : random ones (``drawn``) or the 18 protocols (``games18``).  sets : ``payoffs``
    (training wordings), ``wordings`` (held-out ones), ``balanced`` (held-out ones too; of every
    second problem of a game own payoff's usual plan is not its optimum); the problems of
    ``payoffs`` after unrelated ``turns``, at another ``scale`` (payoffs times ten) or in another
    ``currency``, none of which was trained
    on.  Raises InputError where no problem has a clear optimum for every target.
    """
    clear = list(dict.fromkeys((ECONOMICUS, *targets)))
    problems = []
    for name in sets:
        number = [*SETS, BALANCED].index(name) if name in (*SETS, BALANCED) else 0
        wordings = WORDINGS_HELD_OUT if name == BALANCED else SETS.get(name, WORDINGS_TRAIN)
        rng = np.random.default_rng([seed, number])
        for i in range(n):
            usual = _usual(games, i) if name == BALANCED else None
            item = _draw_item(battery, games, i, clear, rng, usual)
            drawn = [draw_layout(item.protocol.game, rng, wordings) for _ in range(pairs)]
            layouts = [replace(layout, **CHANGES.get(name, {})) for layout in drawn]
            twins = tuple(twin for layout in layouts for twin in (layout, mirror(layout)))
            before = UNRELATED if name == "turns" else ()
            problems.append(Problem(f"{name}-{seed}-{i}", name, item, twins, before))
    return problems


@cache
def usual_plans(target: Target, draws: int = 2000, seed: int = 0) -> dict[str, int]:
    """For every game the one strategy that is most often optimal on other random problems, payoffs
    unseen.
    """
    rng = np.random.default_rng(seed)
    chosen = {}
    for game in GAMES:
        counts = np.zeros(len(GAMES[game].strategies))
        for _ in range(draws):
            protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
            counts[target.best_plan(protocol, beliefs)[0]] += 1
        chosen[game] = int(counts.argmax())
    return chosen


def _usual(games: Sequence[str], i: int) -> bool:
    """Whether own payoff's usual plan is to be optimal in problem i: in every second of a game."""
    game = games[i % len(games)]
    return sum(games[k % len(games)] == game for k in range(i)) % 2 == 0


def own_problems(path: Path, pairs: int, seed: int) -> list[Problem]:
    """The user's own decisions in the wordings of training, each with its counterbalanced layouts.

    Payoffs stand in the file as on the page, in points.  Raises InputError for payoffs and beliefs
    that a page cannot show exactly.
    """
    problems = []
    for number, (name, item) in enumerate(zip(*read_game_problems(path), strict=True)):
        points, beliefs = np.array(item.protocol.payoffs), np.array(item.beliefs)
        if np.abs(np.round(points, 4) - points).max() > 1e-9:
            raise InputError(
                f"{path}: decision {plain(name)} has a payoff with more than four decimals; "
                "round it"
            )
        if np.abs(np.round(TENTHS * beliefs) - TENTHS * beliefs).max() > 1e-9:
            raise InputError(
                f"{path}: decision {plain(name)} has a belief that is no whole number of tenths; "
                "round it (a page says what ten people did)"
            )
        t, r, p, s = (UNIT * points).tolist()
        item = Item(Protocol(item.protocol.game, (t, r, p, s)), item.beliefs)
        rng = np.random.default_rng([seed, len(SETS), number])
        drawn = [draw_layout(item.protocol.game, rng, WORDINGS_TRAIN) for _ in range(pairs)]
        twins = tuple(twin for layout in drawn for twin in (layout, mirror(layout)))
        problems.append(Problem(name, OWN, item, twins))
    return problems


def _draw_item(
    battery: str,
    games: Sequence[str],
    i: int,
    clear: Sequence[Target],
    rng: np.random.Generator,
    usual: bool | None = None,
) -> Item:
    fixed = battery == "games18"
    for _ in range(MOST_DRAWS):
        if fixed:
            protocol = BATTERY[i % len(BATTERY)]
        else:
            protocol = draw_protocol(games[i % len(games)], rng, held=True)
        beliefs = draw_beliefs(protocol.game, rng)
        # the battery's payoffs are given: there only the beliefs are drawn, ties and all
        if fixed or all(t.best_plan(protocol, beliefs)[1] >= LEAD for t in clear):
            best = ECONOMICUS.best_plan(protocol, beliefs)[0]
            if usual in (None, best == usual_plans(ECONOMICUS)[protocol.game]):
                return Item(protocol, beliefs)
    raise InputError(
        f"no problem with a clear optimum for {', '.join(map(str, clear))} was found; choose other "
        "--targets"
    )


class Page(TypedDict):
    """One layout's answer: probabilities in the order of the game's strategies, validity in the
    order of its information sets."""

    layout: dict[str, object]
    probabilities: NotRequired[list[float] | None]
    valid: list[float]
    controls: NotRequired[list[float]]
    control_valid: NotRequired[list[float]]
    steps: NotRequired[list[int]]
    cut: NotRequired[int]
    outcomes: NotRequired[dict[Outcome, int] | None]
    texts: NotRequired[list[str]]


class GameRecord(TypedDict):
    """What one condition chose in one problem, averaged over its layouts.

    beliefs : those used in estimation.  probabilities : of every whole strategy; None where no page
    was answered.  position_bias : probability of the action that is listed first, minus 1/2.
    twin_distance : total variation between counterbalanced pages.  steps : right and all lines of
    derivations that can be checked.
    """

    id: str
    set: str
    arm: str
    mode: str
    game: str
    payoffs: list[float]
    beliefs: list[float]
    strategies: list[str]
    probabilities: list[float] | None
    valid_answer_probability: float
    valid_by_decision: NotRequired[list[float]]
    comprehension: float | None
    steps: list[int]
    cut: NotRequired[int]
    position_bias: float | None
    twin_distance: float | None
    pages: NotRequired[list[Page]]
    prompt_hash: NotRequired[str]


def belief_requests(problem: Problem) -> list[Request]:
    """What is asked about beliefs: one conversation for every information set of every layout."""
    sets = range(len(GAMES[problem.item.protocol.game].info_sets))
    return [
        Request(belief_conversation(problem.item, layout, k, problem.before), problem.item, layout)
        for layout in problem.layouts
        for k in sets
    ]


def decision_requests(
    problem: Problem,
    condition: Condition,
    mode: Mode,
    beliefs: str = "given",
    samples: int = 1,
    longest: int = LONGEST_DERIVATION,
) -> list[Request]:
    """What is asked about the decisions: one conversation for every layout."""
    item = problem.item if beliefs == "given" else Item(problem.item.protocol, None)
    talks = [
        converse(item, layout, mode, condition.system, problem.before) for layout in problem.layouts
    ]
    return [
        Request(talk, item, layout, samples, longest)
        for talk, layout in zip(talks, problem.layouts, strict=True)
    ]


def stated_beliefs(problem: Problem, answers: Sequence[Answer]) -> list[float]:
    """Beliefs that were stated in reply to ``belief_requests``: mean of the distribution over 0 to
    10 of ten others, over all layouts; one half where nothing was answered."""
    n = len(GAMES[problem.item.protocol.game].info_sets)
    found: list[list[float]] = [[] for _ in range(n)]
    for i, answer in enumerate(answers):
        if answer.probabilities is not None:
            found[i % n].append(float(answer.probabilities @ np.arange(TENTHS + 1)) / TENTHS)
    return [float(np.mean(several or [0.5])) for several in found]


def page_of(layout: Layout, answer: Answer) -> Page:
    """One layout's answer."""
    order = plan_order(layout)
    by_strategy: list[float] | None = None
    if answer.probabilities is not None:
        probabilities = np.empty(len(order))
        probabilities[order] = answer.probabilities
        by_strategy = probabilities.tolist()
    valid = np.empty(len(answer.valid))
    valid[page_order(layout)] = answer.valid
    checked = [check_steps(t) for t in answer.texts]
    return {
        "layout": asdict(layout),
        "probabilities": by_strategy,
        "valid": valid.tolist(),
        "controls": answer.controls.tolist(),
        "control_valid": answer.control_valid.tolist(),
        "steps": [sum(right for right, _ in checked), sum(n for _, n in checked)],
        "cut": answer.cut,
        "outcomes": {k: answer.outcomes[k] for k in OUTCOMES} if answer.outcomes else None,
        "texts": list(answer.texts),
    }


def record_of(
    problem: Problem,
    condition: Condition,
    mode: Mode,
    beliefs: list[float],
    answers: Sequence[Answer],
) -> GameRecord:
    """What the answers to ``decision_requests`` say, averaged over the layouts."""
    pages = [page_of(layout, a) for layout, a in zip(problem.layouts, answers, strict=True)]
    game = GAMES[problem.item.protocol.game]
    known = [page["probabilities"] for page in pages]
    plans = [None if p is None else np.array(p) for p in known]
    answered = [p for p in plans if p is not None]
    first_listed = []
    for layout, p in zip(problem.layouts, plans, strict=True):
        if p is not None:
            for k, info in enumerate(game.info_sets):
                listed = page_actions(layout, k)[0] == info.actions[0]
                first_listed.append(float(p[game.first_actions[:, k] == listed].sum()))
    twins = [
        0.5 * float(np.abs(a - b).sum())
        for a, b in zip(plans[::2], plans[1::2], strict=True)
        if a is not None and b is not None
    ]
    by_decision = np.mean([page["valid"] for page in pages], axis=0)
    bias = _mean(first_listed)
    return {
        "id": problem.id,
        "set": problem.set,
        "arm": condition.name,
        "mode": mode,
        "game": problem.item.protocol.game,
        "payoffs": list(problem.item.protocol.payoffs),
        "beliefs": beliefs,
        "strategies": list(problem.item.protocol.tables.strategies),
        "probabilities": np.mean(answered, axis=0).tolist() if answered else None,
        "valid_answer_probability": float(by_decision.mean()),
        "valid_by_decision": by_decision.tolist(),
        "comprehension": _mean([c for page in pages for c in page["controls"]]),
        "steps": [sum(page["steps"][i] for page in pages) for i in (0, 1)],
        "cut": sum(page["cut"] for page in pages),
        "position_bias": None if bias is None else bias - 0.5,
        "twin_distance": _mean(twins),
        "pages": pages,
    }


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def protocol_of(record: GameRecord) -> Protocol:
    """The protocol of a record."""
    t, r, p, s = record["payoffs"]
    return Protocol(record["game"], (t, r, p, s))
