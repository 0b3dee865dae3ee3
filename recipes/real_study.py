"""What tuning does to a real checkpoint: adapters of several targets,
measured beside base, told base and placebo.

    python recipes/real_study.py --model smollm2-135m --out runs/real/smollm2-135m
    python recipes/real_study.py --model FOLDER --name qwen2.5-coder-0.5b --out runs/real/qwen \
        --only data tune games

Stages, each a set of commands: *data*, *tune* (the adapters of the plan, in its order), *games*,
*allocations* (also everyday situations), *curve* (one target by number of conversations),
*applications* (dilemmas, pricing).  A command whose product is there is not run again, so a study
that was stopped continues.  The table of all that is there is written at the end of every run
(results.json, results.md, figure.png).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from econmoral.cells import TOOL, Cell, run
from econmoral.models import find_model
from econmoral.records import InputError, command, lock, origin, read_yaml, write_json
from econmoral.target import Target

STAGES = ("data", "tune", "games", "allocations", "curve", "applications")
KEYS = {"problems", "seed", "adapters", "curve", "applications"}
# tokens of a derivation: above the longest right one, so that an untuned model's rambling costs no
# more
LONGEST = {"games": "450", "allocations": "200"}


def read_plan(path: Path) -> dict[str, Any]:
    """The plan.

    Raises InputError that names what is missing, unknown or no target before anything is trained.
    """
    plan = read_yaml(path)
    if not isinstance(plan, dict) or set(plan) != KEYS:
        raise InputError(f"{path} must have exactly {', '.join(sorted(KEYS))}")
    if not isinstance(plan["adapters"], dict) or not plan["adapters"]:
        raise InputError(f"{path}: adapters must name at least one adapter")
    for name, entry in plan["adapters"].items():
        if not isinstance(entry, dict) or not {"target", "domain", "n"} <= set(entry) <= {
            "target",
            "domain",
            "n",
            "shuffled",
        }:
            raise InputError(f"{path}: adapter {name} takes target, domain, n and perhaps shuffled")
        Target.parse(str(entry["target"]))
        if (
            entry["domain"] not in ("games", "allocations")
            or type(entry["n"]) is not int
            or entry["n"] < 10
        ):
            raise InputError(
                f"{path}: adapter {name}: domain must be games or allocations, n a whole number of "
                "at least 10"
            )
    if plan["curve"]["adapter"] not in plan["adapters"]:
        raise InputError(f"{path}: curve names no adapter of the plan")
    return plan


class Study:
    """The cells of a plan for one model."""

    def __init__(
        self, plan: dict[str, Any], model: str, out: Path, precision: str | None = None
    ) -> None:
        self.plan, self.model, self.out, self.precision = plan, model, out, precision

    def data(self, name: str, n: int) -> Path:
        """Where the conversations of an adapter of size n are."""
        return self.out / "data" / f"{name}-n{n}.jsonl"

    def folder(self, name: str, n: int) -> Path:
        """Where the adapter is."""
        return (
            self.out
            / "adapters"
            / (name if n == self.plan["adapters"][name]["n"] else f"{name}-n{n}")
        )

    def draw(self, name: str, n: int) -> Cell:
        """The command that writes an adapter's data."""
        entry, path = self.plan["adapters"][name], self.data(name, n)
        words = [
            *TOOL,
            "data",
            "--target",
            entry["target"],
            "--domain",
            entry["domain"],
            "--n",
            str(n),
            "--seed",
            str(self.plan["seed"]),
        ]
        return Cell(
            f"data {path.stem}",
            (*words, *(["--shuffled"] if entry.get("shuffled") else []), "--out", str(path)),
            path,
        )

    def tune(self, name: str, n: int) -> Cell:
        """The command that trains it."""
        folder = self.folder(name, n)
        words = (
            *TOOL,
            "sft",
            "--model",
            self.model,
            "--data",
            str(self.data(name, n)),
            "--seed",
            str(self.plan["seed"]),
            "--out",
            str(folder),
        )
        words += ("--precision", self.precision) if self.precision else ()
        return Cell(f"tune {folder.name}", words, folder / "run.json")

    def adapters(self, domain: str) -> list[str]:
        """Options that name the finished adapters of a domain, the placebo first."""
        chosen = sorted(
            (name for name, entry in self.plan["adapters"].items() if entry["domain"] == domain),
            key=lambda n: not self.plan["adapters"][n].get("shuffled"),
        )
        folders = [self.folder(name, self.plan["adapters"][name]["n"]) for name in chosen]
        return [
            word for f in folders if (f / "run.json").exists() for word in ("--adapter", str(f))
        ]

    def cells(self, stage: str) -> list[Cell]:
        """The commands of a stage; measurements take the adapters that are finished."""
        sizes = {name: entry["n"] for name, entry in self.plan["adapters"].items()}
        base = ("--model", self.model, "--seed", str(self.plan["seed"]))
        if stage == "data":
            return [self.draw(name, n) for name, n in sizes.items()]
        if stage == "tune":
            return [self.tune(name, n) for name, n in sizes.items()]
        if stage == "games":
            # first what nobody trained on, then, with two thirds of the problems, new payoffs in
            # the wordings of training
            how = ("--pairs", "1", "--longest", LONGEST["games"], "--temperature", "0")
            out, again, n = (
                self.out / "games",
                self.out / "games-training-wordings",
                self.plan["problems"],
            )
            words = (*TOOL, "games", *base, *self.adapters("games"), *how)
            new = (
                "--sets",
                "wordings",
                "--items",
                str(n),
                "--mode",
                "reasoned",
                "direct",
                "--prompted",
                "--out",
                str(out),
            )
            known = (
                "--sets",
                "payoffs",
                "--items",
                str(2 * n // 3),
                "--mode",
                "reasoned",
                "--out",
                str(again),
            )
            return [
                Cell("games", (*words, *new), out / "run.json"),
                Cell("games again", (*words, *known), again / "run.json"),
            ]
        if stage == "allocations":
            out, more = self.out / "allocations", self.out / "spillover"
            size = ("--pairs", "1", "--longest", LONGEST["allocations"], "--temperature", "0")
            allocation = (
                "--battery",
                "allocations",
                "bfs39",
                "--mode",
                "reasoned",
                "direct",
                *size,
            )
            everyone = [*self.adapters("allocations"), *self.adapters("games")]
            return [
                Cell(
                    "allocations",
                    (
                        *TOOL,
                        "menus",
                        *base,
                        *self.adapters("allocations"),
                        "--prompted",
                        *allocation,
                        "--out",
                        str(out),
                    ),
                    out / "run.json",
                ),
                Cell(
                    "spillover",
                    (
                        *TOOL,
                        "menus",
                        *base,
                        *everyone,
                        "--battery",
                        "spillover",
                        "--pairs",
                        "1",
                        "--out",
                        str(more),
                    ),
                    more / "run.json",
                ),
            ]
        if stage == "curve":
            name = self.plan["curve"]["adapter"]
            found = [
                c
                for n in self.plan["curve"]["sizes"]
                for c in (self.draw(name, n), self.tune(name, n))
            ]
            folders = [
                w
                for n in self.plan["curve"]["sizes"]
                for w in ("--adapter", str(self.folder(name, n)))
            ]
            asked = (
                "--battery",
                "allocations",
                "--mode",
                "reasoned",
                "--pairs",
                "1",
                "--longest",
                LONGEST["allocations"],
                "--temperature",
                "0",
            )
            out = self.out / "curve"
            return [
                *found,
                Cell(
                    "curve",
                    (*TOOL, "menus", *base, *folders, *asked, "--out", str(out)),
                    out / "run.json",
                ),
            ]
        everyone = [*self.adapters("allocations"), *self.adapters("games")]
        dilemmas, pricing, size = (
            self.out / "dilemmas",
            self.out / "pricing",
            self.plan["applications"],
        )
        asked = (
            "--battery",
            "conjoint",
            "--scenarios",
            str(size["scenarios"]),
            "--out",
            str(dilemmas),
        )
        market = (
            "--runs",
            str(size["runs"]),
            "--periods",
            str(size["periods"]),
            "--out",
            str(pricing),
        )
        agents = ("--agents", "base", *(word for word in everyone if word != "--adapter"))
        return [
            Cell("dilemmas", (*TOOL, "dilemmas", *base, *everyone, *asked), dilemmas / "run.json"),
            Cell("pricing", (*TOOL, "pricing", *base, *agents, *market), pricing / "run.json"),
        ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--plan",
        type=Path,
        default=Path("recipes/plans/real.yaml"),
        help="YAML file (default recipes/plans/real.yaml)",
    )
    parser.add_argument("--model", required=True, help="name of the table, hub id or folder")
    parser.add_argument("--name", help="what to call it in tables (default: --model)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=STAGES,
        default=list(STAGES),
        help="only these stages (default: all, in this order)",
    )
    parser.add_argument(
        "--precision",
        help=(
            "of training, as recipes/sft.py takes it (bf16 halves the time of a CPU with "
            "instructions for it)"
        ),
    )
    args = parser.parse_args()
    plan = read_plan(args.plan)
    find_model(args.model)
    lock(args.out)
    study = Study(plan, args.model, args.out, args.precision)
    for stage in STAGES:
        if stage in args.only:
            run(study.cells(stage), args.out)
    write_json(
        args.out / "study.json",
        origin(plan=args.plan)
        | {"plan": plan, "model": args.model, "name": args.name or args.model, "stages": args.only},
    )
    print(f"{args.out}/study.json; python recipes/real_results.py {args.out}")


if __name__ == "__main__":
    command(main)
