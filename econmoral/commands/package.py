"""``econmoral package RUN``: a folder that a journal's data editor accepts,
from a folder that one of our commands wrote.

    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --out runs/humans
    econmoral package runs/humans --out replication --title "..." --authors "..." \\
        --citation "..." --licence "MIT"

RUN: a folder of ``fit --out``, ``clone``, ``eval.games``, ``eval.menus``, ``eval.dilemmas``,
``eval.pricing`` or of a study, with what lies in it (a report too).  The package holds

    README.md        in the shape of the social science data editors' template: data availability
                     and provenance, computational requirements with the run's own times and
                     versions, programs, instructions, tables and figures with the line of the
                     program that writes each, references
    master.py        the one script: checks every file's hash, repeats every step into output/,
                     compares all numbers with results/
    data/ inputs/    the data and adapters that the run read, checked against the hashes that it
                     recorded
    code/            the programs, as they are installed here (of a wheel too: eval, data_synth and
                     recipes then stand beside the core as in the repository)
    results/         what the run wrote
    requirements.txt LICENSE SHA256SUMS package.json

Data that may not be passed on: --access says in words how a replicator gets them; they are left
out, their hash is kept, and master.py asks for them.  What nobody has said (a citation, a licence,
where each table stands in the paper) is marked TO BE FILLED IN and listed.  How adapters were
trained stands in the README; master.py does not train them again, for training is not the same to
the last digit on another machine.  (A study trains everything again.)
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from econmoral.checkpoints.models import MODELS
from econmoral.economics.human import reference
from econmoral.files.options import Config, option
from econmoral.files.records import (
    InputError,
    origin,
    plain,
    read_json,
    sha256,
    write_json,
    write_text,
)
from econmoral.files.sheet import read_sheet
from econmoral.rooms import REPOSITORY
from econmoral.rooms import folder as folder_of

ROOMS = ("data_synth", "eval", "recipes")  # beside the core
DICTIONARY = "docs/data.md"  # a wheel has none
PROGRAMS = {  # name of the file or the command that ran -> how it is run
    "games.py": "-m eval.games", "menus.py": "-m eval.menus", "dilemmas.py": "-m eval.dilemmas",
    "pricing.py": "-m eval.pricing", **{f"-m econmoral {name}": f"-m eval.{name}"
        for name in ("games", "menus", "dilemmas", "pricing")},
    "study.py": "recipes/study.py", "-m econmoral study": "recipes/study.py",
    "__main__.py": "-m econmoral", "econmoral": "-m econmoral",
}  # fmt: skip
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
COMPARED = ("fit.json", "summary.json", "clone.json", "comparison.json")
LEFT_OUT = ("parts", "checkpoints", "__pycache__")
WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
FILL = "TO BE FILLED IN"


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


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    run: Path = option(
        None, "folder that one of our commands wrote", metavar="RUN", positional=True
    )
    out: Path | None = option(None, "folder to write; it must not exist (default RUN-package)")
    title: str | None = option(None, "of the paper")
    authors: str | None = option(None, "of the paper")
    citation: str | None = option(
        None, "how the data are cited: authors, year, title, repository, DOI"
    )
    licence: str | None = option(None, "licence of the data, e.g. MIT or CC-BY 4.0")
    access: str | None = option(
        None, "leave the data out; says how a replicator gets them, at what cost and how fast"
    )
    json: bool = option(False, "print JSON")


def run(options: Options) -> dict[str, Any]:
    """Write the package."""
    source: Path = options.run
    if not source.is_dir():
        raise InputError(f"folder {source} does not exist")
    out: Path = options.out or source.with_name(source.resolve().name + "-package")
    if out.exists():
        raise InputError(f"{out} exists; remove it, or name another folder with --out")
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} lies in {source}; name a folder outside it")
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        package = fill(source, aside, options)
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    return {
        "out": str(out),
        "steps": [s.name for s in package.steps],
        "megabytes": round(size / 1e6, 1),
        "open": package.open,
    }


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    print(
        f"{result['out']}/: README.md master.py and all they need, {result['megabytes']} MB; "
        f"steps: {', '.join(result['steps'])}"
    )
    print(f"try it: python {result['out']}/master.py")
    for line in result["open"]:
        print(plain(f"{FILL.lower()}: {line}"))


def fill(source: Path, folder: Path, options: Options) -> Package:
    """Write everything of a package into ``folder``."""
    package = Package()
    for where, record in records(source):
        package.steps.append(step(source, where, record, folder, package, options))
        report = where / "report"
        if (report / "report.md").is_file():
            name = package.steps[-1].name
            words = ["-m", "eval.report", f"output/{name}", "--out", f"output/{name}/report"]
            package.steps.append(Step(f"{name}/report", words, [], 0.0, {}))
    copy_results(source, folder / "results")
    copy_code(folder / "code")
    for what, given in (
        ("the paper's title", options.title),
        ("the paper's authors", options.authors),
    ):
        if not given:
            package.open.append(what)
    if package.data:
        package.open += [
            f"citation of the data ({name})" for name in package.data if not options.citation
        ]
        package.open += [
            f"licence of the data ({name})" for name in package.data if not options.licence
        ]
    package.open.append(
        "number in the paper of each table and figure (last section but two of README.md)"
    )
    write_text(folder / "requirements.txt", "".join(f"{line}\n" for line in requirements(package)))
    write_text(folder / "LICENSE", licence_text())
    write_text(folder / "master.py", master(package))
    write_text(folder / "README.md", readme(package, folder, options))
    about = {
        "run": source.name,
        "steps": [{"name": s.name, "words": s.words} for s in package.steps],
        "open": package.open,
    }
    write_json(folder / "package.json", origin() | about)
    listed = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    write_text(
        folder / "SHA256SUMS", "".join(f"{sha256(p)}  {p.relative_to(folder)}\n" for p in listed)
    )
    return package


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
            path.name in ("adapter_model.safetensors", "choices.jsonl")
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
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    record = record if isinstance(record, dict) else {}
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


def copy_results(source: Path, target: Path) -> None:
    """What a run wrote, without weights and unfinished parts."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        inside = path.relative_to(source)
        if (
            not any(part in LEFT_OUT or part.startswith(".") for part in inside.parts)
            and path.suffix not in WEIGHTS
        ):
            place = target / source.resolve().name / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def copy_code(target: Path) -> None:
    """The programs as they are installed here, every room beside the core."""
    waste = ("__pycache__", ".*")
    for name in ("econmoral", *ROOMS):
        inner = ROOMS if name == "econmoral" and REPOSITORY is None else ()
        left_out = shutil.ignore_patterns(*waste, *inner)
        shutil.copytree(folder_of(name), target / name, ignore=left_out)
    if REPOSITORY is not None and (REPOSITORY / DICTIONARY).is_file():
        (target / DICTIONARY).parent.mkdir()
        shutil.copyfile(REPOSITORY / DICTIONARY, target / DICTIONARY)


