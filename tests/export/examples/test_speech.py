"""The example signal: the same everywhere, in range, and with a mel like that of speech."""

from __future__ import annotations

import numpy as np
import pytest

from edge_export.examples.speech import noise, speech_like
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd


@pytest.mark.parametrize("rate", [8000, 11413, 16000, 22050])
def test_it_stays_in_range_and_fills_it(rate: int) -> None:
    audio = speech_like(rate, rate)
    assert audio.shape == (rate,)
    assert audio.dtype == np.float32
    assert 0.3 < np.abs(audio).max() < 0.7


def test_noise_is_uniform_and_reproducible() -> None:
    drawn = noise(20000)
    # mixed by hand for index 1: x = golden; x ^= x >> 30; x *= c; x ^= x >> 27, modulo 2^64
    state = 0x9E3779B97F4A7C15
    state ^= state >> 30
    state = state * 0xBF58476D1CE4E5B9 % 2**64
    state ^= state >> 27
    assert drawn[0] == (state >> 11) / 2**52 - 1
    assert np.abs(drawn).max() <= 1
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1 / np.sqrt(3), rel=0.02)


def test_its_mel_covers_silence_and_vowels() -> None:
    config = PRESETS["hifigan-22k"]
    mel = MelFrontEnd(config)(speech_like(2 * config.sample_rate, config.sample_rate))
    assert mel.min() < -10
    assert mel.max() > -1
    assert mel.std() > 2
