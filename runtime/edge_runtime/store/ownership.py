"""Which names from files may become paths, and which folders we may delete.

A name that was read from a file becomes part of a path only through `plain_name`, so that no file leads out
of its folder. A folder is ours, and may be replaced, if it holds the record of the command that wrote it and
otherwise only files which, by that record, the command writes (`holds_only`). Links are never ours: we write
none.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import InputError

LONGEST_NAME = 200  # bytes: file systems take 255, suffixes and those of hidden folders included
_IGNORED = frozenset({".DS_Store"})
_LEFTOVER = ".edge-export-"
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
# what parts a path anywhere, and the columns of file lists
_APART = "/\\|"
_NOT_ON_WINDOWS = '<>:"?*'
_DEVICES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}) | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}


def plain_name(name: object, where: str) -> str:
    """The name itself, if it can be that of one file or folder; ``where`` says which file it was read from.

    Raises:
        InputError: not text, a path instead of a name, or a name that no file should have.
    """
    if isinstance(name, str) and is_plain(name):
        return name
    reason = windows_refusal(name) if isinstance(name, str) and _is_one_step(name) else ""
    raise InputError(
        where,
        got=f"the name {name!a:.60}",
        expected=f"a plain file name without slashes, | and control characters, at most {LONGEST_NAME} bytes",
        cause=f"Windows cannot hold it ({reason}): rename it"
        if reason
        else "the file is damaged, or was made to lead outside of its folder",
    )


def path_inside(folder: Path, name: str, where: str) -> Path:
    """The path of a name that may lead into folders below ``folder``, as ``main/00001`` in a file list, or
    ``main\\00001`` in one that Windows wrote.

    Raises:
        InputError: it would lead out of the folder, or a part of it is no plain name.
    """
    return folder.joinpath(*(plain_name(part, where) for part in re.split(r"[/\\]", name)))


def is_plain(name: str) -> bool:
    """Whether a text is a plain file name on every operating system.

    >>> is_plain("model.onnx"), is_plain("../model.onnx")
    (True, False)
    """
    return _is_one_step(name) and not windows_refusal(name)


def windows_refusal(name: str) -> str:
    """Why Windows cannot hold a file of that name, "" if it can.

    Devices have their names in every folder and with every suffix. Source: Microsoft, «Naming files, paths,
    and namespaces».

    >>> windows_refusal("take.wav"), windows_refusal("aux.wav"), windows_refusal("12:30")
    ('', 'AUX is a device', "':' in a name")
    """
    if strange := [letter for letter in name if letter in _NOT_ON_WINDOWS]:
        return f"{strange[0]!r} in a name"
    if name.endswith((".", " ")):
        return "a dot or space at the end"
    stem = name.partition(".")[0].rstrip(" ")
    return f"{stem.upper()} is a device" if stem.casefold() in _DEVICES else ""


def portable(name: str) -> str:
    """The nearest name that every operating system can hold: for results named after a user's file.

    >>> portable("take 12:30"), portable("con"), portable("a.")
    ('take 12_30', 'con_', 'a_')
    """
    letters = (
        "_" if c in _APART + _NOT_ON_WINDOWS or unicodedata.category(c) in _UNPRINTABLE else c for c in name
    )
    safe = "".join(letters) or "_"
    if safe.endswith((".", " ")):
        safe = safe[:-1] + "_"
    if windows_refusal(safe):
        stem, dot, rest = safe.partition(".")
        safe = f"{stem.rstrip(' ')}_{dot}{rest}"
    return safe if is_plain(safe) else f"_{safe.encode()[: LONGEST_NAME - 40].decode(errors='ignore')}"


def _is_one_step(name: str) -> bool:
    """Whether a name leads one step below its folder on every system, and can be shown."""
    if name in ("", ".", "..") or name.startswith(_LEFTOVER) or any(letter in _APART for letter in name):
        return False
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
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
