"""Raw recordings of ECoG and sound, read and checked.

RAW.npz or RAW.h5     envelope (samples, E) of high gamma at 512 Hz, or broadband (samples, E) at any rate,
                      both in µV; ecog_rate in Hz
                      audio (samples,), audio_rate in Hz
                      onsets, offsets (trials,) of the spoken responses in seconds, labels (trials,)
                      stimulus_onsets (trials,) in seconds, tasks (trials,): optional
                      events (trials,): codes 1, 2 and 4 mark bad trials, which are left out; optional
RAW.edf, .bdf, .vhdr  broadband, or the envelope if that is said, through mne, where it is installed; audio
                      and the rest in RAW.npz beside, and there, optional, channels (E,): which of the
                      file's, by name, in order; all of electrodes if not given
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, ConfigError, InputError, doubt, shown
from edge_runtime.pipelines.ecog_speech.recordings import import_h5py, text_of
from edge_runtime.store.hdf5 import find_dataset
from edge_runtime.store.reading import read_archive, regular_file

ENVELOPE_RATE = 512  # Hz
MICROVOLT = 1e6  # per volt
BAD_EVENTS = frozenset({1, 2, 4})
REQUIRED = ("audio", "audio_rate", "onsets", "offsets", "labels")
SIGNALS = ("envelope", "broadband")
ENTRIES = {*REQUIRED, *SIGNALS, "ecog_rate", "stimulus_onsets", "tasks", "events"}
FORMATS = ".npz, .h5, .edf, .bdf or .vhdr"
LARGEST_PEAK = 8.0  # of audio: 18 dB above full scale
ADRIFT = 1.0, 0.05  # s and share by which sound and ECoG may differ in length without a doubt
NEGATIVE = 0.01  # share of an envelope's values below 0: ringing of a filter leaves fewer

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RawRecording:
    """Arrays that agree with each other; bad trials are left out."""

    activity: NDArray[Any]  # (samples, E) µV; NaN where an electrode is lost
    rate: float  # Hz
    is_envelope: bool
    audio: NDArray[np.float32]  # (samples,) of full scale 1
    audio_rate: Fraction  # Hz
    onsets: Doubles  # (trials,) s
    offsets: Doubles
    stimuli: Doubles
    labels: tuple[str, ...]
    tasks: tuple[str, ...]  # () where they are not given


def read_entries(path: Path, *, envelope: bool = False) -> dict[str, Any]:
    """The arrays of a file by the names above.

    Args:
        path: of the file.
        envelope: an EDF or BrainVision file holds the envelope.

    Raises:
        InputError: another format, a damaged file, an entry that is missing.
        ConfigError: `envelope` for a file that names its arrays.
        BackendError: no mne (EDF, BrainVision) or no h5py.
    """
    suffix = path.suffix.lower()
    regular_file(path, FORMATS)
    if suffix in (".edf", ".vhdr", ".bdf"):
        entries = _read_mne(path, SIGNALS[0] if envelope else SIGNALS[1])
    elif envelope:
        raise ConfigError(
            "--envelope",
            got=f"a {suffix} file",
            expected=".edf, .bdf or .vhdr",
            cause="name the array envelope",
        )
    elif suffix == ".npz":
        entries = {**read_archive(path)}
    elif suffix in (".h5", ".hdf5"):
        entries = _read_hdf5(path)
    else:
        raise InputError(str(path), got=suffix or "no suffix", expected=FORMATS)
    missing = [name for name in REQUIRED if name not in entries]
    if not set(SIGNALS) & set(entries):
        missing.append(SIGNALS[0])
    if missing:
        mne = suffix not in (".npz", ".h5", ".hdf5")
        raise InputError(
            str(path),
            got=f"no {', '.join(missing)}; there are {', '.join(sorted(entries)) or 'none'}",
            expected="all of them",
            cause=f"put them into {path.with_suffix('.npz').name} beside it" if mne else "",
        )
    return entries


def checked(entries: Mapping[str, Any]) -> RawRecording:
    """The recording that arrays by the names above are.

    Raises:
        InputError: entries that are no numbers, impossible, or disagree.
    """
    is_envelope = SIGNALS[0] in entries
    activity = _activity(entries, SIGNALS[0] if is_envelope else SIGNALS[1])
    rate = _rate(entries, "ecog_rate", ENVELOPE_RATE if is_envelope else None)
    if is_envelope and rate != ENVELOPE_RATE:
        raise InputError(
            "ecog_rate",
            got=f"{rate:g} Hz",
            expected=f"{ENVELOPE_RATE} Hz of an envelope",
            cause="resample it, or give the broadband signal as `broadband` to have its envelope made",
        )
    audio_rate = Fraction(_rate(entries, "audio_rate")).limit_denominator(100)
    audio = _audio(entries["audio"])
    _compare_lengths(len(audio) / float(audio_rate), len(activity) / rate)
    return RawRecording(
        activity=activity, rate=rate, is_envelope=is_envelope, audio=audio, audio_rate=audio_rate,
        **_trials(entries),
    )  # fmt: skip


# ---- reading ----------------------------------------------------------------------------------------------


def _read_hdf5(path: Path) -> dict[str, Any]:
    h5py = import_h5py("reading HDF5")
    try:
        with h5py.File(path, "r") as file:
            known = {name: find_dataset(file, name)[()] for name in file if name in ENTRIES}
            return dict.fromkeys(file) | known  # names of all, for refusals
    except InputError as error:
        raise error.within(str(path)) from error
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error, "a whole HDF5 file") from error


def _read_mne(path: Path, signal: str) -> dict[str, Any]:
    try:
        mne: Any = importlib.import_module("mne")
    except ImportError as error:
        raise BackendError(
            f"reading {path.suffix}", got="no module named mne", expected="mne", cause="pip install mne"
        ) from error
    beside = path.with_suffix(".npz")
    entries: dict[str, Any] = {**read_archive(beside)} if beside.is_file() else {}
    if given := sorted({*SIGNALS, "ecog_rate"} & set(entries)):
        raise InputError(
            str(beside),
            got=", ".join(given),
            expected=f"none: {path.name} has it",
            cause="give the .npz alone, or take it out of there",
        )
    reader = mne.io.read_raw_brainvision if path.suffix.lower() == ".vhdr" else mne.io.read_raw
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            raw = reader(path, preload=False, verbose="warning")
            values = raw.get_data(picks=_channels(mne, raw, entries.get("channels"), path))
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(path, error, "a recording that mne reads") from error
    for warning in said:
        doubt(
            InputError(
                str(path), got=f"«{shown(str(warning.message), 160)}»", expected="no warnings from mne"
            )
        )
    values *= MICROVOLT
    return entries | {signal: values.T, "ecog_rate": float(raw.info["sfreq"])}


def _channels(mne: Any, raw: Any, wanted: Any, path: Path) -> list[int]:
    """Numbers of channels: those that are named, or all of electrodes."""
    if wanted is None:
        found = mne.pick_types(raw.info, meg=False, eeg=True, ecog=True, seeg=True, dbs=True, exclude=())
        return [int(number) for number in found]
    names = _texts("channels", wanted)
    if missing := [name for name in names if name not in raw.ch_names]:
        raise InputError(
            f"{path.with_suffix('.npz')}: channels",
            got=", ".join(missing[:8]),
            expected=f"names of {path.name}'s, as {', '.join(raw.ch_names[:8])}",
        )
    return [raw.ch_names.index(name) for name in names]


def _unreadable(path: Path, error: Exception, expected: str) -> InputError:
    return InputError(
        str(path),
        got=f"«{shown(str(error) or type(error).__name__, 160)}»",
        expected=expected,
        cause="damaged, truncated, of another format, or a file that belongs to it is missing",
    )


# ---- checks -----------------------------------------------------------------------------------------------


def _numbers(entries: Mapping[str, Any], name: str) -> NDArray[Any]:
    values = np.asarray(entries[name])
    if values.dtype.kind not in "fiu" or not values.size:
        kind = "complex numbers" if values.dtype.kind == "c" else f"{values.dtype} of shape {values.shape}"
        raise InputError(name, got=kind, expected="real numbers")
    return values


def _rate(entries: Mapping[str, Any], name: str, default: float | None = None) -> float:
    if name not in entries:
        if default is not None:
            return default
        raise InputError(name, got="none", expected="the rate of `broadband` in Hz")
    values = _numbers(entries, name).reshape(-1)
    rate = float(values[0])
    if len(values) != 1 or not math.isfinite(rate) or rate < 1:
        raise InputError(name, got=f"{values.tolist()[:4]}", expected="one rate in Hz")
    return rate


def _activity(entries: Mapping[str, Any], name: str) -> NDArray[Any]:
    values = _numbers(entries, name)
    if values.ndim != 2:
        raise InputError(name, got=f"shape {values.shape}", expected="(samples, electrodes)")
    if values.shape[0] < values.shape[1]:
        raise InputError(
            name,
            got=f"shape {values.shape}",
            expected="(samples, electrodes), more samples than electrodes",
            cause=f"transposed: pass {name}.T",
        )
    if name == SIGNALS[1] and (values >= 0).mean() > 1 - NEGATIVE:
        raise InputError(
            name,
            got="hardly a value below 0",
            expected="a signal around 0",
            cause="an envelope? name it `envelope` (of EDF: --envelope); otherwise subtract each mean",
        )
    if name == SIGNALS[0] and (share := float((values < 0).mean())) > NEGATIVE:
        raise InputError(
            name,
            got=f"{share:.0%} of the values below 0",
            expected="an amplitude, 0 or more",
            cause="a broadband signal (`broadband`; of EDF without --envelope), or already z-scored",
        )
    return values


def _audio(given: Any) -> NDArray[np.float32]:
    values = _numbers({"audio": given}, "audio")
    if values.ndim > 1 and max(values.shape) != values.size:
        raise InputError(
            "audio",
            got=f"shape {values.shape}",
            expected="one channel, (samples,)",
            cause="take one of them, as audio[:, 0]",
        )
    scale = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max) + 1
    if values.dtype.kind == "u":
        raise InputError(
            "audio", got=f"{values.dtype}", expected="floats within ±1, or signed integers",
            cause="subtract the middle value first",
        )  # fmt: skip
    audio = (values.reshape(-1) / scale).astype(np.float32)
    peak = float(np.abs(audio).max())
    if not peak <= LARGEST_PEAK:
        raise InputError(
            "audio",
            got=f"values up to {peak:.4g}" if math.isfinite(peak) else "NaN or infinite values",
            expected="samples within ±1",
            cause="integers as floats: divide by 32768" if math.isfinite(peak) else "",
        )
    if peak == 0:
        raise InputError("audio", got="silence alone", expected="speech")
    return audio


def _compare_lengths(sound: float, activity: float) -> None:
    """Doubt where sound and ECoG last differently: one of the rates is wrong."""
    seconds, share = ADRIFT
    if abs(sound - activity) > max(seconds, share * activity):
        doubt(
            InputError(
                "audio",
                got=f"{sound:.1f} s",
                expected=f"about {activity:.1f} s, as the ECoG lasts",
                cause="is audio_rate or ecog_rate another? what is longer is cut",
            )
        )


def _trials(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Onsets, offsets, stimuli, labels, tasks of the good trials."""
    times = {name: _seconds(entries, name) for name in ("onsets", "offsets")}
    times["stimuli"] = (
        _seconds(entries, "stimulus_onsets") if "stimulus_onsets" in entries else times["onsets"]
    )
    texts = {name: _texts(name, entries.get(name, ())) for name in ("labels", "tasks")}
    events = np.asarray(entries.get("events", np.zeros(len(times["onsets"])))).reshape(-1)
    count = len(times["onsets"])
    for name, met in (
        ("offsets", len(times["offsets"])),
        ("stimulus_onsets", len(times["stimuli"])),
        ("labels", len(texts["labels"])),
        ("tasks", len(texts["tasks"]) or count),
        ("events", len(events)),
    ):
        if met != count:
            raise InputError(name, got=f"{met}", expected=f"{count}, one for each onset")
    wrong = np.flatnonzero((times["offsets"] <= times["onsets"]) | (times["onsets"] < 0))
    if wrong.size:
        trial = int(wrong[0])
        raise InputError(
            "onsets",
            got=f"a response that ends before it begins: trial {trial}, "
            f"{times['onsets'][trial]:g} … {times['offsets'][trial]:g} s",
            expected="seconds, each before its offset",
        )
    good = np.array([code not in BAD_EVENTS for code in events.tolist()], bool)
    if not good.any():
        raise InputError("events", got="bad trials alone", expected="codes other than 1, 2, 4 for good ones")
    kept = {
        name: tuple(text for text, keep in zip(values, good, strict=bool(values)) if keep)
        for name, values in texts.items()
    }
    return {name: values[good] for name, values in times.items()} | kept


def _seconds(entries: Mapping[str, Any], name: str) -> Doubles:
    values = _numbers(entries, name).astype(np.float64).reshape(-1)
    if not np.isfinite(values).all():
        raise InputError(name, got="NaN or infinite values", expected="seconds")
    return values


def _texts(name: str, values: Any) -> tuple[str, ...]:
    return tuple(text_of(name, text) for text in np.asarray(values).reshape(-1))
