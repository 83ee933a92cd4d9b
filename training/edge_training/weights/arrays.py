"""Tensors of torch's files as arrays, for `edge_runtime.store.arrays`: by our own inert unpickler."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_runtime.errors import BackendError, CheckpointError, InputError
from edge_runtime.store.arrays import Member


def read_tensors(path: Path) -> Mapping[str, Member]:
    """Dotted name → tensor, "" for one by itself; numpy's arrays inside of pickles are not read.

    Raises:
        CheckpointError: a file that is damaged, hostile or no pickle of tensors.
        InputError: no tensor in it.
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
    tensors = flatten([saved] if not isinstance(saved, dict | list | tuple) else saved)
    alone = not isinstance(saved, dict | list | tuple) and list(tensors.stored) == ["0"]
    found = {
        "" if alone else name: Member(
            stored.shape, "f" if stored.dtype.is_floating_point else "i", partial(_read, name, stored)
        )
        for name, stored in tensors.stored.items()
        if not stored.kind
    }
    if not found:
        held = f", but {tensors.objects[0]}" if tensors.objects else ""
        raise InputError(
            str(path),
            got=f"no tensor{held}",
            expected="a tensor, or tensors under names",
            cause="save an array of numpy with numpy.save",
        )
    return found


def _read(name: str, stored: Any) -> NDArray[Any]:
    from edge_training.weights.reading import read_values

    tensor = read_values(name, stored).detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
