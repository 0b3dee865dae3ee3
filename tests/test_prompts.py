"""Text: what is printed is the decision, and what is read back is the choice."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import optimum
from transformers import AutoTokenizer

from econmoral.games import GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.models import NANO
from econmoral.prompts import (
    WORDINGS,
    WORDINGS_HELD_OUT,
    WORDINGS_TRAIN,
    Item,
    Layout,
    answer_text,
    answers,
    belief_answers,
    draw_layout,
    mirror,
    parse,
    reasoning,
    render,
    render_belief,
    shown_payoffs,
)

EVERY = tuple(WORDINGS)
GOLDEN = Path(__file__).parent / "golden"


def draw(game: str, seed: int, wordings: tuple[str, ...] = EVERY) -> tuple[Item, Layout]:
    rng = np.random.default_rng(seed)
    return Item(draw_protocol(game, rng, held=False), draw_beliefs(game, rng)), draw_layout(game, rng, wordings)


@pytest.mark.parametrize("game", sorted(GAMES))
def test_transcript_is_the_one_that_was_read_by_a_person(game: str) -> None:
    item, layout = draw(game, 5, WORDINGS_TRAIN)
    text, best = reasoning(item, layout, 0.5)
    transcript = render(item, layout, "reasoned")[0]["content"] + "\n----\n" + text + "\n" + answer_text(layout, best) + "\n"
    assert transcript == (GOLDEN / f"{game}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("game", sorted(GAMES))
@pytest.mark.parametrize("wording", EVERY)
def test_page_states_every_payoff_belief_and_label_once_in_its_table(game: str, wording: str) -> None:
    item, layout = draw(game, 1, (wording,))
    text = render(item, layout, "direct")[0]["content"]
    rows = dict(re.findall(r"^- ([A-Z](?: [A-Z])?): (\d+ \d+)$", text, flags=re.M))
    value = {k: v * layout.unit // 5 for k, v in zip("TRPS", map(int, item.protocol.payoffs), strict=True)}
    label = {(k, a): layout.labels[k][i] for k, s in enumerate(GAMES[game].info_sets) for i, a in enumerate(s.actions)}
    if game == "spd":
        c, d = label[0, "C"], label[0, "D"]
        expected = {
            f"{c} {label[1, 'C']}": "{R} {R}", f"{c} {label[1, 'D']}": "{S} {T}", f"{d} {label[2, 'C']}": "{T} {S}", f"{d} {label[2, 'D']}": "{P} {P}",
        }  # fmt: skip
    elif game == "tg":
        t = label[0, "trust"]
        expected = {label[0, "distrust"]: "{P} {P}", f"{t} {label[1, 'give']}": "{R} {R}", f"{t} {label[1, 'keep']}": "{S} {T}"}
    else:
        u = label[0, "unequal"]
        expected = {label[0, "equal"]: "{R} {R}", f"{u} {label[1, 'accept']}": "{T} {S}", f"{u} {label[1, 'reject']}": "{P} {P}"}
    assert rows == {k: v.format(**value) for k, v in expected.items()}
    assert item.beliefs is not None
    for k, y in enumerate(item.beliefs):
        first, second = layout.labels[k]
        assert f" {first} {round(10 * y)}" in text
        assert f" {second} {round(10 - 10 * y)}" in text
    assert "{" not in text


@given(st.sampled_from(sorted(GAMES)), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_twin_exchanges_labels_and_orders_and_nothing_else(game: str, seed: int) -> None:
    item, layout = draw(game, seed)
    twin = mirror(layout)
    assert mirror(twin) == layout
    assert shown_payoffs(item, layout) == shown_payoffs(item, twin)
    text, other = (render(item, x, "direct")[0]["content"] for x in (layout, twin))
    assert sorted(re.findall(r"\d+", text)) == sorted(re.findall(r"\d+", other))
    for i, (a, b) in enumerate(zip(answers(layout), answers(twin), strict=True)):
        assert (parse(a, layout), parse(b, twin)) == (i, i)
        assert set(a.split()[1:]).isdisjoint(b.split()[1:])


@given(st.sampled_from(sorted(GAMES)), st.integers(0, 10**6), st.sampled_from((0.0, 0.25, 0.5, 0.75)))
@settings(max_examples=150, deadline=None)
def test_derivation_is_right_in_every_step_and_ends_in_the_optimum(game: str, seed: int, kappa: float) -> None:
    item, layout = draw(game, seed)
    assert item.beliefs is not None
    text, best = reasoning(item, layout, kappa)
    for left, right in re.findall(r"([\d.]+(?: [*+] [\d.]+)+) = ([\d.]*\d)", text):
        parts = left.split()
        a, b = Decimal(parts[0]), Decimal(parts[2])
        assert (a * b if parts[1] == "*" else a + b) == Decimal(right), text
    name = item.protocol.tables.strategies[best]
    values = item.protocol.tables.pi
    weights = np.array(
        [np.prod([y if (s[k] == GAMES[game].info_sets[k].actions[0]) else 1 - y for k, y in enumerate(item.beliefs)]) for s in GAMES[game].strategies]
    )
    u = (1 - kappa) * values @ weights + kappa * np.diag(values)
    if np.sort(u)[-1] - np.sort(u)[-2] > 1e-9:
        assert name == optimum(game, item.protocol.payoffs, item.beliefs, kappa)
    assert u[best] == pytest.approx(u.max())


@given(st.text(max_size=80), st.sampled_from(sorted(GAMES)))
@settings(max_examples=200, deadline=None)
def test_parse_survives_any_text(text: str, game: str) -> None:
    _, layout = draw(game, 0)
    for whole in (text, "Answer:" + text, text + "Answer: " + text):
        found = parse(whole, layout)
        assert found is None or 0 <= found < len(GAMES[game].strategies)


def test_parse_takes_the_last_answer_and_refuses_labels_of_another_page() -> None:
    _, layout = draw("spd", 3)
    first, last = answers(layout)[0], answers(layout)[5]
    assert parse(f"{first}\nno, wait\n{last}\nthanks", layout) == 5
    assert parse(f"{first} and more", layout) is None
    assert parse("Answer: A A A", layout) is None
    assert parse("I would rather not say", layout) is None


def test_beliefs_are_asked_for_without_being_shown() -> None:
    item, layout = draw("spd", 4)
    text = render_belief(item, layout, 1)[0]["content"]
    assert WORDINGS[layout.wording].beliefs.split("{")[0] not in text
    assert belief_answers(layout, 1)[3] == f"Answer: {layout.labels[1][0]} 3"
    assert len(set(belief_answers(layout, 1))) == 11


def test_held_out_wordings_are_other_sentences() -> None:
    for held in WORDINGS_HELD_OUT:
        for train in WORDINGS_TRAIN:
            for field in ("opening", "first", "second", "payoffs", "beliefs", "plan", "direct", "reasoned"):
                assert getattr(WORDINGS[held], field) != getattr(WORDINGS[train], field)


def test_layout_of_another_game_is_refused() -> None:
    _, layout = draw("tg", 0)
    with pytest.raises(ValueError, match="layout is for tg"):
        render(Item(Protocol("ug", (60, 50, 10, 40)), (0.5, 0.5)), layout, "direct")


def test_built_in_tokenizer_covers_every_word_and_number() -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    for game in GAMES:
        for wording in EVERY:
            item, layout = draw(game, 11, (wording,))
            for mode in ("direct", "reasoned"):
                text = render(item, layout, mode)[0]["content"] + "\n" + reasoning(item, layout, 0.5)[0]
                assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
                for word in set(re.findall(r"(?<= )[A-Za-z]+", text)) | set(re.findall(r"(?<= )\d+(?![\d.])", text)):
                    # one token each; a held-out wording may start a sentence with a word seen only in lower case
                    assert len(tokenizer(f" {word}")["input_ids"]) <= (2 if WORDINGS[wording].held_out and word.istitle() else 1), word
