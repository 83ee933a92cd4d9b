"""A PyTorch module → a Core ML package: ML Program for iOS 16 and macOS 13, canonical bytes.

Inputs and outputs are float32 in both precisions, so that apps are the same, and int32 where the net takes or
gives whole numbers or truth values (`bundle.DTYPES`); fp16 means float16 weights and arithmetic between. With
``io`` fp16 inputs and outputs of a float16 package are float16 too, which iOS 16 has: nothing is converted.
Nets are traced with torch.jit.trace, which coremltools 9 converts with the pinned numpy.

Transposed convolutions are written without padding, and the samples that padding would remove are sliced off
after them: with custom padding Core ML returned shifted, wrong numbers in float16 (apple/coremltools#2324),
and other converters of the same program refuse output padding. The slice costs nothing beside the layer.

Shapes: an axis with a `Span` becomes a range, axes with `Buckets` become enumerated shapes, the first of them
the default. Fixed shapes are what the Neural Engine runs, and none wider than 16384: longer buckets run on
the GPU or the CPU (FluidInference/FluidAudio#121, apple/coremltools#1764).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# its import warns about versions and libraries: newer torch, scikit-learn, libraries of macOS
logging.getLogger("coremltools").setLevel(logging.ERROR)
import coremltools as ct  # noqa: E402

from edge_export.catalog import NEURAL_ENGINE_WIDTH, Axes, ConfigT, Net  # noqa: E402
from edge_export.catalog.dynamic_axes import Axis, Buckets, Span  # noqa: E402
from edge_export.to_coreml import half_lstm, palettes  # noqa: E402
from edge_export.to_coreml.apple_metadata import AUTHOR, LICENSE, user_metadata  # noqa: E402
from edge_export.to_coreml.package import write_canonical  # noqa: E402
from edge_export.to_coreml.scopes import traced_modules  # noqa: E402
from edge_export.tracing.half_weights import with_half_weights  # noqa: E402
from edge_export.tracing.norm_folding import folded  # noqa: E402
from edge_runtime.store.bundle import DTYPES, HALF_ARITHMETIC, Precision, Tensor  # noqa: E402
from edge_runtime.version import VERSION  # noqa: E402

_TARGETS = {16: ct.target.iOS16, 18: ct.target.iOS18}
_SCOPE = ct.converters.mil.mil.scope.ScopeSource.TORCHSCRIPT_MODULE_NAME

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def write_coreml(
    module: nn.Module,
    net: Net[ConfigT],
    config: ConfigT,
    path: str | os.PathLike[str],
    precision: Precision,
    axes: Axes | None = None,
    *,
    io: Precision = "fp32",
    ios: int = 16,
    source_sha256: str = "",
    modules: dict[str, str] | None = None,
    recurrent: half_lstm.Stored = (),
) -> str:
    """Write a module's Core ML package.

    Args:
        module: the net in float32; it is not changed.
        net, config: its catalogue entry and configuration.
        path: the folder to write, which must not exist.
        precision: "fp32", "fp16", or a palette's (`to_coreml.palettes`), whose arithmetic is that of fp16.
        axes: named axis → the lengths that it may have; by default those of the catalogue.
        io: "fp16" for float16 inputs and outputs.
        ios: oldest system that it is for, 16 or 18.
        source_sha256: of the checkpoint, for the package's metadata.
        modules: takes the name of each operation's result → the module that it was traced in.
        recurrent: matrices of LSTMs → their formats, see `to_coreml.half_lstm`; float16 in packages of fp16
            without islands if nothing is given.

    Returns:
        The version as it stands in manifests, for example "iOS 16, specification 7".
    """
    axes = net.coreml_axes if axes is None else axes
    case = next(iter(net.cases(config, axes).values()))
    inputs, outputs = net.inputs(config), net.outputs(config)
    examples = tuple(torch.from_numpy(case[tensor.name].astype(DTYPES[tensor.dtype])) for tensor in inputs)
    half = precision in HALF_ARITHMETIC
    weights_alone = half and net.half == "weights"
    bare = with_half_weights(folded(module)) if weights_alone else folded(module)
    plain = with_interface_types(without_padding(bare), inputs, outputs)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        converted = ct.convert(
            _traced(plain, examples),
            convert_to="mlprogram",
            inputs=[
                ct.TensorType(name=tensor.name, shape=_shape(tensor, axes), dtype=_dtype(tensor, io))
                for tensor in inputs
            ],
            outputs=[ct.TensorType(name=tensor.name, dtype=_dtype(tensor, io)) for tensor in outputs],
            compute_precision=_precision("fp16" if half and not weights_alone else "fp32", net.float32_parts),
            minimum_deployment_target=_TARGETS[ios],
            pass_pipeline=half_lstm.pipeline(recurrent)
            if half and (recurrent or not net.float32_parts)
            else None,
            skip_model_load=True,
        )
        if precision in palettes.BITS:
            converted = palettes.palettized(converted, precision)
        saved = Path(folder, "saved.mlpackage")
        converted.save(str(saved))
        renamed: dict[str, str] = {}
        model = write_canonical(
            saved, Path(path), lambda model: _describe(model, net, config, source_sha256), renamed
        )
    if modules is not None:
        found = traced_modules(converted._mil_program, plain)
        modules |= {renamed.get(name, name): module for name, module in found.items()}
    return f"iOS {ios}, specification {model.specificationVersion}"


def width_note(net: Net[ConfigT], config: ConfigT, axes: Axes) -> str:
    """The length above which the package leaves the Neural Engine, in words; "" if there is none."""
    hop, axis = (1, "samples") if "samples" in axes else (net.geometry(config).hop_length, "frames")
    longest = axes[axis].lengths.high if axis in axes else None
    if hop is None or longest is None or longest * hop <= NEURAL_ENGINE_WIDTH:
        return ""
    engine = "the Neural Engine's widest tensor"
    if axis == "samples":
        return f"above {NEURAL_ENGINE_WIDTH} samples ({engine}) on GPU or CPU"
    frames = NEURAL_ENGINE_WIDTH // hop
    return f"above {frames} frames ({NEURAL_ENGINE_WIDTH} samples, {engine}) on GPU or CPU"


# ---- the module -------------------------------------------------------------------------------------------


class Sliced(nn.Module):
    """A transposed convolution without padding, and the slice that replaces its padding."""

    def __init__(self, layer: Transposed) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.convolve = _FUNCTIONS[len(layer.kernel_size)]
        self.options = {"stride": layer.stride, "groups": layer.groups, "dilation": layer.dilation}
        self.keep = [slice(None), slice(None)]
        for first, extra in zip(layer.padding, layer.output_padding, strict=True):
            assert isinstance(first, int)
            assert extra <= first, "output padding beyond the padding needs values that are not there"
            self.keep.append(slice(first, extra - first if first > extra else None))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, N) → (B, outputs, N'), as the padded layer."""
        y: torch.Tensor = self.convolve(x, self.weight, self.bias, **self.options)
        return y[tuple(self.keep)]


