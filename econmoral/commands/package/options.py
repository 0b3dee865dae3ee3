"""What ``econmoral package`` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from econmoral.files.options import Config, option

FILL = "TO BE FILLED IN"


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    run: Path = option(
        None, "folder that one of our commands wrote", metavar="RUN", positional=True
    )
    out: Path | None = option(None, "folder to write; it must not exist (default RUN-package)")
    title: str | None = option(None, "of the paper")
    authors: str | None = option(None, "of the paper")
    citation: str | None = option(
        None, "how the data are cited: authors, year, title, repository, DOI"
    )
    licence: str | None = option(None, "licence of the data, e.g. MIT or CC-BY 4.0")
    access: str | None = option(
        None, "leave the data out; says how a replicator gets them, at what cost and how fast"
    )
    json: bool = option(False, "print JSON")
