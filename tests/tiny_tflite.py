"""A TFLite file without TensorFlow: a fully connected layer and a tanh, written field by field.

Tables and numbers are those of TensorFlow's lite/schema/schema.fbs (version 3, identifier TFL3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

FULLY_CONNECTED, TANH = 9, 28  # BuiltinOperator
FULLY_CONNECTED_OPTIONS = 8  # BuiltinOptions
ALIGNMENT = 16  # bytes, of constants
OFFSET = "UOffsetTRelative"  # to another table, vector or string


def write(path: Path, weights: NDArray[np.float32], offsets: NDArray[np.float32]) -> Path:
    """y = tanh(x Wᵀ + b): x (1, inputs), weights (outputs, inputs), offsets (outputs,)."""
    build = flatbuffers.Builder(1024)
    outputs, inputs = weights.shape
    held = [_table(build)]  # the buffer of everything that is no constant
    held += [_table(build, (0, OFFSET, _bytes(build, array))) for array in (weights, offsets)]
    tensors = [
        _tensor(build, "serving_x", (1, inputs), 0),
        _tensor(build, "weights", weights.shape, 1),
        _tensor(build, "offsets", offsets.shape, 2),
        _tensor(build, "inner", (1, outputs), 0),
        _tensor(build, "result", (1, outputs), 0),
    ]
    layer = [(3, "Uint8", FULLY_CONNECTED_OPTIONS), (4, OFFSET, _table(build))]
    operators = [_operator(build, 0, (0, 1, 2), (3,), layer), _operator(build, 1, (3,), (4,), [])]
    graph = _table(
        build,
        (0, OFFSET, _offsets(build, tensors)),
        (1, OFFSET, _numbers(build, (0,))),
        (2, OFFSET, _numbers(build, (4,))),
        (3, OFFSET, _offsets(build, operators)),
    )
    codes = [
        _table(build, (0, "Int8", code), (2, "Int32", 1), (3, "Int32", code))
        for code in (FULLY_CONNECTED, TANH)
    ]
    signature = _table(
        build,
        (0, OFFSET, _offsets(build, [_named(build, "x", 0)])),
        (1, OFFSET, _offsets(build, [_named(build, "y", 4)])),
        (2, OFFSET, build.CreateString("serving_default")),
    )
    model = _table(
        build,
        (0, "Uint32", 3),
        (1, OFFSET, _offsets(build, codes)),
        (2, OFFSET, _offsets(build, [graph])),
        (4, OFFSET, _offsets(build, held)),
        (7, OFFSET, _offsets(build, [signature])),
    )
    build.Finish(model, file_identifier=b"TFL3")
    path.write_bytes(bytes(build.Output()))
    return path


def _table(build: Any, *fields: tuple[int, str, int]) -> int:
    """A table of (slot, type, value)."""
    build.StartObject(9)
    for slot, kind, value in fields:
        getattr(build, f"Prepend{kind}Slot")(slot, value, 0)
    return int(build.EndObject())


def _tensor(build: Any, name: str, shape: Sequence[int], held: int) -> int:
    """A float32 tensor, whose values are in a buffer."""
    lengths, text = _numbers(build, shape), build.CreateString(name)
    return _table(build, (0, OFFSET, lengths), (2, "Uint32", held), (3, OFFSET, text))


def _operator(
    build: Any, code: int, reads: Sequence[int], gives: Sequence[int], options: Sequence[tuple[int, str, int]]
) -> int:
    read, given = _numbers(build, reads), _numbers(build, gives)
    return _table(build, (0, "Uint32", code), (1, OFFSET, read), (2, OFFSET, given), *options)


def _named(build: Any, name: str, tensor: int) -> int:
    """A signature's name of a tensor."""
    text = build.CreateString(name)
    return _table(build, (0, OFFSET, text), (1, "Uint32", tensor))


def _bytes(build: Any, array: NDArray[np.float32]) -> int:
    raw = array.astype("<f4").tobytes()
    build.StartVector(1, len(raw), ALIGNMENT)
    for byte in reversed(raw):
        build.PrependByte(byte)
    return int(build.EndVector())


def _numbers(build: Any, values: Sequence[int]) -> int:
    build.StartVector(4, len(values), 4)
    for value in reversed(values):
        build.PrependInt32(value)
    return int(build.EndVector())


def _offsets(build: Any, places: Sequence[int]) -> int:
    build.StartVector(4, len(places), 4)
    for place in reversed(places):
        build.PrependUOffsetTRelative(place)
    return int(build.EndVector())
