"""Recordings of a synthetic speaker → two trained nets → bundles → proof → the speaker again, from mels.

Through the command line as a user types it; the nets are tiny and have seen three steps, so what is proved is
the way and not the sound.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.commands import edge_export

from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import open_bundle
from edge_training.phantom import write_corpus

FEW = ("--set", "validation_clips=1", "--set", "segment_frames=16", "--set", "batch_size=2")
STEPS = ("--steps", 3, "--set", "validate_every=3", "--set", "checkpoint_every=3", *FEW)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "phantom", 3, 0, systems=["wavs"]) / "wavs"


# the output of so small a net after two steps is silence
@pytest.mark.filterwarnings("ignore:.*silence alone")
def test_wavs_train_nets_that_speak_from_mels(corpus: Path, tmp_path: Path) -> None:
    net, phase = tmp_path / "mel-inversion", tmp_path / "degli"
    printed = edge_export(
        *("train", "mel-inversion", "--data", corpus, "--out", tmp_path / "run", "--export", net),
        *("--preset", "pinv-conv-skip-22k", "--set", "channels=[2,2,2]", *STEPS),
    )
    assert printed.splitlines()[-1].startswith("PASS")  # every artifact on every backend

    edge_export(
        *("train", "degli", "--data", corpus, "--out", tmp_path / "run-degli"),
        *("--set", "channels=2", "--set", "kernel=[3,3]", "--set", 'graph="net"', *STEPS),
    )
    weights = tmp_path / "run-degli" / "checkpoints" / "degli.safetensors"
    edge_export("export", "degli", "--checkpoint", weights, "--out", phase, "--precision", "fp32")
    assert edge_export("verify", phase).splitlines()[-1].startswith("PASS")
    assert open_bundle(phase).manifest.config["graph"] == "net"

    (spoken, *_) = sorted((corpus / "wavs").glob("*.wav"))
    result, pack = tmp_path / "result", tmp_path / "pack"
    bundles = ("--bundle", phase, "--bundle", net)
    edge_export("run", "mel-inversion", spoken, *bundles, "--out", result)
    front_end = open_bundle(net).manifest.front_end
    assert front_end is not None
    said, heard = read_audio(spoken, front_end.sample_rate), read_audio(result / "prediction.wav")
    assert (heard.sample_rate, heard.samples.size) == (front_end.sample_rate, said.samples.size)
    facts, metrics = (json.loads((result / f"{name}.json").read_text()) for name in ("metadata", "metrics"))
    assert (facts["phase"], facts["iterations"]) == ("degli", 10)
    assert metrics["estimate"]["si_ssdr_db"] > 5
    assert np.isfinite(metrics["result"]["spectral_convergence"])

    alone = tmp_path / "alone"
    edge_export(
        "run", "mel-inversion", result / "mel.npy", "--bundle", net, "--phase", "agla", "--out", alone
    )
    assert read_audio(
        alone / "prediction.wav"
    ).samples.size == front_end.stft.n_fft - 2 * front_end.stft.pad + (
        (facts["frames"] - 1) * front_end.hop_length
    )
    assert not (alone / "metrics.json").exists()

    edge_export("reference", "mel-inversion", spoken, *bundles, "--iterations", 2, "--out", pack)
    port = tmp_path / "port"
    port.mkdir()
    for path in pack.glob("*.npy"):
        np.save(port / path.name, np.load(path).astype(np.float32))
    assert edge_export("check", pack, port).splitlines()[-1].startswith("PASS")
    np.save(port / "estimate.npy", np.load(port / "estimate.npy") + 0.01)
    assert "estimate.npy" in edge_export("check", pack, port, status=1)


def test_without_a_model_too_and_nothing_half_written(corpus: Path, tmp_path: Path) -> None:
    (spoken, *_) = sorted((corpus / "wavs").glob("*.wav"))
    out = tmp_path / "out"
    edge_export("run", "mel-inversion", spoken, "--preset", "talking-head", "--out", out, "--iterations", 16)
    said = read_audio(spoken, 16000).samples.size
    assert read_audio(out / "prediction.wav").samples.size == said
    mel = out / "mel.npy"
    np.save(tmp_path / "linear.npy", np.geomspace(1e-5, 3, 800).reshape(80, 10))
    for arguments, sentence in (
        ((mel,), "--preset: got no front end for a mel in a file"),
        ((mel, "--preset", "rtmri"), "got shape (80, "),
        ((mel, "--preset", "talking-head", "--linear"), "leave out linear (--linear)"),
        ((tmp_path / "linear.npy", "--preset", "hifigan-22k"), "pass linear (--linear)"),
        ((mel, "--preset", "talking-head", "--phase", "degli"), "got degli without a bundle"),
        ((spoken, "--iterations", -1), "iterations: got -1"),
        ((spoken, "--momentum", 2), "momentum: got 2.0"),
    ):
        refusal = edge_export("run", "mel-inversion", *arguments, "--out", tmp_path / "none", status=2)
        assert sentence in refusal
        assert len(refusal.splitlines()) == 1
        assert not (tmp_path / "none").exists()
