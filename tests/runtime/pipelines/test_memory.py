"""Memory of pipelines from one minute to four: it grows with audio, mel and output alone.

Mel inversion and mri-speech have tests of their own (test_result, test_pipeline).
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests import small_bundles

from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines.talking_head import result as talking_head
from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
from edge_runtime.pipelines.vocoder import result as vocoder
from edge_runtime.pipelines.vocoder.pipeline import Vocoder


def grown(rate: int, folder: Path, write: Callable[[Path, Path], Any]) -> tuple[float, float]:
    """MiB at the peak with four minutes of sound more than with one; MiB of those three minutes of sound."""
    peaks = []
    for minutes in (1, 4):
        write_wav(folder / "long.wav", 0.5 * np.sin(np.arange(minutes * 60 * rate) * 0.1), rate)
        out = folder / f"out-{minutes}"
        out.mkdir()
        tracemalloc.start()
        write(out, folder / "long.wav")
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    return peaks[1] - peaks[0], 3 * 60 * rate * 4 / 2**20


def test_vocoder(tmp_path: Path) -> None:
    pipeline = Vocoder(small_bundles.write_vocoder(tmp_path / "bundle"), threads=1)
    more, audio = grown(8000, tmp_path, lambda out, wav: vocoder.write_result(pipeline, out, wav))
    mel = audio * 5 / 4  # bands and hop
    assert more < 2 * audio + mel + 2, (more, audio)  # the recording and what is made


def test_talking_head(tmp_path: Path) -> None:
    pipeline = TalkingHead(small_bundles.write_encoder(tmp_path / "bundle"), threads=1)
    more, audio = grown(16000, tmp_path, lambda out, wav: talking_head.write_result(pipeline, out, wav))
    features = 3 * 60 * 25 * 512 * 4 / 2**20
    mel = audio * 80 / 200
    assert more < audio + mel + 2 * features + 2, (more, audio)  # as they are, and with their ends repeated
