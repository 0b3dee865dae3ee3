"""Finite mixtures of preference types, with the guards of a single fit for each type.

    lnL = sum_j ln sum_k share_k prod_{i of j} P_i(x_i; theta_k)
    NEC(K) = E / (lnL(K) - lnL(1)),  E = - sum tau ln tau

by EM, each maximisation step a Newton search; NEC after Celeux and Soromenho (1996), Journal of
Classification 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from econmoral.estimation.identification import NotIdentified, describe, optimal_for
from econmoral.estimation.inference import SHARP_NOTE, jacobian_of, score_statistic, theta_of
from econmoral.estimation.likelihood import (
    Design,
    compress,
    gaps,
    log_likelihood,
    maximise,
    null_log_likelihood,
    separated,
)
from econmoral.estimation.results import Derived
from econmoral.estimation.robust import cluster_sums, jackknife_covariance, sandwich
from econmoral.estimation.tables import etable

MEMBER = 0.01  # posterior from which a cluster speaks for a type
KINDS = ("clustered", "hessian", "bootstrap", "jackknife")


@dataclass(frozen=True)
class Mixture:
    """A finite mixture of preference types.

    shares (K,), types: estimates and standard errors of each, largest share first; posterior (J,
    K): probability that a cluster (subject) is of each type, ``names`` who they are; entropy E =
    -sum tau ln tau; nec = E / (lnL(K) - lnL(1)); agreeing: starts that reached the best likelihood
    within 0.01.
    """

    family: str
    shares: np.ndarray
    share_se: np.ndarray
    types: tuple[dict[str, float], ...]
    se: tuple[dict[str, float], ...]
    posterior: np.ndarray
    log_likelihood: float
    entropy: float
    nec: float
    bic: float
    n: int
    clusters: int
    starts: int
    agreeing: int
    errors: str = "clustered"
    df: float = np.inf
    null_log_likelihood: float = float("nan")
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    fixed: dict[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of estimated parameters."""
        return sum(len(k) for k in self.types) + len(self.types) - 1

    @property
    def aic(self) -> float:
        """-2 lnL + 2 k."""
        return -2 * self.log_likelihood + 2 * self.parameters

    @property
    def pseudo_r2(self) -> float:
        """McFadden's 1 - lnL / lnL of a coin."""
        return (
            1 - self.log_likelihood / self.null_log_likelihood
            if self.null_log_likelihood
            else float("nan")
        )

    def interval(self, kind: int, name: str, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of a parameter of type ``kind`` (from 0)."""
        return self._one(kind, name).interval(level)

    def p_value(self, kind: int, name: str, target: float = 0.0) -> float:
        """Two-sided p-value of equality to ``target``."""
        return self._one(kind, name).p_value(target)

    def _one(self, kind: int, name: str) -> Derived:
        return Derived(name, self.types[kind][name], self.se[kind][name], self.df)

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """One row per type and parameter."""
        rows = [
            (
                k + 1,
                float(self.shares[k]),
                name,
                value,
                self.se[k][name],
                self.p_value(k, name),
                *self.interval(k, name, level),
            )
            for k, kind in enumerate(self.types)
            for name, value in kind.items()
        ]
        return pd.DataFrame(
            rows, columns=["type", "share", "parameter", "estimate", "se", "p", "low", "high"]
        )

    def summary(self) -> str:
        """Everything about the mixture, as text."""
        return str(etable(self, names=[""], title=f"{self.family}, {len(self.types)} types"))

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return etable(self, names=[""]).html()


@dataclass(frozen=True)
class _People:
    """Decisions laid out for EM: subject values of lnL, and the decisions weighted by a type's
    posterior.

    Where many subjects meet the same decisions they are merged, and ``table`` (J, R S) counts who
    chose what.  times (J,): how many people each cluster stands for.
    """

    data: Design
    table: np.ndarray | None
    times: np.ndarray

    def values(self, b: np.ndarray) -> np.ndarray:
        """(J,) lnL of every cluster at (lambda, gamma)."""
        if self.table is None:
            return np.bincount(
                self.data.cluster, log_likelihood(b, self.data)[0], minlength=len(self.data.names)
            )
        v = np.where(self.data.allowed, self.data.index @ b, -np.inf)
        log_p = v - np.logaddexp.reduce(v, axis=1, keepdims=True)
        return self.table @ np.where(self.data.allowed, log_p, 0.0).ravel()

    def weighted(self, tau: np.ndarray) -> Design:
        """The decisions with cluster weights (J,)."""
        if self.table is None:
            return replace(
                self.data,
                weight=self.data.weight * np.maximum(tau, 1e-300)[self.data.cluster, None],
            )
        return replace(self.data, weight=(tau @ self.table).reshape(self.data.weight.shape))


def _people(data: Design, times: np.ndarray) -> _People:
    merged, group = compress(data)
    size = merged.weight.size * len(data.names)
    if data.partial is not None or size > 4 * data.weight.size + 1_000_000:
        return _People(data, None, times)
    counts = np.zeros((len(data.names), *merged.weight.shape))
    np.add.at(counts, (data.cluster, group), data.weight)
    return _People(merged, counts.reshape(len(data.names), -1), times)


@dataclass(frozen=True)
class _State:
    """Where EM ended: lnL, shares (K,), (lambda, gamma) of each type (K, 1 + K'), posterior (J,
    K)."""

    value: float
    shares: np.ndarray
    b: np.ndarray
    tau: np.ndarray


def _em(
    people: _People,
    tau: np.ndarray,
    b: np.ndarray | None,
    times: np.ndarray,
    tolerance: float,
    limit: int = 2000,
) -> _State:
    """Expectation and maximisation in turn until lnL gains less than ``tolerance`` times itself.
    times (J,): cluster weights."""
    last, types = -np.inf, tau.shape[1]
    starts: list[np.ndarray | None] = [None] * types if b is None else list(b)
    shares, value = tau.mean(0), -np.inf
    for _ in range(limit):
        shares = times @ tau / times.sum()
        now = np.array(
            [maximise(people.weighted(times * tau[:, k]), starts[k]).b for k in range(types)]
        )
        starts = list(now)
        joint = np.column_stack([people.values(x) for x in now]) + np.log(
            np.maximum(shares, 1e-300)
        )
        each = np.logaddexp.reduce(joint, axis=1)
        tau = np.exp(joint - each[:, None])
        value = float(times @ each)
        if value - last < tolerance * abs(value):
            break
        last = value
    return _State(value, times @ tau / times.sum(), np.array(starts), tau)


def mixture(
    data: Design,
    types: int,
    starts: int = 10,
    seed: int = 0,
    tolerance: float = 1e-7,
    errors: str = "clustered",
    replications: int = 199,
) -> Mixture:
    """Finite mixture by EM, from several random starts; standard errors clustered by subject, or
    of the kind asked for.

    errors : ``clustered``, ``hessian``, ``bootstrap`` (subjects resampled, EM from the estimate)
    or ``jackknife``. Raises NotIdentified when no start converges, when a type is empty, equal to
    another, or could not be estimated on its own (separated, unresponsive, no more clusters than
    parameters); ValueError for fewer than one type, unknown errors, or more than one type where
    every decision is its own cluster.
    """
    errors = "clustered" if errors == "cluster" else errors
    _refuse(data, types, errors)
    j, n, k = len(data.names), len(data.index), data.index.shape[2]
    null, single = null_log_likelihood(data), float(maximise(compress(data)[0]).value.sum())
    data, times = _by_person(data) if types > 1 and data.weighted else (data, np.ones(j))
    people = _people(data, times)
    reached = _search(people, types, starts, seed, tolerance)
    best = max(reached, key=lambda s: s.value)
    best = _em(people, best.tau, best.b, times, tolerance * 1e-4)
    order = np.argsort(-best.shares)
    best = _State(best.value, best.shares[order], best.b[order], best.tau[:, order])
    guard(data, people, best, single, errors)
    estimates, se, share_se, notes = _errors(data, people, best, errors, replications, seed)
    entropy = -float((times @ (best.tau * np.log(np.maximum(best.tau, 1e-300)))).sum())
    free = types * k + types - 1
    nec = entropy / (best.value - single) if types > 1 else 1.0
    if nec > 1:
        notes = (
            *notes,
            (
                f"NEC is {nec:.3g}, above 1: the types hardly differ, one type describes these "
                "choices better"
            ),
        )
    if j < 30:
        notes = (*notes, f"only {j} clusters: standard errors are uncertain below 30")
    return Mixture(
        data.family,
        best.shares,
        share_se,
        estimates,
        se,
        best.tau,
        best.value,
        entropy,
        nec,
        -2 * best.value + free * float(np.log(n)),
        n,
        j,
        starts,
        int(sum(best.value - r.value < 0.01 for r in reached)),
        errors,
        np.inf if errors == "hessian" else j - 1.0,
        null,
        notes,
        data.names,
        dict(data.fixed),
    )


def _by_person(data: Design) -> tuple[Design, np.ndarray]:
    """The decisions without their sampling weights, and (J,) the weight of every cluster: a weight
    says how many people somebody stands for, not how often they chose.

    Raises ValueError where weights differ between the choices of a cluster.
    """
    seen = np.zeros(len(data.weight), bool) if data.partial is None else data.partial
    weight = np.where(seen, data.weight.max(1), data.weight.sum(1))
    times = np.zeros(len(data.names))
    times[data.cluster] = weight
    if not np.allclose(times[data.cluster], weight, rtol=1e-9):
        raise ValueError(
            "types need one weight a person: weights differ between the choices of a cluster; "
            "leave them out, or estimate one type"
        )
    return replace(data, weight=data.weight / weight[:, None], weighted=False), times


def _refuse(data: Design, types: int, errors: str) -> None:
    """Raises ValueError or NotIdentified for what no mixture can be estimated from."""
    if types < 1:
        raise ValueError(f"a mixture needs at least one type, got {types}")
    if errors not in KINDS:
        raise ValueError(
            f"errors {errors!r} are not available for types; known: {', '.join(KINDS)}"
        )
    j, n, k = len(data.names), len(data.index), data.index.shape[2]
    if types > 1 and j == n:
        raise ValueError(
            "types need clusters with several decisions each: every decision is its own cluster "
            "here"
        )
    if data.weighted and errors == "hessian":
        raise ValueError(
            "with weights the hessian says nothing about the errors; use cluster, bootstrap or "
            "jackknife"
        )
    if types * k + types - 1 >= j and errors != "hessian":
        raise NotIdentified(
            f"{j} clusters are too few for {types} types with {types * k + types - 1} parameters "
            "together; use fewer types",
            kind="few",
        )


def _search(people: _People, types: int, starts: int, seed: int, tolerance: float) -> list[_State]:
    """Where EM ends from random starts; those that fail are left out, but for all of them."""
    rng, reached = np.random.default_rng(seed), []
    for _ in range(starts if types > 1 else 1):
        tau = rng.dirichlet(np.full(types, 0.3), size=len(people.times))
        with suppress(NotIdentified, np.linalg.LinAlgError):
            reached.append(_em(people, tau, None, people.times, tolerance))
    if not reached:
        raise NotIdentified(
            f"no start of the mixture of {types} types converged; use fewer types",
            kind="not converged",
        )
    return reached


def guard(data: Design, people: _People, state: _State, single: float, errors: str) -> None:
    """Raises NotIdentified for a type that is empty, equal to another, or not identified by those
    who belong to it."""
    j, k, types = len(data.names), data.index.shape[2], len(state.shares)
    if types == 1:
        return
    count = state.tau.sum(0)
    for i in range(types):
        if count[i] < 1:
            raise NotIdentified(
                f"type {i + 1} of {types} is empty (it holds {count[i]:.2f} of {j} clusters); "
                "use fewer types",
                kind="type",
            )
    for a in range(types):
        for c in range(a + 1, types):
            loss = state.value - _merged_value(people, state, a, c)
            if loss < 0.01:
                raise NotIdentified(
                    f"types {a + 1} and {c + 1} are equal: one of them adds nothing to the fit; "
                    "use fewer types",
                    kind="type",
                )
    if state.value - single < 0.01:
        raise NotIdentified(
            "the types are equal: together they fit no better than one; use fewer types",
            kind="type",
        )
    for i, share in enumerate(state.shares):
        who = f"type {i + 1} of {types} (share {share:.3f}, {count[i]:.1f} clusters)"
        if errors != "hessian" and count[i] <= k:
            raise NotIdentified(
                f"{who} has no more clusters than its {k} parameters; use fewer types", kind="few"
            )
        members = state.tau[:, i] > MEMBER
        rows = data.rows(members[data.cluster])
        tau = (people.times * state.tau[:, i])[members]
        rows = replace(rows, weight=rows.weight * tau[_places(data, rows, members)][:, None])
        rows, _ = compress(rows)
        found = maximise(rows, state.b[i])
        apart = separated(rows, found)
        if apart is not None:
            message, signs = describe(apart, ("lambda", *data.parameters))
            bounds = (
                optimal_for(*gaps(rows, found.b), data.parameters)
                if signs.get("lambda") in ("+", "?")
                else None
            )
            raise NotIdentified(f"{who} is not identified: {message}", bounds, "type", signs)
        if not found.converged:
            raise NotIdentified(
                f"{who} is not identified: the search for its parameters did not converge",
                kind="type",
            )


def _places(data: Design, rows: Design, members: np.ndarray) -> np.ndarray:
    """(n',) position, among the members, of the cluster of each row."""
    place = {name: i for i, name in enumerate(np.array(data.names, dtype=object)[members])}
    return np.array([place[name] for name in rows.names])[rows.cluster]


def _merged_value(people: _People, state: _State, a: int, c: int) -> float:
    """lnL with type c replaced by type a, which takes over its share, or the other way round,
    whichever is better."""
    each = np.column_stack([people.values(x) for x in state.b])
    shares = state.shares.copy()
    shares[a], shares[c] = shares[a] + shares[c], 0.0
    result = []
    for keep in (a, c):
        columns = each.copy()
        columns[:, a] = each[:, keep]
        with np.errstate(divide="ignore"):
            result.append(
                float(people.times @ np.logaddexp.reduce(columns + np.log(shares), axis=1))
            )
    return max(result)


def _errors(
    data: Design, people: _People, state: _State, errors: str, replications: int, seed: int
) -> tuple[tuple[dict[str, float], ...], tuple[dict[str, float], ...], np.ndarray, tuple[str, ...]]:
    """Estimates, standard errors, errors of the shares, remarks."""
    types, k = state.b.shape
    at = np.concatenate([*(theta_of(x) for x in state.b), state.shares])
    if errors in ("bootstrap", "jackknife"):
        v, notes = _resampled(people, state, errors, replications, seed)
    else:
        v, notes = _analytic(data, state, errors, people.times), ()
    if not np.isfinite(v).all() or (np.diag(v) < 0).any():
        raise NotIdentified(
            "the types cannot be told apart: the likelihood is flat at its maximum; use fewer "
            "types",
            kind="type",
        )
    se = np.sqrt(np.diag(v))
    labels = data.labels
    for i in range(types):
        last = i * k + k - 1
        if k > 1 and at[last] < 1.96 * se[last]:
            t = _score_t(data, state, i) if at[last] > 0 else float("nan")
            if t > 1.96:
                notes = (*notes, f"type {i + 1} of {types}: {SHARP_NOTE.format(t=t)}")
                continue
            way = (
                "coded the other way round"
                if at[last] < -1.96 * se[last]
                else "hardly responding to own payoff"
            )
            raise NotIdentified(
                f"type {i + 1} of {types} (share {state.shares[i]:.3f}): lambda is {at[last]:.4g} "
                f"(SE {se[last]:.2g}), so its choices "
                f"are {way} and the ratio that defines the other parameters is undetermined",
                kind="type",
            )
    parts = [slice(i * k, (i + 1) * k) for i in range(types)]
    estimates = tuple(dict(zip(labels, at[p].tolist(), strict=True)) for p in parts)
    return (
        estimates,
        tuple(dict(zip(labels, se[p].tolist(), strict=True)) for p in parts),
        se[types * k :],
        notes,
    )


def _score_t(data: Design, state: _State, i: int) -> float:
    """t of the score test of lambda = 0 over the choices of those who are rather of type i than of
    any other; not a number where these choices are not nearly deterministic.
    """
    members = state.tau.argmax(1) == i
    rows = data.rows(members[data.cluster])
    return score_statistic(rows, maximise(rows, state.b[i]), "clustered", None)


def _analytic(data: Design, state: _State, errors: str, times: np.ndarray) -> np.ndarray:
    """Covariance of (theta and lambda of each type, shares): analytic scores per cluster, their
    derivative numerically.

    Raises NotIdentified when the information is singular.
    """
    types, k = state.b.shape
    j, shares = len(data.names), state.shares
    # columns of one size, so that steps and condition number mean something
    unit = np.abs(data.index).max((0, 1))

    scaled = replace(data, index=data.index / unit)

    def scores(parameters: np.ndarray) -> np.ndarray:
        coefficients, logits = (
            parameters[: types * k].reshape(types, k),
            np.append(parameters[types * k :], 0.0),
        )
        log_shares = logits - np.logaddexp.reduce(logits)
        values, gradients = np.zeros((j, types)), np.zeros((j, types, k))
        for i in range(types):
            value, score, _ = log_likelihood(coefficients[i], scaled)
            values[:, i] = np.bincount(data.cluster, value, minlength=j)
            gradients[:, i] = cluster_sums(score, data.cluster, j)
        joint = values + log_shares
        tau = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        each = (tau[:, :, None] * gradients).reshape(j, -1)
        return times[:, None] * np.concatenate([each, (tau - np.exp(log_shares))[:, :-1]], 1)

    at = np.append((state.b * unit).ravel(), np.log(shares[:-1] / shares[-1]))
    steps = 1e-5 * np.maximum(np.abs(at), 1e-2)
    columns = [
        (scores(at + h * e).sum(0) - scores(at - h * e).sum(0)) / (2 * h)
        for h, e in zip(steps, np.eye(len(at)), strict=True)
    ]
    information = -(np.array(columns) + np.array(columns).T) / 2
    size = np.sqrt(np.abs(np.diag(information)))
    if (size == 0).any() or np.linalg.cond(information / np.outer(size, size)) > 1e10:
        raise NotIdentified(
            "the types cannot be told apart: the likelihood is flat at its maximum; use fewer "
            "types",
            kind="type",
        )
    inverse = np.linalg.inv(information)
    if (np.diag(inverse) <= 0).any():
        raise NotIdentified(
            "the types cannot be told apart: the search ended at no maximum; use fewer types",
            kind="type",
        )
    v = inverse
    if errors == "clustered":
        v = sandwich(inverse, scores(at), len(data.index), estimated=len(at))
    whole = np.zeros((types * k + types, len(at)))
    for i in range(types):
        part = slice(i * k, (i + 1) * k)
        whole[part, part] = jacobian_of(state.b[i]) / unit
    full = np.diag(shares) - np.outer(shares, shares)  # d share / d logit
    whole[types * k :, types * k :] = full[:, :-1]
    return whole @ v @ whole.T


def _resampled(
    people: _People, state: _State, errors: str, replications: int, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Covariance of (theta and lambda of each type, shares) over resampled or left-out clusters."""
    j = len(people.times)
    rng = np.random.default_rng(seed)
    if errors == "bootstrap":
        draws: Sequence[np.ndarray] = [
            np.bincount(rng.integers(j, size=j), minlength=j).astype(float)
            for _ in range(replications)
        ]
    else:
        draws = list(1.0 - np.eye(j))
    rows = []
    for times in draws:
        try:
            again = _em(people, state.tau, state.b, people.times * times, 1e-8)
        except (NotIdentified, np.linalg.LinAlgError):
            continue
        if (again.b[:, 0] > 0).all() and (again.shares > 1e-6).all():
            rows.append(np.concatenate([*(theta_of(x) for x in again.b), again.shares]))
    failed = len(draws) - len(rows)
    if failed > len(draws) / 10 or len(rows) < 2:
        raise NotIdentified(
            f"{failed} of {len(draws)} resamples have no estimate of every type; use fewer types",
            kind="type",
        )
    notes = (
        (f"{failed} of {len(draws)} resamples had no estimate and are left out",) if failed else ()
    )
    values = np.array(rows)
    if errors == "bootstrap":
        return np.cov(values.T), notes
    at = np.concatenate([*(theta_of(x) for x in state.b), state.shares])
    return jackknife_covariance(values, at), notes
