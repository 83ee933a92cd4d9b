"""The executor as the backend "mil": verify and the pipelines run Core ML packages with it on any machine.

Results that a program declares as float16 are rounded to float16 after every operation; an fp32 program
declares no such result, so it runs in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_export.mil.ops.random import PREFIX
from edge_export.mil.proto import model_class
from edge_runtime.backends.base import Array, as_clause, check_request
from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from edge_export.mil.program import Program

name = "mil"
target = "coreml"
devices = ("cpu",)


class MilSession:
    """A saved program in the executor."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def detail(self) -> str:
        """The program, and once it ran: its largest magnitude, and the first overflow."""
        program, report = self._program, self._program.report
        words = f"{sum(program.operations.values())} operations of {program.opset}"
        place, value = report.peak
        if place:
            words += f", largest magnitude {value:.4g} at {place}"
        if any(name.startswith(PREFIX) for name in program.operations):
            words += ", random values are numpy's, not Apple's"
        trouble = report.overflow or report.not_a_number
        return f"{words}; beyond float16: {trouble}" if trouble else words

    @property
    def largest_magnitude(self) -> float:
        """Largest magnitude of the last run; infinity after an overflow or where NaN arose."""
        report = self._program.report
        return math.inf if report.overflow or report.not_a_number else report.peak[1]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `edge_runtime.backends.base.Session.run`."""
        return self._program.run(inputs, rounding="fp16")


def unavailable(device: str = "cpu") -> str:
    """Why it cannot run here, as a clause; "" when it can."""
    if device != "cpu":
        return f"it has no {device}"
    try:
        model_class()
    except BackendError as missing:
        return as_clause(missing)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> MilSession:
    """Read a package; the number of threads is numpy's."""
    del device
    check_request(name, path, threads)
    from edge_export.mil.program import Program

    return MilSession(Program.open(path))
