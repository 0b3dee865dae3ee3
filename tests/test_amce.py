"""AMCEs of one's own conjoint against statsmodels' weighted least squares,
and files that are not what they should be.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from console import assert_complains, calculator
from scipy.stats import t as student

from econmoral.estimation.amce import MISSING, estimate

LEVELS = {"colour": ("blue", "green", "red"), "price": ("5", "10", "20"), "label": ("no", "yes")}
TRUTH = {"green": 0.15, "red": 0.05, "10": -0.1, "20": -0.2, "yes": 0.08}


def simulated(subjects: int, tasks: int, seed: int, profiles: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(subjects):
        taste = rng.normal(0, 1)
        for k in range(tasks):
            shown = [{a: str(rng.choice(v)) for a, v in LEVELS.items()} for _ in range(profiles)]
            u = [
                sum(4 * TRUTH.get(v, 0) for v in one.values())
                + taste * (one["label"] == "yes")
                + rng.gumbel()
                for one in shown
            ]
            rows += [
                {
                    "subject": f"s{s}",
                    "task": k,
                    "chosen": int(np.argmax(u) == i),
                    **one,
                    "w": 0.5 + s % 3,
                }
                for i, one in enumerate(shown)
            ]
    return pd.DataFrame(rows)


def oracle(
    data: pd.DataFrame, baselines: dict[str, str], weighted: bool, attributes: tuple[str, ...]
) -> dict[tuple[str, str], tuple[float, float]]:
    """statsmodels' WLS of the choice on dummies, errors clustered by subject."""
    dummies = {}
    for a in attributes:
        for level in sorted(set(data[a]) - {baselines[a]}):
            dummies[a, level] = (data[a] == level).astype(float).to_numpy()
    x = sm.add_constant(np.column_stack(list(dummies.values())))
    w = data["w"] if weighted else np.ones(len(data))
    groups = pd.factorize(data["subject"])[0]
    fit = sm.WLS(data["chosen"].to_numpy(float), x, weights=w).fit(
        cov_type="cluster", cov_kwds={"groups": groups}
    )
    return {key: (float(fit.params[i]), float(fit.bse[i])) for i, key in enumerate(dummies, 1)}


@pytest.mark.parametrize(
    ("seed", "weighted", "profiles"), [(0, False, 2), (1, True, 2), (2, True, 4), (3, False, 3)]
)
def test_effects_and_errors_are_those_of_a_weighted_regression(
    seed: int, weighted: bool, profiles: int
) -> None:
    data = simulated(20, 6, seed, profiles)
    base = {"colour": "red", "price": "5", "label": "no"}
    found = estimate(
        {a: list(data[a]) for a in LEVELS},
        data["chosen"].to_numpy(),
        list(data["subject"]),
        data["w"].to_numpy() if weighted else None,
        {"colour": "red"},
    )
    expected = oracle(data, base, weighted, tuple(LEVELS))
    assert {(e.attribute, e.level) for e in found.effects} == set(expected)
    for e in found.effects:
        value, se = expected[e.attribute, e.level]
        assert e.baseline == base[e.attribute]
        assert (e.value, e.se) == (pytest.approx(value, abs=1e-10), pytest.approx(se, rel=1e-9))
        assert e.high - e.value == pytest.approx(student.ppf(0.975, 19) * se, rel=1e-9)
        assert e.p == pytest.approx(2 * student.sf(abs(value / se), 19), rel=1e-8)
    assert any("20 clusters" in note for note in found.notes)


def test_a_missing_level_is_dropped_or_kept_and_said() -> None:
    data = simulated(30, 6, 4)
    holes = np.random.default_rng(0).random(len(data)) < 0.2
    columns = {a: list(data[a]) for a in LEVELS}
    columns["label"] = [None if h else v for h, v in zip(holes, data["label"], strict=True)]
    dropped = estimate(columns, data["chosen"].to_numpy(), list(data["subject"]))
    assert dropped.left_out == holes.sum()
    assert any(
        f"label is missing on {holes.sum()} profile(s), which are left out" in n
        for n in dropped.notes
    )
    expected = oracle(
        data[~holes], {"colour": "blue", "price": "5", "label": "no"}, False, tuple(LEVELS)
    )
    for e in dropped.effects:
        assert (e.value, e.se) == pytest.approx(expected[e.attribute, e.level], rel=1e-8)
    kept = estimate(columns, data["chosen"].to_numpy(), list(data["subject"]), missing="level")
    expected = oracle(
        data.assign(label=np.where(holes, MISSING, data["label"])),
        {"colour": "blue", "price": "5", "label": "no"},
        False,
        tuple(LEVELS),
    )
    for e in kept.effects:
        assert (e.value, e.se) == pytest.approx(expected[e.attribute, e.level], rel=1e-8)


