"""The bench: one page, any number of conditions side by side, exact probabilities, theory's optimum
beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np

from econmoral.economics.choice import logit, switch_points
from econmoral.economics.games import GAMES, UNIT, Protocol, belief_weights
from econmoral.economics.preferences import FAMILIES
from econmoral.files.records import InputError
from econmoral.instruments.derivations import check_steps
from econmoral.instruments.games import (
    TENTHS,
    WORDINGS,
    Item,
    converse,
    draw_layout,
    mirror,
    plan_order,
)
from econmoral.instruments.menus import (
    MENUS,
    TRAIN,
    Menu,
    draw_allocation,
    draw_page,
    menu_conversation,
    mirror_page,
)
from econmoral.target import ECONOMICUS, Target, number
from econmoral.text.conversation import Conversation, Mode

from ..conditions import BASE
from ..engines.base import Answer, Condition, Request
from ..transcripts.entries import marks
from .markup import bar, block, esc, notice, paragraph, table
from .markup import number as shown

INSTRUMENTS = ("game", "allocation", "other page")
LONGEST = 400  # tokens of a derivation that is written on request
TIE = 1e-6  # utilities no further apart than this are the same


@dataclass(frozen=True)
class Setting:
    """Everything that the bench shows, as it stands in its link.

    points : T, R, P, S as on the page; beliefs : of ten others, how many make the first move of
    every information set.
    own, other : payments under the two options of an allocation.  menu : id of another page.
    layout : number of the page's labels and order.  target : preference of theory's optimum;
    precision : logit lambda per point of the page.
    """

    model: str = "nano"
    conditions: tuple[str, ...] = ("base",)
    instrument: str = "game"
    game: str = "spd"
    points: tuple[float, ...] = (18.0, 9.0, 3.0, 2.0)
    beliefs: tuple[int, ...] = (6, 5, 2)
    own: tuple[float, float] = (75.0, 66.0)
    other: tuple[float, float] = (42.0, 52.0)
    menu: str = "dictator-10"
    wording: str = "study"
    layout: int = 0
    target: str = "homo_moralis:kappa=0.5"
    precision: float = 0.5

    def query(self) -> str:
        """The setting as the query of a link; what is as at the start is left out."""
        start, pairs = Setting(), {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(start, field.name):
                several = value if isinstance(value, tuple) else (value,)
                pairs[field.name] = ",".join(v if isinstance(v, str) else f"{v:g}" for v in several)
        return urlencode(pairs)

    @staticmethod
    def of(query: Mapping[str, str]) -> Setting:
        """The setting of a link's query.  Raises InputError for what cannot be shown."""
        found: dict[str, Any] = {}
        start = Setting()
        for field in fields(start):
            if field.name not in query:
                continue
            text, like = query[field.name][:2000], getattr(start, field.name)
            try:
                if isinstance(like, tuple):
                    found[field.name] = tuple(type(like[0])(t) for t in text.split(","))
                else:
                    found[field.name] = type(like)(text)
            except ValueError:
                raise InputError(f"the link's {field.name} cannot be read: {text[:60]!r}") from None
        setting = Setting(**found)
        setting.check()
        return setting

    def check(self) -> None:
        """Raises InputError for a setting that has no page."""
        if self.instrument not in INSTRUMENTS:
            raise InputError(
                f"unknown instrument {self.instrument!r}; there are {', '.join(INSTRUMENTS)}"
            )
        if self.game not in GAMES or self.wording not in WORDINGS:
            raise InputError(f"unknown game {self.game!r} or wording {self.wording!r}")
        if self.instrument == "game":
            _ = self.protocol
            sets = len(GAMES[self.game].info_sets)
            if len(self.beliefs) < sets or not all(0 <= b <= TENTHS for b in self.beliefs):
                raise InputError(f"{self.game} needs {sets} beliefs from 0 to {TENTHS}")
        if self.instrument == "allocation" and not (
            len(self.own) == len(self.other) == 2
            and all(0 <= v <= 10_000 and float(v).is_integer() for v in (*self.own, *self.other))
        ):
            raise InputError("an allocation needs four whole numbers of points from 0 to 10000")
        if not 0 <= self.layout < 10**6:
            raise InputError("the layout's number must lie between 0 and 999999")
        if not 0 <= self.precision <= 100:
            raise InputError("lambda must lie between 0 and 100")
        _ = self.menu_shown
        Target.parse(self.target)

    @property
    def protocol(self) -> Protocol:
        """The game with its payoffs in the units of estimation.  Raises InputError for points that
        do not make this game.
        """
        if len(self.points) != 4 or not all(
            0 <= p <= 1000 and float(p).is_integer() for p in self.points
        ):
            raise InputError("points on the page are four whole numbers from 0 to 1000")
        try:
            t, r, p, s = (UNIT * v for v in self.points)
            return Protocol(self.game, (t, r, p, s))
        except ValueError:
            wanted = " > ".join(GAMES[self.game].ranking)
            given = ", ".join(f"{k} {number(v)}" for k, v in zip("TRPS", self.points, strict=True))
            raise InputError(
                f"{GAMES[self.game].title} needs {wanted}; given are {given}"
            ) from None

    @property
    def stated(self) -> tuple[float, ...]:
        """Beliefs as probabilities."""
        return tuple(b / TENTHS for b in self.beliefs[: len(GAMES[self.game].info_sets)])

    @property
    def menu_shown(self) -> Menu:
        """The allocation, or the other page.  Raises InputError for an unknown page."""
        if self.instrument == "allocation":
            like = draw_allocation(np.random.default_rng(0), True, ECONOMICUS)
            return replace(
                like,
                id="yours",
                own=tuple(map(float, self.own)),
                other=tuple(map(float, self.other)),
            )
        found = next((m for several in MENUS.values() for m in several if m.id == self.menu), None)
        if found is None:
            raise InputError(f"there is no page {self.menu!r}")
        return found


