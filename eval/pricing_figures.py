"""Pictures of price competition: paths, a matrix of pairings, the answer to a forced price."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .figure import COLOURS, save, written
from .markets import Meeting, make_market
from .outcomes import PricingSummary, answering


def panels(n: int) -> tuple[Figure, np.ndarray]:
    """A figure of n panels with common axes, three in a row; what is left over stays empty."""
    rows, columns = -(-n // 3), min(3, n)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(4.3 * columns, 2.8 * rows),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    return figure, axes


def draw_paths(meetings: Sequence[Meeting], prices: np.ndarray, path: Path) -> None:
    """Mean price of every pairing by period, its spread over markets, and the Nash and monopoly
    lines."""
    names = list(dict.fromkeys(s.name for s in meetings))
    figure, axes = panels(len(names))
    reference = make_market(meetings[0].market.n, 1.0)
    for axis, name in zip(axes.flat, names, strict=False):
        some = np.array(
            [p / s.market.currency for s, p in zip(meetings, prices, strict=True) if s.name == name]
        )
        agents = next(s.agents for s in meetings if s.name == name)
        for firm, agent in enumerate(agents):
            level = some[:, :, firm]
            label = written(agent) + (" (second firm)" if firm and agent == agents[0] else "")
            axis.plot(level.mean(0), lw=1.2, color=COLOURS[1 + firm % 7], label=label)
            axis.fill_between(
                range(level.shape[1]),
                level.min(0),
                level.max(0),
                color=COLOURS[1 + firm % 7],
                alpha=0.15,
                lw=0,
            )
        nash, monopoly = float(reference.nash()[0]), float(reference.monopoly()[0])
        rivals = reference.n > 1  # without any the two coincide
        for value, text in (*(((nash, "Nash"),) if rivals else ()), (monopoly, "monopoly")):
            axis.axhline(value, color="black", ls="--", lw=0.8)
            axis.annotate(text, (0, value), xytext=(2, 2), textcoords="offset points", fontsize=7)
        axis.set_title(written(name), fontsize=9)
        axis.legend(fontsize=7, loc="lower right")
    figure.supxlabel("period")
    figure.supylabel("price (mean over markets; band: lowest to highest)")
    save(figure, path)


def draw_matrix(summary: PricingSummary, path: Path) -> None:
    """Price index of every pairing of a duopoly, and the profit gain of the row's firm against the
    column's."""
    agents = list(dict.fromkeys(a for row in summary["pairings"].values() for a in row["agents"]))
    index, gain = (
        np.full((len(agents), len(agents)), np.nan),
        np.full((len(agents), len(agents)), np.nan),
    )
    for row in answering(summary).values():
        i, j = agents.index(row["agents"][0]), agents.index(row["agents"][-1])
        index[i, j] = index[j, i] = row["price_index"]["mean"]
        gain[i, j], gain[j, i] = (
            row["firms"][0]["profit_gain"]["mean"],
            row["firms"][-1]["profit_gain"]["mean"],
        )
    figure, axes = plt.subplots(
        1, 2, figsize=(4 + 2.2 * len(agents), 2 + 0.8 * len(agents)), layout="constrained"
    )
    for axis, values, title in (
        (axes[0], index, "price index (0 Nash, 1 monopoly)"),
        (axes[1], gain, "profit gain of the row's firm"),
    ):
        image = axis.imshow(values, cmap="PuOr", vmin=-1, vmax=1)
        for i, j in itertools.product(range(len(agents)), repeat=2):
            if np.isfinite(values[i, j]):
                axis.text(
                    j,
                    i,
                    f"{values[i, j]:.2f}",
                    ha="center",
                    va="center",
                    color="white" if abs(values[i, j]) > 0.7 else "black",
                )
        axis.set(
            xticks=range(len(agents)),
            yticks=range(len(agents)),
            yticklabels=[*map(written, agents)],
            title=title,
        )
        axis.set_xticklabels([*map(written, agents)], rotation=30, ha="right")
    figure.colorbar(image, ax=axes, shrink=0.8)
    save(figure, path)


def draw_impulse(
    meetings: Sequence[Meeting], without: np.ndarray, shocked: np.ndarray, at: int, path: Path
) -> None:
    """Prices after the first firm was forced down to Nash for one period, minus those of the same
    market without it."""
    names = list(dict.fromkeys(s.name for s in meetings))
    figure, axes = panels(len(names))
    for axis, name in zip(axes.flat, names, strict=False):
        gaps = np.array(
            [
                (b - a)[at - 1 :] / s.market.currency
                for s, a, b in zip(meetings, without, shocked, strict=True)
                if s.name == name
            ]
        )
        agents = next(s.agents for s in meetings if s.name == name)
        for firm, agent in enumerate(agents):
            label = written(agent) + " (forced)" * (firm == 0)
            axis.plot(
                range(-1, gaps.shape[1] - 1),
                gaps[:, :, firm].mean(0),
                marker="o",
                ms=3,
                lw=1.2,
                color=COLOURS[1 + firm % 7],
                label=label,
            )
        axis.axhline(0, color="black", lw=0.8)
        axis.set_title(written(name), fontsize=9)
        axis.legend(fontsize=7)
    figure.supxlabel("periods since the forced price")
    figure.supylabel("price minus the price without it")
    save(figure, path)
