"""Derivations: right in every step, about the numbers on the page,
ending in the target's optimum, and short.
"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from oracle import ACTIONS, OUTCOMES, REPLY, expected, pi_formula, plans, pure, worth
from test_target import KINDS

from econmoral.economics.games import GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.instruments.derivations import (
    allocation_derivation,
    check_steps,
    derives,
    game_derivation,
    length,
)
from econmoral.instruments.games import WORDINGS_TRAIN, Item, Layout, draw_layout
from econmoral.instruments.menus import (
    ALTRUIST,
    SPITEFUL,
    Menu,
    MenuPage,
    draw_allocation,
    draw_page,
)
from econmoral.target import ECONOMICUS, Target, moralis

KAPPAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
SUM = re.compile(r"(-?\d+)((?: [*+-] -?\d+)*)")


def value(side: str) -> Fraction:
    """Value of ``2 * 3 + 4 - 1``, products first.

    Raises AssertionError for anything that is no such sum.
    """
    found = SUM.fullmatch(side.strip())
    assert found, side
    terms = [Fraction(found[1])]
    for sign, number in re.findall(r" ([*+-]) (-?\d+)", found[2]):
        if sign == "*":
            terms[-1] *= int(number)
        else:
            terms.append(Fraction(number) if sign == "+" else -Fraction(number))
    return sum(terms, Fraction(0))


def steps(text: str) -> list[str]:
    """Every ``a = b = c`` of a text, without the words before it."""
    pieces = re.split(r"[,;:]|\.(?=\s|$)", text)
    return [re.sub(r"^.*?(?=-?\d)", "", piece.strip(), count=1) for piece in pieces if "=" in piece]


def check(text: str) -> int:
    """Number of the steps of a derivation; every one of them, and every comparison, is right."""
    for chain in steps(text):
        sides = [value(side) for side in chain.split(" = ")]
        assert len(set(sides)) == 1, chain
    for a, word, b in re.findall(r"(-?\d+) is (less|more) than (-?\d+)", text):
        assert (int(a) < int(b)) == (word == "less"), (a, word, b)
    for a, b in re.findall(r"(-?\d+) and (-?\d+) are equal", text):
        assert a == b
    for line in text.split("\n"):
        for claimed, label in re.findall(r"(-?\d+) is more: ([A-Z])\.", line):
            if ";" in line or " gives " in line:
                before = line[: line.index(" is more")].rpartition(". ")[0]
                if ": " in before:
                    before = before.partition(": ")[2]
                parts = re.split(r"; |, (?=(?:[A-Z] )+gives)|\. (?=[A-Z] gives)", before)
                # of the path K Z a first mover compares the first letter, a second mover the last
                place = 0 if line.startswith("Moving first") else -1
                named = [re.match(r"[A-Z](?: [A-Z])?\b", part)[0].split()[place] for part in parts]  # type: ignore[index]
                found = {
                    label: int(re.findall(r"-?\d+", part)[-1])
                    for label, part in zip(named, parts, strict=True)
                }
                assert found[label] == int(claimed) == max(found.values()), line
    return len(steps(text))


def draw(game: str, rng: np.random.Generator) -> tuple[Item, Layout]:
    return Item(draw_protocol(game, rng, held=False), draw_beliefs(game, rng)), draw_layout(
        game, rng, WORDINGS_TRAIN
    )


def named_plan(text: str, layout: Layout, game: str) -> tuple[str, ...]:
    """The plan that the last sentence names, by the page's labels."""
    closing = re.search(r"(?:So|-?\d+ is more:) ([A-Z]) first((?:, [A-Z] after [A-Z])+)\.$", text)
    assert closing, text[-80:]
    first = ACTIONS[game][0][layout.labels[0].index(closing[1])]
    plan = [first, *[""] * (len(ACTIONS[game]) - 1)]
    for reply, after in re.findall(r", ([A-Z]) after ([A-Z])", closing[2]):
        place = REPLY[game][ACTIONS[game][0][layout.labels[0].index(after)]]
        plan[place] = ACTIONS[game][place][layout.labels[1].index(reply)]
    assert all(plan)
    return tuple(plan)


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("game", sorted(OUTCOMES))
def test_homo_moralis_is_right_in_every_step_and_ends_in_the_optimum(
    game: str, kappa: float
) -> None:
    rng = np.random.default_rng(round(100 * kappa))
    for _ in range(100):
        item, layout = draw(game, rng)
        beliefs = item.beliefs or ()
        text, best = game_derivation(item, layout, moralis(kappa))
        assert check(text) > 3
        assert check_steps(text) == (check_steps(text)[1],) * 2
        u = [
            (1 - kappa) * pi_formula(game, item.protocol.payoffs, x, beliefs)
            + kappa * pi_formula(game, item.protocol.payoffs, x, x)
            for x in pure(game)
        ]
        plan = named_plan(text, layout, game)
        assert plans(game).index(plan) == best
        assert u[best] == pytest.approx(max(u))


