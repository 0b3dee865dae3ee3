r"""The study: a readable plan in, every cell run once,
one folder out that ``econmoral report`` turns into a report.

    econmoral study --plan nano --out runs/study
    econmoral study --plan real --model smollm2-135m --out runs/real/smollm2-135m
    python recipes/study.py --plan recipes/plans/nano.yaml --out runs/study --designs dial
    python recipes/study.py --plan recipes/plans/real-gpu.yaml --sft "--batch-size 16" --jobs 4 \
        --out runs/real/gpu

Designs that train what they need: *dose* (how many conversations), *dial* (kappa trained for
against measured kappa; and adapters between two others, without training), *transfer* (train on one
game, measure on each), *placebo*, *prompted* (preference described, not tuned), *persistence* (the
same decisions after unrelated turns, at another scale, in another currency), *applications*
(dilemmas, pricing), *retention*.  Designs on the plan's own adapters, which may be chains: *games*,
*balanced* (games in half of which own payoff's usual plan is wrong), *allocations* (also everyday
situations), *curve* (one of them by number of conversations), *seeds* (one of them trained again
with other seeds); of these recipes/real_results.py writes the tables.

A cell is a command and the file it leaves behind; what is there is not run again, so a killed study
continues, and designs share what they have in common.  cells.jsonl holds the cost of every attempt.
"""

from __future__ import annotations

import itertools
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from econmoral.checkpoints.models import find_model
from econmoral.economics.firms import SCRIPTED
from econmoral.economics.games import GAMES
from econmoral.files.cells import TOOL, Cell, run
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    lock,
    origin,
    plain,
    program,
    read_yaml,
    write_json,
)
from econmoral.instruments.derivations import length
from econmoral.instruments.menus import LEAST_LARGEST
from econmoral.rooms import room
from econmoral.target import ECONOMICUS, Target, moralis
from econmoral.training.config import SEEDS

# of eval.games, beside payoffs, which is always measured
SETS = ("wordings", "balanced", "turns", "scale", "currency")
MORAL = moralis(0.5)
PLANS = Path(__file__).parent / "plans"
TAKEN = room("eval.conditions").TAKEN | set(SCRIPTED)  # names that tables give to others
default_targets = room("eval.conditions").default_targets
BUILT_IN = ("nano", "large", "real")
DOMAINS = ("games", "allocations")
# tokens at which a derivation is cut, at least; more where a target's right ones are longer
LONGEST = {"games": 450, "allocations": 300}
COUNTED = 3  # tokens by which a count may be short of the tokenizer's


def whole(least: int) -> Callable[[Any], bool]:
    """Whether a value is a whole number of at least so much."""
    return lambda value: type(value) is int and value >= least


def training_seed(value: Any) -> bool:
    """Whether a value can be the seed of a training."""
    return whole(0)(value) and value < SEEDS


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


def yes_or_no(value: Any) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


# entry -> whether it is right, what it must be
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "items": (whole(1), "a whole number of at least 1"),
    "n": (whole(10), "a whole number of at least 10"),
    "seed": (training_seed, f"a whole number below {SEEDS}"),
    "sizes": (several(whole(10)), "whole numbers of at least 10"),
    "seeds": (several(training_seed), f"whole numbers below {SEEDS}"),
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
    "menus": (whole(1), "a whole number of at least 1"),
    "adapter": (text, "the name of an adapter"),
    "domain": (lambda v: v in DOMAINS, f"one of {', '.join(DOMAINS)}"),
    "shuffled": (yes_or_no, "true or false"),
    "crossed": (yes_or_no, "true or false"),
    "reasoned": (share, "a share from 0 to 1"),
    "largest": (whole(LEAST_LARGEST), f"a whole number of at least {LEAST_LARGEST}"),
    "after": (text, "the name of an adapter"),
}
PLAN = {"model", "items", "n", "seed", "designs"}
# of an adapter that a plan names: what it must and may say
NEEDS = {"target", "domain", "n"}
MAY = {"shuffled", "crossed", "reasoned", "largest", "seed", "after"}
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of an adapter: a folder's, and no path


