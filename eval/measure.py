"""Draw the decision problems, ask an engine, and turn its answers into one record per problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from econmoral.conversation import OUTCOMES, Mode
from econmoral.derivations import check_steps
from econmoral.games import BATTERY, GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.prompts import (
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
from econmoral.records import InputError
from econmoral.target import ECONOMICUS, Target

from .engines import LONGEST_DERIVATION, Answer, Arm, Engine, Request

SETS = {"payoffs": WORDINGS_TRAIN, "wordings": WORDINGS_HELD_OUT}  # what is held out beyond the payoffs themselves
# What happens to the very problems of "payoffs" in a changed setting, so that every difference is within a problem
CHANGES: dict[str, dict[str, Any]] = {"turns": {}, "scale": {"scale": 10}, "currency": {"rate": "3 rupees"}}
TITLES = {
    "payoffs": "held-out payoffs", "wordings": "held-out wordings", "turns": "after unrelated turns",
    "scale": "payoffs ten times as large", "currency": "a currency never trained on",
}  # fmt: skip
UNRELATED = (
    ("user", "How many days are there in two weeks?"),
    ("assistant", "There are 14 days in two weeks."),
    ("user", "Thank you. Name a fruit that is yellow."),
    ("assistant", "A lemon is yellow."),
)
DRAWN = ("spd", "tg", "spd", "ug")  # games of random problems, in turn
MOST_DRAWS = 20_000  # of one problem
LEAD = 1.0  # the optimum of every target beats every other plan by this many payoff units, as in the training data


@dataclass(frozen=True)
class Problem:
    """One decision problem: an item and its counterbalanced layouts, in twins (2k, 2k + 1); turns that come before."""

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
    """``n`` problems in each set on held-out payoffs: random ones (``drawn``) or the 18 protocols (``games18``).

    sets : ``payoffs`` (training wordings), ``wordings`` (held-out ones); the problems of ``payoffs`` after unrelated ``turns``,
    at another ``scale`` (payoffs times ten) or in another ``currency``, none of which was trained on.
    """
    clear = dict.fromkeys((ECONOMICUS, *targets))
    problems = []
    for name in sets:
        number, wordings = list(SETS).index(name) if name in SETS else 0, SETS.get(name, WORDINGS_TRAIN)
        rng = np.random.default_rng([seed, number])
        for i in range(n):
            for _ in range(MOST_DRAWS):
                fixed = battery == "games18"
                protocol = BATTERY[i % len(BATTERY)] if fixed else draw_protocol(games[i % len(games)], rng, held=True)
                beliefs = draw_beliefs(protocol.game, rng)
                # the battery's payoffs are given: there only the beliefs are drawn, ties and all
                if fixed or all(t.best_plan(protocol, beliefs)[1] >= LEAD for t in clear):
                    break
            else:
                raise InputError(f"no problem with a clear optimum for {', '.join(map(str, clear))} was found; choose other --targets")
            layouts = [replace(draw_layout(protocol.game, rng, wordings), **CHANGES.get(name, {})) for _ in range(pairs)]
            twins = tuple(twin for layout in layouts for twin in (layout, mirror(layout)))
            problems.append(Problem(f"{name}-{seed}-{i}", name, Item(protocol, beliefs), twins, UNRELATED if name == "turns" else ()))
    return problems


def belief_requests(problems: Sequence[Problem]) -> list[Request]:
    """What an arm is asked about its beliefs: one conversation for every information set of every layout."""
    return [
        Request(belief_conversation(p.item, layout, k, p.before), p.item, layout)
        for p in problems
        for layout in p.layouts
        for k in range(len(GAMES[layout.game].info_sets))
    ]


def elicit(engine: Engine, problems: Sequence[Problem], arm: Arm, seed: int) -> list[tuple[float, ...]]:
    """Beliefs the arm itself states: mean of its distribution over 0 to 10 of ten others, over all layouts; one half where it
    never answered."""
    keys = [(q, k) for q, p in enumerate(problems) for layout in p.layouts for k in range(len(GAMES[layout.game].info_sets))]
    requests = belief_requests(problems)
    found: dict[tuple[int, int], list[float]] = {}
    for key, answer in zip(keys, engine.score(requests, arm, seed), strict=True):
        if answer.probabilities is not None:
            found.setdefault(key, []).append(float(answer.probabilities @ np.arange(TENTHS + 1)) / TENTHS)
    sizes = [len(GAMES[p.item.protocol.game].info_sets) for p in problems]
    return [tuple(float(np.mean(found.get((q, k), [0.5]))) for k in range(n)) for q, n in enumerate(sizes)]


def requests_of(problems: Sequence[Problem], arm: Arm, mode: Mode, beliefs: str, samples: int, longest: int = LONGEST_DERIVATION) -> list[Request]:
    """What an arm is asked: one conversation for every layout of every problem."""
    shown = [p.item if beliefs == "given" else Item(p.item.protocol, None) for p in problems]
    return [
        Request(converse(item, layout, mode, arm.system, p.before), item, layout, samples, longest)
        for p, item in zip(problems, shown, strict=True)
        for layout in p.layouts
    ]


def measure(
    engine: Engine, problems: Sequence[Problem], arm: Arm, mode: Mode, beliefs: str, samples: int, seed: int = 0, longest: int = LONGEST_DERIVATION
) -> list[dict[str, Any]]:
    """One record per problem: choice probabilities averaged over its layouts, validity, comprehension, position bias.

    beliefs : ``given`` (stated on the page), ``uniform`` (not stated, one half in estimation) or ``elicited`` (not
    stated, the arm's own); seed : of sampled derivations.  A problem of which no page was answered has null probabilities.
    """
    if beliefs == "given":
        used = [p.item.beliefs or () for p in problems]
    elif beliefs == "uniform":
        used = [(0.5,) * len(GAMES[p.item.protocol.game].info_sets) for p in problems]
    else:
        used = elicit(engine, problems, arm, seed)
    requests = requests_of(problems, arm, mode, beliefs, samples, longest)
    found = iter(zip(requests, engine.score(requests, arm, seed), strict=True))
    records = []
    for problem, y in zip(problems, used, strict=True):
        pages = [_page(*next(found)) for _ in problem.layouts]
        records.append(_record(problem, arm, mode, list(y), pages))
    return records


def _page(request: Request, answer: Answer) -> dict[str, Any]:
    """One layout's answer, probabilities in the order of the game's strategies, validity in the order of its information sets."""
    layout: Layout = request.layout
    order = plan_order(layout)
    probabilities = None
    if answer.probabilities is not None:
        probabilities = np.empty(len(order))
        probabilities[order] = answer.probabilities
    valid = np.empty(len(answer.valid))
    valid[page_order(layout)] = answer.valid
    right, steps = (sum(v) for v in zip(*(check_steps(t) for t in answer.texts), strict=True)) if answer.texts else (0, 0)
    return {
        "layout": asdict(layout),
        "probabilities": None if probabilities is None else probabilities.tolist(),
        "valid": valid.tolist(),
        "controls": answer.controls.tolist(),
        "control_valid": answer.control_valid.tolist(),
        "steps": [right, steps],
        "cut": answer.cut,
        "outcomes": {k: answer.outcomes[k] for k in OUTCOMES} if answer.outcomes else None,
        "texts": list(answer.texts),
    }


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _record(problem: Problem, arm: Arm, mode: Mode, beliefs: list[float], pages: list[dict[str, Any]]) -> dict[str, Any]:
    game = GAMES[problem.item.protocol.game]
    answered = [(layout, np.array(page["probabilities"])) for layout, page in zip(problem.layouts, pages, strict=True) if page["probabilities"] is not None]
    first_listed = [float(p[[s[k] == page_actions(layout, k)[0] for s in game.strategies]].sum()) for layout, p in answered for k in range(len(game.info_sets))]
    twins = [
        0.5 * float(np.abs(np.array(a["probabilities"]) - np.array(b["probabilities"])).sum())
        for a, b in zip(pages[::2], pages[1::2], strict=True)
        if a["probabilities"] is not None and b["probabilities"] is not None
    ]
    by_decision = np.mean([page["valid"] for page in pages], axis=0)
    bias = _mean(first_listed)
    return {
        "id": problem.id,
        "set": problem.set,
        "arm": arm.name,
        "mode": mode,
        "game": problem.item.protocol.game,
        "payoffs": list(problem.item.protocol.payoffs),
        "beliefs": beliefs,
        "strategies": list(problem.item.protocol.tables.strategies),
        "probabilities": np.mean([p for _, p in answered], axis=0).tolist() if answered else None,
        "valid_answer_probability": float(by_decision.mean()),
        "valid_by_decision": by_decision.tolist(),
        "comprehension": _mean([c for page in pages for c in page["controls"]]),
        "steps": [sum(page["steps"][0] for page in pages), sum(page["steps"][1] for page in pages)],
        "cut": sum(page["cut"] for page in pages),
        "position_bias": None if bias is None else bias - 0.5,
        "twin_distance": _mean(twins),
        "pages": pages,
    }


def protocol_of(record: dict[str, Any]) -> Protocol:
    """The protocol of a record."""
    return Protocol(record["game"], tuple(record["payoffs"]))
