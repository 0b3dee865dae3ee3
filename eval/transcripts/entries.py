"""What a page of transcripts is made of: entries, and what is wrong in a derivation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from econmoral.files.records import InputError
from econmoral.instruments.derivations import read_steps
from econmoral.instruments.games import TENTHS
from econmoral.text.conversation import Conversation

RECORDS = ("choices.jsonl", "conjoint.jsonl", "ratings.jsonl", "periods.jsonl")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
_COMPARED = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) is (more|less) than (\d+(?:\.\d+)?)")
_PRODUCT = re.compile(r"\d+(?:\.\d+)? \* ")


@dataclass(frozen=True)
class Mark:
    """A stretch of a derivation: ``wrong`` (a result or a comparison that does not hold) or
    ``unknown`` (a number that is neither on the page nor worked out before).
    """

    start: int
    end: int
    kind: str


def marks(text: str, page: str) -> list[Mark]:
    """What is wrong in a derivation on a page, in order, without overlaps.

    Arithmetic steps are checked by ``read_steps``.  A number counts as known when the page or an
    earlier step has it or a tenth of it, or when it is the first factor of a product (a weight of
    the preference).
    """
    text = text[:20_000]
    known = {float(m[0]) for m in _NUMBER.finditer(page)}
    steps = read_steps(text)
    found = [Mark(s.start, s.end, "wrong") for s in steps if not s.right]
    for m in _COMPARED.finditer(text):
        if (float(m[1]) > float(m[3])) != (m[2] == "more") or float(m[1]) == float(m[3]):
            found.append(Mark(m.start(), m.end(), "wrong"))
    results = [(s.start, s.end) for s in steps]
    for m in _NUMBER.finditer(text):
        result = any(a <= m.start() < b for a, b in results)
        value = float(m[0])  # derivations over ten people write 160 for ten times 16
        if (
            not result
            and value not in known
            and value / TENTHS not in known
            and not _PRODUCT.match(text, m.start())
        ):
            found.append(Mark(m.start(), m.end(), "unknown"))
        known.add(value)
    kept: list[Mark] = []
    for mark in sorted(found, key=lambda m: (m.start, m.kind == "unknown")):
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return kept


class Page(TypedDict):
    """A page as it was asked: text, wording, order."""

    t: str
    w: str
    o: str


class Shown(TypedDict):
    """What a condition answered: probabilities ``p`` (mean over pages) and ``pp`` (of each page),
    valid-answer probabilities ``v`` and ``pv``, comprehension ``c``, steps ``s`` (right, all), and
    texts ``x`` with their marks, page by page; ``a``: what is said where nothing of this is known.
    """

    p: list[float] | None
    pp: list[list[float] | None]
    v: float | None
    pv: list[float] | None
    c: float | None
    s: list[int]
    x: list[list[list[Any]]]
    a: NotRequired[str]


class Entry(TypedDict):
    """A problem with its pages, and the answers of all conditions to it."""

    id: str
    set: str
    mode: str
    game: str
    what: str
    names: list[str]
    pages: list[Page]
    arms: dict[str, Shown]


def choices_file(run: Path) -> Path:
    """``choices.jsonl`` of a measurement, or of the one inside an adapter's folder.  Raises
    InputError where there is none.
    """
    return run if run.is_file() else folder_of(run, RECORDS[:1]) / RECORDS[0]


def folder_of(run: Path, files: tuple[str, ...] = RECORDS) -> Path:
    """The folder of a measurement, or of the one inside an adapter's folder, that holds one of
    these files.  Raises InputError where there is none.
    """
    places = (run.parent,) if run.is_file() else (run, run / "eval")
    for folder in places:
        if any((folder / file).is_file() for file in files):
            return folder
    raise InputError(f"{run} holds no {' or '.join(files)}; give the folder of a measurement")


def page_asked(talk: Conversation) -> str:
    """The page and what is asked on it, one question a line."""
    return "\n\n".join(
        [talk.page, *([talk.work] if talk.work else []), *(q.text for q in talk.questions)]
    )


def rounded(values: Any) -> list[float] | None:
    """Numbers with four digits, as the page shows them; None stays None."""
    return None if values is None else [float(f"{v:.4g}") for v in values]
