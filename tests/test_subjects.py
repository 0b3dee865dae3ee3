"""``econmoral fit --each --predict``: every subject on their own, and probabilities of choices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shell import call, json_of

FAMILY = "bruhin_fehr_schunk"
USUAL = ["ann", "ben", "cem", "dan", "fay"]
TRUE = {"alpha": 0.1, "beta": 0.4}


def people(path: Path, *who: str, decisions: int = 120, seed: int = 3) -> pd.DataFrame:
    """Five who weigh the other's payoff; of the rest eve never errs, coin tosses one."""
    rng = np.random.default_rng(seed)
    rows = []
    for subject in (*USUAL, *who):
        m, n = rng.integers(1, 100, (2, decisions, 2)).astype(float)
        weight = np.where(m < n, TRUE["alpha"], TRUE["beta"])
        utility = (1 - weight) * m + weight * n
        gap = utility[:, 0] - utility[:, 1]
        precision = {"eve": 1e6, "coin": 0.0}.get(subject, 0.1)
        p = 1 / (1 + np.exp(-np.clip(precision * gap, -500, 500)))
        first = rng.random(decisions) < p
        rows.append(
            pd.DataFrame(
                {
                    "sid": subject,
                    "self_x": m[:, 0],
                    "other_x": n[:, 0],
                    "self_y": m[:, 1],
                    "other_y": n[:, 1],
                    "choice_x": first.astype(int),
                }
            )
        )
    table = pd.concat(rows)
    table.to_csv(path, index=False)
    return table


def test_every_subject_is_estimated_or_it_is_said_why_not(tmp_path: Path) -> None:
    people(tmp_path / "c.csv", "eve", "coin")
    words = ("fit", tmp_path / "c.csv", "--family", FAMILY, "--cluster", "sid")
    words += ("--fix", "gamma=0", "delta=0", "--each", "--out", tmp_path / "o")
    code, out, _ = call(*words)
    assert code == 0
    table = pd.read_csv(tmp_path / "o" / "subjects.csv", keep_default_na=False).set_index("subject")
    assert "subjects on their own: 5 of 7 estimated" in out
    assert table.why["eve"] == "choices without an error: bounds only"
    assert table.why["coin"] in ("choices hardly respond", "choices against the utility")
    assert (table.decisions == 120).all()
    for name, value in TRUE.items():
        found = table.loc[USUAL, [name, f"{name}_se"]].astype(float)
        assert (abs(found[name] - value) < 4 * found[f"{name}_se"]).all()
        assert (
            float(table.at["eve", f"{name}_low"]) <= value <= float(table.at["eve", f"{name}_high"])
        )
        assert table.at["eve", name] == table.at["coin", f"{name}_low"] == ""
    assert json_of(*words)["subjects"][0]["subject"] == "ann"


def test_one_subject_is_fitted_as_a_file_of_theirs(tmp_path: Path) -> None:
    table = people(tmp_path / "c.csv")
    table[table.sid == "ben"].drop(columns="sid").to_csv(tmp_path / "ben.csv", index=False)
    rest = ("--family", FAMILY, "--fix", "gamma=0", "delta=0")
    alone = json_of("fit", tmp_path / "ben.csv", *rest, "--errors", "sandwich")["estimates"]
    among = json_of("fit", tmp_path / "c.csv", *rest, "--cluster", "sid", "--each")["subjects"]
    ben = next(row for row in among if row["subject"] == "ben")
    for name in ("alpha", "beta", "lambda"):
        assert ben[name] == pytest.approx(alone[name]["value"])
        assert ben[f"{name}_se"] == pytest.approx(alone[name]["se"])


def test_predictions_are_those_of_the_estimate(tmp_path: Path) -> None:
    table = people(tmp_path / "c.csv").reset_index(drop=True)
    words = ("fit", tmp_path / "c.csv", "--family", FAMILY, "--cluster", "sid")
    words += ("--fix", "gamma=0", "delta=0")
    found = json_of(*words, "--predict", "--out", tmp_path / "o")["estimates"]
    rows = pd.read_csv(tmp_path / "o" / "predictions.csv")
    assert len(rows) == 2 * len(table)
    first = rows[rows.option == "x"].reset_index(drop=True)
    assert (first.subject == table.sid).all()
    assert (first.chosen == table.choice_x).all()
    alpha, beta, precision = (found[k]["value"] for k in ("alpha", "beta", "lambda"))

    def utility(m: pd.Series, n: pd.Series) -> pd.Series:
        weight = np.where(m < n, alpha, beta)
        return (1 - weight) * m + weight * n

    gap = utility(table.self_x, table.other_x) - utility(table.self_y, table.other_y)
    np.testing.assert_allclose(first.probability, 1 / (1 + np.exp(-precision * gap)), rtol=1e-9)
    assert ((rows.low <= rows.probability) & (rows.probability <= rows.high)).all()


