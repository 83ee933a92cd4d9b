"""The running mean of weights."""

from __future__ import annotations

import torch
from torch import nn

from edge_training.engine.running_mean import follow


def filled(value: float) -> nn.BatchNorm1d:
    net = nn.BatchNorm1d(3)
    with torch.no_grad():
        for tensor in (net.weight, net.bias, net.running_mean):
            assert tensor is not None
            tensor.fill_(value)
    return net


def test_a_mean_of_the_decay_and_buffers_as_they_are() -> None:
    mean, net = filled(0.0), filled(1.0)
    follow(mean, net, decay=0.75, step=1000)
    assert mean.weight.tolist() == [0.25] * 3
    assert mean.running_mean is not None
    assert mean.running_mean.tolist() == [1.0] * 3


def test_the_start_is_soon_forgotten() -> None:
    """Step 0 keeps a tenth of what was there, whatever the decay."""
    mean, net = filled(1.0), filled(0.0)
    follow(mean, net, decay=0.999, step=0)
    torch.testing.assert_close(mean.weight, torch.full((3,), 0.1), check_dtype=True)
