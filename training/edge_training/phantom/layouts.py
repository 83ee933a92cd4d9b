"""Writers of the layouts on disk that the systems read, one function for each; see `corpus` for the paths.

ECoG, one HDF5 file a speaker, all at 125 Hz, N frames, trials one after another:

    ecog_alldataset (N, 64 or 128)      wave_re_alldataset (N · 128, 1) at 16 kHz
    wave_re_spec_alldataset (N, F)      dB on [−1, 1]; F is 256 for women and 512 for men
    wave_re_spec_amp_alldataset (N, F)  linear power
    start_ind_re_valid_alldataset, end_ind_re_valid_alldataset (trials,)    label_alldataset (trials,) bytes
    noisesample_re_alldataset (F,)      formant_re_alldataset (N, 6) Hz
    pitch_re_alldataset (N,) Hz         intensity_re_alldataset (N,) dB
    task_alldataset (trials,) bytes     phone_re_alldataset (N,) bytes; the attribute gender
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import BackendError
from edge_runtime.media.audio import write_wav
from edge_runtime.media.video import write_video
from edge_runtime.pipelines.ecog_speech.grids import Density
from edge_training.phantom.cortex import ECOG_RATE
from edge_training.phantom.lexicon import WORDS
from edge_training.phantom.speaker import Speaker
from edge_training.phantom.tract import FORMANT_RATE
from edge_training.phantom.utterance import MRI_RATE, Utterance

MRI_AUDIO_RATE, MRI_HOP = 11413, 420  # Hz, samples per picture
SYNC_AUDIO_RATE, WAVS_RATE, ECOG_AUDIO_RATE = 16000, 22050, 16000  # Hz
ECOG_HOP = ECOG_AUDIO_RATE // ECOG_RATE  # samples per frame
ECOG_DB = (-50.0, 22.5)  # of the spectrogram's [−1, 1]
TAIL_FRAMES = 400  # silent frames that the readers need after the last trial
JPEG_QUALITY = 95
VALIDATION = 10  # one in so many


def check_libraries(system: str) -> None:
    """Refuse before anything is written if the layout needs a library that is missing.

    Raises:
        BackendError: no opencv (sync) or no h5py (ecog). mri falls back to .npy without opencv.
    """
    if system == "sync":
        _load("cv2", "writing JPEG pictures", "opencv", "pip install 'edge-export[video]'")
    if system == "ecog":
        _load("h5py", "writing HDF5", "h5py", "pip install h5py")


def _load(module: str, what: str, library: str, cure: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(what, got=f"no module named {module}", expected=library, cause=cure) from error


def write_json(path: Path, value: object) -> None:
    """Canonical JSON: sorted keys, indent 2, newline at the end."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_labels(path: Path, utterance: Utterance) -> None:
    """Words, syllables and phones with on- and offsets in seconds; f0 and formants in Hz at 125 Hz."""

    def rows(intervals: Iterable[Any]) -> list[list[object]]:
        return [[round(i.start, 4), round(i.end, 4), i.label] for i in intervals]

    score, tracks = utterance.score, utterance.tracks
    labels = {
        "speaker": utterance.speaker.name,
        "text": utterance.text,
        "duration": round(utterance.duration, 4),
        "words": rows(score.words),
        "syllables": rows(score.syllables),
        "phones": rows(score.phones),
        "rate": FORMANT_RATE,
        "f0": [round(float(f), 1) for f in tracks.pitch],
        "formants": [[round(float(f)) for f in frame] for frame in tracks.formants],
    }
    path.write_text(json.dumps(labels, sort_keys=True) + "\n", encoding="utf-8")


