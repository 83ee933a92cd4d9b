"""Why an array of a port differs: guesses that are tested before they are reported.

A port may read a buffer with padded rows as if they were not padded, flatten, keep the batch axis, swap
axes, write values without a header or the bits of a float as integers, split complex numbers, take another
logarithm or scale, begin a frame late. Each guess is a way to read what the port wrote; it is reported only
if the array read that way equals the reference within the tolerance.

Guesses are of three kinds, tried in this order: where the values lie, what their bytes are, what unit they
have. The latter two are tried with values in place.
"""

from __future__ import annotations

import glob
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
RAW = {
    "float32": "<f4", "float16": "<f2", "float64": "<f8", "big-endian float32": ">f4", "int16": "<i2",
    "bfloat16": "bfloat16", "complex64": "<c8",
}  # fmt: skip
HEADER = 512  # bytes that may stand before or behind bare values
SUFFIXES = ("", ".bin", ".raw", ".f32", ".dat", ".data", ".NPY", ".npy.npy")
BOUNDS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
WIDEST = 4  # of a padded row, in rows; a hardware's alignment is at most a row of these arrays
MOST_LATE = 4  # places that a shift is looked for
PROBED = 8  # values of the second row that a stride is looked for with


def explain(truth: Array, judged: Array, tolerance: float) -> str:
    """The first reading of `judged` that equals the reference within the tolerance, in words.

    Where there is none: by how much one axis is longer, or "". Both arrays (…,) have any shape.
    """
    for how, array in _readings(truth, judged):
        found = _verified(truth, array, how, tolerance)
        if found:
            return found
    for how, array in (*_bits(truth, judged), *_complex(truth, judged), *_units(truth, judged)):
        found = _verified(truth, array, how, tolerance)
        if found:
            return found
    longer = _longer(truth, judged, tolerance)
    if "when read as" in longer:
        return longer
    return _shifted(truth, judged, tolerance) or _strided(truth, judged, tolerance) or longer


def explain_bytes(truth: Array, path: Path, tolerance: float) -> str:
    """As `explain`, for the file of ``truth (…,)`` that is not .npy: bare values of some type."""
    try:
        content = read_bytes(path, largest=16 * truth.size + 4096)
    except EdgeError:
        return ""
    if content.startswith(MAGIC_PREFIX):
        return ""
    for name, dtype in RAW.items():
        width = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        needed = truth.size * width
        for start, words in _places(len(content), needed):
            values = _values(content[start : start + needed], dtype, width)
            found = explain(truth, values, tolerance) if values.size == truth.size else ""
            if found:
                return f"raw {name} values without the .npy header{words}; {found}"
        found = _begun(truth, _values(content, dtype, width), tolerance)
        if found:
            return f"raw {name} values without the .npy header; {found}"
    return ""


def _places(length: int, needed: int) -> Iterator[tuple[int, str]]:
    """(first byte, words) of bare values in a file: alone, before other bytes, or behind a header."""
    more = length - needed
    if more == 0:
        yield 0, ""
    elif 0 < more <= HEADER:
        yield 0, f", {more} bytes too many at the end"
        yield more, f", behind a header of {more} bytes"


def _values(content: bytes, dtype: str, width: int) -> Array:
    """(n,) whole values of bytes."""
    whole = content[: len(content) - len(content) % width]
    if dtype == "bfloat16":
        return (np.frombuffer(whole, "<u2").astype(np.uint32) << 16).view(np.float32)
    values = np.frombuffer(whole, dtype)
    if dtype == "<c8":
        return values
    return values.astype(np.float64) / (32768 if dtype == "<i2" else 1)


def _begun(truth: Array, values: Array, tolerance: float) -> str:
    """Bare values of which the last ones are missing, or rows that are padded."""
    if len(values) > truth.size:
        return _strided(truth, values, tolerance)
    if not truth.size // 2 <= len(values) < truth.size:
        return ""
    found = _verified(truth.reshape(-1)[: len(values)], values, "row by row", tolerance)
    return f"{found}: the file ends {truth.size - len(values)} values early" if found else ""


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
        member = _member(path, {name, Path(name).name}, truth, alone=path.stem == Path(name).stem)
        if member is not None:
            found = explain(truth, member, tolerance)
            return f"{path.name} holds it; save it as {name}" + (f"; {found}" if found else "")
    others = sorted(path.name for path in stem.parent.glob(f"{glob.escape(stem.name)}.*") if path.is_file())
    return f"{others[0]} is there, which is no .npy file: write it with numpy.save" if others else ""


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


def _bits(truth: Array, judged: Array) -> Iterator[Reading]:
    """Integers that are the bits of floats."""
    if judged.dtype.kind not in "iu":
        return
    bytes_ = np.ascontiguousarray(judged)
    for name, dtype in (("float32", "<f4"), ("float16", "<f2"), ("float64", "<f8")):
        if bytes_.nbytes == truth.size * np.dtype(dtype).itemsize:
            yield f"the bits of {name}", bytes_.reshape(-1).view(dtype).reshape(truth.shape)
    if bytes_.nbytes == 2 * truth.size:
        yield "the bits of bfloat16", _values(bytes_.tobytes(), "bfloat16", 2).reshape(truth.shape)


