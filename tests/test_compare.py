"""Paired comparison: known differences come back, equal arms are equivalent,
the arithmetic agrees with other programs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import measure
from conftest import assert_complains, run
from console import here
from scipy import stats
from statsmodels.stats.multitest import multipletests

from econmoral.files.records import InputError, read_json, write_json, write_lines
from econmoral.target import ECONOMICUS, Target, moralis
from eval.compare import answering, differences, holm, read_arms, shares, targets_of
from eval.engines.base import Condition, Simulated
from eval.measure import draw_problems

TARGETS = [ECONOMICUS, moralis(0.5)]
PROBLEMS = draw_problems("drawn", 40, 1, TARGETS, seed=11, sets=["payoffs"])


def chooser(
    kappa: float, arm: str = "x", noise: int | None = None, valid: float = 1.0
) -> list[dict[str, Any]]:
    records = measure(
        Simulated("homo_moralis", {"kappa": kappa}, 0.05),
        PROBLEMS,
        Condition(arm),
        "direct",
        "given",
        1,
    )
    for r in records:
        r["valid_answer_probability"] = valid
    if noise is not None:
        rng = np.random.default_rng(noise)
        for r in records:
            r["probabilities"] = rng.dirichlet(1000 * np.array(r["probabilities"]) + 0.5).tolist()
    return records


def by_id(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in records}


def test_a_known_difference_in_kappa_comes_back() -> None:
    rows = {
        r["measure"]: r
        for r in differences(
            by_id(chooser(0.6, noise=1)), by_id(chooser(0.1, noise=2)), TARGETS, 0.05, 20, 0
        )
    }
    assert rows["kappa alone"]["difference"] == pytest.approx(0.5, abs=0.05)
    assert rows["kappa alone"]["p"] < 0.001
    assert rows["lambda"]["low"] < 0 < rows["lambda"]["high"]
    assert rows["lambda"]["equivalent"] is None
    assert rows["economicus: mass"]["difference"] < 0 < rows["moralis 0.5: mass"]["difference"]


def test_shares_agree_with_a_paired_t_test() -> None:
    tuned, base = chooser(0.5, noise=3), chooser(0.2, noise=4)
    row = differences(by_id(tuned), by_id(base), TARGETS, 0.05, 20, 0)[1]
    assert row["measure"] == "economicus: mass"
    values = [[shares(r, TARGETS)[row["measure"]] for r in arm] for arm in (tuned, base)]
    theirs = stats.ttest_rel(*values)
    assert row["p"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval()))


def test_equal_arms_are_equivalent_and_unequal_ones_are_not() -> None:
    base = by_id(chooser(0.3))
    same = differences(base, base, TARGETS, 0.05, 20, 0)
    assert all(r["difference"] == 0 and r["p"] == 1 for r in same)
    assert all(r["equivalent"] for r in same if r["equivalent"] is not None)
    near = differences(by_id(chooser(0.3, noise=5)), base, TARGETS, 0.2, 20, 0)
    assert near[1]["equivalent"]
    assert not differences(by_id(chooser(1.0)), base, TARGETS, 0.05, 20, 0)[1]["equivalent"]


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
    mass = {r["arm"]: r for r in rows if r["measure"] == "moralis 0.5: mass"}
    assert len(mass) == 2
    assert {r["n"] for r in mass.values()} == {39}
    assert sorted(r["difference"] > 0 for r in mass.values()) == [False, True]
    assert all(r["p_holm"] >= r["p"] for r in rows)
    before = (tmp_path / "a" / "compare.csv").read_bytes()
    assert run(*options).returncode == 0
    assert (tmp_path / "a" / "compare.csv").read_bytes() == before
    arms = read_arms([tmp_path / "a", tmp_path / "b"])["payoffs", "direct"]
    assert len(arms) == 3


@pytest.mark.parametrize("alike", [1, 30, 39])
@pytest.mark.parametrize("name", ["tuned", "pay$1_x"])
def test_what_two_folders_answer_alike_stays_with_both(
    alike: int, name: str, tmp_path: Path
) -> None:
    """Sampled replies often agree; only those that differ would be another condition."""
    first, second = chooser(0.0, name, noise=1), chooser(0.6, name, noise=2)
    for a, b in zip(first[:alike], second[:alike], strict=True):
        b["probabilities"] = a["probabilities"]
    for folder, rows in (("a", first), ("b", second)):
        write_lines(tmp_path / folder / "choices.jsonl", rows)
    arms = read_arms([tmp_path / "a", tmp_path / "b"])["payoffs", "direct"]
    assert {k: len(v) for k, v in arms.items()} == {name: 40, f"{tmp_path.name}/b: {name}": 40}
    found = [r["probabilities"] for r in arms[f"{tmp_path.name}/b: {name}"].values()]
    assert found == [r["probabilities"] for r in second]
    write_lines(tmp_path / "a" / "choices.jsonl", [*first, second[alike]])
    with pytest.raises(InputError, match=r"line 41: .* stands there twice"):
        read_arms([tmp_path / "a", tmp_path / "b"])


def test_arms_outside_the_form_are_named_and_left_out(tmp_path: Path) -> None:
    rows = (
        chooser(0.2, "base", valid=0.01)
        + chooser(0.2, "shuffled", noise=1)
        + chooser(0.6, "pay$1_x", noise=2)
        + chooser(0.5, "mute", valid=0.4)
    )
    write_lines(tmp_path / "choices.jsonl", rows)
    write_json(
        tmp_path / "summary.json",
        [{"arm": "shuffled", "placebo": True}, {"arm": "base", "placebo": False}],
    )
    write_json(tmp_path / "run.json", {"targets": ["homo_economicus", "altruism:altruism=0.3"]})
    inside, outside = answering(read_arms([tmp_path])["payoffs", "direct"])
    assert list(inside) == ["shuffled", "pay$1_x"]
    assert outside == {"base": pytest.approx(0.01), "mute": pytest.approx(0.4)}
    assert targets_of([tmp_path], []) == [ECONOMICUS, Target.parse("altruism:altruism=0.3")]
    assert_complains(here("-m", "eval.compare", str(tmp_path)), "base", "answer outside the form")
    done = here(
        "-m",
        "eval.compare",
        str(tmp_path),
        "--against",
        "placebo",
        "--targets",
        "homo_moralis:kappa=0.5",
        "--bootstrap",
        "20",
    )
    assert done.returncode == 0, done.stderr
    assert "not compared: base, payoffs, direct: answers outside the form" in done.stdout
    found = read_json(tmp_path / "compare.json")
    assert (found["against"], found["targets"]) == ("shuffled", ["homo_moralis:kappa=0.5"])
    assert {r["arm"] for r in found["rows"]} == {"pay$1_x"}
    assert [r["arm"] for r in found["left_out"]] == ["base", "mute"]


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    assert_complains(here("-m", "eval.compare", str(tmp_path / "none")), "does not exist")
    write_lines(tmp_path / "a" / "choices.jsonl", chooser(0.2, "base"))
    assert_complains(here("-m", "eval.compare", str(tmp_path / "a")), "nothing to compare")
    assert_complains(
        here("-m", "eval.compare", str(tmp_path / "a"), "--against", "other"),
        "no arm 'other' among base",
    )
    assert_complains(here("-m", "eval.compare", str(tmp_path / "a"), "--margin", "2"), "--margin")
    other = [
        json.loads(json.dumps(r)) | {"payoffs": [p + 5 for p in r["payoffs"]]}
        for r in chooser(0.5, "tuned")
    ]
    write_lines(tmp_path / "b" / "choices.jsonl", other)
    assert_complains(
        here("-m", "eval.compare", str(tmp_path / "a"), str(tmp_path / "b")), "different payoffs"
    )
    assert_complains(
        here("-m", "eval.compare", str(tmp_path / "a"), "--targets", "kindness"),
        "unknown preference",
    )
    write_lines(tmp_path / "c" / "choices.jsonl", [{"id": "x"}])
    assert_complains(here("-m", "eval.compare", str(tmp_path / "c")), "line 1", "it lacks")
