"""Which way up a spectrogram stands, by what only the low bands of a voice show.

The harmonics of a voice are evenly spaced lines below 1 kHz, 7 to 25 of our rows apart (82 to 290 Hz), and
lie too close to be seen above 3 kHz. Of the loud columns, the third of the rows at one edge is compared with
the third at the other: how far the strongest line of such a spacing stands above the mean of all spacings,
and how strong it is. Measured on windows of at least one second of read speech, the edge with the low bands
is ahead by at least 4.0, and stronger by a factor of at least 10^0.47; on noise from white to 1/f², both
edges are within 3.6 and a factor of 10^0.31 of each other.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Orientation = Literal["high-first", "low-first"]

EDGE = 85  # rows, of 256
NEAREST, FARTHEST = 7, 25  # rows from a harmonic to the next
CLEAR_LINE = 3.8  # by which the line must stand out more on one side than on the other
CLEAR_STRENGTH = 0.4  # and log10 of the ratio of their strengths
FEWEST = 40  # columns
_TURNS = 256  # points of the transform along the rows


def recognise(picture: NDArray[Any]) -> Orientation | None:
    """What row 0 of a picture (256, T) of 0 … 1 is, where that is clear; else None."""
    values = picture.astype(np.float64)
    level = values.mean(axis=0)
    loud = values[:, level > level.mean()]
    if loud.shape[1] < FEWEST:
        return None
    top, bottom = _line(loud[:EDGE]), _line(loud[-EDGE:])
    ahead = bottom[0] - top[0]
    stronger = float(np.log10(bottom[1] / top[1]))
    if ahead > CLEAR_LINE and stronger > CLEAR_STRENGTH:
        return "high-first"
    if ahead < -CLEAR_LINE and stronger < -CLEAR_STRENGTH:
        return "low-first"
    return None


def _line(rows: NDArray[np.float64]) -> tuple[float, float]:
    """Of rows (EDGE, T): by how much the strongest line stands out, and its strength; medians over T."""
    padded = np.pad(rows, ((FARTHEST // 2 + 1, FARTHEST // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0)
    means = (sums[FARTHEST:] - sums[:-FARTHEST]) / FARTHEST
    window = np.hanning(len(rows))[:, None]
    power = np.abs(np.fft.rfft((rows - means) * window, _TURNS, axis=0)) ** 2
    strongest = power[round(_TURNS / FARTHEST) : round(_TURNS / NEAREST) + 1].max(axis=0)
    outstanding = strongest / (power.mean(axis=0) + 1e-6)
    return float(np.median(outstanding)), float(np.median(strongest)) + 1e-9
