"""What tuning on games costs elsewhere: base and adapters on tasks
of lm-evaluation-harness, and a non-inferiority test.

    pip install -e '.[frameworks]'
    # arithmetic of our own, needs no hub
    python -m eval.retention --adapter runs/moralis
    # fetched from a hub
    python -m eval.retention --adapter runs/moralis --tasks arc_easy hellaswag --limit 500

An adapter is *not inferior* on a task when the lower end of the one-sided 95 % interval of its
paired difference to the base lies above minus the margin.  Writes retention.json and
retention.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.attaching import base_for, check_adapters, model_of
from econmoral.checkpoints.loading import check_files, load_tokenizer
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    finite,
    origin,
    program,
    spreadsheet_cell,
    terminal,
    write_json,
    write_text,
)
from econmoral.files.shown import grid, interval

from .conditions import adapter_names

OWN = "econmoral_arithmetic"
HUB = ("arc_easy", "hellaswag", "winogrande")  # a small battery whose data a hub holds
TASKS = Path(__file__).parent / "frameworks"


@dataclass(frozen=True)
class RetentionConfig(Config):
    """Options of ``python -m eval.retention``."""

    adapter: tuple[Path, ...] = option(
        (), "folder of a LoRA adapter; repeat for several", repeat=True
    )
    model: str | None = option(
        None, "name, hub id or folder of the base (default: the one the adapter names)"
    )
    tasks: tuple[str, ...] = option((OWN,), f"tasks of the harness; of a hub e.g. {' '.join(HUB)}")
    metric: str = option("acc", "metric that is compared")
    limit: int | None = option(None, "questions per task (default all)", at_least=2)
    margin: float = option(0.05, "largest loss that does not matter")
    out: Path | None = option(
        None, "folder of the result (default: retention/ in the first adapter's folder)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.adapter:
            raise InputError("give --adapter FOLDER")
        if not 0 < self.margin < 1:
            raise InputError(f"--margin must lie in (0, 1), got {self.margin:g}")

    @property
    def place(self) -> Path:
        """The folder of the result."""
        return self.out or self.adapter[0] / "retention"


class Retained(TypedDict):
    """A task: shares of base and adapter, their paired difference with its 95 % interval."""

    base: float
    adapter: float
    difference: float
    low: float
    high: float
    questions: int
    not_inferior: bool


def compare(tuned: np.ndarray, base: np.ndarray, margin: float) -> Retained:
    """Paired difference with two-sided 95 % interval, and whether the arm is not inferior."""
    from scipy import stats  # takes half a second to load

    gaps = tuned - base
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * error
    lower = mean - float(stats.t.ppf(0.95, len(gaps) - 1)) * error
    return {
        "base": float(base.mean()),
        "adapter": float(tuned.mean()),
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "questions": len(gaps),
        "not_inferior": bool(lower > -margin),
    }


def show(rows: Sequence[Mapping[str, Any]], config: RetentionConfig) -> None:
    """Print the table."""
    title = f"{config.metric}, base against adapter; margin {config.margin:g}"
    gap = "difference (95 % interval)"
    header = ("adapter", "task", "questions", "base", "tuned", gap, "not inferior")
    cells = [
        (
            r["arm"],
            r["task"],
            str(r["questions"]),
            f"{r['base']:.3f}",
            f"{r['adapter']:.3f}",
            f"{r['difference']:+.3f} {interval(r['low'], r['high'], 3)}",
            "yes" if r["not_inferior"] else "not shown",
        )
        for r in rows
    ]
    terminal(130).print(grid(header, cells, title, left=header))


def main() -> None:
    """Entry point."""
    config = parse(RetentionConfig, program("python -m eval.retention"), __doc__)
    adapters = adapter_names(config.adapter)
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
        from torch import cuda
    except ImportError:
        raise InputError(
            "the package lm-eval is not installed; pip install -e '.[frameworks]'"
        ) from None
    manager = TaskManager(include_path=str(TASKS))
    if unknown := [t for t in config.tasks if t not in manager.all_tasks]:
        raise InputError(
            f"lm-evaluation-harness knows no task {', '.join(unknown)}; lm_eval ls tasks lists them"
        )
    place = base_for(config.model or model_of(config.adapter[0]), adapters.values())
    check_files(place)
    check_adapters(adapters.values(), place, load_tokenizer(place), bool(config.model))

    device = "cuda" if cuda.is_available() else "cpu"

    def answers(adapter: Path | None) -> dict[str, np.ndarray]:
        model = HFLM(
            pretrained=str(place.folder),
            peft=None if adapter is None else str(adapter),
            device=device,
            batch_size=16,
        )
        found = simple_evaluate(
            model,
            tasks=list(config.tasks),
            limit=config.limit,
            task_manager=manager,
            apply_chat_template=True,
            bootstrap_iters=0,
            log_samples=True,
        )
        scores = {}
        for task, samples in found["samples"].items():
            if any(config.metric not in s for s in samples):
                raise InputError(
                    f"task {task} has no metric {config.metric!r}; try --metric acc_norm or "
                    "exact_match"
                )
            scores[task] = np.array(
                [s[config.metric] for s in sorted(samples, key=lambda s: s["doc_id"])], float
            )
        return scores

    try:
        base = answers(None)
        rows: list[dict[str, Any]] = [
            {"arm": name, "task": t, **compare(y, base[t], config.margin)}
            for name, folder in adapters.items()
            for t, y in answers(folder).items()
        ]
    except (OSError, ConnectionError) as error:
        raise InputError(
            f"the data of {', '.join(config.tasks)} cannot be fetched "
            f"({str(error).splitlines()[0][:120]}); without a hub use --tasks {OWN}"
        ) from None
    show(rows, config)
    inputs = {name: folder / WEIGHTS for name, folder in adapters.items()}
    about = {"margin": config.margin, "limit": config.limit, "origin": origin(**inputs)}
    write_json(config.place / "retention.json", finite({"rows": rows} | about))
    write_text(
        config.place / "retention.csv", pd.DataFrame(rows).map(spreadsheet_cell).to_csv(index=False)
    )


if __name__ == "__main__":
    command(main)
