"""Parity of two arrays: how far a candidate lies from a reference, and whether that is near enough.

All sums are taken in float64 (complex128). With r the reference, c the candidate and d = c − r:

    max_abs, mean_abs, median_abs    of |d|, in the unit of the arrays
    max_rel, mean_rel                of |d| / (|r| + 1e-8)
    snr_db                           20 log10(‖r‖ / ‖d‖); inf for equal arrays, -inf if only r is zero
    cosine                           ⟨r, c⟩ / (‖r‖ ‖c‖); 1 if both are zero, 0 if one is
    smallest_tolerance               the least `tolerance` that would pass; inf where none would

Arrays that cannot be subtracted (another shape, nothing in them, values that are not finite) fail with a
reason: their metrics are NaN. Only what no comparison could accept (text, a tolerance below zero) raises.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import ConfigError, InputError

_REL_FLOOR = 1e-8  # keeps a relative difference finite where the reference is zero


@dataclass(frozen=True)
class Comparison:
    """The metrics of one pair of arrays; see the module for their definitions."""

    max_abs: float
    mean_abs: float
    median_abs: float
    max_rel: float
    mean_rel: float
    snr_db: float
    cosine: float
    smallest_tolerance: float
    passed: bool
    reason: str  # why it failed, as a clause; empty when it passed

    def to_json(self) -> dict[str, float | bool | str | None]:
        """The fields as JSON can hold them: NaN becomes null, infinities become strings."""
        return {name: json_number(value) for name, value in asdict(self).items()}


def compare(
    reference: ArrayLike, candidate: ArrayLike, *, tolerance: float = 1e-3, min_snr_db: float | None = None
) -> Comparison:
    """Compare two arrays of the same shape.

    Passed means: the same shape, every value finite, ``max_abs <= tolerance``, and ``snr_db >= min_snr_db``
    where that is given.

    Args:
        reference: the truth; any shape, real or complex.
        candidate: what is judged; its dtype may differ (float16 against float32).
        tolerance: the largest absolute difference that passes, in the unit of the arrays.
        min_snr_db: the least signal-to-noise ratio that passes, in dB.

    Raises:
        ConfigError: a tolerance that is negative or not a number, an SNR that is not a number.
        InputError: values that are not numbers.

    >>> result = compare([1.0, 2.0], [1.0, 2.5], tolerance=0.1)
    >>> result.max_abs, result.smallest_tolerance, result.passed
    (0.5, 0.5, False)
    >>> result.reason
    'max abs 0.5 is above the tolerance 0.1'
    """
    _check_limits(tolerance, min_snr_db)
    truth, judged = _numbers("reference", reference), _numbers("candidate", candidate)
    reason = _incomparable(truth, judged)
    if reason:
        return Comparison(
            max_abs=math.nan,
            mean_abs=math.nan,
            median_abs=math.nan,
            max_rel=math.nan,
            mean_rel=math.nan,
            snr_db=math.nan,
            cosine=math.nan,
            smallest_tolerance=math.inf,
            passed=False,
            reason=reason,
        )
    with np.errstate(over="ignore", invalid="ignore"):  # float64 at the end of its range: inf is the answer
        return _measure(truth, judged, tolerance, min_snr_db)


def _measure(
    truth: NDArray[Any], judged: NDArray[Any], tolerance: float, min_snr_db: float | None
) -> Comparison:
    difference = np.abs(judged - truth)
    relative = difference / (np.abs(truth) + _REL_FLOOR)
    max_abs = float(difference.max())
    snr_db = _snr_db(_norm(truth), _norm(difference))
    too_noisy = min_snr_db is not None and snr_db < min_snr_db
    reasons = []
    if max_abs > tolerance:
        reasons.append(f"max abs {max_abs:.3g} is above the tolerance {tolerance:g}")
    if too_noisy:
        reasons.append(f"SNR {snr_db:.1f} dB is below {min_snr_db:g} dB")
    return Comparison(
        max_abs=max_abs,
        mean_abs=float(difference.mean()),
        median_abs=float(np.median(difference)),
        max_rel=float(relative.max()),
        mean_rel=float(relative.mean()),
        snr_db=snr_db,
        cosine=_cosine(truth, judged),
        smallest_tolerance=math.inf if too_noisy else max_abs,
        passed=not reasons,
        reason=", ".join(reasons),
    )


def _check_limits(tolerance: float, min_snr_db: float | None) -> None:
    if not tolerance >= 0:  # NaN too
        raise ConfigError(
            "tolerance",
            got=f"{tolerance:g}",
            expected="a number of at least 0, in the unit of the arrays",
            cause="is it in dB, or -3 where 1e-3 was meant?" if tolerance < 0 else "",
        )
    if min_snr_db is not None and math.isnan(min_snr_db):
        raise ConfigError("min_snr_db", got="NaN", expected="a number in dB")


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise InputError(
            name,
            got=f"values of type {array.dtype}",
            expected="real or complex numbers",
            cause="is this an array?",
        )
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _incomparable(truth: NDArray[Any], judged: NDArray[Any]) -> str:
    if truth.shape != judged.shape:
        return f"the candidate's shape {judged.shape} is not the reference's {truth.shape}"
    if not truth.size:
        return f"nothing to compare: both arrays have shape {truth.shape}"
    return _not_finite("reference", truth) or _not_finite("candidate", judged)


def _not_finite(name: str, array: NDArray[Any]) -> str:
    wrong = ~np.isfinite(array)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    first = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), array.shape))
    return (
        f"{count} of {array.size} values of the {name} are not finite, the first ({array[first]}) at {first}"
    )


def _norm(array: NDArray[Any]) -> float:
    """Euclidean norm; scaled by the peak, so that squares neither overflow nor vanish."""
    peak = float(np.abs(array).max())
    if peak == 0 or math.isinf(peak):
        return peak
    return peak * math.sqrt(float(np.sum(np.square(np.abs(array) / peak))))


def _snr_db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    if signal == 0 or math.isinf(noise):
        return -math.inf
    return 20 * (math.log10(signal) - math.log10(noise))


def _cosine(truth: NDArray[Any], judged: NDArray[Any]) -> float:
    lengths = _norm(truth), _norm(judged)
    if 0 in lengths:
        return float(lengths[0] == lengths[1])
    inner = np.vdot((truth / lengths[0]).ravel(), (judged / lengths[1]).ravel())
    return min(1.0, max(-1.0, float(inner.real)))


def json_number(value: float | bool | str) -> float | bool | str | None:
    """A value that JSON can hold: NaN becomes null, infinities become strings.

    >>> json_number(float("-inf"))
    '-inf'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
