"""Does a fine-tuned model answer the same however it is run?  Adapter on its base against merged, 4-bit and served.

    python -m eval.parity --adapter runs/moralis
    python -m eval.parity --adapter runs/moralis --merged runs/moralis/merged --endpoint http://localhost:8000/v1

Exact choice probabilities over held-out decisions; the largest and the mean absolute difference to the adapter on its base.
What this machine cannot run is named.  Exit code 1 when a largest difference exceeds the tolerance, but
for the 4-bit base, which is another model by design.  Writes parity.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from econmoral.adapters import adapter_base
from econmoral.prompts import answers, render
from econmoral.records import InputError, command, fill_section, origin, terminal, write_json
from eval.arms import known_base
from eval.engines import Arm, Engine, Request
from eval.measure import draw_questions

FOUR_BIT = "4-bit base (nf4)"  # rounds the weights: reported, but no failure
COMPARABLE = 0.01  # mean probability of a valid answer below which nothing is compared


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.parity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of a LoRA adapter")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--merged", type=Path, help="folder of the merged checkpoint (make export); default: merged in memory only")
    parser.add_argument("--endpoint", metavar="URL", help="server that offers the adapter under its folder's name and echoes log-probabilities")
    parser.add_argument("--items", type=int, default=24, help="decisions in each of the two held-out sets (default 24)")
    parser.add_argument("--tolerance", type=float, default=0.02, help="largest difference in probability that passes (default 0.02)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.items < 1 or args.seed < 0 or not 0 < args.tolerance < 1:
        raise InputError("--items must be at least 1, --seed at least 0, --tolerance between 0 and 1")
    return args


def variants(args: argparse.Namespace, base: str) -> dict[str, Callable[[], tuple[Engine, Arm]] | str]:
    """What to compare: a function that loads it, or the reason why it is not run."""
    import torch

    from eval.engine_transformers import Transformers

    given = bool(args.model)
    arm, folder = Arm(args.adapter.resolve().name, "adapter"), {"adapter": args.adapter}

    def in_memory() -> tuple[Engine, Arm]:
        engine = Transformers(base, folder, given=given)
        engine.merge("adapter")
        return engine, Arm("merged")

    def vllm() -> tuple[Engine, Arm]:
        from eval.engine_vllm import VLLM

        return VLLM(base, folder, {}, given), arm

    def served() -> tuple[Engine, Arm]:
        from eval.engine_openai import connect

        name = args.adapter.resolve().name
        engine, why = connect(args.endpoint, base, name, 1)
        if not why.startswith("exact"):
            raise InputError(f"{args.endpoint} cannot be compared: {why}")
        return engine, Arm(name, name)

    def in_four_bits() -> tuple[Engine, Arm]:
        return Transformers(base, folder, four_bit=True, given=given), arm

    gpu = torch.cuda.is_available()
    no_gpu = "not run: needs an NVIDIA GPU"
    return {
        "merged in memory": in_memory,
        "merged and saved": (lambda: (Transformers(str(args.merged), {}), Arm("merged"))) if args.merged else "not run: no --merged",
        FOUR_BIT: in_four_bits if find_spec("bitsandbytes") else "not run: the package bitsandbytes is not installed",
        "vLLM": vllm if gpu and find_spec("vllm") else no_gpu,
        "served": served if args.endpoint else "not run: no --endpoint",
    }


def difference(reference: list[np.ndarray], other: list[np.ndarray]) -> dict[str, float]:
    """Largest and mean difference of choice probabilities, (C,) a page, and of the probability of any valid answer.

    Choices are compared given that the answer is valid: where hardly any is, unnormalised ones all agree on nothing.
    """
    masses = np.array([(a.sum(), b.sum()) for a, b in zip(reference, other, strict=True)])
    gaps = [np.abs(a / x - b / y) if x > 0 and y > 0 else np.ones(len(a)) for a, b, (x, y) in zip(reference, other, masses, strict=True)]
    return {
        "largest": float(max(g.max() for g in gaps)),
        "mean": float(np.mean(np.concatenate(gaps))),
        "valid_answer_probability": float(masses[:, 1].mean()),
        "largest_of_validity": float(np.abs(masses[:, 0] - masses[:, 1]).max()),
    }


def main() -> None:
    """Entry point."""
    args = arguments()
    base = args.model or adapter_base(args.adapter)
    if not args.model:
        known_base(args.adapter, base)
    if args.merged and not (args.merged / "config.json").is_file():
        raise InputError(f"{args.merged} holds no checkpoint; run make export first")
    from eval.engine_transformers import Transformers  # imported late: bad input is reported before torch is loaded

    pages = [(q, layout) for q in draw_questions("drawn", args.items, 1, 0.5, args.seed) for layout in q.layouts]
    requests = [Request(render(q.item, layout, "direct"), answers(layout), q.item, layout) for q, layout in pages]

    def probabilities(engine: Engine, arm: Arm) -> list[np.ndarray]:
        return [a.probabilities for a in engine.score(requests, arm, 0)]

    reference = probabilities(Transformers(base, {"adapter": args.adapter}, given=bool(args.model)), Arm("adapter", "adapter"))
    valid = float(np.mean([p.sum() for p in reference]))
    rows: dict[str, Any] = {}
    for name, load in variants(args, base).items():
        if isinstance(load, str):
            rows[name] = load
            continue
        engine, arm = load()
        rows[name] = difference(reference, probabilities(engine, arm))
        del engine  # its memory is wanted by the next one

    grid = Table(title=f"difference in choice probability to {args.adapter} on {base}, {len(requests)} pages", title_justify="left")
    lines = ["| run as | largest difference | mean difference |", "|---|---|---|"]
    for column in ("run as", "largest", "mean"):
        grid.add_column(column)
    for name, row in rows.items():
        cells = (row, "") if isinstance(row, str) else (f"{row['largest']:.2g}", f"{row['mean']:.2g}")
        grid.add_row(name, *cells)
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    terminal(80).print(grid)
    write_json(
        args.adapter / "parity.json",
        origin(adapter=args.adapter / "adapter_model.safetensors")
        | {"tolerance": args.tolerance, "pages": len(requests), "valid_answer_probability": valid, "differences": rows},
    )
    if args.merged and (args.merged / "README.md").is_file():
        fill_section(args.merged / "README.md", "parity", "\n".join(lines))
    if valid < COMPARABLE:
        raise InputError(
            f"not comparable: {args.adapter} gives a valid answer with probability {valid:.2g} on these pages, so that their "
            "choice probabilities say nothing; compare an adapter that was trained on pages of this kind"
        )
    above = [name for name, row in rows.items() if isinstance(row, dict) and max(row["largest"], row["largest_of_validity"]) > args.tolerance]
    if FOUR_BIT in above:
        print(f"above the tolerance of {args.tolerance:g}: {FOUR_BIT}; four bits are another model, measure the one that is deployed", file=sys.stderr)
    if over := [name for name in above if name != FOUR_BIT]:
        print(f"above the tolerance of {args.tolerance:g}: {', '.join(over)}; measure, publish and deploy the same form", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    command(main)
