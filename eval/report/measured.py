"""What measurements lie in a folder, and what every adapter in them was trained on,
as its record says and never its name.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import pandas as pd

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.files.records import (
    InputError,
    read_json,
    read_lines,
    read_object,
    read_whole_lines,
    sha256,
)
from econmoral.target import Target

from ..conditions import adapter_record
from ..measure import GameRecord
from ..table import GameSummary
from ..validity import percent

# what an adapter's run.json, of any version, says of its training (conditions.Training)
Record = Mapping[str, object]
BASE = "base"  # the untuned model: eval reserves the word, and no adapter may bear it
OWN_BEST = "own-payoff best"  # the rule that maximises own payoff, of eval.table
RULE = "rule"  # the mode of rules
# what a study measures on games, and where measurements lie in a folder: parts of the format, not
# names of runs
DESIGNS = ("placebo", "prompted", "dial", "dose", "transfer", "persistence")
PLACES = (
    "eval",
    "games",
    "games-direct",
    "games-training-wordings",
    "games-balanced",
    "allocations",
    "allocations-direct",
    "bfs39",
    "bfs39-direct",
    "menus",
    "spillover",
    "curve",
    "seeds",
    "dilemmas",
    "pricing",
    "retention",
)
# the files of a finished measurement
SIGNS = {
    "dilemmas": ("scenarios.jsonl", "summary.json"),
    "pricing": ("periods.jsonl", "summary.json", "table.csv"),
    **{name: (f"{name}.json",) for name in ("calibration", "retention", "compare", "parity")},
}
OTHER = "other"  # an instrument of the user's own, or one battery by itself


@dataclass(frozen=True)
class Games:
    """A folder of eval.games: its rows, and what every adapter in it was trained on."""

    folder: Path
    rows: list[GameSummary]
    trained: dict[str, Record]

    @staticmethod
    def read(folder: Path) -> Games:
        """Raises InputError for a folder that today's eval.games did not write."""
        rows = read_json(folder / "summary.json")
        needed = {"arm", "set", "mode", "outside", "valid_answer_probability", "targets"}
        if (
            not isinstance(rows, list)
            or not rows
            or not all(isinstance(r, dict) and needed <= set(r) for r in rows)
            or not all(r["outside"] or "fits" in r for r in rows)
        ):
            raise InputError(
                f"{folder / 'summary.json'} is not what eval.games writes today; measure again"
            )
        return Games(folder, restored(rows), trained_on(folder))

    @property
    def targets(self) -> list[Target]:
        """What agreement was computed with."""
        return [Target.parse(t) for t in dict.fromkeys(t for r in self.rows for t in r["targets"])]

    @property
    def sets(self) -> list[str]:
        """The sets, in the order in which they were measured."""
        return list(dict.fromkeys(r["set"] for r in self.rows))

    @property
    def modes(self) -> list[str]:
        """The modes of models and choosers."""
        return list(dict.fromkeys(r["mode"] for r in self.rows if r["mode"] != RULE))

    @property
    def main(self) -> tuple[str, str]:
        """(set, mode) that claims are about: held-out payoffs, reasoned, where there are such."""
        return ("payoffs" if "payoffs" in self.sets else self.sets[0]), (
            "reasoned" if "reasoned" in self.modes else self.modes[0]
        )

    def row(self, arm: str) -> GameSummary | None:
        """The row of an arm or rule that claims are about, unless it answers outside the form."""
        held, mode = self.main
        return next(
            (
                r
                for r in self.rows
                if r["arm"] == arm
                and r["set"] == held
                and r["mode"] in (mode, RULE)
                and not r["outside"]
            ),
            None,
        )

    def target(self, arm: str) -> Target | None:
        """What an adapter was trained toward; None of the base,
        of placebos and of adapters between two others.
        """
        return target_of(self.trained.get(arm, {}))

    @property
    def tuned(self) -> dict[str, Target]:
        """Adapters that were trained toward a target, and which."""
        return {arm: target for arm in self.trained if (target := self.target(arm))}

    @property
    def placebos(self) -> list[str]:
        """The adapters trained on shuffled answers."""
        return [arm for arm, record in self.trained.items() if record.get("shuffled")]

    def inside(self) -> list[GameSummary]:
        """Rows of models and choosers that answer in the form."""
        return [r for r in self.rows if r["mode"] != RULE and not r["outside"]]

    def answered(self) -> list[GameRecord]:
        """Records that were answered, of arms that answer in the form."""
        kept = {(r["set"], r["mode"], r["arm"]) for r in self.inside()}
        every = (r for _, r in read_lines(self.folder / "choices.jsonl"))
        return [
            cast(GameRecord, r)
            for r in every
            if r.get("probabilities") is not None
            and (r.get("set"), r.get("mode"), r.get("arm")) in kept
        ]

    def left_out(self) -> str:
        """A sentence that names the arms without figures; empty where there are none."""
        found: dict[str, float] = {}
        for r in self.rows:
            if r["outside"]:
                found[r["arm"]] = min(
                    found.get(r["arm"], 1.0), r["valid_answer_probability"] or 0.0
                )
        names = ", ".join(
            f"{arm} (valid-answer probability {percent(v)})" for arm, v in found.items()
        )
        return (
            f"Without figures, for lack of answers in the form that was asked for: {names}."
            if names
            else ""
        )


