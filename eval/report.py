"""A report that a referee, a manager and a newcomer can read: one HTML file, the same as Markdown, tables as CSV and LaTeX.

    python -m eval.report runs/study            # a study, an adapter's folder, or any folder written by a command of eval

Tables say beside every figure how likely a reply is admissible and control questions are answered right; an arm that answers
outside the form has no figures and enters no claim.  Claims are judged by what adapters were trained toward, as their run.json
says, never by names.  The HTML holds its figures and needs no network.  Every word that comes from a file is escaped: a model's
text stays text.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import curve_fit

from econmoral.choice import best_replies, read_decision
from econmoral.estimation import design, out_of_sample
from econmoral.games import GAMES
from econmoral.human import reference
from econmoral.menus import MENUS
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, command, origin, plain, read_json, read_lines, read_whole_lines, spreadsheet_cell, write_text
from econmoral.target import ECONOMICUS, Target
from eval import faithfulness
from eval.arms import adapter_record
from eval.dilemmas import conjoint_rows, difference_rows, rating_rows
from eval.figure import COLOURS, written
from eval.measure import CHANGES, TITLES
from eval.menus import NULLS
from eval.table import by_decision, table, uniform_over, utilities
from eval.validity import OUTSIDE, percent

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

    def picture(self, name: str, figure: Any, alt: str) -> None:
        """A figure of ours; one that cannot be drawn costs nothing else."""
        try:
            self.figure(name, png(figure), alt)
        except Exception as error:  # a font, a name, a full disk
            plt.close(figure)
            self.text(f"The figure {name} could not be drawn ({type(error).__name__}).")

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

PEOPLE = "humans: mean over 41 articles, Nunnari and Pozzi (2026), Economic Journal"
FLOOR = "Mean ± standard error, clustered by decision problem; then rules that need no model: the floor"
QUALITY = "valid %: probability of an admissible reply; control %: of the right reply to control questions"


@dataclass(frozen=True)
class Games:
    """A folder of eval.games: its rows, and what every adapter in it was trained on."""

    folder: Path
    rows: list[dict[str, Any]]
    trained: dict[str, dict[str, Any]]

    @staticmethod
    def read(folder: Path) -> Games:
        """Raises InputError for a folder that today's eval.games did not write."""
        rows = read_json(folder / "summary.json")
        needed = {"arm", "set", "mode", "outside", "valid_answer_probability", "targets"}
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) and needed <= set(r) for r in rows):
            raise InputError(f"{folder / 'summary.json'} is not what eval.games writes today; measure again")
        return Games(folder, [restored(r) for r in rows], trained_on(folder))

    @property
    def targets(self) -> list[Target]:
        """What agreement was computed with."""
        return [Target.parse(t) for t in dict.fromkeys(t for r in self.rows for t in r["targets"])]

    @property
    def sets(self) -> list[str]:
        """The sets, in the order in which they were measured."""
        return list(dict.fromkeys(r["set"] for r in self.rows))

    @property
    def modes(self) -> list[str]:
        """The modes of models and choosers."""
        return list(dict.fromkeys(r["mode"] for r in self.rows if r["mode"] != "rule"))

    @property
    def main(self) -> tuple[str, str]:
        """(set, mode) that claims are about: held-out payoffs, reasoned, where there are such."""
        return ("payoffs" if "payoffs" in self.sets else self.sets[0]), ("reasoned" if "reasoned" in self.modes else self.modes[0])

    def row(self, arm: str) -> dict[str, Any] | None:
        """The row of an arm or rule that claims are about, unless it answers outside the form."""
        held, mode = self.main
        return next((r for r in self.rows if r["arm"] == arm and r["set"] == held and r["mode"] in (mode, "rule") and not r["outside"]), None)

    def target(self, arm: str) -> Target | None:
        """What an adapter was trained toward; None of the base, of placebos and of adapters between two others."""
        return target_of(self.trained.get(arm, {}))

    @property
    def placebos(self) -> list[str]:
        """The adapters trained on shuffled answers."""
        return [arm for arm, record in self.trained.items() if record.get("shuffled")]

    def inside(self) -> list[dict[str, Any]]:
        """Rows of models and choosers that answer in the form."""
        return [r for r in self.rows if r["mode"] != "rule" and not r["outside"]]

    def answered(self) -> list[dict[str, Any]]:
        """Records that were answered, of arms that answer in the form."""
        kept = {(r["set"], r["mode"], r["arm"]) for r in self.inside()}
        every = (r for _, r in read_lines(self.folder / "choices.jsonl"))
        return [r for r in every if r.get("probabilities") is not None and (r.get("set"), r.get("mode"), r.get("arm")) in kept]

    def left_out(self) -> str:
        """A sentence that names the arms without figures; empty where there are none."""
        found: dict[str, float] = {}
        for r in self.rows:
            if r["outside"]:
                found[r["arm"]] = min(found.get(r["arm"], 1.0), r["valid_answer_probability"] or 0.0)
        names = ", ".join(f"{arm} (valid-answer probability {percent(v)})" for arm, v in found.items())
        return f"Without figures, for lack of answers in the form that was asked for: {names}." if names else ""


def restored(value: Any) -> Any:
    """A summary as it was before it became JSON: standard errors and bounds that are no numbers are nan again."""
    if isinstance(value, list):
        return [restored(v) for v in value]
    if not isinstance(value, dict):
        return value
    found = {k: np.nan if k == "se" and v is None else restored(v) for k, v in value.items()}
    if isinstance(bounds := found.get("bounds"), dict):
        found["bounds"] = {k: [np.nan if x is None else x for x in v] if isinstance(v, list) else None for k, v in bounds.items()}
    return found


def trained_on(folder: Path) -> dict[str, dict[str, Any]]:
    """Adapter -> what it was trained on, from a measurement's run.json; where that lacks it, from the adapters' own folders."""
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    if not isinstance(run, dict):
        return {}
    if isinstance(known := run.get("adapters"), dict):
        return {str(name): record for name, record in known.items() if isinstance(record, dict)}
    inputs = run.get("inputs") if isinstance(run.get("inputs"), dict) else {}
    paths = {name: Path(str(v["path"])) for name, v in inputs.items() if isinstance(v, dict) and "path" in v}
    return {name: adapter_record(path.parent) for name, path in paths.items() if path.name == "adapter_model.safetensors"}


