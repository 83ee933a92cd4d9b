"""int8 weights: the rounding itself, which weights are rounded, and the net that results."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests import small_nets
from torch import nn

from edge_export.convert import export
from edge_export.proof.verify import verify
from edge_export.to_onnx.int8 import rounded_to_int8
from edge_runtime.compare import compare
from edge_runtime.errors import ConfigError
from edge_training.weights.loading import load_net


def test_rounding_is_to_the_nearest_of_255_steps_of_each_channel() -> None:
    weight = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    weight[2] = 0.0
    values, scales = rounded_to_int8(weight, 0)
    assert values.dtype == torch.int8
    assert scales.shape == (4, 1, 1)
    steps = (
        weight.numpy().astype(np.float64) / np.abs(weight.numpy()).max((1, 2), keepdims=True).clip(1e-9) * 127
    )
    assert np.abs(values.numpy() - steps).max() <= 0.5 + 1e-4
    assert int(values[2].abs().max()) == 0
    assert float((values * scales - weight).abs().max()) <= float(scales.max()) / 2 + 1e-6


def test_a_net_computes_as_with_rounded_weights(tmp_path: Path) -> None:
    """Against torch with the weights of its layers rounded by numpy: convolutions, plain and transposed."""
    bundle = export(
        "hifigan", tmp_path / "out", random=2, config=small_nets.CONFIG.to_json(), targets=["onnx"],
        precisions=["fp32", "int8"], forms=["plain"],
    )  # fmt: skip
    assert verify(bundle).passed
    sizes = {item.precision: item.bytes for item in bundle.manifest.artifacts}
    assert sizes["int8"] < sizes["fp32"]
    model = onnx.load(bundle.artifact("onnx", "int8"))
    widened = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    stored = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    assert widened
    assert all(stored[name].dtype == np.int8 for name in widened)


def test_linear_layers_are_rounded_by_rows(tmp_path: Path, tiny_diffusion: Path) -> None:
    file = tiny_diffusion / "sd" / "text_encoder" / "model.safetensors"
    bundle = export("clip-text", tmp_path / "out", checkpoint=file, targets=["onnx"], precisions=["int8"])
    rounded = copy.deepcopy(load_net(file, "clip-text").module)
    with torch.no_grad():
        for layer in rounded.modules():
            if isinstance(layer, nn.Linear):
                step = layer.weight.abs().amax(1, keepdim=True) / 127
                layer.weight.copy_((layer.weight / step).round() * step)
    ids = torch.arange(77, dtype=torch.int32)[None]
    with torch.inference_mode():
        truth = rounded(ids)[0].numpy()
    session = onnxruntime.InferenceSession(
        bundle.artifact("onnx", "int8"), providers=["CPUExecutionProvider"]
    )
    states = session.run(None, {"input_ids": ids.numpy()})[0]
    assert compare(truth, states, tolerance=1e-4, min_snr_db=90).passed


def test_a_precision_without_its_target_is_refused(tmp_path: Path) -> None:
    for precision, target, other in (("int8", "coreml", "onnx"), ("palette6", "onnx", "coreml")):
        with pytest.raises(ConfigError, match=f"precision: got {precision}, expected --target {other}"):
            export("clip-text", tmp_path / "out", random=0, targets=[target], precisions=["fp32", precision])
