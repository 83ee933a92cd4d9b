"""Graphs in two precisions: parts keep float32, casts stand between, once for each tensor."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_export.to_onnx.mixed import to_mixed

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
THIRD = np.full((4,), 1 / 3, np.float32)


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """x (n, 4) → y (n, 4), with the types of all its tensors."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)


def node(kind: str, inputs: list[str], output: str, part: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"/{part}/{kind}_{output}" if part else f"/{kind}")


def run(made: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


def kinds(made: onnx.ModelProto) -> list[str]:
    return [made_node.op_type for made_node in made.graph.node]


def test_a_part_at_the_beginning_keeps_its_weights() -> None:
    nodes = [node("Mul", ["x", "third"], "a", "prior"), node("Add", ["a", "zero"], "y")]
    mixed = to_mixed(model(nodes, {"third": THIRD, "zero": np.zeros(4, np.float32)}), ["prior"])
    assert kinds(mixed) == ["Mul", "Cast", "Add", "Cast"]
    types = {tensor.name: tensor.data_type for tensor in mixed.graph.initializer}
    assert types == {"third": TensorProto.FLOAT, "zero": TensorProto.FLOAT16}
    np.testing.assert_allclose(run(mixed), X * THIRD, rtol=1e-3)


def test_ends_can_be_half_whichever_part_they_belong_to() -> None:
    nodes = [
        node("Mul", ["x", "third"], "a", "prior"),
        node("Add", ["a", "zero"], "b"),
        node("Neg", ["b"], "y", "post"),
    ]
    made = to_mixed(
        model(nodes, {"third": THIRD, "zero": np.zeros(4, np.float32)}), ["prior", "post"], half_io=True
    )
    assert kinds(made) == ["Cast", "Mul", "Cast", "Add", "Cast", "Neg", "Cast"]
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": X.astype(np.float16)})
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, -X * THIRD, rtol=2e-3)


def test_a_part_at_the_end_gives_float32_itself() -> None:
    nodes = [node("Mul", ["x", "third"], "a"), node("Add", ["a", "third"], "y", "inverse")]
    mixed = to_mixed(model(nodes, {"third": THIRD}), ["inverse"])
    # a weight that both read stays as it is, and is cast for the one
    assert kinds(mixed) == ["Cast", "Cast", "Mul", "Cast", "Add"]
    half = X.astype(np.float16) * THIRD.astype(np.float16)
    np.testing.assert_allclose(run(mixed), half.astype(np.float32) + THIRD, rtol=0, atol=3e-4)


def test_a_tensor_is_cast_once_for_all_that_read_it() -> None:
    nodes = [
        node("Exp", ["x"], "a", "prior"),
        node("Relu", ["a"], "b"),
        node("Neg", ["a"], "c"),
        node("Add", ["b", "c"], "y"),
    ]
    assert kinds(to_mixed(model(nodes, {}), ["prior"])) == ["Exp", "Cast", "Relu", "Neg", "Add", "Cast"]


def test_an_output_that_is_read_inside_too() -> None:
    """Its name goes to the cast behind it; what reads it reads the float16 one."""
    nodes = [
        node("Exp", ["x"], "p", "prior"),
        node("Relu", ["p"], "y"),
    ]
    made = model(nodes, {})
    made.graph.node.append(node("Neg", ["y"], "unused"))
    mixed = to_mixed(onnx.shape_inference.infer_shapes(made), ["prior"])
    np.testing.assert_allclose(run(mixed), np.exp(X), rtol=1e-3)


def test_whole_numbers_and_the_model_itself_are_not_touched() -> None:
    shape = np.array([2, 4], np.int64)
    nodes = [node("Exp", ["x"], "a", "prior"), node("Reshape", ["a", "shape"], "y")]
    made = model(nodes, {"shape": shape})
    before = made.SerializeToString()
    mixed = to_mixed(made, ["prior"])
    assert made.SerializeToString() == before
    assert [tensor.data_type for tensor in mixed.graph.initializer] == [TensorProto.INT64]
    np.testing.assert_allclose(run(mixed), np.exp(X), rtol=1e-3)


def test_a_part_without_nodes_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no node of pryor"):
        to_mixed(model([node("Exp", ["x"], "y", "prior")], {}), ["pryor"])
