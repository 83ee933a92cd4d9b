"""Which files an input on the command line means: one, several, a folder, a pattern, or standard input.

a.wav b.wav      these
recordings/      the folder's own files that can be an input, by their bytes; folders in it are not entered
'take*.wav'      what the pattern matches, where the shell did not expand it; ** enters folders
-                standard input, to its end
"""

from __future__ import annotations

import glob
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_runtime.errors import ConfigError, EdgeError, InputError, renaming
from edge_runtime.media import formats
from edge_runtime.store.arrays import is_array_file, label
from edge_runtime.store.ownership import portable
from edge_runtime.store.reading import is_url, open_regular

STANDARD_INPUT = "-"
LARGEST = 1 << 34  # bytes of standard input
# first bytes → suffix of a file that standard input is copied to, where readers go by it
_SUFFIXES = {b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz", b"\x89HDF": ".h5", b"\x80": ".pkl"}


@dataclass(frozen=True)
class Inputs:
    """What an argument stands for.

    Args:
        files: in the order given; those of a folder or pattern by name.
        several: each has a result of its own below --out, even if there is only one.
        passed_by: files of folders that cannot be an input.
    """

    files: tuple[Path, ...]
    several: bool = False
    passed_by: tuple[Path, ...] = ()

    @property
    def labelled(self) -> dict[str, Path]:
        """Name of the result → file.

        Raises:
            ConfigError: two files whose results would have one name, on any file system.
        """
        found: dict[str, Path] = {}
        seen: dict[str, Path] = {}
        for file in self.files:
            name = portable(label(file))
            alike = unicodedata.normalize("NFC", name).casefold()
            if alike in seen:
                raise ConfigError(
                    "inputs",
                    got=f"{seen[alike]} and {file}, whose results would both be called {name}",
                    expected="names that differ without folder and suffix",
                    cause="give them in separate calls, each with its own --out",
                )
            found[name] = seen[alike] = file
        return found


@contextmanager
def given_inputs(texts: Sequence[str], holds: Sequence[str] = ("sound",)) -> Iterator[Inputs]:
    """The files of an argument; standard input lies in a temporary file until the block ends.

    Args:
        texts: as on the command line.
        holds: what a file may hold, of `edge_runtime.pipelines.declaration.CONTENTS`: of folders, others are
            passed by.

    Raises:
        ConfigError: standard input twice, or beside others.
        InputError: no such file, a pattern or folder without a file, a URL, a terminal.
    """
    if STANDARD_INPUT not in texts:
        yield find_inputs(texts, holds)
        return
    if len(texts) > 1:
        raise ConfigError("inputs", got=f"- beside {len(texts) - 1} more", expected="- alone, or files")
    with tempfile.TemporaryDirectory() as folder:
        copied = _copied(Path(folder))
        with renaming(lambda text: text.replace(str(copied), "standard input")):
            yield Inputs((copied,))


def find_inputs(texts: Sequence[str], holds: Sequence[str] = ("sound",)) -> Inputs:
    """As `given_inputs`, without standard input."""
    files: list[Path] = []
    passed_by: list[Path] = []
    several = len(texts) > 1
    for text in texts:
        path = Path(text)
        if path.is_dir():
            kept, strange = _of_folder(path, holds)
            files += kept
            passed_by += strange
            several = True
        elif glob.has_magic(text) and not path.exists() and not is_url(text):
            files += _of_pattern(text)
            several = True
        else:
            files.append(Path(text) if not is_url(text) else _refuse_url(text))
    return Inputs(tuple(dict.fromkeys(files)), several, tuple(passed_by))


def _refuse_url(text: str) -> Path:
    raise InputError(text, got="a URL", expected="a file", cause="download it first")


def _of_folder(folder: Path, holds: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """(inputs, other files) of a folder, by name; hidden files count as neither."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    kept = [path for path in found if can_be_input(path, holds)]
    if not kept:
        got = f"a folder with {len(found)} files, none with {' or '.join(holds)}"
        raise InputError(str(folder), got=got if found else "a folder without files", expected="recordings")
    return kept, [path for path in found if path not in kept]


def _of_pattern(text: str) -> list[Path]:
    found = [path for path in map(Path, sorted(glob.glob(text, recursive=True))) if path.is_file()]
    if not found:
        raise InputError(text, got="a pattern that matches no file", expected="one that matches some")
    return found


def can_be_input(path: Path, holds: Sequence[str]) -> bool:
    """Whether a file holds one of these, as far as its first bytes and its name show."""
    if is_array_file(path):
        return "array" in holds
    try:
        with open_regular(path) as file:
            form = formats.recognise(file.read(formats.HEAD))
    except EdgeError:
        return False
    if form is None:
        return False
    if form.kind == "other":
        return "picture" in holds and form.name.endswith("picture")
    return "sound" in holds or form.kind in holds


def _copied(folder: Path) -> Path:
    """Standard input as a file."""
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            STANDARD_INPUT, got="a terminal", expected="a file on standard input", cause="… | edge-export … -"
        )
    source: BinaryIO = sys.stdin.buffer
    head = source.read(16)
    if not head:
        raise InputError(STANDARD_INPUT, got="nothing on standard input", expected="a file")
    suffix = next((suffix for magic, suffix in _SUFFIXES.items() if head.startswith(magic)), "")
    path = folder / f"stdin{suffix}"
    with path.open("wb") as file:
        file.write(head)
        left = LARGEST
        while piece := source.read(min(1 << 20, left)):
            file.write(piece)
            left -= len(piece)
        if not left:
            raise InputError(STANDARD_INPUT, got=f"more than {LARGEST} bytes", expected="a recording")
    return path
