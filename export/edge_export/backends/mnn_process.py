"""The process in which MNN runs; `edge_export.backends.mnn` starts it and explains why."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from edge_export.proof.runtime_trials import mnn_module, run_mnn_module
from edge_runtime.backends.base import Array, load_library
from edge_runtime.backends.worker import Run, serve


def opened(arguments: Sequence[str]) -> tuple[str, Run]:
    """The ONNX file that the arguments name, its inputs, joined by commas, and its outputs."""
    os.environ["PIP_NO_INDEX"] = "1"  # parts of the package install libraries when they are imported
    load_library("mnn", "MNN", "mnn")
    detail = f"MNN {version('MNN')}, CPU"
    if not arguments:
        return detail, dict
    path, joined, *outputs = arguments
    inputs = joined.split(",")
    module = mnn_module(Path(path), inputs, outputs)

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        return run_mnn_module(module, {name: given[name] for name in inputs}, outputs)

    return detail, run


if __name__ == "__main__":
    serve(opened)
