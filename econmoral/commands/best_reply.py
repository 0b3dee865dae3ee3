"""``econmoral best-reply``: everything about one decision: payoffs, utilities,
logit probabilities, best replies, switch points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from econmoral.economics.choice import best_replies, logit, switch_points
from econmoral.economics.games import GAMES, TABLE_GAMES, belief_weights, tables_of
from econmoral.economics.preferences import FAMILIES
from econmoral.files.options import Config, option
from econmoral.files.records import InputError, terminal
from econmoral.files.shown import grid


def numbers(text: str | None) -> tuple[float, ...]:
    """``90,45,15,10`` as finite numbers; none of None."""
    if text is None:
        return ()
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of numbers like 90,45,15,10") from None
    if not all(map(math.isfinite, values)):
        raise InputError(f"{text!r} holds a value that is not finite")
    return values


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    game: str = option(
        None, f"sequential: {', '.join(GAMES)}; other: {', '.join(TABLE_GAMES)}", positional=True
    )
    payoffs: str | None = option(
        None, "T,R,P,S of a sequential game; parameters of another (default: its own)"
    )
    beliefs: str | None = option(
        None,
        "probability of the first action at every information set; in other games weights of the "
        "strategies (default even)",
    )
    alpha: float = option(0.0, "aversion to being behind (default 0)")
    beta: float = option(0.0, "aversion to being ahead (default 0)")
    kappa: float = option(0.0, "degree of morality, 0 to 1 (default 0)", within=(0, 1))
    precision: float = option(0.1, "logit lambda per point")
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Everything about one decision."""
    if options.precision < 0:
        raise InputError("--precision must not be negative; all parameters must be finite")
    payoffs, beliefs = numbers(options.payoffs), numbers(options.beliefs)
    try:
        tables = tables_of(options.game, payoffs)
        n = len(tables.strategies)
        if options.game in GAMES:
            sets = len(GAMES[options.game].info_sets)
            weights = belief_weights(options.game, beliefs or (0.5,) * sets)
        else:
            weights = np.array(beliefs) if beliefs else np.full(n, 1 / n)
            if (
                len(weights) != n
                or (weights < 0).any()
                or not math.isclose(weights.sum(), 1, abs_tol=1e-6)
            ):
                raise ValueError(f"--beliefs must be {n} weights that sum to 1, one per strategy")
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from None
    theta = {"alpha": options.alpha, "beta": options.beta}
    utility = FAMILIES["alpha_beta_kappa"].utility(
        tables, weights, {**theta, "kappa": options.kappa}
    )
    probability = logit(utility, options.precision)
    own, switches = tables.pi @ weights, switch_points(tables, weights, theta)
    rows = zip(tables.strategies, own, tables.alike, utility, probability, strict=True)
    return {
        "strategies": {
            s: {
                "payoff": float(a),
                "self_payoff": float(b),
                "utility": float(u),
                "probability": float(p),
            }
            for s, a, b, u, p in rows
        },
        "best_replies": [tables.strategies[i] for i in best_replies(utility)],
        "switch_points": [k for k, _ in switches if k > 0],
        "best_reply_from": [{"kappa": k, "strategy": tables.strategies[i]} for k, i in switches],
    }


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console = terminal(100)
    columns = ("payoff", "self_payoff", "utility", "probability")
    rows = [(s, *(f"{v[k]:.6g}" for k in columns)) for s, v in result["strategies"].items()]
    console.print(grid(("strategy", "pi(x, y)", "pi(x, x)", "utility", "probability"), rows))
    console.print(
        "best replies:",
        ", ".join(result["best_replies"]) + (" (tie)" if len(result["best_replies"]) > 1 else ""),
    )
    console.print(
        "as kappa rises:",
        ", ".join(f"{p['strategy']} from {p['kappa']:.6g}" for p in result["best_reply_from"]),
    )
