"""Measure how far a fine-tuned adapter acts on a preference, beside its base, on decisions it has never seen.

    python -m eval.games --adapter runs/demo/economicus --adapter runs/demo/placebo --out runs/demo/eval
    python -m eval.games --model smollm2-135m --prompted --mode reasoned --out runs/base
    python -m eval.games --endpoint http://localhost:8000/v1 --adapter runs/moralis --out runs/served
    python -m eval.games --simulate alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1 --out runs/known

A problem is a conversation: the instructions, then one decision a turn.  The probability of every whole strategy is computed
exactly as the product along it, on held-out payoffs, in the training wordings (set "payoffs") and in held-out ones (set
"wordings"), averaged over exchanged labels and orders.  Beside every figure stands the probability of an admissible reply; an
arm that answers outside the form gets no figures.  The folder holds choices.jsonl (one line per problem), summary.json,
table.csv, figure.png and run.json.  An interrupted run continues when the command is repeated.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from econmoral.conversation import Mode
from econmoral.games import GAMES
from econmoral.menus import MENUS
from econmoral.models import find_model
from econmoral.preferences import FAMILIES
from econmoral.records import (
    InputError,
    command,
    finite,
    lock,
    origin,
    program,
    read_json,
    read_lines,
    sha256,
    spreadsheet_cell,
    terminal,
    write_json,
    write_lines,
    write_text,
)
from econmoral.target import ECONOMICUS, Target, moralis

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
from .engines import Arm, Engine, Sampled, Simulated
from .figure import draw, try_to_draw
from .measure import DRAWN, SETS, TITLES, Problem, belief_requests, draw_problems, measure, requests_of
from .menus import survey
from .table import add_shifts, overlap, reference_arms, summaries, table, valid_by_wording
from .validity import advice, fingerprint, is_placebo, told_arms


def parse_chooser(text: str) -> Simulated:
    """``alpha=0.1,kappa=0.4,lambda=0.1`` as a simulated chooser."""
    theta, precision = parse_parameters(text, FAMILIES["alpha_beta_kappa"].parameters)
    return Simulated("alpha_beta_kappa", theta, precision)


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.games"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--simulate", metavar="PARAMETERS", help="measure a logit chooser instead of a model, e.g. alpha=0,beta=0,kappa=0.5,lambda=0.1")
    parser.add_argument("--prompted", action="store_true", help="also measure the base with each target described in the system message")
    parser.add_argument(
        "--mode", choices=("direct", "reasoned"), nargs="+", default=["direct"], help="ask for the decisions alone, or for a derivation first; or both"
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
    parser.add_argument("--samples", type=int, default=1, help="per layout: derivations in reasoned mode; conversations where replies are sampled (default 1)")
    add_derivation_options(parser)
    parser.add_argument(
        "--replies", choices=("exact", "sampled"), default="exact",
        help="exact probabilities, or replies that are sampled and read: for models that answer in sentences (default exact)",
    )  # fmt: skip
    parser.add_argument(
        "--targets",
        nargs="+",
        default=[],
        metavar="FAMILY:NAME=VALUE",
        help="preferences that choices are compared with (default: homo_economicus, homo_moralis and the adapters' own)",
    )
    parser.add_argument("--kappa", type=float, help="degree of homo_moralis among the targets (default: the adapters' own, else 0.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the measurement (default: eval/ in the first adapter's folder)")
    args = parser.parse_args()
    check_sources(args, "eval")
    for name in ("items", "pairs", "samples", "longest"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.kappa is not None and not 0 <= args.kappa <= 1:
        raise InputError(f"--kappa must lie in [0, 1], got {args.kappa}")
    check_temperature(args)
    if args.seed < 0:
        raise InputError(f"--seed must not be negative, got {args.seed}")
    args.mode, args.sets = list(dict.fromkeys(args.mode)), list(dict.fromkeys(args.sets))
    args.everything, args.battery = args.battery == "all", "games18" if args.battery == "all" else args.battery
    return args


def trained_on(folder: Path) -> tuple[set[tuple[str, tuple[float, ...]]] | None, Target | None]:
    """Payoffs of the games in the adapter's training data (None when the file cannot be found unchanged), and its target."""
    if not (folder / "run.json").is_file():
        return None, None
    run = read_json(folder / "run.json")
    named = run.get("target") if isinstance(run, dict) else None
    target = Target.parse(named) if isinstance(named, str) else None
    try:
        data = Path(run["inputs"]["data"]["path"])
        if sha256(data) != run["inputs"]["data"]["sha256"]:
            return None, target
        games = [meta for meta in (row.get("meta", {}) for _, row in read_lines(data)) if meta.get("game") in GAMES]
        return {(m["game"], tuple(m["payoffs"][k] for k in "TRPS")) for m in games}, target
    except (KeyError, TypeError, OSError):
        return None, target


