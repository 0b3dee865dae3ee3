"""Moral dilemmas of autonomous vehicles: rated sacrifices, a conjoint experiment,
and what theory says about both.

*Ratings* (design after Bonnefon, Shariff and Rahwan 2016, Science 352): a car whose brakes have
failed kills the pedestrians ahead or, swerving, whoever rides; a statement about the sacrifice is
rated from 0 to 100.  *Conjoint* (design after Awad et al. 2018, Nature 563): two groups, one dies;
nine dimensions, each with a favoured level.  Every scenario is asked four times, groups exchanged
and cases exchanged, so that no habit of position or of letter can look like a preference.

    >>> rng = np.random.default_rng(0)
    >>> scenario = draw_scenarios(1, rng)[0]
    >>> pages = case_pages(TRAIN[0], draw_labels(rng))
    >>> talks = [scenario_conversation(scenario, page) for page in pages]

A conversation is a page, one question that is answered with a letter or a number alone, and two
control questions whose answers are numbers on the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from econmoral.estimation.robust import clustered_covariance
from econmoral.instruments.games import LABELS
from econmoral.text.conversation import LETTER, NUMBER, Conversation, Question

# ------------------------------------------------------------------------------------------ ratings

SAVED = (1, 2, 5, 10, 20, 50, 100)  # pedestrians saved by the sacrifice
SCENES = {  # name -> (passengers, who rides and who you are)
    "passenger": (1, "You ride in it alone."),
    "family": (2, "You ride in it with a member of your family."),
    "pedestrian": (1, "A stranger rides in it alone, and you are one of the people ahead."),
    "bystander": (1, "A stranger rides in it alone, and you watch from far away."),
    "veil": (
        1,
        "One person rides in it alone. You are one of all these people and do not know which one.",
    ),
}
PASSENGER = "person inside"
QUESTIONS = {  # name -> statement that is rated
    "moral": "It is morally right to swerve.",
    "should": "Cars should be built to swerve in such a situation.",
    "buy": "I would buy a car that swerves in such a situation.",
    "law": "The law should require cars to swerve in such a situation.",
    "buy under law": "If the law required cars to swerve in such a situation, I would buy one.",
    "choose": "If the decision were mine alone, I would have the car swerve.",
}
SCALE = 101


@dataclass(frozen=True)
class RatingWording:
    """One wording of a rated sacrifice; ``low`` and ``high`` are the numbers that mean no
    and full agreement.
    """

    held_out: bool  # never trained on: measures dependence on the words
    page: str
    question: str
    control_straight: str
    control_swerve: str


RATING_WORDINGS = (
    RatingWording(
        False,
        "You take part in a study about self-driving cars. Please imagine the following "
        "situation. The brakes of a self-driving car have failed. {scene} If the car goes "
        "straight on, it kills {ahead} on the road. If the car swerves into a wall, it kills "
        "{riders}.",
        'How far do you agree with this statement: "{statement}" '
        "Give a number from 0 to 100, where {low} means that you do not agree at all and {high} "
        "means that you agree completely.",
        "How many people are killed if the car goes straight on?",
        "How many people are killed if the car swerves?",
    ),
    RatingWording(
        False,
        "In this survey you are asked for your opinion on an accident. A car without a driver "
        "can no longer brake. {scene} Straight ahead it will kill {ahead}. It can also swerve "
        "into a wall, and then it will kill {riders}.",
        'Please rate this statement on a scale from 0 to 100: "{statement}" '
        "A rating of {high} stands for full agreement and a rating of {low} stands for no "
        "agreement.",
        "How many people will be killed if the car does not swerve?",
        "How many people will be killed if the car swerves into the wall?",
    ),
    RatingWording(
        False,
        "Read about this emergency and then answer a question. A car that drives itself has lost "
        "its brakes. {scene} There are two possibilities. If it stays in its lane, {ahead} will "
        "die on the road. If it swerves into a barrier, the crash will kill {riders}.",
        'Here is an opinion about this emergency: "{statement}" '
        "Express your own opinion by a number between 0 and 100. The number {low} says that you "
        "reject it, and the number {high} says that you share it.",
        "How many people will die if the car stays in its lane?",
        "How many people will die if the car swerves into the barrier?",
    ),
    RatingWording(
        True,
        "We would like to know what you think about the following case. The brakes of an "
        "autonomous car do not work any more. {scene} Either it continues on its way and kills "
        "{ahead}, or it swerves into a concrete block and kills {riders}.",
        'Think about the sentence "{statement}" '
        "and answer with a number from 0 to 100. Choose {low} if you disagree strongly and {high} "
        "if you agree strongly.",
        "How many people does the car kill if it continues on its way?",
        "How many people does the car kill if it swerves?",
    ),
    RatingWording(
        True,
        "This question is about a traffic accident that cannot be avoided. A driverless car is "
        "unable to stop. {scene} On its present course the car will take the lives of {ahead}. "
        "If it swerves, it will hit a tree and take the lives of {riders}.",
        'To what degree is this statement right in your view? "{statement}" '
        "Use the scale from 0 to 100, on which {high} is completely right and {low} is completely "
        "wrong.",
        "How many people lose their lives if the car keeps its course?",
        "How many people lose their lives if the car swerves?",
    ),
)
TRAIN = tuple(i for i, w in enumerate(RATING_WORDINGS) if not w.held_out)  # also of the conjoint
HELD_OUT = tuple(i for i, w in enumerate(RATING_WORDINGS) if w.held_out)


@dataclass(frozen=True)
class Rating:
    """One cell of the grid: scene, pedestrians saved, question."""

    scene: str
    saved: int
    question: str


def rating_grid() -> list[Rating]:
    """All 210 cells."""
    return [
        Rating(scene, saved, question)
        for scene in SCENES
        for saved in SAVED
        for question in QUESTIONS
    ]


def _count(n: int, singular: str, plural: str) -> str:
    return f"{n} {singular if n == 1 else plural}"


def rating_conversation(
    cell: Rating, reverse: bool, wording: int, system: str | None = None
) -> Conversation:
    """The conversation about a cell: option r of its question is the number r.

    With ``reverse`` 0 means full agreement, so that the reply r counts as 100 - r.
    """
    words = RATING_WORDINGS[wording]
    riders, scene = SCENES[cell.scene]
    you = {"passenger": "you", "family": "both of you"}.get(cell.scene)
    text = words.page.format(
        scene=scene, ahead=_count(cell.saved, "person", "people"), riders=you or f"the {PASSENGER}"
    )
    low, high = (100, 0) if reverse else (0, 100)
    question = words.question.format(statement=QUESTIONS[cell.question], low=low, high=high)
    numbers = sorted({0, riders, cell.saved, SCALE - 1})
    controls = tuple(
        Question(f"{ask} {NUMBER}", tuple(map(str, numbers)), numbers.index(right))
        for ask, right in ((words.control_straight, cell.saved), (words.control_swerve, riders))
    )
    head = () if system is None else (("system", system),)
    options = tuple(str(r) for r in range(SCALE))
    return Conversation(text, (Question(f"{question} {NUMBER}", options),), controls, before=head)


def unreversed(probabilities: np.ndarray, reverse: bool) -> np.ndarray:
    """(101,) probability of every degree of agreement, 0 to 100, from that of every reply.

    Its own inverse.
    """
    return probabilities[::-1] if reverse else probabilities


# ------------------------------------------------------------------------------------------- theory


def sacrifice_gains(scene: str, saved: int) -> tuple[float, float]:
    """(own, universalised) payoff of the sacrifice minus that of protection.

    own: -1 for a passenger, 1 for a pedestrian, 0 for a bystander, the universalised one behind the
    veil; universalised: (n_q - n_p) / (n_p + n_q).
    """
    passengers = SCENES[scene][0]
    alike = (saved - passengers) / (saved + passengers)
    return {"passenger": -1.0, "family": -1.0, "pedestrian": 1.0, "bystander": 0.0, "veil": alike}[
        scene
    ], alike


def predicted_choice(scene: str, saved: int, kappa: float) -> float:
    """1 sacrifice, 0 protection, one half at a tie:
    what homo moralis of degree kappa chooses (0 is homo economicus).

    A passenger prefers the sacrifice above kappa = (n_p + n_q) / (2 n_q); beyond 1 nobody does.
    """
    own, alike = sacrifice_gains(scene, saved)
    gain = (1 - kappa) * own + kappa * alike
    return 0.5 if abs(gain) < 1e-12 else float(gain > 0)


def fit_sacrifice(cells: list[Rating], shares: np.ndarray) -> dict[str, Any]:
    """kappa and lambda of P(sacrifice) = Lambda(lambda [(1 - kappa) own + kappa universalised]),
    errors clustered by scene and saved.

    A fractional logit (Papke and Wooldridge 1996) in b = lambda (1 - kappa, kappa), so that its
    maximum is unique; delta method.  cells : questions "choose"; shares (C,) in [0, 1].  Returns
    {"kappa": {...}, "lambda": {...}} or {"not_identified": why}.
    """
    from scipy.special import expit

    x = np.array([sacrifice_gains(c.scene, c.saved) for c in cells])
    b = np.zeros(2)
    for _ in range(200):
        p = expit(x @ b)
        score, information = x.T @ (shares - p), (x * (p * (1 - p))[:, None]).T @ x
        try:
            step = np.linalg.solve(information, score)
        except np.linalg.LinAlgError:
            return {"not_identified": "choices are deterministic"}
        b = b + step * min(1.0, 5 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-10:
            break
    if not np.isfinite(b).all() or np.abs(b).max() > 200:
        return {"not_identified": "choices are deterministic"}
    bread = np.linalg.inv(information)
    accident = {
        place: i for i, place in enumerate(dict.fromkeys((c.scene, c.saved) for c in cells))
    }
    cluster = np.array([accident[c.scene, c.saved] for c in cells])
    covariance = clustered_covariance(bread, x * (shares - expit(x @ b))[:, None], cluster)
    precision = float(b.sum())
    se = float(np.sqrt(np.ones(2) @ covariance @ np.ones(2)))
    if precision <= 1.96 * se:
        return {
            "not_identified": (
                f"choices hardly follow either payoff (lambda {precision:.2f}, SE {se:.2f})"
            )
        }
    slope = np.array([-b[1], b[0]]) / precision**2
    return {
        "kappa": {
            "value": float(b[1] / precision),
            "se": float(np.sqrt(slope @ covariance @ slope)),
        },
        "lambda": {"value": precision, "se": se},
    }


# ----------------------------------------------------------------------------------------- conjoint

KINDS = {  # singular -> plural: the twenty kinds of characters
    "man": "men", "woman": "women", "pregnant woman": "pregnant women", "baby": "babies",
    "elderly man": "elderly men", "elderly woman": "elderly women", "boy": "boys", "girl": "girls",
    "homeless person": "homeless people", "large woman": "large women",
    "large man": "large men", "criminal": "criminals", "male executive": "male executives",
    "female executive": "female executives", "female athlete": "female athletes",
    "male athlete": "male athletes", "female doctor": "female doctors",
    "male doctor": "male doctors", "dog": "dogs", "cat": "cats",
}  # fmt: skip
HUMANS = tuple(k for k in KINDS if k not in ("dog", "cat"))
PAIRS = {  # attribute -> (favoured kind, the other) in otherwise like characters
    "gender": (
        ("woman", "man"), ("elderly woman", "elderly man"), ("girl", "boy"),
        ("large woman", "large man"), ("female executive", "male executive"),
        ("female athlete", "male athlete"), ("female doctor", "male doctor"),
    ),
    "fitness": (
        ("male athlete", "large man"), ("female athlete", "large woman"), ("male athlete", "man"),
        ("female athlete", "woman"), ("man", "large man"), ("woman", "large woman"),
    ),
    "status": (("male executive", "homeless person"), ("female executive", "homeless person")),
    "age": (("boy", "man"), ("girl", "woman"), ("boy", "elderly man"), ("girl", "elderly woman"),
        ("man", "elderly man"), ("woman", "elderly woman")),
}  # fmt: skip
ATTRIBUTES = (*PAIRS, "number", "species")
DIMENSIONS = {  # the favoured level of each, as in the human reference numbers
    "intervention": "inaction",
    "relation": "pedestrians",
    "law": "lawful",
    "gender": "female",
    "fitness": "fit",
    "status": "higher status",
    "age": "young",
    "number": "more",
    "species": "humans",
}
LARGEST = 5  # characters in a group


@dataclass(frozen=True)
class CaseWording:
    """One wording of a choice between two cases; ``course`` is (stays on course, swerves)."""

    held_out: bool
    opening: str
    line: str
    course: tuple[str, str]
    question: str
    control: str


CASE_WORDINGS = (
    CaseWording(
        False,
        "You take part in a study about self-driving cars. The brakes of a self-driving car have "
        "failed, and one of two cases will happen.",
        "Case {label}: The car {course} and kills {group} {place}.",
        ("stays on course", "swerves"),
        "Which case should happen, {a} or {b}?",
        "How many characters are killed in case {label}?",
    ),
    CaseWording(
        False,
        "In this survey you decide how an accident ends. A car without a driver cannot stop any "
        "more. There are two outcomes.",
        "Outcome {label}: The car {course}. It kills {group} {place}.",
        ("drives straight on", "turns aside"),
        "Which outcome do you prefer, {a} or {b}?",
        "How many characters does the car kill in outcome {label}?",
    ),
    CaseWording(
        False,
        "Please imagine that you choose what a driverless car does in an emergency. It has lost "
        "its brakes, and you have two options.",
        "Option {label}: The car {course}, and {group} {place} will die.",
        ("keeps to its lane", "changes its lane"),
        "Which option do you choose, {a} or {b}?",
        "How many characters will die under option {label}?",
    ),
    CaseWording(
        True,
        "We would like to know how you judge the following situation. An autonomous car is "
        "unable to brake. It can be steered in two ways.",
        "Way {label}: The car {course} and takes the lives of {group} {place}.",
        ("continues straight ahead", "leaves its course"),
        "Which way do you select, {a} or {b}?",
        "How many characters lose their lives if way {label} is selected?",
    ),
    CaseWording(
        True,
        "This question is about a traffic accident that cannot be avoided. The brakes of a robot "
        "car are broken, and the car has two plans.",
        "Plan {label}: The car {course}. As a result, {group} {place} will be dead.",
        ("does not turn", "turns to the other side"),
        "Which plan do you pick, {a} or {b}?",
        "How many characters will be dead after plan {label}?",
    ),
)


@dataclass(frozen=True)
class Scenario:
    """Two sides of the road.

    Side 0 holds the group of the favoured level unless the page swaps the groups.

    attribute : what the groups differ in.  favoured, other : kinds of the characters.  riders :
    the side in the car, or None.  lawful : of each side, whether it crosses lawfully, or None where
    there is no light and for the side in the car.  straight : the side that dies if the car stays
    on course.
    """

    attribute: str
    favoured: tuple[str, ...]
    other: tuple[str, ...]
    riders: int | None
    lawful: tuple[bool | None, bool | None]
    straight: int


def draw_scenarios(n: int, rng: np.random.Generator) -> list[Scenario]:
    """n scenarios: an attribute (one of six, equally likely), then evenly and independently whether
    one group rides in the car, the light (none, or the first group or the pedestrians crossing on
    green or on red), and whom the car's course kills.
    """
    scenarios = []
    for _ in range(n):
        attribute = str(rng.choice(ATTRIBUTES))
        size = int(rng.integers(1, LARGEST + 1))
        if attribute in PAIRS:
            pairs = [PAIRS[attribute][i] for i in rng.integers(len(PAIRS[attribute]), size=size)]
            favoured, other = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
        elif attribute == "species":
            favoured = tuple(str(k) for k in rng.choice(HUMANS, size))
            other = tuple(str(k) for k in rng.choice(("dog", "cat"), size))
        else:
            size = int(rng.integers(1, LARGEST))
            more = rng.choice(HUMANS, int(rng.integers(size + 1, LARGEST + 1)))
            favoured, other = tuple(str(k) for k in more), tuple(str(k) for k in more[:size])
        riders = int(rng.integers(2)) if rng.random() < 0.5 else None
        light = int(rng.choice(3, p=(1 / 3, 1 / 3, 1 / 3)))
        lawful: list[bool | None] = [None, None]
        if light:
            walker = 0 if riders is None else 1 - riders
            lawful[walker] = light == 1
            if riders is None:
                lawful[1 - walker] = light == 2
        scenarios.append(
            Scenario(
                attribute,
                favoured,
                other,
                riders,
                (lawful[0], lawful[1]),
                0 if rng.random() < 0.5 else 1,
            )
        )
    return scenarios


def read_scenario(row: dict[str, Any]) -> Scenario:
    """A scenario from one line of a file.  Raises ValueError that says what is wrong with it."""
    try:
        scenario = Scenario(
            row["attribute"],
            tuple(row["favoured"]),
            tuple(row["other"]),
            row["riders"],
            tuple(row["lawful"]),
            row["straight"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"a scenario needs attribute, favoured, other, riders, lawful and straight ({error})"
        ) from None
    groups = (*scenario.favoured, *scenario.other)
    a, b = scenario.lawful if len(scenario.lawful) == 2 else ("?", "?")
    lights = (
        (a, b) in ((None, None), (True, False), (False, True))
        if scenario.riders is None
        else None in (a, b) and {a, b} <= {None, True, False}
    )
    good = (
        scenario.attribute in ATTRIBUTES
        and all(isinstance(k, str) and k in KINDS for k in groups)
        and scenario.riders in (None, 0, 1)
        and 0 < len(scenario.favoured) <= LARGEST
        and 0 < len(scenario.other) <= LARGEST
        and scenario.straight in (0, 1)
        and lights
        and (scenario.riders is None or scenario.lawful[scenario.riders] is None)
    )
    if not good:
        raise ValueError(f"this scenario is none that the instrument knows: {str(row)[:200]}")
    return scenario


def levels(scenario: Scenario, swapped: bool) -> dict[str, tuple[int | None, int | None]]:
    """Level of every dimension on side 0 and side 1: 1 favoured, 0 not,
    None where it does not apply.
    """
    found: dict[str, tuple[int | None, int | None]] = dict.fromkeys(DIMENSIONS, (None, None))
    # the car's course spares the other side
    found["intervention"] = (0, 1) if scenario.straight == 0 else (1, 0)
    found[scenario.attribute] = (0, 1) if swapped else (1, 0)
    if scenario.riders is not None:
        found["relation"] = (0, 1) if scenario.riders == 0 else (1, 0)
    found["law"] = (
        None if scenario.lawful[0] is None else int(scenario.lawful[0]),
        None if scenario.lawful[1] is None else int(scenario.lawful[1]),
    )
    return found


def _group(kinds: tuple[str, ...]) -> str:
    counts = {k: kinds.count(k) for k in KINDS if k in kinds}
    parts = [_count(n, k, KINDS[k]) for k, n in counts.items()]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


@dataclass(frozen=True)
class CasePage:
    """How a scenario is presented.

    labels : letters of the case that is listed first and of the other.  swapped : the groups have
    changed sides.  reverse : the death of side 1 is listed first, instead of that of side 0.
    """

    wording: int
    labels: tuple[str, str]
    swapped: bool
    reverse: bool


# of every scenario
PAGES = tuple((swapped, reverse) for swapped in (False, True) for reverse in (False, True))


def draw_labels(rng: np.random.Generator) -> tuple[str, str]:
    """Two different letters for the cases."""
    a, b = rng.choice(len(LABELS), 2, replace=False)
    return LABELS[a], LABELS[b]


def case_pages(wording: int, labels: tuple[str, str]) -> tuple[CasePage, ...]:
    """The four pages of a scenario, in the order of ``PAGES``.

    Within each allocation of the groups the cases are listed both ways, the letters staying with
    the place, so that a habit of place or letter cancels; the letters are exchanged together with
    the groups, so that the two habits can be told apart.
    """
    return tuple(
        CasePage(wording, labels[::-1] if swapped else labels, swapped, reverse)
        for swapped, reverse in PAGES
    )


def listed_sides(page: CasePage) -> tuple[int, int]:
    """The sides that die in the case listed first and in the other."""
    return (1, 0) if page.reverse else (0, 1)


def groups_on(scenario: Scenario, page: CasePage) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kinds of the characters on side 0 and on side 1."""
    return (
        (scenario.other, scenario.favoured) if page.swapped else (scenario.favoured, scenario.other)
    )


