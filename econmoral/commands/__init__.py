"""Commands of the calculator, one module each: ``Options`` are what it is told, ``run`` computes.

``run`` returns what ``--json`` prints; ``show`` prints it for a person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
NEGATIVE = re.compile(rf"-{_NUMBER}(?:,[+-]?{_NUMBER})*|-inf|-nan")


def negative_values(words: Sequence[str]) -> list[str]:
    """The command line with a blank before words such as ``-1,-2`` or ``-1e-3``.

    argparse takes a word that starts with a dash for an option unless it is one plain number; with
    the blank it is a value, and float() passes over the blank.
    """
    return [f" {word}" if NEGATIVE.fullmatch(word) else word for word in words]


def figure(value: float | None, digits: int = 4) -> str:
    """A number for a table, a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}g}"
