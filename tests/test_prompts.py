"""Pages of the sequential games: what is printed is the decision,
and a reply is the move that its label stands for.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import ACTIONS, OUTCOMES, REPLY, plans, points

from econmoral.economics.games import GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.instruments.derivations import allocation_derivation, game_derivation
from econmoral.instruments.games import (
    WORDINGS,
    WORDINGS_HELD_OUT,
    WORDINGS_TRAIN,
    Item,
    Layout,
    Wording,
    belief_conversation,
    choices_of,
    converse,
    draw_layout,
    mirror,
    plan_order,
)
from econmoral.instruments.menus import ALTRUIST, MENUS, draw_page, is_allocation, menu_conversation
from econmoral.target import moralis
from econmoral.text.conversation import Message

EVERY = tuple(WORDINGS)
GOLDEN = Path(__file__).parent / "golden"
LABEL = re.compile(r"\b[B-HJ-NP-Z]\b")  # A and I are words
NUMBER = re.compile(r"\b\d+\b")
games = st.sampled_from(sorted(OUTCOMES))
seeds = st.integers(0, 10**6)


def draw(game: str, seed: int, wordings: tuple[str, ...] = EVERY) -> tuple[Item, Layout]:
    rng = np.random.default_rng(seed)
    return Item(draw_protocol(game, rng, held=False), draw_beliefs(game, rng)), draw_layout(
        game, rng, wordings
    )


# ------------------------------------------------------------------------------- golden transcripts


def transcript(messages: list[Message], controls: list[str]) -> str:
    """A conversation and its control questions as a person reads them."""
    return "".join(f"[{m['role']}]\n{m['content']}\n\n" for m in messages) + "".join(
        f"[control]\n{c}\n" for c in controls
    )


def golden() -> dict[str, str]:
    """Name of a file -> the text that it must hold: every game, an allocation,
    a menu of every battery.
    """
    found = {}
    for game in sorted(GAMES):
        item, layout = draw(game, 5, WORDINGS_TRAIN)
        text, best = game_derivation(item, layout, moralis(0.5))
        talk = converse(item, layout, "reasoned")
        found[game] = transcript(
            talk.transcript(choices_of(layout, best), text),
            [f"{q.text} {q.options[q.right or 0]}" for q in talk.controls],
        )
    for battery, menus in MENUS.items():
        menu = menus[min(3, len(menus) - 1)]
        page = draw_page(menu, np.random.default_rng(5))
        reasoned = is_allocation(menu)
        talk = menu_conversation(
            menu,
            page,
            "reasoned" if reasoned else "direct",
            "Be brief." if battery == "matrix" else None,
        )
        text = allocation_derivation(menu, page, ALTRUIST) if reasoned else None
        found[f"menu-{battery}"] = transcript(
            talk.transcript((1,), text),
            [f"{q.text} {q.options[q.right or 0]}" for q in talk.controls],
        )
    return found


@pytest.mark.parametrize("name", sorted([*GAMES, *(f"menu-{battery}" for battery in MENUS)]))
def test_transcript_is_the_one_that_was_read_by_a_person(name: str) -> None:
    assert golden()[name] == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_every_transcript_is_of_something_that_is_there() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(golden())


# ------------------------------------------------------------- the page, read back by its sentences


def lines_of(page: str) -> tuple[str, list[str], list[str]]:
    """(instructions, sentences about other people, lines of the table),
    told apart by "10" of other people.
    """
    head, *rest = page.split("\n")
    about = [line for line in rest if re.match(r"(Of|Among|Out of|From) 10 ", line)]
    assert len(about) <= 1
    return (
        head,
        [s + "." for s in about[0].rstrip(".").split(". ")] if about else [],
        [line for line in rest if line not in about],
    )


def table_of(page: str) -> dict[tuple[str, ...], tuple[int, int]]:
    """Labels on the path -> points of (first mover, second mover),
    in the order of the sentences.
    """
    found = {}
    for line in lines_of(page)[2]:
        labels, numbers = tuple(LABEL.findall(line)), [int(n) for n in NUMBER.findall(line)]
        assert len(labels) in (1, 2), line
        assert len(numbers) == 2, line
        found[labels] = (numbers[0], numbers[1])
    return found


def labelled(layout: Layout, game: str, path: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of the moves on a path."""
    where = [0, *([REPLY[game][path[0]]] if len(path) == 2 else [])]
    return tuple(
        layout.labels[role][ACTIONS[game][k].index(move)]
        for role, (k, move) in enumerate(zip(where, path, strict=True))
    )


