"""Files that stages exchange: JSON Lines in and out, atomic writes, the run manifest;
and how commands end.

Stages meet in files on disk only.  Everything is written aside and moved into place, so a killed
command leaves either the old file or the new one, never half of one.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import logging
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import lock_descriptor
from rich.console import Console

PACKAGES = (
    "econmoral",
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
    "vllm",
    "bitsandbytes",
    "gguf",
)
# bytes of one line of JSON Lines: what is longer is no record of ours and would fill the memory
LONGEST_LINE = 1 << 26
_began = time.monotonic()
# folders this process writes to, held until it ends or gives them back
_locks: dict[Path, int] = {}
# folders it has written to: commands that hold one keep what is finished there
_written: set[Path] = set()

# said on import, by whichever module comes first: an optional kernel of a hub could not be had,
# which no user can act on
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one line that says what is wrong and what to do.
    """


def command(main: Callable[[], None]) -> None:
    """Run a command's ``main``.

    Bad input, a full disk and an interrupt end in one line and exit code 2 (130).

    Signs that the output's encoding lacks become question marks; output that nobody reads any more
    (``| head``) ends quietly.
    """
    # a scheduler's polite stop is an interrupt too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (``>&-``)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the command
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        _unread()
    except InputError as error:
        sys.exit(_complain(str(error), 2))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(_complain(f"{error.strerror or error}{where}", 2))
    except KeyboardInterrupt:
        for impatient in (signal.SIGINT, signal.SIGTERM):  # a second one would end in a traceback
            signal.signal(impatient, signal.SIG_IGN)
        kept = "; what is finished is kept: run the same command again and it goes on from there"
        sys.exit(_complain(f"interrupted{kept if _written else ''}", 130))


def program(usual: str) -> str:
    """What a usage line calls the running command:
    ``econmoral games`` under the console command, else its usual name.
    """
    return sys.argv[0] if sys.argv[0].startswith("econmoral ") else usual


def _unread() -> None:
    """From now on standard output goes nowhere: its reader has left."""
    with suppress(OSError, ValueError):  # not every standard output has a number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal(Console):
    """A console whose work goes on when its reader has left."""

    def on_broken_pipe(self) -> None:
        """Say nothing more; what is to be written to files is written."""
        self.quiet = True
        _unread()


def _complain(line: str, code: int) -> int:
    print(f"error: {plain(' '.join(line.split()))}", file=sys.stderr)
    return code


def plain(text: str) -> str:
    """Untrusted text without control and format characters (terminal sequences, reversed writing).

    Line breaks stay.
    """
    return "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")


def spreadsheet_cell(value: Any) -> Any:
    """A value for CSV: text that a spreadsheet would take for a formula is led by an apostrophe,
    numbers with errors stay.
    """
    if not isinstance(value, str):
        return value
    text = plain(value)
    formula = text[:1] in ("=", "+", "-", "@") and not re.fullmatch(
        r"[+-]?[0-9][0-9.,eE+\- ±\[\]%]*", text
    )
    return "'" + text if formula else text


def terminal(width: int) -> Console:
    """Where tables are printed: at least so many columns wide, so that a log file wraps none.

    Names are no markup.
    """
    size = Console().size  # both are given, for a dumb terminal is else taken to be 80 columns wide
    return Terminal(
        width=max(size.width, width), height=size.height, markup=False, emoji=False, highlight=False
    )


