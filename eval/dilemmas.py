"""Moral dilemmas of autonomous vehicles: does an agent that was tuned on games judge sacrifices differently?

    python -m eval.dilemmas --adapter runs/moralis
    python -m eval.dilemmas --model qwen2.5-7b --battery conjoint --scenarios 2000 --out runs/base-dilemmas
    python -m eval.dilemmas --simulate kappa=0.7,lambda=4,age=0.3,number=0.4,habit=0.5 --out runs/known

ratings: 210 cells (who rides and who you are, people saved, statement), the whole distribution over 0..100, scale up and down.
conjoint: scenarios on nine dimensions, each asked with groups and cases exchanged; AMCEs with errors clustered by scenario, beside
humans and beside agents that see nothing (the floor).  Writes ratings.jsonl, conjoint.jsonl, scenarios.jsonl, summary.json,
table.csv, figure.png and run.json; an interrupted run continues when the command is repeated.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from econmoral.dilemmas import (
    CASES,
    CONJOINT_WORDINGS,
    DIMENSIONS,
    NULLS,
    PAGES,
    QUESTIONS,
    RATING_WORDINGS,
    SCALE,
    SCENES,
    Rating,
    Scenario,
    amce,
    code,
    draw_scenarios,
    fit_sacrifice,
    linear_chooser,
    predicted_choice,
    rating_answers,
    rating_grid,
    read_scenario,
    render_rating,
    render_scenario,
    sacrifice_gains,
    scenario_record,
)
from econmoral.human import moral_machine, reference
from econmoral.prompts import preference_text
from econmoral.records import InputError, command, finite, lock, origin, read_lines, spreadsheet_cell, terminal, write_json, write_lines, write_text
from eval.arms import adapter_names, add_engine_options, base_of, check_sources, collect, load, parse_parameters, settings_key
from eval.engines import Answer, Arm, Engine, Request
from eval.figure import COLOURS, save

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BATTERIES = ("ratings", "conjoint")


@dataclass(frozen=True)
class Known:
    """A chooser of known AMCEs, kappa and lambda, and a habit: so much is added to the probability of the case named first."""

    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities; every statement about a sacrifice is rated 100 P(sacrifice), to the nearest integer."""
        answers = []
        for r in requests:
            thing: Any = r.item
            flags: Any = r.layout
            if isinstance(thing, Rating):
                own, alike = sacrifice_gains(thing.scene, thing.saved)
                kappa = self.theta.get("kappa", 0.0)
                rating = round(100 * expit(self.precision * ((1 - kappa) * own + kappa * alike)))
                answers.append(Answer(np.eye(SCALE)[SCALE - 1 - rating if flags[0] else rating]))
            else:
                swapped, reverse = flags
                spared = linear_chooser(thing, swapped, self.theta)
                first = spared if reverse else 1 - spared
                first = float(np.clip(first + self.theta.get("habit", 0.0), 0, 1))
                answers.append(Answer(np.array([first, 1 - first])))
        return answers


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.dilemmas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="a chooser instead of a model: kappa, lambda, AMCEs by dimension, habit")
    parser.add_argument("--prompted", action="store_true", help="also measure the base with each preference described in the system message")
    parser.add_argument("--battery", choices=BATTERIES, nargs="+", default=list(BATTERIES), help="default both")
    parser.add_argument("--scenarios", type=int, default=400, help="conjoint scenarios, four pages each (default 400)")
    parser.add_argument("--read", type=Path, metavar="FILE", help="take the scenarios from a scenarios.jsonl of an earlier run instead")
    parser.add_argument("--countries", type=Path, metavar="CSV", help="also compare with these AMCEs: columns country, dimension, value")
    parser.add_argument("--samples", type=int, default=20, help="replies per page, at an endpoint without log-probabilities (default 20)")
    parser.add_argument("--kappa", type=float, default=0.5, help="degree of morality of the theory line (default 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: dilemmas/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "dilemmas")
    if args.scenarios < 2 or args.samples < 1 or args.seed < 0 or not 0 <= args.kappa <= 1:
        raise InputError("--scenarios must be at least 2, --samples at least 1, --seed not negative, --kappa in [0, 1]")
    args.battery = list(dict.fromkeys(args.battery))
    return args


def distribution(arm: Arm, name: str, answer: Answer) -> tuple[np.ndarray | None, float]:
    """(shares of the admissible answers or None where refused, their mass).  Raises InputError when a model gives them none."""
    mass = float(answer.probabilities.sum())
    if not (0 < mass < 1 + 1e-4 or (answer.sampled and mass == 0)):
        raise InputError(f"{arm.name}, {name}: the admissible answers have probability {mass}; is this a chat model, and is its template right?")
    return (answer.probabilities / mass if mass > 0 else None), mass


def ask_ratings(engine: Engine, cells: list[Rating], arm: Arm, seed: int) -> list[dict[str, Any]]:
    """One record per cell: the distribution over 0..100, averaged over wordings and both directions of the scale."""
    flags = [(reverse, wording) for reverse in (False, True) for wording in range(len(RATING_WORDINGS))]
    pages: Any = [Request(render_rating(c, *f, arm.system), rating_answers(), c, f) for c in cells for f in flags]  # type: ignore[arg-type]
    found = iter(engine.score(pages, arm, seed))
    records = []
    for cell in cells:
        kept, masses, up = [], [], []
        for reverse, _ in flags:
            p, mass = distribution(arm, f"{cell.scene}, {cell.saved} saved, {cell.question}", next(found))
            masses.append(mass)
            if p is not None:
                kept.append(p[::-1] if reverse else p)
                up.append((1 if reverse else -1) * float(kept[-1] @ np.arange(SCALE)))
        record: dict[str, Any] = asdict(cell) | {"arm": arm.name, "mass": float(np.mean(masses)), "mean": None, "sd": None, "probabilities": None}
        if kept:
            p = np.mean(kept, axis=0)
            mean = float(p @ np.arange(SCALE))
            record |= {"mean": mean, "sd": float(np.sqrt(p @ (np.arange(SCALE) - mean) ** 2)), "probabilities": [round(float(v), 7) for v in p]}
            record["direction_bias"] = float(2 * np.mean(up)) if len(up) == len(flags) else None
        records.append(record)
    return records


def ask_conjoint(engine: Engine, scenarios: list[tuple[int, Scenario, int]], arm: Arm, seed: int) -> list[dict[str, Any]]:
    """One record per scenario: probability that side 0 is spared on each of its four pages, null where refused."""
    pages: Any = [Request(render_scenario(s, *page, wording, arm.system), list(CASES), s, page) for _, s, wording in scenarios for page in PAGES]  # type: ignore[arg-type]
    found = iter(engine.score(pages, arm, seed))
    records = []
    for number, _, wording in scenarios:
        spared: list[float | None] = []
        masses, first = [], []
        for _, reverse in PAGES:
            p, mass = distribution(arm, f"scenario {number}", next(found))
            masses.append(mass)
            # case 1 kills side 0, unless the cases are reversed
            spared.append(None if p is None else float(p[0] if reverse else p[1]))
            first += [] if p is None else [float(p[0])]
        records.append(
            {
                "scenario": number, "wording": wording, "arm": arm.name, "spared": spared, "mass": float(np.mean(masses)),
                "first_case": float(np.mean(first)) if first else None,
            }
        )  # fmt: skip
    return records


def rating_summary(records: list[dict[str, Any]], kappa: float) -> dict[str, Any]:
    """Means, slopes, gaps and theory of one arm.  Errors are clustered by scene and people saved (35 clusters)."""
    kept = [r for r in records if r["mean"] is not None]
    mean = {(r["scene"], r["saved"], r["question"]): r["mean"] for r in kept}
    questions = {}
    for q in QUESTIONS:
        some = [r for r in kept if r["question"] == q]
        if len(some) > len(SCENES) + 1:
            y, x = np.array([r["mean"] for r in some]), np.log2([r["saved"] for r in some])
            dummies = np.array([[r["scene"] == s for s in SCENES] for r in some], float)
            x -= dummies @ np.linalg.lstsq(dummies, x, rcond=None)[0]
            slope = float(x @ y / (x @ x))
            residual = y - dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0] - slope * x
            n = len(some)
            se = float(np.sqrt(((x * residual) ** 2).sum() * n / (n - len(SCENES) - 1)) / (x @ x))
            questions[q] = {
                "mean": {"value": float(y.mean()), "se": float(y.std(ddof=1) / np.sqrt(n))}, "sd": float(np.mean([r["sd"] for r in some])),
                "slope": {"value": slope, "se": se},
            }  # fmt: skip
    dilemma = [v - mean[s, n, "buy"] for (s, n, q), v in mean.items() if q == "moral" and (s, n, "buy") in mean]
    family = [v - mean["passenger", n, q] for (s, n, q), v in mean.items() if s == "family" and ("passenger", n, q) in mean]
    chosen = [r for r in kept if r["question"] == "choose"]
    cells = [Rating(r["scene"], r["saved"], r["question"]) for r in chosen]
    fitted = fit_sacrifice(cells, np.array([r["mean"] / 100 for r in chosen])) if len(chosen) > 2 else {"not_identified": "too few answers"}
    lines = {"homo economicus": 0.0, f"homo moralis {kappa:g}": kappa} | ({"own kappa": fitted["kappa"]["value"]} if "kappa" in fitted else {})
    theory = {}
    for name, k in lines.items():
        predicted = [predicted_choice(c.scene, c.saved, k) for c in cells]
        strict = [(c, p, r["mean"]) for c, p, r in zip(cells, predicted, chosen, strict=True) if p != 0.5]
        apart = [f"{c.scene}, {c.saved} saved: theory {'sacrifice' if p else 'protect'}, rated {m:.0f}" for c, p, m in strict if (m > 50) != (p > 0.5)]
        theory[name] = {"agreement": 1 - len(apart) / len(strict) if strict else None, "cells": len(strict), "departures": apart}
    return {
        "questions": questions, "social_dilemma_gap": paired(dilemma), "family_gap": paired(family), "kappa": fitted, "theory": theory,
        "admissible_mass": float(np.mean([r["mass"] for r in records])), "refused_cells": len(records) - len(kept),
        "direction_bias": float(np.mean([r["direction_bias"] for r in kept if r.get("direction_bias") is not None] or [np.nan])),
    }  # fmt: skip


