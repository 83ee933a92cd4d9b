"""Computes shape arithmetic of constants once, at export, with onnx's reference evaluator.

torch's tracing exporter writes a padding of (3, 0) as a dozen nodes that compute it from constants, and a
non-persistent buffer once for each of its uses. Only small constants are folded; sums of weights stay in the
graph. Equal large constants become one, so that a file holds each weight once.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

MOST_ELEMENTS = 64  # of a constant that is shape arithmetic

Constants = dict[str, NDArray[np.generic]]


def folded_constants(model: ModelProto) -> ModelProto:
    """A copy of a model in which small constants that nodes compute become initializers.

    Of equal large constants the first one stays.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    _merge_equal_constants(graph)
    known: Constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= MOST_ELEMENTS
    }
    computed: Constants = {}
    left = []
    for node in graph.node:
        values = _evaluated(node, known, model)
        if values is None:
            left.append(node)
        else:
            known.update(values)
            computed.update(values)
    del graph.node[:]
    graph.node.extend(left)
    needed = {name for node in left for name in reads(node)} | {value.name for value in graph.output}
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in computed.items() if name in needed
    )
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(used)
    return model


def _evaluated(node: NodeProto, known: Constants, model: ModelProto) -> Constants | None:
    """The outputs of a node that reads only constants, None for others."""
    if not all(name in known for name in node.input if name) or has_graph(node):
        return None
    inputs = {name: known[name] for name in node.input if name}
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    results = [np.asarray(value) for value in ReferenceEvaluator(single).run(None, inputs)]
    if any(value.size > MOST_ELEMENTS for value in results):
        return None
    return dict(zip(node.output, results, strict=True))


def _merge_equal_constants(graph: GraphProto) -> None:
    first: dict[bytes, str] = {}
    names: dict[str, str] = {}  # a constant that is removed → the equal one that stays
    kept = []
    for node in graph.node:
        values = [attribute.t for attribute in node.attribute if node.op_type == "Constant"]
        if any(np.prod(value.dims) > MOST_ELEMENTS for value in values):
            content = b"".join(value.SerializeToString(deterministic=True) for value in values)
            name = first.setdefault(content, node.output[0])
            if name != node.output[0]:
                names[node.output[0]] = name
                continue
        kept.append(node)
    for node in kept:
        node.input[:] = [names.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)


def has_graph(node: NodeProto) -> bool:
    return any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)


def reads(node: NodeProto) -> list[str]:
    """Names that a node reads, including those read by graphs inside it."""
    names = list(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            names += [name for inner in attribute.g.node for name in reads(inner)]
            names += [value.name for value in attribute.g.output]
    return names
