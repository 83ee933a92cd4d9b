"""The gradient harmonizing mechanism for regression, GHM-R: neither the many easy errors nor outliers rule.

    d = made − true,   loss √(d² + μ²) − μ,   length of its gradient g = |d| / √(d² + μ²), 0 … 1

30 equal bins of g; a value's weight is total / (count of its bin · number of bins that hold any), so that
each bin counts alike and the weights' mean is 1. Counts are running means, 0.75 of the old one, from a
bin's first count on; a bin without values keeps its own. They are buffers: a training that goes on keeps
them.

Source: Li, Liu and Wang 2019, *Gradient Harmonized Single-Stage Detector*, AAAI; the numbers and the
weighting with loudness are those of neural_speech_decoding's first version, and were never checked against
a run of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MU = 0.02
BINS = 30
MOMENTUM = 0.75  # of a count in its running mean


class HarmonizedLoss(nn.Module):
    """(made, true, weight), each (B, rows, T) → the mean of weighted losses where the weight is not 0.

    Counts follow in training alone.
    """

    counts: Tensor  # (30,) running means; 0 where a bin has had no value

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(BINS))

    def forward(self, made: Tensor, true: Tensor, weight: Tensor) -> Tensor:
        """Scalar; 0 where all weights are."""
        difference = made - true
        root = (difference.square() + MU**2).sqrt()
        weight = weight.expand_as(difference)
        counted = weight > 0
        # the last edge lies beyond 1: rounding may bring a length there
        length = difference.detach().abs() / root.detach()
        # NaN has no place: the loss is not finite then, which the training refuses with a sentence
        place = (length.nan_to_num(1.0) * BINS).long().clamp(max=BINS - 1)
        now = torch.zeros_like(self.counts).index_add_(0, place.flatten(), counted.flatten().to(self.counts))
        counts = self._followed(now)
        total = now.sum().clamp(min=1)
        each = total / counts.clamp(min=1e-12) / (now > 0).sum().clamp(min=1)
        weighted = (root - MU) * each[place] * weight * counted
        return weighted.sum() / total

    def _followed(self, now: Tensor) -> Tensor:
        mean = torch.where(self.counts > 0, MOMENTUM * self.counts + (1 - MOMENTUM) * now, now)
        counts = torch.where(now > 0, mean, self.counts)
        if self.training:
            self.counts.copy_(counts)
        return counts
