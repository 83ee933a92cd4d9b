"""The process in which MNN runs; `edge_export.backends.mnn` starts it and explains why."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from edge_export.proof.runtime_trials import mnn_module, run_mnn_module
from edge_runtime.backends.base import Array, load_library
from edge_runtime.backends.worker import Run, serve


def opened(arguments: Sequence[str]) -> tuple[str, Run]:
    """The ONNX file that the arguments name, its inputs, and its outputs with their numbers of axes."""
    os.environ["PIP_NO_INDEX"] = "1"  # parts of the package install libraries when they are imported
    load_library("mnn", "MNN", "mnn")
    detail = f"MNN {version('MNN')}, CPU"
    if not arguments:
        return detail, dict
    path = Path(arguments[0])
    inputs, ranks = map(json.loads, arguments[1:])
    module = mnn_module(path, inputs, list(ranks))

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        found = run_mnn_module(module, {name: given[name] for name in inputs}, list(ranks))
        return {name: without_axes(array, ranks[name]) for name, array in found.items()}

    return detail, run


def without_axes(array: Array, rank: int) -> Array:
    """An array without the axes of length 1 that MNN puts behind those of some tensors.

    >>> import numpy as np
    >>> without_axes(np.zeros((1, 256, 128, 1)), 3).shape
    (1, 256, 128)
    """
    added = array.shape[rank:]
    return array.reshape(array.shape[:rank]) if set(added) == {1} else array


if __name__ == "__main__":
    serve(opened)
