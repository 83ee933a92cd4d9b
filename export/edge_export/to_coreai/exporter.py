"""A PyTorch module → a Core AI asset for iOS 27 and macOS 27: fixed shapes, canonical bytes.

The graph is the one of the ONNX artifact in its plain form, so that both have the same operations and the
same float16; coreai-onnx converts it. Its transposed convolutions, LSTMs and poolings need lengths that are
known, so an asset holds a function for each set of shapes: ``main``, or ``main_N`` for N frames where there
are several, which share their weights.

The library writes the date of the conversion, and names weights otherwise in each process: the date is left
out and the names are mended (`to_coreai.bytecode`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog import ConfigT, Net
from edge_export.to_coreai.bytecode import canonical
from edge_export.to_coreai.gru import unrolled_grus
from edge_export.to_coreml.apple_metadata import AUTHOR, LICENSE, user_metadata
from edge_export.to_onnx.constants import folded_constants
from edge_export.to_onnx.exporter import finished_graph
from edge_export.to_onnx.weighted_graph import LARGEST_FILE
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Precision

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

PROGRAM, HASH, METADATA = "main.mlirb", "main.hash", "metadata.json"
_DATE = "creationDate"
_OPTION = "--target coreai"

Shapes = Mapping[str, tuple[int, ...]]  # of a function's inputs, by name


def write_coreai(
    module: nn.Module,
    net: Net[ConfigT],
    config: ConfigT,
    path: str | os.PathLike[str],
    precision: Precision,
    functions: Mapping[str, Shapes],
    *,
    io: Precision = "fp32",
    source_sha256: str = "",
) -> str:
    """Write a module's Core AI asset.

    Args:
        module: the net in float32; it is not changed.
        net, config: its catalogue entry and configuration.
        path: the folder to write, which must not exist.
        precision: "fp32" or "fp16", as of ONNX files.
        functions: name → the shapes that it takes.
        io: "fp16" for float16 inputs and outputs.
        source_sha256: of the checkpoint, for the asset's metadata.

    Returns:
        The version as it stands in manifests, for example "iOS 27, asset 2.0".

    Raises:
        ConfigError: the converter lacks an operation of the net, or the net is too large for it.
    """
    graph = finished_graph(module, net, config, precision, form="plain", io=io)
    if graph.bytes > LARGEST_FILE:
        raise ConfigError(
            _OPTION,
            got=f"{net.name} with {graph.bytes / 1e9:.1f} GB of weights",
            expected="less than 2 GiB",
            cause="its converter takes one ONNX file",
        )
    program = _converted(graph.whole(), functions, net.name)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "saved.aimodel")
        asset = program.save_asset(saved)
        asset.update_metadata(lambda metadata: _describe(metadata, net, config, source_sha256))
        summary = asset.summary(include_statistics=False)
        return _write_canonical(saved, Path(path), str(summary._compatibility_version))


def _converted(model: ModelProto, functions: Mapping[str, Shapes], net: str) -> Any:
    """The library's form of a program with a function for each set of shapes."""
    library: Any = import_module("coreai_onnx")  # which cannot be there for all that check our types
    converter = library.OnnxConverter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "graph '.*' has float16 inputs/initializers")  # they are meant
        try:
            for name, shapes in functions.items():
                converter.add_onnx_model(unrolled_grus(at_shapes(model, shapes)), entrypoint_name=name)
            return converter.to_coreai()
        except library.UnsupportedOpError as error:
            named = ", ".join(sorted(error.missing))
            cause = f"coreai-onnx {version('coreai-onnx')} has no such operation"
            raise _refused(f"{net}, which has {named}", cause) from error
        except library.ConversionError as error:
            cause = f"coreai-onnx says «{error.__cause__}»"
            raise _refused(f"{net}, whose {error.op_key} is not taken", cause) from error


def _refused(got: str, cause: str) -> ConfigError:
    return ConfigError(_OPTION, got=got, expected="another target", cause=cause)


def at_shapes(model: ModelProto, shapes: Shapes) -> ModelProto:
    """A copy of a model that takes these shapes alone, with those of all its tensors, as far as ONNX infers.

    Arithmetic of shapes is computed away, which lets more of them be inferred, until nothing is left of it.
    """
    from onnx.shape_inference import infer_shapes

    fixed = copy.deepcopy(model)
    for value in fixed.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        for dimension, length in zip(dimensions, shapes[value.name], strict=True):
            dimension.Clear()
            dimension.dim_value = length
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    left = 0
    while len(fixed.graph.node) != left:
        left = len(fixed.graph.node)
        del fixed.graph.value_info[:]
        fixed = infer_shapes(fixed, check_type=True, strict_mode=True, data_prop=True)
        fixed = folded_constants(_with_known_shapes(fixed))
    return fixed


def _with_known_shapes(model: ModelProto) -> ModelProto:
    """The model, changed in place, with constants for the shapes of tensors that have one."""
    from onnx import helper, numpy_helper

    graph = model.graph
    known = {}
    for value in (*graph.input, *graph.value_info):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and all(dimension.HasField("dim_value") for dimension in dimensions):
            known[value.name] = [dimension.dim_value for dimension in dimensions]
    for node in graph.node:
        if node.op_type == "Shape" and not node.attribute and node.input[0] in known:
            lengths = numpy_helper.from_array(np.array(known[node.input[0]], np.int64))
            node.CopyFrom(helper.make_node("Constant", [], list(node.output), node.name, value=lengths))
    return model


def _describe(metadata: Any, net: Net[ConfigT], config: ConfigT, source_sha256: str) -> None:
    metadata.author, metadata.license = AUTHOR, LICENSE
    metadata.model_description = f"{net.name}: {net.summary}"
    for name, value in user_metadata(net, config, source_sha256).items():
        metadata.set_custom(name, value)


def _write_canonical(saved: Path, asset: Path, system: str) -> str:
    """Write `asset` from what the library saved for a version of iOS; returns its version in words."""
    code = canonical((saved / PROGRAM).read_bytes())
    metadata = json.loads((saved / METADATA).read_text(encoding="utf-8"))
    metadata.pop(_DATE, None)
    others = {file.name for file in saved.iterdir()} - {PROGRAM, HASH, METADATA}
    assert not others, f"coreai-core writes files that are not known here: {others}"
    shutil.copytree(saved, asset)
    (asset / PROGRAM).write_bytes(code)
    (asset / HASH).write_bytes(hashlib.sha256(code).digest())
    text = json.dumps(metadata, indent=2, sort_keys=True, ensure_ascii=False)
    (asset / METADATA).write_text(f"{text}\n", encoding="utf-8")
    return f"iOS {system.removesuffix('.0')}, asset {metadata['assetVersion']}"
