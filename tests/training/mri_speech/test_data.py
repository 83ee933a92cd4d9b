"""rtMRI training data: pieces and clips, splits by clip and by window, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.mri_speech.mri_clips import write_clips

from edge_runtime.errors import ConfigError, InputError
from edge_training.mri_speech.data import MriData, MriSource
from edge_training.mri_speech.preparation import Preparation, prepare

LENGTHS = (14, 11, 17, 12, 20)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_clips(tmp_path_factory.mktemp("mri"), LENGTHS)
    return prepare(root / "videos", root / "wavs", root / "out", Preparation(size=16), workers=1).folder


@pytest.fixture
def source(prepared: Path) -> MriSource:
    return MriSource(folder=prepared, image_size=16, n_mels=64, frames=4)


def drawn(data: MriData, clip: int, count: int = 60) -> list[dict[str, Any]]:
    return [data.item(clip, np.random.default_rng(i)) for i in range(count)]


def first_frame(item: dict[str, Any]) -> int:
    """Pictures of `mri_clips` tell their number."""
    return round(float(item["frames"][0, -1, -1]) * 255)


# ---- items ------------------------------------------------------------------------------------------------


def test_items_are_pieces_of_a_clip(source: MriSource, prepared: Path) -> None:
    data = MriData(replace(source, validation_clips=1))
    assert data.names == ("c0", "c1", "c2", "c3")
    pictures, mel_db = (np.load(prepared / "samples" / "c1" / f"{kind}.npy") for kind in ("mri", "mel_db"))
    scaler = json.loads((prepared / "scaler.json").read_text())
    starts = set()
    for item in drawn(data, 1):
        start = first_frame(item)
        np.testing.assert_array_equal(item["frames"], pictures[start : start + 4])
        expected = (mel_db[start : start + 4] - scaler["mean"]) / scaler["std"]
        np.testing.assert_allclose(item["mel"], expected, atol=1e-5)
        assert (item["length"], item["name"]) == (4, "c1")
        assert {item[name].dtype for name in ("frames", "mel", "mask")} == {np.dtype(np.float32)}
        starts.add(start)
    assert starts == set(range(8))


def test_whole_clips_are_filled_up_to_the_longest(source: MriSource) -> None:
    data = MriData(replace(source, frames=None, validation_clips=1))
    assert data.longest == 17
    item = drawn(data, 1, 1)[0]
    assert (item["length"], item["frames"].shape, item["mel"].shape) == (11, (17, 16, 16), (17, 64))
    assert item["mask"].tolist() == [1] * 11 + [0] * 6
    assert not item["frames"][11:].any()


def test_clips_shorter_than_a_piece_are_filled_up(source: MriSource) -> None:
    data = MriData(replace(source, frames=13, validation_clips=1))
    items = drawn(data, 1, 3)
    assert [(item["length"], len(item["mel"]), first_frame(item)) for item in items] == [(11, 13, 0)] * 3


def test_validation_items_are_whole_clips(source: MriSource) -> None:
    item = MriData(replace(source, validation_clips=2)).validation_item(1)
    assert (item["name"], item["length"], item["frames"].shape) == ("c4", 20, (20, 16, 16))


# ---- splits -----------------------------------------------------------------------------------------------


def test_the_validation_list_decides(source: MriSource, prepared: Path) -> None:
    listed = (prepared / "hifigan_filelists" / "validation.txt").read_text().split("|")[0]
    data = MriData(source)
    assert data.validation_names == (listed,)
    assert sorted((*data.names, listed)) == ["c0", "c1", "c2", "c3", "c4"]


def test_without_list_a_tenth_is_kept(source: MriSource, prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "copy")
    shutil.rmtree(folder / "hifigan_filelists")
    assert MriData(replace(source, folder=folder)).validation_names == ("c4",)


def test_windows_are_split_as_the_origin_splits_them(source: MriSource) -> None:
    data = MriData(replace(source, split="window"))
    windows = sum(length - 3 for length in LENGTHS)
    assert (len(data.names), len(data.validation_names)) == (int(0.8 * windows), int(0.1 * windows))
    everything = {f"c{clip}:{start}" for clip, length in enumerate(LENGTHS) for start in range(length - 3)}
    assert len({*data.names, *data.validation_names}) == len(data.names) + len(data.validation_names)
    assert {*data.names, *data.validation_names} <= everything
    item = data.item(5, np.random.default_rng(0))
    assert f"{item['name'].split(':')[0]}:{first_frame(item)}" == item["name"] == data.names[5]
    assert data.validation_item(0)["frames"].shape == (4, 16, 16)
    assert MriData(replace(source, split="window")).names == data.names


# ---- refusals ---------------------------------------------------------------------------------------------


def test_pictures_of_another_size(source: MriSource) -> None:
    with pytest.raises(ConfigError, match=r"image_size: got 64, expected the 16 pixels.*--size 64"):
        MriData(replace(source, image_size=64))


def test_a_scaler_of_another_mel_size(source: MriSource, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scaler.json: mean: got 64 numbers, expected 80"):
        MriData(replace(source, n_mels=80))
    folder = shutil.copytree(prepared, tmp_path / "copy")
    (folder / "scaler.json").write_text(json.dumps({"mean": [0.0] * 60, "std": [1.0] * 60}))
    with pytest.raises(InputError, match=r"got 60 numbers, expected 64.*belongs to another mel"):
        MriData(replace(source, folder=folder))
    with pytest.raises(ConfigError, match=r"c0: got mels of 64 bands, expected the 60 of the net"):
        MriData(replace(source, folder=folder, n_mels=60))


def test_a_folder_that_was_not_prepared(source: MriSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meta.json: got no such file.*edge-export data mri"):
        MriData(replace(source, folder=tmp_path))
    (tmp_path / "meta.json").write_text('{"stems": []}')
    with pytest.raises(InputError, match=r"meta.json: got no names of clips"):
        MriData(replace(source, folder=tmp_path))


def test_samples_that_are_damaged(source: MriSource, prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "copy")
    sample = folder / "samples" / "c2"
    np.save(sample / "mask.npy", np.ones(16, np.float32))
    with pytest.raises(
        InputError, match=r"c2: got .*mask of shape \(16,\), expected the same number of frames"
    ):
        MriData(replace(source, folder=folder))
    np.save(sample / "mask.npy", np.ones(17, np.int64))
    with pytest.raises(InputError, match=r"mask.npy: got int64 of shape \(17,\), expected floats of 1 axes"):
        MriData(replace(source, folder=folder))
    (sample / "mask.npy").unlink()
    with pytest.raises(InputError, match=r"mask.npy: got no such file"):
        MriData(replace(source, folder=folder))


def test_splits_that_leave_nothing(source: MriSource) -> None:
    with pytest.raises(InputError, match="5 clips, 5 of them for validation"):
        MriData(replace(source, validation_clips=5))
    with pytest.raises(ConfigError, match="split: got 'window'"):
        MriData(replace(source, split="window", frames=None))
    with pytest.raises(InputError, match="got 2 windows of 19 frames, expected at least 10"):
        MriData(replace(source, split="window", frames=19))
