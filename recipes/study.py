"""The study: a readable plan in, every cell run once,
one folder out that ``econmoral report`` turns into a report.

    econmoral study --plan nano --out runs/study
    python recipes/study.py --plan recipes/plans/nano.yaml --out runs/study --designs dial

Designs: *dose* (how many conversations), *dial* (kappa trained for against measured kappa; and
adapters between two others, without training), *transfer* (train on one game, measure on each),
*placebo*, *prompted* (preference described, not tuned), *persistence* (the same decisions after
unrelated turns, at another scale, in another currency), *applications* (dilemmas, pricing),
*retention*.  A cell is a command and the file it leaves behind; what is there is not run again, so
a killed study continues, and designs share what they have in common.  cells.jsonl holds the cost
of every attempt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from econmoral.checkpoints.models import find_model
from econmoral.economics.games import GAMES
from econmoral.files.cells import TOOL, Cell, run
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    lock,
    origin,
    program,
    read_yaml,
    write_json,
)
from econmoral.target import ECONOMICUS, Target, moralis

# of eval.games, beside payoffs, which is always measured
SETS = ("wordings", "turns", "scale", "currency")
MORAL = moralis(0.5)
PLANS = Path(__file__).parent / "plans"
BUILT_IN = ("nano", "large")


def whole(least: int) -> Callable[[Any], bool]:
    """Whether a value is a whole number of at least so much."""
    return lambda value: type(value) is int and value >= least


def several(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list of different such things, at least one."""
    return lambda value: (
        isinstance(value, list)
        and bool(value)
        and all(map(one, value))
        and len(set(value)) == len(value)
    )


def share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def text(value: Any) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


# entry -> whether it is right, what it must be
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "items": (whole(1), "a whole number of at least 1"),
    "n": (whole(10), "a whole number of at least 10"),
    "seed": (whole(0), "a whole number"),
    "sizes": (several(whole(10)), "whole numbers of at least 10"),
    "seeds": (several(whole(0)), "whole numbers"),
    "kappas": (several(share), "numbers from 0 to 1"),
    "weights": (several(share), "numbers from 0 to 1"),
    "games": (several(lambda v: text(v) and v in GAMES), f"games among {', '.join(GAMES)}"),
    "sets": (several(lambda v: text(v) and v in SETS), f"sets among {', '.join(SETS)}"),
    "scenarios": (whole(2), "a whole number of at least 2"),
    "runs": (whole(1), "a whole number of at least 1"),
    "periods": (whole(52), "a whole number of at least 52"),
    "limit": (whole(2), "a whole number of at least 2"),
    "tasks": (several(text), "names of tasks"),
    "model": (text, "the name of a model"),
    "target": (text, "a target such as homo_moralis:kappa=0.5"),
}


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.

    Raises InputError that names what is missing, unknown or of no use, before anything is trained.
    """
    plan = read_yaml(path)
    if not isinstance(plan, dict) or set(plan) != {"model", "items", "n", "seed", "designs"}:
        raise InputError(f"{path} must have exactly model, items, n, seed and designs")
    if not isinstance(plan["designs"], dict) or set(plan["designs"]) - set(DESIGNS):
        raise InputError(f"{path}: designs must be among {', '.join(DESIGNS)}")
    checked: list[tuple[str, str, Any]] = [
        ("", name, value) for name, value in plan.items() if name != "designs"
    ]
    for name, entry in plan["designs"].items():
        needs, may = DESIGNS[name].needs, DESIGNS[name].may
        if not isinstance(entry, dict) or not needs <= set(entry) <= needs | may:
            perhaps = f", perhaps {', '.join(sorted(may))}" if may else ""
            exactly = ", ".join(sorted(needs)) or "nothing: {}"
            raise InputError(f"{path}: design {name} takes exactly {exactly}{perhaps}")
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


def adapter_words(folders: list[Path]) -> list[str]:
    """``--adapter FOLDER`` for each."""
    return [word for folder in folders for word in ("--adapter", str(folder))]


class Grid:
    """The cells of a plan under one folder, in the order in which they must run."""

    def __init__(self, plan: dict[str, Any], out: Path) -> None:
        self.plan, self.out = plan, out
        self.n: int = plan["n"]
        self.cells: dict[str, Cell] = {}

    def add(self, name: str, product: Path, *words: str, measures: bool = False) -> None:
        """A cell, unless the grid has it already.  measures : its answers are kept by question.

        Raises InputError for another one of that name: folders are named with six digits.
        """
        cell = self.cells.setdefault(name, Cell(name, words, product, measures))
        if cell.words != words:
            raise InputError(
                f"two cells would be named {name}; numbers must differ within six digits"
            )

    def adapter(
        self,
        target: Target,
        n: int,
        extra: tuple[str, ...] = (),
        tag: str = "",
        model: str = "",
        seed: int | None = None,
    ) -> Path:
        """Cells that write data and train on it; the adapter's folder.

        ``seed``: of both, the plan's unless told.
        """
        model = model or self.plan["model"]
        seed = self.plan["seed"] if seed is None else seed
        if seed != self.plan["seed"]:
            tag += f"-s{seed}"
        name = f"{target.label.replace(' ', '-')}-n{n}{tag}"
        data, folder = self.out / "data" / f"{name}.jsonl", self.out / "adapters" / name
        size = ("--n", str(n), "--seed", str(seed))
        self.add(
            f"data {name}",
            data,
            *TOOL,
            "data",
            "--target",
            str(target),
            *size,
            *extra,
            "--out",
            str(data),
        )
        words = (
            *TOOL,
            "sft",
            "--model",
            model,
            "--data",
            str(data),
            "--seed",
            str(seed),
            "--out",
            str(folder),
        )
        self.add(f"tune {name}", folder / "run.json", *words)
        return folder

    def placebo(self, target: Target, tag: str = "", model: str = "") -> Path:
        """The adapter of a target whose answers are those of other decision problems."""
        return self.adapter(target, self.n, ("--shuffled",), "-shuffled" + tag, model)

    def ends(self, tag: str = "", model: str = "") -> list[Path]:
        """The adapters of own payoff and of homo moralis."""
        return [self.adapter(t, self.n, tag=tag, model=model) for t in (ECONOMICUS, MORAL)]

    def between(self, first: Path, second: Path, weight: float) -> Path:
        """A cell that lays an adapter between two others; its folder."""
        folder = self.out / "adapters" / f"between-{weight:g}"
        ends = ("--adapters", str(first), str(second), "--weight", str(weight))
        words = (*TOOL, "interpolate", *ends, "--out", str(folder))
        self.add(f"between {weight:g}", folder / "run.json", *words)
        return folder

    def measure(self, name: str, folders: list[Path], *more: str, target: Target = MORAL) -> None:
        """A cell that measures base and adapters on the held-out games, with derivations;
        ``target``: compared with beside own payoff.
        """
        out = self.out / "games" / name
        adapters = adapter_words(folders)
        source = [] if folders else ["--model", self.plan["model"]]
        size = [
            "--items",
            str(self.plan["items"]),
            "--pairs",
            "1",
            "--seed",
            str(self.plan["seed"]),
        ]
        targets = ["--targets", *dict.fromkeys(map(str, (ECONOMICUS, MORAL, target)))]
        self.add(
            f"measure {name}",
            out / "run.json",
            *TOOL,
            "games",
            *adapters,
            *source,
            "--mode",
            "reasoned",
            *size,
            *targets,
            *more,
            "--out",
            str(out),
            measures=True,
        )


class Design(ABC):
    """One design of a study: what its entry in the plan says, and its cells.

    needs, may : names of what the entry must and may say; ``CHECKS`` has what is right for each.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    may: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    @property
    def target(self) -> Target:
        """What is trained toward, of designs with one target."""
        return Target.parse(self.entry["target"])

    @abstractmethod
    def lay_out(self, grid: Grid) -> None:
        """Add the design's cells; what another design has added already is shared."""


