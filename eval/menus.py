"""One-page decisions: allocations, splits, contributions, matrix games, budgets, daily situations.

    python -m eval.menus --adapter runs/altruist --battery allocations bfs39 spillover
    python -m eval.menus --simulate alpha=0.1,beta=0.3,lambda=0.2 --battery bfs39 garp --out known
    python -m eval.menus --adapter runs/altruist --own decisions.csv --out runs/altruist/own

Exact probability of every option, averaged over exchanged labels and orders, base and adapters in
one load; beside human averages and agents that do not think (first listed, coin, most for itself:
the floor).  Beside every figure stands the probability of an admissible reply; a condition that
answers outside the form gets no figures.  allocations, bfs39, trust and own: also agreement with
every target, and the parameters of Bruhin, Fehr and Schunk's family and of the targets' with errors
clustered by menu (below 30 menus by the jackknife).  garp: Afriat's index (CCEI), the mean over
bundles drawn from the probabilities.  spillover: does an agent tuned on games turn elsewhere?  own:
allocations of your own, in points, from a table with self_1, other_1, self_2, other_2, ... and
perhaps id.
Writes choices.jsonl, summary.json, table.csv, run.json and, of allocations, figure.png.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, NotRequired, TypedDict

import numpy as np
from rich.console import Console

from econmoral.economics.audit import ccei
from econmoral.economics.choice import logit
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.likelihood import allocations
from econmoral.files.options import option
from econmoral.files.records import InputError, command, plain
from econmoral.files.shown import NOT_IDENTIFIED, grid, with_error
from econmoral.instruments.derivations import check_steps
from econmoral.instruments.games import LABELS
from econmoral.instruments.menus import (
    FRAMES,
    HELD_OUT,
    MENUS,
    OWN,
    TRAIN,
    Menu,
    MenuPage,
    draw_page,
    menu_conversation,
    mirror_page,
    own_allocation,
)
from econmoral.people.choices import read_problems
from econmoral.target import ECONOMICUS, Target
from econmoral.text.conversation import Mode
from econmoral.text.replies import Outcome

from .choosers import parse_parameters
from .conditions import BASE
from .config import Reasoned
from .engines.base import Answer, Condition, Engine, Request
from .estimate import (
    Estimate,
    Fits,
    Mean,
    Structural,
    families_of,
    mean_of,
    one_by_one,
    parameters_shown,
    shown,
    structural,
)
from .runner import Found, Instrument, Results, inquire, run_command
from .shifts import Shift, shift_table, shift_title
from .validity import ADVICE, OUTSIDE, outside, overall, percent, quality

FAMILY = "bruhin_fehr_schunk"
CCEI_DRAWS = 200  # bundles drawn from probabilities
STRUCTURAL = ("allocations", "bfs39", "trust")  # batteries of two allocations each
BATTERIES = (*MENUS, OWN)
MOST_OPTIONS = len(LABELS)
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}
NULLS = ("first listed", "coin", "most for itself")
Asked = tuple[Menu, list[MenuPage]]


@dataclass(frozen=True)
class MenusConfig(Reasoned):
    """Options of ``python -m eval.menus``."""

    folder: ClassVar[str] = "menus"

    battery: tuple[str, ...] = option(
        (), "batteries (default all; with --own none)", choices=(*BATTERIES, "all"), once=True
    )
    own: Path | None = option(
        None,
        "table of your own allocations: self_1, other_1, self_2, other_2, ... in points, id if you "
        "like",
        metavar="FILE",
    )
    wordings: str = option(
        "train", "the wordings of training, or those held out", choices=tuple(WORDINGS)
    )
    pairs: int = option(2, "counterbalanced pairs of pages for each menu", at_least=1)
    limit: int | None = option(None, "use only the first LIMIT menus of each battery", at_least=1)
    targets: tuple[str, ...] = option(
        (),
        "compared with (default: homo_economicus and the adapters' own)",
        metavar="FAMILY:NAME=VALUE",
    )
    prompted: bool = option(False, "also measure the base told of each target")

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = [b for b in self.battery if b != OWN] or ([] if self.own else ["all"])
        batteries = list(MENUS) if "all" in asked else asked
        self._set("battery", tuple(batteries) + ((OWN,) if self.own else ()))


class MenuRecord(TypedDict):
    """What one condition chose from one menu, averaged over its pages.

    probabilities : of every option in the menu's order; None where no page was answered.
    position_bias : probability of the option that is listed first, minus 1 / S.  steps : right and
    all lines of derivations that can be checked.
    """

    id: str
    battery: str
    topic: str
    arm: str
    mode: str
    probabilities: list[float] | None
    position_bias: float | None
    steps: list[int]
    valid_answer_probability: float
    comprehension: float | None
    texts: list[list[str]]
    outcomes: dict[Outcome, int]
    valid_by_page: list[float]
    pages: list[dict[str, object]]
    prompt_hash: NotRequired[str]
    own: NotRequired[list[float]]  # payoffs of the user's own allocations
    other: NotRequired[list[float]]


class Gap(TypedDict):
    """Mean difference to a baseline with its 95 % interval and p value."""

    mean: float
    low: float
    high: float
    p: float


class Agreement(TypedDict):
    """How often the most probable option is a target's; also where own payoff says otherwise."""

    label: str
    accuracy: Mean | None
    where_they_differ: Mean | None


