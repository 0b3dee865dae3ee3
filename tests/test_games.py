"""Games, preferences and choice against values worked by hand and formulas
that do not use the code under test.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import pi_formula, pure

from econmoral.economics.choice import best_plan, best_replies, efficiency, logit
from econmoral.economics.games import (
    BATTERY,
    GAMES,
    Protocol,
    belief_weights,
    draw_beliefs,
    draw_protocol,
    held_out,
)
from econmoral.economics.preferences import FAMILIES


def moralis(protocol: Protocol, beliefs: tuple[float, ...], **theta: float) -> np.ndarray:
    """Utilities in the family with all three parameters."""
    return FAMILIES["alpha_beta_kappa"].utility(
        protocol.tables, belief_weights(protocol.game, beliefs), theta
    )


@pytest.mark.parametrize("protocol", BATTERY, ids=lambda p: f"{p.game}{p.payoffs}")
def test_payoffs_behind_the_veil_equal_the_formula(protocol: Protocol) -> None:
    beliefs = (0.6, 0.5, 0.2)[: len(GAMES[protocol.game].info_sets)]
    weights = belief_weights(protocol.game, beliefs)
    for i, x in enumerate(pure(protocol.game)):
        assert protocol.tables.pi[i] @ weights == pytest.approx(
            pi_formula(protocol.game, protocol.payoffs, x, beliefs), abs=1e-12
        )
        assert protocol.tables.pi[i, i] == pytest.approx(
            pi_formula(protocol.game, protocol.payoffs, x, x), abs=1e-12
        )


def test_worked_example() -> None:
    spd = Protocol("spd", (90, 45, 15, 10))
    u = moralis(spd, (0.6, 0.5, 0.2), alpha=0.1, beta=0.2, kappa=0.3)
    np.testing.assert_allclose(
        u, [30.375, 32.675, 36.525, 38.825, 33.15, 24.95, 37.8, 29.6], atol=1e-12
    )
    expected = [0.087997, 0.110754, 0.162765, 0.204856, 0.116141, 0.051152, 0.184899, 0.081435]
    np.testing.assert_allclose(logit(u, 0.1), expected, atol=5e-7)


@pytest.mark.parametrize(
    ("payoffs", "kappas"),
    [
        ((90, 45, 15, 10), ("DDD", "DDC", "DDC", "DDC")),
        ((90, 55, 20, 10), ("DDD", "DDC", "DDC", "DDC")),
        ((80, 65, 25, 20), ("DDD", "DDC", "CCD", "CCD")),
        ((80, 75, 30, 20), ("DDD", "CCD", "CCD", "CCD")),
    ],
)
def test_best_replies_in_the_prisoners_dilemma(
    payoffs: tuple[float, float, float, float], kappas: tuple[str, ...]
) -> None:
    spd = Protocol("spd", payoffs)
    found = [
        spd.tables.strategies[best_plan(spd, (0.5, 0.5, 0.5), k)[0]] for k in (0, 0.25, 0.5, 0.75)
    ]
    assert tuple(found) == kappas


@pytest.mark.parametrize(
    ("protocol", "best"),
    [
        (Protocol("spd", (90, 45, 15, 10)), {"CDC", "CDD", "DCC", "DDC"}),
        (Protocol("spd", (80, 65, 25, 20)), {"CCC", "CCD"}),
        (Protocol("tg", (80, 50, 30, 20)), {"trust,give", "trust,keep"}),
        (Protocol("ug", (70, 50, 10, 30)), {"equal,accept", "equal,reject", "unequal,accept"}),
    ],
)
def test_homo_kantiensis_ties_are_kept(protocol: Protocol, best: set[str]) -> None:
    u = moralis(protocol, (0.5,) * len(GAMES[protocol.game].info_sets), kappa=1.0)
    assert {protocol.tables.strategies[i] for i in best_replies(u)} == best


@pytest.mark.parametrize(
    ("protocol", "beliefs", "switch", "below", "above"),
    [
        (Protocol("spd", (80, 65, 25, 20)), (0.5, 0.5, 0.5), 1 / 21, "DDD", "DDC"),
        (Protocol("spd", (80, 65, 25, 20)), (0.5, 0.5, 0.5), 1 / 3, "DDC", "CCD"),
        (Protocol("ug", (70, 50, 10, 20)), (0.5, 0.9), 7 / 12, "unequal,accept", "equal,accept"),
        (Protocol("ug", (90, 40, 10, 20)), (0.5, 0.3), 1 / 6, "equal,accept", "unequal,accept"),
        *(
            (Protocol("tg", (80, 60, 30, 20)), (y, 0.9), k, "trust,keep", "trust,give")
            for y, k in ((0.25, 0.2), (0.5, 1 / 3), (0.75, 3 / 7))
        ),
    ],
)
def test_switch_points(
    protocol: Protocol, beliefs: tuple[float, ...], switch: float, below: str, above: str
) -> None:
    for kappa, name in ((switch - 1e-3, below), (switch + 1e-3, above)):
        assert protocol.tables.strategies[best_plan(protocol, beliefs, kappa)[0]] == name


@pytest.mark.parametrize(
    ("kappa", "threshold"), [(0, 1 / 6), (0.25, 0.125), (0.5, 1 / 12), (0.75, 1 / 24)]
)
def test_rejection_needs_aversion_to_being_behind(kappa: float, threshold: float) -> None:
    ug = Protocol("ug", (80, 50, 10, 20))
    accept, reject = (ug.tables.strategies.index(f"equal,{a}") for a in ("accept", "reject"))
    for alpha, accepts in ((threshold - 1e-3, True), (threshold + 1e-3, False)):
        u = moralis(ug, (0.5, 0.5), alpha=alpha, kappa=kappa)
        assert (u[accept] > u[reject]) == accepts


games = st.sampled_from(sorted(GAMES))
seeds = st.integers(0, 10**6)


@given(games, seeds, st.floats(0, 1), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
@settings(max_examples=60, deadline=None)
def test_logit_knows_no_zero_and_no_unit_of_payoff(
    game: str, seed: int, kappa: float, alpha: float, beta: float
) -> None:
    rng = np.random.default_rng(seed)
    protocol, beliefs = draw_protocol(game, rng, held=bool(seed % 2)), draw_beliefs(game, rng)
    theta = {"alpha": alpha, "beta": beta, "kappa": kappa}
    p = logit(moralis(protocol, beliefs, **theta), 0.1)
    shifted = Protocol(game, tuple(v + 7 for v in protocol.payoffs))
    scaled = Protocol(game, tuple(3 * v for v in protocol.payoffs))
    np.testing.assert_allclose(logit(moralis(shifted, beliefs, **theta), 0.1), p, atol=1e-10)
    np.testing.assert_allclose(logit(moralis(scaled, beliefs, **theta), 0.1 / 3), p, atol=1e-10)


@given(games, seeds)
@settings(max_examples=60, deadline=None)
def test_extremes_of_kappa(game: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
    money = [pi_formula(game, protocol.payoffs, x, beliefs) for x in pure(game)]
    alike = [pi_formula(game, protocol.payoffs, x, x) for x in pure(game)]
    weights = belief_weights(game, beliefs)
    np.testing.assert_allclose(
        FAMILIES["homo_economicus"].utility(protocol.tables, weights, {}), money, atol=1e-9
    )
    np.testing.assert_allclose(
        FAMILIES["homo_moralis"].utility(protocol.tables, weights, {"kappa": 1.0}), alike, atol=1e-9
    )


def test_efficiency_ends() -> None:
    u = np.array([1.0, 2.0, 6.0])
    assert efficiency(u, np.array([0, 0, 1.0])) == pytest.approx(1)
    assert efficiency(u, np.full(3, 1 / 3)) == pytest.approx(0)
    assert np.isnan(efficiency(np.ones(3), np.full(3, 1 / 3)))


def test_lead_is_the_distance_to_the_second_best_and_zero_at_a_tie() -> None:
    ug = Protocol("ug", (70, 50, 10, 30))
    money = sorted(pi_formula("ug", ug.payoffs, x, (0.5, 0.8)) for x in pure("ug"))
    assert best_plan(ug, (0.5, 0.8), 0.0)[1] == pytest.approx(money[-1] - money[-2])
    # equal offers and the responder's move off the path: own payoff decides
    assert ug.tables.strategies[best_plan(ug, (0.5, 0.5), 1.0)[0]] == "equal,accept"
    # turn-taking: of the four plans that pay 50 to all alike, DDC has 51.25 of its own, DCC and CDD
    # 40
    spd = Protocol("spd", (90, 45, 15, 10))
    assert best_plan(spd, (0.5, 0.5, 0.5), 1.0) == (spd.tables.strategies.index("DDC"), 5.0)


def test_held_out_quadruples_are_a_fifth_and_hold_the_battery() -> None:
    assert len(BATTERY) == 18
    assert all(held_out(p) for p in BATTERY)
    rng = np.random.default_rng(0)
    for game in GAMES:
        assert not any(held_out(draw_protocol(game, rng, held=False)) for _ in range(200))
        assert all(held_out(draw_protocol(game, rng, held=True)) for _ in range(50))
    quadruples = itertools.combinations(range(95, -1, -5), 4)
    share = np.mean([held_out(Protocol("spd", q)) for q in quadruples])
    assert 0.18 < share < 0.22


def test_payoffs_are_drawn_on_the_grid_and_mostly_small() -> None:
    rng = np.random.default_rng(1)
    for game in GAMES:
        drawn = [draw_protocol(game, rng, held=False).payoffs for _ in range(600)]
        assert all(p % 5 == 0 and 0 <= p <= 95 for payoffs in drawn for p in payoffs)
        assert all(len(set(payoffs)) == 4 for payoffs in drawn)
        # points on the page up to 10 in at least four fifths (of the others a few happen to be
        # small too)
        assert 0.75 < np.mean([max(payoffs) <= 50 for payoffs in drawn]) < 0.9
        assert max(max(payoffs) for payoffs in drawn) > 80
        one, other = (
            [draw_protocol(game, np.random.default_rng(7), held=h) for _ in range(5)]
            for h in (False, True)
        )
        assert one == [draw_protocol(game, np.random.default_rng(7), held=False) for _ in range(5)]
        assert not set(one) & set(other)


def test_beliefs_are_drawn_in_tenths_and_no_set_is_never_reached() -> None:
    rng = np.random.default_rng(2)
    for game in GAMES:
        drawn = np.array([draw_beliefs(game, rng) for _ in range(400)])
        assert drawn.shape == (400, len(GAMES[game].info_sets))
        np.testing.assert_allclose(10 * drawn, np.round(10 * drawn), atol=1e-12)
        assert {round(10 * float(v)) for v in drawn.ravel()} == set(range(1, 10))
        assert abs(drawn.mean() - 0.5) < 0.05


@pytest.mark.parametrize(
    ("game", "payoffs"),
    [("spd", (50, 60, 10, 0)), ("ug", (60, 50, 30, 10)), ("chess", (4, 3, 2, 1))],
)
def test_wrong_payoff_order_and_unknown_game_are_refused(
    game: str, payoffs: tuple[float, float, float, float]
) -> None:
    with pytest.raises(ValueError, match=r"needs|unknown game"):
        Protocol(game, payoffs)


@pytest.mark.parametrize("beliefs", [(0.5,), (0.5, 0.5, 1.2), (0.5, 0.5, float("nan"))])
def test_beliefs_must_be_probabilities_of_every_information_set(beliefs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="beliefs"):
        belief_weights("spd", beliefs)


def test_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter"):
        FAMILIES["homo_moralis"].utility(
            BATTERY[0].tables, belief_weights("spd", (0.5,) * 3), {"alpha": 1.0}
        )
