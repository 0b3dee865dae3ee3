"""Batteries of one-page decisions: allocations, splits, contributions, matrix games, budgets, everyday situations.

    python -m eval.menus --adapter runs/altruist --battery allocations bfs39 spillover --mode direct reasoned
    python -m eval.menus --simulate alpha=0.1,beta=0.3,lambda=0.2 --battery bfs39 garp --out runs/known
    python -m eval.menus --adapter runs/altruist --own decisions.csv --out runs/altruist/own

Exact probability of every option, averaged over exchanged labels and orders, base and adapters in one load; beside human
averages and agents that do not think (first listed, coin, most for itself: the floor).  Beside every figure stands the
probability of an admissible reply; an arm that answers outside the form gets no figures.  allocations, bfs39 and trust: also
agreement with every target, and alpha, beta and lambda of Bruhin, Fehr and Schunk's family with errors clustered by menu.
garp: Afriat's index (CCEI), the mean over bundles drawn from the probabilities.  spillover: does an agent tuned on games turn elsewhere?
own: allocations of your own, in points, from a table with self_1, other_1, self_2, other_2, ... and perhaps id.
Writes choices.jsonl, summary.json, table.csv and run.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
from econmoral.conversation import Mode
from econmoral.data import read_problems
from econmoral.derivations import check_steps
from econmoral.estimation import NotIdentified, allocations, fit, restrict
from econmoral.menus import FRAMES, HELD_OUT, MENUS, OWN, TRAIN, Menu, MenuPage, draw_page, menu_conversation, mirror_page, own_allocation
from econmoral.preferences import FAMILIES
from econmoral.prompts import LABELS
from econmoral.records import (
    InputError,
    command,
    finite,
    lock,
    origin,
    plain,
    program,
    read_json,
    spreadsheet_cell,
    terminal,
    write_json,
    write_lines,
    write_text,
)
from econmoral.target import ECONOMICUS, Target

from .arms import (
    adapter_names,
    adapter_record,
    add_derivation_options,
    add_engine_options,
    base_of,
    check_sources,
    check_temperature,
    collect,
    load,
    parse_parameters,
    settings_key,
)
from .engines import LONGEST_DERIVATION, Answer, Arm, Engine, Request, Sampled
from .validity import OUTSIDE, advice, fingerprint, is_placebo, outside, overall, percent, quality, told_arms

FAMILY = "bruhin_fehr_schunk"
CCEI_DRAWS = 200  # bundles drawn from probabilities
STRUCTURAL = ("allocations", "bfs39", "trust")  # batteries of two allocations each
BATTERIES = (*MENUS, OWN)
MOST_OPTIONS = len(LABELS)
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}
Asked = tuple[Menu, list[MenuPage]]


def listed(p: np.ndarray, page: MenuPage) -> np.ndarray:
    """Probabilities of options in the order in which the page lists them."""
    return np.asarray(p)[list(page.order)]


def unlisted(p: np.ndarray, page: MenuPage) -> np.ndarray:
    """The reverse of ``listed``."""
    found = np.empty(len(p))
    found[list(page.order)] = p
    return found


@dataclass(frozen=True)
class AllocationChooser:
    """Logit chooser of known alpha, beta and precision over allocations; a coin where no payoffs are attached."""

    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities."""
        target = Target(FAMILY, tuple(self.theta.items()))
        answers = []
        for r in requests:
            menu: Menu = r.item
            utility = target.of_allocations(np.array(menu.own), np.array(menu.other)) if menu.own else np.zeros(menu.size)
            answers.append(Answer.certain(listed(logit(utility, self.precision), r.layout), r))
        return answers


NULLS = ("first listed", "coin", "most for itself")


