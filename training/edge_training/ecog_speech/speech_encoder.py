"""speech-encoder: spectrogram → the speech parameters that the synthesizer makes it from.

    spectrogram (B, 1, T, F) in [−1, 1], gender (B, 1): 1 female, 0 male

    smoothed over 4F/256 + 1 frames     → loudness
    narrow stack                        → shares of voiced and unvoiced sound, background, half of the pitch
    its 128 mel bands                   → the other half of the pitch
    its power smoothed, 20F/256 + 1     → formants and the noise filter

F is 256 for female and 512 for male speakers by custom. The layout of the stacks follows the speaker's
sex (`layout`), the ranges of pitch and formants each item's `gender`. Smoothing windows are symmetric Hann
and not normalised, as published. Layers that published files hold and nothing reads are kept for their keys.

Bands of the mel spectrogram that hold no bin stand at the floor, −100 dB. Filters are normalised here and
their sums added after the logarithm: the same numbers, but no power below 1e-5, which float16 has.

Source: `FormantEncoder` of neural_speech_decoding, Chen and others 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_training.ecog_speech.decoders.layers import SLOPE, initialise, leaky, softplus
from edge_training.ecog_speech.decoders.prediction_head import QUIET, formant_rows, noise_filter
from edge_training.ecog_speech.parameters import (
    ENCODER_F0,
    FEMALE_LIMITS,
    FORMANTS,
    MALE_LIMITS,
    MEL_BANDS,
    SAMPLE_RATE,
    UNIFIED_F0,
    UNIFIED_LIMITS,
    DbScale,
    Parameters,
    bandwidth,
    in_order,
)
from edge_training.engine.config import JsonConfig, Rule, is_whole

Layout = Literal["female", "male", "male-large"]
GROUPS, FEATURES, DROPOUT = 32, 128, 0.5
SMOOTHED, FORMANTS_SMOOTHED = 4, 20  # taps − 1 of the windows at 256 bins
LEAST_POWER = 1e-10  # that enters a logarithm
# layout → channels of the narrow stack behind its input, and its taps
_NARROW: Mapping[Layout, tuple[tuple[int, ...], int]] = MappingProxyType(
    {"female": ((64, 128), 3), "male": ((128, 64, 128), 3), "male-large": ((256, 128, 64, 128), 5)}
)
FURTHER = ("noisebg", "spec_smooth")  # what the encoder gives beside the parameters


@dataclass(frozen=True)
class SpeechEncoderConfig(JsonConfig):
    """What an encoder is; ConfigError names the entry."""

    bins: int = 256  # of the spectrogram, F
    layout: Layout = "female"
    unified: bool = False  # ranges of both sexes for every item
    floor_db: float = -50.0
    top_db: float = 22.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.scale

    def _rules(self) -> Iterator[Rule]:
        whole = is_whole(self.bins, least=32) and self.bins <= 4096
        yield "bins", "a multiple of 32 from 32 to 4096", whole and self.bins % 32 == 0
        yield "layout", " or ".join(get_args(Layout)), self.layout in get_args(Layout)
        yield "unified", "true or false", isinstance(self.unified, bool)

    @property
    def scale(self) -> DbScale:
        """What the spectrogram's −1 and 1 stand for."""
        return DbScale(self.floor_db, self.top_db)


SPEECH_ENCODER_PRESETS: Mapping[str, SpeechEncoderConfig] = MappingProxyType(
    {
        "female-256": SpeechEncoderConfig(),
        "male-256": SpeechEncoderConfig(layout="male"),
        "male-512": SpeechEncoderConfig(bins=512, layout="male"),
        "male-512-large": SpeechEncoderConfig(bins=512, layout="male-large"),
    }
)


