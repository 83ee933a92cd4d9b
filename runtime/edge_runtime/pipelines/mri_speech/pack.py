"""The reference pack of `mri-speech`: every stage from the video to the speech, for developers of a port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.media.audio import write_wav
from edge_runtime.media.video import open_video
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.mri_speech.pipeline import NET, MriSpeech, MriSpeechResult

TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array

_DESCRIPTION = (
    "Every stage from rtMRI video to speech. A port (Swift, Kotlin, C++) that starts from video.npy and "
    "writes arrays of the same names can be checked number by number: `edge-export check THIS_FOLDER "
    "YOUR_FOLDER`. All arrays are numpy .npy files, little-endian, C order."
)


def write_pack(pipeline: MriSpeech, folder: Path, source: Path) -> None:
    """Fill a folder with every stage of a video.

    video.npy (T, H, W), the pictures at the mel's frame rate; frames.npy (T, S, S), the net's input; mask.npy
    (S, S) where there is one; features.npy (T, C) where the pipeline has `features`; mel_standardised.npy,
    mel_db.npy and mel_log.npy, (T, n_mels) each; wav.npy (T · hop_length,); generated.wav, metadata.json and
    the instructions.

    Raises:
        InputError: the video cannot be processed; the error names it.
    """
    with pack.naming(source), open_video(source, square=True) as reader:
        pictures = [*pipeline.on_clock(reader)]
        if not pictures:
            raise InputError("frames", got="no frame", expected="at least one")
        video = np.stack(pictures)
        result = pipeline.process(video)
        fps = pipeline.rate(reader)
    arrays = _stages(video, result, pipeline)
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    write_wav(folder / "generated.wav", result.samples, pipeline.sample_rate)
    pack.write_json(folder / "metadata.json", _metadata(source.name, fps, arrays, pipeline))
    _write_instructions(folder, arrays, pipeline)


def _stages(video: NDArray[Any], result: MriSpeechResult, made_by: MriSpeech) -> dict[str, NDArray[Any]]:
    arrays = {
        "video": video,
        "frames": result.frames,
        "mel_standardised": result.standardised,
        "mel_db": result.mel,
        "mel_log": result.mel_log,
        "wav": result.samples,
    }
    weights = made_by.mask_weights(*video.shape[1:])
    if weights is not None:
        arrays["mask"] = weights
    if made_by.features is not None:
        arrays["features"] = made_by.features(result.frames)
    return arrays


def _metadata(
    name: str, fps: float | None, arrays: dict[str, NDArray[Any]], made_by: MriSpeech
) -> dict[str, Any]:
    return (
        {
            "source": name,
            "sample_rate": made_by.sample_rate,
            "hop_length": made_by.vocoder.hop_length,
            "n_mels": made_by.n_mels,
            "image_size": made_by.size,
            "mel_mean": made_by.mean.tolist(),
            "mel_std": made_by.std.tolist(),
            "front_end": made_by.front_end.to_json(),
        }
        | made_by.settings(fps)
        | {
            "arrays": {
                stage: {
                    "shape": list(values.shape),
                    "value_range": [float(values.min()), float(values.max())],
                }
                for stage, values in arrays.items()
            },
        }
    )


def _write_instructions(folder: Path, arrays: dict[str, NDArray[Any]], made_by: MriSpeech) -> None:
    meanings = {
        "video": f"pictures at {made_by.clock:.6g} per second, as they were decoded",
        "frames": "pictures as the net sees them, 0 to 1",
        "mask": "the factor by which each pixel of frames.npy was multiplied",
        "features": "inside of mri-acoustic: the mean of the last map of each picture, its LSTM's input",
        "mel_standardised": "the mri-acoustic net's output, standard deviations of each band",
        "mel_db": "mel power spectrogram, dB: mel_standardised * mel_std + mel_mean (metadata.json)",
        "mel_log": "ln(max(10^(mel_db / 10), 1e-5)): transposed, the vocoder's input",
        "wav": f"samples in [-1, 1] at {made_by.sample_rate} Hz: the vocoder's output",
    }
    scaling = {
        "full-scale": "divide by 255",
        "min-max": "map each frame's darkest pixel to 0, its brightest to 1; a constant frame is all zeros",
    }[made_by.scaling]
    once = "Feed frames.npy to mri-acoustic as (1, T, 1, S, S); compare with mel_standardised.npy."
    averaged = (
        f"Feed windows of {made_by.window} frames, one every {made_by.step} and one at the end, to "
        "mri-acoustic as (n, window, 1, S, S); average where they overlap; compare with mel_standardised.npy."
    )
    steps = [
        f"Reduce video.npy to {made_by.size}x{made_by.size} pixels, each the mean of the area it covers; "
        f"{scaling}; compare with frames.npy.",
        once if made_by.mode == "full" else averaged,
        "Compute mel_db.npy and mel_log.npy by the formulas under files.",
        f"Feed mel_log.npy, transposed to (1, n_mels, T), to {made_by.vocoder.net.manifest.net}; compare the "
        "samples with wav.npy.",
        "Keep the largest absolute difference at or below 1e-3 (`edge-export check` exits with 1 otherwise).",
    ]
    if "mask" in arrays:
        steps.insert(1, "Multiply by mask.npy: this is frames.npy.")
    files = {
        f"{stage}.npy": f"{values.shape} {values.dtype}, {meanings[stage]}"
        for stage, values in arrays.items()
    }
    files |= {"generated.wav": "wav.npy as a 16-bit file", "metadata.json": "settings, shapes, value ranges"}
    pack.write_instructions(
        folder,
        "the pipeline from rtMRI video to speech",
        _DESCRIPTION,
        steps,
        files,
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        {
            NET: pack.provenance(made_by.net.manifest, made_by.net.detail, made_by.net.precision),
            made_by.vocoder.net.manifest.net: pack.provenance(
                made_by.vocoder.net.manifest, made_by.vocoder.net.detail, made_by.vocoder.net.precision
            ),
        },
    )
