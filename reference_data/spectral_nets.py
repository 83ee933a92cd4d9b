"""Goldens of the nets that work on spectra; part of generate.py, which writes them.

As there, nothing here imports the code under test: banks come from librosa, windows from scipy, transforms
from numpy's FFT frame by frame, nets from torch.nn.functional and complex numbers, all in float64. Layout
below nets/, each array small (33 bins, 12 mels, a few channels):

    mel-inversion/CASE/mel.npy         (B, n_mels, T) float32
                      /magnitude.npy   (B, bins, T) float64: log_magnitude, or magnitude_db in domain "db"
    degli/CASE/spectrum.npy            (B, 2, bins, T) float32, real part before imaginary part
              /magnitude.npy           (B, bins, T) float32
              /next_spectrum.npy       (B, 2, bins, T) float64: one block
              /residual.npy            (B, 2, bins, T) float64: of its net alone
    stft/CASE/audio.npy, spectrum.npy        (B, samples) float32, (B, 2, bins, T) float64
    istft/CASE/spectrum.npy, audio.npy       (B, 2, bins, T) float32, (B, samples) float64
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import librosa
import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests import closed_form

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array, str]]  # path, array, how it was made
Shapes = dict[str, tuple[int, ...]]
State = Mapping[str, torch.Tensor]

RATE, N_FFT, HOP, MELS, FRAMES = 8000, 64, 16, 12, 11
BINS = N_FFT // 2 + 1


def uniform(name: str, *shape: int) -> Array:
    return closed_form.uniform(name, int(np.prod(shape))).reshape(shape)


def double_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value).double() for key, value in closed_form.state(shapes).items()}


def described_as(config: dict[str, Any], shapes: Shapes) -> dict[str, Any]:
    return {"config": config, "weight_norm": False, "keys": shapes}


# ---- mel inversion ----------------------------------------------------------------------------------------

MEL = {"sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP, "win_length": N_FFT, "n_mels": MELS}
MEL_DB = MEL | {"standardize": True, "spectrum_range_db": 80.0, "log": "none"}
CHANNELS = (4, 6, 8)
INVERSION_CASES: Mapping[str, dict[str, Any]] = {
    "skip-log": {"variant": "pinv-conv-skip"},
    "skip-origin": {"variant": "pinv-conv-skip", "domain": "db", "normalization": "min-max"},
    "conv-log": {"variant": "pinv-conv"},
    "res-db": {"variant": "pinv-conv-res", "domain": "db"},
    "no-bottleneck-log": {"variant": "pinv-conv-skip-no-bottleneck"},
    "unet-log": {"variant": "unet"},
    "pinv-unet-db": {"variant": "pinv-unet", "domain": "db"},
}


def inversion_shapes(variant: str) -> Shapes:
    a, b, c = CHANNELS
    shapes: Shapes = {}

    def block(name: str, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        shapes[f"{name}.conv.weight"] = (outputs, inputs, *kernel)
        shapes[f"{name}.conv.bias"] = (outputs,)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (outputs,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    def layer(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{name}.bias"] = (outputs,)

    if variant.endswith("unet"):
        pairs = [("down.0", 1, a), ("down.1", a, b), ("down.2", b, c), ("bottom", c, 2 * c)]
        pairs += [("up.0", 2 * c, c), ("up.1", 2 * b, b), ("up.2", 2 * a, a)]
        for name, inputs, outputs in pairs:
            block(f"unet.{name}.0", inputs, outputs, (3, 3))
            block(f"unet.{name}.1", outputs, outputs, (3, 3))
        for level, (inputs, outputs) in enumerate(((2 * c, c), (c, b), (b, a))):
            layer(f"unet.reduce.{level}", inputs, outputs, 3)
        layer("unet.out.0", a, a // 2, 3)
        layer("unet.out.2", a // 2, 1, 1)
        return shapes
    twice = 2 if "skip" in variant else 1
    sizes = [(1, a), (a, b), (b, c), (c, c), (twice * c, b), (twice * b, a), (twice * a, 1)]
    if variant.endswith("no-bottleneck"):
        del sizes[3]
    for index, (inputs, outputs) in enumerate(sizes):
        block(f"convblocks.{index}", inputs, outputs, (5, 3))
    return shapes


def inversion_block(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    weight, norm = state[f"{name}.conv.weight"], f"{name}.bn."
    y = F.conv2d(
        x, weight, state[f"{name}.conv.bias"], padding=(weight.shape[2] // 2, weight.shape[3] // 2)
    )  # fmt: skip
    scale = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + 1e-5)
    shift = state[norm + "bias"] - state[norm + "running_mean"] * scale
    return torch.relu(y * scale[:, None, None] + shift[:, None, None])


def run_convolutional(variant: str, state: State, x: torch.Tensor) -> torch.Tensor:
    skips = []
    for index in range(3):
        x = inversion_block(state, f"convblocks.{index}", x)
        skips.append(x)
    decoder = 3
    if not variant.endswith("no-bottleneck"):
        x = inversion_block(state, "convblocks.3", x)
        decoder = 4
    for index in range(3):
        skip = skips[2 - index]
        if "skip" in variant:
            x = torch.cat([x, skip], 1)
        elif variant.endswith("res"):
            x = x + skip
        x = inversion_block(state, f"convblocks.{decoder + index}", x)
    return x


def run_unet(state: State, x: torch.Tensor) -> torch.Tensor:
    bins, frames = x.shape[2:]
    x = F.pad(x, (0, 7, 0, -bins % 8))
    skips = []
    for level in range(3):
        x = inversion_block(state, f"unet.down.{level}.0", x)
        x = inversion_block(state, f"unet.down.{level}.1", x)
        skips.append(x)
        x = F.max_pool2d(x, 2)
    x = inversion_block(state, "unet.bottom.1", inversion_block(state, "unet.bottom.0", x))
    for level in range(3):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        name = f"unet.reduce.{level}"
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
        x = torch.cat([x, skips[2 - level][:, :, : x.shape[2], : x.shape[3]]], 1)
        x = inversion_block(state, f"unet.up.{level}.0", x)
        x = inversion_block(state, f"unet.up.{level}.1", x)
    x = torch.relu(F.conv2d(x, state["unet.out.0.weight"], state["unet.out.0.bias"], padding=1))
    x = torch.relu(F.conv2d(x, state["unet.out.2.weight"], state["unet.out.2.bias"]))
    return x[:, :, :bins, :frames]


def inversion_estimate(config: Mapping[str, Any], bank: Array, mel: Array) -> Array:
    """(B, bins, T): the pseudo-inverse's, scaled to 0 … 1."""
    pinv = np.linalg.pinv(bank)
    if config.get("domain") != "db":
        linear = np.exp(mel)
        reach = bank.T @ bank.sum(axis=1)
        average = bank.T / np.where(reach > 0, reach, 1)[:, None]
        estimate = np.maximum(np.maximum(pinv @ linear, 0.1 * (average @ linear)), 1e-5)
        return np.asarray(np.log(estimate / 1e-5) / np.log(N_FFT / 2 / 1e-5))
    estimate = pinv @ mel
    if config.get("normalization") != "min-max":
        return np.asarray(np.clip(estimate, 0, 1))
    low, high = (extreme(estimate, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
    return np.asarray((estimate - low) / (high - low))


def run_inversion(config: Mapping[str, Any], state: State, mel: Array) -> Array:
    bank = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS, dtype=np.float64)
    estimate = torch.from_numpy(inversion_estimate(config, bank, mel.astype(np.float64)))[:, None]
    variant = config["variant"]
    if variant == "unet":
        x = run_unet(state, estimate)
    elif variant == "pinv-unet":
        x = torch.relu(estimate - run_unet(state, estimate))
    else:
        x = run_convolutional(variant, state, estimate)
    magnitude: Array = x[:, 0].numpy()
    if config.get("normalization") == "min-max":
        magnitude = magnitude / magnitude.max(axis=(1, 2), keepdims=True)
    if config.get("domain") == "db":
        return magnitude
    return np.asarray(np.log(1e-5) + magnitude * np.log(N_FFT / 2 / 1e-5))


LIGHT_SCALES = {"scatter.weight": 0.02}  # of the formula's weights, for a correction of about 0.2


def light_shapes() -> Shapes:
    """48 channels, bands of 4 bins, six blocks."""
    shapes: Shapes = {
        "gather.weight": (48, 2, 9, 3),
        "gather.bias": (48,),
        "place": (48, (BINS - 1) // 4 + 1, 1),
        "scatter.weight": (48, 1, 9, 1),
        "scatter.bias": (1,),
    }
    for block in range(6):
        name = f"blocks.{block}."
        shapes[name + "spread.weight"] = (48, 1, 9, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}norm.{part}"] = (48,)
        shapes[name + "norm.num_batches_tracked"] = ()
        shapes |= {name + "widen.weight": (96, 48, 1, 1), name + "widen.bias": (96,)}
        shapes |= {name + "narrow.weight": (48, 96, 1, 1), name + "narrow.bias": (48,)}
    return shapes


def run_light(state: State, mel: Array) -> Array:
    """15 multiplicative updates of exponent 1.5, the correction, 10 updates; ln of the magnitude."""
    bank = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS, dtype=np.float64)
    sums = bank.sum(axis=1, keepdims=True)
    rows = bank / sums
    columns = rows.sum(axis=0)
    reached = np.flatnonzero(columns)
    nearest = reached[np.abs(np.arange(BINS)[:, None] - reached).argmin(axis=1)]
    average = (rows[:, nearest] / columns[nearest]).T
    bands = mel.astype(np.float64) - np.log(sums)
    target = average @ np.exp(bands)

    def updated(q: Array, times: int) -> Array:
        for _ in range(times):
            ratio = (target / (average @ (rows @ q))) ** 1.5
            q = np.where(columns[:, None] > 0, q * ratio, q)
        return np.asarray(np.maximum(q, 1e-5))

    log_q = np.log(updated(target, 15))
    x = torch.from_numpy(np.stack([(log_q + 3) / 4, (log_q - average @ bands) / 4], axis=1))
    x = F.conv2d(x, state["gather.weight"], state["gather.bias"], stride=(4, 1), padding=(4, 1))
    x = x + state["place"]
    for block in range(6):
        name = f"blocks.{block}."
        y = F.conv2d(x, state[name + "spread.weight"], padding=(4, 1), groups=48)
        gain = state[name + "norm.weight"] / torch.sqrt(state[name + "norm.running_var"] + 1e-5)
        shift = state[name + "norm.bias"] - state[name + "norm.running_mean"] * gain
        y = y * gain[:, None, None] + shift[:, None, None]
        y = F.gelu(F.conv2d(y, state[name + "widen.weight"], state[name + "widen.bias"]))
        x = x + F.conv2d(y, state[name + "narrow.weight"], state[name + "narrow.bias"])
    correction = F.conv_transpose2d(
        x, state["scatter.weight"], state["scatter.bias"], stride=(4, 1), padding=(4, 0)
    )  # fmt: skip
    return np.asarray(np.log(updated(np.exp(log_q + correction[:, 0].numpy()), 10)))


def light_arrays(described: dict[str, Any]) -> Arrays:
    shapes = light_shapes()
    config = {"mel": MEL, "variant": "light"}
    described["mel-inversion"]["light"] = described_as(config, shapes) | {"scales": LIGHT_SCALES}
    state = double_state(shapes)
    for key, scale in LIGHT_SCALES.items():
        state[key] = state[key] * scale
    mel = (3.0 * uniform("mel-inversion/light/mel", 2, MELS, FRAMES) - 3.0).astype(np.float32)
    yield "nets/mel-inversion/light/mel.npy", mel, "formula"
    yield "nets/mel-inversion/light/magnitude.npy", run_light(state, mel), "torch.nn.functional, float64"


def inversion_arrays(described: dict[str, Any]) -> Arrays:
    for case, options in INVERSION_CASES.items():
        db = options.get("domain") == "db"
        config = {"mel": MEL_DB if db else MEL, "channels": list(CHANNELS), **options}
        shapes = inversion_shapes(options["variant"])
        described.setdefault("mel-inversion", {})[case] = described_as(config, shapes)
        noise = uniform(f"mel-inversion/{case}/mel", 2, MELS, FRAMES)
        mel = (0.004 * (noise + 1) if db else 3.0 * noise - 3.0).astype(np.float32)
        yield f"nets/mel-inversion/{case}/mel.npy", mel, "formula"
        magnitude = run_inversion(options, double_state(shapes), mel)
        yield f"nets/mel-inversion/{case}/magnitude.npy", magnitude, "torch.nn.functional, float64"


# ---- transforms -------------------------------------------------------------------------------------------

SPECTRAL_CASES: Mapping[str, dict[str, Any]] = {
    "center-reflect": {"n_fft": 64, "hop_length": 16, "win_length": 64},
    "center-zero": {"n_fft": 50, "hop_length": 20, "win_length": 50, "padding": "center-zero"},
    "reflect-odd": {"n_fft": 63, "hop_length": 16, "win_length": 48, "padding": "reflect"},
    "none-hamming": {
        "n_fft": 40, "hop_length": 13, "win_length": 40, "padding": "none", "window": "hamming"
    },
    "blackman": {"n_fft": 64, "hop_length": 16, "win_length": 64, "window": "blackman"},
}  # fmt: skip


def window_of(config: Mapping[str, Any]) -> Array:
    frame = np.zeros(config["n_fft"])
    start = (config["n_fft"] - config["win_length"]) // 2
    window = scipy.signal.get_window(config.get("window", "hann"), config["win_length"], fftbins=True)
    frame[start : start + config["win_length"]] = window
    return frame


def padding_of(config: Mapping[str, Any]) -> tuple[int, str]:
    """Samples on each side, and numpy's name for what they are."""
    padding, n_fft = config.get("padding", "center-reflect"), config["n_fft"]
    if padding == "none":
        return 0, "constant"
    if padding == "reflect":
        return (n_fft - config["hop_length"]) // 2, "reflect"
    return n_fft // 2, "reflect" if padding == "center-reflect" else "constant"


def stft(config: Mapping[str, Any], audio: Array) -> Array:
    """(samples,) → (bins, T) complex, frame by frame."""
    pad, mode = padding_of(config)
    padded: Array = np.pad(audio, pad, mode=mode)  # type: ignore[call-overload]
    starts = range(0, padded.size - config["n_fft"] + 1, config["hop_length"])
    window = window_of(config)
    return np.stack([np.fft.rfft(window * padded[s : s + config["n_fft"]]) for s in starts], axis=1)


def istft(config: Mapping[str, Any], spectrum: Array) -> Array:
    """(bins, T) → (samples,): frames added with their window, divided by the sum of its squares."""
    n_fft, hop, window = config["n_fft"], config["hop_length"], window_of(config)
    total = np.zeros(n_fft + (spectrum.shape[1] - 1) * hop)
    weight = np.zeros_like(total)
    for m in range(spectrum.shape[1]):
        total[m * hop : m * hop + n_fft] += window * np.fft.irfft(spectrum[:, m], n_fft)
        weight[m * hop : m * hop + n_fft] += window**2
    pad, _ = padding_of(config)
    audio = np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-10)
    return np.asarray(audio[pad : total.size - pad])


