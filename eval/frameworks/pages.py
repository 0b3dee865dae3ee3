"""What both frameworks ask: the held-out games as conversations,
with what each preference would decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from econmoral.economics.choice import best_replies
from econmoral.economics.games import GAMES
from econmoral.files.records import InputError
from econmoral.instruments.games import converse, page_actions, page_order
from econmoral.target import ECONOMICUS, Target

from ..measure import draw_problems


@dataclass(frozen=True)
class Page:
    """A conversation and what would be right in it.

    turns : the user's turns; in reasoned mode the first asks for a derivation, each other one for a
    decision.  options : of every decision, as they are to be replied.  best : ``economicus`` and
    ``target`` -> for every decision the options that belong to an optimal plan.  cooperative : for
    every decision the option that is the first (co-operative) action.
    """

    id: str
    turns: list[str]
    options: list[list[str]]
    best: dict[str, list[list[int]]]
    cooperative: list[int]


def draw_pages(items: int, mode: str, target: str | list[str], seed: int) -> list[Page]:
    """The set "payoffs" of ``python -m eval.games``, two pages a problem.

    Raises InputError for an unknown mode or target.

    target : as in ``homo_moralis:kappa=0.5``; a list is one whose commas a command line has split.
    """
    if mode not in ("direct", "reasoned"):
        raise InputError(f"mode must be direct or reasoned, got {mode!r}")
    wanted = {
        "economicus": ECONOMICUS,
        "target": Target.parse(target if isinstance(target, str) else ",".join(target)),
    }
    pages = []
    for problem in draw_problems(
        "drawn", int(items), 1, list(wanted.values()), int(seed), ["payoffs"]
    ):
        protocol, game = problem.item.protocol, GAMES[problem.item.protocol.game]
        plans = {
            name: best_replies(np.array(t.plans(protocol, problem.item.beliefs or ())))
            for name, t in wanted.items()
        }
        for number, layout in enumerate(problem.layouts):
            talk = converse(problem.item, layout, "reasoned" if mode == "reasoned" else "direct")
            order = page_order(layout)
            best = {
                name: [
                    sorted({page_actions(layout, k).index(game.strategies[i][k]) for i in several})
                    for k in order
                ]
                for name, several in plans.items()
            }
            first = [page_actions(layout, k).index(game.info_sets[k].actions[0]) for k in order]
            later = [q.text for q in talk.questions][0 if mode == "reasoned" else 1 :]
            turns = [talk.opening()[-1]["content"], *later]
            pages.append(
                Page(
                    f"{problem.id}-{number}",
                    turns,
                    [list(q.options) for q in talk.questions],
                    best,
                    first,
                )
            )
    return pages
