"""Figures of a vocoder: what they say of known signals, and Fast Griffin-Lim's alignment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.training.vocoder.tiny_run import fit

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import write_wav
from edge_training.vocoder.quality import Quality, compare, fast_griffin_lim, judge, pesq_and_stoi, table

MEL = PRESETS["hifigan-22k"]


def speechlike(seconds: float = 1.5) -> NDArray[np.float32]:
    """Harmonics of 120 Hz under a syllabic envelope."""
    t = np.arange(int(MEL.sample_rate * seconds)) / MEL.sample_rate
    tone = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
    return (0.2 * tone * (0.1 + np.sin(2 * np.pi * 3 * t) ** 2)).astype(np.float32)


def test_the_recording_itself_is_perfect() -> None:
    pytest.importorskip("pesq", reason="judging needs pesq")
    pytest.importorskip("pystoi", reason="judging needs pystoi")
    recording = speechlike()
    figures = judge(recording, recording, MEL)
    assert figures["mel"] == 0.0
    assert figures["stoi"] == pytest.approx(1.0, abs=1e-6)
    assert figures["pesq"] > 4.6
    noisy = recording + 0.1 * np.random.default_rng(0).standard_normal(recording.size).astype(np.float32)
    worse = judge(recording, noisy, MEL)
    assert worse["mel"] > 0.5
    assert worse["pesq"] < 3
    shifted = judge(recording, np.concatenate([np.zeros(128, np.float32), recording]), MEL)
    assert shifted["stoi"] < 0.99  # a lag counts: these nets keep the place of every sample


def test_fast_griffin_lim_comes_near_the_mel() -> None:
    recording = speechlike(0.7)
    mel = MelFrontEnd(MEL)(recording)
    made = fast_griffin_lim(MEL)(mel)
    assert made.shape == (mel.shape[1] * MEL.hop_length,)
    assert np.abs(MelFrontEnd(MEL)(made) - mel).mean() < 0.5


def test_comparison_of_a_trained_net(corpus: Path, tmp_path: Path) -> None:
    for library in ("pesq", "pystoi"):
        pytest.importorskip(library, reason="judging needs it")
    weights = fit(corpus, tmp_path / "run", steps=1).weights
    t = np.arange(8000 * 2) / 8000
    wave = 0.5 * np.sin(2 * np.pi * 300 * t) * (0.1 + np.sin(2 * np.pi * 3 * t) ** 2)
    write_wav(tmp_path / "clip.wav", wave.astype(np.float32), 8000)
    qualities = compare(weights, [tmp_path / "clip.wav"], tmp_path / "made")
    assert [quality.name for quality in qualities] == ["hifigan", "fast-griffin-lim"]
    assert (tmp_path / "made" / "clip_hifigan.wav").is_file()
    assert all(np.isfinite(list(quality.mean.values())).all() for quality in qualities)
    assert table(qualities).count("\n") == 4
    write_wav(tmp_path / "other.wav", wave.astype(np.float32), 16000)
    with pytest.raises(InputError, match="got 16000 Hz, expected 8000 Hz"):
        compare(weights, [tmp_path / "other.wav"])
    (weights.parent / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"got no config.json"):
        compare(weights, [tmp_path / "clip.wav"])


def test_no_figure_is_said_and_left_out_of_the_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    click = np.ones(900, np.float32)
    assert np.isnan(pesq_and_stoi(click, click, 16000)["pesq"])
    assert "pesq not computed: pesq says «Buffer needs" in capsys.readouterr().err
    figures = {"mel": 0.5, "pesq": float("nan"), "stoi": float("nan")}
    quality = Quality("a", {"c0": figures, "c1": figures | {"pesq": 3.0}}, 1.0)
    assert quality.mean["pesq"] == 3.0
    assert quality.to_json()["mean"] == {"mel": 0.5, "pesq": 3.0, "stoi": None}
