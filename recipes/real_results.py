"""Tables and figure of a study of a real checkpoint (a plan with adapters),
from whatever of it is there.

    python recipes/real_results.py runs/real/smollm2-135m --out results/real/smollm2-135m

Writes results.json (every number, with its origin), results.md, figure.png and the records of every
measurement.  What was not run is not in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from econmoral.files.options import Config, option, parse
from econmoral.files.records import (
    InputError,
    command,
    finite,
    origin,
    read_json,
    read_lines,
    write_json,
    write_text,
)
from econmoral.files.shown import NOTHING, markdown, with_error
from econmoral.instruments.derivations import read_steps, right_derivation
from econmoral.instruments.menus import ALTRUIST, SPITEFUL
from econmoral.rooms import room
from econmoral.target import ECONOMICUS, Target, moralis, told_apart

figures, shifts, OUTSIDE = room("eval.figure"), room("eval.shifts"), room("eval.validity").OUTSIDE
shown, BALANCED = room("eval.estimate").shown, room("eval.measure").BALANCED
# a rule of eval.table: of every game the plan that is mostly optimal for own payoff
USUAL = f"constant, {ECONOMICUS.label}"

STAGES = (
    "games",
    "games-direct",
    "games-training-wordings",
    "games-balanced",
    "allocations",
    "allocations-direct",
    "bfs39",
    "bfs39-direct",
    "spillover",
    "curve",
    "seeds",
    "dilemmas",
    "pricing",
    "pricing-alone",
)

# stage -> title, and which rows
GAMES = {
    "games": ("payoffs and wordings never trained on", "wordings"),
    "games-direct": ("payoffs and wordings never trained on, direct answers", "wordings"),
    "games-training-wordings": ("payoffs never trained on", "payoffs"),
    "games-balanced": (
        "payoffs and wordings never trained on, own payoff's usual plan wrong in every second one",
        "balanced",
    ),
}
PEOPLE = " of Bruhin, Fehr and Schunk (39 menus), wordings never trained on"
ALLOCATIONS = {
    "allocations": (", payoffs and wordings never trained on", "allocations"),
    "allocations-direct": (
        ", payoffs and wordings never trained on, direct answers",
        "allocations",
    ),
    "bfs39": (PEOPLE, "bfs39"),
    "bfs39-direct": (f"{PEOPLE}, direct answers", "bfs39"),
}
TYPES = {"altruist": ALTRUIST, "spiteful": SPITEFUL}
# what a claim asks for
REACHED = 0.9  # of decisions as the target
ABOVE_FORM = 0.3  # share above the placebo's, which has learnt the form alone
LEAD = 0.15  # share above everything that is no such preference, where it differs
APART = 3  # standard errors between adapters of different targets
WITHIN = 2  # standard errors between an estimate and its target


def portable(value: Any) -> Any:
    """A record without the folders of the machine that wrote it: of an absolute path what lies
    below the working folder, else its name.
    """
    if isinstance(value, dict):
        return {k: portable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [portable(v) for v in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    here = Path.cwd()
    return (
        str(Path(value).relative_to(here)) if Path(value).is_relative_to(here) else Path(value).name
    )


def by_number(run: Path) -> list[str | int]:
    """Sorts a50 before a100: text and numbers in turn."""
    return [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", run.parent.name)]


def load(folder: Path) -> dict[str, Any]:
    """Everything that a study has left behind, by stage."""
    found: dict[str, Any] = {"study": portable(read_json(folder / "study.json")), "adapters": {}}
    for run in sorted((folder / "adapters").glob("*/run.json"), key=by_number):
        found["adapters"][run.parent.name] = portable(read_json(run))
    for stage in STAGES:
        if (folder / stage / "run.json").is_file():
            found[stage] = summary = read_json(folder / stage / "summary.json")
            rows = summary if isinstance(summary, list) else []
            if any(not r["outside"] and r.get("targets") and "fits" not in r for r in rows):
                raise InputError(
                    f"{folder / stage} was measured by an earlier version; give the study's "
                    "command again: answers are kept"
                )
        if (folder / stage / "choices.jsonl").is_file():
            rows = [row for _, row in read_lines(folder / stage / "choices.jsonl")]
            found.setdefault("derivations", {})[stage] = derivations(rows, found["adapters"])
    if (folder / "cells.jsonl").is_file():
        found["cells"] = [portable(row) for _, row in read_lines(folder / "cells.jsonl")]
    return found


# of a derivation on games; what is read off the page, apart from the arithmetic
PARTS: dict[str, Callable[[str], list[str]]] = {
    "rows of points": lambda text: text.split("\n")[0].rstrip(".").split("; "),
    "products": lambda text: re.findall(r"\b[A-Z](?: [A-Z])? \d+ \* \d+(?= =)", text),
    "second mover's points": lambda text: re.findall(r"\b[A-Z] [A-Z] gives \d+", text),
    "plans": lambda text: [text.split("\n")[-1]],
}
POINTS = re.compile(r"[A-Z](?: [A-Z])? \d+ (?:and|\+) \d+")  # how a derivation on games begins


def derivations(
    records: list[dict[str, Any]], adapters: dict[str, Any]
) -> dict[str, dict[str, list[int]]]:
    """[right, all] by condition: steps by their sign, and, of adapters trained on games, the parts
    of the right derivation that stand in what was written.

    The parts are left out where no derivation begins with the page's points: what was written in
    another form, as earlier versions of this project trained, is not wrong.
    """
    found: dict[str, dict[str, list[int]]] = {}
    formed = {
        str(r["arm"])
        for r in records
        if any(
            POINTS.match(text.strip()) for p in r.get("pages", ()) for text in p.get("texts", ())
        )
    }
    for record in records:
        if record["mode"] != "reasoned":
            continue
        arm = str(record["arm"])
        counts = found.setdefault(arm, {})
        pages = record["texts"] if "texts" in record else [p["texts"] for p in record["pages"]]
        run = adapters.get(arm, {})
        known = arm in formed and not run.get("shuffled")
        target = Target.parse(run["target"]) if run and known else None
        for k, texts in enumerate(pages):
            right = right_derivation(record, k, target) if target else None
            for text in texts:
                for step in read_steps(text):
                    count(counts, f"steps {step.sign or '='}", step.right)
                if right is None:
                    continue
                for part, of in PARTS.items():
                    written = of(text.strip())
                    for piece in of(right):
                        count(counts, part, piece in written)
    return found


def count(counts: dict[str, list[int]], name: str, right: bool) -> None:
    """One more, right or not."""
    both = counts.setdefault(name, [0, 0])
    both[0] += right
    both[1] += 1


def derivations_table(counts: dict[str, dict[str, list[int]]]) -> str:
    """What is right in the derivations of every condition, as ``right of all``."""
    names = [*PARTS, *(f"steps {sign}" for sign in "*+-=")]
    names = [n for n in names if any(n in c for c in counts.values())]
    body = [
        [arm, *("{} of {}".format(*c[n]) if n in c else "" for n in names)]
        for arm, c in counts.items()
    ]
    return markdown(["", *names], body)


def percent(value: dict[str, Any] | float | None) -> str:
    """``93 ± 2`` of a share with an error, ``93`` of a number; small ones with two digits."""
    if value is None:
        return NOTHING
    if isinstance(value, dict):
        return with_error(value["mean"], value.get("se"), 0, 100)
    return f"{100 * value:.0f}" if value >= 0.095 or value == 0 else f"{100 * value:.1g}"


def games_table(rows: list[dict[str, Any]], held: str) -> str:
    """Base, told, placebo and adapters on games, both modes; on balanced problems whole plans,
    beside own payoff's usual one.
    """
    rows = [r for r in rows if r["set"] == held]
    labels = told_apart({key: t["label"] for r in rows for key, t in r["targets"].items()})
    usual = held == BALANCED
    rules = ("coin", "own-payoff best", *((USUAL,) if usual else ()))
    what, title = ("accuracy", "plans") if usual else ("decisions", "decisions")
    apart = "where_they_differ" if usual else "decisions_where_they_differ"
    head = ["", "mode", "valid %", "control %", "steps %"]
    head += (
        [f"{title} as {label} %" for label in labels.values()]
        + [f"{'plans ' if usual else ''}where {label} differs %" for label in labels.values()]
        + ["κ"]
    )
    body = []
    for r in rows:
        if r["mode"] == "rule" and r["arm"] not in rules:
            continue
        # an untuned model's few equations say nothing about derivations
        silent = r["outside"] or r["steps_right"] is None
        steps = "" if silent else percent(r["steps_right"])
        rule = r["mode"] == "rule"
        cells = [
            r["arm"],
            r["mode"],
            "" if rule else percent(r["valid_answer_probability"]),
            "" if rule else percent(r["comprehension"]),
            steps,
        ]
        if r["outside"]:
            body.append([*cells, OUTSIDE, *[""] * (2 * len(labels))])
            continue
        cells += [percent(r["targets"][k][what]) for k in labels]
        cells += [percent(r["targets"][k][apart]) for k in labels]
        body.append([*cells, shown(r["fits"]["homo_moralis"], "kappa")])
    return markdown(head, body)


def parameters_table(rows: list[dict[str, Any]], held: str) -> str:
    """What is estimated of everybody's choices on games: all three parameters, then κ alone."""
    body = []
    for r in rows:
        if r["set"] != held or r["mode"] == "rule" or r["outside"]:
            continue
        whole, alone = (r["fits"][family] for family in ("alpha_beta_kappa", "homo_moralis"))
        joint = [shown(whole, name) for name in ("alpha", "beta", "kappa", "lambda")]
        body.append([r["arm"], r["mode"], *joint, shown(alone, "kappa"), shown(alone, "lambda")])
    return markdown(["", "mode", "α", "β", "κ", "λ", "κ (α = β = 0)", "λ (α = β = 0)"], body)


