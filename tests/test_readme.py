"""The README can be believed: its commands exist, its tables are those of committed runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache

import pytest
from conftest import ROOT, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = sorted(
    {line.partition("#")[0].strip() for block in re.findall(r"```bash\n(.*?)```", README, flags=re.S) for line in block.splitlines() if line.strip()}
)


@cache
def help_of(command: tuple[str, ...]) -> str:
    result = run(*command, "--help")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("line", LINES)
def test_command_and_its_options_exist(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode == 0
        return
    if words[:2] == ["accelerate", "launch"]:
        command: tuple[str, ...] = (words[2],)
    else:
        assert words[:2] == ["python", "-m"]
        command = ("-m", words[2], words[3]) if words[2] == "econmoral" else ("-m", words[2])
    text = help_of(command)
    for option in re.findall(r"--[a-z-]+", line):
        assert option in text, option


def test_every_path_of_the_tree_exists() -> None:
    tree = README.partition("## The house")[2].partition("```\n")[2].partition("```")[0]
    room = ROOT
    for line in tree.splitlines():
        names = re.match(r"(\s*)((?:[\w./]+\s)*[\w./]+)", line)
        assert names, line
        for word in names[2].split("   ")[0].split():
            if not names[1] and word.endswith("/"):
                room = ROOT / word
            if "." in word or word.endswith("/"):
                assert (ROOT / word).exists() or (room / word).exists(), word


def test_help_of_make_names_every_target() -> None:
    text = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M):
        assert f"make {target}" in text
