"""Options of the fine-tuning recipe."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from econmoral.checkpoints.adapters import WEIGHTS, check_adapter
from econmoral.checkpoints.models import find_model
from econmoral.files.options import Config, option
from econmoral.files.records import InputError, sha256

LOGGERS = ("tensorboard", "trackio", "wandb")
SEEDS = 1 << 32  # what the libraries' random numbers are seeded with is below


@dataclass(frozen=True)
class SftConfig(Config):
    """What is trained, on what, and how; what is left out is the model's default.

    Raises InputError for values that cannot be used together.
    """

    model: str = option(None, "name from the table, hub id, or folder")
    data: Path = option(None, "JSON Lines with messages: written by data_synth, or your own")
    convert: bool = option(False, "also read rows of the ShareGPT and Alpaca kinds")
    out: Path = option(None, "folder of the run")
    adapter: Path | None = option(
        None, "go on from this adapter, which is left as it is (default: a new one)"
    )
    epochs: float = option(None, "passes over the data (default: the model's)", positive=True)
    lr: float = option(
        None, "peak learning rate, cosine decay (default: the model's)", positive=True
    )
    batch_size: int = option(
        None, "conversations a step on each process (default: the model's)", positive=True
    )
    accumulate: int | None = option(
        None,
        "forward passes a step; they share the batch (default: what fits into memory)",
        positive=True,
    )
    rank: int = option(
        None,
        "LoRA rank on all linear layers; alpha is twice that (default: the model's)",
        positive=True,
    )
    max_length: int = option(
        2048,
        "longest conversation in tokens; longer ones are refused (default 2048)",
        positive=True,
    )
    precision: str | None = option(
        None,
        "qlora: base in 4 bits (nf4); default: fp32 on CPU, on GPU what fits",
        choices=("fp32", "bf16", "qlora"),
    )
    holdout: float = option(
        0.1,
        "share of the data, from its end, that is not trained on, at most 40 conversations "
        "(default 0.1; 0 for none)",
    )
    processes: int = option(
        None, "processes that must be running (default: what the launcher says)", positive=True
    )
    seed: int = option(0, "of the adapter's first weights and the order of the data (default 0)")
    report_to: str = option(
        "none",
        "where training is logged beside log.jsonl (default none)",
        choices=("none", *LOGGERS),
    )
    push_to_hub: str | None = option(
        None,
        "upload the finished adapter to this repository of the hub, private",
        metavar="OWNER/NAME",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.report_to in LOGGERS and not find_spec(self.report_to):
            raise InputError(
                f"--report-to {self.report_to}: the package {self.report_to} is not installed; "
                "pip install it, or leave the option out"
            )
        if missing := [k for k in ("model", "data", "out") if not getattr(self, k)]:
            raise InputError(f"give --{' and --'.join(missing)}")
        self._fill_in()
        if self.adapter and self.adapter.resolve() == self.out.resolve():
            raise InputError(f"--out {self.out} is the adapter that is gone on from; give another")
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"--seed must lie between 0 and {SEEDS - 1}, got {self.seed}")
        if not 0 <= self.holdout < 1:
            raise InputError(f"--holdout must lie in [0, 1), got {self.holdout}")
        if self.accumulate and self.batch_size % self.accumulate:
            raise InputError(
                f"--accumulate {self.accumulate} must divide --batch-size {self.batch_size}"
            )

    def _fill_in(self) -> None:
        """Defaults of the model and of the launcher, for what was not given."""
        model, world = find_model(self.model), os.environ.get("WORLD_SIZE", "")
        begun = check_adapter(self.adapter)["r"] if self.adapter else None
        if begun and self.rank not in (None, begun):
            raise InputError(f"--rank {self.rank}: {self.adapter} has rank {begun}; leave it out")
        for name, default in (
            ("epochs", model.epochs),
            ("lr", model.learning_rate),
            ("rank", begun or model.lora_rank),
            ("batch_size", model.batch),
            ("processes", int(world) if world.isdecimal() else 1),
        ):
            if getattr(self, name) is None:
                self._set(name, default)

    def identity(self) -> dict[str, str]:
        """What an interrupted run and the command that continues it have in common: options as
        text, and the hashes of the data and of the adapter that it began with.
        """
        same = {k: str(v) for k, v in self.settings().items() if k not in ("out", "report_to")}
        if self.adapter:
            same["adapter_sha256"] = sha256(self.adapter / WEIGHTS)
        return same | {"data_sha256": sha256(self.data)}
