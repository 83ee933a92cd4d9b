"""One array from a file of another program: .npy, .npz, or torch's .pt.

    FILE.npz        its only array, or the only one that can be meant; which one is said
    FILE.npz:KEY    the array of that name; the same for .pt, .pth and .pkl

What a file is, its bytes decide, not its name. Files of torch need torch: whoever has it registers a reader
(`tensor_reader.register_tensors`; the packages above do), and without one the refusal names the way out.
"""

from __future__ import annotations

import math
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError, InputError, shown
from edge_runtime.store.ownership import portable
from edge_runtime.store.reading import DAMAGED, open_regular, parse_npy_header, read_array
from edge_runtime.store.tensor_reader import tensor_reader

AnyPath = str | os.PathLike[str]
ARRAYS = frozenset({".npy", ".npz", ".pt", ".pth", ".pkl", ".mat", ".h5"})
MOST_NAMED = 8  # arrays that a sentence lists
LARGEST = 1 << 34  # bytes of one array
_KEYED = re.compile(r"(.+\.(?:npz|npy|pth?|pkl)):([^/\\]+)", re.IGNORECASE | re.DOTALL)
_ZIP, _PICKLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\x80"
_ALONE = "numpy.save('array.npy', tensor.numpy()) writes what needs no torch"


@dataclass(frozen=True)
class Member:
    """An array of a file: its shape and type are known, its values are read by `read()`."""

    shape: tuple[int, ...]
    kind: str  # of numpy's types: "f" for floats
    read: Callable[[], NDArray[Any]] = field(repr=False, compare=False)


def split_key(path: AnyPath) -> tuple[Path, str | None]:
    """(file, name of the array in it, None where the path names none).

    >>> split_key("mels.npz:clean")[1], split_key("mels.npz")[1]
    ('clean', None)
    """
    text = os.fspath(path)
    found = None if os.path.lexists(text) else _KEYED.fullmatch(text)
    return (Path(text), None) if found is None else (Path(found[1]), found[2])


def label(path: AnyPath) -> str:
    """What files that are made from an input are named after: its name without folder and suffix.

    >>> label("mels/take.1.npy"), label("mels/take.npz:clean")
    ('take.1', 'take_clean')
    """
    place, key = split_key(path)
    if key is None:
        return place.stem
    return portable(f"{place.stem}_{key}")


def is_array_file(path: AnyPath) -> bool:
    """Whether a file holds an array, by its name or its first bytes, rather than sound."""
    place, key = split_key(path)
    if key is not None or place.suffix.lower() in ARRAYS:
        return True
    try:
        with open_regular(place) as file:
            return file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
    except EdgeError:
        return False  # the reader reports the reason


def read_one(
    path: AnyPath,
    expected: str,
    *,
    likely: Callable[[Member], bool],
    say: Callable[[str], object] = lambda _: None,
) -> NDArray[Any]:
    """One array (…,) of numbers.

    Args:
        path: of the file, with ``:KEY`` behind it for one of several arrays.
        expected: what refusals ask for.
        likely: whether an array can be the one that is meant, where the file has several.
        say: told which one was taken.

    Raises:
        InputError: no array, several that can be meant, no such name; damaged or hostile files.
    """
    place, key = split_key(path)
    with open_regular(place, expected) as file:
        head = file.read(len(MAGIC_PREFIX))
        archived = head.startswith(_ZIP) and _is_npz(place, file)
    if not head.startswith((*_ZIP, _PICKLE)) and key is None:
        return read_array(place, expected)
    members: Mapping[str, Member]
    if archived:
        members = _members(place, expected)
    elif head.startswith((*_ZIP, _PICKLE)):
        members = _tensors(place, expected)
    else:
        raise InputError(str(place), got=f"a file without names, and :{key}", expected=f"{place.name} alone")
    name = _choose(place, members, key, likely, expected)
    if key is None:
        say(f"{place.name}: {f'array {shown(name, 80)!r}' if name else 'its only array'} taken")
    return members[name].read()


def _choose(
    place: Path,
    members: Mapping[str, Member],
    key: str | None,
    likely: Callable[[Member], bool],
    expected: str,
) -> str:
    if key is not None:
        if key not in members:
            raise InputError(str(place), got=f"no array {key!r}", expected=f"one of {_listed(members)}")
        return key
    fit = [name for name, member in members.items() if likely(member)] or list(members)
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise InputError(str(place), got="no array", expected=expected)
    raise InputError(
        str(place),
        got=f"{len(fit)} arrays: {_listed({name: members[name] for name in fit})}",
        expected="one, or its name",
        cause=f"choose it: {shown(f'{place.name}:{fit[0]}', 120)}",
    )


def _listed(members: Mapping[str, Member]) -> str:
    named = [f"{shown(name, 60)} {member.shape}" for name, member in list(members.items())[:MOST_NAMED]]
    rest = len(members) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")


# numpy's archives ------------------------------------------------------------------------------------------


def _is_npz(place: Path, file: BinaryIO) -> bool:
    """Whether a zip holds arrays of numpy, and no weights of torch."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return place.suffix.lower() == ".npz"
    return not any(name.endswith("data.pkl") for name in names)


def _members(place: Path, expected: str) -> dict[str, Member]:
    """The arrays of an .npz file, their headers read; those of objects or text are left out."""
    found: dict[str, Member] = {}
    with open_regular(place, expected) as file, _damage(place, expected), zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as stream:
                shape, _, dtype = parse_npy_header(place, cast(BinaryIO, stream), expected, InputError)
            whole = all(type(length) is int and 0 <= length < 1 << 48 for length in shape)
            if dtype.kind in "biufc" and whole and len(shape) <= 32:
                read = partial(_read_member, place, entry.filename, expected)
                found[entry.filename.removesuffix(".npy")] = Member(shape, dtype.kind, read)
    return found


def _read_member(place: Path, name: str, expected: str) -> NDArray[Any]:
    with open_regular(place, expected) as file, _damage(place, expected), zipfile.ZipFile(file) as archive:
        with archive.open(name) as stream:
            shape, by_columns, dtype = parse_npy_header(place, cast(BinaryIO, stream), expected, InputError)
            size = math.prod(shape) * dtype.itemsize
            claimed = archive.getinfo(name).file_size
            content = stream.read(size) if size <= min(claimed, LARGEST) else b""
        if len(content) < size:
            raise InputError(
                f"{place}: {name.removesuffix('.npy')}",
                got=f"fewer bytes than shape {shape} of {dtype} needs",
                expected=expected,
                cause="the file is truncated, or its header is damaged",
            )
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


class _damage:  # noqa: N801 - a context manager, used as a function
    """Whatever damaged bytes make zipfile and numpy raise becomes a refusal that names the file."""

    def __init__(self, place: Path, expected: str) -> None:
        self.place, self.expected = place, expected
        self._quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._quiet.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._quiet.__exit__(None, None, None)
        if isinstance(error, EdgeError):
            return
        if isinstance(error, (*DAMAGED, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)):
            raise InputError(
                str(self.place),
                got=f"no readable archive («{shown(str(error) or type(error).__name__, 80)}»)",
                expected=self.expected,
                cause="the file is damaged, truncated, or of another format",
            ) from error


# torch's files ---------------------------------------------------------------------------------------------


def _tensors(place: Path, expected: str) -> Mapping[str, Member]:
    read = tensor_reader()
    if read is None:
        raise InputError(
            str(place),
            got="a file of torch, or a pickle",
            expected=expected,
            cause=f"{_ALONE}; edge_training reads it: pip install 'edge-export[train]'",
        )
    return read(place)
