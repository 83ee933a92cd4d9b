"""Small rtMRI clips: pictures that tell their number and recordings that tell their loudness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_runtime.media.audio import write_wav

RATE, HOP = 11413, 420


def write_clip(
    root: Path, name: str, frames: int, *, size: int = 32, samples: int | None = None, peak: float = 0.5
) -> None:
    """videos/NAME.npy, whose picture i has grey level i all over but for a corner that follows the sound;
    wavs/NAME.wav, a tone whose loudness goes up and down."""
    videos, wavs = root / "videos", root / "wavs"
    videos.mkdir(parents=True, exist_ok=True)
    wavs.mkdir(exist_ok=True)
    draw = np.random.default_rng(sum(name.encode()))
    samples = frames * HOP if samples is None else samples
    loud = 0.6 - 0.4 * np.cos(2 * np.pi * np.arange(samples) / (9 * HOP) + draw.uniform(0, 6))
    tone = np.sin(2 * np.pi * draw.uniform(300, 900) / RATE * np.arange(samples))
    noise = 0.05 * draw.standard_normal(samples)
    audio = loud * (tone + noise)
    write_wav(wavs / f"{name}.wav", (peak * audio / np.abs(audio).max()).astype(np.float32), RATE, "float32")
    pictures = np.zeros((frames, size, size), np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None]
    middles = np.minimum((np.arange(frames) + 0.5) * HOP, samples - 1).astype(int)
    pictures[:, : size // 2, : size // 2] = (255 * loud[middles]).astype(np.uint8)[:, None, None]
    np.save(videos / f"{name}.npy", pictures)


def write_clips(root: Path, lengths: Sequence[int] = (14, 11, 17, 12, 20), size: int = 32) -> Path:
    """Clips c0, c1 … of so many frames each."""
    for index, frames in enumerate(lengths):
        write_clip(root, f"c{index}", frames, size=size, peak=0.2 + 0.1 * index)
    return root
