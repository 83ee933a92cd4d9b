"""Compressed constants, by the examples of Apple's documentation."""

from __future__ import annotations

import numpy as np

from edge_export.mil.ops import constant as c

MASK = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]], np.uint8)
INDICES = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1], np.uint8)


def test_affine_dequantize_along_an_axis() -> None:
    data = np.array([[10, 20], [30, 40]], np.uint8)
    scale, zero = np.array([0.5, 2.0], np.float32), np.array([10, 30], np.uint8)
    assert c.affine_dequantize(data, zero, scale, np.array(0)).tolist() == [[0, 5], [0, 20]]
    assert c.affine_dequantize(data, zero, scale, np.array(1)).tolist() == [[0, -20], [10, 20]]


def test_packed_look_up_of_iOS16() -> None:
    # two bits each, lowest first: 0, 3, 2, 1 and 3
    lut = np.array([1.0, 5.0, 9.0, 13.0], np.float32)
    result = c.lut_to_dense(np.array([0b01_10_11_00, 0b11], np.uint8), lut, np.array([5], np.uint32))
    assert result.tolist() == [1, 13, 9, 5, 13]


def test_packed_mask_of_iOS16() -> None:
    result = c.sparse_to_dense(np.array([7.0, 8.0]), np.array([0b01100], np.uint8), np.array([5], np.uint32))
    assert result.tolist() == [0, 0, 7, 8, 0]


def test_look_up_by_group() -> None:
    indices = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.array([1, 5, 9, 13, 2, 10, 18, 26], np.float16).reshape(2, 1, 4, 1)
    expected = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
    assert c.lut_to_dense(indices, lut).tolist() == expected


def test_look_up_of_vectors() -> None:
    indices = np.array([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], np.uint8)
    lut = np.array([1, 2, 3, 11, 12, 13], np.int8).reshape(1, 1, 1, 2, 3)
    rows = c.lut_to_dense(indices, lut, vector_axis=np.array(1))
    assert rows[0].tolist() == [[1, 1], [2, 2], [3, 3], [11, 1], [12, 2], [13, 3]]
    columns = c.lut_to_dense(indices, lut, vector_axis=np.array(2))
    assert columns[0].tolist() == [[1, 2, 3, 1, 2, 3], [11, 12, 13, 1, 2, 3]]


def test_blockwise_shift_scale() -> None:
    data = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8)
    scale = np.array([[1, 10], [100, 1000]], np.float32)
    offset = np.array([[1, 1], [0, 8]], np.int8)
    assert c.blockwise_shift_scale(data, scale, offset).tolist() == [[0, 1, 20, 30], [500, 600, -1000, 0]]


def test_sparse_look_up() -> None:
    lut = np.array([2.0, 3.0], np.float16).reshape(1, 1, 2, 1)
    mask, values = c.lut_to_sparse(MASK, INDICES, lut)
    np.testing.assert_array_equal(mask, MASK)
    assert values.tolist() == [2, 3, 3, 2, 3, 3, 2, 2, 3]


def test_sparse_look_up_of_vectors_widens_the_mask() -> None:
    lut = np.array([[2, 20], [3, 30]], np.float16).reshape(1, 1, 2, 2)
    mask, values = c.lut_to_sparse(MASK, INDICES, lut, np.array(0))
    np.testing.assert_array_equal(mask, np.repeat(MASK, 2, axis=0))
    dense = c.sparse_to_dense(values, mask)
    assert dense[:4, :2].tolist() == [[2, 3], [20, 30], [3, 2], [30, 20]]


def test_sparse_shift_scale() -> None:
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], np.uint8)
    data = np.array([10, 11, 3, 4, 5, 6, 7, 8, 9], np.int8)
    scale = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    offset = np.array([[1, 2, 3, 4]], np.int8)
    _, values = c.sparse_blockwise_shift_scale(mask, data, scale, offset)
    np.testing.assert_allclose(values, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)
