"""The same adapter in other forms: merged is the same, another base is not."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest import assert_complains, run

from econmoral.models import NANO
from econmoral.records import read_json


def test_export_answers_as_the_adapter_and_a_wrong_one_is_caught(adapter: Path, tmp_path: Path) -> None:
    merged, small = tmp_path / "merged", ("--items", "2")
    result = run("recipes/export.py", "--adapter", str(adapter), "--out", str(merged))
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.glob(".*"))
    result = run("-m", "eval.parity", "--adapter", str(adapter), "--merged", str(merged), *small)
    assert result.returncode == 0, result.stderr
    found = read_json(adapter / "parity.json")["differences"]
    assert found["merged in memory"]["largest"] < 1e-4
    assert found["merged and saved"]["largest"] < 0.02  # rounded to bfloat16
    assert found["served"] == "not run: no --endpoint"
    assert "| merged and saved | 0." in (merged / "README.md").read_text(encoding="utf-8")
    assert_complains(run("recipes/export.py", "--adapter", str(adapter), "--out", str(merged)), "exists")

    shutil.copy(NANO / "model.safetensors", merged / "model.safetensors")
    result = run("-m", "eval.parity", "--adapter", str(adapter), "--merged", str(merged), *small)
    assert result.returncode == 1
    assert "above the tolerance of 0.02: merged and saved" in result.stderr


def test_what_cannot_be_merged_or_compared_is_one_line(tmp_path: Path) -> None:
    assert_complains(run("recipes/export.py", "--adapter", str(tmp_path), "--out", str(tmp_path / "m")), "adapter_config.json")
    assert_complains(run("-m", "eval.parity", "--adapter", str(tmp_path / "none")), "does not exist")
