"""Loads inference libraries without the reports that some of them send.

onnxruntime (seen in 1.31 and 1.32) writes a device id and a database of events into the home folder when it
is imported, and holds an upload address; it obeys an environment variable. openvino asks a host of Google
Analytics and writes a client id; its reports are a package of their own, and without it openvino uses a stub.
Nobody who runs a net with us has agreed to either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ONNXRUNTIME = "ORT_DISABLE_TELEMETRY"  # set it to 0 beforehand to leave onnxruntime's reports on
OPENVINO = "openvino_telemetry"


@contextmanager
def silenced() -> Iterator[None]:
    """Libraries imported in this block send no reports.

    A program that has loaded openvino's package itself keeps it.
    """
    os.environ.setdefault(ONNXRUNTIME, "1")
    hidden = OPENVINO not in sys.modules
    if hidden:
        sys.modules[OPENVINO] = None  # type: ignore[assignment]  # importing it now fails
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(OPENVINO, None)
