"""The 18 speech parameters of a frame: their names, ranges and axes, and the scale of the spectrograms.

T frames at 125 Hz, six voiced formants and one broadband filter of noise. What nets give, in this order:

    f0_hz                        (B, 1, T)  Hz
    loudness                     (B, 1, T)  power, 0 or more
    amplitudes                   (B, 2, T)  share of voiced and of unvoiced sound, sum 1
    amplitudes_h                 (B, 2, T)  a second pair of shares; nothing reads them
    freq_formants_hamon_hz       (B, 6, T)  Hz
    bandwidth_formants_hamon_hz  (B, 6, T)  Hz, follows from the frequency
    amplitude_formants_hamon     (B, 6, T)  shares, sum 1
    freq_formants_noise_hz       (B, 7, T)  Hz: the six voiced ones again, then the noise filter
    bandwidth_formants_noise_hz  (B, 7, T)  Hz, likewise
    amplitude_formants_noise     (B, 7, T)  shares, sum 1

A spectrogram value x in [−1, 1] stands for `floor_db` … `top_db`: dB = (x + 1) / 2 · (top − floor) + floor.
Names are neural_speech_decoding's. Source: Chen and others 2024, Nature Machine Intelligence 6, 467–480.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from edge_runtime.errors import ConfigError

SAMPLE_RATE = 16000  # Hz
FRAME_RATE = 125  # Hz, of ECoG, spectrograms and parameters
HOP = SAMPLE_RATE // FRAME_RATE  # samples per frame
FRAMES = 128  # of an item
PAST = 16  # further ECoG frames before an item
FORMANTS = 6
NOISE_FORMANTS = FORMANTS + 1
MEL_BANDS = 128  # of the mel spectrogram in encoder and losses

PARAMETERS = (
    "f0_hz",
    "loudness",
    "amplitudes",
    "amplitudes_h",
    "freq_formants_hamon_hz",
    "bandwidth_formants_hamon_hz",
    "amplitude_formants_hamon",
    "freq_formants_noise_hz",
    "bandwidth_formants_noise_hz",
    "amplitude_formants_noise",
)
ROWS: Mapping[str, int] = MappingProxyType(dict(zip(PARAMETERS, (1, 1, 2, 2, 6, 6, 6, 7, 7, 7), strict=True)))
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "f0_hz": "Hz",
        "loudness": "power",
        "amplitudes": "share, sum 1",
        "amplitudes_h": "share, sum 1",
        "freq_formants_hamon_hz": "Hz",
        "bandwidth_formants_hamon_hz": "Hz",
        "amplitude_formants_hamon": "share, sum 1",
        "freq_formants_noise_hz": "Hz",
        "bandwidth_formants_noise_hz": "Hz",
        "amplitude_formants_noise": "share, sum 1",
    }
)

Parameters = dict[str, Tensor]  # by the names above; nets add `x_common`, `noisebg` and the like

# Hz, (lowest, highest) of F1 … F6
FEMALE_LIMITS = ((300, 950), (700, 3400), (1800, 3800), (3400, 5000), (5000, 6000), (6000, 7000))
MALE_LIMITS = ((200, 850), (500, 3000), (1400, 3400), (3000, 4600), (4000, 6000), (4500, 7500))
UNIFIED_LIMITS = ((200, 950), (500, 3400), (1400, 3800), (3000, 5000), (4000, 6000), (4500, 7500))
ENCODER_F0 = (80.0, 120.0, 100.0)  # Hz: male's lowest, span, what a female voice adds
UNIFIED_F0 = (80.0, 220.0)  # Hz: lowest and span of both sexes
DECODER_F0 = (88.0, 332.0)  # Hz: lowest and span
NOISE_FREQUENCY = (4000.0, 4000.0)  # Hz: lowest and span
NOISE_BANDWIDTH = (586.0, 2344.0)  # Hz: lowest, and slope over softplus
# bandwidth of a formant at f Hz: gain · (slope · f + offset)
BANDWIDTH_SLOPE = 0.00625
FEMALE_BANDWIDTH, MALE_BANDWIDTH = (0.65, 375.0), (0.55, 300.0)  # gain and offset in Hz
DB_LOUDNESS = (200.0, -100.0)  # span and lowest, dB: the option `compute_db_loudness`


@dataclass(frozen=True)
class DbScale:
    """Which levels the spectrogram's −1 and 1 stand for."""

    floor_db: float = -50.0
    top_db: float = 22.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor_db) and math.isfinite(self.top_db)) or self.floor_db >= self.top_db:
            raise ConfigError(
                "noise_db", got=f"{self.floor_db:g} … {self.top_db:g} dB", expected="a floor below the top"
            )

    @property
    def span(self) -> float:
        """dB."""
        return self.top_db - self.floor_db

    def to_power(self, x: Tensor) -> Tensor:
        """Scaled dB (…, F) → power of the same shape."""
        return torch.exp(((x + 1) * (self.span / 2) + self.floor_db) * (math.log(10) / 10))

    def to_scaled(self, power: Tensor, least: float = 1e-10) -> Tensor:
        """dB of max(power, least), scaled, without limits above or below."""
        db = torch.log(power.clamp(min=least)) * (10 / math.log(10))
        return (db - self.floor_db) * (2 / self.span) - 1


SCALE = DbScale()


def log_axis(hz: Tensor) -> Tensor:
    """Hz (B, rows, T) → a logarithmic axis: 440 Hz is at 31/133, an octave is 24/133."""
    return (24 * torch.log2(hz / 440) + 31) / 133


def from_log_axis(place: float) -> float:
    """Hz at a place of `log_axis`."""
    return float(440 * 2 ** ((133 * place - 31) / 24))


def female_bandwidth(frequency: Tensor) -> Tensor:
    """Bandwidths of formants in Hz for their frequencies in Hz, both (B, rows, T)."""
    gain, offset = FEMALE_BANDWIDTH
    return gain * (BANDWIDTH_SLOPE * frequency + offset)


def bandwidth(frequency: Tensor, gender: Tensor) -> Tensor:
    """As `female_bandwidth`, by each item's sex: gender (B, 1, 1), 1 female, 0 male."""
    gain, offset = MALE_BANDWIDTH
    male = gain * (BANDWIDTH_SLOPE * frequency + offset)
    return gender * female_bandwidth(frequency) + (1 - gender) * male


def with_log_axes(parameters: Mapping[str, Tensor], n_mels: int = 64) -> Parameters:
    """The parameters (B, rows, T) and their copies on `log_axis`, for losses, as in neural_speech_decoding.

    Adds `f0`, `freq_formants_hamon`, `freq_formants_noise` (0 … 1), `bandwidth_formants_hamon` and
    `bandwidth_formants_noise` (in bands of `n_mels`).
    """
    added = dict(parameters)
    added["f0"] = log_axis(parameters["f0_hz"]).clamp(min=1e-4)
    for kind in ("hamon", "noise"):
        frequency, width = parameters[f"freq_formants_{kind}_hz"], parameters[f"bandwidth_formants_{kind}_hz"]
        added[f"freq_formants_{kind}"] = log_axis(frequency).clamp(min=0)
        upper, lower = frequency + width / 2, (frequency - width / 2).clamp(min=1)
        added[f"bandwidth_formants_{kind}"] = (log_axis(upper) - log_axis(lower)) * n_mels
    return added


def in_order(parameters: Mapping[str, Any], *further: str) -> tuple[Any, ...]:
    """The values of `PARAMETERS`, then those of further names: what an exported graph gives."""
    return tuple(parameters[name] for name in (*PARAMETERS, *further))
