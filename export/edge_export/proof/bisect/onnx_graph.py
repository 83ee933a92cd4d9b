"""An ONNX file with every tensor visible, any of them replaced.

The graph is rewritten for each run: every floating-point tensor becomes an output, and the readers of a
replaced tensor read a new input instead. So one run with all matched tensors replaced executes every
operation on the reference's inputs. onnxruntime runs it with its optimisations off, so that an operation is
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253  (reached from bisect and from the end of an export alone)
from onnx import ModelProto, NodeProto, TensorProto  # noqa: TID253

from edge_export.proof.bisect import kinds
from edge_export.proof.bisect.values import RESULT, Array, Cut, Step
from edge_export.to_onnx.constants import has_graph, reads
from edge_runtime.backends.base import load_library, refused
from edge_runtime.errors import BackendError

GIVEN = "__given"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_LARGEST = 2**31 - 2**20  # bytes of a protobuf


class OnnxGraph:
    """An ONNX file for `bisect`.

    Args:
        path: the file.
        backend: "onnxruntime" or "onnx-reference".
        paths: tensor → its module, of the bundle's origins; from the names of nodes where it is not there.
        lines: tensor → line of Python.
        weights: False leaves those in a file beside it unread: for the steps alone.

    Raises:
        BackendError: a library is missing, or the file is damaged or above 2 GiB.
    """

    def __init__(
        self,
        path: Path,
        backend: str,
        paths: Mapping[str, str] | None = None,
        lines: Mapping[str, str] | None = None,
        *,
        weights: bool = True,
    ) -> None:
        load_library(backend, "onnx", "export")
        self.path, self.backend = path, backend
        try:
            self.model = onnx.load(str(path), load_external_data=weights)
        except Exception as error:  # protobuf's DecodeError, and whatever else a damaged file causes
            raise refused(backend, path, error, doing="reading") from error
        if self.model.ByteSize() > _LARGEST:
            raise BackendError(
                f"{path}: bisect", got=f"{self.model.ByteSize()} bytes", expected="a net below 2 GiB"
            )
        self.what = f"{path.name} on {backend}"
        graph = self.model.graph
        self._constants = {tensor.name for tensor in graph.initializer} | {
            node.output[0] for node in graph.node if node.op_type == "Constant"
        }
        self.inputs = tuple(value.name for value in graph.input if value.name not in self._constants)
        self.outputs = tuple(value.name for value in graph.output)
        # float16 where the file was exported so
        self._types = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in graph.input
        }
        self._floats = _floating(self.model)
        self.steps = self._steps(paths or {}, lines or {})

    def run(self, inputs: Mapping[str, Array], given: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """See `values.Graph.run`."""
        given = given or {}
        model = _opened(self.model, [step.name for step in self.steps], given)
        feeds = {name: array.astype(self._types.get(name, array.dtype)) for name, array in inputs.items()}
        feeds |= {f"{name}{GIVEN}": array for name, array in given.items()}
        taken = {value.name for value in model.graph.input}
        feeds = {name: np.ascontiguousarray(array) for name, array in feeds.items() if name in taken}
        try:
            values = self._run(model, feeds)
        except BackendError:
            raise
        except Exception as error:  # any operator may raise anything
            raise refused(self.backend, self.path, error, doing="running") from error
        return {name: array for name, array in values.items() if array.dtype.kind == "f"}

    def _run(self, model: ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
        names = [value.name for value in model.graph.output]
        if self.backend == "onnx-reference":
            from onnx.reference import ReferenceEvaluator

            from edge_export.backends.onnx_reference import _operators

            evaluator = ReferenceEvaluator(model, new_ops=_operators())
            with np.errstate(all="ignore"):
                return dict(zip(names, map(np.asarray, evaluator.run(None, feeds)), strict=True))
        library = load_library("onnxruntime", "onnxruntime", "ort")
        options = library.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = library.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, feeds), strict=True))

    def _steps(self, paths: Mapping[str, str], lines: Mapping[str, str]) -> tuple[Step, ...]:
        steps: list[Step] = []
        for node in self.model.graph.node:
            names = tuple(dict.fromkeys(name for name in reads(node) if name))
            steps += [
                Step(
                    output,
                    node.op_type,
                    kinds.of_onnx(node.op_type),
                    paths.get(output, module_path(node.name)),
                    tuple(name for name in names if name not in self._constants),
                    lines.get(output, ""),
                    tuple(name for name in names if name in self._constants),
                )
                for output in node.output
                if output in self._floats and node.op_type != "Constant"
            ]
        return tuple(self._through_integers(steps))

    def _through_integers(self, steps: list[Step]) -> list[Step]:
        """Steps read other steps and inputs; what lies between them as integers is followed to its source."""
        made = {step.name for step in steps} | set(self.inputs)
        makers = {name: node for node in self.model.graph.node for name in node.output}

        def sources(name: str, seen: set[str]) -> set[str]:
            if name in made:
                return {name}
            if name in seen or name not in makers:
                return set()
            seen.add(name)
            return {found for read in reads(makers[name]) if read for found in sources(read, seen)}

        def followed(step: Step) -> tuple[str, ...]:
            return tuple(sorted({found for name in step.reads for found in sources(name, set())}))

        kept: dict[str, Step] = {}
        for step in steps:
            found = tuple(name for name in followed(step) if name in kept or name in self.inputs)
            if found:  # others are arithmetic of constants
                kept[step.name] = replace(step, reads=found)
        return list(kept.values())


def _floating(model: ModelProto) -> set[str]:
    """Names of tensors that hold floating-point numbers, as far as shape inference can tell."""
    types, inside = _types(model), {name for node in model.graph.node for name in node.output if name}
    if not inside <= types.keys():
        types = _types(onnx.shape_inference.infer_shapes(model))
    return {name for name in inside if types.get(name, TensorProto.FLOAT) in _FLOATS}


def _types(model: ModelProto) -> dict[str, int]:
    graph = model.graph
    known = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in known}


def _opened(model: ModelProto, shown: list[str], given: Mapping[str, Array]) -> ModelProto:
    """The model with all tensors as outputs, and given ones read from inputs."""
    opened = ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    for node in graph.node:
        _redirect(node, given)
    for name, array in given.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(f"{name}{GIVEN}", kind, array.shape))
    del graph.value_info[:]  # their shapes may be those of another length
    known = {value.name for value in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown if name not in known)
    return opened


def _redirect(node: NodeProto, given: Mapping[str, Array]) -> None:
    node.input[:] = [f"{name}{GIVEN}" if name in given else name for name in node.input]
    if has_graph(node):
        for attribute in node.attribute:
            for inner in attribute.g.node:
                _redirect(inner, given)


def module_path(node_name: str) -> str:
    """The module that a node was traced in: torch's exporter names nodes /scope/scope.0/Op.

    >>> module_path("/audio_encoder/audio_encoder.0/conv_block/conv_block.0/Conv")
    'audio_encoder.0.conv_block.0'
    >>> module_path("/resblocks.0/convs1.0/Conv_1"), module_path("/Mul"), module_path("mel_half_cast")
    ('resblocks.0.convs1.0', '', '')
    """
    parts: list[str] = []
    for scope in node_name.split("/")[1:-1]:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)


def write_cut(source: Path, path: Path, cut: Cut, arrays: Mapping[str, Array], expected: Array) -> None:
    """Write the operations between some tensors and a result as an ONNX file.

    Args:
        source, path: the artifact, and the file to write.
        cut: what to cut out.
        arrays: tensor → what it is given, for types and shapes.
        expected: what the result should be, for type and shape.
    """
    model = onnx.load(str(source))
    graph = model.graph
    nodes = _needed(list(graph.node), cut)
    reading = {name for node in nodes for name in reads(node)}
    names = dict(cut.inputs) | {cut.result: RESULT}
    for node in nodes:
        for listed in (node.input, node.output):
            listed[:] = [names.get(name, name) for name in listed]
    weights = [tensor for tensor in graph.initializer if tensor.name in reading]
    made = onnx.helper.make_graph(
        nodes,
        graph.name,
        [_value(name, arrays[tensor]) for tensor, name in cut.inputs.items()],
        [_value(RESULT, expected)],
        weights,
    )
    small = onnx.helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    small.producer_name = model.producer_name
    onnx.checker.check_model(small)
    path.write_bytes(small.SerializeToString(deterministic=True))


def _needed(nodes: list[NodeProto], cut: Cut) -> list[NodeProto]:
    """Nodes that the result depends on, back to the tensors that are given."""
    makers = {name: node for node in nodes for name in node.output}
    wanted, found = [cut.result], set[str]()
    while wanted:
        name = wanted.pop()
        if name in cut.inputs or name in found or name not in makers:
            continue
        found.update(makers[name].output)
        wanted += [read for read in reads(makers[name]) if read]
    return [node for node in nodes if found.intersection(node.output)]


def _value(name: str, array: Array) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)
