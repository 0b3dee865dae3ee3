"""Every page, probability and derivation of a run as one HTML file that needs no network: largest
shifts first.

    python -m eval.transcripts runs/demo/eval          # writes transcripts.html there
    python -m eval.transcripts runs/moralis --base placebo --out shifts.html

A line is a decision problem as one condition answered it, beside the base: how far its choice
probabilities moved (total variation), validity, comprehension, the share of right steps.  Opened,
it shows the pages as they were asked and what was written; in a derivation, results that are wrong
and numbers that come from nowhere are marked.  A model's text stays text.
It takes measurements of games, one-page decisions, dilemmas (a line for every accident and every
statement) and pricing (a line for every price that a model named).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, plain, program, terminal, write_text

from .entries import Entry, folder_of

NAME = "transcripts.html"


@dataclass(frozen=True)
class TranscriptsConfig(Config):
    """Options of ``python -m eval.transcripts``."""

    run: Path = option(
        None,
        "folder of a measurement, or of an adapter that was measured",
        positional=True,
        required=True,
    )
    base: str | None = option(
        None, "condition that the others are held against (default base)", metavar="ARM"
    )
    out: Path | None = option(None, f"file to write (default: {NAME} in the measurement's folder)")


def entries_of(run: Path) -> tuple[list[Entry], str]:
    """What the page of transcripts is made of, and what it leaves out, if anything.

    Raises InputError for a folder that holds no records, and for records of another version.
    """
    from .choices import problems, read_run  # pandas and scipy take half a second to load
    from .dilemmas import dilemmas
    from .pricing import prices

    folder = folder_of(run)
    try:
        if (folder / "choices.jsonl").is_file():
            return problems(*read_run(folder)), ""
        if (folder / "periods.jsonl").is_file():
            return prices(folder)
        return dilemmas(folder), ""
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{folder}: its records were not written by today's version ({error})"
        ) from None


def base_arm(arms: Iterable[str], asked: str | None) -> str:
    """The condition that the others are held against: the one asked for, ``base``, or the first.
    Raises InputError for an unknown one.
    """
    known = list(dict.fromkeys(arms))
    if asked is not None and asked not in known:
        raise InputError(f"--base {asked}: the run has {', '.join(known)}")
    return asked or ("base" if "base" in known else known[0])


# ------------------------------------------------------------------------------------- the document


FILTERS = (
    ("game", "game"),
    ("set", "set"),
    ("mode", "mode"),
    ("arm", "condition"),
    ("wording", "wording"),
    ("order", "order"),
)


def _beside(name: str) -> str:
    """A file that lies beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def document(entries: list[Entry], title: str, base: str | None = None, note: str = "") -> str:
    """The whole page.  Its data are packed (gzip) and unpacked by the browser.

    base : condition that the others are held against; where no problem was put to two, there is
    none.  note : what is left out.
    """
    if not entries:
        raise InputError("the run holds no records")
    arms = list(dict.fromkeys(arm for entry in entries for arm in entry["arms"]))
    compared = base is not None or any(len(entry["arms"]) > 1 for entry in entries)
    data = {"arms": arms, "base": base_arm(arms, base) if compared else None, "items": entries}
    packed = base64.b64encode(
        gzip.compress(json.dumps(data, ensure_ascii=False, allow_nan=False).encode(), 9, mtime=0)
    ).decode()
    style, script = _beside("page.css"), _beside("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
        f"'sha256-{digest}'"
    )
    name = html.escape(plain(title))
    selects = "".join(
        f'<label>{label}<select id="{key}"></select></label>' for key, label in FILTERS
    )
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<link rel="icon" '
            f'href="data:,"><title>{name}</title><style>{style}</style></head><body><main><h1>{name}</h1>',
            '<p class="quiet">Wavy: a result or comparison that does not hold. Dotted: a number '
            f"that is neither on the page nor worked out before. {html.escape(note)}</p>",
            f'<form aria-label="Filters">{selects}<label>validity<select id="valid"><option '
            'value="">all</option><option value="yes">.5 and more</option>'
            '<option value="no">below .5</option></select></label><label>first<select '
            'id="sort"><option value="shift">largest shifts</option>'
            '<option value="valid">least valid</option><option value="wrong">most '
            'marks</option><option value="run">as run</option></select></label></form>',
            '<p class="quiet" id="count" role="status">The transcripts are unpacked by a script of '
            "this file; a browser of 2023 or later shows them.</p>",
            '<ol id="list"></ol><button type="button" id="more" hidden>show '
            f'more</button></main><script type="text/plain" id="data">{packed}</script>',
            f"<script>{script}</script></body></html>\n",
        )
    )


def run(config: TranscriptsConfig, console: Console) -> Path:
    """Write the page of a measurement; the file."""
    entries, note = entries_of(config.run)
    out = config.out or folder_of(config.run) / NAME
    title = f"Transcripts of {config.run.resolve().name}"
    text = document(entries, title, config.base, note)
    write_text(out, text)
    console.print(f"{out}: {len(entries)} problems, {len(text.encode()) / 1000:.0f} kB")
    return out


def main() -> None:
    """Entry point."""
    config = parse(TranscriptsConfig, program("python -m eval.transcripts"), __doc__)
    run(config, terminal(80))
