"""Budgets of one's own: GARP, CCEI and what random choosers reach,
against plain loops and hand-worked cases.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from console import assert_complains, calculator

from econmoral.commands import negative_values
from econmoral.economics.audit import ccei, garp, random_on_lines, random_on_menus
from econmoral.instruments.menus import MENUS


def circles(p: np.ndarray, x: np.ndarray) -> float:
    """CCEI from its definition: over all circles of budgets,
    the smallest of their largest cost ratios.
    """
    t = len(p)
    best = 1.0
    for size in range(2, t + 1):
        for chain in itertools.permutations(range(t), size):
            links = zip(chain, (*chain[1:], chain[0]), strict=True)
            best = min(best, max(p[a] @ x[b] / (p[a] @ x[a]) for a, b in links))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_index_against_every_circle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, x = rng.uniform(0.3, 3, (5, 3)), rng.uniform(0, 3, (5, 3))
    assert ccei(p, x) == pytest.approx(circles(p, x), abs=1e-12)
    assert garp(p, x) == (circles(p, x) >= 1)


def test_power_of_two_budgets_by_hand() -> None:
    """p = (1, 2), (2, 1), 10 to spend: GARP is broken iff x1 < 10/3 on the first
    and x2 < 10/3 on the second.

    x1 is uniform on [0, 10] there, x2 likewise, so one chooser in nine breaks it, with index max of
    the two cost ratios.
    """
    p = np.array([[1.0, 2.0], [2.0, 1.0]])
    found = random_on_lines(p, np.array([10.0, 10.0]), 40_000, 0)
    assert found.power == pytest.approx(1 / 9, abs=0.006)
    rng = np.random.default_rng(9)
    one, two = rng.uniform(0, 10, (2, 200_000))
    x = np.stack(
        [np.column_stack([one, (10 - one) / 2]), np.column_stack([(10 - two) / 2, two])], 1
    )
    worst = np.maximum(x[:, 1] @ p[0], x[:, 0] @ p[1]) / 10
    assert found.ccei.mean() == pytest.approx(np.minimum(worst, 1).mean(), abs=0.003)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coins_are_not_consistent(seed: int) -> None:
    menus = MENUS["garp"]
    prices, bundles = np.array([m.prices for m in menus]), [np.array(m.bundles) for m in menus]
    found = random_on_menus(prices, bundles, 500, seed).ccei
    assert 0.5 < found.mean() < 0.8
    assert (found < 1).mean() > 0.95
    rng = np.random.default_rng(seed + 100)
    plain = [ccei(prices, np.array([b[rng.integers(len(b))] for b in bundles])) for _ in range(300)]
    assert found.mean() == pytest.approx(np.mean(plain), abs=4 * np.std(plain) / np.sqrt(300))


def test_menus_of_unequal_length_and_bad_ones() -> None:
    p = np.array([[1.0, 1.0], [1.0, 2.0]])
    menus = [np.array([[4.0, 0.0], [0.0, 4.0], [2.0, 2.0]]), np.array([[4.0, 0.0], [0.0, 2.0]])]
    assert random_on_menus(p, menus, 50).ccei.shape == (50,)
    for wrong in (
        [menus[0]],
        [menus[0], np.array([[1.0]])],
        [menus[0], np.zeros((0, 2))],
        [menus[0], np.array([[0.0, 0.0]])],
    ):
        with pytest.raises(ValueError, match=r"menu|cost"):
            random_on_menus(p, wrong)
    with pytest.raises(ValueError, match="draw"):
        random_on_menus(p, menus, 0)


HEAD = "subject,p1,p2,x1,x2\n"
CROSSING = HEAD + "a,1,2,0,5\na,2,1,5,0\nb,1,2,5,2.5\nb,2,1,2.5,5\n"


def json_of(path: Path, *options: str) -> dict:
    done = calculator("garp", str(path), *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "text",
    [
        CROSSING,
        "\ufeff" + CROSSING,
        CROSSING.replace(",", ";").replace("2.5", "2,5"),
        CROSSING.replace(",", "\t"),
        CROSSING.replace("\n", "\r\n\r\n"),
    ],
    ids=["comma", "byte-order mark", "semicolon and decimal comma", "tab", "blank lines"],
)
def test_the_command_reads_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.csv").write_text(text, encoding="utf-8", newline="")
    found = json_of(tmp_path / "b.csv")["subjects"]
    assert [(r["subject"], r["budgets"], r["garp"], r["ccei"]) for r in found] == [
        ("a", 2, False, 0.5),
        ("b", 2, True, 1.0),
    ]
    assert found[0]["power"] == pytest.approx(1 / 9, abs=0.03)


def test_three_goods_unused_columns_and_ids_as_text(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(
        "who,p1,p2,p3,x1,x2,x3,age\n007,1,1,1,1,2,3,40\n007,1,2,1,1,2,3,40\n007,1,2,1,1,2,3,40\n"
    )
    found = json_of(tmp_path / "b.csv", "--subject", "who", "--draws", "50")
    assert found["goods"] == 3
    assert found["subjects"][0]["subject"] == "007"
    assert any("age" in note for note in found["notes"])
    assert any("1 row(s) repeat" in note for note in found["notes"])


def test_long_names_of_subjects_are_whole(tmp_path: Path) -> None:
    """As those of panels, which may differ in their last letters only."""
    names = [f"5f8a3b2c1d4e5f6a7b8c9d0{k}" for k in "ab"]
    rows = [f"{name},{p}" for name in names for p in ("1,2,3,4", "2,1,4,3")]
    (tmp_path / "c.csv").write_text("\n".join(["subject,p1,p2,x1,x2", *rows]))
    said = calculator("garp", str(tmp_path / "c.csv"), "--draws", "20").stdout
    assert "…" not in said
    cells = [line[:26].strip() for line in said.splitlines() if line[2:3].strip()]
    whole = "".join(cells)
    assert all(name in whole for name in names)


def test_pooling_everybody_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(CROSSING.replace("subject", "id"))
    told = "no column subject and no --subject: all rows are taken as one person's"
    assert told in json_of(tmp_path / "b.csv")["notes"]
    assert told not in json_of(tmp_path / "b.csv", "--subject", "id")["notes"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (HEAD + "a,1,2,0,5\na,2,1,5,0,\n", ("line 3", "6 cells")),
        (HEAD + "a,1,2,0,5\n,2,1,5,0\n", ("line 3", "subject")),
        (HEAD + "a,1,2,0,5\nNULL,2,1,5,0\n", ("line 3", "'NULL'", "identifier")),
        (HEAD + "#N/A,2,1,5,0\n", ("line 2", "'#N/A'", "identifier")),
        (HEAD.replace(",", ";") + "a;1.000;2;0;5\n", ("line 2", "1000 or 1.000")),
        (HEAD + "a,1_0,2,0,5\n", ("line 2", "'1_0'")),
        (HEAD + "a,1,2,0,five\n", ("line 2", "'five'")),
        (HEAD + "\na,0,2,1,5\n", ("line 3", "p1", "positive")),
        (HEAD + "a,1,2,-1,5\n", ("line 2", "x1")),
        (HEAD + "a,1,2,0,0\n", ("line 2", "nothing was bought")),
        (HEAD + "a,1,2,0,inf\n", ("line 2", "'inf'")),
        ("subject,p1,x1\na,1,1\n", ("two or more goods",)),
        ("subject,p1,p2,x1\na,1,1,1\n", ("x2",)),
        ("subject,p1,p2,x1,x2,x2\na,1,1,1,1,1\n", ("x2 twice",)),
        ("", ("no rows",)),
        (HEAD, ("no rows",)),
    ],
)
def test_bad_budgets_get_one_line(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    (tmp_path / "b.csv").write_text(text)
    assert_complains(calculator("garp", str(tmp_path / "b.csv")), *parts)


def test_other_bad_input(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(CROSSING)
    assert_complains(calculator("garp", str(tmp_path / "none.csv")), "does not exist")
    assert_complains(calculator("garp", str(tmp_path / "b.csv"), "--subject", "person"), "person")
    assert_complains(calculator("garp", str(tmp_path / "b.csv"), "--draws", "-5"), "--draws")
    assert_complains(
        calculator("garp", str(tmp_path / "b.csv"), "--draws", "0", "--seed", "1"), "--seed"
    )
    (tmp_path / "l.csv").write_bytes(HEAD.encode() + b"\xe9,1,2,0,5\x81\n")
    assert_complains(calculator("garp", str(tmp_path / "l.csv")), "is not text")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_tables_of_other_programs_are_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(CROSSING.replace("a,", "\xe9,").encode(encoding))
    found = json_of(tmp_path / "b.csv")
    assert [r["subject"] for r in found["subjects"]] == ["\xe9", "b"]
    assert any("Windows-1252" in note for note in found["notes"]) == (encoding == "cp1252")
    rows = [
        dict(zip(HEAD.strip().split(","), line.split(","), strict=True))
        for line in CROSSING.split()[1:]
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [r["ccei"] for r in json_of(tmp_path / "b.jsonl")["subjects"]] == [0.5, 1.0]


# --------------------------------------------------------------------------- negative option values


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--payoffs", "-1,-2,-5,-10"], ["--payoffs", " -1,-2,-5,-10"]),
        (["--quality", "-1e-3", "-.5"], ["--quality", " -1e-3", " -.5"]),
        (["--payoffs", "-1.5,2,+3,-4e2"], ["--payoffs", " -1.5,2,+3,-4e2"]),
        (["--json", "-h", "--x=-1", "-x", "a-1"], ["--json", "-h", "--x=-1", "-x", "a-1"]),
    ],
)
def test_negative_numbers_are_told_from_options(words: list[str], expected: list[str]) -> None:
    assert negative_values(words) == expected


@pytest.mark.parametrize(
    ("payoffs", "best"),
    [("-1,-2,-5,-10", "DDD"), ("-10,-20,-30,-40", "DDD"), ("-.5,-1e0,-2.5,-4", "DDD")],
)
def test_negative_payoffs_are_numbers(payoffs: str, best: str) -> None:
    done = calculator("best-reply", "spd", "--payoffs", payoffs, "--alpha", "-1e-9", "--json")
    assert done.returncode == 0, done.stderr
    assert best in json.loads(done.stdout)["best_replies"]


@pytest.mark.parametrize("goods", [("p0 p1 p2", "x0"), ("p1 p2 P3", "x3"), ("p1 p2 p03", "x1")])
def test_a_good_whose_name_does_not_fit_is_refused(goods: tuple[str, str], tmp_path: Path) -> None:
    prices, odd = goods
    names = [*prices.split(), "x1", "x2", *([] if odd == "x1" else [odd])]
    rows = [",".join(names), ",".join("2" for _ in names)]
    (tmp_path / "b.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = calculator("garp", str(tmp_path / "b.csv"))
    assert_complains(done, "belongs to no good")
