"""Maximum likelihood of preference parameters and logit precision, with clustered standard errors.

Every family is linear in its parameters, u = base + X theta, so with gamma = lambda theta the index
lambda base + X gamma is linear and the log-likelihood

    lnL(lambda, gamma) = sum_i sum_x w_i(x) ln P_i(x),   w one-hot for a sampled choice, a probability for an exact one

is globally concave: one maximum, found by Newton steps (scipy), whatever the start.  theta = gamma / lambda follows by the
delta method.  An estimate is refused (``NotIdentified``) rather than reported with a meaningless standard error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from econmoral.choice import Decision
from econmoral.preferences import FAMILIES

LIMIT = 60.0  # utility differences of this many logits are probabilities of 1 to machine precision


class NotIdentified(Exception):
    """The data do not pin the parameters down.

    Usual causes: a deterministic chooser (lambda diverges, only bounds exist), one decision repeated (lambda and the
    preference trade off), choices that do not respond to utility at all (lambda = 0, any preference fits).
    Try more varied decisions, or a family with fewer parameters.
    """


@dataclass(frozen=True)
class Fit:
    """An estimate.  ``estimates`` and ``se`` hold the family's parameters and ``lambda`` (per point of payoff)."""

    family: str
    estimates: dict[str, float]
    se: dict[str, float]
    covariance: np.ndarray
    log_likelihood: float
    n: int
    clusters: int

    def wald(self, target: dict[str, float]) -> tuple[float, float]:
        """Wald statistic and p-value (normal for one parameter, chi-squared otherwise) of equality to ``target``."""
        from scipy.stats import chi2

        names = list(self.estimates)
        rows = [names.index(k) for k in target]
        gap = np.array([self.estimates[k] - v for k, v in target.items()])
        statistic = float(gap @ np.linalg.solve(self.covariance[np.ix_(rows, rows)], gap))
        return statistic, float(chi2.sf(statistic, len(target)))

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Normal confidence interval of one parameter."""
        half = norm.ppf(0.5 + level / 2) * self.se[name]
        return self.estimates[name] - half, self.estimates[name] + half


@dataclass(frozen=True)
class Design:
    """Stacked decisions: index (n, S, 1 + K) of base and features, weight (n, S), allowed (n, S), cluster codes (n,)."""

    index: np.ndarray
    weight: np.ndarray
    allowed: np.ndarray
    cluster: np.ndarray


def design(decisions: Sequence[Decision], family: str) -> Design:
    """Stack decisions of any games; strategies that a smaller game lacks are not allowed.

    Raises ValueError for an unknown family or a choice that is no distribution, NotIdentified when there is no decision.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    if not decisions:
        raise NotIdentified("no decisions to estimate from")
    fam = FAMILIES[family]
    size = max(len(d.choice) for d in decisions)
    index = np.zeros((len(decisions), size, 1 + len(fam.parameters)))
    weight = np.zeros((len(decisions), size))
    allowed = np.zeros((len(decisions), size), bool)
    for i, d in enumerate(decisions):
        base, features = fam.features(d.tables, d.weights)
        n = len(base)
        if d.choice.shape != (n,) or not np.isclose(d.choice.sum(), 1, atol=1e-6) or (d.choice < 0).any():
            raise ValueError(f"decision {i}: the choice must be {n} probabilities that sum to 1, got {d.choice}")
        index[i, :n, 0], index[i, :n, 1:], weight[i, :n], allowed[i, :n] = base, features, d.choice, True
    codes = {c: k for k, c in enumerate(dict.fromkeys(d.cluster for d in decisions))}
    return Design(index, weight, allowed, np.array([codes[d.cluster] for d in decisions]))


