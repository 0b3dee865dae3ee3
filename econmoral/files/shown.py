"""Numbers and tables as people see them: one way to write an estimate, whoever prints it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

NOTHING, NOT_IDENTIFIED = "–", "not id."


def with_error(
    value: float | None,
    se: float | None = None,
    digits: int = 2,
    scale: float = 1,
    signed: bool = False,
) -> str:
    """``0.31 ± 0.02``; without an error that is known ``0.31``, without a value a dash.

    scale : of both, 100 for per cent.  signed : ``+0.31``.
    """
    if value is None or np.isnan(value):
        return NOTHING
    rounded = round(float(scale * value), digits) + 0.0  # no -0.00
    text = f"{rounded:{'+' if signed else ''}.{digits}f}"
    return text if se is None or np.isnan(se) else f"{text} ± {scale * se:.{digits}f}"


def in_percent(found: Mapping[str, Any] | None, signed: bool = False) -> str:
    """``93 ± 2`` of a share with its standard error (``mean``, ``se``)."""
    return NOTHING if found is None else with_error(found["mean"], found["se"], 0, 100, signed)


def interval(low: float, high: float, digits: int = 2) -> str:
    """``[-0.02, 0.03]``."""
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def parameter(value: Mapping[str, Any] | None, bounds: Sequence[float | None] | None = None) -> str:
    """``0.48 ± 0.05`` of an estimate (``value``, ``se``), ``[0.30, 0.60]`` of a parameter that is
    only bounded (a deterministic chooser), else ``not id.``
    """
    if value is not None:
        return with_error(value["value"], value["se"])
    low, high = bounds or (None, None)
    if low is None or high is None or not np.isfinite((low, high)).all():
        return NOT_IDENTIFIED
    return interval(low, high)


def grid(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str = "",
    left: Collection[str] | None = None,
) -> Table:
    """A table for the terminal: the columns ``left`` (the first one unless given) to the left, all
    others to the right.

    What is too long is broken, not cut: two identifiers may differ at their end.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in header:
        begins = name in (header[:1] if left is None else left)
        table.add_column(name, justify="left" if begins else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a page."""
    body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {line} |" for line in body)]
    )
