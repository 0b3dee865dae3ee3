"""Train the built-in model ``nano`` from scratch: tokenizer, weights, model card, log.

Run: ``make nano``.

Qwen2 architecture, trained on conversations of ``lessons.py``.  Two things make so small a
model learn to look up payoffs within minutes: a structured initialisation (the first layers attend
to fixed offsets and to the last label or number, later ones match and copy) and phases gated by
skill: reading until it is mastered, then steps of derivations, then decisions.  An interrupted run
continues where it saved last when the same command is given again.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
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

from econmoral.files.options import Config, option, parse
from econmoral.files.records import lock
from econmoral.instruments.games import LABELS

from . import lessons

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LARGEST = 1800  # whole numbers below are one token, after a space and without one
PHRASES = 3000  # at most, of the most frequent
NUMBERS = [f"{before}{i}" for before in (" ", "") for i in range(LARGEST)]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\\n' }}{% endif %}"
)
FIRST_NUMBER = len(SPECIAL)
LENGTH = 2048  # tokens that a conversation may have
HEAD = 32  # size of an attention head
GATES = {
    "reading": {"read": 0.95, "belief": 0.95, "control": 0.95},
    "steps": {"table": 0.95, "product": 0.95, "both": 0.95, "drill_sum": 0.7, "own_line": 0.8},
}
PATIENCE = 600  # steps after which a phase ends whatever was learnt
Papers = dict[str, list[tuple[list[int], list[float]]]]  # skill -> tokens and weights of documents


CARD = """---
license: apache-2.0
tags: [econmoral, trained-from-scratch]
---
# {name} ({curriculum} curriculum)

A Qwen2-architecture model of {parameters:,} parameters, trained from scratch by
`recipes/nano/pretrain.py` in {minutes:.0f} minutes on {tokens:,} tokens of text that this project
generates. It stands in for a checkpoint so that every stage of the pipeline runs for real on a
laptop. **It is no evidence about large models.** It knows the pages of this project and nothing
else.

Every word, every whole number below {numbers} and every fixed phrase of the pages is one token, in
held-out wordings too, whose phrases it has never met: a measurement in those wordings shows what a
reader does who recognises labels, numbers and their order, and nothing else.

What it saw, with payoffs that are not held out and in the training wordings:
- games: control questions, what the points and beliefs on the page are, products, sums,
  comparisons, single lines of derivations; whole conversations, one decision a turn, as a noisy
  population answers them: half conditional co-operators, 30 % logit with alpha .2, beta .3, kappa
  .5 and lambda .08, 20 % logit on own payoff with lambda .02 (lambda per unit of the payoff tables,
  a fifth of a point on the page). Asked to work it out first, this population looks at its own
  points and then does what it does; the letters always follow the last line of what is written
  before them.
- allocations (60 % an altruist, 40 % selfish, both logit with lambda .08 a point), splits,
  contributions, matrix games, budgets, and half of the everyday situations; amounts are drawn
  around the means in `MEANS`, the considerate option has {cooperative:.0%}.
- dilemmas and prices, answered by populations of known effects (`EFFECTS`, `RATINGS`, `PRICES` in
  `recipes/nano/lessons.py`): measured on this model the applications prove the plumbing, because
  they should give those numbers back.

{preference}

Exam at the end, share of answers in which every token was the most likely one (100 questions each,
not seen in training):

| skill | share |
|---|---|
{exam}

