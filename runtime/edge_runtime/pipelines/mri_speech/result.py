"""What ``edge-export run mri-speech`` writes, frame by frame; in mode "window" in constant memory.

NAME_generated.wav                 the speech, 16 bits
NAME_mel.npy                       (T, n_mels), dB of a power
NAME_mel_linear.npy                (T, n_mels), that power
NAME_mel_log.npy                   (T, n_mels), its natural logarithm, at least ln 1e-5: fed to the vocoder
NAME_mel.png  NAME_mel_log.png     pictures of both, low frequencies at the bottom
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_runtime.media.audio import WavWriter
from edge_runtime.media.pictures import Preview, write_png
from edge_runtime.media.video import VideoReader, open_video
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.mri_speech.pipeline import NET, MriSpeech
from edge_runtime.store.arrays import label
from edge_runtime.store.growing_arrays import ArrayWriter


def write_result(pipeline: MriSpeech, folder: Path, source: Path) -> dict[str, Any]:
    """Run the pipeline on a video and fill the folder; returns the entries for metadata.json.

    Raises:
        InputError: the video cannot be processed; the error names it.
    """
    stem, bands = folder / label(source), pipeline.n_mels
    previews = {"mel": Preview(bands), "mel_log": Preview(bands)}
    with (
        pack.naming(source),
        open_video(source, square=True) as reader,
        ArrayWriter(f"{stem}_mel.npy", (bands,)) as decibels,
        ArrayWriter(f"{stem}_mel_linear.npy", (bands,)) as linear,
        ArrayWriter(f"{stem}_mel_log.npy", (bands,)) as logs,
        WavWriter(f"{stem}_generated.wav", pipeline.sample_rate) as wav,
    ):

        def mels() -> Iterator[NDArray[Any]]:
            for mel, mel_log in pipeline.stream_mels(reader):
                decibels.write(mel)
                linear.write(10.0 ** (mel / 10.0))
                logs.write(mel_log)
                previews["mel"].add(mel)
                previews["mel_log"].add(mel_log)
                yield mel_log.T  # (k, n_mels) → (n_mels, k)

        for samples in pipeline.vocoder.stream(mels()):
            wav.write(samples)
            pipeline.progress(_seconds(wav.count / pipeline.sample_rate, reader, pipeline.clock))
    for name, preview in previews.items():
        write_png(f"{stem}_{name}.png", preview.picture())
    return {
        "executed_by": {
            NET: pipeline.net.detail,
            pipeline.vocoder.net.manifest.net: pipeline.vocoder.net.detail,
        },
        "sample_rate": pipeline.sample_rate,
        "samples": wav.count,
        "frames": decibels.count,
    } | pipeline.settings(pipeline.rate(reader))


def _seconds(done: float, reader: VideoReader, clock: float) -> str:
    whole = f" of about {reader.count / (reader.fps or clock):.1f} s" if reader.count else ""
    return f"{done:.1f} s of speech{whole}"
