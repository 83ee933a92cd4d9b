"""A run of audio-encoder small enough for a test: the encoder has one size, the rest is tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_training.engine.trainer import TrainResult, train

TINY: dict[str, Any] = {
    "face": {"width": 1}, "batch_size": 2, "windows": 2, "spacing": 5, "learning_rate": 1e-3, "seed": 7,
    "log_every": 1, "checkpoint_every": 3, "validate_every": 6,
}  # fmt: skip


def fit_sync(data: Path, out: Path, **settings: Any) -> TrainResult:
    """Train the tiny run here."""
    arguments: dict[str, Any] = {"config": TINY, "progress": False} | settings
    return train("audio-encoder", data, out, **arguments)
