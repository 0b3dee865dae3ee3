"""What tuning on games costs elsewhere: base and adapters on tasks of lm-evaluation-harness, and a non-inferiority test.

    pip install -e '.[frameworks]'
    econmoral retention --adapter runs/moralis                               # arithmetic of our own, needs no hub
    econmoral retention --adapter runs/moralis --tasks arc_easy hellaswag winogrande --limit 500      # fetched from a hub

An adapter is *not inferior* on a task when the lower end of the one-sided 95 % interval of its paired difference to the base
lies above minus the margin.  Writes retention.json and retention.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import stats

from econmoral.adapters import adapter_base
from econmoral.checkpoints import base_for, check_adapters, check_files, load_tokenizer
from econmoral.records import InputError, command, finite, origin, program, spreadsheet_cell, terminal, write_json, write_text

from .arms import adapter_names

OWN = "econmoral_arithmetic"
HUB = ("arc_easy", "hellaswag", "winogrande")  # a small battery whose data a hub holds
TASKS = Path(__file__).parent / "frameworks"


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.retention"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, action="append", required=True, help="folder of a LoRA adapter; repeat for several")
    parser.add_argument("--model", help="name, hub id or folder of the base (default: the one the adapter names)")
    parser.add_argument("--tasks", nargs="+", default=[OWN], help=f"tasks of the harness (default {OWN}; of a hub e.g. {' '.join(HUB)})")
    parser.add_argument("--metric", default="acc", help="metric that is compared (default acc)")
    parser.add_argument("--limit", type=int, help="questions per task (default all)")
    parser.add_argument("--margin", type=float, default=0.05, help="largest loss that does not matter (default 0.05)")
    parser.add_argument("--out", type=Path, help="folder of the result (default: retention/ in the first adapter's folder)")
    args = parser.parse_args()
    if not 0 < args.margin < 1 or (args.limit is not None and args.limit < 2):
        raise InputError("--margin must lie in (0, 1), --limit be at least 2")
    args.out = args.out or args.adapter[0] / "retention"
    return args


def compare(tuned: np.ndarray, base: np.ndarray, margin: float) -> dict[str, Any]:
    """Paired difference with two-sided 95 % interval, and whether the arm is not inferior."""
    gaps = tuned - base
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * error
    lower = mean - float(stats.t.ppf(0.95, len(gaps) - 1)) * error
    return {
        "base": float(base.mean()), "adapter": float(tuned.mean()), "difference": mean, "low": mean - half, "high": mean + half, "questions": len(gaps),
        "not_inferior": bool(lower > -margin),
    }  # fmt: skip


def main() -> None:
    """Entry point."""
    args = arguments()
    adapters = adapter_names(args.adapter)
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
        from torch import cuda
    except ImportError:
        raise InputError("the package lm-eval is not installed; pip install 'econmoral[frameworks]', or in the repository -e '.[frameworks]'") from None
    manager = TaskManager(include_path=str(TASKS))
    if unknown := [t for t in args.tasks if t not in manager.all_tasks]:
        raise InputError(f"lm-evaluation-harness knows no task {', '.join(unknown)}; lm_eval ls tasks lists them")
    place = base_for(args.model or adapter_base(args.adapter[0]), adapters.values())
    check_files(place)
    check_adapters(adapters.values(), place, load_tokenizer(place), bool(args.model))

    device = "cuda" if cuda.is_available() else "cpu"

    def answers(adapter: Path | None) -> dict[str, np.ndarray]:
        model = HFLM(pretrained=str(place.folder), peft=None if adapter is None else str(adapter), device=device, batch_size=16)
        found = simple_evaluate(model, tasks=args.tasks, limit=args.limit, task_manager=manager, apply_chat_template=True, bootstrap_iters=0, log_samples=True)
        scores = {}
        for task, samples in found["samples"].items():
            if any(args.metric not in s for s in samples):
                raise InputError(f"task {task} has no metric {args.metric!r}; try --metric acc_norm or exact_match")
            scores[task] = np.array([s[args.metric] for s in sorted(samples, key=lambda s: s["doc_id"])], float)
        return scores

    try:
        base = answers(None)
        rows = [{"arm": name, "task": t} | compare(y, base[t], args.margin) for name, folder in adapters.items() for t, y in answers(folder).items()]
    except (OSError, ConnectionError) as error:
        raise InputError(
            f"the data of {', '.join(args.tasks)} cannot be fetched ({str(error).splitlines()[0][:120]}); without a hub use --tasks {OWN}"
        ) from None
    grid = Table(title=f"{args.metric}, base against adapter; margin {args.margin:g}", title_justify="left", box=SIMPLE_HEAD)
    for column in ("adapter", "task", "questions", "base", "tuned", "difference (95 % interval)", "not inferior"):
        grid.add_column(column)
    for r in rows:
        gap = f"{r['difference']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
        grid.add_row(r["arm"], r["task"], str(r["questions"]), f"{r['base']:.3f}", f"{r['adapter']:.3f}", gap, "yes" if r["not_inferior"] else "not shown")
    terminal(130).print(grid)
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    write_json(args.out / "retention.json", finite({"rows": rows, "margin": args.margin, "limit": args.limit, "origin": origin(**inputs)}))
    write_text(args.out / "retention.csv", pd.DataFrame(rows).map(spreadsheet_cell).to_csv(index=False))


if __name__ == "__main__":
    command(main)
