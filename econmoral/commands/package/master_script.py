"""Repeats every number of this package: python master.py

Checks the SHA-256 of every file, runs every step into output/, and compares all numbers with
results/. Needs Python 3.11 or newer and the packages of requirements.txt; the programs are in
code/, nothing else is installed.
Exit code 0: all numbers are the same within the tolerance of their step.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LEFT_OUT: dict[str, str] = {}  # data that are not in the package -> SHA-256
STEPS: list[dict[str, Any]] = []
SILENT = {
    "cost",
    "seconds",
    "tokens",
    "versions",
    "inputs",
    "weights",
    "git",
    "machine",
    "python",
    "command",
    "program",
    "settings",
}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files() -> None:
    """Ends the program unless every file is the one that was packaged."""
    for line in (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        if not (HERE / name).is_file() or digest(HERE / name) != expected:
            sys.exit(f"error: {name} is missing or not the file that was packaged")
    for name, expected in LEFT_OUT.items():
        if not (HERE / name).is_file():
            sys.exit(f"error: {name} is not part of this package; README.md says how to get it")
        if digest(HERE / name) != expected:
            sys.exit(f"error: {name} is not the file that was used (SHA-256 {expected})")


def numbers(value: Any, where: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number of a JSON value with its place; what names machines and times is passed over."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in SILENT:
                yield from numbers(inner, f"{where}/{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, f"{where}/{place}")
    elif isinstance(value, (int, float)) or value is None:
        yield where, value


def cell(text: str) -> float | str | None:
    """The number that a cell of a table holds; None where it is empty."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def read(path: Path) -> dict[str, float | None]:
    """Every number of a JSON file or of a table, by its place."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix != ".csv":
            return dict(numbers(json.load(file)))
        rows = [{k: cell(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return dict(numbers(rows))


def compare(name: str, tolerance: float) -> bool:
    """Whether a file has the numbers of the run within a tolerance, relative above 1."""
    old, new = read(HERE / "results" / name), read(HERE / "output" / name)
    if set(old) != set(new):
        only = len(set(old) ^ set(new))
        print(f"  {name}: DIFFERENT: {only} numbers are in one of the two only")
        return False
    worst, place = 0.0, ""
    for key in old:
        a, b = (None if v != v else v for v in (old[key], new[key]))  # a NaN equals nothing
        if a == b:
            gap = 0.0
        elif a is None or b is None:
            gap = float("inf")
        else:
            gap = abs(a - b) / max(1.0, abs(a))
        if gap > worst:
            worst, place = gap, key
    same = worst <= tolerance
    word = "the same" if same else "DIFFERENT"
    at = f" at {place}" if place else ""
    print(
        f"  {name}: {len(old)} numbers, {word} "
        f"(largest difference {worst:.2g}{at}; tolerance {tolerance:g})"
    )
    return same


def main() -> None:
    """Check, repeat, compare."""
    check_files()
    shutil.rmtree(HERE / "output", ignore_errors=True)
    environment = dict(os.environ, PYTHONPATH=str(HERE / "code"), PYTHONDONTWRITEBYTECODE="1")
    good = True
    for step in STEPS:
        print(f"{step['name']}: python {' '.join(step['words'])}", flush=True)
        words = [
            str(HERE / "code" / w) if w.startswith("recipes/") and w.endswith(".py") else w
            for w in step["words"]
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, *words], cwd=HERE, env=environment, stdout=subprocess.DEVNULL
        )
        if done.returncode not in step["exit_codes"]:
            sys.exit(f"error: step {step['name']} ended with exit code {done.returncode}")
        print(f"  done in {time.monotonic() - began:.0f} s", flush=True)
        # every file is compared and printed, also after one that differs
        found = [compare(name, step["tolerance"]) for name in step["compared"]]
        good = good and all(found)
    print("all numbers are the same" if good else "some numbers are DIFFERENT")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
