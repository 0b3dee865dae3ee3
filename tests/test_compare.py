"""Paired comparison: known differences come back, equal arms are equivalent, the arithmetic agrees with other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import assert_complains, run
from scipy import stats
from statsmodels.stats.multitest import multipletests

from econmoral.records import read_json, write_lines
from eval.compare import compare, holm, read_arms, shares
from eval.engines import Arm, Simulated
from eval.measure import draw_questions, measure

QUESTIONS = draw_questions("drawn", 60, 1, 0.5, seed=11)[:60]


def chooser(kappa: float, arm: str = "x", noise: int | None = None) -> list[dict[str, Any]]:
    records = measure(Simulated("homo_moralis", {"kappa": kappa}, 0.05), QUESTIONS, Arm(arm), "direct", "given", 0)
    if noise is not None:
        rng = np.random.default_rng(noise)
        for r in records:
            r["probabilities"] = rng.dirichlet(50 * np.array(r["probabilities"]) + 0.5).tolist()
    return records


def by_id(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in records}


def test_a_known_difference_in_kappa_comes_back() -> None:
    rows = {r["measure"]: r for r in compare(by_id(chooser(0.6, noise=1)), by_id(chooser(0.1, noise=2)), 0.5, 0.05, 40, 0)}
    assert rows["kappa alone"]["low"] < 0.5 < rows["kappa alone"]["high"]
    assert rows["kappa alone"]["p"] < 0.001
    assert rows["lambda"]["low"] < 0 < rows["lambda"]["high"]
    assert rows["lambda"]["equivalent"] is None
    assert rows["economicus: mass"]["difference"] < 0 < rows["moralis: mass"]["difference"]


def test_shares_agree_with_a_paired_t_test() -> None:
    tuned, base = chooser(0.5, noise=3), chooser(0.2, noise=4)
    row = compare(by_id(tuned), by_id(base), 0.5, 0.05, 20, 0)[0]
    values = [[shares(r, 0.5)[row["measure"]] for r in arm] for arm in (tuned, base)]
    theirs = stats.ttest_rel(*values)
    assert row["p"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval()))


def test_equal_arms_are_equivalent_and_unequal_ones_are_not() -> None:
    base = by_id(chooser(0.3))
    same = compare(base, base, 0.5, 0.05, 20, 0)
    assert all(r["difference"] == 0 and r["p"] == 1 for r in same)
    assert all(r["equivalent"] for r in same if r["equivalent"] is not None)
    near = compare(by_id(chooser(0.3, noise=5)), base, 0.5, 0.2, 20, 0)
    assert near[0]["equivalent"]
    assert not compare(by_id(chooser(1.0)), base, 0.5, 0.05, 20, 0)[0]["equivalent"]


def test_holm_agrees_with_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 30):
        p = (rng.random(n) ** 3).tolist()
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_command_pairs_arms_of_several_folders(tmp_path: Path) -> None:
    for name, kappa in (("a", 0.0), ("b", 0.6)):
        rows = chooser(0.2, "base") + chooser(kappa, "tuned", noise=6)
        rows[-1]["probabilities"] = None  # refused
        write_lines(tmp_path / name / "choices.jsonl", rows)
    options = ("-m", "eval.compare", str(tmp_path / "a"), str(tmp_path / "b"), "--bootstrap", "20")
    result = run(*options)
    assert result.returncode == 0, result.stderr
    rows = read_json(tmp_path / "a" / "compare.json")["rows"]
    mass = {r["arm"]: r for r in rows if r["measure"] == "moralis: mass"}
    assert len(mass) == 2
    assert {r["n"] for r in mass.values()} == {59}
    assert sorted(r["difference"] > 0 for r in mass.values()) == [False, True]
    assert all(r["p_holm"] >= r["p"] for r in rows)
    before = (tmp_path / "a" / "compare.csv").read_bytes()
    assert run(*options).returncode == 0
    assert (tmp_path / "a" / "compare.csv").read_bytes() == before
    arms = read_arms([tmp_path / "a", tmp_path / "b"])["payoffs", "direct"]
    assert len(arms) == 3


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    assert_complains(run("-m", "eval.compare", str(tmp_path / "none")), "does not exist")
    write_lines(tmp_path / "a" / "choices.jsonl", chooser(0.2, "base"))
    assert_complains(run("-m", "eval.compare", str(tmp_path / "a")), "nothing to compare")
    assert_complains(run("-m", "eval.compare", str(tmp_path / "a"), "--against", "other"), "no arm 'other' among base")
    assert_complains(run("-m", "eval.compare", str(tmp_path / "a"), "--margin", "2"), "--margin")
    other = [json.loads(json.dumps(r)) | {"payoffs": [p + 5 for p in r["payoffs"]]} for r in chooser(0.5, "tuned")]
    write_lines(tmp_path / "b" / "choices.jsonl", other)
    assert_complains(run("-m", "eval.compare", str(tmp_path / "a"), str(tmp_path / "b")), "different payoffs")
    write_lines(tmp_path / "c" / "choices.jsonl", [{"id": "x"}])
    assert_complains(run("-m", "eval.compare", str(tmp_path / "c")), "line 1", "it lacks")
