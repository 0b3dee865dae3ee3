"""One-page decisions: known choosers come back, habits cancel,
human numbers stand where they belong, adapters must act.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import measure_menus as measure
from conftest import assert_complains, call
from console import here
from test_prompts import LABEL, NUMBER

from econmoral.economics.human import binary_dictator_games, reference
from econmoral.estimation.estimate import allocations, fit, restrict
from econmoral.files.records import InputError, read_json, read_lines
from econmoral.instruments.menus import (
    ALTRUIST,
    FRAMES,
    HELD_OUT,
    MENUS,
    SPITEFUL,
    TRAIN,
    Menu,
    MenuPage,
    allocation_held_out,
    draw_allocation,
    draw_page,
    is_allocation,
    menu_conversation,
    mirror_page,
    own_allocation,
)
from econmoral.target import ECONOMICUS, Target
from eval import menus as command
from eval.engines.base import Answer, Condition, Request
from eval.estimate import Estimate, one_by_one, shown
from eval.figure import weights_of
from eval.menus import AllocationChooser, summarise
from eval.shifts import shift_table

ALL = [menu for several in MENUS.values() for menu in several]
EVERY = (*TRAIN, *HELD_OUT)
ALLOCATED = ("allocations", "bfs39", "trust")


def pages_of(battery: str, pairs: int = 1, seed: int = 0) -> list[tuple[Menu, list[MenuPage]]]:
    rng = np.random.default_rng(seed)
    drawn = [(menu, draw_page(menu, rng)) for menu in MENUS[battery] for _ in range(pairs)]
    return [(menu, [page, mirror_page(page)]) for menu, page in drawn]


# -------------------------------------------------------------------------------------------- pages


def test_every_menu_is_well_formed() -> None:
    assert len({menu.id for menu in ALL}) == len(ALL)
    assert {battery: len(menus) for battery, menus in MENUS.items()} == {
        "allocations": 144,
        "bfs39": 39,
        "dictator": 5,
        "ultimatum": 6,
        "public-goods": 4,
        "matrix": 5,
        "trust": 10,
        "garp": 20,
        "spillover": 60,
    }
    for menu in ALL:
        assert menu.size == len(menu.values) >= 2
        assert all(len(x) in (0, menu.size) for x in (menu.own, menu.other, menu.bundles))
        assert bool(menu.options) != bool(menu.amounts)
        assert all(
            0 <= right < len(numbers) and list(numbers) == sorted(set(numbers))
            for _, numbers, right in menu.controls
        )


@pytest.mark.parametrize("wording", EVERY)
def test_every_page_names_every_option_once(wording: int) -> None:
    rng = np.random.default_rng(0)
    for menu in ALL:
        page = draw_page(menu, rng, (wording,))
        talk = menu_conversation(menu, page, "reasoned")
        (question,) = talk.questions
        for text in (talk.page, talk.work or "", question.text, *(q.text for q in talk.controls)):
            assert not re.search(r"[{}]|  |\.\.|None|\d\.0\b", text), text
        assert question.text.endswith(
            "Reply with the number only." if menu.amounts else "Reply with the letter only."
        )
        assert len(set(question.options)) == menu.size
        assert sorted(page.order) == list(range(menu.size))
        if menu.amounts:
            assert [float(o) for o in question.options] == [menu.amounts[k] for k in page.order]
            for option in question.options:
                assert re.search(rf"\b{re.escape(option)}\b", talk.page)
            continue
        assert question.options == tuple(page.labels[k] for k in page.order)
        assert LABEL.findall(question.text) == list(question.options)
        lines = talk.page.split("\n")[1:]
        assert [LABEL.findall(line)[0] for line in lines] == list(question.options)
        if is_allocation(menu):
            listed = [tuple(map(float, re.findall(r"\d+(?:\.\d+)?", line))) for line in lines]
            assert listed == [(menu.own[k], menu.other[k]) for k in page.order]
            assert page.rate in talk.page
        else:
            assert [
                line.endswith(menu.options[k].format(*page.labels))
                for k, line in zip(page.order, lines, strict=True)
            ] == [True] * menu.size


@pytest.mark.parametrize("wording", EVERY)
def test_control_questions_of_allocations_are_answered_by_the_page(wording: int) -> None:
    rng = np.random.default_rng(1)
    for battery in ALLOCATED:
        for menu in MENUS[battery][:20]:
            page = draw_page(menu, rng, (wording,))
            talk = menu_conversation(menu, page)
            table = {
                LABEL.findall(line)[0]: re.findall(r"\d+(?:\.\d+)?", line)
                for line in talk.page.split("\n")[1:]
            }
            assert len(talk.controls) == 2
            for role, question in enumerate(talk.controls):  # what I get, then what the other gets
                (label,) = LABEL.findall(question.text)
                assert question.right is not None
                assert question.options[question.right] == table[label][role]
                assert [float(o) for o in question.options] == sorted(
                    {float(v) for both in table.values() for v in both}
                )
                assert question.text.endswith("Reply with the number only.")
            assert LABEL.findall(talk.controls[0].text) != LABEL.findall(talk.controls[1].text)


def test_control_questions_of_the_other_menus_are_right_by_hand() -> None:
    """Each family of sentences read back here and answered from the situation's own numbers."""
    checked = 0
    for battery in ("dictator", "ultimatum", "public-goods", "matrix", "garp"):
        for menu in MENUS[battery]:
            page = draw_page(menu, np.random.default_rng(2))
            talk = menu_conversation(menu, page)
            given = [float(n) for n in re.findall(r"\d+(?:\.\d+)?", talk.page.split("\n")[0])]
            assert len(talk.controls) == 2
            for question in talk.controls:
                text, numbers = (
                    question.text,
                    [float(n) for n in re.findall(r"\d+(?:\.\d+)?", question.text)],
                )
                if battery == "dictator":
                    right = given[0] if "nothing" in text else 0.0
                elif battery == "ultimatum":
                    if "rejected" in text:
                        right = 0.0
                    elif "offer nothing" in text:
                        right = given[0]
                    else:  # the smallest offer that is accepted, and an offer
                        least, offer = numbers if "nothing below" in text else (0.0, numbers[0])
                        right = offer if offer >= least else 0.0
                elif battery == "public-goods":
                    right = 20.0
                elif battery == "matrix":
                    mine, theirs = LABEL.findall(text)
                    found = re.search(
                        rf"If you choose {mine} and the other person chooses {theirs}, you get "
                        r"(\d+)",
                        talk.page,
                    )
                    assert found
                    right = float(found[1])
                else:
                    words = re.search(
                        rf"A token that you {'keep' if 'keep' in text else 'give'} is worth (\d+) "
                        r"point",
                        talk.page,
                    )
                    assert words
                    right = float(words[1])
                assert question.right is not None
                assert float(question.options[question.right]) == right, text
                checked += 1
    assert checked == 80


