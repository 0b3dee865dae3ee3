"""Price competition with logit demand, among firms of any degree of morality.

    s_i = exp((a_i - p_i / alpha) / mu) / (sum_j exp((a_j - p_j / alpha) / mu) + exp(a_0 / mu))
    profit_i = scale (p_i - alpha c_i) s_i
    consumer surplus = scale alpha mu ln(sum_j exp((a_j - p_j / alpha) / mu) + exp(a_0 / mu))

(Calvano, Calzolari, Denicolo and Pastorello 2020, AER 110(10); currency alpha as in Fish, Gonczarowski and Shorrer 2024.)  A firm
of degree kappa maximises (1 - kappa) profit_i(p) + kappa V(p_i), with V the profit of an average firm if all charged p_i
(group ``firms``), or that plus the consumer surplus per firm (``firms-and-consumers``): Alger and Weibull's homo moralis
behind the veil of its reference group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp

GROUPS = ("firms", "firms-and-consumers")
GRID = 400  # prices at which a best reply is looked for before it is polished: replies of moral firms have several peaks
ROUNDS = 2000


class NoEquilibrium(ValueError):
    """The search for an equilibrium in prices did not end."""


@dataclass(frozen=True)
class Market:
    """n firms: quality a (n,), unit cost c (n,), outside good a0, differentiation mu, market size, currency alpha."""

    quality: tuple[float, ...] = (2.0, 2.0)
    cost: tuple[float, ...] = (1.0, 1.0)
    outside: float = 0.0
    mu: float = 0.25
    scale: float = 1.0
    currency: float = 1.0

    def __post_init__(self) -> None:
        numbers = (*self.quality, *self.cost, self.outside, self.mu, self.scale, self.currency)
        if not self.quality or len(self.quality) != len(self.cost):
            raise ValueError(f"a market needs as many costs as qualities, got {len(self.cost)} and {len(self.quality)}")
        if not np.isfinite(numbers).all() or min(self.mu, self.scale, self.currency) <= 0 or min(self.cost) < 0:
            raise ValueError("mu, scale and currency must be positive, costs not negative, all numbers finite")

    @property
    def n(self) -> int:
        """Number of firms."""
        return len(self.quality)

    @property
    def unit_cost(self) -> np.ndarray:
        """(n,) cost of a unit in the currency."""
        return self.currency * np.array(self.cost)

    def _worth(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exponents (..., n) and log-sum with the outside good (...,)."""
        v = (np.array(self.quality) - np.asarray(prices, float) / self.currency) / self.mu
        return v, np.logaddexp(logsumexp(v, axis=-1), self.outside / self.mu)

    def shares(self, prices: np.ndarray) -> np.ndarray:
        """(..., n) shares of the market at prices (..., n); the outside good has the rest."""
        v, total = self._worth(prices)
        return np.exp(v - total[..., None])

    def profits(self, prices: np.ndarray) -> np.ndarray:
        """(..., n) profits at prices (..., n)."""
        return self.scale * (np.asarray(prices, float) - self.unit_cost) * self.shares(prices)

    def consumer_surplus(self, prices: np.ndarray) -> np.ndarray:
        """(...,) consumer surplus at prices (..., n)."""
        return self.scale * self.currency * self.mu * self._worth(prices)[1]

    def universal(self, price: np.ndarray, group: str = "firms") -> np.ndarray:
        """V at prices (...,): profit of an average firm if all charged that price, plus consumer surplus per firm in the larger group."""
        if group not in GROUPS:
            raise ValueError(f"unknown reference group {group!r}; known: {', '.join(GROUPS)}")
        same = np.asarray(price, float)[..., None] * np.ones(self.n)
        value = self.profits(same).mean(-1)
        return value if group == "firms" else value + self.consumer_surplus(same) / self.n

    def best_reply(self, firm: int, prices: np.ndarray, kappa: float = 0.0, group: str = "firms") -> float:
        """Price of ``firm`` that maximises its utility at the others' prices: the best of a grid, then polished."""
        # above quality plus ten times mu, and above what the others ask, hardly anybody buys
        top = self.currency * max(max(self.quality) + 10 * self.mu, max(self.cost) + 10 * self.mu)
        low, high = 0.0, max(top, 1.5 * float(np.max(prices)))

        def utility(own: np.ndarray) -> np.ndarray:
            own = np.asarray(own, float)
            every = np.broadcast_to(np.asarray(prices, float), (*own.shape, self.n)).copy()
            every[..., firm] = own
            moral = kappa * self.universal(own, group) if kappa else 0.0
            return (1 - kappa) * self.profits(every)[..., firm] + moral

        grid = np.linspace(low, high, GRID)
        k = int(np.argmax(utility(grid)))
        found = minimize_scalar(
            lambda p: -float(utility(np.array(p))), bounds=(grid[max(k - 1, 0)], grid[min(k + 1, GRID - 1)]), method="bounded", options={"xatol": 1e-12}
        )
        return float(found.x)

    def nash(self) -> np.ndarray:
        """(n,) prices of selfish firms: p_i - alpha c_i = alpha mu / (1 - s_i)."""
        return self.equilibrium((0.0,) * self.n)

    def monopoly(self) -> np.ndarray:
        """(n,) prices that maximise joint profit: the common margin alpha mu / (1 - sum of shares)."""

        def excess(margin: float) -> float:
            return margin - self.currency * self.mu / (1 - float(self.shares(self.unit_cost + margin).sum()))

        low = high = self.currency * self.mu
        while excess(high) < 0:
            high *= 2
        return self.unit_cost + brentq(excess, low, high, xtol=1e-13, rtol=1e-14)

    def equilibrium(self, kappa: tuple[float, ...], group: str = "firms", start: np.ndarray | None = None) -> np.ndarray:
        """(n,) prices that are best replies to one another, reached from ``start`` (default: unit costs plus two mu).

        kappa : (n,) degrees of morality.  Raises ValueError for degrees outside [0, 1], NoEquilibrium when the replies do not
        settle.  There may be other equilibria: try other starts.
        """
        if len(kappa) != self.n or not all(0 <= k <= 1 for k in kappa):
            raise ValueError(f"kappa needs {self.n} degrees in [0, 1], got {kappa}")
        prices = self.unit_cost + 2 * self.currency * self.mu if start is None else np.array(start, float)
        for attempt in range(ROUNDS):
            reply = np.array([self.best_reply(i, prices, k, group) for i, k in enumerate(kappa)])
            if np.abs(reply - prices).max() < 1e-9 * self.currency:
                return reply
            # half a step: replies that fall when the other's price rises would otherwise run in a circle
            prices = prices + (0.5 if attempt < ROUNDS // 2 else 0.1) * (reply - prices)
        raise NoEquilibrium(f"best replies did not settle within {ROUNDS} rounds; try another start")

    def critical_discount(self, firm: int = 0) -> float:
        """Smallest discount factor at which the threat of Nash for ever keeps ``firm`` from leaving the joint monopoly once."""
        collusive, competitive = self.monopoly(), self.nash()
        tempted = collusive.copy()
        tempted[firm] = self.best_reply(firm, collusive)
        gain, reward, punishment = (float(self.profits(p)[firm]) for p in (tempted, collusive, competitive))
        return (gain - reward) / (gain - punishment)

    def describe(self, prices: np.ndarray) -> dict[str, Any]:
        """Shares, profits, consumer surplus, and each firm's place between Nash (0) and joint monopoly (1) in price and in profit."""
        low, high = self.nash(), self.monopoly()
        profit, least, most = self.profits(prices), self.profits(low), self.profits(high)

        def place(value: np.ndarray, zero: np.ndarray, one: np.ndarray) -> list[float | None]:
            # a single firm's Nash price is its monopoly price
            return [None if abs(b - a) < 1e-6 else float((v - a) / (b - a)) for v, a, b in zip(value, zero, one, strict=True)]

        return {
            "prices": np.asarray(prices, float).tolist(), "shares": self.shares(prices).tolist(), "profits": profit.tolist(),
            "consumer_surplus": float(self.consumer_surplus(prices)), "price_index": place(prices, low, high), "profit_gain": place(profit, least, most),
            "nash": low.tolist(), "monopoly": high.tolist(),
        }  # fmt: skip
