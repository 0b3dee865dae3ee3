"""Speed and memory of fine-tuning: this recipe against a plain TRL script,
same model, same data, one run.

    # on a CPU the built-in model and SmolLM2, on a GPU the former
    python recipes/benchmarks/bench_sft.py
    # random weights of real shapes, GPU
    python recipes/benchmarks/bench_sft.py --shapes qwen2.5-7b llama-3.1-8b --precisions bf16 qlora

Every measurement is a process of its own.  Model FLOPs of a trained token, weights frozen: 4 for
every parameter in a matrix product (2 forward, 2 for the gradient of the activations; recomputation
does not count; the vocabulary's only where a label asks for logits) and 6 sequence length x width x
layers for causal attention.  Peak: the data sheet's dense bf16 figure where known, else a matrix
product timed here, which is what the share on a CPU is of.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.checkpoints.loading import four_bits
from econmoral.checkpoints.memory import CPU_LIMIT, GPU_SHARE, divide, shape_of
from econmoral.checkpoints.models import NANO
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    fill_section,
    origin,
    peak_memory,
    write_json,
)
from econmoral.files.shown import markdown
from econmoral.text.conversations import IGNORED, read_conversations
from econmoral.training.trainer import as_dataset, collate, encode, lean_trainer, speed_settings

HERE = Path(__file__).parent
LONGEST = 2048  # tokens of an example, at most
WAYS = ("recipe", "plain TRL")
SHAPES: dict[str, dict[str, Any]] = {  # from the checkpoints' public configurations
    "smollm2-135m": {"kind": "llama", "hidden_size": 576, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3,
                     "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True},
    "qwen2.5-0.5b": {"kind": "qwen2", "hidden_size": 896, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2,
                     "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": True},
    "qwen2.5-7b": {"kind": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4,
                   "intermediate_size": 18944, "vocab_size": 152064, "tie_word_embeddings": False},
    "llama-3.1-8b": {"kind": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8,
                     "intermediate_size": 14336, "vocab_size": 128256,
                     "tie_word_embeddings": False},
}  # fmt: skip
# dense bf16 FLOP/s of the data sheets
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


@dataclass(frozen=True)
class BenchConfig(Config):
    """Options of ``recipes/benchmarks/bench_sft.py``; what is left out depends on the machine."""

    shapes: tuple[str, ...] = option(
        (), "default: nano, on a CPU smollm2-135m too", choices=("nano", *SHAPES)
    )
    precisions: tuple[str, ...] = option(
        (), "default: fp32 on CPU, bf16 on GPU", choices=("fp32", "bf16", "qlora")
    )
    batches: tuple[int, ...] = option(
        (), "examples in a forward pass; the best is reported (default 16, on a CPU 4)"
    )
    steps: int = option(None, "timed steps after two that are not (default 8, on a CPU 4)")
    out: Path = option(
        None, "default: bench_sft.json beside this file, on a GPU bench_sft_gpu.json"
    )
    one: tuple[str, str, str, str] = option(
        None, SUPPRESS, metavar=("WAY", "SHAPE", "PRECISION", "BATCH")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        import torch

        gpu = torch.cuda.is_available()
        self._set("out", self.out or HERE / ("bench_sft_gpu.json" if gpu else "bench_sft.json"))
        self._set("shapes", self.shapes or (("nano",) if gpu else ("nano", "smollm2-135m")))
        self._set("precisions", self.precisions or ("bf16" if gpu else "fp32",))
        self._set("batches", self.batches or (16 if gpu else 4,))
        if self.steps is None:
            self._set("steps", 8 if gpu else 4)
        if self.steps < 1 or min(self.batches) < 1:
            raise InputError("--steps and --batches must be at least 1")


def build(shape: str, precision: str, device: Any) -> Any:
    """The built-in model, or random weights of a real shape, in the precision."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    if shape == "nano":
        if precision == "qlora":
            raise InputError("--precisions qlora is for the real shapes")
        return AutoModelForCausalLM.from_pretrained(NANO, dtype=dtype)
    numbers = {k: v for k, v in SHAPES[shape].items() if k != "kind"} | {
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": 2,
    }
    config = Qwen2Config(**numbers) if SHAPES[shape]["kind"] == "qwen2" else LlamaConfig(**numbers)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return in_four_bits(model, dtype) if precision == "qlora" else model


def in_four_bits(model: Any, dtype: Any) -> Any:
    """The model in nf4: written to a folder and loaded as a user's base would be."""
    import torch
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=four_bits(dtype), dtype=dtype
        )


