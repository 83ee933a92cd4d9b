"""Sampling pictures at computed points, against PyTorch's grid_sample where it has the same rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edge_export.mil.ops.sampling import affine, crop_resize, resample

RNG = np.random.default_rng(0)
PICTURE = RNG.standard_normal((2, 3, 5, 7)).astype(np.float32)
POINTS = RNG.uniform(-1.6, 1.6, (2, 4, 6, 2)).astype(np.float32)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(("ours", "theirs"), [("constant", "zeros"), ("border", "border")])
def test_resample_is_grid_sample(ours: str, theirs: str, align: bool) -> None:
    expected = F.grid_sample(
        torch.from_numpy(PICTURE), torch.from_numpy(POINTS), padding_mode=theirs, align_corners=align
    )
    result = resample(PICTURE, POINTS, "bilinear", ours, 0.0, "normalized_minus_one_to_one", align)
    np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize(("ours", "align"), [("reflection", True), ("symmetric", False)])
def test_reflections_are_grid_samples(ours: str, align: bool) -> None:
    expected = F.grid_sample(
        torch.from_numpy(PICTURE), torch.from_numpy(POINTS), padding_mode="reflection", align_corners=align
    )
    result = resample(PICTURE, POINTS, "bilinear", ours, 0.0, "normalized_minus_one_to_one", align)
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_whole_points_are_the_pixels() -> None:
    points = np.array([[[[6, 4], [0, 2]]]], np.float32)
    result = resample(PICTURE[:1], points, "nearest", "constant", 0.0, "unnormalized", False)
    np.testing.assert_array_equal(result[0, :, 0], PICTURE[0][:, [4, 2], [6, 0]])


def test_affine_identity_and_mirror() -> None:
    options = (np.array(5), np.array(7), "bilinear", "constant", 0.0, "normalized_minus_one_to_one", True)
    same = affine(PICTURE, np.array([[1, 0, 0, 0, 1, 0]], np.float32), *options)
    np.testing.assert_allclose(same, PICTURE, atol=1e-6)
    mirrored = affine(PICTURE, np.array([[-1, 0, 0, 0, 1, 0]], np.float32), *options)
    np.testing.assert_allclose(mirrored, PICTURE[..., ::-1], atol=1e-5)


def test_crop_resize_keeps_the_corners_of_the_box() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    box = np.array([[1, 1, 2, 3]], np.float32)
    result = crop_resize(x, boxes=box, target_height=2, target_width=3, sampling_mode="ALIGN_CORNERS")
    assert result.tolist() == [[[[5, 6, 7], [9, 10, 11]]]]


def test_crop_resize_pads_points_outside() -> None:
    x = np.ones((1, 1, 4, 4), np.float32)
    box = np.array([[0, 0, 5, 3]], np.float32)
    result = crop_resize(
        x, boxes=box, target_height=2, target_width=2, sampling_mode="ALIGN_CORNERS", pad_value=-1.0
    )
    assert result.tolist() == [[[[1, 1], [-1, -1]]]]
