"""ONNX's GRU, which Core AI's converter lacks, step by step in operations that it has: the same numbers.

The input's products of all steps are one multiplication, as in every implementation; each step then adds the
state's. The number of steps must be known, so this runs on graphs whose shapes are fixed. Left alone are GRUs
of other definitions than PyTorch's (`linear_before_reset` 0, other activations, clipping).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def unrolled_grus(model: ModelProto) -> ModelProto:
    """The model, changed in place, with every GRU of PyTorch's definition written out.

    Args:
        model: with the shapes of all its tensors.
    """
    from onnx import helper

    graph = model.graph
    lengths = {
        value.name: value.type.tensor_type.shape.dim[0].dim_value
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.shape.dim
    }
    nodes: list[NodeProto] = []
    for number, node in enumerate(graph.node):
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == "GRU" and _as_in_torch(node, given):
            unrolled = _Unrolled(f"{node.name or 'gru'}_{number}")
            nodes += unrolled.of(node, given, lengths[node.input[0]])
            graph.initializer.extend(unrolled.constants)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _as_in_torch(node: NodeProto, given: dict[str, Any]) -> bool:
    """Whether a GRU is PyTorch's: no other gates, no sequences of several lengths."""
    plain = given.keys() <= {"hidden_size", "direction", "linear_before_reset"}
    lengths = len(node.input) > 4 and bool(node.input[4])
    return plain and given.get("linear_before_reset", 0) == 1 and bool(node.input[3]) and not lengths


class _Unrolled:
    """Nodes in place of one, whose inner tensors have a name in front."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._nodes: list[NodeProto] = []
        self.constants: list[Any] = []

    def of(self, node: NodeProto, given: dict[str, Any], steps: int) -> list[NodeProto]:
        """All nodes for a GRU over ``steps``."""
        x, weights, recurrent, offsets = node.input[:4]
        start = node.input[5] if len(node.input) > 5 else ""
        kind = given.get("direction", b"forward").decode()
        ways = (False, True) if kind == "bidirectional" else (kind == "reverse",)
        size = given["hidden_size"]
        all_steps, lasts = [], []
        for number, backwards in enumerate(ways):
            parts = [self._part(name, number) for name in (weights, recurrent, offsets)]
            state = self._part(start, number) if start else ""
            outputs = list(self._way(x, parts, state, size, steps, backwards))
            last = outputs[-1]
            if backwards:
                outputs.reverse()
            # (steps, 1, batch, size)
            sequence = [self._apply("Unsqueeze", output, self._whole(0, 1)) for output in outputs]
            all_steps.append(self._apply("Concat", *sequence, axis=0))
            lasts.append(self._apply("Unsqueeze", last, self._whole(0)))
        for joined, axis, name in zip((all_steps, lasts), (1, 0), node.output, strict=False):
            if name:
                self._apply("Concat", *joined, gives=name, axis=axis)
        return self._nodes

    def _way(
        self, x: str, parts: Sequence[str], state: str, size: int, steps: int, backwards: bool
    ) -> Iterator[str]:
        """States (batch, size) after each step of one direction, in the order of computation."""
        weights, recurrent, offsets = parts  # (3 size, inputs), (3 size, size), (6 size,)
        of_input, of_state = self._split(offsets, [3 * size, 3 * size], 0)
        products = self._apply("MatMul", x, self._apply("Transpose", weights, perm=[1, 0]))
        products = self._apply("Add", products, of_input)
        turned = self._apply("Transpose", recurrent, perm=[1, 0])
        given = self._split(products, [1] * steps, 0)
        for one in reversed(given) if backwards else given:
            now = self._apply("Squeeze", one, self._whole(0))  # (batch, 3 size): update, reset, candidate
            before = of_state
            if state:
                before = self._apply("Add", self._apply("MatMul", state, turned), of_state)
            gates, fresh = self._split(now, [2 * size, size], 1)
            own_gates, own = self._split(before, [2 * size, size], -1)
            both = self._apply("Sigmoid", self._apply("Add", gates, own_gates))
            update, reset = self._split(both, [size, size], 1)
            held = self._apply("Mul", reset, own)
            candidate = self._apply("Tanh", self._apply("Add", fresh, held))
            rest = self._apply("Sub", state, candidate) if state else self._apply("Neg", candidate)
            state = self._apply("Add", candidate, self._apply("Mul", update, rest))
            yield state

    def _part(self, name: str, direction: int) -> str:
        """One direction of weights, offsets or a state."""
        taken = self._apply("Slice", name, self._whole(direction), self._whole(direction + 1), self._whole(0))
        return self._apply("Squeeze", taken, self._whole(0))

    def _split(self, name: str, sizes: Sequence[int], axis: int) -> list[str]:
        if len(sizes) == 1:
            return [name]
        names = [self._new() for _ in sizes]
        self._add("Split", [name, self._whole(*sizes)], names, axis=axis)
        return names

    def _apply(self, kind: str, *inputs: str, gives: str = "", **attributes: Any) -> str:
        result = gives or self._new()
        self._add(kind, inputs, [result], **attributes)
        return result

    def _add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, outputs, outputs[0], **attributes))

    def _whole(self, *values: int) -> str:
        from onnx import numpy_helper

        name = self._new()
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _new(self) -> str:
        self._count += 1
        return f"{self._name}/{self._count}"
