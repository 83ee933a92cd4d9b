"""Every backend follows the protocol, and a library that is missing or broken is a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.backends import BACKENDS, core_ai, core_ml, get_backend, open_vino, ort
from edge_runtime.backends.base import Backend, as_clause, check_request, load_library, telling_line
from edge_runtime.errors import BackendError


def test_backends_are_protocols_as_modules() -> None:
    backends: tuple[Backend, ...] = (ort, core_ml, open_vino, core_ai)  # mypy checks the signatures
    assert {backend.name for backend in backends} == set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_found_by_its_name(name: str) -> None:
    backend = get_backend(name)
    assert backend.name == name
    assert backend.target in ("onnx", "coreml", "coreai")


def test_an_unknown_backend_lists_the_known() -> None:
    with pytest.raises(
        BackendError, match="backend: got tvm, expected one of coreai, coreml, onnxruntime, openvino"
    ):
        get_backend("tvm")


@pytest.mark.parametrize("name", BACKENDS)
def test_an_unknown_device_is_refused_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    (tmp_path / "model").touch()
    assert "got abacus, expected" in backend.unavailable("abacus")
    with pytest.raises(BackendError, match=f"{name}: device: got abacus, expected .*cpu"):
        backend.open(tmp_path / "model", device="abacus")


@pytest.mark.parametrize("name", BACKENDS)
def test_no_threads_and_no_file_are_refused(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    with pytest.raises(BackendError, match=f"{name}: threads: got 0, expected at least 1"):
        backend.open(tmp_path, threads=0)
    with pytest.raises(BackendError, match=f"nothing: loading with {name}: got no such file"):
        backend.open(tmp_path / "nothing")


def test_a_missing_library_says_how_to_install_it() -> None:
    message = (
        r"fast: got no module named nobody_wrote_it, expected nobody_.*; pip install 'edge-export\[ort\]'"
    )
    with pytest.raises(BackendError, match=message):
        load_library("fast", "nobody_wrote_it", "ort")


def test_a_broken_library_says_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_broken_library.py").write_text("raise ImportError('libcudart.so.12: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BackendError, match=r"got «libcudart\.so\.12: cannot open», .*installation is damaged"
    ):
        load_library("fast", "a_broken_library", "ort")


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_without_its_library_a_backend_is_unavailable(name: str) -> None:
    program = (
        f"import sys; sys.modules[{name!r}] = None\n"
        f"from edge_runtime.backends import get_backend; print(get_backend({name!r}).unavailable())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip install 'edge-export[")
    assert f"expected {name}" in done.stdout


def test_a_clause_begins_with_the_cause() -> None:
    assert as_clause(
        BackendError("x", got="Linux", expected="macOS", cause="Core ML runs on macOS only")
    ) == ("Core ML runs on macOS only: got Linux, expected macOS")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Exception from src/core.cpp:84:\nCheck 'x' failed\n\n  Unable to read\nmore", "Unable to read"),
        ("plain", "plain"),
        ("", "RuntimeError"),
        ("Exception from a.cpp:1:\n", "RuntimeError"),
        ("long" * 500, "long" * 75),
    ],
)
def test_the_telling_line(text: str, told: str) -> None:
    assert telling_line(RuntimeError(text)) == told


def test_a_request_without_threads_passes(tmp_path: Path) -> None:
    check_request("any", tmp_path, None)
