"""Which pictures a run makes: every image prompt with everything that is heard, and every sample of each.

Numbers count from 1 in the order: image prompts, within each what is heard, within each the samples. A sample
of a pair is the same alone and in a batch: its noise depends on its seed only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.reading import read_archive


@dataclass(frozen=True, eq=False)
class Job:
    """One picture."""

    number: int  # from 1
    pair: int  # number of its pair of prompts, from 0
    image_prompt: str
    audio_prompt: str  # as the tables name it
    heard: str | NDArray[np.float32]  # the prompt, or an embedding (dim,)
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.number:06d}"


def plan_jobs(
    image_prompts: Sequence[str],
    audio_prompts: Sequence[str],
    phoneme_npz: Path | None,
    *,
    rows: Sequence[int] | None,
    samples: int,
    seed: int,
) -> list[Job]:
    """The pictures of a run.

    Args:
        image_prompts: at least one.
        audio_prompts: what is heard; with embeddings, the sentence of each row.
        phoneme_npz: of embeddings, which are heard in place of prompts.
        rows: of the embeddings; all if None.
        samples, seed: of each pair; its samples have seed, seed + 1 …

    Raises:
        ConfigError: nothing to be heard, rows without embeddings.
        InputError: embeddings that cannot be read, a row that they do not have, another number of prompts.
    """
    if phoneme_npz is None:
        if rows is not None:
            raise ConfigError("--prompt-index", got="it without --phoneme-npz", expected="both")
        if not audio_prompts:
            raise ConfigError("--audio-prompt", got="none", expected="at least one, or --phoneme-npz FILE")
        heard: list[tuple[str, Any]] = [(prompt, prompt) for prompt in audio_prompts]
    else:
        heard = _rows(phoneme_npz, audio_prompts, rows)
    pairs = [(image, label, sound) for image in image_prompts for label, sound in heard]
    return [
        Job(1 + pair * samples + sample, pair, image, label, sound, seed + sample)
        for pair, (image, label, sound) in enumerate(pairs)
        for sample in range(samples)
    ]


def _rows(path: Path, sentences: Sequence[str], rows: Sequence[int] | None) -> list[tuple[str, Any]]:
    """(name, embedding) of the rows that are wanted."""
    embeddings = read_embeddings(path)
    if sentences and len(sentences) != len(embeddings):
        raise InputError(
            str(path),
            got=f"{len(embeddings)} embeddings beside {len(sentences)} audio prompts",
            expected="as many: prompts are the sentences of its rows",
            cause="leave --audio-prompt out: the rows are then named by their numbers",
        )
    wanted = range(len(embeddings)) if rows is None else rows
    if wrong := [row for row in wanted if row >= len(embeddings)]:
        raise ConfigError(
            "--prompt-index", got=str(wrong[0]), expected=f"0 … {len(embeddings) - 1}: {path} has no more"
        )
    return [(sentences[row] if sentences else f"row {row} of {path.name}", embeddings[row]) for row in wanted]


def read_embeddings(path: Path) -> NDArray[np.float32]:
    """The embeddings (N, dim) in an .npz file, under the name ``emb``.

    Raises:
        InputError: no archive, no such array, another shape, values that are not finite.
    """
    arrays = read_archive(path, "embeddings of sentences, .npz with an array emb")
    values = arrays.get("emb")
    if values is None:
        got = f"only {', '.join(sorted(arrays)) or 'nothing'}"
        raise InputError(f"{path}: emb", got=got, expected="embeddings of sentences (N, dim)")
    if values.ndim != 2 or not values.size or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise InputError(
            f"{path}: emb",
            got=f"{values.dtype} of shape {values.shape}",
            expected="finite floats (N, dim)",
        )
    return np.asarray(values, np.float32)
