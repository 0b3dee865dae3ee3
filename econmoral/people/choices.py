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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.economics.choice import Decision, read_decision
from econmoral.economics.games import (
    GAMES,
    TABLE_GAMES,
    Protocol,
    Tables,
    belief_weights,
    tables_of,
)
from econmoral.estimation.identification import NotIdentified
from econmoral.estimation.likelihood import Design, allocations, design, weigh
from econmoral.files.records import InputError, plain, read_lines
from econmoral.files.sheet import Sheet, identifier, missing, read_sheet
from econmoral.instruments.games import Item
from econmoral.instruments.menus import MENUS, own_allocation

BINARY = ("self_x", "other_x", "self_y", "other_y", "choice_x")
SELECTORS = ("set", "mode", "arm")
NUMBER = re.compile(r"\d+([.,]\d+)?")
MONEY = "it must be a finite number of at most 1e12"
SHAPES = (
    f"allocations ({', '.join(BINARY)}), allocations with more options (self_1, other_1, self_2, "
    f"other_2, ..., choice), "
    "games (game, T, R, P, S or the game's parameters, plan or move1, move2, ...); see docs/data.md"
)


@dataclass(frozen=True)
class Sample:
    """Decisions of one file, ready to be fitted.

    data : stacked for one family.  second : labels of a second way of clustering.  cluster :
    columns that name the clusters. shape : ``allocations``, ``games`` or ``measurement``.  notes :
    what the reader must know.  payoffs (2, n, S): of allocations, own and other's payoff of every
    option as in the file, nan where a row has fewer.  acts (n, 2): 1 after a kind, an unkind act.
    items : of files that hold sequential games only, every row's payoffs as in the file and the
    beliefs that estimation uses.
    """

    data: Design
    shape: str
    cluster: tuple[str, ...] = ()
    second: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    payoffs: np.ndarray | None = None
    acts: np.ndarray | None = None
    items: tuple[Item, ...] | None = None


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
            return _measurement(path, rows, family, cluster, weight, chosen)
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
            data, more, remarks, items = _games(sheet, family, labels[0])
        else:
            data, more, payoffs, acts = _allocations(
                sheet, family, labels[0], many if shapes[0] == "many" else []
            )
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
    return Sample(data, shape, ways, second, (*notes, *remarks), payoffs, acts, items)


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


# ---- allocations


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
    return _names(sheet), payoffs


def _names(sheet: Sheet) -> list[str]:
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
        used = {*BINARY, *acts}
    else:
        (own, other), names = _options(sheet, options)
        sheet.need(["choice"], "allocations")
        rule = f"write the number of the chosen option, 1 to {len(options)} (or its letter)"
        codes = {str(k): k - 1 for k in options} | {chr(96 + k): k - 1 for k in options if k <= 26}
        chosen = sheet.whole("choice", codes, rule)
        lacking = np.isnan(own[np.arange(len(own)), chosen])
        if lacking.any():
            raise sheet.bad(int(lacking.argmax()), "choice", "this row has no such option")
        used = {*names, "choice", *acts}
    data = allocations(own, other, chosen, labels, family, kinds.get("q", 0.0), kinds.get("v", 0.0))
    before = np.column_stack([kinds.get(c, np.zeros(len(sheet))) for c in ("q", "v")])
    return data, used, np.stack([own, other]), before


# ---- games


@dataclass(frozen=True)
class _Form:
    """A game at given payoffs: its tables, and the moves every strategy is made of (N, K)."""

    tables: Tables
    moves: tuple[tuple[str, ...], ...]

    @property
    def places(self) -> list[list[str]]:
        """For every place in a plan the moves that can stand there, in the game's order."""
        return [list(dict.fromkeys(m[k] for m in self.moves)) for k in range(len(self.moves[0]))]


@lru_cache(maxsize=100_000)
def _form(game: str, payoffs: tuple[float, ...]) -> _Form:
    if game in GAMES:
        return _Form(Protocol(game, payoffs).tables, GAMES[game].strategies)  # type: ignore[arg-type]
    tables = tables_of(game, payoffs)
    return _Form(tables, tuple(tuple(s.split(",")) for s in tables.strategies))


@dataclass(frozen=True)
class _Problems:
    """What every row of a table of games asks: payoffs or parameters, tables, beliefs.

    beliefs : for every row the probability of each first move of a sequential game (K,), the
    weights of the other's strategies in a table game (N,).  weights : of the strategies (N,).
    used : columns that were read.
    """

    games: list[str]
    payoffs: list[tuple[float, ...]]
    forms: list[_Form]
    beliefs: list[np.ndarray]
    weights: list[np.ndarray]
    used: set[str]
    notes: list[str]

    def items(self) -> tuple[Item, ...] | None:
        """Every row as a decision problem; None where a row holds a table game."""
        if not set(self.games) <= set(GAMES):
            return None
        return tuple(
            Item(Protocol(game, payoffs), tuple(beliefs.tolist()))  # type: ignore[arg-type]
            for game, payoffs, beliefs in zip(self.games, self.payoffs, self.beliefs, strict=True)
        )


