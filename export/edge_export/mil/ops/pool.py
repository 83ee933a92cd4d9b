"""Maximum, average and L2 pooling over 1, 2 or 3 spatial axes.

The window slides over the padded input; with `ceil_mode` the last position may reach beyond it, and what
lies there counts as padding that no denominator includes.
"""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.conv import Pads, ones_or, same_or_custom
from edge_export.mil.ops.registry import operation


@operation("max_pool")
def max_pool(
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    ceil_mode: Any = False,
) -> Array:
    geometry = _Geometry(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return geometry.windows(x, -np.inf).max(axis=geometry.taps)


@operation("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    exclude_padding_from_average: Any = False,
    ceil_mode: Any = False,
) -> Array:
    geometry = _Geometry(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    sums = geometry.windows(x, 0).sum(axis=geometry.taps)
    return sums / geometry.counts(not exclude_padding_from_average)


@operation("l2_pool")
def l2_pool(
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    ceil_mode: Any = False,
) -> Array:
    geometry = _Geometry(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return np.sqrt(geometry.windows(np.square(x), 0).sum(axis=geometry.taps))


class _Geometry:
    """Where the windows lie: padding, and how far the last one reaches beyond it."""

    def __init__(
        self, x: Array, kernel: Array, strides: Array | None, pad_type: str, pad: Array | None, ceil: bool
    ) -> None:
        self.kernel = [int(k) for k in kernel]
        self.axes = len(self.kernel)
        self.steps = ones_or(strides, self.axes)
        self.lengths = x.shape[-self.axes :]
        self.pads = same_or_custom(pad_type, pad, self.lengths, self.kernel, self.steps)
        self.beyond = [self._overhang(axis) if ceil else 0 for axis in range(self.axes)]
        self.taps = tuple(range(-self.axes, 0))

    def _overhang(self, axis: int) -> int:
        """Elements that the last window needs behind the padding, as PyTorch's ceil mode has it."""
        before, after = self.pads[axis]
        length, step, width = self.lengths[axis], self.steps[axis], self.kernel[axis]
        positions = -(-(length + before + after - width) // step) + 1
        if before + after > 0 and (positions - 1) * step >= length + before:
            positions -= 1  # no window starts in the padding behind
        return int(max(0, (positions - 1) * step + width - (length + before + after)))

    def windows(self, x: Array, filler: float) -> Array:
        """(N, C, *positions, *kernel)."""
        return self._windows(
            x, filler, [(b, a + e) for (b, a), e in zip(self.pads, self.beyond, strict=True)]
        )

    def _windows(self, x: Array, filler: float, margins: Pads) -> Array:
        still = [(0, 0)] * (x.ndim - self.axes)
        padded = np.pad(x, [*still, *margins], constant_values=filler)
        sliding: Any = np.lib.stride_tricks.sliding_window_view  # the stubs know one axis only
        views = sliding(padded, self.kernel, self.taps)
        every = tuple(slice(None, None, step) for step in self.steps)
        return views[(*[slice(None)] * len(still), *every)]

    def counts(self, with_padding: bool) -> Array:
        """How many elements each position's average is over."""
        inside = np.ones(self.lengths, np.float32)
        if with_padding:
            inside = np.pad(inside, self.pads, constant_values=1)
            margins = [(0, e) for e in self.beyond]
        else:
            margins = [(b, a + e) for (b, a), e in zip(self.pads, self.beyond, strict=True)]
        return self._windows(inside, 0, margins).sum(axis=self.taps)
