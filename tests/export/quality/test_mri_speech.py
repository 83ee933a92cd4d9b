"""End-to-end figures of rtMRI to speech: what is compared with what, and refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_export.examples.speech import speech_like
from edge_export.quality.mri_speech import compare, main
from edge_training.vocoder.istft_vocoder import rtmri_mel

MEL = rtmri_mel()


def pipeline() -> Any:
    """What `compare` asks of one: a rate and a front end."""
    return SimpleNamespace(sample_rate=MEL.sample_rate, vocoder=SimpleNamespace(front_end=MEL))


def test_the_recording_itself_is_perfect_and_noise_is_not() -> None:
    pytest.importorskip("pystoi")
    recording = speech_like(3 * MEL.sample_rate, MEL.sample_rate)
    same = compare(recording, recording.copy(), pipeline())
    assert same["stoi"] == pytest.approx(1.0, abs=1e-3)
    assert same["correlation"] == pytest.approx(1.0)
    assert same["bands"] == pytest.approx(1.0)
    noise = np.random.default_rng(0).standard_normal(recording.size + 99).astype(np.float32) * 0.1
    other = compare(recording, noise, pipeline())
    assert other["stoi"] < 0.4
    assert abs(other["bands"]) < 0.3


def test_a_missing_bundle_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"--{name}={tmp_path / name}" for name in ("data", "videos", "acoustic", "vocoder")]
    assert main(options) == 2
    assert "acoustic: got no such folder" in capsys.readouterr().err
