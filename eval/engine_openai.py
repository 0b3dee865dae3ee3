"""Answers from an OpenAI-compatible endpoint: ``vllm serve``, or a hosted model as a baseline.

    vllm serve BASE --enable-lora --lora-modules moralis=runs/moralis
    python -m eval.games --endpoint http://localhost:8000/v1 --adapter runs/moralis --out runs/served

Where the endpoint returns the log-probabilities of a prompt it is given (``echo``, as vLLM does) and ``--model`` names the
checkpoint whose tokenizer and template are used, answers are scored exactly.  Otherwise they are sampled through the chat
interface and counted; what is no admissible answer, and what never came, is what is missing to 1.
The key is read from the environment variable OPENAI_API_KEY.  An adapter is addressed by the name of its folder.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from econmoral.checkpoints import load_tokenizer, locate
from econmoral.prompts import Message
from econmoral.records import InputError, parse_json
from eval.engines import LONGEST_DERIVATION, Answer, Arm, Exact, Request
from eval.replies import final_answer

TRIES = 6  # of one request; the wait doubles from half a second
TIMEOUT = 120.0  # seconds for one reply
LARGEST_REPLY = 1 << 24  # bytes
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)


# what a slow, broken or lying server can cause
TROUBLE = (OSError, http.client.HTTPException, ValueError, OverflowError, LookupError, TypeError, AttributeError, RecursionError)


class Unanswered(Exception):
    """A request that got no usable reply in TRIES tries."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go along."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_Stay)


def read_reply(reply: Any, deadline: float) -> bytes:
    """The body of a reply.  Raises ValueError when it is longer than LARGEST_REPLY or not there by ``deadline`` (monotonic clock)."""
    body = b""
    while block := reply.read1(1 << 16):
        body += block
        if len(body) > LARGEST_REPLY or time.monotonic() > deadline:
            raise ValueError("the reply is too long or too slow")
    return body


