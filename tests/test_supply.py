"""What the project is made of: exact pins with hashes, permissive licences,
a bill of materials; and nothing asks the network.
"""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import NETWORK_LOG, ROOT, run
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, flags=re.M))
SUPPLY = ROOT / "recipes" / "supply"
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Zlib|CC0|CNRI|BSL|LLVM"
    r"|Unlicense|HPND|CMU",
    re.I,
)


def test_every_direct_dependency_has_a_range_and_its_pin_lies_in_it() -> None:
    pins = PINS | {
        "torch": re.findall(
            r"^TORCH := torch==(\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M
        )[0]
    }
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["dev"], *extras["lab"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[wanted.name.lower()]), line
        assert {s.operator for s in wanted.specifier} == {">=", "<"}, (
            f"{line}: an exact version would keep others from installing econmoral beside it"
        )


def test_every_pin_has_hashes_and_no_address() -> None:
    blocks = re.split(r"^(?=[A-Za-z])", LOCK, flags=re.M)[1:]
    assert len(blocks) >= len(PINS) > 50  # some have one version for each kind of machine
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK


def test_this_environment_is_the_pinned_one() -> None:
    listed = json.loads(
        subprocess.run(
            [sys.executable, "-m", "pip", "list", "--format=json"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    normal = {re.sub(r"[-_.]+", "-", row["name"]).lower(): row["version"] for row in listed}
    for name in (
        "numpy",
        "scipy",
        "pandas",
        "transformers",
        "peft",
        "trl",
        "datasets",
        "accelerate",
        "pytest",
    ):
        assert normal[name] == PINS[name]


def test_licences_are_permissive() -> None:
    rows = list(csv.DictReader((SUPPLY / "licences.csv").open(encoding="utf-8")))
    assert {row["Name"].lower().replace("_", "-") for row in rows} >= {
        "torch",
        "transformers",
        "numpy",
    }
    for row in rows:
        # atheris (Apache-2.0) names no licence in its metadata and is no dependency: make fuzz
        # alone installs it
        assert PERMISSIVE.search(row["License"]) or row["Name"] in ("atheris", "annotated-doc"), row
        assert not re.search(r"\bA?GPL|Affero", row["License"]), row


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    bill = json.loads((SUPPLY / "sbom.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    found = {c["name"].lower().replace("_", "-"): c["version"] for c in bill["components"]}
    assert {k: v for k, v in found.items() if k != "torch"} == {
        k.lower().replace("_", "-"): v for k, v in PINS.items()
    }
    assert "torch" in found


MODULES = sorted(
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("econmoral", "data_synth", "eval")
    for p in (ROOT / room).rglob("*.py")
    # need packages of their own
    if p.stem not in ("with_vllm", "inspect_games", "lm_eval_tasks", "pages", "page")
)


def test_importing_asks_no_network(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    code = f"import importlib\nfor name in {MODULES!r}:\n    importlib.import_module(name)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"ECONMORAL_NETWORK_LOG": str(log)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert log.read_text() == ""


def test_the_guard_would_notice(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="may not use the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="may not use the network"):
        socket.getaddrinfo("example.invalid", 80)
    kept = [line for line in NETWORK_LOG.read_text().splitlines() if line != "192.0.2.1"]
    NETWORK_LOG.write_text("".join(line + "\n" for line in kept))
    assert "example.invalid" in kept
    code = "import socket; socket.create_connection(('example.invalid', 80))"
    assert "may not use the network" in run("-c", code).stderr
