"""Measurement: known choosers recovered, validity and comprehension beside every figure, adapters
really applied, clear complaints.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asking import measure, requests_of
from conftest import ROOT, assert_complains, call, run
from oracle import expected, plans
from rich.console import Console
from test_prompts import lines_of

from econmoral.economics.choice import read_decision
from econmoral.economics.games import draw_beliefs, draw_protocol, held_out
from econmoral.estimation.estimate import fit
from econmoral.files.records import InputError, read_json, read_lines, write_json
from econmoral.instruments import games as prompts
from econmoral.instruments.games import (
    WORDINGS,
    WORDINGS_HELD_OUT,
    WORDINGS_TRAIN,
    choices_of,
    page_actions,
    plan_order,
)
from econmoral.instruments.menus import MENUS
from econmoral.target import ECONOMICUS, Target, moralis
from eval import games as command
from eval.conditions import Adapter, told_conditions
from eval.engines.base import Answer, Condition, Request, Simulated
from eval.engines.with_transformers import Transformers
from eval.estimate import structural
from eval.games import Games, GamesConfig
from eval.measure import Problem, draw_problems, protocol_of, usual_plans
from eval.resume import Remembering, prompt_hash
from eval.runner import Session, differ
from eval.table import (
    FITTED,
    add_shifts,
    agreement,
    by_decision,
    incentive_sensitivity,
    reference_arms,
    summaries,
    table,
)
from eval.validity import OUTSIDE, outside

KNOWN = {"alpha": 0.1, "beta": 0.2, "kappa": 0.4, "lambda": 0.1}
HALF = [ECONOMICUS, moralis(0.5)]
BASE = Condition("base")


class FirstListed:
    """A chooser that takes whatever is listed first on the page,
    and is right and valid so often.
    """

    def __init__(self, valid: float = 0.8, right: float = 0.3) -> None:
        self.valid, self.right = valid, right

    def score(self, requests: list[Request], arm: Condition, seed: int = 0) -> list[Answer]:
        found = []
        for r in requests:
            p = np.zeros(len(plan_order(r.layout)))
            p[0] = 1  # every first option of the conversation
            found.append(
                Answer(
                    p,
                    np.full(len(r.conversation.questions), self.valid),
                    np.full(2, self.right),
                    np.full(2, self.valid),
                )
            )
        return found


def measured(
    chooser: Any, problems: list[Problem], name: str = "a", mode: Any = "direct"
) -> list[dict[str, Any]]:
    return measure(chooser, problems, Condition(name), mode, "given", 1)


@pytest.mark.parametrize("n", [12, 24, 30])
def test_of_balanced_problems_the_usual_plan_is_wrong_in_every_second(n: int) -> None:
    problems = draw_problems("drawn", n, 1, HALF, 6, ["balanced"])
    usual = usual_plans(ECONOMICUS)
    for game in ("spd", "tg", "ug"):
        items = [p.item for p in problems if p.item.protocol.game == game]
        right = [ECONOMICUS.best_plan(i.protocol, i.beliefs)[0] == usual[game] for i in items]
        assert right == [k % 2 == 0 for k in range(len(items))]
    assert all(held_out(p.item.protocol) for p in problems)
    assert {p.layouts[0].wording for p in problems} == set(WORDINGS_HELD_OUT)
    rules = reference_arms(measured(Simulated("homo_moralis", {"kappa": 0.0}, 1.0), problems), HALF)
    own = str(ECONOMICUS)
    (always,) = [
        row for row in summaries(rules, HALF) if row["arm"] == f"constant, {ECONOMICUS.label}"
    ]
    assert always["targets"][own]["accuracy"]["mean"] == {12: 7, 24: 12, 30: 16}[n] / n


def test_how_often_the_usual_plan_is_the_best_one_is_as_the_docs_say() -> None:
    usual, rng = usual_plans(ECONOMICUS), np.random.default_rng(1)
    for game, said in (("spd", 0.9), ("ug", 2 / 3), ("tg", 0.5)):
        drawn = [(draw_protocol(game, rng, held=True), draw_beliefs(game, rng)) for _ in range(500)]
        best = [ECONOMICUS.best_plan(*problem)[0] == usual[game] for problem in drawn]
        assert np.mean(best) == pytest.approx(said, abs=0.07)


def test_shifts_on_balanced_problems_are_in_plans() -> None:
    problems = draw_problems("drawn", 24, 1, HALF, 6, ["balanced"])
    found = measured(Simulated("homo_moralis", {"kappa": 0.0}, 5.0), problems, name="tuned")
    rules = reference_arms(found, HALF)
    always = [r | {"mode": "direct"} for r in rules if r["arm"] == "constant, economicus"]
    rows = summaries([*found, *always], HALF)
    add_shifts(rows, [*found, *always], ["constant, economicus"], ["tuned"], HALF)
    shift = rows[0]["shift"]["constant, economicus"][str(ECONOMICUS)]
    assert shift["mean"] == 0.5


@pytest.mark.parametrize("options", [("--battery", "games18"), ("--beliefs", "uniform")])
def test_balanced_problems_are_drawn_with_their_beliefs(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    words = ("--simulate", "kappa=.3", "--sets", "balanced", *options, "--out", str(tmp_path))
    with pytest.raises(InputError, match="--sets balanced goes with"):
        call(command.main, *words)


# ----------------------------------------------------------------------------------- known choosers


def test_the_families_of_the_targets_are_estimated_too() -> None:
    problems = draw_problems("drawn", 40, 1, [ECONOMICUS], 3, ["payoffs"])
    chooser = Simulated("alpha_beta_kappa", {"alpha": 0.1, "beta": 0.4}, 0.1)
    wanted = {
        "fehr_schmidt": {"alpha": 0.1, "beta": 0.4},
        # nobody acts kindly or unkindly before: what speaks of that is left out
        "charness_rabin": {"rho": 0.4, "sigma": -0.1},
        "bruhin_fehr_schunk": {"alpha": -0.1, "beta": 0.4},
    }
    targets = [Target.parse(f"{family}:{next(iter(v))}=0.3") for family, v in wanted.items()]
    (row,) = summaries(measured(chooser, problems), [ECONOMICUS, *targets])
    assert list(row["fits"]) == [*FITTED, *wanted]
    frame = table([row])
    for family, values in wanted.items():
        found = {k: v["value"] for k, v in row["fits"][family]["estimates"].items()}
        assert found.pop("lambda") == pytest.approx(0.1, abs=1e-4)
        assert found == pytest.approx(values, abs=1e-4)
        columns = [c for c in frame.columns if c.startswith(f"{family}: ")]
        assert columns == [f"{family}: {name}" for name in values]
    console = Console(file=io.StringIO(), width=400)
    command.show(frame, "", console)
    agreement, structure = console.file.getvalue().split("lambda / 10")  # type: ignore[attr-defined]
    assert "0.40 ± " in structure
    assert "0.40 ± " not in agreement


def test_known_chooser_comes_back_through_the_whole_path(tmp_path: Path) -> None:
    text = ",".join(f"{k}={v}" for k, v in KNOWN.items())
    targets = ("homo_economicus", "homo_moralis:kappa=0.4", "fehr_schmidt:beta=0.5")
    call(
        command.main,
        "--simulate",
        text,
        "--items",
        60,
        "--targets",
        *targets,
        "--out",
        tmp_path / "m",
    )
    rows = [r for r in read_json(tmp_path / "m" / "summary.json") if r["arm"] == "chooser"]
    assert {r["set"] for r in rows} == {"payoffs", "wordings"}
    for row in rows:
        for name, value in KNOWN.items():
            found = row["fits"]["alpha_beta_kappa"]["estimates"][name]
            assert abs(found["value"] - value) <= max(2 * found["se"], 1e-5)
        assert row["valid_answer_probability"] == row["comprehension"] == 1
        assert list(row["targets"]) == list(targets)
        assert set(row["valid_by_wording"]) <= set(
            WORDINGS_TRAIN if row["set"] == "payoffs" else WORDINGS_HELD_OUT
        )
    assert (tmp_path / "m" / "figure.png").stat().st_size > 10_000
    assert len(list(read_lines(tmp_path / "m" / "choices.jsonl"))) == 120
    frame = pd.read_csv(tmp_path / "m" / "table.csv")
    assert set(frame["arm"]) >= {"chooser", "coin", "own-payoff best", "both-alike best"}
    assert set(frame.columns) >= {
        "valid %",
        "control %",
        "moralis 0.4: decisions %",
        "fehr_schmidt beta=0.5: plans %",
    }
    about = read_json(tmp_path / "m" / "run.json")
    assert about["settings"]["simulate"] == text
    assert about["targets"] == list(targets)


@pytest.mark.parametrize("beliefs", ["uniform", "elicited"])
def test_a_chooser_who_is_told_nothing_comes_back_too(beliefs: str) -> None:
    problems = draw_problems("drawn", 60, 1, HALF, 2, ["payoffs"])
    records = measure(
        Simulated("homo_moralis", {"kappa": 0.3}, 0.1), problems, BASE, "direct", beliefs, 1
    )
    assert all(set(r["beliefs"]) == {0.5} for r in records)
    found = summaries(records, HALF)[0]["fits"]["homo_moralis"]["estimates"]
    assert found["kappa"]["value"] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_sampled_choices_of_a_known_chooser_come_back_within_two_standard_errors(
    kappa: float,
) -> None:
    problems = draw_problems("drawn", 150, 1, HALF, 5, ["payoffs"])
    records = measured(Simulated("homo_moralis", {"kappa": kappa}, 0.1), problems)
    inside = dict.fromkeys(("kappa", "lambda"), 0)
    for repetition in range(20):
        rng = np.random.default_rng([5, repetition])
        drawn = [
            {
                **r,
                "probabilities": np.eye(len(r["probabilities"]))[
                    rng.choice(len(r["probabilities"]), p=r["probabilities"])
                ].tolist(),
            }
            for r in records
        ]
        found = summaries(drawn, [])[0]["fits"]["homo_moralis"]["estimates"]
        for name, value in (("kappa", kappa), ("lambda", 0.1)):
            inside[name] += abs(found[name]["value"] - value) < 2 * found[name]["se"]
    # of 20 events of probability .954 fewer than 16 happen with probability .003
    assert min(inside.values()) >= 16, inside


def test_position_habit_is_seen_and_cancels() -> None:
    records = measured(FirstListed(), draw_problems("drawn", 40, 2, HALF, 1))
    assert all(r["position_bias"] == pytest.approx(0.5) for r in records)
    for r in records:  # twins: whatever is listed first once is listed second once
        assert sum(r["probabilities"][: len(r["probabilities"]) // 2]) == pytest.approx(0.5)
        assert r["twin_distance"] == 1
    assert abs(incentive_sensitivity(records)["mean"]) < 0.08


def test_what_a_page_answers_is_put_in_the_order_of_the_strategies() -> None:
    """A chooser that reads the page's letters: always the first move that is listed first,
    then each reply listed last.
    """
    problems = draw_problems("drawn", 30, 1, HALF, 9)

    class Reader:
        def score(self, requests: list[Request], arm: Condition, seed: int = 0) -> list[Answer]:
            found = []
            for r in requests:
                sizes = [len(q.options) for q in r.conversation.questions]
                p = np.zeros(sizes)
                p[(0, *[1] * (len(sizes) - 1))] = 1
                found.append(
                    Answer(
                        p.ravel(),
                        np.arange(1, len(sizes) + 1) / 10,
                        np.array([1.0, 0.0]),
                        np.ones(2),
                    )
                )
            return found

    for problem, record in zip(problems, measured(Reader(), problems), strict=True):
        game = record["game"]
        for layout, page in zip(problem.layouts, record["pages"], strict=True):
            (taken,) = np.flatnonzero(page["probabilities"])
            plan = plans(game)[taken]
            listed = [page_actions(layout, k) for k in range(len(plan))]
            assert plan == (listed[0][0], *(some[1] for some in listed[1:]))
            assert choices_of(layout, int(taken)) == (0, *[1] * (len(plan) - 1))
            # validity follows the questions to their information sets: the first asked of the
            # replies is of the move listed first
            first = {"C": 1, "D": 2}[listed[0][0]] if game == "spd" else 1
            assert page["valid"][0] == pytest.approx(0.1)
            assert page["valid"][first] == pytest.approx(0.2)
            assert page["controls"] == [1.0, 0.0]
        assert record["comprehension"] == 0.5


def test_rules_are_what_they_say() -> None:
    records = measured(
        Simulated("homo_moralis", {"kappa": 0.5}, 0.1),
        draw_problems("drawn", 60, 1, HALF, 2, ["payoffs"]),
    )
    by_arm = {row["arm"]: row for row in summaries(reference_arms(records, HALF), HALF)}
    selfish, moral = str(ECONOMICUS), str(moralis(0.5))
    own = by_arm["own-payoff best"]["targets"]
    assert own[selfish]["accuracy"]["mean"] == own[selfish]["decisions"]["mean"] == 1
    assert own[selfish]["efficiency"]["mean"] == pytest.approx(1)
    assert own[moral]["where_they_differ"]["mean"] == 0
    assert 0 < own[moral]["decisions_where_they_differ"]["mean"] < 1  # some single moves agree
    assert by_arm["coin"]["targets"][moral]["efficiency"]["mean"] == pytest.approx(0, abs=1e-9)
    assert "not_identified" in by_arm["own-payoff best"]["fits"]["homo_moralis"]
    assert {"constant, economicus", "constant, moralis 0.5"} <= set(by_arm)


def test_targets_whose_labels_round_alike_keep_their_columns() -> None:
    close = [moralis(0.1234561), moralis(0.1234564)]
    assert close[0].label == close[1].label
    records = measured(
        Simulated("homo_moralis", {"kappa": 0.5}, 0.1),
        draw_problems("drawn", 4, 1, close, 2, ["payoffs"]),
    )
    frame = table(summaries(records + reference_arms(records, close), close))
    for target in close:
        assert f"{target}: decisions %" in frame
        assert f"constant, {target}" in set(frame["arm"])


def test_a_coin_is_a_coin_however_its_numbers_round() -> None:
    records = measured(
        Simulated("homo_moralis", {"kappa": 0.5}, 0.1),
        draw_problems("drawn", 12, 1, HALF, 2, ["payoffs"]),
    )
    for r in records:
        exact = np.full(len(r["strategies"]), 1 / len(r["strategies"]))
        noise = 1e-12 * np.cos(np.arange(len(exact)))
        for target in HALF:
            found = by_decision({**r, "probabilities": (exact + noise).tolist()}, target)
            assert found == by_decision({**r, "probabilities": exact.tolist()}, target)


def test_single_decisions_are_judged_by_hand() -> None:
    record = {
        "id": "a",
        "game": "spd",
        "payoffs": [80, 65, 25, 20],
        "beliefs": [0.5, 0.5, 0.5],
        "strategies": ["CCC", "CCD", "CDC", "CDD", "DCC", "DCD", "DDC", "DDD"],
        "probabilities": [0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4],
    }
    # homo moralis .5 chooses CCD (facts of the game), homo economicus DDD
    assert by_decision(record, moralis(0.5)) == 1
    assert by_decision(record, ECONOMICUS) == pytest.approx(1 / 3)
    # a coin between the two: half right where they differ
    record["probabilities"] = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    assert by_decision(record, ECONOMICUS) == pytest.approx(2 / 3)
    found = agreement([record], moralis(0.5), [ECONOMICUS])
    assert found["accuracy"]["mean"] == found["mass"]["mean"] == 0.5
    assert found["decisions_where_they_differ"]["mean"] == pytest.approx(2 / 3)
    assert agreement([record], moralis(0.01), [ECONOMICUS])["where_they_differ"] is None


# --------------------------------------------------------------------- validity, baselines, targets


def test_who_answers_outside_the_form_has_no_figures_and_is_no_baseline() -> None:
    problems = draw_problems("drawn", 20, 1, HALF, 3, ["payoffs"])
    arms = {
        name: measured(chooser, problems, name)
        for name, chooser in (
            ("base", FirstListed(0.4)),
            ("placebo", FirstListed(0.9)),
            ("tuned", Simulated("homo_moralis", {"kappa": 0.5}, 0.1)),
        )
    }
    records = [r for several in arms.values() for r in several]
    rows = summaries(records, HALF)
    add_shifts(rows, records, ["base", "placebo"], ["tuned"], HALF)
    base, placebo, tuned = rows
    assert base["outside"]
    assert base["targets"] == {}
    assert "fits" not in base
    assert base["valid_answer_probability"] == pytest.approx(0.4)
    assert base["comprehension"] == pytest.approx(0.3)
    assert not placebo["outside"]
    assert set(tuned["shift"]) == {"placebo"}  # never against answers that are not there
    by_hand = [
        by_decision(a, moralis(0.5)) - by_decision(b, moralis(0.5))
        for a, b in zip(arms["tuned"], arms["placebo"], strict=True)
    ]
    found = tuned["shift"]["placebo"][str(moralis(0.5))]
    assert found["mean"] == pytest.approx(np.mean(by_hand))
    assert found["se"] == pytest.approx(np.std(by_hand, ddof=1) / 20**0.5)
    assert "shift" not in base
    frame = table(rows).set_index("arm")
    assert frame.loc["base", "note"] == OUTSIDE
    assert set(
        frame.loc[
            "base",
            [c for c in frame.columns if c not in ("set", "mode", "valid %", "control %", "note")],
        ]
    ) == {""}
    assert str(frame.loc["base", "valid %"]).startswith("40")
    assert str(frame.loc["placebo", "valid %"]).startswith("90")


def test_the_border_of_the_form() -> None:
    assert [outside(v) for v in (0.0, 0.499, float("nan"), 0.5, 1.0)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_pages_without_an_answer_are_left_out_and_counted() -> None:
    problems = draw_problems("drawn", 8, 1, HALF, 3, ["payoffs"])

    class Silent(FirstListed):
        def score(self, requests: list[Request], arm: Condition, seed: int = 0) -> list[Answer]:
            found = super().score(requests, arm, seed)
            return [
                a if i >= 2 else Answer(None, 0 * a.valid, 0 * a.controls, 0 * a.controls)
                for i, a in enumerate(found)
            ]

    records = measured(Silent(), problems)
    assert records[0]["probabilities"] is None
    assert records[0]["position_bias"] is None
    assert all(r["probabilities"] is not None for r in records[1:])
    (row,) = summaries(records, HALF)
    assert row["answered"] == 7
    assert row["decisions"] == 8
    assert row["valid_answer_probability"] == pytest.approx(0.8 * 7 / 8)


def test_targets_and_the_told_base() -> None:
    arms = told_conditions(
        [
            moralis(0.5),
            Target.parse("fehr_schmidt:alpha=0.5"),
            Target.parse("fehr_schmidt:beta=0.5"),
        ]
    )
    assert arms[0].name == "base, told moralis 0.5"
    assert len({a.name for a in arms}) == 3
    assert [a.adapter for a in arms] == [None] * 3
    assert arms[0].system == moralis(0.5).describe()
    with pytest.raises(InputError, match="given twice"):
        told_conditions([moralis(0.5), moralis(0.5)])


def test_a_target_that_is_none_of_ours_is_no_target(tmp_path: Path) -> None:
    """Data of one's own may call anything a target; their adapter is measured all the same."""
    for named, known in (("sentiment", None), ("homo_economicus", ECONOMICUS), (3, None)):
        write_json(tmp_path / "run.json", {"target": named})
        assert Adapter("own", tmp_path).target == known


