"""``econmoral amce FILE``: average marginal component effects of a conjoint experiment of one's
own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.commands import figure
from econmoral.estimation.amce import Amce, estimate
from econmoral.files.options import Config, option
from econmoral.files.records import InputError, terminal
from econmoral.files.sheet import MISSING, Sheet, identifier, read_sheet
from econmoral.files.shown import grid

SHOWN = 20  # remarks printed for a person; --json has all
ABSENT = MISSING - {"none"}  # no level was shown; None may be a level of its own

NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    file: Path = option(
        None,
        "table, a row per profile: task, chosen (0/1 or a probability), subject, and attributes",
        positional=True,
    )
    attributes: str | None = option(
        None, "columns, comma separated (default: all that are nothing else)"
    )
    baseline: tuple[str, ...] = option(
        (), "level to compare with; may be repeated", metavar="ATTRIBUTE=LEVEL", repeat=True
    )
    task: str = option("task", "column that names the task")
    chosen: str = option("chosen", "column of the choice")
    subject: str = option("subject", "column of the subject; tasks may be numbered within subjects")
    cluster: str | None = option(
        None, "column to cluster errors by (default: subject if there is one, else task)"
    )
    weight: str | None = option(
        None, "column of weights (default: weight if there is one, else all alike)"
    )
    missing: str = option("drop", "profiles without a level", choices=("drop", "level"))
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Effects of a file.  Raises InputError that says what is wrong with it and where."""
    table = read_sheet(options.file)
    listed = [] if options.attributes is None else options.attributes.split(",")
    listed = list(dict.fromkeys(name.strip() for name in listed))
    # as fit does: a column of this name holds weights, unless it is asked for as an attribute
    taken = False
    if options.weight is None and "weight" in table.columns and "weight" not in listed:
        options, taken = replace(options, weight="weight"), True
    special = [
        options.task,
        options.chosen,
        *([options.cluster] if options.cluster else []),
        *([options.weight] if options.weight else []),
    ]
    usual = ["profile", *(["subject"] if options.subject == "subject" else [])]
    usual += [] if options.weight else ["weight"]
    table.no_capitals(usual, [*special, *listed])
    table.need(
        [*special, *([options.subject] if options.subject != "subject" else []), *listed],
        "a conjoint experiment",
    )
    subjects = table.labels(options.subject) if options.subject in table.columns else None
    other = {*special, options.subject, "profile"}
    attributes = listed or [c for c in table.columns if c not in other]
    if clash := sorted(set(attributes) & {*special, options.subject}):
        raise InputError(
            f"{', '.join(clash)} cannot be an attribute: the column is used for something else"
        )
    written, remarks = {}, []
    for a in attributes:
        written[a], more = _levels(table, a)
        remarks += more
    alike = {a: [written[a][cell] for cell in table.columns[a]] for a in attributes}
    table = replace(table, columns=table.columns | alike)
    unused = [c for c in table.columns if c not in {*other, *attributes}]
    task = table.labels(options.task)
    units = list(zip(subjects or [""] * len(task), task, strict=True))
    chosen, notes = _choices(table, options, units)
    kept = np.flatnonzero(~np.isnan(chosen))
    if not len(kept):
        raise InputError(f"{options.file}: no task has a choice")
    cluster = table.labels(options.cluster) if options.cluster else subjects or task
    positive = "a weight must be positive; leave the row out instead"
    weight = np.ones(len(task))
    if options.weight:
        weight = table.numbers([options.weight], positive)[:, 0]
        if (weight <= 0).any():
            raise table.bad(int((weight <= 0).argmax()), options.weight, positive)
    levels = {a: [_shown(table.columns[a][i]) for i in kept] for a in attributes}
    baselines = {
        a: written.get(a, {}).get(text, identifier(text))
        for a, text in _baselines(options.baseline).items()
    }
    try:
        found = estimate(
            levels,
            chosen[kept],
            [cluster[i] for i in kept],
            weight[kept],
            baselines,
            options.missing,
        )
    except ValueError as error:
        raise InputError(f"{options.file}: {error}") from None
    if unused:
        notes.append(f"unused columns: {', '.join(unused)}")
    if taken:
        notes.append(
            "the column weight holds sampling weights; name it in --attributes if it is one"
        )
    return described(found) | {
        "tasks": len({units[i] for i in kept}),
        "cluster": options.cluster or (options.subject if subjects else options.task),
        "notes": [*table.notes, *remarks, *notes, *found.notes],
    }


def _levels(table: Sheet, attribute: str) -> tuple[dict[str, str], list[str]]:
    """Cell -> level of an attribute, and remarks on levels that look alike.

    Cells that are equal as numbers are one level, under the shortest of their names; names that
    differ only in case stay two.
    """
    cells = table.columns[attribute]
    names = {cell: identifier(cell) for cell in cells}
    rows = {names[cells[i]]: i for i in reversed(range(len(cells)))}
    same: dict[float, list[str]] = {}
    notes = []
    numeric = sorted(i for name, i in rows.items() if NUMBER.fullmatch(name))
    try:
        rule = "only numbers of at most 1e12 are compared as such"
        for i, value in zip(
            numeric, table.keep(numeric).numbers([attribute], rule)[:, 0].tolist(), strict=True
        ):
            same.setdefault(value, []).append(names[cells[i]])
    except InputError as error:
        notes.append(f"the levels of {attribute} are taken as text: {error}")
    one = {name: min(group, key=lambda t: (len(t), t)) for group in same.values() for name in group}
    notes += [
        f"{attribute}: {' and '.join(group)} are the same number, so one level: {one[group[0]]}"
        for group in same.values()
        if len(group) > 1
    ]
    found = {cell: one.get(name, name) for cell, name in names.items()}
    cased: dict[str, list[str]] = {}
    for name in sorted({name for name in found.values() if _shown(name)}):
        cased.setdefault(name.casefold(), []).append(name)
    notes += [
        f"{attribute}: {' and '.join(group)} differ only in case and are different levels; write "
        "them alike if they are one"
        for group in cased.values()
        if len(group) > 1
    ]
    return found, notes


