"""Configurations: frozen dataclasses from which the command lines are made.

    @dataclass(frozen=True)
    class Coins(Source):
        items: int = option(20, "coins that are thrown", at_least=1)

The type of a field says how its words are read: ``tuple[str, ...]`` takes several,
``tuple[str, str]`` two, ``bool`` none, ``X | None`` may be left out.  The same checks hold for a
command line and for Python; the values go into run.json.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

from econmoral.adapters import adapter_base
from econmoral.models import find_model
from econmoral.records import InputError, plain

from .engines import LONGEST_DERIVATION

C = TypeVar("C", bound="Config")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    metavar: str | None = None,
    at_least: int | None = None,
    repeat: bool = False,
    once: bool = False,
    positional: bool = False,
) -> Any:
    """A field that is an option of the command line.

    choices : the values it takes; at_least : the smallest; repeat : the option is given again for
    every value; once : a value that is given twice counts once; positional : given without a name.
    """
    about = {"help": help, "choices": tuple(choices), "metavar": metavar, "at_least": at_least}
    about |= {"repeat": repeat, "once": once, "positional": positional}
    return field(default=default, metadata=about)


def _kind(hint: Any) -> tuple[type, str | int, bool]:
    """(type of one value; ``+`` for several or their number, 0 for a single one; whether it may be
    left out)."""
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        return parts[0], "+" if Ellipsis in parts else len(parts), False
    if NoneType in parts:
        return next(p for p in parts if p is not NoneType), 0, True
    return hint, 0, False


def _words(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Config:
    """Values of every option, checked.  Raises InputError for one that cannot be used."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            self._set(entry.name, self._checked(entry, hints[entry.name]))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _checked(self, entry: Field[Any], hint: Any) -> Any:
        value = getattr(self, entry.name)
        one, several, optional = _kind(hint)
        if value is None and optional:
            return None
        values = list(value) if several and not isinstance(value, str | Path) else [value]
        name = _words(entry.name)
        about = entry.metadata
        if several not in (0, "+", len(values)):
            raise InputError(f"{name} takes {several} values, got {len(values)}")
        for i, single in enumerate(values):
            if one is Path and isinstance(single, str):
                values[i] = Path(single)
            elif one is float and isinstance(single, int) and not isinstance(single, bool):
                values[i] = float(single)
            elif not isinstance(single, one) or (isinstance(single, bool) and one is not bool):
                raise InputError(f"{name} takes {one.__name__}, got {single!r}")
            if isinstance(values[i], float) and not math.isfinite(values[i]):
                raise InputError(f"{name} must be finite, got {single}")
            if about["choices"] and values[i] not in about["choices"]:
                known = ", ".join(about["choices"])
                raise InputError(f"{name}: invalid choice {single!r} (choose from {known})")
            if about["at_least"] is not None and values[i] < about["at_least"]:
                raise InputError(f"{name} must be at least {about['at_least']}, got {single}")
        if not several:
            return values[0]
        return tuple(dict.fromkeys(values) if about["once"] else values)

    def settings(self) -> dict[str, object]:
        """The values as JSON holds them."""
        return {k: _plain(v) for k, v in asdict(self).items()}

    def changed(self, **values: Any) -> Self:
        """The same with some other values, checked again."""
        return replace(self, **values)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def parse(config: type[C], prog: str, about: str, words: Sequence[str] | None = None) -> C:
    """The configuration that a command line gives (``words``: its own, by default).

    Raises InputError for values that cannot be used; an unknown option ends the command.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    hints = get_type_hints(config)
    for entry in fields(config):
        one, several, _ = _kind(hints[entry.name])
        name, meta, default = _words(entry.name), entry.metadata, entry.default
        assert default is not MISSING
        text = meta["help"].replace("%", "%%")
        if default not in (None, False, ()) and "default" not in text:
            shown = default if isinstance(default, tuple) else (default,)
            text += f" (default {' '.join(f'{v:g}' if one is float else str(v) for v in shown)})"
        if one is bool:
            parser.add_argument(name, action="store_true", help=text)
            continue
        more: dict[str, Any] = {"choices": meta["choices"]} if meta["choices"] else {}
        more |= {"metavar": meta["metavar"]} if meta["metavar"] else {}
        if meta["positional"]:
            nargs: dict[str, Any] = {"nargs": several} if several else {}
            parser.add_argument(entry.name, type=one, help=text, **nargs)
            continue
        if several and meta["repeat"]:
            more |= {"action": "append"}
        elif several:
            more |= {"nargs": several}
        # what is given replaces a default, it is not added to it
        parser.add_argument(name, type=one, default=None if several else default, help=text, **more)
    given = vars(parser.parse_args(words))
    return config(**{k: v for k, v in given.items() if v is not None})


@dataclass(frozen=True)
class Source(Config):
    """What is measured, and by which engine; where the results go."""

    folder: ClassVar[str] = "eval"  # of the first adapter: the default of ``out``

    adapter: tuple[Path, ...] = option(
        (), "folder of a LoRA adapter; repeat for several", repeat=True
    )
    model: str | None = option(
        None, "name, hub id or folder of the base (default: the one the adapter names)"
    )
    engine: str = option(
        "auto",
        "default: vllm where it finds a GPU, else transformers",
        choices=("auto", "transformers", "vllm"),
    )
    vllm: tuple[str, ...] = option(
        (), "options for vLLM, e.g. tensor_parallel_size=4 max_model_len=4096", metavar="KEY=VALUE"
    )
    endpoint: str | None = option(
        None,
        "measure what an OpenAI-compatible server offers; adapters by the names of their folders",
        metavar="URL",
    )
    concurrency: int = option(16, "requests to the endpoint at the same time", at_least=1)
    served: str | None = option(
        None, "name of the base at the endpoint (default: the model's hub id)", metavar="NAME"
    )
    simulate: str | None = option(
        None, "measure a chooser of known parameters instead of a model", metavar="PARAMETERS"
    )
    replies: str = option(
        "exact",
        "exact probabilities, or replies that are sampled and read: for models that answer in "
        "sentences",
        choices=("exact", "sampled"),
    )
    samples: int = option(
        1,
        "for each page: derivations in reasoned mode; conversations where replies are sampled",
        at_least=1,
    )
    seed: int = option(0, "of everything that is drawn", at_least=0)
    out: Path | None = option(
        None, "folder of the results (default: in the first adapter's folder)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_source()

    def check_source(self) -> None:
        """Raises InputError unless it is clear what is measured; sets ``out``."""
        adapters = self.adapter_folders
        if bool(self.simulate) == bool(adapters or self.model or self.endpoint):
            raise InputError("give either --adapter and/or --model, or --endpoint, or --simulate")
        if self.endpoint and not (self.model or self.served or adapters):
            raise InputError(
                "--endpoint needs --served NAME, the model to ask there, or --model, whose "
                "tokenizer then gives exact scores"
            )
        if self.out is None:
            if not adapters:
                raise InputError("give --out FOLDER")
            self._set("out", adapters[0] / self.folder)

    @property
    def adapter_folders(self) -> tuple[Path, ...]:
        """The adapters that are measured."""
        return self.adapter

    @property
    def place(self) -> Path:
        """The folder of the results."""
        assert self.out is not None
        return self.out

    @property
    def base(self) -> str | None:
        """The base model: the one that is named, else the first adapter's; None without either.

        Raises InputError for an adapter's base that is not known.
        """
        adapters = self.adapter_folders
        if self.model or not adapters:
            return self.model
        named = adapter_base(adapters[0])
        known_base(adapters[0], named)
        return named

    def settings(self) -> dict[str, object]:
        """The values as JSON holds them, the base included."""
        adapters = [str(folder) for folder in self.adapter_folders]
        return super().settings() | {"model": self.base, "adapter": adapters}


@dataclass(frozen=True)
class Reasoned(Source):
    """Options of instruments that can ask for a derivation before the decision."""

    mode: tuple[str, ...] = option(
        ("direct",),
        "ask for the decisions alone, or for a derivation first; or both",
        choices=("direct", "reasoned"),
        once=True,
    )
    temperature: float = option(
        1.0, "of derivations; 0 takes the most probable token at every step"
    )
    longest: int = option(LONGEST_DERIVATION, "tokens at which a derivation is cut", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature <= 5:
            raise InputError(f"--temperature must lie between 0 and 5, got {self.temperature:g}")
        if self.temperature == 0 and self.samples > 1:
            raise InputError(
                "--temperature 0 writes the same derivation every time; leave --samples at 1"
            )
        if self.temperature != 1 and self.replies == "sampled":
            raise InputError(
                "--temperature is for derivations before exact probabilities; sampled replies are "
                "drawn at 1"
            )


def known_base(folder: Path, name: str) -> None:
    """Raises InputError unless the base that an adapter names is a known model, a hub id or a
    folder of this machine."""
    try:
        find_model(name)
    except InputError:
        raise InputError(
            f"{folder} was trained on {plain(name)}, which is not on this machine; give --model "
            "with its name or folder"
        ) from None
