"""Nodes that change nothing leave the graph, under the names of its inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_export.to_onnx.identities import without_identities

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
X = np.array([[1.0, -2.0, 3.0]], np.float32)


def cast(source: str, result: str, to: int = FLOAT) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], to=to)


def model(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3])],
        [helper.make_tensor_value_info(name, FLOAT, [1, 3]) for name in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def left(before: onnx.ModelProto) -> list[str]:
    """Operators that remain; the numbers and names are the same as before."""
    expected = ReferenceEvaluator(before).run(None, {"x": X})
    names = [value.name for value in before.graph.output]
    after = without_identities(before)
    onnx.checker.check_model(after, full_check=True)
    assert [value.name for value in after.graph.output] == names
    for got, truth in zip(ReferenceEvaluator(after).run(None, {"x": X}), expected, strict=True):
        np.testing.assert_array_equal(got, truth)
    return [node.op_type for node in after.graph.node]


def test_a_cast_to_the_same_type_inside() -> None:
    assert left(model(cast("x", "a"), helper.make_node("Relu", ["a"], ["y"]))) == ["Relu"]


def test_a_cast_that_gives_the_output() -> None:
    relu, neg = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["z"])
    assert left(model(relu, neg, cast("a", "y"), outputs=("y", "z"))) == ["Relu", "Neg"]


def test_readers_after_it_follow() -> None:
    relu, neg = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["z"])
    assert left(model(relu, cast("a", "y"), neg, outputs=("y", "z"))) == ["Relu", "Neg"]


def test_chains_and_identities() -> None:
    nodes = (cast("x", "a"), helper.make_node("Identity", ["a"], ["b"]), cast("b", "c"))
    assert left(model(*nodes, helper.make_node("Relu", ["c"], ["y"]))) == ["Relu"]


def test_what_is_needed_stays() -> None:
    """A change of type, an output that is an input, two outputs of one tensor."""
    there, back = cast("x", "a", HALF), cast("a", "y")
    assert left(model(there, back)) == ["Cast", "Cast"]
    assert left(model(cast("x", "y"))) == ["Cast"]
    relu = helper.make_node("Relu", ["x"], ["y"])
    assert left(model(relu, cast("y", "z"), outputs=("y", "z"))) == ["Relu", "Cast"]
