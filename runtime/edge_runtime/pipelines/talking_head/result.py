"""What ``edge-export run talking-head`` writes: the mel and the features of a recording.

mel_spectrogram.npy           (80, T), 80 frames per second
audio_features_raw.npy        (n, 512), a row per video frame
audio_features_padded.npy     (n + 2, 512), first and last row repeated once
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.pipelines.talking_head.pipeline import TalkingHead


def write_result(pipeline: TalkingHead, folder: Path, source: Path) -> dict[str, Any]:
    """Run the pipeline on an audio file and fill the folder; returns the entries for metadata.json."""
    result = pipeline.process_file(source)
    assert result.mel is not None  # only features from elsewhere come without one
    assert pipeline.net is not None
    np.save(folder / "mel_spectrogram.npy", result.mel)
    np.save(folder / "audio_features_raw.npy", result.features)
    np.save(folder / "audio_features_padded.npy", result.padded)
    return {
        "executed_by": pipeline.net.detail,
        "mode": result.mode,
        "fps": result.fps,
        "windows": result.counting,
        "n_frames": result.n_frames,
    }