def _problems(sheet: Sheet, known: Sequence[str]) -> _Problems:
    """The rows of a table of games, those of ``known``, whatever was chosen there."""
    games = [text.strip().lower() for text in sheet.columns["game"]]
    for i, game in enumerate(games):
        if game not in known:
            raise sheet.bad(i, "game", f"known games: {', '.join(known)}")
    payoffs, used = _payoffs(sheet, games)
    forms = []
    for i, game in enumerate(games):
        try:
            forms.append(_form(game, payoffs[i]))
        except (ValueError, TypeError, MemoryError) as error:
            raise InputError(f"{sheet.where(i)}: {error}") from None
    beliefs, weights, of_beliefs, notes = _beliefs(sheet, games, forms)
    return _Problems(games, payoffs, forms, beliefs, weights, {"game", *used, *of_beliefs}, notes)


def read_game_problems(path: Path) -> tuple[list[str], tuple[Item, ...]]:
    """(names, payoffs and beliefs) of sequential games that nobody has played yet.

    Columns ``game``, ``T``, ``R``, ``P``, ``S`` and perhaps ``belief1``, ``belief2``, ... (default:
    both moves equally likely) and ``id`` (default: the row's number).  Raises InputError as
    ``read_choices``, and where an id stands twice.
    """
    sheet = read_sheet(path)
    sheet.need(("game",), "sequential games")
    items = _problems(sheet, list(GAMES)).items()
    assert items is not None
    return _names(sheet), items


def _games(
    sheet: Sheet, family: str, labels: list[str]
) -> tuple[Design, set[str], list[str], tuple[Item, ...] | None]:
    """Choices in sequential or table games, whole plans or parts of them."""
    asked = _problems(sheet, [*GAMES, *TABLE_GAMES])
    notes = list(asked.notes)
    observed, of_moves, of_numbers = _moves(sheet, asked.games, asked.forms)
    notes += of_numbers
    decisions, sets = [], []
    for i, form in enumerate(asked.forms):
        several = observed[i].sum() > 1
        choice = observed[i] / observed[i].sum()
        decisions.append(Decision(form.tables, asked.weights[i], choice, labels[i]))
        sets.append(observed[i] if several else None)
    part = sum(s is not None for s in sets)
    if part:
        notes.append(
            f"{part} of {len(sheet)} rows show only part of a plan; the likelihood sums over the "
            "plans that fit"
        )
    return (
        design(decisions, family, sets if part else None),
        {*asked.used, *of_moves},
        notes,
        asked.items(),
    )


def _payoffs(sheet: Sheet, games: list[str]) -> tuple[list[tuple[float, ...]], set[str]]:
    """Payoffs or parameters of every row, and the columns they came from."""
    result: list[tuple[float, ...]] = [()] * len(games)
    used: set[str] = set()
    for game in dict.fromkeys(games):
        rows = [i for i, g in enumerate(games) if g == game]
        names = ["T", "R", "P", "S"] if game in GAMES else list(TABLE_GAMES[game].parameters)
        if game == "pd" and not set(names) & set(sheet.columns):
            names = ["R", "S", "T", "P"]
        sheet.need(names, f"the game {game}")
        part = sheet.keep(rows).numbers(names, MONEY)
        for i, values in zip(rows, part, strict=True):
            result[i] = tuple(values.tolist())
        used |= set(names)
    return result, used


def _numbered(sheet: Sheet, stem: str) -> list[str]:
    """Columns stem1, stem2, ... in order.  Raises InputError for a gap."""
    found = sorted(int(m[1]) for c in sheet.columns if (m := re.fullmatch(rf"{stem}([1-9]\d*)", c)))
    if found != list(range(1, len(found) + 1)):
        raise InputError(
            f"{sheet.path}: the columns {stem}... are numbered {found}; number them 1, 2, 3, ... "
            "without a gap"
        )
    return [f"{stem}{k}" for k in found]


