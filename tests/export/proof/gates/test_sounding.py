"""What makes sound of outputs that are none is the pipeline's own, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles, small_inversions, small_mri

from edge_export.catalog import NETS
from edge_export.catalog.gates import Gate
from edge_export.proof.gates.sounding import check_companion, sample_rate_of, sounding
from edge_runtime.backends import get_backend
from edge_runtime.backends.artifacts import open_artifact
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.store.bundle import Bundle, open_bundle


def gate(net: str) -> Gate:
    found = NETS[net].gate
    assert found is not None
    return found


def outputs(bundle: Bundle, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return open_artifact(bundle, bundle.manifest.artifacts[0], get_backend("onnxruntime")).run(inputs)


def test_a_magnitude_is_heard_as_the_pipeline_makes_it(tmp_path: Path) -> None:
    bundle = open_bundle(small_inversions.write_inversion(tmp_path / "b"))
    pipeline = MelInversion(bundle)
    mel = pipeline.mel(np.sin(np.arange(4000) / 5))
    stage = sounding(bundle, gate("mel-inversion"))
    heard = stage.sound({}, outputs(bundle, {"mel": mel[None]}))
    np.testing.assert_allclose(heard, pipeline.invert(mel).samples, atol=1e-5)
    assert stage.rate == pipeline.sample_rate
    assert stage.told == "64 iterations of fast Griffin-Lim"


@pytest.mark.parametrize("graph", ["block", "net"])
def test_a_spectrum_is_heard_through_its_inverse(graph: str, tmp_path: Path) -> None:
    """Of a block that changes nothing the sound is what went in."""
    kernel = (0.0, 1.0, 0.0) if graph == "block" else (0.0, 0.0, 0.0)
    place = small_inversions.write_degli(tmp_path / "b", kernel, graph)
    bundle = open_bundle(place)
    config = bundle.manifest.config
    framing = {name: config[name] for name in ("n_fft", "hop_length", "win_length", "padding")}
    stft, sound = Stft(StftConfig(**framing), "float64"), np.sin(np.arange(4000) / 5)
    planes = np.stack([stft.forward(sound).real, stft.forward(sound).imag])[None]
    answer = {"next_spectrum": planes} if graph == "block" else {"residual": 0 * planes}
    heard = sounding(bundle, gate("degli")).sound({"z": planes}, answer)
    likeness = heard @ sound[: heard.size] / np.linalg.norm(heard) / np.linalg.norm(sound[: heard.size])
    assert likeness > 0.999


def test_a_mel_of_pictures_is_heard_through_a_vocoder(tmp_path: Path) -> None:
    bundle = open_bundle(small_mri.write_acoustic(tmp_path / "a"))
    vocoder = small_bundles.write_vocoder(tmp_path / "v", front_end=small_mri.FRONT_END)
    frames = np.random.default_rng(0).uniform(0, 1, (9, small_mri.SIZE, small_mri.SIZE)).astype(np.float32)
    made = MriSpeech(bundle, vocoder).process(frames)
    stage = sounding(bundle, gate("mri-acoustic"), vocoder)
    heard = stage.sound({}, {"mel": made.standardised[None]})
    np.testing.assert_allclose(heard, made.samples, atol=1e-6)
    assert "hifigan v" in stage.told


def test_a_stage_that_is_a_net_has_to_be_given_and_has_to_fit(tmp_path: Path) -> None:
    acoustic = small_mri.write_acoustic(tmp_path / "a")
    bundle, wanted = open_bundle(acoustic), gate("mri-acoustic")
    with pytest.raises(ConfigError, match="--with: got nothing, expected --with DIR, a bundle of hifigan or"):
        sounding(bundle, wanted)
    with pytest.raises(BundleError, match="got mri-acoustic, expected a bundle of hifigan or istft-vocoder"):
        sounding(bundle, wanted, acoustic)
    with pytest.raises(BundleError, match="sample rate"):
        sounding(bundle, wanted, small_bundles.write_vocoder(tmp_path / "v"))
    config = {"frame_scaling": "full-scale", "window": 4}
    blind = open_bundle(small_mri.write_acoustic(tmp_path / "blind", config=config))
    with pytest.raises(BundleError, match="got no mel_mean and mel_std"):
        sounding(blind, wanted, small_bundles.write_vocoder(tmp_path / "w", front_end=small_mri.FRONT_END))
    with pytest.raises(ConfigError, match=r"--with: got .*, expected no such option: hifigan needs no other"):
        check_companion("hifigan", gate("hifigan"), acoustic)


def test_the_rate_is_the_front_ends_or_the_nets(tmp_path: Path) -> None:
    stated = open_bundle(small_bundles.write_vocoder(tmp_path / "v")).manifest
    assert sample_rate_of(stated) == small_bundles.vocoder_front_end().sample_rate
    other = small_bundles.write_vocoder(tmp_path / "o", front_end=None, config={"sampling_rate": 44100})
    assert sample_rate_of(open_bundle(other).manifest) == 44100