def target_of(record: dict[str, Any]) -> Target | None:
    """The target of an adapter that was trained toward one; None of a placebo, and where nothing is known."""
    named = record.get("target")
    if record.get("shuffled") or not isinstance(named, str):
        return None
    try:
        return Target.parse(named)
    except InputError:  # of a version that had other families
        return None


def nominal_kappa(record: dict[str, Any]) -> float | None:
    """The degree of morality that an adapter stands for, trained or between two that were; None without one."""

    def of(named: Any) -> float | None:
        target = target_of({"target": named})
        return target.kappa if target and target.family in ("homo_economicus", "homo_moralis") else None

    ends, share = record.get("ends"), record.get("share")
    if isinstance(ends, list) and len(ends) == 2 and isinstance(share, int | float):
        low, high = map(of, ends)
        return None if low is None or high is None else (1 - share) * low + share * high
    return None if record.get("shuffled") else of(record.get("target"))


def estimate(row: dict[str, Any], family: str, name: str, scale: float = 1, digits: int = 2) -> str:
    """``0.50 ± 0.09``, bounds in brackets, or a dash."""
    found = row[family].get("estimates")
    if found:
        v = found[name]
        return f"{scale * v['value']:.{digits}f} ± {scale * v['se']:.{digits}f}"
    bounds = (row[family].get("bounds") or {}).get(name)
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds and np.isfinite(bounds).all() else "not identified"


def kappa_of(row: dict[str, Any]) -> tuple[float, float] | None:
    """(kappa, SE) of homo moralis alone; the middle and half the width of the bounds of a deterministic chooser."""
    found = row["homo_moralis"].get("estimates")
    if found:
        return found["kappa"]["value"], found["kappa"]["se"]
    bounds = (row["homo_moralis"].get("bounds") or {}).get("kappa")
    return ((bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2) if bounds and np.isfinite(bounds).all() else None


def structural_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Validity, agreement, sensitivity and parameters of every arm and rule of one set and mode; humans last."""
    frame = table(rows).drop(columns=["set", "mode", "lnL"], errors="ignore")
    if "note" in frame:  # in place of the first figure
        figures = [c for c in frame.columns if c not in ("arm", "valid %", "control %", "steps %", "note")]
        frame = frame.rename(columns={"note": "agreement"}) if not figures else frame
        if figures:
            frame.loc[frame["note"] != "", figures[0]] = frame["note"]
            frame = frame.drop(columns="note")
    rules = np.array([r["mode"] == "rule" for r in rows])
    parameters = [c for c in ("alpha", "beta", "kappa", "lambda / 10", "kappa alone") if c in frame]
    frame.loc[rules, parameters] = ""
    if "alpha" in frame and not rules.all():
        people = reference("inequity aversion").set_index("statistic")
        shown = {p: f"{people.loc[f'mean {p} over studies', 'value']:.2f}" for p in ("alpha", "beta")}
        frame = pd.concat([frame, pd.DataFrame([{"arm": "humans, other games", **shown}])], ignore_index=True)
    return filled(frame)


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without empty columns and with empty cells where nothing is known."""
    frame = frame.fillna("")
    return frame.loc[:, [i < 1 or bool((frame.iloc[:, i] != "").any()) for i in range(frame.shape[1])]]


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
        lines.append({"arm": arm} | {family: f"{v:.3f}" for family, v in each.items()} | {"predicts best": best})
    frame = pd.DataFrame(lines)
    named = [f for f in FAMILIES if f in frame]
    return frame[["arm", *named, "coin", "predicts best"]].fillna("not identified") if named else pd.DataFrame()


def add_rivals(report: Report, games: Games) -> None:
    """Which family of preferences predicts best."""
    records, (held, _) = games.answered(), games.main
    for mode in games.modes:
        try:
            frame = rivals([r for r in records if r["mode"] == mode and r["set"] == held])
        except ValueError as error:
            raise InputError(f"{games.folder / 'choices.jsonl'}: {error}; measure again") from None
        if len(frame):
            caption = "Rival families of preferences: log-likelihood of a decision left out of the estimate (nearer 0 predicts better), "
            report.table(f"rivals-{mode}-{len(report.blocks)}", frame, f"{caption}{TITLES.get(held, held)}, {mode}.")


def cooperation(record: dict[str, Any]) -> float:
    """Mean probability of the first (co-operative) action over a decision's information sets."""
    p, game = np.array(record["probabilities"], float), GAMES[record["game"]]
    return float(np.mean([p[[s[k] == info.actions[0] for s in game.strategies]].sum() for k, info in enumerate(game.info_sets)]))


def add_games(report: Report, games: Games, title: str) -> None:
    """Tables and figures of a folder of eval.games: every set and mode, then the shifts against base and placebo."""
    report.heading(title)
    for mode in games.modes:
        for held in games.sets:
            rows = [r for r in games.rows if r["set"] == held and r["mode"] in (mode, "rule")]
            if not any(r["mode"] == mode for r in rows):
                continue
            caption = f"{TITLES.get(held, held).capitalize()}, {mode} answers. {FLOOR}; {PEOPLE}. {QUALITY}."
            report.table(f"games-{title}-{held}-{mode}", structural_table(rows), caption)
    if words := games.left_out():
        report.text(words)
    shifts = []
    for r in games.inside():
        target = games.target(r["arm"])
        for other, gaps in r.get("shift", {}).items() if target else ():
            if gap := gaps.get(str(target)):
                shifts.append(
                    {"arm": r["arm"], "trained toward": target.label, "set": r["set"], "mode": r["mode"], "baseline": other}
                    | {"shift": mean_pm(gap, signed=True), "problems": gap["n"]}
                )  # fmt: skip
    if shifts:
        caption = "Decisions taken as the adapter's own target would, minus those of a baseline on the same problems, in percentage points."
        report.table(f"shifts-{title}", pd.DataFrame(shifts), caption)
    alt = "Left: mean probability of every whole strategy by game and arm. Right: estimated degree of morality of every arm with 95 % interval."
    for file in sorted(games.folder.glob("figure*.png")):
        report.figure(f"{title} {file.stem}", file.read_bytes(), alt)


def mean_pm(value: dict[str, float], signed: bool = False) -> str:
    """``90 ± 5`` of a share and its standard error, in per cent."""
    error = "" if np.isnan(value["se"]) else f" ± {100 * value['se']:.0f}"
    return f"{100 * value['mean']:{'+' if signed else ''}.0f}{error}"


def add_texts(report: Report, folders: list[Path]) -> None:
    """A few derivations or replies as the models wrote them."""
    shown: dict[str, tuple[str, str]] = {}
    for folder in folders:
        for _, record in read_lines(folder / "choices.jsonl"):
            pages = [page.get("texts") or [] for page in record.get("pages") or [] if isinstance(page, dict)]
            texts = [t for several in pages + (record.get("texts") or []) for t in several if t]
            if texts and record["arm"] not in shown and len(shown) < TEXTS:
                shown[record["arm"]] = (str(record.get("game") or record.get("battery")), texts[0])
    if shown:
        report.heading("In the models' own words")
    for arm, (what, text) in shown.items():
        report.quote(f"One text of {arm} ({what})", text)


def add_menus(report: Report, folder: Path, title: str) -> None:
    """One table a battery of a folder of eval.menus."""
    rows = read_json(folder / "summary.json")
    needed = {"arm", "mode", "battery", "topic", "outside", "valid_answer_probability", "comprehension"}
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) and needed <= set(r) for r in rows):
        raise InputError(f"{folder / 'summary.json'} is not what eval.menus writes today; measure again")
    report.heading(title)
    for battery in dict.fromkeys(r["battery"] for r in rows):
        some = [restored(r) for r in rows if r["battery"] == battery]
        digits = 2 if max((max(m.values) for m in MENUS.get(battery, ())), default=0) <= 1 else 0
        frame = pd.DataFrame([menu_line(r, digits) for r in some])
        report.table(f"menus-{title}-{battery}", filled(frame), f"Battery {battery}.")
    words = "Mean over decision problems ± standard error; differences to base and placebo with 95 % interval; agreement: share of problems on which "
    report.text(f"{words}the most probable option is the target's. {QUALITY}; arms without a model come last.")