def test_a_placebo_is_known_by_its_record(tmp_path: Path) -> None:
    assert not Adapter("x", tmp_path).placebo
    for run_record, said in (
        ({"shuffled": True}, True),
        ({"shuffled": False}, False),
        ({}, False),
        ([], False),
        ({"shuffled": "yes"}, False),
    ):
        (tmp_path / "run.json").write_text(json.dumps(run_record))
        assert Adapter("x", tmp_path).placebo is said


def test_adapters_bring_their_targets_and_placebos_do_not(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two adapters by their records, one the other's placebo: targets, baselines, shifts."""
    folders = {}
    for name, about in (
        ("kind", {"target": "fehr_schmidt:beta=0.6"}),
        ("shuffled", {"target": "homo_moralis:kappa=0.3", "shuffled": True}),
    ):
        folders[name] = tmp_path / name
        shutil.copytree(adapter, folders[name])
        (folders[name] / "run.json").write_text(json.dumps(about))
    config = json.loads((folders["shuffled"] / "adapter_config.json").read_text())
    (folders["shuffled"] / "adapter_config.json").write_text(
        json.dumps(config | {"lora_alpha": 2 * config["lora_alpha"]})
    )
    words = (
        "--adapter",
        folders["kind"],
        "--adapter",
        folders["shuffled"],
        "--items",
        2,
        "--pairs",
        1,
        "--sets",
        "payoffs",
        "--out",
        tmp_path / "m",
    )
    call(command.main, *words)
    assert read_json(tmp_path / "m" / "run.json")["targets"] == [
        "homo_economicus",
        "homo_moralis:kappa=0.5",
        "fehr_schmidt:beta=0.6",
    ]
    rows = {r["arm"]: r for r in read_json(tmp_path / "m" / "summary.json")}
    assert [name for name in rows if rows[name]["mode"] != "rule"] == ["base", "shuffled", "kind"]
    assert rows["shuffled"]["placebo"]
    assert not rows["kind"]["placebo"]
    assert "shift" not in rows["shuffled"]
    records = {(r["arm"], r["id"]): r for _, r in read_lines(tmp_path / "m" / "choices.jsonl")}
    assert len(records) == 6
    for item in {i for _, i in records}:  # every arm is its own weights
        for one, other in (("base", "kind"), ("base", "shuffled"), ("kind", "shuffled")):
            assert records[one, item]["probabilities"] != records[other, item]["probabilities"]
    assert "payoffs" in capsys.readouterr().out


# --------------------------------------------------------------------------------- problems, resume


def test_problems_are_held_out_counterbalanced_and_clear() -> None:
    problems = draw_problems("drawn", 40, 2, HALF, 3)
    assert problems == draw_problems("drawn", 40, 2, HALF, 3)
    assert {p.set for p in problems} == {"payoffs", "wordings"}
    for p in problems:
        assert len(p.layouts) == 4
        assert all(
            a.labels[0] == b.labels[0][::-1]
            for a, b in zip(p.layouts[::2], p.layouts[1::2], strict=True)
        )
        assert {a.wording for a in p.layouts} <= set(
            WORDINGS_TRAIN if p.set == "payoffs" else WORDINGS_HELD_OUT
        )
        game, payoffs, beliefs = p.item.protocol.game, p.item.protocol.payoffs, p.item.beliefs or ()
        own = sorted(expected(game, payoffs, plan, beliefs, lambda m, n: m) for plan in plans(game))
        assert own[-1] - own[-2] > 0
    assert len({p.item.protocol for p in draw_problems("games18", 18, 1, HALF, 3)}) == 18


def test_changed_settings_keep_the_decision() -> None:
    sets = ("payoffs", "turns", "scale", "currency")
    problems = draw_problems("drawn", 6, 1, HALF, 0, sets)
    asked = requests_of(problems, Condition("told", None, "Be brief."), "direct", "given", 1)
    names = [p.set for p in problems for _ in p.layouts]
    pages = {name: [r for n, r in zip(names, asked, strict=True) if n == name] for name in sets}
    for plain, turns, scale, currency in zip(*pages.values(), strict=True):
        assert plain.item == turns.item == scale.item == currency.item
        assert (
            plain.conversation.questions
            == turns.conversation.questions
            == scale.conversation.questions
            == currency.conversation.questions
        )
        opening = turns.conversation.opening()
        assert [m["role"] for m in opening] == [
            "system",
            "user",
            "assistant",
            "user",
            "assistant",
            "user",
        ]
        assert [opening[0], opening[-1]] == plain.conversation.opening()
        largest = max(plain.item.protocol.payoffs) / 5
        assert f" {10 * largest:g}" in "\n".join(lines_of(scale.conversation.page)[2])
        assert (
            currency.conversation.page.replace("3 rupees", plain.layout.rate)
            == plain.conversation.page
        )


def test_a_changed_character_is_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = draw_problems("drawn", 4, 1, HALF, 0, ["payoffs"])

    def key(arm: Condition = BASE, mode: Any = "direct", beliefs: str = "given") -> str:
        return prompt_hash(r.conversation for r in requests_of(problems, arm, mode, beliefs, 1))

    before = key()
    assert key() == before
    assert (
        len(
            {
                before,
                key(mode="reasoned"),
                key(beliefs="uniform"),
                key(Condition("told", None, "Be brief.")),
            }
        )
        == 4
    )
    name = problems[0].layouts[0].wording
    for field in ("opening", "rate", "outcome", "ask_second"):
        changed = WORDINGS[name].__dict__[field].replace(".", " .", 1).replace("?", " ?", 1)
        with monkeypatch.context() as patch:
            patch.setitem(prompts.WORDINGS, name, replace(WORDINGS[name], **{field: changed}))
            assert key() != before, field
    assert key() == before


class Counting:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, requests: list[Request], condition: Condition, seed: int = 0) -> list[Answer]:
        self.asked.append(len(requests))
        return [
            replace(
                Simulated("homo_moralis", {"kappa": 0.5}, 0.1).score([r], condition)[0],
                texts=(f"text {len(self.asked)}-{i}",),
            )
            for i, r in enumerate(requests)
        ]

    def write(
        self, conversations: Any, condition: Condition, seed: int, longest: int = 0
    ) -> list[str]:
        self.asked.append(len(conversations))
        return [f"reply {len(self.asked)}-{i}" for i in range(len(conversations))]


