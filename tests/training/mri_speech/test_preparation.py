"""Preparation of rtMRI data: what is written, against mri2speech's description; what is skipped."""

from __future__ import annotations

import importlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.training.mri_speech.mri_clips import HOP, RATE, write_clip, write_clips

from edge_runtime.dsp.mel import PRESETS, filter_bank
from edge_runtime.errors import ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.mri_speech import preparation as mri_preparation
from edge_training.mri_speech.preparation import Preparation, Prepared, prepare

SMALL = Preparation(size=16)
LEGACY = replace(SMALL, layout="legacy")


def made(root: Path, preparation: Preparation = SMALL, out: str = "out", **options: Any) -> Prepared:
    options = {"workers": 1} | options
    return prepare(root / "videos", root / "wavs", root / out, preparation, **options)


def sample(folder: Path, name: str, kind: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(folder / "samples" / name / f"{kind}.npy")
    return array


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("mri"))


@pytest.fixture(scope="module")
def padded(root: Path) -> Prepared:
    return made(root, out="padded")


@pytest.fixture(scope="module")
def legacy(root: Path) -> Prepared:
    return made(root, LEGACY, out="legacy")


# ---- what is written --------------------------------------------------------------------------------------


def test_files_of_the_padded_layout(padded: Prepared) -> None:
    names = [f"c{index}" for index in range(5)]
    wanted = {f"samples/{name}/{kind}.npy" for name in names for kind in ("mri", "mel_db", "mask")}
    wanted |= {f"mels_gt_log/{name}.npy" for name in names}
    wanted |= {f"hifigan_filelists/wavs/{name}.wav" for name in names}
    wanted |= {"hifigan_filelists/training.txt", "hifigan_filelists/validation.txt"}
    assert files(padded.folder) == wanted | {"scaler.json", "meta.json"}
    assert (padded.clips, padded.frames, padded.skipped) == (tuple(names), 14 + 11 + 17 + 12 + 20, {})


def test_files_of_the_legacy_layout_are_the_origins(legacy: Prepared) -> None:
    # four frames fewer than pictures, and c1 has 7 of them: 4 windows
    names = [f"c{index}" for index in range(5)]
    wanted = {f"samples/{name}/{kind}.npy" for name in names for kind in ("mri", "mel_db", "mask")}
    wanted |= {f"pairs_ref4/{name}.npz" for name in names} | {f"mels_gt_log/{name}.npy" for name in names}
    wanted |= {f"pairs_ref4_npy/{name}/{kind}.npy" for name in names for kind in ("mri", "mel", "mask")}
    wanted |= {"hifigan_filelists/training.txt", "hifigan_filelists/validation.txt"}
    assert files(legacy.folder) == wanted | {"scaler.json", "meta.json"}
    assert sorted(json.loads((legacy.folder / "meta.json").read_text())) == sorted(
        ["sr", "n_mels", "n_fft", "win_length", "hop_length", "preemph", "resize_h", "resize_w", "ref_frames",
         "stems", "mean", "std"]
    )  # fmt: skip
    assert sorted(json.loads((legacy.folder / "scaler.json").read_text())) == ["count_frames", "mean", "std"]


