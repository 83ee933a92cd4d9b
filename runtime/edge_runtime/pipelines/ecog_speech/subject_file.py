"""Reading of a subject's HDF5 file, whole or one trial; `recordings` describes the layout.

What is checked where:

    open_subject     datasets, kinds of numbers, shapes, lengths, rates, trials, labels, background: of
                     the whole file, from shapes and from what is small
    read_recording   the values of everything
    read_trial       electrodes of the whole recording, a block at a time, so that a broken one is listed
                     whatever the trial; of wave and spectrogram the window alone, which is all that is read

Memory of `read_trial` does not grow with the recording. Both give the same numbers, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError, shown
from edge_runtime.pipelines.ecog_speech.grids import (
    arrange,
    broken_in,
    check_grid,
    check_scale,
    refuse_broken,
)
from edge_runtime.pipelines.ecog_speech.recordings import (
    FEMALE_BINS,
    FRAMES,
    HOP,
    OPTIONAL,
    PAST,
    REQUIRED,
    Excerpt,
    Floats,
    Recording,
    import_h5py,
    text_of,
    window_start,
)
from edge_runtime.store.hdf5 import find_dataset
from edge_runtime.store.reading import regular_file

FRAME_RATE = 125  # Hz
WANTED = "an HDF5 file of one subject"
NAMES = REQUIRED | OPTIONAL
BLOCK = 1 << 19  # values of a block
SEXES = {"female": True, "male": False}


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
            that are not finite or on another scale, electrodes that fit no grid.
        ConfigError: a bad electrode that does not exist.
        BackendError: h5py is not installed.
    """
    with open_subject(path) as subject:
        raw = subject.ecog.read()
        ecog = arrange(raw, coarse=coarse, extended=extended, quarter_turns=quarter_turns, bad=bad)
        check_scale(raw, bad)
        return Recording(
            name=subject.name,
            ecog=ecog,
            wave=subject.speech("wave", 0, subject.frames),
            spectrogram=subject.speech("spectrogram", 0, subject.frames),
            starts=subject.starts,
            ends=subject.ends,
            labels=subject.labels,
            noise=subject.noise,
            female=subject.female,
            formants=subject.optional("formants", 0, subject.frames),
            pitch=subject.optional("pitch", 0, subject.frames),
            intensity=subject.optional("intensity", 0, subject.frames),
            tasks=subject.tasks,
            phones=subject.phones(),
        )


def read_trial(
    path: str | os.PathLike[str],
    trial: int,
    *,
    coarse: bool = False,
    extended: bool = False,
    bad: Sequence[int] = (),
) -> Excerpt:
    """Read the window of one trial, counted from 0; see `grids.arrange` for the options.

    Raises:
        InputError: as `read_recording`; wrong values of the speech only where they are in the window.
        ConfigError: a trial or a bad electrode that does not exist.
        BackendError: h5py is not installed.
    """
    with open_subject(path) as subject:
        if not 0 <= trial < len(subject.starts):
            raise ConfigError(
                "--trial",
                got=str(trial),
                expected=f"0 … {len(subject.starts) - 1}: {subject.name} has no more",
            )
        first = window_start(int(subject.starts[trial]), subject.frames)
        last = first + FRAMES
        check_grid(subject.ecog.columns, coarse=coarse, extended=extended, bad=bad)
        refuse_broken(subject.ecog.broken(), bad)
        window = subject.ecog.read(first - PAST, last)
        return Excerpt(
            name=subject.name,
            trial=trial,
            label=subject.labels[trial],
            first=first,
            ecog=arrange(window, coarse=coarse, extended=extended, bad=bad),
            wave=subject.speech("wave", first, last),
            spectrogram=subject.speech("spectrogram", first, last),
            noise=subject.noise,
            formants=subject.optional("formants", first, last),
            pitch=subject.optional("pitch", first, last),
        )


