"""What price competition came to: prices, profits, consumers, between Nash and monopoly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from econmoral.economics.market import Market, NoEquilibrium, place
from econmoral.estimation.robust import clustered_covariance

from .estimate import Estimate, Value, mean_of
from .markets import SCALE, Meeting, make_market
from .validity import Validity

LAST = 50  # periods that outcomes are means of
GATE = (0.95, 1.05)  # of the monopoly price, for the 10th and 90th percentile of a firm alone
UNDEFINED = "undefined"  # an index between two benchmarks that coincide


class Kappa(TypedDict):
    """A revealed degree of morality, or why there is none."""

    value: float | None
    why: str


class OverRuns(TypedDict):
    """Mean over runs with its 95 % t interval; None where it is undefined or there is one run."""

    mean: float | None
    low: float | None
    high: float | None
    runs: int


class MarketOutcome(TypedDict):
    """One market, means over the last ``LAST`` periods; None where an index is undefined."""

    market: int
    pairing: str
    agents: list[str]
    currency: float
    price: list[float]
    price_index: float | None
    profit_gain: float | None
    firm_profit_gain: list[float | None]
    consumer_surplus: float
    dispersion: float
    settled_in_period: int | None


class FirmOutcome(TypedDict):
    """One firm of a pairing, over runs."""

    agent: str
    price: OverRuns
    profit_gain: OverRuns


class Lags(TypedDict):
    """Coefficients of the own and the others' last price; ``warning`` near a unit root."""

    own_lag: Value
    others_lag: Value
    warning: str


class Settled(TypedDict):
    """Markets whose prices settled, and when."""

    markets: int
    median_period: float


class Pairing(TypedDict):
    """A pairing over runs; nothing but its agents where one of them answers outside the form."""

    agents: list[str]
    outside: list[str]
    price_index: NotRequired[OverRuns]
    profit_gain: NotRequired[OverRuns]
    consumer_surplus: NotRequired[OverRuns]
    dispersion: NotRequired[OverRuns]
    firms: NotRequired[list[FirmOutcome]]
    settled: NotRequired[Settled]
    revealed_kappa: NotRequired[Kappa]
    lags: NotRequired[Lags | None]


class Gate(Validity):
    """Whether a firm alone finds the monopoly price."""

    percentile_10: NotRequired[float]
    percentile_90: NotRequired[float]
    monopoly_price: NotRequired[float]
    competent: bool


class PricingSummary(TypedDict):
    """Everything about a run.  impulse : pairing -> (periods, firms) price minus the price without
    a forced one."""

    pairings: dict[str, Pairing]
    markets: list[MarketOutcome]
    gate: NotRequired[dict[str, Gate]]
    agents: NotRequired[dict[str, Validity]]
    unanswered: NotRequired[int]
    group: NotRequired[str]
    periods: NotRequired[int]
    impulse: NotRequired[dict[str, list[list[float]]]]


def revealed_kappa(market: Market, price: float, group: str) -> Kappa:
    """The common degree of morality whose equilibrium price is this one; or the end of [0, 1]
    beyond which it lies."""
    if market.n == 1:
        return {"value": None, "why": "no rival"}
    degrees = np.linspace(0, 1, 11)
    prices = []
    for kappa in degrees:
        try:
            prices.append(float(market.equilibrium((float(kappa),) * market.n, group).mean()))
        except NoEquilibrium:
            return {"value": None, "why": "no equilibrium found"}
    order = np.argsort(prices)
    ordered, values = np.array(prices)[order], degrees[order]
    if not ordered[0] - 1e-3 <= price <= ordered[-1] + 1e-3:
        end = values[0] if price < ordered[0] else values[-1]
        return {"value": None, "why": f"beyond kappa = {end:g}"}
    return {"value": float(np.interp(price, ordered, values)), "why": ""}


def converged(prices: np.ndarray) -> int | None:
    """First period from which the mean price, over windows of ten, stays within 5 % of its last
    ``LAST`` periods' mean."""
    level = prices.mean(1)
    smooth = np.convolve(level, np.ones(10) / 10, mode="valid")
    near = np.abs(smooth / level[-LAST:].mean() - 1) <= 0.05
    if not near[-1]:
        return None
    outside = np.flatnonzero(~near)
    return int(outside[-1]) + 1 if len(outside) else 0


def _mean(index: Sequence[float | None]) -> float | None:
    """Mean over firms; None where it is undefined of one."""
    defined = [v for v in index if v is not None]
    return float(np.mean(defined)) if len(defined) == len(index) else None


def outcome(meeting: Meeting, prices: np.ndarray) -> MarketOutcome:
    """Of one market, means over the last ``LAST`` periods: prices in units of the currency's alpha,
    (T, n) given."""
    market, late = meeting.market, prices[-LAST:]
    low, high = market.nash(), market.monopoly()
    gains = place(market.profits(late).mean(0), market.profits(low), market.profits(high))
    surplus = market.consumer_surplus(late).mean() / (SCALE * market.currency)
    return {
        "market": meeting.number,
        "pairing": meeting.name,
        "agents": list(meeting.agents),
        "currency": market.currency,
        "price": (late.mean(0) / market.currency).tolist(),
        "price_index": _mean(place(late.mean(0), low, high)),
        "profit_gain": _mean(gains),
        "firm_profit_gain": gains,
        "consumer_surplus": float(surplus),
        "dispersion": float(late.std(0).mean() / market.currency),
        "settled_in_period": converged(prices),
    }


