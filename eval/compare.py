"""Paired comparison of measured conditions: the same decision problems, one against the others.

    python -m eval.compare runs/demo/eval
    python -m eval.compare runs/A/eval runs/B/eval --against placebo --margin 0.05 --out compared

Differences (condition minus reference) in single decisions taken as each target would, in the
probability of its optimum and in efficiency; in co-operation, sensitivity to incentives and
structural parameters.  Shares: mean of the problems' differences, t interval.  Slopes and
parameters: bootstrap of whole problems, the same ones for both.  p values are Holm's over all rows;
*equivalent* means that both one-sided tests at the 5 % level place the difference within the
margin.  Who answers outside the form is named and not compared.  Writes compare.json and
compare.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
from rich.console import Console

from econmoral.economics.choice import best_replies, efficiency, read_decision
from econmoral.economics.games import GAMES
from econmoral.estimation.identification import NotIdentified
from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    finite,
    origin,
    plain,
    program,
    read_json,
    read_lines,
    read_object,
    spreadsheet_cell,
    terminal,
    write_json,
    write_text,
)
from econmoral.files.shown import grid, interval
from econmoral.target import ECONOMICUS, Target, labels, moralis

from .conditions import BASE
from .estimate import structural
from .measure import TITLES, GameRecord
from .progress import progress
from .table import FITTED, by_decision, incentive_sensitivity, utilities
from .validity import OUTSIDE, outside, percent

NEEDED = {
    "id",
    "set",
    "mode",
    "arm",
    "game",
    "payoffs",
    "beliefs",
    "strategies",
    "probabilities",
    "valid_answer_probability",
}
WITHOUT_MARGIN = ("lambda",)  # its size depends on the unit of the payoffs
ByProblem = dict[str, GameRecord]


@dataclass(frozen=True)
class CompareConfig(Config):
    """Options of ``python -m eval.compare``."""

    folders: tuple[Path, ...] = option(
        (), "folders written by econmoral games", positional=True, required=True
    )
    against: str = option(BASE.name, "reference condition; placebo: the placebo that was measured")
    targets: tuple[str, ...] = option(
        (),
        "compared in (default: those the folders were measured with)",
        metavar="FAMILY:NAME=VALUE",
    )
    margin: float = option(0.05, "differences smaller than this count as none")
    bootstrap: int = option(200, "replications for slopes and parameters", at_least=20)
    seed: int = option(0, "of the bootstrap", at_least=0)
    out: Path | None = option(None, "folder of the result (default: the first folder)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folders:
            raise InputError("give folders of measured games")
        if not 0 < self.margin < 1:
            raise InputError(f"--margin must lie in (0, 1), got {self.margin:g}")


class Row(TypedDict):
    """A difference with its interval, p value and, where a margin makes sense, equivalence.

    n : problems.  replications : of the bootstrap that gave an estimate.
    """

    measure: str
    difference: float
    se: float
    low: float
    high: float
    p: float
    equivalent: bool | None
    n: NotRequired[int]
    replications: NotRequired[int]
    set: NotRequired[str]
    mode: NotRequired[str]
    arm: NotRequired[str]
    p_holm: NotRequired[float]


class LeftOut(TypedDict):
    """A condition that answers outside the form."""

    set: str
    mode: str
    arm: str
    valid_answer_probability: float


@dataclass(frozen=True)
class Comparison:
    """Conditions compared with a reference.

    against : the reference's name.  targets : agreement was computed with these.  rows : condition
    minus reference, one for every measure in every set and mode.  left_out : conditions that answer
    outside the form.
    """

    against: str
    targets: tuple[Target, ...]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame."""
        return pd.DataFrame(self.rows)


def targets_of(folders: Sequence[Path], asked: Sequence[str]) -> list[Target]:
    """What agreement is compared in: what is asked for, else what the folders' run.json name, else
    both classics."""
    named = list(asked)
    for folder in folders if not asked else ():
        known = read_object(folder / "run.json").get("targets") or []
        named += [t for t in known if isinstance(t, str)]
    return list(dict.fromkeys(map(Target.parse, named))) or [ECONOMICUS, moralis(0.5)]