def test_pages_are_counterbalanced() -> None:
    for menu in ALL:
        page = draw_page(menu, np.random.default_rng(1))
        twin = mirror_page(page)
        assert mirror_page(twin) == page
        one, other = (menu_conversation(menu, p).questions[0].options for p in (page, twin))
        if menu.amounts:
            assert one == other[::-1]
        else:  # the same letter stands first, for the other option
            assert one == other
            assert page.order == twin.order[::-1]
            assert page.labels[page.order[0]] == twin.labels[twin.order[0]]


def test_held_out_wordings_are_other_sentences() -> None:
    assert len(TRAIN) >= 3
    assert len(HELD_OUT) >= 2
    for held in HELD_OUT:
        for train in TRAIN:
            for name in (
                "rate",
                "allocation",
                "line",
                "split",
                "pick",
                "work",
                "control_own",
                "control_other",
            ):
                assert getattr(FRAMES[held], name) != getattr(FRAMES[train], name)


@pytest.mark.parametrize(
    "target", [ECONOMICUS, ALTRUIST, SPITEFUL, Target.parse("maximin:delta=0.5")], ids=str
)
def test_random_allocations_tell_targets_apart(target: Target) -> None:
    rng = np.random.default_rng(3)
    menus = [draw_allocation(rng, bool(i % 2), target) for i in range(120)]
    rivals = (ALTRUIST, SPITEFUL) if target == ECONOMICUS else (ECONOMICUS,)
    apart = []
    for i, menu in enumerate(menus):
        assert allocation_held_out(menu.own, menu.other) == bool(i % 2)
        # in either order
        assert allocation_held_out(menu.own[::-1], menu.other[::-1]) == bool(i % 2)
        assert all(v.is_integer() and 1 <= v <= 99 for v in (*menu.own, *menu.other))
        gaps = [
            np.diff(t.of_allocations(np.array(menu.own), np.array(menu.other)))[0]
            for t in (target, *rivals)
        ]
        assert abs(gaps[0]) >= 3
        apart.append(any(gaps[0] * gap < 0 for gap in gaps[1:]))
    assert np.mean(apart) > 0.4
    share = np.mean(
        [
            allocation_held_out((float(a), float(b)), (float(c), float(d)))
            for a, b, c, d in rng.integers(1, 100, (2000, 4))
        ]
    )
    assert share == pytest.approx(0.2, abs=0.04)
    assert all(allocation_held_out(menu.own, menu.other) for menu in MENUS["allocations"])


