"""Training conversations: read from files as people write them,
and turned into the tokens that measurement sends.

A row of JSON Lines holds ``messages`` (role and content, as TRL, OpenAI, LLaMA-Factory and axolotl
read), or ``prompt`` and ``completion``.  Rows of the ShareGPT and Alpaca kinds are converted when
asked to.  The assistant's turns are trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.files.records import InputError, plain, read_lines
from econmoral.text.chat import prompt_text, turn_text, without_special_tokens
from econmoral.text.conversation import Message

ROLES = ("system", "user", "assistant")
KINDS = {
    "messages": ("messages",),
    "prompt and completion": ("prompt", "completion"),
    "ShareGPT": ("conversations",),
    "Alpaca": ("instruction",),
}
# what a model would say and no page of ours has
UNTRAINED = ("tool_calls", "function_call", "reasoning_content", "thinking")
UNMARKED = ("weight", "train", "loss")  # where a file says how much a turn counts
SHAREGPT = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
# what ``meta`` may say of what answers a row, and of which type
ABOUT: dict[str, tuple[tuple[type, ...], str]] = {
    "target": ((str,), "text"),
    "preference": ((str,), "text"),
    "kappa": ((int, float), "a number"),
    "domain": ((str,), "text"),
    "shuffled": ((bool,), "true or false"),
}
IGNORED = -100  # label of a token that is not trained on


@dataclass(frozen=True)
class Tokens:
    """A training sequence: ids (T,) and labels (T,), -100 where nothing is trained."""

    ids: list[int]
    labels: list[int]


def read_conversations(
    path: Path, convert: bool = False
) -> tuple[list[list[Message]], dict[str, Any]]:
    """The conversations of a data file, and what their ``meta`` says
    that they are answered by (None where there is none).

    Raises InputError naming file and line for anything that cannot be trained on, and for a file
    that mixes targets.
    """
    talks, about = [], None
    for number, row in read_lines(path):
        where = f"{path}, line {number}"
        talks.append(conversation_of(row, where, convert))
        meta = row.get("meta")
        if not isinstance(meta, dict) and meta is not None:
            raise InputError(f"{where}: 'meta' must be an object")
        found = {key: (meta or {}).get(key) for key in ABOUT}
        for key, (kinds, expected) in ABOUT.items():
            if found[key] is not None and not isinstance(found[key], kinds):
                raise InputError(
                    f"{where}: 'meta' says {key} = {plain(json.dumps(found[key]))[:40]}, which is "
                    f"not {expected}; correct it, or take it out"
                )
        if about is not None and found != about:
            raise InputError(
                f"{where}: answered by another target than the lines before; train one adapter for "
                "each"
            )
        about = found
    assert about is not None  # read_lines refuses an empty file
    return talks, about


def largest_number(pages: Iterable[str]) -> int:
    """The largest whole number on some pages, of at most 15 digits; 0 without any."""
    found = (int(n) for page in pages for n in re.findall(r"(?<!\d)\d{1,15}(?!\d)", page))
    return max(found, default=0)


def conversation_of(row: dict[str, Any], where: str, convert: bool = False) -> list[Message]:
    """The messages of one row, checked.

    Raises InputError that names ``where`` and what was expected.
    """
    kinds = [kind for kind, keys in KINDS.items() if all(row.get(key) is not None for key in keys)]
    if len(kinds) > 1:
        raise InputError(
            f"{where}: a row of several kinds ({', '.join(kinds)}), and it is not clear which is "
            "meant; leave one"
        )
    kind = kinds[0] if kinds else None
    if kind in ("ShareGPT", "Alpaca") and not convert:
        raise InputError(
            f"{where}: a row of the {kind} kind; give --convert to read it as messages"
        )
    if row.get("tools"):
        raise InputError(f"{where}: 'tools' cannot be trained on; remove the row")
    if row.get("label") in (0, False) and row.get("label") is not None:
        raise InputError(f"{where}: 'label' says that this answer is a bad one; remove the row")
    if any(row.get(key) not in (None, 1, True) for key in ("weight", "train")):
        raise InputError(
            f"{where}: a row that is not to be trained on, or less than others; remove it, or what "
            "marks it"
        )
    if kind == "messages":
        messages = row["messages"]
    elif kind == "prompt and completion":
        messages = [*_part(row["prompt"], "user"), *_part(row["completion"], "assistant")]
    elif kind == "ShareGPT":
        messages = _sharegpt(row, where)
    elif kind == "Alpaca":
        messages = _alpaca(row, where)
    else:
        raise InputError(
            f"{where}: expected 'messages', a list of role and content (or 'prompt' and "
            f"'completion'); it has {', '.join(map(str, row)) or 'nothing'}"
        )
    if kind and isinstance(messages, list):
        messages = _system(row, messages)
    if not isinstance(messages, list) or not messages:
        raise InputError(f"{where}: 'messages' must be a list of at least one message")
    for message in messages:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(k), str) for k in ("role", "content")
        ):
            raise InputError(f"{where}: every message needs a 'role' and a 'content' that are text")
        if message["role"] not in ROLES:
            raise InputError(f"{where}: role {message['role']!r} is none of {', '.join(ROLES)}")
        if not message["content"].isascii() and any(
            0xD800 <= ord(c) <= 0xDFFF for c in message["content"]
        ):
            raise InputError(
                f"{where}: a message of the {message['role']} holds half of a character (an "
                "unpaired surrogate); mend or remove it"
            )
        if said := next((key for key in UNTRAINED if message.get(key)), None):
            raise InputError(
                f"{where}: a message of the {message['role']} has {said!r}, which is not trained "
                "on; write it into 'content' or remove it"
            )
        if message["role"] == "assistant" and any(
            message.get(key) not in (None, 1, True) for key in UNMARKED
        ):
            raise InputError(
                f"{where}: a turn of the assistant is marked as not to be trained on, or as "
                "less, but every one is; make it the last of a row of its own"
            )
        if not plain(message["content"]).strip():
            raise InputError(f"{where}: a message of the {message['role']} is empty")
        if message["role"] == "assistant" and message["content"] != message["content"].strip():
            raise InputError(
                f"{where}: an answer begins or ends with a blank; remove it, or the model learns "
                "to write it"
            )
    roles = [m["role"] for m in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        raise InputError(
            f"{where}: after an optional system message, user and assistant must take turns and "
            f"the assistant end; found {', '.join(roles)}"
        )
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def _part(value: Any, role: str) -> list[Any]:
    return (
        [{"role": role, "content": value}]
        if isinstance(value, str)
        else value
        if isinstance(value, list)
        else [value]
    )


def _system(row: dict[str, Any], turns: list[Any]) -> list[Any]:
    return [{"role": "system", "content": row["system"]}, *turns] if row.get("system") else turns


def _sharegpt(row: dict[str, Any], where: str) -> list[Any]:
    turns = row["conversations"]
    if not isinstance(turns, list) or not all(isinstance(t, dict) for t in turns):
        raise InputError(
            f"{where}: 'conversations' must be a list of turns with 'from' and 'value'"
        )
    found = []
    for turn in turns:
        who = str(turn.get("from", turn.get("role")))
        said = turn.get("value", turn.get("content"))
        found.append({**turn, "role": SHAREGPT.get(who, who), "content": said})
    return found


def _alpaca(row: dict[str, Any], where: str) -> list[Any]:
    earlier = row.get("history") or []
    if not isinstance(earlier, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in earlier
    ):
        raise InputError(f"{where}: 'history' must be a list of [question, answer]")
    question = "\n\n".join(str(row[k]) for k in ("instruction", "input") if row.get(k))
    pairs = [*earlier, [question, row.get("output")]]
    return [
        {"role": role, "content": said}
        for pair in pairs
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]


def tokenise(tokenizer: Any, messages: list[Message]) -> list[Tokens]:
    """Sequences in which every assistant's turn is, token for token, what measurement scores,
    end of turn included.

    One sequence for the whole conversation where the template leaves earlier turns as they were;
    otherwise (some templates write the last turn in another way than earlier ones) one sequence for
    every assistant's turn.  Raises InputError where context and answer share a token.
    """
    for message in messages:
        if without_special_tokens(tokenizer, message["content"]) != message["content"]:
            raise InputError(
                f"a message of the {message['role']} spells a special token of this tokenizer, "
                f"which begins or ends turns ({message['content'][:40]!r}); take it out"
            )
    turns = [k for k, m in enumerate(messages) if m["role"] == "assistant"]
    single: list[tuple[list[int], list[int]]] = []  # (context, turn) of each
    for k in turns:
        prompt, turn = (
            prompt_text(tokenizer, messages[:k]),
            turn_text(tokenizer, messages[:k], messages[k]["content"]),
        )
        context, whole = (_ids(tokenizer, text) for text in (prompt, prompt + turn))
        if whole[: len(context)] != context:
            raise InputError(
                "the tokenizer merges the end of the prompt with the answer "
                f"{messages[k]['content'][:40]!r}: this chat template cannot be trained exactly"
            )
        single.append((context, whole[len(context) :]))
    ids = [*single[-1][0], *single[-1][1]]
    labels = [IGNORED] * len(ids)
    for context, answer in single:
        span = slice(len(context), len(context) + len(answer))
        if ids[: span.start] != context or ids[span] != answer:
            return [Tokens([*c, *t], [IGNORED] * len(c) + t) for c, t in single]
        labels[span] = answer
    return [Tokens(ids, labels)]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def check_labels(tokenizer: Any, messages: list[Message], sequences: list[Tokens]) -> None:
    """Raises InputError unless the labels decode to exactly the assistant's turns,
    each with an end of turn and nothing else.
    """
    runs: list[list[int]] = []
    for sequence in sequences:
        before = IGNORED
        for label in sequence.labels:
            if label != IGNORED:
                runs = [*runs, []] if before == IGNORED else runs
                runs[-1].append(label)
            before = label
    wanted = [
        turn_text(tokenizer, messages[:k], m["content"])
        for k, m in enumerate(messages)
        if m["role"] == "assistant"
    ]
    found = [tokenizer.decode(run) for run in runs]
    if found != wanted:
        raise InputError(
            f"the labels decode to {' | '.join(found)[:120]!r}, not to "
            f"{' | '.join(wanted)[:120]!r}; check the chat template"
        )
