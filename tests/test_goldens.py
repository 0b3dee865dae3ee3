"""Numbers of the commands as they were before their loops became one (goldens.json):
they must not move unnoticed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import call

from econmoral.files.records import read_json
from eval import dilemmas, games, menus, pricing

COMMANDS = {"games": games, "menus": menus, "dilemmas": dilemmas, "pricing": pricing}
GOLDENS = json.loads(Path(__file__).with_name("goldens.json").read_text(encoding="utf-8"))
TOLERANCE = {"nano": 1e-4}  # a model's probabilities move a little with the order of its sums


def assert_close(kept: Any, found: Any, tolerance: float, path: str) -> None:
    """Everything that was kept is there, and the same."""
    if isinstance(kept, dict):
        for key, value in kept.items():
            assert key in found, f"{path}: no {key}"
            assert_close(value, found[key], tolerance, f"{path}.{key}")
    elif isinstance(kept, list):
        assert len(kept) == len(found), path
        for i, (a, b) in enumerate(zip(kept, found, strict=True)):
            assert_close(a, b, tolerance, f"{path}[{i}]")
    elif isinstance(kept, float) and not isinstance(found, str | None):
        assert math.isclose(kept, found, rel_tol=tolerance, abs_tol=tolerance), (
            f"{path}: {kept} was, {found} is"
        )
    else:
        assert kept == found, path


@pytest.mark.parametrize("name", GOLDENS)
def test_the_numbers_have_not_moved(name: str, tmp_path: Path) -> None:
    command, _, model = name.partition(", ")
    golden = GOLDENS[name]
    call(COMMANDS[command].main, *golden["words"], "--out", tmp_path)
    found = read_json(tmp_path / "summary.json")
    if isinstance(golden["summary"], list):  # rows of some conditions were kept
        place = ("arm", "mode", "set", "battery", "topic")
        rows = {tuple(row.get(k) for k in place): row for row in found}
        found = [rows[tuple(row.get(k) for k in place)] for row in golden["summary"]]
    else:
        found["markets"] = found.get("markets", [])[:3]
    assert_close(golden["summary"], found, TOLERANCE.get(model, 1e-5), name)