def requirements(package: Package) -> list[str]:
    """Packages with versions: those that the run recorded, for the rest what is installed here."""
    recorded: dict[str, str] = {}
    for s in package.steps:
        recorded |= {k: v for k, v in s.record.get("versions", {}).items() if v}
    try:
        declared = metadata.requires("econmoral") or []
    except metadata.PackageNotFoundError:
        declared = []
    names = [
        re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in declared if "extra ==" not in line
    ] or list(recorded)
    lines = []
    for name in names:
        version = recorded.get(name)
        if version is None:
            try:
                version = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        lines.append(f"{name}=={version.partition('+')[0]}")  # +cpu is a build, not a release
    return lines


def licence_text() -> str:
    """The licence of the programs."""
    if REPOSITORY is not None and (REPOSITORY / "LICENSE").is_file():
        return (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    try:
        files = metadata.files("econmoral") or []
    except metadata.PackageNotFoundError:
        files = []
    found = next((f for f in files if f.name == "LICENSE"), None)
    return (
        found.read_text()
        if found
        else "Apache License, Version 2.0, https://www.apache.org/licenses/LICENSE-2.0\n"
    )


MASTER = '''"""Repeats every number of this package: python master.py

Checks the SHA-256 of every file, runs every step into output/, and compares all numbers with
results/. Needs Python {python} or newer and the packages of requirements.txt; the programs are in
code/, nothing else is installed.
Exit code 0: all numbers are the same within the tolerance of their step.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEFT_OUT = {left_out}  # data that are not in the package -> SHA-256
STEPS = {steps}
SILENT = {{
    "cost", "seconds", "tokens", "versions", "inputs", "weights", "git", "machine", "python",
    "command", "program", "settings",
}}


def digest(path):
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def check_files():
    for line in (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        if not (HERE / name).is_file() or digest(HERE / name) != expected:
            sys.exit(f"error: {{name}} is missing or not the file that was packaged")
    for name, expected in LEFT_OUT.items():
        if not (HERE / name).is_file():
            sys.exit(f"error: {{name}} is not part of this package; README.md says how to get it")
        if digest(HERE / name) != expected:
            sys.exit(f"error: {{name}} is not the file that was used (SHA-256 {{expected}})")


def numbers(value, where=""):
    """Every number of a JSON value with its place; what names machines and times is passed over."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in SILENT:
                yield from numbers(inner, f"{{where}}/{{key}}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, f"{{where}}/{{place}}")
    elif isinstance(value, (int, float)) or value is None:
        yield where, value


def compare(name, tolerance):
    old = dict(numbers(json.loads((HERE / "results" / name).read_text(encoding="utf-8"))))
    new = dict(numbers(json.loads((HERE / "output" / name).read_text(encoding="utf-8"))))
    if set(old) != set(new):
        only = len(set(old) ^ set(new))
        print(f"  {{name}}: DIFFERENT: {{only}} numbers are in one of the two only")
        return False
    worst, place = 0.0, ""
    for key, a in old.items():
        b = new[key]
        if a == b:
            gap = 0.0
        elif a is None or b is None:
            gap = float("inf")
        else:
            gap = abs(a - b) / max(1.0, abs(a))
        if gap > worst:
            worst, place = gap, key
    same = worst <= tolerance
    word = "the same" if same else "DIFFERENT"
    at = f" at {{place}}" if place else ""
    print(
        f"  {{name}}: {{len(old)}} numbers, {{word}} "
        f"(largest difference {{worst:.2g}}{{at}}; tolerance {{tolerance:g}})"
    )
    return same


def main():
    check_files()
    shutil.rmtree(HERE / "output", ignore_errors=True)
    environment = dict(os.environ, PYTHONPATH=str(HERE / "code"), PYTHONDONTWRITEBYTECODE="1")
    good = True
    for step in STEPS:
        print(f"{{step['name']}}: python {{' '.join(step['words'])}}", flush=True)
        words = [
            str(HERE / "code" / w) if w.startswith("recipes/") and w.endswith(".py") else w
            for w in step["words"]
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, *words], cwd=HERE, env=environment, stdout=subprocess.DEVNULL
        )
        if done.returncode not in step["exit_codes"]:
            sys.exit(f"error: step {{step['name']}} ended with exit code {{done.returncode}}")
        print(f"  done in {{time.monotonic() - began:.0f}} s", flush=True)
        good = all([compare(name, step["tolerance"]) for name in step["compared"]]) and good
    print("all numbers are the same" if good else "some numbers are DIFFERENT")
    sys.exit(0 if good else 1)


main()
'''


def master(package: Package) -> str:
    """The one script."""
    steps = [
        {
            "name": s.name,
            "words": s.words,
            "compared": s.compared,
            "tolerance": s.tolerance,
            "exit_codes": _exit_codes(s),
        }
        for s in package.steps
    ]
    # texts, numbers and lists only: JSON is Python here
    shown = json.dumps(steps, indent=4, ensure_ascii=False)
    left_out = {name: found for name, (found, out) in package.data.items() if out}
    return MASTER.format(
        steps=shown, left_out=json.dumps(left_out, indent=4, ensure_ascii=False), python="3.11"
    )


def _exit_codes(s: Step) -> list[int]:
    # 3: not identified, which is a result too
    return [0, 3] if s.words[:3] == ["-m", "econmoral", "fit"] else [0]


# ------------------------------------------------------------------------------------------- README


def readme(package: Package, folder: Path, options: Options) -> str:
    """README in the shape of the social science data editors' template."""
    title, authors = (
        (options.title or f"[{FILL}: title]"),
        (options.authors or f"[{FILL}: authors]"),
    )
    used = sorted({s.words[1] if s.words[0] == "-m" else s.words[0] for s in package.steps})
    blocks = [
        f"# Replication package for: {_line(title)}",
        f"Authors: {_line(authors)}",
        "## Overview",
        "`python master.py` checks all files and repeats every number of `results/` "
        f"({len(package.steps)} step(s): {', '.join(s.name for s in package.steps)}) with the "
        f"programs in `code/` ({', '.join(used)}). {_expected(package)}",
        *_data(package, folder, options),
        *_requirements_section(package),
        *_programs(package),
        "## Instructions to Replicators",
        (
            "1. Install Python 3.11 or newer, in an environment of its own: `python -m venv env; "
            "env/bin/pip install -r requirements.txt`."
        )
        + "".join(
            f"\n1. Put `{name}` in place (see *Data Availability*)."
            for name, (_, out) in package.data.items()
            if out
        )
        + (
            "\n"
            "1. Run `env/bin/python master.py`. It checks `SHA256SUMS`, writes to `output/`, "
            "prints for every file how many numbers are the same, and ends with exit code 0 when "
            "all are, within the tolerance that it prints (1e-6 for estimates; 1e-3 for a model's "
            "probabilities, which depend on the processor in the last digits; sampled derivations "
            "can differ more on other hardware)."
        ),
        "## List of Tables, Figures and Programs",
        _outputs(package, folder),
        "## References",
        *_references(package, options),
        "## Acknowledgements",
        "This README follows the [template README for social science replication "
        "packages](https://social-science-data-editors.github.io/template_README/) of Vilhuber, "
        "Connolly, Koren, Llull and Morrow (CC-BY 4.0), and was written by `econmoral package`.",
    ]
    return "\n\n".join(blocks) + "\n"


def _line(text: str) -> str:
    return " ".join(plain(text).split())


def _expected(package: Package) -> str:
    seconds = [s.record.get("cost", {}).get("seconds") for s in package.steps]
    known = [float(s) for s in seconds if isinstance(s, int | float)]
    return (
        f"Expected time: {_time(sum(known))} on the machine of the run."
        if known
        else "The run recorded no time."
    )


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} seconds"
        if seconds < 120
        else f"{seconds / 60:.0f} minutes"
        if seconds < 7200
        else f"{seconds / 3600:.1f} hours"
    )


