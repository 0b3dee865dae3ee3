"""Tiny twins of real checkpoints: their architecture and chat template,
the built-in model's weights and vocabulary.

LoRA on a randomly initialised base learns nothing, so a twin needs weights that can already read.
A Llama with biases computes what a Qwen2 computes, hence takes the weights as they are; a Qwen3
normalises queries and keys, hence takes them as a start and is trained in full for a moment.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import trl
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from econmoral.checkpoints.models import NANO
from econmoral.text.conversations import tokenise

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
STYLES = {"qwen2": "qwen2_5", "qwen3": "qwen3", "llama": "llama3_2"}
LLAMA_TOKENS = {
    "<|im_start|>": "<|start_header_id|>",
    "<|im_end|>": "<|eot_id|>",
    "<|endoftext|>": "<|begin_of_text|>",
}


def make_twin(style: str, folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write the twin of a ``style`` of STYLES; ``rows`` are conversations
    that a qwen3 one is trained on.
    """
    shutil.copytree(NANO, folder, ignore=shutil.ignore_patterns("README.md", "training.json"))
    (folder / "chat_template.jinja").write_text(
        (TEMPLATES / f"{STYLES[style]}.jinja").read_text(encoding="utf-8"), encoding="utf-8"
    )
    nano = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    known = nano.config.to_dict()
    shape = {
        k: known[k]
        for k in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
            "rms_norm_eps",
            "tie_word_embeddings",
            "rope_parameters",
        )
    }
    shape |= {
        "attention_bias": True,
        "head_dim": known["hidden_size"] // known["num_attention_heads"],
        "eos_token_id": nano.config.eos_token_id,
    }
    if style == "qwen2":
        return folder
    torch.manual_seed(0)
    twin = (
        LlamaForCausalLM(LlamaConfig(**shape))
        if style == "llama"
        else Qwen3ForCausalLM(Qwen3Config(**shape))
    )
    missing, unexpected = twin.load_state_dict(nano.state_dict(), strict=False)
    assert not unexpected
    for name, weight in twin.named_parameters():
        if name in missing:
            torch.nn.init.ones_(weight) if "norm" in name else torch.nn.init.zeros_(weight)
    if style == "llama":
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        for ours, theirs in LLAMA_TOKENS.items():
            text = text.replace(ours, theirs)
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        about = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "pad_token": "<|begin_of_text|>",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|end_header_id|>"]})
        tokenizer.save_pretrained(folder)
        twin.resize_token_embeddings(len(tokenizer))
    if rows and style == "qwen3":
        teach(twin, AutoTokenizer.from_pretrained(folder), rows)
    twin.save_pretrained(folder)
    return folder


def teach(model: Any, tokenizer: Any, rows: list[dict[str, Any]], steps: int = 30) -> None:
    """Train every weight on the assistant's turns of rows with ``messages``
    (or prompt and completion), four at a time.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        loss = torch.zeros(())
        for row in (rows * steps)[4 * step : 4 * step + 4]:
            for sequence in tokenise(
                tokenizer, row.get("messages") or [*row["prompt"], *row["completion"]]
            ):
                loss = (
                    loss
                    + model(
                        input_ids=torch.tensor([sequence.ids]),
                        labels=torch.tensor([sequence.labels]),
                    ).loss
                )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
