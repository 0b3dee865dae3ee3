"""Replication packages: what a data editor gets repeats the same numbers
where only the package and its requirements are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from conftest import LIMIT, ROOT, run
from console import here
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shell import allocation_choices, complains, json_of

from econmoral.commands.package import master_script
from econmoral.commands.package.steps import rewritten
from econmoral.files.records import read_json, sha256, write_json

SECTIONS = (
    "Overview",
    "Data Availability and Provenance Statements",
    "Computational requirements",
    "Description of programs/code",
    "Instructions to Replicators",
    "List of Tables, Figures and Programs",
    "References",
)


def elsewhere(package: Path, tmp: Path) -> Path:
    """The package alone, in a folder of its own."""
    return Path(shutil.copytree(package, tmp / "elsewhere" / "package"))


def master(package: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """``python master.py`` with nothing of this project in the environment."""
    home = package.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [python, "master.py"],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def seal(package: Path, name: str) -> None:
    """Write the hash of a changed file into SHA256SUMS."""
    sums = package / "SHA256SUMS"
    lines = [
        f"{sha256(package / name)}  {name}" if line.endswith(f"  {name}") else line
        for line in sums.read_text().splitlines()
    ]
    sums.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ``fit --out``."""
    folder = tmp_path_factory.mktemp("fit")
    allocation_choices(subjects=12, per=20).to_csv(folder / "choices.csv", index=False)
    done = run(
        "-m",
        "econmoral",
        "fit",
        str(folder / "choices.csv"),
        "--family",
        "fehr_schmidt",
        "--cluster",
        "sid",
        "--each",
        "--predict",
        "--out",
        str(folder / "humans"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "humans"


def test_fit_writes_what_it_prints(fitted: Path) -> None:
    found = json_of(
        "fit",
        fitted.parent / "choices.csv",
        "--family",
        "fehr_schmidt",
        "--cluster",
        "sid",
        "--each",
    )
    assert read_json(fitted / "fit.json") == found
    assert (fitted / "table.tex").read_text().startswith("\\begin{tabular}")
    about = read_json(fitted / "run.json")
    assert about["program"] == "-m econmoral"
    assert about["cost"]["seconds"] > 0
    assert about["cost"]["peak_memory_mb"] > 10


def test_a_human_fit_is_repeated_where_only_the_package_is(fitted: Path, tmp_path: Path) -> None:
    about = (
        "--title",
        "A paper",
        "--authors",
        "A and B",
        "--citation",
        "Somebody (2020), Data",
        "--licence",
        "CC-BY 4.0",
    )
    result = json_of("package", fitted, "--out", tmp_path / "made", *about)
    assert result["steps"] == ["humans"]
    package = elsewhere(tmp_path / "made", tmp_path)
    shutil.rmtree(tmp_path / "made")
    done = master(package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all numbers are the same" in done.stdout
    for name in ("fit.json", "subjects.csv", "predictions.csv"):
        assert re.search(rf"humans/{name}: \d\d+ numbers, the same", done.stdout), name
    # the programs are the package's own
    where = "import econmoral; print(econmoral.__file__)"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(package / "code")}
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(found.strip()).is_relative_to(package / "code")
    # another number is noticed, and so is a changed file
    name = "results/humans/fit.json"
    changed = read_json(package / name)
    changed["estimates"]["alpha"]["value"] += 1e-4
    write_json(package / name, changed)
    done = master(package)
    assert done.returncode == 1
    assert f"error: {name} is missing or not the file" in done.stderr
    seal(package, name)
    done = master(package)
    assert done.returncode == 1
    assert "DIFFERENT (largest difference 0.0001 at /estimates/alpha/value" in done.stdout


def test_the_readme_has_the_shape_that_data_editors_ask_for(fitted: Path, tmp_path: Path) -> None:
    json_of(
        "package",
        fitted,
        "--out",
        tmp_path / "p",
        "--citation",
        "Somebody (2020), Data",
        "--licence",
        "CC-BY 4.0",
    )
    text = (tmp_path / "p" / "README.md").read_text()
    places = [text.index(f"## {name}") for name in SECTIONS]
    assert places == sorted(places)
    assert "Somebody (2020), Data" in text
    assert "`data/choices.csv`: 240 rows; columns `sid`, `self_x`" in text
    assert sha256(tmp_path / "p" / "data" / "choices.csv") in text
    assert "numpy 2." in text
    assert re.search(r"\| humans \| \d+ seconds \| \d+ MB \|", text)
    assert str(tmp_path) not in text + (tmp_path / "p" / "master.py").read_text()
    asked = (tmp_path / "p" / "requirements.txt").read_text()
    assert "scipy==" in asked
    assert "torch" not in asked  # a fit needs no model
    assert (tmp_path / "p" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    rows = re.findall(r"\| `output/(\S+)` \| `code/(\S+)` \| (\d+) \|", text)
    written = ("fit.json", "table.tex", "table.md", "subjects.csv", "predictions.csv")
    assert {r[0] for r in rows} == {f"humans/{name}" for name in written}
    for output, program, line in rows:  # the line named is the one that writes the file
        assert (
            f'"{Path(output).name}"'
            in (tmp_path / "p" / "code" / program).read_text().splitlines()[int(line) - 1]
        )
    listed = {
        line.partition("  ")[2] for line in (tmp_path / "p" / "SHA256SUMS").read_text().splitlines()
    }
    there = {str(p.relative_to(tmp_path / "p")) for p in (tmp_path / "p").rglob("*") if p.is_file()}
    assert listed == there - {"SHA256SUMS"}


def test_data_that_may_not_be_passed_on_are_asked_for(fitted: Path, tmp_path: Path) -> None:
    result = json_of(
        "package",
        fitted,
        "--out",
        tmp_path / "p",
        "--access",
        "Write to the archive; it takes a week.",
    )
    assert any("citation of the data" in line for line in result["open"])
    assert not (tmp_path / "p" / "data").exists()
    text = (tmp_path / "p" / "README.md").read_text()
    assert "Write to the archive; it takes a week." in text
    assert "cannot be made" in text
    assert "permission to redistribute" not in text
    done = master(tmp_path / "p")
    assert done.returncode == 1
    assert "data/choices.csv is not part of this package" in done.stderr


@pytest.mark.parametrize(
    ("new", "same"), [("0.25", True), ("0.26", False), ("nan", False), ("", False), ("x", False)]
)
def test_a_number_that_is_none_any_more_is_another(
    new: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master_script, "HERE", tmp_path)
    for folder, value in (("results", "0.25"), ("output", new)):
        (tmp_path / folder).mkdir()
        text = f"subject,share\na,{value}\nb,\n"
        (tmp_path / folder / "predictions.csv").write_text(text)
    assert master_script.compare("predictions.csv", 1e-6) == same


def closure(names: Iterable[str]) -> set[str]:
    """Installed distributions that these names need, themselves among them."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return found


def test_a_fit_is_repeated_where_only_its_requirements_are(fitted: Path, tmp_path: Path) -> None:
    json_of("package", fitted, "--out", tmp_path / "p")
    package = elsewhere(tmp_path / "p", tmp_path)
    environment = package.parent / "env"
    venv.create(environment, symlinks=True)
    site = next((environment / "lib").glob("python*/site-packages"))
    asked = [
        line.partition("==")[0] for line in (package / "requirements.txt").read_text().splitlines()
    ]
    for name in closure(asked):
        distribution = metadata.distribution(name)
        for top in {f.parts[0] for f in distribution.files or [] if f.parts[0] != ".."}:
            (site / top).symlink_to(str(distribution.locate_file(top)))
    assert not (site / "torch").exists()
    done = master(package, str(environment / "bin" / "python"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all numbers are the same" in done.stdout


@pytest.mark.slow
def test_a_measured_model_is_repeated(tmp_path: Path) -> None:
    words = (
        "--model",
        "nano",
        "--battery",
        "bfs39",
        "--limit",
        "2",
        "--pairs",
        "1",
        "--out",
        str(tmp_path / "nano"),
    )
    assert run("-m", "eval.menus", *words).returncode == 0
    json_of("package", tmp_path / "nano", "--out", tmp_path / "made")
    package = elsewhere(tmp_path / "made", tmp_path)
    assert not list((package / "results").rglob("*.safetensors"))
    done = master(package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nano/summary.json" in done.stdout
    assert "all numbers are the same" in done.stdout
    asked = (package / "requirements.txt").read_text()
    assert "torch==" in asked
    assert "+cpu" not in asked
    text = (package / "README.md").read_text()
    assert "Base model nano: in `code/econmoral/nano`." in text
    assert "Mei et al. (2024)" in text  # where its human numbers come from


def test_adapters_go_along_with_what_made_them(adapter: Path, tmp_path: Path) -> None:
    trained = tmp_path / "altruist"
    shutil.copytree(adapter, trained)
    command = [
        "sft.py",
        "--model",
        "nano",
        "--data",
        "data/altruist.jsonl",
        "--out",
        "runs/altruist",
    ]
    write_json(
        trained / "run.json",
        {
            "command": command,
            "gates": {},
            "target": "altruism:altruism=0.5",
            "seconds": 300.0,
            "machine": "x86_64",
        },
    )
    words = ("--adapter", str(trained), "--battery", "matrix", "--limit", "1", "--pairs", "1")
    assert here("-m", "eval.menus", *words).returncode == 0
    result = json_of("package", trained, "--out", tmp_path / "p")
    assert result["steps"] == ["altruist/menus"]  # the adapter is an input
    text = (tmp_path / "p" / "README.md").read_text()
    assert "trained by `accelerate launch sft.py --model nano --data data/altruist.jsonl" in text
    assert "5 minutes on x86_64" in text
    assert (tmp_path / "p" / "inputs" / "altruist" / "adapter_model.safetensors").is_file()
    about = read_json(tmp_path / "p" / "package.json")
    assert about["steps"][0]["words"][:4] == ["-m", "eval.menus", "--adapter", "inputs/altruist"]


def test_a_study_is_one_step(tmp_path: Path) -> None:
    plan, study = tmp_path / "plan.yaml", tmp_path / "study"
    plan.write_text("model: nano\n")
    record = {
        "program": "recipes/study.py",
        "command": ["study.py", "--plan", str(plan), "--out", str(study)],
        "inputs": {"plan": {"path": str(plan)}},
    }
    record["inputs"]["plan"]["sha256"] = sha256(plan)
    write_json(study / "study.json", record)
    write_json(study / "measured" / "a" / "summary.json", [{"mean": 1.0}])
    write_json(study / "measured" / "a" / "run.json", {"command": ["games.py"]})
    (study / "report").mkdir()
    (study / "report" / "report.md").write_text("")
    assert json_of("package", study, "--out", tmp_path / "p")["steps"] == ["study", "study/report"]
    text = (tmp_path / "p" / "master.py").read_text()
    steps = json.loads(re.search(r"^STEPS: .*? = (\[.*?^\])", text, re.S | re.M)[1])
    assert steps[0]["words"] == [
        "recipes/study.py",
        "--plan",
        "inputs/plan.yaml",
        "--out",
        "output/study",
    ]
    assert steps[0]["compared"] == ["study/measured/a/summary.json"]
    assert (tmp_path / "p" / "code" / "recipes" / "study.py").is_file()


def test_words_of_a_command_are_moved_into_the_package() -> None:
    moved = {"runs/a": "inputs/a", "x/choices.csv": "data/choices.csv"}
    words = [
        "clone",
        "./x/choices.csv",
        "--adapter",
        "1=runs/a",
        "--out=there",
        "--own=x/choices.csv",
        "--types",
        "2",
        "--out",
        "runs/b",
    ]
    expected = [
        "clone",
        "data/choices.csv",
        "--adapter",
        "1=inputs/a",
        "--own=data/choices.csv",
        "--types",
        "2",
        "--out",
        "output/b",
    ]
    assert rewritten(words, moved, "output/b") == expected


def test_what_cannot_be_packaged_is_refused(fitted: Path, tmp_path: Path) -> None:
    assert "does not exist" in complains("package", tmp_path / "no")
    (tmp_path / "empty").mkdir()
    assert "holds no record of a command" in complains("package", tmp_path / "empty")
    assert "exists; remove it" in complains("package", fitted, "--out", tmp_path / "empty")
    assert "lies in" in complains("package", fitted, "--out", fitted / "inside")
    odd = tmp_path / "odd"
    write_json(odd / "run.json", {"command": ["rm", "-rf", "/"], "inputs": {}})
    assert "cannot be packaged" in complains("package", odd)
    mine = Path(shutil.copytree(fitted.parent, tmp_path / "mine"))
    about = read_json(mine / "humans" / "run.json")
    about["inputs"]["choices_1"]["path"] = str(mine / "choices.csv")
    write_json(mine / "humans" / "run.json", about)
    with (mine / "choices.csv").open("a") as file:
        file.write("P000,1,2,3,4,1\n")
    assert "has changed since" in complains("package", mine / "humans", "--out", tmp_path / "q")
    os.remove(mine / "choices.csv")
    assert "is not there" in complains("package", mine / "humans", "--out", tmp_path / "q")
    assert not list(tmp_path.glob(".q*"))  # nothing half-written is left
