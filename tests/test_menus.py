"""One-page choices: known choosers come back, habits cancel, human numbers stand where they belong, adapters must act."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_complains, run

from econmoral.estimation import allocations, fit, restrict
from econmoral.human import binary_dictator_games, reference
from econmoral.menus import MENUS, WORDINGS, draw_page, menu_answers, mirror_page, render_menu
from econmoral.records import read_json, read_lines
from eval.engines import Answer, Arm, Request
from eval.menus import AllocationChooser, measure, summarise

ALL = [menu for several in MENUS.values() for menu in several]


def pages_of(battery: str, pairs: int = 1, seed: int = 0) -> list[tuple]:
    rng = np.random.default_rng(seed)
    drawn = [(menu, draw_page(menu, rng)) for menu in MENUS[battery] for _ in range(pairs)]
    return [(menu, [page, mirror_page(page)]) for menu, page in drawn]


def test_every_menu_is_well_formed() -> None:
    assert len({menu.id for menu in ALL}) == len(ALL)
    assert {battery: len(menus) for battery, menus in MENUS.items() if battery in ("bfs39", "garp", "spillover")} == {"bfs39": 39, "garp": 20, "spillover": 60}
    rng = np.random.default_rng(0)
    for menu in ALL:
        assert len(menu.options) == len(menu.values) >= 2
        assert all(len(x) in (0, len(menu.options)) for x in (menu.own, menu.other, menu.bundles))
        for _ in range(len(WORDINGS)):
            page = draw_page(menu, rng)
            text = render_menu(menu, page)[0]["content"]
            assert not re.search(r"[{}]", text)
            assert sorted(page.order) == list(range(len(menu.options)))
            assert len(set(menu_answers(page))) == len(menu.options)
            for k, label in enumerate(page.labels):
                shown = menu.options[k].format(*page.labels, c=page.currency)
                assert any(line.format(label=label, text=shown) in text for _, line in WORDINGS), text


def test_pages_are_counterbalanced() -> None:
    for menu in ALL:
        page = draw_page(menu, np.random.default_rng(1))
        twin = mirror_page(page)
        assert mirror_page(twin) == page
        assert page.order[0] == twin.order[-1]
        assert page.labels[0] == twin.labels[-1]


def test_budgets_are_exhausted() -> None:
    for menu in MENUS["garp"]:
        costs = np.array(menu.bundles) @ np.array(menu.prices)
        np.testing.assert_allclose(costs, costs[0])


def test_games_and_human_shares_agree_with_the_reference() -> None:
    games = binary_dictator_games()
    rows = reference("dictator, binary")
    assert len(games) == 39
    first = games[(games["x_own"] == 450) & (games["y_own"] == 210)].iloc[0]
    assert (first["x_other"], first["y_other"], first["session 1"], first["session 2"]) == (1020, 720, 0.9812, 0.9875)
    assert games[["session 1", "session 2"]].sum().sum() == pytest.approx(rows["value"].sum())


@pytest.mark.parametrize(("session", "alpha", "beta"), [("session 1", 0.083, 0.261), ("session 2", 0.098, 0.245)])
def test_human_shares_give_the_published_preferences(session: str, alpha: float, beta: float) -> None:
    """The dictator games alone, from shares: near the published estimates from all 117 choices a person."""
    games = binary_dictator_games()
    x = games[session].to_numpy()
    own, other = games[["x_own", "y_own"]].to_numpy(), games[["x_other", "y_other"]].to_numpy()
    data = allocations(own, other, np.stack([x, 1 - x], 1), [str(i) for i in range(len(games))], "bruhin_fehr_schunk")
    found = fit(restrict(data, {"gamma": 0.0, "delta": 0.0}))
    assert abs(found.estimates["alpha"] - alpha) < 0.05
    assert abs(found.estimates["beta"] - beta) < 0.05


def test_a_known_chooser_comes_back(tmp_path: Path) -> None:
    result = run("-m", "eval.menus", "--simulate", "alpha=0.1,beta=0.3,lambda=0.02", "--battery", "bfs39", "garp", "--out", str(tmp_path / "m"))
    assert result.returncode == 0, result.stderr
    summary = read_json(tmp_path / "m" / "summary.json")
    rows = {row["battery"]: row for row in summary if row["arm"] == "chooser"}
    floor = {(row["arm"], row["battery"]): row for row in summary if row["arm"] != "chooser"}
    assert floor["coin", "bfs39"]["mean"] == pytest.approx(0.5)
    assert floor["first listed", "bfs39"]["mean"] == pytest.approx(0.5)
    assert floor["first listed", "bfs39"]["position_bias"] == pytest.approx(0.5)
    assert floor["most for itself", "garp"]["ccei"] == pytest.approx(1)
    assert floor["most for itself", "garp"]["mean"] == pytest.approx(0)
    found = rows["bfs39"]["structural"]
    for name, value in (("alpha", 0.1), ("beta", 0.3), ("lambda", 0.02)):
        assert found[name]["value"] == pytest.approx(value, abs=1e-4)
    assert rows["garp"]["ccei"] == 1.0
    assert rows["bfs39"]["correlation_with_humans"] > 0.8
    assert len(list(read_lines(tmp_path / "m" / "choices.jsonl"))) == 59


class Habit:
    """Takes the first option on the page with probability .9."""

    def score(self, requests: list[Request], arm: Arm, seed: int) -> list[Answer]:
        answers = []
        for r in requests:
            p = np.full(len(r.candidates), 0.1 / (len(r.candidates) - 1))
            p[r.layout.order[0]] = 0.9
            answers.append(Answer(0.5 * p))
        return answers


def test_a_habit_is_seen_and_gives_no_preference() -> None:
    for battery in ("spillover", "bfs39", "matrix"):
        records = measure(Habit(), pages_of(battery), Arm("habit"), 0)
        assert all(r["position_bias"] == pytest.approx(0.4) for r in records)
        assert all(r["mass"] == pytest.approx(0.5) for r in records)
        assert all(p == pytest.approx(0.5) for r in records for p in r["probabilities"])


class Random:
    """Random choices from budgets."""

    def score(self, requests: list[Request], arm: Arm, seed: int) -> list[Answer]:
        rng = np.random.default_rng(0)
        return [Answer(np.eye(len(r.candidates))[rng.integers(len(r.candidates))]) for r in requests]


def test_random_choices_fail_the_audit_and_differ_from_the_base() -> None:
    pages = pages_of("garp")
    (row,) = summarise(measure(Random(), pages, Arm("random"), 0), None)
    assert row["ccei"] < 0.9
    chooser = AllocationChooser({"alpha": 0.4, "beta": 0.4}, 0.05)
    base = {r["id"]: r for r in measure(AllocationChooser({}, 0.05), pages, Arm("base"), 0)}
    (row,) = summarise(measure(chooser, pages, Arm("kinder"), 0), base)
    assert row["difference_to_base"]["low"] > 0
    assert row["difference_to_base"]["p"] < 0.001
    (row,) = summarise(list(base.values()), base)
    assert row["difference_to_base"]["mean"] == 0


def test_measuring_a_model_continues_and_notices_an_idle_adapter(adapter: Path, empty_adapter: Path, tmp_path: Path) -> None:
    options = ["-m", "eval.menus", "--adapter", str(adapter), "--battery", "bfs39", "--pairs", "1", "--out", str(tmp_path / "m")]
    result = run(*options)
    assert result.returncode == 0, result.stderr
    choices = (tmp_path / "m" / "choices.jsonl").read_bytes()
    assert len(choices.splitlines()) == 78
    part = sorted((tmp_path / "m" / "parts").iterdir())[0]
    part.write_bytes(part.read_bytes()[: len(part.read_bytes()) * 3 // 4])
    assert run(*options).returncode == 0
    assert (tmp_path / "m" / "choices.jsonl").read_bytes() == choices
    idle = ("-m", "eval.menus", "--adapter", str(empty_adapter), "--battery", "matrix", "--out", str(tmp_path / "e"))
    assert_complains(run(*idle), "every probability equals the base's")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ((), "--adapter"), (("--model", "nano"), "--out"), (("--model", "nano", "--battery", "chess", "--out", "x"), "chess"),
        (("--simulate", "kappa=1,lambda=1", "--out", "x"), "alpha"), (("--model", "nano", "--pairs", "0", "--out", "x"), "--pairs"),
        (("--adapter", "nowhere"), "does not exist"),
    ],
)  # fmt: skip
def test_bad_options_get_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(run("-m", "eval.menus", *options), part)
