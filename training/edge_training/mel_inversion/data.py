"""Data of mel inversion and Deep Griffin-Lim: a folder of recordings.

    DATA/*.wav, *.flac …               at the configuration's rate or above; below DATA/wavs or DATA itself
    DATA/training.txt, validation.txt  optional lists: the name before the first `|` of each line

Without file lists the last `validation_clips` recordings by name are kept for validation. Recordings at a
higher rate are resampled when they are read; a lower rate is refused, because the bins above its Nyquist
frequency would be empty.

A training item is a random segment of `segment` samples, zero-padded on the right where the recording is
shorter. With `vary` items are changed at random, to make more of a few minutes of one voice:

    stretch    played 0.8 … 1.25 times as fast, which shifts pitch and formants: other voices
    reversal   backwards, half the time; magnitudes keep their neighbours
    level      −12 … +6 dB

Validation clips are whole and as they were recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio
from edge_training.engine.items import Item
from edge_training.vocoder.data import CACHE_BYTES, split_recordings

STRETCH = 1.25  # the fastest; the slowest is its inverse
LEVEL_DB = (-12.0, 6.0)
_STEPS = 1000  # of a stretch: it is a ratio of whole numbers

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class InversionSource:
    """Which recordings to read and how to cut them into items."""

    folder: Path
    sample_rate: int  # Hz
    segment: int  # samples
    shortest: int  # samples of one frame; shorter recordings are refused
    vary: bool = True
    validation_clips: int | None = None


class InversionData:
    """Segments for training and whole clips for validation (`TrainingData`): `wav` float32 and `name`.

    Raises:
        InputError: an empty folder, or a recording too short or of too low a rate; the error names it.
    """

    def __init__(self, source: InversionSource) -> None:
        self.source = source
        self._train, self._held = split_recordings(source.folder, source.validation_clips)
        self.names = tuple(path.stem for path in self._train)
        self.validation_names = tuple(path.stem for path in self._held)
        self._cache: dict[Path, Samples] = {}
        self._cached_bytes = 0
        for path in (*self._train, *self._held):
            self._samples(path)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        path, length = self._train[clip], self.source.segment
        samples = self._samples(path)
        piece = _varied(samples, length, draw) if self.source.vary else _piece(samples, length, draw)
        return {"wav": np.pad(piece, (0, length - len(piece))), "name": path.stem}

    def validation_item(self, clip: int) -> Item:
        path = self._held[clip]
        return {"wav": self._samples(path), "name": path.stem}

    def _samples(self, path: Path) -> Samples:
        found = self._cache.get(path)
        if found is not None:
            return found
        samples = _read(path, self.source)
        if self._cached_bytes + samples.nbytes <= CACHE_BYTES:
            self._cache[path] = samples
            self._cached_bytes += samples.nbytes
        return samples


def _read(path: Path, source: InversionSource) -> Samples:
    audio = read_audio(path)
    if audio.sample_rate < source.sample_rate:
        raise InputError(
            str(path),
            got=f"{audio.sample_rate} Hz",
            expected=f"at least {source.sample_rate} Hz",
            cause="its upper bins would be empty; choose a configuration with its rate",
        )
    samples = resample(audio.samples, audio.sample_rate, source.sample_rate)
    if len(samples) < source.shortest:
        raise InputError(
            str(path),
            got=f"{len(samples)} samples at {source.sample_rate} Hz",
            expected=f"at least {source.shortest} samples, one frame",
        )
    return samples


def _piece(samples: Samples, length: int, draw: np.random.Generator) -> Samples:
    start = int(draw.integers(max(0, len(samples) - length) + 1))
    return samples[start : start + length]


def _varied(samples: Samples, length: int, draw: np.random.Generator) -> Samples:
    """A piece (n,) of at most `length` samples, with random stretch, reversal and level."""
    speed = math.exp(draw.uniform(-1, 1) * math.log(STRETCH))
    kept = round(_STEPS / speed)  # output samples of _STEPS
    piece = resample(_piece(samples, length * _STEPS // kept + 1, draw), _STEPS, kept)[:length]
    if draw.random() < 0.5:
        piece = piece[::-1]
    low, high = LEVEL_DB
    return piece * np.float32(10 ** (draw.uniform(low, high) / 20))