@pytest.mark.parametrize("game", sorted(OUTCOMES))
@pytest.mark.parametrize("wording", EVERY)
def test_page_states_every_payoff_and_belief_once(game: str, wording: str) -> None:
    words = WORDINGS[wording]
    one, two = ("role one", "role two") if wording == "roles" else (words.first, words.second)
    for seed in range(8):
        item, layout = draw(game, seed, (wording,))
        talk = converse(item, layout, "direct")
        head, about, lines = lines_of(talk.page)
        fives = tuple(int(v) // 5 for v in item.protocol.payoffs)
        assert table_of(talk.page) == {
            labelled(layout, game, path): pay for path, pay in points(game, fives).items()
        }
        assert len(lines) == len(OUTCOMES[game])
        for line in lines:  # the first mover's points stand first
            assert line.index(one) < line.index(two)
            assert line.count(one) == line.count(two) == 1
        assert item.beliefs is not None
        assert len(about) == len(item.beliefs)
        found = {}
        for sentence in about:
            labels, (ten, p, q) = (
                LABEL.findall(sentence),
                (int(n) for n in NUMBER.findall(sentence)),
            )
            assert ten == p + q == 10
            after = (
                ()
                if labels[0] in layout.labels[0] and labels[1] in layout.labels[0]
                else (labels[0],)
            )
            a, b = dict.fromkeys(x for x in labels if x not in after)
            found |= {(*after, a): p, (*after, b): q}
        expected = {}
        for k, y in enumerate(item.beliefs):
            after = next(((m,) for m, place in REPLY[game].items() if place == k), ())
            for move, share in zip(ACTIONS[game][k], (y, 1 - y), strict=True):
                expected[labelled(layout, game, (*after, move))] = round(10 * share)
        assert found == expected
        for text in (talk.page, *(q.text for q in (*talk.questions, *talk.controls))):
            assert not re.search(r"[{}]|  |\.\.|None", text)
            assert not re.search(r"(^|[.?!] )[a-z]", text), text
            assert text.endswith((".", "?")), text
        assert set(LABEL.findall(head)) == {label for pair in layout.labels for label in pair}
        assert layout.rate in head
        # nothing on the page says which move is the co-operative one
        assert not re.search(
            r"cooperat|defect|trust|fair|keep|give back|equal(?!ly| chance)|accept|reject",
            talk.page,
        )


@pytest.mark.parametrize("game", sorted(OUTCOMES))
@pytest.mark.parametrize("wording", EVERY)
def test_questions_name_the_situation_and_its_options(game: str, wording: str) -> None:
    for seed in range(8):
        item, layout = draw(game, seed, (wording,))
        talk = converse(item, layout, "direct")
        firsts = talk.questions[0].options
        assert sorted(firsts) == sorted(layout.labels[0])
        assert LABEL.findall(talk.questions[0].text) == list(firsts)
        asked_after = []
        for question in talk.questions[1:]:
            after, *options = LABEL.findall(question.text)
            assert tuple(options) == question.options
            assert sorted(options) == sorted(layout.labels[1])
            asked_after.append(after)
        answered = [layout.labels[0][ACTIONS[game][0].index(move)] for move in REPLY[game]]
        # in the order in which the first moves are listed
        assert asked_after == [x for x in firsts if x in answered]
        for question in talk.questions:
            assert question.text.endswith("Reply with the letter only.")
            assert question.right is None


@pytest.mark.parametrize("game", sorted(OUTCOMES))
@pytest.mark.parametrize("wording", EVERY)
def test_control_questions_are_answered_by_the_page(game: str, wording: str) -> None:
    words = WORDINGS[wording]
    for seed in range(30):
        item, layout = draw(game, seed, (wording,))
        talk = converse(item, layout, "direct")
        table, rights = table_of(talk.page), []
        assert len(talk.controls) == 2
        for role, question in enumerate(talk.controls):
            situation, asked = question.text.split(". How many points does the ")
            assert asked == f"{(words.first, words.second)[role]} get? Reply with the number only."
            right = table[tuple(LABEL.findall(situation))][role]
            assert question.right is not None
            assert question.options[question.right] == str(right)
            assert [int(o) for o in question.options] == sorted(
                {v for pay in table.values() for v in pay}
            )
            rights.append(right)
        assert rights[0] != rights[1]  # who always says the same number does not understand


@given(games, seeds)
@settings(max_examples=80, deadline=None)
def test_twin_exchanges_labels_and_orders_and_nothing_else(game: str, seed: int) -> None:
    item, layout = draw(game, seed)
    twin = mirror(layout)
    assert mirror(twin) == layout
    one, other = converse(item, layout, "direct"), converse(item, twin, "direct")
    assert sorted(NUMBER.findall(one.page)) == sorted(NUMBER.findall(other.page))
    assert list(table_of(one.page).values()) == list(table_of(other.page).values())[::-1]
    exchanged = dict(
        zip(itertools.chain(*layout.labels), itertools.chain(*twin.labels), strict=True)
    )
    assert {
        tuple(exchanged[x] for x in path): pay for path, pay in table_of(one.page).items()
    } == table_of(other.page)
    # the same letters are offered in the same order, each now stands for the other move: habits of
    # letter and place cancel
    assert one.questions[0].options == other.questions[0].options
    for i in range(len(plans(game))):
        for k, (a, b) in enumerate(zip(choices_of(layout, i), choices_of(twin, i), strict=True)):
            if k == 0 or game != "spd":
                assert a != b


@given(games, seeds)
@settings(max_examples=80, deadline=None)
def test_replies_are_the_moves_of_the_strategy(game: str, seed: int) -> None:
    item, layout = draw(game, seed)
    talk = converse(item, layout, "direct")
    order = plan_order(layout)
    assert sorted(order) == list(range(len(plans(game))))
    for combination, replies in enumerate(itertools.product(*(q.options for q in talk.questions))):
        plan = plans(game)[order[combination]]
        moves = [plan[0]]
        for question in talk.questions[1:]:
            after = ACTIONS[game][0][layout.labels[0].index(LABEL.findall(question.text)[0])]
            moves.append(plan[REPLY[game][after]])
        labels = [layout.labels[min(k, 1)][ACTIONS[game][k].index(m)] for k, m in enumerate(moves)]
        assert tuple(labels) == replies
        said = talk.transcript(choices_of(layout, int(order[combination])))
        assert tuple(m["content"] for m in said if m["role"] == "assistant") == replies


def test_modes_and_what_comes_before() -> None:
    item, layout = draw("spd", 3)
    direct, reasoned = (
        converse(item, layout, mode, "Be brief.", (("user", "Hello."), ("assistant", "Hello.")))
        for mode in ("direct", "reasoned")
    )
    assert direct.page == reasoned.page
    assert direct.questions == reasoned.questions
    assert reasoned.opening()[-1]["content"] == f"{direct.page}\n{WORDINGS[layout.wording].work}"
    assert direct.opening()[-1]["content"] == f"{direct.page}\n{direct.questions[0].text}"
    assert [m["role"] for m in direct.opening()] == ["system", "user", "assistant", "user"]
    told = reasoned.transcript((0, 0, 1), "Because.")
    assert [m["role"] for m in told] == ["system", "user", "assistant", *["user", "assistant"] * 4]
    assert told[4]["content"] == "Because."


def test_scale_and_rate_change_what_they_name_and_nothing_else() -> None:
    item, layout = draw("tg", 4)
    plain, large, strange = (
        converse(item, x, "direct").page
        for x in (layout, replace(layout, scale=10), replace(layout, rate="3 rupees"))
    )
    assert table_of(large) == {path: (10 * m, 10 * n) for path, (m, n) in table_of(plain).items()}
    assert strange.replace("3 rupees", layout.rate) == plain


@pytest.mark.parametrize("wording", EVERY)
def test_beliefs_are_asked_for_without_being_shown(wording: str) -> None:
    item, layout = draw("spd", 4, (wording,))
    for k in range(3):
        talk = belief_conversation(item, layout, k)
        assert lines_of(talk.page)[1] == []
        (question,) = talk.questions
        assert question.options == tuple(str(i) for i in range(11))
        asked = LABEL.findall(question.text)
        assert asked == [*(layout.labels[0][k - 1] if k else ()), layout.labels[min(k, 1)][0]]
    with pytest.raises(ValueError, match="stated in tenths"):
        converse(replace(item, beliefs=(0.25, 0.5, 0.5)), layout, "direct")


def test_held_out_wordings_are_other_sentences() -> None:
    assert len(WORDINGS_TRAIN) >= 3
    assert len(WORDINGS_HELD_OUT) >= 2
    sentences = [
        f.name for f in fields(Wording) if f.name not in ("name", "held_out", "veil", "outcome_one")
    ]
    for one, two in itertools.combinations(WORDINGS.values(), 2):
        for name in sentences:
            assert getattr(one, name) != getattr(two, name), (one.name, two.name, name)


def test_layout_of_another_game_is_refused() -> None:
    _, layout = draw("tg", 0)
    with pytest.raises(ValueError, match="layout is for tg"):
        converse(Item(Protocol("ug", (60, 50, 10, 40)), (0.5, 0.5)), layout, "direct")
