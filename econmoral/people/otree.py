"""Wide exports of oTree to the long CSV that ``fit`` reads.

    econmoral import-otree all_apps_wide.csv --map map.yaml --out long.csv

The map says which columns of the export are what:

    subject: participant.code            # who (default)
    finished: {participant._current_page_name: Results}   # optional: who is no dropout
    where: {session.code: [ab12, cd34]}  # optional: only these participants
    repeat: {round: 1-18}                # optional: placeholders, one row of output for each value
    duplicates: refuse                   # or first, last: which row of a subject who is there twice
    dropouts: drop                       # or keep: the complete rows of somebody who left early
    row:                                 # the columns of the long file
      game: {value: spd}                 #   the same in every row
      T: lab.{round}.player.t            #   a column of the export
      belief1: lab.{round}.player.b1
      move1: {column: "lab.{round}.player.m1", recode: {"1": C, "0": D}}
      rate: {column: session.config.rate, optional: true}     # may be empty

Reported: dropouts, participants who never began, subjects who are there twice, demo sessions.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.files.options import Config, option
from econmoral.files.records import InputError, plain, read_yaml, spreadsheet_cell, write_text
from econmoral.files.sheet import Sheet, identifier, missing, read_sheet

KEYS = {"subject", "finished", "where", "repeat", "duplicates", "dropouts", "row"}
MOST_ROWS = 10_000  # of one participant


@dataclass(frozen=True)
class Source:
    """Where a column of the long file comes from: a constant, or a column of the export, recoded
    perhaps."""

    column: str = ""
    value: str | None = None
    recode: dict[str, str] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Map:
    """A mapping file, checked."""

    subject: str
    finished: dict[str, tuple[str, ...]]
    where: dict[str, tuple[str, ...]]
    repeat: dict[str, tuple[str, ...]]
    duplicates: str
    dropouts: str
    row: dict[str, Source]


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    file: Path = option(None, "all_apps_wide.csv or the wide export of one app", positional=True)
    map: Path = option(None, "YAML file that says which columns are what", required=True)
    out: Path = option(None, "long CSV to write", required=True)
    json: bool = option(False, "print JSON")


def run(options: Options) -> int:
    """Write the long file and report."""
    mapping = read_map(options.map)
    sheet = read_sheet(options.file)
    if options.out.resolve() in (options.file.resolve(), options.map.resolve()):
        raise InputError(f"--out {options.out} would overwrite the input; name another file")
    header, rows, report = long_rows(sheet, mapping)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([spreadsheet_cell(cell) for cell in row] for row in rows)
    write_text(options.out, text.getvalue())
    people = len({row[0] for row in rows})
    if options.json:
        about = {
            "out": str(options.out),
            "rows": len(rows),
            "subjects": people,
            "columns": header,
            "report": [*sheet.notes, *report],
        }
        print(json.dumps(about, indent=2))
        return 0
    for line in (*sheet.notes, *report):
        print(plain(line))
    print(f"{options.out}: {len(rows)} rows of {people} subjects")
    return 0


def read_map(path: Path) -> Map:
    """The mapping file.  Raises InputError that names the key and says what belongs there."""
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(
            f"{path}: a map is a list of keys with values, such as row: ...; see docs/data.md"
        )
    if unknown := [str(k) for k in raw if k not in KEYS]:
        raise InputError(
            f"{path}: unknown key(s) {plain(', '.join(unknown))[:100]}; known: "
            f"{', '.join(sorted(KEYS))}"
        )
    row = raw.get("row")
    if not isinstance(row, dict) or not row:
        raise InputError(
            f"{path}: row must name the columns of the long file, such as row: {{game: {{value: "
            f"spd}}}}"
        )
    repeat = {
        str(k): _values(path, f"repeat.{k}", v, ranges=True)
        for k, v in _mapping(path, raw, "repeat").items()
    }
    total = 1
    for values in repeat.values():
        total *= len(values)
    if total > MOST_ROWS:
        raise InputError(
            f"{path}: repeat makes {total} rows of every participant; the most is {MOST_ROWS}"
        )
    sources = {str(name): _source(path, str(name), value) for name, value in row.items()}
    if "subject" in sources:
        raise InputError(f"{path}: row must not name subject; say subject: COLUMN above it")
    if clash := set(sources) & set(repeat):
        raise InputError(
            f"{path}: {', '.join(sorted(clash))} is a placeholder of repeat and a column of row; "
            "rename one"
        )
    for name, source in sources.items():
        for placeholder in re.findall(r"\{([^{}]*)\}", source.column):
            if placeholder not in repeat:
                raise InputError(
                    f"{path}: row.{name} has the placeholder {{{plain(placeholder)}}}, which "
                    "repeat does not name"
                )
    choices = {"duplicates": ("refuse", "first", "last"), "dropouts": ("drop", "keep")}
    for key, known in choices.items():
        if raw.get(key, known[0]) not in known:
            raise InputError(
                f"{path}: {key} must be one of {', '.join(known)}, found "
                f"{plain(str(raw[key]))[:60]!r}"
            )
    subject = raw.get("subject", "participant.code")
    if not isinstance(subject, str):
        raise InputError(f"{path}: subject must be the name of a column")
    return Map(
        subject,
        {
            str(k): _values(path, f"finished.{k}", v)
            for k, v in _mapping(path, raw, "finished").items()
        },
        {str(k): _values(path, f"where.{k}", v) for k, v in _mapping(path, raw, "where").items()},
        repeat,
        raw.get("duplicates", "refuse"),
        raw.get("dropouts", "drop"),
        sources,
    )


def _mapping(path: Path, raw: dict[Any, Any], key: str) -> dict[Any, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: {key} must be a list of NAME: VALUE, found {type(value).__name__}"
        )
    return value


def _values(path: Path, key: str, value: Any, ranges: bool = False) -> tuple[str, ...]:
    """One value or several, as text; ``1-18`` counts where ``ranges``."""
    several = value if isinstance(value, list) else [value]
    if not several or any(isinstance(v, dict | list) or v is None for v in several):
        raise InputError(f"{path}: {key} must be a value or a list of values")
    found: list[str] = []
    for v in several:
        text = _text(v)
        if ranges and (span := re.fullmatch(r"(\d{1,6})\s*-\s*(\d{1,6})", text)):
            low, high = int(span[1]), int(span[2])
            if low > high or high - low >= MOST_ROWS:
                raise InputError(
                    f"{path}: {key}: {text} is no range of at most {MOST_ROWS} numbers"
                )
            found += [str(i) for i in range(low, high + 1)]
        else:
            found += [text] if ranges else _written(v)
    return tuple(found)


def _written(value: Any) -> list[str]:
    """How a cell may hold a value of the map: YAML's true and false also as 1, yes, True, ..."""
    if not isinstance(value, bool):
        return [_text(value)]
    words = ("true", "yes") if value else ("false", "no")
    return [_text(value), *(f(w) for w in words for f in (str.lower, str.capitalize, str.upper))]


