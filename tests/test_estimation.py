"""The estimator against truth, finite differences, another program, and data that cannot answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from econmoral.economics.choice import Decision, logit
from econmoral.economics.games import BATTERY, belief_weights, draw_beliefs
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import (
    NotIdentified,
    allocations,
    bootstrap,
    design,
    fit,
    individual_fits,
    likelihood_ratio,
    log_likelihood,
    mixture,
    out_of_sample,
    profile_interval,
    rationalising_bounds,
    restrict,
)

TRUTH = {"alpha": 0.1, "beta": 0.2, "kappa": 0.4}


def decisions(
    n: int,
    seed: int,
    precision: float = 0.1,
    sampled: bool = True,
    theta: dict[str, float] | None = None,
) -> list[Decision]:
    rng = np.random.default_rng(seed)
    result = []
    for i in range(n):
        protocol = BATTERY[i % 18]
        weights = belief_weights(protocol.game, draw_beliefs(protocol.game, rng))
        p = logit(
            FAMILIES["alpha_beta_kappa"].utility(
                protocol.tables, weights, TRUTH if theta is None else theta
            ),
            precision,
        )
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
    binary = replace(
        data,
        index=index,
        weight=np.column_stack([y, ~y]).astype(float),
        allowed=np.ones((500, 2), bool),
    )
    value, score, hessian = log_likelihood(other.params, binary)
    assert value.sum() == pytest.approx(other.llf, rel=1e-10)
    np.testing.assert_allclose(score.sum(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.inv(-hessian), other.cov_params(), rtol=1e-6)


def test_order_of_decisions_and_unit_of_payoff_do_not_matter() -> None:
    data = decisions(200, seed=4)
    found, reverse = fit(data), fit(data[::-1])
    scaled = fit(
        [
            replace(d, tables=replace(d.tables, own=3 * d.tables.own, other=3 * d.tables.other))
            for d in data
        ]
    )
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
        (
            [
                replace(d, cluster=str(i))
                for i, d in enumerate(decisions(7, seed=8, sampled=False)[6:] * 50)
            ],
            "vary too little",
        ),
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


def test_standard_errors_agree_with_the_bootstrap() -> None:
    data = design(decisions(1500, seed=12), "alpha_beta_kappa")
    found = fit(data)
    draws = bootstrap(data, 200, seed=0)
    for k, name in enumerate((*TRUTH, "lambda")):
        # 200 replications give a standard deviation to about 5 % (one standard error)
        assert np.nanstd(draws[:, k]) == pytest.approx(found.se[name], rel=0.15)


def test_three_kinds_of_errors_agree_when_the_model_is_true() -> None:
    data = design(decisions(1500, seed=13), "alpha_beta_kappa")
    clustered, sandwich, hessian = (
        fit(data, errors=e) for e in ("clustered", "sandwich", "hessian")
    )
    for name in TRUTH:
        # every decision its own cluster
        assert sandwich.se[name] == pytest.approx(clustered.se[name], rel=1e-9)
        assert hessian.se[name] == pytest.approx(clustered.se[name], rel=0.15)
    with pytest.raises(ValueError, match="unknown errors"):
        fit(data, errors="robust")


def test_clustered_errors_of_a_binary_logit_agree_with_statsmodels() -> None:
    rng = np.random.default_rng(14)
    own, other = rng.integers(1, 100, (2, 600, 2)).astype(float)
    subject = np.repeat(np.arange(60), 10)
    shift = rng.normal(0, 0.2, 60)[subject]
    u = own + (0.3 + shift)[:, None] * other
    chosen = (rng.random(600) > 1 / (1 + np.exp(-0.05 * (u[:, 0] - u[:, 1])))).astype(int)
    data = allocations(own, other, chosen, [str(s) for s in subject], "altruism")
    other_fit = sm.Logit(1 - chosen, data.index[:, 0] - data.index[:, 1]).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": subject}
    )
    found = fit(data)
    lam, gamma = other_fit.params
    assert found.estimates["altruism"] == pytest.approx(gamma / lam, rel=1e-6)
    gradient = np.array([-gamma / lam**2, 1 / lam])
    assert found.se["altruism"] == pytest.approx(
        np.sqrt(gradient @ other_fit.cov_params() @ gradient), rel=1e-5
    )
    # two-way with each decision its own second cluster adds nothing: V1 + V2 - V12 with V2 = V12
    two_way = fit(data, second=[str(i) for i in range(600)])
    assert two_way.se["altruism"] == pytest.approx(found.se["altruism"], rel=1e-9)
    assert fit(data, second=[str(i % 7) for i in range(600)]).se["altruism"] != pytest.approx(
        found.se["altruism"], rel=1e-6
    )


def test_likelihood_ratio_and_profile_agree_with_wald_in_large_samples() -> None:
    data = design(decisions(3000, seed=15), "alpha_beta_kappa")
    found = fit(data, errors="hessian")
    for target in (TRUTH, {"kappa": 0.35}):
        assert likelihood_ratio(data, target)[0] == pytest.approx(
            found.wald(target)[0], rel=0.1, abs=0.1
        )
    assert likelihood_ratio(data, {"kappa": 0.0})[1] < 1e-10
    low, high = profile_interval(data, "kappa")
    normal = found.interval("kappa")
    tenth = (normal[1] - normal[0]) / 20  # of the half-width: a ratio of normals is a little skewed
    assert (low, high) == (pytest.approx(normal[0], abs=tenth), pytest.approx(normal[1], abs=tenth))
    # at the ends the likelihood-ratio test is exactly at its critical value
    assert likelihood_ratio(data, {"kappa": low})[1] == pytest.approx(0.05, abs=1e-3)
    held = restrict(data, {"alpha": 0.1, "kappa": 0.4})
    assert held.parameters == ("beta",)
    with pytest.raises(ValueError, match="no parameter"):
        restrict(data, {"rho": 0.1})


def test_the_right_family_predicts_other_subjects_best() -> None:
    data = decisions(600, seed=16, theta={"alpha": 0.0, "beta": 0.0, "kappa": 0.6})
    data = [replace(d, cluster=str(i // 20)) for i, d in enumerate(data)]
    families = ("homo_economicus", "homo_moralis", "altruism", "fehr_schmidt")
    values = out_of_sample({f: design(data, f) for f in families}, folds=5, seed=0)
    totals = {f: v.sum() for f, v in values.items()}
    assert max(totals, key=lambda f: totals[f]) == "homo_moralis"
    assert all(v.shape == (30,) for v in values.values())


def test_individual_fits_say_who_cannot_be_estimated() -> None:
    lively = [replace(d, cluster="a") for d in decisions(200, seed=17)]
    fixed = [
        replace(d, cluster="b")
        for d in decisions(100, seed=18, precision=500.0, theta={"kappa": 0.4})
    ]
    found = individual_fits(design(lively + fixed, "homo_moralis"))
    assert abs(found["a"].estimates["lambda"] - 0.1) < 0.05
    assert isinstance(found["b"], NotIdentified)


def test_mixture_of_one_is_the_fit_and_two_types_are_told_apart() -> None:
    people = []
    for s in range(40):
        kappa = 0.8 if s < 28 else 0.0
        people += [
            replace(d, cluster=str(s))
            for d in decisions(30, seed=100 + s, theta={"alpha": 0.0, "beta": 0.0, "kappa": kappa})
        ]
    data = design(people, "homo_moralis")
    one, two = mixture(data, 1), mixture(data, 2, starts=4)
    assert one.log_likelihood == pytest.approx(fit(data).log_likelihood, abs=1e-6)
    np.testing.assert_allclose(two.shares, [0.7, 0.3], atol=0.02)
    for kind, se, kappa in zip(two.types, two.se, (0.8, 0.0), strict=True):
        assert abs(kind["kappa"] - kappa) < 3 * se["kappa"]
    assert two.agreeing >= 2
    assert two.bic < one.bic
    assert ((two.posterior.argmax(1) == 1) == (np.arange(40) >= 28)).mean() > 0.95
    with pytest.raises(ValueError, match="at least one type"):
        mixture(data, 0)


def test_bounds_of_a_deterministic_chooser_hold_the_truth() -> None:
    data = design(
        decisions(100, seed=19, precision=500.0, theta={"alpha": 0.0, "beta": 0.0, "kappa": 0.4}),
        "homo_moralis",
    )
    with pytest.raises(NotIdentified, match="kappa in") as caught:
        fit(data)
    low, high = caught.value.bounds["kappa"]
    assert low <= 0.4 <= high
    assert high - low < 0.2
    mixed = design(decisions(100, seed=19), "homo_moralis")
    assert rationalising_bounds(mixed) is None  # noisy choices are optimal for nobody
