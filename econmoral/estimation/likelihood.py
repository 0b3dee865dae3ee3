"""The likelihood of choices: stacked decisions, lnL with derivatives, its maximum.

Every family is linear in its parameters, u = base + X theta, so with gamma = lambda theta the
index lambda base + X gamma is linear and

    lnL(lambda, gamma) = sum_i sum_x w_i(x) ln P_i(x),

with w one-hot for a sampled choice and a probability for an exact one, is globally concave.  Where
only part of a plan was observed (one role, one information set), the term is
ln sum_{x in O_i} P_i(x) over the strategies O_i consistent with it; that is not concave, so several
starts are tried.

Payoffs are centred within each decision before anything else: only differences between options
matter, and large levels would drown them in rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.economics.games import Tables
from econmoral.economics.preferences import FAMILIES, Family
from econmoral.estimation.identification import NotIdentified, Separation, separation
from econmoral.estimation.robust import cluster_sums


@dataclass(frozen=True)
class Design:
    """Stacked decisions.

    index (n, S, 1 + K): base and features of every option, as differences to the first; weight (n,
    S): what was chosen; allowed (n, S): options that exist; cluster (n,): codes 0 ... J - 1,
    ``names`` what they stand for.  partial (n,): of which decisions only a set of strategies was
    observed (those of positive weight), or None.  fixed : parameters held at a value. weighted :
    whether decisions carry sampling weights.
    """

    family: str
    parameters: tuple[str, ...]
    index: np.ndarray
    weight: np.ndarray
    allowed: np.ndarray
    cluster: np.ndarray
    names: tuple[str, ...]
    partial: np.ndarray | None = None
    fixed: tuple[tuple[str, float], ...] = ()
    weighted: bool = False

    def rows(self, keep: np.ndarray) -> Design:
        """The decisions in ``keep`` (mask or positions), clusters coded anew."""
        codes, cluster = np.unique(self.cluster[keep], return_inverse=True)
        names = tuple(self.names[c] for c in codes)
        partial = None if self.partial is None else self.partial[keep]
        return replace(
            self,
            index=self.index[keep],
            weight=self.weight[keep],
            allowed=self.allowed[keep],
            cluster=cluster,
            names=names,
            partial=partial,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what is reported: the parameters, then lambda."""
        return (*self.parameters, "lambda")

    @property
    def one_hot(self) -> bool:
        """Whether every decision is a sampled choice, none an exact probability."""
        return bool(((self.weight > 0).sum(1) == 1)[~self._partial()].all())

    def _partial(self) -> np.ndarray:
        return np.zeros(len(self.index), bool) if self.partial is None else self.partial


@lru_cache(maxsize=64)
def level_free(family: Family) -> bool:
    """Whether a constant added to all payoffs changes no difference between options: true of every
    family linear in payoffs.

    Only then are payoffs moved towards zero before the features are computed; a family with, say,
    a logarithm keeps its level.
    """
    own, other = (x.ravel() + 11.0 for x in np.meshgrid(np.arange(5.0), np.arange(5.0)))
    features = [np.column_stack(family.outcome(own + c, other + c, 1.0, 1.0)) for c in (0.0, 7.0)]
    steps = [x - x[0] for x in features]
    return bool(np.abs(steps[0] - steps[1]).max() < 1e-9)


