"""A log-mel as a picture: the one convention of training data, diffusion and vocoder.

    mel      (256, 1024)  natural logarithm, row 0 the lowest band, of front end `auffusion`
    picture  (256, 1024)  float32 in 0 … 1, row 0 the highest band: (mel − ln 1e-5) / (ln 200 − ln 1e-5)

1e-5 is the front end's floor; speech whose peak is 0.95 stays below 50, so that 200 is never reached. A wider
or narrower picture has more or fewer frames of 10 ms; 1024 of them are 163 840 samples at 16 kHz, 10.24 s.

Source: Auffusion (Xue and others, 2024), section 3.1. The seed of this system flips some of its pictures and
scales `.npy` files otherwise than PNG; there is one rule here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import InputError

FRONT_END = PRESETS["auffusion"]
SAMPLE_RATE = FRONT_END.sample_rate  # Hz
BANDS = FRONT_END.bands  # rows of a picture, 256
FRAMES = 1024  # columns of a picture
SAMPLES = FRAMES * FRONT_END.hop_length  # 163 840, 10.24 s

DARKEST = math.log(FRONT_END.floor)  # mel of value 0
BRIGHTEST = math.log(200.0)  # mel of value 1
ROUNDING = 1e-3  # of ln, by which a mel may leave that interval


def mel_to_picture(mel: ArrayLike) -> NDArray[np.float32]:
    """The picture of a mel, (bands, frames) float32 in 0 … 1, row 0 the highest band.

    Args:
        mel: (bands, frames) of front end `auffusion`, natural logarithm, row 0 the lowest band.

    Raises:
        InputError: another shape, values that are not finite, or values that this front end does not give.

    >>> mel_to_picture([[BRIGHTEST], [DARKEST]]).tolist()
    [[0.0], [1.0]]
    """
    values = _two_axes(mel, "mel")
    lowest, highest = float(values.min()), float(values.max())
    # a comparison with NaN is false, so that NaN is refused too
    if not (lowest >= DARKEST - ROUNDING and highest <= BRIGHTEST + ROUNDING):
        raise InputError(
            "mel",
            got=f"values of {lowest:.4g} … {highest:.4g}",
            expected=f"{DARKEST:.4g} (ln 1e-5) … {BRIGHTEST:.4g} (ln 200)",
            cause="it is of another front end than auffusion: in dB, of a power, or of louder audio",
        )
    scaled = (values[::-1] - DARKEST) / (BRIGHTEST - DARKEST)
    return np.ascontiguousarray(np.clip(scaled, 0.0, 1.0), np.float32)


def picture_to_mel(picture: ArrayLike) -> NDArray[np.float32]:
    """The mel of a picture, (bands, frames) float32, natural logarithm, row 0 the lowest band.

    Args:
        picture: (bands, frames) in 0 … 1, row 0 the highest band; or (3, bands, frames), whose channels are
            averaged.

    Raises:
        InputError: another shape, integers, or values outside of 0 … 1.

    >>> picture_to_mel([[0.0], [1.0]]).round(4).tolist()
    [[5.298299789428711], [-11.512900352478027]]
    """
    values = np.asarray(picture)
    if values.ndim == 3 and len(values) == 3:
        values = values.mean(axis=0, dtype=np.float64) if values.dtype.kind == "f" else values[0]
    values = _two_axes(values, "picture")
    if not (values.min() >= 0.0 and values.max() <= 1.0):
        raise InputError(
            "picture",
            got=f"values of {values.min():.4g} … {values.max():.4g}",
            expected="0 … 1",
            cause="divide an 8-bit picture by 255; a VAE's output x is clip(x / 2 + 0.5, 0, 1)",
        )
    mel = values[::-1] * (BRIGHTEST - DARKEST) + DARKEST
    return np.ascontiguousarray(mel, np.float32)


def _two_axes(array: ArrayLike, what: str) -> NDArray[np.float64]:
    values = np.asarray(array)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "f":
        raise InputError(
            what,
            got=f"{values.dtype} of shape {values.shape}",
            expected=f"floats (bands, frames), {BANDS} bands for this system",
        )
    return values.astype(np.float64)
