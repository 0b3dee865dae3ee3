"""The designs of a study that vary one thing over many adapters: a class each,
from measured games to figure, words and table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

from econmoral.economics.games import GAMES
from econmoral.files.shown import NOT_IDENTIFIED, in_percent, with_error
from econmoral.target import Target

from ..estimate import mean_of, shown
from ..figure import COLOURS, INTERVAL, written
from ..measure import CHANGES, TITLES, GameRecord
from ..table import by_decision
from .blocks import Report, filled
from .measured import BASE, Games, kappa_of, nominal_kappa
from .sections import share_of

ENOUGH = 80  # per cent of decisions from which a dose counts as enough


@dataclass(frozen=True)
class Design(ABC):
    """A section about a folder of eval.games that holds the adapters of one design."""

    games: Games
    title: ClassVar[str]

    @abstractmethod
    def add(self, report: Report) -> None:
        """Write the section; nothing where the folder holds nothing of it."""

    @property
    def target(self) -> Target | None:
        """What the adapters were trained toward: the first one's target."""
        return next(iter(self.games.tuned.values()), None)


class Dose(Design):
    """Agreement with the adapters' target by number of conversations, every seed a point,
    and a saturating curve through all.
    """

    title = "How many conversations it takes"

    @property
    def sizes(self) -> dict[str, int]:
        """Adapter -> conversations it was trained on."""
        known = {arm: self.games.trained[arm].get("conversations") for arm in self.games.tuned}
        return {arm: int(n) for arm, n in known.items() if isinstance(n, int)}

    def points(self) -> pd.DataFrame:
        """A row per set and adapter of the target, and the base with 0 conversations.

        Agreement in per cent.
        """
        drawn, sizes = [], self.sizes
        for r in self.games.inside():
            found = r["targets"].get(str(self.target))
            same = r["arm"] in sizes and self.games.target(r["arm"]) == self.target
            if found and found["decisions"] and (same or r["arm"] == BASE):
                record, share = self.games.trained.get(r["arm"], {}), found["decisions"]
                drawn.append(
                    (
                        r["set"],
                        sizes.get(r["arm"], 0),
                        record.get("seed"),
                        100 * share["mean"],
                        100 * share["se"],
                        record.get("seconds"),
                    )
                )
        points = pd.DataFrame(
            drawn, columns=["set", "conversations", "seed", "agreement", "se", "seconds"]
        )
        return points.astype({"seconds": float, "agreement": float, "se": float})

    def add(self, report: Report) -> None:
        """The curve, what it says, and the mean over seeds by size."""
        report.heading(self.title)
        if words := self.games.left_out():
            report.text(words)
        target, points = self.target, self.points()
        if target is None or not (points["conversations"] > 0).any():
            report.text("No adapter of a known target and size answers in the form.")
            return
        figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
        lines, table = [], {}
        for i, (held, some) in enumerate(points.groupby("set", sort=False)):
            title = TITLES.get(held, held)
            lines.append(
                f"{title.capitalize()}: {draw_curve(axis, some, title, i)}; "
                f"{smallest_enough(some)}."
            )
            table[f"{title}, decisions %"] = by_size(some)
        axis.set(
            xlabel="conversations trained on (0: base)",
            ylabel=f"decisions taken as {target.label} would, %",
            ylim=(0, 102),
        )
        axis.grid(color="#dddddd")
        axis.legend()
        alt = (
            f"Agreement with {target.label} by number of conversations, with 95 % intervals "
            "and a saturating curve. "
        ) + " ".join(lines)
        report.picture("dose", figure, alt)
        seeds = points.loc[points["conversations"] > 0, "seed"].nunique()
        many = (
            f"{seeds} seeds of data and training"
            if seeds > 1
            else "One seed: single points move by several percentage points from seed to seed"
        )
        report.text(" ".join(lines) + f" {many}.")
        cost = points.groupby("conversations")["seconds"].median()
        table["tuning seconds"] = {
            size: "" if np.isnan(s) else f"{s:.0f}" for size, s in cost.items()
        }
        frame = pd.DataFrame(table).rename_axis("conversations").reset_index().fillna("")
        caption = (
            f"Decisions taken as {target.label} would: mean over the seeds (smallest to largest), "
            "or ± standard error where there is one run."
        )
        report.table("dose", frame, caption)


