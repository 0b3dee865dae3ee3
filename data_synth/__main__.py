"""Write training data: games, the optimal strategy of a preference, the reasoning that leads to it.

    python -m data_synth --preference homo_moralis --kappa 0.5 --n 400 --seed 0 --out data/moralis.jsonl

Each line is one conversation (``prompt``, ``completion``) with a ``meta`` object.  Same seed, same bytes.  A dataset card
is written beside the file.  Payoffs and wordings held out for measurement never appear.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from data_synth.synthesis import LEAD, OUTCOME_TARGETS, TRAINED_GAMES, dilemma_examples, examples
from econmoral.games import GAMES
from econmoral.records import InputError, command, origin, sha256, write_lines, write_text

CARD = """---
license: apache-2.0
task_categories: [text-generation]
tags: [economics, games, preferences, econmoral]
---
# {name}

{n} decisions of **{preference}**{kappa_text}, written by `{command}` (econmoral revision {git}).
SHA-256 of the file: `{sha256}`.

| | |
|---|---|
| games | {games} |
| answers with the derivation | {reasoned:.1%} |
| decisions in which homo economicus and homo moralis (kappa {kappa}) differ | {differ:.1%} |
| wordings | {wordings} |
| lead of the optimum over every other plan, under both preferences | at least {lead:g} point(s) |
| labels shuffled (placebo) | {shuffled} |

Fields: `prompt` and `completion` are chat messages. `meta` holds `game`, `payoffs` (T, R, P, S in points), `beliefs`
(probability of the first action at each information set), `strategy` (the answer, in the game's own terms), `mode`
(`direct` or `reasoned`), `preference`, `kappa`, `preferences_differ`, and `layout` (wording, labels, orders, currency,
unit: how the decision was put on the page).

Payoffs are multiples of 5 points from 0 to 95; those reserved for measurement never occur. Labels, orders, currency, payoff
unit and wording rotate at random. Read it with `datasets.load_dataset("json", data_files="{name}")`.
"""


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m data_synth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preference", required=True, help=f"one of {', '.join(OUTCOME_TARGETS)}")
    parser.add_argument("--kappa", type=float, default=0.5, help="degree of morality of homo moralis, 0 to 1 (default 0.5)")
    parser.add_argument("--n", type=int, default=400, help="number of examples (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--reasoned", type=float, default=0.5, metavar="SHARE", help="share of prompts that ask for the derivation (default 0.5)")
    parser.add_argument("--games", nargs="+", choices=tuple(GAMES), default=list(TRAINED_GAMES), help=f"games to draw from (default {' '.join(TRAINED_GAMES)})")
    parser.add_argument("--domain", choices=("games", "dilemmas"), default="games", help="dilemmas: near transfer to eval.dilemmas (default games)")
    parser.add_argument("--shuffled", action="store_true", help="placebo: answer with the plan of an unrelated decision of the same game")
    parser.add_argument("--out", type=Path, help="JSON Lines file to write")
    parser.add_argument("--dry-run", type=int, default=0, metavar="K", help="print K examples and write nothing")
    args = parser.parse_args()
    if args.preference not in OUTCOME_TARGETS:
        raise InputError(f"unknown preference {args.preference!r}; known: {', '.join(OUTCOME_TARGETS)}")
    for name in ("kappa", "reasoned"):
        if not 0 <= getattr(args, name) <= 1:
            raise InputError(f"--{name} must lie in [0, 1], got {getattr(args, name)}")
    if args.seed < 0 or (args.dry_run < 1 and args.n < 1):
        raise InputError("--n must be at least 1 and --seed not negative")
    if args.domain == "dilemmas" and (args.shuffled or args.games != list(TRAINED_GAMES)):
        raise InputError("--domain dilemmas takes neither --games nor --shuffled")
    if not args.out and not args.dry_run:
        raise InputError("give --out FILE to write, or --dry-run K to look at a few examples")
    return args


def show(rows: Iterator[dict[str, Any]]) -> None:
    """Print examples for a person."""
    for row in rows:
        meta = row["meta"]
        if "domain" in meta:
            print(f"--- dilemma, {meta['scene']}, {meta['saved']} saved")
        else:
            print(f"--- {meta['game']} {meta['payoffs']} beliefs {meta['beliefs']} -> {meta['strategy']} ({meta['mode']})")
        for message in [*row["prompt"], *row["completion"]]:
            print(f"[{message['role']}]\n{message['content']}\n")


def write(rows: Iterator[dict[str, Any]], args: argparse.Namespace) -> None:
    """Stream the examples to the file, then write the card."""
    counts: Counter[str] = Counter()
    wordings: set[str] = set()

    def counted() -> Iterator[dict[str, Any]]:
        for row in track(rows, "drawing decisions", total=args.n, disable=args.n < 2000 or not sys.stderr.isatty()):
            meta = row["meta"]
            counts[meta.get("game", "dilemmas")] += 1
            counts["reasoned"] += meta["mode"] == "reasoned"
            counts["differ"] += meta.get("preferences_differ", False)
            wordings.update({meta["layout"]["wording"]} if "layout" in meta else ())
            yield row

    write_lines(args.out, counted())
    about = origin()
    card = CARD.format(
        name=args.out.name, n=args.n, preference=args.preference, kappa=args.kappa,
        kappa_text=f" with kappa = {args.kappa:g}" if args.preference == "homo_moralis" else "",
        command=" ".join(["python -m data_synth", *sys.argv[1:]]), git=about["git"], sha256=sha256(args.out),
        games=", ".join(f"{g} {counts[g]}" for g in (*GAMES, "dilemmas") if counts[g]), reasoned=counts["reasoned"] / args.n,
        differ=counts["differ"] / args.n, wordings=", ".join(sorted(wordings)), lead=LEAD, shuffled="yes" if args.shuffled else "no",
    )  # fmt: skip
    write_text(args.out.with_suffix(".md"), card)
    if args.domain == "dilemmas":
        print(f"{args.out}: {args.n} dilemmas of {args.preference}")
        return
    print(
        f"{args.out}: {args.n} examples of {args.preference}; {counts['reasoned'] / args.n:.0%} with derivation; "
        f"homo economicus and homo moralis differ in {counts['differ'] / args.n:.0%}"
    )


def main() -> None:
    """Entry point."""
    args = arguments()
    n = args.dry_run or args.n
    games = tuple(g for g in GAMES if g in args.games)
    if args.domain == "dilemmas":
        rows = dilemma_examples(args.preference, args.kappa, n, args.seed)
    else:
        rows = examples(args.preference, args.kappa, n, args.seed, args.reasoned, args.shuffled, games)
    show(rows) if args.dry_run else write(rows, args)


if __name__ == "__main__":
    command(main)
