"""Human types as targets: known types come back, people set aside are judged on what nothing has
seen, agents are told apart.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from conftest import call as run_main
from shell import call, complains, json_of

from data_synth import __main__ as data_synth
from econmoral.economics.choice import logit
from econmoral.files.records import InputError, read_json, read_lines
from econmoral.people.choices import read_choices, read_problems
from econmoral.people.cloning import clustered_mean, judge, powered, tempered, unit_of
from econmoral.target import Target
from eval import menus

KINDS = ({"alpha": 0.2, "beta": 0.5}, {"alpha": -0.4, "beta": -0.1})
PRECISION = 0.04  # per unit of the file
BFS = ROOT.parent / "shared" / "data" / "bruhin-fehr-schunk-2019"


def people(
    path: Path, each: tuple[int, ...] = (28, 16), rows: int = 60, acts: bool = False, seed: int = 0
) -> Path:
    """Choices of people of two known types, all between the same pairs of allocations,
    in tens of units.
    """
    rng = np.random.default_rng(seed)
    own, other = rng.integers(10, 100, (2, rows, 2)) * 10.0
    after = np.arange(rows) % 4 if acts else np.ones(rows)  # 0: a kind act came before
    found = []
    for kind, count in enumerate(each):
        target = Target("bruhin_fehr_schunk", tuple(KINDS[kind].items()))
        u = target.of_allocations(own, other) + 0.2 * (
            (after == 0)[:, None] * (other - own) if acts else 0
        )
        p = np.array([logit(v, PRECISION)[0] for v in u])
        for k in range(count):
            frame = {
                "subject": f"{'ab'[kind]}{k:02d}",
                "self_x": own[:, 0],
                "other_x": other[:, 0],
                "self_y": own[:, 1],
                "other_y": other[:, 1],
            }
            frame["choice_x"] = (rng.random(rows) < p).astype(int)
            found.append(
                pd.DataFrame(frame | ({"q": (after == 0).astype(int), "v": 0} if acts else {}))
            )
    pd.concat(found).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """(file, folder, what was printed) of a clone of two types."""
    folder = tmp_path_factory.mktemp("clone")
    file = people(folder / "choices.csv")
    return (
        file,
        folder / "out",
        json_of("clone", file, "--types", 2, "--n", 6, "--out", folder / "out"),
    )


def agent(folder: Path, out: Path, text: str) -> Path:
    """A chooser of known preference, measured on the very decisions that the people faced."""
    run_main(
        menus.main,
        "--simulate",
        text,
        "--own",
        folder / "decisions.csv",
        "--mode",
        "direct",
        "reasoned",
        "--pairs",
        1,
        "--out",
        out,
    )
    return out


def test_known_types_come_back_as_targets(cloned: tuple[Path, Path, dict]) -> None:
    _, out, found = cloned
    assert [k["target"] for k in found["types"]] == [
        str(Target("bruhin_fehr_schunk", tuple(k.items()))) for k in KINDS
    ]
    assert found["unit"] == 10
    assert found["people"] == {"training": 33, "held_out": 11}
    assert found["choices"] == {"training": 33 * 60, "assigning": 11 * 30, "judged": 11 * 30}
    # people are assigned to the kind that they were made of
    assert [e["people"] for e in found["comparison"]] == [
        sum(n.startswith(c) for n in found["held_out"]) for c in "ab"
    ]
    assert [line.split()[2] for line in found["commands"][:2]] == ["recipes/sft.py"] * 2
    assert f"--adapter 2={out / 'type2'}" in found["commands"][2]
    assert any("gamma and delta" in n for n in found["notes"])


def test_training_data_are_those_of_data_synth(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    _, out, found = cloned
    for k in (1, 2):
        target = found["types"][k - 1]["target"]
        run_main(
            data_synth.main,
            "--target",
            target,
            "--domain",
            "allocations",
            "--n",
            6,
            "--seed",
            0,
            "--out",
            tmp_path / "same.jsonl",
        )
        assert (tmp_path / "same.jsonl").read_bytes() == (out / f"type{k}.jsonl").read_bytes()
        assert target in (out / f"type{k}.md").read_text()


def test_decisions_are_those_that_people_faced_in_points(cloned: tuple[Path, Path, dict]) -> None:
    file, out, _ = cloned
    names, (own, other) = read_problems(out / "decisions.csv")
    table = pd.read_csv(file).drop_duplicates(["self_x", "other_x", "self_y", "other_y"])
    assert names[0] == "d1"
    assert len(set(names)) == 60
    assert {tuple(r) for r in np.column_stack([own, other]) * 10} == {
        tuple(r) for r in table[["self_x", "self_y", "other_x", "other_y"]].to_numpy(float)
    }


def test_agents_are_told_apart_on_people_of_a_type(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    file, out, found = cloned
    # the truth, per point of the page
    right = agent(out, tmp_path / "right", "alpha=.2,beta=.5,lambda=.4")
    wrong = agent(out, tmp_path / "wrong", "alpha=-.4,beta=-.1,lambda=.4")
    # what training teaches: the best answer without noise
    sure = agent(out, tmp_path / "sure", "alpha=.2,beta=.5,lambda=50")

    def judged(folder: Path) -> dict[str, dict]:
        result = json_of(
            "clone", file, "--types", 2, "--n", 6, "--out", out, "--adapter", f"1={folder}"
        )
        return {p["name"]: p for p in result["comparison"][0]["predictors"]}

    good, bad, certain = judged(right), judged(wrong), judged(sure)
    assert good["agent 1 (chooser)"]["log_likelihood"] == pytest.approx(
        good["type's estimate"]["log_likelihood"], abs=0.02
    )
    assert good["agent 1 (chooser)"]["gain_low"] > 0
    assert good["agent 1 (chooser), people's noise"]["power"] == pytest.approx(1, abs=0.3)
    assert bad["agent 1 (chooser)"]["gain_high"] < 0
    assert bad["agent 1 (chooser)"]["predicted"] < good["agent 1 (chooser)"]["predicted"] - 0.1
    assert certain["agent 1 (chooser)"]["log_likelihood"] < good["coin"]["log_likelihood"]
    assert (
        certain["agent 1 (chooser), people's noise"]["log_likelihood"]
        > good["coin"]["log_likelihood"] + 0.1
    )
    assert certain["agent 1 (chooser)"]["predicted"] == pytest.approx(
        good["agent 1 (chooser)"]["predicted"], abs=1e-12
    )
    assert good["coin"]["log_likelihood"] == pytest.approx(np.log(0.5))
    assert good["coin"]["predicted"] == 0.5
    kept = read_json(out / "comparison.json")
    assert kept["inputs"]["choices"]["sha256"] == found["settings"]["file"]


def test_people_set_aside_do_not_touch_the_estimates(
    cloned: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    file, _, found = cloned
    table = pd.read_csv(file)
    mine = table["subject"].isin(found["held_out"])
    table.loc[mine, "choice_x"] = 1 - table.loc[mine, "choice_x"]
    table.to_csv(tmp_path / "other.csv", index=False)
    again = json_of(
        "clone", tmp_path / "other.csv", "--types", 2, "--n", 6, "--out", tmp_path / "out"
    )
    assert again["held_out"] == found["held_out"]
    assert again["types"][0]["estimates"] == found["types"][0]["estimates"]
    assert again["pooled"] == found["pooled"]
    assert again["comparison"] != found["comparison"]


def test_choices_after_an_act_are_used_and_not_judged(tmp_path: Path) -> None:
    file = people(tmp_path / "choices.csv", acts=True)
    found = json_of(
        "clone", file, "--types", 2, "--n", 3, "--fix", "delta=0", "--out", tmp_path / "out"
    )
    assert found["types"][0]["estimates"]["gamma"] == pytest.approx(0.2, abs=0.1)
    assert "gamma" not in found["types"][0]["target"]
    assert found["choices"]["judged"] == 11 * 22
    assert found["choices"]["assigning"] == 11 * 38
    assert len(read_problems(tmp_path / "out" / "decisions.csv")[0]) == 45
    assert any("follow an act" in n for n in found["notes"])


def test_small_samples_and_empty_types_are_said(tmp_path: Path) -> None:
    file = people(tmp_path / "choices.csv", each=(28, 16))
    found = json_of(
        "clone", file, "--types", 2, "--n", 3, "--held-out", 0.05, "--out", tmp_path / "out"
    )
    notes = " ".join(n for e in found["comparison"] for n in e["notes"])
    assert "too few to tell" in notes or "nobody who was set aside" in notes
    alone = [p for e in found["comparison"] if e["people"] == 1 for p in e["predictors"]]
    # one person has no clustered error
    assert all(p["predicted_se"] is None and p["gain_low"] is None for p in alone)


def test_judging_by_hand() -> None:
    p = np.array([[0.5, 0.5, np.nan], [0.2, 0.3, 0.5], [1.0, 0.0, np.nan]])
    found = judge(p, np.array([0, 2, 1]), np.array([0, 0, 1]))
    assert found["predicted"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["log_likelihood"] == -np.inf
    mean, se = clustered_mean(np.array([1.0, 2.0, 6.0]), np.array([0, 0, 1]))
    assert mean == 3
    assert se == pytest.approx(np.sqrt(2 * ((-3) ** 2 + 3**2)) / 3)


def test_the_noise_of_people_is_found_again() -> None:
    rng = np.random.default_rng(1)
    sharp = rng.dirichlet([0.3] * 3, size=20_000)
    sharp[:, 2] = np.where(rng.random(20_000) < 0.3, np.nan, sharp[:, 2])
    soft = powered(sharp, 0.4)
    assert np.nansum(soft, axis=1) == pytest.approx(np.ones(20_000))
    drawn = (np.nancumsum(soft, axis=1) < rng.random(20_000)[:, None]).sum(1)
    assert tempered(sharp, np.minimum(drawn, 2 - np.isnan(sharp[:, 2]))) == pytest.approx(
        0.4, abs=0.02
    )


@pytest.mark.parametrize(
    ("payoffs", "unit"),
    [
        ([470, 730.0], 10),
        ([1000, 200], 100),
        ([7.5, 2.0], 0.1),
        ([3, 0, np.nan], 1),
        ([0.0, 0.0], 1),
    ],
)
def test_a_point_is_a_power_of_ten_that_leaves_whole_numbers(
    payoffs: list[float], unit: float
) -> None:
    assert unit_of(np.array(payoffs)) == pytest.approx(unit)


def test_what_cannot_be_is_refused(cloned: tuple[Path, Path, dict], tmp_path: Path) -> None:
    file, out, found = cloned
    with pytest.raises(InputError, match="more than four decimals"):
        unit_of(np.array([1 / 3]))
    assert "another clone (it differs in seed)" in complains(
        "clone", file, "--types", 2, "--n", 6, "--seed", 1, "--out", out
    )
    assert "write TYPE=FOLDER" in complains(
        "clone", file, "--types", 2, "--adapter", "3=x", "--out", out
    )
    assert "given twice" in complains(
        "clone", file, "--types", 2, "--adapter", "1=x", "--adapter", "1=y", "--out", out
    )
    assert "neither an adapter nor" in complains(
        "clone", file, "--types", 2, "--n", 6, "--adapter", f"1={tmp_path}", "--out", out
    )
    assert "--round must be" in complains("clone", file, "--round", 0.3)
    assert "--held-out" in complains("clone", file, "--held-out", 1)
    assert "cannot be estimated on allocations" in complains(
        "clone", file, "--family", "homo_moralis"
    )
    assert "no family that types" in complains("clone", file, "--family", "utilitarian")
    assert "name the people" in complains(
        "clone", _without_people(file, tmp_path / "nobody.csv"), "--out", tmp_path / "b"
    )
    games = tmp_path / "games.csv"
    games.write_text("subject,game,pie,steps,move1\np01,dictator,10,10,3\n")
    assert "games of other kinds; clone reads choices between allocations or in" in complains(
        "clone", games, "--family", "fehr_schmidt", "--out", tmp_path / "c"
    )
    other = tmp_path / "adapter"
    other.mkdir()
    (other / "adapter_config.json").write_text("{}")
    (other / "run.json").write_text(json.dumps({"target": "homo_moralis:kappa=0.5"}))
    assert "was trained as homo_moralis:kappa=0.5" in complains(
        "clone", file, "--types", 2, "--n", 6, "--adapter", f"2={other}", "--out", out
    )
    assert found["types"][0]["share"] > found["types"][1]["share"]


def _without_people(file: Path, path: Path) -> Path:
    pd.read_csv(file).drop(columns="subject").to_csv(path, index=False)
    return path


def test_types_that_round_to_the_same_target_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frames = []
    for kind, beta in enumerate((0.26, 0.34)):  # told apart by their choices, not by a grid of .5
        own, other = rng.integers(10, 100, (2, 2000, 2)) * 10.0
        u = Target("fehr_schmidt", (("alpha", 0.0), ("beta", beta + 0.3 * kind))).of_allocations(
            own, other
        )
        p = 1 / (1 + np.exp(-0.03 * (u[:, 0] - u[:, 1])))
        frames.append(
            pd.DataFrame(
                {
                    "subject": np.repeat([f"{kind}{k}" for k in range(20)], 100),
                    "self_x": own[:, 0],
                    "other_x": other[:, 0],
                    "self_y": own[:, 1],
                    "other_y": other[:, 1],
                    "choice_x": (rng.random(2000) < p).astype(int),
                }
            )
        )
    pd.concat(frames).to_csv(tmp_path / "choices.csv", index=False)
    words = ("clone", tmp_path / "choices.csv", "--family", "fehr_schmidt", "--types", 2, "--n", 3)
    assert "both round to fehr_schmidt" in complains(
        *words, "--round", 0.5, "--out", tmp_path / "coarse"
    )
    found = json_of(*words, "--round", 0.1, "--out", tmp_path / "fine")
    assert sorted(k["target"] for k in found["types"]) == [
        "fehr_schmidt:alpha=0,beta=0.3",
        "fehr_schmidt:alpha=0,beta=0.6",
    ]


def test_what_is_not_identified_has_its_own_exit_code(tmp_path: Path) -> None:
    table = pd.read_csv(people(tmp_path / "choices.csv", each=(8, 0)))
    table.to_csv(tmp_path / "few.csv", index=False)
    code, _, err = call("clone", tmp_path / "few.csv", "--types", 3, "--out", tmp_path / "out")
    assert code == 3
    assert "too few" in err


def test_own_allocations_of_any_size_are_asked(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        "id,self_1,other_1,self_2,other_2,self_3,other_3\nx,10,0,7.5,2.5,5,5\ny,8,2,6,6,,\n"
    )
    out = tmp_path / "out"
    run_main(
        menus.main,
        "--simulate",
        "alpha=.2,beta=.5,lambda=.3",
        "--own",
        tmp_path / "own.csv",
        "--out",
        out,
    )
    rows = [row for _, row in read_lines(out / "choices.jsonl")]
    u = Target.parse("bruhin_fehr_schunk:alpha=.2,beta=.5").of_allocations(
        np.array([10, 7.5, 5]), np.array([0, 2.5, 5])
    )
    assert rows[0]["probabilities"] == pytest.approx(logit(u, 0.3))
    assert [len(r["probabilities"]) for r in rows] == [3, 2]
    assert read_json(out / "run.json")["inputs"]["own"]["path"].endswith("own.csv")
    summary = read_json(out / "summary.json")
    assert {r["battery"] for r in summary} == {"own"}
    assert all(r["fits"]["bruhin_fehr_schunk"]["family"] for r in summary)
    # fit reads what was measured, though no battery of ours holds these decisions
    data = read_choices(out / "choices.jsonl", "altruism").data
    assert data.allowed.sum(1).tolist() == [3, 2]
    assert data.weight[0] == pytest.approx(rows[0]["probabilities"])
    (tmp_path / "twice.csv").write_text("id,self_1,other_1,self_2,other_2\nx,1,2,3,4\nx,1,2,3,5\n")
    with pytest.raises(InputError, match="x stands twice"):
        run_main(
            menus.main, "--simulate", "lambda=.3", "--own", tmp_path / "twice.csv", "--out", out
        )
    (tmp_path / "third.csv").write_text("self_1,other_1,self_2,other_2\n0.333333,2,3,4\n")
    with pytest.raises(InputError, match="more than four decimals"):
        run_main(
            menus.main, "--simulate", "lambda=.3", "--own", tmp_path / "third.csv", "--out", out
        )


def test_adapters_are_asked_by_the_command_itself(
    cloned: tuple[Path, Path, dict], adapter: Path
) -> None:
    file, out, _ = cloned
    words = (
        "clone",
        file,
        "--types",
        2,
        "--n",
        6,
        "--out",
        out,
        "--mode",
        "direct",
        "--adapter",
        f"1={adapter}",
    )
    found = json_of(*words)
    assert {"untuned model", "adapter 1"} <= {
        p["name"] for p in found["comparison"][0]["predictors"]
    }
    assert (out / "measured" / "choices.jsonl").is_file()
    asked = [row for _, row in read_lines(out / "measured" / "choices.jsonl")]
    assert {row["id"] for row in asked} == set(read_problems(out / "decisions.csv")[0])
    assert {row["arm"] for row in asked} == {"base", adapter.name}


def test_it_is_printed_for_a_person(cloned: tuple[Path, Path, dict]) -> None:
    file, out, found = cloned
    code, shown, _ = call("clone", file, "--types", 2, "--n", 6, "--out", out)
    assert code == 0
    assert f"target of type 1, estimates rounded to 0.1: {found['types'][0]['target']}" in shown
    assert "gain over pooled" in shown
    assert "accelerate launch recipes/sft.py" in shown


@pytest.mark.skipif(
    not BFS.is_dir(),
    reason="the data of Bruhin, Fehr and Schunk (2019) are not beside this project",
)
def test_the_three_types_of_bruhin_fehr_and_schunk(tmp_path: Path) -> None:
    dropped = set((BFS / "dropped_subjects.csv").read_text().split())
    table = pd.read_csv(BFS / "choices_exp1.csv", dtype=str)
    table[~table["sid"].isin(dropped)].to_csv(tmp_path / "choices.csv", index=False)
    found = json_of(
        "clone",
        tmp_path / "choices.csv",
        "--cluster",
        "sid",
        "--types",
        3,
        "--n",
        3,
        "--out",
        tmp_path / "out",
    )
    assert found["people"] == {"training": 120, "held_out": 40}
    assert found["choices"]["judged"] == 40 * 19
    targets = {k["target"] for k in found["types"]}
    assert "bruhin_fehr_schunk:alpha=0.2,beta=0.5" in targets  # strongly altruistic, in tenths
    assert "bruhin_fehr_schunk:alpha=0.1,beta=0.1" in targets  # moderately
    for entry in found["comparison"]:
        by = {p["name"]: p for p in entry["predictors"]}
        assert by["type's estimate"]["predicted"] > 0.7 > by["coin"]["predicted"]
