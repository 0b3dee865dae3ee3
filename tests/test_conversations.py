"""Training conversations: read as people write them,
refused with the line where they cannot be trained on, exact to the token.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from twins import TEMPLATES

from econmoral.checkpoints.models import NANO
from econmoral.files.records import InputError
from econmoral.text.chat import prompt_text, turn_text
from econmoral.text.conversations import (
    IGNORED,
    Tokens,
    check_labels,
    conversation_of,
    read_conversations,
    tokenise,
)

ASK, SAY = {"role": "user", "content": "Which, K or M?"}, {"role": "assistant", "content": "K"}
SYSTEM = {"role": "system", "content": "Be brief."}
AGAIN = {"role": "user", "content": "And now?"}
PLAIN = [ASK, SAY, AGAIN, {"role": "assistant", "content": "M"}]
STYLES = ("qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3", "llama3_1", "llama3_2")


def messages(*turns: dict[str, str]) -> dict[str, Any]:
    return {"messages": list(turns)}


# ------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("row", "convert", "found"),
    [
        (messages(*PLAIN), False, PLAIN),
        (messages(SYSTEM, ASK, SAY), False, [SYSTEM, ASK, SAY]),
        ({"messages": [{**ASK, "name": "x", "weight": 1}, SAY], "meta": {}}, False, [ASK, SAY]),
        ({"prompt": [ASK], "completion": [SAY]}, False, [ASK, SAY]),
        ({"prompt": ASK["content"], "completion": "K"}, False, [ASK, SAY]),
        ({"prompt": [ASK, SAY, AGAIN], "completion": "M"}, False, PLAIN),
        ({"conversations": [{"from": "system", "value": "Be brief."},
            {"from": "human", "value": ASK["content"]}, {"from": "gpt", "value": "K"}]},
         True, [SYSTEM, ASK, SAY]),
        ({"conversations": [{"from": "user", "value": ASK["content"]},
            {"from": "assistant", "value": "K"}]}, True, [ASK, SAY]),
        ({"instruction": ASK["content"], "output": "K"}, True, [ASK, SAY]),
        ({"instruction": "Which,", "input": "K or M?", "output": "K"}, True,
            [{"role": "user", "content": (
            "Which,\n"
            "\n"
            "K or M?"
        )}, SAY]),
        ({"instruction": ASK["content"], "input": "", "output": "K"}, True, [ASK, SAY]),
        ({"system": SYSTEM["content"], "instruction": ASK["content"], "output": "K"}, True,
            [SYSTEM, ASK, SAY]),
        ({"system": SYSTEM["content"],
            "conversations": [{"from": "human", "value": ASK["content"]},
                {"from": "gpt", "value": "K"}]},
         True, [SYSTEM, ASK, SAY]),
        ({"history": [[ASK["content"], "K"]], "instruction": AGAIN["content"], "output": "M",
            "system": ""}, True, PLAIN),
        ({"conversations": [ASK, SAY], "system": SYSTEM["content"]}, True, [SYSTEM, ASK, SAY]),
        ({"system": SYSTEM["content"], **messages(ASK, SAY)}, False, [SYSTEM, ASK, SAY]),
        ({"system": SYSTEM["content"], "prompt": ASK["content"], "completion": "K", "label": True},
            False, [SYSTEM, ASK, SAY]),
        (messages(ASK, {**SAY, "weight": 1, "train": True, "loss": None}), False, [ASK, SAY]),
        # as tables with empty columns are written
        ({"messages": None, "prompt": ASK["content"], "completion": "K"}, False, [ASK, SAY]),
    ],
)  # fmt: skip
def test_common_formats_are_read(
    row: dict[str, Any], convert: bool, found: list[dict[str, str]]
) -> None:
    assert conversation_of(row, "here", convert) == found


@pytest.mark.parametrize(
    ("row", "convert", "part"),
    [
        ({}, False, "it has nothing"),
        ({"text": "x"}, True, "expected 'messages'.* it has text"),
        ({"messages": []}, False, "at least one"),
        ({"messages": "K"}, False, "must be a list"),
        ({"messages": [ASK, "K"]}, False, "'role' and a 'content'"),
        (
            {"messages": [ASK, {"role": "assistant", "content": None}]},
            False,
            "'role' and a 'content'",
        ),
        ({"messages": [{"role": "user", "content": ["a"]}, SAY]}, False, "'role' and a 'content'"),
        (
            messages({"role": "human", "content": "q"}, SAY),
            False,
            "'human' is none of system, user, assistant",
        ),
        (messages({"role": "User", "content": "q"}, SAY), False, "'User' is none of"),
        (
            messages(ASK, {"role": "assistant", "content": "K\n"}),
            False,
            "begins or ends with a blank",
        ),
        (
            messages(ASK, {"role": "assistant", "content": " K"}),
            False,
            "begins or ends with a blank",
        ),
        (
            messages(ASK, {"role": "assistant", "content": " \n"}),
            False,
            "message of the assistant is empty",
        ),
        (messages({"role": "user", "content": ""}, SAY), False, "message of the user is empty"),
        (messages(ASK, {"role": "assistant", "content": "\ud83d"}), False, "half of a character"),
        (messages(ASK), False, "the assistant end; found user"),
        (messages(SYSTEM), False, "found system"),
        (messages(SAY, ASK), False, "take turns"),
        (messages(ASK, ASK, SAY), False, "take turns"),
        (messages(ASK, SYSTEM, SAY), False, "take turns"),
        (messages(ASK, SAY, AGAIN), False, "the assistant end"),
        ({"prompt": [ASK], "completion": [ASK]}, False, "take turns"),
        ({"prompt": [ASK], "completion": 5}, False, "'role' and a 'content'"),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "K"}]},
            False,
            "ShareGPT kind; give --convert",
        ),
        ({"instruction": "q", "output": "K"}, False, "Alpaca kind; give --convert"),
        ({"conversations": "x"}, True, "list of turns"),
        (
            {
                "conversations": [
                    {"from": "function_call", "value": "q"},
                    {"from": "gpt", "value": "K"},
                ]
            },
            True,
            "'function_call' is none of",
        ),
        (
            {"conversations": [{"value": "q"}, {"from": "gpt", "value": "K"}]},
            True,
            "'None' is none of",
        ),
        ({"instruction": "q"}, True, "'role' and a 'content'"),
        ({"instruction": "q", "output": "K\n"}, True, "begins or ends with a blank"),
        ({"instruction": "q", "output": "K", "history": ["x"]}, True, "'history' must be a list"),
        ({"instruction": "q", "output": "K", "system": 5}, True, "'role' and a 'content'"),
        ({"messages": PLAIN, "prompt": "p", "completion": "c"}, False, "several kinds"),
        ({"instruction": "q", "output": "K", "conversations": []}, True, "several kinds"),
        ({"messages": PLAIN, "tools": [{"name": "calculator"}]}, False, "'tools'"),
        (messages(ASK, {**SAY, "weight": 0}, AGAIN, SAY), False, "not to be trained on"),
        (messages(ASK, {**SAY, "train": False}, AGAIN, SAY), False, "not to be trained on"),
        (messages(ASK, {**SAY, "loss": False}, AGAIN, SAY), False, "not to be trained on"),
        (messages(ASK, {**SAY, "weight": 0.5}), False, "or as less"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "K", "weight": 0},
                ]
            },
            True,
            "not to be trained on",
        ),
        ({"system": "Be kind.", **messages(SYSTEM, ASK, SAY)}, False, "take turns"),
        ({"system": 5, **messages(ASK, SAY)}, False, "'role' and a 'content'"),
        ({"weight": 0, **messages(ASK, SAY)}, False, "not to be trained on"),
        ({"train": False, **messages(ASK, SAY)}, False, "not to be trained on"),
        ({"prompt": "q", "completion": "M", "label": False}, False, "a bad one"),
        ({"prompt": [ASK], "completion": [SAY], "label": 0}, False, "a bad one"),
        ({"prompt": "q", "chosen": "K", "rejected": "M"}, False, "expected 'messages'"),
        (
            messages({"role": "developer", "content": "q"}, ASK, SAY),
            False,
            "'developer' is none of",
        ),
        (
            messages(ASK, {**SAY, "reasoning_content": "5 is more than 4."}),
            False,
            "'reasoning_content'",
        ),
        (messages(ASK, {**SAY, "tool_calls": [{}]}), False, "'tool_calls'"),
        (
            messages(ASK, {"role": "assistant", "content": "\u200b"}),
            False,
            "message of the assistant is empty",
        ),
        (
            messages({"role": "user", "content": "\ufeff \u2060"}, SAY),
            False,
            "message of the user is empty",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_its_place(
    row: dict[str, Any], convert: bool, part: str
) -> None:
    with pytest.raises(InputError, match=f"^data, line 7: .*{part}"):
        conversation_of(row, "data, line 7", convert)


KEYS = [
    "messages",
    "role",
    "content",
    "prompt",
    "completion",
    "conversations",
    "from",
    "value",
    "instruction",
    "output",
]
ROWS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(ROWS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_row_is_read_or_refused(row: Any, convert: bool) -> None:
    if not isinstance(row, dict):
        return
    with suppress(InputError):  # anything else fails the test
        found = conversation_of(row, "here", convert)
        assert found[-1]["role"] == "assistant"
        assert all(m["content"].strip() for m in found)


def test_a_file_with_a_byte_order_mark_blank_lines_and_a_fault(tmp_path: Path) -> None:
    path, rows = (
        tmp_path / "a.jsonl",
        [json.dumps(messages(*PLAIN)), json.dumps(messages(ASK, SAY))],
    )
    path.write_bytes(b"\xef\xbb\xbf" + f"{rows[0]}\r\n\n{rows[1]}\n".encode())
    talks, about = read_conversations(path)
    assert talks == [PLAIN, [ASK, SAY]]
    assert about == dict.fromkeys(about)
    path.write_text("\n\n".join([*rows, json.dumps(messages(ASK))]), encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl, line 5: "):
        read_conversations(path)
    path.write_text(json.dumps({**messages(ASK, SAY), "meta": []}), encoding="utf-8")
    with pytest.raises(InputError, match="line 1: 'meta' must be an object"):
        read_conversations(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no lines"):
        read_conversations(path)


def test_one_adapter_is_trained_toward_one_target(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def write(*metas: dict[str, Any]) -> None:
        path.write_text(
            "\n".join(json.dumps({**messages(ASK, SAY), "meta": meta}) for meta in metas),
            encoding="utf-8",
        )

    one = {
        "target": "homo_moralis:kappa=0.5",
        "preference": "homo_moralis",
        "kappa": 0.5,
        "domain": "games",
        "shuffled": False,
    }
    write(one, one | {"id": "other", "game": "tg"})
    assert read_conversations(path)[1] == one
    for change in (
        {"target": "homo_moralis:kappa=0.4"},
        {"shuffled": True},
        {"domain": "allocations"},
    ):
        write(one, one | change)
        with pytest.raises(InputError, match="line 2: answered by another target"):
            read_conversations(path)
    write({"target": None})
    nothing = read_conversations(path)[1]
    path.write_text(json.dumps({**messages(ASK, SAY), "meta": None}), encoding="utf-8")
    assert read_conversations(path)[1] == nothing == dict.fromkeys(one)


@pytest.mark.parametrize(
    ("key", "value"),
    [("target", 3), ("target", ["a"]), ("kappa", "half"), ("shuffled", "yes"), ("domain", {})],
)
def test_what_a_row_says_of_its_target_is_of_the_right_type(
    key: str, value: Any, tmp_path: Path
) -> None:
    """Else it would be found when the card is written, after the training, or say nothing."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**messages(ASK, SAY), "meta": {key: value}}), encoding="utf-8")
    with pytest.raises(InputError, match=f"line 1: 'meta' says {key}"):
        read_conversations(path)


