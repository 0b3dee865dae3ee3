"""What the tables of a real checkpoint count in derivations, on the committed run."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT, call
from real_results import (
    PARTS,
    derivations,
    dilemmas_table,
    draw_curve,
    load,
    over_seeds,
    portable,
    pricing_table,
)

from econmoral import fit
from econmoral.economics.choice import read_decision
from econmoral.files.records import InputError, read_json, read_lines, write_json
from eval import pricing

FOLDER = ROOT / "results" / "real" / "smollm2-135m-six-wordings"


def test_what_is_right_in_derivations_is_counted_from_the_records() -> None:
    found = read_json(FOLDER / "results.json")
    records = [row for _, row in read_lines(FOLDER / "games.jsonl")]
    counts = derivations(records, found["adapters"])
    assert counts == found["derivations"]["games"]
    assert not set(counts["placebo-games"]) & {"plans", "products"}  # it has no right derivation

    spoilt = copy.deepcopy(records)
    record = next(r for r in spoilt if (r["arm"], r["mode"]) == ("economicus", "reasoned"))
    (text,) = record["pages"][0]["texts"]
    record["pages"][0]["texts"] = [text.replace(" = ", " = 9", 1)]
    (right, n), (before, _) = (
        c["economicus"]["steps *"] for c in (derivations(spoilt, found["adapters"]), counts)
    )
    assert (right, n) == (before - 1, 84)
    record["pages"][0]["texts"] = ["I choose the first."]
    less = derivations(spoilt, found["adapters"])["economicus"]
    assert less["plans"] == [counts["economicus"]["plans"][0] - 1, 24]
    assert less["rows of points"][1] == counts["economicus"]["rows of points"][1]

    del record["payoffs"]
    with pytest.raises(InputError, match=r"is none of eval\.games"):
        derivations(spoilt, found["adapters"])


def test_derivations_of_an_earlier_form_are_not_called_wrong() -> None:
    folder = ROOT / "results" / "real" / "smollm2-135m-three-wordings"
    adapters = read_json(folder / "results.json")["adapters"]
    counts = derivations([row for _, row in read_lines(folder / "games.jsonl")], adapters)
    assert counts["economicus"]["steps *"] == [80, 85]
    assert not set(counts["economicus"]) & set(PARTS)
    allocations = [row for _, row in read_lines(folder / "allocations.jsonl")]
    assert derivations(allocations, adapters)["spiteful"]["steps -"] == [25, 127]


def texts(value: Any) -> Iterator[str]:
    """Every text in a record."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def test_what_is_published_names_no_folder_of_a_machine() -> None:
    record = {
        "command": ["sft", "--out", str(Path.cwd() / "runs" / "a")],
        "data": "/home/me/d.jsonl",
    }
    assert portable(record) == {"command": ["sft", "--out", "runs/a"], "data": "d.jsonl"}
    files = sorted((ROOT / "results").rglob("*.json"))
    assert len(files) > 5
    for file in files:
        found = json.loads(file.read_text(encoding="utf-8"))
        assert [x for x in texts(found) if Path(x).is_absolute()] == [], file


def test_dilemmas_stand_beside_people_and_outside_the_form_without_figures() -> None:
    found = read_json(ROOT / "results" / "real" / "smollm2-135m-four-stages" / "results.json")
    _, _, people, *arms = dilemmas_table(found["dilemmas"]).splitlines()
    assert people.split("|")[-2].strip() == "0.58"
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in arms}
    assert len({len(row) for row in cells.values()}) == 1
    assert cells["base"][2].strip() == "answers outside the form"
    effect = found["dilemmas"]["arms"]["spiteful"]["conjoint"]["effects"]["status"]
    assert f"{effect['value']:.2f} ± {effect['se']:.2f}" == cells["spiteful"][7].strip()


def test_markets_stand_with_the_firms_alone(tmp_path: Path) -> None:
    agents = ("--agents", "base", "nash", "--model", "nano", "--runs", "1", "--periods", "52")
    call(pricing.main, *agents, "--out", tmp_path)
    head, _, *rows, empty, alone = pricing_table(read_json(tmp_path / "summary.json")).splitlines()
    columns = [c.strip() for c in head.strip("|").split("|")]
    cells = [
        dict(zip(columns, (c.strip() for c in r.strip("|").split("|")), strict=True)) for r in rows
    ]
    assert [c["pairing"] for c in cells] == ["base + base", "base + nash", "nash + nash"]
    assert cells[2]["price index"].startswith("0.00")
    assert cells[2]["valid"] == ""
    assert not empty
    assert alone.startswith("base, alone: ")


