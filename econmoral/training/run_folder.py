"""The folder of a training: what an interrupted run left in it, and what a finished one leaves."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.models import Model
from econmoral.files.records import (
    InputError,
    origin,
    read_json,
    write_json,
    write_lines,
    write_text,
)
from econmoral.training.card import card, push
from econmoral.training.config import SftConfig
from econmoral.training.trainer import LOGGED


def prepare_folder(out: Path, identity: dict[str, str]) -> str | None:
    """Make the run's folder.

    The last whole checkpoint of an interrupted run of the same identity, which is to be continued.
    """
    if (out / "run.json").exists():
        raise InputError(f"{out} holds a finished run; choose another --out or delete it")
    kept, checkpoints = out / "checkpoints" / "settings.json", out / "checkpoints"
    if (out / "config.json").is_file():
        raise InputError(f"{out} holds a checkpoint; choose another --out")
    # a run that was stopped as it ended has its checkpoints beside the adapter
    if (out / "adapter_config.json").is_file() and not kept.is_file():
        raise InputError(f"{out} holds an adapter from elsewhere; choose another --out")
    # the state is what the trainer writes last: a checkpoint without it was cut short
    whole = sorted(
        (p.parent for p in checkpoints.glob("checkpoint-*/trainer_state.json")),
        key=lambda p: int(p.name.rpartition("-")[2]),
    )
    if whole and read_json(kept) != identity:
        raise InputError(
            f"{out} holds an interrupted run with other settings, data or weights; choose another "
            "--out or delete it"
        )
    for folder in checkpoints.glob("checkpoint-*"):
        if folder not in whole:
            shutil.rmtree(folder, ignore_errors=True)
    write_json(kept, identity)
    return str(whole[-1]) if whole else None


def finish(
    config: SftConfig,
    model: Model,
    aside: Path,
    about: dict[str, Any],
    gates: dict[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Move the adapter into place, then write log, card and, last of all, ``run.json``.

    aside : where the trainer has saved the adapter; about : what is known of data, weights, device
    and cost; history : what the trainer has logged.
    """
    out = config.out
    for file in sorted(aside.iterdir()):
        if file.name not in ("README.md", "training_args.bin"):  # the latter is a pickle
            os.replace(file, out / file.name)
    log = [
        {k: v for k, v in entry.items() if k in LOGGED}
        for entry in history
        if {"loss", "eval_loss", "eval_reproduced"} & set(entry)
    ]
    write_lines(out / "log.jsonl", log)
    source = Path(model.source)
    inputs = {"data": config.data} | ({"base": source} if source.is_dir() else {})
    inputs |= {"adapter": config.adapter / WEIGHTS} if config.adapter else {}
    run = origin(**inputs) | {
        "model": config.model,
        "source": model.source,
        **about,
        "settings": config.settings(),
        "gates": gates,
        "loss": next((entry["loss"] for entry in reversed(log) if "loss" in entry), None),
    }
    target = (about["target"] or "your own data") + (
        ", shuffled (placebo)" if about["shuffled"] else ""
    )
    write_text(out / "README.md", card(run, model, target, out))
    write_json(out / "run.json", run)
    shutil.rmtree(out / "checkpoints")
    loss = "" if run["loss"] is None else f"loss {run['loss']}, "
    print(
        f"{out}: adapter of {config.model} on {gates['labels_checked']} conversations as "
        f"{target}, {loss}{about['seconds']:.0f} s"
    )
    if "warning" in gates:
        print(f"warning: {gates['warning']}", file=sys.stderr)
    if config.push_to_hub:
        push(out, config.push_to_hub)
