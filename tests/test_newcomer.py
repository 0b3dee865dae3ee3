"""What the README promises to who extends the house: a game, a preference, a checkpoint,
a battery are one entry in one file each.
"""

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

from econmoral.checkpoints.models import NANO
from econmoral.files.records import read_json, read_lines
from econmoral.instruments.derivations import check_steps

ENTRY_GAME = """        Game(
            name="entry",
            title="market entry",
            info_sets=(InfoSet(0, (), ("in", "out")), InfoSet(1, ("in",), ("share", "fight"))),
            outcomes={
                ("out",): ("P", "T"),
                ("in", "share"): ("R", "R"),
                ("in", "fight"): ("S", "S"),
            },
            ranking=("T", "R", "P", "S"),
            separator=",",
            source="Selten (1978)",
        ),
        Game(
            name="ug","""
ADDITIONS = {
    "econmoral/economics/games.py": ('        Game(\n            name="ug",', ENTRY_GAME),
    "econmoral/economics/preferences.py": (
        '        Family("utilitarian"',
        (
            '        Family("competitive", ("envy",), lambda m, n, q, v: [m - n], "weight on the '
            'lead over the other"),\n'
            '        Family("utilitarian"'
        ),
    ),
    "econmoral/checkpoints/models.py": (
        '    "qwen2.5-0.5b": Model(',
        ('    "mine": Model("{folder}", "MIT", 0.001),\n    "qwen2.5-0.5b": Model('),
    ),
    "eval/registry.py": (
        "INSTRUMENTS = {",
        (
            "INSTRUMENTS = {\n"
            '    "lotteries": ("lotteries:Lotteries", "a sure payment or the toss of a coin"),'
        ),
    ),
    "econmoral/instruments/menus.py": (
        "MENUS = Batteries({",
        ('MENUS = Batteries({\n    "mine": lambda: _matrix()[:2],'),
    ),
}


