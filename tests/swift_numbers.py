"""More numbers for the tests of the Swift package, of parts beside the signal path: see swift_packs.

random/      numpy's generator itself; the ziggurat's edges (swift_random)
tokens/      transformers' CLIPTokenizer on a vocabulary of bytes and 150 merges
pictures/    mel ↔ picture, imprint
ecog/        windows, grids, trials, background
masks/       polygons, and bad descriptions of them with what they are refused with
realtime/    the streaming Griffin-Lim
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import recorded_ecog, swift_random
from tests.runtime.pipelines.image_speech.test_tokenizer import TEXTS, vocabulary
from transformers import CLIPTokenizer

from edge_runtime.dsp.griffin_lim import RealtimeGriffinLim
from edge_runtime.dsp.spectral import Padding, Stft, StftConfig
from edge_runtime.errors import EdgeError
from edge_runtime.media import masks
from edge_runtime.pipelines.ecog_speech import grids
from edge_runtime.pipelines.ecog_speech.pipeline import _windows
from edge_runtime.pipelines.ecog_speech.recordings import FRAMES, PAST, background, power_of, window_start
from edge_runtime.pipelines.image_speech import picture
from edge_runtime.pipelines.image_speech.imprint import imprint

Values = NDArray[Any]

PADDINGS: tuple[Padding, ...] = ("none", "center-zero", "center-reflect", "reflect")
# n_fft, hop, win, look-ahead, frames: more and fewer than the look-ahead, one frame alone
STREAMS = (
    (60, 16, 48, None, 20), (64, 16, 64, 0, 9), (63, 21, 63, 5, 3), (60, 16, 48, 2, 1), (48, 40, 48, None, 7),
)  # fmt: skip
POLYGONS = (
    "lip", "tongue", "0,0 256,0 256,256 0,256", "10,10 200,40 60,250", "0,0 255,255 255,0 0,255",
    "12.5,3.5 12.5,200 13,200", '{"size": 84, "points": [[10, 20], [70.5, 20], [40, 83]]}',
    "[[1, 2], [3, 250.5], [200, 128]]", "30,30 30,200 200,200 31,30.4",
)  # fmt: skip
NO_POLYGONS = (
    "", "lips", "1,2 3,4", "1,2 3,4 5", "1,2 3,4 5,6", "0,0 10,0 10,300", "[[1, 2], [3, 4], [5]]", "[1, 2]",
    '{"size": 0, "points": [[0, 0], [0, 0], [0, 0]]}', '{"size": true, "points": []}',
    '{"points": [[0, 0], [1, 0], [0, 1]], "more": 1}', "1,2 1,2 1,2", "a,b c,d e,f",
    "[[1, 2], [3, true], [5, 6]]",
    '{"points": [[1, 2], [3, 3], [-1, 6]]}',
)  # fmt: skip
SIZES = ((84, 84, 0.1, 11), (256, 256, 0.0, 1), (40, 40, 0.3, 7), (16, 16, 0.5, 30), (68, 68, 1.0, 3))


def save(folder: Path, name: str, values: Any) -> None:
    """An array into a folder that may have to be made."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", np.asarray(values))


def write_tokens(folder: Path) -> None:
    """Files of a tokenizer, texts, and transformers' numbers; merges with line ends of Windows too."""
    numbers, merges = vocabulary(150)
    theirs: Any = CLIPTokenizer(vocab=dict(numbers), merges=list(merges), model_max_length=77)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), newline="")
    (folder / "merges-windows.txt").write_text("\r\n".join(lines), newline="")
    rows = {text: theirs(text, padding="max_length", truncation=True)["input_ids"] for text in TEXTS}
    (folder / "texts.json").write_text(json.dumps(rows))


