"""Items of the ECoG system: crops around spoken responses, and which trials are kept for the test.

    DATA/*.h5    one file a subject, see `recordings`; or DATA is one such file

A training item begins r frames from its trial's onset, r drawn from −64 … offset − onset − 64; a test item 32
frames before the onset. It holds

    ecog (144, E)            16 past frames, then the 128 of the item
    spectrogram (1, 128, F)  noisesample (F,)  gender (1,)
    on_stage (1, 128)        1 inside the response, on_stage_wider with 5 more frames on both sides
    formants (6, 128), pitch (1, 128)   where the file has them
    wave (1, 16384)          name, label

Splits: `last` keeps the last `test_trials` of each subject; `folds` keeps fold `fold` of `folds`, a seeded
permutation of each task dealt to the folds in turn; `word` keeps every trial whose label is `word`. A
training crop ends up to 64 frames behind its response, as in neural_speech_decoding: with pauses of half
a second no test response is in it.

`shuffled` pairs each item's speech with the ECoG of another trial at another place: a decoder that still
predicts more than the mean has found a leak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.ecog_speech.recordings import Recording, inside, window_start
from edge_runtime.pipelines.ecog_speech.subject_file import read_recording
from edge_training.ecog_speech.parameters import FRAMES, HOP, PAST
from edge_training.engine.items import Item

Split = Literal["last", "folds", "word"]
EARLIEST = -64  # frames from the onset to the start of a training item
WIDER = 5
CROPS = 128  # of each trial, in an epoch of neural_speech_decoding


@dataclass(frozen=True)
class EcogSource:
    """What is read, and how it is split."""

    folder: Path
    subjects: tuple[str, ...] | None = None  # file names without suffix; None: all, in order of names
    split: Split = "last"
    test_trials: int = 50
    folds: int = 5
    fold: int = 0
    word: str | None = None
    seed: int = 1234  # of the folds
    shuffled: bool = False
    coarse: bool = False
    extended: bool = False
    bad: tuple[int, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One spoken response."""

    subject: int
    number: int  # in its file
    start: int  # frames
    end: int
    label: str


class EcogData:
    """`TrainingData` of one or several subjects of one grid and one number of bins.

    Raises InputError for data that cannot be used together, ConfigError for splits that leave nothing.
    """

    def __init__(self, source: EcogSource, recordings: Sequence[Recording] | None = None) -> None:
        self.source = source
        self.recordings = list(recordings) if recordings is not None else list(_read_all(source))
        _check_alike(self.recordings)
        self.train: list[Trial] = []
        self.test: list[Trial] = []
        for subject, recording in enumerate(self.recordings):
            held = held_out(recording, source)
            for number, (start, end) in enumerate(zip(recording.starts, recording.ends, strict=True)):
                trial = Trial(subject, number, int(start), int(end), recording.labels[number])
                (self.test if number in held else self.train).append(trial)
        if not self.train or not self.test:
            got = f"{len(self.train)} trials to train on and {len(self.test)} to test"
            raise ConfigError("split", got=got, expected="some of both")
        self.names = tuple(self._name(trial) for trial in self.train)
        self.validation_names = tuple(self._name(trial) for trial in self.test)

    @property
    def electrodes(self) -> int:
        """E."""
        return int(self.recordings[0].ecog.shape[1])

    @property
    def bins(self) -> int:
        """F."""
        return self.recordings[0].bins

    @property
    def female(self) -> bool:
        """Whether all speakers are women."""
        return all(recording.female for recording in self.recordings)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        trial = self.train[clip]
        first = crop_start(trial, draw, self.recordings[trial.subject].frames)
        item = self._cut(trial, first)
        if self.source.shuffled:
            other = self.train[int(draw.integers(len(self.train)))]
            recording = self.recordings[other.subject]
            item["ecog"] = _ecog(recording, crop_start(other, draw, recording.frames))
        return item

    def validation_item(self, clip: int) -> Item:
        return self.aligned_item(self.test[clip])

    def aligned_item(self, trial: Trial) -> Item:
        """A trial, of the test or not, cut as test items are: 32 frames before its onset."""
        return self._cut(trial, window_start(trial.start, self.recordings[trial.subject].frames))

    def _name(self, trial: Trial) -> str:
        return f"{self.recordings[trial.subject].name}-{trial.number:03d}-{trial.label}"

    def _cut(self, trial: Trial, first: int) -> Item:
        recording = self.recordings[trial.subject]
        span = slice(first, first + FRAMES)
        item: Item = {
            "ecog": _ecog(recording, first),
            "spectrogram": recording.spectrogram[None, span],
            "wave": recording.wave[None, first * HOP : (first + FRAMES) * HOP],
            "noisesample": recording.noise,
            "gender": np.array([recording.female], np.float32),
            "on_stage": on_stage(trial, first),
            "on_stage_wider": on_stage(trial, first, WIDER),
            "name": self._name(trial),
            "label": trial.label,
        }
        if recording.formants is not None:
            item["formants"] = np.ascontiguousarray(recording.formants[span].T)
        if recording.pitch is not None:
            item["pitch"] = recording.pitch[None, span]
        return item


