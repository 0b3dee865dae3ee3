"""One number that was estimated, and one way to print it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.identification import NotIdentified
from econmoral.files.shown import NOT_IDENTIFIED, parameter, with_error
from econmoral.target import Target

if TYPE_CHECKING:
    from econmoral.estimation.likelihood import Design
    from econmoral.estimation.results import Fit


class Mean(TypedDict):
    """Mean, its standard error (nan with one value) and the number of values."""

    mean: float
    se: float
    n: int


class Value(TypedDict):
    """A number and its standard error."""

    value: float
    se: float


class Paired(TypedDict):
    """Mean of paired differences, its standard error and the number of pairs."""

    value: float
    se: float
    n: int


class Structural(TypedDict):
    """Estimates of a family, or why there are none and, where possible, bounds."""

    family: str
    estimates: NotRequired[dict[str, Value]]
    log_likelihood: NotRequired[float]
    decisions: NotRequired[int]
    clusters: NotRequired[int]
    not_identified: NotRequired[str]
    bounds: NotRequired[dict[str, tuple[float, float]] | None]


Fits = dict[str, Structural]  # family -> what was estimated of it


@dataclass(frozen=True)
class Estimate:
    """A parameter or a mean: value, standard error, number of clusters (or values).

    value is None where the parameter is not identified; ``why`` then says why.  low, high : 95 %
    interval; t with n - 1 degrees of freedom unless given.
    """

    name: str
    value: float | None
    se: float | None
    n: int
    why: str = ""
    condition: str = ""
    set: str = ""
    mode: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.value is not None and self.se is not None and self.n > 1:
            from scipy import stats  # takes half a second to load

            half = float(stats.t.ppf(0.975, self.n - 1)) * self.se
            object.__setattr__(self, "low", self.value - half)
            object.__setattr__(self, "high", self.value + half)

    def __str__(self) -> str:
        """``0.31 ± 0.02``."""
        return NOT_IDENTIFIED if self.value is None else with_error(self.value, self.se)


def mean_of(values: Iterable[float]) -> Mean | None:
    """Mean and its standard error over independent values; nan is left out, None without any."""
    x = np.array([v for v in values if not np.isnan(v)], float)
    if not len(x):
        return None
    se = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")
    return {"mean": float(x.mean()), "se": se, "n": len(x)}


def paired(differences: Iterable[float]) -> Paired | None:
    """Mean of paired differences with its standard error; None with fewer than two."""
    found = mean_of(differences)
    if found is None or found["n"] < 2:
        return None
    return {"value": found["mean"], "se": found["se"], "n": found["n"]}


def fitted(data: Sequence[Decision] | Design, family: str = "alpha_beta_kappa") -> Fit:
    """Parameters of a family from the decisions that were measured: ``econmoral.fit``.

    Errors are clustered; below 30 clusters they are by the jackknife (CV3).  A model that was
    trained well takes nearly every decision with certainty, so that its estimate rests on the few
    others, which clustered errors do not notice.  Raises NotIdentified, also when nothing is
    estimated without one of the clusters.
    """
    from econmoral.estimation.estimate import (  # scipy takes half a second to load
        FEW,
        Design,
        design,
        fit,
    )

    data = data if isinstance(data, Design) else design(data, family)
    return fit(data, errors="jackknife" if len(data.names) < FEW else "clustered")


def families_of(usual: Iterable[str], targets: Iterable[Target]) -> list[str]:
    """Families whose parameters are estimated: the usual ones, then those of the targets."""
    own = [t.family for t in targets if t.utility_family.parameters]
    return list(dict.fromkeys((*usual, *own)))


def structural(data: Sequence[Decision] | Design, family: str) -> Structural:
    """Estimates with standard errors and log-likelihood, or why there are none.

    A parameter that touches no choice has no estimate; those of the others do not depend on it.
    """
    from econmoral.estimation.estimate import Design, design, restrict  # scipy takes half a second

    data = data if isinstance(data, Design) else design(data, family)
    silent = [p for k, p in enumerate(data.parameters, 1) if not data.index[..., k].any()]
    try:
        found = fitted(restrict(data, dict.fromkeys(silent, 0.0)))
    except NotIdentified as error:
        return {"family": family, "not_identified": str(error), "bounds": error.bounds}
    return {
        "family": family,
        "estimates": {k: {"value": v, "se": found.se[k]} for k, v in found.estimates.items()},
        "log_likelihood": found.log_likelihood,
        "decisions": found.n,
        "clusters": found.clusters,
    }


def parameters_shown(family: str) -> list[str]:
    """A family's parameters that decisions can say something of where nobody acted before."""
    kind = FAMILIES[family]
    return [p for p in kind.parameters if p not in kind.of_acts]


def shown(fit: Structural, name: str, scale: float = 1) -> str:
    """``0.50 ± 0.09``, bounds in brackets where there is no more, or ``not id.``"""
    value = fit.get("estimates", {}).get(name)
    if value is not None:
        return with_error(value["value"], value["se"], scale=scale)
    return parameter(None, (fit.get("bounds") or {}).get(name))


def one_by_one(fits: Fits, n: int, one: Callable[..., Estimate]) -> list[Estimate]:
    """Every parameter of every family; n : decisions, where nothing is identified."""
    found = []
    for family, parts in fits.items():
        if "estimates" not in parts:
            found.append(one(family, None, None, n, parts["not_identified"]))
            continue
        for name in (*parameters_shown(family), "lambda"):
            v, title = parts["estimates"].get(name), f"{family}: {name}"
            if v is None:
                found.append(one(title, None, None, n, "no choice depends on it"))
            else:
                found.append(one(title, v["value"], v["se"], parts["clusters"]))
    return found
