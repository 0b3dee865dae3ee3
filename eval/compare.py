"""Paired comparison of measured arms: the same decision problems, one arm against the others.

    econmoral compare runs/demo/eval
    econmoral compare runs/A/eval runs/B/eval --against placebo --margin 0.05 --out runs/compared

Differences (arm minus reference) in single decisions taken as each target would, in the probability of its optimum and in
efficiency; in co-operation, sensitivity to incentives and structural parameters.  Shares: mean of the problems' differences,
t interval.  Slopes and parameters: bootstrap of whole problems, the same ones for both arms.  p values are Holm's over all rows;
*equivalent* means that both one-sided tests at the 5 % level place the difference within the margin.  An arm that answers
outside the form is named and not compared.  Writes compare.json and compare.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.progress import track
from rich.table import Table
from scipy import stats

from econmoral.choice import best_replies, efficiency, read_decision
from econmoral.estimation import NotIdentified
from econmoral.games import GAMES
from econmoral.records import (
    InputError,
    command,
    finite,
    origin,
    program,
    read_json,
    read_lines,
    spreadsheet_cell,
    terminal,
    write_json,
    write_text,
)
from econmoral.target import ECONOMICUS, Target, moralis

from .measure import TITLES
from .table import Record, by_decision, incentive_sensitivity, structural, utilities
from .validity import OUTSIDE, outside, percent

NEEDED = {
    "id", "set", "mode", "arm", "game", "payoffs", "beliefs", "strategies", "probabilities", "valid_answer_probability",
}  # fmt: skip
WITHOUT_MARGIN = ("lambda",)  # its size depends on the unit of the payoffs
ByProblem = dict[str, Record]


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.compare"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders written by eval.games")
    parser.add_argument("--against", default="base", help="arm that the others are compared with; placebo: the one (default base)")
    parser.add_argument("--targets", nargs="+", default=[], metavar="FAMILY:NAME=VALUE", help="compared in (default: those the folders were measured with)")
    parser.add_argument("--margin", type=float, default=0.05, help="differences smaller than this count as none (default 0.05)")
    parser.add_argument("--bootstrap", type=int, default=200, help="replications for slopes and parameters (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the result (default: the first folder)")
    args = parser.parse_args()
    if not 0 < args.margin < 1 or args.bootstrap < 20 or args.seed < 0:
        raise InputError("--margin must lie in (0, 1), --bootstrap be at least 20, --seed not negative")
    return args


def targets_of(folders: Sequence[Path], asked: Sequence[str]) -> list[Target]:
    """What agreement is compared in: what is asked for, else what the folders' run.json name, else both classics."""
    named = list(asked)
    for folder in folders if not asked else ():
        run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
        named += [t for t in (run.get("targets") or [] if isinstance(run, dict) else []) if isinstance(t, str)]
    return list(dict.fromkeys(map(Target.parse, named))) or [ECONOMICUS, moralis(0.5)]


def placebo_of(folders: Sequence[Path]) -> str:
    """Name of the placebo that the folders' summaries mark.  Raises InputError unless there is exactly one."""
    rows = [row for f in folders if (f / "summary.json").is_file() for row in read_json(f / "summary.json")]
    names = list(dict.fromkeys(str(row["arm"]) for row in rows if isinstance(row, dict) and row.get("placebo")))
    if len(names) != 1:
        raise InputError(f"--against placebo: {len(names)} placebos were measured there; name the arm")
    return names[0]


def read_arms(folders: Sequence[Path]) -> dict[tuple[str, str], dict[str, ByProblem]]:
    """(set, mode) -> arm -> problem -> record, unanswered ones included.

    An arm that two folders measured differently carries its folder's name.  Raises InputError for lines that are no problems.
    """
    found: dict[tuple[str, str], dict[str, ByProblem]] = {}
    for folder in folders:
        for number, row in read_lines(folder / "choices.jsonl"):
            where = f"{folder / 'choices.jsonl'}, line {number}"
            if missing := NEEDED - set(row):
                raise InputError(f"{where}: no decision of eval.games, it lacks {', '.join(sorted(missing))}")
            if not all(isinstance(row[k], str) for k in ("id", "set", "mode", "arm")):
                raise InputError(f"{where}: id, set, mode and arm must be text")
            valid = row["valid_answer_probability"]
            if isinstance(valid, bool) or not isinstance(valid, int | float) or not -1e-6 <= valid <= 1 + 1e-3:
                raise InputError(f"{where}: valid_answer_probability must be a probability")
            if row["probabilities"] is not None:  # null where no reply could be read
                try:
                    read_decision(row)
                except ValueError as error:
                    raise InputError(f"{where}: no decision of eval.games ({error})") from None
            arms = found.setdefault((row["set"], row["mode"]), {})
            name = row["arm"]
            if arms.get(name, {}).get(row["id"], row)["probabilities"] != row["probabilities"]:
                name = f"{folder.parent.name}/{folder.name}: {name}"
            arms.setdefault(name, {})[row["id"]] = row
    return found