def crop_start(trial: Trial, draw: np.random.Generator, frames: int) -> int:
    """First frame of a training item."""
    latest = max(EARLIEST + 1, trial.end - trial.start + EARLIEST)
    return inside(trial.start + int(draw.integers(EARLIEST, latest)), frames)


def _ecog(recording: Recording, first: int) -> NDArray[np.float32]:
    return recording.ecog[first - PAST : first + FRAMES]


def on_stage(trial: Trial, first: int, wider: int = 0) -> NDArray[np.float32]:
    """(1, 128): 1 inside the response."""
    frame = np.arange(first, first + FRAMES)
    inside = (frame >= trial.start - wider) & (frame < trial.end + wider)
    return inside[None].astype(np.float32)


def held_out(recording: Recording, source: EcogSource) -> set[int]:
    """Numbers of a subject's test trials.

    Raises:
        ConfigError: more trials, folds or another fold than there are; a word that is never spoken.
    """
    count = len(recording.starts)
    if source.split == "last":
        if not 1 <= source.test_trials < count:
            raise ConfigError(
                "test_trials",
                got=str(source.test_trials),
                expected=f"1 … {count - 1}: {recording.name} has {count}",
            )
        return set(range(count - source.test_trials, count))
    if source.split == "word":
        held = {number for number, label in enumerate(recording.labels) if label == source.word}
        if not held:
            words = ", ".join(sorted(set(recording.labels))[:8])
            raise ConfigError(
                "word", got=repr(source.word), expected=f"one of {recording.name}'s, as {words}"
            )
        return held
    return _fold(recording, source)


def _fold(recording: Recording, source: EcogSource) -> set[int]:
    count = len(recording.starts)
    if not 2 <= source.folds <= count:
        raise ConfigError(
            "folds", got=str(source.folds), expected=f"2 … {count}: {recording.name} has {count} trials"
        )
    if not 0 <= source.fold < source.folds:
        raise ConfigError("fold", got=str(source.fold), expected=f"0 … {source.folds - 1}")
    tasks = np.array(recording.tasks or ("",) * count)
    draw = np.random.default_rng((source.seed, source.folds))
    dealt = [draw.permutation(np.flatnonzero(tasks == task)) for task in sorted(set(tasks.tolist()))]
    # one deal over all tasks: folds differ by a trial at most
    return {int(number) for number in np.concatenate(dealt)[source.fold :: source.folds]}


def _read_all(source: EcogSource) -> Iterator[Recording]:
    if source.folder.is_file():
        files = [source.folder]
    elif source.subjects is None:
        files = sorted(source.folder.glob("*.h5"))
    else:
        files = [source.folder / f"{subject}.h5" for subject in source.subjects]
    if not files:
        raise InputError(str(source.folder), got="no .h5 files", expected="one a subject, or one such file")
    for path in files:
        yield read_recording(path, coarse=source.coarse, extended=source.extended, bad=source.bad)


def _check_alike(recordings: Sequence[Recording]) -> None:
    first = recordings[0]
    for other in recordings[1:]:
        for what, met, wanted in (
            ("electrodes", other.ecog.shape[1], first.ecog.shape[1]),
            ("bins", other.bins, first.bins),
        ):
            if met != wanted:
                raise InputError(
                    other.name,
                    got=f"{met} {what}",
                    expected=f"{wanted}, as {first.name} has",
                    cause="train subjects of one grid and one number of bins together; name them",
                )


def batch_of(items: Sequence[Item]) -> dict[str, Any]:
    """Items stacked, texts as lists."""
    return {
        name: [item[name] for item in items]
        if isinstance(items[0][name], str)
        else np.stack([item[name] for item in items])
        for name in items[0]
    }
