"""Files of subjects: written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.recorded_ecog import recorded

from edge_runtime.pipelines.ecog_speech.recordings import (
    background,
    datasets,
    power_of,
    write_recording,
)
from edge_runtime.pipelines.ecog_speech.subject_file import read_recording


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


def test_background_is_the_mean_before_the_words_in_db() -> None:
    recording = recorded()
    assert np.allclose(
        background(recording.spectrogram, recording.starts), power_of(recording.spectrogram[:1])[0]
    )