class Smoothing(nn.Module):
    """Each bin convolved along time with a symmetric Hann window: (B, F, T) → the same."""

    window: Tensor

    def __init__(self, bins: int, taps: int) -> None:
        super().__init__()
        self.bins = bins
        window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(taps, dtype=torch.float64) / (taps - 1))
        self.register_buffer("window", window.float().expand(bins, 1, -1).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) → the same shape."""
        return F.conv1d(x, self.window, padding=self.window.shape[-1] // 2, groups=self.bins)


class MelSpectrogram(nn.Module):
    """Power (B, F, T) → `MEL_BANDS` bands in scaled dB, without limits: the filter bank of the system.

    Triangles on the HTK scale over bins believed to lie evenly on 0 … 8 kHz.
    """

    filters: Tensor
    offset: Tensor
    least: Tensor

    def __init__(self, bins: int, scale: DbScale) -> None:
        super().__init__()
        bank = mel_filters(bins)
        total = bank.sum(1, keepdims=True)
        empty = total == 0
        total[empty] = LEAST_POWER
        db = 10 * np.log10(total)
        # an empty band is 0 and held at a power of 1: its offset alone remains, the floor
        least = np.where(empty, 1.0, LEAST_POWER / total)
        self.span = scale.span
        self.register_buffer("filters", torch.from_numpy(bank / total).float(), persistent=False)
        offset = (db - scale.floor_db) * 2 / scale.span - 1
        self.register_buffer("offset", torch.from_numpy(offset).float(), persistent=False)
        self.register_buffer("least", torch.from_numpy(least).float(), persistent=False)

    def forward(self, power: Tensor) -> Tensor:
        """Power (B, F, T) → scaled dB (B, MEL_BANDS, T)."""
        bands = torch.maximum(self.filters @ power, self.least)
        return torch.log(bands) * (20 / math.log(10) / self.span) + self.offset


def mel_filters(bins: int) -> NDArray[np.float64]:
    """(MEL_BANDS, bins): HTK triangles of height 1 over `linspace(0, 8000, bins)`."""
    frequency = np.linspace(0.0, SAMPLE_RATE / 2, bins)
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0.0, top, MEL_BANDS + 2) / 2595) - 1)
    width = np.diff(edges)
    rising = (frequency[None] - edges[:-2, None]) / width[:-1, None]
    falling = (edges[2:, None] - frequency[None]) / width[1:, None]
    triangles: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


class GroupNorm(nn.GroupNorm):
    """As torch's, without the check of sizes that a tracer warns of."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) → the same shape."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def _stack(inputs: int, channels: tuple[int, ...], taps: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for outputs in channels:
        layers += [
            nn.Conv1d(inputs, outputs, taps, padding=taps // 2),
            GroupNorm(GROUPS, outputs),
            nn.LeakyReLU(SLOPE),
        ]
        inputs = outputs
    return nn.Sequential(*layers)


class SpeechEncoder(nn.Module):
    """spectrogram (B, 1, T, F), gender (B, 1) → the parameters, noisebg (B, F) and spec_smooth (B, F, T)."""

    lowest: Tensor
    span: Tensor

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.bins
        for name in ("bias", "slop", "thres"):
            setattr(self, f"formant_bandwitdh_{name}", nn.Parameter(torch.zeros(1)))
        self.amplifier, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
        self._build_mel_branch()
        self._build_narrow_branch(bins)
        self._build_formant_branch(bins)
        self._build_background(bins)
        self._build_constants(bins)
        initialise(self)
        nn.init.constant_(self.conv_loudness[-1].bias, QUIET)  # type: ignore[arg-type]

    def _build_mel_branch(self) -> None:
        self.conv1_mel, self.norm1_mel = _conv(MEL_BANDS, 64), _norm(64)
        self.conv2_mel, self.norm2_mel = _conv(64, FEATURES), _norm(FEATURES)
        self.conv_fundementals_mel, self.norm_fundementals_mel = _conv(FEATURES, FEATURES), _norm(FEATURES)

    def _build_narrow_branch(self, bins: int) -> None:
        channels, taps = _NARROW[self.config.layout]
        self.conv1_narrow = _stack(bins, channels, taps)
        self.conv_fundementals_narrow, self.norm_fundementals_narrow = (
            _conv(FEATURES, FEATURES),
            _norm(FEATURES),
        )
        self.conv_f0_narrow = nn.Conv1d(2 * FEATURES, 1, 1)
        self.conv_amplitudes_narrow = nn.Conv1d(FEATURES, 2, 1)
        self.conv_amplitudes_h_narrow = nn.Conv1d(FEATURES, 2, 1)
        self.conv_loudness = nn.Sequential(
            nn.Conv1d(bins, FEATURES, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(FEATURES, FEATURES, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(FEATURES, 1, 1),
        )
        self.dropout = nn.Dropout(DROPOUT)

    def _build_formant_branch(self, bins: int) -> None:
        layout: Layout = "female" if self.config.layout == "female" else "male"
        self.conv1 = _stack(bins, _NARROW[layout][0], 3)
        self.norm1, self.conv2, self.norm2 = _norm(64), _conv(64, FEATURES), _norm(FEATURES)  # unused
        self.conv_fundementals, self.norm_fundementals = _conv(FEATURES, FEATURES), _norm(FEATURES)  # unused
        self.conv_f0 = nn.Conv1d(FEATURES, 1, 1)  # unused
        self.conv_amplitudes = nn.Conv1d(FEATURES, 2, 1)  # unused
        self.conv_amplitudes_h = nn.Conv1d(FEATURES, 2, 1)  # unused
        self.conv_formants, self.norm_formants = _conv(FEATURES, FEATURES), _norm(FEATURES)
        self.conv_formants_freqs = nn.Conv1d(FEATURES, FORMANTS, 1)
        self.conv_formants_bandwidth = nn.Conv1d(FEATURES, FORMANTS, 1)  # unused
        self.conv_formants_amplitude = nn.Conv1d(FEATURES, FORMANTS, 1)
        self.conv_formants_freqs_noise = nn.Conv1d(FEATURES, 1, 1)
        self.conv_formants_bandwidth_noise = nn.Conv1d(FEATURES, 1, 1)
        self.conv_formants_amplitude_noise = nn.Conv1d(FEATURES, 1, 1)

    def _build_background(self, bins: int) -> None:
        self.conv1_bgnoise, self.norm1_bgnoise = nn.Conv1d(FEATURES, FEATURES, 1), _norm(FEATURES)
        self.conv2_bgnoise, self.norm2_bgnoise = nn.Conv1d(FEATURES, bins, 1), _norm(bins)

    def _build_constants(self, bins: int) -> None:
        self.smooth = Smoothing(bins, SMOOTHED * bins // 256 + 1)
        self.smooth_formants = Smoothing(bins, FORMANTS_SMOOTHED * bins // 256 + 1)
        self.mel = MelSpectrogram(bins, self.config.scale)
        both = (UNIFIED_LIMITS, UNIFIED_LIMITS) if self.config.unified else (MALE_LIMITS, FEMALE_LIMITS)
        limits = torch.tensor(both, dtype=torch.float32)  # (2, 6, 2)
        self.register_buffer("lowest", limits[..., :1], persistent=False)
        self.register_buffer("span", limits[..., 1:] - limits[..., :1], persistent=False)

    def forward(self, spectrogram: Tensor, gender: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, T, F) and (B, 1) → parameters (B, rows, T), noisebg (B, F), spec_smooth (B, F, T)."""
        return in_order(self.parameters_of(spectrogram, gender), *FURTHER)

    def parameters_of(self, spectrogram: Tensor, gender: Tensor) -> Parameters:
        """As `forward`, but by name: (B, 1, T, F) and (B, 1) → parameters (B, rows, T)."""
        x = spectrogram.squeeze(1).transpose(1, 2)  # (B, F, T)
        sex = gender.unsqueeze(-1)  # (B, 1, 1)
        scale = self.config.scale
        power = scale.to_power(x)
        smooth = self.smooth(x)
        narrow = self.conv1_narrow(x)
        return {
            "f0_hz": self._pitch(narrow, self.mel(power), sex),
            "loudness": softplus(self.conv_loudness(smooth)),
            "amplitudes": self.conv_amplitudes_narrow(narrow).softmax(1),
            "amplitudes_h": self.conv_amplitudes_h_narrow(narrow).softmax(1),
            **self._formants(scale.to_scaled(self.smooth_formants(power)), sex),
            "noisebg": self._background(narrow),
            "spec_smooth": smooth,
        }

    def _pitch(self, narrow: Tensor, mel: Tensor, sex: Tensor) -> Tensor:
        hn = self.dropout(leaky(self.norm_fundementals_narrow(self.conv_fundementals_narrow(narrow))))
        hm = leaky(self.norm1_mel(self.conv1_mel(mel)))
        hm = leaky(self.norm2_mel(self.conv2_mel(hm)))
        hm = self.dropout(leaky(self.norm_fundementals_mel(self.conv_fundementals_mel(hm))))
        part = torch.sigmoid(self.conv_f0_narrow(torch.cat([hn, hm], 1)))
        if self.config.unified:
            lowest, span = UNIFIED_F0
            return span * part + lowest
        male, span, female = ENCODER_F0
        return span * part + (male + female * sex)

    def _formants(self, smoothed: Tensor, sex: Tensor) -> Parameters:
        h = leaky(self.norm_formants(self.conv_formants(self.conv1(smoothed))))
        lowest = self.lowest[0] + (self.lowest[1] - self.lowest[0]) * sex
        span = self.span[0] + (self.span[1] - self.span[0]) * sex
        frequency = lowest + span * torch.sigmoid(self.conv_formants_freqs(h))
        noise = noise_filter(self.conv_formants_freqs_noise(h), self.conv_formants_bandwidth_noise(h))
        logits = self.conv_formants_amplitude(h), self.conv_formants_amplitude_noise(h)
        return formant_rows(frequency, bandwidth(frequency, sex), *noise, logits)

    def _background(self, narrow: Tensor) -> Tensor:
        shares = self.norm1_bgnoise(self.conv1_bgnoise(narrow)).softmax(1)
        spectrum: Tensor = self.norm2_bgnoise(self.conv2_bgnoise(shares)).softmax(1).amax(-1)
        return spectrum


def _conv(inputs: int, outputs: int) -> nn.Conv1d:
    return nn.Conv1d(inputs, outputs, 3, padding=1)


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(GROUPS, channels)
