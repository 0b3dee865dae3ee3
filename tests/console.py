"""Commands within this process, without the seconds that a new one takes:
what they print and how they end.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

from econmoral.files.records import _locks, command


def here(*words: str) -> subprocess.CompletedProcess[str]:
    """``conftest.run`` in this process: ``-m MODULE ...`` or ``recipes/NAME.py ...``."""
    name, rest = (words[1], words[2:]) if words[0] == "-m" else (Path(words[0]).stem, words[1:])
    module = import_module(name)
    if not hasattr(module, "main"):
        module = import_module(f"{name}.__main__")
    program = name if name == "econmoral" else str(module.__file__)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [program, *rest]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            command(module.main)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        finally:
            while _locks:  # a command's locks end with its process
                os.close(_locks.popitem()[1])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def calculator(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m econmoral ...``"""
    return here("-m", "econmoral", *words)


def assert_complains(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2 and one line that holds the parts."""
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    for part in parts:
        assert part in result.stderr
