"""The Griffin-Lim family on recordings of any length, in constant memory.

In one iteration a sample depends on frames that are at most ``⌈n_fft / hop⌉ − 1`` away. So after N iterations
a frame's result depends on N + 1 times as many neighbours, and a chunk that is computed together with these
is, to the last bit, that part of the whole result. The chunks begin on whole blocks of the transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from edge_runtime.dsp.griffin_lim import (
    MOMENTUM,
    Algorithm,
    Part,
    Projection,
    check_choices,
    check_config,
    check_magnitude,
    check_options,
    method_of,
)
from edge_runtime.dsp.spectral import BLOCK_FRAMES, Array, Padding, StftConfig

CHUNK_FRAMES = 4096  # of one chunk without its neighbours; at least four times as many as those
SEARCHED = 1024  # frames read at a time when the largest value is searched


class Columns(Protocol):
    """An array (bins, frames), or a file of one, from which some frames are read at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class Chunk(NamedTuple):
    """Frames that are computed, and those of them that are kept."""

    start: int
    first: int
    last: int
    stop: int


def long_griffin_lim(
    magnitude: Columns,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    n_iter: int = 32,
    momentum: float = MOMENTUM,
    algorithm: Algorithm = "fgla",
    length: int | None = None,
    padding: Padding = "center-zero",
    chunk_frames: int = CHUNK_FRAMES,
) -> Array:
    """The samples ``(samples,)`` of `griffin_lim` from zero phase, for magnitudes that are not in memory.

    Args:
        magnitude: ``(bins, frames)``, an array or a file.
        chunk_frames: frames computed at a time, without their neighbours.
        n_fft, hop_length, win_length, n_iter, momentum, algorithm, length, padding: as in `griffin_lim`.

    Raises:
        ConfigError, InputError: as `griffin_lim`.
    """
    config = check_config(n_fft, hop_length, win_length, padding)
    check_options(n_iter, momentum)
    check_choices(algorithm, "librosa", length, None)
    frames = magnitude.shape[1]
    largest, dtype = 0.0, np.dtype(np.float32)
    for start in range(0, frames, SEARCHED):
        block = check_magnitude(magnitude[:, start : start + SEARCHED], config)
        largest, dtype = max(largest, float(block.max())), block.dtype
    covered = max(0, config.n_fft + (frames - 1) * config.hop_length - 2 * config.pad)
    out = np.zeros(covered if length is None else length, dtype)

    def compute(chunk: Chunk) -> None:
        values = np.asarray(magnitude[:, chunk.start : chunk.stop], dtype)
        projection = Projection(values, config, length, Part(chunk.start, frames, largest))
        del values
        spectrum = projection.spectrum() if algorithm == "admm" else None
        start = projection.start(None, spectrum)
        method = method_of(algorithm, projection, start, spectrum, momentum, "librosa")
        for _ in range(n_iter):
            method.step()
        rows = chunk.last if chunk.last < frames else frames + n_fft // hop_length + 1
        projection.crop_rows(method.result(), chunk.first, rows, out)

    for chunk in chunks(frames, config, n_iter, chunk_frames):
        compute(chunk)
    return out


def chunks(frames: int, config: StftConfig, n_iter: int, chunk_frames: int = CHUNK_FRAMES) -> Iterator[Chunk]:
    """Chunks of whole blocks that together give every frame once, each with the neighbours it depends on."""
    reach = -(-config.n_fft // config.hop_length) - 1
    # the samples mirrored at an end are seen from twice as far
    context = _blocks((n_iter + 1) * reach + 2 * reach + 2)
    size = max(_blocks(chunk_frames), 4 * context) if chunk_frames == CHUNK_FRAMES else _blocks(chunk_frames)
    for first in range(0, frames, size):
        last = min(first + size, frames)
        stop = last + context
        yield Chunk(max(0, first - context), first, last, frames if stop >= frames else stop)


def _blocks(frames: int) -> int:
    return -(-frames // BLOCK_FRAMES) * BLOCK_FRAMES
