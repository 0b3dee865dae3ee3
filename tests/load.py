"""Load: time and memory of every part as its work grows, each in a process of its own.

Writes tests/load.json.

    python tests/load.py                  # all parts, about an hour on one core
    python tests/load.py data 10000       # one part at one size

Growth is the exponent b of time ~ size^b between the two largest sizes: 1 is linear.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from econmoral.files.shown import markdown

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SIZES = {
    "data": (10_000, 100_000, 1_000_000),  # training examples, drawn, derived and written
    "training file": (10_000, 100_000),  # the same, read and checked as fine-tuning does
    # asked of a simulated chooser, kept, summarised with nine arms of rules
    "decisions": (1_000, 10_000, 100_000),
    "choices": (10_000, 100_000, 1_000_000),  # in the estimator, clustered errors
    # conjoint scenarios of a simulated chooser, effects with clustered errors
    "dilemmas": (1_000, 10_000, 100_000),
}


def silent(main: Any, *words: str) -> None:
    """A command's main with its words, without what it prints."""
    sys.argv = ["load", *words]
    with contextlib.redirect_stdout(io.StringIO()):
        main()


def work(part: str, size: int, folder: Path) -> None:
    """One part at one size."""
    chooser = "alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1"
    if part in ("data", "training file"):
        from data_synth.__main__ import main as write

        silent(
            write,
            "--preference",
            "homo_moralis",
            "--n",
            str(size),
            "--out",
            str(folder / "a.jsonl"),
        )
        if part == "training file":
            from econmoral.files.records import example, read_lines

            sys.stdout.flush()
            began = time.perf_counter()
            checked = sum(
                1
                for number, row in read_lines(folder / "a.jsonl")
                if example(row, f"line {number}")
            )
            print(json.dumps({"seconds": time.perf_counter() - began, "checked": checked}))
    elif part == "decisions":
        from eval.games import main as measure

        silent(
            measure,
            "--simulate",
            chooser,
            "--items",
            str(size // 2),
            "--pairs",
            "1",
            "--out",
            str(folder / "m"),
        )
    elif part == "dilemmas":
        from eval.dilemmas import main as judge

        silent(
            judge,
            "--simulate",
            "kappa=0.7,lambda=4,age=0.3",
            "--battery",
            "conjoint",
            "--scenarios",
            str(size),
            "--out",
            str(folder / "m"),
        )
    else:
        import numpy as np
        from scipy.special import expit

        from econmoral.estimation.estimate import allocations, fit

        rng = np.random.default_rng(0)
        own, other = rng.integers(10, 110, (2, size, 2)) * 10.0
        weight = 0.08 * (own < other) + 0.26 * (own > other)
        u = (1 - weight) * own + weight * other
        chosen = (rng.random(size) > expit(0.016 * (u[:, 0] - u[:, 1]))).astype(int)
        found = fit(
            allocations(
                own, other, chosen, [str(i % (size // 100)) for i in range(size)], "fehr_schmidt"
            )
        )
        assert abs(found.estimates["beta"] - 0.26) < 0.05


def main() -> None:
    """All parts and sizes, or one."""
    if len(sys.argv) > 2:
        part, size = sys.argv[1], int(sys.argv[2])
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                work(part, size, Path(folder))
            seconds = time.perf_counter() - began
            about = json.loads(said.getvalue()) if said.getvalue().strip() else {}
            print(
                json.dumps(
                    {"seconds": seconds}
                    | about
                    | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
                )
            )
        return
    from econmoral.files.records import fill_section, origin, write_json

    results: dict[str, Any] = {}
    for part, sizes in SIZES.items():
        rows = []
        for size in sizes:
            done = subprocess.run(
                [sys.executable, __file__, part, str(size)], capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{part} {size}: {done.stderr[-2000:]}")
            rows.append(
                {"size": size}
                | {k: round(v, 2) for k, v in json.loads(done.stdout.splitlines()[-1]).items()}
            )
            print(part, rows[-1], flush=True)
        growth = math.log(rows[-1]["seconds"] / rows[-2]["seconds"]) / math.log(
            rows[-1]["size"] / rows[-2]["size"]
        )
        results[part] = {"rows": rows, "growth": round(growth, 2)}
    write_json(Path(__file__).with_suffix(".json"), origin() | {"parts": results})
    table = []
    for part, result in results.items():
        table += [
            [part, f"{row['size']:,}", f"{row['seconds']:.1f}", f"{row['peak_mb']:.0f}", ""]
            for row in result["rows"]
        ]
        table[-1][-1] = f"{result['growth']:.2f}"
    head = ("what", "size", "seconds", "MB at most", "growth")
    fill_section(Path(__file__).with_name("README.md"), "load", markdown(head, table))


if __name__ == "__main__":
    main()