def placebo_of(folders: Sequence[Path]) -> str:
    """Name of the placebo that the folders' summaries mark.  Raises InputError unless there is
    exactly one."""
    files = [f / "summary.json" for f in folders]
    rows = [row for file in files if file.is_file() for row in read_json(file)]
    placebos = [str(r["arm"]) for r in rows if isinstance(r, dict) and r.get("placebo")]
    names = list(dict.fromkeys(placebos))
    if len(names) != 1:
        raise InputError(
            f"--against placebo: {len(names)} placebos were measured there; name the condition"
        )
    return names[0]


def read_arms(folders: Sequence[Path]) -> dict[tuple[str, str], dict[str, ByProblem]]:
    """(set, mode) -> condition -> problem -> record, unanswered ones included.

    A condition that two folders measured differently carries its folder's name, with all of its
    problems: those that were answered alike belong to it too.  Raises InputError for lines that
    are no problems, and for a problem that stands twice in a file.
    """
    found: dict[tuple[str, str], dict[str, ByProblem]] = {}
    for folder in folders:
        own: dict[tuple[str, str], dict[str, ByProblem]] = {}
        path = folder / "choices.jsonl"
        for line, row in read_lines(path):
            record = read_record(row, f"{path}, line {line}")
            arms = own.setdefault((record["set"], record["mode"]), {})
            problems = arms.setdefault(record["arm"], {})
            if record["id"] in problems:
                twice = f"{plain(record['id'])} of {plain(record['arm'])} stands there twice"
                raise InputError(f"{path}, line {line}: {twice}; do not join several measurements")
            problems[record["id"]] = record
        other = {
            name
            for kind, arms in own.items()
            for name, problems in arms.items()
            for id_, record in problems.items()
            if found.get(kind, {}).get(name, {}).get(id_, record)["probabilities"]
            != record["probabilities"]
        }
        for kind, arms in own.items():
            for name, problems in arms.items():
                shown = f"{folder.parent.name}/{folder.name}: {name}" if name in other else name
                found.setdefault(kind, {}).setdefault(shown, {}).update(problems)
    return found


def read_record(row: Mapping[str, Any], where: str) -> GameRecord:
    """A line of eval.games.  Raises InputError that names ``where`` for anything else."""
    if missing := NEEDED - set(row):
        lacks = ", ".join(sorted(missing))
        raise InputError(f"{where}: no decision of eval.games, it lacks {lacks}")
    if not all(isinstance(row[k], str) for k in ("id", "set", "mode", "arm")):
        raise InputError(f"{where}: id, set, mode and arm must be text")
    valid = row["valid_answer_probability"]
    number = isinstance(valid, int | float) and not isinstance(valid, bool)
    if not number or not -1e-6 <= valid <= 1 + 1e-3:
        raise InputError(f"{where}: valid_answer_probability must be a probability")
    if row["probabilities"] is not None:  # null where no reply could be read
        try:
            read_decision(dict(row))
        except ValueError as error:
            raise InputError(f"{where}: no decision of eval.games ({error})") from None
    return cast(GameRecord, row)


def answering(arms: Mapping[str, ByProblem]) -> tuple[dict[str, ByProblem], dict[str, float]]:
    """(conditions that answer in the form, without unanswered problems; validity of the others)."""
    inside: dict[str, ByProblem] = {}
    others: dict[str, float] = {}
    for name, records in arms.items():
        valid = float(np.mean([r["valid_answer_probability"] for r in records.values()]))
        answered = {k: r for k, r in records.items() if r["probabilities"] is not None}
        if outside(valid) or not answered:
            others[name] = valid
        else:
            inside[name] = answered
    return inside, others


def shares(record: GameRecord, targets: Sequence[Target]) -> dict[str, float]:
    """What one problem says: agreement with every target (single decisions, probability of the
    optimum, efficiency, which is nan where all plans are worth the same), and the probability of
    the first (co-operative) actions."""
    p = np.array(record["probabilities"], float)
    values = {}
    for label, target in zip(labels(targets), targets, strict=True):
        u = utilities(record, target)
        values[f"{label}: decisions"] = by_decision(record, target)
        values[f"{label}: mass"] = float(p[best_replies(u)].sum())
        values[f"{label}: efficiency"] = efficiency(u, p)
    first = p @ GAMES[record["game"]].first_actions
    return values | {"co-operation": float(np.mean(first))}


