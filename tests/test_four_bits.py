"""QLoRA where bitsandbytes runs, a CPU included: it trains on after it was evaluated,
and measures what it trained on.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import requests_of
from conftest import ROOT
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

sys.path.insert(0, str(ROOT / "recipes"))
import sft

from econmoral.checkpoints.loading import keep_unpacked, load_checkpoint
from econmoral.checkpoints.models import NANO
from econmoral.checkpoints.places import locate
from econmoral.files.records import read_json
from eval.engines.base import Condition
from eval.engines.with_transformers import Transformers
from eval.measure import draw_problems

pytestmark = pytest.mark.skipif(
    not find_spec("bitsandbytes"), reason="the package bitsandbytes is not installed"
)
TEXT = "<|im_start|>user\nYour plan?<|im_end|>\n<|im_start|>assistant\nAnswer: K T<|im_end|>"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECONMORAL_CACHE", str(tmp_path / "cache"))


def ask(engine: Transformers, arm: Condition) -> np.ndarray:
    requests = requests_of(
        draw_problems("drawn", 1, 1, [], 0, ("payoffs",)), arm, "direct", "given", 1
    )
    return np.concatenate(
        [
            a.valid if a.probabilities is None else a.probabilities
            for a in engine.score(requests, arm, 0)
        ]
    )


def layers(model: Any) -> list[Any]:
    import bitsandbytes

    return [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]


def test_training_goes_on_after_an_evaluation() -> None:
    tokenizer, model = load_checkpoint(locate("nano"), torch.float32, four_bit=True)
    assert len(layers(model)) == 6 * 7
    assert not any(m.support_avx512bf16_for_cpu for m in layers(model))
    torch.manual_seed(0)
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    frozen = [m.weight.detach().clone().view(torch.uint8) for m in layers(model)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    ids = torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    losses = []
    for _ in range(4):
        model.train()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            losses.append((float(loss), float(model(input_ids=ids, labels=ids).loss)))
    assert all(evaluated < trained for trained, evaluated in losses)
    assert losses[-1][1] < 0.7 * losses[0][0]
    # the same weights, whichever way they are run
    for (_, evaluated), (trained, _) in pairwise(losses):
        assert trained == pytest.approx(evaluated, rel=1e-3)
    assert all(
        torch.equal(a, m.weight.view(torch.uint8))
        for a, m in zip(frozen, layers(model), strict=True)
    )


def test_four_bits_answer_as_the_weights_that_they_stand_for() -> None:
    import bitsandbytes

    tokenizer, quantised = load_checkpoint(locate("nano"), torch.float32, four_bit=True)
    _, full = load_checkpoint(locate("nano"), torch.float32)
    _, rounded = load_checkpoint(locate("nano"), torch.float32)
    packed = {
        name: m
        for name, m in quantised.named_modules()
        if isinstance(m, bitsandbytes.nn.Linear4bit)
    }
    for name, module in rounded.named_modules():
        if name in packed:
            weight = packed[name].weight
            whole = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state).float()
            assert (
                0
                < float((whole - module.weight).abs().max())
                < 0.5 * float(module.weight.abs().max())
            )
            module.weight.data = whole
    ids = torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        a, b, c = (
            torch.log_softmax(m.eval()(input_ids=ids).logits[0], -1)
            for m in (quantised, rounded, full)
        )
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-3)
    assert float((b - c).abs().max()) > 0.01


def test_packing_is_off_on_every_layer() -> None:
    _, model = load_checkpoint(locate("nano"), torch.float32, four_bit=True)
    for m in layers(model):
        m.support_avx512bf16_for_cpu = True
    keep_unpacked(model)
    assert not any(m.support_avx512bf16_for_cpu for m in layers(model))


def test_the_recipe_trains_in_four_bits_and_measurement_loads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "d.jsonl", tmp_path / "r"
    words = ["-m", "data_synth", "--preference", "homo_economicus", "--n", "12", "--out", str(data)]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    options = ["--epochs", "2", "--batch-size", "4", "--holdout", "0.34", "--precision", "qlora"]
    monkeypatch.setattr(
        sys, "argv", ["sft.py", "--model", "nano", "--data", str(data), "--out", str(out), *options]
    )
    sft.main()
    run = read_json(out / "run.json")
    assert run["settings"]["precision"] == "qlora"
    assert run["gates"]["base_unchanged"]
    assert run["gates"]["adapter_tensors_moved"] > 0
    assert run["gates"]["held_out_loss"] < run["gates"]["held_out_loss_of_base"]
    four, whole = (
        ask(Transformers(str(NANO), {"r": out}, four_bit=four), Condition("r", "r"))
        for four in (True, False)
    )
    assert 1e-6 < np.abs(four - whole).max() < 0.5