def shifts_of(rows: list[dict[str, Any]], kind: str, name: str) -> list[str]:
    """A title and the table of paired differences to base and placebo, where there are any."""
    head, body = shifts.shift_table([r for r in rows if r[kind] == name])
    unit = "Choices" if kind == "battery" else "Plans" if name == BALANCED else "Decisions"
    return [f"{shifts.shift_title(unit)}:", markdown(head, body)] if body else []


def allocations_table(rows: list[dict[str, Any]], battery: str) -> str:
    """Base, told, placebo and adapters on allocations, beside people where they were asked."""
    rows = [r for r in rows if r["battery"] == battery]
    people = any(r.get("human") is not None for r in rows)
    labels = told_apart(
        {key: t["label"] for r in rows for key, t in (r.get("targets") or {}).items()}
    )
    head = [
        "",
        "mode",
        "valid %",
        "control %",
        "steps %",
        *(f"as {label} %" for label in labels.values()),
    ]
    head += [
        *(
            f"{label}, where own payoff says otherwise %"
            for label in labels.values()
            if label != ECONOMICUS.label
        ),
        "α",
        "β",
        "λ",
        *(("the study's option X %", "correlation with people") if people else ()),
    ]
    body = []
    if people:
        share = next(r["human"] for r in rows if r.get("human") is not None)
        body.append(["160 people", *[""] * (len(head) - 3), percent(share), ""])
    for r in rows:
        steps = "" if r["steps_right"] is None else percent(r["steps_right"])
        cells = [
            r["arm"],
            r["mode"],
            percent(r["valid_answer_probability"]),
            percent(r["comprehension"]),
            steps,
        ]
        if r["outside"]:
            body.append([*cells, OUTSIDE, *[""] * (len(head) - len(cells) - 1)])
            continue
        cells += [percent(r["targets"][k]["accuracy"]) for k in labels]
        cells += [
            percent(r["targets"][k]["where_they_differ"])
            for k in labels
            if labels[k] != ECONOMICUS.label
        ]
        fit = r["fits"]["bruhin_fehr_schunk"]
        cells += [shown(fit, name) for name in ("alpha", "beta", "lambda")]
        if people:
            like = r["correlation_with_humans"]
            cells += [percent(r["mean"]), NOTHING if like is None else f"{like:.2f}"]
        body.append(cells)
    return markdown(head, body)


