"""The backend "mnn": ONNX files on MNN, converted by its own tool. Only where it is asked for.

It works in a process of its own (`mnn_process`): its converter ends the process where it gives up.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge_runtime.backends.base import check_request, load_library, refused
from edge_runtime.backends.worker import WorkerLibrary, WorkerSession

name = "mnn"
target = "onnx"
LIBRARY = WorkerLibrary(
    name, Path(__file__).with_name("mnn_process.py"), module="MNN", distribution="MNN", extra="mnn"
)
devices = LIBRARY.devices
unavailable = LIBRARY.unavailable


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> WorkerSession:
    """Convert an ONNX file and load it; `threads` is accepted and left to MNN."""
    check_request(name, path, threads)
    LIBRARY.check(device)
    onnx = load_library(name, "onnx", "export")
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # a damaged file fails in many ways
        raise refused(name, path, error, doing="loading") from error
    held = {constant.name for constant in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in held]
    outputs = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.output}
    return WorkerSession(name, LIBRARY.program, path, [json.dumps(inputs), json.dumps(outputs)])