def _beliefs(
    sheet: Sheet, games: list[str], forms: list[_Form]
) -> tuple[list[np.ndarray], list[np.ndarray], set[str], list[str]]:
    """(beliefs as they stand, weights of the other's strategies) in every row: from shares, per
    cent, or even where nothing is said; the columns, and remarks."""
    columns = _numbered(sheet, "belief")
    notes: list[str] = []
    given = np.full((len(sheet), 0), np.nan)
    if columns:
        given, notes = _shares(sheet, columns)
    even = 0
    cache: dict[tuple[int, bytes], tuple[np.ndarray, np.ndarray]] = {}
    beliefs, weights = [], []
    for i, (game, form) in enumerate(zip(games, forms, strict=True)):
        said = given[i][~np.isnan(given[i])]
        key = (id(form), given[i].tobytes())
        if key not in cache:
            held = _held(sheet, i, game, form, given[i], said)
            cache[key] = held, belief_weights(game, held) if game in GAMES else held
        even += not len(said)
        beliefs.append(cache[key][0])
        weights.append(cache[key][1])
    if not columns:
        notes.append("no beliefs in the file: the other's moves are taken as equally likely")
    elif even:
        notes.append(
            f"{even} of {len(sheet)} rows say no belief: there the other's moves are taken as "
            "equally likely"
        )
    return beliefs, weights, set(columns), notes


def _held(
    sheet: Sheet, i: int, game: str, form: _Form, row: np.ndarray, said: np.ndarray
) -> np.ndarray:
    n = len(form.tables.strategies)
    need = len(GAMES[game].info_sets) if game in GAMES else n
    if not len(said):
        return np.full(need, 0.5 if game in GAMES else 1 / n)
    if game not in GAMES and n == 2 and len(said) == 1 and not np.isnan(row[0]):
        return np.array([row[0], 1 - row[0]])
    if len(said) != need or np.isnan(row[:need]).any():
        what = (
            "one belief for each information set"
            if game in GAMES
            else "one weight for each strategy"
        )
        raise InputError(
            f"{sheet.where(i)}: {game} needs {what}, belief1 to belief{need}, or none at all; here "
            f"are {len(said)}"
        )
    if game in GAMES:
        return row[:need]
    if abs(said.sum() - 1) > 1e-3:
        raise InputError(
            f"{sheet.where(i)}: the beliefs sum to {said.sum():g}; the weights of the {need} "
            "strategies must sum to 1 (or 100 %)"
        )
    return said / said.sum()


def _shares(sheet: Sheet, columns: list[str]) -> tuple[np.ndarray, list[str]]:
    """(n, K) beliefs between 0 and 1, and a remark where bare numbers are per cent.

    The file's unit (share or per cent) is recognised; a mixture is refused, and so is what may be
    out of ten."""
    rule = "a belief is a share between 0 and 1, or a percentage between 0 and 100"
    signs = np.array([[t.strip().endswith("%") for t in sheet.columns[c]] for c in columns]).T
    bare = {c: [t.strip().removesuffix("%").strip() for t in sheet.columns[c]] for c in columns}
    values = replace(sheet, columns={**sheet.columns, **bare}).numbers(columns, rule, empty=True)
    plain_values = np.where(signs, np.nan, values)
    with np.errstate(invalid="ignore"):
        above, between = plain_values > 1, (plain_values > 0) & (plain_values < 1)
        wrong = (values < 0) | (values > 100)
    if wrong.any():
        i, k = np.argwhere(wrong)[0]
        raise sheet.bad(int(i), columns[k], rule)
    if above.any() and between.any():
        (i, k), (j, m) = np.argwhere(above)[0], np.argwhere(between)[0]
        raise InputError(
            f"{sheet.where(int(i))}: column {columns[k]} holds {sheet.columns[columns[k]][i]!r} "
            f"but {columns[m]} in {sheet.unit} "
            f"{sheet.lines[j]} holds {sheet.columns[columns[m]][j]!r}: shares and percentages "
            f"mixed; write all as shares"
        )
    if not above.any():
        return np.where(signs, values / 100, values), []
    i, k = np.unravel_index(np.nanargmax(plain_values), values.shape)
    largest = plain_values[i, k]
    if largest <= 10 and not signs.any():
        raise sheet.bad(
            int(i),
            columns[k],
            "it is the largest belief: percentages or out of ten? write shares or %",
        )
    return values / 100, [f"beliefs read as per cent (largest {largest:g})"]


def _moves(
    sheet: Sheet, games: list[str], forms: list[_Form]
) -> tuple[list[np.ndarray], set[str], list[str]]:
    """For every row the strategies consistent with what was seen (N,); the columns they came from,
    and a remark on what numbers were read as."""
    columns = _numbered(sheet, "move")
    if "plan" in sheet.columns and columns:
        raise InputError(f"{sheet.path} has both plan and move columns; keep one")
    if "plan" not in sheet.columns and not columns:
        raise InputError(
            f"{sheet.path} lacks the chosen moves: a column plan, or move1, move2, ..."
        )
    cache: dict[tuple[Any, ...], np.ndarray] = {}
    result = []
    numbered: dict[str, list[str]] = {}
    for i, (game, form) in enumerate(zip(games, forms, strict=True)):
        texts = (
            (sheet.columns["plan"][i],)
            if not columns
            else tuple(sheet.columns[c][i] for c in columns)
        )
        key = (id(form), texts)
        if key not in cache:
            cache[key] = _consistent(sheet, i, game, form, columns, numbered)
        result.append(cache[key])
    read = [
        f"{place} {', '.join(f'{n} = {m}' for n, m in enumerate(moves[:12], 1))}"
        + (" ..." if len(moves) > 12 else "")
        for place, moves in sorted(numbered.items())
    ]
    notes = [f"moves read from numbers: {'; '.join(read)}"] if read else []
    return result, set(columns) or {"plan"}, notes