@pytest.mark.parametrize("layout", ["padded", "legacy"])
def test_mels_are_pre_emphasised_power(layout: str, root: Path, padded: Prepared, legacy: Prepared) -> None:
    """Of a recording divided by the loudest of all (c4, 0.6); the bank itself is librosa's, see test_mel."""
    audio = read_audio(root / "wavs" / "c2.wav").samples.astype(np.float64) / 0.6
    audio = np.append(audio[0], audio[1:] - 0.97 * audio[:-1])
    if layout == "padded":
        audio = np.pad(audio, (2048 - HOP) // 2, mode="reflect")
    starts = range(0, len(audio) - 2047, HOP)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    power = [np.abs(np.fft.rfft(hann * audio[start : start + 2048])) ** 2 for start in starts]
    db = 10 * np.log10(np.maximum(np.array(power) @ filter_bank(PRESETS["rtmri"]).T, 1e-10))
    expected = np.maximum(db, db.max() - 80)[:17]
    folder = (padded if layout == "padded" else legacy).folder
    found = sample(folder, "c2", "mel_db")
    assert found.shape == ((17, 64) if layout == "padded" else (13, 64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_pictures_are_reduced_and_scaled(padded: Prepared) -> None:
    pictures = sample(padded.folder, "c0", "mri")
    assert pictures.shape == (14, 16, 16)
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(pictures[:, -1, -1], np.arange(14) / 255, atol=1e-6)
    np.testing.assert_array_equal(sample(padded.folder, "c0", "mask"), np.ones(14, np.float32))


def test_scaler_is_of_all_frames(padded: Prepared) -> None:
    mels = np.concatenate([sample(padded.folder, name, "mel_db") for name in padded.clips]).astype(np.float64)
    scaler = json.loads((padded.folder / "scaler.json").read_text())
    np.testing.assert_allclose(scaler["mean"], mels.mean(0))
    np.testing.assert_allclose(scaler["std"], mels.std(0), rtol=1e-6)
    assert scaler["count_frames"] == len(mels)
    meta = json.loads((padded.folder / "meta.json").read_text())
    assert (meta["mean"], meta["std"]) == (scaler["mean"], scaler["std"])
    assert (meta["layout"], meta["frame_scaling"]) == ("padded", "full-scale")
    assert meta["peak"] == pytest.approx(0.6)


def test_the_vocoders_mels_and_recordings(padded: Prepared) -> None:
    mel_db = sample(padded.folder, "c1", "mel_db").astype(np.float64)
    expected = np.log(np.maximum(10 ** (mel_db / 10), 1e-5)).T
    found = np.load(padded.folder / "mels_gt_log" / "c1.npy")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == (64, 11)
    # recordings have the mels' level: the loudest of all is at full scale
    recording = read_audio(padded.folder / "hifigan_filelists" / "wavs" / "c4.wav")
    assert recording.sample_rate == RATE
    assert len(recording.samples) == 20 * HOP
    assert np.abs(recording.samples).max() == pytest.approx(1, abs=1e-4)


def test_windows_of_the_legacy_layout(legacy: Prepared) -> None:
    folder = legacy.folder
    pictures, mel_db = sample(folder, "c2", "mri"), sample(folder, "c2", "mel_db")
    scaler = json.loads((folder / "scaler.json").read_text())
    standard = (mel_db - np.array(scaler["mean"])) / np.array(scaler["std"])
    packed = np.load(folder / "pairs_ref4" / "c2.npz")
    assert {key: packed[key].shape for key in packed} == {
        "mri": (10, 4, 1, 16, 16), "mel": (10, 4, 64), "mask": (10, 4),
    }  # fmt: skip
    assert {str(packed[key].dtype) for key in packed} == {"float32"}
    for first in range(10):
        np.testing.assert_array_equal(packed["mri"][first, :, 0], pictures[first : first + 4])
        np.testing.assert_allclose(packed["mel"][first], standard[first : first + 4], atol=1e-5)
    for key in packed:
        np.testing.assert_array_equal(np.load(folder / "pairs_ref4_npy" / "c2" / f"{key}.npy"), packed[key])


def test_lists_are_drawn_as_the_origin_draws_them(padded: Prepared, legacy: Prepared) -> None:
    stems = [f"c{index}" for index in range(5)]
    random.Random(42).shuffle(stems)
    for prepared in (padded, legacy):
        lists = prepared.folder / "hifigan_filelists"
        assert (lists / "validation.txt").read_text() == f"{stems[0]}|dummy|dummy\n"
        assert (lists / "training.txt").read_text() == "".join(f"{s}|dummy|dummy\n" for s in stems[1:])


def test_a_single_clip_is_trained_on(tmp_path: Path) -> None:
    write_clip(tmp_path, "only", 9)
    lists = made(tmp_path).folder / "hifigan_filelists"
    assert (lists / "training.txt").read_text() == "only|dummy|dummy\n"
    assert (lists / "validation.txt").read_text() == ""


def test_files_do_not_depend_on_the_number_of_processes(root: Path, padded: Prepared) -> None:
    other = made(root, out="two", workers=2)
    assert files(other.folder) == files(padded.folder)
    for name in files(padded.folder):
        assert (other.folder / name).read_bytes() == (padded.folder / name).read_bytes()


# ---- clocks and lengths -----------------------------------------------------------------------------------


def write_video(path: Path, fps: float, frames: int) -> None:
    """Grey level 5 · number."""
    cv2: Any = importlib.import_module("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (32, 32), isColor=False)
    for number in range(frames):
        writer.write(np.full((32, 32), 5 * number, np.uint8))
    writer.release()


def test_another_frame_rate_is_resampled_and_told(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 24)
    (tmp_path / "videos" / "a.npy").unlink()
    write_video(tmp_path / "videos" / "a.mp4", 50.0, 44)
    said: list[str] = []
    prepared = made(tmp_path, progress=said.append)
    assert prepared.notes == ("a: 50 frames per second, resampled to the mel's 27.17",)
    assert said == ["1/1: a, 50 frames per second, resampled to the mel's 27.17"]
    levels = sample(prepared.folder, "a", "mri")[:, 8, 8] * 255 / 5
    np.testing.assert_allclose(levels, np.arange(len(levels)) * 50 / (RATE / HOP), atol=0.5)
    # mri2speech takes picture i for mel frame i
    old = made(tmp_path, LEGACY, out="old")
    assert "taken for the mel's" in old.notes[0]
    np.testing.assert_allclose(sample(old.folder, "a", "mri")[:, 8, 8] * 255 / 5, np.arange(20), atol=0.5)


def test_the_shorter_of_video_and_recording_decides(tmp_path: Path) -> None:
    write_clip(tmp_path, "long-video", 30, samples=20 * HOP + 100)
    write_clip(tmp_path, "long-audio", 20, samples=30 * HOP)
    assert made(tmp_path).frames == 40


@pytest.mark.parametrize("frames", [60, 2])
def test_lengths_that_disagree_are_refused(frames: int, tmp_path: Path) -> None:
    write_clip(tmp_path, "a", frames, samples=31 * HOP)
    lengths = f"got {frames * HOP / RATE:.2f} s, expected within 1 s of the 1.14 s of a.wav"
    with pytest.raises(InputError, match=rf"a\.npy: {lengths}"):
        made(tmp_path)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


# ---- clips that cannot be used ----------------------------------------------------------------------------


def test_bad_clips_are_told_and_skipped(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 12, 12, 12, 12, 12, 3))
    videos, wavs = tmp_path / "videos", tmp_path / "wavs"
    (videos / "c0.npy").write_bytes(b"no array")
    (wavs / "c1.wav").write_bytes(b"RIFF")
    np.save(videos / "c2.npy", np.arange(12 * 32 * 32 * 3).reshape(12, 32, 32, 3).astype(np.uint8))
    np.save(videos / "c3.npy", np.zeros((0, 32, 32), np.uint8))
    (wavs / "c4.wav").unlink()
    said: list[str] = []
    prepared = made(tmp_path, progress=said.append)
    assert prepared.clips == ("c5",)
    reasons = {
        "c0": "no readable header", "c1": "WAV file", "c2": "colour", "c3": "no frame",
        "c4": "one video and one recording", "c6": "got 3 frames, expected at least 4",
    }  # fmt: skip
    assert prepared.skipped.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in prepared.skipped[name], name
    assert sum(line.startswith("skipped c") for line in said) == 5  # c4 never was a clip
    assert json.loads((prepared.folder / "meta.json").read_text())["stems"] == ["c5"]
    assert files(prepared.folder / "samples") == {"c5/mri.npy", "c5/mel_db.npy", "c5/mask.npy"}


def test_a_clip_that_is_skipped_for_its_pictures_leaves_no_recording(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 12))
    np.save(tmp_path / "videos" / "c0.npy", np.zeros((12, 32, 40), np.uint8))
    assert files(made(tmp_path).folder / "hifigan_filelists" / "wavs") == {"c1.wav"}


def test_the_peak_is_not_that_of_a_recording_that_cannot_be_read(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 12, peak=0.25)
    write_clip(tmp_path, "b", 12, peak=0.5)
    (tmp_path / "wavs" / "b.wav").write_bytes(b"")
    meta = json.loads((made(tmp_path).folder / "meta.json").read_text())
    assert meta["peak"] == pytest.approx(0.25)


@pytest.mark.filterwarnings("ignore:.*silence alone")
def test_silence_is_not_divided_by_zero(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 12)
    write_wav(tmp_path / "wavs" / "a.wav", np.zeros(12 * HOP, np.float32), RATE)
    prepared = made(tmp_path)
    assert json.loads((prepared.folder / "meta.json").read_text())["peak"] == 1.0
    np.testing.assert_allclose(sample(prepared.folder, "a", "mel_db"), -100, atol=1e-4)


def test_two_videos_of_one_name_are_no_clip(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 12))
    (tmp_path / "videos" / "more").mkdir()
    shutil.copy(tmp_path / "videos" / "c0.npy", tmp_path / "videos" / "more")
    assert made(tmp_path).clips == ("c1",)


def test_no_clip_at_all(tmp_path: Path) -> None:
    write_clips(tmp_path, (12,))
    (tmp_path / "wavs" / "c0.wav").rename(tmp_path / "wavs" / "d0.wav")
    with pytest.raises(InputError, match="got 1 videos and 1 recordings without a common name"):
        made(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        prepare(tmp_path / "nothing", tmp_path / "wavs", tmp_path / "out")


# ---- going on ---------------------------------------------------------------------------------------------


class StopError(Exception):
    """What ends a call in the middle."""


def stop_after(lines: int) -> Any:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == lines:
            raise StopError

    return say


def test_a_stopped_call_is_continued(root: Path, padded: Prepared) -> None:
    with pytest.raises(StopError):
        made(root, out="again", progress=stop_after(3))
    assert not (root / "again").exists()
    done = {path.name: path.stat().st_mtime_ns for path in (root / "again.partial" / "samples").iterdir()}
    assert len(done) == 3
    said: list[str] = []
    finished = made(root, out="again", progress=said.append)
    assert len(said) == 2
    after = {path.name: path.stat().st_mtime_ns for path in (finished.folder / "samples").iterdir()}
    assert {name: after[name] for name in done} == done
    assert not (root / "again.partial").exists()
    assert files(finished.folder) == files(padded.folder)
    for name in files(padded.folder):
        assert (finished.folder / name).read_bytes() == (padded.folder / name).read_bytes()


@pytest.mark.parametrize("workers", [0, -1])
def test_no_worker_is_refused(root: Path, workers: int) -> None:
    with pytest.raises(ConfigError, match=f"workers: got {workers}, expected at least 1"):
        made(root, out="nobody", workers=workers)
    assert not list(root.glob("*nobody*"))


def test_clips_that_changed_are_made_again(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 12, 12))
    with pytest.raises(StopError):
        made(tmp_path, progress=stop_after(2))
    write_clip(tmp_path, "c0", 15, peak=0.1)
    said: list[str] = []
    prepared = made(tmp_path, progress=said.append)
    assert [line.split(": ")[1] for line in said] == ["c0", "c2"]
    assert len(sample(prepared.folder, "c0", "mri")) == 15


@pytest.mark.parametrize("what", ["settings", "peak"])
def test_other_settings_or_another_peak_begin_anew(what: str, tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 12, 12))
    with pytest.raises(StopError):
        made(tmp_path, progress=stop_after(2))
    if what == "peak":
        write_clip(tmp_path, "c1", 12, peak=0.9)
    said: list[str] = []
    made(tmp_path, replace(SMALL, size=24) if what == "settings" else SMALL, progress=said.append)
    assert len(said) == 3


