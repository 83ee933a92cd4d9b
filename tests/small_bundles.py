"""Real bundles of small nets, made with onnx.helper in milliseconds: what the pipelines are tested on.

They have the names, shapes and geometry of the nets that they stand for, and weights that the tests know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.store.bundle import (
    Geometry,
    Lengths,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    describe_artifact,
)

ENCODER_SCALE = 0.05
HOP = 4  # samples per frame of the small vocoder
CONTEXT = 4  # frames: 2 of the first convolution, 1 of the transposed, 1 (3 samples) of the last


@dataclass(frozen=True)
class Node:
    """One operation: its type, weights and attributes."""

    kind: str
    weights: Sequence[NDArray[Any]]
    attributes: dict[str, Any]


def encoder_weights() -> NDArray[np.float32]:
    """(1280, 512): the small encoder is relu(flatten(window) @ weights)."""
    return np.random.default_rng(3).normal(0, ENCODER_SCALE, (80 * 16, 512)).astype(np.float32)


def write_encoder(folder: Path, **changes: Any) -> Path:
    """A bundle of the net `audio-encoder`. ``changes``: entries of the manifest."""
    nodes = [Node("Flatten", [], {"axis": 1}), Node("MatMul", [encoder_weights()], {}), Node("Relu", [], {})]
    mel = Tensor("mel", "float32", ("batch", 1, 80, 16), "mel window", "mel unit")
    features = Tensor("features", "float32", ("batch", 512), "features", "")
    entries = {
        "net": "audio-encoder",
        "inputs": (mel,),
        "outputs": (features,),
        "front_end": PRESETS["talking-head"],
        "geometry": Geometry(None, None, None),
    }
    return _write(folder, _model(nodes, mel, features), entries | changes, {"batch": Lengths()})


def vocoder_front_end() -> MelConfig:
    """A mel with the hop of the small vocoder: 5 bands at 8 kHz."""
    return MelConfig(
        sample_rate=8000, n_fft=16, hop_length=HOP, win_length=16, n_mels=5, padding="reflect", epsilon=1e-9
    )


def write_vocoder(
    folder: Path, frames: int | str = "frames", only: tuple[int, ...] = (), **changes: Any
) -> Path:
    """A bundle of the net `hifigan`: convolution, transposed convolution by four, convolution, tanh.

    ``frames``: the only length that the model itself takes, where it is a number. ``only``: the lengths that
    the manifest admits, as a Core ML package's would.
    """
    rng = np.random.default_rng(4)

    def weights(channels: int, *shape: int) -> list[NDArray[np.float32]]:
        return [rng.normal(0, 0.2, size).astype(np.float32) for size in (shape, (channels,))]

    nodes = [
        Node("Conv", weights(8, 8, 5, 5), {"pads": [2, 2]}),
        Node("LeakyRelu", [], {"alpha": 0.1}),
        Node("ConvTranspose", weights(4, 8, 4, 8), {"strides": [HOP], "pads": [2, 2]}),
        Node("LeakyRelu", [], {"alpha": 0.01}),
        Node("Conv", weights(1, 1, 4, 7), {"pads": [3, 3]}),
        Node("Tanh", [], {}),
    ]
    mel = Tensor("mel", "float32", (1, 5, "frames"), "log mel", "ln magnitude")
    wav = Tensor("wav", "float32", (1, 1, "samples"), "audio", "full scale 1")
    lengths = Lengths(only[0], only[-1], only) if only else Lengths()
    entries = {
        "net": "hifigan",
        "inputs": (mel,),
        "outputs": (wav,),
        "front_end": vocoder_front_end(),
        "geometry": Geometry(hop_length=HOP, receptive_field=2 * CONTEXT + 1, context_frames=CONTEXT),
    }
    return _write(
        folder, _model(nodes, replace(mel, shape=(1, 5, frames)), wav), entries | changes, {"frames": lengths}
    )


def _write(folder: Path, model: onnx.ModelProto, entries: dict[str, Any], axes: dict[str, Lengths]) -> Path:
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))
    artifact = describe_artifact(
        folder, "model.onnx", target="onnx", precision="fp32", version="opset 17, IR 8", axes=axes
    )
    common: dict[str, Any] = {
        "config": {},
        "artifacts": (artifact,),
        "source": Source("random", "0" * 64, "random seed 3"),
        "tolerance": {"fp32": Tolerance(1e-3, 60.0)},
        "versions": {},
        "reference": {},
    }
    Manifest(**(common | entries)).save(folder)
    return folder


def _model(nodes: Sequence[Node], takes: Tensor, gives: Tensor) -> onnx.ModelProto:
    operations, initializers, value = [], [], takes.name
    for number, node in enumerate(nodes):
        names = [f"weight_{number}_{k}" for k in range(len(node.weights))]
        initializers += [numpy_helper.from_array(w, n) for n, w in zip(names, node.weights, strict=True)]
        result = gives.name if number == len(nodes) - 1 else f"value_{number}"
        operations.append(helper.make_node(node.kind, [value, *names], [result], **node.attributes))
        value = result
    graph = helper.make_graph(
        operations,
        "small",
        [helper.make_tensor_value_info(takes.name, TensorProto.FLOAT, takes.shape)],
        [helper.make_tensor_value_info(gives.name, TensorProto.FLOAT, gives.shape)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
