"""How many subjects, items or answers a comparison of two arms needs:
choice shares, and parameters of a preference.

*Shares.*  A unit is a subject (of a laboratory) or an item (on which a model is measured).  In arm
a its probability of the choice has mean p_a and standard deviation s_a over units; the intra-class
correlation of its answers is s_a^2 / (p_a (1 - p_a)).  A unit's mean over m answers has the
variance

    v_a = s_a^2 + (p_a (1 - p_a) - s_a^2) / m,

and s_a^2 where the probability is read off exactly.

Both variances are those under the alternative.  The test is Welch's t on unit means, or the paired
t where every unit is in both arms; its power is that of the noncentral t (Cohen 1988) at the
variance v_0 + v_1 (less twice the covariance). Answers near 0 or 1 are too skewed for that, so
every design is also simulated, with beta distributed probabilities; where simulation and formula
are further apart than ``TRUST``, the size is the one that simulation asks for.

*Parameters.*  By simulation throughout: logit choosers whose parameter varies over subjects,
estimated by ``econmoral.estimation.estimate.fit``, tested with clustered errors and t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta as beta_distribution
from scipy.stats import nct, norm
from scipy.stats import t as student

from econmoral.economics.choice import Decision
from econmoral.economics.games import BATTERY, belief_weights, draw_beliefs
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import Design, Fit, NotIdentified, allocations, design, fit

# intra-class correlation where neither it nor a spread is given: a spread of .25 at a share of one
# half
ICC = 0.25
TRUST = 0.028  # largest distance between formula and simulation at which the formula's size stands
DRAWS = 10_000  # simulated studies of a design; four times as many where counts suffice
# unit values of one simulation at most; fewer studies are drawn where units are many
WORK = 4_000_000
LARGEST = 10**9  # units: what needs more cannot be found
MOST = 2000  # subjects of a study of a parameter: more would be simulated for hours


# ------------------------------------------------------------------------------------------- shares


@dataclass(frozen=True)
class Contrast:
    """Two arms: shares (p_0, p_1), spreads (s_0, s_1),
    correlation of a unit's two probabilities.
    """

    shares: tuple[float, float]
    spreads: tuple[float, float]
    correlation: float

    def variances(self, answers: int | None) -> tuple[float, float]:
        """Variance of a unit's mean over so many answers in either arm; None: the exact
        probability.
        """
        whole = [p * (1 - p) for p in self.shares]
        v = [
            s * s + (0.0 if answers is None else (b - s * s) / answers)
            for s, b in zip(self.spreads, whole, strict=True)
        ]
        return v[0], v[1]

    @property
    def covariance(self) -> float:
        """Covariance of a unit's means in the two arms."""
        return self.correlation * self.spreads[0] * self.spreads[1]


@dataclass(frozen=True)
class Study:
    """One way to measure: ``paired`` (every unit in both arms) or apart; answers per unit and arm
    (None: exact).
    """

    name: str
    paired: bool
    answers: int | None


MODEL_STUDIES = (
    Study("exact, paired items", True, None),
    Study("exact, unpaired items per arm", False, None),
    Study("sampled once, paired items", True, 1),
    Study("sampled once, unpaired items per arm", False, 1),
)


def subject_studies(decisions: int) -> tuple[Study, Study]:
    """Within and between subjects, so many decisions of each in an arm."""
    return Study("subjects, in both arms", True, decisions), Study(
        "subjects per arm", False, decisions
    )