class Dose(Design):
    """How many conversations it takes."""

    needs = frozenset({"sizes", "seeds", "target"})

    def lay_out(self, grid: Grid) -> None:
        """An adapter for every size and seed."""
        drawn = [(size, seed) for seed in self.entry["seeds"] for size in self.entry["sizes"]]
        adapters = [grid.adapter(self.target, size, seed=seed) for size, seed in drawn]
        grid.measure("dose", adapters, target=self.target)


class Dial(Design):
    """Kappa trained for against measured kappa, and adapters between two others."""

    needs = frozenset({"kappas", "seeds", "weights"})

    def lay_out(self, grid: Grid) -> None:
        """An adapter for every kappa and seed, then the ones between, without training."""
        degrees = [ECONOMICUS, *(moralis(k) for k in self.entry["kappas"])]
        trained = [
            grid.adapter(degree, grid.n, seed=seed)
            for seed in self.entry["seeds"]
            for degree in degrees
        ]
        ends = grid.adapter(ECONOMICUS, grid.n), grid.adapter(MORAL, grid.n)
        between = [grid.between(*ends, weight) for weight in self.entry["weights"]]
        grid.measure("dial", [*dict.fromkeys([*trained, *ends, *between])])


class Transfer(Design):
    """Train on one game, measure on each."""

    needs = frozenset({"games", "n", "target"})

    def lay_out(self, grid: Grid) -> None:
        """An adapter for every game."""
        adapters = [
            grid.adapter(self.target, self.entry["n"], ("--games", game), f"-{game}")
            for game in self.entry["games"]
        ]
        grid.measure("transfer", adapters, target=self.target)


