"""Shapes, slices, joining, padding and generated tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import Call, as_list, operation


@operation("shape")
def shape(x: Array) -> Array:
    return np.array(x.shape, np.int32)


@operation("reshape")
def reshape(x: Array, shape: Array, call: Call) -> Array:
    """-1 is what is left over; 0 is the length of x at the same axis, from iOS 17 on counted from the end."""
    target = [int(length) for length in shape]
    lag = x.ndim - len(target) if call.opset >= 7 else 0
    for axis, length in enumerate(target):
        if length == 0:
            target[axis] = x.shape[axis + lag] if axis + lag >= 0 else 1
    return x.reshape(target)


@operation("reshape_like")
def reshape_like(x: Array, ref_tensors: Any, begins: Any, ends: Any, end_masks: Any) -> Array:
    target: list[int] = []
    parts = (as_list(ref_tensors), as_list(begins), as_list(ends), as_list(end_masks))
    for reference, begin, end, open_end in zip(*parts, strict=True):
        target += reference.shape[int(begin) : None if open_end else int(end)]
    return x.reshape(target)


@operation("flatten2d")
def flatten2d(x: Array, axis: Any = 1) -> Array:
    lead = x.shape[: int(axis)]
    return x.reshape(int(np.prod(lead, dtype=np.int64)), -1)


@operation("expand_dims")
def expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


@operation("squeeze")
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Axes longer than 1 stay, as in PyTorch."""
    over = range(x.ndim) if axes is None else [int(axis) for axis in axes]
    return np.squeeze(x, tuple(axis for axis in over if x.shape[axis] == 1))


@operation("transpose")
def transpose(x: Array, perm: Array) -> Array:
    return np.transpose(x, [int(axis) for axis in perm])


@operation("reverse")
def reverse(x: Array, axes: Array | None = None) -> Array:
    return np.flip(x, None if axes is None else tuple(int(axis) for axis in axes))


@operation("reverse_sequence")
def reverse_sequence(x: Array, lengths: Array, seq_axis: Any = 0, batch_axis: Any = 0) -> Array:
    out = np.moveaxis(x, (int(batch_axis), int(seq_axis)), (0, 1)).copy()
    for one, length in zip(out, lengths, strict=True):
        one[: int(length)] = one[: int(length)][::-1].copy()
    return np.moveaxis(out, (0, 1), (int(batch_axis), int(seq_axis)))


@operation("concat")
def concat(values: Any, axis: Array, interleave: Any = False) -> Array:
    """Numbers without axes, as coremltools writes computed shapes, become a vector."""
    arrays, along = [np.atleast_1d(value) for value in as_list(values)], int(axis)
    if not interleave:
        return np.concatenate(arrays, along)
    stacked = np.stack(arrays, along % arrays[0].ndim + 1)
    lengths = list(arrays[0].shape)
    lengths[along] *= len(arrays)
    return stacked.reshape(lengths)


@operation("stack")
def stack(values: Any, axis: Array) -> Array:
    return np.stack(as_list(values), int(axis))


@operation("split")
def split(
    x: Array, axis: Array, num_splits: Any = None, split_sizes: Array | None = None
) -> tuple[Array, ...]:
    where = int(num_splits) if split_sizes is None else np.cumsum(split_sizes)[:-1]
    return tuple(np.split(x, where, int(axis)))


def slices(
    lengths: tuple[int, ...],
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[slice | int, ...]:
    """numpy's index for the arguments of `slice_by_index`; a mask leaves that end open."""
    index: list[slice | int] = []
    for axis in range(len(lengths)):
        first: int | None = int(begin[axis])
        if squeeze_mask is not None and squeeze_mask[axis]:
            index.append(int(begin[axis]))
            continue
        last: int | None = int(end[axis])
        if begin_mask is not None and begin_mask[axis]:
            first = None
        if end_mask is not None and end_mask[axis]:
            last = None
        index.append(slice(first, last, 1 if stride is None else int(stride[axis])))
    return tuple(index)


@operation("slice_by_index")
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    return x[slices(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)]


@operation("slice_update")
def slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    out = x.copy()
    out[slices(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)] = update
    return out


@operation("slice_by_size")
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    index = []
    for start, count, length in zip(begin, size, x.shape, strict=True):
        first = int(start) % length if start < 0 else int(start)
        index.append(slice(first, None if count == -1 else first + int(count)))
    return x[tuple(index)]


@operation("pad")
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Any = 0.0) -> Array:
    """Pairs for the last axes."""
    flat = [int(value) for value in pad]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    match mode:
        case "constant":
            return np.pad(x, widths, constant_values=np.asarray(constant_val).astype(x.dtype))
        case "reflect":
            return np.pad(x, widths, mode="reflect")
        case "replicate":
            return np.pad(x, widths, mode="edge")
        case _:
            raise ValueError(f"the mode {mode}")


@operation("tile")
def tile(x: Array, reps: Array) -> Array:
    return np.tile(x, [int(count) for count in reps])


@operation("range_1d")
def range_1d(start: Array, end: Array, step: Array) -> Array:
    count = int(np.ceil((float(end) - float(start)) / float(step)))
    return start + np.arange(max(count, 0), dtype=np.int64) * step


@operation("one_hot")
def one_hot(
    indices: Array, one_hot_vector_size: Array, axis: Any = -1, on_value: Any = 1, off_value: Any = 0
) -> Array:
    """A negative index, or one beyond the end, gives a vector without a one."""
    hot = np.arange(int(one_hot_vector_size)) == indices[..., None]
    return np.moveaxis(np.where(hot, on_value, off_value), -1, int(axis))


@operation("non_zero")
def non_zero(x: Array) -> Array:
    return np.argwhere(x)


@operation("band_part")
def band_part(x: Array, lower: Any = -1, upper: Any = -1) -> Array:
    rows, columns = np.indices(x.shape[-2:], sparse=True)
    kept = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    return np.where(kept, x, np.zeros((), x.dtype))


@operation("sliding_windows")
def sliding_windows(x: Array, axis: Array, size: Array, stride: Any = 1) -> Array:
    """(*, D, *) → (*, windows, size, *)."""
    along = int(axis) % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, int(size), along)
    every = (*[slice(None)] * along, slice(None, None, int(stride)))
    return np.moveaxis(windows[every], -1, along + 1)


@operation("crop")
def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    (top, bottom), (left, right) = (tuple(int(v) for v in c.ravel()) for c in (crop_height, crop_width))
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
