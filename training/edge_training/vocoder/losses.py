"""HiFi-GAN's losses (Kong, Kim, Bae 2020, equations 1–8), each a mean over the batch.

    discriminator   Σ over sub-nets  mean((1 − D(y))²) + mean(D(ŷ)²)
    adversarial     Σ over sub-nets  mean((1 − D(ŷ))²)
    features        Σ over sub-nets and layers  mean|F(y) − F(ŷ)|, the last layer included
    mel             mean|mel(y) − mel(ŷ)|

and one that is not in the paper: `SpectralDistance`, the multi-resolution STFT loss of Yamamoto, Song, Kim
2020 (Parallel WaveGAN, arXiv 1910.11480), Σ over resolutions of spectral convergence + mean|Δ ln magnitude|,
divided by their number. A generator can learn from it without discriminators.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_training.vocoder.discriminators import Judgement

MAGNITUDE_FLOOR = 1e-7  # of |STFT|², before the root and the logarithm


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Scalar, least squares: real audio's scores (B, n) to 1, generated audio's to 0."""
    terms = [
        (1 - r.score.float()).square().mean() + f.score.float().square().mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).sum()


def adversarial_loss(fake: Sequence[Judgement]) -> Tensor:
    """Scalar, least squares: generated audio's scores (B, n) to 1."""
    return torch.stack([(1 - judgement.score.float()).square().mean() for judgement in fake]).sum()


def feature_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Scalar: mean |Δ| of feature maps (B, channels, …); no gradient flows into those of real audio."""
    terms = [
        F.l1_loss(ours, theirs.detach())
        for r, f in zip(real, fake, strict=True)
        for theirs, ours in zip(r.features, f.features, strict=True)
    ]
    return torch.stack(terms).sum()


def mel_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Scalar; mels (…, frames), cropped to the shorter."""
    frames = min(real.shape[-1], fake.shape[-1])
    return F.l1_loss(fake[..., :frames], real[..., :frames])


def split_judgements(both: Sequence[Judgement], batch: int) -> tuple[list[Judgement], list[Judgement]]:
    """Judgements of one pass, split into those of the first `batch` items and those of the rest."""

    def part(which: slice) -> list[Judgement]:
        return [Judgement(j.score[which], tuple(f[which] for f in j.features)) for j in both]

    return part(slice(None, batch)), part(slice(batch, None))


class SpectralDistance(nn.Module):
    """Multi-resolution STFT loss between samples (B, 1, N).

    Args:
        resolutions: (n_fft, hop, window) in samples; periodic Hann windows.
    """

    def __init__(self, resolutions: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.resolutions = tuple(resolutions)
        for index, (_, _, window) in enumerate(self.resolutions):
            self.register_buffer(f"window{index}", torch.hann_window(window), persistent=False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scalar, of two signals (B, 1, N)."""
        total = real.new_zeros(())
        for index, (n_fft, hop, window) in enumerate(self.resolutions):
            both = torch.cat([real, fake]).squeeze(1)
            spectrum = torch.stft(
                both, n_fft, hop, window, self.get_buffer(f"window{index}"), return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square()
            theirs, ours = power.clamp(min=MAGNITUDE_FLOOR).sqrt().chunk(2)
            # one ratio for each item: a mean over items is the same however a batch is split over processes
            ratio = torch.linalg.vector_norm(theirs - ours, dim=(1, 2)) / torch.linalg.vector_norm(
                theirs, dim=(1, 2)
            )
            total = total + ratio.mean() + F.l1_loss(ours.log(), theirs.log())
        return total / max(1, len(self.resolutions))
