"""A PyTorch module → an ONNX file: opset 17, IR version 8, dynamic axes, canonical bytes.

Opset 17 with IR version 8 is what onnxruntime reads since 1.12 (2022), and what web and mobile runtimes have
caught up with. torch's tracing exporter writes it directly; the newer one (dynamo) begins at opset 18.

float32 is for processors and takes the form of the net that onnxruntime runs fastest there (`Net.onnx_form`);
float16 is for GPUs and phones and keeps the net's own layers.

The graph is checked before it is written: full check, strict shape inference, no batch norm left. What says
where and when it was made (producer's version, doc strings with stack traces) is removed, so that the same
net gives the same bytes. Names, meanings and units of inputs and outputs lie in the metadata.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, ValueInfoProto
from torch import nn

from edge_export.catalog import Config, Net
from edge_export.norm_folding import folded
from edge_export.to_onnx.constants import folded_constants
from edge_export.to_onnx.half import to_half
from edge_runtime.store.bundle import Lengths, Precision, Tensor

OPSET = 17
IR_VERSION = 8  # the one of opset 17's time; newer ones only add types that nothing here uses
PRODUCER = "edge-export"
VERSION = f"opset {OPSET}, IR {IR_VERSION}"


def write_onnx(
    module: nn.Module, net: Net, config: Config, path: str | os.PathLike[str], precision: Precision
) -> str:
    """Write a module's ONNX file.

    Args:
        module: the net in float32; it is not touched.
        net, config: its catalogue entry and configuration.
        path: the file to write.
        precision: "fp32", or "fp16" for float16 weights and arithmetic between float32 inputs and outputs.

    Returns:
        what a manifest says about the version.
    """
    if precision == "fp32":
        model = build_onnx(net.onnx_form(folded(module)), net, config)
    else:
        model = _checked(to_half(build_onnx(folded(module), net, config)))
    Path(path).write_bytes(model.SerializeToString(deterministic=True))
    return VERSION


def flexible_axes(net: Net, config: Config) -> dict[str, Lengths]:
    """The named axes of the inputs: each takes any length."""
    axes = (axis for tensor in net.inputs(config) for axis in tensor.shape if isinstance(axis, str))
    return {axis: Lengths() for axis in axes}


def build_onnx(module: nn.Module, net: Net, config: Config) -> ModelProto:
    """The float32 model of a folded module, checked."""
    inputs, outputs = net.inputs(config), net.outputs(config)
    case = next(iter(net.cases(config, net.coreml_axes).values()))
    examples = tuple(torch.from_numpy(case[tensor.name]) for tensor in inputs)
    model = _traced(module.eval(), examples, inputs, outputs)
    _strip(model)
    model.ir_version = IR_VERSION
    model.producer_name = PRODUCER
    model.graph.name = net.name
    _name_axes(model.graph.input, inputs)
    _name_axes(model.graph.output, outputs)
    onnx.helper.set_model_props(model, _metadata(net, (*inputs, *outputs)))
    return _checked(model)


def _traced(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the end of this exporter, and of the tracing under it, on every call
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # ... and what it cannot fold; onnx_fold can
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1")
        # ... and that an LSTM checks sizes and may remember its example's batch; reference cases would tell
        warnings.filterwarnings(
            "ignore", "Converting a tensor to a Python", module=r"torch\.nn\.modules\.rnn"
        )
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1")
        torch.onnx.export(
            module,
            examples,
            buffer,  # type: ignore[arg-type]  # the stub forgets files that are open
            dynamo=False,
            do_constant_folding=False,  # it would fold weights too; see onnx_fold
            opset_version=OPSET,
            input_names=[tensor.name for tensor in inputs],
            output_names=[tensor.name for tensor in outputs],
            dynamic_axes={tensor.name: _dynamic(tensor) for tensor in (*inputs, *outputs)},
        )
    return folded_constants(onnx.load_from_string(buffer.getvalue()))


def _dynamic(tensor: Tensor) -> dict[int, str]:
    return {index: axis for index, axis in enumerate(tensor.shape) if isinstance(axis, str)}


def _strip(model: ModelProto) -> None:
    """Remove what tells of the machine that made it."""
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


def _metadata(net: Net, tensors: Sequence[Tensor]) -> dict[str, str]:
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
