"""The weight file, against bytes written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.export.mil.handmade import blob, weight_file

from edge_export.mil.blob import BlobFile, decode, unpack_bits
from edge_runtime.errors import BundleError


@pytest.mark.parametrize(
    ("code", "values"),
    [
        (1, np.array([0.5, -1.25, 65504.0], np.float16)),
        (2, np.array([1e-30, 3.0, -2.0], np.float32)),
        (3, np.array([0, 128, 255], np.uint8)),
        (4, np.array([-128, 0, 127], np.int8)),
        (6, np.array([-32768, 5, 32767], np.int16)),
        (7, np.array([0, 65535, 1], np.uint16)),
        (14, np.array([-(2**31), 7, 2**31 - 1], np.int32)),
        (15, np.array([0, 2**32 - 1, 9], np.uint32)),
    ],
)
def test_reads_each_type(tmp_path: Path, code: int, values: np.ndarray) -> None:
    file = BlobFile.open(weight_file(tmp_path / "weight.bin", blob(values.tobytes(), code)))
    read = file.read(64, (3,))
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path: Path) -> None:
    file = BlobFile.open(weight_file(tmp_path / "weight.bin", blob(b"\x80\x3f\x20\xc0", 5)))
    np.testing.assert_array_equal(file.read(64, (2,)), np.array([1.0, -2.5], np.float32))


def test_types_under_a_byte_are_unpacked(tmp_path: Path) -> None:
    # 4 bits each, low half first: 0x1, 0xF and 0x8 as signed numbers are 1, -1 and -8
    file = BlobFile.open(weight_file(tmp_path / "weight.bin", blob(b"\xf1\x08", 8)))
    np.testing.assert_array_equal(file.read(64, (3,)), [1, -1, -8])


def test_blobs_are_views_of_the_file(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float32)
    read = BlobFile.open(weight_file(tmp_path / "weight.bin", blob(values.tobytes(), 2))).read(64, (10, 100))
    assert not read.flags.owndata
    assert not read.flags.writeable


@given(st.sampled_from([1, 2, 3, 4, 6, 8]), st.lists(st.integers(0, 255), max_size=30), st.booleans())
def test_unpack_bits_inverts_packing(width: int, numbers: list[int], signed: bool) -> None:
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    values = [low + n % (high - low + 1) for n in numbers]
    whole = sum((value & (1 << width) - 1) << i * width for i, value in enumerate(values))
    packed = np.frombuffer(whole.to_bytes(-(-len(values) * width // 8), "little"), np.uint8)
    assert unpack_bits(packed, width, len(values), signed).tolist() == values


def test_unsigned_types_under_a_byte() -> None:
    assert decode(np.array([0b11_10_01_00], np.uint8), "uint2", (2, 2)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "got 0 bytes, expected at least the 64 bytes of the header"),
        (b"\1\0\0\0\1\0\0\0".ljust(64, b"\0"), "got version 1, expected version 2"),
    ],
)
def test_refuses_what_is_no_weight_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "weight.bin"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=complaint):
        BlobFile.open(path)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"weight.bin: got no such file"):
        BlobFile.open(tmp_path / "weight.bin")


@pytest.mark.parametrize(
    ("blobs", "offset", "complaint"),
    [
        (
            blob(bytes(12), 2)[:-4],
            64,
            "got 136 bytes, expected 140 bytes .the blob at 64.; .*copied only in part",
        ),
        (blob(bytes(12), 2, sentinel=7), 64, "got 0x7 before the blob at 64, expected 0xdeadbeef"),
        (blob(bytes(12), 99), 64, "got type 99"),
        (blob(bytes(8), 2), 64, r"got 8 bytes for the blob at 64, expected 12 bytes \(3 values of fp32\)"),
        (blob(bytes(12), 2), 65, "room for the blob at 65"),
        (blob(bytes(12), 2), 4096, "got 140 bytes, expected room for the blob at 4096"),
    ],
)
def test_refuses_a_damaged_blob(tmp_path: Path, blobs: bytes, offset: int, complaint: str) -> None:
    file = BlobFile.open(weight_file(tmp_path / "weight.bin", blobs))
    with pytest.raises(BundleError, match=complaint):
        file.read(offset, (3,))