def codes(labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n,) codes 0 ... J - 1 of labels in order of appearance, and what they stand for."""
    known = {c: k for k, c in enumerate(dict.fromkeys(labels))}
    return np.array([known[c] for c in labels], dtype=int), tuple(known)


def weigh(data: Design, weights: np.ndarray | None) -> Design:
    """The decisions with sampling weights (n,), scaled to a mean of 1.  Raises ValueError unless
    positive and finite."""
    if weights is None:
        return data
    w = np.asarray(weights, float)
    if w.shape != (len(data.index),) or not (np.isfinite(w) & (w > 0)).all():
        raise ValueError("weights must be positive numbers, one for each decision")
    return replace(data, weight=data.weight * (w / w.mean())[:, None], weighted=True)


def design(
    decisions: Sequence[Decision], family: str, observed: Sequence[np.ndarray | None] | None = None
) -> Design:
    """Stack decisions of any games; strategies that a smaller game lacks are not allowed.

    observed : for each decision the strategies (N,) consistent with what was seen, or None where
    the choice says it. Raises ValueError for an unknown family or a choice that is no
    distribution, NotIdentified when there is no decision.
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
    partial = np.zeros(len(decisions), bool)
    seen: dict[tuple[int, bytes], np.ndarray] = {}
    for i, d in enumerate(decisions):
        key = id(d.tables), d.weights.tobytes()
        if key not in seen:
            low = min(d.tables.own.min(), d.tables.other.min()) if level_free(fam) else 0.0
            tables = Tables(
                d.tables.strategies, d.tables.own - low, d.tables.other - low, d.tables.weight
            )
            base, features = fam.features(tables, d.weights)
            seen[key] = np.column_stack([base, features])
        n = len(seen[key])
        if (
            d.choice.shape != (n,)
            or not np.isclose(d.choice.sum(), 1, atol=1e-6)
            or (d.choice < 0).any()
        ):
            raise ValueError(
                f"decision {i}: the choice must be {n} probabilities that sum to 1, got {d.choice}"
            )
        index[i, :n], weight[i, :n], allowed[i, :n] = seen[key] - seen[key][0], d.choice, True
        if observed is not None and observed[i] is not None:
            consistent = np.asarray(observed[i], float)
            weight[i, :n], partial[i] = consistent / consistent.sum(), 1 < consistent.sum() < n
    cluster, names = codes([d.cluster for d in decisions])
    return Design(
        family,
        fam.parameters,
        index,
        weight,
        allowed,
        cluster,
        names,
        partial if partial.any() else None,
    )


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

    own, other : (n, S) payoffs of every option, nan where a decision has fewer.  chosen : (n,)
    position of the chosen one, or (n, S) its probabilities.  kind, unkind : (n,) whether the other
    had just been kind or unkind (reciprocity games). Raises ValueError for a Kantian family: an
    allocation is no game.
    """
    fam = FAMILIES.get(family)
    if fam is None or fam.kantian:
        usable = ", ".join(f.name for f in FAMILIES.values() if not f.kantian)
        raise ValueError(f"family {family!r} cannot be estimated on allocations; known: {usable}")
    own, other = np.asarray(own, float), np.asarray(other, float)
    allowed = np.isfinite(own) & np.isfinite(other)
    own, other = (np.where(allowed, x, 0.0) for x in (own, other))
    q, v = (np.broadcast_to(np.asarray(x, float).reshape(-1, 1), own.shape) for x in (kind, unkind))
    base, terms = fam.outcome(own, other, q, v)
    cluster_codes, names = codes(list(cluster))
    index = np.concatenate([base[..., None], terms], -1)
    # differences to the first option: a level common to all payoffs leaves no trace
    index = np.where(allowed[..., None], index - index[:, :1], 0.0)
    weight = np.eye(own.shape[1])[chosen] if np.ndim(chosen) == 1 else np.asarray(chosen, float)
    return Design(family, fam.parameters, index, weight, allowed, cluster_codes, names)


def restrict(data: Design, fixed: dict[str, float]) -> Design:
    """The same decisions with some parameters held at known values (u stays linear in the
    others)."""
    if unknown := set(fixed) - set(data.parameters):
        raise ValueError(
            f"{data.family} has no parameter {sorted(unknown)}; it has {data.parameters}"
        )
    free = tuple(p for p in data.parameters if p not in fixed)
    base = data.index[..., 0] + sum(
        value * data.index[..., 1 + data.parameters.index(p)] for p, value in fixed.items()
    )
    columns = [data.index[..., 1 + data.parameters.index(p)] for p in free]
    return replace(
        data,
        parameters=free,
        index=np.stack([base, *columns], -1),
        fixed=(*data.fixed, *fixed.items()),
    )


def probabilities(parameters: np.ndarray, data: Design) -> np.ndarray:
    """(n, S) choice probabilities at (lambda, gamma)."""
    return np.exp(_log_probabilities(parameters, data))


def _log_probabilities(parameters: np.ndarray, data: Design) -> np.ndarray:
    v = data.index @ parameters
    if not data.allowed.all():
        v = np.where(data.allowed, v, -np.inf)
    v = v - _over_options(np.maximum, v)[:, None]
    return v - np.log(_over_options(np.add, np.exp(v)))[:, None]


def _over_options(step: np.ufunc, x: np.ndarray) -> np.ndarray:
    """(n,) reduction over the options (n, S): column by column where they are few, which is
    several times as fast."""
    if x.shape[1] > 8:
        return step.reduce(x, axis=1)
    return reduce(step, x.T)


def _mix(weights: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n, 1 + K) sum_s w_s x_s of weights (n, S)."""
    if index.shape[1] > 8:
        return np.matmul(weights[:, None, :], index)[:, 0]
    return sum(
        (weights[:, s, None] * index[:, s] for s in range(1, index.shape[1])),
        weights[:, 0, None] * index[:, 0],
    )


