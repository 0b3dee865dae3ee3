"""A study is a list of cells: commands, each with the file it leaves behind.

What is there is not run again.

cells.jsonl holds the cost of every attempt: seconds, hours of a GPU where there is one, and the
tokens that training or measurement put through the model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from econmoral.records import InputError, append_lines, plain, read_json, read_whole_lines
from econmoral.rooms import REPOSITORY

TOOL = ("-m", "econmoral")  # how most cells begin


@dataclass(frozen=True)
class Cell:
    """One command (the words after ``python``), and the file that says that it is done."""

    name: str
    words: tuple[str, ...]
    product: Path


def run(cells: list[Cell], out: Path) -> None:
    """Run what is not there yet.

    Raises InputError at the first command that fails, and where a cell is there that another
    command has left: with another model, seed or size.  What is done stays done.
    """
    import torch  # late: bad input is reported before it is loaded

    record = out / "cells.jsonl"
    rows = read_whole_lines(record)
    known = {row["cell"]: row["command"] for row in rows if row.get("finished")}
    for cell in cells:
        if cell.product.exists() and _told(known.get(cell.name, cell.words)) != _told(cell.words):
            raise InputError(
                f"{out} holds {cell.name} of another plan (python "
                f"{plain(' '.join(known[cell.name]))}); choose another --out, or delete it"
            )
    environment = dict(os.environ)
    if REPOSITORY is not None:  # its commands are to be this copy's
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(REPOSITORY), *filter(None, [environment.get("PYTHONPATH")])]
        )
    gpus = min(1, torch.cuda.device_count())  # every command uses one
    for number, cell in enumerate(cells, start=1):
        if cell.product.exists():
            continue
        print(f"[{number}/{len(cells)}] $ python {' '.join(cell.words)}", flush=True)
        began = time.monotonic()
        code = -1
        try:
            code = call([sys.executable, *cell.words], environment)
        finally:  # an attempt that failed or was interrupted has its cost too
            seconds = time.monotonic() - began
            tokens = (
                read_json(cell.product).get("tokens")
                if code == 0 and cell.product.suffix == ".json"
                else None
            )
            cost = {
                "seconds": round(seconds, 1),
                "gpu_hours": round(gpus * seconds / 3600, 4),
                "tokens": tokens,
            }
            append_lines(
                record,
                [{"cell": cell.name, **cost, "finished": code == 0, "command": list(cell.words)}],
            )
        if code:
            raise InputError(
                f"this cell failed, see above: {cell.name}; the study continues there when it is "
                "run again"
            )


def _told(words: Sequence[str]) -> list[str]:
    """What a command says, however the folders are written: absolute, or from here."""
    return [word.rpartition("/")[2] for word in words]


def call(words: list[str], environment: dict[str, str]) -> int:
    """Exit code of a command that a terminal's Ctrl-C does not reach: it would show a traceback
    while it still loads.  It is stopped instead.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # handed on to the command
    process = subprocess.Popen(words, env=environment)
    try:
        signal.signal(signal.SIGINT, before)
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