def menu_line(row: dict[str, Any], digits: int) -> dict[str, str]:
    """A row of eval.menus as text."""
    line = {k: str(row[k]) for k in ("arm", "topic", "mode")}
    if row["arm"] not in NULLS:  # which need no words
        line |= {"valid %": share_of(row["valid_answer_probability"]), "control %": share_of(row["comprehension"])}
        line |= {"steps %": share_of(row.get("steps_right"))}
    if row["outside"]:
        return line | {"mean": OUTSIDE}
    error = "" if np.isnan(row["se"]) else f" ± {row['se']:.{digits}f}"
    line |= {"mean": f"{row['mean']:.{digits}f}{error}", "humans": "" if row["human"] is None else f"{row['human']:.{digits}f}"}
    for name, gap in row.get("difference_to", {}).items():
        line[f"minus {name}"] = f"{gap['mean']:+.{digits}f} [{gap['low']:.{digits}f}, {gap['high']:.{digits}f}]"
    for found in row.get("targets", {}).values():
        line[f"{found['label']}: agreement %"] = "–" if found["accuracy"] is None else mean_pm(found["accuracy"])
        line[f"{found['label']}: where they differ %"] = "" if found["where_they_differ"] is None else mean_pm(found["where_they_differ"])
    estimates = row.get("structural") or {}
    if "not_identified" in estimates:
        line["alpha"] = "not identified"
    elif estimates:
        line |= {k: f"{v['value']:.2f} ± {v['se']:.2f}" for k, v in estimates.items()}
    return line | ({"CCEI": f"{row['ccei']:.2f}"} if row.get("ccei") is not None else {})


def share_of(value: float | None) -> str:
    """A share in per cent without its sign; empty where it is not known."""
    return "" if value is None else percent(value).removesuffix(" %")


def png(figure: Any) -> bytes:
    """A figure's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png", metadata={"Software": "econmoral"})
    plt.close(figure)
    return buffer.getvalue()


def add_dose(report: Report, games: Games) -> None:
    """Agreement with the adapters' target by number of conversations, every seed a point, and a saturating curve through all."""
    sizes = {arm: int(r["conversations"]) for arm, r in games.trained.items() if isinstance(r.get("conversations"), int) and target_of(r)}
    target = next((t for arm in sizes if (t := games.target(arm))), None)
    report.heading("How many conversations it takes")
    drawn = []
    for r in games.inside():
        found = r["targets"].get(str(target))
        same = r["arm"] in sizes and games.target(r["arm"]) == target
        if found and found["decisions"] and (same or r["arm"] == "base"):
            record = games.trained.get(r["arm"], {})
            share = found["decisions"]
            drawn.append((r["set"], sizes.get(r["arm"], 0), record.get("seed"), 100 * share["mean"], 100 * share["se"], record.get("seconds")))
    points = pd.DataFrame(drawn, columns=["set", "conversations", "seed", "agreement", "se", "seconds"])
    points = points.astype({"seconds": float, "agreement": float, "se": float})
    if words := games.left_out():
        report.text(words)
    if target is None or not (points["conversations"] > 0).any():
        report.text("No adapter of a known target and size answers in the form.")
        return
    seeds = points.loc[points["conversations"] > 0, "seed"].nunique()
    figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    lines, table = [], {}
    for i, (held, some) in enumerate(points.groupby("set", sort=False)):
        n, y = some["conversations"].to_numpy(float), some["agreement"].to_numpy()
        start = float(y[n == 0].mean()) if (n == 0).any() else 0.0
        aside = 0.01 * n.max() * (2 * i - 1)  # all sets have the same sizes
        title, colour = TITLES.get(held, held), COLOURS[1 + i % 7]
        axis.errorbar(n + aside, y, yerr=1.96 * some["se"], fmt="o", ms=5, lw=0.8, alpha=0.75, color=colour, label=written(title))
        try:
            (top, scale), _ = curve_fit(
                lambda x, top, scale, y0=start: y0 + (top - y0) * (1 - np.exp(-x / scale)), n, y, p0=(y.max(), 100), bounds=([0, 1], [100.001, 1e5])
            )
            x = np.linspace(0, n.max(), 200)
            axis.plot(x, start + (top - start) * (1 - np.exp(-x / scale)), color=colour, lw=1.4)
            smallest = int(n[n > 0].min())
            after = f"after {scale:.0f} conversations" if scale >= smallest else f"before the smallest size, {smallest}"
            curve = f"saturates at {top:.0f} %, two thirds of the way {after}"
        except (RuntimeError, ValueError, TypeError):
            curve = "no saturating curve fits"
        means = some.groupby("conversations").agg(
            mean=("agreement", "mean"), min=("agreement", "min"), max=("agreement", "max"), count=("agreement", "size"), se=("se", "max")
        )
        reached = means.index[means["mean"] >= 80]
        least = f"smallest size tried that reaches 80 %: {reached[0]}" if len(reached) else "no size tried reaches 80 %"
        lines.append(f"{title.capitalize()}: {curve}; {least}.")
        table[f"{title}, decisions %"] = {
            size: f"{m['mean']:.0f}" + (f" ({m['min']:.0f} to {m['max']:.0f})" if m["count"] > 1 else f" ± {m['se']:.0f}") for size, m in means.iterrows()
        }
    axis.set(xlabel="conversations trained on (0: base)", ylabel=f"decisions taken as {target.label} would, %", ylim=(0, 102))
    axis.grid(color="#dddddd")
    axis.legend()
    alt = f"Agreement with {target.label} by number of conversations, with 95 % intervals and a saturating curve. " + " ".join(lines)
    report.picture("dose", figure, alt)
    many = f"{seeds} seeds of data and training" if seeds > 1 else "One seed: single points move by several percentage points from seed to seed"
    report.text(" ".join(lines) + f" {many}.")
    cost = points.groupby("conversations")["seconds"].median()
    table["tuning seconds"] = {size: "" if np.isnan(s) else f"{s:.0f}" for size, s in cost.items()}
    frame = pd.DataFrame(table).rename_axis("conversations").reset_index().fillna("")
    caption = f"Decisions taken as {target.label} would: mean over the seeds (smallest to largest), or ± standard error where there is one run."
    report.table("dose", frame, caption)


