"""What `run` and `reference` leave in their folders."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.small_ecog import BINS

from edge_export.proof.reference import check_reference, write_reference
from edge_export.run import run
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines.ecog_speech import EcogSpeech
from edge_runtime.pipelines.ecog_speech.recordings import HOP
from edge_runtime.pipelines.ecog_speech.result import COLOURS, formant_picture
from edge_runtime.store.bundle import Bundle


def test_a_trial_leaves_all_of_it(bundles: dict[str, Bundle], recording: Path, tmp_path: Path) -> None:
    pair = {"decoder": bundles["decoder"], "synthesizer": bundles["synthesizer"]}
    folder = run("ecog-speech", recording, pair, tmp_path / "out", trial=1)
    assert {path.name for path in folder.iterdir()} == {
        "components.npz", "spectrogram.npy", "S1_wave.wav", "S1_fgla.wav", "spectrogram.png", "formants.png",
        "metrics.json", "metadata.json",
    }  # fmt: skip
    assert np.load(folder / "components.npz")["amplitude_formants_noise"].shape == (7, 128)
    assert np.load(folder / "spectrogram.npy").shape == (128, BINS)
    assert read_audio(folder / "S1_wave.wav").samples.shape == (16384,)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {
        "pcc",
        "mcd_db",
        "stoi_plus",
        "loudness_error_db",
        "f0_error_hz",
        "formant_error_hz",
        "pooling",
    } == set(metrics)
    voiced = np.load(folder / "components.npz")["freq_formants_hamon_hz"][:4, 32:112]  # 80 frames of a word
    assert metrics["formant_error_hz"] == pytest.approx(np.abs(voiced - 900).mean(), rel=1e-5)
    facts = json.loads((folder / "metadata.json").read_text())
    assert (facts["label"], facts["trial"], facts["frames"]) == ("two", 1, 128)
    run("ecog-speech", recording, pair, tmp_path / "out", phase="wave", overwrite=True)
    assert not (tmp_path / "out" / "S1_fgla.wav").exists()


def test_the_pack_holds_every_stage_and_checks(
    bundles: dict[str, Bundle], recording: Path, tmp_path: Path
) -> None:
    pair = [bundles["decoder"], bundles["synthesizer"]]
    first = write_reference("ecog-speech", recording, pair, tmp_path / "a")
    again = write_reference("ecog-speech", recording, pair, tmp_path / "b")
    names = {path.stem for path in first.glob("*.npy")}
    assert {
        "ecog",
        "f0_hz",
        "x_common",
        "noise",
        "phase",
        "background",
        "spectrogram",
        "wave",
        "fgla",
    } <= names
    assert check_reference(first, again).passed
    np.save(again / "f0_hz.npy", np.load(first / "f0_hz.npy") + 0.01)
    assert not check_reference(first, again).passed


def test_memory_grows_with_what_is_made_alone(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """From 6 seconds of ECoG to 20."""
    pipeline = EcogSpeech(bundles["decoder"], bundles["synthesizer"], phase="wave", threads=1)
    peaks = []
    for seconds in (6, 20):
        np.save(
            tmp_path / "long.npy", np.tile(np.array([[-1], [1]], np.float32), (8 + seconds * 125 // 2, 16))
        )
        tracemalloc.start()
        pipeline.process_file(tmp_path / "long.npy")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = 4 * (16 + 60 + BINS + HOP)  # ECoG, parameters and features, spectrogram, speech
    assert peaks[1] - peaks[0] < 14 * 125 * frame + 2**19, peaks


@pytest.mark.parametrize("frames", [128, 30000])  # several pixels a frame; several frames a pixel
def test_formants_are_drawn_however_long_the_recording(frames: int) -> None:
    tracks: dict[str, Any] = {
        "f0_hz": np.full((1, frames), 200.0), "freq_formants_hamon_hz": np.full((6, frames), 4000.0)
    }  # fmt: skip
    picture = formant_picture(
        SimpleNamespace(spectrogram=np.zeros((frames, 16), np.float32), parameters=tracks)  # type: ignore[arg-type]
    )
    for colour in (COLOURS[0], COLOURS[-1]):  # the last formant covers the others
        assert (picture == colour).all(-1).any(0).all()
