"""Progress: plain lines into a pipe, one moving line on a terminal."""

from __future__ import annotations

import io
import re

from edge_export.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_lines_into_a_pipe() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress("first")
        progress("second")
    assert re.fullmatch(r" +\d+\.\d s  first\n +\d+\.\d s  second\n", stream.getvalue())


def test_a_terminal_line_is_rewritten_and_removed() -> None:
    stream = Terminal()
    with Progress(stream, steps=2) as progress:
        progress("first")
        progress("second")
    text = stream.getvalue()
    assert "\n" not in text
    assert "[░░░░░░░░░░░░░░░░░░░░] first" in text
    assert "[██████████░░░░░░░░░░] second" in text
    assert text.endswith("\r\x1b[K")
