"""From records of decision problems to the answer: one row for each condition, beside rules that
any reader can compute by hand.

Nothing here knows where the probabilities come from.  Standard errors are clustered by problem,
those of parameters below 30 problems by the jackknife.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from econmoral.economics.choice import best_replies, efficiency, read_decision
from econmoral.economics.games import GAMES
from econmoral.estimation.robust import clustered_covariance
from econmoral.files.shown import with_error
from econmoral.instruments.games import WORDINGS
from econmoral.target import ECONOMICUS, Target, labels, moralis, told_apart

from .estimate import (
    Estimate,
    Fits,
    Mean,
    Value,
    families_of,
    mean_of,
    one_by_one,
    parameters_shown,
    shown,
    structural,
)
from .measure import BALANCED, GameRecord, protocol_of, usual_plans
from .validity import OUTSIDE, outside, percent

if TYPE_CHECKING:
    import pandas as pd


FITTED = ("alpha_beta_kappa", "homo_moralis")  # estimated of everybody; then the targets' families


class Agreement(TypedDict):
    """How far choices are a target's.

    accuracy : the most probable strategy is optimal.  decisions : share of single moves taken as
    the target would.  where_they_differ : accuracy on problems whose optimum is not that of any
    rival (homo economicus; for it, the others).  decisions_where_they_differ : the same for moves.
    mass : probability of the optimum.  efficiency : see ``econmoral.economics.choice``.
    """

    label: str
    accuracy: Mean | None
    decisions: Mean | None
    where_they_differ: Mean | None
    decisions_where_they_differ: Mean | None
    mass: Mean | None
    efficiency: Mean | None


class GameSummary(TypedDict):
    """One condition on one set in one mode; without figures where ``outside``.

    shift : baseline -> target -> paired difference in decisions taken as the target would; on
    balanced problems in whole plans.
    """

    arm: str
    set: str
    mode: str
    decisions: int
    valid_answer_probability: float
    valid_by_wording: dict[str, float]
    comprehension: float | None
    steps_right: float | None
    steps: int
    outside: bool
    answered: NotRequired[int]
    targets: dict[str, Agreement]
    incentive_sensitivity: NotRequired[Mean]
    fits: NotRequired[Fits]
    position_bias: NotRequired[float]
    twin_distance: NotRequired[float]
    shift: NotRequired[dict[str, dict[str, Mean | None]]]
    placebo: NotRequired[bool]


def utilities(record: GameRecord, target: Target) -> np.ndarray:
    """(N,) utility of every strategy to a target at the record's beliefs.  Read-only."""
    return target.plans(protocol_of(record), tuple(record["beliefs"]))


def uniform_over(best: Sequence[int], n: int) -> np.ndarray:
    """(N,) equal probability on every strategy in ``best``."""
    p = np.zeros(n)
    p[list(best)] = 1 / len(best)
    return p


def with_probabilities(
    records: Sequence[GameRecord], arm: str, rule: Callable[[GameRecord], np.ndarray]
) -> list[GameRecord]:
    """The same problems, chosen by a rule."""
    return [
        {
            "id": r["id"],
            "set": r["set"],
            "game": r["game"],
            "payoffs": r["payoffs"],
            "beliefs": r["beliefs"],
            "strategies": r["strategies"],
            "arm": arm,
            "mode": "rule",
            "probabilities": rule(r).tolist(),
            "valid_answer_probability": 1.0,
            "comprehension": None,
            "steps": [0, 0],
            "position_bias": 0.0,
            "twin_distance": 0.0,
        }
        for r in records
    ]


def reference_arms(records: Sequence[GameRecord], targets: Sequence[Target]) -> list[GameRecord]:
    """The same problems by agents that do not think: a coin, payoff-blind constants, two
    payoff-aware rules."""

    def coin(r: GameRecord) -> np.ndarray:
        return np.full(len(r["strategies"]), 1 / len(r["strategies"]))

    def best(r: GameRecord, target: Target) -> np.ndarray:
        return uniform_over(best_replies(utilities(r, target)), len(r["strategies"]))

    def constant(r: GameRecord, chosen: dict[str, int]) -> np.ndarray:
        return np.eye(len(r["strategies"]))[chosen[r["game"]]]

    rules: dict[str, Callable[[GameRecord], np.ndarray]] = {
        "coin": coin,
        "own-payoff best": partial(best, target=ECONOMICUS),
        "both-alike best": partial(best, target=moralis(1.0)),
    }
    for label, target in zip(labels(targets), targets, strict=True):
        rules[f"constant, {label}"] = partial(constant, chosen=usual_plans(target))
    return [row for arm, rule in rules.items() for row in with_probabilities(records, arm, rule)]


def modal(probabilities: np.ndarray, targets: Sequence[int]) -> float:
    """Share of the most probable strategies (several at a tie) that are optimal."""
    top = np.flatnonzero(probabilities >= probabilities.max() - 1e-9)
    return float(np.isin(top, targets).mean())


