"""Repeat every number of ``recipes/RESULTS.md``: several seeds of both preferences and of the
placebo, measured beside the base.

    python recipes/results.py --out runs/results

Runs the commands a user would run, one after another; what is finished is not run again.  Writes
``recipes/results.json`` and the tables of ``recipes/RESULTS.md`` between its markers.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.options import Config, option, parse
from econmoral.records import InputError, command, fill_section, origin, read_json, write_json
from econmoral.target import told_apart

HERE = Path(__file__).parent
ECONOMICUS, MORALIS = "homo_economicus", "homo_moralis:kappa=0.5"
ARMS: dict[str, tuple[str, tuple[str, ...]]] = {  # adapter -> target, more options of its data
    "economicus": (ECONOMICUS, ()), "moralis": (MORALIS, ()), "placebo": (MORALIS, ("--shuffled",)),
}  # fmt: skip


@dataclass(frozen=True)
class ResultsConfig(Config):
    """Options of ``recipes/results.py``."""

    out: Path = option(Path("runs/results"), "folder of the runs")
    model: str = option("nano", "name, hub id or folder")
    seeds: tuple[int, ...] = option((0, 1, 2), "seeds of data, fine-tuning and measurement")
    n: int = option(400, "conversations that each adapter is trained on")
    items: int = option(40, "decision problems in each held-out set")
    name: str = option("results", "results are written to recipes/NAME.json")


def call(*options: str) -> None:
    """Run one command of the project; stop with its name when it fails."""
    print("$ python", " ".join(options), flush=True)
    if subprocess.run([sys.executable, *options]).returncode:
        raise InputError(f"this command failed, see above: python {' '.join(options)}")


def one_seed(config: ResultsConfig, seed: int) -> list[dict[str, Any]]:
    """Data, three adapters and one measurement; the rows of its summary."""
    folder = config.out / f"seed-{seed}"
    for arm, (target, extra) in ARMS.items():
        data = folder / f"{arm}.jsonl"
        if not data.exists():
            call(
                "-m",
                "data_synth",
                "--target",
                target,
                "--n",
                str(config.n),
                "--seed",
                str(seed),
                *extra,
                "--out",
                str(data),
            )
        if not (folder / arm / "run.json").exists():
            call(
                "recipes/sft.py",
                "--model",
                config.model,
                "--data",
                str(data),
                "--seed",
                str(seed),
                "--out",
                str(folder / arm),
            )
    measured = folder / "eval"
    if not (measured / "run.json").exists():
        adapters = [option for arm in ARMS for option in ("--adapter", str(folder / arm))]
        prompted = ["--prompted"] if seed == config.seeds[0] else []
        options = [
            "--mode",
            "reasoned",
            "direct",
            "--items",
            str(config.items),
            "--pairs",
            "1",
            "--targets",
            ECONOMICUS,
            MORALIS,
            "--seed",
            str(seed),
        ]
        call("-m", "eval.games", *adapters, *prompted, *options, "--out", str(measured))
    return [{"seed": seed, **row} for row in read_json(measured / "summary.json")]


def over_seeds(rows: list[dict[str, Any]], *path: str, scale: float = 1, digits: int = 0) -> str:
    """Mean over seeds, and the smallest and largest; a dash where nothing was estimated."""
    values = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        values.append(np.nan if value is None else scale * value)
    good = [v for v in values if not np.isnan(v)]
    if not good:
        return "–"
    text = f"{np.mean(good):.{digits}f}" + (
        f" ({min(good):.{digits}f} to {max(good):.{digits}f})" if len(good) > 1 else ""
    )
    return text + (f" in {len(good)} of {len(values)}" if len(good) < len(values) else "")


FIGURES = (  # key, title, scale
    ("decisions", "decisions %", 100),
    ("decisions_where_they_differ", "where they differ %", 100),
    ("mass", "mass %", 100),
    ("efficiency", "efficiency", 1),
)


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown tables, one for every set and mode;
    validity and comprehension beside every figure.
    """
    parts = []
    labels = told_apart({key: t["label"] for r in rows for key, t in r["targets"].items()})
    heads = [f"{label}: {title}" for label in labels.values() for _, title, _ in FIGURES]
    for mode in ("reasoned", "direct"):
        for held in ("payoffs", "wordings"):
            some = [r for r in rows if r["set"] == held and r["mode"] in (mode, "rule")]
            if not any(r["mode"] == mode for r in some):
                continue
            columns = [
                "arm",
                "valid %",
                "control %",
                *heads,
                "kappa",
                "kappa alone",
                "alpha",
                "beta",
                "lambda / 10",
            ]
            lines = [
                f"### Held-out {held}, {mode} answers\n",
                "| " + " | ".join(columns) + " |",
                "|" + "---|" * len(columns),
            ]
            for arm in dict.fromkeys(r["arm"] for r in some):
                every = [r for r in some if r["arm"] == arm]
                mine = [r for r in every if not r["outside"]]
                rule = every[0]["mode"] == "rule"
                cells = [
                    arm,
                    *(
                        "" if rule else over_seeds(every, key, scale=100, digits=1)
                        for key in ("valid_answer_probability", "comprehension")
                    ),
                ]
                if not mine:
                    lines.append(
                        "| "
                        + " | ".join(
                            [
                                *cells,
                                "answers outside the form",
                                *[""] * (len(columns) - len(cells) - 1),
                            ]
                        )
                        + " |"
                    )
                    continue
                for key in labels:
                    cells += [
                        over_seeds(
                            mine,
                            "targets",
                            key,
                            f,
                            "mean",
                            scale=scale,
                            digits=0 if scale > 1 else 2,
                        )
                        for f, _, scale in FIGURES
                    ]
                cells.append(
                    over_seeds(mine, "alpha_beta_kappa", "estimates", "kappa", "value", digits=2)
                )
                cells.append(
                    over_seeds(mine, "homo_moralis", "estimates", "kappa", "value", digits=2)
                )
                cells += [
                    over_seeds(mine, "alpha_beta_kappa", "estimates", p, "value", digits=2)
                    for p in ("alpha", "beta")
                ]
                cells.append(
                    over_seeds(
                        mine, "alpha_beta_kappa", "estimates", "lambda", "value", scale=10, digits=2
                    )
                )
                lines.append("| " + " | ".join(cells) + " |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def kappa_range(found: dict[str, Any]) -> tuple[float, float] | None:
    """(kappa, SE); of a deterministic chooser the middle of its bounds and half their width,
    which no SE is better than.
    """
    if "estimates" in found:
        return found["estimates"]["kappa"]["value"], found["estimates"]["kappa"]["se"]
    low, high = (found.get("bounds") or {}).get("kappa") or (None, None)
    return None if low is None or high is None else ((low + high) / 2, (high - low) / 2)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """What had to be shown, held against the numbers, seed by seed.

    An arm that answers outside the form shows nothing.
    """
    lines = []
    for mode in ("reasoned", "direct"):
        for held in ("payoffs", "wordings"):
            checks: dict[str, list[bool | None]] = {}
            for seed in sorted({r["seed"] for r in rows}):
                by_arm = {
                    r["arm"]: r
                    for r in rows
                    if r["seed"] == seed and r["set"] == held and r["mode"] in (mode, "rule")
                }
                if "base" in by_arm:
                    for name, shown in seed_checks(by_arm).items():
                        checks.setdefault(name, []).append(shown)
            for name, results in checks.items():
                unknown = sum(r is None for r in results)
                counts = f"{sum(r is True for r in results)} of {len(results)} seeds" + (
                    f" ({unknown} not to be judged)" if unknown else ""
                )
                lines.append(f"| {held}, {mode} | {name} | {counts} |")
    return "\n".join(["| decisions | required | shown in |", "|---|---|---|", *lines])


def seed_checks(by_arm: dict[str, dict[str, Any]]) -> dict[str, bool | None]:
    """What one seed shows, by name; None where an arm answers outside the form
    or nothing was identified.
    """
    inside = {arm: r for arm, r in by_arm.items() if not r["outside"]}

    def taken(arm: str, target: str) -> float | None:
        found = inside[arm]["targets"].get(target) if arm in inside else None
        return found["decisions"]["mean"] if found and found["decisions"] else None

    checks: dict[str, bool | None] = {}
    for arm in ("economicus", "moralis"):
        target = ARMS[arm][0]
        label = next(
            (r["targets"][target]["label"] for r in inside.values() if target in r["targets"]), arm
        )
        others = {"base": "base", "placebo": "placebo", f"constant, {label}": "the best constant"}
        for other, name in others.items():
            reached, there = taken(arm, target), taken(other, target)
            # ten points exactly are ten points
            lead = None if reached is None or there is None else round(reached - there, 9) >= 0.1
            checks[f"{arm} at least 10 points above {name}"] = lead
    low, high = (
        kappa_range(inside[a]["homo_moralis"]) if a in inside else None
        for a in ("economicus", "moralis")
    )
    gap = (
        None
        if low is None or high is None
        else high[0] - low[0] > 3 * float(np.hypot(low[1], high[1]))
    )
    checks["kappa of moralis above that of economicus by more than 3 SE"] = gap
    lambdas = {
        a: r["homo_moralis"].get("estimates", {}).get("lambda", {}).get("value")
        for a, r in inside.items()
    }
    for arm in ("economicus", "moralis"):
        up = None
        if arm in inside and "base" in inside:
            # a base whose lambda is not clearly above 0 has no estimate, a deterministic chooser's
            # is unbounded
            endless = bool(inside[arm]["homo_moralis"].get("bounds"))
            up = endless if lambdas[arm] is None else lambdas[arm] > (lambdas["base"] or 0)
        checks[f"lambda of {arm} above the base's"] = up
    return checks


def main() -> None:
    """Entry point."""
    config = parse(ResultsConfig, None, __doc__)
    rows = [row for seed in config.seeds for row in one_seed(config, seed)]
    write_json(
        HERE / f"{config.name}.json",
        origin()
        | {
            "model": config.model,
            "n": config.n,
            "seeds": config.seeds,
            "items": config.items,
            "rows": rows,
        },
    )
    fill_section(HERE / "RESULTS.md", config.name, f"{verdicts(rows)}\n\n{tables(rows)}")
    print(verdicts(rows))


if __name__ == "__main__":
    command(main)
