"""Answers from an OpenAI-compatible endpoint: ``vllm serve``, or a hosted model as a baseline.

    vllm serve BASE --enable-lora --lora-modules moralis=runs/moralis
    python -m eval.games --endpoint http://localhost:8000/v1 --adapter runs/moralis \\
        --out runs/served

Where the endpoint returns the log-probabilities of a prompt it is given (``echo``, as vLLM does)
and ``--model`` names the checkpoint whose tokenizer and template are used, replies are scored
exactly.  Otherwise they are sampled through the chat interface, turn by turn, and read.  Servers
do not take the same fields: one that is refused is renamed or left out, and the next requests
know.  The key is read from the environment variable OPENAI_API_KEY.  An adapter is addressed by
the name of its folder.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from econmoral.checkpoints.loading import load_tokenizer
from econmoral.checkpoints.places import locate
from econmoral.files.records import InputError, parse_json
from econmoral.text.conversation import Message
from econmoral.text.replies import without_thinking

from .base import LONGEST_DERIVATION, Condition, Exact, Sampled, ScoredStep, Written, seed_of

TRIES = 6  # of one request; the wait doubles from half a second
TIMEOUT = 120.0  # seconds for one reply
LARGEST_REPLY = 1 << 24  # bytes
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
ROOM_TO_THINK = (
    4096  # tokens, for a server whose model thinks before it replies and cannot be told not to
)
CUT = ("length", "max_tokens", "model_length")  # why a text ended: it was too long
FILTERED = ("content_filter", "refusal")  # or it was declined, by the server or the model
LONGEST_ERROR = 4000  # bytes of an explanation that are looked at

# Sampling as it is meant, spelled out: a server's defaults are the checkpoint's own (top_k,
# repetition penalty ...)
SAMPLING: dict[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
}
# What a server may refuse, and what is sent instead: another name, or nothing
DIALECT: dict[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "seed": None,
    "logprobs": None,
    "chat_template_kwargs": None,
    "stop_token_ids": None,
    **dict.fromkeys(SAMPLING),
}
_UNKNOWN = re.compile(
    r"support|unrecogni[sz]ed|unknown|unexpected|(?:not|n't) (?:be )?(?:permitted|allowed"
    r"|accepted|valid)|extra|forbidden|deprecated|additional|only the default|no such|invalid",
    re.IGNORECASE,
)
_OUT_OF_RANGE = re.compile(r"must be|should be|range|greater|less", re.IGNORECASE)
_FILTER = re.compile(r"\bcontent_filter\b|\bcontent_policy_violation\b")  # codes of errors
_TOO_LONG = re.compile(r"context length|context window|too large|too long|exceed", re.IGNORECASE)


# what a slow, broken or lying server can cause
TROUBLE = (
    OSError,
    http.client.HTTPException,
    ValueError,
    OverflowError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


class Unanswered(Exception):
    """A request that got no usable reply in TRIES tries."""


class Garbled(Unanswered):
    """A request to which a server replied, time and again, with something else."""


class Filtered(Unanswered):
    """A request that the server's filter of contents did not let through."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go along."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_Stay)


def read_reply(reply: Any, deadline: float) -> bytes:
    """The body of a reply.

    Raises ValueError when it is longer than LARGEST_REPLY or not there by ``deadline`` (monotonic
    clock).
    """
    body = b""
    while block := reply.read1(1 << 16):
        body += block
        if len(body) > LARGEST_REPLY or time.monotonic() > deadline:
            raise ValueError("the reply is too long or too slow")
    return body


