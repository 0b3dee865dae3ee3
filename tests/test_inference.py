"""Jackknife, wild bootstrap and the rest against implementations written here from the formulas,
one cluster at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.optimize import minimize
from shell import allocation_choices
from test_separation import stacked

from econmoral.estimation.estimate import (
    fit,
    likelihood_ratio,
    mixture,
    profile_interval,
    restrict,
    weigh,
    wild_interval,
    wild_test,
    wild_weights,
)


def loss(b: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0) -> float:
    return float((w * np.logaddexp(0, -y * (x @ b))).sum())


def slope(b: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0) -> np.ndarray:
    return x.T @ (-w * y / (1 + np.exp(y * (x @ b))))


def logit_fit(x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0) -> np.ndarray:
    """Binary logit of y in {-1, 1} on x, by BFGS on scaled columns."""
    size = np.abs(x).max(0)
    n = float(np.sum(w * np.ones(len(y))))
    found = minimize(
        lambda b: loss(b, x / size, y, w) / n,
        np.zeros(x.shape[1]),
        jac=lambda b: slope(b, x / size, y, w) / n,
        method="BFGS",
        options={"gtol": 1e-10},
    )
    return found.x / size


def rows(
    frame: pd.DataFrame, families: str = "fehr_schmidt"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, subject): differences X minus Y of own payoff and of both kinds of inequality, by
    hand."""
    parts = []
    for o in "xy":
        m, n = frame[f"self_{o}"].to_numpy(), frame[f"other_{o}"].to_numpy()
        parts.append(np.column_stack([m, -np.maximum(n - m, 0), -np.maximum(m - n, 0)]))
    return parts[0] - parts[1], 2.0 * frame["choice_x"].to_numpy() - 1, frame["sid"].to_numpy()


def theta(b: np.ndarray) -> np.ndarray:
    return np.append(b[1:] / b[0], b[0])


@pytest.mark.parametrize(("subjects", "seed"), [(8, 1), (15, 2)])
def test_jackknife_leaves_out_one_subject_after_the_other(subjects: int, seed: int) -> None:
    frame = allocation_choices(subjects=subjects, per=40, seed=seed, spread=0.1)
    x, y, who = rows(frame)
    whole = theta(logit_fit(x, y))
    gaps = np.array([theta(logit_fit(x[who != s], y[who != s])) - whole for s in np.unique(who)])
    v = (subjects - 1) / subjects * gaps.T @ gaps
    found = fit(stacked(frame), errors="jackknife")
    np.testing.assert_allclose(list(found.se.values()), np.sqrt(np.diag(v)), rtol=2e-4)
    assert found.df == subjects - 1


@pytest.mark.parametrize(("subjects", "seed"), [(9, 3), (16, 4)])
@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_wild_bootstrap_is_the_loop_over_draws(subjects: int, seed: int, name: str) -> None:
    frame = allocation_choices(subjects=subjects, per=30, seed=seed, spread=0.1)
    x, y, who = rows(frame)
    value = 0.15
    k = 1 + ["alpha", "beta"].index(name)
    held = np.delete(x, k, 1)
    held[:, 0] += value * x[:, k]  # gamma_k = value lambda
    small = logit_fit(held, y)
    b = np.insert(small, k, value * small[0])
    a = np.zeros(3)
    a[0], a[k] = -value, 1.0
    labels = np.unique(who)
    scores = np.array([-slope(b, x[who == s], y[who == s]) for s in labels])
    h = 1e-6 * np.maximum(np.abs(b), 1e-3)
    curves = np.array(
        [
            [
                -(
                    slope(b + h[i] * e, x[who == s], y[who == s])
                    - slope(b - h[i] * e, x[who == s], y[who == s])
                )
                / (2 * h[i])
                for i, e in enumerate(np.eye(3))
            ]
            for s in labels
        ]
    )
    inverse = np.linalg.inv(-curves.sum(0))

    def statistic(w: np.ndarray) -> float:
        step = inverse @ sum(w[c] * scores[c] for c in range(subjects))
        spread = [a @ inverse @ (w[c] * scores[c] + curves[c] @ step) for c in range(subjects)]
        return float(a @ step / np.sqrt(np.sum(np.square(spread))))

    weights = wild_weights(subjects, 199, seed=7)
    found = wild_test(stacked(frame), name, value, weights)
    assert found.t == pytest.approx(statistic(np.ones(subjects)), rel=1e-3)
    np.testing.assert_allclose(found.draws, [statistic(w) for w in weights], rtol=1e-3, atol=1e-3)
    assert set(np.round(np.unique(weights**2), 6)) == ({1.0} if subjects >= 12 else {0.5, 1.0, 1.5})
    p = (1 + sum(abs(statistic(w)) >= abs(found.t) for w in weights)) / 200
    assert found.p == pytest.approx(p, abs=0.011)


