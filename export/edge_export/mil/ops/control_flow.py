"""Branches, loops, lists of tensors, and the state of stateful programs.

A list is a Python list of arrays, copied on writing, so that the old list stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import Call, as_list, operation
from edge_export.mil.types import WORKING
from edge_runtime.errors import InputError


@operation("cond")
def cond(pred: Array, call: Call) -> tuple[Any, ...]:
    true_block, false_block = call.operation.blocks
    return tuple(call.run_block(true_block if pred else false_block, ()))


@operation("while_loop")
def while_loop(loop_vars: Any, call: Call) -> tuple[Any, ...]:
    condition, body = call.operation.blocks
    values = as_list(loop_vars) if len(body.inputs) > 1 else [loop_vars]
    while call.run_block(condition, values)[0]:
        values = call.run_block(body, values)
    return tuple(values)


@dataclass(frozen=True)
class TensorList:
    """A list value. Elements that were never written are zeros of `shape`."""

    items: tuple[Array, ...]
    shape: tuple[int, ...]
    dtype: str

    def write(self, index: int, value: Array) -> TensorList:
        """The list with one element replaced, grown with zeros where the index lies behind its end."""
        items = list(self.items)
        while len(items) <= index:
            items.append(np.zeros(value.shape, value.dtype))
        items[index] = value
        return TensorList(tuple(items), value.shape, self.dtype)


@operation("make_list")
def make_list(
    elem_shape: Any, init_length: Any = 1, dynamic_length: Any = True, dtype: str = "fp32"
) -> TensorList:
    del dynamic_length  # a list that the program calls fixed is never written behind its end
    # a length given as a name is known only once an element is written
    shape = tuple(
        1 if isinstance(n, str) else int(n)
        for part in as_list(elem_shape)
        for n in np.atleast_1d(part).tolist()
    )
    items = tuple(np.zeros(shape, WORKING[dtype]) for _ in range(int(init_length)))
    return TensorList(items, shape, dtype)


@operation("list_length")
def list_length(ls: TensorList) -> Array:
    return np.array(len(ls.items), np.int32)


@operation("list_write")
def list_write(ls: TensorList, index: Array, value: Array) -> TensorList:
    return ls.write(int(index), value)


@operation("list_read")
def list_read(ls: TensorList, index: Array) -> Array:
    return ls.items[int(index)]


@operation("list_gather")
def list_gather(ls: TensorList, indices: Array) -> Array:
    return np.stack([ls.items[int(index)] for index in np.atleast_1d(indices)])


@operation("list_scatter")
def list_scatter(ls: TensorList, indices: Array, value: Array) -> TensorList:
    for index, element in zip(np.atleast_1d(indices), value, strict=True):
        ls = ls.write(int(index), element)
    return ls


@dataclass(frozen=True)
class StateCell:
    """The place of one state in the dictionary that the caller keeps."""

    values: dict[str, Array]
    name: str


@operation("read_state")
def read_state(input: StateCell) -> Array:
    if input.name not in input.values:
        raise InputError(f"state {input.name}", got="no value", expected="a state from Program.new_state()")
    return input.values[input.name]


@operation("write_state")
def write_state(input: StateCell, data: Array) -> tuple[Any, ...]:
    input.values[input.name] = data
    return ()
