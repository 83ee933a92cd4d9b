"""A run of mri-acoustic small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.training.mri_speech.mri_clips import write_clips

from edge_training.engine.trainer import TrainResult, train
from edge_training.mri_speech.preparation import Preparation, prepare

TINY: dict[str, Any] = {
    "image_size": 16, "backbone": "tiny", "rnn_hidden": 8, "dropout": 0.2,
    "batch_size": 4, "micro_batch": 2, "learning_rate": 1e-3, "seed": 7, "recompute": False,
    "log_every": 1, "checkpoint_every": 2, "validate_every": 2,
}  # fmt: skip


def prepare_clips(root: Path, **settings: Any) -> Path:
    """Five clips of 11 … 20 frames, prepared."""
    write_clips(root)
    preparation = Preparation(size=16, **settings)
    return prepare(root / "videos", root / "wavs", root / "data", preparation, workers=1).folder


def fit_mri(data: Path, out: Path, **settings: Any) -> TrainResult:
    """Train the tiny run here."""
    arguments: dict[str, Any] = {"config": TINY, "progress": False} | settings
    return train("mri-acoustic", data, out, **arguments)