_FUNCTIONS: Mapping[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def without_padding(module: nn.Module) -> nn.Module:
    """The module with every padded transposed convolution as a plain one and a slice; changed in place."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Transposed) and (any(layer.padding) or any(layer.output_padding)):
                setattr(parent, name, Sliced(layer))
    return module


class InterfaceTypes(nn.Module):
    """A module whose inputs and outputs have the types of Core ML packages.

    Args:
        module: the net.
        inputs, outputs: its own inputs and outputs, with their types.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.module = module
        self.takes = [getattr(torch, tensor.dtype) for tensor in inputs]
        self.gives = [getattr(torch, DTYPES[tensor.dtype]) for tensor in outputs]

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Inputs (batch, …) in the types of Core ML → outputs (batch, …) in those types."""
        results = self.module(*(array.to(dtype) for array, dtype in zip(arrays, self.takes, strict=True)))
        tensors = results if isinstance(results, tuple) else (results,)
        return tuple(tensor.to(dtype) for tensor, dtype in zip(tensors, self.gives, strict=True))


def with_interface_types(module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> nn.Module:
    """The module with (batch, …) tensors in types that Core ML has; itself where it has only such."""
    same = all(DTYPES[tensor.dtype] == tensor.dtype for tensor in (*inputs, *outputs))
    return module if same else InterfaceTypes(module, inputs, outputs)


def _dtype(tensor: Tensor, io: Precision) -> type[np.generic]:
    stored = DTYPES[tensor.dtype]
    return np.float16 if (stored, io) == ("float32", "fp16") else np.dtype(stored).type


def _traced(module: nn.Module, examples: tuple[torch.Tensor, ...]) -> Any:
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the end of tracing on every call
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.trace(module, examples)  # type: ignore[no-untyped-call]


# ---- the conversion ---------------------------------------------------------------------------------------


def _precision(precision: Precision, float32_parts: Sequence[str]) -> Any:
    """coremltools' form of a precision, except for the parts of a net that stay float32."""
    if precision == "fp32":
        return ct.precision.FLOAT32
    if not float32_parts:
        return ct.precision.FLOAT16
    parts = set(float32_parts)
    # an operation's scope begins with the module that it was traced in
    return ct.transform.FP16ComputePrecision(op_selector=lambda op: op.scopes[_SCOPE][0] not in parts)


def _shape(tensor: Tensor, axes: Axes) -> Any:
    """coremltools' form of a tensor's shape: numbers, ranges, or enumerated shapes."""
    bends = [axes[axis] if isinstance(axis, str) else Buckets((axis,)) for axis in tensor.shape]
    if any(isinstance(bend, Span) for bend in bends):
        return tuple(_dimension(bend) for bend in bends)
    shapes = list(itertools.product(*(bend.sizes for bend in bends if isinstance(bend, Buckets))))
    return ct.EnumeratedShapes(shapes, default=shapes[0]) if len(shapes) > 1 else shapes[0]


def _dimension(bend: Axis) -> Any:
    if isinstance(bend, Span):
        return ct.RangeDim(bend.low, bend.high, default=bend.low)
    assert len(bend.sizes) == 1, "Core ML does not mix ranges with enumerated shapes"
    return bend.sizes[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """coremltools without its progress bars (they go to stderr) and without warnings about its own code."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _describe(model: Any, net: Net[ConfigT], config: ConfigT, source_sha256: str) -> None:
    """Names, meanings and units, as Xcode shows them."""
    metadata = model.description.metadata
    metadata.shortDescription = f"{net.name}: {net.summary}"
    metadata.author = AUTHOR
    metadata.versionString = VERSION
    metadata.license = LICENSE
    metadata.userDefined.update(user_metadata(net, config, source_sha256))
    _describe_tensors(model.description.input, net.inputs(config))
    _describe_tensors(model.description.output, net.outputs(config))


def _describe_tensors(features: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    for feature, tensor in zip(features, tensors, strict=True):
        axes = ", ".join(map(str, tensor.shape))
        feature.shortDescription = f"{tensor.meaning}; unit: {tensor.unit}; axes: ({axes})"
