"""Masks against opencv, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError, TargetError
from edge_runtime.media.masks import (
    POLYGONS,
    Polygon,
    apply_mask,
    fill_polygon,
    gaussian_blur,
    mask_video,
    mask_weights,
    parse_mask,
)
from edge_runtime.media.video import import_opencv, read_frames, write_video


def opencv_mask(polygon: Polygon, height: int, width: int, alpha: float, blur: int) -> NDArray[np.float32]:
    """What mri2speech's tool computes, written from its description."""
    weights = np.ones((height, width), np.float32)
    points = [[round(x * width / polygon.base), round(y * height / polygon.base)] for x, y in polygon.points]
    cv2.fillPoly(weights, [np.array(points, np.int32)], alpha)
    blurred = cv2.GaussianBlur(weights, (blur, blur), 0)
    return np.clip(blurred, alpha, 1.0).astype(np.float32)


@pytest.mark.parametrize("name", ["lip", "tongue"])
@pytest.mark.parametrize("side", [256, 84, 68, 512])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
def test_the_origins_masks_are_those_of_opencv(name: str, side: int, alpha: float) -> None:
    truth = opencv_mask(POLYGONS[name], side, side, alpha, 11)
    ours = mask_weights(POLYGONS[name], side, side, alpha)
    assert ours.dtype == np.float32
    assert np.abs(ours - truth).max() < 1e-6  # one level of 255 is 4e-3


corner = st.tuples(st.integers(0, 47), st.integers(0, 39))


@given(st.lists(corner, min_size=3, max_size=9))
@settings(max_examples=200, deadline=None)
def test_any_polygon_is_filled_as_opencv_fills_it(points: list[tuple[int, int]]) -> None:
    truth = np.zeros((40, 48), np.uint8)
    cv2.fillPoly(truth, [np.array(points, np.int32)], 1)
    np.testing.assert_array_equal(fill_polygon(np.array(points), 40, 48), truth.astype(bool))


def test_what_leaves_the_frame_is_cut_off() -> None:
    filled = fill_polygon(np.array([[-5, -5], [60, -5], [60, 60], [-5, 60]]), 40, 48)
    assert filled.all()


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 11, 21])
@pytest.mark.parametrize("shape", [(30, 40), (1, 9), (6, 6)])
def test_the_blur_is_opencvs(size: int, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    truth = cv2.GaussianBlur(picture, (size, size), 0)
    assert np.abs(gaussian_blur(picture, size) - truth).max() < 1e-6


def test_an_even_blur_is_the_next_odd_one() -> None:
    lip = POLYGONS["lip"]
    np.testing.assert_array_equal(mask_weights(lip, 64, 64, 0.1, 10), mask_weights(lip, 64, 64, 0.1, 11))


def test_alpha_0_hides_and_alpha_1_changes_nothing() -> None:
    frames = np.random.default_rng(1).integers(1, 256, (2, 256, 256), np.uint8)
    hidden = apply_mask(frames, mask_weights(POLYGONS["lip"], 256, 256, 0.0))
    assert (hidden[:, 100:140, 20:30] == 0).all()
    np.testing.assert_array_equal(hidden[:, 200:], frames[:, 200:])
    np.testing.assert_array_equal(apply_mask(frames, mask_weights(POLYGONS["lip"], 256, 256, 1.0)), frames)


def test_levels_are_truncated_and_floats_kept() -> None:
    weights = np.full((1, 1), 0.3, np.float32)
    assert apply_mask(np.array([[9]], np.uint8), weights) == 2  # 2.7
    assert apply_mask(np.array([[9.0]], np.float32), weights) == pytest.approx(2.7)


# videos ----------------------------------------------------------------------------------------------------

FRAMES = np.random.default_rng(2).integers(0, 256, (9, 84, 84), np.uint8)


def test_a_lossless_video_is_the_masked_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", FRAMES)
    masked = apply_mask(FRAMES, mask_weights(POLYGONS["lip"], 84, 84, 0.3))
    for name, lossless in (("a.avi", True), ("a.mkv", True), ("a.mp4", True), ("a.npy", False)):
        written = mask_video(
            tmp_path / "in.npy", tmp_path / name, POLYGONS["lip"], alpha=0.3, lossless=lossless
        )
        assert written == 9
        video = read_frames(tmp_path / name)
        np.testing.assert_array_equal(video.frames, masked)
        assert video.fps == (None if name == "a.npy" else 30)


def test_a_compressed_video_keeps_its_rate_and_comes_near(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(FRAMES[0], (31, 31), 0)
    with write_video(tmp_path / "in.avi", 84, 84, 11413 / 420, lossless=True) as append:
        for _ in range(5):
            append(smooth)
    mask_video(tmp_path / "in.avi", tmp_path / "out.mp4", POLYGONS["tongue"], alpha=0.5)
    video = read_frames(tmp_path / "out.mp4")
    masked = apply_mask(smooth, mask_weights(POLYGONS["tongue"], 84, 84, 0.5))
    assert video.fps == pytest.approx(11413 / 420, rel=1e-4)
    assert np.abs(video.frames.astype(int) - masked).max() < 20


def test_floats_become_levels(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", FRAMES.astype(np.float32) / 255)
    mask_video(tmp_path / "in.npy", tmp_path / "out.npy", POLYGONS["lip"], alpha=1.0)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), FRAMES)


def test_targets_and_sources_that_are_refused_leave_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", FRAMES)
    np.save(tmp_path / "none.npy", FRAMES[:0])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TargetError, match=r"in\.npy: got an existing file"):
        mask_video(tmp_path / "in.npy", tmp_path / "in.npy", POLYGONS["lip"])
    with pytest.raises(TargetError, match=r"out\.txt: got a video of 84x84 pixels, expected \.mp4, "):
        mask_video(tmp_path / "in.npy", tmp_path / "out.txt", POLYGONS["lip"])
    np.save(tmp_path / "none.npy", FRAMES[:0, :83])
    with pytest.raises(TargetError, match=r"out\.avi: got .* 84x83 .*of even height and width, or \.npy"):
        mask_video(tmp_path / "none.npy", tmp_path / "out.avi", POLYGONS["lip"])
    np.save(tmp_path / "none.npy", FRAMES[:0])
    with pytest.raises(InputError, match=r"none\.npy: got no frame"):
        mask_video(tmp_path / "none.npy", tmp_path / "out.mp4", POLYGONS["lip"])
    assert sorted(tmp_path.iterdir()) == before


