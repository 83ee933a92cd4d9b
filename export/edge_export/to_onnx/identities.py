"""Nodes that change nothing: Identity, and Cast to the type that a tensor has already.

torch's tracing exporter leaves a Cast for each `.float()` of a float32 tensor. Runtimes remove it, and some
of them (OpenVINO) then call the graph's output by the Cast's own name.
"""

from __future__ import annotations

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from edge_export.to_onnx.constants import has_graph


def without_identities(model: ModelProto) -> ModelProto:
    """The model, changed in place. A graph with graphs inside keeps what they might read."""
    graph = model.graph
    if any(has_graph(node) for node in graph.node):
        return model
    types = _types(model)
    outputs = {value.name for value in graph.output}
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    names: dict[str, str] = {}  # of what a removed node gave → of what it read
    kept: list[NodeProto] = []
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        source, result = (node.input[0] if node.input else ""), node.output[0]
        if not _changes_nothing(node, types):
            kept.append(node)
        elif result not in outputs:
            names[result] = source
        elif source in outputs or source in given:
            kept.append(node)  # two names of one tensor, or an input that is an output
        else:
            _rename(kept, source, result)
            names[source] = result
    del graph.node[:]
    graph.node.extend(kept)
    _forget(graph)
    return model


def _changes_nothing(node: NodeProto, types: dict[str, int]) -> bool:
    if node.op_type == "Identity":
        return True
    to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)
    return node.op_type == "Cast" and types.get(node.input[0]) == to


def _types(model: ModelProto) -> dict[str, int]:
    """Element type of every tensor that shape inference knows."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _rename(nodes: list[NodeProto], old: str, new: str) -> None:
    """Let the maker of a tensor, and its readers so far, call it by another name."""
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _forget(graph: GraphProto) -> None:
    """Remove what is said of tensors that are gone."""
    made = {name for node in graph.node for name in node.output}
    left = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(left)
