"""What fine-tuning feeds the library's trainer, and how it is watched.

Torch, transformers, peft and trl are imported late: bad input is reported before they are loaded.
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.checkpoints.loading import load_checkpoint, precision_in_force
from econmoral.checkpoints.memory import (
    CPU_LIMIT,
    FULL,
    GPU_SHARE,
    available,
    cpu_room,
    divide,
    shape_of,
    taken,
)
from econmoral.checkpoints.models import Model
from econmoral.checkpoints.places import Place
from econmoral.files.records import (
    InputError,
    append_lines,
    read_json,
    read_whole_lines,
    write_json,
    write_lines,
)
from econmoral.text.conversation import Message
from econmoral.text.conversations import IGNORED, Tokens, check_labels, tokenise
from econmoral.training.config import SftConfig

LOGGED = ("step", "epoch", "loss", "learning_rate", "grad_norm", "eval_loss", "eval_reproduced")
HELD = CPU_LIMIT / 2  # bytes of the process above which freed memory is given back
MOST_HELD_OUT = 40  # conversations: more would cost more than they tell


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


def count_held_out(share: float, conversations: int) -> int:
    """How many conversations are held out, of a share that was asked for.

    Raises InputError when none would be, or none left to train on.
    """
    held = round(share * conversations)
    if share and not 0 < held < conversations:
        raise InputError(
            f"--holdout {share:g} of {conversations} conversations leaves {held} held out; give "
            "more data or --holdout 0"
        )
    return min(held, MOST_HELD_OUT)


def count_steps(config: SftConfig, rows: int) -> int:
    """How many steps a training on so many sequences takes."""
    return math.ceil(config.epochs * math.ceil(rows / (config.batch_size * config.processes)))


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


def as_dataset(rows: list[Tokens]) -> Any:
    """Sequences as the trainer takes them."""
    from datasets import Dataset

    return Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in rows])


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
        "labels": labels,
        "shift_labels": labels,
        "use_cache": False,  # with a cache the library would let sequences see one another
    }


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


def divide_batch(
    config: SftConfig, precision: str, base: Any, rows: list[Tokens]
) -> tuple[int, bool]:
    """(forward passes a step, whether activations are computed twice): what this machine's memory
    holds.

    A run that continues keeps what it began with, whatever is free today, so that it ends with the
    same adapter.

    rows : what is trained on.  Raises InputError when not even one example fits.
    """
    import torch

    kept = config.out / "checkpoints" / "division.json"
    if kept.is_file():
        begun = read_json(kept)
        return int(begun["accumulate"]), bool(begun["checkpointing"])
    gpu = torch.cuda.is_available()
    found = divide(
        shape_of(base.config, config.rank),
        config.batch_size,
        longest=max(len(row.ids) for row in rows),
        scored=max(sum(label != IGNORED for label in row.labels) for row in rows),
        size=2 if gpu and precision != "fp32" else 4,
        room=GPU_SHARE * torch.cuda.mem_get_info()[0]
        if gpu
        else cpu_room(available(), taken(), config.processes),
        # on a CPU one conversation a pass: nothing is gained by more, and sequences laid end to
        # end attend in vain
        fixed=config.accumulate or (None if gpu else config.batch_size),
        enough=FULL if gpu else 1,
    )
    write_json(kept, {"accumulate": found.accumulate, "checkpointing": found.checkpointing})
    return found.accumulate, found.checkpointing


def lean_trainer() -> Any:
    """TRL's trainer with the loss of the transformers library, and without cuDNN's attention; an
    evaluation is one pass over the held-out conversations.

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

        control: Any

        def evaluate(self, *options: Any, **named: Any) -> dict[str, float]:
            reproduced, loss = held_out(self.model, self.eval_dataset)
            metrics = {"eval_loss": float(loss.mean()), "eval_reproduced": float(reproduced.mean())}
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

    return Lean


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

        def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            give_back_memory()

        on_step_end = on_substep_end

    return Watchable()


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can.

    Conversations differ in length, so that glibc's heap fills with holes that nothing fits into:
    a training on a CPU would grow to twice the memory of its longest conversation.  Nothing is done
    below ``HELD``, for memory that is taken back costs time (a quarter of nano's).
    """
    if platform.libc_ver()[0] == "glibc" and taken() > HELD:
        ctypes.CDLL(None).malloc_trim(0)


def held_out(model: Any, rows: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(whether the model would write every turn word for word,
    mean negative log-likelihood a labelled token), (N,) each.

    rows : N sequences, as ``encode`` makes them or as the trainer takes them.
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
