"""docs/calculator.md is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from console import calculator

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "calculator.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ python (.*)\n((?:.*\n)*?)```", PAGE)


def squeezed(text: str) -> list[str]:
    """Lines without trailing blanks, blank lines left out."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(("line", "shown"), BLOCKS, ids=[line for line, _ in BLOCKS])
def test_the_page_shows_what_is_printed(
    line: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = calculator(*shlex.split(line)[2:])
    assert squeezed(done.stdout + done.stderr) == squeezed(shown)


def test_the_page_shows_every_command() -> None:
    assert {shlex.split(line)[2] for line, _ in BLOCKS} == {"garp", "amce", "power", "market"}
