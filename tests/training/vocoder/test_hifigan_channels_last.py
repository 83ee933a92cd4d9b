"""The generator with channels last computes, and learns, what the plain one does."""

from __future__ import annotations

import pytest
import torch
from tests.training.vocoder.test_hifigan import CONFIGS, small

from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig
from edge_training.vocoder.hifigan_channels_last import forward_channels_last


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_same_samples_and_gradients(config: HifiGanConfig) -> None:
    torch.manual_seed(4)
    generator = HifiGan(small(config), weight_norm=True).double()
    mel = torch.randn(2, generator.config.num_mels, 5, dtype=torch.float64)
    plain, ours = generator(mel), forward_channels_last(generator, mel)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    weight = torch.randn_like(plain)
    parameters = list(generator.parameters())
    theirs = torch.autograd.grad((plain * weight).sum(), parameters)
    mine = torch.autograd.grad((ours * weight).sum(), parameters)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
