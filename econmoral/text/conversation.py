"""A measurement as a conversation: a page, then one question a turn.

    page and first question          user
    K                                assistant, scored
    second question                  user
    W                                assistant, scored ...

Earlier decisions stand as the assistant's own turns, so the probability of a whole strategy is the
product along the conversation.  In reasoned mode the derivation is a turn of its own before the
first question: whatever it says and wherever it stops, the next question asks for the answer.
Control questions are asked alone, right after the page, as in a laboratory.
"""

from __future__ import annotations

import itertools
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
    """One question: its text and its options as they are to be replied;
    of a control question, which one is right.
    """

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

    page : instructions; questions : decisions in the order in which they are asked; controls :
    control questions.  work : the request for a derivation, or None; before : system message and
    earlier turns.
    """

    page: str
    questions: tuple[Question, ...]
    controls: tuple[Question, ...] = ()
    work: str | None = None
    before: tuple[tuple[str, str], ...] = ()

    def opening(self) -> list[Message]:
        """What is sent to get the derivation (reasoned) or the first decision (direct)."""
        return as_messages(
            (*self.before, ("user", f"{self.page}\n{self.work or self.questions[0].text}"))
        )

    def step(self, choices: tuple[int, ...], derivation: str | None = None) -> Step:
        """The turn that comes after the decisions ``choices``; ``derivation`` in reasoned mode."""
        turns = list(self.before)
        if self.work is not None:
            turns += [
                ("user", f"{self.page}\n{self.work}"),
                ("assistant", (derivation or "").strip() or NOTHING),
            ]
        for k in range(len(choices) + 1):
            text = self.questions[k].text
            turns.append(("user", f"{self.page}\n{text}" if k == 0 and self.work is None else text))
            if k < len(choices):
                turns.append(("assistant", self.questions[k].options[choices[k]]))
        return Step(tuple(turns), self.questions[len(choices)].options)

    def steps(self, derivation: str | None = None) -> list[list[Step]]:
        """Every turn that can come up: for each question one step for every way to have answered
        the earlier ones.
        """
        sizes = [range(len(q.options)) for q in self.questions]
        return [
            [self.step(path, derivation) for path in itertools.product(*sizes[:k])]
            for k in range(len(sizes))
        ]

    def control_steps(self) -> list[Step]:
        """Every control question, alone after the page."""
        return [
            Step((*self.before, ("user", f"{self.page}\n{q.text}")), q.options)
            for q in self.controls
        ]

    def transcript(
        self, choices: tuple[int, ...], derivation: str | None = None, controls: bool = False
    ) -> list[Message]:
        """The whole conversation with its answers, as it is trained on.

        controls : the control questions with their right answers come first, as in a laboratory
        (direct mode).
        """
        if not controls:
            last = self.step(choices[:-1], derivation)
            answer = self.questions[-1].options[choices[-1]]
            return as_messages((*last.messages, ("assistant", answer)))
        asked = [(q.text, q.options[q.right]) for q in self.controls if q.right is not None]
        asked += [(q.text, q.options[k]) for q, k in zip(self.questions, choices, strict=True)]
        (question, answer), *rest = asked
        turns = [("user", f"{self.page}\n{question}"), ("assistant", answer)]
        turns += [turn for q, a in rest for turn in (("user", q), ("assistant", a))]
        return as_messages((*self.before, *turns))


def as_messages(turns: tuple[tuple[str, str], ...]) -> list[Message]:
    """Chat messages of (role, content) pairs."""
    return [{"role": role, "content": content} for role, content in turns]


def joint(levels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """From log-probabilities along the conversation to the whole strategy.

    levels : for question k an array (earlier paths, options) of log-probabilities.  Returns the
    probability of every combination of options, given that each reply is admissible, in
    lexicographic order, (S,); and for every question the probability of an admissible reply, (D,),
    over the paths that lead to it.
    """
    path, valid = np.ones(1), []
    for level in levels:
        total = np.logaddexp.reduce(level, axis=1)
        valid.append(float(path @ np.exp(total)))
        # where no reply has any probability none is preferred
        reached = np.isfinite(total)[:, None]
        share = np.exp(
            np.where(reached, level, 0.0)
            - np.where(reached, total[:, None], np.log(level.shape[1]))
        )
        path = (path[:, None] * share).ravel()
    return path, np.array(valid)
