"""The backend "mnn": ONNX files on MNN, converted by its own tool. Only where it is asked for.

It works in a process of its own (`mnn_process`): its converter ends the process where it gives up.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from edge_runtime.backends.base import (
    as_clause,
    check_device,
    check_request,
    load_library,
    not_installed,
    refused,
)
from edge_runtime.backends.worker import WorkerSession, obstacle
from edge_runtime.errors import BackendError

name = "mnn"
target = "onnx"
devices = ("cpu",)

PROGRAM = Path(__file__).with_name("mnn_process.py")


def unavailable(device: str = "cpu") -> str:
    """Why it cannot run here, as a clause; "" when it can."""
    try:
        check_device(name, device, dict.fromkeys(devices))
        _check_library()
    except BackendError as refusal:
        return as_clause(refusal)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> WorkerSession:
    """Convert an ONNX file and load it; `threads` is accepted and left to MNN."""
    check_request(name, path, threads)
    check_device(name, device, dict.fromkeys(devices))
    _check_library()
    onnx = load_library(name, "onnx", "export")
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # a damaged file fails in many ways
        raise refused(name, path, error, doing="loading") from error
    held = {constant.name for constant in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in held]
    outputs = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.output}
    return WorkerSession(name, PROGRAM, path, [json.dumps(inputs), json.dumps(outputs)])


def _check_library() -> None:
    """BackendError unless the library is there and loads."""
    if find_spec("MNN") is None:
        raise not_installed(name, "MNN", "MNN", "mnn")
    if refusal := obstacle(name, PROGRAM):
        raise refusal
