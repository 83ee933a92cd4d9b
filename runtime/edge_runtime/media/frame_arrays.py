"""Frames of a video in an array: which axis is which, and frame after frame without reading all.

    (T, H, W)                        frames, as everywhere here
    (T, 1, H, W)  (T, H, W, 1) …     axes of length 1 are left out, and that is said
    (T, H, W, 3)  (T, 3, H, W)       taken where all channels are the same in every frame, and that is said
    (H, W, T)  (H, T, W)             recognised where only two are equal; refused with the cure
    (N, N, N)                        nothing tells the axes apart: taken for (T, H, W), and that is doubted

Files are .npy, read frame by frame, or .npz and .pt (`edge_runtime.store.arrays`), read whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from edge_runtime.errors import InputError, doubt
from edge_runtime.store.arrays import Member, read_one
from edge_runtime.store.reading import read_array_header

EXPECTED = "frames (T, H, W) in numpy's .npy format"
LARGEST_SIDE = 16384  # pixels; no camera has more, damaged headers do
SMALLEST_SIDE = 16  # pixels; no vocal tract can be seen in fewer
Parts = Callable[[tuple[int, ...]], Iterator[NDArray[Any]]]  # shape → the array's parts along its first axis
_SAVE = "numpy.save('frames.npy', {})"


@dataclass(frozen=True)
class FrameArray:
    """Frames that are there, or can be read.

    Args:
        shape: (T, H, W).
        raw: → the frames one by one, in the array's own type and axes.
        pick: one of those → (H, W); raises InputError for a frame of several colours.
        note: what was taken for what, "" where nothing had to be.
    """

    shape: tuple[int, int, int]
    raw: Callable[[], Iterator[NDArray[Any]]] = field(repr=False)
    pick: Callable[[NDArray[Any], int], NDArray[Any]] = field(repr=False)
    note: str = ""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for number, frame in enumerate(self.raw()):
            yield self.pick(frame, number)


def open_frames(path: Path, file: BinaryIO, *, square: bool) -> FrameArray:
    """The frames of an opened file.

    Args:
        path: of the file, with ``:KEY`` behind it where it names one of several arrays.
        file: opened at its beginning; read as the frames are asked for.
        square: frames that are not square are refused, which tells more orders of axes apart.

    Raises:
        InputError: an array that does not hold frames, or a damaged file.
    """
    if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
        file.seek(0)
        # of a file that was cut off, the frames before are still read; `_stored` reports the end
        header = read_array_header(path, file, EXPECTED, truncated=True)
        if header.by_columns and header.shape:
            _refuse(
                path,
                header.dtype,
                header.shape,
                "in Fortran order",
                _saved("numpy.ascontiguousarray(frames)"),
            )
        dtype = header.dtype
        parts: Parts = lambda shape: _stored(path, file, shape, dtype)  # noqa: E731
        return _framed(path, header.shape, dtype, parts, square=square, note="")
    said: list[str] = []
    array = read_one(path, EXPECTED, likely=_can_be_frames, say=said.append)
    note = "".join(said)
    parts = lambda shape: iter(array.reshape(shape))  # noqa: E731
    return _framed(path, array.shape, array.dtype, parts, square=square, note=note)


def _can_be_frames(member: Member) -> bool:
    return len(member.shape) >= 3


def _framed(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    parts: Parts,
    *,
    square: bool,
    note: str,
) -> FrameArray:
    """The frames of an array of that shape."""
    if dtype.kind not in "uf" or 0 in shape[1:]:
        _refuse(path, dtype, shape)
    if len(shape) == 4 and shape[0] == 1 and not {1, 3} & {shape[1], shape[3]}:  # a batch of one video
        note, shape = _joined(note, f"axis 0 of {shape}, of length 1, left out"), shape[1:]
    stored = shape
    shape, pick, taken = _picked(path, shape, dtype)
    if len(shape) != 3:
        _refuse(path, dtype, shape, cause="one frame: add an axis in front" if len(shape) == 2 else "")
    if max(shape[1:]) > LARGEST_SIDE:
        raise InputError(
            str(path),
            got=f"frames of {shape[1]}x{shape[2]} pixels",
            expected=f"at most {LARGEST_SIDE} a side",
            cause="its header is damaged",
        )
    _check_order(path, shape, square=square)
    frames = (shape[0], shape[1], shape[2])
    return FrameArray(frames, lambda: parts(stored), pick, _joined(note, taken))


def _picked(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], Callable[[NDArray[Any], int], NDArray[Any]], str]:
    """(shape without a fourth axis, frame → (H, W), what is to be said)."""
    if len(shape) != 4:
        return shape, lambda frame, _: frame, ""
    axis = next((axis for axis in (3, 1) if shape[axis] == 1), None)
    if axis is not None:
        left = tuple(length for place, length in enumerate(shape) if place != axis)
        return (
            left,
            lambda frame, _: frame.squeeze(axis - 1),
            f"axis {axis} of {shape}, of length 1, left out",
        )
    axis = next((axis for axis in (3, 1) if shape[axis] == 3), None)
    if axis is None:
        cause = "colour with an opacity: make it grey" if 4 in (shape[1], shape[3]) else ""
        _refuse(path, dtype, shape, cause=cause)
    left = tuple(length for place, length in enumerate(shape) if place != axis)

    def grey(frame: NDArray[Any], number: int) -> NDArray[Any]:
        first, second, third = np.moveaxis(frame, axis - 1, 0)
        if not (np.array_equal(first, second) and np.array_equal(first, third)):
            raise InputError(
                str(path),
                got=f"{dtype} of shape {shape}, of several colours in frame {number}",
                expected="frames (T, H, W)",
                cause=f"a colour video: make it grey, {_saved(f'frames.mean({axis}).astype(frames.dtype)')}",
            )
        return np.asarray(first)

    return left, grey, f"axis {axis} of {shape} taken for three equal channels"


def _check_order(path: Path, shape: tuple[int, ...], *, square: bool) -> None:
    """Name another order of the axes where two are equal; doubt where all three are."""
    first, second, third = shape
    if first == second == third:
        doubt(
            InputError(
                str(path),
                got=f"shape {shape}, whose axes nothing tells apart",
                expected="(T, H, W)",
                cause="taken as that; if time is another axis, transpose it to the front",
            )
        )
        return
    order = {(True, False): ("(H, W, T)", (2, 0, 1)), (False, True): ("(H, T, W)", (1, 0, 2))}.get(
        (first == second, first == third)
    )
    if order is None:
        return
    words, back = order
    found = InputError(
        str(path),
        got=f"shape {shape}, which is {first} frames of {third}x{second} pixels, or {words}",
        expected="(T, H, W), square frames" if square else "(T, H, W)",
        cause=f"if it is {words}: {_saved(f'frames.transpose{back}')}",
    )
    if square:
        raise found
    doubt(found)


def _stored(
    path: Path, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Parts of a .npy file along its first axis; the file stands at their first byte."""
    inner = shape[1:]
    wanted = int(np.prod(inner)) * dtype.itemsize
    for number in range(shape[0]):
        left = os.fstat(file.fileno()).st_size - file.tell()
        content = file.read(wanted) if wanted <= left else b""
        if len(content) < wanted:
            raise InputError(
                str(path),
                got=f"an end in the middle of frame {number}",
                expected=f"{shape[0]} frames",
                cause="the file is truncated",
            )
        yield np.frombuffer(content, dtype).reshape(inner)


def _saved(expression: str) -> str:
    return _SAVE.format(expression)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _refuse(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], more: str = "", cause: str = ""
) -> NoReturn:
    got = f"{dtype} of shape {shape}" + (f", {more}" if more else "")
    raise InputError(str(path), got=got, expected="frames (T, H, W), uint8 or floats in 0 … 1", cause=cause)
