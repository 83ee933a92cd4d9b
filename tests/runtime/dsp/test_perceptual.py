"""PESQ and STOI, and the reason where they cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_export.assets import SENTENCE
from edge_runtime.dsp.perceptual import judge
from edge_runtime.media.audio import read_audio


def test_noise_is_heard() -> None:
    speech = read_audio(SENTENCE, 22050).samples
    noise = 0.1 * np.random.default_rng(0).standard_normal(speech.size).astype(np.float32)
    same, worse = judge(speech, speech, 22050), judge(speech, speech + noise, 22050)
    assert same["pesq"] == pytest.approx(4.64, abs=0.01)
    assert same["stoi"] == pytest.approx(1, abs=1e-3)
    assert isinstance(worse["pesq"], float)
    assert isinstance(worse["stoi"], float)
    assert worse["pesq"] < 2
    assert worse["stoi"] < 0.95


def test_what_cannot_be_judged_has_a_reason() -> None:
    click = np.ones(900, np.float32)
    assert judge(0 * click, click, 16000)["stoi"] == "not computed: one of the signals is silence"
    short = judge(click, click, 16000)
    assert short["pesq"] == "not computed: pesq says «Buffer needs to be at least 1/4 of a second long»"
    assert str(short["stoi"]).startswith("not computed: stoi says «Not enough STFT frames")


def test_without_the_libraries_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pesq", "pystoi"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    speech = read_audio(SENTENCE).samples
    assert judge(speech, speech, 16000) == {
        "pesq": "not computed: no module named pesq; pip install 'edge-export[quality]'",
        "stoi": "not computed: no module named pystoi; pip install 'edge-export[quality]'",
    }


def bursts(count: int, seconds: float) -> NDArray[np.float32]:
    """Tones with pauses, which PESQ takes for utterances."""
    samples = (1e-4 * np.random.default_rng(0).standard_normal(int(seconds * 16000))).astype(np.float32)
    step = len(samples) // count
    tone = 0.3 * np.sin(np.arange(step // 2) * 0.15) * np.hanning(step // 2)
    for index in range(count):
        samples[index * step : index * step + len(tone)] += tone.astype(np.float32)
    return samples


def test_sounds_that_crash_pesq_are_judged_in_pieces() -> None:
    """60 bursts in 36 s write beyond the room that PESQ has for 50 utterances."""
    sounds = bursts(60, 36)
    found = judge(sounds, sounds, 16000)
    assert found["pesq"] == pytest.approx(4.64, abs=0.01)
    assert found["pieces"] == "pesq of 3, stoi of 3, of 3 in all"


def test_a_crash_of_pesq_costs_its_figure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.dsp.perceptual.LONGEST_PIECE", 100.0)
    sounds = bursts(60, 36)
    found = judge(sounds, sounds, 16000)
    assert str(found["pesq"]).startswith("not computed: the process of pesq died (SIG")
    assert isinstance(found["stoi"], float)
    assert "pieces" not in found


def test_pauses_have_no_figure_and_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three pieces the one in the middle is silence, or noise that nobody hears beside the speech."""
    monkeypatch.setattr("edge_runtime.dsp.perceptual.LONGEST_PIECE", 3.0)
    speech = np.resize(read_audio(SENTENCE, 16000).samples, 3 * 16000)
    made = speech + 0.01 * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    alone = judge(speech, made, 16000)
    for pause in (0 * speech, 1e-3 * speech[::-1]):
        found = judge(np.concatenate([speech, pause, speech]), np.concatenate([made, pause, made]), 16000)
        assert found["pesq"] == pytest.approx(alone["pesq"])
        assert found["stoi"] == pytest.approx(alone["stoi"])
        assert found["pieces"] == "pesq of 2, stoi of 2, of 3 in all"
