"""Tensors of torch's files, and numpy's arrays in pickles, as arrays for `edge_runtime.store.arrays`.

Read by our own inert unpickler: an array is made from the bytes, the shape and the name of a type that the
file states, by code of ours, and nothing that it names is called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, CheckpointError, InputError
from edge_runtime.store.arrays import Member

if TYPE_CHECKING:
    from edge_training.weights.pickles import Stored


def read_tensors(path: Path) -> Mapping[str, Member]:
    """Dotted name → tensor or array, "" for one by itself.

    Raises:
        CheckpointError: a file that is damaged, hostile or no pickle of tensors.
        InputError: neither in it.
        BackendError: torch is not installed.
    """
    try:
        from edge_training.weights.containers import open_weights
        from edge_training.weights.selection import flatten
    except ModuleNotFoundError as missing:
        raise BackendError(
            str(path),
            got=f"no module named {missing.name}",
            expected="torch, which reads such files",
            cause="pip install 'edge-export[train]', or save the array with numpy.save",
        ) from missing
    try:
        saved = open_weights(path).saved
    except CheckpointError as error:
        raise error.within(str(path)) from error
    alone = not isinstance(saved, dict | list | tuple)
    box = [saved] if alone else saved
    tensors = flatten(box)
    found = {
        name: Member(
            stored.shape, "f" if stored.dtype.is_floating_point else "i", partial(_read, name, stored)
        )
        for name, stored in tensors.stored.items()
        if not stored.kind
    } | _arrays(box)
    if alone and list(found) == ["0"]:
        return {"": found["0"]}
    if not found:
        held = f", but {tensors.objects[0]}" if tensors.objects else ""
        raise InputError(
            str(path),
            got=f"no tensor or array{held}",
            expected="one, or several under names",
            cause="numpy.save writes an array that needs no pickle",
        )
    return found


def _read(name: str, stored: Any) -> NDArray[Any]:
    from edge_training.weights.reading import read_values

    tensor = read_values(name, stored).detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def stored_array(value: object) -> Stored | None:
    """An array of floats that a pickle holds (…,), as a tensor of it; None for anything else."""
    import torch

    from edge_training.weights.pickles import StandIn, Stored

    if not isinstance(value, StandIn):
        return None
    values = _of_numpy(value.of, value.arguments, value.state)
    if values is None or values.dtype.kind != "f":
        return None
    native = values.dtype.newbyteorder("=")
    dtype = {2: torch.float16, 4: torch.float32, 8: torch.float64}[native.itemsize]
    return Stored(values.shape, dtype, lambda: torch.from_numpy(np.array(values, native)))


# numpy's arrays --------------------------------------------------------------------------------------------

_TYPE = re.compile(r"f[248]|[iu][1248]|b1")
_MOST = 10_000  # containers that are looked into


def _arrays(box: object) -> dict[str, Member]:
    """Dotted name → array of numpy, of dicts and lists inside of each other."""
    from edge_training.weights.pickles import StandIn

    found: dict[str, Member] = {}
    queue, seen = [("", box)], set[int]()
    for name, value in queue:
        if isinstance(value, StandIn):
            values = _of_numpy(value.of, value.arguments, value.state)
            if values is not None:
                found[name] = Member(values.shape, values.dtype.kind, partial(np.array, values))
        if not isinstance(value, dict | list | tuple) or id(value) in seen or len(seen) > _MOST:
            continue
        seen.add(id(value))
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        queue += [(f"{name}.{key}" if name else str(key), item) for key, item in entries]
    return found


def _of_numpy(of: str, arguments: object, state: object) -> NDArray[Any] | None:
    """The array (…,) that a call of numpy's would have made, on the file's bytes; None for anything else."""
    parts = of.split(".")
    if parts[0] != "numpy":
        return None
    if parts[-1] == "_reconstruct" and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, by_columns, content = state
    elif parts[-1] == "_frombuffer" and isinstance(arguments, tuple) and len(arguments) == 4:
        content, kind, shape, letter = arguments
        by_columns = letter == "F"
    else:
        return None
    dtype = _dtype(kind)
    whole = isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)
    if dtype is None or not whole or not isinstance(content, bytes | bytearray):
        return None
    if len(content) != math.prod(shape) * dtype.itemsize:
        return None
    order: Any = "F" if by_columns else "C"
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _dtype(kind: object) -> np.dtype[Any] | None:
    """A type of plain numbers that a stand-in describes."""
    from edge_training.weights.pickles import StandIn

    if not isinstance(kind, StandIn) or kind.of != "numpy.dtype" or not isinstance(kind.arguments, tuple):
        return None
    name = kind.arguments[0] if kind.arguments else None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    if not isinstance(name, str) or not _TYPE.fullmatch(name) or order not in ("<", ">", "|", "="):
        return None
    return np.dtype(f"{order}{name}" if order in "<>" else name)
