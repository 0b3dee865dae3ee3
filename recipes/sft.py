"""Fine-tune a chat model with LoRA on conversations answered by one preference.

    accelerate launch recipes/sft.py --model nano --data data/moralis.jsonl --out runs/moralis
    accelerate launch recipes/sft.py --model qwen2.5-7b --precision qlora \
        --data data/moralis.jsonl --out runs/moralis-7b

The loss is on the assistant's turns only.  Training does not start unless every conversation is,
token for token, what measurement will send to the model and its labels are exactly the assistant's
turns; it does not succeed unless the adapter moved, the base did not, the loss is finite and the
tuned model answers differently.  A slice of the data is held out: after every epoch its loss and
the share of answers reproduced word for word are measured, training stops when the loss has not
fallen for two epochs, and the best epoch is kept.  A run that was interrupted continues from its
last checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.card import card, push
from econmoral.checkpoints import locate, window
from econmoral.conversations import IGNORED, read_conversations
from econmoral.memory import FULL, GPU_SHARE, available, cpu_room, divide, shape_of, taken
from econmoral.models import Model, find_model
from econmoral.processes import join_processes
from econmoral.records import (
    InputError,
    command,
    lock,
    origin,
    plain,
    program,
    read_json,
    read_yaml,
    sha256,
    write_json,
    write_lines,
    write_text,
)
from econmoral.training import (
    LOGGED,
    as_dataset,
    checksums,
    choose_precision,
    collate,
    encode,
    held_out,
    lean_trainer,
    learnt,
    load_base,
    probe,
    speed_settings,
    watchable,
    writing_to,
)

MOST_HELD_OUT = 40  # conversations: more would cost more than they tell
LOGGERS = ("tensorboard", "trackio", "wandb")
PATIENCE = 2  # epochs without a lower held-out loss


def arguments() -> tuple[argparse.Namespace, Model]:
    """Command line over the YAML file over the model's defaults."""
    parser = argparse.ArgumentParser(
        prog=program("recipes/sft.py"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="YAML file with any of the options below (dashes as underscores)",
    )
    parser.add_argument("--model", help="name from the table, hub id, or folder")
    parser.add_argument(
        "--data", type=Path, help="JSON Lines with messages: written by data_synth, or your own"
    )
    parser.add_argument(
        "--convert", action="store_true", help="also read rows of the ShareGPT and Alpaca kinds"
    )
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--epochs", type=float, help="passes over the data (default: the model's)")
    parser.add_argument(
        "--lr", type=float, help="peak learning rate, cosine decay (default: the model's)"
    )
    parser.add_argument(
        "--batch-size", type=int, help="conversations a step on each process (default: the model's)"
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        help="forward passes a step; they share the batch (default: what fits into memory)",
    )
    parser.add_argument(
        "--rank",
        type=int,
        help="LoRA rank on all linear layers; alpha is twice that (default: the model's)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=2048,
        help="longest conversation in tokens; longer ones are refused (default 2048)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "qlora"),
        help="qlora: base in 4 bits (nf4); default: fp32 on CPU, on GPU what fits",
    )
    parser.add_argument(
        "--holdout",
        type=float,
        default=0.1,
        help="share of the data, from its end, that is not trained on (default 0.1; 0 for none)",
    )
    world = os.environ.get("WORLD_SIZE", "")
    here = int(world) if world.isdecimal() else 1
    parser.add_argument(
        "--processes",
        type=int,
        default=here,
        help="processes that must be running (default: what the launcher says)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--report-to",
        choices=("none", *LOGGERS),
        default="none",
        help="where training is logged beside log.jsonl (default none)",
    )
    parser.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="upload the finished adapter to this repository of the hub, private",
    )
    first = parser.parse_known_args()[0]
    if first.config:
        settings = read_yaml(first.config)
        known = {a.dest: a for a in parser._actions if a.dest not in ("help", "config")}
        if not isinstance(settings, dict) or (unknown := [k for k in settings if k not in known]):
            raise InputError(
                f"--config {first.config}: expected options among {', '.join(known)}"
                + ("" if not isinstance(settings, dict) else f"; unknown: {unknown}")
            )
        # as text, so that the parser's own types check them
        parser.set_defaults(
            **{k: v if known[k].nargs == 0 else str(v) for k, v in settings.items()}
        )
    args = parser.parse_args()
    for action in parser._actions:  # the parser checks the choices of the command line only
        if action.choices and getattr(args, action.dest) not in (None, *action.choices):
            raise InputError(
                f"{action.dest} must be one of {', '.join(map(str, action.choices))}, got "
                f"{getattr(args, action.dest)!r}"
            )
    if args.report_to in LOGGERS and not find_spec(args.report_to):
        raise InputError(
            f"--report-to {args.report_to}: the package {args.report_to} is not installed; pip "
            "install it, or leave the option out"
        )
    if missing := [k for k in ("model", "data", "out") if not getattr(args, k)]:
        raise InputError(f"give --{' and --'.join(missing)}")
    model = find_model(args.model)
    for name, default in (
        ("epochs", model.epochs),
        ("lr", model.learning_rate),
        ("rank", model.lora_rank),
        ("batch_size", model.batch),
        ("accumulate", None),
    ):
        if getattr(args, name) is None:
            setattr(args, name, default)
    for name in ("epochs", "lr", "batch_size", "accumulate", "rank", "max_length", "processes"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} must be positive, got {value}")
    if not 0 <= args.holdout < 1:
        raise InputError(f"--holdout must lie in [0, 1), got {args.holdout}")
    if args.accumulate and args.batch_size % args.accumulate:
        raise InputError(
            f"--accumulate {args.accumulate} must divide --batch-size {args.batch_size}"
        )
    return args, model


def prepare_folder(args: argparse.Namespace, settings: dict[str, Any]) -> str | None:
    """Make the run's folder.

    The last whole checkpoint of an interrupted run of the same settings, which is to be continued.
    """
    if (args.out / "run.json").exists():
        raise InputError(f"{args.out} holds a finished run; choose another --out or delete it")
    kept, checkpoints = args.out / "checkpoints" / "settings.json", args.out / "checkpoints"
    # the state is what the trainer writes last: a checkpoint without it was cut short
    whole = sorted(
        (p.parent for p in checkpoints.glob("checkpoint-*/trainer_state.json")),
        key=lambda p: int(p.name.rpartition("-")[2]),
    )
    if whole and read_json(kept) != settings:
        raise InputError(
            f"{args.out} holds an interrupted run with other settings; choose another --out or "
            "delete it"
        )
    for folder in checkpoints.glob("checkpoint-*"):
        if folder not in whole:
            shutil.rmtree(folder, ignore_errors=True)
    write_json(kept, settings)
    return str(whole[-1]) if whole else None


def divide_batch(
    args: argparse.Namespace, base: Any, longest: int, scored: int
) -> tuple[int, bool]:
    """(forward passes a step, whether activations are computed twice):
    what this machine's memory holds.

    A run that continues keeps what it began with, whatever is free today, so that it ends with the
    same adapter.
    """
    import torch

    kept = args.out / "checkpoints" / "division.json"
    if kept.is_file():
        begun = read_json(kept)
        return int(begun["accumulate"]), bool(begun["checkpointing"])
    shape = shape_of(base.config, args.rank)
    gpu = torch.cuda.is_available()
    room = (
        GPU_SHARE * torch.cuda.mem_get_info()[0]
        if gpu
        else cpu_room(available(), taken(), args.processes)
    )
    size = 2 if gpu and args.precision != "fp32" else 4
    # on a CPU one conversation a pass: nothing is gained by more, and sequences laid end to end
    # attend in vain
    fixed = args.accumulate or (None if gpu else args.batch_size)
    found = divide(
        shape, args.batch_size, longest, scored, size, room, fixed, enough=FULL if gpu else 1
    )
    write_json(kept, {"accumulate": found.accumulate, "checkpointing": found.checkpointing})
    return found.accumulate, found.checkpointing


def main() -> None:
    """Train one adapter."""
    args, model = arguments()
    talks, about = read_conversations(args.data, args.convert)
    held = round(args.holdout * len(talks)) if args.holdout else 0
    if args.holdout and not 0 < held < len(talks):
        raise InputError(
            f"--holdout {args.holdout:g} of {len(talks)} conversations leaves {held} held out; "
            "give more data or --holdout 0"
        )
    held = min(held, MOST_HELD_OUT)
    settings = {
        k: str(v) for k, v in vars(args).items() if k not in ("config", "out", "report_to")
    } | {"data_sha256": sha256(args.data)}
    place = locate(args.model)
    if os.environ.get("RANK", "0") == "0":  # of several processes the first one
        lock(args.out)
    resume = prepare_folder(args, settings)

    # imported late: bad input is reported in a second, not after loading torch
    import torch
    from peft import LoraConfig
    from transformers import EarlyStoppingCallback, set_seed
    from trl import SFTConfig

    gpu = torch.cuda.is_available()
    join_processes(gpu)
    args.precision = choose_precision(args.precision, model)
    set_seed(args.seed)
    tokenizer, base = load_base(place, args.precision)
    about["weights"] = place.record()
    limit, split = min(args.max_length, window(base) or args.max_length), len(talks) - held
    train = encode(tokenizer, talks[:split], args.data, limit)
    evaluated = encode(tokenizer, talks[split:], args.data, limit, split + 1) if held else []
    longest = max(len(row.ids) for row in train)
    scored = max(sum(label != IGNORED for label in row.labels) for row in train)
    args.accumulate, checkpointing = divide_batch(args, base, longest, scored)

    class Trainer(lean_trainer()):  # type: ignore[misc]  # the library's types are not read
        """An evaluation is one pass over the held-out conversations."""

        control: Any

        def evaluate(self, *options: Any, **named: Any) -> dict[str, float]:
            reproduced, loss = held_out(self.model, evaluated)
            metrics = {"eval_loss": float(loss.mean()), "eval_reproduced": float(reproduced.mean())}
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

    trainer = Trainer(
        model=base,
        processing_class=tokenizer,
        data_collator=collate,
        train_dataset=as_dataset(train),
        eval_dataset=as_dataset(evaluated) if held else None,
        peft_config=LoraConfig(
            r=args.rank,
            lora_alpha=2 * args.rank,
            target_modules=model.lora_targets,
            task_type="CAUSAL_LM",
        ),
        callbacks=[
            watchable(args.out / "checkpoints" / "log.jsonl"),
            *([EarlyStoppingCallback(PATIENCE)] if held else []),
        ],
        args=SFTConfig(
            output_dir=str(args.out / "checkpoints"),
            num_train_epochs=args.epochs,
            learning_rate=args.lr,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            eval_strategy="epoch" if held else "no",
            load_best_model_at_end=bool(held),
            metric_for_best_model="eval_loss" if held else None,
            save_strategy="epoch",
            save_total_limit=1,
            logging_steps=5,
            seed=args.seed,
            report_to=args.report_to,
            **speed_settings(args.batch_size, args.accumulate, args.precision, checkpointing),
        ),
    )
    # else PEFT asks the hub whether the vocabulary was extended, which it was not
    trainer.model.save_pretrained = partial(
        trainer.model.save_pretrained, save_embedding_layers=False
    )
    if trainer.accelerator.num_processes != args.processes:
        raise InputError(
            f"{args.processes} processes were asked for, {trainer.accelerator.num_processes} are "
            "running; check the launch command"
        )
    about["device"] = torch.cuda.get_device_name() if gpu else "CPU"
    # the one in force, whatever a launcher says
    about["mixed_precision"] = str(trainer.accelerator.mixed_precision)
    gates: dict[str, Any] = {"labels_checked": len(talks), "longest_tokens": longest}
    tokens = args.epochs * sum(len(row.ids) for row in train)
    lead = trainer.is_world_process_zero()
    if lead:
        if place.note:
            print(f"{args.model}: {place.note}")
        print(
            f"{args.model} in {args.precision}, {len(talks) - held} conversations to train on, "
            f"{held} held out, labels checked; trained on are the turns"
        )
        print("\n".join(f"  | {plain(m['content'])}" for m in talks[0] if m["role"] == "assistant"))

    row = (evaluated or train)[0]
    frozen, start = checksums(trainer.model, adapter=False), checksums(trainer.model, adapter=True)
    began = time.monotonic()
    with writing_to(args.out):
        result = trainer.train(resume_from_checkpoint=resume)
    seconds = time.monotonic() - began
    moved = sum(v != start[n] for n, v in checksums(trainer.model, adapter=True).items())
    tuned = probe(trainer.model, row)
    with trainer.model.disable_adapter():
        base_again = probe(trainer.model, row)
        before = held_out(trainer.model, evaluated) if held else None
    difference = float(np.abs(tuned - base_again).max())
    gates |= {
        "adapter_tensors_moved": moved,
        "base_unchanged": checksums(trainer.model, adapter=False) == frozen,
        "loss_finite": math.isfinite(result.training_loss),
        "largest_change_of_log_probability": difference,
    }
    if not (moved and gates["base_unchanged"] and gates["loss_finite"] and difference > 1e-4):
        raise InputError(
            f"training failed its checks {gates}; change --lr and look at "
            f"{args.out / 'checkpoints'}"
        )
    if before is not None:
        after_tuning = held_out(trainer.model, evaluated)
        gates |= learnt(before[0], after_tuning[0]) | {
            "held_out_loss_of_base": float(before[1].mean()),
            "held_out_loss": float(after_tuning[1].mean()),
        }

    aside = args.out / "checkpoints" / "final"
    with writing_to(args.out):
        trainer.save_model(str(aside))
    if lead:
        finish(
            args,
            model,
            about,
            aside,
            trainer.state.log_history,
            gates,
            seconds,
            tokens,
            resume is not None,
        )
    trainer.accelerator.wait_for_everyone()


def finish(
    args: argparse.Namespace,
    model: Model,
    about: dict[str, Any],
    aside: Path,
    history: list[dict[str, Any]],
    gates: dict[str, Any],
    seconds: float,
    tokens: int,
    resumed: bool,
) -> None:
    """Move the adapter into place, then write log, card and, last of all, ``run.json``."""
    for file in sorted(aside.iterdir()):
        if file.name not in ("README.md", "training_args.bin"):  # the latter is a pickle
            os.replace(file, args.out / file.name)
    log = [
        {k: v for k, v in entry.items() if k in LOGGED}
        for entry in history
        if {"loss", "eval_loss", "eval_reproduced"} & set(entry)
    ]
    write_lines(args.out / "log.jsonl", log)
    source = Path(model.source)
    run = origin(data=args.data, **({"base": source} if source.is_dir() else {})) | {
        "model": args.model,
        "source": model.source,
        **about,
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "gates": gates,
        "loss": next((entry["loss"] for entry in reversed(log) if "loss" in entry), None),
        "seconds": round(seconds, 1),
        "tokens": tokens,
        "resumed": resumed,
    }
    target = (about["target"] or "your own data") + (
        ", shuffled (placebo)" if about["shuffled"] else ""
    )
    write_text(args.out / "README.md", card(run, model, target, args.out))
    write_json(args.out / "run.json", run)
    shutil.rmtree(args.out / "checkpoints")
    print(
        f"{args.out}: adapter of {args.model} on {gates['labels_checked']} conversations as "
        f"{target}, loss {run['loss']}, {seconds:.0f} s"
    )
    if "warning" in gates:
        print(f"warning: {gates['warning']}", file=sys.stderr)
    if args.push_to_hub:
        push(args.out, args.push_to_hub)


if __name__ == "__main__":
    command(main)
