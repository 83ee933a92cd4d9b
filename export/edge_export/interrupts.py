"""Ctrl-C while the command is still being loaded ends it at once, without a traceback.

Imported before anything that takes time. A program that merely imports `edge_export` keeps its own handlers.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path


def _is_the_command() -> bool:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return (spec is not None and spec.parent == "edge_export") or Path(sys.argv[0]).stem == "edge-export"


def hear() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, which ends in one word and exit status 130."""
    if _ENDS_AT_ONCE and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_ENDS_AT_ONCE = (
    _is_the_command()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _ENDS_AT_ONCE:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
