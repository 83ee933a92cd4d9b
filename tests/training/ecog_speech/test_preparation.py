"""Raw recordings prepared: rates, baselines, bands, trials that are left out, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BackendError, InputError
from edge_runtime.pipelines.ecog_speech.subject_file import read_recording
from edge_training.ecog_speech.preparation import EcogPreparation, high_gamma, prepare_ecog, prepared

SECONDS = 6


def raw(**changes: Any) -> dict[str, Any]:
    """Envelopes at 512 Hz that are high while somebody speaks, at 1.5 … 2 and 3.5 … 4.2 s."""
    draw = np.random.default_rng(1)
    onsets, offsets = np.array([1.5, 3.5]), np.array([2.0, 4.2])
    time = np.arange(512 * SECONDS) / 512
    speech = np.asarray(((time[:, None] >= onsets) & (time[:, None] < offsets)).any(1), float)
    envelope = 1 + 0.1 * draw.standard_normal((len(time), 16)) + 2.0 * speech.reshape(-1, 1)
    return {
        "envelope": envelope, "audio": 0.1 * draw.standard_normal(22050 * SECONDS), "audio_rate": 22050,
        "onsets": onsets, "offsets": offsets, "labels": np.array(["one", "two"]),
    } | changes  # fmt: skip


def test_scores_stand_at_125_hz_and_at_most_5() -> None:
    made = prepared("S", raw(), EcogPreparation(praat=False))
    assert made.frames == 125 * SECONDS
    assert made.wave.shape == (16000 * SECONDS,)
    assert made.spectrogram.shape == (125 * SECONDS, 256)
    assert (made.starts.tolist(), made.ends.tolist()) == ([188, 438], [250, 525])
    loud, quiet = made.ecog[200:240].mean(), made.ecog[20:160].mean()
    assert loud - quiet > 1
    assert abs(float(made.ecog.mean())) < 0.05
    assert made.pitch is None


def test_files_come_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "raw.npz", **raw(tasks=np.array(["read", "hear"])))
    prepare_ecog(tmp_path / "raw.npz", tmp_path / "S.h5", EcogPreparation(bad=(3,), female=False))
    again = read_recording(tmp_path / "S.h5")
    assert (again.labels, again.tasks, again.female) == (("one", "two"), ("read", "hear"), False)
    assert not again.ecog[:, 3].any()


def test_the_envelope_of_high_gamma_follows_its_amplitude() -> None:
    time = np.arange(2000 * 2) / 2000
    level = 1 + 0.5 * np.sin(2 * np.pi * 2 * time)
    broadband = level * np.sin(2 * np.pi * 100 * time) + 5 * np.sin(2 * np.pi * 10 * time)
    envelope = high_gamma(broadband[:, None], 2000)
    assert envelope.shape == (1024, 1)
    expected = 1 + 0.5 * np.sin(2 * np.pi * 2 * np.arange(1024) / 512)
    assert np.abs(envelope[100:-100, 0] - expected[100:-100]).max() < 0.05
    with pytest.raises(InputError, match="ecog_rate: got 256 Hz, expected more than 300 Hz"):
        high_gamma(broadband[:, None], 256)


def test_bad_trials_are_left_out() -> None:
    assert prepared("S", raw(events=np.array([0, 2])), EcogPreparation(praat=False)).labels == ("one",)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"offsets": np.array([2.0, 9.0])},
            r"offsets: got a response that ends at 9\.00 s, expected at most 6\.00",
        ),
        ({"offsets": np.array([2.0])}, "offsets: got 1, expected 2, one for each onset"),
        ({"ecog_rate": 1000}, "ecog_rate: got 1000 Hz, expected 512 Hz of an envelope"),
        ({"envelope": np.full((512 * SECONDS, 16), np.nan)}, "envelope: got NaN in electrodes 0,1,2"),
        ({"onsets": np.array([2.5, 3.5])}, "onsets: got a response that ends before it begins"),
    ],
)
def test_what_disagrees_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepared("S", raw(**changes), EcogPreparation(praat=False))


def test_files_that_lack_something_are_refused(tmp_path: Path) -> None:
    entries = raw()
    del entries["labels"], entries["envelope"]
    np.savez(tmp_path / "raw.npz", **entries)
    with pytest.raises(InputError, match=r"raw\.npz: got no labels, envelope; there are audio, audio_rate"):
        prepare_ecog(tmp_path / "raw.npz", tmp_path / "S.h5", EcogPreparation())
    assert not (tmp_path / "S.h5").exists()
    (tmp_path / "raw.edf").write_bytes(b"0")
    with pytest.raises((BackendError, InputError), match=r"mne|edf"):
        prepare_ecog(tmp_path / "raw.edf", tmp_path / "S.h5", EcogPreparation())
    with pytest.raises(InputError, match="got no such file"):
        prepare_ecog(tmp_path / "none.npz", tmp_path / "S.h5", EcogPreparation())
