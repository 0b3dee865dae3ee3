"""Moral dilemmas of autonomous vehicles: does an agent that was tuned on games judge sacrifices differently?

    python -m eval.dilemmas --adapter runs/moralis --adapter runs/placebo --prompted
    python -m eval.dilemmas --model qwen2.5-7b --battery conjoint --scenarios 2000 --out runs/base-dilemmas
    python -m eval.dilemmas --model smollm2-135m --samples 20 --replies sampled --out runs/read
    python -m eval.dilemmas --simulate kappa=0.7,lambda=4,age=0.3,number=0.4,habit=0.5 --out runs/known

ratings: 210 cells (who rides and who you are, people saved, statement), the whole distribution over 0..100, scale up and down.
conjoint: scenarios on nine dimensions, each asked with groups and cases exchanged; AMCEs with errors clustered by scenario,
beside humans and beside agents that see nothing (the floor).  Every figure stands beside the valid-answer probability (how
likely a reply is a letter or number as asked) and comprehension (how likely control questions are answered right).  A
condition that is valid with less than one half gets no figures.  Differences are taken to the base and to every placebo
among the adapters (trained on shuffled answers).  Writes ratings.jsonl, conjoint.jsonl, scenarios.jsonl, summary.json,
table.csv, figure.png and run.json; an interrupted run continues when the command is repeated.
"""

from __future__ import annotations

import argparse
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
    DIMENSIONS,
    HELD_OUT,
    NULLS,
    PAGES,
    QUESTIONS,
    SAVED,
    SCALE,
    SCENES,
    TRAIN,
    CasePage,
    Rating,
    Scenario,
    amce,
    case_pages,
    code,
    draw_labels,
    draw_scenarios,
    fit_sacrifice,
    linear_chooser,
    listed_shares,
    predicted_choice,
    rating_conversation,
    rating_grid,
    read_scenario,
    sacrifice_gains,
    scenario_conversation,
    scenario_record,
    share_spared,
    unreversed,
)
from econmoral.human import moral_machine, reference
from econmoral.records import (
    InputError,
    command,
    finite,
    lock,
    origin,
    plain,
    program,
    read_lines,
    spreadsheet_cell,
    terminal,
    write_json,
    write_lines,
    write_text,
)
from econmoral.sheet import read_sheet
from econmoral.target import ECONOMICUS, Target, moralis

from .arms import adapter_names, adapter_record, add_engine_options, base_of, check_sources, collect, load, parse_parameters, settings_key
from .engines import Answer, Arm, Engine, Request, Sampled
from .figure import COLOURS, save, try_to_draw, written
from .validity import OUTSIDE, advice, fingerprint, is_placebo, overall, percent, quality, told_arms

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BATTERIES = ("ratings", "conjoint")
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}