def _consistent(
    sheet: Sheet, i: int, game: str, form: _Form, columns: list[str], numbered: dict[str, list[str]]
) -> np.ndarray:
    """The strategies (N,) that fit a row; ``numbered`` takes the places where a number was read as
    a move, and the moves there."""
    places = form.places
    if columns:
        texts = [sheet.columns[c][i] for c in columns]
        if more := [
            c
            for c, t in zip(columns[len(places) :], texts[len(places) :], strict=True)
            if not missing(t)
        ]:
            raise sheet.bad(
                i, more[0], f"{game} has {len(places)} place(s) to move; leave this empty"
            )
        texts = texts[: len(places)] + [""] * (len(places) - len(texts))
        named = [*columns, *[columns[-1]] * len(places)][: len(places)]
    else:
        texts, named = _split(sheet, i, game, places), ["plan"] * len(places)
    fits = np.ones(len(form.moves))
    seen = 0
    for k, (text, column) in enumerate(zip(texts, named, strict=True)):
        if missing(text) or text.strip() == "?":
            continue
        move = _move(text, places[k])
        if move is None:
            numeric = _numeric(places[k])
            rule = (
                f"at this place {game} has "
                + ", ".join(places[k][:12])
                + (" ..." if len(places[k]) > 12 else "")
            )
            raise sheet.bad(
                i,
                column,
                rule
                + (
                    ""
                    if numeric
                    else f" (the name, its beginning, or its number 1 to {len(places[k])})"
                ),
            )
        said = text.strip()
        if NUMBER.fullmatch(said) and said not in places[k] and not _numeric(places[k]):
            numbered[f"{game} move{k + 1}"] = places[k]
        fits *= np.array([m[k] == move for m in form.moves], float)
        seen += 1
    if not seen:
        raise InputError(f"{sheet.where(i)}: no move was observed; remove the row")
    if not fits.any():
        raise sheet.bad(i, named[0], f"no strategy of {game} has these moves")
    return fits


def _split(sheet: Sheet, i: int, game: str, places: list[list[str]]) -> list[str]:
    """The moves of a plan such as DDC, ``D D C``, ``trust,give``."""
    text = sheet.columns["plan"][i].strip()
    parts = [p for p in re.split(r"[\s,;/|]+", text) if p]
    if len(parts) == 1 and len(places) > 1 and len(text) == len(places):
        parts = list(text)
    if len(parts) != len(places):
        example = ("" if all(len(p[0]) == 1 for p in places) else ",").join(p[0] for p in places)
        raise sheet.bad(
            i,
            "plan",
            f"a plan of {game} names {len(places)} move(s), such as {example}; ? for one not "
            "observed",
        )
    return parts


def _numeric(moves: list[str]) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", m) for m in moves)


def _move(text: str, moves: list[str]) -> str | None:
    """The move that a cell names: by name, by its beginning where that is unique, by number;
    amounts by value."""
    said = text.strip()
    if said in moves:
        return said
    lower = [m.lower() for m in moves]
    if said.lower() in lower:
        return moves[lower.index(said.lower())]
    number = NUMBER.fullmatch(said)
    if _numeric(moves):
        if not number:
            return None
        value = float(said.replace(",", "."))
        near = [m for m in moves if abs(float(m) - value) <= 1e-6 * max(1.0, abs(value))]
        return near[0] if len(near) == 1 else None
    if number:
        value = float(said.replace(",", "."))
        return moves[int(value) - 1] if value.is_integer() and 1 <= value <= len(moves) else None
    begun = [m for m in moves if m.lower().startswith(said.lower())]
    return begun[0] if len(begun) == 1 else None


# ---- our own measurements


def _measurement(
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
    return Sample(
        data, "measurement", ways, tuple(labels[1]) if len(labels) > 1 else None, tuple(notes)
    )


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


def subjects_of(sample: Sample) -> dict[str, int]:
    """Cluster -> number of decisions."""
    counts = np.bincount(sample.data.cluster, minlength=len(sample.data.names))
    return dict(zip(sample.data.names, counts.tolist(), strict=True))
