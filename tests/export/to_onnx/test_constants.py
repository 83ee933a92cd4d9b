"""Constants: computed where they are small and known, left where they are weights or unknown."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edge_export.to_onnx.constants import MOST_ELEMENTS, folded_constants

WEIGHT = np.arange(MOST_ELEMENTS + 4, dtype=np.float32)


def model() -> onnx.ModelProto:
    """x (n,) → y: paddings computed from constants, two weights added, the length of x."""
    nodes = [
        helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.array([3]), "three")),
        helper.make_node("Mul", ["three", "two"], ["six"]),
        helper.make_node("Concat", ["zero", "six"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Add", ["weight", "weight"], ["doubled"]),
        helper.make_node("Shape", ["x"], ["length"]),
        helper.make_node("Cast", ["length"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["padded", "as_float"], ["scaled"]),
        helper.make_node("Concat", ["scaled", "doubled"], ["y"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m"])],
        [
            numpy_helper.from_array(np.array([2]), "two"),
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(WEIGHT, "weight"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_small_constants_are_computed_and_the_rest_stays() -> None:
    before = model()
    after = folded_constants(before)
    onnx.checker.check_model(after, full_check=True)
    assert [node.op_type for node in after.graph.node] == ["Pad", "Add", "Shape", "Cast", "Mul", "Concat"]
    stored = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in after.graph.initializer}
    assert stored == {"weight": WEIGHT.tolist(), "pads": [0, 6]}
    x = np.ones(2, np.float32)
    first, second = (
        onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for made in (before, after)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, [2, 2, 0, 0, 0, 0, 0, 0, *(2 * WEIGHT)])


def test_equal_large_constants_become_one() -> None:
    """Two that are equal and one that is not."""
    values = {"first": WEIGHT, "again": WEIGHT, "other": 2 * WEIGHT}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, ""))
        for name, array in values.items()
    ]
    nodes += [
        helper.make_node("Add", ["x", "first"], ["a"]),
        helper.make_node("Add", ["a", "again"], ["b"]),
        helper.make_node("Add", ["b", "other"], ["y"]),
    ]
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [WEIGHT.size]) for name in "xy"]
    graph = helper.make_graph(nodes, "test", sizes[:1], sizes[1:])
    before = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    after = folded_constants(before)
    onnx.checker.check_model(after, full_check=True)
    assert [node.output[0] for node in after.graph.node] == ["first", "other", "a", "b", "y"]
    (y,) = onnx.reference.ReferenceEvaluator(after).run(None, {"x": WEIGHT})
    np.testing.assert_array_equal(y, 5 * WEIGHT)


def test_the_model_given_is_not_touched() -> None:
    before = model()
    folded_constants(before)
    assert before == model()
