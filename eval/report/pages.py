"""The pages of a report: its sections in order, the claims, the lead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from econmoral.files.records import InputError, read_json, read_object

from .. import faithfulness
from ..measure import CHANGES, TITLES
from . import lead, sections
from .blocks import Block, Figure, Heading, Report, Table, Text
from .claims import CLAIMS, Verdict, claim_four, claim_one, claim_three, claim_two
from .designs import GAME_DESIGNS, Persistence
from .measured import (
    BASE,
    DESIGNS,
    OTHER,
    Application,
    Games,
    measurements,
    model_of,
    read_cost,
    restored,
    trained_on,
)

STAND_IN = (
    "The model is nano, a stand-in of 2 million parameters trained on text of this project. It "
    "proves the pipeline and is no evidence about large models."
)
ELSEWHERE = {
    "calibration": sections.add_calibration,
    "retention": sections.add_retention,
    "compare": sections.add_comparison,
    "parity": sections.add_parity,
}


def build(folder: Path) -> Report:
    """The report of a study, or of anything measured.

    Raises InputError when the folder holds nothing to report.
    """
    found = measurements(folder)
    if not found:
        raise InputError(
            f"{folder} holds no study and no finished measurement; run econmoral study, games, "
            "menus, dilemmas or pricing first"
        )
    if all(kind == OTHER for kind, _ in found):
        raise InputError(
            f"{folder} holds a measurement that has no page of its own; its figures are in "
            f"{found[0][1] / 'table.csv'}"
        )
    try:
        return assemble(folder, found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"{folder}: a file there is not as today's commands write it ({type(error).__name__}: "
            f"{error}); measure again"
        ) from None


def assemble(folder: Path, found: list[tuple[str, Path]]) -> Report:
    """The sections in order; then, before them, the lead and the claims."""
    study = read_object(folder / "study.json")
    cost, model = read_cost(folder), model_of(study, found)
    games = {place: Games.read(place) for kind, place in found if kind == "games"}
    by_design = {place.name: g for place, g in games.items() if place.parent == folder / "games"}
    plain_ones = {place: g for place, g in games.items() if place.parent != folder / "games"}
    report = Report(
        f"Does tuning make {model} act on a preference?" if model else "What was measured"
    )
    add_all_games(report, plain_ones, by_design)
    applications = add_others(report, folder, found)
    sections.add_texts(report, [place for kind, place in found if kind in ("games", "menus")])

    main_games = next(
        iter([*plain_ones.values(), *(by_design[n] for n in DESIGNS if n in by_design)]), None
    )
    records = [
        r
        for place in dict.fromkeys(place for _, place in found)
        for r in trained_on(place).values()
    ]
    alone = [float(s) for r in records if isinstance(s := r.get("seconds"), int | float)]
    verdicts = {
        "C1": claim_one(main_games),
        "C2": claim_two(main_games),
        "C3": claim_three(applications.get("dilemmas"), applications.get("pricing")),
        "C4": claim_four(cost, alone),
    }
    talks = any(r["arm"] == BASE for g in games.values() for r in g.rows) or bool(study)
    report.blocks[:0] = (
        judged(verdicts, main_games)
        if talks or any(v.verdict != "not measured" for v in verdicts.values())
        else []
    )
    add_lead(report, found, main_games, applications, verdicts["C2"])
    if model == "nano":
        report.lead.append(Text(STAND_IN))
    sections.add_limits(report, folder, {kind for kind, _ in found}, set(by_design), study, cost)
    return report


def add_all_games(
    report: Report, plain_ones: dict[Path, Games], by_design: dict[str, Games]
) -> None:
    """Games measured by themselves, then the designs of a study."""
    for place, g in plain_ones.items():
        title = "Before and after tuning" if g.trained else "Games"
        if len(plain_ones) > 1:
            title += f" ({place.name})"
        sections.add_games(report, g, title)
        sections.add_rivals(report, g)
        if "payoffs" in g.sets and set(g.sets) & set(CHANGES):
            Persistence(g).add(report)
        faithfulness.add_to(report, place)
    if "placebo" in by_design:
        sections.add_games(
            report,
            by_design["placebo"],
            "Before and after tuning, beside the placebo"
            if plain_ones
            else "Before and after tuning",
        )
        sections.add_rivals(report, by_design["placebo"])
    if "prompted" in by_design:
        sections.add_games(report, by_design["prompted"], "Described, not tuned")
    for name, design in GAME_DESIGNS.items():
        if name in by_design:
            design(by_design[name]).add(report)


def add_others(
    report: Report, folder: Path, found: list[tuple[str, Path]]
) -> dict[str, Application[Any]]:
    """Everything but games; what the applications gave."""
    applications: dict[str, Application[Any]] = {}
    for kind, place in found:
        if kind == "menus":
            title = "One-page decisions"
            sections.add_menus(
                report, place, title if place == folder else f"{title}: {place.name}"
            )
        elif kind in ("dilemmas", "pricing"):
            add = sections.add_dilemmas if kind == "dilemmas" else sections.add_pricing
            applications.setdefault(kind, Application(add(report, place), trained_on(place)))
        elif kind in ELSEWHERE:
            ELSEWHERE[kind](report, place)
        elif kind == OTHER:
            report.text(f"{place.name}/ has no page of its own; its figures are in its table.csv.")
    return applications


def judged(verdicts: dict[str, Verdict], games: Games | None) -> list[Block]:
    """The table of claims under its heading."""
    frame = pd.DataFrame(
        [
            {
                "claim": c,
                "says": text,
                "verdict": verdicts[c].verdict,
                "because": verdicts[c].because,
            }
            for c, text in CLAIMS.items()
        ]
    )
    words = "The four claims, each answered with the numbers that say so"
    if games:
        held, mode = games.main
        words += f" ({TITLES.get(held, held)}, {mode} answers)"
    return [Heading("The claims"), Table("claims", frame, words + ".")]


def add_lead(
    report: Report,
    found: list[tuple[str, Path]],
    games: Games | None,
    applications: dict[str, Application[Any]],
    tuning: Verdict,
) -> None:
    """The answer in a sentence and a picture.

    Where nothing was tuned, what is largest in what was measured, and the first figure.
    """
    points = lead.of_games(games) if games else []
    menus = next((place for kind, place in found if kind == "menus"), None)
    if not points and menus:
        points = lead.of_menus(
            [restored(r) for r in read_json(menus / "summary.json")], trained_on(menus)
        )
    words = lead.sentence(points, tuning if games and games.tuned else None)
    if not words and "dilemmas" in applications:
        words = lead.spared(applications["dilemmas"].summary)
    if not words and "pricing" in applications:
        words = lead.prices(applications["pricing"].summary)
    if not words and games and games.left_out():
        words = games.left_out()
    report.lead.append(Text(words or "No tuned model was measured here."))
    if points:
        first = len(report.blocks)
        report.picture(
            "answer",
            lead.drawing(points),
            "Decisions taken as a preference would; in blue the adapters that were trained "
            "toward it.",
        )
    else:
        first = next(
            (i for i, block in enumerate(report.blocks) if isinstance(block, Figure)),
            len(report.blocks),
        )
    if first < len(report.blocks):
        report.lead.append(report.blocks.pop(first))
