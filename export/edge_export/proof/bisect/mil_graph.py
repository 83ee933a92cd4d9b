"""A Core ML package with every tensor visible, any of them replaced, in our executor.

Results that the program declares as float16 are rounded, as in `verify`. Operations inside of loops and
branches are part of the loop's or branch's own step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_export.mil.graph import Operation, Variable
from edge_export.mil.program import Program
from edge_export.mil.types import FLOATS
from edge_export.proof.bisect import kinds
from edge_export.proof.bisect.values import HALF_MAX, Array, Step


class MilGraph:
    """A Core ML package for `bisect`.

    Args:
        path: the package.
        paths: result of an operation → its module, of the bundle's origins.
        lines: result of an operation → line of Python.

    Raises:
        BundleError: the package is damaged.
    """

    def __init__(
        self, path: Path, paths: Mapping[str, str] | None = None, lines: Mapping[str, str] | None = None
    ) -> None:
        self._program = Program.open(path)
        self.path = path
        self.what = f"{path.name} on mil"
        self.inputs = tuple(self._program.inputs)
        self.outputs = tuple(self._program.block.outputs)
        self.steps = self._steps(paths or {}, lines or {})

    def run(self, inputs: Mapping[str, Array], given: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """See `values.Graph.run`; arrays are float32, those declared as float16 rounded to it."""
        values: dict[str, Array] = {}
        replaced = given or {}

        def tap(variable: Variable, value: Array) -> Array:
            values[variable.name] = value
            if variable.name not in replaced:
                return value
            array = replaced[variable.name].astype(np.float32)
            if variable.type is not None and variable.type.dtype == "fp16":
                array = np.clip(array, -HALF_MAX, HALF_MAX).astype(np.float16).astype(np.float32)
            return array.reshape(value.shape)

        self._program.run(inputs, rounding="fp16", tap=tap)
        return values

    def _steps(self, paths: Mapping[str, str], lines: Mapping[str, str]) -> tuple[Step, ...]:
        steps: list[Step] = []
        sources: dict[str, frozenset[str]] = {name: frozenset({name}) for name in self.inputs}
        for operation in self._program.block.operations:
            names = list(dict.fromkeys(operation.reads()))
            found = frozenset().union(*(sources.get(name, frozenset()) for name in names))
            for output in operation.outputs:
                if _is_step(operation, output) and found:
                    sources[output.name] = frozenset({output.name})
                    steps.append(
                        Step(
                            output.name,
                            operation.type,
                            kinds.of_mil(operation.type),
                            paths.get(output.name, ""),
                            tuple(sorted(found)),
                            lines.get(output.name, ""),
                            tuple(name for name in names if name not in sources),
                        )
                    )
                elif not _is_constant(operation):
                    sources[output.name] = found
        return tuple(steps)


def _is_constant(operation: Operation) -> bool:
    return operation.type == "const" or operation.type.startswith("constexpr_")


def _is_step(operation: Operation, output: Variable) -> bool:
    return not _is_constant(operation) and output.type is not None and output.type.dtype in FLOATS
