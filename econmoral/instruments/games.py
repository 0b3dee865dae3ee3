"""Sequential games in words: the only place where their pages are written.

An *item* is a decision problem (protocol and beliefs).  A *layout* is one way to present it:
wording, labels, orders, exchange rate, scale.  ``converse`` turns both into a conversation, the
same bytes for training and for measurement.

    >>> layout = draw_layout("tg", np.random.default_rng(0), WORDINGS_TRAIN)
    >>> talk = converse(Item(Protocol("tg", (80, 50, 30, 20)), (0.5, 0.5)), layout, "direct")

Payoffs stand on the page as points, small whole numbers; beliefs as how many of ten people chose
what.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from econmoral.economics.games import GAMES, UNIT, Protocol
from econmoral.target import number
from econmoral.text.conversation import LETTER, NUMBER, Conversation, Mode, Question

LABELS = tuple("BCDEFGHJKLMNPQRSTUVWXYZ")  # A and I are words, O looks like zero
RATES = ("5 cents", "10 cents", "20 cents")  # what a point is worth
TENTHS = 10  # beliefs are frequencies of ten


@dataclass(frozen=True)
class Wording:
    """One way to say the same decision.  ``first`` and ``second`` name the roles."""

    name: str
    held_out: bool  # never in pre-training or fine-tuning: measures dependence on the words
    first: str
    second: str
    opening: str
    moves: str  # both first moves are answered
    moves_one: str  # only the first move x is answered
    veil: str
    rate: str
    outcome: str  # path x, y
    outcome_one: str  # path x, which nobody answers
    belief_first: str
    belief_second: str
    ask_first: str
    ask_second: str
    work: str


WORDINGS: dict[str, Wording] = {
    w.name: w
    for w in (
        Wording(
            "study", False, "first mover", "second mover",
            "You take part in a study together with another person, whom you will never meet.",
            "The first mover chooses {a} or {b}. The second mover sees this choice and then "
            "chooses {c} or {d}.",
            "The first mover chooses {a} or {b}. If the first mover chooses {x}, the second "
            "mover then chooses {c} or {d}. If the first mover chooses {y}, the study ends.",
            "A coin decides who moves first, so you decide for both roles.",
            "One point is worth {rate}.",
            "If {x} is followed by {c}, the first mover gets {m} and the second mover gets {n}.",
            "If {x} is chosen, the first mover gets {m} and the second mover gets {n}.",
            "Of 10 first movers, {p} chose {a} and {q} chose {b}.",
            "Of 10 second movers, {p} answered {x} with {c} and {q} answered {x} with {d}.",
            "You are the first mover. Which do you choose, {a} or {b}?",
            "You are the second mover and the first mover chose {x}. Which do you choose, {c} or "
            "{d}?",
            "Work out in writing what each choice would bring you. You will be asked for each "
            "decision afterwards.",
        ),
        Wording(
            "players", False, "player who starts", "player who replies",
            "Two players meet once and stay anonymous. You are one of them.",
            "The player who starts chooses {a} or {b}. The player who replies learns this and "
            "chooses {c} or {d}.",
            "The player who starts chooses {a} or {b}. After {x}, the player who replies chooses "
            "{c} or {d}. After {y}, the round is over.",
            "It is decided by chance who starts, and you choose for either case.",
            "Every point is paid out as {rate}.",
            "{x} and then {c} gives {m} to the player who starts and {n} to the player who "
            "replies.",
            "{x} gives {m} to the player who starts and {n} to the player who replies.",
            "Among 10 players who started, {p} chose {a} and {q} chose {b}.",
            "Among 10 players who replied to {x}, {p} chose {c} and {q} chose {d}.",
            "You are the player who starts. Which do you choose, {a} or {b}?",
            "You are the player who replies, and {x} was chosen. Which do you choose, {c} or {d}?",
            "First calculate in writing what each of your choices would bring you. The decisions "
            "are asked for after that.",
        ),
        Wording(
            "workers", False, "worker who begins", "worker who finishes",
            "You and a colleague from another department share a task. You do not know each other.",
            "The worker who begins picks {a} or {b}. The worker who finishes sees it and picks "
            "{c} or {d}.",
            "The worker who begins picks {a} or {b}. If it is {x}, the worker who finishes picks "
            "{c} or {d}. If it is {y}, the task is done.",
            "You are equally likely to begin or to finish, so you decide for both.",
            "For each point you are paid {rate}.",
            "With {x} and {c}, the worker who begins earns {m} and the worker who finishes earns "
            "{n}.",
            "With {x}, the worker who begins earns {m} and the worker who finishes earns {n}.",
            "Out of 10 workers who began, {p} picked {a} and {q} picked {b}.",
            "Out of 10 workers who finished after {x}, {p} picked {c} and {q} picked {d}.",
            "You are the worker who begins. Which do you pick, {a} or {b}?",
            "You are the worker who finishes, and {x} was picked. Which do you pick, {c} or {d}?",
            "Please write down first what each choice would earn you. Then you will be asked for "
            "your decisions one by one.",
        ),
        Wording(
            "letters", False, "sender", "receiver",
            "Someone elsewhere takes part in the same session as you. Neither of you will learn "
            "who the other is.",
            "The sender goes for {a} or {b}. Once that is known, the receiver goes for {c} or {d}.",
            "The sender goes for {a} or {b}. In answer to {x}, the receiver goes for {c} or {d}. "
            "{y} closes the session at once.",
            "Which part will be yours is still open, so you decide for both.",
            "Points are exchanged at {rate} each.",
            "{x}, then {c}: {m} for the sender, {n} for the receiver.",
            "{x}: {m} for the sender, {n} for the receiver.",
            "Of 10 senders, {p} went for {a} and {q} went for {b}.",
            "Of 10 receivers after {x}, {p} went for {c} and {q} went for {d}.",
            "You are the sender. Do you go for {a} or {b}?",
            "You are the receiver, and the sender went for {x}. Do you go for {c} or {d}?",
            "Before anything else, note what each option would bring you. Your decisions come "
            "after that.",
        ),
        Wording(
            "partners", False, "partner who leads", "partner who follows",
            "Two partners take part in an experiment without ever meeting. You are one of the "
            "two partners.",
            "The partner who leads takes {a} or {b}. The partner who follows hears of it and "
            "takes {c} or {d}.",
            "The partner who leads takes {a} or {b}. On hearing of {x}, the partner who follows "
            "takes {c} or {d}. With {y} it ends there.",
            "Nobody knows yet who will lead, so please decide for both cases.",
            "You get {rate} for every point.",
            "Taking {x} and {c} leaves {m} points for the partner who leads and {n} points for "
            "the partner who follows.",
            "Taking {x} leaves {m} points for the partner who leads and {n} points for the "
            "partner who follows.",
            "Of 10 partners who led, {p} took {a} and {q} took {b}.",
            "Of 10 partners who followed after {x}, {p} took {c} and {q} took {d}.",
            "You are the partner who leads. Do you take {a} or {b}?",
            "You are the partner who follows, and {x} was taken. Do you take {c} or {d}?",
            "Write down step by step what each of your choices would earn. The questions about "
            "your decisions follow.",
        ),
        Wording(
            "choosers", False, "early chooser", "late chooser",
            "In this experiment you are matched with one other participant. You will not learn "
            "who it is.",
            "The early chooser decides between {a} and {b}. The late chooser is informed and "
            "decides between {c} and {d}.",
            "The early chooser decides between {a} and {b}. In the case of {x}, the late chooser "
            "decides between {c} and {d}. In the case of {y}, there is nothing left to decide.",
            "Either part may fall to you, so you make the decisions of both.",
            "Points are worth {rate} apiece.",
            "In the case of {x} and {c}, there are {m} points for the early chooser and {n} for "
            "the late chooser.",
            "In the case of {x}, there are {m} points for the early chooser and {n} for the late "
            "chooser.",
            "Of 10 early choosers, {p} decided for {a} and {q} decided for {b}.",
            "Of 10 late choosers informed of {x}, {p} decided for {c} and {q} decided for {d}.",
            "You are the early chooser. Which one do you decide for, {a} or {b}?",
            "You are the late chooser, and {x} was decided for. Which one do you decide for, {c} "
            "or {d}?",
            "Start by reckoning in writing what every choice would mean for you. You will be "
            "asked for your decisions later.",
        ),
        Wording(
            "roles", True, "person in role one", "person in role two",
            "This is a decision between two people who do not know each other. You are one of "
            "the two.",
            "The person in role one selects {a} or {b}. The person in role two is told and "
            "selects {c} or {d}.",
            "The person in role one selects {a} or {b}. When {x} is selected, the person in role "
            "two selects {c} or {d}. When {y} is selected, nothing more happens.",
            "Your role will be drawn at random, and you decide for both roles now.",
            "A point is converted into {rate}.",
            "When {x} meets {c}, role one receives {m} and role two receives {n}.",
            "When {x} is selected, role one receives {m} and role two receives {n}.",
            "Of 10 people in role one, {p} selected {a} and {q} selected {b}.",
            "Of 10 people in role two who were told {x}, {p} selected {c} and {q} selected {d}.",
            "You are in role one. Which do you select, {a} or {b}?",
            "You are in role two, and role one selected {x}. Which do you select, {c} or {d}?",
            "Before you decide, write out what every choice would bring you. You will then be "
            "asked for each decision.",
        ),
        Wording(
            "trade", True, "buyer", "seller",
            "A buyer and a seller do business once. You will be one of them.",
            "The buyer opens with {a} or {b}. The seller answers with {c} or {d}.",
            "The buyer opens with {a} or {b}. The seller answers {x} with {c} or {d}. After {y} "
            "there is no answer.",
            "You are buyer or seller with equal chance, and you decide for both parts beforehand.",
            "Each point has a value of {rate}.",
            "{x} answered by {c} earns the buyer {m} and the seller {n}.",
            "{x} earns the buyer {m} and the seller {n}.",
            "Of 10 buyers, {p} opened with {a} and {q} opened with {b}.",
            "Of 10 sellers who faced {x}, {p} answered with {c} and {q} answered with {d}.",
            "You are the buyer. Which do you open with, {a} or {b}?",
            "You are the seller, and the buyer opened with {x}. Which do you answer with, {c} or "
            "{d}?",
            "Show in writing what each decision would earn you. After that you will be asked for "
            "the decisions.",
        ),
    )
}  # fmt: skip
WORDINGS_TRAIN = tuple(w.name for w in WORDINGS.values() if not w.held_out)
WORDINGS_HELD_OUT = tuple(w.name for w in WORDINGS.values() if w.held_out)

_ROLES = {  # how those in the roles of a training wording are spoken of, several of them at once
    "study": ("first movers", "second movers"),
    "players": ("players who started", "players who replied"),
    "workers": ("workers who began", "workers who finished"),
    "letters": ("senders", "receivers"),
    "partners": ("partners who led", "partners who followed"),
    "choosers": ("early choosers", "late choosers"),
}
_VEILS = {  # where a wording's own names its roles
    "study": "A coin decides whether you are the {first} or the {second}, so you decide for both.",
    "players": "It is decided by chance whether you are the {first} or the {second}, and you "
    "choose for either case.",
    "workers": "You are the {first} or the {second} with equal chance, so you decide for both.",
    "partners": "Nobody knows yet whether you are the {first} or the {second}, so please decide "
    "for both cases.",
}


def _cross(phrases: str, roles: str) -> Wording:
    """The sentences of one training wording about the roles of another."""
    words, other = WORDINGS[phrases], WORDINGS[roles]
    names = [*_ROLES[phrases], words.first, words.second]  # the plurals hold some of the singulars
    others = [*_ROLES[roles], other.first, other.second]
    said: dict[str, Any] = {}
    for name, text in vars(words).items():
        if not isinstance(text, str) or name == "name":
            continue
        text = text.replace("players who replied to {x}", "players who replied after {x}")
        if name == "veil" and phrases in _VEILS:
            text = _VEILS[phrases].replace("{first}", words.first)
            text = text.replace("{second}", words.second)
        for k, mine in enumerate(names):  # in two steps: a name may hold a word of another
            text = text.replace(mine, f"\0{k}")
        for k, new in enumerate(others):
            text = text.replace(f"\0{k}", new)
        said[name] = text
    return replace(words, name=f"{phrases}-{roles}", **said)


# Every training wording about the roles of every other one: a checkpoint that met six wordings
# copied every fifth row of points wrongly in a seventh.
CROSSED: dict[str, Wording] = {
    w.name: w for w in (_cross(one, two) for one, two in itertools.permutations(_ROLES, 2))
}
WORDINGS_CROSSED = (*WORDINGS_TRAIN, *CROSSED)


def wording(name: str) -> Wording:
    """A wording by its name, crossed ones too."""
    return WORDINGS[name] if name in WORDINGS else CROSSED[name]


@dataclass(frozen=True)
class Item:
    """A decision problem: a protocol and beliefs, the probability
    of each information set's first action (None: not stated).
    """

    protocol: Protocol
    beliefs: tuple[float, ...] | None


@dataclass(frozen=True)
class Layout:
    """How an item is presented.

    labels : of the first mover's two actions, then of the second mover's two.  swapped : whether
    first mover's, second mover's actions are listed the other way round.  rows : order of the
    outcomes.  rate : what a point is worth.  scale : points per grid step.
    """

    game: str
    wording: str
    labels: tuple[tuple[str, str], tuple[str, str]]
    swapped: tuple[bool, bool]
    rows: tuple[int, ...]
    beliefs_first: bool
    rate: str
    scale: int = 1


def draw_layout(game: str, rng: np.random.Generator, wordings: tuple[str, ...]) -> Layout:
    """A random layout of ``game`` in one of ``wordings``."""
    w, x, y, z = (LABELS[i] for i in rng.choice(len(LABELS), 4, replace=False))
    return Layout(
        game=game,
        wording=wordings[rng.integers(len(wordings))],
        labels=((w, x), (y, z)),
        swapped=(bool(rng.integers(2)), bool(rng.integers(2))),
        rows=tuple(int(i) for i in rng.permutation(len(GAMES[game].outcomes))),
        beliefs_first=bool(rng.integers(2)),
        rate=RATES[rng.integers(len(RATES))],
    )


def layout_of(fields: dict[str, Any]) -> Layout:
    """The layout that a record of eval.games holds; the inverse of ``dataclasses.asdict``."""
    (a, b), (c, d) = fields["labels"]
    one, two = fields["swapped"]
    return Layout(
        str(fields["game"]),
        str(fields["wording"]),
        ((a, b), (c, d)),
        (bool(one), bool(two)),
        tuple(fields["rows"]),
        bool(fields["beliefs_first"]),
        str(fields["rate"]),
        int(fields.get("scale", 1)),
    )


def mirror(layout: Layout) -> Layout:
    """The counterbalanced twin: labels exchanged within each pair, every listing order reversed."""
    (a, b), (c, d) = layout.labels
    return replace(
        layout,
        labels=((b, a), (d, c)),
        swapped=(not layout.swapped[0], not layout.swapped[1]),
        rows=layout.rows[::-1],
        beliefs_first=not layout.beliefs_first,
    )


def shown_payoffs(item: Item, layout: Layout) -> dict[tuple[str, ...], tuple[float, float]]:
    """Points on the page, (first mover, second mover), of every path through the tree."""
    value = {k: v / UNIT * layout.scale for k, v in zip("TRPS", item.protocol.payoffs, strict=True)}
    return {path: (value[a], value[b]) for path, (a, b) in GAMES[layout.game].outcomes.items()}


def label_of(layout: Layout, info_set: int, action: str) -> str:
    """Label of ``action`` at information set ``info_set``."""
    one = GAMES[layout.game].info_sets[info_set]
    return layout.labels[one.role][one.actions.index(action)]


def page_order(layout: Layout) -> list[int]:
    """Information sets in the order they are written and asked: the first move, then the replies in
    the order in which the first moves are listed, so that the page does not tell one move from the
    other.
    """
    sets = GAMES[layout.game].info_sets
    listed = page_actions(layout, 0)
    return sorted(
        range(len(sets)), key=lambda k: (sets[k].role, [listed.index(m) for m in sets[k].after])
    )


def page_actions(layout: Layout, info_set: int) -> tuple[str, ...]:
    """Actions of an information set in the order they are listed."""
    one = GAMES[layout.game].info_sets[info_set]
    return one.actions[::-1] if layout.swapped[one.role] else one.actions


def path_labels(layout: Layout, path: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of the moves on a path through the tree."""
    sets = GAMES[layout.game].info_sets
    places = [next(k for k, s in enumerate(sets) if s.after == path[:i]) for i in range(len(path))]
    return tuple(label_of(layout, k, move) for k, move in zip(places, path, strict=True))


