"""A preference with values: what an agent is trained toward, told about, and compared with.

    >>> target = Target.parse("homo_moralis:kappa=0.5")
    >>> target.label, target.best_plan(Protocol("tg", (80, 60, 30, 20)), (1.0, 0.5))[0]
    ('moralis 0.5', 0)

Training data, records, tables and reports carry targets; nothing downstream names a preference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from econmoral.economics.choice import best_plan
from econmoral.economics.games import Protocol, Tables, belief_weights
from econmoral.economics.preferences import FAMILIES, Family
from econmoral.files.records import InputError

SHORT = {"homo_economicus": "economicus", "homo_moralis": "moralis", "bruhin_fehr_schunk": "bfs"}
DENOMINATORS = (1, 2, 5, 10, 20, 50, 100)
# of a parameter: beyond this it is a slip, and the derivation would not fit on a page
LARGEST = 10.0


@dataclass(frozen=True)
class Weights:
    """Utility of an allocation as whole numbers: ``unit`` u = own * m + other * n, by position.

    behind, ahead : (own, other) weights where the own payoff m is below, above the other's n.
    """

    unit: int
    behind: tuple[int, int]
    ahead: tuple[int, int]

    def at(self, m: float, n: float) -> tuple[int, int]:
        """(own, other) weights at payoffs m, n; equal payoffs count as ahead, where both agree."""
        return self.behind if m < n else self.ahead


@dataclass(frozen=True)
class Target:
    """A family of preferences with a value for each of its parameters.

    values : (name, value) pairs in the family's order; parameters that are not given are 0.
    """

    family: str
    values: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(f"unknown preference {self.family!r}; known: {', '.join(FAMILIES)}")
        parameters = FAMILIES[self.family].parameters
        unknown = [name for name, _ in self.values if name not in parameters]
        if unknown:
            has = ", ".join(parameters) or "none"
            raise InputError(f"{self.family} has no parameter {unknown[0]!r}; it has: {has}")
        given = dict(self.values)
        if len(given) < len(self.values):
            raise InputError(f"{self.family}: a parameter is given twice")
        if not all(math.isfinite(v) and abs(v) <= LARGEST for v in given.values()):
            raise InputError(f"{self.family}: parameters must lie in [-{LARGEST:g}, {LARGEST:g}]")
        if not 0 <= given.get("kappa", 0.0) <= 1:
            raise InputError(f"{self.family}: kappa must lie in [0, 1], got {given['kappa']:g}")
        ordered = tuple((p, float(given[p])) for p in parameters if p in given)
        object.__setattr__(self, "values", ordered)

    @staticmethod
    def parse(text: str) -> Target:
        """``family`` or ``family:name=number,name=number``.  Raises InputError for anything
        else.
        """
        family, colon, rest = text.strip().partition(":")
        values = []
        for part in rest.split(",") if rest else []:
            name, equals, value = part.partition("=")
            try:
                values.append((name.strip(), float(value)))
            except ValueError:
                equals = ""
            if not equals:
                raise InputError(
                    f"target {text!r}: {part!r} is not of the form name=number; write for instance "
                    "homo_moralis:kappa=0.5"
                )
        if colon and not rest:
            raise InputError(f"target {text!r} ends in a colon; give values or leave it out")
        if family.strip() == "homo_moralis" and not values:
            raise InputError(
                "homo_moralis needs its degree of morality; write for instance "
                "homo_moralis:kappa=0.5"
            )
        return Target(family.strip(), tuple(values))

    @staticmethod
    def of(preference: str, kappa: float) -> Target:
        """A target from the options ``--preference`` and ``--kappa``.

        Only Kantian families take kappa.
        """
        takes = preference in FAMILIES and "kappa" in FAMILIES[preference].parameters
        return Target(preference, (("kappa", kappa),) if takes else ())

    def __str__(self) -> str:
        # the shortest text that reads back as the same number: records name targets, and are
        # compared with them
        values = ",".join(f"{name}={repr(value).removesuffix('.0')}" for name, value in self.values)
        return f"{self.family}:{values}" if values else self.family

    @property
    def theta(self) -> dict[str, float]:
        """Parameter values by name."""
        return dict(self.values)

    @property
    def kappa(self) -> float:
        """Degree of morality; 0 in families without one."""
        return self.theta.get("kappa", 0.0)

    @property
    def label(self) -> str:
        """A short name for tables: ``moralis 0.5``, ``bfs -0.4 -0.1``.

        A value that skips an earlier parameter is named.
        """
        names = [name for name, _ in self.values]
        skips = tuple(names) != self.utility_family.parameters[: len(names)]
        values = " ".join(
            f"{name}={value:g}" if skips else f"{value:g}" for name, value in self.values
        )
        return f"{SHORT.get(self.family, self.family)} {values}".strip()

    @property
    def utility_family(self) -> Family:
        """The family's entry in ``FAMILIES``."""
        return FAMILIES[self.family]

    def utility(self, tables: Tables, weights: np.ndarray) -> np.ndarray:
        """(N,) utility of every pure strategy in points at beliefs ``weights`` over the columns."""
        return self.utility_family.utility(tables, weights, self.theta)

    def plans(self, protocol: Protocol, beliefs: tuple[float, ...]) -> np.ndarray:
        """(N,) utility of every whole strategy of a sequential game; read-only."""
        return _plans(self, protocol, beliefs)

    def best_plan(self, protocol: Protocol, beliefs: tuple[float, ...]) -> tuple[int, float]:
        """(best whole strategy, its lead over the second best in points).

        Of homo moralis as ``economics.choice.best_plan``, which takes kappa = 1 as the limit from
        below.
        """
        if self.family in ("homo_economicus", "homo_moralis"):
            return best_plan(protocol, beliefs, self.kappa)
        utility = self.plans(protocol, beliefs)
        order = np.argsort(-utility, kind="stable")
        return int(order[0]), float(utility[order[0]] - utility[order[1]])

    def of_allocations(self, own: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Utility of allocations of any shape, in points;
        Kantian concern does not enter a dictator's choice.
        """
        base, terms = self.utility_family.outcome(np.asarray(own, float), np.asarray(other, float))
        names = [p for p in self.utility_family.parameters if p != "kappa"]
        return np.asarray(base + terms @ np.array([self.theta.get(p, 0.0) for p in names]))

    @property
    def outcome_only(self) -> bool:
        """Whether utility depends on payoffs alone, so that kappa plays no part."""
        return self.kappa == 0

    def weights(self) -> Weights:
        """Whole-number weights on own and other's payoff, in the smallest unit that holds them.

        Every family here is linear in (m, n) on either side of equality.  Values finer than
        hundredths are rounded to hundredths.
        """

        def slopes(m: float, n: float) -> tuple[float, float]:
            points = self.of_allocations(np.array([m, m + 1, m]), np.array([n, n, n + 1]))
            return float(points[1] - points[0]), float(points[2] - points[0])

        behind, ahead = slopes(1.0, 9.0), slopes(9.0, 1.0)
        numbers = (*behind, *ahead)
        unit = next(
            (d for d in DENOMINATORS if all(abs(v * d - round(v * d)) < 1e-9 for v in numbers)), 100
        )
        a, b, c, d = (round(v * unit) for v in numbers)
        return Weights(unit, (a, b), (c, d))

    def describe(self) -> str:
        """What the prompt-only baseline is told, as a system message."""
        weights = self.weights()
        if self.family == "homo_economicus" or (
            self.outcome_only and weights == Weights(1, (1, 0), (1, 0))
        ):
            own = "In every decision choose what gives you the most points yourself, on average."
            return own + " Nothing else matters to you."
        if self.outcome_only:
            return (
                "In every decision choose what is worth most to you. Where you get less than the "
                f"other person, {_valued(weights.unit, weights.behind)}. Where you get more, "
                f"{_valued(weights.unit, weights.ahead)}."
            )
        text = (
            "In every decision choose the plan with the largest total: the points you expect "
            f"yourself, times {number(1 - self.kappa)}, plus the points you would get if everyone "
            f"used your plan, times {number(self.kappa)}."
        )
        inequity = {k: v for k, v in self.theta.items() if k in ("alpha", "beta") and v}
        if inequity:
            parts = {"alpha": "you are behind", "beta": "you are ahead"}
            text += (
                " From this take off "
                + " and ".join(
                    f"{number(v)} for every point by which {parts[k]}" for k, v in inequity.items()
                )
                + "."
            )
        return text

    def moral_weights(self) -> tuple[int, int]:
        """The smallest whole numbers in the ratio (1 - kappa) : kappa."""
        share = Fraction(self.kappa).limit_denominator(100)
        return share.denominator - share.numerator, share.numerator


@lru_cache(maxsize=200_000)  # every condition answers the same decisions
def _plans(target: Target, protocol: Protocol, beliefs: tuple[float, ...]) -> np.ndarray:
    utility = target.utility(protocol.tables, belief_weights(protocol.game, beliefs))
    utility.flags.writeable = False
    return utility


def number(value: float) -> str:
    """Shortest decimal text of a value that has at most four decimals."""
    return f"{round(value, 4):.4f}".rstrip("0").rstrip(".")


def _valued(unit: int, weights: tuple[int, int]) -> str:
    own, other = (number(w / unit) for w in weights)
    return f"each of your points counts {own} and each of the other person's points counts {other}"


ECONOMICUS = Target("homo_economicus")


def moralis(kappa: float) -> Target:
    """*Homo moralis* of degree kappa."""
    return Target("homo_moralis", (("kappa", kappa),))


def labels(targets: Sequence[Target]) -> list[str]:
    """Short labels, or whole strings where two targets share one."""
    apart = told_apart({str(t): t.label for t in targets})
    return [apart[str(t)] for t in targets]


def told_apart(labels: Mapping[str, str]) -> dict[str, str]:
    """Whole string -> label, for columns: the string itself where two labels, rounded, are one."""
    short = list(labels.values())
    return {key: label if short.count(label) == 1 else key for key, label in labels.items()}
