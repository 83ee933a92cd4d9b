"""Reads files from outside safely: plain files, text, JSON and .npy arrays.

All files that users give are read through this module. For all of them:

* Only regular files are opened (links to them count): a pipe would wait for ever, a device never ends.
* Nothing is allocated because of a header alone: sizes are first compared with the file's own.
* Whatever a library raises because of damaged bytes becomes an error that names the file.

Each function takes the class of the error (`InputError` by default) and what was expected.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError, InputError, shown

AnyPath = str | os.PathLike[str]

LARGEST_TEXT = 1 << 24  # bytes; JSON takes up to sixty times as much as objects
DEEPEST_JSON = 64  # brackets inside of brackets
LARGEST_ARCHIVE = 1 << 34  # bytes unpacked; an hour of a large grid
LARGEST_INTEGER = (1 << 64) - 1  # JSON of other programs may hold it: seeds, sizes, hashes
# exceptions of numpy for a header that is not a Python literal, or too deeply nested
DAMAGED = (ValueError, TypeError, KeyError, EOFError, SyntaxError, TokenError, RecursionError, MemoryError)

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib keeps one of the two slashes; C:/ is none

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_opened = ""


def last_opened() -> str:
    """The input that was opened last, "" if none: for a failure that does not say which file it is about."""
    return _opened


# plain files -----------------------------------------------------------------------------------------------


def regular_file(
    path: AnyPath, expected: str = "a file", refusal: type[EdgeError] = InputError, what: str | None = None
) -> Path:
    """The path itself, if it is a regular file or a link to one; for libraries that open files themselves.

    Args:
        path: of the file.
        expected: what the error asks for, for example "a WAV, FLAC, MP3 or Ogg file".
        refusal: class of the error.
        what: what the error names, by default the path.

    Raises:
        EdgeError: a `refusal`: no such file, a folder, pipe, device or socket, an impossible name.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        cause = "it is a URL: download it first" if is_url(path) else ""
        raise refusal(what or str(path), got=_reason(error), expected=expected, cause=cause) from error
    if not stat.S_ISREG(mode):
        raise refusal(what or str(path), got=_kind(mode), expected=expected)
    _note(path)
    return Path(path)


def is_url(path: AnyPath) -> bool:
    """Whether it is the address of something on a network.

    >>> is_url("https://example.org/a.wav"), is_url("C:/a.wav")
    (True, False)
    """
    return _URL.match(str(path)) is not None


def open_regular(
    path: AnyPath, expected: str = "a file", refusal: type[EdgeError] = InputError, what: str | None = None
) -> BinaryIO:
    """The opened file, for reading bytes; never waits, not even where the path is a pipe.

    Raises:
        EdgeError: as `regular_file`; a file that may not be read.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        # Windows opens no folders, sockets open nowhere: the kind is the better reason
        regular_file(path, expected, refusal, what)
        raise refusal(what or str(path), got=_reason(error), expected=expected) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise refusal(what or str(path), got=_kind(mode), expected=expected)
    _note(path)
    return os.fdopen(handle, "rb")


def _note(path: AnyPath) -> None:
    global _opened
    _opened = str(path)


def read_bytes(
    path: AnyPath,
    expected: str = "a file",
    refusal: type[EdgeError] = InputError,
    *,
    largest: int = LARGEST_TEXT,
) -> bytes:
    """All bytes of a file of at most `largest`.

    Raises:
        EdgeError: as `open_regular`; a larger file, or one that cannot be read from the disk.
    """
    with open_regular(path, expected, refusal) as file:
        try:
            content = file.read(largest + 1)
        except OSError as error:
            raise refusal(str(path), got=_reason(error), expected=expected) from error
    if len(content) > largest:
        raise refusal(str(path), got=f"more than {largest} bytes", expected=expected)
    return content


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "something that is not a plain file")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return {
            errno.ENOENT: "no such file",
            errno.ENOTDIR: "no such file",
            errno.ELOOP: "links that lead in a circle",
        }.get(error.errno or 0) or f"«{error.strerror or error}»"
    return f"«{error}»"  # a NUL in the name


# text and JSON ---------------------------------------------------------------------------------------------


def read_text(path: AnyPath, expected: str = "a text", refusal: type[EdgeError] = InputError) -> str:
    """The text of a UTF-8 file, with or without a byte order mark, of at most `LARGEST_TEXT` bytes.

    Raises:
        EdgeError: as `read_bytes`; bytes that are not UTF-8.
    """
    content = read_bytes(path, expected, refusal)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise refusal(
            str(path),
            got="text in UTF-16" if wide else f"bytes that are not UTF-8 text (at {error.start})",
            expected=expected,
            cause="save it as UTF-8" if wide else "the file is damaged, or in another encoding",
        ) from error


def read_json(path: AnyPath, expected: str = "a JSON file", refusal: type[EdgeError] = InputError) -> Any:
    """The value of a JSON file; see `parse_json`.

    Raises:
        EdgeError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, expected, refusal), str(path), expected, refusal)


