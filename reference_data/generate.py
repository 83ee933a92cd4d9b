"""Remakes the golden arrays: run by hand, from the repository's root, `python -m reference_data.generate`.

Nothing here imports the code under test. Mels come from librosa, torch.stft and scipy in float64; nets from
torch.nn.functional in float64 and the layer tables of the papers. Signals and weights follow the formulas of
tests/closed_form.py. Running it again gives the same bytes. `--sentence` also speaks the sentence anew.

Layout, every array in manifest.json with sha256, shape, dtype and how it was made:

    signals/RATE/SIGNAL.npy     (samples,) float32; SIGNAL as in closed_form.signals, and `speech`: the first
                                1.6 s of the sentence
    mel/FRONT_END/SIGNAL.npy    (bands, frames) float64; FRONT_END is a preset, or `ecog-256-bins` and
                                `ecog-512-bins`, the clamped spectrogram without a bank
    mel/talking-head/sentence.npy          of the whole sentence: the WAV file, PCM16 / 32768
    nets/audio-encoder/CASE/mel.npy        (B, 1, 80, 16) float32
                           /features.npy   (B, 512) float64
    nets/hifigan/CASE/mel.npy              (B, num_mels, T) float32
                     /audio.npy            (B, 1, T · hop_size) float64
    nets/mel-inversion/ degli/ stft/ istft/    see spectral_nets.py
    nets/mri-acoustic/                         see mri_nets.py
    nets/istft-vocoder/                        see istft_nets.py
    weights/NET/…                          the same of the weights that ship, on speech
    samplers/                                  see samplers.py

manifest.json, entry `nets`: for each net and case the `config` (for hifigan a config.json), `weight_norm`
(whether the keys are `weight_g` and `weight_v`, or folded), and the bare `keys` with their shapes. The
weights are `closed_form.tensor(key, shape)`, float32; the arithmetic on them is float64, folding too. A net
of float64 agrees to 1e-12, one of float32 to about 1e-5 of the output's range. Entry `weights`: for each net
with weights in weights/ their file, its sha256, and the net's `config`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import scipy.signal
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from reference_data import istft_nets, mri_nets, samplers, spectral_nets
from safetensors.torch import load_file
from tests import closed_form

HERE = Path(__file__).resolve().parent
SENTENCE = HERE.parent / "export" / "edge_export" / "assets" / "sentence.wav"
TEXT = "The tongue moves first, and the vowels follow."
COMMANDS = (
    ("espeak-ng", "-v", "en-us", "-s", "160", "-w", "spoken.wav", TEXT),
    ("sox", "-R", "-D", "spoken.wav", "-c", "1", "-b", "16", "sentence.wav", "rate", "-v", "16000"),
)

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array, str]]  # path, array, how it was made


# ---- signals ----------------------------------------------------------------------------------------------


def speak() -> None:
    """Makes the sentence: 16 kHz, mono, PCM16, no dither."""
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run(command, cwd=folder, check=True)
        SENTENCE.write_bytes((Path(folder) / "sentence.wav").read_bytes())


def sentence() -> Array:
    """The whole sentence, float32 at 16 kHz."""
    with wave.open(str(SENTENCE), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return (np.frombuffer(file.readframes(-1), "<i2") / 32768.0).astype(np.float32)


def signals(rate: int) -> dict[str, Array]:
    speech = sentence()[:25600]
    if rate != 16000:
        speech = soxr.resample(speech, 16000, rate, "VHQ")
    return {**closed_form.signals(rate), "speech": speech.astype(np.float32)}


def signal_arrays() -> Arrays:
    for rate in (16000, 22050, 11413):
        for name, samples in signals(rate).items():
            made = "sentence.wav, soxr.resample VHQ" if name == "speech" else "tests/closed_form.py"
            yield f"signals/{rate}/{name}.npy", samples, made


# ---- mel front ends ---------------------------------------------------------------------------------------


def pre_emphasis(x: Array) -> Array:
    emphasized: Array = scipy.signal.lfilter([1.0, -0.97], [1.0], x)
    return emphasized


def torch_stft(x: Array, n_fft: int, hop: int, win: int, *, center: bool) -> Array:
    spectrum: Array = torch.stft(
        torch.from_numpy(x),
        n_fft,
        hop,
        win,
        torch.hann_window(win, dtype=torch.float64),
        center=center,
        pad_mode="reflect",
        return_complex=True,
    ).numpy()
    return spectrum


def bank(rate: int, n_fft: int, n_mels: int, fmin: float = 0.0, fmax: float | None = None) -> Array:
    weights: Array = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64
    )
    return weights


def log_mel(mel: Array) -> Array:
    logarithm: Array = np.log(np.maximum(mel, 1e-5))
    return logarithm


def talking_head(x: Array) -> Array:
    """librosa, zero padding."""
    spectrum = np.abs(librosa.stft(pre_emphasis(x), n_fft=800, hop_length=200, win_length=800))
    level = 20 * np.log10(np.maximum(1e-5, bank(16000, 800, 80, 55.0, 7600.0) @ spectrum)) - 20
    scaled: Array = np.clip(8 * (level + 100) / 100 - 4, -4, 4)
    return scaled


def hifigan(
    rate: int, n_fft: int, hop: int, win: int, n_mels: int, fmax: float | None
) -> Callable[[Array], Array]:
    """torch.stft after explicit reflect padding."""

    def mel(x: Array) -> Array:
        padded = np.pad(x, (n_fft - hop) // 2, mode="reflect")
        spectrum = torch_stft(padded, n_fft, hop, win, center=False)
        magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        return log_mel(bank(rate, n_fft, n_mels, 0.0, fmax) @ magnitude)

    return mel


def rtmri(x: Array) -> Array:
    """librosa's power mel and power_to_db with its default top_db of 80."""
    power = librosa.feature.melspectrogram(
        y=pre_emphasis(x), sr=11413, n_fft=2048, hop_length=420, center=False, n_mels=64, dtype=np.float64
    )
    level: Array = librosa.power_to_db(power)
    return level


