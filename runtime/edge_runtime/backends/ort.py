"""ONNX artifacts on onnxruntime: "cpu", or "cuda" where its CUDA provider is installed.

Numbers are those of float32: TensorFloat-32, which Nvidia's libraries would otherwise use, is off.
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
from edge_runtime.errors import BackendError

name = "onnxruntime"
target = "onnx"

# device → provider and its options
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}
_FATAL_ONLY = 4  # every other message also comes as an exception


class OrtSession:
    """An ONNX file that onnxruntime has loaded."""

    def __init__(self, session: Any, path: str | Path, detail: str) -> None:
        self._session = session
        self._path = path
        self._outputs = [output.name for output in session.get_outputs()]
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `base.Session.run`."""
        try:
            values = self._session.run(self._outputs, {key: np.asarray(inputs[key]) for key in inputs})
        except Exception as error:  # onnxruntime's exceptions have no common parent
            raise refused(name, self._path, error, doing="running") from error
        return dict(zip(self._outputs, values, strict=True))


def unavailable(device: str = "cpu") -> str:
    """Why onnxruntime cannot run on a device here; "" when it can."""
    try:
        _library(device)
    except BackendError as obstacle:
        return as_clause(obstacle)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> OrtSession:
    """Load an ONNX file; `threads` work inside each operation."""
    check_request(name, path, threads)
    library = _library(device)
    options = library.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    provider, settings = _PROVIDERS[device]
    try:
        session = library.InferenceSession(str(path), sess_options=options, providers=[(provider, settings)])
    except Exception as error:  # onnxruntime's exceptions have no common parent
        raise refused(name, path, error, doing="loading") from error
    if session.get_providers()[0] != provider:  # onnxruntime goes on without a provider that fails to start
        raise BackendError(
            f"{name} on {device}",
            got=f"{session.get_providers()[0]} in place of {provider}",
            expected=f"{provider} to start",
            cause="its driver or libraries (CUDA, cuDNN) are missing or of another version",
        )
    detail = f"onnxruntime {library.__version__}, {provider}, {threads_in_words(threads)}"
    return OrtSession(session, path, detail)


def _library(device: str) -> Any:
    check_device(name, device, _PROVIDERS)
    library = load_library(name, "onnxruntime", "ort")
    provider, _ = _PROVIDERS[device]
    installed = library.get_available_providers()
    if provider not in installed:
        raise BackendError(
            f"{name} on {device}",
            got=f"onnxruntime {library.__version__} with {', '.join(installed)}",
            expected=provider,
            cause="pip install onnxruntime-gpu in place of onnxruntime",
        )
    return library