def training_table(adapters: dict[str, Any]) -> str:
    """What training took and how much of the held-out slice is reproduced."""
    body = []
    for name, run in adapters.items():
        gates = run["gates"]
        target = str(run["target"]) + (" (shuffled)" if run.get("shuffled") else "")
        body.append(
            [
                name,
                target,
                str(run.get("domain")),
                str(gates["labels_checked"]),
                f"{run['tokens']:,.0f}",
                # of a training that was interrupted only the last part was timed
                "–" if run["resumed"] else f"{run['seconds'] / 60:.0f}",
                f"{gates.get('held_out_loss', float('nan')):.3f}",
                percent(gates.get("held_out_reproduced")),
            ]
        )
    head = [
        "adapter",
        "target",
        "domain",
        "conversations",
        "tokens",
        "minutes",
        "held-out loss",
        "held-out conversations word for word %",
    ]
    return markdown(head, body)


def spillover_table(rows: list[dict[str, Any]]) -> str:
    """Everyday situations: probability of the considerate option."""
    body = []
    for r in rows:
        if r["topic"] != "all topics":
            continue
        cells = [r["arm"], percent(r["valid_answer_probability"])]
        if r["outside"]:
            body.append([*cells, OUTSIDE, "", ""])
            continue
        gaps = [r["difference_to"].get(name) for name in ("base", "placebo")]
        body.append(
            [
                *cells,
                with_error(r["mean"], r["se"]),
                *(
                    "" if g is None else f"{g['mean']:+.2f} [{g['low']:+.2f}, {g['high']:+.2f}]"
                    for g in gaps
                ),
            ]
        )
    return markdown(["", "valid %", "considerate option", "minus base", "minus placebo"], body)


