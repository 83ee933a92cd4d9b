"""Goldens of istft-vocoder; part of generate.py, which writes them.

As there, nothing here imports the code under test, and here not even torch: all of it is numpy in float64.
The inverse STFT is numpy's, window by window; LayerNorm, GELU (with the error function) and convolutions are
sums over taps. The filter bank is librosa's.

    nets/istft-vocoder/CASE/mel.npy      (B, n_mels, T) float32
                           /audio.npy    (B, 1, T · hop) float64
    weights/istft-vocoder-PRESET/        the same of the weights that ship, on speech
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray
from tests import closed_form

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array, str]]  # path, array, how it was made

MEL: dict[str, Any] = {"sample_rate": 8000, "n_fft": 64, "hop_length": 16, "win_length": 64, "n_mels": 8}
# case → config, and batch and frames of the input
CASES: Mapping[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "centred": (
        {"mel": MEL, "width": 6, "expansion": 2, "blocks": 2, "kernel": 5, "embed_kernel": 3},
        (2, 9),
    ),
    "look-ahead": (
        {"mel": MEL | {"hop_length": 20}, "width": 6, "expansion": 1, "blocks": 2, "kernel": 3,
        "embed_kernel": 3,
         "look_ahead": 3},
        (1, 8),
    ),
    "emphasised-power": (
        {"mel": MEL | {"n_fft": 62, "win_length": 50, "power": 2, "pre_emphasis": 0.9}, "width": 6,
        "expansion": 2,
         "blocks": 1, "kernel": 3, "embed_kernel": 5},
        (1, 7),
    ),
}  # fmt: skip
SHIPPED = ("lj-22k", "rtmri", "small-22k", "streaming-22k")
FRAMES = slice(40, 64)
erf = np.vectorize(math.erf, otypes=[np.float64])


def shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width, bins = config["width"], config["mel"]["n_fft"] // 2 + 1
    wide = width * config["expansion"]
    shapes: dict[str, tuple[int, ...]] = {
        "embed.weight": (width, config["mel"]["n_mels"] + bins, config["embed_kernel"]),
        "embed.bias": (width,),
    }
    for norm in ("norm", "last"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for number in range(config["blocks"]):
        block = f"blocks.{number}"
        shapes |= {
            f"{block}.dw.weight": (width, 1, config["kernel"]), f"{block}.dw.bias": (width,),
            f"{block}.norm.weight": (width,), f"{block}.norm.bias": (width,),
            f"{block}.up.weight": (wide, width), f"{block}.up.bias": (wide,),
            f"{block}.down.weight": (width, wide), f"{block}.down.bias": (width,),
            f"{block}.gamma": (width,),
        }  # fmt: skip
    return shapes | {"head.weight": (3 * bins, width), "head.bias": (3 * bins,)}


def weight(key: str, shape: tuple[int, ...]) -> Array:
    """`closed_form.tensor` in float64; a layer scale, which that has no rule for, is as a norm's weight."""
    name = f"{key}.weight" if key.endswith("gamma") else key
    return closed_form.tensor(name, shape).astype(np.float64)


def run(config: Mapping[str, Any], state: Mapping[str, Array], mel: Array) -> Array:
    """(B, n_mels, T) → (B, 1, T · hop)."""
    ahead = _ahead(config)
    natural = mel.astype(np.float64)
    prior = _prior(config["mel"], natural)
    levels = natural / config["mel"].get("power", 1)
    x = (np.concatenate([levels, prior], axis=1) + 5.0) / 3.0
    x = _convolved(x, state["embed.weight"], state["embed.bias"], ahead[0])
    x = _normed(x, state["norm.weight"], state["norm.bias"])
    for number in range(config["blocks"]):
        name = f"blocks.{number}."
        part = {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}
        y = _apart(x, part["dw.weight"], part["dw.bias"], ahead[number + 1])
        y = _normed(y, part["norm.weight"], part["norm.bias"])
        y = np.einsum("oc,bct->bot", part["up.weight"], y) + part["up.bias"][:, None]
        y = 0.5 * y * (1 + erf(y / math.sqrt(2)))
        y = np.einsum("oc,bct->bot", part["down.weight"], y) + part["down.bias"][:, None]
        x = x + part["gamma"][:, None] * y
    x = _normed(x, state["last.weight"], state["last.bias"])
    said = np.einsum("oc,bct->bot", state["head.weight"], x) + state["head.bias"][:, None]
    correction, r, i = np.split(said, 3, axis=1)
    magnitude = np.exp(np.minimum(prior + correction, config.get("ceiling", 6.0)))
    spectrum = magnitude * (r + 1j * i) / np.sqrt(r**2 + i**2 + 1e-9)
    return np.stack([_inverted(config["mel"], each) for each in spectrum])[:, None]


