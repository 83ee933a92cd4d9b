"""Raw recordings → one subject's file, as `edge_runtime.pipelines.ecog_speech.recordings` describes it.

    RAW.npz or RAW.h5     envelope (samples, E) at 512 Hz, or broadband (samples, E) at any rate
                          audio (samples,), audio_rate, ecog_rate in Hz
                          onsets, offsets (trials,) of the spoken responses in seconds, labels (trials,)
                          stimulus_onsets (trials,) in seconds, tasks (trials,): optional
                          events (trials,): codes 1, 2 and 4 mark bad trials, which are left out; optional
    RAW.edf, .vhdr        broadband through mne, where it is installed; audio and the rest in an .npz beside

    broadband    → 70 … 150 Hz, Hilbert envelope, 512 Hz
    envelope     → at most 30 → 125 Hz (125/512) → z-scores over 0.25 … 0.05 s before each stimulus, or else
                 onset → at most 5 → one mean and deviation over all → bad electrodes 0 → grid → smoothed
                 along time (Savitzky and Golay, 11 frames, order 3)
    audio        → 16 kHz, 128 samples a frame → power spectrogram in scaled dB; background before the words
    pitch, formants, intensity: through praat-parselmouth, where it is installed

Source: neural_speech_decoding's description of its preparation, Chen and others 2024.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, resample_poly, savgol_filter, sosfiltfilt

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.pipelines.ecog_speech.grids import arrange
from edge_runtime.pipelines.ecog_speech.recordings import (
    HOP,
    Recording,
    background,
    import_h5py,
    write_recording,
)
from edge_runtime.store.reading import read_archive, regular_file
from edge_training.ecog_speech.praat import labels_of

AUDIO_RATE, FRAME_RATE, ENVELOPE_RATE = 16000, 125, 512  # Hz
BAND = (70.0, 150.0)  # Hz
LARGEST, TRIM = 30.0, 5.0  # of the envelope; of z-scores
BASELINE = (0.25, 0.05)  # s before the stimulus
SMOOTHING = (11, 3)  # frames and order
BAD_EVENTS = frozenset({1, 2, 4})

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EcogPreparation:
    """The settings of `prepare_ecog`."""

    bins: int = 256
    female: bool = True
    bad: tuple[int, ...] = ()
    quarter_turns: int = 0  # of a hybrid grid
    praat: bool = True  # pitch, formants and intensity, where parselmouth is installed

    def __post_init__(self) -> None:
        if self.bins not in (256, 512):
            raise ConfigError("bins", got=str(self.bins), expected="256 or 512")


def prepare_ecog(
    source: str | os.PathLike[str], out: str | os.PathLike[str], preparation: EcogPreparation
) -> Recording:
    """Prepare a raw recording and write the file; returns what was written.

    Raises:
        InputError: entries that are missing, disagree or are not numbers; trials outside the recording.
        BackendError: a library that the format needs is missing.
    """
    path = Path(source)
    raw = read_raw(path)
    try:
        recording = prepared(path.stem, raw, preparation)
    except InputError as error:
        raise error.within(str(path)) from error
    write_recording(out, recording)
    return recording


def prepared(name: str, raw: Mapping[str, Any], preparation: EcogPreparation) -> Recording:
    """The recording made of raw arrays, which have the names and shapes above."""
    onsets, offsets, labels, tasks, stimuli = _trials(raw)
    envelope = _envelope(raw)
    audio = np.asarray(raw["audio"], np.float32).reshape(-1)
    wave = resample(audio, int(raw["audio_rate"]), AUDIO_RATE)
    scored = _scored(envelope, stimuli)
    frames = min(len(scored), len(wave) // HOP)
    ends = np.rint(offsets * FRAME_RATE).astype(np.int64)
    if frames < ends.max():
        raise InputError(
            "offsets",
            got=f"a response that ends at {offsets.max():.2f} s",
            expected=f"at most {frames / FRAME_RATE:.2f} s, where the recording ends",
        )
    wave = wave[: frames * HOP]
    preset = PRESETS["ecog-256" if preparation.bins == 256 else "ecog-512"]
    spectrogram = MelFrontEnd(replace(preset, n_mels=None, clip=True))(wave).T[:frames]
    starts = np.rint(onsets * FRAME_RATE).astype(np.int64)
    return Recording(
        name=name,
        ecog=_placed(scored[:frames], preparation),
        wave=wave,
        spectrogram=np.ascontiguousarray(spectrogram),
        starts=starts,
        ends=ends,
        labels=labels,
        noise=background(spectrogram, np.rint(stimuli * FRAME_RATE).astype(np.int64)),
        female=preparation.female,
        tasks=tasks,
        **labels_of(wave, frames, wanted=preparation.praat),
    )


# ---- ECoG -------------------------------------------------------------------------------------------------


def high_gamma(broadband: NDArray[Any], rate: float) -> Floats:
    """(samples, E) at `rate` Hz → the envelope of 70 … 150 Hz at 512 Hz."""
    if rate <= 2 * BAND[1]:
        raise InputError("ecog_rate", got=f"{rate:g} Hz", expected=f"more than {2 * BAND[1]:g} Hz")
    sections = butter(4, BAND, "bandpass", fs=rate, output="sos")
    envelope = np.abs(hilbert(sosfiltfilt(sections, broadband, axis=0), axis=0))
    up, down = ENVELOPE_RATE * 100, round(rate * 100)
    factor = int(np.gcd(up, down))
    resampled = resample_poly(envelope, up // factor, down // factor, axis=0)
    return np.asarray(np.maximum(resampled, 0), np.float32)


def _envelope(raw: Mapping[str, Any]) -> Floats:
    if "envelope" in raw:
        if int(raw.get("ecog_rate", ENVELOPE_RATE)) != ENVELOPE_RATE:
            raise InputError(
                "ecog_rate",
                got=f"{raw['ecog_rate']} Hz",
                expected=f"{ENVELOPE_RATE} Hz of an envelope",
                cause="give the broadband signal as `broadband` to have its envelope made",
            )
        return np.asarray(raw["envelope"], np.float32)
    return high_gamma(np.asarray(raw["broadband"], np.float64), float(raw["ecog_rate"]))


def _scored(envelope: Floats, stimuli: NDArray[np.float64]) -> Floats:
    """(frames, E) at 125 Hz, standard deviations of each electrode's own baseline, at most 5."""
    if envelope.ndim != 2:
        raise InputError("envelope", got=f"shape {envelope.shape}", expected="(samples, electrodes)")
    limited = np.minimum(envelope.astype(np.float64), LARGEST)
    values = resample_poly(limited, FRAME_RATE, ENVELOPE_RATE, axis=0)
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


