"""Pitch, formants and intensity by Praat, at 125 Hz, where praat-parselmouth is installed.

Formants: Burg, six of them below 8 kHz, windows of 25 ms. They are then made ascending (one that does not
exceed its predecessor is set 1000 Hz above it), tracked through each voiced run by the nearest value of the
frame before, and made ascending again.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE, FRAME_RATE = 16000, 125  # Hz
FORMANTS = 6
APART = 1000.0  # Hz
WINDOW = 0.025  # s

Floats = NDArray[np.float32]


def labels_of(wave: Floats, frames: int, *, wanted: bool = True) -> dict[str, Any]:
    """`pitch` (frames,) Hz, `formants` (frames, 6) Hz, `intensity` (frames,) dB; {} without parselmouth."""
    if not wanted:
        return {}
    try:
        parselmouth: Any = importlib.import_module("parselmouth")
    except ImportError:
        return {}
    sound = parselmouth.Sound(np.asarray(wave, np.float64), RATE)
    step = 1 / FRAME_RATE
    times = (np.arange(frames) + 0.5) * step
    pitch = sound.to_pitch(time_step=step)
    hertz = np.array([pitch.get_value_at_time(time) for time in times])
    burg = sound.to_formant_burg(
        time_step=step, max_number_of_formants=FORMANTS, maximum_formant=RATE / 2, window_length=WINDOW
    )
    values = [[burg.get_value_at_time(n, time) for n in range(1, FORMANTS + 1)] for time in times]
    intensity = sound.to_intensity(time_step=step)
    decibels = np.array([intensity.get_value(time) for time in times])
    voiced = np.isfinite(hertz)
    return {
        "pitch": np.where(voiced, hertz, 0).astype(np.float32),
        "formants": tracked(np.array(values), voiced).astype(np.float32),
        "intensity": np.nan_to_num(decibels).astype(np.float32),
    }


def tracked(formants: NDArray[np.float64], voiced: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(frames, 6) Hz, ascending in every frame, each near its value of the frame before in voiced runs."""
    rows = np.array([ascending(row) for row in formants])
    for frame in range(1, len(rows)):
        if voiced[frame] and voiced[frame - 1]:
            before, now = rows[frame - 1], rows[frame]
            nearest = np.abs(now[None] - before[:, None]).argmin(1)
            rows[frame] = ascending(now[nearest])
    return rows


def ascending(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (6,) made ascending: 1000 Hz above the one before where they were not, or are unknown."""
    result = np.array(row, np.float64)
    previous = 0.0
    for index, value in enumerate(result):
        if not np.isfinite(value) or value <= previous:
            result[index] = previous + APART
        previous = result[index]
    return result
