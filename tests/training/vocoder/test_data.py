"""Vocoder data: segments, validation clips, mels for fine-tuning, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.vocoder.data import VocoderData, VocoderSource, read_mel

MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=8000, n_fft=64, win_length=64, hop_length=16, n_mels=8, fmax=None
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five ramps of different lengths: a sample's value is its place."""
    place = tmp_path / "clips"
    place.mkdir()
    for clip, samples in enumerate([100, 400, 500, 600, 700]):
        ramp = (np.arange(samples) / 1000).astype(np.float32)
        write_wav(place / f"clip{clip}.wav", ramp, 8000, "float32")
    return place


@pytest.fixture
def source(folder: Path) -> VocoderSource:
    return VocoderSource(folder=folder, mel=MEL, segment=256, validation_clips=1)


def write_mels(source: VocoderSource, place: Path, *, offset: float = 0.0) -> Path:
    place.mkdir()
    for path in source.folder.iterdir():
        mel = MelFrontEnd(MEL)(read_audio(path).samples) + np.float32(offset)
        np.save(place / f"{path.stem}.npy", mel[None] if path.stem == "clip2" else mel)
    return place


def drawn(data: VocoderData, clip: int, count: int = 40) -> list[dict[str, Any]]:
    return [data.item(clip, np.random.default_rng(i)) for i in range(count)]


def test_the_last_clips_are_held_back(source: VocoderSource) -> None:
    data = VocoderData(source)
    assert data.names == ("clip0", "clip1", "clip2", "clip3")
    assert data.validation_names == ("clip4",)
    assert VocoderData(replace(source, validation_clips=None)).validation_names == ("clip4",)
    assert VocoderData(replace(source, validation_clips=0)).validation_names == ()


def test_file_lists_decide(source: VocoderSource) -> None:
    (source.folder / "training.txt").write_text("clip4|x|y\nclip1.wav\n")
    (source.folder / "validation.txt").write_text("clip0|x\n")
    data = VocoderData(source)
    assert (data.names, data.validation_names) == (("clip4", "clip1"), ("clip0",))


def test_a_folder_named_wavs_is_found(source: VocoderSource, tmp_path: Path) -> None:
    above = tmp_path / "corpus"
    above.mkdir()
    source.folder.rename(above / "wavs")
    assert len(VocoderData(replace(source, folder=above)).names) == 4


def test_segments_are_pieces_scaled_to_the_peak(source: VocoderSource) -> None:
    data = VocoderData(source)
    ramp = np.arange(400) * 0.95 / 399
    starts = set()
    for item in drawn(data, 1):
        assert item["wav"].shape == (256,)
        start = round(float(item["wav"][0]) * 399 / 0.95)
        np.testing.assert_allclose(item["wav"], ramp[start : start + 256], atol=1e-6)
        starts.add(start)
    assert min(starts) >= 0
    assert max(starts) <= 144
    assert len(starts) > 20


def test_short_clips_are_padded_with_zeros(source: VocoderSource) -> None:
    wav = VocoderData(source).item(0, np.random.default_rng(0))["wav"]
    assert wav.shape == (256,)
    assert wav[99] == pytest.approx(0.95)
    assert not wav[100:].any()


def test_validation_clips_are_whole_frames(source: VocoderSource) -> None:
    assert VocoderData(source).validation_item(0)["wav"].shape == (700 // 16 * 16,)


def test_with_mels_a_segment_begins_on_a_frame_and_keeps_its_level(
    source: VocoderSource, tmp_path: Path
) -> None:
    mels = write_mels(source, tmp_path / "mels")
    data = VocoderData(replace(source, mels=mels))
    stored = np.load(mels / "clip1.npy")
    starts = set()
    for item in drawn(data, 1):
        start = round(float(item["wav"][0]) * 1000) // 16
        np.testing.assert_allclose(item["wav"], np.arange(start * 16, start * 16 + 256) / 1000, atol=1e-6)
        np.testing.assert_array_equal(item["mel"], stored[:, start : start + 16])
        starts.add(start)
    assert starts <= set(range(25 - 16 + 1))
    assert {0, 9} <= starts  # both ends are reached: the last frame is trained on too


def test_short_mels_are_padded_with_silence(source: VocoderSource, tmp_path: Path) -> None:
    data = VocoderData(replace(source, mels=write_mels(source, tmp_path / "mels")))
    item = data.item(0, np.random.default_rng(0))
    assert item["mel"].shape == (8, 16)
    np.testing.assert_allclose(item["mel"][:, 6:], np.log(1e-5), rtol=1e-6)
    assert not item["wav"][96:].any()


def test_the_mixture_of_two_mel_folders(source: VocoderSource, tmp_path: Path) -> None:
    mels = write_mels(source, tmp_path / "predicted")
    extra = write_mels(source, tmp_path / "true", offset=6.0)
    data = VocoderData(replace(source, mels=mels, extra_mels=extra, extra_weight=0.8))
    share = np.mean([item["mel"].max() > 0 for item in drawn(data, 1, 400)])
    assert share == pytest.approx(0.8, abs=0.06)
    assert data.validation_item(0)["mel"].max() < 0


def test_an_item_depends_on_its_draw_alone(source: VocoderSource) -> None:
    first, second = VocoderData(source), VocoderData(source)
    _ = drawn(second, 2)
    one, other = (data.item(1, np.random.default_rng(9))["wav"] for data in (first, second))
    np.testing.assert_array_equal(one, other)


# ---- refusals ---------------------------------------------------------------------------------------------


def spoil_empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def spoil_nested(folder: Path) -> None:
    spoil_empty(folder)
    (folder / "audio").mkdir()


def spoil_rate(folder: Path) -> None:
    write_wav(folder / "clip3.wav", np.zeros(500, np.float32), 16000)


def spoil_list(folder: Path) -> None:
    (folder / "training.txt").write_text("clip9|x\nclip1|x\n")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_empty, r"clips: got no recordings, expected files .wav"),
        (spoil_nested, r"got no recordings.*is .*clips/audio meant\?"),
        (spoil_rate, r"clip3.wav: got 16000 Hz, expected 8000 Hz; resample"),
        (spoil_list, r"training.txt: got 'clip9' and 0 more names without a recording"),
    ],
)
def test_refused_folders(spoil: Callable[[Path], None], sentence: str, source: VocoderSource) -> None:
    spoil(source.folder)
    with pytest.raises(InputError, match=sentence):
        VocoderData(source)