def dilemmas_table(summary: dict[str, Any]) -> str:
    """Dilemmas, answered directly: change in the probability of being spared, beside people."""
    people, arms = summary["humans"], summary["arms"]
    world = (f"{v['world']:.2f}" for v in people.values())
    body = [["people of the Moral Machine", "", "", *world]]
    for arm, entry in arms.items():
        found = entry["conjoint"]
        valid, right = found["valid_answer_probability"], found["comprehension"]
        cells = [arm, percent(valid), percent(right)]
        if found["outside"]:
            body.append([*cells, OUTSIDE, *[""] * (len(people) - 1)])
            continue
        effects = [found["effects"].get(dimension) for dimension in people]
        shown = ["" if e is None else with_error(e["value"], e["se"]) for e in effects]
        body.append([*cells, *shown])
    return markdown(["", "valid %", "control %", *people], body)


def pricing_table(summary: dict[str, Any]) -> str:
    """Markets of two firms, and how each agent does on its own."""
    rows = room("eval.pricing").table_rows(summary)
    alone = [
        f"{agent}, alone: {room('eval.pricing').of_gate(gate)}."
        for agent, gate in summary["gate"].items()
    ]
    return "\n\n".join([markdown(list(rows[0]), [list(r.values()) for r in rows]), *alone])


def pick(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any] | None:
    """The first row with these values."""
    return next((r for r in rows if all(r.get(k) == v for k, v in wanted.items())), None)


