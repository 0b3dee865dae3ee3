"""Pictures of games and allocations: what each condition chooses, and the preference that it
reveals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from econmoral.economics.games import GAMES
from econmoral.files.records import plain
from econmoral.target import Target, told_apart

from .estimate import Structural, Value
from .measure import GameRecord
from .table import GameSummary
from .validity import OUTSIDE

# Okabe and Ito, safe for the colour-blind
COLOURS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INTERVAL = 1.96  # standard errors on either side of a mean in a 95 % interval


# families whose alpha and beta are weights on the other's payoff (own payoff alone: both 0)
WEIGHTED = ("bruhin_fehr_schunk", "homo_economicus")


def written(name: str) -> str:
    """A name as text in a figure: dollar signs start no formula, a leading underscore hides no
    legend entry."""
    shown = plain(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def draw(
    records: Sequence[GameRecord],
    rows: Sequence[GameSummary],
    targets: Mapping[str, float],
    path: Path,
) -> None:
    """Left: mean probability of every whole strategy by game and condition.  Right: kappa with 95 %
    interval, and the targets.

    records, rows : of one set and mode.  targets : name -> kappa, drawn as vertical lines.  Writes
    a PNG atomically.
    """
    arms = [row["arm"] for row in rows]
    colour = {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
    games = [g for g in GAMES if any(r["game"] == g for r in records)]
    sizes = [len(GAMES[g].strategies) for g in games]
    figure = plt.figure(figsize=(11, 1.8 + 0.36 * sum(sizes)), layout="constrained")
    grid = figure.add_gridspec(
        len(games), 2, height_ratios=[n + 1 for n in sizes], width_ratios=(1.5, 1)
    )
    for g, game in enumerate(games):
        axis = figure.add_subplot(grid[g, 0])
        names = next(r for r in records if r["game"] == game)["strategies"]
        for i, arm in enumerate(arms):
            p = np.array(
                [r["probabilities"] for r in records if r["arm"] == arm and r["game"] == game]
            )
            if len(p):
                y = np.arange(len(names)) + (i - (len(arms) - 1) / 2) * 0.7 / len(arms)
                se = p.std(0, ddof=1) / np.sqrt(len(p)) if len(p) > 1 else np.zeros(len(names))
                axis.errorbar(
                    p.mean(0),
                    y,
                    xerr=INTERVAL * se,
                    fmt="o",
                    ms=4,
                    lw=1,
                    color=colour[arm],
                    label=written(arm),
                )
        axis.set(
            title=GAMES[game].title, yticks=range(len(names)), yticklabels=names, xlim=(-0.02, 1.0)
        )
        axis.invert_yaxis()
        axis.grid(axis="x", color="#dddddd")
        if g == len(games) - 1:
            axis.set_xlabel("mean choice probability (bars: 95 % interval over decisions)")
    axis = figure.add_subplot(grid[:, 1])
    for i, row in enumerate(rows):
        found = row["fits"]["homo_moralis"].get("estimates")
        if found:
            k = found["kappa"]
            axis.errorbar(
                k["value"],
                i,
                xerr=INTERVAL * k["se"],
                fmt="o",
                ms=7,
                lw=2,
                capsize=3,
                color=colour[row["arm"]],
            )
        # deterministic choices only bound it
        elif bounds := (row["fits"]["homo_moralis"].get("bounds") or {}).get("kappa"):
            axis.plot(np.clip(bounds, -1, 2), (i, i), "|-", ms=12, lw=4, color=colour[row["arm"]])
        else:
            axis.text(0, i, " not identified", va="center", color=colour[row["arm"]])
    for name, kappa in targets.items():
        axis.axvline(kappa, color="black", ls="--", lw=1)
        axis.annotate(
            f"{written(name)}\nkappa = {kappa:g}",
            (kappa, -0.75),
            ha="center",
            va="bottom",
            annotation_clip=False,
            fontsize=9,
        )
    axis.set(
        yticks=range(len(arms)),
        yticklabels=[written(a) for a in arms],
        ylim=(len(arms) - 0.4, -0.7),
        xlabel="degree of morality $\\hat\\kappa$ (95 % interval)",
    )
    axis.set_title("revealed morality", pad=42)
    axis.grid(axis="x", color="#dddddd")
    save(figure, path)


def draw_allocations(
    rows: Sequence[Mapping[str, Any]], targets: Sequence[Target], path: Path
) -> None:
    """Left: share of choices as each target by condition.  Right: the estimated weights on the
    other's payoff, and the targets'.

    rows : of one battery of allocations and one mode.  Writes a PNG atomically.
    """
    drawn = [r for r in rows if weights_of(r)]
    wide = 2 if drawn else 1
    figure = plt.figure(figsize=(5.5 * wide, 1.6 + 0.6 * max(4, len(rows))), layout="constrained")
    axis = figure.add_subplot(1, wide, 1)
    draw_shares(axis, rows, "accuracy")
    axis.set_title("choices as each target", fontsize=10)
    if drawn:
        draw_weights(figure.add_subplot(1, wide, 2), drawn, targets)
    save(figure, path)


def weights_of(row: Mapping[str, Any]) -> dict[str, Value]:
    """Estimated weights on the other's payoff, behind (alpha) and ahead (beta), with lambda; empty
    unless both are there.
    """
    fit: Structural = row.get("fits", {}).get("bruhin_fehr_schunk", {})
    found = fit.get("estimates", {})
    return found if {"alpha", "beta"} <= set(found) else {}


def draw_weights(axis: Any, drawn: Sequence[Mapping[str, Any]], targets: Sequence[Target]) -> None:
    """Estimated weights on the other's payoff with 95 % intervals, and those of the targets that
    have them.

    drawn : summaries that have ``weights_of``.
    """
    for i, r in enumerate(drawn):
        a, b = (weights_of(r)[k] for k in ("alpha", "beta"))
        axis.errorbar(
            a["value"],
            b["value"],
            xerr=INTERVAL * a["se"],
            yerr=INTERVAL * b["se"],
            fmt="osD^vP*"[i % 7],
            capsize=2,
            color="#444444",  # beside it colours stand for targets, not for agents
            label=written(r["arm"]),
        )
    for target in targets:
        if target.family in WEIGHTED:
            alpha, beta = (target.theta.get(k, 0.0) for k in ("alpha", "beta"))
            axis.plot(alpha, beta, "x", color="black", ms=9)
            axis.annotate(f" {written(target.label)}", (alpha, beta), fontsize=8, va="bottom")
    axis.set(
        xlabel="weight on the other when behind",
        ylabel="weight on the other when ahead",
        xlim=(-1.2, 1.2),
        ylim=(-1.2, 1.2),
    )
    axis.axhline(0, color="#dddddd", lw=1)
    axis.axvline(0, color="#dddddd", lw=1)
    axis.set_title("estimated preference (95 % intervals; crosses: targets)", fontsize=10)
    axis.legend(fontsize=8)


def draw_shares(axis: Any, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    """One line of dots a condition, a colour for each target.

    what : the share, by its name in a row's ``targets``.
    """
    labels = told_apart(
        {key: t["label"] for r in rows for key, t in (r.get("targets") or {}).items()}
    )
    for i, r in enumerate(rows):
        if r["outside"]:
            axis.text(0.02, i, OUTSIDE, va="center", color=COLOURS[0], fontsize=9)
            continue
        for j, key in enumerate(labels):
            value = r["targets"][key][what]
            if value is None:
                continue
            place = i + 0.3 * (j - (len(labels) - 1) / 2) / max(1, len(labels) - 1)
            axis.errorbar(
                value["mean"],
                place,
                xerr=INTERVAL * (value["se"] or 0),
                fmt="o",
                color=COLOURS[1 + j % 7],
                label=labels[key],
            )
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=False))
    axis.legend(
        handles.values(),
        handles.keys(),
        fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.18),
        ncols=min(4, len(labels)),
        title="as the optimum of",
        title_fontsize=8,
    )
    axis.set(
        yticks=range(len(rows)),
        yticklabels=[written(r["arm"]) for r in rows],
        xlim=(0, 1.02),
        xlabel="share (95 % interval over problems)",
    )
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="x", color="#dddddd")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG atomically and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    figure.savefig(aside, dpi=130, format="png", metadata={"Software": "econmoral"})
    plt.close(figure)
    aside.replace(path)
