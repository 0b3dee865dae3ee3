"""Non-parametric audit: could any well-behaved preference have made these choices from budget sets?

Choices x_t (T, G) at prices p_t (T, G).  x_t is directly revealed preferred to x_s when e p_t x_t >= p_t x_s; the
generalised axiom (GARP) forbids x_t R x_s (R: transitive closure) together with e p_s x_s > p_s x_t.  The critical cost
efficiency index (Afriat 1972) is the largest e in [0, 1] at which GARP holds.
"""

from __future__ import annotations

import numpy as np


def _costs(prices: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """(T, T) cost of bundle s at the prices of t, as a share of what was spent at t."""
    p, x = np.asarray(prices, float), np.asarray(choices, float)
    if p.shape != x.shape or p.ndim != 2 or not len(p):
        raise ValueError(f"prices and choices must both be (T, G) with T > 0, got {p.shape} and {x.shape}")
    if not (np.isfinite(p).all() and np.isfinite(x).all() and (p > 0).all() and (x >= 0).all()):
        raise ValueError("prices must be positive, choices not negative, all finite")
    cost = p @ x.T
    spent = np.diag(cost)
    if (spent <= 0).any():
        raise ValueError("every choice must cost something")
    return cost / spent[:, None]


def _closure(relation: np.ndarray) -> np.ndarray:
    """Transitive closure (Warshall)."""
    reach = relation.copy()
    for k in range(len(reach)):
        reach |= reach[:, k : k + 1] & reach[k : k + 1, :]
    return reach


def garp(prices: np.ndarray, choices: np.ndarray, efficiency: float = 1.0) -> bool:
    """Whether the choices satisfy GARP at cost efficiency e.  Raises ValueError for malformed budgets."""
    ratio = _costs(prices, choices)
    strict = ratio < efficiency - 1e-12
    return not (_closure(ratio <= efficiency + 1e-12) & strict.T).any()


def ccei(prices: np.ndarray, choices: np.ndarray) -> float:
    """Critical cost efficiency index, the supremum of the e at which GARP holds.  Raises ValueError for malformed budgets.

    Between two neighbouring cost ratios nothing changes; just above a ratio c every x_t with a ratio of at most c to x_s is
    strictly preferred to it.  So the index is the smallest c at which these preferences run in a circle, else 1.
    """
    ratio = _costs(prices, choices)
    off = ~np.eye(len(ratio), dtype=bool)
    candidates = np.unique(ratio[off & (ratio < 1)])

    def circle(c: float) -> bool:
        relation = off & (ratio <= c + 1e-12)
        return bool((_closure(relation) & relation.T).any())

    if not len(candidates) or not circle(float(candidates[-1])):
        return 1.0
    low, high = -1, len(candidates) - 1  # a circle at high, none at low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if circle(float(candidates[middle])) else (middle, high)
    return float(candidates[high])
