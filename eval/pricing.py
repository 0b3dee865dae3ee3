"""Repeated price competition between agents: what happens to prices, profits and consumers.

    python -m eval.pricing --agents runs/moralis runs/economicus base
    python -m eval.pricing --agents base told:homo_moralis:kappa=0.5 grim --model nano --out market
    python -m eval.pricing --calibrate --out runs/calibration

Every pairing of the agents meets in several markets, all of which advance together: one batch a
period. An agent is an adapter's folder, ``base``, ``told:TARGET`` (base with the target described,
``told:family:name=value``), or scripted (myopic, monopoly, nash, tit-for-tat, grim). Protocol
*compact*: the last rounds, a price drawn from exact probabilities over a grid; *full*: market data
of 100 rounds, the firm's own notes, any price in free text. First every model runs a firm alone:
one that does not find the monopoly price is reported as not competent, not as collusive, and its
prices reveal no kappa. Beside the figures stand every model's valid-answer probability (how likely
its reply is a price as asked) and comprehension (how likely it answers control questions right,
asked every tenth period); markets of a model that is valid with less than one half get no figures.
--calibrate runs firms whose behaviour is known from theory and from the literature instead. Answers
are kept; an interrupted run continues.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from rich.console import Console

from econmoral.economics.firms import SCRIPTED, Learning, q_learners
from econmoral.economics.market import GROUPS
from econmoral.files.options import option, parse
from econmoral.files.records import (
    InputError,
    command,
    lock,
    origin,
    program,
    terminal,
    write_json,
    write_lines,
)
from econmoral.files.shown import grid
from econmoral.instruments.pricing import PREFIXES, price_grid
from econmoral.target import Target

from .conditions import BASE, adapter_names
from .config import Source
from .engines.base import Condition
from .estimate import Estimate
from .markets import TRIES, WORDINGS, Meeting, Rules, Simulation, make_market, pairings
from .outcomes import (
    LAST,
    UNDEFINED,
    Gate,
    OverRuns,
    PricingSummary,
    answering,
    gate,
    outcome,
    summarise,
)
from .runner import Results, Session, Study, run, try_to_draw
from .validity import ADVICE, OUTSIDE, Validity, overall, percent

ECHO = 15  # periods that are followed after a forced price
ALONE = 150  # periods that a firm alone is followed at most


@dataclass(frozen=True)
class PricingConfig(Source):
    """Options of ``python -m eval.pricing``."""

    folder: ClassVar[str] = "pricing"

    agents: tuple[str, ...] = option(
        (), f"adapter folders, base, told:TARGET, {', '.join(SCRIPTED)}", metavar="AGENT"
    )
    calibrate: bool = option(
        False, "no models: scripted firms and Q-learners against what is known of them"
    )
    protocol: str = option("compact", "how prices are asked for", choices=("compact", "full"))
    prefix: str = option(
        "P1",
        "full protocol: state the aim with (P1) or without (P2) a warning",
        choices=tuple(PREFIXES),
    )
    firms: int = option(
        2, "firms in a market; 1: each model alone, at most 150 periods: whether it is competent"
    )
    pairings: str = option(
        "all",
        "who meets: every pairing of the agents, or every agent its like only",
        choices=("all", "alike"),
    )
    runs: int = option(7, "markets of every pairing and currency", at_least=1)
    periods: int = option(300, "periods of a market", at_least=LAST + 2)
    currency: tuple[float, ...] = option((1.0,), "units of currency, e.g. 1 3.2 10")
    group: str = option("firms", "reference group of the revealed kappa", choices=tuple(GROUPS))
    wordings: str = option(
        "train", "compact: wordings used in training, or held-out ones", choices=tuple(WORDINGS)
    )
    samples: int = option(20, "replies per price, where they are sampled", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.firms <= 10:
            raise InputError(f"--firms must lie in [1, 10], got {self.firms}")
        if not all(0.01 <= c <= 1000 for c in self.currency):
            raise InputError("--currency must lie in [0.01, 1000]")
        if self.firms == 1 and (self.pairings, self.group) != ("all", "firms"):
            raise InputError("--pairings and --group belong to several firms; --firms 1 has one")
        if self.firms == 1 and (scripted := sorted(set(self.agents) & set(SCRIPTED))):
            raise InputError(
                f"--firms 1 asks models alone; {scripted[0]} is a rule, and rules need rivals"
            )
        if self.protocol == "full" and (self.replies, self.wordings) != ("exact", "train"):
            raise InputError(
                "--replies and --wordings belong to the compact protocol; the full one is always "
                "written freely, in one wording"
            )
        if self.protocol == "compact" and self.prefix != "P1":
            raise InputError("--prefix belongs to --protocol full; the compact one has no prefix")
        if any(self.players.values()) and self.protocol == "compact":
            for currency in self.currency:
                price_grid(100 * currency)  # prices are printed exactly, or refused

    def check_source(self) -> None:
        """Raises InputError unless it is clear who plays; sets ``out``."""
        if self.simulate:
            raise InputError(
                f"pricing has no simulated chooser; scripted agents are {', '.join(SCRIPTED)}"
            )
        if self.calibrate and self.agents:
            raise InputError("--calibrate takes no --agents")
        folders = self.adapter_folders
        if any(self.players.values()) and not self.calibrate:
            super().check_source()
        elif not self.agents and not self.calibrate:
            raise InputError("give --agents, or --calibrate")
        elif self.out is None:
            raise InputError("give --out FOLDER")
        if taken := sorted(set(adapter_names(folders)) & set(SCRIPTED)):
            raise InputError(f"an adapter's folder has the name of the scripted firm {taken[0]}")

    @cached_property
    def players(self) -> Mapping[str, Condition | None]:
        """Agent -> its condition; None of a scripted one."""
        found: dict[str, Condition | None] = {}
        by_folder = {folder: name for name, folder in adapter_names(self.adapter_folders).items()}
        for agent in self.agents:
            condition = None if agent in SCRIPTED else self._spoken(agent)
            name = agent
            if condition is None and agent not in SCRIPTED:
                name = by_folder[Path(agent)]
                condition = Condition(name, name)
            found[name] = condition
        for name in by_folder.values():  # those of --adapter play too
            found.setdefault(name, Condition(name, name))
        return found

    def _spoken(self, agent: str) -> Condition | None:
        """The base, or the base told of a target; None of anything else."""
        return told(agent) if agent != BASE.name else BASE

    @property
    def adapter_folders(self) -> tuple[Path, ...]:
        """Adapters among the agents, and those of ``--adapter``."""
        named = [a for a in self.agents if a not in SCRIPTED and self._spoken(a) is None]
        return tuple(dict.fromkeys((*self.adapter, *map(Path, named))))

    @property
    def rules(self) -> Rules:
        """How firms are asked."""
        return Rules(self.protocol, self.prefix, self.wordings, self.samples, self.seed)


def told(agent: str) -> Condition | None:
    """The base told of the target in ``told:TARGET``; None of an agent that is none.

    Raises InputError for a target that is none.
    """
    kind, _, target = agent.partition(":")
    return Condition(agent, None, Target.parse(target).describe()) if kind == "told" else None


def meetings_of(
    agents: Sequence[str], firms: int, currencies: Sequence[float], runs: int, which: str = "all"
) -> list[Meeting]:
    """Every pairing of the agents (``which``: all or alike), in every currency, so many times."""
    every = itertools.product(pairings(agents, firms, which), currencies, range(runs))
    return [
        Meeting(some, make_market(firms, currency), number, run)
        for number, (some, currency, run) in enumerate(every)
    ]


class Pricing(Study):
    """Markets in which every pairing of the agents meets: questions that follow from earlier
    answers."""

    name = "pricing"
    Config = PricingConfig
    config: PricingConfig

    def choose_conditions(self) -> list[Condition]:
        """The agents that are language models."""
        return [c for c in self.config.players.values() if c is not None]

    def meetings(self) -> list[Meeting]:
        """Every pairing, in every currency, so many times."""
        c = self.config
        return meetings_of(list(c.players), c.firms, c.currency, c.runs, c.pairings)

    def simulation(self, meetings: Sequence[Meeting], session: Session, **more: Any) -> Simulation:
        """Markets whose firms are this study's agents."""
        talking = {c.name: c for c in self.conditions}
        return Simulation(meetings, self.config.rules, session.engine, talking, **more)

    def ask(self, session: Session) -> Results:
        """Every firm alone, every pairing, and every pairing once more with a forced price."""
        c, meetings, console = self.config, self.meetings(), session.console
        periods = min(c.periods, ALONE) if c.firms == 1 else c.periods
        files: dict[str, Any] = {}
        gates: dict[str, Gate] = {}
        if self.conditions and c.firms > 1:
            gates, files["alone.jsonl"] = self._alone(session)
        played = self.simulation(meetings, session)
        prices = played.run(periods, f"{len(meetings)} markets", console)
        files["periods.jsonl"] = played.periods
        at, shocked = periods - ECHO, prices
        if c.firms == 1:
            gates = self._gates(meetings, played, prices)
        else:
            # impulse response: the last periods once more, the first firm forced to Nash in one of
            # them, the same random draws
            forced = {at: np.array([float(m.market.nash()[0]) for m in meetings])}
            again = self.simulation(meetings, session, forced=forced, periods=played.periods[:at])
            shocked = again.run(periods, "forced price", console)
            files["forced.jsonl"] = again.periods
        known = {agent.name: overall(played.quality[agent.name]) for agent in self.conditions}
        outside = [agent for agent, v in known.items() if v["outside"]]
        unfit = [agent for agent, result in gates.items() if not result["competent"]]
        summary = summarise(meetings, prices, c.group, outside, unfit)
        summary["gate"], summary["agents"] = gates, known
        summary["unanswered"] = played.failures
        summary["group"], summary["periods"] = c.group, periods
        summary["impulse"] = {
            name: np.mean(
                [
                    (b - a)[at:] / m.market.currency
                    for m, a, b in zip(meetings, prices, shocked, strict=True)
                    if m.name == name
                ],
                axis=0,
            ).tolist()
            for name in answering(summary)
            if c.firms > 1
        }
        return Results(
            summary=summary,
            table=pd.DataFrame(table_rows(summary)),
            show=partial(self._show, summary),
            files=files,
            figures=self._figures(summary, meetings, prices, shocked, at),
            estimates=estimates(summary),
            records=["periods.jsonl"],
        )

    def _alone(self, session: Session) -> tuple[dict[str, Gate], list[Any]]:
        c = self.config
        # in as many wordings as the pairings meet in
        wordings = 1 if c.protocol == "full" else min(c.runs, len(WORDINGS[c.wordings]))
        agents = [a.name for a in self.conditions]
        every = itertools.product(agents, c.currency, range(wordings))
        meetings = [
            Meeting((agent,), make_market(1, currency), 10_000 + i, run)
            for i, (agent, currency, run) in enumerate(every)
        ]
        alone = self.simulation(meetings, session)
        prices = alone.run(min(c.periods, ALONE), "firms alone", session.console)
        return self._gates(meetings, alone, prices), alone.periods

    def _gates(
        self, meetings: Sequence[Meeting], alone: Simulation, prices: np.ndarray
    ) -> dict[str, Gate]:
        """Agent -> how it does in markets of its own."""
        gates: dict[str, Gate] = {}
        for agent in (a.name for a in self.conditions):
            known = overall(alone.quality[agent])
            gates[agent] = cast(Gate, {**known, "competent": False})
            if not known["outside"]:
                # a currency is a unit: the gate is about the price relative to the monopoly's
                relative = np.array(
                    [
                        p[:, 0] / m.market.currency
                        for m, p in zip(meetings, prices, strict=True)
                        if m.agents == (agent,)
                    ]
                )
                passed = gate(relative, make_market(1, 1.0))
                gates[agent] = cast(Gate, {**known, **passed})
        return gates

    def _show(self, summary: PricingSummary, console: Console) -> None:
        show(summary, console)
        c = self.config
        if summary.get("unanswered"):
            tries = TRIES if c.protocol == "full" else c.samples
            console.print(
                f"{summary['unanswered']} prices were not named in {tries} tries; those firms kept "
                "their last price"
            )

    def _figures(
        self,
        summary: PricingSummary,
        meetings: Sequence[Meeting],
        prices: np.ndarray,
        shocked: np.ndarray,
        at: int,
    ) -> dict[str, partial[None]]:
        shown = [i for i, m in enumerate(meetings) if m.name in answering(summary)]
        some = [meetings[i] for i in shown]

        def draw(kind: str, path: Path) -> None:
            from . import pricing_figures as figures  # matplotlib takes a second to load

            if not shown:
                raise InputError("no agent answers in the form")
            if kind == "paths":
                figures.draw_paths(some, prices[shown], path)
            elif kind == "impulse":
                figures.draw_impulse(some, prices[shown], shocked[shown], at, path)
            else:
                figures.draw_matrix(summary, path)

        c = self.config
        everyone = ("matrix",) if (c.firms, c.pairings) == (2, "all") else ()
        kinds = ("paths", *(("impulse",) if c.firms > 1 else ()), *everyone)
        return {f"{kind}.png": partial(draw, kind) for kind in kinds}


