"""Choice: logit over pure strategies, best replies, efficiency,
and the decisions that estimation reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from econmoral.economics.games import Protocol, Tables, belief_weights
from econmoral.economics.preferences import FAMILIES

LARGEST_PAYOFF = 1e6  # points: what is larger is no payoff of ours and would overflow


@dataclass(frozen=True)
class Decision:
    """One decision: payoff tables, belief weights (N,) over the other's strategies,
    and what was chosen.

    choice : (N,) one-hot for a sampled choice, or the exact choice probabilities; sums to 1.
    cluster : decisions of one cluster may depend on each other (a wording, an item, a subject).
    """

    tables: Tables
    weights: np.ndarray
    choice: np.ndarray
    cluster: str


def read_decision(row: Mapping[str, Any]) -> Decision:
    """The decision of one line of a measurement: game, payoffs, beliefs, probabilities, id.

    Raises ValueError that says what is wrong with it.
    """
    try:
        protocol = Protocol(str(row["game"]), tuple(map(float, row["payoffs"])))  # type: ignore[arg-type]
        weights = belief_weights(protocol.game, np.array(row["beliefs"], float))
        choice = np.array(row["probabilities"], float)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if not np.isfinite(protocol.payoffs).all() or max(map(abs, protocol.payoffs)) > LARGEST_PAYOFF:
        raise ValueError(f"payoffs must be finite and below {LARGEST_PAYOFF:g}")
    if choice.shape != weights.shape or not ((choice >= 0).all() and abs(choice.sum() - 1) < 1e-6):
        raise ValueError(f"{protocol.game} needs {len(weights)} probabilities that sum to 1")
    return Decision(protocol.tables, weights, choice, str(row.get("id")))


def logit(utility: np.ndarray, precision: float) -> np.ndarray:
    """P(x) = exp(lambda u(x)) / sum_x' exp(lambda u(x')),
    for utilities (N,) in points and lambda per point.
    """
    v = precision * (utility - utility.max())
    p = np.exp(v - v.max())
    return p / p.sum()


def best_replies(utility: np.ndarray, tolerance: float = 1e-9) -> list[int]:
    """All strategies within ``tolerance`` points of the largest utility, in the game's order:
    ties are kept, not broken.
    """
    return [int(i) for i in np.flatnonzero(utility >= utility.max() - tolerance)]


def efficiency(utility: np.ndarray, probabilities: np.ndarray) -> float:
    """(E u - mean u) / (max u - mean u): 1 for the optimum, 0 for uniform choice;
    nan when all utilities are equal.
    """
    spread = utility.max() - utility.mean()
    return (
        float((probabilities @ utility - utility.mean()) / spread)
        if spread > 1e-12
        else float("nan")
    )


@lru_cache(maxsize=50_000)
def best_plan(protocol: Protocol, beliefs: tuple[float, ...], kappa: float) -> tuple[int, float]:
    """Best pure reply of homo moralis (kappa 0: homo economicus) at ``beliefs``,
    and its lead over the second best in points.

    Strategies of equal utility are ranked by own payoff, then by the game's order; at kappa = 1
    this is the limit from below.  Against a strategy with the same payoff when everybody uses it,
    the lead is the difference in own payoff: moves off the path would else lead by (1 - kappa) of
    it, which vanishes as kappa grows.  A lead of 0 is a tie.
    """
    weights, pi = belief_weights(protocol.game, beliefs), protocol.tables.pi
    u = FAMILIES["homo_moralis"].utility(protocol.tables, weights, {"kappa": kappa})
    own, alike = pi @ weights, np.diag(pi)
    best = max(best_replies(u), key=lambda i: round(float(own[i]), 9))
    others = np.delete(np.arange(len(u)), best)
    gaps = np.where(
        np.abs(alike[best] - alike[others]) < 1e-9, own[best] - own[others], u[best] - u[others]
    )
    return best, max(float(gaps.min()), 0.0)


def switch_points(
    tables: Tables, weights: np.ndarray, theta: dict[str, float] | None = None
) -> list[tuple[float, int]]:
    """Degrees of morality in (0, 1) at which the pure best reply changes: (kappa,
    best strategy just above it).

    The first entry is (0, best reply of kappa just above 0).  Utilities are lines in kappa, so
    their upper envelope is walked exactly.  theta : alpha and beta, held fixed.
    """
    family, fixed = FAMILIES["alpha_beta_kappa"], theta or {}
    start = family.utility(tables, weights, {**fixed, "kappa": 0.0})
    slope = tables.alike - tables.pi @ weights
    at = 0.0
    points: list[tuple[float, int]] = []
    while True:
        value = start + at * slope
        top = np.flatnonzero(value >= value.max() - 1e-9)
        best = int(top[np.argmax(slope[top])])
        if not points or best != points[-1][1]:
            points.append((at, best))
        steeper = np.flatnonzero(slope > slope[best] + 1e-12)
        if not len(steeper):
            return points
        crossing = (start[best] - start[steeper]) / (slope[steeper] - slope[best])
        at = float(crossing.min())
        if at >= 1 - 1e-12:
            return points