def key_of_service() -> str:
    """The key, without the line break that a file's end leaves there.

    Raises InputError, which does not show it, for one that no request can carry.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
    if not (key.isascii() and key.isprintable()):
        raise InputError(
            "the environment variable OPENAI_API_KEY holds a character that no key has; set it "
            "again"
        )
    return key


def refused_field(said: str, body: Mapping[str, Any]) -> str | None:
    """The field of a request that an error's explanation refuses,
    if it can do without that field under that name.
    """
    if _TOO_LONG.search(said):
        return None
    places = {
        name: m.start()
        for name in body
        if name in DIALECT and (m := re.search(rf"(?<!\w){name}(?!\w)", said))
    }
    with suppress(*TROUBLE):
        places = {
            name: 0 for name in places if name == json.loads(said)["error"]["param"]
        } or places
    if not _UNKNOWN.search(said):  # a value out of range is no reason to send no length at all
        places = {
            name: k for name, k in places.items() if name in SAMPLING and _OUT_OF_RANGE.search(said)
        }
    field = min(places, key=lambda name: places[name], default=None)
    # a temperature that was asked for is not given up in silence
    return None if field == "temperature" and body[field] != SAMPLING[field] else field


class Endpoint:
    """Requests to one address, several at a time, in the dialect that it takes.

    What never comes is counted, not lost.

    failures : requests that got no usable reply.  finished : how often a text ended for which
    reason.
    """

    def __init__(
        self, address: str, concurrency: int = 16, wait: float = 0.5, timeout: float = TIMEOUT
    ) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(
                "--endpoint must be an address that starts with http:// or https://, got "
                f"{address!r}"
            )
        self.address, self.concurrency, self.wait, self.timeout = (
            address.rstrip("/"),
            concurrency,
            wait,
            timeout,
        )
        self.failures = 0
        self.finished: Counter[str] = Counter()
        # for every path the fields that it refused, and their new names
        self.left_out: dict[str, dict[str, str | None]] = {}
        self._guard = threading.Lock()

    @property
    def note(self) -> str:
        """Which fields the server refused, and how texts ended other than by themselves.

        Empty when there is nothing to say.
        """
        fields = {old: new for path in self.left_out.values() for old, new in path.items()}
        parts = [
            f"{old} sent as {new}" if new else f"{old} left out" for old, new in fields.items()
        ]
        parts += [
            f"{count} texts ended by {why!r}"
            for why, count in sorted(self.finished.items())
            if why != "stop"
        ]
        return "; ".join(parts)

    def spoken(self, path: str, body: Mapping[str, Any]) -> dict[str, object]:
        """A request as this server takes it."""
        changes = self.left_out.get(path, {})
        found: dict[str, object] = {}
        for name, value in body.items():
            new: str | None = name
            while new in changes:
                new = changes[new]
            if new is not None:
                found[new] = value
        return found

    def learn(self, path: str, said: str, body: Mapping[str, Any]) -> bool:
        """Whether the request, changed by what the error says, is worth another try."""
        field = refused_field(said, body)
        if field is None:
            # a field under its second name
            seconds = [
                new
                for new in DIALECT.values()
                if new in body and _UNKNOWN.search(said) and re.search(rf"(?<!\w){new}(?!\w)", said)
            ]
            field = seconds[0] if seconds and not _TOO_LONG.search(said) else None
        if field is None:
            return False
        with self._guard:
            self.left_out.setdefault(path, {})[field] = DIALECT.get(field)
        return True

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
        """What ``read`` finds in the reply.  Tries again on a busy, failing, slow or garbled
        server, and in other words on one that refuses a field.

        Raises InputError when the server refuses for good (no such model, no rights), Filtered
        when it does not pass on what it was sent, Unanswered after the last try, Garbled where
        that was replied to.
        """
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {key_of_service()}",
        }
        trouble, attempt, changes, body_of = "", 0, 0, b""
        while attempt < TRIES:
            pause = self.wait * 2**attempt * (0.5 + random.random())
            sent = self.spoken(path, body)
            request = urllib.request.Request(
                self.address + path, json.dumps(sent).encode(), headers
            )
            try:
                body_of = b""
                with OPENER.open(request, timeout=self.timeout) as reply:
                    body_of = read_reply(reply, time.monotonic() + self.timeout)
                return read(parse_json(body_of))
            except urllib.error.HTTPError as error:
                said = ""
                # the explanation may break off too
                with suppress(OSError, http.client.HTTPException):
                    said = error.read(LONGEST_ERROR).decode("utf-8", "replace")
                if error.code == 400 and _FILTER.search(said):
                    raise Filtered(" ".join(said.split())) from None
                if (
                    error.code in (400, 404, 422)
                    and changes <= len(DIALECT)
                    and self.learn(path, said, sent)
                ):
                    changes += 1
                    continue
                said = " ".join(said.split())
                if error.code not in AGAIN:
                    raise InputError(
                        f"{self.address}{path} answers {error.code}: {said[:200]}"
                    ) from None
                trouble = f"{error.code}: {said[:80]}"
                with suppress(ValueError):  # it may also be a date
                    pause = max(pause, min(60.0, float(error.headers.get("Retry-After", 0))))
            except TROUBLE as error:
                trouble = f"{type(error).__name__}: {str(error)[:80]}"
                if body_of:  # what it said instead tells more than what could not be found in it
                    said = " ".join(body_of[:LONGEST_ERROR].decode("utf-8", "replace").split())
                    trouble = f"it says {said[:120]!r}"
            attempt += 1
            if attempt < TRIES:
                time.sleep(pause)
        raise (Garbled if body_of else Unanswered)(trouble)

    def post_all(
        self,
        path: str,
        bodies: Sequence[Mapping[str, Any]],
        read: Callable[[Any], Any],
        filtered: Callable[[str], Any] | None = None,
    ) -> list[Any]:
        """Replies in the order of the requests, None for one that never came.

        filtered : the reply that stands for what the server's filter said instead of one; without
        it such a request is one that never came.  Raises InputError when none came at all.
        """
        troubles: list[str] = []

        def one(body: Mapping[str, Any]) -> Any:
            try:
                return self.post(path, body, read)
            except Unanswered as error:
                if filtered is not None and isinstance(error, Filtered):
                    return filtered(str(error))
                troubles.append(str(error)[:200])
                return None

        with ThreadPoolExecutor(self.concurrency) as pool:
            replies = list(pool.map(one, bodies))
        self.failures += len(troubles)
        if bodies and len(troubles) == len(bodies):
            raise InputError(
                f"{self.address}{path} gave no usable reply to any of {len(bodies)} requests "
                f"({troubles[-1]}); nothing is lost, run the command again"
            )
        return replies


def prompt_log_probabilities(reply: Any) -> list[float | None]:
    """Log-probability of every token that was sent and of the one written after them,
    from an ``echo`` reply.

    Raises ValueError when one is no log-probability.
    """
    said = reply["choices"][0]["logprobs"]["token_logprobs"]
    values = [None if v is None else float(v) for v in said]
    if not isinstance(said, list) or not all(
        v is None or (math.isfinite(v) and v < 0.01) for v in values
    ):
        raise ValueError("a value is no log-probability")
    return values


def texts_of(reply: Any) -> list[tuple[str, str]]:
    """(text, why it ended) of every reply to a prompt."""
    return [
        (str(choice["text"] or ""), str(choice.get("finish_reason") or "stop"))
        for choice in reply["choices"]
    ]


def message_of(reply: Any) -> tuple[str, str, int]:
    """(text, why it ended, tokens used) of a reply to a conversation.

    The text is empty for a refusal without words.
    """
    choice = reply["choices"][0]
    content, why = choice["message"].get("content"), str(choice.get("finish_reason") or "stop")
    if not content and (refusal := choice["message"].get("refusal")):
        content, why = refusal, "refusal"
    if isinstance(content, list):
        content = "".join(
            part if isinstance(part, str) else str(part.get("text") or "") for part in content
        )
    used = (reply.get("usage") or {}).get("total_tokens") or 0
    return str(content or ""), why, int(used)


class Served(Exact):
    """Exact scores from an endpoint that echoes log-probabilities."""

    def __init__(self, endpoint: Endpoint, base: str, tokenizer: Any) -> None:
        self.endpoint, self.base, self.tokenizer = endpoint, base, tokenizer
        self.device = endpoint.address

    @property
    def note(self) -> str:  # type: ignore[override]
        """What the endpoint would not take."""
        return self.endpoint.note

    def log_probabilities(
        self, groups: list[list[ScoredStep]], condition: Condition
    ) -> list[list[np.ndarray] | None]:
        """One request for every reply to every turn; equal ones are sent once.

        A group of which one score never came is lost.
        """
        pairs = {
            (tuple(s.context), tuple(form))
            for group in groups
            for s in group
            for several in s.options
            for form in several
        }
        jobs = sorted(pairs)
        model = {"model": condition.adapter or self.base}
        fixed = model | {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        bodies = [fixed | {"prompt": [*context, *form]} for context, form in jobs]
        log_p: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
        for (context, form), values in zip(
            jobs,
            self.endpoint.post_all("/completions", bodies, prompt_log_probabilities),
            strict=True,
        ):
            # a server that puts a token of its own before the prompt would shift every score
            whole = values and len(values) in (
                len(context) + len(form),
                len(context) + len(form) + 1,
            )
            part = values[len(context) : len(context) + len(form)] if whole else []
            if len(part) == len(form) and None not in part:
                log_p[context, form] = sum(part)
        self.tokens += sum(len(context) + len(form) + 1 for context, form in jobs)
        results: list[list[np.ndarray] | None] = []
        for group in groups:
            try:
                results.append(
                    [
                        np.array(
                            [
                                np.logaddexp.reduce(
                                    [log_p[tuple(s.context), tuple(f)] for f in several]
                                )
                                for several in s.options
                            ]
                        )
                        for s in group
                    ]
                )
            except KeyError:
                results.append(None)
        return results

    def derive(
        self,
        heads: list[list[int]],
        samples: list[int],
        condition: Condition,
        seed: int,
        longest: int,
    ) -> list[list[tuple[str, bool]]]:
        """Sampled texts; none for a head of which one never came, whoever sends one at a time
        instead of ``n`` being asked for the others.

        A page without its derivation would be another question.
        """
        fixed = (
            {
                "model": condition.adapter or self.base,
                "max_tokens": longest,
                "stop_token_ids": self.ends_of_turn(),
            }
            | SAMPLING
            | {"temperature": self.temperature}
        )
        bodies = [
            fixed | {"prompt": head, "n": n, "seed": seed_of(seed, i)}
            for i, (head, n) in enumerate(zip(heads, samples, strict=True))
        ]
        replies = self.endpoint.post_all("/completions", bodies, texts_of)
        short = [
            (i, k)
            for i, (reply, n) in enumerate(zip(replies, samples, strict=True))
            for k in range(len(reply) if reply else n, n)
        ]
        alone = [bodies[i] | {"n": 1, "seed": seed_of(seed, i, k)} for i, k in short]
        for (i, _), reply in zip(
            short, self.endpoint.post_all("/completions", alone, texts_of), strict=True
        ):
            replies[i] = [*replies[i], *(reply or [])]
        results = []
        for reply, n in zip(replies, samples, strict=True):
            texts = [
                (self.until_end(text), why in CUT and self.until_end(text) == text)
                for text, why in (reply or [])[:n]
            ]
            self.endpoint.finished.update(why for _, why in (reply or [])[:n])
            results.append(texts if len(texts) == n else [])
        return results


class Chat:
    """Free replies through the chat interface."""

    def __init__(self, endpoint: Endpoint, base: str) -> None:
        self.endpoint, self.base = endpoint, base
        self.device = endpoint.address
        self.tokens = 0  # as far as the server says
        self.room = 0  # tokens that every reply is given at least

    @property
    def note(self) -> str:
        """What the endpoint would not take."""
        return self.endpoint.note

    def write(
        self,
        conversations: Sequence[list[Message]],
        condition: Condition,
        seed: int,
        longest: int = LONGEST_DERIVATION,
    ) -> list[Written]:
        """One free reply to each conversation.

        Thinking is switched off by the template's argument.  Where a model thinks all the same and
        was cut before it said anything, it is given room, once and from then on.
        """
        found = self._ask(
            [(messages, seed_of(seed, i)) for i, messages in enumerate(conversations)],
            condition,
            longest,
        )
        silent = [
            i for i, t in enumerate(found) if t.cut and not (without_thinking(t) or "").strip()
        ]
        if silent and self.room < ROOM_TO_THINK and longest < ROOM_TO_THINK:
            self.room = ROOM_TO_THINK
            again = self._ask(
                [(conversations[i], seed_of(seed, i)) for i in silent], condition, longest
            )
            for i, text in zip(silent, again, strict=True):
                found[i] = text
        self.endpoint.finished.update(
            "content_filter" if text.refused else "length" if text.cut else "stop"
            for text in found
            if not text.lost
        )
        return found

    def _ask(
        self, jobs: Sequence[tuple[list[Message], int]], condition: Condition, longest: int
    ) -> list[Written]:
        fixed = {
            "model": condition.adapter or self.base,
            "max_tokens": max(longest, self.room),
        } | SAMPLING
        fixed |= {"chat_template_kwargs": {"enable_thinking": False}}
        bodies = [fixed | {"messages": messages, "seed": seed} for messages, seed in jobs]
        replies = []
        for reply in self.endpoint.post_all(
            "/chat/completions", bodies, message_of, lambda said: (said, "content_filter", 0)
        ):
            if reply is None:
                replies.append(Written("", lost=True))
            else:
                text, why, used = reply
                self.tokens += used
                replies.append(Written(text, cut=why in CUT, refused=why in FILTERED))
        return replies


def connect(
    address: str, model: str | None, served: str, samples: int, concurrency: int = 16
) -> tuple[Served | Sampled, str]:
    """(engine, why this one): exact where the endpoint echoes log-probabilities
    of the model's own tokens, else sampled.

    Raises InputError for a server that does not answer at all: what it would offer is not known.
    """
    endpoint = Endpoint(address, concurrency)
    if model is None:
        return Sampled(
            Chat(endpoint, served)
        ), f"sampled, {samples} a page: no --model names the tokenizer"
    tokenizer = load_tokenizer(locate(model, weights=False))
    probe = tokenizer("one two three")["input_ids"]
    body = {
        "model": served,
        "prompt": probe,
        "echo": True,
        "logprobs": 1,
        "max_tokens": 1,
        "temperature": 0,
    }
    try:
        reply = endpoint.post("/completions", body, lambda said: said)
        values = prompt_log_probabilities(reply)
        if len(values) in (len(probe), len(probe) + 1) and None not in values[1 : len(probe)]:
            return Served(
                endpoint, served, tokenizer
            ), "exact: the endpoint echoes log-probabilities"
        why = "the endpoint does not echo log-probabilities"
    except (InputError, Garbled) as error:
        why = f"no log-probabilities ({str(error)[:80]})"
    except Unanswered as error:
        raise InputError(
            f"{endpoint.address}/completions gave no usable reply ({str(error)[:120]}); run the "
            "command again when the server is up"
        ) from None
    except TROUBLE as error:
        why = f"no log-probabilities ({type(error).__name__}: {str(error)[:80]})"
    return Sampled(Chat(endpoint, served)), f"sampled, {samples} a page: {why}"
