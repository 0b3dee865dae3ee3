"""From records of decision problems to the answer: one row per arm, beside rules that any reader can compute by hand.

Nothing here knows where the probabilities come from.  Standard errors are clustered by problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from econmoral.choice import best_replies, efficiency, read_decision
from econmoral.estimation import NotIdentified, fit
from econmoral.games import GAMES, draw_beliefs, draw_protocol
from econmoral.prompts import WORDINGS
from econmoral.target import ECONOMICUS, Target, moralis

from .measure import protocol_of
from .validity import OUTSIDE, outside

Record = dict[str, Any]


def utilities(record: Record, target: Target) -> np.ndarray:
    """(N,) utility of every strategy to a target at the record's beliefs.  Read-only."""
    return target.plans(protocol_of(record), tuple(record["beliefs"]))


def uniform_over(best: list[int], n: int) -> np.ndarray:
    """(N,) equal probability on every strategy in ``best``."""
    p = np.zeros(n)
    p[best] = 1 / len(best)
    return p


def with_probabilities(records: list[Record], arm: str, rule: Callable[[Record], np.ndarray]) -> list[Record]:
    """The same problems, chosen by a rule."""
    return [
        {k: r[k] for k in ("id", "set", "game", "payoffs", "beliefs", "strategies")}
        | {
            "arm": arm, "mode": "rule", "probabilities": rule(r).tolist(), "valid_answer_probability": 1.0, "comprehension": None,
            "steps": [0, 0], "position_bias": 0.0, "twin_distance": 0.0,
        }
        for r in records
    ]  # fmt: skip