def test_budgets_are_exhausted() -> None:
    for menu in MENUS["garp"]:
        costs = np.array(menu.bundles) @ np.array(menu.prices)
        np.testing.assert_allclose(costs, costs[0])


# ------------------------------------------------------------------------------------ human numbers


def test_games_and_human_shares_agree_with_the_reference() -> None:
    games = binary_dictator_games()
    rows = reference("dictator, binary")
    assert len(games) == 39
    first = games[(games["x_own"] == 450) & (games["y_own"] == 210)].iloc[0]
    assert (first["x_other"], first["y_other"], first["session 1"], first["session 2"]) == (
        1020,
        720,
        0.9812,
        0.9875,
    )
    assert games[["session 1", "session 2"]].sum().sum() == pytest.approx(rows["value"].sum())
    shown = {(m.own, m.other): m.human for m in MENUS["bfs39"]}
    assert shown[(45.0, 21.0), (102.0, 72.0)] == pytest.approx((0.9812 + 0.9875) / 2)


@pytest.mark.parametrize(
    ("session", "alpha", "beta"), [("session 1", 0.083, 0.261), ("session 2", 0.098, 0.245)]
)
def test_human_shares_give_the_published_preferences(
    session: str, alpha: float, beta: float
) -> None:
    """The dictator games alone, from shares: near the published estimates from all 117 choices a
    person.
    """
    games = binary_dictator_games()
    x = games[session].to_numpy()
    own, other = games[["x_own", "y_own"]].to_numpy(), games[["x_other", "y_other"]].to_numpy()
    data = allocations(
        own,
        other,
        np.stack([x, 1 - x], 1),
        [str(i) for i in range(len(games))],
        "bruhin_fehr_schunk",
    )
    found = fit(restrict(data, {"gamma": 0.0, "delta": 0.0}))
    assert abs(found.estimates["alpha"] - alpha) < 0.05
    assert abs(found.estimates["beta"] - beta) < 0.05


# -------------------------------------------------------------------------------------- measurement


def ask(*words: object) -> list[dict[str, Any]]:
    """The command in this process; its summary."""
    call(command.main, *words)
    return read_json(Path(str(words[words.index("--out") + 1])) / "summary.json")