@pytest.mark.parametrize("kind", [k for k in KINDS if derives(Target.parse(k), "games")])
def test_every_family_on_games(kind: str) -> None:
    target, rng = Target.parse(kind), np.random.default_rng(3)
    for game in sorted(OUTCOMES):
        for _ in range(25):
            item, layout = draw(game, rng)
            text, best = game_derivation(item, layout, target)
            check(text)
            assert named_plan(text, layout, game) == plans(game)[best]
            values = [
                expected(
                    game,
                    item.protocol.payoffs,
                    plan,
                    item.beliefs or (),
                    lambda m, n: worth(target.family, target.theta, m, n),
                )
                for plan in plans(game)
            ]
            assert values[best] == pytest.approx(max(values))


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_on_allocations(kind: str) -> None:
    target, rng = Target.parse(kind), np.random.default_rng(4)
    for i in range(150):
        menu = draw_allocation(rng, False, target)
        if i % 10 == 0:  # equal payoffs for both are not drawn, but stand in files
            menu = Menu(
                "a",
                "a",
                "a",
                menu.situation,
                menu.options,
                menu.values,
                (menu.own[0], menu.own[1]),
                (menu.own[0], menu.other[1]),
            )
        page = draw_page(menu, rng)
        text = allocation_derivation(menu, page, target)
        check(text)
        worths = {
            page.labels[k]: worth(target.family, target.theta, menu.own[k], menu.other[k])
            for k in (0, 1)
        }
        closing = re.search(r"(-?\d+) is more: ([A-Z])\.$", text)
        assert closing, text
        assert worths[closing[2]] == pytest.approx(max(worths.values()))
        unit = target.weights().unit
        crossed = re.findall(r"^([A-Z]) with what counts against [A-Z]: .* = (\d+)\.$", text, re.M)
        if crossed:  # what counts against an option stands on the other's side
            sums = {label: int(value) for label, value in crossed}
            best, rest = sorted(sums.values(), reverse=True)
            assert (int(closing[1]), sums[closing[2]]) == (best, best)
            apart = max(worths.values()) - min(worths.values())
            assert best - rest == pytest.approx(unit * apart)
        else:
            assert int(closing[1]) == pytest.approx(unit * worths[closing[2]])
        # the options are worked out in the order of the page
        assert re.findall(r"^([A-Z])(?=:)|(?:^|\. )([A-Z]) gives", text, flags=re.M)[0] in (
            (page.labels[page.order[0]], ""),
            ("", page.labels[page.order[0]]),
        )


