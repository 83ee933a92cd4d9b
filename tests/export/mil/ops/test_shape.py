"""Shapes, slices, joining, padding and generated tensors, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_export.mil.graph import Operation
from edge_export.mil.ops import shape as s
from edge_export.mil.ops.registry import Call

X = np.arange(24).reshape(2, 3, 4)


def _call(opset: int) -> Call:
    return Call(Operation("reshape", {}, {}, (), ()), opset, lambda _block, _inputs: [])


@pytest.mark.parametrize(
    ("target", "opset", "shape"),
    [
        ([4, 6], 6, (4, 6)),
        ([-1, 2], 6, (12, 2)),
        ([0, 12], 6, (2, 12)),
        ([0, 0, -1, 2], 6, (2, 3, 2, 2)),
        ([1, 0, -1, 0], 7, (1, 2, 3, 4)),  # zeros counted from the end
        ([0, 0, -1, 0, 0], 7, (1, 1, 2, 3, 4)),
    ],
)
def test_reshape(target: list[int], opset: int, shape: tuple[int, ...]) -> None:
    assert s.reshape(X, np.array(target), _call(opset)).shape == shape


def test_reshape_like() -> None:
    references = [np.zeros((2, 3, 4)), np.zeros((1, 5, 4))]
    result = s.reshape_like(np.zeros((6, 20)), references, [0, 1], [2, 0], [False, True])
    assert result.shape == (2, 3, 5, 4)


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 12)), (-1, (6, 4)), (0, (1, 24)), (2, (6, 4))])
def test_flatten2d(axis: int, shape: tuple[int, int]) -> None:
    assert s.flatten2d(X, axis).shape == shape


def test_squeeze_leaves_longer_axes() -> None:
    assert s.squeeze(np.zeros((2, 1, 3, 1)), np.array([0, 1])).shape == (2, 3, 1)
    assert s.squeeze(np.zeros((2, 1, 3, 1))).shape == (2, 3)


def test_expand_dims() -> None:
    assert s.expand_dims(X, np.array([0, -1])).shape == (1, 2, 3, 4, 1)


@pytest.mark.parametrize(
    ("begin", "end", "options", "expected"),
    [
        ([0, 1, 0], [2, 3, 4], {}, X[:, 1:3]),
        ([0, 0, 3], [2, 3, 0], {"stride": [1, 1, -2]}, X[:, :, 3:0:-2]),
        ([0, 0, 3], [0, 0, 0], {"stride": [1, 1, -1], "end_mask": [True, True, True]}, X[:, :, ::-1]),
        (
            [1, -2, 9],
            [0, 3, 2],
            {"squeeze_mask": [True, False, False], "begin_mask": [False, False, True]},
            X[1, -2:3, :2],
        ),
    ],
)
def test_slice_by_index(
    begin: list[int], end: list[int], options: dict[str, Any], expected: np.ndarray
) -> None:
    arrays = {name: np.array(value) for name, value in options.items()}
    np.testing.assert_array_equal(s.slice_by_index(X, np.array(begin), np.array(end), **arrays), expected)


def test_slice_update_leaves_its_input_alone() -> None:
    result = s.slice_update(X, np.full((2, 1, 4), -1), np.array([0, 1, 0]), np.array([2, 2, 4]))
    assert (result[:, 1] == -1).all()
    assert X[0, 1, 0] == 4


def test_slice_by_size() -> None:
    result = s.slice_by_size(X, np.array([0, 1, 2]), np.array([1, -1, 2]))
    np.testing.assert_array_equal(result, X[:1, 1:, 2:])


def test_concat_and_split() -> None:
    a, b = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
    assert s.concat([a, b], np.array(0)).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert s.concat([a, b], np.array(0), interleave=True).tolist() == [[1, 2], [5, 6], [3, 4], [7, 8]]
    assert s.concat(a, np.array(0)).tolist() == a.tolist()  # a tuple of one
    numbers = [np.array(3), np.array(-1)]  # coremltools' type inference makes a vector of them
    assert s.concat(numbers, np.array(0)).tolist() == [3, -1]
    assert [part.shape for part in s.split(X, np.array(2), split_sizes=np.array([1, 3]))] == [
        (2, 3, 1),
        (2, 3, 3),
    ]
    assert [part.shape for part in s.split(X, np.array(1), num_splits=np.array(3))] == [(2, 1, 4)] * 3


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", [9, 9, 1, 2, 3, 9]),
        ("reflect", [3, 2, 1, 2, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 3]),
    ],
)
def test_pad(mode: str, expected: list[float]) -> None:
    x = np.array([[1, 2, 3]], np.float32)
    assert s.pad(x, np.array([2, 1]), mode, np.float32(9)).tolist() == [expected]


def test_generated_tensors() -> None:
    assert s.range_1d(np.float32(0), np.float32(1), np.float32(0.4)).tolist() == pytest.approx([0, 0.4, 0.8])
    assert s.range_1d(np.int32(5), np.int32(0), np.int32(-2)).tolist() == [5, 3, 1]
    assert s.one_hot(np.array([2, 0]), np.array(3), on_value=7).tolist() == [[0, 0, 7], [7, 0, 0]]
    assert s.one_hot(np.array([2, 0]), np.array(3), axis=0).tolist() == [[0, 1], [0, 0], [1, 0]]
    assert s.non_zero(np.array([[0, 3], [4, 0]])).tolist() == [[0, 1], [1, 0]]
    assert s.tile(np.array([[1, 2]]), np.array([2, 2])).tolist() == [[1, 2, 1, 2]] * 2


def test_band_part() -> None:
    x = np.arange(1, 10).reshape(3, 3)
    assert s.band_part(x, 0, -1).tolist() == np.triu(x).tolist()
    assert s.band_part(x, -1, 0).tolist() == np.tril(x).tolist()
    assert s.band_part(x, 0, 0).tolist() == np.diag([1, 5, 9]).tolist()


def test_sliding_windows() -> None:
    result = s.sliding_windows(np.arange(6), np.array(0), np.array(3), 2)
    assert result.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert s.sliding_windows(X, np.array(1), np.array(2)).shape == (2, 2, 2, 4)


def test_reverse_sequence() -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]])
    result = s.reverse_sequence(x, np.array([2, 3]), seq_axis=1, batch_axis=0)
    assert result.tolist() == [[2, 1, 3], [6, 5, 4]]


def test_crop() -> None:
    np.testing.assert_array_equal(s.crop(X, np.array([1, 0]), np.array([0, 2])), X[:, 1:, :2])
