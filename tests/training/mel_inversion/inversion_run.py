"""Nets of mel inversion and Deep Griffin-Lim small enough to train in a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.training.vocoder.tiny_run import RATE

from edge_runtime.dsp.mel import PRESETS
from edge_training.engine.trainer import TrainResult, train

MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=RATE, n_fft=64, win_length=64, hop_length=16, n_mels=12, fmax=3000.0
)
LOOP: dict[str, Any] = {
    "batch_size": 2, "segment_frames": 24, "seed": 7, "log_every": 1, "checkpoint_every": 4,
    "validate_every": 4, "validation_clips": 2,
}  # fmt: skip
INVERSION: dict[str, Any] = LOOP | {
    "variant": "pinv-conv-res", "channels": [2, 3, 4], "mel": MEL.to_json(), "learning_rate": 0.01,
    "warm_up_steps": 2, "average": 0.9,
}  # fmt: skip
DEGLI: dict[str, Any] = LOOP | {
    "channels": 3, "kernel": [3, 3], "sample_rate": RATE, "n_fft": 64, "win_length": 64, "hop_length": 16,
    "padding": "reflect", "learning_rate": 1e-3, "batch_size": 4,
    "validation_seconds": 0.05, "validation_blocks": 2,
}  # fmt: skip


def fit(net: str, corpus: Path, out: Path, **settings: Any) -> TrainResult:
    """Train a tiny net here; `settings` replace the trainer's arguments or the configuration's entries."""
    tiny = {"mel-inversion": INVERSION, "degli": DEGLI}[net]
    arguments: dict[str, Any] = {"config": tiny, "progress": False} | settings
    return train(net, corpus, out, **arguments)
