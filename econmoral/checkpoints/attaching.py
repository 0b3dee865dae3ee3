"""Adapters on their base: the base that they were made for, every tensor in its place."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import (
    LARGEST_CONFIGURATION,
    WEIGHTS,
    adapter_base,
    check_adapter,
)
from econmoral.checkpoints.models import MODELS, find_model
from econmoral.checkpoints.places import Place, architecture, brief, changed_setting, locate, warn
from econmoral.checkpoints.weights import read_header, weights_sha256
from econmoral.files.records import InputError, plain, read_json

ADAPTER_TYPES = {"torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"}


def _record(folder: Path) -> dict[str, Any]:
    """An adapter's run.json; empty where there is none that can be read."""
    path = folder / "run.json"
    if path.is_file() and path.stat().st_size <= 16 * LARGEST_CONFIGURATION:
        with suppress(InputError):
            run = read_json(path)
            return run if isinstance(run, dict) else {}
    return {}


def recorded_base(folder: Path) -> dict[str, Any]:
    """What an adapter's run.json says of the weights it was trained on.

    Empty where it says nothing.
    """
    found = _record(folder).get("weights")
    return found if isinstance(found, dict) else {}


def model_of(folder: Path) -> str:
    """The model that an adapter was trained on, by a name of the table where it has one: what its
    run.json calls it, else what its configuration does, which for a folder ends with the folder.

    Raises InputError where neither is a known model, a hub id or a folder of this machine.
    """
    base, named = adapter_base(folder), _record(folder).get("model")
    for name in (*([named] if isinstance(named, str) else []), base):
        with suppress(InputError):
            source = find_model(name).source
            return next((known for known, model in MODELS.items() if model.source == source), name)
    raise InputError(
        f"{folder} was trained on {plain(base)}, which is not on this machine; give --model with "
        "its name or folder"
    )


def base_for(model: str, adapters: Iterable[Path]) -> Place:
    """Where the base of adapters lies: packaged weights where one of them was trained on those."""
    return locate(model, packaged=any("package" in recorded_base(folder) for folder in adapters))


def check_recorded(folder: Path, place: Place, given: bool) -> None:
    """Hold the hash of the base that an adapter was trained on, and the settings that it was
    computed with, against the base at hand.

    given : the base was named explicitly, which wins, with a warning.  Raises InputError when it
    was not and they differ.
    """
    recorded = recorded_base(folder)
    if "sha256" in recorded and recorded["sha256"] != (here := weights_sha256(place.folder)):
        what = (
            f"{folder} was trained on other weights of {place.source} "
            f"({str(recorded['sha256'])[:12]}...) than these ({here[:12]}...)"
        )
    elif "configuration" in recorded and (
        change := changed_setting(recorded["configuration"], architecture(place.folder))
    ):
        what = f"{folder} was trained on another configuration of {place.source} ({change})"
    else:
        return
    if not given:
        raise InputError(
            f"{what}; give --model with the folder of the right one, or name this one explicitly "
            "to measure it there all the same"
        )
    warn(f"{what}; its figures stand for this combination")


def _expected(folder: Path, base: Path) -> dict[str, list[int]]:
    """Shape of every tensor that an adapter of this configuration has on this base."""
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    plan = PeftConfig.from_pretrained(str(folder))
    plan.inference_mode = True
    bare.name_or_path = plan.base_model_name_or_path  # else PEFT warns of the cache's folder
    model = get_peft_model(bare, plan, low_cpu_mem_usage=True)
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def check_fit(folder: Path, place: Place) -> None:
    """Hold an adapter's tensors against the modules of a base, none of whose weights are read.

    Raises InputError unless every module that the configuration names has its tensors and every
    tensor its module.
    """
    check_adapter(folder)
    try:
        expected = _expected(folder, place.folder)
    except Exception as error:  # PEFT raises many kinds for a configuration that finds no module
        raise InputError(f"{folder} does not fit {place.source}: {brief(error)}") from None
    found = {name: entry["shape"] for name, entry in read_header(folder / WEIGHTS)[0].items()}
    if own := sorted(n for n in found.keys() - expected.keys() if "embed" in n or "lm_head" in n):
        raise InputError(
            f"{folder} does not fit {place.source}: it brings embeddings of its own "
            f"({plain(own[0])}), for a vocabulary that was extended in training; give --model with "
            "the checkpoint that has these tokens"
        )
    if left := sorted(found.keys() - expected.keys()):
        raise InputError(
            f"{folder} does not fit {place.source}: {len(left)} of its tensors belong to no "
            f"module, first {plain(left[0])}"
        )
    if lost := sorted(expected.keys() - found.keys()):
        raise InputError(
            f"{folder} is not all there: {len(lost)} of {len(expected)} tensors are missing, first "
            f"{plain(lost[0])}; copy it again"
        )
    _check_adapter_values(folder)
    if other := sorted(n for n in found if found[n] != expected[n]):
        raise InputError(
            f"{folder} does not fit {place.source}: {plain(other[0])} has the shape "
            f"{found[other[0]]}, the base asks for {expected[other[0]]}; it was trained on another "
            "base"
        )


