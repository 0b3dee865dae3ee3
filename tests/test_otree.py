"""From a wide export of oTree to a table for the paper: the tutorial as written, and exports that
are not as they should be."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from shell import call, complains, json_of

from econmoral.files.sheet import read_sheet
from econmoral.people.otree import _text

TUTORIAL = (ROOT / "docs" / "tutorial-lab.md").read_text(encoding="utf-8")
MAP = yaml.safe_load((ROOT / "docs" / "map.yaml").read_text(encoding="utf-8"))


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TUTORIAL, flags=re.S)


def test_the_tutorial_is_carried_out_as_written(tmp_path: Path) -> None:
    """Every command of it, in order; what it prints and the table it shows are what comes out."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    assert yaml.safe_load(blocks("yaml")[0]) == MAP
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert commands[0].startswith("python docs/simulate_lab.py")
    subprocess.run(
        [sys.executable, *shlex.split(commands[0])[1:]],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    shown = blocks("text")
    for line, expected in zip(commands[1:], shown, strict=True):
        words = shlex.split(line.partition(" > ")[0])
        assert words[:3] == ["python", "-m", "econmoral"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            code, out, err = call(*words[3:])
        assert code == 0, err
        assert [w.rstrip() for w in out.strip().splitlines()] == [
            w.rstrip() for w in expected.strip().splitlines()
        ]
        if " > " in line:
            (tmp_path / line.partition(" > ")[2].strip()).write_text(out, encoding="utf-8")
    assert [line for line in commands if "import-otree" in line]
    assert (tmp_path / "table.tex").read_text().startswith("\\begin{tabular}")
    # the truth of the simulation, alpha .1, beta .2, mean kappa .4, lambda .1, within three
    # standard errors
    table = (tmp_path / "table.tex").read_text()
    for name, truth in (("alpha", 0.1), ("beta", 0.2), ("kappa", 0.4), ("lambda", 0.1)):
        value, se = re.search(rf"\\{name}\$ & ([0-9.]+) .*\n & \(([0-9.]+)\)", table).groups()
        assert abs(float(value) - truth) < 3 * float(se)


SMALL = {
    "subject": "participant.code",
    "finished": {"participant._current_page_name": "Results"},
    "repeat": {"round": "1-2"},
    "row": {
        "game": {"value": "pd"},
        "T": {"value": 7},
        "R": {"value": 5},
        "P": {"value": 3},
        "S": {"value": 2},
        "move1": {"column": "pd.{round}.player.cooperate", "recode": {1: "C", 0: "D"}},
    },
}
EXPORT = pd.DataFrame(
    {
        "participant.code": ["aa", "bb", "cc", "dd"],
        "participant._current_page_name": ["Results", "Results", "Choose", ""],
        "session.code": ["s1", "s1", "s2", "s2"],
        "session.is_demo": [0, 0, 0, 1],
        "pd.1.player.cooperate": ["1", "0", "1", ""],
        "pd.2.player.cooperate": ["1.0", "0", "", ""],
    }
)


def imported(
    folder: Path, export: pd.DataFrame = EXPORT, **changes: object
) -> tuple[list[list[str]], str]:
    export.to_csv(folder / "e.csv", index=False)
    (folder / "m.yaml").write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    code, out, err = call(
        "import-otree", folder / "e.csv", "--map", folder / "m.yaml", "--out", folder / "long.csv"
    )
    assert code == 0, err
    return list(csv.reader((folder / "long.csv").open())), out


def refused(folder: Path, export: pd.DataFrame = EXPORT, **changes: object) -> str:
    export.to_csv(folder / "e.csv", index=False)
    (folder / "m.yaml").write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    line = complains(
        "import-otree", folder / "e.csv", "--map", folder / "m.yaml", "--out", folder / "long.csv"
    )
    assert not (folder / "long.csv").exists()
    return line


def test_rows_recodes_dropouts_and_those_who_never_began(tmp_path: Path) -> None:
    rows, said = imported(tmp_path)
    assert rows[0] == ["subject", "round", "game", "T", "R", "P", "S", "move1"]
    assert rows[1:] == [
        ["aa", "1", "pd", "7", "5", "3", "2", "C"],
        ["aa", "2", "pd", "7", "5", "3", "2", "C"],
        ["bb", "1", "pd", "7", "5", "3", "2", "D"],
        ["bb", "2", "pd", "7", "5", "3", "2", "D"],
    ]
    assert "1 dropout(s), left out: cc (line 4, 1 of 2 rows complete)" in said
    assert "1 participant(s) who never began, left out: dd (line 5" in said
    assert "1 participant(s) are of demo sessions" in said
    kept, said = imported(tmp_path, dropouts="keep")
    assert kept[-1][:2] == ["cc", "1"]
    assert len(kept) == 6
    assert "complete rows are kept" in said


def test_a_seat_that_nobody_took_needs_no_label(tmp_path: Path) -> None:
    """Of a room with labels, oTree exports the participants that were set up and never came."""
    export = EXPORT.assign(**{"participant.label": ["p1", "p2", "p3", ""]})
    rows, said = imported(tmp_path, export, subject="participant.label")
    assert [row[0] for row in rows[1:]] == ["p1", "p1", "p2", "p2"]
    assert "who never began, left out: without participant.label (line 5)" in said
    for nameless in (["p1", "", "p3", ""], ["p1", "p2", "", ""]):  # who began needs a name
        export["participant.label"] = nameless
        (tmp_path / "long.csv").unlink(missing_ok=True)
        assert "participant.label is empty" in refused(
            tmp_path, export, subject="participant.label"
        )


def test_identifiers_that_look_like_formulas_come_back_as_they_were(tmp_path: Path) -> None:
    odd = {"aa": "-ab1", "bb": '=HYPERLINK("x")', "cc": "@c", "dd": "+d"}
    rows, _ = imported(tmp_path, EXPORT.replace({"participant.code": odd}), dropouts="keep")
    assert {r[0] for r in rows[1:]} == {"'-ab1", '\'=HYPERLINK("x")', "'@c"}
    back = read_sheet(tmp_path / "long.csv").labels("subject")
    assert set(back) == {"-ab1", '=HYPERLINK("x")', "@c"}


def test_a_number_of_a_map_is_the_columns_text_in_full() -> None:
    """Two payments that are alike to six digits are two values."""
    assert _text(1234567.5) == "1234567.5"
    assert (_text(1.0), _text(0.25), _text(True), _text(7)) == ("1", "0.25", "1", "7")


def test_participants_can_be_chosen(tmp_path: Path) -> None:
    rows, said = imported(tmp_path, where={"session.code": ["s1", "s9"]})
    assert {r[0] for r in rows[1:]} == {"aa", "bb"}
    assert "2 of 4 participants are used" in said
    assert "nobody is left" in refused_after(tmp_path, where={"session.code": "s9"})


def refused_after(folder: Path, **changes: object) -> str:
    (folder / "long.csv").unlink(missing_ok=True)
    return refused(folder, **changes)


def test_subjects_who_are_there_twice(tmp_path: Path) -> None:
    same = pd.concat([EXPORT, EXPORT.iloc[[0]]])
    rows, said = imported(tmp_path, same)
    assert sum(r[0] == "aa" for r in rows) == 2
    assert "subject aa is there 2 times (lines 2, 6); one copy is used" in said
    other = same.copy()
    other.iloc[-1, 4] = "0"
    (tmp_path / "long.csv").unlink()
    line = refused(tmp_path, other)
    assert "'aa' is there 2 times with different answers (lines 2, 6)" in line
    for which, move in (("first", "C"), ("last", "D")):
        rows, said = imported(tmp_path, other, duplicates=which)
        assert next(r for r in rows if r[:2] == ["aa", "1"])[-1] == move
        assert f"the {which} is used" in said


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"subject": "participant.cod"}, "is participant.code meant?"),
        ({"subject": ["a"]}, "subject must be the name"),
        ({"rows": {}}, "unknown key(s) rows"),
        ({"row": {}}, "row must name"),
        ({"row": {"move1": "pd.{rnd}.player.cooperate"}}, "placeholder {rnd}"),
        ({"row": {"move1": "pd.{round}.player.coop"}}, "no column pd.1.player.coop"),
        ({"row": {"move1": {"column": "a", "value": 1}}}, "row.move1"),
        (
            {"row": {"move1": {"column": "pd.{round}.player.cooperate", "recode": {"1": "C"}}}},
            "holds '0'",
        ),
        ({"row": {"subject": "participant.code"}}, "must not name subject"),
        ({"row": {"round": {"value": 1}}}, "is a placeholder"),
        ({"repeat": {"round": "9-1"}}, "no range"),
        ({"repeat": {"round": "1-9000", "block": "1-9000"}}, "the most is"),
        ({"repeat": ["round"]}, "repeat must be"),
        ({"duplicates": "all"}, "duplicates must be one of"),
        ({"finished": {"participant._page": "Results"}}, "no column participant._page"),
        ({"finished": {"participant._current_page_name": "Nowhere"}}, "nobody completed"),
    ],
)
def test_maps_that_do_not_fit_get_one_line(changes: dict, part: str, tmp_path: Path) -> None:
    assert part in refused(tmp_path, **changes)