def test_the_ends_of_the_wild_interval_are_where_the_test_rejects() -> None:
    data = stacked(allocation_choices(subjects=20, per=30, seed=5, spread=0.1))
    found = fit(data, errors="wild", replications=499, seed=3)
    low, high = found.interval("beta")
    weights = wild_weights(20, 499, 3)
    for end, inside, outside in ((low, 0.01, -0.01), (high, -0.01, 0.01)):
        assert wild_test(data, "beta", end + inside, weights).p > 0.05
        assert wild_test(data, "beta", end + outside, weights).p < 0.055
    assert found.p_value("beta", target=found.estimates["beta"]) > 0.99
    assert wild_interval(data, "lambda", found.b, found.se["lambda"], 0.95, 499, 3)[0] > 0
    assert found.se == fit(data).se


def test_bootstrap_agrees_with_clusters_drawn_by_hand() -> None:
    frame = allocation_choices(subjects=40, per=20, seed=6, spread=0.1)
    x, y, who = rows(frame)
    labels = np.unique(who)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(120):
        times = np.bincount(rng.integers(40, size=40), minlength=40)
        draws.append(theta(logit_fit(x, y, times[np.searchsorted(labels, who)].astype(float))))
    found = fit(stacked(frame), errors="bootstrap", replications=200, seed=1)
    # two standard deviations, of 120 and of 200 draws: each is known to 6 and 5 %
    np.testing.assert_allclose(list(found.se.values()), np.std(draws, axis=0), rtol=0.3)
    assert (
        found.se["beta"]
        == fit(stacked(frame), errors="bootstrap", replications=200, seed=1).se["beta"]
    )


def test_kinds_of_errors_that_do_not_go_together_are_refused() -> None:
    data = stacked(allocation_choices(subjects=12, per=20))
    with pytest.raises(ValueError, match="two-way"):
        fit(data, errors="wild", second=["a"] * 240)
    with pytest.raises(ValueError, match="hessian says nothing"):
        fit(weigh(data, np.arange(1.0, 241.0)), errors="hessian")
    with pytest.raises(ValueError, match="not available for types"):
        mixture(data, 2, errors="wild")


def test_weights_count_as_repeated_rows_and_their_unit_does_not_matter() -> None:
    frame = allocation_choices(subjects=30, per=20, seed=7)
    times = np.random.default_rng(0).integers(1, 4, len(frame)).astype(float)
    repeated = stacked(frame.loc[frame.index.repeat(times.astype(int))])
    weighted = fit(weigh(stacked(frame), times))
    for name, value in fit(repeated).estimates.items():
        assert weighted.estimates[name] == pytest.approx(value, rel=1e-8)
    # clustered errors differ only by the small-sample factor (N - 1) / (N - k)
    n, many, k = len(frame), int(times.sum()), 3
    factor = np.sqrt((n - 1) / (n - k) * (many - k) / (many - 1))
    assert weighted.se["beta"] == pytest.approx(fit(repeated).se["beta"] * factor, rel=1e-6)
    tenfold = fit(weigh(stacked(frame), 10 * times))
    assert tenfold.se == pytest.approx(weighted.se)
    assert tenfold.log_likelihood == pytest.approx(weighted.log_likelihood)


def test_two_way_errors_by_the_formula() -> None:
    frame = allocation_choices(subjects=30, per=20, seed=8, spread=0.1)
    day = (np.arange(len(frame)) % 35).astype(str)
    x, y, who = rows(frame)
    b = logit_fit(x, y)
    score = x * (y / (1 + np.exp(y * (x @ b))))[:, None]
    p = 1 / (1 + np.exp(-x @ b))
    inverse = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)

    def part(labels: np.ndarray) -> np.ndarray:
        sums = pd.DataFrame(score).groupby(labels).sum().to_numpy()
        j, (n, k) = len(sums), score.shape
        return sums.T @ sums * (n - 1) / (n - k) * j / (j - 1)

    both = np.array([f"{a}|{c}" for a, c in zip(who, day, strict=True)])
    v = inverse @ (part(who) + part(day) - part(both)) @ inverse
    gradient = np.array([-b[2] / b[0] ** 2, 0, 1 / b[0]])
    found = fit(stacked(frame), second=list(day))
    assert found.se["beta"] == pytest.approx(np.sqrt(gradient @ v @ gradient), rel=1e-4)
    assert found.df == 29


