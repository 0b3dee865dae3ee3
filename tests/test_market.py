"""Prices against published and hand-derived values,
first-order conditions and a search by brute force.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import assert_complains
from console import here
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.economics.market import Market, NoEquilibrium

DUOPOLY = Market()


@pytest.mark.parametrize(
    ("n", "nash", "share", "profit", "monopoly", "collusive"),
    [
        (2, 1.472927, 0.471377, 0.222927, 1.924981, 0.337490),
        (3, 1.370163, 0.324621, 0.120163, 2.0, 0.25),
        (1, 1.801985, 0.688273, 0.551985, 1.801985, 0.551985),
    ],
)
def test_nash_and_monopoly(
    n: int, nash: float, share: float, profit: float, monopoly: float, collusive: float
) -> None:
    market = Market((2.0,) * n, (1.0,) * n)
    low, high = market.nash(), market.monopoly()
    np.testing.assert_allclose(low, nash, atol=2e-6)
    np.testing.assert_allclose(market.shares(low), share, atol=2e-6)
    np.testing.assert_allclose(market.profits(low), profit, atol=2e-6)
    np.testing.assert_allclose(high, monopoly, atol=2e-6)
    np.testing.assert_allclose(market.profits(high), collusive, atol=2e-6)


@pytest.mark.parametrize(
    ("kappa", "price"),
    [
        (0.0, 1.472927),
        (0.1, 1.513676),
        (0.25, 1.582948),
        (0.5, 1.710572),
        (0.75, 1.829306),
        (1.0, 1.924981),
    ],
)
def test_moral_firms_collude(kappa: float, price: float) -> None:
    for start in (1.0, 2.5):
        np.testing.assert_allclose(
            DUOPOLY.equilibrium((kappa, kappa), start=np.array([start, start])), price, atol=2e-6
        )


def test_the_selfish_firm_gains_from_a_moral_rival() -> None:
    prices = DUOPOLY.equilibrium((0.0, 0.5))
    np.testing.assert_allclose(prices, [1.56829, 1.69284], atol=1e-5)
    np.testing.assert_allclose(DUOPOLY.profits(prices), [0.31829, 0.23578], atol=1e-5)


def test_replies_of_a_moral_firm_are_not_monotone() -> None:
    replies = [DUOPOLY.best_reply(0, np.array([0.0, rival]), 0.5) for rival in (1.2, 1.6, 2.2)]
    np.testing.assert_allclose(replies, [1.8126, 1.6950, 1.8026], atol=1e-4)


def test_deviation_critical_discount_and_surplus() -> None:
    high = DUOPOLY.monopoly()
    deviation = DUOPOLY.best_reply(0, high)
    assert deviation == pytest.approx(1.661695, abs=1e-6)
    assert DUOPOLY.profits(np.array([deviation, high[1]]))[0] == pytest.approx(0.411695, abs=1e-6)
    assert DUOPOLY.critical_discount() == pytest.approx(0.3931, abs=1e-4)
    surplus = [float(DUOPOLY.consumer_surplus(p)) for p in (np.ones(2), DUOPOLY.nash(), high)]
    np.testing.assert_allclose(surplus, [1.17557, 0.71510, 0.32708], atol=1e-5)
    assert 100 * DUOPOLY.shares(np.array([1.5, 1.5]))[0] == pytest.approx(46.83105, abs=1e-5)


def test_price_index_and_profit_gain_differ() -> None:
    found = DUOPOLY.describe(np.array([1.7, 1.7]))
    assert found["price_index"][0] == pytest.approx(0.50, abs=0.005)
    assert found["profit_gain"][0] == pytest.approx(0.71, abs=0.005)
    assert Market((2.0,), (1.0,)).describe(np.array([1.8]))["price_index"] == [None]


def test_consumers_behind_the_veil_bring_prices_to_cost() -> None:
    np.testing.assert_allclose(
        DUOPOLY.equilibrium((1.0, 1.0), "firms-and-consumers"), 1.0, atol=1e-5
    )
    prices = [DUOPOLY.equilibrium((k, k), "firms-and-consumers")[0] for k in (0.0, 0.3, 0.6)]
    assert prices[0] > prices[1] > prices[2] > 1


def test_currency_and_size_only_rescale() -> None:
    other = Market(scale=100, currency=3.2)
    np.testing.assert_allclose(other.nash(), 3.2 * DUOPOLY.nash(), rtol=1e-7)
    np.testing.assert_allclose(
        other.profits(other.nash()), 320 * DUOPOLY.profits(DUOPOLY.nash()), rtol=1e-6
    )
    kappa = (0.2, 0.7)
    np.testing.assert_allclose(
        other.equilibrium(kappa), 3.2 * DUOPOLY.equilibrium(kappa), rtol=1e-6
    )


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1.5, 2.5), st.floats(0.6, 1.2)), min_size=2, max_size=4),
    st.floats(0.15, 0.5),
    st.floats(-0.5, 0.5),
)
def test_unequal_firms_satisfy_the_first_order_conditions(
    firms: list[tuple[float, float]], mu: float, outside: float
) -> None:
    market = Market(tuple(a for a, _ in firms), tuple(c for _, c in firms), outside, mu)
    low, high = market.nash(), market.monopoly()
    np.testing.assert_allclose(low - market.unit_cost, mu / (1 - market.shares(low)), rtol=1e-5)
    np.testing.assert_allclose(
        high - market.unit_cost, mu / (1 - market.shares(high).sum()), rtol=1e-6
    )
    rng = np.random.default_rng(0)
    best = market.profits(high).sum()
    assert all(
        market.profits(high * rng.uniform(0.9, 1.1, market.n)).sum() <= best + 1e-12
        for _ in range(50)
    )


def universal(market: Market, price: np.ndarray, group: str) -> np.ndarray:
    """V at prices (...,): profit of an average firm if all charged that price, plus consumer
    surplus per firm in the larger group.
    """
    same = np.asarray(price, float)[..., None] * np.ones(market.n)
    value = market.profits(same).mean(-1)
    return value if group == "firms" else value + market.consumer_surplus(same) / market.n


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=3),
    st.sampled_from(["firms", "firms-and-consumers"]),
)
def test_nobody_gains_by_leaving_an_equilibrium(kappa: list[float], group: str) -> None:
    market = Market((2.0,) * len(kappa), (1.0,) * len(kappa))
    try:
        prices = market.equilibrium(tuple(kappa), group)
    except NoEquilibrium:
        return
    for i, k in enumerate(kappa):
        every = np.tile(prices, (4001, 1))
        every[:, i] = np.linspace(0.5, 4.5, 4001)
        moral = universal(market, every[:, i], group)
        utility = (1 - k) * market.profits(every)[:, i] + k * moral
        here = (1 - k) * market.profits(prices)[i] + k * universal(market, prices[i], group)
        assert utility.max() <= here + 1e-9


def test_calculator_prints_json_and_a_table() -> None:
    result = here("-m", "econmoral", "market", "--kappa", "0", ".5", "--json")
    found = json.loads(result.stdout)
    np.testing.assert_allclose(found["prices"], [1.56829, 1.69284], atol=1e-5)
    assert set(found) >= {
        "prices",
        "shares",
        "profits",
        "consumer_surplus",
        "price_index",
        "profit_gain",
    }
    text = here("-m", "econmoral", "market", "--kappa", "0", "0", "0").stdout
    assert "1.37016" in text
    assert json.loads(
        here(
            "-m", "econmoral", "market", "--prices", "1.5", "1.5", "--scale", "100", "--json"
        ).stdout
    )["shares"][0] == pytest.approx(0.4683105, abs=1e-7)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--kappa", "2", "0"), "[0, 1]"),
        (("--mu", "0"), "mu"),
        (("--kappa", "0", "0", "--cost", "1", "1", "1"), "costs"),
        (("--group", "everybody"), "everybody"),
        (("--prices", "nan", "1"), "finite"),
        (("--quality", "inf"), "finite"),
    ],
)
def test_bad_markets_get_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(here("-m", "econmoral", "market", *options), part)
