"""Where ``data_synth``, ``recipes`` and ``eval`` are: beside the core in the repository,
inside it where the wheel is installed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

_CORE = Path(__file__).parent
REPOSITORY: Path | None = None if (_CORE / "eval" / "__init__.py").is_file() else _CORE.parent


def folder(name: str) -> Path:
    """Where the files of a room lie: of ``econmoral``, ``eval``, ``data_synth`` or ``recipes``."""
    return _CORE if name == "econmoral" else (REPOSITORY or _CORE) / name


def room(name: str) -> ModuleType:
    """The module ``name`` of another room: ``eval.games`` in the repository,
    ``econmoral.eval.games`` of an installed wheel.
    """
    if REPOSITORY is None:
        return import_module(f"econmoral.{name}")
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    return import_module(name)
