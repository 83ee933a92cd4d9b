"""Sample-rate conversion: soxr where it is installed, a numpy polyphase filter otherwise.

Both ways are linear-phase with no delay (output sample m stands at time m / to_rate) and give
``ceil(n · to_rate / from_rate)`` samples, computed in integers: librosa's rule.

The numpy filter is a sinc under a Kaiser window. With f the lower of the two Nyquist frequencies it passes
0 … 0.9 f and stops from f on, so nothing aliases; the window is designed for 100 dB, which leaves 90 dB after
the rounding of float32. The tests measure both: at least 90 dB beyond f, ripple below 0.001 dB up to 0.9 f.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import BackendError, InputError

Method = Literal["auto", "soxr", "polyphase"]

PASS_EDGE = 0.9  # of the lower Nyquist frequency; the stop band begins at 1
DESIGN_DB = 100.0
KAISER_BETA = 0.1102 * (DESIGN_DB - 8.7)  # Kaiser 1974, stop band beyond 50 dB
# Kaiser's length for that stop band over a transition of (1 − PASS_EDGE)·π, halved: samples of the lower rate
HALF_WIDTH = math.ceil((DESIGN_DB - 7.95) / (2.285 * (1 - PASS_EDGE) * math.pi) / 2)
MOST_WEIGHTS = 1 << 25  # of all filters; some five seconds of work, 128 MB
BLOCK = 1 << 22  # largest scratch array of the polyphase filter, in values


def resample(
    samples: ArrayLike, from_rate: int, to_rate: int, *, method: Method = "auto"
) -> NDArray[np.float32]:
    """Audio at another sample rate.

    Args:
        samples: (n,), any real dtype; computed as float32.
        from_rate: Hz, a whole number.
        to_rate: Hz, a whole number.
        method: "auto" takes soxr (quality HQ) where it is installed.

    Returns:
        (ceil(n · to_rate / from_rate),) float32; the samples themselves where the rates agree.

    Raises:
        InputError: a rate below 1, or samples that are not one channel; "polyphase", which "auto" falls back
            to, between rates whose filters would be larger than `MOST_WEIGHTS`.
        BackendError: method "soxr" where it is not installed.

    >>> resample(np.zeros(441), 44100, 16000, method="numpy").shape
    (160,)
    """
    x = np.asarray(samples, dtype=np.float32)
    if x.ndim != 1:
        raise InputError("audio", got=f"shape {x.shape}", expected="one channel of shape (n,)")
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        if not rate >= 1 or rate % 1:
            raise InputError(name, got=f"{rate}", expected="a whole number of Hz, at least 1")
    if from_rate == to_rate:
        return x
    from_rate, to_rate = int(from_rate), int(to_rate)
    length = -(-len(x) * to_rate // from_rate)
    resampled = None if method == "polyphase" else _soxr(x, from_rate, to_rate, required=method == "soxr")
    if resampled is None:
        return _polyphase(x, from_rate, to_rate, length)
    return _fix_length(resampled, length)


def _soxr(x: NDArray[np.float32], from_rate: int, to_rate: int, required: bool) -> NDArray[np.float32] | None:
    try:
        import soxr
    except ImportError as error:
        if required:
            raise BackendError(
                "resampling with soxr",
                got="no module named soxr",
                expected="soxr to be installed",
                cause="pip install 'edge-export[audio]'",
            ) from error
        return None
    resampled: NDArray[np.float32] = soxr.resample(x, from_rate, to_rate, quality="HQ")
    return resampled


def _fix_length(x: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """soxr rounds the length, we take the ceiling: at most one zero is added."""
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))


def _filters(phases: NDArray[np.int64], up: int, down: int) -> NDArray[np.float32]:
    """(phases, taps): the filters of the outputs that stand ``phase / up`` samples after an input sample.

    Tap k weights the input ``k − taps // 2 + 1`` samples after the one at or just before the output.
    """
    lower = min(1.0, up / down)  # the lower rate in units of the input's
    half = HALF_WIDTH / lower
    taps = 2 * math.ceil(half)
    time = np.arange(taps) - (taps // 2 - 1) - phases[:, None] / up
    cutoff = lower * (1 + PASS_EDGE) / 2  # the middle of the transition, of the input's Nyquist frequency
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
    filters = np.sinc(cutoff * time) * np.where(np.abs(time) < half, window, 0)
    # each phase sums to one: a constant stays constant, with no image of it at multiples of from_rate
    return np.asarray(filters / filters.sum(axis=1, keepdims=True), np.float32)


def _polyphase(x: NDArray[np.float32], from_rate: int, to_rate: int, length: int) -> NDArray[np.float32]:
    """Whole periods at a time; within them the outputs of one phase are one matrix-vector product."""
    divisor = math.gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    phases = np.arange(min(up, length)) * down % up
    weights = len(phases) * 2 * math.ceil(HALF_WIDTH * max(1.0, down / up))
    if weights > MOST_WEIGHTS:
        raise InputError(
            "sample rate",
            got=f"{from_rate} Hz, to become {to_rate} Hz, without soxr",
            expected=f"rates that have filters of {MOST_WEIGHTS} weights at most, not {weights}",
            cause="pip install 'edge-export[audio]', or resample the file elsewhere, to 48000 Hz, say",
        )
    pieces = np.array_split(phases, 1 + len(phases) // 1024)  # the sinc's scratch arrays stay small
    filters = np.concatenate([_filters(piece, up, down) for piece in pieces])
    taps = filters.shape[1]
    periods = max(1, BLOCK // max(up, down, taps))
    y = np.empty(length, np.float32)
    for start in range(0, length, periods * up):
        block = y[start : start + periods * up]
        first = start // up * down - (taps // 2 - 1)  # the input under the first tap of the first output
        last = first + (len(block) - 1) * down // up + taps
        inputs = np.zeros(last - first, np.float32)
        known = x[max(first, 0) : last]
        inputs[max(-first, 0) :][: len(known)] = known
        for n, filter_of_phase in enumerate(filters[: len(block)]):
            outputs = block[n::up]
            windows = np.lib.stride_tricks.sliding_window_view(inputs[n * down // up :], taps)
            np.matmul(windows[::down][: len(outputs)], filter_of_phase, out=outputs)
    return y
