"""Variant `light` of mel inversion: a small net that corrects multiplicative updates, for devices.

    mel (B, n_mels, T)
      │ start: local averages of the bands, then UPDATES_BEFORE multiplicative updates (`Updates`)
    q (B, bins, T)                the estimate that follows from the bank alone, nowhere negative
      │ ln q, and ln q less the local average of the log bands: two features of each bin
      │ convolution of 9 bins × 3 frames, every 4th bin; plus a learned vector for each place on the axis
    (B, CHANNELS, bands of 4 bins, T)
      │ BLOCKS × [9 × 3 of each channel alone → norm → 1 × 1 to twice the channels → GELU → 1 × 1], added
      │ transposed convolution back to bins: a correction of ln q
    q (B, bins, T)
      │ UPDATES_AFTER multiplicative updates: the mel of the result is the given one again
    ln q (B, bins, T)

A mel lacks fine structure: neighbouring bins share a band, more of them at higher frequencies. It can be
predicted, because speech has harmonics (equally spaced, and resolved at low frequencies) and the window has a
known shape. Hence convolutions along a frequency axis that is linear in Hz, wide in frequency, with a learned
vector for the position, as the bank differs from place to place; and groups of no more than 4 bins, the width
of a window's main lobe.

73,777 parameters; 0.92 GMAC for a second at 22 050 Hz. Bins that the bank does not reach (above 8 kHz for
`hifigan-22k`) start at the nearest one that it reaches, and are changed by the convolutions only.

float16: ratios of averages instead of sums, computed on magnitudes 16 times as large, so that no value that
matters comes near the smallest normal number; and limited to 7 times the largest magnitude of a signal at
full scale, because one infinity would make every bin NaN.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig, filter_bank

UPDATES_BEFORE, UPDATES_AFTER = 15, 10
GROUP = 4  # bins
FEATURES, CHANNELS, BLOCKS, WIDER = 2, 48, 6, 2
KERNEL = (9, 3)  # bands or bins × frames
CONTEXT_FRAMES = (KERNEL[1] // 2) * (BLOCKS + 1)  # that a frame depends on, on each side
SCALE = 16.0
FLOOR = 1e-5  # smallest magnitude
MEAN, SPREAD = -3.0, 4.0  # of ln q, about
FIRST_GAIN = 0.3  # of a block's branch
LOUDEST = 11.0  # of ln q times SCALE, 3742 in magnitude: float16 ends at 65504
LARGEST = math.exp(LOUDEST)


class Updates(nn.Module):
    """Multiplicative updates with exponent 1.5, as good as twice as many with 1; magnitudes times SCALE.

    With B the bank, each band divided by its sum, and I its transpose, each bin divided by its sum:
    ``q ← q · (I m / I B q)^1.5``, where m are the linear bands divided by the same sums. Bins that no band
    reaches stay unchanged.
    """

    bank: Tensor
    average: Tensor
    log_sums: Tensor
    reached: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        bank = filter_bank(mel)
        sums = np.maximum(bank.sum(axis=1, keepdims=True), 1e-12)
        constants = {
            "bank": bank / sums,
            "average": _averages(bank / sums),
            "log_sums": np.log(sums),
            "reached": bank.max(axis=0)[:, None] > 0,
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)

    def start(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """ln mel (B, n_mels, T) → I m, and the same average of the logarithms, both (B, bins, T)."""
        bands = mel - self.log_sums
        target = torch.matmul(self.average, (bands + math.log(SCALE)).clamp_max(LOUDEST).exp())
        return target, torch.matmul(self.average, bands)

    def forward(self, q: Tensor, target: Tensor, times: int) -> Tensor:
        """Estimate and `target` I m, both (B, bins, T) → the estimate after so many updates, (B, bins, T)."""
        for _ in range(times):
            ratio = target / torch.matmul(self.average, torch.matmul(self.bank, q))
            q = (q * (1 + self.reached * (ratio * ratio.sqrt() - 1))).clamp_max(LARGEST)
        return q.clamp_min(SCALE * FLOOR)


def _averages(bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bins, n_mels): weights of the bands at each bin, those of the nearest bin where no band reaches."""
    reach = bank.sum(axis=0)
    reached = np.flatnonzero(reach)
    nearest = reached[np.abs(np.arange(bank.shape[1])[:, None] - reached).argmin(axis=1)]
    averages: NDArray[np.float64] = (bank[:, nearest] / reach[nearest]).T
    return averages


class Block(nn.Module):
    """Separable convolution with a residual; (B, CHANNELS, bands, T) → the same."""

    FOLDS = (("spread", "norm"),)  # export folds the norm into the convolution

    def __init__(self) -> None:
        super().__init__()
        padding = (KERNEL[0] // 2, KERNEL[1] // 2)
        self.spread = nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=padding, groups=CHANNELS, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.widen = nn.Conv2d(CHANNELS, WIDER * CHANNELS, 1)
        self.narrow = nn.Conv2d(WIDER * CHANNELS, CHANNELS, 1)
        with torch.no_grad():
            self.narrow.weight.mul_(FIRST_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """(B, CHANNELS, bands, T) → the same shape."""
        y: Tensor = self.narrow(F.gelu(self.widen(self.norm(self.spread(x)))))
        return x + y


class MelInversionLight(nn.Module):
    """mel (B, n_mels, T), natural logarithms → ln of the magnitude (B, bins, T)."""

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.updates = Updates(mel)
        stride, around = (GROUP, 1), (KERNEL[0] // 2, KERNEL[1] // 2)
        bands = (mel.stft.bins - 1) // GROUP + 1
        self.gather = nn.Conv2d(FEATURES, CHANNELS, KERNEL, stride, around)
        self.place = nn.Parameter(0.1 * torch.randn(CHANNELS, bands, 1))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.scatter = nn.ConvTranspose2d(CHANNELS, 1, (KERNEL[0], 1), stride, (around[0], 0))
        nn.init.normal_(self.scatter.weight, std=0.01)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, n_mels, T) → ln of the magnitude, (B, bins, T)."""
        with torch.autocast(mel.device.type, enabled=False):  # half precision does not carry the updates
            target, log_average = self.updates.start(mel.float())
            log_q = self.updates(target, target, UPDATES_BEFORE).log() - math.log(SCALE)
        x = torch.stack([(log_q - MEAN) / SPREAD, (log_q - log_average) / SPREAD], 1)
        x = self.blocks(self.gather(x) + self.place)
        correction: Tensor = self.scatter(x).squeeze(1)
        with torch.autocast(mel.device.type, enabled=False):
            q = (log_q + correction.float() + math.log(SCALE)).clamp_max(LOUDEST).exp()
            mended: Tensor = self.updates(q, target, UPDATES_AFTER)
            return mended.log() - math.log(SCALE)
