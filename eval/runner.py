"""One loop for every instrument: conditions x instrument -> answers -> records -> results.

An instrument draws its items, says what is asked about an item, and turns the answers into one
record.  The rest is here: conditions and engine, answers that are kept (``eval.resume``), chunks
and progress, the check that an adapter acts at all, files, tables, figures and run.json.  An
instrument whose questions follow from earlier answers (a market) is a ``Study`` with a loop of its
own; everything else it shares.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar, cast

import numpy as np
from rich.console import Console

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.models import find_model
from econmoral.files.options import parse
from econmoral.files.records import (
    InputError,
    finite,
    lock,
    origin,
    program,
    read_object,
    spreadsheet_cell,
    terminal,
    unlock,
    write_json,
    write_lines,
    write_text,
)
from econmoral.files.shown import grid
from econmoral.target import Target
from econmoral.text.conversation import Mode
from econmoral.text.conversations import largest_number

from .conditions import BASE, Adapter, adapters_of, conditions_of, folders
from .config import Reasoned, Source
from .engines.base import Answer, Condition, Engine, Request, Sampled
from .engines.choice import Identity, open_engine
from .estimate import Estimate, mean_of
from .progress import progress
from .resume import FOLDER, Remembering, prompt_hash
from .validity import OUTSIDE, overall, percent

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 24  # items that are asked in one go and kept together
# what says that a folder is somebody else's: an adapter's or a checkpoint's
OTHERS = ("adapter_config.json", "config.json")
APART = 1e-6  # a difference between two probabilities that is more than rounding


class Record(TypedDict):
    """What every record says.  ``arm`` is the name of its condition."""

    arm: str
    prompt_hash: NotRequired[str]
    valid_answer_probability: float
    comprehension: float | None


Item = TypeVar("Item")
R = TypeVar("R", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Results:
    """What is written of a measurement.

    summary : of summary.json.  table : of table.csv.  show : prints it.  files : name -> rows of
    JSON Lines.  figures : name -> how it is drawn.  about : what run.json says beside the usual.
    estimates : what was estimated, one by one.  records : those of the files that hold records.
    """

    summary: object
    table: pd.DataFrame
    show: Callable[[Console], None]
    files: Mapping[str, Iterable[Mapping[str, Any]]] = field(default_factory=dict)
    figures: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    about: Mapping[str, object] = field(default_factory=dict)
    estimates: Sequence[Estimate] = ()
    records: Sequence[str] = ("choices.jsonl",)


class Session:
    """One engine, loaded on the first question that is new, and the answers that are known."""

    def __init__(
        self,
        config: Source,
        adapters: Sequence[Adapter],
        console: Console,
        chooser: Engine | None = None,
        other: Session | None = None,
    ) -> None:
        """chooser : simulates instead of a model.  other : whose engine, once loaded, is used."""
        self.config, self.adapters, self.console = config, adapters, console
        temperature = config.temperature if isinstance(config, Reasoned) else 1.0
        names = folders(adapters)

        def load() -> Engine:
            if other is not None and (shared := other.loaded) is not None:
                return shared
            return open_engine(config, names, temperature, console)

        asked = config.replies == "sampled"
        sampled = asked or config.endpoint is not None
        # what a server offers decides there, unless samples are asked for
        how = ["sampled"] if asked and config.endpoint is not None else []
        self.remembering = Remembering(
            config.place / FOLDER,
            Identity(config, names),
            load,
            sampled,
            [config.seed, temperature, *how],
        )
        self.engine: Engine = chooser or self.remembering

    @property
    def loaded(self) -> Engine | None:
        """The engine, if a question needed it."""
        return self.remembering.engine

    def about(self) -> dict[str, object]:
        """What run.json says of the engine."""
        inner = self.loaded.writer if isinstance(self.loaded, Sampled) else self.loaded
        return {
            "tokens": getattr(inner, "tokens", None),
            "weights": getattr(inner, "weights", None),
        }

    def note(self) -> str:
        """What a reader of the figures should know of the engine."""
        return str(getattr(self.loaded, "note", None) or "")


class Study(ABC):
    """What one command does.  ``name`` is the command's, ``Config`` its options."""

    name: ClassVar[str]
    Config: ClassVar[type[Source]] = Reasoned
    width: ClassVar[int] = 140  # columns of its tables

    def __init__(self, config: Source) -> None:
        self.config = config
        self.adapters = adapters_of(config.adapter_folders)
        if config.base:
            find_model(config.base)
        self.targets = self.choose_targets()
        self.conditions = self.choose_conditions()

    def choose_targets(self) -> list[Target]:
        """Preferences that choices are compared with, and that a prompted base is told of."""
        return []

    def choose_conditions(self) -> list[Condition]:
        """What is measured side by side."""
        c = self.config
        prompted = bool(getattr(c, "prompted", False))
        return conditions_of(bool(c.simulate), prompted, self.targets, self.adapters)

    def chooser(self, parameters: str) -> Engine:
        """The simulated chooser of ``--simulate``.  Raises InputError where there is none."""
        raise InputError(f"{self.name} has no simulated chooser; give --model or --adapter")

    def inputs(self) -> dict[str, Path]:
        """Files beside the weights on which results rest, by name; run.json has their hashes."""
        return {}

    @property
    def placebos(self) -> list[str]:
        """Names of the adapters that were trained on shuffled answers."""
        return [a.name for a in self.adapters if a.placebo]

    @abstractmethod
    def ask(self, session: Session) -> Results:
        """Measure every condition; what is to be written."""

    def after(self, session: Session) -> None:  # noqa: B027 - most studies have nothing to add
        """What follows once everything is written."""