def scenario_conversation(
    scenario: Scenario, page: CasePage, system: str | None = None
) -> Conversation:
    """The conversation about a scenario: its options are the letters in the order of the page."""
    words, groups = CASE_WORDINGS[page.wording], groups_on(scenario, page)
    lines, controls = [words.opening], []
    for label, side in zip(page.labels, listed_sides(page), strict=True):
        light = {
            None: "on the road",
            True: "crossing at a green light",
            False: "crossing at a red light",
        }[scenario.lawful[side]]
        place = "inside the car" if scenario.riders == side else light
        course = words.course[0 if scenario.straight == side else 1]
        lines.append(
            words.line.format(label=label, course=course, group=_group(groups[side]), place=place)
        )
        sizes = tuple(str(n) for n in range(1, LARGEST + 1))
        controls.append(
            Question(f"{words.control.format(label=label)} {NUMBER}", sizes, len(groups[side]) - 1)
        )
    a, b = page.labels
    question = Question(f"{words.question.format(a=a, b=b)} {LETTER}", page.labels)
    head = () if system is None else (("system", system),)
    return Conversation("\n".join(lines), (question,), tuple(controls), before=head)


def share_spared(probabilities: np.ndarray, page: CasePage) -> float:
    """Probability that side 0 is spared, from that of each listed case."""
    return float(probabilities[listed_sides(page).index(1)])