# options ---------------------------------------------------------------------------------------------------

TRIANGLE = Polygon(((10, 20), (200, 20), (10.5, 90)))


@pytest.mark.parametrize(
    "text",
    ["10,20 200,20 10.5,90", " 10,20  200,20\n10.5,90 ", "[[10, 20], [200, 20], [10.5, 90]]"],
)
def test_polygons_in_words(text: str) -> None:
    assert parse_mask(text) == TRIANGLE


def test_a_polygon_on_a_base_of_its_own(tmp_path: Path) -> None:
    text = '{"size": 84, "points": [[8, 8], [42, 8], [8, 84]]}'
    (tmp_path / "mask.json").write_text(text)
    polygon = parse_mask(str(tmp_path / "mask.json"))
    assert polygon == parse_mask(text)
    np.testing.assert_array_equal(polygon.scaled(168, 168), [[16, 16], [84, 16], [16, 168]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lips", "--mask: got «lips», expected lip, tongue, or the points of a polygon; points are written"),
        ("", "--mask: got «»"),
        ("1,2 3", "--mask: got «1,2 3»"),
        ("1,2,3 4,5,6 7,8,9", "--mask: got"),
        ("[[1, 2], [3]]", "--mask: got"),
        ('[[1, 2], ["a", 3]]', "--mask: got"),
        ('{"points": [[1, 2]], "colour": 3}', "--mask: got"),
        ("[1, 2", "--mask: got"),
        ("1,2 3,4", "mask polygon: got 2 different points, expected at least 3"),
        ("1,2 1,2 1,2", "mask polygon: got 1 different points"),
        ("1,1 2,2 3,3", "mask polygon: got points on one line"),
        ("1,1 2,300 3,3", r"mask polygon: got a point at 2,300, expected points within 0 … 256; points are"),
        ("-1,1 2,3 30,3", "got a point at -1,1"),
        ("nan,1 2,3 30,3", "got a point at nan,1"),
        (
            '{"size": 84, "points": [[1, 2], [3, 90], [9, 9]]}',
            "got a point at 3,90, expected points within 0 … 84",
        ),
        ('{"size": 0, "points": [[1, 2], [3, 9], [9, 9]]}', r"mask polygon: size: got 0\.0"),
    ],
)
def test_what_is_no_mask_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_mask(text)


def test_files_that_hold_no_mask_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json: got no such file"):
        parse_mask(str(tmp_path / "gone.json"))
    (tmp_path / "bad.json").write_text("[[1, 2], [3, 4]]")
    with pytest.raises(InputError, match=r"bad\.json: mask polygon: got 2 different points"):
        parse_mask(str(tmp_path / "bad.json"))
    (tmp_path / "bad.json").write_text("hello")
    with pytest.raises(InputError, match=r"bad\.json: got text that is not JSON"):
        parse_mask(str(tmp_path / "bad.json"))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"--alpha: got .*, expected 0 \(hidden\) to 1 \(no mask\)"):
        mask_weights(POLYGONS["lip"], 32, 32, alpha)


@pytest.mark.parametrize("blur", [0, -3, 1000])
def test_blur_out_of_range(blur: int) -> None:
    with pytest.raises(ConfigError, match=r"--blur: got .* pixels, expected 1 to 255"):
        mask_weights(POLYGONS["lip"], 32, 32, 0.1, blur)


@pytest.mark.parametrize("name", ["out.avi", "out.mkv", "out.mp4"])
def test_a_full_disk_is_no_success(name: str, disk_of: Callable[[str], Path], tmp_path: Path) -> None:
    """opencv says nothing when it cannot write: what lies there is counted."""
    frames = np.random.default_rng(0).integers(0, 255, (40, 64, 64), np.uint8)
    np.save(tmp_path / "in.npy", frames)
    disk = disk_of("32k")
    with pytest.raises(TargetError, match=rf"disk/{name}: got \d+ of 40 frames that can be read back"):
        mask_video(tmp_path / "in.npy", disk / name, parse_mask("tongue"), lossless=name != "out.mp4")
    assert list(disk.iterdir()) == []


def test_a_lossless_video_that_was_damaged_on_its_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = import_opencv().VideoWriter

    class Forgetful:
        """A writer whose disk keeps the first picture only."""

        fourcc = real.fourcc

        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._writer = real(*arguments, **options)
            self._first: Any = None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._writer, name)

        def write(self, frame: Any) -> None:
            self._first = frame.copy() if self._first is None else self._first
            self._writer.write(self._first)

    monkeypatch.setattr("cv2.VideoWriter", Forgetful)
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.uint8))
    with pytest.raises(TargetError, match="frames that differ from those that were written"):
        mask_video(tmp_path / "in.npy", tmp_path / "out.avi", parse_mask("tongue"), lossless=True)
    assert not (tmp_path / "out.avi").exists()
