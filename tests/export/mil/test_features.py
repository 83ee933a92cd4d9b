"""Which inputs a package admits."""

from __future__ import annotations

import numpy as np
import pytest

from edge_export.mil.features import Feature
from edge_runtime.errors import InputError

FIXED = Feature("x", "fp32", (1, 80, 16))
ENUMERATED = Feature("mel", "fp32", (1, 80, 32), enumerated=((1, 80, 32), (1, 80, 64)))
RANGED = Feature("x", "fp32", (1, 4), ranges=((1, 64), (4, 4)))
OPEN = Feature("x", "fp32", (1, 4), ranges=((1, None), (4, 4)))


@pytest.mark.parametrize(
    ("feature", "shape", "admitted"),
    [
        (FIXED, (1, 80, 16), True),
        (FIXED, (2, 80, 16), False),
        (ENUMERATED, (1, 80, 64), True),
        (ENUMERATED, (1, 80, 48), False),
        (RANGED, (64, 4), True),
        (RANGED, (65, 4), False),
        (RANGED, (0, 4), False),
        (RANGED, (4,), False),
        (OPEN, (1000, 4), True),
    ],
)
def test_admits(feature: Feature, shape: tuple[int, ...], admitted: bool) -> None:
    assert feature.admits(shape) is admitted


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (FIXED, r"\(1, 80, 16\)"),
        (ENUMERATED, r"\(1, 80, 32\) or \(1, 80, 64\)"),
        (RANGED, r"\(1 to 64, 4\)"),
        (OPEN, r"\(1 or more, 4\)"),
    ],
)
def test_a_refusal_names_the_admitted_shapes(feature: Feature, words: str) -> None:
    with pytest.raises(
        InputError, match=rf"input {feature.name}: got shape \(7,\), expected {words}; these are"
    ):
        feature.check(np.zeros(7))


def test_values_come_in_the_working_type() -> None:
    assert FIXED.check(np.zeros((1, 80, 16))).dtype == np.float32
    assert Feature("n", "int32", (2,)).check(np.array([1.0, 2.0])).dtype == np.int32


def test_refuses_fractions_for_whole_numbers() -> None:
    with pytest.raises(InputError, match="input n: got fractions, expected whole numbers"):
        Feature("n", "int32", (2,)).check(np.array([1.0, 2.5]))


def test_refuses_what_are_no_numbers() -> None:
    with pytest.raises(InputError, match="values, expected numbers"):
        Feature("n", "fp32", (1,)).check(np.array(["a"]))
