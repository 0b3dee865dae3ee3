"""The market: two firms that set prices period by period, each a model, a scripted rule, or the
person at the page.

The market is the one of ``eval.pricing`` (Calvano, Calzolari, Denicolo and Pastorello 2020), and so
are the pages of the compact protocol: prices from a grid of 25, from unit cost to 2.2 times that; a
model's price is drawn from its exact probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from econmoral.economics.firms import SCRIPTED, yardsticks
from econmoral.economics.market import Market
from econmoral.instruments.pricing import (
    PRICE_WORDINGS,
    TRAIN,
    View,
    price_conversation,
    price_grid,
)
from econmoral.text.conversation import Conversation

from .markup import Series, block, chart, esc, number, table

DUOPOLY = Market(scale=100.0)
CENTS = 100.0  # prices on the page are in hundredths
YOU = "you"
LAST = 10  # periods that the table's means are taken over


@dataclass(frozen=True)
class Play:
    """A duopoly in progress.  firms : who sets the price of each.  prices : of every period so far,
    in units of the currency.

    model : whose conditions the firms are that are no script and not the person.
    valid : for every price of a model the probability of an admissible reply.
    """

    firms: tuple[str, str]
    seed: int = 0
    wording: int = TRAIN[0]
    prices: tuple[tuple[float, float], ...] = ()
    valid: tuple[float, ...] = ()
    model: str = "nano"

    @property
    def past(self) -> np.ndarray:
        """(T, 2) prices."""
        return np.array(self.prices, float).reshape(-1, 2)

    @property
    def grid(self) -> np.ndarray:
        """(25,) prices that may be asked."""
        return price_grid(CENTS * float(DUOPOLY.unit_cost[0])) / CENTS


def view(play: Play, firm: int) -> View:
    """What a firm knows."""
    past = play.past
    quantities, profits = DUOPOLY.scale * DUOPOLY.shares(past), DUOPOLY.profits(past)
    others = tuple((CENTS * float(p),) for p in past[:, 1 - firm])
    return View(
        CENTS,
        2,
        tuple(CENTS * past[:, firm]),
        others,
        tuple(quantities[:, firm]),
        tuple(profits[:, firm]),
    )


def page_of(play: Play, firm: int) -> Conversation:
    """What a model reads as this firm."""
    return price_conversation(view(play, firm), play.wording, controls=False)


def scripted(play: Play, firm: int) -> float:
    """The price of a scripted rule."""
    return float(SCRIPTED[play.firms[firm]](DUOPOLY, firm, play.past))


def drawn(play: Play, firm: int, probabilities: np.ndarray) -> float:
    """A price of the grid from a model's probabilities; the draw depends on seed, period and firm
    only.
    """
    uniform = np.random.default_rng([play.seed, len(play.prices), firm]).random()
    return float(
        play.grid[min(int(np.searchsorted(np.cumsum(probabilities), uniform)), len(play.grid) - 1)]
    )


def after(play: Play, prices: Sequence[float], valid: Sequence[float] = ()) -> Play:
    """The duopoly after one more period."""
    return replace(
        play,
        prices=(*play.prices, (float(prices[0]), float(prices[1]))),
        valid=(*play.valid, *valid),
    )


def names(play: Play) -> list[str]:
    """The firms, told apart where they are alike."""
    a, b = play.firms
    return [f"{a} (firm 1)", f"{b} (firm 2)"] if a == b else [a, b]


def shown(play: Play) -> str:
    """Price paths beside Nash and monopoly, consumer surplus, and means over the last periods."""
    nash, monopoly = yardsticks(DUOPOLY)
    past, periods = play.past, np.arange(1, len(play.prices) + 1)
    levels = [("joint monopoly", float(monopoly[0])), ("Nash", float(nash[0]))]
    if not len(past):
        return block(
            chart(
                [Series("", [0], [float(nash[0])])],
                "Prices",
                "period",
                "in units of the currency",
                levels,
            )
        )
    paths = [
        Series(n, periods, past[:, k], dash=k == 1, points=len(past) < 40)
        for k, n in enumerate(names(play))
    ]
    surplus = DUOPOLY.consumer_surplus(past)
    marks = [(name, float(DUOPOLY.consumer_surplus(np.full(2, level)))) for name, level in levels]
    late = past[-LAST:]
    described = DUOPOLY.describe(late.mean(0))
    rows = [
        [
            esc(n),
            number(float(late[:, k].mean())),
            number(float(DUOPOLY.profits(late)[:, k].mean())),
            number(described["price_index"][k]),
        ]
        for k, n in enumerate(names(play))
    ]
    rows.append(["consumers", "", number(float(DUOPOLY.consumer_surplus(late).mean())), ""])
    note = (
        f"Means over the last {len(late)} periods; price index: 0 at Nash, 1 at the joint monopoly"
    )
    parts = [
        chart(paths, "Prices", "period", "in units of the currency", levels),
        chart(
            [Series("consumer surplus", periods, surplus, points=len(past) < 40)],
            "Consumer surplus",
            "period",
            "in units of the currency",
            marks,
        ),
        table(["", "price", "profit or surplus", "price index"], rows, note),
    ]
    if play.valid:
        parts.append(
            '<p class="quiet">Valid-answer probability of the models\' prices: '
            f"{100 * float(np.mean(play.valid)):.0f} % on average.</p>"
        )
    return block(*parts)


def wordings() -> list[str]:
    """Names of the wordings, those never trained on marked."""
    return [f"{w.noun[0]}{' (held out)' if w.held_out else ''}" for w in PRICE_WORDINGS]
