"""Clips whose pictures say who they are: a corpus small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.media.audio import write_wav

RATE, FPS = 16000, 25


def picture(place: int) -> NDArray[np.uint8]:
    """96×96, blue-green-red: above white, below a colour for each place."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:48] = 255
    image[48:] = (40 + 5 * place, 120, 200 - 5 * place)
    return image


def sound(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise in bursts."""
    draw = np.random.default_rng(seed)
    n = round(seconds * RATE)
    loudness = np.repeat(draw.uniform(0, 0.3, n // 640 + 1), 640)[:n]
    return (loudness * draw.standard_normal(n)).astype(np.float32)


def write_clip(
    folder: Path, places: Iterable[int], *, seconds: float | None = None, rate: int = RATE, seed: int = 0
) -> Path:
    """{k}.jpg of `places` and audio.wav, by default as long as the pictures."""
    folder.mkdir(parents=True)
    places = list(places)
    for place in places:
        cv2.imwrite(str(folder / f"{place}.jpg"), picture(place), [cv2.IMWRITE_JPEG_QUALITY, 100])
    lasts = (places[-1] + 1) / FPS if seconds is None else seconds
    write_wav(folder / "audio.wav", sound(lasts * rate / RATE, seed), rate)
    return folder


def write_video(path: Path, pictures: int, *, fps: float = FPS) -> Path:
    """The same pictures as a video file, without sound."""
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, fps, (96, 96))
    for place in range(pictures):
        writer.write(picture(place))
    writer.release()
    return path


def write_talkers(folder: Path, clips: int, *, pictures: int = 20) -> Path:
    """Clips in which the lower half is bright while the sound is loud: synchrony that can be learnt."""
    for clip in range(clips):
        draw = np.random.default_rng(clip)
        loud = draw.random(pictures) < 0.5
        place = folder / f"clip{clip:02d}"
        place.mkdir(parents=True)
        for k, open_mouth in enumerate(loud):
            image = draw.integers(0, 30, (96, 96, 3), dtype=np.uint8) + np.uint8(200 if open_mouth else 20)
            cv2.imwrite(str(place / f"{k}.jpg"), image)
        noise = draw.standard_normal(pictures * RATE // FPS)
        samples = noise * np.repeat(np.where(loud, 0.2, 0.002), RATE // FPS)
        write_wav(place / "audio.wav", samples.astype(np.float32), RATE)
    return folder
