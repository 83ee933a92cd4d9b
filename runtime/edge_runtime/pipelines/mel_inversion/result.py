"""What ``edge-export run mel-inversion`` writes: the audio, its stages, pictures of them, and measures.

prediction.wav    the result, 16 bits; float32 where it exceeds full scale
mel.npy           (n_mels, frames), in the unit of the front end
magnitude.npy     (bins, frames), of the signal as the front end conditioned it
mel.png  magnitude.png  prediction.png    low frequencies at the bottom; the last two over 80 dB
metrics.json      where the input was audio: how near the magnitude and the result are to it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.compare import json_number
from edge_runtime.dsp.long_griffin_lim import Columns
from edge_runtime.dsp.perceptual import judge
from edge_runtime.dsp.spectral import Array
from edge_runtime.media.audio import Audio, Subtype, write_wav
from edge_runtime.media.pictures import averaged, spectrogram_picture, write_png
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.mel_inversion.pipeline import PIECE, LongInversion, MelInversion
from edge_runtime.store.column_files import ColumnFile

RANGE_DB = 80.0  # of the pictures


def write_result(pipeline: MelInversion, folder: Path, source: Path) -> dict[str, Any]:
    """Run the pipeline on a file and fill the folder; returns the entries for metadata.json."""
    with ExitStack() as files:

        def room(stage: str, shape: tuple[int, int]) -> ColumnFile:
            # the estimate beside a net is not among the results: a nameless file while the figures need it
            path = folder / "magnitude.npy" if stage == "magnitude" else None
            return files.enter_context(ColumnFile(path, shape, folder=folder))

        result, audio = pipeline.process_long_file(source, room)
        loudest = max(float(result.samples.max()), -float(result.samples.min()))
        encoding: Subtype = "pcm16" if loudest <= 1 else "float32"
        write_wav(folder / "prediction.wav", result.samples, pipeline.sample_rate, encoding)
        np.save(folder / "mel.npy", result.mel)
        write_png(folder / "mel.png", spectrogram_picture(result.mel))
        write_png(folder / "magnitude.png", _picture(lambda: _columns(result.magnitude)))
        with pack.naming(source):
            write_png(folder / "prediction.png", _picture(lambda: pipeline.spectrum(result.samples)))
            if audio is not None:
                pack.write_json(folder / "metrics.json", _metrics(pipeline, audio, result))
    return {
        "executed_by": pipeline.executed_by,
        "sample_rate": pipeline.sample_rate,
        "samples": result.samples.size,
        "frames": result.mel.shape[1],
        "phase": pipeline.phase,
        "iterations": pipeline.iterations,
        "updates": pipeline.updates,
        "encoding": encoding,
        "level": "of the mel" if result.level_known else "not in the mel: the peak is 0.95",
        "front_end": pipeline.front_end.to_json(),
    }


def _columns(magnitude: Columns) -> Iterator[Array]:
    for start in range(0, magnitude.shape[1], PIECE):
        yield np.asarray(magnitude[:, start : start + PIECE])


def _picture(pieces: Callable[[], Iterable[Array]]) -> Array:
    """Decibels below the largest value, of a magnitude that comes in pieces along time."""
    largest, frames = 0.0, 0
    for piece in pieces():
        largest, frames = max(largest, float(piece.max())), frames + piece.shape[1]
    lowest = 10 ** (-RANGE_DB / 20)
    decibels = (20 * np.log10(np.maximum(piece / (largest or 1.0), lowest)) for piece in pieces())
    return spectrogram_picture(averaged(decibels, frames), -RANGE_DB, 0.0)


def _metrics(pipeline: MelInversion, audio: Audio, result: LongInversion) -> dict[str, Any]:
    figures: dict[str, dict[str, Any]] = {
        stage: {name: json_number(value) for name, value in values.items()}
        for stage, values in pipeline.measure(audio.samples, result).items()
    }
    figures["result"] |= judge(audio.samples, result.samples, audio.sample_rate)
    return figures
