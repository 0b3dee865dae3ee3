"""Human reference numbers, every row with its source:
what people did where models are now measured.

Mostly students or volunteers, small stakes or none.  ``status`` is ``read`` (in the source named),
``tabulated`` (own tabulation of released data) or ``secondary`` (a secondary report of the source).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pandas takes a quarter of a second to load
    import pandas as pd

COLUMNS = (
    "task",
    "statistic",
    "value",
    "spread",
    "spread_is",
    "n",
    "unit",
    "note",
    "source",
    "doi",
    "status",
)


def reference(task: str | None = None) -> pd.DataFrame:
    """The table, or the rows of one task; numbers as float, absent ones as nan."""
    import pandas as pd

    table = pd.read_csv(Path(__file__).parent / "human.csv")
    if task is None:
        return table
    rows = table[table["task"] == task]
    if rows.empty:
        raise ValueError(
            f"no human reference for {task!r}; there is {', '.join(sorted(set(table['task'])))}"
        )
    return rows.reset_index(drop=True)


def binary_dictator_games() -> pd.DataFrame:
    """The 39 binary dictator games of Bruhin, Fehr and Schunk
    (2019) and the shares of 160 people who chose X.

    Columns x_own, x_other, y_own, y_other (points for the chooser and for the other person),
    session 1, session 2 (shares).  ``econmoral.estimation.estimate.allocations`` takes
    ``own = [x_own, y_own]`` and ``other = [x_other, y_other]``.
    """
    import pandas as pd

    rows = reference("dictator, binary")
    parts = rows["statistic"].str.extract(r"choosing (\d+)/(\d+) over (\d+)/(\d+), (session \d)")
    parts.columns = pd.Index(["x_own", "x_other", "y_own", "y_other", "session"])
    payoffs = ["x_own", "x_other", "y_own", "y_other"]
    parts[payoffs] = parts[payoffs].astype(float)
    wide = parts.assign(value=rows["value"]).pivot(index=payoffs, columns="session", values="value")
    return wide.reset_index().rename_axis(columns=None)


def moral_machine() -> dict[str, dict[str, float]]:
    """AMCEs of the Moral Machine (Awad et al. 2018), dimension -> {world,
    countries (mean of 196), sd (over countries)}.
    """
    rows = reference("moral machine")
    parts = rows["statistic"].str.extract(
        r"AMCE (?P<name>[a-z]+(?: [a-zA-Z]+)*) \(.*\).*, (?P<of>world|mean of countries)$"
    )
    names = {"relation to AV": "relation", "social status": "status"}
    found: dict[str, dict[str, float]] = {}
    for name, of, value, spread in zip(
        parts["name"], parts["of"], rows["value"], rows["spread"], strict=True
    ):
        if isinstance(name, str):
            entry = found.setdefault(names.get(name, name), {})
            entry |= (
                {"world": float(value)}
                if of == "world"
                else {"countries": float(value), "sd": float(spread)}
            )
    return found
