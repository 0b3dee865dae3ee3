"""A game against a model that answers live, once or again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from econmoral.economics.games import GAMES, UNIT, Protocol
from econmoral.files.records import InputError
from econmoral.instruments.games import (
    Item,
    Layout,
    decisions,
    draw_layout,
    label_of,
    page_actions,
    page_order,
    page_text,
    path_labels,
)
from econmoral.target import number
from econmoral.text.conversation import Conversation, Question

from .markup import block, esc, paragraph, table


@dataclass(frozen=True)
class Round:
    """One round that was played: who moved first, the moves on the path, points of the person and
    of the model.
    """

    person_first: bool
    moves: tuple[str, ...]
    points: tuple[float, float]


@dataclass(frozen=True)
class Match:
    """A game against a model, once or again and again; what happened stands in the model's
    conversation as earlier turns.

    said : (role, content) turns so far.  news : what has happened since the model's last turn.
    moves : of the round in progress.
    """

    protocol: Protocol
    layout: Layout
    rounds: int
    person_first: bool
    said: tuple[tuple[str, str], ...] = ()
    news: tuple[str, ...] = ()
    played: tuple[Round, ...] = ()
    moves: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether all rounds were played."""
        return len(self.played) == self.rounds

    @property
    def info_set(self) -> int:
        """Where the round in progress stands."""
        return next(
            k for k, s in enumerate(GAMES[self.protocol.game].info_sets) if s.after == self.moves
        )

    @property
    def persons_turn(self) -> bool:
        """Whether the person is to move."""
        return (
            not self.over
            and (GAMES[self.protocol.game].info_sets[self.info_set].role == 0) == self.person_first
        )

    @property
    def question(self) -> Question:
        """What is asked of whoever is to move."""
        order = page_order(self.layout)
        return decisions(self.layout)[order.index(self.info_set)]

    def conversation(self) -> Conversation:
        """What the model reads before its move."""
        page = () if self.said else (page_text(Item(self.protocol, None), self.layout),)
        return Conversation("\n".join([*page, *self.news]), (self.question,), before=self.said)

    def move(self, label: str) -> Match:
        """The match after a move by whoever's turn it is.  Raises InputError for a label that is
        not offered.
        """
        k = self.info_set
        named = [a for a in page_actions(self.layout, k) if label_of(self.layout, k, a) == label]
        if not named:
            raise InputError("Choose one of the moves.")
        said, news = self.said, self.news
        if not self.persons_turn:
            talk = self.conversation()
            asked = "\n".join([*([talk.page] if talk.page else []), talk.questions[0].text])
            said, news = (*said, ("user", asked), ("assistant", label)), ()
        moves = (*self.moves, named[0])
        game = GAMES[self.protocol.game]
        if moves not in game.outcomes:
            return replace(self, said=said, news=news, moves=moves)
        value = dict(zip("TRPS", (p / UNIT for p in self.protocol.payoffs), strict=True))
        first, second = (value[name] for name in game.outcomes[moves])
        mine, models = (first, second) if self.person_first else (second, first)
        path = ", then ".join(path_labels(self.layout, moves))
        told = (
            f"Round {len(self.played) + 1}: {path}. You got {number(models)} points, the other "
            f"person got {number(mine)}."
        )
        done = Round(self.person_first, moves, (mine, models))
        # whoever began replies next
        after = replace(
            self,
            said=said,
            news=(*news, told),
            played=(*self.played, done),
            moves=(),
            person_first=not self.person_first,
        )
        return (
            after
            if after.over
            else replace(
                after, news=(*after.news, "The same is played again, with the roles exchanged.")
            )
        )


def new_match(protocol: Protocol, rounds: int, person_first: bool, seed: int) -> Match:
    """A match before its first move."""
    return Match(
        protocol,
        draw_layout(protocol.game, np.random.default_rng(seed), ("study",)),
        rounds,
        person_first,
    )


def match_shown(match: Match, model: str) -> str:
    """The page that both play on, and what has happened."""
    parts = [f"<pre>{esc(page_text(Item(match.protocol, None), match.layout))}</pre>"]
    if match.played:
        rows = []
        for k, r in enumerate(match.played, start=1):
            labels = " ".join(path_labels(match.layout, r.moves))
            rows.append(
                [
                    str(k),
                    "you" if r.person_first else "the model",
                    esc(labels),
                    number(r.points[0]),
                    number(r.points[1]),
                ]
            )
        totals = [number(sum(r.points[i] for r in match.played)) for i in (0, 1)]
        rows.append(["<b>in all</b>", "", "", *totals])
        parts.append(
            table(
                ["round", "first mover", "moves", "you", esc(model)],
                rows,
                "Rounds played, in points",
            )
        )
    if match.over:
        parts.append(paragraph("The match is over.", "big"))
    elif match.moves:
        first = "You" if match.person_first else "The model"
        parts.append(
            paragraph(
                f"Round {len(match.played) + 1} of {match.rounds}: {first} moved "
                f"{' '.join(path_labels(match.layout, match.moves))}.",
                "big",
            )
        )
    else:
        first = "you move first" if match.person_first else "the model moves first"
        parts.append(paragraph(f"Round {len(match.played) + 1} of {match.rounds}: {first}.", "big"))
    return block(*parts)


def drawn(probabilities: np.ndarray, options: Sequence[str], rng: np.random.Generator) -> str:
    """An option drawn from its exact probability."""
    return options[int(rng.choice(len(options), p=probabilities / probabilities.sum()))]
