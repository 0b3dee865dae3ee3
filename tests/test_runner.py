"""The one runner, on an instrument of three coins: what is written, what is said,
what is asked again.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT  # noqa: F401 - keeps the network closed
from rich.console import Console

from econmoral.files.options import option, parse
from econmoral.files.records import InputError, read_json, read_lines, write_json
from econmoral.text.conversation import LETTER, Conversation, Question
from eval import progress as progress_module
from eval import runner
from eval.choosers import parse_parameters
from eval.conditions import BASE, Adapter
from eval.config import Reasoned, Source
from eval.engines.base import Answer, Condition, Request
from eval.estimate import Estimate, mean_of, paired
from eval.progress import progress
from eval.runner import Instrument, run
from eval.validity import quality


@dataclass(frozen=True)
class CoinsConfig(Reasoned):
    """Three coins."""

    coins: tuple[str, ...] = option(
        ("gold", "silver", "copper"), "coins", choices=("gold", "silver", "copper"), once=True
    )
    weight: float = option(1.5, "of a coin")


class Coins(Instrument[str, dict[str, Any]]):
    """Heads or tails."""

    name = "coins"
    Config = CoinsConfig
    config: CoinsConfig
    measures = ("heads",)

    def draw(self) -> list[str]:
        return list(self.config.coins)

    def requests(self, item: str, condition: Condition, mode: Any) -> list[Request]:
        question = Question(f"Heads (K) or tails (M)? {LETTER}", ("K", "M"))
        return [Request(Conversation(f"A coin of {item} is tossed.", (question,)), item, None)]

    def record(
        self,
        item: str,
        condition: Condition,
        mode: Any,
        asked: list[Request],
        answers: list[Answer],
    ) -> dict[str, Any]:
        about = {"id": item, "arm": condition.name, "mode": mode}
        return about | quality(answers) | {"heads": float(answers[0].probabilities[0])}  # type: ignore[index]


class Minter:
    """Knows the coins."""

    note = "seed left out"
    tokens = 7

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, requests: list[Request], condition: Condition, seed: int = 0) -> list[Answer]:
        self.asked += [r.item for r in requests]
        heads = {"gold": 0.5, "silver": 0.7, "copper": 0.9}
        return [
            Answer(np.array([heads[r.item], 1 - heads[r.item]]), np.full(1, 0.9)) for r in requests
        ]


@pytest.fixture
def minter(monkeypatch: pytest.MonkeyPatch) -> Minter:
    engine = Minter()
    monkeypatch.setattr(runner, "open_engine", lambda *_: engine)
    return engine


def said(config: CoinsConfig) -> str:
    console = Console(file=io.StringIO(), width=120)
    run(Coins(config), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_everything_is_written_and_only_what_is_new_is_asked(
    minter: Minter, tmp_path: Path
) -> None:
    config = CoinsConfig(model="nano", out=tmp_path, coins=("gold", "silver"))
    text = said(config)
    assert minter.asked == ["gold", "silver"]
    assert text.count("seed left out") == 1
    assert {p.name for p in tmp_path.iterdir()} == {
        "answers",
        "choices.jsonl",
        "run.json",
        "summary.json",
        "table.csv",
    }
    (row,) = read_json(tmp_path / "summary.json")
    assert row["heads"]["mean"] == pytest.approx(0.6)
    assert row["heads"]["n"] == 2
    about = read_json(tmp_path / "run.json")
    assert about["settings"] == json.loads(json.dumps(config.settings()))
    assert about["settings"]["coins"] == ["gold", "silver"]
    assert about["tokens"] == 7
    said(replace(config, coins=("copper", "gold", "silver")))
    assert minter.asked == ["gold", "silver", "copper"]
    records = [row for _, row in read_lines(tmp_path / "choices.jsonl")]
    assert [r["id"] for r in records] == ["copper", "gold", "silver"]
    assert len({r["prompt_hash"] for r in records}) == 3
    assert "seed left out" not in said(config)  # no engine was opened


@pytest.mark.parametrize(
    ("key", "spoilt"),
    [
        ("probabilities", [2.5, 3.5]),
        ("probabilities", [0.4, 0.4]),
        ("valid", [1.7]),
        ("valid", [-0.2]),
    ],
)
def test_a_kept_answer_that_is_none_is_asked_again(
    minter: Minter, tmp_path: Path, key: str, spoilt: list[float]
) -> None:
    """A file of answers that was damaged, yet is JSON,
    ends neither in another number nor in a traceback.
    """
    config = CoinsConfig(model="nano", out=tmp_path, coins=("gold", "silver"))
    said(config)
    before = read_json(tmp_path / "summary.json")
    (path,) = (tmp_path / "answers").iterdir()
    rows = [row for _, row in read_lines(path)]
    rows[0]["answers"][0][key] = spoilt
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    minter.asked.clear()
    said(config)
    assert minter.asked == ["gold", "silver"]
    assert read_json(tmp_path / "summary.json") == before


def test_what_an_earlier_measurement_left_goes(minter: Minter, tmp_path: Path) -> None:
    """A figure, or a file of records, that is not written again is of other figures."""

    class Drawn(Coins):
        def results(self, found: Any) -> Any:
            drawn = {f"{coin}.png": Path.touch for coin in self.config.coins}
            files = {f"{coin}.jsonl": [{"coin": coin}] for coin in self.config.coins}
            return replace(super().results(found), figures=drawn, files=files, records=[])

    for name in ("mine.png", "mine.jsonl"):
        (tmp_path / name).touch()
    for coins in (("gold", "silver"), ("silver", "copper")):
        run(Drawn(CoinsConfig(model="nano", out=tmp_path, coins=coins)), Console(quiet=True))
    assert {p.name for p in tmp_path.glob("*.png")} == {"silver.png", "copper.png", "mine.png"}
    assert not (tmp_path / "gold.jsonl").exists()
    # a run.json from elsewhere removes nothing but results
    about, kept = tmp_path / "run.json", tmp_path / "here" / "kept.csv"
    kept.parent.mkdir()
    kept.touch()
    (tmp_path / "kept.yaml").touch()
    write_json(about, {"files": ["here/kept.csv", "kept.yaml", "answers", "../x.csv", 3]})
    said(CoinsConfig(model="nano", out=tmp_path))
    assert kept.is_file()
    assert (tmp_path / "kept.yaml").is_file()
    write_json(about, {"files": None})
    said(CoinsConfig(model="nano", out=tmp_path))


@pytest.mark.parametrize("name", ["adapter_config.json", "config.json"])
def test_results_do_not_overwrite_the_record_of_an_adapter(
    minter: Minter, tmp_path: Path, name: str
) -> None:
    for file in (name, "run.json"):
        write_json(tmp_path / file, {"target": "homo_economicus"})
    with pytest.raises(InputError, match=f"holds an adapter or a checkpoint .{name}"):
        said(CoinsConfig(model="nano", out=tmp_path))
    assert read_json(tmp_path / "run.json") == {"target": "homo_economicus"}
    assert minter.asked == []


def test_an_adapter_that_answers_as_its_base_is_refused_unless_replies_were_sampled(
    minter: Minter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few sampled replies may all be alike."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).touch()

    class Tuned(Coins):
        def choose_conditions(self) -> list[Condition]:
            self.adapters = (Adapter("tuned", tmp_path),)
            return [BASE, Condition("tuned", "tuned")]

    def asked(place: str) -> str:
        console = Console(file=io.StringIO(), width=200)
        run(Tuned(CoinsConfig(model="nano", out=tmp_path / place)), console)
        return console.file.getvalue()  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="the adapter is empty or was not applied"):
        asked("exact")
    plain = minter.score
    outcomes: dict[Any, int] = {"answered": 1, "unreadable": 0, "refused": 0}
    monkeypatch.setattr(
        minter, "score", lambda *asked: [replace(a, outcomes=outcomes) for a in plain(*asked)]
    )
    assert "every probability equals the base's: of so few" in asked("sampled")
    assert (tmp_path / "sampled" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("mode", "met", "says"),
    [
        ("reasoned", 99, True),
        ("reasoned", 106, False),
        ("reasoned", None, False),  # trained elsewhere
        ("reasoned", "99", False),  # of a record that somebody wrote
        ("reasoned", True, False),
        ("direct", 99, False),  # nothing is computed
    ],
)
def test_numbers_that_an_adapter_never_met_are_named(
    minter: Minter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    met: object,
    says: bool,
) -> None:
    """A model that met no number above 99 may compute 4 * 106 = 40 + 24 = 64."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).touch()
    write_json(tmp_path / "run.json", {"gates": {"largest_number": met}})
    monkeypatch.setattr(runner, "acts", lambda *_: True)

    class Tuned(Coins):
        def choose_conditions(self) -> list[Condition]:
            self.adapters = (Adapter("tuned", tmp_path),)
            return [BASE, Condition("tuned", "tuned")]

        def requests(self, item: str, condition: Condition, mode: Any) -> list[Request]:
            (asked,) = super().requests(item, condition, mode)
            page = f"1{'0' * 20} coins of {item}, each worth 106."
            return [replace(asked, conversation=replace(asked.conversation, page=page))]

    console = Console(file=io.StringIO(), width=200)
    run(Tuned(CoinsConfig(model="nano", out=tmp_path / "m", mode=(mode,))), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        "tuned: numbers up to 106 on these pages, up to 99 in its last training" in text
    ) is says
    about = read_json(tmp_path / "m" / "run.json")
    assert about.get("beyond_training") == ({"tuned": [106, 99]} if says else None)


