"""Core ML artifacts on Core ML itself: macOS only.

Devices are Core ML's compute units: "cpu" alone, with the "gpu", with the Neural Engine ("ane"), or "all".
Core ML decides on threads, and on the precision of what it does not run on the CPU.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import Array, as_clause, check_device, check_request, load_library, refused
from edge_runtime.errors import BackendError

name = "coreml"
target = "coreml"

# device → member of coremltools.ComputeUnit
_UNITS = {"cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE", "all": "ALL"}
devices = tuple(_UNITS)


class CoreMlSession:
    """A package that Core ML has compiled."""

    def __init__(self, model: Any, path: str | Path, detail: str) -> None:
        self._model = model
        self._path = path
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `base.Session.run`."""
        try:
            outputs = self._model.predict({key: np.asarray(inputs[key]) for key in inputs})
        except Exception as error:  # Core ML's errors come through as bare Exception
            raise refused(name, self._path, error, doing="running") from error
        return {key: np.asarray(value) for key, value in outputs.items()}


def unavailable(device: str = "cpu") -> str:
    """Why Core ML cannot run on a device here; "" when it can."""
    try:
        _library(device)
    except BackendError as obstacle:
        return as_clause(obstacle)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> CoreMlSession:
    """Compile a package; `threads` is accepted and left to Core ML."""
    check_request(name, path, threads)
    library = _library(device)
    try:
        model = library.models.MLModel(str(path), compute_units=library.ComputeUnit[_UNITS[device]])
    except Exception as error:  # Core ML's errors come through as bare Exception
        raise refused(name, path, error, doing="loading") from error
    system = f"macOS {platform.mac_ver()[0]}"
    detail = f"Core ML of {system}, {_UNITS[device]}, coremltools {library.__version__}"
    return CoreMlSession(model, path, detail)


def _library(device: str) -> Any:
    check_device(name, device, _UNITS)
    if sys.platform != "darwin":
        raise BackendError(
            f"{name} on {device}",
            got=platform.system(),
            expected="macOS",
            cause="Core ML runs on macOS only",
        )
    return load_library(name, "coremltools", "export")
