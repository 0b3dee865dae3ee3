"""What every measuring command shares: which model, which adapters, which engine and why."""

from __future__ import annotations

import argparse
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from econmoral.models import find_model
from econmoral.records import InputError
from eval.engines import Engine

CHUNK = 24  # decisions that are asked in one go and kept together


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what is measured and by which engine."""
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="folder of a LoRA adapter; repeat for several")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--engine", choices=("auto", "transformers", "vllm"), default="auto", help="default: vllm where it finds a GPU, else transformers")
    parser.add_argument("--vllm", metavar="KEY=VALUE", nargs="+", default=[], help="options for vLLM, e.g. tensor_parallel_size=4 max_model_len=4096")
    parser.add_argument("--endpoint", metavar="URL", help="measure what an OpenAI-compatible server offers; adapters by the names of their folders")
    parser.add_argument("--served", metavar="NAME", help="name of the base at the endpoint (default: the model's hub id)")


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
    names = [f.resolve().name for f in folders]
    if len(set(names)) < len(names) or "base" in names:
        names = [str(f).strip("/").replace("/", "-").replace(".", "_") for f in folders]
    if len(set(names)) < len(names):
        raise InputError("the same --adapter was given twice")
    return dict(zip(names, folders, strict=True))


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