class Claims:
    """What a study set out to show, each with its figures: shown, not shown, or not measured."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.made: list[dict[str, Any]] = []

    def check(self, text: str, values: list[float | None], good: Callable[..., Any]) -> None:
        """One claim: ``good`` of its values, where all were measured."""
        shown = None if any(v is None for v in values) else bool(good(*values))
        self.made.append({"claim": text, "shown": shown, "values": values})

    def row(self, stage: str, target: Target, shuffled: bool = False) -> dict[str, Any] | None:
        """What the first adapter of a target did in a stage after a derivation; ``shuffled``: the
        first placebo, whatever target its answers were drawn from.
        """
        for row in self.found.get(stage, []):
            run = self.found["adapters"].get(row["arm"])
            if run is None or row["mode"] != "reasoned" or bool(run["shuffled"]) != shuffled:
                continue
            if shuffled or str(Target.parse(run["target"])) == str(target):
                return dict(row)
        return None

    def on_games(self, stage: str, new: str, unit: str = "decisions") -> None:
        """Own payoff and homo moralis .5, by their choices and by the estimated degree.

        unit : what own payoff is judged by, decisions or whole plans (balanced problems, of which
        always taking its usual plan has half of the plans right, but most decisions).
        """
        what = {"decisions": "decisions", "whole plans": "accuracy"}[unit]
        moral = moralis(0.5)
        placebo = self.row(stage, ECONOMICUS, shuffled=True)
        own, kantian = self.row(stage, ECONOMICUS), self.row(stage, moral)
        self.check(
            f"{new}: homo economicus takes {100 * REACHED:.0f} % of {unit} as its target, "
            f"{100 * ABOVE_FORM:.0f} points more than the placebo",
            [share(row, ECONOMICUS, what) for row in (own, placebo)],
            lambda a, b: a >= REACHED and a - b >= ABOVE_FORM,
        )
        self.check(
            f"{new}: homo moralis .5, where it differs, {100 * LEAD:.0f} points above placebo "
            "and above economicus",
            [share(row, moral, "decisions_where_they_differ") for row in (kantian, placebo, own)],
            leads,
        )
        kappas = [
            ((row or {}).get("fits") or {})
            .get("homo_moralis", {})
            .get("estimates", {})
            .get("kappa")
            for row in (kantian, own)
        ]
        self.check(
            f"{new}: homo moralis .5 minus homo economicus, estimated κ: more than {APART} "
            "standard errors",
            [apart(*kappas) if all(kappas) else None],
            lambda gap: gap > APART,
        )
        self.check(
            f"{new}: estimated κ of homo moralis .5 within {WITHIN} standard errors",
            [(k["value"] - 0.5) / k["se"] if k else None for k in kappas[:1]],
            lambda off: abs(off) <= WITHIN,
        )

    def on_choices(self, stage: str, target: Target, what: str, text: str) -> None:
        """A type by its choices between allocations, held against placebo and own payoff."""
        rule = pick(self.found.get(stage, []), arm="most for itself", battery=stage)
        rows = [self.row(stage, target), self.row(stage, target, shuffled=True), rule]
        self.check(
            f"{text} {100 * LEAD:.0f} points above placebo and own payoff",
            [share(row, target, what) for row in rows],
            leads,
        )

    def on_weights(self, stage: str, where: str) -> None:
        """Both types by the weights that are estimated from their choices."""
        fits = {
            name: figures.weights_of(self.row(stage, target) or {})
            for name, target in TYPES.items()
        }
        betas = [fit.get("beta") for fit in fits.values()]
        self.check(
            f"{where}: altruistic minus spiteful adapter, estimated β: more than {APART} standard "
            "errors",
            [apart(*betas) if all(betas) else None],
            lambda gap: gap > APART,
        )
        for name, target in TYPES.items():
            fit = fits[name]
            values = [
                (fit[k]["value"] - value) / fit[k]["se"] if k in fit else None
                for k, value in target.values
            ]
            # an estimate of which nothing is known lies within 2 errors of any target
            ratios = [abs(fit[k]["value"]) / fit[k]["se"] for k, _ in target.values if k in fit]
            self.check(
                f"{where}: estimated α and β of the {name} adapter within {WITHIN} standard "
                f"errors, one of them more than {WITHIN} from own payoff",
                [*values, max(ratios, default=None)],
                lambda a, b, far: max(abs(a), abs(b)) <= WITHIN < far,
            )


def share(row: dict[str, Any] | None, target: Target, what: str) -> float | None:
    """A mean of a row, None where the row is missing or outside the form."""
    if row is None or row["outside"] or str(target) not in (row.get("targets") or {}):
        return None
    found = row["targets"][str(target)][what]
    return None if found is None else float(found["mean"])


def leads(first: float, *others: float) -> bool:
    """Whether a share lies clearly above all others."""
    return first - max(others) >= LEAD


def apart(one: dict[str, float], two: dict[str, float]) -> float:
    """Difference of two independent estimates in its standard errors."""
    return (one["value"] - two["value"]) / float(np.hypot(one["se"], two["se"]))


def verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What the study set out to show, each with its figures: shown, not shown, or not measured."""
    claims, known = Claims(found), "39 menus of Bruhin, Fehr and Schunk"
    claims.on_games("games", "new payoffs and wordings")
    claims.on_games("games-training-wordings", "new payoffs")
    if "games-balanced" in found:  # a design that came later: older studies did not claim it
        claims.on_games("games-balanced", "new payoffs and wordings, balanced", "whole plans")
    for name, title in (("altruist", "altruistic"), ("spiteful", "spiteful")):
        claims.on_choices(
            "allocations",
            TYPES[name],
            "where_they_differ",
            f"{title} type, where it differs from own payoff:",
        )
    for name, target in TYPES.items():
        claims.on_choices("bfs39", target, "accuracy", f"{known}: {name} adapter as its target,")
    claims.on_weights("allocations", "new allocations")
    claims.on_weights("bfs39", known)
    return claims.made