class Survey(Study):
    """A study whose questions are all known beforehand: instruments, asked in one pass."""

    @abstractmethod
    def instruments(self) -> Sequence[Instrument[Any, Any]]:
        """What is asked of every condition."""

    @abstractmethod
    def results(self, found: Found) -> Results:
        """What the records say."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How is asked."""
        return cast(tuple[Mode, ...], getattr(self.config, "mode", ("direct",)))

    def ask(self, session: Session) -> Results:
        """Every mode, condition and instrument; then the results."""
        found = self.collect(session)
        results, beyond = self.results(found), found.beyond(self.adapters)

        def show(console: Console) -> None:
            results.show(console)
            for name, (here, trained) in beyond.items():
                console.print(
                    f"{name}: numbers up to {here} on these pages, up to {trained} in its last "
                    "training; a derivation may fail on larger ones",
                    highlight=False,
                )

        about = {**results.about, "beyond_training": beyond} if beyond else results.about
        return replace(results, show=show, about=about)

    def collect(self, session: Session) -> Found:
        """Records of every mode, condition and instrument.

        Raises InputError for an adapter that answers as its base does.
        """
        found = Found(session)
        asked = [(i, list(i.draw())) for i in self.instruments()]
        named = folders(self.adapters)
        for mode in self.modes:
            for condition in self.conditions:
                for instrument, items in asked:
                    found.add(instrument, items, condition, mode)
                if condition.adapter and not any(
                    acts(session.engine, instrument, items, condition, mode)
                    for instrument, items in asked
                ):
                    same = (
                        f"adapter {named[condition.adapter]}: every probability equals the base's"
                    )
                    if not session.remembering.drawn:
                        raise InputError(f"{same}; the adapter is empty or was not applied")
                    # of a few sampled replies all may well be alike
                    session.console.print(
                        f"{same}: of so few sampled replies that is no wonder, else the adapter is "
                        "empty or was not applied",
                        highlight=False,
                    )
        return found


class Instrument(Survey, Generic[Item, R]):
    """Items, what is asked about them, and what the answers say."""

    measures: ClassVar[tuple[str, ...]] = ()  # numbers of a record whose means are reported

    def instruments(self) -> Sequence[Instrument[Item, R]]:
        """Itself."""
        return (self,)

    @abstractmethod
    def draw(self) -> Sequence[Item]:
        """The items, the same ones for every condition."""

    @abstractmethod
    def requests(self, item: Item, condition: Condition, mode: Mode) -> list[Request]:
        """What is asked about an item: one conversation for each page."""

    @abstractmethod
    def record(
        self,
        item: Item,
        condition: Condition,
        mode: Mode,
        asked: list[Request],
        answers: list[Answer],
    ) -> R:
        """What the answers to ``requests`` say.  The runner adds ``prompt_hash``."""

    def nulls(self) -> Mapping[str, Engine]:
        """Agents that do not think, by name: the floor of every figure."""
        return {}

    def slim(self, record: R) -> R:
        """As much of a record as the results need: all of them are in memory at once."""
        return record

    def results(self, found: Found) -> Results:
        """Validity and the means of ``measures``, each beside the base's."""
        import pandas as pd

        rows = []
        for mode in self.modes:
            of_base = {r["id"]: r for r in found.of(self, BASE.name, mode)}
            for condition in self.conditions:
                rows += self._row(found.of(self, condition.name, mode), of_base, mode)
        for name, engine in self.nulls().items():
            records = inquire(engine, self, list(self.draw()), Condition(name), "direct", 0)
            rows += self._row(records, {}, "rule")
        frame = pd.DataFrame([self._cells(row) for row in rows])
        return Results(
            summary=rows,
            table=frame,
            show=partial(show_frame, frame, f"{self.name} (± one standard error)"),
            files={"choices.jsonl": found.whole()},
            estimates=[e for row in rows for e in _estimates(row)],
        )

    def _row(
        self, records: Sequence[R], base: Mapping[str, R], mode: str
    ) -> list[dict[str, object]]:
        if not records:
            return []
        known = overall(records)
        row: dict[str, object] = {"arm": records[0]["arm"], "mode": mode, "items": len(records)}
        row |= known
        for name in () if known["outside"] else self.measures:
            row[name] = mean_of([r[name] for r in records if r[name] is not None])
            if base and records[0]["arm"] != BASE.name:
                pairs = [(r[name], base[r["id"]][name]) for r in records if r["id"] in base]
                gaps = [a - b for a, b in pairs if a is not None and b is not None]
                row[f"{name}, minus base"] = mean_of(gaps)
        return [row]

    def _cells(self, row: Mapping[str, Any]) -> dict[str, str]:
        line = {"arm": str(row["arm"]), "mode": str(row["mode"])}
        line |= {"valid": percent(row["valid_answer_probability"])}
        line |= {"comprehension": percent(row["comprehension"])}
        line |= {"note": OUTSIDE} if row["outside"] else {}
        for estimate in _estimates(row):
            line[estimate.name] = str(estimate)
        return line