class MenuSummary(TypedDict):
    """A battery (and topic) of one condition; without figures where ``outside``."""

    arm: str
    mode: str
    battery: str
    topic: str
    menus: int
    valid_answer_probability: float
    comprehension: float | None
    outcomes: dict[Outcome, int]
    outside: bool
    valid_by_wording: dict[str, float]
    steps_right: float | None
    mean: NotRequired[float]
    se: NotRequired[float | None]
    human: NotRequired[float | None]
    correlation_with_humans: NotRequired[float | None]
    position_bias: NotRequired[float]
    difference_to: NotRequired[dict[str, Gap]]
    ccei: NotRequired[float]
    fits: NotRequired[Fits]
    targets: NotRequired[dict[str, Agreement]]
    shift: NotRequired[Shift]  # of choices as each target


def listed(p: np.ndarray, page: MenuPage) -> np.ndarray:
    """Probabilities of options in the order in which the page lists them."""
    return np.asarray(p)[list(page.order)]


def unlisted(p: np.ndarray, page: MenuPage) -> np.ndarray:
    """The reverse of ``listed``."""
    found = np.empty(len(p))
    found[list(page.order)] = p
    return found


@dataclass(frozen=True)
class AllocationChooser:
    """Logit chooser of known alpha, beta and precision; a coin where no payoffs are attached."""

    theta: dict[str, float]
    precision: float

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Exact probabilities."""
        target = Target(FAMILY, tuple(self.theta.items()))
        answers = []
        for r in requests:
            menu: Menu = r.item
            utility = np.zeros(menu.size)
            if menu.own:
                utility = target.of_allocations(np.array(menu.own), np.array(menu.other))
            answers.append(Answer.certain(listed(logit(utility, self.precision), r.layout), r))
        return answers


@dataclass(frozen=True)
class Null:
    """A chooser that does not think: the option listed first, a coin, or whatever gives most to
    itself (a coin without payoffs)."""

    rule: str

    def score(
        self, requests: Sequence[Request], condition: Condition, seed: int = 0
    ) -> list[Answer]:
        """Probabilities by the rule."""
        answers = []
        for r in requests:
            menu: Menu = r.item
            p = np.full(menu.size, 1 / menu.size)
            if self.rule == "first listed":
                p = np.eye(menu.size)[r.layout.order[0]]
            elif self.rule == "most for itself" and menu.own:
                best = np.array(menu.own) == max(menu.own)
                p = best / best.sum()
            # it is asked no control question: what does not read understands nothing
            answers.append(Answer(listed(p, r.layout), np.ones(len(r.conversation.questions))))
        return answers


class Menus(Instrument[Asked, MenuRecord]):
    """Menus, each with its counterbalanced pages."""

    name = "menus"
    Config = MenusConfig
    width = 170
    config: MenusConfig

    def choose_targets(self) -> list[Target]:
        """What was asked for; else own payoff and the adapters' own targets."""
        if self.config.targets:
            return list(dict.fromkeys(map(Target.parse, self.config.targets)))
        own = [a.target for a in self.adapters if a.target is not None and not a.placebo]
        return list(dict.fromkeys([ECONOMICUS, *own]))

    def inputs(self) -> dict[str, Path]:
        """The user's own allocations."""
        return {"own": self.config.own} if self.config.own else {}

    def chooser(self, parameters: str) -> Engine:
        """Bruhin, Fehr and Schunk's chooser."""
        return AllocationChooser(*parse_parameters(parameters, FAMILIES[FAMILY].parameters))

    def nulls(self) -> Mapping[str, Engine]:
        """The floor of every figure."""
        return {rule: Null(rule) for rule in NULLS}

    def draw(self) -> list[Asked]:
        """The menus of every battery, each with its counterbalanced pages."""
        c, menus = self.config, []
        for battery in c.battery:
            several = own_menus(c.own) if battery == OWN and c.own else MENUS[battery]
            for number, menu in enumerate(several[: c.limit]):
                rng = np.random.default_rng([c.seed, BATTERIES.index(battery), number])
                pages = [draw_page(menu, rng, WORDINGS[c.wordings]) for _ in range(c.pairs)]
                menus.append((menu, [twin for p in pages for twin in (p, mirror_page(p))]))
        return menus

    def requests(self, item: Asked, condition: Condition, mode: Mode) -> list[Request]:
        """One conversation for every page."""
        menu, pages = item
        talks = [menu_conversation(menu, page, mode, condition.system) for page in pages]
        c = self.config
        return [
            Request(talk, menu, page, c.samples, c.longest)
            for talk, page in zip(talks, pages, strict=True)
        ]

    def record(
        self,
        item: Asked,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> MenuRecord:
        """Probabilities averaged over the pages, validity, comprehension, position bias."""
        menu, pages = item
        kept, first = [], []
        for answer, page in zip(answers, pages, strict=True):
            if answer.probabilities is not None:
                kept.append(unlisted(answer.probabilities, page))
                first.append(float(answer.probabilities[0]) - 1 / menu.size)
        steps = [check_steps(t) for a in answers for t in a.texts]
        record: MenuRecord = {
            "id": menu.id,
            "battery": menu.battery,
            "topic": menu.topic,
            "arm": condition.name,
            "mode": mode,
            "probabilities": np.mean(kept, axis=0).tolist() if kept else None,
            "position_bias": float(np.mean(first)) if first else None,
            "steps": [sum(right for right, _ in steps), sum(n for _, n in steps)],
            **quality(answers),  # type: ignore[typeddict-item]
            "valid_by_page": [float(a.valid.mean()) for a in answers],
            "pages": [asdict(page) for page in pages],
        }
        if menu.battery == OWN:
            record |= {"own": list(menu.own), "other": list(menu.other)}
        return record

    def results(self, found: Found) -> Results:
        """A row for every battery, topic and condition; the null agents last."""
        rows: list[MenuSummary] = []
        for mode in self.modes:
            bases: dict[str, dict[str, MenuRecord]] = {}
            for condition in self.conditions:
                records = found.of(self, condition.name, mode)
                rows += summarise(records, bases, self.targets)
                if condition == BASE:
                    bases["base"] = {r["id"]: r for r in records}
                elif condition.name in self.placebos:
                    bases["placebo"] = {r["id"]: r for r in records}
        for rule, engine in self.nulls().items():
            records = inquire(engine, self, self.draw(), Condition(rule), "direct")
            rows += summarise(records, {}, self.targets)
        import pandas as pd

        from .figure import draw_allocations  # matplotlib takes a second to load

        silent = sum(r["probabilities"] is None for r in found.all(self))
        pictured = next((b for b in STRUCTURAL if b in self.config.battery), None)
        chosen = self.modes[0]
        drawn = [
            r
            for r in rows
            if (r["battery"], r["mode"]) == (pictured, chosen) and r["arm"] not in NULLS
        ]
        return Results(
            summary=rows,
            table=pd.json_normalize([dict(r) for r in rows]),
            show=partial(show, rows),
            files={"choices.jsonl": found.whole()},
            figures={"figure.png": partial(draw_allocations, drawn, self.targets)} if drawn else {},
            about={"without_readable_answer": silent},
            estimates=[e for row in rows for e in estimates(row)],
        )


def own_menus(path: Path) -> list[Menu]:
    """Menus of the user's own allocations.

    Raises InputError for payoffs that a page cannot show exactly.
    """
    names, (own, other) = read_problems(path)
    menus = []
    for name, m, n in zip(names, own, other, strict=True):
        there = np.isfinite(m)
        if there.sum() > MOST_OPTIONS:
            raise InputError(
                f"{path}: decision {plain(name)} has {there.sum()} options; a page has room for "
                f"{MOST_OPTIONS}"
            )
        payoffs = np.array([m[there], n[there]])
        if not np.allclose(np.round(payoffs, 4), payoffs, rtol=0, atol=1e-9):
            raise InputError(
                f"{path}: decision {plain(name)} has a payoff with more than four decimals; "
                "round it"
            )
        menus.append(own_allocation(name, *payoffs.tolist()))
    return menus


def drawn_ccei(menus: Sequence[Menu], records: Sequence[MenuRecord]) -> float:
    """Mean CCEI of bundles drawn from the choice probabilities: of a coin far below 1, though its
    most probable bundles may agree."""
    rng, prices = np.random.default_rng(0), np.array([m.prices for m in menus])
    shares = [np.array(r["probabilities"], float) for r in records]
    draws = 1 if all(p.max() > 1 - 1e-9 for p in shares) else CCEI_DRAWS
    found = []
    for _ in range(draws):
        chosen = [
            m.bundles[rng.choice(m.size, p=p / p.sum())] for m, p in zip(menus, shares, strict=True)
        ]
        found.append(ccei(prices, np.array(chosen)))
    return float(np.mean(found))


def fit_of(menus: Sequence[Menu], records: Sequence[MenuRecord], family: str) -> Structural:
    """Parameters of a family from exact probabilities on allocations, a menu a cluster."""
    widest = max(m.size for m in menus)

    def table(rows: Iterable[Sequence[float]], missing: float) -> np.ndarray:
        return np.array([[*row, *[missing] * (widest - len(row))] for row in rows], float)

    own, other = table((m.own for m in menus), np.nan), table((m.other for m in menus), np.nan)
    chosen = table((r["probabilities"] or () for r in records), 0.0)
    return structural(allocations(own, other, chosen, [m.id for m in menus], family), family)


def as_target(menu: Menu, record: MenuRecord, target: Target) -> float | None:
    """Whether the most probable option (of several their share) is the target's; None where the
    target is indifferent."""
    u = target.of_allocations(np.array(menu.own), np.array(menu.other))
    if np.sum(u >= u.max() - 1e-9) > 1:
        return None
    p = np.array(record["probabilities"])
    return float(np.mean(np.flatnonzero(p >= p.max() - 1e-9) == u.argmax()))


def agreement(menus: Sequence[Menu], records: Sequence[MenuRecord], target: Target) -> Agreement:
    """Share of menus on which the most probable option is the target's.

    Menus on which the target is indifferent are left out.
    """
    right, differ = [], []
    for menu, r in zip(menus, records, strict=True):
        taken = as_target(menu, r, target)
        if taken is None:
            continue
        right.append(taken)
        u = target.of_allocations(np.array(menu.own), np.array(menu.other))
        if menu.own[int(u.argmax())] < max(menu.own):
            differ.append(taken)
    return {"label": target.label, "accuracy": mean_of(right), "where_they_differ": mean_of(differ)}


def shift_to(
    menus: Sequence[Menu],
    records: Sequence[MenuRecord],
    base: Mapping[str, MenuRecord],
    targets: Sequence[Target],
) -> dict[str, Mean | None]:
    """Target -> mean paired difference to a baseline in choices as it would make them."""
    pairs = [(m, r, base[r["id"]]) for m, r in zip(menus, records, strict=True) if r["id"] in base]
    found = {}
    for target in targets:
        both = [(as_target(m, r, target), as_target(m, b, target)) for m, r, b in pairs]
        found[str(target)] = mean_of([x - y for x, y in both if x is not None and y is not None])
    return found


def valid_by_wording(records: Sequence[MenuRecord]) -> dict[str, float]:
    """Mean valid-answer probability of the pages in each wording, by its number."""
    found: dict[str, list[float]] = {}
    for r in records:
        for valid, page in zip(r["valid_by_page"], r["pages"], strict=True):
            found.setdefault(str(page["wording"]), []).append(valid)
    return {str(i): float(np.mean(found[str(i)])) for i in range(len(FRAMES)) if str(i) in found}


def summarise(
    records: Sequence[MenuRecord],
    bases: Mapping[str, Mapping[str, MenuRecord]],
    targets: Sequence[Target],
) -> list[MenuSummary]:
    """One row for every battery and topic of one condition.

    bases : name -> records by menu of the baselines that it is compared with.
    """
    groups: dict[tuple[str, str], list[MenuRecord]] = {}
    for r in records:
        groups.setdefault((r["battery"], r["topic"]), []).append(r)
        if r["battery"] == "spillover":
            groups.setdefault((r["battery"], "all topics"), []).append(r)
    return [_row(*key, group, bases, targets) for key, group in groups.items()]


def _row(
    battery: str,
    topic: str,
    whole: list[MenuRecord],
    bases: Mapping[str, Mapping[str, MenuRecord]],
    targets: Sequence[Target],
) -> MenuSummary:
    right, steps = (sum(r["steps"][i] for r in whole) for i in (0, 1))
    row: MenuSummary = {
        "arm": whole[0]["arm"],
        "mode": whole[0]["mode"],
        "battery": battery,
        "topic": topic,
        "menus": len(whole),
        **overall(whole),  # type: ignore[typeddict-item]
        "valid_by_wording": valid_by_wording(whole),
        "steps_right": right / steps if steps else None,
    }
    group = [r for r in whole if r["probabilities"] is not None]
    row["outside"] = row["outside"] or not group
    if row["outside"]:
        return row
    if battery == OWN:
        menus = [own_allocation(r["id"], r["own"], r["other"]) for r in group]
    else:
        known = {menu.id: menu for menu in MENUS[battery]}
        menus = [known[r["id"]] for r in group]
    values = np.array([_value(r, m) for r, m in zip(group, menus, strict=True)])
    human = np.array([np.nan if m.human is None else m.human for m in menus])
    several, varied = len(values) > 1, len(set(human)) > 2 and values.std() > 0
    row["mean"] = float(values.mean())
    row["se"] = float(values.std(ddof=1) / np.sqrt(len(values))) if several else None
    row["human"] = None if np.isnan(human).any() else float(human.mean())
    row["correlation_with_humans"] = float(np.corrcoef(values, human)[0, 1]) if varied else None
    row["position_bias"] = float(np.mean([r["position_bias"] for r in group]))
    inside = {
        name: {i: b for i, b in base.items() if b["probabilities"] is not None}
        for name, base in bases.items()
        if not _outside(base, group)
    }
    row["difference_to"] = {}
    for name, base in inside.items():
        gap = _gap(values, group, menus, base)
        if gap is not None:
            row["difference_to"][name] = gap
    if battery == "garp":
        row["ccei"] = drawn_ccei(menus, group)
    if battery in (*STRUCTURAL, OWN):
        families = families_of([FAMILY], (t for t in targets if not t.utility_family.kantian))
        row["fits"] = {f: fit_of(menus, group, f) for f in families}
        row["targets"] = {str(t): agreement(menus, group, t) for t in targets}
        row["shift"] = {
            name: shift_to(menus, group, base, targets) for name, base in inside.items()
        }
    return row


def _outside(base: Mapping[str, MenuRecord], group: Sequence[MenuRecord]) -> bool:
    """Whether a baseline answers these menus outside the form, or was not asked them."""
    valid = [base[r["id"]]["valid_answer_probability"] for r in group if r["id"] in base]
    return not valid or outside(float(np.mean(valid)))


def _value(record: MenuRecord, menu: Menu) -> float:
    return float(np.dot(np.array(record["probabilities"], float), menu.values))


def _gap(
    values: np.ndarray,
    group: Sequence[MenuRecord],
    menus: Sequence[Menu],
    base: Mapping[str, MenuRecord],
) -> Gap | None:
    """Paired difference to a baseline; None of fewer than two menus."""
    pairs = zip(values, group, menus, strict=True)
    gaps = np.array([v - _value(base[r["id"]], m) for v, r, m in pairs if r["id"] in base])
    if len(gaps) < 2:
        return None
    mean = float(gaps.mean())
    if gaps.std() == 0:
        return {"mean": mean, "low": mean, "high": mean, "p": 1.0}
    from scipy import stats

    test = stats.ttest_1samp(gaps, 0)
    low, high = test.confidence_interval()
    return {"mean": mean, "low": float(low), "high": float(high), "p": float(test.pvalue)}


def estimates(row: MenuSummary) -> list[Estimate]:
    """The mean and the structural parameters of a row, one by one."""
    if row["outside"]:
        return []
    topic = f"{row['battery']}: {row['topic']}"
    one = partial(Estimate, condition=row["arm"], mode=row["mode"], set=topic)
    found = [one("mean", row["mean"], row["se"], row["menus"])]
    return found + one_by_one(row.get("fits", {}), row["menus"], one)


def show(rows: Sequence[MenuSummary], console: Console) -> None:
    """Print one table."""
    title = "mean (± one standard error over menus), difference to the base with 95 % interval"
    left = ("battery", "topic", "arm", "mode", "also")
    columns = ("valid", "control", "mean", "human", "minus base", "minus placebo", "also")
    cells = []
    for r in sorted(rows, key=lambda r: (BATTERIES.index(r["battery"]), r["topic"])):
        about = (percent(r["valid_answer_probability"]), percent(r["comprehension"]))
        cells.append((r["battery"], r["topic"], r["arm"], r["mode"], *about, *_cells(r)))
    console.print(grid((*left[:4], *columns), cells, title, left))
    for battery in dict.fromkeys(r["battery"] for r in rows):
        head, body = shift_table([r for r in rows if r["battery"] == battery])
        if body:
            console.print(grid(head, body, f"{battery}: {shift_title('choices')}"))
    if any(r["outside"] for r in rows):
        console.print(f"rows that answer outside the form have no figures: {ADVICE}")


def _cells(r: MenuSummary) -> list[str]:
    if r["outside"]:
        return ["", "", "", "", OUTSIDE]
    shares = r["battery"] == OWN or max(max(m.values) for m in MENUS[r["battery"]]) == 1
    digits = 2 if shares else 0
    targets = [t for t in r.get("targets", {}).values() if t["accuracy"]]
    also = [f"{t['label']} {100 * t['accuracy']['mean']:.0f} %" for t in targets if t["accuracy"]]
    if "ccei" in r:
        also.append(f"CCEI {r['ccei']:.2f}")
    for family, fit in r.get("fits", {}).items():
        known = "estimates" in fit or fit.get("bounds")
        of = "" if family == FAMILY else f"{family} "
        parts = [f"{name} {shown(fit, name)}" for name in (*parameters_shown(family), "lambda")]
        also.append(of + (" ".join(parts) if known else NOT_IDENTIFIED))
    mean = with_error(r["mean"], r["se"], digits)
    gaps = [r["difference_to"].get(name) for name in ("base", "placebo")]
    return [
        mean,
        "" if r["human"] is None else f"{r['human']:.{digits}f}",
        *(
            f"{g['mean']:+.{digits}f} [{g['low']:.{digits}f}, {g['high']:.{digits}f}]" if g else ""
            for g in gaps
        ),
        ", ".join(also),
    ]


def main() -> None:
    """Entry point."""
    run_command(Menus, __doc__)


if __name__ == "__main__":
    command(main)