def figure(found: dict[str, Any], path: Path) -> None:
    """Choices as each target by condition, on allocations and on games;
    at the right the estimated weights on the other's payoff.
    """
    menus, human = (
        [r for r in found.get(b, []) if r["battery"] == b and r["mode"] == "reasoned"]
        for b in ("allocations", "bfs39")
    )
    games, known, balanced = (
        [r for r in found.get(stage, []) if r["mode"] == "reasoned"]
        for stage in ("games", "games-training-wordings", "games-balanced")
    )
    panels = [
        (known, "decisions", "Games: new payoffs"),
        (games, "decisions", "Games: new payoffs in new wordings"),
        (balanced, "accuracy", "Games: whole plans, the usual one wrong in half"),
    ]
    panels += [
        (menus, "accuracy", "Allocations: new payoffs"),
        (human, "accuracy", "Allocations of Bruhin, Fehr and Schunk"),
    ]
    panels = [panel for panel in panels if panel[0]]
    if any(r["arm"] in found["adapters"] and not r["outside"] for r in found.get("curve", ())):
        what = "decisions" if on_games(found["curve"]) else "accuracy"
        panels.append((found["curve"], what, "By number of training conversations"))
    if again := [r for r in found.get("seeds", []) if r["mode"] == "reasoned"]:
        what = "decisions" if on_games(again) else "accuracy"
        panels.append((again, what, "Trained again with other seeds"))
    drawn = [r for r in human or menus if figures.weights_of(r)]
    n = max(1, len(panels) + bool(drawn))
    chart = plt.figure(figsize=(5.2 * min(n, 2), 3.9 * ((n + 1) // 2)), layout="constrained")
    axes = [chart.add_subplot((n + 1) // 2, min(n, 2), k + 1) for k in range(n)]
    for axis, (rows, what, title) in zip(axes, panels, strict=False):
        if rows is found.get("curve"):
            draw_curve(axis, found, what)
        else:
            figures.draw_shares(axis, rows, what)
        axis.set_title(title, fontsize=10)
    if drawn:
        figures.draw_weights(axes[-1], drawn, (ALTRUIST, SPITEFUL, ECONOMICUS))
    figures.save(chart, path)


def on_games(rows: list[dict[str, Any]]) -> bool:
    """Whether rows are of games; else of allocations."""
    return any("set" in row for row in rows)


def draw_curve(axis: Any, found: dict[str, Any], what: str) -> None:
    """Share of choices as the adapters' own target by number of conversations,
    beside the untuned model, plain and told of the target; who answers outside the form is named.
    """
    everyone = [r for r in found["curve"] if r["mode"] == "reasoned"]
    rows = [r for r in everyone if not r["outside"]]
    runs = {r["arm"]: found["adapters"].get(r["arm"]) for r in everyone}
    target = next(str(Target.parse(run["target"])) for run in runs.values() if run)
    told = f"base, told {rows[0]['targets'][target]['label']}"
    count = {arm: run["gates"]["labels_checked"] for arm, run in runs.items() if run}
    tuned = {count[r["arm"]]: r["targets"][target][what] for r in rows if r["arm"] in count}
    sizes = sorted(tuned)
    means = [tuned[n]["mean"] for n in sizes]
    errors = [figures.INTERVAL * (tuned[n]["se"] or 0) for n in sizes]
    axis.errorbar(sizes, means, yerr=errors, fmt="o-", color=figures.COLOURS[1], label="tuned")
    lines = {"base": ("untuned", ":"), told: ("untuned, told the preference", "--")}
    for row in rows:
        if row["arm"] in lines:
            label, style = lines[row["arm"]]
            level = row["targets"][target][what]["mean"]
            axis.axhline(level, color=figures.COLOURS[0], ls=style, label=label)
    for arm in (r["arm"] for r in everyone if r["outside"]):
        if arm in count:
            about = {"rotation": 90, "ha": "center", "va": "bottom"}
            axis.text(count[arm], 0.02, OUTSIDE, color="grey", fontsize=8, **about)
        elif arm in lines:
            axis.plot([], [], " ", label=f"{lines[arm][0]}: {OUTSIDE}")
    every = sorted(count.values())
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="conversations (95 % interval over problems)")
    axis.set(xticks=every, xticklabels=every, ylabel="choices as the target")
    axis.set_xlim(0.8 * every[0], 1.25 * every[-1])
    axis.minorticks_off()
    axis.legend(fontsize=8, loc="lower right")
    axis.grid(axis="y", color="#dddddd")


def over_seeds(found: dict[str, Any]) -> str:
    """Mean and spread of trainings with other seeds, of those that answer in the form."""
    every = [r for r in found["seeds"] if r["arm"] in found["adapters"]]
    rows = [r for r in every if not r["outside"]]
    if len(rows) < 2:
        return f"{len(rows)} of {len(every)} trainings answer in the form: no spread."
    what = "decisions" if on_games(rows) else "accuracy"
    target = str(Target.parse(found["adapters"][rows[0]["arm"]]["target"]))
    shares = np.array([100 * r["targets"][target][what]["mean"] for r in rows])
    left_out = "" if len(rows) == len(every) else " (the others answer outside the form)"
    return (
        f"As their target, {len(rows)} of {len(every)} trainings{left_out}: mean "
        f"{shares.mean():.0f} %, standard deviation {shares.std(ddof=1):.0f} points, from "
        f"{shares.min():.0f} to {shares.max():.0f}."
    )


def page(found: dict[str, Any], name: str) -> str:
    """The results as Markdown."""
    marks = {True: "shown", False: "**not shown**"}
    parts = [
        f"# What tuning did to {name}",
        (
            "Written by `recipes/real_results.py`; every number is in results.json. Shares in per "
            "cent ± one standard error over problems."
        ),
    ]
    weights = next((run.get("weights") for run in found["adapters"].values()), None)
    if weights and weights.get("note"):
        parts.append(f"Weights: {weights['note']}.")
    checks = verdicts(found)
    body = [
        [c["claim"], marks[c["shown"]], ", ".join(f"{v:.2f}" for v in c["values"])]
        for c in checks
        if c["shown"] is not None
    ]
    if left := len(checks) - len(body):
        body.append([f"{left} further claims", "not measured here", ""])
    if any(c["shown"] is not None for c in checks):
        parts += ["## What was to be shown", markdown(["claim", "", "figures"], body)]
    parts += ["## Training", training_table(found["adapters"])]
    for stage, (title, held) in GAMES.items():
        if stage in found:
            parts += [f"## Games, {title}", games_table(found[stage], held)]
            parts += shifts_of(found[stage], "set", held)
            parts += ["Estimated parameters:", parameters_table(found[stage], held)]
    for stage, (title, battery) in ALLOCATIONS.items():
        if stage in found:
            parts += [f"## Allocations{title}", allocations_table(found[stage], battery)]
            parts += shifts_of(found[stage], "battery", battery)
    for stage, counts in found.get("derivations", {}).items():
        if counts:
            title = stage.replace("-", ", ", 1).replace("-", " ")
            parts += [f"## What is right in the derivations: {title}", derivations_table(counts)]
    for stage, title in (("curve", "Learning curve"), ("seeds", "Trained again with other seeds")):
        if stage in found:
            rows = found[stage]
            if on_games(rows):
                tables = [games_table(rows, "wordings"), *shifts_of(rows, "set", "wordings")]
                tables += ["Estimated parameters:", parameters_table(rows, "wordings")]
            else:
                tables = [allocations_table(rows, "allocations")]
                tables += shifts_of(rows, "battery", "allocations")
            new = "payoffs and wordings" if on_games(rows) else "payoffs"
            parts += [f"## {title}, {new} never trained on", *tables]
    if "seeds" in found:
        parts += [over_seeds(found)]
    if "spillover" in found:
        parts += ["## Everyday situations (direct answers)", spillover_table(found["spillover"])]
    if "dilemmas" in found:
        parts += [
            f"## Dilemmas of autonomous vehicles ({found['dilemmas']['scenarios']} scenarios, "
            "direct answers)",
            dilemmas_table(found["dilemmas"]),
        ]
    for stage, title in (("pricing", "Pricing"), ("pricing-alone", "Pricing, each firm alone")):
        if stage in found:
            periods = found[stage]["periods"]
            parts += [f"## {title} ({periods} periods, the last 50 of them shown)"]
            parts += [pricing_table(found[stage])]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class ResultsConfig(Config):
    """Options of ``recipes/real_results.py``."""

    folder: Path = option(None, "folder of a study", positional=True)
    out: Path | None = option(None, "where results go (default: the study's folder)")


def main() -> None:
    """Entry point."""
    config = parse(ResultsConfig, None, __doc__)
    if not (config.folder / "study.json").is_file():
        raise InputError(f"{config.folder} holds no study: study.json is missing")
    found, out = load(config.folder), config.out or config.folder
    name = str(found["study"]["name"])
    write_json(
        out / "results.json", finite(origin() | {"name": name, "verdicts": verdicts(found)} | found)
    )
    write_text(out / "results.md", page(found, name))
    for stage in STAGES:  # every page, derivation and probability that the tables rest on
        others = dict.fromkeys(("pricing", "pricing-alone"), "periods.jsonl")
        kept = (others | {"dilemmas": "conjoint.jsonl"}).get(stage, "choices.jsonl")
        choices = config.folder / stage / kept
        if choices.is_file() and out != config.folder:
            write_text(out / f"{stage}.jsonl", choices.read_text(encoding="utf-8"))
    figure(found, out / "figure.png")
    print(f"{out}/: results.json results.md figure.png")


if __name__ == "__main__":
    command(main)
