"""The video clock against SyncTalk_2D's published fixed points and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.dsp import windows
from edge_runtime.dsp.windows import (
    CONTEXT_ROWS,
    MIN_SAMPLES,
    MODES,
    check_features,
    context_window,
    encoder_windows,
    frame_count,
    repeat_ends,
    reshape_context,
    window_starts,
)
from edge_runtime.errors import ConfigError, InputError


@pytest.mark.parametrize(
    ("mel_frames", "count"), [(16, 2), (41, 9), (81, 22), (161, 47), (241, 72), (384, 116), (3591, 1119)]
)
def test_frame_count_at_the_fixed_points(mel_frames: int, count: int) -> None:
    assert frame_count(mel_frames) == count


def test_frame_count_differs_from_integers_as_often_as_the_origin_does() -> None:
    lengths = range(16, 100_000)
    differing = [t for t in lengths if frame_count(t) != (t - 16) * 25 // 80 + 2]
    assert differing[:5] == [384, 672, 752, 832, 1328]
    assert len(differing) == 513
    assert all(frame_count(t) == (t - 16) * 25 // 80 + 1 for t in differing)


def test_starts_are_those_of_exact_arithmetic_until_the_clamp() -> None:
    starts = window_starts(241)
    assert starts[:7].tolist() == [0, 3, 6, 9, 12, 16, 19]
    assert starts[-4:].tolist() == [217, 220, 224, 225]  # the last is clamped to 241 − 16
    many = window_starts(640_016)
    np.testing.assert_array_equal(many[:199_999], np.arange(199_999) * 16 // 5)


@pytest.mark.parametrize("mel_frames", [0, 1, 9, 10, 15])
def test_too_short_says_how_much_is_needed(mel_frames: int) -> None:
    with pytest.raises(InputError, match=r"at least 16 .*3000 samples at 16 kHz.*too short"):
        frame_count(mel_frames)


def test_the_shortest_audio_reaches_one_window() -> None:
    assert MIN_SAMPLES == 3000
    assert 1 + MIN_SAMPLES // 200 == 16
    assert 1 + (MIN_SAMPLES - 1) // 200 == 15


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(fps: float) -> None:
    with pytest.raises(ConfigError, match="fps: got"):
        frame_count(100, fps)


@settings(deadline=None)
@given(st.integers(16, 400), st.sampled_from([20, 24, 25, 29.97, 30, 50, 60]))
def test_windows_are_the_slices_of_a_plain_loop(mel_frames: int, fps: float) -> None:
    mel = np.arange(80 * mel_frames, dtype=np.float64).reshape(80, mel_frames)
    windows = encoder_windows(mel, fps)
    assert windows.shape == (int((mel_frames - 16) / 80.0 * fps) + 2, 16, 80)
    assert windows.dtype == mel.dtype
    for i, window in enumerate(windows):
        start = int(80.0 * (i / fps))
        if start + 16 > mel_frames:
            start = mel_frames - 16
        np.testing.assert_array_equal(window, mel[:, start : start + 16].T)


@settings(deadline=None)
@given(st.integers(16, 300), st.integers(1, 70))
def test_windows_in_batches_equal_all_at_once(mel_frames: int, batch: int) -> None:
    mel = np.random.default_rng(mel_frames).standard_normal((80, mel_frames)).astype(np.float32)
    count = frame_count(mel_frames)
    parts = [encoder_windows(mel, start=k, stop=k + batch) for k in range(0, count, batch)]
    np.testing.assert_array_equal(np.concatenate(parts), encoder_windows(mel))


def test_transposed_mel_is_named() -> None:
    with pytest.raises(InputError, match=r"\(161, 80\), expected \(80, frames\); transposed"):
        encoder_windows(np.zeros((161, 80)))


def test_ends_stand_twice() -> None:
    features = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(repeat_ends(features), features[[0, 0, 1, 2, 2]])
    with pytest.raises(InputError, match="at least one frame"):
        repeat_ends(np.zeros((0, 512)))


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_context_has_sixteen_rows_with_the_frame_at_row_eight(length: int, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, length - 1))
    features = 1 + np.arange(length * 3, dtype=np.float32).reshape(length, 3)
    window = context_window(features, i)
    assert window.shape == (CONTEXT_ROWS, 3)
    assert window.dtype == np.float32
    for row in range(16):
        k = i - 8 + row
        expected = features[k] if 0 <= k < length else np.zeros(3)
        np.testing.assert_array_equal(window[row], expected)


@pytest.mark.parametrize("i", [-1, 5])
def test_context_outside_the_recording_is_refused(i: int) -> None:
    with pytest.raises(InputError, match=f"frame: got {i}, expected 0 … 4"):
        context_window(np.zeros((5, 512)), i)


def test_ave_channels_are_halves_of_context_rows() -> None:
    window = np.arange(16 * 512).reshape(16, 512)
    shaped = reshape_context(window, "ave")
    assert shaped.shape == (32, 16, 16)
    for c, h, w in [(0, 0, 0), (1, 0, 0), (7, 3, 5), (31, 15, 15)]:
        assert shaped[c, h, w] == window[c // 2, (c % 2) * 256 + h * 16 + w]


@pytest.mark.parametrize(("mode", "shape"), [("hubert", (32, 32, 32)), ("wenet", (256, 16, 32))])
def test_other_modes_reshape_in_c_order(mode: str, shape: tuple[int, int, int]) -> None:
    window = np.arange(MODES[mode].size).reshape(16, -1)
    np.testing.assert_array_equal(reshape_context(window, mode), window.reshape(shape))


@pytest.mark.parametrize("mode", ["hubert", "wenet"])
def test_legacy_padding_appends_zeros_only_on_request(mode: str) -> None:
    window = np.ones((16, 512), np.float32)
    padded = reshape_context(window, mode, legacy_padding=True).reshape(-1)
    np.testing.assert_array_equal(padded[:8192], 1)
    np.testing.assert_array_equal(padded[8192:], 0)
    assert padded.dtype == np.float32
    with pytest.raises(InputError, match=r"8192 values .*these are ave features"):
        reshape_context(window, mode)


def test_legacy_padding_does_not_excuse_other_sizes() -> None:
    with pytest.raises(InputError, match="8000 values"):
        reshape_context(np.ones((16, 500)), "hubert", legacy_padding=True)


def test_unknown_modes_are_named() -> None:
    with pytest.raises(ConfigError, match="got 'deepspeech', expected ave or hubert or wenet"):
        reshape_context(np.ones((16, 512)), "deepspeech")


def test_external_features_of_the_right_size_are_accepted() -> None:
    assert check_features(np.ones((7, 2, 1024)), "hubert").shape == (7, 2048)
    assert check_features(np.ones((7, 16, 512), np.float32), "wenet").shape == (7, 8192)
    assert check_features(np.ones((7, 512), np.float16), "ave").dtype == np.float32


@pytest.mark.parametrize(
    ("features", "mode", "sentence"),
    [
        (np.ones((8, 1024)), "hubert", "join pairs"),
        (np.ones((8, 512)), "hubert", "these are ave features"),
        (np.ones((8, 2048)), "wenet", "these are hubert features"),
        (np.ones(2048), "hubert", r"expected \(frames, 2048\)"),
        (np.ones((0, 2048)), "hubert", r"got shape \(0, 2048\)"),
        (np.full((8, 2048), np.nan), "hubert", "NaN"),
        (np.ones((8, 2048), np.int64), "hubert", "int64, expected floats"),
    ],
)
def test_external_features_that_do_not_fit_are_refused(
    features: np.ndarray, mode: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        check_features(features, mode)


# ---- whose count ------------------------------------------------------------------------------------------


def wav2lips_starts(mel_frames: int, fps: float) -> list[int]:
    """As Wav2Lip's inference cuts a mel, by its description."""
    starts: list[int] = []
    while True:
        start = int(len(starts) * (80.0 / fps))
        if start + 16 > mel_frames:
            return [*starts, mel_frames - 16]
        starts.append(start)


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 60, 12.5, 80, 200])
def test_windows_as_wav2lip_cuts_them(fps: float) -> None:
    for frames in (*range(16, 200), 1000, 2999):
        starts = windows.window_starts(frames, fps, "wav2lip")
        assert starts.tolist() == wav2lips_starts(frames, fps)
        assert len(starts) == windows.frame_count(frames, fps, "wav2lip")


def test_the_two_counts_differ_where_they_are_said_to() -> None:
    more = [t for t in range(16, 3000) if windows.frame_count(t, 25, "wav2lip") != windows.frame_count(t, 25)]
    assert (len(more), more[0]) == (760, 19)
    assert (windows.frame_count(19, 25), windows.frame_count(19, 25, "wav2lip")) == (2, 3)


def test_no_other_count() -> None:
    with pytest.raises(ConfigError, match="windows: got 'lipgan', expected synctalk or wav2lip"):
        windows.check_counting("lipgan")
