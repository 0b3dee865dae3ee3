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
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from rich.console import Console

from econmoral.economics.games import GAMES, UNIT, Protocol
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    plain,
    program,
    read_json,
    read_lines,
    terminal,
    write_text,
)
from econmoral.instruments.derivations import read_steps
from econmoral.instruments.games import TENTHS, Item, Layout, converse, layout_of
from econmoral.instruments.menus import MENUS, MenuPage, menu_conversation
from econmoral.target import number
from econmoral.text.conversation import Conversation, Mode

NAME = "transcripts.html"
RECORDS = ("choices.jsonl", "conjoint.jsonl", "ratings.jsonl", "periods.jsonl")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
_COMPARED = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) is (more|less) than (\d+(?:\.\d+)?)")
_PRODUCT = re.compile(r"\d+(?:\.\d+)? \* ")


@dataclass(frozen=True)
class TranscriptsConfig(Config):
    """Options of ``python -m eval.transcripts``."""

    run: Path | None = option(
        None, "folder of a measurement, or of an adapter that was measured", positional=True
    )
    base: str | None = option(
        None, "condition that the others are held against (default base)", metavar="ARM"
    )
    out: Path | None = option(None, f"file to write (default: {NAME} in the measurement's folder)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run is None:
            raise InputError("give run, the folder of a measurement")

    @property
    def folder(self) -> Path:
        """What ``run`` names."""
        assert self.run is not None
        return self.run


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


# --------------------------------------------------------------------------------- what a run holds


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


def entries_of(run: Path) -> tuple[list[Entry], str]:
    """What the page of transcripts is made of, and what it leaves out, if anything.

    Raises InputError for a folder that holds no records, and for records of another version.
    """
    from .dilemmas_transcripts import dilemmas  # these read their records by what is in here
    from .pricing_transcripts import prices

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


@dataclass(frozen=True)
class Asked:
    """A decision problem as it was put on paper: one conversation and its order for every page, and
    the names of its choices.

    A page's probabilities are in the order of ``names``.
    """

    game: str
    what: str
    names: tuple[str, ...]
    pages: tuple[tuple[Conversation, str, str], ...]  # conversation, wording, order
    item: Item | None = None  # of a game
    layouts: tuple[Layout, ...] = ()


def asked_of(record: Mapping[str, Any], stated: bool = True) -> Asked:
    """The pages of a record, written again from its layouts.  stated : whether beliefs stood on the
    page.

    Raises InputError for a record that is neither of eval.games nor of eval.menus.
    """
    mode: Mode = "reasoned" if record.get("mode") == "reasoned" else "direct"
    try:
        if record.get("game") in GAMES:
            return _game(record, mode, stated)
        return _menu(record, mode)
    except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise InputError(
            f"record {plain(str(record.get('id')))[:60]!r} was not written by eval.games or "
            f"eval.menus of today ({error})"
        ) from None


def _game(record: Mapping[str, Any], mode: Mode, stated: bool) -> Asked:
    game = GAMES[record["game"]]
    protocol = Protocol(game.name, tuple(map(float, record["payoffs"])))  # type: ignore[arg-type]
    item = Item(protocol, tuple(record["beliefs"]) if stated else None)
    layouts = tuple(layout_of(page["layout"]) for page in record["pages"])
    pages = tuple(
        (converse(item, x, mode), x.wording, "reversed" if x.swapped[0] else "as listed")
        for x in layouts
    )
    points = ", ".join(
        f"{k} {number(v / UNIT)}" for k, v in zip("TRPS", protocol.payoffs, strict=True)
    )
    beliefs = ", ".join(number(b) for b in record["beliefs"])
    return Asked(
        game.name, f"{points}; beliefs {beliefs}", protocol.tables.strategies, pages, item, layouts
    )


def _menu(record: Mapping[str, Any], mode: Mode) -> Asked:
    menu = next(m for m in MENUS[record["battery"]] if m.id == record["id"])
    pages = []
    for fields in record["pages"]:
        page = MenuPage(
            int(fields["wording"]),
            tuple(fields["labels"]),
            tuple(fields["order"]),
            str(fields["rate"]),
            int(fields.get("scale", 1)),
        )
        order = "as listed" if page.order == tuple(range(menu.size)) else "reversed"
        pages.append((menu_conversation(menu, page, mode), f"wording {page.wording + 1}", order))
    if menu.own and menu.other and not menu.amounts:
        names = tuple(
            f"{number(m)} for oneself, {number(n)} for the other"
            for m, n in zip(menu.own, menu.other, strict=True)
        )
    else:
        names = tuple(number(a) for a in menu.amounts) or tuple(
            o.format("1", "2", "3", "4") for o in menu.options
        )
    return Asked(
        menu.battery,
        " or ".join(names) if menu.own and menu.size == 2 else menu.topic,
        names,
        tuple(pages),
    )


def shift(base: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Total variation between two distributions over the same options, 0 to 1; None where one of
    them is not known.
    """
    return (
        None
        if base is None or other is None or base.shape != other.shape
        else 0.5 * float(np.abs(base - other).sum())
    )


def read_run(run: Path) -> tuple[list[Mapping[str, Any]], bool]:
    """The records of a run, and whether its pages stated beliefs.

    What a line holds is checked where it is used: the file may be of another version.
    """
    records: list[Mapping[str, Any]] = [row for _, row in read_lines(choices_file(run))]
    about = choices_file(run).with_name("run.json")
    settings = (read_json(about) if about.is_file() else {}).get("settings", {})
    return records, not isinstance(settings, dict) or settings.get("beliefs", "given") == "given"


def problems(records: Iterable[Mapping[str, Any]], stated: bool = True) -> list[Entry]:
    """One entry for every problem in every set and mode, all conditions in it: what the page of
    transcripts is made of.
    """
    found: dict[tuple[str, str, str], Entry] = {}
    for record in records:
        key = (
            str(record.get("set") or record.get("battery", "")),
            str(record.get("mode", "")),
            str(record.get("id", "")),
        )
        if key not in found:
            asked = asked_of(record, stated)
            found[key] = {
                "id": plain(key[2]),
                "set": plain(key[0]),
                "mode": plain(key[1]),
                "game": asked.game,
                "what": asked.what,
                "names": list(asked.names),
                "pages": [
                    {"t": page_asked(talk), "w": wording, "o": order}
                    for talk, wording, order in asked.pages
                ],
                "arms": {},
            }
        found[key]["arms"][plain(str(record.get("arm", "")))] = _answer(
            record, [p["t"] for p in found[key]["pages"]]
        )
    return list(found.values())


def page_asked(talk: Conversation) -> str:
    """The page and what is asked on it, one question a line."""
    return "\n\n".join(
        [talk.page, *([talk.work] if talk.work else []), *(q.text for q in talk.questions)]
    )


def _answer(record: Mapping[str, Any], pages: list[str]) -> Shown:
    by_page = record["pages"] if record.get("game") in GAMES else []
    texts = [p.get("texts", []) for p in by_page] or record.get("texts") or [[] for _ in pages]
    marked = [
        [
            [plain(str(t)), [[m.start, m.end, m.kind] for m in marks(plain(str(t)), page)]]
            for t in several
        ]
        for several, page in zip(texts, pages, strict=True)
    ]
    valid = [float(np.mean(p["valid"])) for p in by_page] or record.get("valid_by_page", [])
    return {
        "p": rounded(record.get("probabilities")),
        "pp": [rounded(p.get("probabilities")) for p in by_page],
        "v": record.get("valid_answer_probability"),
        "pv": rounded(valid),
        "c": record.get("comprehension"),
        "s": record.get("steps") or [0, 0],
        "x": marked,
    }


def rounded(values: Any) -> list[float] | None:
    """Numbers with four digits, as the page shows them; None stays None."""
    return None if values is None else [float(f"{v:.4g}") for v in values]


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
    style, script = _beside("transcripts.css"), _beside("transcripts.js")
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
    entries, note = entries_of(config.folder)
    out = config.out or folder_of(config.folder) / NAME
    title = f"Transcripts of {config.folder.resolve().name}"
    text = document(entries, title, config.base, note)
    write_text(out, text)
    console.print(f"{out}: {len(entries)} problems, {len(text.encode()) / 1000:.0f} kB")
    return out


def main() -> None:
    """Entry point."""
    config = parse(TranscriptsConfig, program("python -m eval.transcripts"), __doc__)
    run(config, terminal(80))


if __name__ == "__main__":
    command(main)