def _estimates(row: Mapping[str, Any]) -> list[Estimate]:
    """The means of a row of the plain summary."""
    return [
        Estimate(k, v["mean"], v["se"], v["n"], condition=row["arm"], mode=row["mode"])
        for k, v in row.items()
        if isinstance(v, dict) and set(v) == {"mean", "se", "n"}
    ]


class Found:
    """Records of every instrument, condition and mode."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._asked: list[tuple[Instrument[Any, Any], list[Any], Condition, Mode]] = []
        self._records: dict[tuple[str, str, Mode], list[Any]] = {}

    def add(
        self, instrument: Instrument[Item, R], items: list[Item], condition: Condition, mode: Mode
    ) -> None:
        """Ask a condition about every item."""
        label = f"{condition.name}, {instrument.name}, {mode}"
        records = self._records.setdefault((instrument.name, condition.name, mode), [])
        starts = list(range(0, len(items), CHUNK))
        for start in progress(starts, label, self.session.console):
            some = items[start : start + CHUNK]
            new = inquire(self.session.engine, instrument, some, condition, mode, start)
            records += map(instrument.slim, new)
        self._asked.append((instrument, items, condition, mode))

    def beyond(self, adapters: Sequence[Adapter]) -> dict[str, tuple[int, int]]:
        """Adapter -> (largest number on the pages, in training) where it had to derive from numbers
        larger than it has met.
        """
        known = {a.name: n for a in adapters if (n := a.training["largest_number"]) is not None}
        if not known:
            return {}
        here = largest_number(
            r.conversation.page
            for instrument, items, condition, mode in self._asked
            if mode == "reasoned" and condition == BASE
            for item in items
            for r in instrument.requests(item, condition, mode)
        )
        return {name: (here, n) for name, n in known.items() if here > n}

    @property
    def instruments(self) -> list[Instrument[Any, Any]]:
        """What was asked."""
        return list(dict.fromkeys(instrument for instrument, *_ in self._asked))

    def of(self, instrument: Instrument[Item, R], condition: str, mode: Mode) -> list[R]:
        """The records of one condition, as much of each as ``slim`` leaves; none if not asked."""
        return self._records.get((instrument.name, condition, mode), [])

    def all(self, instrument: Instrument[Item, R]) -> list[R]:
        """The records of all conditions and modes."""
        return [
            r for (name, *_), some in self._records.items() if name == instrument.name for r in some
        ]

    def whole(self, name: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every record whole, made again from the answers that are kept.  name : an
        instrument's."""
        for instrument, items, condition, mode in self._asked:
            if name in (None, instrument.name):
                for start in range(0, len(items), CHUNK):
                    some = items[start : start + CHUNK]
                    yield from inquire(
                        self.session.engine, instrument, some, condition, mode, start
                    )


def inquire(
    engine: Engine,
    instrument: Instrument[Item, R],
    items: Sequence[Item],
    condition: Condition,
    mode: Mode,
    seed: int = 0,
) -> list[R]:
    """One record for every item, asked of an engine in one batch; seed : of what is sampled."""
    asked = [instrument.requests(item, condition, mode) for item in items]
    answers = iter(engine.score([r for several in asked for r in several], condition, seed))
    records = []
    for item, several in zip(items, asked, strict=True):
        mine = [next(answers) for _ in several]
        record = instrument.record(item, condition, mode, several, mine)
        asked_as = {"prompt_hash": prompt_hash(r.conversation for r in several)}
        records.append(cast(R, {**record, **asked_as}))
    return records


