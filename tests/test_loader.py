"""The one loader: a checkpoint or an adapter is opened whole,
or refused in one line that names the cause.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import requests_of
from conftest import ROOT
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

sys.path.insert(0, str(ROOT / "recipes"))
import export
import interpolate

from econmoral.checkpoints.attaching import base_for, check_adapters, model_of
from econmoral.checkpoints.loading import load_checkpoint, load_tokenizer
from econmoral.checkpoints.models import NANO
from econmoral.checkpoints.places import locate, state
from econmoral.checkpoints.weights import weights_sha256
from econmoral.files.records import InputError, read_json, write_json
from eval import parity
from eval.engines.base import Answer, Condition
from eval.engines.with_transformers import Transformers
from eval.measure import draw_problems

Tensors = dict[str, torch.Tensor]
WEIGHTS = load_file(NANO / "model.safetensors")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "a" + "\nsize 2304176\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECONMORAL_CACHE", str(tmp_path / "cache"))


def copy(folder: Path, weights: Tensors | None = None, **config: Any) -> Path:
    """nano under another roof, with other tensors and other configuration."""
    shutil.copytree(NANO, folder)
    if weights is not None:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", read_json(folder / "config.json") | config)
    return folder


def without(part: str) -> Tensors:
    return {name: w for name, w in WEIGHTS.items() if part not in name}


def cut(folder: Path, size: int) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:size])


def more_tokens(folder: Path, token: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    tokenizer.save_pretrained(folder)


def packed(folder: Path) -> None:
    copy(
        folder,
        {k + (".qweight" if "proj" in k else ""): w.contiguous() for k, w in WEIGHTS.items()},
    )


def index(folder: Path, shard: str) -> None:
    copy(folder)
    write_json(
        folder / "model.safetensors.index.json", {"weight_map": dict.fromkeys(WEIGHTS, shard)}
    )


def only(folder: Path, name: str) -> None:
    (copy(folder) / "model.safetensors").rename(folder / name)


def text(folder: Path, content: str | bytes) -> None:
    (copy(folder) / "model.safetensors").write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def spoilt(
    folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], **config: Any
) -> None:
    copy(
        folder,
        WEIGHTS | {n: change(w).contiguous() for n, w in WEIGHTS.items() if name in n},
        **config,
    )


def unwritten(folder: Path, share: float) -> None:
    whole = (copy(folder) / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(
        whole[: int(len(whole) * share)].ljust(len(whole), b"\0")
    )


def twice(folder: Path) -> None:
    index(folder, "model-00001-of-00001.safetensors")
    save_file(
        {n: 2 * w for n, w in WEIGHTS.items()},
        folder / "model-00001-of-00001.safetensors",
        metadata={"format": "pt"},
    )


def shards(folder: Path, more: Tensors, left_over: bool = False) -> None:
    """Two files and their index; the second file, or one of an older download, holds ``more``."""
    copy(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(WEIGHTS)
    parts = [{n: WEIGHTS[n] for n in some} for some in (names[:30], names[30:])]
    files = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    where = {n: file for part, file in zip(parts, files, strict=True) for n in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    parts[1] |= {} if left_over else more
    if left_over:
        parts, files = [*parts, more], [*files, "model-00001-of-00003.safetensors"]
    for part, file in zip(parts, files, strict=True):
        save_file(part, folder / file, metadata={"format": "pt"})


def doubled(part: str) -> Tensors:
    return {name: 2 * w for name, w in WEIGHTS.items() if part in name}


def hole(weight: torch.Tensor) -> torch.Tensor:
    """A matrix of which a third was never written."""
    return torch.cat(
        [weight[: 2 * len(weight) // 3], torch.zeros_like(weight[2 * len(weight) // 3 :])]
    )


def folder_for_weights(folder: Path) -> None:
    (copy(folder) / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def another_tokenizer(folder: Path) -> None:
    """That of a checkpoint with more words."""
    read = read_json(copy(folder) / "tokenizer.json")
    size = len(read["model"]["vocab"]) + len(read["added_tokens"])
    read["model"]["vocab"] |= {f"zq{k}": size + k for k in range(30)}
    write_json(folder / "tokenizer.json", read)


def with_adapter(folder: Path, base: str) -> None:
    copy(folder)
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "base_model_name_or_path": base,
            "r": 4,
            "target_modules": ["q_proj"],
        },
    )
    save_file({"x": torch.ones(1)}, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def own_code(folder: Path, kind: str) -> None:
    copy(
        folder,
        model_type=kind,
        auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    )
    (folder / "mine.py").write_text(
        f"import pathlib; pathlib.Path({str(folder / 'CODE-RAN')!r}).touch()\n"
    )


def template(folder: Path, content: str | None) -> None:
    copy(folder)
    (folder / "chat_template.jinja").unlink() if content is None else (
        folder / "chat_template.jinja"
    ).write_text(content)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a layer's matrix is missing": (
        lambda f: copy(f, without("layers.2.mlp.down_proj")),
        "it lacks 1 of its tensors, first model.layers.2.mlp.down_proj",
    ),
    "a whole layer is missing": (
        lambda f: copy(f, without("layers.4.")),
        "it lacks 12 of its tensors",
    ),
    "the embeddings are missing": (lambda f: copy(f, without("embed_tokens")), "it lacks"),
    "a layer too many": (
        lambda f: copy(f, num_hidden_layers=4, layer_types=["full_attention"] * 4),
        "it has no place for 24 of its tensors, first model.layers.4.",
    ),
    "an unknown tensor": (
        lambda f: copy(f, WEIGHTS | {"model.layers.0.extra.weight": torch.ones(3)}),
        "it has no place for 1",
    ),
    "another width": (
        lambda f: copy(f, intermediate_size=328),
        "it has in another shape 18 of its tensors, first model.layers.0.mlp.down_proj",
    ),
    "a tensor of another shape": (
        lambda f: copy(f, WEIGHTS | {"model.norm.weight": torch.ones(64)}),
        "in another shape 1 of its tensors, first model.norm",
    ),
    "other heads": (lambda f: copy(f, num_attention_heads=8), "it has in another shape"),
    "a head beside the one that is tied": (
        lambda f: copy(f, WEIGHTS | {"lm_head.weight": 2 * WEIGHTS["model.embed_tokens.weight"]}),
        "its weights hold two different ones",
    ),
    "no head where one is promised": (
        lambda f: copy(f, tie_word_embeddings=False),
        "it lacks 1 of its tensors, first lm_head",
    ),
    "8-bit floats": (
        lambda f: spoilt(f, "proj", lambda w: w.to(torch.float8_e4m3fn)),
        r"packed by a quantiser \(model.layers.0.mlp.down_proj",
    ),
    "whole numbers": (
        lambda f: spoilt(f, "up_proj", lambda w: (99 * w).to(torch.int8)),
        "packed by a quantiser",
    ),
    "no numbers": (
        lambda f: spoilt(f, "layers.2.mlp.up_proj", lambda w: w * float("nan")),
        "up_proj.weight holds values that are no finite numbers",
    ),
    "infinity": (
        lambda f: spoilt(f, "layers.1.input_layernorm", lambda w: w / 0),
        "no finite numbers",
    ),
    "a matrix of zeros": (
        lambda f: spoilt(f, "layers.3.mlp.gate_proj", torch.zeros_like),
        "holds nothing but zeros",
    ),
    "a third not written": (lambda f: unwritten(f, 0.67), "it ends in zeros"),
    "the end not written": (lambda f: unwritten(f, 0.995), "it ends in zeros"),
    "weights twice": (twice, "holds its weights twice"),
    "an adapter beside it": (
        lambda f: with_adapter(f, "nano"),
        "holds a checkpoint and an adapter",
    ),
    "an adapter of another base beside it": (
        lambda f: with_adapter(f, "Qwen/Qwen2.5-7B-Instruct"),
        "holds a checkpoint and an adapter",
    ),
    "awq": (
        lambda f: copy(f, quantization_config={"quant_method": "awq", "bits": 4}),
        r"packed by a quantiser \(awq, 4 bits\); take the checkpoint in full",
    ),
    "gptq": (
        lambda f: copy(f, quantization_config={"quant_method": "gptq", "bits": 8}),
        r"packed by a quantiser \(gptq, 8 bits\)",
    ),
    "fp8": (
        lambda f: copy(f, quantization_config={"quant_method": "fp8"}),
        r"packed by a quantiser \(fp8\)",
    ),
    "packed without saying so": (packed, r"packed by a quantiser \(model.layers"),
    "a pointer of git-lfs": (lambda f: text(f, POINTER), "pointer of git-lfs"),
    "cut in the data": (lambda f: cut(copy(f), 1_000_000), "cut short"),
    "cut in the header": (lambda f: cut(copy(f), 500), "cut short"),
    "one byte short": (lambda f: cut(copy(f), 2_304_175), "cut short"),
    "empty": (lambda f: text(f, ""), "cut short or no safetensors"),
    "something else": (
        lambda f: text(f, b"\x10\0\0\0\0\0\0\0" + b"<html>not found</html>"),
        "cut short or no safetensors",
    ),
    "a shard is missing": (
        lambda f: index(f, "model-00001-of-00002.safetensors"),
        "1 of its files are missing, first model-00001-of-00002",
    ),
    "pickled": (
        lambda f: only(f, "pytorch_model.bin"),
        "may run code when it is opened; give a complete checkpoint in safetensors",
    ),
    "gguf": (lambda f: only(f, "nano.Q8_0.gguf"), "is packed by a quantiser"),
    "no weights": (lambda f: only(f, "weights.old"), "it has no weights"),
    "code of its own": (lambda f: own_code(f, "foolm"), "code of its own, which is never run"),
    "unknown architecture": (
        lambda f: copy(f, model_type="baroformer"),
        "does not know its architecture",
    ),
    "a token without embedding": (
        lambda f: more_tokens(copy(f), "<|turn|>"),
        r"1 of its tokens have no embedding, first '<\|turn\|>' \(number (\d+) of \1\)",
    ),
    "two tokens without embedding": (
        lambda f: (more_tokens(copy(f), "<|a|>"), more_tokens(f, "<|b|>")),
        "2 of its tokens have no embedding",
    ),
    "another tokenizer": (another_tokenizer, "of its tokens have no embedding"),
    "a tensor twice": (
        lambda f: shards(f, doubled("embed")),
        "model.embed_tokens.weight twice, in different files",
    ),
    "a file of another download": (
        lambda f: shards(f, doubled("model.norm"), left_over=True),
        "model.norm.weight twice",
    ),
    "a hole": (
        lambda f: spoilt(f, "layers.3.mlp.gate_proj", hole),
        "33 % of the rows of model.layers.3.mlp.gate_proj.weight hold nothing but zeros",
    ),
    "a folder for weights": (folder_for_weights, "it has no weights"),
    "a tokenizer without words": (lambda f: (copy(f) / "tokenizer.json").unlink(), "knows no word"),
    "a template with a byte-order mark": (
        lambda f: template(f, "\ufeff" + (NANO / "chat_template.jinja").read_text()),
        "byte-order mark",
    ),
    "no template": (lambda f: template(f, None), "no chat template"),
    "a template that is none": (lambda f: template(f, "{% for m in messages %}"), "cannot be read"),
    "a broken tokenizer": (
        lambda f: (copy(f) / "tokenizer.json").write_text("{"),
        "cannot load the tokenizer",
    ),
    "a broken configuration": (lambda f: (copy(f) / "config.json").write_text("[]"), "config.json"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_checkpoint_that_is_not_whole_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, part = DAMAGED[name]
    make(tmp_path / "c")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked on the terminal"))
    with pytest.raises(InputError, match=part) as error:
        load_checkpoint(locate(str(tmp_path / "c")), torch.float32)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "c" / "CODE-RAN").exists()


def test_a_head_that_is_the_embeddings_may_stand_beside_them(tmp_path: Path) -> None:
    same = WEIGHTS["model.embed_tokens.weight"].clone()
    for name, config in (("tied", {}), ("untied", {"tie_word_embeddings": False})):
        _, model = load_checkpoint(
            locate(str(copy(tmp_path / name, WEIGHTS | {"lm_head.weight": same}, **config))),
            torch.float32,
        )
        assert torch.equal(
            model.get_output_embeddings().weight, model.get_input_embeddings().weight
        )


@pytest.mark.parametrize("kind", ["foolm", "barformer"])
def test_an_unknown_architecture_is_one_line_for_the_user_too(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own_code(tmp_path / "c", kind)
    with pytest.raises(InputError, match="never run"):
        Transformers(str(tmp_path / "c"), {})
    assert capfd.readouterr() == ("", "")  # nothing of the libraries' own beside it


def test_code_beside_a_known_architecture_is_not_run(tmp_path: Path) -> None:
    own_code(tmp_path / "c", "qwen2")
    _, model = load_checkpoint(locate(str(tmp_path / "c")), torch.float32)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert not (tmp_path / "c" / "CODE-RAN").exists()


def test_a_hash_stands_for_the_weights_alone(tmp_path: Path) -> None:
    same, shards, other, half = (tmp_path / n for n in ("same", "shards", "other", "half"))
    copy(same)
    copy(shards)
    (shards / "model.safetensors").unlink()
    names = sorted(WEIGHTS)
    for number, some in enumerate((names[::2], names[1::2]), start=1):
        save_file(
            {n: WEIGHTS[n] for n in some},
            shards / f"model-0000{number}-of-00002.safetensors",
            metadata={"format": "pt", "x": str(number)},
        )
    changed = {n: w.clone() for n, w in WEIGHTS.items()}
    changed["model.norm.weight"].view(torch.uint8)[7] ^= 1
    copy(other, changed)
    copy(half, {n: w.half() for n, w in WEIGHTS.items()})
    found = [weights_sha256(f) for f in (NANO, same, shards, other, half)]
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3
    assert weights_sha256(other) == found[3]  # from the cache
    write_json(same / "config.json", read_json(same / "config.json") | {"eos_token_id": 0})
    assert weights_sha256(same) == found[0]
    # what is measured depends on the settings beside the weights too
    assert state(str(same)) != state(str(NANO))


# --- adapters


@pytest.fixture
def tuned(adapter: Path, tmp_path: Path) -> Path:
    """A copy of the random adapter, to be spoilt."""
    return Path(shutil.copytree(adapter, tmp_path / "tuned"))


def rewrite(folder: Path, change: Callable[[Tensors], Tensors], **config: Any) -> Path:
    save_file(
        change(load_file(folder / "adapter_model.safetensors")),
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    write_json(folder / "adapter_config.json", read_json(folder / "adapter_config.json") | config)
    return folder


def times(tensors: Tensors, part: str, factor: float) -> Tensors:
    return {name: factor * w if part in name else w for name, w in tensors.items()}


EMBEDDING = "base_model.model.model.embed_tokens.weight"
SPOILT: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "one layer of six": (lambda a: {k: w for k, w in a.items() if "layers.0." in k},
        "not all there: 70 of 84 tensors are missing"),
    "one matrix short": (lambda a: {k: w for k,
        w in a.items() if "layers.3.mlp.up_proj.lora_B" not in k}, "not all there: 1 of 84"),
    "a layer that the base has not": (
        lambda a: a | {k.replace("layers.0.", "layers.7."): w.clone() for k,
            w in a.items() if "layers.0." in k},
        "14 of its tensors belong to no module",
    ),
    "other names": (lambda a: {k.replace("self_attn", "attention"): w for k, w in a.items()},
        "belong to no module"),
    "another base": (lambda a: {k: torch.ones(w.shape[0], 96) if "q_proj.lora_A" in k else w
        for k, w in a.items()}, r"has the shape \[4, 96\]"),
    "not a number": (lambda a: times(a, "layers.2.mlp.up_proj.lora_B", np.nan),
        "no finite numbers"),
    "infinity": (lambda a: times(a, "layers.0.self_attn.o_proj.lora_A", np.inf),
        "no finite numbers"),
    "an end that was never written": (lambda a: times(a, "layers.5.", 0),
        "not all there: .*nothing but zeros"),
    "whole numbers": (lambda a: {k: (99 * w).to(torch.int8) for k, w in a.items()},
        "is packed as int8"),
    "embeddings of its own": (lambda a: a | {EMBEDDING: torch.zeros(1600, 128)},
        "brings embeddings of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_an_adapter_that_is_not_all_there_is_refused_everywhere(
    name: str, tuned: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, part = SPOILT[name]
    rewrite(tuned, change)
    with pytest.raises(InputError, match=part):
        Transformers("nano", {"tuned": tuned})
    for main, words in (
        (export.main, ["--adapter", tuned, "--out", tmp_path / "m"]),
        (parity.main, ["--adapter", tuned]),
        (interpolate.main, ["--adapters", tuned, tuned, "--weight", 0.5, "--out", tmp_path / "i"]),
    ):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        with pytest.raises(InputError, match=part):
            main()
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "i").exists()


def test_the_base_named_explicitly_wins_with_a_warning(
    tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(tuned, dict, base_model_name_or_path="models/Some-7B-Instruct")
    with pytest.raises(InputError, match="was trained on models/Some-7B-Instruct"):
        Transformers("nano", {"tuned": tuned})
    engine = Transformers("nano", {"tuned": tuned}, given=True)
    assert engine.keys == {"tuned": "adapter_0"}
    assert "warning" in capsys.readouterr().err


def test_a_base_that_has_moved_is_known_by_its_weights(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(tuned, dict, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="gone, which is not on this machine; give --model"):
        model_of(tuned)
    (tuned / "run.json").write_text('{"model": "nano"')  # cut off: the configuration alone counts
    with pytest.raises(InputError, match="gone, which is not on this machine"):
        model_of(tuned)
    write_json(tuned / "run.json", {"model": "nano", "weights": {"sha256": weights_sha256(NANO)}})
    assert model_of(tuned) == "nano"
    check_adapters([tuned], locate("nano"))
    assert capsys.readouterr().err == ""


def test_other_weights_under_the_same_name_are_noticed(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = {n: w.clone() for n, w in WEIGHTS.items()}
    moved["model.norm.weight"] *= 1.01
    base = copy(tmp_path / "base", moved)
    rewrite(tuned, dict, base_model_name_or_path=str(base))
    for right in (True, False):
        write_json(
            tuned / "run.json", {"weights": {"sha256": weights_sha256(base if right else NANO)}}
        )
        if right:
            check_adapters([tuned], locate(str(base)))
            assert capsys.readouterr().err == ""
        else:
            with pytest.raises(InputError, match="was trained on other weights of"):
                check_adapters([tuned], locate(str(base)))
            check_adapters([tuned], locate(str(base)), given=True)
            assert "other weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}}, "rope_parameters"),
        ({"num_attention_heads": 8, "num_key_value_heads": 8}, "num_attention_heads: 4, not 8"),
        ({"rms_norm_eps": 1e-3}, "rms_norm_eps"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        # what a library writes, trains with or samples with changes no probability
        ({"transformers_version": "5.16.1", "dtype": "float32", "_name_or_path": "elsewhere"}, ""),
        ({"use_cache": False, "attention_dropout": 0.1, "eos_token_id": 0, "note": "mine"}, ""),
    ],
)
def test_another_configuration_of_the_same_weights_is_noticed(
    changed: dict[str, Any],
    part: str,
    tuned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = copy(tmp_path / "base")
    rewrite(tuned, dict, base_model_name_or_path=str(base))
    record = locate(str(base)).record()
    write_json(tuned / "run.json", {"weights": record})
    twin = Path(shutil.copytree(tuned, tmp_path / "twin"))
    check_adapters([tuned], locate(str(base)))
    write_json(base / "config.json", read_json(base / "config.json") | changed)
    now = locate(str(base)).record()
    assert now["sha256"] == record["sha256"]
    write_json(twin / "run.json", {"weights": now})
    if part:
        with pytest.raises(InputError, match=f"another configuration of .*{part}"):
            check_adapters([tuned], locate(str(base)))
        check_adapters([tuned], locate(str(base)), given=True)
        assert part in capsys.readouterr().err
        options = ["--adapters", tuned, twin, "--weight", 0.5, "--out", tmp_path / "i"]
        monkeypatch.setattr(sys, "argv", ["command", *map(str, options)])
        with pytest.raises(InputError, match=f"different configurations .*{part}"):
            interpolate.main()
    # a record from before there were configurations
    write_json(tuned / "run.json", {"weights": {"sha256": record["sha256"]}})
    check_adapters([tuned], locate(str(base)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json", "several"])
def test_another_chat_template_beside_the_adapter_is_said(
    tuned: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = base_for("nano", [tuned])
    own = (NANO / "chat_template.jinja").read_text()
    for content, warned in ((own, False), (own + "\n", False), ("{{ 'Be kind.' }}" + own, True)):
        several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": content}]
        if where.endswith("jinja"):
            (tuned / where).write_text(content)
        else:
            told = {"chat_template": several if where == "several" else content}
            write_json(tuned / "tokenizer_config.json", told)
        check_adapters([tuned], place, load_tokenizer(place))
        assert ("another chat template" in capsys.readouterr().err) == warned


# --- merging


def scores(engine: Transformers, arm: Condition) -> np.ndarray:
    requests = requests_of(
        draw_problems("drawn", 2, 1, [], 0, ("payoffs",)), arm, "direct", "given", 1
    )
    return np.concatenate(
        [np.concatenate([a.probabilities, a.valid]) for a in engine.score(requests, arm, 0)]
    )


def test_merging_leaves_no_adapter_behind(adapter: Path) -> None:
    engine = Transformers("nano", {"tuned": adapter}, apart=True)
    base, beside = scores(engine, Condition("base")), scores(engine, Condition("tuned", "tuned"))
    engine.merge("tuned")
    assert not isinstance(engine.model, PeftModel)
    assert not any("lora" in name for name, _ in engine.model.named_modules())
    merged = scores(engine, Condition("merged"))
    np.testing.assert_allclose(merged, beside, atol=1e-4)
    assert np.abs(merged - base).max() > 0.05


def halved(self: Transformers, name: str) -> None:
    for module in self.model.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling[self.keys[name]] /= 2
    merge(self, name)


merge = Transformers.merge


@pytest.mark.parametrize(
    "spoil", [lambda self, name: None, halved], ids=["not merged", "merged by half"]
)
def test_a_spoilt_merge_fails(
    spoil: Any, adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parity, "COMPARABLE", 0.0)
    monkeypatch.setattr(parity, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["parity", "--adapter", str(adapter), "--items", "2"])
    monkeypatch.setattr(Transformers, "merge", spoil)
    with pytest.raises(SystemExit) as error:
        parity.main()
    assert error.value.code == 1
    assert "above the tolerance of 0.02: merged in memory" in capsys.readouterr().err


def test_choices_and_validity_are_compared_apart() -> None:
    reference = [Answer(np.array([0.75, 0.25]), np.array([8e-7]))]
    found = parity.difference(reference, [Answer(np.array([0.125, 0.875]), np.array([8e-7]))])
    assert found["largest"] == pytest.approx(0.625)
    assert found["largest_of_validity"] == 0
    found = parity.difference(reference, [Answer(np.array([0.75, 0.25]), np.array([0.8]))])
    assert (found["largest"], found["largest_of_validity"]) == (0, pytest.approx(0.8, abs=1e-5))
    assert parity.difference(reference, [Answer(None, np.zeros(1))])["largest"] == 1


def test_an_adapter_that_changes_nothing_is_not_exported(
    empty_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["export.py", "--adapter", str(empty_adapter), "--out", str(tmp_path / "m")]
    )
    with pytest.raises(InputError, match="changes no weight"):
        export.main()
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"do_sample": False, "temperature": 0.9, "top_p": 0.6},
        {"do_sample": False, "num_beams": 1, "early_stopping": True},
        {"do_sample": False, "top_k": 7},
        {"do_sample": False, "typical_p": 0.5},
    ],
)
def test_generation_settings_that_cannot_be_saved_are_mended(
    settings: dict[str, Any],
    tuned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = copy(tmp_path / "base")
    write_json(
        base / "generation_config.json", read_json(base / "generation_config.json") | settings
    )
    rewrite(tuned, dict, base_model_name_or_path=str(base))
    monkeypatch.setattr(
        sys, "argv", ["export.py", "--adapter", str(tuned), "--out", str(tmp_path / "m")]
    )
    export.main()
    assert "were left out of the export" in capsys.readouterr().out
    saved = read_json(tmp_path / "m" / "generation_config.json")
    assert saved["eos_token_id"] == 2
    assert "temperature" not in saved
