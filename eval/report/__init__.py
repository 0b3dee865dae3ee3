"""A report that a referee, a manager and a newcomer can read: one HTML file,
the same as Markdown, tables as CSV and LaTeX.

    # a study, an adapter's folder, or any folder written by a command of eval
    econmoral report runs/study

The first screen answers the question in a sentence and a picture.  Tables say beside every figure
how likely a reply is admissible and control questions are answered right; an arm that answers
outside the form has no figures and enters no claim.  Claims are judged by what adapters were
trained toward, as their run.json says, never by names.  The HTML holds its figures and needs no
network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, origin, program


@dataclass(frozen=True)
class ReportConfig(Config):
    """Options of ``python -m eval.report``."""

    folder: Path = option(
        None, "folder of a study, of an adapter or of a measurement", positional=True
    )
    out: Path | None = option(None, "folder of the report (default: report/ in it)")


def report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a study, of an adapter or of anything measured.

    folder : of the study, the adapter or the measurement.  out : where the report goes, by default
    ``report/`` in it.  Returns that folder, with report.html, report.md, tables/ and figures/.

    Raises InputError when there is nothing to report.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    from .pages import build  # pandas and matplotlib take a second to load
    from .render import write

    place = folder / "report" if out is None else Path(out)
    page = build(folder)
    page.text(f"This report: {' '.join(origin()['command'])}.")
    write(page, place)
    return place


def main() -> None:
    """Entry point."""
    config = parse(ReportConfig, program("python -m eval.report"), __doc__)
    print(f"{report(config.folder, config.out)}/: report.html report.md tables/ figures/")
