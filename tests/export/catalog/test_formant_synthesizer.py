"""formant-synthesizer as artifacts: within a thousandth everywhere, its phase never in half precision."""

from __future__ import annotations

import pytest
import torch
from tests.small_ecog import small_bundle

from edge_export.proof.verify import table, verify
from edge_export.tracing.half_weights import with_half_weights
from edge_runtime.store.bundle import Bundle
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("synthesizer") / "b"
    return small_bundle(
        "formant-synthesizer", folder, targets=("onnx", "coreml"), precisions=("fp32", "fp16")
    )


def test_every_artifact_is_proved(bundle: Bundle) -> None:
    assert [tensor.name for tensor in bundle.manifest.outputs] == ["spectrogram", "wave"]
    assert [tensor.name for tensor in bundle.manifest.inputs][-4:] == [
        "background", "noise", "background_noise", "phase",
    ]  # fmt: skip
    proof = verify(bundle, backends=["onnxruntime", "mil"])
    assert proof.passed, table(proof.rows)
    for row in proof.rows:
        if row.output == "spectrogram" and row.comparison is not None:
            assert row.comparison.max_abs < (1e-3 if row.precision == "fp32" else 0.05)


def test_half_precision_rounds_layers_alone() -> None:
    torch.manual_seed(0)
    net = FormantSynthesizer(FormantSynthesizerConfig(bins=128, harmonics=3, filter_samples=6))
    net.state_dict()["formant_masks.filter.0.x"].fill_(1 / 3)
    rounded = with_half_weights(net)
    before, after = net.state_dict(), rounded.state_dict()
    assert torch.equal(after["bgnoise_mapping2.2.weight"], before["bgnoise_mapping2.2.weight"].half().float())
    assert torch.equal(after["formant_masks.filter.0.x"], before["formant_masks.filter.0.x"])
    kernels = [dict(each.named_buffers())["stft.kernel"] for each in (net, rounded)]
    assert torch.equal(*kernels)
