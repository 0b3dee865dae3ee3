"""Output of commands where the terminal knows little, and where nobody reads it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import LIMIT, ROOT
from rich.console import Console

from eval.games import show

TABLE = """
from pathlib import Path
from rich.table import Table
from econmoral.files.records import command, terminal

def main():
    console = terminal(140)
    for _ in range(ROUNDS):
        grid = Table(title="pay$1 [bold] ±")
        for k in range(12):
            grid.add_column(f"column {k}", no_wrap=True)
        grid.add_row(*(f"{k}.25 ± 0.5" for k in range(12)))
        console.print(grid)
        print("also ± this")
    Path("done").write_text("done")

command(main)
"""


def start(folder: Path, rounds: int, **environment: str) -> subprocess.Popen[str]:
    """A command that prints tables and then writes a file."""
    words = [sys.executable, "-c", TABLE.replace("ROUNDS", str(rounds))]
    known = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(
        words,
        cwd=folder,
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_a_dumb_terminal_and_ascii_lose_no_number(tmp_path: Path) -> None:
    for environment in (
        {"TERM": "dumb"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "COLUMNS": "20"},
    ):
        process = start(tmp_path, 1, **environment)
        said, complaint = process.communicate(timeout=LIMIT)
        assert (process.returncode, complaint) == (0, "")
        assert all(f"{k}.25 " in said for k in range(12)), environment
        assert "pay$1 [bold]" in said


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """As with ``| head -1``: no complaint, no code of failure."""
    process = start(tmp_path, 400)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=LIMIT) == 0


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), (">/dev/full", 2), (">&- 2>&-", 0)])
def test_output_that_is_closed_or_full_ends_in_no_traceback(
    closed: str, code: int, tmp_path: Path
) -> None:
    words = [
        "sh",
        "-c",
        f'exec "$0" "$@" {closed}',
        sys.executable,
        "-c",
        TABLE.replace("ROUNDS", "2"),
    ]
    known = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=tmp_path, env=known, stderr=subprocess.PIPE, text=True, timeout=LIMIT
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert (tmp_path / "done").exists() == (code == 0)


def test_a_narrow_table_cuts_no_number() -> None:
    """A cell that lost its end without a mark would be another number."""
    frame = pd.DataFrame([{"arm": "b", "mode": "direct", "kappa alone": "12.34 ± 0.56"}])
    console = Console(width=14, markup=False, file=io.StringIO())
    show(frame, "", console)
    assert "b12.34±0.56" in "".join(console.file.getvalue().split())  # type: ignore[attr-defined]
