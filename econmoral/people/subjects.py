"""Every subject on their own: estimates where their choices allow them, reasons where not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from econmoral.estimation.estimate import Fit, NotIdentified, individual_fits
from econmoral.estimation.likelihood import Design

# why a subject has no estimate, in words; see ``NotIdentified``
WHY = {
    "reversed": "choices against the utility",
    "unresponsive": "choices hardly respond",
    "collinear": "the parameters cannot be told apart",
    "few": "too few decisions",
    "not converged": "no convergence",
}


def subjects(data: Design) -> pd.DataFrame:
    """One row a subject: decisions, every parameter with its standard error (of decisions taken as
    independent) and interval, or bounds, and why there is no estimate: of choices without an error
    the bounds between which all of them are optimal; where only some parameter grows without end,
    the one-sided bound of that one.

    Columns: subject, decisions, why (empty: estimated), then NAME, NAME_se, NAME_low, NAME_high.
    """
    counts = np.bincount(data.cluster, minlength=len(data.names))
    rows = []
    for (name, found), n in zip(individual_fits(data).items(), counts, strict=True):
        row: dict[str, object] = {"subject": name, "decisions": int(n), "why": why(found)}
        for label in data.labels:
            row |= _parameter(found, label)
        rows.append(row)
    return pd.DataFrame(rows)


def why(found: Fit | NotIdentified) -> str:
    """Why there is no estimate; empty where there is one."""
    if isinstance(found, Fit):
        return ""
    if found.kind == "separated":
        if "lambda" in found.diverging:
            return "choices without an error: bounds only"
        return f"{' and '.join(found.diverging)} without end: a bound only"
    return WHY.get(found.kind, "not identified")


def _parameter(found: Fit | NotIdentified, name: str) -> Mapping[str, float]:
    value = se = low = high = np.nan
    if isinstance(found, Fit):
        value, se = found.estimates[name], found.se[name]
        low, high = found.interval(name)
    elif found.bounds:
        low, high = found.bounds.get(name, (np.nan, np.nan))
    return {name: value, f"{name}_se": se, f"{name}_low": low, f"{name}_high": high}


def summary(table: pd.DataFrame) -> list[str]:
    """How many subjects have estimates, how these are spread, and why others have none."""
    known = table[table.why == ""]
    lines = [f"subjects on their own: {len(known)} of {len(table)} estimated"]
    for name in [c for c in table.columns[3:] if f"{c}_se" in table]:
        if len(known):
            low, middle, high = known[name].quantile([0.25, 0.5, 0.75])
            lines.append(f"  {name}: median {middle:.3g}, quartiles {low:.3g} and {high:.3g}")
    counts = Counter(table.why[table.why != ""])
    return lines + [f"  {n} without: {reason}" for reason, n in counts.most_common()]


def predictions(found: Fit, options: Sequence[Sequence[str]]) -> pd.DataFrame:
    """One row a decision and option: subject, the option's name in the file, how much of the choice
    it was, probability with its standard error and interval.

    options : names of the options of every decision; where there are none they are numbered from 1.
    ``chosen`` is 1, 0 or a probability, and empty where only a part of a plan was observed.
    """
    data = found.data
    assert data is not None  # a fit of a file holds its decisions
    frame = found.predict_frame()
    row, place = frame.decision.to_numpy(), frame.option.to_numpy()
    chosen = data.weight / data.weight.sum(1, keepdims=True)
    if data.partial is not None:
        chosen[data.partial] = np.nan
    names = [
        options[i][k] if len(options) and options[i] else str(k + 1)
        for i, k in zip(row, place, strict=True)
    ]
    frame["decision"], frame["option"] = row + 1, names
    frame.insert(0, "subject", np.array(data.names, object)[data.cluster[row]])
    frame.insert(3, "chosen", chosen[row, place])
    return frame
