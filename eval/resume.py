"""One resume for every command: an answer is kept under what was asked, of whom, and how.

The key is a hash of the conversation as it is rendered and its options; where something is sampled,
also of the samples, the seed and the length.  The file's name is a hash of the weights (base and
adapter) and the engine.  Whatever changes a question changes its key, so that it is asked again;
what was asked before is not.  Answers of one call to the engine make one line: a line that a kill
cut short is asked again as a whole, and sampled texts come out the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from typing import Protocol as Interface

from econmoral.files.records import InputError, append_lines, read_whole_lines, write_lines
from econmoral.text.conversation import Conversation, Message

from .engines.base import LONGEST_DERIVATION, Answer, Condition, Engine, Request, Written

FOLDER = "answers"  # in the folder of the results


class Owner(Interface):
    """Says whose answers they are."""

    def of(self, condition: Condition) -> str:
        """A name for the weights of a condition in its engine."""
        ...


def prompt_hash(asked: Iterable[Conversation | list[Message]]) -> str:
    """Hash of conversations as they are asked: a page changed by one character has another one."""
    digest = hashlib.sha256()
    for one in asked:
        what = asdict(one) if isinstance(one, Conversation) else one
        digest.update(json.dumps(what).encode() + b"\n")
    return digest.hexdigest()[:16]


class Remembering:
    """An engine that is asked only what it was not asked before.  It is itself an engine.

    folder : where answers are kept.  owner : whose they are.  load : opens the engine, on the first
    question that is new.  sampled : whether replies are (or may be) sampled; derivations always
    are.
    how : what else sampled text depends on (its seed, its temperature).
    """

    def __init__(
        self,
        folder: Path,
        owner: Owner,
        load: Callable[[], Engine],
        sampled: bool,
        how: Sequence[object] = (),
    ) -> None:
        self.folder, self.owner, self.load, self.sampled, self.how = (
            folder,
            owner,
            load,
            sampled,
            list(how),
        )
        self.engine: Engine | None = None
        self._kept: dict[str, dict[str, Answer | str]] = {}
        self._kinds: set[bool] = set()  # whether what was given out was sampled

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Answers in the order of the requests; those that are kept are not asked for."""
        kept = self._of(condition)
        keys = self._keys(requests, seed)
        new = {k: r for k, r in zip(keys, requests, strict=True) if k not in kept}
        if new:
            answers = self._opened().score(list(new.values()), condition, seed)
            self._keep(condition, {k: a for k, a in zip(new, answers, strict=True) if not a.lost})
            kept.update(zip(new, answers, strict=True))
        found = [cast(Answer, kept[k]) for k in keys]  # texts have keys of their own
        self._check_kind(found)
        return found

    def write(
        self,
        conversations: Sequence[list[Message]],
        condition: Condition,
        seed: int,
        longest: int = LONGEST_DERIVATION,
    ) -> list[str]:
        """Free replies in the order of the conversations; those that are kept are not asked for."""
        kept = self._of(condition)
        what = [[messages, seed, longest, self.how] for messages in conversations]
        keys = _numbered([_hash(w) for w in what])
        new = {k: c for k, c in zip(keys, conversations, strict=True) if k not in kept}
        if new:
            writer = self._opened()
            texts = writer.write(list(new.values()), condition, seed, longest)  # type: ignore[attr-defined]
            came = [not getattr(t, "lost", False) for t in texts]
            said = {k: t if c else "" for k, t, c in zip(new, texts, came, strict=True)}
            self._keep(condition, {k: said[k] for k, c in zip(new, came, strict=True) if c})
            kept.update(said)
        return [cast(str, kept[k]) for k in keys]

    @property
    def drawn(self) -> bool:
        """Whether answers were counted from sampled replies."""
        return True in self._kinds

    def _keys(self, requests: Sequence[Request], seed: int) -> list[str]:
        keys: list[str] = []
        drawn: list[int] = []
        for r in requests:
            what: list[object] = [asdict(r.conversation)]
            if self.sampled or r.conversation.work is not None:
                what += [r.samples, r.longest, seed, self.sampled, *self.how]
                drawn.append(len(keys))
            keys.append(_hash(what))
        # two like pages of one call get draws of their own
        for i, key in zip(drawn, _numbered([keys[i] for i in drawn]), strict=True):
            keys[i] = key
        return keys

    def _opened(self) -> Engine:
        if self.engine is None:
            self.engine = self.load()
        return self.engine

    def _check_kind(self, answers: Sequence[Answer]) -> None:
        """Raises InputError where some answers were sampled and others are exact: a server may
        offer one thing today and another tomorrow, and they do not mix.
        """
        self._kinds |= {bool(a.outcomes) for a in answers if not a.lost}
        if len(self._kinds) > 1:
            raise InputError(
                f"{self.folder} keeps answers of another kind than the server gives now (sampled "
                "replies, exact probabilities), and they do not mix; choose another --out, or "
                "delete that folder"
            )

    def _path(self, condition: Condition) -> Path:
        return self.folder / f"{self.owner.of(condition)}.jsonl"

    def _of(self, condition: Condition) -> dict[str, Answer | str]:
        name = self.owner.of(condition)
        if name not in self._kept:
            path = self._path(condition)
            rows, kept = read_whole_lines(path), self._kept.setdefault(name, {})
            for n, row in enumerate(rows):
                try:
                    answers = [_text(a) if "text" in a else Answer.read(a) for a in row["answers"]]
                    kept.update(zip(row["asked"], answers, strict=True))
                except (KeyError, TypeError, ValueError, AttributeError):
                    # as a line that was cut short: what comes after it is asked again
                    write_lines(path, rows[:n])
                    break
        return self._kept[name]

    def _keep(self, condition: Condition, answers: Mapping[str, Answer | str]) -> None:
        """Answers that came, on disk: one that an endpoint lost is asked again by the next run."""
        rows = [a.record() if isinstance(a, Answer) else _kept(a) for a in answers.values()]
        if rows:
            append_lines(self._path(condition), [{"asked": list(answers), "answers": rows}])


def _kept(text: str) -> dict[str, object]:
    """A free reply as JSON holds it, with how it ended where that is not by itself."""
    return {"text": str(text)} | {k: True for k in ("cut", "refused") if getattr(text, k, False)}


def _text(row: Mapping[str, Any]) -> str:
    return Written(row["text"], bool(row.get("cut")), refused=bool(row.get("refused")))


def _hash(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _numbered(keys: Sequence[str]) -> list[str]:
    """The same keys, told apart by how often each came before."""
    before: Counter[str] = Counter()
    numbered = []
    for key in keys:
        numbered.append(f"{key}-{before[key]}")
        before[key] += 1
    return numbered
