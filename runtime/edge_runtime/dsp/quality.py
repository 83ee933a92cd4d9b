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
from collections.abc import Callable, Iterable
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


Pairs = Callable[[], Iterable[tuple[NDArray[Any], NDArray[Any]]]]


def figures_of_pieces(pieces: Pairs, *, range_db: float = 80.0) -> dict[str, float]:
    """All four measures of magnitudes (bins, frames) that come in pieces along time.

    Args:
        pieces: called twice, gives (truth, estimate) piece by piece.
        range_db: of the log spectral distance.

    Returns:
        `si_ssdr_db`, `spectral_convergence`, `spectral_convergence_db`, `log_spectral_distance_db`: the same
        numbers as for the whole, up to the rounding of sums.

    Raises:
        InputError: as the functions above.
    """
    first = _Sums()
    for pair in pieces():
        first.add(*_pair(*pair))
    floor, scale = first.largest * 10 ** (-range_db / 20), first.scale
    mean_t, mean_h = first.t / first.count, first.h / first.count
    frames = 0
    error = size = signal = distortion = distance = 0.0
    for pair in pieces():
        t, h = _pair(*pair)
        error += float(np.sum(np.square(h - t)))
        size += float(np.sum(np.square(t)))
        projected = scale * (t - mean_t)
        signal += float(np.sum(np.square(projected)))
        distortion += float(np.sum(np.square((h - mean_h) - projected)))
        frames += t.shape[-1]
        if floor:
            decibels = 20 * np.log10(np.maximum(t, floor) / np.maximum(h, floor))
            distance += float(np.sqrt(np.square(decibels).mean(axis=-2)).sum())
    ratio = math.sqrt(error / size) if size else (math.inf if error else 0.0)
    silent = math.inf if first.loudest_estimate else 0.0
    return {
        "si_ssdr_db": _si_ssdr(first, signal, distortion),
        "spectral_convergence": ratio,
        "spectral_convergence_db": 20 * math.log10(ratio) if ratio else -math.inf,
        "log_spectral_distance_db": distance / frames if floor else silent,
    }


class _Sums:
    """Of truth t and estimate h, for the scale between them."""

    def __init__(self) -> None:
        self.count = 0
        self.t = self.h = self._tt = self._th = 0.0
        self.largest = self.loudest_estimate = 0.0

    def add(self, t: NDArray[np.float64], h: NDArray[np.float64]) -> None:
        self.count += t.size
        self.t += float(t.sum())
        self.h += float(h.sum())
        self._tt += float(np.vdot(t, t))
        self._th += float(np.vdot(t, h))
        self.largest = max(self.largest, float(t.max()))
        self.loudest_estimate = max(self.loudest_estimate, float(np.abs(h).max()))

    @property
    def energy(self) -> float:
        """Energy of the truth without its mean; 0 where the truth is constant up to rounding."""
        energy = self._tt - self.t * self.t / self.count
        return energy if energy > 1e-14 * self._tt else 0.0

    @property
    def scale(self) -> float:
        """⟨h, t⟩ / ⟨t, t⟩ of both without their means."""
        return (self._th - self.t * self.h / self.count) / self.energy if self.energy else 0.0


def _si_ssdr(sums: _Sums, signal: float, distortion: float) -> float:
    if sums.energy == 0:
        return -math.inf if sums.loudest_estimate else math.inf
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
