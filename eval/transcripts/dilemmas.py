"""Records of dilemmas as entries of the page of transcripts: accidents, and statements rated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.files.records import InputError, plain, read_json, read_lines
from econmoral.instruments.dilemmas import (
    QUESTIONS,
    CasePage,
    Rating,
    Scenario,
    case_pages,
    groups_on,
    rating_conversation,
    scenario_conversation,
)
from econmoral.target import Target
from econmoral.text.conversation import Conversation

from ..conditions import told_conditions
from ..conjoint import read_scenarios
from ..resume import prompt_hash
from .entries import Entry, Page, page_asked, rounded

CLASS = 10  # degrees of agreement, of a hundred, that are shown as one
WAYS = {False: "scale upwards", True: "scale downwards"}
LIGHTS = {None: "on the road", True: "at a green light", False: "at a red light"}


def dilemmas(folder: Path) -> list[Entry]:
    """One entry for every accident on paper (a scenario with its groups as drawn, or exchanged) and
    for every statement that was rated.

    A base that is told of a target reads a system message besides, which is not shown.  Raises
    InputError where a page that is written again is not the one that was asked.
    """
    told = told_conditions([Target.parse(t) for t in _settings(folder).get("targets", [])])
    systems = {condition.name: condition.system for condition in told}
    return [*_accidents(folder, systems), *_statements(folder, systems)]


def _settings(folder: Path) -> dict[str, Any]:
    about = folder / "run.json"
    return dict(read_json(about)["settings"]) if about.is_file() else {}


def _accidents(folder: Path, systems: Mapping[str, str | None]) -> list[Entry]:
    path, found = folder / "conjoint.jsonl", dict[str, Entry]()
    scenarios = read_scenarios(folder / "scenarios.jsonl") if path.is_file() else []
    for _, record in read_lines(path) if path.is_file() else ():
        place, (a, b) = int(record["scenario"]), record["labels"]
        scenario, pages = scenarios[place], case_pages(int(record["wording"]), (a, b))
        system = systems.get(record["arm"])
        _check(record, [scenario_conversation(scenario, page, system) for page in pages])
        for swapped in (False, True):
            some = [k for k, page in enumerate(pages) if page.swapped == swapped]
            name = f"scenario {place}{', groups exchanged' if swapped else ''}"
            if name not in found:
                names = _spared(scenario, pages[some[0]])
                asked = [
                    _page(
                        scenario_conversation(scenario, pages[k]),
                        record,
                        "reversed" if pages[k].reverse else "as listed",
                    )
                    for k in some
                ]
                found[name] = {
                    "id": name,
                    "set": "conjoint",
                    "mode": "direct",
                    "game": scenario.attribute,
                    "what": " or ".join(names),
                    "names": names,
                    "pages": asked,
                    "arms": {},
                }
            shares = [record["spared"][k] for k in some]
            by_page = [None if p is None else [p, 1 - p] for p in shares]
            read = [row for row in by_page if row is not None]
            mean = [float(v) for v in np.mean(read, axis=0)] if read else None
            texts = [record["texts"][k] for k in some]
            _answered(found[name], record, mean, by_page, texts)
    return list(found.values())


def _spared(scenario: Scenario, page: CasePage) -> list[str]:
    """What happens in words: whoever is on side 0 is spared, or whoever is on side 1."""
    found = []
    for side, group in enumerate(groups_on(scenario, page)):
        place = "inside the car" if scenario.riders == side else LIGHTS[scenario.lawful[side]]
        people = ", ".join(f"{n} {kind}" for kind, n in Counter(group).items())
        found.append(f"{people} ({place}) spared")
    return found


def _statements(folder: Path, systems: Mapping[str, str | None]) -> list[Entry]:
    path, found = folder / "ratings.jsonl", dict[str, Entry]()
    starts = range(0, 100, CLASS)
    for _, record in read_lines(path) if path.is_file() else ():
        cell = Rating(record["scene"], int(record["saved"]), record["question"])
        wording, system = int(record["wording"]), systems.get(record["arm"])
        _check(record, [rating_conversation(cell, down, wording, system) for down in WAYS])
        name = f"{cell.question}, {cell.scene}, {cell.saved} saved"
        if name not in found:
            found[name] = {
                "id": name,
                "set": "ratings",
                "mode": "direct",
                "game": cell.question,
                "what": QUESTIONS[cell.question],
                # the last class has 100 too
                "names": [f"{k} to {k + CLASS - (k + CLASS < 100)}" for k in starts],
                "pages": [
                    _page(rating_conversation(cell, down, wording), record, way)
                    for down, way in WAYS.items()
                ],
                "arms": {},
            }
        p = record["probabilities"]
        if p is not None:
            shares = [sum(p[k : k + CLASS]) for k in starts]
            p = [*shares[:-1], shares[-1] + p[100]]
        _answered(found[name], record, p, [], record["texts"])
    return list(found.values())


def _check(record: Mapping[str, Any], asked: list[Conversation]) -> None:
    if record.get("prompt_hash") not in (None, prompt_hash(asked)):
        raise InputError("the pages of this run were worded differently; measure it again")


def _page(talk: Conversation, record: Mapping[str, Any], order: str) -> Page:
    return {"t": page_asked(talk), "w": f"wording {int(record['wording']) + 1}", "o": order}


def _answered(
    entry: Entry,
    record: Mapping[str, Any],
    p: list[float] | None,
    by_page: list[list[float] | None],
    texts: Sequence[Sequence[str]],
) -> None:
    """Put a condition's answers into an entry.  Replies are no derivations: nothing is marked."""
    entry["arms"][plain(str(record["arm"]))] = {
        "p": rounded(p),
        "pp": [rounded(row) for row in by_page],
        "v": record["valid_answer_probability"],
        "pv": [],
        "c": record["comprehension"],
        "s": [0, 0],
        "x": [[[plain(str(t)), []] for t in several] for several in texts],
    }
