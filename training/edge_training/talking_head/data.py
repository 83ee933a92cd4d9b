"""Audio-visual data: mouth windows and the mel windows of the same 200 ms.

    DATA/filelists/train.txt, val.txt   optional: one clip a line, its name before the first blank
    DATA/NAME/{k}.jpg and audio.wav     a clip; also below DATA/videos. k is the picture's place in the video
                                        at 25 pictures/s; places where no face was found are left out
    DATA/NAME.mp4 and NAME.wav          a clip as a video file of the face alone (.avi, .mkv, .mov, .webm too)

Without lists all clips in the folder are used, the last `validation_clips` by name for validation.

A window begins at picture f: pictures f … f+4, each resized to 96×96, lower half, blue-green-red; mel frames
int(80·f/25) … +15 of the `talking-head` front end on 16 kHz audio. Windows that lack a picture or mel frames
are left out. An item is several windows of one clip, `spacing` pictures or more apart.

Source of the layout and the numbers: Wav2Lip. Clips are read when first needed (opencv) and kept in memory up
to `CACHE_BYTES` in each process; everything that needs no decoding is checked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.windows import MEL_RATE, WINDOW_FRAMES
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.video import import_opencv
from edge_runtime.store.ownership import path_inside
from edge_runtime.store.reading import read_bytes, read_text
from edge_training.engine.items import Item
from edge_training.talking_head.syncnet_face import HEIGHT, PICTURES, WIDTH

FPS = 25
RATE = 16000  # Hz
AUDIO = "audio.wav"
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
CACHE_BYTES = 4 << 30
HELD_WINDOWS = PICTURES + 1  # of a validation clip: two that do not overlap
# audio that ends this much (s) before its pictures belongs to another recording, or the video has not 25 fps
SHORT_BY = 0.5
FLIP, GAIN, CONTRAST, BRIGHTNESS = 0.5, 0.5, 0.15, 20.0  # see `_vary`

Pictures = NDArray[np.uint8]  # (n, 48, 96, 3)
Mel = NDArray[np.float32]  # (80, frames)


@dataclass(frozen=True)
class SyncSource:
    """Which clips to read and how to cut them into items."""

    folder: Path
    windows: int  # of one item
    spacing: int = 1  # pictures, least between the starts of two windows of an item
    vary: bool = False  # mirror, brighten and amplify training items at random
    validation_clips: int | None = None

    @property
    def least(self) -> int:
        """Fewest windows that a training clip must have."""
        return (self.windows - 1) * self.spacing + 1


@dataclass(frozen=True)
class Clip:
    """The files of one clip."""

    name: str
    pictures: Path  # the folder of {k}.jpg, or the video file
    audio: Path


@dataclass(frozen=True)
class Sights:
    """A clip that was read."""

    places: NDArray[np.int64]  # (n,) place of each picture in the video, rising
    pictures: Pictures
    mel: Mel
    starts: NDArray[np.int64]  # (windows,) places at which a window begins, rising

    def faces(self, starts: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Windows (windows, 15, 48, 96) that begin at ``starts (windows,)``: 5 pictures × 3 colours each."""
        first = np.searchsorted(self.places, starts)
        taken = self.pictures[first[:, None] + np.arange(PICTURES)]  # (windows, 5, 48, 96, 3)
        return taken.transpose(0, 1, 4, 2, 3).reshape(len(starts), 3 * PICTURES, HEIGHT, WIDTH)

    def mels(self, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mel frames (windows, 1, 80, 16) of the windows that begin at ``starts (windows,)``."""
        columns = mel_starts(starts)[:, None] + np.arange(WINDOW_FRAMES)
        return np.ascontiguousarray(self.mel[:, columns].transpose(1, 0, 2)[:, None])


def mel_starts(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """First mel frame, int(80·f/25), of the windows that begin at pictures ``starts (n,)``; (n,) int64."""
    return np.asarray(MEL_RATE * (starts / FPS)).astype(np.int64)


class SyncData:
    """Windows for training and whole clips for validation (`TrainingData`).

    Items are `face` (windows, 15, 48, 96) uint8, `mel` (windows, 1, 80, 16) float32, `start` (windows,) int64
    and `name`; a validation item has all windows of its clip.

    Raises:
        InputError: empty folders, missing list entries, audio without pictures, pictures without audio, wrong
            rates, clips that are too short; the sentence names the file.
        BackendError: opencv is not installed.
    """

    def __init__(self, source: SyncSource) -> None:
        self.source = source
        self._train, self._held = split(source)
        self.names = tuple(clip.name for clip in self._train)
        self.validation_names = tuple(clip.name for clip in self._held)
        self._cache: dict[str, Sights] = {}
        self._cached_bytes = 0
        for clip in self._train:
            check_clip(clip, source.least)
        for clip in self._held:
            check_clip(clip, HELD_WINDOWS)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        found = self._train[clip]
        sights = self._sights(found)
        starts = draw_starts(sights.starts, self.source, draw, found.name)
        faces, mels = sights.faces(starts), sights.mels(starts)
        if self.source.vary:
            faces, mels = _vary(faces, mels, draw)
        return {"face": faces, "mel": mels, "start": starts, "name": found.name}

    def validation_item(self, clip: int) -> Item:
        return self._whole(self._held[clip])

    def training_clip(self, clip: int) -> Item:
        """A whole training clip without random changes."""
        return self._whole(self._train[clip])

    def _whole(self, clip: Clip) -> Item:
        sights = self._sights(clip)
        faces, mels = sights.faces(sights.starts), sights.mels(sights.starts)
        return {"face": faces, "mel": mels, "start": sights.starts, "name": clip.name}

    def _sights(self, clip: Clip) -> Sights:
        found = self._cache.get(clip.name)
        if found is not None:
            return found
        sights = read_clip(clip)
        size = sights.pictures.nbytes + sights.mel.nbytes
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cache[clip.name] = sights
            self._cached_bytes += size
        return sights


def draw_starts(
    starts: NDArray[np.int64], source: SyncSource, draw: np.random.Generator, name: str
) -> NDArray[np.int64]:
    """Random starts (windows,) of an item, rising, `spacing` or more apart; every choice is equally likely.

    ``starts (n,)`` are the possible ones; InputError names the clip where they are too few.
    """
    slack = len(starts) - source.least
    if slack < 0:
        raise _too_short(name, len(starts), source.least)
    chosen = np.sort(draw.choice(slack + source.windows, source.windows, replace=False))
    return starts[chosen + (source.spacing - 1) * np.arange(source.windows)]


def _vary(
    faces: NDArray[np.uint8], mels: NDArray[np.float32], draw: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The item with random mirroring, brightness, contrast and ±6 dB of level, equal in all windows.

    On the front end's scale 20 dB are 1.6 and −4 is silence; values at silence stay there.
    """
    if draw.random() < FLIP:
        faces = faces[..., ::-1]
    contrast = 1 + CONTRAST * draw.uniform(-1, 1)
    light = np.arange(256) * contrast + BRIGHTNESS * draw.uniform(-1, 1)
    faces = np.clip(light, 0, 255).astype(np.uint8)[faces]
    gain = np.float32(GAIN * draw.uniform(-1, 1))
    return faces, np.where(mels > -4, np.clip(mels + gain, -4, 4), mels)


# ---- finding clips ----------------------------------------------------------------------------------------


def split(source: SyncSource) -> tuple[list[Clip], list[Clip]]:
    """Clips for training and for validation, by the lists where there are any, else by name."""
    folder = source.folder
    if not folder.is_dir():
        raise InputError(str(folder), got="no such folder", expected="a folder of clips")
    lists = folder / "filelists"
    if (lists / "train.txt").is_file():
        return _listed(folder, lists / "train.txt"), _listed(folder, lists / "val.txt")
    clips = find_clips(folder)
    held = max(1, len(clips) // 10) if source.validation_clips is None else source.validation_clips
    if held >= len(clips):
        raise InputError(
            str(folder),
            got=f"{len(clips)} clips, {held} of them for validation",
            expected="at least one to train on",
            cause="add clips, or lower validation_clips",
        )
    return clips[: len(clips) - held], clips[len(clips) - held :]


def find_clips(folder: Path) -> list[Clip]:
    """All clips of a folder, by name."""
    place = folder / "videos" if (folder / "videos").is_dir() else folder
    entries = sorted(place.iterdir()) if place.is_dir() else []
    clips = [_clip(path.name, path) for path in entries if path.is_dir() and _is_clip(path)]
    clips += [_clip(path.stem, path) for path in entries if path.suffix.lower() in VIDEO_SUFFIXES]
    if not clips:
        inside = next((path for path in entries if path.is_dir()), None)
        raise InputError(
            str(place),
            got="no clips",
            expected=f"folders with {{k}}.jpg and {AUDIO}, or video files with a .wav beside each",
            cause=f"is {inside} meant?" if inside else "",
        )
    return sorted(clips, key=lambda clip: clip.name)


def _is_clip(folder: Path) -> bool:
    return (folder / AUDIO).is_file() or any(folder.glob("*.jpg"))


def _clip(name: str, path: Path) -> Clip:
    return Clip(name, path, path / AUDIO if path.is_dir() else path.with_suffix(".wav"))


def _listed(folder: Path, file: Path) -> list[Clip]:
    """The clips that a list names, in its order."""
    if not file.is_file():
        return []
    names = [words[0] for line in read_text(file, "names of clips").splitlines() if (words := line.split())]
    if not names and file.name == "train.txt":
        raise InputError(str(file), got="no names", expected="one clip a line")
    for name in names:
        path_inside(folder, name, str(file))
    places = [(name, _place(folder, name)) for name in names]
    missing = [name for name, place in places if place is None]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            str(file),
            got=f"{missing[0]!r}{more} without a clip",
            expected=f"names of folders or video files below {folder} or its folder videos",
        )
    return [_clip(name, place) for name, place in places if place is not None]


def _place(folder: Path, name: str) -> Path | None:
    for root in (folder / "videos", folder):
        for path in (root / name, *(root / f"{name}{suffix}" for suffix in VIDEO_SUFFIXES)):
            if path.is_dir() or (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES):
                return path
    return None


def check_clip(clip: Clip, least: int) -> None:
    """Check what needs no decoding; InputError for missing files, wrong rates, fewer than `least` windows."""
    if not clip.audio.is_file():
        cause = (
            "sound inside video files is not read: save it as a 16 kHz WAV beside" if _is_video(clip) else ""
        )
        raise InputError(
            str(clip.pictures), got=f"no {clip.audio.name}", expected="its audio as WAV", cause=cause
        )
    places = _video_places(clip) if _is_video(clip) else picture_places(clip)
    seconds = _seconds(clip.audio)
    if len(places) and seconds < (places[-1] + 1) / FPS - SHORT_BY:
        raise InputError(
            str(clip.audio),
            got=f"{seconds:.2f} s",
            expected=f"about {(places[-1] + 1) / FPS:.2f} s, as its pictures at {FPS} a second last",
            cause="the audio belongs to another clip, or the pictures were taken at another rate",
        )
    mel_frames = PRESETS["talking-head"].frames(round(seconds * RATE))
    windows = len(window_starts(places, mel_frames))
    if windows < least:
        raise _too_short(str(clip.pictures), windows, least)


def _too_short(name: str, windows: int, least: int) -> InputError:
    return InputError(
        name,
        got=f"{windows} windows of {PICTURES} consecutive pictures with their audio",
        expected=f"at least {least}",
        cause="leave this clip out, or lower the number of windows (windows, spacing)",
    )


def window_starts(places: NDArray[np.int64], mel_frames: int) -> NDArray[np.int64]:
    """Places, (windows,), where five pictures in a row begin whose mel frames all exist; ``places (n,)``."""
    if len(places) < PICTURES:
        return places[:0]
    firsts, lasts = places[: 1 - PICTURES], places[PICTURES - 1 :]
    starts: NDArray[np.int64] = firsts[lasts - firsts == PICTURES - 1]
    return np.asarray(starts[mel_starts(starts) + WINDOW_FRAMES <= mel_frames])


def _seconds(path: Path) -> float:
    """Length of the audio, s; refuses another rate. soundfile, where installed, reads only the header."""
    try:
        import soundfile

        info = soundfile.info(path)
        rate, samples = int(info.samplerate), int(info.frames)
    except (ImportError, OSError, RuntimeError):
        audio = read_audio(path)
        rate, samples = audio.sample_rate, len(audio.samples)
    if rate != RATE:
        raise InputError(
            str(path), got=f"{rate} Hz", expected=f"{RATE} Hz", cause="resample the audio to 16 kHz"
        )
    return samples / rate


# ---- reading ----------------------------------------------------------------------------------------------


def read_clip(clip: Clip) -> Sights:
    """Decode a clip: pictures and mel."""
    mel = MelFrontEnd(PRESETS["talking-head"])(read_audio(clip.audio).samples)
    places, pictures = _read_video(clip) if _is_video(clip) else _read_pictures(clip)
    return Sights(places, pictures, mel, window_starts(places, mel.shape[1]))


def picture_places(clip: Clip) -> NDArray[np.int64]:
    """Numbers (n,) of the pictures in a clip's folder, rising; InputError where there are none."""
    stems = [path.stem for path in clip.pictures.glob("*.jpg")]
    if not stems:
        raise InputError(
            str(clip.pictures),
            got="no pictures",
            expected="{k}.jpg, one for each picture of the video",
            cause="synchrony cannot be learnt from audio without video",
        )
    wrong = sorted(stem for stem in stems if not (stem.isascii() and stem.isdecimal()))
    if wrong:
        raise InputError(
            str(clip.pictures / f"{wrong[0]}.jpg"),
            got="a name that is not a number",
            expected="the picture's place in the video, counted from 0",
        )
    return np.array(sorted({int(stem) for stem in stems}), np.int64)


def _read_pictures(clip: Clip) -> tuple[NDArray[np.int64], Pictures]:
    cv2 = import_opencv()
    places = picture_places(clip)
    names = {int(path.stem): path for path in clip.pictures.glob("*.jpg")}

    def decoded() -> Iterator[Any]:
        for place in places:
            data = np.frombuffer(read_bytes(names[int(place)], "a picture"), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if picture is None:
                path = str(names[int(place)])
                raise InputError(path, got="bytes that opencv cannot decode", expected="a picture")
            yield picture

    return places, _lower_halves(cv2, decoded())


def _read_video(clip: Clip) -> tuple[NDArray[np.int64], Pictures]:
    cv2 = import_opencv()
    capture = _capture(cv2, clip)

    def decoded() -> Iterator[Any]:
        while True:
            more, picture = capture.read()
            if not more:
                return
            yield picture

    try:
        pictures = _lower_halves(cv2, decoded())
    finally:
        capture.release()
    return np.arange(len(pictures)), pictures


def _lower_halves(cv2: Any, pictures: Iterator[Any]) -> Pictures:
    """(n, 48, 96, 3): the lower half of each picture, the face tower's input."""
    size = (WIDTH, 2 * HEIGHT)
    halves = [
        (picture if picture.shape[:2] == size[::-1] else cv2.resize(picture, size))[HEIGHT:]
        for picture in pictures
    ]
    return np.stack(halves) if halves else np.empty((0, HEIGHT, WIDTH, 3), np.uint8)


def _video_places(clip: Clip) -> NDArray[np.int64]:
    """The places of a video file's pictures, by its header; refuses another rate than 25."""
    cv2 = import_opencv()
    capture = _capture(cv2, clip)
    rate, count = float(capture.get(cv2.CAP_PROP_FPS)), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if abs(rate - FPS) > 0.01:
        raise InputError(
            str(clip.pictures),
            got=f"{rate:g} pictures a second",
            expected=f"{FPS} pictures a second",
            cause=f"convert it: ffmpeg -i {clip.pictures.name} -r {FPS} …",
        )
    return np.arange(max(0, count))


def _capture(cv2: Any, clip: Clip) -> Any:
    capture = cv2.VideoCapture(str(clip.pictures))
    if not capture.isOpened():
        raise InputError(str(clip.pictures), got="bytes that opencv cannot open", expected="a video file")
    return capture


def _is_video(clip: Clip) -> bool:
    return not clip.pictures.is_dir()
