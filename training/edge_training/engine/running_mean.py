"""Running means of weights, which are better than the weights themselves after a short training."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(mean: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move a running mean of a net's weights; a short mean at first, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - decay)
    for mine, its in zip(mean.buffers(), net.buffers(), strict=True):
        mine.copy_(its)  # running statistics are means already
