"""How near an estimated spectrogram or signal comes to the true one: the measures used for mel inversion.

All sums are taken in float64. With t the truth and h the estimate:

    spectral_convergence    ‖h − t‖ / ‖t‖ (Frobenius), 0 is perfect; `spectral_convergence_db` in dB
    log_spectral_distance   dB; per frame the root of the mean over bins of (20 log10 (t / h))², then the mean
                            over frames (Gray and Markel, 1976). Smaller values of both are first raised to
                            `range_db` below the largest value of the truth, so that silence does not count
    si_ssdr                 dB; the means are subtracted, p = ⟨h, t⟩ t / ⟨t, t⟩, 10 log10 (‖p‖² / ‖h − p‖²),
                            after Le Roux and others, 2019

Spectrograms are linear magnitudes ``(bins, frames)``; leading axes are allowed. `si_ssdr` and
`spectral_convergence` take any shape, waveforms too. A perfect estimate gives −∞ or ∞ where the unit is dB;
where the truth is silence, any other estimate gives the worst value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import ConfigError, InputError


def spectral_convergence(truth: ArrayLike, estimate: ArrayLike) -> float:
    """``‖estimate − truth‖ / ‖truth‖``, 0 is perfect; both (…, bins, frames), or both of any other shape.

    Raises:
        InputError: arrays that cannot be compared.

    >>> spectral_convergence([3.0, 4.0], [3.0, 4.5])
    0.1
    """
    t, h = _pair(truth, estimate)
    error, size = float(np.linalg.norm((h - t).ravel())), float(np.linalg.norm(t.ravel()))
    if error == 0:
        return 0.0
    return error / size if size else math.inf


def spectral_convergence_db(truth: ArrayLike, estimate: ArrayLike) -> float:
    """`spectral_convergence` in dB, the lower the better; both (…, bins, frames), or of any other shape.

    >>> round(spectral_convergence_db([3.0, 4.0], [3.0, 4.5]), 6)
    -20.0
    """
    ratio = spectral_convergence(truth, estimate)
    return 20 * math.log10(ratio) if ratio else -math.inf


def log_spectral_distance(truth: ArrayLike, estimate: ArrayLike, *, range_db: float = 80.0) -> float:
    """dB between magnitudes ``(…, bins, frames)``, 0 is perfect.

    Raises:
        ConfigError: a range that is not a positive number of dB.
        InputError: arrays that cannot be compared, fewer than two axes, or negative values.

    >>> round(log_spectral_distance([[1.0, 1.0]], [[10.0, 10.0]]), 6)
    20.0
    """
    if not 0 < range_db < math.inf:
        raise ConfigError("range_db", got=f"{range_db:g}", expected="a positive number of dB")
    t, h = _pair(truth, estimate)
    if t.ndim < 2:
        raise InputError("truth", got=f"shape {t.shape}", expected="magnitudes of shape (…, bins, frames)")
    for name, values in (("truth", t), ("estimate", h)):
        if (lowest := float(values.min())) < 0:
            raise InputError(
                name,
                got=f"a value of {lowest:g}",
                expected="magnitudes of at least 0",
                cause="is this a logarithm, or in dB?",
            )
    floor = float(t.max()) * 10 ** (-range_db / 20)
    if floor == 0:
        return math.inf if h.any() else 0.0
    difference = 20 * np.log10(np.maximum(t, floor) / np.maximum(h, floor))
    return float(np.sqrt(np.square(difference).mean(axis=-2)).mean())


def si_ssdr(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, the higher the better; constant offsets do not count.

    Args:
        truth: (samples,), or any other shape.
        estimate: of the same shape.

    Raises:
        InputError: arrays that cannot be compared.

    >>> si_ssdr([1.0, -1.0, 0.0], [2.0, -2.0, 0.0])  # twice as loud is not a distortion
    inf
    """
    t, h = _pair(truth, estimate)
    t, h = t.ravel() - t.mean(), h.ravel() - h.mean()
    energy = float(t @ t)
    if energy == 0:
        return -math.inf if h.any() else math.inf
    projected = float(h @ t) / energy * t
    signal, distortion = float(projected @ projected), float(np.sum(np.square(h - projected)))
    if distortion == 0 and signal:
        return math.inf
    return 10 * math.log10(signal / distortion) if signal else -math.inf


def _pair(truth: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t, h = _real("truth", truth), _real("estimate", estimate)
    if t.shape != h.shape:
        raise InputError(
            "estimate",
            got=f"shape {h.shape}",
            expected=f"the truth's shape {t.shape}",
            cause="cut both to the shorter length" if t.ndim == h.ndim else "",
        )
    return t, h


def _real(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array: NDArray[Any] = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise InputError(
            name,
            got=f"values of type {array.dtype}",
            expected="real numbers",
            cause="take the magnitude first" if array.dtype.kind == "c" else "",
        )
    if not array.size:
        raise InputError(name, got=f"shape {array.shape}", expected="at least one value")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(name, got="values that are NaN or infinite", expected="finite values")
    return array
