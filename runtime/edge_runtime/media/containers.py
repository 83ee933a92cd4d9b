"""The sound of formats that libsndfile cannot read (M4A, AAC, WebM, AMR, WMA, videos).

Through PyAV, the extra ``media``, or else the program ``ffmpeg`` (`edge_runtime.media.ffmpeg`). PyAV gets the
opened file, so that a playlist or index in it cannot open others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.media import ffmpeg

MOST_SAMPLES = 1 << 32  # of all channels; a day at 48 kHz


def available() -> bool:
    """Whether PyAV or ffmpeg is installed."""
    return _has_pyav() or ffmpeg.available()


def _has_pyav() -> bool:
    return find_spec("av") is not None


def read_sound(path: Path, file: BinaryIO, name: str, way_out: str) -> tuple[NDArray[np.float32], int, int]:
    """The first stream of sound: (samples (n, channels), Hz, channels).

    Args:
        path: of the file.
        file: the same, opened for reading bytes.
        name: of the format, for errors.
        way_out: what else can be tried, for errors.

    Raises:
        InputError: no sound in it, or damaged.
    """
    if _has_pyav():
        return _by_pyav(file, name, way_out)
    return ffmpeg.read_sound(path, name, way_out)


def _by_pyav(file: BinaryIO, name: str, way_out: str) -> tuple[NDArray[np.float32], int, int]:
    import av  # type: ignore[import-not-found, unused-ignore]

    expected = "a recording"
    file.seek(0)
    blocks: list[NDArray[np.float32]] = []
    try:
        with silent_stderr(), av.open(file, options={"protocol_whitelist": ""}) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise InputError("audio file", got=f"{name} without sound", expected=expected)
            if stream.codec_context is None:
                raise InputError("audio file", got=f"{name} of an unknown encoding", expected=expected)
            rate, channels, count = int(stream.rate or 0), int(stream.channels or 0), 0
            planes = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
            for piece in _pieces(container, stream, planes):
                count += piece.size
                if count > MOST_SAMPLES or piece.shape[1] != channels:
                    raise InputError(
                        "audio file", got=f"{name} whose rate or channels change", expected=expected
                    )
                blocks.append(piece)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "audio file",
            got=f"{name} that cannot be decoded («{getattr(error, 'strerror', None) or error}»)",
            expected=expected,
            cause=f"the file is damaged or was cut off; if a player can play it, {way_out}",
        ) from error
    if not blocks:
        raise InputError("audio file", got=f"{name} without a sample", expected=expected, cause=way_out)
    return np.concatenate(blocks), rate, channels


def _pieces(container: Any, stream: Any, planes: Any) -> Iterator[NDArray[np.float32]]:
    """(n, channels) of each decoded frame, and what the converter still holds at the end."""
    for frame in container.decode(stream):
        for part in planes.resample(frame):
            yield np.ascontiguousarray(part.to_ndarray().T, np.float32)
    for part in planes.resample(None):
        yield np.ascontiguousarray(part.to_ndarray().T, np.float32)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discards what C libraries print to stderr in this block (mpg123 on damaged files).

    Does nothing where stderr is closed or not a file.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
        finally:
            os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
