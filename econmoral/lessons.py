"""What the built-in model ``nano`` reads before any fine-tuning: conversations about games, made from the same prompts.

Each document is one conversation: a game, a first question, then short follow-ups until the document is full.  Questions
train reading a payoff table, expected payoffs, payoffs when everybody acts alike, arithmetic, and the whole plan.  Asked
for its plan without a system message, the document answers with a draw from a *noisy population* of known preferences:
cooperative and weakly sensitive to incentives.  Only payoffs that are not held out are used.

Two curricula: ``preference`` adds system messages that describe a preference, answered with its optimal plan;
``population`` never does (the control for what fine-tuning can add by itself).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from econmoral.choice import best_plan, logit
from econmoral.games import GAMES, belief_weights, draw_beliefs, draw_protocol
from econmoral.preferences import FAMILIES
from econmoral.prompts import (
    LABELS,
    UNITS,
    WORDINGS,
    WORDINGS_TRAIN,
    Item,
    Layout,
    Message,
    answer_text,
    belief_answers,
    draw_layout,
    elicit_text,
    first_mover_steps,
    game_text,
    number,
    path_labels,
    preference_text,
    question_text,
    reasoning,
    second_mover_steps,
    shown_payoffs,
    strategy_labels,
    sum_steps,
)

KAPPAS = (0.0, 0.25, 0.5, 0.75)
CURRICULA = ("preference", "population")
PHASES = ("reading", "arithmetic", "plans")

ALL_LABELS = LABELS
COOPERATORS = 0.5
TYPES = (  # the rest of the population: share, (alpha, beta, kappa), precision lambda per point
    (0.3, {"alpha": 0.2, "beta": 0.3, "kappa": 0.5}, 0.08),
    (0.2, {"alpha": 0.0, "beta": 0.0, "kappa": 0.0}, 0.02),
)
COOPERATIVE = {"spd": ("C", "C", "D"), "tg": ("trust", "give"), "ug": ("equal", "accept")}


def population(item: Item) -> np.ndarray:
    """(N,) distribution of the noisy population over pure strategies; unstated beliefs are uniform."""
    game = item.protocol.game
    weights = belief_weights(game, item.beliefs or (0.5,) * len(GAMES[game].info_sets))
    shares = np.zeros(len(GAMES[game].strategies))
    shares[GAMES[game].strategies.index(COOPERATIVE[game])] = COOPERATORS
    for share, theta, precision in TYPES:
        shares += share * logit(FAMILIES["alpha_beta_kappa"].utility(item.protocol.tables, weights, theta), precision)
    return shares


@dataclass(frozen=True)
class Turn:
    """A question and its answer; ``skill`` names what it exercises, ``weight`` is the loss weight of the answer."""

    skill: str
    question: str
    answer: str
    weight: float = 1.0


def read_row(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Copy one row of the payoff table."""
    pay = shown_payoffs(item, layout)
    path = list(pay)[rng.integers(len(pay))]
    labels = " ".join(path_labels(layout, path))
    return Turn("read", f"Payoffs of {labels}?", f"{labels}: {' '.join(map(number, pay[path]))}")


