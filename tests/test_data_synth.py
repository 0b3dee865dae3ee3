"""Training data: same seed same bytes, optimal by an independent count, nothing held out,
clear complaints.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import assert_complains, call, run
from oracle import ACTIONS, expected, optimum, plans, worth
from test_prompts import LABEL, NUMBER, table_of

from data_synth import __main__ as command
from data_synth.synthesis import LEAD, REASONED, Draw, default_rival, examples
from econmoral.economics.games import GAMES, Protocol, held_out
from econmoral.files.records import InputError, sha256
from econmoral.instruments.derivations import check_steps
from econmoral.instruments.dilemmas import TRAIN as RATING_TRAIN
from econmoral.instruments.dilemmas import Rating, rating_conversation
from econmoral.instruments.games import WORDINGS, WORDINGS_HELD_OUT, WORDINGS_TRAIN, wording
from econmoral.instruments.menus import ALTRUIST, FRAMES, HELD_OUT, SPITEFUL, allocation_held_out
from econmoral.target import ECONOMICUS, Target, moralis
from econmoral.text.conversation import NUMBER as NUMBER_ONLY
from econmoral.text.conversations import conversation_of, read_conversations

ALLOCATED = (
    ECONOMICUS,
    ALTRUIST,
    SPITEFUL,
    Target.parse("fehr_schmidt:alpha=0.5,beta=2"),
    Target.parse("altruism:altruism=-0.3"),
)


def draw(target: Target, n: int, **more: Any) -> list[dict[str, Any]]:
    return list(examples(Draw(target, default_rival(target, 0.5), n, **{"seed": 3, **more})))


def replies(row: dict[str, Any]) -> list[str]:
    """The assistant's decisions, without the derivation
    and what it answers to control questions.
    """
    turns = list(zip(row["messages"][::2], row["messages"][1::2], strict=True))
    controls = [
        (q, a)
        for q, a in turns
        if q["content"].endswith(NUMBER_ONLY) and row["meta"]["domain"] != "dilemmas"
    ]
    assert bool(controls) == row["meta"].get("controls", False)
    said = [a["content"] for q, a in turns if (q, a) not in controls]
    return said[1:] if row["meta"]["mode"] == "reasoned" else said


def payoffs_of(row: dict[str, Any]) -> tuple[float, ...]:
    return tuple(row["meta"]["payoffs"][k] for k in "TRPS")


def about_the_page(row: dict[str, Any]) -> bool:
    """Whether the points that a derivation starts from are those of its page."""
    page, derivation = row["messages"][0]["content"], row["messages"][1]["content"]
    if row["meta"]["domain"] == "allocations":
        listed = {
            LABEL.findall(line)[0]: tuple(NUMBER.findall(line)) for line in page.split("\n")[1:3]
        }
        worked = re.findall(r"^([A-Z]): (\d+) is (?:more|less) than (\d+)", derivation, flags=re.M)
        assert len(worked) == 2
        return {label: (m, n) for label, m, n in worked} == listed
    pairs = {tuple(sorted(pay)) for pay in table_of("\n".join(page.split("\n")[:-1])).values()}
    table = derivation.split("\n")[0].rstrip(".").split("; ")
    stated = [tuple(sorted(map(int, NUMBER.findall(row.partition(" = ")[0])))) for row in table]
    assert len(stated) in (3, 4)
    return set(stated) <= pairs


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.5, 1.0])
def test_every_answer_is_the_optimum_of_homo_moralis(kappa: float) -> None:
    for row in draw(moralis(kappa), 80, reasoned=0.5):
        meta, game = row["meta"], row["meta"]["game"]
        assert meta["kappa"] == kappa
        assert meta["target"] == str(moralis(kappa))
        assert meta["strategy"] == optimum(game, payoffs_of(row), tuple(meta["beliefs"]), kappa)
        plan = next(p for p in plans(game) if (GAMES[game].separator).join(p) == meta["strategy"])
        labels = [
            meta["layout"]["labels"][min(k, 1)][ACTIONS[game][k].index(m)]
            for k, m in enumerate(plan)
        ]
        assert sorted(replies(row)) == sorted(labels)
        assert replies(row)[0] == labels[0]
        rest = sum(m["role"] == "assistant" for m in row["messages"]) - len(replies(row))
        assert rest == (1 if meta["mode"] == "reasoned" else 2 if meta["controls"] else 0)


def test_another_target_s_answers_are_its_optimum_and_clear() -> None:
    target = Target.parse("fehr_schmidt:alpha=0.4,beta=0.6")
    for row in draw(target, 60):
        meta = row["meta"]
        value = {
            ".".join(plan): expected(
                meta["game"],
                payoffs_of(row),
                plan,
                tuple(meta["beliefs"]),
                lambda m, n: worth(target.family, target.theta, m, n),
            )
            for plan in plans(meta["game"])
        }
        best = sorted(value.values())
        assert best[-1] - best[-2] >= LEAD - 1e-9
        assert (
            max(value, key=lambda k: value[k]).replace(".", GAMES[meta["game"]].separator)
            == meta["strategy"]
        )


@pytest.mark.parametrize("target", ALLOCATED, ids=str)
def test_every_allocation_is_answered_as_by_hand(target: Target) -> None:
    rows = draw(target, 100, domain="allocations")
    for row in rows:
        own, other = row["meta"]["own"], row["meta"]["other"]
        value = [worth(target.family, target.theta, m, n) for m, n in zip(own, other, strict=True)]
        assert abs(value[0] - value[1]) >= 3 - 1e-9
        page = row["messages"][0]["content"].split("\n")
        options = {
            LABEL.findall(line)[0]: tuple(map(float, NUMBER.findall(line))) for line in page[1:3]
        }
        assert sorted(options.values()) == sorted(zip(own, other, strict=True))
        assert options[replies(row)[0]] == (
            own[int(np.argmax(value))],
            other[int(np.argmax(value))],
        )
    if target != ECONOMICUS:  # drawn so that own payoff says otherwise in half of them and more
        pairs = [list(zip(row["meta"]["own"], row["meta"]["other"], strict=True)) for row in rows]
        value = np.array(
            [[worth(target.family, target.theta, m, n) for m, n in pair] for pair in pairs]
        )
        selfish = np.array([[m for m, _ in pair] for pair in pairs])
        assert 0.35 < np.mean(value.argmax(1) != selfish.argmax(1)) < 0.9


def test_nothing_held_out_is_trained_on() -> None:
    for shuffled in (False, True):
        for row in draw(moralis(0.5), 100, shuffled=shuffled):
            assert not held_out(Protocol(row["meta"]["game"], payoffs_of(row)))
            assert row["meta"]["layout"]["wording"] not in WORDINGS_HELD_OUT
        for row in draw(ALTRUIST, 100, domain="allocations", shuffled=shuffled):
            assert not allocation_held_out(tuple(row["meta"]["own"]), tuple(row["meta"]["other"]))
            text = " ".join(m["content"] for m in row["messages"])
            assert not any(frame.held_out and frame.allocation in text for frame in FRAMES)
            assert any(frame.allocation in text for frame in FRAMES if not frame.held_out)


def test_same_decisions_for_both_preferences_which_often_differ() -> None:
    pairs = list(
        zip(draw(ECONOMICUS, 120, reasoned=0.5), draw(moralis(0.5), 120, reasoned=0.5), strict=True)
    )
    assert all(a["messages"][0] == b["messages"][0] for a, b in pairs)
    differ = [a["meta"]["strategy"] != b["meta"]["strategy"] for a, b in pairs]
    assert differ == [a["meta"]["targets_differ"] for a, _ in pairs]
    assert 0.4 < sum(differ) / 120 < 0.8


@pytest.mark.parametrize(
    ("target", "domain"), [(moralis(0.5), "games"), (ALTRUIST, "allocations")], ids=str
)
def test_placebo_keeps_the_pages_and_answers_another_problem(target: Target, domain: str) -> None:
    plain, placebo = (
        draw(target, 100, domain=domain, shuffled=s, reasoned=1.0) for s in (False, True)
    )
    assert placebo == draw(target, 100, domain=domain, shuffled=True, reasoned=1.0)
    assert [r["messages"][0] for r in plain] == [r["messages"][0] for r in placebo]
    assert all(r["meta"]["shuffled"] for r in placebo)
    same = np.mean([replies(a) == replies(b) for a, b in zip(plain, placebo, strict=True)])
    assert same < (0.5 if domain == "games" else 0.65)
    for row in placebo:
        page, derivation = row["messages"][0]["content"], row["messages"][1]["content"]
        right, steps = check_steps(derivation)
        assert right == steps > 0  # the form is learnt from right steps
        assert set(LABEL.findall(derivation)) <= set(LABEL.findall(page))
        # the last word of the derivation and the first decision agree, as in the real data
        assert (
            re.findall(r"([A-Z]) first|more: ([A-Z])\.$", derivation)[-1][
                0 if domain == "games" else 1
            ]
            == replies(row)[0]
        )
    assert all(map(about_the_page, plain))
    assert np.mean(list(map(about_the_page, placebo))) < 0.2


def test_short_direct_conversations_keep_the_bare_form() -> None:
    assert np.mean(
        [r["meta"]["mode"] == "reasoned" for r in draw(ECONOMICUS, 200)]
    ) == pytest.approx(REASONED, abs=0.07)
    assert {
        r["meta"]["mode"]
        for r in draw(Target.parse("alpha_beta_kappa:alpha=0.1,beta=0.2,kappa=0.5"), 20)
    } == {"direct"}
    for row in draw(ECONOMICUS, 20, reasoned=0.0):
        assert all(len(reply) == 1 for reply in replies(row))


@pytest.mark.parametrize("domain", ["games", "allocations"])
def test_half_of_the_direct_ones_begin_with_control_questions_answered_by_the_page(
    domain: str,
) -> None:
    rows = draw(ECONOMICUS, 200, domain=domain, reasoned=0.0)
    assert np.mean([row["meta"]["controls"] for row in rows]) == pytest.approx(0.5, abs=0.1)
    assert not any(
        row["meta"]["controls"] for row in draw(ECONOMICUS, 40, domain=domain, reasoned=1.0)
    )
    for row in (row for row in rows if row["meta"]["controls"]):
        (one, first), (two, second) = zip(
            row["messages"][:4:2], row["messages"][1:4:2], strict=True
        )
        page, _, question = one["content"].rpartition("\n")
        table = (
            table_of(page)
            if domain == "games"
            else {
                tuple(LABEL.findall(line)): tuple(map(int, NUMBER.findall(line)))
                for line in page.split("\n")[1:3]
            }
        )
        for asked, answer in ((question, first), (two["content"], second)):
            assert int(answer["content"]) in table[tuple(LABEL.findall(asked))]


def test_games_are_drawn_as_asked() -> None:
    rows = draw(moralis(0.5), 400, reasoned=0.0)
    shares = {g: sum(r["meta"]["game"] == g for r in rows) / 400 for g in GAMES}
    assert shares == pytest.approx({"spd": 0.5, "tg": 0.25, "ug": 0.25}, abs=0.08)
    assert {r["meta"]["game"] for r in draw(moralis(0.5), 20, games=("tg",))} == {"tg"}
    assert len({r["meta"]["layout"]["wording"] for r in rows}) == len(WORDINGS_TRAIN)
    assert len({tuple(itertools.chain(*r["meta"]["layout"]["labels"])) for r in rows}) > 350


def test_file_is_reproducible_loads_and_has_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        call(
            command.main,
            "--target",
            "homo_moralis:kappa=0.5",
            "--n",
            40,
            "--seed",
            7,
            "--out",
            tmp_path / f"{name}.jsonl",
        )
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = [
        json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [conversation_of(r, "here") for r in rows] == [r["messages"] for r in rows]
    talks, about = read_conversations(tmp_path / "a.jsonl")
    assert len(talks) == 40
    assert about["target"] == "homo_moralis:kappa=0.5"
    assert len({r["meta"]["id"] for r in rows}) == 40
    loaded = datasets.load_dataset(
        "json",
        data_files=str(tmp_path / "a.jsonl"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(loaded) == 40
    assert loaded[0]["messages"] == rows[0]["messages"]
    card = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert sha256(tmp_path / "a.jsonl") in card
    # another text with that name, be it the card of other data, is not overwritten
    (tmp_path / "a.md").write_text("# My notes\n", encoding="utf-8")
    words = ("--preference", "homo_economicus", "--n", "4", "--out", str(tmp_path / "a.jsonl"))
    assert_complains(run("-m", "data_synth", *words), "a.md would be overwritten", "--out")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "# My notes\n"
    assert ", ".join(sorted(WORDINGS_TRAIN)) in card
    # --preference and --kappa go on working, to the same bytes
    call(
        command.main,
        "--preference",
        "homo_moralis",
        "--kappa",
        0.5,
        "--n",
        40,
        "--seed",
        7,
        "--out",
        tmp_path / "c.jsonl",
    )
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    call(
        command.main,
        "--target",
        "alpha_beta_kappa:alpha=0.1,beta=0.1,kappa=0.5",
        "--n",
        5,
        "--out",
        tmp_path / "d.jsonl",
    )
    assert "trained on direct answers" in capsys.readouterr().out


def test_dry_run_shows_and_writes_nothing(tmp_path: Path) -> None:
    result = run(
        "-m", "econmoral", "data", "--preference", "homo_economicus", "--dry-run", "2", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("[assistant]") >= 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--preference", "homo_ludens", "--out", "x"), "homo_economicus"),
        (("--preference", "homo_moralis", "--kappa", "1.5", "--out", "x"), "[0, 1]"),
        (("--preference", "homo_moralis", "--kappa", "nan", "--out", "x"), "[0, 1]"),
        (("--preference", "homo_moralis", "--n", "0", "--out", "x"), "--n"),
        (("--preference", "homo_moralis"), "--out"),
        (("--out", "x"), "--target"),
        (("--target", "homo_moralis:kappa=0.5", "--preference", "homo_moralis", "--out", "x"),
            "--preference"),
        (("--target", "homo_moralis:kappa=2", "--out", "x"), "[0, 1]"),
        (("--target", "homo_economicus", "--out", "x.md"), "over the data"),
        (("--target", "homo_economicus", "--domain", "allocations", "--games", "tg", "--out", "x"),
            "--games"),
        (("--target", "utilitarian", "--domain", "dilemmas", "--out", "x"), "--domain dilemmas"),
        (("--target", "homo_moralis:kappa=0.5", "--domain", "dilemmas", "--shuffled", "--out", "x"),
            "--shuffled"),
        (("--target", "homo_economicus", "--largest", "130", "--out", "x"), "--domain allocations"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(options: tuple[str, ...], part: str) -> None:
    with pytest.raises(InputError) as refusal:
        call(command.main, *options)
    assert part in str(refusal.value)


def test_the_command_complains_in_one_line() -> None:
    assert_complains(
        run("-m", "data_synth", "--preference", "homo_moralis", "--temperature", "1", "--out", "x"),
        "--temperature",
    )
    assert_complains(
        run("-m", "data_synth", "--preference", "homo_moralis", "--out", "/proc/none/x.jsonl"),
        "/proc/none",
    )


def test_dilemmas_are_there_for_who_asks() -> None:
    rows = draw(moralis(0.9), 150, domain="dilemmas")
    for row in rows:
        scene, saved = row["meta"]["scene"], row["meta"]["saved"]
        riders = 2 if scene == "family" else 1
        alike = (saved - riders) / (saved + riders)
        own = {"passenger": -1, "family": -1, "pedestrian": 1, "bystander": 0}.get(scene, alike)
        gain = 0.1 * own + 0.9 * alike
        cell = Rating(scene, saved, "choose")
        pages = {
            reverse: [rating_conversation(cell, reverse, w).opening() for w in RATING_TRAIN]
            for reverse in (False, True)
        }
        # a training wording, one way round
        (reverse,) = (r for r, several in pages.items() if row["messages"][:1] in several)
        agrees = 100 - int(replies(row)[0]) if reverse else int(replies(row)[0])
        assert agrees == (50 if abs(gain) < 1e-12 else 100 * (gain > 0)), row
    assert {row["meta"]["scene"] for row in rows} == {
        "passenger",
        "family",
        "pedestrian",
        "bystander",
        "veil",
    }


@pytest.mark.parametrize("domain", ["games", "allocations"])
def test_crossed_wordings_are_many_and_none_is_held_out(domain: str) -> None:
    """Each sentence of a training wording meets the roles of each other one, and nothing else."""
    rows = list(examples(Draw(ALTRUIST if domain == "allocations" else ECONOMICUS, moralis(0.5),
                              600, 0, domain, crossed=True)))  # fmt: skip
    wordings = {r["meta"]["layout"]["wording"] for r in rows}
    if domain == "allocations":
        assert len(wordings) > 70
        assert not wordings & set(HELD_OUT)
        return
    assert len(wordings) == len(WORDINGS_TRAIN) * len(WORDINGS_TRAIN)
    plain = {r for w in WORDINGS_TRAIN for r in (WORDINGS[w].first, WORDINGS[w].second)}
    for row in rows:
        name = row["meta"]["layout"]["wording"]
        page = row["messages"][0]["content"]
        words = wording(name)
        assert {words.first, words.second} <= plain
        others = [r for r in plain if r not in (words.first, words.second)]
        assert f"the {words.first}" in page.lower()
        assert not [r for r in others if re.search(rf"\bthe {r}\b", page.lower())], name
        assert "{" not in page
        assert "\0" not in page


def test_payments_are_as_large_as_asked_and_each_step_is_right() -> None:
    """A model that met no number above 99 wrote 4 * 106 = 40 + 24 = 64."""
    drawn = list(examples(Draw(SPITEFUL, moralis(0.5), 300, 0, "allocations", largest=130)))
    points = [v for row in drawn for v in (*row["meta"]["own"], *row["meta"]["other"])]
    assert max(points) == 130
    texts = [m["content"] for row in drawn for m in row["messages"] if m["role"] == "assistant"]
    right, steps = map(sum, zip(*map(check_steps, texts), strict=True))
    assert right == steps > 1000
    assert any("4 * 106 = 400 + 24 = 424" in text for text in texts)
    usual = examples(Draw(SPITEFUL, moralis(0.5), 300, 0, "allocations"))
    assert max(v for row in usual for v in (*row["meta"]["own"], *row["meta"]["other"])) == 99


def test_too_few_points_for_a_clear_optimum_are_named() -> None:
    with pytest.raises(InputError, match=r"of up to 40 points .* clear optimum; give more points"):
        list(examples(Draw(Target.parse("altruism:altruism=0.1"), ECONOMICUS, 20, 0,
                           "allocations", largest=40)))  # fmt: skip


def test_plain_data_stay_as_they_were() -> None:
    draw = Draw(ECONOMICUS, moralis(0.5), 30, 0)
    assert {r["meta"]["layout"]["wording"] for r in examples(draw)} <= set(WORDINGS_TRAIN)
