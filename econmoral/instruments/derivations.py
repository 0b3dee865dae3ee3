"""Derivations in words: how a target comes to its decision, one operation on small numbers a step.

Small models get a sum of four terms wrong, and a product or a comparison that is not written out is
not learnt; so every product, sum and comparison is a step, a product with a two-digit number is
split into tens and units (``7 * 18 = 70 + 56 = 126``), and what several plans share is worked out
once.  On games the points of the page come first, in one form whatever the wording: looked up
there, they are read rightly in a wording never met.  ``check_steps`` reads a text back.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from econmoral.economics.games import GAMES, Protocol
from econmoral.files.records import InputError, plain
from econmoral.instruments.games import (
    TENTHS,
    Item,
    Layout,
    label_of,
    layout_of,
    page_actions,
    page_order,
    path_labels,
    shown_payoffs,
    tenths,
)
from econmoral.instruments.menus import Menu, MenuPage
from econmoral.target import Target, Weights, number


def times(factor: int, value: float) -> str:
    """``5 * 86 = 400 + 30 = 430``: the tens and the units apart where the value has both."""
    value = round(value)
    product = f"{factor} * {value} = "
    tens, units = value // 10 * 10, value % 10
    if value > 10 and units and factor > 1 and factor % 10:
        product += f"{factor * tens} + {factor * units} = "
    return product + str(factor * value)


def plus(a: float, b: float) -> str:
    """``36 + 12 = 48``."""
    return f"{number(a)} + {number(b)} = {number(a + b)}"


def more(values: dict[str, float]) -> tuple[str, str]:
    """(``48 is more: K.``, label of the larger value)."""
    best = max(values, key=lambda k: values[k])
    return f"{number(values[best])} is more: {best}.", best


# How Qwen's tokenizer cuts derivations: words, single digits, blanks before digits, punctuation.
# Every word of theirs is one token of it.
TOKENS = re.compile(r" ?[^\W\d_]+|\d| ?[^\s\w]+\n*|\s*\n+|\s+")


def length(text: str) -> int:
    """Tokens of a derivation in Qwen's tokenizer, as a pattern counts them."""
    return len(TOKENS.findall(text))


def derives(target: Target, domain: str) -> bool:
    """Whether there is a derivation; otherwise the target is trained on direct answers.

    On allocations every family has one; on games homo moralis and the families that look at payoffs
    alone.
    """
    if domain == "allocations":
        return True
    return target.outcome_only or target.family == "homo_moralis"


# -------------------------------------------------------------------------------------- allocations


def _worth(label: str, m: float, n: float, weights: Weights) -> tuple[str, int]:
    """One allocation's worth in units of 1 / weights.unit, in words, and the value."""
    m, n = round(m), round(n)
    own, other = weights.at(m, n)
    unit = weights.unit
    position = _position(m, n, weights)
    total = own * m + other * n
    if own == other == 1:
        steps = plus(m, n)
    elif other == 0:
        steps = times(own, m)
    elif other > 0 and own > 0:
        steps = f"{times(own, m)}, {times(other, n)}, {plus(own * m, other * n)}"
    elif own == 0:
        steps = times(other, n)
    # the gap is smaller than either payoff: own m + other n = unit m + other (n - m)
    elif own + other == unit:
        gap, weight = abs(n - m), abs(other)
        sign = "+" if (other > 0) == (m < n) else "-"
        steps = f"{max(m, n)} - {min(m, n)} = {gap}, {times(unit, m)}, {times(weight, gap)}, "
        steps += f"{unit * m} {sign} {weight * gap} = {total}"
    else:  # weights that do not add up to one point
        sign = "+" if other > 0 else "-"
        steps = (
            f"{times(own, m)}, {times(abs(other), n)}, {own * m} {sign} {abs(other) * n} = {total}"
        )
    return f"{label}: {position}{steps}.", total


def _position(m: int, n: int, weights: Weights) -> str:
    """Who gets more, where the weights depend on it."""
    if weights.behind == weights.ahead:
        return ""
    if m == n:
        return f"{m} and {n} are equal. "
    return f"{m} is {'less' if m < n else 'more'} than {n}: {'behind' if m < n else 'ahead'}. "


def _product(weight: int, value: int) -> tuple[str, int]:
    """``10 * 37 = 370, 4 * 37 = 120 + 28 = 148, 370 + 148 = 518``: a weight above ten in two."""
    tens, rest = weight // 10 * 10, weight % 10
    if not tens or not rest:
        return times(weight, value), weight * value
    steps = f"{times(tens, value)}, {times(rest, value)}, {plus(tens * value, rest * value)}"
    return steps, weight * value


