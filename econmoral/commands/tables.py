"""A table of the user's own: text cells with the file's line numbers, numbers read on request."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from econmoral.records import InputError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
ABSENT = ("", "NA", "NaN", "nan", ".")


@dataclass(frozen=True)
class Table:
    """Columns of text (each as long as ``lines``), and the line of the file each row stands on."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    decimal: str = "."

    def need(self, names: list[str]) -> None:
        """Raises InputError when columns lack."""
        if missing := [n for n in names if n not in self.columns]:
            have = ", ".join(list(self.columns)[:20])
            raise InputError(f"{self.path} lacks the column(s) {', '.join(missing)}; it has {have}")

    def text(self, name: str) -> list[str]:
        """Labels of a column.  Raises InputError with the line where one is absent."""
        for line, value in zip(self.lines, self.columns[name], strict=True):
            if value in ABSENT:
                raise InputError(f"{self.path}, line {line}: column {name} is empty; fill it in")
        return self.columns[name]

    def number(self, name: str, absent: bool = False) -> np.ndarray:
        """Finite numbers of a column, nan where absent if that is allowed.

        Raises InputError with line and text of what is none.
        """
        found = []
        for line, value in zip(self.lines, self.columns[name], strict=True):
            if absent and value in ABSENT:
                found.append(math.nan)
                continue
            try:
                found.append(
                    float(value.replace(self.decimal, ".") if self.decimal != "." else value)
                )
            except ValueError:
                found.append(math.nan)
            if not math.isfinite(found[-1]):
                where = f"{self.path}, line {line}: column {name} holds {value!r}"
                raise InputError(f"{where}, which is no finite number")
        return np.array(found)


def read_table(path: Path) -> Table:
    """A CSV file: comma, semicolon or tab, UTF-8 with or without a byte-order mark, blank lines
    passed over.

    With semicolons or tabs, numbers may have a decimal comma.  Raises InputError with the line
    when a row has more or fewer cells than the header, when a name stands twice in the header,
    and when the file is missing, empty or no text.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from None
    head = next((line for line in content.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(content.splitlines(keepends=True), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    if len(rows) < 2:
        raise InputError(f"{path} holds no rows below a header")
    names = rows[0][1]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(f"{path}: the header names {', '.join(map(repr, twice))} twice")
    for line, row in rows[1:]:
        if len(row) != len(names):
            told = f"{len(row)} cells under a header of {len(names)}"
            raise InputError(
                f"{path}, line {line}: {told} (separator: {SEPARATORS[separator]}); mend the line"
            )
    cells = {name: [row[i] for _, row in rows[1:]] for i, name in enumerate(names)}
    comma = separator != "," and not any("." in c for column in cells.values() for c in column)
    return Table(path, cells, [line for line, _ in rows[1:]], "," if comma else ".")
