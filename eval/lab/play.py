"""Play it yourself: the battery that models are measured with, and one's own estimates.

A person's answers are decisions like a model's, with one choice where a model has probabilities;
they go through the same estimator.  One person gives few of them: errors take the model as true,
intervals of preference parameters are by likelihood ratio, and what the answers do not pin down is
said.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.economics.games import BATTERY, GAMES, UNIT, Protocol, belief_weights, draw_beliefs
from econmoral.economics.human import reference
from econmoral.estimation.estimate import fit
from econmoral.estimation.identification import NotIdentified
from econmoral.files.records import InputError, plain, read_json
from econmoral.instruments.games import (
    TENTHS,
    Item,
    Layout,
    decisions,
    draw_layout,
    label_of,
    page_actions,
    page_order,
    page_text,
)
from econmoral.target import number
from econmoral.text.conversation import Question

from .engines import folders
from .markup import block, esc, notice, paragraph, table
from .markup import number as shown

# of the eighteen protocols: from every game the ends and what lies between
TEN = (0, 2, 3, 5, 6, 8, 11, 12, 14, 17)
LENGTHS = {18: tuple(range(len(BATTERY))), 10: TEN}
TYPES = ("strongly altruistic", "moderately altruistic", "behindness averse")


@dataclass(frozen=True)
class Problem:
    """One decision problem for a person.  beliefs : what the page states; None where the person is
    asked.
    """

    protocol: Protocol
    beliefs: tuple[float, ...] | None
    layout: Layout

    @property
    def page(self) -> str:
        """The page as a model reads it."""
        return page_text(Item(self.protocol, self.beliefs), self.layout)

    @property
    def questions(self) -> tuple[Question, ...]:
        """The decisions, in the order of the page."""
        return decisions(self.layout)


@dataclass(frozen=True)
class Answered:
    """A problem with a person's plan: the move at every information set, and beliefs about the
    other's.
    """

    problem: Problem
    moves: tuple[str, ...]
    beliefs: tuple[float, ...]


def battery(length: int, stated: bool, seed: int) -> list[Problem]:
    """The eighteen protocols, or ten of them, in an order and with labels (and, where stated,
    beliefs) that follow from the seed.

    Raises InputError for another length.
    """
    if length not in LENGTHS:
        raise InputError(
            f"there are batteries of {' and '.join(map(str, LENGTHS))} problems, not of {length}"
        )
    rng = np.random.default_rng(seed)
    found = []
    for i in rng.permutation(LENGTHS[length]):
        protocol = BATTERY[int(i)]
        beliefs = draw_beliefs(protocol.game, rng)
        found.append(
            Problem(
                protocol, beliefs if stated else None, draw_layout(protocol.game, rng, ("study",))
            )
        )
    return found


def answer(
    problem: Problem, labels: Sequence[str | None], expected: Sequence[int | None] = ()
) -> Answered:
    """The plan behind the labels that were chosen, in page order; ``expected``: of ten others, how
    many make the first move of each information set, where beliefs were asked.  Raises InputError
    for an unanswered question.
    """
    game, moves = GAMES[problem.protocol.game], [""] * len(GAMES[problem.protocol.game].info_sets)
    for k, label in zip(page_order(problem.layout), labels, strict=False):
        named = [
            a for a in page_actions(problem.layout, k) if label_of(problem.layout, k, a) == label
        ]
        if not named:
            raise InputError("Answer every question of the page first.")
        moves[k] = named[0]
    if "" in moves:
        raise InputError("Answer every question of the page first.")
    beliefs = problem.beliefs
    if beliefs is None:
        given = list(expected)[: len(game.info_sets)]
        if len(given) < len(game.info_sets) or any(
            b is None or not 0 <= b <= TENTHS for b in given
        ):
            raise InputError(
                f"Say for every question how many of {TENTHS} others you expect, from 0 to "
                f"{TENTHS}."
            )
        beliefs = tuple(int(b or 0) / TENTHS for b in given)
    return Answered(problem, tuple(moves), beliefs)


def belief_text(problem: Problem, info_set: int) -> str:
    """What is asked about the others at an information set."""
    info = GAMES[problem.protocol.game].info_sets[info_set]
    label = label_of(problem.layout, info_set, info.actions[0])
    after = f" after {label_of(problem.layout, 0, info.after[0])}" if info.after else ""
    return (
        f"Of {TENTHS} other {'second' if info.role else 'first'} movers, how many choose "
        f"{label}{after}?"
    )


def decision(answered: Answered, number_of: int) -> Decision:
    """The answer as the estimator reads it."""
    protocol = answered.problem.protocol
    choice = np.zeros(len(protocol.tables.strategies))
    choice[GAMES[protocol.game].strategies.index(answered.moves)] = 1
    return Decision(
        protocol.tables, belief_weights(protocol.game, answered.beliefs), choice, str(number_of)
    )


@dataclass(frozen=True)
class Estimated:
    """Estimates of one family with intervals; or ``why`` there are none, and bounds."""

    family: str
    values: dict[str, tuple[float, float, float]]  # name -> value, low, high
    why: str = ""
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)


def estimate(answers: Sequence[Answered], family: str = "alpha_beta_kappa") -> Estimated:
    """A person's preference by maximum likelihood: 95 % intervals by profile likelihood, of lambda
    by Wald.
    """
    try:
        found = fit([decision(a, k) for k, a in enumerate(answers)], family, errors="hessian")
        names = [n for n in found.estimates if n != "lambda"]
        spans = {n: found.interval(n, method="profile") for n in names} | {
            "lambda": found.interval("lambda")
        }
    except NotIdentified as error:
        return Estimated(
            family,
            {},
            str(error),
            {k: (float(a), float(b)) for k, (a, b) in (error.bounds or {}).items()},
        )
    return Estimated(
        family, {n: (v, float(spans[n][0]), float(spans[n][1])) for n, v in found.estimates.items()}
    )


@dataclass(frozen=True)
class Known:
    """Estimates of somebody else: name -> value and standard error (None where it was not
    published).
    """

    who: str
    values: dict[str, tuple[float, float | None]]


def human_types() -> list[Known]:
    """The three types of Bruhin, Fehr and Schunk (2019), in the notation of this family: alpha
    takes off where one is behind.
    """
    rows = reference("distributional preferences").set_index("statistic")["value"]
    found = []
    for kind in TYPES:
        alpha, beta = (float(rows[f"{p} of type {kind}, session 1"]) for p in ("alpha", "beta"))
        share = float(rows[f"share of type {kind}, session 1"])
        found.append(
            Known(
                f"people: {kind} ({100 * share:.0f} %)",
                {"alpha": (-alpha, None), "beta": (beta, None)},
            )
        )
    return found


def model_estimates(runs: Path) -> list[Known]:
    """What measurements under a folder estimated of conditions that answer in the form, on held-out
    payoffs.
    """
    found = []
    for folder in folders(runs, "summary.json"):
        try:
            rows = read_json(folder / "summary.json")
        except InputError:
            continue
        for row in rows if isinstance(rows, list) else []:
            fits = row.get("fits") if isinstance(row, dict) else None
            fitted = fits.get("alpha_beta_kappa") if isinstance(fits, dict) else None
            if (
                not isinstance(fitted, dict)
                or not fitted.get("estimates")
                or row.get("outside")
                or row.get("set") != "payoffs"
                or row.get("mode") == "rule"
            ):
                continue
            values = {
                str(k): (float(v["value"]), None if v["se"] is None else float(v["se"]))
                for k, v in fitted["estimates"].items()
            }
            found.append(
                Known(plain(f"{row['arm']}, {row['mode']} ({folder.relative_to(runs)})"), values)
            )
    return found


def estimates_shown(answers: Sequence[Answered], others: Sequence[Known]) -> str:
    """A person's estimates beside those of models and of human types."""
    whole, alone = estimate(answers), estimate(answers, "homo_moralis")
    names = ("alpha", "beta", "kappa", "lambda")

    def own(found: Estimated, name: str) -> str:
        scale = 10 if name == "lambda" else 1
        if name in found.values:
            v, low, high = (scale * x for x in found.values[name])
            return f"{shown(v)} [{shown(low)}, {shown(high)}]"
        return (
            f"in [{shown(found.bounds[name][0])}, {shown(found.bounds[name][1])}]"
            if name in found.bounds
            else "–"
        )

    def theirs(known: Known, name: str) -> str:
        if name not in known.values:
            return "–"
        value, se = known.values[name]
        scale = 10 if name == "lambda" else 1
        return shown(scale * value) + (
            "" if se is None or not np.isfinite(se) else " ± " + shown(scale * se)
        )

    rows = [
        ["<b>you</b>, all four", *(own(whole, n) for n in names)],
        ["<b>you</b>, κ alone", "0", "0", *(own(alone, n) for n in names[2:])],
    ]
    rows += [[esc(k.who), *(theirs(k, n) for n in names)] for k in others]
    head = ["", "α behind", "β ahead", "κ morality", "λ per 10 payoff units"]
    parts = [
        table(
            head,
            rows,
            f"Your {len(answers)} answers: estimate and 95 % interval; models ± one standard "
            "error; human types as published",
        )
    ]
    for found, who in ((whole, "All four together"), (alone, "κ alone")):
        if found.why:
            parts.append(notice(f"{who}: not identified. {found.why[:1].upper()}{found.why[1:]}."))
    parts.append(
        paragraph(
            "α takes off for every point that you are behind, β for every point ahead; κ weighs "
            "what would happen if everybody did as you. "
            f"A point of the page is {UNIT} payoff units. Eighteen answers often leave four "
            "parameters open, and ten nearly always do; κ alone takes less. "
            "The human types were estimated on other decisions, without κ.",
            "quiet",
        )
    )
    return block(*parts)


def long_csv(answers: Iterable[Answered], subject: str) -> str:
    """The answers as the table that ``econmoral fit`` reads: one row a problem."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "subject",
            "game",
            "T",
            "R",
            "P",
            "S",
            "belief1",
            "belief2",
            "belief3",
            "move1",
            "move2",
            "move3",
        ]
    )
    for a in answers:
        beliefs = [number(b) for b in a.beliefs]
        row = [
            subject,
            a.problem.protocol.game,
            *map(number, a.problem.protocol.payoffs),
            *_three(beliefs),
            *_three(list(a.moves)),
        ]
        writer.writerow(row)
    return out.getvalue()


def _three(values: list[str]) -> list[str]:
    return [*values, *[""] * (3 - len(values))]
