"""Pickles: tensors, containers and scalars are read; everything else is a name, and nothing runs."""

from __future__ import annotations

import argparse
import builtins
import collections
import io
import os
import pathlib
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_training.weights import pickles
from edge_training.weights.pickles import Named, PickleError, StandIn, Storage, Stored, read_pickle


class Zeros:
    """Storages of nothing but zeros; counts what was read."""

    read_bytes = 0

    def read(self, storage: Storage, first: int, count: int) -> bytearray:  # noqa: ARG002  the protocol's
        self.read_bytes += count
        return bytearray(count)


def read(content: bytes, source: Zeros | None = None) -> Any:
    return read_pickle(io.BytesIO(content), source)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_values_are_those_of_pythons_own_reader(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@dataclass
class Settings:
    rate: float = 0.1


@pytest.mark.parametrize("protocol", range(6))
def test_objects_are_stand_ins(protocol: int) -> None:
    saved = {
        "args": argparse.Namespace(lr=1e-4),
        "loss": np.float64(0.5),
        "path": pathlib.PurePosixPath("/data"),
        "stats": collections.defaultdict(list, a=[1]),
        "order": collections.OrderedDict(b=2),
        "settings": Settings(),
        "function": os.path.join,
        "set": {1, 2},
    }
    found = read(pickle.dumps(saved, protocol))
    assert found["stats"] == {"a": [1]}
    assert found["order"] == {"b": 2}
    assert isinstance(found["args"], StandIn)
    assert isinstance(found["loss"], StandIn)
    assert isinstance(found["function"], Named)
    if protocol >= 2:
        assert (found["args"].of, found["args"].state) == ("argparse.Namespace", {"lr": 1e-4})
    assert "Settings" in str(vars(found["settings"]))


class Trap:
    """Unpickling it would call what it was given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call[0], self.call[1:]


HOSTILE = [
    (os.mkdir, "proof"),
    (os.system, "mkdir proof"),
    (eval, "__import__('os').mkdir('proof')"),
    (exec, "import os; os.mkdir('proof')"),
    (builtins.open, "proof", "w"),
    (__import__, "antigravity"),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("call", HOSTILE, ids=lambda call: call[0].__name__)
def test_hostile_calls_are_refused_by_name_and_run_nothing(
    call: tuple[Any, ...], protocol: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError, match="a call of") as refused:
        read(pickle.dumps({"weights": [Trap(*call)]}, protocol))
    assert refused.value.called.endswith(call[0].__name__)
    assert not list(tmp_path.iterdir())


def test_nothing_that_a_file_names_is_imported() -> None:
    """By every operation that names something; a module that does not exist would raise, one that does would
    be there afterwards."""
    assert "antigravity" not in sys.modules
    names = b"cantigravity\nopen\n", b"\x8c\x0bantigravity\x8c\x04open\x93", b"cno.such.module\nthing\n"
    for name in names:
        for made in (
            name + b")R.",
            name + b")\x81.",
            name + b")}\x92.",
            b"(" + name + b"o.",
            name + b")R}(\x8c\x01xK\x01ub.",
        ):
            assert isinstance(read(b"\x80\x04" + made), StandIn)
    assert isinstance(read(b"(iantigravity\nopen\n."), StandIn)
    assert "antigravity" not in sys.modules


def tensor(size: bytes, stride: bytes, elements: bytes = b"K\x06", offset: bytes = b"K\x00") -> bytes:
    """The pickle of a float32 tensor in a storage of some elements."""
    storage = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu" + elements + b"tQ"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + b"\x89}tR."


def test_a_tensor_is_known_before_its_values_are_read() -> None:
    source = Zeros()
    found = read(tensor(b"K\x02K\x03\x86", b"K\x01K\x02\x86"), source)
    assert isinstance(found, Stored)
    assert (found.shape, found.ndim, found.values, source.read_bytes) == ((2, 3), 2, 6, 0)
    assert found.read().stride() == (1, 2)
    assert source.read_bytes == 24


LARGE = b"J\x30\x75\x00\x00"  # 30 000


def test_an_expanded_tensor_is_no_weight_and_costs_nothing() -> None:
    found = read(tensor(LARGE + LARGE + b"\x86", b"K\x00K\x00\x86", b"K\x01"), Zeros())
    assert found.kind == "a tensor whose 900000000 values are 1 of the file, repeated"
    small = read(tensor(b"K\x05\x85", b"K\x00\x85", b"K\x01"), Zeros())
    assert small.kind == ""
    assert small.read().shape == (5,)


@pytest.mark.parametrize(
    "content",
    [
        tensor(b"K\x07\x85", b"K\x01\x85"),  # of values that the storage does not have
        tensor(b"K\x06\x85", b"K\x01\x85", offset=b"K\x01"),
        tensor(b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),  # backwards
        tensor(b"K\x02\x85", b"K\x01K\x01\x86"),
        tensor(b"(" + b"K\x01" * 65 + b"t", b"(" + b"K\x01" * 65 + b"t"),
        tensor(b"K\x06\x85", b"K\x01\x85", b"\x8c\x01x"),
        b"\x80\x02N)R.",  # a call of nothing
        b"\x80\x02\x8c\x04evil\x8c\x01xQ.",
        b"\x80\x02(\x8c\x07storagecevil\nFloatStorag\n\x8c\x010\x8c\x03cpuK\x06tQ.",
        b"\x80\x05\x97.",  # a buffer from outside
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02t.",
    ],
)
def test_what_is_no_pickle_of_weights(content: bytes) -> None:
    with pytest.raises((PickleError, IndexError)):
        read(content, Zeros())


def costly() -> dict[str, bytes]:
    """Few bytes that cost the library's own reader, or a careless one, gigabytes or years."""
    put = b"r" + struct.pack("<I", 2**31 - 1)  # LONG_BINPUT: a memo of 2³¹ places
    array = b"\x96" + struct.pack("<Q", 1 << 40)  # BYTEARRAY8 of a terabyte
    nest = b"\x80\x02)" + b"2\x86" * 200 + b"}" + b"q\x00" + b"h\x00s."  # pairs of pairs, as a key
    ones = b"\x80\x02}q\x00" + b"".join(b"K" + bytes([n]) + b"K\x01s" for n in range(250))
    copies = ones + b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R0" * 50_000 + b"."
    return {
        "memo": b"\x80\x02]" + put + b".",
        "array": b"\x80\x05" + array + b"x.",
        "key": nest.replace(b"}q\x00h\x00s.", b"q\x00}h\x00K\x01s."),
        "copies": copies,
        "digits": b"I" + b"9" * 100_000 + b"\n.",
        "string": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
    }


@pytest.mark.parametrize("name", costly())
def test_small_files_cost_little(name: str) -> None:
    tracemalloc.start()
    try:
        read(costly()[name])
    except (PickleError, ValueError, EOFError, OverflowError):
        assert name != "key"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 450e6 if name == "copies" else peak < 30e6


def test_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_OPERATIONS", 100)
    with pytest.raises(PickleError, match="more operations"):
        read(b"\x80\x02" + b"]0" * 100 + b"].")


def test_a_container_may_hold_itself() -> None:
    box: list[Any] = []
    box.append({"self": box})
    found = read(pickle.dumps(box))
    assert found[0]["self"] is found
