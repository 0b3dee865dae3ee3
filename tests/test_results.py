"""A fit as an object, and tables of fits: by hand, by derivative, and as the format's own readers
see them."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f, t
from shell import allocation_choices
from test_inference import logit_fit, rows
from test_separation import EIGHT, stacked

from econmoral.economics.choice import switch_points
from econmoral.economics.games import BATTERY, GAMES, Protocol, belief_weights
from econmoral.estimation.estimate import (
    NotIdentified,
    difference,
    etable,
    fit,
    mixture,
    ratio,
    restrict,
    weigh,
)

FRAME = allocation_choices(subjects=40, per=30, seed=1, spread=0.1)
FOUND = fit(stacked(FRAME))


def test_summary_figures_by_hand() -> None:
    x, y, _ = rows(FRAME)
    value = -np.logaddexp(0, -y * (x @ logit_fit(x, y))).sum()
    assert FOUND.log_likelihood == pytest.approx(value, rel=1e-8)
    assert FOUND.null_log_likelihood == pytest.approx(-1200 * np.log(2))
    assert FOUND.pseudo_r2 == pytest.approx(1 - value / (-1200 * np.log(2)))
    assert FOUND.aic == pytest.approx(-2 * value + 6)
    assert FOUND.bic == pytest.approx(-2 * value + 3 * np.log(1200))
    text = FOUND.summary()
    for part in (
        "1200 decisions",
        "40 clusters",
        "clustered",
        "t(39)",
        f"{FOUND.log_likelihood:.4f}",
        "beta",
        "AIC",
        "pseudo-R2",
    ):
        assert part in text


def test_frame_holds_t_intervals_and_p_values() -> None:
    frame = FOUND.to_frame(level=0.9)
    for name, row in frame.iterrows():
        se = FOUND.se[str(name)]
        assert row["p"] == pytest.approx(2 * t.sf(abs(row["estimate"] / se), 39))
        assert row["high"] - row["estimate"] == pytest.approx(t.ppf(0.95, 39) * se)
    statistic, p = FOUND.wald({"alpha": 0.1, "beta": 0.2})
    v = FOUND.covariance[:2, :2]
    gap = np.array([FOUND.estimates["alpha"] - 0.1, FOUND.estimates["beta"] - 0.2])
    assert statistic == pytest.approx(gap @ np.linalg.inv(v) @ gap)
    assert p == pytest.approx(f.sf(statistic / 2, 2, 39))
    assert FOUND.p_value("beta", 0.2) == pytest.approx(FOUND.wald({"beta": 0.2})[1])
    normal = fit(stacked(FRAME), errors="hessian")
    low, high = normal.interval("beta")
    assert (high - low) / 2 == pytest.approx(1.959964 * normal.se["beta"], rel=1e-6)


def test_functions_of_parameters_by_the_delta_method() -> None:
    beta, se = FOUND.estimates["beta"], FOUND.se["beta"]
    odds = FOUND.nlcom(lambda e: e["beta"] / (1 - e["beta"]))
    assert (odds.value, odds.se) == (
        pytest.approx(beta / (1 - beta)),
        pytest.approx(se / (1 - beta) ** 2, rel=1e-6),
    )
    total = FOUND.lincom({"alpha": 1, "beta": -2}, 0.5)
    v = FOUND.covariance
    assert total.value == pytest.approx(FOUND.estimates["alpha"] - 2 * beta + 0.5)
    assert total.se == pytest.approx(np.sqrt(v[0, 0] + 4 * v[1, 1] - 4 * v[0, 1]))
    assert total.interval()[1] - total.value == pytest.approx(t.ppf(0.975, 39) * total.se)
    assert total.p_value(total.value) == 1
    even = {g: belief_weights(g, np.full(len(GAMES[g].info_sets), 0.5)) for g in GAMES}

    def points(game: Protocol, e: dict[str, float]) -> list[tuple[float, int]]:
        return switch_points(game.tables, even[game.game], {"alpha": e["alpha"], "beta": e["beta"]})

    # where kappa changes what is best
    game = next(g for g in BATTERY if len(points(g, FOUND.estimates)) > 1)
    switch = FOUND.nlcom(lambda e: points(game, e)[1][0])
    assert 0 < switch.value < 1
    assert switch.se > 0
    with pytest.raises(ValueError, match="no parameter"):
        FOUND.lincom({"kappa": 1})


def test_two_arms_on_the_same_subjects() -> None:
    same = difference(FOUND, FOUND, "beta")
    # of variances that cancel to 16 digits the root keeps 8
    assert (same.value, same.se) == (0, pytest.approx(0, abs=1e-7 * FOUND.se["beta"]))
    assert ratio(FOUND, FOUND, "beta").se == pytest.approx(0, abs=1e-7)
    other = fit(
        stacked(allocation_choices(subjects=40, per=30, theta=(0.1, 0.5), seed=2, prefix="Q"))
    )
    apart = difference(other, FOUND, "beta")
    assert apart.se == pytest.approx(np.hypot(other.se["beta"], FOUND.se["beta"]))
    x, y = other.estimates["beta"], FOUND.estimates["beta"]
    assert ratio(other, FOUND, "beta").value == pytest.approx(x / y)
    # subjects who keep their taste in both arms: leaving out one at a time shows what the
    # difference's error is
    first, second = (allocation_choices(subjects=40, per=30, seed=s) for s in (3, 4))
    shift = np.repeat(np.random.default_rng(5).normal(0, 0.3, 40), 30)
    for frame in (first, second):
        u = [
            (1 - w) * frame[f"self_{o}"] + w * frame[f"other_{o}"]
            for o in "xy"
            for w in [0.2 + shift]
        ]
        frame["choice_x"] = (
            np.random.default_rng(6).random(1200) < 1 / (1 + np.exp(-0.02 * (u[0] - u[1])))
        ).astype(int)
    a, b = (fit(stacked(frame, "altruism")) for frame in (first, second))
    gaps = []
    for who in first["sid"].unique():
        part = [
            fit(stacked(frame[frame["sid"] != who], "altruism"), errors="hessian").estimates[
                "altruism"
            ]
            for frame in (first, second)
        ]
        gaps.append(part[0] - part[1] - a.estimates["altruism"] + b.estimates["altruism"])
    jack = np.sqrt(39 / 40 * np.sum(np.square(gaps)))
    assert difference(a, b, "altruism").se == pytest.approx(jack, rel=0.1)
    assert jack < 0.8 * np.hypot(a.se["altruism"], b.se["altruism"])


def test_predictions_and_their_intervals() -> None:
    x, y, _ = rows(FRAME)
    b = logit_fit(x, y)
    p = 1 / (1 + np.exp(-x @ b))
    np.testing.assert_allclose(FOUND.predict()[:, 0], p, atol=1e-6)
    frame = FOUND.predict_frame()
    assert len(frame) == 2400
    assert (
        (frame["low"] >= 0)
        & (frame["low"] <= frame["probability"])
        & (frame["probability"] <= frame["high"])
        & (frame["high"] <= 1)
    ).all()
    hessian = fit(stacked(FRAME), errors="hessian")
    v = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    se = p * (1 - p) * np.sqrt(np.einsum("nk,kl,nl->n", x, v, x))
    np.testing.assert_allclose(hessian.predict_frame()["se"][::2], se, rtol=1e-4)
    with pytest.raises(ValueError, match="these decisions are of"):
        FOUND.predict(stacked(FRAME, "altruism"))


def test_intervals_of_what_is_all_but_certain() -> None:
    """A probability of 1 to rounding has an interval: one less that of the other option."""
    wide = FRAME.head(3).copy()
    money = ["self_x", "other_x", "self_y", "other_y"]
    wide[money] = [[9000, 9000, 10, 10], [2000, 2000, 10, 10], [1400, 900, 10, 10]]
    frame = FOUND.predict_frame(stacked(wide))
    x, y = frame[frame.option == 0].reset_index(), frame[frame.option == 1].reset_index()
    assert x["probability"][0] == 1
    assert not frame.isna().any(axis=None)
    np.testing.assert_allclose(x["low"], 1 - y["high"], rtol=1e-12)
    np.testing.assert_allclose(x["high"], 1 - y["low"], rtol=1e-12)
    # log odds by hand: lambda times the gap in utility, whose error is that of the index
    gap = stacked(wide).index[:, 0] - stacked(wide).index[:, 1]
    b = (
        np.array([1.0, *(FOUND.estimates[k] for k in ("alpha", "beta"))])
        * FOUND.estimates["lambda"]
    )
    back = FOUND._covariance_of_b()
    ends = gap @ b - t.ppf(0.975, FOUND.df) * np.sqrt(np.einsum("nk,kl,nl->n", gap, back, gap))
    np.testing.assert_allclose(y["high"], 1 / (1 + np.exp(ends)), rtol=1e-6)


def test_marginal_effects_are_derivatives_of_the_mean_probability() -> None:
    effects = FOUND.effects(per=10)
    x, y, _ = rows(FRAME)
    b = logit_fit(x, y)
    for k, name in enumerate(["own payoff", "alpha", "beta"]):
        step = np.zeros(3)
        step[k] = 1e-4  # of the index's column, for option X alone
        up, down = (1 / (1 + np.exp(-((x + s * step) @ b))) for s in (1, -1))
        assert effects.loc[name, "effect"] == pytest.approx(
            10 * ((up - down) / 2e-4).mean(), rel=1e-4
        )

    def own(beta: np.ndarray) -> float:
        q = 1 / (1 + np.exp(-x @ beta))
        return float(10 * (q * (1 - q)).mean() * beta[0])

    hessian = fit(stacked(FRAME), errors="hessian")
    p = 1 / (1 + np.exp(-x @ b))
    v = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    h = 1e-5 * np.abs(b)
    gradient = np.array(
        [(own(b + h[i] * e) - own(b - h[i] * e)) / (2 * h[i]) for i, e in enumerate(np.eye(3))]
    )
    assert hessian.effects(per=10).loc["own payoff", "se"] == pytest.approx(
        np.sqrt(gradient @ v @ gradient), rel=1e-4
    )


def test_marginal_effects_count_decisions_by_their_weights() -> None:
    times = np.tile([1, 1, 3], 400)  # a weight of three is a decision that is there three times
    weighted = fit(weigh(stacked(FRAME), times.astype(float))).effects()
    copies = fit(stacked(FRAME.loc[np.repeat(FRAME.index, times)])).effects()
    assert weighted["effect"].tolist() == pytest.approx(copies["effect"].tolist(), rel=1e-8)
    ratio_of_errors = weighted["se"] / copies["se"]  # but for (n - 1) / (n - k)
    assert ratio_of_errors.tolist() == pytest.approx([1, 1, 1], rel=1e-3)


MIXED = mixture(
    stacked(
        pd.concat(
            [
                allocation_choices(18, 25, (0, 0), 0.03, 1, prefix="a"),
                allocation_choices(12, 25, (0.4, 0.6), 0.03, 2, prefix="b"),
            ]
        )
    ),
    2,
    starts=3,
)


def refusal() -> NotIdentified:
    with pytest.raises(NotIdentified) as caught:
        fit(stacked(pd.read_csv(io.StringIO(EIGHT))))
    return caught.value


class Cells(HTMLParser):
    """Rows of cells as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


