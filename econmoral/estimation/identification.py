"""What choices cannot tell: separation, found by linear programming, and how it is said.

With v = index @ b the log-likelihood of choices has no maximum exactly when some direction d
raises no option above the chosen one and lowers at least one below it (Albert and Anderson 1984,
Biometrika 71(1); Konis 2007):

    (x_chosen - x_other) @ d >= 0 for all,  > 0 for one.

Along d the likelihood rises for ever.  ``complete`` separation: strict for every choice.
Otherwise it is quasi-complete, and only some of the parameters diverge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TINY = 1e-9  # a difference this small, relative to the largest in its row, counts as none
TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class NotIdentified(Exception):
    """The data do not pin the parameters down.

    Usual causes: a deterministic chooser (lambda diverges, only bounds exist), one decision
    repeated (lambda and the preference trade off), choices that do not respond to utility at all
    (lambda = 0, any preference fits), options coded the other way round.  Try more varied
    decisions, or a family with fewer parameters.

    bounds : where they exist, the values of every parameter for which all observed choices are
    optimal, or a one-sided confidence bound of a parameter that diverges.  kind : ``separated``,
    ``reversed``, ``unresponsive``, ``collinear``, ``few``, ``not converged``, ``type``, or
    ``data``.  diverging : parameter -> ``+``, ``-`` or ``?``.
    """

    def __init__(
        self,
        message: str,
        bounds: dict[str, tuple[float, float]] | None = None,
        kind: str = "data",
        diverging: dict[str, str] | None = None,
        relation: str = "every choice is optimal for ",
    ) -> None:
        self.bounds, self.kind, self.diverging = bounds, kind, diverging or {}
        if bounds:
            message += "; " + relation + ", ".join(_range(k, *ends) for k, ends in bounds.items())
        super().__init__(message)


def _range(name: str, low: float, high: float) -> str:
    return f"{name} in [{low:.3g}, {high:.3g}]"


@dataclass(frozen=True)
class Separation:
    """Directions in which the likelihood rises for ever.

    complete : whether one of them strictly favours every choice.  ranges : (P, 2) smallest and
    largest value of each parameter over these directions, scaled into a box; what is (0, 0) stays
    finite.  direction (P,): one of them.
    """

    complete: bool
    ranges: np.ndarray
    direction: np.ndarray


def rank_deficiency(gaps: np.ndarray) -> np.ndarray | None:
    """(P,) a direction that changes no difference between options (unit columns), or None.

    gaps : (M, P) differences of the options' index.  Along such a direction the likelihood is flat.
    """
    scale = np.sqrt((gaps**2).mean(0))
    scale[scale == 0] = 1.0
    gram = (gaps / scale).T @ (gaps / scale)
    values, vectors = np.linalg.eigh(gram)
    # sums of squares: 1e-12 of the largest is a ratio of 1e-6 between directions
    return vectors[:, 0] if len(values) and values[0] <= 1e-12 * max(values[-1], 1e-300) else None


def separation(better: np.ndarray, equal: np.ndarray) -> Separation | None:
    """Whether some direction separates the choices; None when there is none.

    better : (M, P) chosen minus other option, must not fall; equal : (E, P) differences between
    options that were both chosen (exact probabilities), must not change.  The columns must have
    full rank.
    """
    p = better.shape[1]
    size = np.maximum(np.abs(better).max(0, initial=0), np.abs(equal).max(0, initial=0))
    size[size == 0] = 1.0
    better, equal = _rows(better / size), _rows(equal / size)
    if len(better) == 0:
        return None
    from scipy.optimize import linprog  # scipy takes a third of a second to load

    box = [(-1.0, 1.0)] * p
    where = {
        "A_ub": -better,
        "b_ub": np.zeros(len(better)),
        "bounds": box,
        "method": "highs",
        "options": TIGHT,
        **({"A_eq": equal, "b_eq": np.zeros(len(equal))} if len(equal) else {}),
    }
    found = linprog(-better.mean(0), **where)
    if found.status != 0:
        return None
    gain = better @ found.x
    if gain.max(initial=0) < 1e-7 or gain.min(initial=0) < -1e-8:
        return None
    ranges = np.zeros((p, 2))
    for k in range(p):
        for side, sign in enumerate((1, -1)):
            end = linprog(sign * np.eye(p)[k], **where)
            value = end.x[k] if end.status == 0 else 0.0
            ranges[k, side] = value if abs(value) > 1e-7 else 0.0
    # strict for all?  the largest t with better @ d >= t
    most = linprog(
        np.append(np.zeros(p), -1.0),
        A_ub=np.column_stack([-better, np.ones(len(better))]),
        b_ub=np.zeros(len(better)),
        bounds=[*box, (None, 1.0)],
        method="highs",
        options=TIGHT,
        **(
            {"A_eq": np.column_stack([equal, np.zeros(len(equal))]), "b_eq": np.zeros(len(equal))}
            if len(equal)
            else {}
        ),
    )
    return Separation(
        bool(most.status == 0 and most.x[-1] > 1e-7), ranges / size[:, None], found.x / size
    )


def _rows(gaps: np.ndarray) -> np.ndarray:
    """Distinct directions of the rows; rows of zeros say nothing."""
    size = np.abs(gaps).max(1, initial=0)
    gaps = gaps[size > TINY] / size[size > TINY, None]
    return np.unique(np.round(gaps, 12), axis=0) if len(gaps) else gaps


def optimal_for(
    better: np.ndarray, equal: np.ndarray, names: Sequence[str]
) -> dict[str, tuple[float, float]] | None:
    """Range of every parameter theta for which all choices are optimal, (1, theta) @ gap >= 0;
    None when there is none.

    better, equal : as in ``separation``, first column the base.
    """
    whole = np.concatenate([better, equal, -equal])
    size = np.abs(whole / np.maximum(np.abs(whole).max(0, initial=0), 1e-300)).max(1, initial=0)
    whole = whole[size > TINY] / np.abs(whole[size > TINY]).max(1, keepdims=True)
    whole = np.unique(np.round(whole, 13), axis=0) if len(whole) else whole
    from scipy.optimize import linprog

    bounds = {}
    for k, name in enumerate(names):
        ends = []
        for sign in (1, -1):
            cost = sign * np.eye(len(names))[k]
            found = linprog(
                cost,
                A_ub=-whole[:, 1:],
                b_ub=whole[:, 0] + TINY,
                bounds=(None, None),
                method="highs",
            )
            if found.status == 2:
                return None
            ends.append(float(found.x[k]) if found.status == 0 else -sign * np.inf)
        bounds[name] = (round(ends[0], 8) + 0.0, round(ends[1], 8) + 0.0)  # the slack taken back
    return bounds


def describe(found: Separation, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What diverges, in words, and parameter -> sign.  names : lambda's name first, then the
    parameters."""
    signs = {}
    for name, (low, high) in zip(names, found.ranges, strict=True):
        if high > 0 or low < 0:
            signs[name] = "?" if high > 0 and low < 0 else "+" if high > 0 else "-"
    rest = {k: s for k, s in signs.items() if k != names[0]}
    kind = "complete" if found.complete else "quasi-complete"
    if signs.get(names[0]) in ("+", "?"):
        return (
            (
                f"the choices are deterministic ({kind} separation): lambda grows without bound "
                "and the preference is only bounded, not estimated"
            ),
            signs,
        )
    if signs.get(names[0]) == "-":
        return (
            f"the choices look coded the other way round ({kind} separation): the option recorded "
            f"as chosen is never the best "
            "one, so lambda falls without bound; recode the choices",
            signs,
        )
    words = {"+": "grows without bound", "-": "falls without bound", "?": "is unbounded"}
    said = " and ".join(f"{k} {words[s]}" for k, s in rest.items())
    return (
        (
            f"{said} (quasi-complete separation): every choice that could speak against it went "
            "one way"
        ),
        signs,
    )
