"""One subject's data in one HDF5 file, in the layout of neural_speech_decoding: reading, checks, writing.

All at 125 Hz, N frames, tasks and trials one after another; F bins:

    ecog_alldataset (N, E)                    processed ECoG: 64, 128 (hybrid) or 225 electrodes
    wave_re_alldataset (N · 128, 1)           16 kHz
    wave_re_spec_alldataset (N, F)            dB of the power on [−1, 1]
    wave_re_spec_amp_alldataset (N, F)        power
    start_ind_re_valid_alldataset, end_ind_re_valid_alldataset (trials,)   frames of the spoken response
    label_alldataset (trials,)                words, UTF-8
    noisesample_re_alldataset (F,)            mean power of the background
    formant_re_alldataset (N, 6), pitch_re_alldataset, intensity_re_alldataset (N,)   optional: Hz, Hz, dB

Ours beside them, both optional: `task_alldataset` (trials,) text, `phone_re_alldataset` (N,) text, and the
attribute `gender` ("Female" or "Male"). Without it the number of bins decides: 256 female, 512 male.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, InputError
from edge_runtime.pipelines.ecog_speech.grids import arrange
from edge_runtime.store.targets import replace_file

REQUIRED = {
    "ecog": "ecog_alldataset",
    "wave": "wave_re_alldataset",
    "spectrogram": "wave_re_spec_alldataset",
    "starts": "start_ind_re_valid_alldataset",
    "ends": "end_ind_re_valid_alldataset",
    "labels": "label_alldataset",
    "noise": "noisesample_re_alldataset",
}
OPTIONAL = {
    "power": "wave_re_spec_amp_alldataset",
    "formants": "formant_re_alldataset",
    "pitch": "pitch_re_alldataset",
    "intensity": "intensity_re_alldataset",
    "tasks": "task_alldataset",
    "phones": "phone_re_alldataset",
}
FEMALE_BINS = 256
FRAMES, PAST, HOP = 128, 16, 128  # frames of an item, ECoG frames before it, samples per frame

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """One subject; N frames, E electrodes, F bins."""

    name: str
    ecog: Floats  # (N, E)
    wave: Floats  # (N · 128,)
    spectrogram: Floats  # (N, F) in [−1, 1]
    starts: NDArray[np.int64]  # (trials,) frames
    ends: NDArray[np.int64]
    labels: tuple[str, ...]
    noise: Floats  # (F,) power
    female: bool
    formants: Floats | None = None  # (N, 6) Hz
    pitch: Floats | None = None  # (N,) Hz, 0 unvoiced
    intensity: Floats | None = None  # (N,) dB
    tasks: tuple[str, ...] = ()
    phones: tuple[str, ...] = field(default=(), repr=False)

    @property
    def frames(self) -> int:
        """N."""
        return len(self.ecog)

    @property
    def bins(self) -> int:
        """F."""
        return int(self.spectrogram.shape[1])


def read_recording(
    path: str | os.PathLike[str],
    *,
    coarse: bool = False,
    extended: bool = False,
    quarter_turns: int = 0,
    bad: Sequence[int] = (),
) -> Recording:
    """Read a file and arrange its electrodes as a square; see `grids.arrange` for the options.

    Raises:
        InputError: not HDF5, a dataset that is missing or of another shape, lengths that disagree, values
            that are not finite, electrodes that fit no grid.
        BackendError: h5py is not installed.
    """
    source = Path(path)
    try:
        found = _read(source)
        recording = _checked(source.stem, found)
        ecog = arrange(recording.ecog, coarse=coarse, extended=extended, quarter_turns=quarter_turns, bad=bad)
    except InputError as error:
        raise error.within(str(path)) from error
    return Recording(**{**recording.__dict__, "ecog": ecog})


def write_recording(path: str | os.PathLike[str], recording: Recording) -> None:
    """Write a file of the layout above, whole or not at all."""
    h5py = import_h5py("writing HDF5")
    with replace_file(path) as fresh, h5py.File(fresh, "w") as file:
        for name, array in datasets(recording).items():
            file.create_dataset(name, data=array)
        file.attrs["gender"] = "Female" if recording.female else "Male"


def datasets(recording: Recording) -> Mapping[str, NDArray[Any]]:
    """Name of the dataset → array, (N, …) or (trials,), with the names of neural_speech_decoding."""
    power = power_of(recording.spectrogram)
    arrays: dict[str, NDArray[Any] | None] = {
        REQUIRED["ecog"]: recording.ecog,
        REQUIRED["wave"]: recording.wave[:, None],
        REQUIRED["spectrogram"]: recording.spectrogram,
        OPTIONAL["power"]: power,
        REQUIRED["starts"]: recording.starts,
        REQUIRED["ends"]: recording.ends,
        REQUIRED["labels"]: _texts(recording.labels),
        REQUIRED["noise"]: recording.noise,
        OPTIONAL["formants"]: recording.formants,
        OPTIONAL["pitch"]: recording.pitch,
        OPTIONAL["intensity"]: recording.intensity,
        OPTIONAL["tasks"]: _texts(recording.tasks),
        OPTIONAL["phones"]: _texts(recording.phones),
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _texts(texts: Sequence[str]) -> NDArray[Any] | None:
    return np.array([text.encode() for text in texts]) if texts else None


def power_of(spectrogram: Floats, floor_db: float = -50.0, top_db: float = 22.5) -> Floats:
    """The power (N, F) of scaled dB (N, F)."""
    db = (spectrogram.astype(np.float64) + 1) / 2 * (top_db - floor_db) + floor_db
    return (10 ** (db / 10)).astype(np.float32)


def background(spectrogram: Floats, starts: NDArray[np.int64]) -> Floats:
    """(F,) mean power before the words: frames onset − 31 … onset − 16, averaged in dB.

    Raises:
        InputError: no word has frames before it.
    """
    frames = np.concatenate([np.arange(start - 31, start - 15) for start in starts])
    frames = frames[(frames >= 0) & (frames < len(spectrogram))]
    if not frames.size:
        raise InputError("onsets", got="none with 31 frames before it", expected="silence before words")
    return power_of(spectrogram[frames].mean(0))


def import_h5py(what: str) -> Any:
    """The library; BackendError where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise BackendError(
            what, got="no module named h5py", expected="h5py", cause="pip install 'edge-export[train]'"
        ) from error
    return h5py


