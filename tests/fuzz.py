"""Fuzzing, guided by coverage: every reader is fed bytes that are bred for new paths through it.

    python tests/fuzz.py                  # all readers, RUNS cases each; writes tests/fuzz.json
    python tests/fuzz.py plan 100000      # one reader

Needs atheris (``pip install atheris==3.0.0``).  A failure is what a reader neither answers nor
refuses, ten seconds for one case, or 2 GB of memory; it ends the run and shows the case.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RUNS = 70_000


def fuzz(name: str, runs: int) -> None:
    """Breed cases for one reader (ends the process)."""
    import atheris

    with atheris.instrument_imports(include=["econmoral", "eval", "study"]):
        import readers
    corpus = readers.FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(readers.READERS[name][1]):
        (corpus / str(number)).write_bytes(seed)
    flags = [
        f"-runs={runs}",
        "-seed=1",
        "-max_len=2000",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-verbosity=0",
    ]
    atheris.Setup(
        [sys.argv[0], *flags, f"-artifact_prefix={readers.FOLDER}/", str(corpus)],
        lambda data: readers.one_case(name, data),
    )
    atheris.Fuzz()


def main() -> None:
    """All readers one after another; their counts into fuzz.json."""
    import readers

    from econmoral.files.records import fill_section, origin, write_json

    results: dict[str, Any] = {}
    for name in readers.READERS:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, name, str(RUNS)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        results[name] = {
            "cases": 0 if done.returncode else RUNS,
            "failed": done.returncode != 0,
            "seconds": round(time.monotonic() - began, 1),
        }
        print(name, results[name], flush=True)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:])
    total = {
        "cases": sum(r["cases"] for r in results.values()),
        "failures": sum(r["failed"] for r in results.values()),
    }
    write_json(Path(__file__).with_suffix(".json"), origin() | total | {"readers": results})
    text = (
        f"{len(results)} readers, {total['cases']:,} inputs bred by coverage, {total['failures']} "
        f"readers failed: {', '.join(results)}."
    )
    fill_section(Path(__file__).with_name("README.md"), "fuzz", text)
    print(total)
    sys.exit(total["failures"] > 0)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "recipes")]
    fuzz(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main()
