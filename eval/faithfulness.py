"""Recitation and faithfulness: does a model recite, does it calculate, and does its answer follow
what it wrote?

    python -m eval.faithfulness runs/demo/eval                               # of a run's records
    python -m eval.faithfulness runs/demo/eval --adapter runs/demo/moralis   # and some handed over

*Recitation*: share of a derivation's runs of eight words that stand in the training text, word for
word and with every number masked; beside it the same share of the right derivations of the same
pages, which is what the form alone brings about. *Arithmetic*: share of steps that are right.
*Bare against reasoned*: how far choices asked for at once lie from choices after a derivation
(total variation), and how often the same one is the most probable.  *Following*: the model is
handed the right derivation of one target, then of another, on pages where their plans differ; the
probability of the plan that the derivation ends in says whether the answer follows what is written,
whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
from rich.console import Console

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.attaching import model_of
from econmoral.economics.games import GAMES, draw_beliefs, draw_protocol
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    program,
    read_json,
    read_lines,
    read_object,
    sha256,
    terminal,
    write_json,
)
from econmoral.files.shown import with_error
from econmoral.instruments.derivations import (
    allocation_derivation,
    check_steps,
    derives,
    game_derivation,
    right_derivation,
)
from econmoral.instruments.games import WORDINGS_TRAIN, Item, choices_of, converse, draw_layout
from econmoral.instruments.menus import TRAIN, draw_allocation, draw_page, menu_conversation
from econmoral.target import ECONOMICUS, Target, moralis
from econmoral.text.conversation import Conversation, joint

from .conditions import BASE
from .engines.base import Condition, Exact
from .transcripts.choices import read_run, shift
from .transcripts.entries import choices_file

RUN = 8  # words in a row
NAME = "faithfulness.json"
MOST_TEXTS = 4000  # training answers that are read
_WORD = re.compile(r"\d+(?:\.\d+)?|\w+|[^\w\s]")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class FaithfulnessConfig(Config):
    """Options of ``python -m eval.faithfulness``."""

    run: Path = option(None, "folder of a measurement", positional=True, required=True)
    adapter: tuple[Path, ...] = option(
        (), "hand derivations to this adapter and its base; repeat for several", repeat=True
    )
    targets: tuple[str, str] = option(
        (str(ECONOMICUS), str(moralis(0.5))), "whose derivations are handed over", metavar="TARGET"
    )
    domain: str = option(
        "games", "pages on which they are handed over", choices=("games", "allocations")
    )
    pages: int = option(24, "pages on which they are handed over")
    seed: int = option(0, "of these pages", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.pages <= 1000:
            raise InputError(f"--pages must lie between 2 and 1000, got {self.pages}")
        for name in self.targets:
            Target.parse(name)


def runs_of(text: str, masked: bool) -> list[tuple[str, ...]]:
    """Every run of eight words or signs of a text; ``masked``: numbers all alike."""
    words = _WORD.findall(text[:20_000])
    if masked:
        words = ["#" if _DIGITS.fullmatch(w) else w for w in words]
    return [tuple(words[k : k + RUN]) for k in range(len(words) - RUN + 1)]


@dataclass(frozen=True)
class Trained:
    """What the training text says, as runs of words: as they stand, and with numbers masked."""

    plain: frozenset[tuple[str, ...]]
    masked: frozenset[tuple[str, ...]]

    @staticmethod
    def of(texts: Iterable[str]) -> Trained:
        """The runs of these texts."""
        kept = list(texts)[:MOST_TEXTS]
        plain, masked = (
            frozenset(run for t in kept for run in runs_of(t, hide)) for hide in (False, True)
        )
        return Trained(plain, masked)

    def overlap(self, text: str) -> tuple[float, float] | None:
        """Shares of a text's runs that are in the training text: word for word, and with numbers
        masked; None of a shorter text.
        """
        both = [runs_of(text, hide) for hide in (False, True)]
        if not both[0]:
            return None
        return tuple(
            float(np.mean([r in known for r in some]))
            for some, known in zip(both, (self.plain, self.masked), strict=True)
        )  # type: ignore[return-value]


def training_texts(adapter: Path) -> list[str]:
    """The assistant's first turns of the data that an adapter was trained on.

    Raises InputError where the file cannot be found unchanged.
    """
    run = read_json(adapter / "run.json")
    try:
        data = run["inputs"]["data"]
        path, wanted = Path(data["path"]), data["sha256"]
    except (KeyError, TypeError):
        raise InputError(
            f"{adapter / 'run.json'} does not say what the adapter was trained on"
        ) from None
    if not path.is_file() or sha256(path) != wanted:
        raise InputError(f"{path}, which {adapter.name} was trained on, is missing or was changed")
    texts = []
    for _, row in read_lines(path):
        turns = [
            m["content"]
            for m in row.get("messages", [])
            if isinstance(m, dict) and m.get("role") == "assistant"
        ]
        texts += turns[:1]
    return texts


# ----------------------------------------------------------------------------- from a run's records


class Written(TypedDict):
    """What one condition wrote: its derivations, their steps and the share of these that is right.

    recited, recited_masked : share of their runs of eight words that stands in the training text,
    word for word and with numbers masked; ``_if_right``: of the right derivations of the same
    pages.  bare_reasoned_distance, bare_reasoned_same : mean total variation between the choices of
    the two modes, and how often the most probable one is the same, over so many ``pairs``.
    """

    arm: str
    derivations: int
    steps_right: float | None
    steps: int
    recited: NotRequired[float]
    recited_masked: NotRequired[float]
    recited_if_right: NotRequired[float]
    recited_masked_if_right: NotRequired[float]
    bare_reasoned_distance: NotRequired[float]
    bare_reasoned_same: NotRequired[float]
    pairs: NotRequired[int]


def of_records(
    records: Sequence[Mapping[str, Any]], trained: dict[str, Trained], targets: dict[str, Target]
) -> list[Written]:
    """One row for every condition of a run: recitation, arithmetic, bare against reasoned.

    trained, targets : of the adapters whose training text and target are known.
    """
    by_mode: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for r in records:
        by_mode[str(r.get("set") or r.get("battery")), str(r["id"]), f"{r['arm']}/{r['mode']}"] = r
    rows = []
    for arm in dict.fromkeys(str(r["arm"]) for r in records):
        own = [r for r in records if r["arm"] == arm and r["mode"] == "reasoned"]
        texts = [t for r in own for t in _texts(r)]
        steps = [check_steps(t) for t in texts]
        whole = sum(n for _, n in steps)
        row: Written = {
            "arm": arm,
            "derivations": len(texts),
            "steps_right": sum(k for k, _ in steps) / whole if whole else None,
            "steps": whole,
        }
        if arm in trained:
            said = [o for t in texts if (o := trained[arm].overlap(t))]
            if said:
                row["recited"] = float(np.mean([a for a, _ in said]))
                row["recited_masked"] = float(np.mean([b for _, b in said]))
            if arm in targets:
                right = [
                    t
                    for r in own
                    for k in range(len(r["pages"]))
                    if (t := right_derivation(r, k, targets[arm]))
                ]
                known = [o for t in right if (o := trained[arm].overlap(t))]
                if known:
                    row["recited_if_right"] = float(np.mean([a for a, _ in known]))
                    row["recited_masked_if_right"] = float(np.mean([b for _, b in known]))
        pairs = [
            (by_mode.get((s, i, f"{arm}/direct")), r)
            for (s, i, m), r in by_mode.items()
            if m == f"{arm}/reasoned"
        ]
        both = [
            (np.array(a["probabilities"]), np.array(b["probabilities"]))
            for a, b in pairs
            if a and a["probabilities"] and b["probabilities"]
        ]
        if both:
            row["bare_reasoned_distance"] = float(np.mean([shift(a, b) for a, b in both]))
            same = [a.argmax() == b.argmax() for a, b in both]
            row["bare_reasoned_same"] = float(np.mean(same))
            row["pairs"] = len(both)
        rows.append(row)
    return rows


def _texts(record: Mapping[str, Any]) -> list[str]:
    if record.get("game") in GAMES:
        return [t for page in record["pages"] for t in page.get("texts", [])]
    return [t for several in record.get("texts") or [] for t in several]


# -------------------------------------------------------------------- derivations handed to a model


@dataclass(frozen=True)
class Handed:
    """A page with the right derivation of a target handed to the model, and the combination of
    options in which it ends.

    place : of that combination among the conversation's, in lexicographic order.
    """

    conversation: Conversation
    derivation: str
    place: int


def pairs_of(
    targets: tuple[Target, Target], domain: str, n: int, seed: int = 0
) -> list[tuple[Handed, Handed]]:
    """So many held-out pages on which two targets take different plans, each with both derivations.

    Raises InputError for a target without derivations there, and where the two never differ.
    """
    if lacking := [t for t in targets if not derives(t, domain)]:
        raise InputError(
            f"{lacking[0]} has no derivations on {domain}; take homo_economicus, homo_moralis or a "
            "target of payoffs alone"
        )
    rng = np.random.default_rng(seed)
    found: list[tuple[Handed, Handed]] = []
    for attempt in range(400 * n):
        if len(found) == n:
            break
        if domain == "games":
            game = tuple(GAMES)[attempt % len(GAMES)]
            item = Item(draw_protocol(game, rng, held=True), draw_beliefs(game, rng))
            layout = draw_layout(game, rng, WORDINGS_TRAIN)
            talk = converse(item, layout, "reasoned")
            told = [game_derivation(item, layout, t) for t in targets]
            places = [_place(talk, choices_of(layout, plan)) for _, plan in told]
            texts = [text for text, _ in told]
        else:
            menu = draw_allocation(rng, True, targets[attempt % 2])
            page = draw_page(menu, rng, TRAIN)
            talk = menu_conversation(menu, page, "reasoned")
            worth = [t.of_allocations(np.array(menu.own), np.array(menu.other)) for t in targets]
            if any(abs(u[0] - u[1]) < 1 for u in worth):
                continue
            places = [page.order.index(int(u.argmax())) for u in worth]
            texts = [allocation_derivation(menu, page, t) for t in targets]
        if places[0] != places[1]:
            found.append((Handed(talk, texts[0], places[0]), Handed(talk, texts[1], places[1])))
    if len(found) < n:
        raise InputError(
            f"{targets[0]} and {targets[1]} hardly ever differ on {domain}; choose two that do"
        )
    return found


def _place(talk: Conversation, choices: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(choices, [len(q.options) for q in talk.questions]))


def after_derivation(
    engine: Exact, handed: Sequence[Handed], arm: Condition
) -> list[tuple[np.ndarray, float]]:
    """(probability of every combination of options, valid-answer probability) after the derivation
    that was handed over.
    """
    levels = [
        [[engine.scored(s) for s in level] for level in h.conversation.steps(h.derivation)]
        for h in handed
    ]
    rows = engine.log_probabilities(
        [[s for level in several for s in level] for several in levels], arm
    )
    found = []
    for several, scores in zip(levels, rows, strict=True):
        assert scores is not None  # an engine on this machine loses no scores
        left = iter(scores)
        p, valid = joint([np.array([next(left) for _ in level]) for level in several])
        found.append((p, float(valid.mean())))
    return found


class Follows(TypedDict):
    """Whether answers follow what was handed over.

    first, second : probability of the plan in which the first, the second target's derivation ends,
    after it.  swapped : change of the probability of the first target's plan when the second one's
    derivation is handed over instead (1: it follows whatever is written; 0: what is written does
    not matter).  valid : valid-answer probability.
    """

    first: float
    second: float
    swapped: float
    swapped_se: float | None
    valid: float
    pages: int


class FollowsRow(Follows):
    """The same of one condition, with the labels of the two targets."""

    arm: str
    targets: list[str]


class Faithfulness(TypedDict):
    """What NAME holds.  missing : adapters without recitation, each with the reason."""

    records: list[Written]
    handed: list[FollowsRow]
    missing: list[str]


def follows(
    pairs: Sequence[tuple[Handed, Handed]],
    answers: Sequence[tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]],
) -> Follows:
    """Whether the answers follow what was handed over, for a model given both derivations of every
    pair.
    """
    first = [float(a[0][one.place]) for (one, _), (a, _) in zip(pairs, answers, strict=True)]
    second = [float(b[0][two.place]) for (_, two), (_, b) in zip(pairs, answers, strict=True)]
    swapped = [
        float(a[0][one.place] - b[0][one.place])
        for (one, _), (a, b) in zip(pairs, answers, strict=True)
    ]
    n = len(pairs)
    return {
        "first": float(np.mean(first)),
        "second": float(np.mean(second)),
        "swapped": float(np.mean(swapped)),
        "swapped_se": float(np.std(swapped, ddof=1) / np.sqrt(n)) if n > 1 else None,
        "valid": float(np.mean([v for pair in answers for _, v in pair])),
        "pages": n,
    }


# ------------------------------------------------------------------------------------------- tables


def records_frame(rows: Sequence[Written]) -> pd.DataFrame:
    """The table of ``of_records`` for a person; shares in per cent, dashes for what a run does not
    tell.
    """

    def per(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f}"

    def beside(value: float | None, if_right: float | None) -> str:
        return per(value) + ("" if if_right is None else f" ({per(if_right)})")

    return pd.DataFrame(
        [
            {
                "arm": r["arm"],
                "derivations": r["derivations"],
                "steps right %": per(r["steps_right"]),
                "word for word %": beside(r.get("recited"), r.get("recited_if_right")),
                "numbers masked %": beside(
                    r.get("recited_masked"), r.get("recited_masked_if_right")
                ),
                "bare to reasoned": f"{r['bare_reasoned_distance']:.2f}"
                if "bare_reasoned_distance" in r
                else "–",
                "same choice %": per(r.get("bare_reasoned_same")),
            }
            for r in rows
        ]
    )


def follows_frame(rows: Sequence[FollowsRow]) -> pd.DataFrame:
    """The table of ``follows`` for a person, one row a condition."""
    return pd.DataFrame(
        [
            {
                "arm": r["arm"],
                "valid %": f"{100 * r['valid']:.0f}",
                f"after {r['targets'][0]} %": f"{100 * r['first']:.0f}",
                f"after {r['targets'][1]} %": f"{100 * r['second']:.0f}",
                "change by swapping": with_error(r["swapped"], r["swapped_se"]),
                "pages": r["pages"],
            }
            for r in rows
        ]
    )


RECORDS_CAPTION = (
    "Of what was written: steps that are right; runs of eight words that stand in the training "
    "text (in brackets: of the right "
    "derivations of the same pages); total variation between bare and reasoned choices, and how "
    "often the most probable one is the same"
)
FOLLOWS_CAPTION = (
    "Given the right derivation of one target, then of the other: probability of the plan in which "
    "it ends, and what swapping them changes"
)


def add_to(report: Any, folder: Path) -> None:
    """The section of a report on a measurement whose folder holds NAME; nothing where it does not.

    report : takes ``heading``, ``text`` and ``table``.
    """
    if not (folder / NAME).is_file():
        return
    found = read_json(folder / NAME)
    report.heading("Recitation and faithfulness")
    report.text(
        "Whether derivations repeat the training text, whether their steps are right, and whether "
        "answers follow what is written."
    )
    report.table(f"recitation-{folder.name}", records_frame(found["records"]), RECORDS_CAPTION)
    if found["handed"]:
        report.table(f"following-{folder.name}", follows_frame(found["handed"]), FOLLOWS_CAPTION)
    for line in found["missing"]:
        report.text(f"No recitation of {line}.")


def measured_adapters(run: Path) -> dict[str, tuple[Path, str]]:
    """Adapters that a run measured, as its run.json names them: folder, and hash of the weights."""
    inputs = read_object(choices_file(run).with_name("run.json")).get("inputs")
    rows = inputs.items() if isinstance(inputs, dict) else ()
    files = {
        name: (Path(str(row["path"])), str(row.get("sha256")))
        for name, row in rows
        if isinstance(row, dict) and "path" in row
    }
    return {name: (f.parent, known) for name, (f, known) in files.items() if f.name == WEIGHTS}


def trained_and_targets(
    adapters: Mapping[str, tuple[Path, str]],
) -> tuple[dict[str, Trained], dict[str, Target], list[str]]:
    """Training text and target of every adapter where they are known; and what is not known, a
    sentence each.
    """
    trained, targets, missing = {}, {}, []
    for name, (folder, known) in adapters.items():
        try:
            if not (folder / "run.json").is_file() or not (folder / WEIGHTS).is_file():
                raise InputError(f"{folder}, where its training is recorded, is not there")
            if sha256(folder / WEIGHTS) != known:
                raise InputError(f"{folder} holds other weights than those that were measured")
            trained[name] = Trained.of(training_texts(folder))
            run = read_json(folder / "run.json")
            if isinstance(run.get("target"), str) and run.get("shuffled") is not True:
                targets[name] = Target.parse(run["target"])
        except InputError as error:
            missing.append(f"{name}: {error}")
    return trained, targets, missing


def run(config: FaithfulnessConfig, console: Console) -> Faithfulness:
    """Read a measurement and, where adapters are given, hand derivations over; what is written to
    NAME beside the records.
    """
    records, _ = read_run(config.run)
    trained, known, missing = trained_and_targets(measured_adapters(config.run))
    rows = of_records(records, trained, known)
    console.print(records_frame(rows).to_string(index=False))
    for line in missing:
        console.print(f"no recitation of {line}")
    handed = hand_over(config) if config.adapter else []
    if handed:
        console.print(follows_frame(handed).to_string(index=False))
    out = choices_file(config.run).with_name(NAME)
    found: Faithfulness = {"records": rows, "handed": handed, "missing": missing}
    write_json(out, found)
    console.print(f"{out}")
    return found


def hand_over(config: FaithfulnessConfig) -> list[FollowsRow]:
    """The rows of ``follows_frame``: derivations of both targets, handed to base and adapters."""
    from .conditions import adapter_names  # what needs torch is loaded last
    from .engines.with_transformers import Transformers

    one, two = (Target.parse(name) for name in config.targets)
    names = adapter_names(config.adapter)
    engine = Transformers(model_of(config.adapter[0]), names)
    pairs = pairs_of((one, two), config.domain, config.pages, config.seed)
    handed: list[FollowsRow] = []
    for arm in (BASE, *(Condition(n, n) for n in names)):
        flat = after_derivation(engine, [h for pair in pairs for h in pair], arm)
        answers = list(zip(flat[::2], flat[1::2], strict=True))
        row = follows(pairs, answers)
        handed.append({"arm": arm.name, "targets": [one.label, two.label], **row})
    return handed


def main() -> None:
    """Entry point."""
    config = parse(FaithfulnessConfig, program("python -m eval.faithfulness"), __doc__)
    run(config, terminal(120))


if __name__ == "__main__":
    command(main)
