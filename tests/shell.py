"""Commands without a new process: quick, and what they print can be looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from console import calculator
from scipy.special import expit


def call(*options: object) -> tuple[int, str, str]:
    """(exit code, output, what is said of an error) of ``python -m econmoral ...``."""
    done = calculator(*map(str, options))
    return done.returncode, done.stdout, done.stderr


def json_of(*options: object, code: int = 0) -> dict:
    """What a command prints with --json; it must end with ``code``."""
    found, out, err = call(*options, "--json")
    assert found == code, err
    return json.loads(out)


def complains(*options: object) -> str:
    """The one line of a command that must refuse its input."""
    code, out, err = call(*options)
    assert code == 2, out
    assert "\n" not in err.strip()
    return err


def allocation_choices(
    subjects: int = 40,
    per: int = 30,
    theta: Sequence[float] = (0.1, 0.3),
    precision: float = 0.015,
    seed: int = 1,
    spread: float = 0.0,
    prefix: str = "P",
) -> pd.DataFrame:
    """Binary choices between random allocations by subjects who weigh the other by theta[0] behind
    and theta[1] ahead.

    ``spread``: standard deviation of that weight between subjects.
    """
    rng = np.random.default_rng(seed)
    n = subjects * per
    own, other = rng.integers(10, 110, (2, n, 2)) * 10.0
    shift = np.repeat(rng.normal(0, spread, subjects), per)[:, None]
    w = theta[0] * (own < other) + theta[1] * (own > other) + shift * (own != other)
    u = (1 - w) * own + w * other
    x = rng.random(n) < expit(precision * (u[:, 0] - u[:, 1]))
    return pd.DataFrame(
        {
            "sid": [f"{prefix}{k:03d}" for k in np.repeat(np.arange(subjects), per)],
            "self_x": own[:, 0],
            "other_x": other[:, 0],
            "self_y": own[:, 1],
            "other_y": other[:, 1],
            "choice_x": x.astype(int),
        }
    )
