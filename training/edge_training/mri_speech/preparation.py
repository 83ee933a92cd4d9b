"""rtMRI training data: videos of the vocal tract and recordings → pictures, mels and lists on disk.

    VIDEOS/**/ID.mp4  .avi .mov .mkv .webm, or .npy frames (T, H, W)     WAVS/**/ID.wav  .flac

    OUT/samples/ID/mri.npy       (T, S, S) float32 in 0 … 1
    OUT/samples/ID/mel_db.npy    (T, n_mels) float32 dB, not standardised
    OUT/samples/ID/mask.npy      (T,) float32 ones: frames that count
    OUT/scaler.json              mean and std of each band over all frames, count_frames
    OUT/meta.json                front end, sizes, names of the clips, mean and std
    OUT/mels_gt_log/ID.npy       (n_mels, T) natural logarithm of power, as the vocoder takes it
    OUT/hifigan_filelists/       training.txt, validation.txt, one clip a line: `ID|dummy|dummy`

Layout `padded`: one mel frame for each hop, centred on its picture; pictures interpolated to the mel's frame
rate where the video has another; `hifigan_filelists/wavs/ID.wav` beside the lists, at the mels' rate and
level, so that a vocoder can be fine-tuned on the folder. meta.json also holds layout, frame_scaling and peak.

Layout `legacy`: the files of mri2speech, byte for byte in their shapes. Mels without padding, about two
pictures ahead and four fewer; picture i belongs to mel frame i whatever the video's rate; and windows of
`ref_frames` pictures, stride 1, with standardised mels, in `pairs_ref4/ID.npz` and
`pairs_ref4_npy/ID/{mri,mel,mask}.npy`.

Every recording is divided by the largest |sample| of all. A clip that cannot be used is skipped and reported
with the reason; the others are processed. Work happens in `OUT.partial` beside OUT, which a later call with
the same settings continues; OUT itself appears when everything is complete.

Source of steps and files: YamaneKoyo/mri-to-speech.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd, empty_bands
from edge_runtime.errors import ConfigError, EdgeError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.media.frame_rate import check_rate
from edge_runtime.media.video import (
    FrameScaling,
    assumed_rate,
    differs,
    follow_clock,
    open_video,
    prepare_frames,
)
from edge_runtime.store.growing_arrays import ArrayWriter
from edge_runtime.store.ownership import plain_name
from edge_runtime.store.reading import read_array
from edge_runtime.store.targets import replace_directory, replace_file
from edge_training.mri_speech.partial import LISTS, PLAN, SAMPLES, WAVS, Plan, is_prepared, partial_folder
from edge_training.worker_processes import Job, Result, check_workers, finished

Layout = Literal["padded", "legacy"]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".npy")
AUDIO_SUFFIXES = (".wav", ".flac")
APART = 1.0  # s that a video and its recording may differ in length
LEAST_VARIANCE = 1e-12
VOCODER_FLOOR = 1e-5  # of a power, before its logarithm
BLOCK = 64  # pictures prepared at a time

F32 = NDArray[np.float32]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The settings of `prepare`. Raises a ConfigError that names the entry and the rule."""

    layout: Layout = "padded"
    size: int = 256  # pixels of a side
    frame_scaling: FrameScaling = "full-scale"
    sample_rate: int = 11413  # Hz
    n_mels: int = 64
    n_fft: int = 2048
    win_length: int = 2048
    hop_length: int = 420
    pre_emphasis: float = 0.97
    ref_frames: int = 4  # pictures of a training window
    valid_ratio: float = 0.1  # of the clips, kept for validation
    seed: int = 42  # of the split
    fps: float | None = None  # of videos that state none, .npy frames; None: the mel's
    mel: MelConfig = field(init=False)

    def __post_init__(self) -> None:
        for name, choices in (("layout", get_args(Layout)), ("frame_scaling", get_args(FrameScaling))):
            if getattr(self, name) not in choices:
                raise ConfigError(name, got=repr(getattr(self, name)), expected=" or ".join(choices))
        if self.layout == "legacy" and self.frame_scaling != "full-scale":
            raise ConfigError("frame_scaling", got="'min-max'", expected="'full-scale' in layout legacy")
        for name, low, high in (("size", 16, 1024), ("ref_frames", 1, 1024), ("seed", 0, 2**32)):
            if not low <= getattr(self, name) <= high:
                expected = f"a whole number, {low} … {high}"
                raise ConfigError(name, got=str(getattr(self, name)), expected=expected)
        if self.fps is not None:
            check_rate(self.fps, "fps")
        if not 0 <= self.valid_ratio < 1:
            raise ConfigError("valid_ratio", got=f"{self.valid_ratio}", expected="a number in 0 … 1")
        mel = replace(
            PRESETS["rtmri"],
            sample_rate=self.sample_rate,
            n_mels=self.n_mels,
            n_fft=self.n_fft,
            win_length=self.win_length,
            hop_length=self.hop_length,
            pre_emphasis=self.pre_emphasis,
            padding="none" if self.layout == "legacy" else "reflect",
        )
        object.__setattr__(self, "mel", mel)

    @property
    def clock(self) -> float:
        """Mel frames, and pictures, per second."""
        return self.sample_rate / self.hop_length


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`."""

    folder: Path
    clips: tuple[str, ...]
    frames: int
    skipped: Mapping[str, str]  # clip → why
    notes: tuple[str, ...]  # remarks on the clips that were used


@dataclass(frozen=True)
class Clip:
    """The files of one clip."""

    name: str
    video: Path
    audio: Path

    @property
    def signature(self) -> list[int]:
        """Sizes and times of the files, to recognise those of an earlier call."""
        found = [path.stat() for path in (self.video, self.audio)]
        return [number for file in found for number in (file.st_size, file.st_mtime_ns)]


def prepare(
    videos: str | os.PathLike[str],
    wavs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    preparation: Preparation | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Say | None = None,
) -> Prepared:
    """Prepare all clips into the folder ``out``; files and layouts as above.

    Args:
        videos, wavs: folders; a clip is a video and a recording of one name.
        workers: processes; None: one for each processor.
        overwrite: replace an earlier result of this function.
        progress: called with a line of text for each clip done.

    Raises:
        InputError: no such folders, no clip at all, or no usable one (with the first one's reason).
        ConfigError: a front end that contradicts itself, fewer than one worker.
        TargetError: ``out`` exists or cannot be written.
        BackendError: a video needs opencv, which is not installed.
    """
    processes = check_workers(workers)
    chosen, target = preparation or Preparation(), Path(out)
    clips, skipped = find_clips(Path(videos), Path(wavs))
    with replace_directory(target, overwrite, ours=is_prepared) as fresh:
        run = _Run(chosen, _partial(target), processes, progress or (lambda _: None), skipped)
        peak = run.loudest(clips)
        plan = Plan(
            {k: v for k, v in asdict(chosen).items() if k != "mel"} | {"peak": peak},
            {clip.name: clip.signature for clip in clips},
        )
        with partial_folder(run.place, plan):
            write_json(run.place / PLAN, plan.to_json())
            notes = (*_front_end_notes(chosen), *run.samples(clips, peak))
            done = [clip for clip in clips if run.is_done(clip.name)]
            if not done:
                shutil.rmtree(run.place)
                raise _nothing_left(skipped)
            frames = _finish(run.place, chosen, done, peak, wavs=Path(wavs))
            _move(run.place, fresh, done, chosen)
            shutil.rmtree(run.place)
    reasons = {name: str(refusal) for name, refusal in sorted(skipped.items())}
    return Prepared(target, tuple(clip.name for clip in done), frames, reasons, notes)


def _move(place: Path, fresh: Path, done: Sequence[Clip], preparation: Preparation) -> None:
    """Move the results out of the partial folder; plan and left-over recordings stay there."""
    for entry in sorted(place.iterdir()):
        if entry.name not in (PLAN, WAVS):
            entry.rename(fresh / entry.name)
    if preparation.layout == "padded":
        # one by one: a clip whose pictures were refused, or that is gone by now, has left one too
        heard = fresh / LISTS / "wavs"
        heard.mkdir()
        for clip in done:
            (place / WAVS / f"{clip.name}.wav").rename(heard / f"{clip.name}.wav")


def _nothing_left(skipped: Mapping[str, InputError]) -> InputError:
    """The first clip's refusal, which says that the others were refused too."""
    first = next(iter(skipped.values()))
    others = f"and none of the other {len(skipped) - 1} clips can be used" if len(skipped) > 1 else ""
    cause = "; ".join(text for text in (first.cause, others) if text)
    return InputError(first.what, got=first.got, expected=first.expected, cause=cause)


def _partial(target: Path) -> Path:
    return target.resolve().with_name(f"{target.resolve().name}.partial")


# ---- clips ------------------------------------------------------------------------------------------------


def find_clips(videos: Path, wavs: Path) -> tuple[list[Clip], dict[str, InputError]]:
    """Clips by name, and names that lack a partner or have two, with the refusal."""
    pictures, sounds = _by_stem(videos, VIDEO_SUFFIXES), _by_stem(wavs, AUDIO_SUFFIXES)
    clips, skipped = [], {}
    for name in sorted(pictures.keys() | sounds.keys()):
        try:
            plain_name(name, "a clip's file name")
        except InputError as refusal:
            skipped[ascii(name)] = refusal
            continue
        ours, theirs = pictures.get(name, []), sounds.get(name, [])
        if len(ours) == len(theirs) == 1:
            clips.append(Clip(name, ours[0], theirs[0]))
            continue
        found = ", ".join(str(path) for path in ours + theirs)
        skipped[name] = InputError(
            f"clip {name}", got=found, expected=f"one video and one recording named {name}"
        )
    if not clips:
        raise InputError(
            f"{videos} and {wavs}",
            got=f"{len(pictures)} videos and {len(sounds)} recordings without a common name",
            expected="ID.mp4 and ID.wav",
            cause="names are compared without folder and suffix",
        )
    return clips, skipped


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise InputError(str(folder), got=got, expected=f"a folder of {', '.join(suffixes)}")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            found.setdefault(path.stem, []).append(path)
    return found


# ---- work -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One call of `prepare`; clips that fail are added to `skipped`."""

    preparation: Preparation
    place: Path
    workers: int
    say: Say
    skipped: dict[str, InputError]

    def loudest(self, clips: list[Clip]) -> float:
        """Largest |sample| of all recordings, 1 where all are silent."""
        task = partial(_loudest, rate=self.preparation.sample_rate)
        found = dict(self._each(task, [(clip.name, clip.audio) for clip in clips]))
        return max(found.values(), default=0.0) or 1.0

    def samples(self, clips: list[Clip], peak: float) -> tuple[str, ...]:
        """Write the samples that are missing; returns notes on them."""
        left = [c for c in clips if c.name not in self.skipped and not self.is_done(c.name)]
        task = partial(_write_sample, preparation=self.preparation, peak=peak, place=self.place)
        notes: dict[str, list[str]] = {}
        for count, (name, note) in enumerate(self._each(task, [(clip.name, clip) for clip in left]), 1):
            own = note and note != assumed_rate(self.preparation.clock)  # not that of all arrays alike
            self.say(f"{count}/{len(left)}: {name}" + (f", {note}" if own else ""))
            if note:
                notes.setdefault(note, []).append(name)
        return tuple(sorted(f"{_some(sorted(names))}: {note}" for note, names in notes.items()))

    def is_done(self, name: str) -> bool:
        """Whether the clip's files are there, of this call or of an earlier one."""
        heard = self.preparation.layout == "legacy" or (self.place / WAVS / f"{name}.wav").is_file()
        return heard and (self.place / SAMPLES / name).is_dir()

    def _each(
        self, task: Callable[[Job], Result], jobs: list[tuple[str, Job]]
    ) -> Iterator[tuple[str, Result]]:
        """(clip, result) as they are done; a clip with an error goes to `skipped`."""
        for name, result in finished(task, jobs, self.workers):
            try:
                yield name, result()
            except InputError as refusal:
                self.skipped[name] = refusal
                self.say(f"skipped {name}: {refusal}")


def _loudest(audio: Path, rate: int) -> float:
    return float(np.abs(read_audio(audio, rate).samples).max())


def _write_sample(clip: Clip, preparation: Preparation, peak: float, place: Path) -> str:
    """Write one clip's folder, whole or not at all; a note, or nothing."""
    samples = read_audio(clip.audio, preparation.sample_rate).samples / np.float32(peak)
    frames, fps, count, note = _read_video(clip.video, preparation, len(samples))
    _check_lengths(clip, count / (fps or preparation.clock), len(samples) / preparation.sample_rate)
    try:
        mel_db = MelFrontEnd(preparation.mel)(samples).T
    except EdgeError as error:
        raise error.within(str(clip.audio)) from error
    length = min(len(frames), len(samples) // preparation.hop_length, len(mel_db))
    if length < preparation.ref_frames:
        raise InputError(
            str(clip.video),
            got=f"{length} frames",
            expected=f"at least {preparation.ref_frames}, one training window",
        )
    if preparation.layout == "padded":
        # the vocoder's recording: of the mels' length and level
        part = samples[: length * preparation.hop_length]
        write_wav(place / WAVS / f"{clip.name}.wav", part, preparation.sample_rate)
    with replace_directory(place / SAMPLES / clip.name) as fresh:
        _write_pictures(fresh / "mri.npy", frames[:length], preparation, clip.video)
        np.save(fresh / "mel_db.npy", np.ascontiguousarray(mel_db[:length], np.float32))
        np.save(fresh / "mask.npy", np.ones(length, np.float32))
    return "; ".join(text for text in (note, _note(fps, preparation)) if text)


def _read_video(
    path: Path, preparation: Preparation, samples: int
) -> tuple[list[NDArray[Any]], float | None, int, str]:
    """Pictures on the mel's clock, as many as the recording needs; the video's rate, number of frames and
    what is to be said of it."""
    with open_video(path, square=True) as reader:
        counted = _Counted(reader)
        legacy = preparation.layout == "legacy"
        # one rate for all arrays; a video that states its own keeps it
        fps = preparation.fps if reader.fps is None else reader.fps
        on_clock = counted if legacy else follow_clock(counted, fps, preparation.clock)
        frames = list(islice(on_clock, samples // preparation.hop_length))
        for _ in counted:  # the rest: to know the length, and that the file is whole
            pass
        return frames, fps, counted.count, reader.note


class _Counted:
    """An iterator that counts the items it has given."""

    def __init__(self, items: Iterable[NDArray[Any]]) -> None:
        self._items = iter(items)
        self.count = 0

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self

    def __next__(self) -> NDArray[Any]:
        item = next(self._items)
        self.count += 1
        return item


def _check_lengths(clip: Clip, video: float, audio: float) -> None:
    if abs(video - audio) > APART:
        raise InputError(
            str(clip.video),
            got=f"{video:.2f} s",
            expected=f"within {APART:g} s of the {audio:.2f} s of {clip.audio.name}",
            cause="they are different takes, or the video states a wrong frame rate",
        )


def _write_pictures(
    path: Path, frames: Sequence[NDArray[Any]], preparation: Preparation, video: Path
) -> None:
    # no memory map: where the disk is full, a write into one ends the process without a word (SIGBUS)
    try:
        with ArrayWriter(path, (preparation.size, preparation.size)) as pictures:
            for start in range(0, len(frames), BLOCK):
                block = np.stack(frames[start : start + BLOCK])
                pictures.write(prepare_frames(block, preparation.size, preparation.frame_scaling))
    except InputError as error:
        raise error.within(str(video)) from error


def _some(names: Sequence[str]) -> str:
    """The first of several clips of which the same is to be said."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _front_end_notes(preparation: Preparation) -> list[str]:
    """What is to be said of the mel that was asked for."""
    empty = empty_bands(preparation.mel)
    return [f"{empty}; they are kept, and hold the lowest level"] if empty else []


def _note(fps: float | None, preparation: Preparation) -> str:
    if fps is None and preparation.layout == "padded":
        return assumed_rate(preparation.clock)
    if not differs(fps, preparation.clock):
        return ""
    taken = "taken for the mel's" if preparation.layout == "legacy" else "resampled to the mel's"
    return f"{fps:.4g} frames per second, {taken} {preparation.clock:.4g}"


# ---- the whole --------------------------------------------------------------------------------------------


def _finish(place: Path, preparation: Preparation, clips: list[Clip], peak: float, wavs: Path) -> int:
    """Everything that needs all samples; the number of frames."""
    names = [clip.name for clip in clips]
    mean, std, frames = _statistics(place, names)
    write_json(place / "scaler.json", {"mean": mean.tolist(), "std": std.tolist(), "count_frames": frames})
    truth = place / "mels_gt_log"
    truth.mkdir()
    for name in names:
        np.save(truth / f"{name}.npy", vocoder_mel(read_array(place / SAMPLES / name / "mel_db.npy")))
    lists = place / LISTS
    lists.mkdir()
    if preparation.layout == "legacy":
        _write_pairs(place, names, preparation.ref_frames, mean, std)
        listed = [path.stem for path in sorted(wavs.glob("*.wav"))]  # as mri2speech: all, not recursive
    else:
        listed = names
    held, kept = split(listed, preparation)
    for name, stems in (("training", kept), ("validation", held)):
        text = "".join(f"{stem}|dummy|dummy\n" for stem in stems)
        (lists / f"{name}.txt").write_text(text, encoding="utf-8")
    write_json(place / "meta.json", _meta(preparation, names, mean, std, peak))
    return frames


def _statistics(place: Path, names: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Mean and deviation of each band over all frames, float64, and their number."""
    frames, total, squares = 0, np.zeros(1), np.zeros(1)
    for name in names:
        mel = read_array(place / SAMPLES / name / "mel_db.npy").astype(np.float64)
        frames, total, squares = frames + len(mel), total + mel.sum(0), squares + np.square(mel).sum(0)
    mean = total / frames
    return mean, np.sqrt(np.maximum(squares / frames - mean**2, LEAST_VARIANCE)), frames


def vocoder_mel(mel_db: NDArray[Any]) -> F32:
    """(T, n_mels) dB → (n_mels, T) natural logarithm of power, as the vocoder was trained on."""
    power = np.power(10.0, np.asarray(mel_db, np.float64) / 10.0)
    return np.ascontiguousarray(np.log(np.maximum(power, VOCODER_FLOOR)).T, np.float32)


def split(names: Sequence[str], preparation: Preparation) -> tuple[list[str], list[str]]:
    """(validation, training) as mri2speech draws them; `padded` leaves at least one clip to train on."""
    shuffled = sorted(names)
    random.Random(preparation.seed).shuffle(shuffled)
    held = max(1, int(preparation.valid_ratio * len(shuffled)))
    if preparation.layout == "padded":
        held = min(held, len(shuffled) - 1)
    return shuffled[:held], shuffled[held:]


def _write_pairs(
    place: Path, names: Sequence[str], window: int, mean: NDArray[Any], std: NDArray[Any]
) -> None:
    packed, plain = place / f"pairs_ref{window}", place / f"pairs_ref{window}_npy"
    packed.mkdir()
    for name in names:
        sample = place / SAMPLES / name
        mel = (read_array(sample / "mel_db.npy") - mean) / std
        windows: dict[str, Any] = {
            "mri": _windows(read_array(sample / "mri.npy")[:, None], window),
            "mel": _windows(mel.astype(np.float32), window),
            "mask": _windows(read_array(sample / "mask.npy"), window),
        }
        np.savez_compressed(packed / f"{name}.npz", **windows)
        (plain / name).mkdir(parents=True)
        for key, array in windows.items():
            np.save(plain / name / f"{key}.npy", array)


def _windows(values: F32, window: int) -> F32:
    """(T, …) → (T − window + 1, window, …), stride 1."""
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
    return np.ascontiguousarray(np.moveaxis(views, -1, 1))


def _meta(
    preparation: Preparation, names: list[str], mean: NDArray[Any], std: NDArray[Any], peak: float
) -> dict[str, Any]:
    chosen = preparation
    origins = {
        "sr": chosen.sample_rate, "n_mels": chosen.n_mels, "n_fft": chosen.n_fft,
        "win_length": chosen.win_length, "hop_length": chosen.hop_length, "preemph": chosen.pre_emphasis,
        "resize_h": chosen.size, "resize_w": chosen.size, "ref_frames": chosen.ref_frames,
        "stems": names, "mean": mean.tolist(), "std": std.tolist(),
    }  # fmt: skip
    if chosen.layout == "legacy":
        return origins
    return origins | {"layout": chosen.layout, "frame_scaling": chosen.frame_scaling, "peak": peak}


def write_json(path: Path, value: object) -> None:
    """JSON with an indent, whole or not at all."""
    with replace_file(path) as fresh:
        fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
