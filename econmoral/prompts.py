"""Prompt text: the only place where what a model reads is written and what it answers is read.

An *item* is a decision (protocol and beliefs).  A *layout* is one way to put it on the page: wording, labels, orders,
currency, payoff unit.  ``render`` turns both into chat messages, the same bytes for training and for measurement.

    >>> layout = draw_layout("tg", np.random.default_rng(0), WORDINGS_TRAIN)
    >>> messages = render(Item(Protocol("tg", (80, 50, 30, 20)), (0.5, 0.5)), layout, "direct")
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from econmoral.games import GAMES, UNIT, Protocol

Message = dict[str, str]
Mode = Literal["direct", "reasoned"]
LABELS = tuple("BCDEFGHJKLMNPQRSTUVWXYZ")  # A and I are words, O looks like zero
CURRENCIES = ("points", "dollars", "euros", "francs", "crowns", "tokens")
UNITS = (5, 10)  # shown payoffs are the grid step times one of these: with beliefs in fifths every product is an integer
ANSWER = "Answer:"


@dataclass(frozen=True)
class Wording:
    """One way to say the same decision.  Every label stands after a space, every payoff right after its labels."""

    name: str
    held_out: bool  # never in pre-training or fine-tuning: measures dependence on the words
    opening: str
    first: str
    second: str
    end: str
    payoffs: str
    beliefs: str
    plan: str
    after: str
    direct: str
    reasoned: str


WORDINGS: dict[str, Wording] = {
    w.name: w
    for w in (
        Wording(
            "plain", False,
            "You and another person take part in one decision. A coin decides who moves first.",
            "The first mover chooses {a} or {b}.",
            "After {x} the second mover chooses {a} or {b}.",
            "After {x} there is no second move.",
            "Payoffs in {currency} for the first and the second mover:",
            "Of ten other people:{items}.",
            "Say what you do as first mover{after}.",
            " and as second mover after {x}",
            "Reply with one line only: Answer: and your moves.",
            "Think step by step, then end with one line: Answer: and your moves.",
        ),
        Wording(
            "short", False,
            "Two players, each equally likely to move first.",
            "First player: {a} or {b}.",
            "Second player after {x}: {a} or {b}.",
            "After {x} the game is over.",
            "What first and second player get, in {currency}:",
            "How ten others played:{items}.",
            "Your plan: first{after}.",
            ", after {x}",
            "Only the answer, as Answer: and your plan.",
            "First show your reasoning, then Answer: and your plan.",
        ),
        Wording(
            "partner", False,
            "You are matched with a partner whom you will never meet. One of you is drawn to act first, the other acts second.",
            "Whoever acts first picks {a} or {b}.",
            "If {x} was picked, the other one picks {a} or {b}.",
            "If {x} was picked, nothing more is to be picked.",
            "Earnings in {currency}, first then second:",
            "Ten earlier partners picked:{items}.",
            "What do you pick if you act first{after}?",
            ", and if {x} was picked before you",
            "Give the answer alone: Answer: and your picks.",
            "Explain your calculation, then give Answer: and your picks.",
        ),
        Wording(
            "workers", False,
            "Two workers share a task. Chance decides which of them starts.",
            "The one who starts does {a} or {b}.",
            "The other one sees {x} and does {a} or {b}.",
            "The other one sees {x} and has nothing to do.",
            "Pay in {currency} for the one who starts and for the other:",
            "Among ten other workers:{items}.",
            "You are one of the workers. What do you do if you start{after}?",
            ", and after you see {x}",
            "Answer in one line, without reasons: Answer: and your actions.",
            "Give your reasons, then one line: Answer: and your actions.",
        ),
        Wording(
            "market", False,
            "A buyer and a seller meet once. It is not known yet which part is yours, both are equally likely.",
            "The buyer opens with {a} or {b}.",
            "To {x} the seller replies {a} or {b}.",
            "To {x} the seller has no reply.",
            "Profit in {currency} of buyer and seller:",
            "Ten others did this:{items}.",
            "Decide for both parts: as buyer{after}.",
            ", as seller after {x}",
            "Write only Answer: and your decisions.",
            "Write your calculation, then Answer: and your decisions.",
        ),
        Wording(
            "study", False,
            "This is a study of decisions with two roles. Your role is drawn after you decide, each with the same chance.",
            "Role one has the options {a} and {b}.",
            "Role two, after {x}, has the options {a} and {b}.",
            "Role two, after {x}, has no options.",
            "Result in {currency}, role one and role two:",
            "Decisions of ten others:{items}.",
            "Choose one option for role one{after}.",
            " and one for role two after {x}",
            "No reasons please, only Answer: and your options.",
            "Reason first, and close with Answer: and your options.",
        ),
        Wording(
            "visit", True,
            "You and another person will meet once. Chance decides who opens, and the other one replies.",
            "Who opens picks {a} or {b}.",
            "Who replies to {x} picks {a} or {b}.",
            "Who replies to {x} has nothing to decide.",
            "Earnings of the one who opens and of the other, in {currency}:",
            "What ten other people picked:{items}.",
            "What do you pick if you open{after}?",
            ", and if you reply to {x}",
            "Give only one line: Answer: and your picks.",
            "Show your calculation, then one line: Answer: and your picks.",
        ),
        Wording(
            "roles", True,
            "One decision, two parts. Each part is equally likely to be yours, and you decide for both before you know.",
            "Part one: {a} or {b}.",
            "Part two, if part one was {x}: {a} or {b}.",
            "Part two, if part one was {x}: nothing.",
            "Points are paid in {currency}, to part one and to part two:",
            "Ten other players decided:{items}.",
            "Your decision in part one{after}.",
            ", in part two after {x}",
            "No explanation, only Answer: and your decisions.",
            "Explain step by step, and end with Answer: and your decisions.",
        ),
    )
}  # fmt: skip
WORDINGS_TRAIN = tuple(w.name for w in WORDINGS.values() if not w.held_out)
WORDINGS_HELD_OUT = tuple(w.name for w in WORDINGS.values() if w.held_out)


@dataclass(frozen=True)
class Item:
    """A decision: a protocol and beliefs, the probability of each information set's first action (None: not stated)."""

    protocol: Protocol
    beliefs: tuple[float, ...] | None


