"""The study: plans, what designs share, a kill and the way on; the dial between two adapters."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import interpolate
import numpy as np
import pytest
import study
import torch
from conftest import LIMIT, ROOT, assert_complains, call, run
from console import here
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from data_synth.synthesis import Draw, examples
from econmoral.checkpoints.models import NANO
from econmoral.files.cells import Cell
from econmoral.files.cells import run as run_cells
from econmoral.files.options import parse
from econmoral.files.records import InputError, read_json, read_whole_lines, write_json
from econmoral.instruments.derivations import length
from econmoral.target import ECONOMICUS, moralis
from eval.games import Games, GamesConfig

PLANS = sorted((ROOT / "recipes" / "plans").glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda p: p.stem)
def test_plans_lay_out(path: Path, tmp_path: Path) -> None:
    plan = study.read_plan(path)
    cells = study.lay_out(plan, tmp_path, list(plan["designs"]))
    assert len({c.product for c in cells}) == len(cells)
    done: set[str] = set()
    for cell in cells:  # a cell comes after what it needs
        needed = [
            w
            for w in cell.words
            if w.startswith(str(tmp_path)) and not str(cell.product).startswith(w)
        ]
        assert all(any(p == w or p.startswith(w + "/") for p in done) for w in needed), cell.name
        done.add(str(cell.product))


def test_designs_share_their_cells(tmp_path: Path) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "nano.yaml")
    whole = study.lay_out(plan, tmp_path, list(plan["designs"]))
    alone = [study.lay_out(plan, tmp_path, [design]) for design in plan["designs"]]
    assert len(whole) < sum(map(len, alone))
    assert {c.name for c in whole} == {c.name for cells in alone for c in cells}


def test_every_seed_has_data_and_an_adapter_of_its_own(tmp_path: Path) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "nano.yaml")
    plan["designs"]["dose"] |= {"sizes": [25, 100], "seeds": [0, 1]}
    cells = {c.name: c.words for c in study.lay_out(plan, tmp_path, ["dose"])}
    for kind in ("data", "tune"):
        drawn = {
            name: words[words.index("--seed") + 1]
            for name, words in cells.items()
            if name.startswith(kind)
        }
        want = {"n25": "0", "n100": "0", "n25-s1": "1", "n100-s1": "1"}
        assert drawn == {f"{kind} moralis-0.5-{size}": seed for size, seed in want.items()}
    assert cells["measure dose"].count("--adapter") == 4
    plan["designs"]["dial"] |= {"kappas": [1], "weights": [0.5], "seeds": [0, 2]}
    dial = {c.name: c.words for c in study.lay_out(plan, tmp_path, ["dial"])}
    tuned = {
        "economicus-n400",
        "moralis-1-n400",
        "economicus-n400-s2",
        "moralis-1-n400-s2",
        "moralis-0.5-n400",
    }
    assert {name.removeprefix("tune ") for name in dial if name.startswith("tune ")} == tuned
    assert dial["measure dial"].count("--adapter") == len(tuned) + 1


BAD = [
    ("", "exactly model"),
    ("a: [", "not YAML"),
    ("[1]", "exactly model"),
    ("model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: {wishes: {}}", "designs must be among"),
    ("model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: {dial: {kappas: [0]}}", "takes exactly"),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: "
        "{dial: {kappas: [1.5], weights: [0.5], seeds: [0]}}",
        "kappas must be numbers from 0 to 1",
    ),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: {persistence: {sets: [moon]}}",
        "sets must be sets among wordings",
    ),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: {placebo: {target: kindness}}",
        "unknown preference 'kindness'",
    ),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: "
        "{transfer: {games: [chess], n: 20, target: homo_economicus}}",
        "games must be games among spd",
    ),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: "
        "{applications: {scenarios: 9, runs: 1, periods: 60, model: no-model}}",
        "no-model",
    ),
    ("model: nano\nitems: 2\nn: 10\nseed: 0\nn: 20\ndesigns: {prompted: {}}", "'n' twice"),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: "
        "{dial: {kappas: [.5, .50], weights: [1], seeds: [0]}}",
        "kappas must be numbers",
    ),
    ("model: nano\nitems: 2\nn: 10\nseed: 4294967296\ndesigns: {prompted: {}}", "below 4294967296"),
    (
        "model: nano\nitems: 2\nn: 10\nseed: 0\ndesigns: "
        "{dose: {sizes: [10], seeds: [0, 4294967296], target: homo_economicus}}",
        "seeds must be whole numbers below",
    ),
    ("model: nano\nitems: two\nn: 10\nseed: 0\ndesigns: {prompted: {}}", "whole number"),
    ("model: no-such-model\nitems: 2\nn: 10\nseed: 0\ndesigns: {prompted: {}}", "no-such-model"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_plans(text: str, complaint: str, tmp_path: Path) -> None:
    """Everything is found before anything is trained."""
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(InputError, match=re.escape(complaint)):
        study.read_plan(tmp_path / "plan.yaml")


def test_a_bad_plan_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(BAD[0][0])
    assert_complains(
        here(
            "recipes/study.py",
            "--plan",
            str(tmp_path / "plan.yaml"),
            "--out",
            str(tmp_path / "out"),
        ),
        BAD[0][1],
    )


@pytest.mark.parametrize("degree", [0.25, 0.5, 0.75])
def test_a_right_derivation_is_not_cut(degree: float) -> None:
    most = study.longest(moralis(degree), "games")
    rows = examples(Draw(moralis(degree), ECONOMICUS, 120, 1, reasoned=1))
    assert max(length(row["messages"][1]["content"]) for row in rows) <= most <= 900


def test_sets_are_those_of_the_measurement() -> None:
    from eval.measure import TITLES

    assert {"payoffs", *study.SETS} == set(TITLES)


def test_applications_use_the_plans_model_unless_told(tmp_path: Path) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "nano.yaml")
    for model, tag in ((None, ""), ("qwen2.5-0.5b", "-applications")):
        plan["designs"]["applications"] |= {"model": model} if model else {}
        cells = {c.name: c.words for c in study.lay_out(plan, tmp_path, ["applications"])}
        words = cells[f"tune economicus-n400{tag}"]
        assert words[words.index("--model") + 1] == (model or "nano")
        assert cells["dilemmas"].count("--adapter") == 3  # the placebo too


def test_any_preference_can_be_a_target(tmp_path: Path) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "nano.yaml")
    plan["designs"]["placebo"]["target"] = "bruhin_fehr_schunk:alpha=0.2,beta=0.5"
    cells = {c.name: c.words for c in study.lay_out(plan, tmp_path, ["placebo"])}
    assert "bruhin_fehr_schunk:alpha=0.2,beta=0.5" in cells["data bfs-0.2-0.5-n400-shuffled"]
    measured = cells["measure placebo"]
    assert measured[measured.index("--targets") + 1 :][:3] == (
        "homo_economicus",
        "homo_moralis:kappa=0.5",
        "bruhin_fehr_schunk:alpha=0.2,beta=0.5",
    )


def test_a_measurement_by_another_revision_of_the_code_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed page is asked (of answers kept by question only that one), a training is kept."""
    write = "import sys; open(sys.argv[1], 'a').write('x')"
    cells = [
        Cell(name, ("-c", write, str(tmp_path / name)), tmp_path / name, name == "measured")
        for name in ("trained", "measured")
    ]
    for revision in ("one", "one", "two", "two"):
        monkeypatch.setattr("econmoral.files.cells.code_revision", lambda now=revision: now)
        run_cells(cells, tmp_path)
        said = capsys.readouterr().err
        assert ("1 cells are of another revision of the code and kept" in said) == (
            revision == "two"
        )
    assert [(tmp_path / name).read_text() for name in ("trained", "measured")] == ["x", "xx"]


