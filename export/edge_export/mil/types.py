"""Types and constant values of a program, as plain numpy.

A type is named as in Apple's documentation (`fp16`, `int32`, `bool`, `str` …). Floating-point constants keep
the type that the package stores; the executor computes with float32 and decides itself when to round.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.mil.blob import Array, BlobFile, decode
from edge_runtime.errors import BundleError

FLOATS = frozenset({"fp16", "fp32", "fp64", "bf16"})

# number in the protobuf enumeration DataType → our name
_NAMES = {
    1: "bool",
    2: "str",
    10: "fp16",
    11: "fp32",
    12: "fp64",
    13: "bf16",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
}

# name → numpy type that the executor computes with
WORKING: dict[str, Any] = {
    "bool": np.bool_,
    "fp16": np.float32,
    "fp32": np.float32,
    "fp64": np.float64,
    "bf16": np.float32,
    "int4": np.int8,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint1": np.uint8,
    "uint2": np.uint8,
    "uint3": np.uint8,
    "uint4": np.uint8,
    "uint6": np.uint8,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
}


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; None stands for a length that is known only when the program runs."""

    dtype: str
    shape: tuple[int | None, ...]


def read_type(proto: Any) -> TensorType | None:
    """The tensor type (or the one that a state wraps); None for lists, tuples and dictionaries."""
    if proto.WhichOneof("type") == "stateType":
        return read_type(proto.stateType.wrappedType)
    if proto.WhichOneof("type") != "tensorType":
        return None
    tensor = proto.tensorType
    shape = tuple(
        d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions
    )
    return TensorType(_NAMES.get(tensor.dataType, f"type {tensor.dataType}"), shape)


class ValueReader:
    """Decodes constants: those written in the model file, and those in the weight files beside it."""

    def __init__(self, model_folder: Path) -> None:
        self._folder = model_folder
        self._files: dict[str, BlobFile] = {}

    def read(self, proto: Any) -> Any:
        """Array, string, or list of such."""
        kind = proto.WhichOneof("value")
        if kind == "blobFileValue":
            return self._from_file(proto)
        value = proto.immediateValue
        match value.WhichOneof("value"):
            case "tensor":
                return _immediate(value.tensor, _known(proto.type))
            case "list":
                return [self.read(item) for item in value.list.values]
            case "tuple":
                return [self.read(item) for item in value.tuple.values]
            case other:
                raise BundleError(
                    "a constant", got=f"{other or 'nothing'}", expected="a tensor, list or tuple"
                )

    def _from_file(self, proto: Any) -> Array:
        name = proto.blobFileValue.fileName
        if name not in self._files:
            relative = Path(name.removeprefix("@model_path/"))
            if relative.is_absolute() or ".." in relative.parts:
                raise BundleError(
                    "a constant", got=f"the weight file {name}", expected="a file of the package"
                )
            self._files[name] = BlobFile.open(self._folder / relative)
        kind = _known(proto.type)
        return self._files[name].read(proto.blobFileValue.offset, _fixed(kind))


def _known(proto: Any) -> TensorType:
    kind = read_type(proto)
    if kind is None:
        raise BundleError("a constant", got="a value without a tensor type", expected="a tensor")
    return kind


def _fixed(kind: TensorType) -> tuple[int, ...]:
    if None in kind.shape:
        raise BundleError("a constant", got=f"the shape {kind.shape}", expected="a shape of known lengths")
    return tuple(length for length in kind.shape if length is not None)


def _immediate(tensor: Any, kind: TensorType) -> Any:
    shape = _fixed(kind)
    field = tensor.WhichOneof("value")
    if kind.dtype == "str":
        strings = list(tensor.strings.values)
        return strings[0] if shape == () else np.array(strings, dtype=object).reshape(shape)
    if field == "bytes":
        return decode(np.frombuffer(tensor.bytes.values, np.uint8), kind.dtype, shape)
    values = [] if field is None else getattr(tensor, field).values
    if kind.dtype not in WORKING:
        raise BundleError("a constant", got=kind.dtype, expected=f"one of {', '.join(sorted(WORKING))}")
    if len(values) != prod(shape):
        raise BundleError(
            "a constant", got=f"{len(values)} values", expected=f"{prod(shape)} (shape {shape})"
        )
    return np.array(values, WORKING[kind.dtype]).reshape(shape)
