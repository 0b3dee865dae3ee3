"""What comes from elsewhere, made to harm: adapters, templates, names, endpoints,
folders that are in use.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import study
import torch
from conftest import ROOT, assert_complains, call, run
from endpoint import Reply, chat_reply, good, server
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from econmoral.checkpoints.adapters import check_adapter
from econmoral.checkpoints.models import NANO
from econmoral.files.records import (
    InputError,
    append_lines,
    plain,
    read_lines,
    read_whole_lines,
    spreadsheet_cell,
)
from econmoral.instruments import dilemmas
from econmoral.text.chat import check_template, prompt_text
from econmoral.text.conversation import Conversation, Question
from eval import games, menus, pricing
from eval.conditions import TAKEN, adapter_names
from eval.engines.base import Condition, Request, Sampled
from eval.engines.with_endpoint import Chat, Endpoint, prompt_log_probabilities, read_reply
from eval.engines.with_transformers import Transformers

TALK = Conversation("The page.", (Question("Which do you choose, K or M?", ("K", "M")),))

# ----------------------------------------------------------------------------------------- adapters


def setting(name: str, value: Any) -> Callable[[Path], None]:
    """Changes one entry of the configuration."""

    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    return change


def only_pickle(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def link_out(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / "adapter_model.safetensors", outside)
    (folder / "adapter_model.safetensors").symlink_to(outside)


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lying_header(folder: Path) -> None:
    header = json.dumps(
        {
            "a.lora_A.weight": {
                "dtype": "F32",
                "shape": [1 << 40, 1 << 20],
                "data_offsets": [0, 1 << 62],
            }
        }
    ).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"\0" * 64
    )


def endless_header(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{" * 64)


def huge_configuration(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "x": "' + "x" * (1 << 21) + '"}'
    )


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickle": (only_pickle, "may run code"),
    "link that leaves the folder": (link_out, "a link that leaves"),
    "cut short": (cut, "not whole safetensors"),
    "header that lies about sizes": (lying_header, "not whole safetensors"),
    "header without end": (endless_header, "not whole safetensors"),
    "configuration of two megabytes": (huge_configuration, "larger than 1 MB"),
    "rank that fills the memory": (setting("r", 10**9), "claims rank 1000000000"),
    "rank of one layer": (setting("rank_pattern", {".*": 10**9}), "claims rank"),
    "rank that is no number": (setting("r", "4"), "claims rank '4'"),
    "rank true": (setting("r", True), "claims rank True"),
    "start that rewrites the base": (setting("init_lora_weights", "pissa"), "init_lora_weights"),
    "biases of the base": (setting("bias", "all"), "bias"),
    "module to import": (setting("megatron_config", {"a": 1}), "megatron_config"),
    "layers copied": (setting("layer_replication", [[0, 5]] * 10**4), "layer_replication"),
    "pattern that never ends": (setting("target_modules", "(a|a)*$"), "pattern"),
    "base that is no name": (
        setting("base_model_name_or_path", ["x"]),
        "does not describe a LoRA adapter",
    ),
    "another method": (setting("peft_type", "IA3"), "does not describe a LoRA adapter"),
    "terminal sequence": (setting("bias", "\x1b[2J"), "bias"),
}


@pytest.mark.parametrize("name", HARM)
def test_harmful_adapters_are_refused(adapter: Path, tmp_path: Path, name: str) -> None:
    change, part = HARM[name]
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    check_adapter(folder)
    change(folder)
    with pytest.raises(InputError, match=part) as refusal:
        check_adapter(folder)
    assert "\x1b" not in str(refusal.value)


def test_a_harmful_adapter_ends_every_command_in_one_line(adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    link_out(folder)
    for command in (
        ("-m", "eval.games", "--adapter", str(folder)),
        ("-m", "eval.parity", "--adapter", str(folder)),
        ("recipes/export.py", "--adapter", str(folder), "--out", str(tmp_path / "merged")),
        (
            "recipes/interpolate.py",
            "--adapters",
            str(folder),
            str(adapter),
            "--weight",
            "0.5",
            "--out",
            str(tmp_path / "between"),
        ),
    ):
        assert_complains(run(*command), "a link that leaves")


def test_links_of_the_hubs_cache_are_followed(adapter: Path, tmp_path: Path) -> None:
    blobs, snapshot = (
        tmp_path / "models--a--b" / "blobs",
        tmp_path / "models--a--b" / "snapshots" / "0",
    )
    shutil.copytree(adapter, blobs)
    snapshot.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert check_adapter(snapshot) == check_adapter(adapter)


def test_nothing_else_in_the_folder_is_read(adapter: Path, tmp_path: Path) -> None:
    """A template, a tokenizer and a pickle beside the adapter change no answer and run no code."""
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    (folder / "chat_template.jinja").write_text("{{ 'a' * 10 ** 12 }}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(
        b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    )
    asked = [Request(TALK, None, None)]
    plainly, besieged = (
        Transformers("nano", {"a": place}).score(asked, Condition("a", "a"))
        for place in (adapter, folder)
    )
    for one, other in zip(plainly, besieged, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_no_numbers_are_noticed(adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {k: torch.full_like(v, float("nan")) for k, v in weights.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InputError, match="no finite numbers"):
        call(games.main, "--adapter", folder, "--items", 2, "--out", tmp_path / "out")


# ---------------------------------------------------------------------------------------- templates

JINJA = {
    "memory by a product": "{{ 'a' * 9999999 }}",
    "memory by a power": "{{ 10 ** 9 }}",
    "memory by a filter": "{{ 'a' | center(1000000000) }}",
    "a loop in a loop in a loop": (
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor "
        "%}{% endfor %}{% endfor %}"
    ),
    "the shell": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "a file": "{% include '/etc/passwd' %}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "no end": "{% for m in messages %}",
    "its own error": "{{ raise_exception('\x1b[2J') }}",
}


@pytest.mark.parametrize("name", JINJA)
def test_harmful_templates_are_refused(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = JINJA[name]
    began = time.process_time()  # how busy the machine is must not matter
    with pytest.raises(InputError, match="chat template"):
        prompt_text(tokenizer, [{"role": "user", "content": "hello"}])
    assert time.process_time() - began < 60


def test_templates_are_rendered_where_there_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    told = [{"role": "user", "content": "hello"}]
    before = prompt_text(tokenizer, told)
    monkeypatch.delattr(signal, "SIGALRM")  # as on Windows
    assert prompt_text(tokenizer, told) == before


def test_templates_of_real_checkpoints_pass() -> None:
    import trl

    templates = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    assert len(templates) > 20
    for path in templates:
        check_template(path.read_text(encoding="utf-8"), path.name)


# ---------------------------------------------------------------------------- terminal, spreadsheet


def test_a_name_is_no_markup_no_terminal_sequence_and_no_formula(
    adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "=1+1[bold]:smile:\x1b[2J"
    shutil.copytree(adapter, folder)
    out = tmp_path / "out"
    call(games.main, "--adapter", folder, "--items", 2, "--pairs", 1, "--out", out)
    said = capfd.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "=1+1[bold]:smile:" in said.out
    arms = pd.read_csv(tmp_path / "out" / "table.csv")["arm"]
    assert "'=1+1[bold]:smile:[2J" in set(arms)
    assert not any(arm.startswith("=") for arm in arms)


@pytest.mark.parametrize(
    "name", ["base", "humans", "measure", "coin", "arm", "chooser", "most for itself"]
)
def test_an_adapter_takes_nobody_elses_place_in_a_table(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two columns, or two rows, of one name would be one: the later wins."""
    assert list(adapter_names([tmp_path / name])) != [name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"call something else '{name}'; rename the folder"):
        adapter_names([Path(name)])


