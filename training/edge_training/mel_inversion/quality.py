"""Quality of mel inversion: nets compared with methods that need none, and with the true magnitude.

    python -m edge_training.mel_inversion.quality --data DIR --net NAME=FILE … [--degli FILE] [--last 4]

Each recording is turned into the nets' mel, and back in two steps. Magnitudes, each against the true one:

    true      the recording's own, an upper bound
    pinv      pseudo-inverse, negative values set to 1e-10
    updates   the same, then 50 multiplicative updates
    NAME      a net's, for each --net

    si_ssdr   dB, the higher the better; `edge_runtime.dsp.quality`
    sc        dB, spectral convergence, the lower the better
    lsd       dB, log-spectral distance, the lower the better
    in_band   si_ssdr of only those bins that the mel bank covers

Phases, each from zero: `fgla`, 64 iterations of Fast Griffin-Lim, on every magnitude; `degli`, 10 blocks of
Deep Griffin-Lim, on the true one, the updates' and the first net's. Measures of the signal:

    pesq      ITU-T P.862.2, wide band at 16 kHz, 1 … 4.64
    stoi      short-time objective intelligibility (Taal and others 2011) at 16 kHz, 0 … 1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.magnitude import UPDATES, estimate_magnitude, linear_mel
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd, filter_bank
from edge_runtime.dsp.quality import log_spectral_distance, si_ssdr, spectral_convergence_db
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_training.mel_inversion.degli import Degli, DegliConfig
from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig
from edge_training.vocoder.data import SUFFIXES
from edge_training.vocoder.quality import finite, mean_figure, pesq_and_stoi
from edge_training.weights import loading
from edge_training.weights.options import add_options, given_options

ITERATIONS, BLOCKS = 64, 10
FIGURES = ("si_ssdr", "in_band", "sc", "lsd", "pesq", "stoi")

Array = NDArray[Any]
Synthesis = Callable[[Array], Array]  # magnitude (bins, frames) → samples


@dataclass(frozen=True)
class Recording:
    """What is known of a recording."""

    name: str
    samples: Array
    magnitude: Array  # (bins, frames)
    mel: Array  # (n_mels, frames)


Estimate = Callable[[Recording], Array]  # its magnitude (bins, frames), estimated from its mel


@dataclass(frozen=True)
class Row:
    """Figures of one magnitude with one phase."""

    magnitude: str
    phase: str
    clips: Mapping[str, Mapping[str, float]]  # clip → figure → value
    seconds: tuple[float, float]  # computing time of magnitude and phase for a second of audio

    @property
    def mean(self) -> dict[str, float]:
        return {figure: mean_figure(clip[figure] for clip in self.clips.values()) for figure in FIGURES}

    def to_json(self) -> dict[str, Any]:
        clips = {clip: finite(figures) for clip, figures in self.clips.items()}
        taken = dict(zip(("magnitude", "phase"), self.seconds, strict=True))
        return {
            "magnitude": self.magnitude, "phase": self.phase, "clips": clips, "mean": finite(self.mean),
            "real_time": taken,
        }  # fmt: skip


def compare(
    clips: Sequence[Path],
    nets: Mapping[str, Path],
    degli: Path | None = None,
    *,
    iterations: int = ITERATIONS,
    blocks: int = BLOCKS,
    out: Path | None = None,
    say: Callable[[Row], object] = lambda _: None,
    weights: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Figures of all methods; `out` receives the results as WAV, `say` each row when it is done.

    `weights` chooses among several sets of every file, `changes` overrides entries of the nets.

    Raises:
        ConfigError: no net, or nets of different front ends.
        InputError: a recording at another rate.
        BackendError: PESQ or STOI cannot be computed here.
    """
    loaded = {name: load_net(path, weights, changes) for name, path in nets.items()}
    mel = _common_mel(loaded)
    recordings = [_record(path, mel) for path in clips]
    estimates: dict[str, Estimate] = {"true": lambda r: r.magnitude}
    estimates |= {"pinv": model_free(mel, 0), "updates": model_free(mel, UPDATES)}
    estimates |= {name: neural(net) for name, (net, _) in loaded.items()}
    fgla = fast_griffin_lim(mel, iterations)
    deep = None if degli is None else deep_griffin_lim(load_degli(degli, mel, weights), blocks)
    rows = []
    for name, estimate in estimates.items():
        phases = {f"fgla-{iterations}": fgla}
        if deep is not None and name in ("true", "updates", next(iter(loaded))):
            phases[f"degli-{blocks}"] = deep
        began = time.perf_counter()
        magnitudes = [estimate(recording) for recording in recordings]
        taken = time.perf_counter() - began
        for phase, synthesis in phases.items():
            rows.append(_row((name, phase), recordings, magnitudes, synthesis, taken, mel, out))
            say(rows[-1])
    return rows