def log_likelihood(
    parameters: np.ndarray, data: Design
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per decision: lnL (n,), score (n, 1 + K) and the summed hessian (1 + K, 1 + K) in (lambda,
    gamma)."""
    value, score, hessian, _ = _evaluate(parameters, data)
    return value, score, hessian


def _evaluate(
    parameters: np.ndarray, data: Design
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """lnL, scores, hessian, and the curvature of complete data, which is never negative."""
    log_p = _log_probabilities(parameters, data)
    p = np.exp(log_p)
    weight, total = data.weight, data.weight.sum(1, keepdims=True)  # 1, or a weight of the decision
    whole = data.allowed.all()
    value = _over_options(np.add, weight * (log_p if whole else np.where(data.allowed, log_p, 0.0)))
    if data.partial is not None:
        rows = data.partial
        inside = np.where(weight[rows] > 0, log_p[rows], -np.inf)
        of_set = np.logaddexp.reduce(inside, axis=1, keepdims=True)
        value[rows] = total[rows, 0] * of_set[:, 0]
        weight = weight.copy()
        weight[rows] = total[rows] * np.exp(inside - of_set)
    mean = _mix(p, data.index)
    score = _mix(weight - total * p, data.index)
    flat = data.index.reshape(-1, data.index.shape[2])
    curvature = flat.T @ (flat * (total * p).reshape(-1, 1)) - mean.T @ (total * mean)
    hessian = -curvature
    if data.partial is not None:
        hessian = hessian + _within_sets(data, weight, total)
    return value, score, hessian, curvature


def _within_sets(data: Design, weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Sum of the variances of the index within the observed sets: what is not known of the
    choice."""
    rows = data.partial
    x, w = data.index[rows], weight[rows]
    inner = np.matmul(w[:, None, :], x)[:, 0] / np.sqrt(total[rows])
    flat = x.reshape(-1, x.shape[2])
    return flat.T @ (flat * w.reshape(-1, 1)) - inner.T @ inner


def hessians(parameters: np.ndarray, data: Design) -> np.ndarray:
    """(J, 1 + K, 1 + K) second derivatives of every cluster's lnL."""
    p = probabilities(parameters, data)
    total = data.weight.sum(1, keepdims=True)
    k, j = data.index.shape[2], len(data.names)
    mean = np.matmul(p[:, None, :], data.index)
    centred = data.index - mean
    each = -np.matmul((centred * (total * p)[..., None]).transpose(0, 2, 1), centred)
    if data.partial is not None:
        rows = data.partial
        q = np.where(data.weight[rows] > 0, p[rows], 0.0)
        q = q / q.sum(1, keepdims=True)
        inner = data.index[rows] - np.matmul(q[:, None, :], data.index[rows])
        each[rows] += np.matmul((inner * (total[rows] * q)[..., None]).transpose(0, 2, 1), inner)
    return cluster_sums(each.reshape(-1, k * k), data.cluster, j).reshape(j, k, k)


def null_log_likelihood(data: Design) -> float:
    """lnL of a coin: every option equally likely."""
    share = data.allowed.sum(1).astype(float)
    value = -np.log(share)
    if data.partial is not None:
        value = np.where(
            data.partial, value + np.log(np.maximum((data.weight > 0).sum(1), 1)), value
        )
    return float((data.weight.sum(1) * value).sum())


@dataclass(frozen=True)
class Maximum:
    """Where the search ended.

    b (1 + K,): (lambda, gamma); value (n,), score (n, 1 + K), hessian (1 + K, 1 + K) there;
    decrement g'(-H)^-1 g: twice the gain that the quadratic model still promises; converged :
    whether that is nothing.
    """

    b: np.ndarray
    value: np.ndarray
    score: np.ndarray
    hessian: np.ndarray
    decrement: float
    converged: bool


def scales(data: Design) -> np.ndarray:
    """(1 + K,) largest difference of every column.  Raises NotIdentified naming parameters that
    touch no choice."""
    scale = np.abs(data.index).max((0, 1))
    if (scale == 0).any():
        dead = [n for n, s in zip(("lambda", *data.parameters), scale, strict=True) if s == 0]
        hint = (
            f"; hold it fixed (--fix {' '.join(f'{d}=0' for d in dead)})"
            if "lambda" not in dead
            else ""
        )
        raise NotIdentified(
            f"{data.family}: {' and '.join(dead)} cannot be identified: the feature is zero in "
            f"every decision, so it has no effect on any choice{hint}",
            kind="collinear",
        )
    return scale


def maximise(data: Design, start: np.ndarray | None = None) -> Maximum:
    """The maximum of lnL in (lambda, gamma) by Newton steps, from zero or ``start``.

    Raises NotIdentified when a column is zero throughout.  Whether a maximum exists is not checked
    here.
    """
    scale = scales(data)
    scaled = replace(data, index=data.index / scale)
    if data.partial is None:
        found = _newton(scaled, np.zeros(len(scale)) if start is None else start * scale)
    else:
        # as if all consistent plans were chosen
        even = _newton(replace(scaled, partial=None), np.zeros(len(scale)))
        rng = np.random.default_rng(0)
        starts = [
            np.zeros(len(scale)),
            even.b,
            *(even.b + rng.normal(size=(4, len(scale))) * (1 + np.abs(even.b))),
        ]
        if start is not None:
            starts.append(start * scale)
        found = max((_newton(scaled, s) for s in starts), key=lambda m: m.value.sum())
    return replace(
        found,
        b=found.b / scale,
        score=found.score * scale,
        hessian=found.hessian * np.outer(scale, scale),
    )


def _newton(data: Design, start: np.ndarray) -> Maximum:
    """Newton steps with backtracking; where lnL is not concave, the curvature of complete data
    gives the step."""
    b = np.array(start, float)
    value, score, hessian, curvature = _evaluate(b, data)
    decrement, last = np.inf, False
    for _ in range(200):
        g, bend = score.sum(0), -hessian
        ridge = 1e-14 * np.eye(len(b)) * max(np.trace(curvature), 1e-300)
        step = _solve(bend + ridge, g)
        if step is None:
            step = _solve(curvature + 1e4 * ridge, g)
        if step is None:
            break
        decrement = float(g @ step)
        if last or not np.isfinite(decrement):
            break
        # quadratic convergence: one full step more and the error is rounding
        last = decrement < 1e-9
        t, total = 1.0, value.sum()
        while True:
            new = _evaluate(b + t * step, data)
            if last or new[0].sum() >= total + 1e-4 * t * decrement - 1e-12 * abs(total):
                break
            t /= 2
            if t < 1e-12:
                return Maximum(b, value, score, hessian, decrement, decrement < 1e-6)
        b = b + t * step
        value, score, hessian, curvature = new
    return Maximum(b, value, score, hessian, decrement, decrement < 1e-6)


def _solve(a: np.ndarray, g: np.ndarray) -> np.ndarray | None:
    """a^-1 g for a positive definite a, else None."""
    try:
        half = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return None
    return np.linalg.solve(half.T, np.linalg.solve(half, g))


def gaps(data: Design, b: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Differences of the index that the choices order: chosen minus other (M, P), and between
    options both chosen (E, P).

    Of a set of strategies the most likely at ``b`` counts as chosen, and the others in the set are
    not ordered.
    """
    weight = data.weight
    taken = weight > 0
    lead = weight.argmax(1)
    partial = np.zeros(len(weight), bool) if data.partial is None else data.partial
    if partial.any():
        v = np.where(
            taken, data.index @ (np.zeros(data.index.shape[2]) if b is None else b), -np.inf
        )
        lead = np.where(partial, v.argmax(1), lead)
    rows = np.arange(len(weight))
    gap = data.index[rows, lead][:, None] - data.index
    lesser = data.allowed & ~taken
    both = taken & ~partial[:, None]
    both[rows, lead] = False
    return gap[lesser], gap[both]


def certified(data: Design, found: Maximum) -> bool:
    """Proof that a maximum exists, at the cost of one pass.

    At a maximum the gaps z (chosen minus other) with weights m = P(other) sum to zero; positive
    weights for which they do so exclude a separating direction (Stiemke's lemma).  At a
    near-maximum with gradient g the weights m (1 - z'A^-1 g), A = sum m z z', sum to zero exactly
    and are positive if |z'A^-1 g| < 1 throughout.  Not offered for partial observations.
    """
    if data.partial is not None:
        return False
    scale = np.abs(data.index).max((0, 1))
    index = data.index / scale
    p = probabilities(found.b, data)
    rows, lead, taken = np.arange(len(index)), data.weight.argmax(1), data.weight > 0
    total = data.weight.sum(1, keepdims=True)
    z = index[rows, lead][:, None] - index
    mass = np.where(data.allowed, np.where(taken, total, total * p), 0.0)
    mass[rows, lead] = 0.0
    flat, m = z.reshape(-1, z.shape[2]), mass.ravel()
    a = flat.T @ (flat * m[:, None])
    size = np.sqrt(np.diag(a))
    if not (size > 0).all() or np.linalg.cond(a / np.outer(size, size)) > 1e12:
        return False
    shift = z @ np.linalg.solve(a, found.score.sum(0) / scale)
    free = (mass > 0) & ~taken
    return bool(np.abs(shift[free]).max(initial=0.0) < 0.5)


def separated(data: Design, found: Maximum) -> Separation | None:
    """The separation of the choices, found by linear programming; None at a maximum that exists.

    Where only sets of strategies were observed a direction counts only if lnL is higher far along
    it than at the maximum.
    """
    if certified(data, found):
        return None
    merged = data if len(data.index) < 200 else compress(data)[0]
    result = separation(*gaps(merged, found.b))
    if result is None or data.partial is None:
        return result
    reach = 60 / max(float(np.abs(data.index @ result.direction).max()), 1e-300)
    far = log_likelihood(found.b + reach * result.direction, data)[0].sum()
    return result if far >= found.value.sum() - 1e-6 else None


def exists(data: Design, found: Maximum) -> bool:
    """Whether lnL has a maximum and the search reached it."""
    return found.converged and separated(data, found) is None


def compress(data: Design) -> tuple[Design, np.ndarray]:
    """Equal decisions merged, their weights added (clusters are lost): the same likelihood on
    fewer rows.

    Returns the merged decisions and (n,) which of them each decision became.
    """
    parts = [data.index.reshape(len(data.index), -1), data.allowed]
    if data.partial is not None:
        parts += [data.partial[:, None], np.where(data.partial[:, None], data.weight > 0, False)]
    flat = np.ascontiguousarray(np.concatenate(parts, 1, dtype=float)) + 0.0  # no negative zeros
    whole = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).ravel()
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    group = group.ravel()
    weight = np.zeros((len(first), data.weight.shape[1]))
    np.add.at(weight, group, data.weight)
    merged = replace(
        data,
        index=data.index[first],
        allowed=data.allowed[first],
        weight=weight,
        cluster=np.arange(len(first)),
        names=tuple(map(str, range(len(first)))),
        partial=None if data.partial is None else data.partial[first],
    )
    return merged, group
