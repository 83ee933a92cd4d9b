"""Affine quantisation by hand."""

from __future__ import annotations

import numpy as np

from edge_export.mil.ops.quantization import dequantize, quantize


def test_quantize_rounds_halves_to_even_and_clips() -> None:
    x = np.array([0.25, 0.75, -200.0, 200.0], np.float32)
    assert quantize(x, np.array(0.5, np.float32), "int8").tolist() == [0, 2, -128, 127]
    shifted = quantize(x, np.array(0.5, np.float32), "uint8", np.array(10, np.uint8))
    assert shifted.tolist() == [10, 12, 0, 255]


def test_scales_along_an_axis() -> None:
    levels = np.array([[1, 2], [3, 4]], np.int8)
    scale, zero = np.array([1, 10], np.float32), np.array([1, 0], np.int8)
    assert dequantize(levels, scale, zero, np.array(1)).tolist() == [[0, 20], [2, 40]]
    assert dequantize(levels, scale, zero, np.array(0)).tolist() == [[0, 1], [30, 40]]
