"""STOI⁺ on spectrograms: a differentiable loss, without the clipping of STOI.

Third octaves from 150 Hz, 15 of them; windows of 30 frames; the correlation of each band in each window, over
the frames inside the response. The bands are built as for 10 kHz, as published, though the bins are of
16 kHz: each lies 1.6 times as high.

Source: Graetzer and Hopkins 2021 (STOI⁺: no normalisation and clipping); loss of neural_speech_decoding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BANDS, LOWEST, RATE = 15, 150.0, 10000.0
WINDOW = 30  # frames
TINY = 1e-8


class StoiLoss(nn.Module):
    """Powers (B, T, F) and on_stage (B, T) → −STOI⁺ of each item's response, the mean over items."""

    octaves: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("octaves", torch.from_numpy(third_octaves(bins)).float(), persistent=False)

    def forward(self, made: Tensor, true: Tensor, on_stage: Tensor) -> Tensor:
        """Powers (B, T, F) and on_stage (B, T) → scalar."""
        mask = on_stage.unfold(-1, WINDOW, 1).unsqueeze(1)  # (B, 1, windows, 30)
        x, y = (self._windows(power, mask) for power in (made, true))
        correlation = (x * y).sum((1, 2, 3))
        windows = mask.shape[2]
        return -(correlation / (BANDS * windows * mask.mean((1, 2, 3)) + TINY)).mean()

    def _windows(self, power: Tensor, mask: Tensor) -> Tensor:
        """(B, 15, windows, 30): mean 0 and norm 1 over the frames of the mask."""
        bands = torch.sqrt((power + TINY) @ self.octaves.T).transpose(1, 2)
        cut = bands.unfold(-1, WINDOW, 1)
        mean = (cut * mask).sum(-1, keepdim=True) / (mask.sum(-1, keepdim=True) + TINY)
        centred = (cut - mean) * mask
        return centred / torch.sqrt(centred.square().sum(-1, keepdim=True) + TINY)


def third_octaves(bins: int) -> NDArray[np.float64]:
    """(15, bins): which bins belong to which band; edges at the nearest bins."""
    frequency = np.linspace(0.0, RATE, 2 * bins)[:bins]
    order = np.arange(BANDS)
    low, high = (LOWEST * 2.0 ** ((2 * order + side) / 6) for side in (-1, 1))
    matrix = np.zeros((BANDS, bins))
    for band in range(BANDS):
        first, last = (int(np.argmin(np.abs(frequency - edge))) for edge in (low[band], high[band]))
        matrix[band, first:last] = 1
    return matrix