def _data(package: Package, folder: Path, options: Options) -> list[str]:
    licence = _line(options.licence) if options.licence else f"[{FILL}: licence of the data]"
    citation = _line(options.citation) if options.citation else f"[{FILL}: citation of the data]"
    blocks = ["## Data Availability and Provenance Statements"]
    if package.data:
        rights = (
            "- [ ] I certify that the authors have legitimate access to and permission to use the "
            "data in this package."
        )
        if not options.access:
            rights += (
                "\n"
                "- [ ] I certify that the authors have documented permission to redistribute the "
                "data in this package."
            )
        blocks += [
            "### Statement about Rights",
            f"{rights}\n\n({FILL}: tick what holds.)",
            f"### License for Data\n\n{licence}",
        ]
        package_open = "rights statements of README.md: tick what holds"
        if package_open not in package.open:
            package.open.append(package_open)
    where = (
        "All data **are** in this package."
        if not options.access or not package.data
        else "Some data **cannot be made** publicly available in this package."
    )
    blocks.append(f"### Summary of Availability\n\n{where}")
    rows = []
    for name, (found, out) in package.data.items():
        rows.append(f"| `{name}` | {'no' if out else 'yes'} | {citation} | {licence} | `{found}` |")
    rows += [
        f"| `{name}` | yes | settings of the run, made for this paper | as the paper | `{found}` |"
        for name, found in package.settings.items()
    ]
    for name, about in package.adapters.items():
        rows.append(
            f"| `{name}/` | yes | adapter{_trained_as(about)}; made for this paper | Apache-2.0 | "
            f"`{about['sha256']}` |"
        )
    rows.append(
        "| `results/` | yes | written by the programs; choices of language models are computed, "
        "no person took part | as the paper | see `SHA256SUMS` |"
    )
    if any("eval" in " ".join(s.words) or "study" in s.words[0] for s in package.steps):
        rows.append(
            "| `code/econmoral/economics/human.csv` | yes | human reference numbers, each row with "
            "its source and DOI | facts | see `SHA256SUMS` |"
        )
    blocks.append(
        (
            "### Details on each Data Source\n"
            "\n"
            "| file | provided | source | licence | SHA-256 |\n"
            "|---|---|---|---|---|\n"
        )
        + "\n".join(rows)
    )
    if options.access and package.data:
        blocks.append(f"Data that are not provided: {_line(options.access)}")
    if package.data:
        blocks.append(
            (
                "One row of a data file is one decision of one person; "
                f"{_dictionary(folder)} is the data dictionary.\n"
                "\n"
            )
            + "\n".join(_columns(package, folder))
        )
    return blocks