def test_modes_are_asked_apart(minter: Minter, tmp_path: Path) -> None:
    said(CoinsConfig(model="nano", out=tmp_path, mode=("direct", "reasoned")))
    assert [row["mode"] for row in read_json(tmp_path / "summary.json")] == ["direct", "reasoned"]


def test_a_study_without_a_chooser_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="coins has no simulated chooser"):
        said(CoinsConfig(simulate="lambda=1", out=tmp_path))


def test_the_command_line_is_made_from_the_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [
        "--model",
        "nano",
        "--out",
        str(tmp_path),
        "--coins",
        "gold",
        "gold",
        "copper",
        "--adapter",
        "a",
        "--adapter",
        "b",
        "--seed",
        "3",
    ]
    config = parse(CoinsConfig, "coins", "Three coins.", words)
    assert config == CoinsConfig(
        model="nano", out=tmp_path, coins=["gold", "copper"], adapter=["a", "b"], seed=3
    )  # type: ignore[arg-type]
    assert config.adapter == (Path("a"), Path("b"))
    assert config.weight == 1.5
    with pytest.raises(SystemExit):
        parse(CoinsConfig, "coins", "Three coins.", ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "of a coin (default 1.5)" in text
    assert "coins (default gold silver copper)" in text
    assert "Three coins." in text
    for bad in (["--colour", "red"], ["--coins", "tin"], ["--weight", "heavy"]):
        with pytest.raises(SystemExit):
            parse(CoinsConfig, "coins", "", [*words, *bad])


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"weight": float("nan")}, "--weight must be finite"),
        ({"weight": "1"}, "--weight takes float"),
        ({"coins": ["tin"]}, "--coins: invalid choice 'tin'"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"seed": True}, "--seed takes int"),
        ({"simulate": "lambda=1"}, "give either"),
        ({"out": None}, "give --out"),
        ({"concurrency": 4}, "--concurrency belongs to --endpoint"),
        ({"samples": 3}, "--samples does nothing without --mode reasoned or --replies sampled"),
        ({"temperature": 0.0}, "--temperature does nothing without --mode reasoned"),
        ({"longest": 90}, "--longest does nothing without --mode reasoned"),
        ({"temperature": 0.0, "samples": 2, "mode": ["reasoned"]}, "leave --samples at 1"),
    ],
)
def test_values_are_checked_from_python_too(values: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError) as refusal:
        CoinsConfig(**({"model": "nano", "out": Path("x")} | values))
    assert part in str(refusal.value)


