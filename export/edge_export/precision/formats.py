"""Formats of a layer's weights: how many bytes they take, and what a device computes with.

float32, float16
int8            symmetric, a scale for each output channel
palette8/6/4    2^bits values for the whole tensor (k-means in one dimension), an index for each weight
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["float32", "float16", "int8", "palette8", "palette6", "palette4"]
Array = NDArray[Any]

BITS: Mapping[str, int] = {"palette8": 8, "palette6": 6, "palette4": 4}
SMALLEST = 256  # weights of a layer that is compressed; a table would be as large as smaller ones
ROUNDS = 30  # of k-means


@dataclass(frozen=True)
class Palette:
    """The values and, for each weight, which of them it is."""

    values: Array  # (2^bits,) float16 or float32
    indices: Array  # shape of the weight, uint8


def bytes_of(weight: Array, kind: Format, axis: int) -> int:
    """Bytes of a weight in a format, tables and scales included."""
    if kind == "float32":
        return 4 * weight.size
    if kind == "float16":
        return 2 * weight.size
    if kind == "int8":
        return weight.size + 3 * int(weight.shape[axis])
    bits = BITS[kind]
    return -(-weight.size * bits // 8) + 2 * (1 << bits)


def read_back(weight: Array, kind: Format, axis: int) -> Array:
    """The weight that a device computes with, float32."""
    if kind == "float32":
        return weight
    if kind == "float16":
        return weight.astype(np.float16).astype(np.float32)
    if kind == "int8":
        levels, scale = int8(weight, axis)
        return levels.astype(np.float32) * along(scale, weight.ndim, axis)
    palette = palettized(weight, BITS[kind])
    return palette.values.astype(np.float32)[palette.indices]


def int8(weight: Array, axis: int) -> tuple[Array, Array]:
    """(levels −127 … 127 in int8, scale of each channel (channels,) float32)."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    levels = np.clip(np.rint(weight / along(scale, weight.ndim, axis)), -127, 127).astype(np.int8)
    return levels, scale


def along(vector: Array, axes: int, axis: int) -> Array:
    """A vector laid along one of several axes."""
    shape = [1] * axes
    shape[axis] = -1
    return vector.reshape(shape)


def palettized(weight: Array, bits: int) -> Palette:
    """Lloyd's k-means in one dimension, begun at equal shares of the sorted weights.

    Sorted, a cluster is an interval, so that a round costs one search and one difference of running sums.
    """
    values = np.sort(weight.astype(np.float64).ravel())
    count = 1 << bits
    sums = np.concatenate([[0.0], np.cumsum(values)])
    shares = (np.arange(count) + 0.5) / count * (values.size - 1)
    centres = values[np.rint(shares).astype(np.int64)]
    for _ in range(ROUNDS):
        edges = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        begin, end = np.concatenate([[0], edges]), np.concatenate([edges, [values.size]])
        filled = end > begin
        means = (sums[end] - sums[begin])[filled] / (end - begin)[filled]
        moved = centres.copy()
        moved[filled] = means
        if np.array_equal(moved, centres):
            break
        centres = np.sort(moved)
    stored = centres.astype(np.float16).astype(np.float32)
    middles = (stored[1:] + stored[:-1]) / 2
    indices = np.searchsorted(middles, weight.ravel()).astype(np.uint8).reshape(weight.shape)
    return Palette(stored, indices)


def smaller(kind: Format, known: Sequence[Format]) -> tuple[Format, ...]:
    """The formats that come after one, in the order given: from fine to coarse."""
    return tuple(known[known.index(kind) + 1 :])