def answering(arms: dict[str, ByProblem]) -> tuple[dict[str, ByProblem], dict[str, float]]:
    """(arms that answer in the form, without unanswered problems; validity of those that do not)."""
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


def labels(targets: Sequence[Target]) -> list[str]:
    """Short labels, or whole strings where two targets share one."""
    short = [t.label for t in targets]
    return [label if short.count(label) == 1 else str(t) for label, t in zip(short, targets, strict=True)]


def shares(record: Record, targets: Sequence[Target]) -> dict[str, float]:
    """What one problem says: agreement with every target (single decisions, probability of the optimum, efficiency, which is
    nan where all plans are worth the same), and the probability of the first (co-operative) actions."""
    p = np.array(record["probabilities"], float)
    values = {}
    for label, target in zip(labels(targets), targets, strict=True):
        u = utilities(record, target)
        values[f"{label}: decisions"] = by_decision(record, target)
        values[f"{label}: mass"] = float(p[best_replies(u)].sum())
        values[f"{label}: efficiency"] = efficiency(u, p)
    game = GAMES[record["game"]]
    first = [p[[s[k] == info.actions[0] for s in game.strategies]].sum() for k, info in enumerate(game.info_sets)]
    return values | {"co-operation": float(np.mean(first))}


def slopes(records: list[Record]) -> dict[str, float]:
    """Sensitivity and the structural parameters, those of them that are identified."""
    values = {"sensitivity": incentive_sensitivity(records)["mean"]}
    for family, label in (("alpha_beta_kappa", "{}"), ("homo_moralis", "{} alone")):
        estimates = structural(records, family).get("estimates", {})
        values |= {label.format(k): v["value"] for k, v in estimates.items() if family == "alpha_beta_kappa" or k == "kappa"}
    return values


def test(measure: str, difference: float, error: float, degrees: float, margin: float) -> dict[str, Any]:
    """Interval, two-sided p and equivalence from a difference and its standard error."""
    spread = stats.t.ppf(0.975, degrees) * error
    p = float(2 * stats.t.sf(abs(difference) / error, degrees)) if error > 0 else float(difference == 0)
    if error > 0:
        outside = float(max(stats.t.sf((difference + margin) / error, degrees), stats.t.sf((margin - difference) / error, degrees)))
    else:
        outside = float(abs(difference) >= margin)
    return {
        "measure": measure, "difference": difference, "se": error, "low": difference - spread, "high": difference + spread, "p": p,
        "equivalent": None if measure.startswith(WITHOUT_MARGIN) else bool(outside < 0.05),
    }  # fmt: skip