def over_runs(values: Sequence[float | None]) -> OverRuns:
    """Mean over runs with its 95 % t interval: runs are the unit, not periods."""
    found = mean_of(v for v in values if v is not None)
    if found is None:
        return {"mean": None, "low": None, "high": None, "runs": 0}
    mean = Estimate("mean", found["mean"], found["se"], found["n"])
    return {"mean": mean.value, "low": mean.low, "high": mean.high, "runs": mean.n}


def lag_regression(paths: Sequence[np.ndarray]) -> Lags | None:
    """Own price on both lags with fixed effects of market and firm, errors clustered by market;
    near a unit root it says so.

    paths : (T, n) of every market.  None where prices do not move and of one firm alone.
    """
    if paths[0].shape[1] == 1:
        return None
    x, y, cluster = [], [], []
    for number, prices in enumerate(paths):
        for firm in range(prices.shape[1]):
            own, others = prices[:, firm], np.delete(prices, firm, 1).mean(1)
            lag = [own[:-1] - own[:-1].mean(), others[:-1] - others[:-1].mean()]
            x.append(np.column_stack(lag))
            y.append(own[1:] - own[1:].mean())
            cluster += [number] * (len(own) - 1)
    design, after = np.concatenate(x), np.concatenate(y)
    cross = design.T @ design
    if np.linalg.matrix_rank(cross, tol=1e-9) < 2 or len(paths) < 2:
        return None
    inverse = np.linalg.inv(cross)
    b = inverse @ design.T @ after
    scores = design * (after - design @ b)[:, None]
    se = np.sqrt(np.diag(clustered_covariance(inverse, scores, np.array(cluster))))
    root = bool(b.sum() + 1.96 * np.hypot(*se) > 0.95)
    warning = (
        "close to a unit root: these coefficients are biased and their errors too small; look at "
        "the impulse response"
    )
    return {
        "own_lag": {"value": float(b[0]), "se": float(se[0])},
        "others_lag": {"value": float(b[1]), "se": float(se[1])},
        "warning": warning if root else "",
    }


def summarise(
    meetings: Sequence[Meeting],
    prices: np.ndarray,
    group: str,
    not_valid: Sequence[str] = (),
    not_competent: Sequence[str] = (),
) -> PricingSummary:
    """Outcomes of every market and, over runs, of every pairing.

    not_valid : agents that answer outside the form; their pairings have no outcomes, only
    ``outside``, who it is.  not_competent : agents that do not find the monopoly price alone; the
    prices of their pairings reveal no preference.
    """
    played = list(zip(meetings, prices, strict=True))
    runs = [outcome(m, p) for m, p in played if not set(m.agents) & set(not_valid)]
    found: dict[str, Pairing] = {}
    for meeting in meetings:
        name, agents = meeting.name, list(meeting.agents)
        if name in found:
            continue
        outside = [a for a in dict.fromkeys(agents) if a in not_valid]
        found[name] = {"agents": agents, "outside": outside}
        if not outside:
            paths = [p / m.market.currency for m, p in played if m.name == name]
            found[name] = pairing([r for r in runs if r["pairing"] == name], paths, group)
            if len(agents) > 1 and set(agents) & set(not_competent):
                found[name]["revealed_kappa"] = {"value": None, "why": "not competent"}
    return {"pairings": found, "markets": runs}


def pairing(mine: Sequence[MarketOutcome], paths: Sequence[np.ndarray], group: str) -> Pairing:
    """A pairing over its runs."""
    agents = mine[0]["agents"]
    settled = [v for r in mine if (v := r["settled_in_period"]) is not None]
    price = float(np.mean([r["price"] for r in mine]))
    return {
        "agents": agents,
        "outside": [],
        "price_index": over_runs([r["price_index"] for r in mine]),
        "profit_gain": over_runs([r["profit_gain"] for r in mine]),
        "consumer_surplus": over_runs([r["consumer_surplus"] for r in mine]),
        "dispersion": over_runs([r["dispersion"] for r in mine]),
        "firms": [
            {
                "agent": agent,
                "price": over_runs([r["price"][i] for r in mine]),
                "profit_gain": over_runs([r["firm_profit_gain"][i] for r in mine]),
            }
            for i, agent in enumerate(agents)
        ],
        "settled": {
            "markets": len(settled),
            "median_period": float(np.median(settled) if settled else np.nan),
        },
        "revealed_kappa": revealed_kappa(make_market(len(agents), 1.0), price, group),
        "lags": lag_regression(paths),
    }


def answering(summary: PricingSummary) -> Mapping[str, Pairing]:
    """The pairings of which every agent answers in the form."""
    return {name: row for name, row in summary["pairings"].items() if not row["outside"]}


def gate(prices: np.ndarray, market: Market) -> dict[str, float | bool]:
    """Whether a firm alone finds its price: 10th and 90th percentile of the last 100 periods within
    5 % of the monopoly's.  prices : (markets, periods)."""
    target = float(market.monopoly()[0])
    low, high = np.percentile(prices[:, -100:], (10, 90)) / target
    return {
        "percentile_10": float(low),
        "percentile_90": float(high),
        "monopoly_price": target / market.currency,
        "competent": bool(low >= GATE[0] and high <= GATE[1]),
    }
