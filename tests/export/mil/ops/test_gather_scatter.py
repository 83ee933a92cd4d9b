"""Reading and writing at computed places, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edge_export.mil.ops import gather_scatter as g

X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def test_gather() -> None:
    assert g.gather(X, np.array([1, 0, -1]), 0).tolist() == [[4, 5, 6], [1, 2, 3], [4, 5, 6]]
    assert g.gather(X, np.array(2), 1).tolist() == [3, 6]
    batched = g.gather(X, np.array([[0, 2], [1, 1]]), 1, batch_dims=1)
    assert batched.tolist() == [[1, 3], [5, 5]]


def test_gather_along_axis() -> None:
    assert g.gather_along_axis(X, np.array([[1, 0, 1], [0, 0, 0]]), 0).tolist() == [[4, 2, 6], [1, 2, 3]]
    assert g.gather_along_axis(X, np.array([[2], [0]]), 1).tolist() == [[3], [4]]


def test_gather_nd() -> None:
    assert g.gather_nd(X, np.array([[0, 1], [1, 2]])).tolist() == [2, 6]
    assert g.gather_nd(X, np.array([[1]])).tolist() == [[4, 5, 6]]
    assert g.gather_nd(X, np.array([[[2], [0]], [[1], [1]]]), batch_dims=1).tolist() == [[3, 1], [5, 5]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("update", [[8, 9, 10], [5, 6, 7]]),
        ("add", [[9, 11, 13], [9, 11, 13]]),
        ("sub", [[-7, -7, -7], [-1, -1, -1]]),
        ("mul", [[8, 18, 30], [20, 30, 42]]),
        ("max", [[8, 9, 10], [5, 6, 7]]),
        ("min", [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_scatter(mode: str, expected: list[list[float]]) -> None:
    updates = np.array([[5, 6, 7], [8, 9, 10]], np.float32)
    assert g.scatter(X, np.array([1, 0]), updates, 0, mode).tolist() == expected


def test_repeated_places_add_up() -> None:
    assert g.scatter(np.zeros(2), np.array([1, 1, 1]), np.ones(3)).tolist() == [0, 3]
    result = g.scatter_nd(np.zeros((2, 2)), np.array([[0, 1], [0, 1]]), np.array([2.0, 3.0]))
    assert result.tolist() == [[0, 5], [0, 0]]


def test_scatter_along_axis() -> None:
    result = g.scatter_along_axis(X, np.array([[0, 0, 1]]), np.array([[10, 20, 30]], np.float32), 0)
    assert result.tolist() == [[11, 22, 3], [4, 5, 36]]
    assert X[0, 0] == 1


def test_an_index_beyond_the_end_is_refused() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        g.gather(X, np.array([3]), 1)


def test_a_negative_index_is_refused_where_the_program_asks_for_it() -> None:
    assert g.gather(X, np.array([-1]), 1).tolist() == [[3], [6]]
    with pytest.raises(IndexError, match="the index -1, which is negative"):
        g.gather(X, np.array([-1]), 1, validate_indices=True)
