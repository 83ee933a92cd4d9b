"""What a picture loses of speech, and what speech shows of a picture.

    python -m edge_export.quality.picture [--data DIR --last 4] [--vocoder NAME=DIR …] [--picture FILE.png]

Two tables of means over recordings, at most 10.24 s of each; of the sentence that edge-export carries, where
there is no folder. No model is needed.

1. The round trip: recording → mel `auffusion` → picture → mel → sound, by Griffin-Lim and by each vocoder, of
   pictures in floats, in 16 and in 8 bits:

    step     mean difference of the mel that the picture's bits cause, of ln
    pesq     wide-band PESQ, 1 … 4.64, against the recording
    stoi     STOI, 0 … 1

2. The imprint: a landscape drawn by rule, pressed into the spectrogram of the recording at several strengths
   (`edge_runtime.pipelines.image_speech.imprint`), then made into sound by Griffin-Lim:

    seen     correlation of the landscape with the spectrogram that was written
    sound    the same with the spectrogram of the sound: what somebody sees who analyses the recording
    pesq, stoi  of the sound against the recording without imprint
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.assets import SENTENCE
from edge_export.examples.photograph import landscape
from edge_export.proof.verify import align
from edge_export.quality import command
from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.dsp.perceptual import judge
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.media.pictures import write_png
from edge_runtime.pipelines.image_speech.imprint import imprint, resized
from edge_runtime.pipelines.image_speech.picture import (
    BRIGHTEST,
    DARKEST,
    FRONT_END,
    SAMPLE_RATE,
    SAMPLES,
    mel_to_picture,
    picture_to_mel,
)
from edge_runtime.pipelines.image_speech.sound import Speaker

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHOWN = (0.5, 0.75)  # in the picture
DEPTHS: Mapping[str, int | None] = {"float": None, "16 bits": 65535, "8 bits": 255}
PEAK = 0.95
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
_EXECUTION: Mapping[str, Any] = {
    "backend": "onnxruntime", "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """Means over the recordings; None for what could not be computed."""

    name: str
    figures: Mapping[str, float | None]


def measure(
    recordings: Sequence[Floats],
    vocoders: Sequence[tuple[str, str]] = (),
    *,
    iterations: int | None = None,
    strengths: Sequence[float] = STRENGTHS,
    progress: Callable[[str], object] = lambda _line: None,
) -> tuple[list[Row], list[Row]]:
    """The rows of both tables.

    Args:
        recordings: (samples,) at 16 kHz each.
        vocoders: (name, bundle) of vocoders for the mel `auffusion`.
        iterations: of Griffin-Lim.
        strengths: of the imprint.
        progress: told what is measured.
    """
    speakers = {"Griffin-Lim": Speaker(None, _EXECUTION, iterations=iterations)}
    speakers |= {name: Speaker(place, _EXECUTION) for name, place in vocoders}
    trips = []
    for name, speaker in speakers.items():
        for depth, largest in DEPTHS.items():
            progress(f"{name}, {depth}")
            found = [round_trip(recording, speaker, largest) for recording in recordings]
            trips.append(Row(f"{name}, {depth}", _means(found)))
    imprints = []
    for strength in strengths:
        progress(f"imprint {strength:g}")
        found = [imprinted(recording, speakers["Griffin-Lim"], strength)[0] for recording in recordings]
        imprints.append(Row(f"strength {strength:g}", _means(found)))
    return trips, imprints


def round_trip(recording: Floats, speaker: Speaker, largest: int | None) -> dict[str, float | str]:
    """Figures of one recording whose picture is rounded to ``largest`` + 1 levels, or not."""
    picture = picture_of(recording)
    rounded = picture if largest is None else (np.rint(picture * largest) / largest).astype(np.float32)
    step = float(np.abs(picture_to_mel(rounded) - picture_to_mel(picture)).mean())
    return {"step": step} | _judged(recording, speaker(picture_to_mel(rounded)))


def imprinted(
    recording: Floats, speaker: Speaker, strength: float
) -> tuple[dict[str, float | str], Floats, Floats]:
    """Figures of one recording with the landscape in it; the sound; and the spectrogram of that."""
    picture = picture_of(recording)
    grey = resized(landscape(), *picture.shape)
    with_grey = imprint(picture, grey, strength)
    sound = speaker(picture_to_mel(with_grey))
    heard = picture_of(sound)
    figures = {"seen": correlation(grey, with_grey), "sound": correlation(grey, heard)}
    return figures | _judged(recording, sound), sound, heard


def picture_of(samples: Floats) -> Floats:
    """The picture (256, T) of a recording."""
    return mel_to_picture(np.clip(MelFrontEnd(FRONT_END)(samples), DARKEST, BRIGHTEST))


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Pearson's, of all pixels; 0 where one of them is constant."""
    one, other = (values.ravel().astype(np.float64) - values.mean() for values in (first, second))
    spread = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / spread) if spread else 0.0


