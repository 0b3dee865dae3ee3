"""What both frameworks ask: the held-out games, page by page, with the optima of both preferences."""

from __future__ import annotations

from dataclasses import dataclass

from econmoral.choice import best_replies
from econmoral.games import GAMES, belief_weights
from econmoral.preferences import FAMILIES
from econmoral.prompts import Message, answers, render
from econmoral.records import InputError
from eval.measure import draw_questions


@dataclass(frozen=True)
class Page:
    """A prompt, its admissible answers, which of them are optimal, and the share of co-operative actions in each."""

    id: str
    messages: list[Message]
    candidates: list[str]
    economicus: list[int]
    moralis: list[int]
    cooperative: list[float]


def draw_pages(items: int, mode: str, kappa: float, seed: int) -> list[Page]:
    """The set "payoffs" of ``python -m eval.games``, two pages a decision.  Raises InputError for an unknown mode."""
    if mode not in ("direct", "reasoned"):
        raise InputError(f"mode must be direct or reasoned, got {mode!r}")
    pages = []
    for question in draw_questions("drawn", int(items), 1, kappa, int(seed)):
        if question.set != "payoffs":
            continue
        protocol, game = question.item.protocol, GAMES[question.item.protocol.game]
        weights = belief_weights(protocol.game, question.item.beliefs or ())
        best = [best_replies(FAMILIES["homo_moralis"].utility(protocol.tables, weights, {"kappa": k})) for k in (0.0, kappa)]
        first = [sum(a == info.actions[0] for a, info in zip(s, game.info_sets, strict=True)) / len(s) for s in game.strategies]
        for number, layout in enumerate(question.layouts):
            messages = render(question.item, layout, "direct" if mode == "direct" else "reasoned")
            pages.append(Page(f"{question.id}-{number}", messages, answers(layout), best[0], best[1], first))
    return pages
