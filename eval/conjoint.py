"""Whom an autonomous vehicle spares: a conjoint experiment on nine dimensions.

    python -m eval.dilemmas --battery conjoint --model qwen2.5-7b --scenarios 2000 --out conjoint

Every scenario is asked on four pages, with groups and cases exchanged.  Average marginal component
effects (AMCEs) with errors clustered by scenario, beside humans and beside agents that see nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from econmoral.economics.human import moral_machine
from econmoral.files.records import InputError, plain, read_lines
from econmoral.files.sheet import read_sheet
from econmoral.instruments.dilemmas import (
    DIMENSIONS,
    NULLS,
    PAGES,
    Scenario,
    amce,
    case_pages,
    code,
    draw_labels,
    draw_scenarios,
    read_scenario,
    scenario_conversation,
    share_spared,
)
from econmoral.text.conversation import Mode
from econmoral.text.replies import Outcome

from .dilemma import WORDINGS, Dilemma, DilemmasConfig, number, shares, validity_rows
from .engines.base import Answer, Condition, Request
from .validity import OUTSIDE, overall, quality

Case = tuple[int, Scenario, int, tuple[str, str]]  # number, scenario, wording, letters of the cases
Effects = dict[str, dict[str, float]]  # dimension -> value, se, n


class CaseRecord(TypedDict):
    """What one condition did in one scenario.

    spared : probability that side 0 is spared on each of the four pages, None where nothing was
    read.  first_case : mean probability of the case that is named first.
    """

    scenario: int
    wording: int
    labels: list[str]
    arm: str
    spared: list[float | None]
    first_case: float | None
    valid_answer_probability: float
    comprehension: float | None
    texts: list[list[str]]
    outcomes: dict[Outcome, int]
    prompt_hash: NotRequired[str]


class Near(TypedDict):
    """A country and the mean distance of its AMCEs."""

    country: str
    distance: float


class ConjointSummary(TypedDict):
    """One condition.  ``minus``: baseline -> dimension -> difference of AMCEs."""

    valid_answer_probability: float
    comprehension: float | None
    outcomes: dict[Outcome, int]
    outside: bool
    effects: Effects
    first_case: float | None
    distance_to_humans: float | None
    nearest_countries: list[Near]
    minus: NotRequired[dict[str, Effects]]


class Conjoint(Dilemma[Case, CaseRecord]):
    """Scenarios, each on four pages."""

    name = "conjoint"

    def __init__(self, config: DilemmasConfig) -> None:
        super().__init__(config)
        self.scenarios = scenarios_of(config)
        self.countries = read_countries(config.countries) if config.countries else {}

    def draw(self) -> list[Case]:
        """Every scenario with a wording and two letters.

        Scenarios that are read from a file get the pages that they would have got when drawn.
        """
        rng = np.random.default_rng([self.config.seed, 8])
        return conjoint_items(self.scenarios, WORDINGS[self.config.wordings], rng)

    def requests(self, item: Case, condition: Condition, mode: Mode) -> list[Request]:
        """Four pages."""
        return conjoint_requests(item, condition, self.config.samples)

    def record(
        self,
        item: Case,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> CaseRecord:
        """Who is spared on each page."""
        return case_record(item, condition, answers)


def scenarios_of(config: DilemmasConfig) -> list[Scenario]:
    """Those of a file, or drawn ones."""
    if config.read is not None:
        return read_scenarios(config.read)
    return draw_scenarios(config.scenarios, np.random.default_rng([config.seed, 7]))


def conjoint_items(
    scenarios: Sequence[Scenario], wordings: tuple[int, ...], rng: np.random.Generator
) -> list[Case]:
    """Every scenario with a wording and two letters."""
    drawn = rng.integers(len(wordings), size=len(scenarios))
    return [
        (i, s, wordings[w], draw_labels(rng))
        for i, (s, w) in enumerate(zip(scenarios, drawn, strict=True))
    ]


def conjoint_requests(item: Case, condition: Condition, samples: int = 1) -> list[Request]:
    """Four pages, in the order of ``PAGES``."""
    _, scenario, wording, labels = item
    return [
        Request(scenario_conversation(scenario, page, condition.system), scenario, page, samples)
        for page in case_pages(wording, labels)
    ]


def case_record(item: Case, condition: Condition, answers: Sequence[Answer]) -> CaseRecord:
    """Probability that side 0 is spared on each of the four pages."""
    place, _, wording, labels = item
    read = [shares(a) for a in answers]
    first = [float(p[0]) for p in read if p is not None]
    spared = [
        None if p is None else share_spared(p, page)
        for p, page in zip(read, case_pages(wording, labels), strict=True)
    ]
    return {
        "scenario": place,
        "wording": wording,
        "labels": list(labels),
        "arm": condition.name,
        "spared": spared,
        "first_case": float(np.mean(first)) if first else None,
        **quality(answers),  # type: ignore[typeddict-item]
    }


def spared_matrix(records: Sequence[CaseRecord]) -> np.ndarray:
    """(n, 4) with nan where no reply was read."""
    return np.array([[np.nan if v is None else v for v in r["spared"]] for r in records])


def distance(effects: Effects, other: Mapping[str, float]) -> float | None:
    """Mean absolute difference over the dimensions both have; None without any."""
    gaps = [abs(effects[d]["value"] - v) for d, v in other.items() if d in effects]
    return float(np.mean(gaps)) if gaps else None


def conjoint_summary(
    scenarios: Sequence[Scenario],
    records: Sequence[CaseRecord],
    countries: Mapping[str, Mapping[str, float]],
) -> ConjointSummary:
    """AMCEs, habit of position and distances of one condition; only the validity of one that
    answers outside the form."""
    summary: ConjointSummary = {
        **overall(records),  # type: ignore[typeddict-item]
        "effects": {},
        "first_case": None,
        "distance_to_humans": None,
        "nearest_countries": [],
    }
    if summary["outside"]:
        return summary
    effects = amce(code(list(scenarios)), spared_matrix(records))
    humans = {d: v["world"] for d, v in moral_machine().items()}
    far = {c: distance(effects, table) for c, table in countries.items()}
    near = sorted((d, c) for c, d in far.items() if d is not None)
    first = [r["first_case"] for r in records if r["first_case"] is not None]
    summary["effects"] = effects
    summary["first_case"] = float(np.mean(first)) if first else None
    summary["distance_to_humans"] = distance(effects, humans)
    summary["nearest_countries"] = [{"country": c, "distance": d} for d, c in near[:5]]
    return summary


def differences(
    tuned: Sequence[CaseRecord], base: Sequence[CaseRecord], scenarios: Sequence[Scenario]
) -> Effects:
    """AMCEs of a condition minus those of another, from the same scenarios; errors of the
    difference, clustered by scenario."""
    # an AMCE is linear in what is spared: that of half the difference, moved to the middle, is half
    # the difference of AMCEs
    half = 0.5 + (spared_matrix(tuned) - spared_matrix(base)) / 2
    gap = amce(code(list(scenarios)), half)
    return {d: {"value": 2 * v["value"], "se": 2 * v["se"], "n": v["n"]} for d, v in gap.items()}


def null_agents(scenarios: Sequence[Scenario]) -> dict[str, Effects]:
    """What agents that see nothing score on the same scenarios: the floor."""
    coded, found = code(list(scenarios)), {}
    for name, rule in NULLS.items():
        spared = np.array([[rule(s, *page) for page in PAGES] for s in scenarios])  # type: ignore[no-untyped-call]
        found[name] = amce(coded, spared)
    return found


def effect_rows(
    arms: Mapping[str, ConjointSummary], nulls: Mapping[str, Effects]
) -> list[dict[str, str]]:
    """One row per dimension, then distance, habit and validity; a column for humans, every
    condition and every null agent."""
    humans, rows = moral_machine(), []
    for d, side in DIMENSIONS.items():
        row = {"measure": f"AMCE {d} ({side})", "humans": f"{humans[d]['world']:.2f}"}
        row |= {
            a: OUTSIDE if s["outside"] else number(s["effects"].get(d)) for a, s in arms.items()
        }
        rows.append(row | {a: number(e.get(d)) for a, e in nulls.items()})
    far = {a: s["distance_to_humans"] for a, s in arms.items()}
    first = {a: s["first_case"] for a, s in arms.items()}
    rows.append(
        {"measure": "mean distance to humans", "humans": ""}
        | {a: "–" if v is None else f"{v:.2f}" for a, v in far.items()}
    )
    rows.append(
        {"measure": "first case", "humans": ""}
        | {a: "–" if v is None else f"{100 * v:.0f} %" for a, v in first.items()}
    )
    return rows + [{"humans": ""} | row for row in validity_rows(arms, "conjoint")]


def read_scenarios(path: Path) -> list[Scenario]:
    """Scenarios of a file.  Raises InputError naming the line."""
    scenarios = []
    for line, row in read_lines(path):
        try:
            scenarios.append(read_scenario(row))
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
    return scenarios


def read_countries(path: Path) -> dict[str, dict[str, float]]:
    """country -> dimension -> AMCE.

    Raises InputError naming the line, also where a country has a dimension twice.
    """
    sheet = read_sheet(path)
    sheet.need(("country", "dimension", "value"), "--countries")
    rule = f"dimension must be one of {', '.join(DIMENSIONS)}"
    values = sheet.numbers(["value"], "it must be a number in [-1, 1]")[:, 0]
    named = zip(sheet.labels("country"), sheet.columns["dimension"], strict=True)
    table: dict[str, dict[str, float]] = {}
    for i, (country, text) in enumerate(named):
        dimension = text.strip()
        if dimension not in DIMENSIONS:
            raise sheet.bad(i, "dimension", rule)
        if not -1 <= values[i] <= 1:
            raise sheet.bad(i, "value", "it must be a number in [-1, 1]")
        if dimension in table.setdefault(country, {}):
            known = f"{plain(country)} has a value for {dimension} already; leave one"
            raise InputError(f"{sheet.where(i)}: {known}")
        table[country][dimension] = float(values[i])
    return table
