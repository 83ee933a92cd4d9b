"""Reading and writing at computed places.

An index beyond the ends is refused. A negative one counts from the end, as documented until iOS 16; from
iOS 17 on (where `validate_indices` exists) that is undefined, and refused where the program asks for it.
"""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation


@operation("gather")
def gather(
    x: Array, indices: Array, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False
) -> Array:
    _validate(indices, validate_indices)
    along, batch = int(axis) % x.ndim, int(batch_dims)
    places = indices.astype(np.int64)
    if batch == 0:
        return np.take(x, places, axis=along)
    lead = x.shape[:batch]
    flat_x = x.reshape(prod(lead), *x.shape[batch:])
    flat_i = places.reshape(prod(lead), *places.shape[batch:])
    taken = [np.take(one, where, axis=along - batch) for one, where in zip(flat_x, flat_i, strict=True)]
    return np.stack(taken).reshape(*lead, *taken[0].shape)


@operation("gather_along_axis")
def gather_along_axis(x: Array, indices: Array, axis: Any = 0, validate_indices: Any = False) -> Array:
    _validate(indices, validate_indices)
    return x[_along(indices, int(axis) % x.ndim)]


@operation("gather_nd")
def gather_nd(x: Array, indices: Array, batch_dims: Any = 0, validate_indices: Any = False) -> Array:
    _validate(indices, validate_indices)
    batch = int(batch_dims)
    if batch == 0:
        return x[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))]
    lead = x.shape[:batch]
    flat_x = x.reshape(prod(lead), *x.shape[batch:])
    flat_i = indices.reshape(prod(lead), *indices.shape[batch:])
    taken = [gather_nd(one, where) for one, where in zip(flat_x, flat_i, strict=True)]
    return np.stack(taken).reshape(*lead, *taken[0].shape)


@operation("scatter")
def scatter(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Any = 0,
    mode: str = "add",
    validate_indices: Any = False,
) -> Array:
    _validate(indices, validate_indices)
    along = int(axis) % data.ndim
    place = (*[slice(None)] * along, indices.astype(np.int64))
    return _write(data, place, updates, mode)


@operation("scatter_along_axis")
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Any = 0,
    mode: str = "add",
    validate_indices: Any = False,
) -> Array:
    _validate(indices, validate_indices)
    return _write(data, _along(indices, int(axis) % data.ndim), updates, mode)


@operation("scatter_nd")
def scatter_nd(
    data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: Any = False
) -> Array:
    _validate(indices, validate_indices)
    place = tuple(np.moveaxis(indices.astype(np.int64), -1, 0))
    return _write(data, place, updates, mode)


def _validate(indices: Array, wanted: Any) -> None:
    if wanted and (indices < 0).any():
        raise IndexError(f"the index {indices.min()}, which is negative")


def _along(indices: Array, axis: int) -> tuple[Array, ...]:
    """Indices of all axes: those given along one, its own position along every other."""
    grid = list(np.indices(indices.shape, sparse=True))
    grid[axis] = indices.astype(np.int64)
    return tuple(grid)


_MODES: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


def _write(data: Array, place: tuple[Any, ...], updates: Array, mode: str) -> Array:
    """A copy with the updates applied in order, repeated places included."""
    out = data.copy()
    if mode == "update":
        out[place] = updates
    elif mode == "div" and out.dtype.kind in "iu":
        np.floor_divide.at(out, place, updates)
    else:
        _MODES[mode].at(out, place, updates)
    return out
