"""Writes a mix of formats: Core ML with coremltools.optimize, ONNX with Cast and Mul.

Core ML: float16 arithmetic, islands in float32; weights as `constexpr_affine_dequantize` (int8) and
`constexpr_lut_to_dense` (palettes), both since iOS 16; those of LSTMs, which coremltools.optimize passes by,
while they are converted (`to_coreml.half_lstm`). The tables are ours (`formats.palettized`), so that the
package holds what was judged. ONNX: float32 arithmetic on weights that are stored small; runtimes compute
Cast and Mul of constants once, when they load the file, and every runtime has both (ONNX's own evaluator
lacks DequantizeLinear of opset 17).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog import Axes, Net
from edge_export.precision.formats import BITS, Array, Format, along, int8, palettized
from edge_export.precision.rounding import layers_of

if TYPE_CHECKING:
    from torch import nn

_WEIGHT = re.compile(r"(.+)_weight(_to_fp16)?")


def write_coreml_mix(
    module: nn.Module,
    net: Net[Any],
    config: Any,
    path: Path,
    formats: Mapping[str, Format],
    islands: Collection[str],
    axes: Axes,
    *,
    source_sha256: str = "",
    modules: dict[str, str] | None = None,
) -> str:
    """Write a package whose layers have the formats; returns its version as it stands in manifests.

    Args:
        module: the net in float32.
        net, config, axes: as `to_coreml.exporter.write_coreml` takes them.
        path: the package to write, which must not exist.
        formats: path of a layer of the folded net → its format.
        islands: parts of the net that stay float32.
        source_sha256: of the checkpoint.
        modules: takes the name of each operation's result → the module that it was traced in.
    """
    from edge_export.to_coreml import exporter
    from edge_export.to_coreml.package import write_canonical
    from edge_export.tracing.norm_folding import folded

    mixed = replace(net, float32_parts=tuple(islands))
    layers = layers_of(folded(module))
    recurrent = [
        (layer.tensor.detach().numpy(), formats.get(path, "float16"))
        for path, layer in layers.items()
        if layer.recurrent
    ]
    options: dict[str, Any] = {"source_sha256": source_sha256, "modules": modules, "recurrent": recurrent}
    small = {
        path: kind
        for path, kind in formats.items()
        if kind not in ("float32", "float16") and not layers[path].recurrent
    }
    if not small:
        return exporter.write_coreml(module, mixed, config, path, "fp16", axes, **options)
    with tempfile.TemporaryDirectory() as folder, exporter._quiet():
        plain, saved = Path(folder, "plain.mlpackage"), Path(folder, "small.mlpackage")
        version = exporter.write_coreml(module, mixed, config, plain, "fp16", axes, **options)
        _compressed(plain, small).save(str(saved))
        write_canonical(saved, path, lambda model: exporter._describe(model, net, config, source_sha256))
    return version


def _compressed(package: Path, formats: Mapping[str, Format]) -> Any:
    """The package with weights in their formats, as coremltools has it in memory."""
    import coremltools as ct
    import coremltools.optimize.coreml as optimize

    model = ct.models.MLModel(str(package), skip_model_load=True)
    operations = _operations(optimize.get_weights_metadata(model, weight_threshold=0), formats)
    linear, palettes = {}, {}
    for layer, kind in formats.items():
        if layer not in operations:
            continue
        if kind == "int8":
            linear[operations[layer]] = optimize.OpLinearQuantizerConfig(
                mode="linear_symmetric", weight_threshold=0
            )
        else:
            palettes[operations[layer]] = optimize.OpPalettizerConfig(
                mode="custom", lut_function=_table(BITS[kind]), weight_threshold=0
            )
    if linear:
        config = optimize.OptimizationConfig(op_name_configs=linear)
        model = optimize.linear_quantize_weights(model, config=config)
    if palettes:
        config = optimize.OptimizationConfig(op_name_configs=palettes)
        model = optimize.palettize_weights(model, config=config)
    return model


def _operations(metadata: Mapping[str, Any], formats: Mapping[str, Format]) -> dict[str, str]:
    """Layer → name of the operation that reads its weight; constants are named after the parameters."""
    layers = {re.sub(r"[^A-Za-z0-9_]", "_", layer): layer for layer in formats}
    found = {}
    for name, entry in metadata.items():
        matched = _WEIGHT.fullmatch(name)
        if matched and matched[1] in layers and entry.child_ops:
            found[layers[matched[1]]] = entry.child_ops[0].name
    return found


def _table(bits: int) -> Any:
    def table(weight: Array) -> tuple[Array, Array]:
        palette = palettized(np.asarray(weight, np.float32), bits)
        return palette.values.astype(weight.dtype), palette.indices

    return table


def write_onnx_mix(
    module: nn.Module, net: Net[Any], config: Any, path: Path, formats: Mapping[str, Format]
) -> str:
    """Write an ONNX file, the net's own layers, whose weights have the formats; returns its version.

    Args:
        module: the net in float32.
        net, config: its catalogue entry and configuration.
        path: the file to write.
        formats: path of a layer of the folded net → "float32", "float16" or "int8".
    """
    import onnx

    from edge_export.to_onnx.exporter import VERSION, write_onnx
    from edge_export.tracing.norm_folding import folded

    write_onnx(module, net, config, path, "fp32", form="plain")
    model = onnx.load(str(path))
    layers = layers_of(folded(module)).items()
    named = {path if layer.recurrent else f"{path}.weight": (path, layer.axis) for path, layer in layers}
    graph, kept, nodes = model.graph, [], []
    for tensor in graph.initializer:
        path_in_net, axis = named.get(tensor.name, ("", 0))
        kind = formats.get(path_in_net, "float32")
        if kind == "float32":
            kept.append(tensor)
            continue
        weight = onnx.numpy_helper.to_array(tensor)
        made, before = _stored(onnx, tensor.name, weight, kind, axis)
        kept += made
        nodes += before
    nodes += list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)
    return VERSION


def _stored(onnx: Any, name: str, weight: Array, kind: Format, axis: int) -> tuple[list[Any], list[Any]]:
    """Initializers of a small weight, and the nodes that give it back under its name."""
    from_array, make = onnx.numpy_helper.from_array, onnx.helper.make_node
    if kind == "float16":
        half = np.clip(weight, -65504, 65504).astype(np.float16)
        nodes = [make("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=1)]
        return [from_array(half, f"{name}.half")], nodes
    levels, scale = int8(weight, axis)
    stored = [
        from_array(levels, f"{name}.levels"),
        from_array(along(scale, weight.ndim, axis), f"{name}.scale"),
    ]
    nodes = [
        make("Cast", [f"{name}.levels"], [f"{name}.float"], name=f"{name}.cast", to=1),
        make("Mul", [f"{name}.float", f"{name}.scale"], [name], name=f"{name}.mul"),
    ]
    return stored, nodes
