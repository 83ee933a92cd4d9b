"""A small net and a video on which Grad-CAM is tested."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS, BatchNorm, MriAcoustic

MEAN, STD = tuple(-45.0 + 0.2 * band for band in range(64)), tuple(6.0 + 0.05 * band for band in range(64))
TINY = replace(MRI_ACOUSTIC_PRESETS["tiny"], mel_mean=MEAN, mel_std=STD)
STATISTICS = (np.asarray(MEAN), np.asarray(STD))
FRAMES = 9


def tiny() -> MriAcoustic:
    """A net whose mels change with its maps, upwards here and downwards there."""
    torch.manual_seed(20)
    net = MriAcoustic(TINY)
    for layer in net.modules():
        if isinstance(layer, BatchNorm):
            torch.nn.init.normal_(layer.bias, 0.0, 0.3)
    for name, weight in net.named_parameters():
        if name.startswith("head.weight") or "weight_ih" in name:
            weight.data.mul_(3.0)
    return net.eval()


def pictures(size: int = 32) -> NDArray[np.uint8]:
    """A bright spot that wanders."""
    y, x = np.mgrid[:size, :size] / size
    spots = [np.exp(-(((x - 0.2 - 0.06 * t) ** 2 + (y - 0.5) ** 2) / 0.02)) for t in range(FRAMES)]
    return np.asarray(np.rint(220 * np.stack(spots)), np.uint8)
