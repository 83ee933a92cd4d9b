"""Normalisations. Statistics are taken in float32; variances are the biased ones."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation


@operation("batch_norm")
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Any = 1e-5,
) -> Array:
    """x (N, C, *D); the statistics are constants, one a channel."""
    scale = 1 / np.sqrt(variance + np.float32(epsilon))
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    return x * _channels(scale, x) + _channels(shift, x)


@operation("instance_norm")
def instance_norm(
    x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Any = 1e-5
) -> Array:
    """x (N, C, *D), each channel of each instance on its own."""
    out = _standardize(x, tuple(range(2, x.ndim)), epsilon)
    return _scale_shift(out, *(None if p is None else _channels(p, x) for p in (gamma, beta)))


@operation("layer_norm")
def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Any = 1e-5,
) -> Array:
    over = tuple(range(x.ndim)) if axes is None else tuple(int(axis) % x.ndim for axis in axes)
    shape = [length if axis in over else 1 for axis, length in enumerate(x.shape)]
    out = _standardize(x, over, epsilon)
    return _scale_shift(out, *(None if p is None else p.reshape(shape) for p in (gamma, beta)))


@operation("l2_norm")
def l2_norm(x: Array, epsilon: Any = 1e-6) -> Array:
    """Over the last three axes together."""
    squares = np.square(x).sum(axis=(-3, -2, -1), keepdims=True)
    return x / np.sqrt(squares + np.float32(epsilon))


@operation("local_response_norm")
def local_response_norm(x: Array, size: Array, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Array:
    """x (N, C, *D): neighbouring channels, size // 2 before and (size - 1) // 2 after."""
    width = int(size)
    margins = [(0, 0)] * x.ndim
    margins[1] = (width // 2, (width - 1) // 2)
    squares = np.pad(np.square(x), margins)
    sums = np.lib.stride_tricks.sliding_window_view(squares, width, axis=1).sum(axis=-1)
    return x / (np.float32(k) + np.float32(alpha) / width * sums) ** np.float32(beta)


def _standardize(x: Array, axes: tuple[int, ...], epsilon: Any) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return centred / np.sqrt(variance + np.float32(epsilon))


def _scale_shift(x: Array, gamma: Array | None, beta: Array | None) -> Array:
    scaled = x if gamma is None else x * gamma
    return scaled if beta is None else scaled + beta


def _channels(parameter: Array, x: Array) -> Array:
    return parameter.reshape(1, -1, *[1] * (x.ndim - 2))
