"""Raw recordings → one subject's file, as `edge_runtime.pipelines.ecog_speech.recordings` describes it.

`raw_recording` says what a raw recording holds.

    broadband    → 70 … 150 Hz, Hilbert envelope, 512 Hz
    envelope     → at most 30 µV → 125 Hz (125/512) → z-scores over 0.25 … 0.05 s before each stimulus, or
                 else onset → at most 5 → one mean and deviation over all → bad electrodes 0 → grid → smoothed
                 along time (Savitzky and Golay, 11 frames, order 3)
    audio        → 16 kHz, 128 samples a frame → power spectrogram in scaled dB; background before the words
    pitch, formants, intensity: through praat-parselmouth, where it is installed

Source: neural_speech_decoding's description of its preparation, Chen and others 2024.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, resample_poly, savgol_filter, sosfiltfilt

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.ecog_speech.grids import arrange, check_grid
from edge_runtime.pipelines.ecog_speech.recordings import HOP, Recording, background, write_recording
from edge_training.ecog_speech.praat import labels_of
from edge_training.ecog_speech.raw_recording import (
    ENVELOPE_RATE,
    RawRecording,
    checked,
    read_entries,
)

AUDIO_RATE, FRAME_RATE = 16000, 125  # Hz
BAND = (70.0, 150.0)  # Hz
LARGEST, TRIM = 30.0, 5.0  # of the envelope, µV; of z-scores
BASELINE = (0.25, 0.05)  # s before the stimulus
SMOOTHING = (11, 3)  # frames and order

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EcogPreparation:
    """The settings of `prepare_ecog`."""

    bins: int = 256
    female: bool = True
    bad: tuple[int, ...] = ()
    quarter_turns: int = 0  # of a hybrid grid
    praat: bool = True  # pitch, formants and intensity, where parselmouth is installed
    envelope: bool = False  # of high gamma in an EDF or BrainVision file, not broadband

    def __post_init__(self) -> None:
        if self.bins not in (256, 512):
            raise ConfigError("bins", got=str(self.bins), expected="256 or 512")


def prepare_ecog(
    source: str | os.PathLike[str], out: str | os.PathLike[str], preparation: EcogPreparation
) -> Recording:
    """Prepare a raw recording and write the file; returns what was written.

    Raises:
        InputError: entries that are missing, disagree or are not numbers; trials outside the recording.
        ConfigError: another name of `out` than NAME.h5, a bad electrode that does not exist.
        BackendError: a library that the format needs is missing.
    """
    path = Path(source)
    if Path(out).suffix != ".h5":
        raise ConfigError(
            "--out",
            got=os.fspath(out),
            expected="a file's name that ends in .h5",
            cause="training takes the .h5 files of its folder",
        )
    entries = read_entries(path, envelope=preparation.envelope)
    try:
        recording = prepared(path.stem, entries, preparation)
    except InputError as error:
        raise error.within(str(path)) from error
    write_recording(out, recording)
    return recording


def prepared(name: str, entries: Mapping[str, Any], preparation: EcogPreparation) -> Recording:
    """The recording made of raw arrays, which have the names and shapes that `raw_recording` describes."""
    raw = checked(entries)
    check_grid(raw.activity.shape[1], bad=preparation.bad)
    _refuse_flat(raw, preparation.bad)
    exact = raw.audio_rate
    wave = resample(raw.audio, exact.numerator, AUDIO_RATE * exact.denominator)
    frames = min(int(len(raw.activity) * FRAME_RATE / raw.rate), len(wave) // HOP)
    ends = np.rint(raw.offsets * FRAME_RATE).astype(np.int64)
    if frames < ends.max():
        raise InputError(
            "offsets",
            got=f"a response that ends at {raw.offsets.max():.2f} s",
            expected=f"at most {frames / FRAME_RATE:.2f} s, where the recording ends",
            cause="on- and offsets are seconds",
        )
    scored = _scored(_envelope(raw, preparation.bad), raw.stimuli)
    wave = wave[: frames * HOP]
    preset = PRESETS["ecog-256" if preparation.bins == 256 else "ecog-512"]
    spectrogram = MelFrontEnd(replace(preset, n_mels=None, clip=True))(wave).T[:frames]
    return Recording(
        name=name,
        ecog=_placed(scored[:frames], preparation),
        wave=wave,
        spectrogram=np.ascontiguousarray(spectrogram),
        starts=np.rint(raw.onsets * FRAME_RATE).astype(np.int64),
        ends=ends,
        labels=raw.labels,
        noise=background(spectrogram, np.rint(raw.stimuli * FRAME_RATE).astype(np.int64)),
        female=preparation.female,
        tasks=raw.tasks,
        **labels_of(wave, frames, female=preparation.female, wanted=preparation.praat),
    )


# ---- ECoG -------------------------------------------------------------------------------------------------


def high_gamma(broadband: NDArray[Any], rate: float) -> Floats:
    """(samples, E) at `rate` Hz → the envelope of 70 … 150 Hz at 512 Hz."""
    if rate <= 2 * BAND[1]:
        raise InputError("ecog_rate", got=f"{rate:g} Hz", expected=f"more than {2 * BAND[1]:g} Hz")
    sections = butter(4, BAND, "bandpass", fs=rate, output="sos")
    ratio = ENVELOPE_RATE / Fraction(rate).limit_denominator(100)

    def envelope(signal: NDArray[Any]) -> Floats:
        amplitude = np.abs(hilbert(sosfiltfilt(sections, np.asarray(signal, np.float64))))
        resampled = resample_poly(amplitude, ratio.numerator, ratio.denominator, padtype="mean")
        return np.asarray(np.maximum(resampled, 0), np.float32)

    # one electrode at a time: filtered and complex copies of all would be several times the recording
    return np.stack([envelope(signal) for signal in broadband.T], axis=1)


def _refuse_flat(raw: RawRecording, bad: tuple[int, ...]) -> None:
    good = np.setdiff1d(np.arange(raw.activity.shape[1]), bad)
    flat = good[np.ptp(raw.activity[:, good], axis=0) == 0]
    if flat.size:
        listed = ",".join(map(str, flat))
        raise InputError(
            "envelope" if raw.is_envelope else "broadband",
            got=f"one value alone in electrodes {listed}",
            expected="activity",
            cause=f"not connected? silence them with --bad {listed}",
        )


def _envelope(raw: RawRecording, bad: tuple[int, ...]) -> Floats:
    """(samples, E) at 512 Hz in µV."""
    values = np.asarray(raw.activity, np.float32) if raw.is_envelope else high_gamma(raw.activity, raw.rate)
    good = np.setdiff1d(np.arange(values.shape[1]), bad)
    levels = np.median(values[:, good], axis=0)
    if (levels > LARGEST).any():  # NaN is refused later, by its electrodes
        numbers = ", ".join(map(str, good[levels > LARGEST][:8]))
        raise InputError(
            "envelope" if raw.is_envelope else "broadband",
            got=f"high gamma of {np.nanmax(levels):.4g} µV (electrodes {numbers})",
            expected=f"a median of at most {LARGEST:g} µV in each electrode",
            cause="nanovolts, or steps of an amplifier: convert to µV; silence single electrodes with --bad",
        )
    return values


def _scored(envelope: Floats, stimuli: NDArray[np.float64]) -> Floats:
    """(frames, E) at 125 Hz, standard deviations of each electrode's own baseline, at most 5."""
    limited = np.minimum(envelope.astype(np.float64), LARGEST)
    # beyond its ends an envelope is not 0: it would begin and end many deviations below its baseline
    values = resample_poly(limited, FRAME_RATE, ENVELOPE_RATE, axis=0, padtype="mean")
    first, last = (np.rint((stimuli - before) * FRAME_RATE).astype(int) for before in BASELINE)
    rest = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    rest = rest[(rest >= 0) & (rest < len(values))]
    if rest.size < 2:
        raise InputError(
            "stimulus_onsets", got="none with a quarter of a second before it", expected="a baseline"
        )
    deviation = values[rest].std(0)
    scores = (values - values[rest].mean(0)) / np.where(deviation > 0, deviation, 1)
    return np.asarray(np.minimum(scores, TRIM), np.float32)


def _placed(scored: Floats, preparation: EcogPreparation) -> Floats:
    """One mean and deviation over all good electrodes; the grid; smoothed along time."""
    good = np.setdiff1d(np.arange(scored.shape[1]), preparation.bad)
    part = scored[:, good]
    broken = good[~np.isfinite(part).all(0)]
    if broken.size:
        listed = ",".join(map(str, broken))
        raise InputError(
            "envelope",
            got=f"NaN in electrodes {listed}",
            expected="numbers",
            cause=f"silence them with --bad {listed}",
        )
    values = (scored - part.mean()) / part.std()
    placed = arrange(values, bad=preparation.bad, quarter_turns=preparation.quarter_turns)
    return np.asarray(savgol_filter(placed, *SMOOTHING, axis=0), np.float32)
