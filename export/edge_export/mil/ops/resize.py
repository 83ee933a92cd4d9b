"""Resizing the last axes to a size or by a factor.

Where the output's points lie in the input is a table of one rule an axis (`GRIDS`); linear interpolation
between two neighbours is then the same for all.
"""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation

Grid = Callable[[int, int], Array]


def _corners(n: int, m: int) -> Array:
    return np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)


def _corners_or_middle(n: int, m: int) -> Array:
    return _corners(n, m) if m > 1 else np.array([(n - 1) / 2])


def _scaled(n: int, m: int) -> Array:
    return np.arange(m) * (n / m)


def _offset(n: int, m: int) -> Array:
    delta = max(1, n - 1) / m
    return (np.arange(m) + 0.5) * delta


def _half_pixel(n: int, m: int) -> Array:
    return (np.arange(m) + 0.5) * (n / m) - 0.5


# rule → positions in [0, n - 1] of m output points
GRIDS: dict[str, Grid] = {
    "STRICT_ALIGN_CORNERS": _corners,
    "ALIGN_CORNERS": _corners_or_middle,
    "DEFAULT": _scaled,
    "OFFSET_CORNERS": _offset,
    "UNALIGN_CORNERS": _half_pixel,
}


@operation("upsample_nearest_neighbor")
def upsample_nearest_neighbor(x: Array, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Array:
    height, width = _scaled_size(x, scale_factor_height, scale_factor_width)
    return _nearest(_nearest(x, -2, height), -1, width)


@operation("resize_nearest_neighbor")
def resize_nearest_neighbor(x: Array, target_size_height: Array, target_size_width: Array) -> Array:
    return _nearest(_nearest(x, -2, int(target_size_height)), -1, int(target_size_width))


@operation("upsample_bilinear")
def upsample_bilinear(
    x: Array,
    scale_factor_height: Any = 1,
    scale_factor_width: Any = 1,
    align_corners: Any = True,
    half_pixel_centers: Any = None,
) -> Array:
    """The factor is recomputed from the sizes. iOS 16 may ask for neither corners nor half pixels."""
    centred = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    rule = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centred else "DEFAULT"
    height, width = _scaled_size(x, scale_factor_height, scale_factor_width)
    return _linear(_linear(x, -2, height, rule), -1, width, rule)


@operation("resize_bilinear")
def resize_bilinear(
    x: Array, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> Array:
    rows = _linear(x, -2, int(target_size_height), sampling_mode)
    return _linear(rows, -1, int(target_size_width), sampling_mode)


@operation("resize")
def resize(
    x: Array,
    shape: Array,
    resized_dims: Array,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last `resized_dims` axes take the last lengths of `shape`; 0 leaves an axis as it is.

    Its nearest neighbour is the one nearest to the grid's point; the older operations take the one below.
    """
    count = int(resized_dims)
    for axis in range(-count, 0):
        length = int(shape[axis])
        if length == 0:
            continue
        if interpolation_mode == "NEAREST_NEIGHBOR":
            places = np.floor(_points(x.shape[axis], length, sampling_mode) + 0.5)
            x = np.take(x, places.astype(np.int64), axis)
        else:
            x = _linear(x, axis, length, sampling_mode)
    return x


def _scaled_size(x: Array, height: Any, width: Any) -> tuple[int, int]:
    """floor(length * factor); the factor was stored as a float32, a hair may be missing."""
    return tuple(int(np.floor(n * np.float32(f))) for n, f in zip(x.shape[-2:], (height, width), strict=True))  # type: ignore[return-value]


def _nearest(x: Array, axis: int, length: int) -> Array:
    n = x.shape[axis]
    return np.take(x, np.minimum(np.arange(length) * n // length, n - 1), axis=axis)


def _points(n: int, length: int, rule: str) -> Array:
    return np.clip(GRIDS[rule](n, length), 0, n - 1)


def _linear(x: Array, axis: int, length: int, rule: str) -> Array:
    n = x.shape[axis]
    points = _points(n, length, rule)
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, n - 1)
    part = (points - low).astype(np.float32).reshape(-1, *[1] * (-axis - 1))
    return np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
