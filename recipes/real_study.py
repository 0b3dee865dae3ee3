"""What tuning does to a real checkpoint: adapters of several targets,
measured beside base, told base and placebo.

    python recipes/real_study.py --model smollm2-135m --out runs/real/smollm2-135m
    python recipes/real_study.py --model FOLDER --name qwen2.5-coder-0.5b --out runs/real/qwen \\
        --only data tune games
    python recipes/real_study.py --model smollm2-135m --plan recipes/plans/real-gpu.yaml \\
        --sft "--batch-size 8" --seed 1 --jobs 4 --out runs/real/smollm2-135m-s1

Stages, each a set of commands: *data*, *tune* (the adapters of the plan, in its order), *games*,
*allocations* (also everyday situations), *curve* (one target by number of conversations),
*applications* (dilemmas, pricing).  A command whose product is there is not run again, so a study
that was stopped continues.  recipes/real_results.py writes the tables of whatever is there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.checkpoints.models import find_model
from econmoral.files.cells import TOOL, Cell, run
from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, command, lock, origin, read_yaml, write_json
from econmoral.target import Target

MEASURES = ("games", "menus", "dilemmas", "pricing")  # commands that keep their answers
STAGES = ("data", "tune", "games", "allocations", "curve", "applications")
KEYS = {"problems", "menus", "seed", "adapters", "curve", "applications"}
NEEDED = {"target", "domain", "n"}  # of an adapter
FLAGS, VALUES = ("shuffled", "crossed"), ("reasoned", "seed")  # options of its data
# tokens of a derivation: above the longest right one, so that an untuned model's rambling costs no
# more
BOTH = ("reasoned", "direct")
LONGEST = {"games": "450", "allocations": "300"}


@dataclass(frozen=True)
class StudyConfig(Config):
    """Options of ``recipes/real_study.py``."""

    plan: Path = option(Path("recipes/plans/real.yaml"), "YAML file")
    model: str = option(None, "name of the table, hub id or folder", required=True)
    name: str | None = option(None, "what to call it in tables (default: --model)")
    out: Path = option(None, "folder of the study", required=True)
    only: tuple[str, ...] = option(
        STAGES, "only these stages (default: all, in this order)", choices=STAGES
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
    jobs: int = option(
        1, "commands of a stage at once: a large GPU has room for several", at_least=1
    )


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.

    Raises InputError that names what is missing, unknown or no target before anything is trained.
    """
    plan = read_yaml(path)
    if not isinstance(plan, dict) or set(plan) != KEYS:
        raise InputError(f"{path} must have exactly {', '.join(sorted(KEYS))}")
    if not isinstance(plan["adapters"], dict) or not plan["adapters"]:
        raise InputError(f"{path}: adapters must name at least one adapter")
    before: list[str] = []
    for name, entry in plan["adapters"].items():
        if not isinstance(entry, dict) or not NEEDED <= set(entry) <= {
            *NEEDED,
            *FLAGS,
            *VALUES,
            "after",
        }:
            raise InputError(
                f"{path}: adapter {name} takes target, domain, n and perhaps shuffled, crossed, "
                "reasoned, seed, after"
            )
        Target.parse(str(entry["target"]))
        if not all(type(entry.get(k, False)) is bool for k in FLAGS):
            raise InputError(f"{path}: adapter {name}: shuffled and crossed are true or false")
        share = entry.get("reasoned", 1)
        if (
            type(entry.get("seed", 0)) is not int
            or entry.get("seed", 0) < 0
            or type(share) not in (int, float)
            or not 0 <= share <= 1
        ):
            raise InputError(
                f"{path}: adapter {name}: seed is a whole number from 0, reasoned a share from 0 "
                "to 1"
            )
        if (
            entry["domain"] not in ("games", "allocations")
            or type(entry["n"]) is not int
            or entry["n"] < 10
        ):
            raise InputError(
                f"{path}: adapter {name}: domain must be games or allocations, n a whole number of "
                "at least 10"
            )
        if "after" in entry and entry["after"] not in before:
            raise InputError(
                f"{path}: adapter {name}: after names an adapter that stands before it in the plan"
            )
        before.append(name)
    for key, least in (("problems", 2), ("menus", 1)):
        if type(plan[key]) is not int or plan[key] < least:
            raise InputError(f"{path}: {key} must be a whole number of at least {least}")
    if plan["curve"]["adapter"] not in plan["adapters"]:
        raise InputError(f"{path}: curve names no adapter of the plan")
    return plan