def test_a_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Cells that write a file; the second fails once, as after a kill."""
    write = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); assert "
        "p.parent.joinpath('ready').exists() or p.name != 'b'; p.write_text('done')"
    )
    cells = [
        study.Cell(name, ("-c", write, str(tmp_path / name)), tmp_path / name) for name in "abc"
    ]
    with pytest.raises(InputError, match="b; the study continues"):
        study.run(cells, tmp_path)
    (tmp_path / "a").write_text("kept")
    (tmp_path / "ready").touch()
    study.run(cells, tmp_path)
    assert (tmp_path / "a").read_text() == "kept"
    attempts = [
        (row["cell"], row["finished"]) for row in read_whole_lines(tmp_path / "cells.jsonl")
    ]
    # every attempt has its cost
    assert attempts == [("a", True), ("b", False), ("b", True), ("c", True)]
    assert (tmp_path / "c").read_text() == "done"


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (("--model", "a", "--seed", "1"), "holds tune x of another plan .*--seed 0"),
        (("--model", "b", "--seed", "0"), "holds tune x of another plan .*--model a"),
        (("--model", "a", "--seed", "0", "--shuffled"), "holds tune x of another plan"),
        (("--model", "a", "--seed", "0"), None),
    ],
)
def test_what_another_plan_left_is_not_taken(
    then: tuple[str, ...], message: str | None, tmp_path: Path
) -> None:
    write = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('done')"

    def cells(*options: str) -> list[study.Cell]:
        return [study.Cell("tune x", ("-c", write, str(tmp_path / "x"), *options), tmp_path / "x")]

    study.run(cells("--model", "a", "--seed", "0"), tmp_path)
    with pytest.raises(InputError, match=message) if message else nullcontext():
        study.run(cells(*then), tmp_path)


@pytest.mark.parametrize(
    ("kappas", "weights"), [([0.1234567, 0.1234568], [0.5]), ([0.5], [0.25, 0.2500000001])]
)
def test_two_cells_of_one_name_are_refused(
    kappas: list[float], weights: list[float], tmp_path: Path
) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "nano.yaml")
    plan["designs"]["dial"] = {"kappas": kappas, "weights": weights, "seeds": [0]}
    with pytest.raises(InputError, match="two cells would be named"):
        study.lay_out(plan, tmp_path, ["dial"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_a_cell_still_loads(number: int, tmp_path: Path) -> None:
    """A signal to the whole group, as a terminal's Ctrl-C is, before the cell's command can answer
    it: one line, and the cell has ended.
    """
    cell = study.Cell(
        "a",
        ("-c", "import os, time; open('ready', 'w').write(str(os.getpid())); time.sleep(900)"),
        tmp_path / "never",
    )
    paths = [str(ROOT), str(ROOT / "recipes")]
    words = (
        f"import sys; sys.path[:0] = {paths}; import study; from pathlib import Path, PosixPath; "
        "from econmoral.files.records import command; import signal\n"
        # whoever runs the tests in the background of a shell ignores SIGINT
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    words += f"command(lambda: study.run([study.{cell!r}], Path('.')))"
    process = subprocess.Popen(
        [sys.executable, "-c", words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "ready").exists() or not (tmp_path / "ready").read_text():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=LIMIT)[1]
    assert (process.returncode, said.count("\n"), "error: interrupted" in said) == (130, 1, True), (
        said
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "ready").read_text()), 0)
    assert [row["finished"] for row in read_whole_lines(tmp_path / "cells.jsonl")] == [False]


@pytest.mark.slow
def test_the_prompted_design_from_plan_to_report(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("model: nano\nitems: 3\nn: 20\nseed: 0\ndesigns: {prompted: {}}\n")
    done = run("recipes/study.py", "--plan", str(plan), "--out", str(tmp_path / "study"))
    assert done.returncode == 0, done.stderr
    assert run("-m", "eval.report", str(tmp_path / "study")).returncode == 0
    page = (tmp_path / "study" / "report" / "report.html").read_text()
    assert "Described, not tuned" in page
    assert "is no evidence about large models" in page
    before = read_json(tmp_path / "study" / "study.json") | {"cost": None}
    assert (
        run("recipes/study.py", "--plan", str(plan), "--out", str(tmp_path / "study")).returncode
        == 0
    )
    # the second took less time
    assert read_json(tmp_path / "study" / "study.json") | {"cost": None} == before


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_between_two_adapters(adapter: Path, tmp_path: Path, weight: float) -> None:
    """The update of every layer is the weighted mean of both, whatever their ranks and scales."""
    other = tmp_path / "other"
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(
        base,
        LoraConfig(
            r=6,
            lora_alpha=3,
            target_modules="all-linear",
            init_lora_weights=False,
            task_type="CAUSAL_LM",
        ),
    ).save_pretrained(other)
    out = tmp_path / "between"
    call(interpolate.main, "--adapters", adapter, other, "--weight", weight, "--out", out)

    def update(folder: Path) -> dict[str, torch.Tensor]:
        weights, config = (
            load_file(folder / "adapter_model.safetensors"),
            json.loads((folder / "adapter_config.json").read_text()),
        )
        return {
            k: weights[k.replace("lora_A", "lora_B")]
            @ weights[k]
            * config["lora_alpha"]
            / config["r"]
            for k in weights
            if "lora_A" in k
        }

    first, second, found = update(adapter), update(other), update(out)
    for name in first:
        np.testing.assert_allclose(
            found[name], (1 - weight) * first[name] + weight * second[name], atol=1e-5
        )
    fresh = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    assert PeftModel.from_pretrained(fresh, str(out)).peft_config["default"].r == 10


def test_between_refuses_what_it_cannot_stack(adapter: Path, tmp_path: Path) -> None:
    for second, weight, complaint in (
        (tmp_path, "0.5", "adapter_config.json"),
        (adapter, "2", "--weight"),
    ):
        words = [
            "--adapters",
            str(adapter),
            str(second),
            "--weight",
            weight,
            "--out",
            str(tmp_path / "x"),
        ]
        assert_complains(here("recipes/interpolate.py", *words), complaint)


def test_cells_side_by_side(tmp_path: Path) -> None:
    """Each sees the other's file, so neither has waited; what fails is named."""
    wait = (
        "import pathlib, sys, time\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        f"deadline = time.monotonic() + {LIMIT}\n"
        "while not other.exists() and time.monotonic() < deadline: time.sleep(0.01)\n"
        "print('met', other.exists())\n"
    )
    a, b = tmp_path / "a", tmp_path / "b"
    both = [
        Cell("one", ("-c", wait, str(a), str(b)), a),
        Cell("the other", ("-c", wait, str(b), str(a)), b),
    ]
    run_cells(both, tmp_path, jobs=2)
    logs = [tmp_path / "logs" / f"{name}.log" for name in ("one", "the-other")]
    assert [log.read_text().strip() for log in logs] == ["met True", "met True"]
    bad = Cell("bad", ("-c", "raise SystemExit(3)"), tmp_path / "never")
    good = Cell("good", ("-c", f"open({str(tmp_path / 'c')!r}, 'w').close()"), tmp_path / "c")
    with pytest.raises(InputError, match="logs: bad;"):
        run_cells([*both, bad, good], tmp_path, jobs=2)
    rows = read_whole_lines(tmp_path / "cells.jsonl")
    # whichever ends first
    assert {(row["cell"], row["finished"]) for row in rows[:2]} == {
        ("one", True),
        ("the other", True),
    }
    assert {(row["cell"], row["finished"]) for row in rows[2:]} == {("bad", False), ("good", True)}


