"""A report that a referee, a manager and a newcomer can read: one HTML file, the same as Markdown, tables as CSV and LaTeX.

    python -m eval.report runs/study            # a study, or any folder written by eval.games, eval.dilemmas, eval.pricing, ...

The HTML holds its figures and needs no network.  Every word that comes from a file is escaped: a model's text stays text.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from econmoral.choice import read_decision
from econmoral.estimation import design, out_of_sample
from econmoral.games import GAMES
from econmoral.human import reference
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, origin, plain, read_json, read_lines, read_whole_lines, spreadsheet_cell, write_text
from eval.figure import COLOURS
from eval.measure import TITLES

matplotlib.use("Agg")
import matplotlib.pyplot as plt

VERDICTS = ("supported", "not supported", "not measured")
TEXTS = 4  # derivations that are shown


@dataclass
class Report:
    """Blocks in order: ("heading", level, text), ("text", words), ("table", name, frame, caption), ("figure", name, bytes, alt), ("quote", words, text)."""

    title: str
    blocks: list[tuple[Any, ...]] = field(default_factory=list)

    def heading(self, text: str, level: int = 2) -> None:
        """A heading."""
        self.blocks.append(("heading", level, text))

    def text(self, words: str) -> None:
        """A paragraph."""
        self.blocks.append(("text", words))

    def table(self, name: str, frame: pd.DataFrame, caption: str) -> None:
        """A table; ``name`` becomes its file name."""
        self.blocks.append(("table", name, frame, caption))

    def figure(self, name: str, png: bytes, alt: str) -> None:
        """A picture with what it shows in words."""
        self.blocks.append(("figure", name, png, alt))

    def quote(self, words: str, text: str) -> None:
        """Untrusted text, under a line of ours."""
        self.blocks.append(("quote", words, text))


# -------------------------------------------------------------------------------------------------------------- renderers

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fdfdfb; --line: #d8d8d2; --soft: #f1f1ec; --mark: #0072b2; --good: #00734f; --bad: #b3400a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e4; --paper: #17181a; --line: #3a3c40; --soft: #222428; --mark: #56b4e9; --good: #3fc79a; --bad: #f08a4b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 Georgia, "Times New Roman", serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1, h2, h3, th, nav, figcaption { font-family: system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
a { color: var(--mark); } a:focus-visible, .scroll:focus-visible, summary:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
.scroll { overflow-x: auto; margin: 0 0 1rem; } table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
.caption { font: .86rem/1.4 system-ui, sans-serif; margin: 1.2rem 0 .3rem; opacity: .85; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; } th { background: var(--soft); }
th:first-child, td:first-child { text-align: left; } .words { white-space: normal; text-align: left; min-width: 11rem; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; } figcaption { font-size: .86rem; opacity: .85; }
pre { background: var(--soft); padding: .8rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; }
.supported { color: var(--good); font-weight: 600; } .not-supported { color: var(--bad); font-weight: 600; } .not-measured { font-style: italic; }
nav ul { columns: 2; padding-left: 1.1rem; font-size: .9rem; }
@media (max-width: 40rem) { body { font-size: 16px; } nav ul { columns: 1; }
  .stack :is(table, tbody, tr, td) { display: block; text-align: left; } .stack thead { display: none; } .stack td { border: 0; padding: .1rem 0; }
  .stack tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } }
@media print {
  nav { display: none; } body { background: #fff; color: #000; font-size: 11pt; } figure, table { break-inside: avoid; } details > * { display: block; }
}
"""


