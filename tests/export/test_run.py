"""Pipelines and front ends on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_export.assets import SENTENCE
from edge_export.run import mel, run
from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import BackendError, BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav


def test_talking_head_writes_its_stages(encoder: Path, tmp_path: Path) -> None:
    out = run("talking-head", SENTENCE, [encoder], tmp_path / "out")
    spectrogram = np.load(out / "mel_spectrogram.npy")
    raw, padded = np.load(out / "audio_features_raw.npy"), np.load(out / "audio_features_padded.npy")
    facts = json.loads((out / "metadata.json").read_text())
    assert spectrogram.shape[0] == 80
    assert raw.shape == (facts["n_frames"], 512)
    np.testing.assert_array_equal(padded[1:-1], raw)
    assert "onnxruntime" in facts["executed_by"]


def test_the_core_ml_program_gives_the_same_features(encoder: Path, tmp_path: Path) -> None:
    ort = run("talking-head", SENTENCE, [encoder], tmp_path / "ort")
    mil = run("talking-head", SENTENCE, [encoder], tmp_path / "mil", backend="mil")
    name = "audio_features_raw.npy"
    np.testing.assert_allclose(np.load(mil / name), np.load(ort / name), rtol=0, atol=1e-4)


def test_vocoder_from_audio_and_from_its_mel(small_hifigan: Path, tmp_path: Path) -> None:
    from_audio = run("vocoder", SENTENCE, [small_hifigan], tmp_path / "a")
    from_mel = run("vocoder", from_audio / "mel.npy", [small_hifigan], tmp_path / "b")
    first = read_audio(from_audio / "sentence_generated.wav")
    second = read_audio(from_mel / "mel_generated.wav")
    facts = json.loads((from_audio / "metadata.json").read_text())
    assert first.sample_rate == facts["sample_rate"]
    assert first.samples.size == facts["samples"]
    np.testing.assert_array_equal(first.samples, second.samples)


def test_a_result_is_replaced_on_request_only(small_hifigan: Path, tmp_path: Path) -> None:
    run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out")
    with pytest.raises(
        TargetError, match="/out: got an existing folder, expected a path that does not exist"
    ):
        run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out")
    run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(TargetError, match="/out: got a folder with files that edge-export did not write"):
        run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_a_refused_source_leaves_nothing(small_hifigan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.wav"):
        run("vocoder", tmp_path / "nothing.wav", [small_hifigan], tmp_path / "out")
    write_wav(tmp_path / "short.wav", np.zeros(10, np.float32), 22050)
    with pytest.raises(InputError, match=r"short\.wav: audio: got \d samples, expected at least \d+ samples"):
        run("vocoder", tmp_path / "short.wav", [small_hifigan], tmp_path / "out")
    np.save(tmp_path / "other.npy", np.zeros((7, 30), np.float32))
    with pytest.raises(InputError, match=r"other\.npy: mel: got shape \(7, 30\)"):
        run("vocoder", tmp_path / "other.npy", [small_hifigan], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["gone.wav", "folder", "gone.npy"])
def test_what_cannot_be_read_is_named_once(small_hifigan: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"got (no such file|a folder)") as refusal:
        run("vocoder", tmp_path / name, [small_hifigan], tmp_path / "out")
    assert str(refusal.value).count(str(tmp_path / name)) == 1


def test_unknown_pipelines_and_missing_bundles_are_refused(small_hifigan: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="PIPELINE: got 'talkinghead', expected one of talking-head, vocoder"
    ):
        run("talkinghead", SENTENCE, [small_hifigan], tmp_path / "out")
    with pytest.raises(ConfigError, match="bundles of vocoder: got 2, expected exactly one"):
        run("vocoder", SENTENCE, [small_hifigan] * 2, tmp_path / "out")
    with pytest.raises(
        ConfigError,
        match=r"bundles of vocoder: got none of hifigan or istft-vocoder or bigvgan, .*--bundle DIR",
    ):
        run("vocoder", SENTENCE, [], tmp_path / "out")
    with pytest.raises(BundleError, match="net: got hifigan, expected audio-encoder; is it the right bundle"):
        run("talking-head", SENTENCE, [small_hifigan], tmp_path / "out")
    with pytest.raises(BackendError, match="--backend: got 'tensorrt'"):
        run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", backend="tensorrt")


def test_options_of_another_pipeline_are_refused(small_hifigan: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="--fps: got 30 for vocoder, expected this option only for talking-head"
    ):
        run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", fps=30)
    with pytest.raises(ConfigError, match="--loudness: got 3 for vocoder, expected an option that exists"):
        run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", loudness=3)
    run("vocoder", SENTENCE, [small_hifigan], tmp_path / "out", fps=None, chunk_frames=100)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_mel_of_every_preset(preset: str, tmp_path: Path) -> None:
    shape = mel(SENTENCE, preset, tmp_path / "mel.npy", dtype="float64")
    stored = np.load(tmp_path / "mel.npy")
    assert stored.shape == shape
    assert stored.dtype == np.float64
    assert shape[0] == PRESETS[preset].bands


def test_mel_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--preset: got 'hifigan', expected one of talking-head"):
        mel(SENTENCE, "hifigan", tmp_path / "mel.npy")
    with pytest.raises(ConfigError, match="dtype"):
        mel(SENTENCE, "hifigan-22k", tmp_path / "mel.npy", dtype="float16")
    mel(SENTENCE, "hifigan-22k", tmp_path / "mel.npy")
    with pytest.raises(TargetError, match=r"mel\.npy"):
        mel(SENTENCE, "hifigan-22k", tmp_path / "mel.npy")


def test_nothing_is_written_into_an_input(small_hifigan: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TargetError, match=r"got a path inside of the input .*hifigan, expected a path outside of it"
    ):
        run("vocoder", SENTENCE, [small_hifigan], small_hifigan / "out")
    recording = tmp_path / "speech.wav"
    recording.write_bytes(SENTENCE.read_bytes())
    with pytest.raises(TargetError, match="got a path inside of the input"):
        mel(recording, "hifigan-22k", recording, overwrite=True)
    assert recording.read_bytes() == SENTENCE.read_bytes()
