"""Families of utility, each linear in its parameters.

At an outcome the player earns m and the other n.  A family is a base and one term per parameter,

    u = base(m, n) + sum_k theta_k term_k(m, n),

taken in expectation over the other's strategies and the role draw, plus, for Kantian families,
kappa times the difference between the payoff if everybody used the same strategy and the own payoff
(Alger and Weibull 2013):

    u(x, y) = (1 - kappa) pi(x, y) + kappa pi(x, x) + sum_k theta_k E[term_k].

Linearity gives every family an analytic gradient and one maximum of the likelihood.  A new family
is one entry of ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from econmoral.economics.games import Tables

Terms = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Family:
    """A family of preferences.

    terms : (own m, other n, kind, unkind) -> one array per parameter other than kappa; kind and
    unkind are 1 after a kind or an unkind act of the other, else 0 (only data on reciprocity have
    them).  base : ``own`` (m) or ``sum`` (m + n).
    """

    name: str
    parameters: tuple[str, ...]
    terms: Terms
    source: str
    base: str = "own"

    @property
    def kantian(self) -> bool:
        """Whether the last parameter is kappa."""
        return self.parameters[-1:] == ("kappa",)

    def outcome(
        self,
        own: np.ndarray,
        other: np.ndarray,
        kind: np.ndarray | float = 0.0,
        unkind: np.ndarray | float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(base (...), terms (..., K)) at outcomes of any shape; kappa has no term here."""
        m, n = np.asarray(own, float), np.asarray(other, float)
        q, v = np.broadcast_to(kind, m.shape), np.broadcast_to(unkind, m.shape)
        terms = self.terms(m, n, np.asarray(q, float), np.asarray(v, float))
        return m + n if self.base == "sum" else m, np.stack(terms, -1) if terms else np.zeros(
            (*m.shape, 0)
        )

    @property
    def of_acts(self) -> tuple[str, ...]:
        """Parameters that matter only after a kind or an unkind act of the other."""
        own, other = np.array([1.0, 5.0, 5.0]), np.array([5.0, 1.0, 5.0])
        terms = self.outcome(own, other)[1]
        names = [p for p in self.parameters if p != "kappa"]
        return tuple(p for p, term in zip(names, terms.T, strict=True) if not term.any())

    def features(self, tables: Tables, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(base (N,), features (N, K)) of every strategy at beliefs ``weights`` over the columns of
        ``tables``.
        """
        base, terms = self.outcome(tables.own, tables.other)
        expected_base = np.einsum("xyr,y,r->x", base, weights, tables.weight)
        features = np.einsum("xyrk,y,r->xk", terms, weights, tables.weight)
        if self.kantian:
            own = tables.pi @ weights
            features = np.column_stack([features, tables.alike - own])
        return expected_base, features

    def utility(self, tables: Tables, weights: np.ndarray, theta: dict[str, float]) -> np.ndarray:
        """(N,) utility of every pure strategy in points.

        Raises ValueError when a parameter is unknown.
        """
        unknown = set(theta) - set(self.parameters)
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {sorted(unknown)}; it has {self.parameters}"
            )
        base, features = self.features(tables, weights)
        return base + features @ np.array([theta.get(p, 0.0) for p in self.parameters])


def _none(m: np.ndarray, n: np.ndarray, q: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    return []


def _inequity(m: np.ndarray, n: np.ndarray, q: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    return [-np.maximum(n - m, 0), -np.maximum(m - n, 0)]


ALGER_WEIBULL = "Alger and Weibull (2013), Econometrica 81(6)"

FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family("homo_economicus", (), _none, "own material payoff"),
        Family("homo_moralis", ("kappa",), _none, ALGER_WEIBULL),
        # alpha: aversion to being behind (negative: spite), beta: to being ahead, kappa: degree of
        # Kantian morality
        Family(
            "alpha_beta_kappa",
            ("alpha", "beta", "kappa"),
            _inequity,
            "van Leeuwen and Alger (2024), JPE Microeconomics 2(4)",
        ),
        Family("fehr_schmidt", ("alpha", "beta"), _inequity, "Fehr and Schmidt (1999), QJE 114(3)"),
        # rho when ahead, sigma when behind, theta after an unkind act: weight on the other's payoff
        Family(
            "charness_rabin",
            ("rho", "sigma", "theta"),
            lambda m, n, q, v: [(m > n) * (n - m), (m < n) * (n - m), v * (n - m)],
            "Charness and Rabin (2002), QJE 117(3)",
        ),
        # weight on the other's payoff: alpha behind, beta ahead, gamma after a kind act, delta
        # after an unkind one
        Family(
            "bruhin_fehr_schunk",
            ("alpha", "beta", "gamma", "delta"),
            lambda m, n, q, v: [(m < n) * (n - m), (m > n) * (n - m), q * (n - m), v * (n - m)],
            "Bruhin, Fehr and Schunk (2019), JEEA 17(4)",
        ),
        Family(
            "altruism",
            ("altruism",),
            lambda m, n, q, v: [n],
            "weight on the other's payoff, wherever one stands",
        ),
        Family("utilitarian", (), _none, "sum of payoffs", base="sum"),
        Family(
            "maximin",
            ("delta",),
            lambda m, n, q, v: [np.minimum(m, n) - m],
            "weight on the smaller payoff; Charness and Rabin (2002), QJE 117(3)",
        ),
    )
}
