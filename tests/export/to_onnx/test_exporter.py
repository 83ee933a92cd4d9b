"""ONNX files: equal to torch over lengths and batches, checked, clean, the same bytes each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tests import small_nets
from torch import nn

from edge_export.catalog import NETS
from edge_export.to_onnx.exporter import IR_VERSION, OPSET, build_onnx, flexible_axes, write_onnx
from edge_export.tracing.norm_folding import folded
from edge_runtime.compare import compare
from edge_runtime.store.bundle import Lengths
from edge_training.vocoder.hifigan import HifiGanConfig

ENCODER = NETS["audio-encoder"]
ENCODER_CONFIG = ENCODER.preset("talking-head")
HIFIGAN = small_nets.NET


def run(path: Path, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"mel": mel})[0])


def expected(module: nn.Module, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(mel)).numpy())


def mels(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(-4, 2, shape).astype(np.float32)


WIDE = replace(small_nets.CONFIG, upsample_initial_channel=256)  # stages in phases, the fast form
CONFIGS = {**small_nets.CONFIGS, "wide": WIDE}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_hifigan_equals_torch_over_lengths_and_batches(tmp_path: Path, config: HifiGanConfig) -> None:
    net = small_nets.small_hifigan(config)
    write_onnx(net, HIFIGAN, config, tmp_path / "a.onnx", "fp32")
    for batch, frames in [(1, 1), (1, 7), (3, 24), (2, 61)]:
        mel = mels(batch, config.num_mels, frames)
        result = compare(expected(net, mel), run(tmp_path / "a.onnx", mel), tolerance=1e-5)
        assert result.passed, (batch, frames, result)


def test_audio_encoder_equals_torch_over_batches(tmp_path: Path) -> None:
    net = small_nets.encoder()
    write_onnx(net, ENCODER, ENCODER_CONFIG, tmp_path / "a.onnx", "fp32")
    for batch in (1, 2, 64):
        mel = np.clip(mels(batch, 1, 80, 16) + 3, -4, 4)
        truth = expected(net, mel)
        result = compare(truth, run(tmp_path / "a.onnx", mel), tolerance=1e-5 * float(truth.max()))
        assert result.passed, (batch, result)


@pytest.mark.parametrize("config", small_nets.CONFIGS.values(), ids=list(small_nets.CONFIGS))
def test_half_precision_is_half_inside_and_single_outside(tmp_path: Path, config: HifiGanConfig) -> None:
    net = small_nets.small_hifigan(config)
    write_onnx(net, HIFIGAN, config, tmp_path / "a.onnx", "fp16")
    mel = HIFIGAN.cases(config, small_nets.AXES)["frames-24"]["mel"]
    audio = run(tmp_path / "a.onnx", mel)
    assert audio.dtype == np.float32
    gate = HIFIGAN.tolerance["fp16"]
    result = compare(expected(net, mel), audio, tolerance=gate.max_abs, min_snr_db=gate.min_snr_db)
    assert result.passed, result
    graph = onnx.load(tmp_path / "a.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1}
    assert kinds == {onnx.TensorProto.FLOAT16}
    halved = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    convolved = [node.output[0] for node in graph.node if "Conv" in node.op_type]
    assert {halved[name] for name in convolved} == {onnx.TensorProto.FLOAT16}
    layers = {"Conv", "ConvTranspose", "LeakyRelu", "Add", "Div", "Tanh", "Cast", "Pad", "Slice"}
    assert {node.op_type for node in graph.node} <= layers, "no shape arithmetic left"


@pytest.fixture(scope="module")
def encoder_model() -> onnx.ModelProto:
    return build_onnx(folded(small_nets.encoder()), ENCODER, ENCODER_CONFIG)


def test_batch_norm_is_folded(encoder_model: onnx.ModelProto) -> None:
    assert Counter(node.op_type for node in encoder_model.graph.node) == Counter(
        Conv=13, Add=7, Relu=13, Squeeze=2
    )


def test_batch_norm_that_cannot_be_folded_is_refused() -> None:
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)
            self.net = small_nets.encoder()

        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.net(self.norm(mel).relu())
            return result

    with pytest.raises(AssertionError, match="BatchNormalization left in the graph of audio-encoder"):
        build_onnx(folded(Before()), ENCODER, ENCODER_CONFIG)


def test_versions_are_what_wide_runtimes_read(encoder_model: onnx.ModelProto) -> None:
    assert (OPSET, IR_VERSION) == (17, 8)
    assert encoder_model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in encoder_model.opset_import] == [("", 17)]


def test_axes_have_their_names() -> None:
    graph = build_onnx(small_nets.small_hifigan(), HIFIGAN, small_nets.CONFIG).graph
    shapes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    assert shapes == [["batch", 20, "frames"], ["batch", 1, "samples"]]
    assert flexible_axes(HIFIGAN, small_nets.CONFIG) == {"batch": Lengths(), "frames": Lengths()}
    assert flexible_axes(ENCODER, ENCODER_CONFIG) == {"batch": Lengths()}


def test_metadata_says_what_the_tensors_mean(encoder_model: onnx.ModelProto) -> None:
    entries = {entry.key: entry.value for entry in encoder_model.metadata_props}
    mel, features = ENCODER.inputs(ENCODER_CONFIG)[0], ENCODER.outputs(ENCODER_CONFIG)[0]
    assert entries == {
        "name": "audio-encoder",
        "description": ENCODER.summary,
        "author": "edge-export",
        "mel.meaning": mel.meaning,
        "mel.unit": mel.unit,
        "features.meaning": features.meaning,
        "features.unit": features.unit,
    }
    assert encoder_model.graph.input[0].doc_string == f"{mel.meaning}; unit: {mel.unit}"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_same_net_gives_the_same_bytes(tmp_path: Path, precision: str) -> None:
    assert precision in ("fp32", "fp16")
    for name in ("a", "b"):
        net = small_nets.small_hifigan(seed=2)
        write_onnx(net, HIFIGAN, small_nets.CONFIG, tmp_path / name, precision)  # type: ignore[arg-type]
    first, second = ((tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_nothing_tells_of_the_machine(tmp_path: Path) -> None:
    write_onnx(small_nets.small_hifigan(), HIFIGAN, small_nets.CONFIG, tmp_path / "a.onnx", "fp32")
    content = (tmp_path / "a.onnx").read_bytes()
    for trace in (b".py", b"/home", b"site-packages", torch.__version__.encode(), str(tmp_path).encode()):
        assert trace not in content


def test_a_file_holds_each_weight_once(tmp_path: Path) -> None:
    """The fast form needs h₀ + h₁ as well: computed in the graph, folded by the runtime, not stored."""
    net = small_nets.small_hifigan(WIDE)
    write_onnx(net, HIFIGAN, WIDE, tmp_path / "a.onnx", "fp32")
    parameters = 4 * sum(parameter.numel() for parameter in net.parameters())
    assert (tmp_path / "a.onnx").stat().st_size < 1.15 * parameters + 100_000


def test_causal_convolutions_stay_single_nodes() -> None:
    """F.pad would export as a dozen nodes of shape arithmetic each."""
    net = small_nets.small_hifigan(small_nets.CAUSAL)
    graph = build_onnx(HIFIGAN.onnx_form(net), HIFIGAN, small_nets.CAUSAL).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert "Pad" not in kinds
    assert kinds["Conv"] == 2 + 3 * 2 * 6