def test_a_missing_code_and_a_long_row_are_refused_with_the_line(tmp_path: Path) -> None:
    export = EXPORT.copy()
    export.loc[2, "participant.code"] = ""
    assert "line 4" in refused(tmp_path, export)
    text = EXPORT.to_csv(index=False).splitlines()
    text[2] += ","
    (tmp_path / "e.csv").write_text("\n".join(text))
    assert "line 3" in complains(
        "import-otree",
        tmp_path / "e.csv",
        "--map",
        tmp_path / "m.yaml",
        "--out",
        tmp_path / "long.csv",
    )


def test_input_is_never_overwritten(tmp_path: Path) -> None:
    imported(tmp_path)
    before = (tmp_path / "e.csv").read_bytes()
    assert "overwrite" in complains(
        "import-otree",
        tmp_path / "e.csv",
        "--map",
        tmp_path / "m.yaml",
        "--out",
        tmp_path / "e.csv",
    )
    assert (tmp_path / "e.csv").read_bytes() == before
    (tmp_path / "m.yaml").write_text("row: [")
    assert "not YAML" in complains(
        "import-otree",
        tmp_path / "e.csv",
        "--map",
        tmp_path / "m.yaml",
        "--out",
        tmp_path / "x.csv",
    )


def test_worked_examples_of_the_data_dictionary_can_be_read(tmp_path: Path) -> None:
    """Each CSV in docs/data.md is read in the shape that its heading names."""
    from econmoral.people.choices import read_choices

    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    examples = re.findall(r"```csv (\S+) (\S+)\n(.*?)```", page, flags=re.S)
    assert len(examples) >= 5
    for shape, family, content in examples:
        (tmp_path / "c.csv").write_text(content, encoding="utf-8")
        sample = read_choices(tmp_path / "c.csv", family)
        assert sample.shape == shape
        assert (
            len(sample.data.index)
            == len([line for line in content.splitlines() if line.strip()]) - 1
        )


