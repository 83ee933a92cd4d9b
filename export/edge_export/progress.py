"""Progress of long work: one moving line on a terminal, plain lines otherwise. Both go to stderr."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """Callable with one line of text; as a context manager it leaves the terminal clean.

    Args:
        stream: where to write.
        steps: expected number of calls, for a bar on a terminal; unknown where None.
    """

    def __init__(self, stream: TextIO | None = None, steps: int | None = None) -> None:
        self._stream = stream or sys.stderr
        self._steps = steps
        self._done = 0
        self._started = time.monotonic()
        self._moving = self._stream.isatty()

    def __call__(self, text: str) -> None:
        """Say what begins now."""
        self._done += 1
        elapsed = f"{time.monotonic() - self._started:6.1f} s"
        if not self._moving:
            print(f"{elapsed}  {text}", file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r\x1b[K" + f"{elapsed}  {self._bar()}{text}"[:width])
        self._stream.flush()

    def _bar(self) -> str:
        if not self._steps:
            return ""
        full = min(20, 20 * (self._done - 1) // self._steps)
        return f"[{'█' * full}{'░' * (20 - full)}] "

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
