"""Which engine answers and why, and what tells its answers from another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.checkpoints.models import find_model
from econmoral.checkpoints.places import state
from econmoral.files.records import InputError, parse_yaml, sha256

from ..conditions import BASE
from ..config import Source
from .base import Condition, Engine, Sampled


def vllm_options(pairs: tuple[str, ...] | list[str]) -> dict[str, object]:
    """``key=value`` pairs for vLLM, the values read as YAML.

    Raises InputError for what would run a checkpoint's own code.
    """
    options: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name == "trust_remote_code":
            raise InputError(
                "--vllm takes key=value options of vllm.LLM, without trust_remote_code; "
                f"got {pair!r}"
            )
        options[name] = parse_yaml(value, f"--vllm {pair!r}: the value")
    return options


def check_precision(options: Mapping[str, object], adapters: Mapping[str, Path], gpu: bool) -> None:
    """Raises InputError for single precision with adapters on a GPU, where vLLM's kernels for
    adapters take half precision only (0.26 fails an assertion).
    """
    if gpu and adapters and options.get("dtype") in ("float32", "float"):
        raise InputError(
            "--vllm dtype=float32: on a GPU vLLM runs adapters in half precision only; leave it "
            "out, or measure in single precision with --engine transformers"
        )


def choose_engine(asked: str) -> tuple[str, str]:
    """(vllm or transformers, why).  Raises InputError when vLLM is asked for and not installed."""
    if asked == "transformers":
        return asked, "asked for"
    installed = find_spec("vllm") is not None
    if asked == "vllm":
        if not installed:
            raise InputError(
                "--engine vllm: the package vllm is not installed (make setup installs it where "
                "there is an NVIDIA GPU)"
            )
        return asked, "asked for"
    if not installed:
        return "transformers", "vllm is not installed"
    # vllm imports on a machine without a GPU and fails only when it loads a model
    from torch import cuda

    if cuda.is_available():
        return "vllm", "there is a GPU"
    return "transformers", "there is no GPU"


class Identity:
    """Names what answers: a hash of the weights (base and adapter) and of the engine."""

    def __init__(self, config: Source, adapters: Mapping[str, Path]) -> None:
        self.config, self.adapters = config, adapters
        self._base: list[object] | None = None
        self._known: dict[str | None, str] = {}

    def of(self, condition: Condition) -> str:
        """The name of a condition's weights in this engine."""
        if condition.adapter not in self._known:
            c = self.config
            if self._base is None:
                base = c.base
                engine = c.endpoint or choose_engine(c.engine)[0]
                weights = [find_model(base).source, state(base)] if base else []
                self._base = [weights, engine, c.served, list(c.vllm)]
            files = ("adapter_config.json", WEIGHTS)
            folder = None if condition.adapter is None else self.adapters[condition.adapter]
            adapter = [sha256(folder / f) for f in files] if folder else None
            what = json.dumps([self._base, adapter])
            self._known[condition.adapter] = hashlib.sha256(what.encode()).hexdigest()[:32]
        return self._known[condition.adapter]


def open_engine(
    config: Source, adapters: Mapping[str, Path], temperature: float, console: Console
) -> Engine:
    """The engine; prints which one it is and why.  Its replies are sampled where that is asked for.

    Modules are imported late: bad input is reported before torch is loaded.
    """
    engine = _open(config, dict(adapters), console)
    if isinstance(engine, Sampled):
        return engine
    if temperature != 1:
        engine.temperature = temperature
    return Sampled(engine) if config.replies == "sampled" else engine


def _open(config: Source, adapters: dict[str, Path], console: Console) -> Any:
    base = config.base
    if config.endpoint:
        from .with_endpoint import connect

        served = config.served or (find_model(base).source if base else "")
        engine, why = connect(config.endpoint, base, served, config.samples, config.concurrency)
        console.print(f"engine: endpoint {config.endpoint}; {why}", highlight=False)
        return engine
    assert base is not None
    name, why = choose_engine(config.engine)
    given, load = bool(config.model), f"{base} with {len(adapters)} adapter(s) in one load"
    if name == "vllm":
        from torch import cuda

        options = vllm_options(config.vllm)
        check_precision(options, adapters, cuda.is_available())
        from .with_vllm import VLLM

        console.print(f"engine: vLLM ({why}), {load}")
        return VLLM(base, adapters, options, given)
    from .with_transformers import Transformers

    local = Transformers(base, adapters, given=given)
    console.print(f"engine: transformers on {local.device} ({why}), {load}")
    local.check([BASE, *(Condition(name, name) for name in adapters)])
    return local
