"""A library in a process of its own: numbers come back, and whatever goes wrong there is a sentence here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.backends import worker
from edge_runtime.backends.base import Array
from edge_runtime.backends.worker import WorkerLibrary, WorkerSession
from edge_runtime.errors import BackendError

PROGRAM = """
import os
from edge_runtime.backends.worker import serve
from edge_runtime.errors import BackendError

def opened(arguments):
    if "missing" in arguments:
        raise BackendError("toy", got="no module named toy", expected="toy", cause="pip install toy")
    print("a library that prints")
    def run(inputs):
        if "refused" in inputs:
            raise RuntimeError("\\n\\ntwo lines\\nof which one tells")
        if "crash" in inputs:
            os.write(2, b"something\\nlibtoy: assertion failed\\n")
            os.abort()
        print("and prints")
        return {name: array + array for name, array in inputs.items()}
    return f"toy of {arguments[0].rpartition('/')[2]}", run

serve(opened)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("worker") / "toy.py"
    place.write_text(PROGRAM)
    return place


@pytest.fixture(scope="module")
def session(program: Path) -> Iterator[WorkerSession]:
    session = WorkerSession("toy", program, "some/model")
    yield session
    session.close()


def test_what_was_opened_is_told(session: WorkerSession) -> None:
    assert session.detail == "toy of model"


def test_arrays_of_every_kind_come_back(session: WorkerSession) -> None:
    inputs: dict[str, Array] = {
        "single": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "half": np.ones((2, 0, 3), np.float16),
        "whole": np.array(7),
        "truth": np.array([True, False]),
        "file.name-1": np.full((1, 1, 2), 1 << 40),
    }
    for _ in range(2):
        found = session.run(inputs)
        assert set(found) == set(inputs)
        for name, array in inputs.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[name], array + array)
    found["single"] += 1  # ours to change


def test_what_the_library_says_is_quoted_and_the_session_lives(session: WorkerSession) -> None:
    with pytest.raises(
        BackendError, match="some/model: running with toy: got «two lines», expected no error"
    ):
        session.run({"refused": np.zeros(1)})
    assert session.run({"x": np.ones(1)})["x"] == 2


def test_a_refusal_comes_through_as_it_is(program: Path) -> None:
    with pytest.raises(BackendError, match=r"^toy: got no module named toy, expected toy; pip install toy$"):
        WorkerSession("toy", program, "some/model", ["missing"])


def test_a_crash_is_a_sentence_then_and_later(program: Path) -> None:
    session = WorkerSession("toy", program, "some/model")
    told = r"running with toy: got its process ended by SIGABRT \(«libtoy: assertion failed»\)"
    for name in ("crash", "x"):
        with pytest.raises(BackendError, match=told):
            session.run({name: np.zeros(1 << 20)})


def test_a_process_ends_with_its_session(program: Path) -> None:
    session = WorkerSession("toy", program, "some/model")
    process = session._process
    del session
    assert process.poll() is not None


def test_a_library_that_does_not_load_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process says what went wrong, here that its program is not there."""
    library = WorkerLibrary("toy", tmp_path / "nothing.py", module="json", distribution="toy", extra="toy")
    reason = library.unavailable()
    assert "got its process ended by exit 2 («" in reason
    monkeypatch.setattr(worker, "WorkerSession", None)
    assert library.unavailable() == reason


def test_the_device_is_looked_at_before_the_library(program: Path) -> None:
    library = WorkerLibrary("toy", program, module="json", distribution="toy", extra="toy", devices=("npu",))
    assert library.unavailable("cpu") == "toy has no other device: got cpu, expected npu"
    with pytest.raises(BackendError, match="toy: got «list index out of range»"):  # it wants a path
        library.check("npu")
