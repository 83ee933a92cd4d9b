"""What ``edge-export run vocoder`` writes.

mel.npy               (n_mels, frames), natural logarithm of magnitudes: the net's input
NAME_generated.wav    the speech, 16 bits

With ``--stream N`` the mel is pushed N frames at a time, as a live source would, and metadata.json has
`stream`: what that took on this machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.pipelines.vocoder.streaming import StreamingVocoder
from edge_runtime.store.arrays import label


def write_result(pipeline: Vocoder, folder: Path, source: Path) -> dict[str, Any]:
    """Run on an audio file or a mel and fill the folder; returns the entries for metadata.json."""
    mel, _ = pipeline.read_mel(source)
    facts: dict[str, Any] = {}
    with pack.naming(source):
        if pipeline.chunk is None:
            samples = pipeline.synthesize(mel)
        else:
            samples, facts = timed_stream(pipeline, mel, pipeline.chunk)
            pipeline.progress(_told(facts["stream"]))
    np.save(folder / "mel.npy", mel)
    write_wav(folder / f"{label(source)}_generated.wav", samples, pipeline.sample_rate)
    return {
        "executed_by": pipeline.net.detail,
        "sample_rate": pipeline.sample_rate,
        "samples": samples.size,
        "frames": mel.shape[1],
    } | facts


def timed_stream(
    pipeline: Vocoder, mel: NDArray[Any], chunk: int
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Audio (samples,) of a mel that is pushed a chunk at a time, and what that took.

    Returns:
        the audio; and `stream`: frames of a chunk, latency of the net in ms, work until the first audio in
        ms, the longest and the mean work of a push that gave audio in ms, and seconds of work for a second of
        audio.
    """
    streaming = StreamingVocoder(pipeline, chunk=chunk)
    pieces, took = [], []
    began = time.perf_counter()
    first = None
    for start in range(0, mel.shape[1], chunk):
        before = time.perf_counter()
        piece = streaming.push(mel[:, start : start + chunk])
        now = time.perf_counter()
        if piece.size:
            first = now - began if first is None else first
            took.append(now - before)
        pieces.append(piece)
    before = time.perf_counter()
    pieces.append(streaming.flush())
    now = time.perf_counter()
    took.append(now - before)
    samples = np.concatenate(pieces)
    facts = {
        "chunk_frames": streaming.chunk,
        "latency_ms": 1e3 * streaming.latency / pipeline.sample_rate,
        "first_audio_ms": 1e3 * (now - began if first is None else first),
        "worst_chunk_ms": 1e3 * max(took),
        "mean_chunk_ms": 1e3 * sum(took) / len(took),
        "real_time_factor": (now - began) * pipeline.sample_rate / max(1, samples.size),
    }
    return samples, {"stream": facts}


def _told(facts: dict[str, Any]) -> str:
    words = f"stream in chunks of {facts['chunk_frames']} frames: latency {facts['latency_ms']:.1f} ms"
    words += f", first audio after {facts['first_audio_ms']:.1f} ms of work"
    words += f", longest chunk {facts['worst_chunk_ms']:.1f} ms, mean {facts['mean_chunk_ms']:.1f} ms"
    return f"{words}, {facts['real_time_factor']:.3f} of real time"