def test_errors_of_types_of_every_kind() -> None:
    frame = pd.concat(
        [
            allocation_choices(18, 25, (0.0, 0.0), 0.03, 1, prefix="a"),
            allocation_choices(12, 25, (0.4, 0.6), 0.03, 2, prefix="b"),
        ]
    )
    data = stacked(frame)
    kinds = {
        e: mixture(data, 2, starts=3, errors=e, replications=40)
        for e in ("clustered", "hessian", "bootstrap", "jackknife")
    }
    for kind, found in kinds.items():
        assert found.errors == kind
        np.testing.assert_allclose(found.shares, kinds["clustered"].shares)
        for t in (0, 1):
            ratio = found.se[t]["beta"] / kinds["clustered"].se[t]["beta"]
            assert 0.5 < ratio < 2  # of one size; 40 draws and 12 people
            assert (ratio == 1) == (kind == "clustered")
    posterior = kinds["clustered"].posterior
    assert (posterior.argmax(axis=1) == [0] * 18 + [1] * 12).mean() > 0.95
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_profile_interval_on_the_plain_formula() -> None:
    frame = allocation_choices(subjects=20, per=20, seed=9)
    x, y, _ = rows(frame)
    low, high = profile_interval(stacked(frame), "alpha")
    best = loss(logit_fit(x, y), x, y)
    for end in (low, high):
        held = np.column_stack([x[:, 0] + end * x[:, 1], x[:, 2]])
        # half of 3.841459
        assert loss(logit_fit(held, y), held, y) - best == pytest.approx(1.920729, abs=2e-3)


def test_a_weighted_likelihood_ratio_is_refused() -> None:
    data = weigh(stacked(allocation_choices(subjects=20, per=20, seed=9)), np.full(400, 2.0))
    for ask in (
        lambda: fit(data).interval("alpha", method="profile"),
        lambda: profile_interval(data, "alpha"),
        lambda: likelihood_ratio(data, {"alpha": 0.1}),
    ):
        with pytest.raises(ValueError, match="with weights a likelihood ratio says nothing"):
            ask()


def test_fixed_parameters_stay_where_they_are() -> None:
    frame = allocation_choices(subjects=20, per=20, seed=10)
    x, y, _ = rows(frame)
    found = fit(restrict(stacked(frame), {"alpha": 0.1}))
    held = np.column_stack([x[:, 0] + 0.1 * x[:, 1], x[:, 2]])
    b = logit_fit(held, y)
    assert found.estimates == {
        "beta": pytest.approx(b[1] / b[0], rel=1e-5),
        "lambda": pytest.approx(b[0], rel=1e-5),
    }
    assert found.fixed == {"alpha": 0.1}
    assert "alpha = 0.1" in found.summary()


def test_the_committed_coverage_is_the_one_that_is_told() -> None:
    """95 % intervals of few subjects: the table of the benchmarks is few_clusters.json, and from
    four subjects on they cover as they say.
    """
    folder = ROOT / "recipes" / "benchmarks"
    rows = json.loads((folder / "few_clusters.json").read_text(encoding="utf-8"))["results"]
    lines = (folder / "RESULTS.md").read_text(encoding="utf-8").splitlines()

    def cell(row: dict[str, Any]) -> str:
        if row["refused"] == row["samples"]:
            return "refused"
        refused = f" ({row['refused']} of {row['samples']} refused)" if row["refused"] else ""
        return f"{100 * row['alpha']:.1f}, {100 * row['beta']:.1f} %{refused}"

    for clusters in (2, 4, 6, 10, 20):
        several = [row for row in rows if row["clusters"] == clusters]
        assert [row["errors"] for row in several] == ["clustered", "jackknife", "wild"]
        assert f"| {clusters} | {' | '.join(map(cell, several))} |" in lines
    judged = [row for row in rows if row["refused"] < row["samples"]]
    assert len(judged) == 12
    assert all(0.92 <= row[name] <= 0.97 for row in judged for name in ("alpha", "beta"))