def laid_out(name: str, out: Path, *designs: str, training: tuple[str, ...] = ()) -> dict[str, str]:
    """Cells of a plan: name -> the command's words."""
    plan = study.read_plan(ROOT / "recipes" / "plans" / f"{name}.yaml")
    cells = study.lay_out(plan, out, list(designs or plan["designs"]), training)
    return {cell.name: " ".join(cell.words) for cell in cells}


@pytest.mark.parametrize("name", ["real", "real-gpu", "real-gpu-qwen"])
def test_a_study_of_a_real_checkpoint_measures_the_adapters_of_its_plan(
    name: str, tmp_path: Path
) -> None:
    cells = laid_out(name, tmp_path, training=("--batch-size", "8"))
    trained = {k: words for k, words in cells.items() if k.startswith("tune ")}
    assert len(trained) == 7 + (3, 3, 2)[("real", "real-gpu", "real-gpu-qwen").index(name)]
    assert all("--batch-size 8 --out" in words for words in trained.values())
    for stage in ("games-training-wordings", "games-balanced"):
        assert cells["games"].count("--adapter") == cells[stage].count("--adapter")
    assert "--sets balanced" in cells["games-balanced"]
    assert [w for w in ("economicus", "moralis", "altruist") if f"/{w}" in cells["games"]] == [
        "economicus",
        "moralis",
    ]
    assert cells["games"].index("placebo-games") < cells["games"].index("economicus")
    assert "--wordings held-out" in cells["allocations"]
    assert "--wordings held-out" in cells["bfs39"]
    for stage in ("games", "allocations", "bfs39"):  # answered at once and after a derivation
        assert "--mode reasoned" in cells[stage]
        assert "--mode direct" in cells[f"{stage}-direct"]
        assert cells[stage].count("--adapter") == cells[f"{stage}-direct"].count("--adapter")
    assert cells["spillover"].count("--adapter") == cells["dilemmas"].count("--adapter") == 7
    crossed = [
        words for k, words in cells.items() if k.startswith("data ") and "--crossed" in words
    ]
    assert len(crossed) == (0 if name == "real" else len(trained))


