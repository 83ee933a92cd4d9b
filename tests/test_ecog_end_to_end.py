"""ECoG → speech all the way, through the command line, on the synthetic speaker; and what is refused.

data phantom → train speech-encoder → train ecog-decoder → export both → verify → run ecog-speech → wav
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_export.__main__ import main
from edge_runtime.media.audio import read_audio

DATA = (
    'subjects=["P01"]',
    "test_trials=1",
    "batch_size=2",
    "validate_every=2",
    "checkpoint_every=2",
    "log_every=1",
)
SPEECH = ("harmonics=4", "filter_samples=8", *DATA)
DECODER = ("family=lstm", "layers=1", "units=8", "classes=6", "component_regression=true", *DATA)


def edge_export(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def settings(entries: tuple[str, ...]) -> list[str]:
    return [word for entry in entries for word in ("--set", entry)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ecog")


@pytest.fixture(scope="module")
def data(place: Path) -> Path:
    edge_export(
        "data", "phantom", "--system", "ecog", "--utterances", 6, "--speakers", 2, "--out", place / "phantom"
    )
    return place / "phantom" / "ecog"


def test_from_ecog_to_speech(data: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair, run = place / "pair", place / "decoder"
    edge_export("train", "speech-encoder", "--data", data, "--out", pair, "--steps", 1, *settings(SPEECH))
    edge_export(
        "train", "ecog-decoder", "--data", data, "--out", run, "--steps", 1, "--set", f"teacher={pair}",
        *settings(DECODER),
    )  # fmt: skip
    for net, weights, bundle in (
        ("ecog-decoder", run / "checkpoints" / "ecog-decoder.safetensors", place / "decoder-bundle"),
        (
            "formant-synthesizer",
            pair / "checkpoints" / "formant-synthesizer.safetensors",
            place / "synthesizer",
        ),
    ):
        edge_export(
            "export", net, "--checkpoint", weights, "--target", "onnx", "--precision", "fp32", "--out", bundle
        )
        capsys.readouterr()
        edge_export("verify", bundle, "--backend", "onnxruntime")
        assert capsys.readouterr().out.splitlines()[-1].startswith("PASS")
    bundles = ("--bundle", place / "decoder-bundle", "--bundle", f"synthesizer={place / 'synthesizer'}")
    edge_export("run", "ecog-speech", data / "P01.h5", *bundles, "--trial", 1, "--out", place / "out")
    assert read_audio(place / "out" / "P01_wave.wav").samples.shape == (128 * 128,)
    assert np.load(place / "out" / "spectrogram.npy").shape == (128, 256)
    assert json.loads((place / "out" / "metrics.json").read_text())["pcc"] is not None
    # the man's recording has 512 bins
    assert (
        main(["run", "ecog-speech", str(data / "P00.h5"), *map(str, bundles), "--out", str(place / "no")])
        == 2
    )
    assert "got 512 bins, expected 256" in capsys.readouterr().err
    assert not (place / "no").exists()
