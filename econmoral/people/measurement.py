"""Records of our own measurements (``choices.jsonl``) as decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.economics.choice import Decision, read_decision
from econmoral.estimation.likelihood import Design, allocations, design, weigh
from econmoral.files.records import InputError, plain
from econmoral.files.sheet import identifier, missing
from econmoral.instruments.menus import MENUS, own_allocation
from econmoral.people.sample import Sample

SELECTORS = ("set", "mode", "arm")


def measurement_of(
    path: Path,
    rows: list[tuple[int, dict[str, Any]]],
    family: str,
    cluster: Sequence[str],
    weight: str | None,
    chosen: dict[str, str],
) -> Sample:
    """Decisions of one set, mode and arm of ``eval.games``, or of one battery of ``eval.menus``."""
    rows = [(n, {"set": row["battery"], **row} if "battery" in row else row) for n, row in rows]
    for name in SELECTORS:
        known = sorted({str(row.get(name)) for _, row in rows})
        value = chosen.get(name)
        if value is None and len(known) > 1:
            raise InputError(
                f"{path} holds several {name}s; choose one with --{name}: "
                f"{', '.join(map(plain, known))}"
            )
        if value is not None:
            rows = [(n, row) for n, row in rows if name in row and str(row[name]) == value]
            if not rows:
                raise InputError(
                    f"{path} has no {name} {value!r}; it has {', '.join(map(plain, known))}"
                )
    first: dict[str, int] = {}
    for n, row in rows:
        if first.setdefault(str(row.get("id")), n) != n and row.get("id") is not None:
            raise InputError(
                f"{path}, line {n}: {plain(str(row['id']))} stands in line "
                f"{first[str(row['id'])]} already; "
                "a measurement holds every decision once, do not join several in one file"
            )
    # None: refused on every page
    kept = [(n, row) for n, row in rows if row.get("probabilities", "") is not None]
    if not kept:
        raise InputError(f"{path}: every decision was refused; there is nothing to estimate from")
    notes = (
        [f"{len(rows) - len(kept)} of {len(rows)} decisions were refused and are left out"]
        if len(kept) < len(rows)
        else []
    )
    ways = tuple(cluster) or ("id",)
    labels = [[_field(path, n, row, name) for n, row in kept] for name in ways]
    try:
        if any("battery" in row for _, row in kept):
            data = _menus(path, kept, family, labels[0])
        else:
            data = design(
                [
                    replace(_decision(path, n, row), cluster=c)
                    for (n, row), c in zip(kept, labels[0], strict=True)
                ],
                family,
            )
        if weight is not None:
            data = weigh(data, np.array([_positive(path, n, row, weight) for n, row in kept]))
            notes.append(f"rows are weighted by {weight} (scaled to a mean of 1)")
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    second = tuple(labels[1]) if len(labels) > 1 else None
    options = tuple(tuple(map(str, row.get("strategies", ()))) for _, row in kept)
    return Sample(data, "measurement", ways, second, tuple(notes), options=options)


def _decision(path: Path, number: int, row: dict[str, Any]) -> Decision:
    try:
        return read_decision(row)
    except ValueError as error:
        raise InputError(f"{path}, line {number}: no decision of eval.games ({error})") from None


def _field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, list | dict):
        raise InputError(
            f"{path}, line {number}: {name} is no identifier but a {type(value).__name__}"
        )
    if value is None or missing(str(value)):
        has = ", ".join(plain(k) for k in list(row)[:20])
        raise InputError(
            f"{path}, line {number}: no {name}; every line needs one to be clustered by it (it has "
            f"{has})"
        )
    return identifier(str(value))


def _positive(path: Path, number: int, row: dict[str, Any], name: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise InputError(
            f"{path}, line {number}: {name} is {value!r}; a weight must be a positive number"
        )
    return float(value)


def _menus(
    path: Path, rows: list[tuple[int, dict[str, Any]]], family: str, labels: list[str]
) -> Design:
    """Choices between the allocations of a battery."""
    known = {menu.id: menu for several in MENUS.values() for menu in several}
    own, other, chosen = [], [], []
    for number, row in rows:
        menu = (
            own_allocation(row["id"], row["own"], row["other"])
            if _has_payoffs(row)
            else known.get(str(row.get("id")))
        )
        p = row["probabilities"]
        if menu is None or not menu.own or not menu.other:
            raise InputError(
                f"{path}, line {number}: {row.get('id')!r} is no choice between allocations, so "
                "nothing can be estimated from it"
            )
        good = (
            isinstance(p, list)
            and len(p) == len(menu.own)
            and all(isinstance(x, int | float) and x >= 0 for x in p)
        )
        if not good or abs(sum(p) - 1) > 1e-6:
            raise InputError(
                f"{path}, line {number}: {row['id']} needs {len(menu.own)} probabilities that sum "
                "to 1"
            )
        own.append(menu.own)
        other.append(menu.other)
        chosen.append(p)
    size = max(map(len, own))
    money = np.full((2, len(own), size), np.nan)
    weights = np.zeros((len(own), size))
    for i, (a, b, p) in enumerate(zip(own, other, chosen, strict=True)):
        money[0, i, : len(a)], money[1, i, : len(b)], weights[i, : len(p)] = a, b, p
    return allocations(money[0], money[1], weights, labels, family)


def _has_payoffs(row: dict[str, Any]) -> bool:
    """Whether a record holds its own payoffs, as those of one's own allocations do."""
    own, other = row.get("own"), row.get("other")
    if not isinstance(own, list) or not isinstance(other, list) or not 1 < len(own) == len(other):
        return False
    return all(isinstance(x, int | float) and abs(x) < 1e12 for x in (*own, *other))