def _against_each_other(
    options: list[tuple[str, int, int]], weights: Weights
) -> tuple[list[str], dict[str, float]]:
    """Two allocations where a weight is negative, without a difference: what counts against an
    option is added to the other.

    Differences, and comparisons below zero, are what small models get wrong most.

    options : label, own payoff, other's payoff of each.  Returns the lines, and what is compared.
    """
    lines, good, bad = [], {}, {}
    for label, m, n in options:
        good[label] = bad[label] = 0
        parts = []
        for weight, value in zip(weights.at(m, n), (m, n), strict=True):
            if not weight:
                continue
            steps, worth = _product(abs(weight), value)
            parts.append(f"{'For' if weight > 0 else 'Against'}: {steps}")
            side = good if weight > 0 else bad
            if side[label]:
                parts[-1] += f", {plus(side[label], worth)}"
            side[label] += worth
        lines.append(f"{label}: {_position(m, n, weights)}{'. '.join(parts)}.")
    values: dict[str, float] = {}
    for (one, *_), (two, *_) in itertools.permutations(options):
        values[one] = good[one] + bad[two]
        lines.append(f"{one} with what counts against {two}: {plus(good[one], bad[two])}.")
    return lines, values


def allocation_derivation(menu: Menu, page: MenuPage, target: Target) -> str:
    """What each option of an allocation is worth to the target, and which is worth most."""
    weights = target.weights()
    scale = page.scale
    lines: list[str] = []
    values: dict[str, float] = {}
    options = [
        (page.labels[k], round(menu.own[k] * scale), round(menu.other[k] * scale))
        for k in page.order
    ]
    if len(options) == 2 and any(w < 0 for _, m, n in options for w in weights.at(m, n)):
        lines, values = _against_each_other(options, weights)
        return "\n".join([*lines, more(values)[0]])
    for k in page.order:
        label, m, n = page.labels[k], menu.own[k] * scale, menu.other[k] * scale
        if weights == Weights(1, (1, 0), (1, 0)):
            values[label] = m
            lines.append(f"{label} gives me {number(m)}.")
            continue
        text, values[label] = _worth(label, m, n, weights)
        lines.append(text)
    if len(values) == 2:
        closing = more(values)[0]
    else:
        best = max(values, key=lambda k: values[k])
        closing = f"{number(values[best])} is the most: {best}."
    joiner = " " if weights == Weights(1, (1, 0), (1, 0)) else "\n"
    return joiner.join([*lines, closing])


# -------------------------------------------------------------------------------------------- games


def game_derivation(item: Item, layout: Layout, target: Target) -> tuple[str, int]:
    """The derivation of a target's best reply to the stated beliefs,
    and the strategy in which it ends.

    Sums are over ten people, so that no fraction appears.  At kappa = 1, where plans tie, it may
    end in another strategy than ``Target.best_plan``.  Raises ValueError where ``derives`` says
    no.
    """
    if not derives(target, "games"):
        raise ValueError(f"{target} has no derivation on games")
    points, pay = _points(item, layout, target)
    lines, first, replies = (
        _own_payoff(item, layout, pay) if target.kappa == 0 else _moral(item, layout, target)
    )
    game = GAMES[layout.game]
    plan = (first, *(replies[k] for k in range(1, len(game.info_sets))))
    return "\n".join([*points, *lines]), game.strategies.index(plan)


def right_derivation(record: Mapping[str, Any], page: int, target: Target) -> str | None:
    """A target's derivation on a page of a game's record; None where it has none on games.

    Raises InputError for a record that eval.games does not write.
    """
    if record.get("game") not in GAMES or not derives(target, "games"):
        return None
    try:
        t, r, p, s = map(float, record["payoffs"])
        item = Item(Protocol(record["game"], (t, r, p, s)), tuple(record["beliefs"]))
        return game_derivation(item, layout_of(record["pages"][page]["layout"]), target)[0]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        name = plain(str(record.get("id")))[:60]
        raise InputError(f"record {name!r} is none of eval.games of today ({error})") from None


