"""An estimate as an object: summary, intervals, tests, predictions, functions of parameters.

>>> found.to_frame()
>>> found.nlcom(lambda e: e["beta"] / (1 - e["beta"]))
>>> ratio(arm, base, "kappa").interval()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import f, norm, t

from econmoral.estimation.inference import (
    jacobian_of,
    profile_interval,
    wild_interval,
    wild_test,
    wild_weights,
)
from econmoral.estimation.likelihood import Design, probabilities
from econmoral.estimation.robust import cluster_sums, small_sample
from econmoral.estimation.tables import etable

Errors = Literal["clustered", "sandwich", "hessian", "bootstrap", "wild", "jackknife"]


def critical(level: float, df: float) -> float:
    """Two-sided critical value of t(df), of the normal where df is infinite."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return (
        float(t.ppf(0.5 + level / 2, df)) if np.isfinite(df) else float(norm.ppf(0.5 + level / 2))
    )


def two_sided(statistic: float, df: float) -> float:
    """Two-sided p-value of a t statistic."""
    return float(2 * (t.sf(abs(statistic), df) if np.isfinite(df) else norm.sf(abs(statistic))))


@dataclass(frozen=True)
class Derived:
    """A function of parameters with its standard error by the delta method."""

    name: str
    value: float
    se: float
    df: float = np.inf

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval, t with the degrees of freedom of the fit."""
        half = critical(level, self.df) * self.se
        return self.value - half, self.value + half

    def p_value(self, target: float = 0.0) -> float:
        """Two-sided p-value of equality to ``target``."""
        return two_sided((self.value - target) / self.se, self.df) if self.se > 0 else float("nan")


@dataclass(frozen=True)
class Fit:
    """An estimate.

    ``estimates`` and ``se`` hold the family's parameters and ``lambda`` (per point of payoff),
    ``covariance`` is in the same order.  df : degrees of freedom of t (clusters - 1; infinite with
    hessian errors).  notes : what a reader must know. fixed : parameters that were held.  data, b,
    score, hessian : the decisions and, at the maximum in (lambda, gamma), its place (1 + K,), the
    scores (n, 1 + K) and the hessian.
    """

    family: str
    estimates: dict[str, float]
    se: dict[str, float]
    covariance: np.ndarray
    log_likelihood: float
    n: int
    clusters: int
    errors: str
    df: float
    null_log_likelihood: float
    notes: tuple[str, ...]
    fixed: dict[str, float]
    data: Design = field(repr=False, compare=False)
    b: np.ndarray = field(repr=False, compare=False)
    score: np.ndarray = field(repr=False, compare=False)
    hessian: np.ndarray = field(repr=False, compare=False)
    replications: int
    seed: int

    # ---- the whole fit

    @property
    def parameters(self) -> int:
        """Number of estimated parameters, lambda included."""
        return len(self.estimates)

    @property
    def pseudo_r2(self) -> float:
        """McFadden's 1 - lnL / lnL of a coin."""
        return (
            1 - self.log_likelihood / self.null_log_likelihood
            if self.null_log_likelihood
            else float("nan")
        )

    @property
    def aic(self) -> float:
        """-2 lnL + 2 k."""
        return -2 * self.log_likelihood + 2 * self.parameters

    @property
    def bic(self) -> float:
        """-2 lnL + k ln N, N decisions."""
        return -2 * self.log_likelihood + self.parameters * float(np.log(self.n))

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """One row per parameter: estimate, se, t, p (of zero), low and high end of the interval."""
        rows = []
        for name, value in self.estimates.items():
            low, high = self.interval(name, level)
            se = self.se[name]
            rows.append(
                (value, se, value / se if se > 0 else np.nan, self.p_value(name), low, high)
            )
        columns = ["estimate", "se", "t", "p", "low", "high"]
        return pd.DataFrame(rows, index=pd.Index(self.estimates, name="parameter"), columns=columns)

    def summary(self) -> str:
        """Everything about the fit, as text."""
        kind = f"t({self.df:.0f})" if np.isfinite(self.df) else "normal"
        frame = self.to_frame().map(lambda x: f"{x:.6g}")
        head = [
            (
                f"{self.family}: {self.n} decisions, {self.clusters} clusters, {self.errors} "
                f"errors, {kind} intervals (95 %)"
            ),
            (
                f"lnL {self.log_likelihood:.4f}, of a coin {self.null_log_likelihood:.4f}, "
                f"pseudo-R2 {self.pseudo_r2:.4f}, AIC {self.aic:.2f}, BIC {self.bic:.2f}"
            ),
        ]
        held = (
            [f"held fixed: {', '.join(f'{k} = {v:g}' for k, v in self.fixed.items())}"]
            if self.fixed
            else []
        )
        return "\n".join(
            [*head, frame.to_string(index_names=False), *held, *(f"note: {n}" for n in self.notes)]
        )

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return etable(self).html()

    # ---- one parameter

    def interval(
        self, name: str, level: float = 0.95, method: str = "default"
    ) -> tuple[float, float]:
        """Confidence interval of one parameter.

        method : ``default`` (estimate plus and minus t se; with wild errors the wild bootstrap's),
        ``wald``, ``profile`` (likelihood ratio, decisions taken as independent; neither for lambda
        nor with weights) or ``wild``.
        """
        if name not in self.estimates:
            raise ValueError(f"no parameter {name!r}; there are {', '.join(self.estimates)}")
        if method == "default":
            method = "wild" if self.errors == "wild" else "wald"
        if method == "profile":
            if name == "lambda":
                raise ValueError("there is no profile interval of lambda; use another method")
            return profile_interval(self.data, name, level)
        if method == "wild":
            return wild_interval(
                self.data, name, self.b, self.se[name], level, self.replications, self.seed
            )
        if method != "wald":
            raise ValueError(f"unknown method {method!r}; known: default, wald, profile, wild")
        return self._one(name).interval(level)

    def p_value(self, name: str, target: float = 0.0) -> float:
        """Two-sided p-value of equality to ``target``; by the wild bootstrap with wild errors
        (lambda: t)."""
        if self.errors == "wild" and name != "lambda":
            weights = wild_weights(len(self.data.names), self.replications, self.seed)
            return wild_test(self.data, name, target, weights, self.b).p
        return self._one(name).p_value(target)

    def _one(self, name: str) -> Derived:
        return Derived(name, self.estimates[name], self.se[name], self.df)

    # ---- tests and functions of parameters

    def wald(self, target: Mapping[str, float]) -> tuple[float, float]:
        """Wald statistic W and p-value of equality to ``target``: W / q against F(q, df),
        chi-squared where df is infinite."""
        names = list(self.estimates)
        if unknown := set(target) - set(names):
            raise ValueError(f"no parameter {sorted(unknown)}; there are {', '.join(names)}")
        rows = [names.index(k) for k in target]
        gap = np.array([self.estimates[k] - v for k, v in target.items()])
        statistic = float(gap @ np.linalg.solve(self.covariance[np.ix_(rows, rows)], gap))
        df = self.df if np.isfinite(self.df) else 1e12
        return statistic, float(f.sf(statistic / len(target), len(target), df))

    def nlcom(self, function: Callable[[dict[str, float]], float], name: str = "nlcom") -> Derived:
        """A smooth function of the estimates, such as ``lambda e: e["beta"] / (1 - e["beta"])``,
        by the delta method."""
        names = list(self.estimates)
        at = np.array([self.estimates[k] for k in names])

        def value(x: np.ndarray) -> float:
            return float(function(dict(zip(names, x.tolist(), strict=True))))

        gradient = derivative(value, at)
        return Derived(
            name,
            value(at),
            float(np.sqrt(max(gradient @ self.covariance @ gradient, 0.0))),
            self.df,
        )

    def lincom(self, weights: Mapping[str, float], constant: float = 0.0) -> Derived:
        """sum_k weights_k theta_k + constant."""
        names = list(self.estimates)
        if unknown := set(weights) - set(names):
            raise ValueError(f"no parameter {sorted(unknown)}; there are {', '.join(names)}")
        w = np.array([weights.get(k, 0.0) for k in names])
        value = float(w @ np.array(list(self.estimates.values()))) + constant
        said = " + ".join(f"{v:g} {k}" for k, v in weights.items()) + (
            f" + {constant:g}" if constant else ""
        )
        return Derived(said, value, float(np.sqrt(max(w @ self.covariance @ w, 0.0))), self.df)

    # ---- predictions

    def predict(self, data: Design | None = None) -> np.ndarray:
        """(n, S) probability of every option, in the decisions of the fit or in others of the same
        parameters."""
        return probabilities(self.b, self._matching(data))

    def predict_frame(self, data: Design | None = None, level: float = 0.95) -> pd.DataFrame:
        """One row per decision and option: probability, se, low, high (delta method on the logit,
        so inside [0, 1])."""
        data = self._matching(data)
        p = self.predict(data)
        mean = np.matmul(p[:, None, :], data.index)
        gradient = data.index - mean  # of ln P
        v = self._covariance_of_b()
        spread = np.sqrt(np.maximum(np.einsum("nsk,kl,nsl->ns", gradient, v, gradient), 0))
        with np.errstate(divide="ignore", over="ignore"):
            logit = np.log(p) - np.log1p(-p)
            of_logit = spread / (1 - p)
            rows, sure = np.nonzero(p > 1 - 1e-6)  # 1 - p has few digits there, or none
            logit[rows, sure], of_logit[rows, sure] = self._odds(data, rows, sure, v)
            half = critical(level, self.df) * of_logit
            low, high = (1 / (1 + np.exp(-(logit + sign * half))) for sign in (-1, 1))
        n, s = p.shape
        frame = pd.DataFrame(
            {
                "decision": np.repeat(np.arange(n), s),
                "option": np.tile(np.arange(s), n),
                "probability": p.ravel(),
                "se": (p * spread).ravel(),
                "low": low.ravel(),
                "high": high.ravel(),
            }
        )
        return frame[data.allowed.ravel()].reset_index(drop=True)

    def _odds(
        self, data: Design, rows: np.ndarray, options: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log odds of one option in each of some decisions, from the utilities of all, and their
        standard errors."""
        index, here = data.index[rows], np.arange(len(rows))
        value = np.where(data.allowed[rows], index @ self.b, -np.inf)
        own = value[here, options]
        value[here, options] = -np.inf
        most = value.max(1)
        others = np.exp(value - most[:, None])
        gap = index[here, options] - np.einsum(
            "ns,nsk->nk", others / others.sum(1, keepdims=True), index
        )
        se = np.sqrt(np.maximum(np.einsum("nk,kl,nl->n", gap, v, gap), 0))
        return own - most - np.log(others.sum(1)), se

    def effects(self, per: float = 1.0, level: float = 0.95) -> pd.DataFrame:
        """Average marginal effects: by how much an option's probability rises when ``per`` units
        are added to it alone.

        One row for own payoff (b = lambda) and one for the term of each parameter (b = lambda
        theta): the mean over decisions and options of b P (1 - P), decisions counted by their
        sampling weights, standard errors and intervals by the delta method.
        """
        data, b = self.data, self.b
        p = np.where(data.allowed, self.predict(), 0.0)
        share = data.allowed * (data.weight.sum(1, keepdims=True) if data.weighted else 1.0)
        share = share / share.sum()
        mean = np.matmul(p[:, None, :], data.index)
        bend = np.einsum("ns,nsk->k", share * p * (1 - 2 * p), data.index - mean)
        slope = float((share * p * (1 - p)).sum())
        v = self._covariance_of_b()
        rows = []
        for k in range(len(b)):
            gradient = b[k] * bend + slope * np.eye(len(b))[k]
            value = b[k] * slope * per
            se = float(np.sqrt(max(gradient @ v @ gradient, 0))) * abs(per)
            rows.append((value, se, *Derived("effect", value, se, self.df).interval(level)))
        index = pd.Index(["own payoff", *data.parameters], name="term")
        return pd.DataFrame(rows, index=index, columns=["effect", "se", "low", "high"])

    # ---- plug-in of the package maketables: found by these names, nothing is imported

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        frame = self.to_frame()
        names = {"estimate": "b", "low": "ci95l", "high": "ci95u"}
        return frame.rename(columns=names).rename_axis("Coefficient")

    def __maketables_stat__(self, key: str) -> Any:
        known = {
            "N": self.n,
            "se_type": self.errors,
            "loglik": self.log_likelihood,
            "ll": self.log_likelihood,
            "aic": self.aic,
            "bic": self.bic,
            "pseudo_r2": self.pseudo_r2,
            "clusters": self.clusters,
        }
        return known.get(key)

    @property
    def __maketables_depvar__(self) -> str:
        return "choice"

    @property
    def __maketables_vcov_info__(self) -> dict[str, str]:
        return {"vcov_type": self.errors}

    # ---- inside

    def influence(self) -> np.ndarray:
        """(J, K + 1) what each cluster adds to the estimates; its outer product is the clustered
        covariance."""
        j = len(self.data.names)
        sums = cluster_sums(self.score, self.data.cluster, j)
        q = small_sample(j, *self.score.shape)
        return np.sqrt(q) * sums @ np.linalg.inv(-self.hessian) @ jacobian_of(self.b).T

    def _matching(self, data: Design | None) -> Design:
        data = self.data if data is None else data
        if data.parameters != self.data.parameters or data.fixed != self.data.fixed:
            raise ValueError(
                f"these decisions are of {data.parameters}, the fit is of {self.data.parameters}"
            )
        return data

    def _covariance_of_b(self) -> np.ndarray:
        back = np.linalg.inv(jacobian_of(self.b))
        return back @ self.covariance @ back.T


def derivative(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Gradient by central differences."""
    steps = 6e-6 * np.maximum(np.abs(at), 1e-2)
    return np.array(
        [
            (function(at + h * e) - function(at - h * e)) / (2 * h)
            for h, e in zip(steps, np.eye(len(at)), strict=True)
        ]
    )


def _joint(a: Fit, b: Fit, name: str) -> tuple[float, float]:
    """Covariance of the parameter of both over clusters of the same name, and the smaller df."""
    ours, theirs = a.influence(), b.influence()
    first, second = list(a.estimates).index(name), list(b.estimates).index(name)
    place = {label: i for i, label in enumerate(b.data.names)}
    pairs = [(i, place[label]) for i, label in enumerate(a.data.names) if label in place]
    shared = sum(float(ours[i, first] * theirs[j, second]) for i, j in pairs)
    return shared, min(a.df, b.df)


def difference(a: Fit, b: Fit, name: str) -> Derived:
    """a's parameter minus b's.  Clusters of the same name are taken as the same (two arms on the
    same items, or subjects)."""
    shared, df = _joint(a, b, name)
    variance = a.se[name] ** 2 + b.se[name] ** 2 - 2 * shared
    return Derived(
        f"{name}, difference",
        a.estimates[name] - b.estimates[name],
        float(np.sqrt(max(variance, 0.0))),
        df,
    )


def ratio(a: Fit, b: Fit, name: str) -> Derived:
    """a's parameter over b's, as ``difference``.  Raises ValueError when b's is zero."""
    x, y = a.estimates[name], b.estimates[name]
    if y == 0:
        raise ValueError(f"{name} of the second fit is 0; there is no ratio")
    shared, df = _joint(a, b, name)
    variance = (a.se[name] / y) ** 2 + (x * b.se[name] / y**2) ** 2 - 2 * shared * x / y**3
    return Derived(f"{name}, ratio", x / y, float(np.sqrt(max(variance, 0.0))), df)
