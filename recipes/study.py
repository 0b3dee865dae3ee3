"""The study: a readable plan in, every cell run once, one folder out that ``econmoral report`` turns into a report.

    econmoral study --plan nano --out runs/study
    python recipes/study.py --plan recipes/plans/nano.yaml --out runs/study --designs dial

Designs: *dose* (how many conversations), *dial* (kappa trained for against measured kappa; and adapters between two others, without
training), *transfer* (train on one game, measure on each), *placebo*, *prompted* (preference described, not tuned),
*persistence* (the same decisions after unrelated turns, at another scale, in another currency),
*applications* (dilemmas, pricing), *retention*.  A cell is a command and the file it leaves behind; what is there is not run
again, so a killed study continues, and designs share what they have in common.  cells.jsonl holds the cost of every attempt.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from econmoral.cells import TOOL, Cell, run
from econmoral.games import GAMES
from econmoral.models import find_model
from econmoral.records import InputError, command, lock, origin, program, read_yaml, write_json
from econmoral.target import ECONOMICUS, Target, moralis

DESIGNS = {  # name -> what its entry in the plan must say
    "dose": {"sizes", "seeds", "target"}, "dial": {"kappas", "seeds", "weights"}, "transfer": {"games", "n", "target"},
    "placebo": {"target"}, "prompted": set(), "persistence": {"sets"}, "applications": {"scenarios", "runs", "periods"}, "retention": set(),
}  # fmt: skip
OPTIONAL = {"applications": {"model"}, "retention": {"tasks", "limit"}}
SETS = ("wordings", "turns", "scale", "currency")  # of eval.games, beside payoffs, which is always measured
MORAL = moralis(0.5)
PLANS = Path(__file__).parent / "plans"
BUILT_IN = ("nano", "large")


def whole(least: int) -> Callable[[Any], bool]:
    """Whether a value is a whole number of at least so much."""
    return lambda value: type(value) is int and value >= least


def several(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list of different such things, at least one."""
    return lambda value: isinstance(value, list) and bool(value) and all(map(one, value)) and len(set(value)) == len(value)


