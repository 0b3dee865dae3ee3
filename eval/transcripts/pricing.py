"""Records of price competition as entries of the page of transcripts: every price, as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.economics.firms import SCRIPTED
from econmoral.files.records import InputError, plain, read_json, read_lines
from econmoral.target import number
from econmoral.text.conversation import Conversation, Message

from ..conditions import adapter_names
from ..engines.base import Answer, Condition, Request
from ..markets import Rules, Simulation
from ..pricing import meetings_of, told
from ..resume import prompt_hash
from .entries import Entry, page_asked

MOST = 2000  # prices that are shown: more would take a browser seconds


class _Asked:
    """An engine that keeps what it is asked; what it answers is of no account."""

    def __init__(self) -> None:
        self.pages: dict[str, list[Conversation | list[Message]]] = {}

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        self.pages[condition.name] = [r.conversation for r in requests]
        sizes = [len(r.conversation.questions[0].options) for r in requests]
        return [Answer.certain(np.full(n, 1 / n), r) for n, r in zip(sizes, requests, strict=True)]

    def write(
        self, conversations: Sequence[list[Message]], condition: Condition, seed: int
    ) -> list[str]:
        self.pages[condition.name] = list(conversations)
        return ["PRICE: 1"] * len(conversations)


def prices(folder: Path) -> tuple[list[Entry], str]:
    """One entry for every price that a model named, market by market; and
    which periods are left out of a long simulation.

    A page follows from the prices before it: the simulation is run again up to each period, and
    what its firms are asked is held against the hash of what they were asked.
    """
    settings = read_json(folder / "run.json")["settings"]
    rows = [row for _, row in read_lines(folder / "periods.jsonl")]
    agents = _agents(settings)
    talking = {a: told(a) or Condition(a) for a in agents if a not in SCRIPTED}
    names = ("protocol", "prefix", "wordings", "samples", "seed")
    rules = Rules(**{name: settings[name] for name in names})
    firms, currencies, runs = (settings[name] for name in ("firms", "currency", "runs"))
    which = settings.get("pairings", "all")  # older runs do not say it
    meetings = meetings_of(agents, firms, currencies, runs, which)
    each = sum(len(v) for v in rows[0].get("quality", {}).values())
    if not each:
        raise InputError(f"{folder}: no firm of these markets is a language model")
    n = min(len(rows), max(2, MOST // each))
    shown = np.unique(np.linspace(0, len(rows) - 1, n).round().astype(int))
    found = []
    for t in map(int, shown):
        asked = _Asked()
        Simulation(meetings, rules, asked, talking, periods=rows[:t]).run(t + 1)  # type: ignore[arg-type]
        for agent, answers in rows[t]["quality"].items():
            firms = [(m, k) for m in meetings for k, a in enumerate(m.agents) if a == agent]
            for (meeting, firm), page, answer in zip(
                firms, asked.pages[agent], answers, strict=True
            ):
                if answer.get("prompt_hash") not in (None, prompt_hash([page])):
                    raise InputError("the pages of this run were worded differently; play it again")
                charged = rows[t]["prices"][meeting.number]
                others = ", ".join(number(round(p, 2)) for k, p in enumerate(charged) if k != firm)
                talk = page if isinstance(page, Conversation) else None
                text = page_asked(talk) if talk else str(page[-1]["content"])  # type: ignore[index]
                said = f"price {number(round(charged[firm], 2))}"
                one: Entry = {
                    "id": f"market {meeting.number + 1}, period {t + 1}, firm {firm + 1}",
                    "set": f"market {meeting.number + 1}",
                    "mode": rules.protocol,
                    "game": plain(meeting.name),
                    "what": f"{said}; others {others}" if others else said,
                    "names": [],
                    "pages": [{"t": plain(text), "w": rules.wordings, "o": "as listed"}],
                    "arms": {},
                }
                written = [[plain(str(t)), []] for t in answer["texts"]]
                one["arms"] = {
                    plain(agent): {
                        "p": None,
                        "pp": [],
                        "a": said,
                        "v": answer["valid_answer_probability"],
                        "pv": [],
                        "c": answer["comprehension"],
                        "s": [0, 0],
                        "x": [written],
                    }
                }
                found.append((meeting.number, t, firm, one))
    note = "" if n == len(rows) else f"{len(shown)} of {len(rows)} periods, evenly spaced."
    return [one for *_, one in sorted(found, key=lambda f: f[:3])], note


def _agents(settings: dict[str, Any]) -> list[str]:
    """Names of the agents of a simulation, as its tables give them."""
    spoken = [a for a in settings["agents"] if a in (*SCRIPTED, "base") or told(a)]
    loaded = [Path(a) for a in settings["agents"] if a not in spoken]
    folders = list(dict.fromkeys([*map(Path, settings["adapter"]), *loaded]))
    names = {folder: name for name, folder in adapter_names(folders).items()}
    found = [a if a in spoken else names[Path(a)] for a in settings["agents"]]
    return list(dict.fromkeys([*found, *names.values()]))