def _ahead(config: Mapping[str, Any]) -> list[int]:
    """Frames ahead of each convolution: half a kernel, or the look-ahead, spent by the first ones."""
    kernels = [config["embed_kernel"], *[config["kernel"]] * config["blocks"]]
    left = config.get("look_ahead")
    if left is None:
        return [kernel // 2 for kernel in kernels]
    spent = []
    for kernel in kernels:
        spent.append(min(left, kernel - 1))
        left -= spent[-1]
    return spent


def _prior(mel: Mapping[str, Any], natural: Array) -> Array:
    fmax = mel.get("fmax") or mel["sample_rate"] / 2
    bank = librosa.filters.mel(
        sr=mel["sample_rate"], n_fft=mel["n_fft"], n_mels=mel["n_mels"], fmin=0.0, fmax=fmax, htk=False,
        norm="slaney", dtype=np.float64,
    )  # fmt: skip
    estimate = np.einsum("fm,bmt->bft", np.linalg.pinv(bank), np.exp(natural))
    prior = np.log(np.maximum(estimate, mel.get("floor", 1e-5))) / mel.get("power", 1)
    turns = np.arange(mel["n_fft"] // 2 + 1) / mel["n_fft"]
    levels: Array = (
        prior - np.log(np.abs(1 - mel.get("pre_emphasis", 0.0) * np.exp(-2j * np.pi * turns)))[:, None]
    )
    return levels


def _shifted(x: Array, kernel: int, ahead: int) -> Array:
    """(kernel, B, C, T): tap k sees frame t + k − (kernel − 1 − ahead)."""
    padded = np.pad(x, ((0, 0), (0, 0), (kernel - 1 - ahead, ahead)))
    return np.stack([padded[..., k : k + x.shape[-1]] for k in range(kernel)])


def _convolved(x: Array, weight: Array, bias: Array, ahead: int) -> Array:
    made: Array = np.einsum("ock,kbct->bot", weight, _shifted(x, weight.shape[-1], ahead)) + bias[:, None]
    return made


def _apart(x: Array, weight: Array, bias: Array, ahead: int) -> Array:
    made: Array = (
        np.einsum("ck,kbct->bct", weight[:, 0], _shifted(x, weight.shape[-1], ahead)) + bias[:, None]
    )
    return made


def _normed(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    made: Array = centred / deviation * weight[:, None] + bias[:, None]
    return made


def _inverted(mel: Mapping[str, Any], spectrum: Array) -> Array:
    """(bins, T) → (T · hop,): windows added, and what they weigh divided out."""
    n_fft, hop, length = mel["n_fft"], mel["hop_length"], mel["win_length"]
    start = (n_fft - length) // 2
    window = np.zeros(n_fft)
    window[start : start + length] = np.sin(np.pi * np.arange(length) / length) ** 2
    frames = spectrum.shape[1]
    total, weight = np.zeros(frames * hop + n_fft), np.zeros(frames * hop + n_fft)
    for number in range(frames):
        place = slice(number * hop, number * hop + n_fft)
        total[place] += window * np.fft.irfft(spectrum[:, number], n_fft)
        weight[place] += window**2
    trim = (n_fft - hop) // 2
    kept = slice(trim, trim + frames * hop)
    return total[kept] / weight[kept]


def arrays(described: dict[str, Any]) -> Arrays:
    """The cases; writes what a test must know into ``described``."""
    for case, (config, (batch, frames)) in CASES.items():
        shapes = shapes_of(config)
        entry = {"config": config, "weight_norm": False, "keys": shapes}
        described.setdefault("istft-vocoder", {})[case] = entry
        state = {key: weight(key, shape) for key, shape in shapes.items()}
        noise = closed_form.uniform(f"istft-vocoder/{case}/mel", batch * config["mel"]["n_mels"] * frames)
        mel = (3.0 * noise - 3.0).astype(np.float32).reshape(batch, config["mel"]["n_mels"], frames)
        yield f"nets/istft-vocoder/{case}/mel.npy", mel, "formula"
        yield f"nets/istft-vocoder/{case}/audio.npy", run(config, state, mel), "numpy float64"


def speech_mel(mel: Mapping[str, Any], audio: Array) -> Array:
    """The shipped nets' input of the speech signal: reflect-padded, magnitudes or powers, librosa's bank."""
    n_fft, hop = mel["n_fft"], mel["hop_length"]
    emphasised = np.concatenate([audio[:1], audio[1:] - mel["pre_emphasis"] * audio[:-1]])
    before = (n_fft - hop) // 2
    padded = np.pad(emphasised, before, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=n_fft, hop_length=hop, center=False, dtype=np.complex128)
    powers = np.abs(spectrum) ** 2
    if mel["power"] == 1:
        powers = np.sqrt(powers + mel["epsilon"])
    bank = librosa.filters.mel(
        sr=mel["sample_rate"], n_fft=n_fft, n_mels=mel["n_mels"], fmin=0.0,
        fmax=mel["fmax"] or mel["sample_rate"] / 2, htk=False, norm="slaney", dtype=np.float64,
    )  # fmt: skip
    values = np.log(np.maximum(bank @ powers, mel["floor"]))
    return np.ascontiguousarray(values[None, :, FRAMES]).astype(np.float32)