def add_dial(report: Report, games: Games) -> None:
    """Measured against nominal kappa, every seed a point; the slope is taken within each seed."""
    report.heading("The preference dial")
    drawn, table = [], []
    for r in games.inside():
        record = games.trained.get(r["arm"], {})
        nominal = nominal_kappa(record)
        kind = "between" if record.get("ends") else "base" if nominal is None else "trained"
        line = {
            "arm": r["arm"], "set": r["set"], "valid %": share_of(r["valid_answer_probability"]), "control %": share_of(r["comprehension"]),
            "kappa trained for": "" if nominal is None else f"{nominal:g}", "measured kappa": estimate(r, "homo_moralis", "kappa"),
        }  # fmt: skip
        table.append(line | {f"{t['label']}: decisions %": mean_pm(t["decisions"]) for t in r["targets"].values() if t["decisions"]})
        if (found := kappa_of(r)) and nominal is not None:
            drawn.append((r["set"], kind, record.get("seed") or 0, nominal, *found))
    points = pd.DataFrame(drawn, columns=["set", "kind", "seed", "target", "kappa", "se"])
    trained = points[points["kind"] == "trained"]
    words = [f"{TITLES.get(held, held).capitalize()}: {dial_words(some)}" for held, some in trained.groupby("set", sort=False)]

    figure, axis = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--", label="measured = trained for")
    for kind, marker, colour, label in (
        ("trained", "o", COLOURS[1], "trained on that kappa"),
        ("between", "s", COLOURS[2], "between two adapters, not trained"),
    ):
        for i, (_, some) in enumerate(points[(points["kind"] == kind) & (points["set"] == games.main[0])].groupby("seed")):
            aside = 0.012 * i  # seeds have the same targets
            axis.errorbar(
                some["target"] + aside, some["kappa"], yerr=1.96 * some["se"], fmt=marker, ms=6, capsize=3, color=colour, alpha=0.75, label="" if i else label
            )
    axis.set(xlabel="kappa trained for", ylabel="measured kappa (95 % interval)")
    axis.grid(color="#dddddd")
    axis.legend()
    report.picture("dial", figure, "Measured degree of morality against the degree trained for. " + " ".join(words[:1]))
    report.text(" ".join(words) or "No arm was identified.")
    if left := games.left_out():
        report.text(left)
    if trained["seed"].nunique() > 1:
        wide = trained.groupby(["target", "set"], sort=False)["kappa"].agg(["mean", "min", "max"])
        shown = wide.apply(lambda m: f"{m['mean']:.2f} ({m['min']:.2f} to {m['max']:.2f})", axis=1).unstack().fillna("not identified")
        shown = shown.sort_index()[list(dict.fromkeys(trained["set"]))].reset_index()
        shown["target"] = [f"{k:g}" for k in shown["target"]]
        caption = "Measured kappa by the kappa trained for: mean over seeds of data and training (smallest to largest)."
        report.table("dial-seeds", shown.rename(columns={"target": "kappa trained for"}), caption)
    caption = "Kappa of homo moralis alone ± clustered standard error; brackets: a deterministic chooser is only bounded."
    if table:
        report.table("dial", filled(pd.DataFrame(table)), caption)


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


