"""Trials that a decoder's run held out; the tool's tests (`quality.ecog_speech`) go on from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorded_ecog import recorded

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_training.ecog_speech.analysis.held_out import held_out_trials


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording, and the record of a run that left the word "two" out."""
    folder = tmp_path_factory.mktemp("run")
    write_recording(folder / "S1.h5", recorded())
    record = {"config": {"split": "word", "word": "two", "seed": 5}, "clips": ["S1-000-one", "S1-002-one"]}
    (folder / "config.json").write_text(json.dumps(record))
    return folder


def test_the_runs_split_is_taken_and_told(run: Path) -> None:
    said: list[str] = []
    trials = held_out_trials(run / "checkpoints" / "best" / "net.safetensors", run / "S1.h5", said=said)
    assert trials.validation_names == ("S1-001-two", "S1-003-two")
    assert said == [f"held-out trials as in {run}: the word two"]


def test_weights_outside_of_a_run_have_the_default_or_what_is_asked_for(run: Path) -> None:
    said: list[str] = []
    trials = held_out_trials(run / "net.safetensors", run / "S1.h5", {"test_trials": 1}, said)
    assert trials.validation_names == ("S1-003-two",)
    (sentence,) = said
    assert "lies in no run that says which trials it was trained on" in sentence


def test_a_renamed_recording_is_told(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "S9.h5").write_bytes((run / "S1.h5").read_bytes())
    held_out_trials(run / "checkpoints" / "net.safetensors", tmp_path / "S9.h5", {"word": "one"}, said)
    assert said[0] == f"held-out trials by --set, none of them of the training of {run}: the word one"
    assert said[1].startswith("S9: by the file's name no subject of that training")


@pytest.mark.parametrize(
    "record", [{"config": {}, "clips": None}, {"config": 3}, {"config": {}, "clips": [1]}]
)
def test_another_config_json_is_no_run(run: Path, tmp_path: Path, record: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(record))
    weights = tmp_path / "best" / "net.safetensors"
    said: list[str] = []
    held_out_trials(weights, run / "S1.h5", {"test_trials": 1}, said)
    assert "lies in no run" in said[0]


def test_trials_that_it_knows_are_refused(run: Path) -> None:
    weights = run / "checkpoints" / "net.safetensors"
    with pytest.raises(
        ConfigError, match="held-out trials: got 2 of 2 that it was trained on, S1-000-one first"
    ):
        held_out_trials(weights, run / "S1.h5", {"word": "one"})
    with pytest.raises(ConfigError, match="--set: got shuffled, expected one of subjects"):
        held_out_trials(weights, run / "S1.h5", {"shuffled": True})
