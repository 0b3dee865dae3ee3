"""Checkpoints by short name, one entry each.  Any hub id or local folder works without an entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from econmoral.records import InputError


@dataclass(frozen=True)
class Model:
    """A checkpoint: hub id or folder, licence, what to know before using it, and defaults of the fine-tuning recipe."""

    source: str
    licence: str
    note: str = ""
    lora_rank: int = 16
    learning_rate: float = 2e-4
    epochs: float = 3


NANO = Path(__file__).parent / "nano"
GATED = "gated: accept the licence on the hub, then log in"

MODELS: dict[str, Model] = {
    "nano": Model(
        str(NANO), "Apache-2.0", "built in, trained from scratch on generated text; proves the pipeline, says nothing about large models",
        lora_rank=8, learning_rate=5e-3, epochs=3,
    ),
    "qwen2.5-0.5b": Model("Qwen/Qwen2.5-0.5B-Instruct", "Apache-2.0"),
    "qwen2.5-1.5b": Model("Qwen/Qwen2.5-1.5B-Instruct", "Apache-2.0"),
    "qwen2.5-3b": Model("Qwen/Qwen2.5-3B-Instruct", "Qwen research licence"),
    "qwen2.5-7b": Model("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0"),
    "qwen2.5-14b": Model("Qwen/Qwen2.5-14B-Instruct", "Apache-2.0"),
    "qwen2.5-32b": Model("Qwen/Qwen2.5-32B-Instruct", "Apache-2.0"),
    "qwen2.5-72b": Model("Qwen/Qwen2.5-72B-Instruct", "Qwen licence"),
    "llama-3.2-1b": Model("meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2 Community License", GATED),
    "llama-3.2-3b": Model("meta-llama/Llama-3.2-3B-Instruct", "Llama 3.2 Community License", GATED),
    "llama-3.1-8b": Model("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", GATED),
    "llama-3.1-70b": Model("meta-llama/Llama-3.1-70B-Instruct", "Llama 3.1 Community License", GATED),
    "llama-3.3-70b": Model("meta-llama/Llama-3.3-70B-Instruct", "Llama 3.3 Community License", GATED),
}  # fmt: skip


def find_model(name: str) -> Model:
    """Entry of a model name; a hub id (owner/name) or an existing folder gets an entry with the defaults.

    Raises InputError for anything else.
    """
    if name in MODELS:
        return MODELS[name]
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise InputError(f"{name} is a folder without config.json, so no checkpoint")
        return next((m for m in MODELS.values() if Path(m.source).resolve() == Path(name).resolve()), Model(name, "see the folder"))
    if name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith("/"):
        return Model(name, "see the hub")
    raise InputError(f"unknown model {name!r}; use one of {', '.join(MODELS)}, a hub id (owner/name) or an existing folder")