def _dictionary(folder: Path) -> str:
    """Where the package says what the columns mean."""
    if (folder / "code" / DICTIONARY).is_file():
        return f"`code/{DICTIONARY}` (of econmoral)"
    return "the head of `code/econmoral/people/choices.py`"


def _columns(package: Package, folder: Path) -> list[str]:
    """What columns each data file has."""
    lines = []
    for name, (_, out) in package.data.items():
        if not out:
            sheet = read_sheet(folder / name)
            lines.append(
                f"- `{name}`: {len(sheet)} rows; columns "
                + ", ".join(f"`{_line(c)}`" for c in sheet.columns)
            )
    return lines


def _trained_as(about: dict[str, Any]) -> str:
    return f" trained as {_line(str(about['target']))}" if about.get("target") else ""


def _requirements_section(package: Package) -> list[str]:
    lines = ["## Computational requirements", "### Software Requirements"]
    record: dict[str, Any] = next((s.record for s in package.steps if s.record), {})
    versions = ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items() if v)
    lines.append(
        f"Python {record.get('python', '?')} on {record.get('machine', '?')}; {versions}. "
        "`requirements.txt` pins these and the rest. Programs: econmoral, revision "
        f"{record.get('git') or 'not recorded'}."
    )
    here = origin()["git"]
    if record.get("git") and here and here != record["git"]:
        lines.append(
            f"`code/` is revision {here}, newer than the run's; the master script shows that the "
            "numbers are the same."
        )
    models = sorted(
        {
            str(s.record.get("settings", {}).get("model"))
            for s in package.steps
            if isinstance(s.record.get("settings"), dict)
        }
        - {"None"}
    )
    for name in models:
        model = MODELS.get(name)
        where = (
            "in `code/econmoral/nano`"
            if name == "nano"
            else f"`{model.source}` of the model hub, licence {model.licence}"
            if model
            else f"`{name}`"
        )
        lines.append(f"Base model {name}: {where}.")
    seeds = sorted(
        {f"{s.words[s.words.index('--seed') + 1]}" for s in package.steps if "--seed" in s.words}
    )
    lines += [
        "### Controlled Randomness",
        (
            f"Everything random has a seed: {', '.join(seeds) if seeds else '0, the default'} "
            "(option `--seed` in `master.py`)."
        ),
        "### Memory, Runtime, Storage Requirements",
        "| step | time | peak memory |\n|---|---|---|\n"
        + "\n".join(
            f"| {step.name} | {_time(cost['seconds']) if 'seconds' in cost else 'not recorded'} "
            f"| {cost.get('peak_memory_mb', 'not recorded')}{' MB' * ('peak_memory_mb' in cost)} |"
            for step in package.steps
            for cost in [step.record.get("cost", {})]
        ),
        (
            "Measured on the machine of the run. No GPU is needed unless a step names a model "
            "that does not fit into memory."
        ),
    ]
    return lines