def test_a_known_chooser_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--battery",
        "bfs39",
        "garp",
        "--targets",
        "homo_economicus",
        "bruhin_fehr_schunk:alpha=0.1,beta=0.3",
        "--out",
        tmp_path / "m",
    )
    summary = ask("--simulate", "alpha=0.1,beta=0.3,lambda=0.2", *words)
    assert (tmp_path / "m" / "figure.png").read_bytes().startswith(b"\x89PNG")
    rows = {row["battery"]: row for row in summary if row["arm"] == "chooser"}
    floor = {(row["arm"], row["battery"]): row for row in summary if row["arm"] != "chooser"}
    assert floor["coin", "bfs39"]["mean"] == pytest.approx(0.5)
    assert floor["first listed", "bfs39"]["mean"] == pytest.approx(0.5)
    assert floor["first listed", "bfs39"]["position_bias"] == pytest.approx(0.5)
    assert floor["most for itself", "garp"]["ccei"] == pytest.approx(1)
    assert floor["most for itself", "garp"]["mean"] == pytest.approx(0)
    assert floor["most for itself", "bfs39"]["targets"]["homo_economicus"]["accuracy"]["mean"] == 1
    for name, value in (("alpha", 0.1), ("beta", 0.3), ("lambda", 0.2)):
        assert weights_of(rows["bfs39"])[name]["value"] == pytest.approx(value, abs=1e-4)
    assert rows["bfs39"]["valid_answer_probability"] == rows["bfs39"]["comprehension"] == 1
    assert 0.95 < rows["garp"]["ccei"] <= 1  # drawn with a little noise
    assert floor["coin", "garp"]["ccei"] < 0.8
    # what does not read is asked no control question: 100 % right would be a model's best
    assert all(row["comprehension"] is None for row in floor.values())
    assert rows["bfs39"]["correlation_with_humans"] > 0.8
    own = rows["bfs39"]["targets"]["bruhin_fehr_schunk:alpha=0.1,beta=0.3"]
    assert own["accuracy"]["mean"] == own["where_they_differ"]["mean"] == 1
    assert rows["bfs39"]["targets"]["homo_economicus"]["accuracy"]["mean"] < 1
    assert "fits" not in rows["garp"]
    assert len(list(read_lines(tmp_path / "m" / "choices.jsonl"))) == 59
    assert "bfs 0.1 0.3" in capsys.readouterr().out


def test_the_families_of_the_targets_are_estimated_too() -> None:
    """Whatever was the target, its own parameters are found; those about acts of the other's, which
    do not occur, are left out."""
    pages = pages_of("bfs39")
    truth = {"alpha": 0.1, "beta": 0.3}
    records = measure(AllocationChooser(truth, 0.2), pages, Condition("a"), "direct", 0)
    targets = [
        Target.parse(text)
        for text in (
            "charness_rabin:rho=0.4",
            "fehr_schmidt:beta=0.2",
            "alpha_beta_kappa:beta=0.2",  # has no utility of an allocation alone
            "homo_economicus",  # has no parameter
        )
    ]
    (row,) = summarise(records, {}, targets)
    wanted = {
        "bruhin_fehr_schunk": {"alpha": 0.1, "beta": 0.3, "lambda": 0.2},
        "charness_rabin": {"rho": 0.3, "sigma": 0.1, "lambda": 0.2},
        "fehr_schmidt": {"alpha": -0.1, "beta": 0.3, "lambda": 0.2},
    }
    assert list(row["fits"]) == list(wanted)
    for family, values in wanted.items():
        found = {k: v["value"] for k, v in row["fits"][family]["estimates"].items()}
        assert found == pytest.approx(values, abs=1e-4)
    names = {e.name for e in command.estimates(row)}
    assert {"bruhin_fehr_schunk: alpha", "charness_rabin: rho"} < names
    assert "charness_rabin rho 0.30 ± " in command._cells(row)[-1]
    assert "gamma" not in command._cells(row)[-1]


def test_a_parameter_that_touches_no_choice_hides_no_other() -> None:
    """Whoever is always ahead says nothing of alpha, and all the same of beta."""
    rng = np.random.default_rng(0)
    menus = [own_allocation(f"m{k}", [60 + 3 * k, 50], [10 + k, 30 + k]) for k in range(12)]
    asked = [(m, [page, mirror_page(page)]) for m in menus for page in [draw_page(m, rng)]]
    records = measure(
        AllocationChooser({"alpha": 0.1, "beta": 0.3}, 0.02), asked, Condition("a"), "direct", 0
    )
    fit = command.fit_of(menus, records, "bruhin_fehr_schunk")
    found = {k: v["value"] for k, v in fit["estimates"].items()}
    assert found == pytest.approx({"beta": 0.3, "lambda": 0.02}, abs=1e-4)
    assert shown(fit, "alpha") == "not id."
    (silent, *others) = one_by_one({"bruhin_fehr_schunk": fit}, 12, Estimate)
    assert (silent.name, silent.value) == ("bruhin_fehr_schunk: alpha", None)
    assert silent.why == "no choice depends on it"
    assert [e.name.split()[-1] for e in others] == ["beta", "lambda"]


