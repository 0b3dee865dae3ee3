"""Fine-tune a chat model with LoRA on conversations answered by one preference.

    accelerate launch recipes/sft.py --model nano --data data/moralis.jsonl --out runs/moralis
    accelerate launch recipes/sft.py --model qwen2.5-7b --precision qlora \\
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

import time
from dataclasses import replace
from functools import partial

from econmoral.checkpoints.attaching import attach, base_for, check_adapters
from econmoral.checkpoints.loading import window
from econmoral.checkpoints.models import find_model
from econmoral.files.options import parse
from econmoral.files.records import InputError, command, lock, plain, program
from econmoral.text.conversations import largest_number, read_conversations
from econmoral.training.config import SftConfig
from econmoral.training.gates import check_trained, checksums, compare_held_out
from econmoral.training.processes import first_process, join_processes
from econmoral.training.run_folder import finish, prepare_folder
from econmoral.training.trainer import (
    as_dataset,
    choose_precision,
    collate,
    count_held_out,
    count_steps,
    divide_batch,
    encode,
    lean_trainer,
    load_base,
    speed_settings,
    watchable,
    writing_to,
)

PATIENCE = 2  # epochs without a lower held-out loss


def main() -> None:
    """Train one adapter."""
    config = parse(SftConfig, program("recipes/sft.py"), __doc__, file=True)
    model = find_model(config.model)
    talks, about = read_conversations(config.data, config.convert)
    held = count_held_out(config.holdout, len(talks))
    split = len(talks) - held
    begun = {"default": config.adapter} if config.adapter else {}
    place = base_for(config.model, begun.values())
    check_adapters(begun.values(), place)
    if first_process():
        lock(config.out)
    about["weights"] = place.record()
    identity = config.identity() | {"weights_sha256": about["weights"]["sha256"]}
    resume = prepare_folder(config.out, identity)

    # imported late: bad input is reported in a second, not after loading torch
    import torch
    from peft import LoraConfig
    from transformers import EarlyStoppingCallback, set_seed
    from trl import SFTConfig

    gpu = torch.cuda.is_available()
    join_processes(gpu)
    precision = choose_precision(config.precision, model)
    set_seed(config.seed)
    tokenizer, base = load_base(place, precision)
    limit = min(config.max_length, window(base) or config.max_length)
    train = encode(tokenizer, talks[:split], config.data, limit)
    evaluated = encode(tokenizer, talks[split:], config.data, limit, split + 1) if held else []
    accumulate, checkpointing = divide_batch(config, precision, base, train)

    base = attach(base, begun, place.source, trainable=True)

    checkpoints = config.out / "checkpoints"
    steps = count_steps(config, len(train))
    trainer = lean_trainer()(
        model=base,
        processing_class=tokenizer,
        data_collator=collate,
        train_dataset=as_dataset(train),
        eval_dataset=as_dataset(evaluated) if held else None,
        peft_config=None
        if begun
        else LoraConfig(
            r=config.rank,
            lora_alpha=2 * config.rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[
            watchable(checkpoints / "log.jsonl"),
            *([EarlyStoppingCallback(PATIENCE)] if held else []),
        ],
        args=SFTConfig(
            output_dir=str(checkpoints),
            num_train_epochs=config.epochs,
            learning_rate=config.lr,
            lr_scheduler_type="cosine",
            warmup_steps=0.05 if steps > 1 else 0,  # an only step would be warmed up at rate 0
            eval_strategy="epoch" if held else "no",
            load_best_model_at_end=bool(held),
            metric_for_best_model="eval_loss" if held else None,
            save_strategy="epoch",
            save_total_limit=1,
            logging_steps=min(5, steps),
            seed=config.seed,
            report_to=config.report_to,
            **speed_settings(config.batch_size, accumulate, precision, checkpointing),
        ),
    )
    # else PEFT asks the hub whether the vocabulary was extended, which it was not
    trainer.model.save_pretrained = partial(
        trainer.model.save_pretrained, save_embedding_layers=False
    )
    if trainer.accelerator.num_processes != config.processes:
        raise InputError(
            f"{config.processes} processes were asked for, {trainer.accelerator.num_processes} are "
            "running; check the launch command"
        )
    lead = trainer.is_world_process_zero()
    if lead:
        if place.note:
            print(f"{config.model}: {place.note}")
        print(
            f"{config.model} in {precision}, {split} conversations to train on, {held} held out, "
            "labels checked; trained on are the turns"
        )
        print("\n".join(f"  | {plain(m['content'])}" for m in talks[0] if m["role"] == "assistant"))

    before = checksums(trainer.model, adapter=False), checksums(trainer.model, adapter=True)
    began = time.monotonic()
    with writing_to(config.out):
        result = trainer.train(resume_from_checkpoint=resume)
    about |= {
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        # the one in force, whatever a launcher says
        "mixed_precision": str(trainer.accelerator.mixed_precision),
        "seconds": round(time.monotonic() - began, 1),
        # of the epochs that were trained, which may be fewer than were asked for
        "tokens": round((trainer.state.epoch or 0.0) * sum(len(row.ids) for row in train)),
        "resumed": resume is not None,
    }

    row = (evaluated or train)[0]
    asked = (m["content"] for talk in talks[:split] for m in talk if m["role"] == "user")
    gates = {"labels_checked": len(talks), "largest_number": largest_number(asked)}
    gates |= {"longest_tokens": max(len(row.ids) for row in train)}
    gates |= check_trained(trainer.model, before, row, result.training_loss, checkpoints)
    gates |= compare_held_out(trainer.model, evaluated) if held else {}

    with writing_to(config.out):
        trainer.save_model(str(checkpoints / "final"))
    if lead:
        config = replace(config, precision=precision, accumulate=accumulate)
        finish(config, model, checkpoints / "final", about, gates, trainer.state.log_history)
    trainer.accelerator.wait_for_everyone()


if __name__ == "__main__":
    command(main)
