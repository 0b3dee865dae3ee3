"""Every reader of ``readers.py`` on random bytes, on broken pieces of good input,
and on good input with one value exchanged.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import readers
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.files.records import read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["0", "-1e999", "game"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def exchange(value: Any, new: Any, rng: random.Random) -> Any:
    """The value with one part of it exchanged for another."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return {**value, key: exchange(value[key], new, rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        i = rng.randrange(len(value))
        return [*value[:i], exchange(value[i], new, rng), *value[i + 1 :]]
    return new


@pytest.mark.parametrize("name", readers.READERS)
def test_a_reader_reads_or_refuses(name: str) -> None:
    seeds = readers.READERS[name][1]

    @given(st.binary(max_size=300))
    @settings(max_examples=60, deadline=5000, database=None, derandomize=True)
    def anything(data: bytes) -> None:
        readers.one_case(name, data)

    @given(
        st.sampled_from(seeds),
        st.integers(0, 2000),
        st.integers(0, 50),
        st.binary(max_size=20) | st.sampled_from([b"\n", b"{", b"'", b"\x00", b"\xff"]),
    )
    @settings(max_examples=120, deadline=5000, database=None, derandomize=True)
    def broken(seed: bytes, at: int, cut: int, instead: bytes) -> None:
        at %= len(seed)
        readers.one_case(name, seed[:at] + instead + seed[at + cut :])

    @given(st.sampled_from(seeds), VALUES, st.integers(0, 10**6))
    @settings(max_examples=200, deadline=5000, database=None, derandomize=True)
    def exchanged(seed: bytes, new: Any, choice: int) -> None:
        try:
            value = json.loads(seed)
        except ValueError:
            return
        readers.one_case(name, json.dumps(exchange(value, new, random.Random(choice))).encode())

    anything()
    broken()
    exchanged()


def test_a_faulty_reader_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(data: bytes) -> None:
        assert b"\xff" not in data

    monkeypatch.setitem(readers.READERS, "faulty", (faulty, [b"x"]))
    with pytest.raises(AssertionError):
        test_a_reader_reads_or_refuses("faulty")


def test_the_committed_count() -> None:
    counts = read_json(ROOT / "tests" / "fuzz.json")
    # readers that are newer than the committed run are named there, so that none is taken for bred
    assert set(counts["readers"]) | set(counts.get("not_bred_yet", [])) == set(readers.READERS)
    assert counts["cases"] == sum(r["cases"] for r in counts["readers"].values()) >= 10**6
    assert counts["failures"] == 0