def draw(n: int, tokenizer: Any) -> tuple[Any, list[Any]]:
    """``n`` conversations, and their rows with labels as the recipe makes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.jsonl"
        words = ["--target", "homo_moralis:kappa=0.5", "--n", str(n), "--out", str(path)]
        subprocess.run(
            [sys.executable, "-m", "data_synth", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=HERE.parents[1],
        )
        talks = read_conversations(path)[0]
        return talks, encode(tokenizer, talks, path, LONGEST)


def flops_per_token(config: Any, mean: float, labelled: float) -> float:
    """Model FLOPs of a trained token at a mean sequence length.

    labelled : share of tokens whose logits are computed.  From the shape: quantised parameters do
    not count their own elements.
    """
    head = config.hidden_size // config.num_attention_heads
    attention = (
        config.hidden_size
        * head
        * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
    )
    per_layer = attention + 3 * config.hidden_size * config.intermediate_size
    matrices, logits = config.num_hidden_layers * per_layer, config.vocab_size * config.hidden_size
    return float(
        4 * (matrices + labelled * logits)
        + 6 * mean * config.hidden_size * config.num_hidden_layers
    )


def one(way: str, shape: str, precision: str, batch: int, steps: int) -> dict[str, Any]:
    """Tokens per second, model FLOP utilisation and peak memory of one way to train."""
    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    gpu = torch.cuda.is_available()
    PartialState(cpu=not gpu)
    device = torch.device("cuda" if gpu else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    model = build(shape, precision, device)
    config = model.config
    talks, rows = draw(batch * (steps + 2), tokenizer)

    class Clock(TrainerCallback):  # type: ignore[misc]  # the library's types are not read
        """Starts after two steps."""

        began = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                if gpu:
                    torch.cuda.synchronize()
                self.began = time.perf_counter()

    # the plain script sets what the machine and the comparison dictate (batch, processor) and
    # leaves the rest to the library
    settings: dict[str, Any] = {
        "per_device_train_batch_size": batch,
        "bf16": gpu,
        "use_cpu": not gpu,
    }
    how: dict[str, Any] = {"train_dataset": Dataset.from_list([{"messages": t} for t in talks])}
    trainer_class = SFTTrainer
    if way == "recipe":
        room = GPU_SHARE * torch.cuda.mem_get_info()[0] if gpu else CPU_LIMIT
        longest = max(len(row.ids) for row in rows)
        scored = max(sum(label != IGNORED for label in row.labels) for row in rows)
        size = 2 if gpu else 4
        twice = divide(shape_of(config), batch, longest, scored, size, room, fixed=1).checkpointing
        settings = speed_settings(batch, 1, precision, twice and gpu)
        how = {"train_dataset": as_dataset(rows), "data_collator": collate}
        trainer_class = lean_trainer()
    if precision == "qlora" and way != "recipe":
        model = prepare_model_for_kbit_training(model)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=model, processing_class=tokenizer, callbacks=[clock], **how,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear",
                task_type="CAUSAL_LM"),
            args=SFTConfig(output_dir=folder, max_steps=steps + 2, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_steps=100, **settings),
        )  # fmt: skip
        lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
        # the plain script computes logits, and trains, at every token
        labelled = (
            sum(t != IGNORED for row in rows for t in row.labels) / sum(lengths)
            if way == "recipe"
            else 1.0
        )
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - clock.began
    mean = sum(lengths) / len(lengths)
    rate = mean * batch * steps / seconds
    flops = flops_per_token(config, mean, labelled)
    memory = torch.cuda.max_memory_allocated() if gpu else peak_memory()
    peak, source = peak_flops(device)
    return {
        "way": way,
        "shape": shape,
        "precision": precision,
        "batch": batch,
        "tokens_per_second": rate,
        "mean_tokens": mean,
        "flops_per_token": flops,
        "mfu": rate * flops / peak,
        "peak_flops": peak,
        "peak_from": source,
        "memory_gb": memory / 1e9,
        "device": torch.cuda.get_device_name() if gpu else "CPU",
    }


def peak_flops(device: Any) -> tuple[float, str]:
    """(FLOP/s, where the figure is from)."""
    import torch

    if device.type == "cuda":
        for name, value in PEAKS.items():
            if name in torch.cuda.get_device_name():
                return value, "data sheet, dense bf16"
    n = 8192 if device.type == "cuda" else 1024
    x = torch.randn(
        n, n, device=device, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32
    )
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        y = x @ x
        float(y[0, 0])  # waits for the result
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best, f"matrix product of {n} timed here"


def main() -> None:
    """Entry point."""
    config = parse(BenchConfig, None, __doc__)
    if config.one:
        way, shape, precision, batch = config.one
        print(json.dumps(one(way, shape, precision, int(batch), config.steps)))
        return
    precisions = config.precisions
    rows: list[dict[str, Any]] = []
    for shape in config.shapes:
        for precision in precisions:
            for way in WAYS:
                for batch in config.batches:
                    words = [
                        sys.executable,
                        str(HERE / "bench_sft.py"),
                        "--steps",
                        str(config.steps),
                        "--one",
                        way,
                        shape,
                        precision,
                        str(batch),
                    ]
                    result = subprocess.run(words, capture_output=True, text=True)
                    if result.returncode:
                        error = (result.stderr.strip().splitlines() or ["no message"])[-1]
                        rows.append(
                            {
                                "way": way,
                                "shape": shape,
                                "precision": precision,
                                "batch": batch,
                                "failed": error[:200],
                            }
                        )
                    else:
                        rows.append(json.loads(result.stdout.strip().splitlines()[-1]))
                    print(json.dumps(rows[-1]), flush=True)
    table = []
    for r in rows:
        if "failed" in r:
            cells = ["failed: " + r["failed"], "", ""]
        else:
            cells = [
                f"{r['tokens_per_second']:,.0f}",
                f"{100 * r['mfu']:.0f} %",
                f"{r['memory_gb']:.1f} GB",
            ]
        table.append([r["shape"], r["precision"], r["way"], str(r["batch"]), *cells])
    head = ("shape", "precision", "way", "batch", "tokens/s", "MFU", "peak memory")
    lines = [markdown(head, table)]
    for shape in config.shapes:
        for precision in precisions:
            done = [
                r
                for r in rows
                if (r["shape"], r["precision"]) == (shape, precision) and "failed" not in r
            ]
            best = {
                way: max((r["tokens_per_second"] for r in done if r["way"] == way), default=None)
                for way in WAYS
            }
            if (ours := best["recipe"]) and (plain := best["plain TRL"]):
                lines.append(
                    f"\nOn {shape} in {precision} the recipe trains {ours / plain:.2f} times the "
                    "tokens of the plain script."
                )
    write_json(config.out, origin() | {"rows": rows})
    if config.out.parent == HERE:
        fill_section(HERE / "RESULTS.md", config.out.stem.replace("_", "-"), "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    command(main)
