"""README.md of a package, in the shape of the social science data editors' template."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from econmoral.checkpoints.models import MODELS
from econmoral.commands.package.options import FILL, Options
from econmoral.commands.package.steps import DICTIONARY, WHAT, Package, Step
from econmoral.economics.human import reference
from econmoral.files.records import origin, plain
from econmoral.files.sheet import read_sheet
from econmoral.rooms import folder as folder_of


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
        f"| `{_program(s)}` | {WHAT.get(_program(s), '')} | `{s.name}` |" for s in package.steps
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
        [f"econmoral/{'people/fitting.py' if s.words[2] == 'fit' else 'commands/clone.py'}"]
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