def _points(
    item: Item, layout: Layout, target: Target
) -> tuple[list[str], dict[tuple[str, ...], tuple[float, float]]]:
    """Lines that write the page's points down in its order, and the table to work with.

    ``N R 8 and 10`` are the first and the second mover's points.  With the Kantian term they stand
    as the sum that it needs, ``N R 8 + 10 = 18``; for families that weigh the other's points there
    is a line for each role, and the table holds worths.
    """
    pay = shown_payoffs(item, layout)
    weights, paths = target.weights(), list(pay)
    named = {path: " ".join(path_labels(layout, path)) for path in (paths[i] for i in layout.rows)}
    if target.kappa:
        w = target.moral_weights()[1]
        sums = (
            f"{name} {plus(*pay[path])}" + (f", {times(w, sum(pay[path]))}" if w > 1 else "")
            for path, name in named.items()
        )
        return [f"{'; '.join(sums)}."], pay
    if weights == Weights(1, (1, 0), (1, 0)):
        return [
            "; ".join(
                f"{name} {number(pay[path][0])} and {number(pay[path][1])}"
                for path, name in named.items()
            )
            + "."
        ], pay
    lines, worth = [], {}
    for path, name in named.items():
        m, n = pay[path]
        one, first = _worth(f"{name}, moving first", m, n, weights)
        two, second = _worth(f"{name}, moving second", n, m, weights)
        lines += [one] if m == n else [one, two]
        worth[path] = (float(first), float(second))
    return lines, worth


def _first_mover(
    item: Item, layout: Layout, pay: dict[tuple[str, ...], tuple[float, float]]
) -> tuple[list[str], dict[str, float]]:
    """Steps for each first move, and its value over ten people by action.

    A step is ``K Z 4 * 9 = 36, K W 6 * 2 = 12, 36 + 12 = 48``.  Every product names the path whose
    points it takes, so that a reader finds them by its labels.
    """
    sets = {s.after: k for k, s in enumerate(GAMES[layout.game].info_sets)}
    steps, values = [], {}
    for move in page_actions(layout, 0):
        name = path_labels(layout, (move,))[0]
        if (move,) in pay:
            own = pay[(move,)][0]
            values[move] = TENTHS * own
            steps.append(f"{name} {times(TENTHS, own)}")
            continue
        k = sets[(move,)]
        listed = [
            (label_of(layout, k, r), tenths(item, k, r), pay[(move, r)][0])
            for r in page_actions(layout, k)
        ]
        products = [f"{name} {label} {times(p, m)}" for label, p, m in listed]
        one, two = (p * m for _, p, m in listed)
        values[move] = one + two
        steps.append(f"{', '.join(products)}, {plus(one, two)}")
    return steps, values


def _replies(layout: Layout) -> list[tuple[int, str, str]]:
    """(information set, first move that it answers, that move's label) in page order."""
    sets = GAMES[layout.game].info_sets
    found = []
    for k in page_order(layout)[1:]:
        (move,) = sets[k].after
        found.append((k, move, path_labels(layout, (move,))[0]))
    return found


def _plan_words(layout: Layout, first: str, replies: dict[int, str]) -> str:
    """``K first, Z after K, W after M.``"""
    parts = [f"{path_labels(layout, (first,))[0]} first"]
    parts += [
        f"{label_of(layout, k, replies[k])} after {after}" for k, _, after in _replies(layout)
    ]
    return ", ".join(parts) + "."


def _own_payoff(
    item: Item, layout: Layout, pay: dict[tuple[str, ...], tuple[float, float]]
) -> tuple[list[str], str, dict[int, str]]:
    steps, values = _first_mover(item, layout, pay)
    by_label = {path_labels(layout, (move,))[0]: value for move, value in values.items()}
    closing, _ = more(by_label)
    first = max(values, key=lambda move: values[move])
    lines = ["Moving first: " + "; ".join(steps) + f". {closing}"]
    replies = {}
    for k, move, after in _replies(layout):
        gains = {
            label_of(layout, k, reply): pay[(move, reply)][1] for reply in page_actions(layout, k)
        }
        given = ", ".join(
            f"{after} {label} gives {number(value)}" for label, value in gains.items()
        )
        closing, best = more(gains)
        replies[k] = next(r for r in page_actions(layout, k) if label_of(layout, k, r) == best)
        lines.append(f"Moving second after {after}: {given}. {closing}")
    lines.append(f"So {_plan_words(layout, first, replies)}")
    return lines, first, replies


