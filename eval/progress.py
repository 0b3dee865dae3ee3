"""How far a long step is: a bar on a terminal, a line a minute where the output goes to a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")
EVERY = 60.0  # seconds between two lines


def progress(steps: Sequence[T], label: str, console: Console) -> Iterator[T]:
    """The steps one by one, while it is said how many are done."""
    if console.is_terminal:
        yield from track(steps, label, transient=True, console=console)
        return
    began = said = time.monotonic()
    for done, step in enumerate(steps):
        now = time.monotonic()
        if now - said >= EVERY:
            minutes = (now - began) / 60
            console.print(
                f"{label}: {done} of {len(steps)} after {minutes:.0f} min", highlight=False
            )
            said = now
        yield step
