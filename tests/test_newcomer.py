"""What the README promises to who extends the house: a game, a preference, a checkpoint, a battery are one entry in one file each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from econmoral.derivations import check_steps
from econmoral.models import NANO
from econmoral.records import read_json, read_lines

ENTRY_GAME = """        Game(
            name="entry",
            title="market entry",
            info_sets=(InfoSet(0, (), ("in", "out")), InfoSet(1, ("in",), ("share", "fight"))),
            outcomes={("out",): ("P", "T"), ("in", "share"): ("R", "R"), ("in", "fight"): ("S", "S")},
            ranking=("T", "R", "P", "S"),
            separator=",",
            source="Selten (1978)",
        ),
        Game(
            name="ug","""
ADDITIONS = {
    "econmoral/games.py": ('        Game(\n            name="ug",', ENTRY_GAME),
    "econmoral/preferences.py": (
        '        Family("utilitarian"',
        '        Family("competitive", ("envy",), lambda m, n, q, v: [m - n], "weight on the lead over the other"),\n        Family("utilitarian"',
    ),
    "econmoral/models.py": ('    "qwen2.5-0.5b": Model(', '    "mine": Model("{folder}", "MIT", 0.001),\n    "qwen2.5-0.5b": Model('),
    "econmoral/menus.py": ('MENUS: dict[str, list[Menu]] = {', 'MENUS: dict[str, list[Menu]] = {\n    "mine": _matrix()[:2],'),
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one entry added to each of four files."""
    folder = tmp_path_factory.mktemp("newcomer")
    for room in ("econmoral", "data_synth", "recipes", "eval"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(NANO, folder / "mine")
    for name, (before, after) in ADDITIONS.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, name
        (folder / name).write_text(text.replace(before, after.replace("{folder}", str(folder / "mine"))), encoding="utf-8")
    return folder


def ask(house: Path, *words: str) -> str:
    """A command of the extended house."""
    result = subprocess.run([sys.executable, *words], cwd=house, env=os.environ | {"PYTHONPATH": str(house)}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_new_game_is_played_taught_and_measured(house: Path) -> None:
    answer = json.loads(ask(house, "-m", "econmoral", "best-reply", "entry", "--payoffs", "90,60,30,10", "--beliefs", ".5,.5", "--json"))
    assert set(answer["strategies"]) == {"in,share", "in,fight", "out,share", "out,fight"}
    # enter: (60 + 10) / 2 against 30 for staying out; reply to entry: share 60, fight 10
    assert answer["best_replies"] == ["in,share"]
    ask(house, "-m", "data_synth", "--preference", "homo_moralis", "--games", "entry", "--n", "30", "--out", "entry.jsonl")
    rows = [row for _, row in read_lines(house / "entry.jsonl")]
    assert {row["meta"]["game"] for row in rows} == {"entry"}
    for row in rows:
        right, steps = check_steps(row["messages"][1]["content"])
        assert (right == steps > 0) or row["meta"]["mode"] == "direct"
        assert [len(m["content"]) for m in row["messages"] if m["role"] == "assistant"][-2:] == [1, 1]
    ask(house, "-m", "eval.games", "--simulate", "alpha=0,beta=0,kappa=0.3,lambda=0.1", "--games", "entry", "--items", "40", "--out", "measured")
    row = next(r for r in read_json(house / "measured" / "summary.json") if r["arm"] == "chooser")
    kappa = row["homo_moralis"]["estimates"]["kappa"]
    assert abs(kappa["value"] - 0.3) < max(2 * kappa["se"], 1e-5)


def test_a_new_preference_is_estimated(house: Path) -> None:
    rows = ["self_x,other_x,self_y,other_y,choice_x"]
    # a chooser with envy .5 and no noise but a coin where it is indifferent: ahead is better
    for i in range(200):
        a, b, c, d = (10 * (7 * i % 11) + 50, 10 * (5 * i % 13), 10 * (3 * i % 7) + 60, 10 * (11 * i % 17))
        u = 1.5 * (a - c) - 0.5 * (b - d)
        rows.append(f"{a},{b},{c},{d},{int(u + 40 * ((i * 37 % 100) / 50 - 1) > 0)}")
    (house / "choices.csv").write_text("\n".join(rows) + "\n")
    found = json.loads(ask(house, "-m", "econmoral", "fit", "choices.csv", "--family", "competitive", "--json"))
    assert abs(found["estimates"]["envy"]["value"] - 0.5) < 0.15


def test_a_new_preference_is_taught_told_and_scored(house: Path) -> None:
    for domain, first in (("allocations", "own"), ("games", "strategy")):
        ask(house, "-m", "data_synth", "--target", "competitive:envy=0.5", "--domain", domain, "--n", "40", "--out", f"{domain}.jsonl")
        rows = [row for _, row in read_lines(house / f"{domain}.jsonl")]
        assert all(first in row["meta"] and row["meta"]["target"] == "competitive:envy=0.5" for row in rows)
        assert sum(row["meta"]["mode"] == "reasoned" for row in rows) > 25  # in steps, although nobody wrote any for it
        for row in rows:
            right, steps = check_steps(row["messages"][1]["content"])
            assert (right == steps > 0) or row["meta"]["mode"] == "direct"
    for row in [row for _, row in read_lines(house / "allocations.jsonl")]:
        (m, other_m), (n, other_n) = zip(row["meta"]["own"], row["meta"]["other"], strict=True)
        taken = [part["content"] for part in row["messages"] if part["role"] == "assistant"][-1]
        line = next(x for x in row["messages"][0]["content"].split("\n")[1:3] if re.search(rf"\b{taken}\b", x))
        better = (m, other_m) if 1.5 * m - 0.5 * other_m > 1.5 * n - 0.5 * other_n else (n, other_n)
        assert tuple(map(float, re.findall(r"\d+", line))) == better
    told = ask(house, "-c", "from econmoral.target import Target; print(Target.parse('competitive:envy=0.5').describe())")
    assert "each of your points counts 1.5 and each of the other person's points counts -0.5" in told
    chooser = ("--simulate", "alpha=-0.5,beta=-0.5,lambda=5", "--battery", "allocations", "--pairs", "1")
    ask(house, "-m", "eval.menus", *chooser, "--targets", "competitive:envy=0.5", "homo_economicus", "--out", "competitive")
    row = next(r for r in read_json(house / "competitive" / "summary.json") if r["arm"] == "chooser")
    assert row["targets"]["competitive:envy=0.5"]["accuracy"]["mean"] == 1
    assert row["targets"]["homo_economicus"]["accuracy"]["mean"] < 0.9


def test_a_new_checkpoint_is_measured(house: Path) -> None:
    said = ask(house, "-m", "eval.games", "--model", "mine", "--items", "2", "--pairs", "1", "--out", "mine-measured")
    assert "mine" in said
    assert read_json(house / "mine-measured" / "run.json")["inputs"]["base"]["path"] == str(house / "mine")


def test_a_new_battery_is_asked(house: Path) -> None:
    ask(house, "-m", "eval.menus", "--simulate", "alpha=0.1,beta=0.1,lambda=0.1", "--battery", "mine", "--out", "menus")
    assert len({row["id"] for _, row in read_lines(house / "menus" / "choices.jsonl")}) == 2