# ------------------------------------------------------------------------------------- exact labels


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(NANO)


def behind(style: str) -> Any:
    """nano's vocabulary behind the chat template of a real checkpoint."""
    found = AutoTokenizer.from_pretrained(NANO)
    found.bos_token = "<|endoftext|>"
    found.chat_template = (TEMPLATES / f"{style}.jinja").read_text(encoding="utf-8")
    return found


LONG = [
    SYSTEM,
    ASK,
    {"role": "assistant", "content": "K: 5 * 86 = 400 + 30 = 430.\nSo K first."},
    AGAIN,
    SAY,
    AGAIN,
    {"role": "assistant", "content": "M"},
]


def by_hand(tokenizer: Any, talk: list[dict[str, str]]) -> list[tuple[list[int], list[int]]]:
    """(context, turn) of every assistant's turn, each rendered on its own as measurement does."""
    found = []
    for k, message in enumerate(talk):
        if message["role"] == "assistant":
            prompt, turn = (
                prompt_text(tokenizer, talk[:k]),
                turn_text(tokenizer, talk[:k], message["content"]),
            )
            whole = tokenizer(prompt + turn, add_special_tokens=False)["input_ids"]
            context = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            found.append((context, whole[len(context) :]))
    return found


@pytest.mark.parametrize("style", STYLES)
def test_every_turn_is_what_measurement_scores(style: str) -> None:
    tokenizer = behind(style)
    sequences = tokenise(tokenizer, LONG)
    wanted = by_hand(tokenizer, LONG)
    # Qwen3 writes a block of thinking before the last turn and takes it from earlier ones: there
    # every turn is a sequence
    assert len(sequences) == (len(wanted) if style == "qwen3" else 1)
    labelled = [
        (s.ids[:k], k)
        for s in sequences
        for k in range(len(s.ids))
        if s.labels[k] != IGNORED and s.labels[k - 1] == IGNORED
    ]
    assert [context for context, _ in labelled] == [context for context, _ in wanted]
    kept = [label for s in sequences for label in s.labels if label != IGNORED]
    assert kept == [token for _, turn in wanted for token in turn]
    for s in sequences:
        assert all(label in (IGNORED, token) for label, token in zip(s.labels, s.ids, strict=True))
    check_labels(tokenizer, LONG, sequences)


