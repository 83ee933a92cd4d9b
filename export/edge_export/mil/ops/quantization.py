"""Affine quantisation of activations (iOS 17)."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.constant import along
from edge_export.mil.ops.registry import operation


@operation("quantize")
def quantize(
    input: Array,
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: Any = None,
) -> Array:
    """clip(round(input / scale) + zero point), halves to even."""
    shape = _shape(input, axis)
    levels = np.rint(input / along(scale, shape))
    if zero_point is not None:
        levels = levels + along(zero_point, shape)
    limits = np.iinfo(output_dtype)
    return np.clip(levels, limits.min, limits.max).astype(output_dtype)


@operation("dequantize")
def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: Any = None) -> Array:
    """scale * (input - zero point)."""
    shape = _shape(input, axis)
    levels = input.astype(np.float32)
    if zero_point is not None:
        levels = levels - along(zero_point, shape)
    return levels * along(scale, shape)


def _shape(data: Array, axis: Any) -> list[int]:
    shape = [1] * data.ndim
    if axis is not None:
        shape[int(axis)] = -1
    return shape
