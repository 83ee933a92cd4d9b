"""GRUs written out step by step give what onnxruntime's own operator gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_export.to_coreai.gru import unrolled_grus

STEPS, BATCH, INPUTS, SIZE = 5, 2, 3, 4


def model(direction: str, *, start: bool, **attributes: Any) -> onnx.ModelProto:
    """One GRU with random weights; x (steps, batch, inputs), outputs of all steps and of the last."""
    rng = np.random.default_rng(0)
    ways = 2 if direction == "bidirectional" else 1
    shapes = {"W": (ways, 3 * SIZE, INPUTS), "R": (ways, 3 * SIZE, SIZE), "B": (ways, 6 * SIZE)}
    held = [
        numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()
    ]
    inputs = {"x": [STEPS, BATCH, INPUTS]} | ({"h": [ways, BATCH, SIZE]} if start else {})
    given: dict[str, Any] = {
        "linear_before_reset": 1,
        "hidden_size": SIZE,
        "direction": direction,
    } | attributes
    node = helper.make_node("GRU", ["x", "W", "R", "B", "", "h" if start else ""], ["y", "last"], **given)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [STEPS, ways, BATCH, SIZE]),
            helper.make_tensor_value_info("last", TensorProto.FLOAT, [ways, BATCH, SIZE]),
        ],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(made: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    given = {each.name: rng.normal(size=each.shape).astype(np.float32) for each in session.get_inputs()}
    return [np.asarray(array) for array in session.run(None, given)]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("start", [True, False])
def test_the_numbers_are_those_of_the_operator(direction: str, start: bool) -> None:
    whole = model(direction, start=start)
    expected = outputs(whole)
    apart = unrolled_grus(whole)
    assert "GRU" not in {node.op_type for node in apart.graph.node}
    onnx.checker.check_model(apart)
    for found, truth in zip(outputs(apart), expected, strict=True):
        assert found.shape == truth.shape
        np.testing.assert_allclose(found, truth, atol=1e-6)


@pytest.mark.parametrize("other", [{"linear_before_reset": 0}, {"clip": 1.0}])
def test_a_gru_of_another_definition_stays(other: dict[str, Any]) -> None:
    apart = unrolled_grus(model("forward", start=True, **other))
    assert [node.op_type for node in apart.graph.node] == ["GRU"]
