"""Reads PNG files, with nothing but numpy and zlib: 8 and 16 bits a channel, grey, colour or with a palette.

    a file  →  read_png  →  (H, W) grey or (H, W, 3) red green blue, uint8 or uint16

Every chunk's checksum is compared, sizes are bounded before anything is unpacked, and what is not read here
(interlaced files, less than 8 bits, transparent pixels) is refused. Source: PNG specification, third edition,
W3C 2025. `edge_runtime.media.pictures` writes them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.store.reading import open_regular, read_bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_FILE = 1 << 28  # bytes
LARGEST_SIDE = 1 << 16  # pixels
MOST_PIXELS = 1 << 26

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6  # types of colour
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_PLAIN = "an 8-bit PNG without transparency, such as `convert IN -alpha off -depth 8 OUT.png` writes"


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    bits: int
    colour: int

    @property
    def pixel(self) -> int:
        """Bytes of a pixel."""
        return _CHANNELS[self.colour] * self.bits // 8

    @property
    def row(self) -> int:
        """Bytes of a row, its filter included."""
        return 1 + self.width * self.pixel


def is_png(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as PNG files do; InputError where it cannot be opened."""
    with open_regular(path, "a picture") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read_png(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The picture in a PNG file: (H, W) grey or (H, W, 3) red green blue, uint8 or uint16.

    A channel of transparency is left out where every pixel is opaque.

    Raises:
        InputError: another format, a damaged or truncated file, a kind of PNG that is not read.
    """
    content = read_bytes(path, "a PNG picture", largest=LARGEST_FILE)
    try:
        return _decode(content)
    except InputError as error:
        raise error.within(str(path)) from error
    except (zlib.error, struct.error, IndexError) as error:
        raise InputError(
            str(path), got=f"a damaged PNG («{error}»)", expected="a whole one", cause="copy it again"
        ) from error


def _decode(content: bytes) -> NDArray[Any]:
    if not content.startswith(SIGNATURE):
        raise InputError("picture", got="another format", expected="a PNG file", cause="save it as PNG")
    header: _Header | None = None
    palette = np.empty((0, 3), np.uint8)
    packed = []
    for kind, body in _chunks(content):
        if kind == b"IHDR":
            if header is not None:
                raise InputError("picture", got="two headers", expected="one", cause="the file is damaged")
            header = _header(body)
        elif kind == b"PLTE":
            palette = np.frombuffer(body[: len(body) // 3 * 3], np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            raise InputError("picture", got="transparent colours", expected=_PLAIN)
        elif kind == b"IDAT":
            packed.append(body)
    if header is None:
        raise InputError("picture", got="no header", expected="a whole PNG file")
    return _pixels(header, palette, _unpacked(header, b"".join(packed)))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, contents) up to the end."""
    place = len(SIGNATURE)
    while True:
        if place + 12 > len(content):
            raise InputError(
                "picture", got="a file that ends early", expected="a whole PNG", cause="copy it again"
            )
        (length,), kind = struct.unpack_from(">I", content, place), content[place + 4 : place + 8]
        body = content[place + 8 : place + 8 + length]
        check = content[place + 8 + length : place + 12 + length]
        if len(check) < 4 or zlib.crc32(kind + body) != int.from_bytes(check, "big"):
            got = f"a damaged part {kind.decode('latin-1')!r}"
            raise InputError("picture", got=got, expected="a whole PNG", cause="copy it again")
        if kind == b"IEND":
            return
        yield kind, body
        place += 12 + length


def _header(body: bytes) -> _Header:
    width, height, bits, colour, packing, filters, interlaced = struct.unpack(">IIBBBBB", body)
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE) or width * height > MOST_PIXELS:
        raise InputError(
            "picture", got=f"{width} × {height} pixels", expected=f"at most {MOST_PIXELS} in all"
        )
    wide = bits == 16 and colour != _PALETTE
    if colour not in _CHANNELS or not (bits == 8 or wide) or packing or filters or interlaced:
        got = f"a PNG of {bits} bits, colour type {colour}{', interlaced' if interlaced else ''}"
        raise InputError("picture", got=got, expected=_PLAIN)
    return _Header(width, height, bits, colour)


def _unpacked(header: _Header, packed: bytes) -> NDArray[np.uint8]:
    """(height, bytes of a row) after zlib and the rows' filters."""
    size = header.height * header.row
    raw = zlib.decompressobj().decompress(packed, size + 1)
    if len(raw) != size:
        raise InputError("picture", got=f"{len(raw)} bytes of pixels", expected=f"{size}")
    rows = np.frombuffer(raw, np.uint8).reshape(header.height, header.row)
    result = np.empty((header.height, header.row - 1), np.uint8)
    above = np.zeros(header.row - 1, np.uint8)
    for number, row in enumerate(rows):
        above = result[number] = _unfiltered(int(row[0]), row[1:], above, header.pixel)
    return result


def _unfiltered(kind: int, row: NDArray[np.uint8], above: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """A row of bytes whose filter is undone; everything modulo 256."""
    if kind == 0:
        return row
    if kind == 1:  # the difference to the pixel on the left
        sums = np.cumsum(row.reshape(-1, pixel), axis=0, dtype=np.uint8)
        return np.asarray(sums.reshape(-1))
    if kind == 2:  # to the pixel above
        return np.asarray(row + above)
    if kind not in (3, 4):
        raise InputError("picture", got=f"a row with filter {kind}", expected="0 to 4", cause="copy it again")
    done, up = bytearray(pixel) + bytearray(row.tobytes()), bytes(pixel) + above.tobytes()
    predict = _average if kind == 3 else _paeth
    for place in range(pixel, len(done)):
        before = place - pixel
        done[place] = (done[place] + predict(done[before], up[place], up[before])) & 255
    return np.frombuffer(done, np.uint8)[pixel:]


def _average(left: int, up: int, _corner: int) -> int:
    return (left + up) >> 1


def _paeth(left: int, up: int, corner: int) -> int:
    """Whichever of the three is nearest to left + up − corner."""
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _pixels(header: _Header, palette: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[Any]:
    if header.colour == _PALETTE:
        if int(rows.max()) >= len(palette):
            raise InputError(
                "picture", got=f"colour {int(rows.max())} of {len(palette)}", expected="one of its palette"
            )
        return palette[rows]
    values: NDArray[Any] = rows
    if header.bits == 16:
        values = rows.view(">u2").astype(np.uint16)
    values = values.reshape(header.height, header.width, -1)
    if header.colour in (_GREY_ALPHA, _RGB_ALPHA):
        if int(values[..., -1].min()) < (1 << header.bits) - 1:
            raise InputError("picture", got="transparent pixels", expected=_PLAIN)
        values = values[..., :-1]
    return np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values)
