"""Measure how far a fine-tuned adapter acts on a preference, beside its base, on decisions it has never seen.

    python -m eval.games --adapter runs/demo/economicus --adapter runs/demo/moralis --out runs/demo/eval
    python -m eval.games --model nano --prompted --mode reasoned --out runs/base
    python -m eval.games --simulate alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1 --out runs/known

Every whole strategy's probability is computed exactly, on held-out payoffs, in the training wordings (set "payoffs") and in
held-out ones (set "wordings"), averaged over exchanged labels and orders.  The folder holds choices.jsonl (one line per
decision), summary.json, table.csv, figure.png and run.json.  An interrupted run continues when the command is repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from econmoral.models import find_model
from econmoral.preferences import FAMILIES
from econmoral.prompts import preference_text
from econmoral.records import InputError, command, finite, origin, read_json, read_lines, sha256, write_json, write_lines, write_text
from eval.engines import Arm, Engine, Simulated
from eval.figure import draw
from eval.measure import Question, draw_questions, measure
from eval.table import overlap, reference_arms, summaries, table


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.games", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="folder of a LoRA adapter; repeat for several")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--simulate", metavar="PARAMETERS", help="measure a logit chooser instead of a model, e.g. alpha=0,beta=0,kappa=0.5,lambda=0.1")
    parser.add_argument("--prompted", action="store_true", help="also measure the base with each preference described in the system message")
    parser.add_argument(
        "--mode", choices=("direct", "reasoned"), nargs="+", default=["direct"], help="ask for the answer alone, or for a derivation first; or both"
    )
    parser.add_argument("--battery", choices=("drawn", "games18"), default="drawn", help="random held-out payoffs, or the 18 fixed protocols (default drawn)")
    parser.add_argument("--beliefs", choices=("given", "uniform", "elicited"), default="given", help="stated on the page, one half, or asked of the model")
    parser.add_argument("--items", type=int, default=120, help="decisions in each set (default 120)")
    parser.add_argument("--pairs", type=int, default=2, help="counterbalanced pairs of layouts per decision (default 2)")
    parser.add_argument("--samples", type=int, default=1, help="derivations sampled per layout in reasoned mode (default 1)")
    parser.add_argument("--kappa", type=float, help="degree of morality of the target (default: the adapters' own, else 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: eval/ in the first adapter's folder)")
    args = parser.parse_args()
    if bool(args.simulate) == bool(args.adapter or args.model):
        raise InputError("give either --adapter and/or --model, or --simulate")
    if args.out is None:
        if not args.adapter:
            raise InputError("give --out FOLDER")
        args.out = args.adapter[0] / "eval"
    for name in ("items", "pairs", "samples"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.kappa is not None and not 0 <= args.kappa <= 1:
        raise InputError(f"--kappa must lie in [0, 1], got {args.kappa}")
    if args.seed < 0:
        raise InputError(f"--seed must not be negative, got {args.seed}")
    args.mode = list(dict.fromkeys(args.mode))
    return args


def parse_chooser(text: str) -> Simulated:
    """``alpha=0.1,kappa=0.4,lambda=0.1`` as a simulated chooser."""
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--simulate: {part!r} is not of the form name=number") from None
    known = {*FAMILIES["alpha_beta_kappa"].parameters, "lambda"}
    if set(values) - known or "lambda" not in values or not all(map(math.isfinite, values.values())):
        raise InputError(f"--simulate takes finite values of {', '.join(sorted(known))}, and lambda must be among them; got {text!r}")
    return Simulated("alpha_beta_kappa", {k: v for k, v in values.items() if k != "lambda"}, values["lambda"])


def adapter_names(folders: list[Path]) -> dict[str, Path]:
    """Folder names where they tell the adapters apart, else whole paths."""
    names = [f.resolve().name for f in folders]
    if len(set(names)) < len(names) or "base" in names:
        names = [str(f).strip("/").replace("/", "-").replace(".", "_") for f in folders]
    if len(set(names)) < len(names):
        raise InputError("the same --adapter was given twice")
    return dict(zip(names, folders, strict=True))


def training_quadruples(folder: Path) -> tuple[set[tuple[str, tuple[float, ...]]] | None, float | None]:
    """Payoffs of the adapter's training data (None when the file cannot be found unchanged) and its target's kappa."""
    if not (folder / "run.json").is_file():
        return None, None
    run = read_json(folder / "run.json")
    kappa = run.get("kappa") if isinstance(run, dict) else None
    try:
        data = Path(run["inputs"]["data"]["path"])
        if sha256(data) != run["inputs"]["data"]["sha256"]:
            return None, kappa
        return {(m["game"], tuple(m["payoffs"][k] for k in "TRPS")) for m in (row["meta"] for _, row in read_lines(data))}, kappa
    except (KeyError, TypeError, OSError):
        return None, kappa


def settings_key(args: argparse.Namespace, arm: Arm, mode: str, adapters: dict[str, Path]) -> str:
    """Hash of everything that an arm's answers depend on: an arm measured before under the same key is not measured again."""
    model = find_model(args.model).source if args.model else ""
    weights = [sha256(p) for p in ([Path(model)] if Path(model).is_dir() and model else [])]
    if arm.adapter:
        weights += [sha256(adapters[arm.adapter] / f) for f in ("adapter_config.json", "adapter_model.safetensors")]
    what = [model, weights, arm.system, mode, args.simulate, args.battery, args.beliefs, args.items, args.pairs, args.samples, args.kappa, args.seed]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def load(args: argparse.Namespace, adapters: dict[str, Path], console: Console) -> Engine:
    """The engine, and a line that says which and why."""
    if args.simulate:
        console.print(f"engine: simulated chooser ({args.simulate})")
        return parse_chooser(args.simulate)
    from eval.engine_transformers import Transformers  # imported late: bad input is reported before torch is loaded

    engine = Transformers(args.model, adapters)
    console.print(f"engine: transformers on {engine.device}, {args.model} with {len(adapters)} adapter(s) in one load")
    return engine