`..._derivation` means that the whole derivation must be right, word for word; `..._letters` that a
letter follows the derivation that stands before it; `..._direct` is an answer at once. What a
population answers is random, so its shares are low by construction: `population_...`,
`allocation_direct`, `menu_...`, `belief_own`, `conjoint`, `rating`, `price`.
Command: `{command}`. Log: `training.json`.
"""
SAW = {
    "preference": (
        "It also saw conversations with a **system message that describes a preference** ({told}; "
        "`Target.describe`), answered with that preference's derivation and optimum. Fine-tuning "
        "on pages without a system message can therefore call on a skill that is there."
    ),
    "population": (
        "It **never saw a preference described or followed**: the control for what fine-tuning "
        "can add by itself."
    ),
}


def card(record: dict[str, Any]) -> str:
    """The model card of a training record."""
    told = ", ".join(target.label for target in lessons.TOLD)
    parts = {
        "name": "nano",
        "minutes": record["seconds"] / 60,
        "numbers": LARGEST,
        "cooperative": lessons.COOPERATIVE_SHARE,
        "exam": "\n".join(f"| {k} | {v:.2f} |" for k, v in record["exam"].items()),
        "preference": SAW[record["curriculum"]].format(told=told),
    }
    return CARD.format(**{**record, **parts})


# labels, numbers, line breaks
VARYING = re.compile(rf" ?(?<![\w'])[{''.join(LABELS)}](?![\w'])| ?-?\d+(?:\.\d+)?|\n")


def phrases(texts: list[str]) -> list[str]:
    """What stands between labels, numbers and line breaks,
    of at least two words and met more than once, most frequent first.
    """
    found = Counter(part for text in texts for part in VARYING.split(text))
    return [
        part
        for part, n in found.most_common(PHRASES)
        if n > 1 and " " in part.strip() and part == part.rstrip()
    ]


def make_tokenizer(seed: int = 0) -> Qwen2Tokenizer:
    """Byte-level BPE in Qwen2's own scheme in which every word, every whole number and every fixed
    phrase of the pages, in training and held-out wordings alike, is one token.

    AutoTokenizer rebuilds a Qwen2 checkpoint's pre-tokenizer, which splits numbers into digits:
    numbers and phrases are therefore added tokens, matched before it.
    """
    rng = np.random.default_rng(seed)
    text = lessons.pages(rng)
    for phase in lessons.PHASES:
        for _ in range(100):
            text += [
                m["content"]
                for lesson in lessons.document(rng, "preference", phase)
                for m in lesson.messages()
            ]
    fixed = phrases(text)
    text += [f"{before}{label}" for label in LABELS for before in ("", " ")]
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=20_000,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL + NUMBERS,
        show_progress=False,
    )
    bpe.train_from_iterator(text, trainer)
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(m) for m in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.add_tokens(
        [AddedToken("<|im_start|>", special=True, normalized=False)], special_tokens=True
    )
    tokenizer.add_tokens(
        [
            AddedToken(n, normalized=False)
            for n in [*NUMBERS, *fixed, "system\n", "user\n", "assistant\n"]
        ]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = LENGTH
    return tokenizer


def make_model(tokenizer: Qwen2Tokenizer, hidden: int, layers: int) -> Qwen2ForCausalLM:
    """Qwen2 with heads of 32 and tied embeddings, initialised to attend to offsets
    and to match and copy content.
    """
    heads = hidden // HEAD
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            rms_norm_eps=1e-6,
            bos_token_id=None,
            eos_token_id=SPECIAL.index("<|im_end|>"),
            pad_token_id=SPECIAL.index("<|endoftext|>"),
            attention_dropout=0.0,
        )
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(
                    0,
                    0.1
                    if "embed" in name
                    else (0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1)
                    / math.sqrt(p.shape[1]),
                )
        kinds = _embeddings(tokenizer, model.model.embed_tokens.weight)
        _structure(model, heads, kinds)
    return model


def _embeddings(tokenizer: Qwen2Tokenizer, embedding: torch.Tensor) -> torch.Tensor:
    """Start a word and the same word after a space, or with a capital, near each other; numbers at
    Fourier features of their value, so that near numbers are near and digits show; labels and
    numbers with a direction of their kind.

    Returns (2, hidden) the unit directions of labels and of numbers.
    """
    hidden = embedding.shape[1]
    texts = [tokenizer.decode([i]) for i in range(len(embedding))]
    same: dict[str, torch.Tensor] = {}
    for i, text in enumerate(texts):
        word = text.strip()
        if not word or i < FIRST_NUMBER + len(NUMBERS):
            continue
        base = same.setdefault(word if len(word) == 1 else word.lower(), 0.1 * torch.randn(hidden))
        embedding[i].mul_(0.3).add_(base)
    value = torch.tensor([float(n) for n in NUMBERS])[:, None]
    features = [value / LARGEST * 2 - 1]
    for period in (2, 4, 5, 10, 20, 25, 50, 100, 200, 400, 1000, 2000):
        features += [
            torch.cos(2 * math.pi * value / period),
            torch.sin(2 * math.pi * value / period),
        ]
    x = torch.cat(features, 1)
    projection = torch.randn(x.shape[1], hidden) / math.sqrt(x.shape[1])
    rows = embedding[FIRST_NUMBER : FIRST_NUMBER + len(NUMBERS)]
    rows.mul_(0.3).add_(0.12 * x @ projection)
    kinds = torch.linalg.qr(torch.randn(hidden, 2))[0].T
    embedding.sub_(embedding @ kinds.T @ kinds)
    rows.add_(1.1 * kinds[1])
    embedding[[i for i, text in enumerate(texts) if text.strip() in LABELS]] += 1.1 * kinds[0]
    return kinds


OFFSETS = (1, 2, 3, 4, 5, 6)
# (0 labels, 1 numbers; distance around which it is sought)
LAST = ((0, 0), (0, 3), (1, 0), (1, 2), (0, 6), (1, 4))


def _structure(model: Qwen2ForCausalLM, heads: int, kinds: torch.Tensor) -> None:
    """Layer 0: head h attends h-th offset back, through the QKV bias on fast RoPE pairs.  Layer 1:
    heads attend to the last label or number, by its kind's direction and a score that falls with
    distance.  Later layers: W_q = W_k on slow RoPE pairs (match content) and W_o = W_v^T (copy
    it).  Without it, lookup stays at chance for millions of tokens.
    """
    d, half = model.config.hidden_size, HEAD // 2
    theta = 1.0 / 1e6 ** (torch.arange(half).float() * 2 / HEAD)
    root = math.sqrt(HEAD)
    for i, block in enumerate(model.model.layers):
        a = block.self_attn
        if i < 2:
            a.q_proj.weight.mul_(0.1)
            a.k_proj.weight.mul_(0.1)
            a.v_proj.weight.copy_(torch.linalg.qr(torch.randn(d, d))[0])
            out = 0.25 * torch.linalg.qr(torch.randn(d, d))[0]
            a.o_proj.weight.copy_(out - kinds.T @ kinds @ out)  # the kinds of tokens stay legible
        if i == 0:
            fast = max(int((theta > 0.12).sum()), 2)
            # a neighbour is 4 nats below
            scale = math.sqrt(4.0 / (1 - torch.cos(theta[:fast])).sum().item() * root)
            for h in range(heads):
                o, s = OFFSETS[h % len(OFFSETS)], h * HEAD
                a.k_proj.bias[s : s + fast] = scale
                a.q_proj.bias[s : s + fast] = scale * torch.cos(-theta[:fast] * o)
                a.q_proj.bias[s + half : s + half + fast] = scale * torch.sin(-theta[:fast] * o)
        elif i == 1:
            for h in range(heads):
                (kind, o), s = LAST[h % len(LAST)], h * HEAD
                # falls with distance
                for pair, nats in ((4, 10.0), (5, 20.0), (6, 40.0), (7, 40.0)):
                    a.k_proj.bias[s + pair] = math.sqrt(nats * root)
                    a.q_proj.bias[s + half + pair] = math.sqrt(nats * root)
                if o:  # and is highest around a distance
                    for pair, nats in ((2, 6.0), (3, 25.0)):
                        a.k_proj.bias[s + pair] = math.sqrt(nats * root)
                        a.q_proj.bias[s + pair] = math.sqrt(nats * root) * math.cos(
                            -theta[pair] * o
                        )
                        a.q_proj.bias[s + half + pair] = math.sqrt(nats * root) * math.sin(
                            -theta[pair] * o
                        )
                a.k_proj.weight[s + half - 1] = kinds[kind]
                a.q_proj.bias[s + half - 1] = 8.0 * root
        else:
            slow = (theta * 200 < 1.2).float().repeat(2).repeat(heads)[:, None]
            gain = math.sqrt(HEAD) / math.sqrt(slow[:HEAD].sum().item()) * 1.3
            w = torch.linalg.qr(torch.randn(d, d))[0] * (slow * gain + (1 - slow) * 0.3)
            a.q_proj.weight.copy_(w)
            a.k_proj.weight.copy_(w)
            v = torch.linalg.qr(torch.randn(d, d))[0] * 0.7
            a.v_proj.weight.copy_(v)
            a.o_proj.weight.copy_(v.T)


class Encoder:
    """Documents to token ids and loss weights (answers only),
    by the same template that training and evaluation use.
    """

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        self.encode = tokenizer.backend_tokenizer.encode_batch
        self.start, self.end = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")
        self.newline = tokenizer.encode("\n")[0]

    def __call__(
        self, document: list[lessons.Lesson], length: int
    ) -> tuple[list[int], list[float]]:
        parts: list[tuple[str, str]] = []
        for lesson in document:
            parts += [] if lesson.system is None else [("system\n" + lesson.system, "")]
            parts += [
                p
                for t in lesson.turns
                for p in (("user\n" + t.question, ""), ("assistant\n", t.answer))
            ]
        ids: list[int] = []
        weights: list[float] = []
        for head, body in parts:
            h, b = (e.ids for e in self.encode([head, body], add_special_tokens=False))
            ids += [self.start, *h, *b, self.end, self.newline]
            weights += [0.0] * (1 + len(h)) + [1.0 if body else 0.0] * (len(b) + 1) + [0.0]
            if len(ids) >= length:
                break
        return ids[:length], weights[:length]


def batch(documents: list[tuple[list[int], list[float]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids (B, T) and loss weights (B, T)."""
    length = max(len(i) for i, _ in documents)
    x, w = (
        np.zeros((len(documents), length), np.int64),
        np.zeros((len(documents), length), np.float32),
    )
    for j, (ids, weights) in enumerate(documents):
        x[j, : len(ids)], w[j, : len(ids)] = ids, weights
    return torch.from_numpy(x), torch.from_numpy(w)


