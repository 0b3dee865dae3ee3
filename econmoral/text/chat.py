"""How a conversation becomes a checkpoint's text: the same bytes in training and in measurement."""

from __future__ import annotations

import hashlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from econmoral.files.records import InputError

# what a template that reads the clock is told: figures do not differ from day to day
NOW = datetime(2024, 7, 26, 12)
# Qwen3 thinks unless told not to; Llama 3.2 prints today's date unless given one.  Templates
# ignore names they do not know.
TEMPLATE_ARGUMENTS = {"enable_thinking": False, "date_string": NOW.strftime("%d %b %Y")}

LONGEST_RENDERING = 5  # seconds
LARGEST_NUMBER = 100_000  # in a template: what counts further could fill the memory


def prompt_text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The conversation up to where the assistant starts to write.

    tokenizer : a tokenizer of the transformers library.  Raises InputError when it has no chat
    template, or one that fails.
    """
    return _render(tokenizer, messages, add_generation_prompt=True)


def turn_text(tokenizer: Any, messages: list[dict[str, str]], answer: str) -> str:
    """What follows ``prompt_text``: the answer, then the template's end of turn,
    without the line break after it.

    Raises InputError when the template does not continue the prompt with the answer as it stands.
    """
    prompt = prompt_text(tokenizer, messages)
    whole = _render(
        tokenizer,
        [*messages, {"role": "assistant", "content": answer}],
        add_generation_prompt=False,
    )
    if not whole.startswith(prompt + answer):
        raise InputError(
            "this chat template does not write the assistant's text, unchanged, after the prompt; "
            "use an instruction-tuned checkpoint without it"
        )
    end = whole[len(prompt + answer) :].rstrip("\n")
    if not end:
        raise InputError(
            "this chat template does not end the assistant's turn; the model could not learn to "
            "stop"
        )
    return answer + end


def prompt_hash(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """SHA-256 of ``prompt_text``, for records: equal bytes were asked."""
    return hashlib.sha256(prompt_text(tokenizer, messages).encode()).hexdigest()


def end_of_turn(tokenizer: Any) -> str:
    """What the template writes after the assistant's text.

    Raises InputError as ``turn_text`` does.
    """
    return turn_text(tokenizer, [{"role": "user", "content": "x"}], "K")[1:]


def without_special_tokens(tokenizer: Any, text: str) -> str:
    """A model's text that can stand in a turn: words
    that the tokenizer reads as special tokens are taken out.
    """
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    special = sorted(
        {*map(str, tokenizer.all_special_tokens), *added} - {""}, key=len, reverse=True
    )
    if special:
        found = re.compile("|".join(map(re.escape, special)))
        while found.search(text):  # what is left over may form one again
            text = found.sub("", text)
    return text


class _Clock:
    """Stands in for ``datetime`` where transformers' templates read the clock."""

    @staticmethod
    def now() -> datetime:
        return NOW


def stop_the_clock() -> None:
    """Give every template of this process NOW as the time, also where a trainer renders it."""
    if utilities := sys.modules.get("transformers.utils.chat_template_utils"):
        utilities.datetime = _Clock  # type: ignore[attr-defined]


def _render(tokenizer: Any, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise InputError(
            f"{tokenizer.name_or_path} has no chat template; use an instruction-tuned checkpoint"
        )
    check_template(str(tokenizer.chat_template), str(tokenizer.name_or_path))
    stop_the_clock()
    try:
        with _at_most(LONGEST_RENDERING):
            text = tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **TEMPLATE_ARGUMENTS,
            )
    except Exception as error:  # whatever Jinja, or a template's own check, may raise
        raise InputError(
            f"the chat template of {tokenizer.name_or_path} refuses this conversation: {error}"
        ) from None
    return str(text)


@cache
def check_template(template: str, name: str) -> None:
    """Raises InputError for a chat template that could fill the memory:
    transformers' sandbox keeps code out, not size.

    No template of a real checkpoint multiplies, takes powers or counts to LARGEST_NUMBER.
    """
    from jinja2 import Environment, TemplateSyntaxError, nodes

    stop_the_clock()  # a trainer renders by itself
    text = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)  # a tag of transformers' own
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True).parse(text)
    except (TemplateSyntaxError, RecursionError) as error:
        raise InputError(f"the chat template of {name} cannot be read: {error}") from None
    constants = [node.value for node in tree.find_all(nodes.Const)]
    too_large = any(isinstance(v, int | float) and abs(v) > LARGEST_NUMBER for v in constants)
    if too_large or next(tree.find_all((nodes.Pow, nodes.Mul)), None):
        raise InputError(
            f"the chat template of {name} counts or multiplies as no conversation needs: it could "
            "fill the memory and is not run"
        )


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer (in the main thread, where commands run templates;
    never on Windows, which has no such alarm).
    """
    alarmed = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    if not alarmed:
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError("it takes too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