@dataclass(frozen=True)
class Known:
    """A chooser of known AMCEs, kappa and lambda, and a habit: so much is added to the probability of the case named first."""

    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities; every statement about a sacrifice is rated 100 P(sacrifice), to the nearest integer."""
        answers = []
        for r in requests:
            if isinstance(r.item, Rating):
                own, alike = sacrifice_gains(r.item.scene, r.item.saved)
                kappa = self.theta.get("kappa", 0.0)
                rating = round(100 * expit(self.precision * ((1 - kappa) * own + kappa * alike)))
                answers.append(Answer.certain(unreversed(np.eye(SCALE)[rating], r.layout), r))
            else:
                page: CasePage = r.layout
                first = float(listed_shares(linear_chooser(r.item, page.swapped, self.theta), page)[0])
                first = float(np.clip(first + self.theta.get("habit", 0.0), 0, 1))
                answers.append(Answer.certain(np.array([first, 1 - first]), r))
        return answers


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.dilemmas"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="a chooser instead of a model: kappa, lambda, AMCEs by dimension, habit")
    parser.add_argument("--prompted", action="store_true", help="also measure the base with each target described in the system message")
    parser.add_argument(
        "--targets", nargs="+", metavar="FAMILY:NAME=VALUE", help="targets of --prompted and of the theory lines (default: homo_economicus, homo_moralis)"
    )
    parser.add_argument("--battery", choices=BATTERIES, nargs="+", default=list(BATTERIES), help="default both")
    parser.add_argument("--scenarios", type=int, default=400, help="conjoint scenarios, four pages each (default 400)")
    parser.add_argument("--read", type=Path, metavar="FILE", help="take the scenarios from a scenarios.jsonl of an earlier run instead")
    parser.add_argument("--countries", type=Path, metavar="CSV", help="also compare with these AMCEs: columns country, dimension, value")
    parser.add_argument("--wordings", choices=tuple(WORDINGS), default="train", help="wordings used in training, or held-out ones (default train)")
    parser.add_argument(
        "--replies",
        choices=("exact", "sampled"),
        default="exact",
        help="probabilities of the admissible replies, or free replies that are read (default exact)",
    )
    parser.add_argument("--samples", type=int, default=20, help="replies per page, where they are sampled (default 20)")
    parser.add_argument("--kappa", type=float, help="degree of morality of the default targets' homo moralis (default 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: dilemmas/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "dilemmas")
    if args.scenarios < 2 or args.samples < 1 or args.seed < 0:
        raise InputError("--scenarios must be at least 2, --samples at least 1, --seed not negative")
    if args.kappa is not None and args.targets:
        raise InputError("--kappa belongs to the default targets; with --targets write homo_moralis:kappa=...")
    if args.simulate and (args.replies == "sampled" or args.prompted):
        raise InputError("--simulate has no words: it takes neither --replies sampled nor --prompted")
    chosen = [Target.parse(t) for t in args.targets] if args.targets else [ECONOMICUS, moralis(0.5 if args.kappa is None else args.kappa)]
    told_arms(chosen)  # refuses a target that is given twice
    args.targets = [str(t) for t in chosen]
    args.battery = list(dict.fromkeys(args.battery))
    return args


Cell = tuple[Rating, int]  # with its wording
Case = tuple[int, Scenario, int, tuple[str, str]]  # number, scenario, wording, letters of the cases


def rating_items(wordings: tuple[int, ...]) -> list[Cell]:
    """Every cell with a wording: the statements about one accident share it, neighbouring accidents differ."""
    place = {(scene, saved): i + j for i, scene in enumerate(SCENES) for j, saved in enumerate(SAVED)}
    return [(cell, wordings[place[cell.scene, cell.saved] % len(wordings)]) for cell in rating_grid()]


def conjoint_items(scenarios: list[Scenario], wordings: tuple[int, ...], rng: np.random.Generator) -> list[Case]:
    """Every scenario with a wording and two letters."""
    drawn = rng.integers(len(wordings), size=len(scenarios))
    return [(i, s, wordings[w], draw_labels(rng)) for i, (s, w) in enumerate(zip(scenarios, drawn, strict=True))]


def rating_requests(cells: Sequence[Cell], arm: Arm, samples: int = 1) -> list[Request]:
    """Two pages a cell: the scale upwards and downwards."""
    return [Request(rating_conversation(cell, reverse, wording, arm.system), cell, reverse, samples) for cell, wording in cells for reverse in (False, True)]


def conjoint_requests(cases: Sequence[Case], arm: Arm, samples: int = 1) -> list[Request]:
    """Four pages a scenario, in the order of ``PAGES``."""
    return [
        Request(scenario_conversation(scenario, page, arm.system), scenario, page, samples)
        for _, scenario, wording, labels in cases
        for page in case_pages(wording, labels)
    ]


def shares(answer: Answer) -> np.ndarray | None:
    """Probability of every option given an admissible reply; None where there was none at all."""
    p = answer.probabilities
    return None if p is None or not np.isfinite(p).all() else p


def ask_ratings(engine: Engine, cells: Sequence[Cell], arm: Arm, seed: int, samples: int = 1) -> list[dict[str, Any]]:
    """One record per cell: the distribution of agreement over 0..100, averaged over both directions of the scale."""
    found = iter(engine.score(rating_requests(cells, arm, samples), arm, seed))
    records = []
    for cell, wording in cells:
        answers = [next(found), next(found)]
        pages = [None if (p := shares(a)) is None else unreversed(p, reverse) for a, reverse in zip(answers, (False, True), strict=True)]
        record = asdict(cell) | {"arm": arm.name, "wording": wording} | quality(answers)
        record |= {"mean": None, "sd": None, "probabilities": None, "direction_bias": None}
        kept = [p for p in pages if p is not None]
        if kept:
            p = np.mean(kept, axis=0)
            mean = float(p @ np.arange(SCALE))
            record |= {"mean": mean, "sd": float(np.sqrt(p @ (np.arange(SCALE) - mean) ** 2)), "probabilities": [round(float(v), 7) for v in p]}
        if len(kept) == 2:
            record["direction_bias"] = float((kept[1] - kept[0]) @ np.arange(SCALE))
        records.append(record)
    return records


def ask_conjoint(engine: Engine, cases: Sequence[Case], arm: Arm, seed: int, samples: int = 1) -> list[dict[str, Any]]:
    """One record per scenario: probability that side 0 is spared on each of its four pages, null where nothing was read."""
    found = iter(engine.score(conjoint_requests(cases, arm, samples), arm, seed))
    records = []
    for number, _, wording, labels in cases:
        pages = case_pages(wording, labels)
        answers = [next(found) for _ in pages]
        read = [shares(a) for a in answers]
        first = [float(p[0]) for p in read if p is not None]
        records.append(
            {
                "scenario": number, "wording": wording, "labels": list(labels), "arm": arm.name,
                "spared": [None if p is None else share_spared(p, page) for p, page in zip(read, pages, strict=True)],
                "first_case": float(np.mean(first)) if first else None,
            }
            | quality(answers)
        )  # fmt: skip
    return records


def theory_lines(targets: Sequence[Target]) -> dict[str, float]:
    """name -> kappa of the targets about which the theory line says something: homo economicus and homo moralis."""
    kantian = [t for t in targets if not any(v for name, v in t.values if name != "kappa")]
    return {"homo economicus" if t.kappa == 0 else f"homo moralis {t.kappa:g}": t.kappa for t in kantian}


def rating_summary(records: list[dict[str, Any]], targets: Sequence[Target]) -> dict[str, Any]:
    """Means, slopes, gaps and theory of one arm.  Errors are clustered by scene and people saved (35 clusters).

    A condition that answers outside the form has its validity and nothing else.
    """
    valid = overall(records)
    if valid["outside"]:
        nothing = {"questions": {}, "social_dilemma_gap": None, "family_gap": None, "kappa": {"not_identified": OUTSIDE}, "theory": {}}
        return valid | nothing | {"unread_cells": sum(r["mean"] is None for r in records), "direction_bias": None}
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
    lines = theory_lines(targets) | ({"own kappa": fitted["kappa"]["value"]} if "kappa" in fitted else {})
    theory = {}
    for name, k in lines.items():
        predicted = [predicted_choice(c.scene, c.saved, k) for c in cells]
        strict = [(c, p, r["mean"]) for c, p, r in zip(cells, predicted, chosen, strict=True) if p != 0.5]
        apart = [f"{c.scene}, {c.saved} saved: theory {'sacrifice' if p else 'protect'}, rated {m:.0f}" for c, p, m in strict if (m > 50) != (p > 0.5)]
        theory[name] = {"agreement": 1 - len(apart) / len(strict) if strict else None, "cells": len(strict), "departures": apart}
    biases = [r["direction_bias"] for r in kept if r["direction_bias"] is not None]
    return valid | {
        "questions": questions, "social_dilemma_gap": paired(dilemma), "family_gap": paired(family), "kappa": fitted, "theory": theory,
        "unread_cells": len(records) - len(kept), "direction_bias": float(np.mean(biases)) if biases else None,
    }  # fmt: skip


def paired(differences: list[float]) -> dict[str, float] | None:
    """Mean of paired differences with its standard error."""
    if len(differences) < 2:
        return None
    return {"value": float(np.mean(differences)), "se": float(np.std(differences, ddof=1) / np.sqrt(len(differences))), "n": len(differences)}


def rating_differences(tuned: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, dict[str, float] | None]:
    """Mean rating of every statement minus that of another arm, paired by scene and people saved."""
    other = {(r["scene"], r["saved"], r["question"]): r["mean"] for r in base}
    found = {}
    for question in QUESTIONS:
        both = [(r["mean"], other.get((r["scene"], r["saved"], question))) for r in tuned if r["question"] == question]
        found[question] = paired([a - b for a, b in both if a is not None and b is not None])
    return found


def spared_matrix(records: list[dict[str, Any]]) -> np.ndarray:
    """(n, 4) with nan where no reply was read."""
    return np.array([[np.nan if v is None else v for v in r["spared"]] for r in records])


def distance(effects: dict[str, dict[str, float]], other: dict[str, float]) -> float | None:
    """Mean absolute difference over the dimensions both have; None without any."""
    gaps = [abs(effects[d]["value"] - v) for d, v in other.items() if d in effects]
    return float(np.mean(gaps)) if gaps else None


def read_countries(path: Path) -> dict[str, dict[str, float]]:
    """country -> dimension -> AMCE.  Raises InputError naming the line, also where a country has a dimension twice."""
    sheet = read_sheet(path)
    sheet.need(("country", "dimension", "value"), "--countries")
    rule = f"dimension must be one of {', '.join(DIMENSIONS)}"
    values = sheet.numbers(["value"], "it must be a number in [-1, 1]")[:, 0]
    table: dict[str, dict[str, float]] = {}
    for i, (country, text) in enumerate(zip(sheet.labels("country"), sheet.columns["dimension"], strict=True)):
        dimension = text.strip()
        if dimension not in DIMENSIONS:
            raise sheet.bad(i, "dimension", rule)
        if not -1 <= values[i] <= 1:
            raise sheet.bad(i, "value", "it must be a number in [-1, 1]")
        if dimension in table.setdefault(country, {}):
            raise InputError(f"{sheet.where(i)}: {plain(country)} has a value for {dimension} already; leave one")
        table[country][dimension] = float(values[i])
    return table


def conjoint_summary(scenarios: list[Scenario], records: list[dict[str, Any]], countries: dict[str, dict[str, float]]) -> dict[str, Any]:
    """AMCEs, habit of position and distances of one arm; only the validity of one that answers outside the form."""
    valid = overall(records)
    if valid["outside"]:
        return valid | {"effects": {}, "first_case": None, "distance_to_humans": None, "nearest_countries": []}
    effects = amce(code(scenarios), spared_matrix(records))
    near = sorted((d, c) for c, table in countries.items() if (d := distance(effects, table)) is not None)
    first = [r["first_case"] for r in records if r["first_case"] is not None]
    return valid | {
        "effects": effects, "first_case": float(np.mean(first)) if first else None,
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
    asked = any("conjoint" in summary["arms"][a] for a in arms)
    with_conjoint = [a for a in arms if summary["arms"][a].get("conjoint", {}).get("effects")]
    panels = asked + bool(ratings)
    figure, axes = plt.subplots(1, panels, figsize=(6.4 * panels, 6), layout="constrained", squeeze=False)
    axis = axes[0, 0]
    if asked:
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
                label=written(arm),
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
            if summary["arms"][arm]["ratings"]["outside"]:
                continue
            for question, style in (("moral", "-"), ("buy", "--")):
                some = [r for r in records if r["question"] == question and r["mean"] is not None]
                saved = sorted({r["saved"] for r in some})
                means = [np.mean([r["mean"] for r in some if r["saved"] == n]) for n in saved]
                axis.plot(saved, means, style, marker="o", ms=4, color=colour[arm], label=f"{written(arm)}: {question}")
        axis.set(xscale="log", ylim=(0, 100), xlabel="people saved by the sacrifice", ylabel="mean rating (0-100), over scenes")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.grid(color="#dddddd")
        if axis.lines:  # none where every condition answers outside the form
            axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        axis.set_title("the social dilemma: moral, but would one buy it?")
    save(figure, path)


def number(value: dict[str, float] | None, digits: int = 2) -> str:
    """``0.31 ± 0.02``."""
    if value is None or value["value"] is None:
        return "–"
    return f"{value['value']:.{digits}f}" + ("" if value["se"] is None or np.isnan(value["se"]) else f" ± {value['se']:.{digits}f}")


def validity_rows(arms: dict[str, dict[str, Any]], name: str) -> list[dict[str, str]]:
    """Valid-answer probability and comprehension of every arm, and what sampled replies were."""
    rows = []
    for measure, key in (("valid-answer probability", "valid_answer_probability"), ("comprehension", "comprehension")):
        rows.append({"measure": f"{name}: {measure}"} | {arm: percent(s[key]) for arm, s in arms.items()})
    if any(s["outcomes"] for s in arms.values()):
        outcomes = {arm: " / ".join(map(str, s["outcomes"].values())) for arm, s in arms.items()}
        rows.append({"measure": f"{name}: answered / unreadable / refused"} | outcomes)
    return rows


def conjoint_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """One row per dimension, then distance, habit and validity; a column for humans, every arm and every null agent."""
    arms = {a: s["conjoint"] for a, s in summary["arms"].items() if "conjoint" in s}
    rows = []
    for d, side in DIMENSIONS.items():
        row = {"measure": f"AMCE {d} ({side})", "humans": f"{moral_machine()[d]['world']:.2f}"}
        row |= {a: OUTSIDE if s["outside"] else number(s["effects"].get(d)) for a, s in arms.items()}
        rows.append(row | {a: number(e.get(d)) for a, e in summary["null_agents"].items()})
    for measure, key, scale, unit in (("mean distance to humans", "distance_to_humans", 1, ""), ("first case", "first_case", 100, " %")):
        values = {a: "–" if s[key] is None else f"{scale * s[key]:.{2 if scale == 1 else 0}f}{unit}" for a, s in arms.items()}
        rows.append({"measure": measure, "humans": ""} | values)
    return rows + [{"humans": ""} | row for row in validity_rows(arms, "conjoint")]


def difference_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """AMCEs and mean ratings of every arm minus those of the base and of every placebo."""
    rows: dict[str, dict[str, str]] = {}
    for arm, batteries in summary["arms"].items():
        for battery, prefix in (("conjoint", "AMCE"), ("ratings", "rating:")):
            for other, gaps in batteries.get(battery, {}).get("minus", {}).items():
                for name, gap in gaps.items():
                    measure = f"{prefix} {name}, minus {other}"
                    rows.setdefault(measure, {"measure": measure})[arm] = number(gap, 2 if battery == "conjoint" else 0)
    return list(rows.values())


def rating_rows(rated: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Means and slopes by statement, gaps, kappa, agreement with theory, validity; a column for every arm."""

    def row(measure: str, cell: Callable[[dict[str, Any]], str]) -> dict[str, str]:
        return {"measure": measure} | {arm: OUTSIDE if s["outside"] else cell(s) for arm, s in rated.items()}

    rows = []
    for q in QUESTIONS:
        rows.append(row(f"rating: {q}", lambda s, q=q: number(s["questions"].get(q, {}).get("mean"), 0)))
        rows.append(row(f"  per doubling of people saved: {q}", lambda s, q=q: number(s["questions"].get(q, {}).get("slope"), 1)))
    rows.append(row("social-dilemma gap, moral - buy", lambda s: number(s["social_dilemma_gap"], 0)))
    rows.append(row("family gap, with family - alone", lambda s: number(s["family_gap"], 0)))
    rows.append(row("kappa of the stated choices", lambda s: number(s["kappa"]["kappa"]) if "kappa" in s["kappa"] else "not id."))
    for line in dict.fromkeys(line for s in rated.values() for line in s["theory"]):
        rows.append(row(f"chooses as {line} would", lambda s, line=line: agreement(s["theory"].get(line))))
    return rows + validity_rows(rated, "ratings")