def test_the_report_is_there_for_a_program(tmp_path: Path) -> None:
    simulate = [
        sys.executable,
        str(ROOT / "docs" / "simulate_lab.py"),
        str(tmp_path / "export.csv"),
    ]
    subprocess.run(simulate, check=True, capture_output=True, env={"PYTHONPATH": str(ROOT)})
    found = json_of(
        "import-otree",
        tmp_path / "export.csv",
        "--map",
        ROOT / "docs" / "map.yaml",
        "--out",
        tmp_path / "long.csv",
    )
    assert (found["rows"], found["subjects"]) == (1080, 60)
    assert found["columns"][:3] == ["subject", "round", "session"]
    assert found["report"][0].startswith("2 dropout(s), left out")
    assert Path(found["out"]).is_file()


def test_true_as_a_placeholder_is_one_value(tmp_path: Path) -> None:
    frame = pd.DataFrame({"participant.code": ["a"], "pd.1.player.c": ["C"]})
    frame.to_csv(tmp_path / "e.csv", index=False)
    row = {"game": {"value": "pd"}, "move1": {"column": "pd.{round}.player.c"}}
    mapping = {"subject": "participant.code", "repeat": {"round": True}, "row": row}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    words = ("import-otree", tmp_path / "e.csv", "--map", tmp_path / "m.yaml")
    assert call(*words, "--out", tmp_path / "long.csv")[0] == 0
    assert len(read_sheet(tmp_path / "long.csv")) == 1


@pytest.mark.parametrize("written", ["1", "True", "TRUE", "yes"])
def test_true_in_a_map_is_whatever_the_export_writes(written: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"participant.code": ["a", "b"], "done": [written, "0"], "pd.1.player.c": [written, "no"]}
    )
    frame.to_csv(tmp_path / "e.csv", index=False)
    mapping = {"subject": "participant.code", "finished": {"done": True}}
    mapping["row"] = {"game": {"value": "pd"}, "move1": {"column": "pd.1.player.c"}}
    mapping["row"]["move1"]["recode"] = {True: "C", False: "D"}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    words = ("import-otree", tmp_path / "e.csv", "--map", tmp_path / "m.yaml")
    code, _, err = call(*words, "--out", tmp_path / "long.csv")
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "long.csv").open(encoding="utf-8")))
    assert [(row["subject"], row["move1"]) for row in rows] == [("a", "C")]
