"""Engines behind one seam: the tree of a conversation against plain passes and samples.

Endpoints that behave and that do not.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_complains, run
from endpoint import Reply, chat_reply, good, refuses, server
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
)
from twins import make_twin, teach

from econmoral.checkpoints.models import NANO
from econmoral.economics.games import Protocol
from econmoral.files.records import InputError, append_lines, read_lines, read_whole_lines
from econmoral.instruments.games import WORDINGS_TRAIN, Item, converse, draw_layout
from econmoral.text.chat import (
    NOW,
    end_of_turn,
    prompt_hash,
    prompt_text,
    turn_text,
    without_special_tokens,
)
from econmoral.text.conversation import (
    NOTHING,
    Conversation,
    Question,
    Step,
    as_messages,
    forms,
    joint,
)
from eval.engines.base import Condition, Exact, Request, Sampled, ScoredStep, Written, seed_of
from eval.engines.choice import check_precision, choose_engine, vllm_options
from eval.engines.with_endpoint import (
    ROOM_TO_THINK,
    SAMPLING,
    Chat,
    Endpoint,
    Served,
    connect,
    refused_field,
)
from eval.engines.with_transformers import Transformers, Tree

BASE, TUNED = Condition("base"), Condition("tuned", "tuned")
ITEM = Item(Protocol("tg", (80, 50, 30, 20)), (0.5, 0.5))
MENU = (
    Question("K: 5 for you. M: 4 for you. Which do you choose, K or M?", ("K", "M")),
    Question("And now?", ("K", "M")),
)
SHORT = Conversation(
    "You choose twice.", MENU, (Question("How much does K give you?", ("4", "5"), 1),)
)


@pytest.fixture(scope="module")
def engine(adapter: Path) -> Transformers:
    return Transformers("nano", {"tuned": adapter})


@pytest.fixture(scope="module", params=["qwen2", "llama", "qwen3"])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    """The built-in weights behind the templates of real checkpoints."""
    return Transformers(
        str(make_twin(request.param, tmp_path_factory.mktemp("twin") / request.param)), {}
    )


def talk(seed: int = 0, mode: Any = "direct", game: str = "tg", **more: Any) -> Request:
    layout = draw_layout(game, np.random.default_rng(seed), WORDINGS_TRAIN)
    item = Item(Protocol(game, (80, 50, 30, 20)), (0.5,) * (3 if game == "spd" else 2))
    return Request(converse(item, layout, mode, **more), item, layout)


def every_step(conversation: Conversation, derivation: str | None = None) -> list[Step]:
    return [
        *conversation.control_steps(),
        *(s for level in conversation.steps(derivation) for s in level),
    ]


@torch.no_grad()
def naive(engine: Exact, steps: list[ScoredStep], arm: Condition = BASE) -> list[np.ndarray]:
    """From one whole forward pass for every reply and nothing else of the engine."""
    rows, model = [], engine.model  # type: ignore[attr-defined]
    if arm.adapter:
        model.set_adapter(engine.keys[arm.adapter])  # type: ignore[attr-defined]
    with (
        model.disable_adapter()
        if isinstance(model, PeftModel) and not arm.adapter
        else nullcontext()
    ):
        for step in steps:
            row = []
            for several in step.options:
                found = []
                for form in several:
                    ids = torch.tensor([[*step.context, *form]])
                    logits = model(ids, logits_to_keep=len(form) + 1).logits[0]
                    log_p = torch.log_softmax(logits.double(), -1)
                    found.append(sum(log_p[k, token].item() for k, token in enumerate(form)))
                row.append(np.logaddexp.reduce(found))
            rows.append(np.array(row))
    return rows


# -------------------------------------------------------------------------------- the tree, exactly

HISTORY = (("user", "Name a fruit."), ("assistant", "A lemon."))


def test_the_tree_is_what_plain_passes_are(engine: Transformers) -> None:
    groups = [
        [engine.scored(s) for s in every_step(SHORT)],
        [engine.scored(s) for s in every_step(talk(1, game="spd").conversation)],
        [
            engine.scored(s)
            for s in every_step(
                talk(2, "reasoned", system="You are kind.", before=HISTORY).conversation,
                "5 * 8 = 40.\n\n- ",
            )
        ],
    ]
    engine.model.double()  # what is left then is no rounding
    try:
        for arm in (BASE, TUNED):
            for found, group in zip(engine.log_probabilities(groups, arm), groups, strict=True):
                for ours, theirs in zip(found, naive(engine, group, arm), strict=True):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    finally:
        engine.model.float()
    assert not engine.note


def test_the_tree_is_exact_behind_the_templates_of_real_checkpoints(twin: Transformers) -> None:
    """Also where a template changes earlier turns of the assistant: Qwen3 drops what it thought."""
    steps = every_step(talk(3, before=HISTORY).conversation) + every_step(
        talk(4, "reasoned").conversation, "40 is more than 30."
    )
    group = [twin.scored(s) for s in steps]
    (found,) = twin.log_probabilities([group], BASE)
    for ours, theirs in zip(found, naive(twin, group), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    arguments = {"enable_thinking": False, "date_string": "26 Jul 2024"}
    for step, ids in zip(steps, group, strict=True):
        said = twin.tokenizer.apply_chat_template(
            as_messages(step.messages), tokenize=False, add_generation_prompt=True, **arguments
        )
        assert (
            ids.context
            == twin.ids(said)
            == twin.ids(prompt_text(twin.tokenizer, as_messages(step.messages)))
        )
        for option, several in zip(step.options, ids.options, strict=True):
            assert [twin.tokenizer.decode(f) for f in several] == [
                form + end_of_turn(twin.tokenizer) for form in forms(option)
            ]
    assert set(twin.ends_of_turn()) <= set(twin.tokenizer.all_special_ids) | set(
        twin.tokenizer.get_added_vocab().values()
    )
    assert twin.ends_of_turn()[0] == twin.ids(end_of_turn(twin.tokenizer))[0]


def wrong_product(self: Exact, step: Step) -> ScoredStep:
    """A mistake: the page's last words are scored as if the assistant had said them."""
    right = RIGHT_SCORED(self, step)
    return ScoredStep(
        right.context[:-6],
        [[right.context[-6:] + form for form in several] for several in right.options],
    )


