"""The one script that repeats every number."""

from __future__ import annotations

import json
from pathlib import Path

from econmoral.commands.package.steps import Package, Step

TEMPLATE = Path(__file__).with_name("master_script.py")


def master(package: Package) -> str:
    """The one script."""
    steps = [
        {
            "name": s.name,
            "words": s.words,
            "compared": s.compared,
            "tolerance": s.tolerance,
            "exit_codes": _exit_codes(s),
        }
        for s in package.steps
    ]
    left_out = {name: found for name, (found, out) in package.data.items() if out}
    text = TEMPLATE.read_text(encoding="utf-8")
    holes = ((left_out, "str] = {}"), (steps, "]] = []"))
    assert all(text.count(empty) == 1 for _, empty in holes)
    for value, empty in reversed(holes):  # what is filled in may hold the other's words
        # texts, numbers and lists only: JSON is Python here
        shown = json.dumps(value, indent=4, ensure_ascii=False)
        text = text.replace(empty, empty[:-2] + shown, 1)
    return text


def _exit_codes(s: Step) -> list[int]:
    # 3: not identified, which is a result too
    return [0, 3] if s.words[:3] == ["-m", "econmoral", "fit"] else [0]
