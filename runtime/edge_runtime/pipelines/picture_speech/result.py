"""What ``edge-export run picture-speech`` writes.

NAME.wav         the speech, 16 bits, 160 samples for each column
NAME.npy         (256, T) float32 in 0 … 1, row 0 the highest band: the picture as it was taken
NAME_spec.png    the same, 8 bits
metrics.json     where the input was audio: PESQ and STOI against it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.perceptual import judge
from edge_runtime.media.audio import write_wav
from edge_runtime.media.pictures import write_png
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech
from edge_runtime.store.arrays import label


def write_result(pipeline: PictureSpeech, folder: Path, source: Path) -> dict[str, Any]:
    """Run on a file and fill the folder; returns the entries for metadata.json."""
    picture = pipeline.read(source)
    pipeline.progress(f"{source.name}: {picture.told}")
    with pack.naming(source):
        result = pipeline.process(picture.values)
    name = label(source).removesuffix("_spec")  # as `image-speech` names its pictures
    write_wav(folder / f"{name}.wav", result.samples, pipeline.sample_rate)
    np.save(folder / f"{name}.npy", result.picture)
    write_png(folder / f"{name}_spec.png", levels(result.picture))
    if picture.audio is not None:
        length = min(picture.audio.samples.size, result.samples.size)
        recording, made = picture.audio.samples[:length], result.samples[:length]
        pack.write_json(folder / "metrics.json", judge(recording, made, pipeline.sample_rate))
    imprinted = {}
    if pipeline.imprinted is not None:
        imprinted = {"imprint": pipeline.imprinted.name, "strength": pipeline.strength}
    return {
        "executed_by": pipeline.speaker.detail,
        "sample_rate": pipeline.sample_rate,
        "samples": result.samples.size,
        "frames": result.mel.shape[1],
        "taken": {"scale": picture.scale, "orientation": picture.orientation, "because": picture.because},
    } | imprinted


def levels(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of 0 … 1 as 8 bits."""
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)
