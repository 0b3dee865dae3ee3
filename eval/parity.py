"""Does a fine-tuned model answer the same however it is run?  Adapter on its base against merged, 4-bit and served.

    econmoral parity --adapter runs/moralis
    econmoral parity --adapter runs/moralis --merged runs/moralis/merged --endpoint http://localhost:8000/v1

Exact choice probabilities over held-out decision problems, given that replies are admissible, and the probability of an
admissible reply: the largest and the mean absolute difference to the adapter on its base.  What this machine cannot run is
named.  Exit code 1 when a largest difference exceeds the tolerance, but for the 4-bit base, which is another model by design;
exit code 2, *not comparable*, where the adapter answers outside the form.  Writes parity.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from econmoral.adapters import adapter_base
from econmoral.prompts import converse
from econmoral.records import InputError, command, fill_section, finite, origin, program, terminal, write_json
from econmoral.target import ECONOMICUS, moralis

from .arms import known_base
from .engines import Answer, Arm, Engine, Request
from .measure import draw_problems
from .validity import LEAST_VALID, OUTSIDE, percent

FOUR_BIT = "4-bit base (nf4)"  # rounds the weights: reported, but no failure
COMPARABLE = LEAST_VALID  # mean probability of an admissible reply below which nothing is compared


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.parity"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of a LoRA adapter")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--merged", type=Path, help="folder of the merged checkpoint (make export); default: merged in memory only")
    parser.add_argument("--endpoint", metavar="URL", help="server that offers the adapter under its folder's name and echoes log-probabilities")
    parser.add_argument("--items", type=int, default=24, help="decision problems in each of the two held-out sets (default 24)")
    parser.add_argument("--tolerance", type=float, default=0.02, help="largest difference in probability that passes (default 0.02)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.items < 1 or args.seed < 0 or not 0 < args.tolerance < 1:
        raise InputError("--items must be at least 1, --seed at least 0, --tolerance between 0 and 1")
    return args


def variants(args: argparse.Namespace, base: str) -> dict[str, Callable[[], tuple[Engine, Arm]] | str]:
    """What to compare: a function that loads it, or the reason why it is not run."""
    import torch

    from .engine_transformers import Transformers

    given = bool(args.model)
    arm, folder = Arm(args.adapter.resolve().name, "adapter"), {"adapter": args.adapter}

    def in_memory() -> tuple[Engine, Arm]:
        engine = Transformers(base, folder, given=given)
        engine.merge("adapter")
        return engine, Arm("merged")

    def vllm() -> tuple[Engine, Arm]:
        from .engine_vllm import VLLM

        return VLLM(base, folder, {}, given), arm

    def served() -> tuple[Engine, Arm]:
        from .engine_openai import connect

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


def draw_requests(items: int, seed: int) -> list[Request]:
    """The pages that are compared: held-out problems in both sets, one counterbalanced pair of layouts each, without control questions."""
    problems = draw_problems("drawn", items, 1, (ECONOMICUS, moralis(0.5)), seed)
    pages = [(p.item, layout) for p in problems for layout in p.layouts]
    return [Request(replace(converse(item, layout, "direct"), controls=()), item, layout) for item, layout in pages]


def validity(answers: Sequence[Answer]) -> float:
    """Mean probability of an admissible reply."""
    return float(np.mean([a.valid.mean() for a in answers]))


def difference(reference: Sequence[Answer], other: Sequence[Answer]) -> dict[str, float]:
    """Largest and mean difference of choice probabilities, page by page, and of the probability of an admissible reply.

    Choices are compared given that replies are admissible: where hardly any is, unnormalised ones all agree on nothing.  A page
    that only one of both answers counts as a difference of 1.
    """
    gaps = [
        np.abs(a.probabilities - b.probabilities) if a.probabilities is not None and b.probabilities is not None else np.ones(1)
        for a, b in zip(reference, other, strict=True)
    ]
    return {
        "largest": float(max(g.max() for g in gaps)),
        "mean": float(np.mean(np.concatenate(gaps))),
        "valid_answer_probability": validity(other),
        "largest_of_validity": float(max(np.abs(a.valid - b.valid).max() for a, b in zip(reference, other, strict=True))),
    }


def above(rows: dict[str, Any], tolerance: float) -> list[str]:
    """Forms that differ by more than the tolerance, in choices or in validity; nan is a difference."""
    return [name for name, row in rows.items() if isinstance(row, dict) and not max(row["largest"], row["largest_of_validity"]) <= tolerance]


def main() -> None:
    """Entry point."""
    args = arguments()
    base = args.model or adapter_base(args.adapter)
    if not args.model:
        known_base(args.adapter, base)
    if args.merged and not (args.merged / "config.json").is_file():
        raise InputError(f"{args.merged} holds no checkpoint; run make export first")
    from .engine_transformers import Transformers  # imported late: bad input is reported before torch is loaded

    requests = draw_requests(args.items, args.seed)
    # apart: what merging is compared with is not merged itself
    apart = Transformers(base, {"adapter": args.adapter}, given=bool(args.model), apart=True)
    reference = apart.score(requests, Arm("adapter", "adapter"), 0)
    del apart
    valid = validity(reference)
    rows: dict[str, Any] = {}
    for name, load in variants(args, base).items():
        if isinstance(load, str):
            rows[name] = load
            continue
        engine, arm = load()
        rows[name] = difference(reference, engine.score(requests, arm, 0))
        del engine  # its memory is wanted by the next one

    title = f"difference in choice probability to {args.adapter} on {base} (valid {percent(valid)}), {len(requests)} pages"
    columns = ("run as", "largest difference", "mean difference", "valid", "largest difference in validity")
    grid = Table(title=title, title_justify="left")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for column in columns:
        grid.add_column(column)
    for name, row in rows.items():
        figures = ("largest", "mean", "valid_answer_probability", "largest_of_validity")
        cells = [row, "", "", ""] if isinstance(row, str) else [percent(row[f]) if f.startswith("valid") else f"{row[f]:.2g}" for f in figures]
        grid.add_row(name, *cells)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    terminal(110).print(grid)
    comparable = valid >= COMPARABLE
    found = {"tolerance": args.tolerance, "pages": len(requests), "valid_answer_probability": valid, "comparable": comparable}
    write_json(args.adapter / "parity.json", origin(adapter=args.adapter / "adapter_model.safetensors") | found | {"differences": finite(rows)})
    if args.merged and (args.merged / "README.md").is_file():
        fill_section(args.merged / "README.md", "parity", "\n".join(lines))
    if not comparable:
        raise InputError(
            f"not comparable: {args.adapter} {OUTSIDE} on these pages (valid-answer probability {percent(valid)}), so that its "
            "choice probabilities say nothing; compare an adapter that was trained on pages of this kind"
        )
    differ = above(rows, args.tolerance)
    if FOUR_BIT in differ:
        print(f"above the tolerance of {args.tolerance:g}: {FOUR_BIT}; four bits are another model, measure the one that is deployed", file=sys.stderr)
    if over := [name for name in differ if name != FOUR_BIT]:
        print(f"above the tolerance of {args.tolerance:g}: {', '.join(over)}; measure, publish and deploy the same form", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    command(main)