def mel_inversion(x: Array) -> Array:
    """torch.stft, centred."""
    magnitude: Array = np.abs(torch_stft(x, 1024, 256, 1024, center=True))
    return log_mel(bank(16000, 1024, 80) @ magnitude)


def mel_inversion_db(x: Array) -> Array:
    """torch.stft; the bank on the normalised dB magnitude. Silence has no maximum and is the floor, 0."""
    x = (x - x.mean()) / (x.std() + 1e-12)
    magnitude = np.abs(torch_stft(x, 1024, 256, 1024, center=True))
    level = 20 * np.log10(magnitude / (magnitude.max() or 1.0) + 1e-12)
    return bank(16000, 1024, 80) @ (np.clip(level, -80, 0) / 80 + 1)


def ecog(bins: int, *, with_bank: bool) -> Callable[[Array], Array]:
    """librosa's bank for 2 · bins - 2 points has its bins at linspace(0, 8000, bins)."""

    def mel(x: Array) -> Array:
        power = np.abs(torch_stft(x, 2 * bins - 1, 128, 2 * bins - 1, center=True)) ** 2
        if with_bank:
            power = librosa.filters.mel(
                sr=16000, n_fft=2 * bins - 2, n_mels=128, htk=True, norm=None, dtype=np.float64
            ) @ power  # fmt: skip
        level: Array = 10 * np.log10(np.maximum(power, 1e-10))
        return ((level if with_bank else np.clip(level, -50, 22.5)) + 50) / 72.5 * 2 - 1

    return mel


def auffusion(x: Array) -> Array:
    """Peak to 0.95, then as HiFi-GAN with a window of half the transform."""
    return hifigan(16000, 2048, 160, 1024, 256, 8000.0)(x / (np.abs(x).max() or 1.0) * 0.95)


