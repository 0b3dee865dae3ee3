"""Tables as text: one reader for CSV, TSV, Stata, Parquet and JSON Lines.

Every cell stays text until somebody asks for a number, so identifiers keep their zeros, and every
message can quote what the file holds and where.  Separator, decimal mark and encoding are
recognised; what is doubtful is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from econmoral.files.records import InputError, plain, read_lines

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".txt", ".dta", ".parquet", ".jsonl")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MISSING = {"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", ".", "-", "?", "<na>"}
# columns whose cells are words: Stata's labels are read there, its codes elsewhere
WORDS = re.compile(r"game|plan|move\d+|choice|set|mode|arm")
LARGEST = 1e12  # payoffs beyond this leave no digits for their differences


def missing(text: str) -> bool:
    """Whether a cell says that there is nothing: empty, NA, NaN, null, None, a lone dot or dash."""
    return plain(text).strip().lower() in MISSING


def identifier(text: str) -> str:
    """A name without what nobody sees: composed letters, single blanks, no format characters."""
    return " ".join(unicodedata.normalize("NFC", plain(text)).split())


@dataclass(frozen=True)
class Sheet:
    """A table of text cells.

    columns : name -> cells, in the file's order.  lines : where each row stands in the file;
    ``unit`` what is counted there (line, or row of a file without lines).  notes : what a reader
    must know.  doubtful : column -> why its numbers are no identifiers.  separator : between the
    cells of a text file.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: tuple[int, ...]
    unit: str = "line"
    notes: tuple[str, ...] = ()
    doubtful: dict[str, str] = field(default_factory=dict)
    separator: str = ""

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """File and line of a row, as messages begin."""
        return f"{self.path}, {self.unit} {self.lines[row]}"

    def bad(self, row: int, column: str, rule: str) -> InputError:
        """The error for one cell: the file's line, its text, the rule."""
        text = self.columns[column][row]
        held = f"holds {plain(text)[:60]!r}" if text.strip() else "is empty"
        return InputError(f"{self.where(row)}: column {column} {held}; {rule}")

    def keep(self, rows: Sequence[int]) -> Sheet:
        """Some of the rows."""
        columns = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return replace(self, columns=columns, lines=tuple(self.lines[i] for i in rows))

    def need(self, names: Iterable[str], what: str) -> None:
        """Raises InputError naming the columns that lack."""
        if lacking := [c for c in names if c not in self.columns]:
            has = ", ".join(plain(c) for c in list(self.columns)[:20])
            raise InputError(
                f"{self.path} lacks the column(s) {', '.join(lacking)} for {what}; it has {has}"
            )

    def no_capitals(self, wanted: Iterable[str], named: Iterable[str] = ()) -> None:
        """Raises InputError for a column that would be one of those ``wanted`` (patterns) but for
        its capitals, where that one is not there: it would do nothing, or something else.

        named : columns that are used under the name that they have.
        """
        pattern, named = re.compile("|".join(wanted)), set(named)
        for name in self.columns:
            small = name.lower()
            if small not in self.columns and name not in named and pattern.fullmatch(small):
                raise InputError(
                    f"{self.path}: only capitals differ, write {small} for {plain(name)}; if it "
                    "means something else, give it another name"
                )

    def numbers(self, names: Sequence[str], rule: str, empty: bool = False) -> np.ndarray:
        """(n, len(names)) finite numbers; nan where a cell is empty, if that is allowed.

        The decimal mark is recognised from all these columns together; a mixture of both marks is
        refused.
        """
        cells = [self.columns[c] for c in names]
        texts = [[t.strip() for t in column] for column in cells]
        # a point between thousands comes with other separators
        marks = "," if self.separator in ("", ",") else ",."
        comma = any(m in t for column in texts for t in column for m in marks) and self._decimal(
            names, texts
        )
        result = np.full((len(self), len(names)), np.nan)
        for k, (name, column) in enumerate(zip(names, texts, strict=True)):
            if not comma and (fast := _fast(column)) is not None:
                result[:, k] = fast
                continue
            for i, text in enumerate(column):
                if missing(text):
                    if not empty:
                        raise self.bad(i, name, rule)
                    continue
                value = _number(text, comma)
                if value is None or abs(value) > LARGEST:
                    raise self.bad(i, name, rule)
                result[i, k] = value
        return result

    def _decimal(self, names: Sequence[str], texts: list[list[str]]) -> bool:
        """Whether the decimal mark is a comma.  Raises InputError when both are used, or when it
        may stand between thousands."""
        marks: dict[str, tuple[str, int]] = {}
        # seen where it cannot stand between thousands
        fractions = {",": False, ".": self.separator in ("", ",")}
        for name, column in zip(names, texts, strict=True):
            for i, text in enumerate(column):
                if "," in text and re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", text):
                    marks.setdefault(",", (name, i))
                    fractions[","] |= not re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text)
                elif (
                    "." in text
                    and re.fullmatch(r"[+-]?\d*\.\d*([eE][+-]?\d+)?", text)
                    and text != "."
                ):
                    marks.setdefault(".", (name, i))
                    fractions["."] |= not re.fullmatch(r"[+-]?[1-9]\d{0,2}\.\d{3}", text)
        if len(marks) == 2:
            (first, i), (second, j) = marks[","], marks["."]
            raise InputError(
                f"{self.where(max(i, j))}: both decimal marks are used "
                f"({self.columns[first][i]!r} in {self.unit} {self.lines[i]}, "
                f"{self.columns[second][j]!r} in {self.unit} {self.lines[j]}); use one, and no "
                f"mark between thousands"
            )
        for mark, (name, i) in marks.items():
            if not fractions[mark]:
                text = self.columns[name][i].strip()
                raise self.bad(
                    i,
                    name,
                    f"is that {text.replace(mark, '')} or {text.replace(mark, '.')}? write "
                    f"{text.replace(mark, '')}, or {text}0, in all rows",
                )
        return "," in marks

    def labels(self, name: str) -> list[str]:
        """Identifiers as text, those that look alike written alike (see ``identifier``).

        A missing one is refused with its line."""
        if name in self.doubtful:
            raise InputError(
                f"{self.path}: column {name} cannot serve as identifier: {self.doubtful[name]}"
            )
        found = []
        for i, text in enumerate(self.columns[name]):
            if missing(text):
                raise self.bad(
                    i, name, "every row needs an identifier here; fill it in or remove the row"
                )
            found.append(identifier(text))
        return found

    def whole(self, name: str, allowed: dict[str, int], rule: str) -> np.ndarray:
        """(n,) codes of cells that must be one of ``allowed`` (lower case)."""
        found = np.zeros(len(self), int)
        for i, text in enumerate(self.columns[name]):
            key = re.sub(r"^([+-]?\d+)[.,]0*$", r"\1", text.strip().lower())
            if key not in allowed:
                raise self.bad(i, name, rule)
            found[i] = allowed[key]
        return found

    def duplicates(self) -> list[tuple[int, int]]:
        """(row, earlier row) of rows that are identical in every column."""
        seen: dict[tuple[str, ...], int] = {}
        found = []
        for i, row in enumerate(zip(*self.columns.values(), strict=True)):
            if row in seen:
                found.append((i, seen[row]))
            else:
                seen[row] = i
        return found


