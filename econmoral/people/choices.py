"""Choices from files: allocations, games, our own measurements; the data dictionary is
``docs/data.md``.

    >>> sample = read_choices(Path("lab.csv"), "alpha_beta_kappa")
    >>> found = fit(sample.data)

The shape of a table is recognised from its columns:

    allocations, two options    self_x, other_x, self_y, other_y, choice_x (1: X was chosen)
    allocations, any number     self_1, other_1, self_2, other_2, ..., choice (its number)
    games                       game; T, R, P, S or the parameters of a table game; plan, or move1,
                                move2, ...

all with optional ``subject`` and ``weight``, allocations with ``q`` and ``v`` (a kind, an unkind
act before), games with ``belief1``, ``belief2``, ...  JSON Lines with exact probabilities are
records of ``eval.games`` or ``eval.menus``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.identification import NotIdentified
from econmoral.estimation.likelihood import Design, allocations, weigh
from econmoral.files.records import InputError, plain, read_lines
from econmoral.files.sheet import Sheet, read_sheet
from econmoral.people.game_tables import games_of
from econmoral.people.measurement import measurement_of
from econmoral.people.sample import MONEY, Sample, ids_of

BINARY = ("self_x", "other_x", "self_y", "other_y", "choice_x")
SHAPES = (
    f"allocations ({', '.join(BINARY)}), allocations with more options (self_1, other_1, self_2, "
    f"other_2, ..., choice), "
    "games (game, T, R, P, S or the game's parameters, plan or move1, move2, ...); see docs/data.md"
)


def read_choices(
    path: Path,
    family: str,
    cluster: Sequence[str] = (),
    weight: str | None = None,
    selected: dict[str, str | None] | None = None,
) -> Sample:
    """The decisions of a file.

    cluster : one column (default ``subject``, where there is one; ``id`` of a measurement) or two.
     weight : column of sampling weights (default ``weight``, where there is one).  selected :
     values of ``set``, ``mode`` and ``arm``.
    Raises InputError that names file, line and rule.
    """
    chosen = {k: v for k, v in (selected or {}).items() if v is not None}
    if len(cluster) > 2:
        raise InputError(f"clustering is one-way or two-way, got {len(cluster)} columns")
    if path.suffix.lower() == ".jsonl":
        rows = list(read_lines(path))
        if any("probabilities" in row for _, row in rows):
            return measurement_of(path, rows, family, cluster, weight, chosen)
    sheet = read_sheet(path)
    for name, value in chosen.items():
        sheet = _only(sheet, name, value)
    return _table(sheet, family, cluster, weight, tuple(chosen))


def _only(sheet: Sheet, name: str, value: str) -> Sheet:
    if name not in sheet.columns:
        raise InputError(f"--{name} {value}: {sheet.path} has no column {name}")
    rows = [i for i, text in enumerate(sheet.columns[name]) if text.strip() == value]
    if not rows:
        known = ", ".join(sorted({plain(t.strip()) for t in sheet.columns[name]})[:20])
        raise InputError(f"{sheet.path} has no {name} {value!r}; it has {known}")
    return sheet.keep(rows)


def _table(
    sheet: Sheet, family: str, cluster: Sequence[str], weight: str | None, selected: tuple[str, ...]
) -> Sample:
    """Any of the three tables."""
    many = _numbered_options(sheet)
    binary = [c for c in BINARY if c in sheet.columns]
    shapes = _shapes(sheet.columns)
    if len(shapes) > 1:
        raise InputError(
            f"{sheet.path} has the columns of several shapes ({', '.join(shapes)}); keep one: "
            f"{SHAPES}"
        )
    if not shapes:
        lacking = (
            f" lacks the column(s) {', '.join(c for c in BINARY if c not in binary)};"
            if binary
            else ""
        )
        if _shapes(c.lower() for c in sheet.columns):
            changed = {c: c.upper() if c.lower() in {*"trps"} else c.lower() for c in sheet.columns}
            capitals = [f"{new} for {plain(c)}" for c, new in changed.items() if new != c]
            lacking = f": only capitals differ, write {', '.join(capitals[:20])}; it"
        has = ", ".join(plain(c) for c in list(sheet.columns)[:20])
        raise InputError(f"{sheet.path}{lacking} has the columns {has}; known shapes: {SHAPES}")
    usual = [r"plan|(belief|move)[1-9]\d*" if shapes[0] == "games" else r"q|v|(self|other)_\d+"]
    usual += [*([] if cluster else ["subject"]), *([] if weight else ["weight"])]
    sheet.no_capitals(usual, [*cluster, *filter(None, [weight])])
    ways = tuple(cluster) or (("subject",) if "subject" in sheet.columns else ())
    sheet.need(ways, "--cluster")
    labels = [sheet.labels(c) for c in ways] or [[str(i) for i in range(len(sheet))]]
    weights, weight_column = _weights(sheet, weight)
    used = {*ways, *selected, *([weight_column] if weight_column else [])}
    notes = list(sheet.notes)
    remarks: list[str] = []
    payoffs = acts = items = None
    try:
        if shapes[0] == "games":
            data, more, remarks, items, options = games_of(sheet, family, labels[0])
        else:
            data, more, payoffs, acts = _allocations(
                sheet, family, labels[0], many if shapes[0] == "many" else []
            )
            options = ((("x", "y"),) if binary else (tuple(map(str, many)),)) * len(sheet)
        data = weigh(data, weights)
    except NotIdentified:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None
    used |= more
    if not ways:
        notes.append(
            "no column subject and no --cluster: every row is taken as independent of the others"
        )
    if weight_column:
        notes.append(f"rows are weighted by the column {weight_column} (scaled to a mean of 1)")
    if twice := sheet.duplicates():
        i, j = twice[0]
        notes.append(
            f"{len(twice)} row(s) are identical to an earlier one (first: {sheet.unit} "
            f"{sheet.lines[i]} = {sheet.unit} {sheet.lines[j]}); all are kept"
        )
    if unused := [plain(c) for c in sheet.columns if c not in used]:
        notes.append(
            f"columns not used: {', '.join(unused[:20])}{' ...' if len(unused) > 20 else ''}"
        )
    second = tuple(labels[1]) if len(labels) > 1 else None
    shape = "games" if shapes[0] == "games" else "allocations"
    return Sample(data, shape, ways, second, (*notes, *remarks), payoffs, acts, items, options)


def _shapes(columns: Iterable[str]) -> list[str]:
    """Which of the three tables have these columns."""
    names = set(columns)
    numbered = [c for c in names if re.fullmatch(r"self_[1-9]\d*", c)]
    known = {"binary": names >= set(BINARY), "many": len(numbered) > 1, "games": "game" in names}
    return [shape for shape, has in known.items() if has]


def _weights(sheet: Sheet, name: str | None) -> tuple[np.ndarray | None, str | None]:
    if name is not None:
        sheet.need((name,), "--weight")
    column = name or ("weight" if "weight" in sheet.columns else None)
    if column is None:
        return None, None
    rule = "a weight must be a positive number"
    values = sheet.numbers((column,), rule)[:, 0]
    if (values <= 0).any():
        raise sheet.bad(int((values <= 0).argmax()), column, rule)
    return values, column


def _options(sheet: Sheet, options: list[int]) -> tuple[np.ndarray, list[str]]:
    """((2, n, S) own and other payoffs of numbered options, nan where a row has fewer;
    the columns).
    """
    if options != list(range(1, len(options) + 1)):
        raise InputError(
            f"{sheet.path}: the options are numbered {options}; number them 1, 2, 3, ... without a "
            "gap"
        )
    names = [f"{who}_{k}" for k in options for who in ("self", "other")]
    sheet.need(names, "allocations")
    money = sheet.numbers(names, MONEY, empty=True)
    own, other = money[:, 0::2], money[:, 1::2]
    half = np.isnan(own) != np.isnan(other)
    if half.any():
        i, k = np.argwhere(half)[0]
        column = f"{'self' if np.isnan(own[i, k]) else 'other'}_{k + 1}"
        raise sheet.bad(
            int(i), column, "an option needs both payoffs, or neither where a row has fewer options"
        )
    count = (~np.isnan(own)).sum(1)
    if (count < 2).any():
        i = int((count < 2).argmax())
        raise InputError(
            f"{sheet.where(i)}: a choice needs at least two options, this row has {count[i]}"
        )
    if np.isnan(own[:, 0]).any():  # the first option is what the others are compared with
        raise sheet.bad(
            int(np.isnan(own[:, 0]).argmax()),
            "self_1",
            "where a row has fewer options, leave out the last ones",
        )
    return np.stack([own, other]), names


def _numbered_options(sheet: Sheet) -> list[int]:
    return sorted(int(m[1]) for c in sheet.columns if (m := re.fullmatch(r"self_([1-9]\d*)", c)))


def read_problems(path: Path) -> tuple[list[str], np.ndarray]:
    """(names, (2, n, S) own and other payoffs) of allocations that nobody has chosen among yet.

    Columns ``self_1``, ``other_1``, ``self_2``, ``other_2``, ... and perhaps ``id`` (default: the
    row's number).  Raises InputError as ``read_choices``, and where an id stands twice.
    """
    sheet = read_sheet(path)
    numbered = _numbered_options(sheet)
    if len(numbered) < 2:
        raise InputError(
            f"{path} lacks the column(s) self_1, other_1, self_2, other_2 of allocations"
        )
    payoffs, _ = _options(sheet, numbered)
    return ids_of(sheet), payoffs


def _allocations(
    sheet: Sheet, family: str, labels: list[str], options: list[int]
) -> tuple[Design, set[str], np.ndarray, np.ndarray]:
    """Choices between two or more allocations: the decisions, columns used, payoffs,
    earlier acts.
    """
    acts = [c for c in ("q", "v") if c in sheet.columns]
    rule = "write 1 after a kind (q) or unkind (v) act of the other, else 0"
    kinds = {c: sheet.whole(c, {"0": 0, "1": 1}, rule).astype(float) for c in acts}
    if not options:
        money = sheet.numbers(BINARY[:4], MONEY)
        own, other = money[:, [0, 2]], money[:, [1, 3]]
        rule = "write 1 where X was chosen and 0 where Y was"
        chosen = 1 - sheet.whole("choice_x", {"0": 0, "1": 1, "false": 0, "true": 1}, rule)
        used = {*BINARY}
    else:
        (own, other), names = _options(sheet, options)
        sheet.need(["choice"], "allocations")
        rule = f"write the number of the chosen option, 1 to {len(options)} (or its letter)"
        codes = {str(k): k - 1 for k in options} | {chr(96 + k): k - 1 for k in options if k <= 26}
        chosen = sheet.whole("choice", codes, rule)
        lacking = np.isnan(own[np.arange(len(own)), chosen])
        if lacking.any():
            raise sheet.bad(int(lacking.argmax()), "choice", "this row has no such option")
        used = {*names, "choice"}
    data = allocations(own, other, chosen, labels, family, kinds.get("q", 0.0), kinds.get("v", 0.0))
    used |= {c for c in acts if _reads(family, c)}
    before = np.column_stack([kinds.get(c, np.zeros(len(sheet))) for c in ("q", "v")])
    return data, used, np.stack([own, other]), before


def _reads(family: str, act: str) -> bool:
    """Whether a family has a term for what was done before: after a kind act, an unkind one."""
    outcome = FAMILIES[family].outcome
    acts = {"q": (1.0, 0.0), "v": (0.0, 1.0)}[act]
    without, after = (outcome(np.array(2.0), np.array(1.0), *a)[1] for a in ((0.0, 0.0), acts))
    return bool((without != after).any())