def compare(tuned: ByProblem, base: ByProblem, targets: Sequence[Target], margin: float, replications: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one arm against the reference, on the problems both have.  Raises InputError when these are fewer than two."""
    common = [k for k in base if k in tuned]
    if len(common) < 2:
        raise InputError("the two arms share fewer than two decision problems; measure them with the same --battery, --items and --seed")
    if any(base[k]["payoffs"] != tuned[k]["payoffs"] or base[k]["game"] != tuned[k]["game"] for k in common):
        raise InputError("problems of the same name have different payoffs; measure both arms with the same --battery, --items, --targets and --seed")
    n, rows = len(common), []
    one, two = ([shares(arm[k], targets) for k in common] for arm in (tuned, base))
    for measure in one[0]:
        gaps = np.array([a[measure] - b[measure] for a, b in zip(one, two, strict=True)])
        gaps = gaps[~np.isnan(gaps)]
        if len(gaps) > 1:
            error = float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
            rows.append(test(measure, float(gaps.mean()), error, len(gaps) - 1, margin) | {"n": len(gaps)})

    def gap(chosen: list[str]) -> dict[str, float]:
        # a decision drawn twice is two decisions
        again = [({**tuned[k], "id": f"{k}-{i}"}, {**base[k], "id": f"{k}-{i}"}) for i, k in enumerate(chosen)]
        left, right = slopes([t for t, _ in again]), slopes([b for _, b in again])
        return {k: left[k] - right[k] for k in left if k in right}

    rng = np.random.default_rng(seed)
    drawn = [gap([common[i] for i in rng.integers(n, size=n)]) for _ in range(replications)]
    for measure, value in gap(common).items():
        values = [d[measure] for d in drawn if measure in d]
        if len(values) >= 0.9 * replications:
            rows.append(test(measure, value, float(np.std(values, ddof=1)), n - 1, margin) | {"n": n, "replications": len(values)})
    return rows


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate([(len(p) - rank) * p[i] for rank, i in enumerate(order)]), 1)
    return [float(v) for v in adjusted]


def main() -> None:
    """Entry point."""
    args = arguments()
    targets = targets_of(args.folders, args.targets)
    jobs: list[tuple[str, str, str, dict[str, ByProblem]]] = []
    left_out: list[dict[str, Any]] = []
    against = args.against
    for (held, mode), everyone in read_arms(args.folders).items():
        if against == "placebo" and against not in everyone:
            against = placebo_of(args.folders)
        if against not in everyone:
            raise InputError(f"no arm {against!r} among {', '.join(everyone)}; choose one with --against")
        arms, others = answering(everyone)
        left_out += [{"set": held, "mode": mode, "arm": arm, "valid_answer_probability": v} for arm, v in others.items()]
        jobs += [(held, mode, arm, arms) for arm in arms if arm != against and against in arms]
    if not jobs and left_out:
        names = ", ".join(dict.fromkeys(row["arm"] for row in left_out))
        raise InputError(f"there is nothing to compare: {names} {'answers' if ', ' not in names else 'answer'} outside the form")
    if not jobs:
        raise InputError(f"there is nothing to compare {against!r} with")
    rows: list[dict[str, Any]] = []
    for held, mode, arm, arms in track(jobs, "comparing", transient=True):
        try:
            some = compare(arms[arm], arms[against], targets, args.margin, args.bootstrap, args.seed)
        except NotIdentified as error:
            raise InputError(f"{arm}: {error}") from None
        rows += [{"set": held, "mode": mode, "arm": arm, **row} for row in some]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted

    frame = pd.DataFrame(rows)
    console = terminal(120)
    for (held, mode, arm), part in frame.groupby(["set", "mode", "arm"], sort=False):
        grid = Table(title=f"{arm} minus {against}, {TITLES.get(held, held)}, {mode} answers, n = {part['n'].iloc[0]}", title_justify="left", box=SIMPLE_HEAD)
        for column in ("measure", "difference", "95 % interval", "p (Holm)", f"within ± {args.margin:g}"):
            grid.add_column(column, justify="left" if column == "measure" else "right")
        for _, r in part.iterrows():
            within = "" if r["equivalent"] is None else "yes" if r["equivalent"] else "no"
            grid.add_row(r["measure"], f"{r['difference']:.3f}", f"[{r['low']:.3f}, {r['high']:.3f}]", f"{r['p_holm']:.3g}", within)
        console.print(grid)
        lacking = [m for m in ("sensitivity", "alpha", "beta", "kappa", "lambda", "kappa alone") if m not in set(part["measure"])]
        if lacking:
            console.print(f"not identified in both arms: {', '.join(lacking)}")
    for row in left_out:
        valid = percent(row["valid_answer_probability"])
        console.print(f"not compared: {row['arm']}, {row['set']}, {row['mode']}: {OUTSIDE} (valid-answer probability {valid})")
    out = args.out or args.folders[0]
    about = origin(**{f"choices_{i}": folder / "choices.jsonl" for i, folder in enumerate(args.folders)})
    found = {"against": against, "targets": [str(t) for t in targets], "margin": args.margin, "rows": finite(rows), "left_out": left_out}
    write_json(out / "compare.json", about | found)
    write_text(out / "compare.csv", frame.map(spreadsheet_cell).to_csv(index=False))
    console.print(f"{out}/: compare.json compare.csv")


if __name__ == "__main__":
    command(main)
