"""Economic games: two-role trees behind a veil, their payoff tables, the battery, random draws.

A *game* is a small tree with a first and a second mover.  A *protocol* is a game with numbers.  Behind the veil a
player states one whole strategy, a move for every information set of both roles; the role is then drawn 50/50.

    >>> spd = Protocol("spd", (90, 45, 15, 10))
    >>> spd.tables.strategies[:3]
    ('CCC', 'CCD', 'CDC')

Notation is collected in ``econmoral/__init__.py``.  A new game is one entry of ``GAMES``.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class InfoSet:
    """One place where a move is chosen: who moves (role 0 first, 1 second), after which moves, between which two."""

    role: int
    after: tuple[str, ...]
    actions: tuple[str, str]


@dataclass(frozen=True)
class Game:
    """A two-role game tree whose terminal payoffs are named T, R, P, S (first mover, second mover)."""

    name: str
    title: str
    info_sets: tuple[InfoSet, ...]
    outcomes: dict[tuple[str, ...], tuple[str, str]]
    ranking: tuple[str, str, str, str]  # payoff names from largest to smallest: what makes it this game
    separator: str  # between the moves in a strategy's name
    source: str

    @cached_property
    def strategies(self) -> tuple[tuple[str, ...], ...]:
        """All pure strategies, one action per information set, first-listed actions first."""
        return tuple(itertools.product(*(s.actions for s in self.info_sets)))

    def path(self, first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
        """Moves on the path when ``first`` is used by the first mover and ``second`` by the second mover."""
        moves: tuple[str, ...] = ()
        while moves not in self.outcomes:
            i = next(i for i, s in enumerate(self.info_sets) if s.after == moves)
            moves += ((first, second)[self.info_sets[i].role][i],)
        return moves


VAN_LEEUWEN_ALGER = "van Leeuwen and Alger (2024), JPE Microeconomics 2(4), doi 10.1086/732125 (structure only; payoffs are ours)"

GAMES: dict[str, Game] = {
    g.name: g
    for g in (
        Game(
            name="spd",
            title="sequential prisoner's dilemma",
            info_sets=(InfoSet(0, (), ("C", "D")), InfoSet(1, ("C",), ("C", "D")), InfoSet(1, ("D",), ("C", "D"))),
            outcomes={("C", "C"): ("R", "R"), ("C", "D"): ("S", "T"), ("D", "C"): ("T", "S"), ("D", "D"): ("P", "P")},
            ranking=("T", "R", "P", "S"),
            separator="",
            source=VAN_LEEUWEN_ALGER,
        ),
        Game(
            name="tg",
            title="mini trust game",
            info_sets=(InfoSet(0, (), ("trust", "distrust")), InfoSet(1, ("trust",), ("give", "keep"))),
            outcomes={("distrust",): ("P", "P"), ("trust", "give"): ("R", "R"), ("trust", "keep"): ("S", "T")},
            ranking=("T", "R", "P", "S"),
            separator=",",
            source=VAN_LEEUWEN_ALGER,
        ),
        Game(
            name="ug",
            title="mini ultimatum game",
            info_sets=(InfoSet(0, (), ("equal", "unequal")), InfoSet(1, ("unequal",), ("accept", "reject"))),
            outcomes={("equal",): ("R", "R"), ("unequal", "accept"): ("T", "S"), ("unequal", "reject"): ("P", "P")},
            ranking=("T", "R", "S", "P"),
            separator=",",
            source=VAN_LEEUWEN_ALGER,
        ),
    )
}


@dataclass(frozen=True)
class Tables:
    """Material payoffs of every pure strategy x (rows) against every pure strategy y (columns), by role drawn.

    own, other : (N, N, R) points of the player and of the other (with several others, who all play y: of each of them);
    weight : (R,) probability of each role draw.
    """

    strategies: tuple[str, ...]
    own: np.ndarray
    other: np.ndarray
    weight: np.ndarray

    @cached_property
    def pi(self) -> np.ndarray:
        """(N, N) expected material payoff pi(x, y) behind the veil."""
        return self.own @ self.weight

    @cached_property
    def alike(self) -> np.ndarray:
        """(N,) pi(x, x): expected material payoff when everybody uses x."""
        return np.diag(self.pi).copy()


@dataclass(frozen=True)
class Protocol:
    """A game with its payoffs (T, R, P, S) in points."""

    game: str
    payoffs: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        if self.game not in GAMES:
            raise ValueError(f"unknown game {self.game!r}; known: {', '.join(GAMES)}")
        value = dict(zip("TRPS", self.payoffs, strict=True))
        order = GAMES[self.game].ranking
        if not all(value[a] > value[b] for a, b in itertools.pairwise(order)):
            raise ValueError(f"{self.game} needs {' > '.join(order)}, got T,R,P,S = {self.payoffs}")

    @cached_property
    def tables(self) -> Tables:
        """Payoff tables over pure strategies, by enumerating the tree in both role draws."""
        game = GAMES[self.game]
        value = dict(zip("TRPS", self.payoffs, strict=True))
        n = len(game.strategies)
        own, other = np.zeros((n, n, 2)), np.zeros((n, n, 2))
        for i, x in enumerate(game.strategies):
            for j, y in enumerate(game.strategies):
                for role, (first, second) in enumerate(((x, y), (y, x))):
                    pay = [value[p] for p in game.outcomes[game.path(first, second)]]
                    own[i, j, role], other[i, j, role] = pay[role], pay[1 - role]
        names = tuple(game.separator.join(s) for s in game.strategies)
        return Tables(names, own, other, np.array([0.5, 0.5]))


def belief_weights(game: str, beliefs: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """(N,) weight of each pure strategy of the other when information set k's first action has probability y_k.

    Moves at different information sets are taken as independent, so payoffs in these weights equal payoffs in the
    behaviour strategy y (Kuhn's theorem).  Raises ValueError when the length or range of ``beliefs`` is wrong.
    """
    y = np.asarray(beliefs, dtype=float)
    sets = GAMES[game].info_sets
    if y.shape != (len(sets),) or not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"{game} needs {len(sets)} beliefs in [0, 1], got {tuple(np.atleast_1d(y).tolist())}")
    per_set = [(p, 1 - p) for p in y]
    return np.array([np.prod(c) for c in itertools.product(*per_set)])


# Battery of 18 protocols: payoffs are ours, in the style of van Leeuwen and Alger (2024).
BATTERY: tuple[Protocol, ...] = tuple(
    Protocol(game, payoffs)
    for game, rows in {
        "spd": ((90, 45, 15, 10), (90, 55, 20, 10), (80, 65, 25, 20), (90, 65, 25, 10), (80, 75, 30, 20), (90, 75, 30, 10)),
        "tg": ((80, 50, 30, 20), (90, 50, 30, 10), (80, 60, 30, 20), (90, 60, 30, 10), (80, 70, 30, 20), (90, 70, 30, 10)),
        "ug": ((60, 50, 10, 40), (65, 50, 10, 35), (70, 50, 10, 30), (75, 50, 10, 25), (80, 50, 10, 20), (85, 50, 10, 15)),
    }.items()
    for payoffs in rows
)

UNIT = 5  # points per step of the drawing grid: payoffs are UNIT * {0, ..., 19}
HELD_OUT_SHARE = 0.2


def held_out(protocol: Protocol) -> bool:
    """Whether a payoff quadruple is reserved for measurement: the battery, and a fifth of all quadruples by hash.

    The rule depends on nothing but the game and the numbers, so pre-training, fine-tuning and evaluation agree on it
    without sharing a file.
    """
    if protocol in BATTERY:
        return True
    key = protocol.game + ":" + ",".join(f"{p:g}" for p in protocol.payoffs)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") < HELD_OUT_SHARE * 2**32


def draw_protocol(game: str, rng: np.random.Generator, held: bool) -> Protocol:
    """A random protocol of ``game`` from the held-out quadruples (``held``) or from the others."""
    order = GAMES[game].ranking
    while True:
        values = sorted((int(v) * UNIT for v in rng.choice(20, 4, replace=False)), reverse=True)
        by_name = dict(zip(order, values, strict=True))
        protocol = Protocol(game, (by_name["T"], by_name["R"], by_name["P"], by_name["S"]))
        if held_out(protocol) == held:
            return protocol


def draw_beliefs(game: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Random beliefs in fifths, .2 to .8: every information set is reached with positive probability."""
    return tuple(int(v) / 5 for v in rng.integers(1, 5, len(GAMES[game].info_sets)))
