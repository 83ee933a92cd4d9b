"""A float32 ONNX graph → the same with its layers' weights as int8, one scale for each output channel.

Only weights are rounded, and every activation stays float32: the file is a quarter of its size and needs no
calibration. They are widened by a Cast and a Mul: DequantizeLinear of opset 17 is missing in onnx's reference
evaluator. OpenVINO keeps such weights compressed and rounds what it multiplies with them to 8 bits of its own
accord, which costs some 3 dB.

Rounded are the weights of convolutions and matrix products; vectors, tables that are looked up in, and
recurrent layers stay float32.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping

import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_export.to_onnx.weighted_graph import WeightedGraph

LARGEST = 127  # symmetric: -128 is not used
SMALLEST = 1024  # values of a weight; smaller ones gain nothing


def with_int8_weights(graph: WeightedGraph) -> WeightedGraph:
    """The graph with int8 weights; the one that is given stays as it is."""
    model = copy.deepcopy(graph.model)
    axes = _channel_axes(model, graph.weights)
    weights = dict(graph.weights)
    nodes: list[NodeProto] = []
    for value in model.graph.input:
        if value.name not in axes:
            continue
        axis = axes[value.name]
        rounded, scales = rounded_to_int8(weights[value.name], axis)
        weights[value.name] = rounded
        value.type.tensor_type.elem_type = TensorProto.INT8
        wide, scale = f"{value.name}_wide", f"{value.name}_scale"
        model.graph.initializer.append(numpy_helper.from_array(scales.numpy(), scale))
        _rename_inputs(model, value.name, wide)
        whole = f"{value.name}_whole"
        nodes += [
            helper.make_node("Cast", [value.name], [whole], name=f"{whole}_cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [whole, scale], [wide], name=f"{wide}_mul"),
        ]
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return WeightedGraph(model, weights)


def rounded_to_int8(weight: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 values of the same shape, float32 scales (…, channels, …)): weight ≈ values · scales."""
    others = [dimension for dimension in range(weight.ndim) if dimension != axis]
    largest = weight.detach().abs().amax(dim=others, keepdim=True)
    scales = torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
    values = (weight.detach() / scales).round().clamp(-LARGEST, LARGEST)
    return values.to(torch.int8), scales


def _channel_axes(model: ModelProto, weights: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Weight → axis of its output channels, for those that only layers read, and all along one axis."""
    readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            readers[name].append((node, slot))
    outputs = {value.name for value in model.graph.output}
    found = {}
    for name, weight in weights.items():
        if weight.numel() < SMALLEST or not weight.is_floating_point() or name in outputs:
            continue
        axes = {_axis(node, slot, weight.ndim, readers) for node, slot in readers[name]}
        if len(axes) == 1 and (axis := axes.pop()) is not None:
            found[name] = axis
    return found


def _axis(
    node: NodeProto, slot: int, dimensions: int, readers: Mapping[str, list[tuple[NodeProto, int]]]
) -> int | None:
    """Axis of the output channels of a weight that a node reads; None where that is not a layer's."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if slot != 1:
        # torch's Linear: rows are outputs, transposed before the product
        after = readers[node.output[0]] if node.op_type == "Transpose" and dimensions == 2 else []
        turned = attributes.get("perm") == [1, 0]
        return 0 if after and turned and all((n.op_type, s) == ("MatMul", 1) for n, s in after) else None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose" and attributes.get("group", 1) == 1:
        return 1
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB", 0) else 1
    return dimensions - 1 if node.op_type == "MatMul" and dimensions == 2 else None


def _rename_inputs(model: ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
