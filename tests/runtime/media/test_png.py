"""PNG files of other writers, read as OpenCV reads them; damaged ones are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.media.pictures import write_png
from edge_runtime.media.png import SIGNATURE, is_png, read_png

RNG = np.random.default_rng(5)


def picture(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    """Smooth enough that writers choose every filter."""
    waves = np.add.outer(np.sin(np.arange(shape[0]) / 3), np.cos(np.arange(shape[1]) / 5))
    top = np.iinfo(dtype).max
    values = (waves + 2) / 4 * top * 0.9
    if len(shape) == 3:
        values = values[..., None] * np.linspace(0.5, 1, shape[2])
    return np.asarray(values + RNG.integers(0, top // 20, shape), dtype)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A file of given bytes; ``more``: other chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


@pytest.mark.parametrize("filters", [cv2.IMWRITE_PNG_ALL_FILTERS, *(8 << n for n in range(5))])
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 3), (1, 1), (7, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_opencv_with_every_filter(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, filters: int
) -> None:
    values = picture(*shape, dtype=dtype)
    written = values if values.ndim == 2 else values[..., ::-1]  # OpenCV: blue green red
    assert cv2.imwrite(str(tmp_path / "a.png"), written, [cv2.IMWRITE_PNG_FILTER, filters])
    found = read_png(tmp_path / "a.png")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    assert is_png(tmp_path / "a.png")


def test_our_own_pictures(tmp_path: Path) -> None:
    for values in (picture(6, 5), picture(6, 5, 3)):
        write_png(tmp_path / "a.png", values)
        np.testing.assert_array_equal(read_png(tmp_path / "a.png"), values)


@pytest.mark.parametrize("kind", range(5))
def test_each_filter_by_its_definition(tmp_path: Path, kind: int) -> None:
    values = picture(5, 4, 3).astype(int).reshape(5, -1)
    rows = b""
    for y in range(5):
        row = [kind]
        for x in range(12):
            left = values[y, x - 3] if x >= 3 else 0
            up = values[y - 1, x] if y else 0
            corner = values[y - 1, x - 3] if y and x >= 3 else 0
            guess = left + up - corner
            paeth = min((abs(guess - v), n, v) for n, v in enumerate((left, up, corner)))[2]
            row.append((values[y, x] - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
        rows += bytes(int(value) for value in row)
    (tmp_path / "a.png").write_bytes(png(4, 5, 8, 2, rows))
    np.testing.assert_array_equal(read_png(tmp_path / "a.png").reshape(5, -1), values)


def test_palettes_and_opaque_alpha(tmp_path: Path) -> None:
    palette = bytes(range(9))
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 3, b"\0\2\1", (b"PLTE", palette)))
    assert read_png(tmp_path / "a.png").tolist() == [[[6, 7, 8], [3, 4, 5]]]
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 4, b"\0\7\xff\5\xff"))
    assert read_png(tmp_path / "a.png").tolist() == [[7, 5]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"GIF89a", "picture: got another format, expected a PNG file; save it as PNG"),
        (png(2, 1, 8, 4, b"\0\7\xff\5\xfe"), "got transparent pixels, expected an 8-bit PNG without transp"),
        (png(2, 1, 8, 3, b"\0\0\0", (b"PLTE", b"abc"), (b"tRNS", b"\0")), "got transparent colours"),
        (png(2, 1, 8, 3, b"\0\0\4", (b"PLTE", b"abc")), "got colour 4 of 1, expected one of its palette"),
        (png(8, 1, 1, 0, b"\0\0"), "got a PNG of 1 bits, colour type 0, expected an 8-bit PNG"),
        (png(2, 1, 8, 0, b"\0\0"), "got 2 bytes of pixels, expected 3"),
        (png(2, 1, 8, 0, b"\0\0\0\0"), "got 4 bytes of pixels, expected 3"),
        (png(2, 1, 8, 0, b"\7\0\0"), "got a row with filter 7, expected 0 to 4"),
        (png(70000, 1, 8, 0, b""), "got 70000 × 1 pixels, expected at most"),
        (png(2, 1, 8, 0, b"\0\0\0")[:-12], "got a file that ends early, expected a whole PNG"),
        (png(2, 1, 8, 0, b"\0\0\0").replace(b"IDAT", b"IDAU"), "got a damaged part 'IDAU'"),
        (SIGNATURE + png(1, 1, 8, 0, b"")[33:], "got no header"),
        (png(1, 1, 8, 0, b"\0\0", (b"IHDR", bytes(13))), "got two headers, expected one"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png: .*{sentence}"):
        read_png(tmp_path / "a.png")


def test_damage_anywhere_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(6, 5))
    whole = (tmp_path / "a.png").read_bytes()
    for place in range(len(whole) - 12):
        (tmp_path / "b.png").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError):
            read_png(tmp_path / "b.png")