def test_every_chooser_that_sees_nothing_has_its_name_to_itself() -> None:
    assert {*dilemmas.NULLS, *menus.NULLS} <= TAKEN


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\x1b=1", "\r=1"]
)
def test_formulas_are_text(text: str) -> None:
    assert spreadsheet_cell(text)[0] == "'"


@pytest.mark.parametrize("value", ["-0.05 ± 0.07", "0.5", "-1", "[-0.10, 0.20]", "base", 1.5, None])
def test_numbers_and_names_are_as_they_were(value: Any) -> None:
    assert spreadsheet_cell(value) == value


def test_control_and_format_characters_go() -> None:
    assert plain("a\x1b[31m\x07\u202eb\n\x9bc\u200b") == "a[31mb\nc"


# ---------------------------------------------------------------------------------------- endpoints


def test_a_redirect_is_not_followed() -> None:
    reached: list[str] = []

    def there(path: str, body: dict[str, Any]) -> Reply:
        reached.append(path)
        return good({})

    with server(there) as other:
        for status in (301, 302, 307, 308):
            with (
                server(
                    lambda path, body, status=status: (status, f"{other}/stolen".encode())
                ) as address,
                pytest.raises(InputError, match=str(status)),
            ):
                Endpoint(address, wait=0.001).post("/completions", {}, dict)
    assert not reached


def test_a_reply_without_end_is_cut_off() -> None:
    class Endless(io.RawIOBase):
        def read1(self, n: int) -> bytes:
            return b"x" * n

    with pytest.raises(ValueError, match="too long or too slow"):
        read_reply(Endless(), time.monotonic() + 60)

    class Dripping(io.RawIOBase):
        def read1(self, n: int) -> bytes:
            time.sleep(0.05)
            return b" "

    with pytest.raises(ValueError, match="too long or too slow"):
        read_reply(Dripping(), time.monotonic() + 0.2)