def test_a_call_that_ended_while_it_finished_is_continued(
    root: Path, padded: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(mri_preparation, "split", killed)
        with pytest.raises(StopError):
            made(root, out="late")
    said: list[str] = []
    assert files(made(root, out="late", progress=said.append).folder) == files(padded.folder)
    assert said == []


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    write_clips(tmp_path, (12,))
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.tex").write_text("…")
    with pytest.raises(TargetError, match=r"out\.partial: got a folder of something else"):
        made(tmp_path)
    assert (tmp_path / "out.partial" / "thesis.tex").exists()


def test_a_result_is_replaced_on_request_alone(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 13))
    made(tmp_path)
    with pytest.raises(TargetError, match="an existing folder"):
        made(tmp_path)
    write_clip(tmp_path, "more", 12)
    assert len(made(tmp_path, overwrite=True).clips) == 3


def test_a_full_disk_is_one_sentence(tmp_path: Path, disk_of: Callable[[str], Path]) -> None:
    """Where pictures are mapped into memory, it is a SIGBUS."""
    write_clips(tmp_path, (60, 60, 60))
    disk = disk_of("128k")
    with pytest.raises(TargetError, match=r"disk/.*: got no space left on the disk"):
        prepare(tmp_path / "videos", tmp_path / "wavs", disk / "d", SMALL, workers=1)
    assert [path.name for path in disk.iterdir()] == ["d.partial"]
    assert not list(disk.rglob(".edge-export-*"))


