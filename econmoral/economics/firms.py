"""Firms that need no language model: the yardsticks of a price simulation.

Scripted rules look at all past prices (rounds, n) and name the next price; Q-learners are those of
Calvano, Calzolari, Denicolo and Pastorello (2020, AER 110(10)): both firms of a duopoly remember
the last pair of prices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from econmoral.economics.market import Market

Rule = Callable[[Market, int, np.ndarray], float]
CHEATED = 0.001  # relative: a price so far below the joint monopoly's ends grim trigger's patience


@lru_cache(maxsize=256)
def yardsticks(market: Market) -> tuple[np.ndarray, np.ndarray]:
    """(Nash prices, joint monopoly prices), each (n,); a market never changes."""
    return market.nash(), market.monopoly()


def myopic(market: Market, firm: int, past: np.ndarray) -> float:
    """Best reply to the others' last prices; at first to prices at twice the cost."""
    last = past[-1] if len(past) else 2 * market.unit_cost
    return market.best_reply(firm, last)


def monopoly(market: Market, firm: int, past: np.ndarray) -> float:
    """Always the joint monopoly price."""
    return float(yardsticks(market)[1][firm])


def nash(market: Market, firm: int, past: np.ndarray) -> float:
    """Always the Nash price."""
    return float(yardsticks(market)[0][firm])


def tit_for_tat(market: Market, firm: int, past: np.ndarray) -> float:
    """The joint monopoly price first, then the lowest price that another firm asked
    in the last round.
    """
    return float(np.delete(past[-1], firm).min()) if len(past) else monopoly(market, firm, past)


def grim(market: Market, firm: int, past: np.ndarray) -> float:
    """The joint monopoly price until anybody has asked less, then the Nash price for ever."""
    cheated = len(past) and (past < yardsticks(market)[1] * (1 - CHEATED)).any()
    return nash(market, firm, past) if cheated else monopoly(market, firm, past)


SCRIPTED: dict[str, Rule] = {
    "myopic": myopic,
    "monopoly": monopoly,
    "nash": nash,
    "tit-for-tat": tit_for_tat,
    "grim": grim,
}


@dataclass(frozen=True)
class Learning:
    """Parameters of Q-learning: m prices between Nash minus and joint monopoly plus xi
    of their distance; published values.
    """

    prices: int = 15
    xi: float = 0.1
    rate: float = 0.15
    discount: float = 0.95
    decay: float = 4e-6  # exploration is exp(-decay t)
    settled: int = 100_000  # periods without a change of any greedy choice


def learning_grid(market: Market, learning: Learning) -> np.ndarray:
    """(m,) prices of a symmetric duopoly's learners."""
    low, high = market.nash()[0], market.monopoly()[0]
    return np.linspace(
        low - learning.xi * (high - low), high + learning.xi * (high - low), learning.prices
    )


def q_learners(
    market: Market,
    sessions: int,
    seed: int,
    learning: Learning = Learning(),
    longest: int = 5_000_000,
) -> dict[str, Any]:
    """Sessions of two Q-learners, all advanced together,
    until every one has settled (or ``longest`` periods).

    Q(s, a) <- (1 - rate) Q(s, a) + rate (profit + discount max_b Q(s', b)); s the last pair of
    prices, epsilon-greedy.  Returns profit_gain (sessions,) over the cycle that greedy play ends
    in, prices (sessions, 2), periods (sessions,) until settled, or -1.  Raises ValueError unless
    the market is a symmetric duopoly in which the joint monopoly earns more than Nash.
    """
    if market.n != 2 or len({*zip(market.quality, market.cost, strict=True)}) > 1:
        raise ValueError("Q-learners need a symmetric duopoly")
    low, high = market.profits(market.nash()).mean(), market.profits(market.monopoly()).mean()
    if not high - low > 1e-9 * high:
        raise ValueError(
            "the joint monopoly earns no more than Nash, so there is nothing to learn and no "
            "profit gain; make the outside good worse"
        )
    grid = learning_grid(market, learning)
    m = len(grid)
    pairs = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)  # own, other
    profit = market.profits(pairs)[..., 0]
    rng = np.random.default_rng(seed)
    # start: the discounted profit of each price against a rival who draws at random
    q = np.broadcast_to(profit.mean(1) / (1 - learning.discount), (sessions, 2, m * m, m)).copy()
    # greedy choices and their values are kept up to date, so that no period searches the whole
    # table
    best, top = q.argmax(-1), q.max(-1)
    s, firms = np.arange(sessions)[:, None], np.arange(2)[None, :]
    # m * price of firm 0 + price of firm 1; both firms read it in this order
    state = rng.integers(m * m, size=sessions)
    quiet, settled = np.zeros(sessions, int), np.full(sessions, -1)
    block = 4096
    for t in range(longest):
        k = t % block
        if k == 0:
            explore = (
                rng.random((block, sessions, 2))
                < np.exp(-learning.decay * (t + np.arange(block)))[:, None, None]
            )
            random_price = rng.integers(m, size=(block, sessions, 2))
        here = state[:, None]
        greedy = best[s, firms, here]
        action = np.where(explore[k], random_price[k], greedy)
        after = action[:, 0] * m + action[:, 1]
        target = profit[action, action[:, ::-1]] + learning.discount * top[s, firms, after[:, None]]
        value = (1 - learning.rate) * q[s, firms, here, action] + learning.rate * target
        q[s, firms, here, action] = value
        rows = q[s, firms, here]
        new = rows.argmax(-1)
        best[s, firms, here], top[s, firms, here] = new, rows.max(-1)
        quiet = np.where((new == greedy).all(1), quiet + 1, 0)
        settled = np.where((settled < 0) & (quiet >= learning.settled), t + 1, settled)
        state = after
        if k == 0 and (settled >= 0).all():
            break
    seen = []
    for _ in range(1000):
        pair = best[s, firms, state[:, None]]
        seen.append(pair)
        state = pair[:, 0] * m + pair[:, 1]
    prices = grid[np.array(seen[-840:])]  # 840 is a multiple of every cycle up to 8 periods
    earned = market.profits(prices).mean((0, 2))
    return {
        "profit_gain": (earned - low) / (high - low),
        "prices": prices.mean(0),
        "periods": settled,
    }
