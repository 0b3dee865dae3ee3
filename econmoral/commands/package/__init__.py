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

import os
import shutil
from pathlib import Path
from typing import Any

from econmoral.commands.package.copies import copy_code, copy_results, licence_text, requirements
from econmoral.commands.package.options import FILL, Options
from econmoral.commands.package.readme import readme
from econmoral.commands.package.script import master
from econmoral.commands.package.steps import Package, Step, records, step
from econmoral.files.records import InputError, origin, plain, sha256, write_json, write_text


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
