"""A PyTorch module → an ONNX file: opset 17, IR version 8, dynamic axes, canonical bytes.

Opset 17 with IR version 8 is read by onnxruntime since 1.12 (2022), and by current web and mobile runtimes.
torch's tracing exporter writes it directly; the newer one (dynamo) begins at opset 18.

A net may have two forms of equal numbers (`forms_of`): "plain", the net's own layers, which GPUs run fastest
and runtimes with few operators load; and "cpu", as processors run it fastest (`Net.onnx_form`). Which are
written, unless the caller chooses: float32 in both, float16, which processors compute in float32, plain.

Weights stay where torch has them until the file is written (`to_onnx.weighted_graph`), so that a net of more
than 2 GiB can be exported, with them in a file beside the graph.

The graph is checked: full check, strict shape inference, no batch norm left. Traces of where and when it was
made (producer's version, doc strings with stack traces) are removed, so that the same net gives the same
bytes. Names, meanings and units of inputs and outputs are in the metadata.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import ModelProto, ValueInfoProto, numpy_helper
from torch import nn

from edge_export.catalog import ConfigT, Net
from edge_export.to_onnx.constants import MOST_ELEMENTS, folded_constants, reads
from edge_export.to_onnx.identities import without_identities
from edge_export.to_onnx.int8 import with_int8_weights
from edge_export.to_onnx.mixed import to_mixed
from edge_export.to_onnx.weighted_graph import LARGEST_FILE, WeightedGraph
from edge_export.tracing.half_weights import with_half_weights
from edge_export.tracing.norm_folding import folded
from edge_runtime.store.bundle import Form, Lengths, Precision, Tensor

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17; newer ones only add types that are not used here
PRODUCER = "edge-export"
VERSION = f"opset {OPSET}, IR {IR_VERSION}"
# precision → the form of its file without a form in its name
OWN_FORM: Mapping[Precision, Form] = {"fp32": "cpu", "fp16": "plain", "int8": "plain"}


def write_onnx(
    module: nn.Module,
    net: Net[ConfigT],
    config: ConfigT,
    path: str | os.PathLike[str],
    precision: Precision,
    *,
    form: Form | None = None,
    io: Precision = "fp32",
    external_data: bool = False,
    largest_file: int = LARGEST_FILE,
) -> str:
    """Write a module's ONNX file.

    Args:
        module: the net in float32; it is not changed.
        net, config: its catalogue entry and configuration.
        path: the file to write.
        precision: "fp32", or "fp16" for float16 weights and arithmetic between float32 inputs and outputs,
            except in the net's `float32_parts`; "int8" for weights of 8 bits (`to_onnx.int8`).
        form: "cpu" or "plain"; as the precision's own file has it where None: float32 cpu, float16 plain.
        io: "fp16" for float16 inputs and outputs of a float16 file: no casts at its ends.
        external_data: put the weights into ``PATH.data`` beside it, even if all fits into one file.
        largest_file: bytes of weights above which they go there in any case.

    Returns:
        The version as it stands in manifests.
    """
    graph = finished_graph(module, net, config, precision, form=form, io=io)
    graph.write(path, external=external_data, largest_file=largest_file)
    return VERSION


def finished_graph(
    module: nn.Module,
    net: Net[ConfigT],
    config: ConfigT,
    precision: Precision,
    *,
    form: Form | None = None,
    io: Precision = "fp32",
) -> WeightedGraph:
    """The graph that `write_onnx` writes; see there."""
    plain = folded(module)
    weights_alone = precision == "fp16" and net.half == "weights"
    if weights_alone:
        plain = with_half_weights(plain)
    form = form or OWN_FORM[precision]
    graph = build_graph(net.onnx_form(plain) if form == "cpu" else plain, net, config)
    if precision == "fp16" and not weights_alone:
        half = to_mixed(graph.model, net.float32_parts, weights=graph.weights, half_io=io == "fp16")
        graph = WeightedGraph(_checked(half), graph.weights)
    if precision == "int8":
        small = with_int8_weights(graph)
        graph = WeightedGraph(_checked(small.model), small.weights)
    return graph


def forms_of(module: nn.Module, net: Net[ConfigT]) -> tuple[Form, ...]:
    """ "cpu" and "plain", or "any" alone for a net whose two forms are the same."""
    if net.half == "weights":
        return ("any",)
    plain = folded(module)
    return ("any",) if net.onnx_form(plain) is plain else ("cpu", "plain")


def flexible_axes(net: Net[ConfigT], config: ConfigT) -> dict[str, Lengths]:
    """The named axes of the inputs: each takes any length, of frames as few as the net needs."""
    axes = (axis for tensor in net.inputs(config) for axis in tensor.shape if isinstance(axis, str))
    steps = net.steps(config)
    return {
        axis: _any_length(net.shortest(config) if axis == "frames" else 1, steps.get(axis, 1))
        for axis in axes
    }


def _any_length(low: int, step: int) -> Lengths:
    return Lengths(max(low, step), step=step)


def build_onnx(module: nn.Module, net: Net[ConfigT], config: ConfigT) -> ModelProto:
    """The float32 model of a folded module, checked, weights inside: for nets below 2 GiB."""
    return build_graph(module, net, config).whole()


def build_graph(module: nn.Module, net: Net[ConfigT], config: ConfigT) -> WeightedGraph:
    """The float32 graph of a folded module, checked, and its weights."""
    inputs, outputs = net.inputs(config), net.outputs(config)
    case = next(iter(net.cases(config, net.coreml_axes).values()))
    examples = tuple(torch.from_numpy(case[tensor.name]) for tensor in inputs)
    model, weights = _apart(_traced(module.eval(), examples, inputs, outputs), module, len(inputs))
    _strip(model)
    model.ir_version = IR_VERSION
    without_identities(model)
    model.producer_name = PRODUCER
    model.graph.name = net.name
    _name_axes(model.graph.input[: len(inputs)], inputs)
    _name_axes(model.graph.output, outputs)
    onnx.helper.set_model_props(model, _metadata(net, (*inputs, *outputs)))
    return WeightedGraph(_checked(model), weights)


def _traced(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> ModelProto:
    """The graph without weights: parameters and buffers are inputs, by their names in the state dict."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the end of this exporter, and of the tracing under it, on every call
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # ... and what it cannot fold; to_onnx.constants can
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1")
        # ... and that an LSTM checks sizes and may keep its example's batch; reference cases would show that
        warnings.filterwarnings(
            "ignore", "Converting a tensor to a Python", module=r"torch\.nn\.modules\.rnn"
        )
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1")
        # ... and that these libraries look at sizes; tests run the graphs at others
        warnings.filterwarnings(
            "ignore", category=torch.jit._trace.TracerWarning, module=r"(diffusers|transformers|torch\.nn)\."
        )
        # ... and that an index might be negative: those of these nets are positions
        warnings.filterwarnings("ignore", "Exporting aten::index operator of advanced indexing")
        torch.onnx.export(
            module,
            examples,
            buffer,  # type: ignore[arg-type]  # the stub forgets files that are open
            dynamo=False,
            export_params=False,
            do_constant_folding=False,  # it would fold weights too; see to_onnx.constants
            opset_version=OPSET,
            input_names=[tensor.name for tensor in inputs],
            output_names=[tensor.name for tensor in outputs],
            dynamic_axes={tensor.name: _dynamic(tensor) for tensor in (*inputs, *outputs)},
        )
    return onnx.load_from_string(buffer.getvalue())


