"""What every measuring command shares: which model, which adapters, which engine and why."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from econmoral.adapters import adapter_base
from econmoral.checkpoints import state
from econmoral.models import find_model
from econmoral.records import InputError, append_lines, parse_yaml, plain, read_json, read_whole_lines, sha256, write_lines

from .engines import LONGEST_DERIVATION, Arm, Engine

CHUNK = 24  # decisions that are asked in one go and kept together


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what is measured and by which engine."""
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="folder of a LoRA adapter; repeat for several")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--engine", choices=("auto", "transformers", "vllm"), default="auto", help="default: vllm where it finds a GPU, else transformers")
    parser.add_argument("--vllm", metavar="KEY=VALUE", nargs="+", default=[], help="options for vLLM, e.g. tensor_parallel_size=4 max_model_len=4096")
    parser.add_argument("--endpoint", metavar="URL", help="measure what an OpenAI-compatible server offers; adapters by the names of their folders")
    parser.add_argument("--concurrency", type=int, default=16, help="requests to the endpoint at the same time (default 16)")
    parser.add_argument("--served", metavar="NAME", help="name of the base at the endpoint (default: the model's hub id)")


def add_derivation_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how derivations are written, in reasoned mode."""
    parser.add_argument("--temperature", type=float, default=1.0, help="of derivations; 0 takes the most probable token at every step (default 1)")
    parser.add_argument("--longest", type=int, default=LONGEST_DERIVATION, help=f"tokens at which a derivation is cut (default {LONGEST_DERIVATION})")


def parse_parameters(text: str, parameters: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """(parameters of a chooser, its precision) from ``alpha=0.1,kappa=0.4,lambda=0.1``.  Raises InputError for anything else."""
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--simulate: {part!r} is not of the form name=number") from None
    known = {*parameters, "lambda"}
    if set(values) - known or "lambda" not in values or not all(map(math.isfinite, values.values())):
        raise InputError(f"--simulate takes finite values of {', '.join(sorted(known))}, and lambda must be among them; got {text!r}")
    return {k: v for k, v in values.items() if k != "lambda"}, values["lambda"]


def adapter_names(folders: list[Path]) -> dict[str, Path]:
    """Folder names where they tell the adapters apart, else whole paths."""
    names = [plain(f.resolve().name) for f in folders]
    if len(set(names)) < len(names) or "base" in names:
        names = [plain(str(f)).strip("/").replace("/", "-").replace(".", "_") for f in folders]
    if len(set(names)) < len(names):
        raise InputError("the same --adapter was given twice")
    return dict(zip(names, folders, strict=True))


def adapter_record(folder: Path) -> dict[str, Any]:
    """What an adapter's run.json says of its training; everything is None of an adapter from elsewhere.

    share, ends : of an adapter between two others, the second one's share and what both were trained on.
    """
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    run = run if isinstance(run, dict) else {}
    gates, settings = (found if isinstance(found := run.get(k), dict) else {} for k in ("gates", "settings"))
    return {
        "target": run.get("target"), "shuffled": run.get("shuffled") is True, "domain": run.get("domain"),
        "conversations": gates.get("labels_checked"), "seed": settings.get("seed"), "seconds": run.get("seconds"),
        "share": run.get("interpolation"), "ends": run.get("ends"),
    }  # fmt: skip


def vllm_options(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` pairs for vLLM, the values read as YAML.  Raises InputError for what would run a checkpoint's own code."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name == "trust_remote_code":
            raise InputError(f"--vllm takes key=value options of vllm.LLM, without trust_remote_code; got {pair!r}")
        options[name] = parse_yaml(value, f"--vllm {pair!r}: the value")
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


def settings_key(args: argparse.Namespace, arm: Arm, adapters: dict[str, Path], more: list[Any]) -> str:
    """Hash of everything that an arm's answers depend on: what was measured under the same key is not measured again.

    ``more`` is the command's own settings; model, weights, engine, system message and seed are here.
    """
    model = find_model(args.model).source if args.model else ""
    weights = [state(args.model)] if args.model else []
    if arm.adapter:
        weights += [sha256(adapters[arm.adapter] / f) for f in ("adapter_config.json", "adapter_model.safetensors")]
    engine = "" if args.simulate or args.endpoint else choose_engine(args.engine)[0]
    what = [model, weights, arm.system, args.simulate, args.endpoint, args.served, engine, args.vllm, args.samples, args.seed, *more]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def collect(part: Path, items: Sequence[Any], ask: Callable[[Any, int], list[dict[str, Any]]], label: str) -> list[dict[str, Any]]:
    """One record for every item, CHUNK items at a time; whole chunks that ``part`` already holds are not asked again.

    ``ask(chunk, number of its first item)`` gives the chunk's records.  Chunks are always the same ones, so that a continued
    run ends with the same bytes.
    """
    found = read_whole_lines(part)
    found = found if len(found) == len(items) else found[: len(found) // CHUNK * CHUNK]
    write_lines(part, found)  # without a line that was cut short
    for start in track(range(len(found), len(items), CHUNK), label, transient=True):
        some = ask(items[start : start + CHUNK], start)
        append_lines(part, some)
        found += some
    return found


def base_of(args: argparse.Namespace, adapters: dict[str, Path]) -> None:
    """Set ``args.model`` to what the first adapter names, unless it was given, and ``args.given`` to whether it was."""
    args.given = getattr(args, "given", bool(args.model))
    if adapters:
        bases = [adapter_base(folder) for folder in adapters.values()]
        args.model = args.model or bases[0]
    if not args.given and args.model:
        known_base(next(iter(adapters.values())), args.model)


def known_base(folder: Path, name: str) -> None:
    """Raises InputError unless the base that an adapter names is a known model, a hub id or a folder of this machine."""
    try:
        find_model(name)
    except InputError:
        raise InputError(f"{folder} was trained on {plain(name)}, which is not on this machine; give --model with its name or folder") from None


def check_sources(args: argparse.Namespace, folder: str) -> None:
    """Exactly one of adapters or model, endpoint, simulation; and a folder to write to.  Raises InputError otherwise."""
    if bool(args.simulate) == bool(args.adapter or args.model or args.endpoint):
        raise InputError("give either --adapter and/or --model, or --endpoint, or --simulate")
    if args.endpoint and not (args.model or args.served or args.adapter):
        raise InputError("--endpoint needs --served NAME, the model to ask there, or --model, whose tokenizer then gives exact scores")
    if args.concurrency < 1:
        raise InputError(f"--concurrency must be at least 1, got {args.concurrency}")
    vllm_options(args.vllm)
    if args.out is None:
        if not args.adapter:
            raise InputError("give --out FOLDER")
        args.out = args.adapter[0] / folder


def check_temperature(args: argparse.Namespace) -> None:
    """Raises InputError for a temperature that cannot be had."""
    if not 0 <= args.temperature <= 5:
        raise InputError(f"--temperature must lie between 0 and 5, got {args.temperature:g}")
    if args.temperature == 0 and args.samples > 1:
        raise InputError("--temperature 0 writes the same derivation every time; leave --samples at 1")
    if args.temperature != 1 and args.replies == "sampled":
        raise InputError("--temperature is for derivations before exact probabilities; sampled replies are drawn at 1")


def load(args: argparse.Namespace, adapters: dict[str, Path], console: Console) -> Engine:
    """The engine, and a line that says which and why.  Imported late: bad input is reported before torch is loaded."""
    if args.endpoint:
        from .engine_openai import connect

        engine, why = connect(args.endpoint, args.model, args.served or (find_model(args.model).source if args.model else ""), args.samples, args.concurrency)
        console.print(f"engine: endpoint {args.endpoint}; {why}", highlight=False)
        return engine
    name, why = choose_engine(args.engine)
    if name == "vllm":
        from .engine_vllm import VLLM

        console.print(f"engine: vLLM ({why}), {args.model} with {len(adapters)} adapter(s) in one load")
        served = VLLM(args.model, adapters, vllm_options(args.vllm), args.given)
        if served.note:
            console.print(f"{args.model}: {served.note}", highlight=False)
        return served
    from .engine_transformers import Transformers

    local = Transformers(args.model, adapters, given=args.given)
    console.print(f"engine: transformers on {local.device} ({why}), {args.model} with {len(adapters)} adapter(s) in one load")
    local.check([Arm("base"), *(Arm(name, name) for name in adapters)])
    if local.note:
        console.print(f"{args.model}: {local.note}", highlight=False)
    return local
