"""The program ffmpeg in place of PyAV: the same samples, names that are only names, no other files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import BackendError, InputError
from edge_runtime.media import containers, ffmpeg
from edge_runtime.media.audio import read_audio, write_wav

pytestmark = pytest.mark.skipif(not ffmpeg.available(), reason="the program ffmpeg is not installed")
RATE = 16000
TONE = (0.4 * np.sin(2 * np.pi * 300 * np.arange(RATE // 2) / RATE)).astype(np.float32)


@pytest.fixture(autouse=True)
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_has_pyav", lambda: False)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    write_wav(tmp_path / "tone.wav", TONE, RATE)
    return tmp_path / "tone.wav"


def encoded(tone: Path, name: str, *options: str) -> Path:
    out = tone.with_name(name)
    command = [
        "ffmpeg", "-v", "error", "-i", str(tone), *options, "-f", "matroska", "file:out.mka"
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=tone.parent)
    return (tone.parent / "out.mka").rename(out)


@pytest.mark.parametrize("name", ["a b.wav", "-i.m4a", "http:x.m4a", "$(touch hit).mka", "a'b.mka"])
def test_a_file_of_any_name(tone: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encoded(tone, name, "-c:a", "flac")
    monkeypatch.chdir(tmp_path)
    audio = read_audio(name)
    assert audio.sample_rate == RATE
    np.testing.assert_array_equal(audio.samples, read_audio(tone).samples)
    assert not (tmp_path / "hit").exists()


def test_what_has_no_sound_or_is_damaged_is_refused(tone: Path, tmp_path: Path) -> None:
    whole = encoded(tone, "whole.mka", "-c:a", "flac").read_bytes()
    (tmp_path / "cut.mka").write_bytes(whole[:300])
    with pytest.raises(InputError, match=r"cut\.mka: .*got \w+ that cannot be decoded.*ffmpeg -i"):
        read_audio(tmp_path / "cut.mka")
    video = ["-f", "lavfi", "-i", "color=size=16x16:duration=0.1", str(tmp_path / "v.mp4")]
    subprocess.run(["ffmpeg", "-v", "error", *video], check=True)
    with pytest.raises(InputError, match=r"v\.mp4: audio file: got MP4 without sound"):
        read_audio(tmp_path / "v.mp4")


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_no_file_makes_it_open_another(tone: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "list.mka").write_text(text.format(tone.name))
    with pytest.raises(InputError, match="cannot be decoded"):
        ffmpeg.read_sound(tmp_path / "list.mka", "a list", "")


def test_it_is_given_up_in_time(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "SECONDS", 0.001)
    with pytest.raises(InputError, match=r"a\.mka: .*takes more than 0\.001 s to decode"):
        read_audio(encoded(tone, "a.mka"))


def test_it_stands_in_for_soundfile_too(tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(tone), str(tmp_path / "a.flac")], check=True)
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac").samples, read_audio(tone).samples)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BackendError, match=r"reading FLAC: .*edge-export\[audio\].*ffmpeg read it too"):
        read_audio(tmp_path / "a.flac")
    os.remove(tmp_path / "a.flac")