def restored(value: Any) -> Any:
    """A summary as it was before it became JSON: standard errors and bounds
    that are no numbers are nan again.
    """
    if isinstance(value, list):
        return [restored(v) for v in value]
    if not isinstance(value, dict):
        return value
    found = {k: np.nan if k == "se" and v is None else restored(v) for k, v in value.items()}
    if isinstance(bounds := found.get("bounds"), dict):
        found["bounds"] = {
            k: [np.nan if x is None else x for x in v] if isinstance(v, list) else None
            for k, v in bounds.items()
        }
    return found


def trained_on(folder: Path) -> dict[str, Record]:
    """Adapter -> what it was trained on, from a measurement's run.json.

    Where that lacks it, from the adapters' own folders.
    """
    run = read_object(folder / "run.json")
    if isinstance(known := run.get("adapters"), dict):
        return {str(name): record for name, record in known.items() if isinstance(record, dict)}
    inputs = found if isinstance(found := run.get("inputs"), dict) else {}
    paths = {
        name: Path(str(v["path"]))
        for name, v in inputs.items()
        if isinstance(v, dict) and "path" in v
    }
    return {
        name: adapter_record(path.parent) for name, path in paths.items() if path.name == WEIGHTS
    }


def target_of(record: Record) -> Target | None:
    """The target of an adapter that was trained toward one; None of a placebo,
    and where nothing is known.
    """
    named = record.get("target")
    if record.get("shuffled") or not isinstance(named, str):
        return None
    try:
        return Target.parse(named)
    except InputError:  # of a version that had other families
        return None


def nominal_kappa(record: Record) -> float | None:
    """The degree of morality that an adapter stands for, trained or between two that were;
    None without one.
    """

    def of(named: Any) -> float | None:
        target = target_of({"target": named})
        return (
            target.kappa
            if target and target.family in ("homo_economicus", "homo_moralis")
            else None
        )

    ends, share = record.get("ends"), record.get("share")
    if isinstance(ends, list) and len(ends) == 2 and isinstance(share, int | float):
        low, high = map(of, ends)
        return None if low is None or high is None else (1 - share) * low + share * high
    return None if record.get("shuffled") else of(record.get("target"))


