"""ONNX files: on onnxruntime, or another backend for ONNX that this machine has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Axis, Kind, Operation, Port, Value, Watch
from edge_runtime.backends.base import Backend, Session, load_library, refused
from edge_runtime.errors import BundleError

LARGEST_INFERRED = 1 << 30  # bytes of a graph with its weights; shapes of larger ones are not inferred
SOURCES = (
    "pkg.torch.onnx.stack_trace",
    "pkg.onnxscript.stack_trace",
    "pkg.torch.onnx.name_scopes",
    "namespace",
)


class OnnxArtifact:
    """An ONNX file."""

    kind: Kind = "onnx"

    def __init__(self, path: Path, what: str, backend: Backend) -> None:
        self.what = what
        self.path = path
        self._onnx = load_library("onnx", "onnx", "export")
        try:
            self.model = self._onnx.load(str(path), load_external_data=False)
        except Exception as error:  # protobuf's DecodeError and others have no common base
            raise BundleError(
                str(path), got="bytes that are not an ONNX model", expected="an ONNX file"
            ) from error
        self.session: Session = backend.open(path)
        weights = {initializer.name for initializer in self.model.graph.initializer}
        given = (port for port in self.model.graph.input if port.name not in weights)
        self.inputs = tuple(self._port(port) for port in given)
        self.outputs = tuple(self._port(port) for port in self.model.graph.output)
        self.states: tuple[Port, ...] = ()

    @property
    def detail(self) -> str:
        """What runs it."""
        return self.session.detail

    def new_state(self) -> dict[str, Array]:
        """ONNX has none: states are inputs and outputs."""
        return {}

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Arrays by name in and out."""
        del state
        return self.session.run(inputs)

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Run in onnxruntime, unoptimised, with every value of the main graph as an output."""
        del state
        results = self.intermediates(inputs)
        for operation in self.operations:
            if operation.block == "main":
                seen(operation, [results[value.name] for value in operation.outputs if value.name in results])

    def intermediates(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Every value (…,) of the main graph by name; sequences and empty optional outputs are left out."""
        runtime = load_library("onnxruntime", "onnxruntime", "ort")
        model = self._onnx.load(str(self.path))
        already = {port.name for port in model.graph.output}
        for node in model.graph.node:
            for name in node.output:
                if name and name not in already:
                    already.add(name)
                    model.graph.output.append(self._onnx.ValueInfoProto(name=name))
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = runtime.InferenceSession(
                model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
            )
            names = [output.name for output in session.get_outputs()]
            results = session.run(names, {key: np.asarray(value) for key, value in inputs.items()})
        except Exception as error:  # onnxruntime's exceptions have no common parent
            raise refused("onnxruntime", self.path, error, doing="running every operation") from error
        return {
            name: value for name, value in zip(names, results, strict=True) if isinstance(value, np.ndarray)
        }

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All nodes but constants, nested graphs included; shapes as ONNX infers them."""
        model = self.model
        if model.ByteSize() <= LARGEST_INFERRED:
            with suppress(Exception):  # of operators that it does not know
                model = self._onnx.shape_inference.infer_shapes(model, data_prop=True)
        return tuple(self._operations(model.graph, "main", {}))

    def _operations(self, graph: Any, place: str, outer: Mapping[str, Value]) -> Iterator[Operation]:
        known = dict(outer)
        known.update(
            (port.name, self._value(port)) for port in (*graph.input, *graph.output, *graph.value_info)
        )
        for tensor in graph.initializer:
            known[tensor.name] = self._constant(tensor.name, tensor)
        for number, node in enumerate(graph.node):
            attributes = {item.name: self._attribute(item) for item in node.attribute}
            if node.op_type == "Constant":
                known[node.output[0]] = self._constant(node.output[0], next(iter(attributes.values()), None))
                continue
            outputs = tuple(known.get(name, Value(name)) for name in node.output if name)
            name = node.name or (outputs[0].name if outputs else f"{node.op_type} {number}")
            yield Operation(
                name=name,
                type=node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
                inputs={
                    str(index): (known.get(name, Value(name)),)
                    for index, name in enumerate(node.input)
                    if name
                },
                outputs=outputs,
                attributes={key: value for key, value in attributes.items() if not _is_graph(value)},
                source=_source(node),
                block=place,
            )
            for key, value in attributes.items():
                for inner in _graphs(value):
                    yield from self._operations(inner, f"{place} / {node.op_type} {name} {key}", known)

    def _attribute(self, item: Any) -> Any:
        value = self._onnx.helper.get_attribute_value(item)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def _constant(self, name: str, value: Any) -> Value:
        if hasattr(value, "data_type"):
            dtype = self._dtype(value.data_type)
            if value.data_location == 1:  # beside the file
                return Value(name, dtype, tuple(value.dims), _Outside())
            value = self._onnx.numpy_helper.to_array(value)
            return Value(name, dtype, value.shape, value)
        array = np.asarray(value)
        return Value(name, str(array.dtype), array.shape, array)

    def _port(self, info: Any) -> Port:
        value = self._value(info)
        return Port(info.name, value.dtype, value.shape)

    def _value(self, info: Any) -> Value:
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            return Value(info.name)
        shape = tuple(map(_axis, tensor.shape.dim)) if tensor.HasField("shape") else None
        return Value(info.name, self._dtype(tensor.elem_type), shape)

    def _dtype(self, number: int) -> str:
        if not number:
            return ""
        try:
            return str(self._onnx.helper.tensor_dtype_to_np_dtype(number))
        except (KeyError, TypeError, ValueError):
            return f"type {number}"


class _Outside:
    """A constant whose numbers lie in another file."""


def _axis(dimension: Any) -> Axis:
    """0 is written by exporters that do not know the length."""
    return dimension.dim_param or dimension.dim_value or None


def _is_graph(value: Any) -> bool:
    return any(True for _ in _graphs(value))


def _graphs(value: Any) -> Iterator[Any]:
    items: Iterable[Any] = value if isinstance(value, (list, tuple)) else [value]
    for item in items:
        if hasattr(item, "node") and hasattr(item, "initializer"):
            yield item


def _source(node: Any) -> str:
    """The last line of Python in the exporter's trace, or the module that the node's name begins with."""
    stored = {entry.key: entry.value for entry in node.metadata_props}
    text = next((stored[key] for key in SOURCES if stored.get(key)), "") or node.doc_string
    lines = [line.strip() for line in text.splitlines() if "File" in line or ".py" in line]
    if lines:
        return lines[-1][:200]
    return node.name.rsplit("/", 1)[0].strip("/") if node.name.startswith("/") else ""
