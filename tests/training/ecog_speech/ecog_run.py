"""Tiny nets and data for trainings of a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.recorded_ecog import recorded

from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_training.engine.trainer import TrainResult, train

ENCODER: dict[str, Any] = {
    "bins": 128, "harmonics": 4, "filter_samples": 8, "steps": 2, "batch_size": 2, "test_trials": 1,
    "validate_every": 2, "checkpoint_every": 2, "log_every": 1, "optimizer": "adamw", "learning_rate": 1e-3,
}  # fmt: skip
DECODER: dict[str, Any] = {
    "family": "lstm", "electrodes": 16, "layers": 1, "units": 6, "classes": 5, "steps": 2, "batch_size": 2,
    "test_trials": 1, "validate_every": 2, "checkpoint_every": 2, "log_every": 1, "learning_rate": 1e-3,
}  # fmt: skip


def write_subject(folder: Path) -> Path:
    """A folder with one subject of four trials."""
    folder.mkdir()
    write_recording(folder / "S1.h5", recorded())
    return folder


def train_pair(folder: Path, data: Path, **settings: Any) -> TrainResult:
    return train("speech-encoder", data, folder, config=ENCODER | settings, progress=False, devices=1)


def train_decoder(folder: Path, data: Path, pair: Path, **settings: Any) -> TrainResult:
    config = DECODER | {"teacher": str(pair)} | settings
    return train("ecog-decoder", data, folder, config=config, progress=False, devices=1)