# ---- reading ----------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    h5py = import_h5py("reading HDF5")
    if not path.is_file():
        raise InputError("file", got="no such file", expected="an HDF5 file of one subject")
    try:
        with h5py.File(path, "r") as file:
            if missing := [name for name in REQUIRED.values() if name not in file]:
                raise InputError(
                    "datasets",
                    got=f"no {', '.join(missing)}; there are {', '.join(sorted(file)) or 'none'}",
                    expected="the datasets of neural_speech_decoding",
                    cause="`edge-export data ecog` makes such files from raw recordings",
                )
            known = REQUIRED | {key: name for key, name in OPTIONAL.items() if key != "power"}
            found = {key: file[name][()] for key, name in known.items() if name in file}
            found["gender"] = file.attrs.get("gender")
    except OSError as error:
        raise InputError(
            "file", got="bytes that are not HDF5", expected="an HDF5 file of one subject"
        ) from error
    return found


def _checked(name: str, found: dict[str, Any]) -> Recording:
    ecog, spectrogram = _matrix("ecog", found), _matrix("spectrogram", found)
    frames, bins = spectrogram.shape
    wave = np.asarray(found["wave"], np.float32).reshape(-1)
    lengths = {"ecog": len(ecog), "wave": len(wave) / HOP}
    for key in ("formants", "pitch", "intensity", "phones"):
        if key in found:
            lengths[key] = len(found[key])
    for key, length in lengths.items():
        if length != frames:
            raise InputError(
                (REQUIRED | OPTIONAL)[key],
                got=f"{length:g} frames",
                expected=f"{frames}, as the spectrogram has",
                cause="all are at 125 Hz, the waveform at 16 kHz with 128 samples a frame",
            )
    noise = np.asarray(found["noise"], np.float32).reshape(-1)
    if noise.shape != (bins,):
        raise InputError(REQUIRED["noise"], got=f"{noise.size} values", expected=f"{bins}, one for each bin")
    starts, ends = _trials(found, frames)
    labels = _decoded(found["labels"])
    tasks = _decoded(found["tasks"]) if "tasks" in found else ()
    for key, texts in (("labels", labels), ("tasks", tasks)):
        if texts and len(texts) != len(starts):
            raise InputError(
                (REQUIRED | OPTIONAL)[key],
                got=f"{len(texts)} entries",
                expected=f"{len(starts)}, one for each trial",
            )
    _check_values(spectrogram, wave, noise)
    gender = found["gender"]
    return Recording(
        name=name,
        ecog=ecog,
        wave=wave,
        spectrogram=spectrogram,
        starts=starts,
        ends=ends,
        labels=labels,
        noise=noise,
        female=bins == FEMALE_BINS if gender is None else str(gender).lower() == "female",
        formants=_matrix("formants", found) if "formants" in found else None,
        pitch=_optional("pitch", found),
        intensity=_optional("intensity", found),
        tasks=tasks,
        phones=_decoded(found["phones"]) if "phones" in found else (),
    )


