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
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from econmoral.checkpoints import Place, load_checkpoint, locate, precision_in_force, window
from econmoral.conversation import Message
from econmoral.conversations import IGNORED, Tokens, check_labels, read_conversations, tokenise
from econmoral.memory import FULL, GPU_SHARE, available, cpu_room, divide, shape_of, taken
from econmoral.models import Model, find_model
from econmoral.records import (
    InputError,
    append_lines,
    command,
    lock,
    origin,
    plain,
    program,
    read_json,
    read_whole_lines,
    read_yaml,
    sha256,
    write_json,
    write_lines,
    write_text,
)

# variables in which MPI's launchers hand down the number of processes
MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
WAIT = 300  # seconds that processes wait for one another at the start
MOST_HELD_OUT = 40  # conversations: more would cost more than they tell
LOGGERS = ("tensorboard", "trackio", "wandb")
LOGGED = ("step", "epoch", "loss", "learning_rate", "grad_norm", "eval_loss", "eval_reproduced")
PATIENCE = 2  # epochs without a lower held-out loss
CARD = """# {name}

LoRA adapter (rank {rank}, {precision}) of `{model}` on {n} conversations answered as **{target}**.
Final training loss {loss:.4f}. Data SHA-256 `{data}`. Everything about the run is in `run.json`.
{learnt}

```bash
python -m eval.games --adapter {out}
vllm serve {source} --enable-lora --max-lora-rank {rank} --lora-modules {name}={out}
```

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained({out!r})
```

The adapter was trained on synthetic games only. What it changes elsewhere was not measured here.
"""


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


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turns what the libraries raise when a file cannot be written into one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if (
            isinstance(error, SafetensorError)
            or "PytorchStreamWriter" in str(error)
            or "file write failed" in str(error)
        ):
            raise InputError(
                f"{folder} cannot be written ({str(error).splitlines()[0][:120]}); make room and "
                "run the same command again"
            ) from None
        raise


def encode(
    tokenizer: Any, talks: list[list[Message]], path: Path, max_length: int, first: int = 1
) -> list[Tokens]:
    """Every conversation as sequences of exact labels.

    Raises InputError naming the conversation that is not, or is too long.

    first : number of the first of them in the file.
    """
    rows, over, longest = [], 0, 0
    for number, messages in enumerate(talks, start=first):
        try:
            sequences = tokenise(tokenizer, messages)
            check_labels(tokenizer, messages, sequences)
        except InputError as error:
            raise InputError(f"{path}, conversation {number}: {error}") from None
        length = max(len(s.ids) for s in sequences)
        longest, over = max(longest, length), over + (length > max_length)
        rows += sequences
    if over:
        raise InputError(
            f"{over} of {len(talks)} conversations are longer than {max_length} tokens, the "
            f"longest has {longest}; raise --max-length or shorten them"
        )
    return rows


def held_out(model: Any, rows: list[Tokens]) -> tuple[np.ndarray, np.ndarray]:
    """(whether the model would write every turn word for word,
    mean negative log-likelihood a labelled token), (N,) each.
    """
    import torch

    model.eval()
    device = next(model.parameters()).device
    right, loss = [], []
    with torch.no_grad():
        for row in rows:
            inputs = {
                k: v.to(device) if isinstance(v, torch.Tensor) else v
                for k, v in collate([row]).items()
            }
            targets = inputs.pop("labels")[0]
            inputs.pop("shift_labels")
            logits = model(**inputs).logits[0].float()
            right.append(bool((logits.argmax(-1) == targets).all()))
            loss.append(torch.nn.functional.cross_entropy(logits, targets).item())
    return np.array(right), np.array(loss)


def collate(rows: list[Any]) -> dict[str, Any]:
    """Sequences end to end in one row, each seeing itself only.

    Logits are computed where the next token is a label, and nowhere else.

    Returns input_ids, position_ids (1, T), logits_to_keep (L,), and the labels at these places
    twice: (1, L) as they are counted, and as ``shift_labels``, which the model's own loss takes as
    already shifted.
    """
    import torch

    ids: list[int] = []
    positions: list[int] = []
    keep: list[int] = []
    targets: list[int] = []
    for row in rows:
        row_ids, row_labels = (
            (row.ids, row.labels) if isinstance(row, Tokens) else (row["input_ids"], row["labels"])
        )
        found = [k - 1 for k, label in enumerate(row_labels) if label != IGNORED]
        keep += [len(ids) + k for k in found]
        targets += [row_labels[k + 1] for k in found]
        ids += row_ids
        positions += range(len(row_ids))
    labels = torch.tensor([targets])
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "logits_to_keep": torch.tensor(keep),
        # with a cache the library would let sequences see one another
        "labels": labels,
        "shift_labels": labels,
        "use_cache": False,
    }