def draw_curve(axis: Axes, some: pd.DataFrame, title: str, i: int) -> str:
    """Points of one set and y0 + (top - y0)(1 - exp(-n / scale)) through them, y0 the base.

    What the curve says.
    """
    n, y = some["conversations"].to_numpy(float), some["agreement"].to_numpy()
    start = float(y[n == 0].mean()) if (n == 0).any() else 0.0
    colour, aside = COLOURS[1 + i % 7], 0.01 * n.max() * (2 * i - 1)  # all sets have the same sizes
    axis.errorbar(
        n + aside,
        y,
        yerr=INTERVAL * some["se"],
        fmt="o",
        ms=5,
        lw=0.8,
        alpha=0.75,
        color=colour,
        label=written(title),
    )

    def curve(x: np.ndarray, top: float, scale: float) -> np.ndarray:
        return start + (top - start) * (1 - np.exp(-x / scale))

    try:
        (top, scale), _ = curve_fit(curve, n, y, p0=(y.max(), 100), bounds=([0, 1], [100.001, 1e5]))
    except (RuntimeError, ValueError, TypeError):
        return "no saturating curve fits"
    x = np.linspace(0, n.max(), 200)
    axis.plot(x, curve(x, top, scale), color=colour, lw=1.4)
    smallest = int(n[n > 0].min())
    after = (
        f"after {scale:.0f} conversations"
        if scale >= smallest
        else f"before the smallest size, {smallest}"
    )
    return f"saturates at {top:.0f} %, two thirds of the way {after}"


def smallest_enough(some: pd.DataFrame) -> str:
    """The smallest size whose mean agreement reaches ENOUGH."""
    means = some.groupby("conversations")["agreement"].mean()
    reached = means.index[means >= ENOUGH]
    return (
        f"smallest size tried that reaches {ENOUGH} %: {reached[0]}"
        if len(reached)
        else f"no size tried reaches {ENOUGH} %"
    )


def by_size(some: pd.DataFrame) -> dict[int, str]:
    """Size -> mean agreement with its range over seeds,
    or its standard error where there is one run.
    """
    cells = {}
    for size, several in some.groupby("conversations"):
        y = several["agreement"]
        cells[size] = (
            f"{y.mean():.0f} ({y.min():.0f} to {y.max():.0f})"
            if len(y) > 1
            else with_error(y.mean(), several["se"].max(), 0)
        )
    return cells


