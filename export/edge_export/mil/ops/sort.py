"""Sorting and selecting the largest. Equal values keep their order."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import operation


@operation("argsort")
def argsort(x: Array, axis: Any = -1, ascending: Any = False) -> Array:
    along = int(axis)
    if ascending:
        return np.argsort(x, axis=along, kind="stable")
    # the stable order of the reversed array, read backwards, keeps equal values in their first order
    backwards = np.argsort(np.flip(x, along), axis=along, kind="stable")
    return x.shape[along] - 1 - np.flip(backwards, along)


@operation("topk")
def topk(
    x: Array,
    k: Any = 1,
    axis: Any = -1,
    ascending: Any = False,
    sort: Any = True,
    return_indices: Any = True,
    output_indices_dtype: str = "int32",
) -> Any:
    """`k` = -1 takes all; without `sort` any order will do, so that they are sorted all the same."""
    del sort, output_indices_dtype
    along, count = int(axis), int(k)
    order = argsort(x, along, ascending)
    chosen = order if count == -1 else np.take(order, range(count), axis=along)
    values = np.take_along_axis(x, chosen, axis=along)
    return (values, chosen) if return_indices else values
