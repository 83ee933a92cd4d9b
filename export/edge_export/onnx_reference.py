"""The backend "onnx-reference": the ONNX project's reference evaluator, numpy, operator by operator.

Nothing is fused or reordered, so it shows what the file says rather than what a runtime makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import Array, as_clause, check_request, load_library, refused
from edge_runtime.errors import BackendError

name = "onnx-reference"
target = "onnx"


class ReferenceSession:
    """An ONNX file in the reference evaluator."""

    def __init__(self, evaluator: Any, path: str | Path, detail: str) -> None:
        self._evaluator = evaluator
        self._path = path
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by name in and out."""
        try:
            results = self._evaluator.run(None, dict(inputs))
        except Exception as error:  # any operator may raise anything
            raise refused(name, self._path, error, doing="running") from error
        return dict(zip(self._evaluator.output_names, map(np.asarray, results), strict=True))


def unavailable(device: str = "cpu") -> str:
    """Why it cannot run here, as a clause; "" when it can."""
    if device != "cpu":
        return f"it has no {device}"
    try:
        load_library(name, "onnx", "export")
    except BackendError as missing:
        return as_clause(missing)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> ReferenceSession:
    """Read an ONNX file; the number of threads is numpy's."""
    del device
    check_request(name, path, threads)
    onnx = load_library(name, "onnx", "export")
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(str(path))
    except Exception as error:  # a damaged file fails in many ways
        raise refused(name, path, error, doing="opening") from error
    return ReferenceSession(evaluator, path, f"onnx {onnx.__version__} reference evaluator")