def _validation(count: int) -> int:
    """How many of ``count`` utterances, the last ones, are kept apart."""
    return max(1, count // VALIDATION)


# mri -------------------------------------------------------------------------------------------------------


def write_mri(folder: Path, utterances: Iterable[Utterance], _count: int) -> None:
    """normalized_videos/ID.mp4 (or .npy without opencv), audio_wav/ID.wav, labels/ID.json."""
    videos, sounds, labels = _folders(folder, "normalized_videos", "audio_wav", "labels")
    try:
        importlib.import_module("cv2")
        suffix = ".mp4"
    except ImportError:
        suffix = ".npy"
    for utterance in utterances:
        audio = utterance.audio(MRI_AUDIO_RATE)
        video = utterance.midsagittal(MRI_RATE, len(audio) // MRI_HOP)
        stem = f"{utterance.index:03d}"
        height, width = video.shape[1:]
        with write_video(videos / f"{stem}{suffix}", height, width, MRI_RATE) as append:
            for frame in video:
                append(frame)
        write_wav(sounds / f"{stem}.wav", audio, MRI_AUDIO_RATE)
        write_labels(labels / f"{stem}.json", utterance)


def _folders(root: Path, *names: str) -> list[Path]:
    made = [root / name for name in names]
    for folder in made:
        folder.mkdir(parents=True)
    return made


# sync ------------------------------------------------------------------------------------------------------


def write_sync(folder: Path, utterances: Iterable[Utterance], count: int) -> None:
    """videos/NAME/{k}.jpg and audio.wav, filelists/{train,val}.txt, labels/NAME.json."""
    cv2 = _load("cv2", "writing JPEG pictures", "opencv", "pip install 'edge-export[video]'")
    videos, lists, labels = _folders(folder, "videos", "filelists", "labels")
    names = []
    for utterance in utterances:
        name = f"{utterance.speaker.name}_{utterance.index:03d}"
        place = videos / name
        place.mkdir()
        for k, picture in enumerate(utterance.face()):
            coded, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            assert coded
            (place / f"{k}.jpg").write_bytes(data.tobytes())
        write_wav(place / "audio.wav", utterance.audio(SYNC_AUDIO_RATE), SYNC_AUDIO_RATE)
        write_labels(labels / f"{name}.json", utterance)
        names.append(name)
    _write_lines(lists / "train.txt", names[: -_validation(count)])
    _write_lines(lists / "val.txt", names[-_validation(count) :])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# wavs ------------------------------------------------------------------------------------------------------


def write_wavs(folder: Path, utterances: Iterable[Utterance], count: int) -> None:
    """wavs/ID.wav, metadata.csv as LJSpeech has it, HiFi-GAN's file lists, labels/ID.json."""
    sounds, labels = _folders(folder, "wavs", "labels")
    lines = []
    for utterance in utterances:
        stem = f"{utterance.index:03d}"
        write_wav(sounds / f"{stem}.wav", utterance.audio(WAVS_RATE), WAVS_RATE)
        write_labels(labels / f"{stem}.json", utterance)
        lines.append(f"{stem}|{utterance.text}|{utterance.text}")
    _write_lines(folder / "metadata.csv", lines)
    _write_lines(folder / "training.txt", lines[: -_validation(count)])
    _write_lines(folder / "validation.txt", lines[-_validation(count) :])


WRITERS: Mapping[str, Callable[[Path, Iterable[Utterance], int], None]] = {
    "mri": write_mri,
    "sync": write_sync,
    "wavs": write_wavs,
}


# ecog ------------------------------------------------------------------------------------------------------


def balanced_words(count: int, rng: np.random.Generator) -> list[str]:
    """``count`` words in random order, each as often as the others (± 1)."""
    rounds = -(-count // len(WORDS))
    order = np.concatenate([rng.permutation(len(WORDS)) for _ in range(rounds)])
    return [WORDS[i] for i in order[:count]]


def write_ecog(
    folder: Path,
    speakers: Iterable[Speaker],
    trials: Mapping[str, list[Utterance]],
    density: Density = "LD",
) -> None:
    """P00.h5 a speaker, AllSubjectInfo.json and train_param_production.json."""
    h5py = _load("h5py", "writing HDF5", "h5py", "pip install h5py")
    folder.mkdir()
    subjects, parameters = {}, {}
    for speaker in speakers:
        subject = f"P{speaker.index:02d}"
        said = trials[speaker.name]
        with h5py.File(folder / f"{subject}.h5", "w") as file:
            for name, array in _subject_arrays(speaker, said, density):
                file.create_dataset(name, data=array)
            gender = "Female" if speaker.female else "Male"
            file.attrs["gender"] = gender
        subjects[subject] = {"Density": density, "Task": ["VisRead"], "Gender": gender, "Brain": "left"}
        parameters[subject] = {
            "Task": ["VisRead"],
            "TestNum": [_validation(len(said))],
            "Crop": None,
            "Trim": 5,
        }
    write_json(
        folder / "AllSubjectInfo.json",
        {"Shared": {"DOWN_WAVE_FS": ECOG_AUDIO_RATE, "ORG_TF_FS": ECOG_RATE}, "Subj": subjects},
    )
    shared = {"SeqLen": 128, "DOWN_TF_FS": ECOG_RATE, "DOWN_ECOG_FS": ECOG_RATE}
    ahead = {"Train": {"ahead_onset": 32}, "Test": {"ahead_onset": 32}}
    write_json(folder / "train_param_production.json", shared | ahead | {"Subj": parameters})


def _subject_arrays(
    speaker: Speaker, trials: list[Utterance], density: Density
) -> Iterable[tuple[str, NDArray[Any]]]:
    """Datasets of one file, one after another: the large ones need not be in memory together."""
    tail = np.zeros(TAIL_FRAMES * ECOG_HOP, np.float32)
    wave = np.concatenate([*(trial.audio(ECOG_AUDIO_RATE) for trial in trials), tail])
    frames = len(wave) // ECOG_HOP
    yield "wave_re_alldataset", wave[:, None]
    yield "ecog_alldataset", _concatenated_ecog(trials, density)
    starts, ends = _responses(trials)
    yield "start_ind_re_valid_alldataset", starts
    yield "end_ind_re_valid_alldataset", ends
    yield "label_alldataset", np.array([trial.text.encode() for trial in trials])
    yield "task_alldataset", np.array([b"VisRead"] * len(trials))
    yield "phone_re_alldataset", _phones(trials, frames)

    preset = PRESETS["ecog-256" if speaker.female else "ecog-512"]
    linear = replace(preset, n_mels=None, log="none", scale_from=None)
    scaled = replace(preset, n_mels=None, clip=True)
    yield "wave_re_spec_amp_alldataset", MelFrontEnd(linear)(wave).T
    spectrogram = MelFrontEnd(scaled)(wave).T
    yield "wave_re_spec_alldataset", spectrogram
    yield "noisesample_re_alldataset", _background(spectrogram, starts)

    tracks = [trial.tracks for trial in trials]
    rest = frames - sum(len(track.pitch) for track in tracks)
    pitch = np.concatenate([*(track.pitch for track in tracks), np.zeros(rest, np.float32)])
    formants = np.concatenate([track.formants for track in tracks])
    yield "pitch_re_alldataset", pitch
    yield "formant_re_alldataset", np.concatenate([formants, np.repeat(formants[-1:], rest, axis=0)])
    power = np.mean(wave.reshape(frames, ECOG_HOP).astype(np.float64) ** 2, axis=1)
    yield "intensity_re_alldataset", (10.0 * np.log10(np.maximum(power, 4e-10) / 4e-10)).astype(np.float32)


def _concatenated_ecog(trials: list[Utterance], density: Density) -> NDArray[np.float32]:
    """Trials and the silent tail, z-scored over everything, at most 5."""
    recorded = [trial.ecog(density=density) for trial in trials]
    rest = recorded[-1][-1:]
    activity = np.concatenate([*recorded, np.repeat(rest, TAIL_FRAMES, axis=0)])
    scored: NDArray[np.float32] = np.minimum((activity - activity.mean()) / activity.std(), 5.0)
    return scored


def _phones(trials: list[Utterance], frames: int) -> NDArray[np.bytes_]:
    """(frames,) the phone in the middle of each frame; "sil" where none is."""
    labels = np.full(frames, b"sil", "S8")
    first = 0
    for trial in trials:
        for phone in trial.score.phones:
            span = slice(first + round(phone.start * ECOG_RATE), first + round(phone.end * ECOG_RATE))
            labels[span] = phone.label.encode()
        first += round(trial.duration * ECOG_RATE)
    return labels


def _responses(trials: list[Utterance]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last frame of each word."""
    first, starts, ends = 0, [], []
    for trial in trials:
        word = trial.words[0]
        starts.append(first + round(word.start * ECOG_RATE))
        ends.append(first + round(word.end * ECOG_RATE))
        first += round(trial.duration * ECOG_RATE)
    return np.array(starts), np.array(ends)


def _background(spectrogram: NDArray[Any], starts: NDArray[Any]) -> NDArray[np.float32]:
    """Mean power per bin before the words: of the frames onset − 31 … onset − 16, averaged in dB."""
    frames = np.concatenate([np.arange(start - 31, start - 15) for start in starts])
    db = (spectrogram[frames].mean(axis=0) + 1.0) / 2.0 * (ECOG_DB[1] - ECOG_DB[0]) + ECOG_DB[0]
    power: NDArray[np.float32] = (10.0 ** (db / 10.0)).astype(np.float32)
    return power