def _judged(recording: Floats, sound: Floats) -> dict[str, float | str]:
    length = min(recording.size, sound.size)
    figures = judge(recording[:length], sound[:length], SAMPLE_RATE)
    return {name: figures[name] for name in ("pesq", "stoi")}


def _means(found: Sequence[Mapping[str, float | str]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for name in found[0]:
        values = [figures[name] for figures in found]
        numbers = [value for value in values if not isinstance(value, str)]
        means[name] = float(np.mean(numbers)) if len(numbers) == len(values) else None
    return means


def read_recordings(folder: Path | None, last: int) -> list[Floats]:
    """The last recordings by name in a folder, scaled to a peak of 0.95, at most 10.24 s of each.

    Raises:
        InputError: none, or one that cannot be read.
    """
    paths = [SENTENCE] if folder is None else sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
    if not paths:
        raise InputError(str(folder), got="no recordings", expected=f"files {', '.join(SUFFIXES)}")
    found = []
    for path in paths[-last:]:
        samples = read_audio(path, SAMPLE_RATE).samples[:SAMPLES]
        samples = samples[: samples.size // FRONT_END.hop_length * FRONT_END.hop_length]
        found.append(np.asarray(samples * (PEAK / max(1e-9, float(np.abs(samples).max()))), np.float32))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    names = list(rows[0].figures)
    lines: list[tuple[str, ...]] = [("", *names)]
    for row in rows:
        values = (row.figures[name] for name in names)
        lines.append((row.name, *("-" if value is None else f"{value:.3f}" for value in values)))
    return align(lines)


def write_picture(path: Path, recording: Floats, *, iterations: int | None = None) -> None:
    """The landscape, the recording's spectrogram, and the spectrogram of the sound with the landscape in it.

    Half the size, 32 levels: a small file.
    """
    speaker = Speaker(None, _EXECUTION, iterations=iterations)
    panels = [resized(landscape(), 256, recording.size // 160), picture_of(recording)]
    panels += [imprinted(recording, speaker, strength)[2] for strength in SHOWN]
    rows = []
    for panel in panels:
        rows += [resized(panel, 128, panel.shape[1] // 2), np.ones((4, panel.shape[1] // 2), np.float32)]
    levels = np.rint(np.concatenate(rows[:-1]) * 31) * (255 / 31)
    write_png(path, levels.astype(np.uint8))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; 2 for what cannot be measured."""
    parser = command.parser(
        "What a picture loses of speech, and what speech shows of one.",
        "the imprinted sounds of the first recording",
    )
    parser.add_argument("--data", type=Path, help="folder of recordings; the sentence of edge-export without")
    parser.add_argument("--last", type=int, default=4, help="how many recordings, the last by name")
    parser.add_argument(
        "--vocoder", action="append", default=[], help="NAME=DIR, a bundle for the mel auffusion"
    )
    parser.add_argument("--iterations", type=int, help="of Griffin-Lim")
    parser.add_argument("--strength", action="append", type=float, help=f"of the imprint; {STRENGTHS}")
    parser.add_argument("--picture", type=Path, help="write the picture of the documentation")
    return command.run(parser, _measured, arguments)


def _measured(given: Namespace) -> command.Measured:
    recordings, iterations = read_recordings(given.data, given.last), given.iterations
    trips, imprints = measure(
        recordings,
        command.pairs("--vocoder", given.vocoder),
        iterations=iterations,
        strengths=given.strength or STRENGTHS,
        progress=command.say,
    )
    if given.out is not None:
        _write_sounds(given.out, recordings[0], iterations)
    if given.picture is not None:
        write_picture(given.picture, recordings[0], iterations=iterations)
    rows = {"round trip": [asdict(row) for row in trips], "imprint": [asdict(row) for row in imprints]}
    return f"{table(trips)}\n\n{table(imprints)}", rows


def _write_sounds(folder: Path, recording: Floats, iterations: int | None) -> None:
    speaker = Speaker(None, _EXECUTION, iterations=iterations)
    for strength in STRENGTHS:
        write_wav(
            folder / f"imprint_{strength:g}.wav", imprinted(recording, speaker, strength)[1], SAMPLE_RATE
        )


if __name__ == "__main__":
    sys.exit(main())
