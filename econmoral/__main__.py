"""Calculator for the economist at the shell.

    python -m econmoral best-reply spd --payoffs 90,45,15,10 --beliefs .6,.5,.2 --alpha .1 --beta .2 --kappa .3 --precision .1
    python -m econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3
    python -m econmoral fit runs/demo/eval/choices.jsonl --set payoffs --mode reasoned --arm moralis
    python -m econmoral import-otree export.csv --map map.yaml --out long.csv
    python -m econmoral power --effect 0.05
    python -m econmoral market --kappa 0 .5 --group firms
    python -m econmoral garp budgets.csv
    python -m econmoral amce conjoint.csv --baseline colour=red
    python -m econmoral clone choices.csv --cluster sid --types 3 --out runs/clone
    python -m econmoral package runs/humans --out replication

Every command takes --json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from econmoral.choice import best_replies, logit, switch_points
from econmoral.commands import budgets, clone, conjoint, markets, negative_values, package, planning
from econmoral.fitting import NOT_IDENTIFIED
from econmoral.fitting import add_to as add_fit
from econmoral.fitting import run as run_fit
from econmoral.games import GAMES, TABLE_GAMES, belief_weights, tables_of
from econmoral.identification import NotIdentified
from econmoral.otree import add_to as add_import
from econmoral.otree import run as run_import
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, finite, plain, terminal

OWN = {
    "power": planning,
    "market": markets,
    "garp": budgets,
    "amce": conjoint,
    "clone": clone,
    "package": package,
}  # commands that live in a module of their own


def numbers(text: str) -> tuple[float, ...]:
    """``90,45,15,10`` as finite numbers."""
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of numbers like 90,45,15,10") from None
    if not all(map(math.isfinite, values)):
        raise InputError(f"{text!r} holds a value that is not finite")
    return values


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m econmoral", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    reply = commands.add_parser("best-reply", help="payoffs, utilities, logit probabilities, best replies and switch points of every pure strategy")
    reply.add_argument("game", help=f"sequential: {', '.join(GAMES)}; other: {', '.join(TABLE_GAMES)}")
    reply.add_argument("--payoffs", type=numbers, default=(), help="T,R,P,S of a sequential game; parameters of another (default: its own)")
    reply.add_argument(
        "--beliefs", type=numbers, help="probability of the first action at every information set; in other games weights of the strategies (default even)"
    )
    reply.add_argument("--alpha", type=float, default=0.0, help="aversion to being behind (default 0)")
    reply.add_argument("--beta", type=float, default=0.0, help="aversion to being ahead (default 0)")
    reply.add_argument("--kappa", type=float, default=0.0, help="degree of morality, 0 to 1 (default 0)")
    reply.add_argument("--precision", type=float, default=0.1, help="logit lambda per point (default 0.1)")
    add_fit(commands)
    add_import(commands)
    for module in OWN.values():
        module.add_to(commands)
    reply.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(negative_values(sys.argv[1:]))


def best_reply(args: argparse.Namespace) -> dict[str, Any]:
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
            if len(weights) != n or (weights < 0).any() or not math.isclose(weights.sum(), 1, abs_tol=1e-6):
                raise ValueError(f"--beliefs must be {n} weights that sum to 1, one per strategy")
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from None
    theta = {"alpha": args.alpha, "beta": args.beta}
    utility = FAMILIES["alpha_beta_kappa"].utility(tables, weights, {**theta, "kappa": args.kappa})
    probability = logit(utility, args.precision)
    own, switches = tables.pi @ weights, switch_points(tables, weights, theta)
    rows = zip(tables.strategies, own, tables.alike, utility, probability, strict=True)
    return {
        "strategies": {s: {"payoff": float(a), "self_payoff": float(b), "utility": float(u), "probability": float(p)} for s, a, b, u, p in rows},
        "best_replies": [tables.strategies[i] for i in best_replies(utility)],
        "switch_points": [k for k, _ in switches if k > 0],
        "best_reply_from": [{"kappa": k, "strategy": tables.strategies[i]} for k, i in switches],
    }


def grid(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """A table for a person."""
    table = Table(box=SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def show(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print for a person."""
    console = terminal(100)
    if args.command == "best-reply":
        rows = [(s, *(f"{v[k]:.6g}" for k in ("payoff", "self_payoff", "utility", "probability"))) for s, v in result["strategies"].items()]
        console.print(grid(("strategy", "pi(x, y)", "pi(x, x)", "utility", "probability"), rows))
        console.print("best replies:", ", ".join(result["best_replies"]) + (" (tie)" if len(result["best_replies"]) > 1 else ""))
        console.print("as kappa rises:", ", ".join(f"{p['strategy']} from {p['kappa']:.6g}" for p in result["best_reply_from"]))


def main() -> None:
    """Entry point."""
    args = arguments()
    if args.command in ("fit", "import-otree"):
        sys.exit({"fit": run_fit, "import-otree": run_import}[args.command](args))
    try:
        result: dict[str, Any] = OWN[args.command].run(args) if args.command in OWN else best_reply(args)
    except NotIdentified as error:
        print(plain(f"not identified: {error}"), file=sys.stderr)
        sys.exit(NOT_IDENTIFIED)
    if args.json:
        print(json.dumps(finite(result), indent=2, allow_nan=False))
    elif args.command in OWN:
        OWN[args.command].show(args, result)
    else:
        show(args, result)


if __name__ == "__main__":
    command(main)