@dataclass(frozen=True)
class Layout:
    """How an item is put on the page.

    labels[k][a] is the label of action a at information set k; swapped[k] lists its second action first;
    rows is the order of the terminal outcomes; unit is what one grid step of payoff is worth on the page.
    """

    game: str
    wording: str
    labels: tuple[tuple[str, str], ...]
    swapped: tuple[bool, ...]
    rows: tuple[int, ...]
    beliefs_first: bool
    currency: str
    unit: int


def draw_layout(game: str, rng: np.random.Generator, wordings: tuple[str, ...], units: tuple[int, ...] = UNITS) -> Layout:
    """A random layout of ``game`` in one of ``wordings``."""
    n = len(GAMES[game].info_sets)
    chosen = [LABELS[i] for i in rng.choice(len(LABELS), 2 * n, replace=False)]
    return Layout(
        game=game,
        wording=wordings[rng.integers(len(wordings))],
        labels=tuple(zip(chosen[::2], chosen[1::2], strict=True)),
        swapped=tuple(bool(b) for b in rng.integers(0, 2, n)),
        rows=tuple(int(i) for i in rng.permutation(len(GAMES[game].outcomes))),
        beliefs_first=bool(rng.integers(2)),
        currency=CURRENCIES[rng.integers(len(CURRENCIES))],
        unit=units[rng.integers(len(units))],
    )


def mirror(layout: Layout) -> Layout:
    """The counterbalanced twin: labels exchanged within each pair, every listing order reversed."""
    return replace(
        layout,
        labels=tuple((b, a) for a, b in layout.labels),
        swapped=tuple(not s for s in layout.swapped),
        rows=layout.rows[::-1],
        beliefs_first=not layout.beliefs_first,
    )


def shown_value(layout: Layout, points: float) -> float:
    """Payoff as printed under the layout's unit."""
    return points / UNIT * layout.unit


def shown_payoffs(item: Item, layout: Layout) -> dict[tuple[str, ...], tuple[float, float]]:
    """Printed (first mover, second mover) payoffs of every path through the tree."""
    value = dict(zip("TRPS", item.protocol.payoffs, strict=True))
    outcomes = GAMES[layout.game].outcomes
    return {path: (shown_value(layout, value[a]), shown_value(layout, value[b])) for path, (a, b) in outcomes.items()}


