"""Correlations of spectrograms."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.pipelines.ecog_speech.measures import (
    centred_pcc,
    correlation,
    mel_cepstral_distortion,
    pcc,
    stoi,
    stoi_plus,
)

DRAW = np.random.default_rng(1)
SLOPE = np.linspace(1, -1, 32)


def test_correlation_ignores_scale_and_is_zero_for_constants() -> None:
    x = DRAW.standard_normal((9, 32))
    assert correlation(3 * x + 1, x) == pytest.approx(1)
    assert correlation(x, -x) == pytest.approx(-1)
    assert correlation(np.ones_like(x), x) == 0


def test_the_average_spectrum_scores_until_it_is_taken_away() -> None:
    true = [SLOPE + 0.1 * DRAW.standard_normal((200, 32)) for _ in range(3)]
    made = [SLOPE + 0.1 * DRAW.standard_normal((200, 32)) for _ in range(3)]
    assert pcc(made, true) > 0.9
    assert abs(centred_pcc(made, true, SLOPE)) < 0.05


def test_stoi_is_pystois_and_plus_is_not_clipped() -> None:
    from pystoi import stoi as theirs

    time = np.arange(16000) / 16000
    clean = np.sin(2 * np.pi * 400 * time) * (1 + np.sin(2 * np.pi * 3 * time)) + 0.05 * DRAW.standard_normal(
        16000
    )
    noisy = clean + 0.7 * DRAW.standard_normal(16000)
    assert stoi(noisy, clean) == pytest.approx(float(theirs(clean, noisy, 16000)), abs=2e-3)
    assert stoi_plus(clean, clean) == pytest.approx(1, abs=1e-9)
    assert stoi_plus(noisy, clean) < 1
    assert np.isnan(stoi_plus(noisy[:2000], clean[:2000]))


def test_distortion_ignores_the_level_and_is_its_formula() -> None:
    power = DRAW.random((5, 256)) + 0.1
    assert mel_cepstral_distortion(power, 10 * power) == pytest.approx(0, abs=1e-6)
    # a wave of 3 dB over the mel axis is 3 / √2 dB apart on average
    place = 2595 * np.log10(1 + np.linspace(0, 8000, 256) / 700)
    wave = 10 ** (0.3 * np.cos(np.pi * 4 * place / place[-1]))
    assert mel_cepstral_distortion(power * wave, power) == pytest.approx(3 / np.sqrt(2), rel=0.15)