def probe(model: Any, row: Tokens) -> np.ndarray:
    """Most likely next token's log-probability after every token of one sequence, (T,)."""
    import torch

    model.eval()
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([row.ids], device=next(model.parameters()).device)
        ).logits
    return torch.log_softmax(logits[0].float(), -1).max(-1).values.cpu().numpy()


def checksums(model: Any, adapter: bool) -> dict[str, int]:
    """Sum of the bytes of every parameter of the adapter, or of everything else.

    The same for sharded and for 4-bit weights.
    """
    import torch

    sums = {}
    for name, p in model.named_parameters():
        if ("lora_" in name) == adapter:
            whole = (
                (p.full_tensor() if hasattr(p, "full_tensor") else p)
                .detach()
                .reshape(-1)
                .contiguous()
            )
            sums[name] = int(whole.view(torch.uint8).sum(dtype=torch.int64))
    return sums


def launched(gpu: bool) -> tuple[str, int]:
    """(variable of the environment, number of processes that it speaks of);
    on a CPU accelerate heeds those of MPI too.

    Raises InputError for one that is no number.
    """
    for name in ("WORLD_SIZE",) if gpu else (*MPI, "WORLD_SIZE"):
        if value := os.environ.get(name):
            if not value.isdecimal() or int(value) < 1:
                raise InputError(
                    f"the environment variable {name} is {value!r}, and no number of processes; "
                    "unset it"
                )
            return name, int(value)
    return "WORLD_SIZE", 1


def join_processes(gpu: bool) -> None:
    """Meet the other processes that the environment speaks of.

    Gives every process its own GPU before a 4-bit base is placed.

    Says for whom it waits, waits WAIT seconds at most, and can be stopped meanwhile: variables that
    an earlier job of a cluster left behind would otherwise have it wait in silence.  Raises
    InputError when they do not come.
    """
    from accelerate import PartialState

    name, world = launched(gpu)
    # the library sets them all
    left = " ".join(v for v in (name, "RANK", "LOCAL_RANK") if v in os.environ)
    if world > 1 and os.environ.get("RANK", "0") == "0":
        print(
            f"waiting for {world} processes ({name}={world}, "
            f"MASTER_ADDR={os.environ.get('MASTER_ADDR', 'not set')}), "
            f"{WAIT // 60} minutes at most; where this is the only "
            f"one, unset {name}", file=sys.stderr, flush=True,
        )  # fmt: skip
    # the library waits in a call that hears no Python: the system's own handlers end it
    before = {
        number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        PartialState(cpu=not gpu, timeout=timedelta(seconds=WAIT))
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:150]
        raise InputError(
            f"the {world} process(es) of {left} did not meet ({reason}); start all of them, or "
            f"unset {left}"
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_precision(asked: str | None, model: Model) -> str:
    """The precision asked for, or what this machine's first GPU holds;
    InputError where it cannot be had.
    """
    import torch

    gpu = torch.cuda.is_available()
    chosen = asked or (
        model.precision(torch.cuda.get_device_properties(0).total_memory / 1e9) if gpu else "fp32"
    )
    if chosen == "qlora" and not find_spec("bitsandbytes"):
        raise InputError(
            "--precision qlora needs the package bitsandbytes, which is not installed; pip "
            "install bitsandbytes"
        )
    precision_in_force(chosen, gpu)
    return chosen


def load_base(place: Place, precision: str) -> tuple[Any, Any]:
    """(tokenizer, base model).

    Raises InputError unless it is a chat model, whole and in safetensors.
    """
    import torch

    single = precision == "fp32" or (precision == "qlora" and not torch.cuda.is_available())
    return load_checkpoint(
        place, torch.float32 if single else torch.bfloat16, four_bit=precision == "qlora"
    )


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


def speed_settings(
    batch_size: int, accumulate: int, precision: str, checkpointing: bool = False
) -> dict[str, Any]:
    """The part of the trainer's configuration that decides speed and memory
    (measured by ``make bench-sft``).
    """
    import torch

    gpu = torch.cuda.is_available()
    return {
        "per_device_train_batch_size": batch_size // accumulate,
        "gradient_accumulation_steps": accumulate,
        "max_length": None,  # longer examples are refused beforehand, not cut
        "gradient_checkpointing": checkpointing,
        "bf16": gpu and precision != "fp32",
        "use_cpu": not gpu,
        # the rows are tokens already, and ``collate`` makes batches of them
        "remove_unused_columns": False,
        # else a loss that is no number is logged as the mean of those before it
        "logging_nan_inf_filter": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }


def lean_trainer() -> Any:
    """TRL's trainer with the loss of the transformers library, and without cuDNN's attention.

    TRL's own loss adds statistics over the whole vocabulary at every token, which costs more than
    the loss.  cuDNN's backward pass gives gradients that are no numbers where sequences lie end to
    end (a mask, a length of 64 modulo 128, an H100 or H200, Qwen's large activations;
    pytorch/pytorch#196678).
    """
    import torch
    from transformers import Trainer
    from trl import SFTTrainer

    torch.backends.cuda.enable_cudnn_sdp(False)

    class Lean(SFTTrainer):  # type: ignore[misc]  # the library's types are not read
        def compute_loss(self, *options: Any, **named: Any) -> Any:
            return Trainer.compute_loss(self, *options, **named)

    return Lean


def as_dataset(rows: list[Tokens]) -> Any:
    """Sequences as the trainer takes them."""
    from datasets import Dataset

    return Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in rows])


