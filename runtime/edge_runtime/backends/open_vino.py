"""ONNX artifacts on OpenVINO: "cpu", and Intel's "gpu" and "npu" where OpenVINO finds them.

Inference is held to float32: on processors with bfloat16 OpenVINO would use that by default, which is fast
but keeps only two to three digits; and before weights of 8 bits it would round activations to 8 bits too,
which took `istft-vocoder` from 33 to 15 dB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import (
    Array,
    as_clause,
    check_device,
    check_request,
    load_library,
    refused,
    threads_in_words,
)
from edge_runtime.backends.signal_stack import signal_stack_kept
from edge_runtime.errors import BackendError

name = "openvino"
target = "onnx"

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
devices = tuple(_DEVICES)


class OpenVinoSession:
    """An ONNX file that OpenVINO has compiled."""

    def __init__(self, compiled: Any, path: str | Path, detail: str) -> None:
        self._compiled = compiled
        self._path = path
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `base.Session.run`."""
        arrays = {key: np.asarray(inputs[key], order="C") for key in inputs}
        try:
            values = self._compiled(arrays)
            return {_output_name(port): np.asarray(values[port]) for port in self._compiled.outputs}
        except (RuntimeError, TypeError, ValueError) as error:
            raise refused(name, self._path, error, doing="running") from error


def unavailable(device: str = "cpu") -> str:
    """Why OpenVINO cannot run on a device here; "" when it can."""
    try:
        _core(device)
    except BackendError as obstacle:
        return as_clause(obstacle)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> OpenVinoSession:
    """Compile an ONNX file; `threads` work inside each operation, on the CPU."""
    check_request(name, path, threads)
    library, core = _core(device)
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if device == "cpu":
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
    try:
        with signal_stack_kept():
            compiled = core.compile_model(core.read_model(str(path)), _DEVICES[device], settings)
    except RuntimeError as error:
        raise refused(name, path, error, doing="loading") from error
    count = threads_in_words(threads if device == "cpu" else None)
    version = library.__version__.split("-")[0]
    return OpenVinoSession(compiled, path, f"OpenVINO {version}, {_DEVICES[device]}, float32, {count}")


@signal_stack_kept()
def _core(device: str) -> tuple[Any, Any]:
    check_device(name, device, _DEVICES)
    library = load_library(name, "openvino", "openvino")
    core = library.Core()
    found = {entry.split(".")[0] for entry in core.available_devices}  # several GPUs are GPU.0, GPU.1
    if _DEVICES[device] not in found:
        raise BackendError(
            f"{name} on {device}",
            got=f"OpenVINO with {', '.join(sorted(found)) or 'no device'}",
            expected=_DEVICES[device],
            cause="OpenVINO finds no such device on this machine",
        )
    return library, core


def _output_name(port: Any) -> str:
    """The ONNX name of an output: that of the graph's result where the tensor has an inner name too."""
    names = port.get_names()
    result = str(port.get_node().friendly_name).split("/sink_port")[0]
    return result if result in names else str(port.get_any_name())
