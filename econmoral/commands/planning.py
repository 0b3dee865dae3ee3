"""``econmoral power``: how many subjects, items or answers a study needs, for shares and for a
parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from econmoral.commands import figure
from econmoral.estimation.power import (
    ICC,
    Parameter,
    Study,
    contrast,
    detectable,
    implied_icc,
    reached,
    rejections,
    size,
    spread_for,
    studies,
    subjects_for,
)
from econmoral.files.options import Config, option, pairs
from econmoral.files.records import InputError, terminal
from econmoral.files.shown import grid

POWER = 0.8  # where none is given
SHARES_ONLY = ("share", "correlation")
PARAMETER_ONLY = ("family", "theta", "one_arm", "exact", "draws")


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    effect: float = option(None, "difference in shares, or in the parameter", required=True)
    alpha: float = option(0.05, "two-sided level")
    power: float | None = option(
        None, "asked for (default 0.8); not with --parameter and --subjects"
    )
    share: float | None = option(None, "baseline share (default 0.5)")
    spread: float | None = option(
        None, "standard deviation over items or subjects, of the probability or of the parameter"
    )
    icc: float | None = option(
        None,
        f"intra-class correlation instead of a spread (default {ICC:g} for shares, 0 for a "
        "parameter)",
    )
    correlation: float | None = option(
        None, "of a subject's (item's) probabilities in both arms (default 0.5)"
    )
    decisions: int | None = option(None, "of every subject in an arm (parameter: default 20)")
    subjects: int | None = option(
        None, "subjects or items (per arm) that there are: their power instead of a number"
    )
    parameter: str | None = option(None, "plan for this parameter, by simulated estimates")
    family: str | None = option(None, "its family of preferences (default alpha_beta_kappa)")
    theta: str | None = option(
        None, "parameters of the first arm, such as kappa=.3,lambda=.05 (default 0, lambda .05)"
    )
    one_arm: bool = option(False, "test one arm against the value in --theta")
    exact: bool = option(False, "exact choice probabilities of a model, items instead of subjects")
    draws: int | None = option(None, "simulated studies of a parameter (default 200)")
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Sizes or powers.  Raises InputError for inputs that cannot be."""
    other = SHARES_ONLY if options.parameter else PARAMETER_ONLY
    given = {name: getattr(options, name) for name in other}
    idle = [name for name, value in given.items() if value is not None and value is not False]
    if idle:
        kind = "with --parameter" if options.parameter else "without --parameter"
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise InputError(f"{names} does nothing {kind}; leave it out")
    if options.parameter and options.subjects is not None and options.power is not None:
        raise InputError(
            "--power does nothing with --parameter and --subjects, whose power is computed; leave "
            "out --power, or --subjects to find their number"
        )
    if options.subjects is not None and not 3 <= options.subjects <= 10**8:
        raise InputError(f"--subjects must lie between 3 and 100000000, got {options.subjects}")
    try:
        name = options.parameter
        return _parameter(options, name) if name else _shares(options)
    except ValueError as error:
        raise InputError(str(error)) from None


def _shares(options: Options) -> dict[str, Any]:
    power = POWER if options.power is None else options.power
    share = 0.5 if options.share is None else options.share
    correlation = 0.5 if options.correlation is None else options.correlation
    if not 0 < options.alpha < power < 1:
        raise ValueError(
            f"--alpha must lie between 0 and --power, and that below 1, got {options.alpha:g} and "
            f"{power:g}"
        )
    c = contrast(options.effect, share, options.spread, options.icc, correlation)
    about = {
        "shares": list(c.shares),
        "spreads": list(c.spreads),
        "correlation": correlation,
        "decisions": options.decisions,
        "alpha": options.alpha,
    }
    kinds, subjects, alpha = studies(options.decisions), options.subjects, options.alpha
    if subjects is None:
        found = {s.name: size(c, s, alpha, power) for s in kinds}
        return {
            **{name: f.units if f else None for name, f in found.items()},
            "power_there": {name: f.power if f else None for name, f in found.items()},
            "rests_on": {name: f.by if f else None for name, f in found.items()},
            "assumptions": about | {"power": power},
        }

    def least(study: Study) -> float | None:
        return detectable(
            subjects, study, alpha, power, share, options.spread, options.icc, correlation
        )

    return {
        "power": {s.name: reached(c, s, subjects, alpha) for s in kinds},
        "detectable_effect": {s.name: least(s) for s in kinds},
        "assumptions": about | {"power": power, "subjects": subjects},
    }


