"""How far a fine-tuned adapter acts on a preference, beside its base, on held-out decisions.

    python -m eval.games --adapter runs/demo/economicus --adapter runs/demo/placebo
    python -m eval.games --model smollm2-135m --prompted --mode reasoned --out runs/base
    python -m eval.games --endpoint http://localhost:8000/v1 --adapter runs/moralis
    python -m eval.games --simulate alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1 --out runs/known
    python -m eval.games --adapter runs/moralis --own decisions.csv --out runs/moralis/own

A problem is a conversation: the instructions, then one decision a turn.  The probability of every
whole strategy is computed exactly as the product along it, on held-out payoffs, in the training
wordings (set "payoffs") and in held-out ones (set "wordings"), averaged over exchanged labels and
orders.  Beside every figure stands the probability of an admissible reply; a condition that answers
outside the form gets no figures.  own: decisions of your own, from a table with game, T, R, P, S in
points and perhaps id and beliefs in tenths (belief1, ...).  The folder holds choices.jsonl (one
line per problem), summary.json, table.csv, figure.png and run.json.  An interrupted run continues
when the command is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from econmoral.economics.games import GAMES
from econmoral.economics.preferences import FAMILIES
from econmoral.files.options import option
from econmoral.files.records import InputError, command, read_json, read_lines, sha256
from econmoral.files.shown import grid
from econmoral.target import Target, labels
from econmoral.text.conversation import Mode

from .choosers import parse_parameters
from .conditions import BASE, check_kappa, default_targets
from .config import Reasoned
from .engines.base import Answer, Condition, Engine, Request, Simulated
from .measure import (
    BALANCED,
    DRAWN,
    OWN,
    SETS,
    TITLES,
    GameRecord,
    Problem,
    belief_requests,
    decision_requests,
    draw_problems,
    own_problems,
    record_of,
    stated_beliefs,
)
from .menus import Menus, MenusConfig
from .runner import Found, Instrument, Results, Session, run, run_command
from .shifts import shift_table, shift_title
from .table import GameSummary, add_shifts, estimates, overlap, reference_arms, summaries, table
from .validity import ADVICE

if TYPE_CHECKING:
    import pandas as pd

Payoffs = set[tuple[str, tuple[float, ...]]]  # game and payoffs of training examples
QUALITY = ("valid %", "control %", "steps %")  # columns that stand beside every figure


@dataclass(frozen=True)
class GamesConfig(Reasoned):
    """Options of ``python -m eval.games``."""

    prompted: bool = option(
        False, "also measure the base with each target described in the system message"
    )
    battery: str = option(
        "drawn",
        "random held-out payoffs, the 18 fixed protocols, or these and all one-page batteries of "
        "econmoral menus",
        choices=("drawn", "games18", "all"),
    )
    games: tuple[str, ...] = option(DRAWN, "games of random decisions", choices=tuple(GAMES))
    sets: tuple[str, ...] = option(
        (),
        "held-out payoffs, wordings; the decisions of payoffs again after unrelated turns, at ten "
        "times the scale, in another currency; balanced: held-out wordings, own payoff's usual "
        f"plan is wrong in every second problem (default {' '.join(SETS)}; with --own none)",
        choices=(*TITLES, OWN),
        once=True,
    )
    own: Path | None = option(
        None,
        "table of your own decisions: game, T, R, P, S in points, belief1, ... in tenths and id if "
        "you like",
        metavar="FILE",
    )
    beliefs: str = option(
        "given",
        "stated on the page, one half, or asked of the model",
        choices=("given", "uniform", "elicited"),
    )
    items: int = option(120, "decisions in each set", at_least=1)
    pairs: int = option(2, "counterbalanced pairs of layouts for each decision", at_least=1)
    targets: tuple[str, ...] = option(
        (),
        "preferences that choices are compared with (default: homo_economicus, homo_moralis and "
        "the adapters' own)",
        metavar="FAMILY:NAME=VALUE",
    )
    kappa: float | None = option(
        None, "degree of homo_moralis among the targets (default: the adapters' own, else 0.5)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kappa(self.kappa, self.targets)
        if self.games != DRAWN and self.battery != "drawn":
            raise InputError(f"--games goes with --battery drawn; {self.battery} has its own games")
        if BALANCED in self.sets and (self.battery, self.beliefs) != ("drawn", "given"):
            raise InputError(
                "--sets balanced goes with --battery drawn and --beliefs given: what is optimal "
                "follows from the beliefs on the page"
            )
        if OWN in self.sets and not self.own:
            raise InputError("--sets own needs --own FILE, the table of your decisions")
        asked = tuple(s for s in self.sets if s != OWN) or (() if self.own else tuple(SETS))
        self._set("sets", asked + ((OWN,) if self.own else ()))

    def settings(self) -> dict[str, object]:
        """The values as JSON holds them."""
        everything = self.battery == "all"
        battery = "games18" if everything else self.battery
        return super().settings() | {"battery": battery, "everything": everything}


class Games(Instrument[Problem, GameRecord]):
    """Sequential games on held-out payoffs."""

    name = "games"
    Config = GamesConfig
    config: GamesConfig

    def choose_targets(self) -> list[Target]:
        """What was asked for; else own payoff, homo moralis, and the adapters' own targets."""
        if self.config.targets:
            return list(dict.fromkeys(map(Target.parse, self.config.targets)))
        own = [a.target for a in self.adapters if a.target is not None and not a.placebo]
        return default_targets(own, self.config.kappa)

    def chooser(self, parameters: str) -> Engine:
        """A logit chooser of known alpha, beta and kappa."""
        family = "alpha_beta_kappa"
        return Simulated(family, *parse_parameters(parameters, FAMILIES[family].parameters))

    def draw(self) -> list[Problem]:
        """The problems of every set."""
        c = self.config
        battery = "games18" if c.battery == "all" else c.battery
        sets = [s for s in c.sets if s != OWN]
        drawn = draw_problems(battery, c.items, c.pairs, self.targets, c.seed, sets, c.games)
        return drawn + (own_problems(c.own, c.pairs, c.seed) if c.own else [])

    def inputs(self) -> dict[str, Path]:
        """The user's own decisions."""
        return {"own": self.config.own} if self.config.own else {}

    def requests(self, item: Problem, condition: Condition, mode: Mode) -> list[Request]:
        """Questions about beliefs, where they are elicited, then one conversation per layout."""
        c = self.config
        asked = belief_requests(item) if c.beliefs == "elicited" else []
        return asked + decision_requests(item, condition, mode, c.beliefs, c.samples, c.longest)

    def record(
        self,
        item: Problem,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> GameRecord:
        """Choice probabilities, validity, comprehension; the beliefs that they are judged by."""
        n = len(item.layouts)
        beliefs = list(item.item.beliefs or ())
        if self.config.beliefs == "uniform":
            beliefs = [0.5] * len(GAMES[item.item.protocol.game].info_sets)
        elif self.config.beliefs == "elicited":
            beliefs = stated_beliefs(item, answers[:-n])
        return record_of(item, condition, mode, beliefs, answers[-n:])

    def slim(self, record: GameRecord) -> GameRecord:
        """Of the pages only what the summary needs."""
        pages = record.get("pages", [])
        record["pages"] = [
            {"layout": {"wording": p["layout"]["wording"]}, "valid": p["valid"]} for p in pages
        ]
        return record

    @cached_property
    def trained_on(self) -> Mapping[str, Payoffs | None]:
        """Adapter -> payoffs of the games in its training data, where that can be found."""
        return {a.name: training_payoffs(a.folder) for a in self.adapters}

    def results(self, found: Found) -> Results:
        """A row for every set, mode and condition, beside the rules of the reader."""
        records = found.all(self)
        problems = records[: len(records) // len(self.conditions) // len(self.modes)]
        rows = summaries([*records, *reference_arms(problems, self.targets)], self.targets)
        tuned = [a.name for a in self.adapters if not a.placebo]
        add_shifts(rows, records, [BASE.name, *self.placebos], tuned, self.targets)
        for row in rows:
            row["placebo"] = row["arm"] in self.placebos
        silent = sum(r["probabilities"] is None for r in records)
        checks: dict[str, dict[str, object]] = {}
        for name, payoffs in self.trained_on.items():
            known: object = "not checked: data file missing or changed"
            if payoffs is not None:
                known = overlap(problems, payoffs)
            checks[name] = {"problems": len(problems), "payoffs_in_training_data": known}
        return Results(
            summary=rows,
            table=table(rows),
            show=partial(self._show, rows, checks, silent, len(records)),
            files={"choices.jsonl": found.whole()},
            figures=self._figures(records, rows),
            about={
                "targets": [str(t) for t in self.targets],
                "adapters": {a.name: a.training | self._games_of(a.name) for a in self.adapters},
                "overlap": checks,
                "without_readable_answer": silent,
            },
            estimates=[e for row in rows if row["mode"] != "rule" for e in estimates(row)],
        )

    def _games_of(self, adapter: str) -> dict[str, list[str]]:
        return {"games": sorted({game for game, _ in self.trained_on[adapter] or ()})}

    def _show(
        self,
        rows: Sequence[GameSummary],
        checks: Mapping[str, Mapping[str, object]],
        silent: int,
        problems: int,
        console: Console,
    ) -> None:
        if silent:
            console.print(
                f"{silent} of {problems} problems got no readable answer on any page and are in no "
                "figure; choices.jsonl holds the texts"
            )
        frame = table(rows)
        asked = {row["set"]: row["decisions"] for row in rows}
        for mode in self.modes:
            for held in self.config.sets:
                part = frame[(frame["set"] == held) & frame["mode"].isin((mode, "rule"))]
                name = TITLES.get(held, "your own decisions")
                title = f"{name}, {mode} answers, {asked[held]} problems"
                show(part, f"{title} (± one standard error)", console)
                head, body = shift_table([r for r in rows if (r["set"], r["mode"]) == (held, mode)])
                if body:
                    unit = "plans" if held == BALANCED else "decisions"
                    console.print(grid(head, body, shift_title(unit)))
        if any(row["outside"] for row in rows):
            console.print(f"rows that answer outside the form have no figures: {ADVICE}")
        for name, check in checks.items():
            console.print(
                f"{name}: payoff quadruples also in its training data: "
                f"{check['payoffs_in_training_data']} of {check['problems']}"
            )

    def _figures(
        self, records: Sequence[GameRecord], rows: Sequence[GameSummary]
    ) -> dict[str, partial[None]]:
        """One figure a mode, of the first set."""

        def draw(shown: list[GameRecord], of_mode: list[GameSummary], path: Path) -> None:
            from .figure import draw as draw_choices  # matplotlib takes a second to load

            if not of_mode:
                raise InputError("no condition answers in the form")
            some = [t for t in self.targets if t.outcome_only or t.family == "homo_moralis"]
            degrees = {name: t.kappa for name, t in zip(labels(some), some, strict=True)}
            draw_choices(shown, of_mode, degrees, path)

        held, figures = self.config.sets[0], {}
        for mode in self.modes:
            of_mode = [r for r in rows if (r["mode"], r["set"]) == (mode, held)]
            inside = [r for r in of_mode if not r["outside"]]
            arms = {r["arm"] for r in inside}
            shown = [
                r
                for r in records
                if (r["mode"], r["set"]) == (mode, held)
                and r["arm"] in arms
                and r["probabilities"] is not None
            ]
            name = "figure.png" if mode == self.modes[0] else f"figure-{mode}.png"
            figures[name] = partial(draw, shown, inside)
        return figures

    def after(self, session: Session) -> None:
        """With ``--battery all`` also every battery of one-page decisions, in one load."""
        c = self.config
        if c.battery != "all":
            return
        own = {f.name for f in fields(GamesConfig)}
        names = own & {f.name for f in fields(MenusConfig)}
        names -= {"battery", "out", "own", "samples", "prompted"}
        shared = {name: getattr(c, name) for name in names}
        # without chance every derivation is the same one, and direct answers have none
        drawn = c.temperature and (c.mode != ("direct",) or c.replies == "sampled" or c.endpoint)
        samples = max(c.samples, 20) if drawn else c.samples
        menus = MenusConfig(**shared, out=c.place / "menus", samples=samples)
        run(Menus(menus), other=session)


def training_payoffs(folder: Path) -> Payoffs | None:
    """Payoffs of the games in an adapter's training data; None when the file cannot be found
    unchanged."""
    if not (folder / "run.json").is_file():
        return None
    run_ = read_json(folder / "run.json")
    try:
        data = Path(run_["inputs"]["data"]["path"])
        if sha256(data) != run_["inputs"]["data"]["sha256"]:
            return None
        about = [row.get("meta", {}) for _, row in read_lines(data)]
        games = [meta for meta in about if meta.get("game") in GAMES]
        return {(m["game"], tuple(m["payoffs"][k] for k in "TRPS")) for m in games}
    except (KeyError, TypeError, OSError):
        return None


def show(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Print validity and agreement with the targets, then the structural parameters; one row per
    condition."""
    quality = [c for c in QUALITY if c in frame.columns]
    targets = [c for c in frame.columns if ":" in c and c.endswith("%")]
    fixed = ("set", "mode", "arm", "note", *quality, *targets)
    structure = [c for c in frame.columns if c not in fixed]
    measured = frame[frame["mode"] != "rule"]
    for columns, rows, heading in (([*quality, *targets], frame, title), (structure, measured, "")):
        cells = []
        for _, row in rows.iterrows():
            note = row.get("note")
            name = f"{row['arm']} ({note})" if note and columns else row["arm"]
            cells.append([name, *("" if note and c not in quality else row[c] for c in columns)])
        header = ["arm", *(c.replace(": ", "\n") for c in columns)]
        console.print(grid(header, cells, heading))


def main() -> None:
    """Entry point."""
    run_command(Games, __doc__)


if __name__ == "__main__":
    command(main)
