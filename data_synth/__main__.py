"""Write training data: decision problems, a target's optimal answers,
the derivation that leads to them.

    econmoral data --target homo_moralis:kappa=0.5 --n 400 --seed 0 --out data/moralis.jsonl
    econmoral data --target bruhin_fehr_schunk:alpha=0.2,beta=0.5 --domain allocations \\
        --n 300 --out data/altruist.jsonl

Each line is one conversation: ``messages`` (a page, the derivation as a turn of its own, then one
decision a turn) and a ``meta`` object.  Same seed, same bytes.  A dataset card is written beside
the file.  Payoffs and wordings held out for measurement never appear.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import track

from econmoral.economics.games import GAMES
from econmoral.economics.preferences import FAMILIES
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    origin,
    program,
    sha256,
    write_lines,
    write_text,
)
from econmoral.instruments.derivations import derives
from econmoral.instruments.menus import FRAMES, LARGEST_POINTS, LEAST_LARGEST
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


@dataclass(frozen=True)
class DataConfig(Config):
    """Whose answers are written, about what, and where.  Raises InputError for values that do not
    go together.
    """

    target: str | None = option(
        None,
        f"preference with values; families: {', '.join(FAMILIES)}",
        metavar="FAMILY:NAME=VALUE,...",
    )
    preference: str | None = option(
        None, "family alone, with --kappa where it has one (instead of --target)"
    )
    kappa: float = option(0.5, "degree of morality, 0 to 1 (default 0.5)", within=(0, 1))
    n: int = option(400, "number of conversations (default 400)")
    seed: int = option(0, "same seed, same bytes (default 0)")
    reasoned: float = option(
        REASONED, f"share with a derivation (default {REASONED:g})", metavar="SHARE", within=(0, 1)
    )
    games: tuple[str, ...] = option(
        TRAINED_GAMES,
        f"games to draw from (default {' '.join(TRAINED_GAMES)})",
        choices=tuple(GAMES),
    )
    domain: str = option(
        "games",
        "games; allocations between oneself and another person; dilemmas: near transfer to "
        "econmoral dilemmas (default games)",
        choices=DOMAINS,
    )
    shuffled: bool = option(
        False, "placebo: derivation and answers of an unrelated decision problem"
    )
    crossed: bool = option(
        False,
        "also the sentences of every training wording with the roles of every other one (games "
        "36 wordings instead of 6, allocations 81 instead of 3), for models that are to read "
        "wordings that they never met",
    )
    largest: int = option(
        LARGEST_POINTS,
        f"most points of a payment in --domain allocations (default {LARGEST_POINTS}): an adapter "
        "computes with numbers of the size that it has met, and the menus of bfs39 go up to 106",
        at_least=LEAST_LARGEST,
    )
    out: Path | None = option(None, "JSON Lines file to write")
    dry_run: int = option(0, "print K conversations and write nothing", metavar="K")

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.target) == bool(self.preference):
            raise InputError(
                "give --target FAMILY:NAME=VALUE,... or --preference FAMILY (with --kappa)"
            )
        family = self.answered_by.family
        if self.seed < 0 or (self.dry_run < 1 and self.n < 1):
            raise InputError("--n must be at least 1 and --seed not negative")
        if self.domain != "games" and self.games != TRAINED_GAMES:
            raise InputError("--games goes with --domain games only")
        if self.domain != "allocations" and self.largest != LARGEST_POINTS:
            raise InputError("--largest goes with --domain allocations only")
        others = family not in ("homo_economicus", "homo_moralis")
        if self.domain == "dilemmas" and (self.shuffled or self.crossed or others):
            raise InputError(
                "--domain dilemmas is there for homo_economicus and homo_moralis, without "
                "--shuffled and --crossed"
            )
        if self.out and self.out.suffix == ".md":
            raise InputError(
                f"--out {self.out}: the card would be written over the data; give a file that ends "
                "in .jsonl"
            )
        if not self.out and not self.dry_run:
            raise InputError(
                "give --out FILE to write, or --dry-run K to look at a few conversations"
            )

    @property
    def answered_by(self) -> Target:
        """The target whose optimal answers are written."""
        if self.target:
            return Target.parse(self.target)
        return Target.of(self.preference or "", self.kappa)


def show(rows: Iterator[dict[str, Any]]) -> None:
    """Print conversations for a person."""
    for row in rows:
        meta = row["meta"]
        print(f"--- {meta['target']}, {meta['game']}, {meta['mode']}")
        for message in row["messages"]:
            print(f"[{message['role']}]\n{message['content']}\n")


def write(
    rows: Iterator[dict[str, Any]], config: DataConfig, out: Path, target: Target, rival: Target
) -> None:
    """Stream the conversations to the file, then write the card.

    Raises InputError where the card's place holds a text of somebody else's.
    """
    place = out.with_suffix(".md")
    if place.exists() and f"\n# {out.name}\n" not in place.read_text("utf-8", "replace")[:1000]:
        raise InputError(
            f"{place} would be overwritten by the card of {out.name}; give another --out"
        )
    counts: Counter[str] = Counter()
    wordings: set[str] = set()

    def counted() -> Iterator[dict[str, Any]]:
        for row in track(
            rows,
            "drawing decisions",
            total=config.n,
            disable=config.n < 2000 or not sys.stderr.isatty(),
        ):
            meta = row["meta"]
            counts[meta["game"]] += 1
            counts["reasoned"] += meta["mode"] == "reasoned"
            counts["differ"] += meta.get("targets_differ", False)
            wordings.update({str(meta["layout"]["wording"])} if "layout" in meta else ())
            yield row

    write_lines(out, counted())
    about = origin()
    card = CARD.format(
        name=out.name,
        n=config.n,
        domain=config.domain,
        target=target,
        rival="the rival target" if config.domain != "games" else rival,
        command=" ".join([program("python -m data_synth"), *sys.argv[1:]]),
        git=about["git"],
        sha256=sha256(out),
        games=", ".join(
            f"{g} {counts[g]}" for g in (*GAMES, "allocation", "dilemmas") if counts[g]
        ),
        reasoned=counts["reasoned"] / config.n,
        differ=counts["differ"] / config.n,
        wordings=f"{len(wordings)}, crossed"
        if config.crossed
        else ", ".join(sorted(wordings)) or f"{len(FRAMES)}",
        lead=LEAD,
        shuffled="yes" if config.shuffled else "no",
    )
    write_text(place, card)
    print(
        f"{out}: {config.n} conversations about {config.domain} as {target}; "
        f"{counts['reasoned'] / config.n:.0%} with derivation"
    )
    if config.reasoned and not counts["reasoned"] and not derives(target, config.domain):
        print(f"{target} has no derivation on {config.domain}: it is trained on direct answers")


def main() -> None:
    """Entry point."""
    config = parse(DataConfig, program("python -m data_synth"), __doc__)
    target = config.answered_by
    rival = default_rival(target, config.kappa)
    draw = Draw(
        target,
        rival,
        config.dry_run or config.n,
        config.seed,
        config.domain,
        config.reasoned,
        config.shuffled,
        tuple(g for g in GAMES if g in config.games),
        config.crossed,
        config.largest,
    )
    rows = examples(draw)
    if config.dry_run or config.out is None:
        show(rows)
    else:
        write(rows, config, config.out, target, rival)


if __name__ == "__main__":
    command(main)