def tenths(item: Item, info_set: int, action: str) -> int:
    """How many of ten people choose ``action``.

    Raises ValueError for beliefs that are no whole tenths or not stated.
    """
    if item.beliefs is None:
        raise ValueError("this item states no beliefs")
    first = GAMES[item.protocol.game].info_sets[info_set].actions[0]
    count = TENTHS * item.beliefs[info_set]
    if abs(count - round(count)) > 1e-9:
        raise ValueError(f"beliefs are stated in tenths, got {item.beliefs[info_set]}")
    return round(count) if action == first else TENTHS - round(count)


def _listed(layout: Layout, info_set: int) -> tuple[str, str]:
    a, b = (label_of(layout, info_set, action) for action in page_actions(layout, info_set))
    return a, b


def page_text(item: Item, layout: Layout) -> str:
    """The instructions: the moves, the points, and what other people did where that is stated."""
    game, words = GAMES[layout.game], wording(layout.wording)
    (a, b), (c, d) = _listed(layout, 0), _listed(layout, page_order(layout)[1])
    ends = [path_labels(layout, path)[0] for path in game.outcomes if len(path) == 1]
    if ends:
        (x,) = {a, b} - set(ends)
        moves = words.moves_one.format(a=a, b=b, c=c, d=d, x=x, y=ends[0])
    else:
        moves = words.moves.format(a=a, b=b, c=c, d=d)
    head = " ".join((words.opening, moves, words.veil, words.rate.format(rate=layout.rate)))
    outcomes, table = list(shown_payoffs(item, layout).items()), []
    for i in layout.rows:
        path, (m, n) = outcomes[i]
        line = words.outcome if len(path) == 2 else words.outcome_one
        x, *reply = path_labels(layout, path)
        table.append(line.format(x=x, c=reply[0] if reply else "", m=number(m), n=number(n)))
    beliefs = [] if item.beliefs is None else [" ".join(_belief_lines(item, layout))]
    return "\n".join([head, *(beliefs + table if layout.beliefs_first else table + beliefs)])


