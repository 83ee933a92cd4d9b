"""Elementwise operations: what is not numpy's function of the same name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_export.mil.ops import elementwise as e
from edge_export.mil.ops.registry import kernel


@given(st.floats(-8, 8))
def test_erf_equals_the_standard_librarys(x: float) -> None:
    assert e.erf(np.array([x])).item() == pytest.approx(math.erf(x), abs=1e-9)


def test_erf_at_the_ends() -> None:
    result = e.erf(np.array([-math.inf, -50, 0, 50, math.inf, math.nan]))
    np.testing.assert_array_equal(result, [-1, -1, 0, 1, 1, math.nan])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("int32", [-1, 0, 0, 2]), ("bool", [True, True, False, True]), ("fp32", [-1.7, 0.9, 0.0, 2.5])],
)
def test_cast(dtype: str, expected: list[float]) -> None:
    x = np.array([-1.7, 0.9, 0.0, 2.5], np.float32)
    np.testing.assert_array_equal(e.cast(x, dtype), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("mod", [-7, 7, -7], [3, -3, -3], [2, -2, -1]),
        ("floor_div", [-7, 7, -7], [2, -2, -2], [-4, -4, 3]),
        ("maximum", [1, 5, 3], [2, 2, 2], [2, 5, 3]),
        ("not_equal", [1, 2, 3], [1, 3, 3], [False, True, False]),
    ],
)
def test_binary(name: str, x: list[int], y: list[int], expected: list[int]) -> None:
    compute = kernel(name)
    assert compute is not None
    assert compute.function(x=np.array(x, np.int32), y=np.array(y, np.int32)).tolist() == expected


def test_round_takes_halves_to_even() -> None:
    compute = kernel("round")
    assert compute is not None
    assert compute.function(x=np.array([0.5, 1.5, -2.5])).tolist() == [0, 2, -2]


def test_epsilons_are_the_documented_ones() -> None:
    zero = np.zeros(1, np.float32)
    assert e.inverse(zero) == pytest.approx(1e4)
    assert e.rsqrt(zero) == pytest.approx(1e6)
    assert e.log(zero) == pytest.approx(np.log(np.float32(1e-45)))


def test_select_broadcasts() -> None:
    chosen = e.select(np.array([[True], [False]]), np.array([1, 2]), np.array([3, 4]))
    assert chosen.tolist() == [[1, 2], [3, 4]]
