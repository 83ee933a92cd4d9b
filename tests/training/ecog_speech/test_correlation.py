"""Correlations of spectrograms."""

from __future__ import annotations

import numpy as np
import pytest

from edge_training.ecog_speech.correlation import centred_pcc, correlation, pcc

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
