"""The built-in model's lessons, its tokenizer, and what it can do before any fine-tuning."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from transformers import AutoTokenizer

from econmoral.checkpoints.models import NANO
from econmoral.economics.games import GAMES, draw_beliefs, draw_protocol
from econmoral.instruments import dilemmas, menus, pricing
from econmoral.instruments.derivations import check_steps, game_derivation
from econmoral.instruments.games import (
    WORDINGS,
    WORDINGS_TRAIN,
    Item,
    choices_of,
    converse,
    draw_layout,
)
from econmoral.target import ECONOMICUS, moralis
from econmoral.text.chat import prompt_text, turn_text
from econmoral.text.conversation import Conversation
from eval.engines.base import Condition
from eval.engines.with_transformers import Transformers
from recipes.nano import lessons


def documents(curriculum: str, phase: str, n: int, seed: int = 0) -> list[lessons.Lesson]:
    rng = np.random.default_rng(seed)
    return [
        lesson for _ in range(n) for lesson in lessons.document(rng, curriculum, phase, turns=3)
    ]


@cache
def read() -> list[lessons.Lesson]:
    return [lesson for phase in lessons.PHASES for lesson in documents("preference", phase, 150)]


def test_same_seed_same_documents() -> None:
    assert documents("preference", "decisions", 20) == documents("preference", "decisions", 20)
    assert documents("preference", "decisions", 20) != documents(
        "preference", "decisions", 20, seed=1
    )


def test_unknown_names_are_refused() -> None:
    for words in (("preference", "dreams"), ("morals", "reading")):
        with pytest.raises(ValueError, match="known"):
            lessons.document(np.random.default_rng(0), *words)


def test_the_control_curriculum_describes_no_preference() -> None:
    assert not [
        lesson
        for phase in lessons.PHASES
        for lesson in documents("population", phase, 80)
        if lesson.system
    ]
    told = {lesson.system for lesson in read() if lesson.system}
    assert told == {target.describe() for target in lessons.TOLD}


def test_no_held_out_wording_is_read() -> None:
    text = "\n".join(turn.question for lesson in read() for turn in lesson.turns)
    held = [w.opening for w in WORDINGS.values() if w.held_out] + [
        f.allocation for f in menus.FRAMES if f.held_out
    ]
    held += [w.opening for w in dilemmas.CASE_WORDINGS if w.held_out] + [
        w.page.partition("{")[0] for w in dilemmas.RATING_WORDINGS if w.held_out
    ]
    held += [w.opening.partition("{")[0] for w in pricing.PRICE_WORDINGS if w.held_out]
    seen = [WORDINGS[name].opening for name in WORDINGS_TRAIN] + [
        dilemmas.CASE_WORDINGS[i].opening for i in dilemmas.TRAIN
    ]
    assert not [opening for opening in held if opening in text]
    assert all(opening in text for opening in seen)


def test_no_held_out_payoffs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    draw, allocate = draw_protocol, menus.draw_allocation
    monkeypatch.setattr(
        lessons,
        "draw_protocol",
        lambda game, rng, held: asked.append(held) or draw(game, rng, held),
    )
    monkeypatch.setattr(
        menus,
        "draw_allocation",
        lambda rng, held, target: asked.append(held) or allocate(rng, held, target),
    )
    documents("preference", "decisions", 40)
    assert asked
    assert not any(asked)


def test_every_step_is_right_and_letters_follow_the_derivation() -> None:
    derived = 0
    for lesson in read():
        for i, turn in enumerate(lesson.turns):
            right, steps = check_steps(turn.answer)
            assert right == steps, turn.answer
            if not turn.skill.endswith("_derivation"):
                continue
            letters = [
                t.answer.rstrip(".") for t in lesson.turns[i + 1 :] if t.skill.endswith("_letters")
            ]
            derived += 1
            assert letters
            last = turn.answer.splitlines()[-1].rpartition(": ")[2].removeprefix("So ").strip(".")
            # K first, Z after K, W after M: the replies are asked in the same order
            if " first" in last:
                assert letters == [part.split()[0] for part in last.split(", ")], turn.answer
            else:
                assert letters == [last.split()[-1]], turn.answer
    assert derived > 50


def test_populations_are_distributions() -> None:
    rng = np.random.default_rng(0)
    for game in GAMES:
        if game in lessons.COOPERATIVE:
            p = lessons.population(
                Item(draw_protocol(game, rng, held=False), draw_beliefs(game, rng))
            )
            assert p.min() > 0
            assert abs(p.sum() - 1) < 1e-9
            assert p[GAMES[game].strategies.index(lessons.COOPERATIVE[game])] > lessons.COOPERATORS
    for battery in menus.MENUS.values():
        for menu in battery:
            p = lessons.menu_population(menu)
            assert p.shape == (menu.size,)
            assert abs(p.sum() - 1) < 1e-9


# --------------------------------------------------------------------------------- the model itself


def conversations(seed: int = 3) -> list[Conversation]:
    """One of every kind in every wording, held-out ones included."""
    rng = np.random.default_rng(seed)
    talks = []
    for game in lessons.COOPERATIVE:
        for wording in WORDINGS:
            item = Item(draw_protocol(game, rng, held=True), draw_beliefs(game, rng))
            talks.append(
                converse(
                    item, draw_layout(game, rng, (wording,)), "reasoned", moralis(0.5).describe()
                )
            )
    for wording in range(len(menus.FRAMES)):
        for battery in menus.MENUS.values():
            talks.append(
                menus.menu_conversation(battery[0], menus.draw_page(battery[0], rng, (wording,)))
            )
        page = dilemmas.CasePage(wording, dilemmas.draw_labels(rng), False, True)
        talks.append(dilemmas.scenario_conversation(dilemmas.draw_scenarios(1, rng)[0], page))
        talks.append(
            dilemmas.rating_conversation(dilemmas.Rating("veil", 20, "law"), False, wording)
        )
        view = pricing.View(100.0, 2, (150.0,), ((160.0,),), (20.0,), (12.0,))
        talks.append(pricing.price_conversation(view, wording))
    return talks


def test_the_tokenizer_reads_back_what_it_wrote() -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    for talk in conversations():
        for step in (
            *talk.control_steps(),
            talk.step((), "5 * 18 = 50 + 40 = 90" if talk.work else None),
        ):
            said = [{"role": role, "content": content} for role, content in step.messages]
            prompt, turn = prompt_text(tokenizer, said), turn_text(tokenizer, said, step.options[0])
            head, whole = (
                tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (prompt, prompt + turn)
            )
            assert tokenizer.decode(whole) == prompt + turn
            assert whole[: len(head)] == head  # the answer starts a token of its own
            assert tokenizer.unk_token_id not in whole


def test_numbers_and_labels_are_one_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    for text in ("0", "7", "42", " 42", "220", " 712", "712", "K", " K", " *", " ="):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1, text


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in NANO.rglob("*") if file.is_file()) < 8e6


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers("nano", {})


def test_it_answers_in_the_form(engine: Transformers) -> None:
    talks = [talk for talk in conversations() if talk.work is None]
    for talk in talks:
        (levels,) = engine.log_probabilities([[engine.scored(talk.step(()))]], Condition("base"))
        assert np.exp(np.logaddexp.reduce(levels[0])) > 0.5, talk.page


def test_it_reads_the_page(engine: Transformers) -> None:
    """Control questions about payoffs that are not in its training text."""
    rng, right = np.random.default_rng(5), []
    for i in range(60):
        game = list(lessons.COOPERATIVE)[i % 3]
        item = Item(draw_protocol(game, rng, held=True), draw_beliefs(game, rng))
        talk = converse(item, draw_layout(game, rng, WORDINGS_TRAIN), "direct")
        for question, step in zip(talk.controls, talk.control_steps(), strict=True):
            (levels,) = engine.log_probabilities([[engine.scored(step)]], Condition("base"))
            right.append(int(levels[0].argmax()) == question.right)
    assert np.mean(right) > 0.9


def test_letters_follow_a_derivation(engine: Transformers) -> None:
    rng, right = np.random.default_rng(6), []
    for i in range(30):
        game = list(lessons.COOPERATIVE)[i % 3]
        item = Item(draw_protocol(game, rng, held=True), draw_beliefs(game, rng))
        layout = draw_layout(game, rng, WORDINGS_TRAIN)
        text, strategy = game_derivation(item, layout, (ECONOMICUS, moralis(0.5))[i % 2])
        talk, choices = converse(item, layout, "reasoned"), choices_of(layout, strategy)
        for k in range(len(choices)):
            (levels,) = engine.log_probabilities(
                [[engine.scored(talk.step(choices[:k], text))]], Condition("base")
            )
            right.append(int(levels[0].argmax()) == choices[k])
    assert np.mean(right) > 0.95


def test_the_card_names_its_limits() -> None:
    card = (NANO / "README.md").read_text(encoding="utf-8")
    assert "no evidence about large models" in card
    assert re.search(r"\| population_letters \| [01]\.\d\d \|", card)
