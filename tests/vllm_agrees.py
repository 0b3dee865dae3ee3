"""The vLLM engine against transformers, on the same model, adapter and conversations.

Run by ``make test-vllm``; on a GPU, on a real checkpoint:

    python tests/vllm_agrees.py transformers qwen2.5-0.5b runs/mine
    python tests/vllm_agrees.py vllm qwen2.5-0.5b runs/mine

Two environments, hence two steps: ``transformers`` writes exact probabilities (of nano with a
random adapter where no other is named), ``vllm`` compares.  The seconds of both go to
recipes/benchmarks/bench_vllm.json, on a GPU bench_vllm_gpu.json, and RESULTS.md.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from econmoral.checkpoints.models import NANO
from econmoral.economics.games import draw_beliefs, draw_protocol
from econmoral.files.records import fill_section, origin, read_json, write_json
from econmoral.files.shown import markdown
from econmoral.instruments.games import WORDINGS_TRAIN, Item, converse, draw_layout
from econmoral.text.conversation import Conversation, Question
from eval.engines.base import Condition, Exact, Request, ScoredStep

WORK = Path(__file__).parents[1] / "runs" / "test-vllm"
GPU = torch.cuda.is_available()
FIGURES = (
    Path(__file__).parents[1]
    / "recipes"
    / "benchmarks"
    / ("bench_vllm_gpu.json" if GPU else "bench_vllm.json")
)
ARMS = (Condition("base"), Condition("tuned", "tuned"))
# of a log-probability, relative where that is below -1; in single precision, but on a GPU vLLM's
# kernels for adapters take half precision only
TOLERANCE = 0.5 if GPU else 1e-4
GAMES_ASKED = ("spd", "tg", "ug")


def conversations(n: int, seed: int) -> list[Request]:
    """Random layouts of the games, and now and then a rating with many options."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        game = GAMES_ASKED[i % 3]
        item = Item(draw_protocol(game, rng, held=True), draw_beliefs(game, rng))
        layout = draw_layout(game, rng, WORDINGS_TRAIN)
        found.append(Request(converse(item, layout, "direct"), item, layout))
    rating = Question(
        "How fair is that, from 0 to 100? Reply with the number only.",
        tuple(str(k) for k in range(101)),
    )
    return [
        *found,
        Request(Conversation("Somebody shares ten points equally.", (rating,)), None, None),
    ]


def steps_of(engine: Exact, request: Request) -> list[ScoredStep]:
    """Every turn of a conversation as token ids."""
    talk = request.conversation
    return [
        engine.scored(s)
        for s in (*talk.control_steps(), *(s for level in talk.steps() for s in level))
    ]


def measured(engine: Exact) -> dict[str, list[list[float]]]:
    """Log-probabilities of every option of every turn, for both arms on the same conversations."""
    groups = [steps_of(engine, request) for request in conversations(6, seed=0)]
    return {
        arm.name: [
            row.tolist() for rows in engine.log_probabilities(groups, arm) for row in rows or ()
        ]
        for arm in ARMS
    }


def seconds(engine: Exact) -> dict[str, float]:
    """Time of each arm on the same 40 conversations, which the engine, warm by now,
    has not met (vLLM keeps prefixes).
    """
    requests, found = conversations(39, seed=1), {}
    for arm in ARMS:
        began = time.perf_counter()
        engine.score(requests, arm)
        found[arm.name] = time.perf_counter() - began
    return found


def random_adapter() -> Path:
    """An adapter of nano that changes every answer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(
        model,
        LoraConfig(
            r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        ),
    ).save_pretrained(WORK / "tuned")
    return WORK / "tuned"


def with_transformers(model: str, adapter: Path | None) -> None:
    """Write what transformers says."""
    from eval.engines.with_transformers import Transformers

    adapter = adapter or random_adapter()
    engine = Transformers(model, {"tuned": adapter})
    write_json(
        WORK / "expected.json", {"log_probabilities": measured(engine), "seconds": seconds(engine)}
    )


def gap(ours: list[float], theirs: list[float]) -> float:
    """Largest difference of two rows of log-probabilities."""
    a, b = np.array(ours), np.array(theirs)
    return float((np.abs(a - b) / np.maximum(1, np.abs(a))).max())


def with_vllm(model: str, adapter: Path | None) -> None:
    """Compare; also derivations repeat under the same seed and differ under another."""
    from eval.engines.with_vllm import VLLM

    engine = VLLM(
        model,
        {"tuned": adapter or WORK / "tuned"},
        {"block_size": 32, "max_model_len": 1024, "enforce_eager": True}
        | ({"gpu_memory_utilization": 0.15, "dtype": "bfloat16"} if GPU else {"dtype": "float32"}),
    )
    before = read_json(WORK / "expected.json")
    expected, found = before["log_probabilities"], measured(engine)
    gaps = {}
    for arm in expected:
        gaps[arm] = max(gap(a, b) for a, b in zip(expected[arm], found[arm], strict=True))
        print(
            f"{arm}: largest difference to transformers {gaps[arm]:.2g} (tolerance {TOLERANCE:g})"
        )
        assert gaps[arm] < TOLERANCE
    moved = max(gap(a, b) for a, b in zip(found["base"], found["tuned"], strict=True))
    print(f"adapter against base: {moved:.2g}")
    assert moved > 0.01, "the adapter was not applied"
    prompt = engine.ids("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    one, again, other = (
        engine.derive([prompt], [2], Condition("base"), seed, 30) for seed in (1, 1, 2)
    )
    assert one == again != other
    assert all(
        cut == (len(engine.ids(text)) >= 29) for (texts,) in (one, other) for text, cut in texts
    )
    assert not any("<|im_end|>" in text for text, _ in (*one[0], *other[0]))
    ((_, cut),) = engine.derive([prompt], [1], Condition("base"), 1, 1)[0]
    print(f"derivations repeat and stop at the end of turn; one of a single token is cut: {cut}")
    theirs, ours = before["seconds"], seconds(engine)
    write_json(
        FIGURES,
        origin()
        | {
            "model": model,
            "device": torch.cuda.get_device_name() if GPU else "CPU",
            "conversations": 40,
            "transformers_seconds": theirs,
            "vllm_seconds": ours,
            "largest_difference_of_log_probabilities": gaps,
        },
    )
    where = "" if GPU else " (CPU build)"
    gap = "largest difference of a log-probability"
    head = ("arm", "transformers, s", f"vLLM{where}, s", gap)
    rows = [(arm, f"{theirs[arm]:.2f}", f"{ours[arm]:.2f}", f"{gaps[arm]:.1e}") for arm in gaps]
    section = FIGURES.stem.replace("_", "-")
    fill_section(FIGURES.with_name("RESULTS.md"), section, markdown(head, rows))


if __name__ == "__main__":
    way, model, *rest = sys.argv[1:] if len(sys.argv) > 2 else [*sys.argv[1:], "nano"]
    adapter = Path(rest[0]) if rest else None
    if way == "transformers":
        with_transformers(model, adapter)
    else:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        with_vllm(model, adapter)
