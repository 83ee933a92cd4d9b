"""Frames of a front end as frames of the phase step, whole and read piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.dsp.spectral import StftConfig
from edge_runtime.errors import InputError
from edge_runtime.pipelines.mel_inversion.conditioning import without_pre_emphasis
from edge_runtime.pipelines.mel_inversion.layout import FrameLayout, LaidOut


@given(
    frames=st.integers(1, 12), before=st.integers(0, 20), after=st.integers(0, 20),
    cuts=st.tuples(st.integers(0, 50), st.integers(0, 50)), name=st.sampled_from(["rtmri", "mel-inversion"]),
)  # fmt: skip
def test_pieces_are_those_of_the_whole(
    frames: int, before: int, after: int, cuts: tuple[int, int], name: str
) -> None:
    front_end = PRESETS[name]  # with and without pre-emphasis
    magnitude = np.random.default_rng(frames).random((front_end.stft.bins, frames), np.float32)
    whole = np.pad(without_pre_emphasis(magnitude, front_end), ((0, 0), (before, after)), mode="symmetric")
    laid_out = LaidOut(magnitude, before, after, front_end)
    assert laid_out.shape == whole.shape
    piece = slice(min(cuts), max(cuts))
    np.testing.assert_array_equal(laid_out[:, piece], whole[:, piece])


def test_frames_cover_the_recording() -> None:
    """Without padding Griffin-Lim gets centred frames: some before the first are mirrored."""
    layout = FrameLayout(StftConfig(16, 4, 16, "none"), None)
    assert layout.phase.padding == "center-zero"
    assert (layout.before, layout.offset) == (2, 0)
    assert layout.natural_length(10) == 16 + 9 * 4
    magnitude = np.ones((9, 10))
    assert layout.lay_out(magnitude, 52, PRESETS["mel-inversion"]).shape == (9, 14)
    with pytest.raises(InputError, match="got 1 frame, expected at least 2"):
        FrameLayout(StftConfig(16, 4, 16, "center-zero"), None).natural_length(1)