def share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def text(value: Any) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {  # entry -> whether it is right, what it must be
    "items": (whole(1), "a whole number of at least 1"), "n": (whole(10), "a whole number of at least 10"), "seed": (whole(0), "a whole number"),
    "sizes": (several(whole(10)), "whole numbers of at least 10"), "seeds": (several(whole(0)), "whole numbers"),
    "kappas": (several(share), "numbers from 0 to 1"), "weights": (several(share), "numbers from 0 to 1"),
    "games": (several(lambda v: text(v) and v in GAMES), f"games among {', '.join(GAMES)}"),
    "sets": (several(lambda v: text(v) and v in SETS), f"sets among {', '.join(SETS)}"),
    "scenarios": (whole(2), "a whole number of at least 2"), "runs": (whole(1), "a whole number of at least 1"),
    "periods": (whole(52), "a whole number of at least 52"), "limit": (whole(2), "a whole number of at least 2"),
    "tasks": (several(text), "names of tasks"), "model": (text, "the name of a model"), "target": (text, "a target such as homo_moralis:kappa=0.5"),
}  # fmt: skip


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.  Raises InputError that names what is missing, unknown or of no use, before anything is trained."""
    plan = read_yaml(path)
    if not isinstance(plan, dict) or set(plan) != {"model", "items", "n", "seed", "designs"}:
        raise InputError(f"{path} must have exactly model, items, n, seed and designs")
    if not isinstance(plan["designs"], dict) or set(plan["designs"]) - set(DESIGNS):
        raise InputError(f"{path}: designs must be among {', '.join(DESIGNS)}")
    checked: list[tuple[str, str, Any]] = [("", name, value) for name, value in plan.items() if name != "designs"]
    for name, entry in plan["designs"].items():
        optional = OPTIONAL.get(name, set())
        if not isinstance(entry, dict) or not DESIGNS[name] <= set(entry) <= DESIGNS[name] | optional:
            perhaps = f", perhaps {', '.join(sorted(optional))}" if optional else ""
            raise InputError(f"{path}: design {name} takes exactly {', '.join(sorted(DESIGNS[name])) or 'nothing: {}'}{perhaps}")
        checked += [(f"design {name}, ", key, value) for key, value in entry.items()]
    for where, key, value in checked:
        right, what = CHECKS[key]
        if not right(value):
            raise InputError(f"{path}: {where}{key} must be {what}, got {value!r}")
        if key == "model":
            find_model(value)
        if key == "target":
            Target.parse(value)
    return plan


class Grid:
    """The cells of a plan under one folder, in the order in which they must run."""

    def __init__(self, plan: dict[str, Any], out: Path) -> None:
        self.plan, self.out = plan, out
        self.cells: dict[str, Cell] = {}

    def add(self, name: str, product: Path, *words: str) -> None:
        """A cell, unless the grid has it already.

        Raises InputError for another one of that name: folders are named with six digits.
        """
        cell = self.cells.setdefault(name, Cell(name, words, product))
        if cell.words != words:
            raise InputError(f"two cells would be named {name}; numbers must differ within six digits")

    def adapter(self, target: Target, n: int, extra: tuple[str, ...] = (), tag: str = "", model: str = "", seed: int | None = None) -> Path:
        """Cells that write data and train on it; the adapter's folder.  ``seed``: of both, the plan's unless told."""
        model = model or self.plan["model"]
        seed = self.plan["seed"] if seed is None else seed
        if seed != self.plan["seed"]:
            tag += f"-s{seed}"
        name = f"{target.label.replace(' ', '-')}-n{n}{tag}"
        data, folder = self.out / "data" / f"{name}.jsonl", self.out / "adapters" / name
        size = ("--n", str(n), "--seed", str(seed))
        self.add(f"data {name}", data, *TOOL, "data", "--target", str(target), *size, *extra, "--out", str(data))
        words = (*TOOL, "sft", "--model", model, "--data", str(data), "--seed", str(seed), "--out", str(folder))
        self.add(f"tune {name}", folder / "run.json", *words)
        return folder

    def measure(self, name: str, folders: list[Path], *more: str, target: Target = MORAL) -> None:
        """A cell that measures base and adapters on the held-out games, with derivations; ``target``: compared with beside own payoff."""
        out = self.out / "games" / name
        adapters = [word for folder in folders for word in ("--adapter", str(folder))]
        source = [] if folders else ["--model", self.plan["model"]]
        size = ["--items", str(self.plan["items"]), "--pairs", "1", "--seed", str(self.plan["seed"])]
        targets = ["--targets", *dict.fromkeys(map(str, (ECONOMICUS, MORAL, target)))]
        self.add(f"measure {name}", out / "run.json", *TOOL, "games", *adapters, *source, "--mode", "reasoned", *size, *targets, *more, "--out", str(out))


def lay_out(plan: dict[str, Any], out: Path, designs: list[str]) -> list[Cell]:
    """Every cell of the chosen designs."""
    grid, n = Grid(plan, out), plan["n"]
    for design in designs:
        entry = plan["designs"][design]
        target = Target.parse(entry["target"]) if "target" in entry else MORAL
        if design == "dose":
            drawn = [(size, seed) for seed in entry["seeds"] for size in entry["sizes"]]
            grid.measure("dose", [grid.adapter(target, size, seed=seed) for size, seed in drawn], target=target)
        elif design == "dial":
            degrees = [ECONOMICUS, *(moralis(k) for k in entry["kappas"])]
            trained = [grid.adapter(degree, n, seed=seed) for seed in entry["seeds"] for degree in degrees]
            ends = grid.adapter(ECONOMICUS, n), grid.adapter(MORAL, n)
            between = []
            for weight in entry["weights"]:
                folder = out / "adapters" / f"between-{weight:g}"
                words = (*TOOL, "interpolate", "--adapters", str(ends[0]), str(ends[1]), "--weight", str(weight), "--out", str(folder))
                grid.add(f"between {weight:g}", folder / "run.json", *words)
                between.append(folder)
            grid.measure("dial", [*dict.fromkeys([*trained, *ends, *between])])
        elif design == "transfer":
            arms = [grid.adapter(target, entry["n"], ("--games", game), f"-{game}") for game in entry["games"]]
            grid.measure("transfer", arms, target=target)
        elif design == "placebo":
            arms = [grid.adapter(ECONOMICUS, n), grid.adapter(target, n), grid.adapter(target, n, ("--shuffled",), "-shuffled")]
            grid.measure("placebo", [*dict.fromkeys(arms)], target=target)
        elif design == "prompted":
            grid.measure("prompted", [], "--prompted")
        elif design == "persistence":
            grid.measure("persistence", [grid.adapter(ECONOMICUS, n), grid.adapter(MORAL, n)], "--sets", "payoffs", *entry["sets"])
        elif design == "applications":
            # another model than the plan's where that one cannot read the applications' pages
            other = entry.get("model", plan["model"])
            tag = "" if other == plan["model"] else "-applications"
            arms = [grid.adapter(t, n, tag=tag, model=other) for t in (ECONOMICUS, MORAL)]
            placebo = grid.adapter(MORAL, n, ("--shuffled",), "-shuffled" + tag, other)
            adapters = [word for folder in (*arms, placebo) for word in ("--adapter", str(folder))]
            dilemmas, pricing = out / "dilemmas", out / "pricing"
            grid.add("dilemmas", dilemmas / "run.json", *TOOL, "dilemmas", *adapters, "--scenarios", str(entry["scenarios"]), "--out", str(dilemmas))
            size = ("--runs", str(entry["runs"]), "--periods", str(entry["periods"]))
            grid.add("pricing", pricing / "run.json", *TOOL, "pricing", "--agents", "base", *map(str, arms), *size, "--out", str(pricing))
        elif design == "retention":
            adapters = [word for t in (ECONOMICUS, MORAL) for word in ("--adapter", str(grid.adapter(t, n)))]
            limit = ("--limit", str(entry["limit"])) if "limit" in entry else ()
            tasks = ("--tasks", *entry["tasks"]) if "tasks" in entry else ()
            grid.add("retention", out / "retention" / "retention.json", *TOOL, "retention", *adapters, *tasks, *limit, "--out", str(out / "retention"))
    return list(grid.cells.values())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog=program("recipes/study.py"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, required=True, help=f"YAML file, or one of the built-in plans ({', '.join(BUILT_IN)})")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--model", help="model instead of the plan's")
    parser.add_argument("--designs", nargs="+", choices=tuple(DESIGNS), help="only these (default: all of the plan)")
    args = parser.parse_args()
    if not args.plan.exists() and str(args.plan) in BUILT_IN:
        args.plan = PLANS / f"{args.plan}.yaml"
    plan = read_plan(args.plan)
    if args.model:
        find_model(args.model)
        if plan["designs"].get("applications", {}).get("model") == plan["model"]:
            plan["designs"]["applications"]["model"] = args.model
        plan["model"] = args.model
    designs = args.designs or list(plan["designs"])
    if missing := [d for d in designs if d not in plan["designs"]]:
        raise InputError(f"{args.plan} has no design {', '.join(missing)}")
    lock(args.out)
    cells = lay_out(plan, args.out, designs)
    run(cells, args.out)
    write_json(args.out / "study.json", origin(plan=args.plan) | {"plan": plan, "designs": designs, "cells": [c.name for c in cells]})
    print(f"{args.out}/study.json; econmoral report {args.out}")


if __name__ == "__main__":
    command(main)
