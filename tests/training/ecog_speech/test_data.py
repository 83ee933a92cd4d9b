"""Items, crops and splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.recorded_ecog import STARTS, recorded

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_training.ecog_speech.data import EcogData, EcogSource, Trial, crop_start, on_stage

SOURCE = EcogSource(Path("."), test_trials=1)


def data(source: EcogSource = SOURCE, *recordings: object) -> EcogData:
    return EcogData(source, recordings or [recorded()])  # type: ignore[arg-type]


def test_test_items_begin_32_frames_before_the_word() -> None:
    item = data().validation_item(0)
    recording, first = recorded(), STARTS[3] - 32
    assert np.array_equal(item["ecog"], recording.ecog[first - 16 : first + 128])
    assert np.array_equal(item["spectrogram"][0], recording.spectrogram[first : first + 128])
    assert np.array_equal(item["wave"][0], recording.wave[first * 128 : (first + 128) * 128])
    assert np.flatnonzero(item["on_stage"]).tolist() == list(range(32, 122))
    assert np.flatnonzero(item["on_stage_wider"]).tolist() == list(range(27, 127))
    assert (item["formants"].shape, item["pitch"].shape, item["gender"].tolist()) == (
        (6, 128),
        (1, 128),
        [1.0],
    )
    assert item["name"] == "S1-003-two"


def test_crops_begin_where_the_origin_has_them() -> None:
    trial = Trial(0, 0, 500, 570, "one")
    starts = {crop_start(trial, np.random.default_rng(seed), 900) for seed in range(600)}
    assert min(starts) == 500 - 64
    assert max(starts) == 500 + 570 - 500 - 64 - 1
    assert crop_start(Trial(0, 0, 20, 90, "one"), np.random.default_rng(0), 900) >= 16


def test_stage_is_clipped_to_the_item() -> None:
    assert on_stage(Trial(0, 0, 100, 400, "one"), 200).sum() == 128


def test_splits_keep_trials_apart() -> None:
    last = data()
    assert (len(last.names), last.validation_names) == (3, ("S1-003-two",))
    word = data(EcogSource(Path("."), split="word", word="one"))
    assert word.validation_names == ("S1-000-one", "S1-002-one")
    folds = [data(EcogSource(Path("."), split="folds", folds=2, fold=fold)) for fold in range(2)]
    kept = [set(fold.validation_names) for fold in folds]
    assert not kept[0] & kept[1]
    assert len(kept[0] | kept[1]) == 4
    for names in kept:
        assert {recorded().tasks[int(name.split("-")[1])] for name in names} == {"read", "hear"}


def test_shuffled_items_have_the_ecog_of_another_place() -> None:
    plain, shuffled = (
        data(EcogSource(Path("."), test_trials=1, shuffled=value)).item(0, np.random.default_rng(1))
        for value in (False, True)
    )
    assert np.array_equal(plain["spectrogram"], shuffled["spectrogram"])
    assert not np.array_equal(plain["ecog"], shuffled["ecog"])


def test_subjects_are_read_from_a_folder(tmp_path: Path) -> None:
    for name in ("A", "B", "C"):
        write_recording(tmp_path / f"{name}.h5", recorded(name))
    assert len(EcogData(EcogSource(tmp_path, test_trials=2)).names) == 6
    chosen = EcogData(EcogSource(tmp_path, subjects=("B",), test_trials=2))
    assert {name[0] for name in chosen.names} == {"B"}
    assert (chosen.electrodes, chosen.bins, chosen.female) == (16, 128, True)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (EcogSource(Path("."), test_trials=4), "test_trials: got 4, expected 1 … 3: S1 has 4"),
        (EcogSource(Path("."), split="folds", folds=5), "folds: got 5, expected 2 … 4: S1 has 4 trials"),
        (EcogSource(Path("."), split="folds", folds=2, fold=2), "fold: got 2, expected 0 … 1"),
        (
            EcogSource(Path("."), split="word", word="six"),
            "word: got 'six', expected one of S1's, as one, two",
        ),
    ],
)
def test_splits_that_leave_nothing_are_refused(source: EcogSource, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        data(source)


def test_subjects_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="B: got 25 electrodes, expected 16"):
        data(SOURCE, recorded(), recorded("B", electrodes=25))
    with pytest.raises(InputError, match=r"got no \.h5 files"):
        EcogData(EcogSource(tmp_path))
