"""Moving elements between channels, space and batch: PyTorch's order, and inverses."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from edge_export.mil.ops import layout

X = np.arange(2 * 8 * 4 * 6, dtype=np.float32).reshape(2, 8, 4, 6)
TWO = np.array(2)


def test_pixel_shuffle_is_pytorchs() -> None:
    np.testing.assert_array_equal(layout.pixel_shuffle(X, TWO), F.pixel_shuffle(torch.from_numpy(X), 2))
    np.testing.assert_array_equal(layout.pixel_unshuffle(X, TWO), F.pixel_unshuffle(torch.from_numpy(X), 2))


def test_depth_to_space_takes_the_block_first() -> None:
    x = np.array([0, 1, 2, 3], np.float32).reshape(1, 4, 1, 1)
    assert layout.depth_to_space(x, TWO).tolist() == [[[[0, 1], [2, 3]]]]
    eight = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
    # two channels: 0, 2, 4, 6 make the first picture, 1, 3, 5, 7 the second
    assert layout.depth_to_space(eight, TWO).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


def test_inverses() -> None:
    np.testing.assert_array_equal(layout.space_to_depth(layout.depth_to_space(X, TWO), TWO), X)
    block, pads = np.array([2, 3]), np.array([[1, 1], [0, 3]])
    spread = layout.space_to_batch(X, block, pads)
    assert spread.shape == (12, 8, 3, 3)
    np.testing.assert_array_equal(layout.batch_to_space(spread, block, pads), X)
