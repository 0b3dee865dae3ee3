"""Average marginal component effects (AMCE) of any factorial conjoint experiment.

A task shows profiles; every profile has one level of each attribute; one profile is chosen (or each
gets a probability).

    chosen_i = constant + sum_al effect_al [attribute a of i is l] + e_i,

over attributes a and their levels l other than the baseline,

by weighted least squares (Hainmueller, Hopkins and Yamamoto 2014, Political Analysis 22(1)): with
levels drawn independently, an effect is the change in the probability of being chosen when that
level replaces the baseline, averaged over all the rest.  Errors are clustered, V = q (X'WX)^-1
(sum_c s_c s_c') (X'WX)^-1 with q = (N - 1) / (N - K) G / (G - 1), and intervals use t with G - 1
degrees of freedom.

    >>> estimate(attributes, chosen, cluster).effects[0].value
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from econmoral.estimation.robust import clustered_covariance

LEVELS = 50  # of one attribute at most: a column with more is a number or a name, no attribute
FEW = 30  # clusters below which errors are said to be rough
MISSING = "(missing)"


@dataclass(frozen=True)
class Effect:
    """Change in the probability of being chosen when ``level`` replaces ``baseline``.

    se, p, low, high are None where the level stands in one cluster only; n : profiles with that
    level.
    """

    attribute: str
    level: str
    baseline: str
    value: float
    se: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


@dataclass(frozen=True)
class Amce:
    """Effects, profiles and clusters used, profiles left out for a missing level, and remarks for
    the reader.
    """

    effects: tuple[Effect, ...]
    profiles: int
    clusters: int
    left_out: int
    notes: tuple[str, ...]


def in_order(levels: set[str]) -> list[str]:
    """Levels by size if all are numbers, with decimal point or comma, else by the alphabet; the
    missing one last."""
    known = levels - {MISSING}
    try:
        ordered = sorted(known, key=lambda text: float(text.replace(",", ".")))
    except ValueError:
        ordered = sorted(known)
    return ordered + [MISSING] * (MISSING in levels)


def estimate(
    attributes: Mapping[str, Sequence[str | None]],
    chosen: np.ndarray,
    cluster: Sequence[str],
    weight: np.ndarray | None = None,
    baselines: Mapping[str, str] | None = None,
    missing: str = "drop",
) -> Amce:
    """AMCEs of every level of every attribute against the attribute's baseline.

    attributes : name -> (N,) level of each profile, None where it has none.  chosen : (N,) 0 or 1,
    or a probability. cluster : (N,) labels.  weight : (N,) positive; None: all alike.  baselines :
    attribute -> level; default the first by size or alphabet.  missing : ``drop`` leaves profiles
    without a level out, ``level`` makes it a level of its own.

    Raises ValueError when an attribute has one level or too many, a baseline is unknown, attributes
    cannot be told apart, weights are not positive, or there are fewer than two clusters.
    """
    y = np.asarray(chosen, float)
    w = np.ones(len(chosen)) if weight is None else np.asarray(weight, float)
    if not attributes:
        raise ValueError("there is no attribute to estimate effects of")
    if missing not in ("drop", "level"):
        raise ValueError(f"missing levels can be handled by drop or level, not {missing!r}")
    if not (np.isfinite(w).all() and (w > 0).all()):
        raise ValueError("weights must be positive")
    holes = np.array([[text is None for text in column] for column in attributes.values()])
    keep = ~holes.any(0) if missing == "drop" else np.ones(len(y), bool)
    notes = [
        _holes(name, int(row.sum()), missing)
        for name, row in zip(attributes, holes, strict=True)
        if row.any()
    ]
    kept = np.flatnonzero(keep).tolist()
    if not len(kept):
        raise ValueError(
            "every profile lacks a level of some attribute; keep them with --missing level or "
            "choose attributes"
        )
    columns = {
        name: [MISSING if (text := column[i]) is None else text for i in kept]
        for name, column in attributes.items()
    }
    chosen_base = _baselines(columns, baselines or {})
    terms = [
        (a, one)
        for a, column in columns.items()
        for one in in_order(set(column))
        if one != chosen_base[a]
    ]
    x = np.column_stack(
        [
            np.ones(len(kept)),
            *(np.array([text == one for text in columns[a]], float) for a, one in terms),
        ]
    )
    notes += _structure(columns)
    codes, group = np.unique([cluster[i] for i in kept], return_inverse=True)
    beta, v = _least_squares(x, y[kept], w[kept], group.ravel(), terms)
    critical = float(student.ppf(0.975, len(codes) - 1))
    if len(codes) < FEW:
        notes.append(
            f"only {len(codes)} clusters: standard errors are rough, intervals use t with "
            f"{len(codes) - 1} degrees of freedom"
        )
    effects = []
    for k, (name, one) in enumerate(terms, start=1):
        here, base = x[:, k] == 1, np.array([value == chosen_base[name] for value in columns[name]])
        alone = min(len(set(group[here])), len(set(group[base]))) < 2
        se = None if alone else float(np.sqrt(max(v[k, k], 0.0)))
        if alone:
            notes.append(
                f"{name} {one} against {chosen_base[name]}: one of them stands in a single "
                "cluster, so there is no standard error"
            )
        value, n = float(beta[k]), int(here.sum())
        effects.append(_effect(name, one, chosen_base[name], value, se, critical, len(codes), n))
    return Amce(tuple(effects), len(kept), len(codes), int((~keep).sum()), tuple(notes))


def _baselines(columns: Mapping[str, Sequence[str]], given: Mapping[str, str]) -> dict[str, str]:
    """The level that each attribute's others are held against."""
    if unknown := sorted(set(given) - set(columns)):
        raise ValueError(
            f"a baseline is given for {', '.join(unknown)}, which is no attribute here; there are "
            f"{', '.join(columns)}"
        )
    return {name: _baseline(name, set(column), given.get(name)) for name, column in columns.items()}


