"""What a reference pack holds, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.media.audio import Audio
from edge_runtime.pipelines.pack_files import AUDIO, write_audio, write_json


@pytest.mark.parametrize(
    ("samples", "encoding"),
    [([0.5, -1.0], 1), ([0.5, 1.0], 3), ([1e-9], 3), ([3e38, -3e38], 3)],  # 1 PCM, 3 float
)
def test_audio_is_stored_without_loss(tmp_path: Path, samples: list[float], encoding: int) -> None:
    write_audio(tmp_path / AUDIO, Audio(np.array(samples, np.float32), 16000))
    assert (tmp_path / AUDIO).read_bytes()[20] == encoding


def test_names_that_are_no_text_are_written_and_read_back(tmp_path: Path) -> None:
    content = {"source": "caf\udce9.wav", "é": "ʃ"}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == content
