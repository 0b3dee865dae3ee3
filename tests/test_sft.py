"""The recipe: it learns what it was given, notices when it does not, continues where it stopped."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import LIMIT, ROOT, assert_complains, call, run
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from twins import TEMPLATES

sys.path.insert(0, str(ROOT / "recipes"))
import sft

from econmoral.checkpoints import memory
from econmoral.checkpoints.loading import precision_in_force
from econmoral.checkpoints.models import MODELS, NANO
from econmoral.checkpoints.weights import weights_sha256
from econmoral.files.records import (
    InputError,
    read_json,
    read_lines,
    read_whole_lines,
    sha256,
    write_json,
)
from econmoral.text.conversations import read_conversations
from econmoral.training import card, gates, processes
from econmoral.training import trainer as training
from econmoral.training.config import SftConfig
from econmoral.training.run_folder import prepare_folder

QUICK = ("--epochs", "2", "--batch-size", "8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "economicus.jsonl"
    assert (
        run(
            "-m", "data_synth", "--preference", "homo_economicus", "--n", "32", "--out", str(path)
        ).returncode
        == 0
    )
    return path


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "economicus"
    before = sha256(NANO)
    # what a launcher without our configuration hands down
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    result = run(
        "recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(out), *QUICK
    )
    del os.environ["ACCELERATE_MIXED_PRECISION"]
    assert result.returncode == 0, result.stderr
    assert sha256(NANO) == before
    return out


def test_run_leaves_adapter_card_log_and_manifest(finished: Path, data: Path) -> None:
    about = read_json(finished / "run.json")
    assert about["inputs"]["data"]["sha256"] == sha256(data)
    assert (about["target"], about["preference"], about["domain"], about["shuffled"]) == (
        "homo_economicus",
        "homo_economicus",
        "games",
        False,
    )
    # whatever the launcher says; a continued run without it ends with the same bits
    assert about["mixed_precision"] == "no"
    settings = about["weights"].pop("configuration")
    assert settings["rope_parameters"]["rope_theta"] == 1000000
    assert about["weights"] == {"source": str(NANO), "sha256": weights_sha256(NANO)}
    assert about["gates"]["labels_checked"] == 32
    pages = [row["messages"][0]["content"] for _, row in read_lines(data)]
    assert about["gates"]["largest_number"] == max(
        int(n) for page in pages for n in re.findall(r"\d+", page)
    )
    assert about["gates"]["base_unchanged"] is True
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    trained_on = [row for _, row in read_lines(data)][:-3]  # a tenth is held out
    texts = [
        tokenizer.apply_chat_template(row["messages"], tokenize=False).rstrip("\n")
        for row in trained_on
    ]
    assert about["tokens"] == 2 * sum(
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts
    )
    assert about["gates"]["adapter_tensors_moved"] > 0
    assert about["gates"]["largest_change_of_log_probability"] > 1e-3
    assert about["gates"]["held_out_examples"] == 3
    log = [row for _, row in read_lines(finished / "log.jsonl")]
    assert (
        [row["epoch"] for row in log if "eval_loss" in row]
        == [row["epoch"] for row in log if "eval_reproduced" in row]
        == [1, 2]
    )
    assert all(row["loss"] > 0 for row in log if "loss" in row)
    front = yaml.safe_load((finished / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (
        front["model-index"][0]["results"][0]["metrics"][0]["value"]
        == about["gates"]["held_out_reproduced"]
    )
    assert not list(finished.rglob("*.bin"))
    assert not (finished / "checkpoints").exists()
    weights = load_file(finished / "adapter_model.safetensors")
    assert any(w.abs().max() > 0 for name, w in weights.items() if "lora_B" in name)


def test_a_single_step_trains_and_logs_its_loss(tmp_path: Path) -> None:
    """Its learning rate is not the zero that a warm-up begins with, and it is a multiple of no
    logging interval.
    """
    data, out = tmp_path / "few.jsonl", tmp_path / "few"
    asked = [("Two and two?", "4"), ("Three and three?", "6"), ("Four and four?", "8")]
    pairs = [[("user", q), ("assistant", a)] for q, a in asked]
    rows = [{"messages": [{"role": r, "content": c} for r, c in pair]} for pair in pairs]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ("--model", "nano", "--data", data, "--out", out, "--epochs", 1, "--holdout", 0)
    call(sft.main, *words)
    about = read_json(out / "run.json")
    assert about["gates"]["adapter_tensors_moved"] > 0
    assert about["loss"] > 0
    assert f"Final training loss {about['loss']:.4f}." in (out / "README.md").read_text()
    unlogged = card.card(about | {"loss": None}, MODELS["nano"], "your own data", out)
    assert "loss" not in unlogged.partition("```bash")[0]


def test_training_goes_on_from_an_adapter(finished: Path, data: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "further", sha256(finished / "adapter_model.safetensors")
    for folder, rank, part in (
        (finished, 3, "leave it out"),
        (data.parent, None, "adapter_config"),
    ):
        with pytest.raises(InputError, match=part):
            SftConfig(model="nano", data=data, out=out, adapter=folder, rank=rank)
    with pytest.raises(InputError, match="give another"):
        SftConfig(model="nano", data=data, out=finished / ".", adapter=finished)
    words = ("--data", data, "--out", out, "--adapter", finished, "--epochs", 1, "--lr", 1e-5)
    call(sft.main, "--model", "nano", *words)
    about = read_json(out / "run.json")
    assert about["inputs"]["adapter"]["sha256"] == before
    assert before == sha256(finished / "adapter_model.safetensors")
    assert before in (out / "README.md").read_text(encoding="utf-8")
    old, new = (load_file(f / "adapter_model.safetensors") for f in (finished, out))
    steps = [float((new[name] - old[name]).abs().max()) for name in old]
    assert set(new) == set(old)
    assert 0 < max(steps) < 1e-3 < max(float(w.abs().max()) for w in old.values())


def test_killed_run_continues_to_the_same_adapter(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "recipes/sft.py",
        "--model",
        "nano",
        "--data",
        str(data),
        "--out",
        str(out),
        *QUICK,
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + LIMIT
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.time() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "run.json").exists()
    with pytest.raises(InputError, match="other settings"):
        call(sft.main, *command[2:], "--seed", 1)
    settings = out / "checkpoints" / "settings.json"
    same = read_json(settings)
    assert same["weights_sha256"] == weights_sha256(NANO)
    write_json(settings, same | {"weights_sha256": "of another base"})
    with pytest.raises(InputError, match="data or weights"):
        call(sft.main, *command[2:])
    write_json(settings, same)
    result = run(*command[1:])
    assert result.returncode == 0, result.stderr
    assert read_json(out / "run.json")["resumed"] is True
    whole, continued = (load_file(f / "adapter_model.safetensors") for f in (finished, out))
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_continues(data: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "recipes/sft.py",
        "--model",
        "nano",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "r"),
        "--epochs",
        "1",
    ]
    # files may not grow beyond 300 kB: fails where a full disk fails
    result = subprocess.run(
        ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert_complains(result, "cannot be written", "run the same command again")
    assert not (tmp_path / "r" / "run.json").exists()
    assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 0
    assert (tmp_path / "r" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_a_training_that_worsens_stops_and_keeps_its_best_epoch(data: Path, tmp_path: Path) -> None:
    words = ("--model", "nano", "--data", str(data), "--out", str(tmp_path / "r"))
    done = run("recipes/sft.py", *words, "--epochs", "8", "--batch-size", "4", "--lr", "0.03")
    assert done.returncode == 0, done.stderr
    log = [row for _, row in read_lines(tmp_path / "r" / "log.jsonl")]
    losses = [row["eval_loss"] for row in log if "eval_loss" in row]
    assert len(losses) < 8
    assert min(losses) < min(losses[-2:])
    about = read_json(tmp_path / "r" / "run.json")
    assert about["tokens"] % len(losses) == 0  # of the epochs that were trained
    assert about["tokens"] / len(losses) < 28 * about["gates"]["longest_tokens"]
    assert about["gates"]["held_out_loss"] == pytest.approx(min(losses), rel=1e-3)


def test_a_checkpoint_cut_short_is_not_continued(tmp_path: Path) -> None:
    identity = {"seed": "0"}
    assert prepare_folder(tmp_path, identity) is None
    for name, whole in (("checkpoint-4", True), ("checkpoint-12", True), ("checkpoint-20", False)):
        (tmp_path / "checkpoints" / name).mkdir()
        if whole:
            (tmp_path / "checkpoints" / name / "trainer_state.json").write_text("{}")
    assert prepare_folder(tmp_path, identity) == str(tmp_path / "checkpoints" / "checkpoint-12")
    assert not (tmp_path / "checkpoints" / "checkpoint-20").exists()
    with pytest.raises(InputError, match="other settings"):
        prepare_folder(tmp_path, {"seed": "1"})


def test_an_adapter_from_elsewhere_and_a_checkpoint_are_not_overwritten(tmp_path: Path) -> None:
    identity = {"seed": "0"}
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(InputError, match="holds an adapter from elsewhere"):
        prepare_folder(tmp_path, identity)
    (tmp_path / "adapter_config.json").unlink()
    assert prepare_folder(tmp_path, identity) is None
    # what a run leaves that was stopped as it ended
    (tmp_path / "adapter_config.json").touch()
    assert prepare_folder(tmp_path, identity) is None
    with pytest.raises(InputError, match="holds a checkpoint"):
        prepare_folder(NANO, identity)


def test_upload_happens_only_when_asked_and_loses_nothing(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(
        "huggingface_hub.HfApi.create_repo",
        lambda self, repository, **named: calls.append((repository, named)),
    )
    monkeypatch.setattr(
        "huggingface_hub.HfApi.upload_folder", lambda self, **named: calls.append(named)
    )
    card.push(finished, "someone/economicus")
    assert calls[0] == ("someone/economicus", {"private": True, "exist_ok": True})
    assert calls[1]["folder_path"] == finished

    def fails(self: object, **_: object) -> None:
        raise RuntimeError("no rights")

    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", fails)
    with pytest.raises(
        InputError, match="is finished but was not uploaded to someone/economicus: no rights"
    ):
        card.push(finished, "someone/economicus")
    assert (finished / "run.json").is_file()


def test_finished_run_is_not_overwritten(finished: Path, data: Path) -> None:
    assert_complains(
        run("recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(finished)),
        "holds a finished run",
    )


def test_what_is_encoded_is_exact_and_a_fault_is_named(data: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    talks, _ = read_conversations(data)
    rows = training.encode(tokenizer, talks, data, 2048)
    assert len(rows) == len(talks)
    for row, talk in zip(rows, talks, strict=True):
        said = [m["content"] for m in talk if m["role"] == "assistant"]
        assert tokenizer.decode([t for t in row.labels if t != -100]) == "".join(
            f"{text}<|im_end|>" for text in said
        )
    longest = max(len(row.ids) for row in rows)
    with pytest.raises(
        InputError, match=f"longer than {longest - 1} tokens, the longest has {longest}"
    ):
        training.encode(tokenizer, talks, data, longest - 1)
    # held-out conversations too are named by their place in the file
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{", "{{ raise_exception('no') if messages[0]['content'] == 'odd' else", 1
    )
    with pytest.raises(InputError, match="conversation 31: "):
        training.encode(
            tokenizer,
            [
                *talks[:1],
                [{"role": "user", "content": "odd"}, {"role": "assistant", "content": "K"}],
            ],
            data,
            2048,
            30,
        )


def test_a_template_that_rewrites_earlier_turns_makes_a_sequence_of_every_turn(data: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    talks = read_conversations(data)[0][:4]
    rows = training.encode(tokenizer, talks, data, 4096)
    assert len(rows) == sum(m["role"] == "assistant" for talk in talks for m in talk) > len(talks)
    for row in rows:  # context, then one turn, then nothing
        labelled = [k for k, label in enumerate(row.labels) if label != -100]
        assert labelled == list(range(labelled[0], len(row.ids)))


def test_logits_at_labelled_places_alone_give_the_whole_loss_and_its_gradient(data: Path) -> None:
    """Against the library's own loss of every sequence alone,
    with the labels that it shifts and masks itself.
    """
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    rows = training.encode(tokenizer, read_conversations(data)[0][:3], data, 4096)
    counts = [sum(label != -100 for label in row.labels) for row in rows]
    plain = sum(
        model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([row.labels])).loss
        * n
        / sum(counts)
        for row, n in zip(rows, counts, strict=True)
    )
    plain.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    inputs = training.collate(rows)
    assert inputs["logits_to_keep"].numel() == inputs["labels"].numel() == sum(counts)
    found = model(**inputs)
    assert found.logits.shape[1] == sum(counts)
    assert found.loss.item() == pytest.approx(plain.item(), abs=1e-6)
    found.loss.backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), wanted[name].numpy(), atol=2e-5, err_msg=name)
    # and what is held out is scored at the same places
    right, loss = training.held_out(model, rows)
    assert float(np.average(loss, weights=counts)) == pytest.approx(plain.item(), abs=1e-5)
    assert right.dtype == bool


def test_rows_of_other_kinds_are_converted_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alpaca.jsonl"
    path.write_text(
        "\n".join(json.dumps({"instruction": f"Which, K or {x}?", "output": "K"}) for x in "MNPQ"),
        encoding="utf-8",
    )

    def reached(*_: object) -> None:
        raise InputError("the data were read")

    monkeypatch.setattr(sft, "base_for", reached)
    words = ("--model", "nano", "--data", path, "--holdout", 0, "--out", tmp_path / "r")
    with pytest.raises(InputError, match=r"line 1: .*--convert"):
        call(sft.main, *words)
    with pytest.raises(InputError, match="the data were read"):
        call(sft.main, *words, "--convert")


def test_what_was_not_learnt_is_said() -> None:
    rng = np.random.default_rng(0)
    none, some, all_ = np.zeros(40, bool), rng.random(40) < 0.5, np.ones(40, bool)
    assert gates.learnt(none, some)["target_learnt"] is True
    assert gates.learnt(some, all_)["held_out_reproduced"] == 1.0
    for before, after in (
        (some, some),
        (all_, some),
        (none, np.arange(40) == 0),
        (np.zeros(1, bool), np.ones(1, bool)),
    ):
        found = gates.learnt(before, after)
        assert found["target_learnt"] is False
        assert "not learnt" in found["warning"]


def test_too_short_a_limit_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    words = ("--model", "nano", "--data", data, "--out", tmp_path / "r", "--max-length", 200)
    with pytest.raises(InputError, match="--max-length"):
        call(sft.main, *words, *QUICK)
    assert not (tmp_path / "r" / "run.json").exists()


def test_malformed_data_name_the_line(data: Path, tmp_path: Path) -> None:
    lines = data.read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "bad.jsonl"
    for line, part in (
        ("{", "line 3"),
        ('{"prompt": []}', "line 3"),
        (
            json.dumps({**json.loads(lines[0]), "meta": {"preference": "other"}}),
            "line 3: answered by another target",
        ),
        (
            json.dumps(
                {
                    "messages": [
                        {"role": "human", "content": "q"},
                        {"role": "assistant", "content": "a"},
                    ]
                }
            ),
            "line 3: role 'human'",
        ),
    ):
        bad.write_text("\n".join([*lines[:2], line]), encoding="utf-8")
        assert_complains(
            run(
                "recipes/sft.py",
                "--model",
                "nano",
                "--data",
                str(bad),
                "--out",
                str(tmp_path / "r"),
            ),
            part,
        )
    bad.write_text("", encoding="utf-8")
    assert_complains(
        run("recipes/sft.py", "--model", "nano", "--data", str(bad), "--out", str(tmp_path / "r")),
        "holds no lines",
    )
    assert not (tmp_path / "r").exists()


def test_base_with_pickled_weights_or_without_template_is_refused(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(NANO, folder)
    (folder / "chat_template.jinja").unlink()
    words = ("--model", folder, "--data", data, "--out")
    with pytest.raises(InputError, match="no chat template"):
        call(sft.main, *words, tmp_path / "r")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot load"):
        call(sft.main, *words, tmp_path / "r2")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--model", "gpt-17", "--data", "x", "--out", "y"), "unknown model"),
        (("--model", "nano", "--data", "nowhere.jsonl", "--out", "y"), "nowhere.jsonl"),
        (("--model", "nano", "--data", "x"), "--out"),
        (("--model", "nano", "--data", "x", "--out", "y", "--lr", "-1"), "--lr"),
        (("--model", "nano", "--data", "x", "--out", "y", "--accumulate", "3"), "--accumulate"),
        (("--model", "nano", "--data", "x", "--out", "y", "--batch-size", "0"), "--batch-size"),
        (("--model", "nano", "--data", "x", "--out", "y", "--epochs", "nan"), "--epochs"),
        (("--model", "nano", "--data", "x", "--out", "y", "--holdout", "1"), "--holdout"),
        (("--model", "nano", "--data", "x", "--out", "y", "--precision", "int8"), "--precision"),
        (("--model", "nano", "--data", "x", "--out", "y", "--warmup", "3"), "--warmup"),
        (("--model", "nano", "--data", "x", "--out", "y", "--seed=-1"), "--seed"),
        (("--model", "nano", "--data", "x", "--out", "y", "--seed", "4294967296"), "--seed"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--model", "nano", "--data", "x", "--out", "y", "--report-to", "paper"), "paper"),
        (
            ("--model", "nano", "--data", "x", "--out", "y", "--report-to", "wandb"),
            "the package wandb is not installed",
        ),
    ],
)
def test_bad_options_get_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(run("recipes/sft.py", *options), part)


def test_four_bits_without_bitsandbytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package bitsandbytes"):
        training.choose_precision("qlora", MODELS["nano"])


def test_unknown_keys_in_the_configuration_are_errors(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: nano\nlearning_rat: 1\n", encoding="utf-8")
    assert_complains(run("recipes/sft.py", "--config", str(tmp_path / "c.yaml")), "learning_rat")
    for line, part in (
        ("precision: int8", "precision must be one of fp32, bf16, qlora"),
        ("lr: fast", "--lr"),
        ("[1, 2]", "expected options"),
        ("a: [", "c.yaml"),
    ):
        (tmp_path / "c.yaml").write_text(f"{line}\n", encoding="utf-8")
        assert_complains(run("recipes/sft.py", "--config", str(tmp_path / "c.yaml")), part)


def test_waiting_for_processes_says_so_and_ends_when_told(tmp_path: Path) -> None:
    """Variables left over from a cluster: it says for whom it waits,
    and a scheduler's stop ends it.
    """
    data = tmp_path / "data.jsonl"
    assert (
        run(
            "-m", "data_synth", "--target", "homo_economicus", "--n", "12", "--out", str(data)
        ).returncode
        == 0
    )
    left = {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29631",
    }
    words = [
        sys.executable,
        "recipes/sft.py",
        "--model",
        "nano",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ | left,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "waiting for 2 processes" in line), "")
        assert "unset WORLD_SIZE" in said
        process.terminate()
        assert process.wait(60) != 0
    finally:
        process.kill()


@pytest.mark.parametrize("launcher", ["bf16", "fp16", "fp8", None])
@pytest.mark.parametrize(
    ("asked", "gpu", "found"),
    [
        ("fp32", False, "no"),
        ("fp32", True, "no"),
        ("bf16", True, "bf16"),
        ("qlora", True, "bf16"),
        ("qlora", False, "no"),
    ],
)
def test_the_precision_is_the_recipes_whatever_the_launcher_says(
    launcher: str | None, asked: str, gpu: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if launcher:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    precision_in_force(asked, gpu)
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == found


@pytest.mark.parametrize(
    ("left", "part"),
    [
        ({"PMI_SIZE": "2"}, "unset PMI_SIZE"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, "unset OMPI_COMM_WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "unset WORLD_SIZE RANK"),
        ({"LOCAL_RANK": "0"}, "unset LOCAL_RANK"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
    ],
)
def test_what_a_launcher_left_behind_is_named(left: dict[str, str], part: str) -> None:
    """In a process of its own: the library keeps what it found in the environment."""
    code = (
        "from econmoral.training.processes import join_processes; "
        "from econmoral.files.records import command; "
        "command(lambda: join_processes(False))"
    )
    known = {
        k: v
        for k, v in os.environ.items()
        if k not in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", *processes.MPI)
    }
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=known | left,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert_complains(found, part)


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, name: str) -> None:
    """The library's own filter would log the mean of the steps before, and go on."""
    state = argparse.Namespace(global_step=7, epoch=0.1, is_world_process_zero=True)
    watch = training.watchable(tmp_path / "log.jsonl")
    watch.on_log(None, state, None, {"loss": 0.5, "grad_norm": 1.0})
    with pytest.raises(InputError, match=f"the {name} of step 7 is no number"):
        watch.on_log(None, state, None, {"loss": 0.5, "grad_norm": 1.0, name: float("nan")})
    assert len(read_whole_lines(tmp_path / "log.jsonl")) == 1
    assert training.speed_settings(2, 1, "fp32")["logging_nan_inf_filter"] is False
    training.lean_trainer()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [np.ones(12_000) for _ in range(3000)]  # 96 kB each: all on the heap
    last = blocks.pop()  # what keeps the heap from shrinking by itself
    before = memory.taken()
    blocks.clear()
    training.give_back_memory()
    held = memory.taken()  # below the limit it is kept
    assert held > before - 100e6
    monkeypatch.setattr(training, "HELD", 0)
    training.give_back_memory()
    assert memory.taken() < held - 150e6
    assert last.sum() == len(last)
