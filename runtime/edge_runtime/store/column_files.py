"""Arrays (rows, columns) on the disk that are written and read columns by columns, as spectrograms come."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from io import BytesIO
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

Key = tuple[slice, slice]  # all rows, some columns


class ColumnFile(AbstractContextManager["ColumnFile"]):
    """A .npy file of a known shape: ``file[:, a:b] = values``, ``file[:, a:b]``.

    It has its room on the disk before anything is written, and is no memory map: a full disk is an OSError
    here, and not the end of the process later.

    Args:
        path: of the file to make; None: one without a name, in ``folder``, that is gone when it is closed.
        shape: (rows, columns).
        dtype: of the values.
        folder: see ``path``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        shape: tuple[int, int],
        dtype: DTypeLike = "<f4",
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        header = _header(shape, self.dtype)
        self._offset = len(header)
        self._file: BinaryIO
        if path is None:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        else:
            self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  closed by __exit__
        try:
            _reserve(self._file, len(header) + shape[0] * shape[1] * self.dtype.itemsize)
            _write(self._file, header)
        except BaseException:
            self._file.close()
            raise

    def __setitem__(self, key: Key, values: NDArray[Any]) -> None:
        start, stop = self._columns(key)
        rows = np.ascontiguousarray(np.broadcast_to(values, (self.shape[0], stop - start)), self.dtype)
        for number, row in enumerate(rows if start < stop else ()):
            self._seek(number, start)
            _write(self._file, row.data)

    def __getitem__(self, key: Key) -> NDArray[Any]:
        start, stop = self._columns(key)
        values = np.empty((self.shape[0], stop - start), self.dtype)
        for number, row in enumerate(values if start < stop else ()):
            self._seek(number, start)
            _read(self._file, memoryview(row).cast("B"))
        return values

    def _columns(self, key: Key) -> tuple[int, int]:
        rows, columns = key
        if rows != slice(None):
            raise IndexError("all rows at once")
        start, stop, step = columns.indices(self.shape[1])
        if step != 1:
            raise IndexError("neighbouring columns")
        return start, max(start, stop)

    def _seek(self, row: int, column: int) -> None:
        self._file.seek(self._offset + (row * self.shape[1] + column) * self.dtype.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    header = BytesIO()
    entries = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, entries)  # type: ignore[no-untyped-call]
    return header.getvalue()


def _reserve(file: BinaryIO, size: int) -> None:
    """Take the room now where the system can; it is all zeros."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # macOS, Windows
        file.truncate(size)


def _write(file: BinaryIO, content: bytes | memoryview) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def _read(file: BinaryIO, into: memoryview) -> None:
    while into:
        count = file.readinto(into)  # type: ignore[attr-defined]
        if not count:
            raise OSError("the file ended while it was read")
        into = into[count:]
