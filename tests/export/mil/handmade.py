"""Core ML packages written by hand, byte by byte where it matters, without coremltools' converter.

package = write(tmp_path / "p.mlpackage", [op("relu", {"x": "x"}, "y")], inputs={"x": (2, 3)}, outputs=["y"])
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.mil.proto import model_class

# MIL's enumeration of element types
MIL = {"bool": 1, "str": 2, "fp16": 10, "fp32": 11, "int8": 21, "int32": 23, "uint8": 31}
FEATURE = {"fp32": 65568, "fp16": 65552, "int32": 131104}

Spec = dict[str, Any]


def op(
    kind: str,
    inputs: Mapping[str, Any],
    output: str,
    dtype: str = "fp32",
    blocks: Sequence[Spec] = (),
    shape: Sequence[int | None] = (),
) -> Spec:
    """An operation: inputs are names of values, lists of names, or constants (arrays, numbers, "=text")."""
    return {"kind": kind, "inputs": inputs, "outputs": [(output, dtype, shape)], "blocks": blocks}


def block(operations: Sequence[Spec], outputs: Sequence[str], inputs: Sequence[str] = ()) -> Spec:
    """A nested block."""
    return {"operations": operations, "outputs": outputs, "inputs": inputs}


def blob(data: bytes, code: int, sentinel: int = 0xDEADBEEF) -> bytes:
    """One blob of a weight file that starts at byte 64: its 64 bytes of description and its data."""
    return struct.pack("<IIQQ", sentinel, code, len(data), 128).ljust(64, b"\0") + data


def weight_file(path: Path, blobs: bytes, count: int = 1, version: int = 2) -> Path:
    """A weight file with its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<II", count, version).ljust(64, b"\0") + blobs)
    return path


def write(
    package: Path,
    operations: Sequence[Spec],
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    *,
    dtype: str = "fp32",
    opset: str = "CoreML6",
    enumerated: Mapping[str, Sequence[Sequence[int]]] | None = None,
    ranges: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> Path:
    """Save a package with one function; `enumerated` and `ranges` give an input flexible shapes."""
    model = model_class()()
    model.specificationVersion = 7
    function = model.mlProgram.functions["main"]
    function.opset = opset
    for name, shape in inputs.items():
        feature = model.description.input.add(name=name)
        array = feature.type.multiArrayType
        array.dataType = FEATURE[dtype]
        array.shape.extend(shape)
        for choice in (enumerated or {}).get(name, ()):
            array.enumeratedShapes.shapes.add().shape.extend(choice)
        for low, high in (ranges or {}).get(name, ()):
            array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
        _tensor_type(function.inputs.add(name=name).type, dtype, shape)
    for name in outputs:
        model.description.output.add(name=name).type.multiArrayType.dataType = FEATURE["fp32"]
    _fill(function.block_specializations[opset], block(operations, outputs))
    return save(package, model)


def save(package: Path, model: Any) -> Path:
    """The folder around a model's protobuf."""
    path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    manifest = {
        "rootModelIdentifier": "1",
        "itemInfoEntries": {"1": {"path": "com.apple.CoreML/model.mlmodel"}},
    }
    (package / "Manifest.json").write_text(json.dumps(manifest))
    return package


def _fill(proto: Any, spec: Spec) -> None:
    proto.outputs.extend(spec["outputs"])
    for name in spec["inputs"]:
        _tensor_type(proto.inputs.add(name=name).type, "fp32", ())
    for operation in spec["operations"]:
        entry = proto.operations.add(type=operation["kind"])
        for name, argument in operation["inputs"].items():
            _bind(entry.inputs[name], argument)
        for name, dtype, shape in operation["outputs"]:
            _tensor_type(entry.outputs.add(name=name).type, dtype, shape)
        for inner in operation["blocks"]:
            _fill(entry.blocks.add(), inner)


def _bind(proto: Any, argument: Any) -> None:
    if isinstance(argument, list):
        proto.arguments.extend(type(proto).Binding(name=name) for name in argument)
    elif isinstance(argument, str) and not argument.startswith("="):
        proto.arguments.add(name=argument)
    else:
        _value(proto.arguments.add().value, argument)


def _value(proto: Any, constant: Any) -> None:
    """A constant written into the operation; a string as "=text"."""
    tensor = proto.immediateValue.tensor
    if isinstance(constant, str):
        _tensor_type(proto.type, "str", ())
        tensor.strings.values.append(constant[1:])
        return
    array = np.asarray(constant)
    if array.dtype.kind == "b":
        _tensor_type(proto.type, "bool", array.shape)
        tensor.bools.values.extend(array.ravel().tolist())
    elif array.dtype.kind == "i":
        _tensor_type(proto.type, "int32", array.shape)
        tensor.ints.values.extend(array.ravel().tolist())
    elif array.dtype == np.float16:
        _tensor_type(proto.type, "fp16", array.shape)
        tensor.bytes.values = array.tobytes()
    else:
        _tensor_type(proto.type, "fp32", array.shape)
        tensor.floats.values.extend(array.ravel().tolist())


def _tensor_type(proto: Any, dtype: str, shape: Sequence[int | None]) -> None:
    proto.tensorType.dataType = MIL[dtype]
    proto.tensorType.rank = len(shape)
    for length in shape:
        dimension = proto.tensorType.dimensions.add()
        if length is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = length
