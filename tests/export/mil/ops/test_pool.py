"""Pooling by hand, and against PyTorch over random shapes, ceil mode included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from edge_export.mil.ops.pool import avg_pool, l2_pool, max_pool

X = np.array([[[1, 2, 3, 4, 5]]], np.float32)
THREE = np.array([3])
TWO = np.array([2])


def test_by_hand() -> None:
    np.testing.assert_array_equal(max_pool(X, THREE), [[[3, 4, 5]]])
    np.testing.assert_array_equal(avg_pool(X, THREE, strides=TWO), [[[2, 4]]])
    np.testing.assert_allclose(l2_pool(X, TWO, strides=TWO), [[[np.sqrt(5), 5]]], rtol=1e-6)


def test_padding_counts_in_the_average_or_not() -> None:
    around = {"pad_type": "custom", "pad": np.array([1, 1]), "strides": TWO}
    np.testing.assert_allclose(avg_pool(X, THREE, **around), [[[1, 3, 3]]])
    without = avg_pool(X, THREE, exclude_padding_from_average=True, **around)
    np.testing.assert_allclose(without, [[[1.5, 3, 4.5]]])


@pytest.mark.parametrize(("pad_type", "expected"), [("same", [2, 4, 5]), ("same_lower", [2, 4, 5])])
def test_same_padding(pad_type: str, expected: list[float]) -> None:
    # 5 positions, kernel 3, stride 2: one element of padding at each end
    np.testing.assert_array_equal(max_pool(X, THREE, strides=TWO, pad_type=pad_type), [[expected]])


def test_same_padding_of_an_odd_amount() -> None:
    four = X[..., :4]
    np.testing.assert_array_equal(max_pool(four, TWO, pad_type="same"), [[[2, 3, 4, 4]]])
    np.testing.assert_array_equal(max_pool(four, TWO, pad_type="same_lower"), [[[1, 2, 3, 4]]])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(0, 8),
    st.booleans(),
    st.booleans(),
)
def test_equals_pytorch(
    axes: int, kernel: int, stride: int, pad: int, extra: int, ceil: bool, counted: bool
) -> None:
    assume(2 * pad <= kernel)
    x = np.random.default_rng(0).standard_normal((2, 3, *[kernel + extra] * axes)).astype(np.float32)
    ours = {
        "kernel_sizes": np.array([kernel] * axes),
        "strides": np.array([stride] * axes),
        "pad_type": "custom",
        "pad": np.array([pad] * 2 * axes),
        "ceil_mode": ceil,
    }
    tensor = torch.from_numpy(x)
    theirs: dict[str, Any] = {"stride": stride, "padding": pad, "ceil_mode": ceil}
    max_: Any
    avg: Any
    max_, avg = (F.max_pool1d, F.avg_pool1d) if axes == 1 else (F.max_pool2d, F.avg_pool2d)
    if pad or not ceil:  # without padding Core ML keeps a last window that starts behind the input
        np.testing.assert_array_equal(max_pool(x, **ours), max_(tensor, kernel, **theirs).numpy())
        expected = avg(tensor, kernel, count_include_pad=counted, **theirs).numpy()
        result = avg_pool(x, exclude_padding_from_average=not counted, **ours)
        np.testing.assert_allclose(result, expected, atol=1e-6)
