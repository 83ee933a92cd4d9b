"""What ``edge-export run vocoder`` writes.

mel.npy               (n_mels, frames), natural logarithm of magnitudes: the net's input
NAME_generated.wav    the speech, 16 bits
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.vocoder.pipeline import Vocoder


def write_result(pipeline: Vocoder, folder: Path, source: Path) -> dict[str, Any]:
    """Run on an audio file or a mel and fill the folder; returns the entries for metadata.json."""
    mel, _ = pipeline.read_mel(source)
    with pack.naming(source):
        samples = pipeline.synthesize(mel)
    np.save(folder / "mel.npy", mel)
    write_wav(folder / f"{source.stem}_generated.wav", samples, pipeline.sample_rate)
    return {
        "executed_by": pipeline.net.detail,
        "sample_rate": pipeline.sample_rate,
        "samples": samples.size,
        "frames": mel.shape[1],
    }
