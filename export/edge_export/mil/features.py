"""What a package takes and gives: names, types, and the shapes that it admits.

A shape is fixed, one of an enumerated list, or within ranges (one inclusive range an axis; None: unbounded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_runtime.errors import BackendError, InputError

_DTYPES = {65568: "fp32", 65600: "fp64", 131104: "int32", 131080: "int8", 65552: "fp16"}

Range = tuple[int, int | None]


@dataclass(frozen=True)
class Feature:
    """An input, output or state of the package. `shape` is the default; empty where it is unknown."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    enumerated: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    default: float | None = None  # of an optional input

    def admits(self, shape: tuple[int, ...]) -> bool:
        if self.enumerated:
            return shape in self.enumerated
        if self.ranges:
            return len(shape) == len(self.ranges) and all(
                low <= length and (high is None or length <= high)
                for length, (low, high) in zip(shape, self.ranges, strict=True)
            )
        return shape == self.shape

    @property
    def admitted(self) -> str:
        """The admitted shapes in words, for refusals and listings."""
        if self.enumerated:
            return " or ".join(str(shape) for shape in self.enumerated)
        if self.ranges:
            return f"({', '.join(_range_text(r) for r in self.ranges)})"
        return str(self.shape)

    def check(self, value: Any) -> Array:
        """`value` as an array that the program can take; InputError otherwise."""
        array = np.asarray(value)
        if not self.admits(array.shape):
            raise InputError(
                f"input {self.name}",
                got=f"shape {array.shape}",
                expected=self.admitted,
                cause="these are the shapes that the package was exported for",
            )
        if self.dtype.startswith("int") and array.dtype.kind == "f" and np.any(array != np.trunc(array)):
            raise InputError(f"input {self.name}", got="fractions", expected=f"whole numbers ({self.dtype})")
        if array.dtype.kind not in "fiub":
            raise InputError(
                f"input {self.name}", got=f"{array.dtype} values", expected=f"numbers ({self.dtype})"
            )
        return array.astype(np.float32 if self.dtype.startswith("fp") else self.dtype)


def _range_text(bounds: Range) -> str:
    low, high = bounds
    if low == high:
        return str(low)
    return f"{low} or more" if high is None else f"{low} to {high}"


def read_feature(proto: Any) -> Feature:
    """From the model's description; BackendError for kinds other than arrays (pictures, dictionaries …)."""
    kind = proto.type.WhichOneof("Type")
    array = proto.type.stateType.arrayType if kind == "stateType" else proto.type.multiArrayType
    if kind not in ("multiArrayType", "stateType"):
        raise BackendError(f"feature {proto.name}", got=str(kind), expected="a multi-array")
    flexibility = array.WhichOneof("ShapeFlexibility")
    enumerated: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    if flexibility == "enumeratedShapes":
        enumerated = tuple(tuple(shape.shape) for shape in array.enumeratedShapes.shapes)
    elif flexibility == "shapeRange":
        sizes = array.shapeRange.sizeRanges
        ranges = tuple((r.lowerBound, None if r.upperBound < 0 else r.upperBound) for r in sizes)
    default = None
    if proto.type.isOptional:
        field = array.WhichOneof("defaultOptionalValue")
        default = float(getattr(array, field)) if field else 0.0
    return Feature(
        proto.name, _DTYPES.get(array.dataType, "fp32"), tuple(array.shape), enumerated, ranges, default
    )
