"""Sampling pictures at computed points: resample, affine and crop_resize. x is (N, C, H, W)."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import Call, operation
from edge_export.mil.ops.resize import GRIDS


@operation("resample")
def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """coordinates (N, H', W', 2) in the order (x, y) → (N, C, H', W')."""
    height, width = x.shape[-2:]
    points = coordinates.astype(np.float32)
    across = _to_pixels(points[..., 0], width, coordinates_mode, bool(align_corners))
    down = _to_pixels(points[..., 1], height, coordinates_mode, bool(align_corners))
    across = _fold(across, width, padding_mode)
    down = _fold(down, height, padding_mode)
    outside = None if padding_mode != "constant" else float(padding_value)
    if sampling_mode == "nearest":
        return _pixels(x, np.rint(down), np.rint(across), outside)
    return _bilinear(x, down, across, outside)


@operation("affine")
def affine(
    x: Array,
    transform_matrix: Array,
    output_height: Array,
    output_width: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """The matrix (N or 1, 6) maps the output's normalised points (x, y, 1) to the input's."""
    across, down = np.meshgrid(np.linspace(-1, 1, int(output_width)), np.linspace(-1, 1, int(output_height)))
    grid = np.stack([across, down, np.ones_like(across)], axis=-1).astype(np.float32)  # (H', W', 3)
    maps = np.broadcast_to(transform_matrix, (x.shape[0], 6)).reshape(-1, 2, 3)
    points = np.einsum("hwk,njk->nhwj", grid, maps)
    return resample(x, points, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)


@operation("crop_resize")
def crop_resize(
    x: Array,
    roi: Array | None = None,
    boxes: Array | None = None,
    box_indices: Array | None = None,
    target_height: Any = 1,
    target_width: Any = 1,
    normalized_coordinates: Any = False,
    spatial_scale: Any = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Any = 0.0,
    call: Call | None = None,
) -> Array:
    """Boxes cut out and resized.

    Until iOS 16 `roi` (B, 1, 4 or 5, 1, 1) → (B, N or 1, C, H', W'); in iOS 15 a box that starts beyond
    the picture is the whole picture, which the operation tests say and not the documentation.
    From iOS 17 on `boxes` (B, 4) → (B, C, H', W').
    """
    size = (int(target_height), int(target_width))
    scale = float(spatial_scale)
    if boxes is not None:
        images = np.arange(len(boxes)) if box_indices is None else box_indices.astype(np.int64)
        corners = _corners(boxes, box_coordinate_mode, bool(normalized_coordinates), scale, x.shape[-2:])
        return np.concatenate(
            [
                _crop(x[i : i + 1], c, size, sampling_mode, float(pad_value))
                for i, c in zip(images, corners, strict=True)
            ]
        )
    if roi is None:
        raise ValueError("crop_resize without boxes")
    flat = roi.reshape(roi.shape[0], -1)
    corners = _corners(flat[:, -4:], box_coordinate_mode, bool(normalized_coordinates), scale, x.shape[-2:])
    if call is not None and call.opset <= 5:
        last = np.array([x.shape[-2] - 1, x.shape[-1] - 1])
        corners[(corners[:, :2] > last).any(axis=1)] = (0, 0, *last)
    chosen = (
        [slice(None)] * len(flat) if flat.shape[1] == 4 else [slice(int(i), int(i) + 1) for i in flat[:, 0]]
    )
    return np.stack(
        [
            _crop(x[which], c, size, sampling_mode, float(pad_value))
            for which, c in zip(chosen, corners, strict=True)
        ]
    )


def _corners(boxes: Array, mode: str, normalized: bool, scale: float, size: tuple[int, ...]) -> Array:
    """(B, 4): top, left, bottom, right in pixels."""
    first, second = boxes.astype(np.float64)[:, :2], boxes.astype(np.float64)[:, 2:]
    if mode.endswith("WIDTH_FIRST"):
        first, second = first[:, ::-1], second[:, ::-1]
    if mode.startswith("CENTER_SIZE"):
        first, second = first - second / 2, first + second / 2
    limits = np.array([size[0] - 1, size[1] - 1]) if normalized else 1.0
    return np.concatenate([first * limits * scale, second * limits * scale], axis=1)


def _crop(x: Array, corners: Array, size: tuple[int, int], mode: str, outside: float) -> Array:
    top, left, bottom, right = (float(value) for value in corners)
    down = _box_points(top, bottom, size[0], mode)
    across = _box_points(left, right, size[1], mode)
    grid = np.meshgrid(down, across, indexing="ij")
    rows, columns = (np.broadcast_to(part, (x.shape[0], *part.shape)) for part in grid)
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return np.where(inside[:, None], _bilinear(x, rows, columns, None), np.float32(outside))


def _box_points(start: float, end: float, count: int, mode: str) -> Array:
    """The sampling rule of `resize`, laid over the box: its length counts as end - start + 1 pixels."""
    n = end - start + 1
    if mode in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"):
        if count == 1:
            return np.array([(start + end) / 2 if mode == "ALIGN_CORNERS" else start])
        return start + np.arange(count) * ((end - start) / (count - 1))
    return start + GRIDS[mode](n, count)  # type: ignore[arg-type]


def _to_pixels(points: Array, length: int, mode: str, align_corners: bool) -> Array:
    if mode == "unnormalized":
        return points
    part = (points + 1) / 2 if mode == "normalized_minus_one_to_one" else points
    return part * (length - 1) if align_corners else part * length - 0.5


def _fold(points: Array, length: int, mode: str) -> Array:
    """Points outside, brought inside as the padding mode says."""
    if mode == "border":
        return np.clip(points, 0, length - 1)
    if mode == "reflection":
        period = max(2 * (length - 1), 1)
        folded = np.abs(points) % period
        return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(points)
    if mode == "symmetric":
        shifted = np.abs(points + 0.5) % (2 * length)
        return np.clip(np.minimum(shifted, 2 * length - shifted) - 0.5, 0, length - 1)
    return points


def _bilinear(x: Array, down: Array, across: Array, outside: float | None) -> Array:
    top, left = np.floor(down), np.floor(across)
    v = (down - top).astype(np.float32)[:, None]
    h = (across - left).astype(np.float32)[:, None]
    upper = _pixels(x, top, left, outside) * (1 - h) + _pixels(x, top, left + 1, outside) * h
    lower = _pixels(x, top + 1, left, outside) * (1 - h) + _pixels(x, top + 1, left + 1, outside) * h
    return upper * (1 - v) + lower * v


def _pixels(x: Array, rows: Array, columns: Array, outside: float | None) -> Array:
    """x (N, C, H, W) at whole places (N, H', W'); beyond the edge `outside`, or the edge itself for None."""
    height, width = x.shape[-2:]
    r = np.clip(rows, 0, height - 1).astype(np.int64)
    c = np.clip(columns, 0, width - 1).astype(np.int64)
    batch = np.arange(x.shape[0])[:, None, None]
    taken = np.moveaxis(x[batch, :, r, c], -1, 1)
    if outside is None:
        return taken
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return np.where(inside[:, None], taken, np.float32(outside))