@contextmanager
def open_subject(path: str | os.PathLike[str]) -> Iterator[SubjectFile]:
    """The file, opened and checked as far as shapes go; refusals in the block name it.

    Raises:
        InputError: not such a file; see above.
        BackendError: h5py is not installed.
    """
    h5py = import_h5py("reading HDF5")
    try:
        regular_file(path, WANTED, what="file")
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise _unopened(error, is_hdf5=h5py.is_hdf5(path)) from error
        with file:
            yield SubjectFile(Path(path).stem, file)
    except InputError as error:
        raise error.within(str(path)) from error


def _unopened(error: OSError, *, is_hdf5: bool) -> InputError:
    if not is_hdf5:
        return InputError(
            "file", got="bytes that are not HDF5", expected=WANTED, cause="arrays are given as .npy"
        )
    return InputError(
        "file",
        got=f"HDF5 that cannot be opened («{shown(str(error), 120)}»)",
        expected=WANTED,
        cause="truncated, or being written by another program",
    )


class SubjectFile:
    """An open file: what is small, and `Series` of what has N frames.

    Args:
        name: of the subject.
        file: of h5py.

    Raises:
        InputError: see the module.
    """

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        self._file = file
        if missing := [dataset for dataset in REQUIRED.values() if dataset not in file]:
            raise InputError(
                "datasets",
                got=f"no {', '.join(missing)}; there are {', '.join(sorted(file)) or 'none'}",
                expected="the datasets of neural_speech_decoding",
                cause="`edge-export data ecog` makes such files from raw recordings",
            )
        self.ecog = self._series("ecog", columns=True)
        self._speech = {
            "spectrogram": self._series("spectrogram", columns=True),
            "wave": self._series("wave", per_frame=HOP),
        }
        self._optional = {
            key: self._series(key, columns=key == "formants")
            for key in ("formants", "pitch", "intensity")
            if NAMES[key] in file
        }
        self.frames, self.bins = self._speech["spectrogram"].shape
        self._check_lengths()
        self.noise = self._background()
        self.starts, self.ends = self._trials()
        self.labels, self.tasks = self._of_trials("labels"), self._of_trials("tasks")
        self.female = self._sex()

    def speech(self, key: str, first: int, last: int) -> Floats:
        """Checked `wave` (128 · n,) or `spectrogram` (n, F) of n frames.

        Raises:
            InputError: values that are not finite; a spectrogram on another scale.
        """
        values = self._speech[key].read(first, last)
        if not np.isfinite(values).all():
            raise InputError(NAMES[key], got="NaN or infinite values", expected="numbers")
        if key == "spectrogram":
            _check_levels(values)
        return values

    def optional(self, key: str, first: int, last: int) -> Floats | None:
        """`formants` (n, 6), `pitch` or `intensity` (n,) of n frames; None where the file has none.

        Pitch is 0 where the file has NaN, as Praat says that a frame is unvoiced.
        """
        if key not in self._optional:
            return None
        values = self._optional[key].read(first, last)
        return np.nan_to_num(values) if key == "pitch" else values

    def phones(self) -> tuple[str, ...]:
        """(N,) texts, or none."""
        return _texts("phones", self._dataset("phones")) if NAMES["phones"] in self._file else ()

    def _dataset(self, key: str) -> Any:
        return find_dataset(self._file, NAMES[key])

    def _series(self, key: str, *, columns: bool = False, per_frame: int = 1) -> Series:
        return Series(NAMES[key], self._dataset(key), columns=columns, per_frame=per_frame)

    def _check_lengths(self) -> None:
        series = {"ecog": self.ecog} | self._speech | self._optional
        lengths = {key: one.frames for key, one in series.items()}
        if NAMES["phones"] in self._file:
            lengths["phones"] = self._dataset("phones").size
        if lengths["wave"] == self.bins != self.frames:
            raise _transposed(self._speech["spectrogram"])
        for key, length in lengths.items():
            if length == self.frames:
                continue
            if key in series and series[key].columns == self.frames:
                raise _transposed(series[key])
            raise InputError(
                NAMES[key],
                got=f"{length:g} frames",
                expected=f"{self.frames}, as the spectrogram has",
                cause=f"all are at {FRAME_RATE} Hz, the waveform at 16 kHz with {HOP} samples a frame; "
                f"this looks like {FRAME_RATE * HOP ** (key == 'wave') * length / self.frames:.5g} Hz",
            )
        if self.frames < FRAMES + PAST:
            raise InputError("recording", got=f"{self.frames} frames", expected=f"at least {FRAMES + PAST}")

    def _background(self) -> Floats:
        noise = _numbers("noise", self._dataset("noise")).astype(np.float32)
        if noise.shape != (self.bins,):
            raise InputError(
                NAMES["noise"], got=f"{noise.size} values", expected=f"{self.bins}, one for each bin"
            )
        if not np.isfinite(noise).all():
            raise InputError(NAMES["noise"], got="NaN or infinite values", expected="numbers")
        if noise.min() < 0:
            raise InputError(NAMES["noise"], got=f"{noise.min():.3g}", expected="power, 0 or more")
        return noise

    def _trials(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        starts, ends = (self._whole_frames(key) for key in ("starts", "ends"))
        if len(starts) != len(ends) or not len(starts):
            raise InputError(
                NAMES["ends"],
                got=f"{len(ends)} offsets and {len(starts)} onsets",
                expected="one of each for every trial",
            )
        wrong = np.flatnonzero((starts < 0) | (ends <= starts) | (ends > self.frames))
        if wrong.size:
            trial = int(wrong[0])
            raise InputError(
                f"trial {trial}",
                got=f"frames {starts[trial]} … {ends[trial]}",
                expected=f"onset before offset, both within 0 … {self.frames}",
                cause="onsets are frames at 125 Hz, not samples",
            )
        return starts, ends

    def _whole_frames(self, key: str) -> NDArray[np.int64]:
        values = _numbers(key, self._dataset(key)).astype(np.float64)
        wrong = values[~np.isfinite(values) | (values % 1 != 0)]
        if wrong.size:
            raise InputError(
                NAMES[key],
                got=f"{wrong[0]:g}",
                expected="whole numbers of frames",
                cause=f"seconds? multiply by {FRAME_RATE} and round",
            )
        return values.astype(np.int64)

    def _of_trials(self, key: str) -> tuple[str, ...]:
        if NAMES[key] not in self._file:
            return ()
        texts = _texts(key, self._dataset(key))
        if len(texts) != len(self.starts):
            raise InputError(
                NAMES[key], got=f"{len(texts)} entries", expected=f"{len(self.starts)}, one for each trial"
            )
        return texts

    def _sex(self) -> bool:
        """Whether the speaker is a woman."""
        given = self._file.attrs.get("gender")
        if given is None:
            return self.bins == FEMALE_BINS
        text = "".join(_text(value) for value in np.asarray(given).reshape(-1)[:1])
        if text.lower() not in SEXES:
            raise InputError("attribute gender", got=repr(text), expected="Female or Male")
        return SEXES[text.lower()]


class Series:
    """A dataset of N frames that stays in the file until some are read.

    Args:
        name: of the dataset.
        dataset: of h5py, shape (N, columns) with `columns`; else (n,), (n, 1) or (1, n), n = N · `per_frame`.

    Raises:
        InputError: another shape, or no real numbers.
    """

    def __init__(self, name: str, dataset: Any, *, columns: bool, per_frame: int) -> None:
        self.name, self._dataset, self._per_frame = name, dataset, per_frame
        shape = tuple(dataset.shape)
        _check_real(name, dataset.dtype)
        sizes = [size for size in shape if size != 1]
        if columns and (len(shape) != 2 or 0 in shape):
            raise InputError(name, got=f"shape {shape}", expected="(frames, columns)")
        if not columns and (not 1 <= len(shape) <= 2 or len(sizes) > 1):
            raise InputError(
                name,
                got=f"shape {shape}",
                expected="one value after another: (n,), (n, 1) or (1, n)",
                cause="several channels: keep one" if len(shape) == 2 else "",
            )
        self.columns = int(shape[1]) if columns else 1
        self._lying = not columns and len(shape) == 2 and shape[0] == 1
        self._standing = not columns and len(shape) == 2 and not self._lying
        self._length = int(shape[1] if self._lying else shape[0])

    @property
    def frames(self) -> float:
        """N; not whole where samples are missing at the end."""
        return self._length / self._per_frame

    @property
    def shape(self) -> tuple[int, int]:
        """N, the whole ones, and columns."""
        return self._length // self._per_frame, self.columns

    def read(self, first: int = 0, last: int | None = None) -> Floats:
        """(n, columns), or (n · per_frame,): frames first … last − 1."""
        span = slice(first * self._per_frame, None if last is None else last * self._per_frame)
        if self._lying:
            return self._floats((0, span))
        return self._floats((span, 0) if self._standing else (span,))

    def broken(self) -> NDArray[np.bool_]:
        """(columns,) which of them hold values that are not finite; reads a block at a time."""
        broken = np.zeros(self.columns, bool)
        rows, columns = self._block()
        for row in range(0, self._length, rows):
            for column in range(0, self.columns, columns):
                span = slice(column, column + columns)
                broken[span] |= broken_in(self._floats((slice(row, row + rows), span)))
        return broken

    def _block(self) -> tuple[int, int]:
        """Rows and columns of about `BLOCK` values: whole chunks, each of which is unpacked once."""
        rows, columns = self._dataset.chunks or (1, self.columns)
        columns = min(self.columns, columns * max(1, BLOCK // (rows * columns)))
        return rows * max(1, BLOCK // (rows * columns)), columns

    def _floats(self, where: tuple[Any, ...]) -> Floats:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite
            return np.asarray(_content(self.name, self._dataset, where), np.float32)


def _content(name: str, dataset: Any, where: Any = ()) -> Any:
    try:
        return dataset[where]
    except (OSError, MemoryError) as error:
        raise InputError(
            name,
            got=f"values that cannot be read («{shown(str(error) or 'out of memory', 120)}»)",
            expected=f"an array of {dataset.dtype} of shape {dataset.shape}",
            cause="truncated, damaged, or compressed with a filter that h5py lacks",
        ) from error


def _check_real(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "fiu":
        kind = "complex numbers" if dtype.kind == "c" else f"values of type {dtype}"
        raise InputError(name, got=kind, expected="real numbers")


def _numbers(key: str, dataset: Any) -> NDArray[Any]:
    """(n,)."""
    _check_real(NAMES[key], dataset.dtype)
    return np.asarray(_content(NAMES[key], dataset)).reshape(-1)


def _texts(key: str, dataset: Any) -> tuple[str, ...]:
    values = np.asarray(_content(NAMES[key], dataset)).reshape(-1)
    if dataset.dtype.kind == "O" and not all(isinstance(value, (bytes, str)) for value in values):
        raise InputError(
            NAMES[key],
            got=f"{type(values[0]).__name__}s",
            expected="texts in UTF-8",
            cause="cells of MATLAB: write them as strings",
        )
    return tuple(text_of(NAMES[key], value) for value in values)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _check_levels(spectrogram: Floats) -> None:
    low, high = float(spectrogram.min()), float(spectrogram.max())
    # scaled dB of any sound fall below 0, which is −13.75 dB; power never does
    if low < -1.001 or high > 1.001 or low >= 0:
        raise InputError(
            REQUIRED["spectrogram"],
            got=f"values of {low:.3g} … {high:.3g}",
            expected="dB scaled to −1 … 1",
            cause="power belongs in wave_re_spec_amp_alldataset",
        )


def _transposed(series: Series) -> InputError:
    rows, columns = series.shape
    return InputError(
        series.name,
        got=f"{rows} × {columns}",
        expected=f"{columns} × {rows}, frames first",
        cause="transposed: MATLAB writes axes in reverse order",
    )