def kappa_of(row: GameSummary) -> tuple[float, float] | None:
    """(kappa, SE) of homo moralis alone.

    The middle and half the width of the bounds of a deterministic chooser.
    """
    found = row["fits"]["homo_moralis"].get("estimates")
    if found:
        return found["kappa"]["value"], found["kappa"]["se"]
    bounds = (row["fits"]["homo_moralis"].get("bounds") or {}).get("kappa")
    return (
        ((bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2)
        if bounds and np.isfinite(bounds).all()
        else None
    )


Summary = TypeVar("Summary")


@dataclass(frozen=True)
class Application(Generic[Summary]):
    """The summary of an application, and what every adapter in it was trained on."""

    summary: Summary
    trained: dict[str, Record]

    def pairs(self) -> list[tuple[str, str]]:
        """Adapters of different targets, two by two; of each target the first one."""
        first: dict[Target, str] = {}
        for arm, record in self.trained.items():
            if target := target_of(record):
                first.setdefault(target, arm)
        return list(itertools.combinations(first.values(), 2))


def superseded(found: Any, folder: Path) -> bool:
    """Whether files that a result was computed from have changed since, by the hashes that it
    records.  A file that is not where it was counts as unchanged, but for the only one, which is
    looked for beside the result.
    """
    inputs = found.get("inputs") if isinstance(found, dict) else None
    inputs = inputs if isinstance(inputs, dict) else {}
    for about in inputs.values():
        path = Path(str(about["path"]))
        here = path if path.is_file() or len(inputs) > 1 else folder / path.name
        if here.is_file() and sha256(here) != about["sha256"]:
            return True
    return False


def kinds_of(folder: Path) -> list[str]:
    """What finished measurements lie in a folder itself."""
    found = []
    if all((folder / file).is_file() for file in ("run.json", "summary.json", "choices.jsonl")):
        first = next(iter(read_lines(folder / "choices.jsonl")))[1]
        found.append("games" if "game" in first else "menus" if "battery" in first else OTHER)
    return found + [
        name for name, files in SIGNS.items() if all((folder / file).is_file() for file in files)
    ]


def measurements(folder: Path) -> list[tuple[str, Path]]:
    """(kind, place) of everything measured in a folder: in itself, in its parts,
    and in the designs of a study.
    """
    places = [
        folder,
        *(folder / name for name in PLACES),
        *(folder / "games" / name for name in DESIGNS),
    ]
    return [(kind, place) for place in places if place.is_dir() for kind in kinds_of(place)]


def model_of(study: Record, found: list[tuple[str, Path]]) -> str:
    """What was tuned or measured, for the title; empty for choosers and scripted firms."""
    plan = study.get("plan")
    named = study.get("name") or study.get("model")
    named = named or (plan.get("model") if isinstance(plan, dict) else None)
    for _, place in found:
        settings = read_object(place / "run.json").get("settings")
        named = named or (
            settings.get("model")
            if isinstance(settings, dict) and not settings.get("simulate")
            else None
        )
    named = str(named or "")
    return Path(named).name if Path(named).is_dir() else named


def read_cost(folder: Path) -> pd.DataFrame:
    """Columns cell, program, seconds, tokens (nan: none went through a model), gpu_hours:
    sums over every attempt at a cell.
    """
    rows = read_whole_lines(folder / "cells.jsonl")
    columns = ("seconds", "tokens", "gpu_hours")
    frame = pd.DataFrame(
        [{k: row.get(k) for k in ("cell", *columns)} for row in rows], columns=["cell", *columns]
    )
    frame = (
        frame.astype(dict.fromkeys(columns, float))
        .groupby("cell", sort=False)
        .sum(min_count=1)
        .reset_index()
    )
    programs = {str(row.get("cell")): program(row.get("command")) for row in rows}
    frame.insert(1, "program", [programs.get(str(name), "") for name in frame["cell"]])
    return frame


def program(command: Any) -> str:
    """``sft`` of a cell's command ``-m econmoral sft ...``; of the older ``recipes/sft.py ...``
    too; empty where it is not known.
    """
    words = (
        [str(w) for w in command if w not in ("-m", "econmoral")]
        if isinstance(command, list)
        else []
    )
    if not words:
        return ""
    file = Path(words[0])
    return file.stem if file.suffix == ".py" else file.name
