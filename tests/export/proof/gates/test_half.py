"""What float16 loses between operations, where a processor computes in float32 and hears nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_export.backends import get_backend
from edge_export.proof.gates import half


def two_convolutions(path: Path, factor: float) -> Path:
    """x → float16 → convolution, LeakyRelu, convolution → float32; large weights, then small ones."""
    weights = {"w": np.full((1, 1, 3), factor), "v": np.full((1, 1, 3), 1 / factor)}
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["a"], name="/first/Conv", pads=[1, 1]),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("Conv", ["b", "v"], ["c"], name="/second/Conv", pads=[1, 1]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, "n")) for name in "xy"]
    constants = [numpy_helper.from_array(values.astype(np.float16), name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "two", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def test_what_onnxruntime_hides_is_found_and_named(tmp_path: Path) -> None:
    inputs = {"x": np.linspace(1, 3, 50, dtype=np.float32).reshape(1, 1, -1)}
    path = two_convolutions(tmp_path / "large.onnx", 1e4)
    heard = get_backend("onnxruntime").open(path).run(inputs)["y"]
    assert np.isfinite(heard).all()  # a processor's sums are float32
    figures, failed = half.range_of(path, inputs)
    (told,) = failed
    assert told.startswith("fp16-overflow at Conv /first/Conv")
    assert "infinity or NaN, float16 ends at 65504" in told
    figures, failed = half.range_of(two_convolutions(tmp_path / "small.onnx", 1e2), inputs)
    assert failed == []
    assert figures["headroom"] == pytest.approx(65504 / 900, rel=0.02)


class Ran:
    """A session that recorded its inner values."""

    detail = "beyond float16: conv up"

    def __init__(self, largest: float) -> None:
        self.largest_magnitude = largest

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(inputs)


def test_an_executor_names_what_overflowed() -> None:
    assert half.overflow_of(Ran(float("inf"))) == ["fp16-overflow: beyond float16: conv up"]
    assert half.overflow_of(Ran(70.0)) == []