class Owner:
    """One owner a condition, or all the same."""

    def of(self, condition: Condition) -> str:
        return condition.adapter or "base"


def test_a_changed_question_is_asked_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    requests = requests_of(draw_problems("drawn", 3, 1, HALF, 0, ["payoffs"]), BASE, "direct")
    engine = Counting()

    def fresh(sampled: bool = False) -> Remembering:
        return Remembering(tmp_path / "answers", Owner(), lambda: engine, sampled)

    first = fresh().score(requests, BASE, 0)
    again = fresh().score(requests, BASE, 7)  # nothing is sampled, so that the seed does not matter
    assert engine.asked == [6]
    assert all(
        (a.probabilities == b.probabilities).all() and a.texts == b.texts
        for a, b in zip(first, again, strict=True)
    )
    talk = requests[2].conversation
    question = talk.questions[0]
    changes = (
        replace(talk, page=talk.page + " "),
        replace(
            talk,
            questions=(
                replace(question, text=question.text.replace("?", "??")),
                *talk.questions[1:],
            ),
        ),
        replace(
            talk,
            questions=(
                replace(question, options=("1", *question.options[1:])),
                *talk.questions[1:],
            ),
        ),
        replace(talk, before=(("system", "Be brief."),)),
    )
    for n, changed in enumerate(changes, start=1):
        fresh().score(
            [replace(r, conversation=changed) if r is requests[2] else r for r in requests], BASE, 0
        )
        assert engine.asked == [6] + [1] * n
    fresh().score(requests, Condition("tuned", "tuned"), 0)  # other weights
    assert engine.asked[-1] == 6
    # a line that was cut short is asked again as a whole
    path = tmp_path / "answers" / "base.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0][: len(lines[0]) // 2])
    fresh().score(requests, BASE, 0)
    assert engine.asked[-1] == 6
    assert path.read_bytes() == lines[0].replace(b"text 1-", b"text 7-")


