"""Pictures without a plotting library: colour maps, spectrograms as pictures, PNG files.

    values, 0 … 1, any shape          →  colour              →  uint8 (…, 3), red green blue
    (bands, frames), any unit         →  spectrogram_picture →  uint8 (H, W, 3), low bands at the bottom
    uint8 (H, W) or (H, W, 3)         →  write_png           →  a file, 8 bits a channel

"viridis" is the map of van der Walt and Smith (2015, CC0); "jet", usual in Grad-CAM figures, is three clipped
triangles. NaN is drawn as the lowest value.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.targets import replace_file

ColourMap = Literal["viridis", "jet", "grey"]

# every fifth of the 256 colours as RRGGBB; linear interpolation between them errs by at most one level of 255
# remade by: "".join(f"{r:02x}{g:02x}{b:02x}" for r, g, b in (255 * matplotlib viridis.colors).round()[::5])
_VIRIDIS = (
    "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b38598c355e8d"
    "33638d31688e2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b1e9c891fa18821a58524aa83"
    "28ae802eb37c35b7793dbc7446c06f50c46a5ac86465cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11f"
    "d8e219e5e419f1e51dfde725"
)
READABLE_WIDTH = 480  # pixels: shorter spectrograms are enlarged
READABLE_HEIGHT = 240
WIDEST = 4096  # pixels: longer ones are averaged along time
PIECE = 8192  # frames at a time


def colour(values: ArrayLike, name: ColourMap = "viridis") -> NDArray[np.uint8]:
    """Colours of values in 0 … 1, (…) → uint8 (…, 3); values outside are clipped.

    Raises:
        ConfigError: no such colour map.

    >>> colour([0.0, 1.0]).tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    if name not in get_args(ColourMap):
        raise ConfigError("colour map", got=repr(name), expected=", ".join(get_args(ColourMap)))
    level = np.clip(np.nan_to_num(np.asarray(values, np.float64), nan=0.0), 0.0, 1.0)
    table = _table(name)
    return table[np.rint(level * 255).astype(np.uint8)]


def spectrogram_picture(
    values: ArrayLike, low: float | None = None, high: float | None = None, name: ColourMap = "viridis"
) -> NDArray[np.uint8]:
    """A spectrogram or feature map as a picture: each value becomes a rectangle of one colour.

    Args:
        values: (bands, frames), band 0 the lowest frequency.
        low, high: values drawn in the first and the last colour; by default the smallest and the largest
            finite value.
        name: colour map.

    Returns:
        uint8 (H, W, 3), band 0 at the bottom: at least 480 × 240 pixels, at most 4096 wide.

    Raises:
        InputError: not two axes, or an axis of length 0.

    >>> spectrogram_picture(np.zeros((80, 100))).shape
    (240, 500, 3)
    """
    shape = np.shape(values)
    if len(shape) != 2 or 0 in shape:
        raise InputError("spectrogram", got=f"shape {shape}", expected="(bands, frames)")
    array = np.asarray(values)
    rows = averaged((array[:, start : start + PIECE] for start in range(0, shape[1], PIECE)), shape[1])
    finite = rows[np.isfinite(rows)]
    lowest = low if low is not None else (float(finite.min()) if finite.size else 0.0)
    highest = high if high is not None else (float(finite.max()) if finite.size else 1.0)
    span = highest - lowest
    level = (rows - lowest) / span if span > 0 else np.zeros_like(rows)
    picture = colour(level[::-1], name)
    bands, frames = rows.shape
    down, across = -(-READABLE_HEIGHT // bands), -(-READABLE_WIDTH // frames)
    return np.ascontiguousarray(picture.repeat(down, axis=0).repeat(across, axis=1))


class Preview:
    """A picture of a spectrogram that arrives in pieces, averaged along time: its memory does not grow."""

    def __init__(self, bands: int) -> None:
        self._means = np.empty((0, bands))  # of groups of frames; at most 2 · WIDEST of them
        self._rest = np.empty((0, bands))  # frames that fill no group yet
        self._group = 1  # frames of a group

    def add(self, frames: NDArray[Any]) -> None:
        """Adds the next frames, (n, bands)."""
        rest = np.concatenate([self._rest, frames])
        full = len(rest) // self._group
        groups = rest[: full * self._group].reshape(full, self._group, -1)
        self._means = np.concatenate([self._means, groups.mean(axis=1)])
        self._rest = rest[full * self._group :]
        while len(self._means) > 2 * WIDEST:
            if len(self._means) % 2:
                self._rest = np.concatenate([self._means[-1:].repeat(self._group, axis=0), self._rest])
            pairs = len(self._means) // 2
            self._means = self._means[: 2 * pairs].reshape(pairs, 2, -1).mean(axis=1)
            self._group *= 2

    def picture(self) -> NDArray[np.uint8]:
        """Picture of all frames added, uint8 (H, W, 3), as `spectrogram_picture` draws it."""
        rest = [self._rest.mean(axis=0, keepdims=True)] if len(self._rest) else []
        return spectrogram_picture(np.concatenate([self._means, *rest]).T)


def write_png(path: str | os.PathLike[str], image: NDArray[Any]) -> None:
    """Write an 8-bit PNG; an existing file is replaced in one step.

    Args:
        path: target.
        image: uint8 (H, W) grey or (H, W, 3) red green blue.

    Raises:
        InputError: another shape or type.
        TargetError: the target cannot be written.
    """
    content = png_bytes(image)
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def png_bytes(image: NDArray[Any]) -> bytes:
    """The content of an 8-bit PNG file.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) red green blue.

    Raises:
        InputError: another shape or type.
    """
    picture = np.asarray(image)
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3) or not picture.size:
        raise InputError(
            "picture",
            got=f"{picture.dtype} of shape {picture.shape}",
            expected="uint8 (height, width) or (height, width, 3)",
        )
    height, width = picture.shape[:2]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def _table(name: ColourMap) -> NDArray[np.uint8]:
    """The 256 colours of a map, (256, 3)."""
    place = np.linspace(0.0, 1.0, 256)
    if name == "grey":
        columns = [255 * place] * 3
    elif name == "jet":
        columns = [255 * np.clip(1.5 - np.abs(4 * place - peak), 0, 1) for peak in (3, 2, 1)]
    else:
        known = np.frombuffer(bytes.fromhex(_VIRIDIS), np.uint8).reshape(-1, 3)
        at = np.linspace(0.0, 1.0, len(known))
        columns = [np.interp(place, at, known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)


def averaged(pieces: Iterable[NDArray[Any]], frames: int) -> NDArray[np.float64]:
    """Neighbours averaged until at most `WIDEST` frames are left, of (bands, n) pieces, ``frames`` in all."""
    edges = np.linspace(0, frames, min(frames, WIDEST) + 1).astype(np.int64)
    group_of = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    sums: NDArray[np.float64] | None = None
    begin = 0
    for piece in pieces:
        if sums is None:
            sums = np.zeros((len(piece), len(edges) - 1))
        groups = group_of[begin : begin + piece.shape[1]]
        firsts = np.flatnonzero(np.diff(groups, prepend=-1))
        sums[:, groups[firsts]] += np.add.reduceat(piece.astype(np.float64), firsts, axis=1)
        begin += piece.shape[1]
    assert sums is not None
    return sums / np.diff(edges)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
