"""Some operations of a Core ML package as a package of their own.

The interface is float32: an input is cast to the type that the operation reads, and its cast has the name by
which the operation reads it; the result is cast back. Weights are copied blob by blob (`mil.blob`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_export.mil.package import read_model
from edge_export.mil.proto import model_class
from edge_export.proof.bisect.values import RESULT, Array, Cut
from edge_export.to_coreml.package import write_files

# numbers in the format's enumerations
_FLOAT16, _FLOAT32, _STRING, _ARRAY_FLOAT32 = 10, 11, 2, 65568
_NAMES = {_FLOAT16: "fp16", _FLOAT32: "fp32"}
_RECORD, _PLACE = (
    64,
    slice(16, 24),
)  # bytes of a blob's description; where it says at which byte its data begin


def write_cut(source: Path, path: Path, cut: Cut, arrays: Mapping[str, Array], expected: Array) -> None:
    """Write the operations between some values and a result as an .mlpackage.

    Args:
        source, path: the artifact, and the folder to write.
        cut: what to cut out.
        arrays: value → what it is given, for shapes.
        expected: what the result should be, for its shape.
    """
    model, folder = read_model(source)
    small = model_class()()
    small.CopyFrom(model)
    function = small.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    types = _types(function, block)
    operations = [
        *(_cast(block, name, name, types[name], arrays[name].shape, cut.inputs[name]) for name in cut.inputs),
        *_needed(block, cut),
        _cast(block, RESULT, cut.result, _FLOAT32, expected.shape, cut.result),
    ]
    copies = [type(operation).FromString(operation.SerializeToString()) for operation in operations]
    del block.operations[:]
    block.operations.extend(copies)
    block.outputs[:] = [RESULT]
    _set_interface(small, function, cut, arrays, expected)
    write_files(path, small, _copied_blobs(block.operations, folder))


def _types(function: Any, block: Any) -> dict[str, int]:
    """Value → number of its element type, of tensors."""
    values = [*function.inputs, *(output for op in block.operations for output in op.outputs)]
    return {value.name: value.type.tensorType.dataType for value in values}


def _needed(block: Any, cut: Cut) -> list[Any]:
    """Operations that the result depends on, back to the values that are given; in their order."""
    makers = {output.name: operation for operation in block.operations for output in operation.outputs}
    wanted, found = [cut.result], set[str]()
    while wanted:
        name = wanted.pop()
        if name in cut.inputs or name in found or name not in makers:
            continue
        found.update(output.name for output in makers[name].outputs)
        wanted += _reads(makers[name])
    return [op for op in block.operations if any(output.name in found for output in op.outputs)]


def _reads(operation: Any) -> Iterator[str]:
    for argument in operation.inputs.values():
        yield from (each.name for each in argument.arguments if each.WhichOneof("binding") == "name")
    for block in operation.blocks:
        for inner in block.operations:
            yield from _reads(inner)
        yield from block.outputs


def _cast(block: Any, result: str, label: str, kind: int, shape: Sequence[int], source: str) -> Any:
    """An operation `cast` of one value to a type, as a message of the block's own class."""
    operation = type(block.operations[0])(type="cast")
    operation.inputs["x"].arguments.add(name=source)
    text = operation.inputs["dtype"].arguments.add().value
    text.type.tensorType.dataType = _STRING
    text.immediateValue.tensor.strings.values.append(_NAMES[kind])
    name = operation.attributes["name"]
    name.type.tensorType.dataType = _STRING
    name.immediateValue.tensor.strings.values.append(f"{label}_cast")
    _set_type(operation.outputs.add(name=result), kind, shape)
    return operation


def _set_type(value: Any, kind: int, shape: Sequence[int]) -> None:
    tensor = value.type.tensorType
    tensor.dataType, tensor.rank = kind, len(shape)
    del tensor.dimensions[:]
    for length in shape:
        tensor.dimensions.add().constant.size = length


def _set_interface(model: Any, function: Any, cut: Cut, arrays: Mapping[str, Array], expected: Array) -> None:
    del function.inputs[:]
    description = model.description
    for field in ("input", "output", "state", "functions"):
        description.ClearField(field)
    for tensor, name in cut.inputs.items():
        _set_type(function.inputs.add(name=name), _FLOAT32, arrays[tensor].shape)
        _set_feature(description.input.add(name=name), arrays[tensor].shape)
    _set_feature(description.output.add(name=RESULT), expected.shape)


def _set_feature(feature: Any, shape: Sequence[int]) -> None:
    feature.type.multiArrayType.dataType = _ARRAY_FLOAT32
    feature.type.multiArrayType.shape.extend(shape)


def _copied_blobs(operations: Sequence[Any], folder: Path) -> bytes | None:
    """A weight file of the blobs that the operations refer to; the references are set to it."""
    values = [value for operation in operations for value in _blobs(operation)]
    if not values:
        return None
    written = bytearray(_RECORD)
    places: dict[tuple[str, int], int] = {}
    for value in values:
        reference = value.blobFileValue
        key = (reference.fileName, reference.offset)
        if key not in places:
            places[key] = len(written)
            content = (folder / reference.fileName.removeprefix("@model_path/")).read_bytes()
            record = bytearray(content[reference.offset : reference.offset + _RECORD])
            size, begin = (int.from_bytes(record[at : at + 8], "little") for at in (8, 16))
            record[_PLACE] = (len(written) + _RECORD).to_bytes(8, "little")
            written += record + content[begin : begin + size]
            written += bytes(-len(written) % _RECORD)
        reference.fileName, reference.offset = "@model_path/weights/weight.bin", places[key]
    written[:8] = len(places).to_bytes(4, "little") + (2).to_bytes(4, "little")
    return bytes(written)


def _blobs(operation: Any) -> Iterator[Any]:
    """The values of an operation that lie in a weight file."""
    literal = (
        each.value
        for argument in operation.inputs.values()
        for each in argument.arguments
        if each.WhichOneof("binding") == "value"
    )
    for value in (*operation.attributes.values(), *literal):
        if value.WhichOneof("value") == "blobFileValue":
            yield value
    for block in operation.blocks:
        for inner in block.operations:
            yield from _blobs(inner)
