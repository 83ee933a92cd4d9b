"""A tiny ONNX model for backends, and what it must give, worked out in float64.

x (batch, 4) → hidden = x · W → loud = relu(hidden), kept = hidden (an output that renames an inner tensor).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# digits beyond bfloat16's eight bits and TensorFloat's eleven: a backend that rounds to them is found out
WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 6) / 7


def write(path: Path, *, activation: str = "Relu") -> Path:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["hidden"]),
        helper.make_node(activation, ["hidden"], ["loud"]),
        helper.make_node("Identity", ["hidden"], ["kept"]),
    ]
    return _save(path, nodes, {"W": WEIGHTS}, {"loud": ["batch", 3], "kept": ["batch", 3]})


def write_failing(path: Path) -> Path:
    """A model that loads and fails when it runs: it takes every batch for one of seven values."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return _save(path, [node], {"shape": np.array([7])}, {"y": ["any"]})


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    outputs: Mapping[str, list[int | str]],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def inputs(batch: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(batch).standard_normal((batch, 4)).astype(np.float32)}


def check(found: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    hidden = given["x"].astype(np.float64) @ WEIGHTS.astype(np.float64)
    assert set(found) == {"loud", "kept"}
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found["kept"], hidden, atol=1e-6)
    np.testing.assert_allclose(found["loud"], np.maximum(hidden, 0), atol=1e-6)