def slopes(records: Sequence[GameRecord]) -> dict[str, float]:
    """Sensitivity and the structural parameters, those of them that are identified."""
    values = {"sensitivity": incentive_sensitivity(records)["mean"]}
    decisions = [read_decision(dict(r)) for r in records]
    whole, alone = (structural(decisions, f).get("estimates", {}) for f in FITTED)
    values |= {name: v["value"] for name, v in whole.items()}
    if "kappa" in alone:
        values["kappa alone"] = alone["kappa"]["value"]
    return values


def test(measure: str, difference: float, error: float, degrees: float, margin: float) -> Row:
    """Interval, two-sided p and equivalence from a difference and its standard error."""
    from scipy import stats  # takes half a second to load

    spread = float(stats.t.ppf(0.975, degrees)) * error
    p, beyond = float(difference == 0), float(abs(difference) >= margin)
    if error > 0:
        p = float(2 * stats.t.sf(abs(difference) / error, degrees))
        above = stats.t.sf((difference + margin) / error, degrees)
        below = stats.t.sf((margin - difference) / error, degrees)
        beyond = float(max(above, below))
    return {
        "measure": measure,
        "difference": difference,
        "se": error,
        "low": difference - spread,
        "high": difference + spread,
        "p": p,
        "equivalent": None if measure in WITHOUT_MARGIN else bool(beyond < 0.05),
    }


def differences(
    tuned: ByProblem,
    base: ByProblem,
    targets: Sequence[Target],
    margin: float,
    replications: int,
    seed: int,
) -> list[Row]:
    """Rows of one condition against the reference, on the problems both have.

    Raises InputError when these are fewer than two, or not the same ones.
    """
    common = [k for k in base if k in tuned]
    if len(common) < 2:
        raise InputError(
            "the two conditions share fewer than two decision problems; measure them with the same "
            "--battery, --items and --seed"
        )
    pairs = [(base[k], tuned[k]) for k in common]
    if any(a["payoffs"] != b["payoffs"] or a["game"] != b["game"] for a, b in pairs):
        raise InputError(
            "problems of the same name have different payoffs; measure both conditions with the "
            "same --battery, --items, --targets and --seed"
        )
    n, rows = len(common), []
    one, two = ([shares(records[k], targets) for k in common] for records in (tuned, base))
    for measure in one[0]:
        gaps = np.array([a[measure] - b[measure] for a, b in zip(one, two, strict=True)])
        gaps = gaps[~np.isnan(gaps)]
        if len(gaps) > 1:
            error = float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
            row = test(measure, float(gaps.mean()), error, len(gaps) - 1, margin)
            row["n"] = len(gaps)
            rows.append(row)

    def gap(chosen: Sequence[str]) -> dict[str, float]:
        # a decision drawn twice is two decisions
        left, right = (
            slopes([{**records[k], "id": f"{k}-{i}"} for i, k in enumerate(chosen)])
            for records in (tuned, base)
        )
        return {k: left[k] - right[k] for k in left if k in right}

    rng = np.random.default_rng(seed)
    drawn = [gap([common[i] for i in rng.integers(n, size=n)]) for _ in range(replications)]
    for measure, value in gap(common).items():
        values = [d[measure] for d in drawn if measure in d]
        if len(values) >= 0.9 * replications:
            row = test(measure, value, float(np.std(values, ddof=1)), n - 1, margin)
            row["n"], row["replications"] = n, len(values)
            rows.append(row)
    return rows


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(
        np.maximum.accumulate([(len(p) - rank) * p[i] for rank, i in enumerate(order)]), 1
    )
    return [float(v) for v in adjusted]


def jobs_of(
    config: CompareConfig,
) -> tuple[str, list[tuple[str, str, str, dict[str, ByProblem]]], list[LeftOut]]:
    """(name of the reference; set, mode and condition of every comparison with the records of all;
    who is left out).  Raises InputError when there is nothing to compare."""
    against = config.against
    jobs: list[tuple[str, str, str, dict[str, ByProblem]]] = []
    left_out: list[LeftOut] = []
    for (held, mode), everyone in read_arms(config.folders).items():
        if against == "placebo" and against not in everyone:
            against = placebo_of(config.folders)
        if against not in everyone:
            raise InputError(
                f"no arm {against!r} among {', '.join(everyone)}; choose one with --against"
            )
        arms, others = answering(everyone)
        for arm, valid in others.items():
            about: LeftOut = {
                "set": held,
                "mode": mode,
                "arm": arm,
                "valid_answer_probability": valid,
            }
            left_out.append(about)
        jobs += [(held, mode, arm, arms) for arm in arms if arm != against and against in arms]
    if not jobs and left_out:
        names = list(dict.fromkeys(row["arm"] for row in left_out))
        verb = "answers" if len(names) == 1 else "answer"
        raise InputError(f"there is nothing to compare: {', '.join(names)} {verb} outside the form")
    if not jobs:
        raise InputError(f"there is nothing to compare {against!r} with")
    return against, jobs, left_out