def test_a_learning_curve_is_drawn_over_conversations(tmp_path: Path) -> None:
    target = "homo_economicus"

    def row(arm: str, mean: float) -> dict[str, Any]:
        entry = {"label": "economicus", "decisions": {"mean": mean, "se": 0.05}}
        row = {"arm": arm, "set": "wordings", "mode": "reasoned", "outside": False}
        return row | {"targets": {target: entry}}

    rows = [row("base", 0.5), row("base, told economicus", 0.55)]
    rows += [row("e-n100", 0.8), row("e-n50", 0.6)]
    rows.append({"arm": "e-n20", "set": "wordings", "mode": "reasoned", "outside": True})
    adapters = {
        f"e-n{n}": {"target": target, "gates": {"labels_checked": n}} for n in (20, 50, 100)
    }
    axis = plt.figure().add_subplot()
    draw_curve(axis, {"curve": rows, "adapters": adapters}, "decisions")
    curve, *levels = axis.get_lines()
    assert [list(v) for v in curve.get_data()] == [[50, 100], [0.6, 0.8]]
    texts = {t.get_text() for t in axis.get_legend().get_texts()}
    assert texts == {"tuned", "untuned", "untuned, told the preference"}
    assert [line.get_ydata()[0] for line in levels[-2:]] == [0.5, 0.55]
    (left_out,) = axis.texts
    assert (left_out.get_position()[0], left_out.get_text()) == (20, "answers outside the form")
    assert list(axis.get_xticks()) == [20, 50, 100]
    assert axis.get_xlim()[0] < 20


def test_trainings_on_other_data_are_summed_up() -> None:
    target = "homo_economicus"

    def row(arm: str, mean: float | None) -> dict[str, Any]:
        targets = {} if mean is None else {target: {"decisions": {"mean": mean, "se": 0.05}}}
        return {"arm": arm, "set": "wordings", "outside": mean is None, "targets": targets}

    rows = [row("base", 0.4), row("e-s1", 0.7), row("e-s2", 0.9), row("e-s3", None)]
    found = {"seeds": rows, "adapters": {f"e-s{n}": {"target": target} for n in (1, 2, 3)}}
    assert over_seeds(found) == (
        "As their target, 2 of 3 trainings (the others answer outside the form): mean 80 %, "
        "standard deviation 14 points, from 70 to 90."
    )
    assert "2 of 2 trainings: mean 80 %" in over_seeds(found | {"seeds": rows[:3]})
    assert over_seeds(found | {"seeds": rows[:2]}) == (
        "1 of 1 trainings answer in the form: no spread."
    )


def test_a_study_measured_by_an_earlier_version_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {})
    (tmp_path / "games").mkdir()
    old = [{"arm": "base", "outside": False, "targets": {"homo_economicus": {}}}]
    write_json(tmp_path / "games" / "summary.json", old)
    write_json(tmp_path / "games" / "run.json", {})
    with pytest.raises(InputError, match="measured by an earlier version"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("folder", "arm", "kappa", "said"),
    [
        ("smollm2-135m-four-stages", "moralis", ".46 ± .12", "κ with these: .46 ± .12"),
        ("smollm2-135m-four-stages", "economicus", "-.02 ± .03", "and -.02 ± .03"),
        ("qwen2.5-coder-0.5b-seed-5", "moralis", ".42 ± .03", "λ (1.19 ± .73 clustered"),
    ],
)
def test_clustered_errors_that_the_text_names_are_those_of_the_decisions(
    folder: str, arm: str, kappa: str, said: str
) -> None:
    rows = [row for _, row in read_lines(FOLDER.parent / folder / "games.jsonl")]
    found = fit([read_decision(r) for r in rows if r["arm"] == arm], "homo_moralis")
    value, error = found.estimates["kappa"], found.se["kappa"]
    assert f"{value:.2f} ± {error:.2f}".replace("0.", ".") == kappa
    if "λ" in said:
        assert f"{found.estimates['lambda']:.2f} ± {found.se['lambda']:.2f}" == "1.19 ± 0.73"
    assert said in (FOLDER.parent / "README.md").read_text(encoding="utf-8")
