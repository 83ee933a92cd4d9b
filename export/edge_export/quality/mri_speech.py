"""How intelligible rtMRI to speech is, end to end, on recordings that were there all along.

    python -m edge_export.quality.mri_speech --data DATA --videos VIDEOS --acoustic BUNDLE --vocoder BUNDLE

DATA is what `edge-export data mri` wrote, VIDEOS the folder that it was made from. Each video of the
validation list goes through the pipeline on onnxruntime, and what comes out is compared with the true
recording:

    stoi           short-time objective intelligibility at 16 kHz, 0 … 1
    correlation    of the log mels, as the vocoder takes them, over all bands and frames together
    bands          the same for each band over time, in the mean

As they stand: nothing is shifted or scaled to fit.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_export.proof.verify import align
from edge_export.quality import command
from edge_runtime.dsp import perceptual
from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.store.ownership import plain_name
from edge_runtime.store.reading import read_text
from edge_training.mri_speech.partial import LISTS, WAVS
from edge_training.mri_speech.preparation import VIDEO_SUFFIXES

FIGURES = ("stoi", "correlation", "bands")


def measure(
    data: Path, videos: Path, acoustic: Path, vocoder: Path, out: Path | None = None
) -> dict[str, dict[str, float]]:
    """Utterance → figure → value, of the validation list; `out` takes what was made as WAV.

    Raises:
        InputError: no list, or a video or recording that is missing.
        EdgeError: what bundles and videos are refused for.
    """
    pipeline = MriSpeech(acoustic, vocoder, threads=1)
    lists = data / LISTS / "validation.txt"
    lines = read_text(lists, "the list that `edge-export data mri` wrote").splitlines()
    names = [plain_name(line.split("|")[0], str(lists)) for line in lines if line.strip()]
    found = {}
    for name in names:
        made = pipeline.process_file(_video(videos, name)).samples
        recording = read_audio(data / LISTS / WAVS / f"{name}.wav").samples
        found[name] = compare(recording, made, pipeline)
        if out is not None:
            write_wav(out / f"{name}.wav", np.clip(made, -1, 1), pipeline.sample_rate)
    return found


def compare(
    recording: NDArray[np.float32], made: NDArray[np.float32], pipeline: MriSpeech
) -> dict[str, float]:
    """The figures of two signals, cut to the shorter."""
    length = min(recording.size, made.size)
    recording, made = recording[:length], made[:length]
    front_end = MelFrontEnd(pipeline.vocoder.front_end)
    theirs, ours = front_end(recording), front_end(made)
    stoi = perceptual.judge(recording, made, pipeline.sample_rate)["stoi"]
    if not isinstance(stoi, float):
        raise InputError("stoi", got=stoi, expected="a figure")
    bands = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(theirs, ours, strict=True)]
    whole = float(np.corrcoef(theirs.ravel(), ours.ravel())[0, 1])
    return {"stoi": stoi, "correlation": whole, "bands": float(np.mean(bands))}


def _video(folder: Path, name: str) -> Path:
    for suffix in VIDEO_SUFFIXES:
        for path in sorted(folder.rglob(f"{name}{suffix}")):
            return path
    raise InputError(str(folder), got=f"no video {name}", expected="the videos that the data was made from")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the means and the worst; 2 for what cannot be measured."""
    parser = command.parser(
        "rtMRI to speech, end to end, against the true recordings.", "what was made, as WAV"
    )
    for name in ("data", "videos", "acoustic", "vocoder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return command.run(parser, _measured, arguments)


def _measured(given: Namespace) -> command.Measured:
    found = measure(given.data, given.videos, given.acoustic, given.vocoder, given.out)
    lines = [("", "mean", "least")]
    for figure in FIGURES:
        values = [each[figure] for each in found.values()]
        lines.append((figure, f"{np.mean(values):.3f}", f"{np.min(values):.3f}"))
    return f"{len(found)} utterances\n{align(lines)}", found


if __name__ == "__main__":
    sys.exit(main())
