"""Spectrogram discriminators: shapes, and what they hear."""

from __future__ import annotations

import torch

from edge_training.vocoder.spectrogram_discriminators import (
    MultiResolutionDiscriminator,
    SpectrogramDiscriminator,
)


def test_one_judgement_for_each_resolution() -> None:
    torch.manual_seed(0)
    judgements = MultiResolutionDiscriminator((32, 64), channels=3, layers=2)(torch.randn(2, 1, 128))
    assert [judgement.score.shape[0] for judgement in judgements] == [2, 2]
    assert [len(judgement.features) for judgement in judgements] == [3, 3]
    # 128 samples are 16 frames of hop 8; 17 bins, then 9 after the second convolution
    assert judgements[0].features[0].shape == (2, 3, 16, 17)
    assert judgements[0].features[1].shape == (2, 3, 16, 9)


def test_level_is_heard_compressed_and_phase_too() -> None:
    torch.manual_seed(0)
    judge = SpectrogramDiscriminator(32, 3, 2)
    audio = torch.randn(1, 1, 128)
    first = judge(audio).features[0]
    assert (judge(-audio).features[0] - first).abs().max() > 1e-3  # the magnitudes are the same
    quiet = judge(1e-3 * audio).features[0] - judge(0 * audio).features[0]
    assert quiet.abs().max() > 0.05  # 60 dB down is 0.126 of the picture


def test_gradients_reach_the_audio_even_where_it_is_silent() -> None:
    audio = torch.zeros(1, 1, 128, requires_grad=True)
    SpectrogramDiscriminator(32, 3, 2)(audio).score.sum().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
