"""Formats of weights: what they cost and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_export.precision.formats import bytes_of, int8, palettized, read_back, smaller


@given(st.integers(0, 99), st.sampled_from([0, 1]))
def test_int8_is_within_half_a_step_of_each_channel(seed: int, axis: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(5, 6, 3)).astype(np.float32)
    _, scale = int8(weight, axis)
    error = np.abs(read_back(weight, "int8", axis) - weight)
    others = tuple(index for index in range(3) if index != axis)
    assert (error.max(axis=others) <= 0.5 * scale * (1 + 1e-5)).all()
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=others) / 127, rtol=1e-6)


def test_channels_of_zeros_stay_zero() -> None:
    assert not read_back(np.zeros((4, 9), np.float32), "int8", 0).any()


@given(st.integers(0, 99))
def test_few_values_are_exact_in_a_palette(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=16).astype(np.float16).astype(np.float32)
    weight = values[rng.permutation(np.arange(480) % 16)].reshape(20, 24)
    assert np.array_equal(read_back(weight, "palette4", 0), weight)


def test_a_palette_is_better_than_equal_steps_and_better_with_more_bits() -> None:
    weight = np.random.default_rng(0).laplace(size=(64, 96)).astype(np.float32)
    errors = [float(np.square(read_back(weight, kind, 0) - weight).mean()) for kind in
              ("palette8", "palette6", "palette4")]  # fmt: skip
    steps = np.linspace(weight.min(), weight.max(), 16)
    even = float(np.square(steps[np.abs(weight[..., None] - steps).argmin(-1)] - weight).mean())
    assert errors[0] < errors[1] / 3 < errors[2] / 9
    assert errors[2] < even / 3
    assert palettized(weight, 6).indices.max() < 64


@pytest.mark.parametrize(
    ("kind", "size"),
    [("float32", 4000), ("float16", 2000), ("int8", 1030), ("palette8", 1512), ("palette4", 532)],
)
def test_bytes(kind: str, size: int) -> None:
    assert bytes_of(np.zeros((10, 100), np.float32), kind, 0) == size  # type: ignore[arg-type]


def test_smaller() -> None:
    assert smaller("int8", ("float16", "int8", "palette4")) == ("palette4",)
