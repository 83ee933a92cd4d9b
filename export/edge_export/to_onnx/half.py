"""A float32 ONNX graph → the same graph in float16, with float32 inputs and outputs, or float16 ones.

Weights, constants and every intermediate tensor become float16; there is a Cast after each input and before
each output, unless they become float16 themselves. Weights beyond float16's range saturate at ±65504 instead
of becoming infinite; weights below its smallest subnormal are rounded to zero.
"""

from __future__ import annotations

import copy
from collections.abc import Container

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)
# operator → inputs that its specification keeps in float32
_KEPT: dict[str, tuple[int, ...]] = {"Resize": (1, 2)}


def to_half(model: ModelProto, weights: Container[str] = frozenset(), *, half_io: bool = False) -> ModelProto:
    """A float16 copy of a model; the model itself is not changed.

    ``weights``: names of inputs that are weights (`to_onnx.weighted_graph`); they become float16 themselves.
    ``half_io``: inputs and outputs are float16 too, without casts.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    del graph.value_info[:]  # float32 types that no longer hold
    kept = kept_inputs(graph)
    _halve(graph, kept)
    for value in graph.input:
        if (half_io or value.name in weights) and value.name not in kept and _is_float(value):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    if half_io:
        for value in filter(_is_float, graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        return model
    own = [value.name for value in graph.input if value.name not in weights and _is_float(value)]
    casts_in = [_cast_input(graph, name) for name in own]
    casts_out = [_cast_output(graph, value.name) for value in graph.output if _is_float(value)]
    nodes = [*casts_in, *graph.node, *casts_out]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def kept_slots(node: NodeProto) -> tuple[int, ...]:
    """Which inputs of a node stay float32 by the operator's specification."""
    return _KEPT.get(node.op_type, ())


def kept_inputs(graph: GraphProto) -> set[str]:
    """Names of the tensors in those places."""
    return {node.input[slot] for node in graph.node for slot in kept_slots(node) if slot < len(node.input)}


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.FLOAT


def _halve(graph: GraphProto, kept: set[str]) -> None:
    """Initializers, constants and casts of a graph and of the graphs inside its nodes."""
    for tensor in graph.initializer:
        if tensor.name not in kept:
            halve_tensor(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in kept:
            continue
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                halve_tensor(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                _halve_inner(attribute.g, kept)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _halve_inner(graph: GraphProto, kept: set[str]) -> None:
    """The graph of a branch or a loop, whose inputs and outputs become float16 themselves."""
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if _is_float(value):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    _halve(graph, kept)


def halve_tensor(tensor: TensorProto) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = np.clip(numpy_helper.to_array(tensor), -LARGEST, LARGEST).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _cast_input(graph: GraphProto, name: str) -> NodeProto:
    """A Cast to float16 whose output replaces the input."""
    half = f"{name}_half"
    _rename(graph, name, half)
    return helper.make_node("Cast", [name], [half], name=f"{half}_cast", to=TensorProto.FLOAT16)


def _cast_output(graph: GraphProto, name: str) -> NodeProto:
    half = f"{name}_half"
    _rename(graph, name, half)
    return helper.make_node("Cast", [half], [name], name=f"{name}_cast", to=TensorProto.FLOAT)


def _rename(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename(attribute.g, old, new)
