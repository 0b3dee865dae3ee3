"""Our games inside Inspect AI and lm-evaluation-harness: ``make test-frameworks``, in an environment of their own."""

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

from econmoral.records import read_json
from eval.frameworks.inspect_games import econmoral_games
from eval.frameworks.pages import draw_pages
from eval.retention import compare

PAGES = draw_pages(6, "direct", 0.5, 0)


def reply(text: str) -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else the mock fetches a tokenizer to count them
    return output


def optimal_replies(target: str) -> list[ModelOutput]:
    return [reply(f"Some reasons.\n{p.candidates[getattr(p, target)[0]]}.") for p in PAGES]


@pytest.mark.parametrize("target", ["economicus", "moralis"])
def test_inspect_gives_an_optimal_model_full_marks(target: str, tmp_path: Path) -> None:
    model = get_model("mockllm/model", custom_outputs=optimal_replies(target))
    (log,) = inspect_eval(econmoral_games(items=6), model=model, log_dir=str(tmp_path), display="none", max_connections=1, max_samples=1)
    assert log.status == "success"
    found = {s.name: s.metrics["mean"].value for s in log.results.scores}
    other = "moralis" if target == "economicus" else "economicus"
    overlap = np.mean([p.__dict__[target][0] in p.__dict__[other] for p in PAGES])
    assert found[target] == 1
    assert found["admissible"] == 1
    assert found[other] == pytest.approx(overlap)


def test_inspect_counts_refusals(tmp_path: Path) -> None:
    model = get_model("mockllm/model", custom_outputs=[reply("I would rather not.") for _ in PAGES])
    (log,) = inspect_eval(econmoral_games(items=6), model=model, log_dir=str(tmp_path), display="none", max_connections=1, max_samples=1)
    assert {s.name: s.metrics["mean"].value for s in log.results.scores} == {"admissible": 0, "economicus": 0, "moralis": 0, "cooperative": 0}


class Optimal(LM):
    """Gives the optimum of one preference ten times the odds of each other answer."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.best = {(p.messages[-1]["content"], p.candidates[i]) for p in draw_pages(40, "direct", 0.5, 0) for i in getattr(p, target)[:1]}

    def loglikelihood(self, requests):
        return [(np.log(10.0) if r.args in self.best else 0.0, False) for r in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def generate_until(self, requests):
        raise NotImplementedError


@pytest.mark.parametrize("target", ["economicus", "moralis"])
def test_harness_gives_an_optimal_model_full_marks(target: str) -> None:
    manager = TaskManager(include_path="eval/frameworks")
    found = simple_evaluate(Optimal(target), tasks=["econmoral_games"], task_manager=manager, bootstrap_iters=0)["results"]["econmoral_games"]
    pages = draw_pages(40, "direct", 0.5, 0)
    assert found[f"{target},none"] == 1
    # one optimum in most decisions: 10 against N - 1 others
    mass = np.mean([(10 + len(getattr(p, target)) - 1) / (9 + len(p.candidates)) for p in pages])
    assert found[f"{target}_mass,none"] == pytest.approx(mass, abs=1e-9)


def test_retention_of_an_adapter_of_nano(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    make = (
        "from transformers import AutoModelForCausalLM as M; from peft import LoraConfig, get_peft_model as g; from econmoral.models import find_model;"
        "s = find_model('nano').source; m = g(M.from_pretrained(s), LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], task_type='CAUSAL_LM'));"
        f"m.save_pretrained({str(adapter)!r})"
    )
    subprocess.run([sys.executable, "-c", make], check=True)
    done = subprocess.run([sys.executable, "-m", "eval.retention", "--adapter", str(adapter), "--limit", "60"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = read_json(adapter / "retention" / "retention.json")["rows"]
    assert row["difference"] == 0  # a fresh adapter changes nothing
    assert row["not_inferior"]
    assert row["base"] > 0.8
    bad = subprocess.run([sys.executable, "-m", "eval.retention", "--adapter", str(adapter), "--tasks", "no_such_task"], capture_output=True, text=True)
    assert bad.returncode == 2
    assert "no_such_task" in bad.stderr


def test_non_inferiority() -> None:
    base = np.tile([1.0, 1.0, 0.0, 1.0], 100)
    assert compare(base, base, 0.05)["not_inferior"]
    worse = base.copy()
    worse[:40] = 0
    assert not compare(worse, base, 0.05)["not_inferior"]
