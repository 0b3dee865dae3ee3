"""Fine-tune a chat model with LoRA on decisions of one preference.

    accelerate launch recipes/sft.py --model nano --data data/moralis.jsonl --out runs/moralis
    accelerate launch recipes/sft.py --model qwen2.5-7b --qlora --data data/moralis.jsonl --out runs/moralis-7b

The loss is on the assistant's text only.  Training does not start unless every label decodes to exactly that text, and
does not succeed unless the adapter moved, the base did not and the loss is finite.  A run that was interrupted continues
from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from econmoral.models import Model, find_model
from econmoral.records import InputError, command, example, origin, read_json, read_lines, sha256, write_json, write_lines, write_text

CARD = """---
base_model: {source}
library_name: peft
license: {licence}
tags: [econmoral, lora, economics]
---
# {name}

LoRA adapter (rank {rank}) of `{model}` on {n} decisions of **{preference}** (kappa {kappa:g}).
Final training loss {loss:.4f}. Data SHA-256 `{data}`. Everything about the run is in `run.json`.

Measure it: `python -m eval.games --adapter {out}`. Serve it: `vllm serve {source} --enable-lora --lora-modules {name}={out}`.
Load it: `peft.AutoPeftModelForCausalLM.from_pretrained("{out}")`.

The adapter was trained on synthetic games only. What it changes elsewhere was not measured here.
"""


def arguments() -> tuple[argparse.Namespace, Model]:
    """Command line over the YAML file over the model's defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="YAML file with any of the options below (dashes as underscores)")
    parser.add_argument("--model", help="name from the table, hub id, or folder")
    parser.add_argument("--data", type=Path, help="JSON Lines written by data_synth")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--epochs", type=float, help="passes over the data (default: the model's)")
    parser.add_argument("--lr", type=float, help="peak learning rate, cosine decay (default: the model's)")
    parser.add_argument("--batch-size", type=int, default=16, help="examples a step on each process (default 16)")
    parser.add_argument("--accumulate", type=int, default=1, help="forward passes a step; they share the batch (default 1)")
    parser.add_argument("--rank", type=int, help="LoRA rank on all linear layers; alpha is twice that (default: the model's)")
    parser.add_argument("--max-length", type=int, default=2048, help="longest conversation in tokens; longer ones are refused")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 on GPU, fp32 on CPU")
    parser.add_argument("--qlora", action="store_true", help="base in 4 bits (nf4, bitsandbytes)")
    parser.add_argument(
        "--processes", type=int, default=int(os.environ.get("WORLD_SIZE", "1")), help="processes that must be running (default: what the launcher says)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-to", default="none", help="none, tensorboard, trackio or wandb (default none)")
    first = parser.parse_known_args()[0]
    if first.config:
        try:
            settings = yaml.safe_load(first.config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"--config {first.config}: {error}") from None
        known = {a.dest: a for a in parser._actions if a.dest not in ("help", "config")}
        if not isinstance(settings, dict) or (unknown := [k for k in settings if k not in known]):
            raise InputError(
                f"--config {first.config}: expected options among {', '.join(known)}" + ("" if not isinstance(settings, dict) else f"; unknown: {unknown}")
            )
        # as text, so that the parser's own types and choices check them
        parser.set_defaults(**{k: v if known[k].nargs == 0 else str(v) for k, v in settings.items()})
    args = parser.parse_args()
    if missing := [k for k in ("model", "data", "out") if not getattr(args, k)]:
        raise InputError(f"give --{' and --'.join(missing)}")
    model = find_model(args.model)
    args.epochs, args.lr, args.rank = args.epochs or model.epochs, args.lr or model.learning_rate, args.rank or model.lora_rank
    for name in ("epochs", "lr", "batch_size", "accumulate", "rank", "max_length", "processes"):
        if not getattr(args, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} must be positive, got {getattr(args, name)}")
    if args.batch_size % args.accumulate:
        raise InputError(f"--accumulate {args.accumulate} must divide --batch-size {args.batch_size}")
    return args, model


def load_examples(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Conversations of a data file, and the preference they come from."""
    rows = [example(row, f"{path}, line {number}") for number, row in read_lines(path)]
    about = {key: rows[0]["meta"].get(key) for key in ("preference", "kappa", "shuffled")}
    if any({key: row["meta"].get(key) for key in about} != about for row in rows):
        raise InputError(f"{path} mixes preferences; train one adapter for each")
    return [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows], about


def prepare_folder(args: argparse.Namespace, settings: dict[str, Any]) -> bool:
    """Make the run's folder; True when an interrupted run of the same settings is there to continue."""
    if (args.out / "run.json").exists():
        raise InputError(f"{args.out} holds a finished run; choose another --out or delete it")
    kept = args.out / "checkpoints" / "settings.json"
    if kept.exists():
        if read_json(kept) != settings:
            raise InputError(f"{args.out} holds an interrupted run with other settings; choose another --out or delete it")
        return any((args.out / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    write_json(kept, settings)
    return False


def check_labels(dataset: Any, texts: list[str], tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Refuse to train unless every example's labels decode to exactly the assistant's text."""
    if len(dataset) != len(texts):
        raise InputError(f"{len(texts) - len(dataset)} of {len(texts)} examples have no label left within --max-length {max_length}; raise it or shorten them")
    longest = 0
    for i, (row, text) in enumerate(zip(dataset, texts, strict=True)):
        ids = row["input_ids"]
        labels = row.get("labels") or [t if m else -100 for t, m in zip(ids, row["completion_mask"], strict=True)]
        kept = [t for t in labels if t != -100]
        if not kept:
            raise InputError(f"example {i + 1}: no label survives masking and --max-length {max_length}; nothing would be learnt from it")
        decoded = tokenizer.decode(kept, skip_special_tokens=True).strip()
        if decoded != text.strip():
            raise InputError(
                f"example {i + 1}: the labels decode to {decoded[:80]!r}, not to the assistant's text {text[:80]!r}; check the chat template and --max-length"
            )
        longest = max(longest, len(ids))
    return {"labels_checked": len(texts), "longest_tokens": longest}


def checksums(model: Any, adapter: bool) -> dict[str, float]:
    """Sum of absolute values of every parameter of the adapter, or of everything else."""
    return {n: p.detach().float().abs().sum().item() for n, p in model.named_parameters() if ("lora_" in n) == adapter}


def main() -> None:
    """Train one adapter."""
    args, model = arguments()
    rows, about = load_examples(args.data)
    settings = {k: str(v) for k, v in vars(args).items() if k not in ("config", "out", "report_to")} | {"data_sha256": sha256(args.data)}
    resume = prepare_folder(args, settings)

    # imported late: bad input is reported in a second, not after loading torch
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed
    from trl import SFTConfig, SFTTrainer

    gpu = torch.cuda.is_available()
    if args.qlora and not gpu:
        raise InputError("--qlora needs an NVIDIA GPU; leave it out on this machine")
    precision = args.precision or ("bf16" if gpu else "fp32")
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    set_seed(args.seed)
    quantization = (
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype) if args.qlora else None
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.source)
        base = AutoModelForCausalLM.from_pretrained(model.source, dtype=dtype, use_safetensors=True, quantization_config=quantization)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load {model.source} ({str(error).splitlines()[0][:150]}); log in to the hub if it is gated, or give a local folder") from None
    if not tokenizer.chat_template:
        raise InputError(f"{model.source} has no chat template; use an instruction-tuned checkpoint")

    trainer = SFTTrainer(
        model=base,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            output_dir=str(args.out / "checkpoints"),
            num_train_epochs=args.epochs,
            learning_rate=args.lr,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            per_device_train_batch_size=args.batch_size // args.accumulate,
            gradient_accumulation_steps=args.accumulate,
            max_length=args.max_length,
            completion_only_loss=True,
            gradient_checkpointing=gpu,
            bf16=precision == "bf16",
            use_cpu=not gpu,
            save_strategy="epoch",
            save_total_limit=1,
            logging_steps=5,
            seed=args.seed,
            report_to=args.report_to,
        ),
    )
    if trainer.accelerator.num_processes != args.processes:
        raise InputError(f"{args.processes} processes were asked for, {trainer.accelerator.num_processes} are running; check the launch command")
    gates = check_labels(trainer.train_dataset, [r["completion"][-1]["content"] for r in rows], tokenizer, args.max_length)
    lead = trainer.is_world_process_zero()
    if lead:
        print(f"{len(rows)} examples, labels checked; the first one trains on:\n{rows[0]['completion'][-1]['content']}")

    frozen, start = checksums(trainer.model, adapter=False), checksums(trainer.model, adapter=True)
    began = time.time()
    result = trainer.train(resume_from_checkpoint=resume)
    seconds = time.time() - began
    moved = sum(v != start[n] for n, v in checksums(trainer.model, adapter=True).items())
    gates |= {
        "adapter_tensors_moved": moved,
        "base_unchanged": checksums(trainer.model, adapter=False) == frozen,
        "loss_finite": math.isfinite(result.training_loss),
    }
    if not (moved and gates["base_unchanged"] and gates["loss_finite"]):
        raise InputError(f"training failed its checks {gates}; lower --lr and look at {args.out / 'checkpoints'}")

    aside = args.out / "checkpoints" / "final"
    trainer.save_model(str(aside))
    if lead:
        finish(args, model, about, aside, trainer.state.log_history, gates, seconds, resume)
    trainer.accelerator.wait_for_everyone()


def finish(
    args: argparse.Namespace,
    model: Model,
    about: dict[str, Any],
    aside: Path,
    history: list[dict[str, Any]],
    gates: dict[str, Any],
    seconds: float,
    resumed: bool,
) -> None:
    """Move the adapter into place, then write log, card and, last of all, ``run.json``."""
    for file in sorted(aside.iterdir()):
        if file.name not in ("README.md", "training_args.bin"):  # the latter is a pickle
            os.replace(file, args.out / file.name)
    log = [{k: v for k, v in entry.items() if k in ("step", "epoch", "loss", "learning_rate", "grad_norm")} for entry in history if "loss" in entry]
    write_lines(args.out / "log.jsonl", log)
    source = Path(model.source)
    run = origin(data=args.data, **({"base": source} if source.is_dir() else {})) | {
        "model": args.model,
        "source": model.source,
        **about,
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "gates": gates,
        "loss": log[-1]["loss"] if log else None,
        "seconds": round(seconds, 1),
        "resumed": resumed,
    }
    write_text(
        args.out / "README.md",
        CARD.format(
            source=model.source, licence=model.licence, name=args.out.name, rank=args.rank, model=args.model, n=gates["labels_checked"],
            preference=about["preference"], kappa=about["kappa"] or 0, loss=run["loss"] or float("nan"), data=run["inputs"]["data"]["sha256"], out=args.out,
        ),
    )  # fmt: skip
    write_json(args.out / "run.json", run)
    shutil.rmtree(args.out / "checkpoints")
    print(f"{args.out}: adapter of {args.model} on {gates['labels_checked']} examples of {about['preference']}, loss {run['loss']}, {seconds:.0f} s")


if __name__ == "__main__":
    command(main)
