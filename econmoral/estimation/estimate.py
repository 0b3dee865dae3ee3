"""Maximum likelihood of preference parameters and logit precision.

Every family is linear in its parameters, u = base + X theta, so with gamma = lambda theta the index
lambda base + X gamma is linear and the log-likelihood (``likelihood.py``) is globally concave: one
maximum, found by Newton steps, whatever the start.  theta = gamma / lambda follows by the delta
method.  An estimate is refused (``NotIdentified``) rather than reported with a meaningless standard
error.

    >>> found = fit(decisions, "alpha_beta_kappa")
    >>> print(found.summary())
    >>> found.interval("kappa")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.estimation.identification import (
    NotIdentified,
    describe,
    optimal_for,
    rank_deficiency,
)
from econmoral.estimation.inference import (
    SHARP_NOTE,
    bootstrap,
    jackknife,
    jacobian_of,
    likelihood_ratio,
    one_sided,
    profile_interval,
    resampled_covariance,
    score_statistic,
    theta_of,
    two_way,
    wild_interval,
    wild_test,
    wild_weights,
)
from econmoral.estimation.likelihood import (
    Design,
    Maximum,
    allocations,
    design,
    gaps,
    log_likelihood,
    maximise,
    null_log_likelihood,
    restrict,
    scales,
    separated,
    weigh,
)
from econmoral.estimation.mixtures import Mixture, mixture
from econmoral.estimation.results import Derived, Errors, Fit, critical, difference, ratio
from econmoral.estimation.robust import clustered_covariance
from econmoral.estimation.tables import etable

__all__ = [
    "Derived", "Design", "Fit", "Mixture", "NotIdentified", "allocations", "bootstrap",
    "covariance", "design", "difference", "etable", "fit", "individual_fits", "jackknife",
    "likelihood_ratio", "log_likelihood", "mixture", "out_of_sample", "profile_interval", "ratio",
    "rationalising_bounds", "restrict", "weigh", "wild_interval", "wild_test", "wild_weights",
]  # fmt: skip

LIMIT = 60.0  # utility differences of this many logits are probabilities of 1 to machine precision
FEW = 30  # clusters below which asymptotics are doubtful
KINDS: tuple[str, ...] = get_args(Errors)


def rationalising_bounds(data: Design) -> dict[str, tuple[float, float]] | None:
    """Range of every parameter for which all (modal) choices are optimal,
    by linear programming; None when there is none.
    """
    lead = data.weight.argmax(1)
    rows = np.arange(len(lead))
    gap = data.index[rows, lead][:, None] - data.index
    others = data.allowed & (np.arange(data.allowed.shape[1]) != lead[:, None])
    return optimal_for(gap[others], np.zeros((0, gap.shape[2])), data.parameters)


def check(data: Design, found: Maximum) -> None:
    """Raises NotIdentified, with what diverges and bounds, unless the maximum exists,
    was reached and is the only one.
    """
    apart = separated(data, found)
    if apart is not None:
        message, signs = describe(apart, ("lambda", *data.parameters))
        by_lambda = signs.get("lambda")
        if by_lambda in ("+", "?"):
            relation = "every choice is optimal for "
            if data.partial is not None:  # one way of completing the plans among several
                relation = "with the likeliest moves where none was seen, " + relation
            raise NotIdentified(
                message,
                optimal_for(*gaps(data, found.b), data.parameters),
                "separated",
                signs,
                relation,
            )
        if by_lambda == "-":
            raise NotIdentified(message, None, "reversed", signs)
        times = data.weight.sum(1)
        # a likelihood ratio of rows that weigh more than others says nothing about confidence
        told = data.partial is None and not (data.weighted and np.ptp(times) > 1e-9 * times.max())
        ends = {k: one_sided(data, k, s) for k, s in signs.items() if s in "+-" and told}
        bounds = {
            k: (end, np.inf) if signs[k] == "+" else (-np.inf, end)
            for k, end in ends.items()
            if np.isfinite(end)
        }
        relation = "with 95 % confidence (profile likelihood, decisions taken as independent) "
        raise NotIdentified(message, bounds or None, "separated", signs, relation)
    spread = np.ptp(
        np.where(data.allowed, data.index @ found.b, (data.index @ found.b).mean(1, keepdims=True)),
        axis=1,
    )
    if (not data.one_hot and np.median(spread) > LIMIT) or (found.value > -1e-6).all():
        raise NotIdentified(
            "the choices are deterministic: lambda grows without bound and the preference is "
            "only bounded, not estimated; use exact probabilities",
            rationalising_bounds(data),
            "separated",
            {"lambda": "+"},
        )
    scale = np.sqrt(np.abs(np.diag(found.hessian)))
    if (scale == 0).any() or np.linalg.cond(found.hessian / np.outer(scale, scale)) > 1e10:
        raise NotIdentified(f"{data.family}: {vary_too_little(None, data)}", kind="collinear")
    if not found.converged:
        raise NotIdentified(
            f"{data.family}: the search for the maximum did not converge (what is left to gain: "
            f"{found.decrement:.2g}); use more varied payoffs or fewer parameters",
            kind="not converged",
        )


def vary_too_little(direction: np.ndarray | None, data: Design) -> str:
    """Message for parameters that trade off against each other along ``direction`` (1 + K,)."""
    who = "its parameters from lambda"
    if direction is not None:
        size = np.abs(direction) / np.abs(direction).max()
        names = [n for n, s in zip(("lambda", *data.parameters), size, strict=True) if s > 1e-3]
        who = " from ".join([", ".join(names[1:]), names[0]]) if len(names) > 1 else names[0]
    return (
        f"the decisions vary too little to tell {who}; use more varied payoffs or fewer parameters"
    )


def fit(
    data: Sequence[Decision] | Design,
    family: str = "alpha_beta_kappa",
    errors: str = "clustered",
    second: Sequence[str] | None = None,
    replications: int = 999,
    seed: int = 0,
) -> Fit:
    """Estimate a family's parameters and lambda.

    errors : ``clustered`` (by the decisions' cluster; with ``second``, labels of a second way of
    clustering, two-way after Cameron, Gelbach and Miller 2011), ``sandwich`` (each decision on its
    own), ``hessian`` (the model taken as true), ``bootstrap`` (clusters resampled), ``jackknife``
    (clusters left out, CV3), ``wild`` (clustered errors; intervals and p-values by the wild score
    cluster bootstrap with the hypothesis imposed).  replications, seed : of bootstrap and wild.

    V = q H^-1 (sum_c s_c s_c') H^-1,   q = (N - 1) / (N - k) * J / (J - 1) for J clusters.

    Intervals and tests use t(J - 1), the normal with ``hessian``.  Raises NotIdentified (see
    there; also when there are no more clusters than parameters, lambda included), ValueError as
    ``design`` or for an unknown kind of errors.
    """
    errors = "clustered" if errors == "cluster" else errors
    if errors not in KINDS:
        raise ValueError(f"unknown errors {errors!r}; known: {', '.join(KINDS)}")
    if second is not None and errors != "clustered":
        raise ValueError(f"two-way clustering goes with clustered errors only, not with {errors}")
    data = data if isinstance(data, Design) else design(data, family)
    if data.weighted and errors == "hessian":
        raise ValueError(
            "with weights the hessian says nothing about the errors; use cluster, sandwich, "
            "bootstrap or jackknife"
        )
    scale = scales(data)
    flat = data.index.reshape(-1, data.index.shape[2]) / scale
    null = rank_deficiency(flat)
    if null is not None:
        raise NotIdentified(f"{data.family}: {vary_too_little(null, data)}", kind="collinear")
    best = maximise(data)
    check(data, best)
    n, k = best.score.shape
    clusters, notes = _counted(data, errors, second, n, k)
    df = np.inf if errors == "hessian" else clusters - 1.0
    # Of resampled kinds lambda is held against 0 by its clustered error: without one of the few
    # uncertain decisions of a sharp chooser lambda jumps, which says nothing about whether choices
    # respond.
    resampled = errors in ("bootstrap", "jackknife")
    first = "clustered" if resampled else errors
    v, remarks = covariance(data, best.score, best.hessian, first, second)
    t = partial(score_statistic, data, best, first, second)
    _responds(data, best, float(np.sqrt(max(v[0, 0], 0))), critical(0.95, df), t, notes)
    jacobian = jacobian_of(best.b)
    transformed = jacobian @ v @ jacobian.T
    if resampled:
        transformed, remarks = resampled_covariance(data, errors, replications, seed)
    if errors == "wild":
        notes.append(
            "intervals and p-values (of lambda: intervals) by the wild score bootstrap, "
            f"{replications} draws, seed {seed}"
        )
    elif errors == "bootstrap":
        notes.append(f"{replications} bootstrap samples of clusters, seed {seed}")
    if data.weighted:
        notes.append(
            "weighted (mean 1): log-likelihood, AIC, BIC and pseudo-R2 are a pseudo-likelihood's"
        )
    if np.abs(best.score).max() < 1e-8 * np.abs(data.index).max():
        notes.append(
            "the choices are this family's own to rounding: errors, t and p are rounding too"
        )
    values = dict(zip(data.labels, theta_of(best.b).tolist(), strict=True))
    se = dict(zip(data.labels, np.sqrt(np.maximum(np.diag(transformed), 0)).tolist(), strict=True))
    return Fit(
        data.family, values, se, transformed, float(best.value.sum()), n, len(data.names), errors,
        df, null_log_likelihood(data), (*notes, *remarks), dict(data.fixed), data, best.b,
        best.score, best.hessian, replications, seed,
    )  # fmt: skip


def _counted(
    data: Design, errors: str, second: Sequence[str] | None, n: int, k: int
) -> tuple[int, list[str]]:
    """Number of clusters that counts, and remarks.  Raises NotIdentified when there are too few."""
    j = n if errors == "sandwich" else len(data.names)
    if second is not None:
        j = min(j, len(set(second)))
    if errors == "hessian":
        return j, []
    if j <= k or n <= k:
        raise NotIdentified(
            f"{n} decisions in {j} cluster(s) are too few for {errors} standard errors of {k} "
            "parameters (lambda is one of them): more clusters than parameters are needed",
            kind="few",
        )
    if j >= FEW:
        return j, []
    how = "" if errors in ("wild", "jackknife") else "; compare errors wild and jackknife"
    return j, [
        (
            f"only {j} clusters: standard errors are uncertain below {FEW}, intervals use "
            f"t({j - 1}){how}"
        )
    ]


def _responds(
    data: Design,
    best: Maximum,
    se: float,
    least: float,
    statistic: Callable[[], float],
    notes: list[str],
) -> None:
    """Raises NotIdentified when lambda is not clearly positive, saying on which side it lies.

    Of a sharp chooser, whose lambda hangs on a few uncertain decisions, lambda / SE is small
    although every choice responds (Hauck and Donner 1977, JASA 72(360)).  Hence, for choices that
    the estimate explains (pseudo-R2 of at least SHARP), the score test of lambda = 0, the other
    parameters fitted to that, decides where lambda / SE does not.
    """
    precision = float(best.b[0])
    if len(best.b) == 1:
        if precision < -least * se:
            notes.append(
                "lambda is negative: choices go against the payoff; are the options coded the "
                "other way round?"
            )
        return
    if precision < -least * se and precision < -1e-12:
        raise NotIdentified(
            f"{data.family}: lambda is {precision:.4g} (SE {se:.2g}), clearly below 0: the "
            "choices look coded the other way round (whoever chose them would like less money); "
            "check which option the choice column names",
            kind="reversed",
        )
    if precision >= least * se and precision > 1e-12:
        return
    t = statistic()
    if precision < 1e-12 or not t > least:
        raise NotIdentified(
            f"{data.family}: lambda is {precision:.4g} (SE {se:.2g}), not clearly above 0: "
            "choices hardly respond to own payoff, so the ratio that defines the other "
            "parameters is undetermined",
            kind="unresponsive",
        )
    notes.append(SHARP_NOTE.format(t=t))


def covariance(
    data: Design,
    score: np.ndarray,
    hessian: np.ndarray,
    errors: str,
    second: Sequence[str] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Covariance of (lambda, gamma), and remarks: ``hessian``, ``sandwich``, else clustered, see
    ``fit``.
    """
    n, k = score.shape
    inverse = np.linalg.inv(-hessian)
    if errors == "hessian":
        return inverse, ()

    def of(cluster: np.ndarray) -> np.ndarray:
        return clustered_covariance(inverse, score, cluster, estimated=k)

    if errors == "sandwich":
        return of(np.arange(n)), ()
    if second is None:
        return of(data.cluster), ()
    other, both = two_way(data.cluster, second)
    v = of(data.cluster) + of(other) - of(both)
    values, vectors = np.linalg.eigh(v)
    if values[0] >= -1e-12 * values[-1]:
        return v, ()
    # as Cameron, Gelbach and Miller do
    return (vectors * np.maximum(values, 0)) @ vectors.T, (
        "two-way covariance was not positive; negative eigenvalues set to 0",
    )


def individual_fits(data: Design, errors: str = "sandwich") -> dict[str, Fit | NotIdentified]:
    """A fit for every cluster (subject) on its own, or why there is none.

    Sampling weights are scaled to a mean of 1 within the subject: how many people a subject stands
    for says nothing of her own choices.
    """
    found: dict[str, Fit | NotIdentified] = {}
    for code, name in enumerate(data.names):
        own = data.rows(data.cluster == code)
        if own.weighted:
            times = own.weight.sum(1)
            alike = bool(np.ptp(times) <= 1e-9 * times.max())
            scale = times[:, None] if alike else times.mean()
            own = replace(own, weight=own.weight / scale, weighted=not alike)
        try:
            found[name] = fit(own, errors=errors)
        except NotIdentified as error:
            found[name] = error
    return found


def out_of_sample(designs: dict[str, Design], folds: int, seed: int) -> dict[str, np.ndarray]:
    """Family -> (J,) log-likelihood of every cluster under the estimate from the other folds of
    clusters.

    All designs must hold the same decisions.  A family without an estimate on some fold has nan
    there.
    """
    first = next(iter(designs.values()))
    fold = np.random.default_rng(seed).permutation(len(first.names)) % folds
    result = {}
    for name, data in designs.items():
        value = np.full(len(first.names), np.nan)
        for f in range(folds):
            test = fold[data.cluster] == f
            try:
                b = maximise(data.rows(~test)).b
            except NotIdentified:
                continue
            sums = np.bincount(
                data.cluster[test],
                log_likelihood(b, data.rows(test))[0],
                minlength=len(first.names),
            )
            value[fold == f] = sums[fold == f]
        result[name] = value
    return result
