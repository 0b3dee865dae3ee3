"""Asking without files: what an engine's answers are as records, as the runner makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval import menus as one_page
from eval.conjoint import Case, CaseRecord, Conjoint
from eval.dilemma import DilemmasConfig
from eval.engines.base import LONGEST_DERIVATION, Condition, Engine, Request
from eval.games import Games, GamesConfig
from eval.measure import GameRecord, Problem, decision_requests
from eval.ratings import Cell, RatingRecord, Ratings
from eval.runner import inquire

NOWHERE = Path("nowhere")  # nothing is written
BOTH = ("direct", "reasoned")


def measure(
    engine: Engine,
    problems: Sequence[Problem],
    condition: Condition,
    mode: Any,
    beliefs: str = "given",
    samples: int = 1,
    seed: int = 0,
    longest: int = LONGEST_DERIVATION,
) -> list[GameRecord]:
    """Records of games."""
    config = GamesConfig(
        model="nano", out=NOWHERE, mode=BOTH, beliefs=beliefs, samples=samples, longest=longest
    )
    return inquire(engine, Games(config), problems, condition, mode, seed)


def requests_of(
    problems: Sequence[Problem],
    condition: Condition,
    mode: Any,
    beliefs: str = "given",
    samples: int = 1,
) -> list[Request]:
    """What is asked about the decisions of problems."""
    return [r for p in problems for r in decision_requests(p, condition, mode, beliefs, samples)]


def measure_menus(
    engine: Engine,
    menus: Sequence[one_page.Asked],
    condition: Condition,
    mode: Any,
    seed: int,
    samples: int = 1,
) -> list[one_page.MenuRecord]:
    """Records of one-page decisions."""
    config = one_page.MenusConfig(model="nano", out=NOWHERE, mode=BOTH, samples=samples)
    return inquire(engine, one_page.Menus(config), menus, condition, mode, seed)


def ask_ratings(
    engine: Engine, cells: Sequence[Cell], condition: Condition, seed: int, samples: int = 1
) -> list[RatingRecord]:
    """Records of ratings."""
    config = DilemmasConfig(model="nano", out=NOWHERE, samples=samples)
    return inquire(engine, Ratings(config), cells, condition, "direct", seed)


def ask_conjoint(
    engine: Engine, cases: Sequence[Case], condition: Condition, seed: int, samples: int = 1
) -> list[CaseRecord]:
    """Records of scenarios."""
    config = DilemmasConfig(model="nano", out=NOWHERE, samples=samples, scenarios=2)
    return inquire(engine, Conjoint(config), cases, condition, "direct", seed)
