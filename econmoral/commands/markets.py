"""``econmoral market``: equilibrium prices of firms of any degree of morality, and what an
estimated degree does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from econmoral.commands import figure
from econmoral.economics.market import GROUPS, Market, counterfactual
from econmoral.files.options import Config, option
from econmoral.files.records import InputError, terminal
from econmoral.files.shown import grid


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    kappa: tuple[float, ...] = option(
        (), "degree of morality of every firm, or one for all (default 0)"
    )
    group: str | None = option(None, "who stands behind the veil (default firms)", choices=GROUPS)
    quality: tuple[float, ...] = option((2.0,), "a of every firm, or one for all")
    cost: tuple[float, ...] = option((1.0,), "unit cost of every firm, or one for all")
    outside: float = option(0.0, "quality of the outside good (default 0)")
    mu: float = option(0.25, "horizontal differentiation")
    scale: float = option(1.0, "size of the market")
    currency: float = option(1.0, "units of currency per unit of utility")
    prices: tuple[float, ...] = option(
        (), "describe these prices, or one for all, instead of the equilibrium"
    )
    kappa_estimate: float | None = option(
        None, "an estimated degree, common to all firms: intervals by draws from it"
    )
    kappa_se: float | None = option(None, "standard error of that estimate")
    draws: int | None = option(None, "draws of kappa (default 500)")
    seed: int | None = option(None, "of the draws (default 0)", at_least=0)
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Equilibrium, given prices, or a counterfactual.  Raises InputError for what has no answer."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            return _estimated(options) if _asks_for_draws(options) else _given(options)
    except (ArithmeticError, np.linalg.LinAlgError, RuntimeError) as error:
        told = f"this market is beyond what can be computed ({error})"
        raise InputError(
            f"{told}; bring qualities, costs, prices and mu nearer to one another"
        ) from None
    except ValueError as error:
        raise InputError(str(error)) from None


def _market(options: Options) -> Market:
    """As many firms as the longest list has numbers, two at least.

    Raises ValueError for a list that is shorter, unless it has one number for all.
    """
    lists = {"qualities": options.quality, "costs": options.cost}
    lists |= {"degrees of morality": options.kappa, "prices": options.prices}
    most = max(lists, key=lambda name: len(lists[name]))
    n = max(len(lists[most]), 2)
    for name, numbers in lists.items():
        if 1 < len(numbers) < n:
            raise ValueError(
                f"there are {n} {most} and {len(numbers)} {name}; give one for all firms, or one "
                "for each"
            )
    quality, cost = _each(options.quality, n), _each(options.cost, n)
    return Market(quality, cost, options.outside, options.mu, options.scale, options.currency)


def _each(numbers: tuple[float, ...], n: int) -> tuple[float, ...]:
    return numbers * n if len(numbers) == 1 else numbers


def _given(options: Options) -> dict[str, Any]:
    idle = dict.fromkeys(("draws", "seed"), "without --kappa-estimate")
    if options.prices:
        idle |= dict.fromkeys(("kappa", "group"), "with --prices")
    for name, why in idle.items():
        if getattr(options, name) not in (None, ()):
            raise ValueError(f"--{name} does nothing {why}; leave it out")
    firms = _market(options)
    kappa = _each(options.kappa or (0.0,), firms.n)
    prices = (
        np.array(_each(options.prices, firms.n))
        if options.prices
        else firms.equilibrium(kappa, options.group or "firms")
    )
    if not np.isfinite(prices).all():
        raise ValueError("prices must be finite")
    result = firms.describe(prices)
    numbers = [*result["shares"], *result["profits"], result["consumer_surplus"]]
    if not np.isfinite(numbers).all():
        raise OverflowError("a profit or the surplus is not finite")
    return result | {"critical_discount": [firms.critical_discount(i) for i in range(firms.n)]}


def _asks_for_draws(options: Options) -> bool:
    given = [options.kappa_estimate is not None, options.kappa_se is not None]
    if any(given) and not all(given):
        raise ValueError("--kappa-estimate and --kappa-se go together: give both or none")
    if all(given) and (options.kappa or options.prices):
        raise ValueError("give either --kappa-estimate or one of --kappa and --prices, not both")
    return all(given)


def _estimated(options: Options) -> dict[str, Any]:
    firms = _market(options)
    estimate, se = options.kappa_estimate, options.kappa_se
    assert estimate is not None
    assert se is not None
    found = counterfactual(
        firms,
        estimate,
        se,
        500 if options.draws is None else options.draws,
        options.seed or 0,
        options.group or "firms",
    )

    def told(name: str, i: int) -> dict[str, float]:
        return {
            "value": float(found.value[name][i]),
            "low": float(found.low[name][i]),
            "high": float(found.high[name][i]),
        }

    return {
        "kappa": {"estimate": estimate, "se": se, "priced_at": found.kappa},
        "draws": found.draws,
        "draws_without_equilibrium": found.failed,
        "probability_cut": found.cut,
        "prices": [told("prices", i) for i in range(firms.n)],
        "profits": [told("profits", i) for i in range(firms.n)],
        "consumer_surplus": told("consumer_surplus", 0),
    }


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console = terminal(130)
    if "probability_cut" in result:
        _show_estimated(result)
        return
    names = ("prices", "shares", "profits", "price_index", "profit_gain", "nash", "monopoly")
    firms = range(len(result["prices"]))
    rows = [(str(i + 1), *(figure(result[k][i], 6) for k in names)) for i in firms]
    header = (
        "firm",
        "price",
        "share",
        "profit",
        "price index",
        "profit gain",
        "Nash price",
        "monopoly price",
    )
    console.print(grid(header, rows))
    console.print(
        f"consumer surplus {result['consumer_surplus']:.6g}; price index and profit gain: 0 at "
        "Nash, 1 at joint monopoly"
    )
    if any(v is None for v in result["price_index"] + result["profit_gain"]):
        console.print("–: not defined, for the joint monopoly is no better for this firm than Nash")
    discounts = result["critical_discount"]
    said = ["never" if d is None else f"from discount factor {d:.4f}" for d in discounts]
    each = "; ".join(f"firm {i + 1} {text}" for i, text in enumerate(said))
    console.print(f"the threat of Nash holds the joint monopoly: {each}")
    if None in discounts:
        console.print(
            "never: the joint monopoly pays this firm no more than Nash, however patient it is"
        )
    if not min(result["shares"]) > 0:
        console.print("a share of 0 is one too small to be told from 0")


def _show_estimated(result: dict[str, Any]) -> None:
    console, kappa = terminal(100), result["kappa"]
    console.print(
        f"kappa {kappa['estimate']:g} (SE {kappa['se']:g}), the same for all firms; "
        f"{result['draws']} draws"
    )
    share = 100 * result["probability_cut"]
    outside = f"{share:.2g} %" if share >= 0.01 else "less than 0.01 %"
    console.print(
        f"truncated to [0, 1]: {outside} of its distribution lies outside and is never drawn"
    )
    if kappa["priced_at"] != kappa["estimate"]:
        console.print(
            f"values are those at kappa {kappa['priced_at']:g}, for the estimate lies outside"
        )
    if result["draws_without_equilibrium"]:
        console.print(
            f"{result['draws_without_equilibrium']} draws had no equilibrium and are left out"
        )
    rows = []
    for i in range(len(result["prices"])):
        rows += [
            (f"price of firm {i + 1}", result["prices"][i]),
            (f"profit of firm {i + 1}", result["profits"][i]),
        ]
    rows.append(("consumer surplus", result["consumer_surplus"]))
    table = [
        (name, figure(v["value"], 6), f"[{figure(v['low'])}, {figure(v['high'])}]")
        for name, v in rows
    ]
    console.print(grid(("", "at the estimate", "95 % interval"), table))