def incentive_sensitivity(records: Sequence[GameRecord]) -> Mean:
    """Change of a strategy's choice probability when its own expected payoff rises by 10 points.

    Slope of P(x) on own payoff within decisions (both in deviations from their decision's mean),
    standard error clustered by problem: 0 for a chooser blind to payoffs.
    """
    xy, xx = np.empty(len(records)), np.empty(len(records))
    for i, r in enumerate(records):
        own, p = utilities(r, ECONOMICUS) / 10, np.array(r["probabilities"])
        x = own - own.mean()
        xy[i], xx[i] = x @ (p - p.mean()), x @ x
    slope = xy.sum() / xx.sum()
    _, cluster = np.unique([r["id"] for r in records], return_inverse=True)
    variance = clustered_covariance(np.eye(1) / xx.sum(), (xy - slope * xx)[:, None], cluster)
    return {"mean": float(slope), "se": float(np.sqrt(variance[0, 0])), "n": int(cluster.max()) + 1}


def by_plan(record: GameRecord, target: Target) -> float:
    """Whether the most probable strategy (of several their share) is the target's."""
    return modal(np.array(record["probabilities"]), best_replies(utilities(record, target)))


def by_decision(record: GameRecord, target: Target) -> float:
    """Share of the decisions of a problem (moves at information sets) that are most probably taken
    as the target would.

    Every move is judged by its marginal probability; a move that several optima disagree on counts
    as right.
    """
    game = GAMES[record["game"]]
    shares = np.array(record["probabilities"]) @ game.first_actions
    best = best_replies(utilities(record, target))
    right = []
    for k, (info, first) in enumerate(zip(game.info_sets, shares, strict=True)):
        wanted = {game.strategies[i][k] for i in best}
        taken = set(info.actions)
        if abs(first - 0.5) > 1e-9:  # rounding decides nothing
            taken = {info.actions[0] if first > 0.5 else info.actions[1]}
        right.append(len(taken & wanted) / len(taken))
    return float(np.mean(right))


def agreement(records: Sequence[GameRecord], target: Target, rivals: Sequence[Target]) -> Agreement:
    """How far choices are the target's."""
    accuracy, moves, differ, moves_differ, mass, worth = [], [], [], [], [], []
    for r in records:
        u, p = utilities(r, target), np.array(r["probabilities"])
        best = best_replies(u)
        others = {i for rival in rivals for i in best_replies(utilities(r, rival))}
        accuracy.append(modal(p, best))
        moves.append(by_decision(r, target))
        if rivals and not set(best) & others:
            differ.append(accuracy[-1])
            moves_differ.append(moves[-1])
        mass.append(float(p[best].sum()))
        worth.append(efficiency(u, p))
    return {
        "label": target.label,
        "accuracy": mean_of(accuracy),
        "decisions": mean_of(moves),
        "where_they_differ": mean_of(differ),
        "decisions_where_they_differ": mean_of(moves_differ),
        "mass": mean_of(mass),
        "efficiency": mean_of(worth),
    }


def valid_by_wording(records: Sequence[GameRecord]) -> dict[str, float]:
    """Mean valid-answer probability of the pages in each wording."""
    found: dict[str, list[float]] = {}
    for r in records:
        for page in r.get("pages", []):
            wording = str(page["layout"]["wording"])
            found.setdefault(wording, []).append(float(np.mean(page["valid"])))
    return {w: float(np.mean(found[w])) for w in WORDINGS if w in found}


def summarise(records: Sequence[GameRecord], targets: Sequence[Target]) -> GameSummary:
    """One condition on one set: validity, comprehension, agreement with every target, sensitivity,
    structural parameters, biases."""
    valid = float(np.mean([r["valid_answer_probability"] for r in records]))
    known = [r["comprehension"] for r in records if r["comprehension"] is not None]
    right, steps = (sum(r["steps"][i] for r in records) for i in (0, 1))
    row: GameSummary = {
        "arm": records[0]["arm"],
        "set": records[0]["set"],
        "mode": records[0]["mode"],
        "decisions": len(records),
        "valid_answer_probability": valid,
        "valid_by_wording": valid_by_wording(records),
        "comprehension": float(np.mean(known)) if known else None,
        "steps_right": right / steps if steps else None,
        "steps": steps,
        "outside": outside(valid),
        "targets": {},
    }
    answered = [r for r in records if r["probabilities"] is not None]
    row["answered"] = len(answered)
    if row["outside"] or not answered:
        row["outside"] = True
        return row
    for t in targets:
        rivals = [r for r in targets if r != t] if t == ECONOMICUS else [ECONOMICUS]
        row["targets"][str(t)] = agreement(answered, t, rivals)
    row["incentive_sensitivity"] = incentive_sensitivity(answered)
    decisions = [read_decision(dict(r)) for r in answered]
    row["fits"] = {f: structural(decisions, f) for f in families_of(FITTED, targets)}
    row["position_bias"] = float(np.mean([r["position_bias"] for r in answered]))
    distances = [r["twin_distance"] for r in answered if r["twin_distance"] is not None]
    row["twin_distance"] = float(np.mean(distances or [np.nan]))
    return row


