"""PESQ and STOI, and the reason where they cannot be had."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edge_export.demo import SENTENCE
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


def test_without_the_libraries_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    speech = read_audio(SENTENCE).samples
    assert judge(speech, speech, 16000) == {
        "pesq": "not computed: no module named pesq; pip install 'edge-export[quality]'",
        "stoi": "not computed: no module named pystoi; pip install 'edge-export[quality]'",
    }
