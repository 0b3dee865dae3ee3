"""The batch is divided by what fits: the estimate against autograd's own count,
and the rules of division.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from econmoral.checkpoints.memory import (
    CPU_LIMIT,
    SLACK,
    Division,
    Shape,
    available,
    cpu_room,
    divide,
    shape_of,
    taken,
)
from econmoral.files.records import InputError

SMOLLM2 = Shape(30, 576, 576, 1536, 49152)


def kept(config: Any, kind: Any, tokens: int) -> float:
    """Bytes that autograd keeps for the backward pass of LoRA training, parameters apart."""
    model = get_peft_model(
        kind(config), LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    ).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}
    alive = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        alive.append(t)  # else its address may be given out again
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = torch.zeros((1, tokens), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(input_ids=x, attention_mask=torch.ones_like(x), logits_to_keep=1)
    return sum(size for address, size in found.items() if address not in own)


@pytest.mark.parametrize(
    ("kind", "config"), [(LlamaForCausalLM, LlamaConfig), (Qwen2ForCausalLM, Qwen2Config)]
)
@pytest.mark.parametrize(("width", "heads", "groups", "inner"), [(64, 4, 4, 160), (96, 6, 2, 256)])
def test_a_layer_keeps_what_is_counted(
    kind: Any, config: Any, width: int, heads: int, groups: int, inner: int
) -> None:
    def of(layers: int) -> Any:
        return config(
            vocab_size=50,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            pad_token_id=0,
        )

    measured = (kept(of(3), kind, 96) - kept(of(1), kind, 96)) / 2 / 96 / 4
    counted = shape_of(of(1), rank=8).kept_of_a_layer()
    assert 0.75 * counted < measured < 1.15 * counted


def test_activations_grow_with_tokens_layers_and_size_logits_with_the_vocabulary() -> None:
    one = SMOLLM2.forward_bytes(100, 0, 4)
    assert SMOLLM2.forward_bytes(300, 0, 4) == pytest.approx(3 * one)
    assert SMOLLM2.forward_bytes(100, 0, 2) == pytest.approx(one / 2)
    assert SMOLLM2.forward_bytes(100, 50, 4) - one == pytest.approx(SLACK * 50 * 49152 * 16)
    assert SMOLLM2.forward_bytes(100, 0, 4, checkpointing=True) < one / 10


def test_the_batch_is_divided_by_what_fits() -> None:
    need = SMOLLM2.forward_bytes(16 * 200, 16 * 200, 4)
    for room, passes in ((1.01 * need, 1), (0.51 * need, 2), (0.26 * need, 4)):
        found = divide(SMOLLM2, 16, 200, 200, 4, room)
        assert (found.accumulate, found.checkpointing) == (passes, False)
        assert found.bytes <= room
    # fewer than four at a time would be slow: then activations are computed twice, if that makes
    # more of them fit
    scored = divide(SMOLLM2, 16, 200, 10, 4, SMOLLM2.forward_bytes(2 * 200, 2 * 10, 4))
    assert (scored.accumulate, scored.checkpointing) == (1, True)
    small = SMOLLM2.forward_bytes(2 * 200, 2 * 10, 4)
    # on a CPU that costs more than it gains
    assert divide(SMOLLM2, 16, 200, 10, 4, small, enough=1) == Division(8, False, small)
    # a divisor of the batch
    assert divide(SMOLLM2, 12, 200, 200, 4, 0.5 * need).accumulate in (2, 3)
    assert divide(SMOLLM2, 16, 200, 200, 4, 1e12, fixed=8).accumulate == 8
    with pytest.raises(InputError, match="one example of 200 tokens needs about"):
        divide(SMOLLM2, 16, 200, 200, 4, 1e6)


def test_large_models_checkpoint_where_the_gpu_asks_for_it_only() -> None:
    seven = Shape(28, 3584, 3584, 18944, 152064)
    assert not divide(seven, 16, 300, 100, 2, 60e9).checkpointing
    assert divide(seven, 16, 300, 100, 2, 3e9).checkpointing


def test_a_cpu_gives_half_of_what_is_free_and_four_gigabytes_at_most() -> None:
    assert cpu_room(20e9, 1e9) == CPU_LIMIT - 1e9
    assert cpu_room(4e9, 1e9) == 2e9
    assert cpu_room(4e9, 1e9, processes=2) == 1e9
    assert 1e6 < taken() < 1e11
    assert 0 < available() < 1e13


def test_shapes_are_read_from_configurations() -> None:
    config = SimpleNamespace(
        hidden_size=64,
        num_attention_heads=4,
        head_dim=32,
        intermediate_size=100,
        num_hidden_layers=3,
        vocab_size=9,
    )
    assert shape_of(config, 4) == Shape(3, 64, 128, 100, 9, 4)
    assert shape_of(SimpleNamespace(text_config=config), 4) == shape_of(config, 4)
