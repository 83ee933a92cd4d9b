"""A program as data: functions, blocks and operations, read from the protobuf once, in order.

Nothing is computed here. For each operation a block also lists the values that are used for the last time, so
that the executor can release them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_export.mil.types import TensorType, ValueReader, read_type
from edge_runtime.errors import BundleError


@dataclass(frozen=True)
class Reference:
    """An argument that is the output of another operation, or an input of the block."""

    name: str


@dataclass(frozen=True)
class Literal:
    """An argument that is written into the operation."""

    value: Any


@dataclass(frozen=True)
class Variable:
    """A named value: an output of an operation, or an input of a block. `type` is None for lists."""

    name: str
    type: TensorType | None


@dataclass(frozen=True)
class Operation:
    type: str
    inputs: Mapping[str, tuple[Reference | Literal, ...]]
    attributes: Mapping[str, Any]
    outputs: tuple[Variable, ...]
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        """The first output's name, which Core ML's own reports use for operations."""
        return self.outputs[0].name if self.outputs else self.type

    def reads(self) -> Iterator[str]:
        """Names that the operation needs, including those that its blocks take from outside."""
        for arguments in self.inputs.values():
            yield from (a.name for a in arguments if isinstance(a, Reference))
        for block in self.blocks:
            yield from block.captures()


@dataclass(frozen=True)
class Block:
    inputs: tuple[Variable, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    releases: tuple[tuple[str, ...], ...]  # for each operation: the names that are not needed after it

    def captures(self) -> Iterator[str]:
        """Names that are read here and defined outside."""
        made = {variable.name for variable in self.inputs}
        for operation in self.operations:
            yield from (name for name in operation.reads() if name not in made)
            made.update(output.name for output in operation.outputs)
        yield from (name for name in self.outputs if name not in made)


@dataclass(frozen=True)
class Function:
    inputs: tuple[Variable, ...]
    opset: str
    block: Block


def walk(block: Block) -> Iterator[Operation]:
    """Every operation, including those of nested blocks."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from walk(inner)


def read_function(proto: Any, values: ValueReader) -> Function:
    """The function with the block that is specialised for its operation set."""
    if proto.opset not in proto.block_specializations:
        known = ", ".join(sorted(proto.block_specializations)) or "nothing"
        raise BundleError("the program", got=known, expected=f"a block for its operation set {proto.opset}")
    inputs = tuple(Variable(i.name, read_type(i.type)) for i in proto.inputs)
    block = _read_block(proto.block_specializations[proto.opset], values, inputs)
    return Function(inputs, proto.opset, block)


def _read_block(proto: Any, values: ValueReader, inputs: tuple[Variable, ...] = ()) -> Block:
    own = tuple(Variable(i.name, read_type(i.type)) for i in proto.inputs)
    outputs = tuple(proto.outputs)
    operations = tuple(_read_operation(operation, values) for operation in proto.operations)
    return Block(inputs + own, outputs, operations, _releases(operations, inputs + own, outputs))


def _read_operation(proto: Any, values: ValueReader) -> Operation:
    return Operation(
        type=proto.type,
        inputs={name: tuple(_argument(b, values) for b in a.arguments) for name, a in proto.inputs.items()},
        attributes={name: values.read(v) for name, v in proto.attributes.items() if name != "name"},
        outputs=tuple(Variable(output.name, read_type(output.type)) for output in proto.outputs),
        blocks=tuple(_read_block(block, values) for block in proto.blocks),
    )


def _argument(proto: Any, values: ValueReader) -> Reference | Literal:
    if proto.WhichOneof("binding") == "value":
        return Literal(values.read(proto.value))
    return Reference(proto.name)


def _releases(
    operations: tuple[Operation, ...], inputs: tuple[Variable, ...], outputs: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """A name is released after its last reader, or directly after its operation where nothing reads it."""
    last = {variable.name: 0 for variable in inputs}
    for index, operation in enumerate(operations):
        last.update({output.name: index for output in operation.outputs})
        last.update({name: index for name in operation.reads() if name in last})
    released: list[list[str]] = [[] for _ in operations]
    for name, index in last.items():
        if operations and name not in outputs:
            released[index].append(name)
    return tuple(tuple(names) for names in released)
