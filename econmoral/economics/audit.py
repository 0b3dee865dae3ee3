"""Non-parametric audit: could any well-behaved preference have made these choices from budget sets?

Choices x_t (T, G) at prices p_t (T, G).  x_t is directly revealed preferred to x_s when e p_t x_t
>= p_t x_s; the generalised axiom (GARP) forbids x_t R x_s (R: transitive closure) together with e
p_s x_s > p_s x_t.  The critical cost efficiency index (Afriat 1972) is the largest e in [0, 1] at
which GARP holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-12  # of cost ratios: nearer to one another than this they count as equal
BLOCK = 2_000_000  # cost ratios of random choosers in memory at a time


def _costs(prices: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """(T, T) cost of bundle s at the prices of t, as a share of what was spent at t."""
    p, x = np.asarray(prices, float), np.asarray(choices, float)
    if p.shape != x.shape or p.ndim != 2 or not len(p):
        raise ValueError(
            f"prices and choices must both be (T, G) with T > 0, got {p.shape} and {x.shape}"
        )
    if not (np.isfinite(p).all() and np.isfinite(x).all() and (p > 0).all() and (x >= 0).all()):
        raise ValueError("prices must be positive, choices not negative, all finite")
    cost = p @ x.T
    spent = np.diag(cost)
    if (spent <= 0).any():
        raise ValueError("every choice must cost something")
    return cost / spent[:, None]


def _shortest(ratio: np.ndarray) -> np.ndarray:
    """(..., T, T) smallest bound c such that a chain of cost ratios of at most c leads from t to s
    (Warshall, for minima of maxima).
    """
    reach = ratio.copy()
    for k in range(reach.shape[-1]):
        np.minimum(reach, np.maximum(reach[..., :, k : k + 1], reach[..., k : k + 1, :]), out=reach)
    return reach


def _violates(ratio: np.ndarray, efficiency: float) -> np.ndarray:
    """(...,) whether choices with cost ratios (..., T, T) break GARP at cost efficiency e."""
    reached = _shortest(ratio) <= efficiency + TOLERANCE
    strict = ratio < efficiency - TOLERANCE
    return np.any(reached & np.swapaxes(strict, -1, -2), axis=(-1, -2))


def _index(ratio: np.ndarray) -> np.ndarray:
    """(...,) CCEI of choices with cost ratios (..., T, T).

    Just above a ratio c every x_t with a ratio of at most c to x_s is strictly preferred to it, so
    the index is the smallest c at which these preferences run in a circle, else 1.
    """
    own = np.where(np.eye(ratio.shape[-1], dtype=bool), np.inf, ratio)
    circle = np.diagonal(_shortest(own), axis1=-2, axis2=-1).min(-1)
    return np.where(circle < 1 - TOLERANCE, circle, 1.0)


def garp(prices: np.ndarray, choices: np.ndarray, efficiency: float = 1.0) -> bool:
    """Whether the choices satisfy GARP at cost efficiency e.

    Raises ValueError for malformed budgets.
    """
    return not _violates(_costs(prices, choices), efficiency)


def ccei(prices: np.ndarray, choices: np.ndarray) -> float:
    """Critical cost efficiency index, the supremum of the e at which GARP holds.

    Raises ValueError for malformed budgets.
    """
    return float(_index(_costs(prices, choices)))


# ---------------------------------------------------------------------------------- random choosers

Bundles = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Random:
    """Random choosers on given budgets: ccei (draws,), and violates (draws,),
    whether GARP is broken.
    """

    ccei: np.ndarray
    violates: np.ndarray

    @property
    def power(self) -> float:
        """Share of random choosers that break GARP (Bronars 1987, Econometrica 55(3)):
        the power of the test against them.
        """
        return float(self.violates.mean())


def random_on_lines(
    prices: np.ndarray, spending: np.ndarray, draws: int = 1000, seed: int = 0
) -> Random:
    """Choosers who divide each budget at random: shares of spending uniform on the simplex.

    prices : (T, G).  spending : (T,) what each budget is worth.  Raises ValueError for malformed
    budgets or no draws.
    """
    p, m = np.asarray(prices, float), np.asarray(spending, float)
    if m.shape != p.shape[:1] or not (np.isfinite(m).all() and (m > 0).all()):
        raise ValueError("spending must be one positive number for each budget")
    _costs(p, np.ones_like(p))

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        shares = rng.dirichlet(np.ones(p.shape[1]), (count, len(p)))
        return shares * m[:, None] / p

    return _random(p, draw, draws, seed)


def random_on_menus(
    prices: np.ndarray, bundles: Bundles, draws: int = 1000, seed: int = 0
) -> Random:
    """Choosers who take one bundle of each menu, all equally likely.

    prices : (T, G).  bundles : T arrays (K_t, G), or one (T, K, G).  Raises ValueError for
    malformed menus or no draws.
    """
    p, menus = np.asarray(prices, float), [np.asarray(b, float) for b in bundles]
    if (
        p.ndim != 2
        or len(menus) != len(p)
        or any(b.ndim != 2 or b.shape[1] != p.shape[1] or not len(b) for b in menus)
    ):
        raise ValueError("every row of prices (T, G) needs a menu of bundles (K, G)")
    for menu, price in zip(menus, p, strict=True):
        _costs(np.tile(price, (len(menu), 1)), menu)

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        return np.stack([menu[rng.integers(len(menu), size=count)] for menu in menus], axis=1)

    return _random(p, draw, draws, seed)


def _random(
    prices: np.ndarray,
    draw: Callable[[np.random.Generator, int], np.ndarray],
    draws: int,
    seed: int,
) -> Random:
    if draws < 1:
        raise ValueError(f"random choosers need at least one draw, got {draws}")
    rng, size = np.random.default_rng(seed), len(prices)
    block = max(1, BLOCK // size**2)
    index, violates = [], []
    for start in range(0, draws, block):
        x = draw(rng, min(block, draws - start))
        cost = np.einsum("tg,dsg->dts", prices, x)
        ratio = cost / np.diagonal(cost, axis1=1, axis2=2)[:, :, None]
        index.append(_index(ratio))
        violates.append(_violates(ratio, 1.0))
    return Random(np.concatenate(index), np.concatenate(violates))
