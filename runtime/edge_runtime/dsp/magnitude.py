"""Linear-frequency magnitude from a mel spectrogram, without a model.

A filter bank A keeps ``n_mels`` sums of ``bins`` magnitudes. The estimate starts at the least-squares
solution of least norm, ``max(pinv(A) m, 1e-10)``, and is then drawn by multiplicative updates towards a
magnitude that is nowhere negative and has the given mel (Lee and Seung, Algorithms for non-negative matrix
factorization, 2001, with the bank held fixed):

    q ← q · (Aᵀ m) / (Aᵀ A q)

Where the bank was applied to powers, the estimate is a power, and its root is returned; where it was applied
to the normalised decibels of `mel-inversion-db`, they are undone, and the magnitude is relative to its
largest value. Pre-emphasis, standardising and scaling to a peak are not undone: the magnitude is that of the
signal after them.

Frames are independent of each other and processed 128 at a time: memory beside the result is constant.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_runtime.dsp.mel import BandedBank, MelConfig, filter_bank
from edge_runtime.dsp.spectral import BLOCK_FRAMES, LARGEST_SAMPLE, Array
from edge_runtime.errors import ConfigError, InputError

UPDATES = 50
_SMALLEST = 1e-10  # an estimate of zero would stay zero under multiplication
# Nets undershoot the floor of a logarithm a little; a value this far below it (80 dB of an amplitude) cannot
# be a logarithm under that configuration.
_UNDERSHOOT = 1e-4


def linear_mel(mel: Array, config: MelConfig) -> Array:
    """The mel before scale and logarithm were applied: ``(n_mels, frames)`` → the same shape.

    The result is float32, or float64 where the input is. Whatever the configuration's floor, ``top_db`` and
    clipping removed stays lost.

    Raises:
        InputError: another number of bands, values that are not finite, or that no signal could have.

    >>> from edge_runtime.dsp.mel import PRESETS
    >>> float(linear_mel(np.zeros((80, 3)), PRESETS["mel-inversion"]).max())
    1.0
    """
    values = _check_mel(mel, config)
    if config.scale_from is not None:
        (low, high), (to_low, to_high) = config.scale_from, config.scale_to
        values = (values - to_low) * ((high - low) / (to_high - to_low)) + low
    if config.log == "none":
        return _not_negative(values)
    natural = (values + config.reference) / config.log_gain
    if config.log == "log10":
        natural = natural * math.log(10)
    _check_logarithm(natural, config)
    return np.asarray(np.exp(natural))


def check_mel(mel: Array, config: MelConfig) -> Array:
    """The mel ``(n_mels, frames)`` in float32 or float64; raises as `linear_mel`, but allocates no result."""
    values = _check_mel(mel, config)
    extremes = np.array([values.min(), values.max()], values.dtype)
    linear_mel(np.broadcast_to(extremes, (config.bands, 2)), config)
    return values


def estimate_magnitude(mel: Array, config: MelConfig, updates: int = UPDATES) -> Array:
    """Magnitude ``(bins, frames)`` of a linear mel ``(n_mels, frames)``: float32, or float64 if the mel is.

    Args:
        mel: output of the filter bank, before any logarithm: see `linear_mel`.
        config: of the front end that made the mel; its pseudo-inverse is computed once.
        updates: multiplicative updates after the pseudo-inverse, 0 for none.

    Raises:
        ConfigError: a number of updates below 0.
        InputError: another number of bands, values that are not finite, or negative values (a logarithm?).

    >>> from edge_runtime.dsp.mel import PRESETS
    >>> estimate_magnitude(np.ones((80, 3), np.float32), PRESETS["mel-inversion"]).shape
    (513, 3)
    """
    if not isinstance(updates, int) or isinstance(updates, bool) or updates < 0:
        raise ConfigError("updates", got=repr(updates), expected="a whole number, at least 0")
    values = _not_negative(_check_mel(mel, config))
    if config.n_mels is None:
        magnitude = values.copy()
    else:
        magnitude = _invert(values, _inversion(config, str(values.dtype)), updates)
    if config.power == 2:
        np.sqrt(magnitude, out=magnitude)
    if config.spectrum_range_db is not None:
        magnitude = 10 ** ((np.minimum(magnitude, 1) - 1) * (config.spectrum_range_db / 20))
    return magnitude


class _Inversion(NamedTuple):
    """A bank with its pseudo-inverse, in one precision."""

    pseudo_inverse: Array  # (n_mels, bins): transposed, for time-major blocks
    forward: BandedBank  # (block, bins) → (block, n_mels)
    backward: BandedBank  # (block, n_mels) → (block, bins)
    bins: int


@lru_cache(maxsize=8)
def _inversion(config: MelConfig, dtype: str) -> _Inversion:
    bank = filter_bank(config)
    inverse = np.ascontiguousarray(np.linalg.pinv(bank).T, dtype=dtype)
    real = np.dtype(dtype)
    return _Inversion(inverse, BandedBank(bank, real), BandedBank(bank.T, real), bank.shape[1])


def _invert(mel: Array, inversion: _Inversion, updates: int) -> Array:
    """Pseudo-inverse and updates, block by block of frames; always whole blocks, the last one padded."""
    bands, frames = mel.shape
    result = np.empty((inversion.bins, frames), mel.dtype)
    m, predicted = (np.zeros((BLOCK_FRAMES, bands), mel.dtype) for _ in range(2))
    estimate, target, reached = (np.zeros((BLOCK_FRAMES, inversion.bins), mel.dtype) for _ in range(3))
    tiny = np.finfo(mel.dtype).tiny
    for start in range(0, frames, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, frames - start)
        m[:count] = mel[:, start : start + count].T
        m[count:] = 0
        np.matmul(m, inversion.pseudo_inverse, out=estimate)
        np.maximum(estimate, _SMALLEST, out=estimate)
        inversion.backward.apply(m, target)
        for _ in range(updates):
            inversion.forward.apply(estimate, predicted)
            inversion.backward.apply(predicted, reached)
            estimate *= target
            estimate /= np.maximum(reached, tiny, out=reached)
        result[:, start : start + count] = estimate[:count].T
    return result


# ---- refusals ---------------------------------------------------------------------------------------------


def _check_mel(mel: Array, config: MelConfig) -> Array:
    """Finite real numbers of the configured bands, as float32 or float64."""
    values = np.asarray(mel)
    if values.ndim != 2 or values.shape[0] != config.bands or not values.shape[1]:
        raise InputError(
            "mel",
            got=f"shape {values.shape}",
            expected=f"({config.bands}, frames), at least one frame",
            cause=_shape_guess(values.shape, config.bands),
        )
    if values.dtype.kind not in "iuf":
        raise InputError("mel", got=f"values of type {values.dtype}", expected="real numbers")
    values = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        band, frame = (int(i) for i in np.unravel_index(int(np.argmin(finite)), values.shape))
        raise InputError(
            "mel",
            got=f"a value that is NaN or infinite, the first in band {band} of frame {frame}",
            expected="finite values",
            cause="a logarithm of zero, or a damaged file",
        )
    return values


def _shape_guess(shape: tuple[int, ...], bands: int) -> str:
    if len(shape) == 2 and shape[1] == bands:
        return "is it transposed?"
    if len(shape) == 3 and shape[0] == 1 and bands in shape[1:]:
        return "drop the batch axis: mel[0]"
    if len(shape) == 2 and shape[0] and shape[1]:
        return "it was made with another number of bands, or another preset"
    return ""


def _not_negative(values: Array) -> Array:
    """The values, or `InputError` with a guess which logarithm was taken of them."""
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= 0:
        return values
    raise InputError(
        "mel",
        got=f"negative values, {lowest:.4g} … {highest:.4g}",
        expected="linear values, at least 0",
        cause=_logarithm_guess(lowest, highest),
    )


def looks_logarithmic(lowest: float, highest: float) -> bool:
    """Whether these extremes lie further below 0 than a net's output for a linear mel does."""
    return lowest < -0.1 * max(highest, 1e-3)


def _logarithm_guess(lowest: float, highest: float) -> str:
    if looks_logarithmic(lowest, highest):
        kind = "in decibels" if lowest < -30 or highest > 20 else "a natural logarithm or a scaled one"
        return f"this looks like a log mel, {kind}; linear_mel undoes the logarithm"
    return "a net's output may fall slightly below 0: set such values to 0 first"


def _check_logarithm(natural: Array, config: MelConfig) -> None:
    """Refuses natural logarithms (of magnitude or power) that no signal has under this configuration."""
    loudest = config.power * math.log(LARGEST_SAMPLE * config.n_fft)
    quietest = math.log(config.floor) + config.power * math.log(_UNDERSHOOT)
    decibels = 20 / math.log(10) / config.power  # of an amplitude
    for value in (float(natural.min()), float(natural.max())):
        if not quietest <= value <= loudest:
            raise InputError(
                "mel",
                got=f"a value that stands for {value * decibels:.0f} dB if read as {config.log}",
                expected="the logarithm of a mel under this configuration, at or near its floor of "
                f"{math.log(config.floor) * decibels:.0f} dB or above",
                cause="the values are another logarithm (decibels for ln?) or standardised",
            )
