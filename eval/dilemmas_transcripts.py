"""Records of dilemmas as entries of the page of transcripts: accidents, and statements rated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.conversation import Conversation
from econmoral.dilemmas import (
    QUESTIONS,
    CasePage,
    Rating,
    Scenario,
    case_pages,
    groups_on,
    rating_conversation,
    scenario_conversation,
)
from econmoral.records import InputError, plain, read_lines

from .conjoint import read_scenarios
from .resume import prompt_hash
from .transcripts import page_asked, rounded

CLASS = 10  # degrees of agreement, of a hundred, that are shown as one


def dilemmas(folder: Path) -> list[dict[str, Any]]:
    """One entry for every accident on paper (a scenario with its groups as drawn, or exchanged) and
    for every statement that was rated, in the form of ``problems``.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    if (folder / "conjoint.jsonl").is_file():
        scenarios = read_scenarios(folder / "scenarios.jsonl")
        for _, record in read_lines(folder / "conjoint.jsonl"):
            place = int(record["scenario"])
            scenario, labels = scenarios[place], tuple(record["labels"])
            pages = case_pages(int(record["wording"]), labels)
            talks = [scenario_conversation(scenario, page) for page in pages]
            _as_asked(record, talks)
            for swapped in (False, True):
                some = [k for k, page in enumerate(pages) if page.swapped == swapped]
                one = (f"scenario {place}{', groups exchanged' if swapped else ''}", "conjoint")
                if one not in found:
                    asked = [
                        (talks[k], "reversed" if pages[k].reverse else "as listed") for k in some
                    ]
                    names = _accident(scenario, pages[some[0]])
                    found[one] = _entry(one, scenario.attribute, " or ".join(names), names, asked)
                    for page in found[one]["pages"]:
                        page["w"] = f"wording {int(record['wording']) + 1}"
                spared = [record["spared"][k] for k in some]
                by_page = [None if p is None else [p, 1 - p] for p in spared]
                _answered(found[one], record, by_page, [record["texts"][k] for k in some])
    if (folder / "ratings.jsonl").is_file():
        classes = tuple(f"{k} to {k + CLASS - 1 if k < 90 else 100}" for k in range(0, 100, CLASS))
        for _, record in read_lines(folder / "ratings.jsonl"):
            cell = Rating(record["scene"], int(record["saved"]), record["question"])
            ways = ((False, "scale upwards"), (True, "scale downwards"))
            talks = [rating_conversation(cell, down, int(record["wording"])) for down, _ in ways]
            _as_asked(record, talks)
            one = (f"{cell.question}, {cell.scene}, {cell.saved} saved", "ratings")
            if one not in found:
                asked = [(talk, way) for talk, (_, way) in zip(talks, ways, strict=True)]
                found[one] = _entry(one, cell.question, QUESTIONS[cell.question], classes, asked)
                for page in found[one]["pages"]:
                    page["w"] = f"wording {int(record['wording']) + 1}"
            p = record["probabilities"]
            if p is not None:
                first = [sum(p[k : k + CLASS]) for k in range(0, 100, CLASS)]
                p = [*first[:-1], first[-1] + p[100]]
            _answered(found[one], record, [], record["texts"], p)
    return list(found.values())


def _accident(scenario: Scenario, page: CasePage) -> tuple[str, str]:
    """What happens in words: whoever is on side 0 is spared, or whoever is on side 1."""
    found = []
    for side, group in enumerate(groups_on(scenario, page)):
        light = {None: "on the road", True: "at a green light", False: "at a red light"}
        place = "inside the car" if scenario.riders == side else light[scenario.lawful[side]]
        people = ", ".join(f"{n} {kind}" for kind, n in Counter(group).items())
        found.append(f"{people} ({place}) spared")
    return found[0], found[1]


def _as_asked(record: dict[str, Any], talks: list[Conversation]) -> None:
    """Raises InputError where a page that is written again is not the one that was asked.

    The base that is told of a target reads a system message besides: that is not shown.
    """
    known, told = record.get("prompt_hash"), str(record["arm"]).startswith("base, told ")
    if known is not None and not told and known != prompt_hash(talks):
        raise InputError("the pages of this run were worded differently; measure it again")


def _entry(
    one: tuple[str, str],
    game: str,
    what: str,
    names: tuple[str, ...],
    asked: list[tuple[Conversation, str]],
) -> dict[str, Any]:
    pages = [{"t": page_asked(talk), "w": "", "o": order} for talk, order in asked]
    found = {"id": one[0], "set": one[1], "mode": "direct", "game": game, "what": what}
    return found | {"names": list(names), "pages": pages, "arms": {}}


def _answered(
    entry: dict[str, Any],
    record: dict[str, Any],
    by_page: list[list[float] | None],
    texts: list[list[str]],
    p: list[float] | None = None,
) -> None:
    """Put a condition's answers into an entry; ``p`` is the mean over pages where not given."""
    read = [row for row in by_page if row is not None]
    p = p if p is not None or not read else [float(v) for v in np.mean(read, axis=0)]
    entry["arms"][plain(str(record["arm"]))] = {
        "p": rounded(p),
        "pp": [rounded(row) for row in by_page],
        "v": record["valid_answer_probability"],
        "pv": [],
        "c": record["comprehension"],
        "s": [0, 0],
        "x": [[[plain(str(t)), []] for t in several] for several in texts],
    }
