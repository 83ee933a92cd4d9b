"""A landscape drawn by rule, with the lights, edges and textures of a photograph: what the docs imprint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SKYLINE, SHORE = 0.42, 0.66  # where the mountains and the lake begin, parts of the height
SUN = 0.27, 0.22, 0.105  # column, row and radius, parts of the width and of the height


def landscape(height: int = 256, width: int = 1024, seed: int = 0) -> NDArray[np.float32]:
    """A grey picture (height, width) in 0 … 1: sun and clouds, two ranges of mountains, a lake, a lighthouse.

    >>> landscape(64, 96).shape
    (64, 96)
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = rows / height, columns / width
    picture = 0.62 + 0.3 * y / SKYLINE
    picture += 0.22 * (_smooth(random, height, width, 3) - 0.5) * (1 - y)  # clouds
    distance = np.hypot((x - SUN[0]) * width / height, y - SUN[1])
    picture = np.where(distance < SUN[2], 1.0, picture + 0.25 * np.exp(-6 * np.maximum(0, distance - SUN[2])))
    grain = _smooth(random, height, width, 24)
    for far, (level, rough) in enumerate(((0.5, 0.13), (0.24, 0.2))):
        crest = SKYLINE + 0.08 * far - rough * (_ridge(random, width) - 0.35)
        picture = np.where(y > crest, level + 0.16 * (grain - 0.5) + 0.12 * (y - crest), picture)
    picture = _with_lake(picture, grain, y)
    picture = _with_lighthouse(picture, x * width / height, y, width / height)
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _with_lake(
    picture: NDArray[np.float64], grain: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Below the shore the picture above it, upside down, darker and rippled."""
    height = len(picture)
    shore = int(SHORE * height)
    below = np.arange(height - shore)
    ripple = np.rint(2.5 * np.sin(below / 1.7 + below**1.2 / 6)).astype(int)
    result = picture.copy()
    for row, shift in zip(below, ripple, strict=True):
        source = max(0, shore - 1 - int(1.6 * row))
        result[shore + row] = 0.72 * np.roll(picture[source], shift) + 0.1 * grain[shore + row]
    result[shore : shore + 2] = 0.15
    return np.where(y < SHORE, picture, result)


def _with_lighthouse(
    picture: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], aspect: float
) -> NDArray[np.float64]:
    centre, foot, top = 0.8 * aspect, SHORE + 0.04, 0.2
    part = (y - top) / (foot - top)
    tower = (np.abs(x - centre) < 0.045 + 0.04 * part) & (y > top) & (y < foot)
    stripes = np.where(np.floor(part * 6) % 2 == 0, 0.96, 0.12)
    shaded = stripes * (1 - 0.9 * np.clip(x - centre, 0, 1))
    roof = (np.abs(x - centre) < 0.055) & (y > top - 0.06) & (y <= top)
    rock = (np.hypot((x - centre) / 2.6, y - foot - 0.02) < 0.09) & (y > foot - 0.03)
    return np.where(roof | rock, 0.05, np.where(tower, shaded, picture))


def _ridge(random: np.random.Generator, width: int) -> NDArray[np.float64]:
    """(width,) in 0 … 1: a line as rough as mountains are."""
    waves = np.arange(1, 200)
    phases = random.uniform(0, 2 * np.pi, waves.size)
    line = (waves**-1.15 * np.sin(2 * np.pi * np.outer(np.arange(width) / width, waves) * 1.5 + phases)).sum(
        1
    )
    return np.asarray((line - line.min()) / np.ptp(line))


def _smooth(random: np.random.Generator, height: int, width: int, scale: float) -> NDArray[np.float64]:
    """Noise (height, width) in 0 … 1 whose spectrum falls from ``scale`` waves a height on."""
    spectrum = np.fft.rfft2(random.standard_normal((height, width)))
    waves = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * height)
    values = np.fft.irfft2(spectrum / (1 + (waves / scale) ** 2), (height, width))
    return np.asarray((values - values.min()) / np.ptp(values))
