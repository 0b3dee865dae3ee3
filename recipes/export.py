"""Merge an adapter into its base and save a checkpoint that needs no PEFT.

    python recipes/export.py --adapter runs/moralis --out runs/moralis/merged

Merging rounds: ``python -m eval.parity --adapter runs/moralis --merged runs/moralis/merged`` says
by how much the answers move and writes that into the checkpoint's card.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.attaching import attach, base_for, check_adapters, model_of
from econmoral.checkpoints.loading import load_checkpoint
from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, command, origin, program, write_json, write_text

CARD = """---
base_model: {source}
library_name: transformers
tags: [econmoral, merged]
---
# {name}

`{source}` with the adapter of `{adapter}` merged into its weights ({dtype}).
Serve it: `vllm serve {out}`.

How far its answers are from those of the adapter on its base, over the battery:

<!-- parity -->
Not measured yet.
<!-- end parity -->
"""


@dataclass(frozen=True)
class ExportConfig(Config):
    """Options of ``recipes/export.py``."""

    adapter: Path = option(None, "folder of a LoRA adapter", required=True)
    model: str | None = option(
        None, "name, hub id or folder of the base (default: the one the adapter names)"
    )
    out: Path = option(None, "folder of the merged checkpoint; must not exist", required=True)


def mend_generation(model: Any) -> str | None:
    """Replace generation settings that the library refuses to save.

    What was wrong with them, if anything.
    """
    from transformers import GenerationConfig

    try:
        model.generation_config.validate(strict=True)
    except ValueError as error:
        ends = {
            k: getattr(model.generation_config, k, None)
            for k in ("bos_token_id", "eos_token_id", "pad_token_id")
        }
        model.generation_config = GenerationConfig(**ends)
        return " ".join(str(error).split())[:150]
    return None


def main() -> None:
    """Entry point."""
    config = parse(ExportConfig, program("recipes/export.py"), __doc__)
    if config.out.exists():
        raise InputError(f"{config.out} exists; choose another --out or delete it")
    weights = config.adapter / WEIGHTS
    place = base_for(config.model or model_of(config.adapter), [config.adapter])
    source = place.source
    check_adapters([config.adapter], place, given=bool(config.model))

    import torch

    tokenizer, base = load_checkpoint(place)
    # added in full precision, then rounded once to the base's own type
    dtype = base.dtype
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    merged = (
        attach(base.to(torch.float32), {"default": config.adapter}, source)
        .merge_and_unload()
        .to(dtype)
    )
    if all(torch.equal(before[name], p) for name, p in merged.named_parameters()):
        raise InputError(
            f"{config.adapter} changes no weight of {source} in "
            f"{str(dtype).removeprefix('torch.')}: nothing to export"
        )
    mended = mend_generation(merged)
    aside = config.out.with_name(f".{config.out.name}.{os.getpid()}.part")
    try:
        merged.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        named = {
            "source": source,
            "name": config.adapter.name,
            "adapter": config.adapter,
            "dtype": str(dtype).removeprefix("torch."),
            "out": config.out,
        }
        write_text(aside / "README.md", CARD.format(**named))
        write_json(aside / "export.json", origin(adapter=weights) | {"weights": place.record()})
        os.replace(aside, config.out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if mended:
        print(
            "the base's generation settings contradict one another and were left out of the "
            f"export ({mended})"
        )
    print(f"{config.out}: {source} with {config.adapter} merged, {named['dtype']}")


if __name__ == "__main__":
    command(main)
