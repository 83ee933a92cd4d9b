"""The reference evaluator as a backend: its replaced operators do what the evaluator's own do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_export.backends import onnx_reference
from edge_runtime.errors import BackendError


def save_convolution(
    path: Path, operator: str, dtype: Any, **attributes: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A model of one convolution, kernel 3 × 2, and its weight and bias."""
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((4, 4, 3, 2)).astype(dtype), rng.standard_normal(4).astype(dtype)
    element = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w", "b"], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", element, ["n", 4, "h", "v"])],
        [helper.make_tensor_value_info("y", element, ["n", 4, "p", "q"])],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return weight, bias


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_convolutions_are_those_of_torch(tmp_path: Path, operator: str, dtype: Any) -> None:
    weight, bias = save_convolution(
        tmp_path / "m.onnx", operator, dtype, strides=[2, 3], pads=[1, 0, 1, 0], dilations=[2, 1]
    )
    x = np.random.default_rng(1).standard_normal((2, 4, 7, 6)).astype(dtype)
    (got,) = onnx_reference.open(tmp_path / "m.onnx").run({"x": x}).values()
    function: Any = torch.nn.functional.conv2d if operator == "Conv" else torch.nn.functional.conv_transpose2d
    operands = [torch.from_numpy(value.astype(np.float64)) for value in (x, weight, bias)]
    expected = function(*operands, stride=(2, 3), padding=(1, 0), dilation=(2, 1)).numpy()
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-2 if dtype is np.float16 else 1e-5)


@pytest.mark.parametrize("axes", [None, [1, 2]])
@pytest.mark.parametrize("opset", [17, 18])
def test_means_of_half_precision_do_not_overflow(tmp_path: Path, opset: int, axes: list[int] | None) -> None:
    attributes: dict[str, Any] = {}
    inputs, constants = ["x"], []
    if axes is not None and opset == 18:  # an input from there on
        inputs, constants = ["x", "axes"], [onnx.numpy_helper.from_array(np.array(axes), "axes")]
    elif axes is not None:
        attributes = {"axes": axes}
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", inputs, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [2, 300, 300])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).uniform(2, 4, (2, 300, 300)).astype(np.float16)
    got = onnx_reference.open(tmp_path / "m.onnx").run({"x": x})["y"]
    assert got.dtype == np.float16
    expected = x.astype(np.float64).mean(axis=None if axes is None else (1, 2), keepdims=True)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(1, 6),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    extra=st.integers(0, 3),
    data=st.data(),
)
def test_every_transposed_convolution_is_that_of_torch(
    length: int, kernel: int, stride: int, dilation: int, extra: int, data: st.DataObject
) -> None:
    extra = min(extra, max(stride, dilation) - 1)
    full = stride * (length - 1) + (kernel - 1) * dilation + 1 + extra
    padding = data.draw(st.integers(0, min(3, (full - 1) // 2)))
    rng = np.random.default_rng(length)
    x, weight = rng.standard_normal((2, 3, length)), rng.standard_normal((3, 2, kernel))
    expected = torch.nn.functional.conv_transpose1d(
        torch.from_numpy(x),
        torch.from_numpy(weight),
        stride=stride,
        padding=padding,
        output_padding=extra,
        dilation=dilation,
    )
    got = onnx_reference.conv_transpose(
        x, weight, strides=[stride], dilations=[dilation], pads=[padding] * 2, output_padding=[extra]
    )
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-12)


def test_a_grouped_one_is_left_to_the_evaluator(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"m\.onnx: running with onnx-reference: got «"):
        # four channels in three groups: the evaluator's own operator refuses
        _run_grouped(tmp_path / "m.onnx")


def _run_grouped(path: Path) -> None:
    save_convolution(path, "ConvTranspose", np.float32, group=3)
    onnx_reference.open(path).run({"x": np.zeros((1, 4, 3, 3), np.float32)})


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(BackendError, match=r"m\.onnx: opening with onnx-reference"):
        onnx_reference.open(tmp_path / "m.onnx")


def test_it_has_no_gpu() -> None:
    assert onnx_reference.unavailable("cuda") == "it has no cuda"
    assert onnx_reference.unavailable() == ""
