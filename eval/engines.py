"""The one seam between measurement and models: a batch of conversations in, a batch of answers out.

An engine has ``score(requests, arm, seed) -> list[Answer]``.  ``Exact`` is the part that every engine with access to token
probabilities shares: the same bytes go in, every admissible reply of every turn is scored, end of turn included, so that the
replies are disjoint events; a whole strategy's probability is the product along the conversation.  ``Simulated`` stands in
for a model of known preference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import numpy as np

from econmoral.chat import prompt_text, turn_text
from econmoral.choice import logit
from econmoral.conversation import Conversation, Message, Outcome, Step, as_messages, forms, joint, read_reply
from econmoral.games import GAMES, belief_weights
from econmoral.preferences import FAMILIES
from econmoral.prompts import Item, Layout, plan_order
from econmoral.records import InputError

LONGEST_DERIVATION = 800  # tokens; derivations that are cut are counted
LONGEST_SAMPLED_REPLY = 60  # tokens of a reply that is sampled and read


@dataclass(frozen=True)
class Arm:
    """What is measured: the base (adapter None) or an adapter, with or without a system message."""

    name: str
    adapter: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class Request:
    """A conversation, and the decision problem behind it (for choosers that need no words).

    samples : derivations to draw, in reasoned mode; replies to draw, where replies are sampled.
    longest : tokens at which a derivation is cut; the next question asks for the answer all the same.
    """

    conversation: Conversation
    item: Any
    layout: Any
    samples: int = 1
    longest: int = LONGEST_DERIVATION


@dataclass(frozen=True)
class Answer:
    """What came back.

    probabilities : (S,) of every combination of options in the conversation's lexicographic order, given admissible replies
    (the mean over derivations); None when no reply could be read.  valid : (D,) probability of an admissible reply to each
    question.  controls : (C,) probability of the right reply to each control question, as it stands.
    control_valid : (C,) probability of any admissible reply to it.  texts : derivations, or sampled replies.
    cut : derivations that were cut at the longest length.  outcomes : counts of sampled replies.
    """

    probabilities: np.ndarray | None
    valid: np.ndarray
    controls: np.ndarray = field(default_factory=lambda: np.empty(0))
    control_valid: np.ndarray = field(default_factory=lambda: np.empty(0))
    texts: tuple[str, ...] = ()
    cut: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict)

    @staticmethod
    def certain(probabilities: np.ndarray, request: Request) -> Answer:
        """The answer of a chooser that needs no words: always admissible, all control questions right."""
        questions, controls = len(request.conversation.questions), len(request.conversation.controls)
        return Answer(probabilities, np.ones(questions), np.ones(controls), np.ones(controls))


class Engine(Interface):
    """Anything that can answer."""

    def score(self, requests: Sequence[Request], arm: Arm, seed: int) -> list[Answer]:
        """Answers in the order of the requests; ``seed`` is for what is sampled."""
        ...


@dataclass(frozen=True)
class ScoredStep:
    """One turn as token ids: its context, and for every option the surface forms that count as it."""

    context: list[int]
    options: list[list[list[int]]]


class Writer(Interface):
    """The part of an engine that writes free text."""

    def write(self, conversations: Sequence[list[Message]], arm: Arm, seed: int, longest: int = ...) -> list[str]:
        """One free reply to each conversation, sampled at temperature 1."""
        ...


class Exact(ABC):
    """An engine that knows token probabilities.  ``tokens``: that went through it so far, in and out."""

    tokenizer: Any
    tokens: int = 0

    @abstractmethod
    def log_probabilities(self, groups: list[list[ScoredStep]], arm: Arm) -> list[list[np.ndarray]]:
        """Log-probability of every option of every step, forms added up: (O,) for each step of each group.

        The steps of a group share the beginning of their contexts.
        """

    @abstractmethod
    def derive(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int, longest: int) -> list[list[tuple[str, bool]]]:
        """So many continuations of every head, sampled at temperature 1: (text, whether it was cut at ``longest`` tokens)."""

    def write(self, conversations: Sequence[list[Message]], arm: Arm, seed: int, longest: int = LONGEST_DERIVATION) -> list[str]:
        """One free reply to each conversation, sampled at temperature 1."""
        heads = [self.ids(prompt_text(self.tokenizer, messages)) for messages in conversations]
        return [texts[0][0] for texts in self._derivations(heads, [1] * len(heads), arm, seed, longest)]

    def _derivations(self, heads: list[list[int]], samples: list[int], arm: Arm, seed: int, longest: int) -> list[list[tuple[str, bool]]]:
        found = self.derive(heads, samples, arm, seed, longest)
        for head, texts in zip(heads, found, strict=True):
            self.tokens += len(head) * len(texts) + sum(len(self.ids(t)) for t, _ in texts)
        return found

    def ids(self, text: str) -> list[int]:
        """Token ids; the template has already written every special token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def scored(self, step: Step) -> ScoredStep:
        """A turn as token ids.  Raises InputError unless the cut between context and reply is a token boundary."""
        messages = as_messages(step.messages)
        prompt = prompt_text(self.tokenizer, messages)
        context = self.ids(prompt)
        end = turn_text(self.tokenizer, messages, step.options[0])[len(step.options[0]) :]
        options = [[self.ids(form + end) for form in forms(option)] for option in step.options]
        if self.ids(prompt + step.options[0] + end) != context + options[0][0]:
            raise InputError(f"the tokenizer merges the end of the prompt with the reply {step.options[0]!r}: this chat template cannot be scored exactly")
        return ScoredStep(context, options)

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact probabilities of every reply along the conversation, after sampled derivations in reasoned mode."""
        texts: list[list[tuple[str, bool]]] = [[("", False)] for _ in requests]
        reasoned = [i for i, r in enumerate(requests) if r.conversation.work is not None]
        if reasoned:
            heads = [self.ids(prompt_text(self.tokenizer, requests[i].conversation.opening())) for i in reasoned]
            samples = [requests[i].samples for i in reasoned]
            for i, found in zip(reasoned, self._derivations(heads, samples, arm, seed, requests[reasoned[0]].longest), strict=True):
                texts[i] = found
        groups: list[list[ScoredStep]] = []
        shapes: list[list[list[int]]] = []  # for each request and derivation the number of steps of each level
        for request, several in zip(requests, texts, strict=True):
            steps = [self.scored(s) for s in request.conversation.control_steps()]
            shape = []
            for text, _ in several:
                levels = request.conversation.steps(text or None)
                shape.append([len(level) for level in levels])
                steps += [self.scored(s) for level in levels for s in level]
            groups.append(steps)
            shapes.append(shape)
        found = self.log_probabilities(groups, arm)
        answers = []
        for request, shape, rows, several in zip(requests, shapes, found, texts, strict=True):
            if any(np.isnan(row).any() for row in rows):
                raise InputError(f"{arm.name}: scores are not a number (nan); its weights are broken or overflow in this precision")
            n = len(request.conversation.controls)
            right = [float(np.exp(row[q.right])) for row, q in zip(rows, request.conversation.controls, strict=False)]
            any_valid = [float(np.exp(np.logaddexp.reduce(row))) for row in rows[:n]]
            place, parts = n, []
            for sizes in shape:
                levels = []
                for size in sizes:
                    levels.append(np.array(rows[place : place + size]))
                    place += size
                parts.append(joint(levels))
            answers.append(
                Answer(
                    np.mean([p for p, _ in parts], axis=0), np.mean([v for _, v in parts], axis=0), np.array(right), np.array(any_valid),
                    tuple(t for t, _ in several if t), sum(cut for _, cut in several),
                )
            )  # fmt: skip
        return answers


@dataclass
class Sampled:
    """Replies that are sampled and read, turn by turn, instead of scored: for a model that does not answer in the form, and for
    endpoints without log-probabilities.

    A reply that cannot be read, or that refuses, ends its conversation; it is counted and its text is kept.
    """

    writer: Writer

    @property
    def tokens(self) -> int | None:
        """Tokens that the writer counted."""
        return getattr(self.writer, "tokens", None)

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Shares of the sampled conversations; ``valid`` is the share of replies that named an option."""
        talks = [(i, _Talk(r.conversation)) for i, r in enumerate(requests) for _ in range(r.samples)]
        turn = 0
        while waiting := [talk for _, talk in talks if talk.goes_on]:
            longest = requests[0].longest if turn == 0 and any(t.conversation.work for t in waiting) else LONGEST_SAMPLED_REPLY
            replies = self.writer.write([talk.messages() for talk in waiting], arm, 1000 * seed + turn, longest)
            for talk, reply in zip(waiting, replies, strict=True):
                talk.hear(reply)
            turn += 1
        control = self._controls(requests, arm, seed)
        return [self._answer(r, [t for j, t in talks if j == i], *control[i]) for i, r in enumerate(requests)]

    def _controls(self, requests: Sequence[Request], arm: Arm, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        places = [(i, k) for i, r in enumerate(requests) for k in range(len(r.conversation.controls))]
        pages = [as_messages(requests[i].conversation.control_steps()[k].messages) for i, k in places]
        replies = self.writer.write(pages, arm, 1000 * seed + 999, LONGEST_SAMPLED_REPLY) if pages else []
        found = [(np.zeros(len(r.conversation.controls)), np.zeros(len(r.conversation.controls))) for r in requests]
        for (i, k), reply in zip(places, replies, strict=True):
            question = requests[i].conversation.controls[k]
            named, _ = read_reply(reply, question.options)
            found[i][0][k], found[i][1][k] = float(named == question.right), float(named is not None)
        return found

    def _answer(self, request: Request, talks: list[_Talk], controls: np.ndarray, control_valid: np.ndarray) -> Answer:
        sizes = [len(q.options) for q in request.conversation.questions]
        counts = np.zeros(int(np.prod(sizes)))
        valid = np.array([np.mean([len(t.choices) > k for t in talks if len(t.choices) >= k] or [0.0]) for k in range(len(sizes))])
        outcomes: dict[Outcome, int] = {"answered": 0, "unreadable": 0, "refused": 0}
        for talk in talks:
            outcomes[talk.outcome] += 1
            if talk.outcome == "answered":
                counts[np.ravel_multi_index(talk.choices, sizes)] += 1
        shares = counts / counts.sum() if counts.sum() else None
        return Answer(shares, valid, controls, control_valid, tuple("\n".join(t.said) for t in talks), outcomes=outcomes)


class _Talk:
    """One sampled conversation in progress."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation, self.derivation = conversation, None if conversation.work else ""
        self.choices: tuple[int, ...] = ()
        self.said: list[str] = []
        self.outcome: Outcome = "answered"

    @property
    def goes_on(self) -> bool:
        return self.outcome == "answered" and len(self.choices) < len(self.conversation.questions)

    def messages(self) -> list[Message]:
        if self.derivation is None:
            return self.conversation.opening()
        return as_messages(self.conversation.step(self.choices, self.derivation or None).messages)

    def hear(self, reply: str) -> None:
        self.said.append(reply)
        if self.derivation is None:
            self.derivation = reply or " "
            return
        named, self.outcome = read_reply(reply, self.conversation.questions[len(self.choices)].options)
        if named is not None:
            self.choices += (named,)


@dataclass(frozen=True)
class Simulated:
    """A chooser of known preference: logit over whole strategies at the stated beliefs, whatever the page looks like."""

    family: str
    theta: dict[str, float]
    precision: float

    def score(self, requests: Sequence[Request], arm: Arm, seed: int = 0) -> list[Answer]:
        """Exact logit probabilities; a request about a belief is answered with five of ten."""
        answers = []
        for r in requests:
            item: Item = r.item
            layout: Layout = r.layout
            if len(r.conversation.questions[0].options) != 2:
                answers.append(Answer.certain(np.eye(11)[5], r))
                continue
            weights = belief_weights(layout.game, item.beliefs or (0.5,) * len(GAMES[layout.game].info_sets))
            utility = FAMILIES[self.family].utility(item.protocol.tables, weights, self.theta)
            answers.append(Answer.certain(logit(utility, self.precision)[plan_order(layout)], r))
        return answers