def _matrix(key: str, found: dict[str, Any]) -> Floats:
    values = np.asarray(found[key], np.float32)
    if values.ndim != 2 or not values.size:
        raise InputError(
            (REQUIRED | OPTIONAL)[key], got=f"shape {values.shape}", expected="(frames, columns)"
        )
    return values


def _optional(key: str, found: dict[str, Any]) -> Floats | None:
    return np.asarray(found[key], np.float32).reshape(-1) if key in found else None


def _trials(found: dict[str, Any], frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts, ends = (np.asarray(found[key]).reshape(-1).astype(np.int64) for key in ("starts", "ends"))
    if len(starts) != len(ends) or not len(starts):
        raise InputError(
            REQUIRED["ends"],
            got=f"{len(ends)} offsets and {len(starts)} onsets",
            expected="one of each for every trial",
        )
    wrong = np.flatnonzero(
        (starts < 0) | (ends <= starts) | (ends > frames) | (starts + FRAMES > frames + FRAMES)
    )
    if wrong.size:
        trial = int(wrong[0])
        raise InputError(
            f"trial {trial}",
            got=f"frames {starts[trial]} … {ends[trial]}",
            expected=f"onset before offset, both within 0 … {frames}",
            cause="onsets are frames at 125 Hz, not samples",
        )
    if frames < FRAMES + PAST:
        raise InputError("recording", got=f"{frames} frames", expected=f"at least {FRAMES + PAST}")
    return starts, ends


def _check_values(spectrogram: Floats, wave: Floats, noise: Floats) -> None:
    for key, values in (("spectrogram", spectrogram), ("wave", wave), ("noise", noise)):
        if not np.isfinite(values).all():
            raise InputError(REQUIRED[key], got="NaN or infinite values", expected="numbers")
    low, high = float(spectrogram.min()), float(spectrogram.max())
    if low < -1.001 or high > 1.001:
        raise InputError(
            REQUIRED["spectrogram"],
            got=f"values of {low:.3g} … {high:.3g}",
            expected="dB scaled to −1 … 1",
            cause="power belongs in wave_re_spec_amp_alldataset",
        )
    if noise.min() < 0:
        raise InputError(REQUIRED["noise"], got=f"{noise.min():.3g}", expected="power, 0 or more")


def _decoded(texts: Any) -> tuple[str, ...]:
    return tuple(
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for text in np.asarray(texts).reshape(-1)
    )
