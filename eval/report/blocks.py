"""What a report is made of: headings, paragraphs, tables, figures, quotations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from econmoral.files.records import plain

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure as Drawing

ROOM = 118  # characters that a table's row may take beside each other on a page 1,280 pixels wide
PADDING = 3  # of a column, in characters
LONG = 24  # a cell that is longer is broken into lines
LONGEST_WORD = 13  # a heading's longer words are broken


@dataclass(frozen=True)
class Heading:
    """A heading of a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Table:
    """A table; ``name`` becomes its file name.

    shown : columns that stand in the text, the most important first after the row's name; None for
    all.  Where they do not fit the page the last ones are left to the CSV, which always has every
    column.
    """

    name: str
    frame: pd.DataFrame
    caption: str
    shown: Sequence[str] | None = None

    def in_text(self) -> pd.DataFrame:
        """The columns that fit the page, two at least, without rows that are empty in them."""
        names = (
            list(self.frame.columns)
            if self.shown is None
            else [c for c in self.shown if c in self.frame]
        )
        frame = self.frame[names]
        widths = [
            _width(str(name), [cell(v) for v in frame.iloc[:, k]]) for k, name in enumerate(names)
        ]
        fitting = int(np.searchsorted(np.cumsum(widths), ROOM, side="right"))
        frame = frame.iloc[:, : max(fitting, 2)]
        full = [any(cell(v) for v in row[1:]) for row in frame.itertuples(index=False)]
        return frame[full] if any(full) else frame


@dataclass(frozen=True)
class Figure:
    """A picture (PNG), and what it shows in words."""

    name: str
    png: bytes
    alt: str


@dataclass(frozen=True)
class Quote:
    """Untrusted text, under a line of ours."""

    words: str
    text: str


Block = Heading | Text | Table | Figure | Quote


@dataclass
class Report:
    """Blocks in order.  ``lead``: the answer in a sentence and a picture, before the contents."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    lead: list[Block] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.blocks.append(Heading(text))

    def text(self, words: str) -> None:
        """Add a paragraph."""
        self.blocks.append(Text(words))

    def table(
        self, name: str, frame: pd.DataFrame, caption: str, shown: Sequence[str] | None = None
    ) -> None:
        """Add a table; a name that is taken gets a number."""
        unique = _unique(name, [b.name for b in self.tables])
        self.blocks.append(Table(unique, frame, caption, shown))

    def figure(self, name: str, png: bytes, alt: str) -> None:
        """Add a picture with what it shows in words; a name that is taken gets a number."""
        unique = _unique(name, [b.name for b in self.figures])
        self.blocks.append(Figure(unique, png, alt))

    def picture(self, name: str, drawing: Drawing, alt: str) -> None:
        """Add a figure of ours; one that cannot be drawn costs nothing else."""
        try:
            self.figure(name, png(drawing), alt)
        except Exception as error:  # a font, a name, a full disk
            plt.close(drawing)
            self.text(f"The figure {name} could not be drawn ({type(error).__name__}).")

    def quote(self, words: str, text: str) -> None:
        """Add untrusted text, under a line of ours."""
        self.blocks.append(Quote(words, text))

    @property
    def tables(self) -> list[Table]:
        """The tables, in order."""
        return [b for b in (*self.lead, *self.blocks) if isinstance(b, Table)]

    @property
    def figures(self) -> list[Figure]:
        """The figures, in order."""
        return [b for b in (*self.lead, *self.blocks) if isinstance(b, Figure)]


def anchor(text: str) -> str:
    """An identifier for a heading, a file name for a table."""
    kept = (c if c.isascii() and c.isalnum() else " " for c in text.lower())
    return "-".join("".join(kept).split())


def _unique(name: str, taken: Sequence[str]) -> str:
    """The name, with a number where another one would have the same file."""
    files, number = set(map(anchor, taken)), 1
    while anchor(unique := f"{name} {number}" if number > 1 else name) in files:
        number += 1
    return unique


def png(drawing: Drawing) -> bytes:
    """A figure's bytes."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, dpi=130, format="png", metadata={"Software": "econmoral"})
    plt.close(drawing)
    return buffer.getvalue()


def cell(value: Any) -> str:
    """A table cell as text."""
    return (
        "" if value is None or (isinstance(value, float) and np.isnan(value)) else plain(str(value))
    )


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without empty columns and with empty cells where nothing is known."""
    frame = frame.fillna("")
    return frame.loc[
        :, [i < 1 or bool((frame.iloc[:, i] != "").any()) for i in range(frame.shape[1])]
    ]


def _width(heading: str, cells: list[str]) -> int:
    longest = max(map(len, cells), default=0)
    word = min(max(map(len, heading.split()), default=0), LONGEST_WORD)
    return max(min(longest, LONG), word) + PADDING
