"""Who reads files of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_runtime.store import tensor_reader
from edge_runtime.store.arrays import Member


def nothing(_: Path) -> Mapping[str, Member]:
    return {}


def also_nothing(_: Path) -> Mapping[str, Member]:
    return {}


def test_the_last_one_that_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_reader, "_readers", [])
    assert tensor_reader.tensor_reader() is None
    tensor_reader.register_tensors(nothing)
    tensor_reader.register_tensors(also_nothing)
    assert tensor_reader.tensor_reader() is also_nothing
