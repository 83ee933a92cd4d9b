"""The metrics against values worked out by hand, their invariances, and every way to fail with a reason."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edge_runtime.compare import compare
from edge_runtime.errors import ConfigError, InputError

FLOATS = arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6))


def test_metrics_worked_out_by_hand() -> None:
    found = compare([3.0, 4.0, 0.0], [3.0, 4.5, -0.5], tolerance=1.0)
    assert found.max_abs == 0.5
    assert found.mean_abs == pytest.approx(1 / 3)
    assert found.median_abs == 0.5
    assert found.max_rel == pytest.approx(0.5e8)  # 0.5 over 0 + 1e-8
    assert found.mean_rel == pytest.approx((0.5e8 + 0.125) / 3)
    assert found.snr_db == pytest.approx(10 * math.log10(25 / 0.5))
    assert found.cosine == pytest.approx((9 + 18) / (5 * math.sqrt(9 + 20.25 + 0.25)))
    assert (found.smallest_tolerance, found.passed, found.reason) == (0.5, True, "")


def test_a_hundredth_of_noise_is_forty_decibels() -> None:
    signal = np.sin(np.arange(1000))
    assert compare(signal, signal * 1.01, tolerance=1).snr_db == pytest.approx(40)


@given(FLOATS)
def test_equal_arrays_have_infinite_snr(array: np.ndarray) -> None:
    found = compare(array, array.copy(), tolerance=0)
    assert (found.snr_db, found.max_abs, found.passed) == (math.inf, 0.0, True)
    assert found.cosine == pytest.approx(1)


@given(FLOATS, st.floats(-10, 10))
def test_the_smallest_tolerance_passes_and_nothing_below_it(array: np.ndarray, offset: float) -> None:
    candidate = array + offset
    smallest = compare(array, candidate).smallest_tolerance
    assert compare(array, candidate, tolerance=smallest).passed
    if smallest > 0:
        assert not compare(array, candidate, tolerance=np.nextafter(smallest, 0)).passed


@given(FLOATS, st.sampled_from([1e-290, 1e-3, 2.0, 1e290]))
def test_ratios_do_not_depend_on_the_unit(array: np.ndarray, unit: float) -> None:
    array = array + 1e7  # away from zero, where a unit of 1e-290 leaves no digits
    candidate = array * (1 + 1e-4 * np.arange(array.size).reshape(array.shape))
    plain, scaled = compare(array, candidate), compare(array * unit, candidate * unit)
    assert scaled.snr_db == pytest.approx(plain.snr_db, abs=1e-6) or plain.snr_db == math.inf
    assert scaled.cosine == pytest.approx(plain.cosine)


def test_a_zero_reference() -> None:
    assert compare(np.zeros(4), np.zeros(4)).snr_db == math.inf
    assert compare(np.zeros(4), np.zeros(4)).cosine == 1
    found = compare(np.zeros(4), [0, 0, 0, 1e-4])
    assert (found.snr_db, found.cosine, found.passed) == (-math.inf, 0, True)
    assert compare(np.ones(4), np.zeros(4)).snr_db == 0


def test_complex_arrays_are_compared_by_magnitude_of_the_difference() -> None:
    found = compare([1j, 2.0], [1j, 2.0 + 0.5j], tolerance=1)
    assert found.max_abs == 0.5
    assert found.snr_db == pytest.approx(10 * math.log10(5 / 0.25))
    assert compare([1j], [-1j], tolerance=9).cosine == pytest.approx(-1)


def test_half_precision_is_judged_in_double() -> None:
    reference = np.array([60000.0, 60000.0], np.float32)
    found = compare(reference, -reference.astype(np.float16))  # its difference would overflow in float16
    assert found.max_abs == 120000


def test_integers_do_not_wrap() -> None:
    assert compare(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)).max_abs == 255


def test_the_tolerance_is_inclusive() -> None:
    assert compare([0.0], [0.5], tolerance=0.5).passed
    found = compare([0.0], [0.5], tolerance=0.25)
    assert not found.passed
    assert found.reason == "max abs 0.5 is above the tolerance 0.25"


def test_a_low_snr_fails_whatever_the_tolerance() -> None:
    found = compare([1.0, 0.0], [1.1, 0.0], tolerance=1, min_snr_db=30)
    assert not found.passed
    assert found.reason == "SNR 20.0 dB is below 30 dB"
    assert found.smallest_tolerance == math.inf
    assert compare([1.0, 0.0], [1.1, 0.0], tolerance=1, min_snr_db=19.9).passed


def test_both_limits_are_named() -> None:
    found = compare([1.0], [2.0], tolerance=0.1, min_snr_db=30)
    assert found.reason == "max abs 1 is above the tolerance 0.1, SNR 0.0 dB is below 30 dB"


@pytest.mark.parametrize(
    ("reference", "candidate", "reason"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "the candidate's shape (3, 2) is not the reference's (2, 3)"),
        (np.zeros(3), np.zeros((1, 3)), "the candidate's shape (1, 3) is not the reference's (3,)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "nothing to compare: both arrays have shape (0, 3)"),
        (
            [1.0, 2.0],
            [1.0, math.nan],
            "1 of 2 values of the candidate are not finite, the first (nan) at (1,)",
        ),
        (
            [[1.0, math.inf]],
            [[1.0, 2.0]],
            "1 of 2 values of the reference are not finite, the first (inf) at (0, 1)",
        ),
        (
            [-math.inf] * 3,
            [-math.inf] * 3,
            "3 of 3 values of the reference are not finite, the first (-inf) at (0,)",
        ),
    ],
)
def test_what_cannot_be_subtracted_fails_with_a_reason(
    reference: np.ndarray, candidate: np.ndarray, reason: str
) -> None:
    found = compare(reference, candidate)
    assert (found.passed, found.reason, found.smallest_tolerance) == (False, reason, math.inf)
    assert math.isnan(found.max_abs)
    assert math.isnan(found.snr_db)


def test_the_ends_of_the_range_fail_without_a_warning() -> None:
    found = compare([1e308], [-1e308])
    assert (found.max_abs, found.snr_db, found.passed) == (math.inf, -math.inf, False)


def test_json_holds_every_field_and_no_number_that_json_lacks() -> None:
    found = compare(np.ones(2), np.ones(2)).to_json()
    assert found["snr_db"] == "inf"
    assert found["passed"] is True
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    failed = compare(np.ones(2), np.ones(3)).to_json()
    assert failed["max_abs"] is None
    assert failed["smallest_tolerance"] == "inf"


@pytest.mark.parametrize("tolerance", [-3.0, math.nan])
def test_a_tolerance_that_nothing_can_meet_is_refused(tolerance: float) -> None:
    with pytest.raises(ConfigError, match=r"tolerance: got .*, expected a number of at least 0"):
        compare([1.0], [1.0], tolerance=tolerance)
    with pytest.raises(ConfigError, match="is it in dB, or -3 where 1e-3 was meant"):
        compare([1.0], [1.0], tolerance=-3)
    with pytest.raises(ConfigError, match="min_snr_db: got NaN"):
        compare([1.0], [1.0], min_snr_db=math.nan)


@pytest.mark.parametrize("values", [["a"], [None], [{}]])
def test_what_is_no_number_is_refused(values: list[object]) -> None:
    with pytest.raises(
        InputError, match=r"candidate: got values of type .*, expected real or complex numbers"
    ):
        compare([1.0], values)  # type: ignore[arg-type]