FRONT_ENDS: Mapping[str, tuple[int, Callable[[Array], Array]]] = {
    "talking-head": (16000, talking_head),
    "hifigan-22k": (22050, hifigan(22050, 1024, 256, 1024, 80, 8000.0)),
    "hifigan-11k": (11413, hifigan(11413, 2048, 420, 2048, 64, None)),
    "rtmri": (11413, rtmri),
    "mel-inversion": (16000, mel_inversion),
    "mel-inversion-db": (16000, mel_inversion_db),
    "ecog-256": (16000, ecog(256, with_bank=True)),
    "ecog-512": (16000, ecog(512, with_bank=True)),
    "ecog-256-bins": (16000, ecog(256, with_bank=False)),
    "ecog-512-bins": (16000, ecog(512, with_bank=False)),
    "auffusion": (16000, auffusion),
}
BINS_SIGNALS = ("chirp", "quiet")  # enough for a front end without a bank


def mel_arrays() -> Arrays:
    for front_end, (rate, mel) in FRONT_ENDS.items():
        for name, samples in signals(rate).items():
            if front_end.endswith("-bins") and name not in BINS_SIGNALS:
                continue
            made = f"{(mel.__doc__ or 'torch.stft').splitlines()[0]} float64, from signals/{rate}/{name}"
            yield f"mel/{front_end}/{name}.npy", mel(samples.astype(np.float64)), made
    whole = talking_head(sentence().astype(np.float64))
    yield "mel/talking-head/sentence.npy", whole, "librosa, zero padding. float64, from sentence.wav"


# ---- nets -------------------------------------------------------------------------------------------------

Shapes = dict[str, tuple[int, ...]]

# in, out, kernel, stride (mel, time), padding, residual
ENCODER_BLOCKS = (
    (1, 32, 3, (1, 1), 1, False),
    (32, 32, 3, (1, 1), 1, True),
    (32, 32, 3, (1, 1), 1, True),
    (32, 64, 3, (3, 1), 1, False),
    (64, 64, 3, (1, 1), 1, True),
    (64, 64, 3, (1, 1), 1, True),
    (64, 128, 3, (3, 3), 1, False),
    (128, 128, 3, (1, 1), 1, True),
    (128, 128, 3, (1, 1), 1, True),
    (128, 256, 3, (3, 2), 1, False),
    (256, 256, 3, (1, 1), 1, True),
    (256, 512, 3, (1, 1), 0, False),
    (512, 512, 1, (1, 1), 0, False),
)


def encoder_shapes() -> Shapes:
    shapes: Shapes = {}
    for i, (inputs, outputs, kernel, *_) in enumerate(ENCODER_BLOCKS):
        shapes[f"{i}.conv_block.0.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{i}.conv_block.0.bias"] = (outputs,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{i}.conv_block.1.{name}"] = (outputs,)
        shapes[f"{i}.conv_block.1.num_batches_tracked"] = ()
    return shapes


def double_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value).double() for key, value in closed_form.state(shapes).items()}


def run_encoder(state: Mapping[str, torch.Tensor], mel: Array) -> Array:
    x = torch.from_numpy(mel).double()
    for i, (_, _, _, stride, padding, residual) in enumerate(ENCODER_BLOCKS):
        norm = f"{i}.conv_block.1."
        y = F.conv2d(
            x, state[f"{i}.conv_block.0.weight"], state[f"{i}.conv_block.0.bias"], stride, padding
        )  # fmt: skip
        scale = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + 1e-5)
        shift = state[norm + "bias"] - state[norm + "running_mean"] * scale
        y = y * scale[:, None, None] + shift[:, None, None]
        x = torch.relu(x + y if residual else y)
    return x[:, :, 0, 0].numpy()


