"""A picture pressed into a spectrogram: the baseline that joint denoising is compared with.

    imprinted = spectrogram · (1 − strength · (1 − grey))

Both are pictures of 0 … 1. Where the picture is white the sound stays, where it is black a part of the
spectrogram's brightness (half by default) is taken away; where there is no sound, there is no picture either.
Source: the baseline «imprint» of Chen and others, Images that Sound, 2024.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError

STRENGTH = 0.5


def imprint(spectrogram: NDArray[Any], grey: NDArray[Any], strength: float = STRENGTH) -> NDArray[np.float32]:
    """The spectrogram (H, W) with the grey picture (H, W) in it, float32; everything in 0 … 1.

    Raises:
        InputError: two shapes.
        ConfigError: a strength outside of 0 … 1.
    """
    check_strength(strength)
    if spectrogram.shape != grey.shape:
        raise InputError(
            "picture to imprint",
            got=f"shape {grey.shape}",
            expected=f"{spectrogram.shape}, the spectrogram's",
        )
    return np.asarray(spectrogram * (1 - np.float32(strength) * (1 - grey)), np.float32)


def check_strength(strength: float) -> float:
    """The strength itself, if it is one; ConfigError otherwise."""
    if not 0 <= strength <= 1:
        raise ConfigError("--strength", got=f"{strength:g}", expected="0 (no picture) to 1")
    return float(strength)


def resized(grey: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """A grey picture (h, w) of another size, (height, width): each pixel the mean of what it covers.

    >>> resized(np.array([[0.0, 1.0], [1.0, 0.0]]), 1, 2).tolist()
    [[0.5, 0.5]]
    """
    rows, columns = _cover(height, grey.shape[0]), _cover(width, grey.shape[1])
    return np.asarray(np.clip(rows @ grey.astype(np.float64) @ columns.T, 0, 1), np.float32)


def _cover(size: int, length: int) -> NDArray[np.float64]:
    """(size, length): part of each pixel of the result that lies on each of the source."""
    edges = np.linspace(0, length, size + 1)
    left = np.maximum(edges[:-1, None], np.arange(length))
    right = np.minimum(edges[1:, None], np.arange(1, length + 1))
    return np.asarray(np.maximum(right - left, 0) * (size / length))
