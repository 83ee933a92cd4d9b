"""Moving elements between channels, space and batch; x is (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation


@operation("depth_to_space")
def depth_to_space(x: Array, block_size: Array) -> Array:
    """The block's position is the slow part of the channel number (TensorFlow's order)."""
    n, c, h, w = x.shape
    b = int(block_size)
    parts = x.reshape(n, b, b, c // (b * b), h, w)
    return parts.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operation("space_to_depth")
def space_to_depth(x: Array, block_size: Array) -> Array:
    n, c, h, w = x.shape
    b = int(block_size)
    parts = x.reshape(n, c, h // b, b, w // b, b)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operation("pixel_shuffle")
def pixel_shuffle(x: Array, upscale_factor: Array) -> Array:
    """The block's position is the fast part of the channel number (PyTorch's order)."""
    n, c, h, w = x.shape
    f = int(upscale_factor)
    parts = x.reshape(n, c // (f * f), f, f, h, w)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (f * f), h * f, w * f)


@operation("pixel_unshuffle")
def pixel_unshuffle(x: Array, downscale_factor: Array) -> Array:
    n, c, h, w = x.shape
    f = int(downscale_factor)
    parts = x.reshape(n, c, h // f, f, w // f, f)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * f * f, h // f, w // f)


@operation("space_to_batch")
def space_to_batch(x: Array, block_shape: Array, paddings: Array) -> Array:
    margins = [(int(before), int(after)) for before, after in paddings]
    padded = np.pad(x, [(0, 0), (0, 0), *margins])
    n, c, h, w = padded.shape
    p, q = (int(block) for block in block_shape)
    parts = padded.reshape(n, c, h // p, p, w // q, q)
    return parts.transpose(3, 5, 0, 1, 2, 4).reshape(n * p * q, c, h // p, w // q)


@operation("batch_to_space")
def batch_to_space(x: Array, block_shape: Array, crops: Array) -> Array:
    n, c, h, w = x.shape
    p, q = (int(block) for block in block_shape)
    parts = x.reshape(p, q, n // (p * q), c, h, w)
    whole = parts.transpose(2, 3, 4, 0, 5, 1).reshape(n // (p * q), c, h * p, w * q)
    (top, bottom), (left, right) = ((int(before), int(after)) for before, after in crops)
    return whole[:, :, top : h * p - bottom, left : w * q - right]
