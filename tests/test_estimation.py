"""The estimator against truth, finite differences, another program, and data that cannot answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from econmoral.choice import Decision, logit
from econmoral.estimation import NotIdentified, design, fit, log_likelihood
from econmoral.games import BATTERY, belief_weights, draw_beliefs
from econmoral.preferences import FAMILIES

TRUTH = {"alpha": 0.1, "beta": 0.2, "kappa": 0.4}


def decisions(n: int, seed: int, precision: float = 0.1, sampled: bool = True, theta: dict[str, float] | None = None) -> list[Decision]:
    rng = np.random.default_rng(seed)
    result = []
    for i in range(n):
        protocol = BATTERY[i % 18]
        weights = belief_weights(protocol.game, draw_beliefs(protocol.game, rng))
        p = logit(FAMILIES["alpha_beta_kappa"].utility(protocol.tables, weights, TRUTH if theta is None else theta), precision)
        choice = np.eye(len(p))[rng.choice(len(p), p=p)] if sampled else p
        result.append(Decision(protocol.tables, weights, choice, str(i)))
    return result


def test_exact_probabilities_give_back_the_truth() -> None:
    found = fit(decisions(90, seed=0, sampled=False))
    for name, value in {**TRUTH, "lambda": 0.1}.items():
        assert found.estimates[name] == pytest.approx(value, abs=1e-6)


def test_coverage_of_the_95_percent_interval() -> None:
    inside = dict.fromkeys((*TRUTH, "lambda"), 0)
    for seed in range(60):
        found = fit(decisions(400, seed))
        for name, value in {**TRUTH, "lambda": 0.1}.items():
            low, high = found.interval(name)
            inside[name] += low <= value <= high
    # 60 draws of a 95 % event: fewer than 51 has probability below 0.2 %
    assert all(count >= 51 for count in inside.values()), inside


def test_score_and_hessian_are_derivatives() -> None:
    data = design(decisions(30, seed=1), "alpha_beta_kappa")
    b, h = np.array([0.08, 0.01, -0.02, 0.03]), 1e-5
    _, score, hessian = log_likelihood(b, data)
    for k in range(4):
        step = h * np.eye(4)[k]
        up, down = log_likelihood(b + step, data), log_likelihood(b - step, data)
        np.testing.assert_allclose((up[0] - down[0]) / (2 * h), score[:, k], atol=1e-4, rtol=1e-5)
        np.testing.assert_allclose((up[1].sum(0) - down[1].sum(0)) / (2 * h), hessian[k], rtol=1e-5)


def test_binary_choice_agrees_with_statsmodels_logit() -> None:
    rng = np.random.default_rng(3)
    data = design(decisions(500, seed=3), "homo_moralis")
    pairs = np.array([rng.choice(4, 2, replace=False) for _ in range(500)])
    index = np.take_along_axis(data.index, pairs[:, :, None], axis=1)
    difference = index[:, 0] - index[:, 1]
    y = rng.random(500) < 1 / (1 + np.exp(-difference @ [0.1, 0.04]))
    other = sm.Logit(y, difference).fit(disp=0)
    binary = replace(data, index=index, weight=np.column_stack([y, ~y]).astype(float), allowed=np.ones((500, 2), bool))
    value, score, hessian = log_likelihood(other.params, binary)
    assert value.sum() == pytest.approx(other.llf, rel=1e-10)
    np.testing.assert_allclose(score.sum(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.inv(-hessian), other.cov_params(), rtol=1e-6)


def test_order_of_decisions_and_unit_of_payoff_do_not_matter() -> None:
    data = decisions(200, seed=4)
    found, reverse = fit(data), fit(data[::-1])
    scaled = fit([replace(d, tables=replace(d.tables, own=3 * d.tables.own, other=3 * d.tables.other)) for d in data])
    for name in TRUTH:
        assert reverse.estimates[name] == pytest.approx(found.estimates[name], abs=1e-6)
        assert scaled.estimates[name] == pytest.approx(found.estimates[name], abs=1e-6)
        assert scaled.se[name] == pytest.approx(found.se[name], rel=1e-4)
    assert scaled.estimates["lambda"] == pytest.approx(found.estimates["lambda"] / 3, rel=1e-5)


def test_repeating_every_decision_within_its_cluster_adds_no_precision() -> None:
    data = decisions(200, seed=5)
    once, thrice = fit(data), fit(data * 3)
    for name in TRUTH:
        # up to the small-sample factor q
        assert thrice.se[name] == pytest.approx(once.se[name], rel=0.02)
    independent = fit([replace(d, cluster=f"{d.cluster}-{i}") for i in range(3) for d in data])
    assert independent.se["kappa"] < 0.7 * once.se["kappa"]


def test_wald_of_the_truth_is_small_and_of_a_far_target_large() -> None:
    found = fit(decisions(600, seed=6))
    assert found.wald(TRUTH)[1] > 0.01
    assert found.wald({"kappa": 0.0})[1] < 1e-4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (decisions(100, seed=7, precision=500.0), "deterministic"),
        ([replace(d, cluster=str(i)) for i, d in enumerate(decisions(7, seed=8, sampled=False)[6:] * 50)], "vary too little"),
        (decisions(200, seed=9, precision=0.0), "hardly respond"),
        (decisions(3, seed=10, sampled=False), "too few|vary too little"),
        ([], "no decisions"),
    ],
    ids=("deterministic", "repeated", "coin", "few", "none"),
)
def test_data_that_cannot_answer_are_refused(data: list[Decision], reason: str) -> None:
    with pytest.raises(NotIdentified, match=reason):
        fit(data)


def test_wrong_choice_and_unknown_family_are_refused() -> None:
    d = decisions(1, seed=11)[0]
    with pytest.raises(ValueError, match="sum to 1"):
        fit([replace(d, choice=d.choice * 2)])
    with pytest.raises(ValueError, match="unknown family"):
        fit([d], "homo_ludens")
