"""Rounded weights, float32 arithmetic."""

from __future__ import annotations

import torch
from torch import nn

from edge_export.tracing.half_weights import with_half_weights


def test_layers_are_rounded_in_a_copy() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Conv1d(2, 2, 1))
    state = net.state_dict()
    state["1.weight"].fill_(1 / 3)
    before = {key: value.clone() for key, value in state.items()}
    rounded = with_half_weights(net).state_dict()
    assert all(torch.equal(state[key], before[key]) for key in before)
    for key, value in rounded.items():
        layer = not key.startswith("1.")
        assert torch.equal(value, before[key].half().float() if layer else before[key]), key