def encoder_cases() -> dict[str, Array]:
    """`formula`: noise over the whole range ±4. `speech`: four windows of the sentence's talking-head mel."""
    noise = 4.0 * closed_form.uniform("audio-encoder/mel", 3 * 80 * 16).reshape(3, 1, 80, 16)
    mel = talking_head(sentence().astype(np.float64))
    windows = np.stack([mel[None, :, start : start + 16] for start in (0, 48, 99, 150)])
    return {"formula": noise.astype(np.float32), "speech": windows.astype(np.float32)}


def v1_like(**changes: Any) -> dict[str, Any]:
    """A config.json after HiFi-GAN's V1, with 64 channels in place of 512."""
    return {
        "resblock": "1",
        "upsample_rates": [8, 8, 2, 2],
        "upsample_kernel_sizes": [16, 16, 4, 4],
        "upsample_initial_channel": 64,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "num_mels": 80,
        "n_fft": 1024,
        "hop_size": 256,
        "win_size": 1024,
        "sampling_rate": 22050,
        "fmin": 0,
        "fmax": 8000,
        "wiring": "stock",
        **changes,
    }


HIFIGAN_CASES: Mapping[str, dict[str, Any]] = {
    "v1-small": v1_like(),
    "v3-weight-norm": v1_like(
        resblock="2",
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        upsample_initial_channel=256,
        resblock_kernel_sizes=[3, 5, 7],
        resblock_dilation_sizes=[[1, 2], [2, 6], [3, 12]],
    ),
    "causal-tail": v1_like(
        upsample_rates=[10, 7, 3, 2],
        upsample_kernel_sizes=[20, 15, 7, 4],
        num_mels=64,
        n_fft=2048,
        hop_size=420,
        win_size=2048,
        sampling_rate=11413,
        fmax=None,
        wiring="causal-tail",
    ),
    "odd-kernels": v1_like(
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        num_mels=256,
        n_fft=2048,
        hop_size=160,
        win_size=1024,
        sampling_rate=16000,
        odd_kernels="output-padding",
    ),
}
HIFIGAN_FRAMES = 14  # more than the context of one frame, 13


def hifigan_shapes(config: Mapping[str, Any], *, weight_norm: bool) -> Shapes:
    first = config["upsample_initial_channel"]
    layers = {"conv_pre": (first, config["num_mels"], 7)}
    names = ("convs1", "convs2") if config["resblock"] == "1" else ("convs",)
    kernels = config["resblock_kernel_sizes"]
    for i, kernel in enumerate(config["upsample_kernel_sizes"]):
        channels = first >> (i + 1)
        layers[f"ups.{i}"] = (2 * channels, channels, kernel)
        for j, (size, dilations) in enumerate(zip(kernels, config["resblock_dilation_sizes"], strict=True)):
            for name in names:
                for d in range(len(dilations)):
                    layers[f"resblocks.{i * len(kernels) + j}.{name}.{d}"] = (channels, channels, size)
    layers["conv_post"] = (1, channels, 7)
    shapes: Shapes = {}
    for layer, shape in layers.items():
        shapes[f"{layer}.bias"] = (shape[1] if layer.startswith("ups") else shape[0],)
        if weight_norm:
            shapes[f"{layer}.weight_g"] = (shape[0], 1, 1)
            shapes[f"{layer}.weight_v"] = shape
        else:
            shapes[f"{layer}.weight"] = shape
    return shapes


def folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """weight = g · v / ‖v‖, the norm over all axes but the first."""
    result = dict(state)
    for key in [key for key in state if key.endswith("weight_g")]:
        layer = key.removesuffix("_g")
        v = result.pop(layer + "_v")
        result[layer] = result.pop(key) * v / torch.sqrt((v**2).sum(dim=(1, 2), keepdim=True))
    return result