def check_entry(what: str, entry: Any, needs: set[str], may: set[str]) -> None:
    """Raises InputError unless an entry of a plan says what it needs and no more."""
    if not isinstance(entry, dict) or not needs <= set(entry) <= needs | may:
        perhaps = f", perhaps {', '.join(sorted(may))}" if may else ""
        exactly = ", ".join(sorted(needs)) or "nothing: {}"
        raise InputError(f"{what} takes exactly {exactly}{perhaps}")


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.

    Raises InputError that names what is missing, unknown or of no use, before anything is trained.
    """
    plan = read_yaml(path)
    if not isinstance(plan, dict) or not set(plan) >= PLAN >= set(plan) - {"adapters"}:
        raise InputError(
            f"{path} must have exactly model, items, n, seed and designs, and perhaps adapters"
        )
    if not isinstance(plan["designs"], dict) or set(plan["designs"]) - set(DESIGNS):
        raise InputError(f"{path}: designs must be among {', '.join(DESIGNS)}")
    adapters = plan.setdefault("adapters", {})
    if not isinstance(adapters, dict):
        raise InputError(f"{path}: adapters must be a name and an entry for each")
    for name in adapters:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in TAKEN:
            raise InputError(
                f"{path}: an adapter is called {plain(str(name))!r}; take letters, digits, - and _ "
                f"(in quotes where they are digits only), and none of {', '.join(sorted(TAKEN))}"
            )
    checked: list[tuple[str, str, Any]] = [
        ("", name, value) for name, value in plan.items() if name not in ("designs", "adapters")
    ]
    for name, entry in plan["designs"].items():
        design = DESIGNS[name]
        check_entry(f"{path}: design {name}", entry, set(design.needs), set(design.may))
        checked += [(f"design {name}, ", key, value) for key, value in entry.items()]
        if design.named and not adapters:
            raise InputError(f"{path}: design {name} measures the plan's adapters: name some")
        if "adapter" in entry and entry["adapter"] not in list(adapters):
            raise InputError(f"{path}: design {name} names no adapter of the plan")
        if adapters and "model" in entry:
            raise InputError(f"{path}: design {name} measures the plan's adapters, on one model")
    for place, (name, entry) in enumerate(adapters.items()):
        check_entry(f"{path}: adapter {name}", entry, NEEDS, MAY)
        checked += [(f"adapter {name}, ", key, value) for key, value in entry.items()]
        if "largest" in entry and entry["domain"] != "allocations":
            raise InputError(f"{path}: adapter {name}: largest is for the domain allocations")
        if "after" in entry and entry["after"] not in list(adapters)[:place]:
            raise InputError(
                f"{path}: adapter {name}: after names an adapter that stands before it in the plan"
            )
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

    def __init__(self, plan: dict[str, Any], out: Path, training: Sequence[str] = ()) -> None:
        self.plan, self.out, self.training = plan, out, training
        self.n: int = plan["n"]
        self.seed: int = plan["seed"]
        self.cells: dict[str, Cell] = {}

    def add(self, name: str, product: Path, *words: str, measures: bool = False) -> None:
        """A cell, unless the grid has it already.  measures : its answers are kept by question.

        Raises InputError for another one of that name: folders are named with six digits.
        """
        cell = self.cells.setdefault(name, Cell(name, (*TOOL, *words), product, measures))
        if cell.words != (*TOOL, *words):
            raise InputError(
                f"two cells would be named {name}; give adapters other names (numbers must differ "
                "within six digits)"
            )
        if twice := [c.name for c in self.cells.values() if c.product == product and c is not cell]:
            raise InputError(
                f"the cells {twice[0]} and {name} would write {product}; give adapters other names"
            )

    def train(
        self, target: str, size: Sequence[str], data: Path, folder: Path, more: Sequence[str] = ()
    ) -> Path:
        """Cells that write data and train on it; the adapter's folder.

        size : options of the data.  more : options of the training before those of every one.
        """
        self.add(f"data {data.stem}", data, "data", "--target", target, *size, "--out", str(data))
        words = [*more, "--data", str(data), *self.training, "--out", str(folder)]
        self.add(f"tune {folder.name}", folder / "run.json", "sft", *words)
        return folder

    def adapter(
        self,
        target: Target,
        n: int,
        extra: tuple[str, ...] = (),
        tag: str = "",
        model: str = "",
        seed: int | None = None,
    ) -> Path:
        """The adapter of a target.  ``seed``: of data and training, the plan's unless told."""
        seed = self.seed if seed is None else seed
        if seed != self.seed:
            tag += f"-s{seed}"
        name = f"{target.label.replace(' ', '-')}-n{n}{tag}"
        size = ["--n", str(n), "--seed", str(seed), *extra]
        more = ["--model", model or self.plan["model"], "--seed", str(seed)]
        data = self.out / "data" / f"{name}.jsonl"
        return self.train(str(target), size, data, self.out / "adapters" / name, more)

    def named(self, name: str, n: int | None = None, seed: int | None = None) -> Path:
        """An adapter of the plan by its name; before it those that it goes on from.

        n : conversations instead of its own number.  seed : of data and training, instead of its
        own and the plan's.
        """
        entry = self.plan["adapters"][name]
        title = name if n in (None, entry["n"]) else f"{name}-n{n}"
        n = entry["n"] if n is None else n
        tag = "" if seed is None else f"-s{seed}"
        title += tag
        own, training = (entry.get("seed", self.seed), self.seed) if seed is None else (seed, seed)
        size = ["--domain", entry["domain"], "--n", str(n), "--seed", str(own)]
        for option_of_data in ("reasoned", "largest"):
            if option_of_data in entry:
                size += [f"--{option_of_data}", str(entry[option_of_data])]
        size += [f"--{kind}" for kind in ("shuffled", "crossed") if entry.get(kind)]
        more = ["--model", self.plan["model"], "--seed", str(training)]
        if "after" in entry:
            more += ["--adapter", str(self.named(entry["after"]))]
        data = self.out / "data" / f"{name}-n{n}{tag}.jsonl"
        return self.train(entry["target"], size, data, self.out / "adapters" / title, more)

    def all_named(self, *domains: str) -> list[Path]:
        """The plan's adapters of these domains, the placebo first."""
        entries = {k: e for k, e in self.plan["adapters"].items() if e["domain"] in domains}
        folders = {name: self.named(name) for name in entries}
        return [folders[k] for k in sorted(folders, key=lambda k: not entries[k].get("shuffled"))]

    def asked(self, domain: str) -> list[str]:
        """Options of a measurement in which a real model writes its derivations."""
        entries = [e for e in self.plan["adapters"].values() if e["domain"] == domain]
        needed = [longest(Target.parse(e["target"]), domain, e.get("largest")) for e in entries]
        most = max(LONGEST[domain], *needed)
        return ["--pairs", "1", "--temperature", "0", "--longest", str(most)]

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
        self.add(
            f"between {weight:g}", folder / "run.json", "interpolate", *ends, "--out", str(folder)
        )
        return folder

    def ask(self, folder: str, *words: str, name: str = "") -> None:
        """A cell that measures and leaves its results in a folder."""
        out = self.out / folder
        self.add(name or folder, out / "run.json", *words, "--out", str(out), measures=True)

    def measure(self, name: str, folders: list[Path], *more: str, target: Target = MORAL) -> None:
        """A cell that measures base and adapters on the held-out games, with derivations;
        ``target``: compared with beside own payoff.
        """
        adapters = adapter_words(folders) if folders else ["--model", self.plan["model"]]
        size = ["--items", str(self.plan["items"]), "--pairs", "1", "--seed", str(self.seed)]
        targets = ["--targets", *dict.fromkeys(map(str, (ECONOMICUS, MORAL, target)))]
        words = [*adapters, "--mode", "reasoned", *size, *targets, *more]
        self.ask(f"games/{name}", "games", *words, name=f"measure {name}")

    def compare(
        self,
        folder: str,
        command: str,
        adapters: list[Path],
        *words: str,
        model: str = "",
        seed: int | None = None,
    ) -> None:
        """A cell that measures a base beside adapters.  model, seed : the plan's unless told."""
        drawn = self.seed if seed is None else seed
        base = ["--model", model or self.plan["model"], "--seed", str(drawn)]
        self.ask(folder, command, *base, *adapter_words(adapters), *words)


