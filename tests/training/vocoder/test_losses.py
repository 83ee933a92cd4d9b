"""HiFi-GAN's losses against the paper's sums written out, and the one-pass form against two passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_training.vocoder.discriminators import (
    Judgement,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
    PeriodConfig,
    ScaleConfig,
)
from edge_training.vocoder.losses import (
    SpectralDistance,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    mel_loss,
    split_judgements,
)


def judgement(score: list[float], *features: list[float]) -> Judgement:
    return Judgement(torch.tensor([score]), tuple(torch.tensor([[f]]) for f in features))


REAL = [judgement([1.0, 0.0], [1.0, 2.0], [3.0]), judgement([0.5], [4.0])]
FAKE = [judgement([0.0, 2.0], [0.0, 4.0], [3.5]), judgement([1.5], [1.0])]


def test_discriminator_loss() -> None:
    # ((1−1)² + (1−0)²)/2 + (0² + 2²)/2 + (1−0.5)² + 1.5²
    assert float(discriminator_loss(REAL, FAKE)) == pytest.approx(0.5 + 2.0 + 0.25 + 2.25)


def test_adversarial_loss() -> None:
    # ((1−0)² + (1−2)²)/2 + (1−1.5)²
    assert float(adversarial_loss(FAKE)) == pytest.approx(1.0 + 0.25)


def test_feature_loss() -> None:
    # (|1−0| + |2−4|)/2 + |3−3.5| + |4−1|
    assert float(feature_loss(REAL, FAKE)) == pytest.approx(1.5 + 0.5 + 3.0)


def test_features_of_real_audio_get_no_gradient() -> None:
    real, fake = torch.ones(1, 1, 3, requires_grad=True), torch.zeros(1, 1, 3, requires_grad=True)
    score = torch.zeros(1, 1)
    feature_loss([Judgement(score, (real,))], [Judgement(score, (fake,))]).backward()  # type: ignore[no-untyped-call]
    assert real.grad is None
    assert fake.grad is not None


def test_mels_are_cropped_to_the_shorter() -> None:
    real, fake = torch.zeros(1, 2, 5), torch.ones(1, 2, 3)
    assert float(mel_loss(real, fake)) == 1.0


def test_one_pass_equals_two() -> None:
    torch.manual_seed(1)
    judges = [
        MultiPeriodDiscriminator(PeriodConfig(periods=(2, 5), channels=(4, 8))),
        MultiScaleDiscriminator(
            ScaleConfig(scales=2, channels=(4, 8), kernels=(15, 5), strides=(1, 4), groups=(1, 4))
        ).eval(),  # so that spectral norm does not move between the passes
    ]
    real, fake = torch.randn(3, 1, 311), torch.randn(2, 1, 311)
    for judge in judges:
        first, rest = split_judgements(judge(torch.cat([real, fake])), len(real))
        for ours, theirs in ((first, judge(real)), (rest, judge(fake))):
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one.score, other.score, rtol=1e-5, atol=1e-6)
                assert len(one.features) == len(other.features)
                for a, b in zip(one.features, other.features, strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def by_hand_distance(real: Tensor, fake: Tensor, n_fft: int, hop: int) -> float:
    """One resolution, with numpy's transform: frames centred with reflection, periodic Hann."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)

    def magnitude(x: Tensor) -> NDArray[np.float64]:
        padded = np.pad(x.double().numpy(), n_fft // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        return np.asarray(np.sqrt(np.maximum(np.abs(np.fft.rfft(frames * window)) ** 2, 1e-7)))

    total = 0.0
    for row in range(len(real)):
        theirs, ours = magnitude(real[row, 0]), magnitude(fake[row, 0])
        total += float(np.linalg.norm(theirs - ours) / np.linalg.norm(theirs))
        total += float(np.abs(np.log(theirs) - np.log(ours)).mean())
    return total / len(real)


def test_spectral_distance() -> None:
    torch.manual_seed(2)
    real, fake = torch.randn(2, 1, 512), torch.randn(2, 1, 512)
    resolutions = [(64, 16, 64), (128, 32, 128)]
    expected = np.mean([by_hand_distance(real, fake, n_fft, hop) for n_fft, hop, _ in resolutions])
    assert float(SpectralDistance(resolutions)(real, fake)) == pytest.approx(expected, rel=1e-4)
    assert float(SpectralDistance(resolutions)(real, real)) == 0.0
