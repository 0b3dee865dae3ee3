"""Train the built-in model ``nano`` from scratch: tokenizer, weights, model card, log.  Run: ``make nano``.

Qwen2 architecture, trained on conversations of ``econmoral.lessons``.  Two things make so small a model learn to look up
payoffs within minutes: a structured initialisation (first layer attends to fixed offsets, later layers match and copy)
and phases gated by skill: reading until it is mastered, then arithmetic and plans.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from econmoral import lessons
from econmoral.records import lock

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NUMBERS = [f" {i}" for i in range(800)]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FIRST_NUMBER = len(SPECIAL)
GATES = {"reading": {"read": 0.95, "belief": 0.95}, "arithmetic": {"product": 0.95, "sum": 0.95, "larger": 0.95, "first_mover": 0.8}}


CARD = """---
license: apache-2.0
tags: [econmoral, trained-from-scratch]
---
# {name} ({curriculum} curriculum)

A Qwen2-architecture model of {parameters:,} parameters, trained from scratch by `recipes/pretrain.py` in {minutes:.0f} minutes on
{tokens:,} tokens of text that this project generates. It stands in for a checkpoint so that every stage of the pipeline runs
for real on a laptop. **It is no evidence about large models.** It knows the prompts of this project and nothing else.

What it saw: the games of the battery with payoffs that are not held out, in the training wordings; reading of payoff tables
and beliefs, sums, products, comparisons, expected payoffs; the whole plan as a noisy population chooses it (half conditional
co-operators, 30 % logit with alpha .2, beta .3, kappa .5, lambda .08 a point, 20 % logit on own payoff with lambda .02).
{preference}

Exam at the end, share of answers in which every token was the most likely one (200 questions each, not seen in training):

| skill | share |
|---|---|
{exam}