def _text(value: Any) -> str:
    return (
        str(int(value))
        if isinstance(value, bool)
        else str(value).removesuffix(".0")
        if isinstance(value, float)
        else str(value)
    )


def _source(path: Path, name: str, value: Any) -> Source:
    if isinstance(value, str):
        return Source(column=value)
    known = {"column", "value", "recode", "optional"}
    if (
        not isinstance(value, dict)
        or set(value) - known
        or ("column" in value) == ("value" in value)
    ):
        raise InputError(
            f"{path}: row.{name} must be a column's name, {{value: ...}}, or {{column: ..., "
            f"recode: {{...}}, optional: true}}"
        )
    if "value" in value:
        if (
            set(value) != {"value"}
            or isinstance(value["value"], dict | list)
            or value["value"] is None
        ):
            raise InputError(
                f"{path}: row.{name}: value must be one number or word, and stand alone"
            )
        return Source(value=_text(value["value"]))
    recode = value.get("recode")
    if (
        not isinstance(value["column"], str)
        or not (recode is None or isinstance(recode, dict))
        or not isinstance(value.get("optional", False), bool)
    ):
        raise InputError(
            f"{path}: row.{name}: column is a name, recode a list of OLD: NEW, optional true or "
            "false"
        )
    codes = (
        None
        if recode is None
        else {cell: _text(v) for k, v in recode.items() for cell in _written(k)}
    )
    return Source(value["column"], None, codes, value.get("optional", False))


def _cases(mapping: Map) -> Iterator[dict[str, str]]:
    names = list(mapping.repeat)
    for values in itertools.product(*mapping.repeat.values()):
        yield dict(zip(names, values, strict=True))


def _filled(template: str, case: dict[str, str]) -> str:
    for name, value in case.items():
        template = template.replace("{" + name + "}", value)
    return template


def _known(sheet: Sheet, column: str, key: str) -> None:
    if column not in sheet.columns:
        near = difflib.get_close_matches(column, sheet.columns, 1)
        hint = f"; is {plain(near[0])} meant?" if near else ""
        raise InputError(
            f"{sheet.path} has no column {plain(column)}, which {key} of the map names{hint}"
        )


