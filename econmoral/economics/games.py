"""Economic games: two-role trees behind a veil, their payoff tables, the battery, random draws.

A *game* is a small tree with a first and a second mover.  A *protocol* is a game with numbers.
Behind the veil a player states one whole strategy, a move for every information set of both roles;
the role is then drawn 50/50.

    >>> spd = Protocol("spd", (90, 45, 15, 10))
    >>> spd.tables.strategies[:3]
    ('CCC', 'CCD', 'CDC')

Notation is collected in ``econmoral/__init__.py``.  A new sequential game is one entry of
``GAMES``, any other game one entry of ``TABLE_GAMES``.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class InfoSet:
    """One place where a move is chosen: who moves (role 0 first, 1 second),
    after which moves, between which two.
    """

    role: int
    after: tuple[str, ...]
    actions: tuple[str, str]


@dataclass(frozen=True)
class Game:
    """A two-role game tree whose terminal payoffs are named T, R, P, S (first mover,
    second mover).
    """

    name: str
    title: str
    info_sets: tuple[InfoSet, ...]
    outcomes: dict[tuple[str, ...], tuple[str, str]]
    # payoff names from largest to smallest: what makes it this game
    ranking: tuple[str, str, str, str]
    separator: str  # between the moves in a strategy's name
    source: str

    @cached_property
    def strategies(self) -> tuple[tuple[str, ...], ...]:
        """All pure strategies, one action per information set, first-listed actions first."""
        return tuple(itertools.product(*(s.actions for s in self.info_sets)))

    @cached_property
    def first_actions(self) -> np.ndarray:
        """(N, K) whether a strategy takes the first-listed action at each of K information sets."""
        return np.array(
            [
                [s[k] == info.actions[0] for k, info in enumerate(self.info_sets)]
                for s in self.strategies
            ]
        )

    @cached_property
    def own_and_other(self) -> np.ndarray:
        """(2, N, N, 2): which of T, R, P, S (0 to 3) x gets, and which the other gets,
        when x meets y and x has role 0 or 1.
        """
        n, index = (
            len(self.strategies),
            np.zeros((2, len(self.strategies), len(self.strategies), 2), dtype=int),
        )
        for i, j in itertools.product(range(n), repeat=2):
            for role in (0, 1):
                x, y = self.strategies[i], self.strategies[j]
                pay = self.outcomes[self.path(*((x, y) if role == 0 else (y, x)))]
                index[:, i, j, role] = "TRPS".index(pay[role]), "TRPS".index(pay[1 - role])
        return index

    def path(self, first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
        """Moves on the path when ``first`` is used by the first mover
        and ``second`` by the second mover.
        """
        moves: tuple[str, ...] = ()
        while moves not in self.outcomes:
            i = next(i for i, s in enumerate(self.info_sets) if s.after == moves)
            moves += ((first, second)[self.info_sets[i].role][i],)
        return moves


VAN_LEEUWEN_ALGER = (
    "van Leeuwen and Alger (2024), JPE Microeconomics 2(4), doi 10.1086/732125 (structure only; "
    "payoffs are ours)"
)

GAMES: dict[str, Game] = {
    g.name: g
    for g in (
        Game(
            name="spd",
            title="sequential prisoner's dilemma",
            info_sets=(
                InfoSet(0, (), ("C", "D")),
                InfoSet(1, ("C",), ("C", "D")),
                InfoSet(1, ("D",), ("C", "D")),
            ),
            outcomes={
                ("C", "C"): ("R", "R"),
                ("C", "D"): ("S", "T"),
                ("D", "C"): ("T", "S"),
                ("D", "D"): ("P", "P"),
            },
            ranking=("T", "R", "P", "S"),
            separator="",
            source=VAN_LEEUWEN_ALGER,
        ),
        Game(
            name="tg",
            title="mini trust game",
            info_sets=(
                InfoSet(0, (), ("trust", "distrust")),
                InfoSet(1, ("trust",), ("give", "keep")),
            ),
            outcomes={
                ("distrust",): ("P", "P"),
                ("trust", "give"): ("R", "R"),
                ("trust", "keep"): ("S", "T"),
            },
            ranking=("T", "R", "P", "S"),
            separator=",",
            source=VAN_LEEUWEN_ALGER,
        ),
        Game(
            name="ug",
            title="mini ultimatum game",
            info_sets=(
                InfoSet(0, (), ("equal", "unequal")),
                InfoSet(1, ("unequal",), ("accept", "reject")),
            ),
            outcomes={
                ("equal",): ("R", "R"),
                ("unequal", "accept"): ("T", "S"),
                ("unequal", "reject"): ("P", "P"),
            },
            ranking=("T", "R", "S", "P"),
            separator=",",
            source=VAN_LEEUWEN_ALGER,
        ),
    )
}


@dataclass(frozen=True)
class Tables:
    """Material payoffs of every pure strategy x (rows) against every pure strategy y (columns),
    by role drawn.

    own, other : (N, N, R) points of the player and of the other (with several others, who all play
    y: of each of them); weight : (R,) probability of each role draw.
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
        own, other = np.array(self.payoffs, dtype=float)[game.own_and_other]
        names = tuple(game.separator.join(s) for s in game.strategies)
        return Tables(names, own, other, np.array([0.5, 0.5]))


