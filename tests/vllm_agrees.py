"""The vLLM engine against transformers, on the same model, adapter and pages; run by ``make test-vllm``.

Two environments, hence two steps: ``transformers`` writes an adapter and its exact probabilities, ``vllm`` compares.  The seconds of both
go to recipes/bench_vllm.json and RESULTS.md.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from econmoral.models import NANO
from econmoral.prompts import answers, render
from econmoral.records import fill_section, origin, read_json, write_json
from eval.engines import Arm, Exact, Request
from eval.measure import draw_questions

WORK = Path(__file__).parents[1] / "runs" / "test-vllm"
FIGURES = Path(__file__).parents[1] / "recipes" / "bench_vllm.json"
ARMS = (Arm("base"), Arm("tuned", "tuned"))
TOLERANCE = 1e-4  # of a probability; both in fp32


def pages(items: int, seed: int) -> list[Request]:
    """4 pages for every item: two sets, two layouts."""
    drawn = [(q, layout) for q in draw_questions("drawn", items, 1, 0.5, seed) for layout in q.layouts]
    return [Request(render(q.item, layout, "direct"), answers(layout), q.item, layout) for q, layout in drawn]


def measured(engine: Exact) -> dict[str, list[list[float]]]:
    """Probabilities of both arms on the same pages."""
    requests = pages(4, seed=0)
    return {arm.name: [a.probabilities.tolist() for a in engine.score(requests, arm)] for arm in ARMS}


def seconds(engine: Exact) -> dict[str, float]:
    """Time of each arm on the same 160 pages, which the engine, warm by now, has not met (vLLM keeps prefixes)."""
    requests, found = pages(40, seed=1), {}
    for arm in ARMS:
        began = time.perf_counter()
        engine.score(requests, arm)
        found[arm.name] = time.perf_counter() - began
    return found


def with_transformers() -> None:
    """Write a random adapter and what transformers says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from eval.engine_transformers import Transformers

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")).save_pretrained(WORK / "tuned")
    engine = Transformers("nano", {"tuned": WORK / "tuned"})
    write_json(WORK / "expected.json", {"probabilities": measured(engine), "seconds": seconds(engine)})


def with_vllm() -> None:
    """Compare; also derivations repeat under the same seed and differ under another."""
    from eval.engine_vllm import VLLM

    engine = VLLM("nano", {"tuned": WORK / "tuned"}, {"block_size": 32, "dtype": "float32", "max_model_len": 1024, "enforce_eager": True})
    before = read_json(WORK / "expected.json")
    expected, found = before["probabilities"], measured(engine)
    gaps = {}
    for arm in expected:
        gaps[arm] = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(expected[arm], found[arm], strict=True))
        print(f"{arm}: largest difference to transformers {gaps[arm]:.2g} (tolerance {TOLERANCE:g})")
        assert gaps[arm] < TOLERANCE
    moved = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(found["base"], found["tuned"], strict=True))
    print(f"adapter against base: {moved:.2g}")
    assert moved > 100 * TOLERANCE, "the adapter was not applied"
    prompt = engine.ids("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    one, again, other = (engine.derive([prompt], [2], Arm("base"), seed) for seed in (1, 1, 2))
    assert one == again != other
    print("derivations repeat")
    theirs, ours = before["seconds"], seconds(engine)
    write_json(FIGURES, origin() | {"pages": 160, "transformers_seconds": theirs, "vllm_seconds": ours, "largest_difference_of_probabilities": gaps})
    lines = ["| arm | transformers, s | vLLM (CPU build), s | largest difference of a probability |", "|---|---|---|---|"]
    lines += [f"| {arm} | {theirs[arm]:.2f} | {ours[arm]:.2f} | {gaps[arm]:.1e} |" for arm in gaps]
    fill_section(FIGURES.with_name("RESULTS.md"), "bench-vllm", "\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] == ["transformers"]:
        with_transformers()
    else:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        with_vllm()
