"""rtMRI training data: pictures and standardised mels, whole clips or pieces of them.

    DATA/samples/ID/{mri,mel_db,mask}.npy, scaler.json, meta.json   as `edge-export data mri` writes them
    DATA/hifigan_filelists/{training,validation}.txt                the split, unless `validation_clips` says

Pieces are cut from `mri.npy` when needed: the pair files of layout `legacy` repeat the same numbers
`ref_frames` times and are not read.

    split clip     clips of the validation list, or the last `validation_clips` by name, are never trained on;
                   an item is a random piece of a clip, a validation item is a whole clip
    split window   mri2speech's: all windows of `frames` pictures, stride 1, 80 / 10 / 10 % at random. Windows
                   that share pictures fall on both sides, so its validation figures are too good. In this
                   split each entry of `names` is one window, `ID:first frame`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.ownership import plain_name
from edge_runtime.store.reading import read_array, read_object, read_text
from edge_runtime.store.scaler import read_scaler
from edge_training.engine.items import Item

Split = Literal["clip", "window"]
SPLIT_SEED = 42
TRAINED, VALIDATED = 0.8, 0.1  # parts of all windows

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class MriSource:
    """Which folder to read and how to cut its clips into items."""

    folder: Path
    image_size: int  # pixels, of the net
    n_mels: int  # of the net
    frames: int | None = None  # pictures of a training item; None: whole clips
    split: Split = "clip"
    validation_clips: int | None = None


@dataclass(frozen=True)
class Piece:
    """A part of one clip, from picture `start` to `stop`; None is its end."""

    clip: str
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        return self.clip if self.stop is None else f"{self.clip}:{self.start}"


class MriData:
    """Pieces for training, whole clips for validation (`TrainingData`).

    Items are `frames` (T, S, S) float32 in 0 … 1, `mel` (T, n_mels) float32 standardised dB, `mask` (T,)
    float32, `length` the number of real frames, and `name`. Training items shorter than the longest one are
    padded with zeros at the end; validation items are not.

    Raises:
        InputError: a folder without the files above, or with files that contradict each other.
        ConfigError: data of another picture size or number of bands than the net's.
    """

    def __init__(self, source: MriSource) -> None:
        self.source = source
        self.meta = read_meta(source.folder)
        scaler = read_scaler(source.folder / "scaler.json", source.n_mels)
        self.mean, self.std = (numbers.astype(np.float32) for numbers in scaler)
        self._lengths = {name: self._length(name) for name in self.meta["stems"]}
        self._check_sizes()
        self._train, self._held = self._split()
        self.names = tuple(piece.name for piece in self._train)
        self.validation_names = tuple(piece.name for piece in self._held)
        self.longest = source.frames or max(self._lengths[piece.clip] for piece in self._train)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        piece, wanted = self._train[clip], self.source.frames
        if wanted is not None and piece.stop is None:
            start = int(draw.integers(max(0, self._lengths[piece.clip] - wanted) + 1))
            piece = Piece(piece.clip, start, start + wanted)
        item = self._read(piece)
        missing = self.longest - item["length"]
        for name in ("frames", "mel", "mask"):
            item[name] = np.pad(item[name], [(0, missing)] + [(0, 0)] * (item[name].ndim - 1))
        return item | {"name": self.names[clip]}

    def validation_item(self, clip: int) -> Item:
        return self._read(self._held[clip]) | {"name": self.validation_names[clip]}

    def _read(self, piece: Piece) -> Item:
        taken = slice(piece.start, piece.stop)
        frames, mel_db, mask = (
            np.array(load_sample(self.source.folder, piece.clip, kind)[taken], np.float32)
            for kind in ("mri", "mel_db", "mask")
        )
        mel = (mel_db - self.mean) / self.std
        return {"frames": frames, "mel": mel, "mask": mask, "length": len(frames)}

    # ---- what is there

    def _length(self, name: str) -> int:
        arrays = {kind: load_sample(self.source.folder, name, kind) for kind in _AXES}
        shapes = {kind: array.shape for kind, array in arrays.items()}
        if len({shape[0] for shape in shapes.values()}) != 1:
            raise InputError(
                str(self.source.folder / "samples" / name),
                got=", ".join(f"{kind} of shape {shape}" for kind, shape in shapes.items()),
                expected="the same number of frames in all three",
            )
        return int(shapes["mri"][0])

    def _check_sizes(self) -> None:
        folder, source = self.source.folder, self.source
        first = self.meta["stems"][0]
        size = load_sample(folder, first, "mri").shape[1:]
        bands = load_sample(folder, first, "mel_db").shape[1]
        if size != (source.image_size, source.image_size):
            raise ConfigError(
                "image_size",
                got=f"{source.image_size}",
                expected=f"the {size[0]} pixels of {folder}",
                cause=f"prepare the data with --size {source.image_size}, or set image_size={size[0]}",
            )
        if bands != source.n_mels:
            raise ConfigError(
                f"{folder}: {first}", got=f"mels of {bands} bands", expected=f"the {source.n_mels} of the net"
            )

    def _split(self) -> tuple[list[Piece], list[Piece]]:
        if self.source.split == "window":
            return self._split_windows()
        names = list(self.meta["stems"])
        held = self._held_clips(names)
        train = [Piece(name) for name in names if name not in held]
        if not train:
            raise InputError(
                str(self.source.folder),
                got=f"{len(names)} clips, {len(held)} of them for validation",
                expected="at least one to train on",
            )
        return train, [Piece(name) for name in names if name in held]

    def _held_clips(self, names: Sequence[str]) -> set[str]:
        listed = self.source.folder / "hifigan_filelists" / "validation.txt"
        count = self.source.validation_clips
        if count is None and listed.is_file():
            lines = read_text(listed, "names of clips").splitlines()
            return {line.split("|")[0].strip() for line in lines} & set(names)
        held = max(1, len(names) // 10) if count is None else count
        return set(names[len(names) - held :])

    def _split_windows(self) -> tuple[list[Piece], list[Piece]]:
        wanted = self.source.frames
        if wanted is None:
            raise ConfigError("split", got="'window'", expected="'clip' where items are whole clips")
        windows = [
            Piece(name, start, start + wanted)
            for name, length in self._lengths.items()
            for start in range(length - wanted + 1)
        ]
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
        first = int(TRAINED * len(windows))
        held = order[first : first + int(VALIDATED * len(windows))]
        if not held:
            raise InputError(
                str(self.source.folder),
                got=f"{len(windows)} windows of {wanted} frames",
                expected="at least 10: a tenth of them is kept for validation",
            )
        return [windows[index] for index in order[:first]], [windows[index] for index in held]


def read_meta(folder: Path) -> dict[str, Any]:
    """The entries of a prepared folder's meta.json; `stems` lists its clips."""
    meta = read_object(folder / "meta.json", "a folder that `edge-export data mri` wrote")
    stems = meta.get("stems")
    if not isinstance(stems, list) or not stems or not all(isinstance(stem, str) for stem in stems):
        raise InputError(
            str(folder / "meta.json"), got="no names of clips", expected='an entry "stems": ["ID", …]'
        )
    for stem in stems:
        plain_name(stem, str(folder / "meta.json"))
    return meta


_AXES = {"mri": 3, "mel_db": 2, "mask": 1}


def load_sample(folder: Path, clip: str, kind: str) -> NDArray[Any]:
    """One array of a clip, memory-mapped: mri (T, H, W), mel_db (T, n_mels) or mask (T,)."""
    path = folder / "samples" / clip / f"{kind}.npy"
    array = read_array(path, "an array of a prepared clip", mapped=True)
    if array.ndim != _AXES[kind] or 0 in array.shape or array.dtype.kind != "f":
        raise InputError(
            str(path), got=f"{array.dtype} of shape {array.shape}", expected=f"floats of {_AXES[kind]} axes"
        )
    return array