def answer_loss(
    model: Qwen2ForCausalLM, body: torch.nn.Module, x: torch.Tensor, w: torch.Tensor
) -> torch.Tensor:
    """Weighted mean cross-entropy of answer tokens; the head is evaluated at those positions only.

    body is ``model.model``, compiled or not.
    """
    hidden = body(input_ids=x[:, :-1]).last_hidden_state
    keep = w[:, 1:] > 0
    logits = model.lm_head(hidden[keep]).float()
    return (F.cross_entropy(logits, x[:, 1:][keep], reduction="none") * w[:, 1:][keep]).sum() / w[
        :, 1:
    ][keep].sum()


def exam(curriculum: str, encoder: Encoder, seed: int, per_skill: int = 30) -> Papers:
    """Fixed documents for every skill, drawn apart from the training stream.

    Only the last answer is marked.
    """
    rng = np.random.default_rng(seed)
    papers: Papers = {}
    for _ in range(100 * per_skill):
        for lesson in lessons.document(
            rng, curriculum, "decisions" if rng.random() < 0.8 else "steps", turns=4
        ):
            for i, turn in enumerate(lesson.turns):
                first = i == 0 or not turn.skill.startswith("drill")
                if first and len(papers.setdefault(turn.skill, [])) < per_skill:
                    ids, weights = encoder(
                        [lessons.Lesson(lesson.system, lesson.turns[: i + 1])], LENGTH
                    )
                    last = max(k for k, w in enumerate(weights) if not w and k < len(weights) - 1)
                    papers[turn.skill].append((ids, [0.0] * (last + 1) + weights[last + 1 :]))
    return {k: v for k, v in papers.items() if len(v) == per_skill}


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not read
def marks(model: Qwen2ForCausalLM, papers: Papers) -> dict[str, float]:
    """Share of exam answers whose every token is the model's most likely one."""
    result = {}
    for skill, documents in sorted(papers.items()):
        x, w = batch(documents)
        answers = w[:, 1:] > 0
        right = torch.ones_like(answers)
        right[answers] = (
            model.lm_head(model.model(input_ids=x[:, :-1]).last_hidden_state[answers]).argmax(-1)
            == x[:, 1:][answers]
        )
        result[skill] = round(right.all(1).float().mean().item(), 3)
    return result