def test_a_null_chooser_has_no_effects() -> None:
    data = simulated(60, 8, 5)
    rng = np.random.default_rng(6)
    first = rng.integers(2, size=len(data) // 2)
    chosen = np.column_stack([first, 1 - first]).ravel()
    found = estimate({a: list(data[a]) for a in LEVELS}, chosen, list(data["subject"]))
    assert all(abs(e.value) < 4 * e.se for e in found.effects)


def test_levels_go_by_size() -> None:
    data = simulated(20, 4, 7)
    found = estimate(
        {"price": list(data["price"])}, data["chosen"].to_numpy(), list(data["subject"])
    )
    assert [(e.baseline, e.level) for e in found.effects] == [("5", "10"), ("5", "20")]


def json_of(path: Path, *options: str) -> dict:
    done = calculator("amce", str(path), *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command(tmp_path: Path) -> None:
    data = simulated(25, 5, 8)
    data.loc[data["task"].eq(4) & data["subject"].eq("s3"), "chosen"] = 0
    data.loc[7, "colour"] = np.nan
    data.to_csv(tmp_path / "c.csv", index=False)
    found = json_of(tmp_path / "c.csv", "--weight", "w", "--baseline", "colour=green")
    used = data[~(data["task"].eq(4) & data["subject"].eq("s3"))].drop(index=7)
    expected = oracle(used, {"colour": "green", "price": "5", "label": "no"}, True, tuple(LEVELS))
    for e in found["effects"]:
        assert (e["value"], e["se"]) == pytest.approx(
            expected[e["attribute"], e["level"]], rel=1e-8
        )
    assert (
        found["tasks"],
        found["clusters"],
        found["profiles"],
        found["profiles_left_out"],
        found["cluster"],
    ) == (124, 25, 247, 1, "subject")
    assert any("1 task(s) in which no profile was chosen" in n for n in found["notes"])
    one = json_of(tmp_path / "c.csv", "--attributes", "label")
    assert [e["attribute"] for e in one["effects"]] == ["label"]
    assert any("unused columns: colour, price, w" in n for n in one["notes"])
    text = calculator("amce", str(tmp_path / "c.csv"), "--weight", "w").stdout
    assert "baseline" in text
    assert "247 profiles in 124 tasks, 25 clusters by subject" in text


def test_probabilities_and_single_profiles(tmp_path: Path) -> None:
    data = simulated(20, 5, 9)
    data["chosen"] = np.where(data["chosen"] == 1, 0.75, 0.25)
    data.to_csv(tmp_path / "p.csv", index=False)
    halves = json_of(tmp_path / "p.csv", "--attributes", "colour,price,label")
    data["chosen"] = np.where(data["chosen"] == 0.75, 1, 0)
    data.to_csv(tmp_path / "p.csv", index=False)
    whole = json_of(tmp_path / "p.csv", "--attributes", "colour,price,label")
    for a, b in zip(halves["effects"], whole["effects"], strict=True):
        assert 2 * a["value"] == pytest.approx(b["value"], abs=1e-12)
    data.assign(task=range(len(data))).to_csv(tmp_path / "single.csv", index=False)
    assert json_of(tmp_path / "single.csv", "--attributes", "label")["tasks"] == len(data)


def test_a_profile_that_stands_twice_is_said(tmp_path: Path) -> None:
    data = simulated(10, 3, seed=4)
    again = data[data["chosen"] == 0].head(1)
    pd.concat([data, again]).to_csv(tmp_path / "c.csv", index=False)
    found = json_of(tmp_path / "c.csv")
    (note,) = [n for n in found["notes"] if "number of profiles" in n]
    assert note.startswith(
        "1 task(s) have another number of profiles than the usual 2 (first: line"
    )
    data.to_csv(tmp_path / "c.csv", index=False)
    assert not any("number of profiles" in n for n in json_of(tmp_path / "c.csv")["notes"])


def test_combinations_that_never_appear_are_said() -> None:
    data = simulated(30, 8, 10)
    data = data[~(data["colour"].eq("red") & data["price"].eq("20"))]
    found = estimate(
        {a: list(data[a]) for a in LEVELS}, data["chosen"].to_numpy(), list(data["subject"])
    )
    assert any("no profile combines colour red with price 20" in n for n in found.notes)


GOOD = "subject,task,chosen,colour,price\n" + "".join(
    f"s{i // 8},{i // 2},{(i + i // 4) % 2},{'red' if i % 3 else 'blue'},{i % 5 // 2}\n"
    for i in range(40)
)


@pytest.mark.parametrize(
    ("text", "options", "parts"),
    [
        (GOOD, ("--baseline", "colour=pink"), ("'pink'", "blue, red")),
        (GOOD, ("--baseline", "size=1"), ("size", "no attribute")),
        (GOOD, ("--baseline", "colour"), ("ATTRIBUTE=LEVEL",)),
        (GOOD, ("--attributes", "colour,shape"), ("shape",)),
        (GOOD, ("--attributes", "chosen"), ("chosen cannot be an attribute",)),
        (GOOD, ("--weight", "w"), ("lacks", "w")),
        (GOOD.replace("s0,0,0,blue", "s0,0,2,blue"), (), ("line 2", "probability")),
        (GOOD.replace("s0,0,0,blue", "s0,0,1,blue"), (), ("line 2", "sums to 2")),
        (GOOD.replace("s0,0,0,blue", "s0,0,yes,blue"), (), ("line 2", "'yes'")),
        (GOOD.replace("s0,0,0,blue", "s0,0,,blue"), (), ("line 2", "fill it in")),
        (GOOD.replace("s0,0,0,blue", ",0,0,blue"), (), ("line 2", "subject")),
        (GOOD.replace("red", "blue"), (), ("colour", "one level")),
        (GOOD.replace("s0,0,0,blue", "None,0,0,blue"), (), ("line 2", "subject", "'None'")),
        (GOOD.replace("s0,0,0,blue", "?,0,0,blue"), (), ("line 2", "subject", "'?'")),
        (GOOD.replace("price\n", "price,\n"), (), ("line 2", "5 cells")),
        (GOOD.replace("s0,0,0,blue,0\n", ""), (), ("line 2", "one profile")),
    ],
)
def test_bad_conjoints_get_one_line(
    tmp_path: Path, text: str, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    (tmp_path / "c.csv").write_text(text)
    assert_complains(calculator("amce", str(tmp_path / "c.csv"), *options), *parts)


@pytest.mark.parametrize(("text", "level"), [("None", True), ("NULL", False), ("#N/A", False)])
def test_what_is_no_level_is_left_out(tmp_path: Path, text: str, level: bool) -> None:
    (tmp_path / "c.csv").write_text(GOOD.replace("red", text))
    found = calculator("amce", str(tmp_path / "c.csv"), "--json")
    if level:  # somebody's religion or title may be None
        effects = json.loads(found.stdout)["effects"]
        assert {e["baseline"] for e in effects if e["attribute"] == "colour"} == {"None"}
    else:
        assert_complains(found, "colour", "one level")


@pytest.mark.parametrize("words", [("FALSE", "TRUE"), ("False", "True")])
def test_choices_may_be_logical(tmp_path: Path, words: tuple[str, str]) -> None:
    """As R and pandas write them, and as ``fit`` reads them."""
    data = simulated(25, 6, 5).drop(columns="w")
    data.to_csv(tmp_path / "c.csv", index=False)
    known = json_of(tmp_path / "c.csv")
    data.assign(chosen=[words[c] for c in data["chosen"]]).to_csv(tmp_path / "c.csv", index=False)
    assert json_of(tmp_path / "c.csv") == known


def test_levels_that_look_alike(tmp_path: Path) -> None:
    """Equal numbers are one level, as if the file had written them alike; case is pointed out."""
    data = simulated(25, 6, 5)
    data["price"] = data["price"].replace({"20": "7.5"})
    alike = data.copy()
    odd = np.arange(len(data)) % 3 == 0
    alike.loc[odd, "price"] = data["price"][odd].replace({"5": "5.0", "10": "1e1", "7.5": "7.50"})
    text = alike.drop(columns="w").to_csv(index=False)
    data.drop(columns="w").to_csv(tmp_path / "clean.csv", index=False)
    (tmp_path / "c.csv").write_text(text)
    (tmp_path / "comma.csv").write_text(text.replace(",", ";").replace(".", ","))
    clean = json_of(tmp_path / "clean.csv")
    found = json_of(tmp_path / "c.csv", "--baseline", "price=5.0")
    assert found["effects"] == clean["effects"]
    assert [e["level"] for e in clean["effects"] if e["attribute"] == "price"] == ["7.5", "10"]
    for pair in (("5.0", "5"), ("1e1", "10"), ("7.50", "7.5")):
        assert any(
            f"{a} and {b} are the same number" in n
            for n in found["notes"]
            for a, b in (pair, pair[::-1])
        )
    comma = json_of(tmp_path / "comma.csv")["effects"]
    assert [e["level"] for e in comma if e["attribute"] == "price"] == ["7,5", "10"]
    assert [e["value"] for e in comma] == [e["value"] for e in clean["effects"]]
    (tmp_path / "case.csv").write_text(text.replace("red", "Red", 40))
    told = json_of(tmp_path / "case.csv")
    assert any("Red and red differ only in case" in n for n in told["notes"])
    assert {(e["baseline"], e["level"]) for e in told["effects"]} >= {("Red", "red")}
    (tmp_path / "marks.csv").write_text(text.replace(",", ";").replace(";7.50", ";7,50"))
    said = " ".join(json_of(tmp_path / "marks.csv")["notes"])
    assert "levels of price are taken as text" in said
    assert "both decimal marks" in said


def test_attributes_that_say_the_same_are_refused() -> None:
    data = simulated(20, 4, 11)
    twice = {"colour": list(data["colour"]), "copy": list(data["colour"])}
    with pytest.raises(ValueError, match=r"copy .* determined by other attributes"):
        estimate(twice, data["chosen"].to_numpy(), list(data["subject"]))


def test_a_level_of_one_subject_has_no_standard_error() -> None:
    data = simulated(20, 6, 12)
    label = np.where(data["subject"].eq("s0") & data["task"].lt(3), "odd", data["label"])
    found = estimate({"label": list(label)}, data["chosen"].to_numpy(), list(data["subject"]))
    odd = next(e for e in found.effects if e.level == "odd")
    assert odd.se is None
    assert any("label odd" in n and "single cluster" in n for n in found.notes)


def test_too_many_levels_are_no_attribute() -> None:
    data = simulated(20, 6, 13)
    with pytest.raises(ValueError, match="too many"):
        estimate(
            {"row": [str(i) for i in range(len(data))]},
            data["chosen"].to_numpy(),
            list(data["subject"]),
        )


def test_a_column_of_weights_is_used_and_is_no_attribute(tmp_path: Path) -> None:
    frame = simulated(30, 6, 4).rename(columns={"w": "weight"})
    frame.to_csv(tmp_path / "c.csv", index=False)
    file = str(tmp_path / "c.csv")
    own, told = (
        json.loads(calculator("amce", file, *more, "--json").stdout)
        for more in ((), ("--weight", "weight", "--attributes", "colour, price,label"))
    )
    assert own["effects"] == told["effects"]
    assert "weight" not in {row["attribute"] for row in own["effects"]}
    assert any("holds sampling weights" in note for note in own["notes"])
    assert not any("holds sampling weights" in note for note in told["notes"])


def test_no_errors_from_as_few_clusters_as_effects(tmp_path: Path) -> None:
    simulated(5, 20, 1).drop(columns="w").to_csv(tmp_path / "c.csv", index=False)
    assert_complains(calculator("amce", str(tmp_path / "c.csv")), "more clusters")
