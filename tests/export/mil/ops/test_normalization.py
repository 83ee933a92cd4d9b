"""Normalisations against PyTorch, and by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from edge_export.mil.ops import normalization as n

X = np.random.default_rng(0).standard_normal((2, 6, 5, 4)).astype(np.float32) * 3 + 1
GAMMA = np.linspace(0.5, 2, 6, dtype=np.float32)
BETA = np.linspace(-1, 1, 6, dtype=np.float32)
EPSILON = np.float32(1e-3)


def _t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def test_batch_norm() -> None:
    mean, variance = BETA * 2, GAMMA * 3
    expected = F.batch_norm(_t(X), _t(mean), _t(variance), _t(GAMMA), _t(BETA), eps=1e-3)
    np.testing.assert_allclose(n.batch_norm(X, mean, variance, GAMMA, BETA, EPSILON), expected, atol=2e-6)
    plain = F.batch_norm(_t(X), _t(mean), _t(variance), eps=1e-5)
    np.testing.assert_allclose(n.batch_norm(X, mean, variance), plain, atol=2e-6)


def test_instance_norm() -> None:
    expected = F.instance_norm(_t(X), weight=_t(GAMMA), bias=_t(BETA), eps=1e-3)
    np.testing.assert_allclose(n.instance_norm(X, GAMMA, BETA, EPSILON), expected, atol=2e-6)


def test_layer_norm() -> None:
    weight, bias = X[0, 0], X[1, 1]
    expected = F.layer_norm(_t(X), [5, 4], _t(weight), _t(bias), eps=1e-3)
    np.testing.assert_allclose(
        n.layer_norm(X, np.array([-2, -1]), weight, bias, EPSILON), expected, atol=3e-6
    )
    np.testing.assert_allclose(n.layer_norm(X), F.layer_norm(_t(X), list(X.shape)), atol=2e-6)


def test_local_response_norm() -> None:
    for size in (1, 2, 3, 5):
        expected = F.local_response_norm(_t(X), size, alpha=0.1, beta=0.6, k=2.0)
        result = n.local_response_norm(X, np.array(size), 0.1, 0.6, 2.0)
        np.testing.assert_allclose(result, expected, atol=2e-6)


def test_l2_norm_is_over_the_last_three_axes() -> None:
    x = np.array([[[[3.0]], [[4.0]]], [[[6.0]], [[8.0]]]], np.float32)
    np.testing.assert_allclose(n.l2_norm(x, 0.0).ravel(), [0.6, 0.8, 0.6, 0.8], rtol=1e-6)