def run_hifigan(config: Mapping[str, Any], state: Mapping[str, torch.Tensor], mel: Array) -> Array:
    causal = config["wiring"] == "causal-tail"
    kernels = config["resblock_kernel_sizes"]

    def conv(x: torch.Tensor, layer: str, dilation: int = 1, *, end: bool = False) -> torch.Tensor:
        weight = state[f"{layer}.weight"]
        reach = (weight.shape[2] - 1) * dilation
        left = (0 if end else reach) if causal else reach // 2
        return F.conv1d(F.pad(x, (left, reach - left)), weight, state[f"{layer}.bias"], dilation=dilation)

    def block(x: torch.Tensor, name: str, dilations: list[int]) -> torch.Tensor:
        for d, dilation in enumerate(dilations):
            if config["resblock"] == "1":
                y = conv(F.leaky_relu(x, 0.1), f"{name}.convs1.{d}", dilation)
                x = x + conv(F.leaky_relu(y, 0.1), f"{name}.convs2.{d}")
            else:
                x = x + conv(F.leaky_relu(x, 0.1), f"{name}.convs.{d}", dilation)
        return x

    x = conv(torch.from_numpy(mel).double(), "conv_pre", end=True)
    for i, (rate, kernel) in enumerate(
        zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    ):
        odd = (kernel - rate) % 2
        x = F.conv_transpose1d(
            F.leaky_relu(x, 0.1),
            state[f"ups.{i}.weight"],
            state[f"ups.{i}.bias"],
            stride=rate,
            padding=(kernel - rate) // 2 + odd,
            output_padding=odd,
        )
        parts = [
            block(x, f"resblocks.{i * len(kernels) + j}", dilations)
            for j, dilations in enumerate(config["resblock_dilation_sizes"])
        ]
        x = sum(parts[1:], parts[0]) / len(parts)
    return torch.tanh(conv(F.leaky_relu(x, 0.01), "conv_post", end=True)).numpy()


def hifigan_mel(case: str, config: Mapping[str, Any]) -> Array:
    """Two utterances, natural-log mels between -9 and -1."""
    shape = (2, config["num_mels"], HIFIGAN_FRAMES)
    noise = closed_form.uniform(f"hifigan/{case}/mel", int(np.prod(shape)))
    return (4.0 * noise - 5.0).astype(np.float32).reshape(shape)


def net_arrays(described: dict[str, Any]) -> Arrays:
    """The nets' inputs and outputs; writes what a test must know into ``described``."""
    shapes = encoder_shapes()
    for case, mel in encoder_cases().items():
        described.setdefault("audio-encoder", {})[case] = {"config": {}, "weight_norm": False, "keys": shapes}
        yield f"nets/audio-encoder/{case}/mel.npy", mel, "formula, or the sentence's talking-head mel"
        yield (
            f"nets/audio-encoder/{case}/features.npy",
            run_encoder(double_state(shapes), mel),
            "torch float64",
        )
    for case, config in HIFIGAN_CASES.items():
        weight_norm = case.endswith("weight-norm")
        shapes = hifigan_shapes(config, weight_norm=weight_norm)
        described.setdefault("hifigan", {})[case] = {
            "config": config,
            "weight_norm": weight_norm,
            "keys": shapes,
        }
        mel = hifigan_mel(case, config)
        yield f"nets/hifigan/{case}/mel.npy", mel, "formula"
        audio = run_hifigan(config, folded(double_state(shapes)), mel)
        yield f"nets/hifigan/{case}/audio.npy", audio, "torch.nn.functional, float64"
    yield from spectral_nets.arrays(described)
    yield from mri_nets.arrays(described)
    yield from istft_nets.arrays(described)


# ---- the weights that ship --------------------------------------------------------------------------------

SHIPPED_FRAMES = slice(40, 72)  # of the speech signal: a vowel between consonants


