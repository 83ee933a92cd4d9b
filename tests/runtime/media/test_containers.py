"""Sound of M4A, WebM and videos through PyAV, against the samples that were encoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.containers import silent_stderr

RATE = 48000
SOUND = (0.4 * np.sin(2 * np.pi * np.array([[300.0], [470.0]]) * np.arange(RATE) / RATE)).astype(np.float32)


def encode(path: Path, form: str, codec: str, pictures: bool = False, sound: bool = True) -> Path:
    """One second of two tones, left and right."""
    with av.open(str(path), "w", format=form) as container:
        streams: list[Any] = []
        frames: list[Any] = []
        if pictures:
            streams.append(container.add_stream("mpeg4", rate=25))
            streams[-1].width = streams[-1].height = 32
            frames.append([av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))])
        if sound:
            streams.append(container.add_stream(codec, rate=RATE, layout="stereo"))
            streams[-1].bit_rate = 256_000
            frame = av.AudioFrame.from_ndarray(SOUND, format="fltp", layout="stereo")
            frame.rate = RATE
            size = streams[-1].frame_size or 1024
            pieces = av.AudioResampler(streams[-1].format, "stereo", RATE, frame_size=size)
            frames.append([*pieces.resample(frame), *pieces.resample(None)])
        for stream, parts in zip(streams, frames, strict=True):  # the header needs all streams first
            for part in (*parts, None):
                container.mux(stream.encode(part))
    return path


@pytest.mark.parametrize(
    ("form", "codec", "pictures"),
    [("ipod", "aac", False), ("adts", "aac", False), ("mp4", "aac", True), ("webm", "libopus", False)],
)
def test_encoded_sound_is_the_sound(tmp_path: Path, form: str, codec: str, pictures: bool) -> None:
    audio = read_audio(encode(tmp_path / "a.wav", form, codec, pictures))
    assert audio.sample_rate == RATE
    assert abs(len(audio.samples) - RATE) <= 4096  # encoders add a block or two
    expected = SOUND.mean(0)
    heard = np.lib.stride_tricks.sliding_window_view(audio.samples[:12000], 4000)
    start = int(np.argmin(np.abs(heard[:, ::40] - expected[4000:8000:40]).sum(1)))
    np.testing.assert_allclose(heard[start], expected[4000:8000], atol=0.02)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "mp4", "aac", pictures=True, sound=False)
    with pytest.raises(InputError, match=r"a\.mp4: audio file: got MP4 without sound"):
        read_audio(path)


def test_what_was_cut_off_is_refused_or_short(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = encode(tmp_path / "a.m4a", "ipod", "aac")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.m4a: .*M4A.*ffmpeg"):
        read_audio(path)
    assert capfd.readouterr() == ("", "")


def test_c_libraries_are_silent_in_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    with silent_stderr():
        os.write(2, b"noise")
    os.write(2, b"sound")
    assert capfd.readouterr().err == "sound"
