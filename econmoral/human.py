"""Human reference numbers, every row with its source: what people did where models are now measured.

Mostly students or volunteers, small stakes or none.  ``status`` is ``read`` (in the source named), ``tabulated`` (own
tabulation of released data) or ``secondary`` (a secondary report of the source).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

COLUMNS = ("task", "statistic", "value", "spread", "spread_is", "n", "unit", "note", "source", "doi", "status")


def reference(task: str | None = None) -> pd.DataFrame:
    """The table, or the rows of one task; numbers as float, absent ones as nan."""
    table = pd.read_csv(Path(__file__).parent / "human.csv")
    if task is None:
        return table
    rows = table[table["task"] == task]
    if rows.empty:
        raise ValueError(f"no human reference for {task!r}; there is {', '.join(sorted(set(table['task'])))}")
    return rows.reset_index(drop=True)
