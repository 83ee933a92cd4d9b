"""In chunks, to the last bit, what Griffin-Lim gives at once; and in memory that does not grow."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.dsp import long_griffin_lim as long
from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.spectral import StftConfig
from edge_runtime.errors import ConfigError, InputError


def magnitude(bins: int, frames: int, dtype: str = "float32") -> NDArray[Any]:
    draw = np.random.default_rng(frames)
    return (draw.random((bins, frames)) ** 3 * np.linspace(1, 5, frames)).astype(dtype)


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 900),
    chunk=st.sampled_from([1, 128, 200, 384]),
    n_iter=st.integers(0, 9),
    algorithm=st.sampled_from(["gla", "fgla", "agla", "admm"]),
    padding=st.sampled_from(["center-zero", "center-reflect", "reflect", "none"]),
    hop=st.sampled_from([4, 8, 5]),
    missing=st.integers(-9, 9),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_chunks_are_the_whole_to_the_last_bit(
    frames: int, chunk: int, n_iter: int, algorithm: Any, padding: Any, hop: int, missing: int, dtype: str
) -> None:
    values = magnitude(9, frames, dtype)
    config = StftConfig(16, hop, 16, padding)
    covered = 16 + (frames - 1) * hop - 2 * config.pad
    options: Any = {
        "n_fft": 16, "hop_length": hop, "n_iter": n_iter, "algorithm": algorithm, "padding": padding,
        "length": max(0, covered + missing), "momentum": 0.99,
    }  # fmt: skip
    try:
        whole = griffin_lim(values, **options)
    except InputError as refusal:  # too short for the mirror
        with pytest.raises(InputError, match=refusal.expected):
            long.long_griffin_lim(values, **options)
        return
    np.testing.assert_array_equal(long.long_griffin_lim(values, chunk_frames=chunk, **options), whole)


def test_every_frame_is_kept_once_with_its_neighbours() -> None:
    config = StftConfig(1024, 256, 1024, "reflect")
    pieces = [*long.chunks(10_000, config, 64)]
    assert [piece.first for piece in pieces[1:]] == [piece.last for piece in pieces[:-1]]
    assert (pieces[0].start, pieces[-1].last, pieces[-1].stop) == (0, 10_000, 10_000)
    for piece in pieces:
        assert piece.first - piece.start >= min(65 * 3, piece.first)
        assert piece.stop - piece.last >= min(65 * 3, 10_000 - piece.last)
        assert not piece.start % 128


class Made:
    """A magnitude that is made when it is asked for."""

    def __init__(self, bins: int, frames: int) -> None:
        self.shape = bins, frames

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float32]:
        start, stop, _ = key[1].indices(self.shape[1])
        return np.random.default_rng(start).random((self.shape[0], stop - start), np.float32)


@pytest.mark.parametrize("algorithm", ["fgla", "admm"])
def test_memory_grows_with_the_signal_alone(algorithm: Any) -> None:
    peaks = []
    for frames in (3_000, 12_000):
        tracemalloc.start()
        long.long_griffin_lim(
            Made(65, frames), n_fft=128, hop_length=32, n_iter=1, algorithm=algorithm, chunk_frames=1024
        )
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    signal = 9_000 * 32 * 4 / 2**20
    assert peaks[1] - peaks[0] < signal + 0.2, peaks


def test_refusals_are_those_of_the_whole() -> None:
    options: Any = {"n_fft": 16, "hop_length": 4}
    with pytest.raises(InputError, match="negative values"):
        long.long_griffin_lim(-magnitude(9, 8), **options)
    with pytest.raises(InputError, match=r"shape \(8, 8\), expected \(9, frames\)"):
        long.long_griffin_lim(magnitude(8, 8), **options)
    with pytest.raises(ConfigError, match="hop_length"):
        long.long_griffin_lim(magnitude(9, 8), n_fft=16, hop_length=17)
