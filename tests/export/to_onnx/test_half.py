"""Float16 graphs: halved throughout, finite, float32 outside."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_export.to_onnx.half import to_half


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: tuple[str | int, ...] = ("n", 4)
) -> onnx.ModelProto:
    """x (n, 4) → y of the shape given."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def test_values_are_rounded_to_half_and_come_back_as_single() -> None:
    third = np.full((4,), 1 / 3, np.float32)
    half = to_half(model([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": third}))
    y = run(half, X)
    assert y.dtype == np.float32
    product = X.astype(np.float16) * third.astype(np.float16)
    np.testing.assert_allclose(y, product.astype(np.float32), rtol=1e-3)
    assert np.abs(y - X * third).max() > 1e-5, "rounded on the way"
    assert [t.data_type for t in half.graph.initializer] == [TensorProto.FLOAT16]


def test_inputs_and_outputs_can_be_half_themselves() -> None:
    third = np.full((4,), 1 / 3, np.float32)
    made = to_half(model([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": third}), half_io=True)
    assert [node.op_type for node in made.graph.node] == ["Mul"]
    y = run(made, X.astype(np.float16))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, X.astype(np.float16) * third.astype(np.float16), rtol=1e-3)


def test_large_weights_saturate() -> None:
    large = np.array([1e6, -1e6, np.float32(3e38), 1], np.float32)
    half = to_half(model([helper.make_node("Add", ["x", "w"], ["y"])], {"w": large}))
    weights = numpy_helper.to_array(half.graph.initializer[0])
    np.testing.assert_array_equal(weights, np.array([65504, -65504, 65504, 1], np.float16))


def test_constants_casts_and_inner_graphs_follow() -> None:
    inner = helper.make_graph(
        [helper.make_node("Mul", ["x", "c"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 4))],
    )
    nodes = [
        helper.make_node(
            "Constant", [], ["c"], value=numpy_helper.from_array(np.array(0.5, np.float32), "half")
        ),
        helper.make_node("Constant", [], ["i"], value=numpy_helper.from_array(np.array(2), "two")),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "condition")),
        helper.make_node("If", ["yes"], ["branch"], then_branch=inner, else_branch=inner),
        helper.make_node("Mul", ["branch", "f"], ["y"]),
    ]
    made = model(nodes, {})
    np.testing.assert_allclose(run(to_half(made), X), X, rtol=1e-3)
    assert made.graph.node[0].attribute[0].t.data_type == TensorProto.FLOAT, "the model given is not touched"


def test_inputs_that_stay_single_by_specification() -> None:
    weights = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 2], np.float32)}
    half = to_half(model([helper.make_node("Resize", ["x", "roi", "scales"], ["y"])], weights, ("n", 8)))
    assert run(half, X).shape == (2, 8)


@pytest.mark.parametrize("dtype", [np.int64, np.float16])
def test_other_types_stay(dtype: type) -> None:
    made = model(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
        ],
        {"unused": np.ones(1, dtype)},
        (2,),
    )
    half = to_half(made)
    assert numpy_helper.to_array(half.graph.initializer[0]).dtype == dtype
    np.testing.assert_array_equal(run(half, X), [2, 4])
