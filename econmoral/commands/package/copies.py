"""What a package holds besides: results, code, requirements, licence."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

from econmoral.commands.package.steps import DICTIONARY, LEFT_OUT, WEIGHTS, Package
from econmoral.rooms import REPOSITORY
from econmoral.rooms import folder as folder_of

ROOMS = ("data_synth", "eval", "recipes")  # beside the core


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


# what ``econmoral fit`` imports
CALCULATOR = {"filelock", "numpy", "pandas", "psutil", "pyyaml", "rich", "scipy"}


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
    """Packages with versions: those that the run recorded, for the rest what is installed here.

    Where every step is a fit, only what ``fit`` imports: no gigabytes of torch.
    """
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
    if all(s.words[:3] == ["-m", "econmoral", "fit"] for s in package.steps):
        names = [n for n in names if n.lower() in CALCULATOR] if declared else sorted(CALCULATOR)
        if any(path.lower().endswith(".parquet") for path in package.data):
            names.append("pyarrow")
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