def paired(differences: list[float]) -> dict[str, float] | None:
    """Mean of paired differences with its standard error."""
    if len(differences) < 2:
        return None
    return {"value": float(np.mean(differences)), "se": float(np.std(differences, ddof=1) / np.sqrt(len(differences))), "n": len(differences)}


def spared_matrix(records: list[dict[str, Any]]) -> np.ndarray:
    """(n, 4) with nan where refused."""
    return np.array([[np.nan if v is None else v for v in r["spared"]] for r in records])


def distance(effects: dict[str, dict[str, float]], other: dict[str, float]) -> float | None:
    """Mean absolute difference over the dimensions both have; None without any."""
    gaps = [abs(effects[d]["value"] - v) for d, v in other.items() if d in effects]
    return float(np.mean(gaps)) if gaps else None


def read_countries(path: Path) -> dict[str, dict[str, float]]:
    """country -> dimension -> AMCE.  Raises InputError naming the line."""
    table: dict[str, dict[str, float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    country, dimension, value = str(row["country"]), row["dimension"], float(row["value"])
                except (KeyError, TypeError, ValueError):
                    raise InputError(f"{path}, line {number}: needs columns country, dimension and a number as value") from None
                if dimension not in DIMENSIONS or not -1 <= value <= 1:
                    raise InputError(f"{path}, line {number}: dimension must be one of {', '.join(DIMENSIONS)} and the value lie in [-1, 1]")
                table.setdefault(country, {})[dimension] = value
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV table: {error}") from None
    if not table:
        raise InputError(f"{path} holds no countries")
    return table


def conjoint_summary(scenarios: list[Scenario], records: list[dict[str, Any]], countries: dict[str, dict[str, float]]) -> dict[str, Any]:
    """AMCEs, refusals, habit of position and distances of one arm."""
    effects = amce(code(scenarios), spared_matrix(records))
    near = sorted((d, c) for c, table in countries.items() if (d := distance(effects, table)) is not None)
    first = [r["first_case"] for r in records if r["first_case"] is not None]
    return {
        "effects": effects, "refused": float(1 - np.mean([r["mass"] for r in records])), "first_case": float(np.mean(first)) if first else None,
        "distance_to_humans": distance(effects, {d: v["world"] for d, v in moral_machine().items()}),
        "nearest_countries": [{"country": c, "distance": d} for d, c in near[:5]],
    }  # fmt: skip


def differences(tuned: list[dict[str, Any]], base: list[dict[str, Any]], scenarios: list[Scenario]) -> dict[str, dict[str, float]]:
    """AMCEs of an arm minus those of the base, from the same scenarios; errors of the difference, clustered by scenario."""
    coded = code(scenarios)
    # an AMCE is linear in what is spared: that of half the difference, moved to the middle, is half the difference of AMCEs
    gap = amce(coded, 0.5 + (spared_matrix(tuned) - spared_matrix(base)) / 2)
    return {d: {"value": 2 * v["value"], "se": 2 * v["se"], "n": v["n"]} for d, v in gap.items()}


def null_agents(scenarios: list[Scenario]) -> dict[str, Any]:
    """What agents that see nothing score on the same scenarios: the floor."""
    coded = code(scenarios)
    return {name: amce(coded, np.array([[rule(s, *page) for page in PAGES] for s in scenarios])) for name, rule in NULLS.items()}


def draw(summary: dict[str, Any], ratings: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Left: AMCEs of every arm beside humans.  Right: rated morality and stated purchase by people saved."""
    arms = list(summary["arms"])
    colour = {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
    with_conjoint = [a for a in arms if "conjoint" in summary["arms"][a]]
    panels = bool(with_conjoint) + bool(ratings)
    figure, axes = plt.subplots(1, panels, figsize=(6.4 * panels, 6), layout="constrained", squeeze=False)
    axis = axes[0, 0]
    if with_conjoint:
        human = moral_machine()
        axis.plot([human[d]["world"] for d in DIMENSIONS], range(len(DIMENSIONS)), "D", color="black", mfc="white", ms=7, label="humans (Moral Machine)")
        for i, arm in enumerate(with_conjoint):
            effects = summary["arms"][arm]["conjoint"]["effects"]
            shift = (i - (len(with_conjoint) - 1) / 2) * 0.6 / len(with_conjoint)
            places = [k for k, d in enumerate(DIMENSIONS) if d in effects]
            values = [effects[d] for d in DIMENSIONS if d in effects]
            axis.errorbar(
                [v["value"] for v in values],
                np.array(places) + shift,
                xerr=[1.96 * v["se"] for v in values],
                fmt="o",
                ms=5,
                lw=1.2,
                color=colour[arm],
                label=arm,
            )
        axis.axvline(0, color="black", lw=0.8)
        axis.set(yticks=range(len(DIMENSIONS)), yticklabels=[f"{d} ({side})" for d, side in DIMENSIONS.items()], xlabel="AMCE on being spared (95 % interval)")
        axis.invert_yaxis()
        axis.grid(axis="x", color="#dddddd")
        axis.set_title("whom the agent spares")
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=2)
    if ratings:
        axis = axes[0, -1]
        for arm, records in ratings.items():
            for question, style in (("moral", "-"), ("buy", "--")):
                some = [r for r in records if r["question"] == question and r["mean"] is not None]
                saved = sorted({r["saved"] for r in some})
                means = [np.mean([r["mean"] for r in some if r["saved"] == n]) for n in saved]
                axis.plot(saved, means, style, marker="o", ms=4, color=colour[arm], label=f"{arm}: {question}")
        axis.set(xscale="log", ylim=(0, 100), xlabel="people saved by the sacrifice", ylabel="mean rating (0-100), over scenes")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.grid(color="#dddddd")
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        axis.set_title("the social dilemma: moral, but would one buy it?")
    save(figure, path)


def number(value: dict[str, float] | None, digits: int = 2) -> str:
    """``0.31 ± 0.02``."""
    return "–" if value is None else f"{value['value']:.{digits}f} ± {value['se']:.{digits}f}"


def conjoint_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """One row per dimension, then distance, refusals and habit; a column for humans, every arm and every null agent."""
    arms = {a: s["conjoint"] for a, s in summary["arms"].items() if "conjoint" in s}
    columns = {a: s["effects"] for a, s in arms.items()} | summary["null_agents"]
    rows = []
    for d, side in DIMENSIONS.items():
        rows.append({"measure": f"AMCE {d} ({side})", "humans": f"{moral_machine()[d]['world']:.2f}"} | {a: number(e.get(d)) for a, e in columns.items()})
    for measure, key, scale, unit in (
        ("mean distance to humans", "distance_to_humans", 1, ""),
        ("refused", "refused", 100, " %"),
        ("first case", "first_case", 100, " %"),
    ):
        values = {a: "–" if s[key] is None else f"{scale * s[key]:.{2 if scale == 1 else 0}f}{unit}" for a, s in arms.items()}
        rows.append({"measure": measure, "humans": ""} | values)
    return rows


def rating_rows(rated: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Means and slopes by statement, gaps, kappa, agreement with theory; a column for every arm."""

    def row(measure: str, cell: Callable[[dict[str, Any]], str]) -> dict[str, str]:
        return {"measure": measure} | {arm: cell(s) for arm, s in rated.items()}

    rows = []
    for q in QUESTIONS:
        rows.append(row(f"rating: {q}", lambda s, q=q: number(s["questions"].get(q, {}).get("mean"), 0)))
        rows.append(row(f"  per doubling of people saved: {q}", lambda s, q=q: number(s["questions"].get(q, {}).get("slope"), 1)))
    rows.append(row("social-dilemma gap, moral - buy", lambda s: number(s["social_dilemma_gap"], 0)))
    rows.append(row("family gap, with family - alone", lambda s: number(s["family_gap"], 0)))
    rows.append(row("kappa of the stated choices", lambda s: number(s["kappa"]["kappa"]) if "kappa" in s["kappa"] else "not id."))
    for line in dict.fromkeys(line for s in rated.values() for line in s["theory"]):
        rows.append(row(f"chooses as {line} would", lambda s, line=line: agreement(s["theory"].get(line))))
    return rows


def agreement(theory: dict[str, Any] | None) -> str:
    """``83 %`` of the cells in which theory is not indifferent."""
    return "–" if theory is None or theory["agreement"] is None else f"{100 * theory['agreement']:.0f} % of {theory['cells']}"


def show(summary: dict[str, Any], console: Console) -> list[dict[str, str]]:
    """Print both tables; the rows, for the CSV."""
    rows: list[dict[str, str]] = []
    if "null_agents" in summary:
        rows += conjoint_rows(summary)
        table(rows, "conjoint: change in the probability of being spared (± one standard error, clustered by scenario)", console)
    if rated := {a: s["ratings"] for a, s in summary["arms"].items() if "ratings" in s}:
        more = rating_rows(rated)
        table(more, "ratings, 0 to 100 (± one standard error, clustered by scene and people saved)", console)
        for row in reference("autonomous vehicles").itertuples():
            console.print(f"  humans: {row.statistic}: {row.value:g} ({row.source}, {row.status})", highlight=False)
        rows += more
    return rows


def table(rows: list[dict[str, Any]], title: str, console: Console) -> None:
    """Print rows of text."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        grid.add_column("" if column == "measure" else column, justify="left" if column == "measure" else "right")
    for row in rows:
        grid.add_row(*(row.get(c, "") for c in columns))
    console.print(grid)


def read_scenarios(path: Path) -> list[Scenario]:
    """Scenarios of a file.  Raises InputError naming the line."""
    scenarios = []
    for line, row in read_lines(path):
        try:
            scenarios.append(read_scenario(row))
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
    return scenarios


def main() -> None:
    """Entry point."""
    args = arguments()
    console = terminal(150)
    adapters = adapter_names(args.adapter)
    base_of(args, adapters)
    rng = np.random.default_rng([args.seed, 7])
    scenarios = read_scenarios(args.read) if args.read else draw_scenarios(args.scenarios, rng)
    countries = read_countries(args.countries) if args.countries else {}
    lock(args.out)
    items: dict[str, list[Any]] = {
        "ratings": rating_grid(),
        "conjoint": [(i, s, int(w)) for i, (s, w) in enumerate(zip(scenarios, rng.integers(len(CONJOINT_WORDINGS), size=len(scenarios)), strict=True))],
    }
    askers: dict[str, Callable[..., list[dict[str, Any]]]] = {"ratings": ask_ratings, "conjoint": ask_conjoint}
    arms = [Arm("chooser")] if args.simulate else [Arm("base")]
    if args.prompted and not args.simulate:
        arms += [Arm(f"base, told {p.removeprefix('homo_')}", None, preference_text(p, args.kappa)) for p in ("homo_economicus", "homo_moralis")]
    arms += [Arm(name, name) for name in adapters]
    engine: Engine | None = None
    found: dict[str, dict[str, list[dict[str, Any]]]] = {b: {} for b in args.battery}
    for arm in arms:
        for battery in args.battery:

            def ask(some: list[Any], start: int, arm: Arm = arm, battery: str = battery) -> list[dict[str, Any]]:
                nonlocal engine
                if engine is None and args.simulate:
                    engine = Known(*parse_parameters(args.simulate, ("kappa", "habit", *DIMENSIONS)))
                engine = engine or load(args, adapters, console)
                return askers[battery](engine, some, arm, start)

            key = [battery, [scenario_record(s) for s in scenarios] if battery == "conjoint" else None]
            part = args.out / "parts" / f"{settings_key(args, arm, adapters, key)}.jsonl"
            found[battery][arm.name] = collect(part, items[battery], ask, f"{arm.name}, {battery}")
    summary: dict[str, Any] = {"arms": {arm.name: {} for arm in arms}}
    if "conjoint" in found:
        summary |= {"scenarios": len(scenarios), "null_agents": null_agents(scenarios), "humans": moral_machine()}
        for name, records in found["conjoint"].items():
            summary["arms"][name]["conjoint"] = conjoint_summary(scenarios, records, countries)
            if name != arms[0].name:
                summary["arms"][name]["conjoint"]["minus_base"] = differences(records, found["conjoint"][arms[0].name], scenarios)
    for name, records in found.get("ratings", {}).items():
        summary["arms"][name]["ratings"] = rating_summary(records, args.kappa)
    for name in adapters:
        if all([r | {"arm": ""} for r in of[name]] == [r | {"arm": ""} for r in of["base"]] for of in found.values()):
            raise InputError(f"adapter {adapters[name]}: every probability equals the base's; the adapter is empty or was not applied")
    for battery, by_arm in found.items():
        write_lines(args.out / f"{battery}.jsonl", (r for records in by_arm.values() for r in records))
    write_lines(args.out / "scenarios.jsonl", map(scenario_record, scenarios))
    write_json(args.out / "summary.json", finite(summary))
    draw(summary, found.get("ratings", {}), args.out / "figure.png")
    rows = show(summary, console)
    write_text(args.out / "table.csv", pd.DataFrame(rows).map(spreadsheet_cell).to_csv(index=False))
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    settings = {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    known = {"settings": settings, "tokens": getattr(engine, "tokens", None), "weights": getattr(engine, "weights", None)}
    write_json(args.out / "run.json", origin(**inputs) | known)
    console.print(f"{args.out}/: ratings.jsonl conjoint.jsonl scenarios.jsonl summary.json table.csv figure.png run.json")


if __name__ == "__main__":
    command(main)
