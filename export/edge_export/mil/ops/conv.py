"""Convolution and transposed convolution over 1, 2 or 3 spatial axes.

Both are one matrix product a group. For the forward one the input's windows are unrolled into columns, a
stretch of the first spatial axis at a time, so that the columns never need more than `_COLUMN_BYTES`; for the
transposed one the product gives every tap's contribution, which are then added where they fall.

Letters: N batch, C input channels, O output channels, G groups, K taps (all axes), L output positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation

_COLUMN_BYTES = 1 << 25  # 32 MiB: beyond the caches anyway, and small beside the activations of a vocoder

Pads = list[tuple[int, int]]


@operation("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """x (N, C, *D), weight (O, C/G, *K) → (N, O, *L)."""
    axes = x.ndim - 2
    steps, spread = ones_or(strides, axes), ones_or(dilations, axes)
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], spread, strict=True)]
    pads = same_or_custom(pad_type, pad, x.shape[2:], extents, steps)
    padded = np.pad(x, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else np.ascontiguousarray(x)
    lengths = [(n - e) // s + 1 for n, e, s in zip(padded.shape[2:], extents, steps, strict=True)]
    if min(lengths) < 1:
        raise ValueError(f"an input of shape {x.shape}, shorter than the kernel's extent {extents}")
    out = _correlate(padded, weight, lengths, steps, spread, int(groups))
    if bias is not None:
        out += bias.reshape(-1, *[1] * axes)
    return out


@operation("conv_quantized")
def conv_quantized(
    x: Array,
    weight: Array,
    quantization_type: str,
    quant_scale: Array,
    quant_bias: Array,
    nbits: Any = 8,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """`conv` with ``weight · quant_scale + quant_bias``: one of each, or one for each output channel."""
    if quantization_type != "linear":
        raise ValueError(f"quantization_type {quantization_type}, whose table is no input of the operation")
    if int(weight.max(initial=0)) >> int(nbits):
        raise ValueError(f"weights up to {int(weight.max())} in {int(nbits)} bits")
    rows = (-1, *[1] * (weight.ndim - 1))
    scale, offset = (np.asarray(v, np.float32).reshape(rows) for v in (quant_scale, quant_bias))
    plain = weight.astype(np.float32) * scale + offset
    out: Array = conv(x, plain, bias, strides, pad_type, pad, dilations, groups)
    return out


def _correlate(
    x: Array, weight: Array, lengths: list[int], steps: list[int], spread: list[int], groups: int
) -> Array:
    """The convolution of an input that is padded already; `lengths` are the output's."""
    batch, channels = x.shape[:2]
    if channels != groups * weight.shape[1] or weight.shape[0] % groups:
        raise ValueError(f"{channels} channels in {groups} groups for a weight of shape {weight.shape}")
    taps = weight.shape[2:]
    filters = weight.reshape(groups, weight.shape[0] // groups, -1)  # (G, O/G, C/G * K)
    out = np.empty((batch, weight.shape[0], *lengths), np.float32)
    row = batch * channels * prod(taps) * prod(lengths[1:]) * x.itemsize
    stretch = max(1, _COLUMN_BYTES // max(row, 1))
    for start in range(0, lengths[0], stretch):
        here = [min(stretch, lengths[0] - start), *lengths[1:]]
        columns = _columns(x[:, :, start * steps[0] :], taps, here, steps, spread, groups)
        part = np.matmul(filters, columns)  # (G, O/G, N * L)
        out[:, :, start : start + here[0]] = part.reshape(-1, batch, *here).swapaxes(0, 1)
    return out


def _columns(
    x: Array, taps: Sequence[int], lengths: list[int], steps: list[int], spread: list[int], groups: int
) -> Array:
    """Windows of x as columns: (G, C/G * K, N * L)."""
    batch, channels, *strides = x.strides
    windows = np.lib.stride_tricks.as_strided(
        x,
        (x.shape[1], *taps, x.shape[0], *lengths),
        (
            channels,
            *(s * d for s, d in zip(strides, spread, strict=True)),
            batch,
            *(s * step for s, step in zip(strides, steps, strict=True)),
        ),
        writeable=False,
    )
    return windows.reshape(groups, -1, x.shape[0] * prod(lengths))


@operation("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """x (N, C, *D), weight (C, O/G, *K) → (N, O, *L): the gradient of `conv` with respect to its input."""
    axes = x.ndim - 2
    steps, spread = ones_or(strides, axes), ones_or(dilations, axes)
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], spread, strict=True)]
    whole = _scatter_taps(x, weight, steps, spread, extents, int(groups))
    crops = _crops(pad_type, pad, x.shape[2:], steps, whole.shape[2:])
    lengths = [n - before - after for n, (before, after) in zip(whole.shape[2:], crops, strict=True)]
    if output_shape is not None:
        lengths = [int(length) for length in output_shape[2:]]
    out = _window(whole, [before for before, _ in crops], lengths)
    if bias is not None:
        out += bias.reshape(-1, *[1] * axes)
    return out


def _window(x: Array, starts: list[int], lengths: list[int]) -> Array:
    """A new array: x's spatial axes from `starts` on, zeros behind its end."""
    out = np.zeros((*x.shape[:2], *lengths), np.float32)
    rest = (slice(a, a + n) for a, n in zip(starts, lengths, strict=True))
    part = x[(slice(None), slice(None), *rest)]
    out[tuple(slice(n) for n in part.shape)] = part
    return out


def _scatter_taps(
    x: Array, weight: Array, steps: list[int], spread: list[int], extents: list[int], groups: int
) -> Array:
    """All contributions added up, nothing cropped: (N, O, (D - 1) * stride + extent …)."""
    batch, channels, *lengths = x.shape
    if channels != weight.shape[0] or channels % groups:
        raise ValueError(f"{channels} channels in {groups} groups for a weight of shape {weight.shape}")
    taps = weight.shape[2:]
    filters = weight.reshape(groups, channels // groups, -1).swapaxes(1, 2)  # (G, O/G * K, C/G)
    data = x.swapaxes(0, 1).reshape(groups, channels // groups, -1)  # (G, C/G, N * D)
    parts = np.matmul(filters, data).reshape(groups * weight.shape[1], *taps, batch, *lengths)
    out = np.zeros(
        (parts.shape[0], batch, *((n - 1) * s + e for n, s, e in zip(lengths, steps, extents, strict=True))),
        np.float32,
    )
    for tap in np.ndindex(*taps):
        starts = [t * d for t, d in zip(tap, spread, strict=True)]
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, lengths, steps, strict=True)]
        place = tuple(slice(a, b, s) for a, b, s in zip(starts, ends, steps, strict=True))
        out[(slice(None), slice(None), *place)] += parts[(slice(None), *tap)]
    return out.swapaxes(0, 1)


def _crops(
    pad_type: str, pad: Array | None, lengths: Sequence[int], steps: list[int], whole: Sequence[int]
) -> Pads:
    """What falls off the whole result; "same" keeps D * stride, and cuts the odd one at the end."""
    if pad_type == "custom" and pad is not None:
        return pairs(pad)
    if pad_type in ("same", "same_lower"):
        excess = [max(0, n - d * s) for n, d, s in zip(whole, lengths, steps, strict=True)]
        return [split_pad(e, pad_type) for e in excess]
    return [(0, 0)] * len(steps)


def ones_or(values: Array | None, axes: int) -> list[int]:
    return [1] * axes if values is None else [int(value) for value in values]


def pairs(pad: Array) -> Pads:
    flat = [int(value) for value in pad]
    return list(zip(flat[::2], flat[1::2], strict=True))


def split_pad(total: int, pad_type: str) -> tuple[int, int]:
    """Halves; an odd one goes to the end for "same", to the beginning for "same_lower"."""
    small = total // 2
    return (small, total - small) if pad_type == "same" else (total - small, small)


def same_or_custom(
    pad_type: str, pad: Array | None, lengths: Sequence[int], extents: Sequence[int], steps: Sequence[int]
) -> Pads:
    """Elements before and after each axis. "same": the output has ceil(length / stride) positions."""
    if pad_type == "custom":
        if pad is None:
            raise ValueError("pad_type custom without pad")
        return pairs(pad)
    if pad_type in ("same", "same_lower"):
        totals = [
            max(0, (-(-n // s) - 1) * s + e - n) for n, e, s in zip(lengths, extents, steps, strict=True)
        ]
        return [split_pad(total, pad_type) for total in totals]
    if pad_type == "valid":
        return [(0, 0)] * len(extents)
    raise ValueError(f"the pad_type {pad_type}")
