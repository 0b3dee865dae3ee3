"""Calculator for the economist at the shell.

    python -m econmoral best-reply spd --payoffs 90,45,15,10 --beliefs .6,.5,.2 --alpha .1 --beta .2 --kappa .3 --precision .1
    python -m econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3
    python -m econmoral fit runs/demo/eval/choices.jsonl --set payoffs --mode reasoned --arm moralis
    python -m econmoral import-otree export.csv --map map.yaml --out long.csv
    python -m econmoral power --effect 0.05
    python -m econmoral market --kappa 0 .5 --group firms

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
from econmoral.fitting import add_to as add_fit
from econmoral.fitting import run as run_fit
from econmoral.games import GAMES, TABLE_GAMES, belief_weights, tables_of
from econmoral.market import GROUPS, Market
from econmoral.otree import add_to as add_import
from econmoral.otree import run as run_import
from econmoral.power import required
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, finite, terminal


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
    size = commands.add_parser("power", help="items or samples needed to tell two arms apart")
    size.add_argument("--effect", type=float, required=True, help="difference in mean choice probability")
    size.add_argument("--alpha", type=float, default=0.05, help="two-sided level (default 0.05)")
    size.add_argument("--power", type=float, default=0.8, help="(default 0.8)")
    size.add_argument("--share", type=float, default=0.5, help="baseline share (default 0.5)")
    size.add_argument("--spread", type=float, default=0.25, help="standard deviation of exact probabilities over items (default 0.25)")
    size.add_argument("--correlation", type=float, default=0.5, help="between arms over the same items (default 0.5)")
    rivals = commands.add_parser("market", help="equilibrium prices of firms with given degrees of morality under logit demand")
    rivals.add_argument("--kappa", type=float, nargs="+", default=[0.0, 0.0], help="degree of morality of every firm (default 0 0)")
    rivals.add_argument("--group", choices=GROUPS, default="firms", help="who stands behind the veil (default firms)")
    rivals.add_argument("--quality", type=float, nargs="+", default=[2.0], help="a of every firm, or one for all (default 2)")
    rivals.add_argument("--cost", type=float, nargs="+", default=[1.0], help="unit cost of every firm, or one for all (default 1)")
    rivals.add_argument("--outside", type=float, default=0.0, help="quality of the outside good (default 0)")
    rivals.add_argument("--mu", type=float, default=0.25, help="horizontal differentiation (default 0.25)")
    rivals.add_argument("--scale", type=float, default=1.0, help="size of the market (default 1)")
    rivals.add_argument("--currency", type=float, default=1.0, help="units of currency per unit of utility (default 1)")
    rivals.add_argument("--prices", type=float, nargs="+", help="describe these prices instead of the equilibrium")
    for sub in (reply, size, rivals):
        sub.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


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


def market(args: argparse.Namespace) -> dict[str, Any]:
    """Equilibrium, or given prices, of a market."""
    n = len(args.prices or args.kappa)
    quality, cost = (tuple(x * n if len(x) == 1 else x) for x in (args.quality, args.cost))
    try:
        firms = Market(quality, cost, args.outside, args.mu, args.scale, args.currency)
        if args.prices and len(args.prices) != firms.n:
            raise ValueError(f"{firms.n} firms and {len(args.prices)} prices")
        prices = np.array(args.prices, float) if args.prices else firms.equilibrium(tuple(args.kappa), args.group)
        if not np.isfinite(prices).all():
            raise ValueError("prices must be finite")
        result = firms.describe(prices)
        return result | {"critical_discount": [firms.critical_discount(i) for i in range(n)] if n > 1 else []}
    except ValueError as error:
        raise InputError(str(error)) from None


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
    elif args.command == "power":
        console.print(f"to find a difference of {args.effect:g} in mean choice probability:")
        console.print(grid(("design", "needed"), [(k, str(v)) for k, v in result.items()]))
    elif args.command == "market":
        names = ("prices", "shares", "profits", "price_index", "profit_gain", "nash", "monopoly")
        rows = [(str(i + 1), *("–" if result[k][i] is None else f"{result[k][i]:.6g}" for k in names)) for i in range(len(result["prices"]))]
        console.print(grid(("firm", "price", "share", "profit", "price index", "profit gain", "Nash price", "monopoly price"), rows))
        console.print(f"consumer surplus {result['consumer_surplus']:.6g}; price index and profit gain: 0 at Nash, 1 at joint monopoly")
        if result["critical_discount"]:
            console.print("monopoly is held by the threat of Nash from discount factor", ", ".join(f"{d:.4f}" for d in result["critical_discount"]))


def main() -> None:
    """Entry point."""
    args = arguments()
    if args.command in ("fit", "import-otree"):
        sys.exit({"fit": run_fit, "import-otree": run_import}[args.command](args))
    if args.command == "power":
        try:
            result: dict[str, Any] = required(args.effect, args.alpha, args.power, args.share, args.spread, args.correlation)
        except ValueError as error:
            raise InputError(str(error)) from None
    else:
        result = {"best-reply": best_reply, "market": market}[args.command](args)
    if args.json:
        print(json.dumps(finite(result), indent=2, allow_nan=False))
    else:
        show(args, result)


if __name__ == "__main__":
    command(main)
