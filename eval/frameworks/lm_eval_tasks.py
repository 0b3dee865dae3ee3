"""Functions of our tasks for lm-evaluation-harness (econmoral_games.yaml, econmoral_arithmetic.yaml)."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import softmax

from econmoral.lessons import drill
from eval.frameworks.pages import draw_pages


def games(items: int = 40, kappa: float = 0.5, seed: int = 0, **_: Any) -> dict[str, Dataset]:
    """The held-out games, answered at once; ``--metadata '{"items": 120}'`` for more."""
    rows = [
        {"prompt": p.messages[-1]["content"], "candidates": p.candidates, "target": p.moralis[0], "economicus": p.economicus, "moralis": p.moralis}
        for p in draw_pages(items, "direct", kappa, seed)
    ]
    return {"test": Dataset.from_list(rows)}


def score(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Probability on each preference's optimum among the admissible answers, and whether the most probable one is optimal."""
    p = softmax([log_p for log_p, _ in results])
    found = {}
    for target in ("economicus", "moralis"):
        found[target] = float(int(np.argmax(p)) in doc[target])
        found[f"{target}_mass"] = float(p[doc[target]].sum())
    return found


def arithmetic(items: int = 200, seed: int = 0, **_: Any) -> dict[str, Dataset]:
    """Drills with the right last number among two others."""
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < items:
        turn = drill(rng)
        head, _, last = turn.answer.rpartition(" ")
        try:
            right = float(last)
        except ValueError:
            continue
        others = [right + d for d in rng.choice([-20, -10, -5, 5, 10, 20], 2, replace=False)]
        if min(others) < 0:
            continue
        numbers = [f"{v:g}" for v in (right, *others)]
        order = rng.permutation(3)
        rows.append({"prompt": turn.question, "candidates": [f"{head} {numbers[i]}" for i in order], "target": int(np.flatnonzero(order == 0)[0])})
    return {"test": Dataset.from_list(rows)}