def _moral(item: Item, layout: Layout, target: Target) -> tuple[list[str], str, dict[int, str]]:
    """Homo moralis: for integers v : w = (1 - kappa) : kappa the plan with the largest

        v [first-mover points + second-mover points, over ten people]
        + 10 w [points of both roles if everyone uses the plan].

    A reply that the plan itself never meets does not enter the second bracket; it is chosen for its
    own points.
    """
    v, w = target.moral_weights()
    pay = shown_payoffs(item, layout)
    lines: list[str] = []
    own_best: dict[int, tuple[str, float]] = {}
    # first move -> (best reply on the path, value with the moral term)
    together: dict[str, tuple[str, float]] = {}
    for k, move, after in _replies(layout):
        p = tenths(item, 0, move)
        own, total, own_steps, all_steps = {}, {}, [], []
        for reply in page_actions(layout, k):
            label, (m, n) = label_of(layout, k, reply), pay[(move, reply)]
            # at kappa = 1 own points decide what the plan itself never meets
            own[label] = max(v, 1) * p * n
            own_steps.append(
                f"{after} {label} {times(p, n)}" + (f", {times(v, p * n)}" if v > 1 else "")
            )
            same = TENTHS * w * (m + n)
            total[label] = same + v * p * n
            all_steps.append(f"{after} {label} {plus(same, own[label]) if v else number(same)}")
        actions = {label_of(layout, k, r): r for r in page_actions(layout, k)}
        closing, best = more(own)
        own_best[k] = actions[best], v and own[best]
        lines.append(f"{p} chose {after}: {'; '.join(own_steps)}. {closing}")
        closing, best = more(total)
        together[move] = actions[best], total[best]
        lines.append(f"Alike: {'; '.join(all_steps)}. {closing}")
    steps, values = _first_mover(item, layout, pay)
    if v > 1:
        steps = [
            f"{s}, {times(v, values[m])}"
            for s, m in zip(steps, page_actions(layout, 0), strict=True)
        ]
    if v:
        lines.append("Moving first: " + "; ".join(steps) + ".")
    totals: dict[str, float] = {}
    plans: dict[str, tuple[str, dict[int, str]]] = {}
    for move in page_actions(layout, 0):
        name = path_labels(layout, (move,))[0]
        value, parts = v * values[move], []
        if move in together:
            parts = [plus(value, together[move][1]) if v else number(together[move][1])]
            value += together[move][1]
        else:
            same = TENTHS * w * sum(pay[(move,)])
            parts = [plus(value, same) if v else number(same)]
            value += same
        replies = {}
        for k, other, after in _replies(layout):
            if other == move:
                replies[k] = together[move][0]
                continue
            replies[k], worth = own_best[k]
            parts.append(
                f"{label_of(layout, k, replies[k])} after {after}"
                + (f" {plus(value, worth)}" if v else "")
            )
            value += worth
        lines.append(f"{name} total: {', '.join(parts)}.")
        totals[name], plans[name] = value, (move, replies)
    _, best = more(totals)
    lines.append(f"{number(totals[best])} is more: {_plan_words(layout, *plans[best])}")
    return lines, *plans[best]


# -------------------------------------------------------------------------------- reading them back

_TERM = r"-?\d+(?:\.\d+)?"
# begins at the head of a sum, so that a long one without an equals sign is read once and not from
# every term
_CHAIN = re.compile(
    rf"(?<![*+-] )(?<![\d.-]){_TERM}(?: [*+-] {_TERM})+(?: = {_TERM}(?: [+*-] {_TERM})*)+"
)
_SIDE = re.compile(rf"({_TERM})(?: ([*+-]) ({_TERM}))?")


def _value(side: str) -> float | None:
    """Value of ``a``, ``a + b``, ``a - b`` or ``a * b``; None for anything longer."""
    found = _SIDE.fullmatch(side.strip())
    if not found:
        return None
    a = float(found[1])
    if found[2] is None:
        return a
    b = float(found[3])
    return a + b if found[2] == "+" else a - b if found[2] == "-" else a * b


@dataclass(frozen=True)
class StepRead:
    """One equation ``a * b = c`` that a text contains: where its right side stands,
    whether it is right, and the sign on its left side (none: ``""``).
    """

    start: int
    end: int
    right: bool
    sign: str


def read_steps(text: str) -> list[StepRead]:
    """Every arithmetic step of a text, in order; in a chain ``7 * 18 = 70 + 56 = 126`` there are
    two.  Nothing is evaluated.
    """
    found = []
    for chain in _CHAIN.finditer(text[:20_000]):
        sides = chain[0].split(" = ")
        place = chain.start()
        for one, other in itertools.pairwise(sides):
            place += len(one) + len(" = ")
            a, b = _value(one), _value(other)
            right = a is not None and b is not None and abs(a - b) < 1e-9
            sign = re.search(r" ([*+-]) ", one)
            found.append(StepRead(place, place + len(other), right, sign[1] if sign else ""))
    return found


def check_steps(text: str) -> tuple[int, int]:
    """(right, all) of the arithmetic steps ``a * b = c``, ``a + b = c`` that a text contains.

    The text is never evaluated.
    """
    steps = read_steps(text)
    return sum(s.right for s in steps), len(steps)