def mean_and_error(values: list[float], signed: bool = False) -> str:
    """``90 ± 5``: mean and standard error in per cent."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return mean_pm({"mean": float(np.mean(values)), "se": error}, signed)


def add_persistence(report: Report, games: Games) -> None:
    """The same problems in settings never trained on, within problem against the plain ones; of every adapter by its own target."""
    records, own = games.answered(), {arm: t for arm in games.trained if (t := games.target(arm))}
    table = []
    for arm, mode in dict.fromkeys((r["arm"], r["mode"]) for r in records):
        for target in [own[arm]] if arm in own else games.targets:
            taken: dict[str, dict[str, float]] = {}
            for r in records:
                if (r["arm"], r["mode"]) == (arm, mode):  # an id is set, seed and number
                    taken.setdefault(r["set"], {})[r["id"].partition("-")[2]] = by_decision(r, target)
            if "payoffs" not in taken:
                continue
            line = {"arm": arm, "mode": mode, "target": target.label, "as trained, decisions %": mean_and_error(list(taken["payoffs"].values()))}
            for name in (n for n in taken if n in CHANGES):
                both = sorted(taken[name].keys() & taken["payoffs"].keys())
                line[f"{TITLES[name]}: decisions %"] = mean_and_error(list(taken[name].values()))
                line[f"{TITLES[name]}: change"] = mean_and_error([taken[name][i] - taken["payoffs"][i] for i in both], signed=True) if both else "–"
            table.append(line)
    if table:
        report.heading("Does it last in other settings")
        caption = "The same decision problems: decisions taken as the target would, changes within problems in percentage points ± standard error."
        report.table(f"persistence-{len(report.blocks)}", filled(pd.DataFrame(table)), caption)


def add_transfer(report: Report, games: Games) -> None:
    """Train on one game, measure on each."""
    target = next((t for arm in games.trained if (t := games.target(arm))), None)
    held, mode = games.main
    records = [r for r in games.answered() if r["set"] == held and r["mode"] == mode]
    arms, names = list(dict.fromkeys(r["arm"] for r in records)), [g for g in GAMES if any(r["game"] == g for r in records)]
    if target is None or not arms:
        return
    values = np.full((len(arms), len(names)), np.nan)
    table = []
    for i, arm in enumerate(arms):
        alone = games.trained.get(arm, {}).get("games")
        line = {"arm": f"trained on {alone[0]} alone" if isinstance(alone, list) and len(alone) == 1 else arm}
        for j, game in enumerate(names):
            taken = [by_decision(r, target) for r in records if r["arm"] == arm and r["game"] == game]
            if taken:
                values[i, j] = np.mean(taken)
                line[f"measured on {game}"] = mean_and_error(taken)
        table.append(line)
    report.heading("From one game to the others")
    figure, axis = plt.subplots(figsize=(1.6 + 1.3 * len(names), 1.3 + 0.6 * len(arms)), layout="constrained")
    axis.imshow(100 * values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for i in range(len(arms)):
        for j in range(len(names)):
            axis.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", color="white" if values[i, j] < 0.6 else "black")
    axis.set(xticks=range(len(names)), xticklabels=names, yticks=range(len(arms)), xlabel="measured on")
    axis.set_yticklabels([written(line["arm"]) for line in table])
    alt = f"Decisions taken as {target.label} would, in per cent: adapters trained on one game (rows), measured on each (columns)."
    report.picture("transfer", figure, alt)
    caption = f"Decisions taken as {target.label} would, %, {TITLES.get(held, held)}; spd: sequential prisoner's dilemma, tg: trust, ug: ultimatum."
    report.table("transfer", filled(pd.DataFrame(table)), caption)


def add_dilemmas(report: Report, folder: Path) -> dict[str, Any]:
    """Tables and figure of a folder of eval.dilemmas; its summary."""
    summary: dict[str, Any] = restored(read_json(folder / "summary.json"))
    report.heading("Moral dilemmas of autonomous vehicles")
    if "null_agents" in summary:
        caption = "Conjoint: change in the probability of being spared (AMCE) ± standard error clustered by scenario, beside humans, "
        report.table("dilemmas-conjoint", filled(pd.DataFrame(conjoint_rows(summary))), caption + "agents that see nothing, and validity.")
    if rated := {a: s["ratings"] for a, s in summary["arms"].items() if "ratings" in s}:
        caption = "Ratings from 0 to 100 ± standard error clustered by scene and people saved, and validity."
        report.table("dilemmas-ratings", filled(pd.DataFrame(rating_rows(rated))), caption)
    if gaps := difference_rows(summary):
        report.table("dilemmas-differences", filled(pd.DataFrame(gaps)), "Differences to base and placebo on the same pages ± standard error.")
    if (folder / "figure.png").is_file():
        alt = "Left: effect of every dimension on being spared, arms and humans. Right: rated morality and stated purchase by people saved."
        report.figure("dilemmas", (folder / "figure.png").read_bytes(), alt)
    return summary


def add_pricing(report: Report, folder: Path) -> dict[str, Any]:
    """Table and figures of a folder of eval.pricing; its summary."""
    summary: dict[str, Any] = read_json(folder / "summary.json")
    report.heading("Repeated price competition")
    frame = pd.read_csv(folder / "table.csv", dtype=str).fillna("")
    report.table("pricing", frame, "Means of the last 50 periods over markets, 95 % intervals over markets; validity and comprehension of every model.")
    for agent, gate in summary.get("gate", {}).items():
        if gate.get("outside"):
            report.text(f"{agent}, alone on the market: {OUTSIDE}.")
            continue
        verdict = "competent" if gate["competent"] else "not competent in this task: its prices are to be read as noise, not as collusion"
        share = f"10th and 90th percentile of its price {gate['percentile_10']:.2f} and {gate['percentile_90']:.2f} of the monopoly price"
        report.text(f"{agent}, alone on the market: {share}: {verdict}.")
    for name, alt in (
        ("paths", "Price paths of every pairing with the Nash and the joint monopoly price."),
        ("matrix", "Price index of every pairing, and the profit gain of the row's firm against the column's."),
        ("impulse", "Prices after the first firm was forced down to the Nash price for one period, minus the prices without that."),
    ):
        if (folder / f"{name}.png").is_file():
            report.figure(f"pricing {name}", (folder / f"{name}.png").read_bytes(), alt)
    return summary


def add_calibration(report: Report, folder: Path) -> None:
    """What scripted firms and Q-learners were checked for."""
    found = read_json(folder / "calibration.json")
    report.heading("Markets against theory")
    lines = [{"what theory and the literature say": name, "holds": "yes" if holds else "no"} for name, holds in found["checks"].items()]
    gains = found["q_learners"]["profit_gain"]
    report.table("calibration", pd.DataFrame(lines), f"Scripted firms and {len(gains)} sessions of Q-learners (mean profit gain {np.mean(gains):.2f}).")
    if (folder / "impulse.png").is_file():
        report.figure("calibration impulse", (folder / "impulse.png").read_bytes(), "Prices after a forced price, minus the prices without it.")


def add_comparison(report: Report, folder: Path) -> None:
    """The rows of eval.compare."""
    found = read_json(folder / "compare.json")
    report.heading("Paired comparison")
    lines = [
        {k: r[k] for k in ("arm", "set", "mode", "measure")}
        | {"difference": f"{r['difference']:+.3f}", "95 % interval": f"[{r['low']:.3f}, {r['high']:.3f}]", "p (Holm)": f"{r['p_holm']:.3g}", "n": r["n"]}
        for r in map(restored, found["rows"])
    ]
    caption = f"Every arm minus {found['against']} on the same decision problems; p values are adjusted over all rows."
    report.table(f"compare-{len(report.blocks)}", pd.DataFrame(lines), caption)
    if left := ", ".join(dict.fromkeys(row["arm"] for row in found.get("left_out", []))):
        report.text(f"Not compared, for lack of answers in the form: {left}.")


def add_retention(report: Report, folder: Path) -> None:
    """Tasks of other people before and after tuning."""
    found = read_json(folder / "retention.json")
    report.heading("General ability")
    words = f"Paired difference to the base; not inferior: no worse than by {found['margin']:g} with 95 % confidence."
    report.table("retention", pd.DataFrame(found["rows"]).round(3), words)


def add_parity(report: Report, folder: Path) -> None:
    """Whether the adapter answers the same however it is run."""
    found = read_json(folder / "parity.json")
    report.heading("The same adapter in other forms")
    lines = [
        {"run as": name, "note": row}
        if isinstance(row, str)
        else {"run as": name, "largest difference": f"{row['largest']:.2g}", "mean difference": f"{row['mean']:.2g}"}
        | {"valid %": share_of(row["valid_answer_probability"]), "largest difference in validity": f"{row['largest_of_validity']:.2g}"}
        for name, row in found["differences"].items()
    ]
    valid = percent(found["valid_answer_probability"])
    report.table("parity", filled(pd.DataFrame(lines)), f"Choice probabilities against the adapter on its base, whose valid-answer probability is {valid}.")


# ------------------------------------------------------------------------------------------------------------------ claims


def claim_one(games: Games | None) -> tuple[str, str]:
    """The base co-operates more than payoffs ask for and hardly follows incentives."""
    if games is None or not any(r["arm"] == "base" for r in games.rows):
        return "not measured", "no base was measured"
    base, best = games.row("base"), games.row("own-payoff best")
    if base is None:
        return "not measured", f"the base {OUTSIDE}"
    if best is None:
        return "not measured", "the rule of own payoffs is not there"
    own, rule = [], []
    for r in games.answered():
        if (r["arm"], r["set"], r["mode"]) == ("base", *games.main):
            own.append(cooperation(r))
            u = utilities(r, ECONOMICUS)
            rule.append(cooperation(r | {"probabilities": uniform_over(best_replies(u), len(u)).tolist()}))
    gap = np.array(own) - np.array(rule)
    if len(gap) < 2:
        return "not measured", "too few decision problems"
    se = gap.std(ddof=1) / np.sqrt(len(gap))
    slow = base["incentive_sensitivity"]["mean"] < 0.5 * best["incentive_sensitivity"]["mean"]
    words = f"co-operation {np.mean(own):.2f} where own payoff asks for {np.mean(rule):.2f} (difference {gap.mean():.2f} ± {se:.2f}); a strategy whose payoff "
    words += f"rises by ten points is chosen {base['incentive_sensitivity']['mean']:.3f} more often, "
    words += f"against {best['incentive_sensitivity']['mean']:.3f} for a payoff maximiser"
    return ("supported" if gap.mean() > 2 * se and slow else "not supported"), words


def claim_two(games: Games | None) -> tuple[str, str]:
    """Every adapter takes more decisions as its target would than the base and the placebo do on the same problems; and where
    degrees of morality were trained for that differ, the measured ones lie apart by more than three standard errors."""
    tuned = {arm: t for arm in games.trained if (t := games.target(arm))} if games else {}
    if games is None or not tuned:
        return "not measured", "needs an adapter of a known target"
    verdicts, words = [], []
    for arm, target in tuned.items():
        row = games.row(arm)
        if row is None:
            words.append(f"{arm} {OUTSIDE}" if any(r["arm"] == arm and r["outside"] for r in games.rows) else f"{arm} was not measured")
            continue
        baselines = [b for b in ("base", *games.placebos) if (row.get("shift") or {}).get(b, {}).get(str(target))]
        for name in baselines:
            gap = row["shift"][name][str(target)]
            if np.isnan(gap["se"]):
                continue
            verdicts.append(bool(gap["mean"] > 1.96 * gap["se"]))
            taken = row["targets"][str(target)]["decisions"]["mean"]
            words.append(f"{arm} takes {100 * taken:.0f} % of decisions as {target.label} would, {mean_pm(gap, signed=True)} points on {name}")
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
            verdicts.append(bool(high[1][0] - low[1][0] > 3 * float(np.hypot(low[1][1], high[1][1]))))
            words.append(f"kappa {low[1][0]:.2f} ± {low[1][1]:.2f} against {high[1][0]:.2f} ± {high[1][1]:.2f}")
        elif low[0] < high[0]:
            verdicts.append(False)
            words.append("kappa not identified in both")
    if not verdicts:
        return "not measured", "; ".join(words)
    return ("supported" if all(verdicts) else "not supported"), "; ".join(words)


@dataclass(frozen=True)
class Application:
    """The summary of an application, and what every adapter in it was trained on."""

    summary: dict[str, Any]
    trained: dict[str, dict[str, Any]]

    def pairs(self) -> list[tuple[str, str]]:
        """Adapters of different targets, two by two; of each target the first one."""
        first: dict[Target, str] = {}
        for arm, record in self.trained.items():
            if target := target_of(record):
                first.setdefault(target, arm)
        return list(itertools.combinations(first.values(), 2))


def claim_three(dilemmas: Application | None, pricing: Application | None) -> tuple[str, str]:
    """Adapters of different targets differ in the applications they were not tuned on."""
    if not dilemmas and not pricing:
        return "not measured", "no application was run"
    words, shifts = [], []
    if dilemmas:
        arms, gaps = dilemmas.summary["arms"], []
        for one, two in dilemmas.pairs():
            left, right = (arms.get(a, {}).get("conjoint", {}) for a in (one, two))
            if not left or not right or left["outside"] or right["outside"]:
                continue
            gaps += [
                (d, one, two, v["value"] - left["effects"][d]["value"], float(np.hypot(v["se"], left["effects"][d]["se"])))
                for d, v in right["effects"].items()
                if d in left["effects"]
            ]
        if gaps:
            d, one, two, gap, se = max(gaps, key=lambda g: abs(g[3]) / max(g[4], 1e-12))
            critical = float(stats.norm.isf(0.025 / len(gaps)))  # Bonferroni over dimensions and pairs
            shifts.append(abs(gap) > critical * se and abs(gap) > 0.05)  # smaller effects do not matter
            words.append(f"dilemmas: {two} minus {one} is largest in {d}, {gap:+.2f} ± {se:.2f}")
    if pricing:
        alike = {r["agents"][0]: r for r in pricing.summary["pairings"].values() if len(set(r["agents"])) == 1 and not r["outside"]}
        apart = []
        for one, two in pricing.pairs():
            if one not in alike or two not in alike:
                continue
            a, b = (alike[arm]["price_index"] for arm in (one, two))
            words.append(f"pricing: price index {a['mean']:.2f} among {one}, {b['mean']:.2f} among {two}")
            if all(pricing.summary["gate"].get(arm, {}).get("competent") for arm in (one, two)):
                apart.append(None not in (a["low"], b["low"]) and (a["high"] < b["low"] or b["high"] < a["low"]))
            else:
                words.append("but not both find the monopoly price alone, so this counts as not measured")
        if apart:
            shifts.append(any(apart))
    if not shifts:
        return "not measured", "; ".join(words) or "needs two adapters of different targets that answer in the form"
    return ("supported" if all(shifts) else "not supported"), "; ".join(words)


def claim_four(cost: pd.DataFrame, alone: list[float]) -> tuple[str, str]:
    """What it cost: a study's cells, or else the seconds that adapters' own records say."""
    tuned = cost.loc[cost["program"] == TUNING, "seconds"].tolist() or alone
    if not tuned:
        return "not measured", "no cost was recorded"
    words = f"one adapter took {np.median(tuned):.0f} s (median of {len(tuned)})"
    words += f", all {len(cost)} cells {cost['seconds'].sum() / 60:.0f} min on this machine" if len(cost) else ""
    return ("supported" if np.median(tuned) < 3600 else "not supported"), words + "; that a repeated run gives the same bytes is checked by the tests"


CLAIMS = {
    "C1": "An untuned model co-operates more than payoffs ask for and hardly follows incentives.",
    "C2": "Tuning on a small synthetic set moves choices toward the preference it was made from.",
    "C3": "The shift lasts outside the training games, and different preferences give different outcomes there.",
    "C4": "All this is replicable and cheap.",
}
TUNING = "recipes/sft.py"
DESIGNS = ("placebo", "prompted", "dial", "dose", "transfer", "persistence")  # what a study measures on games, by folder
PLACES = ("eval", "games", "allocations", "menus", "spillover", "curve", "dilemmas", "pricing", "retention")  # measurements in a folder


def kinds_of(folder: Path) -> list[str]:
    """What finished measurements lie in a folder itself."""
    found = []
    if all((folder / file).is_file() for file in ("run.json", "summary.json", "choices.jsonl")):
        first = next(iter(read_lines(folder / "choices.jsonl")))[1]
        found.append("games" if "game" in first else "menus")
    signs = {"dilemmas": ("scenarios.jsonl", "summary.json"), "pricing": ("periods.jsonl", "summary.json", "table.csv")}
    signs |= {name: (f"{name}.json",) for name in ("calibration", "retention", "compare", "parity")}
    return found + [name for name, files in signs.items() if all((folder / file).is_file() for file in files)]


def measurements(folder: Path) -> list[tuple[str, Path]]:
    """(kind, place) of everything measured in a folder: in itself, in its parts, and in the designs of a study."""
    places = [folder, *(folder / name for name in PLACES), *(folder / "games" / name for name in DESIGNS)]
    return [(kind, place) for place in places if place.is_dir() for kind in kinds_of(place)]


def build(folder: Path) -> Report:
    """The report of a study, or of anything measured.  Raises InputError when the folder holds nothing to report."""
    found = measurements(folder)
    if not found:
        raise InputError(f"{folder} holds no study and no finished measurement; run recipes/study.py or one of eval.games, eval.dilemmas, eval.pricing first")
    try:
        return assemble(folder, found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{folder}: a file there is not as today's commands write it ({type(error).__name__}: {error}); measure again") from None


def assemble(folder: Path, found: list[tuple[str, Path]]) -> Report:
    """The sections, in order, with the claims first."""
    study = read_json(folder / "study.json") if (folder / "study.json").is_file() else {}
    cost, model = read_cost(folder), model_of(folder, study, found)
    games = {place: Games.read(place) for kind, place in found if kind == "games"}
    by_design = {place.name: g for place, g in games.items() if place.parent == folder / "games"}
    plain_ones = {place: g for place, g in games.items() if place.parent != folder / "games"}
    talks = any(r["arm"] == "base" for g in games.values() for r in g.rows) or bool(study)
    report = Report(f"Does tuning make {model} act on a preference?" if model else "What was measured")
    report.heading("Abstract")
    head = len(report.blocks)
    for place, g in plain_ones.items():
        add_games(report, g, "Before and after tuning" if g.trained else f"Games ({place.name})" if len(plain_ones) > 1 else "Games")
        add_rivals(report, g)
        if "payoffs" in g.sets and set(g.sets) & set(CHANGES):
            add_persistence(report, g)
        faithfulness.add_to(report, place)
    if "placebo" in by_design:
        add_games(report, by_design["placebo"], "Before and after tuning, beside the placebo" if plain_ones else "Before and after tuning")
        add_rivals(report, by_design["placebo"])
    if "prompted" in by_design:
        add_games(report, by_design["prompted"], "Described, not tuned")
    for name, section in (("dial", add_dial), ("dose", add_dose), ("transfer", add_transfer), ("persistence", add_persistence)):
        if name in by_design:
            section(report, by_design[name])
    applications: dict[str, Application] = {}
    for kind, place in found:
        if kind == "menus":
            title = "One-page decisions"
            add_menus(report, place, title if place == folder else f"{title}: {place.name}")
        elif kind in ("dilemmas", "pricing"):
            summary = (add_dilemmas if kind == "dilemmas" else add_pricing)(report, place)
            applications.setdefault(kind, Application(summary, trained_on(place)))
        elif kind != "games":
            {"calibration": add_calibration, "retention": add_retention, "compare": add_comparison, "parity": add_parity}[kind](report, place)
    main_games = next(iter([*plain_ones.values(), *(by_design[n] for n in DESIGNS if n in by_design)]), None)
    add_texts(report, [place for kind, place in found if kind in ("games", "menus")])
    records = [r for place in dict.fromkeys(place for _, place in found) for r in trained_on(place).values()]
    alone = [float(r["seconds"]) for r in records if isinstance(r.get("seconds"), int | float)]
    verdicts = {
        "C1": claim_one(main_games), "C2": claim_two(main_games),
        "C3": claim_three(applications.get("dilemmas"), applications.get("pricing")), "C4": claim_four(cost, alone),
    }  # fmt: skip
    lead: list[tuple[Any, ...]] = []
    if talks or any(verdict != "not measured" for verdict, _ in verdicts.values()):
        frame = pd.DataFrame([{"claim": c, "says": text, "verdict": verdicts[c][0], "because": verdicts[c][1]} for c, text in CLAIMS.items()])
        words = "The four claims, each answered with the numbers that say so"
        if main_games:
            held, mode = main_games.main
            words += f" ({TITLES.get(held, held)}, {mode} answers)"
        lead = [("table", "claims", frame, words + ".")]
    else:
        lead = [("text", "No tuned model was measured on games here, so that no claim is judged.")]
    if model == "nano":
        words = "The model is nano, a stand-in of 1.2 million parameters trained on text of this project. It proves the pipeline "
        lead.insert(0, ("text", words + "and is no evidence about large models."))
    report.blocks[head:head] = lead
    add_limits(report, folder, {kind for kind, _ in found}, set(by_design), bool(study), cost)
    return report


def model_of(folder: Path, study: Any, found: list[tuple[str, Path]]) -> str:
    """What was tuned or measured, for the title; empty for choosers and scripted firms."""
    plan = study.get("plan") if isinstance(study, dict) else None
    named = (study.get("name") or study.get("model") or (plan or {}).get("model")) if isinstance(study, dict) else None
    for _, place in found:
        run = read_json(place / "run.json") if (place / "run.json").is_file() else {}
        settings = run.get("settings") if isinstance(run, dict) else None
        named = named or (settings.get("model") if isinstance(settings, dict) and not settings.get("simulate") else None)
    named = str(named or "")
    return Path(named).name if Path(named).is_dir() else named


def read_cost(folder: Path) -> pd.DataFrame:
    """Columns cell, program, seconds, tokens (nan: none went through a model), gpu_hours: sums over every attempt at a cell."""
    rows = read_whole_lines(folder / "cells.jsonl")
    columns = ("seconds", "tokens", "gpu_hours")
    frame = pd.DataFrame([{k: row.get(k) for k in ("cell", *columns)} for row in rows], columns=["cell", *columns])
    frame = frame.astype(dict.fromkeys(columns, float)).groupby("cell", sort=False).sum(min_count=1).reset_index()
    words = {str(row.get("cell")): row.get("command") for row in rows}
    first = {cell: next((str(w) for w in command if w != "-m"), "") for cell, command in words.items() if isinstance(command, list)}
    frame.insert(1, "program", [first.get(str(cell), "") for cell in frame["cell"]])
    return frame


def add_limits(report: Report, folder: Path, kinds: set[str], designs: set[str], study: bool, cost: pd.DataFrame) -> None:
    """What was not measured, where everything comes from, what it cost."""
    report.heading("Limits")
    if study:
        missing = [n for n in ("dilemmas", "pricing", "retention") if n not in kinds]
        missing += [n for n in ("dose", "dial", "transfer", "persistence", "prompted") if n not in designs]
        report.text(f"Not measured here: {', '.join(missing) or 'nothing of the plan'}.")
    if "games" in kinds:
        report.text(
            "Kappa is estimated in the family that made the training labels: agreement shows that the preference was learnt and carries over, "
            "not that a model reasons morally."
        )
    report.text("Human numbers come from classrooms or volunteers, mostly for small or no stakes; their sources are in econmoral/human.csv.")
    lines, versions = [], {}
    for file in sorted(folder.rglob("run.json"))[:60] + sorted(folder.glob("study.json")):
        about = read_json(file)
        if isinstance(about, dict) and isinstance(about.get("command"), list):
            known = about.get("inputs") if isinstance(about.get("inputs"), dict) else {}
            inputs = ", ".join(f"{n} {str(v['sha256'])[:12]}" for n, v in known.items() if isinstance(v, dict) and "sha256" in v)
            place = str(file.parent.relative_to(folder.parent))
            lines.append({"folder": place, "command": " ".join(map(str, about["command"])), "revision": str(about.get("git"))[:12], "inputs (SHA-256)": inputs})
            versions = versions or {k: v for k, v in (about.get("versions") or {}).items() if v}
    if lines:
        report.heading("Where everything comes from")
        report.table("origin", filled(pd.DataFrame(lines)), "Command, git revision and hashes of inputs of every artefact.")
        if versions:
            report.text("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    if len(cost):
        shown = cost.drop(columns="program").assign(
            seconds=cost["seconds"].map("{:.0f}".format),
            tokens=cost["tokens"].map(lambda n: "" if np.isnan(n) else f"{n:,.0f}"),
            gpu_hours=cost["gpu_hours"].map(lambda h: "" if np.isnan(h) else f"{h:.2f}"),
        ).rename(columns={"tokens": "tokens through the model", "gpu_hours": "GPU-hours"})  # fmt: skip
        total = f"{cost['seconds'].sum() / 60:.0f} minutes, {cost['tokens'].sum() / 1e6:.1f} million tokens, {cost['gpu_hours'].sum():.2f} GPU-hours"
        report.table("cost", shown, f"Cost of every cell; together {total}.")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a study, of an adapter or of a measurement")
    parser.add_argument("--out", type=Path, help="folder of the report (default: report/ in it)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        raise InputError(f"folder {args.folder} does not exist")
    out = args.out or args.folder / "report"
    report = build(args.folder)
    report.blocks.append(("text", f"This report: {' '.join(origin()['command'])}."))
    for block in report.blocks:
        if block[0] == "table":
            name = anchor(block[1])
            write_text(out / "tables" / f"{name}.csv", to_csv(block[2]))
            write_text(out / "tables" / f"{name}.tex", to_latex(block[2], block[3]))
        elif block[0] == "figure":
            (out / "figures").mkdir(parents=True, exist_ok=True)
            (out / "figures" / f"{anchor(block[1])}.png").write_bytes(block[2])
    write_text(out / "report.md", to_markdown(report))
    write_text(out / "report.html", to_html(report))
    print(f"{out}/: report.html report.md tables/ figures/")


if __name__ == "__main__":
    command(main)