@dataclass(frozen=True)
class Null:
    """A chooser that does not think: the option listed first, a coin, or whatever gives most to itself (a coin without payoffs)."""

    rule: str

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Probabilities by the rule."""
        answers = []
        for r in requests:
            menu: Menu = r.item
            p = np.full(menu.size, 1 / menu.size)
            if self.rule == "first listed":
                p = np.eye(menu.size)[r.layout.order[0]]
            elif self.rule == "most for itself" and menu.own:
                best = np.array(menu.own) == max(menu.own)
                p = best / best.sum()
            answers.append(Answer.certain(listed(p, r.layout), r))
        return answers


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.menus"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="a chooser instead of a model, e.g. alpha=0.1,beta=0.3,lambda=0.2")
    parser.add_argument("--battery", choices=(*MENUS, "all"), nargs="+", default=None, help="default all; with --own none")
    parser.add_argument(
        "--own", type=Path, metavar="FILE", help="table of your own allocations: self_1, other_1, self_2, other_2, ... in points, id if you like"
    )
    parser.add_argument("--mode", choices=("direct", "reasoned"), nargs="+", default=["direct"], help="the decision alone, or after a derivation; or both")
    parser.add_argument("--wordings", choices=tuple(WORDINGS), default="train", help="the wordings of training, or those held out (default train)")
    parser.add_argument("--pairs", type=int, default=2, help="counterbalanced pairs of pages per menu (default 2)")
    parser.add_argument("--limit", type=int, help="only the first so many menus of each battery")
    parser.add_argument("--samples", type=int, default=1, help="per page: derivations in reasoned mode; replies where they are sampled (default 1)")
    add_derivation_options(parser)
    parser.add_argument(
        "--replies", choices=("exact", "sampled"), default="exact", help="exact probabilities, or sampled replies that are read (default exact)"
    )
    parser.add_argument("--targets", nargs="+", default=[], metavar="FAMILY:NAME=VALUE", help="compared with (default: homo_economicus and the adapters' own)")
    parser.add_argument("--prompted", action="store_true", help="also measure the base told of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: menus/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "menus")
    if args.pairs < 1 or args.samples < 1 or args.seed < 0 or args.longest < 1 or (args.limit is not None and args.limit < 1):
        raise InputError("--pairs, --samples, --longest and --limit must be at least 1, --seed at least 0")
    check_temperature(args)
    asked = args.battery or ([] if args.own else ["all"])
    args.battery = list(MENUS) if "all" in asked else list(dict.fromkeys(asked))
    if args.own:
        args.battery.append(OWN)
    args.mode = list(dict.fromkeys(args.mode))
    return args


def requests_of(menus: Sequence[Asked], arm: Arm, mode: Mode, samples: int, longest: int = LONGEST_DERIVATION) -> list[Request]:
    """What an arm is asked: one conversation for every page of every menu."""
    return [Request(menu_conversation(menu, page, mode, arm.system), menu, page, samples, longest) for menu, pages in menus for page in pages]


def measure(
    engine: Engine, menus: Sequence[Asked], arm: Arm, mode: Mode, seed: int, samples: int = 1, longest: int = LONGEST_DERIVATION
) -> list[dict[str, Any]]:
    """One record per menu: probabilities averaged over its pages, validity, comprehension, position bias."""
    found = iter(engine.score(requests_of(menus, arm, mode, samples, longest), arm, seed))
    records = []
    for menu, pages in menus:
        answers = [next(found) for _ in pages]
        kept = [unlisted(a.probabilities, page) for a, page in zip(answers, pages, strict=True) if a.probabilities is not None]
        first = [float(a.probabilities[0]) - 1 / menu.size for a in answers if a.probabilities is not None]
        steps = [check_steps(t) for a in answers for t in a.texts]
        records.append(
            {
                "id": menu.id, "battery": menu.battery, "topic": menu.topic, "arm": arm.name, "mode": mode,
                "probabilities": np.mean(kept, axis=0).tolist() if kept else None, "position_bias": float(np.mean(first)) if first else None,
                "steps": [sum(right for right, _ in steps), sum(n for _, n in steps)], **quality(answers),
                "valid_by_page": [float(a.valid.mean()) for a in answers], "pages": [asdict(page) for page in pages],
                **({"own": list(menu.own), "other": list(menu.other)} if menu.battery == OWN else {}),
            }
        )  # fmt: skip
    return records


def drawn_ccei(menus: list[Menu], records: list[dict[str, Any]]) -> float:
    """Mean CCEI of bundles drawn from the choice probabilities: of a coin far below 1, though its most probable bundles may agree."""
    rng, prices = np.random.default_rng(0), np.array([m.prices for m in menus])
    draws = 1 if all(max(r["probabilities"]) > 1 - 1e-9 for r in records) else CCEI_DRAWS
    found = []
    for _ in range(draws):
        chosen = [m.bundles[rng.choice(m.size, p=np.array(r["probabilities"]) / sum(r["probabilities"]))] for m, r in zip(menus, records, strict=True)]
        found.append(ccei(prices, np.array(chosen)))
    return float(np.mean(found))


def structural(menus: list[Menu], records: list[dict[str, Any]]) -> dict[str, Any]:
    """alpha, beta and lambda of two-option allocations, from exact probabilities, clustered by menu; or why there are none."""
    own, other = np.array([m.own for m in menus]), np.array([m.other for m in menus])
    weights = np.array([r["probabilities"] for r in records])
    try:
        # nobody acted before, so there is nothing to be kind or unkind about
        found = fit(restrict(allocations(own, other, weights, [m.id for m in menus], FAMILY), {"gamma": 0.0, "delta": 0.0}))
    except NotIdentified as error:
        return {"not_identified": str(error), "bounds": error.bounds}
    return {name: {"value": value, "se": found.se[name]} for name, value in found.estimates.items()}


def agreement(menus: list[Menu], records: list[dict[str, Any]], target: Target) -> dict[str, Any]:
    """Share of menus on which the most probable option is the target's; also where own payoff says otherwise.

    Menus on which the target is indifferent are left out.
    """
    right, differ = [], []
    for menu, r in zip(menus, records, strict=True):
        u = target.of_allocations(np.array(menu.own), np.array(menu.other))
        if np.sum(u >= u.max() - 1e-9) > 1:
            continue
        p = np.array(r["probabilities"])
        top = np.flatnonzero(p >= p.max() - 1e-9)
        right.append(float(np.mean(top == u.argmax())))
        if menu.own[int(u.argmax())] < max(menu.own):
            differ.append(right[-1])
    return {"label": target.label, "accuracy": _share(right), "where_they_differ": _share(differ)}


def _share(values: list[float]) -> dict[str, float] | None:
    x = np.array(values)
    return {"mean": float(x.mean()), "se": float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan"), "n": len(x)} if len(x) else None


def valid_by_wording(records: list[dict[str, Any]]) -> dict[str, float]:
    """Mean valid-answer probability of the pages in each wording, by its number."""
    found: dict[str, list[float]] = {}
    for r in records:
        for valid, page in zip(r["valid_by_page"], r["pages"], strict=True):
            found.setdefault(str(page["wording"]), []).append(valid)
    return {str(i): float(np.mean(found[str(i)])) for i in range(len(FRAMES)) if str(i) in found}


def summarise(records: list[dict[str, Any]], bases: dict[str, dict[str, dict[str, Any]]], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """One row per battery and topic of one arm: validity; mean value with error over menus, human mean, differences to the
    baselines (name -> records by menu).  Of an arm that answers outside the form there are no figures."""
    known = {(menu.battery, menu.id): menu for several in MENUS.values() for menu in several}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in records:
        groups.setdefault((r["battery"], r["topic"]), []).append(r)
        if r["battery"] == "spillover":
            groups.setdefault((r["battery"], "all topics"), []).append(r)
    rows = []
    for (battery, topic), whole in groups.items():
        right, steps = (sum(r["steps"][i] for r in whole) for i in (0, 1))
        row: dict[str, Any] = {
            "arm": whole[0]["arm"], "mode": whole[0]["mode"], "battery": battery, "topic": topic, "menus": len(whole), **overall(whole),
            "valid_by_wording": valid_by_wording(whole), "steps_right": right / steps if steps else None,
        }  # fmt: skip
        rows.append(row)
        group = [r for r in whole if r["probabilities"] is not None]
        row["outside"] = row["outside"] or not group
        if row["outside"]:
            continue
        menus = [own_allocation(r["id"], r["own"], r["other"]) if battery == OWN else known[battery, r["id"]] for r in group]
        values = np.array([np.dot(r["probabilities"], m.values) for r, m in zip(group, menus, strict=True)])
        human = np.array([np.nan if m.human is None else m.human for m in menus])
        row |= {
            "mean": float(values.mean()), "se": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None,
            "human": None if np.isnan(human).any() else float(human.mean()),
            "correlation_with_humans": float(np.corrcoef(values, human)[0, 1]) if len(set(human)) > 2 and values.std() > 0 else None,
            "position_bias": float(np.mean([r["position_bias"] for r in group])),
        }  # fmt: skip
        row["difference_to"] = {}
        for name, base in bases.items():
            there = [(v, base[r["id"]], m.values) for v, r, m in zip(values, group, menus, strict=True) if r["id"] in base]
            if not there or outside(float(np.mean([b["valid_answer_probability"] for _, b, _ in there]))):
                continue
            gaps = np.array([v - np.dot(b["probabilities"], worth) for v, b, worth in there if b["probabilities"] is not None])
            if len(gaps) > 1:
                test = stats.ttest_1samp(gaps, 0) if gaps.std() > 0 else None
                low, high = test.confidence_interval() if test else (gaps.mean(), gaps.mean())
                row["difference_to"][name] = {"mean": float(gaps.mean()), "low": float(low), "high": float(high), "p": float(test.pvalue) if test else 1.0}
        if battery == "garp":
            row["ccei"] = drawn_ccei(menus, group)
        if battery in STRUCTURAL:
            row["structural"] = structural(menus, group)
        if battery in (*STRUCTURAL, OWN):
            row["targets"] = {str(t): agreement(menus, group, t) for t in targets}
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one table."""
    grid = Table(title="mean (± one standard error over menus), difference to the base with 95 % interval", title_justify="left", box=SIMPLE_HEAD)
    for column in ("battery", "topic", "arm", "mode", "valid", "control", "mean", "human", "minus base", "minus placebo", "also"):
        grid.add_column(column, justify="left" if column in ("battery", "topic", "arm", "mode", "also") else "right")
    for r in sorted(rows, key=lambda r: (BATTERIES.index(r["battery"]), r["topic"])):
        fixed = (r["battery"], r["topic"], r["arm"], r["mode"], percent(r["valid_answer_probability"]), percent(r["comprehension"]))
        if r["outside"]:
            grid.add_row(*fixed, "", "", "", "", OUTSIDE)
            continue
        digits = 2 if r["battery"] == OWN or max(max(m.values) for m in MENUS[r["battery"]]) == 1 else 0
        also = [f"{t['label']} {100 * t['accuracy']['mean']:.0f} %" for t in r.get("targets", {}).values() if t["accuracy"]]
        if "ccei" in r:
            also.append(f"CCEI {r['ccei']:.2f}")
        if "structural" in r:
            found = r["structural"]
            also.append("not id." if "not_identified" in found else " ".join(f"{k} {v['value']:.2f} ± {v['se']:.2f}" for k, v in found.items()))
        gaps = [g for name in ("base", "placebo") for g in [r["difference_to"].get(name)]]
        grid.add_row(
            *fixed, f"{r['mean']:.{digits}f}" + ("" if r["se"] is None else f" ± {r['se']:.{digits}f}"),
            "" if r["human"] is None else f"{r['human']:.{digits}f}",
            *("" if g is None else f"{g['mean']:+.{digits}f} [{g['low']:.{digits}f}, {g['high']:.{digits}f}]" for g in gaps), ", ".join(also),
        )  # fmt: skip
    console.print(grid)


