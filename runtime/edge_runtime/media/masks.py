"""Articulator masks: darken a polygon of the picture, to see from the net's output what it used it for.

    polygon in its own base  →  mask_weights  →  float32 (H, W), `alpha` inside, 1 outside, a soft edge
    frame · weights          →  apply_mask    →  the frame, darkened
    video file               →  mask_video    →  video file

Polygons, those of mri2speech too, are given on a base of 256 × 256 pixels, x to the right, y down, and are
scaled to the frame. `alpha` is the part of the intensity that remains: 0 hides, 1 changes nothing.

Filling and blur are those of cv2.fillPoly and cv2.GaussianBlur: vertices are rounded to pixels, the outline
belongs to the polygon, the even-odd rule holds where it crosses itself; the Gaussian is normalised, its
deviation follows from its size, and the picture is mirrored about its edge pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.video import open_video, write_video
from edge_runtime.store.reading import parse_json, read_text
from edge_runtime.store.targets import replace_file

BASE = 256.0  # pixels of a side that polygons are given for
DEFAULT_ALPHA = 0.1
DEFAULT_BLUR = 11  # pixels: a Gaussian of deviation 2.0
LARGEST_BLUR = 255
UNKNOWN_FPS = 30.0  # of a masked video whose source states no rate, as in mri2speech
# the small Gaussians that opencv rounds: reach → weights up to the middle
_HALVES = {1: (1, 2), 2: (1, 4, 6), 3: (2, 7, 14, 18), 4: (4, 13, 30, 51, 60)}


@dataclass(frozen=True)
class Polygon:
    """Corners on a square of `base` pixels.

    Raises:
        InputError: fewer than three different corners, all on one line, or one outside of the square.

    >>> Polygon(((0, 0), (128, 0), (128, 128))).scaled(84, 84).tolist()
    [[0, 0], [42, 0], [42, 42]]
    """

    points: tuple[tuple[float, float], ...]  # (x, y)
    base: float = BASE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base) and self.base > 0):
            raise InputError("mask polygon: size", got=f"{self.base}", expected="pixels of a side, above 0")
        corners = len(set(self.points))
        if corners < 3:
            raise InputError("mask polygon", got=f"{corners} different points", expected="at least 3")
        for x, y in self.points:
            if not (0 <= x <= self.base and 0 <= y <= self.base):
                raise InputError(
                    "mask polygon",
                    got=f"a point at {x:g},{y:g}",
                    expected=f"points within 0 … {self.base:g}",
                    cause=f"points are x,y on a picture of {self.base:g}x{self.base:g} pixels; "
                    'another size is given as JSON: {"size": 84, "points": [[10, 20], …]}',
                )
        origin, *others = np.asarray(self.points)
        if np.linalg.matrix_rank(np.asarray(others) - origin) < 2:
            raise InputError("mask polygon", got="points on one line", expected="a polygon with an area")

    def scaled(self, height: int, width: int) -> NDArray[np.int64]:
        """The corners (n, 2), x and y, in whole pixels of a frame of ``height`` × ``width`` pixels."""
        corners = np.asarray(self.points) * (width / self.base, height / self.base)
        return np.rint(corners).astype(np.int64)


POLYGONS = {
    "lip": Polygon(((8, 84), (43, 84), (45, 156), (8, 156))),
    # dorsum and pharynx
    "tongue": Polygon(((36.1, 102.7), (63.4, 90.9), (122.7, 111.5), (133.4, 172.2), (47.6, 155.0))),
}
_EXPECTED = f"{', '.join(POLYGONS)}, or the points of a polygon"


def parse_mask(text: str) -> Polygon:
    """The polygon that a command-line option or a file describes.

    Args:
        text: "lip", "tongue", "x,y x,y x,y …", JSON (``[[x, y], …]`` or ``{"size": 84, "points": […]}``), or
            the name of a .json file that holds such JSON. Without a size, points are on 256 × 256 pixels.

    Raises:
        InputError: none of these, or not a valid polygon.

    >>> parse_mask("0,0 10,0 10,10").points
    ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0))
    """
    if text in POLYGONS:
        return POLYGONS[text]
    if text.lower().endswith(".json"):
        return _parse_json(read_text(text, _EXPECTED), text)
    if text.lstrip().startswith(("[", "{")):
        return _parse_json(text, "--mask")
    try:
        points = [tuple(float(number) for number in point.split(",")) for point in text.split()]
    except ValueError:
        points = []
    if not points or any(len(point) != 2 for point in points):
        raise _no_mask("--mask", text)
    return Polygon(tuple((point[0], point[1]) for point in points))


def check_alpha(alpha: float) -> float:
    """The intensity that remains, itself; ConfigError outside of 0 … 1."""
    if not 0 <= alpha <= 1:
        raise ConfigError("--alpha", got=f"{alpha}", expected="0 (hidden) to 1 (no mask)")
    return alpha


def mask_weights(
    polygon: Polygon, height: int, width: int, alpha: float = DEFAULT_ALPHA, blur: int = DEFAULT_BLUR
) -> NDArray[np.float32]:
    """The factor by which each pixel of a frame is multiplied.

    Args:
        polygon: scaled to the frame.
        height, width: of the frame, pixels.
        alpha: intensity that remains inside.
        blur: size of the Gaussian in pixels; an even number counts as the next odd one, 1 is a hard edge.

    Returns:
        (height, width) in alpha … 1.

    Raises:
        ConfigError: alpha or blur out of range.
    """
    if not 1 <= blur <= LARGEST_BLUR:
        raise ConfigError("--blur", got=f"{blur} pixels", expected=f"1 to {LARGEST_BLUR}")
    weights = np.ones((height, width), np.float32)
    weights[fill_polygon(polygon.scaled(height, width), height, width)] = check_alpha(alpha)
    return np.clip(gaussian_blur(weights, blur), np.float32(alpha), np.float32(1))


def apply_mask(frames: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[Any]:
    """Frames (…, H, W) times weights (H, W), in the frames' dtype; uint8 is truncated, as in mri2speech."""
    product = frames * weights
    return product.astype(np.uint8 if frames.dtype == np.uint8 else np.float32)


