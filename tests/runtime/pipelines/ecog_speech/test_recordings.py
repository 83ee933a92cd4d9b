"""Files of subjects: written and read back, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.recorded_ecog import recorded

from edge_runtime.errors import InputError
from edge_runtime.pipelines.ecog_speech.recordings import (
    background,
    datasets,
    power_of,
    read_recording,
    write_recording,
)


def changed(path: Path, name: str, value: Any) -> Path:
    write_recording(path, recorded())
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    recording = recorded()
    write_recording(tmp_path / "S1.h5", recording)
    again = read_recording(tmp_path / "S1.h5")
    for name, array in datasets(recording).items():
        assert np.array_equal(array, datasets(again)[name]), name
    assert (again.name, again.labels, again.tasks, again.female) == (
        "S1",
        recording.labels,
        recording.tasks,
        True,
    )


def test_the_number_of_bins_tells_the_sex_where_nothing_else_does(tmp_path: Path) -> None:
    write_recording(tmp_path / "S1.h5", recorded())
    with h5py.File(tmp_path / "S1.h5", "r+") as file:
        del file.attrs["gender"]
    assert not read_recording(tmp_path / "S1.h5").female


def test_background_is_the_mean_before_the_words_in_db() -> None:
    recording = recorded()
    assert np.allclose(
        background(recording.spectrogram, recording.starts), power_of(recording.spectrogram[:1])[0]
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ecog_alldataset", None, "S1.h5: datasets: got no ecog_alldataset; there are"),
        ("noisesample_re_alldataset", None, "got no noisesample_re_alldataset"),
        ("wave_re_alldataset", np.zeros((10, 1)), "wave_re_alldataset: got 0.078125 frames, expected 900"),
        ("ecog_alldataset", np.zeros((900, 15)), "ecog: got 15 electrodes, expected a square"),
        ("noisesample_re_alldataset", np.zeros(9), "got 9 values, expected 128, one for each bin"),
        ("wave_re_spec_alldataset", np.full((900, 128), 20.0), r"values of 20 … 20, expected dB scaled"),
        ("end_ind_re_valid_alldataset", np.array([190, 410, 606, 9000]), r"trial 3: got frames 700 … 9000"),
        ("end_ind_re_valid_alldataset", np.array([190]), "got 1 offsets and 4 onsets"),
        ("label_alldataset", np.array([b"one"]), "label_alldataset: got 1 entries, expected 4"),
        ("ecog_alldataset", np.zeros(900), r"ecog_alldataset: got shape \(900,\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_recording(changed(tmp_path / "S1.h5", name, value))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match=r"text\.h5: file: got bytes that are not HDF5"):
        read_recording(tmp_path / "text.h5")
    with pytest.raises(InputError, match=r"absent\.h5: file: got no such file"):
        read_recording(tmp_path / "absent.h5")
