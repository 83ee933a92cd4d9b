"""Core AI assets (.aimodel) on coreai-core: on Linux its own executor, on macOS 27 the system's, on the CPU.

Shapes are fixed: an asset holds a function for each set of shapes that it was exported for, and a run takes
the one that fits. The library works in a process of its own (`core_ai_process`), as it ends its process
where something goes wrong inside.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edge_runtime.backends.base import as_clause, check_device, check_request, not_installed
from edge_runtime.backends.worker import WorkerSession, obstacle
from edge_runtime.errors import BackendError

name = "coreai"
target = "coreai"
devices = ("cpu",)

EXTRA = "coreai"
PROGRAM = Path(__file__).with_name("core_ai_process.py")


def unavailable(device: str = "cpu") -> str:
    """Why Core AI cannot run on a device here; "" when it can."""
    try:
        check_device(name, device, dict.fromkeys(devices))
        _check_library()
    except BackendError as refusal:
        return as_clause(refusal)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> WorkerSession:
    """Compile an asset; `threads` is accepted and left to Core AI."""
    check_request(name, path, threads)
    check_device(name, device, dict.fromkeys(devices))
    _check_library()
    return WorkerSession(name, PROGRAM, path)


def _check_library() -> None:
    """BackendError unless the library is there and loads."""
    if find_spec("coreai") is None:
        raise not_installed(name, "coreai", "coreai-core", EXTRA)
    if refusal := obstacle(name, PROGRAM):
        raise refusal