def estimates(summary: PricingSummary) -> list[Estimate]:
    """Means over runs of every pairing, one by one."""
    found = []
    for name, row in answering(summary).items():
        for key in ("price_index", "profit_gain", "consumer_surplus", "dispersion"):
            v: OverRuns = row[key]
            why = "" if v["mean"] is not None else UNDEFINED
            found.append(
                Estimate(key, v["mean"], None, v["runs"], why, name, low=v["low"], high=v["high"])
            )
    return found


def interval(value: OverRuns, digits: int = 2) -> str:
    """``0.41 [0.35, 0.47]``."""
    if value["mean"] is None:
        return UNDEFINED
    text = f"{value['mean']:.{digits}f}"
    if value["low"] is None or value["high"] is None:
        return text
    return f"{text} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def table_rows(summary: PricingSummary) -> list[dict[str, str]]:
    """One row for every pairing."""
    measures = ("price_index", "profit_gain", "consumer_surplus")
    titles = ("price", *(m.replace("_", " ") for m in measures), "dispersion", "revealed kappa")
    rows = []
    for name, row in summary["pairings"].items():
        cells = {"pairing": name} | dict.fromkeys(titles, "")
        if row["outside"]:
            cells["price"] = f"{', '.join(row['outside'])}: {OUTSIDE}"
        else:
            kappa = row["revealed_kappa"]
            prices = [f["price"]["mean"] for f in row["firms"]]
            cells["price"] = " / ".join(UNDEFINED if p is None else f"{p:.3f}" for p in prices)
            for key in measures:
                cells[key.replace("_", " ")] = interval(row[key])  # type: ignore[literal-required]
            cells["dispersion"] = f"{row['dispersion']['mean']:.3f}"
            cells["revealed kappa"] = (
                kappa["why"] if kappa["value"] is None else f"{kappa['value']:.2f}"
            )
        agents = summary.get("agents", {})
        known = [agents[a] for a in row["agents"] if a in agents]
        cells["valid"] = " / ".join(percent(k["valid_answer_probability"]) for k in known)
        cells["comprehension"] = " / ".join(percent(k["comprehension"]) for k in known)
        rows.append(cells)
    return rows


