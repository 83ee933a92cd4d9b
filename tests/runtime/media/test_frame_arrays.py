"""Which axis of an array is which: what decides is taken and said, what does not is refused with its cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import EdgeWarning, InputError, strictly
from edge_runtime.media.video import assumed_rate, open_video, rate_of, read_frames

FRAMES = np.random.default_rng(0).integers(0, 256, (7, 32, 32), np.uint8)
THREE = np.repeat(FRAMES[..., None], 3, axis=3)


def saved(folder: Path, frames: NDArray[Any]) -> Path:
    np.save(folder / "a.npy", frames)
    return folder / "a.npy"


@pytest.mark.parametrize(
    ("frames", "note"),
    [
        (FRAMES, ""),
        (FRAMES[:, None], "axis 1 of (7, 1, 32, 32), of length 1, left out"),
        (FRAMES[..., None], "axis 3 of (7, 32, 32, 1), of length 1, left out"),
        (FRAMES[None], "axis 0 of (1, 7, 32, 32), of length 1, left out"),
        (THREE, "axis 3 of (7, 32, 32, 3) taken for three equal channels"),
        (np.moveaxis(THREE, 3, 1), "axis 1 of (7, 3, 32, 32) taken for three equal channels"),
    ],
)
def test_axes_that_decide_are_taken_and_said(tmp_path: Path, frames: NDArray[Any], note: str) -> None:
    path = saved(tmp_path, np.ascontiguousarray(frames))
    with open_video(path, square=True) as reader:
        assert (reader.note, reader.count, reader.height, reader.width) == (note, 7, 32, 32)
        np.testing.assert_array_equal(np.stack([*reader]), FRAMES)


def test_archives_hold_frames_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", clip=FRAMES[:, None], fps=np.float32(50))
    with open_video(tmp_path / "a.npz") as reader:
        assert reader.note == "a.npz: array 'clip' taken; axis 1 of (7, 1, 32, 32), of length 1, left out"
        np.testing.assert_array_equal(np.stack([*reader]), FRAMES)
    np.savez(tmp_path / "b.npz", one=FRAMES, two=255 - FRAMES)
    np.testing.assert_array_equal(read_frames(f"{tmp_path}/b.npz:two").frames, 255 - FRAMES)


@pytest.mark.parametrize(("order", "words"), [((1, 2, 0), "(H, W, T)"), ((1, 0, 2), "(H, T, W)")])
def test_other_orders_are_recognised_and_their_cure_works(
    tmp_path: Path, order: tuple[int, int, int], words: str
) -> None:
    turned = np.ascontiguousarray(FRAMES.transpose(order))
    path = saved(tmp_path, turned)
    said = "or " + words.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=said) as refusal, open_video(path, square=True):
        pass
    cure = refusal.value.cause.partition(": ")[2]
    cured: Any = eval(cure.removeprefix("numpy.save('frames.npy', ").removesuffix(")"), {"frames": turned})
    np.testing.assert_array_equal(cured, FRAMES)
    with pytest.warns(EdgeWarning, match="frames of"), open_video(path):  # frames that need not be square
        pass


def test_a_cube_is_doubted(tmp_path: Path) -> None:
    path = saved(tmp_path, np.zeros((32, 32, 32), np.uint8))
    with pytest.warns(EdgeWarning, match="whose axes nothing tells apart"), open_video(path, square=True):
        pass
    with strictly(), pytest.raises(InputError, match="transpose it to the front"), open_video(path):
        pass


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.asfortranarray(FRAMES), r"in Fortran order.*numpy\.ascontiguousarray\(frames\)"),
        (np.stack([FRAMES, FRAMES, 255 - FRAMES], 3), r"several colours in frame 0.*make it grey.*mean\(3\)"),
        (np.stack([FRAMES] * 4, 3), "an opacity: make it grey"),
        (FRAMES[None, None], r"shape \(1, 1, 7, 32, 32\), expected frames"),
        (FRAMES[0], "one frame: add an axis in front"),
        (np.zeros((3, 0, 4), np.uint8), r"shape \(3, 0, 4\)"),
    ],
)
def test_what_holds_no_frames_is_refused(tmp_path: Path, frames: NDArray[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_frames(saved(tmp_path, frames))


def test_rates(tmp_path: Path) -> None:
    with open_video(saved(tmp_path, FRAMES)) as reader:
        assert rate_of(reader, None) is None
        assert rate_of(reader, 50.0) == 50.0
    assert assumed_rate(27.17).startswith("no frame rate stated: taken to be the mel's 27.17 a second")