def test_what_is_sampled_is_kept_by_seed_and_like_pages_are_drawn_apart(tmp_path: Path) -> None:
    (request, *_) = requests_of(
        draw_problems("drawn", 1, 1, HALF, 0, ["payoffs"]), BASE, "direct", samples=3
    )
    engine = Counting()

    def fresh(*how: int) -> Remembering:
        return Remembering(tmp_path / "answers", Owner(), lambda: engine, True, how)

    two = fresh().score([request, request], BASE, 0)
    assert two[0].texts != two[1].texts
    assert [a.texts for a in fresh().score([request, request], BASE, 0)] == [a.texts for a in two]
    fresh().score([request], BASE, 1)
    fresh(9).score([request], BASE, 0)  # another --seed
    fresh().score([replace(request, samples=4)], BASE, 0)
    assert engine.asked == [2, 1, 1, 1]
    pages = [[{"role": "user", "content": "Write a poem."}]] * 2
    assert (
        fresh().write(pages, BASE, 3) == fresh().write(pages, BASE, 3) == ["reply 5-0", "reply 5-1"]
    )
    fresh().write(pages, BASE, 4)
    assert engine.asked == [2, 1, 1, 1, 2, 2]


def test_sampled_answers_and_exact_ones_do_not_mix(tmp_path: Path) -> None:
    """A server that could not give exact ones yesterday may today."""
    requests = requests_of(draw_problems("drawn", 2, 1, HALF, 0, ["payoffs"]), BASE, "direct")

    outcomes: dict[Any, int] = {}

    class Now(Counting):
        def score(
            self, requests: list[Request], condition: Condition, seed: int = 0
        ) -> list[Answer]:
            found = super().score(requests, condition, seed)
            return [replace(a, outcomes=dict(outcomes)) for a in found]

    engine = Now()

    def fresh() -> Remembering:
        return Remembering(tmp_path / "answers", Owner(), lambda: engine, True)

    fresh().score(requests[:2], BASE, 0)
    outcomes["answered"] = 1
    assert len(fresh().score(requests[:2], BASE, 0)) == 2  # nothing is asked
    with pytest.raises(InputError, match="they do not mix"):
        fresh().score(requests, BASE, 0)
    later = fresh()
    later.score(requests[:2], BASE, 0)
    with pytest.raises(InputError, match="they do not mix"):
        later.score(requests, Condition("tuned", "tuned"), 0)


