"""Calculator for the economist at the shell.

    python -m econmoral best-reply spd --payoffs 90,45,15,10 --beliefs .6,.5,.2 --alpha .1 --beta .2 --kappa .3 --precision .1
    python -m econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3
    python -m econmoral fit runs/demo/eval/choices.jsonl --family alpha_beta_kappa --arm moralis
    python -m econmoral power --effect 0.05
    python -m econmoral market --kappa 0 .5 --group firms
    python -m econmoral garp budgets.csv
    python -m econmoral amce conjoint.csv --baseline colour=red

Every command takes --json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from econmoral.choice import best_replies, logit, read_decision, switch_points
from econmoral.commands import budgets, conjoint, markets, negative_values, planning
from econmoral.estimation import Design, Fit, Mixture, NotIdentified, allocations, design, fit, mixture
from econmoral.games import GAMES, TABLE_GAMES, belief_weights, tables_of
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, finite, read_lines, terminal

OWN = {"power": planning, "market": markets, "garp": budgets, "amce": conjoint}  # commands that live in a module of their own
ALLOCATION_COLUMNS = ("self_x", "self_y", "other_x", "other_y", "choice_x")


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
    estimate = commands.add_parser("fit", help="maximum likelihood on a CSV of binary allocations or on choices.jsonl of a measurement")
    estimate.add_argument("file", type=Path, help=f"CSV with {', '.join(ALLOCATION_COLUMNS)} (optional q, v: kind, unkind act before), or choices.jsonl")
    estimate.add_argument("--family", default="alpha_beta_kappa", help=f"one of {', '.join(FAMILIES)} (default alpha_beta_kappa)")
    estimate.add_argument("--cluster", help="column that names the subject (CSV; default: every row its own); choices.jsonl are clustered by item")
    estimate.add_argument("--errors", choices=("clustered", "sandwich", "hessian"), default="clustered", help="kind of standard errors (default clustered)")
    estimate.add_argument("--types", type=int, default=1, help="types of a finite mixture (default 1: none)")
    estimate.add_argument("--arm", help="arm of choices.jsonl (default: the only one)")
    for module in OWN.values():
        module.add_to(commands)
    for sub in (reply, estimate):
        sub.add_argument("--json", action="store_true", help="print JSON")
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


def read_allocations(args: argparse.Namespace) -> Design:
    """The table of binary allocation choices."""
    try:
        # as it stands: a packed file could unpack to more than the memory
        frame = pd.read_csv(args.file, dtype={args.cluster: str} if args.cluster else None, compression=None)
    except FileNotFoundError:
        raise InputError(f"{args.file} does not exist") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{args.file} is not a CSV table: {error}") from None
    wanted = [*ALLOCATION_COLUMNS, *([args.cluster] if args.cluster else [])]
    if missing := [c for c in wanted if c not in frame.columns]:
        raise InputError(f"{args.file} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, frame.columns[:20]))}")
    for column in [c for c in (*ALLOCATION_COLUMNS, "q", "v") if c in frame.columns]:
        values = pd.to_numeric(frame[column], errors="coerce")
        bad = ~np.isfinite(values.to_numpy(float))
        if column in ("choice_x", "q", "v"):
            bad |= ~values.isin((0, 1)).to_numpy()
        if bad.any():
            raise InputError(f"{args.file}, line {int(bad.argmax()) + 2}: column {column} holds {frame[column].iloc[int(bad.argmax())]!r}")
        frame[column] = values
    if frame.empty:
        raise InputError(f"{args.file} holds no rows")
    cluster = frame[args.cluster].astype(str) if args.cluster else pd.Series(range(len(frame))).astype(str)
    kind, unkind = (frame[c].to_numpy(float) if c in frame.columns else 0.0 for c in ("q", "v"))
    own, other = (frame[[f"{who}_x", f"{who}_y"]].to_numpy(float) for who in ("self", "other"))
    try:
        return allocations(own, other, 1 - frame["choice_x"].to_numpy(int), list(cluster), args.family, kind, unkind)
    except ValueError as error:
        raise InputError(str(error)) from None


def read_choices(args: argparse.Namespace) -> Design:
    """Decisions of one arm of a measurement."""
    rows = list(read_lines(args.file))
    arms = sorted({str(row.get("arm")) for _, row in rows})
    if args.arm is None and len(arms) > 1:
        raise InputError(f"{args.file} holds several arms; choose one with --arm: {', '.join(arms)}")
    rows = [(number, row) for number, row in rows if args.arm in (None, row.get("arm"))]
    if not rows:
        raise InputError(f"{args.file} has no arm {args.arm!r}; it has {', '.join(arms)}")
    decisions = []
    for number, row in rows:
        if row.get("probabilities", "") is None:  # refused on every page
            continue
        try:
            decisions.append(read_decision(row))
        except ValueError as error:
            raise InputError(f"{args.file}, line {number}: no decision of eval.games ({error})") from None
    if not decisions:
        raise InputError(f"{args.file}: every decision was refused; there is nothing to estimate from")
    try:
        return design(decisions, args.family)
    except ValueError as error:
        raise InputError(str(error)) from None


def described(found: Fit) -> dict[str, Any]:
    """JSON of a fit."""
    return {
        "family": found.family,
        "estimates": {k: {"value": v, "se": found.se[k]} for k, v in found.estimates.items()},
        "log_likelihood": found.log_likelihood, "n": found.n, "clusters": found.clusters, "errors": found.errors, "types": [], "identified": True,
    }  # fmt: skip


def described_mixture(found: Mixture) -> dict[str, Any]:
    """JSON of a mixture."""
    types = [
        {"share": float(s), "share_se": float(e), "estimates": {k: {"value": v, "se": se[k]} for k, v in t.items()}}
        for s, e, t, se in zip(found.shares, found.share_se, found.types, found.se, strict=True)
    ]
    return {
        "log_likelihood": found.log_likelihood, "entropy": found.entropy, "nec": found.nec, "bic": found.bic,
        "starts": found.starts, "starts_that_agree": found.agreeing, "types": types,
    }  # fmt: skip


def estimate(args: argparse.Namespace) -> dict[str, Any]:
    """Fit of a file; what is not identified is said, with bounds where there are any."""
    if args.family not in FAMILIES:
        raise InputError(f"unknown family {args.family!r}; known: {', '.join(FAMILIES)}")
    if not 1 <= args.types <= 10:
        raise InputError(f"--types must lie between 1 and 10, got {args.types}")
    data = read_choices(args) if args.file.suffix == ".jsonl" else read_allocations(args)
    try:
        result = described(fit(data, errors=args.errors))
        if args.types > 1:  # the estimates stay those of one type; the likelihood is that of the model asked for
            result = {**result, "log_likelihood_one_type": result["log_likelihood"], **described_mixture(mixture(data, args.types))}
    except NotIdentified as error:
        return {"family": args.family, "identified": False, "reason": str(error), "bounds": error.bounds, "n": len(data.index), "clusters": len(data.names)}
    return result


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
    elif not result["identified"]:
        console.print(f"not identified: {result['reason']}")
    else:
        rows = [(k, f"{v['value']:.6g}", f"{v['se']:.3g}") for k, v in result["estimates"].items()]
        value = result.get("log_likelihood_one_type", result["log_likelihood"])
        title = f"{result['family']}, lnL {value:.4f}, {result['n']} decisions, {result['clusters']} clusters, {result['errors']} errors"
        console.print(title)
        console.print(grid(("parameter", "estimate", "SE"), rows))
        for number, kind in enumerate(result["types"], 1):
            rows = [(k, f"{v['value']:.6g}", f"{v['se']:.3g}") for k, v in kind["estimates"].items()]
            console.print(f"type {number}: share {kind['share']:.3f} (SE {kind['share_se']:.3f})")
            console.print(grid(("parameter", "estimate", "SE"), rows))
        if result["types"]:
            agree = f"{result['starts_that_agree']} of {result['starts']} starts agree"
            console.print(f"mixture: lnL {result['log_likelihood']:.4f}, NEC {result['nec']:.4g}, BIC {result['bic']:.1f}, {agree}")


def main() -> None:
    """Entry point."""
    args = arguments()
    if args.command in OWN:
        result: dict[str, Any] = OWN[args.command].run(args)
    else:
        result = {"best-reply": best_reply, "fit": estimate}[args.command](args)
    if args.json:
        print(json.dumps(finite(result), indent=2, allow_nan=False))
    elif args.command in OWN:
        OWN[args.command].show(args, result)
    else:
        show(args, result)


if __name__ == "__main__":
    command(main)