def main() -> None:
    """Entry point."""
    args = arguments()
    lock(args.out)
    survey(args, adapter_names(args.adapter), terminal(170))


def own_target(folder: Path) -> Target | None:
    """The target that an adapter's run.json names."""
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    named = run.get("target") if isinstance(run, dict) else None
    return Target.parse(named) if isinstance(named, str) else None


def own_menus(path: Path) -> list[Menu]:
    """Menus of the user's own allocations.  Raises InputError for payoffs that a page cannot show exactly."""
    names, (own, other) = read_problems(path)
    menus = []
    for name, m, n in zip(names, own, other, strict=True):
        there = np.isfinite(m)
        if there.sum() > MOST_OPTIONS:
            raise InputError(f"{path}: decision {plain(name)} has {there.sum()} options; a page has room for {MOST_OPTIONS}")
        if not np.allclose(np.round([m[there], n[there]], 4), [m[there], n[there]], rtol=0, atol=1e-9):
            raise InputError(f"{path}: decision {plain(name)} has a payoff with more than four decimals; round it")
        menus.append(own_allocation(name, m[there].tolist(), n[there].tolist()))
    return menus


def draw_menus(args: argparse.Namespace) -> list[Asked]:
    """The menus of every battery asked for, each with its counterbalanced pages."""
    wordings, menus = WORDINGS[getattr(args, "wordings", "train")], []
    for battery in args.battery:
        several = own_menus(args.own) if battery == OWN else MENUS[battery]
        for number, menu in enumerate(several[: getattr(args, "limit", None)]):
            rng = np.random.default_rng([args.seed, BATTERIES.index(battery), number])
            menus.append((menu, [page for _ in range(args.pairs) for drawn in [draw_page(menu, rng, wordings)] for page in (drawn, mirror_page(drawn))]))
    return menus


