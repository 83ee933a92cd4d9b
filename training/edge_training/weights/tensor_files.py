"""The reader of torch's files that the package registers: numpy and torch wait until a file asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.store.arrays import Member


def read_tensors(path: Path) -> Mapping[str, Member]:
    """As `edge_training.weights.arrays.read_tensors`."""
    from edge_training.weights import arrays

    return arrays.read_tensors(path)
