"""What a run consists of: the commands that made it, and the files that they read."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import WEIGHTS as ADAPTER
from econmoral.commands.package.options import Options
from econmoral.files.records import InputError, plain, read_json, read_object, sha256
from econmoral.rooms import folder as folder_of

DICTIONARY = "docs/data.md"  # a wheel has none
WHAT = {
    "-m econmoral": (
        "the calculator: estimates preference parameters by maximum likelihood (`fit`), human "
        "types (`clone`)"
    ),
    "-m eval.games": (
        "measures a model on sequential games: exact probabilities of whole strategies, "
        "structural estimates"
    ),
    "-m eval.menus": "measures a model on one-page decisions beside human averages",
    "-m eval.dilemmas": "measures a model on moral dilemmas of autonomous vehicles",
    "-m eval.pricing": "repeated price competition between agents",
    "-m eval.report": "tables and figures of a run",
    "recipes/study.py": "the whole study: training data, fine-tuning, measurement, cell by cell",
}
PROGRAMS = {  # name of the file or the command that ran -> how it is run
    "games.py": "-m eval.games",
    "menus.py": "-m eval.menus",
    "dilemmas.py": "-m eval.dilemmas",
    "pricing.py": "-m eval.pricing",
    **{
        f"-m econmoral {name}": f"-m eval.{name}"
        for name in ("games", "menus", "dilemmas", "pricing")
    },
    "study.py": "recipes/study.py",
    "-m econmoral study": "recipes/study.py",
    "__main__.py": "-m econmoral",
    "econmoral": "-m econmoral",
}
COMPARED = (
    "fit.json",
    "subjects.csv",
    "predictions.csv",
    "summary.json",
    "clone.json",
    "comparison.json",
)
LEFT_OUT = ("parts", "checkpoints", "__pycache__")
WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")


@dataclass
class Step:
    """One command of the master script: words after ``python``, what it writes,
    which files are compared, the run's record.
    """

    name: str
    words: list[str]
    compared: list[str]
    tolerance: float
    record: dict[str, Any]


@dataclass
class Package:
    """What goes into the folder.

    data: path in the package -> (recorded hash, whether it is left out).  settings : the same for
    plans and lists of decisions, which nobody else owns.  open : what the author still has to say.
    """

    steps: list[Step] = field(default_factory=list)
    data: dict[str, tuple[str, bool]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)


def records(source: Path) -> list[tuple[Path, dict[str, Any]]]:
    """(folder, record) of every command that wrote a part of the run, outermost first.

    Raises InputError when there is none.
    """
    found: list[tuple[Path, dict[str, Any]]] = []
    for where in [source, *sorted(p for p in source.rglob("*") if p.is_dir())]:
        if any(part in (*LEFT_OUT, "report") for part in where.relative_to(source).parts):
            continue
        if any(
            where.is_relative_to(above) and name in ("study", "clone")
            for above, name in ((w, _kind(w)) for w, _ in found)
        ):
            continue  # what a study or a clone wrote is repeated by it
        names = {
            "study": ("study.json",),
            "clone": ("comparison.json", "clone.json"),
            "run": ("run.json",),
        }[_kind(where)]
        path = next((where / n for n in names if (where / n).is_file()), None)
        if path is None:
            continue
        record = read_json(path)
        # gates: an adapter, an input
        if (
            isinstance(record, dict)
            and isinstance(record.get("command"), list)
            and "gates" not in record
        ):
            found.append((where, record))
    if not found:
        raise InputError(
            f"{source} holds no record of a command (run.json, clone.json or study.json); was it "
            "written by fit --out, clone, eval or a study?"
        )
    return found


def _kind(folder: Path) -> str:
    return (
        "study"
        if (folder / "study.json").is_file()
        else "clone"
        if (folder / "clone.json").is_file()
        else "run"
    )


def step(
    source: Path,
    where: Path,
    record: dict[str, Any],
    folder: Path,
    package: Package,
    options: Options,
) -> Step:
    """The command of a record with its inputs in the package.

    Raises InputError when an input lacks or has changed.
    """
    program = str(record.get("program", ""))
    if program not in WHAT:
        program = PROGRAMS.get(program) or PROGRAMS.get(str(record["command"][0]), "")
    if not program:
        raise InputError(
            f"{where} was written by {plain(str(record['command'][0]))}, which cannot be packaged"
        )
    name = "/".join([source.resolve().name, *where.relative_to(source).parts])
    moved: dict[str, str] = {}
    for key, given in record.get("inputs", {}).items():
        path, recorded = Path(given["path"]), given["sha256"]
        # the built-in model is part of the code
        if path.resolve().is_relative_to(folder_of("econmoral").resolve()):
            continue
        if key == "base":
            package.open.append(
                f"where a replicator gets the base model {path.name} (SHA-256 of the folder "
                f"{recorded[:12]}...)"
            )
            continue
        agent = (
            path.name in (ADAPTER, "choices.jsonl")
            and key != "own"
            and not key.startswith("choices")
        )
        human = key.startswith("choices")
        left_out = bool(options.access) and human
        if not path.is_file():
            raise InputError(
                f"{path}, which {where} was made from, is not there; run this from the folder "
                "where the run was made"
            )
        if sha256(path) != recorded:
            raise InputError(
                f"{path} has changed since {where} was written (its SHA-256 is another one); run "
                "the command again first"
            )
        if agent:
            target = f"inputs/{path.parent.resolve().name}"
            if target in moved.values() or target in package.adapters:
                target += f"-{recorded[:8]}"
            copy_flat(path.parent, folder / target)
            package.adapters[target] = adapter_about(path.parent) | {"sha256": recorded}
            moved[str(path.parent)] = target
            continue
        room = "data" if human else "inputs"
        target = f"{room}/{path.name}"
        if (
            package.data.get(target, (recorded,))[0] != recorded
            or package.settings.get(target, recorded) != recorded
        ):
            target = f"{room}/{recorded[:8]}-{path.name}"
        if human:
            package.data[target] = (recorded, left_out)
        else:
            package.settings[target] = recorded
        if not left_out:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / target)
        moved[str(path)] = target
    words = [
        *shlex.split(program),
        *rewritten([str(w) for w in record["command"][1:]], moved, f"output/{name}"),
    ]
    top = (
        [where / n for n in COMPARED]
        if _kind(where) != "study"
        else sorted(where.rglob("summary.json"))
    )
    compared = [
        "/".join([source.resolve().name, *p.relative_to(source).parts]) for p in top if p.is_file()
    ]
    return Step(name, words, compared, 1e-6 if program == "-m econmoral" else 1e-3, record)


def rewritten(words: list[str], moved: dict[str, str], out: str) -> list[str]:
    """Words of a command with inputs where the package has them,
    and ``out`` as the folder that is written.
    """
    by_path = {os.path.normpath(k): v for k, v in moved.items()}

    def place(word: str) -> str:
        if os.path.normpath(word) in by_path:
            return by_path[os.path.normpath(word)]
        head, equals, tail = word.partition("=")  # --own=FILE, 1=FOLDER
        return (
            f"{head}={by_path[os.path.normpath(tail)]}"
            if equals and os.path.normpath(tail) in by_path
            else word
        )

    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--out":
            skip = True
        elif not word.startswith("--out="):
            found.append(place(word))
    return [*found, "--out", out]


def adapter_about(folder: Path) -> dict[str, Any]:
    """What an adapter's own record says: command, target, seconds;
    nothing of one from elsewhere.
    """
    record = read_object(folder / "run.json")
    return {
        k: record.get(k)
        for k in ("command", "target", "seconds", "model", "source", "machine", "git")
    }


def copy_flat(source: Path, target: Path) -> None:
    """The files of a folder, without what lies in folders below."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)
