"""What the built-in model reads before any fine-tuning:
conversations on the instrument's own pages.

Each document is one conversation about one page: the instrument's questions (control questions, a
derivation, decisions one a turn), then short follow-ups until the document is full: reading points
and beliefs, products, sums, comparisons, single lines of derivations.  Without a system message
the decisions are draws of a *noisy population* of known preferences, cooperative and weakly
sensitive to incentives; with one that describes a target (``Target.describe``) they are its
optimum, after its derivation where that is asked for.  Letters always follow the derivation that
stands before them.  Payoffs and wordings that are held out for measurement never occur.

Two curricula: ``preference`` has the system messages; ``population`` never does (the control for
what fine-tuning can add by itself).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from econmoral.economics.choice import logit
from econmoral.economics.games import GAMES, belief_weights, draw_beliefs, draw_protocol
from econmoral.economics.preferences import FAMILIES
from econmoral.instruments import dilemmas, menus, pricing
from econmoral.instruments.derivations import (
    allocation_derivation,
    game_derivation,
    more,
    plus,
    times,
)
from econmoral.instruments.games import (
    LABELS,
    TENTHS,
    WORDINGS,
    WORDINGS_TRAIN,
    Item,
    Layout,
    belief_conversation,
    choices_of,
    controls,
    converse,
    draw_layout,
    label_of,
    page_actions,
    page_order,
    path_labels,
    shown_payoffs,
    tenths,
)
from econmoral.instruments.menus import ALTRUIST, SPITEFUL, Menu, MenuPage
from econmoral.target import ECONOMICUS, Target, moralis, number
from econmoral.text.conversation import Conversation, Message, Question

CURRICULA = ("preference", "population")
PHASES = ("reading", "steps", "decisions")
# targets that system messages describe -> share of the conversations about games, about allocations
TOLD = {
    ECONOMICUS: (0.36, 0.34),
    moralis(0.5): (0.44, 0.0),
    moralis(0.25): (0.1, 0.0),
    moralis(0.75): (0.1, 0.0),
    ALTRUIST: (0.0, 0.36),
    SPITEFUL: (0.0, 0.3),
}
LEAD = 1.0  # by which a told target's optimum leads: near-ties would teach noise

# ----------------------------------------------------------------------------- the noisy population

COOPERATORS = 0.5
# the rest of the population: share, (alpha, beta, kappa), precision lambda per unit of the payoff
# tables
TYPES = (
    (0.3, {"alpha": 0.2, "beta": 0.3, "kappa": 0.5}, 0.08),
    (0.2, {"alpha": 0.0, "beta": 0.0, "kappa": 0.0}, 0.02),
)
COOPERATIVE = {"spd": ("C", "C", "D"), "tg": ("trust", "give"), "ug": ("equal", "accept")}
DOTTED = 0.1  # share of the population's letters and numbers that end in a full stop


def population(item: Item) -> np.ndarray:
    """(N,) distribution of the noisy population over pure strategies;
    unstated beliefs are uniform.
    """
    game = item.protocol.game
    weights = belief_weights(game, item.beliefs or (0.5,) * len(GAMES[game].info_sets))
    shares = np.zeros(len(GAMES[game].strategies))
    shares[GAMES[game].strategies.index(COOPERATIVE[game])] = COOPERATORS
    for share, theta, precision in TYPES:
        utility = FAMILIES["alpha_beta_kappa"].utility(item.protocol.tables, weights, theta)
        shares += share * logit(utility, precision)
    return shares


# on allocations: share, preference, lambda per point of the page
CHOOSERS = ((0.6, ALTRUIST, 0.08), (0.4, ECONOMICUS, 0.08))
# of situations and matrix games without payoffs of one's own that a logit could weigh
COOPERATIVE_SHARE = 0.6
MEANS = {
    "dictator": (0.26, 0.15),
    "ultimatum": (0.42, 0.12),
    "public-goods": (0.45, 0.25),
    "garp": (0.25, 0.15),
}


def menu_population(menu: Menu) -> np.ndarray:
    """(S,) distribution of the population over the options of a menu.

    Logit on allocations; a rounded normal (``MEANS``: mean and standard deviation as shares of the
    whole) over amounts; else ``COOPERATIVE_SHARE`` on the first option.
    """
    if menu.amounts:
        mean, sd = MEANS[menu.battery]
        share = np.array(menu.amounts) / max(menu.amounts)
        density = np.exp(-0.5 * ((share - mean) / sd) ** 2)
        return density / density.sum()
    if menu.own:
        own, other = np.array(menu.own), np.array(menu.other)
        shares: np.ndarray = sum(
            s * logit(t.of_allocations(own, other), precision) for s, t, precision in CHOOSERS
        )  # type: ignore[assignment]
        return shares
    return np.array([COOPERATIVE_SHARE, 1 - COOPERATIVE_SHARE])


# ---------------------------------------------------------------------------------------- documents


@dataclass(frozen=True)
class Turn:
    """A question and its answer; ``skill`` names what it exercises."""

    skill: str
    question: str
    answer: str


@dataclass(frozen=True)
class Lesson:
    """One conversation: system message or None, turns."""

    system: str | None
    turns: tuple[Turn, ...]

    def messages(self) -> list[Message]:
        """The conversation as chat messages."""
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        both = [(("user", t.question), ("assistant", t.answer)) for t in self.turns]
        return head + [
            {"role": role, "content": content} for pair in both for role, content in pair
        ]


def _conversation(
    talk: Conversation,
    choices: tuple[int, ...],
    derivation: str | None,
    skill: str,
    dotted: bool = False,
) -> Lesson:
    """The instrument's own conversation with its answers, as a lesson."""
    said = talk.transcript(choices, derivation)
    system = said[0]["content"] if said[0]["role"] == "system" else None
    rest = said[system is not None :]
    turns = []
    for i, (question, answer) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        derives = i == 0 and derivation is not None
        name = (
            f"{skill}_derivation"
            if derives
            else skill + ("_letters" if derivation is not None else "_direct")
        )
        text = answer["content"] + ("." if dotted and not derives else "")
        turns.append(Turn(name, question["content"], text))
    return Lesson(system, tuple(turns))


