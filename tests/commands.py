"""Commands as a user types them, each in a process of its own.

The processes are forked from a server that has imported the heavy libraries once: torch, coremltools and
lightning take six seconds of every command. `tests/export/test_main.py` and `tests/export/cli/test_app.py`
start commands from nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# no more than imports: a session, a thread pool or a generator would be shared by all that is forked
PRELOADED = (
    "coremltools", "cv2", "h5py", "matplotlib.pyplot", "onnx", "onnxruntime", "openvino", "scipy.signal",
    "edge_training.engine.trainer", "edge_export.__main__", "edge_export.cli.app", "edge_export.catalog",
)  # fmt: skip
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(PRELOADED))


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def edge_export(*arguments: object, status: int = 0) -> str:
    """Run a command that ends with `status`; returns what it printed, of a refusal what it said."""
    done = run(*arguments)
    assert done.status == status, done.out + done.err
    assert "Traceback" not in done.err
    return done.err if status == 2 else done.out


def run(*arguments: object) -> Done:
    """Run ``edge-export`` with these arguments, from this folder and with this environment."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _SERVER.Process(
            target=_run, args=([*map(str, arguments)], str(out), str(err), os.getcwd(), dict(os.environ))
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return Done(process.exitcode, *(path.read_text(encoding="utf-8") for path in (out, err)))


def _run(arguments: Sequence[str], out: str, err: str, folder: str, environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = ["edge-export", *arguments]
    from edge_export.__main__ import main

    try:
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