def agreement(theory: dict[str, Any] | None) -> str:
    """``83 %`` of the cells in which theory is not indifferent."""
    return "–" if theory is None or theory["agreement"] is None else f"{100 * theory['agreement']:.0f} % of {theory['cells']}"


def show(summary: dict[str, Any], console: Console) -> list[dict[str, str]]:
    """Print the tables; the rows, for the CSV."""
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
    if more := difference_rows(summary):
        table(more, "differences between conditions on the same pages (± one standard error, clustered as above)", console)
        rows += more
    for arm, batteries in summary["arms"].items():
        for battery, found in batteries.items():
            if found["outside"]:
                share = percent(found["valid_answer_probability"])
                console.print(f"{arm}, {battery}: {OUTSIDE} (valid-answer probability {share}); {advice()}", highlight=False)
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


def differences_to(
    arm: str, references: Sequence[str], found: dict[str, dict[str, list[dict[str, Any]]]], summary: dict[str, Any], scenarios: list[Scenario]
) -> None:
    """Put into the summary of ``arm`` its differences to the base and to placebos, where both answer in the form."""
    for battery, by_arm in found.items():
        mine = summary["arms"][arm][battery]
        mine["minus"] = {}
        for other in references:
            if other == arm or mine["outside"] or summary["arms"][other][battery]["outside"]:
                continue
            if battery == "conjoint":
                mine["minus"][other] = differences(by_arm[arm], by_arm[other], scenarios)
            else:
                mine["minus"][other] = rating_differences(by_arm[arm], by_arm[other])