def _complex(truth: Array, judged: Array) -> Iterator[Reading]:
    """Complex numbers as pairs, or pairs as complex numbers."""
    if truth.dtype.kind == "c" and judged.dtype.kind == "f" and judged.size == 2 * truth.size:
        pairs = (
            ("pairs of real and imaginary parts, side by side", judged.reshape(-1, 2).T),
            ("all real parts, then all imaginary ones", judged.reshape(2, -1)),
        )
        for words, (real, imaginary) in pairs:
            yield words, (real + 1j * imaginary).reshape(truth.shape)
            yield f"{words}, of the conjugate", (real - 1j * imaginary).reshape(truth.shape)
            yield (
                f"{words}: they are magnitude and phase",
                (real * np.exp(1j * imaginary)).reshape(truth.shape),
            )
    if truth.dtype.kind == "f" and judged.dtype.kind == "c" and truth.size == 2 * judged.size:
        parts = (judged.real, judged.imag)
        if truth.shape[-1:] == (2,):
            yield "complex: its parts belong on the last axis", np.stack(parts, -1).reshape(truth.shape)
        if truth.shape[:1] == (2,):
            yield "complex: its parts belong on the first axis", np.stack(parts).reshape(truth.shape)
    if truth.dtype.kind == judged.dtype.kind == "c" and truth.shape == judged.shape:
        yield "the conjugate", judged.conj()


def _units(truth: Array, judged: Array) -> Iterator[Reading]:
    """The same values on another scale, logarithm or axis that runs backwards."""
    if judged.shape != truth.shape or judged.dtype.kind not in "fiu" or truth.dtype.kind != "f":
        return
    values = judged.astype(np.float64)
    for words, factor in SCALES.items():
        yield words, values * factor
    with np.errstate(all="ignore"):
        yield "linear values: take the natural logarithm", np.log(values)
        yield "natural logarithms: take the exponential", np.exp(values)
    for axis in range(truth.ndim):
        yield f"axis {axis} backwards", np.flip(values, axis)


# what makes a port's values the reference's
SCALES = {
    "the negative": -1.0,
    "16-bit integers, full scale 32768": 1 / 32768,
    "16-bit integers, full scale 32767": 1 / 32767,
    "divided by 32768 once too often": 32768.0,
    "decibels of a magnitude, 8.686 times a natural logarithm": math.log(10) / 20,
    "decibels of a power, 4.343 times a natural logarithm": math.log(10) / 10,
    "common logarithms (log10)": math.log(10),
    "logarithms of base 2": math.log(2),
    "natural logarithms where log10 belongs": 1 / math.log(10),
    "logarithms of the power": 0.5,
    "logarithms of the magnitude where those of the power belong": 2.0,
}


def _shifted(truth: Array, judged: Array, tolerance: float) -> str:
    """The same values, some places late or early on one axis."""
    if judged.shape != truth.shape:
        return ""
    for axis in range(truth.ndim):
        for late in range(1, min(MOST_LATE, truth.shape[axis] // 2) + 1):
            before = (*[slice(None)] * axis, slice(None, -late))
            behind = (*[slice(None)] * axis, slice(late, None))
            for ours, theirs, words in ((before, behind, "late"), (behind, before, "early")):
                how = f"{late} {words} along axis {axis}"
                found = _verified(truth[ours], judged[theirs], how, tolerance)
                if found:
                    return found
    return ""


def _strided(truth: Array, judged: Array, tolerance: float) -> str:
    """Rows that are padded in memory but were read as if they were not."""
    if truth.ndim < 2 or truth.size < 2 or judged.size < 2:
        return ""
    if truth.dtype.kind == "c" or judged.dtype.kind == "c":
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
    if "c" in (array.dtype.kind, truth.dtype.kind) and array.dtype.kind != truth.dtype.kind:
        return ""
    exact = np.complex128 if truth.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        worst = float(np.abs(array.astype(exact) - truth.astype(exact)).max())
    if not worst <= tolerance:
        return ""
    bound = next((bound for bound in BOUNDS if worst <= bound <= tolerance), tolerance)
    return f"matches within {bound:g} when read as {how}"


def _npy_of_another_name(truth: Array, path: Path, tolerance: float) -> str:
    try:
        return explain(truth, read_array(path), tolerance)
    except EdgeError:
        return ""


def _member(path: Path, names: set[str], truth: Array, *, alone: bool) -> Array | None:
    """An array inside of an .npz that is not much larger than the reference; its only one, if ``alone``."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            held = archive.namelist()
            for name in held if alone and len(held) == 1 else names & set(held):
                if archive.getinfo(name).file_size > 16 * truth.size + 4096:
                    continue
                with archive.open(name) as member:
                    read: Any = np.lib.format.read_array
                    array = read(member, allow_pickle=False, max_header_size=4096)
                    return np.asarray(array) if math.prod(array.shape) else None
    except Exception:  # damaged archives make zipfile and numpy raise nearly anything
        return None
    return None
