"""Uncertainty of an estimate: covariances, cluster bootstrap, jackknife, wild score bootstrap,
profile likelihood.

All in (lambda, gamma), where the likelihood is concave; theta = gamma / lambda at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from econmoral.estimation.identification import NotIdentified
from econmoral.estimation.likelihood import (
    Design,
    Maximum,
    codes,
    compress,
    exists,
    hessians,
    log_likelihood,
    maximise,
    null_log_likelihood,
    restrict,
)
from econmoral.estimation.robust import cluster_sums, jackknife_covariance

SHARP = 0.5  # pseudo-R2 from which choices are nearly deterministic
SHARP_NOTE = (
    "choices are nearly deterministic, lambda and its error hang on a few uncertain ones; that "
    "choices respond is shown by the score test of lambda = 0 (t = {t:.2g})"
)


def theta_of(b: np.ndarray) -> np.ndarray:
    """(K + 1,) parameters gamma / lambda, then lambda; no numbers where lambda is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.append(b[1:] / b[0], b[0])


def jacobian_of(b: np.ndarray) -> np.ndarray:
    """(K + 1, 1 + K) derivative of ``theta_of``; rows: parameters, then lambda."""
    k = len(b)
    jacobian = np.zeros((k, k))
    with np.errstate(divide="ignore", invalid="ignore"):  # of lambda = 0, which callers refuse
        jacobian[: k - 1, 0] = -b[1:] / b[0] ** 2
        jacobian[: k - 1, 1:] = np.eye(k - 1) / b[0]
    jacobian[k - 1, 0] = 1
    return jacobian