@dataclass(frozen=True)
class Sheet:
    """One page of a setting: what is asked, what the plans are called, and where the conversation's
    combinations of options belong.

    order : (S,) place of every combination in ``names``.
    """

    conversation: Conversation
    names: tuple[str, ...]
    order: np.ndarray
    item: Any
    layout: Any


def sheets(
    setting: Setting, mode: Mode = "direct", system: str | None = None
) -> tuple[Sheet, Sheet]:
    """The page of a setting and its counterbalanced twin.  Raises InputError as ``check``."""
    setting.check()
    rng = np.random.default_rng(setting.layout)
    if setting.instrument == "game":
        item = Item(setting.protocol, setting.stated)
        layout = draw_layout(setting.game, rng, (setting.wording,))
        names = item.protocol.tables.strategies
        one, two = (
            Sheet(converse(item, x, mode, system), names, plan_order(x), item, x)
            for x in (layout, mirror(layout))
        )
        return one, two
    menu = setting.menu_shown
    # as many wordings of one-page decisions, in the same order
    number_of = list(WORDINGS).index(setting.wording)
    page = draw_page(menu, rng, (number_of if menu.own else TRAIN[0],))
    both = (page, mirror_page(page))
    if menu.amounts:
        names = tuple(map(number, menu.amounts))
    elif menu.own:
        names = tuple(
            f"{number(m)} / {number(n)}" for m, n in zip(menu.own, menu.other, strict=True)
        )
    else:
        names = tuple(o.format("1", "2", "3", "4") for o in menu.options)
    one, two = (
        Sheet(menu_conversation(menu, p, mode, system), names, np.array(p.order), menu, p)
        for p in both
    )
    return one, two


def page_of(setting: Setting) -> str:
    """The page in words, with its first question."""
    talk = sheets(setting)[0].conversation
    return "\n".join([talk.page, *(q.text for q in talk.questions)])


def arms(setting: Setting, adapters: Sequence[str]) -> list[Condition]:
    """The conditions of a setting: base, the base told of the target, adapters; unknown ones are
    left out.
    """
    told = Target.parse(setting.target)
    found = {
        "base": BASE,
        "told": Condition(f"base, told {told.label}", None, told.describe()),
        **{a: Condition(a, a) for a in adapters},
    }
    return [found[c] for c in setting.conditions if c in found]


