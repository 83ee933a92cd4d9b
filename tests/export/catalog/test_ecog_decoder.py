"""ecog-decoder as artifacts: parameters by name, every backend, and float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.small_ecog import DECODER, small_bundle

from edge_export.catalog import NETS
from edge_export.catalog.ecog_decoder import example_ecog
from edge_export.proof.verify import table, verify
from edge_runtime.store.bundle import Lengths
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoder, EcogDecoderConfig
from edge_training.ecog_speech.parameters import PARAMETERS, ROWS

NET = NETS["ecog-decoder"]


def test_every_artifact_is_proved(tmp_path: Path) -> None:
    bundle = small_bundle(
        "ecog-decoder", tmp_path / "b", targets=("onnx", "coreml"), precisions=("fp32", "fp16")
    )
    manifest = bundle.manifest
    assert [tensor.name for tensor in manifest.outputs] == [*PARAMETERS, "x_common"]
    assert [tensor.shape[1] for tensor in manifest.outputs[:-1]] == [*ROWS.values()]
    assert manifest.inputs[0].shape == ("batch", 144, 16)
    proof = verify(bundle, backends=["onnxruntime", "mil"])
    assert proof.passed, table(proof.rows)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (EcogDecoderConfig(electrodes=16), 5e-6),
        (EcogDecoderConfig(family="swin", electrodes=9), 1e-4),
    ],
)
def test_onnx_is_float64_to_a_few_millionths(tmp_path: Path, config: EcogDecoderConfig, limit: float) -> None:
    bundle = small_bundle("ecog-decoder", tmp_path / "b", config.to_json())
    case, truth = bundle.reference(next(iter(bundle.cases)))
    session = onnxruntime.InferenceSession(
        str(bundle.path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    made = dict(zip(truth, session.run(list(truth), case), strict=True))
    for name, true in truth.items():
        assert np.abs(made[name] - true).max() <= 20 * limit * np.abs(true).max(), name
    # the weights of the bundle are not in it; others serve as well for the distance from float64
    torch.manual_seed(3)
    net = EcogDecoder(config).eval()
    ecog = torch.from_numpy(case["ecog"])
    with torch.no_grad():
        single, double = net(ecog), net.double()(ecog.double())
    for name, one, other in zip(truth, single, double, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) <= limit, name


def test_streaming_takes_any_number_of_frames(tmp_path: Path) -> None:
    config = EcogDecoderConfig(**DECODER | {"causal": True, "wiring": "streaming"})
    bundle = small_bundle("ecog-decoder", tmp_path / "b", config.to_json())
    assert bundle.manifest.artifact("onnx").axes["frames"] == Lengths(low=17)
    assert set(bundle.cases) == {"frames-48", "frames-144"}
    session = onnxruntime.InferenceSession(
        str(bundle.path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    (pitch,) = session.run(["f0_hz"], {"ecog": example_ecog(80, 16)})
    assert pitch.shape == (1, 1, 64)


def test_a_streaming_resnet_states_its_steps_and_its_context(tmp_path: Path) -> None:
    """No later frame has an influence, and what is stated of earlier ones is enough: measured."""
    config = EcogDecoderConfig(electrodes=16, channels=1, causal=True, wiring="streaming")
    bundle = small_bundle("ecog-decoder", tmp_path / "b", config.to_json())
    assert bundle.manifest.artifact("onnx").axes["frames"] == Lengths(low=20, step=4)
    assert bundle.manifest.geometry.sides == (112, 0)
    proof = verify(bundle, backends=["onnxruntime"])
    assert proof.passed, table(proof.rows)
    assert "and 0 after have an influence, 112 and 0 are stated" in proof.rows[-1].detail


def test_axes_of_core_ml_are_those_that_the_net_has() -> None:
    named = {
        wiring: set(
            NET.axes_of(EcogDecoderConfig(family="lstm", causal=True, wiring=wiring), NET.coreml_axes)
        )
        for wiring in ("published", "streaming", "stateful")
    }
    assert named == {
        "published": {"batch"}, "streaming": {"batch", "frames"}, "stateful": {"batch", "new_frames"},
    }  # fmt: skip


def test_presets_are_those_of_the_net() -> None:
    from edge_training.ecog_speech.decoders.ecog_decoder import ECOG_DECODER_PRESETS

    assert set(NET.presets) == set(ECOG_DECODER_PRESETS)
    assert NET.presets[0] == "resnet"