def log_likelihood(parameters: np.ndarray, data: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per decision: lnL (n,), score (n, K) and the summed hessian (K, K) in (lambda, gamma)."""
    v = np.where(data.allowed, data.index @ parameters, -np.inf)
    top = v.max(1, keepdims=True)
    log_p = v - (top + np.log(np.exp(v - top).sum(1, keepdims=True)))
    p = np.exp(log_p)
    value = np.where(data.weight > 0, data.weight * np.where(data.allowed, log_p, 0.0), 0.0).sum(1)
    mean = np.einsum("ns,nsk->nk", p, data.index)
    score = np.einsum("ns,nsk->nk", data.weight - p, data.index)
    hessian = -(np.einsum("ns,nsk,nsl->kl", p, data.index, data.index) - mean.T @ mean)
    return value, score, hessian


def fit(decisions: Sequence[Decision], family: str = "alpha_beta_kappa") -> Fit:
    """Estimate a family's parameters and lambda.  Standard errors are clustered by ``Decision.cluster``:

    V = q H^-1 (sum_c s_c s_c') H^-1,   q = (N - 1) / (N - k) * J / (J - 1).

    Raises NotIdentified (see there), ValueError as ``design``.
    """
    data = design(decisions, family)
    names = FAMILIES[family].parameters
    # one payoff scale for the optimiser; undone below
    scale = np.abs(data.index).max((0, 1))
    if (scale == 0).any():
        raise NotIdentified(f"{family}: a feature is zero in every decision, so its parameter has no effect on any choice")
    data = Design(data.index / scale, data.weight, data.allowed, data.cluster)
    result = minimize(
        lambda b: -log_likelihood(b, data)[0].sum(),
        np.zeros(len(scale)),
        jac=lambda b: -log_likelihood(b, data)[1].sum(0),
        hess=lambda b: -log_likelihood(b, data)[2],
        method="trust-exact",
        options={"gtol": 1e-8 * len(decisions), "maxiter": 500},
    )
    b = result.x
    value, score, hessian = log_likelihood(b, data)
    spread = np.ptp(np.where(data.allowed, data.index @ b, (data.index @ b).mean(1, keepdims=True)), axis=1)
    if np.median(spread) > LIMIT or (value > -1e-6).all():
        raise NotIdentified(
            "the choices are deterministic: lambda grows without bound and the preference is only bounded, not estimated; "
            "use exact probabilities, or look at which utilities make every choice optimal"
        )
    if np.linalg.cond(hessian) > 1e10:
        raise NotIdentified(f"{family}: the decisions vary too little to tell its parameters from lambda; use more varied payoffs or fewer parameters")
    inverse = np.linalg.inv(hessian)
    groups = np.zeros((data.cluster.max() + 1, len(b)))
    np.add.at(groups, data.cluster, score)
    n, k, j = len(decisions), len(b), len(groups)
    if j < 2 or n <= k:
        raise NotIdentified(f"{n} decisions in {j} cluster(s) are too few for clustered standard errors of {k} parameters")
    v = inverse @ (groups.T @ groups) @ inverse * (n - 1) / (n - k) * j / (j - 1)
    b, v = b / scale, v / np.outer(scale, scale)
    precision = b[0]
    if abs(precision) < 1e-12 or (len(names) and precision < 1.96 * np.sqrt(v[0, 0])):
        raise NotIdentified(
            f"{family}: lambda is {precision:.4f} (SE {np.sqrt(v[0, 0]):.4f}), not clearly above 0: choices hardly respond to own payoff, "
            "so the ratio that defines the other parameters is undetermined"
        )
    theta = b[1:] / precision
    jacobian = np.zeros((k, k))  # rows: parameters, then lambda
    jacobian[: k - 1, 0] = -theta / precision
    jacobian[: k - 1, 1:] = np.eye(k - 1) / precision
    jacobian[k - 1, 0] = 1
    covariance = jacobian @ v @ jacobian.T
    labels = (*names, "lambda")
    values = dict(zip(labels, (*theta.tolist(), float(precision)), strict=True))
    errors = dict(zip(labels, np.sqrt(np.diag(covariance)).tolist(), strict=True))
    return Fit(family, values, errors, covariance, float(value.sum()), n, j)
