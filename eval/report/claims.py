"""The four claims, judged by numbers and by what adapters were trained toward, never by names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from econmoral.economics.choice import best_replies
from econmoral.economics.games import GAMES
from econmoral.files.shown import in_percent, with_error
from econmoral.target import ECONOMICUS

from ..dilemmas import DilemmaSummary
from ..measure import GameRecord
from ..outcomes import OverRuns, PricingSummary
from ..table import uniform_over, utilities
from ..validity import OUTSIDE
from .measured import BASE, OWN_BEST, Application, Games, kappa_of, nominal_kappa

CLAIMS = {
    "C1": "An untuned model co-operates more than payoffs ask for and hardly follows incentives.",
    "C2": "Tuning on a small synthetic set moves choices toward the preference it was made from.",
    "C3": (
        "The shift lasts outside the training games, and different preferences give different "
        "outcomes there."
    ),
    "C4": "All this is replicable and cheap.",
}
TUNING = "sft"  # the program of a study whose cost is that of an adapter
LEVEL = 0.05  # of two-sided tests
CRITICAL = float(stats.norm.isf(LEVEL / 2))  # standard errors
TOO_COOPERATIVE = 2.0  # C1: standard errors by which co-operation exceeds what own payoff asks for
HARDLY_SENSITIVE = 0.5  # C1: of a payoff maximiser's sensitivity to incentives
# C2: standard errors between the lowest and the highest degree of morality trained for
KAPPAS_APART = 3.0
MATTERS = 0.05  # C3: smaller differences between effects do not matter
CHEAP = 3600.0  # C4: seconds that tuning one adapter may take


class Verdict(NamedTuple):
    """``supported``, ``not supported`` or ``not measured``, and the numbers that say so."""

    verdict: str
    because: str


def verdict(holds: list[bool], words: list[str], lacking: str = "") -> Verdict:
    """Supported where all tests hold; not measured without a test."""
    because = "; ".join(words) or lacking
    return Verdict(
        "not measured" if not holds else "supported" if all(holds) else "not supported", because
    )


def cooperation(record: GameRecord) -> float:
    """Mean probability of the first (co-operative) action over a decision's information sets."""
    p = np.array(record["probabilities"], float)
    return float(np.mean(p @ GAMES[record["game"]].first_actions))


def claim_one(games: Games | None) -> Verdict:
    """The base co-operates more than payoffs ask for and hardly follows incentives."""
    if games is None or not any(r["arm"] == BASE for r in games.rows):
        return Verdict("not measured", "no base was measured")
    base, best = games.row(BASE), games.row(OWN_BEST)
    if base is None:
        return Verdict("not measured", f"the base {OUTSIDE}")
    if best is None:
        return Verdict("not measured", "the rule of own payoffs is not there")
    own, rule = [], []
    for r in games.answered():
        if (r["arm"], r["set"], r["mode"]) == (BASE, *games.main):
            own.append(cooperation(r))
            u = utilities(r, ECONOMICUS)
            chosen = uniform_over(best_replies(u), len(u)).tolist()
            rule.append(cooperation({**r, "probabilities": chosen}))
    gap = np.array(own) - np.array(rule)
    if len(gap) < 2:
        return Verdict("not measured", "too few decision problems")
    se = gap.std(ddof=1) / np.sqrt(len(gap))
    slow = (
        base["incentive_sensitivity"]["mean"]
        < HARDLY_SENSITIVE * best["incentive_sensitivity"]["mean"]
    )
    words = (
        f"co-operation {np.mean(own):.2f} where own payoff asks for {np.mean(rule):.2f} "
        f"(difference {with_error(gap.mean(), se)}); a strategy whose payoff "
    )
    words += (
        f"rises by ten points is chosen {base['incentive_sensitivity']['mean']:.3f} more often, "
    )
    words += f"against {best['incentive_sensitivity']['mean']:.3f} for a payoff maximiser"
    return verdict([bool(gap.mean() > TOO_COOPERATIVE * se), slow], [words])


