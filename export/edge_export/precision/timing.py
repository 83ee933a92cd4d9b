"""For milliseconds: every ONNX artifact on every runtime of this machine, OpenVINO in bfloat16 too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.backends import get_backend
from edge_export.precision.formats import Array
from edge_export.precision.quality import Budget, Probe, Quality
from edge_runtime.backends.base import load_library
from edge_runtime.backends.open_vino import _output_name
from edge_runtime.errors import EdgeError

RUNS = 5  # of which the fastest counts, after one that does not

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Timed:
    """One artifact on one runtime."""

    name: str  # as "model.onnx on openvino, bfloat16"
    path: str  # of the artifact, relative to the bundle or to what was written for the search
    bytes: int
    milliseconds: float
    quality: Quality
    fits: bool


def measured(
    files: Mapping[str, Path],
    probe: Probe,
    truth: Mapping[str, Array],
    plain: Quality,
    budget: Budget,
    progress: Callable[[str], object],
) -> list[Timed]:
    """Every file on every runtime that opens it; those that fail are left out.

    Args:
        files: name → ONNX file.
        probe, truth, plain, budget: as `search.Search` has them.
        progress: called with a line before each.
    """
    found = []
    for name, path in files.items():
        for words, run in _runtimes(path):
            progress(f"timing {name} on {words}")
            try:
                made = run(probe.whole)
            except EdgeError:
                continue
            quality = probe.judged(truth, {key: np.asarray(made[key], np.float32) for key in truth})
            label, size = f"{name} on {words}", path.stat().st_size
            fits = quality.within(budget, plain)
            found.append(Timed(label, name, size, 1e3 * _fastest(run, probe), quality, fits))
    return found


def _fastest(run: Run, probe: Probe) -> float:
    """Seconds on the probe's whole inputs."""
    best = np.inf
    for _ in range(RUNS):
        begun = time.perf_counter()
        run(probe.whole)
        best = min(best, time.perf_counter() - begun)
    return float(best)


def _runtimes(path: Path) -> Iterator[tuple[str, Run]]:
    for name in ("onnxruntime", "openvino"):
        backend = get_backend(name)
        if backend.unavailable():
            continue
        try:
            yield name, backend.open(path).run
        except EdgeError:
            continue
    if not get_backend("openvino").unavailable():
        yield "openvino, bfloat16", _bfloat16(path)


def _bfloat16(path: Path) -> Run:
    """OpenVINO with the hint that our own backend holds back: two to three digits, where it is faster."""
    library: Any = load_library("openvino", "openvino", "openvino")
    compiled = library.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        values = compiled({name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return {_output_name(port): np.asarray(values[port]) for port in compiled.outputs}

    return run
