"""How far tuning moved choices toward each target, beside base and placebo, in one small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from econmoral.files.shown import in_percent
from econmoral.target import told_apart

from .estimate import Mean

Shift = Mapping[str, Mapping[str, Mean | None]]  # baseline -> target -> paired difference


def shift_title(unit: str) -> str:
    """Above the table; unit : decisions, plans or choices."""
    return f"{unit} as each target, minus a baseline, in points (paired, ± one standard error)"


def shift_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the rows that have a shift: every target against every baseline.

    rows : summaries of games or one-page decisions (``arm``, ``mode``, ``targets``, ``shift``).
    """
    shifted = [r for r in rows if r.get("shift")]
    labels = told_apart({key: t["label"] for r in shifted for key, t in r["targets"].items()})
    baselines = list(dict.fromkeys(name for r in shifted for name in r["shift"]))
    pairs = [(key, name) for key in labels for name in baselines]
    head = ["", "mode", *(f"as {labels[key]}, minus {name}" for key, name in pairs)]
    body = [
        [
            r["arm"],
            r["mode"],
            *(in_percent(r["shift"].get(n, {}).get(k), signed=True) for k, n in pairs),
        ]
        for r in shifted
    ]
    return head, body