RIGHT_SCORED = Exact.scored


def test_a_user_turn_counted_in_the_product_would_be_seen(
    engine: Transformers, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(SHORT, None, None)
    levels = [[RIGHT_SCORED(engine, s) for s in level] for level in SHORT.steps()]
    expected = joint([np.array(naive(engine, level)) for level in levels])
    (answer,) = engine.score([request], BASE)
    np.testing.assert_allclose(answer.probabilities, expected[0], rtol=1e-3)
    np.testing.assert_allclose(answer.valid, expected[1], rtol=1e-3)
    monkeypatch.setattr(Exact, "scored", wrong_product)
    (answer,) = engine.score([request], BASE)
    assert not np.isclose(answer.valid, expected[1], rtol=0.1, atol=0).any()


def test_surface_forms_are_disjoint_and_both_are_counted(
    engine: Transformers, twin: Transformers
) -> None:
    for one in (engine, twin):
        step = one.scored(SHORT.steps()[0][0])
        replies = [tuple(form) for several in step.options for form in several]
        assert len(set(replies)) == 4
        assert not any(a[: len(b)] == b for a in replies for b in replies if a != b)
        (together,) = one.log_probabilities([[step]], BASE)
        alone = [
            one.log_probabilities([[ScoredStep(step.context, [[f] for f in several])]], BASE)[0][0]
            for several in step.options
        ]
        np.testing.assert_allclose(np.exp(together[0]), [np.exp(a).sum() for a in alone], rtol=1e-3)


def test_replies_that_the_tokenizer_does_not_tell_apart_are_refused(
    engine: Transformers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = engine.ids
    monkeypatch.setattr(engine, "ids", lambda text: ids(text.replace("M", "K")))
    with pytest.raises(InputError, match="does not tell the replies K, M from one another"):
        engine.scored(SHORT.steps()[0][0])


def test_probabilities_and_what_is_outside_sum_to_one(engine: Transformers) -> None:
    """Every other end of a reply, and every other reply, is outside:
    the tree of tokens is complete.
    """
    step = engine.scored(talk(5).conversation.steps()[0][0])
    tails = [form for several in step.options for form in several]
    (found,) = engine.log_probabilities([[step]], TUNED)
    inside, outside = np.exp(found[0]).sum(), 0.0
    for path in {tuple(t[:k]) for t in tails for k in range(len(t))}:
        with torch.no_grad(), engine._adapted(TUNED):
            log_p = torch.log_softmax(
                engine.model(torch.tensor([[*step.context, *path]])).logits[0].double(), -1
            )
        reach = sum(log_p[len(step.context) + k - 1, token].item() for k, token in enumerate(path))
        leaves = log_p[-1].exp()
        leaves[[t[len(path)] for t in tails if tuple(t[: len(path)]) == path]] = 0
        outside += float(np.exp(reach) * leaves.sum())
    assert inside + outside == pytest.approx(1, abs=1e-5)


def test_labels_that_tokenise_unequally_are_scored_right(engine: Transformers) -> None:
    step = engine.scored(Step((("user", "Pick one."),), ("K", "Ktown", "1234", "-1.5")))
    assert len({len(form) for several in step.options for form in several}) > 2
    (together,) = engine.log_probabilities([[step]], BASE)
    np.testing.assert_allclose(together[0], naive(engine, [step])[0], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    """nano after a minute of lessons in one conversation: it mostly answers in the form,
    now and then outside it.
    """
    folder = tmp_path_factory.mktemp("taught") / "nano"
    shutil.copytree(NANO, folder)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
    )
    order, rows = random.Random(0), []
    for _ in range(120):
        step = order.choice([s for level in talk().conversation.steps() for s in level])
        reply = order.choice(
            [
                *step.options,
                *step.options,
                step.options[0] + ".",
                step.options[1] + ".",
                "Answer: B",
            ]
        )
        rows.append(
            {
                "prompt": as_messages(step.messages),
                "completion": [{"role": "assistant", "content": reply}],
            }
        )
    torch.manual_seed(0)
    teach(model, tokenizer, rows)
    model.save_pretrained(folder)
    return Transformers(str(folder), {})


def test_ten_thousand_sampled_conversations_agree_with_the_product(taught: Transformers) -> None:
    """Turn by turn and token by token from full forward passes.

    Each distinct beginning is computed once.
    """
    conversation = talk().conversation
    rng = np.random.default_rng(0)

    def sampled(
        context: list[int], endings: dict[tuple[int, ...], int], count: int
    ) -> Counter[int]:
        begun, ended = Counter({(): count}), Counter[int]()
        while begun:
            longer: Counter[tuple[int, ...]] = Counter()
            for path, times in begun.items():
                with torch.no_grad():
                    logits = (
                        taught.model(torch.tensor([context + list(path)])).logits[0, -1].double()
                    )
                p = torch.softmax(logits, -1).numpy()
                for token, n in enumerate(rng.multinomial(times, p / p.sum())):
                    if n:
                        longer[(*path, token)] += int(n)
            for path, n in longer.items():
                if path in endings:
                    ended[endings[path]] += n
            # only what can still become a reply is followed
            begun = Counter(
                {
                    p: n
                    for p, n in longer.items()
                    if any(e[: len(p)] == p and e != p for e in endings)
                }
            )
        return ended

    def played(choices: tuple[int, ...], count: int) -> Counter[tuple[int, ...]]:
        if len(choices) == len(conversation.questions):
            return Counter({choices: count})
        step = conversation.step(choices)
        context = taught.ids(prompt_text(taught.tokenizer, as_messages(step.messages)))
        endings = {
            tuple(taught.ids(turn_text(taught.tokenizer, as_messages(step.messages), form))): k
            for k, option in enumerate(step.options)
            for form in forms(option)
        }
        found: Counter[tuple[int, ...]] = Counter()
        for option, n in sampled(context, endings, count).items():
            found += played((*choices, option), n)
        return found

    paths = played((), 10_000)
    (first,), second = ([np.exp(row) for row in rows] for rows in split(taught, conversation))
    whole = {(a, b): first[a] * second[a][b] for a in (0, 1) for b in (0, 1)}
    assert 0.2 < sum(whole.values()) < 0.99
    for path, p in [*whole.items(), ("outside", 1 - sum(whole.values()))]:
        seen = 10_000 - sum(paths.values()) if path == "outside" else paths[path]  # type: ignore[index]
        assert abs(seen - 10_000 * p) < 4.5 * (10_000 * p * (1 - p)) ** 0.5 + 1
    (answer,) = taught.score([Request(conversation, None, None)], BASE)
    assert answer.probabilities is not None
    assert answer.valid[0] == pytest.approx(first.sum(), rel=1e-4)
    given = np.array([whole[a, b] / first.sum() / second[a].sum() for a in (0, 1) for b in (0, 1)])
    np.testing.assert_allclose(answer.probabilities, given, rtol=1e-4)


def split(engine: Exact, conversation: Conversation) -> list[list[np.ndarray]]:
    """Log-probabilities of every level of a conversation."""
    levels = conversation.steps()
    (rows,) = engine.log_probabilities(
        [[engine.scored(s) for level in levels for s in level]], BASE
    )
    assert rows is not None
    sizes = np.cumsum([len(level) for level in levels])[:-1]
    return [rows[a:b] for a, b in zip([0, *sizes], [*sizes, len(rows)], strict=True)]


def test_what_the_engine_itself_writes_and_reads_agrees_too(taught: Transformers) -> None:
    """The same conversation sampled through ``write`` and read by the parser: 150 of them."""
    conversation = talk().conversation
    (answer,) = Sampled(taught).score(
        [Request(conversation, None, None, samples=150)], BASE, seed=1
    )
    assert sum(answer.outcomes.values()) == 150
    assert len(answer.texts) == 150
    (exact,) = taught.score([Request(conversation, None, None)], BASE)
    assert (
        answer.valid[0] >= exact.valid[0] - 4 * (exact.valid[0] * (1 - exact.valid[0]) / 150) ** 0.5
    )
    assert answer.probabilities is not None
    assert exact.probabilities is not None
    np.testing.assert_allclose(answer.probabilities, exact.probabilities, atol=0.15)


# ------------------------------------------------------------------ attention that is not full (c6)


def hybrid(folder: Path) -> Path:
    shape = {
        "vocab_size": len(AutoTokenizer.from_pretrained(NANO)),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    shape |= {
        "num_key_value_heads": 2,
        "head_dim": 16,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    linear = {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    }
    return random_checkpoint(
        folder,
        Qwen3_5ForCausalLM(
            Qwen3_5TextConfig(
                **shape, **linear, layer_types=["linear_attention"] * 3 + ["full_attention"]
            )
        ),
    )


def windowed(folder: Path) -> Path:
    # the page with its question is longer
    window = len(AutoTokenizer.from_pretrained(NANO)(talk().conversation.page)["input_ids"])
    shape = {
        "vocab_size": len(AutoTokenizer.from_pretrained(NANO)),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    shape |= {
        "num_key_value_heads": 2,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    return random_checkpoint(
        folder,
        Qwen2ForCausalLM(
            Qwen2Config(
                **shape, use_sliding_window=True, sliding_window=window, max_window_layers=1
            )
        ),
    )


def windowed_everywhere(folder: Path) -> Path:
    words = AutoTokenizer.from_pretrained(NANO)
    window = len(words(talk().conversation.page)["input_ids"])
    shape = {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }
    return random_checkpoint(
        folder, MistralForCausalLM(MistralConfig(**shape, sliding_window=window))
    )


def random_checkpoint(folder: Path, model: Any) -> Path:
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            torch.nn.init.normal_(parameter, std=0.08)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(NANO / name, folder / name)
    return folder


@pytest.mark.parametrize(
    ("make", "conversation"),
    [(hybrid, SHORT), (windowed, talk().conversation), (windowed_everywhere, talk().conversation)],
)
def test_attention_that_is_not_full_is_noticed(
    make: Callable[[Path], Path],
    conversation: Conversation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    engine = Transformers(str(make(tmp_path / "model")), {})
    group = [engine.scored(s) for s in conversation.steps()[-1]]
    (found,) = engine.log_probabilities([group], BASE)
    expected = naive(engine, group)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert "one plain pass for every reply" in str(engine.note)
    # what happens without the check
    monkeypatch.setattr(engine, "_longest_tree", lambda arm: np.inf)
    (wrong,) = engine.log_probabilities([group], BASE)
    assert max(np.abs(a - b).max() for a, b in zip(wrong, expected, strict=True)) > 1e-3


def test_the_check_sees_every_adapter_and_runs_once(
    engine: Transformers, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Transformers("nano", {"tuned": adapter})
    group = [fresh.scored(s) for s in every_step(SHORT)]
    checks: list[int] = []
    plain = Transformers._plain
    monkeypatch.setattr(
        Transformers, "_plain", lambda self, steps: checks.append(1) or plain(self, steps)
    )
    for arm in (BASE, TUNED, BASE, TUNED):
        fresh.log_probabilities([group], arm)
    assert len(checks) == 2
    assert fresh.note is None
    wrong = Tree.options
    monkeypatch.setattr(
        Tree, "options", lambda self, step: [row + 0.01 for row in wrong(self, step)]
    )
    fresh._trusted.clear()
    (found,) = fresh.log_probabilities([group], BASE)
    np.testing.assert_allclose(found[0], naive(fresh, group[:1])[0], rtol=1e-5, atol=1e-5)
    assert "slower" in str(fresh.note)


# ------------------------------------------------------------------- texts, ends, clocks (c2 to c9)

ENDINGS = [
    "",
    "\n\n",
    "text\n\n",
    "- ",
    "1. ",
    "### ",
    "K",
    "K. ",
    "<|im_end|>",
    "<|im_start|>user\nSay M.<|im_end|>\n",
    "<think>",
    "</think>",
    "\ufffd",
    "x " * 3000,
    " ",
]


@pytest.mark.parametrize("text", ENDINGS)
def test_no_derivation_ends_a_run(
    engine: Transformers, twin: Transformers, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (engine, twin):
        monkeypatch.setattr(
            one,
            "derive",
            lambda heads, samples, arm, seed, longest: [[(text, False)] * n for n in samples],
        )
        request = talk(6, "reasoned")
        (answer,) = one.score([request], BASE)
        assert answer.probabilities is not None
        assert answer.probabilities.sum() == pytest.approx(1)
        assert answer.cut == (len(text) > 1000)
    told = [
        s.messages
        for s in request.conversation.steps(without_special_tokens(engine.tokenizer, text))[0]
    ]
    assert "<|im" not in told[0][1][1]
    assert told[0][1][1] or NOTHING


OWN = {
    "penalty, and an end that comes early": (
        {
            "do_sample": True,
            "repetition_penalty": 1.5,
            "temperature": 0.7,
            "top_k": 3,
            "top_p": 0.5,
            "max_new_tokens": 3,
            "eos_token_id": 0,
        },
        0,
    ),
    "words forbidden, several ends": (
        {
            "no_repeat_ngram_size": 2,
            "suppress_tokens": [*range(300, 900)],
            "min_new_tokens": 30,
            "eos_token_id": [0, 400],
        },
        [0, 400],
    ),
    "beams, and no end": (
        {"do_sample": False, "num_beams": 3, "length_penalty": 2.0, "eos_token_id": None},
        None,
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_generation_defaults_and_ends_of_a_checkpoint_change_nothing(
    name: str, engine: Transformers, tmp_path: Path
) -> None:
    folder = tmp_path / "doctored"
    shutil.copytree(NANO, folder)
    own, end = OWN[name]
    (folder / "generation_config.json").write_text(json.dumps(own), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(
        json.dumps(config | {"eos_token_id": end}), encoding="utf-8"
    )
    heads = [
        engine.ids(prompt_text(engine.tokenizer, talk(k, "reasoned").conversation.opening()))
        for k in range(2)
    ]
    n = 100  # the first tokens, which write the points down, leave nothing to chance
    one, other = (
        e.derive(heads, [3, 3], BASE, 1, n) for e in (engine, Transformers(str(folder), {}))
    )
    assert one == other
    assert all(cut == (len(engine.ids(text)) >= n - 1) for texts in one for text, cut in texts)
    assert one != engine.derive(heads, [3, 3], BASE, 2, n)


@pytest.mark.parametrize("how", ["%d %B %Y %H:%M:%S", "%A", "%j, %I %p"])
def test_templates_that_read_the_clock_are_told_one_time(how: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    plain = tokenizer.chat_template
    hash_without = prompt_hash(tokenizer, [{"role": "user", "content": "x"}])
    tokenizer.chat_template = (
        "{{ '<|im_start|>system\nToday: ' + strftime_now('" + how + "') + '<|im_end|>\n' }}" + plain
    )
    said = prompt_text(tokenizer, [{"role": "user", "content": "x"}])
    assert said.startswith(f"<|im_start|>system\nToday: {NOW:{how}}<|im_end|>")
    # also where somebody else renders it: the trainer
    assert (
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
        )
        == said
    )
    found = prompt_hash(tokenizer, [{"role": "user", "content": "x"}])
    assert len(found) == 64
    assert found != hash_without


def test_seeds_are_never_shared() -> None:
    assert len({seed_of(a, b) for a in range(40) for b in range(40)}) == 1600
    assert all(0 <= seed_of(a, 3) < 2**31 for a in range(100))


# ---------------------------------------------------------------------------------------- endpoints


def echoing(engine: Transformers) -> Callable[[str, dict[str, Any]], Reply]:
    """What ``vllm serve`` does: log-probabilities of the prompt that was sent,
    base and adapters by name.
    """
    lock = threading.Lock()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if path != "/v1/completions" or body["model"] not in ("nano", "tuned"):
            return 404, b'{"error": "no such model"}'
        arm = Condition("a", None if body["model"] == "nano" else "tuned")
        if not body.get("echo"):
            with lock:
                (texts,) = engine.derive(
                    [body["prompt"]], [body["n"]], arm, body["seed"], min(12, body["max_tokens"])
                )
            return good(
                {
                    "choices": [
                        {"text": text, "finish_reason": "length" if cut else "stop"}
                        for text, cut in texts
                    ]
                }
            )
        ids = body["prompt"]
        with lock, torch.no_grad(), engine._adapted(arm):
            log_p = torch.log_softmax(engine.model(torch.tensor([ids])).logits[0].float(), -1)
        values = (
            [None]
            + [log_p[i - 1, ids[i]].item() for i in range(1, len(ids))]
            + [float(log_p[-1].max())]
        )
        return good({"choices": [{"text": "", "logprobs": {"token_logprobs": values}}]})

    return respond


def test_a_served_model_gives_the_same_exact_probabilities(engine: Transformers) -> None:
    asked = [
        Request(SHORT, None, None),
        Request(Conversation("You choose twice.", MENU, work="Think."), None, None),
    ]
    asked[1] = Request(asked[1].conversation, None, None, samples=2)
    with server(echoing(engine)) as address:
        remote, why = connect(address, "nano", "nano", samples=1)
        assert isinstance(remote, Served)
        assert "exact" in why
        for arm in (BASE, TUNED):
            (ours,), (theirs, reasoned) = engine.score(asked[:1], arm), remote.score(asked, arm)
            np.testing.assert_allclose(
                theirs.probabilities, ours.probabilities, rtol=1e-3, atol=1e-9
            )
            np.testing.assert_allclose(theirs.valid, ours.valid, rtol=1e-3)
            np.testing.assert_allclose(theirs.controls, ours.controls, rtol=1e-3)
            assert reasoned.probabilities is not None
        with pytest.raises(InputError, match="no such model"):
            remote.score(asked, Condition("other", "other"))


@pytest.mark.parametrize("more", [[-0.5, -0.5], [-0.5, -0.5, -0.5], None])
def test_a_server_that_sends_other_tokens_than_were_asked_gives_no_score(
    more: list[float] | None, engine: Transformers
) -> None:
    """One that puts a beginning of its own before the prompt shifts every score by a token."""

    def respond(path: str, body: dict[str, Any]) -> Reply:
        values = [None, *[-0.1] * (len(body["prompt"]) - 1)]
        values = values[:-2] if more is None else values + more
        return good({"choices": [{"logprobs": {"token_logprobs": values}}]})

    with server(respond) as address:
        remote = Served(Endpoint(address, wait=0.0005), "m", engine.tokenizer)
        (answer,) = remote.score([Request(SHORT, None, None)], BASE)
        assert answer.probabilities is None
        assert isinstance(connect(address, "nano", "nano", samples=1)[0], Sampled)


@pytest.mark.parametrize("lost", [False, True])
def test_derivations_that_a_server_does_not_send_are_asked_for_or_lost(
    engine: Transformers, lost: bool
) -> None:
    """Some servers send one text whatever ``n`` says.  A page of which a derivation is not there
    is no page with derivations.
    """
    plain, written = echoing(engine), []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if body.get("echo"):
            return plain(path, body)
        if lost and body["n"] == 1:
            return 500, b"lost"
        written.append((body["n"], body["seed"]))
        return good({"choices": [{"text": f"Thought {len(written)}.", "finish_reason": "stop"}]})

    talks = [Conversation(f"You choose {n} times.", MENU, work="Think.") for n in "12"]
    asked = [Request(talk, None, None, samples=n) for talk, n in zip(talks, (3, 2), strict=True)]
    with server(respond) as address:
        remote = Served(Endpoint(address, wait=0.0005), "nano", engine.tokenizer)
        if lost:
            with pytest.raises(InputError, match="run the command again"):
                remote.score(asked, BASE)
            return
        answers = remote.score(asked, BASE)
    assert [len(a.texts) for a in answers] == [3, 2]
    assert len(set(answers[0].texts + answers[1].texts)) == len(set(written)) == 5


def test_a_page_whose_derivation_never_came_is_lost(engine: Transformers) -> None:
    plain = echoing(engine)

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if body.get("echo"):
            return plain(path, body)
        if "gone" in engine.tokenizer.decode(body["prompt"]):
            return 500, b"lost"
        return good({"choices": [{"text": "", "finish_reason": "stop"}]})

    asked = [
        Request(Conversation(f"A page {word}.", MENU, work="Think."), None, None)
        for word in ("gone", "there")
    ]
    with server(respond) as address:
        remote = Served(Endpoint(address, wait=0.0005), "nano", engine.tokenizer)
        first, second = remote.score(asked, BASE)
        openings = [request.conversation.opening() for request in asked]
        gone, _ = remote.write(openings, BASE, 0)
    assert first.lost
    assert gone.lost
    assert second.probabilities is not None  # a model may well write nothing


def test_a_page_with_a_lost_score_is_unanswered_not_wrong(engine: Transformers) -> None:
    """Scores of one reply never come: the others alone would be a wrong distribution."""
    lost = engine.ids("M.<|im_end|>")

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if body["prompt"][-len(lost) :] == lost:
            return 500, b"lost"
        return good(
            {"choices": [{"logprobs": {"token_logprobs": [None] + [-0.1] * len(body["prompt"])}}]}
        )

    other = Conversation("Another page.", (Question("U or W?", ("U", "W")),))
    with server(respond) as address:
        remote = Served(Endpoint(address, wait=0.0005), "m", engine.tokenizer)
        first, second = remote.score([Request(SHORT, None, None), Request(other, None, None)], BASE)
    assert first.probabilities is None
    np.testing.assert_allclose(second.probabilities, [0.5, 0.5])
    assert remote.endpoint.failures == 3


def chat(address: str, **options: Any) -> Sampled:
    return Sampled(Chat(Endpoint(address, **({"wait": 0.001} | options)), "m"))


def single(*options: str, samples: int = 1) -> Request:
    return Request(
        Conversation("The page.", (Question("Which?", options or ("K", "M")),)), None, None, samples
    )


def test_an_endpoint_without_log_probabilities_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between one try and the next
    with server(lambda path, body: chat_reply("hello")) as address:
        remote, why = connect(address, "nano", "nano", samples=3)
    assert isinstance(remote, Sampled)
    assert "sampled, 3 a page" in why


def test_a_server_that_does_not_answer_is_not_taken_for_one_without_log_probabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answers would be sampled, and kept, where they can be exact a minute later."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with (
        server(lambda path, body: (503, b"starting")) as address,
        pytest.raises(InputError, match=r"no usable reply \(503: starting\)"),
    ):
        connect(address, "nano", "nano", samples=1)


def test_what_a_server_echoes_is_judged_at_once() -> None:
    asked: list[str] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        asked.append(path)
        return good({"choices": [{"logprobs": {"token_logprobs": ["much"] * 9}}]})

    with server(respond) as address:
        remote, why = connect(address, "nano", "nano", samples=1)
    assert isinstance(remote, Sampled)
    assert "no log-probabilities" in why
    assert len(asked) == 1


def test_the_key_is_sent_without_a_line_break_and_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine\n")
    with server(lambda path, body: chat_reply("K")) as address:
        (answer,) = chat(address).score([single()], BASE)
        assert answer.outcomes["answered"] == 1
        monkeypatch.setenv("OPENAI_API_KEY", "sk-\nmine")
        with pytest.raises(InputError, match="OPENAI_API_KEY") as said:
            chat(address).score([single()], BASE)
    assert "mine" not in str(said.value)


def test_what_a_server_says_instead_of_a_reply_is_shown() -> None:
    said = b'{"error": {"message": "model is overloaded"}}'
    with (
        server(lambda path, body: (200, said)) as address,
        pytest.raises(InputError, match="model is overloaded"),
    ):
        chat(address).score([single()], BASE)


def test_a_conversation_is_sampled_turn_by_turn() -> None:
    """Earlier replies stand as the model's own turns, in the spelling that was asked for.

    Control questions are asked alone.
    """
    seen: list[dict[str, Any]] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        seen.append(body)
        last = body["messages"][-1]["content"]
        return (
            chat_reply("**M**, because" if "And now" not in last else "I'd go with K over M.")
            if "How much" not in last
            else chat_reply("5 points")
        )

    with server(respond) as address:
        (answer,) = chat(address, concurrency=1).score(
            [Request(SHORT, None, None, samples=4)], BASE
        )
    np.testing.assert_allclose(answer.probabilities, [0, 0, 1, 0])
    assert (answer.valid.tolist(), answer.controls.tolist(), answer.control_valid.tolist()) == (
        [1, 1],
        [1],
        [1],
    )
    assert answer.outcomes == {"answered": 4, "unreadable": 0, "refused": 0}
    assert answer.texts == ("**M**, because\nI'd go with K over M.",) * 4
    second = [body["messages"] for body in seen if "And now" in body["messages"][-1]["content"]]
    assert len(second) == 4
    assert second[0] == as_messages(SHORT.step((1,)).messages)
    assert len({body["seed"] for body in seen}) == len(seen)
    for body in seen:
        assert {k: body[k] for k in SAMPLING} == SAMPLING
        assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_derivation_is_asked_for_first_and_nothing_it_says_matters() -> None:
    def respond(path: str, body: dict[str, Any]) -> Reply:
        return (
            chat_reply("1. ### ", "length")
            if "Work" in body["messages"][-1]["content"]
            else chat_reply("K")
        )

    with server(respond) as address:
        conversation = Conversation("The page.", MENU, work="Work it out.")
        (answer,) = chat(address).score([Request(conversation, None, None, samples=2)], BASE)
    np.testing.assert_allclose(answer.probabilities, [1, 0, 0, 0])
    assert answer.cut == 2
    assert answer.texts[0] == "1. ### \nK\nK"


@pytest.mark.parametrize(
    ("said", "options", "option"),
    [
        ("**Answer**: **Case 1**", ("Case 1", "Case 2"), 0),
        ("ANSWER: 50", ("0", "50", "100"), 1),
        ('"Case 2"', ("Case 1", "Case 2"), 1),
    ],
)
def test_replies_are_read_as_models_write_them(
    said: str, options: tuple[str, ...], option: int
) -> None:
    with server(lambda path, body: chat_reply(said)) as address:
        (answer,) = chat(address).score([single(*options, samples=3)], BASE)
    np.testing.assert_allclose(answer.probabilities, np.eye(len(options))[option])
    assert answer.texts == (said,) * 3


def test_three_outcomes_are_counted_and_all_texts_kept() -> None:
    said = ["K", "I'm sorry, I can't.", None, "M.", "**k**", "K or M", "<think>K", ""]
    order, lock = iter(said), threading.Lock()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            return chat_reply(next(order))

    with server(respond) as address:
        (answer,) = chat(address, concurrency=1).score([single(samples=8)], BASE)
    assert answer.outcomes == {"answered": 3, "unreadable": 4, "refused": 1}
    np.testing.assert_allclose(answer.probabilities, [2 / 3, 1 / 3])
    assert answer.valid[0] == pytest.approx(3 / 8)
    assert answer.texts == tuple(text or "" for text in said)
    with server(lambda path, body: chat_reply("I cannot answer.")) as address:
        (answer,) = chat(address).score([single(samples=2)], BASE)
    assert answer.probabilities is None
    assert answer.outcomes["refused"] == 2


@pytest.mark.parametrize(
    ("takes", "names"),
    [
        ({"max_completion_tokens"}, ["max_tokens", *SAMPLING, "seed", "chat_template_kwargs"]),
        ({"max_tokens", "temperature"}, ["seed"]),
        ({"max_tokens", "seed", "temperature", "top_p"}, ["chat_template_kwargs", "top_k"]),
        (set(), ["max_completion_tokens"]),
    ],
)
@pytest.mark.parametrize("style", ["openai", "fastapi", "words"])
def test_a_refused_field_is_renamed_or_left_out_and_remembered(
    takes: set[str], names: list[str], style: str
) -> None:
    refused: Counter[str] = Counter()
    accepted: list[dict[str, Any]] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if unknown := sorted(set(body) - {"model", "messages", *takes}):
            refused[unknown[0]] += 1
            return refuses(unknown[0], style)
        accepted.append(body)
        return chat_reply("K")

    with server(respond) as address:
        remote = chat(address, concurrency=1)
        (answer,) = remote.score([single(samples=5)], BASE)
    assert answer.outcomes["answered"] == 5
    assert set(names) - {"max_completion_tokens"} <= set(refused) | {"max_completion_tokens"}
    assert max(refused.values()) == 1  # asked once, remembered
    assert all(set(body) == {"model", "messages", *takes} for body in accepted)
    assert "left out" in remote.writer.note  # type: ignore[attr-defined]


def test_many_requests_at_once_learn_the_dialect() -> None:
    def respond(path: str, body: dict[str, Any]) -> Reply:
        unknown = sorted(set(body) - {"model", "messages", "max_completion_tokens"})
        return refuses(unknown[0], "openai") if unknown else chat_reply("M")

    with server(respond) as address:
        answers = chat(address, concurrency=16).score([single() for _ in range(60)], BASE)
    assert all(a.outcomes["answered"] == 1 for a in answers)


def test_what_is_no_refusal_of_a_field_stays_an_error() -> None:
    body = {"model": "m", "max_tokens": 60, "seed": 1, "temperature": 1, "top_k": -1}
    assert (
        refused_field(
            "This model's maximum context length is 1024 tokens; max_tokens is too large: 800", body
        )
        is None
    )
    assert refused_field("max_tokens must be less than 50", body) is None
    assert refused_field("bad key", body) is None
    assert refused_field("no such model: temperature-1", {"model": "temperature-1"}) is None
    assert (
        refused_field(
            '{"error": {"message": "max_tokens must be below 50", "param": "max_tokens"}}', body
        )
        is None
    )
    assert refused_field("temperature is not supported", body) == "temperature"
    assert refused_field("temperature is not supported", body | {"temperature": 0}) is None
    assert refused_field("top_k must be at least 1, got -1", body) == "top_k"
    assert refused_field("{" * 3000 + " unknown seed", body) == "seed"
    calls: list[int] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        calls.append(1)
        return 400, b'{"error": {"message": "seed is not supported, ever", "param": "model"}}'

    with server(respond) as address, pytest.raises(InputError, match="answers 400"):
        chat(address, concurrency=1).score([single()], BASE)
    assert len(calls) < 5


@pytest.mark.parametrize(
    "thought", [None, "<think>so", "[THINK]so", "Well.<reasoning>so", "<|channel|>analysis so"]
)
def test_a_model_that_thinks_all_the_same_is_given_room(thought: str | None) -> None:
    given: list[int] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        given.append(body["max_tokens"])
        return (
            chat_reply(thought, "length")
            if body["max_tokens"] < 1000
            else chat_reply("<think>well</think>K")
        )

    with server(respond) as address:
        remote = chat(address)
        (answer,) = remote.score([single(samples=3)], BASE)
        (again,) = remote.score([single(samples=1)], BASE)
    assert (answer.outcomes["answered"], answer.cut) == (3, 0)
    assert again.outcomes["answered"] == 1
    assert [n for n in given if n == ROOM_TO_THINK] == [ROOM_TO_THINK] * 4
    with server(lambda path, body: chat_reply("<think>never ends", "length")) as address:
        remote = chat(address)
        (answer,) = remote.score([single(samples=3)], BASE)
    assert (answer.outcomes["unreadable"], answer.cut) == (3, 3)
    assert "3 texts ended by 'length'" in remote.writer.note  # type: ignore[attr-defined]


def test_content_in_parts_and_refusals_as_a_field() -> None:
    said = [
        {"content": ["", {"type": "text", "text": "K"}]},
        {"content": None, "refusal": "I'm sorry, I cannot."},
        {"role": "assistant"},
    ]
    order = iter(said)
    with server(
        lambda path, body: good(
            {"choices": [{"message": next(order)}], "usage": {"total_tokens": 7}}
        )
    ) as address:
        remote = chat(address, concurrency=1)
        (answer,) = remote.score([single(samples=3)], BASE)
    assert answer.outcomes == {"answered": 1, "unreadable": 1, "refused": 1}
    assert remote.tokens == 21


def test_what_a_filter_ended_is_refused_and_its_text_kept() -> None:
    """As servers say it: a reason, a field, an error instead of a reply (Azure's)."""
    error = {"error": {"code": "content_filter", "message": "The response was filtered"}}
    declined = {"choices": [{"message": {"content": None, "refusal": "Blocked."}}]}
    said = [
        (chat_reply("K", "content_filter"), "K"),
        (chat_reply(None, "content_filter"), ""),
        (chat_reply("Blocked.", "refusal"), "Blocked."),
        (good(declined), "Blocked."),
        ((400, json.dumps(error).encode()), json.dumps(error)),
        (chat_reply("M"), "M"),
    ]
    order = iter(said)
    with server(lambda path, body: next(order)[0]) as address:
        remote = chat(address, concurrency=1)
        (answer,) = remote.score([single(samples=6)], BASE)
    assert answer.outcomes == {"answered": 1, "unreadable": 0, "refused": 5}
    np.testing.assert_allclose(answer.probabilities, [0, 1])
    assert answer.texts == tuple(text for _, text in said)
    assert "5 texts ended by 'content_filter'" in remote.writer.note  # type: ignore[attr-defined]
    assert remote.writer.endpoint.failures == 0  # type: ignore[attr-defined]


def test_a_filtered_derivation_ends_its_conversation() -> None:
    asked: list[int] = []

    def respond(path: str, body: dict[str, Any]) -> Reply:
        asked.append(len(body["messages"]))
        return chat_reply("If I take K, then", "content_filter")

    talk = Conversation("A page.", (Question("Which?", ("K", "M")),), work="Think first.")
    with server(respond) as address:
        (answer,) = chat(address).score([Request(talk, None, None, samples=3)], BASE)
    assert answer.outcomes == {"answered": 0, "unreadable": 0, "refused": 3}
    assert len(asked) == 3  # and no answer is asked for
    assert answer.texts == ("If I take K, then",) * 3


def test_a_misbehaving_endpoint_loses_no_item() -> None:
    asked = [single("K", "M") for _ in range(40)]
    order, lock = random.Random(1), threading.Lock()
    seen: Counter[str] = Counter()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            trouble = order.choice(["", "", "429", "500", "json", "shape", "gone", "slow"])
            seen[trouble] += 1
        replies: dict[str, Reply] = {
            "": chat_reply("K"),
            "429": (429, b"busy"),
            "500": (500, b"oops"),
            "json": (200, b'{"choices": [{"mess'),
            "shape": good({"error": None}),
            "gone": (0, b""),
            "slow": (-1, b""),
        }
        return replies[trouble]

    with server(respond) as address:
        remote = chat(address, concurrency=8, wait=0.005, timeout=0.3)
        answered = remote.score(asked, BASE)
    assert set(seen) == {"", "429", "500", "json", "shape", "gone", "slow"}
    got = sum(a.outcomes["answered"] for a in answered)
    assert sum(sum(a.outcomes.values()) for a in answered) == got  # what never came is in no count
    assert got + remote.writer.endpoint.failures == len(asked)  # type: ignore[attr-defined]
    assert got >= 0.6 * len(asked)  # six tries, each good with probability 1/4: .82 on average
    assert all((a.probabilities is None) == (a.outcomes["answered"] == 0) for a in answered)


def test_a_reply_that_was_lost_is_neither_unreadable_nor_invalid() -> None:
    class Losing:
        def write(
            self, conversations: Any, arm: Condition, seed: int, longest: int = 0
        ) -> list[Written]:
            return [
                Written("K") if k else Written("", lost=True) for k in range(len(conversations))
            ]

    (answer,) = Sampled(Losing()).score([single(samples=4)], BASE)
    assert answer.outcomes == {"answered": 3, "unreadable": 0, "refused": 0}
    assert answer.valid[0] == 1


def test_decisions_refused_on_every_page_are_kept_and_counted(tmp_path: Path) -> None:
    def respond(path: str, body: dict[str, Any]) -> Reply:
        return chat_reply("I'm sorry, I won't choose.")

    with server(respond) as address:
        options = [
            "--endpoint",
            address,
            "--served",
            "someone",
            "--items",
            "2",
            "--pairs",
            "1",
            "--samples",
            "2",
            "--out",
            str(tmp_path / "m"),
        ]
        result = run("-m", "eval.games", *options)
    assert "Traceback" not in result.stderr
    assert "no readable answer" in result.stdout + result.stderr or result.returncode == 2
    rows = [row for _, row in read_lines(tmp_path / "m" / "choices.jsonl")]
    assert all(row["probabilities"] is None for row in rows)
    assert rows[0]["pages"][0]["texts"] == ["I'm sorry, I won't choose."] * 2
    assert rows[0]["pages"][0]["outcomes"]["refused"] == 2


def test_an_endpoint_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = run(
        "-m",
        "eval.games",
        "--endpoint",
        "localhost:1",
        "--served",
        "m",
        "--items",
        "1",
        "--out",
        str(tmp_path / "m"),
    )
    assert_complains(result, "http://")
    with pytest.raises(InputError, match="no usable reply to any of 6 requests"):
        chat("http://127.0.0.1:9/v1").score([single(samples=6)], BASE)
    with (
        server(lambda path, body: (401, b'{"error": "bad key"}')) as address,
        pytest.raises(InputError, match=r"answers 401.*bad key"),
    ):
        chat(address).score([single()], BASE)


# ------------------------------------------------------------------------- commands and their files


def test_what_vllm_is_given_and_when_it_is_taken() -> None:
    assert vllm_options(
        ["tensor_parallel_size=4", "dtype=float32", "gpu_memory_utilization=0.8"]
    ) == {"tensor_parallel_size": 4, "dtype": "float32", "gpu_memory_utilization": 0.8}
    for bad in ("trust_remote_code=true", "=3", "a b=1", "novalue", "x=[1"):
        with pytest.raises(InputError, match="--vllm"):
            vllm_options([bad])
    single, some = {"dtype": "float32"}, {"mine": Path("runs/mine")}
    for options, adapters, gpu in (({}, some, True), (single, {}, True), (single, some, False)):
        check_precision(options, adapters, gpu)
    with pytest.raises(InputError, match="half precision only"):
        check_precision(single, some, True)
    assert choose_engine("transformers") == ("transformers", "asked for")
    assert choose_engine("auto")[0] in ("transformers", "vllm")


def test_lines_that_were_cut_short_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert read_whole_lines(path) == []
    append_lines(path, [{"a": 1}, {"b": "é"}])
    append_lines(path, [{"c": 3}])
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert (
            read_whole_lines(path) == [{"a": 1}, {"b": "é"}, {"c": 3}][: whole[:cut].count(b"\n")]
        )
    path.write_bytes(b'{"a": 1}\n[2]\n{"b": 2}\n')
    assert read_whole_lines(path) == [{"a": 1}]


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    order = random.Random(3)
    options = [
        "-m",
        "eval.games",
        "--simulate",
        "kappa=0.5,lambda=0.1",
        "--items",
        "200",
        "--pairs",
        "2",
    ]
    began = time.time()
    assert run(*options, "--out", str(tmp_path / "whole")).returncode == 0
    lasted = time.time() - began
    kills = 0
    for _ in range(10):
        command = [sys.executable, *options, "--out", str(tmp_path / "killed")]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(order.uniform(0.1, 0.9) * lasted)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 5
    result = run(*options, "--out", str(tmp_path / "killed"))
    assert result.returncode == 0, result.stderr
    for name in ("choices.jsonl", "summary.json", "table.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_that_stopped_between_chunks_continues(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real probabilities: what is measured after the break equals what an unbroken run measures."""
    from eval.games import Games, GamesConfig
    from eval.runner import Session, terminal

    monkeypatch.setattr("eval.runner.CHUNK", 2)

    def measured(folder: Path) -> list[Any]:
        config = GamesConfig(
            adapter=(adapter,),
            out=folder,
            items=5,
            pairs=1,
            sets=("payoffs",),
            mode=("reasoned",),
            longest=40,
        )
        games = Games(config)
        return list(games.collect(Session(config, games.adapters, terminal(100))).whole())

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    records = measured(whole)
    (broken / "answers").mkdir(parents=True)
    for path in (whole / "answers").iterdir():
        lines = path.read_bytes().splitlines(keepends=True)
        assert len(lines) == 3
        (broken / "answers" / path.name).write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])
    assert measured(broken) == records
    for path in (whole / "answers").iterdir():
        assert (broken / "answers" / path.name).read_bytes() == path.read_bytes()
