"""Who reads files of torch: a package that has torch says so here, and `store.arrays` asks.

A module of its own, since the packages above are imported with every command, and numpy need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.store.arrays import Member

TensorReader = Callable[[Path], "Mapping[str, Member]"]
"""Path of torch's file → dotted name → tensor, "" for a tensor by itself; raises EdgeError."""

_readers: list[TensorReader] = []


def register_tensors(reader: TensorReader) -> None:
    """Read files of torch by this function from now on."""
    _readers[:] = [reader]


def tensor_reader() -> TensorReader | None:
    """The function that was registered; None where no package with torch is imported."""
    return _readers[0] if _readers else None