def _replicate(data: Design, weights: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """(K + 1,) estimate with cluster weights (J,); nan where there is none."""
    times = weights[data.cluster]
    keep = times > 0
    sample = data.rows(keep)
    sample, _ = compress(replace(sample, weight=sample.weight * times[keep, None]))
    try:
        found = maximise(sample, start)
    except NotIdentified:
        return np.full(data.index.shape[2], np.nan)
    if found.b[0] <= 0 or not exists(sample, found):
        return np.full(data.index.shape[2], np.nan)
    return theta_of(found.b)


def bootstrap(data: Design, replications: int, seed: int) -> np.ndarray:
    """(replications, K + 1) estimates (parameters, then lambda) on resampled clusters; samples
    without an estimate are nan."""
    rng = np.random.default_rng(seed)
    j = len(data.names)
    start = maximise(compress(data)[0]).b
    draws = [
        np.bincount(rng.integers(j, size=j), minlength=j).astype(float) for _ in range(replications)
    ]
    return np.array([_replicate(data, times, start) for times in draws])


def jackknife(data: Design) -> np.ndarray:
    """(J, K + 1) estimates (parameters, then lambda) without each cluster in turn; nan where there
    is none."""
    j = len(data.names)
    start = maximise(compress(data)[0]).b
    return np.array([_replicate(data, 1.0 - row, start) for row in np.eye(j)])


def resampled_covariance(
    data: Design, kind: str, replications: int, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Covariance of (parameters, lambda) by ``bootstrap`` or ``jackknife``, and remarks.

    Bootstrap: covariance of the draws.  Jackknife: see ``jackknife_covariance``.
    """
    if kind == "jackknife":
        values = jackknife(data)
        lost = [name for name, row in zip(data.names, values, strict=True) if np.isnan(row).any()]
        if lost:
            raise NotIdentified(
                f"without cluster {lost[0]!r} the parameters are not identified"
                + (f", nor without {len(lost) - 1} others" if lost[1:] else "")
                + ": the estimate rests on too little for jackknife errors",
                kind="few",
            )
        return jackknife_covariance(values, theta_of(maximise(data).b)), ()
    values = bootstrap(data, replications, seed)
    good = values[~np.isnan(values).any(1)]
    failed = len(values) - len(good)
    if failed > len(values) / 10 or len(good) < 2:
        raise NotIdentified(
            f"{failed} of {len(values)} bootstrap samples have no estimate, so their spread means "
            f"little; use --errors wild or "
            "cluster, or a family with fewer parameters",
            kind="few",
        )
    remark = (
        (f"{failed} of {len(values)} bootstrap samples had no estimate and are left out",)
        if failed
        else ()
    )
    return np.atleast_2d(np.cov(good.T)), remark


def wild_weights(j: int, replications: int, seed: int) -> np.ndarray:
    """(R, J) weights of mean 0 and variance 1: Rademacher, or Webb's six points below 12 clusters
    (Webb 2023, CJE 56(3))."""
    rng = np.random.default_rng(seed)
    six = np.sqrt([0.5, 1.0, 1.5])
    points = np.array([-1.0, 1.0]) if j >= 12 else np.concatenate([-six, six])
    return points[rng.integers(len(points), size=(replications, j))]


@dataclass(frozen=True)
class Wild:
    """Score bootstrap of one hypothesis: t statistic (score form) and its bootstrap draws (R,)."""

    t: float
    draws: np.ndarray

    @property
    def p(self) -> float:
        """Symmetric p-value, the sample itself counted in."""
        return float(
            (1 + (np.abs(self.draws) >= abs(self.t) * (1 - 1e-12)).sum()) / (1 + len(self.draws))
        )


def wild_test(
    data: Design, name: str, value: float, weights: np.ndarray, start: np.ndarray | None = None
) -> Wild:
    """Wild score cluster bootstrap of ``name`` = ``value``, the hypothesis imposed (Kline and
    Santos 2012, JoE 1(1)).

    At the restricted maximum, with cluster scores s_c and hessians H_c, A = (-sum H_c)^-1 and a
    the gradient of the restriction, one Newton step with weights w is d = A sum w_c s_c and

        t(w) = a'd / sqrt(sum_c (a'A (w_c s_c + H_c d))^2).

    t(1, ..., 1) is the statistic, weights (R, J) give its distribution.  A parameter is restricted
    as gamma_k - value lambda = 0, which is linear; lambda as itself.
    """
    whole = _restricted(data, name, value, start)
    a = np.zeros(data.index.shape[2])
    if name == "lambda":
        a[0] = 1.0
    else:
        a[0], a[1 + data.parameters.index(name)] = -value, 1.0
    s = cluster_sums(log_likelihood(whole, data)[1], data.cluster, len(data.names))
    h = hessians(whole, data)
    inverse = np.linalg.inv(-h.sum(0))
    effective = s @ inverse @ a
    bend = np.einsum("k,jkl->jl", inverse @ a, h)

    def statistics(w: np.ndarray) -> np.ndarray:
        step = w @ s @ inverse
        spread = w * effective + step @ bend.T
        return step @ a / np.sqrt((spread**2).sum(1))

    return Wild(float(statistics(np.ones((1, len(s))))[0]), statistics(weights))


def score_statistic(
    data: Design, best: Maximum, errors: str, second: Sequence[str] | None
) -> float:
    """t of lambda = 0 from the score there, clustered as the errors are.

    Not a number where choices are not sharp or clusters too few, and for what has no such test:
    weights, parts of plans, two ways of clustering.
    """
    n, _, k = data.index.shape
    sharp = best.value.sum() >= (1 - SHARP) * null_log_likelihood(data)
    if not sharp or data.weighted or data.partial is not None or second is not None:
        return float("nan")
    if errors in ("sandwich", "hessian"):  # each decision on its own
        data = replace(data, cluster=np.arange(n), names=tuple(map(str, range(n))))
    if len(data.names) <= k:
        return float("nan")
    return wild_test(data, "lambda", 0.0, np.ones((1, len(data.names)))).t


def _restricted(data: Design, name: str, value: float, start: np.ndarray | None) -> np.ndarray:
    """(1 + K,) the maximum in (lambda, gamma) with ``name`` held."""
    merged, _ = compress(data)
    if name == "lambda":
        return _with_lambda(merged, value, start)
    k = data.parameters.index(name)
    held = maximise(
        restrict(merged, {name: value}), None if start is None else np.delete(start, 1 + k)
    )
    return np.insert(held.b, 1 + k, value * held.b[0])


def _with_lambda(data: Design, value: float, start: np.ndarray | None) -> np.ndarray:
    """The maximum over gamma at a given lambda, by Newton steps on the other coordinates."""
    b = np.zeros(data.index.shape[2]) if start is None else np.array(start, float)
    b[0] = value
    if len(b) == 1:
        return b
    for _ in range(100):
        v, score, hessian = log_likelihood(b, data)
        step = np.linalg.lstsq(-hessian[1:, 1:], score.sum(0)[1:], rcond=None)[0]
        t = 1.0
        while t > 1e-8 and log_likelihood(b + np.append(0.0, t * step), data)[
            0
        ].sum() < v.sum() - 1e-12 * abs(v.sum()):
            t /= 2
        b = b + np.append(0.0, t * step)
        if float(score.sum(0)[1:] @ step) < 1e-14:
            break
    return b


def wild_interval(
    data: Design,
    name: str,
    estimate: np.ndarray,
    se: float,
    level: float,
    replications: int,
    seed: int,
) -> tuple[float, float]:
    """Values of a parameter that the wild score bootstrap does not reject; an end not found within
    100 SE is infinite.

    estimate : (1 + K,) the maximum in (lambda, gamma).
    """
    weights = wild_weights(len(data.names), replications, seed)
    centre = float(theta_of(estimate)[data.labels.index(name)])

    def excess(value: float) -> float:
        found = wild_test(data, name, value, weights, estimate)
        return abs(found.t) - float(np.quantile(np.abs(found.draws), level))

    ends = []
    for direction in (-1, 1):
        ends.append(
            _crossing(
                excess,
                centre,
                direction * max(se, 1e-12),
                lowest=0.0 if name == "lambda" else -np.inf,
            )
        )
    return ends[0], ends[1]


def _crossing(excess: object, centre: float, step: float, lowest: float = -np.inf) -> float:
    """Where ``excess`` first turns positive, walking from the centre in growing steps; infinite if
    nowhere."""
    inner, reach = centre, 2.0
    while reach < 100:
        outer = centre + reach * step
        if outer <= lowest:
            return lowest
        if excess(outer) > 0:  # type: ignore[operator]
            return float(brentq(excess, *sorted((inner, outer)), xtol=1e-4 * abs(step), rtol=1e-12))
        inner, reach = outer, reach * 1.6
    return float(np.sign(step) * np.inf)


# ---- likelihood ratio and profile


def _unweighted(data: Design) -> None:
    if data.weighted:
        raise ValueError(
            "with weights a likelihood ratio says nothing about the errors; use "
            "intervals and tests by standard errors"
        )


def likelihood_ratio(data: Design, target: dict[str, float]) -> tuple[float, float]:
    """Likelihood-ratio statistic and p-value of theta = ``target`` (lambda and the other
    parameters free).

    Raises ValueError with sampling weights, under which it is not chi-squared."""
    _unweighted(data)
    full = maximise(data).value.sum()
    statistic = max(2 * float(full - maximise(restrict(data, target)).value.sum()), 0.0)
    return statistic, float(chi2.sf(statistic, len(target)))


def profile_interval(
    data: Design, name: str, level: float = 0.95, span: float = 50.0
) -> tuple[float, float]:
    """Values of a parameter that the likelihood-ratio test does not reject; an end that is not
    found within ``span`` of the maximum is infinite.  Assumes independent decisions: with clusters
    prefer ``Fit.interval``.

    Raises ValueError with sampling weights, as ``likelihood_ratio``."""
    _unweighted(data)
    data, _ = compress(data)
    best = maximise(data)
    top, centre = best.value.sum(), best.b[1 + data.parameters.index(name)] / best.b[0]
    critical = chi2.ppf(level, 1) / 2

    def gap(value: float) -> float:
        return float(top - maximise(restrict(data, {name: value})).value.sum() - critical)

    ends = []
    for direction in (-1, 1):
        step = 0.05
        while step < span and gap(centre + direction * step) < 0:
            step *= 2
        if step >= span:
            ends.append(direction * np.inf)
        else:
            ends.append(brentq(gap, *sorted((centre, centre + direction * step)), xtol=1e-6))
    return float(ends[0]), float(ends[1])


def one_sided(data: Design, name: str, sign: str, level: float = 0.95) -> float:
    """The bound that remains of a parameter that diverges: the least extreme value that the
    profile likelihood still allows.

    sign : ``+`` if the parameter grows without bound (the result is a lower bound) or ``-``.
    Assumes independent decisions. Infinite the wrong way when the likelihood never falls enough.
    """
    data, _ = compress(data)
    direction = 1.0 if sign == "+" else -1.0
    k = data.parameters.index(name)
    top = maximise(data)
    critical = chi2.ppf(2 * level - 1, 1) / 2
    unit = float(np.abs(data.index[..., 0]).max() / np.abs(data.index[..., 1 + k]).max())

    def gap(value: float) -> float:
        return float(
            top.value.sum() - maximise(restrict(data, {name: value})).value.sum() - critical
        )

    ends = [0.0]
    if gap(0.0) > 0:  # zero is rejected: walk towards the divergence until it is not
        step = unit / 16
        while gap(direction * step) > 0:
            ends.append(direction * step)
            step *= 2
            if step > 1e9 * unit:
                return direction * np.inf
        return float(brentq(gap, *sorted((ends[-1], direction * step)), xtol=1e-6 * unit))
    step = unit / 16
    while gap(-direction * step) < 0:
        step *= 2
        if step > 1e6 * unit:
            return -direction * np.inf
    return float(brentq(gap, *sorted((0.0, -direction * step)), xtol=1e-6 * unit))


def two_way(first: np.ndarray, second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) codes of the second clustering and of both together."""
    other = codes(list(second))[0]
    return other, np.unique(np.column_stack([first, other]), axis=0, return_inverse=True)[1].ravel()
