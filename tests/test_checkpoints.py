"""Real checkpoints' names, architectures and templates, on tiny twins of them; several processes.

A hub that is not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import LIMIT, ROOT, assert_complains, call, run
from hub import fill_cache, serve
from safetensors.torch import load_file
from transformers import AutoTokenizer
from twins import STYLES, TEMPLATES, make_twin

sys.path.insert(0, str(ROOT / "recipes"))
import sft

from econmoral.checkpoints.models import MODELS, NANO, Model, find_model
from econmoral.files.records import InputError, read_json, read_lines
from econmoral.text.chat import prompt_text, turn_text
from econmoral.text.conversations import read_conversations, tokenise
from econmoral.training.trainer import count_held_out

NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "economicus.jsonl"
    assert (
        run(
            "-m", "data_synth", "--preference", "homo_economicus", "--n", "40", "--out", str(path)
        ).returncode
        == 0
    )
    return path


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("twins")
    return {style: make_twin(style, folder / style) for style in ("qwen2", "llama")}


def train(monkeypatch: pytest.MonkeyPatch, *options: object) -> Path:
    """The recipe in this process; the run's folder."""
    monkeypatch.setattr(sys, "argv", ["sft.py", *map(str, options)])
    sft.main()
    return Path(str(options[options.index("--out") + 1]))


@pytest.mark.parametrize(
    "style", ["qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3", "llama3_1", "llama3_2"]
)
def test_training_and_measurement_render_the_same_bytes(style: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = (TEMPLATES / f"{style}.jinja").read_text(encoding="utf-8")
    messages, answer = (
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Your plan?"}],
        "50 * 0.6 = 30\nAnswer: K T",
    )
    prompt, turn = prompt_text(tokenizer, messages), turn_text(tokenizer, messages, answer)
    whole = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": answer}],
        tokenize=False,
        date_string="26 Jul 2024",
    )
    assert (prompt + turn).rstrip("\n") == whole.rstrip("\n")
    assert turn.startswith(answer + "<|")
    assert prompt == prompt_text(tokenizer, messages)
    assert prompt.endswith("</think>\n\n") == (style == "qwen3")


