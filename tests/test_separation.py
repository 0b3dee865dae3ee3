"""What choices cannot tell is said, with what diverges and what bounds remain; oracles by search
over a grid, and by hand."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.optimize import minimize
from scipy.stats import chi2
from shell import allocation_choices, json_of

from econmoral.economics.choice import Decision, logit
from econmoral.economics.games import Protocol, belief_weights
from econmoral.economics.preferences import FAMILIES, Family
from econmoral.estimation.estimate import (
    Design,
    NotIdentified,
    allocations,
    design,
    fit,
    individual_fits,
    mixture,
    restrict,
)
from econmoral.estimation.identification import rank_deficiency, separation
from econmoral.estimation.likelihood import (
    certified,
    gaps,
    level_free,
    maximise,
    probabilities,
    weigh,
)

EIGHT = """self_x,other_x,self_y,other_y,choice_x
1000,300,900,600,0
600,500,700,700,0
300,100,200,200,1
900,400,700,500,1
500,900,800,1000,0
200,100,100,100,1
600,900,400,400,1
300,1000,400,400,0
"""


def stacked(frame: pd.DataFrame, family: str = "fehr_schmidt", kind: object = 0.0) -> Design:
    own, other = (frame[[f"{w}_x", f"{w}_y"]].to_numpy(float) for w in ("self", "other"))
    who = frame["sid"] if "sid" in frame else pd.Series(range(len(frame))).astype(str)
    return allocations(own, other, 1 - frame["choice_x"].to_numpy(int), list(who), family, kind)


def deterministic(alpha: float, beta: float, n: int, seed: int) -> pd.DataFrame:
    """Choices that maximise a Fehr-Schmidt utility, computed here."""
    frame = allocation_choices(subjects=n, per=1, seed=seed)
    u = [
        frame[f"self_{o}"]
        - alpha * np.maximum(frame[f"other_{o}"] - frame[f"self_{o}"], 0)
        - beta * np.maximum(frame[f"self_{o}"] - frame[f"other_{o}"], 0)
        for o in "xy"
    ]
    frame["choice_x"] = (u[0] > u[1]).astype(int)
    return frame


SEPARATED = {
    "eight rows": pd.read_csv(io.StringIO(EIGHT)),
    "averse": deterministic(0.5, 0.25, 40, seed=1),
    "selfish": deterministic(0.0, 0.0, 60, seed=2),
    "spiteful": deterministic(-0.3, -0.1, 25, seed=3),
}


@pytest.mark.parametrize("name", SEPARATED)
def test_deterministic_choices_give_bounds_and_no_estimate(name: str) -> None:
    frame = SEPARATED[name]
    with pytest.raises(NotIdentified, match="deterministic") as caught:
        fit(stacked(frame))
    error = caught.value
    assert (error.kind, error.diverging["lambda"]) == ("separated", "+")
    # every pair on a grid that makes all choices best lies within the bounds, and the grid comes
    # close to their ends
    grid = np.linspace(-2, 2, 801)
    alpha, beta = np.meshgrid(grid, grid, indexing="ij")
    good = np.ones(alpha.shape, bool)
    for row in frame.itertuples():
        u = []
        for own, other in ((row.self_x, row.other_x), (row.self_y, row.other_y)):
            u.append(own - alpha * max(other - own, 0) - beta * max(own - other, 0))
        good &= (u[0] - u[1] >= -1e-6) if row.choice_x else (u[1] - u[0] >= -1e-6)
    assert good.any()
    for parameter, values in (("alpha", alpha[good]), ("beta", beta[good])):
        low, high = error.bounds[parameter]
        assert low - 1e-6 <= values.min() <= max(low, -2) + 0.02
        assert min(high, 2) - 0.02 <= values.max() <= high + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_one_wrong_choice_far_from_indifference_restores_the_estimate(seed: int) -> None:
    frame = deterministic(0.2, 0.3, 60, seed)
    with pytest.raises(NotIdentified):
        fit(stacked(frame))
    flips = np.random.default_rng(seed).choice(60, 12, replace=False)
    frame.loc[flips, "choice_x"] = 1 - frame.loc[flips, "choice_x"]
    fit(stacked(frame), errors="hessian")


@pytest.mark.parametrize(("act", "sign"), [(1, "+"), (0, "-")])
@pytest.mark.parametrize("seed", [5, 6])
def test_the_one_parameter_that_diverges_is_named_with_a_one_sided_bound(
    act: int, sign: str, seed: int
) -> None:
    frame = allocation_choices(subjects=30, per=20, seed=seed)
    kind = (np.arange(len(frame)) % 10 == 0).astype(float)
    gains = [frame[f"other_{o}"] - frame[f"self_{o}"] for o in "xy"]  # what gamma weighs
    gives = (gains[0] > gains[1]).astype(int)
    frame.loc[kind == 1, "choice_x"] = gives[kind == 1] if act else 1 - gives[kind == 1]
    data = restrict(stacked(frame, "bruhin_fehr_schunk", kind), {"delta": 0.0})
    with pytest.raises(NotIdentified, match=r"gamma (grows|falls) without bound") as caught:
        fit(data)
    error = caught.value
    assert error.diverging == {"gamma": sign}
    (low, high) = error.bounds["gamma"]
    assert (np.isinf(high), np.isfinite(low)) == ((True, True) if act else (False, False))
    # at the bound the profile likelihood has fallen by half the 90 % quantile; the search is
    # scipy's, on the plain formula
    end = low if act else high
    d = data.index[:, 0] - data.index[:, 1]
    y = np.where(data.weight[:, 0] > 0, 1.0, -1.0)
    unit = np.abs(d).max(0)

    def loss(b: np.ndarray, x: np.ndarray) -> float:
        return float(np.logaddexp(0, -y * (x @ b)).sum())

    free = minimize(
        loss, np.zeros(4), args=(d / unit,), method="BFGS", options={"gtol": 1e-7, "maxiter": 2000}
    ).fun
    x = np.column_stack([d[:, 0] + end * d[:, 3], d[:, 1], d[:, 2]])
    held = minimize(
        loss, np.zeros(3), args=(x / np.abs(x).max(0),), method="BFGS", options={"gtol": 1e-8}
    ).fun
    assert held - free == pytest.approx(chi2.ppf(0.9, 1) / 2, abs=0.01)
    for times, told in ((np.full(600, 3.0), True), (1.0 + np.arange(600) % 2, False)):
        with pytest.raises(NotIdentified) as caught:
            fit(weigh(data, times))  # decisions that weigh unequally have no likelihood ratio
        assert caught.value.bounds == (error.bounds if told else None)
    fit(restrict(data, {"gamma": 0.0}))  # without it there is an estimate


def test_linear_programming_agrees_with_plane_geometry() -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        z = rng.integers(-3, 4, (int(rng.integers(2, 7)), 2)).astype(float)
        z = z[np.abs(z).any(1)]  # a row of zeros orders nothing
        if len(z) == 0 or rank_deficiency(z) is not None:
            continue
        # integer rows: the edges of the separating cone are normals of rows, and between two edges
        # lies its inside
        normals = np.concatenate(
            [np.column_stack([-z[:, 1], z[:, 0]]), np.column_stack([z[:, 1], -z[:, 0]])]
        )
        exact = z @ normals.T
        edges = normals[((exact >= 0).all(0)) & (exact > 0).any(0)]
        truth = len(edges) > 0
        strict = any((z @ (a + b) > 0).all() for a in edges for b in edges)
        found = separation(z, np.zeros((0, 2)))
        assert (found is not None) == truth, z
        outcomes.add(truth)
        if found is not None:
            assert found.complete == strict
    assert outcomes == {True, False}


def test_no_certificate_is_given_where_there_is_a_separation() -> None:
    rng = np.random.default_rng(1)
    counts = {True: 0, False: 0}
    for _ in range(200):
        n = int(rng.integers(4, 10))
        own, other = rng.integers(0, 6, (2, n, 2)).astype(float)
        data = allocations(
            own, other, rng.integers(0, 2, n), [str(i) for i in range(n)], "altruism"
        )
        if (
            rank_deficiency(data.index.reshape(-1, 2)) is not None
            or (np.abs(data.index).max((0, 1)) == 0).any()
        ):
            continue
        apart = separation(*gaps(data)) is not None
        sure = certified(data, maximise(data))
        assert not (sure and apart)
        counts[apart] += 1
        counts["sure"] = counts.get("sure", 0) + (sure and not apart)
    assert counts[True] > 20
    assert counts["sure"] > 0.9 * counts[False] > 5


def test_exact_probabilities_separate_only_where_one_is_zero() -> None:
    own, other = (
        np.array([[5.0, 3.0], [4.0, 6.0], [2.0, 1.0]]),
        np.array([[1.0, 4.0], [2.0, 1.0], [3.0, 0.0]]),
    )
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    assert separation(*gaps(allocations(own, other, p, list("abc"), "altruism"))) is None
    sure = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert separation(*gaps(allocations(own, other, sure, list("abc"), "altruism"))) is not None


@pytest.mark.parametrize("seed", [1, 2])
def test_the_three_reasons_are_told_apart(seed: int) -> None:
    frame = allocation_choices(seed=seed)
    with pytest.raises(NotIdentified, match="other way round") as caught:
        fit(stacked(frame.assign(choice_x=1 - frame["choice_x"])))
    assert caught.value.kind == "reversed"
    with pytest.raises(NotIdentified, match="other way round"):  # said before any is left out
        fit(stacked(frame.assign(choice_x=1 - frame["choice_x"])), errors="jackknife")
    frame_d = deterministic(0.1, 0.2, 40, seed)
    with pytest.raises(NotIdentified, match="other way round"):
        fit(stacked(frame_d.assign(choice_x=1 - frame_d["choice_x"]), "altruism"))
    coin = np.random.default_rng(seed).integers(0, 2, len(frame))
    with pytest.raises(NotIdentified, match="hardly respond") as caught:
        fit(stacked(frame.assign(choice_x=coin)))
    assert caught.value.kind == "unresponsive"
    with pytest.raises(NotIdentified, match="alpha cannot be identified") as caught:
        # never behind
        fit(stacked(frame.assign(other_x=frame["self_x"] * 0, other_y=frame["self_y"] * 0)))
    assert caught.value.kind == "collinear"
    # always behind, fixed pie
    rich = frame.assign(other_x=3000 - frame["self_x"], other_y=3000 - frame["self_y"])
    with pytest.raises(NotIdentified, match="beta cannot be identified"):
        fit(stacked(rich))
    with pytest.raises(NotIdentified, match="altruism from lambda"):
        fit(stacked(rich, "altruism"))


@pytest.mark.parametrize("shift", [1e8, -3e6, 0.1])
@pytest.mark.parametrize("family", ["fehr_schmidt", "altruism", "maximin", "utilitarian"])
def test_the_level_of_payoffs_does_not_matter(shift: float, family: str) -> None:
    frame = allocation_choices(seed=3)
    moved = frame.copy()
    moved[["self_x", "self_y", "other_x", "other_y"]] += shift
    here, there = fit(stacked(frame, family)), fit(stacked(moved, family))
    for name, value in here.estimates.items():
        assert there.estimates[name] == pytest.approx(value, rel=1e-9)
        assert there.se[name] == pytest.approx(here.se[name], rel=1e-9)


@pytest.mark.parametrize("shift", [1e8, -4e11])
@pytest.mark.parametrize("family", ["alpha_beta_kappa", "homo_moralis", "altruism"])
def test_the_level_of_payoffs_does_not_matter_in_games(shift: float, family: str) -> None:
    rng = np.random.default_rng(1)
    rows: dict[float, list[Decision]] = {0.0: [], shift: []}
    for i in range(60):
        pay = sorted(rng.choice(np.arange(10, 100), 4, replace=False), reverse=True)
        beliefs = belief_weights("spd", rng.random(3))
        p = logit(Protocol("spd", tuple(map(float, pay))).tables.pi @ beliefs, 0.05)
        chosen = 0.9 * p + 0.1 * rng.dirichlet(np.ones(len(p)))
        for by, decisions in rows.items():
            tables = Protocol("spd", tuple(float(x) + by for x in pay)).tables
            decisions.append(Decision(tables, beliefs, chosen, str(i)))
    here, there = (fit(design(decisions, family)) for decisions in rows.values())
    for name, value in here.estimates.items():
        assert there.estimates[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
        assert there.se[name] == pytest.approx(here.se[name], rel=1e-9)


def test_only_families_without_a_level_are_moved() -> None:
    assert all(level_free(family) for family in FAMILIES.values())
    curved = Family(
        "curved", ("log",), lambda m, n, q, v: [np.log(n)], "a family that somebody may add"
    )
    assert not level_free(curved)


def test_the_order_of_rows_and_the_names_of_options_do_not_matter() -> None:
    frame = allocation_choices(seed=4)
    names = {"self_x": "self_y", "self_y": "self_x", "other_x": "other_y", "other_y": "other_x"}
    swapped = frame.rename(columns=names).assign(choice_x=1 - frame["choice_x"])
    here = fit(stacked(frame))
    for other in (fit(stacked(frame.sample(frac=1, random_state=0))), fit(stacked(swapped))):
        for name, value in here.estimates.items():
            assert other.estimates[name] == pytest.approx(value, rel=1e-9)
            assert other.se[name] == pytest.approx(here.se[name], rel=1e-9)


def people(*groups: tuple[int, tuple[float, float], float], seed: int = 0) -> Design:
    parts = [
        allocation_choices(
            subjects=n, per=30, theta=theta, precision=precision, seed=seed + i, prefix=f"g{i}-"
        )
        for i, (n, theta, precision) in enumerate(groups)
    ]
    return stacked(pd.concat(parts))


@pytest.mark.parametrize(
    ("groups", "seed"),
    [
        (((30, (0.1, 0.3), 0.015), (20, (0.5, 0.6), 0.015), (8, (0.0, 0.0), 50.0)), 0),
        (((25, (-0.2, 0.1), 0.01), (20, (0.4, 0.6), 0.01), (10, (0.2, 0.4), 80.0)), 10),
    ],
)
def test_a_type_that_is_not_identified_is_refused_by_name(groups: tuple, seed: int) -> None:
    with pytest.raises(
        NotIdentified, match=r"type 3 of 3 .* not identified.*lambda grows"
    ) as caught:
        mixture(people(*groups, seed=seed), 3, starts=6)
    low, high = caught.value.bounds["beta"]
    # weight on the other is beta of Fehr and Schmidt where ahead
    assert low - 1e-6 <= groups[2][1][1] <= high + 1e-6


def test_equal_and_empty_types_are_refused() -> None:
    one = allocation_choices(subjects=1, per=80, seed=5)
    clones = pd.concat([one.assign(sid=f"copy {k}") for k in range(30)])
    with pytest.raises(NotIdentified, match=r"equal|empty") as caught:
        mixture(stacked(clones), 2, starts=3)
    assert caught.value.kind == "type"
    with pytest.raises(ValueError, match="its own cluster"):
        mixture(stacked(deterministic(0.1, 0.2, 40, 1)), 2)
    with pytest.raises(NotIdentified, match="too few for 2 types"):
        mixture(stacked(allocation_choices(subjects=7, per=40)), 2)


def test_one_type_split_in_two_is_said_to_be_one() -> None:
    data = stacked(allocation_choices(seed=5))
    found = mixture(data, 2, starts=4)
    assert found.nec > 1
    assert any("NEC" in note for note in found.notes)


def test_individuals_are_guarded_like_all() -> None:
    frame = pd.concat(
        [
            allocation_choices(subjects=2, per=60, seed=6, prefix="noisy"),
            deterministic(0.1, 0.2, 40, 7).assign(sid="exact"),
        ]
    )
    found = individual_fits(stacked(frame))
    assert isinstance(found["exact"], NotIdentified)
    assert found["exact"].kind == "separated"
    assert found["exact"].bounds
    assert all(
        not isinstance(f, NotIdentified) for name, f in found.items() if name.startswith("noisy")
    )


def test_too_few_clusters_are_refused_and_few_are_said() -> None:
    for subjects in (2, 3):
        with pytest.raises(NotIdentified, match="more clusters than parameters"):
            fit(stacked(allocation_choices(subjects=subjects, per=100)))
    few = fit(stacked(allocation_choices(subjects=6, per=100)))
    assert few.df == 5
    assert any("only 6 clusters" in note for note in few.notes)
    low, high = few.interval("beta")
    # t(5), from a printed table
    assert (high - low) / 2 == pytest.approx(2.570582 * few.se["beta"], rel=1e-6)
    assert not fit(stacked(allocation_choices(subjects=30, per=30))).notes


def test_a_sharp_chooser_whose_lambda_is_uncertain_is_identified() -> None:
    """Qwen tuned to homo moralis .5 decides as its target throughout; lambda hangs on a few
    decisions that are a little uncertain, so that lambda / SE is small.
    """
    path = ROOT / "results" / "real" / "qwen2.5-coder-0.5b-seed-5" / "games.jsonl"
    words = ("--set", "wordings", "--mode", "reasoned", "--arm", "moralis")
    found = json_of("fit", path, *words, "--family", "homo_moralis")
    kappa, precision = found["estimates"]["kappa"], found["estimates"]["lambda"]
    assert precision["value"] < 1.7 * precision["se"]
    assert abs(kappa["value"] - 0.5) < 0.15
    assert any("score test" in note for note in found["warnings"])


@pytest.mark.parametrize(("subjects", "errors"), [(24, "clustered"), (1, "sandwich")])
def test_the_score_test_rescues_nobody_who_does_not_respond(subjects: int, errors: str) -> None:
    """Of choosers whose lambda is 0, sharp in what they do respond to, no more pass than the level
    of a one-sided test allows; also where one subject has made every choice.
    """
    rng, passed, drawn = np.random.default_rng(4), 0, 150
    for _ in range(drawn):
        index = np.zeros((30, 2, 2))
        index[:, 1] = rng.normal(size=(30, 2)) * 10
        second = rng.random(30) < 1 / (1 + np.exp(-0.5 * index[:, 1, 1]))
        data = Design(
            "homo_moralis",
            ("kappa",),
            index,
            np.stack([~second, second], 1).astype(float),
            np.ones((30, 2), bool),
            np.arange(30) % subjects,
            tuple(map(str, range(subjects))),
        )
        try:
            passed += "lambda" in fit(data, errors=errors).estimates
        except NotIdentified:
            continue
    assert passed <= 0.1 * drawn


def test_a_sharp_type_is_not_said_to_hardly_respond() -> None:
    # lambda of the six hangs on a few uncertain decisions, so that lambda / SE says nothing
    found = mixture(people((25, (0.1, 0.3), 0.015), (6, (0.2, 0.5), 0.2)), 2, starts=3)
    assert found.types[1]["lambda"] < 1.96 * found.se[1]["lambda"]
    assert [n for n in found.notes if n.startswith("type 2 of 2: choices are nearly determ")]
    # of Fehr and Schmidt: a positive weight on the other where behind is a negative alpha
    for name, value in (("alpha", -0.2), ("beta", 0.5)):
        assert abs(found.types[1][name] - value) < 2 * found.se[1][name] < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_a_type_of_coins_still_hardly_responds(seed: int) -> None:
    coins = people((25, (0.1, 0.3), 0.05), (20, (0.0, 0.0), 0.0), seed=seed)
    with pytest.raises(NotIdentified, match=r"hardly responding|coded the other way"):
        mixture(coins, 2, starts=3)


def test_a_weight_of_types_counts_people() -> None:
    groups = (25, (0.1, 0.3), 0.02), (20, (0.5, 0.6), 0.02)
    parts = [
        allocation_choices(
            subjects=n, per=30, theta=theta, precision=precision, seed=i, prefix=f"g{i}-"
        )
        for i, (n, theta, precision) in enumerate(groups)
    ]
    thrice = [parts[0].assign(sid=parts[0].sid + f" copy {k}") for k in range(3)]
    copied = mixture(stacked(pd.concat([*thrice, parts[1]])), 2, starts=3, errors="hessian")
    one = stacked(pd.concat(parts))
    weights = np.repeat([3.0, 1.0], [len(p) for p in parts])
    found = mixture(weigh(one, weights), 2, starts=3)
    people_of = len(one.names) / (3 * 25 + 20)
    assert found.shares == pytest.approx(copied.shares, abs=1e-6)
    for a, b in zip(found.types, copied.types, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert found.posterior[0] == pytest.approx(copied.posterior[0], abs=1e-6)
    assert found.log_likelihood == pytest.approx(people_of * copied.log_likelihood, rel=1e-6)
    assert found.entropy == pytest.approx(people_of * copied.entropy, rel=1e-4)
    alike = mixture(weigh(one, np.full(len(weights), 2.0)), 2, starts=3)
    plain = mixture(one, 2, starts=3)
    for a, b in zip((*alike.types, *alike.se), (*plain.types, *plain.se), strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    varied = weigh(one, np.arange(1.0, len(weights) + 1))
    with pytest.raises(ValueError, match="one weight a person"):
        mixture(varied, 2)
    # of one type every choice may have its own
    assert mixture(varied, 1).types[0] == pytest.approx(fit(varied).estimates, rel=1e-4)


def test_an_exact_chooser_has_no_error_to_test_with() -> None:
    data = stacked(allocation_choices(subjects=20, per=30))
    own = replace(data, weight=np.abs(probabilities(np.array([0.02, 0.006, -0.004]), data)))
    found = fit(own)
    assert any("errors, t and p are rounding" in note for note in found.notes)
    assert not any("rounding" in note for note in fit(data).notes)
