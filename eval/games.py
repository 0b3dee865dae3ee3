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
import hashlib
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from econmoral.models import find_model
from econmoral.preferences import FAMILIES
from econmoral.prompts import Mode, preference_text
from econmoral.records import (
    InputError,
    append_lines,
    command,
    finite,
    origin,
    read_json,
    read_lines,
    read_whole_lines,
    sha256,
    write_json,
    write_lines,
    write_text,
)
from eval.engines import Arm, Engine, Simulated, adapter_base
from eval.figure import draw
from eval.measure import Question, draw_questions, measure
from eval.table import overlap, reference_arms, summaries, table

CHUNK = 24  # questions that are asked in one go and kept together


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.games", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="folder of a LoRA adapter; repeat for several")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--simulate", metavar="PARAMETERS", help="measure a logit chooser instead of a model, e.g. alpha=0,beta=0,kappa=0.5,lambda=0.1")
    parser.add_argument("--engine", choices=("auto", "transformers", "vllm"), default="auto", help="default: vllm where it finds a GPU, else transformers")
    parser.add_argument("--vllm", metavar="KEY=VALUE", nargs="+", default=[], help="options for vLLM, e.g. tensor_parallel_size=4 max_model_len=4096")
    parser.add_argument("--endpoint", metavar="URL", help="measure what an OpenAI-compatible server offers; adapters by the names of their folders")
    parser.add_argument("--served", metavar="NAME", help="name of the base at the endpoint (default: the model's hub id)")
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
    if bool(args.simulate) == bool(args.adapter or args.model or args.endpoint):
        raise InputError("give either --adapter and/or --model, or --endpoint, or --simulate")
    if args.endpoint and not (args.model or args.served or args.adapter):
        raise InputError("--endpoint needs --served NAME, the model to ask there, or --model, whose tokenizer then gives exact scores")
    vllm_options(args.vllm)
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
    what += [args.endpoint, args.served, "" if args.simulate or args.endpoint else choose_engine(args.engine)[0], args.vllm]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def vllm_options(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` pairs for vLLM, the values read as YAML.  Raises InputError for what would run a checkpoint's own code."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name == "trust_remote_code":
            raise InputError(f"--vllm takes key=value options of vllm.LLM, without trust_remote_code; got {pair!r}")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--vllm {pair!r}: the value is not YAML") from None
    return options


def choose_engine(asked: str) -> tuple[str, str]:
    """(vllm or transformers, why).  Raises InputError when vLLM is asked for and not installed."""
    if asked == "transformers":
        return asked, "asked for"
    installed = find_spec("vllm") is not None
    if asked == "vllm":
        if not installed:
            raise InputError("--engine vllm: the package vllm is not installed (make setup installs it where there is an NVIDIA GPU)")
        return asked, "asked for"
    if not installed:
        return "transformers", "vllm is not installed"
    from torch import cuda  # vllm imports on a machine without a GPU and fails only when it loads a model

    return ("vllm", "there is a GPU") if cuda.is_available() else ("transformers", "there is no GPU")


def load(args: argparse.Namespace, adapters: dict[str, Path], console: Console) -> Engine:
    """The engine, and a line that says which and why.  Imported late: bad input is reported before torch is loaded."""
    if args.simulate:
        console.print(f"engine: simulated chooser ({args.simulate})")
        return parse_chooser(args.simulate)
    if args.endpoint:
        from eval.engine_openai import connect

        engine, why = connect(args.endpoint, args.model, args.served or (find_model(args.model).source if args.model else ""), args.samples)
        console.print(f"engine: endpoint {args.endpoint}; {why}", highlight=False)
        return engine
    name, why = choose_engine(args.engine)
    if name == "vllm":
        from eval.engine_vllm import VLLM

        console.print(f"engine: vLLM ({why}), {args.model} with {len(adapters)} adapter(s) in one load")
        return VLLM(args.model, adapters, vllm_options(args.vllm))
    from eval.engine_transformers import Transformers

    local = Transformers(args.model, adapters)
    console.print(f"engine: transformers on {local.device} ({why}), {args.model} with {len(adapters)} adapter(s) in one load")
    return local


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


def measure_arm(engine: Engine, questions: list[Question], arm: Arm, mode: Mode, args: argparse.Namespace, part: Path) -> list[dict[str, Any]]:
    """Records of one arm.  Chunks of questions are always the same ones, so that a continued run gives the same bytes."""
    growing = unfinished(part)
    found = read_whole_lines(growing)
    found = found[: len(found) // CHUNK * CHUNK]
    write_lines(growing, found)  # without a line that was cut short
    for start in track(range(len(found), len(questions), CHUNK), f"{arm.name}, {mode}", transient=True):
        some = measure(engine, questions[start : start + CHUNK], arm, mode, args.beliefs, args.samples, seed=start)
        append_lines(growing, some)
        found += some
    return found


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
                found = measure_arm(engine, questions, arm, mode, args, part)
                if arm.adapter and base is not None and not differ(base, found):
                    raise InputError(f"adapter {adapters[arm.adapter]}: every probability equals the base's; the adapter is empty or was not applied")
                write_lines(part, found)
                unfinished(part).unlink()
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
    everything = measure_all(args, arms, questions, adapters, console)
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
    }
    write_lines(args.out / "choices.jsonl", everything)
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