def write_pictures(folder: Path) -> None:
    """Pictures of mels, mels of pictures, and one pressed into the other."""
    rng = np.random.default_rng(8)
    mel = rng.uniform(picture.DARKEST, picture.BRIGHTEST, (6, 9)).astype(np.float32)
    colours = rng.random((3, 6, 9)).astype(np.float32)
    save(folder, "mel", mel)
    save(folder, "colours", colours)
    save(folder, "picture", picture.mel_to_picture(mel))
    save(folder, "mel_of_picture", picture.picture_to_mel(colours[0]))
    save(folder, "mel_of_colours", picture.picture_to_mel(colours))
    save(folder, "imprinted", imprint(colours[0], colours[1], 0.7))


def write_ecog(folder: Path) -> None:
    """Where windows begin, electrodes on grids, the windows of trials."""
    counts = {str(frames): _windows(frames) for frames in (128, 129, 255, 256, 257, 1000)}
    folder.mkdir(parents=True)
    (folder / "windows.json").write_text(json.dumps(counts))
    draw = np.random.default_rng(9)
    hybrid = draw.standard_normal((3, 128)).astype(np.float32)
    save(folder, "hybrid", hybrid)
    for turns in range(4):
        save(folder, f"hybrid_{turns}", grids.arrange(hybrid, quarter_turns=turns, bad=(3, 127)))
    save(folder, "coarse", grids.arrange(hybrid, coarse=True))
    save(folder, "extended", grids.arrange(hybrid, extended=True))
    recording = recorded_ecog.recorded()
    save(folder, "ecog", recording.ecog)
    save(folder, "onsets", recording.starts)
    save(folder, "offsets", recording.ends)
    for trial, onset in enumerate(recording.starts):
        first = window_start(int(onset), recording.frames)
        save(folder, f"trial_{trial}", recording.ecog[first - PAST : first + FRAMES])
    spectrogram = draw.uniform(-1, 1, (recording.frames, 8)).astype(np.float32)
    save(folder, "spectrogram", spectrogram)
    save(folder, "background", background(spectrogram, recording.starts))
    save(folder, "power", power_of(spectrogram[:40], -60.0, 10.0))


def write_masks(folder: Path) -> None:
    """Weights of polygons on frames of several sizes; what is refused, and how."""
    for number, text in enumerate(POLYGONS):
        for size, (height, width, alpha, blur) in enumerate(SIZES):
            weights = masks.mask_weights(masks.parse_mask(text), height, width, alpha, blur)
            save(folder, f"{number}_{size}", weights)
    refused: dict[str, str] = {}
    for text in NO_POLYGONS:
        try:
            masks.parse_mask(text)
        except EdgeError as error:
            refused[text] = str(error)
    (folder / "masks.json").write_text(
        json.dumps({"polygons": POLYGONS, "sizes": SIZES, "refused": refused}, ensure_ascii=False)
    )
    assert len(refused) == len(NO_POLYGONS)


def write_realtime(folder: Path) -> None:
    """Streams of every padding, pushed frame by frame; and their number of samples before the end."""
    audio = np.random.default_rng(10).uniform(-0.5, 0.5, 2000)
    audio[96:250] = 0.0  # silence, whose bins have no phase
    for padding in PADDINGS:
        for number, (n_fft, hop, win, look_ahead, frames) in enumerate(STREAMS):
            spectrum = Stft(StftConfig(n_fft, hop, win, padding), "float64").forward(audio)
            magnitude = np.abs(spectrum)[:, :frames]
            stream = RealtimeGriffinLim(
                n_fft=n_fft, hop_length=hop, win_length=win, look_ahead=look_ahead, n_iter=4,
                padding=padding, dtype="float64",
            )  # fmt: skip
            pushed = stream.push(magnitude)
            place = folder / f"{padding}_{number}"
            save(place, "framing", [n_fft, hop, win, stream.look_ahead, stream.latency, len(pushed)])
            save(place, "magnitude", magnitude)
            save(place, "samples", np.concatenate([pushed, stream.flush()]))


def write(folder: Path) -> None:
    """All of the above."""
    swift_random.write_random(folder / "random")
    write_tokens(folder / "tokens")
    write_pictures(folder / "pictures")
    write_ecog(folder / "ecog")
    write_masks(folder / "masks")
    write_realtime(folder / "realtime")
