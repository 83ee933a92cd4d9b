"""Ways in which two artifacts lay out one tensor: axes of length 1, transposed, float16, pictures.

A conversion is words and a function. Which one is right is told by shapes where only one fits; pictures as
arrays fit in several (order of channels, range of values), which are tried on the first case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Port
from edge_runtime.errors import InputError

MOST_AXES = 5  # that are permuted
# range of a picture's values in an array: words, gain and offset from bytes 0 … 255
RANGES = (("0 … 255", 1.0, 0.0), ("0 … 1", 1 / 255, 0.0), ("-1 … 1", 2 / 255, -1.0))


@dataclass(frozen=True)
class Conversion:
    """From one artifact's layout to the other's; no words where nothing is changed."""

    words: str
    apply: Callable[[Array], Array]


SAME = Conversion("", lambda array: array)


def shapes_of(array: Array) -> Iterator[Conversion]:
    """The array as it is, then without axes of length 1, transposed, and both; for a target of any shape."""
    yield SAME
    if 1 < array.ndim <= MOST_AXES:
        for order in permutations(range(array.ndim)):
            if order != tuple(range(array.ndim)):
                yield Conversion(f"transposed {order}", _transposing(order))


def to_port(array: Array, port: Port) -> Conversion | None:
    """How an array is given to an input of another artifact; None where it fits in no layout."""
    for conversion in _candidates(array, port.admits, port):
        return _typed(conversion, port)
    return None


def to_shape(array: Array, shape: tuple[int, ...]) -> list[Conversion]:
    """All ways from an array to a shape: as it is, squeezed, transposed."""
    return list(_candidates(array, lambda found: found == shape, Port("", shape=shape)))


def _candidates(array: Array, admits: Callable[[tuple[int, ...]], bool], port: Port) -> Iterator[Conversion]:
    rank = len(port.only[0] if port.only else port.ranges or port.shape or ())
    for conversion in shapes_of(array):
        moved = conversion.apply(array)
        if admits(moved.shape):
            yield conversion
            continue
        if moved.ndim == rank:
            continue
        for shape in _with_ones(tuple(axis for axis in moved.shape if axis != 1), rank):
            if admits(shape):
                ones = "squeezed" if rank < moved.ndim else "with an axis of length 1 added"
                words = ", ".join(filter(None, (conversion.words, ones)))
                yield Conversion(f"{words}: {shape}", _reshaping(conversion, shape))
                break


def _with_ones(lengths: tuple[int, ...], rank: int) -> Iterator[tuple[int, ...]]:
    """The lengths in order, with ones put in between up to a rank."""
    missing = rank - len(lengths)
    if missing < 0:
        return
    seen = set()
    for places in permutations(range(rank), missing):
        shape = [0] * rank
        for place in places:
            shape[place] = 1
        rest = iter(lengths)
        full = tuple(axis or next(rest) for axis in shape)
        if full not in seen:
            seen.add(full)
            yield full


def _transposing(order: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda array: np.ascontiguousarray(array.transpose(order))


def _reshaping(first: Conversion, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda array: first.apply(array).reshape(shape)


def _typed(conversion: Conversion, port: Port) -> Conversion:
    """The conversion with the port's type; float16 is said, as it rounds."""
    if not port.dtype or port.colour or port.dtype in ("str", "dictionary", "bfloat16"):
        return conversion
    dtype = np.dtype(port.dtype)
    words = conversion.words
    if dtype == np.float16:
        words = ", ".join(filter(None, (words, "float16")))
    return Conversion(words, lambda array: _as(conversion.apply(array), dtype, port.name))


def _as(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    typed = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(typed, array):
        raise InputError(
            f"input {name}", got=f"values that {dtype} does not hold", expected="whole numbers in its range"
        )
    return typed


# pictures --------------------------------------------------------------------------------------------------


def picture_to_array(picture: Array, port: Port) -> list[Conversion]:
    """All ways to give a picture (H, W, 3) or (H, W) to an input that takes an array."""
    ways = []
    dtype = np.dtype(port.dtype or "float32")
    for order in ("RGB", "BGR") if picture.ndim == 3 else ("grey",):
        for where, planes in (("channels first", True), ("channels last", False)):
            arranged = _arranged(order, planes, 1.0, 0.0, dtype)
            fitting = to_port(arranged(picture), port)
            if fitting is None or "transposed" in fitting.words:  # the other arrangement, once more
                continue
            ranges = RANGES[:1] if dtype.kind in "iu" else RANGES
            for words, gain, offset in ranges:
                make = _arranged(order, planes, gain, offset, dtype)
                ways.append(
                    Conversion(f"the picture as {order}, {where}, {words}", _chained(make, fitting.apply))
                )
    return ways


def array_to_picture(array: Array, picture: Array) -> list[Conversion]:
    """All ways to read an array as a picture of a known size: levels 0 … 255, not rounded."""
    ways = []
    squeezed = array.reshape([axis for axis in array.shape if axis != 1])
    for where in ("channels first", "channels last"):
        shown = np.moveaxis(squeezed, 0, -1) if where == "channels first" and squeezed.ndim == 3 else squeezed
        if shown.shape != picture.shape:
            continue
        for order in ("RGB", "BGR") if picture.ndim == 3 else ("grey",):
            for words, gain, offset in RANGES:
                ways.append(
                    Conversion(
                        f"an array as {order}, {where}, {words}",
                        _levels(where == "channels first", order == "BGR", gain, offset),
                    )
                )
    return ways


def _arranged(
    order: str, planes: bool, gain: float, offset: float, dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    def arrange(picture: Array) -> Array:
        if picture.ndim == 2:
            return (picture[None, None].astype(np.float64) * gain + offset).astype(dtype)
        ordered = picture[..., ::-1] if order == "BGR" else picture
        laid = np.moveaxis(ordered, -1, 0) if planes else ordered
        return np.ascontiguousarray((laid[None].astype(np.float64) * gain + offset).astype(dtype))

    return arrange


def _levels(planes: bool, backwards: bool, gain: float, offset: float) -> Callable[[Array], Array]:
    def read(array: Array) -> Array:
        squeezed = array.reshape([axis for axis in array.shape if axis != 1])
        shown = np.moveaxis(squeezed, 0, -1) if planes and squeezed.ndim == 3 else squeezed
        ordered = shown[..., ::-1] if backwards else shown
        return np.asarray(np.clip((ordered.astype(np.float64) - offset) / gain, 0, 255))

    return read


def _chained(first: Callable[[Array], Array], second: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda array: second(first(array))
