"""Options as values: frozen dataclasses from which the command lines are made.

    @dataclass(frozen=True)
    class Coins(Config):
        items: int = option(20, "coins that are thrown", at_least=1)

    config = parse(Coins, "coins", "Throw coins.")

The type of a field says how its words are read: ``tuple[str, ...]`` takes several,
``tuple[str, str]`` two, ``bool`` none, ``X | None`` may be left out.  The same checks hold for a
command line and for Python; the values go into run.json.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from econmoral.files.records import InputError, plain, read_yaml

C = TypeVar("C", bound="Config")
LARGEST = 1e12  # number that a pair may give


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    metavar: str | tuple[str, ...] | None = None,
    at_least: int | None = None,
    positive: bool = False,
    within: tuple[float, float] | None = None,
    repeat: bool = False,
    extend: bool = False,
    once: bool = False,
    positional: bool = False,
    required: bool = False,
) -> Any:
    """A field that is an option of the command line.

    choices : the values it takes; at_least : the smallest; positive : above zero; within : the
    smallest and the largest; repeat : the option is given again for every value; extend : it takes
    several and may be given again for more; once : a value that is given twice counts once;
    positional : given without a name; required : must be given.

    A default of None in a field that cannot be None is a value that the class fills in when it is
    made, or asks for.  A default is shown beside a help text that does not name it.
    """
    about: dict[str, Any] = {"help": help, "choices": tuple(choices), "metavar": metavar}
    about |= {"at_least": at_least, "positive": positive, "within": within}
    about |= {"repeat": repeat, "extend": extend, "once": once}
    about |= {"positional": positional, "required": required}
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
        about = entry.metadata
        name = entry.name if about["positional"] else _words(entry.name)
        if value is None and about["required"]:
            raise InputError(f"give {name}")
        if value is None and (optional or entry.default is None):
            return None
        listed = several and isinstance(value, Iterable) and not isinstance(value, str)
        values = list(value) if listed else [value]
        if several not in (0, "+", len(values)):
            raise InputError(f"{name} takes {several} values, got {len(values)}")
        for i, single in enumerate(values):
            if one is Path and isinstance(single, str):
                values[i] = Path(single)
            elif one is float and isinstance(single, int) and not isinstance(single, bool):
                values[i] = float(single)
            elif not isinstance(single, one) or (isinstance(single, bool) and one is not bool):
                raise InputError(f"{name} takes {one.__name__}, got {single!r}")
            if about["positive"] and not 0 < values[i] < math.inf:
                raise InputError(f"{name} must be positive, got {values[i]}")
            if about["within"] and not about["within"][0] <= values[i] <= about["within"][1]:
                low, high = about["within"]
                raise InputError(f"{name} must lie in [{low:g}, {high:g}], got {values[i]}")
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


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _from_file(path: Path, config: type[Config]) -> dict[str, Any]:
    """Values of a YAML file under the names of the fields, as the parser takes its defaults."""
    found, known = read_yaml(path), {entry.name: entry for entry in fields(config)}
    if not isinstance(found, dict) or (unknown := [k for k in found if k not in known]):
        raise InputError(
            f"--config {path}: expected options among {', '.join(known)}"
            + (f"; unknown: {unknown}" if isinstance(found, dict) else "")
        )
    hints = get_type_hints(config)
    for name, value in found.items():
        one, several, _ = _kind(hints[name])
        if one is bool or several:
            continue
        found[name] = str(value)  # as text, so that the parser's own types check it
        choices = known[name].metadata["choices"]  # the parser checks those of its words only
        if choices and found[name] not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, got {found[name]!r}")
    return found


def parse(
    config: type[C],
    prog: str | None,
    about: str | None,
    words: Sequence[str] | None = None,
    *,
    file: bool = False,
) -> C:
    """The configuration that a command line gives (``words``: its own, by default).

    prog : what the usage line calls the command, by default the script's own name; about : its
    description; file : options may also stand in a YAML file, ``--config``; the command line
    overrides it.
    Raises InputError for values that cannot be used; an unknown option ends the command.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if file:
        parser.add_argument(
            "--config",
            type=Path,
            help="YAML file with any of the options below (dashes as underscores)",
        )
    hints = get_type_hints(config)
    for entry in fields(config):
        one, several, _ = _kind(hints[entry.name])
        name, meta, default = _words(entry.name), entry.metadata, entry.default
        assert default is not MISSING
        text = meta["help"]
        if text is not argparse.SUPPRESS:
            text = text.replace("%", "%%")
        if default not in (None, False, (), "") and text and "default" not in text:
            shown = default if isinstance(default, tuple) else (default,)
            text += f" (default {' '.join(f'{v:g}' if one is float else str(v) for v in shown)})"
        if one is bool:
            parser.add_argument(name, action="store_true", help=text)
            continue
        more: dict[str, Any] = {"type": one, "help": text}
        more |= {key: meta[key] for key in ("choices", "metavar") if meta[key]}
        if several and meta["repeat"]:
            more |= {"action": "append"}
        elif several:
            more |= {"nargs": several} | ({"action": "extend"} if meta["extend"] else {})
        if meta["positional"]:
            more |= {"nargs": "*"} if several and not meta["required"] else {}
            parser.add_argument(entry.name, **more)
            continue
        more |= {"required": meta["required"], "default": None if several else default}
        parser.add_argument(name, **more)
    found: dict[str, Any] = {}
    if file and (path := parser.parse_known_args(words)[0].config):
        found = _from_file(path, config)
    # lists apart: one that is given replaces a default, it is not added to it
    parser.set_defaults(**{k: v for k, v in found.items() if not _kind(hints[k])[1]})
    given = vars(parser.parse_args(words))
    values = {k: found.get(k) if v is None else v for k, v in given.items() if k in hints}
    return config(**{k: v for k, v in values.items() if v is not None})


def pairs(words: Iterable[str], name: str) -> dict[str, float]:
    """``gamma=0`` and the like, given to the option ``name``.

    Raises InputError for anything else, and for a name that stands twice.
    """
    found: dict[str, float] = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not abs(number) <= LARGEST:
            raise InputError(
                f"{name} {plain(word)}: write NAME=VALUE with a number of at most {LARGEST:g}"
            )
        if key.strip() in found:
            raise InputError(f"{name} gives {plain(key.strip())} twice")
        found[key.strip()] = number
    return found