def constants(target: Target, draws: int = 2000, seed: int = 0) -> dict[str, int]:
    """For every game the one strategy that is most often optimal on other random problems, payoffs unseen."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for game in GAMES:
        counts = np.zeros(len(GAMES[game].strategies))
        for _ in range(draws):
            counts[target.best_plan(draw_protocol(game, rng, held=False), draw_beliefs(game, rng))[0]] += 1
        chosen[game] = int(counts.argmax())
    return chosen


def reference_arms(records: list[Record], targets: Sequence[Target]) -> list[Record]:
    """The same problems by a coin, by payoff-blind constants, by two payoff-aware rules."""

    def size(r: Record) -> int:
        return len(r["strategies"])

    rules: dict[str, Callable[[Record], np.ndarray]] = {
        "coin": lambda r: np.full(size(r), 1 / size(r)),
        "own-payoff best": lambda r: uniform_over(best_replies(utilities(r, ECONOMICUS)), size(r)),
        "both-alike best": lambda r: uniform_over(best_replies(utilities(r, moralis(1.0))), size(r)),
    }
    for target in targets:
        table = constants(target)
        rules[f"constant, {target.label}"] = lambda r, table=table: np.eye(size(r))[table[r["game"]]]
    return [row for arm, rule in rules.items() for row in with_probabilities(records, arm, rule)]


def share(values: Iterable[float]) -> dict[str, float] | None:
    """Mean and its standard error over items."""
    x = np.array([v for v in values if not np.isnan(v)])
    return {"mean": float(x.mean()), "se": float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan"), "n": len(x)} if len(x) else None


def modal(probabilities: np.ndarray, targets: list[int]) -> float:
    """Share of the most probable strategies (several at a tie) that are optimal."""
    top = np.flatnonzero(probabilities >= probabilities.max() - 1e-9)
    return float(np.isin(top, targets).mean())


def incentive_sensitivity(records: list[Record]) -> dict[str, float]:
    """Change of a strategy's choice probability when its own expected payoff rises by 10 points.

    Slope of P(x) on own payoff within decisions (both in deviations from their decision's mean), standard error clustered
    by item: 0 for a chooser blind to payoffs.
    """
    xy, xx, clusters = [], [], []
    for r in records:
        own, p = utilities(r, ECONOMICUS) / 10, np.array(r["probabilities"])
        x = own - own.mean()
        xy.append(x @ (p - p.mean()))
        xx.append(x @ x)
        clusters.append(r["id"])
    slope = sum(xy) / sum(xx)
    by_item: dict[str, float] = {}
    for item, a, b in zip(clusters, xy, xx, strict=True):
        by_item[item] = by_item.get(item, 0.0) + a - slope * b
    n = len(by_item)
    return {"mean": float(slope), "se": float(np.sqrt(sum(v**2 for v in by_item.values()) * n / max(n - 1, 1)) / sum(xx)), "n": n}


def structural(records: list[Record], family: str) -> dict[str, Any]:
    """Estimates with clustered standard errors and log-likelihood, or why there are none and, where possible, bounds."""
    decisions = [read_decision(r) for r in records]
    try:
        found = fit(decisions, family)
    except NotIdentified as error:
        return {"family": family, "not_identified": str(error), "bounds": error.bounds}
    return {
        "family": family,
        "estimates": {k: {"value": v, "se": found.se[k]} for k, v in found.estimates.items()},
        "log_likelihood": found.log_likelihood,
        "decisions": found.n,
        "clusters": found.clusters,
    }


def by_decision(record: Record, target: Target) -> float:
    """Share of the decisions of a problem (moves at information sets) that are most probably taken as the target would.

    Every move is judged by its marginal probability; a move that several optima disagree on counts as right.
    """
    game, p = GAMES[record["game"]], np.array(record["probabilities"])
    best = best_replies(utilities(record, target))
    right = []
    for k, info in enumerate(game.info_sets):
        first = float(p[[s[k] == info.actions[0] for s in game.strategies]].sum())
        wanted = {game.strategies[i][k] for i in best}
        taken = {info.actions[0]} if first > 0.5 else {info.actions[1]} if first < 0.5 else set(info.actions)
        right.append(len(taken & wanted) / len(taken))
    return float(np.mean(right))


def agreement(records: list[Record], target: Target, rivals: Sequence[Target]) -> dict[str, Any]:
    """How far choices are the target's.

    accuracy : the most probable strategy is optimal.  decisions : share of single moves taken as the target would.
    where_they_differ : accuracy on problems whose optimum is not that of any rival (homo economicus; for it, the others).
    decisions_where_they_differ : the same for moves.  mass : probability on the optimum.  efficiency : see ``econmoral.choice``.
    """
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
        "label": target.label, "accuracy": share(accuracy), "decisions": share(moves), "where_they_differ": share(differ),
        "decisions_where_they_differ": share(moves_differ), "mass": share(mass), "efficiency": share(worth),
    }  # fmt: skip


def valid_by_wording(records: list[Record]) -> dict[str, float]:
    """Mean valid-answer probability of the pages in each wording."""
    found: dict[str, list[float]] = {}
    for r in records:
        for page in r.get("pages", []):
            found.setdefault(page["layout"]["wording"], []).append(float(np.mean(page["valid"])))
    return {w: float(np.mean(found[w])) for w in WORDINGS if w in found}


def summarise(records: list[Record], targets: Sequence[Target], wordings: dict[str, float] | None = None) -> dict[str, Any]:
    """One arm on one set: validity, comprehension, agreement with every target, sensitivity, structural parameters, biases.

    Of an arm that answers outside the form only validity and comprehension are given.
    """
    valid = float(np.mean([r["valid_answer_probability"] for r in records]))
    known = [r["comprehension"] for r in records if r["comprehension"] is not None]
    right, steps = (sum(r["steps"][i] for r in records) for i in (0, 1))
    row: dict[str, Any] = {
        "arm": records[0]["arm"], "set": records[0]["set"], "mode": records[0]["mode"], "decisions": len(records),
        "valid_answer_probability": valid, "valid_by_wording": wordings or valid_by_wording(records),
        "comprehension": float(np.mean(known)) if known else None, "steps_right": right / steps if steps else None, "steps": steps,
        "outside": outside(valid),
    }  # fmt: skip
    answered = [r for r in records if r["probabilities"] is not None]
    row["answered"] = len(answered)
    if row["outside"] or not answered:
        return row | {"outside": True, "targets": {}}
    row["targets"] = {str(t): agreement(answered, t, [r for r in targets if r != t] if t == ECONOMICUS else [ECONOMICUS]) for t in targets}
    row["incentive_sensitivity"] = incentive_sensitivity(answered)
    row["alpha_beta_kappa"] = structural(answered, "alpha_beta_kappa")
    row["homo_moralis"] = structural(answered, "homo_moralis")
    row["position_bias"] = float(np.mean([r["position_bias"] for r in answered]))
    row["twin_distance"] = float(np.mean([r["twin_distance"] for r in answered if r["twin_distance"] is not None] or [np.nan]))
    return row


def summaries(records: list[Record], targets: Sequence[Target], wordings: dict[tuple[str, str, str], dict[str, float]] | None = None) -> list[dict[str, Any]]:
    """Summaries of every arm in every set and mode, in the order in which they appear."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        groups.setdefault((r["set"], r["mode"], r["arm"]), []).append(r)
    return [summarise(group, targets, (wordings or {}).get(key)) for key, group in groups.items()]


def add_shifts(rows: list[dict[str, Any]], records: list[Record], baselines: Sequence[str], tuned: Sequence[str], targets: Sequence[Target]) -> None:
    """Adds ``shift`` to the rows of tuned arms: for every baseline that answers in the form, the paired difference in decisions
    taken as each target would, with its standard error over problems."""
    outside_form = {(r["set"], r["mode"], r["arm"]) for r in rows if r["outside"]}
    found = {(r["set"], r["mode"], r["arm"], r["id"]): r for r in records if r["probabilities"] is not None}
    for row in rows:
        if row["arm"] not in tuned or row["outside"]:
            continue
        row["shift"] = {}
        for base in baselines:
            key = (row["set"], row["mode"])
            if base == row["arm"] or (*key, base) in outside_form:
                continue
            pairs = [(r, found[*key, base, i]) for (s, m, arm, i), r in found.items() if (s, m, arm) == (*key, row["arm"]) and (*key, base, i) in found]
            if pairs:
                row["shift"][base] = {str(t): share([by_decision(a, t) - by_decision(b, t) for a, b in pairs]) for t in targets}


def plus_minus(value: dict[str, float] | None, scale: float = 1, digits: int = 0) -> str:
    """``93 ± 2``."""
    if value is None:
        return "–"
    mean, se = round(scale * value.get("mean", value.get("value", np.nan)), digits) + 0.0, value["se"]  # + 0.0: no minus zero
    return f"{mean:.{digits}f}" if np.isnan(se) or se == 0 else f"{mean:.{digits}f} ± {scale * se:.{digits}f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """``[-0.02, 0.03]`` of a parameter that is only bounded: a deterministic chooser."""
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds and np.isfinite(bounds).all() else "not id."


def percent(value: float | None) -> str:
    """``87``, in per cent; two digits of what is small; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{100 * value:.0f}" if value >= 0.1 or value == 0 else f"{100 * value:.2g}"


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The table for a person: shares in per cent, lambda per 10 payoff units, each ± one standard error; bounds in square brackets.

    ``valid %`` stands beside every figure; an arm that answers outside the form has no figures.
    """
    lines = []
    labels = {key: t["label"] for row in rows for key, t in row["targets"].items()}
    for row in rows:
        line = {"set": row["set"], "mode": row["mode"], "arm": row["arm"]}
        line["valid %"] = "" if row["mode"] == "rule" else percent(row["valid_answer_probability"])
        line["control %"] = "" if row["mode"] == "rule" else percent(row["comprehension"])
        line["steps %"] = "" if row["steps_right"] is None else percent(row["steps_right"])
        if row["outside"]:
            line["note"] = OUTSIDE
            lines.append(line)
            continue
        for key, label in labels.items():
            found = row["targets"][key]
            line[f"{label}: decisions %"] = plus_minus(found["decisions"], 100)
            line[f"{label}: plans %"] = plus_minus(found["accuracy"], 100)
            line[f"{label}: differ %"] = plus_minus(found["decisions_where_they_differ"], 100)
        line["sensitivity"] = plus_minus(row["incentive_sensitivity"], 1, 2)
        for family, names in (("alpha_beta_kappa", ("alpha", "beta", "kappa", "lambda")), ("homo_moralis", ("kappa",))):
            found = row[family].get("estimates")
            for name in names:
                label = name if family == "alpha_beta_kappa" else "kappa alone"
                label = "lambda / 10" if name == "lambda" else label
                bounds = (row[family].get("bounds") or {}).get(name)
                line[label] = plus_minus(found[name], 10 if name == "lambda" else 1, 2) if found else interval(bounds)
        line["lnL"] = f"{row['alpha_beta_kappa']['log_likelihood']:.1f}" if "log_likelihood" in row["alpha_beta_kappa"] else "–"
        lines.append(line)
    return pd.DataFrame(lines).fillna("")


def overlap(records: list[Record], trained: set[tuple[str, tuple[float, ...]]]) -> int:
    """How many measured decisions use a payoff quadruple of the training data."""
    return sum((r["game"], tuple(r["payoffs"])) in trained for r in records)
