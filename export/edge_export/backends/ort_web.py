"""The backend "onnxruntime-web": its WASM build under node, as browsers run it. Only where it is asked for.

The package is found as node finds it, or where EDGE_ORT_WEB says: …/node_modules/onnxruntime-web. Each run
is a process of its own, so times say nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_export.proof import runtime_trials
from edge_runtime.backends.base import Array, check_request, refused
from edge_runtime.errors import BackendError

name = "onnxruntime-web"
target = "onnx"
devices = ("cpu",)


class WebSession:
    """An ONNX file for onnxruntime-web."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.detail = name

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `edge_runtime.backends.base.Session.run`."""
        arrays = {key: np.asarray(array) for key, array in inputs.items()}
        try:
            outputs = runtime_trials.run_web(self._path, arrays, None)
        except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise refused(name, self._path, error, doing="running") from error
        self.detail = runtime_trials.VERSIONS["web"]
        return outputs


def unavailable(device: str = "cpu") -> str:
    """Why it cannot run here, as a clause; "" when it can."""
    if device != "cpu":
        return f"it has no {device}"
    if shutil.which("node") is None:
        return "node is not in the PATH"
    where = os.environ.get("EDGE_ORT_WEB", name)
    found = subprocess.run(
        ["node", "-e", "require.resolve(process.argv[1])", where], capture_output=True, check=False
    )
    if found.returncode:
        return f"npm install {name}, and EDGE_ORT_WEB=…/node_modules/{name}: node finds no {where}"
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> WebSession:
    """Take an ONNX file; it is loaded with each run, on one thread."""
    check_request(name, path, threads)
    if reason := unavailable(device):
        raise BackendError(name, got=reason, expected="node and the package")
    return WebSession(Path(path))
