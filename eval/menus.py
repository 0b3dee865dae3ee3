"""Batteries of one-page choices: allocations, splits, contributions, matrix games, budgets, everyday situations.

    python -m eval.menus --adapter runs/moralis --battery bfs39 dictator spillover
    python -m eval.menus --simulate alpha=0.1,beta=0.3,lambda=0.02 --battery bfs39 garp --out runs/known

Exact probability of every option, averaged over exchanged labels and orders, base and adapters in one load; beside human
averages and agents that do not think (first listed, coin, most for itself: the floor).  bfs39 and trust: also alpha, beta and
lambda of Bruhin, Fehr and Schunk's family with errors clustered by menu.
garp: Afriat's index (CCEI) of the most probable bundles.  spillover: does an agent tuned on games turn elsewhere?
Writes choices.jsonl, summary.json, table.csv and run.json.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy import stats

from econmoral.audit import ccei
from econmoral.choice import logit
from econmoral.estimation import NotIdentified, allocations, fit, restrict
from econmoral.menus import MENUS, Menu, Page, draw_page, menu_answers, mirror_page, render_menu
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, finite, lock, origin, spreadsheet_cell, terminal, write_json, write_lines, write_text
from eval.arms import adapter_names, add_engine_options, base_of, check_sources, collect, load, parse_parameters, settings_key
from eval.engines import Answer, Arm, Engine, Request

FAMILY = "bruhin_fehr_schunk"


@dataclass(frozen=True)
class AllocationChooser:
    """Logit chooser of known alpha, beta and precision over allocations; a coin where no payoffs are attached."""

    theta: dict[str, float]
    precision: float

    def score(self, requests: list[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities."""
        answers = []
        for r in requests:
            menu: Menu = r.item
            utility = np.zeros(len(menu.options))
            if menu.own:
                base, terms = FAMILIES[FAMILY].outcome(np.array(menu.own), np.array(menu.other), np.zeros(len(menu.own)), np.zeros(len(menu.own)))
                utility = base + terms @ [self.theta.get(k, 0.0) for k in FAMILIES[FAMILY].parameters]
            answers.append(Answer(logit(utility, self.precision)))
        return answers


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.menus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="a chooser instead of a model, e.g. alpha=0.1,beta=0.3,lambda=0.02")
    parser.add_argument("--battery", choices=(*MENUS, "all"), nargs="+", default=["all"], help="default all")
    parser.add_argument("--pairs", type=int, default=2, help="counterbalanced pairs of pages per menu (default 2)")
    parser.add_argument("--samples", type=int, default=20, help="replies per page, at an endpoint without log-probabilities (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: menus/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "menus")
    if args.pairs < 1 or args.samples < 1 or args.seed < 0:
        raise InputError("--pairs and --samples must be at least 1, --seed at least 0")
    args.battery = list(MENUS) if "all" in args.battery else list(dict.fromkeys(args.battery))
    return args


def measure(engine: Engine, menus: list[tuple[Menu, list[Page]]], arm: Arm, seed: int) -> list[dict[str, Any]]:
    """One record per menu: probabilities averaged over its pages, admissible mass, position bias.  Refused pages count in the mass only."""
    asked = [Request(render_menu(menu, page, arm.system), menu_answers(page), menu, page) for menu, pages in menus for page in pages]
    found = iter(engine.score(asked, arm, seed))
    records = []
    for menu, pages in menus:
        kept, masses, first = [], [], []
        for page in pages:
            answer = next(found)
            mass = float(answer.probabilities.sum())
            if not (0 < mass < 1 + 1e-4 or (answer.sampled and mass == 0)):
                raise InputError(f"{arm.name}, {menu.id}: the admissible answers have probability {mass}; is this a chat model, and is its template right?")
            masses.append(mass)
            if mass > 0:
                kept.append(answer.probabilities / mass)
                first.append(float(kept[-1][page.order[0]]) - 1 / len(page.order))
        records.append(
            {
                "id": menu.id, "battery": menu.battery, "topic": menu.topic, "arm": arm.name, "mass": float(np.mean(masses)),
                "probabilities": np.mean(kept, axis=0).tolist() if kept else None, "position_bias": float(np.mean(first)) if first else None,
                "pages": [asdict(page) for page in pages],
            }
        )  # fmt: skip
    return records


def structural(menus: list[Menu], records: list[dict[str, Any]]) -> dict[str, Any]:
    """alpha, beta and lambda of two-option allocations, from exact probabilities, clustered by menu; or why there are none."""
    own, other = np.array([m.own for m in menus]), np.array([m.other for m in menus])
    weights = np.array([r["probabilities"] for r in records])
    try:
        # nobody acted before, so there is nothing to be kind or unkind about
        found = fit(restrict(allocations(own, other, weights, [m.id for m in menus], FAMILY), {"gamma": 0.0, "delta": 0.0}))
    except NotIdentified as error:
        return {"not_identified": str(error)}
    return {name: {"value": value, "se": found.se[name]} for name, value in found.estimates.items()}


def summarise(records: list[dict[str, Any]], base: dict[str, dict[str, Any]] | None) -> list[dict[str, Any]]:
    """One row per battery and topic of one arm: mean value with error over menus, human mean, difference to the base."""
    known = {menu.id: menu for several in MENUS.values() for menu in several}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in records:
        if r["probabilities"] is not None:
            groups.setdefault((r["battery"], r["topic"]), []).append(r)
            if r["battery"] == "spillover":
                groups.setdefault((r["battery"], "all topics"), []).append(r)
    rows = []
    for (battery, topic), group in groups.items():
        menus = [known[r["id"]] for r in group]
        values = np.array([np.dot(r["probabilities"], m.values) for r, m in zip(group, menus, strict=True)])
        human = np.array([np.nan if m.human is None else m.human for m in menus])
        row: dict[str, Any] = {
            "arm": group[0]["arm"], "battery": battery, "topic": topic, "menus": len(group), "mean": float(values.mean()),
            "se": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None,
            "human": None if np.isnan(human).any() else float(human.mean()),
            "correlation_with_humans": float(np.corrcoef(values, human)[0, 1]) if len(set(human)) > 2 and values.std() > 0 else None,
            "admissible_mass": float(np.mean([r["mass"] for r in group])), "position_bias": float(np.mean([r["position_bias"] for r in group])),
        }  # fmt: skip
        if base is not None:
            both = [(v, base[r["id"]]["probabilities"], m.values) for v, r, m in zip(values, group, menus, strict=True)]
            gaps = np.array([v - np.dot(p, worth) for v, p, worth in both if p is not None])
            if len(gaps) > 1:
                test = stats.ttest_1samp(gaps, 0) if gaps.std() > 0 else None
                low, high = test.confidence_interval() if test else (gaps.mean(), gaps.mean())
                row["difference_to_base"] = {"mean": float(gaps.mean()), "low": float(low), "high": float(high), "p": float(test.pvalue) if test else 1.0}
        if battery == "garp":
            chosen = np.array([m.bundles[int(np.argmax(r["probabilities"]))] for r, m in zip(group, menus, strict=True)])
            row["ccei"] = ccei(np.array([m.prices for m in menus]), chosen)
        if battery in ("bfs39", "trust"):
            row["structural"] = structural(menus, group)
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one table."""
    grid = Table(title="mean (± one standard error over menus), difference to the base with 95 % interval", title_justify="left", box=SIMPLE_HEAD)
    for column in ("battery", "topic", "arm", "mean", "human", "minus base", "also"):
        grid.add_column(column, justify="left" if column in ("battery", "topic", "arm", "also") else "right")
    for r in sorted(rows, key=lambda r: (list(MENUS).index(r["battery"]), r["topic"])):
        share = max(max(m.values) for m in MENUS[r["battery"]]) == 1
        digits = 2 if share else 0
        gap, also = r.get("difference_to_base"), ""
        if "ccei" in r:
            also = f"CCEI {r['ccei']:.2f}"
        elif "structural" in r:
            also = "not id." if "not_identified" in r["structural"] else ", ".join(f"{k} {v['value']:.2g} ± {v['se']:.1g}" for k, v in r["structural"].items())
        grid.add_row(
            r["battery"], r["topic"], r["arm"], f"{r['mean']:.{digits}f}" + ("" if r["se"] is None else f" ± {r['se']:.{digits}f}"),
            "" if r["human"] is None else f"{r['human']:.{digits}f}",
            "" if gap is None else f"{gap['mean']:.{digits}f} [{gap['low']:.{digits}f}, {gap['high']:.{digits}f}]", also,
        )  # fmt: skip
    console.print(grid)


@dataclass(frozen=True)
class Null:
    """A chooser that does not think: always the option listed first, a coin, or whatever gives most to itself (a coin without payoffs)."""

    rule: str

    def score(self, requests: list[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Probabilities by the rule."""
        answers = []
        for r in requests:
            menu: Menu = r.item
            page: Page = r.layout
            p = np.full(len(menu.options), 1 / len(menu.options))
            if self.rule == "first listed":
                p = np.eye(len(menu.options))[page.order[0]]
            elif self.rule == "most for itself" and menu.own:
                best = np.array(menu.own) == max(menu.own)
                p = best / best.sum()
            answers.append(Answer(p))
        return answers


NULLS = ("first listed", "coin", "most for itself")


def main() -> None:
    """Entry point."""
    args = arguments()
    lock(args.out)
    survey(args, adapter_names(args.adapter), terminal(140))


def survey(args: argparse.Namespace, adapters: dict[str, Path], console: Console, engine: Engine | None = None) -> None:
    """Measure every arm and the null agents on ``args.battery``, print and write; ``engine``: one that is loaded already."""
    base_of(args, adapters)
    menus = []
    for battery in args.battery:
        for number, menu in enumerate(MENUS[battery]):
            rng = np.random.default_rng([args.seed, list(MENUS).index(battery), number])
            menus.append((menu, [page for _ in range(args.pairs) for drawn in [draw_page(menu, rng)] for page in (drawn, mirror_page(drawn))]))
    arms = [Arm("chooser")] if args.simulate else [Arm("base"), *(Arm(name, name) for name in adapters)]
    records: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    base: dict[str, dict[str, Any]] | None = None
    for arm in arms:
        part = args.out / "parts" / f"{settings_key(args, arm, adapters, [args.battery, args.pairs])}.jsonl"

        def ask(some: list[tuple[Menu, list[Page]]], start: int, arm: Arm = arm) -> list[dict[str, Any]]:
            nonlocal engine
            if engine is None and args.simulate:
                engine = AllocationChooser(*parse_parameters(args.simulate, FAMILIES[FAMILY].parameters))
            engine = engine or load(args, adapters, console)
            return measure(engine, some, arm, start)

        found = collect(part, menus, ask, arm.name)
        same = base is not None and all(r["probabilities"] == base[r["id"]]["probabilities"] for r in found)
        if arm.adapter and same:
            raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
        records += found
        rows += summarise(found, base)
        base = base or {r["id"]: r for r in found}
    for rule in NULLS:  # the floor of every figure
        rows += summarise(measure(Null(rule), menus, Arm(rule), 0), None)
    refused = sum(r["probabilities"] is None for r in records)
    if refused == len(records):
        raise InputError("every menu was refused; look at choices in parts/")
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    settings = {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    write_lines(args.out / "choices.jsonl", records)
    write_json(args.out / "summary.json", finite(rows))
    write_text(args.out / "table.csv", pd.json_normalize(rows).map(spreadsheet_cell).to_csv(index=False))
    show(rows, console)
    if refused:
        console.print(f"{refused} of {len(records)} menus were refused on every page and are in no figure")
    known = {"settings": settings, "refused": refused, "tokens": getattr(engine, "tokens", None), "weights": getattr(engine, "weights", None)}
    write_json(args.out / "run.json", origin(**inputs) | known)
    console.print(f"{args.out}/: choices.jsonl summary.json table.csv run.json")


if __name__ == "__main__":
    command(main)
