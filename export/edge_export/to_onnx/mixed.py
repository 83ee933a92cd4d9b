"""A float32 ONNX graph → the same in float16 except for named parts, with float32 inputs and outputs.

Inputs and outputs may be float16 too (`half_io`), as in `half`.

A part is a module of the net: torch's exporter names nodes by the module that they were traced in,
`/part/Op`. Nodes of the parts keep float32; the others get float16 weights, constants and arithmetic as in
`half`. Where a tensor goes from one to the other there is one Cast, shared by all nodes that read it.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from edge_export.to_onnx.half import halve_tensor, kept_inputs, kept_slots, to_half

SINGLE, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_SUFFIX: dict[int, str] = {SINGLE: "single", HALF: "half"}


def to_mixed(
    model: ModelProto,
    float32_parts: Sequence[str],
    weights: Container[str] = frozenset(),
    *,
    half_io: bool = False,
) -> ModelProto:
    """A copy of a model in both precisions, all float16 where no part is named; the model is not changed.

    Args:
        model: float32, with the types of all its tensors.
        float32_parts: names of modules; AssertionError where one has no node.
        weights: names of inputs that are weights (`to_onnx.weighted_graph`).
        half_io: float16 inputs and outputs.
    """
    if not float32_parts:
        return to_half(model, weights, half_io=half_io)
    model = copy.deepcopy(model)
    graph = model.graph
    scales = kept_inputs(graph)  # that operators want in float32 wherever they are
    kept = [_part(node) in float32_parts or not scales.isdisjoint(node.output) for node in graph.node]
    for part in float32_parts:
        assert part in map(_part, graph.node), f"no node of {part} in the graph of {graph.name}"
    floats = _float_tensors(graph)
    del graph.value_info[:]  # types that no longer hold
    _halve_weights(graph, kept, weights, scales)
    if half_io:
        for value in (*(each for each in graph.input if each.name not in weights), *graph.output):
            if value.name in floats:
                value.type.tensor_type.elem_type = HALF
    precisions = {tensor.name: tensor.data_type for tensor in graph.initializer}
    precisions |= {value.name: value.type.tensor_type.elem_type for value in graph.input}
    casts: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []
    for node, single in zip(graph.node, kept, strict=True):
        wanted = SINGLE if single else HALF
        if not single:
            _halve_attributes(node)
        slots = kept_slots(node)
        for index, name in enumerate(node.input):
            taken = SINGLE if index in slots else wanted
            if name in floats and precisions[name] != taken:
                node.input[index] = _cast(name, taken, casts, nodes)
        nodes.append(node)
        precisions |= {name: wanted for name in node.output if name in floats}
    _restore_outputs(graph, precisions, nodes, HALF if half_io else SINGLE)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _part(node: NodeProto) -> str:
    """The module of the net that a node belongs to, "" for what the net does itself."""
    scopes = node.name.split("/")
    return scopes[1] if len(scopes) > 2 else ""


def _float_tensors(graph: GraphProto) -> set[str]:
    values = (*graph.value_info, *graph.input, *graph.output)
    names = {value.name for value in values if value.type.tensor_type.elem_type == SINGLE}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == SINGLE}


def _halve_weights(
    graph: GraphProto, kept: Sequence[bool], weights: Container[str], scales: set[str]
) -> None:
    """Weights in the precision of the nodes that read them; one that both read stays float32 and is cast."""
    single = {name for node, keep in zip(graph.node, kept, strict=True) if keep for name in node.input}
    single |= scales
    for tensor in graph.initializer:
        if tensor.name not in single:
            halve_tensor(tensor)
    for value in graph.input:
        if value.name in weights and value.name not in single and value.type.tensor_type.elem_type == SINGLE:
            value.type.tensor_type.elem_type = HALF


def _halve_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        assert attribute.type not in (AttributeProto.GRAPH, AttributeProto.GRAPHS), "a graph inside a node"
        if attribute.type == AttributeProto.TENSOR:
            halve_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == SINGLE:
            attribute.i = HALF


def _cast(name: str, wanted: int, casts: dict[tuple[str, int], str], nodes: list[NodeProto]) -> str:
    """The name of a tensor in another precision; the first time, its Cast is appended to the nodes."""
    if (name, wanted) not in casts:
        casts[name, wanted] = f"{name}_{_SUFFIX[wanted]}"
        nodes.append(
            helper.make_node(
                "Cast", [name], [casts[name, wanted]], name=f"{casts[name, wanted]}_cast", to=wanted
            )
        )
    return casts[name, wanted]


def _restore_outputs(
    graph: GraphProto, precisions: dict[str, int], nodes: list[NodeProto], wanted: int
) -> None:
    """Outputs are of one precision: where a node made one in the other, a Cast takes over its name."""
    for output in graph.output:
        made = precisions.get(output.name, wanted)
        if made != wanted:
            inner = f"{output.name}_{_SUFFIX[made]}"
            for node in nodes:
                for names in (node.input, node.output):
                    for index, name in enumerate(names):
                        if name == output.name:
                            names[index] = inner
            nodes.append(helper.make_node("Cast", [inner], [output.name], name=f"{inner}_cast", to=wanted))
