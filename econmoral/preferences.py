"""Families of utility over whole strategies, each linear in its parameters.

    u(x, y; theta) = base(x, y) + sum_k theta_k * feature_k(x, y)

so that logit choice has an analytic gradient and every family is one entry of ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from econmoral.games import Tables


@dataclass(frozen=True)
class Family:
    """A family of preferences.

    features : (tables, weights) -> (base (N,), features (N, K)) at beliefs ``weights`` (N,) over the other's strategies.
    """

    name: str
    parameters: tuple[str, ...]
    features: Callable[[Tables, np.ndarray], tuple[np.ndarray, np.ndarray]]
    source: str

    def utility(self, tables: Tables, weights: np.ndarray, theta: dict[str, float]) -> np.ndarray:
        """(N,) utility of every pure strategy in points.  Raises ValueError when a parameter is unknown."""
        unknown = set(theta) - set(self.parameters)
        if unknown:
            raise ValueError(f"{self.name} has no parameter {sorted(unknown)}; it has {self.parameters}")
        base, features = self.features(tables, weights)
        return base + features @ np.array([theta.get(p, 0.0) for p in self.parameters])


def _expected(tables: Tables, weights: np.ndarray, per_outcome: np.ndarray) -> np.ndarray:
    """(N,) mean over the other's strategies and the role draw of a (N, N, R) quantity."""
    return np.einsum("xyr,y,r->x", per_outcome, weights, tables.weight)


def _economicus(tables: Tables, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tables.pi @ weights, np.zeros((len(tables.strategies), 0))


def _moralis(tables: Tables, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own = tables.pi @ weights
    return own, (np.diag(tables.pi) - own)[:, None]


def _alpha_beta_kappa(tables: Tables, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own, kappa = _moralis(tables, weights)
    behind = _expected(tables, weights, np.maximum(tables.other - tables.own, 0))
    ahead = _expected(tables, weights, np.maximum(tables.own - tables.other, 0))
    return own, np.column_stack([-behind, -ahead, kappa])


ALGER_WEIBULL = "Alger and Weibull (2013), Econometrica 81(6)"

FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family("homo_economicus", (), _economicus, "own material payoff"),
        Family("homo_moralis", ("kappa",), _moralis, ALGER_WEIBULL),
        Family(
            "alpha_beta_kappa",
            ("alpha", "beta", "kappa"),
            _alpha_beta_kappa,
            "van Leeuwen and Alger (2024), JPE Microeconomics 2(4); Fehr and Schmidt (1999), QJE 114(3)",
        ),
    )
}
