"""The calculator at the shell: hand-worked answers, JSON that parses, one line for bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run
from scipy.special import expit
from shell import complains, json_of

# the authors' replication data, where there is a copy
DATA = next(ROOT.parent.glob("*/data/bruhin-fehr-schunk-2019/choices_exp1.csv"), None)


def test_best_reply_by_hand() -> None:
    found = json_of(
        "best-reply",
        "spd",
        "--payoffs",
        "90,45,15,10",
        "--beliefs",
        ".6,.5,.2",
        "--alpha",
        ".1",
        "--beta",
        ".2",
        "--kappa",
        ".3",
        "--precision",
        ".1",
    )
    assert list(found["strategies"]) == ["CCC", "CCD", "CDC", "CDD", "DCC", "DCD", "DDC", "DDD"]
    assert found["strategies"]["CDD"] == {
        "payoff": pytest.approx(43.75),
        "self_payoff": pytest.approx(50),
        "utility": pytest.approx(38.825),
        "probability": pytest.approx(0.204856, abs=5e-7),
    }
    assert found["best_replies"] == ["CDD"]


def test_switch_points_by_hand() -> None:
    found = json_of("best-reply", "spd", "--payoffs", "80,65,25,20", "--beliefs", ".5,.5,.5")
    assert found["switch_points"] == [pytest.approx(1 / 21), pytest.approx(1 / 3)]
    assert [p["strategy"] for p in found["best_reply_from"]] == ["DDD", "DDC", "CCD"]
    ties = json_of("best-reply", "ug", "--payoffs", "70,50,10,30", "--kappa", "1")
    assert sorted(ties["best_replies"]) == ["equal,accept", "equal,reject", "unequal,accept"]


def test_person_reads_a_table() -> None:
    result = run(
        "-m",
        "econmoral",
        "best-reply",
        "tg",
        "--payoffs",
        "80,60,30,20",
        "--beliefs",
        ".5,.5",
        "--kappa",
        ".5",
    )
    assert "trust,give" in result.stdout
    assert "best replies" in result.stdout


def simulated(
    path: Path, theta: tuple[float, float, float, float], precision: float, subjects: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = subjects * 60
    own, other = rng.integers(10, 110, (2, n, 2)) * 10
    kind, unkind = (rng.random((2, n)) < 0.3).astype(int)
    unkind[kind == 1] = 0
    s, r = own < other, own > other
    weight = theta[0] * s + theta[1] * r + theta[2] * kind[:, None] + theta[3] * unkind[:, None]
    u = (1 - weight) * own + weight * other
    chose_x = rng.random(n) < expit(precision * (u[:, 0] - u[:, 1]))
    pd.DataFrame(
        {
            "sid": np.repeat(np.arange(subjects), 60),
            "self_x": own[:, 0],
            "self_y": own[:, 1],
            "other_x": other[:, 0],
            "other_y": other[:, 1],
            "choice_x": chose_x.astype(int),
            "q": kind,
            "v": unkind,
        }
    ).to_csv(path, index=False)


def test_fit_recovers_simulated_subjects(tmp_path: Path) -> None:
    simulated(tmp_path / "c.csv", (0.1, 0.3, 0.07, -0.05), 0.015, 80, seed=1)
    found = json_of(
        "fit", str(tmp_path / "c.csv"), "--family", "bruhin_fehr_schunk", "--cluster", "sid"
    )
    assert (found["n"], found["clusters"], found["identified"]) == (4800, 80, True)
    for name, value in zip(
        ("alpha", "beta", "gamma", "delta", "lambda"), (0.1, 0.3, 0.07, -0.05, 0.015), strict=True
    ):
        assert abs(found["estimates"][name]["value"] - value) < 3 * found["estimates"][name]["se"]


def test_types_are_recovered(tmp_path: Path) -> None:
    simulated(tmp_path / "a.csv", (0.1, 0.5, 0.0, 0.0), 0.03, 60, seed=2)
    simulated(tmp_path / "b.csv", (-0.3, -0.1, 0.0, 0.0), 0.03, 40, seed=3)
    second = pd.read_csv(tmp_path / "b.csv")
    second["sid"] += 1000
    pd.concat([pd.read_csv(tmp_path / "a.csv"), second]).to_csv(tmp_path / "c.csv", index=False)
    found = json_of(
        "fit",
        str(tmp_path / "c.csv"),
        "--family",
        "bruhin_fehr_schunk",
        "--cluster",
        "sid",
        "--types",
        "2",
    )
    assert [t["share"] for t in found["types"]] == [
        pytest.approx(0.6, abs=0.01),
        pytest.approx(0.4, abs=0.01),
    ]
    for kind, (alpha, beta) in zip(found["types"], ((0.1, 0.5), (-0.3, -0.1)), strict=True):
        for name, value in (("alpha", alpha), ("beta", beta)):
            assert (
                abs(kind["estimates"][name]["value"] - value) < 3.5 * kind["estimates"][name]["se"]
            )
    assert found["nec"] < 0.05
    assert found["log_likelihood"] > found["log_likelihood_one_type"]


@pytest.mark.skipif(
    DATA is None,
    reason="the authors' replication data are not here: put them into a folder beside the project",
)
def test_published_estimates_of_real_subjects_are_reproduced(tmp_path: Path) -> None:
    frame = pd.read_csv(DATA, dtype={"sid": str})
    dropped = set(pd.read_csv(DATA.parent / "dropped_subjects.csv", header=None, dtype=str)[0])
    frame[~frame["sid"].isin(dropped)].to_csv(tmp_path / "c.csv", index=False)
    found = json_of(
        "fit",
        str(tmp_path / "c.csv"),
        "--family",
        "bruhin_fehr_schunk",
        "--cluster",
        "sid",
        "--types",
        "3",
    )
    assert (found["n"], found["clusters"]) == (18720, 160)
    published = {
        "alpha": (0.0834529, 0.014809),
        "beta": (0.2605396, 0.018787),
        "gamma": (0.0717238, 0.013506),
        "delta": (-0.0416879, 0.011308),
        "lambda": (0.0155740, 0.000736),
    }
    for name, (value, se) in published.items():
        assert found["estimates"][name]["value"] == pytest.approx(value, abs=6e-8)
        assert found["estimates"][name]["se"] == pytest.approx(se, abs=6e-7)
    assert found["log_likelihood_one_type"] == pytest.approx(-5472.3142, abs=6e-5)
    assert found["log_likelihood"] == pytest.approx(-4202.708, abs=0.6)
    assert [t["share"] for t in found["types"]] == [
        pytest.approx(s, abs=1e-3) for s in (0.474, 0.405, 0.121)
    ]


def test_deterministic_choices_are_refused_with_bounds(tmp_path: Path) -> None:
    simulated(tmp_path / "c.csv", (0.1, 0.3, 0.0, 0.0), 1000.0, 20, seed=4)
    words = ("fit", tmp_path / "c.csv", "--family", "fehr_schmidt", "--cluster", "sid")
    found = json_of(*words, code=3)  # what is not identified has its own exit code
    assert found["identified"] is False
    assert "deterministic" in found["reason"]
    low, high = found["bounds"]["beta"]
    assert low <= 0.3 <= high
    assert high - low < 0.1


def test_power_by_hand() -> None:
    # 7.8489 * (.5 * .5 + .55 * .45) / .05^2 = 1561.9 for two independent shares of .5 and .55, and
    # a little more for t
    assert (
        json_of("power", "--effect", "0.05", "--alpha", "0.05", "--power", "0.8")[
            "sampled once, unpaired items per arm"
        ]
        == 1563
    )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("best-reply", "chess"), "unknown game"),
        (("best-reply", "spd", "--payoffs", "1,2,3"), "four payoffs"),
        (("best-reply", "spd", "--payoffs", "1,2,3,4"), "T > R > P > S"),
        (("best-reply", "spd", "--payoffs", "90,45,15,ten"), "list of numbers"),
        (("best-reply", "spd", "--payoffs", "90,45,15,10", "--beliefs", ".5"), "beliefs"),
        (("best-reply", "pd", "--beliefs", ".5,.6"), "sum to 1"),
        (("best-reply", "pd", "--kappa", "1.1"), "[0, 1]"),
        (("fit", "nowhere.csv", "--family", "altruism"), "does not exist"),
        (("fit", "pyproject.toml", "--family", "altruism"), "pyproject.toml"),
        (("fit", "nowhere.csv", "--family", "ludens"), "unknown family"),
        (("power", "--effect", "0"), "effect"),
    ],
)
def test_bad_input_gets_one_line(options: tuple[str, ...], part: str) -> None:
    assert part in complains(*options)


def test_bad_rows_are_named(tmp_path: Path) -> None:
    simulated(tmp_path / "c.csv", (0.1, 0.3, 0.0, 0.0), 0.02, 3, seed=5)
    good = pd.read_csv(tmp_path / "c.csv")
    for column, value in (("self_x", "many"), ("choice_x", 2), ("q", float("nan"))):
        bad = good.astype(object)
        bad.loc[4, column] = value
        bad.to_csv(tmp_path / "b.csv", index=False)
        said = complains("fit", tmp_path / "b.csv", "--family", "altruism")
        assert "line 6" in said
        assert column in said
    fit = ("fit", tmp_path / "c.csv", "--family")
    assert "person" in complains(*fit, "altruism", "--cluster", "person")
    assert "cannot be estimated on allocations" in complains(*fit, "homo_moralis")
    (tmp_path / "e.csv").write_text("", encoding="utf-8")
    assert "e.csv" in complains("fit", tmp_path / "e.csv", "--family", "altruism")
