"""What ``edge-export run ecog-speech`` writes.

components.npz        the decoder's tensors by name, each (rows, T)
spectrogram.npy       (T, F), scaled dB: −1 is the floor, 1 the top
NAME_wave.wav         speech from the parameters, 16 kHz; float32 where it exceeds full scale
NAME_fgla.wav         speech from the spectrogram
spectrogram.png       the decoded spectrogram; below it the true one, where the file has it
formants.png          formants and pitch drawn on the decoded spectrogram
metrics.json          where the file holds the speech: correlation, MCD, STOI⁺, errors of loudness, and in
                      voiced frames of pitch and of F1 … F4, where the file has them
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
from edge_runtime.pipelines.ecog_speech.recordings import Excerpt, power_of

HEARD_FORMANTS = 4  # F1 … F4
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
    result, trial = pipeline.process_file(source)
    arrays: dict[str, Any] = dict(result.parameters)
    np.savez(folder / "components.npz", **arrays)
    np.save(folder / "spectrogram.npy", result.spectrogram)
    for kind, samples in (("wave", result.wave), ("fgla", result.fgla)):
        if samples is not None:
            encoding: Subtype = "pcm16" if np.abs(samples).max() <= 1 else "float32"
            write_wav(folder / f"{source.stem}_{kind}.wav", samples, SAMPLE_RATE, encoding)
    true = None if trial is None else trial.spectrogram
    write_png(folder / "spectrogram.png", picture_of(result.spectrogram, true))
    write_png(folder / "formants.png", formant_picture(result))
    if trial is not None:
        pack.write_json(folder / "metrics.json", measure(pipeline, result, trial))
    return {
        "executed_by": {
            "ecog-decoder": pipeline.decoder.detail,
            "formant-synthesizer": pipeline.synthesizer.detail,
        },
        "sample_rate": SAMPLE_RATE,
        "frames": len(result.spectrogram),
        "phase": pipeline.phase,
        "seed": pipeline.seed,
        "trial": None if trial is None else trial.trial,
        "label": None if trial is None else trial.label,
        "silenced": list(pipeline.bad),
    }


def measure(pipeline: EcogSpeech, result: EcogSpeechResult, trial: Excerpt) -> dict[str, Any]:
    """How near a trial is to its recording; null for figures that cannot be computed."""
    true, made = trial.spectrogram, result.spectrogram
    samples = result.wave if result.wave is not None else result.fgla
    assert samples is not None
    powers = [power_of(x, *pipeline.limits) for x in (made, true)]
    figures: dict[str, Any] = {
        "pcc": correlation(made, true),
        "mcd_db": mel_cepstral_distortion(*powers),
        "stoi_plus": stoi_plus(samples, trial.wave),
        "loudness_error_db": float(np.mean(np.abs(_level(powers[0]) - _level(powers[1])))),
    }
    if trial.pitch is not None:
        voiced = trial.pitch > 0
        figures["f0_error_hz"] = _error(result.parameters["f0_hz"][0] - trial.pitch, voiced)
        if trial.formants is not None:
            made_hz, true_hz = (
                values[:HEARD_FORMANTS, voiced]
                for values in (result.parameters["freq_formants_hamon_hz"], trial.formants.T)
            )
            figures["formant_error_hz"] = _error(made_hz - true_hz, np.isfinite(true_hz))
    return {name: json_number(value) for name, value in figures.items()} | {
        "pooling": "pcc: all values of the trial's 128 frames of scaled dB"
    }


def _error(difference: NDArray[Any], where: NDArray[np.bool_]) -> float:
    """Mean size of a difference at some of its places; nan where there are none."""
    return float(np.abs(difference[where]).mean()) if where.any() else float("nan")


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