def requests(
    setting: Setting, arm: Condition, mode: Mode = "direct", samples: int = 1
) -> list[Request]:
    """What a condition is asked: both twins."""
    return [
        Request(s.conversation, s.item, s.layout, samples, LONGEST)
        for s in sheets(setting, mode, arm.system)
    ]


@dataclass(frozen=True)
class Measured:
    """A condition's answers to both twins, probabilities in the order of the plans.

    mean, first, second : (S,).  valid : mean probability of an admissible reply.  right : of the
    right reply to a control question.
    """

    arm: str
    first: np.ndarray
    second: np.ndarray
    valid: float
    right: float | None
    texts: tuple[tuple[str, ...], ...] = ((), ())

    @property
    def mean(self) -> np.ndarray:
        """(S,) over the twins."""
        return (self.first + self.second) / 2

    @property
    def twin_distance(self) -> float:
        """Total variation between the twins: how much labels and order matter."""
        return 0.5 * float(np.abs(self.first - self.second).sum())


def measured(
    setting: Setting, arm: Condition, answers: Sequence[Answer], mode: Mode = "direct"
) -> Measured:
    """The answers to ``requests``, put in order."""
    placed = []
    for sheet, answer in zip(sheets(setting, mode, arm.system), answers, strict=True):
        assert answer.probabilities is not None  # exact engines lose none
        p = np.empty(len(sheet.names))
        p[sheet.order] = answer.probabilities
        placed.append(p)
    controls = [float(c) for a in answers for c in a.controls]
    valid = float(np.mean([a.valid.mean() for a in answers]))
    return Measured(
        arm.name,
        placed[0],
        placed[1],
        valid,
        float(np.mean(controls)) if controls else None,
        tuple(a.texts for a in answers),
    )


# ------------------------------------------------------------------------------------ what is shown


def by_decision(setting: Setting, p: np.ndarray) -> dict[str, float]:
    """Of a game, the probability of the first move at every information set, by its name."""
    game, found = GAMES[setting.game], {}
    for info, share in zip(game.info_sets, p @ game.first_actions, strict=True):
        first = info.actions[0]
        name = f"{first} after {info.after[0]}" if info.after else f"{first} first"
        found[name] = float(share)
    return found


def utilities(setting: Setting) -> np.ndarray | None:
    """(S,) utility of every plan to the setting's target, in points of the page; None where theory
    has nothing to say.
    """
    target = Target.parse(setting.target)
    if setting.instrument == "game":
        return target.plans(setting.protocol, setting.stated) / UNIT
    menu = setting.menu_shown
    return (
        target.of_allocations(np.array(menu.own), np.array(menu.other))
        if menu.own and menu.other
        else None
    )


def results(setting: Setting, found: Sequence[Measured]) -> str:
    """Tables of conditions side by side: plans, decisions, how good the answers are."""
    if not found:
        return block(notice("Choose at least one condition."))
    u = utilities(setting)
    best = set() if u is None else {int(i) for i in np.flatnonzero(u >= u.max() - TIE)}
    names = sheets(setting)[0].names
    heads = [esc(m.arm) for m in found]
    plans = [
        [
            f'<span class="best">{esc(name)}</span>' if k in best else esc(name),
            *(bar(float(m.mean[k]), c) for c, m in enumerate(found)),
        ]
        for k, name in enumerate(names)
    ]
    told = "" if u is None else f" (★ what {Target.parse(setting.target).label} takes)"
    parts = [
        table(
            ["plan" if setting.instrument == "game" else "option", *heads],
            plans,
            f"Probability of every choice, given an admissible reply{told}",
        )
    ]
    if setting.instrument == "game":
        moves = [by_decision(setting, m.mean) for m in found]
        rows = [[esc(k), *(bar(m[k], c) for c, m in enumerate(moves))] for k in moves[0]]
        parts.append(table(["decision", *heads], rows, "Probability of every move"))
    quality = [
        ["valid answer", *(bar(m.valid, c) for c, m in enumerate(found))],
        [
            "control questions right",
            *("–" if m.right is None else bar(m.right, c) for c, m in enumerate(found)),
        ],
        ["labels and order matter", *(bar(m.twin_distance, c) for c, m in enumerate(found))],
    ]
    if best:
        quality.insert(
            0,
            [
                "on the optimum",
                *(bar(float(m.mean[sorted(best)].sum()), c) for c, m in enumerate(found)),
            ],
        )
    parts.append(table(["", *heads], quality, "How good the answers are"))
    if low := [m.arm for m in found if m.valid < 0.5]:
        parts.append(
            notice(
                f"{', '.join(low)}: most of the probability lies outside the form asked for, so "
                "the shares above describe very little."
            )
        )
    return block(*parts)