BAD_SCORES = (
    b"[null, 1e999]",
    b"[null, -1e999]",
    b"[null, 5]",
    b"[null, NaN]",
    b"[null, 1" + b"0" * 400 + b"]",
    b'[null, "x"]',
    b"{}",
    b"3",
)


@pytest.mark.parametrize("scores", BAD_SCORES)
def test_scores_that_are_no_log_probabilities_are_asked_for_again_and_then_counted(
    scores: bytes,
) -> None:
    with server(
        lambda path, body: (
            200,
            b'{"choices": [{"logprobs": {"token_logprobs": ' + scores + b"}}]}",
        )
    ) as address:
        endpoint = Endpoint(address, wait=0.0005)
        with pytest.raises(InputError, match="no usable reply"):
            endpoint.post_all("/completions", [{}], prompt_log_probabilities)
    assert endpoint.failures == 1


@pytest.mark.slow
def test_a_thousand_requests_in_flight() -> None:
    asked = [Request(Conversation(f"Page {k}.", TALK.questions), None, None) for k in range(1000)]
    seen, most, now, guard, rng = Counter[str](), 0, 0, threading.Lock(), np.random.default_rng(0)

    def respond(path: str, body: dict[str, Any]) -> Reply:
        nonlocal most, now
        with guard:
            trouble = str(rng.choice(["", "", "", "429", "500", "json", "gone"]))
            seen[trouble] += 1
            now += 1
            most = max(most, now)
        time.sleep(2)
        with guard:
            now -= 1
        replies: dict[str, Reply] = {
            "429": (429, b"busy"),
            "500": (500, b"oops"),
            "json": (200, b'{"choices": ['),
            "gone": (0, b""),
        }
        return replies.get(trouble) or chat_reply("K")

    with server(respond) as address:
        endpoint = Endpoint(address, concurrency=1000, wait=0.01, timeout=30)
        found = Sampled(Chat(endpoint, "m")).score(asked, Condition("base"))
    assert most > 500
    assert len(seen) == 5
    assert (
        sum(a.outcomes["answered"] for a in found) + endpoint.failures == len(asked) == len(found)
    )
    assert endpoint.failures < 150  # six tries, each good with probability 3/7: 3.5 % on average


# ------------------------------------------------------------------------------------------ folders


def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from econmoral.files.records import lock; "
        "lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "out")], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        firms = ("--agents", "grim", "myopic", "--periods", 60, "--runs", 1)
        people = ("--simulate", "alpha=0.1,beta=0.1,lambda=0.1", "--battery", "matrix")
        moral = ("--simulate", "kappa=0.5,alpha=0,beta=0,lambda=0.1", "--items", 2)
        plan = ("--plan", ROOT / "recipes" / "plans" / "nano.yaml")
        for main, words in (
            (games.main, moral),
            (menus.main, people),
            (pricing.main, firms),
            (study.main, plan),
        ):
            with pytest.raises(InputError, match="another command is writing to"):
                call(main, *words, "--out", tmp_path / "out")
    finally:
        holder.kill()
        holder.wait()
    call(games.main, *moral, "--out", tmp_path / "out")  # a killed holder holds nothing


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    # root may write anywhere: a file where the folder should be is as good an obstacle
    if os.getuid() == 0:
        (tmp_path / "out").touch()
    else:
        (tmp_path / "out").mkdir(mode=0o500)
    command = (
        "-m",
        "eval.games",
        "--simulate",
        "kappa=0.5,alpha=0,beta=0,lambda=0.1",
        "--items",
        "2",
        "--out",
        str(tmp_path / "out" / "run"),
    )
    assert_complains(run(*command), str(tmp_path / "out"))


def test_a_line_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_lines(path, [{"a": 1}, {"a": 2}])
    path.write_bytes(path.read_bytes()[:-4])
    append_lines(path, [{"a": 3}])
    assert read_whole_lines(path) == [{"a": 1}, {"a": 3}]
    path.write_bytes(b'{"a"')
    append_lines(path, [{"a": 4}])
    assert read_whole_lines(path) == [{"a": 4}]


def test_numbers_and_lines_that_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    for text in ('{"a": 1' + "0" * 5000 + "}", '{"a": NaN}', '{"a": Infinity}'):
        path.write_text(text + "\n")
        assert read_whole_lines(path) == []
        with pytest.raises(InputError, match="line 1"):
            list(read_lines(path))
    monkeypatch.setattr("econmoral.files.records.LONGEST_LINE", 100)
    path.write_text('{"a": 1}\n{"a": "' + "x" * 200 + '"}\n')
    with pytest.raises(InputError, match="line 2: longer"):
        list(read_lines(path))