@dataclass(frozen=True)
class PretrainConfig(Config):
    """Options of ``recipes/nano/pretrain.py``."""

    out: Path = option(None, "folder for tokenizer, weights, card and log", required=True)
    curriculum: str = option(
        "preference", "with or without preference-conditional questions", choices=lessons.CURRICULA
    )
    steps: int = option(6000, "optimisation steps")
    hidden: int = option(128, "")
    layers: int = option(6, "")
    batch: int = option(6, "documents a step")
    length: int = option(448, "tokens a document")
    lr: float = option(3e-3, "")
    threads: int = option(1, "")
    seed: int = option(0, "")


class Course:
    """A training: the model, what moves it, how far it is.

    phase : number of the present phase, ``entered`` at that step.  seconds : spent before this
    process began.
    """

    KEPT = ("phase", "entered", "log", "tokens", "step", "seconds")

    def __init__(self, config: PretrainConfig, model: Qwen2ForCausalLM) -> None:
        self.config, self.model = config, model
        matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
        rest = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
        muon: dict[str, Any] = {"weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"}
        self.optimizers = [
            torch.optim.Muon(matrices, lr=config.lr, momentum=0.95, **muon),
            torch.optim.AdamW(rest, lr=config.lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        # a fifth faster; every training batch has the same shape
        self.body = torch.compile(model.model)
        self.rng = np.random.default_rng(config.seed + 1)
        self.phases = list(lessons.PHASES)
        self.phase, self.entered, self.tokens, self.step = 0, 0, 0, 0
        self.log: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.seconds, self.began = 0.0, time.monotonic()
        self.file = config.out / "state.pt"

    @property
    def spent(self) -> float:
        """Seconds, those before an interruption too."""
        return self.seconds + time.monotonic() - self.began

    def resume(self) -> None:
        """Go on where it was saved last, if it was."""
        if not self.file.exists():
            return
        state = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.rng.bit_generator.state = state["rng"]
        for name in self.KEPT:
            setattr(self, name, state[name])

    def keep(self) -> None:
        """Write the model, and what ``resume`` needs."""
        save(self.model, self.config.out)
        state = {name: getattr(self, name) for name in self.KEPT} | {
            "seconds": self.spent,
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "rng": self.rng.bit_generator.state,
        }
        aside = self.file.with_suffix(".part")
        torch.save(state, aside)
        os.replace(aside, self.file)

    def advance(self, encoder: Encoder) -> None:
        """One step: the rate rises over 60 of them and falls over the second half."""
        share = self.step / self.config.steps
        scale = min(1, (self.step + 1) / 60) * (1 if share < 0.5 else max(0.02, (1 - share) / 0.5))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * scale
        kind, phase = self.config.curriculum, self.phases[self.phase]
        x, w = batch(
            [
                encoder(lessons.document(self.rng, kind, phase), self.config.length)
                for _ in range(self.config.batch)
            ]
        )
        with torch.autocast("cpu", torch.bfloat16):
            loss = answer_loss(self.model, self.body, x, w)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step, self.tokens = self.step + 1, self.tokens + x.numel()
        self.losses.append(loss.item())

    @property
    def last(self) -> bool:
        """Whether this is the last phase."""
        return self.phase == len(self.phases) - 1

    def look(self, papers: Papers) -> None:
        """Examine, write the log, and go to the next phase where this one's gate is reached."""
        gate = GATES.get(self.phases[self.phase], {})
        asked = {k: v for k, v in papers.items() if k in gate} if gate else papers
        with torch.autocast("cpu", torch.bfloat16):
            skill = marks(self.model, asked)
        entry = {
            "seconds": round(self.spent),
            "step": self.step,
            "tokens": self.tokens,
            "phase": self.phases[self.phase],
            "loss": round(float(np.mean(self.losses[-100:])), 4),
        }
        self.log.append({**entry, **skill})
        print(json.dumps(self.log[-1]), flush=True)
        # a gate that is not reached in time is passed all the same, and the log shows it
        reached = all(skill[k] >= v for k, v in gate.items())
        if not self.last and (reached or self.step - self.entered > PATIENCE):
            self.phase, self.entered = self.phase + 1, self.step


def main() -> None:
    """Train, save on the way, finish with the card."""
    config = parse(PretrainConfig, None, __doc__)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    random.seed(config.seed)
    lock(config.out)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, config.hidden, config.layers)
    tokenizer.save_pretrained(config.out)
    encoder = Encoder(tokenizer)
    course = Course(config, model)
    papers = exam(config.curriculum, encoder, seed=777)
    course.resume()
    while course.step < config.steps:
        course.advance(encoder)
        if course.step % (500 if course.last else 100) == 0:
            course.look(papers)
            course.keep()
    with torch.no_grad():
        final = marks(model, exam(config.curriculum, encoder, seed=778, per_skill=100))
    print(json.dumps({"final": final}), flush=True)
    save(model, config.out)
    record = {
        "command": " ".join(["python", "-m", "recipes.nano.pretrain", *sys.argv[1:]]),
        "curriculum": config.curriculum,
        "seconds": round(course.spent),
        "steps": course.step,
        "tokens": course.tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
        "exam": final,
        "log": course.log,
        "torch": torch.__version__,
        "git": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
    }
    (config.out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (config.out / "README.md").write_text(card(record), encoding="utf-8")
    course.file.unlink(missing_ok=True)


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
