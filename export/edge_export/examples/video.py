"""A closed-form video that looks like MRI of a vocal tract, for reference cases and random weights.

A bright head on dark ground, with a dark airway whose shape a bright tongue changes, lips that open and close
at the left, and the noise of a scanner: no two pictures are equal, as in real input. The noise comes from the
generator of `edge_export.examples.speech`, so the pictures are the same with every version of numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_export.examples.speech import noise

RATE = 11413 / 420  # pictures per second
GRAIN = 0.03  # of full scale
SOFTNESS = 0.02  # of the picture's side, the width of an edge


def tract_like(frames: int, size: int) -> NDArray[np.float32]:
    """Pictures (frames, size, size) in 0 … 1."""
    y, x = (np.arange(size) + 0.5)[:, None] / size, (np.arange(size) + 0.5)[None, :] / size
    time = (np.arange(frames) / RATE)[:, None, None]
    head = _disc(x, y, 0.52, 0.5, 0.42, 0.46)
    airway = _disc(x, y, 0.38, 0.52, 0.24, 0.2)
    back, up = 0.06 * np.sin(2 * np.pi * 2.3 * time), 0.05 * np.sin(2 * np.pi * 3.1 * time + 1)
    tongue = _disc(x, y, 0.38 + back, 0.58 + up, 0.17, 0.14)
    opening = 0.02 + 0.03 * np.sin(2 * np.pi * 2.7 * time) ** 2
    lips = _disc(x, y, 0.12, 0.48, 0.06, opening)
    light = 0.75 * head * (1 - 0.9 * airway) * (1 - 0.9 * lips)
    light = light + 0.6 * tongue * (1 - light)
    grain = noise(frames * size * size).reshape(frames, size, size)
    return np.clip(light + GRAIN * grain, 0.0, 1.0).astype(np.float32)


def _disc(x: NDArray[np.float64], y: NDArray[np.float64], *ellipse: object) -> NDArray[np.float64]:
    """1 inside an ellipse (middle x, y; half axes x, y), 0 outside, a soft edge between."""
    middle_x, middle_y, half_x, half_y = (np.asarray(number) for number in ellipse)
    radius = np.hypot((x - middle_x) / half_x, (y - middle_y) / half_y)
    softness = SOFTNESS / np.minimum(half_x, half_y)
    return np.asarray(1.0 / (1.0 + np.exp(np.clip((radius - 1.0) / softness, -60, 60))))
