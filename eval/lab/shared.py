"""What all visitors of the page share: the folder of runs and the models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

from econmoral.files.records import InputError

from ..engines.base import Answer, Condition, Request
from . import watch
from .engines import Adapter, Engines, adapters_in, folders, written

REMEMBERED = 500  # answers of a condition to a page
Options = list[tuple[str, str]]  # (label, value) of a list to choose from


class Lab:
    """The adapters, measurements and trainings under a folder, and the models that answer."""

    def __init__(self, runs: Path, model: str | None = None) -> None:
        self.runs, self.engines, self.first = runs, Engines(), model
        self.remembered: OrderedDict[Hashable, list[Answer]] = OrderedDict()
        self.look()

    def look(self) -> None:
        """Look for adapters again."""
        self.adapters: list[Adapter] = adapters_in(self.runs)
        known = [self.first] if self.first else []
        self.models = list(dict.fromkeys([*known, *(a.model for a in self.adapters), "nano"]))

    def of(self, model: str) -> dict[str, Path]:
        """The adapters of a model by name."""
        return {a.name: a.folder for a in self.adapters if a.model == model}

    def side_by_side(self, model: str) -> list[str]:
        """What is compared at first: the base and up to three adapters."""
        return ["base", *list(self.of(model))[:3]]

    def rival(self) -> str:
        """Who is played against at first: an adapter, where there is one."""
        return next(iter(self.of(self.models[0])), "base")

    def agents(self, model: str) -> Options:
        """The conditions that can be played against: not told of anything."""
        return [("base", "base"), *((n, n) for n in self.of(model))]

    def conditions(self, model: str) -> Options:
        """The conditions that can be compared."""
        base, *adapters = self.agents(model)
        return [base, ("base, told of the target", "told"), *adapters]

    def needed(self, model: str, adapter: str | None) -> dict[str, Path]:
        """An adapter by name, or none.  Raises InputError for one that is no longer there."""
        if adapter is None:
            return {}
        found = self.of(model)
        if adapter not in found:
            raise InputError(f"{adapter} is no longer an adapter of {model} under {self.runs}")
        return {adapter: found[adapter]}

    def score(
        self, model: str, arm: Condition, requests: Sequence[Request], seed: int = 0
    ) -> list[Answer]:
        """Answers of one condition."""
        return self.engines.score(model, self.needed(model, arm.adapter), requests, arm, seed)

    def ask(self, model: str, arm: Condition, requests: Sequence[Request]) -> list[Answer]:
        """Exact answers of one condition, decisions alone; the last REMEMBERED are kept, since the
        same page has the same answers for whoever asks.
        """
        weights = [(n, written(f)) for n, f in self.needed(model, arm.adapter).items()]
        key = (model, *weights, *(r.conversation for r in requests))
        if key in self.remembered:
            self.remembered.move_to_end(key)
        else:
            self.remembered[key] = self.score(model, arm, requests)
        while len(self.remembered) > REMEMBERED:
            self.remembered.popitem(last=False)
        return self.remembered[key]

    def measurements(self, files: Sequence[str]) -> list[str]:
        """Folders of measurements that hold one of these, by their path under the runs' folder."""
        found = {str(f.relative_to(self.runs)) for file in files for f in folders(self.runs, file)}
        return sorted(found)

    def trainings(self) -> list[str]:
        """Folders of training runs, by their path under the runs' folder."""
        return [str(f.relative_to(self.runs)) for f in watch.trainings(self.runs)]

    def inside(self, name: str) -> Path:
        """A folder under the runs' one.  Raises InputError for a name that leaves it."""
        place = (self.runs / name).resolve()
        if not name or not place.is_relative_to(self.runs.resolve()):
            raise InputError(f"{name!r} is no folder of {self.runs}")
        return place


def condition(who: str) -> Condition:
    """The base, or an adapter by name."""
    return Condition(who, None if who == "base" else who)
