"""Price competition with logit demand, among firms of any degree of morality.

    s_i = exp((a_i - p_i / alpha) / mu) / (sum_j exp((a_j - p_j / alpha) / mu) + exp(a_0 / mu))
    profit_i = scale (p_i - alpha c_i) s_i
    consumer surplus = scale alpha mu ln(sum_j exp((a_j - p_j / alpha) / mu) + exp(a_0 / mu))

(Calvano, Calzolari, Denicolo and Pastorello 2020, AER 110(10); currency alpha as in Fish,
Gonczarowski and Shorrer 2024.)  A firm of degree kappa maximises (1 - kappa) profit_i(p) + kappa
V(p_i), with V the profit of an average firm if all charged p_i (group ``firms``), or that plus the
consumer surplus per firm (``firms-and-consumers``): Alger and Weibull's homo moralis behind the
veil of its reference group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, root
from scipy.special import log_expit, logsumexp, ndtr, ndtri, softmax, wrightomega

GROUPS = ("firms", "firms-and-consumers")
# prices at which a best reply is looked for before it is polished: replies of moral firms have
# several peaks
GRID = 201
# in mu: more of them where shares change hands, however small mu is
NEAR = np.linspace(-12, 12, 97)
ROUNDS = 600
# relative: prices or profits no further apart than this are the same number, and nothing is divided
# by their difference
SAME = 1e-9
FINEST = 1e-9  # mu as a share of the largest quality or cost: below it rounding decides who sells
RANGE = (1e-100, 1e100)  # of scale and currency: beyond it products of them overflow


class NoEquilibrium(ValueError):
    """The search for an equilibrium in prices did not end."""


@dataclass(frozen=True)
class Market:
    """n firms: quality a (n,), unit cost c (n,), outside good a0, differentiation mu,
    market size, currency alpha.
    """

    quality: tuple[float, ...] = (2.0, 2.0)
    cost: tuple[float, ...] = (1.0, 1.0)
    outside: float = 0.0
    mu: float = 0.25
    scale: float = 1.0
    currency: float = 1.0

    def __post_init__(self) -> None:
        numbers = (*self.quality, *self.cost, self.outside, self.mu, self.scale, self.currency)
        if not self.quality or len(self.quality) != len(self.cost):
            raise ValueError(
                f"a market needs as many costs as qualities, got {len(self.cost)} and "
                f"{len(self.quality)}"
            )
        if (
            not np.isfinite(numbers).all()
            or min(self.mu, self.scale, self.currency) <= 0
            or min(self.cost) < 0
        ):
            raise ValueError(
                "mu, scale and currency must be positive, costs not negative, all numbers finite"
            )
        if not all(RANGE[0] <= x <= RANGE[1] for x in (self.scale, self.currency)):
            raise ValueError(
                f"scale and currency must lie between {RANGE[0]:g} and {RANGE[1]:g}; measure in "
                "other units"
            )
        if (
            largest := max(map(abs, numbers[: 2 * self.n + 1]))
        ) * FINEST > self.mu or self.mu > 1e100:
            raise ValueError(
                f"mu {self.mu:g} is too far from qualities and costs (largest {largest:g}) for "
                "shares to be computed; give one nearer to them"
            )

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

    def _rivals(self, firm: int, prices: np.ndarray) -> float:
        """ln(sum over the other firms exp(v_j) + exp(a_0 / mu)), from prices (n,)."""
        v, _ = self._worth(prices)
        return float(logsumexp([*np.delete(v, firm), self.outside / self.mu]))

    def best_reply(
        self, firm: int, prices: np.ndarray, kappa: float = 0.0, group: str = "firms"
    ) -> float:
        """Price of ``firm`` that maximises its utility at the others' prices (n,).

        In x = p / alpha, both parts of the utility have one peak: own profit at x - c_i = mu (1 +
        omega(d)), d the advantage over the rest in mu less one and omega(d) + ln omega(d) = d; the
        moral part, (S / n)(x - mean cost) with S the share of all firms, likewise, or at the mean
        cost with consumers in the group.  So the best price lies between the two; there the
        utility may have several peaks, and a grid that is fine where shares change hands finds the
        highest, whose derivative is then solved for.  Shares are compared in logs: they may be
        smaller than any number.
        """
        if group not in GROUPS:
            raise ValueError(f"unknown reference group {group!r}; known: {', '.join(GROUPS)}")
        mu, a, c, rest = self.mu, self.quality[firm], self.cost[firm], self._rivals(firm, prices)
        own = c + mu * (1 + float(wrightomega((a - c) / mu - rest - 1)))
        if kappa == 0:
            return self.currency * own
        consumers = group != "firms"
        worth = np.array(self.quality) / mu
        inside, mean_cost = float(logsumexp(worth)), float(softmax(worth) @ np.array(self.cost))
        alike = mean_cost + (
            0.0
            if consumers
            else mu * (1 + float(wrightomega(inside - (mean_cost + self.outside) / mu - 1)))
        )
        low, high = min(own, alike), max(own, alike)
        if kappa == 1 or high - low <= 1e-14 * abs(high):
            return self.currency * alike

        def logs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Log odds of buying from the firm at own price x, and from anyone if all ask x."""
            return (a - x) / mu - rest, inside - (x + self.outside) / mu

        def utility(x: np.ndarray, unit: float) -> np.ndarray:
            mine, every = logs(x)
            surplus = (
                mu
                * np.where(
                    every < -30,
                    np.exp(np.minimum(every, 0) - unit),
                    np.logaddexp(0, every) * np.exp(-max(unit, -40)),
                )
                if consumers
                else 0.0
            )
            moral = (x - mean_cost) * np.exp(log_expit(every) - unit) + surplus
            return (1 - kappa) * (x - c) * np.exp(log_expit(mine) - unit) + kappa / self.n * moral

        def slope(x: float, unit: float) -> float:
            mine, every = (a - x) / mu - rest, inside - (x + self.outside) / mu
            selfish = math.exp(_log_share(mine) - unit) * (
                1 - (x - c) / mu * math.exp(_log_share(-mine))
            )
            moral = math.exp(_log_share(every) - unit) * (
                (0.0 if consumers else 1.0) - (x - mean_cost) / mu * math.exp(_log_share(-every))
            )
            return (1 - kappa) * selfish + kappa / self.n * moral

        centres = (a - mu * rest, mu * inside - self.outside, low, high)
        grid = np.unique(
            np.clip(
                np.concatenate([np.linspace(low, high, GRID), *(z + mu * NEAR for z in centres)]),
                low,
                high,
            )
        )
        unit = float(max(log_expit(x).max() for x in logs(grid)))
        k = int(np.argmax(utility(grid, unit)))
        left, right = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, len(grid) - 1)])
        if slope(left, unit) <= 0:
            return self.currency * left
        if slope(right, unit) >= 0:
            return self.currency * right
        return self.currency * float(
            brentq(slope, left, right, args=(unit,), xtol=1e-15 * max(abs(high), mu), rtol=1e-15)
        )

    def nash(self) -> np.ndarray:
        """(n,) prices of selfish firms: p_i - alpha c_i = alpha mu / (1 - s_i); they are unique.

        Given T = ln(sum_j exp(v_j) + exp(a_0 / mu)) every firm's log odds u solve ln s(u) + 1 +
        exp(u) = d_i - T, with d_i = (a_i - c_i) / mu; T makes the shares sum to one.
        """
        edge = (np.array(self.quality) - np.array(self.cost)) / self.mu
        outside = self.outside / self.mu

        def odds(total: float) -> np.ndarray:
            found = []
            for k in edge - total:
                low, high = (k - 2, k) if k <= 1 else (-1.0, np.log(k) + 1)
                found.append(
                    brentq(
                        lambda u, k=k: log_expit(u) + 1 + np.exp(u) - k,
                        low,
                        high,
                        xtol=1e-14,
                        rtol=1e-14,
                    )
                )
            return np.array(found)

        def excess(total: float) -> float:
            return float(logsumexp([*log_expit(odds(total)), outside - total]))

        # what T would be at prices equal to costs, with room for rounding
        most = float(logsumexp([*edge, outside]))
        most += 1e-9 * max(abs(most), 1.0)
        # where the outside good has all but everything the sum differs from one by less than
        # rounding
        total = (
            outside
            if excess(outside) <= 0
            else float(brentq(excess, outside, most, xtol=1e-14, rtol=1e-15))
        )
        return self.unit_cost + self.currency * self.mu * (1 + np.exp(odds(total)))

    def monopoly(self) -> np.ndarray:
        """(n,) prices that maximise joint profit: the common margin alpha mu / (1 - sum of shares)
        = alpha mu (1 + omega(d)), see ``best_reply``.
        """
        edge = (np.array(self.quality) - np.array(self.cost)) / self.mu
        return self.unit_cost + self.currency * self.mu * (
            1 + float(wrightomega(float(logsumexp(edge)) - self.outside / self.mu - 1))
        )

    def equilibrium(
        self, kappa: tuple[float, ...], group: str = "firms", start: np.ndarray | None = None
    ) -> np.ndarray:
        """(n,) prices that are best replies to one another, reached from ``start`` (default:
        unit costs plus two mu).

        kappa : (n,) degrees of morality.  Raises ValueError for degrees outside [0, 1],
        NoEquilibrium when the replies do not settle.  There may be other equilibria: try other
        starts.
        """
        if len(kappa) != self.n or not all(0 <= k <= 1 for k in kappa):
            raise ValueError(f"kappa needs {self.n} degrees in [0, 1], got {kappa}")
        if not any(kappa):
            return self.nash()
        prices = (
            self.unit_cost + 2 * self.currency * self.mu
            if start is None
            else np.array(start, float)
        )

        # firms that are alike in all and start alike stay so: one reply stands for all, and one
        # price is solved for
        alike = (
            len({*zip(self.quality, self.cost, kappa, strict=True)}) == 1
            and float(np.ptp(prices)) == 0
        )

        def replies(at: np.ndarray) -> np.ndarray:
            if alike:
                return np.full(self.n, self.best_reply(0, at, kappa[0], group))
            return np.array([self.best_reply(i, at, k, group) for i, k in enumerate(kappa)])

        def distance(x: np.ndarray) -> np.ndarray:
            """From free prices in mu to the replies to them."""
            at = np.broadcast_to(x, self.n) * unit
            return (replies(at) / unit - at / unit)[: len(x)]

        unit = self.currency * self.mu

        def settled(at: np.ndarray, reply: np.ndarray) -> bool:
            return bool((np.abs(reply - at) <= 1e-9 * (unit + 1e-5 * np.abs(at))).all())

        for attempt in range(ROUNDS):
            reply = replies(prices)
            if settled(prices, reply):
                return reply
            # half a step: replies that fall when the other's price rises would otherwise run in a
            # circle
            prices = prices + (0.5 if attempt < ROUNDS // 2 else 0.1) * (reply - prices)
            # near an equilibrium a root finder needs a few steps where halving needs thirty
            if attempt % 20 == (4 if start is None else 0):
                try:
                    solved = root(
                        distance,
                        prices[: 1 if alike else self.n] / unit,
                        method="hybr",
                        options={"xtol": 1e-12},
                    )
                except (ValueError, ArithmeticError):  # a step to prices beyond all numbers
                    continue
                guess = np.broadcast_to(solved.x * unit, self.n).copy()
                if np.isfinite(guess).all() and settled(guess, reply := replies(guess)):
                    return reply
        raise NoEquilibrium(
            f"best replies did not settle within {ROUNDS} rounds: there may be no equilibrium in "
            "prices; try other degrees of morality (from Python also another start)"
        )

    def critical_discount(self, firm: int = 0) -> float | None:
        """Smallest discount factor at which the threat
        of Nash for ever keeps ``firm`` from leaving the joint monopoly once.

        None when there is none: the joint monopoly pays this firm no more than Nash, so it never
        keeps to it.
        """
        collusive, competitive = self.monopoly(), self.nash()
        tempted = collusive.copy()
        tempted[firm] = self.best_reply(firm, collusive)
        gain, reward, punishment = (
            float(self.profits(p)[firm]) for p in (tempted, collusive, competitive)
        )
        if not _better(reward, punishment):
            return None
        return min(max((gain - reward) / (gain - punishment), 0.0), 1.0)

    def describe(self, prices: np.ndarray) -> dict[str, Any]:
        """Shares, profits, consumer surplus, and each firm's place between Nash (0) and joint
        monopoly (1) in price and in profit.

        A place is None where the joint monopoly is no better for the firm than Nash.
        """
        low, high = self.nash(), self.monopoly()
        profit, least, most = self.profits(prices), self.profits(low), self.profits(high)

        return {
            "prices": np.asarray(prices, float).tolist(),
            "shares": self.shares(prices).tolist(),
            "profits": profit.tolist(),
            "consumer_surplus": float(self.consumer_surplus(prices)),
            "price_index": place(prices, low, high),
            "profit_gain": place(profit, least, most),
            "nash": low.tolist(),
            "monopoly": high.tolist(),
        }


def _log_share(odds: float) -> float:
    """ln(1 / (1 + exp(-odds))) of one number; scipy's is slow on such."""
    return -math.log1p(math.exp(-odds)) if odds > 0 else odds - math.log1p(math.exp(odds))


def place(value: np.ndarray, zero: np.ndarray, one: np.ndarray) -> list[float | None]:
    """(v - a) / (b - a) for each firm, its place between two benchmarks a, b: 0 at ``zero``,
    1 at ``one``.

    None where ``one`` is no better for the firm: a single firm's Nash price is its monopoly price,
    and a firm of high cost may earn less in a joint monopoly than in Nash equilibrium.
    """
    return [
        float((v - a) / (b - a)) if _better(b, a) else None
        for v, a, b in zip(value, zero, one, strict=True)
    ]


def _better(one: float, zero: float) -> bool:
    """Whether ``one`` exceeds ``zero`` by more than rounding."""
    return bool(one - zero > SAME * abs(one))


# ---------------------------------------------------------------------------------- counterfactuals


def kappa_draws(estimate: float, se: float, draws: int, seed: int) -> tuple[np.ndarray, float]:
    """(draws,) degrees of morality from the estimate's normal distribution cut to [0, 1],
    and the probability cut away.

    Raises ValueError unless 0 < se, and when less than one hundredth of the distribution lies in
    [0, 1].
    """
    if not (np.isfinite([estimate, se]).all() and se > 0):
        raise ValueError(
            "the estimate of kappa must be finite and its standard error positive, got "
            f"{estimate:g} and {se:g}"
        )
    if draws < 100:
        raise ValueError(f"a 95 % interval needs at least 100 draws, got {draws}")
    low, high = float(ndtr(-estimate / se)), float(ndtr((1 - estimate) / se))
    if high - low < 0.01:
        raise ValueError(
            f"an estimate of {estimate:g} (SE {se:g}) leaves almost nothing in [0, 1], where a "
            "degree of morality lies"
        )
    uniform = np.random.default_rng(seed).uniform(low, high, draws)
    return np.clip(estimate + se * ndtri(uniform), 0.0, 1.0), 1 - (high - low)


@dataclass(frozen=True)
class Counterfactual:
    """What an estimated degree of morality, common to all firms, does to a market.

    value : prices (n,), profits (n,), consumer_surplus (1,) at the estimate; low, high : 2.5th and
    97.5th percentile over the draws.  cut : probability of the estimate's distribution outside [0,
    1].  failed : draws without an equilibrium, left out.
    """

    kappa: float
    value: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    draws: int
    cut: float
    failed: int


def counterfactual(
    market: Market,
    estimate: float,
    se: float,
    draws: int = 500,
    seed: int = 0,
    group: str = "firms",
) -> Counterfactual:
    """Draws of kappa through the market's equilibrium.

    An estimate outside [0, 1] is priced at the nearer end.  Raises ValueError as ``kappa_draws``,
    and NoEquilibrium when more than one draw in twenty has none.
    """
    drawn, cut = kappa_draws(estimate, se, draws, seed)

    def outcome(prices: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "prices": prices,
            "profits": market.profits(prices),
            "consumer_surplus": np.atleast_1d(market.consumer_surplus(prices)),
        }

    at = float(np.clip(estimate, 0, 1))
    value = outcome(market.equilibrium((at,) * market.n, group))
    found, start = [], None
    for kappa in np.sort(drawn):  # in order, so that each search starts beside its end
        try:
            start = market.equilibrium((float(kappa),) * market.n, group, start)
        except NoEquilibrium:
            continue
        found.append(outcome(start))
    if len(found) < 0.95 * draws:
        raise NoEquilibrium(
            f"{draws - len(found)} of {draws} draws of kappa have no equilibrium that was found; "
            "narrow the estimate"
        )
    low, high = (
        {k: np.percentile([f[k] for f in found], q, axis=0) for k in value} for q in (2.5, 97.5)
    )
    return Counterfactual(at, value, low, high, len(found), cut, draws - len(found))