def belief_weights(game: str, beliefs: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """(N,) weight of each pure strategy of the other
    when information set k's first action has probability y_k.

    Moves at different information sets are taken as independent, so payoffs in these weights equal
    payoffs in the behaviour strategy y (Kuhn's theorem).  Raises ValueError when the length or
    range of ``beliefs`` is wrong.
    """
    y = np.asarray(beliefs, dtype=float)
    sets = GAMES[game].info_sets
    if y.shape != (len(sets),) or not ((y >= 0) & (y <= 1)).all():
        raise ValueError(
            f"{game} needs {len(sets)} beliefs in [0, 1], got {tuple(np.atleast_1d(y).tolist())}"
        )
    weights: np.ndarray = np.where(GAMES[game].first_actions, y, 1 - y).prod(axis=1)
    return weights


# Battery of 18 protocols: payoffs are ours, in the style of van Leeuwen and Alger (2024).
BATTERY: tuple[Protocol, ...] = tuple(
    Protocol(game, payoffs)
    for game, rows in {
        "spd": (
            (90, 45, 15, 10),
            (90, 55, 20, 10),
            (80, 65, 25, 20),
            (90, 65, 25, 10),
            (80, 75, 30, 20),
            (90, 75, 30, 10),
        ),
        "tg": (
            (80, 50, 30, 20),
            (90, 50, 30, 10),
            (80, 60, 30, 20),
            (90, 60, 30, 10),
            (80, 70, 30, 20),
            (90, 70, 30, 10),
        ),
        "ug": (
            (60, 50, 10, 40),
            (65, 50, 10, 35),
            (70, 50, 10, 30),
            (75, 50, 10, 25),
            (80, 50, 10, 20),
            (85, 50, 10, 15),
        ),
    }.items()
    for payoffs in rows
)

UNIT = 5  # payoff per step of the drawing grid: payoffs are UNIT * {0, ..., 19}
STEPS, SMALL_STEPS, SMALL_SHARE = 20, 11, 0.8
HELD_OUT_SHARE = 0.2


def held_out(protocol: Protocol) -> bool:
    """Whether a payoff quadruple is reserved for measurement: the battery,
    and a fifth of all quadruples by hash.

    The rule depends on nothing but the game and the numbers, so pre-training, fine-tuning and
    evaluation agree on it without sharing a file.
    """
    if protocol in BATTERY:
        return True
    key = protocol.game + ":" + ",".join(f"{p:g}" for p in protocol.payoffs)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") < HELD_OUT_SHARE * 2**32


def draw_protocol(game: str, rng: np.random.Generator, held: bool) -> Protocol:
    """A random protocol of ``game`` from the held-out quadruples (``held``) or from the others.

    Four fifths lie between 0 and 10 grid steps, where products with frequencies of ten are in the
    multiplication table.
    """
    order = GAMES[game].ranking
    while True:
        steps = SMALL_STEPS if rng.random() < SMALL_SHARE else STEPS
        values = sorted((int(v) * UNIT for v in rng.choice(steps, 4, replace=False)), reverse=True)
        by_name = dict(zip(order, values, strict=True))
        protocol = Protocol(game, (by_name["T"], by_name["R"], by_name["P"], by_name["S"]))
        if held_out(protocol) == held:
            return protocol


def draw_beliefs(game: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Random beliefs in tenths, .1 to .9: every information set is reached with positive
    probability.
    """
    return tuple(int(v) / 10 for v in rng.integers(1, 10, len(GAMES[game].info_sets)))


@dataclass(frozen=True)
class TableGame:
    """A parametric game in one table: symmetric, or made symmetric by drawing the role
    (``build`` does it).

    parameters : name -> default; build : (**parameters) -> Tables.
    """

    name: str
    parameters: dict[str, float]
    build: Callable[..., Tables]
    source: str


def symmetric(strategies: Sequence[str], payoff: np.ndarray) -> Tables:
    """A symmetric two-player game: payoff (N, N) of the row player."""
    a = np.asarray(payoff, float)
    return Tables(tuple(strategies), a[:, :, None], a.T[:, :, None], np.array([1.0]))


def role_symmetrised(
    rows: Sequence[str], columns: Sequence[str], first: np.ndarray, second: np.ndarray
) -> Tables:
    """An asymmetric game behind the veil: a strategy is one action for each role,
    roles are drawn 50/50.

    first, second : (R, C) payoffs of the row and the column player.  Strategy k = i C + j is named
    ``row,column``.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    i, j = (x.ravel() for x in np.meshgrid(range(len(rows)), range(len(columns)), indexing="ij"))
    own = np.stack([a[np.ix_(i, j)], b[np.ix_(i, j)].T], -1)
    other = np.stack([b[np.ix_(i, j)], a[np.ix_(i, j)].T], -1)
    return Tables(
        tuple(f"{rows[r]},{columns[c]}" for r, c in zip(i, j, strict=True)),
        own,
        other,
        np.array([0.5, 0.5]),
    )


def _two_by_two(names: tuple[str, str]) -> Callable[..., Tables]:
    return lambda a11, a12, a21, a22: symmetric(names, np.array([[a11, a12], [a21, a22]]))


def _grid(top: float, steps: float) -> np.ndarray:
    if not (steps >= 1 and float(steps).is_integer() and steps <= 200):
        raise ValueError(f"steps must be a whole number from 1 to 200, got {steps}")
    return np.linspace(0, top, int(steps) + 1)


def _labels(grid: np.ndarray) -> list[str]:
    return [f"{v:g}" for v in grid]


def _dictator(pie: float, steps: float) -> Tables:
    give = _grid(pie, steps)
    n = len(give)
    keep = np.repeat((pie - give)[:, None], n, 1)
    gift = np.repeat(give[:, None], n, 1)
    return Tables(
        tuple(_labels(give)),
        np.stack([keep, gift.T], -1),
        np.stack([gift, keep.T], -1),
        np.array([0.5, 0.5]),
    )


def _ultimatum(pie: float, steps: float) -> Tables:
    grid = _grid(pie, steps)
    offer, least = (x.ravel() for x in np.meshgrid(grid, grid, indexing="ij"))
    deal = offer[:, None] >= least[None, :]  # my offer meets the other's minimum
    proposer, responder = (
        np.where(deal, (pie - offer)[:, None], 0.0),
        np.where(deal, offer[:, None], 0.0),
    )
    names = tuple(f"{o},{a}" for o in _labels(grid) for a in _labels(grid))
    return Tables(
        names,
        np.stack([proposer, responder.T], -1),
        np.stack([responder, proposer.T], -1),
        np.array([0.5, 0.5]),
    )


def _trust(endowment: float, factor: float, steps: float) -> Tables:
    sent, share = (
        x.ravel() for x in np.meshgrid(_grid(endowment, steps), _grid(1, steps), indexing="ij")
    )
    grown = factor * sent[:, None]
    sender = endowment - sent[:, None] + grown * share[None, :]
    receiver = grown * (1 - share[None, :])
    names = tuple(
        f"{s},{r}" for s in _labels(_grid(endowment, steps)) for r in _labels(_grid(1, steps))
    )
    return Tables(
        names,
        np.stack([sender, receiver.T], -1),
        np.stack([receiver, sender.T], -1),
        np.array([0.5, 0.5]),
    )


def _public_good(players: float, endowment: float, mpcr: float, steps: float) -> Tables:
    if players < 2 or not float(players).is_integer():
        raise ValueError(f"players must be a whole number of at least 2, got {players}")
    x = _grid(endowment, steps)
    total = x[:, None] + (players - 1) * x[None, :]
    own = endowment - x[:, None] + mpcr * total
    other = endowment - x[None, :] + mpcr * total
    return Tables(tuple(_labels(x)), own[:, :, None], other[:, :, None], np.array([1.0]))


def _smooth_public_good(benefit: float, top: float, steps: float) -> Tables:
    x = _grid(top, steps)
    good = benefit * np.log1p(x[:, None] + x[None, :])
    own = good - x[:, None] ** 2 / 2
    return Tables(tuple(_labels(x)), own[:, :, None], own.T[:, :, None], np.array([1.0]))


def _random_dictator(rich: float, poor: float, steps: float) -> Tables:
    if not 0 < poor <= rich:
        raise ValueError(f"wealth must satisfy 0 < poor <= rich, got {poor} and {rich}")
    give = _grid(rich, steps)[:-1]  # giving everything leaves the logarithm of nothing
    n = len(give)
    left, gains = (
        np.repeat(np.log(rich - give)[:, None], n, 1),
        np.repeat(np.log(poor + give)[:, None], n, 1),
    )
    return Tables(
        tuple(_labels(give)),
        np.stack([left, gains.T], -1),
        np.stack([gains, left.T], -1),
        np.array([0.5, 0.5]),
    )


def _asymmetric_coordination(a11: float, a22: float, b11: float, b22: float) -> Tables:
    return role_symmetrised(
        ("up", "down"), ("left", "right"), np.diag([a11, a22]), np.diag([b11, b22])
    )


TABLE_GAMES: dict[str, TableGame] = {
    g.name: g
    for g in (
        TableGame(
            "pd",
            {"a11": 5, "a12": 2, "a21": 7, "a22": 3},
            _two_by_two(("C", "D")),
            "Alger and Weibull (2013); payoffs R, S, T, P",
        ),
        TableGame(
            "stag_hunt",
            {"a11": 4, "a12": 0, "a21": 3, "a22": 3},
            _two_by_two(("stag", "hare")),
            "textbook",
        ),
        TableGame(
            "hawk_dove",
            {"v": 2, "c": 4},
            lambda v, c: symmetric(("hawk", "dove"), np.array([[(v - c) / 2, v], [0, v / 2]])),
            "Maynard Smith and Price (1973)",
        ),
        TableGame(
            "battle",
            {"high": 2, "low": 1},
            lambda high, low: role_symmetrised(
                ("A", "B"), ("A", "B"), np.diag([high, low]), np.diag([low, high])
            ),
            "Luce and Raiffa (1957)",
        ),
        TableGame(
            "coordination",
            {"a11": 0, "a12": 2, "a21": 1, "a22": 0},
            _two_by_two(("1", "2")),
            "Alger and Weibull (2013)",
        ),
        TableGame(
            "asymmetric_coordination",
            {"a11": 3, "a22": 1, "b11": 1, "b22": 2},
            _asymmetric_coordination,
            "textbook; roles drawn as in Alger and Weibull (2013)",
        ),
        TableGame("dictator", {"pie": 100, "steps": 10}, _dictator, "Forsythe et al. (1994)"),
        TableGame(
            "ultimatum",
            {"pie": 100, "steps": 10},
            _ultimatum,
            "Gueth, Schmittberger and Schwarze (1982)",
        ),
        TableGame(
            "trust",
            {"endowment": 10, "factor": 3, "steps": 5},
            _trust,
            "Berg, Dickhaut and McCabe (1995)",
        ),
        TableGame(
            "public_good",  # a column is what each of the others gives
            {"players": 4, "endowment": 20, "mpcr": 0.4, "steps": 20},
            _public_good,
            "Isaac and Walker (1988)",
        ),
        TableGame(
            "smooth_public_good",
            {"benefit": 2, "top": 2, "steps": 200},
            _smooth_public_good,
            "form of Alger and Weibull (2013)",
        ),
        TableGame(
            "random_dictator",
            {"rich": 90, "poor": 10, "steps": 90},
            _random_dictator,
            "form of Alger and Weibull (2013)",
        ),
    )
}


def tables_of(name: str, values: Sequence[float] = ()) -> Tables:
    """Payoff tables of any game: T, R, P, S of a sequential one,
    the parameters (in order) of another; fewer keep defaults.

    Raises ValueError for an unknown game or the wrong number of values.
    """
    if name in GAMES:
        if len(values) != 4:
            raise ValueError(f"{name} needs four payoffs T,R,P,S, got {len(values)}")
        return Protocol(name, (values[0], values[1], values[2], values[3])).tables
    if name not in TABLE_GAMES:
        raise ValueError(f"unknown game {name!r}; known: {', '.join([*GAMES, *TABLE_GAMES])}")
    game = TABLE_GAMES[name]
    if len(values) > len(game.parameters):
        raise ValueError(
            f"{name} has the parameters {', '.join(game.parameters)}, got {len(values)} values"
        )
    return game.build(**{**game.parameters, **dict(zip(game.parameters, values, strict=False))})
