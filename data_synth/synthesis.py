"""Draw decision problems, compute a target's optimum, put the conversation about it into words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from econmoral.economics.games import draw_beliefs, draw_protocol
from econmoral.files.records import InputError
from econmoral.instruments.derivations import allocation_derivation, derives, game_derivation
from econmoral.instruments.games import (
    WORDINGS_CROSSED,
    WORDINGS_TRAIN,
    Item,
    choices_of,
    converse,
    draw_layout,
)
from econmoral.instruments.menus import (
    CROSSED,
    LARGEST_POINTS,
    TRAIN,
    draw_allocation,
    draw_page,
    menu_conversation,
)
from econmoral.target import ECONOMICUS, Target, moralis
from econmoral.text.conversation import Message, Mode

LEAD = 1.0  # points by which the optimum beats every other plan: near-ties would teach noise
# of the games drawn by default; any other that is asked for counts as a small one
SHARES = {"spd": 0.5, "tg": 0.25, "ug": 0.25}
TRAINED_GAMES = tuple(SHARES)
DOMAINS = ("games", "allocations", "dilemmas")
# share of conversations with a derivation: short direct ones keep the form of the bare answer
REASONED = 0.85
# share of the direct ones that begin with the control questions, so that a tuned model still
# answers them
CONTROLS = 0.5
TRIES = 10_000  # decision problems drawn before a target is given up as always near a tie


@dataclass(frozen=True)
class Draw:
    """What is drawn: conversations of a target, on problems where the optimum of a rival is clear
    too, so that both train on the same decisions.

    reasoned : share of conversations with a derivation.  shuffled : placebo, the derivation and
    answers of an unrelated decision problem on this page.  crossed : in every training wording
    about the roles of every other one, too.  largest : points of an allocation.
    """

    target: Target
    rival: Target
    n: int
    seed: int
    domain: str = "games"
    reasoned: float = REASONED
    shuffled: bool = False
    games: tuple[str, ...] = TRAINED_GAMES
    crossed: bool = False
    largest: int = LARGEST_POINTS


def draw_item(game: str, targets: tuple[Target, ...], rng: np.random.Generator) -> Item:
    """A decision problem with payoffs that are not held out
    and a clear optimum for every target.
    """
    for _ in range(TRIES):
        protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
        if all(t.best_plan(protocol, beliefs)[1] >= LEAD for t in targets):
            return Item(protocol, beliefs)
    raise InputError(
        f"no {game} decision with a clear optimum for {' and '.join(map(str, targets))} was found; "
        "choose other values"
    )


def examples(draw: Draw) -> Iterator[dict[str, Any]]:
    """``draw.n`` conversations as ``messages`` with ``meta``, one at a time.

    Same draw, same bytes.
    """
    if draw.domain == "dilemmas":
        return _dilemmas(draw)
    return _allocations(draw) if draw.domain == "allocations" else _games(draw)


def _row(
    draw: Draw, number: int, messages: list[Message], mode: Mode, **meta: Any
) -> dict[str, Any]:
    return {
        "messages": messages,
        "meta": {
            "id": f"{draw.target}-{draw.domain}-{draw.seed}-{number}",
            "target": str(draw.target),
            "preference": draw.target.family,
            "kappa": draw.target.kappa,
            "domain": draw.domain,
            "mode": mode,
            "shuffled": draw.shuffled,
            **meta,
        },
    }


def _mode(draw: Draw, rng: np.random.Generator) -> Mode:
    reasoned = rng.random() < draw.reasoned
    return "reasoned" if reasoned and derives(draw.target, draw.domain) else "direct"


def _quizzed(mode: Mode, rng: np.random.Generator) -> bool:
    # whatever the mode, so that targets with and without derivations see the same decisions
    drawn = rng.random() < CONTROLS
    return drawn and mode == "direct"


def _games(draw: Draw) -> Iterator[dict[str, Any]]:
    targets = tuple(dict.fromkeys((draw.target, draw.rival, ECONOMICUS)))
    rng, other = np.random.default_rng([draw.seed, 0]), np.random.default_rng([draw.seed, 1])
    wordings = WORDINGS_CROSSED if draw.crossed else WORDINGS_TRAIN
    weights = np.array([SHARES.get(g, 0.25) for g in draw.games])
    for i in range(draw.n):
        game = draw.games[int(rng.choice(len(draw.games), p=weights / weights.sum()))]
        mode = _mode(draw, rng)
        while True:
            item, layout = draw_item(game, targets, rng), draw_layout(game, rng, wordings)
            source = draw_item(game, targets, other) if draw.shuffled else item
            assert source.beliefs is not None
            best = draw.target.best_plan(source.protocol, source.beliefs)[0]
            derivation, derived = (
                game_derivation(source, layout, draw.target) if mode == "reasoned" else (None, best)
            )
            if derived == best:  # at kappa = 1 plans may tie
                break
        bests = [
            t.best_plan(item.protocol, item.beliefs or ())[0] for t in (ECONOMICUS, draw.rival)
        ]
        talk, quizzed = converse(item, layout, mode), _quizzed(mode, rng)
        yield _row(
            draw,
            i,
            talk.transcript(choices_of(layout, best), derivation, quizzed),
            mode,
            controls=quizzed,
            game=game,
            payoffs=dict(zip("TRPS", item.protocol.payoffs, strict=True)),
            beliefs=list(item.beliefs or ()),
            strategy=item.protocol.tables.strategies[best],
            targets_differ=bests[0] != bests[1],
            layout=asdict(layout),
        )


def _allocations(draw: Draw) -> Iterator[dict[str, Any]]:
    rng, other = np.random.default_rng([draw.seed, 3]), np.random.default_rng([draw.seed, 4])
    drawn = partial(draw_allocation, held=False, target=draw.target, largest=draw.largest)
    for i in range(draw.n):
        menu = drawn(rng)
        page = draw_page(menu, rng, CROSSED if draw.crossed else TRAIN)
        mode = _mode(draw, rng)
        source = drawn(other) if draw.shuffled else menu
        utility = draw.target.of_allocations(np.array(source.own), np.array(source.other))
        best = int(utility.argmax())
        derivation = (
            allocation_derivation(source, page, draw.target) if mode == "reasoned" else None
        )
        talk, quizzed = menu_conversation(menu, page, mode), _quizzed(mode, rng)
        yield _row(
            draw,
            i,
            talk.transcript((page.order.index(best),), derivation, quizzed),
            mode,
            controls=quizzed,
            game="allocation",
            own=list(menu.own),
            other=list(menu.other),
            strategy=best,
            targets_differ=best != int(np.argmax(menu.own)),
            layout=asdict(page),
        )


def _dilemmas(draw: Draw) -> Iterator[dict[str, Any]]:
    """Near transfer to the dilemmas: what a preference would have the car do,
    rated 100 or 0 (50 where it is indifferent).

    Only for those who want it: by default no dilemma is trained on, and what tuning on games does
    to them is the question.
    """
    from econmoral.instruments.dilemmas import (
        SAVED,
        SCENES,
        Rating,
        predicted_choice,
        rating_conversation,
    )
    from econmoral.instruments.dilemmas import TRAIN as RATING_TRAIN

    rng = np.random.default_rng([draw.seed, 2])
    for i in range(draw.n):
        cell = Rating(str(rng.choice(list(SCENES))), int(rng.choice(SAVED)), "choose")
        wording, reverse = int(RATING_TRAIN[rng.integers(len(RATING_TRAIN))]), bool(rng.integers(2))
        rating = round(100 * predicted_choice(cell.scene, cell.saved, draw.target.kappa))
        talk = rating_conversation(cell, reverse, wording)
        choice = talk.questions[0].options.index(str(100 - rating if reverse else rating))
        yield _row(
            draw,
            i,
            talk.transcript((choice,)),
            "direct",
            scene=cell.scene,
            saved=cell.saved,
            game="dilemmas",
        )


def default_rival(target: Target, kappa: float) -> Target:
    """The second target whose optimum is to be clear too: homo moralis of degree kappa,
    for every target.
    """
    return target if target.family == "homo_moralis" else moralis(kappa)
