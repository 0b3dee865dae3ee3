"""Payoffs and optima written out by hand: nothing here imports the code under test."""

from __future__ import annotations

import itertools

ACTIONS = {"spd": ("CD", "CD", "CD"), "tg": (("trust", "distrust"), ("give", "keep")), "ug": (("equal", "unequal"), ("accept", "reject"))}


def pi_formula(game: str, payoffs: tuple[float, ...], x: tuple[float, ...], y: tuple[float, ...]) -> float:
    """Expected payoff behind the veil, written out by hand for behaviour strategies."""
    T, R, P, S = payoffs
    if game == "spd":
        first = x[0] * y[1] * R + x[0] * (1 - y[1]) * S + (1 - x[0]) * y[2] * T + (1 - x[0]) * (1 - y[2]) * P
        second = y[0] * x[1] * R + y[0] * (1 - x[1]) * T + (1 - y[0]) * x[2] * S + (1 - y[0]) * (1 - x[2]) * P
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
    """Best pure strategy of homo moralis by enumeration of the formula; own payoff decides at a tie."""
    money = {name: pi_formula(game, payoffs, x, beliefs) for name, x in zip(names(game), pure(game), strict=True)}
    alike = {name: pi_formula(game, payoffs, x, x) for name, x in zip(names(game), pure(game), strict=True)}
    return max(money, key=lambda s: (round((1 - kappa) * money[s] + kappa * alike[s], 9), money[s]))