def listed_shares(spared: float, page: CasePage) -> np.ndarray:
    """(2,) probability of each listed case, from that with which side 0 is spared."""
    return np.array([spared if dies == 1 else 1 - spared for dies in listed_sides(page)])


@dataclass(frozen=True)
class Coded:
    """Scenarios as numbers, for the estimator: level (n, 2 swaps, 2 sides, 9) of 1, 0 or nan.

    Weight (n, 9).
    """

    level: np.ndarray
    weight: np.ndarray


def code(scenarios: list[Scenario]) -> Coded:
    """Levels and design weights of scenarios.

    A weight is proportional to the inverse probability, given the level of the dimension, of all
    else that is drawn, so that both levels are seen against the same mixture of the others (as in
    Awad et al. 2018).  All is drawn evenly but what shows a level of law: one colour where one
    group rides, either colour where both are on the road.
    """
    level = np.full((len(scenarios), 2, 2, len(DIMENSIONS)), np.nan)
    weight = np.ones((len(scenarios), len(DIMENSIONS)))
    law = list(DIMENSIONS).index("law")
    for i, scenario in enumerate(scenarios):
        if scenario.riders is not None:
            weight[i, law] = 2.0
        for swapped in (0, 1):
            for d, pair in enumerate(levels(scenario, bool(swapped)).values()):
                level[i, swapped, :, d] = [np.nan if k is None else k for k in pair]
    return Coded(level, weight)


