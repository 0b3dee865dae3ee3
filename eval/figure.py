"""One picture of a measurement: what each arm chooses, and the degree of morality that its choices reveal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from econmoral.games import GAMES
from econmoral.records import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito, safe for the colour-blind


def written(name: str) -> str:
    """A name as text in a figure: dollar signs start no formula, a leading underscore hides no legend entry."""
    shown = plain(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def try_to_draw(work: Callable[[], None], path: Path, console: Console) -> None:
    """Draw a figure; one that cannot be drawn (a font, a name, a full disk) is said and costs nothing else."""
    try:
        work()
    except Exception as error:
        why = str(error).splitlines()[0][:120] if str(error) else ""
        console.print(f"{path.name}: not drawn ({type(error).__name__}: {why})")


def pyplot() -> Any:
    """matplotlib.pyplot without a window; loaded late, for most of a command's help and complaints need no figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw(records: list[dict[str, Any]], rows: list[dict[str, Any]], targets: dict[str, float], path: Path) -> None:
    """Left: mean probability of every whole strategy by game and arm.  Right: kappa with 95 % interval, and the targets.

    records, rows : of one set and mode.  targets : name -> kappa, drawn as vertical lines.  Writes a PNG atomically.
    """
    plt = pyplot()
    arms = [row["arm"] for row in rows]
    colour = {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
    games = [g for g in GAMES if any(r["game"] == g for r in records)]
    sizes = [len(GAMES[g].strategies) for g in games]
    figure = plt.figure(figsize=(11, 1.8 + 0.36 * sum(sizes)), layout="constrained")
    grid = figure.add_gridspec(len(games), 2, height_ratios=[n + 1 for n in sizes], width_ratios=(1.5, 1))
    for g, game in enumerate(games):
        axis = figure.add_subplot(grid[g, 0])
        names = next(r for r in records if r["game"] == game)["strategies"]
        for i, arm in enumerate(arms):
            p = np.array([r["probabilities"] for r in records if r["arm"] == arm and r["game"] == game])
            if len(p):
                y = np.arange(len(names)) + (i - (len(arms) - 1) / 2) * 0.7 / len(arms)
                se = p.std(0, ddof=1) / np.sqrt(len(p)) if len(p) > 1 else np.zeros(len(names))
                axis.errorbar(p.mean(0), y, xerr=1.96 * se, fmt="o", ms=4, lw=1, color=colour[arm], label=written(arm))
        axis.set(title=GAMES[game].title, yticks=range(len(names)), yticklabels=names, xlim=(-0.02, 1.0))
        axis.invert_yaxis()
        axis.grid(axis="x", color="#dddddd")
        if g == len(games) - 1:
            axis.set_xlabel("mean choice probability (bars: 95 % interval over decisions)")
    axis = figure.add_subplot(grid[:, 1])
    for i, row in enumerate(rows):
        found = row["homo_moralis"].get("estimates")
        if found:
            k = found["kappa"]
            axis.errorbar(k["value"], i, xerr=1.96 * k["se"], fmt="o", ms=7, lw=2, capsize=3, color=colour[row["arm"]])
        elif bounds := (row["homo_moralis"].get("bounds") or {}).get("kappa"):  # deterministic: only bounded
            axis.plot(np.clip(bounds, -1, 2), (i, i), "|-", ms=12, lw=4, color=colour[row["arm"]])
        else:
            axis.text(0, i, " not identified", va="center", color=colour[row["arm"]])
    for name, kappa in targets.items():
        axis.axvline(kappa, color="black", ls="--", lw=1)
        axis.annotate(f"{written(name)}\nkappa = {kappa:g}", (kappa, -0.75), ha="center", va="bottom", annotation_clip=False, fontsize=9)
    axis.set(
        yticks=range(len(arms)),
        yticklabels=[written(a) for a in arms],
        ylim=(len(arms) - 0.4, -0.7),
        xlabel="degree of morality $\\hat\\kappa$ (95 % interval)",
    )
    axis.set_title("revealed morality", pad=42)
    axis.grid(axis="x", color="#dddddd")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG atomically and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    figure.savefig(aside, dpi=130, format="png", metadata={"Software": "econmoral"})
    pyplot().close(figure)
    aside.replace(path)
