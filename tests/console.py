"""The calculator's command line within this process: what it prints and how it ends, without the
seconds that a new process takes.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from unittest import mock

from econmoral.__main__ import main
from econmoral.records import command


def calculator(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m econmoral ...``"""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["econmoral", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            command(main)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def assert_complains(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2 and one line that holds the parts."""
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    for part in parts:
        assert part in result.stderr
