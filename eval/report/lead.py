"""The first screen: the question answered in a sentence and a picture."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from econmoral.target import Target

from ..dilemmas import DilemmaSummary
from ..estimate import Mean
from ..figure import COLOURS, INTERVAL, written
from ..menus import MenuSummary
from ..outcomes import PricingSummary
from .claims import Verdict
from .measured import BASE, Games, Record, target_of

MOST = 3  # adapters or pairings that the sentence names
ANSWERS = {"supported": "Yes", "not supported": "Not shown", "not measured": "Not measured"}
GREY = COLOURS[0]
LABEL = 26  # characters of a condition's name on a line of the picture


@dataclass(frozen=True)
class Point:
    """A share of decisions taken as a target would.  about : what is compared.

    tuned : whether training toward it is what is asked.
    """

    about: str
    condition: str
    mean: float
    se: float
    tuned: bool


def of_games(games: Games) -> list[Point]:
    """Base, placebos and adapter of every target that an adapter was trained toward; without
    adapters, every condition and target.
    """
    points = []
    tuned = games.tuned
    for target in dict.fromkeys(tuned.values()) if tuned else games.targets:
        own = [arm for arm, t in tuned.items() if t == target]
        conditions = (
            [BASE, *games.placebos, *own]
            if tuned
            else list(dict.fromkeys(r["arm"] for r in games.inside()))
        )
        for arm in conditions:
            row = games.row(arm)
            found = row["targets"].get(str(target)) if row else None
            share = found["decisions"] if found else None
            if share:
                points.append(Point(target.label, arm, share["mean"], share["se"], arm in own))
    return points


def place(row: MenuSummary) -> tuple[str, str, str]:
    """Where a row was measured."""
    return row["battery"], row["topic"], row["mode"]


def accuracy(row: MenuSummary, target: Target) -> Mean | None:
    """Share of problems whose most probable option is the target's; None where not measured."""
    found = (row.get("targets") or {}).get(str(target))
    return found["accuracy"] if found else None


def of_menus(rows: list[MenuSummary], trained: dict[str, Record]) -> list[Point]:
    """The same for one-page decisions: of every target,
    the battery with most problems in which an adapter of it was measured.
    """
    tuned = {arm: target for arm, record in trained.items() if (target := target_of(record))}
    placebos = [arm for arm, record in trained.items() if record.get("shuffled")]
    points = []
    for target in dict.fromkeys(tuned.values()):
        own = [arm for arm, t in tuned.items() if t == target]
        known = [(r, share) for r in rows if not r["outside"] and (share := accuracy(r, target))]
        measured = [(share["n"], place(r)) for r, share in known if r["arm"] in own]
        if not measured:
            continue
        _, where = max(measured, key=lambda found: found[0])
        for arm in (BASE, *placebos, *own):
            for r, share in known:
                if r["arm"] == arm and place(r) == where:
                    about = f"{target.label}, {r['battery']}"
                    points.append(Point(about, arm, share["mean"], share["se"], arm in own))
    return points


def sentence(points: list[Point], judged: Verdict | None) -> str:
    """``Yes: x takes 90 % of decisions as moralis 0.5 would (base 35 %,
    placebo 40 %).`` Without adapters, no yes or no.
    """
    parts = []
    for point in [p for p in points if p.tuned][:MOST]:
        others = [p for p in points if p.about == point.about and not p.tuned]
        beside = ", ".join(f"{p.condition} {100 * p.mean:.0f} %" for p in others)
        parts.append(
            f"{point.condition} takes {100 * point.mean:.0f} % of decisions as {point.about} would"
            + (f" ({beside})" if beside else "")
        )
    if not parts:
        for point in points[:MOST]:
            parts.append(
                f"{point.condition} takes {100 * point.mean:.0f} % of decisions as {point.about} "
                "would"
            )
        return "; ".join(parts) + "." if parts else ""
    answer = ANSWERS[judged.verdict] + ": " if judged else ""
    return answer + "; ".join(parts) + "."


def prices(summary: PricingSummary) -> str:
    """Where prices stand between Nash and joint monopoly."""
    shown = [
        (n, r["price_index"])
        for n, r in summary["pairings"].items()
        if not r["outside"] and r.get("price_index")
    ][:MOST]
    parts = [f"{i['mean']:.2f} among {name}" for name, i in shown if i.get("mean") is not None]
    return f"Price index (0: Nash, 1: joint monopoly): {'; '.join(parts)}." if parts else ""


def spared(summary: DilemmaSummary) -> str:
    """The largest effect on being spared of every condition."""
    parts = []
    for arm, found in list(summary["arms"].items())[:MOST]:
        effects = (
            {} if found.get("conjoint", {}).get("outside", True) else found["conjoint"]["effects"]
        )
        if effects:
            name = max(effects, key=lambda d: abs(effects[d]["value"]))
            parts.append(f"{arm}: {name}, {effects[name]['value']:+.2f}")
    return (
        f"What decides most who is spared (change in probability): {'; '.join(parts)}."
        if parts
        else ""
    )


def drawing(points: list[Point]) -> Figure:
    """A line per target and condition: share and 95 % interval."""
    figure, axis = plt.subplots(
        figsize=(6.2, 0.9 + 0.4 * len(points) + 0.25 * len({p.about for p in points})),
        layout="constrained",
    )
    y, ticks, labels = 0.0, [], []
    for about in dict.fromkeys(p.about for p in points):
        axis.text(
            -2, y - 0.75, f"as {written(about)} would", fontsize=9, weight="bold", va="center"
        )
        for p in (p for p in points if p.about == about):
            colour = COLOURS[1] if p.tuned else GREY
            axis.errorbar(
                100 * p.mean,
                y,
                xerr=100 * INTERVAL * (p.se if p.se == p.se else 0),
                fmt="o",
                ms=8,
                lw=2,
                capsize=3,
                color=colour,
            )
            axis.annotate(
                f"{100 * p.mean:.0f}",
                (100 * p.mean, y),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=colour,
            )
            ticks.append(y)
            labels.append("\n".join(textwrap.wrap(written(p.condition), LABEL)))
            y += 1
        y += 0.8
    axis.set(
        yticks=ticks, xlim=(-4, 106), ylim=(y - 1.1, -1.2), xlabel="decisions, % (95 % interval)"
    )
    axis.set_yticklabels(labels, fontsize=9)
    axis.grid(axis="x", color="#dddddd")
    return figure
