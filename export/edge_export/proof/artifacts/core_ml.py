"""Core ML packages: in the executor (`edge_export.mil`) on any machine, or on Core ML itself on a Mac."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from edge_export.mil.features import Feature, Picture
from edge_export.mil.graph import Block, Literal, Reference
from edge_export.mil.graph import Operation as MilOperation
from edge_export.mil.program import Program
from edge_export.proof.artifacts.base import Array, Kind, Operation, Port, Value, Watch
from edge_runtime.backends.base import Session

NUMPY = {"fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}


class CoreMlArtifact:
    """A saved ML Program; every type and shape in `operations` is what the file declares."""

    kind: Kind = "coreml"

    def __init__(
        self, path: Path, what: str, session: Session | None = None, function: str | None = None
    ) -> None:
        self.what = what
        self.program = Program.open(path, function)
        self._session = session  # Core ML itself; the executor where None
        self.inputs = tuple(_port(feature) for feature in self.program.inputs.values())
        self.outputs = tuple(_port(feature) for feature in self.program.outputs.values())
        self.states = tuple(_port(feature) for feature in self.program.states.values())

    @property
    def detail(self) -> str:
        """What runs it."""
        if self._session is not None:
            return self._session.detail
        return f"executor of {sum(self.program.operations.values())} operations of {self.program.opset}"

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All but constants, nested blocks included."""
        return tuple(_operations(self.program.block, "main", {}))

    def new_state(self) -> dict[str, Array]:
        """Zeros for every state."""
        return self.program.new_state()

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Results that the program declares as float16 are rounded to it, see `edge_export.mil.program`."""
        if self._session is not None and not self.states:
            return self._session.run(inputs)
        return self.program.run(inputs, rounding="fp16", state=state)

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Run in the executor without rounding, and show every operation's results."""
        listed = {operation.name: operation for operation in self.operations}

        def show(operation: MilOperation, _arguments: Mapping[str, Any], results: Sequence[Any]) -> None:
            if operation.name in listed:
                seen(listed[operation.name], results)

        self.program.run(inputs, rounding="none", state=state, watch=show)


def _port(feature: Feature) -> Port:
    common: dict[str, Any] = {
        "only": feature.enumerated,
        "ranges": feature.ranges,
        "default": feature.default,
    }
    if isinstance(feature, Picture):
        dtype = "float16" if feature.colour == "grey-fp16" else "uint8"
        return Port(feature.name, dtype, feature.shape, colour=feature.colour, **common)
    shape = feature.shape or None  # outputs often declare none
    return Port(feature.name, NUMPY.get(feature.dtype, feature.dtype), shape, **common)


def _operations(block: Block, place: str, outer: Mapping[str, Value]) -> Iterator[Operation]:
    known = dict(outer)
    for variable in block.inputs:
        known[variable.name] = _value(variable)
    for operation in block.operations:
        for variable in operation.outputs:
            known[variable.name] = _value(variable, operation)
        if operation.type == "const":
            continue
        yield Operation(
            name=operation.name,
            type=operation.type,
            inputs={
                name: tuple(_argument(argument, known) for argument in arguments)
                for name, arguments in operation.inputs.items()
            },
            outputs=tuple(known[variable.name] for variable in operation.outputs),
            attributes=operation.attributes,
            block=place,
        )
        for inner in operation.blocks:
            yield from _operations(inner, f"{place} / {operation.type} {operation.name}", known)


def _value(variable: Any, operation: MilOperation | None = None) -> Value:
    constant = operation.attributes.get("val") if operation and operation.type == "const" else None
    if variable.type is None:
        return Value(variable.name, constant=constant)
    return Value(
        variable.name, NUMPY.get(variable.type.dtype, variable.type.dtype), variable.type.shape, constant
    )


def _argument(argument: Reference | Literal, known: Mapping[str, Value]) -> Value:
    if isinstance(argument, Reference):
        return known.get(argument.name, Value(argument.name))
    value = argument.value
    dtype, shape = str(getattr(value, "dtype", "")), getattr(value, "shape", None)
    return Value("", dtype, shape, value)