class Design(ABC):
    """One design of a study: what its entry in the plan says, and its cells.

    needs, may : names of what the entry must and may say; ``CHECKS`` has what is right for each.
    named : whether it measures the adapters that the plan names.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    may: ClassVar[frozenset[str]] = frozenset()
    named: ClassVar[bool] = False

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
        """The plan's adapters, or else the two ends and the placebo, in both applications."""
        entry, model = self.entry, self.entry.get("model", grid.plan["model"])
        tag = "" if model == grid.plan["model"] else "-applications"
        rivals = grid.all_named(*DOMAINS) or grid.ends(tag, model)
        adapters = rivals if grid.plan["adapters"] else [*rivals, grid.placebo(MORAL, tag, model)]
        scenarios: tuple[str, ...] = ("--scenarios", str(entry["scenarios"]))
        if grid.plan["adapters"]:  # the ratings are too many pages for a large model on a CPU
            scenarios = ("--battery", "conjoint", *scenarios)
        grid.compare("dilemmas", "dilemmas", adapters, *scenarios, model=model)
        agents = ("--agents", "base", *map(str, rivals))
        if grid.plan["adapters"]:  # all pairings of six are 21 markets
            agents = (*agents, "--pairings", "alike")
        size = ("--runs", str(entry["runs"]), "--periods", str(entry["periods"]))
        grid.compare("pricing", "pricing", [], *agents, *size, model=model)