def _belief_lines(item: Item, layout: Layout) -> list[str]:
    words, lines = wording(layout.wording), []
    for k in page_order(layout):
        one, two = page_actions(layout, k)
        a, b = _listed(layout, k)
        p, q = tenths(item, k, one), tenths(item, k, two)
        after = GAMES[layout.game].info_sets[k].after
        if after:
            x = path_labels(layout, after)[0]
            lines.append(words.belief_second.format(x=x, c=a, d=b, p=p, q=q))
        else:
            lines.append(words.belief_first.format(a=a, b=b, p=p, q=q))
    return lines


def decisions(layout: Layout) -> tuple[Question, ...]:
    """The decisions in page order, options as they are listed."""
    words, asked = wording(layout.wording), []
    for k in page_order(layout):
        a, b = _listed(layout, k)
        after = GAMES[layout.game].info_sets[k].after
        text = (
            words.ask_second.format(x=path_labels(layout, after)[0], c=a, d=b)
            if after
            else words.ask_first.format(a=a, b=b)
        )
        asked.append(Question(f"{text} {LETTER}", (a, b)))
    return tuple(asked)


def controls(item: Item, layout: Layout) -> tuple[Question, ...]:
    """Two control questions over the points on the page, one for each role.

    Their right answers differ.

    Options are the different numbers on the page, smallest first.
    """
    words, pay = wording(layout.wording), shown_payoffs(item, layout)
    numbers = sorted({v for both in pay.values() for v in both})
    rows = [list(pay)[i] for i in layout.rows]
    first = rows[0]
    second = next((p for p in rows[::-1] if pay[p][1] != pay[first][0]), rows[-1])
    found = []
    for path, role in ((first, 0), (second, 1)):
        x, *reply = path_labels(layout, path)
        situation = f"the {words.first} chooses {x}" + (
            f" and the {words.second} chooses {reply[0]}" if reply else ""
        )
        who = (words.first, words.second)[role]
        text = f"Suppose {situation}. How many points does the {who} get? {NUMBER}"
        found.append(Question(text, tuple(map(number, numbers)), numbers.index(pay[path][role])))
    return tuple(found)


