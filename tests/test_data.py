"""Data in: every shape and format gives the same estimate, and what is doubtful is refused with
file, line, text and rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from shell import allocation_choices, call, complains, json_of
from test_calculator import DATA

from econmoral.economics.choice import Decision, logit
from econmoral.economics.games import BATTERY, GAMES, belief_weights, draw_beliefs, tables_of
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import allocations, difference, fit, ratio, restrict
from econmoral.files.sheet import read_sheet
from econmoral.people.choices import read_choices

BASE = allocation_choices(subjects=25, per=20, seed=1)
CHOICES = ["--family", "fehr_schmidt", "--cluster", "sid"]


def text(
    separator: str = ",", decimal: str = ".", encoding: str = "utf-8"
) -> Callable[[pd.DataFrame, Path], Path]:
    def write(frame: pd.DataFrame, folder: Path) -> Path:
        path = folder / ("c.tsv" if separator == "\t" else "c.csv")
        frame.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
        return path

    return write


def stata(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_stata(folder / "c.dta", write_index=False)
    return folder / "c.dta"


def parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "c.parquet", index=False)
    return folder / "c.parquet"


def lines(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_json(folder / "c.jsonl", orient="records", lines=True)
    return folder / "c.jsonl"


def excel(frame: pd.DataFrame, folder: Path) -> Path:
    body = frame.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")
    (folder / "c.csv").write_bytes(b"\xef\xbb\xbf" + b"sep=;\r\n" + body.encode())
    return folder / "c.csv"


def several(frame: pd.DataFrame, folder: Path) -> Path:
    """The same choices as options 1 and 2, in halves of a point, decimal comma."""
    names = {"self_x": "self_1", "other_x": "other_1", "self_y": "self_2", "other_y": "other_2"}
    wide = frame.rename(columns=names).assign(choice=2 - frame["choice_x"]).drop(columns="choice_x")
    return text(";", ",")(wide, folder)


FORMATS: dict[str, Callable[[pd.DataFrame, Path], Path]] = {
    "comma": text(),
    "semicolon and decimal comma": text(";", ","),
    "tab": text("\t"),
    "bar": text("|"),
    "mark": text(encoding="utf-8-sig"),
    "utf-16": text("\t", encoding="utf-16"),
    "utf-16 without a mark": text("\t", encoding="utf-16-le"),
    "utf-16 without a mark, big end first": text(encoding="utf-16-be"),
    "utf-32": text("\t", encoding="utf-32"),
    "stata": stata,
    "parquet": parquet,
    "lines": lines,
    "excel": excel,
    "several options": several,
}
PUBLISHED = {
    "alpha": (0.0834529, 0.014809),
    "beta": (0.2605396, 0.018787),
    "gamma": (0.0717238, 0.013506),
    "delta": (-0.0416879, 0.011308),
    "lambda": (0.0155740, 0.000736),
}


@pytest.mark.skipif(
    DATA is None,
    reason="the authors' replication data are not here: put them into a folder beside the project",
)
@pytest.mark.parametrize("kind", FORMATS)
def test_published_estimates_through_every_format(kind: str, tmp_path: Path) -> None:
    frame = pd.read_csv(DATA, dtype={"sid": str})
    dropped = set(pd.read_csv(DATA.parent / "dropped_subjects.csv", header=None, dtype=str)[0])
    frame = frame[~frame["sid"].isin(dropped)].reset_index(drop=True)
    money = [c for c in frame if c.startswith(("self_", "other_"))]
    frame[money] = frame[money] + 0.5  # a decimal mark in every file; the level does not matter
    sample = read_choices(FORMATS[kind](frame, tmp_path), "bruhin_fehr_schunk", ["sid"])
    found = fit(sample.data)
    assert (found.n, found.clusters) == (18720, 160)
    for name, (value, se) in PUBLISHED.items():
        assert found.estimates[name] == pytest.approx(value, abs=6e-8)
        assert found.se[name] == pytest.approx(se, abs=6e-7)
    assert found.log_likelihood == pytest.approx(-5472.3142, abs=6e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_estimate(kind: str, tmp_path: Path) -> None:
    frame = BASE.copy()
    frame[["self_x", "self_y"]] += 0.25
    own, other = (frame[[f"{w}_x", f"{w}_y"]].to_numpy() for w in ("self", "other"))
    truth = fit(
        allocations(
            own, other, 1 - frame["choice_x"].to_numpy(), list(frame["sid"]), "fehr_schmidt"
        )
    )
    path = FORMATS[kind](frame.assign(note="é"), tmp_path)
    found = json_of("fit", path, *CHOICES)
    assert (found["n"], found["clusters"]) == (500, 25)
    for name, value in truth.estimates.items():
        assert found["estimates"][name]["value"] == pytest.approx(value, rel=1e-12)
    assert any("columns not used: note" in n for n in found["data_notes"])


# ---- games


def plays(n: int = 60, per: int = 18, seed: int = 0, kappa: float = 0.4) -> pd.DataFrame:
    """Whole plans in the battery, with stated beliefs."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(n):
        for k in range(per):
            protocol = BATTERY[k % 18]
            beliefs = draw_beliefs(protocol.game, rng)
            u = FAMILIES["alpha_beta_kappa"].utility(
                protocol.tables,
                belief_weights(protocol.game, beliefs),
                {"alpha": 0.1, "beta": 0.2, "kappa": kappa},
            )
            plan = GAMES[protocol.game].strategies[rng.choice(len(u), p=logit(u, 0.1))]
            row = {
                "subject": f"{s:02d}",
                "game": protocol.game,
                **dict(zip("TRPS", protocol.payoffs, strict=True)),
            }
            row |= {f"belief{i}": b for i, b in enumerate(beliefs, 1)} | {
                f"move{i}": m for i, m in enumerate(plan, 1)
            }
            rows.append(row)
    return pd.DataFrame(rows)


PLAYS = plays()


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.astype(object)
    for i, row in frame.iterrows():
        for k, info in enumerate(GAMES[row["game"]].info_sets, 1):
            frame.loc[i, f"move{k}"] = 1 + info.actions.index(row[f"move{k}"])
    return frame