class Retention(Design):
    """What tuning costs elsewhere."""

    may = frozenset({"tasks", "limit"})

    def lay_out(self, grid: Grid) -> None:
        """The two ends on other tasks."""
        adapters, out = adapter_words(grid.ends()), grid.out / "retention"
        limit = ("--limit", str(self.entry["limit"])) if "limit" in self.entry else ()
        tasks = ("--tasks", *self.entry["tasks"]) if "tasks" in self.entry else ()
        words = ("retention", *adapters, *tasks, *limit, "--out", str(out))
        grid.add("retention", out / "retention.json", *words)


@cache
def longest(target: Target, domain: str, largest: int | None = None) -> int:
    """Tokens above the longest right derivation of some hundred, in steps of 50, so that an untuned
    model's rambling costs no more.
    """
    synthesis = room("data_synth.synthesis")
    more = {} if largest is None else {"largest": largest}
    draw = synthesis.Draw(target, ECONOMICUS, 150, 0, domain, reasoned=1, **more)
    rows = [row for row in synthesis.examples(draw) if row["meta"]["mode"] == "reasoned"]
    most = max((length(row["messages"][1]["content"]) for row in rows), default=0)
    return -(-(most + COUNTED) // 50) * 50


class Games(Design):
    """The plan's adapters on games: what nobody trained on, then, with half of the problems, new
    payoffs in the wordings of training.
    """

    named = True

    def lay_out(self, grid: Grid) -> None:
        """Three measurements; direct answers, which take minutes, before derivations."""
        adapters, items = grid.all_named("games"), grid.plan["items"]
        new = ["--sets", "wordings", "--items", str(items), "--prompted"]
        known = ["--sets", "payoffs", "--items", str(max(1, items // 2))]
        written = [*grid.asked("games"), "--mode", "reasoned"]
        grid.compare("games-direct", "games", adapters, "--pairs", "1", "--mode", "direct", *new)
        grid.compare("games", "games", adapters, *written, *new)
        grid.compare("games-training-wordings", "games", adapters, *written, *known)


class Balanced(Design):
    """The plan's adapters on games in which always taking one plan is right in half: a placebo may
    have learnt the plan that is usual.  seed : of the problems, instead of the plan's.
    """

    may = frozenset({"seed"})
    named = True

    def lay_out(self, grid: Grid) -> None:
        """One measurement, with derivations."""
        words = [*grid.asked("games"), "--mode", "reasoned", "--sets", "balanced"]
        adapters, items = grid.all_named("games"), str(grid.plan["items"])
        seed = self.entry.get("seed")
        grid.compare("games-balanced", "games", adapters, *words, "--items", items, seed=seed)


class Allocations(Design):
    """The plan's adapters on new allocations and on those that people answered;
    everyday situations.
    """

    needs = frozenset({"menus"})
    named = True

    def lay_out(self, grid: Grid) -> None:
        """Five measurements; direct answers, which take minutes, before derivations."""
        batteries = {
            "allocations": ("allocations", "--limit", str(self.entry["menus"])),
            "bfs39": ("bfs39",),
        }
        modes = {
            "-direct": ["--pairs", "1", "--mode", "direct"],
            "": [*grid.asked("allocations"), "--mode", "reasoned"],
        }
        adapters, new = grid.all_named("allocations"), ["--wordings", "held-out", "--prompted"]
        for (end, mode), (name, battery) in itertools.product(modes.items(), batteries.items()):
            grid.compare(name + end, "menus", adapters, *mode, *new, "--battery", *battery)
        everyone = grid.all_named(*DOMAINS)
        grid.compare("spillover", "menus", everyone, "--battery", "spillover", "--pairs", "1")


class OfOne(Design):
    """One of the plan's adapters in several versions, measured where its domain is."""

    may = frozenset({"menus"})
    named = True
    folder: ClassVar[str]

    @abstractmethod
    def versions(self, grid: Grid) -> list[Path]:
        """The adapters."""

    def lay_out(self, grid: Grid, *more: str) -> None:
        """Every version, then one measurement.  more : options of it."""
        named = grid.plan["adapters"][self.entry["adapter"]]
        domain, target = named["domain"], Target.parse(named["target"])
        if ("menus" in self.entry) != (domain == "allocations"):
            raise InputError(
                f"design {self.folder} says menus where its adapter's domain is allocations"
            )
        command, targets = "menus", [target]
        which = ["--battery", "allocations", "--limit", str(self.entry.get("menus"))]
        if domain == "games":  # problems are drawn clear for every target: those of design games
            of_plan = grid.plan["adapters"].values()
            command, targets = (
                "games",
                default_targets(
                    [
                        Target.parse(e["target"])
                        for e in of_plan
                        if e["domain"] == "games" and not e.get("shuffled")
                    ]
                ),
            )
            which = ["--sets", "wordings", "--items", str(grid.plan["items"])]
        words = [*grid.asked(domain), "--mode", "reasoned", *more, "--targets", *map(str, targets)]
        grid.compare(self.folder, command, self.versions(grid), *words, *which)


class Curve(OfOne):
    """By number of conversations, beside the base told of the preference: from which size on tuning
    does more.
    """

    needs = frozenset({"adapter", "sizes"})
    folder = "curve"

    def versions(self, grid: Grid) -> list[Path]:
        """An adapter for every size."""
        return [grid.named(self.entry["adapter"], n) for n in self.entry["sizes"]]

    def lay_out(self, grid: Grid, *more: str) -> None:
        """The same, beside the base that is told."""
        super().lay_out(grid, "--prompted")


class Seeds(OfOne):
    """Trained again with other seeds of data and training: how far a single run is to be trusted.
    What it goes on from is not trained again.
    """

    needs = frozenset({"adapter", "seeds"})
    folder = "seeds"

    def versions(self, grid: Grid) -> list[Path]:
        """An adapter for every seed."""
        return [grid.named(self.entry["adapter"], seed=s) for s in self.entry["seeds"]]


DESIGNS: dict[str, type[Design]] = {  # a new design is a class and a line here
    "dose": Dose,
    "dial": Dial,
    "transfer": Transfer,
    "placebo": Placebo,
    "prompted": Prompted,
    "persistence": Persistence,
    "applications": Applications,
    "retention": Retention,
    "games": Games,
    "balanced": Balanced,
    "allocations": Allocations,
    "curve": Curve,
    "seeds": Seeds,
}


def lay_out(
    plan: dict[str, Any], out: Path, designs: list[str], training: Sequence[str] = ()
) -> list[Cell]:
    """Every cell of the chosen designs.  training : more options of every training."""
    grid = Grid(plan, out, training)
    for name in designs:
        DESIGNS[name](plan["designs"][name]).lay_out(grid)
    # several at once on a GPU: what measures waits until everything is trained
    return sorted(grid.cells.values(), key=lambda cell: cell.measures)


@dataclass(frozen=True)
class StudyConfig(Config):
    """Options of ``econmoral study``."""

    plan: Path = option(
        None, f"YAML file, or one of the built-in plans ({', '.join(BUILT_IN)})", required=True
    )
    out: Path = option(None, "folder of the study", required=True)
    model: str | None = option(None, "model instead of the plan's")
    name: str | None = option(None, "what to call the model in tables (default: as it is given)")
    designs: tuple[str, ...] = option(
        (), "only these (default: all of the plan)", choices=tuple(DESIGNS)
    )
    seed: int | None = option(
        None, "of training, problems, and data without a seed of its own (default: the plan's)"
    )
    sft: str = option(
        "",
        "more options of every training, as recipes/sft.py takes them ('--precision bf16' halves "
        "the time of a CPU with instructions for it)",
        metavar="OPTIONS",
    )
    train_only: bool = option(
        False, "write data and train, measure nothing yet (for a GPU that is lent for minutes)"
    )
    jobs: int = option(1, "commands at once: a large GPU has room for several", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed is not None and not training_seed(self.seed):
            raise InputError(f"--seed must lie between 0 and {SEEDS - 1}, got {self.seed}")
        if not self.plan.exists() and str(self.plan) in BUILT_IN:
            self._set("plan", PLANS / f"{self.plan}.yaml")


def main() -> None:
    """Entry point."""
    config = parse(StudyConfig, program("recipes/study.py"), __doc__)
    try:
        training = shlex.split(config.sft)
    except ValueError as error:  # a quotation mark that is not closed
        raise InputError(f"--sft {config.sft!r} cannot be read ({error})") from None
    plan = read_plan(config.plan)
    if config.model:
        find_model(config.model)
        if plan["designs"].get("applications", {}).get("model") == plan["model"]:
            plan["designs"]["applications"]["model"] = config.model
        plan["model"] = config.model
    if config.seed is not None:
        plan["seed"] = config.seed
    designs = list(config.designs or plan["designs"])
    if missing := [d for d in designs if d not in plan["designs"]]:
        raise InputError(f"{config.plan} has no design {', '.join(missing)}")
    lock(config.out)
    cells = lay_out(plan, config.out, designs, training)
    if config.train_only:
        cells = [cell for cell in cells if not cell.measures]
    run(cells, config.out, config.jobs)
    about = {"plan": plan, "designs": designs, "name": config.name or plan["model"]}
    write_json(
        config.out / "study.json",
        origin(plan=config.plan) | about | {"cells": [c.name for c in cells]},
    )
    tables = f"; python recipes/real_results.py {config.out}" if plan["adapters"] else ""
    print(f"{config.out}/study.json; econmoral report {config.out}{tables}")


if __name__ == "__main__":
    command(main)
