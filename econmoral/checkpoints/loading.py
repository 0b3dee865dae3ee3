"""One loader for bases, used by everything that opens a checkpoint: whole, or not at all and one
line.

``places.locate`` finds (or fetches) a checkpoint's folder, ``load_checkpoint`` opens it,
``attaching.attach`` puts adapters on it.  A number from weights that are not all there looks like
any other number, so whatever is missing, left over, cut short, packed by a quantiser or of another
shape is refused.  A checkpoint's own code is never run and nothing is ever asked on the terminal.
What a checkpoint holds is known by a hash of its weights, which the recipe records and measurement
compares.

The libraries are imported late: bad input is reported before they are loaded.
"""

from __future__ import annotations

import math
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from econmoral.checkpoints.places import Place, brief
from econmoral.checkpoints.weights import FLOATS, check_end, read_header
from econmoral.files.records import InputError, plain, read_json
from econmoral.text.chat import check_template

ZERO_ROWS = 0.2  # share of a matrix's rows that may be empty
UNPACK = (
    "take the checkpoint in full precision that it was made from (--precision qlora quantises "
    "that as it is loaded)"
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
        check_end(file)
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
        raise InputError(f"cannot load the tokenizer of {place.source}: {brief(error)}") from None
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
        raise InputError(f"cannot load {place.source}: {brief(error)}") from None
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


def precision_in_force(precision: str, gpu: bool) -> None:
    """Keep the launcher's own default precision from overruling the recipe's."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if gpu and precision != "fp32" else "no"
