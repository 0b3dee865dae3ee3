"""Do 95 % intervals cover with few subjects?

Simulated subjects of different tastes, 2 to 20 of them.

    # about ten minutes of one core; writes recipes/benchmarks/few_clusters.json
    python recipes/benchmarks/few_clusters.py

Subjects choose 60 times each between two random allocations; their weight on the other is .1 behind
and .3 ahead, shifted by a normal taste of their own (standard deviation .15), lambda .015.  The
truth is what the pooled estimate tends to: the estimate on 3,000 subjects.  Samples without an
estimate count as refused, not as covered or missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from econmoral.estimation.estimate import Design, NotIdentified, allocations, fit
from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, command, origin, write_json

CLUSTERS = (2, 4, 6, 10, 20)
KINDS = ("clustered", "jackknife", "wild")
PER, SPREAD, PRECISION, TASTE = 60, 0.15, 0.015, (0.1, 0.3)


def sample(subjects: int, rng: np.random.Generator) -> Design:
    """Choices of so many subjects."""
    n = subjects * PER
    own, other = rng.integers(10, 110, (2, n, 2)) * 10.0
    shift = np.repeat(rng.normal(0, SPREAD, subjects), PER)[:, None]
    w = TASTE[0] * (own < other) + TASTE[1] * (own > other) + shift * (own != other)
    u = (1 - w) * own + w * other
    chosen = (rng.random(n) > expit(PRECISION * (u[:, 0] - u[:, 1]))).astype(int)
    who = [str(s) for s in np.repeat(np.arange(subjects), PER)]
    return allocations(own, other, chosen, who, "fehr_schmidt")


def covers(data: Design, truth: dict[str, float], kind: str, seed: int) -> dict[str, bool] | None:
    """Whether each interval holds the truth; None where there is no estimate."""
    try:
        found = fit(data, errors=kind, replications=399, seed=seed)
    except NotIdentified:
        return None
    inside = {}
    for name in ("alpha", "beta"):
        low, high = found.interval(name)
        inside[name] = low <= truth[name] <= high
    return inside


@dataclass(frozen=True)
class CoverageConfig(Config):
    """Options of ``recipes/benchmarks/few_clusters.py``."""

    samples: int = option(600, "for each number of subjects")
    slow: int = option(400, "of them also by jackknife and wild")
    out: Path = option(Path(__file__).parent / "few_clusters.json", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.slow <= self.samples:
            raise InputError("--slow must lie between 2 and --samples")


def main() -> None:
    """Entry point."""
    config = parse(CoverageConfig, None, __doc__)
    rng = np.random.default_rng(0)
    truth = fit(sample(3000, rng)).estimates
    rows: list[dict[str, Any]] = []
    for j in CLUSTERS:
        tally: dict[str, list[dict[str, bool] | None]] = {kind: [] for kind in KINDS}
        for seed in range(config.samples):
            data = sample(j, rng)
            for kind in KINDS if seed < config.slow else KINDS[:1]:
                tally[kind].append(covers(data, truth, kind, seed))
        for kind, results in tally.items():
            good = [r for r in results if r is not None]
            row: dict[str, Any] = {"clusters": j, "errors": kind, "samples": len(results)}
            row["refused"] = len(results) - len(good)
            for name in ("alpha", "beta"):
                share = float(np.mean([r[name] for r in good])) if good else None
                row[name] = share
            rows.append(row)
            shown = ["refused" if row[n] is None else f"{row[n]:.3f}" for n in ("alpha", "beta")]
            print(f"{j:3d} clusters, {kind:9s}: {', '.join(shown)}; {row['refused']} refused")
    write_json(config.out, origin() | {"truth": truth, "decisions": PER, "results": rows})


if __name__ == "__main__":
    command(main)