def contrast(
    effect: float,
    share: float = 0.5,
    spread: float | None = None,
    icc: float | None = None,
    correlation: float = 0.5,
    check: bool = True,
) -> Contrast:
    """Two arms whose shares are ``share`` and ``share`` + ``effect``.

    spread : standard deviation over units of the probability, the same in both arms; or icc : the
    intra-class correlation, the same in both arms.  correlation : of a unit's probabilities in the
    two arms.

    Raises ValueError for what cannot be: a share outside (0, 1), a spread that its share does not
    allow, both or (unless ``check`` is off) a correlation that such probabilities cannot have.
    """
    given = [x for x in (effect, share, spread, icc, correlation) if x is not None]
    if not np.isfinite(given).all():
        raise ValueError("effect, share, spread, icc and correlation must be finite numbers")
    shares = (share, share + effect)
    if effect == 0 or not 0 < share < 1:
        raise ValueError(
            f"the effect must not be 0 and the share lie strictly between 0 and 1, got {effect:g} "
            f"and {share:g}"
        )
    if not 0 < shares[1] < 1:
        raise ValueError(
            f"share + effect is {shares[1]:g}, and no share: it must lie strictly between 0 and 1"
        )
    if spread is not None and icc is not None:
        raise ValueError("give either a spread or an icc: each follows from the other")
    if spread is None:
        icc = ICC if icc is None else icc
        if not 0 <= icc <= 1:
            raise ValueError(f"the intra-class correlation must lie in [0, 1], got {icc:g}")
        spreads = tuple(math.sqrt(icc * p * (1 - p)) for p in shares)
    else:
        for p in shares:
            most = math.sqrt(p * (1 - p))
            if not 0 < spread <= most * (1 + 1e-12):
                raise ValueError(
                    f"a spread of {spread:g} cannot be: probabilities with mean {p:g} vary by more "
                    f"than 0 and at most {most:.4g}"
                )
        spreads = (spread, spread)
    found = Contrast(shares, (spreads[0], spreads[1]), correlation)
    if not -1 <= correlation <= 1:
        raise ValueError(f"the correlation must lie in [-1, 1], got {correlation:g}")
    if check and min(found.spreads) > 0 and correlation != 0:
        _copula(found)
    return found


def formula(c: Contrast, study: Study, units: int, alpha: float = 0.05) -> float:
    """Power of the two-sided t test by the noncentral t, units (per arm) at least 2."""
    v0, v1 = c.variances(study.answers)
    if study.paired:
        variance, df = v0 + v1 - 2 * c.covariance, units - 1.0
    else:
        variance, df = v0 + v1, (v0 + v1) ** 2 * (units - 1) / (v0 * v0 + v1 * v1)
    distance = abs(c.shares[1] - c.shares[0]) / math.sqrt(variance / units)
    if df > 1e5:
        critical = float(norm.ppf(1 - alpha / 2))
        return float(norm.sf(critical - distance) + norm.cdf(-critical - distance))
    critical = float(student.ppf(1 - alpha / 2, df))
    tails = float(nct.sf(critical, df, distance)), float(nct.cdf(-critical, df, distance))
    return sum(x for x in tails if math.isfinite(x))