class Endpoint:
    """Requests to one address, several at a time; what never comes is counted, not lost."""

    def __init__(self, address: str, concurrency: int = 16, wait: float = 0.5, timeout: float = TIMEOUT) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--endpoint must be an address that starts with http:// or https://, got {address!r}")
        self.address, self.concurrency, self.wait, self.timeout = address.rstrip("/"), concurrency, wait, timeout
        self.failures = 0

    def post(self, path: str, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        """What ``read`` finds in the reply.  Tries again on a busy, failing, slow or garbled server.

        Raises InputError when the server refuses for good (no such model, no rights), Unanswered after the last try.
        """
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
        trouble = ""
        for attempt in range(TRIES):
            pause = self.wait * 2**attempt * (0.5 + random.random())
            try:
                with OPENER.open(urllib.request.Request(self.address + path, data, headers), timeout=self.timeout) as reply:
                    return read(parse_json(read_reply(reply, time.monotonic() + self.timeout)))
            except urllib.error.HTTPError as error:
                said = ""
                with suppress(OSError, http.client.HTTPException):  # the explanation may break off too
                    said = " ".join(error.read(300).decode("utf-8", "replace").split())
                if error.code not in AGAIN:
                    raise InputError(f"{self.address}{path} answers {error.code}: {said[:200]}") from None
                trouble = f"{error.code}: {said[:80]}"
                with suppress(ValueError):  # it may also be a date
                    pause = max(pause, min(60.0, float(error.headers.get("Retry-After", 0))))
            except TROUBLE as error:
                trouble = f"{type(error).__name__}: {str(error)[:80]}"
            if attempt < TRIES - 1:
                time.sleep(pause)
        raise Unanswered(trouble)

    def post_all(self, path: str, bodies: Sequence[dict[str, Any]], read: Callable[[Any], Any]) -> list[Any]:
        """Replies in the order of the requests, None for one that never came.  Raises InputError when none came at all."""
        troubles: list[str] = []

        def one(body: dict[str, Any]) -> Any:
            try:
                return self.post(path, body, read)
            except Unanswered as error:
                troubles.append(str(error))
                return None

        with ThreadPoolExecutor(self.concurrency) as pool:
            replies = list(pool.map(one, bodies))
        self.failures += len(troubles)
        if bodies and len(troubles) == len(bodies):
            raise InputError(
                f"{self.address}{path} gave no usable reply to any of {len(bodies)} requests ({troubles[-1]}); nothing is lost, run the command again"
            )
        return replies


def prompt_log_probabilities(reply: Any) -> list[float | None]:
    """Log-probability of every token that was sent and of the one written after them, from an ``echo`` reply.

    Raises ValueError when one is no log-probability.
    """
    said = reply["choices"][0]["logprobs"]["token_logprobs"]
    values = [None if v is None else float(v) for v in said]
    if not isinstance(said, list) or not all(v is None or (math.isfinite(v) and v < 0.01) for v in values):
        raise ValueError("a value is no log-probability")
    return values


def texts_of(reply: Any) -> list[str]:
    """The texts of a reply to a prompt."""
    return [str(choice["text"]) for choice in reply["choices"]]


def message_of(reply: Any) -> str:
    """The text of a reply to a conversation; empty for a refusal without words."""
    return str(reply["choices"][0]["message"]["content"] or "")


class Served(Exact):
    """Exact scores from an endpoint that echoes log-probabilities."""

    def __init__(self, endpoint: Endpoint, base: str, tokenizer: Any) -> None:
        self.endpoint, self.base, self.tokenizer = endpoint, base, tokenizer
        self.device = endpoint.address

    def log_probabilities(self, heads: list[list[int]], tails: list[list[list[int]]], arm: Arm) -> list[np.ndarray]:
        """One request for every answer; where the scores of one never came, all of its page are minus infinity: unanswered."""
        jobs = [(head, tail) for head, group in zip(heads, tails, strict=True) for tail in group]
        bodies = [
            {"model": arm.adapter or self.base, "prompt": [*head, *tail], "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0} for head, tail in jobs
        ]
        replies = iter(self.endpoint.post_all("/completions", bodies, prompt_log_probabilities))
        results = []
        for head, group in zip(heads, tails, strict=True):
            row = []
            for tail in group:
                values = next(replies)
                part = values[len(head) : len(head) + len(tail)] if values else []
                row.append(sum(part) if len(part) == len(tail) and None not in part else -np.inf)
            results.append(np.array(row, dtype=float) if np.isfinite(row).all() else np.full(len(row), -np.inf))
        return results

    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int) -> list[list[str]]:
        """Sampled texts; one that never came is empty."""
        bodies = [
            {"model": arm.adapter or self.base, "prompt": head, "n": n, "temperature": 1, "top_p": 1, "max_tokens": LONGEST_DERIVATION, "seed": 1000 * seed + i}
            for i, (head, n) in enumerate(zip(heads, samples, strict=True))
        ]
        replies = self.endpoint.post_all("/completions", bodies, texts_of)
        return [[*(reply or []), *[""] * n][:n] for reply, n in zip(replies, samples, strict=True)]


class Sampled:
    """Counts of answers sampled through the chat interface."""

    def __init__(self, endpoint: Endpoint, base: str, samples: int) -> None:
        self.endpoint, self.base, self.samples = endpoint, base, samples
        self.device = endpoint.address
        self.refusals = 0

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Shares of ``samples`` replies that are each candidate; refusals and replies that never came are in none."""
        replies = iter(self._chat([(r.messages, 1000 * seed + k) for r in requests for k in range(self.samples)], arm))
        answers = []
        for r in requests:
            texts = [next(replies) for _ in range(self.samples)]
            counts = np.zeros(len(r.candidates))
            for text in texts:
                said = final_answer(text or "")
                if said in r.candidates:
                    counts[r.candidates.index(said)] += 1
                else:
                    self.refusals += 1
            answers.append(Answer(counts / self.samples, tuple(t for t in texts if t) if r.samples else (), sampled=True))
        return answers

    def write(self, conversations: Sequence[list[Message]], arm: Arm, seed: int) -> list[str]:
        """One free reply to each conversation; one that never came is empty."""
        return [text or "" for text in self._chat([(messages, 1000 * seed + i) for i, messages in enumerate(conversations)], arm)]

    def _chat(self, jobs: Sequence[tuple[list[Message], int]], arm: Arm) -> list[str | None]:
        fixed = {"model": arm.adapter or self.base, "temperature": 1, "max_tokens": LONGEST_DERIVATION}
        bodies = [fixed | {"messages": messages, "seed": seed} for messages, seed in jobs]
        return self.endpoint.post_all("/chat/completions", bodies, message_of)


def connect(address: str, model: str | None, served: str, samples: int, concurrency: int = 16) -> tuple[Served | Sampled, str]:
    """(engine, why this one): exact where the endpoint echoes log-probabilities of the model's own tokens, else sampled."""
    endpoint = Endpoint(address, concurrency)
    if model is None:
        return Sampled(endpoint, served, samples), f"sampled, {samples} a page: no --model names the tokenizer"
    tokenizer = load_tokenizer(locate(model, weights=False))
    probe = tokenizer("one two three")["input_ids"]
    body = {"model": served, "prompt": probe, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    try:
        values = endpoint.post("/completions", body, prompt_log_probabilities)
        if len(values) >= len(probe) and None not in values[1 : len(probe)]:
            return Served(endpoint, served, tokenizer), "exact: the endpoint echoes log-probabilities"
        why = "the endpoint does not echo log-probabilities"
    except (InputError, Unanswered) as error:
        why = f"no log-probabilities ({str(error)[:80]})"
    return Sampled(endpoint, served, samples), f"sampled, {samples} a page: {why}"
