"""What the built-in models read before any fine-tuning: conversations about games, made from the same prompts.

Each document is one conversation: a game, a first question, then short follow-ups until the document is full.  Questions
train reading a payoff table, expected payoffs, payoffs when everybody acts alike, arithmetic, and the whole plan.  Asked
for its plan without a system message, the document answers with a draw from a *noisy population* of known preferences:
cooperative and weakly sensitive to incentives.  Only payoffs that are not held out are used.

Two more domains are for ``nano-applications``, so that the applications run on a built-in model at all: dilemmas and prices,
answered by populations of known effects (``EFFECTS``, ``RATINGS``, ``PRICES``), which a measurement should give back.

Two curricula: ``preference`` adds system messages that describe a preference, answered with its optimal plan;
``population`` never does (the control for what fine-tuning can add by itself).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from econmoral.choice import best_plan, logit
from econmoral.dilemmas import (
    CASES,
    CONJOINT_WORDINGS,
    PAGES,
    QUESTIONS,
    RATING_WORDINGS,
    SAVED,
    SCALE,
    SCENES,
    Rating,
    draw_scenarios,
    linear_chooser,
    rating_answers,
    render_rating,
    render_scenario,
)
from econmoral.games import GAMES, belief_weights, draw_beliefs, draw_protocol
from econmoral.preferences import FAMILIES
from econmoral.pricing import COMPACT_WORDINGS, View, compact_answers, price_grid, render_compact
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


EFFECTS = {  # of the population that answers the conjoint dilemmas: its AMCEs
    "intervention": 0.06, "relation": 0.1, "law": 0.25, "gender": 0.12, "fitness": 0.16, "status": 0.3, "age": 0.4, "number": 0.4, "species": 0.5,
}  # fmt: skip
RATINGS = {  # question -> (mean rating with one pedestrian saved, change with every doubling)
    "moral": (34.0, 8.0), "should": (30.0, 7.0), "buy": (22.0, 3.0), "law": (25.0, 5.0), "buy under law": (18.0, 3.0), "choose": (28.0, 6.0),
}  # fmt: skip
SCENE_SHIFT = {"passenger": 0.0, "family": -8.0, "pedestrian": 6.0, "bystander": 3.0, "veil": 4.0}
RATING_SD = 12.0
FACTS = 0.35  # share of dilemmas that only ask what is on the page: without these the numbers on it are never learnt
PRICES = (68.0, 0.3, 0.3, 8.0)  # next price = 68 + .3 own + .3 others' mean + normal error of sd 8, at unit cost 100: rest point 170


def rating_mean(cell: Rating) -> float:
    """Mean of the population's rating before it is rounded and cut to 0..100."""
    start, slope = RATINGS[cell.question]
    return start + slope * float(np.log2(cell.saved)) + SCENE_SHIFT[cell.scene]


def conjoint_turn(rng: np.random.Generator) -> Turn:
    """A dilemma, answered as the population would: spared by a linear probability model with its AMCEs."""
    scenario = draw_scenarios(1, rng)[0]
    swapped, reverse = PAGES[rng.integers(len(PAGES))]
    spared = rng.random() < linear_chooser(scenario, swapped, EFFECTS)
    question = render_scenario(scenario, swapped, reverse, int(rng.integers(len(CONJOINT_WORDINGS))))[0]["content"]
    if rng.random() < FACTS:
        sizes = [len(scenario.other), len(scenario.favoured)] if swapped else [len(scenario.favoured), len(scenario.other)]
        one, two = sizes[::-1] if reverse else sizes
        return Turn("count", question.rpartition("\n")[0] + "\nHow many die in each case?", f"Case 1: {one}, Case 2: {two}")
    return Turn("conjoint", question, CASES[int(spared != reverse)])  # case 1 kills side 0 unless the cases are reversed


def rating_turn(rng: np.random.Generator) -> Turn:
    """A rated sacrifice: a rounded normal draw around the population's mean."""
    cell = Rating(str(rng.choice(list(SCENES))), int(rng.choice(SAVED)), str(rng.choice(list(QUESTIONS))))
    reverse = bool(rng.integers(2))
    rating = int(np.clip(round(rng.normal(rating_mean(cell), RATING_SD)), 0, SCALE - 1))
    question = render_rating(cell, reverse, int(rng.integers(len(RATING_WORDINGS))))[0]["content"]
    if rng.random() < FACTS:
        return Turn("saved", question.partition("\n")[0] + "\nHow many people does the swerve save?", f"It saves {cell.saved}")
    return Turn("rating", question, rating_answers()[SCALE - 1 - rating if reverse else rating])


def price_turn(rng: np.random.Generator) -> Turn:
    """A period of price competition between two firms, answered by the population's rule."""
    grid = price_grid(100.0)
    rounds = int(rng.integers(4))
    own, others = rng.choice(grid, rounds), rng.choice(grid, rounds)
    start, inertia, reaction, sd = PRICES
    mean = start + inertia * own[-1] + reaction * others[-1] if rounds else start / (1 - inertia - reaction)
    near = int(np.clip(round((rng.normal(mean, sd) - grid[0]) / (grid[1] - grid[0])), 0, len(grid) - 1))
    profits = tuple(float(v) for v in rng.integers(0, 45, rounds))
    view = View(100.0, 2, tuple(own), tuple((p,) for p in others), profits, profits)
    return Turn("price", render_compact(view, int(rng.integers(len(COMPACT_WORDINGS))))[0]["content"], compact_answers(100.0)[near])


APPLICATIONS = {"conjoint": (0.24, conjoint_turn), "rating": (0.2, rating_turn), "price": (0.06, price_turn)}  # share of documents

GAMES_USED = ("spd", "tg", "ug")
GAMES_SHARE = (0.5, 0.25, 0.25)
PLAN_FIRST = 0.9  # share of documents that open with the question for the whole plan
STEPS = 0.85  # of these, share that ask for the derivation
DRILL = {"reading": 0.0, "arithmetic": 0.45, "plans": 0.08}  # share of documents that are arithmetic drills


def document(rng: np.random.Generator, curriculum: str, phase: str, turns: int = 24, applications: bool = False) -> tuple[str | None, list[Turn]]:
    """A pre-training document: (system message or None, turns); longer than needed, the trainer cuts it to length."""
    if curriculum not in CURRICULA or phase not in PHASES:
        raise ValueError(f"unknown curriculum {curriculum!r} or phase {phase!r}; known: {CURRICULA}, {PHASES}")
    if applications:
        names = [*APPLICATIONS, ""]
        shares = [share for share, _ in APPLICATIONS.values()]
        if name := names[rng.choice(len(names), p=[*shares, 1 - sum(shares)])]:
            return None, [APPLICATIONS[name][1](rng) for _ in range(turns)]
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