class Study:
    """The cells of a plan for one model."""

    def __init__(
        self, plan: dict[str, Any], model: str, out: Path, training: Sequence[str] = ()
    ) -> None:
        self.plan, self.model, self.out, self.training = plan, model, out, training
        self.seed = str(plan["seed"])
        entries, curve = plan["adapters"], plan["curve"]
        # (adapter, conversations) of the adapters, and of the learning curve's
        self.whole = [(name, int(entry["n"])) for name, entry in entries.items()]
        self.curve = [(str(curve["adapter"]), int(n)) for n in curve["sizes"]]

    def data(self, name: str, n: int) -> Path:
        """Where the conversations of an adapter of size n are."""
        return self.out / "data" / f"{name}-n{n}.jsonl"

    def folder(self, name: str, n: int) -> Path:
        """Where the adapter is."""
        whole = n == self.plan["adapters"][name]["n"]
        return self.out / "adapters" / (name if whole else f"{name}-n{n}")

    def draw(self, name: str, n: int) -> Cell:
        """The command that writes an adapter's data."""
        entry, path = self.plan["adapters"][name], self.data(name, n)
        words = ["data", "--target", entry["target"], "--domain", entry["domain"], "--n", str(n)]
        given = {"seed": self.seed} | {k: str(entry[k]) for k in VALUES if k in entry}
        words += [word for key, value in given.items() for word in (f"--{key}", value)]
        words += [f"--{kind}" for kind in FLAGS if entry.get(kind)]
        return self.cell(f"data {path.stem}", words, path, path)

    def tune(self, name: str, n: int) -> Cell:
        """The command that trains it: a new adapter, or the one that it comes after."""
        folder, entries = self.folder(name, n), self.plan["adapters"]
        words = ["sft", "--model", self.model, "--seed", self.seed]
        if first := entries[name].get("after"):
            words += ["--adapter", str(self.folder(first, entries[first]["n"]))]
        words += ["--data", str(self.data(name, n)), *self.training]
        return self.cell(f"tune {folder.name}", words, folder)

    def stage(self, name: str) -> int:
        """How many adapters stand before this one in its chain."""
        first = self.plan["adapters"][name].get("after")
        return 0 if first is None else 1 + self.stage(first)

    def cell(self, name: str, words: list[str], out: Path, product: Path | None = None) -> Cell:
        """A command that writes to ``out``; what it leaves last is run.json, or ``product``."""
        done = product or out / "run.json"
        return Cell(name, (*TOOL, *words, "--out", str(out)), done, words[0] in MEASURES)

    def adapters(self, domain: str) -> list[str]:
        """Options that name the finished adapters of a domain, the placebo first."""
        entries = self.plan["adapters"]
        chosen = [name for name, entry in entries.items() if entry["domain"] == domain]
        chosen.sort(key=lambda name: not entries[name].get("shuffled"))
        folders = [self.folder(name, entries[name]["n"]) for name in chosen]
        done = [f for f in folders if (f / "run.json").exists()]
        return [word for f in done for word in ("--adapter", str(f))]

    def asked(self, domain: str) -> list[str]:
        """Options of every measurement in which derivations are written."""
        return ["--pairs", "1", "--temperature", "0", "--longest", LONGEST[domain]]

    def trained(self, stage: str, only: Sequence[str]) -> list[tuple[str, int]]:
        """What the stage *data* or *tune* makes; a curve that is asked for brings its own."""
        whole = self.whole if stage in only else []
        return whole + (self.curve if "curve" in only else [])

    def measurements(self, stage: str) -> list[Cell]:
        """The commands of a stage that measures, with the adapters that are finished."""
        base = ["--model", self.model, "--seed", self.seed]
        everyone = [*self.adapters("allocations"), *self.adapters("games")]
        drawn = ["--battery", "allocations", "--limit", str(self.plan["menus"])]
        if stage == "games":
            # first what nobody trained on, then, with half of the problems, new payoffs in the
            # wordings of training
            words = ["games", *base, *self.adapters("games"), *self.asked("games")]
            n = self.plan["problems"]
            new = ["--sets", "wordings", "--items", str(n), "--mode", *BOTH, "--prompted"]
            known = ["--sets", "payoffs", "--items", str(n // 2), "--mode", "reasoned"]
            return [
                self.cell("games", [*words, *new], self.out / "games"),
                self.cell("games again", [*words, *known], self.out / "games-training-wordings"),
            ]
        if stage == "allocations":
            words = ["menus", *base, *self.adapters("allocations"), *self.asked("allocations")]
            words += ["--wordings", "held-out", "--mode", *BOTH, "--prompted"]
            spill = ["menus", *base, *everyone, "--battery", "spillover", "--pairs", "1"]
            return [
                self.cell("allocations", [*words, *drawn], self.out / "allocations"),
                self.cell("bfs39", [*words, "--battery", "bfs39"], self.out / "bfs39"),
                self.cell("spillover", spill, self.out / "spillover"),
            ]
        if stage == "curve":
            # beside the base told of the preference: from which size on tuning does more
            domain = self.plan["adapters"][self.plan["curve"]["adapter"]]["domain"]
            folders = [w for size in self.curve for w in ("--adapter", str(self.folder(*size)))]
            words = ["menus" if domain == "allocations" else "games", *base, *folders]
            words += [*self.asked(domain), "--mode", "reasoned", "--prompted"]
            new = ["--sets", "wordings", "--items", str(self.plan["problems"])]
            words += drawn if domain == "allocations" else new
            return [self.cell("curve", words, self.out / "curve")]
        size = self.plan["applications"]
        words = ["dilemmas", *base, *everyone, "--battery", "conjoint"]
        words += ["--scenarios", str(size["scenarios"])]
        market = ["pricing", *base, "--agents", "base", *(w for w in everyone if w != "--adapter")]
        market += ["--runs", str(size["runs"]), "--periods", str(size["periods"])]
        return [
            self.cell("dilemmas", words, self.out / "dilemmas"),
            self.cell("pricing", market, self.out / "pricing"),
        ]


def main() -> None:
    """Entry point."""
    config = parse(StudyConfig, None, __doc__)
    try:
        training = shlex.split(config.sft)
    except ValueError as error:  # a quotation mark that is not closed
        raise InputError(f"--sft {config.sft!r} cannot be read ({error})") from None
    plan = read_plan(config.plan)
    if config.seed is not None:
        plan["seed"] = config.seed
    find_model(config.model)
    lock(config.out)
    study, only = Study(plan, config.model, config.out, training), config.only
    run([study.draw(*size) for size in study.trained("data", only)], config.out, config.jobs)
    sizes = study.trained("tune", only)
    for later in sorted({study.stage(name) for name, _ in sizes}):
        chosen = [size for size in sizes if study.stage(size[0]) == later]
        run([study.tune(*size) for size in chosen], config.out, config.jobs)
    # measurements need nothing of one another
    measured = [cell for s in STAGES[2:] if s in only for cell in study.measurements(s)]
    run(measured, config.out, config.jobs)
    about = {"plan": plan, "model": config.model, "name": config.name or config.model}
    write_json(
        config.out / "study.json", origin(plan=config.plan) | about | {"stages": config.only}
    )
    print(f"{config.out}/study.json; python recipes/real_results.py {config.out}")


if __name__ == "__main__":
    command(main)