def acts(
    engine: Engine,
    instrument: Instrument[Item, R],
    items: Sequence[Item],
    condition: Condition,
    mode: Mode,
) -> bool:
    """Whether any answer of an adapter differs from the base's; both are known by now."""
    for start in range(0, len(items), CHUNK):
        some = items[start : start + CHUNK]
        asked = [r for item in some for r in instrument.requests(item, condition, mode)]
        pairs = zip(
            engine.score(asked, condition, start), engine.score(asked, BASE, start), strict=True
        )
        if any(differ(a, b) for a, b in pairs):
            return True
    return False


def differ(one: Answer, other: Answer) -> bool:
    """Whether any probability of two answers differs by more than rounding."""
    p, q = one.probabilities, other.probabilities
    if p is None or q is None:
        return (p is None) != (q is None)
    return bool(np.abs(p - q).max() > APART or np.abs(one.valid - other.valid).max() > APART)


def run(study: Study, console: Console | None = None, other: Session | None = None) -> Results:
    """Ask, write everything, print the tables; run.json is the last file.

    other : a session whose engine may be loaded already.  Raises InputError for what cannot be
    measured, for the folder of an adapter or a checkpoint, and where another command writes there.
    """
    place = study.config.place
    if held := next((f for f in OTHERS if (place / f).is_file()), None):
        raise InputError(
            f"--out {place} holds an adapter or a checkpoint ({held}), whose own record would be "
            "overwritten; give another folder"
        )
    lock(place)
    try:
        return _run(study, console or terminal(study.width), other)
    finally:
        unlock(place)  # the next measurement of a Python session may continue here


def _run(study: Study, console: Console, other: Session | None) -> Results:
    config, place = study.config, study.config.place
    chooser = study.chooser(config.simulate) if config.simulate else None
    session = Session(config, study.adapters, console, chooser, other)
    results = study.ask(session)
    written = [*results.files, "summary.json", "table.csv", *results.figures]
    for name in left_by_earlier(place) - set(written):
        (place / name).unlink(missing_ok=True)
    for name, rows in results.files.items():
        write_lines(place / name, rows)
    write_json(place / "summary.json", finite(results.summary))
    write_text(place / "table.csv", spreadsheet(results.table))
    results.show(console)
    for name, draw in results.figures.items():
        (place / name).unlink(missing_ok=True)  # of an earlier run
        try_to_draw(partial(draw, place / name), place / name, console)
    about = manifest(study, session) | dict(results.about) | {"files": written}
    write_json(place / "run.json", about)
    if session.note():
        console.print(f"{config.endpoint or config.base}: {session.note()}", highlight=False)
    there = sorted(p.name for p in place.iterdir() if p.is_file())
    console.print(f"{place}/: {' '.join(there)}", highlight=False)
    study.after(session)
    return results


def left_by_earlier(place: Path) -> set[str]:
    """Results of an earlier measurement in a folder, by its run.json: those that are not written
    again would stand beside figures that they do not belong to.
    """
    files = read_object(place / "run.json").get("files")
    return {
        file
        for file in (files if isinstance(files, list) else [])
        if isinstance(file, str) and re.fullmatch(r"[\w-]+\.(jsonl|csv|png)", file)
    }


def manifest(study: Study, session: Session) -> dict[str, object]:
    """Where the results come from: command, versions, hashes of adapters and base, every option."""
    config = study.config
    inputs = {a.name: a.folder / WEIGHTS for a in study.adapters}
    source = Path(find_model(config.base).source) if config.base else None
    inputs |= {"base": source} if source and source.is_dir() else {}
    inputs |= study.inputs()
    return (
        origin(**inputs)
        | {"settings": config.settings()}
        | session.about()
        | {"adapters": {a.name: dict(a.training) for a in study.adapters}}
    )


def run_command(study: type[Study], about: str | None) -> None:
    """A study's command: its options from the command line, then ``run``."""
    run(study(parse(study.Config, program(f"python -m eval.{study.name}"), about)))


def spreadsheet(frame: pd.DataFrame) -> str:
    """A table as CSV, without formulas in its cells and its header."""
    return frame.map(spreadsheet_cell).rename(columns=spreadsheet_cell).to_csv(index=False)


def try_to_draw(draw: Callable[[], None], path: Path, console: Console) -> None:
    """Draw a figure; one that cannot be drawn (a font, a name, a full disk) costs nothing else."""
    try:
        draw()
    except Exception as error:
        why = str(error).splitlines()[0][:120] if str(error) else ""
        console.print(f"{path.name}: not drawn ({type(error).__name__}: {why})")


def show_frame(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Print a table of text."""
    rows = frame.fillna("").astype(str).to_numpy()
    console.print(grid([*map(str, frame.columns)], rows, title, ("arm", "mode")))
