"""Agreement with statements about sacrifices of autonomous vehicles, 0 to 100.

    python -m eval.dilemmas --battery ratings --model smollm2-135m --out runs/ratings

210 cells (who rides and who you are, people saved, statement), the whole distribution over 0..100,
on a scale up and on one down.  Standard errors are clustered by scene and people saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NotRequired, TypedDict

import numpy as np

from econmoral.estimation.robust import clustered_covariance
from econmoral.files.shown import NOT_IDENTIFIED
from econmoral.instruments.dilemmas import (
    QUESTIONS,
    SAVED,
    SCALE,
    SCENES,
    Rating,
    fit_sacrifice,
    predicted_choice,
    rating_conversation,
    rating_grid,
    unreversed,
)
from econmoral.target import Target
from econmoral.text.conversation import Mode
from econmoral.text.replies import Outcome

from .dilemma import WORDINGS, Dilemma, number, shares, validity_rows
from .engines.base import Answer, Condition, Request
from .estimate import Paired, Value, paired
from .validity import OUTSIDE, overall, quality

Cell = tuple[Rating, int]  # with its wording


class RatingRecord(TypedDict):
    """The distribution of agreement with one statement, averaged over both directions of the scale.

    mean, sd, probabilities : None where no page was answered.  direction_bias : mean on the scale
    down minus mean on the scale up.
    """

    scene: str
    saved: int
    question: str
    arm: str
    wording: int
    valid_answer_probability: float
    comprehension: float | None
    texts: list[list[str]]
    outcomes: dict[Outcome, int]
    mean: float | None
    sd: float | None
    probabilities: list[float] | None
    direction_bias: float | None
    prompt_hash: NotRequired[str]


class Statement(TypedDict):
    """Mean rating of a statement, mean spread of a cell, slope per doubling of people saved."""

    mean: Value
    sd: float
    slope: Value


class Theory(TypedDict):
    """In how many of the cells in which theory is not indifferent the choice is its own."""

    agreement: float | None
    cells: int
    departures: list[str]


class RatingSummary(TypedDict):
    """One condition.  ``minus``: baseline -> statement -> paired difference of means."""

    valid_answer_probability: float
    comprehension: float | None
    outcomes: dict[Outcome, int]
    outside: bool
    questions: dict[str, Statement]
    social_dilemma_gap: Paired | None
    family_gap: Paired | None
    kappa: dict[str, Any]
    theory: dict[str, Theory]
    unread_cells: int
    direction_bias: float | None
    minus: NotRequired[dict[str, dict[str, Paired | None]]]


class Ratings(Dilemma[Cell, RatingRecord]):
    """Every cell of the grid, on a scale upwards and on one downwards."""

    name = "ratings"

    def draw(self) -> list[Cell]:
        """All cells."""
        return rating_items(WORDINGS[self.config.wordings])

    def requests(self, item: Cell, condition: Condition, mode: Mode) -> list[Request]:
        """Two pages: the scale upwards and downwards."""
        return rating_requests(item, condition, self.config.samples)

    def record(
        self,
        item: Cell,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> RatingRecord:
        """The distribution over 0..100."""
        return rating_record(item, condition, answers)


def rating_items(wordings: tuple[int, ...]) -> list[Cell]:
    """Every cell with a wording: the statements about one accident share it, neighbouring accidents
    differ."""
    place = {
        (scene, saved): i + j for i, scene in enumerate(SCENES) for j, saved in enumerate(SAVED)
    }
    return [
        (cell, wordings[place[cell.scene, cell.saved] % len(wordings)]) for cell in rating_grid()
    ]


def rating_requests(item: Cell, condition: Condition, samples: int = 1) -> list[Request]:
    """Two pages: the scale upwards and downwards."""
    cell, wording = item
    return [
        Request(
            rating_conversation(cell, reverse, wording, condition.system), cell, reverse, samples
        )
        for reverse in (False, True)
    ]


def rating_record(item: Cell, condition: Condition, answers: Sequence[Answer]) -> RatingRecord:
    """The distribution over 0..100, averaged over both directions of the scale."""
    cell, wording = item
    known = [shares(a) for a in answers]
    pages = [
        unreversed(p, reverse)
        for p, reverse in zip(known, (False, True), strict=True)
        if p is not None
    ]
    scale = np.arange(SCALE)
    record: RatingRecord = {
        **asdict(cell),  # type: ignore[typeddict-item]
        "arm": condition.name,
        "wording": wording,
        **quality(answers),
        "mean": None,
        "sd": None,
        "probabilities": None,
        "direction_bias": None,
    }
    if pages:
        p = np.mean(pages, axis=0)
        mean = float(p @ scale)
        record["mean"], record["sd"] = mean, float(np.sqrt(p @ (scale - mean) ** 2))
        record["probabilities"] = [round(float(v), 7) for v in p]
    if len(pages) == 2:
        record["direction_bias"] = float((pages[1] - pages[0]) @ scale)
    return record


def theory_lines(targets: Sequence[Target]) -> dict[str, float]:
    """name -> kappa of the targets about which the theory line says something: homo economicus and
    homo moralis."""
    plain = [t for t in targets if not any(v for name, v in t.values if name != "kappa")]
    return {
        # in full: two that round alike are two lines
        "homo economicus"
        if t.kappa == 0
        else f"homo moralis {str(t.kappa).removesuffix('.0')}": t.kappa
        for t in plain
    }


def statement(records: Sequence[RatingRecord]) -> Statement:
    """Mean and slope of the cells of one statement; the slope within scenes, errors by cell."""
    y = np.array([r["mean"] for r in records], float)
    x = np.log2([r["saved"] for r in records])
    scenes = np.array([[r["scene"] == s for s in SCENES] for r in records], float)
    x -= scenes @ np.linalg.lstsq(scenes, x, rcond=None)[0]
    slope, n = float(x @ y / (x @ x)), len(records)
    residual = y - scenes @ np.linalg.lstsq(scenes, y, rcond=None)[0] - slope * x
    variance = clustered_covariance(
        np.eye(1) / (x @ x), (x * residual)[:, None], np.arange(n), len(SCENES) + 1
    )
    return {
        "mean": {"value": float(y.mean()), "se": float(y.std(ddof=1) / np.sqrt(n))},
        "sd": float(np.mean([r["sd"] for r in records])),
        "slope": {"value": slope, "se": float(np.sqrt(variance[0, 0]))},
    }


def rating_summary(records: Sequence[RatingRecord], targets: Sequence[Target]) -> RatingSummary:
    """Means, slopes, gaps and theory of one condition.

    Errors are clustered by scene and people saved (35 clusters).  A condition that answers outside
    the form has its validity and nothing else.
    """
    kept = [r for r in records if r["mean"] is not None]
    summary: RatingSummary = {
        **overall(records),  # type: ignore[typeddict-item]
        "questions": {},
        "social_dilemma_gap": None,
        "family_gap": None,
        "kappa": {"not_identified": OUTSIDE},
        "theory": {},
        "unread_cells": len(records) - len(kept),
        "direction_bias": None,
    }
    if summary["outside"]:
        return summary
    for q in QUESTIONS:
        some = [r for r in kept if r["question"] == q]
        if len(some) > len(SCENES) + 1:
            summary["questions"][q] = statement(some)
    mean = {(r["scene"], r["saved"], r["question"]): r["mean"] or 0.0 for r in kept}
    summary["social_dilemma_gap"] = paired(
        v - mean[s, n, "buy"]
        for (s, n, q), v in mean.items()
        if q == "moral" and (s, n, "buy") in mean
    )
    summary["family_gap"] = paired(
        v - mean["passenger", n, q]
        for (s, n, q), v in mean.items()
        if s == "family" and ("passenger", n, q) in mean
    )
    chosen = [(r, r["mean"]) for r in kept if r["question"] == "choose" and r["mean"] is not None]
    cells = [Rating(r["scene"], r["saved"], r["question"]) for r, _ in chosen]
    rated = [m for _, m in chosen]
    fitted: dict[str, Any] = {"not_identified": "too few answers"}
    if len(chosen) > 2:
        fitted = fit_sacrifice(cells, np.array(rated) / 100)
    lines = theory_lines(targets)
    if "kappa" in fitted:
        lines |= {"own kappa": fitted["kappa"]["value"]}
    summary["kappa"] = fitted
    summary["theory"] = {name: theory(cells, rated, kappa) for name, kappa in lines.items()}
    biases = [r["direction_bias"] for r in kept if r["direction_bias"] is not None]
    summary["direction_bias"] = float(np.mean(biases)) if biases else None
    return summary


def theory(cells: Sequence[Rating], rated: Sequence[float], kappa: float) -> Theory:
    """How often the rating is on the side of homo moralis of degree kappa."""
    predicted = [predicted_choice(c.scene, c.saved, kappa) for c in cells]
    strict = [(c, p, m) for c, p, m in zip(cells, predicted, rated, strict=True) if p != 0.5]
    apart = [
        f"{c.scene}, {c.saved} saved: theory {'sacrifice' if p else 'protect'}, rated {m:.0f}"
        for c, p, m in strict
        if (m > 50) != (p > 0.5)
    ]
    share = 1 - len(apart) / len(strict) if strict else None
    return {"agreement": share, "cells": len(strict), "departures": apart}


def rating_differences(
    tuned: Sequence[RatingRecord], base: Sequence[RatingRecord]
) -> dict[str, Paired | None]:
    """Mean rating of every statement minus that of another condition, paired by scene and people
    saved."""
    other = {(r["scene"], r["saved"], r["question"]): r["mean"] for r in base}
    found = {}
    for question in QUESTIONS:
        both = [
            (r["mean"], other.get((r["scene"], r["saved"], question)))
            for r in tuned
            if r["question"] == question
        ]
        found[question] = paired(a - b for a, b in both if a is not None and b is not None)
    return found


def rating_rows(rated: Mapping[str, RatingSummary]) -> list[dict[str, str]]:
    """Means and slopes by statement, gaps, kappa, agreement with theory, validity; a column for
    every condition."""
    rows = []

    def add(measure: str, cell: Callable[[RatingSummary], str]) -> None:
        cells = {arm: OUTSIDE if s["outside"] else cell(s) for arm, s in rated.items()}
        rows.append({"measure": measure} | cells)

    def mean(s: RatingSummary, q: str) -> str:
        return number(s["questions"][q]["mean"], 0) if q in s["questions"] else "–"

    def slope(s: RatingSummary, q: str) -> str:
        return number(s["questions"][q]["slope"], 1) if q in s["questions"] else "–"

    for q in QUESTIONS:
        add(f"rating: {q}", lambda s, q=q: mean(s, q))  # type: ignore[misc]
        add(f"  per doubling of people saved: {q}", lambda s, q=q: slope(s, q))  # type: ignore[misc]
    add("social-dilemma gap, moral - buy", lambda s: number(s["social_dilemma_gap"], 0))
    add("family gap, with family - alone", lambda s: number(s["family_gap"], 0))
    add(
        "kappa of the stated choices",
        lambda s: number(s["kappa"]["kappa"]) if "kappa" in s["kappa"] else NOT_IDENTIFIED,
    )
    for line in dict.fromkeys(line for s in rated.values() for line in s["theory"]):
        add(f"chooses as {line} would", lambda s, line=line: agreement(s["theory"].get(line)))  # type: ignore[misc]
    return rows + validity_rows(rated, "ratings")


def agreement(found: Theory | None) -> str:
    """``83 %`` of the cells in which theory is not indifferent."""
    if found is None or found["agreement"] is None:
        return "–"
    return f"{100 * found['agreement']:.0f} % of {found['cells']}"
