"""A closed-form signal with the mel statistics of speech, for reference cases and random weights.

A glottal-like harmonic series (falling 6 dB an octave, shaped by three moving formants) in syllables of a
quarter of a second, some of them breathy, with silence between: a mel of it covers the range from the floor
to loud vowels, as real input does. The noise comes from a linear congruential generator, so the samples are
the same with every version of numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SYLLABLE = 0.25  # s
FORMANTS = ((650.0, 180.0), (1400.0, 500.0), (2600.0, 300.0))  # Hz: middle, how far it moves
WIDTH = 120.0  # Hz, half width of a formant
VOICED_PEAK = 0.5  # full scale


def speech_like(samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Audio (samples,) within ±1 at `sample_rate` Hz.

    >>> speech_like(16000, 16000).shape
    (16000,)
    """
    time = np.arange(samples) / sample_rate
    pitch = 120.0 + 25.0 * np.sin(2 * np.pi * 0.7 * time)  # Hz
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voiced = np.zeros(samples)
    for harmonic in range(1, int(0.45 * sample_rate / pitch.max(initial=1.0)) + 1):
        frequency = harmonic * pitch
        voiced += np.sin(harmonic * phase) * _resonance(frequency, time) / harmonic
    voiced *= VOICED_PEAK / max(np.abs(voiced).max(initial=0.0), 1e-9)
    syllable = np.floor(time / SYLLABLE).astype(int)
    within = time / SYLLABLE - syllable
    envelope = np.sin(np.pi * np.minimum(within / 0.8, 1.0)) ** 2  # a fifth of each syllable is silent
    breath = np.where(syllable % 3 == 2, 0.1, 0.003)
    voicing = np.where(syllable % 3 == 2, 0.2, 1.0)
    return np.asarray(envelope * (voicing * voiced + breath * noise(samples)), np.float32)


def _resonance(frequency: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.float64]:
    gain = np.full_like(time, 0.02)
    for number, (middle, reach) in enumerate(FORMANTS):
        centre = middle + reach * np.sin(2 * np.pi * (1.1 + 0.6 * number) * time)
        gain += 1.0 / (1.0 + ((frequency - centre) / WIDTH) ** 2)
    return gain


def noise(samples: int) -> NDArray[np.float64]:
    """(samples,) uniform in ±1: the middle bits of a 64-bit linear congruential generator, in closed form."""
    index = np.arange(1, samples + 1, dtype=np.uint64)
    state = index * np.uint64(0x9E3779B97F4A7C15)  # wraps: a Weyl sequence, then mixed
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0