def summaries(records: Sequence[GameRecord], targets: Sequence[Target]) -> list[GameSummary]:
    """Summaries of every condition in every set and mode, in the order in which they appear."""
    groups: dict[tuple[str, str, str], list[GameRecord]] = {}
    for r in records:
        groups.setdefault((r["set"], r["mode"], r["arm"]), []).append(r)
    return [summarise(group, targets) for group in groups.values()]


def add_shifts(
    rows: Sequence[GameSummary],
    records: Sequence[GameRecord],
    baselines: Sequence[str],
    tuned: Sequence[str],
    targets: Sequence[Target],
) -> None:
    """Adds ``shift`` to the rows of ``tuned``: for every baseline that answers in the form, the
    paired difference in decisions taken as each target would, on balanced problems in plans."""
    outside_form = {(r["set"], r["mode"], r["arm"]) for r in rows if r["outside"]}
    found: dict[tuple[str, str, str], dict[str, GameRecord]] = {}
    for record in records:
        if record["probabilities"] is not None:
            key = (record["set"], record["mode"], record["arm"])
            found.setdefault(key, {})[record["id"]] = record
    for row in rows:
        if row["arm"] not in tuned or row["outside"]:
            continue
        row["shift"] = {}
        taken = by_plan if row["set"] == BALANCED else by_decision
        mine = found[row["set"], row["mode"], row["arm"]]
        for base in baselines:
            there = (row["set"], row["mode"], base)
            if base == row["arm"] or there in outside_form:
                continue
            theirs = found.get(there, {})
            pairs = [(r, theirs[i]) for i, r in mine.items() if i in theirs]
            if pairs:
                row["shift"][base] = {
                    str(t): mean_of([taken(a, t) - taken(b, t) for a, b in pairs]) for t in targets
                }


def estimates(row: GameSummary) -> list[Estimate]:
    """Everything that was estimated of a condition, one by one."""
    one = partial(Estimate, condition=row["arm"], set=row["set"], mode=row["mode"])
    found = []
    for agreed in row["targets"].values():
        if (share := agreed["decisions"]) is not None:
            name = f"{agreed['label']}: decisions"
            found.append(one(name, share["mean"], share["se"], share["n"]))
    if row["outside"]:
        return found
    slope = row["incentive_sensitivity"]
    found.append(one("sensitivity", slope["mean"], slope["se"], slope["n"]))
    return found + one_by_one(row["fits"], row["decisions"], one)


def plus_minus(value: Mean | Value | None, scale: float = 1, digits: int = 0) -> str:
    """``93 ± 2``."""
    if value is None:
        return "–"
    at: Any = value
    mean, se = at.get("mean", at.get("value", np.nan)), value["se"] or None  # without an error of 0
    return with_error(mean, se, digits, scale)


def table(rows: Sequence[GameSummary]) -> pd.DataFrame:
    """The table for a person: shares in per cent, lambda per 10 payoff units, each ± one standard
    error; bounds in square brackets.

    ``valid %`` stands beside every figure; who answers outside the form has no figures.
    """
    import pandas as pd

    named = {key: t["label"] for row in rows for key, t in row["targets"].items()}
    apart = told_apart(named)
    return pd.DataFrame([_cells(row, apart) for row in rows]).fillna("")


def _cells(row: GameSummary, labels: dict[str, str]) -> dict[str, str]:
    rule = row["mode"] == "rule"
    line = {"set": row["set"], "mode": row["mode"], "arm": row["arm"]}
    line["valid %"] = "" if rule else percent(row["valid_answer_probability"], sign="")
    line["control %"] = "" if rule else percent(row["comprehension"], sign="")
    line["steps %"] = "" if row["steps_right"] is None else percent(row["steps_right"], sign="")
    if row["outside"]:
        return line | {"note": OUTSIDE}
    for key, label in labels.items():
        found = row["targets"][key]
        line[f"{label}: decisions %"] = plus_minus(found["decisions"], 100)
        line[f"{label}: plans %"] = plus_minus(found["accuracy"], 100)
        line[f"{label}: differ %"] = plus_minus(found["decisions_where_they_differ"], 100)
    line["sensitivity"] = plus_minus(row["incentive_sensitivity"], 1, 2)
    whole, alone = (row["fits"][family] for family in FITTED)
    for name in ("alpha", "beta", "kappa", "lambda"):
        label, scale = ("lambda / 10", 10) if name == "lambda" else (name, 1)
        line[label] = shown(whole, name, scale)
    line["kappa alone"] = shown(alone, "kappa")
    for family in (f for f in row["fits"] if f not in FITTED):
        for name in parameters_shown(family):
            line[f"{family}: {name}"] = shown(row["fits"][family], name)
    value = whole.get("log_likelihood")
    return line | {"lnL": "–" if value is None else f"{value:.1f}"}


def overlap(records: Sequence[GameRecord], trained: set[tuple[str, tuple[float, ...]]]) -> int:
    """How many measured decisions use a payoff quadruple of the training data."""
    return sum((r["game"], tuple(r["payoffs"])) in trained for r in records)
