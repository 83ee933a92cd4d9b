"""istft-vocoder from the catalogue to proved artifacts, with a net small enough for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from edge_export.catalog import get_net
from edge_export.catalog.istft_vocoder import NET
from edge_export.convert import export
from edge_export.proof.verify import verify
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.pipelines.vocoder.streaming import StreamingVocoder
from edge_runtime.store.bundle import open_bundle
from edge_training.vocoder.istft_vocoder import IstftVocoder, IstftVocoderConfig

MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=8000, n_fft=128, win_length=128, hop_length=40, n_mels=16, fmax=None
)
CONFIG = IstftVocoderConfig(mel=MEL, width=12, expansion=2, blocks=2, kernel=3, embed_kernel=3, look_ahead=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("istft") / "bundle"
    export("istft-vocoder", out, random=3, config=CONFIG.to_json())
    return out


def test_every_artifact_is_proved_and_so_is_the_geometry(bundle: Path) -> None:
    result = verify(bundle)
    assert result.passed, [row for row in result.rows if row.status == "FAIL"]
    assert {row.case for row in result.rows if row.comparison} == {"frame", "frames-20", "sentence"}
    exact = [row.comparison.max_abs for row in result.rows if row.comparison and row.precision == "fp32"]
    assert max(exact) < 1e-4
    (geometry,) = (row for row in result.rows if row.case == "geometry")
    assert geometry.detail.startswith("9 frames before and 2 after") or geometry.status == "PASS"


def test_what_the_manifest_says(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    geometry = manifest.geometry
    assert geometry.hop_length == 40
    assert geometry.sides == (CONFIG.context_before, CONFIG.context_after)
    assert geometry.overlap_after == CONFIG.overlap_ahead
    assert geometry.receptive_field == CONFIG.context_before + 1 + CONFIG.context_after
    parts = {artifact.precision: artifact.float32_parts for artifact in manifest.artifacts}
    assert parts == {"fp32": (), "fp16": NET.float32_parts}


def test_no_tensor_of_given_shape_is_needed(bundle: Path) -> None:
    """ConstantOfShape breaks MNN's float16 and has no counterpart in WebNN."""
    kinds = {node.op_type for node in onnx.load(bundle / "model.onnx").graph.node}
    assert "ConstantOfShape" not in kinds


def test_the_named_parts_are_float32_and_the_rest_is_not(bundle: Path) -> None:
    graph = onnx.load(bundle / "model.fp16.onnx").graph
    constants = [
        attribute.t for node in graph.node for attribute in node.attribute if attribute.name == "value"
    ]
    sizes: dict[int, list[int]] = {TensorProto.FLOAT: [], TensorProto.FLOAT16: []}
    for tensor in (*graph.initializer, *constants):
        if tensor.data_type in sizes:
            sizes[tensor.data_type].append(int(np.prod(tensor.dims)))
    # the pseudo-inverse, and the first norm
    assert sorted(s for s in sizes[TensorProto.FLOAT] if s > 1) == [12, 12, 65 * 16]
    assert sum(sizes[TensorProto.FLOAT16]) > 3 * 65 * 16


def test_pipelines_run_it_whole_and_as_a_stream_on_every_backend(bundle: Path) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    mel = MelFrontEnd(MEL)(audio)
    from edge_export.backends import get_backend

    whole = Vocoder(bundle, threads=1).synthesize(mel)
    assert whole.shape == (mel.shape[1] * 40,)
    for backend in ("onnxruntime", "openvino", "mil"):
        streaming = StreamingVocoder(bundle, chunk=3, backend=get_backend(backend))
        assert streaming.latency == CONFIG.context_after * 40
        pushed = [streaming.push(mel[:, :50]), streaming.push(mel[:, 50:]), streaming.flush()]
        peak = float(np.abs(whole).max())
        np.testing.assert_allclose(np.concatenate(pushed), whole, rtol=0, atol=1e-5 * peak)


def test_the_net_is_recognised() -> None:
    from edge_training.weights.recognition import recognise

    assert recognise(IstftVocoder(CONFIG).state_dict()) == "istft-vocoder"
    assert get_net("istft-vocoder") is NET


def test_units_say_what_the_mel_is() -> None:
    units = {name: NET.inputs(NET.preset(name))[0].unit for name in ("lj-22k", "rtmri")}
    assert units["lj-22k"] == "natural logarithm of the mel magnitude, floor 1e-05"
    assert units["rtmri"] == "natural logarithm of the mel power, floor 1e-05"
    decibels = NET.inputs(IstftVocoderConfig(mel=PRESETS["talking-head"]))[0].unit
    assert decibels == (
        "common logarithm of the mel magnitude, floor 1e-05, times 20, less 20, -100 … 0 onto -4 … 4"
    )


def test_batches_are_independent() -> None:
    module = NET.build(CONFIG)
    mel = torch.randn(3, 16, 7) - 4
    with torch.inference_mode():
        together, alone = module(mel), module(mel[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)