def test_a_missing_folder_is_refused(source: VocoderSource) -> None:
    with pytest.raises(InputError, match=r"nowhere: got no such folder"):
        VocoderData(replace(source, folder=Path("nowhere")))


def test_a_missing_mel_is_refused(source: VocoderSource, tmp_path: Path) -> None:
    mels = write_mels(source, tmp_path / "mels")
    (mels / "clip2.npy").unlink()
    with pytest.raises(InputError, match=r"clip2.npy: got no such file, expected a mel for each"):
        VocoderData(replace(source, mels=mels))


@pytest.mark.parametrize(
    ("mel", "sentence"),
    [
        (
            np.zeros((25, 8), np.float32),
            r"shape \(25, 8\), expected \(8, frames\).*transposed",
        ),
        (np.zeros((9, 25), np.float32), r"shape \(9, 25\).*another configuration"),
        (np.zeros((8, 25), np.int16), "got values of type int16"),
        (
            np.full((8, 25), -80.0),
            "mel: got values from -80 to -80, expected natural logarithms.*decibels",
        ),
        (np.full((8, 25), np.nan), "x.npy: mel: got NaN"),
        (b"no array", "got no readable header"),
    ],
)
def test_refused_mels(mel: Any, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    if isinstance(mel, bytes):
        path.write_bytes(mel)
    else:
        np.save(path, mel)
    with pytest.raises(InputError, match=sentence):
        read_mel(path, MEL)


def test_a_mel_of_another_hop_is_refused(source: VocoderSource, tmp_path: Path) -> None:
    mels = write_mels(source, tmp_path / "mels")
    np.save(mels / "clip1.npy", np.full((8, 50), -1, np.float32))
    data = VocoderData(replace(source, mels=mels))
    with pytest.raises(
        InputError, match=r"clip1.npy: got 50 frames, expected about 25, one for each 16 samples"
    ):
        data.item(1, np.random.default_rng(0))


def test_speeds_are_drawn_beside_the_recording(source: VocoderSource) -> None:
    """A ramp played twice as fast rises twice as much a sample."""
    data = VocoderData(replace(source, segment=64, speeds=(0.5, 2.0)))
    slopes = [float(np.median(np.diff(item["wav"]))) for item in drawn(data, 3, 60)]
    peak = 0.95 / 0.599  # recordings are scaled to a peak of 0.95
    counts = {speed: sum(abs(s - speed * peak / 1000) < 2e-5 for s in slopes) for speed in (0.5, 1.0, 2.0)}
    assert sum(counts.values()) == 60
    assert min(counts.values()) > 8


@pytest.mark.parametrize("speeds", [(), (0.9, 1.1)])
def test_items_of_a_device_are_the_same(source: VocoderSource, speeds: tuple[float, ...]) -> None:
    source = replace(source, speeds=speeds)
    plain, kept = VocoderData(source), VocoderData(source)
    assert kept.keep_on(torch.device("cpu"), 1 << 20)
    for clip in range(4):
        for ours, theirs in zip(drawn(plain, clip, 9), drawn(kept, clip, 9), strict=True):
            assert isinstance(theirs["wav"], torch.Tensor)
            np.testing.assert_array_equal(ours["wav"], theirs["wav"].numpy())
            assert ours["name"] == theirs["name"]


def test_what_is_too_large_or_paired_stays_where_it_is(source: VocoderSource, tmp_path: Path) -> None:
    data = VocoderData(source)
    assert not data.keep_on(torch.device("cpu"), 4 * 1000)
    assert isinstance(data.item(0, np.random.default_rng(0))["wav"], np.ndarray)
    paired = VocoderData(replace(source, mels=write_mels(source, tmp_path / "mels")))
    assert not paired.keep_on(torch.device("cpu"), 1 << 20)