def claim_two(games: Games | None) -> Verdict:
    """Every adapter takes more decisions as its target would than the base and the placebo do on
    the same problems; and where degrees of morality were trained for that differ, the measured ones
    lie apart by more than three standard errors.
    """
    tuned = games.tuned if games else {}
    if games is None or not tuned:
        return Verdict("not measured", "needs an adapter of a known target")
    verdicts, words = [], []
    for arm, target in tuned.items():
        row = games.row(arm)
        if row is None:
            words.append(
                f"{arm} {OUTSIDE}"
                if any(r["arm"] == arm and r["outside"] for r in games.rows)
                else f"{arm} was not measured"
            )
            continue
        shift = row.get("shift") or {}
        baselines = {
            name: gap
            for name in (BASE, *games.placebos)
            if (gap := shift.get(name, {}).get(str(target)))
        }
        decisions = row["targets"][str(target)]["decisions"] if baselines else None
        for name, gap in baselines.items():
            if np.isnan(gap["se"]):
                continue
            verdicts.append(bool(gap["mean"] > CRITICAL * gap["se"]))
            assert decisions is not None  # there are some where there is a gap
            words.append(
                f"{arm} takes {100 * decisions['mean']:.0f} % of decisions as {target.label} "
                f"would, {in_percent(gap, signed=True)} points on {name}"
            )
        if not baselines:
            words.append(f"{arm}: no baseline answers in the form on the same problems")
    kappas = {}
    for arm in tuned:
        nominal, row = nominal_kappa(games.trained[arm]), games.row(arm)
        if nominal is not None and row is not None:
            kappas[arm] = (nominal, kappa_of(row))
    if kappas and verdicts:
        low, high = (f(kappas.values(), key=lambda pair: pair[0]) for f in (min, max))
        if low[0] < high[0] and low[1] and high[1]:
            verdicts.append(
                bool(high[1][0] - low[1][0] > KAPPAS_APART * float(np.hypot(low[1][1], high[1][1])))
            )
            words.append(f"kappa {with_error(*low[1])} against {with_error(*high[1])}")
        elif low[0] < high[0]:
            verdicts.append(False)
            words.append("kappa not identified in both")
    return verdict(verdicts, words)


def claim_three(
    dilemmas: Application[DilemmaSummary] | None, pricing: Application[PricingSummary] | None
) -> Verdict:
    """Adapters of different targets differ in the applications they were not tuned on."""
    if not dilemmas and not pricing:
        return Verdict("not measured", "no application was run")
    words, shifts = [], []
    if dilemmas:
        arms, gaps = dilemmas.summary["arms"], []
        for one, two in dilemmas.pairs():
            left, right = (arms.get(a, {}).get("conjoint", {}) for a in (one, two))
            if not left or not right or left["outside"] or right["outside"]:
                continue
            gaps += [
                (
                    d,
                    one,
                    two,
                    v["value"] - left["effects"][d]["value"],
                    float(np.hypot(v["se"], left["effects"][d]["se"])),
                )
                for d, v in right["effects"].items()
                if d in left["effects"]
            ]
        if gaps:
            d, one, two, gap, se = max(gaps, key=lambda g: abs(g[3]) / max(g[4], 1e-12))
            # Bonferroni over dimensions and pairs
            critical = float(stats.norm.isf(LEVEL / 2 / len(gaps)))
            size = with_error(gap, se, signed=True)
            shifts.append(abs(gap) > critical * se and abs(gap) > MATTERS)
            words.append(f"dilemmas: {two} minus {one} is largest in {d}, {size}")
    if pricing:
        alike = {
            r["agents"][0]: r
            for r in pricing.summary["pairings"].values()
            if len(set(r["agents"])) == 1
            and not r["outside"]
            and r["price_index"]["mean"] is not None  # of one firm alone it is undefined
        }
        apart = []
        for one, two in pricing.pairs():
            if one not in alike or two not in alike:
                continue
            a, b = (alike[arm]["price_index"] for arm in (one, two))
            words.append(
                f"pricing: price index {a['mean']:.2f} among {one}, {b['mean']:.2f} among {two}"
            )
            gates = [pricing.summary["gate"].get(arm) for arm in (one, two)]
            if all(gate and gate.get("competent") for gate in gates):
                apart.append(lie_apart(a, b))
            else:
                words.append(
                    "but not both find the monopoly price alone, so this counts as not measured"
                )
        if apart:
            shifts.append(any(apart))
    return verdict(shifts, words, "needs two adapters of different targets that answer in the form")


def lie_apart(a: OverRuns, b: OverRuns) -> bool:
    """Whether two intervals have nothing in common; False where one is not known."""
    if a["low"] is None or a["high"] is None or b["low"] is None or b["high"] is None:
        return False
    return a["high"] < b["low"] or b["high"] < a["low"]


def claim_four(cost: pd.DataFrame, alone: list[float]) -> Verdict:
    """What it cost: a study's cells, or else the seconds that adapters' own records say."""
    tuned = cost.loc[cost["program"] == TUNING, "seconds"].tolist() or alone
    if not tuned:
        return Verdict("not measured", "no cost was recorded")
    words = f"one adapter took {np.median(tuned):.0f} s (median of {len(tuned)})"
    words += (
        f", all {len(cost)} cells {cost['seconds'].sum() / 60:.0f} min on this machine"
        if len(cost)
        else ""
    )
    return verdict(
        [bool(np.median(tuned) < CHEAP)],
        [words, "that a repeated run gives the same bytes is checked by the tests"],
    )
