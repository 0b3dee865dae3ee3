"""How many examples fit into one forward pass: memory of activations and logits,
counted from a model's configuration.

What LoRA training keeps of a token until the backward pass, in a decoder of the Llama kind, by
layer (width h, all heads together a, inner width m, LoRA rank r): input and output of two norms 4
h; queries, keys and values, spread over all heads, and the heads' output twice 5 a; of the gated
inner layer what enters the activation, what leaves it, the other branch and their product 4 m; 7 r
behind the adapters' first factors.  With activation checkpointing only h a layer is kept, and one
layer in full while it is computed again.  Of every token that is scored, a few rows of the
vocabulary's length.

Sizes are those of a linear layer with an adapter: a mixture of experts keeps more.  Arithmetic, no
library.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from econmoral.files.records import InputError

CPU_LIMIT = 4e9  # bytes that training takes of a machine without GPU, whatever it has
CPU_SHARE = 0.5  # of the memory that is free, so that a neighbour is not pushed out
GPU_SHARE = 0.9
# rows of the vocabulary's length that are alive at once for a scored token, in single precision
LOGITS = 4
SLACK = 1.25  # what the allocator and the temporaries of the backward pass add
FULL = 4  # examples in one forward pass that are worth having without activation checkpointing


@dataclass(frozen=True)
class Shape:
    """What of a model's configuration decides its memory: layers, widths, vocabulary."""

    layers: int
    width: int
    heads: int  # width of all attention heads together
    inner: int
    vocabulary: int
    rank: int = 16

    def kept_of_a_layer(self) -> int:
        """Numbers that one layer keeps of one token."""
        return 4 * self.width + 5 * self.heads + 4 * self.inner + 7 * self.rank

    def forward_bytes(
        self, tokens: int, scored: int, size: int, checkpointing: bool = False
    ) -> float:
        """Memory of one forward and backward pass over ``tokens``, of which ``scored`` get logits.

        size : bytes of an activation (4 single, 2 half precision).
        """
        layer = self.kept_of_a_layer()
        kept = self.layers * self.width + layer if checkpointing else self.layers * layer
        return SLACK * (tokens * kept * size + scored * self.vocabulary * 4 * LOGITS)


def shape_of(config: Any, rank: int = 16) -> Shape:
    """Shape of a configuration of the transformers library; of a model that also sees or hears,
    its text part.
    """
    config = getattr(config, "text_config", None) or config
    width, heads = int(config.hidden_size), int(config.num_attention_heads)
    head = int(getattr(config, "head_dim", None) or width // heads)
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    return Shape(
        int(config.num_hidden_layers), width, heads * head, inner, int(config.vocab_size), rank
    )


@dataclass(frozen=True)
class Division:
    """How a batch is divided: forward passes a step,
    whether activations are computed twice, expected bytes of a pass.
    """

    accumulate: int
    checkpointing: bool
    bytes: float


def divide(
    shape: Shape,
    batch: int,
    longest: int,
    scored: int,
    size: int,
    room: float,
    fixed: int | None = None,
    enough: int = FULL,
) -> Division:
    """The fewest forward passes that share a batch and fit into ``room`` bytes.

    Activations are computed twice only if need be.

    longest : tokens of the longest example, to which the others are padded; scored : of them, those
    that get logits.  fixed : forward passes a step that were asked for; enough : examples in a
    pass that need no more (1 on a CPU, which computes one example as fast as many).  Raises
    InputError when not even one example fits.
    """

    def need(k: int, checkpointing: bool) -> float:
        return shape.forward_bytes(batch // k * longest, batch // k * scored, size, checkpointing)

    steps = [k for k in range(1, batch + 1) if batch % k == 0]
    plain = [k for k in ([fixed] if fixed else steps) if need(k, False) <= room]
    twice = [k for k in ([fixed] if fixed else steps) if need(k, True) <= room]
    if plain and (
        fixed or batch // plain[0] >= min(enough, batch) or not twice or plain[0] == twice[0]
    ):
        return Division(plain[0], False, need(plain[0], False))
    if twice:
        return Division(twice[0], True, need(twice[0], True))
    if fixed:  # asked for explicitly: the user knows this machine better
        return Division(fixed, True, need(fixed, True))
    raise InputError(
        f"one example of {longest} tokens needs about {need(batch, True) / 1e9:.1f} GB beside the "
        f"model and {max(room, 0) / 1e9:.1f} GB are left; take a smaller model, shorter examples, "
        "--precision qlora, or a machine with more memory"
    )


def available() -> int:
    """Bytes of main memory that this process may still take: what the machine has free,
    or its container allows.
    """
    free = [int(psutil.virtual_memory().available)]
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        with suppress(OSError, ValueError):  # "max": no limit
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(min(free), 0)


def taken() -> int:
    """Bytes that this process holds in main memory."""
    return int(psutil.Process().memory_info().rss)


def cpu_room(available: float, taken: float, processes: int = 1) -> float:
    """Bytes left for activations on a CPU: the whole process stays below 4 GB
    and below half of what is free.

    available : what is free now; taken : by this process, model included; processes : of this kind
    on the machine.
    """
    return min(CPU_LIMIT, taken + CPU_SHARE * available / processes) - taken
