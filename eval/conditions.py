"""What is measured side by side: the base, the base told of a preference, adapters, null agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

from econmoral.checkpoints.adapters import check_adapter
from econmoral.files.records import InputError, plain, read_object
from econmoral.instruments.dilemmas import NULLS
from econmoral.target import ECONOMICUS, Target, labels, moralis

from .engines.base import Condition

BASE = Condition("base")
# what tables call people, choosers that see nothing and their own columns: an adapter's folder of
# that name would stand in its place, or it in the adapter's
TAKEN = {BASE.name, "chooser", "arm", "measure", "humans", "first listed", "most for itself"}
TAKEN |= set(NULLS)


class Training(TypedDict):
    """What an adapter's run.json says of its training; None where it does not say.

    largest_number : on the pages of its last training.  share, ends : of an adapter between two
    others, the second one's share and what both were trained on.
    """

    target: str | None
    shuffled: bool
    domain: str | None
    conversations: int | None
    largest_number: int | None
    seed: int | str | None
    seconds: float | None
    share: float | None
    ends: list[str] | None


def adapter_record(folder: Path) -> Training:
    """What an adapter's run.json says of its training; all None of an adapter from elsewhere."""
    run = read_object(folder / "run.json")
    gates, settings = (
        found if isinstance(found := run.get(k), dict) else {} for k in ("gates", "settings")
    )
    largest = gates.get("largest_number")
    return {
        "target": run.get("target"),
        "shuffled": run.get("shuffled") is True,
        "domain": run.get("domain"),
        "conversations": gates.get("labels_checked"),
        "largest_number": largest if type(largest) is int else None,
        "seed": settings.get("seed"),
        "seconds": run.get("seconds"),
        "share": run.get("interpolation"),
        "ends": run.get("ends"),
    }


@dataclass(frozen=True)
class Adapter:
    """An adapter under the name that tables give it."""

    name: str
    folder: Path

    @cached_property
    def training(self) -> Training:
        """What its run.json says."""
        return adapter_record(self.folder)

    @property
    def placebo(self) -> bool:
        """Whether it was trained on shuffled answers: a baseline that has learnt the form."""
        return self.training["shuffled"]

    @cached_property
    def target(self) -> Target | None:
        """The preference that it was trained toward, where that is known: data of one's own may
        call something else a target.
        """
        named = self.training["target"]
        with suppress(InputError):
            return Target.parse(named) if isinstance(named, str) else None
        return None

    @property
    def condition(self) -> Condition:
        """What is asked of the engine."""
        return Condition(self.name, self.name)


def default_targets(trained: Sequence[Target], kappa: float | None = None) -> list[Target]:
    """Preferences that choices in games are compared with unless told: own payoff, homo moralis (of
    ``kappa``, else the first degree among those trained toward, else .5), and those trained toward.
    """
    kappas = [kappa, *(t.kappa or None for t in trained), 0.5]
    degree = next(k for k in kappas if k is not None)
    return list(dict.fromkeys((ECONOMICUS, moralis(degree), *trained)))


def adapters_of(folders: Sequence[Path]) -> tuple[Adapter, ...]:
    """Adapters named after their folders where that tells them apart, else after whole paths.

    Raises InputError for a folder that holds no adapter, or the same one twice.
    """
    found = tuple(Adapter(name, folder) for name, folder in adapter_names(folders).items())
    for adapter in found:
        check_adapter(adapter.folder)
    return found


def adapter_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Name -> folder.

    Raises InputError for one that is given twice, or whose name another row or column has.
    """
    names = [plain(f.resolve().name) for f in folders]
    if len(set(names)) < len(names) or TAKEN & set(names):
        names = [plain(str(f)).strip("/").replace("/", "-").replace(".", "_") for f in folders]
    if len(set(names)) < len(names):
        raise InputError("the same --adapter was given twice")
    if taken := sorted(TAKEN & set(names)):
        raise InputError(
            f"--adapter {taken[0]}: tables call something else {taken[0]!r}; rename the folder"
        )
    return dict(zip(names, folders, strict=True))


def check_kappa(kappa: float | None, targets: Sequence[str]) -> None:
    """Raises InputError for a degree of morality that is none, and beside targets that would leave
    it unread.
    """
    if kappa is not None and not 0 <= kappa <= 1:
        raise InputError(f"--kappa must lie in [0, 1], got {kappa}")
    if kappa is not None and targets:
        raise InputError(
            "--kappa belongs to the default targets; with --targets write homo_moralis:kappa=..."
        )


def told_conditions(targets: Sequence[Target]) -> list[Condition]:
    """The base told of each target in a system message; labels that coincide are written in full.

    Raises InputError for a target that is given twice.
    """
    names = labels(targets)
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(f"--targets: {twice} is given twice")
    return [
        Condition(f"base, told {name}", None, t.describe())
        for name, t in zip(names, targets, strict=True)
    ]


def conditions_of(
    simulated: bool, prompted: bool, targets: Sequence[Target], adapters: Sequence[Adapter]
) -> list[Condition]:
    """What is measured, in the order of the tables: the base (or one simulated chooser), the base
    told of every target, placebos, the other adapters."""
    if simulated:
        return [Condition("chooser")]
    told = told_conditions(targets) if prompted else []
    in_order = sorted(adapters, key=lambda a: not a.placebo)
    return [BASE, *told, *(a.condition for a in in_order)]


def folders(adapters: Sequence[Adapter]) -> Mapping[str, Path]:
    """Name -> folder."""
    return {a.name: a.folder for a in adapters}
