"""What ``edge-export run ecog-speech`` writes.

components.npz        the decoder's tensors by name, each (rows, T)
spectrogram.npy       (T, F), scaled dB: −1 is the floor, 1 the top
NAME_wave.wav         speech from the parameters, 16 kHz; float32 where it exceeds full scale
NAME_fgla.wav         speech from the spectrogram
spectrogram.png       the decoded spectrogram; below it the true one, where the file has it
formants.png          formants and pitch drawn on the decoded spectrogram
metrics.json          where the file holds the speech: correlation, MCD, STOI⁺, errors of pitch and loudness
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.compare import json_number
from edge_runtime.media.audio import Subtype, write_wav
from edge_runtime.media.pictures import spectrogram_picture, write_png
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.ecog_speech.measures import (
    correlation,
    mel_cepstral_distortion,
    stoi_plus,
)
from edge_runtime.pipelines.ecog_speech.pipeline import SAMPLE_RATE, EcogSpeech, EcogSpeechResult
from edge_runtime.pipelines.ecog_speech.recordings import FRAMES, HOP, Recording, power_of

NYQUIST = SAMPLE_RATE / 2
# red green blue of f0 and F1 … F6
COLOURS = (
    (255, 255, 255),
    (255, 80, 80),
    (255, 170, 60),
    (255, 240, 80),
    (255, 120, 220),
    (240, 60, 160),
    (200, 200, 255),
)


def write_result(pipeline: EcogSpeech, folder: Path, source: Path) -> dict[str, Any]:
    """Run on a recording or an array and fill the folder; returns the entries for metadata.json."""
    result, recording = pipeline.process_file(source)
    arrays: dict[str, Any] = dict(result.parameters)
    np.savez(folder / "components.npz", **arrays)
    np.save(folder / "spectrogram.npy", result.spectrogram)
    for kind, samples in (("wave", result.wave), ("fgla", result.fgla)):
        if samples is not None:
            encoding: Subtype = "pcm16" if np.abs(samples).max() <= 1 else "float32"
            write_wav(folder / f"{source.stem}_{kind}.wav", samples, SAMPLE_RATE, encoding)
    true = None if recording is None else _truth(pipeline, recording)
    write_png(folder / "spectrogram.png", picture_of(result.spectrogram, true))
    write_png(folder / "formants.png", formant_picture(result))
    if recording is not None:
        pack.write_json(folder / "metrics.json", measure(pipeline, result, recording))
    return {
        "executed_by": {
            "ecog-decoder": pipeline.decoder.detail,
            "formant-synthesizer": pipeline.synthesizer.detail,
        },
        "sample_rate": SAMPLE_RATE,
        "frames": len(result.spectrogram),
        "phase": pipeline.phase,
        "seed": pipeline.seed,
        "trial": None if recording is None else pipeline.trial or 0,
        "label": None if recording is None else recording.labels[pipeline.trial or 0],
        "silenced": list(pipeline.bad),
    }


def _truth(pipeline: EcogSpeech, recording: Recording) -> NDArray[np.float32]:
    first = pipeline.first_frame(recording)
    return recording.spectrogram[first : first + FRAMES]


def measure(pipeline: EcogSpeech, result: EcogSpeechResult, recording: Recording) -> dict[str, Any]:
    """How near a trial is to its recording; null for figures that cannot be computed."""
    first = pipeline.first_frame(recording)
    true, made = _truth(pipeline, recording), result.spectrogram
    heard = recording.wave[first * HOP : (first + FRAMES) * HOP]
    samples = result.wave if result.wave is not None else result.fgla
    assert samples is not None
    powers = [power_of(x, *pipeline.limits) for x in (made, true)]
    figures: dict[str, Any] = {
        "pcc": correlation(made, true),
        "mcd_db": mel_cepstral_distortion(*powers),
        "stoi_plus": stoi_plus(samples, heard),
        "loudness_error_db": float(np.mean(np.abs(_level(powers[0]) - _level(powers[1])))),
    }
    if recording.pitch is not None:
        pitch = recording.pitch[first : first + FRAMES]
        voiced = pitch > 0
        error = np.abs(result.parameters["f0_hz"][0] - pitch)[voiced]
        figures["f0_error_hz"] = float(error.mean()) if error.size else float("nan")
    return {name: json_number(value) for name, value in figures.items()} | {
        "pooling": "pcc: all values of the trial's 128 frames of scaled dB"
    }


def _level(power: NDArray[Any]) -> NDArray[np.float64]:
    """dB of each frame."""
    return np.asarray(10 * np.log10(power.sum(1)))


def picture_of(made: NDArray[Any], true: NDArray[Any] | None) -> NDArray[np.uint8]:
    """Spectrograms (T, F) as a picture, the decoded one above."""
    above = spectrogram_picture(made.T, -1.0, 1.0)
    if true is None:
        return above
    line = np.full((4, above.shape[1], 3), 255, np.uint8)
    return np.concatenate([above, line, spectrogram_picture(true.T, -1.0, 1.0)])


def formant_picture(result: EcogSpeechResult) -> NDArray[np.uint8]:
    """Spectrogram with pitch (white) and formants, where there is sound: uint8 (H, W, 3)."""
    picture = spectrogram_picture(result.spectrogram.T, -1.0, 1.0, "grey")
    height, width = picture.shape[:2]
    frames = len(result.spectrogram)
    tracks = np.concatenate([result.parameters["f0_hz"], result.parameters["freq_formants_hamon_hz"]])
    heard = result.spectrogram.max(1) > -0.8
    for frame in np.flatnonzero(heard):
        for track, colour in zip(tracks[:, frame], COLOURS, strict=True):
            row = height - 1 - min(height - 1, int(track / NYQUIST * height))
            # several pixels a frame, or several frames a pixel
            first, last = frame * width // frames, (frame + 1) * width // frames
            picture[row, first : max(last, first + 1)] = colour
    return picture
