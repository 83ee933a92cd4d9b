"""Products and attention against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edge_export.mil.ops.linear import einsum, linear, matmul, scaled_dot_product_attention

RNG = np.random.default_rng(0)


def _random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_linear() -> None:
    x, weight, bias = _random(2, 3, 4), _random(5, 4), _random(5)
    expected = F.linear(*(torch.from_numpy(array) for array in (x, weight, bias)))
    np.testing.assert_allclose(linear(x, weight, bias), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "transpose_x", "transpose_y", "shape"),
    [
        ((3,), (3,), False, False, ()),
        ((10, 4, 3), (5, 10, 3, 2), False, False, (5, 10, 4, 2)),
        ((3, 4), (3, 2), True, False, (4, 2)),
        ((4, 3), (2, 3), False, True, (4, 2)),
        ((4,), (10, 4, 2), True, False, (10, 2)),
    ],
)
def test_matmul_shapes(
    x: tuple[int, ...], y: tuple[int, ...], transpose_x: bool, transpose_y: bool, shape: tuple[int, ...]
) -> None:
    left, right = _random(*x), _random(*y)
    result = matmul(left, right, transpose_x, transpose_y)
    assert result.shape == shape
    a = torch.from_numpy(left.swapaxes(-1, -2) if transpose_x and len(x) > 1 else left)
    b = torch.from_numpy(right.swapaxes(-1, -2) if transpose_y else right)
    np.testing.assert_allclose(result, torch.matmul(a, b), atol=1e-5)


def test_einsum_broadcasts_lengths_of_one() -> None:
    x, y = _random(1, 3, 4, 5), _random(2, 5, 1, 6)
    expected = np.einsum("nchw,nwhu->nchu", np.repeat(x, 2, 0), np.repeat(y, 4, 2))
    np.testing.assert_allclose(einsum([x, y], "nchw,nwhu->nchu"), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_attention(kind: str) -> None:
    q, k, v = _random(2, 3, 5, 8), _random(2, 3, 7, 8), _random(2, 3, 7, 4)
    mask = {"none": None, "bool": RNG.random((5, 7)) > 0.3, "float": _random(5, 7)}[kind]
    their_mask = None if mask is None else torch.from_numpy(mask)
    expected = F.scaled_dot_product_attention(
        torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(v), attn_mask=their_mask
    )
    np.testing.assert_allclose(scaled_dot_product_attention(q, k, v, mask), expected, atol=1e-5)
