"""The sound of formats that libsndfile cannot read, through the program ``ffmpeg`` where PyAV is missing.

The program is started directly, never by a shell, on one regular file. Network protocols and formats that
name further files (playlists, lists of pieces) are shut off, so that no file makes it open another; time and
output are bounded.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError, InputError, shown

PROGRAM = "ffmpeg"
SECONDS = 900.0  # that it may take; a day of AAC needs some 100
MOST_BYTES = 1 << 34  # of samples
# what `edge_runtime.media.formats` recognises; none of these names other files
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,live_flv,mpeg,mpegts,mpegvideo,ogg,wav,w64,aiff,au,caf,"
    "aac,mp3,flac,amr,amrnb,amrwb,ac3,eac3,dts,ape,wv,tta,dsf,iff,rm,nistsphere"
)


def available() -> bool:
    """Whether the program can be found."""
    return shutil.which(PROGRAM) is not None


def read_sound(path: Path, name: str, way_out: str) -> tuple[NDArray[np.float32], int, int]:
    """The first stream of sound: (samples (n, channels), Hz, channels).

    Args:
        path: of a regular file.
        name: of its format, for errors.
        way_out: what else can be tried, for errors.

    Raises:
        InputError: no sound in it, damaged, or it takes too long.
    """
    with tempfile.TemporaryFile() as decoded:
        try:
            done = subprocess.run(
                _command(path),
                stdin=subprocess.DEVNULL,
                stdout=decoded,
                stderr=subprocess.PIPE,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _refusal(name, f"takes more than {SECONDS:g} s to decode", way_out) from error
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if "matches no streams" in done.stderr.decode("utf-8", "replace"):
            raise InputError("audio file", got=f"{name} without sound", expected="a recording")
        if done.returncode or not decoded.seek(0, os.SEEK_END):
            why = shown(said[0], 120) if said else f"status {done.returncode}"
            raise _refusal(name, f"cannot be decoded («{why}»)", way_out)
        return _samples(decoded, name, way_out)


def _command(path: Path) -> list[str]:
    """``file:`` in front, so that no name is taken for a protocol or an option."""
    return [
        PROGRAM, "-nostdin", "-hide_banner", "-v", "error", "-xerror",
        "-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS,
        "-i", f"file:{path.resolve()}", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1",
        "-c:a", "pcm_f32le", "-fs", str(MOST_BYTES), "-f", "wav", "pipe:1",
    ]  # fmt: skip


def _samples(file: IO[bytes], name: str, way_out: str) -> tuple[NDArray[np.float32], int, int]:
    """Of the WAV stream that the program writes; its sizes are placeholders, so the data go to the end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(12)
    rate = channels = 0
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise _refusal(name, "gave no samples", way_out)
        kind, size = struct.unpack("<4sI", head)
        if kind == b"data":
            break
        body = file.read(size + size % 2)
        if kind == b"fmt ":
            channels, rate = struct.unpack_from("<HI", body, 2)
    start = file.tell()
    frames = (end - start) // (4 * channels) if channels else 0
    if not frames:
        raise InputError("audio file", got=f"{name} without a sample", expected="a recording", cause=way_out)
    if end - start >= MOST_BYTES - 4096:
        raise _refusal(name, f"holds more than {MOST_BYTES} bytes of samples", way_out)
    samples = np.frombuffer(file.read(4 * frames * channels), "<f4").astype(np.float32, copy=False)
    return samples.reshape(frames, channels), rate, channels


def _refusal(name: str, what: str, way_out: str) -> EdgeError:
    return InputError(
        "audio file",
        got=f"{name} that {what}",
        expected="a recording",
        cause=f"the file is damaged or was cut off; if a player can play it, {way_out}",
    )
