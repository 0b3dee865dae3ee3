"""The recipe: it learns what it was given, notices when it does not, continues where it stopped."""

from __future__ import annotations

import argparse
import json
import os
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
from conftest import ROOT, assert_complains, run
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoTokenizer

sys.path.insert(0, str(ROOT / "recipes"))
import sft

from econmoral.chat import prompt_text, turn_text
from econmoral.checkpoints import weights_sha256
from econmoral.models import MODELS, NANO
from econmoral.records import InputError, read_json, read_lines, sha256

QUICK = ("--epochs", "2", "--batch-size", "8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "economicus.jsonl"
    assert run("-m", "data_synth", "--preference", "homo_economicus", "--n", "32", "--out", str(path)).returncode == 0
    return path


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "economicus"
    before = sha256(NANO)
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"  # what a launcher without our configuration hands down
    result = run("recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(out), *QUICK)
    del os.environ["ACCELERATE_MIXED_PRECISION"]
    assert result.returncode == 0, result.stderr
    assert sha256(NANO) == before
    return out


def test_run_leaves_adapter_card_log_and_manifest(finished: Path, data: Path) -> None:
    about = read_json(finished / "run.json")
    assert about["inputs"]["data"]["sha256"] == sha256(data)
    assert about["preference"] == "homo_economicus"
    assert about["mixed_precision"] == "no"  # whatever the launcher says; a continued run without it ends with the same bits
    assert about["weights"] == {"source": str(NANO), "sha256": weights_sha256(NANO)}
    assert about["gates"]["labels_checked"] == 32
    assert about["gates"]["base_unchanged"] is True
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    trained_on = [row for _, row in read_lines(data)][:-3]  # a tenth is held out
    texts = [tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False).rstrip("\n") for row in trained_on]
    assert about["tokens"] == 2 * sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert about["gates"]["adapter_tensors_moved"] > 0
    assert about["gates"]["largest_change_of_log_probability"] > 1e-3
    assert about["gates"]["held_out_examples"] == 3
    log = [row for _, row in read_lines(finished / "log.jsonl")]
    assert [row["epoch"] for row in log if "eval_loss" in row] == [row["epoch"] for row in log if "eval_reproduced" in row] == [1, 2]
    assert all(row["loss"] > 0 for row in log if "loss" in row)
    front = yaml.safe_load((finished / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == about["gates"]["held_out_reproduced"]
    assert not list(finished.rglob("*.bin"))
    assert not (finished / "checkpoints").exists()
    weights = load_file(finished / "adapter_model.safetensors")
    assert any(w.abs().max() > 0 for name, w in weights.items() if "lora_B" in name)


def test_killed_run_continues_to_the_same_adapter(finished: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(out), *QUICK]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 200
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.time() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "run.json").exists()
    assert_complains(run(*command[1:], "--seed", "1"), "other settings")
    result = run(*command[1:])
    assert result.returncode == 0, result.stderr
    assert read_json(out / "run.json")["resumed"] is True
    whole, continued = (load_file(f / "adapter_model.safetensors") for f in (finished, out))
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_full_disk_is_one_line_and_the_run_continues(data: Path, tmp_path: Path) -> None:
    words = [sys.executable, "recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(tmp_path / "r"), "--epochs", "1"]
    # files may not grow beyond 300 kB: fails where a full disk fails
    result = subprocess.run(["bash", "-c", 'ulimit -f 300; exec "$@"', "bash", *words], cwd=ROOT, capture_output=True, text=True)
    assert_complains(result, "cannot be written", "run the same command again")
    assert not (tmp_path / "r" / "run.json").exists()
    assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 0
    assert (tmp_path / "r" / "adapter_model.safetensors").is_file()


def test_a_checkpoint_cut_short_is_not_continued(tmp_path: Path) -> None:
    args, settings = argparse.Namespace(out=tmp_path), {"seed": "0"}
    assert sft.prepare_folder(args, settings) is None
    for name, whole in (("checkpoint-4", True), ("checkpoint-12", True), ("checkpoint-20", False)):
        (tmp_path / "checkpoints" / name).mkdir()
        if whole:
            (tmp_path / "checkpoints" / name / "trainer_state.json").write_text("{}")
    assert sft.prepare_folder(args, settings) == str(tmp_path / "checkpoints" / "checkpoint-12")
    assert not (tmp_path / "checkpoints" / "checkpoint-20").exists()
    with pytest.raises(InputError, match="other settings"):
        sft.prepare_folder(args, {"seed": "1"})


def test_upload_happens_only_when_asked_and_loses_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda self, repository, **named: calls.append((repository, named)))
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", lambda self, **named: calls.append(named))
    sft.push(finished, "someone/economicus")
    assert calls[0] == ("someone/economicus", {"private": True, "exist_ok": True})
    assert calls[1]["folder_path"] == finished

    def fails(self: object, **_: object) -> None:
        raise RuntimeError("no rights")

    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", fails)
    with pytest.raises(InputError, match="is finished but was not uploaded to someone/economicus: no rights"):
        sft.push(finished, "someone/economicus")
    assert (finished / "run.json").is_file()


def test_finished_run_is_not_overwritten(finished: Path, data: Path) -> None:
    assert_complains(run("recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(finished)), "holds a finished run")


def test_only_exact_labels_pass() -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    messages, answer = [{"role": "user", "content": "Your plan?"}], "Answer: K T"
    prompt, turn = prompt_text(tokenizer, messages), turn_text(tokenizer, messages, answer)
    start = len(tokenizer(prompt)["input_ids"])
    ids = tokenizer(prompt + turn + "\n")["input_ids"]
    right = {"input_ids": ids, "labels": [-100] * start + ids[start:]}
    examples = [(messages, answer)]

    def check(row: dict[str, list[int]], examples: list[tuple[list[dict[str, str]], str]] = examples, limit: int = 100) -> Dataset:
        return sft.exact_labels(Dataset.from_list([row]), examples, tokenizer, limit)[0]

    kept = [t for t in check(right)[0]["labels"] if t != -100]
    assert tokenizer.decode(kept) == "Answer: K T<|im_end|>"  # the line break after it is not trained on
    with pytest.raises(InputError, match="labels decode to"):
        check({**right, "labels": ids})
    with pytest.raises(InputError, match="labels decode to"):
        check({**right, "labels": [-100] * len(ids)})
    with pytest.raises(InputError, match="different tokens"):
        check({"input_ids": ids[:-3], "labels": right["labels"][:-3]})
    with pytest.raises(InputError, match="goes on after the answer"):
        check({"input_ids": ids + ids, "labels": right["labels"] + ids})
    with pytest.raises(InputError, match="1 of 2 examples"):
        check(right, examples * 2)
    with pytest.raises(InputError, match="1 of 1 examples are longer than --max-length 10"):
        check(right, limit=10)


def test_what_was_not_learnt_is_said() -> None:
    rng = np.random.default_rng(0)
    none, some, all_ = np.zeros(40, bool), rng.random(40) < 0.5, np.ones(40, bool)
    assert sft.learnt(none, some)["target_learnt"] is True
    assert sft.learnt(some, all_)["held_out_reproduced"] == 1.0
    for before, after in ((some, some), (all_, some), (none, np.arange(40) == 0), (np.zeros(1, bool), np.ones(1, bool))):
        found = sft.learnt(before, after)
        assert found["target_learnt"] is False
        assert "not learnt" in found["warning"]


def test_too_short_a_limit_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    result = run("recipes/sft.py", "--model", "nano", "--data", str(data), "--out", str(tmp_path / "r"), "--max-length", "200", *QUICK)
    assert_complains(result, "--max-length")
    assert not (tmp_path / "r" / "run.json").exists()


def test_malformed_data_name_the_line(data: Path, tmp_path: Path) -> None:
    lines = data.read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "bad.jsonl"
    for line, part in (
        ("{", "line 3"),
        ('{"prompt": []}', "line 3"),
        (json.dumps({**json.loads(lines[0]), "meta": {"preference": "other"}}), "mixes preferences"),
    ):
        bad.write_text("\n".join([*lines[:2], line]), encoding="utf-8")
        assert_complains(run("recipes/sft.py", "--model", "nano", "--data", str(bad), "--out", str(tmp_path / "r")), part)
    bad.write_text("", encoding="utf-8")
    assert_complains(run("recipes/sft.py", "--model", "nano", "--data", str(bad), "--out", str(tmp_path / "r")), "holds no lines")
    assert not (tmp_path / "r").exists()


def test_base_with_pickled_weights_or_without_template_is_refused(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(NANO, folder)
    (folder / "chat_template.jinja").unlink()
    assert_complains(run("recipes/sft.py", "--model", str(folder), "--data", str(data), "--out", str(tmp_path / "r")), "no chat template")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert_complains(run("recipes/sft.py", "--model", str(folder), "--data", str(data), "--out", str(tmp_path / "r2")), "cannot load")


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
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--model", "nano", "--data", "x", "--out", "y", "--report-to", "paper"), "paper"),
        (("--model", "nano", "--data", "x", "--out", "y", "--report-to", "wandb"), "the package wandb is not installed"),
    ],
)
def test_bad_options_get_one_line(options: tuple[str, ...], part: str) -> None:
    assert_complains(run("recipes/sft.py", *options), part)


def test_four_bits_without_bitsandbytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sft, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package bitsandbytes"):
        sft.choose_precision("qlora", MODELS["nano"])


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