def _parameter(options: Options, name: str) -> dict[str, Any]:
    if options.spread is not None and options.icc is not None:
        raise ValueError("give either --spread or --icc: each follows from the other")
    study = Parameter(
        options.family or "alpha_beta_kappa",
        name,
        options.effect,
        pairs([p for p in (options.theta or "").split(",") if p.strip()], "--theta"),
        20 if options.decisions is None else options.decisions,
        options.spread or 0.0,
        1 if options.one_arm else 2,
        options.exact,
        options.alpha,
    )
    if options.icc is not None:
        study = replace(study, spread=spread_for(study, options.icc))
    if study.exact and study.spread == 0:
        raise ValueError(
            "exact probabilities of one and the same chooser have no noise to test against; give "
            "the spread over items (--spread or --icc)"
        )
    draws, power = 200 if options.draws is None else options.draws, None
    if options.subjects is None:
        power = POWER if options.power is None else options.power
        found = subjects_for(study, power, draws)
    else:
        if options.subjects * study.decisions > 100_000:
            raise ValueError(
                f"{options.subjects} subjects with {study.decisions} decisions are too many to "
                "simulate; give fewer"
            )
        found = rejections(study, options.subjects, draws)
    return {
        "subjects": found.subjects,
        "power": found.power,
        "power_se": found.power_se,
        "spread_of_estimated_effect": found.spread,
        "studies": found.studies,
        "not_identified": found.not_identified,
        "assumptions": {
            "family": study.family,
            "parameter": study.name,
            "values": [study.value(study.name, 0), study.value(study.name, 1)],
            "decisions": study.decisions,
            "spread": study.spread,
            "icc": implied_icc(study) if study.spread else 0.0,
            "arms": study.arms,
            "exact": study.exact,
            "alpha": study.alpha,
            "power": power,
        },
    }


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console, about = terminal(100), result["assumptions"]
    level = f"two-sided level {about['alpha']:g}"
    if "parameter" in about:
        low, high = about["values"]
        arms = "two arms" if about["arms"] == 2 else "one arm against the first value"
        console.print(
            f"{about['parameter']} {low:g} against {high:g} ({about['family']}), {arms}, {level}"
        )
        unit = "items" if about["exact"] else "subjects"
        per = " per arm" if about["arms"] == 2 else ""
        console.print(
            f"{result['subjects']} {unit}{per} with {about['decisions']} "
            f"decision{'s' if about['decisions'] > 1 else ''} each: power {result['power']:.2f}"
        )
        console.print(
            f"(Monte-Carlo error {result['power_se']:.3f}, {result['studies']} simulated studies, "
            "each estimated)"
        )
        console.print(
            f"{about['parameter']} varies over {unit} with standard deviation {about['spread']:.3g}"
        )
        console.print(f"intra-class correlation of choices: {about['icc']:.3g}")
        if result["not_identified"]:
            console.print(
                f"in {result['not_identified']} studies nothing was identified; they count as not "
                "rejecting"
            )
        return
    one, two = about["shares"]
    console.print(f"shares of {one:g} against {two:g}, {level}")
    s0, s1 = about["spreads"]
    console.print(
        f"probabilities vary over units with standard deviation {s0:.3g} and {s1:.3g}, correlation "
        f"{about['correlation']:g} between arms"
    )
    if "power_there" in result:
        names = list(result["power_there"])
        rows = [
            (
                n,
                figure(result[n], 10),
                figure(result["power_there"][n], 3),
                result["rests_on"][n] or "–",
            )
            for n in names
        ]
        console.print(grid(("study", "needed", "power there", "rests on"), rows))
    else:
        found = [
            (n, figure(p, 3), figure(result["detectable_effect"][n], 3))
            for n, p in result["power"].items()
        ]
        console.print(
            grid(
                (
                    f"study with {about['subjects']}",
                    "power",
                    f"effect found with power {about['power']:g}",
                ),
                found,
            )
        )
    if about["decisions"]:
        console.print(f"subjects: {about['decisions']} decisions of each in an arm")
    else:
        console.print("with --decisions also subjects who decide several times")
