"""Speech parameters as a speaker has them, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edge_training.ecog_speech.parameters import female_bandwidth


def spoken(frames: int, batch: int = 1) -> dict[str, Tensor]:
    """The tensors of `PARAMETERS`, (batch, rows, frames): a gliding voice with hiss between."""
    time = torch.arange(frames) / 125
    turn = torch.stack([torch.sin(2 * math.pi * (0.7 + 0.3 * row) * time + row) for row in range(8)])
    middle = torch.tensor([600.0, 1500, 2600, 4100, 5500, 6500])[:, None]
    frequency = middle + middle * 0.08 * turn[:6]
    voiced = torch.sigmoid(4 * turn[6:7])
    logits = -0.7 * torch.arange(6.0)[:, None] + 0.3 * turn[:6]
    width = female_bandwidth(frequency)
    rows = {
        "f0_hz": 220 + 60 * turn[:1],
        "loudness": 0.01 * (1.05 + turn[7:8]),
        "amplitudes": torch.cat([voiced, 1 - voiced]),
        "amplitudes_h": torch.cat([voiced, 1 - voiced]),
        "freq_formants_hamon_hz": frequency,
        "bandwidth_formants_hamon_hz": width,
        "amplitude_formants_hamon": logits.softmax(0),
        "freq_formants_noise_hz": torch.cat([frequency, 5500 + 900 * turn[6:7]]),
        "bandwidth_formants_noise_hz": torch.cat([width, 2800 + 500 * turn[7:8]]),
        "amplitude_formants_noise": torch.cat([logits, 1 + turn[6:7]]).softmax(0),
    }
    return {name: value.expand(batch, -1, -1).contiguous() for name, value in rows.items()}