def main() -> None:
    """Entry point."""
    args = arguments()
    console = terminal(150)
    adapters = adapter_names(args.adapter)
    base_of(args, adapters)
    targets = [Target.parse(t) for t in args.targets]
    scenarios = read_scenarios(args.read) if args.read else draw_scenarios(args.scenarios, np.random.default_rng([args.seed, 7]))
    countries = read_countries(args.countries) if args.countries else {}
    lock(args.out)
    wordings = WORDINGS[args.wordings]
    # scenarios that are read from a file get the pages that they would have got when they were drawn
    cases = conjoint_items(scenarios, wordings, np.random.default_rng([args.seed, 8]))
    items: dict[str, list[Any]] = {"ratings": rating_items(wordings), "conjoint": cases}
    askers: dict[str, Callable[..., list[dict[str, Any]]]] = {"ratings": ask_ratings, "conjoint": ask_conjoint}
    pages: dict[str, Callable[..., list[Request]]] = {"ratings": rating_requests, "conjoint": conjoint_requests}
    arms = [Arm("chooser")] if args.simulate else [Arm("base")]
    if args.prompted:
        arms += told_arms(targets)
    arms += [Arm(name, name) for name in adapters]
    engine: Engine | None = None
    loaded: Engine | None = None
    found: dict[str, dict[str, list[dict[str, Any]]]] = {b: {} for b in args.battery}
    for arm in arms:
        for battery in args.battery:

            def ask(some: list[Any], start: int, arm: Arm = arm, battery: str = battery) -> list[dict[str, Any]]:
                nonlocal engine, loaded
                if engine is None and args.simulate:
                    engine = Known(*parse_parameters(args.simulate, ("kappa", "habit", *DIMENSIONS)))
                elif engine is None:
                    engine = loaded = load(args, adapters, console)
                    if args.replies == "sampled" and not isinstance(loaded, Sampled):
                        engine = Sampled(loaded)  # type: ignore[arg-type]
                return askers[battery](engine, some, arm, start, args.samples)

            asked = fingerprint(r.conversation for r in pages[battery](items[battery], arm))
            part = args.out / "parts" / f"{settings_key(args, arm, adapters, [battery, args.replies, asked])}.jsonl"
            found[battery][arm.name] = collect(part, items[battery], ask, f"{arm.name}, {battery}")
    summary: dict[str, Any] = {"arms": {arm.name: {} for arm in arms}, "wordings": args.wordings, "replies": args.replies}
    if "conjoint" in found:
        summary |= {"scenarios": len(scenarios), "null_agents": null_agents(scenarios), "humans": moral_machine()}
        for name, records in found["conjoint"].items():
            summary["arms"][name]["conjoint"] = conjoint_summary(scenarios, records, countries)
    for name, records in found.get("ratings", {}).items():
        summary["arms"][name]["ratings"] = rating_summary(records, targets)
    placebos = [name for name, folder in adapters.items() if is_placebo(folder)]
    for arm in arms[1:]:
        differences_to(arm.name, [arms[0].name, *placebos], found, summary, scenarios)
    summary["placebos"] = placebos
    for name in adapters:
        if all([r | {"arm": ""} for r in of[name]] == [r | {"arm": ""} for r in of["base"]] for of in found.values()):
            raise InputError(f"adapter {adapters[name]}: every probability equals the base's; the adapter is empty or was not applied")
    for battery, by_arm in found.items():
        write_lines(args.out / f"{battery}.jsonl", (r for records in by_arm.values() for r in records))
    write_lines(args.out / "scenarios.jsonl", map(scenario_record, scenarios))
    write_json(args.out / "summary.json", finite(summary))
    rows = show(summary, console)
    write_text(args.out / "table.csv", pd.DataFrame(rows).map(spreadsheet_cell).to_csv(index=False))
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    settings = {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    known = {"settings": settings, "tokens": getattr(loaded, "tokens", None), "weights": getattr(loaded, "weights", None)}
    write_json(args.out / "run.json", origin(**inputs) | known | {"adapters": {name: adapter_record(f) for name, f in adapters.items()}})
    try_to_draw(lambda: draw(summary, found.get("ratings", {}), args.out / "figure.png"), args.out / "figure.png", console)
    console.print(f"{args.out}/: ratings.jsonl conjoint.jsonl scenarios.jsonl summary.json table.csv figure.png run.json")


if __name__ == "__main__":
    command(main)