def shipped_arrays(described: dict[str, Any]) -> Arrays:
    """As `net_arrays`, with the weights in weights/."""
    encoder = _shipped("audio-encoder", described)
    mel = encoder_cases()["speech"]
    yield "weights/audio-encoder/mel.npy", mel, "the sentence's talking-head mel"
    yield "weights/audio-encoder/features.npy", run_encoder(encoder, mel), "torch float64"
    vocoder = _shipped("hifigan", described)
    config = described["hifigan"]["config"]
    rate, front_end = FRONT_ENDS["hifigan-22k"]
    mel = front_end(signals(rate)["speech"].astype(np.float64))[None, :, SHIPPED_FRAMES].astype(np.float32)
    yield "weights/hifigan/mel.npy", mel, "the speech signal's hifigan-22k mel"
    yield "weights/hifigan/audio.npy", run_hifigan(config, vocoder, mel), "torch.nn.functional, float64"

    for preset in istft_nets.SHIPPED:
        name = f"istft-vocoder-{preset}"
        state = {key: value.numpy() for key, value in _shipped(name, described).items()}
        config = described[name]["config"]
        audio = signals(config["mel"]["sample_rate"])["speech"].astype(np.float64)
        mel = istft_nets.speech_mel(config["mel"], audio)
        yield f"weights/{name}/mel.npy", mel, "the speech signal's mel"
        yield f"weights/{name}/audio.npy", istft_nets.run(config, state, mel), "numpy float64"


def _shipped(net: str, described: dict[str, Any]) -> dict[str, torch.Tensor]:
    """State of a weights file, under bare keys."""
    file, config = HERE / "weights" / f"{net}.safetensors", HERE / "weights" / f"{net}.json"
    described[net] = {
        "file": file.relative_to(HERE).as_posix(),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "config": json.loads(config.read_text()) if config.is_file() else {},
    }
    return {key.removeprefix("audio_encoder."): value.double() for key, value in load_file(file).items()}


# ---- files ------------------------------------------------------------------------------------------------


def write(arrays: Arrays) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for path, array, made in arrays:
        file = HERE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.ascontiguousarray(array))
        entries[path] = {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "made": made,
        }
    return entries


def sentence_entry() -> dict[str, Any]:
    voice = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "file": str(SENTENCE.relative_to(HERE.parent)),
        "sha256": hashlib.sha256(SENTENCE.read_bytes()).hexdigest(),
        "text": TEXT,
        "commands": [subprocess.list2cmdline(command) for command in COMMANDS],
        "espeak-ng": voice.split("  ")[0].removeprefix("eSpeak NG text-to-speech: ").strip(),
    }


def in_fixed_order() -> None:
    """Starts this program again with one thread: BLAS adds in another order with two."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if any(os.environ.get(name) != value for name, value in one.items()):
        command = [sys.executable, "-m", "reference_data.generate", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **one})


def main() -> None:
    parser = argparse.ArgumentParser(description="Remake the golden arrays.")
    parser.add_argument(
        "--sentence", action="store_true", help="speak the sentence anew with espeak-ng and sox"
    )
    arguments = parser.parse_args()
    in_fixed_order()
    if arguments.sentence:
        speak()
    for old in HERE.rglob("*.npy"):
        old.unlink()
    nets: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    arrays = {**write(signal_arrays()), **write(mel_arrays()), **write(net_arrays(nets))}
    arrays |= write(shipped_arrays(weights)) | write(samplers.arrays())
    manifest = {
        "sentence": sentence_entry(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("numpy", "scipy", "librosa", "soxr", "torch", "diffusers")
        },
        "nets": nets,
        "weights": weights,
        "arrays": dict(sorted(arrays.items())),
    }
    text = json.dumps(manifest, indent=1)
    one_line = re.sub(r"\[\s+([\d,\s]*\d)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    (HERE / "manifest.json").write_text(one_line + "\n")
    size = sum(file.stat().st_size for file in HERE.rglob("*.npy"))
    sys.stdout.write(f"{len(arrays)} arrays, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
