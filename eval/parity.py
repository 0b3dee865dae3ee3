"""Does a fine-tuned model answer the same however it is run?  On its base, merged, 4-bit, served.

    python -m eval.parity --adapter runs/moralis
    python -m eval.parity --adapter runs/moralis --merged runs/moralis/merged

Exact choice probabilities over held-out decision problems, given that replies are admissible, and
the probability of an admissible reply: the largest and the mean absolute difference to the adapter
on its base.  What this machine cannot run is named.  Exit code 1 when a largest difference exceeds
the tolerance, but for the 4-bit base, which is another model by design; exit code 2, *not
comparable*, where the adapter answers outside the form.  Writes parity.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

import numpy as np

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.attaching import model_of
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    fill_section,
    finite,
    origin,
    program,
    terminal,
    write_json,
)
from econmoral.files.shown import grid, markdown
from econmoral.instruments.games import converse
from econmoral.target import ECONOMICUS, moralis

from .engines.base import Answer, Condition, Engine, Request
from .engines.choice import choose_engine
from .measure import draw_problems
from .validity import LEAST_VALID, OUTSIDE, percent

FOUR_BIT = "4-bit base (nf4)"  # rounds the weights: reported, but no failure
COMPARABLE = LEAST_VALID  # mean probability of an admissible reply below which nothing is compared


@dataclass(frozen=True)
class ParityConfig(Config):
    """Options of ``python -m eval.parity``."""

    adapter: Path = option(None, "folder of a LoRA adapter", required=True)
    model: str | None = option(
        None, "name, hub id or folder of the base (default: the one the adapter names)"
    )
    merged: Path | None = option(
        None, "folder of the merged checkpoint (make export); default: merged in memory only"
    )
    endpoint: str | None = option(
        None,
        "server that offers the adapter under its folder's name and echoes log-probabilities",
        metavar="URL",
    )
    items: int = option(24, "decision problems in each of the two held-out sets", at_least=1)
    tolerance: float = option(0.02, "largest difference in probability that passes")
    seed: int = option(0, "of the problems", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tolerance < 1:
            raise InputError(f"--tolerance must lie in (0, 1), got {self.tolerance:g}")


class Difference(TypedDict):
    """Differences of choice probabilities page by page, and of validity."""

    largest: float
    mean: float
    valid_answer_probability: float
    largest_of_validity: float


def variants(
    config: ParityConfig, base: str
) -> dict[str, Callable[[], tuple[Engine, Condition]] | str]:
    """What to compare: a function that loads it, or the reason why it is not run."""
    from .engines.with_transformers import Transformers

    given = bool(config.model)
    arm, folder = Condition(config.adapter.resolve().name, "adapter"), {"adapter": config.adapter}

    def in_memory() -> tuple[Engine, Condition]:
        engine = Transformers(base, folder, given=given)
        engine.merge("adapter")
        return engine, Condition("merged")

    def vllm() -> tuple[Engine, Condition]:
        from .engines.with_vllm import VLLM

        return VLLM(base, folder, {}, given), arm

    def served() -> tuple[Engine, Condition]:
        from .engines.with_endpoint import connect

        name = config.adapter.resolve().name
        engine, why = connect(str(config.endpoint), base, name, 1)
        if not why.startswith("exact"):
            raise InputError(f"{config.endpoint} cannot be compared: {why}")
        return engine, Condition(name, name)

    def in_four_bits() -> tuple[Engine, Condition]:
        return Transformers(base, folder, four_bit=True, given=given), arm

    engine, why = choose_engine("auto")
    return {
        "merged in memory": in_memory,
        "merged and saved": (lambda: (Transformers(str(config.merged), {}), Condition("merged")))
        if config.merged
        else "not run: no --merged",
        FOUR_BIT: in_four_bits
        if find_spec("bitsandbytes")
        else "not run: the package bitsandbytes is not installed",
        "vLLM": vllm if engine == "vllm" else f"not run: {why}",
        "served": served if config.endpoint else "not run: no --endpoint",
    }


def draw_requests(items: int, seed: int) -> list[Request]:
    """The pages that are compared: held-out problems in both sets, one counterbalanced pair of
    layouts each, without control questions.
    """
    problems = draw_problems("drawn", items, 1, (ECONOMICUS, moralis(0.5)), seed)
    pages = [(p.item, layout) for p in problems for layout in p.layouts]
    return [
        Request(replace(converse(item, layout, "direct"), controls=()), item, layout)
        for item, layout in pages
    ]


def validity(answers: Sequence[Answer]) -> float:
    """Mean probability of an admissible reply."""
    return float(np.mean([a.valid.mean() for a in answers]))


def difference(reference: Sequence[Answer], other: Sequence[Answer]) -> Difference:
    """Largest and mean difference of choice probabilities, page by page,
    and of the probability of an admissible reply.

    Choices are compared given that replies are admissible: where hardly any is, unnormalised ones
    all agree on nothing.  A page that only one of both answers counts as a difference of 1.
    """
    gaps = [
        np.abs(a.probabilities - b.probabilities)
        if a.probabilities is not None and b.probabilities is not None
        else np.ones(1)
        for a, b in zip(reference, other, strict=True)
    ]
    return {
        "largest": float(max(g.max() for g in gaps)),
        "mean": float(np.mean(np.concatenate(gaps))),
        "valid_answer_probability": validity(other),
        "largest_of_validity": float(
            max(np.abs(a.valid - b.valid).max() for a, b in zip(reference, other, strict=True))
        ),
    }


def above(rows: Mapping[str, Difference | str], tolerance: float) -> list[str]:
    """Forms that differ by more than the tolerance, in choices or in validity;
    nan is a difference.
    """
    return [
        name
        for name, row in rows.items()
        if isinstance(row, dict)
        and not max(row["largest"], row["largest_of_validity"]) <= tolerance
    ]


def cells_of(row: Difference) -> list[str]:
    """A row of the table."""
    largest, mean = f"{row['largest']:.2g}", f"{row['mean']:.2g}"
    valid = percent(row["valid_answer_probability"])
    return [largest, mean, valid, f"{row['largest_of_validity']:.2g}"]


def main() -> None:
    """Entry point."""
    config = parse(ParityConfig, program("python -m eval.parity"), __doc__)
    base = config.model or model_of(config.adapter)
    if config.merged and not (config.merged / "config.json").is_file():
        raise InputError(f"{config.merged} holds no checkpoint; run make export first")
    # imported late: bad input is reported before torch is loaded
    from .engines.with_transformers import Transformers

    requests = draw_requests(config.items, config.seed)
    # apart: what merging is compared with is not merged itself
    apart = Transformers(base, {"adapter": config.adapter}, given=bool(config.model), apart=True)
    reference = apart.score(requests, Condition("adapter", "adapter"), 0)
    del apart
    valid = validity(reference)
    rows: dict[str, Difference | str] = {}
    for name, load in variants(config, base).items():
        if isinstance(load, str):
            rows[name] = load
            continue
        engine, arm = load()
        rows[name] = difference(reference, engine.score(requests, arm, 0))
        del engine  # its memory is wanted by the next one

    title = (
        f"difference in choice probability to {config.adapter} on {base} (valid {percent(valid)}), "
        f"{len(requests)} pages"
    )
    columns = (
        "run as",
        "largest difference",
        "mean difference",
        "valid",
        "largest difference in validity",
    )
    cells = [
        [name, *([row, "", "", ""] if isinstance(row, str) else cells_of(row))]
        for name, row in rows.items()
    ]
    terminal(110).print(grid(columns, cells, title, left=columns))
    comparable = valid >= COMPARABLE
    found = {
        "tolerance": config.tolerance,
        "pages": len(requests),
        "valid_answer_probability": valid,
        "comparable": comparable,
    }
    write_json(
        config.adapter / "parity.json",
        origin(adapter=config.adapter / WEIGHTS) | found | {"differences": finite(rows)},
    )
    if config.merged and (config.merged / "README.md").is_file():
        fill_section(config.merged / "README.md", "parity", markdown(columns, cells))
    if not comparable:
        raise InputError(
            f"not comparable: {config.adapter} {OUTSIDE} on these pages (valid-answer probability "
            f"{percent(valid)}), so that its choice probabilities say nothing; compare an adapter "
            "that was trained on pages of this kind"
        )
    differ = above(rows, config.tolerance)
    if FOUR_BIT in differ:
        print(
            f"above the tolerance of {config.tolerance:g}: {FOUR_BIT}; four bits are another "
            "model, measure the one that is deployed",
            file=sys.stderr,
        )
    if over := [name for name in differ if name != FOUR_BIT]:
        print(
            f"above the tolerance of {config.tolerance:g}: {', '.join(over)}; measure, publish "
            "and deploy the same form",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    command(main)
