"""Repeated price competition between agents of different preferences: what happens to prices, profits and consumers.

    python -m eval.pricing --agents runs/moralis runs/economicus base
    python -m eval.pricing --agents base told:homo_moralis:kappa=0.5 grim --runs 3 --model qwen2.5-0.5b --out runs/market
    python -m eval.pricing --calibrate --out runs/calibration

Every pairing of the agents meets in several markets, all of which advance together: one batch a period.  An agent is an
adapter's folder, ``base``, ``told:TARGET`` (base with the target described, ``told:family:name=value``; also told-economicus
and told-moralis), or scripted (myopic, monopoly, nash, tit-for-tat, grim).  Protocol *compact*: the last rounds, a price drawn
from exact probabilities over a grid; *full*: market data of 100 rounds, the firm's own notes, any price in free text.  First
every model runs a firm alone: one that does not find the monopoly price is reported as not competent, not as collusive.
Beside the figures stand every model's valid-answer probability (how likely its reply is a price as asked) and comprehension
(how likely it answers control questions right, asked every tenth period); markets of a model that is valid with less than one
half get no figures.  --calibrate runs firms whose behaviour is known from theory and from the literature instead.  Every period
is on disk; an interrupted run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from econmoral.firms import SCRIPTED, Learning, q_learners
from econmoral.market import GROUPS, Market, NoEquilibrium
from econmoral.pricing import HELD_OUT, PREFIXES, STEPS, TRAIN, View, parse_full, price_conversation, price_grid, render_full
from econmoral.records import (
    InputError,
    append_lines,
    command,
    finite,
    lock,
    origin,
    program,
    read_whole_lines,
    spreadsheet_cell,
    terminal,
    write_json,
    write_lines,
    write_text,
)
from econmoral.target import ECONOMICUS, Target, moralis

from .arms import adapter_names, adapter_record, add_engine_options, base_of, check_sources, load, settings_key
from .engines import Arm, Engine, Request, Sampled
from .figure import COLOURS, save, try_to_draw, written
from .validity import OUTSIDE, advice, fingerprint, overall, percent, quality

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

LAST = 50  # periods that outcomes are means of
GATE = (0.95, 1.05)  # of the monopoly price, for the 10th and 90th percentile of a firm alone
ECHO = 15  # periods that are followed after a forced price
TRIES = 10  # of one price in the full protocol
CONTROLS = 10  # control questions are asked in the second period and then in every tenth
TOLD = ("told-economicus", "told-moralis")
WORDINGS = {"train": TRAIN, "held-out": HELD_OUT}
SCALE = 100.0  # market size


@dataclass(frozen=True)
class Session:
    """One market: its firms' agents, the market, and its number, from which its random draws follow."""

    agents: tuple[str, ...]
    market: Market
    number: int

    @property
    def name(self) -> str:
        """The pairing."""
        return " + ".join(self.agents)


