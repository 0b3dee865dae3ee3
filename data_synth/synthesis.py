"""Draw games, compute a preference's optimal whole strategy, put both into words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from econmoral.choice import best_plan
from econmoral.dilemmas import RATING_WORDINGS, SAVED, SCENES, Rating, predicted_choice, rating_answers, render_rating
from econmoral.games import draw_beliefs, draw_protocol
from econmoral.prompts import WORDINGS_TRAIN, Item, Layout, Mode, answer_text, draw_layout, reasoning, render

LEAD = 1.0  # points by which the optimum beats every other plan: near-ties would teach noise
OUTCOME_TARGETS = ("homo_economicus", "homo_moralis")
SHARES = {"spd": 0.5, "tg": 0.25, "ug": 0.25}  # of the games drawn by default; any other that is asked for counts as one of the small ones
TRAINED_GAMES = tuple(SHARES)


def draw_item(game: str, kappa: float, rng: np.random.Generator) -> Item:
    """A decision with payoffs that are not held out and a clear optimum, for homo economicus and for ``kappa``."""
    while True:
        protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
        if all(best_plan(protocol, beliefs, k)[1] >= LEAD for k in (0.0, kappa)):
            return Item(protocol, beliefs)


def optimum(item: Item, kappa: float) -> int:
    """Optimal pure strategy of an item with stated beliefs."""
    assert item.beliefs is not None
    return best_plan(item.protocol, item.beliefs, kappa)[0]


def answer(item: Item, layout: Layout, kappa: float, mode: Mode) -> str:
    """The assistant's text: the optimal plan, after its derivation when the prompt asks for one."""
    if mode == "direct":
        return answer_text(layout, optimum(item, kappa))
    text, best = reasoning(item, layout, kappa)
    return f"{text}\n{answer_text(layout, best)}"


def examples(
    preference: str, kappa: float, n: int, seed: int, reasoned: float, shuffled: bool = False, games: tuple[str, ...] = TRAINED_GAMES
) -> Iterator[dict[str, Any]]:
    """``n`` examples, one at a time.

    Homo economicus is homo moralis with kappa = 0; the given kappa still decides which decisions count as clear, so
    that both preferences are trained on the same decisions under the same seed.  ``reasoned`` is the share whose prompt
    asks for the derivation, ``games`` the games drawn from.  ``shuffled`` is the placebo: every answer is that of an unrelated decision of the same game.
    """
    target = kappa if preference == "homo_moralis" else 0.0
    rng, other = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    weights = np.array([SHARES.get(g, 0.25) for g in games])
    shares = weights / weights.sum()
    for i in range(n):
        game = games[int(rng.choice(len(games), p=shares))]
        item = draw_item(game, kappa, rng)
        layout = draw_layout(game, rng, WORDINGS_TRAIN)
        mode: Mode = "reasoned" if rng.random() < reasoned else "direct"
        best, differs = optimum(item, target), optimum(item, 0.0) != optimum(item, kappa)
        text = answer(item, layout, target, mode)
        if shuffled:
            best = optimum(draw_item(game, kappa, other), target)
            # a placebo has no derivation to give: the plan alone, whatever was asked
            text = answer_text(layout, best)
        protocol = item.protocol
        yield {
            "prompt": render(item, layout, mode),
            "completion": [{"role": "assistant", "content": text}],
            "meta": {
                "id": f"{preference}-{seed}-{i}",
                "preference": preference,
                "kappa": target,
                "game": game,
                "payoffs": dict(zip("TRPS", protocol.payoffs, strict=True)),
                "beliefs": list(item.beliefs or ()),
                "strategy": protocol.tables.strategies[best],
                "mode": mode,
                "shuffled": shuffled,
                "preferences_differ": differs,
                "layout": asdict(layout),
            },
        }


def dilemma_examples(preference: str, kappa: float, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Near transfer to the dilemmas: what a preference would have the car do, rated 100 or 0 (50 where it is indifferent).

    Only for those who want it: by default no dilemma is trained on, and what tuning on games does to them is the question.
    """
    target = kappa if preference == "homo_moralis" else 0.0
    rng = np.random.default_rng([seed, 2])
    for i in range(n):
        cell = Rating(str(rng.choice(list(SCENES))), int(rng.choice(SAVED)), "choose")
        reverse, wording = bool(rng.integers(2)), int(rng.integers(len(RATING_WORDINGS)))
        rating = round(100 * predicted_choice(cell.scene, cell.saved, target))
        text = rating_answers()[100 - rating if reverse else rating]
        yield {
            "prompt": render_rating(cell, reverse, wording),
            "completion": [{"role": "assistant", "content": text}],
            "meta": {
                "id": f"{preference}-dilemma-{seed}-{i}", "preference": preference, "kappa": target, "domain": "dilemmas", "scene": cell.scene,
                "saved": cell.saved, "mode": "direct", "shuffled": False,
            },
        }  # fmt: skip
