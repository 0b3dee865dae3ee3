"""Dilemmas: null agents score nothing, known effects come back, theory's thresholds, errors that match the spread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from econmoral.dilemmas import (
    DIMENSIONS,
    KINDS,
    NULLS,
    PAGES,
    PAIRS,
    Design,
    Rating,
    amce,
    code,
    draw_scenarios,
    fit_sacrifice,
    levels,
    linear_chooser,
    predicted_choice,
    rating_grid,
    read_scenario,
    render_rating,
    render_scenario,
    sacrifice_threshold,
    scenario_record,
)
from econmoral.human import moral_machine
from econmoral.lessons import EFFECTS, rating_mean
from econmoral.records import read_json
from eval.dilemmas import Known, ask_conjoint, ask_ratings, rating_summary, spared_matrix
from eval.engine_transformers import Transformers
from eval.engines import Arm

TRUE = {"intervention": 0.06, "relation": 0.1, "law": 0.2, "gender": 0.1, "fitness": 0.15, "status": 0.3, "age": 0.35, "number": 0.4, "species": 0.5}


def answers(scenarios, effects):
    return np.array([[linear_chooser(s, swapped, effects) for swapped, _ in PAGES] for s in scenarios])


@pytest.mark.parametrize("name", NULLS)
def test_agents_that_see_nothing_score_nothing(name: str) -> None:
    scenarios = draw_scenarios(3000, np.random.default_rng(1))
    found = amce(code(scenarios), np.array([[NULLS[name](s, *page) for page in PAGES] for s in scenarios]))
    assert set(found) == set(DIMENSIONS)
    for dimension, effect in found.items():
        if name == "never swerves" and dimension == "intervention":
            assert effect["value"] == pytest.approx(1, abs=1e-12)
        else:
            assert abs(effect["value"]) <= max(4 * effect["se"], 1e-12)


@pytest.mark.parametrize("design", [Design(), Design(passengers=0.75, lights=(0.2, 0.5, 0.3), straight=0.8)], ids=["even", "uneven"])
def test_known_effects_are_recovered_whatever_the_design(design: Design) -> None:
    scenarios = draw_scenarios(12_000, np.random.default_rng(2), design)
    found = amce(code(scenarios, design), answers(scenarios, TRUE))
    for dimension, true in TRUE.items():
        assert abs(found[dimension]["value"] - true) <= max(4 * found[dimension]["se"], 1e-9), dimension


def test_without_the_weights_an_uneven_design_misleads() -> None:
    design = Design(passengers=0.75, lights=(0.2, 0.6, 0.2), straight=0.5)
    scenarios = draw_scenarios(12_000, np.random.default_rng(3), design)
    effects = {"relation": 0.4, "law": 0.2}
    wrong = amce(code(scenarios), answers(scenarios, effects))["law"]
    right = amce(code(scenarios, design), answers(scenarios, effects))["law"]
    assert abs(right["value"] - 0.2) <= 4 * right["se"]
    assert abs(wrong["value"] - 0.2) > 8 * wrong["se"]


def test_intervals_cover_and_errors_match_the_spread() -> None:
    """200 runs of 0/1 answers: 95 % intervals hold the truth in 95 % of runs (binomial bounds), SE equals the spread."""
    rng = np.random.default_rng(4)
    inside, values, errors = dict.fromkeys(TRUE, 0), [], []
    for _ in range(200):
        scenarios = draw_scenarios(300, rng)
        found = amce(code(scenarios), (rng.random((300, 4)) < answers(scenarios, TRUE)).astype(float))
        for d in TRUE:
            inside[d] += abs(found[d]["value"] - TRUE[d]) <= 1.96 * found[d]["se"]
        values.append([found[d]["value"] for d in TRUE])
        errors.append([found[d]["se"] for d in TRUE])
    # 1800 intervals, those of a run correlated a little; single dimensions have 200
    assert 0.925 <= sum(inside.values()) / 1800 <= 0.97
    assert min(inside.values()) >= 177
    np.testing.assert_allclose(np.mean(errors, 0), np.std(values, 0, ddof=1), rtol=0.15)
    assert np.mean([np.mean(column) for column in zip(*values, strict=True)] - np.array(list(TRUE.values()))) == pytest.approx(0, abs=0.005)


def test_a_habit_of_order_changes_no_effect() -> None:
    scenarios = draw_scenarios(500, np.random.default_rng(5))
    effects = {k: v / 3 for k, v in TRUE.items()}
    items = [(i, s, 0) for i, s in enumerate(scenarios)]
    plain, habit = (spared_matrix(ask_conjoint(Known(effects | {"habit": h}, 1.0), items, Arm("chooser"), 0)) for h in (0.0, 0.33))
    one, two = amce(code(scenarios), plain), amce(code(scenarios), habit)
    assert np.abs(plain - habit).max() > 0.3
    for d in DIMENSIONS:
        assert two[d]["value"] == pytest.approx(one[d]["value"], abs=0.02)  # the habit is cut at probability one where effects add up


def test_refused_pages_are_left_out() -> None:
    scenarios = draw_scenarios(400, np.random.default_rng(6))
    spared = answers(scenarios, TRUE)
    holes = spared.copy()
    holes[np.random.default_rng(7).random(holes.shape) < 0.2] = np.nan
    one, two = amce(code(scenarios), spared), amce(code(scenarios), holes)
    assert all(abs(one[d]["value"] - two[d]["value"]) < 0.05 for d in DIMENSIONS)
    assert amce(code(scenarios), np.full((400, 4), np.nan)) == {}


@pytest.mark.parametrize(("passengers", "pedestrians", "threshold"), [(1, 10, 0.55), (1, 2, 0.75), (1, 1, 1.0), (1, 100, 0.505), (2, 10, 0.6)])
def test_threshold_of_the_sacrifice(passengers: int, pedestrians: int, threshold: float) -> None:
    assert sacrifice_threshold(passengers, pedestrians) == pytest.approx(threshold, abs=1e-12)


def test_theory_lines() -> None:
    for saved in (2, 5, 10, 20, 50, 100):
        t = sacrifice_threshold(1, saved)
        assert [predicted_choice("passenger", saved, k) for k in (0.0, 0.5, t - 1e-6, t + 1e-6, 1.0)] == [0, 0, 0, 1, 1]
        assert all(predicted_choice(scene, saved, k) == 1 for scene in ("pedestrian", "veil") for k in (0.0, 0.5, 1.0))
    assert predicted_choice("passenger", 1, 1.0) == 0.5
    assert predicted_choice("veil", 1, 0.3) == 0.5
    assert predicted_choice("family", 2, 0.99) == 0


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.8])
def test_kappa_of_sacrifices_is_recovered(kappa: float) -> None:
    cells = [c for c in rating_grid() if c.question == "choose"]
    own = {"passenger": -1, "family": -1, "pedestrian": 1, "bystander": 0}
    riders = {"family": 2}
    shares = []
    for c in cells:
        n = riders.get(c.scene, 1)
        alike = (c.saved - n) / (c.saved + n)
        shares.append(expit(3 * ((1 - kappa) * own.get(c.scene, alike) + kappa * alike)))
    noisy = np.clip(np.array(shares) + np.random.default_rng(8).normal(0, 0.03, len(shares)), 0, 1)
    found = fit_sacrifice(cells, noisy)
    assert abs(found["kappa"]["value"] - kappa) < 4 * found["kappa"]["se"]
    assert found["kappa"]["se"] < 0.1
    assert abs(found["lambda"]["value"] - 3) < 4 * found["lambda"]["se"]
    assert "not_identified" in fit_sacrifice(cells, np.full(len(cells), 0.5))


def test_scale_direction_cancels() -> None:
    cells = [Rating("passenger", n, "choose") for n in (1, 10)]
    up, down = (render_rating(cells[0], reverse, 0)[0]["content"] for reverse in (False, True))
    assert up != down
    assert "100 means that you do not agree" in down
    assert " 0 means that you do not agree" in up
    records = ask_ratings(Known({"kappa": 0.8}, 4.0), cells, Arm("chooser"), 0)
    for cell, record in zip(cells, records, strict=True):
        gain = 0.2 * -1 + 0.8 * (cell.saved - 1) / (cell.saved + 1)
        assert record["mean"] == pytest.approx(100 * expit(4 * gain), abs=0.5)
        assert record["direction_bias"] == pytest.approx(0, abs=1e-9)


def test_summary_of_ratings() -> None:
    records = ask_ratings(Known({"kappa": 0.8}, 4.0), rating_grid(), Arm("chooser"), 0)
    found = rating_summary(records, 0.5)
    assert found["kappa"]["kappa"]["value"] == pytest.approx(0.8, abs=0.01)
    assert found["social_dilemma_gap"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["family_gap"]["value"] < 0
    assert found["theory"]["own kappa"]["agreement"] >= 0.9 > found["theory"]["homo economicus"]["agreement"]


def test_scenarios_swap_and_come_back_from_a_file() -> None:
    assert len(KINDS) == 20
    assert len(DIMENSIONS) == 9
    assert set(moral_machine()) == set(DIMENSIONS)
    assert all({*pair} <= set(KINDS) for pairs in PAIRS.values() for pair in pairs)
    for s in draw_scenarios(300, np.random.default_rng(9)):
        assert read_scenario(json.loads(json.dumps(scenario_record(s)))) == s
        one, two = (render_scenario(s, False, r, 0)[0]["content"].splitlines() for r in (False, True))
        assert (one[1][8:], one[2][8:]) == (two[2][8:], two[1][8:])
        plain, swapped = levels(s, False), levels(s, True)
        assert plain[s.attribute] == (1, 0)
        assert swapped[s.attribute] == (0, 1)
        assert {d: v for d, v in plain.items() if d != s.attribute} == {d: v for d, v in swapped.items() if d != s.attribute}
    good = scenario_record(draw_scenarios(1, np.random.default_rng(0))[0])
    for field, bad in (
        ("attribute", "wealth"),
        ("favoured", []),
        ("other", ["dragon"]),
        ("riders", 2),
        ("lawful", [True, True]),
        ("straight", None),
        ("lawful", [[], {}]),
    ):
        with pytest.raises(ValueError, match="scenario"):
            read_scenario(good | {field: bad})


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "eval.dilemmas", *options], capture_output=True, text=True)


def test_the_command(tmp_path: Path) -> None:
    options = ["--simulate", "kappa=0.7,lambda=4,age=0.3,number=0.4", "--scenarios", "60", "--out", str(tmp_path / "a")]
    done = run(*options)
    assert done.returncode == 0, done.stderr
    summary = read_json(tmp_path / "a" / "summary.json")
    assert summary["arms"]["chooser"]["conjoint"]["effects"]["age"]["value"] == pytest.approx(0.3, abs=1e-6)
    assert summary["null_agents"]["coin"]["age"]["value"] == pytest.approx(0, abs=1e-12)
    assert (tmp_path / "a" / "figure.png").stat().st_size > 10_000
    table = tmp_path / "countries.csv"
    table.write_text("country,dimension,value\nnear,age,0.3\nfar,age,0.9\n")
    again = run(
        *options[:2], "--read", str(tmp_path / "a" / "scenarios.jsonl"), "--battery", "conjoint", "--countries", str(table), "--out", str(tmp_path / "b")
    )
    assert again.returncode == 0, again.stderr
    other = read_json(tmp_path / "b" / "summary.json")["arms"]["chooser"]["conjoint"]
    assert other["effects"] == summary["arms"]["chooser"]["conjoint"]["effects"]
    assert [c["country"] for c in other["nearest_countries"]] == ["near", "far"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "give either"),
        (("--simulate", "kappa=1"), "lambda"),
        (("--simulate", "lambda=1", "--scenarios", "1"), "--scenarios"),
        (("--simulate", "lambda=1", "--countries", "README.md"), "needs columns"),
        (("--simulate", "lambda=1", "--read", "nowhere.jsonl"), "does not exist"),
    ],
)
def test_bad_input(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    done = run(*options, "--out", str(tmp_path))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_the_built_in_model_gives_its_population_back() -> None:
    """nano-applications learnt from answers of known effects: what is measured on it must order them, in both instruments."""
    engine, base = Transformers("nano-applications", {}), Arm("base")
    scenarios = draw_scenarios(150, np.random.default_rng(11))
    records = ask_conjoint(engine, [(i, s, i % 2) for i, s in enumerate(scenarios)], base, 0)
    assert min(r["mass"] for r in records) > 0.98
    found = amce(code(scenarios), spared_matrix(records))
    true, measured = ([source[d] if isinstance(source[d], float) else source[d]["value"] for d in DIMENSIONS] for source in (EFFECTS, found))
    # it never learnt to count, so "number" is left out; the others come back in order and not beyond their size
    kept = [i for i, d in enumerate(DIMENSIONS) if d != "number"]
    assert np.corrcoef(np.array(true)[kept], np.array(measured)[kept])[0, 1] > 0.9
    cells = [Rating(scene, saved, q) for scene in ("passenger", "veil") for saved in (1, 10, 100) for q in ("moral", "buy", "law")]
    rated = ask_ratings(engine, cells, base, 0)
    assert np.corrcoef([r["mean"] for r in rated], [rating_mean(c) for c in cells])[0, 1] > 0.95
    assert np.abs(np.array([r["mean"] for r in rated]) - [rating_mean(c) for c in cells]).mean() < 8
