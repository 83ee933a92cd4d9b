"""Resizing: the grids of the documentation, and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edge_export.mil.ops import resize as r

PICTURE = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)


@pytest.mark.parametrize(
    ("rule", "count", "points"),
    # the examples in Apple's documentation of resize_bilinear, input length 2
    [
        ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
        ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0, 0, 1 / 3, 2 / 3, 1, 1]),
        ("DEFAULT", 6, [0, 1 / 3, 2 / 3, 1, 1, 1]),
        ("OFFSET_CORNERS", 6, [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0]),
    ],
)
def test_grids_of_the_documentation(rule: str, count: int, points: list[float]) -> None:
    ramp = np.array([[[0, 1]]], np.float32)  # the value is the position
    result = r.resize_bilinear(ramp, np.array(1), np.array(count), rule)
    np.testing.assert_allclose(result, [[points]], atol=1e-6)


@pytest.mark.parametrize("align", [True, False])
def test_upsample_bilinear_equals_pytorch(align: bool) -> None:
    expected = F.interpolate(torch.from_numpy(PICTURE), size=(10, 21), mode="bilinear", align_corners=align)
    result = r.upsample_bilinear(PICTURE, np.array(2), np.array(3), align)
    np.testing.assert_allclose(result, expected, atol=3e-6)


def test_upsample_nearest_equals_pytorch() -> None:
    expected = F.interpolate(torch.from_numpy(PICTURE), size=(10, 9), mode="nearest")
    result = r.upsample_nearest_neighbor(PICTURE, np.array(2), np.float32(9.1 / 7))
    np.testing.assert_array_equal(result, expected)


def test_resize_takes_the_last_lengths_and_leaves_zero() -> None:
    shape = np.array([4, 0, 14])
    result = r.resize(PICTURE, shape, np.array(2), "LINEAR", "UNALIGN_CORNERS")
    assert result.shape == (2, 3, 5, 14)
    expected = F.interpolate(torch.from_numpy(PICTURE), size=(5, 14), mode="bilinear")
    np.testing.assert_allclose(result, expected, atol=3e-6)


def test_the_newer_nearest_neighbour_is_the_nearest() -> None:
    pair = np.array([[[10, 20]]], np.float32)
    newer = r.resize(pair, np.array([1, 3]), np.array(1), "NEAREST_NEIGHBOR")
    assert newer.tolist() == [[[10, 20, 20]]]
    assert r.resize_nearest_neighbor(pair, np.array(1), np.array(3)).tolist() == [[[10, 10, 20]]]
