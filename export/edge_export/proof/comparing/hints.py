"""Why two arrays differ: guesses that are tested before they are told.

A guess is a way to read the second array. It is told where what it gives passes, or comes nearer by
`TELLING_DB`; the latter is how a float16 twin shows that its outputs are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from edge_export.proof.artifacts.base import Array
from edge_runtime.compare import Comparison, compare

FEWEST = 8  # values of an array that is guessed about: fewer fit anything
TELLING_DB = 15.0  # by which a guess must come nearer
CERTAIN_DB = 20.0  # signal-to-noise ratio that it must reach then
MOST_LAG = 64  # samples or frames that an output is looked for early or late


def explain(
    truth: Array,
    judged: Array,
    tolerance: float,
    others: Mapping[str, Array],
    min_snr_db: float | None = None,
) -> str:
    """The first reading of ``judged (…,)`` that passes, or that is much nearer, in words; "" where none is.

    Args:
        truth, judged: of one shape.
        tolerance: largest absolute error that passes.
        others: the other outputs of the second artifact.
        min_snr_db: least signal-to-noise ratio that passes.
    """
    unlike = truth.shape != judged.shape or "f" not in truth.dtype.kind + judged.dtype.kind
    if unlike or truth.size < FEWEST or not np.isfinite(judged).all() or not np.isfinite(truth).all():
        return ""
    x, y = truth.astype(np.float64), judged.astype(np.float64)
    plain = compare(x, y, tolerance=tolerance).snr_db
    nearest, words = plain, ""
    for reading, ours, theirs in _readings(x, y, others):
        if ours.shape != theirs.shape or not np.isfinite(theirs).all() or np.ptp(ours) <= tolerance:
            continue
        found = compare(ours, theirs, tolerance=tolerance, min_snr_db=min_snr_db)
        if found.passed:
            return f"it would pass {reading}"
        if _much_nearer(found, plain) and found.snr_db > nearest + 1:
            nearest, words = found.snr_db, f"{found.snr_db:.0f} dB in place of {plain:.0f} dB {reading}"
    return words


def _much_nearer(found: Comparison, plain: float) -> bool:
    return found.snr_db > max(plain + TELLING_DB, CERTAIN_DB)


def _readings(truth: Array, judged: Array, others: Mapping[str, Array]) -> Iterator[tuple[str, Array, Array]]:
    for name, other in others.items():
        yield f"if {name} were taken: are two outputs exchanged?", truth, other
    if judged.ndim <= 4:
        for order in permutations(range(judged.ndim)):
            if order != tuple(range(judged.ndim)):
                yield f"transposed {order}", truth, judged.transpose(order)
    for axis in range(judged.ndim):
        if judged.shape[axis] > 1:
            yield f"reversed along axis {axis}", truth, np.flip(judged, axis)
    with np.errstate(all="ignore"):
        yield "after a sigmoid: these are logits", truth, 1 / (1 + np.exp(-judged))
        for axis in range(judged.ndim):
            raised = np.exp(judged - judged.max(axis=axis, keepdims=True))
            yield f"after a softmax along axis {axis}", truth, raised / raised.sum(axis, keepdims=True)
        yield "as its exponential: this is a logarithm", truth, np.exp(judged)
        yield "as its logarithm", truth, np.log(judged)
    yield from _scaled(truth, judged)
    yield from _shifted(truth, judged)


def _scaled(truth: Array, judged: Array) -> Iterator[tuple[str, Array, Array]]:
    energy = float(np.vdot(judged, judged))
    if energy:
        gain = float(np.vdot(judged, truth)) / energy
        yield f"times {gain:.6g}", truth, gain * judged
    spread = judged - judged.mean()
    energy = float(np.vdot(spread, spread))
    if energy:
        gain = float(np.vdot(spread, truth - truth.mean())) / energy
        offset = float(truth.mean() - gain * judged.mean())
        yield f"times {gain:.6g} plus {offset:.6g}", truth, gain * judged + offset


def _shifted(truth: Array, judged: Array) -> Iterator[tuple[str, Array, Array]]:
    """Early or late along an axis, as far as half of it is left to compare."""
    for axis in range(judged.ndim):
        length = judged.shape[axis]
        for lag in range(1, min(MOST_LAG, length // 2) + 1):
            start, end = (range(length - lag), range(lag, length))
            yield f"{lag} later along axis {axis}", np.take(truth, start, axis), np.take(judged, end, axis)
            yield f"{lag} earlier along axis {axis}", np.take(truth, end, axis), np.take(judged, start, axis)
