"""Sound in a report: mean spectra, spectrograms on fixed scales, and players.

(samples,) → mean_spectrum → (bins,) dB, 0 … Nyquist
(samples,) → spectrogram   → (bands, frames) dB
(samples,) → wav_bytes     → a WAV file of 16 bits
"""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.media.pictures import colour, png_bytes

Array = NDArray[Any]
Decibels = NDArray[np.float64]

SILENCE = -140.0  # dB: the lowest that is drawn of spectra and differences
QUIET = -80.0  # dB below the reference's peak: the lowest that is drawn of sound
SHORTEST = 128  # samples of a sound that has a spectrum
BANDS, FRAMES = 128, 256  # of a picture, at most
LOUDER = 20.0  # times: the difference as it is played


def power(samples: Array) -> NDArray[np.float64]:
    """Power of the short-time spectrum, (bins, frames): windows of 1024 samples, or of what there is."""
    n_fft = min(1024, 1 << (len(samples).bit_length() - 1))
    framing = StftConfig(n_fft=n_fft, hop_length=n_fft // 4, win_length=n_fft)
    spectrum = Stft(framing, "float64").forward(np.ascontiguousarray(samples, np.float64))
    squared: NDArray[np.float64] = np.square(np.abs(spectrum))
    return squared


def decibels(values: NDArray[np.float64], peak: float) -> Decibels:
    """Power in dB of `peak`, at least `SILENCE`."""
    level: Decibels = 10 * np.log10(np.maximum(values, 1e-300) / max(peak, 1e-300))
    return np.maximum(level, SILENCE)


def spectrogram_png(values: NDArray[np.float64], peak: float, lowest: float) -> bytes:
    """Powers (bins, frames) as a picture, low frequencies at the bottom; `lowest` to 0 dB of `peak`."""
    bins, frames = values.shape
    down, across = np.array_split(np.arange(bins), min(BANDS, bins)), min(FRAMES, frames)
    rows = np.stack([values[part].mean(axis=0) for part in down])
    columns = np.stack([rows[:, part].mean(axis=1) for part in np.array_split(np.arange(frames), across)], 1)
    return level_png(decibels(columns, peak), lowest, 0.0)


def level_png(values: Decibels, low: float, high: float) -> bytes:
    """Values (bands, frames) as a picture, band 0 at the bottom, low dark and high light."""
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return png_bytes(colour(level[::-1]))


def wav_bytes(samples: Array, rate: int) -> bytes:
    """A WAV file of 16 bits, one channel; what is beyond full scale is clipped."""
    whole = np.rint(np.clip(np.asarray(samples, np.float64), -1.0, 1.0) * 32767).astype("<i2")
    with io.BytesIO() as content:
        with wave.open(content, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(whole.tobytes())
        return content.getvalue()