@pytest.mark.parametrize(
    ("template", "part"),
    [
        (
            "{{ messages[0]['content'] }}{% if add_generation_prompt %}>>{% endif %}",
            "does not write the assistant's text",
        ),
        (
            "{% for m in messages %}[{{ m['content'] | trim | upper }}]{% endfor %}",
            "does not write the assistant's text",
        ),
        (
            "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
            "does not end the assistant's turn",
        ),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m.nothing.here }}{% endfor %}", "refuses this conversation"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses this conversation"),
        ("", "no chat template"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(template: str, part: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=part):
        turn_text(tokenizer, [{"role": "user", "content": "Your plan? "}], "Answer: K T")


@pytest.mark.parametrize(
    "style", [pytest.param(s, marks=pytest.mark.slow) if s == "qwen3" else s for s in STYLES]
)
def test_every_architecture_learns_by_the_same_recipe(
    style: str, twins: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--lr", 5e-3, "--rank", 8, "--batch-size", 4, "--holdout", 0.25)
    rows = [row for _, row in read_lines(data)]
    base = twins.get(style) or make_twin(style, tmp_path / "twin", rows[:16])
    out = train(monkeypatch, "--model", base, "--data", data, "--out", tmp_path / "r", *options)
    gates = read_json(out / "run.json")["gates"]
    assert gates["base_unchanged"]
    # five layers, seven linear maps, two matrices
    assert gates["adapter_tensors_moved"] == 6 * 7 * 2
    # the built-in weights know the pages: there is little left to learn
    assert gates["held_out_loss"] < 0.9 * gates["held_out_loss_of_base"]


def environment(home: Path, endpoint: str = NOWHERE) -> dict[str, str]:
    return {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint}


def make(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT
    )


@pytest.mark.slow
def test_the_users_own_commands_on_a_filled_cache(twins: dict[str, Path], tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    fill_cache(tmp_path / "home", "Qwen/Qwen2.5-7B-Instruct", twins["qwen2"])
    words = ("MODEL=qwen2.5-7b", "N=20", f"RUN={tmp_path / 'run'}", f"DATA={tmp_path / 'd.jsonl'}")
    result = make("sft", *words, env=env)
    assert result.returncode == 0, result.stderr
    assert (
        read_json(tmp_path / "run" / "adapter_config.json")["base_model_name_or_path"]
        == "Qwen/Qwen2.5-7B-Instruct"
    )
    measured = subprocess.run(
        [sys.executable, "-m", "eval.games", "--adapter", str(tmp_path / "run"), "--items", "2",
            "--pairs", "1"],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    assert {row["arm"] for row in read_json(tmp_path / "run" / "eval" / "summary.json")} >= {
        "base",
        "run",
    }


def test_the_users_own_commands_on_a_hub(
    twins: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    with serve(
        {"meta-llama/Llama-3.1-8B-Instruct": twins["llama"]},
        gated=("meta-llama/Llama-3.2-1B-Instruct",),
    ) as endpoint:
        env = environment(tmp_path / "home", endpoint)
        words = [
            str(Path(sys.executable).with_name("accelerate")),
            "launch",
            "recipes/sft.py",
            "--data",
            str(data),
            "--out",
            str(tmp_path / "run"),
        ]
        result = subprocess.run(
            [*words, "--model", "llama-3.1-8b", "--epochs", "1"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "run" / "adapter_model.safetensors").is_file()
        for name, part in (
            ("llama-3.2-1b", "is gated"),
            ("llama-3.2-3b", "the hub has no checkpoint"),
        ):
            result = subprocess.run(
                [sys.executable, "recipes/sft.py", "--model", name, "--data", str(data), "--out",
                    str(tmp_path / "none")],
                cwd=ROOT, env=env, capture_output=True, text=True,
            )  # fmt: skip
            assert_complains(result, part)


def test_without_cache_or_network_there_is_one_line(tmp_path: Path) -> None:
    result = make(
        "sft",
        "MODEL=qwen2.5-7b",
        "N=20",
        f"RUN={tmp_path / 'run'}",
        f"DATA={tmp_path / 'd.jsonl'}",
        env=environment(tmp_path / "home"),
    )
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(
        "error: Qwen/Qwen2.5-7B-Instruct is not in this machine's cache and the hub cannot be "
        "reached"
    )
    assert not (tmp_path / "run").exists()


def difference(a: Path, b: Path) -> float:
    """Largest difference of two adapters, relative to the largest weight."""
    x, y = (load_file(f / "adapter_model.safetensors") for f in (a, b))
    assert x.keys() == y.keys()
    return float(max((x[k] - y[k]).abs().max() for k in x) / max(w.abs().max() for w in x.values()))


@pytest.mark.slow
def test_two_processes_and_accumulation_equal_the_big_batch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 32 to train on and batches of 8: nothing is left over, which accelerate would fill up with
    # repeated examples
    options = ("--model", "nano", "--data", data, "--epochs", 2, "--lr", 1e-3, "--holdout", 0.2)
    one = train(monkeypatch, *options, "--out", tmp_path / "one", "--batch-size", 8)
    accumulated = train(
        monkeypatch,
        *options,
        "--out",
        tmp_path / "accumulated",
        "--batch-size",
        8,
        "--accumulate",
        2,
    )
    launch = [
        str(Path(sys.executable).with_name("accelerate")),
        "launch",
        "--config_file",
        "recipes/launch/ddp.yaml",
        "--num_processes",
        "2",
    ]
    command = [
        *launch,
        "recipes/sft.py",
        *map(str, options),
        "--out",
        str(tmp_path / "two"),
        "--batch-size",
        "4",
        "--processes",
        "2",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert result.returncode == 0, result.stderr
    other = train(
        monkeypatch, *options, "--out", tmp_path / "other", "--batch-size", 8, "--seed", 1
    )
    assert difference(one, accumulated) < 0.01
    assert difference(one, tmp_path / "two") < 0.01
    assert difference(one, other) > 0.1


def test_training_stops_when_the_held_out_loss_no_longer_falls(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = train(
        monkeypatch,
        "--model",
        "nano",
        "--data",
        data,
        "--out",
        tmp_path / "r",
        "--epochs",
        9,
        "--lr",
        0.03,
        "--batch-size",
        8,
    )
    losses = [row["eval_loss"] for _, row in read_lines(out / "log.jsonl") if "eval_loss" in row]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + sft.PATIENCE < 9, losses
    # what it cost is what was trained, not what was asked for
    tokenizer, talks = AutoTokenizer.from_pretrained(NANO), read_conversations(data)[0]
    split = len(talks) - count_held_out(0.1, len(talks))
    once = sum(len(s.ids) for talk in talks[:split] for s in tokenise(tokenizer, talk))
    assert read_json(out / "run.json")["tokens"] == len(losses) * once


@pytest.mark.slow
def test_a_launch_that_silently_runs_one_process_stops(data: Path, tmp_path: Path) -> None:
    launch = ["-m", "accelerate.commands.launch", "--quiet", "--cpu", "--num_processes", "2"]
    words = ["--model", "nano", "--data", str(data), "--out", str(tmp_path / "r")]
    result = run(*launch, "recipes/sft.py", *words, "--processes", "2")
    assert result.returncode != 0  # the launcher's own code
    assert "error: 2 processes were asked for, 1 are running" in result.stderr
    assert "Traceback" not in result.stderr


def test_fewer_processes_than_asked_for_stop(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 processes were asked for, 1 are running"):
        call(sft.main, "--model", "nano", "--data", data, "--out", tmp_path / "r", "--processes", 2)


def test_sequences_laid_end_to_end_do_not_see_one_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass takes as many conversations as fit into memory:
    the losses are those of one conversation a pass.
    """
    losses = []
    for accumulate in (8, 1):
        options = ("--epochs", 1, "--batch-size", 8, "--accumulate", accumulate)
        out = train(
            monkeypatch,
            "--model",
            "nano",
            "--data",
            data,
            "--out",
            tmp_path / str(accumulate),
            *options,
        )
        losses.append(
            torch.tensor([row["loss"] for _, row in read_lines(out / "log.jsonl") if "loss" in row])
        )
    assert torch.allclose(losses[0], losses[1], rtol=0.02), losses


def test_precision_follows_the_memory_of_the_gpu() -> None:
    sizes = {"qwen2.5-7b": (24, 48, 80), "qwen2.5-14b": (24, 48, 80), "qwen2.5-32b": (48, 80)}
    chosen = {
        (name, size): MODELS[name].precision(size) for name, many in sizes.items() for size in many
    }
    assert [chosen["qwen2.5-7b", s] for s in (24, 48, 80)] == ["bf16", "bf16", "bf16"]
    assert [chosen["qwen2.5-14b", s] for s in (24, 48, 80)] == ["qlora", "bf16", "bf16"]
    assert [chosen["qwen2.5-32b", s] for s in (48, 80)] == ["qlora", "bf16"]
    with pytest.raises(InputError, match="does not fit a GPU of 24 GB"):
        MODELS["llama-3.3-70b"].precision(24)
    assert MODELS["llama-3.3-70b"].precision(80) == "qlora"
    assert Model("someone/else", "").precision(8) == "bf16"


def test_every_entry_is_found_by_name_and_by_hub_id() -> None:
    for name, model in MODELS.items():
        assert find_model(name) == model
        assert find_model(model.source) == model
