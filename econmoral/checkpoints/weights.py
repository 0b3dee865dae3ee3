"""A checkpoint's files before they are loaded: whole, of known kinds, known by a hash."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from econmoral.checkpoints.packaged import cache
from econmoral.files.records import InputError, read_json, write_json

POINTER = b"version https://git-lfs.github.com/spec"
FLOATS = {"F64", "F32", "F16", "BF16"}
# bytes at the end of a file that are all zero: no checkpoint ends so, an interrupted download does
ZEROS = 4096


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


def check_end(path: Path) -> None:
    """Raises InputError for a file of the right size whose end was never written."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - ZEROS))
        if not any(file.read()):
            raise InputError(
                f"cannot load {path}: it ends in zeros, as an interrupted download leaves it; "
                "fetch it again"
            )
