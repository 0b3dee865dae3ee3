"""``econmoral garp FILE``: are choices from budgets those of a utility maximiser, and could the
budgets tell?
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.commands import figure
from econmoral.economics.audit import ccei, garp, random_on_lines
from econmoral.files.options import Config, option
from econmoral.files.records import InputError, terminal
from econmoral.files.sheet import Sheet, read_sheet
from econmoral.files.shown import grid

FINITE = "it must be a finite number of at most 1e12"
WORK = 2e10  # draws x budgets^3 beyond which random choosers would take minutes


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    file: Path = option(
        None,
        "table, a row per budget: p1, p2, ... prices; x1, x2, ... what was bought; subject "
        "(optional)",
        positional=True,
    )
    subject: str = option(
        "subject", "column that names the subject (default subject; without it all rows are one's)"
    )
    draws: int = option(1000, "random choosers on each subject's budgets (default 1000; 0: none)")
    seed: int | None = option(None, "of the random choosers (default 0)")
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Every subject's index, and what random choosers reach on the same budgets."""
    table = read_sheet(options.file)
    prices, bought, goods = _goods(table)
    if options.subject != "subject":
        table.need([options.subject], "--subject")
    else:
        table.no_capitals(["subject"])
    named = options.subject in table.columns
    subject = table.labels(options.subject) if named else ["all rows"] * len(table)
    seed = options.seed or 0
    if options.seed is not None and not options.draws:
        raise InputError("--seed does nothing with --draws 0; leave it out")
    if options.draws < 0 or options.draws > 1_000_000 or seed < 0:
        raise InputError(
            f"--draws must lie between 0 and 1000000 and --seed be 0 or more, got {options.draws} "
            f"and {seed}"
        )
    ids = np.array(subject)
    result = [
        _one(options, name, prices[ids == name], bought[ids == name])
        for name in dict.fromkeys(subject)
    ]
    used = {*goods, *([options.subject] if named else [])}
    notes = _notes(table, subject, prices, bought, used)
    if not named:
        notes.append("no column subject and no --subject: all rows are taken as one person's")
    return {"subjects": result, "draws": options.draws, "goods": prices.shape[1], "notes": notes}


def _goods(table: Sheet) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Prices (rows, G) and quantities (rows, G).  Raises InputError with the line of a value that
    cannot be.
    """
    numbers = sorted(
        int(m[1]) for name in table.columns if (m := re.fullmatch(r"p([1-9]\d*)", name))
    )
    if len(numbers) < 2:
        have = ", ".join(list(table.columns)[:20])
        raise InputError(
            f"{table.path} needs prices p1, p2, ... of two or more goods and quantities x1, x2, "
            f"...; it has {have}"
        )
    names = [f"{kind}{i}" for kind in "px" for i in numbers]
    alone = [c for c in table.columns if re.fullmatch(r"[pPxX]_?\d+", c) and c not in names]
    if alone:
        raise InputError(
            f"{table.path}: {', '.join(alone)} looks like a price or quantity that belongs to no "
            "good; goods are p1 and x1, p2 and x2, ... (small letters, from 1)"
        )
    table.need(names, "prices and quantities")
    values = dict(zip(names, table.numbers(names, FINITE).T, strict=True))
    for name, column in values.items():
        bad = column <= 0 if name[0] == "p" else column < 0
        if bad.any():
            rule = (
                "a price must be positive" if name[0] == "p" else "a quantity must not be negative"
            )
            raise table.bad(int(bad.argmax()), name, rule)
    prices, bought = (np.column_stack([values[f"{kind}{i}"] for i in numbers]) for kind in "px")
    nothing = bought.sum(1) <= 0
    if nothing.any():
        raise InputError(
            f"{table.where(int(nothing.argmax()))}: nothing was bought; leave this budget out"
        )
    return prices, bought, names


def _one(options: Options, name: str, prices: np.ndarray, bought: np.ndarray) -> dict[str, Any]:
    index = ccei(prices, bought)
    row = {"subject": name, "budgets": len(prices), "garp": garp(prices, bought), "ccei": index}
    if not options.draws or len(prices) < 2:
        return row
    if options.draws * len(prices) ** 3 > WORK:
        most = int(WORK / len(prices) ** 3)
        raise InputError(
            f"{options.draws} random choosers on {len(prices)} budgets take too long; give --draws "
            f"{most} or fewer"
        )
    random = random_on_lines(prices, (prices * bought).sum(1), options.draws, options.seed or 0)
    low, middle, high = np.percentile(random.ccei, (5, 50, 95))
    return row | {
        "power": random.power,
        "random_ccei": {
            "mean": float(random.ccei.mean()),
            "p5": float(low),
            "median": float(middle),
            "p95": float(high),
        },
        "random_at_least_as_consistent": float((random.ccei >= index - 1e-12).mean()),
    }


def _notes(
    table: Sheet, subject: list[str], prices: np.ndarray, bought: np.ndarray, used: set[str]
) -> list[str]:
    notes = list(table.notes)
    if unused := [c for c in table.columns if c not in used]:
        notes.append(f"unused columns: {', '.join(unused)}")
    seen = [(s, *p, *x) for s, p, x in zip(subject, prices.tolist(), bought.tolist(), strict=True)]
    if twice := len(seen) - len(set(seen)):
        notes.append(
            f"{twice} row(s) repeat a row of the same subject; they are kept, and change no index"
        )
    if alone := sum(subject.count(s) == 1 for s in set(subject)):
        notes.append(f"{alone} subject(s) with one budget only: no choice could be inconsistent")
    return notes


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console = terminal(100)
    header = (
        "subject",
        "budgets",
        "GARP",
        "CCEI",
        "power",
        "random CCEI (5 %, median, 95 %)",
        "random as good",
    )
    rows = []
    for r in result["subjects"]:
        spread = r.get("random_ccei")
        told = ("–", "–", "–")
        if spread:
            three = ", ".join(f"{spread[k]:.3f}" for k in ("p5", "median", "p95"))
            told = (f"{r['power']:.3f}", three, f"{r['random_at_least_as_consistent']:.3f}")
        rows.append(
            (
                r["subject"],
                str(r["budgets"]),
                "holds" if r["garp"] else "broken",
                f"{r['ccei']:.4f}",
                *told,
            )
        )
    console.print(grid(header, rows))
    if len(result["subjects"]) > 1:
        index = np.array([r["ccei"] for r in result["subjects"]])
        held = sum(r["garp"] for r in result["subjects"])
        console.print(
            f"{held} of {len(index)} subjects satisfy GARP; mean CCEI "
            f"{figure(float(index.mean()))}, smallest {figure(float(index.min()))}"
        )
    if result["draws"]:
        console.print(
            f"power: share of {result['draws']} random choosers on the same budgets that break "
            "GARP (Bronars)"
        )
    for note in result["notes"]:
        console.print(note)
