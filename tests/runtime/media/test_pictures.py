"""Pictures against opencv and matplotlib, which decode and colour on their own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media import pictures


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (300, 2, 3)])
def test_opencv_reads_the_same_pixels_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pictures.write_png(tmp_path / "a.png", image)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1] if image.ndim == 3 else read, image)


def test_same_picture_same_bytes(tmp_path: Path) -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 15)
    for name in ("a.png", "b.png"):
        pictures.write_png(tmp_path / name, image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, image: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"picture: got .* of shape .*, expected uint8 \(height, width\)"):
        pictures.write_png(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


def test_viridis_is_matplotlibs() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    truth = np.rint(255 * np.array(matplotlib.colormaps["viridis"].colors)).astype(int)
    ours = pictures.colour(np.linspace(0, 1, 256), "viridis").astype(int)
    assert np.abs(ours - truth).max() <= 1


def test_jet_is_opencvs() -> None:
    truth = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_JET)[0, :, ::-1].astype(int)
    ours = pictures.colour(np.linspace(0, 1, 256), "jet").astype(int)
    assert np.abs(ours - truth).max() <= 2  # opencv rounds its table to another place


def test_grey_and_what_lies_outside() -> None:
    levels = pictures.colour([-1.0, 0.0, 0.5, 1.0, 9.0, np.nan], "grey")
    np.testing.assert_array_equal(levels[:, 0], [0, 0, 128, 255, 255, 0])
    assert levels.shape == (6, 3)


def test_unknown_colour_map() -> None:
    with pytest.raises(ConfigError, match="colour map: got 'rainbow', expected viridis, jet, grey"):
        pictures.colour([0.0], "rainbow")  # type: ignore[arg-type]


def test_low_bands_lie_at_the_bottom() -> None:
    picture = pictures.spectrogram_picture([[0.0, 0.0], [1.0, 1.0]], name="grey")
    assert picture.shape == (240, 480, 3)
    assert picture[0, 0, 0] == 255
    assert picture[-1, 0, 0] == 0


def test_limits_given_decide_the_colours() -> None:
    picture = pictures.spectrogram_picture([[5.0, 10.0]], low=0.0, high=10.0, name="grey")
    assert picture[0, 0, 0] == 128
    assert picture[0, -1, 0] == 255


def test_constant_and_infinite_values_are_drawn() -> None:
    assert pictures.spectrogram_picture(np.full((3, 4), 7.0)).shape[2] == 3
    picture = pictures.spectrogram_picture([[0.0, np.inf, -np.inf, np.nan, 1.0]], name="grey")
    np.testing.assert_array_equal(picture[0, ::96, 0], [0, 255, 0, 0, 255])


def test_long_spectrograms_are_averaged() -> None:
    values = np.tile([0.0, 1.0], 10000)[None]
    picture = pictures.spectrogram_picture(values, low=0.0, high=1.0, name="grey")
    assert picture.shape == (240, 4096, 3)
    assert abs(float(picture.mean()) - 127.5) < 2


@pytest.mark.parametrize("frames", [1, 4096, 4097, 9000, 20_001])
def test_averages_do_not_depend_on_the_pieces(frames: int) -> None:
    values = np.random.default_rng(0).random((2, frames))
    edges = np.linspace(0, frames, min(frames, 4096) + 1).astype(int)
    expected = np.stack([values[:, a:b].mean(axis=1) for a, b in pairwise(edges)], axis=1)
    for piece in (1 if frames < 5000 else 701, 4096, 30_000):
        pieces = (values[:, start : start + piece] for start in range(0, frames, piece))
        np.testing.assert_allclose(pictures.averaged(pieces, frames), expected, rtol=1e-12)


def test_what_is_no_spectrogram_is_refused() -> None:
    with pytest.raises(InputError, match=r"spectrogram: got shape \(4,\), expected \(bands, frames\)"):
        pictures.spectrogram_picture(np.zeros(4))


@pytest.mark.parametrize("frames", [1, 3, 100, 5000, 8192, 8193, 30001])
def test_a_preview_is_the_picture_of_all_frames(frames: int) -> None:
    values = np.cumsum(np.random.default_rng(0).normal(size=(frames, 4)), axis=0)
    preview = pictures.Preview(4)
    for start in range(0, frames, 700):
        preview.add(values[start : start + 700])
    picture, whole = preview.picture(), pictures.spectrogram_picture(values.T)
    if frames <= 8192:
        np.testing.assert_array_equal(picture, whole)
        return
    # 30001 frames are drawn in groups of 4, and groups of 7 or 8
    columns = np.linspace(0, picture.shape[1] - 1, 200).astype(int)
    same = np.linspace(0, whole.shape[1] - 1, 200).astype(int)
    difference = np.abs(picture[:, columns].astype(int) - whole[:, same])
    assert difference.mean() < 3