class Habit:
    """Takes the first option on the page with probability .9.

    Answers in the form with probability ``valid``.
    """

    def __init__(self, valid: float = 0.6) -> None:
        self.valid = valid

    def score(self, requests: list[Request], arm: Condition, seed: int = 0) -> list[Answer]:
        answers = []
        for r in requests:
            n, controls = len(r.conversation.questions[0].options), len(r.conversation.controls)
            p = np.array([0.9, *[0.1 / (n - 1)] * (n - 1)])
            answers.append(
                Answer(p, np.array([self.valid]), np.full(controls, 0.3), np.full(controls, 0.5))
            )
        return answers


def test_a_habit_is_seen_and_gives_no_preference() -> None:
    for battery in ("spillover", "bfs39", "matrix"):
        records = measure(Habit(), pages_of(battery), Condition("habit"), "direct", 0)
        assert all(r["position_bias"] == pytest.approx(0.4) for r in records)
        assert all(r["valid_answer_probability"] == pytest.approx(0.6) for r in records)
        assert all(p == pytest.approx(0.5) for r in records for p in r["probabilities"])
        assert all(
            r["comprehension"] == (None if battery == "spillover" else pytest.approx(0.3))
            for r in records
        )


def test_who_answers_outside_the_form_has_no_figures() -> None:
    pages = pages_of("bfs39")
    base = {
        r["id"]: r
        for r in measure(AllocationChooser({}, 0.2), pages, Condition("base"), "direct", 0)
    }
    for valid, outside in ((0.49, True), (0.51, False), (float("nan"), True)):
        (row,) = summarise(
            measure(Habit(valid), pages, Condition("habit"), "direct", 0),
            {"base": base},
            [ECONOMICUS],
        )
        assert row["outside"] is outside
        assert ("mean" in row) is not outside
        assert ("fits" in row) is not outside
        assert row["comprehension"] == pytest.approx(0.3)
    # and is no baseline either
    mute = {r["id"]: r for r in measure(Habit(0.1), pages, Condition("base"), "direct", 0)}
    (row,) = summarise(list(base.values()), {"base": mute, "placebo": base}, [])
    assert set(row["difference_to"]) == {"placebo"}
    assert row["difference_to"]["placebo"]["mean"] == 0


class Random:
    """Random choices from budgets."""

    def score(self, requests: list[Request], arm: Condition, seed: int = 0) -> list[Answer]:
        rng = np.random.default_rng(0)
        return [Answer.certain(np.eye(11)[rng.integers(11)], r) for r in requests]


def test_random_choices_fail_the_audit_and_differ_from_the_base() -> None:
    pages = pages_of("garp")
    (row,) = summarise(measure(Random(), pages, Condition("random"), "direct", 0), {}, [])
    assert row["ccei"] < 0.9
    base = {
        r["id"]: r
        for r in measure(AllocationChooser({}, 0.5), pages, Condition("base"), "direct", 0)
    }
    placebo = {r["id"]: r for r in measure(Random(), pages, Condition("placebo"), "direct", 0)}
    kinder = AllocationChooser({"alpha": 0.4, "beta": 0.4}, 0.5)
    (row,) = summarise(
        measure(kinder, pages, Condition("kinder"), "direct", 0),
        {"base": base, "placebo": placebo},
        [],
    )
    assert row["difference_to"]["base"]["low"] > 0
    assert row["difference_to"]["base"]["p"] < 0.01
    assert set(row["difference_to"]) == {"base", "placebo"}


