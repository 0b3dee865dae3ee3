"""``econmoral best-reply``: everything about one decision: payoffs, utilities,
logit probabilities, best replies, switch points.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from econmoral.choice import best_replies, logit, switch_points
from econmoral.commands import grid
from econmoral.games import GAMES, TABLE_GAMES, belief_weights, tables_of
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, terminal


def numbers(text: str) -> tuple[float, ...]:
    """``90,45,15,10`` as finite numbers."""
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of numbers like 90,45,15,10") from None
    if not all(map(math.isfinite, values)):
        raise InputError(f"{text!r} holds a value that is not finite")
    return values


def add_to(commands: Any) -> None:
    """Declare the command."""
    reply = commands.add_parser("best-reply", description=__doc__)
    reply.add_argument(
        "game", help=f"sequential: {', '.join(GAMES)}; other: {', '.join(TABLE_GAMES)}"
    )
    reply.add_argument(
        "--payoffs",
        type=numbers,
        default=(),
        help="T,R,P,S of a sequential game; parameters of another (default: its own)",
    )
    reply.add_argument(
        "--beliefs",
        type=numbers,
        help=(
            "probability of the first action at every information set; in other games weights of "
            "the strategies (default even)"
        ),
    )
    reply.add_argument(
        "--alpha", type=float, default=0.0, help="aversion to being behind (default 0)"
    )
    reply.add_argument(
        "--beta", type=float, default=0.0, help="aversion to being ahead (default 0)"
    )
    reply.add_argument(
        "--kappa", type=float, default=0.0, help="degree of morality, 0 to 1 (default 0)"
    )
    reply.add_argument(
        "--precision", type=float, default=0.1, help="logit lambda per point (default 0.1)"
    )
    reply.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one decision."""
    if not 0 <= args.kappa <= 1:
        raise InputError(f"--kappa must lie in [0, 1], got {args.kappa}")
    if not (args.precision >= 0 and math.isfinite(args.precision + args.alpha + args.beta)):
        raise InputError("--precision must not be negative; all parameters must be finite")
    try:
        tables = tables_of(args.game, args.payoffs)
        n = len(tables.strategies)
        if args.game in GAMES:
            sets = len(GAMES[args.game].info_sets)
            weights = belief_weights(args.game, args.beliefs or (0.5,) * sets)
        else:
            weights = np.array(args.beliefs) if args.beliefs else np.full(n, 1 / n)
            if (
                len(weights) != n
                or (weights < 0).any()
                or not math.isclose(weights.sum(), 1, abs_tol=1e-6)
            ):
                raise ValueError(f"--beliefs must be {n} weights that sum to 1, one per strategy")
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from None
    theta = {"alpha": args.alpha, "beta": args.beta}
    utility = FAMILIES["alpha_beta_kappa"].utility(tables, weights, {**theta, "kappa": args.kappa})
    probability = logit(utility, args.precision)
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


def show(args: argparse.Namespace, result: dict[str, Any]) -> None:
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