def _programs(package: Package) -> list[str]:
    rows = [
        (
            f"| `{' '.join(s.words[:2]) if s.words[0] == '-m' else s.words[0]}` | "
            f"{WHAT.get(_program(s), '')} | `{s.name}` |"
        )
        for s in package.steps
    ]
    lines = [
        "## Description of programs/code",
        "| program (in `code/`) | what it does | step |\n|---|---|---|\n" + "\n".join(rows),
    ]
    for name, about in package.adapters.items():
        if about.get("command"):
            took = (
                f", {_time(float(about['seconds']))} on {about['machine']}"
                if about.get("seconds")
                else ""
            )
            lines.append(
                f"`{name}` was trained by "
                f"`{shlex.join(['accelerate', 'launch', *map(str, about['command'])])}`{took}. The "
                "master script uses it as it is."
            )
    lines.append("### License for Code\n\nApache-2.0; see `LICENSE`.")
    return lines


def _program(s: Step) -> str:
    return " ".join(s.words[:2]) if s.words[0] == "-m" else s.words[0]


def _outputs(package: Package, folder: Path) -> str:
    """Every table and figure with the program and the line that writes it."""
    rows = []
    for s in package.steps:
        place = folder / "results" / s.name
        nested = [
            t.name for t in package.steps if t.name != s.name and t.name.startswith(s.name + "/")
        ]
        for path in sorted(p for p in place.rglob("*") if p.is_file()):
            name = str(path.relative_to(folder / "results"))
            if (
                path.name == "run.json"
                or path.suffix not in (".csv", ".tex", ".png", ".md", ".html", ".json", ".jsonl")
                or any(name.startswith(n + "/") for n in nested)
            ):
                continue
            file, line = line_of(s, path.name, path.parent.name)
            kind = (
                "figure"
                if path.suffix == ".png"
                else "table"
                if path.suffix in (".csv", ".tex", ".md", ".html")
                else "numbers"
            )
            rows.append(
                f"| [{FILL.lower()}] | {kind} | `output/{name}` | `{file}` | "
                f"{line or 'the program as a whole'} |"
            )
    return "| in the paper | what | file | program | line |\n|---|---|---|---|---|\n" + "\n".join(
        rows
    )


