"""A dial without training: an adapter between two others of the same base.

    python recipes/interpolate.py --adapters runs/economicus runs/moralis --weight 0.5 \\
        --out runs/halfway

Its weight update is exactly (1 - w) times the first one's plus w times the second one's: the
low-rank factors are stacked, B A = [(1 - w) B1, w B2] [A1; A2], so that the rank is the sum of
both.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import WEIGHTS, check_adapter
from econmoral.checkpoints.attaching import check_fit, recorded_base
from econmoral.checkpoints.places import changed_setting, locate
from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError, command, origin, program, read_object, write_json


@dataclass(frozen=True)
class InterpolateConfig(Config):
    """Options of ``recipes/interpolate.py``."""

    adapters: tuple[Path, Path] = option(
        None, "folders of two adapters", metavar=("FIRST", "SECOND"), required=True
    )
    model: str | None = option(
        None, "name, hub id or folder of their base (default: the one they name)"
    )
    weight: float = option(None, "weight of the second one, 0 to 1", within=(0, 1), required=True)
    out: Path = option(None, "folder of the new adapter", required=True)


def configuration(folder: Path) -> dict[str, Any]:
    """An adapter's configuration.  Raises InputError unless it is plain LoRA in safetensors."""
    config = check_adapter(folder)
    if (
        config.get("use_dora")
        or config.get("use_rslora")
        or config.get("rank_pattern")
        or config.get("alpha_pattern")
        or config.get("modules_to_save")
    ):
        raise InputError(f"{folder} is not plain LoRA; only that can be stacked")
    return config


def main() -> None:
    """Entry point."""
    config = parse(InterpolateConfig, program("recipes/interpolate.py"), __doc__)
    if config.out.exists():
        raise InputError(f"{config.out} exists; choose another --out or delete it")
    configs = [configuration(folder) for folder in config.adapters]
    if configs[0]["base_model_name_or_path"] != configs[1]["base_model_name_or_path"]:
        raise InputError("the two adapters were trained on different bases")
    recorded = [recorded_base(folder) for folder in config.adapters]
    if len({r["sha256"] for r in recorded if "sha256" in r}) > 1:
        raise InputError("the two adapters were trained on different weights of the same base")
    if change := changed_setting(*(r.get("configuration") for r in recorded)):
        raise InputError(
            f"the two adapters were trained on different configurations of the same base ({change})"
        )
    base = config.model or str(configs[0]["base_model_name_or_path"])
    place = locate(base, packaged="package" in recorded[0], weights=False)
    for folder in config.adapters:
        check_fit(folder, place)
    import torch
    from safetensors.torch import load_file, save_file

    first, second = (load_file(folder / WEIGHTS) for folder in config.adapters)
    if set(first) != set(second) or any(".lora_" not in name for name in first):
        raise InputError("the two adapters change different layers")
    rank = configs[0]["r"] + configs[1]["r"]
    stacked = {}
    for name in first:
        if "lora_A" in name:
            stacked[name] = torch.cat([first[name], second[name]], 0).contiguous()
        else:
            parts = [
                w * c["lora_alpha"] / c["r"] * t
                for w, c, t in (
                    (1 - config.weight, configs[0], first[name]),
                    (config.weight, configs[1], second[name]),
                )
            ]
            stacked[name] = torch.cat(parts, 1).contiguous()
    aside = config.out.with_name(f".{config.out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file(stacked, aside / WEIGHTS, metadata={"format": "pt"})
    write_json(aside / "adapter_config.json", configs[0] | {"r": rank, "lora_alpha": rank})
    weights = {
        f"adapter_{i}": folder / WEIGHTS for i, folder in enumerate(config.adapters, start=1)
    }
    ends = [read_object(folder / "run.json").get("target") for folder in config.adapters]
    write_json(
        aside / "run.json",
        origin(**weights) | {"interpolation": config.weight, "ends": ends, "weights": recorded[0]},
    )
    aside.rename(config.out)
    print(
        f"{config.out}: {1 - config.weight:g} of {config.adapters[0]} and {config.weight:g} of "
        f"{config.adapters[1]}"
    )


if __name__ == "__main__":
    command(main)
