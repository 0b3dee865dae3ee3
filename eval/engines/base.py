"""The one seam between measurement and models: a batch of conversations in, a batch of answers out.

An engine has ``score(requests, condition, seed) -> list[Answer]``.  ``Exact`` is the part that
every engine with access to token probabilities shares: the same bytes go in, every admissible reply
of every turn is scored, end of turn included, so that the replies are disjoint events; a whole
strategy's probability is the product along the conversation.  ``Simulated`` stands in for a model
of known preference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import numpy as np

from econmoral.economics.choice import logit
from econmoral.economics.games import GAMES, belief_weights
from econmoral.economics.preferences import FAMILIES
from econmoral.files.records import InputError
from econmoral.instruments.games import Item, Layout, plan_order
from econmoral.text.chat import end_of_turn, prompt_text, turn_text, without_special_tokens
from econmoral.text.conversation import Conversation, Message, Step, as_messages, forms, joint
from econmoral.text.replies import OUTCOMES, Outcome, read_reply

LONGEST_DERIVATION = 800  # tokens; derivations that are cut are counted
LONGEST_SAMPLED_REPLY = 60  # tokens of a reply that is sampled and read


@dataclass(frozen=True)
class Condition:
    """What is measured: the base (adapter None) or an adapter, with or without a system message."""

    name: str
    adapter: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class Request:
    """A conversation, and the decision problem behind it (for choosers that need no words).

    samples : derivations to draw, in reasoned mode; replies to draw, where replies are sampled.
    longest : tokens at which a derivation is cut; the next question asks for the answer all the
    same.
    """

    conversation: Conversation
    item: Any
    layout: Any
    samples: int = 1
    longest: int = LONGEST_DERIVATION


@dataclass(frozen=True)
class Answer:
    """What came back.

    probabilities : (S,) of every combination of options in the conversation's lexicographic order,
    given admissible replies (the mean over derivations); None when no reply could be read, or none
    came.  valid : (D,) probability of an admissible reply to each question.  controls : (C,)
    probability of the right reply to each control question, as it stands.  control_valid : (C,)
    probability of any admissible reply to it.  texts : derivations, or sampled replies.  cut :
    derivations or replies that were cut at the longest length.  outcomes : counts of sampled
    replies.
    """

    probabilities: np.ndarray | None
    valid: np.ndarray
    controls: np.ndarray = field(default_factory=lambda: np.empty(0))
    control_valid: np.ndarray = field(default_factory=lambda: np.empty(0))
    texts: tuple[str, ...] = ()
    cut: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Whether nothing came back at all, as an endpoint loses requests."""
        return self.probabilities is None and not any(self.outcomes.values())

    def record(self) -> dict[str, object]:
        """The answer as JSON holds it."""
        p = None if self.probabilities is None else _finite(self.probabilities)
        found = {
            "probabilities": p,
            "valid": _finite(self.valid),
            "controls": _finite(self.controls),
        }
        found |= {"control_valid": _finite(self.control_valid)}
        return found | {"texts": list(self.texts), "cut": self.cut, "outcomes": dict(self.outcomes)}

    @staticmethod
    def read(row: Mapping[str, Any]) -> Answer:
        """The reverse of ``record``.  Raises KeyError,
        TypeError or ValueError for anything else.
        """
        p, valid, right, named = (
            None if row[k] is None else np.array(row[k], float)
            for k in ("probabilities", "valid", "controls", "control_valid")
        )
        if valid is None or right is None or named is None:
            raise ValueError("an answer without validity")
        shares = [v for v in (p, valid, right, named) if v is not None]
        # nan stands where weights were no numbers
        if any(((v < -1e-6) | (v > 1 + 1e-6)).any() for v in shares):
            raise ValueError("a probability outside [0, 1]")
        if p is not None and not (np.isnan(p).any() or abs(p.sum() - 1) < 1e-4):
            raise ValueError("probabilities that do not sum to 1")
        outcomes = {o: int(row["outcomes"][o]) for o in OUTCOMES if o in row["outcomes"]}
        return Answer(p, valid, right, named, tuple(row["texts"]), int(row["cut"]), outcomes)

    @staticmethod
    def certain(probabilities: np.ndarray, request: Request) -> Answer:
        """The answer of a chooser that needs no words: always admissible,
        all control questions right.
        """
        questions, controls = (
            len(request.conversation.questions),
            len(request.conversation.controls),
        )
        return Answer(probabilities, np.ones(questions), np.ones(controls), np.ones(controls))


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


class Engine(Interface):
    """Anything that can answer."""

    def score(self, requests: Sequence[Request], condition: Condition, seed: int) -> list[Answer]:
        """Answers in the order of the requests; ``seed`` is for what is sampled."""
        ...


