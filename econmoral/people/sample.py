"""Decisions of one file, ready to be fitted."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from econmoral.estimation.likelihood import Design
from econmoral.files.records import InputError, plain
from econmoral.files.sheet import Sheet
from econmoral.instruments.games import Item

NUMBER = re.compile(r"\d+([.,]\d+)?")
MONEY = "it must be a finite number of at most 1e12"


@dataclass(frozen=True)
class Sample:
    """Decisions of one file, ready to be fitted.

    data : stacked for one family.  second : labels of a second way of clustering.  cluster :
    columns that name the clusters. shape : ``allocations``, ``games`` or ``measurement``.  notes :
    what the reader must know.  payoffs (2, n, S): of allocations, own and other's payoff of every
    option as in the file, nan where a row has fewer.  acts (n, 2): 1 after a kind, an unkind act.
    items : of files that hold sequential games only, every row's payoffs as in the file and the
    beliefs that estimation uses.  options : what the options of every row are called in the file.
    """

    data: Design
    shape: str
    cluster: tuple[str, ...] = ()
    second: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    payoffs: np.ndarray | None = None
    acts: np.ndarray | None = None
    items: tuple[Item, ...] | None = None
    options: tuple[tuple[str, ...], ...] = ()


def ids_of(sheet: Sheet) -> list[str]:
    """The column ``id``, or the numbers of the rows.  Raises InputError for one that stands
    twice."""
    if "id" not in sheet.columns:
        return [str(i + 1) for i in range(len(sheet))]
    names = sheet.labels("id")
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{sheet.path}: the id {plain(twice[0])} stands twice; every decision needs its own"
        )
    return names


def columns_of(sheet: Sheet, stem: str) -> list[str]:
    """Columns stem1, stem2, ... in order.  Raises InputError for a gap."""
    found = sorted(int(m[1]) for c in sheet.columns if (m := re.fullmatch(rf"{stem}([1-9]\d*)", c)))
    if found != list(range(1, len(found) + 1)):
        raise InputError(
            f"{sheet.path}: the columns {stem}... are numbered {found}; number them 1, 2, 3, ... "
            "without a gap"
        )
    return [f"{stem}{k}" for k in found]
