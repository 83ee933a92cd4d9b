"""Arrays that are written row by row into a .npy file, so that memory does not grow with them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_runtime.errors import InputError


class ArrayWriter(AbstractContextManager["ArrayWriter"]):
    """A .npy file of shape (rows, …) that grows: ``with ArrayWriter(path, (64,)) as file: file.write(rows)``.

    The header is written at the end; a file that an exception left unfinished is not readable as .npy.

    Args:
        path: of the new file.
        row: shape of one row.
        dtype: of the values.
    """

    def __init__(self, path: str | os.PathLike[str], row: tuple[int, ...], dtype: DTypeLike = "<f4") -> None:
        self.row = row
        self.dtype = np.dtype(dtype)
        self.count = 0  # rows written
        self._file = open(path, "wb")  # noqa: SIM115  closed by __exit__
        self._file.write(b"\0" * len(self._header()))

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, …)."""
        if rows.shape[1:] != self.row:
            raise InputError("rows", got=f"shape {rows.shape}", expected=f"(n, *{self.row})")
        self._file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        self.count += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._file.write(self._header())

    def _header(self) -> bytes:
        """Header for the present shape; its length is fixed, because numpy leaves room for the first axis."""
        header = BytesIO()
        entries = {
            "descr": self.dtype.str,
            "fortran_order": False,
            "shape": (self.count, *self.row),
        }
        np.lib.format.write_array_header_1_0(header, entries)  # type: ignore[no-untyped-call]
        return header.getvalue()