def test_samples_that_are_asked_for_are_not_what_a_server_decided(tmp_path: Path) -> None:
    """Exact answers of a server are not taken for replies that were sampled later."""

    def how(**options: Any) -> list[object]:
        config = GamesConfig(out=tmp_path, **options)
        return Session(config, (), Console(quiet=True)).remembering.how

    there: dict[str, Any] = {"endpoint": "http://127.0.0.1:9", "model": "nano"}
    assert how(**there) == how(model="nano")
    assert how(**there, replies="sampled") != how(**there)


def test_what_an_endpoint_lost_is_asked_again(tmp_path: Path) -> None:
    requests = requests_of(draw_problems("drawn", 1, 1, HALF, 0, ["payoffs"]), BASE, "direct")

    class Losing(Counting):
        def score(
            self, requests: list[Request], condition: Condition, seed: int = 0
        ) -> list[Answer]:
            found = super().score(requests, condition, seed)
            return [
                replace(a, probabilities=None) if i == len(self.asked) - 1 else a
                for i, a in enumerate(found)
            ]

    engine = Losing()
    for _ in range(3):
        Remembering(tmp_path, Owner(), lambda: engine, False).score(requests, BASE, 0)
    assert engine.asked == [2, 1]


def test_beliefs_that_are_asked_for_belong_to_what_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    games = Games(
        GamesConfig(
            simulate="alpha=0,beta=0,kappa=0.5,lambda=0.1",
            out=Path("x"),
            beliefs="elicited",
            items=1,
        )
    )
    problem = games.draw()[0]

    def key() -> str:
        return prompt_hash(r.conversation for r in games.requests(problem, BASE, "direct"))

    before, question = key(), prompts.belief_question
    monkeypatch.setattr(
        prompts,
        "belief_question",
        lambda layout, k: replace(question(layout, k), text=question(layout, k).text + " "),
    )
    assert key() != before