class Dial(Design):
    """Measured against nominal kappa, every seed a point; the slope is taken within each seed."""

    title = "The preference dial"

    def lines(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(table of all arms; points: set, kind, seed, target, kappa,
        se of arms that stand for a degree of morality).
        """
        drawn, table = [], []
        for r in self.games.inside():
            record = self.games.trained.get(r["arm"], {})
            nominal = nominal_kappa(record)
            line = {
                "arm": r["arm"],
                "set": r["set"],
                "valid %": share_of(r["valid_answer_probability"]),
                "control %": share_of(r["comprehension"]),
                "kappa trained for": "" if nominal is None else f"{nominal:g}",
                "measured kappa": shown(r["fits"]["homo_moralis"], "kappa"),
            }
            table.append(
                line
                | {
                    f"{t['label']}: decisions %": in_percent(t["decisions"])
                    for t in r["targets"].values()
                    if t["decisions"]
                }
            )
            if (found := kappa_of(r)) and nominal is not None:
                drawn.append(
                    (
                        r["set"],
                        "between" if record.get("ends") else "trained",
                        record.get("seed") or 0,
                        nominal,
                        *found,
                    )
                )
        return pd.DataFrame(table), pd.DataFrame(
            drawn, columns=["set", "kind", "seed", "target", "kappa", "se"]
        )

    def drawing(self, points: pd.DataFrame) -> Figure:
        """Measured kappa over the kappa trained for, in the main set."""
        figure, axis = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
        axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--", label="measured = trained for")
        for kind, marker, colour, label in (
            ("trained", "o", COLOURS[1], "trained on that kappa"),
            ("between", "s", COLOURS[2], "between two adapters, not trained"),
        ):
            for i, (_, some) in enumerate(
                points[(points["kind"] == kind) & (points["set"] == self.games.main[0])].groupby(
                    "seed"
                )
            ):
                x = some["target"] + 0.012 * i  # seeds have the same targets
                named = "" if i else label
                axis.errorbar(
                    x,
                    some["kappa"],
                    yerr=INTERVAL * some["se"],
                    fmt=marker,
                    ms=6,
                    capsize=3,
                    color=colour,
                    alpha=0.75,
                    label=named,
                )
        axis.set(xlabel="kappa trained for", ylabel="measured kappa (95 % interval)")
        axis.grid(color="#dddddd")
        axis.legend()
        return figure

    def add(self, report: Report) -> None:
        """The figure, slopes, the mean over seeds, and every arm."""
        report.heading(self.title)
        table, points = self.lines()
        trained = points[points["kind"] == "trained"]
        words = [
            f"{TITLES.get(held, held).capitalize()}: {dial_words(some)}"
            for held, some in trained.groupby("set", sort=False)
        ]
        report.picture(
            "dial",
            self.drawing(points),
            "Measured degree of morality against the degree trained for. " + " ".join(words[:1]),
        )
        report.text(" ".join(words) or "No arm was identified.")
        if left := self.games.left_out():
            report.text(left)
        if trained["seed"].nunique() > 1:
            wide = trained.groupby(["target", "set"], sort=False)["kappa"].agg(
                ["mean", "min", "max"]
            )
            shown = (
                wide.apply(lambda m: f"{m['mean']:.2f} ({m['min']:.2f} to {m['max']:.2f})", axis=1)
                .unstack()
                .fillna(NOT_IDENTIFIED)
            )
            shown = shown.sort_index()[list(dict.fromkeys(trained["set"]))].reset_index()
            shown["target"] = [f"{k:g}" for k in shown["target"]]
            caption = (
                "Measured kappa by the kappa trained for: mean over seeds of data and training "
                "(smallest to largest)."
            )
            report.table(
                "dial seeds", shown.rename(columns={"target": "kappa trained for"}), caption
            )
        if len(table):
            caption = (
                "Kappa of homo moralis alone ± one standard error; brackets: a "
                "deterministic chooser is only bounded."
            )
            report.table("dial", filled(table), caption)


def dial_words(points: pd.DataFrame) -> str:
    """Slope of measured on target kappa and tracking error of trained arms (columns seed,
    target, kappa, se).

    One seed: the standard error of the slope is that of the measured kappas, carried through least
    squares.  Several seeds: it is that of the mean of their slopes, which holds what training and
    data add.
    """
    slopes, errors = [], []
    for _, some in points.groupby("seed"):
        x = some["target"] - some["target"].mean()
        if len(some) > 2 and (x**2).sum() > 0:
            slopes.append(float((x * some["kappa"]).sum() / (x**2).sum()))
            errors.append(float(np.sqrt((x**2 * some["se"] ** 2).sum()) / (x**2).sum()))
    if not slopes:
        return "too few targets were identified for a slope."
    error = float(np.std(slopes, ddof=1) / np.sqrt(len(slopes))) if len(slopes) > 1 else errors[0]
    over = (
        (
            f" (mean and standard error over {len(slopes)} seeds, {min(slopes):.2f} to "
            f"{max(slopes):.2f})"
        )
        if len(slopes) > 1
        else ""
    )
    missed = float(np.sqrt(((points["kappa"] - points["target"]) ** 2).mean()))
    slope = f"slope of measured on target kappa {with_error(float(np.mean(slopes)), error)}{over}"
    return f"{slope}, root mean squared tracking error {missed:.2f}; 1 and 0 would be perfect."


class Persistence(Design):
    """The same problems in settings never trained on, within problem against the plain ones; of
    every adapter by its own target.
    """

    title = "Does it last in other settings"

    def add(self, report: Report) -> None:
        """A row per adapter, mode and target."""
        records, own = self.games.answered(), self.games.tuned
        table = []
        for arm, mode in dict.fromkeys((r["arm"], r["mode"]) for r in records):
            some = [r for r in records if (r["arm"], r["mode"]) == (arm, mode)]
            table += [
                line
                for target in ([own[arm]] if arm in own else self.games.targets)
                if (line := self.line(some, target))
            ]
        if table:
            report.heading(self.title)
            frame = filled(pd.DataFrame(table))
            changes = [f"{TITLES[name]}: change" for name in CHANGES]
            caption = (
                "The same decision problems: decisions taken as the target would, changes within "
                "problems in percentage points ± standard error."
            )
            report.table(
                "persistence",
                frame,
                caption,
                ("arm", "mode", "target", "as trained, decisions %", *changes),
            )

    def line(self, records: list[GameRecord], target: Target) -> dict[str, str] | None:
        """One arm and mode; None where the plain problems are missing."""
        taken: dict[str, dict[str, float]] = {}
        for r in records:  # an id is set, seed and number
            taken.setdefault(r["set"], {})[r["id"].partition("-")[2]] = by_decision(r, target)
        if "payoffs" not in taken:
            return None
        before = taken["payoffs"]
        line = {
            "arm": records[0]["arm"],
            "mode": records[0]["mode"],
            "target": target.label,
            "as trained, decisions %": in_percent(mean_of(before.values())),
        }
        for name in (n for n in taken if n in CHANGES):
            both = sorted(taken[name].keys() & before.keys())
            line[f"{TITLES[name]}: decisions %"] = in_percent(mean_of(taken[name].values()))
            gaps = mean_of(taken[name][i] - before[i] for i in both)
            line[f"{TITLES[name]}: change"] = in_percent(gaps, signed=True)
        return line


class Transfer(Design):
    """Train on one game, measure on each."""

    title = "From one game to the others"

    def add(self, report: Report) -> None:
        """A square for every pair of games."""
        target, (held, mode) = self.target, self.games.main
        records = [r for r in self.games.answered() if r["set"] == held and r["mode"] == mode]
        arms, names = (
            list(dict.fromkeys(r["arm"] for r in records)),
            [g for g in GAMES if any(r["game"] == g for r in records)],
        )
        if target is None or not arms:
            return
        values = np.full((len(arms), len(names)), np.nan)
        table = []
        for i, arm in enumerate(arms):
            alone = self.games.trained.get(arm, {}).get("games")
            line = {
                "arm": f"trained on {alone[0]} alone"
                if isinstance(alone, list) and len(alone) == 1
                else arm
            }
            for j, game in enumerate(names):
                taken = [
                    by_decision(r, target) for r in records if r["arm"] == arm and r["game"] == game
                ]
                if taken:
                    values[i, j] = np.mean(taken)
                    line[f"measured on {game}"] = in_percent(mean_of(taken))
            table.append(line)
        report.heading(self.title)
        alt = (
            f"Decisions taken as {target.label} would, in per cent: adapters trained on one game "
            "(rows), measured on each (columns)."
        )
        report.picture(
            "transfer", draw_squares(values, [line["arm"] for line in table], names), alt
        )
        caption = (
            f"Decisions taken as {target.label} would, %, {TITLES.get(held, held)}; spd: "
            "sequential prisoner's dilemma, tg: trust, ug: ultimatum."
        )
        report.table("transfer", filled(pd.DataFrame(table)), caption)


def draw_squares(values: np.ndarray, arms: list[str], names: list[str]) -> Figure:
    """Shares (rows arms, columns games) as a field of squares with their values."""
    figure, axis = plt.subplots(
        figsize=(1.6 + 1.3 * len(names), 1.3 + 0.6 * len(arms)), layout="constrained"
    )
    axis.imshow(100 * values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(values.shape):
        axis.text(
            j,
            i,
            f"{100 * values[i, j]:.0f}",
            ha="center",
            va="center",
            color="white" if values[i, j] < 0.6 else "black",
        )
    axis.set(
        xticks=range(len(names)), xticklabels=names, yticks=range(len(arms)), xlabel="measured on"
    )
    axis.set_yticklabels(list(map(written, arms)))
    return figure


GAME_DESIGNS: dict[str, type[Design]] = {
    "dial": Dial,
    "dose": Dose,
    "transfer": Transfer,
    "persistence": Persistence,
}
