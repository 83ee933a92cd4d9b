"""Pitch, formants and intensity by Praat, at 125 Hz, where praat-parselmouth is installed.

Formants: Burg, windows of 25 ms, seven of a woman's below 8 kHz, eight of a man's: as many as Praat's
customary five below 5.5 and 5 kHz come to. The first six are kept and made ascending: one that does not
exceed its predecessor, or is not known, is set 1000 Hz above it.

neural_speech_decoding asks for six, and follows each through a voiced run by the nearest value of the frame
before. Two that find the same value are then set 1000 Hz apart, the next frame follows the wrong one, and the
error stays: on the synthetic speakers, whose formants are known, F2 and those above come out 700 … 2700 Hz
too high, where single frames are within 20 … 70 Hz (F1 … F4, medians).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE, FRAME_RATE = 16000, 125  # Hz
FORMANTS = 6
FEMALE_POLES, MALE_POLES = 7, 8  # pairs of poles that Burg's method fits below 8 kHz
APART = 1000.0  # Hz
WINDOW = 0.025  # s

Floats = NDArray[np.float32]


def labels_of(wave: Floats, frames: int, *, female: bool, wanted: bool = True) -> dict[str, Any]:
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
        time_step=step,
        max_number_of_formants=FEMALE_POLES if female else MALE_POLES,
        maximum_formant=RATE / 2,
        window_length=WINDOW,
    )
    values = [[burg.get_value_at_time(n, time) for n in range(1, FORMANTS + 1)] for time in times]
    intensity = sound.to_intensity(time_step=step)
    decibels = np.array([intensity.get_value(time) for time in times])
    voiced = np.isfinite(hertz)
    return {
        "pitch": np.where(voiced, hertz, 0).astype(np.float32),
        "formants": np.array([ascending(row) for row in values], np.float32),
        "intensity": np.nan_to_num(decibels).astype(np.float32),
    }


def ascending(row: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (6,) made ascending: 1000 Hz above the one before where they were not, or are unknown."""
    result = np.array(row, np.float64)
    previous = 0.0
    for index, value in enumerate(result):
        if not np.isfinite(value) or value <= previous:
            result[index] = previous + APART
        previous = result[index]
    return result
