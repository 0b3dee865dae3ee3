"""Human types in sequential games as targets: known degrees of morality come back, adapters are
asked the games that people played, parts of plans are judged as parts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import call as run_main
from shell import complains, json_of

from data_synth import __main__ as data_synth
from econmoral.economics.choice import logit
from econmoral.economics.games import BATTERY, GAMES, Protocol, belief_weights, draw_beliefs
from econmoral.files.records import InputError, read_json, read_lines
from econmoral.instruments.games import Item, shown_payoffs
from econmoral.people.choices import read_choices
from econmoral.people.cloning import game_pages, together, told
from econmoral.people.game_tables import read_game_problems
from econmoral.target import Target, moralis
from eval import games

KAPPAS = (0.2, 0.8)
PRECISION = 0.4  # per unit of the file, in which a point is 5


def players(
    path: Path, each: tuple[int, int] = (36, 24), parts: bool = False, every: int = 1
) -> Path:
    """Plans of subjects of two degrees of morality in the 18 games of the battery (or every third,
    ...), at beliefs of their own.

    parts : of every other row only one move is observed.
    """
    rng, rows = np.random.default_rng(0), []
    for kind, count in enumerate(each):
        for k in range(count):
            for number, protocol in enumerate(BATTERY[::every]):
                game, beliefs = protocol.game, draw_beliefs(protocol.game, rng)
                u = moralis(KAPPAS[kind]).plans(protocol, beliefs)
                plan = GAMES[game].strategies[rng.choice(len(u), p=logit(u, PRECISION))]
                row = {"subject": f"{'ab'[kind]}{k:02d}", "game": game}
                row |= dict(zip("TRPS", protocol.payoffs, strict=True))
                row |= {f"belief{i + 1}": round(100 * b) for i, b in enumerate(beliefs)}
                seen = [rng.integers(len(plan))] if parts and number % 2 else range(len(plan))
                rows.append(row | {f"move{i + 1}": plan[i] for i in seen})
    columns = ["subject", "game", *"TRPS", *(f"{n}{i}" for n in ("belief", "move") for i in "123")]
    pd.DataFrame(rows)[columns].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """(file, folder, what was printed) of a clone of two types."""
    folder = tmp_path_factory.mktemp("clone")
    file, out = players(folder / "long.csv"), folder / "out"
    return file, out, json_of(*words(file, out))


def words(file: Path, out: Path, family: str = "homo_moralis") -> tuple[object, ...]:
    """The command."""
    return ("clone", file, "--family", family, "--types", 2, "--n", 6, "--out", out)


def agent(folder: Path, out: Path, text: str) -> Path:
    """A chooser of known preference, measured on the very games that the people played."""
    options = ("--own", folder / "decisions.csv", "--mode", "reasoned", "--pairs", 1)
    run_main(games.main, "--simulate", text, *options, "--out", out)
    return out


def known_types(found: dict) -> None:
    """The two types come back, each within two steps of the grid, and targets lie on it."""
    targets = [Target.parse(k["target"]) for k in found["types"]]
    assert {t.family for t in targets} == {"homo_moralis"}
    assert [t.kappa for t in targets] == pytest.approx(KAPPAS, abs=0.21)
    for kind, target in zip(found["types"], targets, strict=True):
        assert target.kappa == pytest.approx(np.clip(kind["estimates"]["kappa"], 0, 1), abs=0.051)


def judged(found: dict, kind: int) -> dict[str, dict]:
    """Predictors of people of a type, by name."""
    return {p["name"]: p for p in found["comparison"][kind]["predictors"]}


def test_known_types_come_back_as_targets(cloned: tuple[Path, Path, dict]) -> None:
    _, _, found = cloned
    known_types(found)
    assert (found["domain"], found["mode"], found["unit"]) == ("games", "reasoned", 5)
    assert found["people"] == {"training": 45, "held_out": 15}
    assert found["choices"] == {"training": 45 * 18, "assigning": 15 * 9, "judged": 15 * 9}
    # people are assigned to the kind that they were made of
    assert [e["people"] for e in found["comparison"]] == [
        sum(n.startswith(c) for n in found["held_out"]) for c in "ab"
    ]
    for kind in (0, 1):
        by_name = judged(found, kind)
        assert by_name["type's estimate"]["gain_low"] > 0
        assert by_name["type, rounded"]["predicted"] > by_name["coin"]["predicted"] + 0.2


def test_training_data_are_those_of_data_synth(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    _, out, found = cloned
    for k in (1, 2):
        target, same = found["types"][k - 1]["target"], tmp_path / "same.jsonl"
        options = ("--target", target, "--domain", "games", "--n", 6, "--seed", 0)
        run_main(data_synth.main, *options, "--out", same)
        assert same.read_bytes() == (out / f"type{k}.jsonl").read_bytes()


def test_agents_are_asked_the_payoffs_and_beliefs_that_people_had(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    file, out, found = cloned
    names, items = read_game_problems(out / "decisions.csv")
    assert names[0] == "d1"
    table = pd.read_csv(file)
    table = table[table["subject"].isin(found["held_out"])]
    theirs = {
        (r["game"], *(r[k] / 5 for k in "TRPS"), *(r[f"belief{i}"] / 100 for i in (1, 2)))
        for _, r in table.iterrows()
    }
    mine = {(i.protocol.game, *i.protocol.payoffs, *i.beliefs[:2]) for i in items}
    assert {tuple(map(str, x)) for x in mine} == {tuple(map(str, x)) for x in theirs}
    run = agent(out, tmp_path / "known", "kappa=.2,lambda=.4")
    rows = {r["id"]: r for _, r in read_lines(run / "choices.jsonl")}
    assert set(rows) == set(names)
    for name, item in list(zip(names, items, strict=True))[:20]:
        # a point of the table is a point of the page, and an agent decides at these beliefs
        protocol = Protocol(item.protocol.game, tuple(5 * x for x in item.protocol.payoffs))
        u = moralis(0.2).utility(protocol.tables, belief_weights(protocol.game, item.beliefs))
        assert rows[name]["probabilities"] == pytest.approx(logit(u, PRECISION))
        assert rows[name]["payoffs"] == list(protocol.payoffs)
    assert read_json(run / "run.json")["settings"]["sets"] == ["own"]
    assert {r["set"] for r in read_json(run / "summary.json")} == {"own"}


def test_agents_are_told_apart_on_people_of_a_type(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    file, out, _ = cloned

    def ask(name: str, text: str) -> dict[str, dict]:
        folder = agent(out, tmp_path / name, text)
        return judged(json_of(*words(file, out), "--adapter", f"1={folder}"), 0)

    right = ask("right", f"kappa=.2,lambda={PRECISION}")
    wrong = ask("wrong", f"kappa=.8,lambda={PRECISION}")
    assert right["agent 1 (chooser)"]["log_likelihood"] == pytest.approx(
        right["type's estimate"]["log_likelihood"], abs=0.05
    )
    assert right["agent 1 (chooser)"]["gain_low"] > 0
    assert right["agent 1 (chooser), people's noise"]["power"] == pytest.approx(1, abs=0.35)
    assert wrong["agent 1 (chooser)"]["gain_high"] < 0
    assert wrong["agent 1 (chooser)"]["predicted"] < right["agent 1 (chooser)"]["predicted"] - 0.1


def test_an_agent_that_was_asked_other_games_is_refused(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    """Other games under the same names must not pass for these."""
    file, out, _ = cloned
    (tmp_path / "decisions.csv").write_text("id,game,T,R,P,S\nd1,tg,8,5,3,2\nd2,tg,9,5,3,2\n")
    other = agent(tmp_path, tmp_path / "other", "kappa=.2,lambda=.4")
    assert "the agent was not asked the decisions of" in complains(
        *words(file, out), "--adapter", f"1={other}"
    )


def test_parts_of_a_plan_are_judged_as_parts(tmp_path: Path) -> None:
    file = players(tmp_path / "parts.csv", (20, 14), parts=True)
    found = json_of(*words(file, tmp_path / "out"))
    assert any("rows show only part of a plan" in n for n in found["notes"])
    known_types(found)
    # half of the rows show one move: a coin is right about it in one of two cases
    sample = read_choices(file, "homo_moralis")
    codes = told(sample.data, sample.items)
    even = np.where(sample.data.allowed, 1 / sample.data.allowed.sum(1, keepdims=True), np.nan)
    coin = together(even, codes)
    partial = sample.data.partial
    assert partial.sum() == 34 * 9
    assert (np.nanmax(coin[partial], axis=1) == 0.5).all()
    assert np.nansum(coin, axis=1) == pytest.approx(np.ones(len(coin)))
    by_name = judged(found, 1)
    assert np.log(1 / 8) < by_name["coin"]["log_likelihood"] < np.log(1 / 3)
    assert by_name["type's estimate"]["gain_low"] > 0


def test_what_a_part_tells_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text(
        "subject,game,T,R,P,S,move1,move2,move3\n"
        "a,spd,90,45,15,10,,D,\na,spd,90,45,15,10,D,,C\na,tg,80,50,30,20,trust,keep,\n"
    )
    sample = read_choices(file, "homo_moralis")
    codes = told(sample.data, sample.items)
    # CCC CCD CDC CDD DCC DCD DDC DDD: the second move; the first and the third; the plan itself
    assert codes[0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert codes[1].tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert codes[2].tolist() == [0, 1, 2, 3, -1, -1, -1, -1]
    p = np.array([[0.1, 0.2, 0.3, 0.05, 0.05, 0.1, 0.15, 0.05]] * 2 + [[0.4, 0.3, 0.2, 0.1] * 2])
    found = together(p, codes)
    assert found[0, :2] == pytest.approx([0.45, 0.55])
    assert found[1, :4] == pytest.approx([0.4, 0.25, 0.2, 0.15])
    assert found[2, :4] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert np.isnan(found[0, 2:]).all()


def test_a_family_without_derivation_is_trained_and_asked_directly(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    file, _, _ = cloned
    out = tmp_path / "out"
    found = json_of(*words(file, out, "alpha_beta_kappa"))
    assert found["mode"] == "direct"
    (note,) = [n for n in found["notes"] if "has no derivation on games" in n]
    assert "alpha_beta_kappa" in note
    assert {r["meta"]["mode"] for _, r in read_lines(out / "type1.jsonl")} == {"direct"}
    assert [k["estimates"]["kappa"] for k in found["types"]] == pytest.approx(KAPPAS, abs=0.15)


@pytest.mark.slow
def test_adapters_are_asked_by_the_command_itself(tmp_path: Path, adapter: Path) -> None:
    file = players(tmp_path / "few.csv", (6, 6), every=3)
    found = json_of(
        *words(file, tmp_path / "out"),
        "--held-out",
        0.1,
        "--mode",
        "direct",
        "--adapter",
        f"2={adapter}",
    )
    kinds = [e for e in found["comparison"] if e["people"]]
    assert {"untuned model", "adapter 2"} <= {p["name"] for p in kinds[0]["predictors"]}
    asked = [row for _, row in read_lines(tmp_path / "out" / "measured" / "choices.jsonl")]
    assert {row["id"] for row in asked} == set(
        read_game_problems(tmp_path / "out" / "decisions.csv")[0]
    )
    assert {row["set"] for row in asked} == {"own"}


def test_pages_of_games_by_hand() -> None:
    one = Item(Protocol("spd", (9.0, 4.5, 1.5, 1.0)), (0.55, 0.5, 0.04))
    two = Item(Protocol("tg", (14, 10, 4, 2)), (1.0, 0.0))
    pages = game_pages([one, two])
    assert pages.unit == 0.5
    assert pages.columns == ("id", "game", *"TRPS", "belief1", "belief2", "belief3")[1:]
    assert pages.cells[0] == ("spd", "18", "9", "3", "2", "0.6", "0.5", "0")
    assert pages.cells[1] == ("tg", "28", "20", "8", "4", "1", "0", "")
    assert pages.moved == pytest.approx([0.05, 0])
    assert pages.beyond.tolist() == [False, True]


def test_a_kappa_beyond_one_is_a_target_of_one(tmp_path: Path) -> None:
    """People who only look at what happens when all do as they do are estimated around 1."""
    file = players(tmp_path / "long.csv", (30, 0))
    table = pd.read_csv(file)
    rng, plans = np.random.default_rng(1), []
    for _, row in table.iterrows():
        protocol = Protocol(row.game, (row["T"], row["R"], row["P"], row["S"]))
        beliefs = [row[f"belief{i + 1}"] / 100 for i in range(len(GAMES[row.game].info_sets))]
        u = protocol.tables.alike - 0.3 * protocol.tables.pi @ belief_weights(row.game, beliefs)
        plans.append(GAMES[row.game].strategies[rng.choice(len(u), p=logit(u, PRECISION))])
    for i in range(3):
        table[f"move{i + 1}"] = [p[i] if i < len(p) else "" for p in plans]
    table.to_csv(file, index=False)
    options = ("--family", "homo_moralis", "--types", 1, "--n", 3, "--out", tmp_path / "out")
    found = json_of("clone", file, *options)
    assert found["types"][0]["estimates"]["kappa"] > 1.05
    assert found["types"][0]["target"] == "homo_moralis:kappa=1"
    assert any("lies outside [0, 1]: its target has 1" in n for n in found["notes"])


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    def asked(text: str, *more: object) -> None:
        (tmp_path / "own.csv").write_text(text)
        run_main(
            games.main, "--simulate", "kappa=.5,lambda=.3", "--own", tmp_path / "own.csv", *more,
            "--out", tmp_path / "out",
        )  # fmt: skip

    head = "id,game,T,R,P,S,belief1,belief2\n"
    with pytest.raises(InputError, match="no whole number of tenths"):
        asked(head + "x,tg,8,5,3,2,0.55,0.5\n")
    with pytest.raises(InputError, match="more than four decimals"):
        asked(head + "x,tg,8,5,3.33333,2,0.5,0.5\n")
    with pytest.raises(InputError, match="x stands twice"):
        asked(head + "x,tg,8,5,3,2,0.5,0.5\n" * 2)
    with pytest.raises(InputError, match="needs T > R > P > S"):
        asked(head + "x,tg,8,5,3,4,0.5,0.5\n")
    with pytest.raises(InputError, match="known games: spd, tg, ug"):
        asked("game,pie,steps\ndictator,10,10\n")
    with pytest.raises(InputError, match="--sets own needs --own"):
        run_main(games.main, "--simulate", "lambda=.3", "--sets", "own", "--out", tmp_path / "out")
    asked("game,T,R,P,S\ntg,8,5,3,2\n", "--sets", "payoffs", "own", "--items", 4)
    rows = [r for _, r in read_lines(tmp_path / "out" / "choices.jsonl")]
    assert [r["set"] for r in rows] == ["payoffs"] * 4 + ["own"]
    assert rows[-1]["beliefs"] == [0.5, 0.5]
    t, r, p, s = rows[-1]["payoffs"]
    item = Item(Protocol("tg", (t, r, p, s)), (0.5, 0.5))
    layout = type("L", (), {"game": "tg", "scale": 1})()
    assert shown_payoffs(item, layout)[("distrust",)] == (3, 3)
    (tmp_path / "one.csv").write_text(
        "subject,game,T,R,P,S,plan\n" + 'p01,tg,80,50,30,20,"trust,keep"\n'
        'p02,tg,80,50,30,20,"trust,keep"\np02,tg,80,50,30,20,"trust,give"\n'
    )
    assert "p01 has 1 choice(s); two are needed" in complains(
        "clone", tmp_path / "one.csv", "--family", "homo_moralis", "--held-out", 0.5, "--types", 1,
        "--seed", 2, "--out", tmp_path / "b",
    )  # fmt: skip


def test_targets_without_kappa_are_derived_on_games(tmp_path: Path) -> None:
    file = players(tmp_path / "long.csv")
    out = tmp_path / "out"
    found = json_of(*words(file, out, "fehr_schmidt"))
    assert found["mode"] == "reasoned"
    assert any(r["meta"]["mode"] == "reasoned" for _, r in read_lines(out / "type1.jsonl"))
    assert all(Target.parse(k["target"]).family == "fehr_schmidt" for k in found["types"])
