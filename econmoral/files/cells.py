"""A study is a list of cells: commands, each with the file it leaves behind.

What is there is not run again, but for measurements by another revision of the code: their pages
may have changed.  Answers are kept by question, so that only pages that did change are asked.
Data and adapters of another revision are kept, and that is said.

cells.jsonl holds the cost of every attempt: seconds, hours of a GPU where there is one, and the
tokens that training or measurement put through the model; and the revision of the code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from econmoral.files.records import (
    InputError,
    append_lines,
    code_revision,
    plain,
    read_json,
    read_whole_lines,
)
from econmoral.rooms import REPOSITORY

TOOL = ("-m", "econmoral")  # how most cells begin


@dataclass(frozen=True)
class Cell:
    """One command (the words after ``python``), and the file that says that it is done.

    measures : its answers are kept by question.
    """

    name: str
    words: tuple[str, ...]
    product: Path
    measures: bool = False


def run(cells: list[Cell], out: Path, jobs: int = 1) -> None:
    """Run what is not there yet, ``jobs`` commands at once, each when what it reads is there.

    Several write what they have to say to logs/ instead of the terminal.  Raises InputError when a
    command fails, once those beside it have ended, and where a cell is there that another command
    has left: with another model, seed or size.  What is done stays done.
    """
    import torch  # late: bad input is reported before it is loaded

    record, revision = out / "cells.jsonl", code_revision()
    rows = [row for row in read_whole_lines(record) if row.get("finished")]
    known = {row["cell"]: row["command"] for row in rows}
    made_by = {row["cell"]: row.get("code") for row in rows}
    for cell in cells:
        if cell.product.exists() and _told(known.get(cell.name, cell.words)) != _told(cell.words):
            raise InputError(
                f"{out} holds {cell.name} of another plan (python "
                f"{plain(' '.join(known[cell.name]))}); choose another --out, or delete it"
            )
    old = [c for c in cells if c.product.exists() and made_by.get(c.name, revision) != revision]
    if kept := [cell.name for cell in old if not cell.measures]:
        print(
            f"note: {len(kept)} cells are of another revision of the code and kept, first "
            f"{plain(kept[0])}; choose another --out to make them anew",
            file=sys.stderr,
        )
    environment = dict(os.environ)
    if REPOSITORY is not None:  # its commands are to be this copy's
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(REPOSITORY), *filter(None, [environment.get("PYTHONPATH")])]
        )
    gpus = min(1, torch.cuda.device_count())  # every command uses one
    waiting = [
        (k, c)
        for k, c in enumerate(cells, start=1)
        if not c.product.exists() or (c.measures and c in old)
    ]
    needs = reads(cells)
    running: list[tuple[Cell, subprocess.Popen[bytes], float]] = []
    failed: list[Cell] = []

    def note(cell: Cell, code: int, began: float) -> None:
        seconds = time.monotonic() - began
        tokens = (
            read_json(cell.product).get("tokens")
            if code == 0 and cell.product.suffix == ".json"
            else None
        )
        cost = {
            "seconds": round(seconds, 1),
            "gpu_hours": round(gpus * seconds / 3600 / jobs, 4),
            "tokens": tokens,
            "code": revision,
        }
        append_lines(
            record,
            [{"cell": cell.name, **cost, "finished": code == 0, "command": list(cell.words)}],
        )

    try:
        while running or (waiting and not failed):
            while waiting and len(running) < jobs and not failed:
                there = [e for e in waiting if all(p.exists() for p in needs[e[1].name])]
                if not there and running:
                    break
                number, cell = chosen = (there or waiting)[0]
                waiting.remove(chosen)
                print(f"[{number}/{len(cells)}] $ python {' '.join(cell.words)}", flush=True)
                log = out / "logs" / f"{cell.name.replace(' ', '-')}.log" if jobs > 1 else None
                running.append((cell, start([*cell.words], environment, log), time.monotonic()))
            for entry in running[:]:
                cell, process, began = entry
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout=0.1)
                    running.remove(entry)
                    note(cell, code, began)
                    if code:
                        failed.append(cell)
    finally:  # an attempt that was interrupted has its cost too
        for _, process, _ in running:
            process.terminate()
        for cell, process, began in running:
            process.wait()
            note(cell, -1, began)
    if failed:
        where = f"{out}/logs" if jobs > 1 else "above"
        raise InputError(
            f"this cell failed, see {where}: {', '.join(c.name for c in failed)}; the study "
            "continues there when it is run again"
        )


def reads(cells: Sequence[Cell]) -> dict[str, list[Path]]:
    """Of every cell the products of earlier ones that its command names, by file or by folder."""
    made: dict[str, Path] = {}
    found = {}
    for cell in cells:
        found[cell.name] = [made[word] for word in cell.words if word in made]
        made |= {str(cell.product): cell.product, str(cell.product.parent): cell.product}
    return found


def _told(words: Sequence[str]) -> list[str]:
    """What a command says, however the folders are written: absolute, or from here."""
    return [word.rpartition("/")[2] for word in words]


def start(
    words: list[str], environment: dict[str, str], log: Path | None
) -> subprocess.Popen[bytes]:
    """A command that a terminal's Ctrl-C does not reach: it would show a traceback while it still
    loads.  It is stopped instead.

    log : where its output goes; None leaves it on the terminal.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # handed on to the command
    try:
        if log is None:
            return subprocess.Popen([sys.executable, *words], env=environment)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, *words], env=environment, stdout=file, stderr=subprocess.STDOUT
            )
    finally:
        signal.signal(signal.SIGINT, before)
