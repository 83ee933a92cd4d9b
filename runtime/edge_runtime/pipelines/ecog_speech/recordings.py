"""One subject's data in one HDF5 file, in the layout of neural_speech_decoding; `subject_file` reads it.

All at 125 Hz, N frames, tasks and trials one after another; F bins:

    ecog_alldataset (N, E)                    processed ECoG: 64, 128 (hybrid) or 225 electrodes
    wave_re_alldataset (N · 128, 1)           16 kHz
    wave_re_spec_alldataset (N, F)            dB of the power on [−1, 1]
    wave_re_spec_amp_alldataset (N, F)        power
    start_ind_re_valid_alldataset, end_ind_re_valid_alldataset (trials,)   frames of the spoken response
    label_alldataset (trials,)                words, UTF-8
    noisesample_re_alldataset (F,)            mean power of the background
    formant_re_alldataset (N, 6), pitch_re_alldataset, intensity_re_alldataset (N,)   optional: Hz, Hz, dB;
                                              formants may be NaN where they are not known

Ours beside them, both optional: `task_alldataset` (trials,) text, `phone_re_alldataset` (N,) text, and the
attribute `gender` ("Female" or "Male"). Without it the number of bins decides: 256 female, 512 male.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, InputError
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
AHEAD = 32  # frames of a trial's window before its onset

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


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The window of one trial: 128 frames from `first` on, and 16 more of ECoG before them."""

    name: str  # of the recording
    trial: int
    label: str
    first: int  # frame of the recording
    ecog: Floats  # (144, E)
    wave: Floats  # (16384,)
    spectrogram: Floats  # (128, F) in [−1, 1]
    noise: Floats  # (F,) power
    formants: Floats | None  # (128, 6) Hz
    pitch: Floats | None  # (128,) Hz, 0 unvoiced


def window_start(onset: int, frames: int) -> int:
    """First frame of a trial's window in a recording of so many frames: 32 before the onset if there are."""
    return inside(onset - AHEAD, frames)


def inside(first: int, frames: int) -> int:
    """The first frame of a window, moved so that 16 frames are before it and 128 from it on."""
    return min(max(first, PAST), frames - FRAMES)


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


def text_of(name: str, value: Any) -> str:
    """A label as text.

    Raises:
        InputError: bytes that are no UTF-8: two words could look alike.
    """
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # also of UTF-16
        raise InputError(
            name,
            got=repr(value),
            expected="texts in UTF-8",
            cause="another encoding: decode them and write them as strings",
        )
    return text


def import_h5py(what: str) -> Any:
    """The library; BackendError where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise BackendError(
            what, got="no module named h5py", expected="h5py", cause="pip install 'edge-export[train]'"
        ) from error
    return h5py