LOTTERIES = '''"""Lotteries.

    python -m eval.lotteries --model nano --out runs/lotteries
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from econmoral.text.conversation import LETTER, Conversation, Mode, Question
from econmoral.files.options import option
from econmoral.files.records import command

from .config import Source
from .engines.base import Answer, Condition, Request
from .runner import Instrument, run_command
from .validity import quality


@dataclass(frozen=True)
class LotteriesConfig(Source):
    """Options."""

    items: int = option(5, "lotteries", at_least=1)


class Lotteries(Instrument[int, dict[str, Any]]):
    """A sure payment against the toss of a coin."""

    name = "lotteries"
    Config = LotteriesConfig
    config: LotteriesConfig
    measures = ("safe",)

    def draw(self) -> list[int]:
        """Sure payments."""
        return [int(n) for n in np.random.default_rng(0).integers(10, 90, self.config.items)]

    def requests(self, item: int, condition: Condition, mode: Mode) -> list[Request]:
        """One page."""
        question = Question(f"Which do you choose, K or M? {LETTER}", ("K", "M"))
        page = (
            f"K gives you {item} points. "
            "M gives you 100 points or nothing, on the toss of a coin."
        )
        return [Request(Conversation(page, (question,)), item, None)]

    def record(
        self,
        item: int,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> dict[str, Any]:
        """Probability of the sure payment."""
        p = answers[0].probabilities
        about = {"id": f"lottery-{item}", "arm": condition.name, "mode": mode}
        return about | quality(answers) | {"safe": None if p is None else float(p[0])}


def main() -> None:
    """Entry point."""
    run_command(Lotteries, __doc__)


if __name__ == "__main__":
    command(main)
'''


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one entry added to each of five files,
    and an instrument of its own.
    """
    folder = tmp_path_factory.mktemp("newcomer")
    for room in ("econmoral", "data_synth", "recipes", "eval"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(NANO, folder / "mine")
    (folder / "eval" / "lotteries.py").write_text(LOTTERIES, encoding="utf-8")
    for name, (before, after) in ADDITIONS.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, name
        (folder / name).write_text(
            text.replace(before, after.replace("{folder}", str(folder / "mine"))), encoding="utf-8"
        )
    return folder


def ask(house: Path, *words: str) -> str:
    """A command of the extended house."""
    result = subprocess.run(
        [sys.executable, *words],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_new_game_is_played_taught_and_measured(house: Path) -> None:
    answer = json.loads(
        ask(
            house,
            "-m",
            "econmoral",
            "best-reply",
            "entry",
            "--payoffs",
            "90,60,30,10",
            "--beliefs",
            ".5,.5",
            "--json",
        )
    )
    assert set(answer["strategies"]) == {"in,share", "in,fight", "out,share", "out,fight"}
    # enter: (60 + 10) / 2 against 30 for staying out; reply to entry: share 60, fight 10
    assert answer["best_replies"] == ["in,share"]
    ask(
        house,
        "-m",
        "data_synth",
        "--preference",
        "homo_moralis",
        "--games",
        "entry",
        "--n",
        "30",
        "--out",
        "entry.jsonl",
    )
    rows = [row for _, row in read_lines(house / "entry.jsonl")]
    assert {row["meta"]["game"] for row in rows} == {"entry"}
    for row in rows:
        right, steps = check_steps(row["messages"][1]["content"])
        assert (right == steps > 0) or row["meta"]["mode"] == "direct"
        assert [len(m["content"]) for m in row["messages"] if m["role"] == "assistant"][-2:] == [
            1,
            1,
        ]
    ask(
        house,
        "-m",
        "eval.games",
        "--simulate",
        "alpha=0,beta=0,kappa=0.3,lambda=0.1",
        "--games",
        "entry",
        "--items",
        "40",
        "--out",
        "measured",
    )
    row = next(r for r in read_json(house / "measured" / "summary.json") if r["arm"] == "chooser")
    kappa = row["fits"]["homo_moralis"]["estimates"]["kappa"]
    assert abs(kappa["value"] - 0.3) < max(2 * kappa["se"], 1e-5)


def test_a_new_preference_is_estimated(house: Path) -> None:
    rows = ["self_x,other_x,self_y,other_y,choice_x"]
    # a chooser with envy .5 and no noise but a coin where it is indifferent: ahead is better
    for i in range(200):
        a, b, c, d = (
            10 * (7 * i % 11) + 50,
            10 * (5 * i % 13),
            10 * (3 * i % 7) + 60,
            10 * (11 * i % 17),
        )
        u = 1.5 * (a - c) - 0.5 * (b - d)
        rows.append(f"{a},{b},{c},{d},{int(u + 40 * ((i * 37 % 100) / 50 - 1) > 0)}")
    (house / "choices.csv").write_text("\n".join(rows) + "\n")
    found = json.loads(
        ask(house, "-m", "econmoral", "fit", "choices.csv", "--family", "competitive", "--json")
    )
    assert abs(found["estimates"]["envy"]["value"] - 0.5) < 0.15


def test_a_new_preference_is_taught_told_and_scored(house: Path) -> None:
    for domain, first in (("allocations", "own"), ("games", "strategy")):
        ask(
            house,
            "-m",
            "data_synth",
            "--target",
            "competitive:envy=0.5",
            "--domain",
            domain,
            "--n",
            "40",
            "--out",
            f"{domain}.jsonl",
        )
        rows = [row for _, row in read_lines(house / f"{domain}.jsonl")]
        assert all(
            first in row["meta"] and row["meta"]["target"] == "competitive:envy=0.5" for row in rows
        )
        # in steps, although nobody wrote any for it
        assert sum(row["meta"]["mode"] == "reasoned" for row in rows) > 25
        for row in rows:
            right, steps = check_steps(row["messages"][1]["content"])
            assert (right == steps > 0) or row["meta"]["mode"] == "direct"
    for row in [row for _, row in read_lines(house / "allocations.jsonl")]:
        (m, other_m), (n, other_n) = zip(row["meta"]["own"], row["meta"]["other"], strict=True)
        taken = [part["content"] for part in row["messages"] if part["role"] == "assistant"][-1]
        line = next(
            x
            for x in row["messages"][0]["content"].split("\n")[1:3]
            if re.search(rf"\b{taken}\b", x)
        )
        better = (m, other_m) if 1.5 * m - 0.5 * other_m > 1.5 * n - 0.5 * other_n else (n, other_n)
        assert tuple(map(float, re.findall(r"\d+", line))) == better
    told = ask(
        house,
        "-c",
        "from econmoral.target import Target; "
        "print(Target.parse('competitive:envy=0.5').describe())",
    )
    assert (
        "each of your points counts 1.5 and each of the other person's points counts -0.5" in told
    )
    chooser = (
        "--simulate",
        "alpha=-0.5,beta=-0.5,lambda=5",
        "--battery",
        "allocations",
        "--pairs",
        "1",
    )
    ask(
        house,
        "-m",
        "eval.menus",
        *chooser,
        "--targets",
        "competitive:envy=0.5",
        "homo_economicus",
        "--out",
        "competitive",
    )
    row = next(
        r for r in read_json(house / "competitive" / "summary.json") if r["arm"] == "chooser"
    )
    assert row["targets"]["competitive:envy=0.5"]["accuracy"]["mean"] == 1
    assert row["targets"]["homo_economicus"]["accuracy"]["mean"] < 0.9


def test_a_new_checkpoint_is_measured(house: Path) -> None:
    said = ask(
        house,
        "-m",
        "eval.games",
        "--model",
        "mine",
        "--items",
        "2",
        "--pairs",
        "1",
        "--out",
        "mine-measured",
    )
    assert "mine" in said
    assert read_json(house / "mine-measured" / "run.json")["inputs"]["base"]["path"] == str(
        house / "mine"
    )


def test_a_new_battery_is_asked(house: Path) -> None:
    ask(
        house,
        "-m",
        "eval.menus",
        "--simulate",
        "alpha=0.1,beta=0.1,lambda=0.1",
        "--battery",
        "mine",
        "--out",
        "menus",
    )
    assert len({row["id"] for _, row in read_lines(house / "menus" / "choices.jsonl")}) == 2


def test_a_new_instrument_is_a_file_and_a_line(house: Path) -> None:
    said = ask(
        house, "-m", "eval.lotteries", "--model", "nano", "--items", "4", "--out", "lotteries"
    )
    assert "safe" in said
    (row,) = read_json(house / "lotteries" / "summary.json")
    assert row["arm"] == "base"
    assert row["safe"]["n"] == 4 or row["outside"]
    assert len(list(read_lines(house / "lotteries" / "choices.jsonl"))) == 4
    assert read_json(house / "lotteries" / "run.json")["settings"]["items"] == 4
    assert "toss of a coin" in ask(house, "-m", "econmoral", "--help")
    assert "--items" in ask(house, "-m", "econmoral", "lotteries", "--help")
    code = (
        "from econmoral import measure; print(len(measure('nano', instrument='lotteries', "
        "items=3, out='lotteries').records))"
    )
    assert ask(house, "-c", code).strip() == "3"


@pytest.mark.slow
def test_a_new_preference_is_trained_prompted_and_reported(house: Path) -> None:
    target = "competitive:envy=0.5"
    ask(house, "-m", "data_synth", "--target", target, "--n", "24", "--out", "train.jsonl")
    ask(
        house,
        "recipes/sft.py",
        "--model",
        "nano",
        "--data",
        "train.jsonl",
        "--out",
        "runs/envious",
        "--epochs",
        "1",
    )
    ask(
        house,
        "-m",
        "eval.games",
        "--adapter",
        "runs/envious",
        "--prompted",
        "--items",
        "4",
        "--pairs",
        "1",
    )
    rows = read_json(house / "runs" / "envious" / "eval" / "summary.json")
    assert {"base", "base, told competitive 0.5", "envious"} <= {row["arm"] for row in rows}
    assert any(target in row["targets"] for row in rows)
    ask(house, "-m", "eval.report", "runs/envious/eval")
    assert "competitive 0.5" in (house / "runs" / "envious" / "eval" / "report.md").read_text(
        encoding="utf-8"
    )
