"""The training data of a LoRA: a manifest of prompts and pictures.

    manifest.csv        columns audio_prompt and mel_npy, which may have other names; id, or rows are numbered
    mel_npy             a picture (256, frames) float in 0 … 1, row 0 the highest band; all of one size, whose
                        frames are a multiple of 64; a path beside the manifest, absolute, or from here
    an .npz             with condition `phoneme`: emb (N, D), row i that of the manifest's row i, as its `id`
                        says where it has one

`edge-export data image-speech` writes all of these. The last `validation_clips` rows are never trained on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.image_speech.picture import BANDS, picture_to_mel
from edge_runtime.pipelines.image_speech.tokenizer import ClipTokenizer
from edge_runtime.store.reading import open_regular, read_archive, read_array, read_array_header, read_text
from edge_training.engine.items import Item
from edge_training.image_speech.partial import EMBEDDINGS, MANIFEST
from edge_training.image_speech.prompts import numbered

Condition = Literal["text", "phoneme"]
MULTIPLE = 64  # frames: eight of the VAE, eight of a UNet with three halvings
_EXPECTED_PICTURE = f"a picture ({BANDS}, frames) of floats, as `edge-export data image-speech` writes it"


@dataclass(frozen=True)
class Row:
    """One row of a manifest."""

    name: str
    prompt: str
    picture: Path


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """What is read."""

    manifest: Path  # or the folder that it lies in
    prompt_column: str = "audio_prompt"
    picture_column: str = "mel_npy"
    condition: Condition = "text"
    phonemes: Path | None = None  # the .npz; None: the one beside the manifest
    validation_clips: int | None = None  # None: a tenth, at least one


class LoraData:
    """The pictures of a manifest, with what conditions them.

    Items hold `name`, `clip` (the number of the row), `picture` (256, frames), and `ids` (77,) or
    `embedding` (D,).

    Args:
        source: what is read.
        tokenizer: of the prompts, for condition text.

    Raises:
        ConfigError: more rows for validation than there are.
        InputError: files that cannot be read or do not fit together.
    """

    def __init__(self, source: ManifestSource, tokenizer: ClipTokenizer | None) -> None:
        manifest = source.manifest / MANIFEST if source.manifest.is_dir() else source.manifest
        self.rows = read_manifest(manifest, source.prompt_column, source.picture_column)
        self.shape = _common_shape(self.rows)
        self.embeddings = _embeddings(source, manifest, self.rows) if source.condition == "phoneme" else None
        self.ids = None if tokenizer is None else tokenizer([row.prompt for row in self.rows])
        held = source.validation_clips
        held = max(1, len(self.rows) // 10) if held is None else held
        if held >= len(self.rows):
            raise ConfigError(
                "validation_clips",
                got=f"{held} of {len(self.rows)} rows of {manifest}",
                expected="at least one to train on",
                cause="add prompts, or --set validation_clips=0",
            )
        names = tuple(row.name for row in self.rows)
        self.names, self.validation_names = names[: len(names) - held], names[len(names) - held :]

    @property
    def embedding_size(self) -> int:
        """D of the embeddings, 0 without."""
        return 0 if self.embeddings is None else int(self.embeddings.shape[1])

    def item(self, clip: int, draw: np.random.Generator) -> Item:  # noqa: ARG002 - nothing is cropped
        return self._item(clip)

    def validation_item(self, clip: int) -> Item:
        return self._item(len(self.names) + clip)

    def _item(self, number: int) -> Item:
        row = self.rows[number]
        picture = read_array(row.picture, _EXPECTED_PICTURE).astype(np.float32)
        try:
            picture_to_mel(picture)  # which checks it
        except InputError as error:
            raise error.within(str(row.picture)) from error
        item: Item = {"name": row.name, "clip": number, "picture": picture}
        if self.embeddings is not None:
            item["embedding"] = self.embeddings[number]
        if self.ids is not None:
            item["ids"] = self.ids[number].astype(np.int64)
        return item


def read_manifest(path: Path, prompt_column: str, picture_column: str) -> tuple[Row, ...]:
    """The rows of a manifest.

    Raises:
        InputError: no CSV with these columns, no rows, a picture that is not there, a name twice.
    """
    expected = f"a CSV with columns {prompt_column} and {picture_column}"
    reader = csv.DictReader(io.StringIO(read_text(path, expected)), strict=True)
    try:
        found = [row for row in reader if any(row.values())]
    except csv.Error as error:
        raise InputError(str(path), got=f"«{error}»", expected=expected) from error
    columns = reader.fieldnames or []
    if prompt_column not in columns or picture_column not in columns:
        raise InputError(
            str(path),
            got=f"columns {', '.join(columns) or 'none'}",
            expected=expected,
            cause="name others with --set prompt_column=… and --set picture_column=…",
        )
    rows = [
        Row(
            row.get("id") or numbered(number),
            row[prompt_column] or "",
            _picture(row[picture_column] or "", path, number),
        )
        for number, row in enumerate(found, 1)
    ]
    names = [row.name for row in rows]
    if not rows or len(set(names)) != len(names):
        twice = next((name for name in names if names.count(name) > 1), "")
        got = f"the id {twice!r} twice" if rows else "no rows"
        raise InputError(str(path), got=got, expected="rows, each with an id of its own")
    return tuple(rows)


def _picture(name: str, manifest: Path, row: int) -> Path:
    for path in (manifest.parent / name, Path(name)):  # an absolute name replaces the folder
        if name and path.is_file():
            return path
    raise InputError(
        f"{manifest}, row {row}", got=f"the picture {name!r}, which is not there", expected="a file .npy"
    )


def _common_shape(rows: Sequence[Row]) -> tuple[int, int]:
    """(bands, frames) of all pictures, by their headers."""
    shapes = []
    for row in rows:
        with open_regular(row.picture, _EXPECTED_PICTURE) as file:
            header = read_array_header(row.picture, file, _EXPECTED_PICTURE)
        bands, frames = header.shape if len(header.shape) == 2 else (0, 0)
        if header.dtype.kind != "f" or bands != BANDS or not frames or frames % MULTIPLE:
            raise InputError(
                str(row.picture),
                got=f"{header.dtype} of shape {header.shape}",
                expected=f"{_EXPECTED_PICTURE}, frames a multiple of {MULTIPLE}",
            )
        shapes.append((bands, frames))
        if shapes[-1] != shapes[0]:
            raise InputError(
                str(row.picture), got=f"{frames} frames", expected=f"{shapes[0][1]}, as {rows[0].picture} has"
            )
    return shapes[0]


def _embeddings(source: ManifestSource, manifest: Path, rows: Sequence[Row]) -> NDArray[np.float32]:
    path = source.phonemes or manifest.with_name(EMBEDDINGS)
    expected = f"an .npz with emb ({len(rows)}, D), as `data image-speech --plbert` writes it"
    arrays = read_archive(path, expected)
    vectors = arrays.get("emb", np.zeros(0))
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(rows) or not vectors.shape[1]:
        raise InputError(str(path), got=f"emb of shape {vectors.shape}", expected=expected)
    if not np.isfinite(vectors).all():
        raise InputError(str(path), got="values that are not finite", expected=expected)
    names = [str(name) for name in arrays.get("id", np.zeros(0)).ravel()]
    if names and names != [row.name for row in rows]:
        other = next(i for i, (a, b) in enumerate(zip(names, rows, strict=False)) if a != b.name)
        raise InputError(
            str(path),
            got=f"the vector of {names[other]} in row {other + 1}",
            expected=f"that of {rows[other].name}, as the manifest has",
            cause="the two files are of different preparations",
        )
    return vectors.astype(np.float32)