def _check_adapter_values(folder: Path) -> None:
    """Raises InputError for tensors that are no numbers, or that no training leaves behind.

    LoRA's A is drawn at random, so that one of zeros was never written.  B may be zero.
    """
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            if str(tensor.dtype) not in ADAPTER_TYPES:
                raise InputError(
                    f"{folder}: {plain(name)} is packed as "
                    f"{str(tensor.dtype).removeprefix('torch.')}; "
                    "take the adapter as it was trained"
                )
            if not tensor.isfinite().all():
                raise InputError(
                    f"{folder}: {plain(name)} holds values that are no finite numbers; the "
                    "training diverged or the file is damaged"
                )
            if ".lora_A." in name and not tensor.any():
                raise InputError(
                    f"{folder} is not all there: {plain(name)} holds nothing but zeros, as an "
                    "interrupted download leaves it; copy it again"
                )


def check_adapters(
    adapters: Iterable[Path], place: Place, tokenizer: Any = None, given: bool = False
) -> None:
    """Everything that can be said of adapters before the base is loaded: safe, whole, of this base.

    Raises InputError; warns of another base that was named explicitly and of a chat template that
    is not the base's.
    """
    for folder in adapters:
        made_for = adapter_base(folder)
        if not _same(folder, made_for, place):
            if not given:
                raise InputError(
                    f"{folder} was trained on {plain(made_for)}, not on {place.source}; give "
                    f"--model {plain(made_for)}"
                )
            warn(
                f"{folder} says that it was trained on {made_for}; it is run on {place.source}, as "
                "asked"
            )
        check_fit(folder, place)
        check_recorded(folder, place, given)
        template = _template(folder)
        if (
            tokenizer is not None
            and template is not None
            and template.strip() != str(tokenizer.chat_template).strip()
        ):
            warn(f"{folder} brings another chat template than {place.source}; the base's is used")


def _same(folder: Path, made_for: str, place: Place) -> bool:
    """Whether a base is the one that an adapter was trained on, by name, by place, or, where a
    folder has moved since, by the weights themselves.
    """
    with suppress(InputError):
        if find_model(made_for).source == place.source:
            return True
    if Path(made_for).resolve() == Path(place.source).resolve():
        return True
    recorded = recorded_base(folder).get("sha256")
    return recorded is not None and recorded == weights_sha256(place.folder)


def _template(folder: Path) -> str | None:
    """The chat template that lies beside an adapter."""
    with suppress(OSError, UnicodeDecodeError):
        if (folder / "chat_template.jinja").is_file():
            return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    with suppress(InputError, OSError):
        found = read_json(folder / "tokenizer_config.json")
        text = found.get("chat_template") if isinstance(found, dict) else None
        if isinstance(text, list):  # several, with names
            named = {t.get("name"): t.get("template") for t in text if isinstance(t, dict)}
            text = named.get("default")
        return text if isinstance(text, str) else None
    return None


def attach(model: Any, adapters: dict[str, Path], source: str, trainable: bool = False) -> Any:
    """The model with adapters (name -> folder) that ``check_adapters`` has passed.

    The model itself where there are none.  trainable : the adapters are to be trained further.
    """
    from peft import PeftModel

    for name, folder in adapters.items():
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(
                    str(folder), adapter_name=name, is_trainable=trainable, use_safetensors=True
                )
            else:
                model = PeftModel.from_pretrained(
                    model,
                    str(folder),
                    adapter_name=name,
                    is_trainable=trainable,
                    use_safetensors=True,
                )
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise InputError(f"{folder} does not fit {source}: {brief(error)}") from None
    return model
