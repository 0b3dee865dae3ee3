"""Whether a condition answered in the form that was asked for, and the baselines that its numbers are read against.

Below ``LEAST_VALID`` a table says so instead of printing numbers that were normalised from almost nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.conversation import OUTCOMES, Conversation
from econmoral.records import InputError, read_json
from econmoral.target import Target

from .engines import Answer, Arm

OUTSIDE = "answers outside the form"
LEAST_VALID = 0.5  # valid-answer probability below which no number of a condition is reported


def outside(valid: float) -> bool:
    """Whether so low a valid-answer probability leaves nothing to interpret; also true of nan."""
    return not valid >= LEAST_VALID


def advice() -> str:
    """What helps a condition that answers outside the form."""
    return "--samples N --replies sampled reads sampled replies instead; a placebo adapter is a baseline that has learnt the form"


def told_arms(targets: Sequence[Target]) -> list[Arm]:
    """The base told of each target in a system message; targets whose short labels coincide are named in full."""
    labels = [t.label for t in targets]
    names = [label if labels.count(label) == 1 else str(t) for label, t in zip(labels, targets, strict=True)]
    if len(set(names)) < len(names):
        raise InputError(f"--targets: {next(n for n in names if names.count(n) > 1)} is given twice")
    return [Arm(f"base, told {name}", None, t.describe()) for name, t in zip(names, targets, strict=True)]


def is_placebo(folder: Path) -> bool:
    """Whether an adapter was trained on shuffled answers, as its run.json says."""
    path = folder / "run.json"
    if not path.is_file():
        return False  # adapters from elsewhere have no record of ours
    run = read_json(path)
    return isinstance(run, dict) and run.get("shuffled") is True


def fingerprint(conversations: Iterable[Conversation]) -> str:
    """Hash of everything that is asked, for the resume key: a page changed by one character is asked again."""
    digest = hashlib.sha256()
    for conversation in conversations:
        digest.update(json.dumps(asdict(conversation)).encode() + b"\n")
    return digest.hexdigest()


def quality(answers: Sequence[Answer]) -> dict[str, Any]:
    """What a record says about how its pages were answered.

    valid_answer_probability : mean over pages and questions.  comprehension : mean probability of the right reply to a
    control question; None without one.  texts : of every page.  outcomes : counts of sampled replies; empty where exact.
    """
    controls = [float(p) for a in answers for p in a.controls]
    return {
        "valid_answer_probability": float(np.mean([a.valid.mean() for a in answers])),
        "comprehension": float(np.mean(controls)) if controls else None,
        "texts": [list(a.texts) for a in answers],
        "outcomes": {o: sum(a.outcomes[o] for a in answers) for o in OUTCOMES} if answers[0].outcomes else {},
    }


def overall(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same over the records of one condition, without texts; and ``outside``."""
    valid = float(np.mean([r["valid_answer_probability"] for r in records])) if records else float("nan")
    known = [r["comprehension"] for r in records if r["comprehension"] is not None]
    counted = [r["outcomes"] for r in records if r["outcomes"]]
    return {
        "valid_answer_probability": valid,
        "comprehension": float(np.mean(known)) if known else None,
        "outcomes": {o: sum(c[o] for c in counted) for o in OUTCOMES} if counted else {},
        "outside": outside(valid),
    }


def percent(value: float | None) -> str:
    """``87 %``; more digits where it is small; a dash where it is not known."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.2g} %"