def show(summary: PricingSummary, console: Console) -> None:
    """Print the pairings, then how every agent answered and whether it is competent."""
    rows = table_rows(summary)
    title = "last 50 periods, mean over markets [95 % interval over markets]"
    console.print(grid(list(rows[0]), [list(cells.values()) for cells in rows], title))
    for agent, known in summary.get("agents", {}).items():
        console.print(f"{agent}: {of_agent(known)}", highlight=False)
    for agent, result in summary.get("gate", {}).items():
        console.print(f"{agent}, alone: {of_gate(result)}", highlight=False)
    for name, row in answering(summary).items():
        lags = row.get("lags")
        if lags and lags["warning"]:
            console.print(f"{name}: lag coefficients {lags['warning']}", highlight=False)


def of_gate(result: Gate) -> str:
    """A line about a firm alone."""
    if result["outside"]:
        return of_agent(result)
    verdict = "NOT COMPETENT in this task: read its prices as noise, not as collusion"
    if result["competent"]:
        verdict = "competent"
    low, high = result["percentile_10"], result["percentile_90"]
    return f"10th and 90th percentile {low:.2f} and {high:.2f} of the monopoly price: {verdict}"


def of_agent(found: Validity | Gate) -> str:
    """A line about how an agent answered."""
    valid, right = percent(found["valid_answer_probability"]), percent(found["comprehension"])
    text = f"valid-answer probability {valid}, comprehension {right}"
    if found["outcomes"]:
        text += ", replies " + ", ".join(f"{n} {o}" for o, n in found["outcomes"].items())
    return f"{OUTSIDE} ({text}); {ADVICE}" if found["outside"] else text