def number(value: float) -> str:
    """Shortest decimal text of a value that has at most four decimals."""
    return f"{round(value, 4):.4f}".rstrip("0").rstrip(".")


def label_of(layout: Layout, info_set: int, action: str) -> str:
    """Label printed for ``action`` at information set ``info_set``."""
    return layout.labels[info_set][GAMES[layout.game].info_sets[info_set].actions.index(action)]


def page_order(layout: Layout) -> list[int]:
    """Information sets in the order they are printed and answered: the first move, then the replies in the order in
    which the first moves are listed, so that the page does not tell one move from the other."""
    sets = GAMES[layout.game].info_sets
    listed = page_actions(layout, 0)
    return sorted(range(len(sets)), key=lambda k: (sets[k].role, [listed.index(m) for m in sets[k].after]))


def page_actions(layout: Layout, info_set: int) -> tuple[str, ...]:
    """Actions of an information set in the order they are listed."""
    actions = GAMES[layout.game].info_sets[info_set].actions
    return actions[::-1] if layout.swapped[info_set] else actions


def path_labels(layout: Layout, path: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of the moves on a path through the tree."""
    sets = GAMES[layout.game].info_sets
    return tuple(label_of(layout, next(k for k, s in enumerate(sets) if s.after == path[:i]), move) for i, move in enumerate(path))


def belief_items(layout: Layout, beliefs: tuple[float, ...]) -> str:
    """How many of ten chose each label, e.g. `` K 6, M 4; P 5, T 5``."""
    parts = []
    for k in page_order(layout):
        first = GAMES[layout.game].info_sets[k].actions[0]
        shares = [(label_of(layout, k, a), beliefs[k] if a == first else 1 - beliefs[k]) for a in page_actions(layout, k)]
        parts.append(",".join(f" {label} {number(10 * share)}" for label, share in shares))
    return ";".join(parts)


def game_text(item: Item, layout: Layout) -> str:
    """The description of the decision, without the question."""
    game, words = GAMES[layout.game], WORDINGS[layout.wording]
    lines = [words.opening]
    for k in page_order(layout):
        info_set = game.info_sets[k]
        a, b = (label_of(layout, k, action) for action in page_actions(layout, k))
        if info_set.role == 0:
            lines.append(words.first.format(a=a, b=b))
        else:
            lines.append(words.second.format(x=path_labels(layout, info_set.after)[-1], a=a, b=b))
    for path in game.outcomes:
        if len(path) == 1:
            lines.append(words.end.format(x=path_labels(layout, path)[0]))
    outcomes = list(shown_payoffs(item, layout).items())
    table = [words.payoffs.format(currency=layout.currency)]
    for i in layout.rows:
        path, payoffs = outcomes[i]
        table.append(f"- {' '.join(path_labels(layout, path))}: {' '.join(map(number, payoffs))}")
    beliefs = [] if item.beliefs is None else [words.beliefs.format(items=belief_items(layout, item.beliefs))]
    return "\n".join(lines + (beliefs + table if layout.beliefs_first else table + beliefs))


def question_text(layout: Layout, mode: Mode) -> str:
    """The question: the whole strategy, either with the answer alone or with the reasoning first."""
    game, words = GAMES[layout.game], WORDINGS[layout.wording]
    replies = [game.info_sets[k].after for k in page_order(layout)[1:]]
    after = "".join(words.after.format(x=path_labels(layout, moves)[-1]) for moves in replies)
    return words.plan.format(after=after) + " " + (words.direct if mode == "direct" else words.reasoned)


def preference_text(preference: str, kappa: float) -> str:
    """A system message that describes a preference in words (the prompt-only baseline)."""
    if preference == "homo_economicus":
        return "In every decision choose the plan with the largest expected payoff for you."
    if preference == "homo_moralis":
        return (
            "In every decision choose the plan with the largest total: "
            f"your own expected payoff with weight {number(1 - kappa)} and "
            f"the payoff if everyone used your plan with weight {number(kappa)}."
        )
    raise ValueError(f"no description of preference {preference!r}; known: homo_economicus, homo_moralis")


def render(item: Item, layout: Layout, mode: Mode, system: str | None = None) -> list[Message]:
    """Chat messages of an item: an optional system message and the user's turn."""
    if item.protocol.game != layout.game:
        raise ValueError(f"layout is for {layout.game}, item is a {item.protocol.game}")
    head = [] if system is None else [{"role": "system", "content": system}]
    return [*head, {"role": "user", "content": game_text(item, layout) + "\n" + question_text(layout, mode)}]


def elicit_text(layout: Layout, info_set: int) -> str:
    """Question that elicits a belief: of ten others, how many choose the first action of ``info_set``."""
    label = layout.labels[info_set][0]
    return f"Of ten other people, how many choose {label}? Reply with one line only: {ANSWER} {label} and a number."


def belief_answers(layout: Layout, info_set: int) -> list[str]:
    """The eleven admissible answers to ``elicit_text``: none to all of ten others."""
    return [f"{ANSWER} {layout.labels[info_set][0]} {count}" for count in range(11)]


def render_belief(item: Item, layout: Layout, info_set: int) -> list[Message]:
    """Chat messages that elicit the belief about one information set; the item's own beliefs are not shown."""
    text = game_text(replace(item, beliefs=None), layout)
    return [{"role": "user", "content": text + "\n" + elicit_text(layout, info_set)}]


def strategy_labels(layout: Layout, strategy: int) -> str:
    """Labels of a pure strategy, in page order, e.g. ``K T W``."""
    moves = GAMES[layout.game].strategies[strategy]
    return " ".join(label_of(layout, k, moves[k]) for k in page_order(layout))


def answer_text(layout: Layout, strategy: int) -> str:
    """The assistant's closing line for a pure strategy, e.g. ``Answer: K T W``."""
    return f"{ANSWER} {strategy_labels(layout, strategy)}"


def answers(layout: Layout) -> list[str]:
    """Every admissible answer, in the order of the game's pure strategies."""
    return [answer_text(layout, i) for i in range(len(GAMES[layout.game].strategies))]


def parse(text: str, layout: Layout) -> int | None:
    """Index of the pure strategy named by the last ``Answer:`` line, or None when there is no admissible one."""
    found = text.rpartition(ANSWER)
    if not found[1]:
        return None
    moves = tuple(re.findall(r"[^\s,;.]+", found[2].strip().split("\n")[0]))
    known = {tuple(strategy_labels(layout, i).split()): i for i in range(len(GAMES[layout.game].strategies))}
    return known.get(moves)


def larger_step(values: Iterable[float], label: str) -> str:
    """``larger of 120 and 112: 120 for K``."""
    a, b = values
    return f"larger of {number(a)} and {number(b)}: {number(max(a, b))} for {label}"


def first_mover_steps(item: Item, layout: Layout) -> tuple[list[str], dict[str, float]]:
    """Expected payoff of each first move at the stated beliefs, line by line, the larger one, and the values.

    Every payoff stands right after the labels it is looked up by, every result right before the label it belongs to: a
    reader of limited means can go from one to the other.
    """
    if item.beliefs is None:
        raise ValueError("a derivation needs stated beliefs")
    game, pay = GAMES[layout.game], shown_payoffs(item, layout)
    index = {s.after: k for k, s in enumerate(game.info_sets)}
    lines, values = ["As first mover:"], {}
    for move in page_actions(layout, 0):
        name = path_labels(layout, (move,))[0]
        if (move,) in pay:
            values[move] = pay[(move,)][0]
            lines.append(f"- {name}: {number(values[move])} for {name}")
            continue
        k = index[(move,)]
        chance = dict(zip(game.info_sets[k].actions, (item.beliefs[k], 1 - item.beliefs[k]), strict=True))
        steps, products = [], []
        for reply in page_actions(layout, k):
            own = pay[(move, reply)][0]
            products.append(own * chance[reply])
            labels = " ".join(path_labels(layout, (move, reply)))
            steps.append(f"{labels}: {number(own)} * {number(chance[reply])} = {number(products[-1])}")
        values[move] = sum(products)
        lines.append(f"- {', '.join(steps)}, {' + '.join(map(number, products))} = {number(values[move])} for {name}")
    best = max(values, key=lambda move: values[move])
    lines.append(larger_step(values.values(), path_labels(layout, (best,))[0]))
    return lines, values


def second_mover_steps(item: Item, layout: Layout, weighted: bool) -> tuple[list[str], dict[tuple[int, str], float]]:
    """Payoff of each reply, ``weighted`` by the belief that it is asked for, line by line, the larger one, and the values."""
    if item.beliefs is None:
        raise ValueError("a derivation needs stated beliefs")
    game, pay = GAMES[layout.game], shown_payoffs(item, layout)
    reached = dict(zip(game.info_sets[0].actions, (item.beliefs[0], 1 - item.beliefs[0]), strict=True))
    lines, values = ["As second mover:"], {}
    for k in page_order(layout)[1:]:
        after = game.info_sets[k].after
        found = {}
        for move in page_actions(layout, k):
            own = pay[(*after, move)][1]
            found[move] = values[k, move] = own * reached[after[0]] if weighted else own
            line = f"- {' '.join(path_labels(layout, (*after, move)))}: {number(own)}"
            line += f" * {number(reached[after[0]])} = {number(found[move])}" if weighted else ""
            lines.append(f"{line} for {label_of(layout, k, move)}")
        lines.append(larger_step(found.values(), label_of(layout, k, max(found, key=lambda move: found[move]))))
    return lines, values


def sum_steps(terms: list[float]) -> str:
    """``31 + 27 = 58, 58 + 6 = 64``: a sum, one addition at a time."""
    steps, total = [], terms[0]
    for term in terms[1:]:
        steps.append(f"{number(total)} + {number(term)} = {number(total + term)}")
        total += term
    return ", ".join(steps)


def weights_of(kappa: float) -> tuple[int, int]:
    """The smallest integers in the ratio (1 - kappa) : kappa."""
    share = Fraction(kappa).limit_denominator(1000)
    return share.denominator - share.numerator, share.numerator


def reasoning(item: Item, layout: Layout, kappa: float) -> tuple[str, int]:
    """The derivation of homo moralis' best reply (kappa 0: homo economicus) in words, and the strategy it ends in.

    Works on a multiple of the expected utility in which no fractions appear: with integers v : w = (1 - kappa) : kappa,
    2 (v + w) u(x, y) = v [first-mover payoff + second-mover payoff] + w [payoff sum on the path of x against x].
    An off-path move of x does not enter the second bracket and is chosen by the first alone.
    """
    game, pay = GAMES[layout.game], shown_payoffs(item, layout)
    sets, order = game.info_sets, page_order(layout)
    index = {s.after: k for k, s in enumerate(sets)}
    lines, first = first_mover_steps(item, layout)
    more, second = second_mover_steps(item, layout, weighted=kappa > 0)
    lines += more
    own_best = {k: max((second[k, move], move) for move in sets[k].actions)[1] for k in range(1, len(sets))}
    if kappa == 0:
        best = game.strategies.index((max(first, key=lambda move: first[move]), *own_best.values()))
        lines.append(f"My own payoff is largest with {strategy_labels(layout, best)}.")
        return "\n".join(lines), best

    v, w = weights_of(kappa)
    lines.append(f"Own payoff times {v}, payoff if everyone used the plan times {w}:")
    totals: list[tuple[float, float, int]] = []  # total, own payoff (which decides at a tie), strategy
    for move in page_actions(layout, 0):
        on_path = index.get((move,))
        for reply in page_actions(layout, on_path) if on_path else ("",):
            replies = {**own_best, on_path: reply} if on_path else own_best
            strategy = game.strategies.index((move, *(replies[k] for k in own_best)))
            parts = [first[move], *(second[k, replies[k]] for k in order[1:])]
            path = game.path(game.strategies[strategy], game.strategies[strategy])
            own, same = sum(parts), sum(pay[path])
            steps = [sum_steps(parts), sum_steps(list(pay[path]))]
            steps += [f"{number(value)} * {times} = {number(value * times)}" for value, times in ((own, v), (same, w)) if times != 1]
            name = f"plan {len(totals) + 1}"
            steps.append(f"{sum_steps([v * own, w * same])} for {name}")
            leader = max(totals, default=None)
            totals.append((v * own + w * same, own, strategy))
            if leader:
                steps.append(larger_step((leader[0], totals[-1][0]), f"plan {totals.index(max(totals)) + 1}"))
            lines.append(f"- {name}: {strategy_labels(layout, strategy)}: {', '.join(steps)}")
    best = max(totals)[2]
    lines.append(f"The total is largest with plan {totals.index(max(totals)) + 1}: {strategy_labels(layout, best)}.")
    return "\n".join(lines), best