def parts(spectra: Array) -> Array:
    return np.stack([spectra.real, spectra.imag], axis=1)


def spectral_arrays(described: dict[str, Any]) -> Arrays:
    for case, config in SPECTRAL_CASES.items():
        for net in ("stft", "istft"):
            described.setdefault(net, {})[case] = described_as(config, {})
        audio = (0.9 * uniform(f"stft/{case}/audio", 2, 301)).astype(np.float32)
        spectra = np.stack([stft(config, row.astype(np.float64)) for row in audio])
        yield f"nets/stft/{case}/audio.npy", audio, "formula"
        yield f"nets/stft/{case}/spectrum.npy", parts(spectra), "numpy.fft, float64"
        noise = uniform(f"istft/{case}/spectrum", 2, 2, config["n_fft"] // 2 + 1, 7)
        given = (5.0 * noise).astype(np.float32)
        rows = [istft(config, (re + 1j * im).astype(np.complex128)) for re, im in given]
        yield f"nets/istft/{case}/spectrum.npy", given, "formula"
        yield f"nets/istft/{case}/audio.npy", np.stack(rows), "numpy.fft, float64"


# ---- Deep Griffin-Lim -------------------------------------------------------------------------------------

DEGLI_CASES: Mapping[str, dict[str, Any]] = {
    "origin-kernel": {"channels": 6, "kernel": [5, 3]},
    "small-kernel": {"channels": 4, "kernel": [3, 5]},
}


def degli_shapes(config: Mapping[str, Any]) -> Shapes:
    channels, kernel = config["channels"], config["kernel"]
    net = "degliblock.convdnn."
    shapes: Shapes = {}
    for layer, inputs in enumerate((3, channels, channels)):
        for name in ("conv_re", "conv_im"):
            shapes[f"{net}aigcc.{layer}.{name}.weight"] = (channels, inputs, *kernel)
        shapes[f"{net}aigcc.{layer}.conv_gate.weight"] = (channels, inputs + 1, *kernel)
    for name in ("conv_re", "conv_im"):
        shapes[f"{net}conv.{name}.weight"] = (1, channels, 1, 1)
    return shapes


def run_degli(state: State, x: Array, magnitude: Array) -> tuple[Array, Array]:
    """(next spectrum, residual), (bins, T) complex, of one block."""
    y = magnitude * x / np.abs(x)
    framing = {"n_fft": N_FFT, "hop_length": HOP, "win_length": N_FFT}
    z = stft(framing, istft(framing, y))

    def same(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.conv2d(value[None], weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))[0]

    def complex_weight(layer: str) -> torch.Tensor:
        names = (f"degliblock.convdnn.{layer}.conv_{part}.weight" for part in ("re", "im"))
        return torch.complex(*(state[name] for name in names))

    features = torch.from_numpy(np.stack([x, y, z]))
    wanted = torch.from_numpy(magnitude)[None]
    for layer in range(3):
        weight = state[f"degliblock.convdnn.aigcc.{layer}.conv_gate.weight"]
        gate = torch.sigmoid(same(torch.cat([features.abs(), wanted]), weight))
        features = same(features, complex_weight(f"aigcc.{layer}")) * gate
    residual = same(features, complex_weight("conv"))[0].numpy()
    return z - residual, residual


def degli_arrays(described: dict[str, Any]) -> Arrays:
    for case, options in DEGLI_CASES.items():
        config = options | {
            "sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP, "win_length": N_FFT
        }  # fmt: skip
        shapes = degli_shapes(options)
        described.setdefault("degli", {})[case] = described_as(config, shapes)
        spectrum = (4.0 * uniform(f"degli/{case}/spectrum", 2, 2, BINS, FRAMES)).astype(np.float32)
        magnitude = (2.5 + 2.5 * uniform(f"degli/{case}/magnitude", 2, BINS, FRAMES)).astype(np.float32)
        state = double_state(shapes)
        blocks = [
            run_degli(state, re.astype(np.float64) + 1j * im, row.astype(np.float64))
            for (re, im), row in zip(spectrum, magnitude, strict=True)
        ]
        yield f"nets/degli/{case}/spectrum.npy", spectrum, "formula"
        yield f"nets/degli/{case}/magnitude.npy", magnitude, "formula"
        for index, name in enumerate(("next_spectrum", "residual")):
            values = parts(np.stack([block[index] for block in blocks]))
            yield f"nets/degli/{case}/{name}.npy", values, "complex torch and numpy.fft, float64"


def arrays(described: dict[str, Any]) -> Arrays:
    """All of them; writes what a test must know into ``described``."""
    yield from inversion_arrays(described)
    yield from light_arrays(described)
    yield from spectral_arrays(described)
    yield from degli_arrays(described)
