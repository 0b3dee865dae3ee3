"""Measure how far a fine-tuned adapter acts on a preference, beside its base, on decisions it has never seen.

    python -m eval.games --adapter runs/demo/economicus --adapter runs/demo/moralis --out runs/demo/eval
    python -m eval.games --model nano --prompted --mode reasoned --out runs/base
    python -m eval.games --endpoint http://localhost:8000/v1 --adapter runs/moralis --out runs/served
    python -m eval.games --simulate alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1 --out runs/known

Every whole strategy's probability is computed exactly, on held-out payoffs, in the training wordings (set "payoffs") and in
held-out ones (set "wordings"), averaged over exchanged labels and orders.  The folder holds choices.jsonl (one line per
decision), summary.json, table.csv, figure.png and run.json.  An interrupted run continues when the command is repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from econmoral.games import GAMES
from econmoral.menus import MENUS
from econmoral.models import find_model
from econmoral.preferences import FAMILIES
from econmoral.prompts import Mode, preference_text
from econmoral.records import (
    InputError,
    command,
    finite,
    lock,
    origin,
    read_json,
    read_lines,
    sha256,
    spreadsheet_cell,
    terminal,
    write_json,
    write_lines,
    write_text,
)
from eval.arms import adapter_names, add_engine_options, base_of, check_sources, collect, load, parse_parameters, settings_key
from eval.engines import Arm, Engine, Simulated
from eval.figure import draw
from eval.measure import DRAWN, SETS, TITLES, Question, draw_questions, measure
from eval.menus import survey
from eval.table import overlap, reference_arms, summaries, table


def parse_chooser(text: str) -> Simulated:
    """``alpha=0.1,kappa=0.4,lambda=0.1`` as a simulated chooser."""
    theta, precision = parse_parameters(text, FAMILIES["alpha_beta_kappa"].parameters)
    return Simulated("alpha_beta_kappa", theta, precision)


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.games", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="measure a logit chooser instead of a model, e.g. alpha=0,beta=0,kappa=0.5,lambda=0.1")
    parser.add_argument("--prompted", action="store_true", help="also measure the base with each preference described in the system message")
    parser.add_argument(
        "--mode", choices=("direct", "reasoned"), nargs="+", default=["direct"], help="ask for the answer alone, or for a derivation first; or both"
    )
    parser.add_argument(
        "--battery", choices=("drawn", "games18", "all"), default="drawn",
        help="random held-out payoffs, the 18 fixed protocols, or these and all one-page batteries of eval.menus (default drawn)",
    )  # fmt: skip
    parser.add_argument("--games", nargs="+", choices=tuple(GAMES), default=list(DRAWN), help=f"games of random decisions (default {' '.join(DRAWN)})")
    parser.add_argument(
        "--sets", nargs="+", choices=tuple(TITLES), default=list(SETS),
        help="held-out payoffs, wordings; the decisions of payoffs again after unrelated turns, at ten times the scale, in another currency",
    )  # fmt: skip
    parser.add_argument("--beliefs", choices=("given", "uniform", "elicited"), default="given", help="stated on the page, one half, or asked of the model")
    parser.add_argument("--items", type=int, default=120, help="decisions in each set (default 120)")
    parser.add_argument("--pairs", type=int, default=2, help="counterbalanced pairs of layouts per decision (default 2)")
    parser.add_argument(
        "--samples", type=int, default=1, help="per layout: derivations in reasoned mode, replies of an endpoint without log-probabilities (default 1)"
    )
    parser.add_argument("--kappa", type=float, help="degree of morality of the target (default: the adapters' own, else 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: eval/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "eval")
    for name in ("items", "pairs", "samples"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.kappa is not None and not 0 <= args.kappa <= 1:
        raise InputError(f"--kappa must lie in [0, 1], got {args.kappa}")
    if args.seed < 0:
        raise InputError(f"--seed must not be negative, got {args.seed}")
    args.mode, args.sets = list(dict.fromkeys(args.mode)), list(dict.fromkeys(args.sets))
    args.everything, args.battery = args.battery == "all", "games18" if args.battery == "all" else args.battery
    return args


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


def differ(base: list[dict[str, Any]], tuned: list[dict[str, Any]]) -> bool:
    """Whether any probability differs between two arms."""
    return any(
        (p["probabilities"] is None) != (q["probabilities"] is None)
        or (p["probabilities"] is not None and np.abs(np.array(p["probabilities"]) - np.array(q["probabilities"])).max() > 1e-6)
        or abs(p["mass"] - q["mass"]) > 1e-6
        for a, b in zip(base, tuned, strict=True)
        for p, q in zip(a["pages"], b["pages"], strict=True)
    )


def unfinished(part: Path) -> Path:
    """Where the lines of an arm grow until it is finished."""
    return part.with_suffix(".unfinished")


def measure_all(
    args: argparse.Namespace, arms: list[Arm], questions: list[Question], adapters: dict[str, Path], console: Console
) -> tuple[list[dict[str, Any]], list[Path], Engine | None]:
    """Records of every arm in every mode without their pages; the files of ``parts/`` with them; the engine, if one was needed."""
    engine: Engine | None = None
    records: list[dict[str, Any]] = []
    parts: list[Path] = []
    for mode in args.mode:
        base: list[dict[str, Any]] | None = None
        for arm in arms:
            settings = [mode, args.battery, args.beliefs, args.items, args.pairs, args.kappa, args.sets, args.games]
            part = args.out / "parts" / f"{settings_key(args, arm, adapters, settings)}.jsonl"
            if part.is_file():
                found = [row for _, row in read_lines(part)]
            else:
                engine = engine or (parse_chooser(args.simulate) if args.simulate else load(args, adapters, console))

                def ask(some: list[Question], start: int, arm: Arm = arm, mode: Mode = mode, engine: Engine = engine) -> list[dict[str, Any]]:
                    return measure(engine, some, arm, mode, args.beliefs, args.samples, seed=start)

                found = collect(unfinished(part), questions, ask, f"{arm.name}, {mode}")
                if arm.adapter and base is not None and not differ(base, found):
                    raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
                write_lines(part, found)
                unfinished(part).unlink()
            base = found if arm.name == "base" else base
            records += [{k: v for k, v in row.items() if k != "pages"} for row in found]
            parts.append(part)
    return records, parts, engine


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
    console = terminal(120)
    adapters = adapter_names(args.adapter)
    base_of(args, adapters)
    if args.model:
        find_model(args.model)
    trained = {name: training_quadruples(folder) for name, folder in adapters.items()}
    kappas = [k for _, k in trained.values() if k]
    args.kappa = args.kappa if args.kappa is not None else (kappas[0] if kappas else 0.5)
    questions = draw_questions(args.battery, args.items, args.pairs, args.kappa, args.seed, args.sets, args.games)

    arms = [Arm("chooser")] if args.simulate else [Arm("base")]
    if args.prompted and not args.simulate:
        arms += [Arm(f"base, told {p.removeprefix('homo_')}", None, preference_text(p, args.kappa)) for p in ("homo_economicus", "homo_moralis")]
    arms += [Arm(name, name) for name in adapters]
    lock(args.out)
    everything, parts, engine = measure_all(args, arms, questions, adapters, console)
    measured = [row for row in everything if row["probabilities"] is not None]
    if refused := len(everything) - len(measured):
        console.print(f"{refused} of {len(everything)} decisions were refused on every page and are in no figure; choices.jsonl holds them")
    if not measured:
        raise InputError("every decision was refused; look at the texts in parts/")

    checks = {
        name: {
            "decisions": len(questions),
            "payoffs_in_training_data": overlap(everything[: len(questions)], quadruples)
            if quadruples is not None
            else "not checked: data file missing or changed",
        }
        for name, (quadruples, _) in trained.items()
    }
    rows = summaries(measured + reference_arms(everything[: len(questions)], args.kappa), args.kappa)
    frame = table(rows)
    source = Path(find_model(args.model).source) if args.model else None
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()} | ({"base": source} if source and source.is_dir() else {})
    about = origin(**inputs) | {
        "settings": {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "overlap": checks,
        "refused": refused,
        "tokens": getattr(engine, "tokens", None),
        "weights": getattr(engine, "weights", None),
    }
    write_lines(args.out / "choices.jsonl", (row for part in parts for _, row in read_lines(part)))
    write_json(args.out / "summary.json", finite(rows))
    write_text(args.out / "table.csv", frame.map(spreadsheet_cell).to_csv(index=False))
    for mode in args.mode:
        of_mode = [r for r in rows if r["mode"] == mode and r["set"] == args.sets[0]]
        name = "figure.png" if mode == args.mode[0] else f"figure-{mode}.png"
        draw([r for r in measured if r["mode"] == mode and r["set"] == args.sets[0]], of_mode, {"economicus": 0.0, "moralis": args.kappa}, args.out / name)
        for held in args.sets:
            part = frame[(frame["set"] == held) & frame["mode"].isin((mode, "rule"))]
            show(part, f"{TITLES[held]}, {mode} answers, {args.items} decisions, target kappa {args.kappa:g} (± one standard error)", console)
    for name, check in checks.items():
        console.print(f"{name}: payoff quadruples also in its training data: {check['payoffs_in_training_data']} of {check['decisions']}")
    write_json(args.out / "run.json", about)
    console.print(f"{args.out}/: choices.jsonl summary.json table.csv figure.png run.json")
    if args.everything:
        one_page = vars(args) | {"battery": list(MENUS), "out": args.out / "menus", "samples": max(args.samples, 20)}
        survey(argparse.Namespace(**one_page), adapters, console, None if args.simulate else engine)


if __name__ == "__main__":
    command(main)