def survey(args: argparse.Namespace, adapters: dict[str, Path], console: Console, engine: Engine | None = None) -> None:
    """Measure every arm and the null agents on ``args.battery``, print and write; ``engine``: one that is loaded already."""
    base_of(args, adapters)
    menus = draw_menus(args)
    placebos = [name for name, folder in adapters.items() if is_placebo(folder)]
    own = [own_target(folder) for name, folder in adapters.items() if name not in placebos]
    targets = list(dict.fromkeys([*map(Target.parse, args.targets)] if args.targets else [ECONOMICUS, *(t for t in own if t)]))
    told = told_arms(targets) if getattr(args, "prompted", False) and not args.simulate else []
    tuned = [Arm(name, name) for name in sorted(adapters, key=lambda n: n not in placebos)]
    arms = [Arm("chooser")] if args.simulate else [Arm("base"), *told, *tuned]
    records: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for mode in args.mode:
        bases: dict[str, dict[str, dict[str, Any]]] = {}
        for arm in arms:
            asked = fingerprint(r.conversation for r in requests_of(menus, arm, mode, args.samples))
            part = (
                args.out
                / "parts"
                / f"{settings_key(args, arm, adapters, [asked, args.replies, [args.longest, args.temperature] if mode == 'reasoned' else 0])}.jsonl"
            )

            def ask(some: list[Asked], start: int, arm: Arm = arm, mode: Mode = mode) -> list[dict[str, Any]]:
                nonlocal engine
                if engine is None:
                    engine = open_engine(args, adapters, console)
                return measure(engine, some, arm, mode, start, args.samples, args.longest)

            found = collect(part, menus, ask, f"{arm.name}, {mode}")
            first = bases.get("base")
            if arm.adapter and first and all(r["probabilities"] == first[r["id"]]["probabilities"] for r in found):
                raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
            records += found
            rows += summarise(found, bases, targets)
            if arm.name == "base" or arm.name in placebos:
                bases["base" if arm.name == "base" else "placebo"] = {r["id"]: r for r in found}
    for rule in NULLS:  # the floor of every figure
        rows += summarise(measure(Null(rule), menus, Arm(rule), "direct", 0), {}, targets)
    silent = sum(r["probabilities"] is None for r in records)
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    if getattr(args, "own", None):
        inputs["own"] = args.own
    settings = {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    write_lines(args.out / "choices.jsonl", records)
    write_json(args.out / "summary.json", finite(rows))
    write_text(args.out / "table.csv", pd.json_normalize(rows).map(spreadsheet_cell).to_csv(index=False))
    show(rows, console)
    if any(r["outside"] for r in rows):
        console.print(f"rows that answer outside the form have no figures: {advice()}")
    about = {"settings": settings, "without_readable_answer": silent, "tokens": getattr(engine, "tokens", None), "weights": getattr(engine, "weights", None)}
    write_json(args.out / "run.json", origin(**inputs) | about | {"adapters": {name: adapter_record(f) for name, f in adapters.items()}})
    console.print(f"{args.out}/: choices.jsonl summary.json table.csv run.json")


def open_engine(args: argparse.Namespace, adapters: dict[str, Path], console: Console) -> Engine:
    """The chooser, or the loaded engine, whose replies are sampled where that is asked for."""
    if args.simulate:
        return AllocationChooser(*parse_parameters(args.simulate, FAMILIES[FAMILY].parameters))
    engine = load(args, adapters, console)
    if args.temperature != 1 and not isinstance(engine, Sampled):
        engine.temperature = args.temperature  # type: ignore[attr-defined]
    return Sampled(engine) if getattr(args, "replies", "exact") == "sampled" and not isinstance(engine, Sampled) else engine  # type: ignore[arg-type]


if __name__ == "__main__":
    command(main)
