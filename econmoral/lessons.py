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
from functools import lru_cache

import numpy as np

from econmoral.games import GAMES, Protocol, belief_weights, draw_beliefs, draw_protocol
from econmoral.preferences import FAMILIES
from econmoral.prompts import (
    ANSWER,
    LABELS,
    WORDINGS,
    WORDINGS_TRAIN,
    Item,
    Layout,
    Message,
    answer_text,
    belief_items,
    draw_layout,
    elicit_text,
    game_text,
    label_of,
    number,
    page_actions,
    path_labels,
    preference_text,
    question_text,
    reasoning,
    shown_value,
    weighted_sum,
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


@lru_cache(maxsize=20_000)
def _tables(protocol: Protocol):  # protocols repeat across questions, and enumerating the tree is slow
    return protocol.tables


def population(item: Item) -> np.ndarray:
    """(N,) distribution of the noisy population over pure strategies; unstated beliefs are uniform."""
    game = item.protocol.game
    weights = belief_weights(game, item.beliefs or (0.5,) * len(GAMES[game].info_sets))
    shares = np.zeros(len(GAMES[game].strategies))
    shares[GAMES[game].strategies.index(COOPERATIVE[game])] = COOPERATORS
    for share, theta, precision in TYPES:
        u = precision * FAMILIES["alpha_beta_kappa"].utility(_tables(item.protocol), weights, theta)
        p = np.exp(u - u.max())
        shares += share * p / p.sum()
    return shares


def optimum(item: Item, kappa: float) -> tuple[int, float]:
    """Optimal pure strategy of homo moralis (kappa 0: homo economicus) and its lead over the second best, in points."""
    game = item.protocol.game
    weights = belief_weights(game, item.beliefs or (0.5,) * len(GAMES[game].info_sets))
    u = FAMILIES["homo_moralis"].utility(_tables(item.protocol), weights, {"kappa": kappa})
    best = int(u.argmax())
    return best, float(u[best] - np.delete(u, best).max())


@dataclass(frozen=True)
class Turn:
    """A question and its answer; ``skill`` names what it exercises, ``weight`` is the loss weight of the answer."""

    skill: str
    question: str
    answer: str
    weight: float = 1.0


def _path(rng: np.random.Generator, layout: Layout) -> tuple[str, ...]:
    paths = list(GAMES[layout.game].outcomes)
    return paths[rng.integers(len(paths))]


def _payoffs(item: Item, layout: Layout, path: tuple[str, ...]) -> tuple[float, float]:
    value = dict(zip("TRPS", item.protocol.payoffs, strict=True))
    a, b = GAMES[layout.game].outcomes[path]
    return shown_value(layout, value[a]), shown_value(layout, value[b])


def read_row(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Copy one row of the payoff table."""
    path = _path(rng, layout)
    labels = " ".join(path_labels(layout, path))
    return Turn("read", f"Payoffs of {labels}?", f"{labels}: " + " ".join(map(number, _payoffs(item, layout, path))))


def same_plan(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Payoff of both roles on one path: the material of the Kantian term."""
    path = _path(rng, layout)
    a, b = _payoffs(item, layout, path)
    return Turn("same", f"Sum of {' '.join(path_labels(layout, path))}?", f"Sum {number(a)} + {number(b)} = {number(a + b)}")


def expected(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Expected payoff of one or both first moves at the beliefs, with or without the steps."""
    assert item.beliefs is not None
    sets = GAMES[layout.game].info_sets
    results, steps = [], []
    for move in page_actions(layout, 0):
        name = path_labels(layout, (move,))[0]
        k = next((k for k, s in enumerate(sets) if s.after == (move,)), None)
        if k is None:
            value = _payoffs(item, layout, (move,))[0]
            results.append((name, value))
            steps.append(f"{name}: {number(value)}")
            continue
        chance = dict(zip(sets[k].actions, (item.beliefs[k], 1 - item.beliefs[k]), strict=True))
        terms = [(chance[reply], _payoffs(item, layout, (move, reply))[0]) for reply in page_actions(layout, k)]
        results.append((name, sum(w * v for w, v in terms)))
        steps.append(f"{name}: {weighted_sum(terms)}")
    kind = rng.integers(3)
    if kind == 0:
        return Turn("expect_steps", "Expected payoffs of the first mover, step by step?", ", ".join(steps))
    if kind == 1:
        # whole numbers: what a plan needs is the comparison
        return Turn("expect", "Expected payoffs of the first mover?", ", ".join(f"{n} {round(v)}" for n, v in results))
    best = max(results, key=lambda r: r[1])[0]
    return Turn("expect_best", "Larger expected payoff of the first mover?", best)


def stated_belief(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """Of ten others, how many choose a label: read where stated, the population's share where not."""
    k = int(rng.integers(len(GAMES[layout.game].info_sets)))
    if item.beliefs is not None:
        return Turn("belief", elicit_text(layout, k), f"{ANSWER} {number(10 * item.beliefs[k])}")
    game = GAMES[layout.game]
    share = sum(p for p, s in zip(population(item), game.strategies, strict=True) if s[k] == game.info_sets[k].actions[0])
    return Turn("belief_own", elicit_text(layout, k), f"{ANSWER} {rng.binomial(10, share)}")


def plan(item: Item, layout: Layout, rng: np.random.Generator, kappa: float | None, steps: bool) -> tuple[str, float]:
    """Answer to the plan question and its loss weight: the optimum under a stated preference, else the population's."""
    if kappa is None:
        return answer_text(layout, int(rng.choice(len(GAMES[layout.game].strategies), p=population(item)))), 1.0
    best, lead = optimum(item, kappa)
    if steps:
        text, best = reasoning(item, layout, kappa)
        return f"{text}\n{answer_text(layout, best)}", 1.0
    return answer_text(layout, best), 3.0 if lead >= 1 else 0.0  # near-ties teach noise


def arithmetic(rng: np.random.Generator) -> Turn:
    """Drill: sums, products with tenths, weighted sums, comparisons, on numbers like those in games and derivations."""
    kind = rng.integers(8)
    unit = int(rng.choice([1, 2, 5]))
    a, b = (int(v) * unit for v in rng.integers(0, 20, 2))
    w = int(rng.integers(1, 10)) / 10
    x, y, z = (int(v) * unit / 10 for v in rng.integers(0, 190, 3))
    if kind == 0:
        return Turn("add", f"Compute {number(x)} + {number(y)}", f"= {number(x + y)}")
    if kind == 1:
        return Turn("add", f"Compute {a} + {b}", f"= {a + b}")
    if kind == 2:
        x, y, z = (round(0.66 * v, 1) for v in (x, y, z))
        return Turn("add_three", f"Compute {number(x)} + {number(y)} + {number(z)}", f"= {number(x + y + z)}")
    if kind == 3:
        return Turn("product", f"Compute {number(w)} * {a}", f"= {number(w * a)}")
    if kind == 4:
        return Turn("mean_steps", f"Compute {number(w)} * {a} + {number(1 - w)} * {b} step by step", "Sum " + weighted_sum([(w, a), (1 - w, b)]))
    if kind == 5:
        kappa = float(rng.choice(KAPPAS[1:]))
        steps = weighted_sum([(1 - kappa, x), (kappa, a + b)])
        return Turn("total_steps", f"Compute {number(1 - kappa)} * {number(x)} + {number(kappa)} * {a + b} step by step", "Sum " + steps)
    if kind == 6:
        values = [x, y, z, float(a)][: int(rng.integers(2, 5))]
        return Turn("larger", f"Largest of {', '.join(map(number, values))}", f"= {number(max(values))}")
    return Turn("mean", f"Compute {number(w)} * {a} + {number(1 - w)} * {b}", f"= {round(w * a + (1 - w) * b)}")


SKILLS: dict[str, tuple[Callable[[Item, Layout, np.random.Generator], Turn], ...]] = {
    "reading": (read_row, read_row, stated_belief),
    "arithmetic": (read_row, same_plan, expected, expected),
    "plans": (read_row, same_plan, expected, stated_belief),
}


def game_turns(rng: np.random.Generator, curriculum: str, phase: str, turns: int) -> tuple[str | None, list[Turn]]:
    """One conversation about one game: (system message or None, question-answer turns)."""
    game = str(rng.choice(list(GAMES_USED), p=GAMES_SHARE))
    protocol = draw_protocol(game, rng, held=False)
    stated = phase != "plans" or rng.random() < 0.9
    item = Item(protocol, draw_beliefs(game, rng) if stated else None)
    layout = draw_layout(game, rng, WORDINGS_TRAIN)
    with_preference = curriculum == "preference" and phase == "plans" and stated and rng.random() < 0.6
    kappa = float(rng.choice(KAPPAS, p=(0.3, 0.2, 0.3, 0.2))) if with_preference else None
    system = None
    if kappa is not None:
        plain = kappa == 0 and rng.random() < 0.5
        system = preference_text("homo_economicus" if plain else "homo_moralis", kappa)
    out: list[Turn] = []
    skills = SKILLS[phase] if stated else (read_row, stated_belief)
    for i in range(turns):
        ask_plan = phase == "plans" and rng.random() < (0.8 if i == 0 else 0.5 if stated else 0.1)
        if not ask_plan:
            turn = skills[rng.integers(len(skills))](item, layout, rng)
            if i == 0:
                turn = replace(turn, question=game_text(item, layout) + "\n" + turn.question)
            out.append(turn)
            continue
        steps = i == 0 and kappa is not None and rng.random() < 0.4
        if i == 0:
            question = game_text(item, layout) + "\n" + question_text(layout, "reasoned" if steps else "direct")
        else:
            item = Item(protocol, draw_beliefs(game, rng)) if stated else item
            question = f"Suppose instead:{belief_items(layout, item.beliefs)}. Your plan?" if stated else "Your plan?"
        answer, weight = plan(item, layout, rng, kappa, steps)
        skill = "plan" if kappa is None else f"plan_{number(kappa)}" + ("_steps" if steps else "")
        out.append(Turn(skill, question, answer, weight))
    return system, out


GAMES_USED = ("spd", "tg", "ug")
GAMES_SHARE = (0.5, 0.25, 0.25)


def document(rng: np.random.Generator, curriculum: str, phase: str, turns: int = 24) -> tuple[str | None, list[Turn]]:
    """A pre-training document: (system message or None, turns); longer than needed, the trainer cuts it to length."""
    if curriculum not in CURRICULA or phase not in PHASES:
        raise ValueError(f"unknown curriculum {curriculum!r} or phase {phase!r}; known: {CURRICULA}, {PHASES}")
    drill = {"reading": 0.0, "arithmetic": 0.45, "plans": 0.15}[phase]
    if rng.random() < drill:
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
