"""What vocoders share in the catalogue: a mel goes in, speech comes out; cases of a made signal."""

from __future__ import annotations

import numpy as np

from edge_export.catalog.dynamic_axes import Axis, Buckets
from edge_export.catalog.net import Arrays
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.store.bundle import Tensor


def mel_input(bands: int, hop_length: int, unit: str) -> Tensor:
    """The log-mel spectrogram (batch, bands, frames) that a vocoder takes."""
    return Tensor(
        name="mel",
        dtype="float32",
        shape=("batch", bands, "frames"),
        meaning=f"log-mel spectrogram, {hop_length} samples a frame",
        unit=unit,
    )


def audio_output(sample_rate: int, hop_length: int) -> Tensor:
    """The waveform (batch, 1, samples) that a vocoder gives."""
    return Tensor(
        name="audio",
        dtype="float32",
        shape=("batch", 1, "samples"),
        meaning=f"speech at {sample_rate} Hz, {hop_length} samples a frame",
        unit="full scale, -1 to 1",
    )


def shortest_cases(front_end: MelConfig, frames: Axis) -> dict[str, Arrays]:
    """The shortest bucket and the next: lengths that every target takes, and two of the dynamic axis.

    Longer buckets run the same program on another shape and have no case: the slow executors take about
    0.3 s for a frame of HiFi-GAN V1. With only one bucket there is one case.
    """
    sizes = frames.sizes[:2] if isinstance(frames, Buckets) else (frames.low, frames.low + 1)
    skip = front_end.sample_rate // 12  # so that the shortest is not the silence before a syllable
    needed = max(front_end.min_samples, sizes[-1] * front_end.hop_length)
    audio = speech_like(skip + needed, front_end.sample_rate)[skip:]
    mel = np.asarray(MelFrontEnd(front_end)(audio), np.float32)
    return {f"frames-{size}": {"mel": np.ascontiguousarray(mel[None, :, :size])} for size in sizes}
