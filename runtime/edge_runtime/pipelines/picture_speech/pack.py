"""The reference pack of `picture-speech`: picture, mel and sound, for developers of a port."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.image_speech.picture import BRIGHTEST, DARKEST, FRONT_END
from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech

TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array

_DESCRIPTION = (
    "Every stage from a picture to speech. A port that starts from picture.npy and writes arrays of the same "
    "names can be checked number by number: `edge-export check THIS_FOLDER YOUR_FOLDER`. All arrays are "
    "numpy .npy files, little-endian, C order."
)


def write_pack(pipeline: PictureSpeech, folder: Path, source: Path) -> None:
    """Fill a folder: picture.npy (256, T), mel.npy (256, T), wav.npy (160 T,), generated.wav, and JSON.

    Raises:
        InputError: the file cannot be processed; the error names it.
    """
    picture = pipeline.read(source)
    with pack.naming(source):
        result = pipeline.process(picture.values)
    arrays = {"picture": result.picture, "mel": result.mel, "wav": result.samples}
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    write_wav(folder / "generated.wav", result.samples, pipeline.sample_rate)
    pack.write_json(
        folder / "metadata.json",
        {
            "source": source.name,
            "taken": picture.told,
            "sample_rate": pipeline.sample_rate,
            "front_end": FRONT_END.to_json(),
            "arrays": {
                stage: {
                    "shape": list(values.shape),
                    "value_range": [float(values.min()), float(values.max())],
                }
                for stage, values in arrays.items()
            },
        },
    )
    meanings = {
        "picture": "0 to 1, row 0 the highest band",
        "mel": f"natural logarithm, row 0 the lowest band: {DARKEST:.6f} + {BRIGHTEST - DARKEST:.6f} * "
        "picture, rows in reverse",
        "wav": f"samples at {pipeline.sample_rate} Hz, 160 for each column",
    }
    pack.write_instructions(
        folder,
        "the pipeline from a picture to speech",
        _DESCRIPTION,
        [
            "Compute mel.npy of picture.npy by the formula under files.",
            f"Make the sound of mel.npy ({pipeline.speaker.detail}); where its peak is above 0.98, scale it "
            "to 0.98; compare with wav.npy.",
            "Keep the largest absolute difference at or below 1e-3; `edge-export check` exits with 1 "
            "otherwise.",
        ],
        {
            f"{stage}.npy": f"{values.shape} {values.dtype}, {meanings[stage]}"
            for stage, values in arrays.items()
        }
        | {"generated.wav": "wav.npy as a 16-bit file", "metadata.json": "settings, shapes, value ranges"},
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        _provenance(pipeline),
    )


def _provenance(pipeline: PictureSpeech) -> dict[str, object]:
    vocoder = pipeline.speaker.vocoder
    if vocoder is None:
        return {"executed_by": pipeline.speaker.detail}
    return pack.provenance(vocoder.net.manifest, vocoder.net.detail, vocoder.net.precision)
