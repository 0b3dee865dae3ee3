"""GARP, efficiency index, power and human reference against hand-worked cases and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.economics.audit import ccei, garp
from econmoral.economics.human import COLUMNS, reference
from econmoral.estimation.power import MODEL_STUDIES, contrast, size


def test_two_crossing_budgets_by_hand() -> None:
    prices = np.array([[1.0, 2.0], [2.0, 1.0]])
    choices = np.array([[0.0, 5.0], [5.0, 0.0]])  # each spends 10 where the other bundle costs 5
    assert not garp(prices, choices)
    assert ccei(prices, choices) == pytest.approx(0.5)
    assert garp(prices, choices, 0.49)
    assert not garp(prices, choices, 0.51)
    assert garp(prices, choices[::-1])
    assert ccei(prices, choices[::-1]) == 1


def test_index_is_the_easier_way_to_break_the_circle() -> None:
    # at 1 the bundle of 2 costs .9 of what was spent, at 2 the bundle of 1 costs .95: removing the
    # second needs less waste
    prices = np.array([[1.0, 1.0], [1.0, 3.0]])
    first = np.array([6.0, 4.0])
    second = np.array([9.0 - 4.6842105263 + 0.0, 4.6842105263])
    ratio = [(prices[0] @ second) / (prices[0] @ first), (prices[1] @ first) / (prices[1] @ second)]
    assert ccei(prices, np.array([first, second])) == pytest.approx(
        max(ratio) if max(ratio) < 1 else 1
    )


@given(st.integers(0, 10**6), st.integers(2, 25))
@settings(max_examples=60, deadline=None)
def test_a_utility_maximiser_is_consistent_and_the_index_separates(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    prices, a = rng.uniform(0.5, 2, (n, 2)), rng.uniform(0.2, 0.8)
    cobb_douglas = np.column_stack([a * 100 / prices[:, 0], (1 - a) * 100 / prices[:, 1]])
    assert garp(prices, cobb_douglas)
    assert ccei(prices, cobb_douglas) == 1
    share = rng.uniform(0, 1, n)
    random = np.column_stack([share * 100 / prices[:, 0], (1 - share) * 100 / prices[:, 1]])
    e = ccei(prices, random)
    assert garp(prices, random, e - 1e-6)
    if e < 1:
        assert not garp(prices, random, min(e + 1e-6, 1))


def test_malformed_budgets_are_refused() -> None:
    for prices, choices in (
        ([[1, 2]], [[1]]),
        ([[0, 1]], [[1, 1]]),
        ([[1, 1]], [[-1, 1]]),
        ([[1, 1]], [[0, 0]]),
        ([[float("nan"), 1]], [[1, 1]]),
    ):
        with pytest.raises(ValueError, match=r"prices|cost"):
            ccei(np.array(prices, float), np.array(choices, float))


def test_stated_sizes_reach_the_stated_power() -> None:
    rng = np.random.default_rng(0)
    arms = contrast(0.1, spread=0.25)
    sizes = {s.name: size(arms, s).units for s in MODEL_STUDIES}
    n = sizes["exact, paired items"]
    assert n == 52  # ((1.96 + .8416) / .1)^2 * .0625 = 49.06, and two more for t
    covariance = 0.0625 * np.array([[1, 0.5], [0.5, 1]])
    draws = rng.multivariate_normal([0.0, 0.1], covariance, (4000, n))
    difference = draws[..., 1] - draws[..., 0]
    z = difference.mean(1) / (difference.std(1, ddof=1) / np.sqrt(n))
    assert np.mean(np.abs(z) > 2.008) == pytest.approx(0.8, abs=0.03)
    assert sizes["sampled once, paired items"] > sizes["exact, unpaired items per arm"] > n


def test_every_human_number_has_a_source() -> None:
    table = reference()
    assert tuple(table.columns) == COLUMNS
    assert len(table) > 150
    for column in ("task", "statistic", "value", "unit", "source", "status"):
        assert table[column].notna().all(), column
    assert set(table["status"]) <= {"read", "tabulated", "secondary"}
    assert not table.duplicated(["task", "statistic"]).any()
    assert (table["unit"] != "share").sum() > 0
    shares = table[table["unit"] == "share"]["value"]
    assert shares.between(0, 1).all()
    assert len(reference("dictator, binary")) == 78
    with pytest.raises(ValueError, match="no human reference"):
        reference("chess")
