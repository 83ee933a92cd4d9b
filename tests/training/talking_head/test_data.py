"""Audio-visual windows: what they hold, how they are drawn, where clips are found, and what is refused."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.training.talking_head.sync_clips import picture, write_clip, write_video

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import BackendError, EdgeError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.talking_head.data import SyncData, SyncSource, draw_starts, mel_starts, window_starts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips of 15, 20 and 25 pictures."""
    for clip in range(3):
        write_clip(tmp_path / "clips" / f"clip{clip}", range(15 + 5 * clip), seed=clip)
    return tmp_path / "clips"


@pytest.fixture
def source(folder: Path) -> SyncSource:
    return SyncSource(folder, windows=3, spacing=2)


def assert_alike(ours: NDArray[np.uint8], theirs: NDArray[np.uint8], tolerance: int) -> None:
    """Equal up to compression, which mixes colours where they meet: white above, in the rows at the top."""
    apart = np.abs(ours.astype(int) - theirs)
    assert apart[..., 2:, :].max() <= tolerance
    assert apart[..., :2, :].max() <= 25


# ---- windows ----------------------------------------------------------------------------------------------


def test_a_window_holds_five_lower_halves_and_their_mel(source: SyncSource) -> None:
    data = SyncData(source)
    item = data.item(1, np.random.default_rng(0))
    mel = MelFrontEnd(PRESETS["talking-head"])(read_audio(source.folder / "clip1" / "audio.wav").samples)
    assert item["face"].shape == (3, 15, 48, 96)
    assert item["face"].dtype == np.uint8
    assert item["mel"].shape == (3, 1, 80, 16)
    assert item["mel"].dtype == np.float32
    for face, window, start in zip(item["face"], item["mel"], item["start"], strict=True):
        shown = [picture(place)[48:].transpose(2, 0, 1) for place in range(start, start + 5)]
        assert_alike(face, np.concatenate(shown), 4)
        first = int(80.0 * (start / 25.0))
        np.testing.assert_array_equal(window[0], mel[:, first : first + 16])


def test_mel_starts_are_the_origins() -> None:
    places = np.arange(20_000)
    assert mel_starts(places).tolist() == [int(80.0 * (f / 25.0)) for f in range(20_000)]


@given(st.sets(st.integers(0, 40)), st.integers(1, 140))
def test_windows_have_all_pictures_and_all_mel_frames(places: set[int], mel_frames: int) -> None:
    wanted = [
        f for f in sorted(places)
        if {f, f + 1, f + 2, f + 3, f + 4} <= places and int(80 * f / 25) + 16 <= mel_frames
    ]  # fmt: skip
    assert window_starts(np.array(sorted(places), np.int64), mel_frames).tolist() == wanted


