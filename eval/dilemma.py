"""What both batteries of moral dilemmas share: options, a known chooser, rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from econmoral.files.options import option
from econmoral.files.shown import NOTHING, with_error
from econmoral.instruments.dilemmas import (
    DIMENSIONS,
    HELD_OUT,
    SCALE,
    TRAIN,
    CasePage,
    Rating,
    linear_chooser,
    listed_shares,
    sacrifice_gains,
    unreversed,
)
from econmoral.target import ECONOMICUS, Target, moralis

from .choosers import parse_parameters
from .conditions import check_kappa, told_conditions
from .config import Source
from .engines.base import Answer, Condition, Engine, Request
from .estimate import Paired, Value
from .runner import Instrument, Item, R, Study
from .validity import Validity, percent

BATTERIES = ("ratings", "conjoint")
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}


@dataclass(frozen=True)
class DilemmasConfig(Source):
    """Options of ``python -m eval.dilemmas``."""

    folder: ClassVar[str] = "dilemmas"

    samples: int = option(20, "replies per page, where they are sampled", at_least=1)
    prompted: bool = option(
        False, "also measure the base with each target described in the system message"
    )
    targets: tuple[str, ...] = option(
        (),
        "targets of --prompted and of the theory lines (default: homo_economicus, homo_moralis)",
        metavar="FAMILY:NAME=VALUE",
    )
    battery: tuple[str, ...] = option(BATTERIES, "default both", choices=BATTERIES, once=True)
    scenarios: int = option(400, "conjoint scenarios, four pages each", at_least=2)
    read: Path | None = option(
        None, "take the scenarios from a scenarios.jsonl of an earlier run instead", metavar="FILE"
    )
    countries: Path | None = option(
        None, "also compare with these AMCEs: columns country, dimension, value", metavar="CSV"
    )
    wordings: str = option(
        "train", "wordings used in training, or held-out ones", choices=tuple(WORDINGS)
    )
    kappa: float | None = option(
        None, "degree of morality of the default targets' homo moralis (default 0.5)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kappa(self.kappa, self.targets)
        told_conditions(self.preferences)  # refuses a target that is given twice

    @property
    def preferences(self) -> list[Target]:
        """The targets."""
        if self.targets:
            return [Target.parse(t) for t in self.targets]
        return [ECONOMICUS, moralis(0.5 if self.kappa is None else self.kappa)]

    def settings(self) -> dict[str, object]:
        """The values as JSON holds them."""
        return super().settings() | {"targets": [str(t) for t in self.preferences]}


@dataclass(frozen=True)
class Known:
    """A chooser of known AMCEs, kappa and lambda, and a habit: so much is added to the probability
    of the case named first."""

    theta: Mapping[str, float]
    precision: float

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Exact probabilities; every statement about a sacrifice is rated 100 P(sacrifice), to the
        nearest integer."""
        from scipy.special import expit

        answers = []
        for r in requests:
            if isinstance(r.item, Rating):
                own, alike = sacrifice_gains(r.item.scene, r.item.saved)
                kappa = self.theta.get("kappa", 0.0)
                rating = round(100 * expit(self.precision * ((1 - kappa) * own + kappa * alike)))
                p = unreversed(np.eye(SCALE)[rating], r.layout)
            else:
                page: CasePage = r.layout
                spared = linear_chooser(r.item, page.swapped, dict(self.theta))
                first = float(listed_shares(spared, page)[0])
                first = float(np.clip(first + self.theta.get("habit", 0.0), 0, 1))
                p = np.array([first, 1 - first])
            answers.append(Answer.certain(p, r))
        return answers


class AboutVehicles(Study):
    """A study of dilemmas: its targets and its chooser."""

    Config = DilemmasConfig
    config: DilemmasConfig
    width = 150

    def choose_targets(self) -> list[Target]:
        """Those that were asked for, else the two classics."""
        return self.config.preferences

    def chooser(self, parameters: str) -> Engine:
        """A chooser of known AMCEs and kappa."""
        return Known(*parse_parameters(parameters, ("kappa", "habit", *DIMENSIONS)))


class Dilemma(AboutVehicles, Instrument[Item, R]):
    """One battery."""


def shares(answer: Answer) -> np.ndarray | None:
    """Probability of every option given an admissible reply; None where there was none at all."""
    p = answer.probabilities
    return None if p is None or not np.isfinite(p).all() else p


def number(value: Value | Paired | Mapping[str, float] | None, digits: int = 2) -> str:
    """``0.31 ± 0.02``."""
    return NOTHING if value is None else with_error(value["value"], value["se"], digits)


def validity_rows(
    arms: Mapping[str, Validity | Mapping[str, Any]], name: str
) -> list[dict[str, str]]:
    """Valid-answer probability and comprehension of every condition, and what sampled replies
    were."""
    rows = [
        {"measure": f"{name}: valid-answer probability"}
        | {arm: percent(s["valid_answer_probability"]) for arm, s in arms.items()},
        {"measure": f"{name}: comprehension"}
        | {arm: percent(s["comprehension"]) for arm, s in arms.items()},
    ]
    if any(s["outcomes"] for s in arms.values()):
        counts = {arm: " / ".join(map(str, s["outcomes"].values())) for arm, s in arms.items()}
        rows.append({"measure": f"{name}: answered / unreadable / refused"} | counts)
    return rows
