"""What a front end does to a signal before its transform, and how the inversion of a mel undoes it.

A front end conditions the recording, ``(x − mean) · gain``, then applies pre-emphasis; after the transform
follow bank, logarithm and scale. This module has front ends with the later stages removed, which give the
true intermediate results of a recording, and the functions that undo conditioning and pre-emphasis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelConfig, MelFrontEnd, mean_and_gain
from edge_runtime.dsp.spectral import Array

PIECE = 1 << 18  # samples at a time
PEAK = 0.95  # of audio whose level is not in the mel


@dataclass(frozen=True)
class Conditioning:
    """What a front end did to a recording before its transform: ``(x − mean) · gain``."""

    mean: float
    gain: float
    deviation: float  # standard deviation of the result


def conditioning_of(audio: Array, config: MelConfig) -> Conditioning:
    """What the front end does to this recording, (samples,)."""
    mean, gain = mean_and_gain(audio, config)
    return Conditioning(mean, gain, _deviation(audio) * gain)


def uncompressed(config: MelConfig) -> MelConfig:
    """The front end without the stages after the bank: it gives linear mels."""
    return replace(config, log="none", log_gain=1.0, reference=0.0, top_db=None, scale_from=None, clip=False)


def of_magnitude(config: MelConfig) -> MelConfig:
    """The front end without the stages after the magnitude: it gives (bins, frames)."""
    return replace(uncompressed(config), n_mels=None, power=1, epsilon=0.0, spectrum_range_db=None)


def of_plain_magnitude(config: MelConfig) -> MelConfig:
    """The front end that gives the magnitude of the signal itself: no conditioning, no pre-emphasis."""
    return replace(of_magnitude(config), standardize=False, peak=None, pre_emphasis=0.0)


def silence(config: MelConfig) -> float:
    """Largest value of a band in silence: the logarithm's floor, plus the rounding of float32."""
    value = float(MelFrontEnd(config).compress(np.zeros((1, 1)))[0, 0])
    return value if config.log == "none" else value + 1e-5


def loses_level(config: MelConfig) -> bool:
    """Whether the loudness of the recording cannot be known from the mel."""
    return config.standardize or config.spectrum_range_db is not None


def without_pre_emphasis(magnitude: Array, config: MelConfig) -> Array:
    """Magnitude (bins, frames) without pre-emphasis ``x[n] − a · x[n−1]``: divided by its response."""
    if not config.pre_emphasis:
        return magnitude
    turns = np.arange(len(magnitude)) / config.n_fft
    response = np.abs(1 - config.pre_emphasis * np.exp(-2j * np.pi * turns))
    return np.asarray(magnitude / np.maximum(response, 1e-3)[:, None], magnitude.dtype)


def restore(
    samples: Array, config: MelConfig, conditioning: Conditioning | None, out: Array | None = None
) -> NDArray[np.float32]:
    """Samples (n,) with the mean and level of the recording restored.

    Where the recording is unknown and the mel does not hold the level, they get the peak `PEAK`. ``out``:
    float32, where to write; it may be the samples themselves.
    """
    scale = 1.0
    if config.spectrum_range_db is not None and (spread := _deviation(samples)):
        scale = (conditioning.deviation if conditioning else 1.0) / spread
    gain, mean = 1.0, 0.0
    if conditioning is not None:
        gain, mean = conditioning.gain, conditioning.mean
    elif loses_level(config) and (largest := max(float(samples.max()), -float(samples.min())) * scale):
        scale *= PEAK / largest
    result = np.empty(samples.shape, np.float32) if out is None else out
    for piece in _pieces(samples):
        result[piece] = samples[piece].astype(np.float64) * scale / gain + mean
    return result


def _deviation(samples: Array) -> float:
    """Standard deviation, in float64."""
    mean = float(np.mean(samples, dtype=np.float64))
    squares = 0.0
    for piece in _pieces(samples):
        squares += float(np.sum(np.square(samples[piece].astype(np.float64) - mean)))
    return float(np.sqrt(squares / samples.size))


def _pieces(samples: Array) -> list[slice]:
    return [slice(start, start + PIECE) for start in range(0, samples.size, PIECE)]
