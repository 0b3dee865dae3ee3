"""Tables of games: payoffs, beliefs and moves, as laboratories write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.economics.games import (
    GAMES,
    TABLE_GAMES,
    Protocol,
    Tables,
    belief_weights,
    tables_of,
)
from econmoral.estimation.likelihood import Design, design
from econmoral.files.records import InputError
from econmoral.files.sheet import Sheet, missing, read_sheet
from econmoral.instruments.games import Item
from econmoral.people.sample import MONEY, NUMBER, columns_of, ids_of


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
    return ids_of(sheet), items


def games_of(
    sheet: Sheet, family: str, labels: list[str]
) -> tuple[Design, set[str], list[str], tuple[Item, ...] | None, tuple[tuple[str, ...], ...]]:
    """Choices in sequential or table games, whole plans or parts of them: stacked, columns used,
    notes, games as they are asked, the plans of every row.
    """
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
        tuple(tuple(" ".join(moves) for moves in form.moves) for form in asked.forms),
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


def _beliefs(
    sheet: Sheet, games: list[str], forms: list[_Form]
) -> tuple[list[np.ndarray], list[np.ndarray], set[str], list[str]]:
    """(beliefs as they stand, weights of the other's strategies) in every row: from shares, per
    cent, or even where nothing is said; the columns, and remarks."""
    columns = columns_of(sheet, "belief")
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
    columns = columns_of(sheet, "move")
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