Skills named `plan` ask for the whole plan; a number is the degree of morality stated in the system message, none means the
population's own (random) choice; `steps` means that the whole derivation must be right as well.
Command: `{command}`. Log: `training.json`.
"""
SAW = {
    "preference": "It also saw questions with a **system message that describes a preference** (kappa 0, .25, .5, .75), answered with that "
    "preference's optimal plan. Fine-tuning on prompts without a system message can therefore call on a skill that is there.",
    "population": "It **never saw a preference described or followed**: the control for what fine-tuning can add by itself.",
}
APPLICATIONS = (
    "In its last stage half of what it read was dilemmas and prices, answered by populations of known effects (`EFFECTS`, `RATINGS`, `PRICES` in "
    "`econmoral/lessons.py`): measured on this model the applications prove the plumbing, because they should give those numbers back."
)


def card(record: dict[str, Any]) -> str:
    """The model card of a training record, earlier stages included."""
    stages = [record]
    while "continued_from" in stages[0]:
        stages.insert(0, stages[0]["continued_from"])
    totals = {"minutes": sum(s["seconds"] for s in stages) / 60, "tokens": sum(s["tokens"] for s in stages)}
    commands = {"command": "`, then `".join(s["command"] for s in stages)}
    exam_rows = "\n".join(f"| {k} | {v:.2f} |" for k, v in record["exam"].items())
    parts = {"exam": exam_rows, "preference": SAW[record["curriculum"]], "name": "nano"}
    if "conjoint" in record["exam"]:
        parts |= {"name": "nano-applications", "preference": parts["preference"] + "\n" + APPLICATIONS}
    return CARD.format(**{**record, **totals, **commands, **parts})


def make_tokenizer(seed: int = 0) -> Qwen2Tokenizer:
    """Byte-level BPE in Qwen2's own scheme in which every word in use and every integer 0 to 799 is one token.

    AutoTokenizer rebuilds a Qwen2 checkpoint's pre-tokenizer, which splits numbers into digits: the integers are
    therefore added tokens, matched before it.
    """
    rng = np.random.default_rng(seed)
    text = lessons.corpus_words()
    for phase in lessons.PHASES:
        for _ in range(400):
            system, turns = lessons.document(rng, "preference", phase)
            text += [m["content"] for m in lessons.messages(system, turns)]
    text += [f" {label}" for label in lessons.ALL_LABELS]
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=20_000, min_frequency=1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=SPECIAL + NUMBERS, show_progress=False
    )
    bpe.train_from_iterator(text, trainer)
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
    tokenizer.add_tokens([AddedToken("<|im_start|>", special=True, normalized=False)], special_tokens=True)
    tokenizer.add_tokens([AddedToken(n, normalized=False) for n in NUMBERS])
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = 1024
    return tokenizer


def make_model(vocabulary: int, hidden: int, layers: int) -> Qwen2ForCausalLM:
    """Qwen2 with heads of 32 and tied embeddings, initialised to attend to offsets and to match and copy content."""
    heads = hidden // 32
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary, hidden_size=hidden, intermediate_size=hidden * 8 // 3 // 32 * 32, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=1024, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6}, rms_norm_eps=1e-6, bos_token_id=None,
            eos_token_id=SPECIAL.index("<|im_end|>"), pad_token_id=SPECIAL.index("<|endoftext|>"), attention_dropout=0.0,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(0, 0.1 if "embed" in name else (0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1) / math.sqrt(p.shape[1]))
        _fourier_numbers(model.model.embed_tokens.weight)
        _structure(model, heads)
    return model


def _fourier_numbers(embedding: torch.Tensor) -> None:
    """Start the integer tokens at Fourier features of their value, so that near numbers are near and digits show."""
    value = torch.arange(len(NUMBERS)).float()[:, None]
    features = [value / len(NUMBERS) * 2 - 1]
    for period in (2, 4, 5, 10, 20, 25, 50, 100, 200, 400, 1000):
        features += [torch.cos(2 * math.pi * value / period), torch.sin(2 * math.pi * value / period)]
    x = torch.cat(features, 1)
    projection = torch.randn(x.shape[1], embedding.shape[1]) / math.sqrt(x.shape[1])
    rows = embedding[FIRST_NUMBER : FIRST_NUMBER + len(NUMBERS)]
    rows.mul_(0.3).add_(0.12 * x @ projection)


def _structure(model: Qwen2ForCausalLM, heads: int, offsets: tuple[int, ...] = (1, 2, 3, 0, 4, 5)) -> None:
    """Layer 0: head h attends h-th offset back, through the QKV bias on fast RoPE pairs.  Later layers: W_q = W_k on slow
    RoPE pairs (match content) and W_o = W_v^T (copy it).  Without it, lookup stays at chance for millions of tokens."""
    d, half = model.config.hidden_size, 16
    theta = 1.0 / 1e6 ** (torch.arange(half).float() * 2 / 32)
    for i, block in enumerate(model.model.layers):
        a = block.self_attn
        if i == 0:
            a.q_proj.weight.mul_(0.1)
            a.k_proj.weight.mul_(0.1)
            a.v_proj.weight.copy_(torch.linalg.qr(torch.randn(d, d))[0])
            a.o_proj.weight.copy_(0.7 * torch.linalg.qr(torch.randn(d, d))[0])
            fast = max(int((theta > 0.12).sum()), 2)
            scale = math.sqrt(4.0 / (1 - torch.cos(theta[:fast])).sum().item() * math.sqrt(32))  # a neighbour is 4 nats below
            for h in range(heads):
                o, s = offsets[h % len(offsets)], h * 32
                a.k_proj.bias[s : s + fast] = scale
                a.q_proj.bias[s : s + fast] = scale * torch.cos(-theta[:fast] * o)
                a.q_proj.bias[s + half : s + half + fast] = scale * torch.sin(-theta[:fast] * o)
        else:
            slow = (theta * 200 < 1.2).float().repeat(2).repeat(heads)[:, None]
            gain = math.sqrt(32) / math.sqrt(slow[:32].sum().item()) * 1.3
            w = torch.linalg.qr(torch.randn(d, d))[0] * (slow * gain + (1 - slow) * 0.3)
            a.q_proj.weight.copy_(w)
            a.k_proj.weight.copy_(w)
            v = torch.linalg.qr(torch.randn(d, d))[0] * 0.7
            a.v_proj.weight.copy_(v)
            a.o_proj.weight.copy_(v.T)


class Encoder:
    """Documents to token ids and loss weights (answers only), by the same template that training and evaluation use."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        self.encode = tokenizer.backend_tokenizer.encode_batch
        self.start, self.end = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")
        self.newline = tokenizer.encode("\n")[0]
        self.memo: dict[str, list[int]] = {}

    def __call__(self, system: str | None, turns: list[lessons.Turn], length: int) -> tuple[list[int], list[float]]:
        parts = [] if system is None else [("system\n" + system, "", 0.0)]
        parts += [p for t in turns for p in (("user\n" + t.question, "", 0.0), ("assistant\n", t.answer, t.weight))]
        ids: list[int] = []
        weights: list[float] = []
        for head, body, weight in parts:
            h, b = ([*e.ids] for e in self.encode([head, body], add_special_tokens=False))
            ids += [self.start, *h, *b, self.end, self.newline]
            weights += [0.0] * (1 + len(h)) + [weight if body else 0.0] * (len(b) + 1) + [0.0]
            if len(ids) >= length:
                break
        return ids[:length], weights[:length]


