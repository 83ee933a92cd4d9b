"""stft and istft as artifacts: equal to the runtime's transform on ONNX and in the Core ML executor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.small_spectral_nets import SPECTRAL

from edge_export.backends import get_backend
from edge_export.catalog import NETS, Net
from edge_export.convert import export
from edge_export.proof.verify import table, verify
from edge_export.to_coreml.exporter import write_coreml
from edge_export.to_onnx.exporter import write_onnx
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Bundle, Lengths
from edge_training.spectral.layers import SpectralConfig

CONFIGS = {
    "mel-inversion": SpectralConfig(1024, 256, 1024),
    "talking-head": SpectralConfig(800, 200, 800, "center-zero"),
    "odd": SpectralConfig(511, 128, 400, "reflect"),
    "no-padding": SpectralConfig(64, 20, 60, "none"),
}


@dataclass(frozen=True)
class Artifacts:
    """A net in fp32, in onnxruntime and in the executor of Core ML packages."""

    config: SpectralConfig
    sessions: dict[str, Any]

    def run(self, name: str, values: Any) -> dict[str, Any]:
        return {
            backend: next(iter(session.run({name: values[None].astype(np.float32)}).values()))[0]
            for backend, session in self.sessions.items()
        }


def artifacts(net: Net[Any], config: SpectralConfig, folder: Path) -> Artifacts:
    module = net.build(config).eval()
    write_onnx(module, net, config, folder / "model.onnx", "fp32")
    write_coreml(module, net, config, folder / "model.mlpackage", "fp32")
    sessions = {
        "onnxruntime": get_backend("onnxruntime").open(folder / "model.onnx"),
        "mil": get_backend("mil").open(folder / "model.mlpackage"),
    }
    return Artifacts(config, sessions)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> SpectralConfig:
    return CONFIGS[request.param]


def test_stft_is_the_runtimes_at_every_length(config: SpectralConfig, tmp_path: Path) -> None:
    made = artifacts(NETS["stft"], config, tmp_path)
    for samples in (8192, 8193, 8192 + 3 * config.hop_length - 1, 11_111):
        audio = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
        expected = Stft(config.stft, "float64").forward(audio.astype(np.float64))
        for backend, (re, im) in made.run("audio", audio).items():
            assert re.shape == expected.shape, backend
            np.testing.assert_allclose(re + 1j * im, expected, rtol=0, atol=1e-4, err_msg=backend)


def test_istft_is_the_runtimes_at_every_number_of_frames(config: SpectralConfig, tmp_path: Path) -> None:
    """Of spectra that no signal has; without padding but for the ends, where a window weighs nothing."""
    made = artifacts(NETS["istft"], config, tmp_path)
    stft = Stft(config.stft, "float64")
    end = config.n_fft // 8 if config.padding == "none" else 0
    for frames in (16, 17, 40):
        audio = np.random.default_rng(frames).uniform(-1, 1, config.n_fft + frames * config.hop_length)
        spectrum = stft.forward(audio)[:, :frames] * np.linspace(0.5, 1.5, frames)
        expected = stft.inverse(spectrum)
        for backend, got in made.run("spectrum", np.stack([spectrum.real, spectrum.imag])).items():
            assert got.shape == expected.shape, backend
            kept = slice(end, expected.size - end)
            np.testing.assert_allclose(got[kept], expected[kept], rtol=0, atol=1e-4, err_msg=backend)


@pytest.fixture(scope="module", params=["stft", "istft"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(request.param, tmp_path_factory.mktemp("net") / "b", config=SPECTRAL.to_json())


def test_a_bundle_needs_no_weights_and_is_proved(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.source.file, manifest.source.format) == ("none", "no weights")
    assert manifest.front_end is None
    assert manifest.geometry.hop_length == 16
    axis = "samples" if manifest.net == "stft" else "frames"
    low, high = (8192, 2**22) if manifest.net == "stft" else (16, 16384)
    assert manifest.artifact("onnx").axes[axis] == Lengths()
    assert manifest.artifact("coreml").axes[axis] == Lengths(low, high)
    proof = verify(bundle, backends=["onnxruntime", "onnx-reference", "mil"])
    assert proof.passed, table(proof.rows)
    assert len(proof.rows) == 2 * (2 * 2 + 2)


def test_the_graphs_are_convolutions(bundle: Bundle) -> None:
    """Pains 1 and 9: no operator for a transform, which is slow in one runtime and missing in the next."""
    kinds = {node.op_type for node in onnx.load(bundle.artifact("onnx")).graph.node}
    assert not kinds & {"DFT", "STFT", "Loop", "ScatterND"}
    assert ("Conv" if bundle.manifest.net == "stft" else "ConvTranspose") in kinds


@pytest.mark.parametrize(
    "entries",
    [
        {"n_fft": 1024, "hop_length": 256, "win_length": 1024, "padding": "none"},
        {"n_fft": 64, "hop_length": 32, "win_length": 64, "padding": "none", "window": "blackman"},
        {"n_fft": 64, "hop_length": 16, "win_length": 32},
    ],
)
def test_framings_that_failed_their_own_proof(entries: dict[str, Any], tmp_path: Path) -> None:
    """Without padding least squares trusted the edge of one window: 4.4 beside a tolerance of 1e-4."""
    proof = verify(export("istft", tmp_path / "b", config=entries), backends=["onnxruntime", "mil"])
    assert proof.passed, table(proof.rows)


def test_no_tensor_of_given_shape_is_needed(bundle: Bundle) -> None:
    """ConstantOfShape breaks MNN's float16 and has no counterpart in WebNN."""
    kinds = {node.op_type for node in onnx.load(bundle.artifact("onnx")).graph.node}
    assert "ConstantOfShape" not in kinds


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"random": 1}, "weights: got a seed, expected neither, stft has no weights"),
        ({"checkpoint": "x.pth"}, "weights: got a checkpoint, expected neither"),
        ({"preset": "512"}, "preset of stft: got 512, expected one of 1024-256, 800-200, 2048-420"),
        ({"preset": "1024-256", "config": {}}, "got a preset and a config file"),
    ],
)
def test_refusals(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        export("stft", tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())