def read_object(
    path: AnyPath, expected: str = "a JSON object { … }", refusal: type[EdgeError] = InputError
) -> dict[str, Any]:
    """The entries of a JSON file that holds an object.

    Raises:
        EdgeError: as `read_json`; JSON of another kind.
    """
    entries = read_json(path, expected, refusal)
    if not isinstance(entries, dict):
        raise refusal(str(path), got=f"a JSON {type(entries).__name__}", expected=expected)
    return entries


def find_object(path: AnyPath) -> dict[str, Any]:
    """As `read_object`, empty where there is none: for asking whether a folder is one of ours."""
    try:
        return read_object(path)
    except EdgeError:
        return {}


def parse_json(text: str, what: str, expected: str = "JSON", refusal: type[EdgeError] = InputError) -> Any:
    """The value of a JSON text: at most `DEEPEST_JSON` levels, integers of 64 bits, finite numbers.

    Raises:
        EdgeError: text that is not JSON or beyond these bounds; names `what`.

    >>> parse_json('{"fps": 25}', "options")
    {'fps': 25}
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep(what, expected, refusal) from error
    except ValueError as error:
        raise refusal(what, got=f"text that is not JSON ({error})", expected=expected) from error
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [item for box in level if isinstance(box, (dict, list)) for item in _items(box)]
        if not level:
            return value
    raise _too_deep(what, expected, refusal)


def _items(box: dict[str, Any] | list[Any]) -> list[Any]:
    return list(box.values()) if isinstance(box, dict) else box


def _too_deep(what: str, expected: str, refusal: type[EdgeError]) -> EdgeError:
    return refusal(what, got=f"brackets more than {DEEPEST_JSON} levels deep", expected=expected)


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"the integer {shown(digits, 40)} needs more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(digits, 40)} is too large")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


# arrays ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArrayHeader:
    """The header of a .npy file, as far as the file confirms it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # of numbers or booleans
    by_columns: bool  # Fortran's order
    offset: int  # of the first value, bytes


def read_array_header(
    path: AnyPath,
    file: BinaryIO,
    expected: str = "an array of numbers in numpy's .npy format",
    refusal: type[EdgeError] = InputError,
    *,
    truncated: bool = False,
) -> ArrayHeader:
    """Shape and type of a .npy file, opened at its beginning; its position is then at the first value.

    Args:
        path: named in errors.
        file: of `open_regular`.
        expected, refusal: see there.
        truncated: accept a file that ends before its last value.

    Raises:
        EdgeError: another format, a damaged header, objects or text, fewer values than the shape says.
    """
    shape, by_columns, dtype = parse_npy_header(path, file, expected, refusal)
    offset = file.tell()
    whole = all(type(length) is int and 0 <= length < 1 << 48 for length in shape)
    if not whole or len(shape) > 32:  # what old numpy takes
        raise refusal(
            str(path), got=f"an array of shape {shape}", expected=expected, cause="its header is damaged"
        )
    if dtype.kind not in "biufc":
        raise refusal(str(path), got=f"values of type {dtype}", expected=expected)
    claimed = math.prod(shape) * dtype.itemsize
    there = os.fstat(file.fileno()).st_size - offset
    if claimed > there and not truncated:
        raise refusal(
            str(path),
            got=f"{there} bytes of values",
            expected=f"{claimed}, as its shape {shape} of {dtype} says",
            cause="the file is truncated, or its header is damaged",
        )
    return ArrayHeader(shape, dtype, by_columns, offset)