def _shown(level: str) -> str | None:
    return None if level.lower() in ABSENT else level


def described(found: Amce) -> dict[str, Any]:
    """JSON of the effects."""
    return {
        "effects": [asdict(e) for e in found.effects],
        "profiles": found.profiles,
        "profiles_left_out": found.left_out,
        "clusters": found.clusters,
    }


def _baselines(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, sign, level = text.partition("=")
        if not sign:
            raise InputError(f"--baseline {text!r} is not of the form ATTRIBUTE=LEVEL")
        if name in found:
            raise InputError(f"--baseline names {name} twice")
        found[name] = level
    return found


def _choices(
    table: Sheet, options: Options, units: list[tuple[str, str]]
) -> tuple[np.ndarray, list[str]]:
    """(N,) choice of every profile, nan in tasks without one; remarks.

    Raises InputError for a value outside [0, 1], a task in which the choices do not sum to one, and
    a profile named twice.
    """
    rule = "it must be 0, 1 or a probability"
    words = {"true": "1", "false": "0"}  # as R and pandas write what is logical
    cells = [words.get(text.strip().lower(), text) for text in table.columns[options.chosen]]
    spelt = replace(table, columns=table.columns | {options.chosen: cells})
    chosen = spelt.numbers([options.chosen], rule, empty=True)[:, 0]
    wrong = (chosen < 0) | (chosen > 1)
    if wrong.any():
        raise table.bad(int(wrong.argmax()), options.chosen, rule)
    rows: dict[tuple[str, str], list[int]] = {}
    for i, unit in enumerate(units):
        rows.setdefault(unit, []).append(i)
    if "profile" in table.columns:
        _profiles_once(table, rows)
    if all(len(r) == 1 for r in rows.values()):
        blank = int(np.isnan(chosen).sum())
        return chosen, [f"{blank} profile(s) without an answer are left out"] if blank else []
    unanswered, same = 0, 0
    for unit, r in rows.items():
        where = f"{table.where(r[0])}: task {unit[1]}" + (
            f" of subject {unit[0]}" if unit[0] else ""
        )
        if np.isnan(chosen[r]).all() or np.nansum(chosen[r]) == 0:
            chosen[r], unanswered = np.nan, unanswered + 1
            continue
        if np.isnan(chosen[r]).any():
            raise InputError(
                f"{where} has profiles with and without a value in {options.chosen}; fill it in"
            )
        if len(r) == 1:
            raise InputError(
                f"{where} has one profile while others have several; add the missing profiles or "
                "leave the task out"
            )
        if abs(chosen[r].sum() - 1) > 1e-6:
            hint = (
                ""
                if unit[0]
                else "; if tasks are numbered within subjects, name their column with --subject"
            )
            raise InputError(
                f"{where}: {options.chosen} sums to {chosen[r].sum():g} over {len(r)} profiles, "
                f"not to 1{hint}"
            )
        named = [c for c in table.columns if c not in (options.chosen, "profile")]
        same += len({tuple(table.columns[c][i] for c in named) for i in r}) == 1
    notes = []
    if unanswered:
        notes.append(f"{unanswered} task(s) in which no profile was chosen are left out")
    if same:
        notes.append(f"in {same} task(s) all profiles are the same; they are kept")
    usual = Counter(map(len, rows.values())).most_common(1)[0][0]
    if odd := [r[0] for r in rows.values() if len(r) != usual]:
        notes.append(
            f"{len(odd)} task(s) have another number of profiles than the usual {usual} (first: "
            f"{table.unit} {table.lines[odd[0]]}), perhaps a row twice or one missing; all are kept"
        )
    return chosen, notes


def _profiles_once(table: Sheet, rows: dict[tuple[str, str], list[int]]) -> None:
    names = table.columns["profile"]
    for (_, task), r in rows.items():
        seen: set[str] = set()
        for i in r:
            if names[i] in seen:
                raise InputError(
                    f"{table.where(i)}: profile {names[i]} of task {task} stands there twice"
                )
            seen.add(names[i])


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console = terminal(100)
    console.print(
        f"{result['profiles']} profiles in {result['tasks']} tasks, {result['clusters']} clusters "
        f"by {result['cluster']}"
    )
    rows: list[tuple[str, ...]] = []
    last = ""
    for e in result["effects"]:
        if e["attribute"] != last:
            rows.append((f"{e['attribute']}: {e['baseline']}", "0", "baseline", "", "", ""))
            last = e["attribute"]
        interval = "–" if e["low"] is None else f"[{e['low']:.4f}, {e['high']:.4f}]"
        rows.append(
            (
                f"  {e['level']}",
                f"{e['value']:.4f}",
                figure(e["se"], 3),
                interval,
                figure(e["p"], 3),
                str(e["n"]),
            )
        )
    console.print(grid(("level", "effect", "SE", "95 % interval", "p", "profiles"), rows))
    for note in result["notes"][:SHOWN]:
        console.print(note)
    if len(result["notes"]) > SHOWN:
        console.print(f"{len(result['notes']) - SHOWN} more remarks: see --json")
