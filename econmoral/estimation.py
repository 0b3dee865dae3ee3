"""Maximum likelihood of preference parameters and logit precision.

Every family is linear in its parameters, u = base + X theta, so with gamma = lambda theta the index lambda base + X gamma is
linear and the log-likelihood

    lnL(lambda, gamma) = sum_i sum_x w_i(x) ln P_i(x),   w one-hot for a sampled choice, a probability for an exact one

is globally concave: one maximum, found by Newton steps (scipy), whatever the start.  theta = gamma / lambda follows by the
delta method.  An estimate is refused (``NotIdentified``) rather than reported with a meaningless standard error.

    >>> fit(decisions, "alpha_beta_kappa").interval("kappa")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, linprog, minimize
from scipy.stats import chi2, norm

from econmoral.choice import Decision
from econmoral.preferences import FAMILIES

LIMIT = 60.0  # utility differences of this many logits are probabilities of 1 to machine precision


class NotIdentified(Exception):
    """The data do not pin the parameters down.

    Usual causes: a deterministic chooser (lambda diverges, only bounds exist), one decision repeated (lambda and the
    preference trade off), choices that do not respond to utility at all (lambda = 0, any preference fits).
    Try more varied decisions, or a family with fewer parameters.  ``bounds`` holds, where it can be computed, the range
    of every parameter for which all observed choices are optimal.
    """

    def __init__(self, message: str, bounds: dict[str, tuple[float, float]] | None = None) -> None:
        self.bounds = bounds
        if bounds:
            message += "; every choice is optimal for " + ", ".join(f"{k} in [{a:.3g}, {b:.3g}]" for k, (a, b) in bounds.items())
        super().__init__(message)


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
    errors: str = "clustered"

    def wald(self, target: dict[str, float]) -> tuple[float, float]:
        """Wald statistic and p-value (chi-squared, one degree of freedom per parameter) of equality to ``target``."""
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
    """Stacked decisions.

    index (n, S, 1 + K): base and features of every option; weight (n, S): what was chosen; allowed (n, S): options that
    exist; cluster (n,): codes 0 ... J - 1, ``names`` what they stand for.
    """

    family: str
    parameters: tuple[str, ...]
    index: np.ndarray
    weight: np.ndarray
    allowed: np.ndarray
    cluster: np.ndarray
    names: tuple[str, ...]

    def rows(self, keep: np.ndarray) -> Design:
        """The decisions in ``keep`` (mask or positions), clusters coded anew."""
        codes, cluster = np.unique(self.cluster[keep], return_inverse=True)
        names = tuple(self.names[c] for c in codes)
        return replace(self, index=self.index[keep], weight=self.weight[keep], allowed=self.allowed[keep], cluster=cluster, names=names)


def _codes(labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    known = {c: k for k, c in enumerate(dict.fromkeys(labels))}
    return np.array([known[c] for c in labels]), tuple(known)


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
    cluster, names = _codes([d.cluster for d in decisions])
    return Design(family, fam.parameters, index, weight, allowed, cluster, names)


def allocations(
    own: np.ndarray,
    other: np.ndarray,
    chosen: np.ndarray,
    cluster: Sequence[str],
    family: str,
    kind: np.ndarray | float = 0.0,
    unkind: np.ndarray | float = 0.0,
) -> Design:
    """Choices between allocations of money, such as dictator games.

    own, other : (n, S) payoffs of every option.  chosen : (n,) position of the chosen one, or (n, S) its probabilities.  kind, unkind : (n,) whether the
    other had just been kind or unkind (reciprocity games).  Raises ValueError for a Kantian family: an allocation is no game.
    """
    fam = FAMILIES.get(family)
    if fam is None or fam.kantian:
        usable = ", ".join(f.name for f in FAMILIES.values() if not f.kantian)
        raise ValueError(f"family {family!r} cannot be estimated on allocations; known: {usable}")
    q, v = (np.broadcast_to(np.asarray(x, float).reshape(-1, 1), own.shape) for x in (kind, unkind))
    base, terms = fam.outcome(own, other, q, v)
    codes, names = _codes(list(cluster))
    index = np.concatenate([base[..., None], terms], -1)
    weight = np.eye(own.shape[1])[chosen] if chosen.ndim == 1 else chosen
    return Design(family, fam.parameters, index, weight, np.ones(own.shape, bool), codes, names)


def log_likelihood(parameters: np.ndarray, data: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per decision: lnL (n,), score (n, 1 + K) and the summed hessian (1 + K, 1 + K) in (lambda, gamma)."""
    v = np.where(data.allowed, data.index @ parameters, -np.inf)
    top = v.max(1, keepdims=True)
    log_p = v - (top + np.log(np.exp(v - top).sum(1, keepdims=True)))
    p = np.exp(log_p)
    value = np.where(data.weight > 0, data.weight * np.where(data.allowed, log_p, 0.0), 0.0).sum(1)
    total = data.weight.sum(1, keepdims=True)  # 1, or a frequency weight
    mean = np.einsum("ns,nsk->nk", p, data.index)
    score = np.einsum("ns,nsk->nk", data.weight - total * p, data.index)
    flat = data.index.reshape(-1, data.index.shape[2])
    hessian = -(flat.T @ (flat * (total * p).reshape(-1, 1)) - mean.T @ (total * mean))
    return value, score, hessian