def compare(*folders: str | Path, show: bool = False, **options: Any) -> Comparison:
    """Compare the conditions of measured games, problem by problem, with one of them.

    folders : written by ``measure(..., out=...)`` or ``econmoral games``.  show : print what the
    command prints.  options : those of ``econmoral compare``: against, targets, margin, bootstrap,
    seed, and out, the folder of compare.json and compare.csv (None: no files are written).

    Raises InputError for folders without comparable decisions and for an option that cannot be
    used.
    """
    known = {f.name for f in fields(CompareConfig)} - {"folders"}
    if unknown := sorted(set(options) - known):
        raise InputError(
            f"compare has no option {unknown[0]!r}; it has: {', '.join(sorted(known))}"
        )
    config = CompareConfig(folders=tuple(map(Path, folders)), **options)
    console = terminal(120) if show else Console(quiet=True)
    found = compared(config, console)
    if config.out is not None:
        write(found, config, config.out)
    return found


def compared(config: CompareConfig, console: Console) -> Comparison:
    """Compare and print.  Raises InputError when there is nothing to compare."""
    targets = targets_of(config.folders, config.targets)
    against, jobs, left_out = jobs_of(config)
    rows: list[Row] = []
    for held, mode, arm, arms in progress(jobs, "comparing", console):
        settings = (config.margin, config.bootstrap, config.seed)
        try:
            some = differences(arms[arm], arms[against], targets, *settings)
        except NotIdentified as error:
            raise InputError(f"{arm}: {error}") from None
        rows += [{"set": held, "mode": mode, "arm": arm, **row} for row in some]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    found = Comparison(against, tuple(targets), tuple(rows), tuple(left_out))
    print_tables(found.frame, against, config.margin, console)
    for one in left_out:
        valid = percent(one["valid_answer_probability"])
        console.print(
            f"not compared: {one['arm']}, {one['set']}, {one['mode']}: {OUTSIDE} (valid-answer "
            f"probability {valid})"
        )
    return found


def write(found: Comparison, config: CompareConfig, out: Path) -> None:
    """compare.json and compare.csv."""
    inputs = {f"choices_{i}": f / "choices.jsonl" for i, f in enumerate(config.folders)}
    about = {
        "against": found.against,
        "targets": [str(t) for t in found.targets],
        "margin": config.margin,
        "rows": finite(found.rows),
        "left_out": found.left_out,
    }
    write_json(out / "compare.json", origin(**inputs) | about)
    write_text(out / "compare.csv", found.frame.map(spreadsheet_cell).to_csv(index=False))


def print_tables(frame: pd.DataFrame, against: str, margin: float, console: Console) -> None:
    """One table for every set, mode and condition."""
    for (held, mode, arm), part in frame.groupby(["set", "mode", "arm"], sort=False):
        n = part["n"].iloc[0]
        title = f"{arm} minus {against}, {TITLES.get(held, held)}, {mode} answers, n = {n}"
        header = ("measure", "difference", "95 % interval", "p (Holm)", f"within ± {margin:g}")
        rows = [
            (
                r["measure"],
                f"{r['difference']:.3f}",
                interval(r["low"], r["high"], 3),
                f"{r['p_holm']:.3g}",
                "" if r["equivalent"] is None else "yes" if r["equivalent"] else "no",
            )
            for _, r in part.iterrows()
        ]
        console.print(grid(header, rows, title))
        every = ("sensitivity", "alpha", "beta", "kappa", "lambda", "kappa alone")
        if lacking := [m for m in every if m not in set(part["measure"])]:
            console.print(f"not identified in both: {', '.join(lacking)}")


def main() -> None:
    """Entry point."""
    config = parse(CompareConfig, program("python -m eval.compare"), __doc__)
    console = terminal(120)
    found, out = compared(config, console), config.out or config.folders[0]
    write(found, config, out)
    console.print(f"{out}/: compare.json compare.csv")


if __name__ == "__main__":
    command(main)