def line_of(s: Step, name: str, parent: str) -> tuple[str, int | None]:
    """(program, number of the line that writes a file of this name;
    None when no single line names it).
    """
    program = _program(s)
    module = program.removeprefix("-m ").replace(".", "/")
    files = [program] if program.startswith("recipes/") else [f"{module}.py"]
    files = (
        [f"econmoral/{'fitting.py' if s.words[2] == 'fit' else 'commands/clone.py'}"]
        if program == "-m econmoral"
        else files
    )
    room, _, inside = files[0].partition("/")
    whole = (folder_of(room) / inside).with_suffix("")
    if whole.is_dir():  # a package of several files, the first of which begins it
        files = [f"{room}/{whole.name}/{p.name}" for p in sorted(whole.glob("*.py"))]
    elif room == "eval":  # what every measurement writes
        files.append("eval/runner.py")
    for file in files:
        room, _, inside = file.partition("/")
        lines = (folder_of(room) / inside).read_text(encoding="utf-8").splitlines()
        for wanted in (
            f'"{name}"',
            f'"{parent}" / f"',
            "type{k + 1}.jsonl" if re.fullmatch(r"type\d+\.\w+", name) else "\0",
        ):
            hits = [i for i, text in enumerate(lines, start=1) if wanted in text]
            hits = [
                i for i in hits if re.search(r"write_|savefig|try_to_draw", lines[i - 1])
            ] or hits
            if hits:
                return f"code/{file}", hits[0]
    return f"code/{files[0]}", None


def _references(package: Package, options: Options) -> list[str]:
    found = [f"- {_line(options.citation)}"] if options.citation and package.data else []
    found += [
        (
            "- The econmoral authors. econmoral: fine-tune a language model on an explicit "
            "economic preference, and measure that it does. Apache-2.0."
        )
    ]
    words = " ".join(" ".join(s.words) for s in package.steps)
    if "eval" in words or "study" in words:
        table = reference()[["source", "doi"]].drop_duplicates()
        found += [
            f"- {r.source}" + (f", doi {r.doi}" if isinstance(r.doi, str) and r.doi else "")
            for r in table.itertuples()
        ]
    if "bruhin_fehr_schunk" in words:
        found.append(
            "- Bruhin, A., Fehr, E., Schunk, D. (2019). The Many Faces of Human Sociality. "
            "Journal of the European Economic Association 17(4), 1025-1069. doi 10.1093/jeea/jvy018"
        )
    if any(
        name in words
        for name in ("homo_moralis", "alpha_beta_kappa", "eval.games", "econmoral fit")
    ):
        found.append(
            "- Alger, I., Weibull, J. W. (2013). Homo Moralis. Econometrica 81(6), 2269-2302. doi "
            "10.3982/ECTA10637"
        )
    return ["\n".join(dict.fromkeys(found))]