def differ(base: list[dict[str, Any]], tuned: list[dict[str, Any]]) -> bool:
    """Whether any probability differs between two arms."""

    def apart(a: Any, b: Any) -> bool:
        if (a is None) != (b is None):
            return True
        return a is not None and bool(np.abs(np.array(a) - np.array(b)).max() > 1e-6)

    return any(
        apart(p["probabilities"], q["probabilities"]) or apart(p["valid"], q["valid"])
        for a, b in zip(base, tuned, strict=True)
        for p, q in zip(a["pages"], b["pages"], strict=True)
    )


def unfinished(part: Path) -> Path:
    """Where the lines of an arm grow until it is finished."""
    return part.with_suffix(".unfinished")


def measure_all(
    args: argparse.Namespace, arms: list[Arm], problems: list[Problem], adapters: dict[str, Path], console: Console
) -> tuple[list[dict[str, Any]], list[Path], Engine | None, dict[tuple[str, str, str], dict[str, float]]]:
    """Records of every arm in every mode without their pages; the files of ``parts/`` with them; the engine, if one was needed;
    validity by wording of every (set, mode, arm)."""
    engine: Engine | None = None
    records: list[dict[str, Any]] = []
    parts: list[Path] = []
    wordings: dict[tuple[str, str, str], dict[str, float]] = {}
    for mode in args.mode:
        base: list[dict[str, Any]] | None = None
        for arm in arms:
            requests = requests_of(problems, arm, mode, args.beliefs, args.samples)
            requests += belief_requests(problems) if args.beliefs == "elicited" else []
            asked = fingerprint(r.conversation for r in requests)
            how = [args.longest, args.temperature] if mode == "reasoned" else 0
            part = args.out / "parts" / f"{settings_key(args, arm, adapters, [asked, args.beliefs, args.replies, how])}.jsonl"
            if part.is_file():
                found = [row for _, row in read_lines(part)]
            else:
                engine = engine or open_engine(args, adapters, console)

                def ask(some: list[Problem], start: int, arm: Arm = arm, mode: Mode = mode, engine: Engine = engine) -> list[dict[str, Any]]:
                    return measure(engine, some, arm, mode, args.beliefs, args.samples, start, args.longest)

                found = collect(unfinished(part), problems, ask, f"{arm.name}, {mode}")
                if arm.adapter and base is not None and not differ(base, found):
                    raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
                write_lines(part, found)
                unfinished(part).unlink()
            base = found if arm.name == "base" else base
            for name in args.sets:
                wordings[name, mode, arm.name] = valid_by_wording([r for r in found if r["set"] == name])
            records += [{k: v for k, v in row.items() if k != "pages"} for row in found]
            parts.append(part)
    return records, parts, engine, wordings


def open_engine(args: argparse.Namespace, adapters: dict[str, Path], console: Console) -> Engine:
    """The chooser, or the loaded engine, whose replies are sampled where that is asked for."""
    if args.simulate:
        return parse_chooser(args.simulate)
    engine = load(args, adapters, console)
    if args.temperature != 1 and not isinstance(engine, Sampled):
        engine.temperature = args.temperature  # type: ignore[attr-defined]
    return Sampled(engine) if args.replies == "sampled" and not isinstance(engine, Sampled) else engine  # type: ignore[arg-type]


