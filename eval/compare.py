"""Paired comparison of measured arms: the same decisions, one arm against the others.

    python -m eval.compare runs/demo/eval
    python -m eval.compare runs/A/eval runs/B/eval --against base --margin 0.05 --out runs/compared

Differences (arm minus reference) in agreement with both targets, efficiency, co-operation, sensitivity to incentives and
structural parameters.  Shares: mean of the decisions' differences, t interval.  Slopes and parameters: bootstrap of whole
decisions, the same ones for both arms.  p values are Holm's over all rows; *equivalent* means that both one-sided tests at
the 5 % level place the difference within the margin.  Writes compare.json and compare.csv.
"""

from __future__ import annotations

import argparse
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
from econmoral.records import InputError, command, finite, origin, read_lines, spreadsheet_cell, terminal, write_json, write_text
from eval.table import Record, incentive_sensitivity, structural, utilities

NEEDED = {"id", "set", "mode", "arm", "game", "payoffs", "beliefs", "strategies", "probabilities"}
WITHOUT_MARGIN = ("lambda",)  # its size depends on the unit of the payoffs


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders written by eval.games")
    parser.add_argument("--against", default="base", help="arm that the others are compared with (default base)")
    parser.add_argument("--kappa", type=float, default=0.5, help="degree of morality of the moral target (default 0.5)")
    parser.add_argument("--margin", type=float, default=0.05, help="differences smaller than this count as none (default 0.05)")
    parser.add_argument("--bootstrap", type=int, default=200, help="replications for slopes and parameters (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the result (default: the first folder)")
    args = parser.parse_args()
    if not 0 <= args.kappa <= 1 or not 0 < args.margin < 1 or args.bootstrap < 20 or args.seed < 0:
        raise InputError("--kappa must lie in [0, 1], --margin in (0, 1), --bootstrap be at least 20, --seed not negative")
    return args


def read_arms(folders: list[Path]) -> dict[tuple[str, str], dict[str, dict[str, Record]]]:
    """(set, mode) -> arm -> decision -> record.  An arm that two folders measured differently carries its folder's name.

    Raises InputError for lines that are no decisions.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Record]]] = {}
    for folder in folders:
        for number, row in read_lines(folder / "choices.jsonl"):
            if missing := NEEDED - set(row):
                raise InputError(f"{folder / 'choices.jsonl'}, line {number}: no decision of eval.games, it lacks {', '.join(sorted(missing))}")
            if not all(isinstance(row[k], str) for k in ("id", "set", "mode", "arm")):
                raise InputError(f"{folder / 'choices.jsonl'}, line {number}: id, set, mode and arm must be text")
            if row["probabilities"] is None:  # refused on every page
                continue
            try:
                read_decision(row)
            except ValueError as error:
                raise InputError(f"{folder / 'choices.jsonl'}, line {number}: no decision of eval.games ({error})") from None
            arms = found.setdefault((row["set"], row["mode"]), {})
            name = row["arm"]
            if arms.get(name, {}).get(row["id"], row)["probabilities"] != row["probabilities"]:
                name = f"{folder.parent.name}/{folder.name}: {name}"
            arms.setdefault(name, {})[row["id"]] = row
    return found


def shares(record: Record, kappa: float) -> dict[str, float]:
    """What one decision says: probability on each target's optimum, efficiency, probability of the first (co-operative) actions."""
    p = np.array(record["probabilities"], float)
    values = {}
    for target, k in (("economicus", 0.0), ("moralis", kappa)):
        u = utilities(record, k)
        values[f"{target}: mass"] = float(p[best_replies(u)].sum())
        values[f"{target}: efficiency"] = efficiency(u, p)
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


def compare(tuned: dict[str, Record], base: dict[str, Record], kappa: float, margin: float, replications: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one arm against the reference, on the decisions both have.  Raises InputError when these are fewer than two."""
    common = [k for k in base if k in tuned]
    if len(common) < 2:
        raise InputError("the two arms share fewer than two decisions; measure them with the same --battery, --items and --seed")
    if any(base[k]["payoffs"] != tuned[k]["payoffs"] or base[k]["game"] != tuned[k]["game"] for k in common):
        raise InputError("decisions of the same name have different payoffs; measure both arms with the same --battery, --items, --kappa and --seed")
    n, rows = len(common), []
    one, two = ([shares(arm[k], kappa) for k in common] for arm in (tuned, base))
    for measure in one[0]:
        gaps = np.array([a[measure] - b[measure] for a, b in zip(one, two, strict=True)])
        rows.append(test(measure, float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(n)), n - 1, margin) | {"n": n})

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
    found, jobs = read_arms(args.folders), []
    for (held, mode), arms in found.items():
        if args.against not in arms:
            raise InputError(f"no arm {args.against!r} among {', '.join(arms)}; choose one with --against")
        jobs += [(held, mode, arm, arms) for arm in arms if arm != args.against]
    if not jobs:
        raise InputError(f"there is nothing to compare {args.against!r} with")
    rows: list[dict[str, Any]] = []
    for held, mode, arm, arms in track(jobs, "comparing", transient=True):
        try:
            some = compare(arms[arm], arms[args.against], args.kappa, args.margin, args.bootstrap, args.seed)
        except NotIdentified as error:
            raise InputError(f"{arm}: {error}") from None
        rows += [{"set": held, "mode": mode, "arm": arm, **row} for row in some]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted

    frame = pd.DataFrame(rows)
    console = terminal(120)
    for (held, mode, arm), part in frame.groupby(["set", "mode", "arm"], sort=False):
        grid = Table(title=f"{arm} minus {args.against}, held-out {held}, {mode} answers, n = {part['n'].iloc[0]}", title_justify="left", box=SIMPLE_HEAD)
        for column in ("measure", "difference", "95 % interval", "p (Holm)", f"within ± {args.margin:g}"):
            grid.add_column(column, justify="left" if column == "measure" else "right")
        for _, r in part.iterrows():
            within = "" if r["equivalent"] is None else "yes" if r["equivalent"] else "no"
            grid.add_row(r["measure"], f"{r['difference']:.3f}", f"[{r['low']:.3f}, {r['high']:.3f}]", f"{r['p_holm']:.3g}", within)
        console.print(grid)
        lacking = [m for m in ("sensitivity", "alpha", "beta", "kappa", "lambda", "kappa alone") if m not in set(part["measure"])]
        if lacking:
            console.print(f"not identified in both arms: {', '.join(lacking)}")
    out = args.out or args.folders[0]
    about = origin(**{f"choices_{i}": folder / "choices.jsonl" for i, folder in enumerate(args.folders)})
    write_json(out / "compare.json", about | {"against": args.against, "margin": args.margin, "rows": finite(rows)})
    write_text(out / "compare.csv", frame.map(spreadsheet_cell).to_csv(index=False))
    console.print(f"{out}/: compare.json compare.csv")


if __name__ == "__main__":
    command(main)