def _effect(
    name: str,
    level: str,
    base: str,
    value: float,
    se: float | None,
    critical: float,
    clusters: int,
    n: int,
) -> Effect:
    if se is None:
        return Effect(name, level, base, value, None, None, None, None, n)
    p = float(2 * student.sf(abs(value) / se, clusters - 1)) if se > 0 else float(value == 0)
    return Effect(name, level, base, value, se, value - critical * se, value + critical * se, p, n)


def _holes(name: str, count: int, missing: str) -> str:
    what = "left out" if missing == "drop" else f"kept as the level {MISSING}"
    return f"{name} is missing on {count} profile(s), which are {what}"


def _baseline(name: str, levels: set[str], wanted: str | None) -> str:
    """The level that others are compared with.  Raises ValueError where there is no comparison."""
    ordered = in_order(levels)
    if len(ordered) > LEVELS:
        raise ValueError(
            f"{name} has {len(ordered)} levels, too many for an attribute; name the attributes "
            "with --attributes"
        )
    if len(ordered) < 2:
        raise ValueError(
            f"{name} has the one level {ordered[0]!r}, so it has no effect to estimate; leave it "
            "out with --attributes"
        )
    if wanted is None:
        return ordered[0]
    if wanted not in levels:
        raise ValueError(
            f"{name} has no level {wanted!r} to be the baseline; it has {', '.join(ordered)}"
        )
    return wanted


def _structure(columns: dict[str, list[str]]) -> list[str]:
    """Remarks on pairs of levels that no profile combines: effects then lean on the sum of effects
    being right.
    """
    notes, names = [], list(columns)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            seen = set(zip(columns[one], columns[two], strict=True))
            absent = [
                (a, b)
                for a in in_order(set(columns[one]))
                for b in in_order(set(columns[two]))
                if (a, b) not in seen
            ]
            if absent:
                a, b = absent[0]
                more = f" ({len(absent)} such pairs)" if len(absent) > 1 else ""
                notes.append(
                    f"no profile combines {one} {a} with {two} {b}{more}: their effects assume "
                    "that effects add up"
                )
    return notes


def _least_squares(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, group: np.ndarray, terms: list[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """(K,) coefficients and their (K, K) clustered covariance.  Raises ValueError where they are
    not determined.
    """
    n, k = x.shape
    clusters = int(group.max()) + 1
    if clusters <= k or n <= k:
        raise ValueError(
            f"{n} profiles in {clusters} cluster(s) are too few for clustered errors of {k - 1} "
            "effects and a constant: more clusters than these are needed"
        )
    inner = x.T @ (x * w[:, None])
    for size in range(2, k + 1):  # the first term that the ones before it already determine
        if np.linalg.matrix_rank(inner[:size, :size], hermitian=True) < size:
            name, level = terms[size - 2]
            raise ValueError(
                f"{name} {level} is determined by other attributes, so their effects cannot be "
                "told apart; leave one out with --attributes"
            )
    inverse = np.linalg.inv(inner)
    beta = inverse @ (x.T @ (w * y))
    scores = x * (w * (y - x @ beta))[:, None]
    return beta, clustered_covariance(inverse, scores, group, estimated=k)