def _apart(
    model: ModelProto, module: nn.Module, own_inputs: int
) -> tuple[ModelProto, dict[str, torch.Tensor]]:
    """The graph with shape arithmetic folded, and the weights that it still takes as inputs.

    Small ones become constants of the graph, as shape arithmetic may use them.
    """
    state = module.state_dict()
    graph = model.graph
    parameters = [value.name for value in graph.input[own_inputs:]]
    del graph.input[own_inputs:]
    small = [name for name in parameters if state[name].numel() <= MOST_ELEMENTS]
    graph.initializer.extend(numpy_helper.from_array(state[name].numpy(), name) for name in small)
    model = folded_constants(model)
    used = {name for node in model.graph.node for name in reads(node)}
    weights = {name: state[name] for name in parameters if name in used and name not in small}
    for name, weight in weights.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(weight.numpy().dtype)
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, weight.shape))
    return model, weights


def _dynamic(tensor: Tensor) -> dict[int, str]:
    return {index: axis for index, axis in enumerate(tensor.shape) if isinstance(axis, str)}


def _strip(model: ModelProto) -> None:
    """Remove everything that tells about the machine and the time of the export."""
    for field in ("producer_version", "domain", "doc_string"):
        model.ClearField(field)
    del model.metadata_props[:]
    graph = model.graph
    graph.ClearField("doc_string")
    for node in graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.ClearField("doc_string")


def _name_axes(values: Sequence[ValueInfoProto], tensors: Sequence[Tensor]) -> None:
    for value, tensor in zip(values, tensors, strict=True):
        value.doc_string = f"{tensor.meaning}; unit: {tensor.unit}"
        dimensions = value.type.tensor_type.shape.dim
        del dimensions[:]
        for axis in tensor.shape:
            if isinstance(axis, str):
                dimensions.add(dim_param=axis)
            else:
                dimensions.add(dim_value=axis)


def _metadata(net: Net[Any], tensors: Sequence[Tensor]) -> dict[str, str]:
    entries = {"name": net.name, "description": net.summary, "author": PRODUCER}
    for tensor in tensors:
        entries[f"{tensor.name}.meaning"] = tensor.meaning
        entries[f"{tensor.name}.unit"] = tensor.unit
    return entries


def _checked(model: ModelProto) -> ModelProto:
    """The model with the shapes of all its tensors; a fault is a bug of this module, so it is not caught."""
    left = sorted({node.op_type for node in model.graph.node} & {"BatchNormalization"})
    if left:
        raise AssertionError(f"{left[0]} left in the graph of {model.graph.name}: fold it (folding.py)")
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model
