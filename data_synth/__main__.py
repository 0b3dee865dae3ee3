"""Write training data: decision problems, a target's optimal answers,
the derivation that leads to them.

    econmoral data --target homo_moralis:kappa=0.5 --n 400 --seed 0 --out data/moralis.jsonl
    econmoral data --target bruhin_fehr_schunk:alpha=0.2,beta=0.5 --domain allocations \
        --n 300 --out data/altruist.jsonl

Each line is one conversation: ``messages`` (a page, the derivation as a turn of its own, then one
decision a turn) and a ``meta`` object.  Same seed, same bytes.  A dataset card is written beside
the file.  Payoffs and wordings held out for measurement never appear.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from econmoral.derivations import derives
from econmoral.games import GAMES
from econmoral.menus import FRAMES
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, origin, program, sha256, write_lines, write_text
from econmoral.target import Target

from .synthesis import DOMAINS, LEAD, REASONED, TRAINED_GAMES, Draw, default_rival, examples

CARD = """---
license: apache-2.0
task_categories: [text-generation]
tags: [economics, games, preferences, econmoral]
---
# {name}

{n} conversations about {domain}, answered as **{target}** would, written by `{command}`
(econmoral revision {git}).
SHA-256 of the file: `{sha256}`.

| | |
|---|---|
| decision problems | {games} |
| with the derivation as a turn of its own | {reasoned:.1%} |
| decision problems on which homo economicus and {rival} differ | {differ:.1%} |
| wordings | {wordings} |
| lead of the optimum over every other plan (games) | {lead:g} payoff units or more (a point is 5) |
| answers of an unrelated decision problem (placebo) | {shuffled} |

`messages` are chat messages: the instructions and the first question (or the request to work it
out), then the assistant's and the user's turns; train on the assistant's turns only. `meta` holds
the target, the decision problem in its own terms (`game`, `payoffs` T, R, P, S in payoff units,
`beliefs`, `strategy`; or `own` and `other` of an allocation), `mode` (`direct` or
`reasoned`), `controls` (whether the control questions come first, as in half of the direct ones)
and `layout` (wording, labels, orders, exchange rate).