def _ask(page: str, turns: list[Turn]) -> Lesson:
    """A lesson whose first question stands below a page."""
    return Lesson(None, (replace(turns[0], question=f"{page}\n{turns[0].question}"), *turns[1:]))


def control_turn(skill: str, talk: tuple[Question, ...], rng: np.random.Generator) -> Turn:
    """A control question with its right answer."""
    question = talk[rng.integers(len(talk))]
    assert question.right is not None
    return Turn(skill, question.text, question.options[question.right])


# -------------------------------------------------------------------------------------------- games


def read_table(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """The first line of a derivation: all points in the order of the page, or their sums."""
    target, question = ((ECONOMICUS, "Points?"), (moralis(0.5), "Points of both?"))[rng.integers(2)]
    return Turn("table", question, game_derivation(item, layout, target)[0].split("\n")[0])


def read_row(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """The points of both roles on some paths."""
    pay = shown_payoffs(item, layout)
    paths = [list(pay)[i] for i in rng.permutation(len(pay))[: rng.integers(1, 4)]]
    labels = [" ".join(path_labels(layout, path)) for path in paths]
    rows = [
        f"{name}: {' '.join(map(number, pay[path]))}"
        for name, path in zip(labels, paths, strict=True)
    ]
    return Turn("read", f"Points of {', '.join(labels)}?", ", ".join(rows))


def ask_control(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """A control question of the instrument about any path."""
    rows = tuple(int(i) for i in rng.permutation(len(layout.rows)))
    return control_turn("control", controls(item, replace(layout, rows=rows)), rng)


def belief(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """How many of ten people choose what, at some of the information sets."""
    sets = GAMES[layout.game].info_sets
    asked, answers = [], []
    for k in (int(k) for k in rng.permutation(len(sets))[: rng.integers(1, 3)]):
        counts = ", ".join(
            f"{label_of(layout, k, a)} {tenths(item, k, a)}" for a in page_actions(layout, k)
        )
        where = f"after {path_labels(layout, sets[k].after)[0]}" if sets[k].after else "first"
        asked.append(where)
        answers.append(f"{where}: {counts}")
    return Turn("belief", f"How many {' and '.join(asked)}?", "; ".join(answers))


def product(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """One product of a derivation: how many of ten,
    times the points of a role on a path of two moves.
    """
    sets = GAMES[layout.game].info_sets
    k = int(rng.integers(1, len(sets)))
    (move,) = sets[k].after
    reply = sets[k].actions[rng.integers(2)]
    m, n = shown_payoffs(item, layout)[(move, reply)]
    labels = " ".join(path_labels(layout, (move, reply)))
    if rng.integers(2):
        return Turn("product", f"First mover, {labels}?", times(tenths(item, k, reply), m))
    return Turn("product", f"Second mover, {labels}?", times(tenths(item, 0, move), n))


def together(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """The sum of both roles' points on a path: the material of the Kantian term."""
    pay = shown_payoffs(item, layout)
    path = list(pay)[rng.integers(len(pay))]
    return Turn("both", f"Both, {' '.join(path_labels(layout, path))}?", plus(*pay[path]))


def own_line(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """One line of the derivation of homo economicus."""
    lines = game_derivation(item, layout, ECONOMICUS)[0].split("\n")[1:-1]
    line = lines[rng.integers(len(lines))]
    return Turn("own_line", f"{line.split(':')[0]}?", line)


def moral_line(item: Item, layout: Layout, rng: np.random.Generator) -> Turn:
    """What the replies after one first move bring oneself,
    and what they bring if everyone replies so (kappa one half).
    """
    lines = game_derivation(item, layout, moralis(0.5))[0].split("\n")
    starts = [i for i, line in enumerate(lines) if " chose " in line]
    i = starts[rng.integers(len(starts))]
    after = lines[i].split(":")[0].split()[-1]
    return Turn(
        "moral_line", f"After {after}, and alike?", "\n".join([lines[0], *lines[i : i + 2]])
    )


SKILLS: dict[str, tuple[Callable[[Item, Layout, np.random.Generator], Turn], ...]] = {
    "reading": (read_row, read_row, read_table, ask_control, belief),
    "steps": (read_row, read_table, ask_control, belief, product, together, own_line, moral_line),
    "decisions": (read_table, ask_control, belief, product, own_line, moral_line),
}


def draw_item(game: str, target: Target | None, rng: np.random.Generator) -> Item:
    """A decision problem that is not held out, with a clear optimum of the target."""
    while True:
        item = Item(draw_protocol(game, rng, held=False), draw_beliefs(game, rng))
        if target is None or target.best_plan(item.protocol, item.beliefs or ())[1] >= LEAD:
            return item


def plan_words(layout: Layout, strategy: int) -> str:
    """``So K first, Z after K, W after M.``"""
    moves, sets = GAMES[layout.game].strategies[strategy], GAMES[layout.game].info_sets
    parts = [f"{label_of(layout, 0, moves[0])} first"]
    parts += [
        f"{label_of(layout, k, moves[k])} after {path_labels(layout, sets[k].after)[0]}"
        for k in page_order(layout)[1:]
    ]
    return f"So {', '.join(parts)}."


def population_derivation(item: Item, layout: Layout, strategy: int) -> str:
    """The population looks at its own points, draws no conclusion from them,
    and does what it does.
    """
    lines = game_derivation(item, layout, ECONOMICUS)[0].split("\n")[:-1]
    return "\n".join(
        [
            *(re.sub(r" \S+ is more: \w\.$", "", line) for line in lines),
            plan_words(layout, strategy),
        ]
    )


def told(curriculum: str, domain: int, rng: np.random.Generator, share: float) -> Target | None:
    """The target that the system message describes, or None."""
    if curriculum == "population" or rng.random() > share:
        return None
    weights = [shares[domain] for shares in TOLD.values()]
    return list(TOLD)[rng.choice(len(TOLD), p=weights)]


def game_lesson(rng: np.random.Generator, curriculum: str, phase: str, turns: int) -> Lesson:
    """A game: the instrument's conversation (from the last phase on),
    then ``turns`` short questions.
    """
    game = str(rng.choice(list(GAMES_SHARE), p=list(GAMES_SHARE.values())))
    layout = draw_layout(game, rng, WORDINGS_TRAIN)
    target = told(curriculum, 0, rng, 0.7) if phase == "decisions" else None
    item = draw_item(game, target, rng)
    shorts = [
        SKILLS[phase][rng.integers(len(SKILLS[phase]))](item, layout, rng) for _ in range(turns)
    ]
    if phase != "decisions" or rng.random() < 0.12:
        return _ask(converse(item, layout, "direct").page, shorts)
    if target is None and rng.random() < 0.1:
        return _ask_belief(item, layout, rng)
    reasoned = rng.random() < 0.85
    if target is None:
        plan = int(rng.choice(len(GAMES[game].strategies), p=population(item)))
        derivation = population_derivation(item, layout, plan) if reasoned else None
    else:
        text, plan = game_derivation(item, layout, target)
        derivation = text if reasoned else None
    talk = converse(
        item, layout, "reasoned" if reasoned else "direct", target.describe() if target else None
    )
    name = target.label.replace(" ", "_") if target else "population"
    lesson = _conversation(
        talk, choices_of(layout, plan), derivation, name, target is None and rng.random() < DOTTED
    )
    return replace(lesson, turns=(*lesson.turns, *shorts))


def _ask_belief(item: Item, layout: Layout, rng: np.random.Generator) -> Lesson:
    """What the population believes on a page that states no beliefs: its own shares."""
    game = GAMES[layout.game]
    k = int(rng.integers(len(game.info_sets)))
    bare = replace(item, beliefs=None)
    count = int(rng.binomial(TENTHS, population(bare)[game.first_actions[:, k]].sum()))
    return _conversation(belief_conversation(bare, layout, k), (count,), None, "belief_own")


# -------------------------------------------------------------------------------------------- menus


def random_menu(rng: np.random.Generator, target: Target | None) -> Menu:
    """An allocation, or (for the population) now and then one
    of the other kinds with numbers that no battery has.
    """
    kind = rng.random()
    if target is not None or kind < 0.6:
        drawn = target or (ECONOMICUS, ALTRUIST, SPITEFUL)[rng.integers(3)]
        return menus.draw_allocation(rng, False, drawn)
    names = ("dictator", "ultimatum", "public-goods", "garp", "matrix", "trust", "spillover")
    battery = menus.MENUS[names[rng.integers(len(names))]]
    menu = battery[rng.integers(len(battery))]
    if menu.battery == "spillover":  # half of the situations stay unseen
        return next(
            m
            for m in (battery[i] for i in rng.permutation(len(battery)))
            if int(m.id.rpartition("-")[2]) % 2 == 0
        )
    return menu


def menu_lesson(rng: np.random.Generator, curriculum: str, phase: str) -> Lesson:
    """An allocation or another menu: a decision, sometimes after its derivation,
    and a few short questions.
    """
    target = told(curriculum, 1, rng, 0.6) if phase == "decisions" else None
    menu = random_menu(rng, target)
    page = menus.draw_page(menu, rng, menus.TRAIN)
    shorts = (
        [menu_short(menu, page, rng) for _ in range(int(rng.integers(1, 4)))]
        if menu.own or menu.controls
        else []
    )
    kind = rng.random()
    if shorts and (kind < 0.2 or phase != "decisions"):
        return _ask(menus.menu_conversation(menu, page).page, shorts)
    reasoned = kind < 0.75
    talk = menus.menu_conversation(
        menu, page, "reasoned" if reasoned else "direct", target.describe() if target else None
    )
    if target is None:
        chosen = int(rng.choice(menu.size, p=menu_population(menu)))
        option = talk.questions[0].options[page.order.index(chosen)]
        derivation = f"I choose {option}."
        if menus.is_allocation(menu):
            given = re.sub(
                r" \S+ is more: \w\.$", "", allocation_derivation(menu, page, ECONOMICUS)
            )
            derivation = f"{given} {derivation}"
    else:
        values = target.of_allocations(np.array(menu.own), np.array(menu.other))
        chosen = int(values.argmax())
        derivation = allocation_derivation(menu, page, target)
    name = (
        f"allocation_{target.label.replace(' ', '_')}"
        if target
        else ("allocation" if menus.is_allocation(menu) else "menu")
    )
    choices = (page.order.index(chosen),)
    lesson = _conversation(
        talk,
        choices,
        derivation if reasoned else None,
        name,
        target is None and rng.random() < DOTTED,
    )
    return replace(lesson, turns=(*lesson.turns, *shorts))


def menu_short(menu: Menu, page: MenuPage, rng: np.random.Generator) -> Turn:
    """A control question about a menu, or the points of an option, or who is ahead."""
    if not menus.is_allocation(menu) or rng.random() < 0.4:
        order = tuple(int(i) for i in rng.permutation(page.order))
        return control_turn(
            "menu_control", menus.menu_controls(menu, replace(page, order=order)), rng
        )
    k = int(rng.integers(menu.size))
    label, m, n = page.labels[k], round(menu.own[k]), round(menu.other[k])
    if m == n or rng.random() < 0.5:
        return Turn("menu_read", f"Points of {label}?", f"{label}: {m} {n}")
    return Turn(
        "position",
        f"Position of {label}?",
        f"{m} is {'less' if m < n else 'more'} than {n}: {'behind' if m < n else 'ahead'}",
    )


# ------------------------------------------------------------------------------------- applications

EFFECTS = {  # of the population that answers the conjoint: its AMCEs
    "intervention": 0.06,
    "relation": 0.1,
    "law": 0.25,
    "gender": 0.12,
    "fitness": 0.16,
    "status": 0.3,
    "age": 0.4,
    "number": 0.4,
    "species": 0.5,
}
RATINGS = {  # statement -> (mean rating with one pedestrian saved, change with every doubling)
    "moral": (34.0, 8.0),
    "should": (30.0, 7.0),
    "buy": (22.0, 3.0),
    "law": (25.0, 5.0),
    "buy under law": (18.0, 3.0),
    "choose": (28.0, 6.0),
}
SCENE_SHIFT = {"passenger": 0.0, "family": -8.0, "pedestrian": 6.0, "bystander": 3.0, "veil": 4.0}
RATING_SD = 12.0
# next price = 68 + .3 own + .3 others' mean + normal error of sd 8, at unit cost 100: rest point
# 170
PRICES = (68.0, 0.3, 0.3, 8.0)
ROUND = 0.3  # share of ratings that are a multiple of ten, as people's are


def rating_mean(cell: dilemmas.Rating) -> float:
    """Mean of the population's rating before it is rounded and cut to 0..100."""
    start, slope = RATINGS[cell.question]
    return start + slope * float(np.log2(cell.saved)) + SCENE_SHIFT[cell.scene]


def conjoint_talk(rng: np.random.Generator) -> tuple[str, Conversation, int]:
    """A scenario, and the population's choice: a linear probability model with its AMCEs."""
    scenario = dilemmas.draw_scenarios(1, rng)[0]
    page = dilemmas.case_pages(int(rng.choice(dilemmas.TRAIN)), dilemmas.draw_labels(rng))[
        rng.integers(4)
    ]
    spared = dilemmas.linear_chooser(scenario, page.swapped, EFFECTS)
    choice = int(rng.choice(2, p=dilemmas.listed_shares(spared, page)))
    return "conjoint", dilemmas.scenario_conversation(scenario, page), choice


def rating_talk(rng: np.random.Generator) -> tuple[str, Conversation, int]:
    """A rated sacrifice, and the population's rating: a rounded normal draw around its mean."""
    cell = dilemmas.Rating(
        str(rng.choice(list(dilemmas.SCENES))),
        int(rng.choice(dilemmas.SAVED)),
        str(rng.choice(list(dilemmas.QUESTIONS))),
    )
    reverse = bool(rng.integers(2))
    step = 10 if rng.random() < ROUND else 1
    rating = int(
        np.clip(
            step * round(rng.normal(rating_mean(cell), RATING_SD) / step), 0, dilemmas.SCALE - 1
        )
    )
    talk = dilemmas.rating_conversation(cell, reverse, int(rng.choice(dilemmas.TRAIN)))
    return "rating", talk, dilemmas.SCALE - 1 - rating if reverse else rating


def price_talk(rng: np.random.Generator) -> tuple[str, Conversation, int]:
    """A period of price competition between two firms, answered by the population's rule."""
    grid = pricing.price_grid(100.0)
    rounds = int(rng.integers(pricing.ROUNDS + 1))
    own, others = rng.choice(grid, rounds), rng.choice(grid, rounds)
    start, inertia, reaction, sd = PRICES
    mean = (
        start + inertia * own[-1] + reaction * others[-1]
        if rounds
        else start / (1 - inertia - reaction)
    )
    near = int(
        np.clip(round((rng.normal(mean, sd) - grid[0]) / (grid[1] - grid[0])), 0, len(grid) - 1)
    )
    profits = tuple(float(v) for v in rng.integers(0, 45, rounds))
    view = pricing.View(100.0, 2, tuple(own), tuple((p,) for p in others), profits, profits)
    return "price", pricing.price_conversation(view, int(rng.choice(pricing.TRAIN))), near


def application_lesson(rng: np.random.Generator) -> Lesson:
    """A page of the applications: the population's answer, control questions, or both."""
    name, talk, choice = (conjoint_talk, rating_talk, price_talk)[
        rng.choice(3, p=(0.45, 0.4, 0.15))
    ](rng)
    facts = tuple(
        control_turn(f"{name}_control", talk.controls, rng) for _ in range(int(rng.integers(1, 3)))
    )
    if rng.random() < 0.4:  # without these the numbers on the page are never learnt
        return _ask(talk.page, list(facts))
    lesson = _conversation(talk, (choice,), None, name, rng.random() < DOTTED)
    return replace(lesson, turns=(*lesson.turns, *facts))


# ------------------------------------------------------------------------------------------- drills


def drill(rng: np.random.Generator) -> Turn:
    """Several products, sums, differences or comparisons of numbers like those in derivations."""
    skill = ("drill_product", "drill_tens", "drill_sum", "drill_difference", "drill_more")[
        rng.choice(5, p=(0.25, 0.2, 0.3, 0.1, 0.15))
    ]
    tasks, answers = [], []
    for _ in range(6):
        if skill == "drill_product":
            a, b = (int(v) for v in (rng.integers(1, 11), rng.integers(0, 20)))
            answer = times(a, b)
        elif skill == "drill_tens":
            a, b = (int(v) for v in (rng.choice((2, 3, 4, 5, 8, 10, 11, 14)), rng.integers(1, 100)))
            answer = times(a, b)
        elif skill == "drill_sum":
            top = (20, 100, 200, 500, 900)[rng.integers(5)]
            a, b = (int(v) for v in (rng.integers(top), rng.integers(min(top, 500))))
            if rng.random() < 0.3:
                a = a // 10 * 10
            answer = plus(a, b)
        elif skill == "drill_difference":
            b, a = sorted(int(v) for v in rng.integers(1, (100, 1000)[rng.integers(2)], 2))
            if rng.random() < 0.2:
                a, b = b, a
            answer = f"{a} - {b} = {a - b}"
        else:
            top = (20, 100, 300, 1000)[rng.integers(4)]
            a = int(rng.integers(top))
            b = (
                int(rng.integers(top))
                if rng.random() < 0.5
                else max(0, a + int(rng.integers(-30, 31)))
            )
            if a == b:
                b += 1
            x, y = (LABELS[i] for i in rng.choice(len(LABELS), 2, replace=False))
            tasks.append(f"{x} {a}, {y} {b}")
            answers.append(more({x: float(a), y: float(b)})[0])
            continue
        tasks.append(" = ".join(answer.split(" = ")[:1]))
        answers.append(answer)
    return Turn(skill, "Compute " + "; ".join(tasks), "; ".join(a.rstrip(".") for a in answers))


GAMES_SHARE = {"spd": 0.5, "tg": 0.25, "ug": 0.25}
MIX = {  # phase -> shares of documents: games, menus, drills, applications
    "reading": (0.85, 0.15, 0.0, 0.0),
    "steps": (0.55, 0.1, 0.35, 0.0),
    "decisions": (0.6, 0.22, 0.1, 0.08),
}


def document(
    rng: np.random.Generator, curriculum: str, phase: str, turns: int = 40
) -> list[Lesson]:
    """A pre-training document: conversations one after the other, longer than needed.

    The trainer cuts it to length.
    """
    if curriculum not in CURRICULA or phase not in PHASES:
        raise ValueError(
            f"unknown curriculum {curriculum!r} or phase {phase!r}; known: {CURRICULA}, {PHASES}"
        )
    kind = rng.choice(4, p=MIX[phase])
    if kind == 0:
        return [game_lesson(rng, curriculum, phase, turns)]
    if kind == 2:
        return [Lesson(None, tuple(drill(rng) for _ in range(turns // 2)))]
    if kind == 3:
        return [application_lesson(rng) for _ in range(6)]
    return [menu_lesson(rng, curriculum, phase) for _ in range(6)]


def pages(rng: np.random.Generator, each: int = 6) -> list[str]:
    """Texts of the instrument in every wording, held-out ones included,
    so that the tokenizer knows all words in use.
    """
    found = [*(t.describe() for t in TOLD), "user", "assistant", "system"]
    talks = []
    for game in GAMES:
        for wording in WORDINGS:
            for _ in range(each):
                layout = draw_layout(game, rng, (wording,))
                item = draw_item(game, None, rng)
                talks += [converse(item, layout, "reasoned"), converse(item, layout, "direct")]
                talks += [
                    belief_conversation(item, layout, k) for k in range(len(GAMES[game].info_sets))
                ]
    for w in range(len(menus.FRAMES)):
        listed = [menus.draw_allocation(rng, False, ECONOMICUS) for _ in range(each)]
        for menu in [*listed, *(m for battery in menus.MENUS.values() for m in battery)]:
            page = menus.draw_page(menu, rng, (w,))
            talks += [
                menus.menu_conversation(menu, page, "reasoned"),
                menus.menu_conversation(menu, page),
            ]
    for w in range(len(dilemmas.CASE_WORDINGS)):
        for scenario in dilemmas.draw_scenarios(20 * each, rng):
            talks.append(
                dilemmas.scenario_conversation(
                    scenario, dilemmas.CasePage(w, dilemmas.draw_labels(rng), False, False)
                )
            )
    for w in range(len(dilemmas.RATING_WORDINGS)):
        talks += [dilemmas.rating_conversation(cell, False, w) for cell in dilemmas.rating_grid()]
    for w in range(len(pricing.PRICE_WORDINGS)):
        for rounds, firms in ((0, 2), (1, 2), (3, 2), (3, 3), (0, 1), (3, 1)):
            prices, profits = (
                tuple(rng.choice(pricing.price_grid(100.0), rounds)),
                tuple(map(float, rng.integers(0, 45, rounds))),
            )
            view = pricing.View(
                100.0, firms, prices, tuple((p,) * (firms - 1) for p in prices), profits, profits
            )
            talks += 2 * [pricing.price_conversation(view, w)]
    for talk in talks:
        found += [talk.page, talk.work or "", *(q.text for q in (*talk.questions, *talk.controls))]
        found += [f"{talk.page}\n{q.text}" for q in talk.questions]
    return found