def lock(folder: Path) -> None:
    """Keep a folder, created where it lacks, to this process until it ends, however it ends.

    For commands that go on from what an interrupted one left there, which ``command`` says.
    Raises InputError when another has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _written.add(folder.resolve())
    # Windows opens no folders
    handle = (
        os.open(folder, os.O_RDONLY)
        if os.name == "posix"
        else os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    )
    try:
        alone = lock_descriptor(handle, blocking=False)
    except OSError:  # a file system without locks
        os.close(handle)
        return
    if not alone:
        os.close(handle)
        raise InputError(
            f"another command is writing to {folder}; wait for it to end, or give another folder"
        )
    _locks[folder.resolve()] = handle


def unlock(folder: Path) -> None:
    """Give a folder back that ``lock`` kept."""
    handle = _locks.pop(folder.resolve(), None)
    if handle is not None:
        os.close(handle)


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a whole file, given at once or in pieces, atomically, creating its folder.

    What a killed writer left of it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # where there are no locks nothing is removed
            with left.open("r+") as file:
                dead = lock_descriptor(file.fileno(), blocking=False)  # not while its writer lives
                if dead and os.name == "posix":
                    left.unlink()
            if dead and os.name != "posix":  # Windows removes and renames only what is closed
                left.unlink(missing_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            with suppress(OSError):
                lock_descriptor(file.fileno(), blocking=False)
            file.writelines((text,) if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":  # while the lock still says that this writer lives
                os.replace(aside, path)
        if os.name != "posix":
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same value with null for every number that JSON cannot hold (not a number, infinite)."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines, one row in memory at a time."""
    write_text(path, (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add to JSON Lines that grow as work goes on; ``read_whole_lines`` reads them after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    with path.open("ab+") as file:
        end = file.tell()
        file.seek(max(end - 1, 0))
        if file.read(1) not in (b"", b"\n"):  # a line that was cut short would swallow the next one
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of JSON Lines up to the first line that was cut short.

    There are none when the file does not exist.
    """
    rows: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                row = parse_json(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
    return rows


def fill_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end name -->`` in a page.

    Raises InputError when they lack.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not (start and end):
        raise InputError(f"{page} lacks the markers <!-- {name} --> and <!-- end {name} -->")
    write_text(page, f"{before}{start}{text}\n{end}{after}")


def read_json(path: Path) -> Any:
    """Read one JSON value.  Raises InputError when it is missing or malformed."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read one JSON object; empty where there is no file, or another value in it.

    Raises InputError when it is malformed.
    """
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def parse_json(text: bytes) -> Any:
    """One JSON value.

    Raises ValueError or RecursionError for anything else; not-a-number, infinity and an object that
    names a key twice (of which the library would keep the last) are something else.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(
                f"it names {plain(_first_twice([key for key, _ in pairs]))[:40]!r} twice"
            )
        return found

    content = text.decode("utf-8-sig")  # a byte-order mark is no content
    return json.loads(content, parse_constant=refuse, object_pairs_hook=once)


def _first_twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


class _Once(yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the library does.  Raises ValueError for a key that stands twice."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise ValueError(f"it names {plain(_first_twice(names))[:40]!r} twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """One YAML value of plain types.

    Raises InputError naming ``where`` when it is malformed or names a key twice.
    """
    try:
        return yaml.load(text, _Once)
    # an odd date or key raises any of these
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())[:200]}") from None


def read_yaml(path: Path) -> Any:
    """Read one YAML value.  Raises InputError when it is missing or malformed."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: {error}") from None


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file, one line in memory at a time.

    Blank lines are skipped.

    Raises InputError naming file and line when a line is not a JSON object, and when the file is
    missing or empty.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    number, found = 0, False
    with file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # a byte-order mark
            if not line.strip():
                continue
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{path}, line {number}: longer than {LONGEST_LINE >> 20} MB; mend or remove "
                    "the line"
                )
            try:
                row = parse_json(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}, line {number}: not valid JSON ({error}); mend or remove the line"
                ) from None
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, line {number}: expected a JSON object, found {type(row).__name__}"
                )
            found = True
            yield number, row
    if not found:
        raise InputError(f"{path} holds no lines")


def sha256(path: Path) -> str:
    """Hash of a file; of a folder, of its files' names and hashes in order."""
    if path.is_dir():
        listing = "".join(
            f"{sha256(p)} {p.relative_to(path)}\n" for p in sorted(path.rglob("*")) if p.is_file()
        )
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def origin(**inputs: Path) -> dict[str, Any]:
    """Where an artefact comes from: program and command, versions, git revision,
    hashes of the named input files or folders.

    cost : seconds since the program began, and the most memory that it has held, in MB; of an
    interrupted run the last attempt's.
    """
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    called = Path(sys.argv[0])
    return {
        "program": _program(),
        "command": [
            called.parent.name if called.name == "__main__.py" else called.name,
            *sys.argv[1:],
        ],
        "cost": {
            "seconds": round(time.monotonic() - _began, 1),
            "peak_memory_mb": round(peak_memory() / (1 << 20)),
        },
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
        "git": _git_revision(),
        "inputs": {
            name: {"path": str(path), "sha256": sha256(path)} for name, path in inputs.items()
        },
    }


def _program() -> str:
    """What Python was asked to run: ``-m econmoral games``, ``-m eval.games``,
    or a script's path from the project's root.
    """
    if sys.argv[0].startswith("econmoral "):  # as the console command calls a room
        return f"-m {sys.argv[0]}"
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return f"-m {spec.name.removesuffix('.__main__')}"
    script, root = Path(sys.argv[0]).resolve(), Path(__file__).parents[2].resolve()
    return str(script.relative_to(root)) if script.is_relative_to(root) else script.name


def peak_memory() -> int:
    """Most memory that this process has held at a time, in bytes (its peak resident set)."""
    if sys.platform == "linux":
        # getrusage also counts what a process held before it became this program: a small one that
        # a large one starts would have the large one's peak
        with suppress(OSError, StopIteration):  # some containers do not say it
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes, on a Mac in bytes
    return most * (1 if sys.platform == "darwin" else 1 << 10)


def code_revision() -> str:
    """What tells one state of this code from another: the git revision, ``+changes`` where files
    differ from it, or the version of an installed package.
    """
    return _git_revision() or metadata.version("econmoral")


def _git_revision() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed: a repository around it would be somebody else's
        return None
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty.strip() else "")
