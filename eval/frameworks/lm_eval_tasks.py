"""Functions of our tasks for lm-evaluation-harness
(econmoral_games.yaml, econmoral_arithmetic.yaml).

The harness asks one question a page, so that of every game only the first decision is asked;
``python -m eval.games`` asks all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import softmax

from econmoral.rooms import room

# the harness reads this file outside of any package
draw_pages = room("eval.frameworks.pages").draw_pages


def games(
    items: int = 40, target: str | list[str] = "homo_moralis:kappa=0.5", seed: int = 0, **_: Any
) -> dict[str, Dataset]:
    """First decisions of the held-out games; ``--metadata '{"items": 120}'`` for more."""
    rows = [
        {
            "prompt": p.turns[0],
            "candidates": p.options[0],
            "first": p.best["target"][0][0],
            "economicus": p.best["economicus"][0],
            "target": p.best["target"][0],
        }
        for p in draw_pages(items, "direct", target, seed)
    ]
    return {"test": Dataset.from_list(rows)}


def score(doc: Mapping[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Probability of each preference's decision among the options, whether the most probable one is
    it, and ``valid``: the probability that a reply begins with an option at all, below one half of
    which the others say nothing.
    """
    log_p = np.array([p for p, _ in results])
    p = softmax(log_p)
    found = {"valid": float(min(np.exp(log_p).sum(), 1.0))}
    for name in ("economicus", "target"):
        found[name] = float(int(np.argmax(p)) in doc[name])
        found[f"{name}_mass"] = float(p[doc[name]].sum())
    return found


def arithmetic(items: int = 200, seed: int = 0, **_: Any) -> dict[str, Dataset]:
    """Products, sums and differences of small numbers, the right result among two others."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < items:
        kind, a, b = int(rng.integers(3)), int(rng.integers(1, 20)), int(rng.integers(1, 20))
        question, right = (
            (f"{a} * {b}", a * b),
            (f"{a} + {10 * b}", a + 10 * b),
            (f"{10 * a} - {b}", 10 * a - b),
        )[kind]
        others = [right + int(d) for d in rng.choice([-20, -10, -2, 2, 10, 20], 2, replace=False)]
        if min(others) < 0:
            continue
        numbers, order = [str(v) for v in (right, *others)], rng.permutation(3)
        prompt = f"Compute {question}. Reply with the number only."
        rows.append(
            {
                "prompt": prompt,
                "candidates": [numbers[i] for i in order],
                "target": int(np.flatnonzero(order == 0)[0]),
            }
        )
    return {"test": Dataset.from_list(rows)}