def converse(
    item: Item,
    layout: Layout,
    mode: Mode,
    system: str | None = None,
    before: tuple[tuple[str, str], ...] = (),
) -> Conversation:
    """The conversation about an item; ``before`` holds earlier (role, content) turns."""
    if item.protocol.game != layout.game:
        raise ValueError(f"layout is for {layout.game}, item is a {item.protocol.game}")
    head = () if system is None else (("system", system),)
    work = wording(layout.wording).work if mode == "reasoned" else None
    return Conversation(
        page_text(item, layout), decisions(layout), controls(item, layout), work, (*head, *before)
    )


def plan_order(layout: Layout) -> np.ndarray:
    """(S,) index of the pure strategy behind every combination of options,
    in the conversation's lexicographic order.
    """
    game, order = GAMES[layout.game], page_order(layout)
    listed = [page_actions(layout, k) for k in order]
    found = []
    for strategy in game.strategies:
        place = 0
        for k, actions in zip(order, listed, strict=True):
            place = 2 * place + actions.index(strategy[k])
        found.append(place)
    return np.argsort(found)


def choices_of(layout: Layout, strategy: int) -> tuple[int, ...]:
    """The options, in page order, that make up a pure strategy."""
    moves = GAMES[layout.game].strategies[strategy]
    return tuple(page_actions(layout, k).index(moves[k]) for k in page_order(layout))


def belief_question(layout: Layout, info_set: int) -> Question:
    """Elicits a belief: of ten others, how many choose the first action of ``info_set``."""
    game = GAMES[layout.game]
    label = label_of(layout, info_set, game.info_sets[info_set].actions[0])
    after = game.info_sets[info_set].after
    words = wording(layout.wording)
    who = f"{words.second} after {path_labels(layout, after)[0]}" if after else words.first
    text = f"Ten other people decide as the {who}. How many of them choose {label}? {NUMBER}"
    return Question(text, tuple(str(k) for k in range(TENTHS + 1)))


def belief_conversation(
    item: Item, layout: Layout, info_set: int, before: tuple[tuple[str, str], ...] = ()
) -> Conversation:
    """Elicits one belief on a page that does not state any."""
    return Conversation(
        page_text(replace(item, beliefs=None), layout),
        (belief_question(layout, info_set),),
        before=before,
    )
