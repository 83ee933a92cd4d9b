"""Vocoder data: a folder of recordings, and for fine-tuning a folder of predicted mels beside it.

    DATA/*.wav, *.flac …               at the configuration's rate; below DATA/wavs or DATA itself
    DATA/training.txt, validation.txt  optional lists: the name before the first `|` of each line
    MELS/NAME.npy                      fine-tuning: (n_mels, frames) or (1, n_mels, frames), natural logarithm

Without file lists the last `validation_clips` recordings by name are kept for validation.

A training item is a random segment of `segment` samples, zero-padded on the right where the recording is
shorter; without mels each recording is first scaled to a peak of 0.95. With mels the segment begins on a
frame, recordings keep their level (the mels were made from it), and short mels are padded with silence,
ln(1e-5): in jik876/hifi-gan they are padded with zeros, which is loud. Of two mel folders the extra one is
drawn with probability `extra_weight`: mri2speech's mixture of predicted and true mels. Validation reads
the first.

With `speeds`, and without mels, an item is taken with equal chance from the recording played at any of these
speeds, which shifts pitch and formants, to make more of a few minutes of one voice.

Recordings are read once and kept in memory up to `CACHE_BYTES` in each process, at every speed; with
`VocoderData.keep_on`, which a training on CUDA calls for small sets, on the device, and are cut there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines.pack_files import naming
from edge_runtime.store import mels as files
from edge_runtime.store.reading import read_text
from edge_training.engine.items import Item

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
CACHE_BYTES = 4 << 30
# a front end without padding has four frames fewer than one with it; more is another hop or rate
FRAMES_APART = 4

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class VocoderSource:
    """Which recordings to read and how to cut them into items."""

    folder: Path
    mel: MelConfig  # of the net's input
    segment: int  # samples, a multiple of the hop
    peak: float = 0.95  # of each recording; unused with mels
    validation_clips: int | None = None
    mels: Path | None = None
    extra_mels: Path | None = None
    extra_weight: float = 0.0  # probability of the extra folder, 0 … 1
    speeds: tuple[float, ...] = ()  # beside 1; unused with mels


class VocoderData:
    """Segments for training and whole clips for validation (`TrainingData`).

    Items are `wav` (segment,) float32, `name`, and with mels `mel` (n_mels, segment / hop) float32.

    Raises:
        InputError: empty folders, wrong rates, missing mels or mels of another configuration; the sentence
            names the file.
    """

    def __init__(self, source: VocoderSource) -> None:
        self.source = source
        train, held = split_recordings(source.folder, source.validation_clips)
        self._train, self._held = train, held
        self.names = tuple(path.stem for path in train)
        self.validation_names = tuple(path.stem for path in held)
        self._cache: dict[tuple[Path, float], Samples] = {}
        self._kept: dict[tuple[Path, float], Tensor] = {}  # on a device
        self._cached_bytes = 0
        for path in (*train, *held):
            _check_rate(path, source.mel.sample_rate)
            for folder in _mel_folders(source):
                _mel_file(folder, path.stem)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        path, source = self._train[clip], self.source
        if source.mels is None:
            speed = float(draw.choice((1.0, *source.speeds))) if source.speeds else 1.0
            samples = self._kept[path, speed] if self._kept else self._samples(path, speed)
            return {"wav": _segment(samples, source.segment, draw), "name": path.stem}
        folder = source.mels
        if source.extra_mels is not None and draw.random() < source.extra_weight:
            folder = source.extra_mels
        mel = read_mel(_mel_file(folder, path.stem), source.mel)
        wav = self._samples(path)
        _check_lengths(path, mel.shape[1], len(wav), source.mel)
        return _paired_segment(wav, mel, source, draw) | {"name": path.stem}

    def validation_item(self, clip: int) -> Item:
        path, source = self._held[clip], self.source
        wav, hop = self._samples(path), source.mel.hop_length
        frames = len(wav) // hop
        item: Item = {"name": path.stem}
        if source.mels is not None:
            mel = read_mel(_mel_file(source.mels, path.stem), source.mel)
            _check_lengths(path, mel.shape[1], len(wav), source.mel)
            frames = min(frames, mel.shape[1])
            item["mel"] = mel[:, :frames]
        return item | {"wav": wav[: frames * hop]}

    def keep_on(self, device: torch.device, most: int) -> bool:
        """All recordings, at all speeds, on a device: `engine.items.KeepsOnDevice`; False with mels."""
        if self.source.mels is not None:
            return False
        kept, left = dict[tuple[Path, float], Tensor](), most
        for path in self._train:
            for speed in (1.0, *self.source.speeds):
                samples = self._samples(path, speed)
                left -= samples.nbytes
                if left < 0:
                    return False
                kept[path, speed] = torch.from_numpy(samples).to(device)
        self._kept = kept
        return True

    def _samples(self, path: Path, speed: float = 1.0) -> Samples:
        found = self._cache.get((path, speed))
        if found is not None:
            return found
        samples = _read(path, self.source) if speed == 1 else _played(self._samples(path), speed)
        if self._cached_bytes + samples.nbytes <= CACHE_BYTES:
            self._cache[path, speed] = samples
            self._cached_bytes += samples.nbytes
        return samples


# ---- files ------------------------------------------------------------------------------------------------


def split_recordings(folder: Path, validation_clips: int | None) -> tuple[list[Path], list[Path]]:
    """Recordings for training and for validation: by the file lists, or the last ones by name held back.

    Raises:
        InputError: a folder without recordings, or with none left to train on.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise InputError(str(folder), got=got, expected="a folder of recordings")
    place = folder / "wavs" if (folder / "wavs").is_dir() else folder
    found = {path.stem: path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not found:
        raise InputError(
            str(place), got="no recordings", expected=f"files {', '.join(SUFFIXES)}", cause=_guess(folder)
        )
    if (folder / "training.txt").is_file():
        return _listed(folder, "training.txt", found), _listed(folder, "validation.txt", found)
    paths = list(found.values())
    held = max(1, len(paths) // 10) if validation_clips is None else validation_clips
    if held >= len(paths):
        raise InputError(
            str(place),
            got=f"{len(paths)} recordings, {held} of them for validation",
            expected="at least one to train on",
            cause="add recordings, or lower validation_clips",
        )
    return paths[: len(paths) - held], paths[len(paths) - held :]


def _guess(folder: Path) -> str:
    inside = next((path for path in sorted(folder.iterdir()) if path.is_dir()), None)
    return f"is {inside} meant?" if inside else ""


def _listed(folder: Path, name: str, found: dict[str, Path]) -> list[Path]:
    """The recordings that a file list names, in its order."""
    file = folder / name
    if not file.is_file():
        return []
    names = [line.split("|")[0].strip() for line in read_text(file, "names of recordings").splitlines()]
    stems = [
        Path(entry).stem if Path(entry).suffix.lower() in SUFFIXES else entry for entry in names if entry
    ]
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise InputError(
            str(file),
            got=f"{missing[0]!r} and {len(missing) - 1} more names without a recording",
            expected="names of recordings in this folder",
        )
    if not stems and name == "training.txt":
        raise InputError(str(file), got="no names", expected="one recording a line")
    return [found[stem] for stem in stems]


def _check_rate(path: Path, rate: int) -> None:
    """Refuse another rate before training starts; soundfile, where installed, reads only the header."""
    try:
        import soundfile

        got = int(soundfile.info(path).samplerate)
    except (ImportError, OSError, RuntimeError):
        got = read_audio(path).sample_rate
    if got != rate:
        raise InputError(
            str(path),
            got=f"{got} Hz",
            expected=f"{rate} Hz",
            cause="resample the recordings, or choose a configuration with their rate",
        )


def _read(path: Path, source: VocoderSource) -> Samples:
    audio = read_audio(path)
    least = source.mel.min_samples
    if len(audio.samples) < least:
        raise InputError(
            str(path), got=f"{len(audio.samples)} samples", expected=f"at least {least}, one frame"
        )
    samples = audio.samples
    largest = float(np.abs(samples).max())
    if source.mels is None and largest > 0:
        samples = samples * np.float32(source.peak / largest)
    return samples


def _played(samples: Samples, speed: float) -> Samples:
    """The recording played `speed` times as fast; speeds are rounded to thousandths."""
    return resample(samples, round(1000 * speed), 1000)


# ---- predicted mels ---------------------------------------------------------------------------------------


def _mel_folders(source: VocoderSource) -> Iterator[Path]:
    for folder in (source.mels, source.extra_mels):
        if folder is not None:
            if not folder.is_dir():
                raise InputError(str(folder), got="no such folder", expected="a folder of mels, NAME.npy")
            yield folder


def _mel_file(folder: Path, name: str) -> Path:
    files = [folder / f"{name}{suffix}" for suffix in (".npy", ".npz", ".pt", ".pth")]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(str(files[0]), got="no such file", expected="a mel for each recording")
    return found


def read_mel(path: str | os.PathLike[str], config: MelConfig) -> Samples:
    """A mel (n_mels, frames) float32 from (n_mels, frames) or (1, n_mels, frames).

    Raises:
        InputError: another shape, number of bands or scale (for example decibels), or values not finite.
    """
    mel = files.read_mel(path, config.bands)
    with naming(path):
        files.check_logarithms(mel, config)
    files.doubt_scale(mel, config, path)
    return np.asarray(mel, np.float32)


def _check_lengths(path: Path, frames: int, samples: int, config: MelConfig) -> None:
    whole = samples // config.hop_length
    if abs(frames - whole) > FRAMES_APART or frames == 0:
        raise InputError(
            f"{path.stem}.npy",
            got=f"{frames} frames",
            expected=f"about {whole}, one for each {config.hop_length} samples of {path.name}",
            cause="the mel was made from another recording, or with another hop or rate",
        )


# ---- segments ---------------------------------------------------------------------------------------------


def _segment(samples: Samples | Tensor, length: int, draw: np.random.Generator) -> Samples | Tensor:
    missing = length - len(samples)
    if missing > 0:
        if isinstance(samples, Tensor):
            return torch.nn.functional.pad(samples, (0, missing))
        return np.pad(samples, (0, missing))
    start = int(draw.integers(len(samples) - length + 1))
    return samples[start : start + length]


def _paired_segment(wav: Samples, mel: Samples, source: VocoderSource, draw: np.random.Generator) -> Item:
    """A segment that begins on a frame, and its frames."""
    hop, length = source.mel.hop_length, source.segment
    wanted = -(-length // hop)
    frames = min(mel.shape[1], len(wav) // hop)
    start = int(draw.integers(max(0, frames - wanted) + 1))
    piece = wav[start * hop : min(start + wanted, frames) * hop][:length]
    part = mel[:, start : min(start + wanted, frames)]
    silence = np.float32(np.log(source.mel.floor))
    return {
        "wav": np.pad(piece, (0, length - len(piece))),
        "mel": np.pad(part, ((0, 0), (0, wanted - part.shape[1])), constant_values=silence),
    }