def test_a_source_is_one_thing(tmp_path: Path) -> None:
    assert Source(adapter=(tmp_path,)).out == tmp_path / "eval"
    with pytest.raises(InputError, match="--endpoint needs"):
        Source(endpoint="http://x", out=tmp_path)


def test_a_line_a_minute_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))  # seconds; every step takes 25
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: float(next(clock)))
    console = Console(file=io.StringIO(), width=80)
    assert list(progress("abcdefg", "letters", console)) == list("abcdefg")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["letters: 2 of 7 after 1 min", "letters: 5 of 7 after 2 min"]
    # on a terminal there is a bar, and no such line stays
    monkeypatch.undo()
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    assert list(progress("abc", "letters", console)) == list("abc")
    assert "after" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_way_to_print_a_number() -> None:
    assert str(Estimate("x", 0.314, 0.02, 30)) == "0.31 ± 0.02"
    assert str(Estimate("x", None, None, 30, "too few")) == "not id."
    found = Estimate("x", 1.0, 0.5, 5)
    assert found.low == pytest.approx(1 - 2.776445 * 0.5, abs=1e-5)
    assert mean_of([1.0, float("nan"), 3.0]) == {"mean": 2.0, "se": pytest.approx(1.0), "n": 2}
    assert mean_of([]) is None
    assert paired([1.0]) is None
    assert paired([1.0, 3.0]) == {"value": 2.0, "se": pytest.approx(1.0), "n": 2}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("kappa=.3,lambda=1,kappa=.6", "gives kappa twice"),
        ("lambda=1, lambda=2", "gives lambda twice"),
        ("kappa=.3", "lambda must be"),
        ("kappa=inf,lambda=1", "at most"),
        ("kappa=.3;lambda=1", "NAME=VALUE"),
    ],
)
def test_a_simulated_chooser_is_one(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_parameters(text, ("kappa",))