# ---- nets -------------------------------------------------------------------------------------------------


def load_net(
    checkpoint: Path, weights: str | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[nn.Module, MelConfig]:
    """The net of a file, by the configuration beside it, and its mel; only domain "log"."""
    loaded = loading.load_net(checkpoint, "mel-inversion", weights=weights, changes=changes)
    config: MelInversionConfig = loaded.config
    if config.domain != "log":
        raise ConfigError(
            str(checkpoint),
            got=f"a net of the domain {config.domain!r}",
            expected="a net of the domain 'log'",
            cause="the dB domain has another mel, so its figures cannot be compared with these",
        )
    return loaded.module, config.mel


def load_degli(file: Path, mel: MelConfig, weights: str | None = None) -> Degli:
    """The block of a file of weights, for the framing of a mel; its padding may differ."""
    checkpoint, entry = loading.open_for(file, "degli", weights)
    config: DegliConfig = loading.config_of(entry, checkpoint, [])
    if (config.n_fft, config.hop_length, config.win_length) != (mel.n_fft, mel.hop_length, mel.win_length):
        raise ConfigError(
            str(file),
            got=f"n_fft {config.n_fft}, hop {config.hop_length}, window {config.win_length}",
            expected=f"{mel.n_fft}, {mel.hop_length}, {mel.win_length}, those of the mel",
        )
    framed = replace(config, padding=mel.padding, graph="block")
    net: Degli = loading.finish(entry, framed, checkpoint, []).module
    return net


def _common_mel(nets: Mapping[str, tuple[nn.Module, MelConfig]]) -> MelConfig:
    if not nets:
        raise ConfigError("nets", got="none", expected="at least one, whose mel is used for all")
    (first, (_, mel)), *others = nets.items()
    for name, (_, other) in others:
        if other != mel:
            raise ConfigError(name, got="another mel configuration", expected=f"that of {first}")
    return mel


# ---- ways -------------------------------------------------------------------------------------------------


def model_free(config: MelConfig, updates: int) -> Estimate:
    """Magnitudes by pseudo-inverse and multiplicative updates."""
    return lambda recording: estimate_magnitude(linear_mel(recording.mel, config), config, updates)


def neural(net: nn.Module) -> Estimate:
    """Magnitudes by a net of the domain "log"."""

    def estimate(recording: Recording) -> Array:
        with torch.inference_mode():
            return np.asarray(net(torch.from_numpy(recording.mel)[None])[0].exp().numpy())

    return estimate


def fast_griffin_lim(config: MelConfig, iterations: int) -> Synthesis:
    """Phases by Fast Griffin-Lim, without a net."""
    return lambda magnitude: griffin_lim(
        magnitude, n_fft=config.n_fft, hop_length=config.hop_length, win_length=config.win_length,
        n_iter=iterations, padding=config.padding,
    )  # fmt: skip


def deep_griffin_lim(net: Degli, blocks: int) -> Synthesis:
    """Phases by blocks of the net, starting from zero phase."""

    def synthesize(magnitude: Array) -> Array:
        gain = net.config.magnitude_rms / max(1e-9, float(np.sqrt(np.square(magnitude).mean())))
        target = torch.from_numpy(np.asarray(magnitude * gain, np.float32))[None]
        with torch.inference_mode():
            start = torch.stack([target, torch.zeros_like(target)], 1)
            return np.asarray(net.reconstruct(start, target, blocks)[0].numpy() / gain)

    return synthesize


# ---- judging ----------------------------------------------------------------------------------------------


def _record(path: Path, mel: MelConfig) -> Recording:
    audio = read_audio(path)
    if audio.sample_rate != mel.sample_rate:
        raise InputError(str(path), got=f"{audio.sample_rate} Hz", expected=f"{mel.sample_rate} Hz")
    samples = audio.samples[: len(audio.samples) // mel.hop_length * mel.hop_length]
    spectrum = Stft(mel.stft, "float64").forward(samples.astype(np.float64))
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + mel.epsilon).astype(np.float32)
    return Recording(path.stem, samples, magnitude, MelFrontEnd(mel)(samples))


def _row(
    names: tuple[str, str],
    recordings: Sequence[Recording],
    magnitudes: Sequence[Array],
    synthesis: Synthesis,
    taken: float,
    mel: MelConfig,
    out: Path | None,
) -> Row:
    """One row of the table; `taken`: seconds for the magnitudes."""
    began = time.perf_counter()
    heard = [synthesis(magnitude) for magnitude in magnitudes]
    phase_taken = time.perf_counter() - began
    clips = {}
    for recording, magnitude, samples in zip(recordings, magnitudes, heard, strict=True):
        length = min(len(samples), len(recording.samples))
        figures = judge_magnitude(recording.magnitude, magnitude, mel)
        clips[recording.name] = figures | pesq_and_stoi(
            recording.samples[:length], np.asarray(samples[:length], np.float32), mel.sample_rate
        )
        if out is not None:
            file = out / f"{recording.name}_{'_'.join(names)}.wav"
            write_wav(file, np.clip(samples, -1, 1).astype(np.float32), mel.sample_rate)
    seconds = sum(len(recording.samples) for recording in recordings) / mel.sample_rate
    return Row(*names, clips, (taken / seconds, phase_taken / seconds))


def judge_magnitude(truth: Array, estimate: Array, mel: MelConfig) -> dict[str, float]:
    """Figures of an estimated magnitude against the true one, both (bins, frames)."""
    covered = filter_bank(mel).any(axis=0)
    return {
        "si_ssdr": si_ssdr(truth, estimate),
        "in_band": si_ssdr(truth[covered], estimate[covered]),
        "sc": spectral_convergence_db(truth, estimate),
        "lsd": log_spectral_distance(truth, estimate),
    }


HEADER = f"{'magnitude':20}{'phase':10}" + "".join(f"{figure:>9}" for figure in FIGURES) + f"{'seconds':>16}"


def line(row: Row) -> str:
    """The means of one row as plain text, under `HEADER`."""
    figures = "".join(f"{row.mean[figure]:9.3f}" for figure in FIGURES)
    return f"{row.magnitude:20}{row.phase:10}{figures}{row.seconds[0]:8.3f}{row.seconds[1]:8.3f}"


def main() -> None:
    """Command line: prints the table."""
    parser = argparse.ArgumentParser(description="Figures of mel inversion, with nets and without.")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument(
        "--net", action="append", required=True, metavar="NAME=FILE", help="repeat for several"
    )
    parser.add_argument("--degli", type=Path, help="weights of Deep Griffin-Lim")
    parser.add_argument("--last", type=int, default=4, help="how many recordings, the last by name")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="of Fast Griffin-Lim")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="of Deep Griffin-Lim")
    parser.add_argument("--out", type=Path, help="folder for what was heard")
    parser.add_argument("--json", type=Path)
    add_options(parser)
    arguments = parser.parse_args()
    clips = sorted(path for path in arguments.data.iterdir() if path.suffix.lower() in SUFFIXES)
    nets = {name: Path(file) for name, _, file in (entry.partition("=") for entry in arguments.net)}
    print(HEADER)
    rows = compare(
        clips[-arguments.last :], nets, arguments.degli, iterations=arguments.iterations,
        blocks=arguments.blocks, out=arguments.out, say=lambda row: print(line(row), flush=True),
        **given_options(arguments),
    )  # fmt: skip
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
