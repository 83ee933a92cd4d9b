"""Why an array of a port differs: guesses that are tested before they are reported.

A port may read a buffer with padded rows as if they were not padded, flatten, keep the batch axis, swap axes,
or write values without a header. Each guess is a way to read what the port wrote; it is reported only if the
array read that way equals the reference within the tolerance.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError
from edge_runtime.store.reading import open_regular, read_array, read_bytes

Array = NDArray[Any]
Reading = tuple[str, Array]  # how, in words that go on from "when read as"; what that gives

# of the bytes that a port may have written without a header
RAW = {"float32": "<f4", "float16": "<f2", "float64": "<f8", "big-endian float32": ">f4", "int16": "<i2"}
SUFFIXES = ("", ".bin", ".raw", ".f32", ".dat", ".data")
BOUNDS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
WIDEST = 4  # of a padded row, in rows; a hardware's alignment is at most a row of these arrays
PROBED = 8  # values of the second row that a stride is looked for with


def explain(truth: Array, judged: Array, tolerance: float) -> str:
    """The first reading of `judged` that equals the reference within the tolerance, in words.

    Where there is none: by how much one axis is longer, or "". Both arrays (…,) have any shape.
    """
    for how, array in _readings(truth, judged):
        found = _verified(truth, array, how, tolerance)
        if found:
            return found
    longer = _longer(truth, judged, tolerance)
    if "when read as" in longer:
        return longer
    return _strided(truth, judged, tolerance) or longer


def explain_bytes(truth: Array, path: Path, tolerance: float) -> str:
    """As `explain`, for the file of ``truth (…,)`` that is not .npy: bare values of some type."""
    try:
        content = read_bytes(path, largest=16 * truth.size + 4096)
    except EdgeError:
        return ""
    if content.startswith(MAGIC_PREFIX):
        return ""
    for name, dtype in RAW.items():
        if len(content) == truth.size * np.dtype(dtype).itemsize:
            values = np.frombuffer(content, dtype)
            full_scale = 32768 if dtype == "<i2" else 1
            found = explain(truth, values.astype(np.float64) / full_scale, tolerance)
            if found:
                return f"raw {name} values without the .npy header; {found}"
    return ""


def find_elsewhere(truth: Array, folder: Path, name: str, tolerance: float) -> str:
    """Where a missing array (…,) is: under another suffix, or in an .npz beside it; "" if nowhere."""
    stem = folder / name.removesuffix(".npy")
    for suffix in SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            found = _npy_of_another_name(truth, path, tolerance) or explain_bytes(truth, path, tolerance)
            return (
                f"{path.name} is there; {found}" if found else f"{path.name} is there, and is another array"
            )
    for path in sorted(folder.glob("*.npz"))[:20]:
        member = _member(path, {name, Path(name).name}, truth)
        if member is not None:
            found = explain(truth, member, tolerance)
            return f"{path.name} holds it; save it as {name}" + (f"; {found}" if found else "")
    return ""


# ways to read ----------------------------------------------------------------------------------------------


def _readings(truth: Array, judged: Array) -> Iterator[Reading]:
    if judged.size != truth.size:
        return
    if judged.shape == truth.shape:
        yield "it is", judged
        if judged.dtype.kind == "f":
            yield "values of the other byte order", judged.byteswap()
    without = [axis for axis in judged.shape if axis != 1]
    if judged.shape != truth.shape and without == [axis for axis in truth.shape if axis != 1]:
        yield f"{truth.shape}: axes of length 1 differ", judged.reshape(truth.shape)
    if judged.ndim == truth.ndim and judged.ndim <= 4:
        for order in permutations(range(judged.ndim)):
            if order != tuple(range(judged.ndim)) and judged.transpose(order).shape == truth.shape:
                yield f"axes in the order {order}", judged.transpose(order)
    flat = judged.reshape(-1)
    words = f"{truth.shape}, row by row" + (": it is flattened" if judged.ndim == 1 != truth.ndim else "")
    yield words, flat.reshape(truth.shape)
    yield f"{truth.shape}, column by column (Fortran's order)", flat.reshape(truth.shape, order="F")
    for order in permutations(range(truth.ndim)):
        if order != tuple(range(truth.ndim)) and truth.ndim <= 3:
            shape = tuple(truth.shape[axis] for axis in order)
            back = np.argsort(order)
            yield (
                f"{shape}, then axes in the order {tuple(map(int, back))}",
                flat.reshape(shape).transpose(back),
            )


def _strided(truth: Array, judged: Array, tolerance: float) -> str:
    """Rows that are padded in memory but were read as if they were not."""
    if truth.ndim < 2 or truth.size < 2 or judged.size < 2:
        return ""
    rows, values = truth.reshape(-1, truth.shape[-1]).astype(np.float64), judged.reshape(-1)
    width = rows.shape[1]
    if len(rows) < 2:
        return ""
    probe = rows[1, : min(PROBED, width)]
    for stride in range(width + 1, min(WIDEST * width + 64, len(values) - len(probe)) + 1):
        if not np.allclose(values[stride : stride + len(probe)], probe, rtol=0, atol=tolerance):
            continue
        whole = min(len(rows), (len(values) - width) // stride + 1)
        padded = np.lib.stride_tricks.as_strided(
            values, (whole, width), (stride * values.itemsize, values.itemsize), writeable=False
        )
        found = _verified(
            rows[:whole], padded, f"rows {stride} values apart, {width} of them used", tolerance
        )
        if found:
            missing = f"; {len(rows) - whole} of {len(rows)} rows are cut off" if whole < len(rows) else ""
            return f"{found}: the buffer has a row stride{missing}"
    return ""


def _longer(truth: Array, judged: Array, tolerance: float) -> str:
    """One axis of another length: padding or frames at one end."""
    if truth.ndim != judged.ndim:
        return ""
    axes = [axis for axis in range(truth.ndim) if truth.shape[axis] != judged.shape[axis]]
    if len(axes) != 1:
        return ""
    axis, more = axes[0], judged.shape[axes[0]] - truth.shape[axes[0]]
    common = min(truth.shape[axis], judged.shape[axis])
    for start in sorted({0, abs(more), abs(more) // 2}):
        piece = slice(start, start + common)
        index = (*[slice(None)] * axis, piece)
        ours, theirs = (truth, judged[index]) if more > 0 else (truth[index], judged)
        words = f"{start} to {start + common} along axis {axis}"
        whose = "it" if more > 0 else "the reference"
        found = _verified(ours, theirs, f"{words} of {whose}", tolerance)
        if found:
            return f"{found}: {abs(more)} {'more' if more > 0 else 'fewer'} than the reference"
    return f"{abs(more)} {'more' if more > 0 else 'fewer'} along axis {axis}"


# helpers ---------------------------------------------------------------------------------------------------


def _verified(truth: Array, array: Array, how: str, tolerance: float) -> str:
    if array.shape != truth.shape or array.size == 0:
        return ""
    with np.errstate(all="ignore"):
        worst = float(np.abs(array.astype(np.float64) - truth.astype(np.float64)).max())
    if not worst <= tolerance:
        return ""
    bound = next((bound for bound in BOUNDS if worst <= bound <= tolerance), tolerance)
    return f"matches within {bound:g} when read as {how}"


def _npy_of_another_name(truth: Array, path: Path, tolerance: float) -> str:
    try:
        return explain(truth, read_array(path), tolerance)
    except EdgeError:
        return ""


def _member(path: Path, names: set[str], truth: Array) -> Array | None:
    """An array inside of an .npz that is not much larger than the reference."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            for name in names & set(archive.namelist()):
                if archive.getinfo(name).file_size > 16 * truth.size + 4096:
                    continue
                with archive.open(name) as member:
                    read: Any = np.lib.format.read_array
                    array = read(member, allow_pickle=False, max_header_size=4096)
                    return np.asarray(array) if math.prod(array.shape) else None
    except Exception:  # damaged archives make zipfile and numpy raise nearly anything
        return None
    return None
