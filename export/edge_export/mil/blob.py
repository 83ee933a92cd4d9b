"""The weight file of a Core ML package (`weights/weight.bin`, "MIL blob storage" version 2).

Little-endian, everything aligned to 64 bytes:

    header    uint32 count, uint32 version = 2, 56 reserved bytes
    blob      uint32 sentinel = 0xDEADBEEF, uint32 dtype, uint64 size in bytes, uint64 offset of the data,
              uint64 unused bits at the end of the data (types under 8 bits), 32 reserved bytes
    data      at the offset that the blob states

A constant of the program refers to its blob by the position of the blob's 64 bytes. Source: the format
published with coremltools (`mlmodel/src/MILBlob/Blob/StorageFormat.hpp`, `BlobDataType.hpp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import BundleError
from edge_runtime.store.reading import regular_file

Array = np.ndarray[Any, np.dtype[Any]]

SENTINEL = 0xDEADBEEF
VERSION = 2
_RECORD = 64  # bytes of the header and of each blob's description

_HEADER = np.dtype([("count", "<u4"), ("version", "<u4")])
_METADATA = np.dtype([("sentinel", "<u4"), ("dtype", "<u4"), ("size", "<u8"), ("offset", "<u8")])

# code in the file → (name of the type, bits of one value)
DTYPES: dict[int, tuple[str, int]] = {
    1: ("fp16", 16),
    2: ("fp32", 32),
    3: ("uint8", 8),
    4: ("int8", 8),
    5: ("bf16", 16),
    6: ("int16", 16),
    7: ("uint16", 16),
    8: ("int4", 4),
    9: ("uint1", 1),
    10: ("uint2", 2),
    11: ("uint4", 4),
    12: ("uint3", 3),
    13: ("uint6", 6),
    14: ("int32", 32),
    15: ("uint32", 32),
}

# name → numpy type of the stored bytes; types under 8 bits are unpacked instead
_NUMPY: dict[str, str] = {
    "fp16": "<f2",
    "fp32": "<f4",
    "uint8": "u1",
    "int8": "i1",
    "int16": "<i2",
    "uint16": "<u2",
    "int32": "<i4",
    "uint32": "<u4",
}


@dataclass(frozen=True)
class BlobFile:
    """One weight file, mapped into memory: blobs are read-only views of it wherever the type allows."""

    path: Path
    data: Array
    count: int

    @classmethod
    def open(cls, path: Path) -> BlobFile:
        """Check the header and map the file; BundleError when it is missing, cut short or something else."""
        size = regular_file(path, "the weights of this package", BundleError, path.name).stat().st_size
        if size < _RECORD:
            raise _damaged(path, f"{size} bytes", f"at least the {_RECORD} bytes of the header")
        data = np.memmap(path, np.uint8, "r")
        header = data[: _HEADER.itemsize].view(_HEADER)[0]
        if header["version"] != VERSION:
            raise _damaged(path, f"version {header['version']}", f"version {VERSION} of the weight format")
        return cls(path, data, int(header["count"]))

    def read(self, offset: int, shape: tuple[int, ...]) -> Array:
        """The array described at byte `offset`, of ``shape (…,)``, in the type that the file states."""
        name, start, size = self._describe(offset)
        bits = next(width for known, width in DTYPES.values() if known == name)
        values = prod(shape)
        if size != -(-values * bits // 8):
            got = f"{size} bytes for the blob at {offset}"
            raise _damaged(self.path, got, f"{-(-values * bits // 8)} bytes ({values} values of {name})")
        data = self.data[start : start + size]
        return decode(np.asarray(data), name, shape)

    def _describe(self, offset: int) -> tuple[str, int, int]:
        place = f"the blob at {offset}"
        if offset % _RECORD or not _RECORD <= offset <= self.data.size - _RECORD:
            raise _damaged(self.path, f"{self.data.size} bytes", f"room for {place}")
        metadata = self.data[offset : offset + _METADATA.itemsize].view(_METADATA)[0]
        if metadata["sentinel"] != SENTINEL:
            raise _damaged(self.path, f"{int(metadata['sentinel']):#x} before {place}", f"{SENTINEL:#x}")
        code, size, start = (int(metadata[field]) for field in ("dtype", "size", "offset"))
        if code not in DTYPES:
            raise _damaged(self.path, f"type {code} of {place}", f"one of {sorted(DTYPES)}")
        if start % _RECORD or start + size > self.data.size:
            raise _damaged(self.path, f"{self.data.size} bytes", f"{start + size} bytes ({place})")
        return DTYPES[code][0], start, size


def decode(data: Array, name: str, shape: tuple[int, ...]) -> Array:
    """Bytes (n,) uint8 → ``shape (…,)`` in the named type; types under 8 bits become int8 or uint8."""
    if name in _NUMPY:
        return data.view(_NUMPY[name]).reshape(shape)
    if name == "bf16":  # the upper half of a float32
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    signed = name.startswith("int")
    return unpack_bits(data, int(name.removeprefix("u").removeprefix("int")), prod(shape), signed).reshape(
        shape
    )


def unpack_bits(data: Array, width: int, count: int, signed: bool = False) -> Array:
    """(count,) values of `width` bits from packed bytes (n,), lowest bits first, as in all Core ML files."""
    bits = np.unpackbits(data, count=count * width, bitorder="little").reshape(count, width)
    values = np.packbits(bits, axis=1, bitorder="little")[:, 0] if count else np.zeros(0, np.uint8)
    if not signed:
        return values
    return np.where(values >= 1 << (width - 1), values.astype(np.int16) - (1 << width), values).astype(
        np.int8
    )


def _damaged(path: Path, got: str, expected: str) -> BundleError:
    return BundleError(
        path.name, got=got, expected=expected, cause="the package is damaged or was copied only in part"
    )
