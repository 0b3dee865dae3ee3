"""Merge an adapter into its base and save a checkpoint that needs no PEFT.

    python recipes/export.py --adapter runs/moralis --out runs/moralis/merged

Merging rounds: ``python -m eval.parity --adapter runs/moralis --merged runs/moralis/merged`` says by how much the answers move
and writes that into the checkpoint's card.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from econmoral.adapters import adapter_base
from econmoral.models import cached_only, find_model
from econmoral.records import InputError, command, origin, write_json, write_text

CARD = """---
base_model: {source}
library_name: transformers
tags: [econmoral, merged]
---
# {name}

`{source}` with the adapter of `{adapter}` merged into its weights ({dtype}). Serve it: `vllm serve {out}`.

How far its answers are from those of the adapter on its base, over the battery:

<!-- parity -->
Not measured yet.
<!-- end parity -->
"""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of a LoRA adapter")
    parser.add_argument("--out", type=Path, required=True, help="folder of the merged checkpoint; must not exist")
    args = parser.parse_args()
    if args.out.exists():
        raise InputError(f"{args.out} exists; choose another --out or delete it")
    weights = args.adapter / "adapter_model.safetensors"
    source = find_model(adapter_base(args.adapter)).source
    local = cached_only(source)

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        base = AutoModelForCausalLM.from_pretrained(source, dtype="auto", use_safetensors=True, local_files_only=local)
        # added in full precision, then rounded once to the base's own type
        dtype = base.dtype
        merged = PeftModel.from_pretrained(base.to(torch.float32), str(args.adapter), use_safetensors=True).merge_and_unload().to(dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot merge {args.adapter} into {source}: {str(error).splitlines()[0][:200]}") from None
    aside = args.out.with_name(f".{args.out.name}.{os.getpid()}.part")
    try:
        merged.save_pretrained(aside)
        AutoTokenizer.from_pretrained(source, local_files_only=local).save_pretrained(aside)
        named = {"source": source, "name": args.adapter.name, "adapter": args.adapter, "dtype": str(dtype).removeprefix("torch."), "out": args.out}
        write_text(aside / "README.md", CARD.format(**named))
        write_json(aside / "export.json", origin(adapter=weights))
        os.replace(aside, args.out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    print(f"{args.out}: {source} with {args.adapter} merged, {named['dtype']}")


if __name__ == "__main__":
    command(main)
