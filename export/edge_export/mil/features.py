"""Inputs and outputs of a package: names, types, and admitted shapes.

A shape is fixed, one of an enumerated list, or within ranges (one inclusive range per axis; None: unbounded).
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
        """The admitted shapes in words, for error messages and listings."""
        if self.enumerated:
            return " or ".join(str(shape) for shape in self.enumerated)
        if self.ranges:
            return f"({', '.join(_range_text(r) for r in self.ranges)})"
        return str(self.shape)

    def check(self, value: Any) -> Array:
        """`value`, an array of an admitted shape (batch, …), in the program's type; InputError otherwise."""
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


@dataclass(frozen=True)
class Picture(Feature):
    """An input or output that is a picture: (H, W, 3) uint8 in the order RGB, or grey (H, W).

    Inside, the program has it as (1, 3 or 1, H, W) numbers from 0 to 255, in the package's order of channels;
    bias and scale are operations of the program. `shape`, `enumerated` and `ranges` are of that array.
    """

    colour: str = "RGB"  # RGB, BGR, grey, or grey-fp16 (any float16 value)

    @property
    def channels(self) -> int:
        return 3 if self.colour in ("RGB", "BGR") else 1

    @property
    def admitted(self) -> str:
        """The admitted pictures in words."""
        depth, kind = (" × 3", "uint8, RGB") if self.channels == 3 else ("", "uint8, grey")
        if self.colour == "grey-fp16":
            kind = "float16, grey"
        if self.enumerated:
            sizes = " or ".join(f"{shape[2]} × {shape[3]}{depth}" for shape in self.enumerated)
        elif self.ranges:
            sizes = f"{_range_text(self.ranges[2])} × {_range_text(self.ranges[3])}{depth}"
        else:
            sizes = f"{self.shape[2]} × {self.shape[3]}{depth}"
        return f"a picture {sizes} ({kind})"

    def check(self, value: Any) -> Array:
        """A picture (H, W, 3) or (H, W), or the program's own array (1, C, H, W), as that array."""
        array = np.asarray(value)
        if array.ndim == 4:
            return super().check(array)
        wanted = np.float16 if self.colour == "grey-fp16" else np.uint8
        fits = array.ndim == (3 if self.channels == 3 else 2) and array.shape[2:] in ((), (3,))
        if not fits or array.dtype != wanted:
            cause = "multiply values in 0 to 1 by 255 and round them" if array.dtype.kind == "f" else ""
            raise InputError(
                f"input {self.name}",
                got=f"{array.dtype} of shape {array.shape}",
                expected=self.admitted,
                cause=cause,
            )
        planes = array[None] if self.channels == 1 else np.moveaxis(array, -1, 0)
        return super().check((planes[::-1] if self.colour == "BGR" else planes)[None])

    def show(self, array: Array) -> Array:
        """The program's array (1, C, H, W) as a picture: rounded and clipped to bytes."""
        planes = array[0][::-1] if self.colour == "BGR" else array[0]
        if self.colour == "grey-fp16":
            half: Array = planes[0].astype(np.float16)
            return half
        levels: Array = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
        return levels[0] if self.channels == 1 else np.ascontiguousarray(np.moveaxis(levels, 0, -1))


# number in the protobuf enumeration ImageFeatureType.ColorSpace → our name
_COLOURS = {10: "grey", 20: "RGB", 30: "BGR", 40: "grey-fp16"}


def read_feature(proto: Any) -> Feature:
    """From the model's description; BackendError for kinds that no ML Program has (sequences)."""
    kind = proto.type.WhichOneof("Type")
    if kind == "imageType":
        return _read_picture(proto.name, proto.type.imageType)
    if kind in ("stringType", "int64Type", "dictionaryType"):  # of a classifier: the label, the probabilities
        return Feature(proto.name, {"stringType": "str", "int64Type": "int64"}.get(kind, "dictionary"), ())
    array = proto.type.stateType.arrayType if kind == "stateType" else proto.type.multiArrayType
    if kind not in ("multiArrayType", "stateType"):
        raise BackendError(f"feature {proto.name}", got=str(kind), expected="an array or a picture")
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


def _read_picture(name: str, image: Any) -> Picture:
    colour = _COLOURS.get(image.colorSpace)
    if colour is None:
        raise BackendError(
            f"feature {name}", got=f"colour space {image.colorSpace}", expected=" or ".join(_COLOURS.values())
        )
    channels = 3 if colour in ("RGB", "BGR") else 1
    flexibility = image.WhichOneof("SizeFlexibility")
    enumerated: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    if flexibility == "enumeratedSizes":
        enumerated = tuple((1, channels, size.height, size.width) for size in image.enumeratedSizes.sizes)
    elif flexibility == "imageSizeRange":
        spans = (image.imageSizeRange.heightRange, image.imageSizeRange.widthRange)
        free = tuple((span.lowerBound, None if span.upperBound < 0 else span.upperBound) for span in spans)
        ranges = ((1, 1), (channels, channels), *free)
    shape = (1, channels, image.height, image.width)
    return Picture(name, "fp32", shape, enumerated, ranges, None, colour)