def test_all_formats_hold_the_same_cells() -> None:
    table = etable(
        FOUND, restrict_fit(), MIXED, refusal(), names=["all", "alpha = 0", "mix", "few"]
    )
    parser = Cells()
    parser.feed(table.html())
    seen = parser.rows[:-1]
    markdown = [
        [c.strip().replace("\\", "") for c in line.strip("|").split(" | ")]
        for line in table.markdown().splitlines()
        if line.startswith("| ")
    ]
    assert [[c.strip() for c in row] for row in markdown] == [
        [c.strip() for c in row] for row in seen
    ]
    latex = [
        line.removesuffix(r" \\").split(" & ")
        for line in table.latex().splitlines()
        if " & " in line
    ]
    assert len(latex) == len(seen)
    for ours, theirs in zip(latex[1:], seen[1:], strict=True):
        assert [re.sub(r"[$\\{}]|(?<=\d)\^", "", c) for c in ours[1:]] == [
            c.strip() for c in theirs[1:]
        ]
    text = str(table)
    assert f"{FOUND.estimates['beta']:.3f}" in text
    assert f"({FOUND.se['beta']:.3f})" in text
    assert "(fixed)" in text
    held = etable(*(fit(restrict(stacked(FRAME), {"alpha": a})) for a in (0.25, 0.00042, -1e-5)))
    cells = next(cells for _, cells in held.body if cells[0] == "alpha")
    assert cells[1:] == ("0.250", "0.00042", "-1e-05")  # what was chosen is not rounded to 0
    assert "not identified" in text
    assert "mix type 2" in text
    assert f"{MIXED.shares[1]:.3f}" in text
    assert "*" not in text