def test_choices_as_a_target_are_compared_menu_by_menu() -> None:
    pages, kind = pages_of("bfs39"), Target.parse("bruhin_fehr_schunk:alpha=0.2,beta=0.5")
    of = {
        name: measure(AllocationChooser(truth, 0.5), pages, Condition(name), "direct", 0)
        for name, truth in (("base", {}), ("tuned", {"alpha": 0.2, "beta": 0.5}))
    }
    base = {r["id"]: r for r in of["base"]}
    mute = {r["id"]: r for r in measure(Habit(0.1), pages, Condition("mute"), "direct", 0)}
    (own,) = summarise(of["base"], {}, [ECONOMICUS, kind])
    (row,) = summarise(of["tuned"], {"base": base, "placebo": mute}, [ECONOMICUS, kind])
    assert set(row["shift"]) == {"base"}  # never against answers that are not there
    targets = row["targets"]
    for target in map(str, (ECONOMICUS, kind)):
        gap = targets[target]["accuracy"]["mean"] - own["targets"][target]["accuracy"]["mean"]
        assert row["shift"]["base"][target]["mean"] == pytest.approx(gap)
    towards, away = (row["shift"]["base"][str(t)] for t in (kind, ECONOMICUS))
    assert towards["mean"] > 0 > away["mean"]
    gaps = []
    for one, two in zip(of["tuned"], of["base"], strict=True):
        menu = next(m for m in MENUS["bfs39"] if m.id == one["id"])
        worth = kind.of_allocations(np.array(menu.own), np.array(menu.other))
        if np.ptp(worth) < 1e-9:  # the target is indifferent
            continue
        best = worth.argmax()
        tops = [np.isclose(p, max(p)) for p in (one["probabilities"], two["probabilities"])]
        a, b = (top[best] / top.sum() for top in tops)
        gaps.append(a - b)
    assert towards["se"] == pytest.approx(np.std(gaps, ddof=1) / len(gaps) ** 0.5)
    head, ((arm, _, *cells),) = shift_table([own, row])
    assert head[2:] == ["as economicus, minus base", "as bfs 0.2 0.5, minus base"]
    shown_there = f"+{100 * towards['mean']:.0f} ± {100 * towards['se']:.0f}"
    assert (arm, cells[1]) == ("tuned", shown_there)
    assert cells[0].startswith("-")


def test_wordings_and_modes_are_measured_as_asked(tmp_path: Path) -> None:
    chooser = (
        "--simulate",
        "alpha=0,beta=0,lambda=0.2",
        "--battery",
        "bfs39",
        "--limit",
        "3",
        "--pairs",
        "2",
    )
    ask(*chooser, "--mode", "direct", "reasoned", "--wordings", "held-out", "--out", tmp_path / "m")
    rows = [row for _, row in read_lines(tmp_path / "m" / "choices.jsonl")]
    assert {(row["id"], row["mode"]) for row in rows} == {
        (f"bfs39-{i}", mode) for i in range(3) for mode in ("direct", "reasoned")
    }
    assert {page["wording"] for row in rows for page in row["pages"]} <= set(HELD_OUT)
    assert all(len(row["pages"]) == 4 for row in rows)


def test_measuring_a_model_continues_and_notices_an_idle_adapter(
    adapter: Path, empty_adapter: Path, tmp_path: Path
) -> None:
    words = (
        "--adapter",
        adapter,
        "--battery",
        "bfs39",
        "--limit",
        "30",
        "--pairs",
        "1",
        "--out",
        tmp_path / "m",
    )
    ask(*words)
    choices = (tmp_path / "m" / "choices.jsonl").read_bytes()
    assert len(choices.splitlines()) == 60
    part = sorted((tmp_path / "m" / "answers").iterdir())[0]
    part.write_bytes(part.read_bytes()[: len(part.read_bytes()) * 9 // 10])
    ask(*words)
    assert (tmp_path / "m" / "choices.jsonl").read_bytes() == choices
    with pytest.raises(InputError, match="every probability equals the base's"):
        ask("--adapter", empty_adapter, "--battery", "matrix", "--out", tmp_path / "e")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ((), "--adapter"), (("--model", "nano"), "--out"),
        (("--simulate", "kappa=1,lambda=1", "--out", "{out}"), "alpha"),
        (("--model", "nano", "--pairs", "0", "--out", "x"), "--pairs"),
        (("--model", "nano", "--longest", "0", "--out", "x"), "--longest"),
        (("--adapter", "nowhere"), "does not exist"),
        (("--simulate", "lambda=1", "--battery", "matrix", "--targets", "homo_ludens", "--out",
            "{out}"), "homo_ludens"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(options: tuple[str, ...], part: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        call(command.main, *(word.format(out=tmp_path) for word in options))
    assert part in str(refusal.value)


def test_the_command_complains_in_one_line() -> None:
    assert_complains(
        here("-m", "eval.menus", "--model", "nano", "--battery", "chess", "--out", "x"), "chess"
    )


def test_numbers_on_pages_are_whole() -> None:
    for menu in MENUS["bfs39"][:5]:
        assert all(
            n.isdigit()
            for n in NUMBER.findall(
                menu_conversation(menu, draw_page(menu, np.random.default_rng(0))).page
            )
        )
