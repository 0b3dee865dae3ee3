"""Training data: same seed same bytes, optimal by an independent count, nothing held out, clear complaints."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from conftest import assert_complains, run
from oracle import optimum

from data_synth.synthesis import dilemma_examples, examples
from econmoral.games import GAMES, Protocol, held_out
from econmoral.prompts import ANSWER, WORDINGS_HELD_OUT
from econmoral.records import example, sha256


@pytest.mark.parametrize(("preference", "kappa"), [("homo_economicus", 0.0), ("homo_moralis", 0.5), ("homo_moralis", 0.3), ("homo_moralis", 1.0)])
def test_every_answer_is_the_optimum_of_the_stated_preference(preference: str, kappa: float) -> None:
    for row in examples(preference, kappa or 0.5, 120, seed=3, reasoned=0.5):
        meta = row["meta"]
        payoffs = tuple(meta["payoffs"][k] for k in "TRPS")
        assert meta["kappa"] == kappa
        assert meta["strategy"] == optimum(meta["game"], payoffs, tuple(meta["beliefs"]), kappa)
        moves = next(s for s in GAMES[meta["game"]].strategies if GAMES[meta["game"]].separator.join(s) == meta["strategy"])
        labels = meta["layout"]["labels"]
        spoken = row["completion"][-1]["content"].rpartition(ANSWER)[2].split()
        sets = GAMES[meta["game"]].info_sets
        assert sorted(spoken) == sorted(labels[k][s.actions.index(m)] for k, (s, m) in enumerate(zip(sets, moves, strict=True)))
        assert (meta["mode"] == "reasoned") == ("\n" in row["completion"][-1]["content"])


def test_nothing_held_out_is_trained_on() -> None:
    for row in examples("homo_moralis", 0.5, 300, seed=1, reasoned=0.5):
        assert not held_out(Protocol(row["meta"]["game"], tuple(row["meta"]["payoffs"][k] for k in "TRPS")))
        assert row["meta"]["layout"]["wording"] not in WORDINGS_HELD_OUT


def test_same_decisions_for_both_preferences_which_often_differ() -> None:
    pairs = list(zip(*(examples(p, 0.5, 200, seed=2, reasoned=0.5) for p in ("homo_economicus", "homo_moralis")), strict=True))
    assert all(a["prompt"] == b["prompt"] for a, b in pairs)
    differ = [a["meta"]["strategy"] != b["meta"]["strategy"] for a, b in pairs]
    assert differ == [a["meta"]["preferences_differ"] for a, _ in pairs]
    assert 0.4 < sum(differ) / 200 < 0.8


def test_placebo_keeps_the_prompts_and_loses_the_relation_to_payoffs() -> None:
    plain, placebo = (list(examples("homo_moralis", 0.5, 300, seed=2, reasoned=0.0, shuffled=s)) for s in (False, True))
    assert [r["prompt"] for r in plain] == [r["prompt"] for r in placebo]
    same = sum(a["completion"] == b["completion"] for a, b in zip(plain, placebo, strict=True)) / 300
    assert same < 0.5


def test_file_is_reproducible_loads_and_has_a_card(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert (
            run(
                "-m", "data_synth", "--preference", "homo_moralis", "--kappa", "0.5", "--n", "40", "--seed", "7", "--out", str(tmp_path / f"{name}.jsonl")
            ).returncode
            == 0
        )
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [example(r, "here") for r in rows] == rows
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "a.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 40
    assert loaded[0]["prompt"] == rows[0]["prompt"]
    assert sha256(tmp_path / "a.jsonl") in (tmp_path / "a.md").read_text(encoding="utf-8")


def test_dry_run_shows_and_writes_nothing(tmp_path: Path) -> None:
    result = run("-m", "data_synth", "--preference", "homo_economicus", "--dry-run", "2", cwd=tmp_path)
    assert result.stdout.count(ANSWER) >= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--preference", "homo_ludens", "--out", "x"), "homo_economicus"),
        (("--preference", "homo_moralis", "--kappa", "1.5", "--out", "x"), "[0, 1]"),
        (("--preference", "homo_moralis", "--kappa", "nan", "--out", "x"), "[0, 1]"),
        (("--preference", "homo_moralis", "--n", "0", "--out", "x"), "--n"),
        (("--preference", "homo_moralis"), "--out"),
        (("--preference", "homo_moralis", "--temperature", "1", "--out", "x"), "--temperature"),
        (("--preference", "homo_moralis", "--out", "/proc/none/x.jsonl"), "/proc/none"),
    ],
)
def test_bad_options_get_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(run("-m", "data_synth", *options), part)


def test_one_game_alone_and_dilemmas(tmp_path: Path) -> None:
    one = [row["meta"]["game"] for row in examples("homo_moralis", 0.5, 30, 0, 0.5, games=("tg",))]
    assert set(one) == {"tg"}
    rows = list(dilemma_examples("homo_moralis", 0.9, 400, 0))
    for row in rows:
        scene, saved = row["meta"]["scene"], row["meta"]["saved"]
        number = int(row["completion"][0]["content"].removeprefix("Answer: "))
        text = row["prompt"][0]["content"]
        agrees = 100 - number if "100 means that you do not agree" in text or "100 is none" in text else number
        riders = 2 if scene == "family" else 1
        alike = (saved - riders) / (saved + riders)
        own = {"passenger": -1, "family": -1, "pedestrian": 1, "bystander": 0}.get(scene, alike)
        gain = 0.1 * own + 0.9 * alike
        assert agrees == (50 if abs(gain) < 1e-12 else 100 * (gain > 0)), row
    assert {row["meta"]["scene"] for row in rows} == {"passenger", "family", "pedestrian", "bystander", "veil"}
    done = run("-m", "data_synth", "--preference", "homo_economicus", "--domain", "dilemmas", "--n", "40", "--out", str(tmp_path / "d.jsonl"))
    assert done.returncode == 0, done.stderr
    assert "dilemmas 40" in (tmp_path / "d.md").read_text()
    both = run("-m", "data_synth", "--preference", "homo_economicus", "--domain", "dilemmas", "--shuffled", "--out", str(tmp_path / "e.jsonl"))
    assert_complains(both, "--domain")
