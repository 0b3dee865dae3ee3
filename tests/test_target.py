"""Targets: written, read back, valued by hand, described in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import expected, optimum, plans, worth

from econmoral.economics.games import GAMES, Protocol, draw_beliefs, draw_protocol
from econmoral.economics.preferences import FAMILIES
from econmoral.files.records import InputError
from econmoral.target import ECONOMICUS, Target, Weights, labels, moralis

KINDS = (
    "homo_economicus",
    "fehr_schmidt:alpha=0.5,beta=0.25",
    "fehr_schmidt:beta=2",
    "fehr_schmidt:alpha=-0.4,beta=-0.1",
    "alpha_beta_kappa:alpha=0.1,beta=0.2",
    "charness_rabin:rho=0.4,sigma=-0.1",
    "bruhin_fehr_schunk:alpha=0.2,beta=0.5",
    "bruhin_fehr_schunk:alpha=-0.4,beta=-0.1",
    "altruism:altruism=0.3",
    "altruism:altruism=-0.3",
    "utilitarian",
    "maximin:delta=0.5",
)


def test_every_family_stands_in_the_list() -> None:
    assert {Target.parse(kind).family for kind in KINDS} | {"homo_moralis"} == set(FAMILIES)


@given(st.floats(0, 1), st.floats(-10, 10), st.floats(-10, 10))
@settings(max_examples=100, deadline=None)
def test_what_is_written_reads_back_as_the_same_target(
    kappa: float, alpha: float, beta: float
) -> None:
    for target in (
        moralis(kappa),
        Target("alpha_beta_kappa", (("kappa", kappa), ("alpha", alpha), ("beta", beta))),
        ECONOMICUS,
    ):
        assert Target.parse(str(target)) == target


def test_names_are_the_short_ones() -> None:
    assert str(moralis(0.5)) == "homo_moralis:kappa=0.5"
    assert str(moralis(1.0)) == "homo_moralis:kappa=1"
    short = {
        "homo_moralis:kappa=0.5": "moralis 0.5",
        "bruhin_fehr_schunk:beta=-0.1,alpha=-0.4": "bfs -0.4 -0.1",
        "homo_economicus": "economicus",
    }
    assert {text: Target.parse(text).label for text in short} == short
    # a label that does not say which parameter it gives would name two targets
    assert (
        Target.parse("fehr_schmidt:alpha=0.5").label != Target.parse("fehr_schmidt:beta=0.5").label
    )
    several = [moralis(0.1234561), moralis(0.1234564), ECONOMICUS]
    assert labels(several) == [str(several[0]), str(several[1]), "economicus"]
    assert Target.of("homo_moralis", 0.3) == moralis(0.3)
    assert Target.of("homo_economicus", 0.3) == ECONOMICUS


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "unknown preference"),
        ("homo_ludens", "homo_economicus"),
        ("homo_moralis:", "colon"),
        ("homo_moralis:kappa", "name=number"),
        ("homo_moralis:kappa=high", "name=number"),
        ("homo_moralis:kappa=1.01", "[0, 1]"),
        ("homo_moralis:kappa=-0.1", "[0, 1]"),
        ("homo_moralis:kappa=nan", "must lie"),
        ("fehr_schmidt:alpha=inf", "must lie"),
        ("fehr_schmidt:alpha=11", "must lie"),
        ("homo_moralis:alpha=0.5", "no parameter 'alpha'"),
        ("homo_economicus:kappa=0.5", "it has: none"),
        ("fehr_schmidt:alpha=0.1,alpha=0.1", "given twice"),
        ("fehr_schmidt:alpha=0.1,,beta=1", "name=number"),
    ],
)
def test_anything_else_is_refused(text: str, part: str) -> None:
    with pytest.raises(InputError) as refusal:
        Target.parse(text)
    assert part in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_allocations_are_valued_as_by_hand_and_in_whole_numbers(kind: str) -> None:
    target, rng = Target.parse(kind), np.random.default_rng(0)
    own, other = rng.integers(0, 100, (2, 300)).astype(float)
    own[:20] = other[:20]
    by_hand = np.array(
        [worth(target.family, target.theta, m, n) for m, n in zip(own, other, strict=True)]
    )
    np.testing.assert_allclose(target.of_allocations(own, other), by_hand, atol=1e-9)
    weights = target.weights()
    for m, n, value in zip(own, other, by_hand, strict=True):
        a, b = weights.at(m, n)
        assert type(a) is type(b) is int
        assert a * m + b * n == pytest.approx(weights.unit * value, abs=1e-6)


def test_weights_are_the_smallest_whole_numbers() -> None:
    assert Target.parse("bruhin_fehr_schunk:alpha=0.2,beta=0.5").weights() == Weights(
        10, (8, 2), (5, 5)
    )
    assert Target.parse("fehr_schmidt:alpha=0.5").weights() == Weights(2, (3, -1), (2, 0))
    assert Target.parse("utilitarian").weights() == Weights(1, (1, 1), (1, 1))
    assert ECONOMICUS.weights() == moralis(0.5).weights() == Weights(1, (1, 0), (1, 0))
    assert [moralis(k).moral_weights() for k in (0, 0.1, 0.25, 0.5, 0.75, 1)] == [
        (1, 0),
        (9, 1),
        (3, 1),
        (1, 1),
        (1, 3),
        (0, 1),
    ]


@given(st.sampled_from(KINDS), st.sampled_from(sorted(GAMES)), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_best_plan_is_the_best_by_enumeration(kind: str, game: str, seed: int) -> None:
    target, rng = Target.parse(kind), np.random.default_rng(seed)
    protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
    values = [
        expected(
            game,
            protocol.payoffs,
            plan,
            beliefs,
            lambda m, n: worth(target.family, target.theta, m, n),
        )
        for plan in plans(game)
    ]
    np.testing.assert_allclose(target.plans(protocol, beliefs), values, atol=1e-9)
    best, lead = target.best_plan(protocol, beliefs)
    assert values[best] == pytest.approx(max(values))
    # there the lead over plans that differ off the path only is in own payoff, as for homo moralis
    if target != ECONOMICUS:
        assert lead == pytest.approx(np.diff(np.sort(values))[-1], abs=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
def test_homo_moralis_is_the_papers(kappa: float) -> None:
    rng = np.random.default_rng(1)
    for game in GAMES:
        for _ in range(40):
            protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
            best, lead = moralis(kappa).best_plan(protocol, beliefs)
            if lead > 1e-9:
                assert protocol.tables.strategies[best] == optimum(
                    game, protocol.payoffs, beliefs, kappa
                )


def test_what_the_told_base_reads() -> None:
    assert ECONOMICUS.describe() == (
        "In every decision choose what gives you the most points yourself, on average. Nothing "
        "else matters to you."
    )
    assert moralis(0.25).describe() == (
        "In every decision choose the plan with the largest total: the points you expect "
        "yourself, times 0.75, plus the points you would get if everyone used your plan, times "
        "0.25."
    )
    assert Target.parse("bruhin_fehr_schunk:alpha=0.2,beta=0.5").describe() == (
        "In every decision choose what is worth most to you. Where you get less than the other "
        "person, each of your points counts 0.8 and each of the other person's points counts 0.2. "
        "Where you get more, each of your points counts 0.5 and each of the other person's points "
        "counts 0.5."
    )
    inequity = Target.parse("alpha_beta_kappa:alpha=0.1,beta=0.2,kappa=0.5").describe()
    assert inequity.endswith(
        " From this take off 0.1 for every point by which you are behind and 0.2 for every point "
        "by which you are ahead."
    )
    # nothing to be moral about: the sentence of homo economicus
    assert moralis(0.0).describe() == ECONOMICUS.describe()


def test_every_sentence_tells_its_target_from_the_others() -> None:
    sentences = [Target.parse(kind).describe() for kind in KINDS] + [
        moralis(k).describe() for k in (0.1, 0.5, 1.0)
    ]
    assert len(set(sentences)) == len(sentences)
    assert all(s.endswith(".") and "  " not in s and "{" not in s for s in sentences)


def test_utilities_are_not_changed_by_who_reads_them() -> None:
    plan_values = moralis(0.5).plans(Protocol("tg", (80, 50, 30, 20)), (0.5, 0.5))
    with pytest.raises(ValueError, match="read-only"):
        plan_values[0] = 1.0