def restrict_fit():
    return fit(restrict(stacked(FRAME), {"alpha": 0.0}))


def test_stars_only_when_asked_for_and_by_the_p_value() -> None:
    assert FOUND.p_value("beta") < 0.01
    assert "*" not in etable(FOUND).latex() + etable(FOUND).markdown()
    starred = etable(FOUND, stars=True)
    assert f"{FOUND.estimates['beta']:.3f}***" in starred.text()
    assert f"{FOUND.estimates['beta']:.3f}$^{{***}}$" in starred.latex()
    assert "p < .01" in starred.text()
    brackets = etable(FOUND, intervals=True).text()
    low, high = FOUND.interval("beta")
    assert f"[{low:.3f}, {high:.3f}]" in brackets


def test_small_numbers_keep_two_digits_of_their_error() -> None:
    row = next(
        cells
        for kind, cells in etable(FOUND).body
        if kind == "below" and cells[1] and float(cells[1].strip("()")) < 0.005
    )
    assert len(row[1].strip("()").lstrip("0.")) == 2


NASTY = [
    "a_b & 50 % $x$ #1 {y} ~^\\",
    "<script>alert(1)</script>",
    "| x | `y` *z*",
    "\x1b[31mred\x1b[0m",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_in_every_format(name: str) -> None:
    table = etable(FOUND, names=[name], title=name, notes=[name], label=name, rename={"beta": name})
    parser = Cells()
    parser.feed(table.html())
    assert "script" not in parser.tags
    assert (
        len(
            {
                len(line.split(" | "))
                for line in table.markdown().splitlines()
                if line.startswith("|")
            }
            - {1}
        )
        == 1
    )
    latex = table.latex()
    assert latex.count("\\begin") == latex.count("\\end") == 2
    bare = re.sub(r"\\[a-zA-Z]+\{\}|\\[&%$#_{}]", "", latex)
    body = "\n".join(
        line
        for line in bare.splitlines()
        if not line.startswith(("\\begin", "\\end", "\\label", "\\multicolumn", "\\caption"))
    )
    assert not re.search(r"[%#~]|(?<!\$)\^", body)
    assert "\x1b" not in table.text() + table.markdown() + table.html() + latex


def test_latex_keeps_hyphens_and_takes_no_cell_for_an_option() -> None:
    table = etable(FOUND, notes=["hold it (--fix beta=0)", "*** of a note"], rename={"beta": "[b]"})
    lines = table.latex().splitlines()
    assert any("(-{}-fix beta=0)" in line for line in lines)  # -- would be set as a dash
    assert any(line.startswith("{[}b] & ") for line in lines)  # after \\\\, [b] would be a length
    assert any("{*}** of a note" in line for line in lines)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one fit"):
        etable()
    with pytest.raises(ValueError, match="1 fits and 2 names"):
        etable(FOUND, names=["a", "b"])
    with pytest.raises(ValueError, match="unknown format"):
        etable(FOUND).to("word")


def test_maketables_shows_the_same_numbers() -> None:
    maketables = pytest.importorskip(
        "maketables", reason="pip install maketables, to see its tables made from our fits"
    )
    text = maketables.ETable([FOUND]).make("tex")
    for name, value in FOUND.estimates.items():
        assert f"{name} & \\makecell{{{value:.3f}" in text
        assert f"({FOUND.se[name]:.3f})" in text
    assert "1,200" in text


def test_notebooks_and_maketables_find_what_they_look_for() -> None:
    assert FOUND._repr_html_().startswith("<table>")
    assert MIXED._repr_html_().startswith("<table>")
    frame = FOUND.__maketables_coef_table__
    assert {"b", "se", "t", "p", "ci95l", "ci95u"} <= set(frame.columns)
    assert FOUND.__maketables_stat__("N") == 1200
    assert FOUND.__maketables_stat__("unheard of") is None
    assert len(MIXED.to_frame()) == 6