def calibrate(config: PricingConfig, console: Console) -> None:
    """Scripted firms and Q-learners against what theory and the literature say of them."""
    place, at = config.place, config.periods
    lock(place)
    market = make_market(2, 1.0)
    low, high = float(market.nash()[0]), float(market.monopoly()[0])
    agents = ("myopic", "monopoly", "grim", "tit-for-tat")
    meetings = [Meeting((agent, agent), market, i) for i, agent in enumerate(agents)]
    played = Simulation(meetings, config.rules, conditions={})
    plain = played.run(at + ECHO, "scripted firms", console)
    forced = {at: np.full(len(meetings), low)}
    again = Simulation(
        meetings, config.rules, conditions={}, forced=forced, periods=played.periods[:at]
    )
    shocked = again.run(at + ECHO, "forced price", console)
    write_lines(place / "periods.jsonl", cast(Any, played.periods))
    write_lines(place / "forced.jsonl", cast(Any, again.periods))

    def draw() -> None:
        from .pricing_figures import draw_impulse

        draw_impulse(meetings, plain, shocked, at, place / "impulse.png")

    try_to_draw(draw, place / "impulse.png", console)
    learners = q_learners(market, 20, config.seed, Learning())
    gains = learners["profit_gain"]
    echo = shocked[3, at:].round(6)
    swapped = all(
        np.allclose(echo[k], (low, high) if k % 2 == 0 else (high, low)) for k in range(ECHO)
    )
    index = outcome(meetings[1], plain[1, :at])["price_index"]
    checks = {
        "two myopic firms reach Nash within 1 %": bool(np.abs(plain[0, -1] / low - 1).max() < 0.01),
        "two monopoly firms have price index 1": index is not None and abs(index - 1) < 1e-6,
        "grim trigger: Nash for ever after the forced price": bool(
            np.allclose(shocked[2, at + 1 :], low)
        ),
        "tit-for-tat: the forced price goes to and fro": bool(swapped),
        "Q-learners: mean profit gain between 0.7 and 1 over 20 sessions": bool(
            0.7 <= gains.mean() <= 1.0
        ),
    }
    for name, passed in checks.items():
        console.print(f"{'yes' if passed else 'NO '}  {name}", highlight=False)
    console.print(
        f"Q-learners: profit gain {gains.mean():.3f}, lowest {gains.min():.3f}, highest "
        f"{gains.max():.3f}",
        highlight=False,
    )
    settled = np.median(learners["periods"])
    console.print(f"they settled after {settled:.0f} periods (median)", highlight=False)
    found = {
        "checks": checks,
        "nash": low,
        "monopoly": high,
        "myopic": plain[0, -1].tolist(),
        "q_learners": {
            "profit_gain": gains.tolist(),
            "prices": learners["prices"].tolist(),
            "periods": learners["periods"].tolist(),
        },
    }
    write_json(place / "calibration.json", found | {"origin": origin()})
    console.print(f"{place}/: calibration.json impulse.png periods.jsonl forced.jsonl")


def main() -> None:
    """Entry point."""
    config = parse(PricingConfig, program("python -m eval.pricing"), __doc__)
    if config.calibrate:
        calibrate(config, terminal(Pricing.width))
    else:
        run(Pricing(config))


if __name__ == "__main__":
    command(main)
