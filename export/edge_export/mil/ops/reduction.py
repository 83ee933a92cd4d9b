"""Reductions over axes (all of them by default), cumulative sums, and the places of extremes."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import add, operation

Over = tuple[int, ...] | None


def _log_sum_exp(x: Array, axis: Over, keepdims: bool) -> Array:
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    sums = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return sums if keepdims else np.squeeze(sums, axis=axis)


_REDUCTIONS: dict[str, Callable[[Array, Over, bool], Array]] = {
    "reduce_l1_norm": lambda x, axis, keep: np.abs(x).sum(axis=axis, keepdims=keep),
    "reduce_l2_norm": lambda x, axis, keep: np.sqrt(np.square(x).sum(axis=axis, keepdims=keep)),
    "reduce_log_sum": lambda x, axis, keep: np.log(x.sum(axis=axis, keepdims=keep)),
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": lambda x, axis, keep: x.max(axis=axis, keepdims=keep),
    "reduce_mean": lambda x, axis, keep: x.mean(axis=axis, keepdims=keep),
    "reduce_min": lambda x, axis, keep: x.min(axis=axis, keepdims=keep),
    "reduce_prod": lambda x, axis, keep: x.prod(axis=axis, keepdims=keep),
    "reduce_sum": lambda x, axis, keep: x.sum(axis=axis, keepdims=keep),
    "reduce_sum_square": lambda x, axis, keep: np.square(x).sum(axis=axis, keepdims=keep),
}


def _reduction(function: Callable[[Array, Over, bool], Array]) -> Callable[..., Array]:
    def compute(x: Array, axes: Array | None = None, keep_dims: Any = False) -> Array:
        over = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
        return function(x, over, bool(keep_dims))

    return compute


for _name, _function in _REDUCTIONS.items():
    add(_name, _reduction(_function))


@operation("reduce_argmax")
def reduce_argmax(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Array:
    del output_dtype  # the declared type of the result says the same
    return np.argmax(x, axis=int(axis), keepdims=bool(keep_dims))


@operation("reduce_argmin")
def reduce_argmin(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Array:
    del output_dtype
    return np.argmin(x, axis=int(axis), keepdims=bool(keep_dims))


@operation("cumsum")
def cumsum(x: Array, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Array:
    along = int(axis)
    ordered = np.flip(x, along) if reverse else x
    sums = np.cumsum(ordered, axis=along, dtype=x.dtype)
    if exclusive:
        sums = sums - ordered
    return np.flip(sums, along) if reverse else sums
