"""Discriminators that see spectrograms, at several resolutions; beside HiFi-GAN's multi-period one.

    input   (B, 1, N) samples in −1…1
    output  one `Judgement` for each resolution

Real and imaginary part of a short-time transform, the magnitude compressed by a power of 0.3, are two
pictures over (frames, bins); convolutions of 3 frames × 9 bins, all but the first with a stride of 2 along
the bins, then 3 × 3 to one channel. Weight norm, leaky ReLU. After Défossez and others 2022 (EnCodec, arXiv
2210.13438) and Jang and others 2021 (UnivNet, arXiv 2106.07889).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from edge_training.vocoder.discriminators import SLOPE, Judgement
from edge_training.vocoder.spectral_losses import Transform, magnitude

COMPRESSION = 0.3


class SpectrogramDiscriminator(nn.Module):
    """One resolution: (B, 1, N) → Judgement."""

    def __init__(self, n_fft: int, channels: int, layers: int) -> None:
        super().__init__()
        self.transform = Transform(n_fft, n_fft // 4, n_fft)
        self.convs = nn.ModuleList()
        for layer in range(layers):
            inputs, stride = (2, 1) if layer == 0 else (channels, 2)
            conv = nn.Conv2d(inputs, channels, (3, 9), (1, stride), padding=(1, 4))
            self.convs.append(parametrizations.weight_norm(conv))
        self.conv_post = parametrizations.weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Judgement:
        """(B, 1, N) → score (B, n) and features."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum = cast(Tensor, self.transform(x.float().squeeze(1)))
            gain = magnitude(spectrum, 1e-7) ** (COMPRESSION - 1)
            picture = torch.stack([spectrum.real * gain, spectrum.imag * gain], 1).transpose(2, 3)
        features = []
        for conv in self.convs:
            picture = F.leaky_relu(conv(picture), SLOPE)
            features.append(picture)
        picture = self.conv_post(picture)
        features.append(picture)
        return Judgement(picture.flatten(1), tuple(features))


class MultiResolutionDiscriminator(nn.Module):
    """(B, 1, N) → one Judgement for each n_fft."""

    def __init__(self, sizes: Sequence[int], channels: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(SpectrogramDiscriminator(n, channels, layers) for n in sizes)

    def forward(self, x: Tensor) -> list[Judgement]:
        """(B, 1, N) → one judgement for each resolution."""
        return [discriminator(x) for discriminator in self.discriminators]
