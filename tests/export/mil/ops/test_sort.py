"""Sorting and selecting the largest."""

from __future__ import annotations

import numpy as np

from edge_export.mil.ops.sort import argsort, topk

X = np.array([[3, 1, 2], [5, 9, 7]], np.float32)


def test_argsort() -> None:
    assert argsort(X).tolist() == [[0, 2, 1], [1, 2, 0]]
    assert argsort(X, 0, ascending=True).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_equal_values_keep_their_order() -> None:
    ties = np.array([1, 2, 1, 2])
    assert argsort(ties).tolist() == [1, 3, 0, 2]
    assert argsort(ties, ascending=True).tolist() == [0, 2, 1, 3]


def test_topk() -> None:
    values, places = topk(X, np.array(2))
    assert values.tolist() == [[3, 2], [9, 7]]
    assert places.tolist() == [[0, 2], [1, 2]]
    assert topk(X, np.array(1), np.array(0), True, return_indices=False).tolist() == [[3, 1, 2]]
    assert topk(X, np.array(-1))[0].shape == X.shape
