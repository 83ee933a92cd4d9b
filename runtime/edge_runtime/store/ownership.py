"""Which names from files may become paths, and which folders we may delete.

A name that was read from a file becomes part of a path only through `plain_name`, so that no file leads out
of its folder. A folder is ours, and may be replaced, if it holds the record of the command that wrote it and
otherwise only files which, by that record, the command writes (`holds_only`). Links are never ours: we write
none.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import InputError

LONGEST_NAME = 200  # bytes: file systems take 255, suffixes and those of hidden folders included
_IGNORED = frozenset({".DS_Store"})
_LEFTOVER = ".edge-export-"
# what parts a path anywhere, and the columns of file lists
_APART = "/\\|" + (":" if sys.platform == "win32" else "")


def plain_name(name: object, where: str) -> str:
    """The name itself, if it can be that of one file or folder; ``where`` says which file it was read from.

    Raises:
        InputError: not text, a path instead of a name, or a name that no file should have.
    """
    if isinstance(name, str) and is_plain(name):
        return name
    raise InputError(
        where,
        got=f"the name {name!a:.60}",
        expected=f"a plain file name without slashes, | and control characters, at most {LONGEST_NAME} bytes",
        cause="the file is damaged, or was made to lead outside of its folder",
    )


def path_inside(folder: Path, name: str, where: str) -> Path:
    """The path of a name that may lead into folders below ``folder``, as ``main/00001`` in a file list.

    Raises:
        InputError: it would lead out of the folder, or a part of it is no plain name.
    """
    return folder.joinpath(*(plain_name(part, where) for part in name.split("/")))


def is_plain(name: str) -> bool:
    """Whether a text is a plain file name on every operating system.

    >>> is_plain("model.onnx"), is_plain("../model.onnx")
    (True, False)
    """
    if name in ("", ".", "..") or name.startswith(_LEFTOVER) or any(letter in _APART for letter in name):
        return False
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return False
    return len(name.encode()) <= LONGEST_NAME


def holds_only(folder: Path, belongs: Callable[[str], bool]) -> bool:
    """Whether ``belongs`` is true of the relative POSIX path of every file in a folder, at any depth.

    Folders themselves do not count, only their files. Leftovers of killed calls (hidden, with our prefix)
    count as ours.
    """
    return all(belongs(name) for name in _names_below(folder))


def _names_below(folder: Path) -> Iterator[str]:
    """Relative paths of all but folders; a link's path ends in a slash, so that it never belongs."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(_LEFTOVER)]
        for name in (*folders, *files):
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink():
                yield inside + "/"
            elif name in files and name not in _IGNORED:
                yield inside


def _raise(error: OSError) -> None:
    raise error
