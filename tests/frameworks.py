"""Our games inside Inspect AI and lm-evaluation-harness: ``make test-frameworks``,
in an environment of their own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from econmoral.files.records import read_json
from eval.frameworks.inspect_games import econmoral_games
from eval.frameworks.pages import draw_pages
from eval.retention import compare

MORAL = "homo_moralis:kappa=0.5"
PAGES = draw_pages(6, "direct", MORAL, 0)


def reply(text: str) -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text)
    # else the mock fetches a tokenizer to count them
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def replies_of(name: str, mode: str = "direct") -> list[ModelOutput]:
    """Every decision as a preference takes it, in a sentence;
    in reasoned mode after a derivation that names other letters.
    """
    pages = draw_pages(6, mode, MORAL, 0)
    said = []
    for p in pages:
        decided = [
            f"I choose **{options[best[0]]}**."
            for options, best in zip(p.options, p.best[name], strict=True)
        ]
        said.append((["B brings 3, C brings 4."] if mode == "reasoned" else []) + decided)
    return [reply(text) for several in said for text in several]


def scores(outputs: list[ModelOutput], folder: Path, mode: str = "direct") -> dict[str, float]:
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = inspect_eval(
        econmoral_games(items=6, mode=mode),
        model=model,
        log_dir=str(folder),
        display="none",
        max_connections=1,
        max_samples=1,
    )
    assert log.status == "success"
    return {s.name: s.metrics["mean"].value for s in log.results.scores}


@pytest.mark.parametrize("mode", ["direct", "reasoned"])
@pytest.mark.parametrize("name", ["economicus", "target"])
def test_inspect_gives_an_optimal_model_full_marks(name: str, mode: str, tmp_path: Path) -> None:
    found = scores(replies_of(name, mode), tmp_path, mode)
    other = "target" if name == "economicus" else "economicus"
    overlap = np.mean(
        [
            np.mean([b[0] in o for b, o in zip(p.best[name], p.best[other], strict=True)])
            for p in draw_pages(6, mode, MORAL, 0)
        ]
    )
    assert found[name] == 1
    assert found["admissible"] == 1
    assert found[other] == pytest.approx(overlap)
    assert overlap < 1


def test_inspect_counts_refusals(tmp_path: Path) -> None:
    outputs = [reply("I would rather not.") for p in PAGES for _ in p.options]
    assert scores(outputs, tmp_path) == {
        "admissible": 0,
        "economicus": 0,
        "target": 0,
        "cooperative": 0,
    }


class Optimal(LM):
    """Gives one preference's first decision nine times the probability of the other option,
    nine tenths in all.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.best = {
            (p.turns[0], p.options[0][i])
            for p in draw_pages(40, "direct", MORAL, 0)
            for i in p.best[name][0][:1]
        }

    def loglikelihood(self, requests):
        return [(np.log(0.81 if r.args in self.best else 0.09), False) for r in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def generate_until(self, requests):
        raise NotImplementedError


@pytest.mark.parametrize("name", ["economicus", "target"])
def test_harness_gives_an_optimal_model_full_marks(name: str) -> None:
    manager = TaskManager(include_path="eval/frameworks")
    found = simple_evaluate(
        Optimal(name), tasks=["econmoral_games"], task_manager=manager, bootstrap_iters=0
    )["results"]["econmoral_games"]
    assert found[f"{name},none"] == 1
    assert found["valid,none"] == pytest.approx(0.9)
    mass = np.mean(
        [1.0 if len(p.best[name][0]) == 2 else 0.9 for p in draw_pages(40, "direct", MORAL, 0)]
    )
    assert found[f"{name}_mass,none"] == pytest.approx(mass)


def test_retention_of_an_adapter_of_nano(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    make = (
        "from transformers import AutoModelForCausalLM as M; from peft import LoraConfig, "
        "get_peft_model as g; from econmoral.checkpoints.models import find_model;s = "
        "find_model('nano').source; m = g(M.from_pretrained(s), LoraConfig(r=4, "
        "target_modules=['q_proj', 'v_proj'], task_type='CAUSAL_LM'));"
        f"m.save_pretrained({str(adapter)!r})"
    )
    subprocess.run([sys.executable, "-c", make], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "eval.retention", "--adapter", str(adapter), "--limit", "60"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (row,) = read_json(adapter / "retention" / "retention.json")["rows"]
    assert row["difference"] == 0  # a fresh adapter changes nothing
    assert row["not_inferior"]
    assert 0 <= row["base"] <= 1
    bad = subprocess.run(
        [
            sys.executable,
            "-m",
            "eval.retention",
            "--adapter",
            str(adapter),
            "--tasks",
            "no_such_task",
        ],
        capture_output=True,
        text=True,
    )
    assert bad.returncode == 2
    assert "no_such_task" in bad.stderr


def test_non_inferiority() -> None:
    base = np.tile([1.0, 1.0, 0.0, 1.0], 100)
    assert compare(base, base, 0.05)["not_inferior"]
    worse = base.copy()
    worse[:40] = 0
    assert not compare(worse, base, 0.05)["not_inferior"]