def differ(base: list[dict[str, Any]], tuned: list[dict[str, Any]]) -> bool:
    """Whether any probability differs between two arms."""
    return any(
        np.abs(np.array(p["probabilities"]) - np.array(q["probabilities"])).max() > 1e-6 or abs(p["mass"] - q["mass"]) > 1e-6
        for a, b in zip(base, tuned, strict=True)
        for p, q in zip(a["pages"], b["pages"], strict=True)
    )


def measure_all(args: argparse.Namespace, arms: list[Arm], questions: list[Question], adapters: dict[str, Path], console: Console) -> list[dict[str, Any]]:
    """Records of every arm in every mode; finished ones are read back from ``parts/``."""
    engine: Engine | None = None
    records: list[dict[str, Any]] = []
    for mode in args.mode:
        base: list[dict[str, Any]] | None = None
        for arm in arms:
            part = args.out / "parts" / f"{settings_key(args, arm, mode, adapters)}.jsonl"
            if part.is_file():
                found = [row for _, row in read_lines(part)]
            else:
                engine = engine or load(args, adapters, console)
                found = measure(engine, questions, arm, mode, args.beliefs, args.samples)
                if arm.adapter and base is not None and not differ(base, found):
                    raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
                write_lines(part, found)
            base = found if arm.name == "base" else base
            records += found
    return records


def show(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Print agreement with the targets, then the structural parameters; one row per arm."""
    agreement = [c for c in frame.columns if ":" in c or c == "sensitivity"]
    structure = [c for c in frame.columns if c not in ("set", "mode", "arm", *agreement)]
    for columns, rows, heading in ((agreement, frame, title), (structure, frame[frame["mode"] != "rule"], "")):
        grid = Table(title=heading or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("arm", *columns):
            grid.add_column(column.replace(": ", "\n"), justify="left" if column == "arm" else "right", no_wrap=True)
        for _, row in rows.iterrows():
            grid.add_row(*(row[c] for c in ("arm", *columns)))
        console.print(grid)


def main() -> None:
    """Entry point."""
    args = arguments()
    console = Console(width=max(Console().width, 120))  # never wrap the table in a log file
    adapters = adapter_names(args.adapter)
    if adapters:
        from eval.engine_transformers import adapter_base

        bases = {name: adapter_base(folder) for name, folder in adapters.items()}
        args.model = args.model or next(iter(bases.values()))
    if args.model:
        find_model(args.model)
    trained = {name: training_quadruples(folder) for name, folder in adapters.items()}
    kappas = [k for _, k in trained.values() if k]
    args.kappa = args.kappa if args.kappa is not None else (kappas[0] if kappas else 0.5)
    questions = draw_questions(args.battery, args.items, args.pairs, args.kappa, args.seed)

    arms = [Arm("chooser")] if args.simulate else [Arm("base")]
    if args.prompted and not args.simulate:
        arms += [Arm(f"base, told {p.removeprefix('homo_')}", None, preference_text(p, args.kappa)) for p in ("homo_economicus", "homo_moralis")]
    arms += [Arm(name, name) for name in adapters]
    measured = measure_all(args, arms, questions, adapters, console)

    checks = {
        name: {
            "decisions": len(questions),
            "payoffs_in_training_data": overlap(measured[: len(questions)], quadruples)
            if quadruples is not None
            else "not checked: data file missing or changed",
        }
        for name, (quadruples, _) in trained.items()
    }
    rows = summaries(measured + reference_arms(measured[: len(questions)], args.kappa), args.kappa)
    frame = table(rows)
    source = Path(find_model(args.model).source) if args.model else None
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()} | ({"base": source} if source and source.is_dir() else {})
    about = origin(**inputs) | {
        "settings": {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "overlap": checks,
    }
    write_lines(args.out / "choices.jsonl", measured)
    write_json(args.out / "summary.json", finite(rows))
    write_text(args.out / "table.csv", frame.to_csv(index=False))
    for mode in args.mode:
        of_mode = [r for r in rows if r["mode"] == mode and r["set"] == "payoffs"]
        name = "figure.png" if mode == args.mode[0] else f"figure-{mode}.png"
        draw([r for r in measured if r["mode"] == mode and r["set"] == "payoffs"], of_mode, {"economicus": 0.0, "moralis": args.kappa}, args.out / name)
        for held in ("payoffs", "wordings"):
            part = frame[(frame["set"] == held) & frame["mode"].isin((mode, "rule"))]
            show(part, f"held-out {held}, {mode} answers, {args.items} decisions, target kappa {args.kappa:g} (± one standard error)", console)
    for name, check in checks.items():
        console.print(f"{name}: payoff quadruples also in its training data: {check['payoffs_in_training_data']} of {check['decisions']}")
    write_json(args.out / "run.json", about)
    console.print(f"{args.out}/: choices.jsonl summary.json table.csv figure.png run.json")


if __name__ == "__main__":
    command(main)
