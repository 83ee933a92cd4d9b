"""Executes a saved Core ML package (ML Program) with numpy, on any machine.

An executor of the documented operation semantics, not Apple's runtime: it proves the conversion, not a
chip's rounding. `Program.open(package).run({"mel": mel})`.
"""

from edge_export.mil.features import Feature
from edge_export.mil.ops.registry import UnknownOperationError, supported_operations
from edge_export.mil.program import Program
from edge_export.mil.report import Event, RunReport

__all__ = ["Event", "Feature", "Program", "RunReport", "UnknownOperationError", "supported_operations"]
