"""Dilemmas: null agents score nothing, known effects come back, theory's thresholds,
errors that match the spread.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from asking import ask_conjoint, ask_ratings
from console import here
from rich.console import Console
from scipy.special import expit

from econmoral.economics.human import moral_machine
from econmoral.files.records import InputError, read_json, write_json
from econmoral.instruments.dilemmas import (
    CASE_WORDINGS,
    DIMENSIONS,
    HELD_OUT,
    KINDS,
    LARGEST,
    NULLS,
    PAGES,
    PAIRS,
    RATING_WORDINGS,
    SAVED,
    SCENES,
    TRAIN,
    Rating,
    amce,
    case_pages,
    code,
    draw_scenarios,
    fit_sacrifice,
    groups_on,
    levels,
    linear_chooser,
    listed_shares,
    predicted_choice,
    rating_conversation,
    rating_grid,
    read_scenario,
    scenario_conversation,
    share_spared,
)
from econmoral.target import Target, moralis
from eval.conditions import Adapter, told_conditions
from eval.conjoint import (
    conjoint_items,
    conjoint_requests,
    conjoint_summary,
    differences,
    null_agents,
    read_countries,
    spared_matrix,
)
from eval.dilemma import Known
from eval.dilemmas import add_differences, conjoint_rows, show, table_rows
from eval.engines.base import Answer, Condition, Exact, Sampled
from eval.ratings import rating_differences, rating_items, rating_rows, rating_summary, theory_lines
from eval.resume import prompt_hash
from eval.validity import OUTSIDE, outside, percent

TRUE = {
    "intervention": 0.06,
    "relation": 0.1,
    "law": 0.2,
    "gender": 0.1,
    "fitness": 0.15,
    "status": 0.3,
    "age": 0.35,
    "number": 0.4,
    "species": 0.5,
}


def answers(scenarios, effects):
    return np.array(
        [[linear_chooser(s, swapped, effects) for swapped, _ in PAGES] for s in scenarios]
    )


@pytest.mark.parametrize("name", NULLS)
def test_agents_that_see_nothing_score_nothing(name: str) -> None:
    scenarios = draw_scenarios(3000, np.random.default_rng(1))
    found = amce(
        code(scenarios), np.array([[NULLS[name](s, *page) for page in PAGES] for s in scenarios])
    )
    assert set(found) == set(DIMENSIONS)
    for dimension, effect in found.items():
        if name == "never swerves" and dimension == "intervention":
            assert effect["value"] == pytest.approx(1, abs=1e-12)
        else:
            assert abs(effect["value"]) <= max(4 * effect["se"], 1e-12)


def test_known_effects_are_recovered() -> None:
    scenarios = draw_scenarios(12_000, np.random.default_rng(2))
    found = amce(code(scenarios), answers(scenarios, TRUE))
    for dimension, true in TRUE.items():
        assert abs(found[dimension]["value"] - true) <= max(4 * found[dimension]["se"], 1e-9), (
            dimension
        )


def test_intervals_cover_and_errors_match_the_spread() -> None:
    """200 runs of 0/1 answers: 95 % intervals hold the truth in 95 % of runs (binomial bounds),
    SE equals the spread.
    """
    rng = np.random.default_rng(4)
    inside, values, errors = dict.fromkeys(TRUE, 0), [], []
    for _ in range(200):
        scenarios = draw_scenarios(300, rng)
        found = amce(
            code(scenarios), (rng.random((300, 4)) < answers(scenarios, TRUE)).astype(float)
        )
        for d in TRUE:
            inside[d] += abs(found[d]["value"] - TRUE[d]) <= 1.96 * found[d]["se"]
        values.append([found[d]["value"] for d in TRUE])
        errors.append([found[d]["se"] for d in TRUE])
    # 1800 intervals, those of a run correlated a little; single dimensions have 200
    assert 0.925 <= sum(inside.values()) / 1800 <= 0.97
    assert min(inside.values()) >= 177
    np.testing.assert_allclose(np.mean(errors, 0), np.std(values, 0, ddof=1), rtol=0.15)
    assert np.mean(
        [np.mean(column) for column in zip(*values, strict=True)] - np.array(list(TRUE.values()))
    ) == pytest.approx(0, abs=0.005)


def test_a_habit_of_order_changes_no_effect() -> None:
    scenarios = draw_scenarios(500, np.random.default_rng(5))
    effects = {k: v / 3 for k, v in TRUE.items()}
    items = [(i, s, 0, ("K", "M")) for i, s in enumerate(scenarios)]
    plain, habit = (
        spared_matrix(
            ask_conjoint(Known(effects | {"habit": h}, 1.0), items, Condition("chooser"), 0)
        )
        for h in (0.0, 0.33)
    )
    one, two = amce(code(scenarios), plain), amce(code(scenarios), habit)
    assert np.abs(plain - habit).max() > 0.3
    for d in DIMENSIONS:
        # the habit is cut at probability one where effects add up
        assert two[d]["value"] == pytest.approx(one[d]["value"], abs=0.02)


def test_pages_that_were_not_read_are_left_out() -> None:
    scenarios = draw_scenarios(400, np.random.default_rng(6))
    spared = answers(scenarios, TRUE)
    holes = spared.copy()
    holes[np.random.default_rng(7).random(holes.shape) < 0.2] = np.nan
    one, two = amce(code(scenarios), spared), amce(code(scenarios), holes)
    assert all(abs(one[d]["value"] - two[d]["value"]) < 0.05 for d in DIMENSIONS)
    assert amce(code(scenarios), np.full((400, 4), np.nan)) == {}


@pytest.mark.parametrize(
    ("scene", "saved", "threshold"),
    [
        ("passenger", 10, 0.55),
        ("passenger", 2, 0.75),
        ("passenger", 100, 0.505),
        ("family", 10, 0.6),
    ],
)
def test_threshold_of_the_sacrifice(scene: str, saved: int, threshold: float) -> None:
    near = (threshold - 1e-6, threshold, threshold + 1e-6)
    assert [predicted_choice(scene, saved, kappa) for kappa in near] == [0, 0.5, 1]


def test_theory_lines() -> None:
    for saved in (2, 5, 10, 20, 50, 100):
        t = (1 + saved) / (2 * saved)
        assert [
            predicted_choice("passenger", saved, k) for k in (0.0, 0.5, t - 1e-6, t + 1e-6, 1.0)
        ] == [0, 0, 0, 1, 1]
        assert all(
            predicted_choice(scene, saved, k) == 1
            for scene in ("pedestrian", "veil")
            for k in (0.0, 0.5, 1.0)
        )
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
    cells = [(Rating("passenger", n, "choose"), 0) for n in (1, 10)]
    up, down = (
        rating_conversation(cells[0][0], reverse, 0).questions[0].text for reverse in (False, True)
    )
    assert up != down
    assert "100 means that you do not agree" in down
    assert " 0 means that you do not agree" in up
    records = ask_ratings(Known({"kappa": 0.8}, 4.0), cells, Condition("chooser"), 0)
    for (cell, _), record in zip(cells, records, strict=True):
        gain = 0.2 * -1 + 0.8 * (cell.saved - 1) / (cell.saved + 1)
        assert record["mean"] == pytest.approx(100 * expit(4 * gain), abs=0.5)
        assert record["direction_bias"] == pytest.approx(0, abs=1e-9)


class Thirty:
    """Replies 30, whatever it is asked: a habit of the number, in both directions of the scale."""

    def score(self, requests, arm, seed=0):
        return [Answer.certain(np.eye(101)[30], r) for r in requests]


def test_a_habit_of_a_number_is_a_bias_and_no_rating() -> None:
    (record,) = ask_ratings(Thirty(), [(Rating("veil", 5, "moral"), 1)], Condition("habit"), 0)
    assert record["mean"] == pytest.approx(50)
    assert record["direction_bias"] == pytest.approx(40)


def test_summary_of_ratings() -> None:
    records = ask_ratings(Known({"kappa": 0.8}, 4.0), rating_items(TRAIN), Condition("chooser"), 0)
    found = rating_summary(records, [Target("homo_economicus"), moralis(0.5)])
    assert found["kappa"]["kappa"]["value"] == pytest.approx(0.8, abs=0.01)
    assert found["social_dilemma_gap"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["family_gap"]["value"] < 0
    assert (
        found["theory"]["own kappa"]["agreement"]
        >= 0.9
        > found["theory"]["homo economicus"]["agreement"]
    )
    assert found["valid_answer_probability"] == found["comprehension"] == 1
    other = ask_ratings(Known({"kappa": 0.2}, 4.0), rating_items(TRAIN), Condition("chooser"), 0)
    gaps = rating_differences(records, other)
    means = [
        np.mean([r["mean"] for r in some if r["question"] == "buy"]) for some in (records, other)
    ]
    assert gaps["buy"]["value"] == pytest.approx(means[0] - means[1])
    assert gaps["buy"]["n"] == 35


def test_theory_speaks_of_kantian_targets_only() -> None:
    targets = [
        Target("homo_economicus"),
        moralis(0.25),
        Target.parse("bruhin_fehr_schunk:alpha=0.2,beta=0.5"),
    ]
    assert theory_lines(targets) == {"homo economicus": 0.0, "homo moralis 0.25": 0.25}
    close = [moralis(0.1234561), moralis(0.1234564)]  # alike to six digits
    assert list(theory_lines(close).values()) == [0.1234561, 0.1234564]


# -------------------------------------------------------------------------------------------- pages


def by_kind(text: str) -> int:
    """Characters in a sentence that names them: the sum of its numbers."""
    return sum(int(n) for n in re.findall(r"\b(\d+) ", text))


@pytest.mark.parametrize("wording", range(len(RATING_WORDINGS)))
def test_control_answers_of_ratings_stand_on_the_page(wording: int) -> None:
    for cell in rating_grid()[::6]:
        talk = rating_conversation(cell, False, wording)
        straight, swerve = talk.controls
        ahead = re.search(r"(\d+) (?:person|people)\b", talk.page)
        assert ahead
        assert straight.options[straight.right] == ahead[1] == str(cell.saved)
        riders = {"both of you": "2"}.get(
            next((t for t in ("both of you",) if t in talk.page), ""), "1"
        )
        assert swerve.options[swerve.right] == riders == str(SCENES[cell.scene][0])
        assert len(set(straight.options)) == len(straight.options)
        assert straight.text != swerve.text
        assert all(
            q.text.endswith("Reply with the number only.")
            for q in (*talk.questions, *talk.controls)
        )
        assert talk.questions[0].options == tuple(str(r) for r in range(101))


@pytest.mark.parametrize("wording", range(len(CASE_WORDINGS)))
def test_control_answers_of_the_conjoint_stand_on_the_page(wording: int) -> None:
    for scenario in draw_scenarios(40, np.random.default_rng(wording)):
        for page in case_pages(wording, ("K", "M")):
            talk = scenario_conversation(scenario, page)
            for line, label, control in zip(
                talk.page.splitlines()[1:], page.labels, talk.controls, strict=True
            ):
                assert f" {label}:" in line.split(":")[0] + ":"
                assert f" {label}" in control.text
                assert int(control.options[control.right]) == by_kind(line)
                assert control.options == tuple(str(n) for n in range(1, LARGEST + 1))
            assert talk.questions[0].options == page.labels
            assert talk.questions[0].text.endswith("Reply with the letter only.")


def test_a_control_answer_that_is_shifted_is_caught() -> None:
    """The same page scored with its right answers moved by one:
    comprehension of a careful reader falls to 0.
    """

    class Reader:
        def score(self, requests, arm, seed=0):
            answers = []
            for r in requests:
                lines = r.conversation.page.splitlines()[1:]
                said = [str(by_kind(line)) for line in lines]
                right = np.array(
                    [
                        float(q.options[q.right] == a)
                        for q, a in zip(r.conversation.controls, said, strict=True)
                    ]
                )
                answers.append(Answer(np.array([0.5, 0.5]), np.ones(1), right, np.ones(2)))
            return answers

    class Shifted(Reader):
        def score(self, requests, arm, seed=0):
            moved = []
            for r in requests:
                controls = tuple(
                    replace(q, right=(q.right + 1) % len(q.options))
                    for q in r.conversation.controls
                )
                moved.append(replace(r, conversation=replace(r.conversation, controls=controls)))
            return super().score(moved, arm, seed)

    items = conjoint_items(
        draw_scenarios(20, np.random.default_rng(3)), TRAIN, np.random.default_rng(4)
    )
    right, wrong = (
        conjoint_summary([s for _, s, _, _ in items], ask_conjoint(e, items, Condition("x"), 0), {})
        for e in (Reader(), Shifted())
    )
    assert right["comprehension"] == 1
    assert wrong["comprehension"] == 0


def test_wordings_are_several_and_held_out_ones_are_apart() -> None:
    assert (TRAIN, HELD_OUT) == ((0, 1, 2), (3, 4))
    assert [w.held_out for w in CASE_WORDINGS] == [w.held_out for w in RATING_WORDINGS]
    cell, scenario = Rating("passenger", 5, "buy"), draw_scenarios(1, np.random.default_rng(1))[0]
    assert len({rating_conversation(cell, False, w).page for w in range(5)}) == 5
    assert (
        len({scenario_conversation(scenario, case_pages(w, ("K", "M"))[0]).page for w in range(5)})
        == 5
    )
    items = rating_items(TRAIN)
    assert {cell for cell, _ in items} == set(rating_grid())
    assert len(items) == 210
    # statements about one accident share a wording; every scene is seen in all of them
    for scene in SCENES:
        used = {
            c.saved: {w for d, w in items if (d.scene, d.saved) == (scene, c.saved)}
            for c, _ in items
            if c.scene == scene
        }
        assert len(used) == len(SAVED)
        assert all(len(one) == 1 for one in used.values())
        assert set.union(*used.values()) == set(TRAIN)


def test_labels_and_orders_leave_a_preference_untouched() -> None:
    """An agent with effects gives the same probabilities of sparing on every page,
    whatever letters and order they have.
    """
    scenarios = draw_scenarios(60, np.random.default_rng(12))
    engine = Known({k: v / 3 for k, v in TRUE.items()}, 1.0)
    one = [(i, s, 0, ("K", "M")) for i, s in enumerate(scenarios)]
    two = [(i, s, 2, ("M", "K")) for i, s in enumerate(scenarios)]
    a, b = (spared_matrix(ask_conjoint(engine, items, Condition("x"), 0)) for items in (one, two))
    np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(a[:, 0], a[:, 1], atol=1e-12)  # cases exchanged
    np.testing.assert_allclose(a[:, 2], a[:, 3], atol=1e-12)
    page = case_pages(0, ("K", "M"))[1]
    assert share_spared(listed_shares(0.3, page), page) == pytest.approx(0.3)


class Letters:
    """Prefers the letter that comes first in the alphabet, whatever happens."""

    def score(self, requests, arm, seed=0):
        found = []
        for r in requests:
            a, b = r.conversation.questions[0].options
            found.append(Answer.certain(np.array([0.9, 0.1]) if a < b else np.array([0.1, 0.9]), r))
        return found


def test_a_habit_of_letters_cancels() -> None:
    scenarios = draw_scenarios(300, np.random.default_rng(13))
    items = conjoint_items(scenarios, TRAIN, np.random.default_rng(14))
    records = ask_conjoint(Letters(), items, Condition("x"), 0)
    assert {r["wording"] for r in records} == set(TRAIN)
    assert len({tuple(r["labels"]) for r in records}) > 100
    effects = amce(code(scenarios), spared_matrix(records))
    assert max(abs(e["value"]) for e in effects.values()) < 1e-9
    # exchanged together with the groups, so that a habit of letters does not look like one of place
    assert np.mean([r["first_case"] for r in records]) == pytest.approx(0.5)


# ----------------------------------------------------------------------------------------- validity


@dataclass
class Weak:
    """Knows what it wants, but says it in the form only with probability ``valid``."""

    valid: float

    def score(self, requests, arm, seed=0):
        found = Known({"age": 0.4}, 4.0).score(requests, arm, seed)
        return [replace(a, valid=np.array([self.valid]), controls=np.full(2, 0.3)) for a in found]


def summary_of(*valid: float) -> tuple[dict, list]:
    scenarios = draw_scenarios(60, np.random.default_rng(15))
    items = conjoint_items(scenarios, TRAIN, np.random.default_rng(16))
    cells = rating_items(TRAIN)
    names = ["base", "placebo", "tuned"][: len(valid)]
    found: dict = {"conjoint": {}, "ratings": {}}
    for name, v in zip(names, valid, strict=True):
        found["conjoint"][name] = ask_conjoint(Weak(v), items, Condition(name), 0)
        found["ratings"][name] = ask_ratings(Weak(v), cells, Condition(name), 0)
    summary: dict = {
        "arms": {name: {} for name in names},
        "null_agents": null_agents(scenarios),
        "humans": moral_machine(),
    }
    for name in names:
        summary["arms"][name]["conjoint"] = conjoint_summary(scenarios, found["conjoint"][name], {})
        summary["arms"][name]["ratings"] = rating_summary(found["ratings"][name], [moralis(0.5)])
    for name in names[1:]:
        add_differences(
            name, ["base", "placebo"], found["conjoint"], found["ratings"], summary, scenarios
        )
    return summary, scenarios


def test_below_one_half_no_number_is_printed() -> None:
    summary, _ = summary_of(0.49, 0.9, 0.95)
    base, tuned = summary["arms"]["base"], summary["arms"]["tuned"]
    assert base["conjoint"]["valid_answer_probability"] == pytest.approx(0.49)
    assert base["conjoint"]["effects"] == {}
    assert base["ratings"]["questions"] == {}
    assert base["ratings"]["theory"] == {}
    assert not tuned["conjoint"]["outside"]
    for row in conjoint_rows(summary)[: len(DIMENSIONS)]:
        assert row["base"] == OUTSIDE
        assert row["tuned"] != OUTSIDE
    printed = [
        row["base"] for row in rating_rows({a: s["ratings"] for a, s in summary["arms"].items()})
    ]
    # validity and comprehension themselves
    assert [cell for cell in printed if cell != OUTSIDE] == ["49 %", "30 %"]
    # no difference to a condition outside the form
    assert set(tuned["conjoint"]["minus"]) == set(tuned["ratings"]["minus"]) == {"placebo"}
    console = Console(record=True, width=200, file=io.StringIO())
    show(summary, console)
    rows = table_rows(summary)
    text = console.export_text()
    assert "base, conjoint: answers outside the form (valid-answer probability 49 %)" in text
    assert "--replies sampled" in text
    assert "placebo" in text
    assert not [r for r in rows if "minus base" in r["measure"]]


def test_differences_are_to_base_and_placebo() -> None:
    summary, scenarios = summary_of(0.6, 0.9, 0.95)
    tuned = summary["arms"]["tuned"]
    assert set(tuned["conjoint"]["minus"]) == {"base", "placebo"}
    assert set(summary["arms"]["placebo"]["ratings"]["minus"]) == {"base"}
    assert tuned["conjoint"]["minus"]["placebo"]["age"]["value"] == pytest.approx(0, abs=1e-12)
    assert differences(
        [{"spared": [1.0] * 4}] * 60, [{"spared": [0.0] * 4}] * 60, scenarios
    ).keys() == set(DIMENSIONS)


def test_outside_and_percent() -> None:
    assert outside(0.4999)
    assert not outside(0.5)
    assert outside(float("nan"))
    assert [percent(v) for v in (0.874, 0.0123, 0.0, None, float("nan"))] == [
        "87 %",
        "1.2 %",
        "0 %",
        "–",
        "–",
    ]


def test_told_arms_and_placebos(tmp_path: Path) -> None:
    arms = told_conditions([Target("homo_economicus"), moralis(0.5)])
    assert [a.name for a in arms] == ["base, told economicus", "base, told moralis 0.5"]
    assert all(a.adapter is None and a.system for a in arms)
    with pytest.raises(InputError, match="twice"):
        told_conditions([moralis(0.5), moralis(0.5)])
    assert not Adapter("x", tmp_path).placebo
    for value in (False, "yes", True):
        write_json(tmp_path / "run.json", {"shuffled": value})
        assert Adapter("x", tmp_path).placebo is (value is True)


def test_a_changed_page_is_asked_again() -> None:
    items = conjoint_items(
        draw_scenarios(5, np.random.default_rng(1)), TRAIN, np.random.default_rng(2)
    )
    talks = [r.conversation for item in items for r in conjoint_requests(item, Condition("base"))]
    assert prompt_hash(talks) == prompt_hash(
        [r.conversation for item in items for r in conjoint_requests(item, Condition("other"))]
    )
    changed = [replace(talks[0], page=talks[0].page + " "), *talks[1:]]
    assert prompt_hash(talks) != prompt_hash(changed)
    told = [
        r.conversation
        for item in items
        for r in conjoint_requests(item, Condition("base", None, "Be kind."))
    ]
    assert prompt_hash(talks) != prompt_hash(told)


class Characters:
    """A tokenizer whose tokens are characters."""

    chat_template, name_or_path = "{{ messages }}", "characters"

    def apply_chat_template(self, messages, tokenize=False, add_generation_prompt=False, **more):
        text = "".join(f"<{m['role']}>{m['content']}|" for m in messages)
        return text + "<assistant>" * add_generation_prompt

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": [ord(c) for c in text]}


class Even(Exact):
    """Every character has probability one half."""

    tokenizer = Characters()

    def log_probabilities(self, groups, arm):
        return [
            [
                np.array(
                    [
                        np.logaddexp.reduce([len(f) * np.log(0.5) for f in forms])
                        for forms in s.options
                    ]
                )
                for s in g
            ]
            for g in groups
        ]

    def derive(self, heads, samples, arm, seed, longest):
        raise AssertionError("a dilemma has no derivation")


def test_no_user_turn_counts() -> None:
    """Scored are the reply, with or without its full stop, and the end of the turn:
    2^-2 + 2^-3 for each letter.
    """
    items = conjoint_items(
        draw_scenarios(3, np.random.default_rng(1)), TRAIN, np.random.default_rng(2)
    )
    for record in ask_conjoint(Even(), items, Condition("base"), 0):
        assert record["valid_answer_probability"] == pytest.approx(2 * (1 / 4 + 1 / 8))
        assert record["comprehension"] == pytest.approx(1 / 4 + 1 / 8)
        assert record["spared"] == pytest.approx([0.5] * 4)
    (rated,) = ask_ratings(Even(), rating_items(TRAIN)[:1], Condition("base"), 0)
    digits = sum(0.5 ** (len(str(r)) + 1) + 0.5 ** (len(str(r)) + 2) for r in range(101))
    assert rated["valid_answer_probability"] == pytest.approx(digits)


class Talker:
    """Writes like a chat model; declines every fourth time, and rambles every fifth."""

    tokens = 0

    def __init__(self) -> None:
        self.calls = 0

    def write(self, conversations, arm, seed, longest=60):
        replies = []
        for messages in conversations:
            assert messages[-1]["role"] == "user"
            self.calls += 1
            letters = re.findall(r", ([B-Z]) or ([B-Z])\?", messages[-1]["content"])
            said = (
                f"**Answer**: I choose {letters[-1][0]} because it is right."
                if letters
                else "**30**"
            )
            replies.append(
                "I'm sorry, I cannot decide this."
                if self.calls % 4 == 0
                else "Well."
                if self.calls % 5 == 0
                else said
            )
        return replies


def test_sampled_replies_are_read_counted_and_kept() -> None:
    items = conjoint_items(
        draw_scenarios(10, np.random.default_rng(1)), TRAIN, np.random.default_rng(2)
    )
    records = ask_conjoint(Sampled(Talker()), items, Condition("base"), 0, samples=5)
    outcomes = [
        sum(r["outcomes"][o] for r in records) for o in ("answered", "unreadable", "refused")
    ]
    assert sum(outcomes) == 10 * 4 * 5
    assert min(outcomes) > 0
    assert all(len(r["texts"]) == 4 and all(len(page) == 5 for page in r["texts"]) for r in records)
    assert np.mean([r["valid_answer_probability"] for r in records]) == pytest.approx(
        outcomes[0] / 200
    )
    # it always names the case that is listed first
    assert np.mean([r["first_case"] for r in records]) == 1
    summary = conjoint_summary([s for _, s, _, _ in items], records, {})
    assert summary["outcomes"] == dict(
        zip(("answered", "unreadable", "refused"), outcomes, strict=True)
    )
    rated = ask_ratings(
        Sampled(Talker()), rating_items(HELD_OUT)[:10], Condition("base"), 0, samples=3
    )
    assert {r["mean"] for r in rated if r["mean"] is not None} == {50.0}


def test_scenarios_swap_and_come_back_from_a_file() -> None:
    assert len(KINDS) == 20
    assert len(DIMENSIONS) == 9
    assert set(moral_machine()) == set(DIMENSIONS)
    assert all({*pair} <= set(KINDS) for pairs in PAIRS.values() for pair in pairs)
    for s in draw_scenarios(300, np.random.default_rng(9)):
        assert read_scenario(json.loads(json.dumps(asdict(s)))) == s
        pages = case_pages(0, ("K", "M"))
        assert [(p.swapped, p.reverse) for p in pages] == list(PAGES)
        one, two = (scenario_conversation(s, p).page.splitlines() for p in pages[:2])
        assert (one[1][8:], one[2][8:]) == (two[2][8:], two[1][8:])
        assert groups_on(s, pages[2]) == groups_on(s, pages[0])[::-1]
        assert [p.labels for p in pages] == [("K", "M"), ("K", "M"), ("M", "K"), ("M", "K")]
        plain, swapped = levels(s, False), levels(s, True)
        assert plain[s.attribute] == (1, 0)
        assert swapped[s.attribute] == (0, 1)
        assert {d: v for d, v in plain.items() if d != s.attribute} == {
            d: v for d, v in swapped.items() if d != s.attribute
        }
    good = asdict(draw_scenarios(1, np.random.default_rng(0))[0])
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
    return here("-m", "eval.dilemmas", *options)


def test_the_command(tmp_path: Path) -> None:
    options = [
        "--simulate",
        "kappa=0.7,lambda=4,age=0.3,number=0.4",
        "--scenarios",
        "60",
        "--out",
        str(tmp_path / "a"),
    ]
    done = run(*options)
    assert done.returncode == 0, done.stderr
    summary = read_json(tmp_path / "a" / "summary.json")
    assert summary["arms"]["chooser"]["conjoint"]["effects"]["age"]["value"] == pytest.approx(
        0.3, abs=1e-6
    )
    assert summary["null_agents"]["coin"]["age"]["value"] == pytest.approx(0, abs=1e-12)
    assert (tmp_path / "a" / "figure.png").stat().st_size > 10_000
    table = tmp_path / "countries.csv"
    table.write_text("country,dimension,value\nnear,age,0.3\nfar,age,0.9\n")
    again = run(
        *options[:2],
        "--read",
        str(tmp_path / "a" / "scenarios.jsonl"),
        "--battery",
        "conjoint",
        "--countries",
        str(table),
        "--out",
        str(tmp_path / "b"),
    )
    assert again.returncode == 0, again.stderr
    other = read_json(tmp_path / "b" / "summary.json")["arms"]["chooser"]["conjoint"]
    assert other["effects"] == summary["arms"]["chooser"]["conjoint"]["effects"]
    assert [c["country"] for c in other["nearest_countries"]] == ["near", "far"]


ROW = "country,dimension,value\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xff\xfe"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_of_countries_is_read_as_it_is_written(
    mark: bytes, separator: str, tmp_path: Path
) -> None:
    text = (ROW + "Österreich,age,0.25\n Chad ,gender,-.5\n\nÖsterreich,gender,0\n").replace(
        ",", separator
    )
    (tmp_path / "c.csv").write_bytes(
        mark + text.encode("utf-16-le" if mark == b"\xff\xfe" else "utf-8")
    )
    assert read_countries(tmp_path / "c.csv") == {
        "Österreich": {"age": 0.25, "gender": 0.0},
        "Chad": {"gender": -0.5},
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (ROW + "X,age,.1\nY,age,.2\nX,age,.3\n", "line 4: X has a value for age already"),
        (ROW + "X,age,.1\n X,age,.1\n", "line 3: X has a value for age already"),
        (ROW + "X,age,.1\nX\u200b,age,.1\n", "line 3: X has a value for age already"),
        (
            ROW + "S\u00e3o A,age,.1\nSa\u0303o\u00a0A,age,.1\n",
            "line 3: S\u00e3o A has a value for age already",
        ),
        (ROW + "X,age,.1\n,age,.2\n", "line 3: column country is empty"),
        (ROW + "NA,age,.2\n", "line 2: column country holds 'NA'"),
        (ROW + "X,age,.1,\n", "line 2: 4 cells under a header of 3"),
        (ROW + "X,height,.1\n", "line 2: column dimension holds 'height'"),
        (ROW + "X,age,1.2\n", "line 2: column value holds '1.2'"),
        (ROW + "X,age,\n", "line 2: column value is empty"),
        (ROW, "holds no rows"),
        (",,\n,,\n", "holds no rows"),
        ("country,age\nX,.1\n", "lacks the column"),
    ],
)
def test_a_table_of_countries_that_is_doubtful_is_refused(
    text: str, part: str, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=part):
        read_countries(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "give either"),
        (("--simulate", "kappa=1"), "lambda"),
        (("--simulate", "lambda=1", "--scenarios", "1"), "--scenarios"),
        (("--simulate", "lambda=1", "--countries", "README.md"), "README.md"),
        (("--simulate", "lambda=1", "--read", "nowhere.jsonl"), "does not exist"),
        (("--simulate", "lambda=1", "--targets", "homo_moralis:kappa=2"), "kappa must lie"),
        (
            ("--simulate", "lambda=1", "--targets", "homo_moralis:kappa=0.5", "--kappa", "0.4"),
            "--kappa belongs",
        ),
        (("--simulate", "lambda=1", "--replies", "sampled"), "--simulate"),
        (("--model", "nano", "--targets", "homo_economicus", "homo_economicus"), "given twice"),
    ],
)
def test_bad_input(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    done = run(*options, "--out", str(tmp_path))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_model_is_measured_whatever_it_says() -> None:
    """Not what it prefers, but that every page of every wording can be scored
    and has a validity.
    """
    from eval.engines.with_transformers import Transformers

    engine, base = Transformers("nano", {}), Condition("base")
    scenarios = draw_scenarios(2, np.random.default_rng(11))
    records = ask_conjoint(
        engine, conjoint_items(scenarios, TRAIN, np.random.default_rng(0)), base, 0
    )
    records += ask_ratings(engine, rating_items(HELD_OUT)[:2], base, 0)
    for r in records:
        assert 0 <= r["valid_answer_probability"] <= 1
        assert 0 <= r["comprehension"] <= 1
        assert r["outcomes"] == {}
