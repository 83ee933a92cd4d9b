"""From features (B, C, T) to speech parameters: the head that all ECoG decoders share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edge_training.ecog_speech.decoders.layers import FrameNorm, Side, TimeConv1d, leaky, softplus
from edge_training.ecog_speech.parameters import (
    DB_LOUDNESS,
    DECODER_F0,
    FEMALE_LIMITS,
    FORMANTS,
    NOISE_BANDWIDTH,
    NOISE_FREQUENCY,
    Parameters,
    female_bandwidth,
)

WIDTH = 32  # channels of the two branches
QUIET = -9.0  # offset of the loudness before softplus: 1.2e-4
DROPOUT = 0.5


class PredictionHead(nn.Module):
    """`conv_formants_bandwidth` and the two `formant_bandwitdh` numbers are in published files; unused."""

    lowest: Tensor
    span: Tensor

    def __init__(self, channels: int, side: Side = "both", *, db_loudness: bool = False) -> None:
        super().__init__()
        self.db_loudness = db_loudness
        self.formant_bandwitdh_ratio = nn.Parameter(torch.zeros(1))
        self.formant_bandwitdh_slop = nn.Parameter(torch.zeros(1))
        self.conv_fundementals = TimeConv1d(channels, WIDTH, 3, side)
        self.norm_fundementals = FrameNorm(WIDTH)
        self.conv_f0 = nn.Conv1d(WIDTH, 1, 1)
        self.conv_amplitudes = nn.Conv1d(channels, 2, 1)
        self.conv_amplitudes_h = nn.Conv1d(channels, 2, 1)
        self.conv_loudness = nn.Conv1d(channels, 1, 1)
        self.conv_formants = TimeConv1d(channels, WIDTH, 3, side)
        self.norm_formants = FrameNorm(WIDTH)
        self.conv_formants_freqs = nn.Conv1d(WIDTH, FORMANTS, 1)
        self.conv_formants_bandwidth = nn.Conv1d(WIDTH, FORMANTS, 1)
        self.conv_formants_amplitude = nn.Conv1d(WIDTH, FORMANTS, 1)
        self.conv_formants_freqs_noise = nn.Conv1d(WIDTH, 1, 1)
        self.conv_formants_bandwidth_noise = nn.Conv1d(WIDTH, 1, 1)
        self.conv_formants_amplitude_noise = nn.Conv1d(WIDTH, 1, 1)
        self.dropout = nn.Dropout(DROPOUT)
        limits = torch.tensor(FEMALE_LIMITS, dtype=torch.float32)
        self.register_buffer("lowest", limits[:, :1], persistent=False)
        self.register_buffer("span", limits[:, 1:] - limits[:, :1], persistent=False)

    def forward(self, x: Tensor) -> Parameters:
        """(B, C, T) → the parameters by name, each (B, rows, T), and `x_common`, which is x."""
        pitch = self.dropout(leaky(self.norm_fundementals(self.conv_fundementals(x))))
        h = leaky(self.norm_formants(self.conv_formants(x)))
        lowest, span = DECODER_F0
        parameters = {
            "f0_hz": span * torch.sigmoid(self.conv_f0(pitch)) + lowest,
            "loudness": self._loudness(x),
            "amplitudes": self.conv_amplitudes(x).softmax(1),
            "amplitudes_h": self.conv_amplitudes_h(x).softmax(1),
        }
        frequency = self.lowest + self.span * torch.sigmoid(self.conv_formants_freqs(h))
        noise = formant_rows(frequency, female_bandwidth(frequency), *self._noise(h), self._logits(h))
        return parameters | noise | {"x_common": x}

    def _loudness(self, x: Tensor) -> Tensor:
        raw: Tensor = self.conv_loudness(x)
        if not self.db_loudness:
            return softplus(raw)
        span, lowest = DB_LOUDNESS
        return torch.exp((span * torch.sigmoid(raw) + lowest) * (math.log(10) / 10))

    def _noise(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Frequency and bandwidth of the broadband filter."""
        return noise_filter(self.conv_formants_freqs_noise(h), self.conv_formants_bandwidth_noise(h))

    def _logits(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv_formants_amplitude(h), self.conv_formants_amplitude_noise(h)

    def quieten(self) -> None:
        """Set the initial loudness: nearly silent."""
        nn.init.constant_(self.conv_loudness.bias, QUIET)  # type: ignore[arg-type]  # it has one


def noise_filter(frequency: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency and bandwidth of the broadband filter in Hz, (B, 1, T), from two layers' outputs."""
    lowest, span = NOISE_FREQUENCY
    narrowest, slope = NOISE_BANDWIDTH
    return lowest + span * torch.sigmoid(frequency), slope * softplus(width) + narrowest


def formant_rows(
    frequency: Tensor,
    width: Tensor,
    noise_frequency: Tensor,
    noise_width: Tensor,
    logits: tuple[Tensor, Tensor],
) -> Parameters:
    """The six tensors of the formants, (B, rows, T): voiced ones, and those plus the broadband filter."""
    voiced, noise = logits
    return {
        "freq_formants_hamon_hz": frequency,
        "bandwidth_formants_hamon_hz": width,
        "amplitude_formants_hamon": voiced.softmax(1),
        "freq_formants_noise_hz": torch.cat([frequency, noise_frequency], 1),
        "bandwidth_formants_noise_hz": torch.cat([width, noise_width], 1),
        "amplitude_formants_noise": torch.cat([voiced, noise], 1).softmax(1),
    }
