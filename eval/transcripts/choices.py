"""Records of games and of one-page decisions as entries of the page of transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.economics.games import GAMES, UNIT, Protocol
from econmoral.files.records import InputError, plain, read_lines, read_object
from econmoral.instruments.games import Item, Layout, converse, layout_of
from econmoral.instruments.menus import MENUS, MenuPage, menu_conversation
from econmoral.target import number
from econmoral.text.conversation import Conversation, Mode

from .entries import Entry, Shown, choices_file, marks, page_asked, rounded


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
    settings = read_object(choices_file(run).with_name("run.json")).get("settings", {})
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