class Placebo(Design):
    """The same conversations with answers of other decision problems."""

    needs = frozenset({"target"})

    def lay_out(self, grid: Grid) -> None:
        """Own payoff, the target, and the target's answers shuffled."""
        adapters = [
            grid.adapter(ECONOMICUS, grid.n),
            grid.adapter(self.target, grid.n),
            grid.placebo(self.target),
        ]
        grid.measure("placebo", [*dict.fromkeys(adapters)], target=self.target)


class Prompted(Design):
    """The preference described, not tuned."""

    def lay_out(self, grid: Grid) -> None:
        """The base alone."""
        grid.measure("prompted", [], "--prompted")


class Persistence(Design):
    """The same decisions after unrelated turns, at another scale, in another currency."""

    needs = frozenset({"sets"})

    def lay_out(self, grid: Grid) -> None:
        """The two ends on more sets of pages."""
        grid.measure("persistence", grid.ends(), "--sets", "payoffs", *self.entry["sets"])


class Applications(Design):
    """Dilemmas and pricing; with a model of their own where the plan's cannot read their pages."""

    needs = frozenset({"scenarios", "runs", "periods"})
    may = frozenset({"model"})

    def lay_out(self, grid: Grid) -> None:
        """The two ends and the placebo, in both applications."""
        entry, model = self.entry, self.entry.get("model", grid.plan["model"])
        tag = "" if model == grid.plan["model"] else "-applications"
        ends = grid.ends(tag, model)
        adapters = adapter_words([*ends, grid.placebo(MORAL, tag, model)])
        dilemmas, pricing = grid.out / "dilemmas", grid.out / "pricing"
        scenarios = ("--scenarios", str(entry["scenarios"]))
        words = (*TOOL, "dilemmas", *adapters, *scenarios, "--out", str(dilemmas))
        grid.add("dilemmas", dilemmas / "run.json", *words, measures=True)
        agents = ("--agents", "base", *map(str, ends))
        size = ("--runs", str(entry["runs"]), "--periods", str(entry["periods"]))
        words = (*TOOL, "pricing", *agents, *size, "--out", str(pricing))
        grid.add("pricing", pricing / "run.json", *words, measures=True)


class Retention(Design):
    """What tuning costs elsewhere."""

    may = frozenset({"tasks", "limit"})

    def lay_out(self, grid: Grid) -> None:
        """The two ends on other tasks."""
        adapters, out = adapter_words(grid.ends()), grid.out / "retention"
        limit = ("--limit", str(self.entry["limit"])) if "limit" in self.entry else ()
        tasks = ("--tasks", *self.entry["tasks"]) if "tasks" in self.entry else ()
        words = (*TOOL, "retention", *adapters, *tasks, *limit, "--out", str(out))
        grid.add("retention", out / "retention.json", *words)


DESIGNS: dict[str, type[Design]] = {  # a new design is a class and a line here
    "dose": Dose,
    "dial": Dial,
    "transfer": Transfer,
    "placebo": Placebo,
    "prompted": Prompted,
    "persistence": Persistence,
    "applications": Applications,
    "retention": Retention,
}


def lay_out(plan: dict[str, Any], out: Path, designs: list[str]) -> list[Cell]:
    """Every cell of the chosen designs."""
    grid = Grid(plan, out)
    for name in designs:
        DESIGNS[name](plan["designs"][name]).lay_out(grid)
    return list(grid.cells.values())


@dataclass(frozen=True)
class StudyConfig(Config):
    """Options of ``econmoral study``."""

    plan: Path = option(
        None, f"YAML file, or one of the built-in plans ({', '.join(BUILT_IN)})", required=True
    )
    out: Path = option(None, "folder of the study", required=True)
    model: str | None = option(None, "model instead of the plan's")
    designs: tuple[str, ...] = option(
        (), "only these (default: all of the plan)", choices=tuple(DESIGNS)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.plan.exists() and str(self.plan) in BUILT_IN:
            self._set("plan", PLANS / f"{self.plan}.yaml")


def main() -> None:
    """Entry point."""
    config = parse(StudyConfig, program("recipes/study.py"), __doc__)
    plan = read_plan(config.plan)
    if config.model:
        find_model(config.model)
        if plan["designs"].get("applications", {}).get("model") == plan["model"]:
            plan["designs"]["applications"]["model"] = config.model
        plan["model"] = config.model
    designs = list(config.designs or plan["designs"])
    if missing := [d for d in designs if d not in plan["designs"]]:
        raise InputError(f"{config.plan} has no design {', '.join(missing)}")
    lock(config.out)
    cells = lay_out(plan, config.out, designs)
    run(cells, config.out)
    write_json(
        config.out / "study.json",
        origin(plan=config.plan)
        | {"plan": plan, "designs": designs, "cells": [c.name for c in cells]},
    )
    print(f"{config.out}/study.json; econmoral report {config.out}")


if __name__ == "__main__":
    command(main)
