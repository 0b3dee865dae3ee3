"""Measurements from Python.

    >>> from econmoral import measure
    >>> found = measure("nano", adapters=["runs/moralis"], instrument="games", items=40)
    >>> found.summary()

The options are those of the instrument's command, with underscores for hyphens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from econmoral.economics.choice import Decision, read_decision
from econmoral.files.records import InputError, read_whole_lines, terminal

from .estimate import Estimate
from .registry import find_instrument
from .runner import Study, run


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    records : one row for every problem (or cell, scenario, period) of every condition.
    estimates : one row for every estimate: condition, set, mode, name, value, se, n, 95 % interval,
    and why it is not identified.  folder : of the files; None where none were asked for.
    """

    records: pd.DataFrame
    estimates: pd.DataFrame
    table: pd.DataFrame
    folder: Path | None

    def summary(self) -> pd.DataFrame:
        """The table that the command prints: text, one row per condition (or measure)."""
        return self.table

    def decisions(
        self, condition: str, set: str | None = None, mode: str | None = None
    ) -> list[Decision]:
        """Choice probabilities of one condition in games, as ``econmoral.fit`` takes them.

        Raises InputError where there are none.
        """
        wanted = {"arm": condition, "set": set, "mode": mode}
        rows: list[dict[str, Any]] = [
            row
            for row in self.records.to_dict("records")
            if all(row.get(k) == v for k, v in wanted.items() if v is not None)
        ]
        if not rows or "game" not in self.records.columns:
            known = ", ".join(dict.fromkeys(self.records.get("arm", [])))
            raise InputError(f"no decisions in games of {condition!r}; conditions: {known}")
        return [read_decision(row) for row in rows if row["probabilities"] is not None]


def measure(
    model: str | None = None,
    adapters: Sequence[str | Path] = (),
    instrument: str | type[Study] = "games",
    out: str | Path | None = None,
    show: bool = False,
    **options: Any,
) -> Measurement:
    """Measure a base and any number of adapters in one load.

    model : name, hub id or folder of the base; None: the one that the first adapter names, or
    simulate="..." for a chooser of known parameters.  instrument : a name of
    ``eval.registry.INSTRUMENTS``, or a class.  out : folder of the files; with the same one a
    measurement continues, and what was asked before is not asked again.  None: no files are left.
    show : print what the command prints.  options : those of the instrument's command.
    Raises InputError for what cannot be measured.
    """
    study = find_instrument(instrument) if isinstance(instrument, str) else instrument
    known = {f.name for f in fields(study.Config)}
    if unknown := sorted(set(options) - known):
        raise InputError(
            f"{study.name} has no option {unknown[0]!r}; it has: {', '.join(sorted(known))}"
        )
    with ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="econmoral-"))
        place = Path(folder)
        config = study.Config(model=model, adapter=tuple(map(Path, adapters)), out=place, **options)
        console = terminal(study.width) if show else Console(quiet=True)
        results = run(study(config), console)
        rows = [row for name in results.records for row in read_whole_lines(place / name)]
    columns = [f.name for f in fields(Estimate)]
    return Measurement(
        records=pd.DataFrame(rows),
        estimates=pd.DataFrame([asdict(e) for e in results.estimates], columns=columns),
        table=results.table,
        folder=None if out is None else place,
    )
