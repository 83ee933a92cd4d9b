"""What a front end did instead: guesses that are tested before they are reported.

Each guess computes the mel of the pack's own audio in another way that ports are known to take: HTK's mel
scale for Slaney's, a symmetric window, another padding, power for magnitude, a missing pre-emphasis, another
logarithm, a resampler that delays. One is reported where the candidate is nearer to it than to the reference
by `CLOSER` on average, and said to explain it all where it lies within the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.spectral import Padding
from edge_runtime.errors import EdgeError

Array = NDArray[Any]
CLOSER = 3.0  # times
DELAYS = (0.5, -0.5, 0.25, -0.25, 1.0, -1.0)  # samples


def explain_mel(audio: Array, config: MelConfig, candidate: Array, reference: Array, tolerance: float) -> str:
    """The guess that a candidate's mel agrees with, in words; "" where none does.

    Args:
        audio: of the pack, (samples,) at the configuration's rate.
        config: of the reference.
        candidate, reference: mels (n_mels, frames).
        tolerance: largest absolute difference that counts as equal.
    """
    best, words, largest = np.inf, "", np.inf
    for how, mel in _ways(audio.astype(np.float64), config):
        frames = min(mel.shape[-1], candidate.shape[-1])
        if mel.shape[0] != candidate.shape[0] or abs(mel.shape[-1] - candidate.shape[-1]) > 8:
            continue
        error = _mean_error(mel[:, :frames], candidate[:, :frames])
        if error < best:
            best, words, largest = error, how, _error(mel[:, :frames], candidate[:, :frames])
    if largest <= tolerance:
        return f"the candidate equals, within {largest:.1e}, the mel with {words}"
    before = _mean_error(reference, candidate) if candidate.shape == reference.shape else 0.0
    if best * CLOSER < before:
        return f"the candidate is near the mel with {words}: {best:.2g} on average in place of {before:.2g}"
    return ""


def explain_channels(candidate: Array, reference: Array, tolerance: float) -> str:
    """Which rows of an array (rows, …) are exchanged, or turned in sign, in words; "" where none are."""
    if candidate.shape != reference.shape or candidate.ndim < 2 or not 2 <= len(candidate) <= 4096:
        return ""
    wrong = [row for row in range(len(candidate)) if _error(candidate[row], reference[row]) > tolerance]
    if len(wrong) < 2:
        return ""
    source: dict[int, int] = {}
    for row in wrong:
        found = [other for other in wrong if _error(candidate[row], reference[other]) <= tolerance]
        if not found:
            return ""
        source[row] = found[0]
    if sorted(source) != sorted(source.values()):
        return ""
    told = ", ".join(f"{row} is {other}" for row, other in list(source.items())[:6])
    return f"rows are exchanged: {told}, counted from 0"


def _error(one: Array, other: Array) -> float:
    with np.errstate(invalid="ignore"):
        worst = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
    return worst if np.isfinite(worst) else np.inf


def _mean_error(one: Array, other: Array) -> float:
    with np.errstate(invalid="ignore"):
        mean = float(np.abs(one.astype(np.float64) - other).mean())
    return mean if np.isfinite(mean) else np.inf


def _ways(audio: Array, config: MelConfig) -> Iterator[tuple[str, Array]]:
    """Other ways to compute the mel: in words, and the mel."""
    for how, changed in _changes(config):
        mel = _computed(changed, audio)
        if mel is not None:
            yield how, mel
    yield "a symmetric window (N − 1 where the periodic one divides by N)", _symmetric(config, audio)
    heard = [
        (f"audio {abs(d):g} samples {'late' if d > 0 else 'early'}: a resampler's phase", _delayed(audio, d))
        for d in DELAYS
    ]
    heard += [
        ("audio in units of 16-bit samples", audio * 32768.0),
        ("audio divided by 32768 twice", audio / 32768.0),
    ]
    for how, signal in heard:
        mel = _computed(config, signal)
        if mel is not None:
            yield how, mel


def _changes(config: MelConfig) -> Iterator[tuple[str, MelConfig]]:
    """Configurations that differ in one respect, those that the rules admit."""
    other = "htk" if config.mel_scale == "slaney" else "slaney"
    areas = "filters of height 1" if config.area_norm else "filters of equal area"
    spectra = "power spectra" if config.power == 1 else "magnitude spectra"
    tried: list[tuple[str, dict[str, Any]]] = [
        (f"{_NAMES[other]}'s mel scale in place of {_NAMES[config.mel_scale]}'s", {"mel_scale": other}),
        (
            f"{_NAMES[other]}'s scale and {areas}",
            {"mel_scale": other, "area_norm": not config.area_norm},
        ),
        (areas, {"area_norm": not config.area_norm}),
        (spectra, {"power": 3 - config.power, "epsilon": 0.0}),
        ("no pre-emphasis", {"pre_emphasis": 0.0}),
        ("pre-emphasis of 0.97", {"pre_emphasis": 0.97}),
        ("filters from 0 Hz", {"fmin": 0.0}),
        ("filters up to the Nyquist frequency", {"fmax": None}),
        ("a common logarithm", {"log": "log10"}),
        ("a natural logarithm", {"log": "ln"}),
        ("no epsilon under the root", {"epsilon": 0.0}),
        ("values that are not clipped", {"clip": False}),
        ("a window as long as the transform", {"win_length": config.n_fft}),
    ]
    tried += [(f"padding {padding}", {"padding": padding}) for padding in get_args(Padding)]
    longer = 1 << (config.n_fft - 1).bit_length()
    tried.append((f"a transform of {longer} points", {"n_fft": longer}))
    for how, change in tried:
        try:
            changed = replace(config, **change)
        except EdgeError:
            continue
        if changed != config:
            yield how, changed


_NAMES = {"htk": "HTK", "slaney": "Slaney"}


def _computed(config: MelConfig, audio: Array) -> Array | None:
    try:
        return MelFrontEnd(config, "float64")(audio)
    except EdgeError:
        return None


def _symmetric(config: MelConfig, audio: Array) -> Array:
    front_end = MelFrontEnd(config, "float64")
    front_end._stft.window = np.hanning(config.win_length)
    return front_end(audio)


def _delayed(audio: Array, samples: float) -> Array:
    """The signal later by a number of samples, by its Fourier transform."""
    size = 2 * audio.size
    spectrum = np.fft.rfft(audio, size)
    turned = spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(size) * samples)
    return np.asarray(np.fft.irfft(turned, size)[: audio.size])