@pytest.mark.parametrize(
    ("name", "command", "asked"),
    [("real", "menus", "--battery allocations --limit 30"), ("real-qwen", "games", "--items 12")],
)
def test_a_curve_is_measured_where_its_adapter_was_trained(
    name: str, command: str, asked: str, tmp_path: Path
) -> None:
    cells = laid_out(name, tmp_path, "curve")
    design = study.read_plan(ROOT / "recipes" / "plans" / f"{name}.yaml")["designs"]["curve"]
    words = cells.pop("curve")
    assert f" {command} " in words
    assert asked in words
    assert "--prompted --targets" in words
    folders = [f"adapters/{design['adapter']}-n{n}" for n in design["sizes"]]
    assert [w.partition("/adapters/")[2] for w in words.split() if "/adapters/" in w] == [
        f.removeprefix("adapters/") for f in folders
    ]
    assert {k.split()[0] for k in cells} == {"data", "tune"}
    assert len(cells) == 2 * len(folders)  # and nothing else is trained


@pytest.mark.parametrize("target", ["homo_moralis:kappa=0.3", "fehr_schmidt:beta=0.4"])
def test_a_curve_in_games_asks_about_the_problems_of_design_games(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Problems are drawn clear for every target: other targets would be other problems."""
    plan = study.read_plan(ROOT / "recipes" / "plans" / "real-qwen.yaml")
    plan["adapters"]["moralis"]["target"] = target
    listed = study.lay_out(plan, tmp_path, ["games", "curve"])
    cells = {cell.name: " ".join(cell.words) for cell in listed}
    for name, entry in plan["adapters"].items():
        folder = tmp_path / "adapters" / name
        folder.mkdir(parents=True)
        about = {"target": entry["target"], "shuffled": "shuffled" in entry}
        write_json(folder / "run.json", about)
    monkeypatch.setattr(
        "eval.conditions.check_adapter", lambda folder: None
    )  # weights play no part
    drawn = []
    for name in ("games", "curve"):
        gone = r"--(adapter|model) \S+" if name == "curve" else r"--model \S+"
        words = re.sub(gone, "", cells[name].partition(" games ")[2]).split()
        drawn.append(Games(parse(GamesConfig, "games", "", [*words, "--model", "nano"])).draw())
    assert drawn[0] == drawn[1]


def test_seeds_train_one_adapter_again_on_other_data(tmp_path: Path) -> None:
    cells = laid_out("real-seeds", tmp_path)
    words = cells.pop("seeds")
    assert "menus" in words
    assert "--battery allocations --limit 30" in words
    assert "--prompted" not in words
    assert " --seed 0 " in words  # the problems are those of the plan
    assert words.count("--adapter") == 4
    for seed in (1, 2, 3, 4):
        assert f"--n 200 --seed {seed} " in cells[f"data altruist-n200-s{seed}"]
        tune = cells[f"tune altruist-s{seed}"]
        assert f"--seed {seed} --data {tmp_path}/data/altruist-n200-s{seed}.jsonl" in tune
    assert len(cells) == 8


def test_an_adapter_that_comes_after_another_goes_on_from_it(tmp_path: Path) -> None:
    path = ROOT / "recipes" / "plans" / "real-further.yaml"
    cells = laid_out("real-further", tmp_path)
    chain = ["known", "second", "third", "moralis"]
    assert "--adapter" not in cells["tune known"]
    order = list(cells)
    for before, name in itertools.pairwise(chain):
        assert f"--adapter {tmp_path}/adapters/{before} " in cells[f"tune {name}"]
        assert order.index(f"tune {before}") < order.index(f"tune {name}")
    assert "--seed 11 --reasoned 1 --crossed" in cells["data second-n800"]
    for wrong in ("nobody", "moralis"):
        bad = tmp_path / "plan.yaml"
        bad.write_text(path.read_text(encoding="utf-8").replace("after: known", f"after: {wrong}"))
        with pytest.raises(InputError, match="stands before it"):
            study.read_plan(bad)


@pytest.mark.parametrize(
    ("what", "by", "complaint"),
    [
        ("items: 24", "items: 0", "items must be"),
        ("menus: 60", "menus: many", "menus must be"),
        ("crossed: true", "crossed: 'no'", "true or false"),
        ("shuffled: true", "shuffled: 1", "true or false"),
        ("crossed: true", "seed: one", "seed must be a whole number"),
        ("crossed: true", "reasoned: 2", "a share from 0 to 1"),
        ("domain: games", "domain: [games]", "one of games, allocations"),
        ("domain: games", "domain: markets", "one of games, allocations"),
        ("domain: games, ", "", "takes exactly domain, n, target, perhaps after, crossed"),
        ("adapter: altruist", "adapter: hermit", "names no adapter"),
        ("adapters:", "adapters: []\nothers:", "must have exactly model, items"),
        ("  moralis: {", "  7: {", "called '7'"),
        ("  moralis: {", "  ../moralis: {", "letters, digits"),
        ("  moralis: {", "  grim: {", "and none of "),
        ("  moralis: {", "  chooser: {", "and none of "),
        ("adapter: altruist", "adapter: [altruist]", "names no adapter"),
        ("adapter: altruist", "adapter: curve", "names no adapter"),
        ("domain: games, n: 4800", "domain: games, largest: 120, n: 4800", "domain allocations"),
        ("{scenarios: 40", "{model: nano, scenarios: 40", "on one model"),
    ],
)
def test_a_plan_that_says_something_else_is_refused(
    what: str, by: str, complaint: str, tmp_path: Path
) -> None:
    text = (ROOT / "recipes" / "plans" / "real-gpu.yaml").read_text(encoding="utf-8")
    assert what in text
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace(what, by), encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        study.read_plan(path)


def test_two_adapters_never_share_a_folder(tmp_path: Path) -> None:
    """A size of a curve, or an adapter between two others, that another one is called after."""
    text = (ROOT / "recipes" / "plans" / "real-gpu.yaml").read_text(encoding="utf-8")
    text = text.replace("  selfish: {", "  altruist-n100: {")
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    plan = study.read_plan(path)
    with pytest.raises(InputError, match="give adapters other names"):
        study.lay_out(plan, tmp_path, list(plan["designs"]))
    plan["adapters"]["between-0.5"] = plan["adapters"].pop("altruist-n100")
    plan["designs"]["dial"] = {"kappas": [0.5], "weights": [0.5], "seeds": [0]}
    with pytest.raises(InputError, match=r"would write .*give adapters other names"):
        study.lay_out(plan, tmp_path, list(plan["designs"]))


def test_what_measures_comes_after_all_training_and_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = study.read_plan(ROOT / "recipes" / "plans" / "real.yaml")
    cells = study.lay_out(plan, tmp_path, list(plan["designs"]))
    assert [c.measures for c in cells] == sorted(c.measures for c in cells)
    assert all("--seed 0" in " ".join(c.words) for c in cells)
    ran: list[Cell] = []
    monkeypatch.setattr(study, "run", lambda cells, *_: ran.extend(cells))
    words = ("--plan", "real", "--out", tmp_path / "s", "--seed", "3", "--train-only")
    call(study.main, *words)
    assert {c.words[2] for c in ran} == {"data", "sft"}
    assert all("--seed 3" in " ".join(c.words) for c in ran)


def test_a_design_on_named_adapters_needs_some(tmp_path: Path) -> None:
    text = (ROOT / "recipes" / "plans" / "real-further.yaml").read_text(encoding="utf-8")
    path = tmp_path / "plan.yaml"
    head, _, rest = text.partition("adapters:\n")
    path.write_text(head + rest[rest.index("designs:") :], encoding="utf-8")
    with pytest.raises(InputError, match="name some"):
        study.read_plan(path)


def test_a_command_waits_for_what_it_reads(tmp_path: Path) -> None:
    """Several at once: whoever names the product of an earlier one starts when it is there."""
    first, second = tmp_path / "x" / "data.txt", tmp_path / "y.txt"
    write = "import pathlib, sys, time; time.sleep(float(sys.argv[3])); "
    write += "p = pathlib.Path(sys.argv[1]); p.parent.mkdir(exist_ok=True); "
    write += "p.write_text(str(pathlib.Path(sys.argv[2]).exists()))"
    cells = [
        Cell("data", ("-c", write, str(first), str(second), "0.5"), first),
        Cell("measure", ("-c", write, str(second), str(first.parent), "0"), second),
    ]
    run_cells(cells, tmp_path, jobs=2)
    assert first.read_text() == "False"
    assert second.read_text() == "True"


def test_options_of_a_study_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    words = ("recipes/study.py", "--plan", "nano", "--out", str(tmp_path / "s"))
    assert_complains(here(*words, "--sft", "--lr '1"), "--sft")
    assert_complains(here(*words, "--jobs", "0"), "--jobs")
    assert_complains(here(*words, "--seed=-1"), "--seed")