def test_pictures_after_a_gap_keep_their_place(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", [*range(3, 9), *range(12, 20)])
    write_clip(tmp_path / "b", range(12))
    item = SyncData(SyncSource(tmp_path, windows=2)).training_clip(0)
    assert item["start"].tolist() == [3, 4, 12, 13, 14, 15]
    blue = [int(face[0, 24, 48]) for face in item["face"]]
    assert blue == pytest.approx([40 + 5 * place for place in (3, 4, 12, 13, 14, 15)], abs=2)


def test_every_choice_of_starts_is_as_likely() -> None:
    source = SyncSource(Path(), windows=2, spacing=3)
    starts = np.array([2, 3, 4, 5, 6, 10])
    draw = np.random.default_rng(0)
    seen = Counter(tuple(map(int, draw_starts(starts, source, draw, "clip"))) for _ in range(3000))
    wanted = {
        (int(a), int(b))
        for (i, a), (j, b) in itertools.combinations(enumerate(starts), 2)
        if j - i >= source.spacing
    }
    assert set(seen) == wanted
    assert min(seen.values()) > 0.8 * 3000 / len(wanted)


def test_an_item_follows_from_its_generator(source: SyncSource) -> None:
    varied = SyncData(replace(source, vary=True))
    one, same, other = (varied.item(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for key in ("face", "mel", "start"):
        np.testing.assert_array_equal(one[key], same[key])
    assert not np.array_equal(one["face"], other["face"])


@pytest.mark.filterwarnings("ignore:.*silence alone")
def test_variation_leaves_silence_and_pairs_alone(source: SyncSource) -> None:
    write_wav(source.folder / "clip1" / "audio.wav", np.zeros(12800, np.float32), 16000)
    varied, plain = SyncData(replace(source, vary=True)), SyncData(source)
    gains = []
    for seed in range(8):
        assert (varied.item(1, np.random.default_rng(seed))["mel"] == -4).all()
        ours, theirs = (data.item(0, np.random.default_rng(seed)) for data in (varied, plain))
        np.testing.assert_array_equal(ours["start"], theirs["start"])
        inside = np.abs(theirs["mel"]) < 3.4
        gains.append(ours["mel"][inside] - theirs["mel"][inside])
        assert np.ptp(gains[-1]) < 1e-5  # one gain for all windows
        assert ours["face"][0, 0, 2:].std() < 1  # still of one colour
    assert 0.3 < max(abs(float(gain[0])) for gain in gains) <= 0.5


def test_clips_are_read_once(source: SyncSource) -> None:
    data = SyncData(source)
    before = data.item(0, np.random.default_rng(3))
    for path in (source.folder / "clip0").iterdir():
        path.unlink()
    np.testing.assert_array_equal(data.item(0, np.random.default_rng(3))["face"], before["face"])


# ---- where clips are --------------------------------------------------------------------------------------


def test_without_lists_the_last_are_held(source: SyncSource) -> None:
    data = SyncData(source)
    assert (data.names, data.validation_names) == (("clip0", "clip1"), ("clip2",))
    assert len(SyncData(replace(source, validation_clips=2)).names) == 1


@pytest.mark.parametrize("below", ["", "videos"])
def test_lists_name_the_clips(below: str, source: SyncSource, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(source.folder, root / below)
    (root / "filelists").mkdir()
    (root / "filelists" / "train.txt").write_text(
        "clip2 0\n\nclip0 0\n"
    )  # Wav2Lip's lists have a second column
    (root / "filelists" / "val.txt").write_text("clip1\n")
    data = SyncData(replace(source, folder=root))
    assert (data.names, data.validation_names) == (("clip2", "clip0"), ("clip1",))


def test_a_video_file_is_a_clip(source: SyncSource, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for clip, pictures in (("a", 20), ("b", 12)):
        write_video(videos / f"{clip}.avi", pictures)
        write_wav(videos / f"{clip}.wav", read_audio(source.folder / "clip1" / "audio.wav").samples, 16000)
    data = SyncData(SyncSource(tmp_path, windows=3, spacing=2))
    assert (data.names, data.validation_names) == (("a",), ("b",))
    ours = data.item(0, np.random.default_rng(0))
    theirs = SyncData(source).item(1, np.random.default_rng(0))
    np.testing.assert_array_equal(ours["start"], theirs["start"])
    np.testing.assert_array_equal(ours["mel"], theirs["mel"])
    assert_alike(ours["face"], theirs["face"], 8)  # two codecs


# ---- refusals ---------------------------------------------------------------------------------------------


def no_pictures(folder: Path) -> None:
    for path in (folder / "clip1").glob("*.jpg"):
        path.unlink()


def no_audio(folder: Path) -> None:
    (folder / "clip1" / "audio.wav").unlink()


def other_rate(folder: Path) -> None:
    write_wav(folder / "clip1" / "audio.wav", np.zeros(50_000, np.float32), 44100)


def short_audio(folder: Path) -> None:
    write_wav(folder / "clip2" / "audio.wav", np.zeros(4000, np.float32), 16000)


def four_pictures(folder: Path) -> None:
    for place in range(4, 20):
        (folder / "clip1" / f"{place}.jpg").unlink()


def strange_name(folder: Path) -> None:
    (folder / "clip1" / "3.jpg").rename(folder / "clip1" / "frame_3.jpg")


def missing_entry(folder: Path) -> None:
    (folder / "filelists").mkdir()
    (folder / "filelists" / "train.txt").write_text("clip0\nclip7\nclip8\n")


def empty_list(folder: Path) -> None:
    (folder / "filelists").mkdir()
    (folder / "filelists" / "train.txt").write_text("\n")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def one_too_deep(folder: Path) -> None:
    below = folder.parent / "sync"
    folder.rename(below)
    folder.mkdir()
    below.rename(folder / "sync")


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def silent_video(folder: Path) -> None:
    write_video(folder / "film.avi", 20)


def fast_video(folder: Path) -> None:
    write_video(folder / "film.avi", 20, fps=30)
    write_wav(folder / "film.wav", np.zeros(16000, np.float32), 16000)


def no_video(folder: Path) -> None:
    (folder / "film.mp4").write_bytes(b"nothing")
    write_wav(folder / "film.wav", np.zeros(16000, np.float32), 16000)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_pictures, r"clip1: got no pictures, expected \{k\}.jpg.*audio without video"),
        (no_audio, r"clip1: got no audio.wav, expected its audio"),
        (other_rate, r"audio.wav: got 44100 Hz, expected 16000 Hz"),
        (short_audio, r"clip2.audio.wav: got 0.25 s, expected about 1.00 s"),
        (
            four_pictures,
            r"clip1: got 0 windows of 5 consecutive pictures.*expected at least 5; leave this clip",
        ),
        (strange_name, r"frame_3.jpg: got a name that is not a number"),
        (missing_entry, r"train.txt: got 'clip7' and 1 more without a clip"),
        (empty_list, r"train.txt: got no names"),
        (emptied, r"clips: got no clips, expected folders with"),
        (one_too_deep, r"clips: got no clips.*; is .*sync meant\?"),
        (removed, r"clips: got no such folder"),
        (silent_video, r"film.avi: got no film.wav.*sound inside video files is not read"),
        (fast_video, r"film.avi: got 30 pictures a second, expected 25 pictures a second; .*ffmpeg"),
        (no_video, r"film.mp4: got bytes that opencv cannot open"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_refusals(spoil: Callable[[Path], None], sentence: str, source: SyncSource) -> None:
    spoil(source.folder)
    with pytest.raises(InputError, match=sentence):
        SyncData(source)


def test_all_clips_held_is_refused(source: SyncSource) -> None:
    with pytest.raises(InputError, match=r"3 clips, 3 of them for validation"):
        SyncData(replace(source, validation_clips=3))


def test_a_damaged_picture_is_named(source: SyncSource) -> None:
    (source.folder / "clip0" / "7.jpg").write_bytes(b"nothing")
    (source.folder / "clip1" / "7.jpg").write_bytes(b"")
    for clip in range(2):
        with pytest.raises(InputError, match=r"7.jpg: got bytes that opencv cannot decode"):
            SyncData(source).item(clip, np.random.default_rng(0))


def test_without_opencv_one_sentence(source: SyncSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendError, match=r"pip install 'edge-export\[video\]'") as caught:
        SyncData(source).item(0, np.random.default_rng(0))
    assert isinstance(caught.value, EdgeError)