def as_beginnings(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    for k in (1, 2, 3):
        frame[f"move{k}"] = frame[f"move{k}"].str[0].str.lower()
    return frame


def as_plans(frame: pd.DataFrame) -> pd.DataFrame:
    plans = [
        "".join(r[:3]) if g == "spd" else ",".join(r[:2])
        for g, *r in frame[["game", "move1", "move2", "move3"]].itertuples(index=False)
    ]
    return frame.drop(columns=["move1", "move2", "move3"]).assign(plan=plans)


def as_percent(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    frame[["belief1", "belief2", "belief3"]] *= 100
    return frame


def as_percent_signs(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    for c in ("belief1", "belief2", "belief3"):
        frame[c] = [f"{100 * b:.0f} %" if b == b else "" for b in frame[c]]
    return frame


@pytest.mark.parametrize(
    "change", [lambda f: f, as_numbers, as_beginnings, as_plans, as_percent, as_percent_signs]
)
def test_moves_and_beliefs_in_every_spelling(
    change: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    frame = PLAYS[PLAYS["subject"] < "12"]
    decisions = []
    for row in frame.itertuples():
        tables = tables_of(row.game, (row.T, row.R, row.P, row.S))
        beliefs = [b for b in (row.belief1, row.belief2, row.belief3) if b == b]
        plan = tuple(m for m in (row.move1, row.move2, row.move3) if isinstance(m, str))
        choice = np.array([s == plan for s in GAMES[row.game].strategies], float)
        decisions.append(Decision(tables, belief_weights(row.game, beliefs), choice, row.subject))
    truth = fit(decisions, "homo_moralis")
    change(frame).to_csv(tmp_path / "g.csv", index=False)
    sample = read_choices(tmp_path / "g.csv", "homo_moralis")
    said = [n for n in sample.notes if "per cent" in n]
    assert said == (["beliefs read as per cent (largest 90)"] if change is as_percent else [])
    said = [n for n in sample.notes if "from numbers" in n]
    assert ["tg move1 1 = trust, 2 = distrust; tg move2 1 = give" in n for n in said] == (
        [True] if change is as_numbers else []
    )
    found = fit(sample.data)
    assert found.clusters == 12
    for name, value in truth.estimates.items():
        assert found.estimates[name] == pytest.approx(value, rel=1e-9)
        assert found.se[name] == pytest.approx(truth.se[name], rel=1e-9)


def test_labels_of_stata_are_words_and_codes_stay_identifiers(tmp_path: Path) -> None:
    frame = PLAYS[(PLAYS["game"] == "tg") & (PLAYS["subject"] < "12")]
    frame = frame.drop(columns=["belief3", "move3"]).reset_index(drop=True)
    frame.to_csv(tmp_path / "g.csv", index=False)
    # as ``encode`` does: 1 = distrust, 2 = trust; people with the same label stay two
    labelled = frame.astype(dict.fromkeys(("game", "move1", "move2"), "category"))
    labels = {"subject": dict.fromkeys(range(12), "student")}
    labelled.assign(subject=frame["subject"].astype(int)).to_stata(
        tmp_path / "g.dta", write_index=False, value_labels=labels
    )
    plain, coded = (read_choices(tmp_path / f"g.{kind}", "homo_moralis") for kind in ("csv", "dta"))
    assert len(coded.data.names) == 12
    assert fit(coded.data).estimates == fit(plain.data).estimates
    assert "Stata's value labels are read in game, move1, move2" in coded.notes


@pytest.mark.parametrize(
    ("labels", "cells"), [({1: "b", 2: "c"}, ["b", "c"]), ({1: "left", 2: "right"}, ["1", "2"])]
)
def test_labels_of_a_choice_are_read_where_they_name_options(
    labels: dict[int, str], cells: list[str], tmp_path: Path
) -> None:
    pd.DataFrame({"choice": [1, 2]}).to_stata(
        tmp_path / "c.dta", write_index=False, value_labels={"choice": labels}
    )
    assert read_sheet(tmp_path / "c.dta").columns["choice"] == cells


def test_absent_beliefs_are_even(tmp_path: Path) -> None:
    frame = PLAYS[PLAYS["subject"] < "10"].copy()
    beliefs = ["belief1", "belief2", "belief3"]
    frame.drop(columns=beliefs).to_csv(tmp_path / "none.csv", index=False)
    frame[beliefs] = frame[beliefs].where(frame[beliefs].isna(), 0.5)
    frame.to_csv(tmp_path / "half.csv", index=False)
    none, half = (read_choices(tmp_path / f"{n}.csv", "homo_moralis") for n in ("none", "half"))
    assert fit(none.data).estimates == fit(half.data).estimates
    assert any("equally likely" in n for n in none.notes)


@pytest.mark.parametrize("seen", [("move1",), ("move2", "move3"), ("move2",)])
def test_part_of_a_plan_gives_the_sum_over_the_plans_that_fit(
    seen: tuple[str, ...], tmp_path: Path
) -> None:
    frame = PLAYS[PLAYS["game"] == "spd"].copy()
    for column in {"move1", "move2", "move3"} - set(seen):
        frame[column] = ""
    frame.to_csv(tmp_path / "part.csv", index=False)
    sample = read_choices(tmp_path / "part.csv", "homo_moralis")
    found = fit(sample.data)
    assert any("only part of a plan" in n for n in sample.notes)

    def value(kappa: float, precision: float) -> float:
        """lnL by the formula, one row at a time."""
        total = 0.0
        for row in frame.itertuples():
            tables = tables_of("spd", (row.T, row.R, row.P, row.S))
            weights = belief_weights("spd", (row.belief1, row.belief2, row.belief3))
            u = (1 - kappa) * tables.pi @ weights + kappa * tables.alike
            p = np.exp(precision * (u - u.max()))
            p /= p.sum()
            fits = [
                all(s[int(c[4]) - 1] == getattr(row, c) for c in seen)
                for s in GAMES["spd"].strategies
            ]
            total += np.log(p[fits].sum())
        return total

    kappa, precision = found.estimates["kappa"], found.estimates["lambda"]
    assert found.log_likelihood == pytest.approx(value(kappa, precision), rel=1e-9)
    for step in ((0.01, 0), (-0.01, 0), (0, 0.002), (0, -0.002)):
        assert value(kappa + step[0], precision + step[1]) < found.log_likelihood
    assert abs(kappa - 0.4) < 5 * found.se["kappa"]
    h = 1e-4 * np.array([1.0, 0.1])
    grid = [[value(kappa + a * h[0], precision + b * h[1]) for b in (-1, 0, 1)] for a in (-1, 0, 1)]
    hessian = np.array(
        [
            [
                (grid[2][1] - 2 * grid[1][1] + grid[0][1]) / h[0] ** 2,
                (grid[2][2] - grid[2][0] - grid[0][2] + grid[0][0]) / (4 * h[0] * h[1]),
            ],
            [0, (grid[1][2] - 2 * grid[1][1] + grid[1][0]) / h[1] ** 2],
        ]
    )
    hessian[1, 0] = hessian[0, 1]
    se = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    by_hessian = fit(sample.data, errors="hessian")
    assert by_hessian.se["kappa"] == pytest.approx(se[0], rel=1e-3)
    assert by_hessian.se["lambda"] == pytest.approx(se[1], rel=1e-3)


def test_a_public_good_and_a_prisoners_dilemma(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for s in range(40):
        for endowment, mpcr in ((20, 0.4), (10, 0.7), (20, 0.8)):
            tables = tables_of("public_good", (4, endowment, mpcr, 10))
            u = 0.6 * tables.pi @ np.full(11, 1 / 11) + 0.4 * tables.alike
            give = tables.strategies[rng.choice(11, p=logit(u, 0.2))]
            rows.append(
                {
                    "subject": f"s{s}",
                    "game": "public_good",
                    "players": 4,
                    "endowment": endowment,
                    "mpcr": mpcr,
                    "steps": 10,
                    "move1": give,
                }
            )
        for t, r in ((7, 5), (9, 6), (12, 8)):
            tables = tables_of("pd", (r, 2, t, 3))
            u = 0.6 * tables.pi @ np.array([0.7, 0.3]) + 0.4 * tables.alike
            move = rng.choice(2, p=logit(u, 0.2))
            rows.append(
                {
                    "subject": f"s{s}",
                    "game": "pd",
                    "T": t,
                    "R": r,
                    "P": 3,
                    "S": 2,
                    "belief1": 70,
                    "move1": "CD"[move],
                }
            )
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    found = json_of("fit", tmp_path / "t.csv", "--family", "homo_moralis")
    assert (found["n"], found["clusters"]) == (240, 40)
    assert abs(found["estimates"]["kappa"]["value"] - 0.4) < 4 * found["estimates"]["kappa"]["se"]
    bad = pd.DataFrame(rows)
    bad.loc[3, "move1"] = "X"
    bad.to_csv(tmp_path / "t.csv", index=False)
    line = complains("fit", tmp_path / "t.csv", "--family", "homo_moralis")
    assert "line 5" in line
    assert "'X'" in line
    assert "C, D" in line
    bad.drop(columns="mpcr").to_csv(tmp_path / "t.csv", index=False)
    assert "mpcr" in complains("fit", tmp_path / "t.csv", "--family", "homo_moralis")


def test_three_options_and_fewer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own, other = rng.integers(0, 100, (2, 900, 3)) / 1.0
    u = 0.7 * own + 0.3 * other
    u[:300, 2] = -np.inf  # a third has two options
    p = np.exp(0.05 * u - (0.05 * u).max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    chosen = np.array([rng.choice(3, p=row) for row in p])
    frame = pd.DataFrame({"subject": np.repeat(np.arange(30), 30)})
    for k in range(3):
        frame[f"self_{k + 1}"], frame[f"other_{k + 1}"] = own[:, k], other[:, k]
    frame.loc[:299, ["self_3", "other_3"]] = np.nan
    frame["choice"] = ["abc"[c] for c in chosen]
    frame.to_csv(tmp_path / "m.csv", index=False)
    found = json_of("fit", tmp_path / "m.csv", "--family", "altruism")
    lam, gamma = found["estimates"]["lambda"]["value"], found["estimates"]["altruism"]["value"]
    v = lam * (own + gamma * other)
    v[:300, 2] = -np.inf
    value = sum(row[c] - np.logaddexp.reduce(row) for row, c in zip(v, chosen, strict=True))
    assert found["log_likelihood"] == pytest.approx(value, rel=1e-9)
    assert found["null_log_likelihood"] == pytest.approx(-300 * np.log(2) - 600 * np.log(3))
    assert abs(gamma - 3 / 7) < 4 * found["estimates"]["altruism"]["se"]
    for column, value, part in (
        ("choice", "c", "no such option"),
        ("choice", "4", "1 to 3"),
        ("self_2", "", "both payoffs"),
        ("self_1", "", "both payoffs"),
    ):
        bad = frame.astype(object)
        bad.loc[0, column] = value
        bad.to_csv(tmp_path / "b.csv", index=False)
        line = complains("fit", tmp_path / "b.csv", "--family", "altruism")
        assert "line 2" in line
        assert part in line
        assert column in line


# ---- faults


def write(folder: Path, frame: pd.DataFrame, column: str, row: int, value: object) -> Path:
    bad = frame.astype(object)
    bad.loc[row, column] = value
    bad.to_csv(folder / "b.csv", index=False)
    return folder / "b.csv"


UNNAMED = ["", "NA", "nan", "None", " ", ".", "NULL", "#N/A", "<NA>", "-", "?", "\u200b"]


@pytest.mark.parametrize("value", UNNAMED)
@pytest.mark.parametrize("row", [0, 7])
def test_a_missing_identifier_is_refused_with_its_line(
    value: str, row: int, tmp_path: Path
) -> None:
    line = complains("fit", write(tmp_path, BASE, "sid", row, value), *CHOICES)
    assert f"line {row + 2}" in line
    assert "sid" in line
    assert "identifier" in line


def test_a_missing_identifier_is_refused_in_every_format(tmp_path: Path) -> None:
    bad = BASE.copy()
    bad.loc[4, "sid"] = None
    for kind in ("parquet", "lines", "tab"):
        assert "5" in complains("fit", FORMATS[kind](bad, tmp_path), *CHOICES) or kind == "tab"
    record = {
        "id": "a",
        "set": "p",
        "mode": "direct",
        "arm": "b",
        "game": "tg",
        "payoffs": [80, 50, 30, 20],
        "beliefs": [0.5, 0.5],
    }
    rows = [record | {"id": i, "probabilities": [0.4, 0.3, 0.2, 0.1]} for i in ("a", None, "c")]
    (tmp_path / "choices.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "line 2: no id" in complains("fit", tmp_path / "choices.jsonl")


def test_the_index_of_a_pandas_frame_is_a_column_of_its_parquet_file(tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    known = BASE.rename(columns={"sid": "subject"})
    known.to_parquet(file)
    found = json_of("fit", file, *CHOICES[:2])
    for index in (["subject"], ["subject", "q"]):
        known.assign(q=0).set_index(index).to_parquet(file)
        again = json_of("fit", file, *CHOICES[:2])
        assert again["clusters"] == found["clusters"] == 25
        assert again["estimates"]["beta"] == found["estimates"]["beta"]
    known[known["self_x"] > 0].sort_values("self_x").to_parquet(file)  # numbers without a name
    assert json_of("fit", file, *CHOICES[:2])["clusters"] == 25
    known.rename_axis("subject").to_parquet(file)
    assert "names subject twice" in complains("fit", file, *CHOICES[:2])


def test_a_column_that_is_known_but_for_its_capitals_is_refused(tmp_path: Path) -> None:
    file, family = tmp_path / "c.csv", CHOICES[:2]
    refused = {"sid": "Subject", "wt": "Weight", "kind": "Q", "mean": "V", "third": "Self_3"}
    for old, new in refused.items():
        BASE.assign(wt=1, kind=0, mean=0, third=5).rename(columns={old: new}).to_csv(
            file, index=False
        )
        said = complains("fit", file, *family)
        assert f"only capitals differ, write {new.lower()} for {new}" in said
    # one that is named, or not needed, stands as it is
    named = BASE.assign(wt=2).rename(columns={"sid": "Subject", "wt": "Weight"})
    named.to_csv(file, index=False)
    found = json_of("fit", file, *family, "--cluster", "Subject", "--weight", "Weight")
    assert found["clusters"] == 25
    game = {"subject": ["a", "b"], "game": "tg", "T": 80, "R": 50, "P": 30, "S": 20}
    plans = {"move1": "t", "Move2": "k", "belief1": 0.5, "belief2": 0.5}
    pd.DataFrame(game | plans).to_csv(file, index=False)
    assert "write move2 for Move2" in complains("fit", file)
    pd.DataFrame(game | {"plan": "t k", "Belief1": 0.5}).to_csv(file, index=False)
    assert "write belief1 for Belief1" in complains("fit", file)
    budgets = {"p1": [1, 2], "p2": [2, 1], "x1": [1, 3], "x2": [3, 1]}
    pd.DataFrame({"Subject": ["a", "b"]} | budgets).to_csv(file, index=False)
    assert "write subject for Subject" in complains("garp", file)
    assert len(json_of("garp", file, "--subject", "Subject")["subjects"]) == 2
    shown = {"task": [1, 1, 2, 2], "chosen": [0, 1, 1, 0], "colour": list("rbrb")}
    pd.DataFrame({"Subject": list("aabb")} | shown).to_csv(file, index=False)
    assert "write subject for Subject" in complains("amce", file)
    assert "write subject for Subject" in complains("amce", file, "--attributes", "colour")


def test_identifiers_stay_text(tmp_path: Path) -> None:
    frame = BASE.assign(
        sid=[
            {"P000": "1", "P001": "01", "P002": "001", "P003": " 1e0"}.get(s, s)
            for s in BASE["sid"]
        ]
    )
    frame.to_csv(tmp_path / "c.csv", index=False)
    assert json_of("fit", tmp_path / "c.csv", *CHOICES)["clusters"] == 25
    seen = ["\u00e9 " + s for s in BASE["sid"]]  # composed or not, with a blank that does not break
    other = ["e\u0301\u00a0" + s + "\u200b \ufeff" for s in BASE["sid"]]
    unseen = BASE.assign(sid=[(seen, other)[i % 2][i] for i in range(len(BASE))])
    unseen.to_csv(tmp_path / "c.csv", index=False)
    assert json_of("fit", tmp_path / "c.csv", *CHOICES)["clusters"] == 25
    large = BASE.assign(sid=(2.0**60 + np.arange(len(BASE)) * 2.0**10))
    large.to_parquet(tmp_path / "c.parquet")
    assert "too large to be exact" in complains("fit", tmp_path / "c.parquet", *CHOICES)


@pytest.mark.parametrize("tail", [",", ",,", ",5"])
@pytest.mark.parametrize("rows", [(3,), (1, 9, 200)])
def test_rows_that_are_longer_or_shorter_than_the_header_are_refused(
    tail: str, rows: tuple[int, ...], tmp_path: Path
) -> None:
    table = BASE.to_csv(index=False).splitlines()
    for row in rows:
        table[row] += tail
    (tmp_path / "c.csv").write_text("\n".join(table))
    line = complains("fit", tmp_path / "c.csv", *CHOICES)
    assert f"line {rows[0] + 1}" in line
    assert "under a header of 6" in line
    table[rows[0]] = table[rows[0]].rpartition(",")[0].rpartition(",")[0].rpartition(",")[0]
    (tmp_path / "c.csv").write_text("\n".join(table))
    assert f"line {rows[0] + 1}" in complains("fit", tmp_path / "c.csv", *CHOICES)


@pytest.mark.parametrize("column", ["choice_x", "self_y", "other_x"])
@pytest.mark.parametrize(
    "value", ["", "many", "1,000.5", "nan", "inf", "1e400", "0x10", "1_000", "１"]
)
def test_a_cell_is_quoted_with_its_line_and_the_rule(
    column: str, value: str, tmp_path: Path
) -> None:
    path = write(tmp_path, BASE, column, 5, value)
    table = path.read_text().splitlines()
    table[3:3] = ["", "  ", ""]  # blank lines count
    path.write_text("\n".join(table))
    line = complains("fit", path, *CHOICES)
    assert "line 10" in line
    assert column in line
    assert repr(value) in line or "is empty" in line
    assert "1 where X was chosen" in line or "finite number" in line
    assert "np." not in line


def test_choices_coded_1_and_2_are_refused(tmp_path: Path) -> None:
    BASE.assign(choice_x=2 - BASE["choice_x"]).to_csv(tmp_path / "c.csv", index=False)
    line = complains("fit", tmp_path / "c.csv", *CHOICES)
    assert "'2'" in line
    assert "1 where X was chosen and 0 where Y was" in line


def test_lines_are_counted_over_cells_of_several_lines(tmp_path: Path) -> None:
    frame = BASE.assign(remark='said "no,\nnever"')
    path = write(tmp_path, frame, "self_x", 2, "?")
    # three records, two of them of two lines before it
    assert "line 6" in complains("fit", path, *CHOICES)
    # a quote that is never closed
    path.write_text(path.read_text().replace('never"""', 'never""', 1))
    assert "b.csv, line" in complains("fit", path, *CHOICES)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        (",\n", "empty but for separators"),
        (";;\n;;\n", "empty but for separators"),
        ("self_x\n1\n", "no separator recognised"),
        ("self_x,other_x,self_y,other_y,choice_x\n", "no rows"),
        ("self_x,self_x,self_y,other_y,choice_x\n1,1,1,1,1\n", "twice"),
        ("a,b\n1,2\n", "known shapes"),
        ("self_x,other_x,self_y,choice_x\n1,1,1,1\n", "other_y"),
        ("self_1,other_1,self_3,other_3,choice\n1,1,1,1,1\n", "without a gap"),
        ("game,T,R,P,S,move1\nchess,4,3,2,1,C\n", "known games"),
        ("game,T,R,P,S,move1\nspd,1,2,3,4,C\n", "T > R > P > S"),
        ("game,T,R,P,move1\nspd,4,3,2,C\n", "S"),
        ("Game,t,R\npd,4,3\n", "only capitals differ, write game for Game, T for t; it has"),
        ("game,T,R,P,S\nspd,4,3,2,1\n", "lacks the chosen moves"),
        ("game,T,R,P,S,move1\nspd,4,3,2,1,\n", "no move was observed"),
        ("game,T,R,P,S,move1\nspd,4,3,2,1,0\n", "C, D"),
        ("game,T,R,P,S,plan\nspd,4,3,2,1,DD\n", "names 3 move(s), such as CCC"),
        ("game,T,R,P,S,plan,move1\nspd,4,3,2,1,DDC,D\n", "both plan and move"),
        ("game;T;R;P;S;move1;move2;move3\ntg;4;3;2;1;trust;give;D\n", "leave this empty"),
        ("game,T,R,P,S,belief1,move1\nspd,4,3,2,1,.5,C\n", "belief1 to belief3"),
        ("game,T,R,P,S,belief1,belief2,move1\ntg,4,3,2,1,.5,60,t\n", "mixed"),
        (
            "game,T,R,P,S,belief1,belief2,move1\ntg,4,3,2,1,1,10,t\n",
            "out of ten? write shares or %",
        ),
        ("game,T,R,P,S,belief1,belief2,move1\ntg,4,3,2,1,120,60,t\n", "between 0 and 100"),
        ("game,T,R,P,S,belief1,belief2,move1\ntg,4,3,2,1,-.1,.6,t\n", "share between 0 and 1"),
        ("game,T,R,P,S,belief2,move1\ntg,4,3,2,1,.6,t\n", "without a gap"),
        ("game;T;R;P;S;move1\nspd;4,5;3.5;2;1;C\n", "both decimal marks"),
        ("self_x;other_x;self_y;other_y;choice_x\n1.000;200;300;400;1\n", "is that 1000 or 1.000?"),
        (
            'self_x,other_x,self_y,other_y,choice_x\n500,200,300,400,1\n"2,500",200,300,400,1\n',
            "is that 2500 or 2.500?",
        ),
        ("self_x;other_x;self_y;other_y;choice_x;weight\n1;2;3;4;1;0\n", "positive"),
        ("self_x,other_x,self_y,other_y,choice_x\n1e13,2,3,4,1\n", "finite number"),
    ],
)
def test_what_cannot_be_read_gets_one_line(content: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(content)
    family = "homo_moralis" if "game" in content else "altruism"
    line = complains("fit", tmp_path / "c.csv", "--family", family)
    assert part in line
    assert str(tmp_path / "c.csv") in line


@pytest.mark.parametrize("name", ["c.dta", "c.parquet", "c.jsonl", "c.csv", "c.xlsx", "c.csv.gz"])
def test_files_that_are_something_else_get_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04\x00\x00garbage\xff")
    assert name in complains("fit", tmp_path / name, "--family", "altruism")
    assert "is a folder" in complains("fit", tmp_path, "--family", "altruism")
    (tmp_path / "c.json").write_text(BASE.to_json(orient="records"))
    said = complains("fit", tmp_path / "c.json", "--family", "altruism")
    assert "write one object a line, as .jsonl" in said


def test_identical_rows_unused_columns_and_weights_are_said(tmp_path: Path) -> None:
    twice = pd.concat([BASE, BASE.iloc[[3, 4]]]).assign(age=30)
    twice.to_csv(tmp_path / "c.csv", index=False)
    found = json_of("fit", tmp_path / "c.csv", *CHOICES)
    assert found["n"] == 502
    notes = " ".join(found["data_notes"])
    assert "2 row(s) are identical" in notes
    assert "line 502 = line 5" in notes
    assert "not used: age" in notes
    BASE.assign(weight=2.5).to_csv(tmp_path / "w.csv", index=False)
    weighted, plain = (
        json_of("fit", tmp_path / "w.csv", *CHOICES),
        json_of("fit", tmp_path / "c.csv", *CHOICES, "--weight", "age"),
    )
    assert "weighted by the column weight" in " ".join(weighted["data_notes"])
    assert plain["estimates"]["beta"]["value"] == pytest.approx(found["estimates"]["beta"]["value"])
    assert "hessian" in complains(
        "fit", tmp_path / "w.csv", "--family", "fehr_schmidt", "--errors", "hessian"
    )
    for shown in ([], ["--json"]):
        said = complains("fit", tmp_path / "w.csv", *CHOICES, "--intervals", "profile", *shown)
        assert "with weights a likelihood ratio says nothing about the errors" in said


def test_acts_that_a_family_has_no_term_for_are_said_to_be_unused(tmp_path: Path) -> None:
    acts = {"q": np.arange(len(BASE)) % 2, "v": np.arange(len(BASE)) % 3 // 2}
    BASE.assign(**acts).to_csv(tmp_path / "c.csv", index=False)
    unused = {"fehr_schmidt": "q, v", "charness_rabin": "q", "bruhin_fehr_schunk": ""}
    for family, names in unused.items():
        found = json_of("fit", tmp_path / "c.csv", "--family", family, "--cluster", "sid")
        assert found["data_notes"] == ([f"columns not used: {names}"] if names else [])


def measurement(folder: Path, seed: int = 0) -> Path:
    """Exact probabilities of two arms in two sets and two modes."""
    rng, rows = np.random.default_rng(seed), []
    for arm, kappa in (("base", 0.1), ("tuned", 0.6)):
        for held in ("payoffs", "wordings"):
            for mode in ("direct", "reasoned"):
                for i in range(30):
                    protocol = BATTERY[i % 18]
                    beliefs = draw_beliefs(protocol.game, rng)
                    u = FAMILIES["homo_moralis"].utility(
                        protocol.tables,
                        belief_weights(protocol.game, beliefs),
                        {"kappa": kappa + 0.1 * (held == "wordings") + 0.05 * (mode == "direct")},
                    )
                    rows.append(
                        {
                            "id": f"{i}",
                            "set": held,
                            "mode": mode,
                            "arm": arm,
                            "game": protocol.game,
                            "payoffs": protocol.payoffs,
                            "beliefs": beliefs,
                            "strategies": protocol.tables.strategies,
                            "probabilities": logit(u, 0.1).tolist(),
                            "topic": f"t{i % 5}",
                        }
                    )
    (folder / "choices.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder / "choices.jsonl"


def test_one_set_one_mode_one_arm_at_a_time(tmp_path: Path) -> None:
    path = measurement(tmp_path)
    assert "several sets; choose one with --set: payoffs, wordings" in complains("fit", path)
    assert "several modes; choose one with --mode: direct, reasoned" in complains(
        "fit", path, "--set", "payoffs"
    )
    assert "several arms; choose one with --arm: base, tuned" in complains(
        "fit", path, "--set", "payoffs", "--mode", "direct"
    )
    assert "has no arm 'x'; it has base, tuned" in complains(
        "fit", path, "--set", "payoffs", "--mode", "direct", "--arm", "x"
    )
    for held, more in (("payoffs", 0.0), ("wordings", 0.1)):
        for mode, extra in (("direct", 0.05), ("reasoned", 0.0)):
            found = json_of(
                "fit",
                path,
                "--set",
                held,
                "--mode",
                mode,
                "--arm",
                "tuned",
                "--family",
                "homo_moralis",
            )
            assert found["n"] == 30
            assert found["estimates"]["kappa"]["value"] == pytest.approx(
                0.6 + more + extra, abs=1e-6
            )


@pytest.mark.parametrize("again", [0, 29])
def test_measurements_that_were_joined_are_refused(again: int, tmp_path: Path) -> None:
    """The same arms of two models in one file would be pooled, and each decision count twice."""
    path = measurement(tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [r for r in rows if (r["set"], r["mode"], r["arm"]) == ("payoffs", "direct", "base")]
    path.write_text("".join(json.dumps(r) + "\n" for r in [*rows, rows[again]]))
    line = complains("fit", path, "--family", "homo_moralis")
    assert f"line 31: {again} stands in line {again + 1} already" in line


def test_clusters_of_a_measurement_can_be_named(tmp_path: Path) -> None:
    path = measurement(tmp_path)
    some = (
        "fit",
        path,
        "--set",
        "payoffs",
        "--mode",
        "direct",
        "--arm",
        "base",
        "--family",
        "homo_moralis",
    )
    assert json_of(*some)["clusters"] == 30
    assert json_of(*some, "--cluster", "topic")["clusters"] == 5
    assert "no person" in complains(*some, "--cluster", "person")
    assert "is no identifier" in complains(*some, "--cluster", "beliefs")


IDLE = [
    (("--arm", "x"), "no column arm"),
    (("--set", "x"), "no column set"),
    (("--errors", "hessian", "--cluster", "sid"), "--cluster does nothing"),
    (("--errors", "sandwich", "--cluster", "sid"), "--cluster does nothing"),
    (("--types", "2", "--errors", "wild"), "not available with --types"),
    (("--types", "2", "--errors", "sandwich"), "not available with --types"),
    (("--types", "2"), "name the subjects with --cluster"),
    (("--types", "2", "--test", "beta=0"), "--test does nothing"),
    (("--types", "2", "--nlcom", "beta"), "--nlcom does nothing"),
    (("--seed", "3"), "--seed does nothing"),
    (("--replications", "99"), "--replications does nothing"),
    (("--stars",), "--stars does nothing"),
    (("--cluster", "sid", "choice_x", "--errors", "wild"), "two columns"),
    (("--cluster", "sid", "choice_x", "self_x"), "one-way or two-way"),
    (("--cluster", "sid", "sid"), "--cluster names sid twice"),
    (("--weight", "mass"), "mass"),
    (("--fix", "gamma=0"), "no parameter gamma"),
    (("--fix", "beta"), "NAME=VALUE"),
    (("--fix", "beta=x"), "NAME=VALUE"),
    (("--fix", "beta=1e308"), "a number of at most 1e+12"),
    (("--nlcom", "9**9**9**9"), "too large a number; write arithmetic of"),
    (("--fix", "beta=0", "--test", "beta=0"), "no estimated parameter beta"),
    (("--test", "kappa=0"), "no estimated parameter kappa"),
    (("--fix", "alpha=0", "beta=0", "--intervals", "profile"), "only lambda is estimated"),
    (("--nlcom", "__import__('os')"), "not known"),
    (("--nlcom", "beta/("), "--nlcom"),
    (("--nlcom", "1/(beta-beta)"), "division by zero"),
    (("--nlcom", "log(-beta**2)"), "--nlcom"),
    (("--nlcom", "beta/(1-2*bet)"), "'bet' is not known"),
    (("--cluster", "sid", "--errors", "wild", "--replications", "3"), "between 19"),
]


@pytest.mark.parametrize(("options", "part"), IDLE)
def test_every_option_acts_or_is_an_error(
    options: tuple[str, ...], part: str, tmp_path: Path
) -> None:
    BASE.to_csv(tmp_path / "c.csv", index=False)
    assert part in complains("fit", tmp_path / "c.csv", "--family", "fehr_schmidt", *options)


def test_options_that_act(tmp_path: Path) -> None:
    both = pd.concat(
        [
            BASE.assign(arm="a"),
            allocation_choices(25, 20, (0.0, 0.6), seed=2, prefix="Q").assign(arm="b"),
        ]
    )
    both = both.assign(day=[f"d{i % 40}" for i in range(len(both))])
    both.to_csv(tmp_path / "c.csv", index=False)
    path = tmp_path / "c.csv"
    every = json_of("fit", path, *CHOICES)
    arms = {arm: json_of("fit", path, *CHOICES, "--arm", arm) for arm in "ab"}
    assert "not used: arm, day" in " ".join(every["data_notes"])
    assert "not used: day" in " ".join(arms["a"]["data_notes"])
    assert arms["a"]["n"] == arms["b"]["n"] == 500
    assert (
        arms["a"]["estimates"]["beta"]["value"]
        < every["estimates"]["beta"]["value"]
        < arms["b"]["estimates"]["beta"]["value"]
    )
    se = {"cluster": every["estimates"]["beta"]["se"]}
    for kind in ("hessian", "sandwich", "bootstrap", "jackknife"):
        options = ["--family", "fehr_schmidt"] if kind in ("hessian", "sandwich") else CHOICES
        found = json_of(
            "fit",
            path,
            *options,
            "--errors",
            kind,
            *(["--replications", "40"] if kind == "bootstrap" else []),
        )
        assert found["errors"] == kind
        se[kind] = found["estimates"]["beta"]["se"]
    se["two-way"] = json_of("fit", path, *CHOICES, "day")["estimates"]["beta"]["se"]
    assert len(set(se.values())) == len(se)
    wild = json_of(
        "fit", path, *CHOICES, "--errors", "wild", "--replications", "99", "--seed", "1"
    )["estimates"]["beta"]
    assert wild["se"] == se["cluster"]
    assert wild["low"] != every["estimates"]["beta"]["low"]
    profile = json_of("fit", path, *CHOICES, "--intervals", "profile")["estimates"]["beta"]
    assert profile["low"] != every["estimates"]["beta"]["low"]
    asked = json_of(
        "fit",
        path,
        *CHOICES,
        "--test",
        "alpha=0.1",
        "beta=0.3",
        "--nlcom",
        "beta/(1-beta)",
        "--nlcom",
        "log(lambda)",
        "--nlcom",
        "1/(1-2*beta)",
    )
    beta = every["estimates"]["beta"]["value"]
    assert [d["name"] for d in asked["derived"]] == [
        "test alpha = 0.1, beta = 0.3",
        "beta/(1-beta)",
        "log(lambda)",
        "1/(1-2*beta)",  # which has no value at .5
    ]
    assert asked["derived"][3]["value"] == pytest.approx(1 / (1 - 2 * beta))
    assert asked["derived"][1]["value"] == pytest.approx(beta / (1 - beta))
    assert asked["derived"][1]["se"] == pytest.approx(se["cluster"] / (1 - beta) ** 2, rel=1e-5)
    held = json_of("fit", path, *CHOICES, "--fix", "alpha=0.1")
    assert held["fixed"] == {"alpha": 0.1}
    assert set(held["estimates"]) == {"beta", "lambda"}
    swallowed = json_of("fit", "--family", "fehr_schmidt", "--cluster", "sid", path)
    assert swallowed["estimates"] == every["estimates"]
    assert (
        call("fit", path, *CHOICES, "--test", "beta=0", "--nlcom", "1/lambda")[1].count("p =") == 2
    )


def test_several_files_make_one_table_and_what_is_not_identified_has_its_own_exit_code(
    tmp_path: Path,
) -> None:
    BASE.to_csv(tmp_path / "one.csv", index=False)
    allocation_choices(25, 20, (0.0, 0.6), seed=2).to_csv(tmp_path / "two.csv", index=False)
    BASE.assign(choice_x=(BASE["self_x"] > BASE["self_y"]).astype(int)).to_csv(
        tmp_path / "sure.csv", index=False
    )
    names = [tmp_path / f"{n}.csv" for n in ("one", "two", "sure")]
    for kind, mark in (
        ("latex", "\\toprule"),
        ("markdown", "|:--"),
        ("html", "<table>"),
        ("text", "-----"),
    ):
        code, out, _err = call("fit", *names[:2], *CHOICES, "--table", kind)
        assert code == 0
        assert mark in out
        assert "one" in out
        assert "two" in out
    more = ("--intervals", "profile", "--test", "beta=0.3", "--nlcom", "beta/(1-beta)")
    alone = [call("fit", name, *CHOICES, *more)[1].splitlines()[-3:] for name in names[:2]]
    code, out, _ = call("fit", *names, *CHOICES, *more)
    assert code == 3
    for name, said in zip(("one", "two"), alone, strict=True):
        here = [line for line in out.splitlines() if line.startswith(f"{name}: ")]
        assert here[-3:] == [f"{name}: {line}" for line in said]
    code, out, _ = call("fit", *names, *CHOICES, "--table", "text", "--stars")
    assert code == 3
    assert "not identified" in out
    assert "***" in out
    found = json_of("fit", *names, *CHOICES, code=3)["fits"]
    assert [f["identified"] for f in found] == [True, True, False]
    assert found[2]["kind"] == "separated"
    assert found[2]["diverging"]["lambda"] == "+"
    assert found[2]["bounds"]
    assert call("fit", names[2], *CHOICES)[0] == 3


def test_effects_and_two_files_compared(tmp_path: Path) -> None:
    """What ``Fit.effects``, ``difference`` and ``ratio`` give, printed and in the JSON."""
    BASE.to_csv(tmp_path / "one.csv", index=False)
    same_people = allocation_choices(25, 20, (0.0, 0.6), seed=2)
    same_people.to_csv(tmp_path / "two.csv", index=False)
    names = [tmp_path / "one.csv", tmp_path / "two.csv"]
    one, two = (fit(read_choices(name, "fehr_schmidt", ["sid"]).data) for name in names)
    more = ("--effects", "--per", "10", "--difference", "beta", "--ratio", "lambda")
    found = json_of("fit", *names, *CHOICES, *more)
    for sample, here in zip((one, two), found["fits"], strict=True):
        frame = sample.effects(per=10)
        for line, (term, row) in zip(here["derived"], frame.iterrows(), strict=True):
            assert line["name"].endswith(f" {term}")
            assert line["name"].startswith("marginal effect of 10 more of ")
            got = [line[k] for k in ("value", "se", "low", "high")]
            assert got == pytest.approx(row.tolist())
    gap, times = difference(one, two, "beta"), ratio(one, two, "lambda")
    for line, got, null in zip(found["compared"], (gap, times), (0.0, 1.0), strict=True):
        assert (line["value"], line["se"]) == pytest.approx((got.value, got.se))
        assert (line["low"], line["high"]) == pytest.approx(got.interval())
        assert (line["p"], line["against"]) == (pytest.approx(got.p_value(null)), null)
        assert line["clusters_in_both"] == 25
    assert gap.se != pytest.approx(np.hypot(one.se["beta"], two.se["beta"]), rel=1e-6)
    code, out, _ = call("fit", *names, *CHOICES, *more)
    assert code == 0
    assert f"beta, difference (one - two): {gap.value:.6g} (SE {gap.se:.3g})" in out
    assert f"lambda, ratio (one / two): {times.value:.6g} (SE {times.se:.3g})" in out
    assert "taken as the same: 25" in out
    assert f"two: marginal effect of 10 more of own payoff: {frame['effect'].iloc[0]:.6g}" in out
    BASE.assign(choice_x=(BASE["self_x"] > BASE["self_y"]).astype(int)).to_csv(
        tmp_path / "sure.csv", index=False
    )
    code, out, _ = call("fit", names[0], tmp_path / "sure.csv", *CHOICES, *more)
    assert code == 3
    assert "one and sure: not compared, for not both are identified" in out


@pytest.mark.parametrize(
    ("files", "options", "part"),
    [
        (1, ("--cluster", "sid", "--difference", "beta"), "compares two files, got 1"),
        (3, ("--cluster", "sid", "--ratio", "beta"), "compares two files, got 3"),
        (2, ("--cluster", "sid", "--difference", "kappa"), "no estimated parameter kappa"),
        (2, ("--cluster", "sid", "--ratio", "beta", "--table", "text"), "--ratio does nothing"),
        (2, ("--difference", "beta"), "name the column with --cluster"),
        (2, ("--errors", "hessian", "--difference", "beta"), "goes with --errors cluster"),
        (1, ("--cluster", "sid", "--types", "2", "--effects"), "--effects does nothing"),
        (1, ("--per", "10"), "--per does nothing without --effects"),
        (1, ("--effects", "--per", "0"), "--per must be positive"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(
    files: int, options: tuple[str, ...], part: str, tmp_path: Path
) -> None:
    names = [tmp_path / f"{i}.csv" for i in range(files)]
    for name in names:
        BASE.to_csv(name, index=False)
    assert part in complains("fit", *names, "--family", "fehr_schmidt", *options)


def test_clusters_of_unlike_files_are_not_taken_as_the_same(tmp_path: Path) -> None:
    BASE.rename(columns={"sid": "subject"}).to_csv(tmp_path / "a.csv", index=False)
    path = measurement(tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [r for r in rows if (r["set"], r["mode"], r["arm"]) == ("payoffs", "direct", "base")]
    items = (json.dumps(r | {"id": f"P{i:03d}"}) + "\n" for i, r in enumerate(kept))
    path.write_text("".join(items))
    words = ("--family", "fehr_schmidt", "--difference", "beta")
    said = complains("fit", tmp_path / "a.csv", path, *words)
    assert "25 value(s) of subject" in said
    assert "rename them" in said


def test_a_type_that_is_not_identified_ends_with_code_3(tmp_path: Path) -> None:
    frame = pd.concat(
        [
            allocation_choices(20, 40, (0.1, 0.3), 0.006, 1, prefix="a"),
            allocation_choices(10, 40, (0.0, 0.0), 60.0, 2, prefix="b"),
        ]
    )
    frame.to_csv(tmp_path / "c.csv", index=False)
    found = json_of("fit", tmp_path / "c.csv", *CHOICES, "--types", "2", code=3)
    assert found["identified"] is False
    assert "type 2 of 2" in found["reason"]
    shown = call("fit", tmp_path / "c.csv", *CHOICES, "--types", "2")
    assert shown[0] == 3
    assert "2 types: not identified" in shown[1]


def test_the_constant_added_to_a_file_changes_nothing(tmp_path: Path) -> None:
    moved = BASE.copy()
    moved[["self_x", "other_x", "self_y", "other_y"]] += 1e8
    for name, frame in (("a", BASE), ("b", moved), ("c", BASE.sample(frac=1, random_state=1))):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    a, b, c = (json_of("fit", tmp_path / f"{n}.csv", *CHOICES)["estimates"] for n in "abc")
    for name in a:
        assert b[name] == pytest.approx(a[name], rel=1e-9)
        assert c[name] == pytest.approx(a[name], rel=1e-9)


def test_a_choice_file_holds_what_expit_says() -> None:
    """The generator of this file is what it claims to be: far more data give its parameters
    back."""
    frame = allocation_choices(subjects=2000, per=20, seed=0)
    u = [frame[f"self_{o}"] - 0 * frame[f"other_{o}"] for o in "xy"]
    far = (u[0] - u[1]).abs() > 800
    assert frame["choice_x"][far].mean() == pytest.approx((u[0] > u[1])[far].mean(), abs=0.02)
    assert expit(0) == 0.5


def test_fixed_and_restricted_agree(tmp_path: Path) -> None:
    BASE.to_csv(tmp_path / "c.csv", index=False)
    sample = read_choices(tmp_path / "c.csv", "bruhin_fehr_schunk", ["sid"])
    found = json_of(
        "fit",
        tmp_path / "c.csv",
        "--family",
        "bruhin_fehr_schunk",
        "--cluster",
        "sid",
        "--fix",
        "gamma=0",
        "delta=0",
    )
    truth = fit(restrict(sample.data, {"gamma": 0.0, "delta": 0.0}))
    assert {k: v["value"] for k, v in found["estimates"].items()} == truth.estimates
    refused = json_of(
        "fit", tmp_path / "c.csv", "--family", "bruhin_fehr_schunk", "--cluster", "sid", code=3
    )
    assert "gamma and delta cannot be identified" in refused["reason"]
    assert "--fix gamma=0 delta=0" in refused["reason"]