def show(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Print validity and agreement with the targets, then the structural parameters; one row per arm."""
    quality = [c for c in ("valid %", "control %", "steps %") if c in frame.columns]
    targets = [c for c in frame.columns if ":" in c]
    structure = [c for c in frame.columns if c not in ("set", "mode", "arm", "note", *quality, *targets)]
    for columns, rows, heading in (([*quality, *targets], frame, title), (structure, frame[frame["mode"] != "rule"], "")):
        grid = Table(title=heading or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("arm", *columns):
            grid.add_column(column.replace(": ", "\n"), justify="left" if column == "arm" else "right", no_wrap=True)
        for _, row in rows.iterrows():
            cells = [row[c] for c in columns]
            if row.get("note") and columns:
                cells = [row[c] for c in columns if c in quality] + [""] * (len(columns) - len([c for c in columns if c in quality]))
                name = f"{row['arm']} ({row['note']})"
            else:
                name = row["arm"]
            grid.add_row(name, *cells)
        console.print(grid)


def choose_targets(args: argparse.Namespace, trained: list[Target | None]) -> list[Target]:
    """What choices are compared with: what was asked for; else own payoff, homo moralis, and the adapters' own targets."""
    if args.targets:
        return list(dict.fromkeys(map(Target.parse, args.targets)))
    own = [t for t in trained if t is not None]
    kappas = [t.kappa for t in own if t.kappa]
    kappa = args.kappa if args.kappa is not None else (kappas[0] if kappas else 0.5)
    return list(dict.fromkeys((ECONOMICUS, moralis(kappa), *own)))


def main() -> None:
    """Entry point."""
    args = arguments()
    console = terminal(140)
    adapters = adapter_names(args.adapter)
    base_of(args, adapters)
    if args.model:
        find_model(args.model)
    trained = {name: trained_on(folder) for name, folder in adapters.items()}
    placebos = [name for name, folder in adapters.items() if is_placebo(folder)]
    targets = choose_targets(args, [t for name, (_, t) in trained.items() if name not in placebos])
    problems = draw_problems(args.battery, args.items, args.pairs, targets, args.seed, args.sets, args.games)

    told = told_arms(targets) if args.prompted and not args.simulate else []
    arms = [Arm("chooser")] if args.simulate else [Arm("base"), *told, *(Arm(name, name) for name in sorted(adapters, key=lambda n: n not in placebos))]
    lock(args.out)
    records, parts, engine, wordings = measure_all(args, arms, problems, adapters, console)
    silent = sum(r["probabilities"] is None for r in records)
    if silent:
        console.print(f"{silent} of {len(records)} problems got no readable answer on any page and are in no figure; choices.jsonl holds the texts")

    checks = {
        name: {
            "problems": len(problems),
            "payoffs_in_training_data": overlap(records[: len(problems)], quadruples)
            if quadruples is not None
            else "not checked: data file missing or changed",
        }
        for name, (quadruples, _) in trained.items()
    }
    rows = summaries(records + reference_arms(records[: len(problems)], targets), targets, wordings)
    add_shifts(rows, records, ["base", *placebos], [n for n in adapters if n not in placebos], targets)
    for row in rows:
        row["placebo"] = row["arm"] in placebos
    frame = table(rows)
    source = Path(find_model(args.model).source) if args.model else None
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()} | ({"base": source} if source and source.is_dir() else {})
    about = origin(**inputs) | {
        "settings": {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "targets": [str(t) for t in targets],
        "adapters": {name: adapter_record(folder) | {"games": sorted({game for game, _ in trained[name][0] or ()})} for name, folder in adapters.items()},
        "weights": getattr(engine, "weights", None),
        "overlap": checks,
        "without_readable_answer": silent,
        "tokens": getattr(engine, "tokens", None),
    }
    write_lines(args.out / "choices.jsonl", (row for part in parts for _, row in read_lines(part)))
    write_json(args.out / "summary.json", finite(rows))
    write_text(args.out / "table.csv", frame.map(spreadsheet_cell).to_csv(index=False))
    for mode in args.mode:
        for held in args.sets:
            part = frame[(frame["set"] == held) & frame["mode"].isin((mode, "rule"))]
            show(part, f"{TITLES[held]}, {mode} answers, {args.items} problems (± one standard error)", console)
    if any(row["outside"] for row in rows):
        console.print(f"rows that answer outside the form have no figures: {advice()}")
    for name, check in checks.items():
        console.print(f"{name}: payoff quadruples also in its training data: {check['payoffs_in_training_data']} of {check['problems']}")
    write_json(args.out / "run.json", about)
    draw_all(args, records, rows, targets, console)
    console.print(f"{args.out}/: choices.jsonl summary.json table.csv figure.png run.json")
    if args.everything:
        one_page = vars(args) | {"battery": list(MENUS), "out": args.out / "menus", "samples": max(args.samples, 20)}
        survey(argparse.Namespace(**one_page), adapters, console, None if args.simulate else engine)


def draw_all(args: argparse.Namespace, records: list[dict[str, Any]], rows: list[dict[str, Any]], targets: list[Target], console: Console) -> None:
    """One figure a mode, of the first set; a figure that cannot be drawn costs nothing else."""
    outside = {(r["mode"], r["arm"]) for r in rows if r["outside"]}
    for mode in args.mode:
        of_mode = [r for r in rows if r["mode"] == mode and r["set"] == args.sets[0] and not r["outside"]]
        shown = [
            r for r in records
            if r["mode"] == mode and r["set"] == args.sets[0] and (mode, r["arm"]) not in outside and r["probabilities"] is not None
        ]  # fmt: skip
        name = "figure.png" if mode == args.mode[0] else f"figure-{mode}.png"
        if not of_mode:
            console.print(f"{name}: not drawn, no arm answers in the form")
            continue
        degrees = {t.label: t.kappa for t in targets if t.outcome_only or t.family == "homo_moralis"}
        try_to_draw(partial(draw, shown, of_mode, degrees, args.out / name), args.out / name, console)


if __name__ == "__main__":
    command(main)
