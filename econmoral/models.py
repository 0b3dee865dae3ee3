"""Checkpoints by short name.  Any hub id or local folder works without an entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    """A checkpoint: where it is, its licence, and what to know before using it."""

    source: str
    licence: str
    note: str


NANO = Path(__file__).parent / "nano"

MODELS: dict[str, Model] = {
    "nano": Model(str(NANO), "Apache-2.0", "built in, trained from scratch on generated text; proves the pipeline, nothing about large models"),
    "qwen2.5-0.5b": Model("Qwen/Qwen2.5-0.5B-Instruct", "Apache-2.0", ""),
    "qwen2.5-7b": Model("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0", ""),
    "llama-3.1-8b": Model("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", "gated: accept the licence on the hub and log in"),
}


def resolve(name: str) -> str:
    """Hub id or folder of a model name; a name with a slash, or an existing folder, is taken as it is.

    Raises ValueError for a name that is none of these.
    """
    if name in MODELS:
        return MODELS[name].source
    if "/" in name or Path(name).is_dir():
        return name
    raise ValueError(f"unknown model {name!r}; use one of {', '.join(MODELS)}, a hub id (owner/name) or a local folder")
