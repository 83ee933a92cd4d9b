"""Reductions by hand and against numpy's logarithms."""

from __future__ import annotations

import numpy as np
import pytest

from edge_export.mil.ops import reduction as r
from edge_export.mil.ops.registry import kernel

X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("reduce_l1_norm", [6, 15]),
        ("reduce_l2_norm", [np.sqrt(14), np.sqrt(77)]),
        ("reduce_log_sum", [np.log(6), np.log(15)]),
        ("reduce_log_sum_exp", [np.log(np.exp([1, 2, 3]).sum()), np.log(np.exp([4, 5, 6]).sum())]),
        ("reduce_max", [3, 6]),
        ("reduce_mean", [2, 5]),
        ("reduce_min", [1, 4]),
        ("reduce_prod", [6, 120]),
        ("reduce_sum", [6, 15]),
        ("reduce_sum_square", [14, 77]),
    ],
)
def test_over_one_axis(name: str, rows: list[float]) -> None:
    compute = kernel(name)
    assert compute is not None
    np.testing.assert_allclose(compute.function(x=X, axes=np.array([-1])), rows, rtol=1e-6)
    kept = compute.function(x=X, axes=np.array([1]), keep_dims=True)
    np.testing.assert_allclose(kept, np.array(rows)[:, None], rtol=1e-6)
    assert compute.function(x=X).shape == ()


def test_log_sum_exp_does_not_overflow() -> None:
    compute = kernel("reduce_log_sum_exp")
    assert compute is not None
    assert compute.function(x=np.array([1000, 1000], np.float32)) == pytest.approx(1000 + np.log(2))


def test_places_of_extremes() -> None:
    assert r.reduce_argmax(X, np.array(0)).tolist() == [1, 1, 1]
    assert r.reduce_argmin(X, np.array(1), keep_dims=True).tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 3, 6]),
        ({"exclusive": True}, [0, 1, 3]),
        ({"reverse": True}, [6, 5, 3]),
        ({"exclusive": True, "reverse": True}, [5, 3, 0]),
    ],
)
def test_cumsum(options: dict[str, bool], expected: list[float]) -> None:
    assert r.cumsum(X[0], 0, **options).tolist() == expected