# ---- reading ----------------------------------------------------------------------------------------------

REQUIRED = ("audio", "audio_rate", "onsets", "offsets", "labels")


def read_raw(path: Path) -> dict[str, Any]:
    """The arrays of a raw recording; see above.

    Raises:
        InputError: another format, or an entry that is missing.
        BackendError: no mne (EDF, BrainVision) or no h5py.
    """
    suffix = path.suffix.lower()
    regular_file(path, ".npz, .h5, .edf or .vhdr")
    if suffix == ".npz":
        raw: dict[str, Any] = {**read_archive(path)}
    elif suffix in (".h5", ".hdf5"):
        with import_h5py("reading HDF5").File(path, "r") as file:
            raw = {name: file[name][()] for name in file}
    elif suffix in (".edf", ".vhdr", ".bdf"):
        raw = _read_mne(path)
    else:
        raise InputError(str(path), got=suffix or "no suffix", expected=".npz, .h5, .edf or .vhdr")
    missing = [name for name in REQUIRED if name not in raw]
    if missing or not {"envelope", "broadband"} & set(raw):
        lacking = ", ".join([*missing, *([] if {"envelope", "broadband"} & set(raw) else ["envelope"])])
        raise InputError(
            str(path),
            got=f"no {lacking}; there are {', '.join(sorted(raw)) or 'none'}",
            expected="all of them",
        )
    return raw


def _read_mne(path: Path) -> dict[str, Any]:
    try:
        mne: Any = importlib.import_module("mne")
    except ImportError as error:
        raise BackendError(
            f"reading {path.suffix}", got="no module named mne", expected="mne", cause="pip install mne"
        ) from error
    reader = mne.io.read_raw_brainvision if path.suffix.lower() == ".vhdr" else mne.io.read_raw
    signal = reader(path, preload=True, verbose="error")
    raw: dict[str, Any] = {"broadband": signal.get_data().T, "ecog_rate": float(signal.info["sfreq"])}
    beside = path.with_suffix(".npz")
    if beside.is_file():
        raw |= read_archive(beside)
    return raw


def _trials(
    raw: Mapping[str, Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
    """Onsets, offsets, labels, tasks, stimulus onsets of the good trials."""
    onsets, offsets = (np.asarray(raw[name], np.float64).reshape(-1) for name in ("onsets", "offsets"))
    stimuli = np.asarray(raw.get("stimulus_onsets", onsets), np.float64).reshape(-1)
    texts = {name: _texts(raw.get(name, ())) for name in ("labels", "tasks")}
    for name, count in (
        ("offsets", len(offsets)),
        ("stimulus_onsets", len(stimuli)),
        ("labels", len(texts["labels"])),
        ("tasks", len(texts["tasks"]) or len(onsets)),
    ):
        if count != len(onsets):
            raise InputError(name, got=f"{count}", expected=f"{len(onsets)}, one for each onset")
    if not len(onsets) or (offsets <= onsets).any() or (onsets < 0).any():
        raise InputError("onsets", got="a response that ends before it begins, or none", expected="seconds")
    events = np.asarray(raw.get("events", np.zeros(len(onsets))), int).reshape(-1)
    good = np.array([int(code) not in BAD_EVENTS for code in events], bool)
    chosen: Sequence[tuple[str, ...]] = [
        tuple(text for text, keep in zip(texts[name], good, strict=False) if keep)
        for name in ("labels", "tasks")
    ]
    return onsets[good], offsets[good], chosen[0], chosen[1], stimuli[good]


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for text in np.asarray(values).reshape(-1)
    )
