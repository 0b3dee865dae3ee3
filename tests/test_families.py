"""Families and games against published formulas and hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.economics.choice import best_replies, switch_points
from econmoral.economics.games import (
    GAMES,
    TABLE_GAMES,
    Protocol,
    belief_weights,
    draw_beliefs,
    draw_protocol,
    role_symmetrised,
    tables_of,
)
from econmoral.economics.preferences import FAMILIES


@pytest.mark.parametrize(
    ("family", "theta", "m", "n", "kind", "unkind", "utility"),
    [
        ("homo_economicus", {}, 30, 70, 0, 0, 30),
        ("utilitarian", {}, 30, 70, 0, 0, 100),
        ("altruism", {"altruism": 0.2}, 30, 70, 0, 0, 44),
        ("maximin", {"delta": 0.5}, 70, 30, 0, 0, 50),
        ("maximin", {"delta": 0.5}, 30, 70, 0, 0, 30),
        ("fehr_schmidt", {"alpha": 0.5, "beta": 0.25}, 30, 70, 0, 0, 10),
        ("fehr_schmidt", {"alpha": 0.5, "beta": 0.25}, 70, 30, 0, 0, 60),
        # (1 - sigma) 30 + sigma 70 with sigma = -.1; (1 - rho) 70 + rho 30 with rho = .4; theta =
        # -.1 after misbehaviour
        ("charness_rabin", {"rho": 0.4, "sigma": -0.1, "theta": -0.1}, 30, 70, 0, 0, 26),
        ("charness_rabin", {"rho": 0.4, "sigma": -0.1, "theta": -0.1}, 70, 30, 0, 0, 54),
        ("charness_rabin", {"rho": 0.4, "sigma": -0.1, "theta": -0.1}, 70, 30, 0, 1, 58),
        (
            "bruhin_fehr_schunk",
            {"alpha": 0.1, "beta": 0.3, "gamma": 0.05, "delta": -0.04},
            30,
            70,
            0,
            0,
            34,
        ),
        (
            "bruhin_fehr_schunk",
            {"alpha": 0.1, "beta": 0.3, "gamma": 0.05, "delta": -0.04},
            70,
            30,
            1,
            0,
            56,
        ),
        (
            "bruhin_fehr_schunk",
            {"alpha": 0.1, "beta": 0.3, "gamma": 0.05, "delta": -0.04},
            70,
            30,
            0,
            1,
            59.6,
        ),
        (
            "bruhin_fehr_schunk",
            {"alpha": 0.1, "beta": 0.3, "gamma": 0.05, "delta": -0.04},
            50,
            50,
            1,
            0,
            50,
        ),
    ],
)
def test_utility_of_an_outcome(
    family: str,
    theta: dict[str, float],
    m: float,
    n: float,
    kind: float,
    unkind: float,
    utility: float,
) -> None:
    base, terms = FAMILIES[family].outcome(np.array(m), np.array(n), kind, unkind)
    assert base + terms @ [theta.get(p, 0.0) for p in FAMILIES[family].parameters] == pytest.approx(
        utility
    )


def test_two_player_families_are_relabellings_of_each_other() -> None:
    m, n = np.random.default_rng(0).uniform(0, 100, (2, 50))
    fehr = FAMILIES["fehr_schmidt"].outcome(m, n)[1]
    bruhin = FAMILIES["bruhin_fehr_schunk"].outcome(m, n)[1]
    # alpha of Fehr and Schmidt = - alpha of Bruhin et al.
    np.testing.assert_allclose(fehr[:, 0], -bruhin[:, 0])
    np.testing.assert_allclose(fehr[:, 1], bruhin[:, 1])


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("game", [*GAMES, *TABLE_GAMES])
def test_every_family_gives_finite_utilities_in_every_game(family: str, game: str) -> None:
    tables = tables_of(
        game,
        (90, 60, 30, 10) if game in ("spd", "tg") else (90, 60, 10, 30) if game == "ug" else (),
    )
    n = len(tables.strategies)
    u = FAMILIES[family].utility(
        tables, np.full(n, 1 / n), dict.fromkeys(FAMILIES[family].parameters, 0.3)
    )
    assert u.shape == (n,)
    assert np.isfinite(u).all()
    assert len(set(tables.strategies)) == n
    assert tables.own.shape == tables.other.shape == (n, n, len(tables.weight))
    assert tables.weight.sum() == pytest.approx(1)
    # whoever sits on the other side of the same encounter sees the payoffs exchanged (two players;
    # roles drawn evenly)
    if game != "public_good":
        np.testing.assert_allclose(
            tables.own @ tables.weight, (tables.other @ tables.weight).T, atol=1e-9
        )


def test_tables_of_matrix_games_by_hand() -> None:
    pd = tables_of("pd", (5, 2, 7, 3))
    np.testing.assert_allclose(pd.pi, [[5, 2], [7, 3]])
    hawk = tables_of("hawk_dove", (2, 4))
    np.testing.assert_allclose(hawk.pi, [[-1, 2], [0, 1]])
    battle = tables_of("battle", (2, 1))
    assert battle.strategies == ("A,A", "A,B", "B,A", "B,B")
    # playing A as row and B as column against the same plan: never meet
    np.testing.assert_allclose(battle.alike, [1.5, 0, 0, 1.5])
    public = tables_of("public_good", (4, 20, 0.4, 1))
    np.testing.assert_allclose(public.pi, [[20, 20 + 0.4 * 60], [8, 32]])
    dictator = tables_of("dictator", (100, 10))
    np.testing.assert_allclose(dictator.alike, 50)
    ultimatum = tables_of("ultimatum", (100, 10))
    i, j = ultimatum.strategies.index("40,20"), ultimatum.strategies.index("30,50")
    # my 40 is below their 50; their 30 meets my 20
    assert ultimatum.pi[i, j] == pytest.approx((0 + 30) / 2)
    trust = tables_of("trust", (10, 3, 5))
    i, j = trust.strategies.index("10,0"), trust.strategies.index("10,0.6")
    assert trust.pi[i, j] == pytest.approx((18 + 30) / 2)


def test_role_symmetrised_coordination_doubles_what_homo_kantiensis_earns() -> None:
    a = np.array([[0.0, 2.0], [1.0, 0.0]])
    behind = role_symmetrised(("1", "2"), ("1", "2"), a, a.T)
    assert behind.alike.max() == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("y", "threshold"), [(0.0, 1 / 3), (0.25, 5 / 13), (0.5, 3 / 7), (0.75, 7 / 15), (1.0, 0.5)]
)
def test_pure_threshold_of_the_prisoners_dilemma(y: float, threshold: float) -> None:
    points = switch_points(tables_of("pd", (5, 2, 7, 3)), np.array([y, 1 - y]))
    assert points == [(0.0, 1), (pytest.approx(threshold), 0)]


@pytest.mark.parametrize(
    ("kappa", "x"),
    [(0.0, 0.780776), (0.25, 0.895644), (0.5, 1.0), (0.75, 1.096291), (1.0, 1.186141)],
)
def test_contribution_to_the_smooth_public_good(kappa: float, x: float) -> None:
    tables = tables_of("smooth_public_good", (2, 2, 200))
    u = (1 - kappa) * tables.pi + kappa * tables.alike[:, None]
    fixed = [i for i in range(len(u)) if u[:, i].argmax() == i]
    assert any(abs(float(tables.strategies[i]) - x) <= 0.01 for i in fixed)  # the grid is .01 wide


@pytest.mark.parametrize(
    ("kappa", "gift"), [(0.0, 0.0), (0.1, 0.0), (0.25, 10.0), (0.5, 23.333), (1.0, 40.0)]
)
def test_random_dictator_with_log_utility(kappa: float, gift: float) -> None:
    tables = tables_of("random_dictator", (90, 10, 90))
    u = (1 - kappa) * tables.pi[:, 0] + kappa * tables.alike
    assert float(tables.strategies[int(u.argmax())]) == pytest.approx(gift, abs=0.5)


def test_kantian_concern_alone_is_not_generosity() -> None:
    tables = tables_of("dictator")
    even = np.full(len(tables.strategies), 1 / len(tables.strategies))
    for kappa in (0.0, 0.5, 0.99):
        assert best_replies(FAMILIES["homo_moralis"].utility(tables, even, {"kappa": kappa})) == [0]


@given(
    st.sampled_from(sorted(GAMES)),
    st.integers(0, 10**6),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_switch_points_are_where_the_best_reply_changes(
    game: str, seed: int, alpha: float, beta: float
) -> None:
    rng = np.random.default_rng(seed)
    protocol, beliefs = draw_protocol(game, rng, held=False), draw_beliefs(game, rng)
    weights, theta = belief_weights(game, beliefs), {"alpha": alpha, "beta": beta}
    points = switch_points(protocol.tables, weights, theta)
    ends = [k for k, _ in points[1:]] + [1.0]
    for (start, best), end in zip(points, ends, strict=True):
        u = FAMILIES["alpha_beta_kappa"].utility(
            protocol.tables, weights, {**theta, "kappa": (start + end) / 2}
        )
        assert u[best] == pytest.approx(u.max(), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "part"),
    [
        ("spd", (1, 2), "four payoffs"),
        ("chess", (), "unknown game"),
        ("pd", (1, 2, 3, 4, 5), "parameters"),
        ("dictator", (100, 2.5), "whole number"),
        ("public_good", (1,), "players"),
        ("random_dictator", (10, 90), "poor <= rich"),
    ],
)
def test_wrong_games_are_refused(name: str, values: tuple[float, ...], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        tables_of(name, values)


def test_protocol_and_table_give_the_same() -> None:
    np.testing.assert_allclose(
        tables_of("tg", (80, 50, 30, 20)).pi, Protocol("tg", (80, 50, 30, 20)).tables.pi
    )


def test_parameters_of_acts_are_those_that_speak_of_an_earlier_act() -> None:
    found = {name: family.of_acts for name, family in FAMILIES.items() if family.of_acts}
    assert found == {"bruhin_fehr_schunk": ("gamma", "delta"), "charness_rabin": ("theta",)}
