"""The study: a readable plan in, every cell run once, one folder out that ``python -m eval.report`` turns into a report.

    python recipes/study.py --plan recipes/plans/nano.yaml --out runs/study
    python recipes/study.py --plan recipes/plans/nano.yaml --out runs/study --designs dial

Designs: *dose* (how many examples), *dial* (target kappa against measured kappa; and adapters between two others, without
training), *transfer* (train on one game, measure on each), *placebo*, *prompted* (preference described, not tuned),
*persistence* (the same decisions after unrelated turns, at another scale, in another currency),
*applications* (dilemmas, pricing), *retention*.  A cell is a command and the file it leaves behind; what is there is not run
again, so a killed study continues, and designs share what they have in common.  cells.jsonl holds the cost of every attempt:
seconds, hours of a GPU where there is one, and the tokens that training or measurement put through the model.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.models import find_model
from econmoral.records import InputError, append_lines, command, lock, origin, read_json, read_yaml, write_json

DESIGNS = {  # name -> what its entry in the plan may say
    "dose": {"sizes", "seeds", "preference", "kappa"}, "dial": {"kappas", "seeds", "weights"}, "transfer": {"games", "n", "preference", "kappa"},
    "placebo": {"preference", "kappa"}, "prompted": set(), "persistence": {"sets"},
    "applications": {"model", "scenarios", "runs", "periods"}, "retention": {"tasks", "limit"},
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One command, and the file that says that it is done."""

    name: str
    words: tuple[str, ...]
    product: Path


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.  Raises InputError that names what is missing or unknown."""
    plan = read_yaml(path)
    if not isinstance(plan, dict) or set(plan) != {"model", "items", "n", "seed", "designs"}:
        raise InputError(f"{path} must have exactly model, items, n, seed and designs")
    if not isinstance(plan["designs"], dict) or set(plan["designs"]) - set(DESIGNS):
        raise InputError(f"{path}: designs must be among {', '.join(DESIGNS)}")
    for name, entry in plan["designs"].items():
        if not isinstance(entry, dict) or set(entry) - DESIGNS[name] or (DESIGNS[name] - set(entry) and name != "retention"):
            raise InputError(f"{path}: design {name} takes exactly {', '.join(sorted(DESIGNS[name])) or 'nothing: {}'}")
    for name in ("items", "n", "seed"):
        if type(plan[name]) is not int or plan[name] < (0 if name == "seed" else 1):
            raise InputError(f"{path}: {name} must be a whole number")
    find_model(str(plan["model"]))
    try:
        lay_out(plan, Path(), list(plan["designs"]))
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: an entry of a design has the wrong type ({error})") from None
    return plan


class Grid:
    """The cells of a plan under one folder, in the order in which they must run."""

    def __init__(self, plan: dict[str, Any], out: Path) -> None:
        self.plan, self.out = plan, out
        self.cells: dict[str, Cell] = {}

    def add(self, name: str, product: Path, *words: str) -> None:
        """A cell, unless the grid has it already."""
        self.cells.setdefault(name, Cell(name, words, product))

    def adapter(self, preference: str, kappa: float, n: int, extra: tuple[str, ...] = (), tag: str = "", model: str = "", seed: int | None = None) -> Path:
        """Cells that write data and train on it; the adapter's folder.  ``seed``: of both, the plan's unless told."""
        model = model or self.plan["model"]
        seed = self.plan["seed"] if seed is None else seed
        if seed != self.plan["seed"]:
            tag += f"-s{seed}"
        name = f"{'economicus' if preference == 'homo_economicus' else f'moralis-k{kappa:g}'}-n{n}{tag}"
        data, folder = self.out / "data" / f"{name}.jsonl", self.out / "adapters" / name
        described = ("--preference", preference, "--kappa", f"{kappa:g}" if preference == "homo_moralis" else "0.5")
        self.add(f"data {name}", data, "-m", "data_synth", *described, "--n", str(n), "--seed", str(seed), *extra, "--out", str(data))
        self.add(
            f"tune {name}", folder / "run.json", "recipes/sft.py", "--model", model, "--data", str(data), "--seed", str(seed), "--out", str(folder)
        )  # fmt: skip
        return folder

    def measure(self, name: str, folders: list[Path], *more: str) -> None:
        """A cell that measures base and adapters on the held-out games, with derivations."""
        out = self.out / "games" / name
        adapters = [word for folder in folders for word in ("--adapter", str(folder))]
        source = [] if folders else ["--model", self.plan["model"]]
        size = ["--items", str(self.plan["items"]), "--pairs", "1", "--seed", str(self.plan["seed"]), "--kappa", "0.5"]
        self.add(f"measure {name}", out / "run.json", "-m", "eval.games", *adapters, *source, "--mode", "reasoned", *size, *more, "--out", str(out))


def lay_out(plan: dict[str, Any], out: Path, designs: list[str]) -> list[Cell]:
    """Every cell of the chosen designs."""
    grid, n = Grid(plan, out), plan["n"]
    economicus, moralis = (lambda: grid.adapter("homo_economicus", 0.5, n)), (lambda: grid.adapter("homo_moralis", 0.5, n))
    for design in designs:
        entry = plan["designs"][design]
        if design == "dose":
            drawn = [(size, seed) for seed in entry["seeds"] for size in entry["sizes"]]
            grid.measure("dose", [grid.adapter(entry["preference"], entry["kappa"], size, seed=seed) for size, seed in drawn])
        elif design == "dial":
            trained = [
                folder
                for seed in entry["seeds"]
                for folder in (grid.adapter("homo_economicus", 0.5, n, seed=seed), *(grid.adapter("homo_moralis", k, n, seed=seed) for k in entry["kappas"]))
            ]
            ends = economicus(), moralis()
            between = []
            for weight in entry["weights"]:
                folder = out / "adapters" / f"between-{weight:g}"
                words = ("recipes/interpolate.py", "--adapters", str(ends[0]), str(ends[1]), "--weight", f"{weight:g}", "--out", str(folder))
                grid.add(f"between {weight:g}", folder / "run.json", *words)
                between.append(folder)
            grid.measure("dial", [*dict.fromkeys([*trained, *ends, *between])])
        elif design == "transfer":
            arms = [grid.adapter(entry["preference"], entry["kappa"], entry["n"], ("--games", game), f"-{game}") for game in entry["games"]]
            grid.measure("transfer", arms)
        elif design == "placebo":
            grid.measure("placebo", [economicus(), moralis(), grid.adapter(entry["preference"], entry["kappa"], n, ("--shuffled",), "-shuffled")])
        elif design == "prompted":
            grid.measure("prompted", [], "--prompted")
        elif design == "persistence":
            grid.measure("persistence", [economicus(), moralis()], "--sets", "payoffs", *entry["sets"])
        elif design == "applications":
            own = {} if entry["model"] == plan["model"] else {"tag": "-applications", "model": entry["model"]}
            arms = [grid.adapter("homo_economicus", 0.5, n, **own), grid.adapter("homo_moralis", 0.5, n, **own)]
            adapters = [word for folder in arms for word in ("--adapter", str(folder))]
            dilemmas, pricing = out / "dilemmas", out / "pricing"
            grid.add("dilemmas", dilemmas / "run.json", "-m", "eval.dilemmas", *adapters, "--scenarios", str(entry["scenarios"]), "--out", str(dilemmas))
            size = ("--runs", str(entry["runs"]), "--periods", str(entry["periods"]))
            grid.add("pricing", pricing / "run.json", "-m", "eval.pricing", "--agents", "base", *map(str, arms), *size, "--out", str(pricing))
        elif design == "retention":
            adapters = [word for folder in (economicus(), moralis()) for word in ("--adapter", str(folder))]
            limit = ("--limit", str(entry["limit"])) if "limit" in entry else ()
            tasks = ("--tasks", *entry["tasks"]) if "tasks" in entry else ()
            grid.add("retention", out / "retention" / "retention.json", "-m", "eval.retention", *adapters, *tasks, *limit, "--out", str(out / "retention"))
    return list(grid.cells.values())


def run(cells: list[Cell], out: Path) -> None:
    """Run what is not there yet.  Raises InputError at the first command that fails; what is done stays done."""
    import torch  # late: bad input is reported before it is loaded

    record = out / "cells.jsonl"
    root = Path(__file__).parents[1]
    gpus = min(1, torch.cuda.device_count())  # every command uses one
    for number, cell in enumerate(cells, start=1):
        if cell.product.exists():
            continue
        print(f"[{number}/{len(cells)}] $ python {' '.join(cell.words)}", flush=True)
        began = time.monotonic()
        code = -1
        try:
            code = call([sys.executable, *cell.words], os.environ | {"PYTHONPATH": str(root)})
        finally:  # an attempt that failed or was interrupted has its cost too
            seconds = time.monotonic() - began
            tokens = read_json(cell.product).get("tokens") if code == 0 and cell.product.suffix == ".json" else None
            cost = {"seconds": round(seconds, 1), "gpu_hours": round(gpus * seconds / 3600, 4), "tokens": tokens}
            append_lines(record, [{"cell": cell.name, **cost, "finished": code == 0, "command": list(cell.words)}])
        if code:
            raise InputError(f"this cell failed, see above: {cell.name}; the study continues there when it is run again")


def call(words: list[str], environment: dict[str, str]) -> int:
    """Exit code of a command that a terminal's Ctrl-C does not reach: it would show a traceback while it still loads.  It is stopped instead."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # handed on to the command
    process = subprocess.Popen(words, env=environment)
    try:
        signal.signal(signal.SIGINT, before)
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, required=True, help="YAML file, e.g. recipes/plans/nano.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--model", help="model instead of the plan's")
    parser.add_argument("--designs", nargs="+", choices=tuple(DESIGNS), help="only these (default: all of the plan)")
    args = parser.parse_args()
    plan = read_plan(args.plan)
    if args.model:
        find_model(args.model)
        if "applications" in plan["designs"] and plan["designs"]["applications"]["model"] == plan["model"]:
            plan["designs"]["applications"]["model"] = args.model
        plan["model"] = args.model
    designs = args.designs or list(plan["designs"])
    if missing := [d for d in designs if d not in plan["designs"]]:
        raise InputError(f"{args.plan} has no design {', '.join(missing)}")
    lock(args.out)
    cells = lay_out(plan, args.out, designs)
    run(cells, args.out)
    write_json(args.out / "study.json", origin(plan=args.plan) | {"plan": plan, "designs": designs, "cells": [c.name for c in cells]})
    print(f"{args.out}/study.json; python -m eval.report {args.out}")


if __name__ == "__main__":
    command(main)
