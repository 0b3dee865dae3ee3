"""The wheel alone: built, installed where the repository is not, and used as a newcomer would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import OFFLINE, ROOT, assert_complains, run
from shell import allocation_choices

from econmoral.__main__ import CALCULATOR, ROOMS, as_console

PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "setuptools"
]["packages"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, for a build leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for room in ("econmoral", "data_synth", "recipes", "eval"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    words = [
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--wheel-dir",
        str(out),
        str(source),
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = out.glob("*.whl")
    return found


def with_dependencies(home: Path) -> Path:
    """The interpreter of a new environment with the dependencies alone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console command in an environment with the dependencies and without the repository."""
    home = tmp_path_factory.mktemp("environment")
    python = with_dependencies(home)
    words = [
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        str(wheel),
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return home / "bin" / "econmoral"


def ask(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, far from the repository and off the network."""
    environment = os.environ | {"PYTHONPATH": str(OFFLINE)}
    return subprocess.run(
        [str(program), *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_wheel_claims_one_name_and_holds_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"econmoral"}
    for room, place in (
        ("econmoral", "econmoral"),
        ("data_synth", "econmoral/data_synth"),
        ("recipes", "econmoral/recipes"),
        ("eval", "econmoral/eval"),
    ):
        for path in (ROOT / room).rglob("*.py"):
            assert f"{place}/{path.relative_to(ROOT / room).as_posix()}" in names, path
            assert (
                ".".join(Path(f"{place}/{path.relative_to(ROOT / room)}").parent.parts) in PACKAGES
            )
    data = (
        "nano/model.safetensors nano/tokenizer.json economics/human.csv recipes/plans/nano.yaml "
        "recipes/launch/fsdp.yaml eval/frameworks/econmoral_games.yaml"
    )
    assert {f"econmoral/{name}" for name in data.split()} <= names


def test_the_pipeline_far_from_the_repository(installed: Path, tmp_path: Path) -> None:
    for line in (
        "data --target homo_economicus --n 20 --out d.jsonl",
        "sft --model nano --data d.jsonl --epochs 1 --out run",
        "games --adapter run --items 2 --pairs 1",
        "report run/eval",
    ):
        done = ask(installed, tmp_path, *line.split())
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    assert (tmp_path / "run" / "eval" / "report" / "report.html").is_file()
    record = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert '"git": null' in record  # a repository around the environment would be somebody else's
    assert '"econmoral sft"' in record


@pytest.mark.slow
def test_a_package_of_installed_programs_repeats_the_numbers_where_they_are_not(
    installed: Path, tmp_path: Path
) -> None:
    allocation_choices(subjects=12, per=20).to_csv(tmp_path / "choices.csv", index=False)
    for line in (
        "fit choices.csv --family fehr_schmidt --cluster sid --out runs/humans",
        "menus --model nano --battery bfs39 --limit 2 --pairs 1 --out runs/nano",
        "report runs/nano",
        "package runs --out made",
    ):
        done = ask(installed, tmp_path, *line.split())
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    package = tmp_path / "elsewhere" / "package"
    shutil.move(tmp_path / "made", package)
    shutil.rmtree(tmp_path / "runs")
    python = with_dependencies(tmp_path / "bare")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    script = [str(python), "master.py"]
    done = subprocess.run(script, cwd=package, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all numbers are the same" in done.stdout
    assert re.search(r"humans/fit.json: \d\d+ numbers, the same", done.stdout)
    assert re.search(r"nano/summary.json: \d\d+ numbers, the same", done.stdout)
    # the layout is the repository's, whatever it was made from, and the README names what is there
    assert (package / "code" / "eval" / "menus.py").is_file()
    assert not (package / "code" / "econmoral" / "eval").exists()
    text = (package / "README.md").read_text()
    named = set(re.findall(r"`(code/[\w./]+\.\w+)`", text))
    assert "code/econmoral/people/choices.py" in named
    assert [name for name in named if not (package / name).exists()] == []
    rows = re.findall(r"\| `output/(\S+)` \| `code/(\S+)` \| (\d+) \|", text)
    line = {output: f"{program} {number}" for output, program, number in rows}
    assert line["runs/humans/fit.json"].startswith("econmoral/people/fitting.py ")
    assert line["runs/nano/table.csv"].startswith("eval/runner.py ")
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_every_command_is_there(installed: Path, tmp_path: Path) -> None:
    listing = ask(installed, tmp_path).stdout
    assert all(f"  {name} " in listing for name in [*ROOMS, *CALCULATOR])
    assert ask(installed, tmp_path, "--version").stdout.startswith("econmoral ")
    assert_complains(ask(installed, tmp_path, "gaems"), "unknown command 'gaems'", "games")
    done = ask(installed, tmp_path, "best-reply", "spd", "--payoffs", "90,45,15,10")
    assert (done.returncode, "best replies:" in done.stdout) == (0, True), done.stderr
    code = (
        "import econmoral.rooms as r, sys\n"
        "assert r.REPOSITORY is None\n"
        f"for name in {sorted(m for m, _ in ROOMS.values())!r}: assert r.room(name).main"
    )
    subprocess.run([str(installed.with_name("python")), "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", [*ROOMS, *CALCULATOR])
def test_usage_names_the_command_as_it_was_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from econmoral.__main__ import main

    monkeypatch.setattr(sys, "argv", ["econmoral", name, "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: econmoral {name} ")
    for usual in ("python -m", "python recipes", "accelerate launch"):
        assert usual not in said


def test_examples_name_the_installed_command_and_nothing_else_changes() -> None:
    text = (
        "python -m eval.lab --runs x\n``python -m eval.parity --adapter a``, python -m eval.labs x"
    )
    assert as_console(text) == (
        "econmoral lab --runs x\n``econmoral parity --adapter a``, python -m eval.labs x"
    )
    assert as_console("accelerate launch recipes/sft.py --model nano") == (
        "econmoral sft --model nano"
    )
    assert as_console("python -m data_synth --n 3") == "econmoral data --n 3"


def test_a_built_in_plan_has_a_name(tmp_path: Path) -> None:
    assert_complains(
        run(
            "-m",
            "econmoral",
            "study",
            "--plan",
            "nano",
            "--designs",
            "nothing",
            "--out",
            str(tmp_path),
        ),
        "nothing",
    )
    assert_complains(
        run("-m", "econmoral", "study", "--plan", "nanno", "--out", str(tmp_path)),
        "nanno does not exist",
    )


def test_importing_the_package_is_quick_and_loads_nothing_large() -> None:
    """Time is the processor's own, so that a busy machine changes nothing."""
    code = (
        "import sys, time; began = time.process_time(); import econmoral; took = "
        "time.process_time() - began\n"
        "large = [m for m in ('torch', 'numpy', 'scipy', 'pandas', 'matplotlib') if m in "
        "sys.modules]\n"
        "assert not large, large\n"
        "assert took < 0.5, took\n"
        "assert all(hasattr(econmoral, name) for name in econmoral.__all__)\n"
        "assert str(econmoral.Target.parse('homo_moralis:kappa=0.5')) == "
        "'homo_moralis:kappa=0.5'\n"
        "assert 'torch' not in sys.modules"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_help_waits_for_nothing_large() -> None:
    """Whoever asks a command for its options does not wait for libraries that only a run needs."""
    code = (
        "import sys\n"
        "from econmoral.__main__ import main\n"
        "for name in ('report', 'data', 'sft', 'games', 'menus'):\n"
        "    sys.argv = ['econmoral', name, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit:\n"
        "        pass\n"
        "    large = {'torch', 'transformers', 'scipy', 'pandas', 'matplotlib'} & {*sys.modules}\n"
        "    assert not large, (name, large)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: econmoral") == 5
