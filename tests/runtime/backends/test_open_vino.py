"""OpenVINO runs what it is given in float32, also where the processor would rather use bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.backends import tiny_onnx

from edge_runtime.backends import open_vino
from edge_runtime.errors import BackendError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_onnx.write(tmp_path / "model.onnx")


def test_outputs_come_by_name_for_any_batch(model: Path) -> None:
    session = open_vino.open(model)
    for batch in (1, 3):
        inputs = tiny_onnx.inputs(batch)
        tiny_onnx.check(session.run(inputs), inputs)


def test_results_stay_when_the_session_runs_again(model: Path) -> None:
    session = open_vino.open(model)
    first = tiny_onnx.inputs(3)
    kept = session.run(first)
    session.run({"x": -first["x"]})
    tiny_onnx.check(kept, first)


def test_arrays_that_are_not_contiguous_are_taken_as_they_are(model: Path) -> None:
    inputs = {name: np.asfortranarray(array) for name, array in tiny_onnx.inputs(3).items()}
    tiny_onnx.check(open_vino.open(model).run(inputs), inputs)


def test_precision_is_float32_and_threads_are_set(model: Path) -> None:
    session = open_vino.open(model, threads=1)
    assert str(session._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert session._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    version = openvino.__version__.split("-")[0]
    assert session.detail == f"OpenVINO {version}, CPU, float32, threads: 1"


def test_small_weights_do_not_make_activations_small(tmp_path: Path) -> None:
    """OpenVINO rounds activations to 8 bits before weights of 8 bits, unless it is told not to (pain 7)."""
    rng = np.random.default_rng(0)
    levels = rng.integers(-127, 128, (256, 256)).astype(np.int8)
    scale = rng.uniform(0.5, 1.5, (256, 1)).astype(np.float32) / 127
    nodes = [
        helper.make_node("Cast", ["levels"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "scale"], ["weight"]),
        helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 256]) for n in ("x", "y")]
    constants = [numpy_helper.from_array(levels, "levels"), numpy_helper.from_array(scale, "scale")]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "small.onnx"
    path.write_bytes(model.SerializeToString())
    x = rng.normal(size=(64, 256)).astype(np.float32)
    made = open_vino.open(path).run({"x": x})["y"]
    np.testing.assert_allclose(made, x @ (levels * scale).T, atol=1e-3)


def test_the_cpu_is_available_and_a_device_that_is_not_there_is_a_clause() -> None:
    assert open_vino.unavailable() == ""
    found = {device.split(".")[0] for device in openvino.Core().available_devices}
    if "NPU" not in found:
        assert open_vino.unavailable("npu") == (
            "OpenVINO finds no such device on this machine: "
            f"got OpenVINO with {', '.join(sorted(found))}, expected NPU"
        )


def test_a_file_that_is_no_model_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(
        BackendError, match=r"bad\.onnx: loading with openvino: got «Unable to read the model"
    ):
        open_vino.open(tmp_path / "bad.onnx")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"x": np.ones((2, 5), np.float32)}, "input tensor"),
        ({"x": np.ones((2, 4), np.float32), "q": np.ones(1, np.float32)}, "q was not found"),
    ],
)
def test_inputs_that_do_not_fit_are_a_sentence(model: Path, inputs: dict[str, np.ndarray], told: str) -> None:
    session = open_vino.open(model)
    with pytest.raises(BackendError, match=rf"model\.onnx: running with openvino: got «.*{told}"):
        session.run(inputs)


def test_a_failure_while_running_is_a_sentence(tmp_path: Path) -> None:
    session = open_vino.open(tiny_onnx.write_failing(tmp_path / "model.onnx"))
    with pytest.raises(BackendError, match=r"running with openvino: got «"):
        session.run(tiny_onnx.inputs(2))
