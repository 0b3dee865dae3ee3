"""Human types as targets, and how well an agent predicts people who were set aside.

The people of a file are split by a seed.  On the training part a finite mixture is estimated; each
type, its parameters rounded to a grid that derivations can work with, is a ``Target``.  People set
aside are assigned to a type by their posterior from one half of their choices,

    L_jk = prod_{i in A_j} P_i(x_ij; theta_k),    tau_jk = share_k L_jk / sum_l share_l L_jl,

and every predictor is judged on the other half, which neither the estimates nor the assignment have
seen.  Where only a part of a plan was observed in a game (one role, one information set), P_i is
the probability of that part: plans that agree there are taken together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import t

from econmoral.economics.games import GAMES
from econmoral.economics.games import STEPS as GRID
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import Fit, Mixture, fit, mixture
from econmoral.estimation.likelihood import Design, log_likelihood, probabilities, restrict
from econmoral.estimation.robust import clustered_covariance
from econmoral.files.records import InputError
from econmoral.instruments.games import TENTHS, Item
from econmoral.instruments.menus import LARGEST_POINTS
from econmoral.people.sample import Sample
from econmoral.target import Target, number

# grids whose weights are whole numbers of at most hundredths
STEPS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
FEW_PEOPLE = 10  # people of a type below which a difference is hardly told from chance
SMALLEST = 1e-300  # probability below which a logarithm is not taken when a precision is fitted


def without_acts(data: Design) -> tuple[Design, list[str]]:
    """The decisions, parameters of acts held at 0 where the file has no such act; and remarks."""
    idle = [
        p
        for p in FAMILIES[data.family].of_acts
        if p in data.parameters and not np.abs(data.index[..., 1 + data.parameters.index(p)]).any()
    ]
    if not idle:
        return data, []
    return restrict(data, dict.fromkeys(idle, 0.0)), [
        (
            f"no row marks an earlier act of the other that {' and '.join(idle)} would speak of: "
            "held at 0"
        )
    ]


def unit_of(payoffs: np.ndarray, leads: tuple[int, ...] = (1,)) -> float:
    """Payoff units of the file in a point of the page:
    the largest power of ten, times one of ``leads``, that leaves every payoff a whole number.

    Raises InputError for payoffs with more than four decimals.
    """
    values = np.unique(np.abs(payoffs[np.isfinite(payoffs)]))
    values = values[values > 0]
    if not len(values):
        return 1.0
    for power in range(9, -5, -1):
        for lead in sorted(leads, reverse=True):
            scaled = values / (lead * 10.0**power)
            if scaled[0] > 0.5 and (np.abs(scaled - np.round(scaled)) < 1e-6).all():
                return lead * 10.0**power
    raise InputError("the payoffs have more than four decimals, which no page can show; round them")


@dataclass(frozen=True)
class Split:
    """Which rows serve for what, (n,) each: estimation; assigning people who
    were set aside; judging predictions about them.

    held_out : names of the people set aside.  plain : rows that a page can show, for no act of the
    other precedes them.
    """

    train: np.ndarray
    assign: np.ndarray
    judge: np.ndarray
    plain: np.ndarray
    held_out: tuple[str, ...]


def split(sample: Sample, share: float, seed: int) -> Split:
    """Set people aside, and halve the plain choices of each of them at random; all by ``seed``.

    In a file of games every choice is plain: a page holds the whole game.

    Choices after an act of the other help to assign and are never judged.  Raises InputError when
    nobody is left on one side, or when somebody set aside has fewer than two plain choices.
    """
    data, acts = sample.data, sample.acts
    plain = np.ones(len(data.index), bool) if acts is None else np.asarray(~acts.any(1))
    j = len(data.names)
    rng = np.random.default_rng(seed)
    count = round(share * j)
    if not 1 <= count <= j - 1:
        raise InputError(
            f"--held-out {share:g} of {j} people sets {count} aside; at least one must be set "
            "aside and one be left"
        )
    aside = np.sort(rng.permutation(j)[:count])
    judge = np.zeros(len(data.index), bool)
    for code in aside:
        rows = np.flatnonzero((data.cluster == code) & plain)
        if len(rows) < 2:
            raise InputError(
                f"{data.names[code]} has {len(rows)} choice(s)"
                f"{'' if acts is None else ' without an earlier act of the other'}; two are "
                "needed to assign and to judge"
            )
        judge[rng.permutation(rows)[: len(rows) // 2]] = True
    held = np.asarray(np.isin(data.cluster, aside))
    return Split(~held, held & ~judge, judge, plain, tuple(data.names[c] for c in aside))


@dataclass(frozen=True)
class Types:
    """What was estimated on the training part: one type for all, several,
    and the targets that these are rounded to.

    b (K, 1 + K'), rounded (K, 1 + K') and pooled (1 + K'): (lambda, lambda theta) of each type, of
    its rounded values with its own lambda, and of one type for all.  notes : what rounding did.
    """

    one: Fit
    several: Mixture
    targets: tuple[Target, ...]
    b: np.ndarray
    rounded: np.ndarray
    pooled: np.ndarray
    notes: list[str] = field(default_factory=list)


def estimate(data: Design, train: np.ndarray, types: int, step: float, seed: int) -> Types:
    """Types of the training part and their targets; a kappa outside [0, 1] becomes 0 or 1.

    Raises NotIdentified as ``fit`` and ``mixture``, InputError when two types round to the same
    target.
    """
    part = data.rows(train)
    one, several = fit(part), mixture(part, types, seed=seed)
    silent = FAMILIES[data.family].of_acts
    targets, b, rounded, notes = [], [], [], []
    for k, values in enumerate(several.types):
        on_grid = {
            p: round(round(v / step) * step, 6) + 0.0
            for p, v in values.items()
            if p not in (*silent, "lambda")
        }
        kappa = on_grid.get("kappa", 0.0)
        if not 0 <= kappa <= 1:
            on_grid["kappa"] = min(max(kappa, 0.0), 1.0)
            notes.append(
                f"kappa of type {k + 1}, {values['kappa']:.3f} (SE {several.se[k]['kappa']:.3f}), "
                f"lies outside [0, 1]: its target has {on_grid['kappa']:g}"
            )
        fixed = {p: v for p, v in data.fixed if p not in silent}
        try:
            targets.append(Target(data.family, tuple({**fixed, **on_grid}.items())))
        except InputError as error:
            raise InputError(f"type {k + 1} cannot be a target: {error}") from None
        theta = {**values, **on_grid}
        b.append([values["lambda"], *(values["lambda"] * values[p] for p in data.parameters)])
        rounded.append([values["lambda"], *(values["lambda"] * theta[p] for p in data.parameters)])
    for k, target in enumerate(targets):
        if target in targets[:k]:
            raise InputError(
                f"types {targets.index(target) + 1} and {k + 1} both round to {target}: two "
                "adapters would learn the same; give a finer --round, or fewer --types"
            )
    pooled = np.array(
        [
            one.estimates["lambda"],
            *(one.estimates["lambda"] * one.estimates[p] for p in data.parameters),
        ]
    )
    return Types(one, several, tuple(targets), np.array(b), np.array(rounded), pooled, notes)


def told(data: Design, items: tuple[Item, ...] | None) -> np.ndarray:
    """(n, S) code of what an observation tells of each option, -1 for options that a row lacks.

    Options of one code cannot be told apart: plans that make the same moves wherever the row's
    moves were observed.  Elsewhere every option has its own.
    """
    codes = np.where(data.allowed, np.arange(data.allowed.shape[1]), -1)
    if items is None or data.partial is None:
        return codes
    for i in np.flatnonzero(data.partial):
        plans = np.array(GAMES[items[i].protocol.game].strategies)
        seen = plans[data.weight[i, : len(plans)] > 0]
        parts = plans[:, (seen == seen[0]).all(0)]  # an unobserved place holds several moves
        codes[i, : len(plans)] = np.unique(parts, axis=0, return_inverse=True)[1].ravel()
    return codes


def together(p: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n, S) probability of every code: of the options that have it, added; nan where a row has
    fewer."""
    found = np.full(p.shape, np.nan)
    rows = np.arange(len(p))
    for s in range(p.shape[1]):
        at = codes[:, s]
        there = at >= 0
        known = found[rows[there], at[there]]
        found[rows[there], at[there]] = p[there, s] + np.nan_to_num(known)
    return found


def posterior(data: Design, rows: np.ndarray, types: Types) -> dict[str, np.ndarray]:
    """Name -> (K,) probability of every type, from the choices in ``rows``."""
    part = data.rows(rows)
    part = replace(part, weight=part.weight / part.weight.sum(1, keepdims=True))
    values = np.column_stack(
        [
            np.bincount(part.cluster, log_likelihood(b, part)[0], minlength=len(part.names))
            for b in types.b
        ]
    )
    joint = values + np.log(np.maximum(types.several.shares, 1e-300))
    tau = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    return dict(zip(part.names, tau, strict=True))


def tempered(p: np.ndarray, chosen: np.ndarray) -> float:
    """The power t >= 0 that makes choices likeliest under p^t, normalised: p (n, S), chosen (n,).

    A target's answers are without noise and people's are not; t gives an agent the noise of people.
    """
    log_p = np.log(np.maximum(p, SMALLEST))
    rows = np.arange(len(p))
    there = p >= 0  # nan: an option that the row lacks

    def loss(log_t: float) -> float:
        v = np.where(there, np.exp(log_t) * log_p, -np.inf)
        return float(-(v[rows, chosen] - np.logaddexp.reduce(v, axis=1)).sum())

    return float(
        np.exp(minimize_scalar(loss, bounds=(-12, 6), method="bounded", options={"xatol": 1e-6}).x)
    )


def powered(p: np.ndarray, power: float) -> np.ndarray:
    """p^t, normalised over the options of each row; nan stays where a row has fewer."""
    v = power * np.log(np.maximum(p, SMALLEST))
    v = np.where(p >= 0, v, -np.inf)
    return np.where(p >= 0, np.exp(v - np.logaddexp.reduce(v, axis=1, keepdims=True)), np.nan)


def clustered_mean(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """(mean over rows, its standard error clustered by person; nan of a single person).

    se = sqrt(J / (J - 1) sum_j (sum_{i of j} (x_i - m))^2) / n
    """
    mean = float(values.mean())
    codes, place = np.unique(cluster, return_inverse=True)
    if len(codes) < 2 or not np.isfinite(mean):
        return mean, float("nan")
    variance = clustered_covariance(np.eye(1) / len(values), (values - mean)[:, None], place)
    return mean, float(np.sqrt(variance[0, 0]))


def judge(
    p: np.ndarray, chosen: np.ndarray, cluster: np.ndarray, reference: np.ndarray | None = None
) -> dict[str, Any]:
    """Log-likelihood per choice, share of choices predicted,
    and the gain over a reference's log-likelihood per choice.

    p, reference (n, S): probabilities, nan where a row has fewer options.  A choice is predicted
    when it is the most probable option; of two as probable it counts half.  Intervals use t(J - 1)
    over people.
    """
    rows = np.arange(len(p))
    top = p >= np.nanmax(p, axis=1, keepdims=True) - 1e-9
    with np.errstate(divide="ignore"):
        value = np.log(p[rows, chosen])
        base = None if reference is None else np.log(reference[rows, chosen])
    fits, fits_se = clustered_mean(value, cluster)
    share, share_se = clustered_mean(top[rows, chosen] / top.sum(1), cluster)
    found: dict[str, Any] = {
        "log_likelihood": fits,
        "log_likelihood_se": fits_se,
        "predicted": share,
        "predicted_se": share_se,
    }
    if base is not None:
        gain, se = clustered_mean(value - base, cluster)
        half = (
            float(t.ppf(0.975, len(set(cluster.tolist())) - 1)) * se
            if np.isfinite(se)
            else float("nan")
        )
        found |= {"gain": gain, "gain_low": gain - half, "gain_high": gain + half}
    return found


@dataclass(frozen=True)
class Agent:
    """What an agent answered: id of a decision -> (S,) probabilities; or why it has no figures."""

    name: str
    answers: dict[str, np.ndarray]
    outside: bool = False
    kind: int | None = None  # number of the type that it was trained as, from 0


def _cautions(people: int, unsure: int) -> list[str]:
    """What to keep in mind of a type with so many people set aside, some perhaps not of it."""
    if not people:
        return [
            "nobody who was set aside is of this type; nothing can be said of its agent (set more "
            "people aside)"
        ]
    found = []
    if people < FEW_PEOPLE:
        found.append(
            f"only {people} held-out people: too few to tell small differences from chance"
        )
    if unsure:
        found.append(f"{unsure} of them have a posterior below .8: some may be of another type")
    return found


def _answers(
    agent: Agent, ids: Sequence[str], even: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An agent's probabilities on the marked rows, a coin's where it never answered (n, options),
    and which rows those are that it answered.
    """
    p, known = even.copy(), np.zeros(len(ids), bool)
    for i in np.flatnonzero(rows).tolist():
        answer = agent.answers.get(ids[i])
        if answer is not None:
            p[i, : len(answer)], known[i] = answer, True
    return p, known


def compare(
    data: Design,
    parts: Split,
    types: Types,
    ids: Sequence[str],
    agents: Sequence[Agent],
    items: tuple[Item, ...] | None = None,
) -> list[dict[str, Any]]:
    """For every type, how well each predictor does on the judged choices of people set aside.

    ids (n,): name of the decision of every row, under which agents were asked.  A decision that an
    agent never answered counts as a coin's; how many there are is said.  items (n,): of games, for
    rows that show only part of a plan; there every predictor is judged on that part.
    """
    tau = posterior(data, parts.assign, types)
    assigned = {name: int(v.argmax()) for name, v in tau.items()}
    kind = np.array([assigned.get(name, -1) for name in data.names])[data.cluster]
    codes = told(data, items)
    chosen = codes[np.arange(len(codes)), data.weight.argmax(1)]
    even = np.where(data.allowed, 1 / data.allowed.sum(1, keepdims=True), np.nan)
    coin = together(even, codes)

    def predicted(b: np.ndarray) -> np.ndarray:
        return together(probabilities(b, data), codes)

    pooled = predicted(types.pooled)
    found = []
    for k, target in enumerate(types.targets):
        rows, fitting = parts.judge & (kind == k), parts.assign & parts.plain & (kind == k)
        people = [name for name in parts.held_out if assigned[name] == k]
        sure = [float(tau[name][k]) for name in people]
        entry: dict[str, Any] = {
            "type": k + 1,
            "target": str(target),
            "people": len(people),
            "choices": int(rows.sum()),
            "posterior": float(np.mean(sure)) if sure else None,
            "unsure": sum(v < 0.8 for v in sure),
            "predictors": [],
            "notes": [],
        }
        found.append(entry)
        entry["notes"] += _cautions(len(people), entry["unsure"])
        if not people:
            continue
        tried: list[tuple[str, np.ndarray, dict[str, Any]]] = [
            ("coin", coin, {}),
            ("pooled estimate", pooled, {}),
            ("type's estimate", predicted(types.b[k]), {}),
            ("type, rounded", predicted(types.rounded[k]), {}),
        ]
        for agent in agents:
            if agent.outside:
                entry["predictors"].append({"name": agent.name, "outside": True})
                continue
            p, known = _answers(agent, ids, even, rows | fitting)
            p = together(p, codes)
            power = tempered(p[fitting], chosen[fitting])
            lacking = int((rows & ~known).sum())
            more = {
                "agent": True,
                "of_type": None if agent.kind is None else agent.kind + 1,
                "unanswered": lacking,
            }
            tried += [
                (agent.name, p, more),
                (f"{agent.name}, people's noise", powered(p, power), more | {"power": power}),
            ]
        for name, p, more in tried:
            entry["predictors"].append(
                {
                    "name": name,
                    **judge(p[rows], chosen[rows], data.cluster[rows], pooled[rows]),
                    **more,
                }
            )
    return found


@dataclass(frozen=True)
class Pages:
    """Every row as a page shows it.

    unit : payoff units of the file in a point.  columns, cells (n rows): the table that agents are
    asked about.  beyond (n,): whether a payoff lies outside ``range``, the points of training
    pages.  moved (n,): by how much a belief is rounded.
    """

    unit: float
    columns: tuple[str, ...]
    cells: list[tuple[str, ...]]
    beyond: np.ndarray
    range: str
    moved: np.ndarray


def allocation_pages(payoffs: np.ndarray, plain: np.ndarray) -> Pages:
    """Rows of payoffs (2, n, S), of which those in ``plain`` (n,) say what a point is worth."""
    unit = unit_of(payoffs[:, plain])
    points = np.round(payoffs / unit, 4)
    beyond = np.asarray(((points < 1) | (points > LARGEST_POINTS)).any((0, 2)))
    n, size = points.shape[1:]
    columns = tuple(f"{who}_{k + 1}" for k in range(size) for who in ("self", "other"))
    cells = [
        tuple("" if np.isnan(v) else number(v) for v in points[:, i].T.ravel()) for i in range(n)
    ]
    return Pages(unit, columns, cells, beyond, f"1 to {LARGEST_POINTS}", np.zeros(n))


def game_pages(items: Sequence[Item]) -> Pages:
    """Rows of sequential games; a point may also be worth 2 or 5 times a power of ten, for their
    training pages have small numbers.  Beliefs are rounded to tenths, which is what pages say."""
    payoffs = np.array([item.protocol.payoffs for item in items])
    unit = unit_of(payoffs, (1, 2, 5))
    points = np.round(payoffs / unit, 4)
    most = max(len(item.beliefs or ()) for item in items)
    cells, moved = [], np.zeros(len(items))
    for i, item in enumerate(items):
        beliefs = np.array(item.beliefs)
        shown = np.round(TENTHS * beliefs) / TENTHS
        moved[i] = np.abs(shown - beliefs).max()
        cells.append(
            (
                item.protocol.game,
                *map(number, points[i]),
                *map(number, shown),
                *[""] * (most - len(shown)),
            )
        )
    beyond = np.asarray(((points < 0) | (points > GRID - 1)).any(1))
    columns = ("game", *"TRPS", *(f"belief{k + 1}" for k in range(most)))
    return Pages(unit, columns, cells, beyond, f"0 to {GRID - 1}", moved)