def _maximise(data: Design) -> np.ndarray:
    """(1 + K,) the maximum in (lambda, gamma); one payoff scale for the optimiser, undone on the way out."""
    scale = np.abs(data.index).max((0, 1))
    if (scale == 0).any():
        raise NotIdentified(f"{data.family}: a feature is zero in every decision, so its parameter has no effect on any choice")
    scaled = replace(data, index=data.index / scale)
    memo: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def at(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        key = b.tobytes()
        if key not in memo:
            memo.clear()
            memo[key] = log_likelihood(b, scaled)
        return memo[key]

    result = minimize(
        lambda b: -at(b)[0].sum(), np.zeros(len(scale)), jac=lambda b: -at(b)[1].sum(0), hess=lambda b: -at(b)[2], method="trust-exact",
        options={"gtol": 1e-8 * max(data.weight.sum(), 1.0), "maxiter": 500},
    )  # fmt: skip
    return result.x / scale


def rationalising_bounds(data: Design) -> dict[str, tuple[float, float]] | None:
    """Range of every parameter for which all (modal) choices are optimal, by linear programming; None when there is none."""
    chosen = data.weight.argmax(1)
    rows = np.arange(len(chosen))
    gap = data.index - data.index[rows, chosen][:, None]
    gap = gap[data.allowed & (np.arange(data.allowed.shape[1]) != chosen[:, None])]
    bounds = {}
    for k, name in enumerate(data.parameters):
        ends = []
        for sign in (1, -1):
            cost = sign * np.eye(len(data.parameters))[k]
            found = linprog(cost, A_ub=gap[:, 1:], b_ub=-gap[:, 0], bounds=(None, None))
            if found.status == 2:
                return None
            ends.append(found.x[k] if found.status == 0 else -sign * np.inf)
        bounds[name] = (float(ends[0]), float(ends[1]))
    return bounds


def fit(data: Sequence[Decision] | Design, family: str = "alpha_beta_kappa", errors: str = "clustered", second: Sequence[str] | None = None) -> Fit:
    """Estimate a family's parameters and lambda.

    errors : ``clustered`` (by the decisions' cluster; with ``second``, labels of a second way of clustering, two-way after
    Cameron, Gelbach and Miller 2011), ``sandwich`` (each decision on its own) or ``hessian`` (the model taken as true).

    V = q H^-1 (sum_c s_c s_c') H^-1,   q = (N - 1) / (N - k) * J / (J - 1) for J clusters.

    Raises NotIdentified (see there), ValueError as ``design`` or for an unknown kind of errors.
    """
    if errors not in ("clustered", "sandwich", "hessian"):
        raise ValueError(f"unknown errors {errors!r}; known: clustered, sandwich, hessian")
    data = data if isinstance(data, Design) else design(data, family)
    b = _maximise(data)
    value, score, hessian = log_likelihood(b, data)
    spread = np.ptp(np.where(data.allowed, data.index @ b, (data.index @ b).mean(1, keepdims=True)), axis=1)
    if np.median(spread) > LIMIT or (value > -1e-6).all():
        raise NotIdentified(
            "the choices are deterministic: lambda grows without bound and the preference is only bounded, not estimated; use exact probabilities",
            rationalising_bounds(data),
        )
    scale = np.sqrt(np.abs(np.diag(hessian)))
    if (scale == 0).any() or np.linalg.cond(hessian / np.outer(scale, scale)) > 1e10:
        raise NotIdentified(f"{data.family}: the decisions vary too little to tell its parameters from lambda; use more varied payoffs or fewer parameters")
    v = covariance(data, score, hessian, errors, second)
    estimates, errors_of, transformed = _delta(b, v, data)
    return Fit(data.family, estimates, errors_of, transformed, float(value.sum()), len(value), len(data.names), errors)


def covariance(data: Design, score: np.ndarray, hessian: np.ndarray, errors: str, second: Sequence[str] | None = None) -> np.ndarray:
    """Covariance of (lambda, gamma) of the kind asked for; see ``fit``."""
    n, k = score.shape
    inverse = np.linalg.inv(-hessian)
    if errors == "hessian":
        return inverse

    def meat(cluster: np.ndarray) -> np.ndarray:
        groups = np.zeros((cluster.max() + 1, k))
        np.add.at(groups, cluster, score)
        j = len(groups)
        if j < 2 or n <= k:
            raise NotIdentified(f"{n} decisions in {j} cluster(s) are too few for clustered standard errors of {k} parameters")
        return groups.T @ groups * (n - 1) / (n - k) * j / (j - 1)

    if errors == "sandwich":
        total = meat(np.arange(n))
    elif second is None:
        total = meat(data.cluster)
    else:
        other = _codes(list(second))[0]
        both = np.unique(np.column_stack([data.cluster, other]), axis=0, return_inverse=True)[1].ravel()
        total = meat(data.cluster) + meat(other) - meat(both)
    return inverse @ total @ inverse


def _delta(b: np.ndarray, v: np.ndarray, data: Design) -> tuple[dict[str, float], dict[str, float], np.ndarray]:
    """theta = gamma / lambda and lambda, with standard errors by the delta method."""
    precision, k = b[0], len(b)
    if abs(precision) < 1e-12 or (k > 1 and precision < 1.96 * np.sqrt(v[0, 0])):
        raise NotIdentified(
            f"{data.family}: lambda is {precision:.4g} (SE {np.sqrt(v[0, 0]):.2g}), not clearly above 0: choices hardly respond to own payoff, "
            "so the ratio that defines the other parameters is undetermined"
        )
    theta = b[1:] / precision
    jacobian = np.zeros((k, k))  # rows: parameters, then lambda
    jacobian[: k - 1, 0] = -theta / precision
    jacobian[: k - 1, 1:] = np.eye(k - 1) / precision
    jacobian[k - 1, 0] = 1
    transformed = jacobian @ v @ jacobian.T
    labels = (*data.parameters, "lambda")
    values = dict(zip(labels, (*theta.tolist(), float(precision)), strict=True))
    return values, dict(zip(labels, np.sqrt(np.maximum(np.diag(transformed), 0)).tolist(), strict=True)), transformed


def restrict(data: Design, fixed: dict[str, float]) -> Design:
    """The design with some parameters held at given values: u = (base + sum fixed) + the remaining features."""
    unknown = set(fixed) - set(data.parameters)
    if unknown:
        raise ValueError(f"{data.family} has no parameter {sorted(unknown)}; it has {data.parameters}")
    free = tuple(p for p in data.parameters if p not in fixed)
    base = data.index[..., 0] + sum(value * data.index[..., 1 + data.parameters.index(p)] for p, value in fixed.items())
    columns = [data.index[..., 1 + data.parameters.index(p)] for p in free]
    return replace(data, parameters=free, index=np.stack([base, *columns], -1))


def likelihood_ratio(data: Design, target: dict[str, float]) -> tuple[float, float]:
    """Likelihood-ratio statistic and p-value of theta = ``target`` (lambda and the other parameters free)."""
    full = log_likelihood(_maximise(data), data)[0].sum()
    held = restrict(data, target)
    statistic = max(2 * float(full - log_likelihood(_maximise(held), held)[0].sum()), 0.0)
    return statistic, float(chi2.sf(statistic, len(target)))


def profile_interval(data: Design, name: str, level: float = 0.95, span: float = 50.0) -> tuple[float, float]:
    """Values of a parameter that the likelihood-ratio test does not reject; an end that is not found within ``span`` of the
    maximum is infinite.  Assumes independent decisions: with clusters prefer ``Fit.interval``."""
    b = _maximise(data)
    top, centre = log_likelihood(b, data)[0].sum(), b[1 + data.parameters.index(name)] / b[0]
    critical = chi2.ppf(level, 1) / 2

    def gap(value: float) -> float:
        held = restrict(data, {name: value})
        return float(top - log_likelihood(_maximise(held), held)[0].sum() - critical)

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


def bootstrap(data: Design, replications: int, seed: int) -> np.ndarray:
    """(replications, K + 1) estimates (parameters, then lambda) on resampled clusters; samples without an estimate are nan."""
    rng = np.random.default_rng(seed)
    j = len(data.names)
    rows = []
    for _ in range(replications):
        times = np.bincount(rng.integers(j, size=j), minlength=j)[data.cluster].astype(float)
        keep = times > 0
        sample = data.rows(keep)
        sample = _compress(replace(sample, weight=sample.weight * times[keep, None]))
        try:
            b = _maximise(sample)
            rows.append([*(b[1:] / b[0]), b[0]])
        except NotIdentified:
            rows.append([np.nan] * data.index.shape[2])
    return np.array(rows)


def _compress(data: Design) -> Design:
    """Equal decisions merged, their weights added (clusters are lost): the same likelihood on fewer rows."""
    flat = np.concatenate([data.index.reshape(len(data.index), -1), data.allowed], 1)
    _, first, group = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    weight = np.zeros((len(first), data.weight.shape[1]))
    np.add.at(weight, group.ravel(), data.weight)
    names = tuple(map(str, range(len(first))))
    return replace(data, index=data.index[first], allowed=data.allowed[first], weight=weight, cluster=np.arange(len(first)), names=names)


def individual_fits(data: Design, errors: str = "sandwich") -> dict[str, Fit | NotIdentified]:
    """A fit for every cluster (subject) on its own, or why there is none."""
    found: dict[str, Fit | NotIdentified] = {}
    for code, name in enumerate(data.names):
        try:
            found[name] = fit(data.rows(data.cluster == code), errors=errors)
        except NotIdentified as error:
            found[name] = error
    return found


def out_of_sample(designs: dict[str, Design], folds: int, seed: int) -> dict[str, np.ndarray]:
    """Family -> (J,) log-likelihood of every cluster under the estimate from the other folds of clusters.

    All designs must hold the same decisions.  A family without an estimate on some fold has nan there.
    """
    first = next(iter(designs.values()))
    fold = np.random.default_rng(seed).permutation(len(first.names)) % folds
    result = {}
    for name, data in designs.items():
        value = np.full(len(first.names), np.nan)
        for f in range(folds):
            test = fold[data.cluster] == f
            try:
                b = _maximise(data.rows(~test))
            except NotIdentified:
                continue
            sums = np.bincount(data.cluster[test], log_likelihood(b, data.rows(test))[0], minlength=len(first.names))
            value[fold == f] = sums[fold == f]
        result[name] = value
    return result


@dataclass(frozen=True)
class Mixture:
    """A finite mixture of preference types.

    shares (K,), types: estimates and standard errors of each, largest share first; posterior (J, K): probability that a
    cluster (subject) is of each type; entropy E = -sum tau ln tau; nec = E / (lnL(K) - lnL(1)); agreeing: starts that
    reached the best likelihood within 0.01.
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


def mixture(data: Design, types: int, starts: int = 10, seed: int = 0, tolerance: float = 1e-7) -> Mixture:
    """Finite mixture by EM, each maximisation step globally optimal; standard errors clustered by subject.

    lnL = sum_j ln sum_k share_k prod_{i of j} P_i(x_i; theta_k).  Raises NotIdentified when no start converges to types with
    positive shares, ValueError for fewer than one type.
    """
    if types < 1:
        raise ValueError(f"a mixture needs at least one type, got {types}")
    rng = np.random.default_rng(seed)
    merged = _compress(data)
    flat = np.concatenate([data.index.reshape(len(data.index), -1), data.allowed], 1)
    group = np.unique(flat, axis=0, return_inverse=True)[1].ravel()
    j, (rows, options) = len(data.names), merged.weight.shape
    counts = np.zeros((j, rows, options))  # how often each subject chose each option of each distinct decision
    np.add.at(counts, (data.cluster, group), data.weight)
    table = counts.reshape(j, -1)

    def subject_values(b: np.ndarray) -> np.ndarray:
        v = np.where(merged.allowed, merged.index @ b, -np.inf)
        log_p = v - np.logaddexp.reduce(v, axis=1, keepdims=True)
        return table @ np.where(merged.allowed, log_p, 0.0).ravel()

    single = float(log_likelihood(_maximise(merged), merged)[0].sum())
    best: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None
    reached = []
    for _ in range(starts if types > 1 else 1):
        tau = rng.dirichlet(np.full(types, 0.3), size=j)
        last, b = -np.inf, np.zeros((types, data.index.shape[2]))
        try:
            for _ in range(2000):
                shares = tau.mean(0)
                b = np.array([_maximise(replace(merged, weight=(tau[:, k] @ table).reshape(rows, options))) for k in range(types)])
                joint = np.column_stack([subject_values(x) for x in b]) + np.log(np.maximum(shares, 1e-300))
                per_subject = np.logaddexp.reduce(joint, axis=1)
                tau = np.exp(joint - per_subject[:, None])
                value = float(per_subject.sum())
                if value - last < tolerance * abs(value):
                    break
                last = value
        except (NotIdentified, np.linalg.LinAlgError):
            continue
        reached.append(value)
        if best is None or value > best[0]:
            best = value, tau.mean(0), b, tau
    if best is None:
        raise NotIdentified(f"no start of the mixture of {types} types converged; use fewer types")
    value, shares, b, tau = best
    order = np.argsort(-shares)
    shares, b, tau = shares[order], b[order], tau[:, order]
    estimates, se, share_se = _mixture_errors(data, shares, b)
    entropy = float(-(tau * np.log(np.maximum(tau, 1e-300))).sum())
    free = types * data.index.shape[2] + types - 1
    return Mixture(
        data.family, shares, share_se, estimates, se, tau, value, entropy, entropy / (value - single) if types > 1 else 1.0,
        -2 * value + free * float(np.log(len(data.index))), len(data.index), j, starts, int(sum(value - r < 0.01 for r in reached)),
    )  # fmt: skip


def _mixture_errors(data: Design, shares: np.ndarray, b: np.ndarray) -> tuple[tuple[dict[str, float], ...], tuple[dict[str, float], ...], np.ndarray]:
    """Estimates and clustered standard errors of a mixture: analytic scores per subject, their derivative numerically."""
    types, k = b.shape
    j = len(data.names)

    def scores(parameters: np.ndarray) -> np.ndarray:
        coefficients, logits = parameters[: types * k].reshape(types, k), np.append(parameters[types * k :], 0.0)
        log_shares = logits - np.logaddexp.reduce(logits)
        values, gradients = np.zeros((j, types)), np.zeros((j, types, k))
        for t in range(types):
            value, score, _ = log_likelihood(coefficients[t], data)
            np.add.at(values[:, t], data.cluster, value)
            np.add.at(gradients[:, t], data.cluster, score)
        joint = values + log_shares
        tau = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        return np.concatenate([(tau[:, :, None] * gradients).reshape(j, -1), (tau - np.exp(log_shares))[:, :-1]], 1)

    at = np.append(b.ravel(), np.log(shares[:-1] / shares[-1]))
    steps = 1e-5 * np.maximum(np.abs(at), 1e-3)
    hessian = np.array([(scores(at + h * e).sum(0) - scores(at - h * e).sum(0)) / (2 * h) for h, e in zip(steps, np.eye(len(at)), strict=True)])
    inverse = np.linalg.pinv(-(hessian + hessian.T) / 2)
    s = scores(at)
    n, p = len(data.index), len(at)
    v = inverse @ (s.T @ s) @ inverse * (n - 1) / (n - p) * j / (j - 1)
    estimates, errors = [], []
    for t in range(types):
        block = v[t * k : (t + 1) * k, t * k : (t + 1) * k]
        names = (*data.parameters, "lambda")
        jacobian = np.zeros((k, k))
        theta = b[t, 1:] / b[t, 0]
        jacobian[: k - 1, 0], jacobian[: k - 1, 1:], jacobian[k - 1, 0] = -theta / b[t, 0], np.eye(k - 1) / b[t, 0], 1
        estimates.append(dict(zip(names, [*theta.tolist(), float(b[t, 0])], strict=True)))
        errors.append(dict(zip(names, np.sqrt(np.maximum(np.diag(jacobian @ block @ jacobian.T), 0)).tolist(), strict=True)))
    full = np.diag(shares) - np.outer(shares, shares)  # d share / d logit
    share_v = full[:, :-1] @ v[types * k :, types * k :] @ full[:, :-1].T
    return tuple(estimates), tuple(errors), np.sqrt(np.maximum(np.diag(share_v), 0))