@lru_cache(maxsize=64)
def _table(share: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities at standard normal quantiles: beta with this mean and standard deviation (0
    and 1 at the largest).
    """
    z = np.linspace(-6, 6, 2401)
    size = share * (1 - share) / spread**2 - 1
    if size < 1e-3:
        return z, (norm.cdf(z) > 1 - share).astype(float)
    return z, np.clip(beta_distribution.ppf(norm.cdf(z), share * size, (1 - share) * size), 0, 1)


@lru_cache(maxsize=64)
def _copula(c: Contrast) -> float:
    """Correlation of the normals behind a unit's two probabilities.  Raises ValueError where
    theirs cannot be reached.
    """
    one = norm.ppf((np.arange(120) + 0.5) / 120)
    z, e = (x.ravel() for x in np.meshgrid(one, one))
    first = np.interp(z, *_table(c.shares[0], c.spreads[0]))

    def reached(r: float) -> float:
        second = np.interp(r * z + math.sqrt(1 - r * r) * e, *_table(c.shares[1], c.spreads[1]))
        return float(np.corrcoef(first, second)[0, 1])

    low, high = reached(-1.0), reached(1.0)
    if not low - 0.01 <= c.correlation <= min(high + 0.01, 0.9999):
        raise ValueError(
            f"a correlation of {c.correlation:g} cannot be: between such arms it lies from "
            f"{low:.3g} to {min(high, 0.9999):.3g}"
        )
    if c.correlation <= low:
        return -1.0
    return (
        1.0
        if c.correlation >= high
        else float(brentq(lambda r: reached(r) - c.correlation, -1, 1, xtol=1e-4))
    )


def simulated(c: Contrast, study: Study, units: int, alpha: float = 0.05) -> float | None:
    """Share of simulated studies in which the t test rejects; None where there are too many units
    to simulate.

    A study in which no unit differs from another rejects exactly if its two means differ, as 0 / 0
    and 1 / 0 would.
    """
    rng = np.random.default_rng(0)
    if study.answers == 1:
        draws = 4 * DRAWS
        mean, var = _counts(c, study.paired, units, draws, rng)
    else:
        draws = min(DRAWS, WORK // (2 * units))
        if draws < 200:
            return None
        mean, var = _values(c, study, units, draws, rng)
    gap = mean[1] - mean[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(gap) / np.sqrt(var.sum(0) / units)
        df = (
            np.full(draws, units - 1.0)
            if study.paired
            else var.sum(0) ** 2 * (units - 1) / (var**2).sum(0)
        )
    rejects = t > student.ppf(1 - alpha / 2, np.where(np.isfinite(df), df, 1.0))
    return float(np.where(np.isfinite(t), rejects, gap != 0).mean())


def _counts(
    c: Contrast, paired: bool, units: int, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(2, draws) means and variances of single answers, or of differences (in row 1),
    from counts.
    """
    if not paired:
        mean = np.stack([rng.binomial(units, p, draws) / units for p in c.shares])
        return mean, mean * (1 - mean) * units / (units - 1)
    both = c.shares[0] * c.shares[1] + c.covariance
    cells = np.clip([both, c.shares[0] - both, c.shares[1] - both], 0, 1)
    counts = rng.multinomial(units, [*cells, max(1 - cells.sum(), 0.0)], draws)
    gap = (counts[:, 2] - counts[:, 1]) / units
    var = ((counts[:, 2] + counts[:, 1]) / units - gap**2) * units / (units - 1)
    return np.stack([np.zeros(draws), gap]), np.stack([np.zeros(draws), np.maximum(var, 0)])


def _values(
    c: Contrast, study: Study, units: int, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(2, draws) means and variances of unit means, or of differences (in row 1), from beta
    distributed probabilities.
    """
    z = rng.standard_normal((2, draws, units))
    if study.paired and min(c.spreads) > 0 and c.correlation != 0:
        r = _copula(c)
        z[1] = r * z[0] + math.sqrt(1 - r * r) * z[1]
    values = np.empty_like(z)
    for arm in (0, 1):
        known = c.spreads[arm] > 0
        q = (
            np.interp(z[arm], *_table(c.shares[arm], c.spreads[arm]))
            if known
            else np.full(z[arm].shape, c.shares[arm])
        )
        values[arm] = q if study.answers is None else rng.binomial(study.answers, q) / study.answers
    if study.paired:
        values[1], values[0] = values[1] - values[0], 0.0
    return values.mean(-1), values.var(-1, ddof=1)


@dataclass(frozen=True)
class Size:
    """Units a study needs (per arm where arms are apart), its power there, and what the number
    rests on: formula or simulation.
    """

    units: int
    power: float
    by: str


def size(c: Contrast, study: Study, alpha: float = 0.05, power: float = 0.8) -> Size | None:
    """Smallest number of units (per arm) with the power; None where nothing varies over units, so
    that there is no test.  Raises ValueError where none has it.
    """
    _check(alpha, power)
    if not noisy(c, study):
        return None
    if formula(c, study, LARGEST, alpha) < power:
        raise ValueError(
            f"{study.name}: more than {LARGEST:g} would be needed; look for a larger effect"
        )
    units = _smallest(lambda n: formula(c, study, n, alpha), power)
    theory, real = formula(c, study, units, alpha), simulated(c, study, units, alpha)
    if real is None or abs(real - theory) <= TRUST:
        return Size(units, theory if real is None else real, "formula")

    def reaches(n: int) -> float:
        found = simulated(c, study, n, alpha)
        return formula(c, study, n, alpha) if found is None else found

    found = _smallest(reaches, power)
    return Size(found, reaches(found), "simulation")


def noisy(c: Contrast, study: Study) -> bool:
    """Whether units differ at all in what is measured of them."""
    v0, v1 = c.variances(study.answers)
    return v0 + v1 - (2 * c.covariance if study.paired else 0.0) > 1e-12


def _smallest(power: Callable[[int], float], target: float) -> int:
    """Smallest n of at least 2 that reaches the target, for a power that rises with n."""
    high = 2
    while high < LARGEST and power(high) < target:
        high *= 2
    low = high // 2 if high > 2 else 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= target else (middle, high)
    return low if power(low) >= target else high


def _check(alpha: float, power: float) -> None:
    if not (0 < alpha < 1 and 0 < power < 1 and alpha < power):
        raise ValueError(
            f"no effect is found at level {alpha:g} with power {power:g}: both lie between 0 and "
            "1, the level below"
        )


def studies(decisions: int | None) -> tuple[Study, ...]:
    """The kinds of study, those of subjects only where their number of decisions is given."""
    if decisions is None:
        return MODEL_STUDIES
    if not 1 <= decisions <= 10_000:
        raise ValueError(f"decisions of a subject must lie between 1 and 10000, got {decisions}")
    return (*MODEL_STUDIES, *subject_studies(decisions))


def reached(c: Contrast, study: Study, units: int, alpha: float = 0.05) -> float | None:
    """Power with so many units: simulated, by formula where there are too many; None where nothing
    varies.
    """
    if not noisy(c, study):
        return None
    found = simulated(c, study, units, alpha)
    return formula(c, study, units, alpha) if found is None else found


def detectable(
    units: int,
    study: Study,
    alpha: float,
    power: float,
    share: float,
    spread: float | None,
    icc: float | None,
    correlation: float,
) -> float | None:
    """Smallest positive effect that so many units find with the power, by formula; None where no
    share below 1 is far enough.
    """

    def reach(effect: float) -> float:
        c = contrast(effect, share, spread, icc, correlation, check=False)
        return formula(c, study, units, alpha) - power if noisy(c, study) else -power

    low, high = 0.0, 0.0
    # on this side a share or its spread ends the walk
    for step in np.geomspace(1e-5, 1, 200) * (1 - share) * 0.9999:
        try:
            if reach(float(step)) >= 0:
                high = float(step)
                break
        except ValueError:
            return None
        low = float(step)
    if not high:
        return None
    return (
        float(brentq(reach, low, high, xtol=1e-7)) if low and reach(low) < 0 < reach(high) else high
    )


# --------------------------------------------------------------------------------------- parameters


@dataclass(frozen=True)
class Parameter:
    """A study of one parameter of a preference.

    theta : parameters and lambda (per point) of the first arm; effect : how much larger ``name`` is
    in the second arm, or, with one ``arm``, than the value it is tested against.  decisions : of
    every subject, the same for all.  spread : standard deviation of the parameter over subjects.
    exact : choice probabilities instead of choices (models), and items of their own for every
    subject.
    """

    family: str
    name: str
    effect: float
    theta: Mapping[str, float]
    decisions: int = 20
    spread: float = 0.0
    arms: int = 2
    exact: bool = False
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}; known: {', '.join(FAMILIES)}")
        names = (*FAMILIES[self.family].parameters, "lambda")
        if self.name not in names:
            raise ValueError(
                f"{self.family} has no parameter {self.name!r}; it has {', '.join(names)}"
            )
        if unknown := sorted(set(self.theta) - set(names)):
            raise ValueError(
                f"{self.family} has no parameter {', '.join(unknown)}; it has {', '.join(names)}"
            )
        numbers = (self.effect, self.spread, *self.theta.values())
        if (
            not np.isfinite(numbers).all()
            or self.effect == 0
            or self.spread < 0
            or not 0 < self.alpha < 1
        ):
            raise ValueError(
                "effect must not be 0, spread not negative, the level between 0 and 1, all "
                "numbers finite"
            )
        if min(self.value("lambda", arm) for arm in (0, 1)) <= 0:
            raise ValueError("lambda must be positive in both arms")
        if self.name == "lambda" and self.spread > 0:
            raise ValueError("lambda is taken to be the same for all subjects; give no spread")
        if not all(0 <= self.value("kappa", arm) <= 1 for arm in (0, 1)):
            raise ValueError("kappa must lie in [0, 1] in both arms")
        if self.name == "kappa" and self.spread > self.widest:
            raise ValueError(
                f"kappa lies in [0, 1]: with a mean of {self._means} over subjects its spread is "
                f"at most {self.widest:.2f}, got {self.spread:g}"
            )
        if not 1 <= self.decisions <= 1000 or self.arms not in (1, 2):
            raise ValueError(
                "decisions of a subject must lie between 1 and 1000 and arms be 1 or 2, got "
                f"{self.decisions} and {self.arms}"
            )

    @property
    def _means(self) -> str:
        return " and ".join(f"{self.value('kappa', arm):g}" for arm in (0, 1)[: self.arms])

    @property
    def widest(self) -> float:
        """Largest standard deviation over subjects: of kappa, which lies in [0, 1], sqrt(m (1 - m))
        at the mean of the arm that has least room; a mean of 0 or 1, where nobody varies, is left
        to the other arm.
        """
        if self.name != "kappa":
            return np.inf
        means = [self.value("kappa", arm) for arm in (0, 1)]
        return float(np.sqrt(min((m * (1 - m) for m in means if 0 < m < 1), default=0.25)))

    def value(self, name: str, arm: int) -> float:
        """A parameter's mean in an arm (the second is the one that differs); what is not given is
        0, lambda .05.
        """
        base = self.theta.get(name, 0.05 if name == "lambda" else 0.0)
        return base + self.effect if name == self.name and arm == 1 else base


@dataclass(frozen=True)
class Rejections:
    """What simulated studies of a parameter found: power, its Monte-Carlo error, refusals.

    spread : of the estimated effect, interquartile range / 1.349, which a few wild estimates do not
    move.
    """

    subjects: int
    power: float
    power_se: float
    spread: float
    studies: int
    not_identified: int


def items(family: str, count: int, seed: int) -> Design:
    """So many decisions: of the battery of games for Kantian families, between two random
    allocations for the others.
    """
    rng = np.random.default_rng(seed)
    if FAMILIES[family].kantian or family == "homo_economicus":
        protocols = [BATTERY[int(i)] for i in np.resize(rng.permutation(len(BATTERY)), count)]
        beliefs = [belief_weights(p.game, draw_beliefs(p.game, rng)) for p in protocols]
        first = [
            Decision(p.tables, w, np.eye(len(p.tables.strategies))[0], str(i))
            for i, (p, w) in enumerate(zip(protocols, beliefs, strict=True))
        ]
        return design(first, family)
    own, other = rng.integers(0, 20, (2, count, 2)) * 5.0
    act = rng.integers(3, size=count)
    return allocations(
        own, other, np.zeros(count, int), [str(i) for i in range(count)], family, act == 1, act == 2
    )


def _probabilities(study: Parameter, pool: Design, arm: int, shift: np.ndarray) -> np.ndarray:
    """(subjects, D, S) choice probabilities; shift (subjects,) of the parameter."""
    precision = study.value("lambda", arm)
    theta = np.array([[study.value(p, arm)] * len(shift) for p in pool.parameters]).reshape(
        len(pool.parameters), len(shift)
    )
    if study.name in pool.parameters:
        theta[pool.parameters.index(study.name)] += shift
    coefficients = precision * np.vstack([np.ones(len(shift)), theta])
    v = np.einsum("dsk,kn->nds", pool.index, coefficients)
    v = np.where(pool.allowed, v, -np.inf)
    p = np.exp(v - v.max(2, keepdims=True))
    return p / p.sum(2, keepdims=True)


def implied_icc(study: Parameter) -> float:
    """Intra-class correlation of subjects' choices in one decision that the spread of the parameter
    brings about.

    Variance over subjects of the probability of an option as a share of p (1 - p), summed over
    options and decisions.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    pool = items(study.family, max(study.decisions, 50), 0)
    p = _probabilities(study, pool, 0, study.spread * nodes)
    mean = np.einsum("n,nds->ds", weights, p)
    between = np.einsum("n,nds->ds", weights, (p - mean) ** 2)
    return float(between.sum() / (mean * (1 - mean)).sum())


def spread_for(study: Parameter, icc: float) -> float:
    """Standard deviation of the parameter over subjects that gives an intra-class correlation.
    Raises ValueError if none does.
    """
    if not 0 <= icc < 1:
        raise ValueError(f"the intra-class correlation must lie from 0 up to 1, got {icc:g}")

    def gap(spread: float) -> float:
        return implied_icc(replace(study, spread=spread)) - icc

    if icc == 0:
        return 0.0
    high = min(0.1, study.widest)
    while gap(high) < 0:
        last = high >= min(50, study.widest)
        high = min(2 * high, study.widest)
        if last:
            raise ValueError(
                f"no spread of {study.name} gives choices an intra-class correlation of {icc:g}; "
                f"the largest is {gap(high) + icc:.3g}"
            )
    return float(brentq(gap, 0.0, high, xtol=1e-4))


def rejections(study: Parameter, subjects: int, draws: int = 200, seed: int = 0) -> Rejections:
    """Simulated studies with so many subjects (per arm), each estimated and tested.

    Two arms: (estimate_1 - estimate_0) / sqrt(se_1^2 + se_0^2) against t with 2 (subjects - 1)
    degrees of freedom; one arm against the fixed value, subjects - 1.  A study that identifies
    nothing does not reject.  Raises ValueError for fewer than three subjects or fifty draws.
    """
    if subjects < 3 or draws < 50:
        raise ValueError(
            f"simulated studies need at least 3 subjects and 50 draws, got {subjects} and {draws}"
        )
    rng = np.random.default_rng(seed)
    pool = items(study.family, study.decisions * (subjects if study.exact else 1), seed)
    arms = (0, 1) if study.arms == 2 else (1,)
    critical = float(student.ppf(1 - study.alpha / 2, len(arms) * (subjects - 1)))
    gaps, rejected, refused = [], 0, 0
    for _ in range(draws):
        try:
            found = [_simulated_fit(study, pool, subjects, arm, rng) for arm in arms]
        except NotIdentified:
            refused += 1
            continue
        reference = (
            found[0].estimates[study.name] if len(found) == 2 else study.value(study.name, 0)
        )
        gaps.append(found[-1].estimates[study.name] - reference)
        rejected += abs(gaps[-1]) > critical * math.sqrt(sum(f.se[study.name] ** 2 for f in found))
    power = rejected / draws
    spread = (
        float(np.subtract(*np.percentile(gaps, (75, 25)))) / 1.349
        if len(gaps) >= draws / 2
        else math.nan
    )
    return Rejections(
        subjects, power, math.sqrt(power * (1 - power) / draws), spread, draws, refused
    )


def _simulated_fit(
    study: Parameter, pool: Design, subjects: int, arm: int, rng: np.random.Generator
) -> Fit:
    """Subjects of one arm choose, and their choices are estimated."""
    shift = study.spread * rng.standard_normal(subjects)
    if study.exact:  # items of their own: block i of the pool is unit i's
        own = np.arange(subjects * study.decisions).reshape(subjects, study.decisions)
        p = np.concatenate(
            [
                _probabilities(study, pool.rows(block), arm, shift[[i]])[0]
                for i, block in enumerate(own)
            ]
        )
        rows, weight = np.arange(len(p)), p
    else:
        p = _probabilities(study, pool, arm, shift).reshape(-1, pool.index.shape[1])
        rows = np.tile(np.arange(len(pool.index)), subjects)
        picked = (p.cumsum(1) < rng.random((len(p), 1))).sum(1).clip(max=p.shape[1] - 1)
        weight = np.eye(p.shape[1])[picked]
    cluster = np.repeat(np.arange(subjects), study.decisions)
    data = replace(
        pool.rows(rows), weight=weight, cluster=cluster, names=tuple(map(str, range(subjects)))
    )
    return fit(data)


def subjects_for(study: Parameter, power: float = 0.8, draws: int = 200) -> Rejections:
    """Subjects (per arm) that a study of a parameter needs, and the power simulated there.

    The spread of the estimate falls with the root of the number: from a pilot of simulated studies
    to a first size, and up to four times from there to a better one.  Raises ValueError where more
    than ``MOST`` would be needed.
    """
    _check(study.alpha, power)
    edge = float(norm.ppf(1 - study.alpha / 2))
    need = (edge + float(norm.ppf(power))) / abs(study.effect)
    found = rejections(study, 40, max(50, draws // 2))
    for attempt in range(5):
        if not math.isfinite(found.spread):
            raise ValueError(
                f"with {found.subjects} subjects most simulated studies do not identify "
                f"{study.name}; give more decisions or a larger lambda"
            )
        factor = need * found.spread
        if attempt:  # from the power that was simulated, the way of the normal distribution
            factor = (
                need
                * abs(study.effect)
                / max(edge + float(norm.ppf(np.clip(found.power, 0.05, 0.99))), 0.5)
            )
        subjects = max(5, math.ceil(found.subjects * factor**2))
        if subjects > MOST:
            raise ValueError(
                f"more than {MOST} subjects would be needed (about {subjects}); look for a "
                "larger effect or give more decisions"
            )
        if attempt and (abs(found.power - power) <= found.power_se or subjects == found.subjects):
            break
        found = rejections(study, subjects, draws, attempt + 1)
    return found
