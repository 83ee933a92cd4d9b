"""A thread's stack for signal handlers stays what it was, whatever a library does to it.

OpenVINO gives the thread that opens it a stack for signals, and the end of a model puts the earlier one back:
where two models end in the order of their making, that is one which is freed. Python's handlers run on such a
stack, so the next Ctrl-C or ended child would be a crash without a word.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SignalStack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> SignalStack:
    """That of this thread; Linux alone."""
    found = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """What the block does to this thread's stack for signals is undone."""
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