def test_three_options_and_another_scale() -> None:
    menu = Menu("a", "a", "a", "{allocation}", ("", "", ""), (1, 0, 0), (10, 20, 30), (40, 40, 5))
    page = MenuPage(0, ("K", "L", "M"), (2, 1, 0), "5 cents", 10)
    text = allocation_derivation(menu, page, ALTRUIST)
    check(text)
    # in tenths, behind 8 : 2, ahead 5 : 5, points times ten
    assert text.split("\n")[-1] == "2400 is the most: L."
    assert check_steps(text)[0] == check_steps(text)[1] > 5


@pytest.mark.parametrize("target", [ECONOMICUS, moralis(0.5)], ids=str)
def test_another_number_on_the_page_is_another_derivation(target: Target) -> None:
    rng = np.random.default_rng(5)
    for game in sorted(OUTCOMES):
        payoffs, beliefs = (
            {"spd": (80, 60, 40, 20), "tg": (80, 60, 40, 20), "ug": (80, 60, 20, 40)}[game],
            (0.4,) * len(ACTIONS[game]),
        )
        layout = draw_layout(game, rng, WORDINGS_TRAIN)
        text = game_derivation(Item(Protocol(game, payoffs), beliefs), layout, target)[0]
        for place in range(4):
            changed = tuple(p + 5 * (i == place) for i, p in enumerate(payoffs))
            assert (
                game_derivation(Item(Protocol(game, changed), beliefs), layout, target)[0] != text
            )
        for place in range(len(beliefs)):
            other = tuple(y + 0.1 * (i == place) for i, y in enumerate(beliefs))
            changed = game_derivation(Item(Protocol(game, payoffs), other), layout, target)[0]
            # how many move first as C decides nothing for who looks at own payoff alone
            assert (changed != text) == (place > 0 or target != ECONOMICUS)


@pytest.mark.parametrize(
    ("target", "domain", "most"),
    [
        (ECONOMICUS, "games", 150),
        (moralis(0.5), "games", 300),
        (ECONOMICUS, "allocations", 60),
        (ALTRUIST, "allocations", 150),
        (SPITEFUL, "allocations", 220),  # without differences, which small models get wrong
    ],
    ids=str,
)
def test_derivations_are_short(target: Target, domain: str, most: int) -> None:
    rng, lengths = np.random.default_rng(6), []
    for i in range(120):
        if domain == "games":
            text = game_derivation(*draw(("spd", "tg", "spd", "ug")[i % 4], rng), target)[0]
        else:
            menu = draw_allocation(rng, False, target)
            text = allocation_derivation(menu, draw_page(menu, rng), target)
        lengths.append(length(text))
    assert 5 < np.mean(lengths) <= most


def test_one_operation_a_step() -> None:
    rng = np.random.default_rng(7)
    for target in (ECONOMICUS, moralis(0.5), moralis(0.25), ALTRUIST):
        for game in GAMES:
            for chain in steps(game_derivation(*draw(game, rng), target)[0]):
                for side in chain.split(" = "):
                    assert len(re.findall(r" [*+-] ", side)) <= 1, chain


def test_steps_are_counted_and_wrong_ones_seen() -> None:
    assert check_steps("K: 5 * 86 = 400 + 30 = 430, 430 + 12 = 442. 442 is more: K.") == (3, 3)
    assert check_steps("K: 5 * 86 = 400 + 30 = 431, 20 - 332 = -312.") == (2, 3)
    assert check_steps("nothing to see, 12 of 10, 3 = three, 1 * 2") == (0, 0)
    assert check_steps("2 + 2 = 2 + 2 + 1 = 5")[0] < 2
    assert check_steps("__import__('os') * 2 = 1") == (0, 0)
    assert check_steps("1 + " * 50_000 + "1 = 2")[0] == 0


def test_where_there_is_none_it_is_refused() -> None:
    target = Target.parse("alpha_beta_kappa:alpha=0.1,beta=0.2,kappa=0.5")
    assert not derives(target, "games")
    assert derives(target, "allocations")
    with pytest.raises(ValueError, match="has no derivation"):
        game_derivation(*draw("tg", np.random.default_rng(0)), target)