def anchor(text: str) -> str:
    """An identifier for a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def cell(value: Any) -> str:
    """A table cell as text."""
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else plain(str(value))


def to_html(report: Report) -> str:
    """One file with everything in it."""

    def esc(text: str) -> str:
        return html.escape(plain(text))

    headings = [b for b in report.blocks if b[0] == "heading" and b[1] == 2]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f'<link rel="icon" href="data:,"><title>{esc(report.title)}</title><style>{STYLE}</style></head><body><main><h1>{esc(report.title)}</h1>',
        '<nav aria-label="Contents"><ul>' + "".join(f'<li><a href="#{anchor(b[2])}">{esc(b[2])}</a></li>' for b in headings) + "</ul></nav>",
    ]
    for block in report.blocks:
        if block[0] == "heading":
            parts.append(f'<h{block[1]} id="{anchor(block[2])}">{esc(block[2])}</h{block[1]}>')
        elif block[0] == "text":
            parts.append(f"<p>{esc(block[1])}</p>")
        elif block[0] == "table":
            _, name, frame, caption = block
            wide = [any(len(cell(v)) > 24 for v in frame.iloc[:, k]) for k in range(frame.shape[1])]
            head = "".join(f'<th scope="col"{" class=words" * w}>{esc(cell(c))}</th>' for c, w in zip(frame.columns, wide, strict=True))
            rows = "".join("<tr>" + "".join(map(_cell_html, map(cell, row), wide)) + "</tr>" for row in frame.itertuples(index=False))
            label = f"caption-{anchor(name)}"
            parts.append(
                f'<p class="caption" id="{label}">{esc(caption)}</p>'
                f'<div class="scroll{" stack" * (name == "claims")}" tabindex="0" role="region" aria-labelledby="{label}"><table aria-labelledby="{label}">'
                f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
            )
        elif block[0] == "figure":
            _, name, png, alt = block
            data = base64.b64encode(png).decode()
            parts.append(
                f'<figure id="figure-{anchor(name)}"><img alt="{esc(alt)}" src="data:image/png;base64,{data}"><figcaption>{esc(alt)}</figcaption></figure>'
            )
        else:
            parts.append(f"<details><summary>{esc(block[1])}</summary><pre>{esc(block[2])}</pre></details>")
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _cell_html(text: str, words: bool) -> str:
    kind = f' class="{text.replace(" ", "-")}"' if text in VERDICTS else ' class="words"' if words else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def to_markdown(report: Report) -> str:
    """The same for a repository; figures and tables lie beside it.  Untrusted text is an indented block, which nothing can close."""

    def esc(text: str) -> str:
        return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", html.escape(plain(text), quote=False)).replace("&lt;", "&lt;").replace("\n", " ")

    parts = [f"# {esc(report.title)}"]
    for block in report.blocks:
        if block[0] == "heading":
            parts.append(f"{'#' * block[1]} {esc(block[2])}")
        elif block[0] == "text":
            parts.append(esc(block[1]))
        elif block[0] == "table":
            frame = block[2]
            lines = ["| " + " | ".join(esc(cell(c)) for c in frame.columns) + " |", "|" + "---|" * len(frame.columns)]
            lines += ["| " + " | ".join(esc(cell(v)) for v in row) + " |" for row in frame.itertuples(index=False)]
            parts.append(f"*{esc(block[3])}*\n\n" + "\n".join(lines))
        elif block[0] == "figure":
            parts.append(f"![{esc(block[3])}](figures/{anchor(block[1])}.png)")
        else:
            parts.append(f"{esc(block[1])}:\n\n" + "\n".join("    " + line for line in plain(block[2]).splitlines()))
    return "\n\n".join(parts) + "\n"


def to_latex(frame: pd.DataFrame, caption: str) -> str:
    """A table for a paper (booktabs)."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$", "κ": r"$\kappa$"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"}

    def esc(text: str) -> str:
        return "".join(special.get(c, c) for c in text)

    rows = [" & ".join(esc(cell(v)) for v in row) + r" \\" for row in frame.itertuples(index=False)]
    head = " & ".join(esc(cell(c)) for c in frame.columns) + r" \\"
    lines = [
        r"\begin{table}",
        rf"\caption{{{esc(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(frame.columns) - 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def to_csv(frame: pd.DataFrame) -> str:
    """A table for a spreadsheet, without formulas."""
    return frame.map(lambda value: spreadsheet_cell(cell(value))).to_csv(index=False)


# ------------------------------------------------------------------------------------------------------------ measurements


def short(name: str) -> str:
    """An adapter's name without what all of a study's adapters share."""
    return name.replace("-n400", "")


def agreement(row: dict[str, Any], target: str) -> str:
    """``90 ± 5``."""
    found = row[target]["accuracy"]
    return "–" if found is None else f"{100 * found['mean']:.0f}" + ("" if not found["se"] else f" ± {100 * found['se']:.0f}")


def estimate(row: dict[str, Any], family: str, name: str, scale: float = 1, digits: int = 2) -> str:
    """``0.50 ± 0.09``, bounds in brackets, or a dash."""
    found = row[family].get("estimates")
    if found:
        v = found[name]
        return f"{scale * v['value']:.{digits}f} ± {scale * v['se']:.{digits}f}"
    bounds = (row[family].get("bounds") or {}).get(name)
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds and None not in bounds else "not identified"


def kappa_of(row: dict[str, Any]) -> tuple[float, float] | None:
    """(kappa, SE) of homo moralis alone; the middle and half the width of the bounds of a deterministic chooser."""
    found = row["homo_moralis"].get("estimates")
    if found:
        return found["kappa"]["value"], found["kappa"]["se"]
    bounds = (row["homo_moralis"].get("bounds") or {}).get("kappa")
    return None if not bounds or None in bounds else ((bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2)


PEOPLE = "humans: mean over 41 articles, Nunnari and Pozzi (2026), Economic Journal"


def structural_table(rows: list[dict[str, Any]], held: str, mode: str) -> pd.DataFrame:
    """Agreement, sensitivity and parameters of every arm and rule on one set."""
    people = reference("inequity aversion").set_index("statistic")
    shown = {p: f"{people.loc[f'mean {p} over studies', 'value']:.2f}" for p in ("alpha", "beta")}
    table: list[dict[str, str]] = [{"arm": "humans, other games", **shown}]
    for r in rows:
        if r["set"] != held or r["mode"] not in (mode, "rule"):
            continue
        line = {"arm": short(r["arm"]), "economicus: optimal %": agreement(r, "economicus"), "moralis: optimal %": agreement(r, "moralis")}
        line["sensitivity"] = f"{r['incentive_sensitivity']['mean']:.3f} ± {r['incentive_sensitivity']['se']:.3f}"
        if r["mode"] != "rule":
            line |= {p: estimate(r, "alpha_beta_kappa", p) for p in ("alpha", "beta", "kappa")}
            line |= {"lambda / 10": estimate(r, "alpha_beta_kappa", "lambda", 10), "kappa alone": estimate(r, "homo_moralis", "kappa")}
        table.append(line)
    frame = pd.DataFrame([*table[1:], table[0]]) if len(table) > 1 else pd.DataFrame()
    return frame.fillna("")


def rivals(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Log-likelihood of a decision that the estimate has not seen (five folds), by arm and family of preferences; a coin beside.

    Families that no arm identifies are left out.
    """
    lines = []
    for arm in dict.fromkeys(r["arm"] for r in records):
        decisions = [read_decision(r) for r in records if r["arm"] == arm and r["probabilities"] is not None]
        if not decisions:
            continue
        designs = {family: design(decisions, family) for family in FAMILIES}
        clusters = len(next(iter(designs.values())).names)
        found = out_of_sample(designs, min(5, clusters), seed=0) if clusters > 1 else {}
        each = {family: values.sum() / len(decisions) for family, values in found.items() if np.isfinite(values).all()}
        each["coin"] = -float(np.mean([np.log(len(d.choice)) for d in decisions]))
        best = max(each, key=lambda family: each[family])
        lines.append({"arm": short(arm)} | {family: f"{v:.3f}" for family, v in each.items()} | {"predicts best": best})
    frame = pd.DataFrame(lines)
    named = [f for f in FAMILIES if f in frame]
    return frame[["arm", *named, "coin", "predicts best"]].fillna("not identified") if named else pd.DataFrame()


def add_rivals(report: Report, folder: Path) -> None:
    """Which family of preferences predicts best."""
    records = [r for _, r in read_lines(folder / "choices.jsonl")]
    for mode in dict.fromkeys(r["mode"] for r in records):
        try:
            frame = rivals([r for r in records if r["mode"] == mode and r["set"] == "payoffs"])
        except ValueError as error:
            raise InputError(f"{folder / 'choices.jsonl'}: {error}; measure again") from None
        if len(frame):
            caption = (
                f"Rival families of preferences: log-likelihood of a decision left out of the estimate (nearer 0 predicts better), held-out payoffs, {mode}."
            )
            report.table(f"rivals-{mode}", frame, caption)


def cooperation(record: dict[str, Any]) -> float:
    """Mean probability of the first (co-operative) action over a decision's information sets."""
    p, game = np.array(record["probabilities"], float), GAMES[record["game"]]
    return float(np.mean([p[[s[k] == info.actions[0] for s in game.strategies]].sum() for k, info in enumerate(game.info_sets)]))


def add_games(report: Report, folder: Path, title: str) -> list[dict[str, Any]]:
    """Tables and figure of a folder of eval.games; its rows."""
    rows = read_json(folder / "summary.json")
    report.heading(title)
    for mode in dict.fromkeys(r["mode"] for r in rows if r["mode"] != "rule"):
        for held in ("payoffs", "wordings"):
            frame = structural_table(rows, held, mode)
            caption = f"Held-out {held}, {mode} answers. Mean ± standard error, clustered by decision; then rules that need no model: the floor; {PEOPLE}."
            report.table(f"games-{anchor(title)}-{held}-{mode}", frame, caption)
    if (folder / "figure.png").is_file():
        alt = "Left: mean probability of every whole strategy by game and arm. Right: estimated degree of morality of every arm with 95 % interval."
        report.figure(f"games {title}", (folder / "figure.png").read_bytes(), alt)
    return list(rows)


def add_texts(report: Report, folder: Path) -> None:
    """A few derivations as the models wrote them."""
    shown: dict[str, int] = {}
    for _, record in read_lines(folder / "choices.jsonl"):
        texts = [t for page in record.get("pages", []) for t in page.get("texts", [])]
        if texts and shown.get(record["arm"], 0) < 1 and len(shown) < TEXTS:
            shown[record["arm"]] = 1
            report.quote(f"One derivation of {short(record['arm'])} ({record['game']})", texts[0])


def png(figure: Any) -> bytes:
    """A figure's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png", metadata={"Software": "econmoral"})
    plt.close(figure)
    return buffer.getvalue()


def add_dose(report: Report, folder: Path, seconds: dict[str, float]) -> None:
    """Agreement by number of examples, every seed a point, and a saturating curve through all of them."""
    rows = [r for r in read_json(folder / "summary.json") if r["mode"] != "rule"]
    report.heading("How many examples it takes")
    drawn = []
    for r in rows:
        size, seed, found = re.search(r"-n(\d+)", r["arm"]), re.search(r"-s(\d+)$", r["arm"]), r["moralis"]["accuracy"]
        tuned = seconds.get(f"tune {r['arm']}")
        drawn.append((r["set"], int(size[1]) if size else 0, seed[1] if seed else "", 100 * found["mean"], 100 * found["se"], tuned))
    points = pd.DataFrame(drawn, columns=["set", "examples", "seed", "optimal", "se", "seconds"])
    seeds = points.loc[points["examples"] > 0, "seed"].nunique()
    figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    lines, table = [], {}
    for i, (held, some) in enumerate(points.groupby("set", sort=False)):
        n, y = some["examples"].to_numpy(float), some["optimal"].to_numpy()
        start = float(y[n == 0].mean()) if (n == 0).any() else 0.0
        aside = 0.01 * n.max() * (2 * i - 1)  # both sets have the same sizes
        axis.errorbar(n + aside, y, yerr=1.96 * some["se"], fmt="o", ms=5, lw=0.8, alpha=0.75, color=COLOURS[1 + i], label=f"held-out {held}")
        try:
            (top, scale), _ = curve_fit(
                lambda x, top, scale, y0=start: y0 + (top - y0) * (1 - np.exp(-x / scale)), n, y, p0=(y.max(), 100), bounds=([0, 1], [100.001, 1e5])
            )
            x = np.linspace(0, n.max(), 200)
            axis.plot(x, start + (top - start) * (1 - np.exp(-x / scale)), color=COLOURS[1 + i], lw=1.4)
            smallest = int(n[n > 0].min())
            after = f"after {scale:.0f} examples" if scale >= smallest else f"before the smallest size, {smallest}"
            curve = f"saturates at {top:.0f} %, two thirds of the way {after}"
        except (RuntimeError, ValueError):
            curve = "no saturating curve fits"
        means = some.groupby("examples").agg(
            mean=("optimal", "mean"), min=("optimal", "min"), max=("optimal", "max"), count=("optimal", "size"), se=("se", "max")
        )
        reached = means.index[means["mean"] >= 80]
        least = f"smallest size tried that reaches 80 %: {reached[0]}" if len(reached) else "no size tried reaches 80 %"
        lines.append(f"Held-out {held}: {curve}; {least}.")
        table[f"{held}, optimal %"] = {
            size: f"{m['mean']:.0f}" + (f" ({m['min']:.0f} to {m['max']:.0f})" if m["count"] > 1 else f" ± {m['se']:.0f}") for size, m in means.iterrows()
        }
    axis.set(xlabel="training examples (0: base)", ylabel="decisions answered with the moral optimum, %", ylim=(0, 102))
    axis.grid(color="#dddddd")
    axis.legend()
    report.figure(
        "dose", png(figure), "Agreement with homo moralis by number of training examples, with 95 % intervals and a saturating curve. " + " ".join(lines)
    )
    many = f"{seeds} seeds of data and training" if seeds > 1 else "One seed: single points move by several percentage points from seed to seed"
    report.text(" ".join(lines) + f" {many}.")
    cost = points.groupby("examples")["seconds"].median()
    table["tuning seconds"] = {size: "" if np.isnan(s) else f"{s:.0f}" for size, s in cost.items()}
    frame = pd.DataFrame(table).rename_axis("examples").reset_index()
    caption = "Agreement with homo moralis, reasoned answers: mean over the seeds (smallest to largest), or ± standard error where there is one run."
    report.table("dose", frame, caption)


def add_dial(report: Report, folder: Path) -> None:
    """Measured against target kappa, every seed a point; the slope is taken within each seed."""
    rows = [r for r in read_json(folder / "summary.json") if r["mode"] != "rule"]
    report.heading("The preference dial")
    drawn, table = [], []
    for r in rows:
        target, between, seed = (re.search(p, r["arm"]) for p in (r"moralis-k([0-9.]+)-n", r"between-([0-9.]+)", r"-s(\d+)$"))
        kind = "trained" if target or "economicus" in r["arm"] else "between" if between else "base"
        nominal = float(target[1]) if target else 0.5 * float(between[1]) if between else 0.0 if kind == "trained" else None
        line = {
            "arm": short(r["arm"]),
            "set": r["set"],
            "target kappa": "" if nominal is None else f"{nominal:g}",
            "measured kappa": estimate(r, "homo_moralis", "kappa"),
        }
        table.append(line | {"moralis (0.5): optimal %": agreement(r, "moralis"), "economicus: optimal %": agreement(r, "economicus")})
        if (found := kappa_of(r)) and nominal is not None:
            drawn.append((r["set"], kind, seed[1] if seed else "", nominal, *found))
    points = pd.DataFrame(drawn, columns=["set", "kind", "seed", "target", "kappa", "se"])
    trained = points[points["kind"] == "trained"]
    words = [f"Held-out {held}: {dial_words(some)}" for held, some in trained.groupby("set", sort=False)]

    figure, axis = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--", label="measured = target")
    for kind, marker, colour, label in (
        ("trained", "o", COLOURS[1], "trained on that kappa"),
        ("between", "s", COLOURS[2], "between two adapters, not trained"),
    ):
        for i, (_, some) in enumerate(points[(points["kind"] == kind) & (points["set"] == "payoffs")].groupby("seed")):
            aside = 0.012 * i  # seeds have the same targets
            axis.errorbar(
                some["target"] + aside, some["kappa"], yerr=1.96 * some["se"], fmt=marker, ms=6, capsize=3, color=colour, alpha=0.75, label="" if i else label
            )
    axis.set(xlabel="target kappa", ylabel="measured kappa (95 % interval)")
    axis.grid(color="#dddddd")
    axis.legend()
    report.figure("dial", png(figure), "Measured degree of morality against the degree trained for, held-out payoffs. " + " ".join(words[:1]))
    report.text(" ".join(words) or "No arm was identified.")
    if trained["seed"].nunique() > 1:
        wide = trained.groupby(["target", "set"], sort=False)["kappa"].agg(["mean", "min", "max"])
        shown = wide.apply(lambda m: f"{m['mean']:.2f} ({m['min']:.2f} to {m['max']:.2f})", axis=1).unstack().fillna("not identified")
        shown = shown.sort_index()[list(dict.fromkeys(trained["set"]))].reset_index()
        shown["target"] = [f"{k:g}" for k in shown["target"]]
        caption = "Measured kappa by the kappa trained for: mean over seeds of data and training (smallest to largest)."
        report.table("dial-seeds", shown.rename(columns={"target": "target kappa"}), caption)
    report.table(
        "dial",
        pd.DataFrame(table),
        "Kappa of homo moralis alone ± clustered standard error, reasoned answers; brackets: a deterministic chooser is only bounded.",
    )


def dial_words(points: pd.DataFrame) -> str:
    """Slope of measured on target kappa and tracking error of trained arms (columns seed, target, kappa, se).

    One seed: the standard error of the slope is that of the measured kappas, carried through least squares.  Several seeds: it is
    that of the mean of their slopes, which holds what training and data add.
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
    over = f" (mean and standard error over {len(slopes)} seeds, {min(slopes):.2f} to {max(slopes):.2f})" if len(slopes) > 1 else ""
    missed = float(np.sqrt(((points["kappa"] - points["target"]) ** 2).mean()))
    return (
        f"slope of measured on target kappa {np.mean(slopes):.2f} ± {error:.2f}{over}, root mean squared tracking error {missed:.2f}; 1 and 0 would be perfect."
    )


def hit(record: dict[str, Any], kappa: float) -> float:
    """1 if the most probable plan of a decision is the optimum of homo moralis of that kappa, a share at a tie."""
    from eval.table import modal, utilities  # the estimator is needed here only

    u = utilities(record, kappa)
    return modal(np.array(record["probabilities"]), [int(k) for k in np.flatnonzero(u >= u.max() - 1e-9)])


def mean_and_error(values: list[float], scale: float = 100, signed: bool = False) -> str:
    """``90 ± 5``: mean and standard error in per cent."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{scale * np.mean(values):{'+' if signed else ''}.0f} ± {scale * error:.0f}"


def add_persistence(report: Report, folder: Path) -> None:
    """The same decisions in settings never trained on, within decision against the plain ones."""
    records = [r for _, r in read_lines(folder / "choices.jsonl") if r["probabilities"] is not None]
    table = []
    for arm in dict.fromkeys(r["arm"] for r in records):
        kappa = 0.0 if "economicus" in arm else 0.5
        hits: dict[str, dict[str, float]] = {}
        for r in records:
            if r["arm"] == arm:
                hits.setdefault(r["set"], {})[r["id"].partition("-")[2]] = hit(r, kappa)
        line = {"arm": short(arm), "target kappa": f"{kappa:g}", "as trained, optimal %": mean_and_error(list(hits["payoffs"].values()))}
        for name, found in hits.items():
            if name != "payoffs":
                both = sorted(found.keys() & hits["payoffs"].keys())
                line[f"{TITLES[name]}: optimal %"] = mean_and_error(list(found.values()))
                line[f"{TITLES[name]}: change"] = mean_and_error([found[i] - hits["payoffs"][i] for i in both], signed=True)
        table.append(line)
    report.heading("Does it last in other settings")
    report.table("persistence", pd.DataFrame(table), "The same decisions, changes within decisions in percentage points ± standard error, reasoned answers.")


def add_transfer(report: Report, folder: Path) -> None:
    """Train on one game, measure on each."""
    records = [r for _, r in read_lines(folder / "choices.jsonl") if r["set"] == "payoffs" and r["probabilities"] is not None]
    arms, games = list(dict.fromkeys(r["arm"] for r in records)), [g for g in GAMES if any(r["game"] == g for r in records)]
    values = np.full((len(arms), len(games)), np.nan)
    table = []
    for i, arm in enumerate(arms):
        line = {"arm": "base" if arm == "base" else f"trained on {arm.rpartition('-')[2]} alone"}
        for j, game in enumerate(games):
            hits = [hit(r, 0.5) for r in records if r["arm"] == arm and r["game"] == game]
            values[i, j] = np.mean(hits)
            line[f"measured on {game}"] = mean_and_error(hits)
        table.append(line)
    report.heading("From one game to the others")
    figure, axis = plt.subplots(figsize=(1.6 + 1.3 * len(games), 1.3 + 0.6 * len(arms)), layout="constrained")
    axis.imshow(100 * values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for i in range(len(arms)):
        for j in range(len(games)):
            axis.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", color="white" if values[i, j] < 0.6 else "black")
    axis.set(xticks=range(len(games)), xticklabels=games, yticks=range(len(arms)), yticklabels=[line["arm"] for line in table], xlabel="measured on")
    report.figure(
        "transfer", png(figure), "Decisions answered with the moral optimum, in per cent: adapters trained on one game (rows), measured on each (columns)."
    )
    report.table(
        "transfer",
        pd.DataFrame(table),
        "Agreement with homo moralis of kappa 0.5, %, held-out payoffs; spd: sequential prisoner's dilemma, tg: trust, ug: ultimatum.",
    )


def add_dilemmas(report: Report, folder: Path) -> dict[str, Any]:
    """Tables and figure of a folder of eval.dilemmas; its summary."""
    summary: dict[str, Any] = read_json(folder / "summary.json")
    frame = pd.read_csv(folder / "table.csv", dtype=str).fillna("").rename(columns=short)
    report.heading("Moral dilemmas of autonomous vehicles")
    conjoint = frame["humans"] != "" if "humans" in frame else pd.Series(False, index=frame.index)
    nulls = list(summary.get("null_agents", {}))
    if conjoint.any():
        caption = (
            "Conjoint: change in the probability of being spared (AMCE) ± standard error clustered by scenario, beside humans and agents that see nothing."
        )
        report.table("dilemmas-conjoint", frame[conjoint], caption)
    rest = frame[~conjoint].drop(columns=["humans", *nulls], errors="ignore")
    report.table("dilemmas-ratings", rest, "Ratings from 0 to 100 ± standard error clustered by scene and people saved; and measures of the conjoint run.")
    if (folder / "figure.png").is_file():
        alt = "Left: effect of every dimension on being spared, arms and humans. Right: rated morality and stated purchase by people saved."
        report.figure("dilemmas", (folder / "figure.png").read_bytes(), alt)
    return summary


def add_pricing(report: Report, folder: Path) -> dict[str, Any]:
    """Table and figures of a folder of eval.pricing; its summary."""
    summary: dict[str, Any] = read_json(folder / "summary.json")
    report.heading("Repeated price competition")
    frame = pd.read_csv(folder / "table.csv", dtype=str).fillna("")
    report.table("pricing", frame.map(short), "Means of the last 50 periods over markets, 95 % intervals over markets.")
    for agent, gate in summary.get("gate", {}).items():
        verdict = "competent" if gate["competent"] else "not competent in this task: its prices are to be read as noise, not as collusion"
        share = f"10th and 90th percentile of its price {gate['percentile_10']:.2f} and {gate['percentile_90']:.2f} of the monopoly price"
        report.text(f"{short(agent)}, alone on the market: {share}: {verdict}.")
    for name, alt in (
        ("paths", "Price paths of every pairing with the Nash and the joint monopoly price."),
        ("matrix", "Price index of every pairing, and the profit gain of the row's firm against the column's."),
        ("impulse", "Prices after the first firm was forced down to the Nash price for one period, minus the prices without that."),
    ):
        if (folder / f"{name}.png").is_file():
            report.figure(f"pricing {name}", (folder / f"{name}.png").read_bytes(), alt)
    return summary


# ------------------------------------------------------------------------------------------------------------------ claims


def pick(rows: list[dict[str, Any]], arm: str, held: str = "payoffs") -> dict[str, Any] | None:
    """The row of the first arm whose name begins so, reasoned or rule."""
    return next((r for r in rows if r["arm"].startswith(arm) and r["set"] == held), None)


def claim_one(folder: Path | None) -> tuple[str, str]:
    """The base co-operates more than payoffs ask for and hardly follows incentives."""
    if folder is None:
        return "not measured", "no base was measured"
    rows = read_json(folder / "summary.json")
    base, best = pick(rows, "base"), pick(rows, "own-payoff best")
    if base is None or best is None:
        return "not measured", "no base was measured"
    from eval.table import utilities, uniform_over  # noqa: I001 - the estimator is needed here only

    own, rule = [], []
    for _, r in read_lines(folder / "choices.jsonl"):
        if r["arm"] == "base" and r["set"] == "payoffs" and r["probabilities"] is not None:
            own.append(cooperation(r))
            u = utilities(r, 0.0)
            rule.append(cooperation(r | {"probabilities": uniform_over([int(k) for k in np.flatnonzero(u >= u.max() - 1e-9)], len(u)).tolist()}))
    gap = np.array(own) - np.array(rule)
    se = gap.std(ddof=1) / np.sqrt(len(gap))
    slow = base["incentive_sensitivity"]["mean"] < 0.5 * best["incentive_sensitivity"]["mean"]
    words = f"co-operation {np.mean(own):.2f} where own payoff asks for {np.mean(rule):.2f} (difference {gap.mean():.2f} ± {se:.2f}); a strategy whose payoff "
    words += f"rises by ten points is chosen {base['incentive_sensitivity']['mean']:.3f} more often, "
    words += f"against {best['incentive_sensitivity']['mean']:.3f} for a payoff maximiser"
    return ("supported" if gap.mean() > 2 * se and slow else "not supported"), words


def claim_two(folder: Path | None) -> tuple[str, str]:
    """Both adapters moved to their preference: above the base, and kappa apart by more than three standard errors."""
    rows = read_json(folder / "summary.json") if folder else []
    base, one, two = pick(rows, "base"), pick(rows, "economicus"), pick(rows, "moralis-k0.5") or pick(rows, "moralis")
    if not (base and one and two):
        return "not measured", "needs base, an adapter of homo economicus and one of homo moralis"
    ok, words = True, []
    for name, row, target in (("economicus", one, "economicus"), ("moralis", two, "moralis")):
        a, b, c = (r[target]["accuracy"] for r in (row, base, pick(rows, f"constant, {target}") or base))
        ok &= a["mean"] - b["mean"] > 1.96 * float(np.hypot(a["se"], b["se"]))
        words.append(f"{name} {100 * a['mean']:.0f} % optimal (base {100 * b['mean']:.0f} %, best payoff-blind constant {100 * c['mean']:.0f} %)")
    low, high = kappa_of(one), kappa_of(two)
    if low and high:
        ok &= high[0] - low[0] > 3 * float(np.hypot(low[1], high[1]))
        words.append(f"kappa {low[0]:.2f} ± {low[1]:.2f} against {high[0]:.2f} ± {high[1]:.2f}")
    else:
        ok = False
        words.append("kappa not identified in both")
    return ("supported" if ok else "not supported"), "; ".join(words)


def claim_three(dilemmas: dict[str, Any] | None, pricing: dict[str, Any] | None) -> tuple[str, str]:
    """The two adapters differ in the applications they were not tuned on."""
    if not dilemmas and not pricing:
        return "not measured", "no application was run"
    words, shifts = [], []
    if dilemmas:
        arms = dilemmas["arms"]
        one, two = (next((a for n, a in arms.items() if n.startswith(p)), None) for p in ("economicus", "moralis"))
        if one and two and "conjoint" in one:
            gaps = {
                d: (v["value"] - one["conjoint"]["effects"][d]["value"], float(np.hypot(v["se"], one["conjoint"]["effects"][d]["se"])))
                for d, v in two["conjoint"]["effects"].items()
                if d in one["conjoint"]["effects"]
            }
            d, (gap, se) = max(gaps.items(), key=lambda kv: abs(kv[1][0]) / max(kv[1][1], 1e-12))
            shifts.append(abs(gap) > 2.77 * se and abs(gap) > 0.05)  # Bonferroni over nine dimensions; smaller effects do not matter
            words.append(f"dilemmas: the two adapters differ most in {d}, {gap:+.2f} ± {se:.2f}")
    if pricing:
        row = {tuple(re.split(r"-[kn][0-9]", a)[0] for a in r["agents"]): r for r in pricing["pairings"].values()}
        one, two = row.get(("economicus", "economicus")), row.get(("moralis", "moralis"))
        competent = all(g["competent"] for name, g in pricing["gate"].items() if name != "base")
        if one and two:
            a, b = one["price_index"], two["price_index"]
            words.append(f"pricing: price index {a['mean']:.2f} among economicus, {b['mean']:.2f} among moralis")
            apart = None not in (a["low"], b["low"]) and (a["high"] < b["low"] or b["high"] < a["low"])
            if competent:
                shifts.append(bool(apart))
            else:
                words.append("but neither finds the monopoly price alone, so this counts as not measured")
    if not shifts:
        return "not measured", "; ".join(words)
    return ("supported" if all(shifts) else "not supported"), "; ".join(words)


def claim_four(seconds: dict[str, float]) -> tuple[str, str]:
    """What it cost."""
    tuned = [s for name, s in seconds.items() if name.startswith("tune")]
    if not tuned:
        return "not measured", "no cost was recorded"
    words = f"one adapter took {np.median(tuned):.0f} s (median of {len(tuned)}), all {len(seconds)} cells {sum(seconds.values()) / 60:.0f} min on this machine"
    return ("supported" if np.median(tuned) < 3600 else "not supported"), words + "; that a repeated run gives the same bytes is checked by the tests"


CLAIMS = {
    "C1": "An untuned model co-operates more than payoffs ask for and hardly follows incentives.",
    "C2": "Tuning on a small synthetic set moves choices toward the preference it was made from.",
    "C3": "The shift lasts outside the training games, and the two preferences give different outcomes there.",
    "C4": "All this is replicable and cheap.",
}


def build(folder: Path) -> Report:
    """The report of a study, or of a single measurement.  Raises InputError when the folder holds nothing to report."""
    study = read_json(folder / "study.json") if (folder / "study.json").is_file() else None
    places = {name: folder / "games" / name for name in ("dial", "dose", "transfer", "persistence", "placebo", "prompted")} if study else {"placebo": folder}
    games = {name: place for name, place in places.items() if (place / "run.json").is_file() and (place / "choices.jsonl").is_file()}
    if not study and games and "pages" not in next(iter(read_lines(folder / "choices.jsonl")))[1]:
        games = {}
    kinds = {name: folder / name if study else folder for name in ("dilemmas", "pricing", "retention")}
    signs = {"dilemmas": ("scenarios.jsonl",), "pricing": ("periods.jsonl", "summary.json", "table.csv"), "retention": ("retention.json",)}
    has = {name: all((kinds[name] / file).is_file() for file in files) for name, files in signs.items()}
    if not games and not any(has.values()):
        raise InputError(f"{folder} holds no study and no finished measurement; run recipes/study.py or one of eval.games, eval.dilemmas, eval.pricing first")
    cost = read_cost(folder)
    seconds = dict(zip(cost["cell"], cost["seconds"], strict=True))
    model = (
        study["plan"]["model"] if study else str((read_json(folder / "run.json").get("settings") or {}).get("model")) if (folder / "run.json").is_file() else ""
    )
    model = Path(model).name if Path(model).is_dir() else model
    report = Report(f"Does tuning make {model or 'the model'} act on a preference?")
    report.heading("Abstract")
    head = len(report.blocks)
    main_games = next((games[n] for n in ("placebo", "dial", "dose", "prompted") if n in games), None)
    if "placebo" in games:
        add_games(report, games["placebo"], "Before and after tuning")
        add_rivals(report, games["placebo"])
    if "prompted" in games:
        add_games(report, games["prompted"], "Described, not tuned")
    if "dial" in games and study:
        add_dial(report, games["dial"])
    if "dose" in games and study:
        add_dose(report, games["dose"], seconds)
    if "transfer" in games and study:
        add_transfer(report, games["transfer"])
    if "persistence" in games and study:
        add_persistence(report, games["persistence"])
    dilemmas = add_dilemmas(report, kinds["dilemmas"]) if has["dilemmas"] else None
    pricing = add_pricing(report, kinds["pricing"]) if has["pricing"] else None
    if has["retention"]:
        found = read_json(kinds["retention"] / "retention.json")
        report.heading("General ability")
        report.table(
            "retention",
            pd.DataFrame(found["rows"]).round(3),
            f"Paired difference to the base; not inferior: no worse than by {found['margin']:g} with 95 % confidence.",
        )
    if main_games:
        report.heading("In the models' own words")
        add_texts(report, main_games)
    verdicts = {"C1": claim_one(main_games), "C2": claim_two(main_games), "C3": claim_three(dilemmas, pricing), "C4": claim_four(seconds)}
    frame = pd.DataFrame([{"claim": c, "says": text, "verdict": verdicts[c][0], "because": verdicts[c][1]} for c, text in CLAIMS.items()])
    lead = [("table", "claims", frame, "The four claims, each answered with the numbers that say so (held-out payoffs, reasoned answers).")]
    if model == "nano":
        words = "The model is nano, a stand-in of 1.2 million parameters trained on text of this project. It proves the pipeline "
        lead.insert(0, ("text", words + "and is no evidence about large models."))
    report.blocks[head:head] = lead
    add_limits(report, folder, has, games, cost)
    return report


def read_cost(folder: Path) -> pd.DataFrame:
    """Columns cell, seconds, tokens (nan: none went through a model), gpu_hours: sums over every attempt at a cell."""
    rows = read_whole_lines(folder / "cells.jsonl")
    frame = pd.DataFrame(
        [{k: row.get(k) for k in ("cell", "seconds", "tokens", "gpu_hours")} for row in rows], columns=["cell", "seconds", "tokens", "gpu_hours"]
    )
    frame = frame.astype({"seconds": float, "tokens": float, "gpu_hours": float})
    return frame.groupby("cell", sort=False).sum(min_count=1).reset_index()


def add_limits(report: Report, folder: Path, has: dict[str, bool], games: dict[str, Path], cost: pd.DataFrame) -> None:
    """What was not measured, where everything comes from, what it cost."""
    report.heading("Limits")
    missing = [name for name, there in {**has, **{n: n in games for n in ("dose", "dial", "transfer", "persistence", "prompted")}}.items() if not there]
    report.text(f"Not measured here: {', '.join(missing) or 'nothing of the plan'}.")
    report.text(
        "Kappa is estimated in the family that made the training labels: agreement shows that the preference was learnt and carries over, "
        "not that a model reasons morally."
    )
    report.text("Human numbers come from classrooms or volunteers, mostly for small or no stakes; their sources are in econmoral/human.csv.")
    report.heading("Where everything comes from")
    lines = []
    for file in sorted(folder.rglob("run.json"))[:60] + sorted(folder.glob("study.json")):
        about = read_json(file)
        if isinstance(about, dict) and "command" in about:
            inputs = ", ".join(f"{n} {v['sha256'][:12]}" for n, v in about.get("inputs", {}).items())
            place = str(file.parent.relative_to(folder.parent))
            lines.append({"folder": place, "command": " ".join(map(str, about["command"])), "revision": str(about.get("git"))[:12], "inputs (SHA-256)": inputs})
    if lines:
        report.table("origin", pd.DataFrame(lines), "Command, git revision and hashes of inputs of every artefact.")
        versions = next((v for file in sorted(folder.rglob("run.json")) if (v := read_json(file).get("versions"))), {})
        report.text("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items() if v) + ".")
    if len(cost):
        shown = cost.assign(
            seconds=cost["seconds"].map("{:.0f}".format),
            tokens=cost["tokens"].map(lambda n: "" if np.isnan(n) else f"{n:,.0f}"),
            gpu_hours=cost["gpu_hours"].map(lambda h: "" if np.isnan(h) else f"{h:.2f}"),
        ).rename(columns={"tokens": "tokens through the model", "gpu_hours": "GPU-hours"})
        total = f"{cost['seconds'].sum() / 60:.0f} minutes, {cost['tokens'].sum() / 1e6:.1f} million tokens, {cost['gpu_hours'].sum():.2f} GPU-hours"
        report.table("cost", shown, f"Cost of every cell; together {total}.")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a study or of a measurement")
    parser.add_argument("--out", type=Path, help="folder of the report (default: report/ in it)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        raise InputError(f"folder {args.folder} does not exist")
    out = args.out or args.folder / "report"
    report = build(args.folder)
    report.blocks.append(("text", f"This report: {' '.join(origin()['command'])}."))
    for block in report.blocks:
        if block[0] == "table":
            write_text(out / "tables" / f"{block[1]}.csv", to_csv(block[2]))
            write_text(out / "tables" / f"{block[1]}.tex", to_latex(block[2], block[3]))
        elif block[0] == "figure":
            (out / "figures").mkdir(parents=True, exist_ok=True)
            (out / "figures" / f"{anchor(block[1])}.png").write_bytes(block[2])
    write_text(out / "report.md", to_markdown(report))
    write_text(out / "report.html", to_html(report))
    print(f"{out}/: report.html report.md tables/ figures/")


if __name__ == "__main__":
    command(main)
