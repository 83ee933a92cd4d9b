"""What a backend is: a module that opens an artifact and runs it.

    name          what users call it
    target        which artifacts it opens, "onnx", "coreml" or "coreai"
    devices       names of the devices that it knows, "cpu" among them
    unavailable   why it cannot run here, as a clause; empty when it can
    open          an artifact → a Session

A backend's library is imported only inside its functions. Errors of a library become a BackendError that
quotes the first informative line of its message. Nothing is written to stdout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edge_runtime.backends import telemetry
from edge_runtime.errors import BackendError

Array = NDArray[Any]


class Session(Protocol):
    """An artifact that is loaded and ready to run."""

    @property
    def detail(self) -> str:
        """The library's version, the device that was chosen, and the number of threads."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Input arrays by name → output arrays by name, in the dtypes and shapes (batch, …) of the manifest.

        Raises:
            BackendError: the library refuses the inputs (`bundle.check_inputs` says more), or fails.
        """
        ...


class Backend(Protocol):
    """A backend's module."""

    @property
    def name(self) -> str:
        """As in `edge_runtime.backends.BACKENDS`."""
        ...

    @property
    def target(self) -> str:
        """ "onnx", "coreml" or "coreai"."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """What `open` takes as a device, whether this machine has it or not."""
        ...

    def unavailable(self, device: str = "cpu") -> str:
        """Why this backend cannot run on a device of this machine, as a clause; "" when it can."""
        ...

    def open(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> Session:
        """Load an artifact; `threads` None leaves their number to the library.

        Raises:
            BackendError: the backend is unavailable, or its library refuses the artifact.
        """
        ...


def load_library(backend: str, module: str, extra: str) -> Any:
    """Import a backend's library, its reports silenced (`edge_runtime.backends.telemetry`).

    Raises:
        BackendError: it is missing, with the line that installs it, or does not load.
    """
    try:
        with telemetry.silenced():
            return import_module(module)
    except ModuleNotFoundError as error:
        raise not_installed(backend, error.name or module, module, extra) from error
    except (ImportError, OSError) as error:
        raise BackendError(
            backend,
            got=f"«{telling_line(error)}»",
            expected=f"{module} to load",
            cause="its installation is damaged, or was made for another system",
        ) from error


def not_installed(backend: str, missing: str, library: str, extra: str) -> BackendError:
    """The refusal for a module that is missing, with the line that installs it."""
    return BackendError(
        backend,
        got=f"no module named {missing}",
        expected=f"{library} to be installed",
        cause=f"pip install 'edge-export[{extra}]'",
    )


def as_clause(obstacle: BackendError) -> str:
    """An error as the clause that `unavailable` gives: the cause first, then the value."""
    return f"{obstacle.cause}: got {obstacle.got}, expected {obstacle.expected}"


def check_device(backend: str, device: str, known: Mapping[str, object]) -> None:
    """BackendError if a backend does not know a device."""
    if device not in known:
        raise BackendError(
            f"{backend}: device",
            got=device,
            expected=" or ".join(sorted(known)),
            cause=f"{backend} has no other device",
        )


def check_request(backend: str, path: str | Path, threads: int | None) -> None:
    """BackendError unless the artifact exists and the number of threads is None or at least 1."""
    if threads is not None and threads < 1:
        raise BackendError(f"{backend}: threads", got=str(threads), expected="at least 1")
    if not Path(path).exists():
        raise BackendError(f"{path}: loading with {backend}", got="no such file", expected="a model file")


def threads_in_words(threads: int | None) -> str:
    """The number of threads as `Session.detail` shows it."""
    return f"threads: {threads if threads is not None else 'default'}"


def refused(backend: str, path: str | Path, error: Exception, *, doing: str) -> BackendError:
    """The BackendError that quotes what a library said while ``doing`` something with an artifact."""
    return BackendError(
        f"{path}: {doing} with {backend}", got=f"«{telling_line(error)}»", expected="no error"
    )


def telling_line(error: Exception) -> str:
    """The first line of a library's message that is not a position in its own source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (told or [type(error).__name__])[0][:300]