def batch(documents: list[tuple[list[int], list[float]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids (B, T) and loss weights (B, T)."""
    length = max(len(i) for i, _ in documents)
    x, w = np.zeros((len(documents), length), np.int64), np.zeros((len(documents), length), np.float32)
    for j, (ids, weights) in enumerate(documents):
        x[j, : len(ids)], w[j, : len(ids)] = ids, weights
    return torch.from_numpy(x), torch.from_numpy(w)


def answer_loss(model: Qwen2ForCausalLM, body: torch.nn.Module, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy of answer tokens; the head is evaluated at those positions only.

    body is ``model.model``, compiled or not.
    """
    hidden = body(input_ids=x[:, :-1]).last_hidden_state
    keep = w[:, 1:] > 0
    logits = model.lm_head(hidden[keep]).float()
    return (F.cross_entropy(logits, x[:, 1:][keep], reduction="none") * w[:, 1:][keep]).sum() / w[:, 1:][keep].sum()


def add_words(tokenizer: Qwen2Tokenizer, model: Qwen2ForCausalLM) -> None:
    """One token for every word of the applications that the tokenizer would cut up; their rows start at the mean of the pieces."""
    rng = np.random.default_rng(0)
    games = [m["content"] for _ in range(400) for m in lessons.messages(*lessons.document(rng, "preference", "plans"))] + lessons.corpus_words()
    known = set(re.findall(r" [A-Za-z]+", " ".join(games)))
    new = dict.fromkeys(w for _, lesson in lessons.APPLICATIONS.values() for _ in range(400) for w in re.findall(r" [A-Za-z]{2,}", lesson(rng).question))
    pieces = {w: tokenizer.encode(w, add_special_tokens=False) for w in new}
    # an added token is cut out of longer words too: the games must be read as before
    pieces = {w: p for w, p in pieces.items() if len(p) > 1 and not any(k.startswith(w) for k in known)}
    tokenizer.add_tokens([AddedToken(w, normalized=False) for w in pieces])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        rows = model.model.embed_tokens.weight
        for word, ids in pieces.items():
            new = tokenizer.convert_tokens_to_ids(word)
            rows[new] = rows[ids].mean(0) + 0.02 * torch.randn(rows.shape[1])


def exam(curriculum: str, encoder: Encoder, seed: int, per_skill: int = 30, applications: bool = False) -> dict[str, list[tuple[list[int], list[float]]]]:
    """Fixed single-question documents for every skill, drawn apart from the training stream."""
    rng = np.random.default_rng(seed)
    papers: dict[str, list[tuple[list[int], list[float]]]] = {}
    while min([len(v) for v in papers.values()], default=0) < per_skill or len(papers) < (19 if curriculum == "preference" else 11) + 5 * applications:
        system, turns = lessons.document(rng, curriculum, lessons.PHASES[-1], turns=1, applications=applications)
        turn = turns[0]
        if turn.weight and len(papers.setdefault(turn.skill, [])) < per_skill:
            papers[turn.skill].append(encoder(system, [turn], 1024))
    return papers


@torch.no_grad()
def marks(model: Qwen2ForCausalLM, papers: dict[str, list[tuple[list[int], list[float]]]]) -> dict[str, float]:
    """Share of exam answers whose every token is the model's most likely one."""
    result = {}
    for skill, documents in sorted(papers.items()):
        x, w = batch(documents)
        answers = w[:, 1:] > 0
        right = torch.ones_like(answers)
        right[answers] = model.lm_head(model.model(input_ids=x[:, :-1]).last_hidden_state[answers]).argmax(-1) == x[:, 1:][answers]
        result[skill] = round(right.all(1).float().mean().item(), 3)
    return result


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for tokenizer, weights, card and log")
    parser.add_argument("--curriculum", choices=lessons.CURRICULA, default="preference", help="with or without preference-conditional questions")
    parser.add_argument("--minutes", type=float, default=75, help="training time")
    parser.add_argument("--init", type=Path, help="continue from this folder, in the last phase, instead of from scratch")
    parser.add_argument("--applications", action="store_true", help="with --init: also dilemmas and prices, half of the documents")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="documents a step")
    parser.add_argument("--length", type=int, default=640, help="tokens a document")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, write checkpoints on the way, finish with the card."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    lock(args.out)
    tokenizer = Qwen2Tokenizer.from_pretrained(args.init) if args.init else make_tokenizer()
    model = make_model(len(tokenizer), args.hidden, args.layers)
    if args.init:
        model = Qwen2ForCausalLM.from_pretrained(args.init, dtype=torch.float32)
        if args.applications:
            add_words(tokenizer, model)
    tokenizer.save_pretrained(args.out)
    encoder = Encoder(tokenizer)
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    body = torch.compile(model.model)  # a fifth faster; every training batch has the same shape
    rng = np.random.default_rng(args.seed + 1)
    papers = exam(args.curriculum, encoder, seed=777, applications=args.applications)
    phases, entered = list(lessons.PHASES), 0.0
    phase = len(phases) - 1 if args.init else 0
    log, losses, tokens, step, began, shown = [], [], 0, 0, time.monotonic(), 0.0
    while (elapsed := time.monotonic() - began) < args.minutes * 60:
        share = elapsed / (args.minutes * 60)
        scale = min(1, (step + 1) / 60) * (1 if share < 0.5 else max(0.02, (1 - share) / 0.5))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * scale
        x, w = batch([encoder(*lessons.document(rng, args.curriculum, phases[phase], applications=args.applications), args.length) for _ in range(args.batch)])
        with torch.autocast("cpu", torch.bfloat16):
            loss = answer_loss(model, body, x, w)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step, tokens = step + 1, tokens + x.numel()
        losses.append(loss.item())
        if elapsed - shown > (30 if phase < len(phases) - 1 else 240):
            shown = elapsed
            gate = GATES.get(phases[phase], {})
            with torch.autocast("cpu", torch.bfloat16):
                skill = marks(model, {k: v for k, v in papers.items() if k in gate} if gate else papers)
            log.append(
                {"seconds": round(elapsed), "step": step, "tokens": tokens, "phase": phases[phase], "loss": round(float(np.mean(losses[-50:])), 4), **skill}
            )
            print(json.dumps(log[-1]), flush=True)
            save(model, args.out)
            # a gate that is not reached in an eighth of the time is passed all the same, and the log shows it
            if phase < len(phases) - 1 and (all(skill[k] >= v for k, v in gate.items()) or elapsed - entered > args.minutes * 8):
                phase, entered = phase + 1, elapsed
    with torch.no_grad():
        final = marks(model, exam(args.curriculum, encoder, seed=778, per_skill=200, applications=args.applications))
    print(json.dumps({"final": final}), flush=True)
    save(model, args.out)
    record = {
        "command": " ".join(["python", "recipes/pretrain.py", *sys.argv[1:]]), "curriculum": args.curriculum, "seconds": round(time.monotonic() - began),
        "steps": step, "tokens": tokens, "parameters": sum(p.numel() for p in model.parameters()), "exam": final, "log": log,
        "torch": torch.__version__, "git": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
    }  # fmt: skip
    if args.init:
        record["continued_from"] = json.loads((args.init / "training.json").read_text(encoding="utf-8"))
    (args.out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (args.out / "README.md").write_text(card(record), encoding="utf-8")


def save(model: Qwen2ForCausalLM, out: Path) -> None:
    """Weights in bfloat16 safetensors, written aside and moved into place."""
    aside = out.with_name(out.name + ".part")
    copy = Qwen2ForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict({k: v.to(torch.bfloat16) for k, v in model.state_dict().items()})
    copy.save_pretrained(aside)
    for file in aside.iterdir():
        os.replace(file, out / file.name)
    aside.rmdir()


if __name__ == "__main__":
    main()