def amce(coded: Coded, spared: np.ndarray) -> dict[str, dict[str, float]]:
    """Average marginal component effect of each dimension:
    P(spared | favoured level) - P(spared | other level).

    spared : (n, 4), probability (or 0/1) that side 0 is spared on each of PAGES; nan where
    refused.  Weighted means over sides; errors clustered by scenario, because the pages and the
    two sides of a scenario are not separate observations.  Returns dimension -> {value, se, n
    (scenarios)}, without those that no scenario can tell.
    """
    swapped = [int(s) for s, _ in PAGES]
    sides = np.stack([spared, 1 - spared], axis=2)  # (n, 4, 2)
    effects: dict[str, dict[str, float]] = {}
    for d, dimension in enumerate(DIMENSIONS):
        level, weight = coded.level[..., d][:, swapped], coded.weight[:, d, None, None]
        used = ~np.isnan(level) & ~np.isnan(sides)
        influence, means = np.zeros(len(spared)), []
        for k in (0, 1):
            w = np.where(used & (level == k), weight, 0.0)
            if not w.sum():
                break
            mean = float((w * np.where(used, sides, 0.0)).sum() / w.sum())
            influence += (2 * k - 1) * (w * np.where(used, sides - mean, 0.0)).sum((1, 2)) / w.sum()
            means.append(mean)
        if len(means) == 2:
            told = used.any((1, 2))
            n = int(told.sum())
            variance = clustered_covariance(np.eye(1), influence[told, None], np.arange(n))
            se = float(np.sqrt(variance[0, 0])) if n > 1 else float("nan")
            effects[dimension] = {"value": means[1] - means[0], "se": se, "n": n}
    return effects


def linear_chooser(scenario: Scenario, swapped: bool, effects: dict[str, float]) -> float:
    """P(side 0 is spared) = 1/2 + 1/2 sum_d effect_d x_d, with x_d = 1,
    -1 or 0 the favour of side 0: its AMCEs are ``effects``.

    A side whose lawfulness is stated against one where none applies counts as favoured if lawful,
    as disfavoured if not.
    """
    total = 0.0
    for dimension, (a, b) in levels(scenario, swapped).items():
        if a is None and b is None:
            continue
        x = (2 * a - 1) if a is not None else (1 - 2 * (b or 0))
        total += effects.get(dimension, 0.0) * x
    return float(np.clip(0.5 + 0.5 * total, 0, 1))


NULLS = {  # agents that see nothing: P(Case 1), or whether the car stays on course
    "always the first case": lambda scenario, swapped, reverse: 0.0 if not reverse else 1.0,
    "always the second case": lambda scenario, swapped, reverse: 1.0 if not reverse else 0.0,
    "coin": lambda scenario, swapped, reverse: 0.5,
    "never swerves": lambda scenario, swapped, reverse: 0.0 if scenario.straight == 0 else 1.0,
}