def mask_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    polygon: Polygon,
    *,
    alpha: float = DEFAULT_ALPHA,
    blur: int = DEFAULT_BLUR,
    lossless: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a video with a polygon darkened, at the frame rate of the source (30 where it states none).

    Args:
        source: grey video, or .npy frames (T, H, W); floats in 0 … 1 become levels of 255.
        target: .npy, or a video: MPEG-4, or FFV1 with ``lossless``.
        polygon, alpha, blur: see `mask_weights`.
        overwrite: replace an existing file.

    Returns:
        Frames written.

    Raises:
        InputError: the source is refused.
        ConfigError: alpha or blur out of range.
        TargetError: the target exists or cannot be written.
    """
    count = 0
    with open_video(source) as reader, replace_file(target, overwrite) as fresh:
        height, width = reader.height, reader.width
        weights = mask_weights(polygon, height, width, alpha, blur)
        with write_video(fresh, height, width, reader.fps or UNKNOWN_FPS, lossless=lossless) as append:
            for frame in reader:
                levels = frame if frame.dtype == np.uint8 else np.rint(frame * 255).astype(np.uint8)
                append(apply_mask(levels, weights))
                count += 1
    return count


def fill_polygon(corners: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels of a polygon and of its outline.

    Args:
        corners: (n, 2) whole pixels, x and y; parts outside of the frame are cut off.
        height, width: of the frame, pixels.

    Returns:
        (height, width), true inside.
    """
    filled = np.zeros((height, width), np.bool_)
    ends = np.roll(corners, -1, axis=0)
    for row in range(height):
        crossings = _crossings(corners, ends, row)
        for left, right in zip(crossings[::2], crossings[1::2], strict=True):
            filled[row, max(math.ceil(left), 0) : max(math.floor(right) + 1, 0)] = True
    for start, end in zip(corners, ends, strict=True):
        columns, rows = _line(start, end)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        filled[rows[inside], columns[inside]] = True
    return filled


def gaussian_blur(picture: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A picture (H, W), blurred by a Gaussian of ``size`` pixels; even sizes count as the next odd one."""
    reach = size // 2
    kernel = _kernel(reach)
    blurred = np.asarray(picture, np.float64)
    for axis in (0, 1):
        sides = [(reach, reach) if axis == other else (0, 0) for other in (0, 1)]
        # a picture of one pixel has nothing to mirror
        padded = np.pad(blurred, sides, mode="reflect" if blurred.shape[axis] > 1 else "edge")
        blurred = np.lib.stride_tricks.sliding_window_view(padded, kernel.size, axis=axis) @ kernel
    return np.asarray(blurred, np.float32)


def _kernel(reach: int) -> NDArray[np.float64]:
    """(2 · reach + 1,) with sum 1: the Gaussian that opencv chooses for a size."""
    sigma = 0.3 * (reach - 1) + 0.8  # pixels
    values = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    if reach in _HALVES:
        half = _HALVES[reach]
        values = np.array((*half, *half[-2::-1]), np.float64)
    return np.asarray(values / values.sum())


def _crossings(starts: NDArray[np.int64], ends: NDArray[np.int64], row: int) -> list[float]:
    """x where a row of pixels crosses the outline, ascending; always an even number of crossings."""
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    crossed = (low <= row) & (row < high)
    (x0, y0), (x1, y1) = starts[crossed].T, ends[crossed].T
    return sorted(x0 + (row - y0) * (x1 - x0) / (y1 - y0))


def _line(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows of the pixels from one to another (Bresenham), beginning on the left."""
    (x0, y0), (x1, y1) = (start, end) if start[0] <= end[0] else (end, start)
    across, down = x1 - x0, y1 - y0
    longer, shorter = max(across, abs(down)), min(across, abs(down))
    steps = np.arange(longer + 1)
    side = -((longer - 2 * shorter * steps) // (2 * max(longer, 1)))  # rounded, halves down
    if across >= abs(down):
        return x0 + steps, y0 + np.sign(down) * side
    return x0 + side, y0 + np.sign(down) * steps


def _parse_json(text: str, what: str) -> Polygon:
    content = parse_json(text, what, _EXPECTED)
    size: Any = BASE
    if isinstance(content, dict) and set(content) <= {"size", "points"}:
        size, content = content.get("size", BASE), content.get("points")
    if not _is_number(size) or not isinstance(content, list) or not all(map(_is_point, content)):
        raise _no_mask(what, text)
    try:
        return Polygon(tuple((float(x), float(y)) for x, y in content), float(size))
    except InputError as error:
        raise (error if what == "--mask" else error.within(what)) from error


def _is_point(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_mask(what: str, text: str) -> InputError:
    return InputError(
        what,
        got=f"«{' '.join(text.split())[:60]}»",
        expected=_EXPECTED,
        cause="points are written x,y x,y x,y or as JSON [[x, y], …]",
    )
