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

Names and values come from files and command lines, so they may hold anything. The sentence stays on one line:
`shown` escapes line breaks, terminal codes and bytes that are not text, as Python writes them in its strings,
and leaves out the middle of anything too long for a sentence.

What can be processed and is probably not what was meant is doubted (`doubt`): an `EdgeWarning` with the same
sentence, which the command line prints as one line. Within `strictly` (``--strict``) it is a refusal.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Self

LONGEST_NAME = 4096  # characters shown of a «what»: paths have no more
LONGEST_VALUE = 600  # of everything else
# controls (line breaks, ESC), marks that turn the direction of writing, separators of lines and paragraphs,
# and the halves of characters that stand for bytes which are no UTF-8
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(text: str, longest: int = LONGEST_VALUE) -> str:
    r"""Text from a file or command line as a part of one line: unprintable characters escaped, long text cut.

    >>> print(shown("two\nlines"))
    two\nlines
    """
    if len(text) > longest:
        text = f"{text[: longest // 2]} … ({len(text)} characters) … {text[-longest // 8 :]}"
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python holds a byte of a name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


class EdgeError(ValueError):
    """One sentence: ``what: got …, expected …; likely cause``.

    Args:
        what: file, option or array that is refused.
        got: the value found there.
        expected: what would have been accepted.
        cause: the likely cause and its cure, empty where there is nothing honest to guess.

    >>> print(EdgeError("fps", got="0", expected="more than 0", cause="25 is usual"))
    fps: got 0, expected more than 0; 25 is usual
    """

    def __init__(self, what: str, *, got: str, expected: str, cause: str = "") -> None:
        super().__init__(what, got, expected, cause)
        self.what = what
        self.got = got
        self.expected = expected
        self.cause = cause

    def __str__(self) -> str:
        what = shown(self.what, LONGEST_NAME)
        sentence = f"{what}: got {shown(self.got)}, expected {shown(self.expected)}"
        return f"{sentence}; {shown(self.cause)}" if self.cause else sentence

    def __reduce__(self) -> tuple[Any, ...]:
        # names are lost on the way out of a worker process otherwise, and its whole pool breaks on them
        return partial(type(self), got=self.got, expected=self.expected, cause=self.cause), (self.what,)

    def within(self, place: str) -> Self:
        """The same refusal with the place that contains it named first, unless it is already.

        >>> print(InputError("audio", got="0 samples", expected="at least 1").within("speech.wav"))
        speech.wav: audio: got 0 samples, expected at least 1
        """
        named = self.what.startswith(place) and self.what[len(place) :][:1] in ("", ":", "/")
        what = self.what if named else f"{place}: {self.what}"
        return type(self)(what, got=self.got, expected=self.expected, cause=self.cause)

    def renamed(self, rename: Callable[[str], str]) -> Self:
        """The same refusal with every text of it renamed."""
        what, got, expected, cause = map(rename, (self.what, self.got, self.expected, self.cause))
        return type(self)(what, got=got, expected=expected, cause=cause)


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


class EdgeWarning(UserWarning):
    """A doubt about an input that was processed all the same; its text is a refusal's sentence."""


_STRICT = ContextVar("strict", default=False)
_RENAME = ContextVar[Callable[[str], str]]("rename", default=str)


def doubt(refusal: EdgeError) -> None:
    """Say what is doubtful: warn, or raise it within `strictly`.

    Raises:
        EdgeError: `refusal` itself, within `strictly`.
    """
    if _STRICT.get():
        raise refusal
    warnings.warn(str(refusal.renamed(_RENAME.get())), EdgeWarning, stacklevel=3)


@contextmanager
def renaming(rename: Callable[[str], str]) -> Iterator[None]:
    """Refusals and doubts of this block have their texts renamed: for paths that we alone know.

    Args:
        rename: text → text in which such a path stands under the name that the user gave.
    """
    outer = _RENAME.get()
    token = _RENAME.set(lambda text: outer(rename(text)))
    try:
        yield
    except EdgeError as error:
        told = error.renamed(rename)
        if told.args == error.args:
            raise
        raise told from error
    finally:
        _RENAME.reset(token)


@contextmanager
def strictly() -> Iterator[None]:
    """In this block doubtful inputs are refused."""
    token = _STRICT.set(True)
    try:
        yield
    finally:
        _STRICT.reset(token)
