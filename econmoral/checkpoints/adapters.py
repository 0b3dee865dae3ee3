"""LoRA adapters as they come from anywhere: checked before any library opens them.

An adapter is two files, a configuration and weights in safetensors.  Nothing else in its folder is
read.  Refused is whatever would run code, leave the folder, fill the memory, or change the base it
is to be compared with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from econmoral.files.records import InputError, plain, read_json

WEIGHTS = "adapter_model.safetensors"
LARGEST_CONFIGURATION = 1 << 20  # bytes
# what a plain adapter says of itself; other values load other modules, copy layers or write into
# the base
PLAIN: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
    "megatron_config": (None,),
    "layer_replication": (None,),
    "loftq_config": (None, {}),
    "lora_bias": (False,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    **{
        f"{kind}_config": (None,)
        for kind in ("eva", "corda", "lora_ga", "velora", "monteclora", "arrow", "kasa")
    },
}


def check_adapter(folder: Path) -> dict[str, Any]:
    """The adapter's configuration.

    Raises InputError unless the folder holds a LoRA adapter in safetensors that is safe to load.
    """
    if not folder.is_dir():
        raise InputError(f"adapter folder {folder} does not exist")
    path, weights = folder / "adapter_config.json", folder / WEIGHTS
    if path.is_file() and path.stat().st_size > LARGEST_CONFIGURATION:
        raise InputError(
            f"{path} is larger than {LARGEST_CONFIGURATION >> 20} MB: no adapter's configuration"
        )
    config = read_json(path)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if (
        not isinstance(config, dict)
        or config.get("peft_type") != "LORA"
        or not isinstance(base, str)
        or not base
    ):
        raise InputError(f"{path} does not describe a LoRA adapter")
    if not weights.is_file():
        pickles = sorted(
            p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")
        )
        only = (
            f"; {pickles[0]} may run code when it is opened: ask for the adapter in safetensors"
            if pickles
            else ""
        )
        raise InputError(f"{folder} has no {WEIGHTS}; other weight formats are not loaded{only}")
    # a link may point elsewhere in the folder, or to the blobs of the hub's cache, where snapshots
    # are made of links
    homes = (
        (folder.resolve(), folder.resolve().parents[1] / "blobs")
        if folder.resolve().parent.name == "snapshots"
        else (folder.resolve(),)
    )
    for file in (path, weights):
        if not any(file.resolve().is_relative_to(home) for home in homes):
            raise InputError(
                f"{file} is a link that leaves the adapter's folder; copy the file itself"
            )
    for name, values in PLAIN.items():
        if name in config and config[name] not in values:
            raise InputError(
                f"{path}: {name} = {plain(str(config[name]))[:60]!r} is not loaded here; econmoral "
                "takes plain LoRA adapters"
            )
    targets = config.get("target_modules")
    if isinstance(targets, str) and (len(targets) > 500 or re.search(r"\)[*+{]", targets)):
        raise InputError(
            f"{path}: target_modules is a pattern that may take for ever; give the list of names"
        )
    _check_ranks(config, weights)
    return config


def _check_ranks(config: dict[str, Any], weights: Path) -> None:
    """The ranks that the configuration claims are those of the weights:
    a claimed rank alone would fill the memory.
    """
    from safetensors import SafetensorError, safe_open  # no torch: shapes are in the header

    try:
        with safe_open(weights, framework="numpy") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{weights} is not whole safetensors ({plain(str(error))[:150]}); copy it again"
        ) from None
    ranks = {shape[0] for name, shape in shapes.items() if ".lora_A." in name and shape} | {
        shape[0] for name, shape in shapes.items() if "lora_embedding_A" in name and shape
    }
    pattern = config.get("rank_pattern") or {}
    claimed = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not ranks or not all(
        isinstance(r, int) and not isinstance(r, bool) and 0 < r <= max(ranks) for r in claimed
    ):
        raise InputError(
            f"{weights.parent}: the configuration claims rank {plain(str(claimed))[1:-1][:60]}, "
            f"the weights have {max(ranks, default=0)}"
        )


def adapter_base(folder: Path) -> str:
    """The checkpoint an adapter was trained on, as its own configuration names it."""
    return str(check_adapter(folder)["base_model_name_or_path"])