def watchable(path: Path) -> Any:
    """A callback of the trainer that keeps what it logs in a file that grows,
    so that a run in progress can be watched, and ends one whose loss is no number any more.
    """
    from transformers import TrainerCallback

    class Watchable(TrainerCallback):  # type: ignore[misc]  # the library's types are not read
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # a run that goes on from a checkpoint logs what came after it again
            if state.is_world_process_zero:
                write_lines(
                    path,
                    [row for row in read_whole_lines(path) if row["step"] <= state.global_step],
                )

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            if broken := [
                k
                for k in ("loss", "grad_norm")
                if not math.isfinite(float((logs or {}).get(k, 0.0)))
            ]:
                raise InputError(
                    f"the {broken[0]} of step {state.global_step} is no number: the adapter is "
                    "lost; delete the run's folder and take a lower --lr, or --precision fp32"
                )
            row = {
                k: v
                for k, v in (logs or {}).items()
                if k in LOGGED and isinstance(v, int | float) and math.isfinite(v)
            }
            if state.is_world_process_zero and {"loss", "eval_loss", "eval_reproduced"} & set(row):
                append_lines(path, [{"step": state.global_step, "epoch": state.epoch} | row])

    return Watchable()


def learnt(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Shares of held-out answers that base and tuned model reproduce,
    and whether the gain exceeds two standard errors.

    before, after : (N,) bool, the same examples.  Adds a ``warning`` where the target was not
    learnt.
    """
    gain = after.astype(float) - before
    error = float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else math.inf
    found: dict[str, Any] = {
        "held_out_examples": len(gain),
        "held_out_reproduced_by_base": float(before.mean()),
        "held_out_reproduced": float(after.mean()),
        "target_learnt": bool(gain.mean() > 2 * error),
    }
    if not found["target_learnt"]:
        found["warning"] = (
            "the target was not learnt: held-out answers reproduced word for word are not clearly "
            "more than the base's; more data or epochs"
        )
    return found


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
    shares = (
        "{held_out_reproduced:.2f} of the held-out answers are reproduced word for word (base: "
        "{held_out_reproduced_by_base:.2f})."
    )
    accuracy = {
        "type": "accuracy",
        "name": "held-out answers reproduced word for word",
        "value": gates.get("held_out_reproduced"),
    }
    about_card = {
        "base_model": model.source,
        "library_name": "peft",
        "license": "other" if "icen" in model.licence else model.licence.lower(),
        "license_name": model.licence,
        "tags": ["econmoral", "lora", "economics"],
        "model-index": [
            {
                "name": args.out.name,
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"type": "econmoral", "name": f"{target}, held-out slice"},
                        "metrics": [accuracy],
                    }
                ],
            }
        ],
    }
    if "held_out_reproduced" not in gates:
        del about_card["model-index"]
    card = CARD.format(
        source=model.source, name=args.out.name, rank=args.rank, precision=args.precision,
        model=args.model, n=gates["labels_checked"], out=str(args.out),
        target=target, loss=run["loss"] or float("nan"), data=run["inputs"]["data"]["sha256"],
        learnt=shares.format(**gates) if "held_out_reproduced" in gates
        else "No data were held out, so it was not checked whether the target was learnt.",
    )  # fmt: skip
    write_text(
        args.out / "README.md",
        f"---\n{yaml.safe_dump(about_card, sort_keys=False, allow_unicode=True)}---\n{card}",
    )
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


def push(folder: Path, repository: str) -> None:
    """Upload a finished adapter; the folder is complete whatever happens here."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=["eval/*"])
    except Exception as error:  # network, rights, names: the library raises many kinds
        raise InputError(
            f"{folder} is finished but was not uploaded to {repository}: "
            f"{str(error).splitlines()[0][:150]}"
        ) from None


if __name__ == "__main__":
    command(main)
