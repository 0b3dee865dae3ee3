"""Does the estimator keep its promises?

Bias and coverage of the 95 % interval over many simulated samples.

    python recipes/benchmarks/montecarlo.py  # about five minutes; writes montecarlo.json beside it

For every family: samples of 300 choices by a logit chooser of known parameters.  For
alpha-beta-kappa also 1,200 choices in 20 wordings each of which shifts kappa (standard deviation
.12): intervals that take choices as independent against clustered ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from econmoral.economics.choice import Decision, logit
from econmoral.economics.games import BATTERY, belief_weights, draw_beliefs
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import Design, NotIdentified, allocations, design, fit
from econmoral.files.options import Config, option, parse
from econmoral.files.records import command, fill_section, origin, write_json
from econmoral.files.shown import markdown

TRUTH: dict[str, dict[str, float]] = {
    "homo_economicus": {},
    "homo_moralis": {"kappa": 0.4},
    "alpha_beta_kappa": {"alpha": 0.1, "beta": 0.2, "kappa": 0.4},
    "fehr_schmidt": {"alpha": 0.3, "beta": 0.2},
    "charness_rabin": {"rho": 0.4, "sigma": 0.1, "theta": -0.1},
    "bruhin_fehr_schunk": {"alpha": 0.1, "beta": 0.3, "gamma": 0.1, "delta": -0.05},
    "altruism": {"altruism": 0.3},
    "utilitarian": {},
    "maximin": {"delta": 0.4},
}
PRECISION = 0.05


def games_sample(
    theta: dict[str, float], n: int, rng: np.random.Generator, wordings: int = 0, shift: float = 0.0
) -> list[Decision]:
    """Choices in the battery; with ``wordings`` each of them moves kappa."""
    shifts, family = (
        rng.normal(0, shift, wordings) if wordings else np.zeros(1),
        FAMILIES["alpha_beta_kappa"],
    )
    decisions = []
    for i in range(n):
        protocol = BATTERY[int(rng.integers(len(BATTERY)))]
        weights = belief_weights(protocol.game, draw_beliefs(protocol.game, rng))
        w = i % len(shifts)
        p = logit(
            family.utility(
                protocol.tables,
                weights,
                {**theta, "kappa": theta.get("kappa", 0.0) + float(shifts[w])},
            ),
            PRECISION,
        )
        decisions.append(
            Decision(
                protocol.tables,
                weights,
                np.eye(len(p))[rng.choice(len(p), p=p)],
                str(w if wordings else i),
            )
        )
    return decisions


def allocation_sample(
    family: str, theta: dict[str, float], n: int, rng: np.random.Generator
) -> Design:
    """Binary choices between random allocations, a third after a kind
    and a third after an unkind act.
    """
    own, other = rng.integers(0, 20, (2, n, 2)) * 5.0
    act = rng.integers(3, size=n)
    kind, unkind = (act == 1).astype(float), (act == 2).astype(float)
    base, terms = FAMILIES[family].outcome(own, other, kind[:, None], unkind[:, None])
    u = base + terms @ np.array([theta[p] for p in FAMILIES[family].parameters])
    chosen = (rng.random(n) > 1 / (1 + np.exp(-PRECISION * (u[:, 0] - u[:, 1])))).astype(int)
    return allocations(own, other, chosen, [str(i) for i in range(n)], family, kind, unkind)


def summarise(
    estimates: list[dict[str, float]],
    errors: list[dict[str, float]],
    truth: dict[str, float],
    refused: int,
) -> dict[str, Any]:
    """Bias, its Monte-Carlo error, spread against mean SE, coverage."""
    result: dict[str, Any] = {"samples": len(estimates), "refused": refused, "parameters": {}}
    for name, value in truth.items():
        x, se = np.array([e[name] for e in estimates]), np.array([e[name] for e in errors])
        inside = np.abs(x - value) <= 1.959964 * se
        result["parameters"][name] = {
            "truth": value,
            "bias": float(x.mean() - value),
            "bias_se": float(x.std(ddof=1) / np.sqrt(len(x))),
            "sd": float(x.std(ddof=1)),
            "mean_se": float(se.mean()),
            "coverage": float(inside.mean()),
            "coverage_se": float(np.sqrt(inside.mean() * (1 - inside.mean()) / len(x))),
        }
    return result


@dataclass(frozen=True)
class MonteCarloConfig(Config):
    """Options of ``recipes/benchmarks/montecarlo.py``."""

    samples: int = option(500, "simulated samples of each kind", at_least=2)
    out: Path = option(Path(__file__).parent / "montecarlo.json", "")


def main() -> None:
    """Entry point."""
    config = parse(MonteCarloConfig, None, __doc__)
    rng = np.random.default_rng(0)
    results: dict[str, Any] = {}

    def collect(
        name: str, draw: Any, family: str, truth: dict[str, float], kinds: tuple[str, ...]
    ) -> None:
        found: dict[str, tuple[list[dict[str, float]], list[dict[str, float]]]] = {
            k: ([], []) for k in kinds
        }
        refused = 0
        for _ in track(range(config.samples), name):
            sample = draw()
            data = sample if isinstance(sample, Design) else design(sample, family)
            try:
                fits = {k: fit(data, errors=k) for k in kinds}
            except NotIdentified:
                refused += 1
                continue
            for k, f in fits.items():
                found[k][0].append(f.estimates)
                found[k][1].append(f.se)
        for k, (estimates, errors) in found.items():
            results[f"{name}, {k} errors"] = summarise(
                estimates, errors, {**truth, "lambda": PRECISION}, refused
            )

    for family, theta in TRUTH.items():
        if family in ("homo_economicus", "homo_moralis", "alpha_beta_kappa"):
            collect(
                f"{family}, 300 game decisions",
                lambda theta=theta: games_sample(theta, 300, rng),
                family,
                theta,
                ("sandwich",),
            )
        else:
            collect(
                f"{family}, 300 allocations",
                lambda family=family, theta=theta: allocation_sample(family, theta, 300, rng),
                family,
                theta,
                ("sandwich",),
            )
    moral = TRUTH["alpha_beta_kappa"]
    name = "alpha_beta_kappa, 1200 decisions in 20 wordings that shift kappa"
    collect(
        name,
        lambda: games_sample(moral, 1200, rng, 20, 0.12),
        "alpha_beta_kappa",
        moral,
        ("sandwich", "clustered"),
    )
    write_json(
        config.out,
        origin() | {"samples": config.samples, "precision": PRECISION, "results": results},
    )
    bias = "bias (Monte-Carlo error)"
    head = ("sample", "parameter", bias, "spread", "mean SE", "coverage of 95 %")
    rows = [
        [
            name,
            p,
            f"{v['bias']:+.4f} ({v['bias_se']:.4f})",
            f"{v['sd']:.4f}",
            f"{v['mean_se']:.4f}",
            f"{100 * v['coverage']:.1f} %",
        ]
        for name, result in results.items()
        for p, v in result["parameters"].items()
    ]
    table = markdown(head, rows)
    fill_section(config.out.with_name("RESULTS.md"), "montecarlo", table)
    print(table)


if __name__ == "__main__":
    command(main)
