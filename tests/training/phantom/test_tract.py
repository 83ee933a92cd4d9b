"""The tube against closed forms and against the eigenvalues of Webster's equation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from edge_training.phantom import Speaker, Utterance, hold
from edge_training.phantom.movement import RATE
from edge_training.phantom.tract import (
    FORMANT_RATE,
    LIPS_FROM,
    PLACES,
    SECTIONS,
    SPEED_OF_SOUND,
    WALL_RESONANCE,
    bandwidths,
    resonances,
)


def _rigid(areas: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    found = resonances(areas[None], np.array([length]))[0]
    rigid: NDArray[np.float64] = np.sqrt(found**2 - WALL_RESONANCE**2)
    return rigid


@pytest.mark.parametrize(("area", "length"), [(3.0, 17.0), (1.0, 14.0), (8.0, 19.0)])
def test_a_uniform_tube_resonates_at_odd_quarters(area: float, length: float) -> None:
    effective = length + 0.8 * np.sqrt(area / np.pi)
    # the end correction is a tube too: only the highest resonances notice
    expected = (2 * np.arange(6) + 1) * SPEED_OF_SOUND / 4 / effective
    np.testing.assert_allclose(_rigid(np.full(SECTIONS, area), length), expected, rtol=1e-3)


def test_two_tubes_agree_with_their_transcendental_equation() -> None:
    """Back cavity A1, l1 and front cavity A2, l2: tan(k l1) tan(k l2) = A2 / A1 (Fant, 1960)."""
    back, front, half = 1.0, 7.0, 8.5
    areas = np.where(np.arange(SECTIONS) < SECTIONS // 2, back, front)
    end = 0.8 * np.sqrt(front / np.pi)
    for found in _rigid(areas, 2 * half)[:4]:
        k = 2 * np.pi * found / SPEED_OF_SOUND
        residual = np.sin(k * half) * np.sin(k * (half + end)) * back - front * np.cos(k * half) * np.cos(
            k * (half + end)
        )
        slope = 2 * np.pi / SPEED_OF_SOUND * 17.0 * front
        assert abs(residual) < slope * 4.0  # 4 Hz


@pytest.mark.parametrize("seed", range(5))
def test_random_tubes_agree_with_eigenvalues(seed: int) -> None:
    """Independent: symmetric finite differences of Webster's equation on a grid ten times as fine."""
    rng = np.random.default_rng(seed)
    areas = np.exp(np.convolve(rng.normal(0.7, 1.2, SECTIONS + 4), np.ones(5) / 5, mode="valid"))
    length, fine = 16.0, 10
    end = 0.8 * np.sqrt(areas[-1] / np.pi)
    step = length / SECTIONS / fine
    cells = np.concatenate([np.repeat(areas, fine), np.full(round(end / step), areas[-1])])
    between = 2 * cells[:-1] * cells[1:] / (cells[:-1] + cells[1:])
    left, right = np.concatenate([[0.0], between]), np.concatenate([between, [2 * cells[-1]]])
    values = eigh_tridiagonal(
        (left + right) / cells / step**2,
        -between / np.sqrt(cells[:-1] * cells[1:]) / step**2,
        eigvals_only=True, select="i", select_range=(0, 3),
    )  # fmt: skip
    expected = SPEED_OF_SOUND / 2 / np.pi * np.sqrt(values)
    np.testing.assert_allclose(_rigid(areas, length)[:4], expected, rtol=0.015)


def test_resonances_are_ordered_and_continuous(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        formants = utterance.tract.formants
        assert (np.diff(formants, axis=1) >= 0).all()
        assert np.isfinite(formants).all()
        assert np.abs(np.diff(formants, axis=0)).max() * FORMANT_RATE < 200e3  # Hz per second


def test_vowels_have_the_formants_of_the_table() -> None:
    """The values that the targets were fitted to, for 17 cm (docstring of `lexicon`)."""
    voice = replace(Speaker.sample(0), tract_length=17.0)
    table = {
        "a": (750, 1200, 2500), "i": (310, 2150, 2730), "u": (330, 1250, 2330),
        "e": (470, 1950, 2590), "o": (470, 820, 2470),
    }  # fmt: skip
    for vowel, expected in table.items():
        found = hold(voice, vowel, 0.8).tract.formants[int(0.7 * FORMANT_RATE), :3]
        np.testing.assert_allclose(found, expected, rtol=0.035)


def test_closed_lips_are_a_closed_tract() -> None:
    tract = hold(Speaker.sample(0), "a", 0.8).tract
    silent = tract.areas[10, PLACES > LIPS_FROM]
    assert (silent == 0.0).all()
    assert tract.constriction[10] == 0.0
    assert tract.constriction[int(0.7 * RATE)] > 0.3


def test_higher_resonances_are_broader() -> None:
    widths = bandwidths(np.array([600.0, 1500.0, 2500.0, 3500.0]))
    assert (np.diff(widths) > 0).all()
    assert 40 < widths[0] < 100
