"""Files: complaints name the line, writes are whole or absent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.checkpoints.models import MODELS, find_model
from econmoral.files.records import (
    InputError,
    origin,
    parse_yaml,
    peak_memory,
    read_json,
    read_lines,
    read_object,
    sha256,
    write_json,
    write_lines,
    write_text,
)


def test_lines_come_back_with_their_numbers(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"x": 1}, {"x": "é\u2028"}])
    assert list(read_lines(tmp_path / "a.jsonl")) == [(1, {"x": 1}), (2, {"x": "é\u2028"})]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"a": 1}\n{"a": \n', "line 2"),
        ('{"a": 1}\n\n[1]\n', "line 3: expected a JSON object"),
        ("", "holds no lines"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "line 1: .*'c' twice"),
        ('{"a": 1}\n{"b": 1, "b": 1}', "line 2: .*'b' twice"),
        ("\n\n", "holds no lines"),
        ('{"a": "' + "x" * 10, "line 1"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=part):
        list(read_lines(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("text", ["lr: 1\nrank: 4\nlr: 2\n", "a: {b: 1, lr: 1, lr: 1}\n"])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    """The library would take the last one without a word."""
    with pytest.raises(InputError, match="here is not YAML: it names 'lr' twice"):
        parse_yaml(text, "here")
    assert parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}\n", "here")["c"] == {"b": 2}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.jsonl"
    path.write_bytes(data)
    for reader in (lambda: list(read_lines(path)), lambda: read_json(path)):
        with contextlib.suppress(InputError):  # anything else fails the test
            reader()


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
    assert list(read_lines(path)) == [(1, {"a": 1}), (2, {"a": 2})]
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match=r"nan|Out of range"):
        write_json(path, {"new": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_writes_is_not(
    tmp_path: Path,
) -> None:
    path, left, other = (
        tmp_path / "a[1].jsonl",
        tmp_path / ".a[1].jsonl.1.part",
        tmp_path / ".b.jsonl.1.part",
    )
    left.write_text("half")
    other.write_text("half")
    write_text(path, "whole")
    assert sorted(os.listdir(tmp_path)) == [".b.jsonl.1.part", "a[1].jsonl"]
    with left.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(path, "whole")
        assert left.exists()


def test_full_disk_is_one_line() -> None:
    code = (
        "from pathlib import Path; from econmoral.files.records import command\n"
        "def main():\n"
        "    with open('/dev/full', 'w') as f: f.write('x')\n"
        "command(main)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.splitlines() == ["error: No space left on device"]


@pytest.mark.parametrize(
    "words", ["", "lock(Path('out')); ", "lock(p := Path('out')); unlock(p); "]
)
def test_only_commands_that_keep_a_folder_say_that_they_go_on(words: str, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from econmoral.files.records import command, lock, unlock\n"
        f"def main():\n    {words}raise KeyboardInterrupt\n"
        "command(main)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    kept = "; what is finished is kept: run the same command again and it goes on from there"
    said = f"error: interrupted{kept if words else ''}\n"
    assert (result.returncode, result.stderr) == (130, said)


def test_hash_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    write_text(tmp_path / "f" / "a", "1")
    before = sha256(tmp_path / "f")
    write_text(tmp_path / "f" / "a", "2")
    changed = sha256(tmp_path / "f")
    os.rename(tmp_path / "f" / "a", tmp_path / "f" / "b")
    assert len({before, changed, sha256(tmp_path / "f")}) == 3


def test_origin_names_versions_revision_and_inputs(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "1")
    about = origin(data=tmp_path / "a")
    assert about["inputs"]["data"]["sha256"] == sha256(tmp_path / "a")
    assert about["versions"]["trl"] is not None
    assert about["cost"]["seconds"] >= 0
    assert 10 < about["cost"]["peak_memory_mb"] < 1e6


def test_the_peak_of_memory_is_known_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    # the unit: neither less than what is held now nor more than the machine has
    now, whole = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    assert 0.99 * now <= peak_memory() < whole
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    info = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=1, peak_wset=7 << 20))
    monkeypatch.setattr(psutil, "Process", lambda: info)
    assert peak_memory() == 7 << 20
    assert origin()["cost"]["peak_memory_mb"] == 7


def test_a_system_that_does_not_say_its_peak_loses_no_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = psutil.Process().memory_info().rss
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Name: python\nVmRSS: 5 kB\n")
    assert peak_memory() >= 0.99 * now


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_peak_of_memory_is_not_that_of_who_started_it() -> None:
    small = "import econmoral.files.records as r; print(r.peak_memory())"
    large = (
        "import subprocess, sys; held = bytearray(600 << 20); "
        f"print(subprocess.run([sys.executable, '-c', {small!r}], stdout=-1).stdout.decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", large], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 5 << 20 < int(done.stdout) < 400 << 20


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_entry_is_complete(name: str) -> None:
    model = find_model(name)
    assert model.licence
    assert model.lora_rank > 0
    assert 0 < model.learning_rate < 0.1
    assert find_model(model.source).licence  # by hub id or folder too


def test_unknown_models_are_refused(tmp_path: Path) -> None:
    for name in ("gpt-17", "", "a/b/c", "/no/where", str(tmp_path)):
        with pytest.raises(InputError):
            find_model(name)
    assert find_model("someone/some-model").source == "someone/some-model"


def test_an_object_that_lacks_is_empty(tmp_path: Path) -> None:
    for text, found in ((None, {}), ("[1]", {}), ('{"a": 1}', {"a": 1})):
        if text is not None:
            write_text(tmp_path / "run.json", text)
        assert read_object(tmp_path / "run.json") == found
    write_text(tmp_path / "run.json", "{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_object(tmp_path / "run.json")
