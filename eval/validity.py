"""Whether a condition answered in the form that was asked for.

Below ``LEAST_VALID`` a table says so instead of printing numbers that were normalised from almost
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from econmoral.text.replies import OUTCOMES, Outcome

from .engines.base import Answer

OUTSIDE = "answers outside the form"
LEAST_VALID = 0.5  # valid-answer probability below which no number of a condition is reported
# what helps a condition that answers outside the form
ADVICE = (
    "--samples N --replies sampled reads sampled replies instead; a placebo adapter is a baseline "
    "that has learnt the form"
)


class Quality(TypedDict):
    """How the pages of a record were answered.

    valid_answer_probability : mean over pages and questions.  comprehension : mean probability of
    the right reply to a control question; None without one.  texts : of every page.
    outcomes : counts of sampled replies; empty where probabilities are exact.
    """

    valid_answer_probability: float
    comprehension: float | None
    texts: list[list[str]]
    outcomes: dict[Outcome, int]


class Validity(TypedDict):
    """The same over the records of a condition; outside : nothing else of it is reported."""

    valid_answer_probability: float
    comprehension: float | None
    outcomes: dict[Outcome, int]
    outside: bool


def outside(valid: float) -> bool:
    """Whether so low a valid-answer probability leaves nothing to interpret; also true of nan."""
    return not valid >= LEAST_VALID


def quality(answers: Sequence[Answer]) -> Quality:
    """How the pages of a record were answered."""
    controls = [float(p) for a in answers for p in a.controls]
    sampled = bool(answers[0].outcomes)
    return {
        "valid_answer_probability": float(np.mean([a.valid.mean() for a in answers])),
        "comprehension": float(np.mean(controls)) if controls else None,
        "texts": [list(a.texts) for a in answers],
        "outcomes": {o: sum(a.outcomes[o] for a in answers) for o in OUTCOMES} if sampled else {},
    }


def overall(records: Sequence[Mapping[str, Any]]) -> Validity:
    """How a condition answered, over its records."""
    valid = [r["valid_answer_probability"] for r in records]
    mean = float(np.mean(valid)) if records else float("nan")
    known = [r["comprehension"] for r in records if r["comprehension"] is not None]
    counted = [r["outcomes"] for r in records if r.get("outcomes")]
    return {
        "valid_answer_probability": mean,
        "comprehension": float(np.mean(known)) if known else None,
        "outcomes": {o: sum(c[o] for c in counted) for o in OUTCOMES} if counted else {},
        "outside": outside(mean),
    }


def percent(value: float | None, sign: str = " %") -> str:
    """``87 %``; two digits of what is small; a dash where it is not known.

    sign : empty where a table's head has it.
    """
    if value is None or not np.isfinite(value):
        return "–"
    return (f"{100 * value:.0f}" if value >= 0.1 or value == 0 else f"{100 * value:.2g}") + sign