def test_what_was_chosen_is_no_weight_and_parts_of_plans_are_left_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["sid,game,T,R,P,S,belief1,belief2,belief3,move1,move2,move3,w"]
    for k in range(60):
        t, r, p, s = sorted(rng.choice(100, 4, replace=False), reverse=True)
        moves = [str(rng.choice(["C", "D"])) for _ in range(3)]
        if k % 3 == 0:
            moves[1:] = ["", ""]  # the first mover's decision alone
        beliefs = ",".join(f"{b:.1f}" for b in rng.integers(0, 11, 3) / 10)
        rows.append(f"p{k % 12},spd,{t},{r},{p},{s},{beliefs},{','.join(moves)},{1 + k % 4}")
    (tmp_path / "g.csv").write_text("\n".join(rows))
    words = ("fit", tmp_path / "g.csv", "--family", "homo_economicus", "--cluster", "sid")
    code, _, err = call(*words, "--weight", "w", "--predict", "--out", tmp_path / "o")
    assert code in (0, 3), err
    if code == 0:
        table = pd.read_csv(tmp_path / "o" / "predictions.csv")
        by_row = table.groupby("decision")
        assert (by_row.probability.sum() - 1).abs().max() < 1e-9
        part = by_row.chosen.apply(lambda c: c.isna().all())
        assert list(part) == [k % 3 == 0 for k in range(60)]
        assert set(table.chosen.dropna()) == {0.0, 1.0}
        assert set(table.option) >= {"C C C", "D D D"}


def test_predictions_of_an_earlier_fit_do_not_stay(tmp_path: Path) -> None:
    people(tmp_path / "c.csv")
    rest = ("--family", FAMILY, "--cluster", "sid", "--fix", "gamma=0", "delta=0", "--predict")
    assert call("fit", tmp_path / "c.csv", *rest, "--out", tmp_path / "o")[0] == 0
    table = people(tmp_path / "d.csv", "eve")
    table[table.sid == "eve"].assign(sid=[f"e{k % 9}" for k in range(120)]).to_csv(
        tmp_path / "d.csv", index=False
    )
    code, out, _ = call("fit", tmp_path / "d.csv", *rest, "--out", tmp_path / "o")
    assert code == 3
    assert "no predictions: there is no estimate" in out
    assert not (tmp_path / "o" / "predictions.csv").exists()


def test_subjects_on_their_own_beside_errors_without_clusters(tmp_path: Path) -> None:
    people(tmp_path / "c.csv")
    words = ("fit", tmp_path / "c.csv", "--family", FAMILY, "--fix", "gamma=0", "delta=0")
    words += ("--errors", "hessian", "--cluster", "sid")
    assert len(json_of(*words, "--each")["subjects"]) == 5
    assert call(*words)[0] == 2  # the column does nothing there


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--predict",), "--predict does nothing without --out"),
        (("--each", "--types", "2"), "--each does nothing with several files, --types or --table"),
        (("--each",), "--each needs several decisions of each subject"),
    ],
)
def test_options_that_cannot_act_are_refused(
    words: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    people(tmp_path / "c.csv")
    code, _, err = call("fit", tmp_path / "c.csv", "--family", FAMILY, *words)
    assert code == 2
    assert complaint in err


def test_what_diverges_of_a_subject_is_named(tmp_path: Path) -> None:
    table = people(tmp_path / "c.csv")
    # gus errs when behind; ahead, he takes the smaller lead each time, so that beta has no end
    gus = table[table.sid == "ann"].assign(sid="gus")
    ahead = (gus.self_x > gus.other_x) & (gus.self_y > gus.other_y)
    behind = (gus.self_x < gus.other_x) & (gus.self_y < gus.other_y)
    gus.loc[ahead, "choice_x"] = (gus.other_x - gus.self_x > gus.other_y - gus.self_y)[
        ahead
    ].astype(int)
    pd.concat([table, gus[ahead | behind]]).to_csv(tmp_path / "d.csv", index=False)
    words = ("fit", tmp_path / "d.csv", "--family", FAMILY, "--cluster", "sid")
    words += ("--fix", "gamma=0", "delta=0", "--each", "--out", tmp_path / "o")
    assert call(*words)[0] == 0
    known = pd.read_csv(tmp_path / "o" / "subjects.csv", keep_default_na=False).set_index("subject")
    assert known.why["gus"] == "beta without end: a bound only"
    assert known.beta_low["gus"] != ""
    assert known.alpha_low["gus"] == ""
    # how many people each of them stands for changes nothing of their own
    times = {who: 1 + k for k, who in enumerate(known.index)}
    weighted = pd.read_csv(tmp_path / "d.csv")
    weighted.assign(weight=weighted.sid.map(times)).to_csv(tmp_path / "d.csv", index=False)
    assert call(*words)[0] == 0
    again = pd.read_csv(tmp_path / "o" / "subjects.csv", keep_default_na=False).set_index("subject")
    pd.testing.assert_frame_equal(again, known)