def long_rows(sheet: Sheet, mapping: Map) -> tuple[list[str], list[list[str]], list[str]]:
    """(header, rows, report): subject, the placeholders of ``repeat``, the columns of ``row``."""
    _known(sheet, mapping.subject, "subject")
    for key, conditions in (("finished", mapping.finished), ("where", mapping.where)):
        for column in conditions:
            _known(sheet, column, key)
    cases = list(_cases(mapping))
    for name, source in mapping.row.items():
        if source.value is None:
            for case in cases:
                _known(sheet, _filled(source.column, case), f"row.{name}")
    report: list[str] = []
    people = [i for i in range(len(sheet)) if _holds(sheet, i, mapping.where)]
    if not people:
        raise InputError(f"{sheet.path}: nobody is left after where of the map")
    if len(people) < len(sheet):
        report.append(f"where: {len(people)} of {len(sheet)} participants are used")
    answers = [
        source for source in mapping.row.values() if source.value is None and not source.optional
    ]
    own = {
        _filled(s.column, case)
        for s in answers
        for case in cases
        if not mapping.repeat or "{" in s.column
    }
    begun = {i for i in people if any(not missing(sheet.columns[column][i]) for column in own)}
    never: list[str] = []
    left: list[str] = []
    if own:  # a seat that nobody took has no label, and needs none
        empty = [i for i in people if i not in begun and missing(sheet.columns[mapping.subject][i])]
        never += [f"without {mapping.subject} ({sheet.unit} {sheet.lines[i]})" for i in empty]
        people = [i for i in people if i not in empty]
    people, remarks = _unique(sheet, people, mapping)
    report += remarks
    if "session.is_demo" in sheet.columns:
        demo = sum(
            sheet.columns["session.is_demo"][i].strip().lower() in ("1", "true") for i in people
        )
        report += (
            [f"{demo} participant(s) are of demo sessions and are kept; leave them out with where"]
            if demo
            else []
        )
    header = ["subject", *mapping.repeat, *mapping.row]
    rows: list[list[str]] = []
    for i in people:
        who = identifier(sheet.columns[mapping.subject][i])
        full = [
            not any(missing(sheet.columns[_filled(s.column, case)][i]) for s in answers)
            for case in cases
        ]
        finished = _holds(sheet, i, mapping.finished)
        if not (all(full) and finished):
            (left if i in begun else never).append(
                f"{who} ({sheet.unit} {sheet.lines[i]}, {sum(full)} of {len(cases)} rows complete)"
            )
            if mapping.dropouts == "drop":
                continue
        for case, whole in zip(cases, full, strict=True):
            if whole:
                rows.append(
                    [
                        who,
                        *case.values(),
                        *(
                            _cell(sheet, i, name, source, case)
                            for name, source in mapping.row.items()
                        ),
                    ]
                )
    what = "left out" if mapping.dropouts == "drop" else "their complete rows are kept"
    if left:
        report.append(f"{len(left)} dropout(s), {what}: {_some(left)}")
    if never:
        report.append(f"{len(never)} participant(s) who never began, left out: {_some(never)}")
    if not rows:
        raise InputError(
            f"{sheet.path}: nobody completed the rows of the map, so nothing is written; is it the "
            f"right export? {'; '.join(report)}"
        )
    return header, rows, report


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _holds(sheet: Sheet, i: int, conditions: dict[str, tuple[str, ...]]) -> bool:
    return all(sheet.columns[column][i].strip() in values for column, values in conditions.items())


def _unique(sheet: Sheet, people: list[int], mapping: Map) -> tuple[list[int], list[str]]:
    """One row for every subject, and what was done about those who are there twice."""
    labels = sheet.keep(people).labels(mapping.subject)
    places: dict[str, list[int]] = {}
    for i, who in zip(people, labels, strict=True):
        places.setdefault(who, []).append(i)
    report = []
    kept = []
    for who, several in places.items():
        if len(several) > 1:
            same = (
                len({tuple(column[i] for column in sheet.columns.values()) for i in several}) == 1
            )
            lines = f"{sheet.unit}s {', '.join(str(sheet.lines[i]) for i in several)}"
            if not same and mapping.duplicates == "refuse":
                raise InputError(
                    f"{sheet.path}: subject {plain(who)!r} is there {len(several)} times with "
                    f"different answers ({lines}); "
                    "say duplicates: first or last in the map, or remove the rows"
                )
            which = "one copy" if same else f"the {mapping.duplicates}"
            report.append(f"subject {who} is there {len(several)} times ({lines}); {which} is used")
        kept.append(several[-1] if mapping.duplicates == "last" else several[0])
    return sorted(kept), report


def _cell(sheet: Sheet, i: int, name: str, source: Source, case: dict[str, str]) -> str:
    if source.value is not None:
        return source.value
    column = _filled(source.column, case)
    text = sheet.columns[column][i].strip()
    if source.recode is None or (missing(text) and text not in source.recode):
        return text
    key = text if text in source.recode else re.sub(r"^(-?\d+)\.0+$", r"\1", text)
    if key not in source.recode:
        raise sheet.bad(
            i, column, f"recode of row.{name} in the map knows {', '.join(source.recode)}"
        )
    return source.recode[key]