def make_market(firms: int, currency: float) -> Market:
    """The market of the published simulations, with so many like firms."""
    return Market(quality=(2.0,) * firms, cost=(1.0,) * firms, scale=SCALE, currency=currency)


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog=program("python -m eval.pricing"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--agents", nargs="+", default=[], metavar="AGENT", help=f"adapter folders, base, told:TARGET, {', '.join((*TOLD, *SCRIPTED))}")
    parser.add_argument("--calibrate", action="store_true", help="no models: scripted firms and Q-learners against what is known of them")
    parser.add_argument("--protocol", choices=("compact", "full"), default="compact", help="default compact")
    parser.add_argument("--prefix", choices=tuple(PREFIXES), default="P1", help="full protocol: aim with (P1) or without (P2) a warning (default P1)")
    parser.add_argument("--firms", type=int, default=2, help="firms in a market (default 2)")
    parser.add_argument("--runs", type=int, default=7, help="markets of every pairing and currency (default 7)")
    parser.add_argument("--periods", type=int, default=300, help="periods of a market (default 300)")
    parser.add_argument("--currency", type=float, nargs="+", default=[1.0], help="units of currency, e.g. 1 3.2 10 (default 1)")
    parser.add_argument("--group", choices=GROUPS, default="firms", help="reference group of the revealed kappa (default firms)")
    parser.add_argument("--kappa", type=float, default=0.5, help="degree of morality that told-moralis is told (default 0.5)")
    parser.add_argument("--wordings", choices=tuple(WORDINGS), default="train", help="compact: wordings used in training, or held-out ones (default train)")
    parser.add_argument(
        "--replies", choices=("exact", "sampled"), default="exact", help="compact: probabilities of the allowed prices, or free replies that are read"
    )
    parser.add_argument("--samples", type=int, default=20, help="replies per price, where they are sampled (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the result (default: pricing/ in the first adapter's folder)")
    args = parser.parse_args()
    args.simulate = None
    folders = [a for a in args.agents if a not in SCRIPTED and a != "base" and not is_told(a)]
    args.adapter = [*args.adapter, *map(Path, folders)]
    if args.calibrate or not (models(args.agents) or args.adapter):
        if args.agents and args.calibrate:
            raise InputError("--calibrate takes no --agents")
        if not args.agents and not args.calibrate:
            raise InputError("give --agents, or --calibrate")
        if args.out is None:
            raise InputError("give --out FOLDER")
    else:
        check_sources(args, "pricing")
    names = adapter_names(args.adapter)
    by_folder = {str(folder): name for name, folder in names.items()}
    args.agents = [*dict.fromkeys(by_folder.get(str(Path(a)), a) if a in folders else a for a in args.agents)]
    args.agents += [name for name in names if name not in args.agents]
    small = args.runs < 1 or args.samples < 1 or args.seed < 0 or not 2 <= args.firms <= 10 or args.periods < LAST + 2
    if small or not 0 <= args.kappa <= 1 or not all(0.01 <= c <= 1000 for c in args.currency):
        raise InputError(f"--runs, --samples at least 1, --firms 2 to 10, --periods at least {LAST + 2}, --kappa in [0, 1], --currency in [0.01, 1000]")
    if args.protocol == "full" and (args.replies, args.wordings) != ("exact", "train"):
        raise InputError("--replies and --wordings belong to the compact protocol; the full one is always written freely, in one wording")
    for agent in args.agents:
        arm_of(agent, args.kappa)  # a target that is none is refused before anything is loaded
    if models(args.agents) and args.protocol == "compact":
        for currency in args.currency:
            price_grid(100 * currency)  # prices are printed exactly, or refused
    return args


def is_told(agent: str) -> bool:
    """Whether an agent is the base told of a target."""
    return agent in TOLD or agent.startswith("told:")


def models(agents: Sequence[str]) -> list[str]:
    """Those agents that are language models."""
    return [a for a in dict.fromkeys(agents) if a not in SCRIPTED]


def pairings(agents: list[str], firms: int) -> list[tuple[str, ...]]:
    """Duopoly: every pair, also with itself.  More firms: all alike, and each agent alone against the others' agent."""
    if firms == 2:
        return list(itertools.combinations_with_replacement(agents, 2))
    return [(a,) * firms for a in agents] + [(a, *(b,) * (firms - 1)) for a, b in itertools.permutations(agents, 2)]


class Simulation:
    """Markets that advance together.  ``prices`` (sessions, periods so far, firms), in the currency."""

    def __init__(
        self,
        sessions: list[Session],
        args: argparse.Namespace,
        engine: Engine | None,
        path: Path,
        forced: dict[int, np.ndarray] | None = None,
    ) -> None:
        """path : where every period is written.  forced : period -> price of the first firm in every market, (sessions,)."""
        self.sessions, self.args, self.engine, self.path, self.forced = sessions, args, engine, path, forced or {}
        self.firms = sessions[0].market.n
        self.history: list[np.ndarray] = []
        self.notes = [[("", "")] * self.firms for _ in sessions]
        self.failures = 0
        self.quality: dict[str, list[dict[str, Any]]] = {}  # agent -> validity and comprehension of each of its prices
        for row in read_whole_lines(path):
            self._take(row)
        # in the full protocol customers pay at most so much, in hundredths
        draws = [np.random.default_rng([args.seed, s.number, 1]).uniform(1.5, 2.5) for s in sessions]
        self.ceilings = [100 * draw * float(s.market.monopoly()[0]) for draw, s in zip(draws, sessions, strict=True)]

    def _take(self, row: dict[str, Any]) -> None:
        self.history.append(np.array(row["prices"], float))
        self.notes = [[(n[0], n[1]) for n in firms] for firms in row["notes"]] if row.get("notes") else self.notes
        self.failures += row["failures"]
        for agent, answers in row.get("quality", {}).items():
            self.quality.setdefault(agent, []).extend(answers)

    @property
    def prices(self) -> np.ndarray:
        """(sessions, periods, firms)."""
        return np.stack(self.history, 1) if self.history else np.zeros((len(self.sessions), 0, self.firms))

    def run(self, periods: int, label: str) -> np.ndarray:
        """Prices (sessions, periods, firms) after so many periods, what is on disk included."""
        write_lines(self.path, read_whole_lines(self.path))  # without a line that was cut short
        for t in track(range(len(self.history), periods), label, transient=True):
            new, notes, failures, answered = self._next(t)
            row: dict[str, Any] = {"period": t, "prices": np.round(new, 6).tolist(), "failures": failures}
            if answered:
                row["quality"] = answered
            if self.args.protocol == "full":
                row["notes"] = notes
            append_lines(self.path, [row])
            self._take(row)
        return self.prices[:, :periods]

    def _next(self, t: int) -> tuple[np.ndarray, list[list[tuple[str, str]]], int, dict[str, list[dict[str, Any]]]]:
        past = self.prices
        new = np.full((len(self.sessions), self.firms), np.nan)
        notes = [list(some) for some in self.notes]
        jobs: dict[str, list[tuple[int, int]]] = {}
        for i, session in enumerate(self.sessions):
            for firm, agent in enumerate(session.agents):
                if agent in SCRIPTED:
                    new[i, firm] = SCRIPTED[agent](session.market, firm, past[i])
                else:
                    jobs.setdefault(agent, []).append((i, firm))
        failures, answered = 0, {}
        for agent, places in jobs.items():
            ask = self._full if self.args.protocol == "full" else self._compact
            unnamed, answered[agent] = ask(agent, places, t, past, new, notes)
            failures += unnamed
        if t in self.forced:
            new[:, 0] = self.forced[t]
        return new, notes, failures, answered

    def _view(self, i: int, firm: int, past: np.ndarray) -> View:
        market = self.sessions[i].market
        prices = past[i]
        quantities, profits = SCALE * market.shares(prices), market.profits(prices) / market.currency
        others = tuple(tuple(100 * p for j, p in enumerate(row) if j != firm) for row in prices)
        plans, insights = self.notes[i][firm]
        return View(
            100 * float(market.unit_cost[firm]), market.n, tuple(100 * prices[:, firm]), others, tuple(quantities[:, firm]), tuple(profits[:, firm]),
            self.ceilings[i], plans, insights,
        )  # fmt: skip

    def _compact(self, agent: str, places: list[tuple[int, int]], t: int, past: np.ndarray, new: np.ndarray, notes: Any) -> tuple[int, list[dict[str, Any]]]:
        arm, requests, failures = arm_of(agent, self.args.kappa), [], 0
        wordings = WORDINGS[self.args.wordings]
        for i, firm in places:
            view, wording = self._view(i, firm, past), wordings[self.sessions[i].number % len(wordings)]
            talk = price_conversation(view, wording, arm.system, controls=t % CONTROLS == 1)
            requests.append(Request(talk, view, wording, self.args.samples))
        assert self.engine is not None
        answers = self.engine.score(requests, arm, seed=t)
        for (i, firm), request, answer in zip(places, requests, answers, strict=True):
            p = answer.probabilities
            # one uniform draw a firm and period: the same with and without a forced price
            draw = np.random.default_rng([self.args.seed, self.sessions[i].number, 2, t]).random(self.firms)[firm]
            if p is None or not np.isfinite(p).all():
                new[i, firm], failures = self._fallback(i, firm, past), failures + 1
            else:
                k = min(int(np.searchsorted(np.cumsum(p), draw)), STEPS - 1)
                # what is charged is what was printed
                new[i, firm] = float(request.conversation.questions[0].options[k]) / 100
        # one line a price, with the texts that were read, if any
        return failures, [short(quality([a])) | {"market": self.sessions[i].number} for (i, _), a in zip(places, answers, strict=True)]

    def _full(
        self, agent: str, places: list[tuple[int, int]], t: int, past: np.ndarray, new: np.ndarray, notes: list[list[tuple[str, str]]]
    ) -> tuple[int, list[dict[str, Any]]]:
        arm = arm_of(agent, self.args.kappa)
        left, asked = list(places), dict.fromkeys(places, 0)
        texts: dict[tuple[int, int], list[str]] = {place: [] for place in places}
        for attempt in range(TRIES):
            pages = [render_full(self._view(i, firm, past), self.args.prefix, arm.system) for i, firm in left]
            replies = self.engine.write(pages, arm, seed=TRIES * t + attempt) if left else []  # type: ignore[union-attr]
            again = []
            for (i, firm), text in zip(left, replies, strict=True):
                asked[i, firm] += 1
                texts[i, firm].append(text)
                reply = parse_full(text, self.ceilings[i])
                if reply is None:
                    again.append((i, firm))
                else:
                    new[i, firm], notes[i][firm] = reply.price / 100, (reply.plans, reply.insights)
            left = again
        for i, firm in left:
            new[i, firm] = self._fallback(i, firm, past)
        answered = [
            {
                "valid_answer_probability": float(place not in left) / asked[place], "comprehension": None, "texts": texts[place],
                "outcomes": {"answered": int(place not in left), "unreadable": asked[place] - int(place not in left), "refused": 0},
                "market": self.sessions[place[0]].number,
            }
            for place in places
        ]  # fmt: skip
        return len(left), answered

    def _fallback(self, i: int, firm: int, past: np.ndarray) -> float:
        """A firm that names no price keeps its last one, at first that of the middle of the grid; it is counted."""
        return float(past[i, -1, firm]) if past.shape[1] else float(self.sessions[i].market.unit_cost[firm] * (1 + 0.05 * (STEPS // 2)))


def short(row: dict[str, Any]) -> dict[str, Any]:
    """A line about one price: numbers to six digits, and the texts of its one page."""
    known = row["comprehension"]
    return row | {
        "valid_answer_probability": float(f"{row['valid_answer_probability']:.6g}"),
        "comprehension": None if known is None else float(f"{known:.6g}"),
        "texts": row["texts"][0],
    }


def arm_of(agent: str, kappa: float) -> Arm:
    """The arm behind an agent's name.  Raises InputError for a target that is none."""
    if is_told(agent):
        known = {"told-economicus": ECONOMICUS, "told-moralis": moralis(kappa)}
        target = known[agent] if agent in known else Target.parse(agent.removeprefix("told:"))
        return Arm(agent, None, target.describe())
    return Arm(agent, None if agent == "base" else agent)


def sample_pages(wordings: tuple[int, ...], firms: int, currencies: Sequence[float]) -> str:
    """Hash of pages as they are asked, for the resume key: views without, with some and with many rounds, alone and not."""
    talks = []
    for currency in currencies:
        cost = 100 * currency
        for n in (1, firms):
            for rounds in (0, 1, 5):
                past = tuple(cost * (1.2 + 0.05 * k) for k in range(rounds))
                view = View(cost, n, past, tuple((p,) * (n - 1) for p in past), (20.0,) * rounds, (10.0,) * rounds)
                talks += [price_conversation(view, w) for w in wordings]
    return fingerprint(talks)


# --------------------------------------------------------------------------------------------------------------- measures


def revealed_kappa(market: Market, price: float, group: str) -> dict[str, Any]:
    """The common degree of morality whose equilibrium price is this one; or the end of [0, 1] beyond which it lies."""
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
        return {"value": None, "why": f"beyond kappa = {values[0] if price < ordered[0] else values[-1]:g}"}
    return {"value": float(np.interp(price, ordered, values)), "why": ""}


def converged(prices: np.ndarray) -> int | None:
    """First period from which the mean price, over windows of ten, stays within 5 % of its last ``LAST`` periods' mean."""
    level = prices.mean(1)
    smooth = np.convolve(level, np.ones(10) / 10, mode="valid")
    near = np.abs(smooth / level[-LAST:].mean() - 1) <= 0.05
    if not near[-1]:
        return None
    outside = np.flatnonzero(~near)
    return int(outside[-1]) + 1 if len(outside) else 0


def outcome(session: Session, prices: np.ndarray) -> dict[str, Any]:
    """Of one market, means over the last ``LAST`` periods: prices in units of the currency's alpha, (T, n) given."""
    market = session.market
    late = prices[-LAST:]
    low, high = market.nash(), market.monopoly()
    profit, least, most = market.profits(late).mean(0), market.profits(low), market.profits(high)
    return {
        "market": session.number, "pairing": session.name, "agents": list(session.agents), "currency": market.currency,
        "price": (late.mean(0) / market.currency).tolist(), "price_index": float(np.mean((late - low) / (high - low))),
        "profit_gain": float(np.mean((profit - least) / (most - least))), "firm_profit_gain": ((profit - least) / (most - least)).tolist(),
        "consumer_surplus": float(market.consumer_surplus(late).mean() / (SCALE * market.currency)),
        "dispersion": float(late.std(0).mean() / market.currency), "settled_in_period": converged(prices),
    }  # fmt: skip


def over_runs(values: list[float]) -> dict[str, float | None]:
    """Mean over runs with its 95 % t interval: runs are the unit, not periods."""
    x = np.array(values, float)
    if len(x) < 2 or x.std() == 0:
        return {"mean": float(x.mean()), "low": None if len(x) < 2 else float(x.mean()), "high": None if len(x) < 2 else float(x.mean()), "runs": len(x)}
    half = float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return {"mean": float(x.mean()), "low": float(x.mean()) - half, "high": float(x.mean()) + half, "runs": len(x)}


def lag_regression(paths: list[np.ndarray]) -> dict[str, Any] | None:
    """Own price on both lags with fixed effects of market and firm, errors clustered by market; near a unit root it says so.

    paths : (T, n) of every market.  None where prices do not move.
    """
    x, y, cluster = [], [], []
    for number, prices in enumerate(paths):
        for firm in range(prices.shape[1]):
            own, others = prices[:, firm], np.delete(prices, firm, 1).mean(1)
            lag = np.column_stack([own[:-1] - own[:-1].mean(), others[:-1] - others[:-1].mean()])
            x.append(lag)
            y.append(own[1:] - own[1:].mean())
            cluster += [number] * len(lag)
    design, outcome_ = np.concatenate(x), np.concatenate(y)
    cross = design.T @ design
    if np.linalg.matrix_rank(cross, tol=1e-9) < 2 or len(paths) < 2:
        return None
    bread = np.linalg.inv(cross)
    b = bread @ design.T @ outcome_
    scores = design * (outcome_ - design @ b)[:, None]
    sums = np.array([scores[np.array(cluster) == c].sum(0) for c in range(len(paths))])
    se = np.sqrt(np.diag(bread @ (sums.T @ sums * len(paths) / (len(paths) - 1)) @ bread))
    root = bool(b.sum() + 1.96 * np.hypot(*se) > 0.95)
    return {
        "own_lag": {"value": float(b[0]), "se": float(se[0])}, "others_lag": {"value": float(b[1]), "se": float(se[1])},
        "warning": "close to a unit root: these coefficients are biased and their errors too small; look at the impulse response" if root else "",
    }  # fmt: skip


def summarise(sessions: list[Session], prices: np.ndarray, group: str, not_valid: Sequence[str] = ()) -> dict[str, Any]:
    """Outcomes of every market and, over runs, of every pairing.

    not_valid : agents that answer outside the form; their pairings have no outcomes, only ``outside``, who it is.
    """
    runs = [outcome(s, p) for s, p in zip(sessions, prices, strict=True) if not set(s.agents) & set(not_valid)]
    found: dict[str, Any] = {}
    for name in dict.fromkeys(s.name for s in sessions):
        mine = [r for r in runs if r["pairing"] == name]
        if not mine:
            agents = next(s.agents for s in sessions if s.name == name)
            found[name] = {"agents": list(agents), "outside": [a for a in dict.fromkeys(agents) if a in not_valid]}
            continue
        row: dict[str, Any] = {"agents": mine[0]["agents"], "outside": []}
        for key in ("price_index", "profit_gain", "consumer_surplus", "dispersion"):
            row[key] = over_runs([r[key] for r in mine])
        row["firms"] = [
            {"agent": a, "price": over_runs([r["price"][i] for r in mine]), "profit_gain": over_runs([r["firm_profit_gain"][i] for r in mine])}
            for i, a in enumerate(mine[0]["agents"])
        ]
        settled = [r["settled_in_period"] for r in mine]
        row["settled"] = {"markets": sum(v is not None for v in settled), "median_period": float(np.median([v for v in settled if v is not None] or [np.nan]))}
        row["revealed_kappa"] = revealed_kappa(make_market(len(mine[0]["agents"]), 1.0), float(np.mean([r["price"] for r in mine])), group)
        row["lags"] = lag_regression([p / s.market.currency for s, p in zip(sessions, prices, strict=True) if s.name == name])
        found[name] = row
    return {"pairings": found, "markets": runs}


def gate(prices: np.ndarray, market: Market) -> dict[str, Any]:
    """Whether a firm alone finds its price: 10th and 90th percentile of the last 100 periods within 5 % of the monopoly's."""
    target = float(market.monopoly()[0])
    low, high = np.percentile(prices[:, -100:], (10, 90)) / target
    return {
        "percentile_10": float(low),
        "percentile_90": float(high),
        "monopoly_price": target / market.currency,
        "competent": bool(low >= GATE[0] and high <= GATE[1]),
    }


# ---------------------------------------------------------------------------------------------------------------- figures


def panels(n: int) -> tuple[Figure, np.ndarray]:
    """A figure of n panels with common axes, three in a row; what is left over stays empty."""
    rows, columns = -(-n // 3), min(3, n)
    figure, axes = plt.subplots(rows, columns, figsize=(4.3 * columns, 2.8 * rows), squeeze=False, sharex=True, sharey=True, layout="constrained")
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    return figure, axes


def draw_paths(sessions: list[Session], prices: np.ndarray, path: Path) -> None:
    """Mean price of every pairing by period, its spread over markets, and the Nash and monopoly lines."""
    names = list(dict.fromkeys(s.name for s in sessions))
    figure, axes = panels(len(names))
    reference = make_market(sessions[0].market.n, 1.0)
    for axis, name in zip(axes.flat, names, strict=False):
        some = np.array([p / s.market.currency for s, p in zip(sessions, prices, strict=True) if s.name == name])
        agents = next(s.agents for s in sessions if s.name == name)
        for firm, agent in enumerate(agents):
            level = some[:, :, firm]
            label = written(agent) + (" (second firm)" if firm and agent == agents[0] else "")
            axis.plot(level.mean(0), lw=1.2, color=COLOURS[1 + firm % 7], label=label)
            axis.fill_between(range(level.shape[1]), level.min(0), level.max(0), color=COLOURS[1 + firm % 7], alpha=0.15, lw=0)
        for value, text in ((float(reference.nash()[0]), "Nash"), (float(reference.monopoly()[0]), "monopoly")):
            axis.axhline(value, color="black", ls="--", lw=0.8)
            axis.annotate(text, (0, value), xytext=(2, 2), textcoords="offset points", fontsize=7)
        axis.set_title(written(name), fontsize=9)
        axis.legend(fontsize=7, loc="lower right")
    figure.supxlabel("period")
    figure.supylabel("price (mean over markets; band: lowest to highest)")
    save(figure, path)


def draw_matrix(summary: dict[str, Any], path: Path) -> None:
    """Price index of every pairing of a duopoly, and the profit gain of the row's firm against the column's."""
    agents = list(dict.fromkeys(a for row in summary["pairings"].values() for a in row["agents"]))
    index, gain = np.full((len(agents), len(agents)), np.nan), np.full((len(agents), len(agents)), np.nan)
    for row in answering(summary).values():
        i, j = agents.index(row["agents"][0]), agents.index(row["agents"][-1])
        index[i, j] = index[j, i] = row["price_index"]["mean"]
        gain[i, j], gain[j, i] = row["firms"][0]["profit_gain"]["mean"], row["firms"][-1]["profit_gain"]["mean"]
    figure, axes = plt.subplots(1, 2, figsize=(4 + 2.2 * len(agents), 2 + 0.8 * len(agents)), layout="constrained")
    for axis, values, title in ((axes[0], index, "price index (0 Nash, 1 monopoly)"), (axes[1], gain, "profit gain of the row's firm")):
        image = axis.imshow(values, cmap="PuOr", vmin=-1, vmax=1)
        for i, j in itertools.product(range(len(agents)), repeat=2):
            if np.isfinite(values[i, j]):
                axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color="white" if abs(values[i, j]) > 0.7 else "black")
        axis.set(xticks=range(len(agents)), yticks=range(len(agents)), yticklabels=[*map(written, agents)], title=title)
        axis.set_xticklabels([*map(written, agents)], rotation=30, ha="right")
    figure.colorbar(image, ax=axes, shrink=0.8)
    save(figure, path)


def draw_impulse(sessions: list[Session], without: np.ndarray, shocked: np.ndarray, at: int, path: Path) -> None:
    """Prices after the first firm was forced down to Nash for one period, minus those of the same market without it."""
    names = list(dict.fromkeys(s.name for s in sessions))
    figure, axes = panels(len(names))
    for axis, name in zip(axes.flat, names, strict=False):
        gaps = np.array([(b - a)[at - 1 :] / s.market.currency for s, a, b in zip(sessions, without, shocked, strict=True) if s.name == name])
        agents = next(s.agents for s in sessions if s.name == name)
        for firm, agent in enumerate(agents):
            label = written(agent) + " (forced)" * (firm == 0)
            axis.plot(range(-1, gaps.shape[1] - 1), gaps[:, :, firm].mean(0), marker="o", ms=3, lw=1.2, color=COLOURS[1 + firm % 7], label=label)
        axis.axhline(0, color="black", lw=0.8)
        axis.set_title(written(name), fontsize=9)
        axis.legend(fontsize=7)
    figure.supxlabel("periods since the forced price")
    figure.supylabel("price minus the price without it")
    save(figure, path)


def answering(summary: dict[str, Any]) -> dict[str, Any]:
    """The pairings of which every agent answers in the form."""
    return {name: row for name, row in summary["pairings"].items() if not row["outside"]}


def interval(value: dict[str, float | None], digits: int = 2) -> str:
    """``0.41 [0.35, 0.47]``."""
    if value["low"] is None:
        return f"{value['mean']:.{digits}f}"
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def show(summary: dict[str, Any], console: Console) -> list[dict[str, str]]:
    """Print the pairings; the rows, for the CSV."""
    rows = []
    measures = ("price_index", "profit_gain", "consumer_surplus")
    for name, row in summary["pairings"].items():
        if row["outside"]:
            cells = dict.fromkeys(("price", *(m.replace("_", " ") for m in measures), "dispersion", "revealed kappa"), "")
            rows.append({"pairing": name} | cells | {"price": f"{', '.join(row['outside'])}: {OUTSIDE}"})
        else:
            kappa = row["revealed_kappa"]
            cells = {"pairing": name, "price": " / ".join(f"{f['price']['mean']:.3f}" for f in row["firms"])}
            cells |= {key.replace("_", " "): interval(row[key]) for key in measures}
            cells |= {"dispersion": f"{row['dispersion']['mean']:.3f}", "revealed kappa": kappa["why"] if kappa["value"] is None else f"{kappa['value']:.2f}"}
            rows.append(cells)
        known = [summary["agents"][a] for a in row["agents"] if a in summary.get("agents", {})]
        for key, title in (("valid_answer_probability", "valid"), ("comprehension", "comprehension")):
            rows[-1][title] = " / ".join(percent(k[key]) for k in known)
    grid = Table(title="last 50 periods, mean over markets [95 % interval over markets]", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in rows[0]:
        grid.add_column(column, justify="left" if column == "pairing" else "right")
    for cells in rows:
        grid.add_row(*cells.values())
    console.print(grid)
    for agent, result in summary.get("agents", {}).items():
        console.print(f"{agent}: {of_agent(result)}", highlight=False)
    for agent, result in summary.get("gate", {}).items():
        if result["outside"]:
            console.print(f"{agent}, alone: {OUTSIDE}", highlight=False)
            continue
        verdict = "competent" if result["competent"] else "NOT COMPETENT in this task: read its prices as noise, not as collusion"
        range_ = f"10th and 90th percentile {result['percentile_10']:.2f} and {result['percentile_90']:.2f} of the monopoly price"
        console.print(f"{agent}, alone: {range_}: {verdict}", highlight=False)
    for name, row in answering(summary).items():
        if row["lags"] and row["lags"]["warning"]:
            console.print(f"{name}: lag coefficients {row['lags']['warning']}", highlight=False)
    return rows


def of_agent(found: dict[str, Any]) -> str:
    """A line about how an agent answered."""
    text = f"valid-answer probability {percent(found['valid_answer_probability'])}, comprehension {percent(found['comprehension'])}"
    if found["outcomes"]:
        text += ", replies " + ", ".join(f"{n} {outcome}" for outcome, n in found["outcomes"].items())
    return f"{OUTSIDE} ({text}); {advice()}" if found["outside"] else text


# ------------------------------------------------------------------------------------------------------------ calibration


def calibrate(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Scripted firms and Q-learners against what theory and the literature say of them."""
    market = make_market(2, 1.0)
    low, high = float(market.nash()[0]), float(market.monopoly()[0])
    pairs = [("myopic", "myopic"), ("monopoly", "monopoly"), ("grim", "grim"), ("tit-for-tat", "tit-for-tat")]
    sessions = [Session(pair, market, i) for i, pair in enumerate(pairs)]
    at = args.periods
    plain = Simulation(sessions, args, None, args.out / "periods.jsonl").run(at + ECHO, "scripted firms")
    forced = {at: np.full(len(sessions), low)}
    (args.out / "forced.jsonl").unlink(missing_ok=True)
    write_lines(args.out / "forced.jsonl", read_whole_lines(args.out / "periods.jsonl")[:at])
    shocked = Simulation(sessions, args, None, args.out / "forced.jsonl", forced).run(at + ECHO, "forced price")
    draw_impulse(sessions, plain, shocked, at, args.out / "impulse.png")
    learners = q_learners(market, 20, args.seed, Learning())
    gains = learners["profit_gain"]
    echo = shocked[3, at:].round(6)
    swapped = all(np.allclose(echo[k], (low, high) if k % 2 == 0 else (high, low)) for k in range(ECHO))
    checks = {
        "two myopic firms reach Nash within 1 %": bool(np.abs(plain[0, -1] / low - 1).max() < 0.01),
        "two monopoly firms have price index 1": bool(abs(outcome(sessions[1], plain[1, :at])["price_index"] - 1) < 1e-6),
        "grim trigger: Nash for ever after the forced price": bool(np.allclose(shocked[2, at + 1 :], low)),
        "tit-for-tat: the forced price goes to and fro": bool(swapped),
        "Q-learners: mean profit gain between 0.7 and 1 over 20 sessions": bool(0.7 <= gains.mean() <= 1.0),
    }
    for name, passed in checks.items():
        console.print(f"{'yes' if passed else 'NO '}  {name}", highlight=False)
    console.print(f"Q-learners: profit gain {gains.mean():.3f}, lowest {gains.min():.3f}, highest {gains.max():.3f}", highlight=False)
    console.print(f"they settled after {np.median(learners['periods']):.0f} periods (median)", highlight=False)
    return {
        "checks": checks, "nash": low, "monopoly": high, "myopic": plain[0, -1].tolist(),
        "q_learners": {"profit_gain": gains.tolist(), "prices": learners["prices"].tolist(), "periods": learners["periods"].tolist()},
    }  # fmt: skip


def main() -> None:
    """Entry point."""
    args = arguments()
    console = terminal(140)
    adapters = adapter_names(args.adapter)
    base_of(args, adapters)
    lock(args.out)
    inputs = {name: folder / "adapter_model.safetensors" for name, folder in adapters.items()}
    settings = {k: [str(x) for x in v] if k == "adapter" else str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    if args.calibrate:
        write_json(args.out / "calibration.json", calibrate(args, console) | {"origin": origin()})
        console.print(f"{args.out}/: calibration.json impulse.png periods.jsonl forced.jsonl")
        return
    talking = models(args.agents)
    loaded = load(args, adapters, console) if talking else None
    engine: Any = Sampled(loaded) if loaded is not None and args.replies == "sampled" and not isinstance(loaded, Sampled) else loaded  # type: ignore[arg-type]
    # what every price depends on: the folder's files of another setting are not continued
    keys = [settings_key(args, arm_of(a, args.kappa), adapters, []) for a in talking]
    what = [args.agents, args.protocol, args.prefix, args.firms, args.runs, args.currency, args.seed, keys]
    if talking:
        pages = sample_pages(WORDINGS[args.wordings], args.firms, args.currency) if args.protocol == "compact" else fingerprint_full(args.prefix)
        what += [args.wordings, args.replies, pages]
    write_settings(args.out / "settings.json", what)
    sessions = [
        Session(agents, make_market(args.firms, currency), number)
        for number, (agents, currency, _) in enumerate(itertools.product(pairings(args.agents, args.firms), args.currency, range(args.runs)))
    ]
    summary: dict[str, Any] = {"gate": {}}
    if talking:
        alone = [Session((agent,), make_market(1, c), 10_000 + i) for i, (agent, c) in enumerate(itertools.product(talking, args.currency))]
        by_itself = Simulation(alone, args, engine, args.out / "alone.jsonl")
        prices = by_itself.run(min(args.periods, 150), "firms alone")
        for agent in talking:
            known = overall(by_itself.quality[agent])
            if known["outside"]:
                console.print(f"{agent}, alone: {of_agent(known)}", highlight=False)
                summary["gate"][agent] = known | {"competent": False}
                continue
            # a currency is a unit: the gate is about the price relative to the monopoly's
            relative = np.array([p / s.market.currency for s, p in zip(alone, prices, strict=True) if s.agents == (agent,)])[:, :, 0]
            summary["gate"][agent] = known | gate(relative, make_market(1, 1.0))
    main_run = Simulation(sessions, args, engine, args.out / "periods.jsonl")
    prices = main_run.run(args.periods, f"{len(sessions)} markets")
    # impulse response: the last periods once more, the first firm forced to Nash in one of them, the same random draws
    at = args.periods - ECHO
    if not (args.out / "forced.jsonl").exists():
        write_lines(args.out / "forced.jsonl", read_whole_lines(args.out / "periods.jsonl")[:at])
    forced = {at: np.array([float(s.market.nash()[0]) for s in sessions])}
    shocked = Simulation(sessions, args, engine, args.out / "forced.jsonl", forced).run(args.periods, "forced price")
    summary["agents"] = {agent: overall(main_run.quality[agent]) for agent in talking}
    not_valid = [agent for agent, known in summary["agents"].items() if known["outside"]]
    summary |= summarise(sessions, prices, args.group, not_valid) | {"unanswered": main_run.failures, "group": args.group, "periods": args.periods}
    gaps = [(b - a)[at:] / s.market.currency for s, a, b in zip(sessions, prices, shocked, strict=True)]
    names = [s.name for s in sessions]
    summary["impulse"] = {name: np.mean([g for g, n in zip(gaps, names, strict=True) if n == name], axis=0).tolist() for name in answering(summary)}
    write_json(args.out / "summary.json", finite(summary))
    write_text(args.out / "table.csv", pd.DataFrame(show(summary, console)).map(spreadsheet_cell).to_csv(index=False))
    for name in ("paths", "impulse", "matrix"):
        (args.out / f"{name}.png").unlink(missing_ok=True)  # of an earlier run
    shown = [i for i, s in enumerate(sessions) if s.name in answering(summary)]
    if shown:
        some = [sessions[i] for i in shown]
        figures: dict[str, Callable[[Path], None]] = {
            "paths": lambda path: draw_paths(some, prices[shown], path),
            "impulse": lambda path: draw_impulse(some, prices[shown], shocked[shown], at, path),
        } | ({"matrix": lambda path: draw_matrix(summary, path)} if args.firms == 2 else {})
        for name, work in figures.items():
            try_to_draw(partial(work, args.out / f"{name}.png"), args.out / f"{name}.png", console)
    if main_run.failures:
        tries = TRIES if args.protocol == "full" else args.samples
        console.print(f"{main_run.failures} prices were not named in {tries} tries; those firms kept their last price")
    made = {"settings": settings, "tokens": getattr(loaded, "tokens", None), "weights": getattr(loaded, "weights", None)}
    write_json(args.out / "run.json", origin(**inputs) | made | {"adapters": {name: adapter_record(f) for name, f in adapters.items()}})
    console.print(f"{args.out}/: {' '.join(sorted(p.name for p in args.out.iterdir() if p.is_file()))}")


def fingerprint_full(prefix: str) -> str:
    """Hash of a page of the full protocol, for the resume key."""
    page = render_full(View(100, 2, (150.0,), ((145.0,),), (40.0,), (22.0,), 300.0, "plans", "insights"), prefix)
    return hashlib.sha256(json.dumps(page).encode()).hexdigest()


def write_settings(path: Path, what: list[Any]) -> None:
    """Remember what a folder's periods depend on.  Raises InputError when it holds those of other settings."""
    text = json.dumps(what, indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path.parent} holds a run of other agents or settings; give another --out, or remove it")
    write_text(path, text)


if __name__ == "__main__":
    command(main)
