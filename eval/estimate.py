"""One number that was estimated, and one way to print it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.files.shown import NOT_IDENTIFIED, with_error

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
