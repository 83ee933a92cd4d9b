"""Graphs at fixed shapes: shape arithmetic is computed away, and the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edge_export.to_coreai.exporter import at_shapes


def model() -> onnx.ModelProto:
    """y = x reshaped to (batch, frames · 3, 2), whose lengths are computed in two steps."""
    constants = {"one": [1], "three": [3], "two": [2], "zero": [0], "all": [0, 0, -1]}
    nodes = [
        helper.make_node("Reshape", ["x", "all"], ["same"]),
        helper.make_node("Shape", ["same"], ["shape"]),
        helper.make_node("Slice", ["shape", "one", "two", "zero"], ["frames"]),
        helper.make_node("Mul", ["frames", "three"], ["longer"]),
        helper.make_node("Slice", ["shape", "zero", "one", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "longer", "two"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["same", "wanted"], ["turned"]),
        helper.make_node("Tanh", ["turned"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "frames", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "longer", 2])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_no_shape_arithmetic_is_left_and_the_numbers_are_the_same() -> None:
    whole = model()
    fixed = at_shapes(whole, {"x": (2, 5, 6)})
    assert [node.op_type for node in fixed.graph.node] == ["Reshape", "Reshape", "Tanh"]
    assert [axis.dim_value for axis in fixed.graph.output[0].type.tensor_type.shape.dim] == [2, 15, 2]
    assert whole == model()
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    found, truth = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for each in (fixed, whole)
    )
    np.testing.assert_array_equal(found, truth)
