"""A library in a process of its own: what it prints stays there, and where it crashes there is a sentence.

`WorkerLibrary` says whether the library is there, `WorkerSession` is our side, `serve` the process's. The
process opens the artifact that its command line names and says what it is; then it answers inputs with
outputs until its stdin ends. A message is the length of its header (8 bytes, little-endian), the header as
JSON, and the bytes of the arrays that the header lists.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.backends.base import Array, as_clause, check_device, not_installed, telling_line
from edge_runtime.errors import BackendError

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Open = Callable[[Sequence[str]], tuple[str, Run]]  # arguments → what was opened in words, and how to run it

_LENGTH = struct.Struct("<Q")
_FIELDS = ("what", "got", "expected", "cause")  # of a BackendError, as the process sends one


def serve(opened: Open) -> None:
    """Open what the command line names and answer until stdin ends; does not return.

    The libraries that need this crash while they are taken down too, so the process ends without that.
    """
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # libraries print
        try:
            detail, run = opened(sys.argv[1:])
        except Exception as error:  # any library may raise anything
            _write(answers, _refusal(error))
        else:
            _write(answers, {"detail": detail})
            while message := _read(sys.stdin.buffer):
                try:
                    _write(answers, {}, run(message[1]))
                except Exception as error:
                    _write(answers, _refusal(error))
    os._exit(0)


class WorkerSession:
    """An artifact in another process; see `base.Session`.

    Args:
        backend: its name, for sentences.
        program: the Python file that serves.
        path: the artifact, None to ask only whether the library is there.
        arguments: of the program, behind the path.

    Raises:
        BackendError: the library is missing, refuses the artifact, or ends the process.
    """

    def __init__(
        self,
        backend: str,
        program: Path,
        path: str | Path | None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._backend, self._path = backend, path
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        given = [] if path is None else [str(path), *arguments]
        # it finds its libraries where this process does
        around = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=around,
        )
        self.close = weakref.finalize(self, _end, self._process, self._complaints)
        self.detail = str(self._answer("loading")[0].get("detail", backend))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `base.Session.run`."""
        with suppress(OSError):  # the answer, or its absence, says more
            _write(_pipe(self._process.stdin), {}, inputs)
        return self._answer("running")[1]

    def _answer(self, doing: str) -> tuple[dict[str, Any], dict[str, Array]]:
        message = _read(_pipe(self._process.stdout))
        what = f"{self._path}: {doing} with {self._backend}" if self._path is not None else self._backend
        if message is None:
            raise BackendError(what, got=self._death(), expected="no error")
        header, arrays = message
        if "says" in header:
            raise BackendError(what, got=f"«{header['says']}»", expected="no error")
        if "refusal" in header:
            raise BackendError(**header["refusal"])
        return header, arrays

    def _death(self) -> str:
        """How the process ended, and the last that the library said."""
        code = self._process.wait()
        names = {number.value: number.name for number in signal.Signals}
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints.read().decode(errors="replace").splitlines()]
        told = next((line for line in reversed(lines) if line), "")
        words = f"its process ended by {names.get(-code, f'exit {code}')}"
        return f"{words} («{told[:300]}»)" if told else words


@dataclass(frozen=True)
class WorkerLibrary:
    """What a backend needs whose library works in a process of its own.

    Args:
        backend: its name, for sentences.
        program: the Python file that serves.
        module: that the library is imported as.
        distribution: that installs it, through the extra ``extra``.
        devices: that it has.
    """

    backend: str
    program: Path
    module: str
    distribution: str
    extra: str
    devices: tuple[str, ...] = ("cpu",)

    def check(self, device: str) -> None:
        """BackendError unless the device is known, and the library is there and loads."""
        check_device(self.backend, device, dict.fromkeys(self.devices))
        if find_spec(self.module) is None:
            raise not_installed(self.backend, self.module, self.distribution, self.extra)
        if refusal := _obstacle(self.backend, self.program):
            raise refusal

    def unavailable(self, device: str = "cpu") -> str:
        """Why it cannot run on a device here, as a clause; "" when it can."""
        try:
            self.check(device)
        except BackendError as refusal:
            return as_clause(refusal)
        return ""


@cache
def _obstacle(backend: str, program: Path) -> BackendError | None:
    """What keeps a program's library from loading here; asked once, as that may take a second."""
    try:
        WorkerSession(backend, program, None).close()
    except BackendError as refusal:
        return refusal
    return None


def _end(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
    with suppress(OSError):
        _pipe(process.stdin).close()
    process.kill()  # it may be in the middle of a run
    process.wait()
    _pipe(process.stdout).close()
    complaints.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _refusal(error: Exception) -> dict[str, Any]:
    if isinstance(error, BackendError):
        return {"refusal": {field: getattr(error, field) for field in _FIELDS}}
    return {"says": telling_line(error)}


def _write(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    given = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    listed = [(name, array.dtype.str, array.shape) for name, array in given.items()]
    text = json.dumps({**header, "arrays": listed}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in given.values():
        stream.write(array.tobytes())
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Header and arrays of the next message; None where the stream ends before that of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    text = stream.read(_LENGTH.unpack(head)[0])
    try:
        header = json.loads(text)
        arrays = {}
        for name, dtype, shape in header.pop("arrays"):
            kind = np.dtype(dtype)
            raw = stream.read(int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
            arrays[name] = np.frombuffer(bytearray(raw), kind).reshape(shape)
    except ValueError:  # it was cut off
        return None
    return header, arrays
