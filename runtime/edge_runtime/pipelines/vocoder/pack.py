"""The reference pack of `vocoder`: the net's input and output, for developers of a port."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.vocoder.pipeline import Vocoder

TOLERANCE = 1e-3  # what `edge-export check` allows by default

_DESCRIPTION = (
    "Input and output of the vocoder. A port that feeds mel.npy to the net and writes its samples as wav.npy "
    "can be checked number by number: `edge-export check THIS_FOLDER YOUR_FOLDER`. All arrays are numpy .npy "
    "files, little-endian, C order."
)


def write_pack(pipeline: Vocoder, folder: Path, source: Path) -> None:
    """Fill a folder: mel.npy (n_mels, frames) float32, wav.npy (samples,) float32, and JSON.

    Args:
        pipeline: computes the samples.
        folder: an empty one.
        source: a mel, a .npy file of (n_mels, frames), or an audio file; then the pack also holds
            reference_audio.wav, the samples that the mel was made from, and the mel is computed in float64.

    Raises:
        InputError: the file cannot be processed; the error names it.
    """
    values, audio = pipeline.read_mel(source, "float64")
    with pack.naming(source):
        samples = pipeline.synthesize(values)
    mel = values.astype(np.float32)
    np.save(folder / "mel.npy", mel)
    np.save(folder / "wav.npy", samples)
    if audio is not None:
        pack.write_audio(folder / pack.AUDIO, audio)
    pack.write_json(
        folder / "metadata.json",
        {
            "source": source.name,
            "sample_rate": pipeline.sample_rate,
            "hop_length": pipeline.hop_length,
            "n_mels": pipeline.n_mels,
            "mel_shape": list(mel.shape),
            "wav_shape": list(samples.shape),
            "mel_value_range": [float(mel.min()), float(mel.max())],
            "wav_value_range": [float(samples.min()), float(samples.max())],
            "front_end": pipeline.front_end.to_json(),
        },
    )
    _write_instructions(folder, mel.shape, len(samples), pipeline, with_audio=audio is not None)


def _write_instructions(
    folder: Path, shape: tuple[int, ...], samples: int, pipeline: Vocoder, *, with_audio: bool
) -> None:
    files = {
        "mel.npy": f"{shape} float32, natural logarithm of mel magnitudes: the net's input",
        "wav.npy": f"({samples},) float32 in [-1, 1] at {pipeline.sample_rate} Hz: the net's output",
        "metadata.json": "shapes, value ranges, and the front end's settings",
    }
    before, after = pipeline.context
    steps = [
        "Feed mel.npy to the net as (1, n_mels, frames) and compare the samples with wav.npy.",
        f"Where the net runs in pieces, give each piece {before} frames of the one before it and {after} of "
        f"the one after, and drop their {pipeline.hop_length} samples per frame: the result is the same.",
        "Keep the largest absolute difference at or below 1e-3 (`edge-export check` exits with 1 otherwise).",
        "Clip before converting to 16 bits: +1.0 times 32768 does not fit.",
    ]
    if with_audio:
        files[pack.AUDIO] = f"the samples that mel.npy was made from, {pipeline.sample_rate} Hz, one channel"
        steps.insert(
            0, "Compute the mel of reference_audio.wav (front_end in metadata.json); compare with mel.npy."
        )
    pack.write_instructions(
        folder,
        "the vocoder",
        _DESCRIPTION,
        steps,
        files,
        {
            "mel": {"shape": list(shape)},
            "wav": {"shape": [samples], "value_range": [-1.0, 1.0]},
            "numerical_tolerance": TOLERANCE,
        },
        pack.provenance(pipeline.net.manifest, pipeline.net.detail, pipeline.net.precision),
    )
