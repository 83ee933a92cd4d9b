"""The figures of mel inversion against values worked out by hand, their invariances, and refusals."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from edge_runtime.dsp.quality import (
    figures_of_pieces,
    log_spectral_distance,
    si_ssdr,
    spectral_convergence,
    spectral_convergence_db,
)
from edge_runtime.errors import ConfigError, InputError

FIGURES = (spectral_convergence, log_spectral_distance, si_ssdr)


def magnitudes(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1.0, (5, 7))


def test_spectral_convergence_worked_out_by_hand() -> None:
    assert spectral_convergence([[3.0, 4.0]], [[3.0, 3.5]]) == pytest.approx(0.1)
    assert spectral_convergence_db([[3.0, 4.0]], [[3.0, 3.5]]) == pytest.approx(-20)


def test_log_spectral_distance_worked_out_by_hand() -> None:
    # frame 0: 20 dB in one bin of two; frame 1: equal
    truth, estimate = [[1.0, 1.0], [0.5, 0.2]], [[0.1, 1.0], [0.5, 0.2]]
    assert log_spectral_distance(truth, estimate) == pytest.approx(math.sqrt(20**2 / 2) / 2)


def test_log_spectral_distance_does_not_look_below_its_range() -> None:
    truth, estimate = np.array([[1.0, 1e-9], [1.0, 0.0]]), np.array([[1.0, 1e-7], [1.0, 0.0]])
    assert log_spectral_distance(truth, estimate) == 0
    # the range is measured from the truth's maximum, 1: 1e-7 is 60 dB above a floor of -200 dB
    assert log_spectral_distance(truth, estimate, range_db=200) == pytest.approx(40 / math.sqrt(2) / 2)


def test_si_ssdr_worked_out_by_hand() -> None:
    truth, orthogonal = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    assert si_ssdr(truth, truth + 0.1 * orthogonal) == pytest.approx(20)
    assert si_ssdr(truth, 7 + 3 * (truth + 0.1 * orthogonal)) == pytest.approx(20)


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_si_ssdr_knows_neither_level_nor_offset(scale: float, shift: float) -> None:
    expected = si_ssdr(magnitudes(), magnitudes(1))
    assert si_ssdr(magnitudes(), scale * magnitudes(1) + shift) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_estimate() -> None:
    x = magnitudes()
    assert (spectral_convergence(x, x), log_spectral_distance(x, x)) == (0, 0)
    assert (spectral_convergence_db(x, x), si_ssdr(x, x)) == (-math.inf, math.inf)


def test_silence() -> None:
    silence, x = np.zeros((5, 7)), magnitudes()
    assert (spectral_convergence(silence, silence), log_spectral_distance(silence, silence)) == (0, 0)
    assert (spectral_convergence(silence, x), log_spectral_distance(silence, x)) == (math.inf, math.inf)
    assert (si_ssdr(silence, x), si_ssdr(x, silence), si_ssdr(silence, silence)) == (
        -math.inf,
        -math.inf,
        math.inf,
    )


def test_float32_is_summed_in_float64() -> None:
    x = np.full(1 << 20, 0.1, np.float32)
    assert spectral_convergence(x, x * np.float32(1.5)) == pytest.approx(0.5, rel=1e-7)


REFUSED: tuple[tuple[ArrayLike, ArrayLike, str], ...] = (
    (
        np.zeros((5, 7)),
        np.zeros((5, 6)),
        r"estimate: got shape \(5, 6\), expected the truth's shape \(5, 7\)",
    ),
    (np.zeros((5, 7), complex), np.zeros((5, 7)), "truth: got values of type complex128, .* the magnitude"),
    (np.zeros((5, 0)), np.zeros((5, 0)), r"truth: got shape \(5, 0\), expected at least one value"),
    (np.zeros((5, 7)), np.full((5, 7), np.nan), "estimate: got values that are NaN or infinite"),
)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(("truth", "estimate", "sentence"), REFUSED)
def test_refusals(figure: object, truth: ArrayLike, estimate: ArrayLike, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        figure(truth, estimate)  # type: ignore[operator]


def test_log_spectral_distance_refuses() -> None:
    with pytest.raises(InputError, match=r"estimate: got a value of -3, .* is this a logarithm"):
        log_spectral_distance(np.ones((2, 2)), np.full((2, 2), -3.0))
    with pytest.raises(InputError, match=r"truth: got shape \(4,\), expected magnitudes of shape"):
        log_spectral_distance(np.ones(4), np.ones(4))
    with pytest.raises(ConfigError, match="range_db: got -80, expected a positive number of dB"):
        log_spectral_distance(np.ones((2, 2)), np.ones((2, 2)), range_db=-80)


@given(
    frames=st.integers(1, 40), cuts=st.sets(st.integers(1, 39)), seed=st.integers(0, 20),
    kind=st.sampled_from(["noise", "same", "scaled", "silent truth", "silent estimate", "both silent"]),
)  # fmt: skip
def test_figures_of_pieces_are_those_of_the_whole(frames: int, cuts: set[int], seed: int, kind: str) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.random((5, frames)) ** 4
    estimate = {"same": truth, "scaled": 0.5 * truth}.get(kind, draw.random((5, frames)) ** 4)
    if kind in ("silent truth", "both silent"):
        truth = 0 * truth
    if kind in ("silent estimate", "both silent"):
        estimate = 0 * estimate
    edges = [0, *sorted(cut for cut in cuts if cut < frames), frames]
    pieces = [(truth[:, a:b], estimate[:, a:b]) for a, b in pairwise(edges)]
    found = figures_of_pieces(lambda: pieces)
    whole = {
        "si_ssdr_db": si_ssdr(truth, estimate),
        "spectral_convergence": spectral_convergence(truth, estimate),
        "spectral_convergence_db": spectral_convergence_db(truth, estimate),
        "log_spectral_distance_db": log_spectral_distance(truth, estimate),
    }
    for name, value in whole.items():
        # rounding alone stands between a scaled copy and perfection
        if kind in ("same", "scaled") and name == "si_ssdr_db" and value > 200:
            assert found[name] > 200
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_pieces_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="estimate: got shape"):
        figures_of_pieces(lambda: [(np.ones((2, 3)), np.ones((2, 4)))])