def test_differences_that_are_more_than_rounding() -> None:
    one = Answer(np.array([0.5, 0.5]), np.ones(1))
    assert not differ(one, replace(one, probabilities=np.array([0.5 + 1e-8, 0.5 - 1e-8])))
    assert differ(one, replace(one, probabilities=np.array([0.6, 0.4])))
    assert differ(one, replace(one, valid=np.array([0.9])))
    assert differ(one, replace(one, probabilities=None))
    assert not differ(replace(one, probabilities=None), replace(one, probabilities=None))


# ------------------------------------------------------------------------------------------- models


def test_derivations_repeat_and_beliefs_can_be_asked_for(adapter: Path) -> None:
    engine = Transformers("nano", {"tuned": adapter})
    problems = draw_problems("drawn", 2, 1, HALF, 6)[:2]
    once, again = (measure(engine, problems, BASE, "reasoned", "given", 2, 1, 60) for _ in range(2))
    assert once == again
    assert all(1 <= len(page["texts"]) <= 2 for r in once for page in r["pages"])
    assert all(
        0 <= v <= 1
        for r in once
        for v in (r["valid_answer_probability"], r["comprehension"], *r["valid_by_decision"])
    )
    elicited = measure(engine, problems, BASE, "direct", "elicited", 1)
    assert all(0 <= b <= 1 for r in elicited for b in r["beliefs"])
    assert elicited[0]["beliefs"] != list(problems[0].item.beliefs or ())


