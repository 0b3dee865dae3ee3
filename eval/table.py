"""From records of decisions to the answer: one row per arm, beside rules that any reader can compute by hand.

Nothing here knows where the probabilities come from.  Standard errors are clustered by item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from econmoral.choice import best_plan, best_replies, efficiency, read_decision
from econmoral.estimation import NotIdentified, fit
from econmoral.games import GAMES, Protocol, belief_weights, draw_beliefs, draw_protocol
from econmoral.preferences import FAMILIES
from eval.measure import protocol_of

Record = dict[str, Any]


def utilities(record: Record, kappa: float) -> np.ndarray:
    """(N,) utility of homo moralis at the record's beliefs; kappa 0 is homo economicus.  Read-only."""
    return _utilities(protocol_of(record), tuple(record["beliefs"]), kappa)


@lru_cache(maxsize=100_000)  # every arm answers the same decisions
def _utilities(protocol: Protocol, beliefs: tuple[float, ...], kappa: float) -> np.ndarray:
    u = FAMILIES["homo_moralis"].utility(protocol.tables, belief_weights(protocol.game, beliefs), {"kappa": kappa})
    u.flags.writeable = False
    return u


def uniform_over(best: list[int], n: int) -> np.ndarray:
    """(N,) equal probability on every strategy in ``best``."""
    p = np.zeros(n)
    p[best] = 1 / len(best)
    return p


def with_probabilities(records: list[Record], arm: str, rule: Callable[[Record], np.ndarray]) -> list[Record]:
    """The same decisions, chosen by a rule."""
    return [
        {k: r[k] for k in ("id", "set", "game", "payoffs", "beliefs", "strategies")}
        | {"arm": arm, "mode": "rule", "probabilities": rule(r).tolist(), "mass": 1.0, "position_bias": 0.0, "twin_distance": 0.0}
        for r in records
    ]


def constants(kappa: float, draws: int = 2000, seed: int = 0) -> dict[str, int]:
    """For every game the one strategy that is most often optimal on other random decisions, payoffs unseen."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for game in GAMES:
        counts = np.zeros(len(GAMES[game].strategies))
        for _ in range(draws):
            counts[best_plan(draw_protocol(game, rng, held=False), draw_beliefs(game, rng), kappa)[0]] += 1
        chosen[game] = int(counts.argmax())
    return chosen


def reference_arms(records: list[Record], kappa: float) -> list[Record]:
    """The same decisions by a coin, by payoff-blind constants, by two payoff-aware rules."""

    def size(r: Record) -> int:
        return len(r["strategies"])

    rules: dict[str, Callable[[Record], np.ndarray]] = {
        "coin": lambda r: np.full(size(r), 1 / size(r)),
        "own-payoff best": lambda r: uniform_over(best_replies(utilities(r, 0.0)), size(r)),
        "both-alike best": lambda r: uniform_over(best_replies(utilities(r, 1.0)), size(r)),
    }
    for name, k in (("constant, economicus", 0.0), ("constant, moralis", kappa)):
        table = constants(k)
        rules[name] = lambda r, table=table: np.eye(size(r))[table[r["game"]]]
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
        own, p = utilities(r, 0.0) / 10, np.array(r["probabilities"])
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


def summarise(records: list[Record], kappa: float) -> dict[str, Any]:
    """One arm on one set: agreement with both targets, sensitivity, structural parameters, biases.

    Per target: ``accuracy`` (the most probable strategy is optimal), ``accuracy_where_they_differ`` (only decisions whose
    two optima differ), ``mass`` (probability on the optimum), ``efficiency`` (see ``econmoral.choice``).
    """
    row: dict[str, Any] = {"arm": records[0]["arm"], "set": records[0]["set"], "mode": records[0]["mode"], "decisions": len(records)}
    for target, k in (("economicus", 0.0), ("moralis", kappa)):
        accuracy, differ, mass, worth = [], [], [], []
        for r in records:
            u, p = utilities(r, k), np.array(r["probabilities"])
            best, other = best_replies(u), best_replies(utilities(r, kappa - k))
            accuracy.append(modal(p, best))
            if not set(best) & set(other):
                differ.append(accuracy[-1])
            mass.append(float(p[best].sum()))
            worth.append(efficiency(u, p))
        row[target] = {"accuracy": share(accuracy), "accuracy_where_they_differ": share(differ), "mass": share(mass), "efficiency": share(worth)}
    row["incentive_sensitivity"] = incentive_sensitivity(records)
    row["alpha_beta_kappa"] = structural(records, "alpha_beta_kappa")
    row["homo_moralis"] = structural(records, "homo_moralis")
    row["admissible_mass"] = float(np.mean([r["mass"] for r in records]))
    row["position_bias"] = float(np.mean([r["position_bias"] for r in records]))
    row["twin_distance"] = float(np.mean([r["twin_distance"] for r in records if r["twin_distance"] is not None] or [np.nan]))
    return row


def summaries(records: list[Record], kappa: float) -> list[dict[str, Any]]:
    """Summaries of every arm in every set and mode, in the order in which they appear."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        groups.setdefault((r["set"], r["mode"], r["arm"]), []).append(r)
    return [summarise(group, kappa) for group in groups.values()]


def plus_minus(value: dict[str, float] | None, scale: float = 1, digits: int = 0) -> str:
    """``93 ± 2``."""
    if value is None:
        return "–"
    mean, se = round(scale * value.get("mean", value.get("value", np.nan)), digits) + 0.0, value["se"]  # + 0.0: no minus zero
    return f"{mean:.{digits}f}" if np.isnan(se) or se == 0 else f"{mean:.{digits}f} ± {scale * se:.{digits}f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """``[-0.02, 0.03]`` of a parameter that is only bounded: a deterministic chooser."""
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds and np.isfinite(bounds).all() else "not id."


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The table for a person: shares in per cent, lambda per 10 points, each ± one standard error; bounds in square brackets."""
    lines = []
    for row in rows:
        line = {"set": row["set"], "mode": row["mode"], "arm": row["arm"]}
        for target in ("economicus", "moralis"):
            line[f"{target}: optimal %"] = plus_minus(row[target]["accuracy"], 100)
            line[f"{target}: mass %"] = plus_minus(row[target]["mass"], 100)
            line[f"{target}: efficiency"] = plus_minus(row[target]["efficiency"], 1, 2)
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
    return pd.DataFrame(lines)


def overlap(records: list[Record], trained: set[tuple[str, tuple[float, ...]]]) -> int:
    """How many measured decisions use a payoff quadruple of the training data."""
    return sum((r["game"], tuple(r["payoffs"])) in trained for r in records)