# ---- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"layout": "old"}, "layout: got 'old', expected padded or legacy"),
        ({"frame_scaling": "z-score"}, "frame_scaling: got 'z-score'"),
        ({"layout": "legacy", "frame_scaling": "min-max"}, "frame_scaling: got 'min-max'"),
        ({"size": 8}, "size: got 8, expected a whole number, 16 … 1024"),
        ({"valid_ratio": 1.0}, "valid_ratio: got 1.0"),
        ({"n_mels": 0}, "n_mels: got 0"),
    ],
)
def test_settings_that_cannot_be(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Preparation(**entries)


def test_arrays_without_a_rate_are_told_and_take_the_one_that_is_given(tmp_path: Path) -> None:
    write_clips(tmp_path, (12, 14))
    plain = made(tmp_path)
    assert plain.notes == ("c0 and 1 more: no frame rate stated: taken to be the mel's 27.17 a second; "
                           "--fps says another",)  # fmt: skip
    for name in ("c0", "c1"):  # every picture twice, at twice the rate
        path = tmp_path / "videos" / f"{name}.npy"
        np.save(path, np.repeat(np.load(path), 2, axis=0))
    doubled = made(tmp_path, replace(SMALL, fps=2 * 11413 / 420), "doubled")
    assert doubled.notes == ("c0 and 1 more: 54.35 frames per second, resampled to the mel's 27.17",)
    for name in ("c0", "c1"):
        np.testing.assert_array_equal(sample(doubled.folder, name, "mri"), sample(plain.folder, name, "mri"))
    with pytest.raises(ConfigError, match=r"fps: got 0, expected 0\.1 to 1000 frames a second"):
        Preparation(fps=0)
