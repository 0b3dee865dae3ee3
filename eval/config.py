"""What every measurement is told: what is measured, by which engine, and how derivations are
drawn.

    @dataclass(frozen=True)
    class Coins(Source):
        items: int = option(20, "coins that are thrown", at_least=1)

``econmoral.files.options`` makes the command line of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from econmoral.checkpoints.attaching import model_of
from econmoral.files.options import Config, option
from econmoral.files.records import InputError

from .engines.base import LONGEST_DERIVATION

CONCURRENCY = 16


@dataclass(frozen=True)
class Source(Config):
    """What is measured, and by which engine; where the results go."""

    folder: ClassVar[str] = "eval"  # of the first adapter: the default of ``out``

    adapter: tuple[Path, ...] = option(
        (), "folder of a LoRA adapter; repeat for several", repeat=True
    )
    model: str | None = option(
        None, "name, hub id or folder of the base (default: the one the adapter names)"
    )
    engine: str = option(
        "auto",
        "default: vllm where it finds a GPU, else transformers",
        choices=("auto", "transformers", "vllm"),
    )
    vllm: tuple[str, ...] = option(
        (), "options for vLLM, e.g. tensor_parallel_size=4 max_model_len=4096", metavar="KEY=VALUE"
    )
    endpoint: str | None = option(
        None,
        "measure what an OpenAI-compatible server offers; adapters by the names of their folders",
        metavar="URL",
    )
    concurrency: int = option(CONCURRENCY, "requests to the endpoint at the same time", at_least=1)
    served: str | None = option(
        None, "name of the base at the endpoint (default: the model's hub id)", metavar="NAME"
    )
    simulate: str | None = option(
        None, "measure a chooser of known parameters instead of a model", metavar="PARAMETERS"
    )
    replies: str = option(
        "exact",
        "exact probabilities, or replies that are sampled and read: for models that answer in "
        "sentences",
        choices=("exact", "sampled"),
    )
    samples: int = option(
        1,
        "for each page: derivations in reasoned mode; conversations where replies are sampled",
        at_least=1,
    )
    seed: int = option(0, "of everything that is drawn", at_least=0)
    out: Path | None = option(
        None, "folder of the results (default: in the first adapter's folder)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_source()

    def check_source(self) -> None:
        """Raises InputError unless it is clear what is measured; sets ``out``."""
        adapters = self.adapter_folders
        if bool(self.simulate) == bool(adapters or self.model or self.endpoint):
            raise InputError("give either --adapter and/or --model, or --endpoint, or --simulate")
        if self.endpoint and not (self.model or self.served or adapters):
            raise InputError(
                "--endpoint needs --served NAME, the model to ask there, or --model, whose "
                "tokenizer then gives exact scores"
            )
        if self.simulate and (self.replies == "sampled" or getattr(self, "prompted", False)):
            raise InputError(
                "--simulate has no words: it takes neither --replies sampled nor --prompted"
            )
        if self.served and not self.endpoint:
            raise InputError("--served belongs to --endpoint")
        if self.concurrency != CONCURRENCY and not self.endpoint:
            raise InputError("--concurrency belongs to --endpoint")
        if self.endpoint and (self.engine != "auto" or self.vllm):
            raise InputError(
                "--engine and --vllm say how a model is loaded here; --endpoint loads none"
            )
        if self.vllm and self.engine == "transformers":
            raise InputError("--vllm belongs to vLLM; --engine transformers would not read it")
        if self.out is None:
            if not adapters:
                raise InputError("give --out FOLDER")
            self._set("out", adapters[0] / self.folder)

    @property
    def adapter_folders(self) -> tuple[Path, ...]:
        """The adapters that are measured."""
        return self.adapter

    @property
    def place(self) -> Path:
        """The folder of the results."""
        assert self.out is not None
        return self.out

    @property
    def base(self) -> str | None:
        """The base model: the one that is named, else the first adapter's; None without either.

        Raises InputError for an adapter's base that is not known.
        """
        adapters = self.adapter_folders
        if self.model or not adapters:
            return self.model
        return model_of(adapters[0])

    def settings(self) -> dict[str, object]:
        """The values as JSON holds them, the base included."""
        adapters = [str(folder) for folder in self.adapter_folders]
        return super().settings() | {"model": self.base, "adapter": adapters}


@dataclass(frozen=True)
class Reasoned(Source):
    """Options of instruments that can ask for a derivation before the decision."""

    mode: tuple[str, ...] = option(
        ("direct",),
        "ask for the decisions alone, or for a derivation first; or both",
        choices=("direct", "reasoned"),
        once=True,
    )
    temperature: float = option(
        1.0, "of derivations; 0 takes the most probable token at every step"
    )
    longest: int = option(LONGEST_DERIVATION, "tokens at which a derivation is cut", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature <= 5:
            raise InputError(f"--temperature must lie between 0 and 5, got {self.temperature:g}")
        if self.temperature == 0 and self.samples > 1:
            raise InputError(
                "--temperature 0 writes the same derivation every time; leave --samples at 1"
            )
        of_derivations = {
            "--samples": self.samples > 1,
            "--temperature": self.temperature != 1,
            "--longest": self.longest != LONGEST_DERIVATION,
        }
        # what an endpoint offers decides whether replies are sampled there
        if self.mode == ("direct",) and self.replies == "exact" and not self.endpoint:
            for name in (k for k, given in of_derivations.items() if given):
                sampled = " or --replies sampled" if name == "--samples" else ""
                raise InputError(f"{name} does nothing without --mode reasoned{sampled}")
        if self.temperature != 1 and self.replies == "sampled":
            raise InputError(
                "--temperature is for derivations before exact probabilities; sampled replies are "
                "drawn at 1"
            )
