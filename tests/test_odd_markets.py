"""Markets outside the textbook: no traceback, no number that means nothing.

Draws of an estimated kappa.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from console import assert_complains, calculator
from scipy.optimize import brentq
from test_market import universal

from econmoral.economics.firms import q_learners
from econmoral.economics.market import GROUPS, Market, NoEquilibrium, counterfactual, kappa_draws

ODD = {
    "costs apart": Market(cost=(1.0, 1.5)),
    "costs far apart": Market(cost=(1.0, 50.0)),
    "qualities far apart": Market(quality=(60.0, -40.0), mu=0.1),
    "outside good large": Market(outside=30.0),
    "outside good too large for any number": Market(outside=300.0),
    "no outside good to speak of": Market(outside=-1000.0),
    "hardly different": Market(mu=1e-4),
    "very different": Market(mu=1e3),
    "tiny currency": Market(currency=1e-9, scale=1e6),
    "three unequal firms": Market((3.0, 2.0, 0.0), (0.0, 1.0, 4.0), 1.0, 0.05),
}


@pytest.mark.parametrize("name", ODD)
def test_first_order_conditions_hold_everywhere(name: str) -> None:
    """Margin in mu times (1 - share) is one, with shares from exponents written out here."""
    m = ODD[name]
    for prices, together in ((m.nash(), False), (m.monopoly(), True)):
        v = (np.array(m.quality) - prices / m.currency) / m.mu
        top = max(v.max(), m.outside / m.mu)
        shares = np.exp(v - top) / (np.exp(v - top).sum() + np.exp(m.outside / m.mu - top))
        margin = (prices / m.currency - np.array(m.cost)) / m.mu
        rest = 1 - shares.sum() if together else 1 - shares
        # else the sum of shares cancels to nothing in this test's own arithmetic
        if np.min(rest) > 1e-6:
            np.testing.assert_allclose(margin * rest, 1, rtol=1e-6)


@pytest.mark.parametrize("name", ODD)
def test_no_number_without_a_meaning(name: str) -> None:
    m = ODD[name]
    low, high = m.profits(m.nash()), m.profits(m.monopoly())
    found = m.describe(m.nash())
    for i in range(m.n):
        delta, gain = m.critical_discount(i), found["profit_gain"][i]
        if high[i] > low[i] * (1 + 1e-8):
            assert 0 <= delta < 1
            assert gain == pytest.approx(0, abs=1e-9)
        elif high[i] <= low[i]:
            assert delta is None
            assert gain is None


def test_a_firm_that_loses_by_collusion_never_keeps_to_it() -> None:
    m = Market(cost=(1.0, 1.5))
    assert m.profits(m.monopoly())[1] < m.profits(m.nash())[1]
    assert m.critical_discount(1) is None
    # the other: pi(deviation) - pi(monopoly) over pi(deviation) - pi(Nash), the deviation by a
    # plain search
    high = m.monopoly()
    grid = np.linspace(1.0, 3.0, 200_001)
    deviation = m.profits(np.column_stack([grid, np.full_like(grid, high[1])]))[:, 0].max()
    collusive, punished = m.profits(high)[0], m.profits(m.nash())[0]
    assert m.critical_discount(0) == pytest.approx(
        (deviation - collusive) / (deviation - punished), abs=1e-6
    )


@pytest.mark.parametrize(
    ("options", "never"),
    [
        (("--kappa", "0", "0", "--cost", "1", "1.5"), [False, True]),
        (("--cost", "1", "50"), [True, True]),
        (("--outside", "30"), [True, True]),
        (("--quality", "9", "-9"), [True, True]),
        (("--cost", "1", "3"), [False, True]),
        (("--mu", "1e-5"), [False, False]),
        (("--currency", "1e-7"), [False, False]),
        (("--quality", "-1e-1", "-2"), [False, True]),
    ],
)
def test_the_command_says_never(options: tuple[str, ...], never: list[bool]) -> None:
    found = calculator("market", *options, "--json")
    assert found.returncode == 0, found.stderr
    discounts = json.loads(found.stdout)["critical_discount"]
    assert [d is None for d in discounts] == never
    assert all(d is None or 0 <= d < 1 for d in discounts)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (("--kappa", ".5"), ("--kappa", ".5", ".5")),
        (("--prices", "1.5"), ("--prices", "1.5", "1.5")),
        (("--cost", "1", "1", "1", "--kappa", ".2"), ("--kappa", ".2", ".2", ".2")),
        (("--prices", "1.5", "--quality", "2", "2", "2"), ("--prices", "1.5", "1.5", "1.5")),
    ],
)
def test_one_number_counts_for_all_firms(short: tuple[str, ...], long: tuple[str, ...]) -> None:
    one, each = (calculator("market", *options, "--json") for options in (short, long))
    assert one.returncode == 0, one.stderr
    assert one.stdout == each.stdout


def test_the_table_says_never() -> None:
    text = calculator("market", "--cost", "1", "1.5").stdout
    assert "firm 1 from discount factor 0.0404; firm 2 never" in text
    assert "1.45" not in text


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--mu", "1e-12"), "mu"),
        (("--quality", "1e300"), "mu"),
        (("--currency", "1e-200"), "currency"),
        (("--scale", "1e308"), "scale"),
        (("--kappa-estimate", ".4"), "--kappa-se"),
        (("--kappa-estimate", ".4", "--kappa-se", "-.1"), "positive"),
        (("--kappa-estimate", "9", "--kappa-se", ".1"), "almost nothing"),
        (("--kappa-estimate", ".4", "--kappa-se", ".1", "--kappa", "0", "0"), "either"),
        (("--kappa-estimate", ".4", "--kappa-se", ".1", "--draws", "3"), "100"),
        (
            ("--kappa-estimate", ".4", "--kappa-se", ".1", "--seed", "-1"),
            "--seed must be at least 0",
        ),
        (("--kappa", "0", "1", "--prices", "1"), "--kappa does nothing"),
        (("--cost", "1", "1", "1", "--prices", "1", "2"), "3 costs and 2 prices"),
        (("--draws", "200"), "--draws does nothing"),
        (("--seed", "0"), "--seed does nothing"),
        (("--prices", "1.5", "1.6", "--kappa", "0", "1"), "--kappa does nothing"),
        (("--prices", "1.5", "1.6", "--group", "firms"), "--group does nothing"),
    ],
)
def test_what_cannot_be_computed_gets_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(calculator("market", *options), part)


@pytest.mark.parametrize("seed", range(25))
def test_best_replies_of_moral_firms_against_a_plain_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 4))
    m = Market(
        tuple(rng.uniform(-1, 5, n)),
        tuple(rng.uniform(0, 5, n)),
        float(rng.uniform(-5, 5)),
        float(10 ** rng.uniform(-2, 1)),
    )
    kappa, group = float(rng.choice([0.0, 0.05, 0.3, 0.7, 0.95, 1.0])), GROUPS[seed % 2]
    prices = rng.uniform(0, 6, n)

    def utility(own: np.ndarray) -> np.ndarray:
        every = np.tile(prices, (len(own), 1))
        every[:, 0] = own
        return (1 - kappa) * m.profits(every)[:, 0] + kappa * universal(m, own, group)

    here = utility(np.array([m.best_reply(0, prices, kappa, group)]))[0]
    best = utility(np.linspace(-1, 12 + 4 * m.mu, 40_001)).max()
    assert best <= here + 1e-12 * abs(best)


def test_learners_need_something_to_gain() -> None:
    with pytest.raises(ValueError, match="no more than Nash"):
        q_learners(Market(outside=30.0), 1, 0)


# ---------------------------------------------------------------------------------- counterfactuals


def symmetric_price(kappa: float) -> float:
    """(p - 1) / mu [(1 - kappa)(1 - s) + kappa (1 - 2 s)] = 1 in the textbook duopoly,
    solved here.
    """

    def gap(p: float) -> float:
        e = np.exp((2 - p) / 0.25)
        s = e / (2 * e + 1)
        return (p - 1) / 0.25 * ((1 - kappa) * (1 - s) + kappa * (1 - 2 * s)) - 1

    return float(brentq(gap, 1.0, 3.0))


@pytest.mark.parametrize(("estimate", "se"), [(0.44, 0.04), (0.7, 0.1)])
def test_interval_of_an_estimated_kappa(estimate: float, se: float) -> None:
    """The price rises in kappa, so its interval is that
    of kappa carried through the first-order condition.
    """
    found = counterfactual(Market(), estimate, se, 200, 1)
    assert found.value["prices"][0] == pytest.approx(symmetric_price(estimate), abs=1e-8)
    low, high = np.percentile(kappa_draws(estimate, se, 200, 1)[0], (2.5, 97.5))
    assert found.low["prices"][0] == pytest.approx(symmetric_price(low), abs=1e-4)
    assert found.high["prices"][0] == pytest.approx(symmetric_price(high), abs=1e-4)
    assert (
        found.low["consumer_surplus"][0]
        < found.value["consumer_surplus"][0]
        < found.high["consumer_surplus"][0]
    )
    assert found.failed == 0


@pytest.mark.parametrize(("estimate", "se"), [(0.05, 0.1), (0.9, 0.2)])
def test_kappa_is_cut_to_where_it_can_be(estimate: float, se: float) -> None:
    drawn, cut = kappa_draws(estimate, se, 20_000, 0)
    plain = np.random.default_rng(1).normal(estimate, se, 200_000)
    inside = plain[(plain >= 0) & (plain <= 1)]
    assert cut == pytest.approx(1 - len(inside) / len(plain), abs=0.005)
    np.testing.assert_allclose(
        np.percentile(drawn, (2.5, 50, 97.5)), np.percentile(inside, (2.5, 50, 97.5)), atol=0.01
    )


def test_the_command_draws_kappa_and_says_how() -> None:
    options = ("market", "--kappa-estimate", ".02", "--kappa-se", ".1", "--draws", "120")
    text = calculator(*options).stdout
    assert "truncated to [0, 1]: 42 %" in text
    found = json.loads(calculator(*options, "--json").stdout)
    assert found["prices"][0]["low"] < found["prices"][0]["high"]
    assert found["probability_cut"] == pytest.approx(0.42, abs=0.01)


def test_a_market_without_equilibrium_is_said_to_have_none() -> None:
    with pytest.raises(NoEquilibrium, match="did not settle"):
        Market(mu=0.001).equilibrium((0.3, 0.6))