@dataclass(frozen=True)
class ScoredStep:
    """One turn as token ids: its context, and for every option the surface forms
    that count as it.
    """

    context: list[int]
    options: list[list[list[int]]]


class Written(str):
    """A text that was written; ``cut``: at the longest length; ``lost``: it never came (an
    endpoint's); ``refused``: it was declined or ended by a filter of contents, whatever it says.
    """

    __slots__ = ("cut", "lost", "refused")
    cut: bool
    lost: bool
    refused: bool

    def __new__(
        cls, text: str, cut: bool = False, lost: bool = False, refused: bool = False
    ) -> Written:
        written = super().__new__(cls, text)
        written.cut, written.lost, written.refused = cut, lost, refused
        return written


class Writer(Interface):
    """The part of an engine that writes free text."""

    def write(
        self,
        conversations: Sequence[list[Message]],
        condition: Condition,
        seed: int,
        longest: int = ...,
    ) -> Sequence[str]:
        """One free reply to each conversation, sampled at temperature 1;
        ``Written`` where the writer knows more.
        """
        ...


def seed_of(*numbers: int) -> int:
    """A seed of its own for every combination of numbers, below 2**31."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1


class Exact(ABC):
    """An engine that knows token probabilities.

    tokens : that went through it so far, in and out.  note : what a reader of its figures should
    know, if anything.
    """

    tokenizer: Any
    tokens: int = 0
    temperature: float = 1.0  # of what is written; 0 is the most probable token at every step
    note: str | None = None
    window: int | None = None  # tokens that the model reads, where that is known

    @abstractmethod
    def log_probabilities(
        self, groups: list[list[ScoredStep]], condition: Condition
    ) -> list[list[np.ndarray] | None]:
        """Log-probability of every option of every step, forms added up:
        (O,) for each step of each group.

        The steps of a group share the beginning of their contexts.  None for a group whose scores
        were lost.
        """

    @abstractmethod
    def derive(
        self,
        heads: list[list[int]],
        samples: list[int],
        condition: Condition,
        seed: int,
        longest: int,
    ) -> list[list[tuple[str, bool]]]:
        """So many continuations of every head, sampled at ``temperature``, up to the end of the
        assistant's turn: (text, whether it was cut at ``longest`` tokens).

        None for a head whose continuations were lost.
        """

    def write(
        self,
        conversations: Sequence[list[Message]],
        condition: Condition,
        seed: int,
        longest: int = LONGEST_DERIVATION,
    ) -> list[Written]:
        """One free reply to each conversation, sampled at temperature 1."""
        heads = [self.ids(prompt_text(self.tokenizer, messages)) for messages in conversations]
        found = self._derivations(heads, [1] * len(heads), condition, seed, longest)
        return [Written(*texts[0]) if texts else Written("", lost=True) for texts in found]

    def _derivations(
        self,
        heads: list[list[int]],
        samples: list[int],
        condition: Condition,
        seed: int,
        longest: int,
    ) -> list[list[tuple[str, bool]]]:
        found = self.derive(heads, samples, condition, seed, longest)
        results = []
        for head, texts in zip(heads, found, strict=True):
            self.tokens += len(head) * len(texts) + sum(len(self.ids(t)) for t, _ in texts)
            results.append(
                [(without_special_tokens(self.tokenizer, text), cut) for text, cut in texts]
            )
        return results

    def ends_of_turn(self) -> list[int]:
        """Tokens that end the assistant's turn: the template's own,
        and the tokenizer's end of text.
        """
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        own = self.ids(end_of_turn(self.tokenizer))
        ends = [t for t in own if t in special][:1]
        if not ends and len(own) == 1:  # of several tokens ``until_end`` finds it in the text
            ends = own
        if self.tokenizer.eos_token_id is not None:
            ends = [*ends, int(self.tokenizer.eos_token_id)]
        return list(dict.fromkeys(ends))

    def until_end(self, text: str) -> str:
        """A text up to where the template ends the turn, should that be no token of its own."""
        end = end_of_turn(self.tokenizer).strip()
        return text.partition(end)[0] if end else text

    def ids(self, text: str) -> list[int]:
        """Token ids; the template has already written every special token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def scored(self, step: Step) -> ScoredStep:
        """A turn as token ids.

        Raises InputError unless the cut between context and reply is a token boundary and every
        reply is told from the others.
        """
        messages = as_messages(step.messages)
        prompt = prompt_text(self.tokenizer, messages)
        context = self.ids(prompt)
        end = turn_text(self.tokenizer, messages, step.options[0])[len(step.options[0]) :]
        options = [[self.ids(form + end) for form in forms(option)] for option in step.options]
        for option, several in zip(step.options, options, strict=True):
            if self.ids(prompt + option + end) != context + several[0]:
                raise InputError(
                    f"the tokenizer merges the end of the prompt with the reply {option!r}: this "
                    "chat template cannot be scored exactly"
                )
        replies = [tuple(form) for several in options for form in several]
        beginnings = {form[:k] for form in replies for k in range(len(form))}
        if len(set(replies)) < len(replies) or beginnings & set(replies):
            raise InputError(
                f"the tokenizer does not tell the replies {', '.join(step.options)} from one "
                "another"
            )
        return ScoredStep(context, options)

    def _fitting(self, conversation: Conversation, text: str, cut: bool) -> tuple[str, bool]:
        """A derivation that leaves room for the questions after it, cut where it does not."""
        ids = self.ids(text)
        if self.window is None:
            return text, cut
        last = [self.scored(step) for level in conversation.steps(None)[-1:] for step in level]
        longest = max(
            len(s.context) + len(form) for s in last for several in s.options for form in several
        )
        # what is cut may take a few tokens more when it is read again
        room = max(0, self.window - longest - 8)
        return (text, cut) if len(ids) <= room else (str(self.tokenizer.decode(ids[:room])), True)

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Exact probabilities of every reply along the conversation,
        after sampled derivations in reasoned mode.
        """
        texts: list[list[tuple[str, bool]]] = [[("", False)] for _ in requests]
        reasoned = [i for i, r in enumerate(requests) if r.conversation.work is not None]
        if reasoned:
            openings = [requests[i].conversation.opening() for i in reasoned]
            heads = [self.ids(prompt_text(self.tokenizer, opening)) for opening in openings]
            samples = [requests[i].samples for i in reasoned]
            longest = requests[reasoned[0]].longest
            written = self._derivations(heads, samples, condition, seed, longest)
            for i, several in zip(reasoned, written, strict=True):
                talk = requests[i].conversation
                texts[i] = [self._fitting(talk, *text) for text in several]
        groups: list[list[ScoredStep]] = []
        # for each request and derivation the number of steps of each level
        shapes: list[list[list[int]]] = []
        for request, several in zip(requests, texts, strict=True):
            # without its derivations nothing is asked
            known = request.conversation.control_steps() if several else []
            steps = [self.scored(s) for s in known]
            shape = []
            for text, _ in several:
                levels = request.conversation.steps(text or None)
                shape.append([len(level) for level in levels])
                steps += [self.scored(s) for level in levels for s in level]
            groups.append(steps)
            shapes.append(shape)
        found = self.log_probabilities(groups, condition)
        return [
            self._answer(request, shape, rows, several, condition)
            for request, shape, rows, several in zip(requests, shapes, found, texts, strict=True)
        ]

    def _answer(
        self,
        request: Request,
        shape: list[list[int]],
        rows: list[np.ndarray] | None,
        several: list[tuple[str, bool]],
        condition: Condition,
    ) -> Answer:
        """An answer from the log-probabilities of its control questions and of every level."""
        controls = request.conversation.controls
        said, n = tuple(t for t, _ in several if t), len(controls)
        if rows is None or not several:
            questions = len(request.conversation.questions)
            return Answer(None, np.zeros(questions), np.zeros(n), np.zeros(n), said)
        if any(np.isnan(row).any() for row in rows):
            raise InputError(
                f"{condition.name}: scores are not a number (nan); its weights are broken or "
                "overflow in this precision"
            )
        right = [float(np.exp(row[q.right])) for row, q in zip(rows, controls, strict=False)]
        any_valid = [float(np.exp(np.logaddexp.reduce(row))) for row in rows[:n]]
        place, parts = n, []
        for sizes in shape:
            levels = []
            for size in sizes:
                levels.append(np.array(rows[place : place + size]))
                place += size
            parts.append(joint(levels))
        return Answer(
            np.mean([p for p, _ in parts], axis=0),
            np.mean([v for _, v in parts], axis=0),
            np.array(right),
            np.array(any_valid),
            said,
            sum(cut for _, cut in several),
        )


@dataclass
class Sampled:
    """Replies that are sampled and read, turn by turn, instead of scored: for a model that does not
    answer in the form, and for endpoints without log-probabilities.

    A reply that cannot be read, or that refuses, ends its conversation; it is counted and its text
    is kept.  One that never came is in no count.
    """

    writer: Writer

    @property
    def tokens(self) -> int | None:
        """Tokens that the writer counted."""
        return getattr(self.writer, "tokens", None)

    @property
    def note(self) -> str | None:
        """What a reader of the figures should know, if anything."""
        return getattr(self.writer, "note", None)

    @property
    def device(self) -> str:
        """Where the writer runs."""
        return str(getattr(self.writer, "device", ""))

    def write(
        self,
        conversations: Sequence[list[Message]],
        condition: Condition,
        seed: int,
        longest: int = LONGEST_DERIVATION,
    ) -> Sequence[str]:
        """The writer's own replies."""
        return self.writer.write(conversations, condition, seed, longest)

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Shares of the sampled conversations; ``valid`` is the share of replies
        that named an option.
        """
        talks = [[_Talk(r.conversation) for _ in range(r.samples)] for r in requests]
        controls = [
            [_Talk(c) for c in _alone(r.conversation) for _ in range(r.samples)] for r in requests
        ]
        everyone = [talk for several in (*talks, *controls) for talk in several]
        turn = 0
        while waiting := [talk for talk in everyone if talk.goes_on]:
            for derives in (True, False):
                longest = requests[0].longest if derives else LONGEST_SAMPLED_REPLY
                some = [talk for talk in waiting if (talk.derivation is None) == derives]
                pages = [talk.messages() for talk in some]
                replies = (
                    self.writer.write(pages, condition, seed_of(seed, turn, derives), longest)
                    if some
                    else ()
                )
                for talk, reply in zip(some, replies, strict=True):
                    talk.hear(reply)
            turn += 1
        return [self._answer(*found) for found in zip(requests, talks, controls, strict=True)]

    def _answer(self, request: Request, talks: list[_Talk], controls: list[_Talk]) -> Answer:
        sizes = [len(q.options) for q in request.conversation.questions]
        counts = np.zeros(int(np.prod(sizes)))
        outcomes: dict[Outcome, int] = {"answered": 0, "unreadable": 0, "refused": 0}
        for talk in talks:
            if not talk.lost:
                outcomes[talk.outcome] += 1
                if talk.outcome == "answered":
                    counts[np.ravel_multi_index(talk.choices, sizes)] += 1
        asked = [
            [t for t in talks if len(t.choices) > k or (len(t.choices) == k and not t.lost)]
            for k in range(len(sizes))
        ]
        valid = [
            np.mean([len(t.choices) > k for t in some]) if some else 0.0
            for k, some in enumerate(asked)
        ]
        right, named = [], []
        for k, question in enumerate(request.conversation.controls):
            some = [
                t for t in controls[k * request.samples : (k + 1) * request.samples] if not t.lost
            ]
            right.append(np.mean([t.choices == (question.right,) for t in some]) if some else 0.0)
            named.append(np.mean([t.outcome == "answered" for t in some]) if some else 0.0)
        return Answer(
            counts / counts.sum() if counts.sum() else None,
            np.array(valid),
            np.array(right),
            np.array(named),
            tuple("\n".join(t.said) for t in talks),
            sum(t.cut for t in talks),
            outcomes,
        )


def _alone(conversation: Conversation) -> list[Conversation]:
    """Every control question as a conversation of its own."""
    return [
        Conversation(conversation.page, (q,), before=conversation.before)
        for q in conversation.controls
    ]


class _Talk:
    """One sampled conversation in progress."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation, self.derivation = conversation, None if conversation.work else ""
        self.choices: tuple[int, ...] = ()
        self.said: list[str] = []
        self.outcome: Outcome = "answered"
        self.cut = 0  # replies that were cut at the longest length
        self.lost = False

    @property
    def goes_on(self) -> bool:
        return (
            self.outcome == "answered"
            and not self.lost
            and len(self.choices) < len(self.conversation.questions)
        )

    def messages(self) -> list[Message]:
        if self.derivation is None:
            return self.conversation.opening()
        return as_messages(self.conversation.step(self.choices, self.derivation or None).messages)

    def hear(self, reply: str) -> None:
        if getattr(reply, "lost", False):
            self.lost = True
            return
        self.cut += getattr(reply, "cut", False)
        self.said.append(str(reply))
        if getattr(reply, "refused", False):
            self.outcome = "refused"
            return
        if self.derivation is None:
            self.derivation = str(reply) or " "
            return
        named, self.outcome = read_reply(
            reply, self.conversation.questions[len(self.choices)].options
        )
        if named is not None:
            self.choices += (named,)


@dataclass(frozen=True)
class Simulated:
    """A chooser of known preference: logit over whole strategies at the stated beliefs,
    whatever the page looks like.
    """

    family: str
    theta: dict[str, float]
    precision: float

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Exact logit probabilities; a request about a belief is answered with five of ten."""
        answers = []
        for r in requests:
            item: Item = r.item
            layout: Layout = r.layout
            if len(r.conversation.questions[0].options) != 2:
                answers.append(Answer.certain(np.eye(11)[5], r))
                continue
            weights = belief_weights(
                layout.game, item.beliefs or (0.5,) * len(GAMES[layout.game].info_sets)
            )
            utility = FAMILIES[self.family].utility(item.protocol.tables, weights, self.theta)
            answers.append(Answer.certain(logit(utility, self.precision)[plan_order(layout)], r))
        return answers
