"""Draw the items, ask an engine, and turn its answers into one record per decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from econmoral.choice import best_plan
from econmoral.games import BATTERY, GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.prompts import (
    WORDINGS_HELD_OUT,
    WORDINGS_TRAIN,
    Item,
    Layout,
    Message,
    Mode,
    answers,
    belief_answers,
    draw_layout,
    mirror,
    page_actions,
    render,
    render_belief,
)
from econmoral.records import InputError
from eval.engines import Arm, Engine, Request

SETS = {"payoffs": WORDINGS_TRAIN, "wordings": WORDINGS_HELD_OUT}  # what is held out beyond the payoffs themselves
# What happens to the very decisions of "payoffs" in a changed setting, so that every difference is within a decision
CHANGES: dict[str, dict[str, Any]] = {"turns": {}, "scale": {"unit": 50}, "currency": {"currency": "rupees"}}
TITLES = {
    "payoffs": "held-out payoffs", "wordings": "held-out wordings", "turns": "after unrelated turns",
    "scale": "payoffs ten times as large", "currency": "a currency never trained on",
}  # fmt: skip
UNRELATED: tuple[Message, ...] = (
    {"role": "user", "content": "How many days are there in two weeks?"},
    {"role": "assistant", "content": "There are 14 days in two weeks."},
    {"role": "user", "content": "Thank you. Name a fruit that is yellow."},
    {"role": "assistant", "content": "A lemon is yellow."},
)
DRAWN = ("spd", "tg", "spd", "ug")  # games of random decisions, in turn
LEAD = 1.0  # both targets' optima beat every other plan by this many points, as in the training data


@dataclass(frozen=True)
class Question:
    """One decision to measure: an item and its counterbalanced layouts, in twins (2k, 2k + 1); turns that come before."""

    id: str
    set: str
    item: Item
    layouts: tuple[Layout, ...]
    before: tuple[Message, ...] = ()


def draw_questions(
    battery: str, n: int, pairs: int, kappa: float, seed: int, sets: Sequence[str] = tuple(SETS), games: Sequence[str] = DRAWN
) -> list[Question]:
    """``n`` questions in each set on held-out payoffs: random ones (``drawn``) or the 18 protocols (``games18``).

    sets : ``payoffs`` (training wordings), ``wordings`` (held-out ones); the decisions of ``payoffs`` after unrelated ``turns``,
    at another ``scale`` (payoffs times ten) or in another ``currency``, none of which was trained on.
    """
    questions = []
    for name in sets:
        number, wordings = list(SETS).index(name) if name in SETS else 0, SETS.get(name, WORDINGS_TRAIN)
        rng = np.random.default_rng([seed, number])
        for i in range(n):
            while True:
                fixed = battery == "games18"
                protocol = BATTERY[i % len(BATTERY)] if fixed else draw_protocol(games[i % len(games)], rng, held=True)
                beliefs = draw_beliefs(protocol.game, rng)
                # the battery's payoffs are given: there only the beliefs are drawn, ties and all
                if fixed or all(best_plan(protocol, beliefs, k)[1] >= LEAD for k in (0.0, kappa)):
                    break
            layouts = [replace(draw_layout(protocol.game, rng, wordings), **CHANGES.get(name, {})) for _ in range(pairs)]
            twins = tuple(twin for layout in layouts for twin in (layout, mirror(layout)))
            questions.append(Question(f"{name}-{seed}-{i}", name, Item(protocol, beliefs), twins, UNRELATED if name == "turns" else ()))
    return questions


def elicit(engine: Engine, questions: Sequence[Question], arm: Arm, seed: int) -> list[tuple[float, ...]]:
    """Beliefs the arm itself states: mean of its distribution over 0..10 of ten others, over all layouts;
    one half where it never answered."""
    keys, requests = [], []
    for q, question in enumerate(questions):
        for layout in question.layouts:
            for k in range(len(GAMES[layout.game].info_sets)):
                keys.append((q, k))
                messages = [*question.before, *render_belief(question.item, layout, k)]
                requests.append(Request(messages, belief_answers(layout, k), question.item, layout))
    sums: dict[tuple[int, int], list[float]] = {}
    for key, answer in zip(keys, engine.score(requests, arm, seed), strict=True):
        if total := answer.probabilities.sum():  # a sampled arm may have refused
            sums.setdefault(key, []).append(float(answer.probabilities / total @ np.arange(11)) / 10)
    sets = [len(GAMES[q.item.protocol.game].info_sets) for q in questions]
    return [tuple(float(np.mean(sums.get((q, k), [0.5]))) for k in range(n)) for q, n in enumerate(sets)]


def measure(engine: Engine, questions: Sequence[Question], arm: Arm, mode: Mode, beliefs: str, samples: int, seed: int = 0) -> list[dict[str, Any]]:
    """One record per question: choice probabilities averaged over its layouts, admissible mass, position bias.

    A page that a sampled model refused counts in the mass only; a decision refused on every page has null probabilities.

    beliefs : ``given`` (stated on the page), ``uniform`` (not stated, one half in estimation) or ``elicited`` (not
    stated, the arm's own); seed : of sampled derivations.  Raises InputError when an arm gives no admissible answer any probability.
    """
    if beliefs == "given":
        used = [q.item.beliefs or () for q in questions]
    elif beliefs == "uniform":
        used = [(0.5,) * len(GAMES[q.item.protocol.game].info_sets) for q in questions]
    else:
        used = elicit(engine, questions, arm, seed)
    shown = [q.item if beliefs == "given" else Item(q.item.protocol, None) for q in questions]
    system: list[Message] = [] if arm.system is None else [{"role": "system", "content": arm.system}]
    requests = [
        Request([*system, *q.before, *render(item, layout, mode)], answers(layout), q.item, layout, samples if mode == "reasoned" else 0)
        for q, item in zip(questions, shown, strict=True)
        for layout in q.layouts
    ]
    found = iter(engine.score(requests, arm, seed))
    records = []
    for q, y in zip(questions, used, strict=True):
        game = GAMES[q.item.protocol.game]
        pages = []
        for _ in q.layouts:
            answer = next(found)
            mass = float(answer.probabilities.sum())
            refused = answer.sampled and mass == 0
            if not (0 < mass < 1 + 1e-4 or refused):
                raise InputError(f"{arm.name}, item {q.id}: the admissible answers have probability {mass}; is this a chat model, and is its template right?")
            pages.append((None if refused else answer.probabilities / mass, mass, answer.texts))
        answered = [(layout, p) for layout, (p, _, _) in zip(q.layouts, pages, strict=True) if p is not None]
        first_listed = [p[[s[k] == page_actions(layout, k)[0] for s in game.strategies]].sum() for layout, p in answered for k in range(len(game.info_sets))]
        twins = [0.5 * np.abs(a[0] - b[0]).sum() for a, b in zip(pages[::2], pages[1::2], strict=True) if a[0] is not None and b[0] is not None]
        records.append(
            {
                "id": q.id,
                "set": q.set,
                "arm": arm.name,
                "mode": mode,
                "game": q.item.protocol.game,
                "payoffs": list(q.item.protocol.payoffs),
                "beliefs": list(y),
                "strategies": list(q.item.protocol.tables.strategies),
                "probabilities": np.mean([p for _, p in answered], axis=0).tolist() if answered else None,
                "mass": float(np.mean([m for _, m, _ in pages])),
                "position_bias": float(np.mean(first_listed) - 0.5) if answered else None,
                "twin_distance": float(np.mean(twins)) if twins else None,
                "pages": [
                    {"layout": asdict(layout), "probabilities": None if p is None else p.tolist(), "mass": m, "texts": list(texts)}
                    for layout, (p, m, texts) in zip(q.layouts, pages, strict=True)
                ],
            }
        )
    return records


def protocol_of(record: dict[str, Any]) -> Protocol:
    """The protocol of a record."""
    return Protocol(record["game"], tuple(record["payoffs"]))
