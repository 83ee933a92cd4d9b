"""What goes wrong because of what the user gave us, as sentences.

    EdgeError(ValueError)       every refusal; the command line prints it and exits 2
    ├── InputError              audio, arrays and videos that cannot be processed
    ├── ConfigError             options and configuration files that contradict themselves or each other
    ├── CheckpointError         weights that are damaged, unsafe, or of another net
    ├── BundleError             a bundle that is damaged, incomplete, or of another format
    ├── TargetError             an output path that exists or cannot be written
    └── BackendError            a library or device that this machine lacks

A refusal says four things: what (the file, option or array), the value got, what was expected, and the
likely cause with its cure. Whoever knows a better name for the «what» adds it once, with `within`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Self


class EdgeError(ValueError):
    """One sentence: ``what: got …, expected …; likely cause``.

    Args:
        what: file, option or array that is refused.
        got: the value found there.
        expected: what would have been accepted.
        cause: the likely cause and its cure, empty where there is nothing honest to guess.
    """

    def __init__(self, what: str, *, got: str, expected: str, cause: str = "") -> None:
        super().__init__(what, got, expected, cause)
        self.what = what
        self.got = got
        self.expected = expected
        self.cause = cause

    def __str__(self) -> str:
        sentence = f"{self.what}: got {self.got}, expected {self.expected}"
        return f"{sentence}; {self.cause}" if self.cause else sentence

    def __reduce__(self) -> tuple[Any, ...]:
        # names are lost on the way out of a worker process otherwise, and its whole pool breaks on them
        return partial(type(self), got=self.got, expected=self.expected, cause=self.cause), (self.what,)

    def within(self, place: str) -> Self:
        """The same refusal with the place that contains it named first (``speech.wav: audio: …``)."""
        return type(self)(f"{place}: {self.what}", got=self.got, expected=self.expected, cause=self.cause)


class InputError(EdgeError):
    """Audio, an array or a video that cannot be processed."""


class ConfigError(EdgeError):
    """An option or a configuration that contradicts itself or another."""


class CheckpointError(EdgeError):
    """Weights that are damaged, unsafe to read, or of another net."""


class BundleError(EdgeError):
    """A bundle that is damaged, incomplete, or of another format."""


class TargetError(EdgeError):
    """An output path that exists already or cannot be written."""


class BackendError(EdgeError):
    """A library or device that this machine lacks."""
