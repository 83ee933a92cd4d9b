"""Reference packs: folders of arrays against which a port to another language is checked.

A pack holds .npy files, reference_audio.wav and JSON; VALIDATION_INSTRUCTIONS.json, written last, explains it
and marks the folder as ours, so that ``overwrite`` never deletes anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.media.audio import Audio, write_wav
from edge_runtime.store.bundle import Manifest
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import replace_directory

INSTRUCTIONS = "VALIDATION_INSTRUCTIONS.json"
AUDIO = "reference_audio.wav"
RESULTS = "validation_results.json"  # what a check may have left in the folder

_TITLE = "Reference arrays for"


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors raised in this block about a file's contents carry the file's name, once."""
    try:
        yield
    except InputError as error:
        raise error.within(str(path)) from error


@contextmanager
def replace_pack(out: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """Yields the folder of a new pack; an older pack is replaced if ``overwrite``, any other folder never."""
    with replace_directory(out, overwrite, ours=is_pack) as folder:
        yield folder


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack and nothing else."""
    title = find_object(folder / INSTRUCTIONS).get("title", "")
    strange = [
        entry
        for entry in folder.iterdir()
        if entry.suffix not in (".npy", ".json", ".wav") and entry.name not in ("frames", ".DS_Store")
    ]
    return str(title).startswith(_TITLE) and not strange


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON indented by two, in the order given, as SyncTalk_2D's audio_pipeline writes it."""
    # file names may hold bytes that are no text: written as JSON's own escapes
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_audio(path: Path, audio: Audio) -> None:
    """Write the samples (n,) that the arrays were made from: PCM 16 where that is exact, else float32."""
    steps = audio.samples.astype(np.float64) * 32768
    exact = bool(np.all(steps == np.rint(steps)) and steps.min() >= -32768 and steps.max() <= 32767)
    write_wav(path, audio.samples, audio.sample_rate, "pcm16" if exact else "float32")


def write_instructions(
    folder: Path,
    what: str,
    description: str,
    steps: list[str],
    files: Mapping[str, str],
    criteria: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """VALIDATION_INSTRUCTIONS.json, with the keys of SyncTalk_2D's audio_pipeline and the provenance."""
    write_json(
        folder / INSTRUCTIONS,
        {
            "title": f"{_TITLE} {what}",
            "description": description,
            "steps": steps,
            "files": dict(files),
            "validation_criteria": dict(criteria),
            "provenance": dict(provenance),
        },
    )


def provenance(manifest: Manifest, detail: str, precision: str) -> dict[str, Any]:
    """Which weights gave the numbers, and which library and device computed them."""
    return {
        "net": manifest.net,
        "weights": manifest.source.file,
        "weights_sha256": manifest.source.sha256,
        "weights_format": manifest.source.format,
        "executed_by": detail,
        "precision": precision,
    }
