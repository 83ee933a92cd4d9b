"""Measures of how good a trained HiFi-GAN sounds, compared with Fast Griffin-Lim from the same mels.

    python -m edge_training.vocoder.quality --weights RUN/checkpoints/generator.safetensors --data DIR

Each recording, scaled to a peak of 0.95 as in training, is turned into the net's mel and back. For each clip,
and averaged:

    mel    mean |Δ| of natural-log mels through the net's own front end, the lower the better
    pesq   ITU-T P.862.2, wide band at 16 kHz, 1 … 4.64
    stoi   short-time objective intelligibility (Taal and others 2011) at 16 kHz, 0 … 1

Fast Griffin-Lim (Perraudin, Balazs, Søndergaard 2013): 32 iterations, momentum 0.99, initial phase zero, on
magnitudes from only the pseudo-inverse of the filter bank, as `edge_runtime` computes them without a model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.dsp import perceptual
from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.magnitude import estimate_magnitude, linear_mel
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.errors import BackendError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.vocoder.data import SUFFIXES
from edge_training.vocoder.hifigan import HifiGan
from edge_training.weights.loading import load_net
from edge_training.weights.options import add_options, given_options

ITERATIONS, MOMENTUM = 32, 0.99
PEAK = 0.95
FIGURES = ("mel", "pesq", "stoi")

Samples = NDArray[np.float32]
Synthesis = Callable[[NDArray[np.float32]], Samples]  # mel (n_mels, frames) → samples


@dataclass(frozen=True)
class Quality:
    """Figures of one way to synthesise."""

    name: str
    clips: Mapping[str, Mapping[str, float]]  # clip → figure → value
    seconds: float  # taken for a second of audio

    @property
    def mean(self) -> dict[str, float]:
        return {figure: mean_figure(clip[figure] for clip in self.clips.values()) for figure in FIGURES}

    def to_json(self) -> dict[str, Any]:
        clips = {clip: finite(figures) for clip, figures in self.clips.items()}
        return {"name": self.name, "clips": clips, "mean": finite(self.mean), "real_time": self.seconds}


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """The figures as JSON can hold them: null in place of NaN and infinity."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def compare(checkpoint: Path, clips: Sequence[Path], out: Path | None = None, **chosen: Any) -> list[Quality]:
    """Measures of the generator and of Fast Griffin-Lim on recordings; `out` receives the results as WAV.

    ``chosen``: `weights` and `changes` of `edge_training.weights.loading.load_net`.
    """
    generator = load_generator(checkpoint, **chosen)
    config = generator.config.mel
    ways: dict[str, Synthesis] = {
        "hifigan": neural(generator),
        "fast-griffin-lim": fast_griffin_lim(config),
    }
    recordings = {path.stem: _recording(path, config) for path in clips}
    return [_judge(name, way, recordings, config, out) for name, way in ways.items()]


def load_generator(checkpoint: Path, **chosen: Any) -> HifiGan:
    """The generator of a file and the `config.json` beside it, for inference; ``chosen`` as `compare`'s."""
    generator: HifiGan = load_net(checkpoint, "hifigan", **chosen).module
    return generator


def neural(generator: HifiGan) -> Synthesis:
    """Synthesis by the generator."""

    def synthesize(mel: NDArray[np.float32]) -> Samples:
        with torch.inference_mode():
            return np.asarray(generator(torch.from_numpy(mel)[None])[0, 0].numpy())

    return synthesize


def fast_griffin_lim(config: MelConfig) -> Synthesis:
    """Synthesis without a net."""

    def synthesize(mel: NDArray[np.float32]) -> Samples:
        samples: Samples = griffin_lim(
            estimate_magnitude(linear_mel(mel, config), config, updates=0),
            n_fft=config.n_fft, hop_length=config.hop_length, win_length=config.win_length,
            n_iter=ITERATIONS, momentum=MOMENTUM, padding=config.padding,
        )  # fmt: skip
        return samples

    return synthesize


# ---- judging ----------------------------------------------------------------------------------------------


def _judge(
    name: str, way: Synthesis, recordings: Mapping[str, Samples], config: MelConfig, out: Path | None
) -> Quality:
    front_end = MelFrontEnd(config)
    figures, taken, heard = {}, 0.0, 0.0
    for clip, samples in recordings.items():
        mel = front_end(samples)
        began = time.perf_counter()
        made = way(mel)
        taken += time.perf_counter() - began
        heard += len(samples) / config.sample_rate
        figures[clip] = judge(samples, made, config)
        if out is not None:
            write_wav(out / f"{clip}_{name}.wav", np.clip(made, -1, 1), config.sample_rate)
    return Quality(name, figures, taken / heard)


def judge(recording: Samples, made: Samples, config: MelConfig) -> dict[str, float]:
    """The measures of a clip; both (samples,), cut to the shorter one, and nothing is shifted to fit."""
    length = min(len(recording), len(made))
    recording, made = recording[:length], made[:length]
    front_end = MelFrontEnd(config)
    mel = float(np.abs(front_end(recording) - front_end(made)).mean())
    return {"mel": mel} | pesq_and_stoi(recording, made, config.sample_rate)


def pesq_and_stoi(recording: Samples, made: Samples, rate: int) -> dict[str, float]:
    """PESQ and STOI of two aligned signals (samples,) of one length; NaN, and a line on stderr, for none.

    Raises:
        BackendError: a library is missing.
    """
    figures = perceptual.judge(recording, made, rate)
    return {name: _figure(name, figures[name]) for name in ("pesq", "stoi")}


def _figure(name: str, found: float | str) -> float:
    if not isinstance(found, str):
        return found
    if "no module named" in found:
        raise BackendError("judging audio", got=found, expected="the libraries pesq and pystoi")
    print(f"{name} {found}", file=sys.stderr)
    return math.nan


def mean_figure(values: Iterable[float]) -> float:
    """The mean of the clips that have a figure; NaN where none has."""
    there = [value for value in values if not math.isnan(value)]
    return float(np.mean(there)) if there else math.nan


def _recording(path: Path, config: MelConfig) -> Samples:
    audio = read_audio(path)
    if audio.sample_rate != config.sample_rate:
        raise InputError(str(path), got=f"{audio.sample_rate} Hz", expected=f"{config.sample_rate} Hz")
    samples = audio.samples[: len(audio.samples) // config.hop_length * config.hop_length]
    return np.asarray(samples * np.float32(PEAK / max(1e-9, float(np.abs(samples).max()))))


def table(qualities: Sequence[Quality]) -> str:
    """The figures as plain text."""
    lines = [f"{'':28}" + "".join(f"{figure:>8}" for figure in FIGURES)]
    for quality in qualities:
        for clip, values in [*quality.clips.items(), ("mean", quality.mean)]:
            lines.append(f"{quality.name:18}{clip:10}" + "".join(f"{values[f]:8.3f}" for f in FIGURES))
    return "\n".join(lines)


def main() -> None:
    """Command line: prints the table."""
    parser = argparse.ArgumentParser(description="Figures of a trained HiFi-GAN beside Fast Griffin-Lim.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of hifigan")
    add_options(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--last", type=int, default=4, help="how many recordings, the last by name")
    parser.add_argument("--out", type=Path, help="folder for what was made")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    clips = sorted(path for path in arguments.data.iterdir() if path.suffix.lower() in SUFFIXES)
    chosen = given_options(arguments)
    qualities = compare(arguments.checkpoint, clips[-arguments.last :], arguments.out, **chosen)
    print(table(qualities))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([quality.to_json() for quality in qualities], indent=2) + "\n")


if __name__ == "__main__":
    main()
