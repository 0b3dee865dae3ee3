"""The vLLM engine against transformers, on the same model, adapter and pages; run by ``make test-vllm``.

Two environments, hence two steps: ``transformers`` writes an adapter and its exact probabilities, ``vllm`` compares.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from econmoral.models import NANO
from econmoral.prompts import answers, render
from econmoral.records import read_json, write_json
from eval.engines import Arm, Exact, Request
from eval.measure import draw_questions

WORK = Path(__file__).parents[1] / "runs" / "test-vllm"
ARMS = (Arm("base"), Arm("tuned", "tuned"))
TOLERANCE = 1e-4  # of a probability; both in fp32


def measured(engine: Exact) -> dict[str, list[list[float]]]:
    """Probabilities of both arms on the same pages."""
    pages = [(q, layout) for q in draw_questions("drawn", 4, 1, 0.5, seed=0) for layout in q.layouts]
    requests = [Request(render(q.item, layout, "direct"), answers(layout), q.item, layout) for q, layout in pages]
    return {arm.name: [a.probabilities.tolist() for a in engine.score(requests, arm)] for arm in ARMS}


def with_transformers() -> None:
    """Write a random adapter and what transformers says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from eval.engine_transformers import Transformers

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")).save_pretrained(WORK / "tuned")
    write_json(WORK / "expected.json", measured(Transformers("nano", {"tuned": WORK / "tuned"})))


def with_vllm() -> None:
    """Compare; also derivations repeat under the same seed and differ under another."""
    from eval.engine_vllm import VLLM

    engine = VLLM("nano", {"tuned": WORK / "tuned"}, {"block_size": 32, "dtype": "float32", "max_model_len": 1024, "enforce_eager": True})
    expected, found = read_json(WORK / "expected.json"), measured(engine)
    for arm in expected:
        gap = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(expected[arm], found[arm], strict=True))
        print(f"{arm}: largest difference to transformers {gap:.2g} (tolerance {TOLERANCE:g})")
        assert gap < TOLERANCE
    moved = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(found["base"], found["tuned"], strict=True))
    print(f"adapter against base: {moved:.2g}")
    assert moved > 100 * TOLERANCE, "the adapter was not applied"
    prompt = engine.ids("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    one, again, other = (engine.derive([prompt], [2], Arm("base"), seed) for seed in (1, 1, 2))
    assert one == again != other
    print("derivations repeat")


if __name__ == "__main__":
    if sys.argv[1:] == ["transformers"]:
        with_transformers()
    else:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        with_vllm()