def _fast(column: list[str]) -> np.ndarray | None:
    """(n,) numbers when every cell is a plain finite one, else None: cells are looked at one by
    one then."""
    if not re.fullmatch(r"[0-9.eE+\- ]*", " ".join(column)):
        return None
    try:
        values = np.array(column, dtype=float)
    except ValueError:
        return None
    return values if (np.abs(values) <= LARGEST).all() else None


def _number(text: str, comma: bool) -> float | None:
    pattern = (
        r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?"
        if comma
        else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    )
    if not text.isascii() or not re.fullmatch(pattern, text):
        return None
    value = float(text.replace(",", "."))
    return value if np.isfinite(value) else None


def read_sheet(path: Path) -> Sheet:
    """A table from any of the known kinds of file.  Raises InputError that names file and line."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file")
    if suffix == ".jsonl":
        return _from_lines(path, list(read_lines(path)))
    if suffix in (".dta", ".parquet"):
        return _from_frame(path)
    if suffix == ".json":
        raise InputError(f"{path}: .json files are not read; write one object a line, as .jsonl")
    if suffix in (".gz", ".zip", ".xlsx", ".xls", ".sav", ".rds", ".rdata"):
        raise InputError(f"{path}: {suffix} files are not read; save it as {', '.join(SUFFIXES)}")
    return _from_text(path)


def decode(data: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    """Text of a file, without its byte-order mark, and a remark where the encoding was guessed."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # it begins as UTF-16's does
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            try:
                return data.decode(name), ()
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is not text: {error}") from None
    if b"\0" in data:
        for half, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            # of a header in Latin letters every second byte is 0
            if len(data) % 2 == 0 and len(data) > 20 and not any(data[half:20:2]):
                with suppress(UnicodeDecodeError):
                    return data.decode(name), ()
        raise InputError(f"{path} is not a table of text; save it as {', '.join(SUFFIXES)}")
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        try:
            return data.decode("cp1252"), ("the file is not UTF-8 and was read as Windows-1252",)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not text: {error}") from None


def _from_text(path: Path) -> Sheet:
    text, notes = decode(path.read_bytes(), path)
    skipped = 0
    if hint := re.match(r"sep=(.)\r?\n", text):  # a line that Excel writes
        text, skipped = text[hint.end() :], 1
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise InputError(f"{path} holds no rows: it is empty")
    separator = hint[1] if hint else max(SEPARATORS, key=lambda s: len(_fields(first, s)))
    if len(_fields(first, separator)) < 2:
        raise InputError(
            (
                f"{path}: no separator recognised in the header {plain(first)[:60]!r}; separate "
                "columns by "
            )
            + ", ".join(SEPARATORS.values())
        )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        before = 0
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(before + 1 + skipped)
            before = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num + skipped}: {error}; mend the quotes in this line"
        ) from None
    if not rows:
        raise InputError(f"{path} holds no rows: it is empty but for separators")
    header = [cell.strip() for cell in rows[0]]
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells under a header of {len(header)} "
                f"({SEPARATORS.get(separator, separator)}-separated); "
                "a separator too many or too few shifts the columns, mend the line"
            )
    names = _names(path, header)
    columns = {name: [_unguarded(row[k]) for row in rows[1:]] for k, name in enumerate(names)}
    return _nonempty(Sheet(path, columns, tuple(lines[1:]), "line", notes, {}, separator))