def same_plan(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Payoff of both roles on one path: the material of the Kantian term."""
    pay = shown_payoffs(item, layout)
    path = list(pay)[rng.integers(len(pay))]
    labels = " ".join(path_labels(layout, path))
    return Turn("same", f"Sum of {labels}?", f"{labels}: {sum_steps(list(pay[path]))}")


def first_mover(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Expected payoffs of the first moves, and the larger one."""
    return Turn("first_mover", "Expected payoffs?", "\n".join(first_mover_steps(item, layout)[0]))


def second_mover(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Payoffs of the replies, plain or weighted by how often they are asked for."""
    weighted = bool(rng.random() < 0.7)
    question = "Replies, weighted?" if weighted else "Replies?"
    return Turn("second_mover", question, "\n".join(second_mover_steps(item, layout, weighted)[0]))


def belief(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Of ten others, how many choose a label: read where stated, the population's share where not."""
    game = GAMES[layout.game]
    k = int(rng.integers(len(game.info_sets)))
    if item.beliefs is not None:
        return Turn("belief", elicit_text(layout, k), belief_answers(layout, k)[round(10 * item.beliefs[k])])
    chosen = [s[k] == game.info_sets[k].actions[0] for s in game.strategies]
    count = int(rng.binomial(10, population(item)[chosen].sum()))
    return Turn("belief_own", elicit_text(layout, k), belief_answers(layout, k)[count])


def plan(item: Item, layout: Layout, rng: np.random.Generator, kappa: float | None, steps: bool) -> tuple[str, float]:
    """Answer to the plan question and its loss weight: the optimum under a stated preference, else the population's."""
    if kappa is None:
        drawn = int(rng.choice(len(GAMES[layout.game].strategies), p=population(item)))
        if steps:  # the population looks at the same payoffs, and then does what it does
            lines = first_mover_steps(item, layout)[0] + second_mover_steps(item, layout, weighted=False)[0]
            return "\n".join([*lines, f"I choose {strategy_labels(layout, drawn)}.", answer_text(layout, drawn)]), 1.0
        return answer_text(layout, drawn), 1.0
    if steps:
        text, best = reasoning(item, layout, kappa)
        return f"{text}\n{answer_text(layout, best)}", 1.0
    assert item.beliefs is not None  # a preference is only stated together with beliefs
    best, lead = best_plan(item.protocol, item.beliefs, kappa)
    return answer_text(layout, best), 3.0 if lead >= 1 else 0.0  # near-ties teach noise


def arithmetic(rng: np.random.Generator) -> Turn:
    """Drill: products, sums and comparisons of numbers like those in derivations."""
    unit = int(rng.choice(UNITS))
    a, b, c, d = (int(v) * unit for v in rng.integers(0, 20, 4))
    w, v = (int(i) / 5 for i in rng.integers(1, 5, 2))
    kind = rng.choice(4, p=(0.2, 0.25, 0.25, 0.3))
    if kind == 0:
        return Turn("product", f"Compute {a} * {number(w)}", f"{a} * {number(w)} = {number(a * w)}")
    parts = [a * w, b * (1 - w)]
    if kind == 1:
        terms = parts if rng.random() < 0.7 else [float(a), float(b)]
        return Turn("sum", f"Compute {number(terms[0])} + {number(terms[1])}", sum_steps(terms))
    own = sum(parts) + (c * v if rng.random() < 0.7 else c * v + d * (1 - v))
    if kind == 2:
        terms = [sum(parts), own - sum(parts)] if rng.random() < 0.5 else [own, float(b + d)]
        return Turn("sum", f"Compute {number(terms[0])} + {number(terms[1])}", sum_steps(terms))
    x, y = (own + c, max(own + c + int(rng.integers(-60, 60)), 0.0)) if rng.random() < 0.5 else (float(a), float(b))
    return Turn("larger", f"Compute larger of {number(x)} and {number(y)}", f"larger of {number(x)} and {number(y)}: {number(max(x, y))}")


SKILLS: dict[str, tuple[Callable[[Item, Layout, np.random.Generator], Turn], ...]] = {
    "reading": (read_row, belief),
    "arithmetic": (read_row, belief, same_plan, first_mover, second_mover),
    "plans": (read_row, belief, same_plan, first_mover, second_mover),
}


def game_turns(rng: np.random.Generator, curriculum: str, phase: str, turns: int) -> tuple[str | None, list[Turn]]:
    """One conversation about one game: (system message or None, question-answer turns)."""
    game = str(rng.choice(list(GAMES_USED), p=GAMES_SHARE))
    protocol = draw_protocol(game, rng, held=False)
    stated = phase != "plans" or rng.random() < 0.9
    item = Item(protocol, draw_beliefs(game, rng) if stated else None)
    layout = draw_layout(game, rng, WORDINGS_TRAIN)
    with_preference = curriculum == "preference" and phase == "plans" and stated and rng.random() < 0.65
    kappa = float(rng.choice(KAPPAS, p=(0.35, 0.06, 0.53, 0.06))) if with_preference else None
    system = None
    if kappa is not None:
        plain = kappa == 0 and rng.random() < 0.5
        system = preference_text("homo_economicus" if plain else "homo_moralis", kappa)
    out: list[Turn] = []
    skills = SKILLS[phase] if stated else (read_row, belief)
    for i in range(turns):
        if i == 0 and phase == "plans" and rng.random() < PLAN_FIRST:
            steps = stated and bool(rng.random() < STEPS)
            answer, weight = plan(item, layout, rng, kappa, steps)
            skill = ("plan" if kappa is None else f"plan_{number(kappa)}") + ("_steps" if steps else "")
            turn = Turn(skill, question_text(layout, "reasoned" if steps else "direct"), answer, weight)
        else:
            turn = skills[rng.integers(len(skills))](item, layout, rng)
        if i == 0:
            turn = replace(turn, question=game_text(item, layout) + "\n" + turn.question)
        out.append(turn)
    return system, out


GAMES_USED = ("spd", "tg", "ug")
GAMES_SHARE = (0.5, 0.25, 0.25)
PLAN_FIRST = 0.9  # share of documents that open with the question for the whole plan
STEPS = 0.85  # of these, share that ask for the derivation
DRILL = {"reading": 0.0, "arithmetic": 0.45, "plans": 0.08}  # share of documents that are arithmetic drills


def document(rng: np.random.Generator, curriculum: str, phase: str, turns: int = 24) -> tuple[str | None, list[Turn]]:
    """A pre-training document: (system message or None, turns); longer than needed, the trainer cuts it to length."""
    if curriculum not in CURRICULA or phase not in PHASES:
        raise ValueError(f"unknown curriculum {curriculum!r} or phase {phase!r}; known: {CURRICULA}, {PHASES}")
    if rng.random() < DRILL[phase]:
        return None, [arithmetic(rng) for _ in range(2 * turns)]
    return game_turns(rng, curriculum, phase, turns)


def messages(system: str | None, turns: list[Turn]) -> list[Message]:
    """The conversation as chat messages."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [m for t in turns for m in ({"role": "user", "content": t.question}, {"role": "assistant", "content": t.answer})]


def corpus_words() -> list[str]:
    """Every piece of fixed text, held-out wordings included, so that the tokenizer knows all words in use."""
    fields = [getattr(w, f) for w in WORDINGS.values() for f in w.__dataclass_fields__ if isinstance(getattr(w, f), str)]
    return [*fields, "user", "assistant", "system"]
