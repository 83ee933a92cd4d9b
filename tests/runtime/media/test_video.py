"""Video against opencv: what it wrote is read back, what it reduces is reduced the same."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.media.video import (
    differs,
    follow_clock,
    open_video,
    prepare_frames,
    read_frames,
)

Frames = NDArray[Any]


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_video(path: Path, frames: Frames, codec: str = "FFV1", fps: float = 25.0) -> Path:
    colour = frames.ndim == 4
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size, isColor=colour)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


# reading ---------------------------------------------------------------------------------------------------


def test_a_lossless_video_is_read_back_level_by_level(tmp_path: Path) -> None:
    frames = noise(7, 48, 48)
    video = read_frames(write_video(tmp_path / "a.avi", frames, fps=11413 / 420))
    np.testing.assert_array_equal(video.frames, frames)
    assert video.frames.dtype == np.uint8
    assert video.fps == pytest.approx(11413 / 420, rel=1e-4)


def test_grey_in_three_channels_with_the_noise_of_a_codec_is_grey(tmp_path: Path) -> None:
    frames = np.repeat(noise(6, 64, 64)[..., None], 3, axis=3)
    video = read_frames(write_video(tmp_path / "a.mp4", frames, "mp4v"))
    assert video.frames.shape == (6, 64, 64)


def test_the_first_frames_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", noise(7, 48, 48))
    np.testing.assert_array_equal(read_frames(path, limit=3).frames, noise(7, 48, 48)[:3])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "float16"])
def test_arrays_need_no_opencv(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    frames = noise(5, 32, 32) if dtype == "uint8" else (noise(5, 32, 32) / 255).astype(dtype)
    np.save(tmp_path / "a.npy", frames)
    video = read_frames(tmp_path / "a.npy")
    assert video.fps is None
    assert video.frames.dtype == ("uint8" if dtype == "uint8" else "float32")
    np.testing.assert_array_equal(video.frames, frames.astype(video.frames.dtype))


def test_without_opencv_a_video_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.avi", noise(2, 32, 32))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        BackendError, match=r"expected opencv, or \.npy frames.*pip install 'edge-export\[video"
    ):
        read_frames(path)


def test_the_header_tells_rate_count_and_size(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "a.avi", noise(9, 32, 48))) as reader:
        assert (reader.fps, reader.count, reader.height, reader.width) == (25.0, 9, 32, 48)


def test_colour_is_refused(tmp_path: Path) -> None:
    frames = np.full((4, 64, 64, 3), 128, np.uint8)
    frames[2:, :, :20, 0] = 250
    path = write_video(tmp_path / "a.avi", frames)
    with pytest.raises(InputError, match=r"a\.avi: got colour in 31 % of frame 2, expected a grey video"):
        read_frames(path)


def test_a_coloured_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(4, 32, 32, 3))
    with pytest.raises(
        InputError, match=r"got uint8 of shape \(4, 32, 32, 3\).*a colour video: make it grey"
    ):
        read_frames(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (noise(0, 32, 32), "got no frame, expected a video of at least one"),
        (noise(32, 32), r"got uint8 of shape \(32, 32\).*one frame: add an axis in front"),
        (noise(4, 32, 32).astype(np.int16), "got int16 of shape"),
        (noise(4, 32, 32).astype(np.uint16), "frames: got values of type uint16, expected uint8, or floats"),
        (noise(4, 32, 32).astype(np.float32), "got floats from 0 to 255, expected floats in 0 … 1; divide"),
        (np.full((4, 32, 32), np.nan), "got NaN or infinity, expected floats in 0 … 1$"),
        (np.asfortranarray(noise(4, 32, 32)), "in Fortran order"),
    ],
)
def test_arrays_that_are_no_frames_are_refused(tmp_path: Path, frames: Frames, sentence: str) -> None:
    np.save(tmp_path / "a.npy", frames)
    with pytest.raises(InputError, match=rf"a\.npy: .*{sentence}"):
        read_frames(tmp_path / "a.npy")


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.npy").write_text("hello")
    for name, sentence in [
        ("text.mp4", "got bytes that opencv cannot read, expected a video file"),
        ("empty.mp4", "got an empty file"),
        ("text.npy", "got no readable header"),
        ("absent.mp4", "got no such file"),
        (".", "got a folder"),
    ]:
        with pytest.raises(InputError, match=sentence):
            read_frames(tmp_path / name)


def test_decoders_print_nothing_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "text.avi").write_text("hello")
    program = "import sys; from edge_runtime.media.video import read_frames; read_frames(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "text.avi"], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("Traceback"), done.stderr
    assert done.stdout == ""


def test_files_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", noise(20, 64, 64)).read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"got only \d+ frames, expected the 20 .*cut off"):
        read_frames(tmp_path / "a.mkv")
    np.save(tmp_path / "a.npy", noise(20, 64, 64))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match="got an end in the middle of frame 19, expected 20 frames"):
        read_frames(tmp_path / "a.npy")


# preparing -------------------------------------------------------------------------------------------------


@given(st.integers(16, 90), st.integers(16, 90))
@settings(max_examples=100, deadline=None)
def test_reduction_and_enlargement_are_opencvs(length: int, size: int) -> None:
    # enlarging, opencv takes the wrong neighbour where rounding puts an edge of both grids on its wrong side
    assume(size <= length or math.gcd(size, length) == 1)
    frames = noise(2, length, length, seed=length)
    truth = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
    ours = prepare_frames(frames, size)
    assert ours.shape == (2, size, size)
    assert ours.dtype == np.float32
    assert np.abs(ours * 255 - truth).max() <= 1


def test_frames_of_the_right_size_are_divided_by_255_exactly() -> None:
    frames = noise(3, 32, 32)
    np.testing.assert_array_equal(prepare_frames(frames, 32), frames.astype(np.float32) / 255)


def test_levels_and_floats_are_the_same_frames() -> None:
    frames = noise(3, 40, 40)
    for scaling in ("full-scale", "min-max"):
        levels = prepare_frames(frames, 24, scaling)
        floats = prepare_frames(frames.astype(np.float32) / 255, 24, scaling)
        np.testing.assert_allclose(levels, floats, atol=1e-6)


def test_min_max_goes_frame_by_frame_and_a_constant_frame_is_zero() -> None:
    frames = noise(3, 48, 48) // 4 + 50
    frames[1] = 77
    values = prepare_frames(frames, 20, "min-max")
    np.testing.assert_allclose(values.min(axis=(1, 2)), 0, atol=1e-7)
    np.testing.assert_allclose(values.max(axis=(1, 2)), [1, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (noise(2, 32, 48), "frames: got 48x32 pixels, expected square frames .*crop"),
        (noise(2, 8, 8), "frames: got 8x8 pixels, expected square frames of at least 16x16 pixels$"),
        (noise(0, 32, 32), r"got shape \(0, 32, 32\), expected \(T, H, W\) with at least one frame"),
        (noise(32, 32), r"got shape \(32, 32\)"),
        (noise(2, 32, 32).astype(np.int64), "got values of type int64"),
        (-np.ones((2, 32, 32)), "got floats from -1 to -1, expected floats in 0 … 1$"),
    ],
)
def test_frames_that_cannot_be_prepared_are_refused(frames: Frames, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare_frames(frames, 32)


def test_unknown_scaling() -> None:
    with pytest.raises(ConfigError, match="frame scaling: got 'z-score', expected full-scale, min-max"):
        prepare_frames(noise(2, 32, 32), 32, "z-score")  # type: ignore[arg-type]


# the clock -------------------------------------------------------------------------------------------------


def numbered(count: int) -> Frames:
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 2, 2))


@given(st.integers(1, 60), st.floats(5, 120), st.floats(5, 120))
@settings(max_examples=80, deadline=None)
def test_frames_on_another_clock_are_numpys_interpolation(count: int, fps: float, clock: float) -> None:
    got = [float(frame[0, 0]) for frame in follow_clock(numbered(count), fps, clock)]
    if not differs(fps, clock):
        assert got == list(range(count))
        return
    assert len(got) == int(np.ceil(round(count * clock / fps, 6)))
    wanted = np.interp(np.arange(len(got)) / clock, np.arange(count) / fps, np.arange(count))
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_levels_are_rounded() -> None:
    frames = np.array([0, 3, 6], np.uint8)[:, None, None]
    got = [int(frame[0, 0]) for frame in follow_clock(frames, 10.0, 20.0)]
    assert got == [0, 2, 3, 4, 6, 6]


def test_a_rate_that_is_near_or_unknown_changes_nothing() -> None:
    frames = list(numbered(4))
    clock = 11413 / 420
    for fps in (None, 27.174, clock * 1.004):
        assert list(follow_clock(frames, fps, clock)) == frames
    assert differs(clock * 1.006, clock)
