"""The same adapter in other forms: merged is the same, another base is not.

Nothing is compared outside the form.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_complains, run
from console import here

from econmoral.checkpoints.models import NANO
from econmoral.files.records import InputError, read_json
from eval import parity
from eval.engines.base import Answer, Condition


def answer(first: float, valid: float) -> Answer:
    return Answer(np.array([first, 1 - first]), np.array([valid, valid]))


def test_choices_are_compared_given_that_they_are_valid() -> None:
    """Unnormalised, probabilities of 1e-7 all agree; normalised, they do not."""
    found = parity.difference(
        [answer(0.9, 1e-7), answer(0.5, 1e-7)], [answer(0.1, 2e-7), answer(0.5, 1e-7)]
    )
    assert found["largest"] == pytest.approx(0.8)
    assert found["mean"] == pytest.approx(0.4)
    assert parity.difference([answer(0.5, 0.9)], [answer(0.5, 0.6)])[
        "largest_of_validity"
    ] == pytest.approx(0.3)
    silent = Answer(None, np.zeros(2))
    assert parity.difference([answer(0.5, 0.9)], [silent])["largest"] == 1


def test_what_differs_is_named() -> None:
    rows = {
        "same": {"largest": 0.01, "largest_of_validity": 0.0},
        "choices": {"largest": 0.03, "largest_of_validity": 0.0},
        "validity": {"largest": 0.0, "largest_of_validity": 0.03},
        "broken": {"largest": float("nan"), "largest_of_validity": 0.0},
        "vLLM": "not run",
    }
    assert parity.above(rows, 0.02) == ["choices", "validity", "broken"]


def test_pages_ask_no_control_questions() -> None:
    requests = parity.draw_requests(2, 0)
    assert len(requests) == 8  # two sets of two problems, each on a pair of pages
    assert not any(r.conversation.controls for r in requests)


class Fixed:
    """Answers everything alike; stands for a loaded model."""

    def __init__(self, first: float, valid: float) -> None:
        self.first, self.valid = first, valid

    def score(self, requests: list, arm: Condition, seed: int = 0) -> list[Answer]:
        return [answer(self.first, self.valid)] * len(requests)


@pytest.mark.parametrize(
    ("valid", "merged", "four", "ends"),
    [
        (0.9, 0.7, 0.7, None),
        (0.9, 0.6, 0.7, 1),
        (0.9, 0.7, 0.2, None),
        (0.4, 0.7, 0.7, "not comparable"),
        (8e-7, 0.7, 0.7, "not comparable"),
        (0.499, 0.7, 0.7, "not comparable"),
    ],
)
def test_how_it_ends(
    valid: float,
    merged: float,
    four: float,
    ends: int | str | None,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    monkeypatch.setattr(
        "eval.engines.with_transformers.Transformers", lambda *args, **options: Fixed(0.7, valid)
    )
    loads = {
        "merged in memory": lambda: (Fixed(merged, valid), Condition("m")),
        parity.FOUR_BIT: lambda: (Fixed(four, valid), Condition("q")),
        "vLLM": "not run: no GPU",
    }
    monkeypatch.setattr(parity, "variants", lambda args, base: loads)
    monkeypatch.setattr(
        sys, "argv", ["parity", "--adapter", str(folder), "--model", "nano", "--items", "1"]
    )
    if isinstance(ends, str):
        with pytest.raises(InputError, match=ends):
            parity.main()
    elif ends:
        with pytest.raises(SystemExit) as stop:
            parity.main()
        assert stop.value.code == ends
    else:
        parity.main()
    found = read_json(folder / "parity.json")
    assert found["comparable"] == (valid >= 0.5)
    assert found["differences"]["merged in memory"]["largest"] == pytest.approx(0.7 - merged)
    assert found["differences"]["vLLM"] == "not run: no GPU"


@pytest.mark.slow
def test_an_exported_checkpoint_is_compared_and_a_wrong_one_differs(
    adapter: Path, tmp_path: Path
) -> None:
    """Whether this adapter's answers are in the form is not the question here:
    the differences are written either way.
    """
    merged, small = tmp_path / "merged", ("--items", "1")
    result = run("recipes/export.py", "--adapter", str(adapter), "--out", str(merged))
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.glob(".*"))
    result = run("-m", "eval.parity", "--adapter", str(adapter), "--merged", str(merged), *small)
    found = read_json(adapter / "parity.json")
    assert result.returncode == (0 if found["comparable"] else 2), result.stderr
    assert found["differences"]["merged in memory"]["largest"] < 1e-4
    assert found["differences"]["merged and saved"]["largest"] < 0.02  # rounded to bfloat16
    assert found["differences"]["served"] == "not run: no --endpoint"
    assert "| merged and saved | " in (merged / "README.md").read_text(encoding="utf-8")
    assert_complains(
        run("recipes/export.py", "--adapter", str(adapter), "--out", str(merged)), "exists"
    )

    shutil.copy(NANO / "model.safetensors", merged / "model.safetensors")
    result = run("-m", "eval.parity", "--adapter", str(adapter), "--merged", str(merged), *small)
    assert result.returncode == (1 if found["comparable"] else 2)
    assert read_json(adapter / "parity.json")["differences"]["merged and saved"]["largest"] > 0.02


def test_what_cannot_be_merged_or_compared_is_one_line(tmp_path: Path) -> None:
    assert_complains(
        here("recipes/export.py", "--adapter", str(tmp_path), "--out", str(tmp_path / "m")),
        "adapter_config.json",
    )
    assert_complains(
        here("-m", "eval.parity", "--adapter", str(tmp_path / "none")), "does not exist"
    )
