"""Core AI assets (.aimodel) on coreai-core: on Linux its own executor, on macOS 27 the system's, on the CPU.

Shapes are fixed: an asset holds a function for each set of shapes that it was exported for, and a run takes
the one that fits. The library works in a process of its own (`core_ai_process`), as it ends its process
where something goes wrong inside.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.backends.base import check_request
from edge_runtime.backends.worker import WorkerLibrary, WorkerSession

name = "coreai"
target = "coreai"
LIBRARY = WorkerLibrary(
    name,
    Path(__file__).with_name("core_ai_process.py"),
    module="coreai",
    distribution="coreai-core",
    extra="coreai",
)
devices = LIBRARY.devices
unavailable = LIBRARY.unavailable


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> WorkerSession:
    """Compile an asset; `threads` is accepted and left to Core AI."""
    check_request(name, path, threads)
    LIBRARY.check(device)
    return WorkerSession(name, LIBRARY.program, path)