def theory(setting: Setting) -> str:
    """Utility and logit probability of every plan to the target, and where the best plan changes as
    kappa rises.
    """
    target, u = Target.parse(setting.target), utilities(setting)
    if u is None:
        return block(
            paragraph(
                "Theory has no optimum on this page: it is not an allocation of points.", "quiet"
            )
        )
    p, names = logit(u, setting.precision), sheets(setting)[0].names
    best = {int(i) for i in np.flatnonzero(u >= u.max() - TIE)}
    rows = [
        [
            f'<span class="best">{esc(n)}</span>' if k in best else esc(n),
            shown(float(u[k])),
            bar(float(p[k]), 1),
        ]
        for k, n in enumerate(names)
    ]
    parts = [
        table(
            ["plan", "utility", f"logit, λ {setting.precision:g}"],
            rows,
            f"{target.label}: utility in points of the page",
        )
    ]
    if len(best) > 1:
        parts.append(paragraph("Several plans are equally good: the stars are a tie.", "quiet"))
    if setting.instrument == "game" and "kappa" in target.utility_family.parameters:
        fixed = {k: v for k, v in target.theta.items() if k in ("alpha", "beta")}
        weights = belief_weights(setting.game, setting.stated)
        points = switch_points(setting.protocol.tables, weights, fixed)
        said = ", ".join(
            f"{setting.protocol.tables.strategies[i]} from κ {k:.3f}"
            if k
            else f"{setting.protocol.tables.strategies[i]} at κ just above 0"
            for k, i in points
        )
        parts.append(paragraph(f"As κ rises: {said}.", "switches"))
    return block(*parts)


def reasoning(
    setting: Setting,
    found: Sequence[Measured],
    begun: tuple[Condition, Sequence[Answer]] | None = None,
) -> str:
    """Derivations that were written, with what is wrong in them marked, and what was chosen after
    them.

    begun : a condition that has not answered both twins yet; its derivations are shown, and no
    shares.
    """
    parts = [results(setting, found)] if found else []
    pages = [s.conversation for s in sheets(setting, "reasoned")]
    written = [(m.arm, m.texts) for m in found]
    if begun is not None:
        written.append((begun[0].name, tuple(a.texts for a in begun[1])))
    for arm, texts in written:
        for k, (page, several) in enumerate(zip(pages, texts, strict=False)):
            for text in several:
                right, whole = check_steps(text)
                steps = f", {right} of {whole} steps right" if whole else ""
                parts.append(
                    f'<p class="caption">{esc(arm)}, '
                    f"{'page' if k == 0 else 'its twin'}{steps}</p>" + marked(text, page.page)
                )
    return block(*parts)


def marked(text: str, page: str) -> str:
    """A derivation as HTML, what is wrong in it marked; the text itself is escaped."""
    parts, at = [], 0
    for m in marks(text, page):
        kind, title = (
            ("wrong", "does not hold")
            if m.kind == "wrong"
            else ("unknown", "neither on the page nor worked out before")
        )
        parts += [
            esc(text[at : m.start]),
            f'<mark class="{kind}" title="{title}">{esc(text[m.start : m.end])}</mark>',
        ]
        at = m.end
    return f"<pre>{''.join(parts)}{esc(text[at:])}</pre>"


def target_text(family: str, values: dict[str, float]) -> str:
    """``family:name=value,...`` with the parameters that the family has."""
    names = FAMILIES[family].parameters
    return f"{family}:{','.join(f'{n}={values.get(n, 0.0):g}' for n in names)}" if names else family