def test_measuring_twice_reads_what_was_measured(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--adapter", adapter, "--items", 2, "--pairs", 1, "--out", tmp_path / "m")
    call(command.main, *words)
    choices = (tmp_path / "m" / "choices.jsonl").read_bytes()
    assert len(list((tmp_path / "m" / "answers").iterdir())) == 2  # the base's, the adapter's
    for finished in ("choices.jsonl", "run.json"):
        (tmp_path / "m" / finished).unlink()
    assert "engine:" in capsys.readouterr().out
    call(command.main, *words)
    assert "engine:" not in capsys.readouterr().out  # no model was loaded
    assert (tmp_path / "m" / "choices.jsonl").read_bytes() == choices
    record = json.loads(choices.splitlines()[0])
    assert len(protocol_of(record).payoffs) == 4
    assert {"valid_answer_probability", "valid_by_decision", "comprehension"} <= set(record)


def test_adapter_that_changes_nothing_is_refused(empty_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every probability equals the base's"):
        call(
            command.main,
            "--adapter",
            empty_adapter,
            "--items",
            2,
            "--pairs",
            1,
            "--out",
            tmp_path / "m",
        )
    assert not (tmp_path / "m" / "summary.json").exists()


def test_wrong_adapters_are_refused(adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    config = read_json(other / "adapter_config.json")
    (other / "adapter_config.json").write_text(json.dumps({**config, "r": 3}))
    with pytest.raises(InputError, match="does not fit"):
        call(command.main, "--adapter", other, "--items", 2)
    (other / "adapter_model.safetensors").rename(other / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model\.safetensors"):
        call(command.main, "--adapter", other)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--adapter", "nowhere"), ("nowhere", "does not exist")),
        (("--model", "gpt-17", "--out", "{out}"), ("unknown model",)),
        (("--model", "nano"), ("--out",)),
        ((), ("--adapter",)),
        (("--simulate", "kappa=0.5", "--out", "{out}"), ("lambda",)),
        (("--simulate", "kappa=a,lambda=1", "--out", "{out}"), ("kappa=a",)),
        (("--model", "nano", "--kappa", "2", "--out", "{out}"), ("[0, 1]",)),
        (("--model", "nano", "--items", "0", "--out", "{out}"), ("--items",)),
        (("--model", "nano", "--targets", "homo_ludens", "--out", "{out}"), ("homo_ludens",)),
        (("--model", "nano", "--longest", "0", "--out", "{out}"), ("--longest",)),
        # options that would do nothing
        (
            ("--model", "nano", "--kappa", ".3", "--targets", "homo_economicus", "--out", "{out}"),
            ("--kappa", "--targets"),
        ),
        (
            ("--model", "nano", "--battery", "games18", "--games", "tg", "--out", "{out}"),
            ("--games", "games18"),
        ),
        (("--simulate", "kappa=.5,lambda=1", "--prompted", "--out", "{out}"), ("--prompted",)),
        (("--model", "nano", "--served", "m", "--out", "{out}"), ("--served", "--endpoint")),
        (
            ("--model", "nano", "--vllm", "seed=1", "--engine", "transformers", "--out", "{out}"),
            ("--vllm",),
        ),
        (
            ("--served", "m", "--endpoint", "http://x", "--engine", "vllm", "--out", "{out}"),
            ("--engine", "--endpoint"),
        ),
        (("--model", "nano", "--temperature", "-1", "--out", "{out}"), ("--temperature",)),
        (
            ("--model", "nano", "--temperature", "0", "--samples", "2", "--out", "{out}"),
            ("--temperature 0",),
        ),
    ],
)
def test_bad_options_are_refused(
    options: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        call(command.main, *(word.format(out=tmp_path) for word in options))
    assert all(part in str(refusal.value) for part in parts)


def test_the_command_complains_in_one_line() -> None:
    assert_complains(
        run("-m", "eval.games", "--model", "nano", "--top-p", "1", "--out", "x"), "--top-p"
    )


def test_battery_all_is_one_command(tmp_path: Path) -> None:
    call(
        command.main,
        "--simulate",
        "alpha=0.1,beta=0.2,lambda=0.05",
        "--battery",
        "all",
        "--items",
        18,
        "--pairs",
        1,
        "--out",
        tmp_path,
    )
    assert {row["battery"] for row in read_json(tmp_path / "menus" / "summary.json")} == set(MENUS)
    assert len(read_json(tmp_path / "summary.json")) > 0


def test_an_adapter_whose_name_has_a_dot(adapter: Path, tmp_path: Path) -> None:
    """As in ``runs/qwen2.5-7b-homo_moralis-k0.5``: PEFT refuses such names, we must not."""
    dotted = tmp_path / "nano-k0.5-n25"
    shutil.copytree(adapter, dotted)
    call(command.main, "--adapter", dotted, "--items", 2, "--pairs", 1, "--out", tmp_path / "out")
    assert {row["arm"] for _, row in read_lines(tmp_path / "out" / "choices.jsonl")} == {
        "base",
        "nano-k0.5-n25",
    }


def test_errors_notice_that_an_estimate_rests_on_few_decisions() -> None:
    """A real adapter that takes nearly every decision with certainty: clustered errors would be a
    third of those by the jackknife, and their interval would leave out its target, kappa 0.
    """
    path = ROOT / "results" / "real" / "smollm2-135m-two-stages" / "games.jsonl"
    rows = [row for _, row in read_lines(path) if row["arm"] == "economicus"]
    decisions = [read_decision(dict(row)) for row in rows if row["mode"] == "reasoned"]
    assert len(decisions) == 24
    kinds = {kind: fit(decisions, "homo_moralis", kind) for kind in ("clustered", "jackknife")}
    found = structural(decisions, "homo_moralis")["estimates"]["kappa"]
    assert found["se"] == kinds["jackknife"].se["kappa"] > 3 * kinds["clustered"].se["kappa"]
    low, high = kinds["jackknife"].interval("kappa")
    assert low < 0 < high
    assert kinds["clustered"].interval("kappa")[1] < 0
    many = [row | {"id": f"{row['id']} {k}"} for k in range(2) for row in rows]
    both = [read_decision(dict(row)) for row in many]
    clustered = fit(both, "homo_moralis")
    assert structural(both, "homo_moralis")["estimates"]["kappa"]["se"] == clustered.se["kappa"]


def test_a_sharp_chooser_responds() -> None:
    """The jackknife's error of lambda is large because single choices were uncertain, not because
    choices hardly respond: the log-likelihood is 16 above a coin's.
    """
    path = ROOT / "results" / "real" / "smollm2-135m-four-stages" / "games.jsonl"
    rows = [row for _, row in read_lines(path) if row["arm"] == "moralis"]
    decisions = [read_decision(dict(row)) for row in rows]
    found = fit(decisions, "homo_moralis", "jackknife")
    assert found.log_likelihood > found.null_log_likelihood + 16
    assert found.estimates["lambda"] < 2 * found.se["lambda"]
    assert structural(decisions, "homo_moralis")["estimates"]["kappa"]["se"] == found.se["kappa"]
