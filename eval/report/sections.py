"""The sections of a report: what each kind of measurement shows, its tables and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from econmoral.economics.choice import read_decision
from econmoral.economics.human import reference
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import design, out_of_sample
from econmoral.files.records import InputError, read_json, read_lines, read_object
from econmoral.files.shown import NOT_IDENTIFIED, in_percent, interval, with_error
from econmoral.instruments.menus import MENUS

from ..dilemmas import DilemmaSummary, conjoint_rows, difference_rows, rating_rows
from ..estimate import parameters_shown, shown
from ..measure import TITLES, GameRecord
from ..menus import FAMILY, NULLS, MenuSummary
from ..outcomes import PricingSummary
from ..shifts import shift_table, shift_title
from ..table import GameSummary, table
from ..validity import OUTSIDE, percent
from .blocks import Report, filled
from .measured import RULE, Games, Record, restored, superseded

TEXTS = 4  # derivations that are shown
PEOPLE = "humans: mean over 41 articles, Nunnari and Pozzi (2026), Economic Journal"
FLOOR = (
    "Mean ± standard error, clustered by decision problem; then rules that need no model: the floor"
)
QUALITY = (
    "valid %: probability of an admissible reply; control %: of the right reply to control "
    "questions"
)


def structural_table(rows: list[GameSummary]) -> pd.DataFrame:
    """Validity, agreement, sensitivity and parameters of every arm and rule of one set and mode.

    Humans last.
    """
    frame = table(rows).drop(columns=["set", "mode", "lnL"], errors="ignore")
    if "note" in frame:  # in place of the first figure
        figures = [
            c for c in frame.columns if c not in ("arm", "valid %", "control %", "steps %", "note")
        ]
        frame = frame.rename(columns={"note": "agreement"}) if not figures else frame
        if figures:
            frame.loc[frame["note"] != "", figures[0]] = frame["note"]
            frame = frame.drop(columns="note")
    rules = np.array([r["mode"] == RULE for r in rows])
    parameters = [c for c in ("alpha", "beta", "kappa", "lambda / 10", "kappa alone") if c in frame]
    frame.loc[rules, parameters] = ""
    if "alpha" in frame and not rules.all():
        people = reference("inequity aversion").set_index("statistic")
        shown = {
            p: f"{people.loc[f'mean {p} over studies', 'value']:.2f}" for p in ("alpha", "beta")
        }
        frame = pd.concat(
            [frame, pd.DataFrame([{"arm": "humans, other games", **shown}])], ignore_index=True
        )
    return filled(frame)


def rivals(records: list[GameRecord]) -> pd.DataFrame:
    """Log-likelihood of a decision that the estimate has not seen (five folds),
    by arm and family of preferences; a coin beside.

    Families that no arm identifies are left out.
    """
    lines = []
    for arm in dict.fromkeys(r["arm"] for r in records):
        decisions = [
            read_decision(r) for r in records if r["arm"] == arm and r["probabilities"] is not None
        ]
        if not decisions:
            continue
        designs = {family: design(decisions, family) for family in FAMILIES}
        clusters = len(next(iter(designs.values())).names)
        found = out_of_sample(designs, min(5, clusters), seed=0) if clusters > 1 else {}
        each = {
            family: values.sum() / len(decisions)
            for family, values in found.items()
            if np.isfinite(values).all()
        }
        each["coin"] = -float(np.mean([np.log(len(d.choice)) for d in decisions]))
        best = max(each, key=lambda family: each[family])
        lines.append(
            {"arm": arm}
            | {family: f"{v:.3f}" for family, v in each.items()}
            | {"predicts best": best}
        )
    frame = pd.DataFrame(lines)
    named = [f for f in FAMILIES if f in frame]
    return (
        frame[["arm", *named, "coin", "predicts best"]].fillna(NOT_IDENTIFIED)
        if named
        else pd.DataFrame()
    )


def add_rivals(report: Report, games: Games) -> None:
    """Which family of preferences predicts best."""
    records, (held, _) = games.answered(), games.main
    for mode in games.modes:
        try:
            frame = rivals([r for r in records if r["mode"] == mode and r["set"] == held])
        except ValueError as error:
            raise InputError(f"{games.folder / 'choices.jsonl'}: {error}; measure again") from None
        if len(frame):
            caption = (
                "Rival families of preferences: log-likelihood of a decision left out of the "
                "estimate (nearer 0 predicts better), "
            )
            # headings that can be broken
            frame = frame.rename(columns={family: family.replace("_", " ") for family in FAMILIES})
            shown = (
                "arm",
                "predicts best",
                "coin",
                *(c for c in frame if c not in ("arm", "predicts best", "coin")),
            )
            report.table(
                f"rivals {mode}", frame, f"{caption}{TITLES.get(held, held)}, {mode}.", shown
            )


def add_games(report: Report, games: Games, title: str) -> None:
    """Tables and figures of a folder of eval.games: every set and mode,
    then the shifts against base and placebo.
    """
    report.heading(title)
    for mode in games.modes:
        for held in games.sets:
            rows = [r for r in games.rows if r["set"] == held and r["mode"] in (mode, RULE)]
            if not any(r["mode"] == mode for r in rows):
                continue
            caption = (
                f"{TITLES.get(held, held).capitalize()}, {mode} answers. {FLOOR}; {PEOPLE}. "
                f"{QUALITY}."
            )
            frame = structural_table(rows)
            decided = dict.fromkeys(
                f"{t['label']}: decisions %" for r in rows for t in r["targets"].values()
            )
            shown = (
                "arm",
                "valid %",
                "control %",
                "agreement",
                *decided,
                "kappa alone",
                "sensitivity",
            )
            report.table(f"games {title} {held} {mode}", frame, caption, shown)
    if words := games.left_out():
        report.text(words)
    shifts = []
    for r in games.inside():
        target = games.target(r["arm"])
        if target is None:
            continue
        for other, gaps in r.get("shift", {}).items():
            if gap := gaps.get(str(target)):
                shifts.append(
                    {
                        "arm": r["arm"],
                        "trained toward": target.label,
                        "set": r["set"],
                        "mode": r["mode"],
                        "baseline": other,
                    }
                    | {"shift": in_percent(gap, signed=True), "problems": gap["n"]}
                )
    if shifts:
        caption = (
            "Decisions taken as the adapter's own target would, minus those of a baseline on the "
            "same problems, in percentage points."
        )
        report.table(f"shifts {title}", pd.DataFrame(shifts), caption)
    alt = (
        "Left: mean probability of every whole strategy by game and arm. Right: estimated degree "
        "of morality of every arm with 95 % interval."
    )
    for file in sorted(games.folder.glob("figure*.png")):
        report.figure(f"{title} {file.stem}", file.read_bytes(), alt)


def add_texts(report: Report, folders: list[Path]) -> None:
    """A few derivations or replies as the models wrote them."""
    shown: dict[str, tuple[str, str]] = {}
    for folder in folders:
        for _, record in read_lines(folder / "choices.jsonl"):
            pages = [
                page.get("texts") or []
                for page in record.get("pages") or []
                if isinstance(page, dict)
            ]
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
    needed = {
        "arm",
        "mode",
        "battery",
        "topic",
        "outside",
        "valid_answer_probability",
        "comprehension",
    }
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(r, dict) and needed <= set(r) for r in rows)
        or any("targets" in r and "fits" not in r for r in rows)
    ):
        raise InputError(
            f"{folder / 'summary.json'} is not what eval.menus writes today; measure again"
        )
    report.heading(title)
    for battery in dict.fromkeys(r["battery"] for r in rows):
        some = [restored(r) for r in rows if r["battery"] == battery]
        digits = 2 if max((max(m.values) for m in MENUS.get(battery, ())), default=0) <= 1 else 0
        frame = pd.DataFrame([menu_line(r, digits) for r in some])
        gaps = dict.fromkeys(f"minus {name}" for r in some for name in r.get("difference_to", {}))
        agreed = dict.fromkeys(
            f"{t['label']}: agreement %" for r in some for t in r.get("targets", {}).values()
        )
        report.table(
            f"menus {title} {battery}",
            filled(frame),
            f"Battery {battery}.",
            ("arm", "topic", "mode", "valid %", "mean", "humans", *gaps, *agreed),
        )
        head, body = shift_table(some)
        if body:
            moved = pd.DataFrame(body, columns=["arm", *head[1:]])
            caption = shift_title("Choices")
            report.table(f"menus {title} {battery} shifts", moved, f"{caption}.", tuple(moved))
    words = (
        "Mean over decision problems ± standard error; differences to base and placebo with 95 % "
        "interval; agreement: share of problems on which "
    )
    report.text(
        f"{words}the most probable option is the target's. {QUALITY}; arms without a model come "
        "last."
    )


def menu_line(row: MenuSummary, digits: int) -> dict[str, str]:
    """A row of eval.menus as text."""
    line = {k: str(row[k]) for k in ("arm", "topic", "mode")}
    if row["arm"] not in NULLS:  # which need no words
        line |= {
            "valid %": share_of(row["valid_answer_probability"]),
            "control %": share_of(row["comprehension"]),
        }
        line |= {"steps %": share_of(row.get("steps_right"))}
    if row["outside"]:
        return line | {"mean": OUTSIDE}
    line |= {
        "mean": with_error(row["mean"], row["se"], digits),
        "humans": "" if row["human"] is None else f"{row['human']:.{digits}f}",
    }
    for name, gap in row.get("difference_to", {}).items():
        line[f"minus {name}"] = (
            f"{with_error(gap['mean'], None, digits, signed=True)} "
            f"{interval(gap['low'], gap['high'], digits)}"
        )
    for found in row.get("targets", {}).values():
        line[f"{found['label']}: agreement %"] = (
            "–" if found["accuracy"] is None else in_percent(found["accuracy"])
        )
        line[f"{found['label']}: where they differ %"] = (
            "" if found["where_they_differ"] is None else in_percent(found["where_they_differ"])
        )
    for family, fit in row.get("fits", {}).items():
        of = "" if family == FAMILY else f"{family}: "
        line |= {of + k: shown(fit, k) for k in (*parameters_shown(family), "lambda")}
    return line | ({"CCEI": f"{row['ccei']:.2f}"} if row.get("ccei") is not None else {})


def share_of(value: float | None) -> str:
    """A share in per cent without its sign; empty where it is not known."""
    return "" if value is None else percent(value, sign="")


def add_dilemmas(report: Report, folder: Path) -> DilemmaSummary:
    """Tables and figure of a folder of eval.dilemmas; its summary."""
    summary: DilemmaSummary = restored(read_json(folder / "summary.json"))
    report.heading("Moral dilemmas of autonomous vehicles")
    if "null_agents" in summary:
        caption = (
            "Conjoint: change in the probability of being spared (AMCE) ± standard error "
            "clustered by scenario, beside humans, "
        )
        report.table(
            "dilemmas conjoint",
            filled(pd.DataFrame(conjoint_rows(summary))),
            caption + "agents that see nothing, and validity.",
        )
    if rated := {a: s["ratings"] for a, s in summary["arms"].items() if "ratings" in s}:
        caption = (
            "Ratings from 0 to 100 ± standard error clustered by scene and people saved, and "
            "validity."
        )
        report.table("dilemmas ratings", filled(pd.DataFrame(rating_rows(rated))), caption)
    if gaps := difference_rows(summary):
        report.table(
            "dilemmas differences",
            filled(pd.DataFrame(gaps)),
            "Differences to base and placebo on the same pages ± standard error.",
        )
    if (folder / "figure.png").is_file():
        alt = (
            "Left: effect of every dimension on being spared, arms and humans. Right: rated "
            "morality and stated purchase by people saved."
        )
        report.figure("dilemmas", (folder / "figure.png").read_bytes(), alt)
    return summary


def add_pricing(report: Report, folder: Path) -> PricingSummary:
    """Table and figures of a folder of eval.pricing; its summary."""
    summary: PricingSummary = read_json(folder / "summary.json")
    report.heading("Repeated price competition")
    frame = pd.read_csv(folder / "table.csv", dtype=str).fillna("")
    report.table(
        "pricing",
        frame,
        "Means of the last 50 periods over markets, 95 % intervals over markets; validity and "
        "comprehension of every model.",
    )
    for agent, gate in summary.get("gate", {}).items():
        if gate.get("outside"):
            report.text(f"{agent}, alone on the market: {OUTSIDE}.")
            continue
        verdict = (
            "competent"
            if gate["competent"]
            else "not competent in this task: its prices are to be read as noise, not as collusion"
        )
        share = (
            f"10th and 90th percentile of its price {gate['percentile_10']:.2f} and "
            f"{gate['percentile_90']:.2f} of the monopoly price"
        )
        report.text(f"{agent}, alone on the market: {share}: {verdict}.")
    for name, alt in (
        ("paths", "Price paths of every pairing with the Nash and the joint monopoly price."),
        (
            "matrix",
            (
                "Price index of every pairing, and the profit gain of the row's firm against the "
                "column's."
            ),
        ),
        (
            "impulse",
            (
                "Prices after the first firm was forced down to the Nash price for one period, "
                "minus the prices without that."
            ),
        ),
    ):
        if (folder / f"{name}.png").is_file():
            report.figure(f"pricing {name}", (folder / f"{name}.png").read_bytes(), alt)
    return summary


def add_calibration(report: Report, folder: Path) -> None:
    """What scripted firms and Q-learners were checked for."""
    found = read_json(folder / "calibration.json")
    report.heading("Markets against theory")
    lines = [
        {"what theory and the literature say": name, "holds": "yes" if holds else "no"}
        for name, holds in found["checks"].items()
    ]
    gains = found["q_learners"]["profit_gain"]
    report.table(
        "calibration",
        pd.DataFrame(lines),
        f"Scripted firms and {len(gains)} sessions of Q-learners (mean profit gain "
        f"{np.mean(gains):.2f}).",
    )
    if (folder / "impulse.png").is_file():
        report.figure(
            "calibration impulse",
            (folder / "impulse.png").read_bytes(),
            "Prices after a forced price, minus the prices without it.",
        )


def add_comparison(report: Report, folder: Path) -> None:
    """The rows of eval.compare."""
    found = read_json(folder / "compare.json")
    report.heading("Paired comparison")
    if superseded(found, folder):
        report.text(
            "What was compared has been measured again since; run econmoral compare once more."
        )
        return
    lines = [
        {k: r[k] for k in ("arm", "set", "mode", "measure")}
        | {
            "difference": f"{r['difference']:+.3f}",
            "95 % interval": f"[{r['low']:.3f}, {r['high']:.3f}]",
            "p (Holm)": f"{r['p_holm']:.3g}",
            "n": r["n"],
        }
        for r in map(restored, found["rows"])
    ]
    caption = (
        f"Every arm minus {found['against']} on the same decision problems; p values are adjusted "
        "over all rows."
    )
    report.table("compare", pd.DataFrame(lines), caption)
    if left := ", ".join(dict.fromkeys(row["arm"] for row in found.get("left_out", []))):
        report.text(f"Not compared, for lack of answers in the form: {left}.")


def add_retention(report: Report, folder: Path) -> None:
    """Tasks of other people before and after tuning."""
    found = read_json(folder / "retention.json")
    report.heading("General ability")
    words = (
        f"Paired difference to the base; not inferior: no worse than by {found['margin']:g} with "
        "95 % confidence."
    )
    report.table("retention", pd.DataFrame(found["rows"]).round(3), words)


def add_parity(report: Report, folder: Path) -> None:
    """Whether the adapter answers the same however it is run."""
    found = read_json(folder / "parity.json")
    report.heading("The same adapter in other forms")
    if superseded(found, folder):
        report.text("The adapter has changed since; run econmoral parity once more.")
        return
    lines = [
        {"run as": name, "note": row}
        if isinstance(row, str)
        else {
            "run as": name,
            "largest difference": f"{row['largest']:.2g}",
            "mean difference": f"{row['mean']:.2g}",
        }
        | {
            "valid %": share_of(row["valid_answer_probability"]),
            "largest difference in validity": f"{row['largest_of_validity']:.2g}",
        }
        for name, row in found["differences"].items()
    ]
    valid = percent(found["valid_answer_probability"])
    report.table(
        "parity",
        filled(pd.DataFrame(lines)),
        "Choice probabilities against the adapter on its base, whose valid-answer probability is "
        f"{valid}.",
    )


def add_limits(
    report: Report,
    folder: Path,
    kinds: set[str],
    designs: set[str],
    study: Record,
    cost: pd.DataFrame,
) -> None:
    """What was not measured, where everything comes from, what it cost."""
    report.heading("Limits")
    if study:
        missing = [n for n in ("dilemmas", "pricing", "retention") if n not in kinds]
        plan = study.get("plan")
        # where a plan names adapters, its designs are measurements of these
        if not (isinstance(plan, dict) and plan.get("adapters")):
            usual = ("dose", "dial", "transfer", "persistence", "prompted")
            missing += [n for n in usual if n not in designs]
        report.text(f"Not measured here: {', '.join(missing) or 'nothing of the plan'}.")
    if "games" in kinds:
        report.text(
            "Kappa is estimated in the family that made the training labels: agreement shows that "
            "the preference was learnt and carries over, not that a model reasons morally."
        )
    report.text(
        "Human numbers come from classrooms or volunteers, mostly for small or no stakes; their "
        "sources are in econmoral/economics/human.csv."
    )
    lines: list[dict[str, str]] = []
    versions: dict[str, str] = {}
    for file in sorted(folder.rglob("run.json"))[:60] + sorted(folder.glob("study.json")):
        about = read_object(file)
        if isinstance(about.get("command"), list):
            known = found if isinstance(found := about.get("inputs"), dict) else {}
            inputs = ", ".join(
                f"{n} {str(v['sha256'])[:12]}"
                for n, v in known.items()
                if isinstance(v, dict) and "sha256" in v
            )
            place, revision = (
                str(file.parent.relative_to(folder.parent)),
                str(about.get("git") or "")[:12],
            )
            lines.append(
                {
                    "folder": place,
                    "command": " ".join(map(str, about["command"])),
                    "revision": revision,
                    "inputs (SHA-256)": inputs,
                }
            )
            versions = versions or {k: v for k, v in (about.get("versions") or {}).items() if v}
    if lines:
        report.heading("Where everything comes from")
        report.table(
            "origin",
            filled(pd.DataFrame(lines)),
            "Command, git revision and hashes of inputs of every artefact.",
        )
        if versions:
            report.text("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    if len(cost):
        shown = (
            cost.drop(columns="program")
            .assign(
                seconds=cost["seconds"].map("{:.0f}".format),
                tokens=cost["tokens"].map(lambda n: "" if np.isnan(n) else f"{n:,.0f}"),
                gpu_hours=cost["gpu_hours"].map(lambda h: "" if np.isnan(h) else f"{h:.2f}"),
            )
            .rename(columns={"tokens": "tokens through the model", "gpu_hours": "GPU-hours"})
        )
        total = (
            f"{cost['seconds'].sum() / 60:.0f} minutes, {cost['tokens'].sum() / 1e6:.1f} million "
            f"tokens, {cost['gpu_hours'].sum():.2f} GPU-hours"
        )
        report.table("cost", shown, f"Cost of every cell; together {total}.")