def read_array(
    path: AnyPath,
    expected: str = "an array of numbers in numpy's .npy format",
    refusal: type[EdgeError] = InputError,
    *,
    mapped: bool = False,
) -> NDArray[Any]:
    """One array (…,) of numbers or booleans from a .npy file; pickles are never opened.

    Args:
        path: of the file.
        expected, refusal: see `regular_file`.
        mapped: leave the values on the disk, read-only, instead of reading them all.

    Raises:
        EdgeError: as `open_regular` and `read_array_header`; more than the memory holds.
    """
    with open_regular(path, expected, refusal) as file:
        header = read_array_header(path, file, expected, refusal)
        count = math.prod(header.shape)
        try:
            if mapped and count:
                values: NDArray[Any] = np.memmap(file, header.dtype, "r", header.offset, (count,))
            else:
                values = np.fromfile(file, header.dtype, count)
            return values.reshape(header.shape, order="F" if header.by_columns else "C")
        except (OSError, ValueError, MemoryError) as error:
            reason = _reason(error) if isinstance(error, OSError) else f"«{error}»"
            raise refusal(
                str(path), got=f"{header.dtype} of shape {header.shape}: {reason}", expected=expected
            ) from error


def read_archive(
    path: AnyPath, expected: str = "arrays in numpy's .npz format", refusal: type[EdgeError] = InputError
) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file by name, numbers and texts; pickles are never opened.

    Raises:
        EdgeError: as `open_regular`; no archive, damaged or hostile entries, more than `LARGEST_ARCHIVE`.
    """
    with open_regular(path, expected, refusal) as file:
        try:
            with zipfile.ZipFile(file) as entries:
                size = sum(entry.file_size for entry in entries.infolist())
            if size > LARGEST_ARCHIVE:
                raise refusal(str(path), got=f"{size} bytes unpacked", expected=f"at most {LARGEST_ARCHIVE}")
            file.seek(0)
            with warnings.catch_warnings(), np.load(file, allow_pickle=False) as archive:
                warnings.simplefilter("ignore")
                return {name: archive[name] for name in archive.files}
        except EdgeError:
            raise
        except (*DAMAGED, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            said = str(error) or type(error).__name__
            raise refusal(
                str(path),
                got=f"no readable archive («{shown(said, 80)}»)",
                expected=expected,
                cause=_OBJECTS if "allow_pickle" in said else _DAMAGE,
            ) from error


_DAMAGE = "the file is damaged, truncated, or of another format"
_OBJECTS = "Python objects are never opened: save texts as np.array(texts, dtype=str), numbers as floats"
_ARCHIVE = "take the array out of it: numpy.save('mel.npy', numpy.load(ARCHIVE)[NAME])"


def parse_npy_header(
    path: AnyPath, file: BinaryIO, expected: str, refusal: type[EdgeError]
) -> tuple[tuple[Any, ...], bool, np.dtype[Any]]:
    """(shape, Fortran's order, type) as the header of an opened .npy file has them, unchecked.

    Raises:
        EdgeError: no such header; names the file, and another format where it is recognised.
    """
    read: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files of Python 2; escapes that no string has
            version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
            shape, by_columns, dtype = read[version](file)
    except DAMAGED as error:
        named = _looks_like(file)
        raise refusal(
            str(path),
            got=named or f"no readable header («{shown(str(error) or type(error).__name__, 80)}»)",
            expected=expected,
            cause=_ARCHIVE if "archive" in named else "the file is damaged, truncated, or of another format",
        ) from error
    return tuple(shape), bool(by_columns), dtype


def _looks_like(file: BinaryIO) -> str:
    """What the file is instead of .npy, where its first bytes show it."""
    file.seek(0)
    head = file.read(6)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive (.npz, or weights of torch)"
    if head.startswith(b"\x80"):
        return "a pickle"
    if head.startswith(b"MATLAB"):
        return "a MATLAB file"
    if head.startswith(b"\x89HDF"):
        return "an HDF5 file"
    return ""
