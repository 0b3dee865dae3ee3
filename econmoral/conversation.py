"""A measurement as a conversation: a page, then one question a turn.

    page and first question          user
    K                                assistant, scored
    second question                  user
    W                                assistant, scored ...

Earlier decisions stand as the assistant's own turns, so the probability of a whole strategy is the product along the
conversation.  In reasoned mode the derivation is a turn of its own before the first question: whatever it says and wherever
it stops, the next question asks for the answer.  Control questions are asked alone, right after the page, as in a laboratory.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

Message = dict[str, str]
Mode = Literal["direct", "reasoned"]
NOTHING = "(no text)"  # stands for a derivation of which nothing is left
LETTER = "Reply with the letter only."
NUMBER = "Reply with the number only."


def forms(option: str) -> tuple[str, ...]:
    """The disjoint surface forms that count as a reply: ``K`` and ``K.``."""
    return (option, option + ".")


@dataclass(frozen=True)
class Question:
    """One question: its text and its options as they are to be replied; of a control question, which one is right."""

    text: str
    options: tuple[str, ...]
    right: int | None = None


@dataclass(frozen=True)
class Step:
    """One scored turn: the conversation so far, which ends in a user's turn, and the options."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    options: tuple[str, ...]


@dataclass(frozen=True)
class Conversation:
    """A page and its questions.

    page : instructions; questions : decisions in the order in which they are asked; controls : control questions.
    work : the request for a derivation, or None; before : system message and earlier turns.
    """

    page: str
    questions: tuple[Question, ...]
    controls: tuple[Question, ...] = ()
    work: str | None = None
    before: tuple[tuple[str, str], ...] = ()

    def opening(self) -> list[Message]:
        """What is sent to get the derivation (reasoned) or the first decision (direct)."""
        return as_messages((*self.before, ("user", f"{self.page}\n{self.work or self.questions[0].text}")))

    def step(self, choices: tuple[int, ...], derivation: str | None = None) -> Step:
        """The turn that comes after the decisions ``choices``; ``derivation`` in reasoned mode."""
        turns = list(self.before)
        if self.work is not None:
            turns += [("user", f"{self.page}\n{self.work}"), ("assistant", (derivation or "").strip() or NOTHING)]
        for k in range(len(choices) + 1):
            text = self.questions[k].text
            turns.append(("user", f"{self.page}\n{text}" if k == 0 and self.work is None else text))
            if k < len(choices):
                turns.append(("assistant", self.questions[k].options[choices[k]]))
        return Step(tuple(turns), self.questions[len(choices)].options)

    def steps(self, derivation: str | None = None) -> list[list[Step]]:
        """Every turn that can come up: for each question one step for every way to have answered the earlier ones."""
        sizes = [range(len(q.options)) for q in self.questions]
        return [[self.step(path, derivation) for path in itertools.product(*sizes[:k])] for k in range(len(sizes))]

    def control_steps(self) -> list[Step]:
        """Every control question, alone after the page."""
        return [Step((*self.before, ("user", f"{self.page}\n{q.text}")), q.options) for q in self.controls]

    def transcript(self, choices: tuple[int, ...], derivation: str | None = None) -> list[Message]:
        """The whole conversation with its answers, as it is trained on."""
        last = self.step(choices[:-1], derivation)
        answer = self.questions[-1].options[choices[-1]]
        return as_messages((*last.messages, ("assistant", answer)))


def as_messages(turns: tuple[tuple[str, str], ...]) -> list[Message]:
    """Chat messages of (role, content) pairs."""
    return [{"role": role, "content": content} for role, content in turns]


def joint(levels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """From log-probabilities along the conversation to the whole strategy.

    levels : for question k an array (earlier paths, options) of log-probabilities.  Returns the probability of every
    combination of options, given that each reply is admissible, in lexicographic order, (S,); and for every question the
    probability of an admissible reply, (D,), over the paths that lead to it.
    """
    path, valid = np.ones(1), []
    for level in levels:
        total = np.logaddexp.reduce(level, axis=1)
        valid.append(float(path @ np.exp(total)))
        path = (path[:, None] * np.exp(level - total[:, None])).ravel()
    return path, np.array(valid)


# ------------------------------------------------------------------------------------------------- how models write

Outcome = Literal["answered", "unreadable", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("answered", "unreadable", "refused")
LONGEST_REPLY = 20_000  # characters that are looked at
_REFUSAL = re.compile(
    r"\b(i (?:can(?:no|')t|cannot|won't|will not|am (?:not able|unable)|do not (?:have|make)|don't (?:have|make))"
    r"|i'm (?:sorry|not able|unable)|as an ai|unable to (?:answer|choose|decide)|not (?:comfortable|appropriate))",
    re.IGNORECASE,
)
_LEAD = (
    r"(?:(?:final |my |the )?(?:answer|choice|decision|choose|chose|pick|picked|select|selected|option|prefer|rating|price|"
    r"number|offer)|go with|opt for|going with)(?: (?:is|would be|will be|to|for|option|letter|number|case))*\s*[:=]?\s*"
)


def read_reply(text: str, options: tuple[str, ...]) -> tuple[int | None, Outcome]:
    """(option that a reply names, outcome): ``answered``, ``unreadable`` or ``refused``.

    Reads what models write around an answer: bold, quotes, brackets, lower case, ``Option K``, ``I choose K because ...``,
    a closed block of thinking before it.  A reply that names several options, or none, or whose thinking never closes, is
    unreadable; one that declines is refused.  The text is never evaluated.
    """
    text = text[:LONGEST_REPLY].replace("’", "'")
    if "<think>" in text or "</think>" in text:
        _before, closed, after = text.rpartition("</think>")
        if not closed or "<think>" in after:
            return None, "unreadable"
        text = after
    text = re.sub(r"[*_`\"“”'«»#]+", lambda m: "'" if m[0] == "'" else "", text).strip()
    named = _named(text, options)
    if named is not None:
        return named, "answered"
    return None, "refused" if _REFUSAL.search(text) else "unreadable"


def _named(text: str, options: tuple[str, ...]) -> int | None:
    """The one option that a cleaned reply names, or None."""
    bare = text.strip(" .,:;!?()[]{}'\n\t")
    folded = [o.casefold() for o in options]
    if bare.casefold() in folded:
        return folded.index(bare.casefold())
    numbers = all(re.fullmatch(r"-?\d+(?:\.\d+)?", o) for o in options)
    if numbers:
        token = r"(?<![\w.,-])(?:[$€£] ?)?(-?\d+(?:\.\d+)?)(?![\w])(?! ?(?:/|out of))(?!\.\d)"
        text = re.sub(r"(\d+(?:\.\d+)?) ?(?:/|out of) ?\d+", r"\1", text)
        text = re.sub(r"(?<=\d)(?:%| ?(?:points?|euros?|dollars?|cents?)\b)", "", text)
        values = {float(o): i for i, o in enumerate(options)}

        def known(found: str) -> int | None:
            return values.get(float(found))
    else:
        longest = sorted(map(re.escape, options), key=len, reverse=True)
        token = rf"(?<![\w'-])({'|'.join(longest)})(?![\w'-])"

        def known(found: str) -> int | None:
            return options.index(found) if found in options else None

    for pattern in (_LEAD + token, token):
        # only the words that lead to an answer may be in any case: a small letter alone is a word of the sentence
        found = [known(m[1]) for m in re.finditer(f"(?i:{_LEAD}){token}" if pattern != token else token, text)]
        distinct = set(found)
        if len(distinct) == 1 and None not in distinct:
            return found[0]
        if len(distinct) > 1:
            return None
    return None