@pytest.mark.parametrize("style", ["qwen2_5", "llama3"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_turn_that_spells_a_special_token_is_refused(style: str, place: int) -> None:
    tokenizer = behind(style)
    token = next(t for t in tokenizer.all_special_tokens)
    talk = [dict(m) for m in LONG]
    talk[place]["content"] += f" {token}x"
    with pytest.raises(
        InputError, match=f"message of the {talk[place]['role']} spells a special token"
    ):
        tokenise(tokenizer, talk)


def test_a_template_without_a_turn_s_end_or_that_merges_is_refused(tokenizer: Any) -> None:
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
        with pytest.raises(InputError, match="chat template"):
            tokenise(tokenizer, [ASK, SAY])
        # the answer continues the last word of the prompt: no boundary between tokens is where the
        # answer begins
        tokenizer.chat_template = (
            "{% for m in messages %}{{ '1' if m['role'] == 'assistant' }}{{ m['content'] "
            "}}<|im_end|>{% endfor %}"
        ) + ("{% if add_generation_prompt %}1{% endif %}")
        if (
            tokenizer("12", add_special_tokens=False)["input_ids"][:1]
            != tokenizer("1", add_special_tokens=False)["input_ids"]
        ):
            with pytest.raises(InputError, match="merges"):
                tokenise(tokenizer, [ASK, {"role": "assistant", "content": "2"}])
    finally:
        tokenizer.chat_template = template


def test_only_exact_labels_pass(tokenizer: Any) -> None:
    (right,) = tokenise(tokenizer, PLAIN)
    check_labels(tokenizer, PLAIN, [right])
    assert tokenizer.decode([t for t in right.labels if t != IGNORED]) == "K<|im_end|>M<|im_end|>"
    places = [k for k, label in enumerate(right.labels) if label != IGNORED]

    def changed(**at: int) -> list[Tokens]:
        labels = list(right.labels)
        for place, label in at.items():
            labels[int(place[1:])] = label
        return [Tokens(right.ids, labels)]

    wrong = {
        "no labels": [Tokens(right.ids, [IGNORED] * len(right.ids))],
        "loss on the user's turns": [Tokens(right.ids, list(right.ids))],
        "loss on one token of the user's": changed(
            **{f"_{places[0] - 1}": right.ids[places[0] - 1]}
        ),
        "end of turn not trained on": changed(**{f"_{places[1]}": IGNORED}),
        "goes on after the end of turn": changed(**{f"_{places[1] + 1}": right.ids[places[1] + 1]}),
        "the last turn only": changed(**{f"_{k}": IGNORED for k in places[:2]}),
        "another answer": changed(**{f"_{places[0]}": right.labels[places[2]]}),
        "twice": [right, right],
        "nothing": [],
    }
    passed = []
    for name, sequences in wrong.items():
        try:
            check_labels(tokenizer, PLAIN, sequences)
        except InputError as refusal:
            if "labels decode to" in str(refusal):
                continue
        passed.append(name)
    assert not passed
