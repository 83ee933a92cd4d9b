"""onnxruntime runs what it is given and refuses in sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.runtime.backends import tiny_onnx

from edge_runtime.backends import ort
from edge_runtime.errors import BackendError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_onnx.write(tmp_path / "model.onnx")


def test_outputs_come_by_name_for_any_batch(model: Path) -> None:
    session = ort.open(model)
    for batch in (1, 3):
        inputs = tiny_onnx.inputs(batch)
        found = session.run(inputs)
        tiny_onnx.check(found, inputs)


def test_arrays_that_are_not_contiguous_are_taken_as_they_are(model: Path) -> None:
    inputs = {name: np.asfortranarray(array) for name, array in tiny_onnx.inputs(3).items()}
    tiny_onnx.check(ort.open(model).run(inputs), inputs)


def test_the_detail_names_version_provider_and_threads(model: Path) -> None:
    version = onnxruntime.__version__
    assert ort.open(model).detail == f"onnxruntime {version}, CPUExecutionProvider, threads: default"
    assert ort.open(model, threads=2).detail == f"onnxruntime {version}, CPUExecutionProvider, threads: 2"


def test_threads_reach_onnxruntime(model: Path) -> None:
    options = ort.open(model, threads=3)._session.get_session_options()
    assert options.intra_op_num_threads == 3


def test_the_cpu_is_available() -> None:
    assert ort.unavailable() == ""


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_without_cuda_the_refusal_lists_what_is_installed(model: Path) -> None:
    with pytest.raises(BackendError) as refusal:
        ort.open(model, device="cuda")
    sentence = str(refusal.value)
    assert sentence.startswith(f"onnxruntime on cuda: got onnxruntime {onnxruntime.__version__} with ")
    assert "CPUExecutionProvider, expected CUDAExecutionProvider; pip install onnxruntime-gpu" in sentence
    assert ort.unavailable("cuda").startswith("pip install onnxruntime-gpu in place of onnxruntime: got ")


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-gpu",
)
def test_with_cuda_the_numbers_are_those_of_float32(model: Path) -> None:
    session = ort.open(model, device="cuda")
    inputs = tiny_onnx.inputs(3)
    tiny_onnx.check(session.run(inputs), inputs)
    assert "CUDAExecutionProvider" in session.detail


@pytest.mark.parametrize("contents", [b"", b"hello", b"\x08\x08\x12"])
def test_a_file_that_is_no_model_is_a_sentence(
    tmp_path: Path, contents: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(contents)
    with pytest.raises(BackendError, match=r"bad\.onnx: loading with onnxruntime: got «\[ONNXRuntimeError\]"):
        ort.open(tmp_path / "bad.onnx")
    assert capfd.readouterr() == ("", "")


def test_an_unknown_operation_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tiny_onnx.write(tmp_path / "odd.onnx", activation="Reloo")
    with pytest.raises(BackendError, match=r"odd\.onnx: loading with onnxruntime: got «.*Reloo"):
        ort.open(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "missing from input feed"),
        ({"x": np.ones((2, 5), np.float32)}, "Got invalid dimensions for input: x"),
        ({"x": np.ones((2, 4), np.float64)}, "Unexpected input data type"),
        ({"x": np.ones((2, 4), np.float32), "q": np.ones(1)}, "Invalid input name: q"),
    ],
)
def test_inputs_that_do_not_fit_are_a_sentence(
    model: Path, inputs: dict[str, np.ndarray], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    session = ort.open(model)
    with pytest.raises(BackendError, match=rf"model\.onnx: running with onnxruntime: got «.*{told}"):
        session.run(inputs)
    assert capfd.readouterr() == ("", "")


def test_a_failure_while_running_is_a_sentence_and_nothing_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = ort.open(tiny_onnx.write_failing(tmp_path / "model.onnx"))
    with pytest.raises(BackendError, match=r"running with onnxruntime: got «.*Reshape"):
        session.run(tiny_onnx.inputs(2))
    assert capfd.readouterr() == ("", "")
