"""Constants, and constants that the package stores compressed (`constexpr_…`).

Until iOS 17 compressed constants carry packed bits and a flat layout; from iOS 18 on the types under 8 bits
are types of the program, and scales and look-up tables hold for blocks of the tensor.
"""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edge_export.mil.blob import Array, unpack_bits
from edge_export.mil.ops.registry import operation


@operation("const")
def const(val: Any) -> Any:
    return val


@operation("constexpr_cast")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    del output_dtype  # the declared type of the result says the same
    return source_val


@operation("constexpr_affine_dequantize")
def affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Array) -> Array:
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    data = quantized_data.astype(np.float32)
    return along(scale, shape) * (data - along(zero_point, shape))


def along(vector: Array, shape: list[int]) -> Array:
    """A scalar, or a vector laid along one axis, as float32."""
    return vector.astype(np.float32).reshape(shape if vector.ndim else ())


@operation("constexpr_lut_to_dense")
def lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: Array | None = None
) -> Array:
    if shape is None:
        return _look_up(indices, lut, vector_axis)
    lengths = tuple(int(length) for length in shape)
    bits = lut.size.bit_length() - 1
    return lut[unpack_bits(indices, bits, prod(lengths))].reshape(lengths)


@operation("constexpr_sparse_to_dense")
def sparse_to_dense(nonzero_data: Array, mask: Array, shape: Array | None = None) -> Array:
    if shape is not None:
        lengths = tuple(int(length) for length in shape)
        mask = unpack_bits(mask, 1, prod(lengths)).reshape(lengths)
    return _spread(nonzero_data, mask)


@operation("constexpr_blockwise_shift_scale")
def blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    values = data.astype(np.float32)
    if offset is not None:
        values = values - _per_element(offset.astype(np.float32), data.shape)
    return values * _per_element(scale.astype(np.float32), data.shape)


@operation("constexpr_sparse_blockwise_shift_scale")
def sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    dense = blockwise_shift_scale(_spread(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


@operation("constexpr_lut_to_sparse")
def lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Array | None = None
) -> tuple[Array, Array]:
    dense = _look_up(_spread(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = np.repeat(mask, lut.shape[-1], axis=int(vector_axis))
    return mask, dense[mask != 0]


@operation("identity")
def identity(x: Any) -> Any:
    return x


@operation("fill")
def fill(shape: Array, value: Any = 0.0) -> Array:
    return np.full(tuple(int(length) for length in np.atleast_1d(shape)), value)


@operation("fill_like")
def fill_like(ref_tensor: Array, value: Any = 0.0) -> Array:
    return np.full(ref_tensor.shape, value)


def _spread(values: Array, mask: Array) -> Array:
    """Values at the places where the mask is set, zeros elsewhere."""
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask != 0] = values
    return dense


def _per_element(blocks: Array, shape: tuple[int, ...]) -> Array:
    """One value a block → one value an element."""
    for axis, (length, count) in enumerate(zip(shape, blocks.shape, strict=True)):
        if length != count:
            blocks = np.repeat(blocks, length // count, axis=axis)
    return blocks


def _look_up(indices: Array, lut: Array, vector_axis: Array | None) -> Array:
    """Blockwise tables: lut has the shape (blocks of each axis …, entries, vector length)."""
    rank, (entries, width) = indices.ndim, lut.shape[-2:]
    blocks = lut.reshape(*lut.shape[:rank], entries * width)
    for axis, (length, count) in enumerate(zip(indices.shape, blocks.shape, strict=False)):
        blocks = np.repeat(blocks, length // count, axis=axis)
    tables = blocks.reshape(-1, entries, width)
    vectors = tables[np.arange(indices.size), indices.ravel()].reshape(*indices.shape, width)
    if vector_axis is None:
        return vectors[..., 0]
    axis = int(vector_axis) % rank
    shape = list(indices.shape)
    shape[axis] *= width
    return np.moveaxis(vectors, -1, axis + 1).reshape(shape)
