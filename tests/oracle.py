"""Payoffs and optima written out by hand: nothing here imports the code under test."""

from __future__ import annotations

import itertools
from collections.abc import Callable

ACTIONS = {
    "spd": ("CD", "CD", "CD"),
    "tg": (("trust", "distrust"), ("give", "keep")),
    "ug": (("equal", "unequal"), ("accept", "reject")),
}


def pi_formula(
    game: str, payoffs: tuple[float, ...], x: tuple[float, ...], y: tuple[float, ...]
) -> float:
    """Expected payoff behind the veil, written out by hand for behaviour strategies."""
    T, R, P, S = payoffs
    if game == "spd":
        first = (
            x[0] * y[1] * R
            + x[0] * (1 - y[1]) * S
            + (1 - x[0]) * y[2] * T
            + (1 - x[0]) * (1 - y[2]) * P
        )
        second = (
            y[0] * x[1] * R
            + y[0] * (1 - x[1]) * T
            + (1 - y[0]) * x[2] * S
            + (1 - y[0]) * (1 - x[2]) * P
        )
    elif game == "tg":
        first = x[0] * (y[1] * R + (1 - y[1]) * S) + (1 - x[0]) * P
        second = y[0] * (x[1] * R + (1 - x[1]) * T) + (1 - y[0]) * P
    else:
        first = x[0] * R + (1 - x[0]) * (y[1] * T + (1 - y[1]) * P)
        second = y[0] * R + (1 - y[0]) * (x[1] * S + (1 - x[1]) * P)
    return (first + second) / 2


def pure(game: str) -> list[tuple[int, ...]]:
    """Pure strategies as probabilities of the first action, in the game's order."""
    return list(itertools.product((1, 0), repeat=len(ACTIONS[game])))


def names(game: str) -> list[str]:
    """Names of the pure strategies, in the order of ``pure``."""
    return [("" if game == "spd" else ",").join(s) for s in itertools.product(*ACTIONS[game])]


def optimum(game: str, payoffs: tuple[float, ...], beliefs: tuple[float, ...], kappa: float) -> str:
    """Best pure strategy of homo moralis by enumeration of the formula.

    Own payoff decides at a tie.
    """
    money = {
        name: pi_formula(game, payoffs, x, beliefs)
        for name, x in zip(names(game), pure(game), strict=True)
    }
    alike = {
        name: pi_formula(game, payoffs, x, x)
        for name, x in zip(names(game), pure(game), strict=True)
    }
    return max(money, key=lambda s: (round((1 - kappa) * money[s] + kappa * alike[s], 9), money[s]))


# Outcomes by moves, (first mover, second mover); the reply to a first move is the plan's entry of
# that number.
OUTCOMES = {
    "spd": {("C", "C"): "RR", ("C", "D"): "ST", ("D", "C"): "TS", ("D", "D"): "PP"},
    "tg": {("distrust",): "PP", ("trust", "give"): "RR", ("trust", "keep"): "ST"},
    "ug": {("equal",): "RR", ("unequal", "accept"): "TS", ("unequal", "reject"): "PP"},
}
REPLY = {"spd": {"C": 1, "D": 2}, "tg": {"trust": 1}, "ug": {"unequal": 1}}


def points(game: str, payoffs: tuple[float, ...]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Payoffs of (first mover, second mover) by the moves on the path."""
    value = dict(zip("TRPS", payoffs, strict=True))
    return {path: (value[names[0]], value[names[1]]) for path, names in OUTCOMES[game].items()}


def plans(game: str) -> list[tuple[str, ...]]:
    """Moves of the pure strategies, in the order of ``pure``."""
    return list(itertools.product(*ACTIONS[game]))


def expected(
    game: str,
    payoffs: tuple[float, ...],
    plan: tuple[str, ...],
    beliefs: tuple[float, ...],
    value: Callable[[float, float], float],
) -> float:
    """Expected ``value`` (own, other's payoff) of a plan behind the veil,
    walking the tree in either role.
    """
    pay, replies = points(game, payoffs), REPLY[game]

    def chance(place: int, move: str) -> float:
        return beliefs[place] if move == ACTIONS[game][place][0] else 1 - beliefs[place]

    first = second = 0.0
    for path, (m, n) in pay.items():
        if path[0] == plan[0]:
            first += value(m, n) * (chance(replies[path[0]], path[1]) if len(path) == 2 else 1)
        if len(path) == 1 or plan[replies[path[0]]] == path[1]:
            second += value(n, m) * chance(0, path[0])
    return (first + second) / 2


def worth(family: str, theta: dict[str, float], m: float, n: float) -> float:
    """Utility of own payoff m where the other has n,
    written out from the papers' formulas (no Kantian term).
    """
    get = theta.get
    if family in ("homo_economicus", "homo_moralis"):
        return m
    if family in ("fehr_schmidt", "alpha_beta_kappa"):
        return m - get("alpha", 0) * max(n - m, 0) - get("beta", 0) * max(m - n, 0)
    if family in ("charness_rabin", "bruhin_fehr_schunk"):
        ahead, behind = (
            (get("rho", 0), get("sigma", 0))
            if family == "charness_rabin"
            else (get("beta", 0), get("alpha", 0))
        )
        weight = ahead if m > n else behind if m < n else 0
        return (1 - weight) * m + weight * n
    return {
        "altruism": m + get("altruism", 0) * n,
        "utilitarian": m + n,
        "maximin": (1 - get("delta", 0)) * m + get("delta", 0) * min(m, n),
    }[family]
