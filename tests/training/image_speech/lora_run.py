"""Manifests with small pictures, for trainings of seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FRAMES = 64  # of a picture; the full size has 1024


def write_manifest(folder: Path, rows: int = 5, embedding: int = 32) -> Path:
    """manifest.csv, pictures of smooth noise, and vectors of phonemes, in a folder; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    names = [f"{number:06d}" for number in range(1, rows + 1)]
    for name in names:
        coarse = draw.random((8, 4), np.float32)
        picture = coarse.repeat(32, axis=0).repeat(FRAMES // 4, axis=1)
        np.save(folder / f"{name}.npy", picture)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "audio_prompt", "mel_npy"])
        writer.writerows([name, f"word {name[-1]}", f"{name}.npy"] for name in names)
    vectors = draw.standard_normal((rows, embedding)).astype(np.float32)
    np.savez(folder / "plbert_sentence_emb.npz", emb=vectors, id=np.array(names))
    return folder
