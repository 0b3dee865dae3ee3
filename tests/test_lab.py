"""What the lab computes, apart from its page: what is shown follows from values."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from asking import measure
from conftest import LIMIT, ROOT, assert_complains, call
from console import here
from rich.console import Console
from safetensors.torch import load_file, save_file

from econmoral.economics.choice import logit
from econmoral.economics.firms import yardsticks
from econmoral.economics.games import BATTERY, GAMES, belief_weights, draw_beliefs, draw_protocol
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import fit
from econmoral.files.options import parse
from econmoral.files.records import (
    InputError,
    append_lines,
    read_json,
    read_lines,
    sha256,
    write_json,
    write_lines,
)
from econmoral.instruments.derivations import (
    allocation_derivation,
    check_steps,
    game_derivation,
    read_steps,
)
from econmoral.instruments.dilemmas import case_pages, scenario_conversation
from econmoral.instruments.games import (
    WORDINGS_TRAIN,
    Item,
    converse,
    draw_layout,
    label_of,
    page_order,
)
from econmoral.instruments.menus import TRAIN as FRAMES
from econmoral.instruments.menus import draw_allocation, draw_page, menu_conversation
from econmoral.people.choices import read_choices
from econmoral.target import ECONOMICUS, Target, moralis
from eval import dilemmas, faithfulness, pricing, transcripts
from eval.conjoint import read_scenarios
from eval.engines.base import Answer, Condition, Request, Simulated
from eval.engines.with_transformers import Transformers
from eval.lab import bench, market, play, watch
from eval.lab.bench import Setting
from eval.lab.engines import Engines, adapters_in
from eval.lab.markup import Series, chart, esc, ticks
from eval.lab.markup import number as shown
from eval.lab.match import new_match
from eval.lab.shared import Lab
from eval.markets import Rules, Simulation
from eval.measure import draw_problems
from eval.report.blocks import Report
from eval.transcripts.choices import problems, read_run, shift
from eval.transcripts.entries import marks

ALTRUIST = Target.parse("bruhin_fehr_schunk:alpha=0.2,beta=0.5")
PERSON, SHARPNESS = {"alpha": 0.1, "beta": 0.2, "kappa": 0.4}, 0.3


def decide(problem: play.Problem, rng: np.random.Generator) -> list[str]:
    """Labels that a simulated person of known preference chooses, in page order."""
    beliefs = problem.beliefs or (0.5,) * len(GAMES[problem.protocol.game].info_sets)
    utility = FAMILIES["alpha_beta_kappa"].utility(
        problem.protocol.tables, belief_weights(problem.protocol.game, beliefs), PERSON
    )
    p = logit(utility, SHARPNESS)
    moves = GAMES[problem.protocol.game].strategies[int(rng.choice(len(p), p=p))]
    return [label_of(problem.layout, k, moves[k]) for k in page_order(problem.layout)]


def person(seed: int, length: int = 18) -> list[play.Answered]:
    """The answers of a simulated person to a battery."""
    rng = np.random.default_rng([7, seed])
    return [play.answer(p, decide(p, rng)) for p in play.battery(length, True, seed)]


# ---------------------------------------------------------------------------- derivations read back


@pytest.mark.parametrize("target", [ECONOMICUS, moralis(0.5), moralis(0.3), ALTRUIST], ids=str)
def test_nothing_is_marked_in_a_right_derivation(target: Target) -> None:
    rng = np.random.default_rng(3)
    for k in range(30):
        game = tuple(GAMES)[k % 3]
        item, layout = (
            Item(draw_protocol(game, rng, False), draw_beliefs(game, rng)),
            draw_layout(game, rng, WORDINGS_TRAIN),
        )
        text, _ = game_derivation(item, layout, target)
        assert marks(text, converse(item, layout, "reasoned").page) == [], text
        menu = draw_allocation(rng, False, target)
        page = draw_page(menu, rng, FRAMES)
        text = allocation_derivation(menu, page, target)
        assert marks(text, menu_conversation(menu, page, "reasoned").page) == [], text


def test_what_is_wrong_in_a_derivation_is_marked_where_it_stands() -> None:
    page = "R gives you 75 and the other 42. G gives you 66 and the other 52."
    text = (
        "R: 75 is more than 42: ahead. 5 * 75 = 350 + 25 = 380, 5 * 43 = 215. 66 is more than 75."
    )
    found = {(text[m.start : m.end], m.kind) for m in marks(text, page)}
    assert found == {("380", "wrong"), ("43", "unknown"), ("66 is more than 75", "wrong")}
    assert [(text[s.start : s.end], s.right) for s in read_steps(text)] == [
        ("350 + 25", True),
        ("380", False),
        ("215", True),
    ]
    assert check_steps(text) == (2, 3)


# -------------------------------------------------------------------------------------------- bench


def test_a_link_gives_back_the_setting() -> None:
    for setting in (
        Setting(),
        Setting(
            game="ug",
            points=(14.0, 10.0, 2.0, 6.0),
            beliefs=(3, 9, 0),
            target="alpha_beta_kappa:alpha=0.1,beta=-0.2,kappa=1",
            layout=7,
        ),
        Setting(
            instrument="allocation",
            own=(10.0, 20.0),
            other=(1.0, 2.0),
            conditions=("base", "told", "a b&c"),
            wording="trade",
        ),
        Setting(instrument="other page", menu="dictator-50", precision=0.125),
    ):
        assert Setting.of(dict(parse_qsl(setting.query()))) == setting
    for query in (
        {"points": "1,2,3"},
        {"points": "1,2,3,4"},
        {"points": "x"},
        {"game": "chess"},
        {"menu": "none"},
        {"target": "greed"},
        {"layout": "-1"},
    ):
        with pytest.raises(InputError):
            Setting.of({"instrument": "other page" if "menu" in query else "game"} | query)


def test_bench_numbers_are_those_of_the_engine(adapter: Path) -> None:
    engines, setting = Engines(), Setting(conditions=("base", "told", adapter.name))
    arms = bench.arms(setting, [adapter.name])
    assert [a.system is not None for a in arms] == [False, True, False]
    found = []
    for arm in arms:
        answers = engines.score(
            "nano",
            {adapter.name: adapter} if arm.adapter else {},
            bench.requests(setting, arm),
            arm,
        )
        found.append(bench.measured(setting, arm, answers))
    whole = Transformers("nano", {adapter.name: adapter})  # loaded at once, in its own way
    for arm, m in zip(arms, found, strict=True):
        again = bench.measured(setting, arm, whole.score(bench.requests(setting, arm), arm))
        np.testing.assert_allclose(m.first, again.first, atol=1e-4)
        assert abs(float(m.first.sum()) - 1) < 1e-9
    assert np.abs(found[0].mean - found[2].mean).max() > 0.01
    # a plan is the same plan on the page and on its twin, whatever the labels
    one, two = bench.sheets(setting)
    assert one.names == two.names == BATTERY[0].tables.strategies
    assert not np.array_equal(one.order, two.order)
    text = bench.results(setting, found)
    assert text.count("★") == 2  # in the caption, said twice; the star of a row is the style's
    assert text.count('class="best"') == 1


def test_theory_is_the_targets(adapter: Path) -> None:
    setting = Setting(target="homo_moralis:kappa=0.5")
    u = bench.utilities(setting)
    assert u is not None
    assert int(u.argmax()) == moralis(0.5).best_plan(setting.protocol, setting.stated)[0]
    assert "from κ" in bench.theory(setting)
    free = replace(setting, instrument="allocation", target=str(ALTRUIST))
    np.testing.assert_allclose(bench.utilities(free), [75 - 0.5 * 33, 66 - 0.5 * 14])
    assert "no optimum" in bench.theory(
        replace(setting, instrument="other page", menu="spillover-tipping-0")
    )


# --------------------------------------------------------------------------------------------- play


def test_eighteen_answers_are_estimated_by_intervals_that_cover() -> None:
    covered, identified = [], 0
    for seed in range(24):
        found = play.estimate(person(seed))
        identified += bool(found.values)
        if found.values:
            covered.append(
                [
                    low <= (PERSON | {"lambda": SHARPNESS})[k] <= high
                    for k, (_, low, high) in found.values.items()
                ]
            )
    assert identified >= 18
    # of 20 intervals that cover with .95 each, fewer than .75 cover once in three hundred times
    assert (np.mean(covered, axis=0) > 0.75).all()


def test_a_persons_file_is_read_by_fit(tmp_path: Path) -> None:
    answers = person(0)
    (tmp_path / "mine.csv").write_text(play.long_csv(answers, "you"))
    sample = read_choices(tmp_path / "mine.csv", "alpha_beta_kappa")
    assert sample.notes == ()
    read, own = fit(sample.data, errors="hessian"), play.estimate(answers)
    np.testing.assert_allclose(
        [read.estimates[k] for k in own.values], [v for v, _, _ in own.values.values()], rtol=1e-6
    )
    assert "you" in play.estimates_shown(answers, play.human_types())
    assert "not identified" in play.estimates_shown(answers[:3], [])


def test_human_types_are_told_in_this_familys_signs() -> None:
    types = {k.who.split(":")[1].split("(")[0].strip(): k.values for k in play.human_types()}
    assert types["behindness averse"]["alpha"][0] == 0.437  # takes off when behind
    assert types["strongly altruistic"] == {"alpha": (-0.159, None), "beta": (0.463, None)}


def test_unanswered_questions_are_asked_again() -> None:
    told, asked = play.battery(10, True, 1)[0], play.battery(10, False, 1)[0]
    with pytest.raises(InputError, match="every question"):
        play.answer(told, [None, None, None])
    labels = decide(asked, np.random.default_rng(0))
    with pytest.raises(InputError, match="how many of 10"):
        play.answer(asked, labels, [3])
    assert play.answer(asked, labels, [3, 7, 0]).beliefs[:2] == (0.3, 0.7)
    assert len({p.protocol for p in play.battery(18, True, 5)}) == 18


@pytest.mark.parametrize("game", list(GAMES))
def test_a_match_follows_the_tree_and_tells_the_model_all(game: str) -> None:
    protocol = next(p for p in BATTERY if p.game == game)
    match, rng = new_match(protocol, 6, False, 0), np.random.default_rng(1)
    while not match.over:
        if not match.persons_turn:
            talk = match.conversation()
            turns = [role for role, _ in talk.step(()).messages]
            assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]
            told = "\n".join(text for _, text in talk.step(()).messages)
            assert all(f"Round {k}:" in told for k in range(1, len(match.played) + 1))
        match = match.move(str(rng.choice(match.question.options)))
    assert [r.person_first for r in match.played] == [False, True] * 3
    for r in match.played:
        pay = dict(zip("TRPS", (p / 5 for p in protocol.payoffs), strict=True))
        first, second = (pay[name] for name in GAMES[game].outcomes[r.moves])
        assert r.points == ((first, second) if r.person_first else (second, first))
    with pytest.raises(InputError):
        new_match(protocol, 1, True, 0).move("?")


# -------------------------------------------------------------------------------------- transcripts


def folder_of(path: Path, n: int = 6, texts: tuple[str, ...] = ("4 * 5 = 21.",)) -> Path:
    """A measurement of two choosers with a derivation on every page."""
    problems, records = draw_problems("drawn", n, 1, [ECONOMICUS], 0, ("payoffs",)), []
    for arm, kappa in (("base", 0.0), ("moralis", 0.6)):
        for mode in ("direct", "reasoned"):
            some = measure(
                Simulated("homo_moralis", {"kappa": kappa}, 0.1),
                problems,
                Condition(arm),
                mode,
                "given",
                1,
            )
            for k, r in enumerate(some):
                for page in r["pages"]:
                    page["texts"] = [texts[k % len(texts)]] if mode == "reasoned" else []
            records += some
    write_lines(path / "choices.jsonl", records)
    write_json(path / "run.json", {"settings": {"beliefs": "given"}, "inputs": {}})
    return path


def test_transcripts_hold_every_page_as_it_was_asked(tmp_path: Path) -> None:
    records, stated = read_run(folder_of(tmp_path))
    entries = problems(records, stated)
    assert len(entries) == 12
    problem = draw_problems("drawn", 6, 1, [ECONOMICUS], 0, ("payoffs",))[0]
    first = next(e for e in entries if e["id"] == problem.id and e["mode"] == "reasoned")
    assert first["pages"][0]["t"].startswith(
        converse(problem.item, problem.layouts[0], "reasoned").page
    )
    ((text, found),) = first["arms"]["base"]["x"][0]
    assert (text, found[-1]) == ("4 * 5 = 21.", [8, 10, "wrong"])
    p, q = (np.array(first["arms"][a]["p"]) for a in ("base", "moralis"))
    assert shift(p, q) == pytest.approx(0.5 * np.abs(p - q).sum())
    assert transcripts.base_arm(["moralis", "base"], None) == "base"
    with pytest.raises(InputError, match="the run has"):
        transcripts.base_arm(["moralis"], "nobody")


def test_transcripts_command(tmp_path: Path) -> None:
    done = here("-m", "eval.transcripts", str(folder_of(tmp_path)))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "transcripts.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert_complains(here("-m", "eval.transcripts", str(tmp_path / "nothing")), "choices.jsonl")
    write_lines(tmp_path / "other" / "choices.jsonl", [{"id": "a", "arm": "base", "game": "chess"}])
    assert_complains(here("-m", "eval.transcripts", str(tmp_path / "other")), "was not written by")


def test_the_readers_of_a_measurement_are_checked_from_python_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse(
        faithfulness.FaithfulnessConfig,
        "faithfulness",
        "",
        ["--targets", "homo_economicus", "homo_moralis:kappa=0.3", str(tmp_path), "--pages", "8"],
    )
    assert config == faithfulness.FaithfulnessConfig(
        run=tmp_path, targets=("homo_economicus", "homo_moralis:kappa=0.3"), pages=8
    )
    assert (config.adapter, config.domain, config.seed) == ((), "games", 0)
    shown = parse(transcripts.TranscriptsConfig, "transcripts", "", [str(tmp_path)])
    assert (shown.run, shown.base, shown.out) == (tmp_path, None, None)
    with pytest.raises(SystemExit):  # a folder is needed
        parse(transcripts.TranscriptsConfig, "transcripts", "", [])
    assert "required: run" in capsys.readouterr().err
    for values, said in (
        ({"run": None}, "give run"),
        ({"pages": 1}, "--pages must lie between 2 and 1000, got 1"),
        ({"pages": 1001}, "--pages must lie"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"targets": ("homo_economicus",)}, "--targets takes 2 values, got 1"),
        ({"targets": ("homo_economicus", "nobody")}, "nobody"),
        ({"domain": "menus"}, "--domain: invalid choice 'menus'"),
    ):
        with pytest.raises(InputError) as refusal:
            faithfulness.FaithfulnessConfig(**({"run": tmp_path} | values))  # type: ignore[arg-type]
        assert said in str(refusal.value)
    with pytest.raises(InputError, match="give run"):
        transcripts.TranscriptsConfig()


def test_the_readers_of_a_measurement_run_from_python(tmp_path: Path, adapter: Path) -> None:
    run, quiet = folder_of(tmp_path / "run"), Console(quiet=True)
    asked = faithfulness.FaithfulnessConfig(run=run, adapter=(adapter,), pages=2)
    found = faithfulness.run(asked, quiet)
    assert read_json(run / "faithfulness.json") == found
    assert [row["arm"] for row in found["records"]] == ["base", "moralis"]
    assert [row["arm"] for row in found["handed"]] == ["base", adapter.name]
    assert all(row["pages"] == 2 and 0 <= row["valid"] <= 1 for row in found["handed"])
    assert faithfulness.run(replace(asked, adapter=()), quiet)["handed"] == []
    out = tmp_path / "elsewhere.html"
    assert transcripts.run(transcripts.TranscriptsConfig(run=run, out=out), quiet) == out
    assert "Transcripts of run" in out.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="the run has base, moralis"):
        transcripts.run(transcripts.TranscriptsConfig(run=run, base="nobody"), quiet)


def test_dilemmas_are_shown_accident_by_accident_and_statement_by_statement(tmp_path: Path) -> None:
    words = ("--simulate", "kappa=0.7,lambda=4,age=0.3", "--scenarios", "6", "--out", tmp_path)
    call(dilemmas.main, *words)
    entries, note = transcripts.entries_of(tmp_path)
    assert note == ""
    assert len(entries) == 2 * 6 + 210
    scenarios = read_scenarios(tmp_path / "scenarios.jsonl")
    records = [row for _, row in read_lines(tmp_path / "conjoint.jsonl")]
    for record in records:
        asked = [
            scenario_conversation(scenarios[record["scenario"]], page)
            for page in case_pages(record["wording"], tuple(record["labels"]))
        ]
        name = f"scenario {record['scenario']}"
        some = [e for e in entries if e["id"] in (name, f"{name}, groups exchanged")]
        written = [page["t"] for e in some for page in e["pages"]]
        assert all(text.startswith(talk.page) for text, talk in zip(written, asked, strict=True))
        spared = [p[0] for e in some for p in e["arms"][record["arm"]]["pp"] if p]
        np.testing.assert_allclose(spared, record["spared"], rtol=1e-3)
    rated = next(e for e in entries if e["set"] == "ratings")
    (answer,) = rated["arms"].values()
    assert len(rated["names"]) == len(answer["p"] or ()) == 10
    assert sum(answer["p"] or ()) == pytest.approx(1)
    other = [r | {"wording": (r["wording"] + 1) % 3} for r in records]
    write_lines(tmp_path / "conjoint.jsonl", other)
    with pytest.raises(InputError, match="worded differently"):
        transcripts.entries_of(tmp_path)


class Uniform:
    """An engine to which all options are alike."""

    def score(self, requests: list[Request], condition: Condition, seed: int = 0) -> list[Answer]:
        sizes = [len(r.conversation.questions[0].options) for r in requests]
        return [Answer.certain(np.full(n, 1 / n), r) for n, r in zip(sizes, requests, strict=True)]


def test_every_price_is_shown_with_the_page_before_it(tmp_path: Path) -> None:
    agents = ["base", "grim"]
    meetings = pricing.meetings_of(agents, 2, [1.0], 1)
    played = Simulation(meetings, Rules(), Uniform(), {"base": Condition("base")})
    played.run(4)
    settings = {"agents": agents, "adapter": [], "firms": 2, "currency": [1.0], "runs": 1}
    settings |= {"protocol": "compact", "prefix": "P1", "wordings": "train", "kappa": 0.5}
    write_json(tmp_path / "run.json", {"settings": settings | {"samples": 20, "seed": 0}})
    write_lines(tmp_path / "periods.jsonl", played.periods)
    entries, note = transcripts.entries_of(tmp_path)
    assert (len(entries), note) == (3 * 4, "")  # the base against itself, and against grim
    second = next(e for e in entries if e["id"] == "market 1, period 2, firm 1")
    charged = played.periods[0]["prices"][0]
    assert entries[0]["arms"]["base"]["a"] == f"price {charged[0]:g}"
    assert f"{100 * charged[0]:g}" in second["pages"][0]["t"].splitlines()[2]
    assert json.loads(json.dumps(entries)) == entries
    rows = [json.loads(json.dumps(row)) for row in played.periods]
    rows[0]["prices"][0][0] += 0.05
    write_lines(tmp_path / "periods.jsonl", rows)
    with pytest.raises(InputError, match="worded differently"):
        transcripts.entries_of(tmp_path)


# ------------------------------------------------------------------------------------- faithfulness


def test_recitation_is_one_for_the_training_text_itself() -> None:
    text = "After K (4 of 10): Z 4 * 9 = 36; W 4 * 2 = 8. 36 is more: Z."
    trained = faithfulness.Trained.of([text])
    assert trained.overlap(text) == (1.0, 1.0)
    other = text.replace("9", "7").replace("36", "28")
    exact, masked = trained.overlap(other) or (9, 9)
    assert masked == 1.0
    assert exact < 0.5
    assert trained.overlap("too short") is None


def test_an_adapter_whose_training_is_not_known_is_named_with_the_reason(
    adapter: Path, tmp_path: Path
) -> None:
    kept = shutil.copytree(adapter, tmp_path / "kept")
    weights = kept / "adapter_model.safetensors"
    rows = {
        "kept": {"path": str(weights), "sha256": sha256(weights)},
        "gone": {"path": str(tmp_path / "gone" / weights.name), "sha256": "0"},
        "other": {"path": str(weights), "sha256": "0"},
        "base": {"path": str(tmp_path), "sha256": "0"},
    }
    write_json(tmp_path / "run.json", {"inputs": rows})
    (tmp_path / "choices.jsonl").write_text("")
    write_json(kept / "run.json", {"target": "homo_economicus"})
    _, _, missing = faithfulness.trained_and_targets(faithfulness.measured_adapters(tmp_path))
    assert [line.split(":")[0] for line in missing] == ["kept", "gone", "other"]
    assert "does not say what the adapter was trained on" in missing[0]
    assert "is not there" in missing[1]
    assert "other weights" in missing[2]


def test_whoever_follows_the_text_is_told_from_whoever_does_not() -> None:
    pairs = faithfulness.pairs_of((ECONOMICUS, moralis(0.5)), "games", 6)
    assert all(a.place != b.place and a.conversation == b.conversation for a, b in pairs)

    def sure(h: faithfulness.Handed, place: int) -> tuple[np.ndarray, float]:
        size = math.prod(len(q.options) for q in h.conversation.questions)
        return np.eye(size)[place], 1.0

    obedient = faithfulness.follows(pairs, [(sure(a, a.place), sure(b, b.place)) for a, b in pairs])
    stubborn = faithfulness.follows(pairs, [(sure(a, a.place), sure(b, a.place)) for a, b in pairs])
    assert (obedient["first"], obedient["second"], obedient["swapped"]) == (1, 1, 1)
    assert (stubborn["first"], stubborn["second"], stubborn["swapped"]) == (1, 0, 0)
    with pytest.raises(InputError, match="no derivations"):
        faithfulness.pairs_of(
            (Target.parse("alpha_beta_kappa:alpha=1,kappa=0.5"), ECONOMICUS), "games", 2
        )


def test_a_derivation_handed_over_is_scored_as_one_that_was_written() -> None:
    engine = Transformers("nano", {})
    engine.temperature = 0
    one = faithfulness.pairs_of((ECONOMICUS, moralis(0.5)), "games", 1)[0][0]
    from eval.engines.base import Request

    (answer,) = engine.score([Request(one.conversation, None, None, longest=60)], Condition("base"))
    handed = faithfulness.Handed(one.conversation, answer.texts[0], 0)
    ((p, valid),) = faithfulness.after_derivation(engine, [handed], Condition("base"))
    np.testing.assert_allclose(p, answer.probabilities, atol=1e-6)
    assert valid == pytest.approx(float(answer.valid.mean()), abs=1e-6)


def test_records_say_bare_against_reasoned(tmp_path: Path) -> None:
    records, _ = read_run(folder_of(tmp_path))
    rows = {r["arm"]: r for r in faithfulness.of_records(records, {}, {})}
    assert rows["base"]["steps_right"] == 0  # 4 * 5 is not 21
    assert rows["base"]["bare_reasoned_distance"] == 0
    assert rows["moralis"]["pairs"] == 6
    frame = faithfulness.records_frame(list(rows.values()))
    assert frame["word for word %"].tolist() == ["–", "–"]


def test_the_report_has_a_section_where_it_was_measured(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    done = here("-m", "eval.faithfulness", str(folder))
    assert done.returncode == 0, done.stderr
    report = Report("x")
    faithfulness.add_to(report, tmp_path / "elsewhere")
    assert report.blocks == []
    faithfulness.add_to(report, folder)
    assert [type(b).__name__ for b in report.blocks] == ["Heading", "Text", "Table"]
    assert (
        report.tables[0].frame["same choice %"].tolist()[0] == "100"
    )  # the base's bare choices are its reasoned ones


# ------------------------------------------------------------------------------------ market, watch


def test_market_prices_stand_on_the_page_as_they_are_charged() -> None:
    now = market.Play(("base", "grim"))
    monopoly = yardsticks(market.DUOPOLY)[1]
    assert market.scripted(now, 1) == monopoly[1]
    for k in range(3):
        price = market.drawn(now, 0, np.eye(25)[5 + k])
        assert price == pytest.approx(1.25 + 0.05 * k)
        now = market.after(now, [price, market.scripted(now, 1)], [0.9])
    page = market.page_of(now, 0)
    assert "135" in page.page
    assert market.scripted(now, 1) < monopoly[1]  # it was undercut
    text = market.shown(now)
    assert "Nash" in text
    assert "Consumer surplus" in text


def test_training_is_read_while_it_runs_and_after(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    write_json(folder / "checkpoints" / "settings.json", {"model": "nano", "data": "d.jsonl"})
    append_lines(
        folder / "checkpoints" / "log.jsonl",
        [
            {"step": 5, "epoch": 0.5, "loss": 1.5},
            {"step": 10, "epoch": 1.0, "eval_loss": 1.0, "eval_reproduced": 0.2},
        ],
    )
    assert watch.trainings(tmp_path / "runs") == [folder]
    found = watch.read_training(folder)
    assert (found.state, found.line("loss"), found.line("eval_reproduced")) == (
        "interrupted",
        ([0.5], [1.5]),
        ([1.0], [0.2]),
    )
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from econmoral.files.records import lock; "
            "lock(Path(sys.argv[1])); print(1, flush=True); time.sleep(60)",
            folder,
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert watch.read_training(folder).state == "running"
    finally:
        holder.kill()
        holder.wait()
    write_json(folder / "run.json", {"model": "nano", "target": "homo_moralis:kappa=0.5"})
    write_lines(folder / "log.jsonl", [{"step": 20, "epoch": 2.0, "loss": 0.1}])
    done = watch.read_training(folder)
    assert (done.state, done.target, done.line("loss")) == (
        "finished",
        "homo_moralis:kappa=0.5",
        ([2.0], [0.1]),
    )
    assert "homo_moralis" in watch.compared([done])
    with pytest.raises(InputError, match="no training run"):
        watch.read_training(tmp_path)


def test_choices_reveal_the_preference_behind_them() -> None:
    requests = watch.battery_requests()
    answers = Simulated("alpha_beta_kappa", {"alpha": 0.1, "beta": 0.2, "kappa": 0.4}, 0.1).score(
        requests, Condition("x")
    )
    found = watch.revealed(1.0, requests, answers)
    for name, value in {"alpha": 0.1, "beta": 0.2, "kappa": 0.4, "lambda": 0.1}.items():
        assert found.values[name][0] == pytest.approx(value, abs=1e-3)
    assert "0.40" in watch.parameters([found], "run")


def test_adapters_are_found_with_their_model(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.symlink(adapter, tmp_path / "runs" / "linked")  # links are not followed
    assert adapters_in(tmp_path / "runs") == []
    (found,) = adapters_in(adapter.parent)
    assert (found.name, found.model) == (adapter.name, "nano")
    assert read_json(adapter / "adapter_config.json")


def test_an_adapter_that_was_trained_again_is_loaded_again(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "one")
    engines, setting, arm = Engines(), Setting(conditions=("one",)), Condition("one", "one")
    asked = bench.requests(setting, arm)
    before, base = (
        engines.score("nano", {"one": tmp_path / "one"}, asked, c)[0].probabilities
        for c in (arm, Condition("base"))
    )
    assert before is not None
    assert base is not None
    assert np.abs(before - base).max() > 0.01
    weights = tmp_path / "one" / "adapter_model.safetensors"
    idle = {k: 0 * v if ".lora_B." in k else v for k, v in load_file(weights).items()}
    save_file(idle, weights)
    (after,) = engines.score("nano", {"one": tmp_path / "one"}, asked[:1], arm)
    np.testing.assert_allclose(after.probabilities, base, atol=1e-4)


# ------------------------------------------------------------------------------------------- markup


def test_text_is_inert() -> None:
    assert esc("<b>${1+1}{{value}}\x1b[31m") == "&lt;b&gt;&#36;&#123;1+1}&#123;&#123;value}}[31m"
    assert "<script" not in bench.marked("<script>1 + 1 = 3</script>", "")
    assert "<b" not in chart([Series("<b>", [0, 1], [0, math.nan])], "<b>", "x", "y")


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (-0.3, 2.7), (1e-4, 3e-4), (100, 90_000)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7
        assert all(low - 1e-12 <= t <= high + 1e-12 for t in found)
    assert json.loads(shown(-0.001)) == 0.0


def test_the_lab_says_what_it_lacks() -> None:
    code = (
        "import sys; sys.modules['gradio'] = None; sys.argv = ['lab']; from eval.lab.__main__ "
        "import main; from econmoral.files.records import command; command(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=LIMIT
    )
    assert done.returncode == 2
    assert "econmoral[lab]" in done.stderr


def test_the_same_page_is_asked_once_and_of_new_weights_anew(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(adapter, tmp_path / "mine")
    lab = Lab(tmp_path)
    (model,) = (a.model for a in lab.adapters)
    asked: list[str] = []

    def score(*words: object) -> list[Answer]:
        asked.append(str(words[1]))
        return []

    monkeypatch.setattr(lab, "score", score)
    arms = bench.arms(Setting(model=model, conditions=("base", "mine")), ["mine"])
    for setting in (Setting(model=model), Setting(model=model, precision=1.0)):  # the same page
        for arm in arms:
            lab.ask(model, arm, bench.requests(setting, arm))
    assert len(asked) == 2
    os.utime(folder / "adapter_model.safetensors", ns=(1, 1))  # trained again
    for arm in arms:
        lab.ask(model, arm, bench.requests(Setting(model=model), arm))
    assert len(asked) == 3
    lab.ask(model, arms[0], bench.requests(Setting(model=model, layout=1), arms[0]))
    assert len(asked) == 4
