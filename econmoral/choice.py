"""Choice: logit over pure strategies, best replies, efficiency, and the decisions that estimation reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from econmoral.games import Protocol, Tables, belief_weights
from econmoral.preferences import FAMILIES


@dataclass(frozen=True)
class Decision:
    """One decision: payoff tables, belief weights (N,) over the other's strategies, and what was chosen.

    choice : (N,) one-hot for a sampled choice, or the exact choice probabilities; sums to 1.
    cluster : decisions of one cluster may depend on each other (a wording, an item, a subject).
    """

    tables: Tables
    weights: np.ndarray
    choice: np.ndarray
    cluster: str


def logit(utility: np.ndarray, precision: float) -> np.ndarray:
    """P(x) = exp(lambda u(x)) / sum_x' exp(lambda u(x')), for utilities (N,) in points and lambda per point."""
    v = precision * (utility - utility.max())
    p = np.exp(v - v.max())
    return p / p.sum()


def best_replies(utility: np.ndarray, tolerance: float = 1e-9) -> list[int]:
    """All strategies within ``tolerance`` points of the largest utility, in the game's order: ties are kept, not broken."""
    return [int(i) for i in np.flatnonzero(utility >= utility.max() - tolerance)]


def efficiency(utility: np.ndarray, probabilities: np.ndarray) -> float:
    """(E u - mean u) / (max u - mean u): 1 for the optimum, 0 for uniform choice; nan when all utilities are equal."""
    spread = utility.max() - utility.mean()
    return float((probabilities @ utility - utility.mean()) / spread) if spread > 1e-12 else float("nan")


@lru_cache(maxsize=50_000)
def best_plan(protocol: Protocol, beliefs: tuple[float, ...], kappa: float) -> tuple[int, float]:
    """Best pure reply of homo moralis (kappa 0: homo economicus) at ``beliefs``, and its lead over the second best in points.

    Strategies of equal utility are ranked by own payoff, then by the game's order; at kappa = 1 this is the limit from
    below.  Against a strategy with the same payoff when everybody uses it, the lead is the difference in own payoff: moves
    off the path would else lead by (1 - kappa) of it, which vanishes as kappa grows.  A lead of 0 is a tie.
    """
    weights, pi = belief_weights(protocol.game, beliefs), protocol.tables.pi
    u = FAMILIES["homo_moralis"].utility(protocol.tables, weights, {"kappa": kappa})
    own, alike = pi @ weights, np.diag(pi)
    best = max(best_replies(u), key=lambda i: round(float(own[i]), 9))
    others = np.delete(np.arange(len(u)), best)
    gaps = np.where(np.abs(alike[best] - alike[others]) < 1e-9, own[best] - own[others], u[best] - u[others])
    return best, max(float(gaps.min()), 0.0)
