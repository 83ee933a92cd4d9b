"""A mel and its picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import InputError
from edge_runtime.pipelines.image_speech.picture import (
    BANDS,
    FRAMES,
    FRONT_END,
    SAMPLES,
    mel_to_picture,
    picture_to_mel,
)


def test_a_tone_of_ten_seconds_is_one_bright_row_near_the_bottom() -> None:
    tone = np.sin(2 * np.pi * 500 / 16000 * np.arange(SAMPLES)).astype(np.float32)
    picture = mel_to_picture(MelFrontEnd(FRONT_END)(tone))
    assert picture.shape == (BANDS, FRAMES) == (256, 1024)
    assert picture.dtype == np.float32
    rows = picture[:, 100:-100].argmax(axis=0)
    # 500 Hz is mel 7.5 of 45.245 (Slaney); band k peaks at (k + 1) · 45.245 / 257
    assert set(255 - rows) <= {41, 42}


def test_numbers_of_the_convention() -> None:
    picture = mel_to_picture(np.array([[math.log(1e-5)], [0.0], [math.log(200)]]))
    np.testing.assert_allclose(picture[:, 0], [1.0, 11.512925 / 16.811243, 0.0], atol=1e-7)


@given(arrays(np.float64, (5, 3), elements=st.floats(-11.5129, 5.298)))
def test_back_and_forth_gives_the_mel(mel: np.ndarray) -> None:
    np.testing.assert_allclose(picture_to_mel(mel_to_picture(mel)), mel, atol=4e-6)


def test_channels_are_averaged() -> None:
    picture = np.random.default_rng(0).random((3, 4, 5), np.float32)
    np.testing.assert_allclose(picture_to_mel(picture), picture_to_mel(picture.mean(axis=0)), atol=2e-6)


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (np.full((2, 2), -80.0), r"values of -80 … -80.*in dB"),
        (np.full((2, 2), 10.6), r"values of 10\.6 … 10\.6.*of a power"),
        (np.array([[0.0, np.nan]]), "values of nan"),
        (np.zeros(3), r"shape \(3,\), expected floats \(bands, frames\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
    ],
)
def test_what_is_no_mel_of_this_front_end_is_refused(mel: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mel_to_picture(mel)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((2, 2), 200, np.uint8), "uint8 of shape"),
        (np.full((3, 2, 2), 200, np.uint8), "uint8 of shape"),
        (np.full((2, 2), 1.5), r"values of 1\.5 … 1\.5, expected 0 … 1; divide an 8-bit picture"),
        (np.full((2, 2), np.nan), "values of nan"),
        (np.zeros((4, 2, 2)), r"shape \(4, 2, 2\)"),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        picture_to_mel(picture)
