"""Pictures of the moral dilemmas: whom a condition spares, and what it rates as moral and buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from econmoral.economics.human import moral_machine
from econmoral.instruments.dilemmas import DIMENSIONS

from .conjoint import ConjointSummary
from .figure import COLOURS, INTERVAL, save, written
from .ratings import RatingRecord


def draw(
    effects: Mapping[str, ConjointSummary],
    ratings: Mapping[str, Sequence[RatingRecord]],
    path: Path,
) -> None:
    """Left: AMCEs of every condition beside humans.  Right: rated morality and stated purchase by
    people saved.

    effects : of every condition that was asked, those outside the form included, which are left
    out.  ratings : of the conditions that answer in the form.
    """
    arms = list(dict.fromkeys([*effects, *ratings]))
    colour = {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
    panels = bool(effects) + bool(ratings)
    figure, axes = plt.subplots(
        1, panels, figsize=(6.4 * panels, 6), layout="constrained", squeeze=False
    )
    if effects:
        _draw_effects(axes[0, 0], effects, colour)
    if ratings:
        _draw_ratings(axes[0, -1], ratings, colour)
    save(figure, path)


def _draw_effects(
    axis: Axes, effects: Mapping[str, ConjointSummary], colour: Mapping[str, str]
) -> None:
    human, places = moral_machine(), range(len(DIMENSIONS))
    axis.plot(
        [human[d]["world"] for d in DIMENSIONS],
        places,
        "D",
        color="black",
        mfc="white",
        ms=7,
        label="humans (Moral Machine)",
    )
    shown = {arm: found["effects"] for arm, found in effects.items() if found["effects"]}
    for i, (arm, found) in enumerate(shown.items()):
        shift = (i - (len(shown) - 1) / 2) * 0.6 / len(shown)
        values = [found[d] for d in DIMENSIONS if d in found]
        axis.errorbar(
            [v["value"] for v in values],
            np.array([k for k, d in enumerate(DIMENSIONS) if d in found]) + shift,
            xerr=[INTERVAL * v["se"] for v in values],
            fmt="o",
            ms=5,
            lw=1.2,
            color=colour[arm],
            label=written(arm),
        )
    axis.axvline(0, color="black", lw=0.8)
    axis.set(
        yticks=places,
        yticklabels=[f"{d} ({side})" for d, side in DIMENSIONS.items()],
        xlabel="AMCE on being spared (95 % interval)",
    )
    axis.invert_yaxis()
    axis.grid(axis="x", color="#dddddd")
    axis.set_title("whom the agent spares")
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=2)


def _draw_ratings(
    axis: Axes, ratings: Mapping[str, Sequence[RatingRecord]], colour: Mapping[str, str]
) -> None:
    for arm, records in ratings.items():
        for question, style in (("moral", "-"), ("buy", "--")):
            by_saved: dict[int, list[float]] = {}
            for r in records:
                if r["question"] == question and r["mean"] is not None:
                    by_saved.setdefault(r["saved"], []).append(r["mean"])
            saved = sorted(by_saved)
            means = [np.mean(by_saved[n]) for n in saved]
            label = f"{written(arm)}: {question}"
            axis.plot(saved, means, style, marker="o", ms=4, color=colour[arm], label=label)
    axis.set(
        xscale="log",
        ylim=(0, 100),
        xlabel="people saved by the sacrifice",
        ylabel="mean rating (0-100), over scenes",
    )
    axis.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    axis.minorticks_off()
    axis.grid(color="#dddddd")
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    axis.set_title("the social dilemma: moral, but would one buy it?")
