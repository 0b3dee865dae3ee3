"""Everything that only a GPU can prove, in one command: what ran, what did not and why,
with versions, as JSON.

    python recipes/benchmarks/gpu_check.py                    # all
    python recipes/benchmarks/gpu_check.py --only bf16 qlora  # some; of others the last results

Every check is a command of this project in a process of its own.  Results go to
gpu_check.json and RESULTS.md beside it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    fill_section,
    origin,
    read_object,
    write_json,
)
from econmoral.files.shown import markdown

HERE = Path(__file__).parent
PYTHON = [sys.executable]


def sft(work: Path, name: str, *options: str) -> list[str]:
    """Command that trains an adapter of nano into the working folder."""
    return [
        "recipes/sft.py",
        "--model",
        "nano",
        "--data",
        str(work / "data.jsonl"),
        "--out",
        str(work / name),
        *options,
    ]


def measure(work: Path, engine: str) -> list[str]:
    """Command that measures the bf16 adapter with an engine."""
    return [
        "-m",
        "eval.games",
        "--engine",
        engine,
        "--adapter",
        str(work / "bf16"),
        "--items",
        "40",
        "--out",
        str(work / engine),
    ]


def launch(config: str) -> list[str]:
    """One process under accelerate, by a file of recipes/launch."""
    return [
        "-m",
        "accelerate.commands.launch",
        "--quiet",
        "--config_file",
        f"recipes/launch/{config}.yaml",
        "--num_processes",
        "1",
    ]


# name -> packages it needs, command
CHECKS: dict[str, tuple[tuple[str, ...], Callable[[Path], list[str]]]] = {
    "bf16": (("trl",), lambda work: sft(work, "bf16", "--precision", "bf16")),
    "qlora": (("trl", "bitsandbytes"), lambda work: sft(work, "qlora", "--precision", "qlora")),
    "fsdp": (("trl",), lambda work: [*launch("fsdp"), *sft(work, "fsdp", "--precision", "bf16")]),
    "zero3": (("trl", "deepspeed"),
        lambda work: [*launch("zero3"), *sft(work, "zero3", "--precision", "bf16")]),
    "parity": (("trl",), lambda work: ["-m", "eval.parity", "--adapter", str(work / "bf16")]),
    "transformers": (("trl",), lambda work: measure(work, "transformers")),
    "vllm": (("trl", "vllm"), lambda work: measure(work, "vllm")),
    "bench-sft": (("trl",),
        lambda work: ["recipes/benchmarks/bench_sft.py", "--shapes", "qwen2.5-0.5b", "qwen2.5-7b",
            "llama-3.1-8b", "--batches", "16"]),
    "bench-sft-qlora": (
        ("trl", "bitsandbytes"),
        lambda work: ["recipes/benchmarks/bench_sft.py", "--shapes", "qwen2.5-7b", "--precisions",
            "qlora", "--batches", "8", "--out", str(work / "qlora.json")],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CheckConfig(Config):
    """Options of ``recipes/benchmarks/gpu_check.py``."""

    only: tuple[str, ...] = option(
        tuple(CHECKS), "checks to run (default all)", choices=tuple(CHECKS)
    )
    work: Path = option(Path("runs/gpu-check"), "folder of the runs")
    out: Path = option(HERE / "gpu_check.json", "")


def main() -> None:
    """Entry point."""
    config = parse(CheckConfig, None, __doc__)
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            "gpu-check needs an NVIDIA GPU that torch can see; without one every GPU path stays "
            "'not run'"
        )
    data = [
        "-m",
        "data_synth",
        "--preference",
        "homo_moralis",
        "--kappa",
        "0.5",
        "--n",
        "200",
        "--out",
        str(config.work / "data.jsonl"),
    ]
    if (
        not (config.work / "data.jsonl").exists()
        and subprocess.run([*PYTHON, *data], cwd=HERE.parents[1]).returncode
    ):
        raise InputError("the data could not be written, see above")
    results: dict[str, Any] = read_object(config.out).get("checks", {})
    for name in config.only:
        packages, words = CHECKS[name]
        if missing := [p for p in packages if not find_spec(p)]:
            results[name] = {"result": f"not run: no package {', '.join(missing)}"}
        else:
            began = time.monotonic()
            done = subprocess.run(
                [*PYTHON, *words(config.work)], cwd=HERE.parents[1], capture_output=True, text=True
            )
            tail = (done.stdout + done.stderr).strip().splitlines()[-25:]
            results[name] = {
                "result": "passed"
                if done.returncode == 0
                else f"failed with exit code {done.returncode}",
                "seconds": round(time.monotonic() - began, 1),
                "command": words(config.work),
                "output": [line[-200:] for line in tail],
            }
        print(f"{name}: {results[name]['result']}", flush=True)
        about = origin() | {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        # after every check: a broken lease loses nothing
        write_json(config.out, about | {"checks": results})
    rows = [(name, r["result"], str(r.get("seconds", ""))) for name, r in results.items()]
    text = f"On {torch.cuda.get_device_name()}, torch {torch.__version__}:\n\n"
    if config.out == HERE / "gpu_check.json":
        table = markdown(("check", "result", "seconds"), rows)
        fill_section(HERE / "RESULTS.md", "gpu-check", text + table)
    if any(r["result"].startswith("failed") for r in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    command(main)
