"""Moral dilemmas of autonomous vehicles: does an agent tuned on games judge sacrifices differently?

    python -m eval.dilemmas --adapter runs/moralis --adapter runs/placebo --prompted
    python -m eval.dilemmas --model qwen2.5-7b --battery conjoint --scenarios 2000 --out runs/base
    python -m eval.dilemmas --model smollm2-135m --samples 20 --replies sampled --out runs/read
    python -m eval.dilemmas --simulate kappa=0.7,lambda=4,age=0.3,number=0.4,habit=0.5 --out known

ratings: 210 cells (who rides and who you are, people saved, statement), the whole distribution over
0..100, scale up and down.  conjoint: scenarios on nine dimensions, each asked with groups and cases
exchanged; AMCEs with errors clustered by scenario, beside humans and beside agents that see nothing
(the floor).  Every figure stands beside the valid-answer probability (how likely a reply is a
letter or number as asked) and comprehension (how likely control questions are answered right).  A
condition that is valid with less than one half gets no figures.  Differences are taken to the base
and to every placebo among the adapters (trained on shuffled answers).  Writes ratings.jsonl,
conjoint.jsonl, scenarios.jsonl, summary.json, table.csv, figure.png and run.json; an interrupted
run continues when the command is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pandas as pd
from rich.console import Console

from econmoral.economics.human import moral_machine, reference
from econmoral.files.records import InputError, command
from econmoral.files.shown import grid
from econmoral.instruments.dilemmas import Scenario

from .conjoint import (
    CaseRecord,
    Conjoint,
    ConjointSummary,
    Effects,
    conjoint_summary,
    differences,
    effect_rows,
    null_agents,
    scenarios_of,
)
from .dilemma import AboutVehicles, number
from .estimate import Estimate
from .ratings import RatingRecord, Ratings, RatingSummary, rating_differences, rating_summary
from .ratings import rating_rows as rating_rows  # the report takes it from here
from .runner import Found, Instrument, Results, Survey, run_command
from .validity import ADVICE, OUTSIDE, percent


class Batteries(TypedDict, total=False):
    """What one condition did, in the batteries that it was asked."""

    conjoint: ConjointSummary
    ratings: RatingSummary


class DilemmaSummary(TypedDict):
    """Every condition, and what its numbers are read against."""

    arms: dict[str, Batteries]
    wordings: str
    replies: str
    placebos: list[str]
    scenarios: NotRequired[int]
    null_agents: NotRequired[dict[str, Effects]]
    humans: NotRequired[dict[str, dict[str, Any]]]


class Dilemmas(AboutVehicles, Survey):
    """Ratings and conjoint, in one load."""

    name = "dilemmas"

    def instruments(self) -> Sequence[Instrument[Any, Any]]:
        """Those batteries that are asked for."""
        known: dict[str, type[Instrument[Any, Any]]] = {"ratings": Ratings, "conjoint": Conjoint}
        return [known[name](self.config) for name in self.config.battery]

    def results(self, found: Found) -> Results:
        """Summary, table and figure."""
        return results(self, found)


class ConjointAlone(Conjoint):
    """The conjoint by itself, with the results of ``Dilemmas`` that has no other battery."""

    def results(self, found: Found) -> Results:
        """Summary, table and figure."""
        return results(self, found)


class RatingsAlone(Ratings):
    """The ratings by themselves, likewise."""

    def results(self, found: Found) -> Results:
        """Summary, table and figure."""
        return results(self, found)


def results(study: AboutVehicles, found: Found) -> Results:
    """Summary, table and figure of the batteries that were asked."""
    config, names = study.config, [c.name for c in study.conditions]
    summary: DilemmaSummary = {
        "arms": {name: {} for name in names},
        "wordings": config.wordings,
        "replies": config.replies,
        "placebos": study.placebos,
    }
    files: dict[str, Any] = {}
    cases: dict[str, list[CaseRecord]] = {}
    ratings: dict[str, list[RatingRecord]] = {}
    scenarios: list[Scenario] = []
    for instrument in found.instruments:
        files[f"{instrument.name}.jsonl"] = found.whole(instrument.name)
        if isinstance(instrument, Conjoint):
            scenarios = instrument.scenarios
            cases = {name: found.of(instrument, name, "direct") for name in names}
            for name, records in cases.items():
                told = conjoint_summary(scenarios, records, instrument.countries)
                summary["arms"][name]["conjoint"] = told
            summary["scenarios"] = len(scenarios)
            summary["null_agents"] = null_agents(scenarios)
            summary["humans"] = moral_machine()
        elif isinstance(instrument, Ratings):
            ratings = {name: found.of(instrument, name, "direct") for name in names}
            for name, rated in ratings.items():
                summary["arms"][name]["ratings"] = rating_summary(rated, study.targets)
    for name in names[1:]:
        add_differences(name, [names[0], *study.placebos], cases, ratings, summary, scenarios)
    files["scenarios.jsonl"] = map(asdict, scenarios or scenarios_of(config))
    rows = table_rows(summary)
    return Results(
        summary=summary,
        table=pd.DataFrame(rows),
        show=partial(show, summary),
        files=files,
        figures={"figure.png": partial(_draw, summary, ratings)},
        estimates=estimates(summary),
        records=[f"{instrument.name}.jsonl" for instrument in found.instruments],
    )


def add_differences(
    arm: str,
    references: Sequence[str],
    cases: Mapping[str, Sequence[CaseRecord]],
    ratings: Mapping[str, Sequence[RatingRecord]],
    summary: DilemmaSummary,
    scenarios: Sequence[Scenario],
) -> None:
    """Put into the summary of ``arm`` its differences to the base and to placebos, where both
    answer in the form."""
    others = [other for other in references if other != arm]
    mine = summary["arms"][arm]
    if "conjoint" in mine:
        mine["conjoint"]["minus"] = {
            other: differences(cases[arm], cases[other], scenarios)
            for other in others
            if not mine["conjoint"]["outside"] and not summary["arms"][other]["conjoint"]["outside"]
        }
    if "ratings" in mine:
        mine["ratings"]["minus"] = {
            other: rating_differences(ratings[arm], ratings[other])
            for other in others
            if not mine["ratings"]["outside"] and not summary["arms"][other]["ratings"]["outside"]
        }


def estimates(summary: DilemmaSummary) -> list[Estimate]:
    """AMCEs and mean ratings of every condition, one by one."""
    found = []
    for arm, batteries in summary["arms"].items():
        if "conjoint" in batteries:
            for d, v in batteries["conjoint"]["effects"].items():
                one = Estimate(f"AMCE {d}", v["value"], v["se"], int(v["n"]), condition=arm)
                found.append(one)
        if "ratings" in batteries:
            for q, s in batteries["ratings"]["questions"].items():
                mean = s["mean"]
                one = Estimate(f"rating {q}", mean["value"], mean["se"], 35, condition=arm)
                found.append(one)
    return found


def conjoint_rows(summary: DilemmaSummary) -> list[dict[str, str]]:
    """The conjoint part of the table."""
    arms = {a: s["conjoint"] for a, s in summary["arms"].items() if "conjoint" in s}
    return effect_rows(arms, summary.get("null_agents", {}))


def difference_rows(summary: DilemmaSummary) -> list[dict[str, str]]:
    """AMCEs and mean ratings of every condition minus those of the base and of every placebo."""
    rows: dict[str, dict[str, str]] = {}

    def add(arm: str, measure: str, cell: str) -> None:
        rows.setdefault(measure, {"measure": measure})[arm] = cell

    for arm, batteries in summary["arms"].items():
        if "conjoint" in batteries:
            for other, effects in batteries["conjoint"].get("minus", {}).items():
                for name, gap in effects.items():
                    add(arm, f"AMCE {name}, minus {other}", number(gap, 2))
        if "ratings" in batteries:
            for other, means in batteries["ratings"].get("minus", {}).items():
                for name, mean in means.items():
                    add(arm, f"rating: {name}, minus {other}", number(mean, 0))
    return list(rows.values())


def table_rows(summary: DilemmaSummary) -> list[dict[str, str]]:
    """The whole table."""
    rated = {a: s["ratings"] for a, s in summary["arms"].items() if "ratings" in s}
    rows = conjoint_rows(summary) if "null_agents" in summary else []
    return rows + (rating_rows(rated) if rated else []) + difference_rows(summary)


def show(summary: DilemmaSummary, console: Console) -> None:
    """Print the tables."""
    if "null_agents" in summary:
        title = "conjoint: change in the probability of being spared"
        print_rows(
            conjoint_rows(summary),
            f"{title} (± one standard error, clustered by scenario)",
            console,
        )
    if rated := {a: s["ratings"] for a, s in summary["arms"].items() if "ratings" in s}:
        title = "ratings, 0 to 100 (± one standard error, clustered by scene and people saved)"
        print_rows(rating_rows(rated), title, console)
        for row in reference("autonomous vehicles").itertuples():
            console.print(
                f"  humans: {row.statistic}: {row.value:g} ({row.source}, {row.status})",
                highlight=False,
            )
    if more := difference_rows(summary):
        title = "differences between conditions on the same pages"
        print_rows(more, f"{title} (± one standard error, clustered as above)", console)
    for arm, batteries in summary["arms"].items():
        for battery, found in batteries.items():
            assert isinstance(found, dict)
            if found["outside"]:
                share = percent(found["valid_answer_probability"])
                console.print(
                    f"{arm}, {battery}: {OUTSIDE} (valid-answer probability {share}); {ADVICE}",
                    highlight=False,
                )


def print_rows(rows: Sequence[Mapping[str, str]], title: str, console: Console) -> None:
    """Print rows of text."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    header = ["" if c == "measure" else c for c in columns]
    cells = [[row.get(c, "") for c in columns] for row in rows]
    console.print(grid(header, cells, title, left=[""]))


def _draw(
    summary: DilemmaSummary, ratings: Mapping[str, Sequence[RatingRecord]], path: Path
) -> None:
    from .dilemmas_figure import draw  # matplotlib takes a second to load

    arms = summary["arms"]
    effects = {a: s["conjoint"] for a, s in arms.items() if "conjoint" in s}
    inside = {a: r for a, r in ratings.items() if not arms[a]["ratings"]["outside"]}
    if not inside and not effects:
        raise InputError("no condition answers in the form")
    draw(effects, inside, path)


def main() -> None:
    """Entry point."""
    run_command(Dilemmas, __doc__)


if __name__ == "__main__":
    command(main)
