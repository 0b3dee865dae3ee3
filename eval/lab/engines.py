"""The models of the page: each loaded once, whoever asks, with the adapters that were trained on
it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.attaching import model_of
from econmoral.files.records import InputError

from ..conditions import adapter_names
from ..engines.base import Answer, Condition, Request
from ..engines.with_transformers import Transformers

DEEPEST = 4  # folders below the runs' one in which adapters are looked for


@dataclass(frozen=True)
class Adapter:
    """An adapter in the runs' folder: its name on the page, where it is, the model that it belongs
    to.
    """

    name: str
    folder: Path
    model: str


def folders(root: Path, file: str) -> list[Path]:
    """Folders under ``root``, DEEPEST at most, that hold ``file``, sorted; no links."""
    found = []
    for place, below, files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        below[:] = [] if depth >= DEEPEST else sorted(b for b in below if not b.startswith("."))
        if file in files:
            found.append(Path(place))
    return sorted(found)


def adapters_in(root: Path) -> list[Adapter]:
    """The finished adapters under a folder; one that is damaged or whose model is not known here is
    left out.
    """
    places = [f for f in folders(root, "adapter_config.json") if "checkpoints" not in f.parts]
    found = []
    for name, folder in adapter_names(places).items():
        try:
            found.append(Adapter(name, folder, model_of(folder)))
        except InputError:
            continue
    return found


def written(folder: Path | None) -> int:
    """When an adapter's weights were written, in nanoseconds; 0 where there are none (a base)."""
    weights = folder / WEIGHTS if folder else None
    return weights.stat().st_mtime_ns if weights is not None and weights.is_file() else 0


class Engines:
    """What answers.  One question at a time: others wait their turn.

    Each model is loaded on its first use and kept; so is each adapter.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Transformers] = {}
        self._known: dict[tuple[str, str], tuple[Path, int]] = {}  # adapters as they were loaded

    @contextmanager
    def of(self, model: str, adapters: dict[str, Path]) -> Iterator[Transformers]:
        """The engine of a model with these adapters loaded, for oneself until the block ends.
        Raises InputError as loading does.
        """
        with self._lock:
            if model not in self._loaded:
                self._loaded[model] = Transformers(model, {}, apart=True)
            engine = self._loaded[model]
            for name, folder in adapters.items():
                now = (folder, written(folder))
                if name in engine.keys and self._known[model, name] != now:  # trained again
                    engine.keys[f"{name}, earlier ({len(engine.keys)})"] = engine.keys.pop(name)
                self._known[model, name] = now
                engine.add(name, folder)
                engine.trust_as_base(name)
            yield engine

    def score(
        self,
        model: str,
        adapters: dict[str, Path],
        requests: Sequence[Request],
        arm: Condition,
        seed: int = 0,
    ) -> list[Answer]:
        """Answers to the requests in one condition, in their order."""
        with self.of(model, adapters) as engine:
            return engine.score(requests, arm, seed)