def _unguarded(text: str) -> str:
    """A cell as it was before ``spreadsheet_cell`` kept it from being a formula."""
    return text[1:] if text.startswith(("'=", "'+", "'-", "'@")) else text


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _names(path: Path, header: Sequence[str]) -> list[str]:
    names = [name or f"(column {k})" for k, name in enumerate(header, start=1)]
    if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        raise InputError(f"{path}: the header names {plain(', '.join(twice))} twice; rename one")
    return names


def _nonempty(sheet: Sheet) -> Sheet:
    if not len(sheet):
        raise InputError(f"{sheet.path} holds no rows")
    return sheet


def cell(value: Any) -> str:
    """A value of a data frame or of JSON as text: whole numbers without a point, missing ones
    empty."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        return (
            str(int(value))
            if float(value).is_integer() and abs(float(value)) < 2**53
            else repr(float(value))
        )
    if isinstance(value, list | dict):
        return json.dumps(value)
    return str(value)


def _words(column: pd.Series) -> bool:
    """Whether a column of Stata has labels that are meant: those of ``choice`` where they are
    letters or numbers of options, for words such as "yes" or "left" are none of its values."""
    return column.dtype == "category" and (
        column.name != "choice"
        or all(re.fullmatch(r"[A-Za-z]|\d+", str(label)) for label in column.cat.categories)
    )


def _from_frame(path: Path) -> Sheet:
    import pandas as pd

    labelled: list[str] = []
    try:
        if path.suffix.lower() == ".dta":
            frame = pd.read_stata(path, convert_categoricals=False)
            if words := [c for c in frame.columns if WORDS.fullmatch(c)]:
                # ``encode`` numbers words by the alphabet, so a code says nothing of its own
                named = pd.read_stata(path, columns=words)
                labelled = [c for c in words if _words(named[c])]
                frame[labelled] = named[labelled].astype(object)
        else:
            frame = pd.read_parquet(path)
            # pandas keeps what ``set_index`` took out of the columns, such as who decided, apart
            kept = [name for name in frame.index.names if name is not None]
            if kept:
                frame = frame.reset_index(level=kept, allow_duplicates=True)
    except Exception as error:  # these readers raise a dozen kinds on a damaged file
        reason = " ".join(str(error).split()).partition(". ")[0][:150]
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from None
    names = _names(path, [str(c).strip() for c in frame.columns])
    doubtful = {}
    columns = {}
    for k, name in enumerate(names):
        series = frame.iloc[:, k]
        if pd.api.types.is_float_dtype(series.dtype):
            exact = 2.0**24 if series.dtype == np.float32 else 2.0**53
            if (np.abs(series.to_numpy(float)) > exact).any():
                doubtful[name] = (
                    "it is stored as a floating number too large to be exact; store it as text"
                )
        columns[name] = ["" if v is pd.NA or v is pd.NaT else cell(v) for v in series.tolist()]
    notes = (f"Stata's value labels are read in {', '.join(labelled)}",) if labelled else ()
    return _nonempty(Sheet(path, columns, tuple(range(1, len(frame) + 1)), "row", notes, doubtful))


# lists in JSON
EXPANDED: dict[str, str | tuple[str, ...]] = {
    "payoffs": ("T", "R", "P", "S"),
    "beliefs": "belief",
    "moves": "move",
}


def _from_lines(path: Path, rows: list[tuple[int, dict[str, Any]]]) -> Sheet:
    flat: list[dict[str, Any]] = []
    for number, row in rows:
        new: dict[str, Any] = {}
        for key, value in row.items():
            if key in EXPANDED and isinstance(value, list):
                stem = EXPANDED[key]
                if not isinstance(stem, str) and len(value) != len(stem):
                    raise InputError(
                        f"{path}, line {number}: {key} holds {len(value)} numbers; it needs T, R, "
                        "P, S"
                    )
                keys = (
                    [f"{stem}{i}" for i in range(1, len(value) + 1)]
                    if isinstance(stem, str)
                    else list(stem)
                )
            else:
                keys, value = [key.strip()], [value]
            if twice := new.keys() & set(keys):
                raise InputError(f"{path}, line {number}: {plain(min(twice))} is given twice")
            new |= dict(zip(keys, value, strict=True))
        flat.append(new)
    names = list(dict.fromkeys(key for row in flat for key in row))
    columns = {name: [cell(row.get(name)) for row in flat] for name in names}
    return _nonempty(Sheet(path, columns, tuple(number for number, _ in rows)))