Payoffs reserved for measurement never occur. Labels, orders, exchange rate and wording rotate at
random. Read it with
`datasets.load_dataset("json", data_files="{name}")`.
"""


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog=program("python -m data_synth"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        metavar="FAMILY:NAME=VALUE,...",
        help=f"preference with values; families: {', '.join(FAMILIES)}",
    )
    parser.add_argument(
        "--preference", help="family alone, with --kappa where it has one (instead of --target)"
    )
    parser.add_argument(
        "--kappa", type=float, default=0.5, help="degree of morality, 0 to 1 (default 0.5)"
    )
    parser.add_argument("--n", type=int, default=400, help="number of conversations (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument(
        "--reasoned",
        type=float,
        default=REASONED,
        metavar="SHARE",
        help=f"share with a derivation (default {REASONED:g})",
    )
    parser.add_argument(
        "--games",
        nargs="+",
        choices=tuple(GAMES),
        default=list(TRAINED_GAMES),
        help=f"games to draw from (default {' '.join(TRAINED_GAMES)})",
    )
    parser.add_argument(
        "--domain", choices=DOMAINS, default="games",
        help=(
            "games; allocations between oneself and another person; dilemmas: near transfer to "
            "econmoral dilemmas (default games)"
        ),
    )  # fmt: skip
    parser.add_argument(
        "--shuffled",
        action="store_true",
        help="placebo: derivation and answers of an unrelated decision problem",
    )
    parser.add_argument(
        "--crossed",
        action="store_true",
        help=(
            "also the sentences of every training wording with the roles of every other one (games "
            "36 wordings instead of 6, allocations 81 instead of 3): a model trained on more of "
            "them reads wordings that it never met better"
        ),
    )
    parser.add_argument("--out", type=Path, help="JSON Lines file to write")
    parser.add_argument(
        "--dry-run",
        type=int,
        default=0,
        metavar="K",
        help="print K conversations and write nothing",
    )
    args = parser.parse_args()
    if bool(args.target) == bool(args.preference):
        raise InputError(
            "give --target FAMILY:NAME=VALUE,... or --preference FAMILY (with --kappa)"
        )
    for name in ("kappa", "reasoned"):
        if not 0 <= getattr(args, name) <= 1:
            raise InputError(f"--{name} must lie in [0, 1], got {getattr(args, name)}")
    args.target = (
        Target.parse(args.target) if args.target else Target.of(args.preference, args.kappa)
    )
    if args.seed < 0 or (args.dry_run < 1 and args.n < 1):
        raise InputError("--n must be at least 1 and --seed not negative")
    if args.domain != "games" and args.games != list(TRAINED_GAMES):
        raise InputError("--games goes with --domain games only")
    others = args.target.family not in ("homo_economicus", "homo_moralis")
    if args.domain == "dilemmas" and (args.shuffled or args.crossed or others):
        raise InputError(
            "--domain dilemmas is there for homo_economicus and homo_moralis, without --shuffled "
            "and --crossed"
        )
    if not args.out and not args.dry_run:
        raise InputError("give --out FILE to write, or --dry-run K to look at a few conversations")
    return args


def show(rows: Iterator[dict[str, Any]]) -> None:
    """Print conversations for a person."""
    for row in rows:
        meta = row["meta"]
        print(f"--- {meta['target']}, {meta['game']}, {meta['mode']}")
        for message in row["messages"]:
            print(f"[{message['role']}]\n{message['content']}\n")


def write(rows: Iterator[dict[str, Any]], args: argparse.Namespace, rival: Target) -> None:
    """Stream the conversations to the file, then write the card."""
    counts: Counter[str] = Counter()
    wordings: set[str] = set()

    def counted() -> Iterator[dict[str, Any]]:
        for row in track(
            rows,
            "drawing decisions",
            total=args.n,
            disable=args.n < 2000 or not sys.stderr.isatty(),
        ):
            meta = row["meta"]
            counts[meta["game"]] += 1
            counts["reasoned"] += meta["mode"] == "reasoned"
            counts["differ"] += meta.get("targets_differ", False)
            wordings.update({str(meta["layout"]["wording"])} if "layout" in meta else ())
            yield row

    write_lines(args.out, counted())
    about = origin()
    card = CARD.format(
        name=args.out.name,
        n=args.n,
        domain=args.domain,
        target=args.target,
        rival="the rival target" if args.domain != "games" else rival,
        command=" ".join([program("python -m data_synth"), *sys.argv[1:]]),
        git=about["git"],
        sha256=sha256(args.out),
        games=", ".join(
            f"{g} {counts[g]}" for g in (*GAMES, "allocation", "dilemmas") if counts[g]
        ),
        reasoned=counts["reasoned"] / args.n,
        differ=counts["differ"] / args.n,
        wordings=", ".join(sorted(wordings)) or f"{len(FRAMES)}",
        lead=LEAD,
        shuffled="yes" if args.shuffled else "no",
    )
    write_text(args.out.with_suffix(".md"), card)
    print(
        f"{args.out}: {args.n} conversations about {args.domain} as {args.target}; "
        f"{counts['reasoned'] / args.n:.0%} with derivation"
    )
    if args.reasoned and not counts["reasoned"] and not derives(args.target, args.domain):
        print(f"{args.target} has no derivation on {args.domain}: it is trained on direct answers")


def main() -> None:
    """Entry point."""
    args = arguments()
    rival = default_rival(args.target, args.kappa)
    draw = Draw(
        args.target,
        rival,
        args.dry_run or args.n,
        args.seed,
        args.domain,
        args.reasoned,
        args.shuffled,
        tuple(g for g in GAMES if g in args.games),
        args.crossed,
    )
    rows = examples(draw)
    show(rows) if args.dry_run else write(rows, args, rival)


if __name__ == "__main__":
    command(main)
