"""Which way up a spectrogram stands, by what only the low bands of a voice show.

The harmonics of a voice are evenly spaced lines below 1 kHz, 7 to 25 of our rows apart (82 to 290 Hz), and
lie too close to be seen above 3 kHz. Of the loud columns, the third of the rows at one edge is compared with
the third at the other: how far the strongest line of such a spacing stands above the mean of all spacings,
and how strong it is. Low voices have their lines closer together, in fewer rows: they often stay undecided.

Measured with these limits: of 384 pieces of read speech of a second or more, 381 are recognised and none
wrongly; of 852 pieces tuned to pitches of 0.45 to 1.5, 487 and none wrongly; of 240 pieces of noise from
white to 1/f^2.5 and of 52 landscapes none is.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Orientation = Literal["high-first", "low-first"]

EDGE = 85  # rows, of 256
NEAREST, FARTHEST = 7, 25  # rows from a harmonic to the next
CERTAIN_LINE = 6.5  # by which the line stands out more on one side than on the other: enough by itself
CLEAR_LINE = 5.0  # enough where it is the stronger one too …
CLEAR_STRENGTH = 0.4  # … by this much, log10
LEAST_LINE = 15.0  # by which the line stands out at the low edge itself: chance alone gives 8 to 13
FAINTEST = 0.5  # strength of a line that counts; smooth pictures have fainter ones
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
    if _leads(bottom, top):
        return "high-first"
    return "low-first" if _leads(top, bottom) else None


def _leads(low: tuple[float, float], high: tuple[float, float]) -> bool:
    """Whether one edge shows harmonics, and the other clearly less."""
    ahead = low[0] - high[0]
    stronger = float(np.log10(low[1] / high[1]))
    clear = ahead > CERTAIN_LINE or (ahead > CLEAR_LINE and stronger > CLEAR_STRENGTH)
    return clear and low[0] > LEAST_LINE and low[1] > FAINTEST


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
