"""Weights rounded to float16 for arithmetic in float32: for nets whose values do not fit half precision.

A phase that is summed over a second, or a spectrum of 95 dB, is lost in half precision (a kernel rounded to
it leaks at −66 dB). For the nets with ``half="weights"`` (`Net.half`) only the weights of convolutions and
linear layers are rounded. Other numbers, and constants such as the kernels of a transform, are unchanged.
"""

from __future__ import annotations

import copy

import torch
from torch import nn


def with_half_weights(module: nn.Module) -> nn.Module:
    """A copy whose layers' weights and offsets are the nearest numbers of float16."""
    rounded = copy.deepcopy(module)
    with torch.no_grad():
        for layer in rounded.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
                for parameter in layer.parameters():
                    parameter.copy_(parameter.half().float())
    return rounded
