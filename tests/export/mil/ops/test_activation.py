"""Activations against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edge_export.mil.ops import activation as a

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32) * 4
ALPHA = np.array([0.1, 0.5, 2.0], np.float32)
SLOPE, LIMIT = np.array(0.2, np.float32), np.array(3, np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (a.relu, F.relu),
        (a.relu6, F.relu6),
        (lambda x: a.leaky_relu(x, np.float32(0.1)), lambda x: F.leaky_relu(x, 0.1)),
        (lambda x: a.elu(x, np.float32(0.7)), lambda x: F.elu(x, 0.7)),
        (lambda x: a.prelu(x, ALPHA), lambda x: F.prelu(x, torch.from_numpy(ALPHA))),
        (lambda x: a.thresholded_relu(x, np.float32(1)), lambda x: F.threshold(x, 1, 0)),
        (
            lambda x: a.clamped_relu(x, np.float32(0.2), np.float32(3)),
            lambda x: F.leaky_relu(x, 0.2).clamp(max=3),
        ),
        (a.sigmoid, torch.sigmoid),
        (lambda x: a.sigmoid_hard(x, np.float32(1 / 6), np.float32(0.5)), F.hardsigmoid),
        (a.silu, F.silu),
        (a.softplus, F.softplus),
        (lambda x: a.softplus_parametric(x, ALPHA, ALPHA), lambda x: _by_channel(x)),
        (a.softsign, F.softsign),
        (a.softmax, lambda x: F.softmax(x, -1)),
        (lambda x: a.softmax(x, 1), lambda x: F.softmax(x, 1)),
        (a.gelu, F.gelu),
        (lambda x: a.gelu(x, "TANH_APPROXIMATION"), lambda x: F.gelu(x, approximate="tanh")),
        (lambda x: a.gelu(x, "SIGMOID_APPROXIMATION"), lambda x: x * torch.sigmoid(1.702 * x)),
        (lambda x: a.scaled_tanh(x, np.float32(2), np.float32(0.5)), lambda x: 2 * torch.tanh(x / 2)),
        (lambda x: a.linear_activation(x, np.float32(2), np.float32(1)), lambda x: 2 * x + 1),
    ],
)
def test_equals_pytorch(ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> None:
    np.testing.assert_allclose(ours(X), theirs(torch.from_numpy(X)), atol=1e-6, rtol=1e-6)


def _by_channel(x: torch.Tensor) -> torch.Tensor:
    alpha = torch.from_numpy(ALPHA)[:, None]
    return alpha * F.softplus(alpha * x)


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert a.sigmoid(np.array([-1000, 1000], np.float32)).tolist() == [0, 1]


def test_gelu_refuses_an_unknown_mode() -> None:
    with pytest.raises(ValueError, match="the mode GUESS"):
        a.gelu(X, "GUESS")
